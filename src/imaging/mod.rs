//! Images of visibilities: dirty image, PSF, primary beam, deconvolution, restored image.

mod amplitudes;
mod beam_fit;
mod channel_axis;
mod channels;
mod clean;
mod cost;
mod error;
mod imager;
mod input;
mod jvm;
mod keplerian;
mod mask_grid;
pub(crate) mod memory;
mod mosaic;
mod options;
mod pass;
mod plan;
mod predict;
mod primary_beam;
mod recipe;
mod recipe_phangs;
mod region;
mod restore;
mod stream;
#[cfg(test)]
mod tests;
mod weighting;

pub use amplitudes::{AmplitudeBin, uv_amplitudes};
pub use beam_fit::{common_beam, fit_beam};
pub use channel_axis::{axis_of_band, axis_of_grid, channel_grid};
pub use channels::{ChannelGrid, Interpolation};
pub use clean::{
    AutoMaskOptions, Choice, CleanOptions, Cleaned, CycleRecord, LoopOptions, LoopRecord, MajorCycle, MaskPlan, Psfs, Stage, Start,
    StopReason,
};
pub use clean::{chauvenet_noise, clean, clean_loop, psf_sidelobes, robust_noise, signal_mask};
pub use cost::Cost;
pub use error::ImagingError;
pub use imager::{Dirty, Forecast, ImageSpec, Imager, PlaneSummary};
pub use input::{Array, Dropped, Input, Intensity};
pub use jvm::jvm_epsilon;
pub use keplerian::{KeplerianOptions, keplerian_mask, line_offset_kms, smooth_mask};
pub use mask_grid::mask_on_grid;
pub use mosaic::{MosaicImager, Pointing, pointings};
pub use options::{Deconvolver, FrameName, GridderName, ImageOptions, Mode, RestoringBeam, SchemeName, VelocityName};
pub use pass::Planes;
pub use plan::{ImagePlan, PlanOptions, plan_image};
pub use predict::{Model, Predictor};
pub use primary_beam::{BandTable, BeamModel, PowerTable, PrimaryBeam};
pub use recipe::{Imaged, Jvm, MaskChoice, StartModel, Unfinished, image, makes_mosaic};
pub use recipe_phangs::{PhangsImaged, PhangsOptions, ResidualStatistics, phangs_image};
pub use region::{RegionError, Shape, parse_regions, regions_mask};
pub use restore::{restore, smooth};
pub use weighting::Weighting;

fn shape_error(what: &'static str, found: (usize, usize), expected: (usize, usize)) -> ImagingError {
    ImagingError::Shape { what, found: [found.0, found.1], expected: [expected.0, expected.1] }
}
