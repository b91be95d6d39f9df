//! Spectra moved to a common velocity, and their means.

use ndarray::{Array2, Array3, ArrayView3};
use num_complex::Complex;
use rayon::prelude::*;
use realfft::RealFftPlanner;

use super::{Noise, ProductsError};
use crate::data::{Cube, CubeInfo, CubeSource, Image, Mask, RowSink};
use crate::error::{Error, Result};
use crate::notice::Reporter;
use crate::sky::SpectralAxis;

/// A cube whose channels count velocity from that of each pixel: channel n/2 is 0 km/s.
///
/// Spectra move by fractions of a channel (Fourier shift). Blanks count as 0 and move along; channels that wrap around, and pixels
/// without a velocity, are blank.
pub fn shuffle(source: &dyn CubeSource, field: &Image, notice: &dyn Reporter) -> Result<Cube> {
    let info = shuffled_info(source.info())?;
    let mut data = Rows(Array3::zeros(info.shape()));
    shuffle_into(source, field, &mut data, notice)?;
    Ok(Cube::new(info, data.0)?)
}

struct Rows(Array3<f32>);

impl RowSink for Rows {
    fn put_rows(&mut self, first: usize, rows: ArrayView3<'_, f32>) -> Result<()> {
        let n = rows.dim().1;
        self.0.slice_mut(ndarray::s![.., first..first + n, ..]).assign(&rows);
        Ok(())
    }
}

/// Bytes of the rows that one thread holds.
const STRIP_BYTES: usize = 4 << 20;

/// As [`shuffle`], handing rows on as they are made: neither cube is in memory. Its grid is that of [`shuffled_info`].
pub fn shuffle_into(source: &dyn CubeSource, field: &Image, sink: &mut dyn RowSink, notice: &dyn Reporter) -> Result<()> {
    let info = source.info();
    let [nc, ny, nx] = info.shape();
    if (field.ny(), field.nx()) != (ny, nx) {
        let found = vec![1, field.ny(), field.nx()];
        return Err(ProductsError::Grid { what: "velocity field", found, expected: info.shape().to_vec() }.into());
    }
    let velocity = info.spectral().velocities_kms()?;
    let shifter = Shifter::new(nc);
    let n_rows = (STRIP_BYTES / (4 * nc * nx)).clamp(1, 64);
    let strip = |first: usize| -> Result<Array3<f32>> {
        let (mut work, mut buffer) = (shifter.workspace(), Vec::new());
        let rows = first..(first + n_rows).min(ny);
        let block = source.block(0..nc, rows.clone(), &mut buffer)?;
        let mut out = Array3::from_elem((nc, rows.len(), nx), f32::NAN);
        for (i, y) in rows.enumerate() {
            notice.check()?;
            for x in 0..nx {
                let v = f64::from(field.data()[[y, x]]);
                if v.is_finite() {
                    let shift = (nc / 2) as f64 - channel_at(&velocity, v);
                    shifter.shift(block.slice(ndarray::s![.., i, x]), shift, &mut work, out.slice_mut(ndarray::s![.., i, x]));
                }
            }
        }
        Ok(out)
    };
    let firsts: Vec<usize> = (0..ny).step_by(n_rows).collect();
    for batch in firsts.chunks(rayon::current_num_threads()) {
        notice.progress("shuffle", batch[0] as u64, ny as u64);
        let strips: Vec<Array3<f32>> = batch.par_iter().map(|first| strip(*first)).collect::<Result<_>>()?;
        batch.iter().zip(&strips).try_for_each(|(first, rows)| sink.put_rows(*first, rows.view()))?;
    }
    Ok(())
}

/// The grid of a shuffled cube: the velocity of each pixel is 0 km/s, at channel n/2.
pub fn shuffled_info(info: &CubeInfo) -> Result<CubeInfo> {
    let (old, nc) = (info.spectral(), info.n_chan());
    let velocity = old.velocities_kms()?;
    let step = if old.kind().is_velocity() { old.cdelt() } else { (velocity[nc.saturating_sub(1).min(1)] - velocity[0]) * 1e3 };
    let mut axis = SpectralAxis::new(old.velocity_kind(), 0.0, if step == 0.0 { 1e3 } else { step }, (nc / 2) as f64 + 1.0, nc)?
        .with_frame(old.frame());
    if let Some(rest) = old.rest_hz() {
        axis = axis.with_rest(rest)?;
    }
    Ok(info.clone().with_spectral(axis)?)
}

/// Channel of a velocity, by linear interpolation; beyond the ends the end channel.
fn channel_at(velocity: &[f64], v: f64) -> f64 {
    let n = velocity.len();
    let up = n < 2 || velocity[n - 1] > velocity[0];
    let value = |i: usize| if up { velocity[i] } else { velocity[n - 1 - i] };
    let i = (0..n).position(|i| value(i) >= v);
    let at = match i {
        Some(0) => 0.0,
        Some(i) => (i - 1) as f64 + (v - value(i - 1)) / (value(i) - value(i - 1)),
        None => (n - 1) as f64,
    };
    if up { at } else { (n - 1) as f64 - at }
}

/// Plans of the transforms of one spectrum.
struct Shifter {
    n: usize,
    forward: std::sync::Arc<dyn realfft::RealToComplex<f64>>,
    inverse: std::sync::Arc<dyn realfft::ComplexToReal<f64>>,
}

struct Work {
    line: Vec<f64>,
    spectrum: Vec<Complex<f64>>,
    scratch: Vec<Complex<f64>>,
}

impl Shifter {
    fn new(n: usize) -> Shifter {
        let mut planner = RealFftPlanner::new();
        Shifter { n, forward: planner.plan_fft_forward(n), inverse: planner.plan_fft_inverse(n) }
    }

    fn workspace(&self) -> Work {
        let zero = Complex::new(0.0, 0.0);
        let scratch = self.forward.get_scratch_len().max(self.inverse.get_scratch_len());
        Work { line: vec![0.0; self.n], spectrum: vec![zero; self.n / 2 + 1], scratch: vec![zero; scratch] }
    }

    /// Moves `work.line` up by `shift` channels, around the end.
    fn turn(&self, shift: f64, w: &mut Work) {
        // Lengths come from the plan, so the transforms cannot refuse them.
        let _ = self.forward.process_with_scratch(&mut w.line, &mut w.spectrum, &mut w.scratch);
        // Phases by multiplication: 1e-14 off after hundreds of channels.
        let step = Complex::from_polar(1.0, -std::f64::consts::TAU * shift / self.n as f64);
        let mut phase = Complex::new(1.0 / self.n as f64, 0.0);
        for c in &mut w.spectrum {
            *c *= phase;
            phase *= step;
        }
        w.spectrum[0].im = 0.0;
        if self.n % 2 == 0
            && let Some(last) = w.spectrum.last_mut()
        {
            last.im = 0.0;
        }
        let _ = self.inverse.process_with_scratch(&mut w.spectrum, &mut w.line, &mut w.scratch);
    }

    fn shift(&self, spectrum: ndarray::ArrayView1<'_, f32>, shift: f64, w: &mut Work, mut out: ndarray::ArrayViewMut1<'_, f32>) {
        let n = self.n as f64;
        let blanks = spectrum.iter().filter(|v| v.is_nan()).count();
        if blanks == self.n {
            return;
        }
        w.line.iter_mut().zip(spectrum).for_each(|(l, v)| *l = if v.is_nan() { 0.0 } else { f64::from(*v) });
        self.turn(shift, w);
        out.iter_mut().zip(&w.line).for_each(|(o, l)| *o = *l as f32);
        if blanks > 0 {
            w.line.iter_mut().zip(spectrum).for_each(|(l, v)| *l = f64::from(u8::from(v.is_nan())));
            self.turn(shift, w);
            out.iter_mut().zip(&w.line).for_each(|(o, l)| {
                if *l > 0.5 {
                    *o = f32::NAN
                }
            });
        }
        for (i, o) in out.iter_mut().enumerate() {
            let i = i as f64;
            let wrapped = if shift >= 0.0 { i <= shift } else { i >= n + shift - 1.0 };
            if wrapped {
                *o = f32::NAN;
            }
        }
    }
}

/// The mean spectrum of a group of pixels, and its error.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct StackedSpectrum {
    /// The label of the pixels.
    pub label: i64,
    /// Pixels with a velocity.
    pub n_pixels: usize,
    /// Velocity of each channel, km/s, from that of the pixels.
    pub velocity_kms: Vec<f64>,
    /// Mean, in the unit of the cube; NaN where no pixel has the channel.
    pub mean: Vec<f64>,
    /// Error of the mean: pixels of one beam count once; NaN without noise.
    pub error: Vec<f64>,
    /// Sum of the weights of each channel.
    pub weight: Vec<f64>,
}

/// Spectra moved to the velocity of their pixel and averaged by label; pixels with a blank label or velocity are left out.
///
/// `labels` are rounded to integers. `weights` (1 where `None`) multiply pixels.
pub fn stack(
    source: &dyn CubeSource,
    field: &Image,
    labels: &Image,
    weights: Option<&Image>,
    noise: Option<&Noise>,
    notice: &dyn Reporter,
) -> Result<Vec<StackedSpectrum>> {
    let info = source.info();
    let [nc, ny, nx] = info.shape();
    for (what, image) in [("labels", Some(labels)), ("weights", weights)] {
        if let Some(i) = image.filter(|i| (i.ny(), i.nx()) != (ny, nx)) {
            return Err(ProductsError::Grid { what, found: vec![1, i.ny(), i.nx()], expected: vec![nc, ny, nx] }.into());
        }
    }
    let moved = shuffle(source, field, notice)?;
    let velocity_kms = moved.info().spectral().velocities_kms()?;
    let ppb = info.pixels_per_beam().unwrap_or(1.0).max(1.0);
    let mut groups: std::collections::BTreeMap<i64, Vec<(usize, usize, f64)>> = std::collections::BTreeMap::new();
    for ((y, x), l) in labels.data().indexed_iter() {
        let w = weights.map_or(1.0, |w| f64::from(w.data()[[y, x]]));
        if l.is_finite() && field.data()[[y, x]].is_finite() && w.is_finite() && w > 0.0 {
            groups.entry(l.round() as i64).or_default().push((y, x, w));
        }
    }
    let sigma = noise.map(|n| n.map()).transpose()?;
    Ok(groups
        .into_iter()
        .map(|(label, pixels)| {
            let mut out = StackedSpectrum {
                label,
                n_pixels: pixels.len(),
                velocity_kms: velocity_kms.clone(),
                mean: vec![f64::NAN; nc],
                error: vec![f64::NAN; nc],
                weight: vec![0.0; nc],
            };
            for z in 0..nc {
                let (mut sum, mut weight, mut variance, mut n) = (0.0, 0.0, 0.0, 0usize);
                for (y, x, w) in &pixels {
                    let v = f64::from(moved.data()[[z, *y, *x]]);
                    if v.is_nan() {
                        continue;
                    }
                    sum += w * v;
                    weight += w;
                    n += 1;
                    if let Some(s) = &sigma {
                        variance += (w * f64::from(s.data()[[*y, *x]])).powi(2);
                    }
                }
                if weight > 0.0 {
                    out.mean[z] = sum / weight;
                    out.weight[z] = weight;
                    if sigma.is_some() {
                        out.error[z] = (variance * ppb.min(n as f64)).sqrt() / weight;
                    }
                }
            }
            out
        })
        .collect())
}

/// As [`stack`], of the pixels of a mask of one channel.
pub fn stack_mask(
    source: &dyn CubeSource,
    field: &Image,
    pixels: &Mask,
    noise: Option<&Noise>,
    notice: &dyn Reporter,
) -> Result<StackedSpectrum> {
    let [_, ny, nx] = source.info().shape();
    if pixels.shape() != [1, ny, nx] {
        return Err(ProductsError::Grid { what: "mask", found: pixels.shape().to_vec(), expected: vec![1, ny, nx] }.into());
    }
    let labels = Array2::from_shape_fn((ny, nx), |(y, x)| if pixels.get(0, y, x) { 1.0 } else { f32::NAN });
    let labels = Image::new(labels, source.info().sky().clone(), crate::data::Unit::none())?;
    let mut all = stack(source, field, &labels, None, noise, notice)?;
    all.pop().ok_or_else(|| Error::from(ProductsError::Missing("no pixel of the mask has a velocity".into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Unit;
    use crate::fits::{ReadOptions, read_cube, read_image};
    use crate::notice::Quiet;
    use crate::products::testing::info_of;
    use crate::testdata::shared;

    fn gaussian(v: f64, v0: f64) -> f32 {
        (3.0 * (-0.5 * ((v - v0) / 6.0).powi(2)).exp()) as f32
    }

    /// Lines at any velocity, on either direction of the axis, come to 0 with their shape, to 1e-4 of the peak.
    #[test]
    fn every_line_comes_to_zero() {
        for step in [2500.0, -2500.0] {
            let info = info_of([48, 2, 5], None);
            let axis = SpectralAxis::new(crate::sky::SpectralKind::Radio, if step > 0.0 { -60e3 } else { 60e3 }, step, 1.0, 48).unwrap();
            let info = info.with_spectral(axis).unwrap();
            let field = Array2::from_shape_fn((2, 5), |(y, x)| -11.3 + 4.7 * (x + 5 * y) as f32 * 0.5);
            let v = info.spectral().velocities_kms().unwrap();
            let data = Array3::from_shape_fn((48, 2, 5), |(z, y, x)| gaussian(v[z], f64::from(field[[y, x]])));
            let cube = Cube::new(info.clone(), data).unwrap();
            let image = Image::new(field, info.sky().clone(), Unit::new("km/s")).unwrap();
            let out = shuffle(&cube, &image, &Quiet::default()).unwrap();
            let w = out.info().spectral().velocities_kms().unwrap();
            assert_eq!(w[24], 0.0);
            for ((z, y, x), a) in out.data().indexed_iter() {
                assert!(a.is_nan() || (a - gaussian(w[z], 0.0)).abs() < 3e-4, "{z} {y} {x}: {a}");
            }
            let labels = image.with_data(Array2::from_shape_fn((2, 5), |(y, _)| y as f32), Unit::none()).unwrap();
            let stacks = stack(&cube, &image, &labels, None, Some(&Noise::uniform(&info, 0.2)), &Quiet::default()).unwrap();
            assert_eq!(stacks.len(), 2);
            assert!((stacks[1].mean[24] - 3.0).abs() < 1e-3 && (stacks[0].error[24] - 0.2 / 5f64.sqrt()).abs() < 1e-6);
        }
    }

    /// PHANGS pipeline v3, `s64_shuffled.fits`; pixels that its reprojection of the velocity field lost are left out.
    #[test]
    fn shuffled_spectra_are_those_of_the_phangs_pipeline() {
        let path = |name: &str| shared(&format!("reference/phangs/derived_s64/{name}"));
        let (Some(cube), Some(field), Some(expected)) = (path("s64.fits"), path("s64_vfield.fits"), path("s64_shuffled.fits")) else {
            return;
        };
        let cube = read_cube(&cube, &ReadOptions::default(), &Quiet::default()).unwrap();
        let field = read_image(&field, &ReadOptions::default(), &Quiet::default()).unwrap();
        let expected = read_cube(&expected, &ReadOptions::default(), &Quiet::default()).unwrap();
        let out = shuffle(&cube, &field, &Quiet::default()).unwrap();
        assert_eq!(out.info().spectral().crpix(), expected.info().spectral().crpix());
        let (mut lost, mut compared) = (0, 0);
        for y in 0..64 {
            for x in 0..64 {
                let (a, b) = (out.data().slice(ndarray::s![.., y, x]), expected.data().slice(ndarray::s![.., y, x]));
                if b.iter().all(|v| v.is_nan()) {
                    lost += usize::from(a.iter().any(|v| !v.is_nan()));
                    continue;
                }
                compared += 1;
                for (p, q) in a.iter().zip(b) {
                    assert!(p.is_nan() == q.is_nan() && (p.is_nan() || (p - q).abs() < 1e-6), "{y} {x}: {p} {q}");
                }
            }
        }
        assert!(compared > 500 && lost < 130, "{compared} {lost}");
    }
}
