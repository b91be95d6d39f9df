//! What cleaning needs to know of the PSFs, found once for all calls on an image.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::minor::{Choice, Pairs, Response};
use super::scales::ScaleSet;
use crate::data::Beam;
use crate::imaging::{Dirty, fit_beam};

/// PSFs of all planes prepared for cleaning with some scales.
pub struct Psfs<'a> {
    psf: &'a [Array2<f32>],
    pub(super) set: ScaleSet,
    pub(super) choice: Choice,
    pub(super) n_terms: usize,
    /// One for each group of terms; `None` where the plane is empty.
    pub(super) plane: Vec<Option<PlanePsf<'a>>>,
}

/// The PSF of a plane.
pub(super) struct PlanePsf<'a> {
    center: (usize, usize),
    /// Largest absolute value beside the main lobe.
    pub sidelobe: f64,
    /// The main lobe; its angles count in pixels of side 1.
    pub beam: Option<Beam>,
    pub response: Response,
    /// Through all pairs of scales, if there was room to keep them.
    kept: Option<Pairs<'a>>,
}

/// Planes are kept convolved with the scales as long as all of them take no more than this; the others are convolved again in
/// every cycle that needs them.
const KEPT_BYTES: usize = 96 << 20;

impl<'a> Psfs<'a> {
    /// Prepares the PSFs of `dirty`, whose planes are `n_terms` Taylor terms or channels (1), for components of these radii, pixels.
    pub fn new(dirty: &'a Dirty, n_terms: usize, radii: &[f64], small_scale_bias: f64, choice: Choice) -> Psfs<'a> {
        let shape = dirty.psf[0].dim();
        let set = ScaleSet::new(radii, small_scale_bias, shape);
        let mut psfs = Psfs { psf: &dirty.psf, set, choice, n_terms, plane: Vec::new() };
        let n_groups = dirty.image.len() / n_terms;
        let pairs = if psfs.set.all_points() { 0 } else { psfs.set.len() * (psfs.set.len() + 1) / 2 };
        let bytes = (2 * n_terms - 1) * pairs * shape.0 * shape.1 * size_of::<f32>();
        let n_kept = KEPT_BYTES.checked_div(bytes).unwrap_or(n_groups);
        psfs.plane = (0..n_groups).into_par_iter().map(|group| psfs.prepare(group, group < n_kept)).collect();
        psfs
    }

    /// Number of groups of terms: channels, or one.
    pub fn n_groups(&self) -> usize {
        self.plane.len()
    }

    fn of_group(&self, group: usize) -> &'a [Array2<f32>] {
        if self.n_terms == 1 { &self.psf[group..group + 1] } else { &self.psf[..2 * self.n_terms - 1] }
    }

    fn prepare(&self, group: usize, keep: bool) -> Option<PlanePsf<'a>> {
        let psf = self.of_group(group);
        let center = peak_of_psf(psf[0].view())?;
        let beam = fit_beam(psf[0].view(), 1.0).ok();
        let pairs = Pairs::new(psf, center, &self.set);
        let response = pairs.response(self.set.len(), self.choice);
        Some(PlanePsf { center, sidelobe: max_sidelobe(psf[0].view(), center, beam), beam, response, kept: keep.then_some(pairs) })
    }

    /// Calls `f` with the PSFs of a plane through all pairs of scales.
    pub(super) fn with_pairs<R>(&self, group: usize, plane: &PlanePsf<'a>, f: impl FnOnce(&Pairs<'a>) -> R) -> R {
        match &plane.kept {
            Some(pairs) => f(pairs),
            None => f(&Pairs::new(self.of_group(group), plane.center, &self.set)),
        }
    }

    /// The PSF of a plane with the pixel of its peak.
    pub(super) fn of_points(&self, group: usize, plane: &PlanePsf) -> (ArrayView2<'a, f32>, (usize, usize)) {
        (self.of_group(group)[0].view(), plane.center)
    }
}

/// The pixel of value 1; `None` for an empty plane.
fn peak_of_psf(psf: ArrayView2<f32>) -> Option<(usize, usize)> {
    let best = psf.indexed_iter().max_by(|a, b| a.1.total_cmp(b.1))?;
    (*best.1 > 0.0).then_some(best.0)
}

/// The largest absolute value of a PSF beside its main lobe: what is left when the fitted beam is taken out, or its deepest hole.
fn max_sidelobe(psf: ArrayView2<f32>, center: (usize, usize), beam: Option<Beam>) -> f64 {
    let Some(beam) = beam else { return 1.0 };
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
