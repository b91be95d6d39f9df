//! Forecast of an image before any is made: cell and size with their reasons, beam, noise, memory, time.

use super::cost::Cost;
use super::imager::forecast;
use super::mosaic::{Pointing, pointings};
use super::options::{W_PHASE_LIMIT, taper_beam};
use super::pass::Planes;
use super::{ChannelGrid, Forecast, ImageOptions, ImageSpec, ImagingError, Input, Interpolation, SchemeName, Weighting};
use crate::data::{VisBlock, VisSource};
use crate::error::Result;
use crate::gridding::Geometry;
use crate::notice::Reporter;
use crate::options;
use crate::sky::Direction;
use crate::units::{ARCSEC, Angle, C_M_S, List};

options! {
    /// Options of the forecast.
    pub struct PlanOptions {
        /// Pixels across the beam.
        ["1"] pixels_per_beam: f64 = 5.0,
        /// The image reaches to where the primary beam has fallen to this.
        ["1"] pb_level: f64 = 0.2,
        /// The image is as wide as it is high.
        [""] square: bool = false,
        /// Side of a pixel, where it is not to be chosen.
        ["arcsec"] cell: Option<Angle> = None,
        /// Pixels a side, or along x and y, where they are not to be chosen.
        ["pixels"] npix: List<usize> = List(vec![]),
        /// Channels of a cube; automatic is a continuum image.
        ["1"] nchan: Option<usize> = None,
        /// `natural`, `uniform`, `briggs`, or `briggsbwtaper`.
        [""] weighting: SchemeName = SchemeName::Briggs,
        /// Robustness of Briggs weighting.
        ["1"] robust: f64 = 0.5,
        /// Taper: FWHM in the image, or major axis, minor axis and position angle.
        ["arcsec"] taper: List<Angle> = List(vec![]),
        /// Diameter of the dishes, metres, where the set does not tell.
        ["m"] dish: Option<f64> = None,
    }
}

impl PlanOptions {
    /// The first option out of its range.
    fn check(&self) -> Result<(), ImagingError> {
        let fail = |name, value: String, expected| Err(ImagingError::Option { name, value, expected });
        if !(self.pb_level > 0.0 && self.pb_level < 1.0) {
            return fail("pb_level", self.pb_level.to_string(), "a number above 0 and below 1");
        }
        if !(self.pixels_per_beam >= 1.0) {
            return fail("pixels_per_beam", self.pixels_per_beam.to_string(), "at least 1");
        }
        let image = ImageOptions { npix: self.npix.clone(), cell: self.cell, nchan: self.nchan, robust: self.robust, ..Default::default() };
        image.check()
    }
}

/// A forecast.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ImagePlan {
    /// Side of a pixel, rad.
    pub cell_rad: f64,
    /// Pixels along x.
    pub nx: usize,
    /// Pixels along y.
    pub ny: usize,
    /// Middle of the pointings.
    pub center: Direction,
    /// Expected width of the beam (Briggs 0.5), rad.
    pub beam_rad: f64,
    /// Largest structure that the shortest baselines see, rad.
    pub largest_scale_rad: f64,
    /// Longest baseline in wavelengths.
    pub max_uv_lambda: f64,
    /// Largest phase that the w-term reaches at the corners, rad.
    pub w_phase_rad: f64,
    /// Beam and noise with this weighting, from a part of the visibilities; `None` where they give no beam.
    pub forecast: Option<Forecast>,
    /// What it takes to make the image.
    pub cost: Cost,
    /// How the numbers came about, in sentences.
    pub reasons: Vec<String>,
}

/// Blocks that are looked at to learn the distribution of baselines.
const SAMPLED_BLOCKS: usize = 24;

/// Chooses cell and size for these visibilities, and forecasts beam, noise, memory and time.
pub fn plan_image(inputs: &[Input], options: &PlanOptions, notice: &dyn Reporter) -> Result<ImagePlan> {
    options.check()?;
    let points = pointings(inputs, options.dish, notice)?;
    let mut plan = choose_pixels(inputs, &points, options)?;
    let spec = spec_of(inputs, &plan, options)?;
    plan.cost = Cost::of(&points, &spec)?;
    let (cost, planes) = (&plan.cost, options.nchan.unwrap_or(1));
    plan.reasons.push(format!(
        "{} for {planes} plane{}{}; {} for dirty image and PSF, and about as much for each major cycle",
        cost.memory_text(),
        if planes == 1 { "" } else { "s" },
        if cost.w_terms > 1 { format!(" with {} terms of the w-term", cost.w_terms) } else { String::new() },
        cost.time_text(),
    ));
    plan.forecast = plan.cost.check().is_ok().then(|| forecast_of_part(inputs, &spec, notice)).transpose()?.flatten();
    if let Some(f) = &plan.forecast {
        let beam = f.beam.map_or("no beam can be fitted".into(), |b| format!("a beam of {b}"));
        plan.reasons.push(format!(
            "{beam}, and a noise of {}/beam with all channels together, {:.2} times that of natural weights",
            flux_text(f.noise_jy),
            f.noise_increase
        ));
    }
    Ok(plan)
}

/// The image that is planned: a continuum one for the forecast of its beam, with as many planes as it will have.
fn spec_of(inputs: &[Input], plan: &ImagePlan, options: &PlanOptions) -> Result<ImageSpec> {
    let w_max = inputs.iter().map(|i| i.array.max_w_lambda()).fold(0.0, f64::max);
    let middle_hz = inputs.first().map_or(1e9, |i| i.array.middle_hz());
    let channels = |n| ChannelGrid { first_hz: middle_hz, step_hz: 1.0, n_chan: n, interpolation: Interpolation::Nearest };
    Ok(ImageSpec {
        weighting: Weighting {
            scheme: options.weighting.scheme(options.robust, 0.0),
            taper: taper_beam(&options.taper.0)?,
            per_channel_density: false,
        },
        planes: options.nchan.map_or(Planes::Continuum, |n| Planes::Channels(channels(n))),
        max_w_lambda: (plan.w_phase_rad > W_PHASE_LIMIT).then_some(w_max),
        ..ImageSpec::continuum(Geometry::centered(plan.nx, plan.ny, plan.cell_rad), plan.center)
    })
}

/// Beam and noise from some blocks of each input, scaled to all rows.
fn forecast_of_part(inputs: &[Input], spec: &ImageSpec, notice: &dyn Reporter) -> Result<Option<Forecast>> {
    let parts: Vec<Part> = inputs.iter().map(|i| Part::new(i.vis)).collect();
    let sampled: Vec<Input> = inputs.iter().zip(&parts).map(|(i, part)| Input { vis: part, array: i.array }).collect();
    let (all, part) = (inputs.iter().map(|i| i.vis.n_rows()).sum::<u64>(), parts.iter().map(Part::rows_of_blocks).sum::<Result<u64>>()?);
    let spec = ImageSpec { planes: Planes::Continuum, ..spec.clone() };
    let made = forecast(&sampled, &spec, notice)?;
    let scale = (part as f64 / all.max(1) as f64).sqrt();
    Ok(made.map(|f| Forecast { noise_jy: f.noise_jy * scale, ..f }))
}

/// Some blocks of a source, evenly spaced.
struct Part<'a> {
    vis: &'a dyn VisSource,
    blocks: Vec<usize>,
}

impl<'a> Part<'a> {
    fn new(vis: &'a dyn VisSource) -> Part<'a> {
        let n = vis.n_blocks();
        Part { vis, blocks: (0..n).step_by(n.div_ceil(SAMPLED_BLOCKS).max(1)).collect() }
    }
    fn rows_of_blocks(&self) -> Result<u64> {
        self.blocks.iter().map(|i| Ok(self.vis.read_block(*i)?.uvw_m.nrows() as u64)).sum()
    }
}

impl VisSource for Part<'_> {
    fn name(&self) -> &str {
        self.vis.name()
    }
    fn phase_center(&self) -> Direction {
        self.vis.phase_center()
    }
    fn n_blocks(&self) -> usize {
        self.blocks.len()
    }
    fn n_rows(&self) -> u64 {
        self.vis.n_rows()
    }
    fn read_block(&self, i: usize) -> Result<VisBlock> {
        self.vis.read_block(self.blocks[i])
    }
    fn max_uv_lambda(&self) -> Option<f64> {
        self.vis.max_uv_lambda()
    }
}

/// Chooses cell, size and direction, with reasons; beam and cost are not known yet.
pub(super) fn choose_pixels(inputs: &[Input], points: &[Pointing], options: &PlanOptions) -> Result<ImagePlan> {
    let baselines = baselines(inputs)?;
    let at = |fraction: f64| baselines[((baselines.len() - 1) as f64 * fraction) as usize];
    let (l80, longest, l5) = (at(0.8), *baselines.last().unwrap_or(&0.0), at(0.05));
    let measured = inputs.iter().filter_map(|i| i.vis.max_uv_lambda()).fold(0.0, f64::max);
    let max_uv_lambda = measured.max(longest);
    // The beam at Briggs 0.5 from the 80th percentile of the baselines (ALMA technical handbook 7.7).
    let beam_rad = 0.574 / l80;
    let limit = 0.5 / max_uv_lambda;
    let cell_rad = options.cell.map_or_else(|| rounded_down((beam_rad / options.pixels_per_beam).min(limit / 1.02)), |c| c.0);
    let mut reasons = vec![
        format!(
            "four fifths of the baselines are shorter than {:.0} kλ, the longest is {:.0} kλ: a beam of about {}",
            l80 / 1e3,
            max_uv_lambda / 1e3,
            arcsec(beam_rad)
        ),
        format!(
            "a cell of {} is {:.1} pixels across the beam; above {} the longest baselines would alias",
            arcsec(cell_rad),
            beam_rad / cell_rad,
            arcsec(limit)
        ),
    ];
    check_near(points)?;
    let (center, extent) = extent(points, options, &mut reasons);
    let size = |e: f64| crate::gridding::good_size((e / cell_rad).ceil() as usize);
    let (mut nx, mut ny) = match options.npix.0.as_slice() {
        [] => (size(extent.0), size(extent.1)),
        [n] => (*n, *n),
        [nx, ny, ..] => (*nx, *ny),
    };
    if options.square {
        nx = nx.max(ny);
        ny = nx;
    }
    reasons.push(format!("{nx} x {ny} pixels cover {} x {}", arcsec(nx as f64 * cell_rad), arcsec(ny as f64 * cell_rad)));
    let geometry = crate::gridding::Geometry::centered(nx, ny, cell_rad);
    let w_max = inputs.iter().map(|i| i.array.max_w_lambda()).fold(0.0, f64::max);
    let w_phase_rad = crate::gridding::w_phase(&geometry, w_max);
    reasons.push(format!("the w-term turns phases by at most {w_phase_rad:.3} rad at the corners"));
    let largest_scale_rad = 0.983 / l5;
    let (forecast, cost) = (None, Cost::default());
    Ok(ImagePlan { cell_rad, nx, ny, center, beam_rad, largest_scale_rad, max_uv_lambda, w_phase_rad, forecast, cost, reasons })
}

fn arcsec(rad: f64) -> String {
    let a = rad / ARCSEC;
    if a >= 10.0 { format!("{a:.0}arcsec") } else { format!("{a:.3}arcsec") }
}

/// `12.3 µJy`, `4.56 mJy`, `1.20 Jy`
fn flux_text(jy: f64) -> String {
    let (scale, unit) = [(1.0, "Jy"), (1e3, "mJy")].into_iter().find(|(s, _)| jy * s >= 1.0).unwrap_or((1e6, "µJy"));
    let value = jy * scale;
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}

/// Lengths of baselines, wavelengths, ascending.
fn baselines(inputs: &[Input]) -> Result<Vec<f64>> {
    let mut out = Vec::new();
    for input in inputs {
        let n = input.vis.n_blocks();
        for i in (0..n).step_by(n.div_ceil(SAMPLED_BLOCKS).max(1)) {
            let block = input.vis.read_block(i)?;
            let per_metre = block.freq_hz.iter().sum::<f64>() / block.freq_hz.len().max(1) as f64 / C_M_S;
            let flagged = |row: usize| block.flag_rfc.index_axis(ndarray::Axis(0), row).iter().all(|f| *f);
            for (row, uvw) in block.uvw_m.rows().into_iter().enumerate() {
                if block.antenna1[row] != block.antenna2[row] && !flagged(row) {
                    out.push(uvw[0].hypot(uvw[1]) * per_metre);
                }
            }
        }
    }
    out.retain(|l| *l > 0.0);
    out.sort_by(f64::total_cmp);
    if out.is_empty() { Err(ImagingError::NoVisibilities("every row looked at is flagged".into()).into()) } else { Ok(out) }
}

/// Pointings further apart than this many beams are other sources, not a mosaic.
const MOST_BEAMS_APART: f64 = 200.0;

/// Refuses fields that are no mosaic.
fn check_near(points: &[Pointing]) -> Result<(), ImagingError> {
    let first = points[0].inputs[0].center();
    let distance = |p: &Pointing| p.inputs[0].center().in_frame(first.frame).map_or(0.0, |d| d.separation_rad(first));
    let apart_rad = points.iter().map(distance).fold(0.0, f64::max);
    let width = points.iter().map(|p| 2.0 * p.beam.radius(0.5, p.inputs[0].array.middle_hz())).fold(0.0, f64::max);
    if apart_rad > MOST_BEAMS_APART * width {
        return Err(ImagingError::FarApart { apart_rad, beams: apart_rad / width });
    }
    Ok(())
}

/// Middle of the pointings and the angles to cover, rad.
fn extent(points: &[Pointing], options: &PlanOptions, reasons: &mut Vec<String>) -> (Direction, (f64, f64)) {
    let reach = points.iter().map(|p| p.beam.radius(options.pb_level, p.inputs[0].array.middle_hz())).fold(0.0, f64::max);
    let first = points[0].inputs[0].center();
    let offsets: Vec<(f64, f64)> =
        points.iter().filter_map(|p| p.inputs[0].center().in_frame(first.frame)).map(|d| first.offset_to(d)).collect();
    let range = |f: fn(&(f64, f64)) -> f64| {
        let v: Vec<f64> = offsets.iter().map(f).collect();
        (v.iter().copied().fold(f64::INFINITY, f64::min), v.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    };
    let ((e0, e1), (n0, n1)) = (range(|o| o.0), range(|o| o.1));
    reasons.push(format!(
        "{} pointing{} whose beams fall to {} at {}",
        points.len(),
        if points.len() == 1 { "" } else { "s" },
        options.pb_level,
        arcsec(reach)
    ));
    (first.moved(0.5 * (e0 + e1), 0.5 * (n0 + n1)), (e1 - e0 + 2.0 * reach, n1 - n0 + 2.0 * reach))
}

/// To two digits of which the second is 0 or 5, or one digit, downwards: 0.0637 -> 0.06, 0.0283 -> 0.025.
fn rounded_down(cell_rad: f64) -> f64 {
    let a = cell_rad / ARCSEC;
    let decade = 10f64.powf(a.log10().floor());
    let steps = [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0];
    steps.iter().rev().map(|s| s * decade).find(|s| *s <= a * (1.0 + 1e-9)).unwrap_or(decade) * ARCSEC
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_rounded_down_to_numbers_one_can_say() {
        for (a, expected) in [(0.0637, 0.06), (0.0283, 0.025), (1.0, 1.0), (0.99, 0.8), (17.0, 15.0)] {
            assert!((rounded_down(a * ARCSEC) / ARCSEC / expected - 1.0).abs() < 1e-9, "{a}");
        }
    }
}
