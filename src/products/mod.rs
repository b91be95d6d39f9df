//! Products of cubes: convolution, noise, masks, maps with errors, spectra and profiles.
//!
//! Arrays in, arrays out; cubes larger than memory come as a [`CubeSource`](crate::data::CubeSource) and are read in blocks.

mod convolve;
mod error;
mod fft;
mod mask;
mod noise;
#[cfg(test)]
mod testing;

pub use convolve::{Blanks, ConvolveOptions, Convolved, Coverage, convolve, convolve_image, convolve_into};
pub use error::ProductsError;
pub use mask::{
    MaskOptions, Neighbours, PruneOptions, grow_channels, grow_sky, keep_runs, mask_dilated, mask_seeds, mask_strict, prune, signal_above,
};
pub use noise::{Noise, NoiseOptions, noise, noise_scalar};

/// Whose numbers to give where those of a published pipeline are known to differ from the formulas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compat {
    /// Corrected formulas.
    #[default]
    None,
    /// The PHANGS-ALMA pipeline v3, slips included.
    Phangs,
}
