//! Step 2 on the shared simulated execution blocks, as a user runs it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use phangs_script::align::{FindOffsetOptions, find_offset};
use phangs_script::ms::{MeasurementSet, Names, Selection};
use phangs_script::notice::Quiet;
use phangs_script::units::MAS;
use serde_json::Value;

use super::shared;

/// The sets of `align_tiny` unpacked in a new folder, and the true offsets relative to LB1, mas.
struct Case {
    folder: tempfile::TempDir,
    truth: BTreeMap<String, [f64; 2]>,
}

impl Case {
    fn tiny() -> Option<Case> {
        let data = shared::data()?.join("sim/align_tiny");
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["LB1", "LB2", "LB3", "SB1", "SB2"] {
            shared::unpack(&data.join(format!("{name}.ms.tar.gz")), folder.path());
        }
        let truth: Value = serde_json::from_slice(&std::fs::read(data.join("truth.json")).expect("truth")).expect("truth is JSON");
        let place = |eb: &Value| [0, 1].map(|k| 1e3 * eb["d_as"][k].as_f64().expect("an offset"));
        let blocks = truth["ebs"].as_array().expect("blocks");
        let zero = place(&blocks[0]);
        let truth = blocks.iter().map(|eb| (eb["name"].as_str().expect("a name").to_string(), place(eb))).collect::<BTreeMap<_, _>>();
        let truth = truth.into_iter().map(|(name, p)| (name, [p[0] - zero[0], p[1] - zero[1]])).collect();
        Some(Case { folder, truth })
    }

    fn sets(&self, names: &[&str]) -> String {
        names.iter().map(|n| self.folder.path().join(format!("{n}.ms")).display().to_string()).collect::<Vec<_>>().join(",")
    }

    /// Runs step 2 in the project `project`; its exit status and its table.
    fn run(&self, project: &str, long: &[&str], short: &[&str], more: &[&str]) -> (i32, Vec<BTreeMap<String, String>>) {
        let project = self.folder.path().join(project);
        std::fs::create_dir_all(&project).expect("a folder");
        let mut command = Command::cargo_bin("phangs-script").expect("the program");
        command.current_dir(&project).args(["run", "step2_phase_alignment.rhai", "--quiet", "-p", "spw=0", "-p", "reference=LB1"]);
        command.args(["-p", &format!("long={}", self.sets(long))]);
        if !short.is_empty() {
            command.args(["-p", &format!("short={}", self.sets(short))]);
        }
        for option in more {
            command.args(["-p", option]);
        }
        let output = command.output().expect("the program runs");
        let table = products(&project).join("shifts.csv");
        assert!(table.is_file(), "{}", String::from_utf8_lossy(&output.stderr));
        (output.status.code().expect("an exit status"), rows(&table))
    }

    /// χ² of an offset against the truth, for two numbers.
    fn chi2(&self, row: &BTreeMap<String, String>) -> f64 {
        let truth = self.truth[&row["block"]];
        let number = |column: &str| row[column].parse::<f64>().expect("a number");
        let x = [(number("dra_mas") - truth[0]) / number("sigma_dra_mas"), (number("ddec_mas") - truth[1]) / number("sigma_ddec_mas")];
        let r = number("correlation");
        (x[0] * x[0] - 2.0 * r * x[0] * x[1] + x[1] * x[1]) / (1.0 - r * r)
    }
}

fn products(project: &Path) -> PathBuf {
    project.join("products/step2_phase_alignment")
}

fn rows(csv: &Path) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(csv).expect("a table");
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().expect("a header").split(',').collect();
    lines.map(|l| header.iter().map(|h| h.to_string()).zip(l.split(',').map(str::to_string)).collect()).collect()
}

/// By chance a χ² of two numbers is above 18.4 once in 10^4 cases.
const IMPROBABLE: f64 = 18.4;

#[test]
fn the_tiny_case_is_aligned_jointly_and_the_table_applies_to_other_sets() {
    let Some(case) = Case::tiny() else { return };
    let (status, table) = case.run("joint", &["LB1", "LB2", "LB3"], &["SB1", "SB2"], &[]);
    assert_eq!((status, table.len()), (0, 5));
    assert_eq!((table[0]["block"].as_str(), table[0]["dra_mas"].parse::<f64>()), ("LB1", Ok(0.0)));
    for row in &table[1..] {
        assert_eq!(row["converged"], "true");
        assert!(case.chi2(row) < IMPROBABLE, "{row:?}");
        // What is left after the shift is far below the error.
        for (check, sigma) in [("check_dra_mas", "sigma_dra_mas"), ("check_ddec_mas", "sigma_ddec_mas")] {
            let number = |column: &str| row[column].parse::<f64>().expect("a number");
            assert!(number(check).abs() < 0.3 * number(sigma), "{row:?}");
        }
    }
    let project = case.folder.path().join("joint");
    let made = ["LB1_shift.ms", "SB2_shift.ms", "LB_aligned.ms", "SB_aligned.ms", "shifts.md"].map(|n| products(&project).join(n));
    assert!(made.iter().all(|p| p.exists()), "{made:?}");

    let mut command = Command::cargo_bin("phangs-script").expect("the program");
    command.current_dir(&project).args(["run", "apply_shifts.rhai", "--quiet", "-p", &format!("sets={}", case.sets(&["LB1", "SB2"]))]);
    command.assert().success();
    let applied = project.join("products/apply_shifts/SB2_shift.ms");
    // The table holds microarcseconds.
    let [a, b] = [&made[1], &applied].map(|set| {
        let selection = Selection { spw: Names(vec!["0".to_string()]), ..Default::default() };
        MeasurementSet::open(set).expect("a set").select(&selection).expect("a window")
    });
    let fit = find_offset(&a, &b, &FindOffsetOptions::default(), &Quiet::default()).expect("a fit");
    assert!(fit.offset.length_rad() < 1e-5 * MAS, "{fit}");
}

#[test]
fn staged_and_pairwise_are_right_or_refused() {
    let Some(case) = Case::tiny() else { return };
    for (project, options) in [("staged", ["order=staged", "method=joint"]), ("pairwise", ["order=staged", "method=pairwise"])] {
        let (status, table) = case.run(project, &["LB1", "LB2", "LB3"], &["SB1", "SB2"], &options);
        let (aligned, refused): (Vec<_>, Vec<_>) = table[1..].iter().partition(|r| r["converged"] == "true");
        assert_eq!(status, if refused.is_empty() { 0 } else { 4 }, "{project}");
        assert!(aligned.len() >= 2, "{project}: {table:?}");
        aligned.iter().for_each(|r| assert!(case.chi2(r) < IMPROBABLE, "{project}: {r:?}"));
        refused.iter().for_each(|r| assert!(r["dra_mas"].is_empty(), "{project}: a refused block has no offset: {r:?}"));
    }
}

/// Long baselines alone show the bright core of the disk; the support has to hold all of it.
#[test]
fn two_long_baseline_blocks_are_enough() {
    let Some(case) = Case::tiny() else { return };
    for other in ["LB2", "LB3"] {
        let (status, table) = case.run(&format!("with_{other}"), &["LB1", other], &[], &[]);
        assert_eq!(status, 0, "{table:?}");
        assert!(case.chi2(&table[1]) < IMPROBABLE, "{table:?}");
    }
}
