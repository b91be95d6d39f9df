//! Amplitude and phase against baseline length.

use num_complex::Complex64;

use super::ingest::{IngestOptions, ingest};
use super::uv_grid::max_uv_lambda;
use super::{AlignError, UvGridSpec};
use crate::data::VisSource;
use crate::error::Result;
use crate::notice::Reporter;
use crate::options;
use crate::sky::Offset;
use crate::units::Angle;

options! {
    /// Options of a uv profile.
    pub struct UvProfileOptions {
        /// Number of bins, equally wide in the logarithm of the baseline.
        ["1"] bins: usize = 24,
        /// Shortest baseline, wavelengths; by default that of the data.
        ["lambda"] min_uv: Option<f64> = None,
        /// Longest baseline, wavelengths; by default that of the data.
        ["lambda"] max_uv: Option<f64> = None,
        /// Position angle (north to east) towards which baselines are folded: a source displaced that way has a phase that grows with the baseline.
        ["deg"] fold: Option<Angle> = None,
    }
}

/// Mean visibility in an annulus of the uv plane, folded to one half.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct UvProfileBin {
    /// Weighted mean baseline, wavelengths.
    pub uv_lambda: f64,
    /// Edges, wavelengths.
    pub edges: [f64; 2],
    /// Number of samples.
    pub count: u64,
    /// Real part of the weighted mean, Jy.
    pub real: f64,
    /// Imaginary part, Jy.
    pub imag: f64,
    /// 1-sigma of each part from the weights, Jy.
    pub sigma: f64,
    /// 1-sigma of each part from the scatter of uv cells about the mean, structure of the source included, Jy.
    pub scatter: f64,
    /// Amplitude of the mean, Jy.
    pub amplitude: f64,
    /// Phase of the mean, rad.
    pub phase: f64,
    /// 1-sigma of the phase from the weights, rad; at most π/√3, that of a phase that is not known.
    pub sigma_phase: f64,
}

/// Amplitude and phase against baseline length; empty bins are left out.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct UvProfile {
    /// Name of the set.
    pub name: String,
    /// Taken out of the data first.
    pub shift: Offset,
    /// Bins, baselines increasing.
    pub bins: Vec<UvProfileBin>,
}

/// Averages the visibilities of `source` in annuli of the uv plane, after moving its source by `-shift`.
///
/// Vector means: a displaced source loses amplitude on long baselines and gains it back when the displacement is taken out.
pub fn uv_profile(source: &dyn VisSource, shift: Offset, options: &UvProfileOptions, notice: &dyn Reporter) -> Result<UvProfile> {
    if !(1..=10_000).contains(&options.bins) {
        return Err(AlignError::Option { option: "bins", value: options.bins as f64, expected: "1 to 10000" }.into());
    }
    let longest = max_uv_lambda(source, notice)?;
    // Cells of 1/2000 of the longest baseline: far finer than any bin, coarse enough to keep few.
    let spec = UvGridSpec::for_field(1000.0 / longest, 1.0001 * longest)?;
    let recenter = (shift != Offset::ZERO).then_some(shift);
    let grid = ingest(source, &[spec], &IngestOptions { recenter, ..Default::default() }, notice)?.remove(0);
    let (lo, hi) = (options.min_uv.unwrap_or(grid.min_uv_lambda()), options.max_uv.unwrap_or(grid.max_uv_lambda()));
    if !(lo > 0.0 && hi > lo) {
        return Err(AlignError::Option { option: "max_uv", value: hi, expected: "more than min_uv, which is positive" }.into());
    }
    let width = (hi / lo).ln() / options.bins as f64;
    let mut sums = vec![Sums::default(); options.bins];
    for c in grid.cells() {
        let q = c.u.hypot(c.v);
        let bin = ((q / lo).ln() / width * (1.0 - 1e-12)).floor();
        if q < lo * (1.0 - 1e-12) || bin >= options.bins as f64 {
            continue;
        }
        let mirrored = options.fold.is_some_and(|a| c.u * a.0.sin() + c.v * a.0.cos() < 0.0);
        sums[bin.max(0.0) as usize].add(q, c.weight, if mirrored { c.vis.conj() } else { c.vis }, c.count);
    }
    let edge = |i: usize| lo * (i as f64 * width).exp();
    let bins = sums.iter().enumerate().filter(|(_, s)| s.weight > 0.0).map(|(i, s)| s.bin([edge(i), edge(i + 1)])).collect();
    Ok(UvProfile { name: source.name().to_string(), shift, bins })
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    weight: f64,
    weight2: f64,
    uv: f64,
    vis: Complex64,
    power: f64,
    count: u64,
}

impl Sums {
    fn add(&mut self, q: f64, w: f64, vis: Complex64, count: u32) {
        self.weight += w;
        self.weight2 += w * w;
        self.uv += w * q;
        self.vis += w * vis;
        self.power += w * vis.norm_sqr();
        self.count += count as u64;
    }

    fn bin(&self, edges: [f64; 2]) -> UvProfileBin {
        let mean = self.vis / self.weight;
        let sigma = 1.0 / self.weight.sqrt();
        let variance = (self.power / self.weight - mean.norm_sqr()).max(0.0) / 2.0;
        UvProfileBin {
            uv_lambda: self.uv / self.weight,
            edges,
            count: self.count,
            real: mean.re,
            imag: mean.im,
            sigma,
            scatter: (variance * self.weight2).sqrt() / self.weight,
            amplitude: mean.norm(),
            phase: mean.arg(),
            sigma_phase: (sigma / mean.norm().max(f64::MIN_POSITIVE)).min(std::f64::consts::PI / 3f64.sqrt()),
        }
    }
}
