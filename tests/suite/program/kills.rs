//! Kills at random times: never a wrong record, never a half output, and the rerun repeats at most the step in flight.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use super::{Ended, Project, STEPS, hash};

/// Outputs of the script, which must be whole whenever they are there.
const OUTPUTS: [&str; 5] =
    ["products/B_shift.ms", "products/joined.ms", "products/shifts.csv", "plots/demo/shifts.png", "plots/demo/overlap.png"];

fn kill_at_random(times: usize) {
    let mut whole = Project::new();
    let mut full = Duration::MAX;
    for _ in 0..3 {
        whole = fresh(whole);
        let clock = Instant::now();
        whole.run(&[]).steps();
        full = full.min(clock.elapsed());
    }
    let expected = OUTPUTS.map(|o| hash(&whole.path(o)));
    let mut p = Project::new();
    let mut killed_in_flight = 0;
    for i in 0..times {
        // low-discrepancy times over the whole run, so that every step is hit
        let part = (i as f64 * 0.618_033_988_749_895).fract();
        let mut child = p.start(&[]);
        std::thread::sleep(Duration::from_secs_f64(0.8 * full.as_secs_f64() * part));
        killed_in_flight += usize::from(child.try_wait().unwrap().is_none());
        let _ = child.kill();
        child.wait().unwrap();
        for (output, expected) in OUTPUTS.iter().zip(&expected) {
            assert!(!p.path(output).exists() || hash(&p.path(output)) == *expected, "kill {i}: {output} is half written");
        }
        let recorded = recorded(&p);
        let again = p.run(&[]);
        let (run, skipped, restored) = again.steps();
        assert_eq!(run + skipped + restored, STEPS);
        // a step is in the record once it is whole; the one in flight may be whole before its line is written
        assert!(run <= STEPS - recorded.len(), "kill {i}: {} steps are recorded, and {run} were done again", recorded.len());
        assert_eq!(p.call(["check", "plots/demo"]).code, Some(0), "kill {i}");
        for folder in ["products", "plots/demo"] {
            let hidden = fs::read_dir(p.path(folder)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
            assert_eq!(hidden.filter(|n| n.starts_with('.')).count(), 0, "kill {i}: leftovers in {folder}");
        }
        p = fresh(p);
    }
    println!("{times} kills, {killed_in_flight} while the run was under way; the run takes {:.2} s", full.as_secs_f64());
    assert!(4 * killed_in_flight > times, "most kills came after the end");
}

/// Keys of the steps that the record says are done.
fn recorded(p: &Project) -> BTreeSet<String> {
    let Ok(text) = fs::read_to_string(p.path("plots/demo/run.jsonl")) else { return BTreeSet::new() };
    let lines = text.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    lines.filter(|l| l["type"] == "step").map(|l| l["key"].as_str().unwrap().to_string()).collect()
}

/// The same project without anything that was made.
fn fresh(p: Project) -> Project {
    for folder in ["products", "plots", ".phangs"] {
        let _ = fs::remove_dir_all(p.path(folder));
    }
    p
}

#[test]
fn twelve_kills_at_spread_times() {
    kill_at_random(12);
}

#[test]
#[ignore = "60 s: 100 kills"]
fn a_hundred_kills_at_spread_times() {
    kill_at_random(100);
}

/// A kill during a rerun with another parameter keeps the old output or has the new one.
#[test]
fn a_kill_while_an_output_is_replaced_leaves_the_old_or_the_new_one() {
    let p = Project::new();
    p.run(&[]).steps();
    let old = hash(&p.path("products/joined.ms"));
    p.run(&["factor=2"]).steps();
    let new = hash(&p.path("products/joined.ms"));
    for i in 0..6 {
        fs::remove_dir_all(p.path(".phangs/blobs")).unwrap();
        let factor = if i % 2 == 0 { "factor=1.0" } else { "factor=2" };
        let mut child = p.start(&[factor]);
        std::thread::sleep(Duration::from_millis(20 + 25 * i));
        let _ = child.kill();
        child.wait().unwrap();
        // whoever runs next puts things in order
        let settled = Ended::of(p.command(["run", "scripts/demo.rhai", "--json", "-p", factor]).output().unwrap());
        settled.steps();
        let is = hash(&p.path("products/joined.ms"));
        assert_eq!(is, if i % 2 == 0 { old.clone() } else { new.clone() }, "kill {i}");
    }
}
