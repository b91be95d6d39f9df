//! An image from visibilities, whole: size, weights, dirty image, mask, CLEAN, restored image, primary beam.

use ndarray::{ArcArray2, Array2, ArrayView2, CowArray, Ix2, Zip};
use rayon::prelude::*;

use super::channel_axis::{axis_of_band, axis_of_grid, channel_grid};
use super::clean::{MajorCycle, robust_noise};
use super::cost::Cost;
use super::mask_grid::mask_on_grid;
use super::mosaic::{MosaicImager, Pointing, is_mosaic, pointings};
use super::options::{Deconvolver, GridderName, ImageOptions, Mode, RestoringBeam, W_PHASE_LIMIT};
use super::plan::{PlanOptions, choose_pixels};
use super::primary_beam::BandTable;
use super::restore::{restore, smooth};
use super::{
    AutoMaskOptions, Choice, CleanOptions, Cleaned, Dirty, ImageSpec, Imager, ImagingError, Input, MaskPlan, PlaneSummary, Planes, Psfs,
    Start, StopReason, clean, common_beam, fit_beam, jvm_epsilon, parse_regions, regions_mask, signal_mask,
};
use crate::data::{Beam, Cube};
use crate::error::{Error, Result};
use crate::gridding::{Geometry, w_phase};
use crate::notice::{Quiet, Reporter, Warning};
use crate::sky::{Celestial, Direction, Projection, SpectralAxis};
use crate::units::ARCSEC;

/// Where components may lie, as a user says it.
#[derive(Debug, Clone)]
pub enum MaskChoice {
    /// Everywhere.
    Everywhere,
    /// In regions, CRTF or DS9.
    Regions(String),
    /// Where this mask is above 0; brought to the pixels and channels of the image.
    Cube(Box<Cube>),
    /// Where the primary beam is above a level.
    PrimaryBeam(f64),
    /// Where auto-multithresh finds emission.
    Auto(AutoMaskOptions),
    /// Where the dirty image is above `high` noises, and around that above `low` noises.
    Signal {
        /// Noises at the peak.
        high: f64,
        /// Noises at the edge.
        low: f64,
    },
}

/// An image and all that came about on the way to it.
#[derive(Debug, Clone)]
pub struct Imaged {
    /// Pixels on the sky.
    pub sky: Celestial,
    /// Frequencies of the planes (of the first Taylor term).
    pub spectral: SpectralAxis,
    /// Taylor terms; 1 for all but mtmfs.
    pub n_terms: usize,
    /// Dirty image and PSF, with what is known of each plane.
    pub dirty: Dirty,
    /// Beam fitted to each plane's PSF; `None` where it is empty.
    pub fitted: Vec<Option<Beam>>,
    /// Model, residual, masks, record.
    pub cleaned: Cleaned,
    /// Beam of each restored plane.
    pub beams: Vec<Option<Beam>>,
    /// Restored image, Jy/beam; flat noise.
    pub image: Vec<Array2<f32>>,
    /// Primary beam of each plane; of a mosaic the square root of its relative weight.
    pub pb: Vec<Array2<f32>>,
    /// Weight of a mosaic.
    pub weight: Option<Vec<Array2<f32>>>,
    /// Spectral index, for two or more Taylor terms.
    pub alpha: Option<Array2<f32>>,
    /// The correction of Jorsater & van Moorsel, if asked for.
    pub jvm: Option<Jvm>,
    /// `standard`, `wproject` or `mosaic`.
    pub gridder: &'static str,
    /// Choices that were made, in sentences.
    pub choices: Vec<String>,
}

/// Restored images with the correction of Jorsater & van Moorsel (1995).
#[derive(Debug, Clone)]
pub struct Jvm {
    /// Volume of the clean beam over that of the dirty beam, plane by plane; 1 where it is not defined.
    pub epsilon: Vec<f64>,
    /// model ⊛ beam + ε residual.
    pub image: Vec<Array2<f32>>,
    /// model ⊛ (beam / √ε) + residual.
    pub lowres: Vec<Array2<f32>>,
    /// beam / √ε.
    pub lowres_beams: Vec<Option<Beam>>,
}

/// Primary-beam corrected images are blank below this level unless the user chose one.
const PBCOR_LIMIT: f64 = 0.1;
/// An image whose pixels are all below this power of the primary beam shows no sky.
const LEAST_BEAM: f32 = 1e-4;
/// Part of the model's flux near the edge of an image above which the source is taken to reach beyond it.
const MAX_FLUX_AT_EDGE: f64 = 0.05;

/// Makes an image of the visibilities.
///
/// `start` is a model to go on from. If the user interrupts the cleaning, `keep` is given the model
/// after the last complete major cycle.
pub fn image(
    inputs: &[Input],
    options: &ImageOptions,
    cleaning: &CleanOptions,
    mask: &MaskChoice,
    start: Option<StartModel>,
    keep: &dyn Fn(&Unfinished) -> Result<()>,
    notice: &dyn Reporter,
) -> Result<Imaged> {
    options.check()?;
    cleaning.check()?;
    if let MaskChoice::Auto(auto) = mask {
        auto.check()?;
    }
    let points = pointings_of(inputs, options, notice)?;
    let set_up = SetUp::new(inputs, &points, options, notice)?;
    scales(options, cleaning).check_scales(set_up.shape())?;
    let mut engine = Engine::new(inputs, &points, &set_up, notice)?;
    // Beams of single fields do not depend on data: an image of nothing is refused before any is gridded.
    let early = if matches!(engine, Engine::One(_)) { Some(engine.primary_beam(&set_up, &points)?) } else { None };
    let dirty = engine.dirty(notice)?;
    check_finite(&dirty)?;
    notice.check()?;
    let pb = early.map_or_else(|| engine.primary_beam(&set_up, &points), Ok)?;
    warn_of_empty_channels(&dirty, &set_up, notice);
    let plan = set_up.mask(mask, &dirty, &pb, options)?;
    check_edge(&dirty, &plan, cleaning, &set_up, notice)?;
    let cleaning = scales(options, cleaning);
    let choice = if options.deconvolver == Deconvolver::Clark { Choice::Clark } else { Choice::Chi2 };
    let start = match start {
        Some(start) => {
            let n_iter = start.n_iter;
            Start::model(set_up.checked_model(start)?, n_iter, engine.major(), notice)?
        }
        None => Start::nothing(&dirty),
    };
    let cleaned = {
        let psfs = Psfs::new(&dirty, set_up.n_terms, &cleaning.scales, cleaning.smallscalebias, choice);
        notice.check()?;
        notice.check()?;
        clean(&psfs, &plan, start, &cleaning, engine.major(), notice)?
    };
    warn_of_bad_end(&cleaned, notice);
    warn_of_model_at_edge(&cleaned, &set_up, notice);
    if cleaned.stop == StopReason::Interrupted {
        keep(&Unfinished::of(&set_up, options, &dirty, &cleaned)?)?;
        return Err(interrupted());
    }
    finish(set_up, dirty, cleaned, pb, engine.weight(), options)
}

/// What is said when a cleaning is interrupted.
pub(super) fn interrupted() -> Error {
    Error::interrupted().hint("the model of the last complete major cycle is kept: the same command goes on from it")
}

/// The model of a cleaning that was interrupted, after its last complete major cycle.
#[derive(Debug)]
pub struct Unfinished<'a> {
    /// Pixels on the sky.
    pub sky: &'a Celestial,
    /// Frequencies of the planes.
    pub spectral: SpectralAxis,
    /// Model, Jy/pixel, plane by plane or term by term.
    pub model: &'a [ArcArray2<f32>],
    /// Components that it took.
    pub n_iter: u64,
}

impl<'a> Unfinished<'a> {
    pub(super) fn of(set_up: &'a SetUp, options: &ImageOptions, dirty: &Dirty, cleaned: &'a Cleaned) -> Result<Unfinished<'a>> {
        let n_iter = cleaned.record.last().map_or(0, |r| r.n_iter);
        Ok(Unfinished { sky: &set_up.sky, spectral: set_up.spectral(options, dirty.band_hz)?, model: &cleaned.model, n_iter })
    }
}

/// A model to go on from.
#[derive(Debug, Clone)]
pub struct StartModel {
    /// Jy/pixel, plane by plane or term by term; of several terms the last may be missing.
    pub planes: Vec<Array2<f32>>,
    /// Components that it took, counted towards `niter`.
    pub n_iter: u64,
    /// Where its pixels lie, if that is to be compared with the image.
    pub sky: Option<Celestial>,
}

/// Pointings with their beams; a dish diameter that the user gives replaces that of the sets.
pub(super) fn pointings_of<'a>(inputs: &[Input<'a>], options: &ImageOptions, notice: &dyn Reporter) -> Result<Vec<Pointing<'a>>> {
    if inputs.iter().all(|i| i.vis.n_rows() == 0) {
        return Err(ImagingError::NoVisibilities("the selection is empty".into()).into());
    }
    pointings(inputs, options.dish, notice)
}

/// What an image will be, before any is made.
pub(super) struct SetUp {
    pub spec: ImageSpec,
    pub sky: Celestial,
    pub n_terms: usize,
    gridder: GridderName,
    choices: Vec<String>,
    /// Frequency of the primary beam of the continuum, Hz.
    middle_hz: f64,
}

impl SetUp {
    pub fn new(inputs: &[Input], points: &[Pointing], options: &ImageOptions, notice: &dyn Reporter) -> Result<SetUp> {
        let mut choices = Vec::new();
        let (geometry, center) = geometry(inputs, points, options, &mut choices)?;
        let planes = planes(inputs, options, notice)?;
        let w_max = inputs.iter().map(|i| i.array.max_w_lambda()).fold(0.0, f64::max);
        let gridder = choose_gridder(points, options.gridder, w_phase(&geometry, w_max), &mut choices)?;
        let fractional_bandwidth = match &planes {
            Planes::Channels(grid) => (grid.range_hz().1 - grid.range_hz().0) / grid.freq_hz(grid.n_chan / 2),
            _ => 0.0,
        };
        let with_w = gridder == GridderName::WProject || gridder == GridderName::Mosaic && w_phase(&geometry, w_max) > W_PHASE_LIMIT;
        let spec = ImageSpec {
            planes,
            frame: options.frame.into(),
            weighting: options.weighting(fractional_bandwidth)?,
            accuracy: options.accuracy,
            max_w_lambda: with_w.then_some(w_max),
            cache_bytes: (options.memory.max(0.0) * 1e6) as usize,
            weights_by_pointing: options.mosweight,
            ..ImageSpec::continuum(geometry, center)
        };
        let sky = Celestial::simple(Projection::Sin { xi: 0.0, eta: 0.0 }, center, geometry.cell_rad, geometry.center)?;
        Cost::of(points, &spec)?.check()?;
        let n_terms = if options.deconvolver == Deconvolver::Mtmfs { options.nterms } else { 1 };
        let middle_hz = inputs.first().map_or(1e9, |i| i.array.middle_hz());
        Ok(SetUp { spec, sky, n_terms, gridder, choices, middle_hz })
    }

    fn shape(&self) -> (usize, usize) {
        (self.spec.geometry.ny, self.spec.geometry.nx)
    }

    /// Frequency of each image plane, Hz.
    fn plane_hz(&self) -> Vec<f64> {
        match &self.spec.planes {
            Planes::Channels(grid) => (0..grid.n_chan).map(|c| grid.freq_hz(c)).collect(),
            _ => vec![self.middle_hz; 1],
        }
    }

    pub fn spectral(&self, options: &ImageOptions, band_hz: (f64, f64)) -> Result<SpectralAxis> {
        match &self.spec.planes {
            Planes::Channels(grid) => axis_of_grid(grid, options),
            // The frequency that the terms count from, not quite the middle of the band.
            Planes::Taylor { reference_hz, .. } => {
                let half = 0.5 * (band_hz.1 - band_hz.0);
                axis_of_band((reference_hz - half, reference_hz + half), options)
            }
            Planes::Continuum => axis_of_band(band_hz, options),
        }
    }

    /// A start model on the pixels of the image.
    pub fn checked_model(&self, start: StartModel) -> Result<Vec<Array2<f32>>> {
        let StartModel { planes: mut model, sky, .. } = start;
        if let Some(sky) = sky.filter(|sky| !self.has_pixels_of(sky)) {
            let (cell, own) = (sky.cell_rad().0.abs() / ARCSEC, self.sky.cell_rad().0.abs() / ARCSEC);
            let message = format!(
                "the start model has pixels of {cell:.4} arcsec about {}, the image pixels of {own:.4} arcsec about {}",
                sky.center(),
                self.sky.center()
            );
            return Err(Error::user(message).hint("give the cell and phase_center of the model"));
        }
        let n = self.spec.planes.n_images();
        if self.n_terms > 1 && !model.is_empty() && model.len() < n {
            // Terms that an earlier image did not have were 0.
            model.resize(n, Array2::zeros(self.shape()));
        }
        if model.len() != n {
            return Err(Error::user(format!("the start model has {} planes where the image has {n}", model.len())));
        }
        match model.iter().find(|m| m.dim() != self.shape()) {
            Some(wrong) => Err(super::shape_error("start model", wrong.dim(), self.shape()).into()),
            None => Ok(model.into_iter().map(|m| m.mapv(|v| if v.is_finite() { v } else { 0.0 })).collect()),
        }
    }

    /// True if the corners of the image lie on the same pixels, to a tenth of one.
    fn has_pixels_of(&self, sky: &Celestial) -> bool {
        let (ny, nx) = self.shape();
        let far = [(0.0, 0.0), (nx as f64 - 1.0, ny as f64 - 1.0)];
        far.into_iter().all(|(x, y)| {
            let there = self.sky.sky_from_pixel(x, y).and_then(|d| sky.pixel_from_sky(d.in_frame(sky.frame())?));
            there.is_some_and(|(a, b)| (a - x).abs() < 0.1 && (b - y).abs() < 0.1)
        })
    }

    /// The masks that the user's words mean on this image.
    pub fn mask(&self, choice: &MaskChoice, dirty: &Dirty, pb: &[Array2<f32>], options: &ImageOptions) -> Result<MaskPlan> {
        let above = |level: f64| -> Vec<Array2<bool>> { pb.iter().map(|p| p.mapv(|v| f64::from(v) > level)).collect() };
        let (ny, nx) = self.shape();
        let masks = match choice {
            MaskChoice::Everywhere => match options.pblimit {
                Some(level) => above(level),
                None => vec![Array2::from_elem((ny, nx), true)],
            },
            MaskChoice::Regions(text) => vec![regions_mask(&parse_regions(text, &self.sky)?, ny, nx)?],
            MaskChoice::PrimaryBeam(level) => above(*level),
            MaskChoice::Cube(mask) => mask_on_grid(mask, &self.sky, &self.spectral(options, dirty.band_hz)?, (ny, nx)),
            MaskChoice::Signal { high, low } => {
                let noise = robust_noise(dirty.image.iter().flat_map(|i| i.iter()));
                let n = dirty.image.len() / self.n_terms;
                let first: Vec<ArcArray2<f32>> = dirty.image.iter().step_by(self.n_terms).cloned().collect();
                signal_mask(&first, noise, *high, *low, n > 1)
            }
            MaskChoice::Auto(auto) => {
                return Ok(MaskPlan::Auto { options: auto.clone(), within: above(options.pblimit.unwrap_or(0.0).max(0.0) - 1e-9) });
            }
        };
        if masks.iter().any(|m| m.iter().any(|v| *v)) { Ok(MaskPlan::Fixed(masks)) } else { Err(ImagingError::EmptyMask.into()) }
    }
}

/// Pixels and the direction of their middle, from the options or from the forecast.
fn geometry(inputs: &[Input], points: &[Pointing], options: &ImageOptions, choices: &mut Vec<String>) -> Result<(Geometry, Direction)> {
    let said_center = match options.phase_center.trim() {
        "" => None,
        text => {
            let wrong = |value: String| ImagingError::Option {
                name: "phase_center",
                value,
                expected: "a direction such as \"J2000 12h01m53.2s -18d52m30s\"",
            };
            Some(Direction::parse(text).map_err(wrong)?)
        }
    };
    let single = !is_mosaic(points);
    let own_center = said_center.or_else(|| single.then(|| inputs[0].center()));
    if let (Some(cell), [first, rest @ ..], Some(center)) = (options.cell, options.npix.0.as_slice(), own_center) {
        return Ok((Geometry::centered(*first, rest.first().copied().unwrap_or(*first), cell.0), center));
    }
    let plan = choose_pixels(inputs, points, &PlanOptions { dish: options.dish, cell: options.cell, ..Default::default() })?;
    choices.extend(plan.reasons);
    let cell_rad = plan.cell_rad;
    let (nx, ny) = match options.npix.0.as_slice() {
        [] => (plan.nx, plan.ny),
        [n] => (*n, *n),
        [nx, ny, ..] => (*nx, *ny),
    };
    Ok((Geometry::centered(nx, ny, cell_rad), own_center.unwrap_or(plan.center)))
}

fn planes(inputs: &[Input], options: &ImageOptions, notice: &dyn Reporter) -> Result<Planes> {
    Ok(match (options.mode, options.deconvolver) {
        (Mode::Cube, _) => Planes::Channels(channel_grid(inputs, options, notice)?),
        (Mode::Mfs, Deconvolver::Mtmfs) => {
            let low = inputs.iter().map(|i| i.array.band_hz.0).fold(f64::INFINITY, f64::min);
            let high = inputs.iter().map(|i| i.array.band_hz.1).fold(0.0, f64::max);
            Planes::Taylor { n_terms: options.nterms, reference_hz: 0.5 * (low + high) }
        }
        (Mode::Mfs, _) => Planes::Continuum,
    })
}

/// The gridder that is asked for, or the one that the pointings and the w-term need.
fn choose_gridder(
    points: &[Pointing],
    wanted: GridderName,
    w_phase_rad: f64,
    choices: &mut Vec<String>,
) -> Result<GridderName, ImagingError> {
    if wanted != GridderName::Auto {
        return Ok(wanted);
    }
    let (name, why) = if is_mosaic(points) {
        (GridderName::Mosaic, format!("there are {} pointings or kinds of dishes", points.len()))
    } else if w_phase_rad > W_PHASE_LIMIT {
        (GridderName::WProject, format!("the w-term turns phases by up to {w_phase_rad:.2} rad at the corners"))
    } else {
        (GridderName::Standard, format!("there is one pointing, and the w-term turns phases by no more than {w_phase_rad:.3} rad"))
    };
    choices.push(format!("gridder {}: {why}", gridder_text(name)));
    Ok(name)
}

/// True if the image of these inputs will be a joint mosaic.
pub fn makes_mosaic(inputs: &[Input], options: &ImageOptions) -> Result<bool> {
    let several = || {
        let points = pointings(inputs, options.dish, &Quiet::default())?;
        Ok(is_mosaic(&points))
    };
    match options.gridder {
        GridderName::Mosaic => Ok(true),
        GridderName::Auto => several(),
        _ => Ok(false),
    }
}

fn gridder_text(name: GridderName) -> &'static str {
    match name {
        GridderName::Auto => "auto",
        GridderName::Standard => "standard",
        GridderName::WProject => "wproject",
        GridderName::Mosaic => "mosaic",
    }
}

/// One field, or many.
pub(super) enum Engine<'a> {
    One(Imager<'a>),
    Mosaic(MosaicImager<'a>),
}

impl<'a> Engine<'a> {
    pub fn new(inputs: &'a [Input<'a>], points: &'a [Pointing<'a>], set_up: &SetUp, notice: &dyn Reporter) -> Result<Engine<'a>> {
        if set_up.gridder != GridderName::Mosaic {
            return Imager::new(inputs, set_up.spec.clone(), notice).map(Engine::One);
        }
        MosaicImager::new(inputs, points, set_up.spec.clone(), notice).map(Engine::Mosaic)
    }

    pub fn dirty(&mut self, notice: &dyn Reporter) -> Result<Dirty> {
        match self {
            Engine::One(imager) => imager.dirty(notice),
            Engine::Mosaic(imager) => imager.dirty(notice),
        }
    }

    pub fn major(&self) -> &dyn MajorCycle {
        match self {
            Engine::One(imager) => imager,
            Engine::Mosaic(imager) => imager,
        }
    }

    /// Primary beam of each plane; that of the first pointing where it is no mosaic.
    pub fn primary_beam(&self, set_up: &SetUp, points: &[Pointing]) -> Result<Vec<Array2<f32>>> {
        if let Engine::Mosaic(imager) = self {
            return Ok(imager.primary_beam().to_vec());
        }
        let first = points.first().ok_or_else(|| ImagingError::NoVisibilities("there is no pointing".into()))?;
        let (center, pointing) = (set_up.spec.center, first.inputs[0].center());
        let direction = pointing.in_frame(center.frame);
        let separation_rad = direction.map_or(std::f64::consts::PI, |d| d.separation_rad(center));
        let outside = || ImagingError::OutsideBeam { center: center.to_string(), separation_rad };
        let at = direction.and_then(|d| set_up.sky.pixel_from_sky(d)).ok_or_else(outside)?;
        let geometry = Geometry { center: at, ..set_up.spec.geometry };
        let plane_hz = set_up.plane_hz();
        let table = BandTable::of_image(first.beam, &geometry, plane_hz.iter().copied().fold(0.0, f64::max));
        let beams: Vec<Array2<f32>> = plane_hz.into_par_iter().map(|f| table.image(&geometry, f)).collect();
        if beams.iter().all(|b| b.iter().all(|v| *v < LEAST_BEAM)) {
            return Err(outside().into());
        }
        Ok(beams)
    }

    pub fn weight(&self) -> Option<Vec<Array2<f32>>> {
        match self {
            Engine::One(_) => None,
            Engine::Mosaic(imager) => Some(imager.weight()),
        }
    }
}

fn scales(options: &ImageOptions, cleaning: &CleanOptions) -> CleanOptions {
    let points_only = matches!(options.deconvolver, Deconvolver::Hogbom | Deconvolver::Clark);
    CleanOptions { scales: if points_only { crate::units::List(vec![0.0]) } else { cleaning.scales.clone() }, ..cleaning.clone() }
}

/// Refuses sums that overflow.
pub(super) fn check_finite(dirty: &Dirty) -> Result<(), ImagingError> {
    let broken =
        dirty.image.iter().map(|i| i.view()).chain(dirty.psf.iter().map(|p| p.view())).position(|p| p.iter().any(|v| !v.is_finite()));
    broken.map_or(Ok(()), |plane| Err(ImagingError::Overflow { plane: plane % dirty.image.len() }))
}

/// Channels that no visibility falls into are blank.
pub(super) fn warn_of_empty_channels(dirty: &Dirty, set_up: &SetUp, notice: &dyn Reporter) {
    let Planes::Channels(grid) = &set_up.spec.planes else { return };
    let empty: Vec<usize> = (0..grid.n_chan).filter(|c| dirty.planes.get(*c).is_some_and(|p| p.sum_weight <= 0.0)).collect();
    if let (Some(first), Some(last)) = (empty.first(), empty.last()) {
        let message = format!("{} of {} channels, among {first} to {last}, hold no visibilities: they are blank", empty.len(), grid.n_chan);
        notice.warn(Warning::new("empty-channels", message).hint("choose start and nchan within the data"));
    }
}

/// A source at the edge of the image is an error if components may be put there, otherwise a warning.
fn check_edge(dirty: &Dirty, plan: &MaskPlan, cleaning: &CleanOptions, set_up: &SetUp, notice: &dyn Reporter) -> Result<()> {
    let (ny, nx) = set_up.shape();
    let margin = |n: usize| n / 20 + 1;
    let Some(plane) = dirty.image.first() else { return Ok(()) };
    let best = plane.indexed_iter().fold(((0, 0), 0f32), |b, (i, v)| if v.abs() > b.1 { (i, v.abs()) } else { b });
    let ((y, x), peak) = best;
    let at_edge = y < margin(ny) || x < margin(nx) || y + margin(ny) >= ny || x + margin(nx) >= nx;
    if !at_edge || peak == 0.0 || f64::from(peak) <= 6.0 * robust_noise(plane.iter()) {
        return Ok(());
    }
    let cell_arcsec = set_up.spec.geometry.cell_rad / ARCSEC;
    if cleaning.niter > 0 && plan.allows(0, (y, x)) {
        return Err(ImagingError::SourceAtEdge { x, y, nx, ny, cell_arcsec }.into());
    }
    let message = format!(
        "the brightest pixel of the dirty image, ({x}, {y}), lies at its edge: the source may reach beyond {nx} x {ny} pixels of {cell_arcsec:.4} arcsec"
    );
    notice.warn(
        Warning::new("image-too-small", message)
            .hint("emission outside the image is aliased into it by CLEAN: raise npix, or move phase_center"),
    );
    Ok(())
}

/// The model of a source that reaches beyond the image piles up at its edge.
fn warn_of_model_at_edge(cleaned: &Cleaned, set_up: &SetUp, notice: &dyn Reporter) {
    let (ny, nx) = set_up.shape();
    let edge = |(y, x): (usize, usize)| {
        let near = |i: usize, n: usize| i.min(n - 1 - i) <= n / 20;
        near(y, ny) || near(x, nx)
    };
    let (mut at_edge, mut all) = (0.0, 0.0);
    for plane in cleaned.model.iter().step_by(set_up.n_terms) {
        for (i, v) in plane.indexed_iter().filter(|(_, v)| **v != 0.0) {
            all += f64::from(*v);
            at_edge += if edge(i) { f64::from(*v) } else { 0.0 };
        }
    }
    let noise = cleaned.record.last().map_or(0.0, |r| r.noise_jy);
    if at_edge > MAX_FLUX_AT_EDGE * all && at_edge > 10.0 * noise {
        let percent = 100.0 * at_edge / all;
        let message = format!(
            "{percent:.0} % of the model's flux lies within a twentieth of the edge of {nx} x {ny} pixels of {:.4} arcsec: the source may reach beyond",
            set_up.spec.geometry.cell_rad / ARCSEC
        );
        notice
            .warn(Warning::new("image-too-small", message).hint("raise npix, or move phase_center; a mask keeps components off the edge"));
    }
}

fn warn_of_bad_end(cleaned: &Cleaned, notice: &dyn Reporter) {
    if cleaned.stop == StopReason::Diverged {
        let message = "the residual grew while cleaning: the model of the best cycle is kept";
        notice.warn(Warning::new("clean-diverged", message).hint("lower gain, raise cyclefactor, or mask the source"));
    }
}

/// Restored images, corrections, and what they stand on.
pub(super) fn finish(
    set_up: SetUp,
    dirty: Dirty,
    cleaned: Cleaned,
    pb: Vec<Array2<f32>>,
    weight: Option<Vec<Array2<f32>>>,
    options: &ImageOptions,
) -> Result<Imaged> {
    let cell_rad = set_up.spec.geometry.cell_rad;
    let n_planes = set_up.spec.planes.n_images();
    let fit = |i: usize| fit_beam(dirty.psf[if set_up.n_terms > 1 { 0 } else { i }].view(), cell_rad).ok();
    let fitted: Vec<Option<Beam>> = (0..n_planes).into_par_iter().map(fit).collect();
    if fitted.iter().all(Option::is_none) {
        fit_beam(dirty.psf[0].view(), cell_rad)?;
    }
    let beams = restoring_beams(&fitted, options, &set_up.spec.geometry)?;
    let residual =
        if set_up.n_terms > 1 { principal_solution(&dirty, &cleaned.residual, set_up.n_terms) } else { cleaned.residual.clone() };
    let image = restored(&cleaned.model, &residual, &beams, cell_rad)?;
    let alpha = (set_up.n_terms > 1).then(|| spectral_index(&image, &residual[0]));
    let jvm = if options.jvm { Some(jvm(&dirty, &cleaned.model, &residual, &beams, cell_rad)?) } else { None };
    let spectral = set_up.spectral(options, dirty.band_hz)?;
    Ok(Imaged {
        sky: set_up.sky,
        spectral,
        n_terms: set_up.n_terms,
        fitted,
        beams,
        image,
        pb,
        weight,
        alpha,
        jvm,
        gridder: gridder_text(set_up.gridder),
        choices: set_up.choices,
        dirty,
        cleaned,
    })
}

fn restoring_beams(fitted: &[Option<Beam>], options: &ImageOptions, geometry: &Geometry) -> Result<Vec<Option<Beam>>> {
    let (cell_rad, side_rad) = (geometry.cell_rad, geometry.cell_rad * geometry.nx.min(geometry.ny) as f64);
    let known: Vec<Beam> = fitted.iter().flatten().copied().collect();
    let same = |beam: Beam| fitted.iter().map(|f| f.map(|_| beam)).collect();
    Ok(match options.restoring_beam()? {
        RestoringBeam::Own => fitted.to_vec(),
        RestoringBeam::Given(beam) if beam.bmin_rad() < cell_rad || beam.bmaj_rad() > side_rad => {
            let expected = "a beam no narrower than a pixel and no wider than the image";
            return Err(ImagingError::Option { name: "restoring_beam", value: beam.to_string(), expected }.into());
        }
        RestoringBeam::Given(beam) => same(beam),
        RestoringBeam::Common => {
            let beam = common_beam(&known).ok_or_else(|| ImagingError::BeamFit("the planes have no common beam".into()))?;
            same(beam)
        }
    })
}

fn restored(model: &[ArcArray2<f32>], residual: &[ArcArray2<f32>], beams: &[Option<Beam>], cell_rad: f64) -> Result<Vec<Array2<f32>>> {
    let one = |((model, residual), beam): ((&ArcArray2<f32>, &ArcArray2<f32>), &Option<Beam>)| match beam {
        Some(beam) => Ok(restore(model.view(), residual.view(), *beam, cell_rad)?),
        None => Ok(residual.to_owned()),
    };
    model.par_iter().zip(residual).zip(beams).map(one).collect()
}

/// Residuals of Taylor terms as the terms of the sky that they would be: the inverse of the peaks of the PSFs applied to
/// each pixel (Rau & Cornwell 2011, section 3.4).
fn principal_solution(dirty: &Dirty, residual: &[ArcArray2<f32>], n_terms: usize) -> Vec<ArcArray2<f32>> {
    let inverse = super::clean::inverse_of_psf_peaks(&dirty.psf, n_terms);
    let term = |t: usize| {
        let mut out = Array2::zeros(residual[0].dim());
        for (h, r) in inverse[t].iter().zip(residual) {
            Zip::from(&mut out).and(r).for_each(|o: &mut f32, r| *o += *h as f32 * r);
        }
        out.into_shared()
    };
    (0..n_terms).map(term).collect()
}

/// tt1 / tt0 where tt0 is above ten times the residual's noise, else blank.
fn spectral_index(image: &[Array2<f32>], residual: &ArcArray2<f32>) -> Array2<f32> {
    let limit = 10.0 * robust_noise(residual.iter());
    let index = |t0: &f32, t1: &f32| if f64::from(*t0) > limit { t1 / t0 } else { f32::NAN };
    Zip::from(&image[0]).and(&image[1]).map_collect(index)
}

fn jvm(dirty: &Dirty, model: &[ArcArray2<f32>], residual: &[ArcArray2<f32>], beams: &[Option<Beam>], cell_rad: f64) -> Result<Jvm> {
    let n_psfs = dirty.psf.len();
    let mut out = Jvm { epsilon: Vec::new(), image: Vec::new(), lowres: Vec::new(), lowres_beams: Vec::new() };
    for (i, beam) in beams.iter().enumerate() {
        let psf = &dirty.psf[if model.len() == n_psfs { i } else { 0 }];
        let epsilon = beam.and_then(|b| jvm_epsilon(psf.view(), b, cell_rad)).unwrap_or(1.0);
        let wide = beam.and_then(|b| {
            let k = epsilon.sqrt();
            Beam::new(b.bmaj_rad() / k, b.bmin_rad() / k, b.bpa_rad()).ok()
        });
        let scaled = residual[i].mapv(|v| v * epsilon as f32);
        out.image.push(match beam {
            Some(beam) => smooth(model[i].view(), *beam, cell_rad) + scaled,
            None => scaled,
        });
        out.lowres.push(match wide {
            Some(wide) => smooth(model[i].view(), wide, cell_rad) + &residual[i],
            None => residual[i].to_owned(),
        });
        out.epsilon.push(epsilon);
        out.lowres_beams.push(wide);
    }
    Ok(out)
}

impl Imaged {
    /// True if visibilities fell into a plane; Taylor terms share those of the first.
    fn is_seen(&self, plane: usize) -> bool {
        self.n_terms > 1 || self.dirty.planes.get(plane).is_none_or(|p| p.sum_weight > 0.0)
    }

    /// A plane of the image divided by its primary beam, blank where that is too low or nothing was seen.
    pub fn corrected(&self, i: usize, plane: ArrayView2<f32>, options: &ImageOptions) -> Array2<f32> {
        if !self.is_seen(i) {
            return Array2::from_elem(plane.dim(), f32::NAN);
        }
        let limit = options.pblimit.unwrap_or(PBCOR_LIMIT) as f32;
        Zip::from(plane).and(self.pb_of(i)).map_collect(|v, b| if *b >= limit && *b > 0.0 { v / b } else { f32::NAN })
    }

    /// A plane blank where its primary beam is below the user's limit, as it is where there is none, and blank if nothing was seen.
    pub fn blanked<'a>(&self, i: usize, plane: ArrayView2<'a, f32>, options: &ImageOptions) -> CowArray<'a, f32, Ix2> {
        if !self.is_seen(i) {
            return Array2::from_elem(plane.dim(), f32::NAN).into();
        }
        let Some(limit) = options.pblimit else { return plane.into() };
        Zip::from(plane).and(self.pb_of(i)).map_collect(|v, b| if f64::from(*b) >= limit { *v } else { f32::NAN }).into()
    }

    fn pb_of(&self, plane: usize) -> &Array2<f32> {
        &self.pb[plane.min(self.pb.len() - 1)]
    }

    /// The first and the last plane that visibilities fell into.
    pub fn channels_seen(&self) -> [usize; 2] {
        let n = self.image.len() / self.n_terms;
        let seen = || (0..n).filter(|i| self.is_seen(*i));
        [seen().next().unwrap_or(0), seen().next_back().unwrap_or(n.saturating_sub(1))]
    }

    /// What is known of each plane.
    pub fn planes(&self) -> &[PlaneSummary] {
        &self.dirty.planes
    }
}
