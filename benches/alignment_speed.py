#!/usr/bin/env python3
"""Step 2 against copying and reading the same sets, alternately in one run.

usage: alignment_speed.py PHANGS_SCRIPT CASE_FOLDER SCRATCH_FOLDER [REPEATS]

CASE_FOLDER holds LB1.ms LB2.ms LB3.ms SB1.ms SB2.ms. Needs python-casacore. Prints, for 1 and 2 threads:
 - one pair: wall time of the step `find_offset` (from the record of the run) over the time that python-casacore's getcolnp
   takes for DATA, FLAG, WEIGHT and UVW of both sets, into buffers that are there;
 - the whole script (whole process) over `cp -r` of the five sets twice and `sync`;
 - peak anonymous memory (sampled every 5 ms) and maximum resident size.
Medians over the repeats; page cache warm.
"""
import json, os, resource, shutil, statistics, subprocess, sys, time
import numpy as np
import casacore.tables as pt

program, case, scratch = (os.path.abspath(p) for p in sys.argv[1:4])
repeats = int(sys.argv[4]) if len(sys.argv) > 4 else 5
SETS = [f"{case}/{n}.ms" for n in ("LB1", "LB2", "LB3", "SB1", "SB2")]
HERE = os.path.dirname(os.path.abspath(__file__))
PAIR = 'let a = param("a", "", #{ path: "in" }); let b = param("b", "", #{ path: "in" }); print(find_offset(a, b, #{ spw: 0 }));'


def read_columns(ms, buffers):
    t = pt.table(ms, ack=False)
    sub = t.query("DATA_DESC_ID==0")
    for c in ("DATA", "FLAG", "WEIGHT", "UVW"):
        if (ms, c) not in buffers:
            buffers[ms, c] = sub.getcol(c)
    start = time.perf_counter()
    for c in ("DATA", "FLAG", "WEIGHT", "UVW"):
        sub.getcolnp(c, buffers[ms, c])
    return time.perf_counter() - start


def watched(command):
    """Wall seconds, peak anonymous MB, maximum resident MB of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    start = time.perf_counter()
    p = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = 0
    while p.poll() is None:
        try:
            for line in open(f"/proc/{p.pid}/status"):
                if line.startswith("RssAnon"):
                    peak = max(peak, int(line.split()[1]))
        except OSError:
            pass
        time.sleep(0.005)
    wall = time.perf_counter() - start
    if p.returncode not in (0, 4):
        sys.exit(p.stderr.read().decode())
    return wall, peak / 1024, max(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, before) / 1024


def step_seconds(plots, verb):
    lines = [json.loads(l) for l in open(f"{plots}/run.jsonl")]
    return [l["usage"]["wall_s"] for l in lines if l.get("type") == "step" and l["verb"] == verb][-1]


def fresh():
    shutil.rmtree(scratch, ignore_errors=True)
    os.makedirs(f"{scratch}/scripts")
    open(f"{scratch}/scripts/pair.rhai", "w").write(PAIR)
    shutil.copy(f"{HERE}/../scripts/step2_phase_alignment.rhai", f"{scratch}/scripts/")


def copies():
    shutil.rmtree(f"{scratch}/copy", ignore_errors=True)
    os.makedirs(f"{scratch}/copy")
    os.sync()
    start = time.perf_counter()
    for k in "12":
        os.makedirs(f"{scratch}/copy/{k}")
        subprocess.check_call(["cp", "-r", *SETS, f"{scratch}/copy/{k}"])
    subprocess.check_call(["sync"])
    wall = time.perf_counter() - start
    shutil.rmtree(f"{scratch}/copy")
    os.sync()
    return wall


def main():
    buffers, rows = {}, {}
    for _ in range(repeats):
        for threads in ("1", "2"):
            fresh()
            read = read_columns(SETS[0], buffers) + read_columns(SETS[1], buffers)
            watched([program, f"{scratch}/scripts/pair.rhai", "--threads", threads, "-p", f"a={SETS[0]}", "-p", f"b={SETS[1]}"])
            fit = step_seconds(f"{scratch}/plots/pair", "find_offset")
            copy = copies()
            args = [program, f"{scratch}/scripts/step2_phase_alignment.rhai", "--threads", threads, "-p", "spw=0", "-p", "reference=LB1",
                    "-p", "long=" + ",".join(SETS[:3]), "-p", "short=" + ",".join(SETS[3:]), "-p", f"products={scratch}/products"]
            os.sync()
            whole, anon, rss = watched(args)
            again, _, _ = watched(args)
            rows.setdefault(threads, []).append((read, fit, fit / read, copy, whole, whole / copy, again, anon, rss))
    names = ("read s", "fit s", "fit/read", "copy s", "script s", "script/copy", "second run s", "anon MB", "rss MB")
    print("threads  " + "  ".join(f"{n:>12}" for n in names))
    for threads, values in rows.items():
        print(f"{threads:>7}  " + "  ".join(f"{statistics.median(c):12.3f}" for c in zip(*values)))


main()
