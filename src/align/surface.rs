//! The objective of a pairwise fit as a map, for figures.

use std::f64::consts::TAU;

use ndarray::Array2;
use num_complex::Complex64;
use rayon::prelude::*;

use super::compat;
use super::find_offset::{Objective, OffsetFit};
use super::pair::{Pair, phase_chi2};
use crate::gridding::Nufft;
use crate::sky::Offset;

/// Δχ² about the minimum on a regular grid of offsets.
#[derive(Debug, Clone)]
pub struct CostSurface {
    /// Offsets to the east of the columns, rad, increasing.
    pub dra_rad: Vec<f64>,
    /// Offsets to the north of the rows, rad, increasing.
    pub ddec_rad: Vec<f64>,
    /// Objective minus its smallest value on the map, [ddec, dra].
    pub delta: Array2<f64>,
    /// Values of `delta` on the 1-, 2- and 3-sigma contours for two parameters; `None` for objectives that are no chi-square.
    pub levels: Option<[f64; 3]>,
    /// The minimum that the fit found.
    pub minimum: Offset,
}

/// Δχ² that encloses 68.27, 95.45 and 99.73 % for two parameters: -2 ln(1 - p).
const LEVELS: [f64; 3] = [2.295_749, 6.180_074, 11.829_158];

pub(super) fn around(fit: &OffsetFit, half_width_rad: Option<f64>, n: usize) -> CostSurface {
    let n = n.clamp(3, 1001);
    let sigma = fit.last.sigma().map(|s| if s.is_finite() { s } else { 0.0 });
    let half = half_width_rad.filter(|h| *h > 0.0).unwrap_or(5.0 * sigma[0].max(sigma[1])).max(1e-15);
    let step = 2.0 * half / (n - 1) as f64;
    let relative: Vec<f64> = (0..n).map(|i| i as f64 * step - half).collect();
    let mut delta = match (fit.is_compat, fit.objective) {
        (false, Objective::Complex) => complex(fit, step, n).unwrap_or_else(|| Array2::zeros((n, n))),
        (false, Objective::Phase) => direct(&relative, |x| phase_chi2(&fit.shared, [fit.last.x[0] + x[0], fit.last.x[1] + x[1]])),
        (true, _) => direct(&relative, |x| compat::cost(&fit.shared, [fit.last.x[0] + x[0], fit.last.x[1] + x[1]])),
    };
    let least = delta.iter().copied().fold(f64::INFINITY, f64::min);
    delta.mapv_inplace(|d| d - least);
    CostSurface {
        dra_rad: relative.iter().map(|x| x + fit.offset.dra_rad).collect(),
        ddec_rad: relative.iter().map(|x| x + fit.offset.ddec_rad).collect(),
        delta,
        levels: (!fit.is_compat).then(|| {
            // The contours follow the errors that are stated, not the curvature alone.
            let scale = if fit.inflation.is_finite() { fit.inflation.sqrt() } else { 1.0 };
            LEVELS.map(|l| l * scale)
        }),
        minimum: fit.offset,
    }
}

/// χ²(x) = constant - 2 Σ W a Re(R* C exp(-2πi u.x)): one transform gives the whole map.
fn complex(fit: &OffsetFit, step: f64, n: usize) -> Option<Array2<f64>> {
    let a = fit.last.amplitude;
    // The transform wants even sides; the map is cut out about its middle pixel.
    let even = n + 2 + n % 2;
    let (u, v): (Vec<f64>, Vec<f64>) = fit.shared.iter().map(|p| (p.u * step, p.v * step)).unzip();
    let value = |p: &Pair| {
        let weight = a / (a * a * p.var_reference + p.var_block);
        weight * p.reference.conj() * p.block * Complex64::cis(-TAU * (p.u * fit.last.x[0] + p.v * fit.last.x[1]))
    };
    let values: Vec<Complex64> = fit.shared.iter().map(value).collect();
    // With n even the minimum lies between two pixels.
    let between = if n % 2 == 0 { 0.5 } else { 0.0 };
    let values: Vec<Complex64> =
        values.iter().zip(u.iter().zip(&v)).map(|(c, (u, v))| c * Complex64::cis(-TAU * between * (u + v))).collect();
    let map = Nufft::new(&u, &v, even, even, 1e-9).ok()?.grid(&values).ok()?;
    let first = even / 2 - n / 2;
    Some(Array2::from_shape_fn((n, n), |(j, i)| -2.0 * map[(first + j) * even + first + i]))
}

fn direct(relative: &[f64], cost: impl Fn([f64; 2]) -> f64 + Sync) -> Array2<f64> {
    let n = relative.len();
    let values: Vec<f64> = (0..n * n).into_par_iter().map(|k| cost([relative[k % n], relative[k / n]])).collect();
    Array2::from_shape_fn((n, n), |(j, i)| values[j * n + i])
}
