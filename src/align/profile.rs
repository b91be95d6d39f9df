//! Visibilities against uv distance: what one looks at before and after a shift.

use num_complex::Complex64;

use super::{UvCell, UvGrid};
use crate::sky::Offset;

/// A mean visibility at a place of the uv plane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// Wavelengths.
    pub u: f64,
    pub v: f64,
    /// Jy^-2.
    pub weight: f64,
    /// Jy.
    pub vis: Complex64,
}

impl Sample {
    /// With the source moved by `-offset`.
    pub fn turned(self, offset: Offset) -> Sample {
        let phase = -std::f64::consts::TAU * (self.u * offset.dra_rad + self.v * offset.ddec_rad);
        Sample { vis: self.vis * Complex64::cis(phase), ..self }
    }
}

impl From<&UvCell> for Sample {
    fn from(c: &UvCell) -> Sample {
        Sample { u: c.u, v: c.v, weight: c.weight, vis: c.vis }
    }
}

/// A block beside a reference, in rings of the uv plane.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct UvProfile {
    /// The reference.
    pub reference: Vec<ProfileBin>,
    /// The block as it is.
    pub before: Vec<ProfileBin>,
    /// The block with its offset taken out.
    pub after: Vec<ProfileBin>,
}

impl UvProfile {
    /// Profiles in `n_bins` rings of equal width in log uv distance; `taken_out` of the block's `offset` was taken out of its
    /// samples already.
    pub(super) fn of(reference: &[Sample], block: &[Sample], offset: Offset, taken_out: Offset, n_bins: usize) -> UvProfile {
        let distances = || reference.iter().chain(block).map(|s| s.u.hypot(s.v));
        let range = (distances().fold(f64::INFINITY, f64::min).max(1.0), distances().fold(0.0, f64::max));
        UvProfile {
            reference: rings(reference, Offset::ZERO, offset, range, n_bins),
            before: rings(block, Offset::ZERO - taken_out, offset, range, n_bins),
            after: rings(block, offset - taken_out, offset, range, n_bins),
        }
    }
}

/// A block with a known offset beside a reference, in `n_bins` rings of equal width in log uv distance.
pub fn uv_profile(reference: &UvGrid, block: &UvGrid, offset: Offset, n_bins: usize) -> UvProfile {
    let samples = |g: &UvGrid| g.cells().iter().map(Sample::from).collect::<Vec<_>>();
    UvProfile::of(&samples(reference), &samples(block), offset, Offset::ZERO, n_bins)
}

/// Rings of a profile where nothing else is asked for.
pub const PROFILE_BINS: usize = 30;

/// The mean visibility of a ring of the uv plane.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ProfileBin {
    /// Weighted mean uv distance, wavelengths.
    pub uv_lambda: f64,
    /// Weighted mean of the real parts, Jy.
    pub real_jy: f64,
    /// Weighted mean of the imaginary parts, Jy.
    pub imag_jy: f64,
    /// 1-sigma of each of the two, from the weights, Jy.
    pub sigma_jy: f64,
    /// Cells in the ring.
    pub cells: usize,
}

impl ProfileBin {
    /// Length of the mean visibility, Jy.
    pub fn amplitude_jy(&self) -> f64 {
        self.real_jy.hypot(self.imag_jy)
    }
    /// Phase of the mean visibility, rad.
    pub fn phase_rad(&self) -> f64 {
        self.imag_jy.atan2(self.real_jy)
    }
}

/// Means in `n_bins` rings of equal width in log uv distance between `range_lambda`, after taking `offset` out of the block.
///
/// Baselines are folded to the half plane that points along `fold` (east, north): a displacement of the source that way shows
/// as a phase that grows with the baseline. Rings without cells are left out. The mean is of complex numbers: phases that turn
/// within a ring lower its length, as they lower the flux of an image.
fn rings(samples: &[Sample], offset: Offset, fold: Offset, range_lambda: (f64, f64), n_bins: usize) -> Vec<ProfileBin> {
    #[derive(Clone, Copy, Default)]
    struct Sum {
        weight: f64,
        vis: Complex64,
        distance: f64,
        cells: usize,
    }
    let (low, high) = range_lambda;
    let n = n_bins.clamp(1, 10_000);
    let mut sums = vec![Sum::default(); n];
    for cell in samples {
        let distance = cell.u.hypot(cell.v);
        if !(distance >= low && distance <= high && low > 0.0) {
            continue;
        }
        let i = ((distance / low).ln() / (high / low).ln() * n as f64) as usize;
        let folded = cell.u * fold.dra_rad + cell.v * fold.ddec_rad < 0.0;
        let vis = cell.turned(offset).vis;
        let sum = &mut sums[i.min(n - 1)];
        sum.weight += cell.weight;
        sum.vis += cell.weight * if folded { vis.conj() } else { vis };
        sum.distance += cell.weight * distance;
        sum.cells += 1;
    }
    let bin = |s: &Sum| ProfileBin {
        uv_lambda: s.distance / s.weight,
        real_jy: s.vis.re / s.weight,
        imag_jy: s.vis.im / s.weight,
        sigma_jy: 1.0 / s.weight.sqrt(),
        cells: s.cells,
    };
    sums.iter().filter(|s| s.weight > 0.0).map(bin).collect()
}
