//! Dirty images, PSFs and residuals: the operator between images and visibilities.

use std::sync::Arc;

use ndarray::{ArcArray2, Array2, ArrayView2};
use num_complex::Complex;

use super::input::{Dropped, Input};
use super::pass::{Pass, Planes, Sums, Tally};
use super::stream::{Cache, Met, Phases, Stream};
use super::weighting::{Weighting, Weights};
use super::{ImagingError, fit_beam};
use crate::data::Beam;
use crate::error::Result;
use crate::gridding::{Content, Float, Geometry, WideGridder};
use crate::notice::{Reporter, Warning};
use crate::sky::{Direction, SpectralFrame};

/// What image to make.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageSpec {
    /// Pixels.
    pub geometry: Geometry,
    /// Phase center: the direction of the pixel `geometry.center`.
    pub center: Direction,
    /// Planes.
    pub planes: Planes,
    /// Frame of the image's frequencies.
    pub frame: SpectralFrame,
    /// Weighting.
    pub weighting: Weighting,
    /// Error of gridding, relative to the image.
    pub accuracy: f64,
    /// Largest |w| of the visibilities, wavelengths, to count the w-term; `None` leaves it out, as CASA's standard gridder does.
    pub max_w_lambda: Option<f64>,
    /// Bytes of visibilities, and again of densities of a mosaic's pointings, that may be kept in memory between passes.
    pub cache_bytes: usize,
    /// Mosaics: densities of samples are measured for each pointing alone.
    pub weights_by_pointing: bool,
}

impl ImageSpec {
    /// A continuum image of natural weights, LSRK, gridded to 1e-5.
    pub fn continuum(geometry: Geometry, center: Direction) -> ImageSpec {
        ImageSpec {
            geometry,
            center,
            planes: Planes::Continuum,
            frame: SpectralFrame::Lsrk,
            weighting: Weighting::NATURAL,
            accuracy: 1e-5,
            max_w_lambda: None,
            cache_bytes: 96 << 20,
            weights_by_pointing: true,
        }
    }
}

impl ImageSpec {
    /// True if the accuracy can be had with single precision.
    pub fn is_single_precision(&self) -> bool {
        self.accuracy >= SINGLE_PRECISION
    }

    /// Bytes of the densities that the weights need.
    pub(super) fn density_bytes(&self) -> usize {
        let per_channel = self.weighting.per_channel_density && matches!(self.planes, Planes::Channels(_));
        let n = if per_channel { self.planes.n_images() } else { 1 };
        if self.weighting.scheme.needs_density() { n * (self.geometry.nx / 2 + 1) * self.geometry.ny * size_of::<f64>() } else { 0 }
    }
}

/// What is known of a plane of an image.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct PlaneSummary {
    /// Sum of imaging weights; 0 where the plane is empty.
    pub sum_weight: f64,
    /// Noise that the weights predict, Jy/beam.
    pub noise_jy: f64,
    /// That noise over the one of natural weights.
    pub noise_increase: f64,
    /// Samples used.
    pub n_samples: u64,
}

impl PlaneSummary {
    pub(super) fn of(tally: &Tally) -> PlaneSummary {
        if tally.sum_weight <= 0.0 {
            return PlaneSummary::default();
        }
        let noise_jy = tally.variance.sqrt() / tally.sum_weight;
        PlaneSummary {
            sum_weight: tally.sum_weight,
            noise_jy,
            noise_increase: noise_jy * tally.inverse_variance.sqrt(),
            n_samples: tally.n_samples,
        }
    }
}

/// A dirty image and its PSF.
#[derive(Debug, Clone)]
pub struct Dirty {
    /// Dirty image, Jy/beam, plane by plane [y, x]; 0 where a plane is empty.
    pub image: Vec<ArcArray2<f32>>,
    /// PSF with peak 1 (of the first plane for Taylor terms), plane by plane.
    pub psf: Vec<Array2<f32>>,
    /// What is known of each image plane.
    pub planes: Vec<PlaneSummary>,
    /// Samples left out.
    pub dropped: Dropped,
    /// Lowest and highest frequency of the data in the image's frame, channel edges included, Hz.
    pub band_hz: (f64, f64),
}

/// The operator between images and visibilities of one geometry, without division by weights.
#[derive(Debug)]
pub(super) struct Core<'a> {
    pub spec: ImageSpec,
    stream: Stream<'a>,
    weights: Arc<Weights>,
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    Single(Precision<f32>),
    Double(Precision<f64>),
}

#[derive(Debug)]
struct Precision<T: Float> {
    gridder: WideGridder<T>,
    cache: Cache<T>,
}

/// Below this single precision would add as much as the kernel.
const SINGLE_PRECISION: f64 = 3e-6;

/// Sums of a pass as images.
pub(super) struct RawImages {
    /// `None` where a plane was not asked for.
    pub image: Vec<Option<Array2<f32>>>,
    pub psf: Vec<Array2<f32>>,
    pub tally: Vec<Tally>,
    pub met: Met,
}

impl<'a> Core<'a> {
    pub fn new(
        inputs: &'a [Input<'a>],
        spec: ImageSpec,
        phases: Phases,
        weights: Option<Arc<Weights>>,
        notice: &dyn Reporter,
    ) -> Result<Core<'a>> {
        let stream = Stream::new(inputs, spec.center, spec.frame, phases)?;
        let engine = if spec.is_single_precision() {
            Engine::Single(Precision::new(&spec, &stream)?)
        } else {
            Engine::Double(Precision::new(&spec, &stream)?)
        };
        let weights = match (weights, &engine) {
            (Some(weights), _) => weights,
            (None, Engine::Single(p)) => Arc::new(measure(&stream, &p.cache, &spec, notice)?),
            (None, Engine::Double(p)) => Arc::new(measure(&stream, &p.cache, &spec, notice)?),
        };
        Ok(Core { spec, stream, weights, engine })
    }

    /// Weights alone, as they serve all facets of a mosaic.
    pub fn weights(&self) -> Arc<Weights> {
        self.weights.clone()
    }

    /// Sum of the imaging weights of the middle plane, about.
    pub fn expected_weight(&self) -> Result<f64> {
        match &self.engine {
            Engine::Single(p) => p.pass(self, Content::Psf, None, "").expected_weight(),
            Engine::Double(p) => p.pass(self, Content::Psf, None, "").expected_weight(),
        }
    }

    /// Sums of visibilities and weights.
    pub fn dirty(&self, notice: &dyn Reporter) -> Result<RawImages> {
        match &self.engine {
            Engine::Single(p) => p.run(self, Content::VisAndPsf, None, "dirty image", notice),
            Engine::Double(p) => p.run(self, Content::VisAndPsf, None, "dirty image", notice),
        }
    }

    /// Sums of visibilities minus those of a model, of the planes whose model is given.
    pub fn residual(&self, model: &[Option<ArrayView2<f32>>], notice: &dyn Reporter) -> Result<RawImages> {
        match &self.engine {
            Engine::Single(p) => p.run(self, Content::Vis, Some(model), "residual", notice),
            Engine::Double(p) => p.run(self, Content::Vis, Some(model), "residual", notice),
        }
    }
}

fn measure<T: Float>(stream: &Stream, cache: &Cache<T>, spec: &ImageSpec, notice: &dyn Reporter) -> Result<Weights> {
    Weights::measure(stream, cache, &spec.planes, &spec.geometry, &spec.weighting, notice)
}

impl<T: Float> Precision<T>
where
    Complex<T>: bytemuck::Pod,
{
    fn new(spec: &ImageSpec, stream: &Stream) -> Result<Precision<T>> {
        let cache = Cache::new(spec.cache_bytes);
        let n_samples = samples_of_plane(spec, stream, &cache)?;
        let oversampling = WideGridder::<T>::cheapest_oversampling(&spec.geometry, spec.accuracy, n_samples);
        let gridder = WideGridder::new(spec.geometry, spec.accuracy, oversampling, spec.max_w_lambda)?;
        Ok(Precision { gridder, cache })
    }

    fn pass<'p>(
        &'p self,
        core: &'p Core<'p>,
        content: Content,
        model: Option<&'p [Option<ArrayView2<'p, f32>>]>,
        stage: &'p str,
    ) -> Pass<'p, T> {
        let Core { stream, weights, spec, .. } = core;
        Pass { stream, cache: &self.cache, gridder: &self.gridder, planes: &spec.planes, weights, content, model, stage }
    }

    fn run(
        &self,
        core: &Core,
        content: Content,
        model: Option<&[Option<ArrayView2<f32>>]>,
        stage: &str,
        notice: &dyn Reporter,
    ) -> Result<RawImages> {
        let Sums { image, psf, tally, met } = self.pass(core, content, model, stage).run(notice)?;
        let array = |plane: Vec<T>| self.array(plane);
        Ok(RawImages { image: image.into_iter().map(|p| p.map(array)).collect(), psf: psf.into_iter().map(array).collect(), tally, met })
    }

    fn array(&self, plane: Vec<T>) -> Array2<f32> {
        let Geometry { nx, ny, .. } = *self.gridder.geometry();
        Array2::from_shape_fn((ny, nx), |(y, x)| plane[y * nx + x].f64() as f32)
    }
}

/// Beam and noise of an image, as far as weights tell.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Forecast {
    /// The beam; `None` where none can be fitted.
    pub beam: Option<Beam>,
    /// Noise, Jy/beam.
    pub noise_jy: f64,
    /// That noise over the one of natural weights.
    pub noise_increase: f64,
}

/// Pixels a side of the PSF that forecasts are made of, and of the plane that densities are measured on.
const FORECAST_PIXELS: usize = 256;
const FORECAST_DENSITY: usize = 4096;

/// Beam and noise of a continuum image; nothing where no visibility is left.
pub(super) fn forecast(inputs: &[Input], spec: &ImageSpec, notice: &dyn Reporter) -> Result<Option<Forecast>> {
    let of = |most: usize| {
        let g = &spec.geometry;
        ImageSpec { geometry: Geometry::centered(g.nx.min(most), g.ny.min(most), g.cell_rad), max_w_lambda: None, ..spec.clone() }
    };
    let weights = Core::new(inputs, of(FORECAST_DENSITY), Phases::Image, None, notice)?.weights();
    let small = of(FORECAST_PIXELS);
    let cell_rad = small.geometry.cell_rad;
    let raw = Core::new(inputs, small, Phases::Image, Some(weights), notice)?.dirty(notice)?;
    let (Some(tally), Some(psf)) = (raw.tally.first(), raw.psf.first()) else { return Ok(None) };
    let summary = PlaneSummary::of(tally);
    Ok((summary.sum_weight > 0.0).then(|| Forecast {
        beam: fit_beam(psf.view(), cell_rad).ok(),
        noise_jy: summary.noise_jy,
        noise_increase: summary.noise_increase,
    }))
}

/// Makes images of a set of visibilities; densities of weights are measured once, and blocks are kept as memory allows.
#[derive(Debug)]
pub struct Imager<'a> {
    core: Core<'a>,
    /// Sums of the weights of each image plane, once known.
    sum_weight: Vec<f64>,
}

impl<'a> Imager<'a> {
    /// Checks the request and measures the densities that the weights need.
    pub fn new(inputs: &'a [Input<'a>], spec: ImageSpec, notice: &dyn Reporter) -> Result<Imager<'a>> {
        check(inputs, &spec)?;
        Ok(Imager { core: Core::new(inputs, spec, Phases::Image, None, notice)?, sum_weight: Vec::new() })
    }

    /// The request.
    pub fn spec(&self) -> &ImageSpec {
        &self.core.spec
    }

    /// Dirty image and PSF in one pass.
    pub fn dirty(&mut self, notice: &dyn Reporter) -> Result<Dirty> {
        let RawImages { image, psf, tally, met } = self.core.dirty(notice)?;
        check_tally(&self.core.spec, &tally, &met, notice)?;
        self.sum_weight = tally.iter().map(|t| t.sum_weight).collect();
        let n = self.core.spec.planes.n_images();
        let planes = tally[..n].iter().map(PlaneSummary::of).collect();
        let image = image.into_iter().enumerate().filter_map(|(i, plane)| Some(self.normalized(i, plane?).into_shared())).collect();
        let psf = psf.into_iter().enumerate().map(|(i, plane)| self.normalized(i, plane)).collect();
        Ok(Dirty { image, psf, planes, dropped: met.dropped, band_hz: met.band_hz })
    }

    /// Residual images of a model, Jy/pixel, of the planes whose model is given; after [`dirty`](Self::dirty).
    pub fn residual(&self, model: &[Option<ArrayView2<f32>>], notice: &dyn Reporter) -> Result<Vec<Option<Array2<f32>>>> {
        let raw = self.core.residual(model, notice)?.image;
        Ok(raw.into_iter().enumerate().map(|(i, plane)| plane.map(|p| self.normalized(i, p))).collect())
    }

    /// Divides sums by the weights: those of the first plane for Taylor terms, of its own plane otherwise.
    fn normalized(&self, i: usize, mut plane: Array2<f32>) -> Array2<f32> {
        let taylor = matches!(self.core.spec.planes, Planes::Taylor { .. });
        let sum = self.sum_weight.get(if taylor { 0 } else { i }).copied().unwrap_or(0.0);
        let scale = if sum > 0.0 { 1.0 / sum } else { 0.0 };
        plane.mapv_inplace(|v| (f64::from(v) * scale) as f32);
        plane
    }
}

/// Part of the samples that a cell may be too coarse for: they are left out and the user is told; more is an error.
const MAX_OUTSIDE: f64 = 0.2;

/// Refuses sums without visibilities, or that lack many of those that the cell is too coarse for.
pub(super) fn check_tally(spec: &ImageSpec, tally: &[Tally], met: &Met, notice: &dyn Reporter) -> Result<(), ImagingError> {
    let (outside, all) = tally.iter().fold((0, 0), |(o, n), t| (o + t.n_outside, n + t.n_samples));
    let limit = spec.geometry.max_uv_lambda();
    if outside as f64 > MAX_OUTSIDE * all as f64 {
        return Err(ImagingError::CellTooCoarse { cell_rad: spec.geometry.cell_rad, max_uv_lambda: 1.05 * limit });
    }
    if outside > 0 {
        let percent = 100.0 * outside as f64 / all.max(1) as f64;
        let message = format!(
            "{percent:.2} % of the samples lie on baselines beyond {:.0} kλ, which the cell is too coarse for; they are left out",
            limit / 1e3
        );
        notice.warn(
            Warning::new("long-baselines-left-out", message).hint("choose a smaller cell, or a uvrange to leave them out on purpose"),
        );
    }
    if tally.iter().all(|t| t.sum_weight <= 0.0) {
        let d = met.dropped;
        let taper = if spec.weighting.taper.is_some() { "; the taper leaves the others no weight" } else { "" };
        let why = format!(
            "{} samples are flagged, {} have no usable weight, {} are not finite, {} are autocorrelations{taper}",
            d.flagged, d.bad_weight, d.not_finite, d.autocorrelations
        );
        return Err(match &spec.planes {
            Planes::Channels(grid) if met.band_hz.1 > 0.0 && (grid.range_hz().0 > met.band_hz.1 || grid.range_hz().1 < met.band_hz.0) => {
                ImagingError::OutsideBand { cube_hz: grid.range_hz(), data_hz: met.band_hz }
            }
            _ => ImagingError::NoVisibilities(why),
        });
    }
    Ok(())
}

/// Samples of a plane, about: what the first block tells of all rows.
fn samples_of_plane<T: Float>(spec: &ImageSpec, stream: &Stream, cache: &Cache<T>) -> Result<f64> {
    if stream.n_blocks() == 0 {
        return Ok(0.0);
    }
    let block = stream.block(cache, 0)?;
    let of_row = match (&spec.planes, block.freq_hz.as_ref()) {
        (Planes::Channels(grid), [a, b, ..]) => (grid.step_hz / (b - a)).abs().max(1.0),
        (Planes::Channels(_), _) => 1.0,
        (_, channels) => channels.len() as f64,
    };
    Ok(of_row * stream.n_rows() as f64)
}

/// The longest baseline may be this much beyond what the cell can represent before anything is read.
const MAX_EXCESS: f64 = 2.0;

pub(super) fn check(inputs: &[Input], spec: &ImageSpec) -> Result<(), ImagingError> {
    if inputs.iter().all(|i| i.vis.n_rows() == 0) {
        return Err(ImagingError::NoVisibilities("the selection is empty".into()));
    }
    // A few baselines beyond are left out as the samples are met.
    let limit = MAX_EXCESS * spec.geometry.max_uv_lambda();
    let longest = inputs.iter().filter_map(|i| i.vis.max_uv_lambda()).fold(0.0, f64::max);
    if longest > limit {
        return Err(ImagingError::CellTooCoarse { cell_rad: spec.geometry.cell_rad, max_uv_lambda: longest });
    }
    Ok(())
}
