//! What can be wrong with a beam, an image, a cube or a mask.

use crate::error::{Explain, Kind};
use crate::units::ARCSEC;

/// Invariants of the data types that do not hold.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DataError {
    /// Axes of a beam.
    #[error("a beam of {:.4} x {:.4} arcsec at {:.1} deg is impossible; expected major >= minor > 0", .bmaj_rad / ARCSEC, .bmin_rad / ARCSEC, .bpa_rad.to_degrees())]
    Beam {
        /// Major axis.
        bmaj_rad: f64,
        /// Minor axis.
        bmin_rad: f64,
        /// Position angle.
        bpa_rad: f64,
    },
    /// Number of beams.
    #[error("{n_beams} beams for {n_chan} channels; expected one for each channel")]
    BeamCount {
        /// Beams given.
        n_beams: usize,
        /// Channels of the cube.
        n_chan: usize,
    },
    /// An axis of no length.
    #[error("the {what} has shape {shape:?}; every axis needs at least one pixel")]
    Empty {
        /// Image, cube or mask.
        what: &'static str,
        /// Shape in the order of the array.
        shape: Vec<usize>,
    },
    /// Two shapes that should be the same.
    #[error("the {what} has shape {found:?} (chan, y, x) where {expected:?} was expected")]
    Shape {
        /// What was compared.
        what: &'static str,
        /// The shape found.
        found: Vec<usize>,
        /// The shape expected.
        expected: Vec<usize>,
    },
    /// A range outside the cube.
    #[error("{axis} {start} to {end} are outside the cube, which has {len}")]
    Range {
        /// Name of the axis in the plural: channels, rows, columns.
        axis: &'static str,
        /// First index asked for.
        start: usize,
        /// One past the last index asked for.
        end: usize,
        /// Length of the axis.
        len: usize,
    },
    /// A beam is needed.
    #[error("the data have no beam; {0} needs one")]
    NoBeam(&'static str),
    /// A unit that cannot be converted.
    #[error("the unit is \"{unit}\"; {what} needs {expected}")]
    Unit {
        /// BUNIT.
        unit: String,
        /// What was asked.
        what: &'static str,
        /// Units that would do.
        expected: &'static str,
    },
}

impl Explain for DataError {
    fn kind(&self) -> Kind {
        Kind::Data
    }
    fn hint(&self) -> Option<String> {
        Some(
            match self {
                DataError::NoBeam(_) => {
                    "the header has no BMAJ, BMIN, BPA: give the beam, for example beam: [\"1.2arcsec\", \"1.0arcsec\", \"35deg\"]"
                }
                DataError::Unit { .. } => "give the unit if the header lacks it or has it wrong, for example unit: \"Jy/beam\"",
                DataError::Shape { .. } => "reproject one onto the grid of the other first",
                DataError::Beam { .. } => "compare BMAJ, BMIN (degrees) and BPA in the header with the program that wrote the file",
                _ => return None,
            }
            .to_string(),
        )
    }
}
