//! Several sets joined into one, in the order of their times.
//!
//! Antennas, fields, spectral windows and the like are merged by name and within tolerances; every input keeps its own
//! rows of OBSERVATION, so that each row tells which set it came from. Tiles are copied as they are, file by file.

mod bulk;
mod conjugate;
mod plan;
mod subtables;

use std::path::{Path, PathBuf};

use self::plan::Plan;
use super::atomic::NewFolder;
use super::error::MsError;
use super::history::{HistoryEntry, append_history};
use super::measurement_set::MeasurementSet;
use crate::error::{Error, Result};
use crate::notice::Reporter;
use crate::options;
use crate::units::{Angle, Frequency};

options! {
    /// Options of joining sets.
    pub struct ConcatOptions {
        /// Fields of one name are one field if their phase centers are no farther apart than this.
        ["arcsec"] direction_tolerance: Angle = Angle::from_arcsec(1e-3),
        /// Spectral windows are one window if no channel differs by more than this.
        ["Hz"] frequency_tolerance: Frequency = Frequency(1.0),
        /// Keep the tables of pointings, which are often larger than the data and rarely used.
        [""] pointing: bool = false,
    }
}

/// Joins `sets` into the new set `out`.
///
/// Columns are those that all sets have. Visibilities that only some sets hold (CORRECTED_DATA in one of two) are an
/// error; other columns that only some hold are left out with a warning. Scans are renumbered where numbers repeat, as
/// CASA does. SYSCAL, WEATHER and other tables of the observatory are left out, flag commands too, and POINTING unless
/// asked for.
pub fn concat(sets: &[PathBuf], out: &Path, options: &ConcatOptions, notice: &dyn Reporter) -> Result<PathBuf> {
    check_list(sets)?;
    let opened = sets.iter().map(MeasurementSet::open).collect::<Result<Vec<_>>>()?;
    let opened = by_time(opened);
    let plan = Plan::new(&opened, options)?;
    let folder = NewFolder::new(out)?;
    let rows = subtables::write(folder.path(), &opened, &plan, options).map_err(|e| Error::from(e).at(out))?;
    bulk::write(folder.path(), &opened, &plan, &rows, notice).map_err(|e| folder.tell(e))?;
    let names: Vec<&str> = opened.iter().map(|s| s.name.as_str()).collect();
    let entry = HistoryEntry::new("concat", format!("joined {}", names.join(", ")), options);
    append_history(folder.path(), &entry).map_err(|e| folder.tell(e))?;
    folder.publish(notice)
}

/// Refuses an empty list, and a set that is named twice.
fn check_list(sets: &[PathBuf]) -> Result<()> {
    if sets.is_empty() {
        return Err(Error::user("no set to join: the list is empty"));
    }
    let real: Vec<PathBuf> = sets.iter().map(|s| s.canonicalize().unwrap_or_else(|_| s.clone())).collect();
    for (i, path) in real.iter().enumerate() {
        if let Some(j) = real[..i].iter().position(|p| p == path) {
            return Err(MsError::Twice { first: j + 1, second: i + 1 }).map_err(|e| Error::from(e).at(&sets[i]));
        }
    }
    Ok(())
}

/// In the order of their first times, then lowest frequencies, rows and names: the order given does not matter.
fn by_time(mut sets: Vec<MeasurementSet>) -> Vec<MeasurementSet> {
    let lowest = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::INFINITY, f64::min);
    let first = |s: &MeasurementSet| lowest(&mut s.rows.time_s.values().iter().copied());
    let freq = |s: &MeasurementSet| lowest(&mut s.spws.iter().flat_map(|spw| spw.freq_hz.iter().copied()));
    sets.sort_by(|a, b| {
        let by_data = first(a).total_cmp(&first(b)).then(freq(a).total_cmp(&freq(b))).then(a.rows.n_rows.cmp(&b.rows.n_rows));
        by_data.then(a.name.cmp(&b.name))
    });
    sets
}

#[cfg(test)]
mod tests;
