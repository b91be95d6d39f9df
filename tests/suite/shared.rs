//! The shared data, which may be absent.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Folder of the shared data; says that the test is skipped where there is none.
pub fn data() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let path = std::env::var_os("PHANGS_SCRIPT_DATA").map_or(default, PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: {} is absent", path.display());
    None
}

/// Unpacks a tar archive into a folder.
pub fn unpack(archive: &Path, folder: &Path) {
    let unpacked = Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(folder).status();
    assert!(unpacked.expect("tar runs").success(), "cannot unpack {}", archive.display());
}
