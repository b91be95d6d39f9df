//! What can be wrong with a request to grid.

use crate::error::{Explain, Kind};

/// Errors of the gridding room.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GridError {
    /// The kernel cannot reach this accuracy in double precision.
    #[error("gridding accuracy {accuracy:e} is out of reach: expected a value between 1e-13 and 0.1")]
    Accuracy {
        /// What was asked for.
        accuracy: f64,
    },
    /// Two arrays that belong together differ in length.
    #[error("{what}: {got} values were given, {expected} are needed")]
    Length {
        /// Which array.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The length it should have.
        expected: usize,
    },
    /// A coordinate is NaN or infinite.
    #[error("uv point {index} is not finite")]
    NotFinite {
        /// Its index.
        index: usize,
    },
    /// A cell of no size.
    #[error("a cell of {} arcsec is impossible: expected a positive size", .cell_rad / crate::units::ARCSEC)]
    Cell {
        /// Side of a pixel.
        cell_rad: f64,
    },
    /// The w-term turns phases too far.
    #[error("the w-term reaches {:.0} turns at the corners of the image, more than is imaged at once", .phase_rad / std::f64::consts::TAU)]
    TooDeep {
        /// Largest phase.
        phase_rad: f64,
    },
    /// An image needs an even, non-zero number of pixels on each side.
    #[error("an image of {nx} x {ny} pixels cannot be gridded: both sides must be even and at least 2")]
    ImageSize {
        /// Pixels east-west.
        nx: usize,
        /// Pixels north-south.
        ny: usize,
    },
}

impl Explain for GridError {
    fn kind(&self) -> Kind {
        match self {
            GridError::Accuracy { .. } | GridError::TooDeep { .. } | GridError::Cell { .. } | GridError::ImageSize { .. } => Kind::User,
            GridError::NotFinite { .. } => Kind::Data,
            GridError::Length { .. } => Kind::Internal,
        }
    }
}
