//! Masks: where there is emission.

mod combine;
mod components;
mod grow;
mod strict;
#[cfg(test)]
mod tests;

pub use combine::{UnionOptions, VelocityMaskOptions, mask_broad, mask_from_map, mask_velocity};
pub use components::Neighbours;
pub use grow::{grow_channels, grow_sky, keep_runs};
pub use strict::{MaskOptions, PruneOptions, mask_dilated, mask_seeds, mask_strict, prune, signal_above, voxels_above};
