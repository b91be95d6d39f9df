//! The imaging of PHANGS-ALMA (Leroy et al. 2021, ApJS 255, 19, section 5): dirty image, multiscale CLEAN inside the clean
//! mask down to 4 sigma, a mask of the signal found, single-scale CLEAN inside it down to 1 sigma.

use ndarray::{ArcArray2, Array2, ArrayView2, Zip};
use rayon::prelude::*;

use super::clean::{CycleRecord, LoopOptions, LoopRecord, MajorCycle, Stage, clean_loop, followed_by};
use super::recipe::{Engine, SetUp, check_finite, finish, interrupted, pointings_of, warn_of_empty_channels};
use super::{
    Choice, CleanOptions, Dirty, ImageOptions, Imaged, Input, MaskChoice, MaskPlan, Psfs, Start, StartModel, StopReason, Unfinished,
    chauvenet_noise, fit_beam, restore, robust_noise, signal_mask,
};
use crate::error::{Error, Result};
use crate::notice::Reporter;
use crate::options;
use crate::units::{ARCSEC, Angle, List};

options! {
    /// Options of the cleaning of PHANGS-ALMA.
    pub struct PhangsOptions {
        /// Sizes of components of the first stage.
        ["arcsec"] clean_scales: List<Angle> = List(vec![Angle(0.0), Angle(ARCSEC), Angle(2.5 * ARCSEC), Angle(5.0 * ARCSEC), Angle(10.0 * ARCSEC)]),
        /// The first stage ends at this many times the noise.
        ["1"] multiscale_snr: f64 = 4.0,
        /// The second stage ends at this many times the noise.
        ["1"] singlescale_snr: f64 = 1.0,
        /// Signal is above this many times the noise; automatic is 4 for lines, 2.5 for continuum.
        ["1"] high_snr: Option<f64> = None,
        /// And around that above this many times; automatic is 2 for lines, 1 for continuum.
        ["1"] low_snr: Option<f64> = None,
        /// A stage is done once a call changes the flux of the model by less than this fraction.
        ["1"] convergence_fracflux: f64 = 0.01,
        /// Calls of a stage at least, less one.
        ["1"] min_loops: u64 = 3,
        /// Calls of a stage at most, less one.
        ["1"] max_loops: u64 = 20,
        /// Leave out the multiscale stage.
        [""] skip_multiscale: bool = false,
        /// Leave out the single-scale stage.
        [""] skip_singlescale: bool = false,
    }
}

/// Residuals inside the mask, Jy/beam.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[allow(missing_docs)]
pub struct ResidualStatistics {
    pub max: f64,
    pub p99: f64,
    pub p95: f64,
    pub p90: f64,
    /// Of the whole cube.
    pub noise: f64,
}

/// A cube cleaned as PHANGS does it.
#[derive(Debug, Clone)]
pub struct PhangsImaged {
    /// The image after the last stage.
    pub imaged: Imaged,
    /// Restored image after the multiscale stage.
    pub multiscale: Option<Vec<Array2<f32>>>,
    /// Calls of the multiscale stage.
    pub multiscale_record: Vec<LoopRecord>,
    /// Calls of the single-scale stage.
    pub singlescale_record: Vec<LoopRecord>,
    /// What is left.
    pub statistics: ResidualStatistics,
}

/// Images and cleans as PHANGS-ALMA does; `start` is the model of a run that was interrupted, in which stage ever.
pub fn phangs_image(
    inputs: &[Input],
    options: &ImageOptions,
    phangs: &PhangsOptions,
    mask: &MaskChoice,
    start: Option<StartModel>,
    keep: &dyn Fn(&Unfinished) -> Result<()>,
    notice: &dyn Reporter,
) -> Result<PhangsImaged> {
    options.check()?;
    let points = pointings_of(inputs, options, notice)?;
    let set_up = SetUp::new(inputs, &points, options, notice)?;
    let mut engine = Engine::new(inputs, &points, &set_up, notice)?;
    let dirty = engine.dirty(notice)?;
    check_finite(&dirty)?;
    let pb = engine.primary_beam(&set_up, &points)?;
    warn_of_empty_channels(&dirty, &set_up, notice);
    // Without a clean mask everything above the limit of the primary beam may be cleaned.
    let level = MaskChoice::PrimaryBeam(options.pblimit.unwrap_or(0.5));
    let mask = if matches!(mask, MaskChoice::Everywhere) { &level } else { mask };
    let plan = set_up.mask(mask, &dirty, &pb, options)?;
    let cleaner = Stages {
        dirty: &dirty,
        n_terms: set_up.n_terms,
        options,
        phangs,
        cell_rad: set_up.spec.geometry.cell_rad,
        major: engine.major(),
        notice,
    };

    let start = match start {
        Some(start) => Start::model(set_up.checked_model(start)?, 0, engine.major(), notice)?,
        None => Start::nothing(&dirty),
    };
    let was_interrupted = |stage: &Stage| stage.cleaned.stop == StopReason::Interrupted;
    let kept = |stage: &Stage| -> Result<PhangsImaged> {
        keep(&Unfinished::of(&set_up, options, &dirty, &stage.cleaned)?)?;
        Err(interrupted())
    };
    let first = if phangs.skip_multiscale { None } else { Some(cleaner.multiscale(&plan, start.clone())?) };
    if let Some(first) = first.as_ref().filter(|s| was_interrupted(s)) {
        return kept(first);
    }
    let start = first.as_ref().map_or(start, |s| Start { model: s.cleaned.model.clone(), residual: s.cleaned.residual.clone(), n_iter: 0 });
    let multiscale = cleaner.restored(&start)?;
    let signal = cleaner.signal(&multiscale, &start.residual, &plan);
    let second = if phangs.skip_singlescale { None } else { Some(cleaner.single_scale(&MaskPlan::Fixed(signal), start)?) };
    let multiscale_record = first.as_ref().map_or_else(Vec::new, |s| s.record.clone());
    let singlescale_record = second.as_ref().map_or_else(Vec::new, |s| s.record.clone());
    let cycles: Vec<CycleRecord> = first.as_ref().map_or_else(Vec::new, |s| s.cleaned.record.clone());
    let second = second.map(|mut s| {
        s.cleaned.record = followed_by(cycles, &s.cleaned.record);
        s
    });
    let last = second.or(first).ok_or_else(|| Error::user("both stages of the cleaning are left out").hint("leave at most one out"))?;
    if was_interrupted(&last) {
        return kept(&last);
    }
    let statistics = statistics(&last)?;
    let multiscale = (!multiscale_record.is_empty()).then_some(multiscale);
    let imaged = finish(set_up, dirty, last.cleaned, pb, engine.weight(), options)?;
    Ok(PhangsImaged { imaged, multiscale, multiscale_record, singlescale_record, statistics })
}

/// What the stages share.
struct Stages<'a> {
    dirty: &'a Dirty,
    n_terms: usize,
    options: &'a ImageOptions,
    phangs: &'a PhangsOptions,
    cell_rad: f64,
    major: &'a dyn MajorCycle,
    notice: &'a dyn Reporter,
}

impl Stages<'_> {
    fn loop_options(&self, snr: f64, stop_at_negative: bool) -> LoopOptions {
        let p = self.phangs;
        let common = LoopOptions {
            convergence_fracflux: p.convergence_fracflux,
            min_loops: p.min_loops,
            max_loops: p.max_loops,
            ..Default::default()
        };
        LoopOptions { snr, stop_at_negative, ..common }
    }

    fn multiscale(&self, plan: &MaskPlan, start: Start) -> Result<Stage> {
        // Sizes are cut to whole pixels, as the pipeline does.
        let mut scales: Vec<f64> = self.phangs.clean_scales.iter().map(|s| (s.0 / self.cell_rad + 1e-9).floor()).collect();
        scales.sort_by(f64::total_cmp);
        scales.dedup();
        let minor = CleanOptions { scales: List(scales), cyclefactor: 3.0, minpsffraction: 0.5, ..Default::default() };
        minor.check_scales(self.dirty.psf[0].dim())?;
        let options = self.loop_options(self.phangs.multiscale_snr, true);
        self.clean(plan, start, &minor, &options)
    }

    fn single_scale(&self, plan: &MaskPlan, start: Start) -> Result<Stage> {
        let minor = CleanOptions { cyclefactor: 3.0, minpsffraction: 0.5, ..Default::default() };
        let options = self.loop_options(self.phangs.singlescale_snr, false);
        self.clean(plan, start, &minor, &options)
    }

    fn clean(&self, plan: &MaskPlan, start: Start, minor: &CleanOptions, options: &LoopOptions) -> Result<Stage> {
        let psfs = Psfs::new(self.dirty, self.n_terms, &minor.scales, minor.smallscalebias, Choice::default());
        clean_loop(&psfs, plan, start, minor, options, self.major, self.notice)
    }

    /// Image of a model with its residual, each plane with its own beam.
    fn restored(&self, state: &Start) -> Result<Vec<Array2<f32>>> {
        let one = |(i, (model, residual)): (usize, (&ArcArray2<f32>, &ArcArray2<f32>))| {
            let psf = &self.dirty.psf[if self.n_terms > 1 { 0 } else { i }];
            match fit_beam(psf.view(), self.cell_rad) {
                Ok(beam) => Ok(restore(model.view(), residual.view(), beam, self.cell_rad)?),
                Err(_) => Ok(residual.to_owned()),
            }
        };
        state.model.par_iter().zip(&state.residual).enumerate().map(one).collect()
    }

    /// Signal in the image by the noise of the residual, inside the mask before.
    fn signal(&self, image: &[Array2<f32>], residual: &[ArcArray2<f32>], plan: &MaskPlan) -> Vec<Array2<bool>> {
        let line = self.options.mode == super::Mode::Cube;
        let (high, low) = if line { (4.0, 2.0) } else { (2.5, 1.0) };
        let (high, low) = (self.phangs.high_snr.unwrap_or(high), self.phangs.low_snr.unwrap_or(low));
        let noise = robust_noise(residual.iter().step_by(self.n_terms).flat_map(|r| r.iter()));
        let first: Vec<ArrayView2<f32>> = image.iter().step_by(self.n_terms).map(|i| i.view()).collect();
        let mut signal = signal_mask(&first, noise, high, low, line);
        if let MaskPlan::Fixed(before) = plan {
            for (i, mask) in signal.iter_mut().enumerate() {
                Zip::from(mask).and(&before[i.min(before.len() - 1)]).for_each(|m, b| *m &= b);
            }
        }
        signal
    }
}

fn statistics(stage: &Stage) -> Result<ResidualStatistics> {
    let c = &stage.cleaned;
    let terms = c.model.len() / c.masks.len().max(1);
    let residual = || c.residual.iter().step_by(terms.max(1));
    let inside = residual().zip(&c.masks).flat_map(|(r, m)| r.iter().zip(m).filter(|(v, m)| **m && v.is_finite()).map(|(v, _)| *v));
    let mut values: Vec<f32> = inside.collect();
    values.sort_by(f32::total_cmp);
    let at = |p: f64| values.get(((values.len() as f64 - 1.0) * p).round().max(0.0) as usize).copied().map_or(f64::NAN, f64::from);
    let noise = chauvenet_noise(residual().flat_map(|r| r.iter().copied())).unwrap_or(0.0);
    Ok(ResidualStatistics { max: at(1.0), p99: at(0.99), p95: at(0.95), p90: at(0.9), noise })
}
