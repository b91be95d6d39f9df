#!/usr/bin/env python3
"""Write down what python-casacore reads from MeasurementSets, so that another reader can be held against it.

usage: make_ms_oracle.py --out FOLDER [--prefix TEXT] MS [MS ...]
needs: python-casacore, numpy

For every MS one file FOLDER/<prefix><name without .ms>.json:

  {"ms": name, "casacore": version, "made_by": command, "tables": {
     "":        {"rows": n, "columns": {NAME: {...}, ...}},        the main table
     "ANTENNA": {...},                                             a table named by a keyword of the main table
     "sky/NAMES": {...},                                           a table named by a keyword of the subtable `sky`
     "GONE":    {"error": text} }}                                 a table casacore could not open

A table reached twice (through another keyword, by its real path) is walked once; the second entry is {"same_as": first name}.

Every column:
  type      Bool uChar Short uShort Int uInt Int64 Float Double Complex DComplex String  (Record: {"type", "skipped"} only)
  kind      "scalar", "fixed" (array, one shape for all rows, in `shape`) or "variable" (array, a shape per cell)
  ndim      as declared: 0 scalar, -1 any (in a reference table over hypercolumns casacore refuses the description: arrays
            are then told as "variable" with ndim -1)
  shape     only for "fixed": casacore order, first axis fastest
  shapes    arrays: {shape as "4x64": number of cells}, at most 12 different ones
  manager   storage manager type, as casacore names it
  rows, defined   cells in all / cells that have a value
  digest    first 16 hex digits of SHA-256 of the stream below
  sum       numeric: float64 sum of the finite values in row order (summed pairwise within chunks: compare with a relative
            tolerance of 1e-12 of `abs`); Complex: [sum of real, sum of imaginary]; Bool: number of true
  abs       numeric: sum of the absolute values of the same numbers (|re|+|im|): the scale for comparing `sum`
            (null where the sum overflows: cells that were never filled can hold anything)
  nonfinite Float, Double and complex: how many numbers are NaN or infinite (re and im counted apart)
  error     text, instead of digest and the rest, when casacore could not read the column

The stream of a column, cell after cell in row order:
  undefined cell   the ten bytes "undefined\\n"
  numeric          shape prefix, then the values in casacore's storage order (first axis fastest), little-endian, each in the column's own
                   type: Bool 1 byte 0/1, uChar u8, Short i16, uShort u16, Int i32, uInt u32, Int64 i64, Float f32, Double f64,
                   Complex 2 x f32 (re, im), DComplex 2 x f64
  String array     shape prefix, then every string's UTF-8 bytes and one 0 byte, in storage order
  String scalar    the UTF-8 bytes and one 0 byte, NO shape prefix
  shape prefix     u32 ndim, then ndim times u64, casacore order; numeric scalar: ndim 0 (four 0 bytes)
  (a cell that holds an empty array counts as defined if casacore says so: its stream is the prefix alone; an
   array cell of no axes at all, "" in `shapes`, is ndim 0 with no values)
A table without rows, or a column without cells, has the digest of the empty stream, e3b0c44298fc1c14.
"""
import argparse
import hashlib
import json
import os
import struct
import sys

import numpy as np
import casacore
import casacore.tables as pt

# valueType of python-casacore -> our name, little-endian numpy type
TYPES = {
    "boolean": ("Bool", "u1"), "bool": ("Bool", "u1"), "uchar": ("uChar", "u1"),
    "short": ("Short", "<i2"), "ushort": ("uShort", "<u2"), "int": ("Int", "<i4"), "uint": ("uInt", "<u4"),
    "int64": ("Int64", "<i8"), "float": ("Float", "<f4"), "double": ("Double", "<f8"),
    "complex": ("Complex", "<c8"), "dcomplex": ("DComplex", "<c16"), "string": ("String", None),
}
CHUNK_BYTES = 32 << 20
UNDEFINED = b"undefined\n"


def prefix(shape):
    """Shape prefix; `shape` in casacore order."""
    return struct.pack("<I%dQ" % len(shape), len(shape), *shape)


class Numbers:
    """Digest and sums of a numeric column."""

    def __init__(self, name, dtype):
        self.name, self.dtype = name, np.dtype(dtype)
        self.sha = hashlib.sha256()
        self.total, self.size, self.bad = [0.0, 0.0], 0.0, 0

    def undefined(self):
        self.sha.update(UNDEFINED)

    def cells(self, values, is_array):
        """values: [row, ...] in python-casacore's axis order, all cells of one shape."""
        v = np.asarray(values)
        if v.dtype != self.dtype:                      # Bool comes as bool, small integers may come wider
            w = v.astype(self.dtype)
            if not np.array_equal(w, v, equal_nan=v.dtype.kind in "fc"):
                raise ValueError("values do not fit the declared type %s (numpy gave %s)" % (self.name, v.dtype))
            v = w
        v = np.ascontiguousarray(v)
        n = v.shape[0]
        head = np.frombuffer(prefix(v.shape[:0:-1] if is_array else ()), "u1")
        body = v.reshape(-1).view("u1").reshape(n, -1) if v.size else np.zeros((n, 0), "u1")
        self.sha.update(np.concatenate([np.broadcast_to(head, (n, len(head))), body], axis=1).tobytes())
        if not v.size:
            return
        parts = (v.real, v.imag) if v.dtype.kind == "c" else (v,)
        for k, p in enumerate(parts):
            p = p.astype("f8")
            ok = np.isfinite(p)
            self.bad += int(p.size - ok.sum())
            p = np.where(ok, p, 0.0)
            with np.errstate(over="ignore", invalid="ignore"):
                self.total[k] += float(p.sum())
                self.size += float(np.abs(p).sum())

    def result(self):
        r = {"digest": self.sha.hexdigest()[:16]}
        tell = lambda x: x if np.isfinite(x) else None
        total = [tell(x) for x in self.total]
        r["sum"] = total if self.dtype.kind == "c" else int(total[0]) if self.name == "Bool" else total[0]
        r["abs"] = tell(self.size)
        if self.dtype.kind in "fc":
            r["nonfinite"] = self.bad
        return r


def storage_order(cell):
    """(strings in storage order, shape in casacore order) of a String array cell, however python-casacore hands it over."""
    if isinstance(cell, dict):                         # {'shape': reversed axes, 'array': flat in storage order}
        return list(cell["array"]), tuple(int(n) for n in cell["shape"])[::-1]
    if isinstance(cell, np.ndarray):
        return [str(s) for s in cell.reshape(-1)], cell.shape[::-1]
    return list(cell), (len(cell),)


def shape_of(table, column, row):
    """Shape of one defined cell, casacore order, without reading the cell."""
    text = table.getcolshapestring(column, row, 1)[0]
    return tuple(int(n) for n in text.strip("[]").replace(" ", "").split(",") if n)[::-1]


def description(table, column):
    """Column description; where casacore refuses to give it (a reference table over hypercolumns), what can be asked otherwise."""
    try:
        return table.getcoldesc(column)
    except RuntimeError:
        desc = {"valueType": table.coldatatype(column)}
        if not table.isscalarcol(column):
            desc["ndim"] = -1
        return desc


def column_entry(table, column, manager):
    desc = description(table, column)
    value = desc["valueType"].lower()
    if value not in TYPES:
        return {"type": "Record" if value == "record" else value, "skipped": "not a column of numbers or strings", "rows": table.nrows()}
    name, dtype = TYPES[value]
    array = "ndim" in desc
    rows = table.nrows()
    entry = {"type": name, "kind": "scalar", "ndim": 0, "manager": manager, "rows": rows}
    if array:
        fixed = bool(desc.get("option", 0) & 4) and "shape" in desc
        entry["kind"], entry["ndim"] = ("fixed" if fixed else "variable"), int(desc["ndim"])
        if fixed:
            entry["shape"] = [int(n) for n in desc["shape"]][::-1]
    shapes, defined = {}, 0

    if name == "String":
        sha = hashlib.sha256()
        for row in range(rows):
            if not table.iscelldefined(column, row):
                sha.update(UNDEFINED)
                continue
            defined += 1
            cell = table.getcell(column, row)
            if array:
                strings, shape = storage_order(cell)
                expect = shape_of(table, column, row)
                if not strings and not np.prod(expect):
                    shape = expect
                if tuple(shape) != expect or len(strings) != int(np.prod(shape)):
                    raise ValueError("row %d: %d strings of shape %s, casacore says %s" % (row, len(strings), shape, expect))
                key = "x".join(map(str, shape))
                shapes[key] = shapes.get(key, 0) + 1
                sha.update(prefix(shape))
            else:
                strings = [cell]
            for s in strings:
                sha.update(s.encode("utf-8", "surrogateescape") + b"\0")
        entry["defined"] = defined
        entry["digest"] = sha.hexdigest()[:16]
    elif not array:
        out = Numbers(name, dtype)
        for row in range(0, rows, 1 << 20):
            out.cells(table.getcol(column, row, min(1 << 20, rows - row)), False)
        entry["defined"] = rows
        entry.update(out.result())
    else:
        out = Numbers(name, dtype)
        row = 0
        while row < rows:                              # runs of defined cells of one shape, at most CHUNK_BYTES each
            if not table.iscelldefined(column, row):
                out.undefined()
                row += 1
                continue
            shape = shape_of(table, column, row)
            count = int(np.prod(shape, dtype="i8")) if shape else 0
            limit = max(1, CHUNK_BYTES // max(1, count * out.dtype.itemsize))
            end = row + 1
            while end < rows and end - row < limit and table.iscelldefined(column, end) and shape_of(table, column, end) == shape:
                end += 1
            if not shape:                              # a value without axes or numbers, as casacore stores an empty array
                for _ in range(row, end):
                    out.sha.update(prefix(()))
                shapes[""] = shapes.get("", 0) + end - row
                defined += end - row
                row = end
                continue
            if count:
                block = np.asarray(table.getcol(column, row, end - row))
            else:
                block = np.zeros((end - row,) + shape[::-1], out.dtype)
            if block.shape != (end - row,) + shape[::-1]:
                raise ValueError("rows %d-%d: numpy shape %s, casacore says %s" % (row, end - 1, block.shape, shape))
            out.cells(block, True)
            key = "x".join(map(str, shape))
            shapes[key] = shapes.get(key, 0) + end - row
            defined += end - row
            row = end
        entry["defined"] = defined
        entry.update(out.result())
    if array:
        entry["shapes"] = dict(list(shapes.items())[:12])
        if len(shapes) > 12:
            entry["more_shapes"] = len(shapes) - 12
    return entry


def clean(error, root):
    """First line of an error, without the machine's folder."""
    return str(error).replace(os.path.dirname(os.path.realpath(root)) + "/", "").split("\n")[0]


def subtables(table):
    """(keyword, path) of every table that a table keyword or column keyword names."""
    sets = [("", table.getkeywords())]
    for c in table.colnames():
        try:
            sets.append((c + ":", table.getcolkeywords(c)))
        except RuntimeError:
            pass
    return [(p + k, v[len("Table:"):].strip()) for p, ks in sets for k, v in ks.items() if isinstance(v, str) and v.startswith("Table:")]


def walk(path, name, root, tables, seen):
    real = os.path.realpath(path)
    if real in seen:
        tables[name] = {"same_as": seen[real]}
        return
    try:
        table = pt.table(path, ack=False)
    except RuntimeError as e:
        tables[name] = {"error": clean(e, root)}
        return
    seen[real] = name
    manager = {c: d["TYPE"] for d in table.getdminfo().values() for c in d["COLUMNS"]}
    entry = tables[name] = {"rows": table.nrows(), "columns": {}}
    for column in sorted(table.colnames()):
        try:
            entry["columns"][column] = column_entry(table, column, manager.get(column, ""))
        except Exception as e:                         # recorded, never fatal: the other columns still count
            try:
                kind = table.coldatatype(column).lower()
            except RuntimeError:
                kind = "unknown"
            entry["columns"][column] = {"type": TYPES.get(kind, (kind,))[0], "manager": manager.get(column, ""), "rows": table.nrows(),
                                        "error": "%s: %s" % (type(e).__name__, clean(e, root))}
    links = subtables(table)
    table.close()
    for keyword, sub in links:
        walk(sub, name + "/" + keyword if name else keyword, root, tables, seen)


def main():
    arg = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arg.add_argument("--out", required=True, help="folder for the JSON files")
    arg.add_argument("--prefix", default="", help="put before the names of the JSON files")
    arg.add_argument("ms", nargs="+")
    a = arg.parse_args()
    os.makedirs(a.out, exist_ok=True)
    failed = 0
    for ms in a.ms:
        ms = ms.rstrip("/")
        base = os.path.basename(ms)
        tables = {}
        walk(ms, "", ms, tables, {})
        failed += "error" in tables[""]
        stem = a.prefix + (base[:-3] if base.endswith(".ms") else base)
        doc = {"ms": base, "casacore": library(),
               "made_by": "make_ms_oracle.py --out FOLDER%s %s" % (" --prefix " + a.prefix if a.prefix else "", base), "tables": tables}
        with open(os.path.join(a.out, stem + ".json"), "w") as f:
            json.dump(doc, f, indent=1, allow_nan=False)
            f.write("\n")
        cols = [c for t in tables.values() for c in t.get("columns", {}).values()]
        print("%s: %d tables (%d not opened), %d columns, %d skipped, %d with errors" % (
            stem, len(tables), sum("error" in t for t in tables.values()), len(cols), sum("skipped" in c for c in cols), sum("error" in c for c in cols)), flush=True)
    return 1 if failed else 0


def library():
    """"python-casacore X (libcasa_tables.so.N)": the reader whose answers these are. The library itself does not tell its version to Python."""
    try:
        names = {os.path.basename(line.split()[-1]) for line in open("/proc/self/maps") if "libcasa_tables" in line}
    except OSError:
        names = set()
    so = [".so" + n.split(".so", 1)[1] for n in names]
    return "python-casacore %s%s" % (casacore.__version__, " (libcasa_tables%s)" % so[0] if so else "")


if __name__ == "__main__":
    sys.exit(main())
