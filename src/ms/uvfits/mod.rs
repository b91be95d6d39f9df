//! UVFITS: random groups of visibilities with the tables of AIPS, turned into a MeasurementSet.
//!
//! Single and multi-source files, several IFs (each becomes a spectral window), several frequency setups and
//! subarrays. UVW and visibilities keep their signs: files of AIPS, CASA and others hold UVW of antenna 1 minus
//! antenna 2 and the same transform as a MeasurementSet.

mod fits;
mod flags;
mod groups;
mod tables;

use std::path::{Path, PathBuf};

use self::groups::UvFits;
use super::create::{SetLayout, write_set};
use super::history::HistoryEntry;
use crate::error::{Error, Explain, Kind, Result};
use crate::notice::{Reporter, Warning};
use crate::options;

options! {
    /// Options of reading UVFITS.
    pub struct ImportUvfitsOptions {
        /// Apply the flag table (AIPS FG), if there is one.
        [""] flag_table: bool = true,
    }
}

/// What can be wrong with a UVFITS file.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum UvFitsError {
    /// Another kind of file.
    #[error("this is no UVFITS file: {0}")]
    NotUvFits(String),
    /// The file ends early.
    #[error("the file is incomplete: {expected} bytes expected, {found} found")]
    Truncated { expected: u64, found: u64 },
    /// A header that cannot be understood.
    #[error("the header cannot be read: {0}")]
    Header(String),
    /// A baseline of an antenna that no table has.
    #[error("group {group} names antenna {antenna} of subarray {subarray}, which the antenna tables do not have")]
    Antenna { group: u64, antenna: u32, subarray: u32 },
    /// A source or setup that no table has.
    #[error("group {group} names {what} {id}, which no table has")]
    Id { group: u64, what: &'static str, id: i64 },
    /// An error of the operating system.
    #[error("cannot read the file: {0}")]
    Read(String),
}

impl Explain for UvFitsError {
    fn kind(&self) -> Kind {
        match self {
            UvFitsError::NotUvFits(_) => Kind::User,
            UvFitsError::Read(_) => Kind::Internal,
            _ => Kind::Data,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            UvFitsError::NotUvFits(_) => {
                Some("visibilities in FITS come as random groups, written by AIPS or CASA's exportuvfits".to_string())
            }
            UvFitsError::Truncated { .. } => Some("the copy may be incomplete; compare its size with the original".to_string()),
            _ => None,
        }
    }
}

/// Groups turned into rows at a time.
const GROUPS: u64 = 2048;

/// Turns a UVFITS file into the MeasurementSet `out`.
///
/// Weights stay those of the file, for each sample (WEIGHT_SPECTRUM); WEIGHT is their mean. Samples of no or negative
/// weight are flagged. Times of the International Atomic Time become UTC.
pub fn import_uvfits(file: &Path, out: &Path, options: &ImportUvfitsOptions, notice: &dyn Reporter) -> Result<PathBuf> {
    let uv = UvFits::open(file, options.flag_table).map_err(|e| Error::from(e).at(file))?;
    for message in uv.warnings() {
        notice.warn(Warning::new("uvfits", message));
    }
    let n = uv.n_groups();
    let layout = SetLayout { expected_rows: n, sample_weights: true };
    let entry = HistoryEntry::new("import_uvfits", format!("read {}", super::casacore::short_name(file)), options);
    let blocks = (0..n).step_by(GROUPS as usize).flat_map(|first| {
        notice.progress("import_uvfits", first, n);
        match uv.rows(first, GROUPS.min(n - first)) {
            Ok(blocks) => blocks.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(e) => vec![Err(Error::from(e).at(file))],
        }
    });
    write_set(out, uv.description().clone(), layout, blocks, &entry, notice)
}

#[cfg(test)]
mod tests;
