//! Figures of images: sky with beam and contours, PSF, residual, convergence, amplitudes against uv distance.

mod amplitude;
mod convergence;
mod psf;
mod residual;
mod sky;

pub use amplitude::{AmplitudeFigure, AmplitudePoint};
pub use convergence::{ConvergenceFigure, CycleState};
pub use psf::PsfFigure;
pub use residual::ResidualFigure;
pub use sky::SkyFigure;

use super::canvas::Stroke;
use super::color::Rgb;

/// Prefix of Jy in which a peak reads as a number between 1 and 1000: (`mJy`, 1e3).
pub(super) fn unit_of(peak_jy: f64) -> (&'static str, f64) {
    match peak_jy.abs() {
        p if p >= 0.8 => ("Jy", 1.0),
        p if p >= 0.8e-3 => ("mJy", 1e3),
        p if p > 0.0 => ("µJy", 1e6),
        _ => ("Jy", 1.0),
    }
}

/// The largest absolute value that is finite.
pub(super) fn largest<'a>(values: impl IntoIterator<Item = &'a f32>) -> f64 {
    values.into_iter().filter(|v| v.is_finite()).fold(0.0, |m, v| m.max(f64::from(v.abs())))
}

/// A thin dashed line.
pub(super) fn dashed(color: Rgb) -> Stroke {
    Stroke::new(color, 1.0).dash(&[4.0, 3.0])
}
