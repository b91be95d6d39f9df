//! What can go wrong between a cube and its products.

use crate::data::Beam;
use crate::error::{Explain, Kind};
use crate::units::ARCSEC;

/// Errors of the products.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProductsError {
    /// The target beam does not contain the beam of the data.
    #[error("the target beam {target} does not contain the beam of {}, {beam}", match .channel { Some(c) => format!("channel {c}"), None => "the data".to_string() })]
    TargetTooSmall {
        /// Beam asked for.
        target: Beam,
        /// Beam of the data.
        beam: Beam,
        /// Channel, where beams differ.
        channel: Option<usize>,
    },
    /// A target that cannot be.
    #[error("a target resolution of {} arcsec is impossible; expected a positive number", .0 / ARCSEC)]
    Target(f64),
    /// Nothing but blanks.
    #[error("all {0} voxels are blank or excluded; there is nothing to measure")]
    AllBlank(u64),
    /// Nothing below zero.
    #[error("no voxel is below zero: the data have no noise, or it was cut off")]
    NoNoise,
    /// Too few voxels for an estimate.
    #[error("only {found} voxels without blanks in every box; the noise needs more than {needed}")]
    TooFew {
        /// Largest number in any box.
        found: usize,
        /// Needed.
        needed: usize,
    },
    /// An option out of its range.
    #[error("{name} is {value}; expected {expected}")]
    Option {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// Two things that should lie on one grid.
    #[error("the {what} has shape {found:?} where the cube has {expected:?} (chan, y, x)")]
    Grid {
        /// What was compared.
        what: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// Shape of the cube.
        expected: Vec<usize>,
    },
    /// Pixels that are not square.
    #[error("pixels are {x:.4} x {y:.4} arcsec; {what} needs square ones")]
    NotSquare {
        /// Width, arcsec.
        x: f64,
        /// Height, arcsec.
        y: f64,
        /// What was asked.
        what: &'static str,
    },
    /// A map that is needed and was not given.
    #[error("{0}")]
    Missing(String),
    /// Two grids that do not overlap.
    #[error("the {0} does not overlap the target grid")]
    NoOverlap(&'static str),
}

impl Explain for ProductsError {
    fn kind(&self) -> Kind {
        match self {
            ProductsError::AllBlank(_) | ProductsError::NoNoise | ProductsError::TooFew { .. } | ProductsError::NotSquare { .. } => {
                Kind::Data
            }
            _ => Kind::User,
        }
    }
    fn hint(&self) -> Option<String> {
        Some(match self {
            ProductsError::TargetTooSmall { beam, .. } => {
                format!(
                    "the smallest round beam that contains it is {:.4} arcsec; convolution cannot sharpen",
                    beam.bmaj_rad() / ARCSEC * 1.000_000_1
                )
            }
            ProductsError::TooFew { .. } => "give a larger box, or estimate one number with noise_scalar".into(),
            ProductsError::NoNoise => "give the noise as a number, sigma: 0.1, or make maps without noise: their errors are blank".into(),
            ProductsError::Grid { .. } => "reproject it onto the grid of the cube first".into(),
            ProductsError::NotSquare { .. } => "reproject onto square pixels first".into(),
            ProductsError::AllBlank(_) => "look at the cube: is it the right extension, and is the mask not inverted?".into(),
            _ => return None,
        })
    }
}
