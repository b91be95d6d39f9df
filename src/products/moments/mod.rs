//! Maps of a cube, each with its error, all from one pass over the data.

mod correlation;
mod hybrid;
mod sightline;
mod slab;
#[cfg(test)]
mod tests;

use std::ops::Range;

use ndarray::{Array2, ArrayView3};
use rayon::prelude::*;

pub use correlation::channel_correlation;
pub use hybrid::{HybridOptions, VelocityMaps, mom1_with_prior, velocity_field};

use self::sightline::{Frame, Sightline};
use self::slab::{Buffers, Window, peak_row};
use super::noise::median_f64;
use super::{Compat, Noise, ProductsError};
use crate::data::{CardValue, CubeInfo, CubeSource, Image, Mask, Unit};
use crate::error::Result;
use crate::notice::Reporter;
use crate::units::Velocity;

/// A map that a cube can be collapsed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MapKind {
    /// Integrated intensity.
    Mom0,
    /// Intensity-weighted mean velocity.
    Mom1,
    /// Intensity-weighted velocity dispersion.
    Mom2,
    /// Width of a Gaussian of the same area and peak.
    Ew,
    /// Peak brightness.
    Tpeak,
    /// Velocity of the brightest channel.
    Vpeak,
    /// Velocity of the peak of a parabola through the brightest channels.
    Vquad,
}

impl MapKind {
    /// All of them.
    pub const ALL: [MapKind; 7] =
        [MapKind::Mom0, MapKind::Mom1, MapKind::Mom2, MapKind::Ew, MapKind::Tpeak, MapKind::Vpeak, MapKind::Vquad];
    /// Its name in file names and scripts.
    pub fn name(self) -> &'static str {
        match self {
            MapKind::Mom0 => "mom0",
            MapKind::Mom1 => "mom1",
            MapKind::Mom2 => "mom2",
            MapKind::Ew => "ew",
            MapKind::Tpeak => "tpeak",
            MapKind::Vpeak => "vpeak",
            MapKind::Vquad => "vquad",
        }
    }
    /// From its name.
    pub fn from_name(name: &str) -> Option<MapKind> {
        MapKind::ALL.into_iter().find(|k| k.name() == name)
    }
    /// BTYPE of the map.
    pub fn btype(self) -> &'static str {
        match self {
            MapKind::Mom0 => "Moment0",
            MapKind::Mom1 => "Moment1",
            MapKind::Mom2 => "Moment2",
            MapKind::Ew => "VelDisp EW",
            MapKind::Tpeak => "Tpeak",
            MapKind::Vpeak | MapKind::Vquad => "Vmax",
        }
    }
    /// Where the stated error is the scatter within 5 %, by Monte Carlo of Gaussian lines of 0.7 to 4 channels (sigma).
    pub fn validity(self) -> &'static [&'static str] {
        match self {
            MapKind::Mom0 => &[
                "Holds for a mask not made from the same noise. A strict mask of the",
                "same cube misses wings, which no error counts: 15 % of a line with a",
                "peak of 5 sigma, 6 % of 10, 1 % of 50.",
            ],
            MapKind::Mom1 => {
                &["Holds in a fixed mask for peaks above 5 sigma (8 with correlated", "channels, or for lines narrower than a channel)."]
            }
            MapKind::Mom2 => &["Holds in a fixed mask for peaks above 20 sigma (50 for lines narrower", "than a channel)."],
            MapKind::Ew | MapKind::Tpeak => &["Holds for peaks above 5 sigma."],
            MapKind::Vpeak => &["Approximate: for peaks above 5 sigma within 5 % on average over line", "widths, within 12 % for each."],
            MapKind::Vquad => &["Holds for peaks above 10 sigma where twice the peak exceeds its", "neighbours together by 12 sigma."],
        }
    }
    fn unit(self, cube: &Unit) -> Unit {
        match self {
            MapKind::Mom0 => cube.times_kms(),
            MapKind::Tpeak => cube.clone(),
            _ => Unit::new("km/s"),
        }
    }
}

/// One map asked for.
#[derive(Debug, Clone, Copy)]
pub struct MapRequest<'a> {
    /// Which.
    pub kind: MapKind,
    /// Voxels that count; all where `None`. The peak is looked for on the whole sky, over the channels that the mask spans.
    pub mask: Option<&'a Mask>,
    /// Width of a running mean along the spectrum before the peak is looked for.
    pub window: Option<Velocity>,
}

/// A map and its error (1 sigma).
#[derive(Debug, Clone)]
pub struct MapWithError {
    /// What it shows.
    pub kind: MapKind,
    /// The map.
    pub value: Image,
    /// Its error; blank where no noise was given.
    pub error: Image,
}

crate::options! {
    /// Options of the maps.
    pub struct MapOptions {
        /// Integrated intensity of sight lines outside the mask: 0, with the error of a line of `limit_width`. Otherwise blank.
        [""] limits: bool = true,
        /// Width of the line that this error is meant for.
        ["km/s"] limit_width: Velocity = Velocity(10.0),
        /// Correlation of the noise of channels 1, 2, ... apart, as `channel_correlation` measures it; empty for independent channels.
        ["1"] correlation: Vec<f64> = vec![],
        /// "phangs": the errors of ew, mom2, vpeak and vquad, the vertex of vquad and the range of tpeak as the PHANGS-ALMA pipeline v3 writes them.
        [""] compat: Compat = Compat::None,
    }
}

/// All maps asked for, in one pass over the cube.
pub fn maps(
    source: &dyn CubeSource,
    noise: Option<&Noise>,
    requests: &[MapRequest<'_>],
    options: &MapOptions,
    notice: &dyn Reporter,
) -> Result<Vec<MapWithError>> {
    let info = source.info();
    let shape = info.shape();
    check_grids(shape, noise, requests)?;
    let velocity = info.spectral().velocities_kms()?;
    let dv = info.spectral().channel_width_kms()?;
    let correlation: Vec<f64> = std::iter::once(1.0).chain(options.correlation.iter().copied()).collect();
    let frame = Frame { v: &velocity, dv, correlation: &correlation, compat: options.compat };
    let jobs: Vec<Job<'_>> = requests.iter().map(|r| Job::new(r, shape, &frame)).collect();
    let pass = Pass { source, noise, frame: &frame, options, jobs: &jobs };
    let [nc, ny, nx] = shape;
    let rows_per_strip = (STRIP_BYTES / (nc * nx * 4).max(1)).clamp(1, 64);
    let strips: Vec<Range<usize>> = (0..ny).step_by(rows_per_strip).map(|y| y..(y + rows_per_strip).min(ny)).collect();
    let done: Vec<Vec<[Vec<f32>; 2]>> = strips.par_iter().map(|rows| pass.strip(rows.clone(), notice)).collect::<Result<_>>()?;
    let mut out = Vec::with_capacity(jobs.len());
    for (i, job) in jobs.iter().enumerate() {
        let plane = |k: usize| {
            let values: Vec<f32> = done.iter().flat_map(|strip| strip[i][k].iter().copied()).collect();
            Array2::from_shape_vec((ny, nx), values).map_err(|e| crate::error::Error::internal(e.to_string()))
        };
        out.push(MapWithError {
            kind: job.kind,
            value: map_image(info, plane(0)?, job.kind, false, dv, options)?,
            error: map_image(info, plane(1)?, job.kind, true, dv, options)?,
        });
    }
    Ok(out)
}

/// One map.
pub fn map(
    source: &dyn CubeSource,
    noise: Option<&Noise>,
    request: MapRequest<'_>,
    options: &MapOptions,
    notice: &dyn Reporter,
) -> Result<MapWithError> {
    let mut all = maps(source, noise, &[request], options, notice)?;
    all.pop().ok_or_else(|| crate::error::Error::internal("one map was asked for and none made"))
}

fn check_grids(shape: [usize; 3], noise: Option<&Noise>, requests: &[MapRequest<'_>]) -> Result<(), ProductsError> {
    let wrong = |what: &'static str, found: [usize; 3]| ProductsError::Grid { what, found: found.to_vec(), expected: shape.to_vec() };
    if let Some(n) = noise.filter(|n| n.shape() != shape) {
        return Err(wrong("noise", n.shape()));
    }
    match requests.iter().filter_map(|r| r.mask).find(|m| m.shape() != shape) {
        Some(m) => Err(wrong("mask", m.shape())),
        None => Ok(()),
    }
}

/// Bytes of a strip of rows over all channels that one thread holds.
const STRIP_BYTES: usize = 8 << 20;

struct Job<'a> {
    kind: MapKind,
    mask: Option<&'a Mask>,
    window: Option<Window>,
    /// Channels over which the peak is looked for.
    channels: Range<usize>,
}

impl<'a> Job<'a> {
    fn new(r: &MapRequest<'a>, shape: [usize; 3], frame: &Frame<'_>) -> Job<'a> {
        let window = r.window.and_then(|w| Window::new(w.0 / frame.dv, frame.correlation, frame.compat));
        let channels = match r.mask {
            None => 0..shape[0],
            Some(m) => channels_of(m, frame.compat),
        };
        Job { kind: r.kind, mask: r.mask, window, channels }
    }
}

/// From the first to the last channel with a voxel of the mask; the PHANGS pipeline leaves the last one out.
fn channels_of(mask: &Mask, compat: Compat) -> Range<usize> {
    let used = |z: &usize| mask.plane_words(*z).iter().any(|w| *w != 0);
    let n = mask.shape()[0];
    match ((0..n).find(used), (0..n).rev().find(used)) {
        (Some(lo), Some(hi)) => lo..if compat == Compat::Phangs { hi } else { hi + 1 },
        _ => 0..0,
    }
}

struct Pass<'a> {
    source: &'a dyn CubeSource,
    noise: Option<&'a Noise>,
    frame: &'a Frame<'a>,
    options: &'a MapOptions,
    jobs: &'a [Job<'a>],
}

/// The voxels of one row that are in a mask and have data, sight line by sight line.
#[derive(Default)]
struct RowLines {
    start: Vec<u32>,
    z: Vec<u32>,
    t: Vec<f64>,
    s: Vec<f64>,
}

impl Pass<'_> {
    /// Value and error of every job for these rows.
    fn strip(&self, rows: Range<usize>, notice: &dyn Reporter) -> Result<Vec<[Vec<f32>; 2]>> {
        let [nc, _, nx] = self.source.info().shape();
        let mut buffer = Vec::new();
        let block = self.source.block(0..nc, rows.clone(), &mut buffer)?;
        let mut out: Vec<[Vec<f32>; 2]> = self.jobs.iter().map(|_| [0, 1].map(|_| vec![f32::NAN; rows.len() * nx])).collect();
        let (mut lines, mut buffers) = (RowLines::default(), Buffers::default());
        let mut seen = vec![false; nx];
        for (i_row, y) in rows.enumerate() {
            notice.check()?;
            observed(&block, i_row, &mut seen);
            let limits = self.limits(y, &seen);
            let mut held: Option<Option<&Mask>> = None;
            // Jobs that share a mask share its sight lines: taken mask by mask.
            for i in self.order() {
                let job = &self.jobs[i];
                let [value, error] = &mut out[i];
                let here = i_row * nx..(i_row + 1) * nx;
                let (value, error) = (&mut value[here.clone()], &mut error[here]);
                if job.kind == MapKind::Tpeak {
                    peak_row(
                        &block,
                        (i_row, y),
                        job.channels.clone(),
                        job.window.as_ref(),
                        (self.frame, self.noise),
                        (&seen, &mut buffers),
                        (value, error),
                    );
                    continue;
                }
                if !held.is_some_and(|h| same_mask(h, job.mask)) {
                    lines.gather(&block, (i_row, y), job.mask, self.noise);
                    held = Some(job.mask);
                }
                self.lines_of_row(job, &lines, &block, (i_row, y), (&seen, limits.as_deref()), (value, error));
            }
        }
        Ok(out)
    }

    /// Jobs with equal masks one after the other.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.jobs.len()).collect();
        let first = |i: usize| self.jobs.iter().position(|j| same_mask(j.mask, self.jobs[i].mask)).unwrap_or(i);
        order.sort_by_key(|i| (first(*i), *i));
        order
    }

    fn lines_of_row(
        &self,
        job: &Job<'_>,
        lines: &RowLines,
        block: &ArrayView3<'_, f32>,
        (i_row, y): (usize, usize),
        (seen, limits): (&[bool], Option<&[f32]>),
        (value, error): (&mut [f32], &mut [f32]),
    ) {
        let nc = block.dim().0 as i64;
        for x in 0..seen.len() {
            let line = lines.at(x);
            if line.z.is_empty() {
                if job.kind == MapKind::Mom0 && self.options.limits && seen[x] {
                    value[x] = 0.0;
                    error[x] = limits.map_or(f32::NAN, |l| l[x]);
                }
                continue;
            }
            let column = |z: i64| {
                if z < 0 || z >= nc {
                    return (f64::NAN, f64::NAN);
                }
                let s = self.noise.map_or(f32::NAN, |n| n.at(z as usize, y, x));
                (f64::from(block[[z as usize, i_row, x]]), f64::from(s))
            };
            let (v, e) = self.frame.measure(job.kind, &line, &column);
            value[x] = v as f32;
            error[x] = if self.noise.is_some() { e as f32 } else { f32::NAN };
        }
    }

    /// Errors of the integrated intensity of sight lines without a voxel in the mask: the median noise, over a line of the width given.
    fn limits(&self, y: usize, seen: &[bool]) -> Option<Vec<f32>> {
        let noise = self.noise?;
        if !self.options.limits || !self.jobs.iter().any(|j| j.kind == MapKind::Mom0) {
            return None;
        }
        let dv = self.frame.dv;
        let factor = (self.options.limit_width.0 / dv).sqrt() * dv * self.limit_correlation();
        let nc = self.source.info().n_chan();
        if let Some((map, spectrum)) = noise.parts()
            && spectrum.iter().all(|s| s.is_finite())
        {
            // The median of a channel-independent factor times a spectrum is the factor times the median.
            let middle = median_f64(spectrum.to_vec()).unwrap_or(f64::NAN);
            return Some(map.row(y).iter().map(|m| (m * middle * factor) as f32).collect());
        }
        let one = |x: usize| {
            let column: Vec<f64> = (0..nc).map(|z| f64::from(noise.at(z, y, x))).filter(|s| !s.is_nan()).collect();
            (median_f64(column).unwrap_or(f64::NAN) * factor) as f32
        };
        Some((0..seen.len()).map(|x| if seen[x] { one(x) } else { f32::NAN }).collect())
    }

    /// By how much the correlation of channels raises the error of a sum over `limit_width`.
    fn limit_correlation(&self) -> f64 {
        if self.options.compat == Compat::Phangs {
            return 1.0;
        }
        let n = (self.options.limit_width.0 / self.frame.dv).max(1.0);
        let sum: f64 = self.frame.correlation.iter().enumerate().skip(1).map(|(k, c)| 2.0 * c * (1.0 - k as f64 / n).max(0.0)).sum();
        (1.0 + sum).max(0.0).sqrt()
    }
}

fn same_mask(a: Option<&Mask>, b: Option<&Mask>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => std::ptr::eq(a, b),
        _ => false,
    }
}

/// Pixels of one row with a value in any channel.
fn observed(block: &ArrayView3<'_, f32>, i_row: usize, seen: &mut [bool]) {
    seen.fill(false);
    for z in 0..block.dim().0 {
        if z % 8 == 0 && z > 0 && seen.iter().all(|s| *s) {
            return;
        }
        seen.iter_mut().zip(block.slice(ndarray::s![z, i_row, ..])).for_each(|(s, v)| *s |= v.is_finite());
    }
}

impl RowLines {
    fn gather(&mut self, block: &ArrayView3<'_, f32>, (i_row, y): (usize, usize), mask: Option<&Mask>, noise: Option<&Noise>) {
        let (nc, _, nx) = block.dim();
        let each = |z: usize, f: &mut dyn FnMut(usize, f32)| {
            let row = block.slice(ndarray::s![z, i_row, ..]);
            let mut put = |x: usize| {
                if row[x].is_finite() {
                    f(x, row[x]);
                }
            };
            match mask {
                Some(m) => m.columns(z, y).for_each(&mut put),
                None => (0..nx).for_each(&mut put),
            }
        };
        // Count, then place: the voxels of a sight line lie side by side, in the order of channels.
        self.start.clear();
        self.start.resize(nx + 1, 0);
        for z in 0..nc {
            each(z, &mut |x, _| self.start[x + 1] += 1);
        }
        for x in 0..nx {
            self.start[x + 1] += self.start[x];
        }
        let n = self.start[nx] as usize;
        self.z.resize(n, 0);
        self.t.resize(n, 0.0);
        self.s.resize(n, 0.0);
        if n == 0 {
            return;
        }
        let mut next: Vec<u32> = self.start[..nx].to_vec();
        for z in 0..nc {
            each(z, &mut |x, v| {
                let i = next[x] as usize;
                next[x] += 1;
                self.z[i] = z as u32;
                self.t[i] = f64::from(v);
                self.s[i] = noise.map_or(f64::NAN, |n| f64::from(n.at(z, y, x)));
            });
        }
    }

    fn at(&self, x: usize) -> Sightline<'_> {
        let r = self.start[x] as usize..self.start[x + 1] as usize;
        Sightline { z: &self.z[r.clone()], t: &self.t[r.clone()], s: &self.s[r] }
    }
}

/// Cards that a map keeps of its cube.
fn map_meta(info: &CubeInfo) -> crate::data::Meta {
    const KEPT: &[&str] = &["JYTOK", "TELESCOP", "INSTRUME", "ORIGIN", "OBJECT", "TIMESYS", "MJDREF", "MJDREFI", "MJDREFF", "DATEREF"];
    let mut meta = crate::data::Meta::default();
    meta.cards = info.meta.cards.iter().filter(|c| KEPT.contains(&c.key.as_str())).cloned().collect();
    meta.history = info.meta.history.clone();
    meta
}

fn map_image(info: &CubeInfo, data: Array2<f32>, kind: MapKind, error: bool, dv_kms: f64, options: &MapOptions) -> Result<Image> {
    let mut image = info.image(data, kind.unit(&info.unit))?;
    let btype = if error { format!("{} Error", kind.btype()) } else { kind.btype().to_string() };
    image.meta = map_meta(info);
    image.meta.set("BTYPE", CardValue::Text(btype.clone()), "");
    image.meta.set("CHANWDTH", CardValue::Real(dv_kms * 1e3), "[m/s] Median channel width");
    image.meta.add_comment(format!("{btype} generated by collapsing cube over {} axis.", info.spectral().kind().code()));
    image.meta.add_comment(match options.compat {
        Compat::Phangs => "Errors and conventions as PHANGS-ALMA pipeline v3 (compat=phangs)",
        Compat::None => "Errors by propagation of the noise, corrected formulas (compat=none)",
    });
    if error && options.compat == Compat::None {
        kind.validity().iter().for_each(|line| image.meta.add_comment(*line));
    }
    Ok(image)
}
