//! Every column of every table of the shared sets reads as python-casacore reads it.
//!
//! The digests are in tests/oracle/ms; what they are digests of is said in tests/oracle/make_ms_oracle.py, which made them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use phangs_script::ms::aipsio::CellType;
use phangs_script::ms::{MsError, TableFiles, TileValue, TiledColumn, casacore};
use rubbl_casatables::{CasaScalarData, Complex, Table, TableRow};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::shared;

/// The archive that an oracle file is about: `align_tiny_LB1` is sim/align_tiny/LB1.
fn archive(data: &Path, stem: &str) -> PathBuf {
    for case in ["align_tiny", "line_small"] {
        if let Some(name) = stem.strip_prefix(&format!("{case}_")) {
            return data.join(format!("sim/{case}/{name}.ms.tar.gz"));
        }
    }
    data.join(format!("real/ms/{stem}.ms.tar.gz"))
}

/// The stream of a column, and what else the oracle says of it.
#[derive(Default)]
struct Stream {
    sha: Sha256,
    defined: u64,
    shapes: BTreeMap<String, u64>,
}

/// The bytes that stand for one value in the stream.
trait Bytes: Copy {
    fn push(self, out: &mut Vec<u8>);
}

macro_rules! numbers { ($($T:ty)*) => { $( impl Bytes for $T { fn push(self, out: &mut Vec<u8>) { out.extend(self.to_le_bytes()) } } )* } }
numbers!(u8 i16 u16 i32 u32 i64 f32 f64);

impl Bytes for bool {
    fn push(self, out: &mut Vec<u8>) {
        out.push(u8::from(self));
    }
}

impl<T: Bytes> Bytes for Complex<T> {
    fn push(self, out: &mut Vec<u8>) {
        self.re.push(out);
        self.im.push(out);
    }
}

impl Stream {
    fn undefined(&mut self) {
        self.sha.update(b"undefined\n");
    }

    fn prefix(&mut self, shape: &[usize]) {
        self.sha.update((shape.len() as u32).to_le_bytes());
        for n in shape {
            self.sha.update((*n as u64).to_le_bytes());
        }
        self.defined += 1;
    }

    fn note_shape(&mut self, shape: &[usize]) {
        let key = shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        *self.shapes.entry(key).or_default() += 1;
    }

    fn cell<T: Bytes>(&mut self, shape: Option<&[usize]>, values: &[T]) {
        self.prefix(shape.unwrap_or_default());
        if let Some(shape) = shape {
            self.note_shape(shape);
        }
        let mut bytes = Vec::new();
        values.iter().for_each(|v| v.push(&mut bytes));
        self.sha.update(bytes);
    }

    fn texts(&mut self, shape: Option<&[usize]>, values: &[String]) {
        match shape {
            Some(shape) => {
                self.prefix(shape);
                self.note_shape(shape);
            }
            None => self.defined += 1,
        }
        for text in values {
            self.sha.update(text.as_bytes());
            self.sha.update([0]);
        }
    }

    fn digest(self) -> String {
        self.sha.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect()
    }
}

type Read<T> = Result<T, MsError>;

/// A column of numbers: through tiles where it is kept in tiles, else through casacore.
fn numbers_of<T>(
    table: &mut Table,
    row: &mut TableRow,
    files: Option<&TableFiles>,
    name: &str,
    array: bool,
    stream: &mut Stream,
) -> Read<()>
where
    T: TileValue + CasaScalarData + Bytes,
{
    if let (true, Some(files)) = (array, files) {
        if let Some(tiles) = TiledColumn::open(files, name)? {
            return tiled::<T>(&tiles, stream);
        }
    }
    through_casacore::<T>(table, row, name, array, stream)
}

fn tiled<T: TileValue + Bytes>(tiles: &TiledColumn, stream: &mut Stream) -> Read<()> {
    for (rows, shape) in tiles.shapes(0..tiles.rows()) {
        for first in rows.clone().step_by(1000) {
            let n = (rows.end - first).min(1000) as usize;
            let Some(shape) = shape else {
                (0..n).for_each(|_| stream.undefined());
                continue;
            };
            let len: usize = shape.iter().product();
            let mut values = vec![T::default(); n * len];
            tiles.read(first, n, &mut values)?;
            values.chunks_exact(len).for_each(|cell| stream.cell(Some(shape), cell));
        }
    }
    Ok(())
}

fn through_casacore<T: CasaScalarData + Bytes>(
    table: &mut Table,
    row: &mut TableRow,
    name: &str,
    array: bool,
    stream: &mut Stream,
) -> Read<()> {
    if !array {
        casacore::column::<T>(table, name)?.iter().for_each(|v| stream.cell(None, &[*v]));
        return Ok(());
    }
    for i in 0..table.n_rows() {
        match casacore::shaped_cell::<T>(table, row, name, i)? {
            Some((shape, values)) => stream.cell(Some(&shape), &values),
            None => stream.undefined(),
        }
    }
    Ok(())
}

fn strings_of(table: &mut Table, name: &str, array: bool, stream: &mut Stream) -> Read<()> {
    if !array {
        casacore::column::<String>(table, name)?.into_iter().for_each(|text| stream.texts(None, &[text]));
        return Ok(());
    }
    for i in 0..table.n_rows() {
        match casacore::array_cell::<String>(table, name, i)? {
            Some(texts) => stream.texts(Some(&[texts.len()]), &texts),
            None => stream.undefined(),
        }
    }
    Ok(())
}

/// Type of a column and whether it holds arrays; from the table's files, or from casacore for a table that refers to another.
fn kind(table: &mut Table, files: Option<&TableFiles>, name: &str, expected: &Value) -> Result<(CellType, bool), String> {
    let Some(files) = files else {
        let description = table.get_col_desc(name).map_err(|e| e.to_string())?;
        let (cell, _) = CellType::from_code(description.data_type() as i32).ok_or("unknown type")?;
        return Ok((cell, !description.is_scalar()));
    };
    let column = files.column(name).ok_or("missing in table.dat")?;
    if expected["manager"] != files.manager_of(column).map_or("", |m| m.kind.as_str()) {
        return Err(format!("manager: {column:?}"));
    }
    Ok((column.cell, column.array))
}

fn column(table: &mut Table, row: &mut TableRow, files: Option<&TableFiles>, name: &str, expected: &Value) -> Result<(), String> {
    let (cell, array) = kind(table, files, name, expected)?;
    if (expected["kind"] == "scalar") == array {
        return Err(format!("{} expected", expected["kind"]));
    }
    let mut stream = Stream::default();
    let out = &mut stream;
    let (name_of_type, read) = match cell {
        CellType::Bool => ("Bool", numbers_of::<bool>(table, row, files, name, array, out)),
        CellType::UChar => ("uChar", numbers_of::<u8>(table, row, files, name, array, out)),
        CellType::Short => ("Short", numbers_of::<i16>(table, row, files, name, array, out)),
        CellType::UShort => ("uShort", through_casacore::<u16>(table, row, name, array, out)),
        CellType::Int => ("Int", numbers_of::<i32>(table, row, files, name, array, out)),
        CellType::UInt => ("uInt", numbers_of::<u32>(table, row, files, name, array, out)),
        CellType::Int64 => ("Int64", numbers_of::<i64>(table, row, files, name, array, out)),
        CellType::Float => ("Float", numbers_of::<f32>(table, row, files, name, array, out)),
        CellType::Double => ("Double", numbers_of::<f64>(table, row, files, name, array, out)),
        CellType::Complex => ("Complex", numbers_of::<Complex<f32>>(table, row, files, name, array, out)),
        CellType::DComplex => ("DComplex", numbers_of::<Complex<f64>>(table, row, files, name, array, out)),
        CellType::String => ("String", strings_of(table, name, array, out)),
        other => return Err(format!("type {other:?}")),
    };
    read.map_err(|e| e.to_string())?;
    if expected["type"] != name_of_type || expected["defined"] != stream.defined {
        return Err(format!("{name_of_type}, {} defined; expected {} and {}", stream.defined, expected["type"], expected["defined"]));
    }
    if expected["more_shapes"].is_null() && array {
        let shapes: BTreeMap<String, u64> = serde_json::from_value(expected["shapes"].clone()).map_err(|e| e.to_string())?;
        if shapes != stream.shapes {
            return Err(format!("shapes {:?}, expected {shapes:?}", stream.shapes));
        }
    }
    let digest = stream.digest();
    if expected["digest"] != digest.as_str() { Err(format!("digest {digest}, expected {}", expected["digest"])) } else { Ok(()) }
}

/// Compares all columns of one table; returns how many there were and what differs.
fn table(path: &Path, expected: &Value) -> Result<(usize, Vec<String>), String> {
    let files = TableFiles::read(path).map_err(|e| e.to_string())?;
    let columns = expected["columns"].as_object().ok_or("no columns in the oracle")?;
    let mut faults = Vec::new();
    casacore::with_table(path, |t| {
        if expected["rows"] != t.n_rows() {
            faults.push(format!("{} rows, expected {}", t.n_rows(), expected["rows"]));
        }
        let mut row = t.get_row_reader().map_err(|e| casacore::casacore("read rows", e))?;
        for (name, e) in columns.iter().filter(|(_, e)| e["skipped"].is_null()) {
            if let Err(fault) = column(t, &mut row, files.as_ref(), name, e) {
                faults.push(format!("{name}: {fault}"));
            }
        }
        Ok(())
    })
    .map_err(|e| e.to_string())?;
    Ok((columns.len(), faults))
}

#[test]
fn every_column_reads_as_in_python_casacore() {
    let Some(data) = shared::data() else { return };
    let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/ms");
    let mut files: Vec<PathBuf> = std::fs::read_dir(oracle).expect("the oracle is there").flatten().map(|e| e.path()).collect();
    files.sort();
    let (mut n_columns, mut faults) = (0, Vec::new());
    for file in files {
        let stem = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let json: Value = serde_json::from_slice(&std::fs::read(&file).expect("readable")).expect("JSON");
        let folder = tempfile::tempdir().expect("a temporary folder");
        shared::unpack(&archive(&data, &stem), folder.path());
        let set = folder.path().join(json["ms"].as_str().expect("name"));
        for (name, expected) in json["tables"].as_object().expect("tables") {
            if !expected["error"].is_null() || !expected["same_as"].is_null() {
                continue;
            }
            match table(&set.join(name), expected) {
                Ok((n, found)) => {
                    n_columns += n;
                    faults.extend(found.into_iter().map(|f| format!("{stem} {name}/{f}")));
                }
                Err(e) => faults.push(format!("{stem} {name}: {e}")),
            }
        }
    }
    println!("{n_columns} columns");
    assert!(faults.is_empty(), "{} of {n_columns} columns differ:\n{}", faults.len(), faults.join("\n"));
    assert!(n_columns > 2000, "only {n_columns} columns");
}
