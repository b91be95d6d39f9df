//! Mosaics: pointings imaged each about its own center on the pixels of one image, and joined under their primary beams.
//!
//! With R_p the sum over the visibilities of pointing p, B_p its beam on the image and W = Σ_p (Σ w) B_p²: the flat-noise
//! image is Σ_p B_p R_p / √(W W_max), the response to the true sky times √(W/W_max); its noise is the same everywhere
//! with natural weights. A model of the true sky is seen by pointing p as B_p times the model. Taylor terms share the W and
//! the B_p of the first: spectra of the sky are as seen through the beam of the reference frequency.

use std::ops::Range;
use std::sync::Arc;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, CowArray, Ix2, Zip, s};
use rayon::prelude::*;

use super::imager::{Core, check, check_tally};
use super::pass::{Planes, Tally};
use super::primary_beam::{BandTable, PrimaryBeam};
use super::stream::{Met, Phases, nearest_pixel};
use super::weighting::Weights;
use super::{Dirty, ImageSpec, Input, MajorCycle, PlaneSummary};
use crate::error::Result;
use crate::gridding::Geometry;
use crate::notice::Reporter;
use crate::sky::{Celestial, Direction, Projection};

/// Beams are followed out to where they stay below this power: the first sidelobe of a dish counts (cut at the first null, a mosaic
/// of ALMA's two arrays was wrong by up to 1.3 % of the peak where its sensitivity is above a fifth).
const BEAM_EDGE: f64 = 0.005;

/// Inputs that share direction and beam, and the pixels they see.
#[derive(Debug)]
struct Facet<'a> {
    inputs: &'a [Input<'a>],
    /// The request for the pixels of the facet.
    spec: ImageSpec,
    /// Kept with its weights where there is room, or else made for each pass.
    core: Option<Core<'a>>,
    /// First pixel of the facet in the mosaic.
    x0: usize,
    y0: usize,
    beams: Beams,
    /// The axis of the beam, pixels of the facet; phases refer to the pixel next to it.
    axis: Geometry,
}

/// The beams of a facet's planes.
#[derive(Debug)]
struct Beams {
    table: BandTable,
    /// Frequency of each plane, or one for all, Hz.
    freq_hz: Vec<f64>,
    /// Kept where there is room; empty otherwise.
    kept: Vec<Array2<f32>>,
}

/// Beams of all facets are kept if they take no more than this together, bytes; otherwise they are computed when they are needed.
const KEPT_BYTES: usize = 64 << 20;

impl<'a> Facet<'a> {
    fn beam(&self, plane: usize) -> CowArray<'_, f32, Ix2> {
        let plane = plane.min(self.beams.freq_hz.len() - 1);
        match self.beams.kept.get(plane) {
            Some(kept) => kept.into(),
            None => self.beams.table.image(&self.axis, self.beams.freq_hz[plane]).into(),
        }
    }

    fn keep_beams(&mut self) {
        self.beams.kept = self.beams.freq_hz.par_iter().map(|f| self.beams.table.image(&self.axis, *f)).collect();
    }

    fn beam_bytes(&self) -> usize {
        let (ny, nx) = self.size();
        4 * nx * ny * self.beams.freq_hz.len()
    }

    /// The pixels of an image of the mosaic that the facet covers.
    fn part<'b, A>(&self, image: ArrayView2<'b, A>) -> ArrayView2<'b, A> {
        let (ny, nx) = self.size();
        image.slice_move(s![self.y0..self.y0 + ny, self.x0..self.x0 + nx])
    }

    fn part_mut<'b, A>(&self, image: &'b mut Array2<A>) -> ArrayViewMut2<'b, A> {
        let (ny, nx) = self.size();
        image.slice_mut(s![self.y0..self.y0 + ny, self.x0..self.x0 + nx])
    }

    fn size(&self) -> (usize, usize) {
        (self.spec.geometry.ny, self.spec.geometry.nx)
    }

    /// Calls `f` with the operator of the facet; `whole` is the request for the mosaic.
    fn with_core<R>(&self, whole: &ImageSpec, notice: &dyn Reporter, f: impl FnOnce(&Core) -> Result<R>) -> Result<R> {
        match &self.core {
            Some(core) => f(core),
            None => f(&self.make_core(whole, None, notice)?),
        }
    }

    /// The operator, with these weights or those of the facet's own visibilities.
    fn make_core(&self, whole: &ImageSpec, weights: Option<Arc<Weights>>, notice: &dyn Reporter) -> Result<Core<'a>> {
        let sky = pixels_of(whole)?;
        let phases = Phases::Pixels(&sky);
        let weights = match weights {
            Some(weights) => weights,
            // The cells of the density are those of the whole image, not of the part that the pointing sees.
            None => Core::new(self.inputs, whole.clone(), phases, None, notice)?.weights(),
        };
        Core::new(self.inputs, self.spec.clone(), phases, Some(weights), notice)
    }
}

/// A group of inputs of one pointing and one kind of antenna.
#[derive(Debug)]
pub struct Pointing<'a> {
    /// Its inputs.
    pub inputs: Vec<Input<'a>>,
    /// Its primary beam.
    pub beam: PrimaryBeam,
}

/// Directions within this are one pointing: far below any beam.
const SAME_POINTING_RAD: f64 = 5e-11;

/// Groups inputs by direction and dish; `dish_m` replaces the diameters of the sets.
pub fn pointings<'a>(inputs: &[Input<'a>], dish_m: Option<f64>, notice: &dyn Reporter) -> Result<Vec<Pointing<'a>>> {
    let mut out: Vec<(Direction, f64, Pointing<'a>)> = Vec::new();
    for input in inputs {
        let (center, dish) = (input.center(), dish_m.unwrap_or_else(|| input.array.typical_dish_m()));
        let here = |d: &Direction| center.in_frame(d.frame).is_some_and(|c| c.separation_rad(*d) < SAME_POINTING_RAD);
        let same = |d: &Direction, m: f64| here(d) && (m - dish).abs() < 0.5;
        match out.iter_mut().find(|(d, m, _)| same(d, *m)) {
            Some((_, _, pointing)) => pointing.inputs.push(*input),
            None => {
                let beam = PrimaryBeam::of_telescope(&input.array.telescope, dish, notice)?;
                out.push((center, dish, Pointing { inputs: vec![*input], beam }));
            }
        }
    }
    Ok(out.into_iter().map(|(_, _, pointing)| pointing).collect())
}

/// True if two pointings see the sky through noticeably different beams: another dish, or a fiftieth of the beam away.
pub(super) fn is_elsewhere(a: &Pointing, b: &Pointing) -> bool {
    let (input, other) = (&a.inputs[0], &b.inputs[0]);
    let reach = 0.02 * a.beam.radius(0.5, input.array.middle_hz());
    let direction = input.center().in_frame(other.center().frame);
    a.beam != b.beam || direction.is_none_or(|d| d.separation_rad(other.center()) > reach)
}

/// True if an image of these pointings needs to be a joint mosaic.
pub(super) fn is_mosaic(points: &[Pointing]) -> bool {
    points.iter().any(|p| is_elsewhere(p, &points[0]))
}

/// The pixels that each pointing sees of an image; pointings that see none are left out.
pub(super) fn facets_of(points: &[Pointing], spec: &ImageSpec) -> Result<Vec<(usize, Geometry)>> {
    let sky = pixels_of(spec)?;
    let facet = |(i, p): (usize, &Pointing)| Some((i, facet_geometry(spec, &sky, p)?.0));
    Ok(points.iter().enumerate().filter_map(facet).collect())
}

fn pixels_of(spec: &ImageSpec) -> Result<Celestial> {
    let orthographic = Projection::Sin { xi: 0.0, eta: 0.0 };
    Ok(Celestial::simple(orthographic, spec.center, spec.geometry.cell_rad, spec.geometry.center)?)
}

/// Makes joint images of many pointings.
#[derive(Debug)]
pub struct MosaicImager<'a> {
    spec: ImageSpec,
    facets: Vec<Facet<'a>>,
    /// √(W/W_max) of each plane, or one for all Taylor terms; once known.
    pb: Vec<Array2<f32>>,
    /// W_max of each.
    top: Vec<f64>,
}

impl<'a> MosaicImager<'a> {
    /// Checks the request and measures the densities that the weights need, over all pointings together or for each alone.
    ///
    /// `all` are the inputs of all pointings.
    pub fn new(all: &'a [Input<'a>], pointings: &'a [Pointing<'a>], spec: ImageSpec, notice: &dyn Reporter) -> Result<MosaicImager<'a>> {
        check(all, &spec)?;
        let sky = pixels_of(&spec)?;
        let measured = || Core::new(all, spec.clone(), Phases::Pixels(&sky), None, notice).map(|core| core.weights());
        let together = (!spec.weights_by_pointing).then(measured).transpose()?;
        // Otherwise the densities of each pointing are measured again in every pass.
        let keep = together.is_some() || pointings.len() * spec.density_bytes() <= spec.cache_bytes;
        let share = spec.cache_bytes / pointings.len().max(1);
        let mut facets = Vec::new();
        for pointing in pointings {
            let Some((geometry, x0, y0, axis)) = facet_geometry(&spec, &sky, pointing) else { continue };
            let freq_hz = plane_frequencies(&spec, pointing);
            let table = BandTable::of_image(pointing.beam, &axis, freq_hz.iter().copied().fold(0.0, f64::max));
            let beams = Beams { table, freq_hz, kept: Vec::new() };
            let facet_spec = ImageSpec { geometry, cache_bytes: share, ..spec.clone() };
            let mut facet = Facet { inputs: &pointing.inputs, spec: facet_spec, core: None, x0, y0, beams, axis };
            if keep {
                facet.core = Some(facet.make_core(&spec, together.clone(), notice)?);
            }
            facets.push(facet);
        }
        if facets.is_empty() {
            let distance = |p: &Pointing| Some(p.inputs.first()?.center().in_frame(spec.center.frame)?.separation_rad(spec.center));
            let separation_rad = pointings.iter().filter_map(distance).fold(std::f64::consts::PI, f64::min);
            return Err(super::ImagingError::OutsideBeam { center: spec.center.to_string(), separation_rad }.into());
        }
        if facets.iter().map(Facet::beam_bytes).sum::<usize>() <= KEPT_BYTES {
            facets.iter_mut().for_each(Facet::keep_beams);
        }
        Ok(MosaicImager { spec, facets, pb: Vec::new(), top: Vec::new() })
    }

    /// The request.
    pub fn spec(&self) -> &ImageSpec {
        &self.spec
    }

    /// Flat-noise dirty image and the PSF where the mosaic is about most sensitive. Pointings are imaged one after the other: beside
    /// the mosaic only one of them is in memory.
    pub fn dirty(&mut self, notice: &dyn Reporter) -> Result<Dirty> {
        let (n, n_psfs) = (self.spec.planes.n_images(), self.spec.planes.n_psfs());
        let n_weights = if matches!(self.spec.planes, Planes::Taylor { .. }) { 1 } else { n };
        let empty = || Array2::<f32>::zeros((self.spec.geometry.ny, self.spec.geometry.nx));
        let new = |n: usize| -> Vec<Array2<f32>> { (0..n).map(|_| empty()).collect() };
        let (mut image, mut psf, mut weight) = (new(n), new(n_psfs), new(n_weights));
        let mut tally = vec![Tally::default(); n_psfs];
        let mut met = Met::default();
        let at = self.most_sensitive(notice)?;
        for facet in &self.facets {
            let raw = facet.with_core(&self.spec, notice, |core| core.dirty(notice))?;
            met = met.with(raw.met);
            tally.iter_mut().zip(&raw.tally).for_each(|(all, one)| all.add(one));
            weight.par_iter_mut().enumerate().for_each(|(i, weight)| facet.add_weight(i, raw.tally[i].sum_weight, weight));
            image.par_iter_mut().zip(&raw.image).enumerate().for_each(|(i, (sum, raw))| facet.add_seen(i, raw.as_ref(), sum));
            psf.par_iter_mut().zip(&raw.psf).enumerate().for_each(|(i, (sum, raw))| self.add_psf(facet, i, at, raw, sum));
        }
        check_tally(&self.spec, &tally, &met, notice)?;
        self.top = weight.iter().map(|w| w.iter().copied().fold(0.0, f32::max).into()).collect();
        self.pb = weight.into_par_iter().map(relative).collect();
        image.par_iter_mut().enumerate().for_each(|(i, sum)| self.flatten(i, sum));
        psf.par_iter_mut().enumerate().for_each(|(i, sum)| self.flatten_psf(i, at, sum));
        let planes = tally[..n].iter().map(PlaneSummary::of).collect();
        Ok(Dirty { image: image.into_iter().map(Array2::into_shared).collect(), psf, planes, dropped: met.dropped, band_hz: met.band_hz })
    }

    /// √(W/W_max) of each plane: what the flat-noise image is to be divided by.
    pub fn primary_beam(&self) -> &[Array2<f32>] {
        &self.pb
    }

    /// W = Σ_p (Σ w) B_p² of each plane.
    pub fn weight(&self) -> Vec<Array2<f32>> {
        self.pb.iter().zip(&self.top).map(|(pb, top)| pb.mapv(|b| (top * f64::from(b) * f64::from(b)) as f32)).collect()
    }

    /// Place of a plane among the weights.
    fn of_plane(&self, plane: usize) -> usize {
        plane.min(self.pb.len() - 1)
    }

    /// The pixel (y, x) where W of the middle plane is largest, as a few blocks of each pointing tell: the PSF there can then be summed up
    /// pointing by pointing.
    fn most_sensitive(&self, notice: &dyn Reporter) -> Result<(usize, usize)> {
        let mut sum = Array2::<f32>::zeros((self.spec.geometry.ny, self.spec.geometry.nx));
        for facet in &self.facets {
            let weight = facet.with_core(&self.spec, notice, |core| core.expected_weight())?;
            facet.add_weight(facet.beams.freq_hz.len() / 2, weight, &mut sum);
        }
        Ok(sum.indexed_iter().fold(((0, 0), 0.0), |best, (i, w)| if *w > best.1 { (i, *w) } else { best }).0)
    }

    /// Divides Σ_p B_p R_p by √(W W_max).
    fn flatten(&self, plane: usize, sum: &mut Array2<f32>) {
        let top = self.top[self.of_plane(plane)];
        Zip::from(sum)
            .and(&self.pb[self.of_plane(plane)])
            .for_each(|s, b| *s = if *b > 0.0 { (f64::from(*s) / (top * f64::from(*b))) as f32 } else { 0.0 });
    }

    /// The pixel of the image that the PSF peaks on, (y, x).
    fn middle(&self) -> (usize, usize) {
        let (x, y) = self.spec.geometry.center;
        (y.round() as usize, x.round() as usize)
    }

    /// Adds a facet's part B_p(x0) B_p(x) P_p(x - x0) of the image of a point at `at`, moved to the middle; P_p are the sums of the
    /// weights of pointing p.
    fn add_psf(&self, facet: &Facet, plane: usize, at: (usize, usize), raw: &Array2<f32>, sum: &mut Array2<f32>) {
        let beam = facet.beam(plane);
        let (y, x) = (at.0 as i64 - facet.y0 as i64, at.1 as i64 - facet.x0 as i64);
        let Some(seen) = usize::try_from(y).ok().zip(usize::try_from(x).ok()).and_then(|i| beam.get(i)).copied() else { return };
        let center = facet.spec.geometry.center;
        let middle = self.middle();
        let rows = Overlap::new(beam.nrows(), y, raw.nrows(), center.1 as i64, sum.nrows(), middle.0 as i64);
        let columns = Overlap::new(beam.ncols(), x, raw.ncols(), center.0 as i64, sum.ncols(), middle.1 as i64);
        let beam = beam.slice(s![rows.of_beam(), columns.of_beam()]);
        let raw = raw.slice(s![rows.of_psf(), columns.of_psf()]);
        Zip::from(sum.slice_mut(s![rows.of_sum(), columns.of_sum()])).and(beam).and(raw).for_each(|s, b, p| *s += seen * b * p);
    }

    /// Divides by √(W(x) W(x0)).
    fn flatten_psf(&self, plane: usize, at: (usize, usize), sum: &mut Array2<f32>) {
        let (pb, top) = (&self.pb[self.of_plane(plane)], self.top[self.of_plane(plane)]);
        let middle = self.middle();
        let scale = top * f64::from(pb[at]);
        for ((y, x), v) in sum.indexed_iter_mut().filter(|(_, v)| **v != 0.0) {
            let b = at_pixel(pb, (y + at.0) as i64 - middle.0 as i64, (x + at.1) as i64 - middle.1 as i64).copied().unwrap_or(0.0);
            *v = if b > 0.0 && scale > 0.0 { (f64::from(*v) / (scale * f64::from(b))) as f32 } else { 0.0 };
        }
    }
}

impl Facet<'_> {
    /// Adds (Σ w) B².
    fn add_weight(&self, plane: usize, sum_weight: f64, weight: &mut Array2<f32>) {
        Zip::from(self.part_mut(weight)).and(&self.beam(plane)).for_each(|w, b| *w += (sum_weight * f64::from(*b) * f64::from(*b)) as f32);
    }

    /// Adds B R.
    fn add_seen(&self, plane: usize, raw: Option<&Array2<f32>>, sum: &mut Array2<f32>) {
        if let Some(raw) = raw {
            Zip::from(self.part_mut(sum)).and(&self.beam(plane)).and(raw).for_each(|s, b, r| *s += b * r);
        }
    }
}

/// Pixels of one axis that a beam, a PSF about a point of it, and an image about its middle have in common.
struct Overlap {
    beam: i64,
    psf: i64,
    sum: i64,
    n: i64,
}

impl Overlap {
    /// Each with its length and the pixel that the point lies on.
    fn new(n_beam: usize, beam: i64, n_psf: usize, psf: i64, n_sum: usize, sum: i64) -> Overlap {
        let before = beam.min(psf).min(sum);
        let after = (n_beam as i64 - beam).min(n_psf as i64 - psf).min(n_sum as i64 - sum);
        Overlap { beam: beam - before, psf: psf - before, sum: sum - before, n: (before + after).max(0) }
    }
    fn of_beam(&self) -> Range<usize> {
        self.beam as usize..(self.beam + self.n) as usize
    }
    fn of_psf(&self) -> Range<usize> {
        self.psf as usize..(self.psf + self.n) as usize
    }
    fn of_sum(&self) -> Range<usize> {
        self.sum as usize..(self.sum + self.n) as usize
    }
}

impl MajorCycle for MosaicImager<'_> {
    /// The model is that of the flat-noise image; the true sky is it divided by [`primary_beam`](MosaicImager::primary_beam).
    fn residual(&self, model: &[Option<ArrayView2<f32>>], notice: &dyn Reporter) -> Result<Vec<Option<Array2<f32>>>> {
        let sky = |(i, model): (usize, &Option<ArrayView2<f32>>)| model.map(|m| divided(m, &self.pb[self.of_plane(i)]));
        let sky: Vec<Option<Array2<f32>>> = model.par_iter().enumerate().map(sky).collect();
        let mut sum: Vec<Option<Array2<f32>>> = model.iter().map(|m| m.map(|m| Array2::zeros(m.dim()))).collect();
        for facet in &self.facets {
            let seen = |(i, sky): (usize, &Option<Array2<f32>>)| Some(&facet.part(sky.as_ref()?.view()) * &facet.beam(i));
            let seen: Vec<Option<Array2<f32>>> = sky.par_iter().enumerate().map(seen).collect();
            let seen: Vec<Option<ArrayView2<f32>>> = seen.iter().map(|s| s.as_ref().map(|s| s.view())).collect();
            let raw = facet.with_core(&self.spec, notice, |core| core.residual(&seen, notice))?.image;
            sum.par_iter_mut().zip(&raw).enumerate().for_each(|(i, (sum, raw))| {
                if let Some(sum) = sum {
                    facet.add_seen(i, raw.as_ref(), sum);
                }
            });
        }
        sum.par_iter_mut().enumerate().filter_map(|(i, sum)| Some((i, sum.as_mut()?))).for_each(|(i, sum)| self.flatten(i, sum));
        Ok(sum)
    }
}

/// A pixel, if there is one.
fn at_pixel<T>(image: &Array2<T>, y: i64, x: i64) -> Option<&T> {
    image.get((usize::try_from(y).ok()?, usize::try_from(x).ok()?))
}

/// √(W/W_max)
fn relative(mut weight: Array2<f32>) -> Array2<f32> {
    let top = weight.iter().copied().fold(0.0, f32::max);
    weight.mapv_inplace(|w| if top > 0.0 { (w / top).sqrt() } else { 0.0 });
    weight
}

fn divided(model: ArrayView2<f32>, pb: &Array2<f32>) -> Array2<f32> {
    Zip::from(model).and(pb).map_collect(|m, b| if *b > 0.0 && *m != 0.0 { m / b } else { 0.0 })
}

/// The pixels that a pointing sees, about the pixel next to it; the first of them in the mosaic; and the same pixels about the axis of
/// its beam. `None` if it sees nothing of the image.
fn facet_geometry(spec: &ImageSpec, sky: &Celestial, pointing: &Pointing) -> Option<(Geometry, usize, usize, Geometry)> {
    let g = &spec.geometry;
    let direction = pointing.inputs.first()?.center().in_frame(spec.center.frame)?;
    let (x, y) = sky.pixel_from_sky(direction)?;
    let lowest = plane_frequencies(spec, pointing).into_iter().fold(f64::INFINITY, f64::min);
    let reach = pointing.beam.reach(BEAM_EDGE, lowest) / g.cell_rad;
    let range = |c: f64, n: usize| {
        let (low, high) = ((c - reach).floor().max(0.0), (c + reach).ceil().min(n as f64 - 1.0));
        (high >= low).then_some((low as usize, high as usize + 1))
    };
    let ((x0, x1), (y0, y1)) = (range(x, g.nx)?, range(y, g.ny)?);
    let about = |x: f64, y: f64| Geometry { nx: x1 - x0, ny: y1 - y0, cell_rad: g.cell_rad, center: (x - x0 as f64, y - y0 as f64) };
    let (pixel_x, pixel_y) = nearest_pixel(sky, direction)?;
    Some((about(pixel_x, pixel_y), x0, y0, about(x, y)))
}

/// Frequencies at which the beam of each plane is evaluated, Hz.
fn plane_frequencies(spec: &ImageSpec, pointing: &Pointing) -> Vec<f64> {
    match &spec.planes {
        Planes::Channels(grid) => (0..grid.n_chan).map(|c| grid.freq_hz(c)).collect(),
        Planes::Taylor { reference_hz, .. } => vec![*reference_hz],
        Planes::Continuum => vec![pointing.inputs.first().map_or(1e9, |i| i.array.middle_hz())],
    }
}
