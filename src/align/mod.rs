//! Phase-center offsets of execution blocks: on a common uv grid two by two, or all at once with the sky unknown.
//!
//! The offset of a block is the position of the source relative to the block's own phase center, minus the same in the
//! reference; positive to the east and north (`docs/conventions.md`).

mod chance;
mod compat;
mod diagnose;
mod error;
mod find_offset;
mod gridded;
mod ingest;
mod joint;
mod pair;
mod profile;
mod reduce;
mod surface;
mod uv_grid;
mod weights;

pub use diagnose::{Diagnosis, diagnose};
pub use error::AlignError;
pub use find_offset::{Compat, FindOffsetOptions, MAX_CHANCE, NpixResult, Objective, OffsetFit, Rival, SigmaFrom, find_offset};
pub use ingest::IngestCounts;
pub use joint::{
    BlockStatus, JointBlock, JointFit, JointOptions, SkyMap, Support, SupportOption, SupportPatch, SupportRegion, align_jointly,
};
pub use profile::{PROFILE_BINS, ProfileBin, UvProfile, uv_profile};
pub use surface::CostSurface;
pub use uv_grid::{UvCell, UvGrid, UvGridOptions, UvGridSpec, uv_grid};
pub use weights::{WeightCheck, check_weights};

#[cfg(test)]
mod tests;
