//! The estimate: a map from overlapping boxes, a spectrum from overlapping slabs of channels, in turn.

use std::ops::Range;

use ndarray::{Array2, Array3, ArrayView3};
use rayon::prelude::*;

use super::planes::slab_noise;
use super::robust::{Scratch, zero_centred};
use super::smooth::{Edge, savitzky_golay, spread_samples};
use super::{Noise, NoiseOptions, median_f64};
use crate::data::{Cube, CubeInfo, CubeSource, Mask};
use crate::error::{Error, Result};
use crate::notice::{Reporter, Warning};
use crate::products::{Compat, ProductsError};

/// Measures the noise of a cube as a map times a spectrum, from voxels outside `exclude`.
///
/// Every value is the zero-centred robust estimate of [`noise_scalar`] over a box of sky and all channels (map), or over a slab of
/// channels and all sky (spectrum); the data are divided by the result and the next iteration refines it.
pub fn noise(source: &dyn CubeSource, exclude: Option<&Mask>, options: &NoiseOptions, notice: &dyn Reporter) -> Result<Noise> {
    let plan = Plan::new(source, options, notice)?;
    let usable = Usable::find(source, exclude, options.compat, notice)?;
    let [nc, ny, nx] = source.info().shape();
    let (mut map, mut spectrum) = (footprint(&usable, [ny, nx]), vec![1.0; nc]);
    for i in 0..options.iterations.max(1) {
        notice.progress("noise", i as u64, options.iterations as u64);
        if options.map {
            let samples = sample_map(source, &usable, &map, &spectrum, &plan, i > 0, notice)?;
            if i == 0 && options.compat == Compat::None && samples.iter().all(|v| v.is_nan()) {
                return uniform(source, &usable, map, &plan, notice);
            }
            let fresh = fill_map(samples, &plan, options.compat, notice)?;
            map.zip_mut_with(&fresh, |m, f| *m *= f);
        }
        if options.spectrum {
            let raw = slab_noise(source, usable.mask.as_ref(), (&map, &spectrum), plan.spec_half, notice)?;
            let fresh = smooth_spectrum(raw, &plan, options);
            spectrum.iter_mut().zip(&fresh).for_each(|(s, f)| *s *= f);
        }
        if !options.map && !options.spectrum {
            let one = scalar(source, usable.mask.as_ref(), notice)?;
            map.mapv_inplace(|m| m * one);
            break;
        }
    }
    if spectrum.iter().any(|s| s.is_nan()) {
        fill_spectrum(&mut spectrum, options.compat);
    }
    if !map.iter().any(|m| *m > 0.0) {
        return Err(ProductsError::NoNoise.into());
    }
    Ok(Noise::separable(source.info(), map, spectrum)?)
}

/// One number for a cube whose boxes hold too few voxels each.
fn uniform(source: &dyn CubeSource, usable: &Usable, footprint: Array2<f64>, plan: &Plan, notice: &dyn Reporter) -> Result<Noise> {
    let one = scalar(source, usable.mask.as_ref(), notice)?;
    let message = format!(
        "no box of {0} x {0} pixels holds more than {1} voxels: one number, {one:.4} {2}, stands for the whole cube",
        plan.side,
        plan.min_voxels,
        source.info().unit
    );
    notice.warn(Warning::new("noise-uniform", message).hint("a larger box_pixels or a smaller min_voxels measures a map"));
    let n_chan = source.info().n_chan();
    Ok(Noise::separable(source.info(), footprint.mapv(|m| m * one), vec![1.0; n_chan])?)
}

/// One number for the noise of a cube or a part of it: 1.4826 times the median of |x|, first over negative values, then over
/// values below the threshold that one noise value in twice their number would exceed.
pub fn noise_scalar(source: &dyn CubeSource, exclude: Option<&Mask>, notice: &dyn Reporter) -> Result<f64> {
    let usable = Usable::find(source, exclude, Compat::None, notice)?;
    scalar(source, usable.mask.as_ref(), notice)
}

/// Whether a noise can be measured at all: not in a model, a coverage, or a response.
pub fn has_noise(source: &dyn CubeSource, exclude: Option<&Mask>, notice: &dyn Reporter) -> Result<bool> {
    let usable = Usable::find(source, exclude, Compat::None, notice)?;
    Ok(scalar_or_nan(source, usable.mask.as_ref(), notice)? > 0.0)
}

/// Noise of a cube whose sensitivity over the sky is known: one number over `gain`, the response that the data were divided by.
///
/// The number is the [`noise_scalar`] of the data times the gain, unless `sigma` gives it. `gain` has the channels of the data or one.
pub fn noise_from_gain(
    source: &dyn CubeSource,
    gain: &dyn CubeSource,
    exclude: Option<&Mask>,
    sigma: Option<f64>,
    notice: &dyn Reporter,
) -> Result<Noise> {
    let ([nc, ny, nx], found) = (source.info().shape(), gain.info().shape());
    if found[1..] != [ny, nx] || (found[0] != nc && found[0] != 1) {
        return Err(ProductsError::Grid { what: "gain", found: found.to_vec(), expected: vec![nc, ny, nx] }.into());
    }
    let sigma = match sigma {
        Some(s) => s,
        None => noise_scalar(&Flat { source, gain }, exclude, notice)?,
    };
    let over = |g: &f32| if *g > 0.0 { sigma / f64::from(*g) } else { f64::NAN };
    let mut buffer = Vec::new();
    let map = gain.plane(0, &mut buffer)?.map(over);
    let mut cube: Option<Array3<f32>> = None;
    for z in 1..found[0] {
        notice.check()?;
        let plane = gain.plane(z, &mut buffer)?.map(over);
        let same = plane.iter().zip(&map).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()));
        if cube.is_none() && !same {
            // All channels so far were alike.
            cube = Some(Array3::from_shape_fn((nc, ny, nx), |(_, y, x)| map[[y, x]] as f32));
        }
        if let Some(cube) = &mut cube {
            cube.index_axis_mut(ndarray::Axis(0), z).assign(&plane.mapv(|v| v as f32));
        }
    }
    match cube {
        Some(cube) => Ok(Noise::from_cube(Cube::new(source.info().clone(), cube)?)),
        None => Ok(Noise::separable(source.info(), map, vec![1.0; nc])?),
    }
}

/// Data times their gain: of even noise.
struct Flat<'a> {
    source: &'a dyn CubeSource,
    gain: &'a dyn CubeSource,
}

impl CubeSource for Flat<'_> {
    fn info(&self) -> &CubeInfo {
        self.source.info()
    }
    fn block<'a>(&'a self, chan: Range<usize>, y: Range<usize>, buffer: &'a mut Vec<f32>) -> Result<ArrayView3<'a, f32>> {
        let (mut data, mut gain) = (Vec::new(), Vec::new());
        let of_gain = if self.gain.info().n_chan() == 1 { 0..1 } else { chan.clone() };
        let gain = self.gain.block(of_gain, y.clone(), &mut gain)?;
        let data = self.source.block(chan.clone(), y.clone(), &mut data)?;
        buffer.clear();
        for (i, plane) in data.outer_iter().enumerate() {
            let gain = gain.index_axis(ndarray::Axis(0), i.min(gain.dim().0 - 1));
            buffer.extend(plane.iter().zip(gain).map(|(v, g)| if *g > 0.0 { v * g } else { f32::NAN }));
        }
        ArrayView3::from_shape((chan.len(), y.len(), self.info().nx()), &buffer[..]).map_err(|e| Error::internal(e.to_string()))
    }
}

fn scalar(source: &dyn CubeSource, usable: Option<&Mask>, notice: &dyn Reporter) -> Result<f64> {
    let value = scalar_or_nan(source, usable, notice)?;
    if value > 0.0 { Ok(value) } else { Err(ProductsError::NoNoise.into()) }
}

fn scalar_or_nan(source: &dyn CubeSource, usable: Option<&Mask>, notice: &dyn Reporter) -> Result<f64> {
    let [nc, ny, nx] = source.info().shape();
    let (map, spectrum) = (Array2::ones((ny, nx)), vec![1.0; nc]);
    Ok(slab_noise(source, usable, (&map, &spectrum), nc, notice)?[0])
}

/// Sizes of boxes, strides and windows.
#[derive(Debug)]
struct Plan {
    /// Pixels; 0 for every pixel alone.
    side: usize,
    substride: usize,
    step: usize,
    spec_half: usize,
    /// 0 for no smoothing.
    window: usize,
    min_voxels: usize,
}

impl Plan {
    fn new(source: &dyn CubeSource, o: &NoiseOptions, notice: &dyn Reporter) -> Result<Plan> {
        let info = source.info();
        let ppb = info.pixels_per_beam().unwrap_or_else(|| {
            let message = "the cube has no beam; the noise boxes are made for a beam of 4 pixels".to_string();
            notice.warn(Warning::new("no-beam", message).hint("give box_pixels, or the beam when reading the cube"));
            4.0f64.powi(2) * std::f64::consts::PI / (4.0 * std::f64::consts::LN_2)
        });
        let side = o.box_pixels.unwrap_or((2.5 * ppb.sqrt()).ceil() as usize);
        let automatic = ((4.0 * ppb / std::f64::consts::PI).sqrt() / 2.5).floor() as usize;
        let n_chan = info.n_chan();
        // ceil(n / 5) // 2 * 2 + 1: the odd number at or above the even part of a fifth of the channels.
        let window = o.smooth_window.unwrap_or(n_chan.div_ceil(5) / 2 * 2 + 1);
        if window > 0 && window % 2 == 0 {
            return Err(ProductsError::Option {
                name: "smooth_window",
                value: window.to_string(),
                expected: "an odd number of channels, or 0",
            }
            .into());
        }
        if o.spec_box == 0 {
            return Err(ProductsError::Option { name: "spec_box", value: "0".into(), expected: "at least 1 channel" }.into());
        }
        Ok(Plan {
            side,
            substride: o.substride.unwrap_or(automatic).max(1),
            step: ((side as f64 / 2.5).floor() as usize).max(1),
            spec_half: o.spec_box / 2,
            window,
            min_voxels: o.min_voxels,
        })
    }
}

/// Which voxels count; `None` where all do.
struct Usable {
    mask: Option<Mask>,
    /// Pixels with a usable voxel in any channel, and with noise.
    any: Mask,
}

impl Usable {
    fn find(source: &dyn CubeSource, exclude: Option<&Mask>, compat: Compat, notice: &dyn Reporter) -> Result<Usable> {
        let [nc, ny, nx] = source.info().shape();
        let mut finite = finite_mask(source, notice)?;
        let all = finite.count() == (nc * ny * nx) as u64;
        let seen = finite.any_channel();
        if !all {
            let whole = finite.clone();
            erode_beside_blanks(&mut finite);
            // Where every voxel touches a blank, those beside blanks are all there is.
            if compat == Compat::None && finite.is_empty() {
                finite = whole;
            }
        }
        let any = if compat == Compat::Phangs { finite.any_channel() } else { seen };
        if let Some(exclude) = exclude {
            if exclude.shape() != finite.shape() {
                let (found, expected) = (exclude.shape().to_vec(), finite.shape().to_vec());
                return Err(ProductsError::Grid { what: "mask", found, expected }.into());
            }
            finite.minus(exclude)?;
        }
        if finite.is_empty() {
            return Err(ProductsError::AllBlank((nc * ny * nx) as u64).into());
        }
        Ok(Usable { mask: (!all || exclude.is_some()).then_some(finite), any })
    }
}

/// Finite voxels.
pub(crate) fn finite_mask(source: &dyn CubeSource, notice: &dyn Reporter) -> Result<Mask> {
    let shape = source.info().shape();
    let mut mask = Mask::empty(shape);
    let plane_words = shape[1] * mask.row_words();
    mask.words_mut().par_chunks_mut(plane_words).enumerate().try_for_each(|(z, words)| -> Result<()> {
        notice.check()?;
        let mut buffer = Vec::new();
        crate::data::finite_plane(source.plane(z, &mut buffer)?, words);
        Ok(())
    })?;
    Ok(mask)
}

/// Removes voxels that touch a blank one by a face or an edge (not by a corner); beyond the cube nothing is blank.
pub(super) fn erode_beside_blanks(finite: &mut Mask) {
    let [nc, ny, _] = finite.shape();
    let old = finite.clone();
    let words = old.row_words();
    let nx = old.shape()[2];
    // A row with one column more on either side: bits of neighbours in x, 1 beyond the ends.
    let beside = |row: &[u64], out: &mut [u64]| {
        for i in 0..words {
            let valid = crate::data::valid_bits(nx, i);
            let w = row[i] | !valid;
            let before = if i == 0 { 1 } else { row[i - 1] >> 63 };
            let after = if i + 1 == words { 1 } else { row[i + 1] & 1 };
            out[i] &= (w << 1 | before) & (w >> 1 | after << 63);
        }
    };
    let mut plane = vec![0; words];
    for z in 0..nc {
        for y in 0..ny {
            plane.fill(u64::MAX);
            for (dz, dy) in [(0i64, 0i64), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)] {
                let (zz, yy) = (z as i64 + dz, y as i64 + dy);
                if zz < 0 || yy < 0 || zz >= nc as i64 || yy >= ny as i64 {
                    continue;
                }
                let row = old.row(zz as usize, yy as usize);
                plane.iter_mut().zip(row).for_each(|(p, r)| *p &= r);
                if dz == 0 || dy == 0 {
                    beside(row, &mut plane);
                }
            }
            finite.row_mut(z, y).copy_from_slice(&plane);
        }
    }
}

/// 1 on pixels that get a noise, NaN elsewhere.
fn footprint(usable: &Usable, [ny, nx]: [usize; 2]) -> Array2<f64> {
    Array2::from_shape_fn((ny, nx), |(y, x)| if usable.any.get(0, y, x) { 1.0 } else { f64::NAN })
}

/// Bytes of a strip of rows over all channels that one thread holds.
const STRIP_BYTES: usize = 16 << 20;

/// The noise in boxes around sampled pixels, NaN elsewhere.
fn sample_map(
    source: &dyn CubeSource,
    usable: &Usable,
    map: &Array2<f64>,
    spectrum: &[f64],
    plan: &Plan,
    normalised: bool,
    notice: &dyn Reporter,
) -> Result<Array2<f64>> {
    let [nc, ny, nx] = source.info().shape();
    let n_valid = usable.any.count() as f64;
    // At least 20 samples across the field: small maps step by single pixels.
    let limit = (n_valid.sqrt().ceil() / 20.0).floor() as usize;
    let (half, step) = if plan.side == 0 { (0, 1) } else { (plan.side / 2, plan.step.min(limit).max(1)) };
    let centers = |n: usize| -> Vec<usize> {
        let list: Vec<usize> = (half..n).step_by(step).collect();
        // A field narrower than half a box still has a middle.
        if list.is_empty() { vec![n / 2] } else { list }
    };
    let (ys, xs) = (centers(ny), centers(nx));
    let row_bytes = nc * nx * 4;
    let rows = (STRIP_BYTES / row_bytes.max(1)).max(1);
    let per_strip = rows.saturating_sub(2 * half).div_ceil(step).max(1);
    let inverse_map = map.mapv(|m| (1.0 / m) as f32);
    let inverse_spectrum: Vec<f32> = spectrum.iter().map(|s| (1.0 / s) as f32).collect();
    let strips: Vec<Vec<(usize, Vec<f64>)>> = ys
        .par_chunks(per_strip)
        .map_init(StripBuffers::default, |b, chunk| {
            notice.check()?;
            let (lo, hi) = (chunk[0].saturating_sub(half), (chunk[chunk.len() - 1] + half + 1).min(ny));
            let strip = Strip::read(source, usable, lo..hi, (&inverse_map, &inverse_spectrum), b)?;
            let mut guess = if normalised { 1.0 } else { f32::NAN };
            let mut out = Vec::with_capacity(chunk.len());
            for y in chunk {
                let mut line = Vec::with_capacity(xs.len());
                for x in &xs {
                    let sigma = strip.box_noise((*y, *x), half, plan, guess, &mut b.scratch, &mut b.values);
                    if sigma.is_finite() && !normalised {
                        guess = sigma as f32;
                    }
                    line.push(sigma);
                }
                out.push((*y, line));
            }
            b.spectra = strip.spectra;
            Ok(out)
        })
        .collect::<Result<_>>()?;
    let mut samples = Array2::from_elem((ny, nx), f64::NAN);
    for (y, line) in strips.into_iter().flatten() {
        for (x, sigma) in xs.iter().zip(line) {
            if usable.any.get(0, y, *x) {
                samples[[y, *x]] = sigma;
            }
        }
    }
    Ok(samples)
}

/// Rows of the normalised data, NaN where not usable: pixel after pixel, each with all its channels, as boxes take them.
struct Strip {
    first_row: usize,
    n_chan: usize,
    n_x: usize,
    n_rows: usize,
    spectra: Vec<f32>,
    has_blanks: bool,
}

/// Buffers of one thread, so that no strip asks for memory anew.
#[derive(Default)]
struct StripBuffers {
    block: Vec<f32>,
    spectra: Vec<f32>,
    values: Vec<f32>,
    scratch: Scratch,
}

/// Side of the tiles in which the data are turned: both sides of a tile stay in the fastest cache.
const TILE: usize = 16;

impl Strip {
    fn read(
        source: &dyn CubeSource,
        usable: &Usable,
        rows: Range<usize>,
        (inverse_map, inverse_spectrum): (&Array2<f32>, &[f32]),
        b: &mut StripBuffers,
    ) -> Result<Strip> {
        let [n_chan, _, n_x] = source.info().shape();
        let block = source.block(0..n_chan, rows.clone(), &mut b.block)?;
        let mut spectra = std::mem::take(&mut b.spectra);
        spectra.resize(rows.len() * n_x * n_chan, 0.0);
        let mut tile = vec![0.0f32; TILE * n_x];
        for (y, out) in spectra.chunks_exact_mut(n_x * n_chan).enumerate() {
            for z0 in (0..n_chan).step_by(TILE) {
                let n_z = TILE.min(n_chan - z0);
                for (z, line) in (z0..z0 + n_z).zip(tile.chunks_exact_mut(n_x)) {
                    let s = inverse_spectrum[z];
                    let row = block.slice(ndarray::s![z, y, ..]);
                    line.iter_mut().zip(row).zip(inverse_map.row(rows.start + y)).for_each(|((t, v), m)| *t = v * (m * s));
                    if let Some(mask) = &usable.mask {
                        blank_outside(line.iter_mut(), mask.row(z, rows.start + y));
                    }
                }
                for (x, spectrum) in out.chunks_exact_mut(n_chan).enumerate() {
                    spectrum[z0..z0 + n_z].iter_mut().enumerate().for_each(|(z, v)| *v = tile[z * n_x + x]);
                }
            }
        }
        let has_blanks = usable.mask.is_some() || inverse_map.iter().chain(inverse_spectrum).any(|v| v.is_nan());
        Ok(Strip { first_row: rows.start, n_chan, n_x, n_rows: rows.len(), spectra, has_blanks })
    }

    fn box_noise(&self, (y, x): (usize, usize), half: usize, plan: &Plan, guess: f32, scratch: &mut Scratch, values: &mut Vec<f32>) -> f64 {
        let (y, sub) = (y - self.first_row, if half == 0 { 1 } else { plan.substride });
        let (y0, y1) = (y.saturating_sub(half), (y + half + 1).min(self.n_rows));
        let (x0, x1) = (x.saturating_sub(half), (x + half + 1).min(self.n_x));
        values.clear();
        for j in (y0..y1).step_by(sub) {
            for i in (x0..x1).step_by(sub) {
                let at = (j * self.n_x + i) * self.n_chan;
                values.extend_from_slice(&self.spectra[at..at + self.n_chan]);
            }
        }
        if self.has_blanks {
            let mut n = 0;
            for i in 0..values.len() {
                values[n] = values[i];
                n += usize::from(!values[i].is_nan());
            }
            values.truncate(n);
        }
        let enough = if plan.side == 0 { !values.is_empty() } else { values.len() > plan.min_voxels };
        if enough { zero_centred(values, guess, scratch) } else { f64::NAN }
    }
}

/// Sets to NaN what the mask leaves out.
pub(super) fn blank_outside<'a>(row: impl Iterator<Item = &'a mut f32>, mask: &[u64]) {
    for (x, v) in row.enumerate() {
        if mask[x / 64] >> (x % 64) & 1 == 0 {
            *v = f32::NAN;
        }
    }
}

/// Spreads the samples over the whole map.
fn fill_map(samples: Array2<f64>, plan: &Plan, compat: Compat, notice: &dyn Reporter) -> Result<Array2<f64>> {
    if samples.iter().all(|v| v.is_nan()) {
        return Err(ProductsError::TooFew { found: plan.min_voxels, needed: plan.min_voxels }.into());
    }
    notice.check()?;
    if plan.side == 0 {
        return Ok(samples);
    }
    let sigma = plan.side as f64 / (8.0 * std::f64::consts::LN_2).sqrt();
    let edge = if compat == Compat::Phangs { Edge::Wrapped { pad: plan.side } } else { Edge::Open };
    Ok(spread_samples(&samples, sigma, edge))
}

/// Smooths the spectrum and gives it a median of 1, so that the map carries the level.
fn smooth_spectrum(raw: Vec<f64>, plan: &Plan, o: &NoiseOptions) -> Vec<f64> {
    if plan.window == 0 && o.compat == Compat::Phangs {
        return raw;
    }
    // Too few channels for the filter: the raw spectrum, where the PHANGS code stops.
    let smooth = if plan.window > o.smooth_order { savitzky_golay(&raw, plan.window, o.smooth_order) } else { raw };
    if !o.map {
        return smooth;
    }
    let middle = median_f64(smooth.iter().copied().filter(|v| !v.is_nan()).collect()).unwrap_or(1.0);
    smooth.into_iter().map(|v| v / middle).collect()
}

/// Channels without an estimate of their own take their neighbours' between which they lie.
fn fill_spectrum(spectrum: &mut [f64], compat: Compat) {
    if compat == Compat::Phangs {
        return;
    }
    let known: Vec<usize> = (0..spectrum.len()).filter(|i| !spectrum[*i].is_nan()).collect();
    let old = spectrum.to_vec();
    for (i, s) in spectrum.iter_mut().enumerate().filter(|(_, s)| s.is_nan()) {
        let before = known.iter().rev().find(|k| **k < i);
        let after = known.iter().find(|k| **k > i);
        *s = match (before, after) {
            (Some(a), Some(b)) => old[*a] + (old[*b] - old[*a]) * (i - a) as f64 / (b - a) as f64,
            (Some(a), None) | (None, Some(a)) => old[*a],
            (None, None) => f64::NAN,
        };
    }
}
