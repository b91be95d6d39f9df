//! Copies the files of a set, except those that are written anew.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::notice::Reporter;

/// Copied at a time, so that an interrupt is seen several times a second on a slow disk.
const PIECE: u64 = 16 << 20;

/// Copies all files below `from` into the folder `to`; those in `leave_empty` appear without content.
pub fn copy_set(from: &Path, to: &Path, leave_empty: &[PathBuf], notice: &dyn Reporter) -> Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(from)
        .and_then(|entries| entries.collect::<std::io::Result<Vec<_>>>())
        .map_err(|e| Error::io("read the folder of the set", from, e))?;
    entries.sort_by_key(|e| e.file_name());
    for entry in entries {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let meta = std::fs::metadata(&source).map_err(|e| Error::io("read a file of the set", &source, e))?;
        if meta.is_dir() {
            std::fs::create_dir(&target).map_err(|e| Error::io("create a folder of the copy", to, e))?;
            copy_set(&source, &target, leave_empty, notice)?;
        } else if leave_empty.contains(&source) {
            File::create(&target).map_err(|e| Error::io("create a file of the copy", to, e))?;
        } else if meta.is_file() {
            copy_file(&source, &target, notice)?;
        }
    }
    Ok(())
}

/// The copy is writable even where the original is not: it will be changed.
fn copy_file(source: &Path, target: &Path, notice: &dyn Reporter) -> Result<()> {
    let mut from = File::open(source).map_err(|e| Error::io("read a file of the set", source, e))?;
    let to = OpenOptions::new().write(true).create_new(true).open(target);
    let mut to = to.map_err(|e| Error::io("create a file of the copy", target, e))?;
    loop {
        notice.check()?;
        let n = std::io::copy(&mut Read::by_ref(&mut from).take(PIECE), &mut to).map_err(|e| Error::io("write the copy", target, e))?;
        if n == 0 {
            return Ok(());
        }
    }
}
