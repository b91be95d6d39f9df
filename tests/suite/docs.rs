//! Pages that are printed from the catalogue, and the code blocks of the README.

use std::path::PathBuf;

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
