//! Pages that are printed from the catalogue, and the code blocks of the README.

use std::path::PathBuf;
use std::sync::Arc;

use phangs_script::script::catalogue;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// `UPDATE_DOCS=1 cargo test --release --test suite docs` writes the pages anew.
#[test]
fn the_pages_of_the_verbs_are_those_of_the_catalogue() {
    let dir = root().join("docs/verbs");
    let mut expected: Vec<(String, String)> = catalogue::all().map(|v| (format!("{}.md", v.name), catalogue::page(v))).collect();
    expected.push(("README.md".into(), catalogue::index()));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("docs/verbs");
        for (name, text) in &expected {
            std::fs::write(dir.join(name), text).expect("writable");
        }
    }
    for (name, text) in &expected {
        let there = std::fs::read_to_string(dir.join(name)).unwrap_or_default();
        assert!(there == *text, "docs/verbs/{name} is not what the catalogue prints: UPDATE_DOCS=1 cargo test --release --test suite docs");
    }
    let n_files = std::fs::read_dir(&dir).expect("docs/verbs").count();
    assert_eq!(n_files, expected.len(), "docs/verbs holds pages of verbs that are gone");
}

/// Runs a script in an empty project.
fn run(source: &str) -> Result<(), String> {
    use phangs_script::script::context::{Context, Memory, Setup};
    use phangs_script::script::engine::{self, Script};
    let dir = tempfile::tempdir().expect("a temporary folder");
    let context = Context::new(Setup::new(dir.path(), "docs", Arc::new(Memory::default()))).map_err(|e| e.to_string())?;
    engine::run(&Script::new("docs.rhai", source), &Arc::new(context)).map(|_| ()).map_err(|e| e.to_string())
}

#[test]
fn the_scripts_of_the_readme_run() {
    let text = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let blocks: Vec<&str> = text.split("```rhai\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        run(block).unwrap_or_else(|e| panic!("{block}\n{e}"));
    }
}

/// Every script in `scripts/` runs without data, on data that it simulates.
#[test]
fn every_script_runs_without_data() {
    for entry in std::fs::read_dir(root().join("scripts")).expect("scripts/").flatten() {
        let source = std::fs::read_to_string(entry.path()).expect("readable");
        run(&source).unwrap_or_else(|e| panic!("{}: {e}", entry.path().display()));
    }
}
