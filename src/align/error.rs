//! What can be wrong with data that are to be aligned, or with the request.

use super::IngestCounts;
use crate::error::{Explain, Kind};
use crate::units::{ARCSEC, Angle};

/// Errors of the alignment room.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AlignError {
    /// Neither Stokes I nor a parallel hand is among the correlations.
    #[error("{name} has only {corr}: aligning needs I, or a parallel hand (XX, YY, RR, LL)")]
    NoParallelHands {
        /// Set.
        name: String,
        /// The correlations there are.
        corr: String,
    },
    /// Baselines reach beyond the uv grid.
    #[error("cell {} is too coarse for {name}: baselines reach {:.0} kλ, which needs cell <= {}", Angle(*.cell_rad), .max_uv_lambda / 1e3, Angle(round_down(*.limit_rad)))]
    CellTooCoarse {
        /// Set.
        name: String,
        /// Cell asked for, rad.
        cell_rad: f64,
        /// Largest cell that fits, rad.
        limit_rad: f64,
        /// Longest baseline, wavelengths.
        max_uv_lambda: f64,
    },
    /// A uv grid needs at least 8 cells a side and at most 65536.
    #[error("npix {npix} is not usable: expected an even number from 8 to 65536")]
    Npix {
        /// What was asked for.
        npix: usize,
    },
    /// A cell of zero, negative or non-finite size.
    #[error("cell {cell_rad} rad is not usable: expected a positive angle")]
    Cell {
        /// What was asked for.
        cell_rad: f64,
    },
    /// No sample survives.
    #[error("{name} has no usable visibilities: {counts}")]
    NothingLeft {
        /// Set.
        name: String,
        /// Where they went.
        counts: Box<IngestCounts>,
    },
    /// The two sets have no uv cell in common.
    #[error("{reference} and {block} share {shared} uv cells of {:.2} kλ, at least {needed} are needed ({cells_reference} and {cells_block} cells hold data)", .cell_lambda / 1e3)]
    NoSharedCells {
        /// Reference.
        reference: String,
        /// Block.
        block: String,
        /// Cells in both.
        shared: usize,
        /// Cells a fit needs.
        needed: usize,
        /// Cells of the reference.
        cells_reference: usize,
        /// Cells of the block.
        cells_block: usize,
        /// Size of a cell, wavelengths.
        cell_lambda: f64,
    },
    /// A joint fit needs two blocks.
    #[error("{n} block{} to align: at least 2 are needed", if *.n == 1 { "" } else { "s" })]
    TooFewBlocks {
        /// How many there are.
        n: usize,
    },
    /// Two blocks carry one name.
    #[error("two blocks are called {name}")]
    DuplicateName {
        /// Name.
        name: String,
    },
    /// A named block is not among the blocks.
    #[error("{role} {name} is not among the blocks: {}", .known.join(", "))]
    UnknownBlock {
        /// "reference" or "seed".
        role: &'static str,
        /// What was asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// No baseline length has signal.
    #[error("no signal in {}: at no baseline length is the power 3 sigma above the noise", .names.join(", "))]
    NoSignal {
        /// The blocks.
        names: Vec<String>,
    },
    /// A number among the options is outside its range.
    #[error("option {option}: {value} is not usable, expected {expected}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What was given.
        value: f64,
        /// What is allowed.
        expected: &'static str,
    },
}

/// Three significant digits, rounded down, so that the advice is itself allowed.
fn round_down(rad: f64) -> f64 {
    let arcsec = rad / ARCSEC;
    let unit = 10f64.powf(arcsec.log10().floor() - 2.0);
    (arcsec / unit).floor() * unit * ARCSEC
}

impl Explain for AlignError {
    fn kind(&self) -> Kind {
        match self {
            AlignError::NoParallelHands { .. }
            | AlignError::NothingLeft { .. }
            | AlignError::NoSharedCells { .. }
            | AlignError::NoSignal { .. } => Kind::Data,
            _ => Kind::User,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            AlignError::CellTooCoarse { .. } => "leave cell out to have it chosen from the data",
            AlignError::NothingLeft { .. } => "check the selection (field, spw, datacolumn) and the flags",
            AlignError::NoSharedCells { .. } => "align_jointly needs no shared cells; or lower npix, which makes the uv cells larger",
            AlignError::DuplicateName { .. } => {
                "a block is called like its set, without folder and .ms: rename one, or leave out the second"
            }
            _ => return None,
        };
        Some(hint.to_string())
    }
}
