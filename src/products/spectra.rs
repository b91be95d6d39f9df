//! Spectra of regions, with errors.

use rayon::prelude::*;

use super::{Noise, ProductsError};
use crate::data::{Brightness, CubeInfo, CubeSource, Mask, Unit};
use crate::error::Result;
use crate::notice::Reporter;
use crate::units::ARCSEC;

/// What a spectrum is of the voxels of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpectrumOf {
    /// Their sum over the sky: Jy from Jy/beam, K arcsec2 from K.
    #[default]
    Sum,
    /// Their mean.
    Mean,
}

crate::options! {
    /// Options of spectra.
    pub struct SpectrumOptions {
        /// "sum" over the sky or "mean".
        [""] of: SpectrumOf = SpectrumOf::Sum,
        /// Blank voxels of the region count as 0 in the mean; they never count in the sum.
        [""] blanks_as_zero: bool = false,
    }
}

/// A spectrum with its errors.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Spectrum {
    /// Velocity of each channel, km/s.
    pub velocity_kms: Vec<f64>,
    /// Frequency of each channel, Hz, where the rest frequency is known.
    pub freq_hz: Option<Vec<f64>>,
    /// Values.
    pub value: Vec<f64>,
    /// Errors (1 sigma); NaN without noise.
    pub error: Vec<f64>,
    /// Voxels of the region with data, channel by channel.
    pub n_pixels: Vec<u64>,
    /// Unit of values and errors.
    pub unit: Unit,
    /// Width of a channel, km/s: of the only one, where there are no neighbours to tell it.
    pub channel_kms: f64,
}

impl Spectrum {
    /// Integral over velocity and its error, for independent channels, over channels with a value.
    pub fn integral(&self) -> (f64, f64) {
        let n = self.velocity_kms.len();
        let width = |i: usize| {
            let (a, b) = (i.saturating_sub(1), (i + 1).min(n - 1));
            if a == b { self.channel_kms } else { (self.velocity_kms[b] - self.velocity_kms[a]).abs() / (b - a) as f64 }
        };
        let (mut sum, mut variance) = (0.0, 0.0);
        for i in (0..n).filter(|i| self.value[*i].is_finite()) {
            sum += self.value[i] * width(i);
            variance += (self.error[i] * width(i)).powi(2);
        }
        (sum, variance.sqrt())
    }
}

/// The spectrum of a region: a mask of voxels, a mask of pixels (one channel), or everything.
///
/// Noise is taken as alike within a beam: the variance of a sum over N pixels is Σ sigma² times the pixels in a beam (at most N).
pub fn spectrum(
    source: &dyn CubeSource,
    noise: Option<&Noise>,
    region: Option<&Mask>,
    options: &SpectrumOptions,
    notice: &dyn Reporter,
) -> Result<Spectrum> {
    let info = source.info();
    let [nc, ny, nx] = info.shape();
    let flat = region.is_some_and(|m| m.shape()[0] == 1 && nc != 1);
    if let Some(m) = region.filter(|m| m.shape()[1..] != [ny, nx] || (m.shape()[0] != nc && m.shape()[0] != 1)) {
        return Err(ProductsError::Grid { what: "region", found: m.shape().to_vec(), expected: vec![nc, ny, nx] }.into());
    }
    if let Some(n) = noise.filter(|n| n.shape() != info.shape()) {
        return Err(ProductsError::Grid { what: "noise", found: n.shape().to_vec(), expected: vec![nc, ny, nx] }.into());
    }
    let ppb = info.pixels_per_beam().unwrap_or(1.0).max(1.0);
    let sums: Vec<(f64, f64, u64, u64)> = (0..nc)
        .into_par_iter()
        .map(|z| {
            notice.check()?;
            let mut buffer = Vec::new();
            let plane = source.plane(z, &mut buffer)?;
            let (mut sum, mut variance, mut n, mut all) = (0.0, 0.0, 0, 0);
            for y in 0..ny {
                let mut put = |x: usize| {
                    all += 1;
                    let v = plane[[y, x]];
                    if v.is_finite() {
                        sum += f64::from(v);
                        n += 1;
                        let s = noise.map_or(f64::NAN, |k| f64::from(k.at(z, y, x)));
                        variance += s * s;
                    }
                };
                match region {
                    Some(m) => m.columns(if flat { 0 } else { z }, y).for_each(&mut put),
                    None => (0..nx).for_each(&mut put),
                }
            }
            Ok((sum, variance, n, all))
        })
        .collect::<Result<_>>()?;
    let (scale, unit) = sum_unit(info);
    let one = |(sum, variance, n, all): &(f64, f64, u64, u64)| {
        let sigma = (variance * ppb.min(*n as f64)).sqrt();
        match options.of {
            _ if *n == 0 => (f64::NAN, f64::NAN),
            SpectrumOf::Sum => (sum * scale, sigma * scale),
            SpectrumOf::Mean => {
                let n = if options.blanks_as_zero { *all } else { *n } as f64;
                (sum / n, sigma / n)
            }
        }
    };
    Ok(Spectrum {
        velocity_kms: info.spectral().velocities_kms()?,
        freq_hz: info.spectral().freqs_hz().ok(),
        value: sums.iter().map(|s| one(s).0).collect(),
        error: sums.iter().map(|s| one(s).1).collect(),
        n_pixels: sums.iter().map(|s| s.2).collect(),
        unit: if options.of == SpectrumOf::Sum { unit } else { info.unit.clone() },
        channel_kms: info.spectral().channel_width_kms()?,
    })
}

/// What a sum over pixels is multiplied by, and its unit.
fn sum_unit(info: &CubeInfo) -> (f64, Unit) {
    let pixel = info.sky().pixel_sr();
    match (info.unit.brightness(), info.beams().largest()) {
        (Some(Brightness::JyPerBeam(s)), Some(b)) => (s * pixel / b.sr(), Unit::new("Jy")),
        (Some(Brightness::JyPerPixel(s)), _) => (s, Unit::new("Jy")),
        (Some(Brightness::JyPerSr(s)), _) => (s * pixel, Unit::new("Jy")),
        (Some(Brightness::Kelvin(s)), _) => (s * pixel / (ARCSEC * ARCSEC), Unit::new("K arcsec2")),
        _ => (1.0, Unit::new(format!("{} pixel", info.unit).trim())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Beam, Cube};
    use crate::notice::Quiet;
    use crate::products::testing::{cube_of, info_of, normal};
    use crate::products::{ConvolveOptions, convolve};
    use ndarray::Array3;

    #[test]
    fn a_point_source_sums_to_its_flux() {
        // 2 Jy in a Gaussian beam of 4 pixels.
        let beam = Beam::round(4.0 * ARCSEC).unwrap();
        let mut delta = Array3::<f32>::zeros((3, 41, 41));
        delta.slice_mut(ndarray::s![.., 20, 20]).fill(2.0);
        let tiny = Beam::round(1e-3 * ARCSEC).unwrap();
        let mut cube = cube_of(delta, tiny);
        cube.info_mut().unit = Unit::new("Jy/beam");
        // Convolution scales Jy/beam by the ratio of the beams: a delta of 2 in a beam of its pixel is 2 (pixel / beam) there.
        let mut out = convolve(&cube, beam, &ConvolveOptions::default(), &Quiet::default()).unwrap().cube;
        let factor = (tiny.sr() / out.info().sky().pixel_sr()) as f32;
        out.data_mut().mapv_inplace(|v| v * factor);
        let s = spectrum(&out, None, None, &SpectrumOptions::default(), &Quiet::default()).unwrap();
        assert_eq!(s.unit.as_str(), "Jy");
        assert!((s.value[1] - 2.0).abs() < 1e-3, "{}", s.value[1]);
    }

    /// Noise smoothed to a beam: the scatter of sums over a region is what the errors say. White noise convolved with a beam is alike
    /// over twice the beam's area, noise of an interferometer over the beam's: the factor is between 1 and √2.
    #[test]
    fn errors_count_beams() {
        let tiny = Beam::round(0.5 * ARCSEC).unwrap();
        let cube = cube_of(normal([300, 48, 48], 5), tiny);
        let mut out = convolve(&cube, Beam::round(6.0 * ARCSEC).unwrap(), &ConvolveOptions::default(), &Quiet::default()).unwrap().cube;
        let sigma = (out.data().iter().map(|v| f64::from(v * v)).sum::<f64>() / out.data().len() as f64).sqrt();
        out.data_mut().mapv_inplace(|v| v / sigma as f32);
        let region = Mask::from_fn([1, 48, 48], |_, y, x| (12..36).contains(&y) && (12..36).contains(&x));
        let noise = Noise::uniform(out.info(), 1.0);
        let s = spectrum(&out, Some(&noise), Some(&region), &SpectrumOptions::default(), &Quiet::default()).unwrap();
        let scatter = (s.value.iter().map(|v| v * v).sum::<f64>() / 300.0).sqrt();
        let ratio = scatter / s.error[0];
        assert!(ratio > 0.9 && ratio < 1.55, "{ratio}");
    }

    #[test]
    fn regions_of_voxels_and_of_pixels() {
        let mut data = Array3::<f32>::ones((4, 3, 3));
        data[[1, 0, 0]] = f32::NAN;
        let cube = Cube::new(info_of([4, 3, 3], None), data).unwrap();
        let mean = SpectrumOptions { of: SpectrumOf::Mean, ..SpectrumOptions::default() };
        let pixels = Mask::from_fn([1, 3, 3], |_, y, _| y == 0);
        let s = spectrum(&cube, None, Some(&pixels), &mean, &Quiet::default()).unwrap();
        assert_eq!((s.n_pixels.clone(), s.value.clone()), (vec![3, 2, 3, 3], vec![1.0; 4]));
        let zero = SpectrumOptions { blanks_as_zero: true, ..mean.clone() };
        assert!((spectrum(&cube, None, Some(&pixels), &zero, &Quiet::default()).unwrap().value[1] - 2.0 / 3.0).abs() < 1e-12);
        let voxels = Mask::from_fn([4, 3, 3], |z, y, x| z < 2 && y == 1 && x == 1);
        let s = spectrum(&cube, None, Some(&voxels), &mean, &Quiet::default()).unwrap();
        assert!(s.value[0] == 1.0 && s.value[3].is_nan());
        let (sum, _) = Spectrum { error: vec![0.0; 4], ..s }.integral();
        assert!((sum - 5.0).abs() < 1e-9);
    }

    /// One channel is as wide as its axis says: 9 pixels of 1 in 2.5 km/s.
    #[test]
    fn the_integral_of_one_channel() {
        let cube = Cube::new(info_of([1, 3, 3], None), Array3::ones((1, 3, 3))).unwrap();
        let mean = SpectrumOptions { of: SpectrumOf::Mean, ..SpectrumOptions::default() };
        assert!((spectrum(&cube, None, None, &mean, &Quiet::default()).unwrap().integral().0 - 2.5).abs() < 1e-9);
    }
}
