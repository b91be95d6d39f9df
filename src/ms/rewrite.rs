//! A copy of a set in which a column of visibilities is changed, block by block.

use std::path::{Path, PathBuf};

use ndarray::Array3;
use num_complex::Complex32;
use rubbl_casatables::{Array, GlueDataType};

use super::atomic::{NewFolder, refuse_existing};
use super::casacore::{casacore as failed, with_table_mut};
use super::copy_set::copy_set;
use super::error::MsError;
use super::history::{HistoryEntry, append_history};
use super::measurement_set::MeasurementSet;
use super::selected::Selected;
use super::table_files::TableFiles;
use super::tiles::TiledColumn;
use crate::data::{VisBlock, VisSource};
use crate::error::{Error, Result};
use crate::notice::Reporter;

/// Copies `ms` to `out` with `column` changed in the rows of `parts`, which must hold all channels and correlations of their
/// rows: `change` makes the new values, [row, chan, corr], from a block of the column that the part reads.
///
/// A column that is not there is added. `out` appears whole or not at all.
pub fn rewrite_visibilities(
    ms: &MeasurementSet,
    parts: &[Selected],
    column: &str,
    out: &Path,
    history: &HistoryEntry,
    change: &dyn Fn(usize, &VisBlock) -> Result<Array3<Complex32>>,
    notice: &dyn Reporter,
) -> Result<PathBuf> {
    refuse_existing(out)?;
    let folder = NewFolder::new(out)?;
    copy_set(&ms.path, folder.path(), &[], notice)?;
    let target = Target::open(ms, folder.path(), column).map_err(|e| Error::from(e).at(&ms.path))?;
    let total: u64 = parts.iter().map(VisSource::n_rows).sum();
    let mut done = 0;
    for (i, part) in parts.iter().enumerate() {
        for b in 0..part.n_blocks() {
            notice.check()?;
            let block = part.read_block(b)?;
            let values = change(i, &block)?;
            check_whole(ms, &block)?;
            target.write(&block.row, &values).map_err(|e| Error::from(e).at(folder.out()))?;
            done += block.row.len() as u64;
            notice.progress("write visibilities", done, total);
        }
    }
    append_history(folder.path(), history)?;
    folder.publish(notice)
}

/// Refuses blocks with fewer channels than their window has: a cell is written whole.
fn check_whole(ms: &MeasurementSet, block: &VisBlock) -> Result<()> {
    let n_chan = ms.spws[block.i_spw].freq_hz.len();
    if block.freq_hz.len() == n_chan {
        return Ok(());
    }
    let message =
        format!("spw {} is selected with {} of its {n_chan} channels, but cells are written whole", block.i_spw, block.freq_hz.len());
    Err(Error::user(message).hint("select windows without channels"))
}

/// A column that is written.
enum Target {
    Tiled(TiledColumn),
    Casacore { set: PathBuf, column: String },
}

impl Target {
    fn open(ms: &MeasurementSet, copy: &Path, column: &str) -> Result<Target, MsError> {
        if !ms.has_column(column) {
            with_table_mut(copy, |t| {
                let added = t.add_array_column(GlueDataType::TpComplex, column, Some("model visibilities"), None, false, false);
                added.map_err(|e| failed(format!("add column {column}"), e))
            })?;
        }
        let tiled = match TableFiles::read(copy)? {
            Some(files) => TiledColumn::open_for_writing(&files, column)?,
            None => None,
        };
        Ok(tiled.map_or_else(|| Target::Casacore { set: copy.to_path_buf(), column: column.to_string() }, Target::Tiled))
    }

    fn write(&self, rows: &[u64], values: &Array3<Complex32>) -> Result<(), MsError> {
        let per_row = values.len() / rows.len().max(1);
        let flat = values.as_standard_layout();
        let flat = flat.as_slice().ok_or_else(|| MsError::Damaged("visibilities are not in standard layout".into()))?;
        match self {
            Target::Tiled(column) => {
                let mut start = 0;
                while start < rows.len() {
                    let n = rows[start..].iter().enumerate().take_while(|(i, r)| **r == rows[start] + *i as u64).count();
                    column.write(rows[start], n, &flat[start * per_row..(start + n) * per_row])?;
                    start += n;
                }
                Ok(())
            }
            Target::Casacore { set, column } => with_table_mut(set, |t| {
                let (_, n_chan, n_corr) = values.dim();
                for (row, cell) in rows.iter().zip(flat.chunks(per_row.max(1))) {
                    let cell = Array::from_shape_vec((n_chan, n_corr), cell.to_vec()).unwrap_or_default();
                    t.put_cell(column, *row, &cell).map_err(|e| failed(format!("write {column}"), e))?;
                }
                Ok(())
            }),
        }
    }
}
