//! Coarser grids: block averages, smoothing along the spectrum, parts of the spectrum.

use ndarray::{Array2, Array3, ArrayView2};
use rayon::prelude::*;

use super::ProductsError;
use crate::data::{Beams, Cube, CubeInfo, CubeSource, Image};
use crate::error::{Error, Result};
use crate::notice::Reporter;
use crate::units::Velocity;

/// Shape of the kernel that smooths a spectrum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpectralKernel {
    /// A running mean.
    #[default]
    Boxcar,
    /// A Gaussian of this FWHM, sampled.
    Gaussian,
    /// 1/4, 1/2, 1/4; the width does not matter.
    Hanning,
}

crate::options! {
    /// Options of smoothing along the spectrum.
    pub struct SpectralSmoothOptions {
        /// Width of the kernel.
        ["km/s"] width: Velocity = Velocity(10.0),
        /// "boxcar", "gaussian" or "hanning".
        [""] kernel: SpectralKernel = SpectralKernel::Boxcar,
        /// Keep every n-th channel: their distance comes near the width of the kernel.
        ["1"] keep_every: usize = 1,
    }
}

/// Mean of the values that are not blank, blank where fewer than half are.
fn block_mean(sum: f64, n: usize, of: usize) -> f32 {
    if n * 2 < of { f32::NAN } else { (sum / n as f64) as f32 }
}

fn downsampled_plane(plane: ArrayView2<'_, f32>, factor: usize) -> Array2<f32> {
    let (ny, nx) = (plane.nrows() / factor, plane.ncols() / factor);
    Array2::from_shape_fn((ny, nx), |(y, x)| {
        let (mut sum, mut n) = (0.0, 0);
        for j in 0..factor {
            for i in 0..factor {
                let v = plane[[y * factor + j, x * factor + i]];
                if !v.is_nan() {
                    sum += f64::from(v);
                    n += 1;
                }
            }
        }
        block_mean(sum, n, factor * factor)
    })
}

fn check_factor(name: &'static str, factor: usize, len: usize) -> Result<()> {
    if factor == 0 || factor > len {
        return Err(
            ProductsError::Option { name, value: factor.to_string(), expected: "at least 1 and at most the length of the axis" }.into()
        );
    }
    Ok(())
}

/// A cube averaged over `sky` x `sky` pixels and `channels` channels; what does not fill a block is cut off.
pub fn downsample(source: &dyn CubeSource, sky: usize, channels: usize, notice: &dyn Reporter) -> Result<Cube> {
    let info = source.info();
    let [nc, ny, nx] = info.shape();
    check_factor("sky", sky, ny.min(nx))?;
    check_factor("channels", channels, nc)?;
    let planes: Vec<Array2<f32>> = (0..nc / channels)
        .into_par_iter()
        .map(|z| {
            notice.check()?;
            let mut buffer = Vec::new();
            let mut sum = Array2::<f64>::zeros((ny / sky, nx / sky));
            let mut n = Array2::<usize>::zeros((ny / sky, nx / sky));
            for k in 0..channels {
                let plane = downsampled_plane(source.plane(z * channels + k, &mut buffer)?, sky);
                ndarray::Zip::from(&mut sum).and(&mut n).and(&plane).for_each(|s, n, v| {
                    if !v.is_nan() {
                        *s += f64::from(*v);
                        *n += 1;
                    }
                });
            }
            Ok(ndarray::Zip::from(&sum).and(&n).map_collect(|s, n| block_mean(*s, *n, channels)))
        })
        .collect::<Result<_>>()?;
    let grid = if sky == 1 { info.sky().clone() } else { info.sky().downsampled(sky) };
    let axis = if channels == 1 { info.spectral().clone() } else { info.spectral().downsampled(channels) };
    let beams = match info.beams() {
        Beams::PerChannel(_) if channels > 1 => info.beams().largest().map_or(Beams::None, Beams::One),
        b => b.clone(),
    };
    stacked(planes, info, CubeInfo::new(grid, axis, ny / sky, nx / sky, info.unit.clone())?.with_beams(beams)?)
}

fn stacked(planes: Vec<Array2<f32>>, from: &CubeInfo, mut info: CubeInfo) -> Result<Cube> {
    info.meta = from.meta.clone();
    let shape = (planes.len(), info.ny(), info.nx());
    let values: Vec<f32> = planes.into_iter().flat_map(|p| p.into_iter()).collect();
    Ok(Cube::new(info, Array3::from_shape_vec(shape, values).map_err(|e| Error::internal(e.to_string()))?)?)
}

/// An image averaged over `factor` x `factor` pixels.
pub fn downsample_image(image: &Image, factor: usize) -> Result<Image> {
    check_factor("factor", factor, image.ny().min(image.nx()))?;
    let mut out = Image::new(downsampled_plane(image.data().view(), factor), image.sky().downsampled(factor), image.unit.clone())?;
    (out.beam, out.rest_hz, out.spectral_frame) = (image.beam, image.rest_hz, image.spectral_frame);
    out.meta = image.meta.clone();
    Ok(out)
}

/// A cube smoothed along its spectral axis; blanks have no weight and stay blank.
pub fn spectral_smooth(source: &dyn CubeSource, options: &SpectralSmoothOptions, notice: &dyn Reporter) -> Result<Cube> {
    let info = source.info();
    let [nc, ny, nx] = info.shape();
    check_factor("keep_every", options.keep_every, nc)?;
    let width = options.width.0 / info.spectral().channel_width_kms()?;
    if options.kernel != SpectralKernel::Hanning && !(width > 0.0) {
        let value = format!("{} km/s", options.width.0);
        return Err(ProductsError::Option { name: "width", value, expected: "a positive velocity" }.into());
    }
    let kernel = spectral_kernel(options.kernel, width);
    let half = kernel.len() as i64 / 2;
    let kept: Vec<usize> = (0..nc).step_by(options.keep_every).collect();
    let planes: Vec<Array2<f32>> = kept
        .par_iter()
        .map(|z| {
            notice.check()?;
            let (mut sum, mut weight) = (Array2::<f32>::zeros((ny, nx)), Array2::<f32>::zeros((ny, nx)));
            let (mut buffer, mut middle) = (Vec::new(), None);
            for (k, w) in kernel.iter().enumerate() {
                let zz = *z as i64 + k as i64 - half;
                if zz < 0 || zz >= nc as i64 {
                    continue;
                }
                let plane = source.plane(zz as usize, &mut buffer)?;
                ndarray::Zip::from(&mut sum).and(&mut weight).and(plane).for_each(|s, n, v| {
                    if !v.is_nan() {
                        *s += w * v;
                        *n += w;
                    }
                });
                if zz == *z as i64 {
                    middle = Some(plane.mapv(|v| v.is_nan()));
                }
            }
            let mut out = sum / weight;
            if let Some(blank) = middle {
                out.zip_mut_with(&blank, |o, b| {
                    if *b {
                        *o = f32::NAN
                    }
                });
            }
            Ok(out)
        })
        .collect::<Result<_>>()?;
    let axis = decimated(info, options.keep_every, kept.len())?;
    let beams = match info.beams() {
        Beams::PerChannel(v) => Beams::PerChannel(kept.iter().map(|z| v[*z]).collect()),
        b => b.clone(),
    };
    stacked(planes, info, CubeInfo::new(info.sky().clone(), axis, ny, nx, info.unit.clone())?.with_beams(beams)?)
}

fn decimated(info: &CubeInfo, every: usize, n: usize) -> Result<crate::sky::SpectralAxis> {
    let a = info.spectral();
    let crpix = (a.crpix() - 1.0) / every as f64 + 1.0;
    let mut out = crate::sky::SpectralAxis::new(a.kind(), a.crval(), a.cdelt() * every as f64, crpix, n)?
        .with_frame(a.frame())
        .with_velocity(a.velocity_kind());
    if let Some(rest) = a.rest_hz() {
        out = out.with_rest(rest)?;
    }
    Ok(out)
}

/// Odd weights of sum 1; a width in channels.
fn spectral_kernel(kernel: SpectralKernel, width: f64) -> Vec<f32> {
    let weights: Vec<f64> = match kernel {
        SpectralKernel::Hanning => vec![0.25, 0.5, 0.25],
        SpectralKernel::Boxcar => {
            let n = (width.ceil() as usize).max(1) | 1;
            let end = if n == 1 { 1.0 } else { (width - (n - 2) as f64) / 2.0 };
            (0..n).map(|i| if n > 1 && (i == 0 || i == n - 1) { end } else { 1.0 }).collect()
        }
        SpectralKernel::Gaussian => {
            let sigma = width / (8.0 * std::f64::consts::LN_2).sqrt();
            let half = (4.0 * sigma).ceil() as i64;
            (-half..=half).map(|i| (-0.5 * (i as f64 / sigma).powi(2)).exp()).collect()
        }
    };
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| (w / sum) as f32).collect()
}

/// The channels of a cube between two velocities, km/s.
pub fn slab_of_velocities(info: &CubeInfo, from_kms: f64, to_kms: f64) -> Result<std::ops::Range<usize>> {
    let (lo, hi) = (from_kms.min(to_kms), from_kms.max(to_kms));
    let velocities = info.spectral().velocities_kms()?;
    // Half a channel of grace, so that the ends named in a header are inside.
    let grace = info.spectral().channel_width_kms()? * 1e-6;
    let inside: Vec<usize> = (0..velocities.len()).filter(|i| velocities[*i] >= lo - grace && velocities[*i] <= hi + grace).collect();
    match (inside.first(), inside.last()) {
        (Some(a), Some(b)) => Ok(*a..*b + 1),
        _ => {
            let ends = [velocities[0], velocities[velocities.len() - 1]];
            let message = format!(
                "no channel between {lo} and {hi} km/s; the cube covers {:.3} to {:.3} km/s",
                ends[0].min(ends[1]),
                ends[0].max(ends[1])
            );
            Err(Error::user(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notice::Quiet;
    use crate::products::testing::info_of;

    #[test]
    fn blocks_are_means_and_keep_the_sky() {
        let data = Array3::from_shape_fn((4, 5, 6), |(z, y, x)| (z * 100 + y * 10 + x) as f32);
        let cube = Cube::new(info_of([4, 5, 6], None), data).unwrap();
        let out = downsample(&cube, 2, 2, &Quiet::default()).unwrap();
        assert_eq!(out.info().shape(), [2, 2, 3]);
        assert_eq!(out.data()[[1, 1, 2]], 250.0 + 25.0 + 4.5);
        let a = cube.info().sky().sky_from_pixel(0.5, 0.5).unwrap();
        assert!(a.separation_rad(out.info().sky().sky_from_pixel(0.0, 0.0).unwrap()) < 1e-14);
        assert!((out.info().spectral().velocity_kms(0.0).unwrap() + 48.75).abs() < 1e-9);
        assert!(downsample(&cube, 7, 1, &Quiet::default()).is_err());
    }

    #[test]
    fn smoothing_keeps_a_constant_and_spreads_a_spike() {
        let mut data = Array3::<f32>::zeros((9, 1, 2));
        data[[4, 0, 0]] = 6.0;
        data.slice_mut(ndarray::s![.., 0, 1]).fill(2.0);
        data[[3, 0, 1]] = f32::NAN;
        let cube = Cube::new(info_of([9, 1, 2], None), data).unwrap();
        let options = SpectralSmoothOptions { width: Velocity(7.5), ..SpectralSmoothOptions::default() };
        let out = spectral_smooth(&cube, &options, &Quiet::default()).unwrap();
        let first = out.data().slice(ndarray::s![.., 0, 0]).to_vec();
        assert!(first.iter().zip([0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 0.0, 0.0, 0.0]).all(|(a, b)| (a - b).abs() < 1e-6));
        assert!(out.data().slice(ndarray::s![.., 0, 1]).iter().enumerate().all(|(i, v)| if i == 3 {
            v.is_nan()
        } else {
            (v - 2.0).abs() < 1e-6
        }));
        let every = SpectralSmoothOptions { keep_every: 2, kernel: SpectralKernel::Hanning, ..SpectralSmoothOptions::default() };
        let out = spectral_smooth(&cube, &every, &Quiet::default()).unwrap();
        assert_eq!(out.info().n_chan(), 5);
        assert!((out.info().spectral().velocity_kms(2.0).unwrap() - cube.info().spectral().velocity_kms(4.0).unwrap()).abs() < 1e-9);
    }

    #[test]
    fn a_slab_takes_either_order_and_says_what_there_is() {
        let info = info_of([9, 1, 1], None);
        assert_eq!(slab_of_velocities(&info, -45.0, -40.0).unwrap(), 2..5);
        assert_eq!(slab_of_velocities(&info, -40.0, -45.0).unwrap(), 2..5);
        assert!(slab_of_velocities(&info, 100.0, 200.0).unwrap_err().message.contains("-50.000 to -30.000"));
    }
}
