//! Products of cubes: convolution, noise, masks, maps with errors, spectra and profiles.
//!
//! Arrays in, arrays out; cubes larger than memory come as a [`CubeSource`](crate::data::CubeSource) and are read in blocks.

mod compare;
mod convolve;
mod error;
mod fft;
mod galaxy;
mod keyed;
mod mask;
mod moments;
mod noise;
mod profile;
mod pv;
mod region;
mod reproject;
mod resample;
mod shuffle;
mod spectra;
#[cfg(test)]
mod testing;
mod units;

pub use compare::{MapComparison, VelocityGradient, compare_maps, velocity_gradient};
pub use convolve::{Blanks, ConvolveOptions, Convolved, Coverage, convolve, convolve_image, convolve_into};
pub use error::ProductsError;
pub use galaxy::{Galaxy, GalaxyOptions};
pub use keyed::{KeyedMap, KeyedMask, MOMENT_KEY};
pub use mask::{
    MaskOptions, Neighbours, PruneOptions, UnionOptions, VelocityMaskOptions, grow_channels, grow_sky, keep_runs, mask_broad, mask_dilated,
    mask_from_map, mask_seeds, mask_strict, mask_velocity, prune, signal_above, voxels_above,
};
pub use moments::{
    HybridOptions, MapKind, MapOptions, MapRequest, MapWithError, VelocityMaps, channel_correlation, map, maps, mom1_with_prior,
    velocity_field,
};
pub use noise::{Noise, NoiseOptions, has_noise, noise, noise_from_gain, noise_scalar};
pub use profile::{ProfileOptions, RadialProfile, radial_profile};
pub use pv::{SliceOptions, position_velocity};
pub use region::{Disc, region_above, region_disc, region_known, region_zero};
pub use reproject::{Interpolation, ReprojectOptions, is_same_sky, is_same_spectrum, reproject_cube, reproject_image, reproject_mask};
pub use resample::{SpectralKernel, SpectralSmoothOptions, downsample, downsample_image, slab_of_velocities, spectral_smooth};
pub use shuffle::{StackedSpectrum, shuffle, shuffle_into, shuffled_info, stack, stack_mask};
pub use spectra::{Spectrum, SpectrumOf, SpectrumOptions, spectrum};
pub use units::{AtFrequency, InUnit, UnitOptions, conversion, convert, convert_image, kelvin_per_jy_beam};

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
