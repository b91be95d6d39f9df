//! Imaging: forecast, images, masks, statistics and their figures.

use crate::script::verb::Verb;

mod figures;
mod image;
mod keplerian;
mod mask;
mod open;
mod phangs;
mod plan;
mod predict;
mod products;
mod stats;
#[cfg(test)]
mod tests;
mod uv_amplitudes;

/// The verbs of this group.
pub static VERBS: &[&Verb] = &[
    &plan::PLAN_IMAGE,
    &image::IMAGE,
    &phangs::IMAGE_PHANGS,
    &stats::IMAGE_STATS,
    &keplerian::KEPLERIAN_MASK,
    &predict::PREDICT,
    &uv_amplitudes::UV_AMPLITUDES,
    &figures::PLOT_IMAGE,
    &figures::PLOT_PSF,
    &figures::PLOT_RESIDUAL,
    &figures::PLOT_CONVERGENCE,
    &uv_amplitudes::PLOT_UV_AMPLITUDES,
];
