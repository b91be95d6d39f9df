//! What the joint sky leaves of the data over a wide field: emission outside the support shows there.

use num_complex::Complex64;
use rayon::prelude::*;

use super::sky::Solution;
use super::state::State;
use crate::error::Result;
use crate::gridding::{Nufft, good_size};

/// Residuals of all blocks over their noise.
#[derive(Debug, Clone)]
pub(super) struct ResidualMap {
    /// The two blocks whose own residuals outside the support agree best, and their correlation.
    pub alike: Option<(usize, usize, f64)>,
    /// [north, east], n by n.
    pub values: Vec<f64>,
    pub n: usize,
    pub pixel: f64,
    /// Middle, direction cosines from the seed's phase center.
    pub center: [f64; 2],
}

/// The brightest place outside the support.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Outlier {
    pub east: f64,
    pub north: f64,
    /// Height over the noise.
    pub significance: f64,
}

/// Maps Re Σ g W (V - g M) exp(-2πi u.l) over its standard deviation to `radius` rad from the middle of the sky.
pub(super) fn residual_map(state: &State, solution: &Solution, radius: f64) -> Result<ResidualMap> {
    let pixel = state.sky.pixel;
    let n = good_size((2.0 * radius / pixel).ceil() as usize);
    let one = |i: &usize| -> Result<(Vec<f64>, f64)> {
        let (cells, gain) = (&state.cells[*i], state.gain[*i].unwrap_or(1.0));
        let model = state.sky.degrid(*i, &solution.image)?;
        let data = state.centered(*i);
        let values: Vec<Complex64> = (0..cells.len()).map(|k| (data[k] - gain * model[k]) * (gain * cells.weight[k])).collect();
        let (u, v): (Vec<f64>, Vec<f64>) = (0..cells.len()).map(|k| (cells.u[k] * pixel, cells.v[k] * pixel)).unzip();
        let variance: f64 = cells.weight.iter().map(|w| gain * gain * w).sum();
        Ok((Nufft::new(&u, &v, n, n, 1e-4)?.grid(&values)?, variance))
    };
    let placed = state.placed();
    let parts = placed.par_iter().map(one).collect::<Result<Vec<_>>>()?;
    let mut map = ResidualMap { alike: None, values: vec![0.0; n * n], n, pixel, center: state.sky.center };
    let outside: Vec<usize> = map.outside(state).collect();
    let mut variance = 0.0;
    for (a, (part, own)) in parts.iter().enumerate() {
        map.values.iter_mut().zip(part).for_each(|(v, p)| *v += p);
        variance += own;
        for (b, (other, _)) in parts[..a].iter().enumerate() {
            let agreement = correlation(&outside, part, other);
            if map.alike.is_none_or(|(.., best)| agreement > best) {
                map.alike = Some((placed[b], placed[a], agreement));
            }
        }
    }
    let scale = 1.0 / variance.max(f64::MIN_POSITIVE).sqrt();
    map.values.iter_mut().for_each(|v| *v *= scale);
    Ok(map)
}

/// Correlation of two maps over some of their pixels.
fn correlation(pixels: &[usize], a: &[f64], b: &[f64]) -> f64 {
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for k in pixels {
        ab += a[*k] * b[*k];
        aa += a[*k] * a[*k];
        bb += b[*k] * b[*k];
    }
    if aa > 0.0 && bb > 0.0 { ab / (aa * bb).sqrt() } else { 0.0 }
}

impl ResidualMap {
    fn place(&self, k: usize) -> [f64; 2] {
        let at = |i: usize, c: f64| c + (i as f64 - (self.n / 2) as f64) * self.pixel;
        [at(k % self.n, self.center[0]), at(k / self.n, self.center[1])]
    }

    /// Pixels outside the support.
    fn outside<'a>(&'a self, state: &'a State) -> impl Iterator<Item = usize> + 'a {
        (0..self.n * self.n).filter(move |k| {
            let [east, north] = self.place(*k);
            state.sky.support.radius(east, north) > 1.0
        })
    }

    /// The highest value outside the support, over the scatter of the map where weights are off.
    pub fn outlier(&self, state: &State) -> Option<Outlier> {
        let outside: Vec<(usize, f64)> = self.outside(state).map(|k| (k, self.values[k])).collect();
        let mut size: Vec<f64> = outside.iter().map(|o| o.1.abs()).collect();
        size.sort_by(f64::total_cmp);
        let rms = (1.4826 * size.get(size.len() / 2)?).max(1.0);
        let (k, value) = outside.into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        let [east, north] = self.place(k);
        Some(Outlier { east, north, significance: value / rms })
    }
}
