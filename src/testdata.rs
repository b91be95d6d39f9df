//! Where tests find real and reference data.

use std::path::PathBuf;

/// A file of the shared data, or `None`, saying so, where they are absent.
pub(crate) fn shared(relative: &str) -> Option<PathBuf> {
    let root = std::env::var_os("PHANGS_SCRIPT_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let path = root.join(relative);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is absent (set PHANGS_SCRIPT_DATA)", path.display());
    None
}

/// A file of `tests/oracle`.
pub(crate) fn oracle(name: &str) -> serde_json::Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).expect("in the repository")).expect("written by its script")
}
