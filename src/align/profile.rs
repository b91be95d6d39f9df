//! Visibilities against uv distance: what one looks at before and after a shift.

use num_complex::Complex64;

use super::UvGrid;
use crate::sky::Offset;

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
/// as a phase that grows with the baseline. Rings without cells are left out. The mean is of complex numbers: phases that turn within a ring lower its length, as
/// they lower the flux of an image.
pub fn uv_profile(grid: &UvGrid, offset: Offset, fold: Offset, range_lambda: (f64, f64), n_bins: usize) -> Vec<ProfileBin> {
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
    for cell in grid.cells() {
        let distance = cell.u.hypot(cell.v);
        if !(distance >= low && distance <= high && low > 0.0) {
            continue;
        }
        let i = ((distance / low).ln() / (high / low).ln() * n as f64) as usize;
        let phase = -std::f64::consts::TAU * (cell.u * offset.dra_rad + cell.v * offset.ddec_rad);
        let folded = cell.u * fold.dra_rad + cell.v * fold.ddec_rad < 0.0;
        let vis = cell.vis * Complex64::from_polar(1.0, phase);
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
