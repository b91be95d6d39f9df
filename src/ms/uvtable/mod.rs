//! Tables of visibilities for modellers: those of frank, of galario and uvplot, and of MPoL.
//!
//! | style | file | coordinates | visibilities |
//! |---|---|---|---|
//! | frank | `.npz` with `u, v, V, weights`, or text | wavelengths | as stored: V = Σ I exp(+2πi(ul + vm)) |
//! | galario | text of `u v Re Im w`, also of uvplot | metres, for the wavelength of the header | as stored |
//! | mpol | `.npz` with `uu, vv, data, weight` of shape (1, n) | wavelengths | conjugate: exp(-2πi(ul + vm)) |
//!
//! In memory a table is in wavelengths with the sign of the MeasurementSet. Files written here say their sign: a line
//! of the header, or the array `sign` of +1 or -1.

mod read;
mod write;
mod zip;

use std::path::Path;

use num_complex::Complex64;

pub use read::read_uvtable;
pub use write::{WrittenTable, convert_uvtable, write_uvtable};

use crate::error::{Explain, Kind};
use crate::options;
use crate::units::Frequency;

/// Whose table it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableStyle {
    /// frank.
    Frank,
    /// galario and uvplot.
    Galario,
    /// MPoL.
    Mpol,
}

/// Unit of the coordinates in a file that does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum TableUnit {
    /// Wavelengths.
    #[serde(rename = "lambda")]
    Lambda,
    /// Thousands of wavelengths.
    #[serde(rename = "klambda")]
    Kilolambda,
    /// Metres.
    #[serde(rename = "m")]
    Metre,
}

options! {
    /// Options of writing a table of visibilities.
    pub struct WriteUvtableOptions {
        /// Whose table: `frank`, `galario` or `mpol`; `frank` unless given.
        [""] style: TableStyle = TableStyle::Frank,
        /// Average the channels of each spectral window into one visibility, at their weighted mean frequency.
        [""] average: bool = false,
    }
}

options! {
    /// Options of reading a table of visibilities.
    pub struct ReadUvtableOptions {
        /// Whose table: `frank`, `galario` or `mpol`; seen from the names of its arrays or its header unless given.
        [""] style: Option<TableStyle> = None,
        /// Unit of the coordinates: `lambda`, `klambda` or `m`; read from the header unless given.
        [""] unit: Option<TableUnit> = None,
        /// Frequency at which coordinates in metres become wavelengths; read from the header unless given.
        ["GHz"] frequency: Option<Frequency> = None,
    }
}

/// A table of visibilities: one of Stokes I a line.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UvTable {
    /// Baseline to the east, wavelengths.
    pub u_lambda: Vec<f64>,
    /// Baseline to the north, wavelengths.
    pub v_lambda: Vec<f64>,
    /// Visibilities, Jy, V = Σ I exp(+2πi(ul + vm)).
    pub vis: Vec<Complex64>,
    /// Weights, Jy^-2.
    pub weight: Vec<f64>,
}

impl UvTable {
    /// Number of visibilities.
    pub fn len(&self) -> usize {
        self.vis.len()
    }
    /// True without visibilities.
    pub fn is_empty(&self) -> bool {
        self.vis.is_empty()
    }
    /// Longest baseline, wavelengths.
    pub fn max_uv_lambda(&self) -> f64 {
        self.u_lambda.iter().zip(&self.v_lambda).fold(0.0, |q, (u, v)| q.max(u.hypot(*v)))
    }
}

/// What can be wrong with a table of visibilities.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum UvTableError {
    /// The ending does not fit the style.
    #[error("a {style} table ends in {expected}, not in \"{found}\"")]
    Ending { style: &'static str, expected: &'static str, found: String },
    /// Nothing to write.
    #[error("no visibility is left to write: all are flagged, or have no weight")]
    Empty,
    /// An array that is not there.
    #[error("the file has arrays {found}; a table has u, v, V, weights (frank) or uu, vv, data, weight (MPoL)")]
    Arrays { found: String },
    /// Arrays of different length.
    #[error("array {name} has {found} values, {expected} expected")]
    Length { name: String, found: usize, expected: usize },
    /// A line that cannot be read.
    #[error("line {line} has {found}, five numbers expected: u v Re Im weight")]
    Line { line: usize, found: String },
    /// Metres without a frequency.
    #[error("coordinates are in metres, and the header gives no wavelength")]
    NoWavelength,
    /// The unit is not known.
    #[error("the header does not say the unit of the coordinates")]
    NoUnit,
    /// A file that is too large for its format.
    #[error("{n} visibilities: an .npz file written here takes at most {limit}")]
    TooLong { n: u64, limit: u64 },
    /// A file that cannot be read as what its ending says.
    #[error("cannot read the file: {0}")]
    Read(String),
}

impl Explain for UvTableError {
    fn kind(&self) -> Kind {
        match self {
            UvTableError::Ending { .. } | UvTableError::NoWavelength | UvTableError::NoUnit | UvTableError::TooLong { .. } => Kind::User,
            _ => Kind::Data,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            UvTableError::NoWavelength => Some("give the frequency, for example #{ frequency: \"230GHz\" }".to_string()),
            UvTableError::NoUnit => Some("give it: #{ unit: \"lambda\" }, \"klambda\" or \"m\"".to_string()),
            UvTableError::TooLong { .. } => Some("average the channels with #{ average: true }, or write text".to_string()),
            _ => None,
        }
    }
}

/// Ending of a file in lower case, the dot left out.
fn ending(path: &Path) -> String {
    path.extension().map_or_else(String::new, |e| e.to_string_lossy().to_lowercase())
}

#[cfg(test)]
mod tests;
