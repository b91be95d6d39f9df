//! When minor cycles end and when everything ends, in the terms that users of tclean know.

use crate::options;
use crate::units::{Flux, List};

options! {
    /// Options of the major and minor cycles.
    pub struct CleanOptions {
        /// Components in all; 0 makes a dirty image only.
        ["1"] niter: u64 = 0,
        /// Fraction of a component that one iteration subtracts.
        ["1"] gain: f64 = 0.1,
        /// Stop once the largest residual inside the mask is below this.
        ["Jy/beam"] threshold: Flux = Flux(0.0),
        /// Stop once the largest residual inside the mask is below this many times the noise of the residual (median deviation); 0 for never.
        ["1"] nsigma: f64 = 0.0,
        /// Components of one plane in one minor cycle at most; automatic is no limit.
        ["1"] cycleniter: Option<u64> = None,
        /// A minor cycle stops at this times the PSF's largest sidelobe times the peak.
        ["1"] cyclefactor: f64 = 1.0,
        /// A minor cycle goes down to this fraction of the peak at least.
        ["1"] minpsffraction: f64 = 0.05,
        /// A minor cycle stops at this fraction of the peak at the latest.
        ["1"] maxpsffraction: f64 = 0.8,
        /// Major cycles at most; automatic is no limit.
        ["1"] nmajor: Option<u64> = None,
        /// Radii of components, pixels; 0 is a point.
        ["pixels"] scales: List<f64> = List(vec![0.0]),
        /// Lowers the rank of large scales: 0 not at all, 1 entirely for the largest. The one of most chi-square is chosen, so that
        /// none is needed; tclean, which chooses the largest amplitude, needs some.
        ["1"] smallscalebias: f64 = 0.0,
        /// Stop once the model's flux is negative, as the multiscale stage of PHANGS does.
        [""] stop_at_negative: bool = false,
    }
}

/// Why cleaning ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// `niter` components were found.
    Iterations,
    /// The peak is below `threshold`.
    Threshold,
    /// The peak is below `nsigma` times the noise.
    Nsigma,
    /// The mask has no pixel.
    NoMask,
    /// The peak of the residual grew to three times its lowest value.
    Diverged,
    /// A major cycle changed the peak by less than a part in 10^5, or no component was found.
    NoProgress,
    /// `nmajor` major cycles were made.
    MajorCycles,
    /// The model's flux became negative.
    NegativeFlux,
    /// The user interrupted; the model is that of the last complete major cycle.
    Interrupted,
}

impl std::fmt::Display for StopReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            StopReason::Iterations => "the number of iterations was reached",
            StopReason::Threshold => "the threshold was reached",
            StopReason::Nsigma => "the multiple of the noise was reached",
            StopReason::NoMask => "the mask has no pixel",
            StopReason::Diverged => "the residual grew: it diverges",
            StopReason::NoProgress => "the residual no longer changed",
            StopReason::MajorCycles => "the number of major cycles was reached",
            StopReason::NegativeFlux => "the flux of the model is negative",
            StopReason::Interrupted => "it was interrupted",
        })
    }
}

/// One line of the table of convergence: the state after a major cycle.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CycleRecord {
    /// Major cycle, 0 for the dirty image.
    pub cycle: u64,
    /// Components so far.
    pub n_iter: u64,
    /// Largest residual inside the mask, Jy/beam.
    pub peak_jy: f64,
    /// Flux of the model, Jy, summed over planes.
    pub flux_jy: f64,
    /// Noise of the residual (median deviation), Jy/beam, median over planes.
    pub noise_jy: f64,
    /// Where the minor cycles before it were to stop, Jy/beam.
    pub cycle_threshold_jy: f64,
}

impl CleanOptions {
    /// Where a minor cycle stops for a peak and the largest sidelobe of the PSF, Jy/beam.
    pub fn cycle_threshold(&self, peak: f64, sidelobe: f64, threshold: f64) -> f64 {
        let fraction = (sidelobe * self.cyclefactor).max(self.minpsffraction).min(self.maxpsffraction);
        (fraction * peak).max(threshold)
    }

    /// Refuses components that are larger than the image, which take memory without end.
    pub fn check_scales(&self, (ny, nx): (usize, usize)) -> Result<(), crate::imaging::ImagingError> {
        match self.scales.iter().find(|s| 2.0 * **s > ny.min(nx) as f64) {
            Some(scale) => Err(crate::imaging::ImagingError::ScaleTooLarge { scale: *scale, nx, ny }),
            None => Ok(()),
        }
    }

    /// The first option out of its range.
    pub fn check(&self) -> Result<(), crate::imaging::ImagingError> {
        let fail = |name, value: String, expected| Err(crate::imaging::ImagingError::Option { name, value, expected });
        if !(self.gain > 0.0 && self.gain <= 1.0) {
            return fail("gain", self.gain.to_string(), "a number above 0 and at most 1");
        }
        if self.scales.is_empty() || self.scales.iter().any(|s| !(s.is_finite() && *s >= 0.0)) {
            return fail("scales", format!("{:?}", self.scales.0), "at least one radius in pixels, none negative");
        }
        if !(0.0..=1.0).contains(&self.smallscalebias) {
            return fail("smallscalebias", self.smallscalebias.to_string(), "a number between 0 and 1");
        }
        if !(self.threshold.0 >= 0.0) {
            return fail("threshold", self.threshold.to_string(), "a flux density of 0 or more");
        }
        if !(self.nsigma >= 0.0) {
            return fail("nsigma", self.nsigma.to_string(), "0 or more");
        }
        if self.cycleniter == Some(0) {
            return fail("cycleniter", "0".into(), "at least one component");
        }
        if !(self.cyclefactor > 0.0) {
            return fail("cyclefactor", self.cyclefactor.to_string(), "a number above 0");
        }
        if !(self.minpsffraction >= 0.0 && self.minpsffraction <= self.maxpsffraction) {
            return fail("minpsffraction", self.minpsffraction.to_string(), "from 0 to maxpsffraction");
        }
        if !(self.maxpsffraction <= 1.0) {
            return fail("maxpsffraction", self.maxpsffraction.to_string(), "at most 1");
        }
        Ok(())
    }
}

/// 1.4826 times the median absolute deviation of the finite pixels, Jy/beam; zeros do not count: beyond a mosaic nothing was seen.
pub fn robust_noise<'a>(values: impl Iterator<Item = &'a f32>) -> f64 {
    let mut v: Vec<f32> = values.copied().filter(|v| v.is_finite() && *v != 0.0).collect();
    if v.is_empty() {
        return 0.0;
    }
    let middle = v.len() / 2;
    let median = *v.select_nth_unstable_by(middle, f32::total_cmp).1;
    v.iter_mut().for_each(|x| *x = (*x - median).abs());
    1.482_602_2 * f64::from(*v.select_nth_unstable_by(middle, f32::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    #[test]
    fn a_minor_cycle_stops_where_tclean_would() {
        let o = CleanOptions { cyclefactor: 1.5, ..Default::default() };
        assert!((o.cycle_threshold(2.0, 0.2, 0.0) - 0.6).abs() < 1e-12);
        assert_eq!(o.cycle_threshold(2.0, 0.001, 0.0), 0.1);
        assert_eq!(o.cycle_threshold(2.0, 0.9, 0.0), 1.6);
        assert_eq!(o.cycle_threshold(2.0, 0.2, 0.9), 0.9);
    }

    #[test]
    fn impossible_options_are_refused_with_their_range() {
        let e = CleanOptions { gain: 1.5, ..Default::default() }.check().unwrap_err().to_string();
        assert_eq!(e, "`gain` is 1.5; expected a number above 0 and at most 1");
        assert!(CleanOptions { scales: List(vec![]), ..Default::default() }.check().is_err());
        assert!(CleanOptions::PARAMS.iter().any(|p| p.name == "cycleniter"));
    }

    #[test]
    fn the_noise_ignores_blanks_and_sources() {
        let mut v: Vec<f32> = (0..1001).map(|i| (i as f32 - 500.0) / 500.0).collect();
        v.extend([f32::NAN, 1e6, 1e7]);
        v.extend([0.0; 3000]);
        assert!((robust_noise(v.iter()) - 0.5 * 1.4826).abs() < 6e-3);
    }
}
