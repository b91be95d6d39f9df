//! The cleaning loop of PHANGS-ALMA: multiscale to 4 sigma, then single-scale inside a mask of signal to 1 sigma, each
//! repeated with more iterations until the flux of the model settles.

use ndarray::{Array2, ArrayBase, Data, Ix2};

use super::{CleanOptions, Cleaned, CycleRecord, MajorCycle, MaskPlan, Psfs, Start, StopReason, clean};
use crate::error::{Error, Result};
use crate::notice::Reporter;
use crate::options;
use crate::units::Flux;

options! {
    /// Options of one stage of the loop.
    pub struct LoopOptions {
        /// The threshold is this many times the noise of the residual, measured anew before every call.
        ["1"] snr: f64 = 4.0,
        /// Iterations of the first call for each channel; they double from call to call.
        ["1"] niter_per_channel: u64 = 10,
        /// Iterations of a call for each channel at most.
        ["1"] max_niter_per_channel: u64 = 1000,
        /// Iterations of one minor cycle in the first call; they grow by as many from call to call.
        ["1"] cycleniter: u64 = 100,
        /// Iterations of one minor cycle at most.
        ["1"] max_cycleniter: u64 = 1000,
        /// Calls at least, less one.
        ["1"] min_loops: u64 = 3,
        /// Calls at most, less one.
        ["1"] max_loops: u64 = 20,
        /// Done once a call changes the flux of the model by less than this fraction.
        ["1"] convergence_fracflux: f64 = 0.01,
        /// Stop once the flux of the model is negative.
        [""] stop_at_negative: bool = true,
    }
}

impl LoopOptions {
    /// The single-scale stage: down to the noise, whatever the sign of the flux.
    pub fn single_scale() -> LoopOptions {
        LoopOptions { snr: 1.0, stop_at_negative: false, ..Default::default() }
    }
}

/// One line of the record of a stage.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LoopRecord {
    /// Number of the call, from 0.
    pub loop_number: u64,
    /// Iterations that were allowed.
    pub niter: u64,
    /// Iterations of a minor cycle that were allowed.
    pub cycleniter: u64,
    /// Threshold, Jy/beam.
    pub threshold_jy: f64,
    /// Noise of the residual before the call, Jy/beam.
    pub noise_jy: f64,
    /// Sum of the model after it, Jy times channels.
    pub model_flux_jy: f64,
    /// Change of that sum over its last value; empty for the first call.
    pub frac_delta_flux: Option<f64>,
}

/// A stage and how it went.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Model, residual and masks after the last call.
    pub cleaned: Cleaned,
    /// One line a call.
    pub record: Vec<LoopRecord>,
}

/// Cleans in calls of growing length until the flux settles, from `start` on.
pub fn clean_loop(
    psfs: &Psfs,
    mask: &MaskPlan,
    start: Start,
    minor: &CleanOptions,
    options: &LoopOptions,
    major: &dyn MajorCycle,
    notice: &dyn Reporter,
) -> Result<Stage> {
    let (n_chan, n_terms) = (psfs.n_groups() as u64, psfs.n_terms);
    // Each call counts its own iterations.
    let mut state = Start { n_iter: 0, ..start };
    let mut record: Vec<LoopRecord> = Vec::new();
    let mut cycles: Vec<CycleRecord> = Vec::new();
    loop {
        let k = record.len() as u64;
        let noise = chauvenet_noise(state.residual.iter().flat_map(|r| r.iter().copied()))
            .ok_or_else(|| Error::data("the residual has no finite pixel"))?;
        let niter = (options.niter_per_channel * n_chan).saturating_mul(1 << k.min(40)).min(options.max_niter_per_channel * n_chan);
        let cycleniter = (options.cycleniter * (1 + k)).min(options.max_cycleniter);
        let call = CleanOptions { niter, cycleniter: Some(cycleniter), threshold: Flux(options.snr * noise), ..minor.clone() };
        let before = state.clone();
        let mut cleaned = clean(psfs, mask, state, &call, major, notice)?;
        cycles = followed_by(cycles, &cleaned.record);
        cleaned.record = cycles.clone();
        let cleaned = if cleaned.stop == StopReason::Diverged { undone(cleaned, before) } else { cleaned };
        let flux = model_flux(&cleaned, n_terms);
        let last = record.last().map(|r| r.model_flux_jy);
        let change = last.map(|last| ((flux - last) / last).abs());
        record.push(LoopRecord {
            loop_number: k,
            niter,
            cycleniter,
            threshold_jy: call.threshold.0,
            noise_jy: noise,
            model_flux_jy: flux,
            frac_delta_flux: change,
        });
        let settled = change.is_some_and(|c| c < options.convergence_fracflux);
        let negative = options.stop_at_negative && flux < 0.0;
        if cleaned.stop == StopReason::Interrupted || k >= options.max_loops || (k >= options.min_loops && (settled || negative)) {
            return Ok(Stage { cleaned, record });
        }
        state = Start { model: cleaned.model.clone(), residual: cleaned.residual.clone(), n_iter: 0 };
    }
}

/// The cycles of one cleaning and of another that goes on from it; the first line of the latter is the last of the former.
pub fn followed_by(mut before: Vec<CycleRecord>, after: &[CycleRecord]) -> Vec<CycleRecord> {
    let (cycle, n_iter, seen) = before.last().map_or((0, 0, 0), |last| (last.cycle, last.n_iter, 1));
    before.extend(after.iter().skip(seen).map(|r| CycleRecord { cycle: cycle + r.cycle, n_iter: n_iter + r.n_iter, ..*r }));
    before
}

/// A call that diverged leaves what was there before it.
fn undone(cleaned: Cleaned, before: Start) -> Cleaned {
    Cleaned { model: before.model, residual: before.residual, ..cleaned }
}

fn model_flux(cleaned: &Cleaned, n_terms: usize) -> f64 {
    cleaned.model.iter().step_by(n_terms).map(|m| m.iter().map(|v| f64::from(*v)).sum::<f64>()).sum()
}

/// Where an image has signal: above `high` noises, and what is joined to that above `low` noises, over neighbouring
/// channels as well where `spectral`.
pub fn signal_mask<S: Data<Elem = f32>>(
    image: &[ArrayBase<S, Ix2>],
    noise_jy: f64,
    high: f64,
    low: f64,
    spectral: bool,
) -> Vec<Array2<bool>> {
    let above = |level: f64| -> Vec<Array2<bool>> { image.iter().map(|i| i.mapv(|v| f64::from(v) > level * noise_jy)).collect() };
    let (mut mask, mut around) = (above(high), above(low));
    if high <= low {
        return mask;
    }
    if spectral {
        around = with_neighbours(&around);
    }
    let mut open: Vec<(usize, usize, usize)> =
        mask.iter().enumerate().flat_map(|(c, m)| m.indexed_iter().filter(|(_, v)| **v).map(move |((y, x), _)| (c, y, x))).collect();
    while let Some((c, y, x)) = open.pop() {
        let beside = [
            (c, y.wrapping_sub(1), x),
            (c, y + 1, x),
            (c, y, x.wrapping_sub(1)),
            (c, y, x + 1),
            (if spectral { c.wrapping_sub(1) } else { usize::MAX }, y, x),
            (if spectral { c + 1 } else { usize::MAX }, y, x),
        ];
        for (c, y, x) in beside {
            let Some(inside) = around.get(c).and_then(|a| a.get((y, x))) else { continue };
            if *inside && !mask[c][[y, x]] {
                mask[c][[y, x]] = true;
                open.push((c, y, x));
            }
        }
    }
    mask
}

/// Each channel joined with the ones beside it; the ends of the band are not joined to each other.
fn with_neighbours(masks: &[Array2<bool>]) -> Vec<Array2<bool>> {
    (0..masks.len())
        .map(|c| {
            let mut out = masks[c].clone();
            for beside in [c.checked_sub(1), Some(c + 1)].into_iter().flatten().filter_map(|i| masks.get(i)) {
                ndarray::Zip::from(&mut out).and(beside).for_each(|o, b| *o |= b);
            }
            out
        })
        .collect()
}

/// Standard deviation of what five rounds of Chauvenet's criterion leave, with the median deviation as scale; zeros, as mosaics
/// have them beyond their pointings, do not count.
pub fn chauvenet_noise(values: impl Iterator<Item = f32>) -> Option<f64> {
    let mut v: Vec<f32> = values.filter(|v| v.is_finite() && *v != 0.0).collect();
    for _ in 0..5 {
        if v.len() < 2 {
            return None;
        }
        let mean = v.iter().map(|x| f64::from(*x)).sum::<f64>() / v.len() as f64;
        let scale = super::robust_noise(v.iter());
        if scale == 0.0 {
            break;
        }
        let reach = chauvenet_reach(v.len());
        let before = v.len();
        v.retain(|x| (f64::from(*x) - mean).abs() < reach * scale);
        if v.len() == before {
            break;
        }
    }
    let n = v.len() as f64;
    let mean = v.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    Some((v.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n).sqrt())
}

/// The deviation, in units of the scale, that one of `n` Gaussian numbers passes with probability one half: erfc(z/√2) = 1/(2n).
fn chauvenet_reach(n: usize) -> f64 {
    let target = 0.5 / n as f64;
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if erfc(middle / std::f64::consts::SQRT_2) > target { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// Complementary error function for x >= 0, to 1e-7 of itself (continued fraction above 2, series below).
fn erfc(x: f64) -> f64 {
    if x < 2.0 {
        let (mut term, mut sum) = (x, x);
        for n in 1..80 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return 1.0 - sum * std::f64::consts::FRAC_2_SQRT_PI;
    }
    let fraction = (1..=60).rev().fold(0.0, |f, k| f64::from(k) / 2.0 / (x + f));
    (-x * x).exp() / ((x + fraction) * std::f64::consts::PI.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_function_at_known_places() {
        for (x, expected) in
            [(0.5, 0.479_500_122_186_953), (1.9, 0.007_209_570_764_740), (2.1, 0.002_979_466_656_333), (4.0, 1.541_725_790_028e-8)]
        {
            assert!((erfc(x) / expected - 1.0).abs() < 1e-7, "{x}: {}", erfc(x));
        }
        // 500 of 1000 samples would lose one point beyond 3.48 sigma.
        assert!((chauvenet_reach(1000) - 3.4808).abs() < 1e-3);
    }

    #[test]
    fn signal_grows_into_faint_surroundings_but_not_around_the_band() {
        let mut image = vec![Array2::<f32>::zeros((5, 9)); 6];
        image[0][[2, 2]] = 5.0;
        for x in 3..7 {
            image[0][[2, x]] = 2.5;
        }
        image[1][[2, 6]] = 2.5;
        image[5][[2, 2]] = 2.5;
        image[3][[0, 0]] = 3.0;
        let mask = signal_mask(&image, 1.0, 4.0, 2.0, true);
        assert!(mask[0][[2, 6]] && mask[1][[2, 6]] && !mask[5][[2, 2]] && !mask[3][[0, 0]]);
        let flat = signal_mask(&image, 1.0, 4.0, 2.0, false);
        assert!(flat[0][[2, 6]] && !flat[1][[2, 6]]);
    }

    #[test]
    fn chauvenet_takes_sources_out_of_the_noise() {
        use rand::SeedableRng;
        use rand_distr::{Distribution, Normal};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let normal = Normal::new(0.0f32, 2.0).unwrap();
        let mut v: Vec<f32> = (0..50_000).map(|_| normal.sample(&mut rng)).collect();
        v.extend([f32::NAN, 100.0, 500.0]);
        v.extend(vec![50.0; 400]);
        assert!((chauvenet_noise(v.into_iter()).unwrap() - 2.0).abs() < 0.03);
    }
}
