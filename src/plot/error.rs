//! What can go wrong with a figure.

use crate::error::{Explain, Kind};

/// An error of the plot room.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// Arrays that belong together differ in shape.
    #[error("{what} has shape {got:?}, but {other} has {expected:?}: a figure needs both on the same grid")]
    Shape { what: &'static str, got: Vec<usize>, other: &'static str, expected: Vec<usize> },
    /// The PNG encoder refused.
    #[error("a figure of {n_x} x {n_y} pixels could not be encoded as PNG: {reason}")]
    Encode { n_x: usize, n_y: usize, reason: String },
}

impl Explain for PlotError {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
}
