//! The arrows of docs/architecture.md: which room may import which.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Rooms in the order of the arrows: a room may import those of its `may` list and itself.
fn arrows() -> BTreeMap<&'static str, Vec<&'static str>> {
    let words = ["calendar", "data", "error", "notice", "options", "sky", "testdata", "units"];
    let science = ["align", "calibrate", "imaging", "staging", "products"];
    let edges = ["ms", "fits", "plot"];
    let mut may: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for room in words {
        may.insert(room, words.to_vec());
    }
    may.insert("gridding", words.to_vec());
    for room in science {
        may.insert(room, words.iter().copied().chain(["gridding"]).collect());
    }
    for room in edges {
        may.insert(room, words.to_vec());
    }
    may.insert("run", words.to_vec());
    // ms and fits say how their files are hashed: the trait for it lives in run (docs/architecture.md).
    for room in ["ms", "fits"] {
        if let Some(list) = may.get_mut(room) {
            list.push("run");
        }
    }
    may.insert("project", words.to_vec());
    let below: Vec<&str> = may.keys().copied().collect();
    may.insert("script", below.clone());
    may.insert("cli", ["script", "run", "project"].into_iter().chain(words).collect());
    may
}

fn source_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = vec![];
    for entry in std::fs::read_dir(dir).expect("src is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(source_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Rooms named after `crate::` in the code of a file (comments left out, grouped imports included).
fn imports(text: &str) -> Vec<String> {
    let code: String = text.lines().map(|l| l.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n");
    let mut rooms = vec![];
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with('$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or("").split(',').collect(),
            None => vec![rest],
        };
        for name in names {
            let name: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            rooms.push(name);
        }
    }
    rooms
}

#[test]
fn rooms_import_only_along_the_arrows() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let arrows = arrows();
    let mut wrong = vec![];
    let mut n_imports = 0;
    for file in source_files(&src) {
        let inside = file.strip_prefix(&src).expect("below src");
        let first = inside.iter().next().expect("has a part").to_string_lossy().to_string();
        let room = first.trim_end_matches(".rs").to_string();
        if ["lib", "main", "testdata"].contains(&room.as_str()) {
            continue;
        }
        let Some(may) = arrows.get(room.as_str()) else {
            panic!("src/{first} is a room that docs/architecture.md and this test do not know")
        };
        let text = std::fs::read_to_string(&file).expect("readable");
        // Tests may read files to compare with.
        let name = inside.display().to_string();
        if name.ends_with("tests.rs") || name.contains("/tests/") {
            continue;
        }
        let code: String = text.lines().take_while(|l| !l.starts_with("mod tests {")).collect::<Vec<_>>().join("\n");
        for import in imports(&code) {
            n_imports += 1;
            let known = arrows.contains_key(import.as_str());
            if known && import != room && !may.contains(&import.as_str()) {
                wrong.push(format!("{} imports {import}", inside.display()));
            }
        }
    }
    assert!(n_imports > 30, "the test reads {n_imports} imports: it no longer understands the sources");
    assert!(wrong.is_empty(), "against the arrows:\n{}", wrong.join("\n"));
}

#[test]
fn only_script_knows_rhai_and_only_cli_knows_clap_and_prints() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in source_files(&src) {
        let inside = file.strip_prefix(&src).expect("below src").display().to_string();
        let text = std::fs::read_to_string(&file).expect("readable");
        let code: String = text
            .lines()
            .map(|l| l.split("//").next().unwrap_or(""))
            .take_while(|l| !l.contains("mod tests {"))
            .collect::<Vec<_>>()
            .join("\n");
        let is_test = inside.ends_with("tests.rs") || inside.contains("/tests/") || inside == "testdata.rs";
        assert!(inside.starts_with("script") || !code.contains("rhai::"), "{inside} knows Rhai");
        assert!(inside.starts_with("cli") || !code.contains("clap::"), "{inside} knows clap");
        let prints = ["println!", "eprintln!", "print!(", "process::exit"];
        assert!(
            inside.starts_with("cli") || inside == "main.rs" || is_test || !prints.iter().any(|p| code.contains(p)),
            "{inside} prints or exits"
        );
    }
}
