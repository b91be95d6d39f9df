//! CLEAN with major cycles: Högbom, multiscale and multi-term, over images and cubes.

mod automask;
mod clark;
mod control;
mod minor;
mod phangs;
mod psfs;
mod scales;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use ndarray::{ArcArray2, Array2, ArrayView2};
use rayon::prelude::*;

pub use automask::AutoMaskOptions;
use automask::{PlaneFacts, next_mask};
pub use control::{CleanOptions, CycleRecord, StopReason, robust_noise};
pub use minor::Choice;
pub(super) use minor::inverse_of_psf_peaks;
use minor::{Component, Limits, Places, Work, add_components, keep_brightest};
pub use phangs::{LoopOptions, LoopRecord, Stage, chauvenet_noise, clean_loop, followed_by, signal_mask};
use psfs::PlanePsf;
pub use psfs::{Psfs, psf_sidelobes};

use super::Dirty;
use crate::error::{Kind, Result};
use crate::notice::Reporter;

/// The operator between model and residual: visibilities, or a test's PSF.
pub trait MajorCycle: Sync {
    /// Residual images of a model, Jy/beam, of the planes whose model (Jy/pixel) is given; those of Taylor terms are given together.
    fn residual(&self, model: &[Option<ArrayView2<f32>>], notice: &dyn Reporter) -> Result<Vec<Option<Array2<f32>>>>;
}

impl MajorCycle for super::Imager<'_> {
    fn residual(&self, model: &[Option<ArrayView2<f32>>], notice: &dyn Reporter) -> Result<Vec<Option<Array2<f32>>>> {
        super::Imager::residual(self, model, notice)
    }
}

/// A cleaned image: what it takes to restore it, or to go on.
#[derive(Debug, Clone)]
pub struct Cleaned {
    /// Model, Jy/pixel, plane by plane.
    pub model: Vec<ArcArray2<f32>>,
    /// Residual of that model, Jy/beam.
    pub residual: Vec<ArcArray2<f32>>,
    /// Masks as they were in the end, one for each plane or group of Taylor terms.
    pub masks: Vec<Array2<bool>>,
    /// State after each major cycle.
    pub record: Vec<CycleRecord>,
    /// Why it ended.
    pub stop: StopReason,
}

/// A model to go on from, with its residual. Planes are shared until they change.
#[derive(Debug, Clone)]
pub struct Start {
    /// Model, Jy/pixel.
    pub model: Vec<ArcArray2<f32>>,
    /// Residual of that model, Jy/beam.
    pub residual: Vec<ArcArray2<f32>>,
    /// Components that it took so far, counted towards `niter`.
    pub n_iter: u64,
}

impl Start {
    /// An empty model and the dirty image.
    pub fn nothing(dirty: &Dirty) -> Start {
        let empty = ArcArray2::zeros(dirty.image[0].dim());
        Start { model: vec![empty; dirty.image.len()], residual: dirty.image.clone(), n_iter: 0 }
    }
    /// A model whose residual is computed here.
    pub fn model(model: Vec<Array2<f32>>, n_iter: u64, major: &dyn MajorCycle, notice: &dyn Reporter) -> Result<Start> {
        let all: Vec<_> = model.iter().map(|m| Some(m.view())).collect();
        let residual = major.residual(&all, notice)?;
        let residual = residual.into_iter().flatten().map(Array2::into_shared).collect();
        Ok(Start { model: model.into_iter().map(Array2::into_shared).collect(), residual, n_iter })
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
    /// True if components may come to lie on a pixel (y, x) of a group of planes.
    pub fn allows(&self, group: usize, pixel: (usize, usize)) -> bool {
        let masks = self.given();
        masks.get(group.min(masks.len().saturating_sub(1))).and_then(|m| m.get(pixel)).is_some_and(|m| *m)
    }
    fn given(&self) -> &[Array2<bool>] {
        match self {
            MaskPlan::Fixed(masks) => masks,
            MaskPlan::Auto { within, .. } => within,
        }
    }
}

/// Cleans inside the mask, from `start` on.
pub fn clean(
    psfs: &Psfs,
    mask: &MaskPlan,
    start: Start,
    options: &CleanOptions,
    major: &dyn MajorCycle,
    notice: &dyn Reporter,
) -> Result<Cleaned> {
    options.check()?;
    let mut state = State::new(psfs, mask, start, options)?;
    loop {
        if let Some(stop) = state.should_stop() {
            return Ok(state.finish(stop));
        }
        match state.cycle(major, notice) {
            Ok(true) => {}
            Ok(false) => return Ok(state.finish(StopReason::NoProgress)),
            Err(e) if e.kind == Kind::Interrupted => return Ok(state.finish(StopReason::Interrupted)),
            Err(e) => return Err(e),
        }
        notice.progress("clean", state.n_iter, options.niter);
    }
}

/// A cleaning between two cycles. A group is the Taylor terms of a continuum image, or a channel.
struct State<'a, 'p> {
    options: &'a CleanOptions,
    psfs: &'a Psfs<'p>,
    plan: &'a MaskPlan,
    model: Vec<ArcArray2<f32>>,
    residual: Vec<ArcArray2<f32>>,
    /// One for each group.
    group: Vec<Group>,
    n_iter: u64,
    cycle_threshold: f64,
    record: Vec<CycleRecord>,
    /// The state of the lowest peak so far: where a cleaning that diverges goes back to.
    best: Option<Start>,
}

struct Group {
    mask: Array2<bool>,
    /// Where components of each scale may lie, if known; `None` as well for a mask without a pixel.
    places: Option<Arc<Places>>,
    /// The residual ready for a minor cycle, if there was room to keep it.
    work: Option<Work>,
    /// Peak inside the mask, Jy/beam.
    peak: f64,
    noise: f64,
    /// Flux of the model, Jy.
    flux: f64,
}

/// Residuals filtered with the scales are kept between cycles as long as all of them take no more than this.
const KEPT_BYTES: usize = 96 << 20;

impl<'a, 'p> State<'a, 'p> {
    fn new(psfs: &'a Psfs<'p>, plan: &'a MaskPlan, start: Start, options: &'a CleanOptions) -> Result<State<'a, 'p>> {
        let Start { model, residual, n_iter } = start;
        let shape = residual[0].dim();
        for mask in plan.given() {
            if mask.dim() != shape {
                return Err(super::shape_error("mask", mask.dim(), shape).into());
            }
        }
        let group = |mask: Array2<bool>, places: Option<Arc<Places>>| Group { mask, places, work: None, peak: 0.0, noise: 0.0, flux: 0.0 };
        let n_groups = psfs.n_groups();
        let group = match plan {
            MaskPlan::Auto { .. } => (0..n_groups).map(|_| group(Array2::from_elem(shape, false), None)).collect(),
            MaskPlan::Fixed(masks) => {
                let places: Vec<_> = masks.par_iter().map(|m| Places::of(m, &psfs.set).map(Arc::new)).collect();
                let of = |g: usize| g.min(masks.len() - 1);
                (0..n_groups).map(|g| group(masks[of(g)].clone(), places[of(g)].clone())).collect()
            }
        };
        let mut state = State { options, psfs, plan, model, residual, group, n_iter, cycle_threshold: 0.0, record: Vec::new(), best: None };
        state.account(&vec![true; n_groups]);
        Ok(state)
    }

    /// Image planes of a group.
    fn planes(&self, group: usize) -> Range<usize> {
        group * self.psfs.n_terms..(group + 1) * self.psfs.n_terms
    }

    /// Minor cycles and the major one after them; false if no component was found. Nothing changes if it is interrupted.
    fn cycle(&mut self, major: &dyn MajorCycle, notice: &dyn Reporter) -> Result<bool> {
        let found = self.minor_cycles(notice)?;
        if found.iter().all(Vec::is_empty) {
            return Ok(false);
        }
        let model = self.model_with(&found);
        // Planes that nothing was added to have the residual that they had.
        let wanted = |i: usize| (!found[i / self.psfs.n_terms].is_empty()).then(|| model[i].view());
        let residual = major.residual(&(0..model.len()).map(wanted).collect::<Vec<_>>(), notice)?;
        self.model = model;
        for (old, new) in self.residual.iter_mut().zip(residual) {
            if let Some(new) = new {
                *old = new.into_shared();
            }
        }
        self.n_iter += found.iter().map(|f| f.len() as u64).sum::<u64>();
        self.account(&found.iter().map(|f| !f.is_empty()).collect::<Vec<_>>());
        Ok(true)
    }

    fn model_with(&self, found: &[Vec<Component>]) -> Vec<ArcArray2<f32>> {
        let with = |(group, found): (usize, &Vec<Component>)| -> Vec<ArcArray2<f32>> {
            let before = &self.model[self.planes(group)];
            if found.is_empty() {
                return before.to_vec();
            }
            let mut planes: Vec<Array2<f32>> = before.iter().map(|p| p.to_owned()).collect();
            add_components(found, &self.psfs.set, &mut planes.iter_mut().collect::<Vec<_>>());
            planes.into_iter().map(Array2::into_shared).collect()
        };
        let groups: Vec<_> = found.par_iter().enumerate().map(with).collect();
        groups.into_iter().flatten().collect()
    }

    /// Lets automatic masks follow the residual; true where they changed.
    fn follow(&mut self) -> Vec<bool> {
        let MaskPlan::Auto { options, within } = self.plan else { return vec![false; self.group.len()] };
        let first_cycle = self.record.is_empty();
        let next = |(g, group): (usize, &Group)| {
            let psf = self.psfs.plane[g].as_ref()?;
            let facts = PlaneFacts { sidelobe: psf.sidelobe, beam: psf.beam?, first_cycle };
            let residual = self.residual[self.planes(g).start].view();
            let mask = next_mask(&group.mask, residual, &within[g.min(within.len() - 1)], facts, options);
            (mask != group.mask).then(|| (Places::of(&mask, &self.psfs.set).map(Arc::new), mask))
        };
        let changed: Vec<Option<_>> = self.group.par_iter().enumerate().map(next).collect();
        let adopt = |(group, changed): (&mut Group, Option<(Option<Arc<Places>>, Array2<bool>)>)| {
            let Some((places, mask)) = changed else { return false };
            (group.places, group.mask) = (places, mask);
            true
        };
        self.group.iter_mut().zip(changed).map(adopt).collect()
    }

    /// The residual of a group ready for a minor cycle; `None` where nothing may be cleaned.
    fn work(&self, g: usize, psf: &PlanePsf) -> Option<Work> {
        let terms: Vec<ArrayView2<f32>> = self.residual[self.planes(g)].iter().map(|r| r.view()).collect();
        Some(Work::new(&terms, self.group[g].places.clone()?, &psf.response, &self.psfs.set))
    }

    /// Measures what changed, and writes the line of the record.
    fn account(&mut self, changed: &[bool]) {
        let remasked = self.follow();
        let measure = |g: usize| {
            if !changed[g] && !remasked[g] {
                return None;
            }
            let first = self.planes(g).start;
            let work = self.psfs.plane[g].as_ref().and_then(|psf| self.work(g, psf));
            let peak = work.as_ref().zip(self.psfs.plane[g].as_ref()).map_or(0.0, |(w, psf)| w.peak(&psf.response, &self.psfs.set).value);
            let noise = if changed[g] { robust_noise(self.residual[first].iter()) } else { self.group[g].noise };
            let flux = self.model[first].iter().map(|v| f64::from(*v)).sum();
            let keep = work.filter(|w| (g + 1) * w.bytes() <= KEPT_BYTES);
            Some((keep, peak, noise, flux))
        };
        let measured: Vec<Option<_>> = (0..self.group.len()).into_par_iter().map(measure).collect();
        for (group, measured) in self.group.iter_mut().zip(measured) {
            if let Some(new) = measured {
                (group.work, group.peak, group.noise, group.flux) = new;
            }
        }
        let record = CycleRecord {
            cycle: self.record.len() as u64,
            n_iter: self.n_iter,
            peak_jy: self.max_peak(),
            flux_jy: self.group.iter().map(|g| g.flux).sum(),
            noise_jy: median(self.group.iter().map(|g| g.noise)),
            cycle_threshold_jy: self.cycle_threshold,
        };
        if record.peak_jy <= self.lowest_peak() {
            self.best = Some(Start { model: self.model.clone(), residual: self.residual.clone(), n_iter: self.n_iter });
        }
        self.record.push(record);
    }

    fn max_peak(&self) -> f64 {
        self.group.iter().map(|g| g.peak).fold(0.0, f64::max)
    }

    /// The lowest peak on record, Jy/beam.
    fn lowest_peak(&self) -> f64 {
        self.record.iter().map(|r| r.peak_jy).fold(f64::INFINITY, f64::min)
    }

    /// Where a group is done, Jy/beam.
    fn threshold(&self, group: &Group) -> f64 {
        self.options.threshold.0.max(self.options.nsigma * group.noise)
    }

    fn should_stop(&self) -> Option<StopReason> {
        let o = self.options;
        if o.niter <= self.n_iter {
            return Some(StopReason::Iterations);
        }
        if !self.group.iter().any(|g| g.mask.iter().any(|v| *v)) {
            return Some(StopReason::NoMask);
        }
        if self.group.iter().all(|g| g.peak <= self.threshold(g)) {
            return Some(if self.max_peak() <= o.threshold.0 { StopReason::Threshold } else { StopReason::Nsigma });
        }
        if o.nmajor.is_some_and(|n| self.record.len() as u64 > n) {
            return Some(StopReason::MajorCycles);
        }
        let now = self.record.last()?;
        if o.stop_at_negative && now.flux_jy < 0.0 {
            return Some(StopReason::NegativeFlux);
        }
        if now.peak_jy > 3.0 * self.lowest_peak() {
            return Some(StopReason::Diverged);
        }
        if let [.., before, now] = self.record.as_slice()
            && (before.peak_jy - now.peak_jy).abs() < 1e-5 * before.peak_jy
        {
            return Some(StopReason::NoProgress);
        }
        None
    }

    /// Minor cycles of all groups, side by side: the components of each, together no more than `niter` has left.
    fn minor_cycles(&mut self, notice: &dyn Reporter) -> Result<Vec<Vec<Component>>> {
        let o = self.options;
        let sidelobe = self.psfs.plane.iter().flatten().map(|p| p.sidelobe).fold(0.0, f64::max);
        let left = o.niter - self.n_iter;
        self.cycle_threshold = o.cycle_threshold(self.max_peak(), sidelobe, o.threshold.0);
        let work: Vec<Option<Work>> = self.group.iter_mut().map(|g| g.work.take()).collect();
        let state = &*self;
        let run = |(g, work): (usize, Option<Work>)| -> Result<(Vec<Component>, Option<Work>)> {
            let threshold = state.cycle_threshold.max(state.threshold(&state.group[g]));
            let limits = Limits { gain: o.gain, n_iter: o.cycleniter.unwrap_or(left).min(left), threshold };
            match &state.psfs.plane[g] {
                Some(psf) if state.group[g].peak > threshold => Ok((state.components(g, psf, work, limits, notice)?, None)),
                _ => Ok((Vec::new(), work)),
            }
        };
        let done: Vec<_> = work.into_par_iter().enumerate().map(run).collect::<Result<_>>()?;
        let (mut found, unused): (Vec<_>, Vec<_>) = done.into_iter().unzip();
        self.group.iter_mut().zip(unused).for_each(|(group, work)| group.work = work);
        keep_brightest(&mut found, left);
        Ok(found)
    }

    /// Components of a group, down to its limits.
    fn components(
        &self,
        g: usize,
        psf: &PlanePsf<'p>,
        work: Option<Work>,
        limits: Limits,
        notice: &dyn Reporter,
    ) -> Result<Vec<Component>> {
        let set = &self.psfs.set;
        if self.psfs.choice == Choice::Clark && self.psfs.n_terms == 1 && set.all_points() {
            let (image, center) = self.psfs.of_points(g, psf);
            return clark::components(image, center, self.residual[g].view(), &self.group[g].mask, limits, notice);
        }
        let Some(work) = work.or_else(|| self.work(g, psf)) else { return Ok(Vec::new()) };
        self.psfs.with_pairs(g, psf, |pairs| pairs.components(work, &psf.response, set, limits, notice))
    }

    fn finish(mut self, stop: StopReason) -> Cleaned {
        if let (StopReason::Diverged, Some(best)) = (stop, self.best.take()) {
            (self.model, self.residual) = (best.model, best.residual);
        }
        let masks = self.group.into_iter().map(|g| g.mask).collect();
        Cleaned { model: self.model, residual: self.residual, masks, record: self.record, stop }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut v: Vec<f64> = values.filter(|v| *v > 0.0).collect();
    v.sort_by(f64::total_cmp);
    v.get(v.len() / 2).copied().unwrap_or(0.0)
}
