//! Figures of the alignment: uv overlap, required shifts, visibilities against uv distance, the common sky.

mod common_sky;
mod shifts;
mod uv_overlap;
mod uv_profile;

pub use common_sky::{BlockFit, CommonSkyFigure};
pub use shifts::{BlockShift, ShiftsFigure};
pub use uv_overlap::{CostSurface, UvOverlapFigure};
pub use uv_profile::{ProfileBin, UvProfileFigure};

use super::ticks::{MINUS, fixed};
use crate::sky::Offset;
use crate::units::MAS;

/// An offset on the sky with its errors, in milliarcsec, positive east and north.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct OffsetMas {
    /// Offset to the east.
    pub dra: f64,
    /// Offset to the north.
    pub ddec: f64,
    /// One-sigma error of `dra`; NaN if unknown.
    pub sigma_dra: f64,
    /// One-sigma error of `ddec`; NaN if unknown.
    pub sigma_ddec: f64,
}

impl OffsetMas {
    /// From radians.
    pub fn new(offset: Offset, sigma: Offset) -> OffsetMas {
        let [dra, ddec, sigma_dra, sigma_ddec] = [offset.dra_rad, offset.ddec_rad, sigma.dra_rad, sigma.ddec_rad].map(|v| v / MAS);
        OffsetMas { dra, ddec, sigma_dra, sigma_ddec }
    }
    /// Length of the offset.
    pub fn length(&self) -> f64 {
        self.dra.hypot(self.ddec)
    }
    /// Both coordinates with errors: `ΔRA −19.78 ± 0.12 mas`.
    pub fn lines(&self) -> [String; 2] {
        [format!("ΔRA  {} mas", with_error(self.dra, self.sigma_dra)), format!("ΔDec  {} mas", with_error(self.ddec, self.sigma_ddec))]
    }
}

/// A value with its error, both to the second digit of the error: `−19.78 ± 0.12`.
pub fn with_error(value: f64, sigma: f64) -> String {
    if !value.is_finite() {
        return "n/a".into();
    }
    if !(sigma.is_finite() && sigma > 0.0) {
        return super::ticks::compact(value, 4);
    }
    let decimals = (1 - sigma.log10().floor() as i32).clamp(0, 9) as usize;
    format!("{} ± {}", fixed(value, decimals), fixed(sigma, decimals))
}

/// A count with thin spaces between thousands.
fn count(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|c| std::str::from_utf8(c).unwrap_or("")).collect();
    groups.join("\u{2009}")
}

/// Real minus signs back to hyphens, thin spaces out: alt texts are also read by machines.
fn alt_number(text: &str) -> String {
    text.replace(MINUS, "-").replace('\u{2009}', "")
}
