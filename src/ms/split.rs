//! Rows of a set as a set of their own: one execution block of a set that holds several.

use std::path::{Path, PathBuf};

use rubbl_casatables::{Table, TableOpenMode};

use super::atomic::NewFolder;
use super::casacore::{alone_writing, casacore};
use super::copy_set::copy_set;
use super::error::MsError;
use super::history::{HistoryEntry, append_history};
use super::measurement_set::MeasurementSet;
use super::select::{Names, Selection, select_rows};
use crate::error::{Error, Result};
use crate::notice::Reporter;

/// Rows copied between two looks at the clock.
const PIECE: usize = 2048;

/// Copies one execution block of `ms`, with all columns and subtables, into the new set `out`.
pub fn split_block(ms: &MeasurementSet, block: usize, out: &Path, notice: &dyn Reporter) -> Result<PathBuf> {
    let selection = Selection { block: Names(vec![block.to_string()]), ..Selection::default() };
    let at_set = |e: MsError| Error::from(e).at(&ms.path);
    let mut rows: Vec<u64> = select_rows(ms, &selection).map_err(at_set)?.ranges.into_iter().flat_map(|(range, ..)| range).collect();
    rows.sort_unstable();
    let folder = NewFolder::new(out)?;
    let part = folder.path().join("main");
    copy_rows(&ms.path, &rows, &part, notice)?;
    replace_subtables(&ms.path, &part, notice)?;
    let history = HistoryEntry::new("split_block", format!("block {block} of {}", ms.name), &selection);
    append_history(&part, &history).map_err(|e| e.at(out))?;
    move_up(&part, folder.path()).map_err(|e| Error::io("complete the output", out, e))?;
    folder.publish(notice)
}

/// The main table with these rows only, kept by the storage managers of the original.
fn copy_rows(from: &Path, rows: &[u64], to: &Path, notice: &dyn Reporter) -> Result<()> {
    let failed = |what: &str, e: &dyn std::fmt::Display| Error::from(casacore(what, e)).at(from);
    alone_writing(|| {
        let mut source = Table::open(from, TableOpenMode::Read).map_err(|e| failed("open the set", &e))?;
        source.deep_copy_no_rows(&to.display().to_string()).map_err(|e| failed("copy the description of the set", &e))?;
        let mut target = Table::open(to, TableOpenMode::ReadWrite).map_err(|e| failed("open the copy", &e))?;
        target.add_rows(rows.len()).map_err(|e| failed("add rows", &e))?;
        let mut writer = target.get_row_writer().map_err(|e| failed("write rows", &e))?;
        let mut i_row = 0;
        for piece in rows.chunks(PIECE) {
            notice.check()?;
            notice.progress("split", i_row, rows.len() as u64);
            source
                .for_each_specific_row(piece, |row| {
                    row.copy_and_put(&mut writer, i_row)?;
                    i_row += 1;
                    Ok(())
                })
                .map_err(|e| failed("copy rows", &e))?;
        }
        Ok(())
    })
}

/// The copied description comes with empty subtables: those of the original take their places.
fn replace_subtables(from: &Path, to: &Path, notice: &dyn Reporter) -> Result<()> {
    let entries = std::fs::read_dir(from).map_err(|e| Error::io("read the folder of the set", from, e))?;
    for entry in entries.flatten().filter(|e| e.path().is_dir()) {
        let target = to.join(entry.file_name());
        if target.exists() {
            std::fs::remove_dir_all(&target).map_err(|e| Error::io("replace a subtable", &target, e))?;
        }
        std::fs::create_dir(&target).map_err(|e| Error::io("replace a subtable", &target, e))?;
        copy_set(&entry.path(), &target, &[], notice)?;
    }
    Ok(())
}

fn move_up(part: &Path, folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(part)? {
        let entry = entry?;
        std::fs::rename(entry.path(), folder.join(entry.file_name()))?;
    }
    std::fs::remove_dir(part)
}
