//! CLEAN with major cycles: Högbom, multiscale and multi-term, over images and cubes.

mod automask;
mod clark;
mod control;
mod minor;
mod phangs;
mod scales;
#[cfg(test)]
mod tests;

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

pub use automask::AutoMaskOptions;
use automask::{PlaneFacts, next_mask};
pub use control::{CleanOptions, CycleRecord, StopReason, robust_noise};
pub use minor::Choice;
pub(super) use minor::inverse_of_psf_peaks;
use minor::{Cleaner, Limits, MinorResult};
pub use phangs::{LoopOptions, LoopRecord, Stage, chauvenet_noise, clean_loop, followed_by, signal_mask};

use super::{Dirty, fit_beam};
use crate::data::Beam;
use crate::error::{Kind, Result};
use crate::notice::Reporter;

/// The operator between model and residual: visibilities, or a test's PSF.
pub trait MajorCycle {
    /// Residual images of a model, Jy/pixel, plane by plane.
    fn residual(&self, model: &[Array2<f32>], notice: &dyn Reporter) -> Result<Vec<Array2<f32>>>;
}

impl MajorCycle for super::Imager<'_> {
    fn residual(&self, model: &[Array2<f32>], notice: &dyn Reporter) -> Result<Vec<Array2<f32>>> {
        super::Imager::residual(self, model, notice)
    }
}

/// A cleaned image: what it takes to restore it, or to go on.
#[derive(Debug, Clone)]
pub struct Cleaned {
    /// Model, Jy/pixel, plane by plane.
    pub model: Vec<Array2<f32>>,
    /// Residual of that model, Jy/beam.
    pub residual: Vec<Array2<f32>>,
    /// Masks as they were in the end, one for each plane or group of Taylor terms.
    pub masks: Vec<Array2<bool>>,
    /// State after each major cycle.
    pub record: Vec<CycleRecord>,
    /// Why it ended.
    pub stop: StopReason,
}

/// A model to go on from, with its residual.
#[derive(Debug, Clone)]
pub struct Start {
    /// Model, Jy/pixel.
    pub model: Vec<Array2<f32>>,
    /// Residual of that model, Jy/beam.
    pub residual: Vec<Array2<f32>>,
    /// Components that it took so far, counted towards `niter`.
    pub n_iter: u64,
}

impl Start {
    /// An empty model and the dirty image.
    pub fn nothing(dirty: &Dirty) -> Start {
        Start { model: dirty.image.iter().map(|i| Array2::zeros(i.dim())).collect(), residual: dirty.image.clone(), n_iter: 0 }
    }
    /// A model whose residual is computed here.
    pub fn model(model: Vec<Array2<f32>>, n_iter: u64, major: &dyn MajorCycle, notice: &dyn Reporter) -> Result<Start> {
        let residual = major.residual(&model, notice)?;
        Ok(Start { model, residual, n_iter })
    }
}

/// Where components may lie.
#[derive(Debug, Clone)]
pub enum MaskPlan {
    /// Always here: one mask a plane, or one for all.
    Fixed(Vec<Array2<bool>>),
    /// Where auto-multithresh finds emission, within these (one a plane, or one for all).
    Auto {
        /// Its options.
        options: AutoMaskOptions,
        /// Pixels that may be masked, such as those above a level of the primary beam.
        within: Vec<Array2<bool>>,
    },
}

impl MaskPlan {
    fn given(&self) -> &[Array2<bool>] {
        match self {
            MaskPlan::Fixed(masks) => masks,
            MaskPlan::Auto { within, .. } => within,
        }
    }
}

/// Planes that are cleaned together: the Taylor terms of a continuum image, or one channel.
#[derive(Debug, Clone, Copy)]
struct Group {
    first: usize,
    n_terms: usize,
}

/// Cleans `dirty` inside the mask, starting from `start` where given.
///
/// `n_terms` planes belong together as Taylor terms; 1 for ordinary images and for cubes, whose channels are independent.
#[allow(clippy::too_many_arguments)]
pub fn clean(
    dirty: &Dirty,
    n_terms: usize,
    mask: &MaskPlan,
    start: Option<Start>,
    options: &CleanOptions,
    choice: Choice,
    major: &dyn MajorCycle,
    notice: &dyn Reporter,
) -> Result<Cleaned> {
    options.check()?;
    let mut state = State::new(dirty, n_terms, mask, start, options, choice)?;
    loop {
        if let Some(stop) = state.should_stop() {
            return Ok(state.finish(stop));
        }
        let before = state.model.clone();
        let cycle = state.cycle(major, notice);
        match cycle {
            Ok(true) => {}
            Ok(false) => return Ok(state.finish(StopReason::NoProgress)),
            Err(e) if e.kind == Kind::Interrupted => {
                state.model = before;
                return Ok(state.finish(StopReason::Interrupted));
            }
            Err(e) => return Err(e),
        }
        let done = state.n_iter.min(options.niter);
        notice.progress("clean", done, options.niter);
    }
}

struct State<'a> {
    options: &'a CleanOptions,
    plan: &'a MaskPlan,
    /// One for each group.
    masks: Vec<Array2<bool>>,
    groups: Vec<Group>,
    cleaners: Vec<Option<Cleaner>>,
    /// Largest sidelobe of each group's PSF.
    sidelobe: Vec<f64>,
    /// Its main lobe, in pixels.
    beam: Vec<Option<Beam>>,
    model: Vec<Array2<f32>>,
    residual: Vec<Array2<f32>>,
    /// Peak of each group inside its mask.
    peak: Vec<f64>,
    noise: Vec<f64>,
    n_iter: u64,
    cycle_threshold: f64,
    record: Vec<CycleRecord>,
    /// Model and residual of the lowest peak so far: where a cleaning that diverges goes back to.
    best: Option<Start>,
}

impl<'a> State<'a> {
    fn new(
        dirty: &Dirty,
        n_terms: usize,
        plan: &'a MaskPlan,
        start: Option<Start>,
        options: &'a CleanOptions,
        choice: Choice,
    ) -> Result<State<'a>> {
        let n_groups = dirty.image.len() / n_terms;
        let beam = |g: usize| fit_beam(dirty.psf[if n_terms == 1 { g } else { 0 }].view(), 1.0).ok();
        let beam = (0..n_groups).map(beam).collect();
        let groups: Vec<Group> = (0..n_groups).map(|g| Group { first: g * n_terms, n_terms }).collect();
        let shape = dirty.image[0].dim();
        for mask in plan.given() {
            if mask.dim() != shape {
                return Err(super::shape_error("mask", mask.dim(), shape).into());
            }
        }
        let psf_of = |g: &Group| -> Vec<ArrayView2<f32>> {
            let n = if n_terms == 1 { 1 } else { 2 * n_terms - 1 };
            let first = if n_terms == 1 { g.first } else { 0 };
            dirty.psf[first..first + n].iter().map(|p| p.view()).collect()
        };
        let prepare = |g: &Group| {
            let psf = psf_of(g);
            let center = peak_of_psf(psf[0])?;
            let cleaner = Cleaner::new(&psf, center, &options.scales, options.smallscalebias, choice);
            Some((cleaner, max_sidelobe(psf[0], center)))
        };
        let prepared: Vec<Option<(Cleaner, f64)>> = groups.par_iter().map(prepare).collect();
        let (cleaners, sidelobe) =
            prepared.into_iter().map(|p| p.map_or((None, 0.0), |(cleaner, sidelobe)| (Some(cleaner), sidelobe))).unzip();
        let Start { model, residual, n_iter } = start.unwrap_or_else(|| Start::nothing(dirty));
        let masks = match plan {
            MaskPlan::Fixed(masks) => (0..n_groups).map(|g| masks[g.min(masks.len() - 1)].clone()).collect(),
            MaskPlan::Auto { .. } => vec![Array2::from_elem(shape, false); n_groups],
        };
        let mut state = State {
            options,
            plan,
            masks,
            groups,
            cleaners,
            sidelobe,
            beam,
            model,
            residual,
            peak: Vec::new(),
            noise: Vec::new(),
            n_iter,
            cycle_threshold: 0.0,
            record: Vec::new(),
            best: None,
        };
        state.account(&[]);
        Ok(state)
    }

    /// Minor cycles and the major one after them; false if no component was found.
    fn cycle(&mut self, major: &dyn MajorCycle, notice: &dyn Reporter) -> Result<bool> {
        let found = self.minor_cycles(notice)?;
        if found.iter().all(|f| f.n_iter == 0) {
            return Ok(false);
        }
        self.residual = major.residual(&self.model, notice)?;
        self.account(&found);
        Ok(true)
    }

    /// Lets automatic masks follow the residual.
    fn follow(&mut self) {
        let MaskPlan::Auto { options, within } = self.plan else { return };
        let first_cycle = self.record.is_empty();
        let next = |(g, old): (usize, &Array2<bool>)| {
            let residual = self.residual[self.groups[g].first].view();
            let Some(beam) = self.beam[g] else { return old.clone() };
            let facts = PlaneFacts { sidelobe: self.sidelobe[g], beam, first_cycle };
            next_mask(old, residual, &within[g.min(within.len() - 1)], facts, options)
        };
        self.masks = self.masks.par_iter().enumerate().map(next).collect();
    }

    fn terms(&self, group: &Group) -> Vec<ArrayView2<'_, f32>> {
        self.residual[group.first..group.first + group.n_terms].iter().map(|r| r.view()).collect()
    }

    /// Adds up a cycle, measures the new residual, and writes the line of the record.
    fn account(&mut self, found: &[MinorResult]) {
        self.n_iter += found.iter().map(|f| f.n_iter).sum::<u64>();
        self.follow();
        let measure = |(i, group): (usize, &Group)| {
            let terms = self.terms(group);
            let peak = self.cleaners[i].as_ref().map_or(0.0, |c| c.peak(&terms, &self.masks[i]));
            (peak, robust_noise(terms[0].iter()))
        };
        let measured: Vec<(f64, f64)> = self.groups.par_iter().enumerate().map(measure).collect();
        (self.peak, self.noise) = measured.into_iter().unzip();
        let first_terms = self.groups.iter().map(|g| self.model[g.first].iter().map(|v| f64::from(*v)).sum::<f64>());
        let record = CycleRecord {
            cycle: self.record.len() as u64,
            n_iter: self.n_iter,
            peak_jy: self.max_peak(),
            flux_jy: first_terms.sum(),
            noise_jy: median(&self.noise),
            cycle_threshold_jy: self.cycle_threshold,
        };
        let lowest = self.record.iter().map(|r| r.peak_jy).fold(f64::INFINITY, f64::min);
        if record.peak_jy <= lowest {
            self.best = Some(Start { model: self.model.clone(), residual: self.residual.clone(), n_iter: self.n_iter });
        }
        self.record.push(record);
    }

    fn max_peak(&self) -> f64 {
        self.peak.iter().copied().fold(0.0, f64::max)
    }

    /// Where a group is done, Jy/beam.
    fn threshold(&self, group: usize) -> f64 {
        self.options.threshold.0.max(self.options.nsigma * self.noise[group])
    }

    fn should_stop(&self) -> Option<StopReason> {
        let o = self.options;
        if o.niter <= self.n_iter {
            return Some(StopReason::Iterations);
        }
        if !self.masks.iter().any(|m| m.iter().any(|v| *v)) {
            return Some(StopReason::NoMask);
        }
        if (0..self.groups.len()).all(|g| self.peak[g] <= self.threshold(g)) {
            return Some(if self.max_peak() <= o.threshold.0 { StopReason::Threshold } else { StopReason::Nsigma });
        }
        if o.nmajor.is_some_and(|n| self.record.len() as u64 > n) {
            return Some(StopReason::MajorCycles);
        }
        let now = self.record.last()?;
        if o.stop_at_negative && now.flux_jy < 0.0 {
            return Some(StopReason::NegativeFlux);
        }
        let lowest = self.record.iter().map(|r| r.peak_jy).fold(f64::INFINITY, f64::min);
        if now.peak_jy > 3.0 * lowest {
            return Some(StopReason::Diverged);
        }
        if let [.., before, now] = self.record.as_slice()
            && (before.peak_jy - now.peak_jy).abs() < 1e-5 * before.peak_jy
        {
            return Some(StopReason::NoProgress);
        }
        None
    }

    /// Minor cycles of all groups, side by side.
    fn minor_cycles(&mut self, notice: &dyn Reporter) -> Result<Vec<MinorResult>> {
        let o = self.options;
        let (peak, sidelobe) = (self.max_peak(), self.sidelobe.iter().copied().fold(0.0, f64::max));
        let left = o.niter - self.n_iter;
        self.cycle_threshold = o.cycle_threshold(peak, sidelobe, o.threshold.0);
        let mut model = std::mem::take(&mut self.model);
        let state = &*self;
        let limits = |g: usize| Limits {
            gain: o.gain,
            n_iter: o.cycleniter.unwrap_or(left).min(left),
            threshold: state.cycle_threshold.max(state.threshold(g)),
        };
        let run = |(i, model): (usize, &mut [Array2<f32>])| match &state.cleaners[i] {
            Some(cleaner) if state.peak[i] > limits(i).threshold => {
                cleaner.run(&state.terms(&state.groups[i]), &state.masks[i], limits(i), model, notice)
            }
            _ => Ok(MinorResult::default()),
        };
        let n_terms = state.groups[0].n_terms;
        let found: Result<Vec<MinorResult>> = model.par_chunks_mut(n_terms).enumerate().map(run).collect();
        self.model = model;
        found
    }

    fn finish(mut self, stop: StopReason) -> Cleaned {
        if let (StopReason::Diverged, Some(best)) = (stop, self.best.take()) {
            (self.model, self.residual) = (best.model, best.residual);
        }
        Cleaned { model: self.model, residual: self.residual, masks: self.masks, record: self.record, stop }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut v: Vec<f64> = values.iter().copied().filter(|v| *v > 0.0).collect();
    v.sort_by(f64::total_cmp);
    v.get(v.len() / 2).copied().unwrap_or(0.0)
}

/// The pixel of value 1; `None` for an empty plane.
fn peak_of_psf(psf: ArrayView2<f32>) -> Option<(usize, usize)> {
    let best = psf.indexed_iter().max_by(|a, b| a.1.total_cmp(b.1))?;
    (*best.1 > 0.0).then_some(best.0)
}

/// The largest absolute value of a PSF beside its main lobe: what is left when the fitted beam is taken out, or its deepest hole.
pub fn max_sidelobe(psf: ArrayView2<f32>, center: (usize, usize)) -> f64 {
    let Ok(beam) = fit_beam(psf, 1.0) else { return 1.0 };
    let without = without_beam(psf, center, beam);
    let deepest = psf.iter().copied().fold(0f32, f32::min);
    f64::from(without.max(-deepest))
}

/// Largest and lowest value of a PSF beside its main lobe: what is left above the fitted beam, and the deepest hole.
pub fn psf_sidelobes(psf: ArrayView2<f32>) -> (f64, f64) {
    let Some(center) = peak_of_psf(psf) else { return (0.0, 0.0) };
    let lowest = f64::from(psf.iter().copied().filter(|v| v.is_finite()).fold(0f32, f32::min));
    let highest = fit_beam(psf, 1.0).map_or(1.0, |beam| f64::from(without_beam(psf, center, beam)));
    (highest, lowest)
}

fn without_beam(psf: ArrayView2<f32>, center: (usize, usize), beam: Beam) -> f32 {
    let form = beam.ellipse();
    let det = form.ee * form.nn - form.en * form.en;
    let k = 4.0 * std::f64::consts::LN_2 / det;
    let mut top = 0f32;
    for ((y, x), v) in psf.indexed_iter() {
        let (e, n) = (center.1 as f64 - x as f64, y as f64 - center.0 as f64);
        let q = k * (form.nn * e * e + form.ee * n * n - 2.0 * form.en * e * n);
        let gaussian = if q < 40.0 { (-q).exp() as f32 } else { 0.0 };
        top = top.max(v - gaussian);
    }
    top
}
