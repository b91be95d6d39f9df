//! Amplitudes of data, model and residual against the length of baselines.

use super::predict::Predictor;
use super::{Dropped, ImagingError, Input, Intensity};
use crate::error::Result;
use crate::notice::Reporter;
use crate::units::C_M_S;

/// A ring of the (u, v) plane.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct AmplitudeBin {
    /// Weighted mean length of the baselines, kλ.
    pub uv_klambda: f64,
    /// Root mean square of the amplitudes of the data, noise taken out, Jy; 0 where the noise is larger.
    pub data_jy: f64,
    /// The same of the model, Jy.
    pub model_jy: f64,
    /// The same of data minus model, Jy.
    pub residual_jy: f64,
    /// What the noise of the mean square would be taken for as an amplitude, Jy: smaller residuals are noise.
    pub noise_jy: f64,
    /// Samples.
    pub n: u64,
}

/// Sums over the samples of a ring.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    weight: f64,
    length: f64,
    data: f64,
    model: f64,
    residual: f64,
    n: u64,
}

impl Sums {
    fn bin(&self, to_inverse_variance: f64) -> Option<AmplitudeBin> {
        if self.n == 0 {
            return None;
        }
        // Each sample's noise power is 2 sigma² (real and imaginary part), and its weight 1/sigma² over a constant.
        let noise = 2.0 * self.n as f64 / (to_inverse_variance * self.weight);
        let root = |power: f64, noise: f64| (power / self.weight - noise).max(0.0).sqrt();
        Some(AmplitudeBin {
            uv_klambda: self.length / self.weight / 1e3,
            data_jy: root(self.data, noise),
            model_jy: root(self.model, 0.0),
            residual_jy: root(self.residual, noise),
            noise_jy: (noise / (self.n as f64).sqrt()).sqrt(),
            n: self.n,
        })
    }
}

/// Means in `n_bins` rings of equal width in the logarithm of the length, up to the longest baseline.
pub fn uv_amplitudes(inputs: &[Input], predictors: &[Predictor], n_bins: usize, notice: &dyn Reporter) -> Result<Vec<AmplitudeBin>> {
    let longest = inputs.iter().map(|i| i.array.longest_baseline_m * i.array.band_hz.1 / C_M_S).fold(0.0, f64::max);
    if !(longest > 0.0) || n_bins == 0 {
        return Err(ImagingError::NoVisibilities("the selection is empty".into()).into());
    }
    // Three decades: shorter baselines share the first ring.
    const DECADES: f64 = 3.0;
    let ring = |length: f64| ((((length / longest).log10() / DECADES + 1.0) * n_bins as f64).max(0.0) as usize).min(n_bins - 1);
    let mut sums = vec![Sums::default(); n_bins];
    let (mut to_inverse_variance, mut dropped) = (1.0, Dropped::default());
    for (input, predictor) in inputs.iter().zip(predictors) {
        for b in 0..input.vis.n_blocks() {
            notice.check()?;
            let block = input.vis.read_block(b)?;
            let model = predictor.predict(&block)?;
            let mut intensity = Intensity::<f64>::default();
            intensity.fill(&block)?;
            to_inverse_variance = intensity.weight_to_inverse_variance;
            dropped += intensity.dropped;
            let n_chan = block.freq_hz.len();
            for (i, (w, v)) in intensity.weight.iter().zip(&intensity.vis).enumerate().filter(|(_, (w, _))| **w > 0.0) {
                let (row, chan) = (i / n_chan, i % n_chan);
                let length = block.uvw_m[[row, 0]].hypot(block.uvw_m[[row, 1]]) * block.freq_hz[chan] / C_M_S;
                let m = num_complex::Complex::new(f64::from(model[i].re), f64::from(model[i].im));
                let s = &mut sums[ring(length)];
                s.weight += w;
                s.length += w * length;
                s.data += w * v.norm_sqr();
                s.model += w * m.norm_sqr();
                s.residual += w * (*v - m).norm_sqr();
                s.n += 1;
            }
            notice.progress("uv amplitudes", b as u64 + 1, input.vis.n_blocks() as u64);
        }
    }
    let bins: Vec<AmplitudeBin> = sums.iter().filter_map(|s| s.bin(to_inverse_variance)).collect();
    if bins.is_empty() {
        return Err(ImagingError::NoVisibilities(format!(
            "{} samples are flagged, {} have no usable weight",
            dropped.flagged, dropped.bad_weight
        ))
        .into());
    }
    Ok(bins)
}
