//! Mosaics: pointings imaged each about its own center on the pixels of one image, and joined under their primary beams.
//!
//! With R_p the sum over the visibilities of pointing p, B_p its beam on the image and W = Σ_p (Σ w) B_p²: the flat-noise
//! image is Σ_p B_p R_p / √(W W_max), the response to the true sky times √(W/W_max); its noise is the same everywhere
//! with natural weights. A model of the true sky is seen by pointing p as B_p times the model. Taylor terms share the W and
//! the B_p of the first: spectra of the sky are as seen through the beam of the reference frequency.

use std::sync::Arc;

use ndarray::{Array2, s};

use super::imager::{Core, RawImages, check, check_tally};
use super::pass::{Planes, Tally};
use super::primary_beam::PrimaryBeam;
use super::stream::{Met, Phases};
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
    core: Core<'a>,
    /// First pixel of the facet in the mosaic.
    x0: usize,
    y0: usize,
    /// Beam of each plane, or one for all.
    beam: Vec<Array2<f32>>,
}

impl Facet<'_> {
    fn beam(&self, plane: usize) -> &Array2<f32> {
        &self.beam[plane.min(self.beam.len() - 1)]
    }
    /// The beam at a pixel of the mosaic; `None` outside the facet.
    fn at(&self, plane: usize, y: i64, x: i64) -> Option<f64> {
        at(self.beam(plane), y - self.y0 as i64, x - self.x0 as i64).map(|b| f64::from(*b))
    }
    fn size(&self) -> (usize, usize) {
        let g = &self.core.spec.geometry;
        (g.ny, g.nx)
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

/// Makes joint images of many pointings.
#[derive(Debug)]
pub struct MosaicImager<'a> {
    spec: ImageSpec,
    facets: Vec<Facet<'a>>,
    /// W of each plane, or one for all Taylor terms; once known.
    weight: Vec<Array2<f64>>,
}

impl<'a> MosaicImager<'a> {
    /// Checks the request and measures the densities that the weights need, over all pointings together or for each alone.
    ///
    /// `all` are the inputs of all pointings.
    pub fn new(all: &'a [Input<'a>], pointings: &'a [Pointing<'a>], spec: ImageSpec, notice: &dyn Reporter) -> Result<MosaicImager<'a>> {
        check(all, &spec)?;
        let together =
            if spec.weights_by_pointing { None } else { Some(Core::new(all, spec.clone(), Phases::Pointing, None, notice)?.weights()) };
        let sky = Celestial::simple(Projection::Sin { xi: 0.0, eta: 0.0 }, spec.center, spec.geometry.cell_rad, spec.geometry.center)?;
        let share = spec.cache_bytes / pointings.len().max(1);
        let mut facets = Vec::new();
        for pointing in pointings {
            let Some((geometry, x0, y0)) = facet_geometry(&spec, &sky, pointing) else { continue };
            let beam = plane_frequencies(&spec, pointing).into_iter().map(|f| beam_image(&geometry, pointing.beam, f)).collect();
            let weights = match &together {
                Some(weights) => Arc::clone(weights),
                // The cells of the density are those of the whole image, not of the part that the pointing sees.
                None => Core::new(&pointing.inputs, spec.clone(), Phases::Pointing, None, notice)?.weights(),
            };
            let facet = ImageSpec { geometry, cache_bytes: share, ..spec.clone() };
            let core = Core::new(&pointing.inputs, facet, Phases::Pointing, Some(weights), notice)?;
            facets.push(Facet { core, x0, y0, beam });
        }
        if facets.is_empty() {
            let distance = |p: &Pointing| Some(p.inputs.first()?.center().in_frame(spec.center.frame)?.separation_rad(spec.center));
            let separation_rad = pointings.iter().filter_map(distance).fold(std::f64::consts::PI, f64::min);
            return Err(super::ImagingError::OutsideBeam { center: spec.center.to_string(), separation_rad }.into());
        }
        Ok(MosaicImager { spec, facets, weight: Vec::new() })
    }

    /// The request.
    pub fn spec(&self) -> &ImageSpec {
        &self.spec
    }

    /// Flat-noise dirty image and the PSF where the mosaic is most sensitive.
    pub fn dirty(&mut self, notice: &dyn Reporter) -> Result<Dirty> {
        let n = self.spec.planes.n_images();
        let (ny, nx) = (self.spec.geometry.ny, self.spec.geometry.nx);
        let mut raw = Vec::new();
        for facet in &self.facets {
            raw.push(facet.core.dirty(notice)?);
        }
        let met = raw.iter().fold(Met::default(), |m, r| m.with(r.met));
        let all: Vec<Tally> = raw.iter().flat_map(|r| r.tally.iter().copied()).collect();
        check_tally(&self.spec, &all, &met, notice)?;
        let n_weights = if matches!(self.spec.planes, Planes::Taylor { .. }) { 1 } else { n };
        self.weight = (0..n_weights).map(|plane| self.sum_of_beams(&raw, plane, (ny, nx))).collect();
        let image = (0..n).map(|plane| self.flat_noise(raw.iter().map(|r| &r.image[plane]), plane)).collect();
        let psf = (0..self.spec.planes.n_psfs()).map(|plane| self.psf(&raw, plane)).collect();
        let planes = (0..n).map(|plane| self.summary(&raw, plane)).collect();
        Ok(Dirty { image, psf, planes, dropped: met.dropped, band_hz: met.band_hz })
    }

    /// √(W/W_max) of each plane: what the flat-noise image is to be divided by.
    pub fn primary_beam(&self) -> Vec<Array2<f32>> {
        self.weight.iter().map(|w| relative(w).mapv(|v| v as f32)).collect()
    }

    /// W = Σ_p (Σ w) B_p² of each plane.
    pub fn weight(&self) -> &[Array2<f64>] {
        &self.weight
    }

    fn sum_of_beams(&self, raw: &[RawImages], plane: usize, shape: (usize, usize)) -> Array2<f64> {
        let mut weight = Array2::zeros(shape);
        for (facet, raw) in self.facets.iter().zip(raw) {
            let sum = raw.tally[plane].sum_weight;
            let (ny, nx) = facet.size();
            let mut part = weight.slice_mut(s![facet.y0..facet.y0 + ny, facet.x0..facet.x0 + nx]);
            ndarray::Zip::from(&mut part).and(facet.beam(plane)).for_each(|w, b| *w += sum * f64::from(*b) * f64::from(*b));
        }
        weight
    }

    fn weight_of(&self, plane: usize) -> &Array2<f64> {
        &self.weight[plane.min(self.weight.len() - 1)]
    }

    fn flat_noise<'b>(&self, raw: impl Iterator<Item = &'b Array2<f32>>, plane: usize) -> Array2<f32> {
        let weight = self.weight_of(plane);
        let mut sum: Array2<f64> = Array2::zeros(weight.dim());
        for (facet, raw) in self.facets.iter().zip(raw) {
            let (ny, nx) = facet.size();
            let mut part = sum.slice_mut(s![facet.y0..facet.y0 + ny, facet.x0..facet.x0 + nx]);
            ndarray::Zip::from(&mut part).and(facet.beam(plane)).and(raw).for_each(|s, b, r| *s += f64::from(*b) * f64::from(*r));
        }
        let top = weight.iter().copied().fold(0.0, f64::max);
        ndarray::Zip::from(&sum).and(weight).map_collect(|s, w| if *w > 0.0 { (s / (w * top).sqrt()) as f32 } else { 0.0 })
    }

    /// The flat-noise image of a point where the mosaic is most sensitive (x0), moved to the middle:
    /// Σ_p B_p(x0) B_p(x) P_p(x - x0) / √(W(x) W(x0)), with P_p the sums of the weights of pointing p.
    fn psf(&self, raw: &[RawImages], plane: usize) -> Array2<f32> {
        let weight = self.weight_of(plane);
        let (ny, nx) = weight.dim();
        let ((y0, x0), top) = weight.indexed_iter().fold(((0, 0), 0.0), |best, (i, w)| if *w > best.1 { (i, *w) } else { best });
        let middle = [self.spec.geometry.center.1.round() as i64, self.spec.geometry.center.0.round() as i64];
        let mut sum: Array2<f64> = Array2::zeros((ny, nx));
        if top == 0.0 {
            return Array2::zeros((ny, nx));
        }
        for (facet, raw) in self.facets.iter().zip(raw) {
            let beam_at = |y: i64, x: i64| facet.at(plane, y, x);
            let Some(seen) = beam_at(y0 as i64, x0 as i64) else { continue };
            let center = facet.core.spec.geometry.center;
            let center = [center.1.round() as i64, center.0.round() as i64];
            for ((y, x), v) in raw.psf[plane].indexed_iter() {
                let (dy, dx) = (y as i64 - center[0], x as i64 - center[1]);
                let (Some(beam), Some(w)) = (beam_at(y0 as i64 + dy, x0 as i64 + dx), at(weight, y0 as i64 + dy, x0 as i64 + dx)) else {
                    continue;
                };
                let Some(out) = at_mut(&mut sum, middle[0] + dy, middle[1] + dx) else { continue };
                if *w > 0.0 {
                    *out += seen * beam * f64::from(*v) / (*w * top).sqrt();
                }
            }
        }
        sum.mapv(|v| v as f32)
    }

    fn summary(&self, raw: &[RawImages], plane: usize) -> PlaneSummary {
        // As if all pointings were one: the noise of the flat-noise image where beams do not overlap is larger.
        let mut tally = Tally::default();
        for raw in raw {
            let t = &raw.tally[plane];
            tally.sum_weight += t.sum_weight;
            tally.variance += t.variance;
            tally.inverse_variance += t.inverse_variance;
            tally.n_samples += t.n_samples;
        }
        PlaneSummary::of(&tally)
    }
}

impl MajorCycle for MosaicImager<'_> {
    /// The model is that of the flat-noise image; the true sky is it divided by [`primary_beam`](MosaicImager::primary_beam).
    fn residual(&self, model: &[Array2<f32>], notice: &dyn Reporter) -> Result<Vec<Array2<f32>>> {
        let sky: Vec<Array2<f32>> = model.iter().enumerate().map(|(i, m)| divided(m, self.weight_of(i))).collect();
        let mut raw = Vec::new();
        for facet in &self.facets {
            let (ny, nx) = facet.size();
            let seen =
                |(plane, sky): (usize, &Array2<f32>)| &sky.slice(s![facet.y0..facet.y0 + ny, facet.x0..facet.x0 + nx]) * facet.beam(plane);
            let seen: Vec<Array2<f32>> = sky.iter().enumerate().map(seen).collect();
            raw.push(facet.core.residual(&seen, notice)?.image);
        }
        Ok((0..model.len()).map(|plane| self.flat_noise(raw.iter().map(|r| &r[plane]), plane)).collect())
    }
}

/// A pixel, if there is one.
fn at<T>(image: &Array2<T>, y: i64, x: i64) -> Option<&T> {
    image.get((usize::try_from(y).ok()?, usize::try_from(x).ok()?))
}

fn at_mut<T>(image: &mut Array2<T>, y: i64, x: i64) -> Option<&mut T> {
    image.get_mut((usize::try_from(y).ok()?, usize::try_from(x).ok()?))
}

/// √(W/W_max)
fn relative(weight: &Array2<f64>) -> Array2<f64> {
    let top = weight.iter().copied().fold(0.0, f64::max);
    weight.mapv(|w| if top > 0.0 { (w / top).sqrt() } else { 0.0 })
}

fn divided(model: &Array2<f32>, weight: &Array2<f64>) -> Array2<f32> {
    let beam = relative(weight);
    ndarray::Zip::from(model).and(&beam).map_collect(|m, b| if *b > 0.0 && *m != 0.0 { (f64::from(*m) / b) as f32 } else { 0.0 })
}

/// The pixels that a pointing sees, and the first of them; `None` if it sees nothing of the image.
fn facet_geometry(spec: &ImageSpec, sky: &Celestial, pointing: &Pointing) -> Option<(Geometry, usize, usize)> {
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
    let geometry = Geometry { nx: x1 - x0, ny: y1 - y0, cell_rad: g.cell_rad, center: (x - x0 as f64, y - y0 as f64) };
    Some((geometry, x0, y0))
}

/// Frequencies at which the beam of each plane is evaluated, Hz.
fn plane_frequencies(spec: &ImageSpec, pointing: &Pointing) -> Vec<f64> {
    match &spec.planes {
        Planes::Channels(grid) => (0..grid.n_chan).map(|c| grid.freq_hz(c)).collect(),
        Planes::Taylor { reference_hz, .. } => vec![*reference_hz],
        Planes::Continuum => vec![pointing.inputs.first().map_or(1e9, |i| i.array.middle_hz())],
    }
}

/// The power of a beam about the phase center of an image.
pub fn beam_image(geometry: &Geometry, beam: PrimaryBeam, freq_hz: f64) -> Array2<f32> {
    let g = geometry;
    let far = |n: usize, c: f64| c.abs().max((n as f64 - c).abs()) * g.cell_rad;
    let table = beam.table(freq_hz, 1.01 * far(g.nx, g.center.0).hypot(far(g.ny, g.center.1)));
    Array2::from_shape_fn((g.ny, g.nx), |(y, x)| {
        let (dx, dy) = ((x as f64 - g.center.0) * g.cell_rad, (y as f64 - g.center.1) * g.cell_rad);
        table.at(dx * dx + dy * dy) as f32
    })
}
