//! Images, cubes and masks on another grid.

use ndarray::{Array2, Array3, ArrayView2};
use rayon::prelude::*;

use super::ProductsError;
use crate::data::{Cube, CubeInfo, CubeSource, Image, Mask};
use crate::error::{Error, Result};
use crate::notice::{Reporter, Warning};
use crate::sky::{Celestial, SpectralAxis};

/// How values between pixels are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// The nearest pixel.
    Nearest,
    /// Linear in both directions.
    #[default]
    Linear,
    /// Cubic convolution in both directions (Keys 1981, a = -1/2); linear beside blanks and edges.
    Cubic,
}

crate::options! {
    /// Options of reprojection.
    pub struct ReprojectOptions {
        /// "nearest", "linear" or "cubic", on the sky.
        [""] interpolation: Interpolation = Interpolation::Linear,
        /// The same along the spectrum: "nearest" or "linear".
        [""] spectral: Interpolation = Interpolation::Linear,
    }
}

/// A pixel within this of a pixel of the other grid is that pixel: two headers of one grid differ by roundings.
const SAME: f64 = 1e-4;

/// Where each pixel of a target grid lies on a source grid; NaN where nowhere.
pub(crate) struct PixelMap {
    at: Array2<[f64; 2]>,
}

impl PixelMap {
    pub(crate) fn new(target: &Celestial, [ny, nx]: [usize; 2], source: &Celestial) -> Result<PixelMap> {
        let center = target.center();
        if center.in_frame(source.frame()).is_none() {
            let message = format!("directions in {} cannot be turned into {}", center.frame.name(), source.frame().name());
            return Err(Error::user(message));
        }
        let rows: Vec<Vec<[f64; 2]>> = (0..ny)
            .into_par_iter()
            .map(|y| {
                (0..nx)
                    .map(|x| {
                        target
                            .sky_from_pixel(x as f64, y as f64)
                            .and_then(|d| d.in_frame(source.frame()))
                            .and_then(|d| source.pixel_from_sky(d))
                            .map_or([f64::NAN; 2], |(u, v)| [snap(u), snap(v)])
                    })
                    .collect()
            })
            .collect();
        let at = Array2::from_shape_vec((ny, nx), rows.concat()).map_err(|e| Error::internal(e.to_string()))?;
        Ok(PixelMap { at })
    }

    pub(crate) fn sample(&self, plane: ArrayView2<'_, f32>, how: Interpolation) -> Array2<f32> {
        self.at.mapv(|[u, v]| match how {
            Interpolation::Nearest => nearest(&plane, u, v),
            Interpolation::Linear => linear(&plane, u, v),
            Interpolation::Cubic => cubic(&plane, u, v),
        })
    }
}

fn snap(u: f64) -> f64 {
    if (u - u.round()).abs() < SAME { u.round() } else { u }
}

fn nearest(p: &ArrayView2<'_, f32>, u: f64, v: f64) -> f32 {
    let (x, y) = (u.round_ties_even(), v.round_ties_even());
    if x >= 0.0 && y >= 0.0 && x < p.ncols() as f64 && y < p.nrows() as f64 { p[[y as usize, x as usize]] } else { f32::NAN }
}

/// Blank where a neighbour that counts is blank or outside.
fn linear(p: &ArrayView2<'_, f32>, u: f64, v: f64) -> f32 {
    let (x0, y0) = (u.floor(), v.floor());
    let (fx, fy) = (u - x0, v - y0);
    let mut sum = 0.0;
    for (dy, wy) in [(0.0, 1.0 - fy), (1.0, fy)] {
        for (dx, wx) in [(0.0, 1.0 - fx), (1.0, fx)] {
            let w = wx * wy;
            if w > 0.0 {
                sum += w * f64::from(pixel(p, x0 + dx, y0 + dy));
            } else if w.is_nan() {
                return f32::NAN;
            }
        }
    }
    sum as f32
}

fn pixel(p: &ArrayView2<'_, f32>, x: f64, y: f64) -> f32 {
    if x >= 0.0 && y >= 0.0 && x < p.ncols() as f64 && y < p.nrows() as f64 { p[[y as usize, x as usize]] } else { f32::NAN }
}

fn cubic(p: &ArrayView2<'_, f32>, u: f64, v: f64) -> f32 {
    let (x0, y0) = (u.floor(), v.floor());
    let weights = |t: f64| {
        let (t2, t3) = (t * t, t * t * t);
        [-0.5 * t + t2 - 0.5 * t3, 1.0 - 2.5 * t2 + 1.5 * t3, 0.5 * t + 2.0 * t2 - 1.5 * t3, -0.5 * t2 + 0.5 * t3]
    };
    let (wx, wy) = (weights(u - x0), weights(v - y0));
    let mut sum = 0.0;
    for (j, b) in wy.iter().enumerate() {
        for (i, a) in wx.iter().enumerate() {
            let w = a * b;
            if w != 0.0 {
                sum += w * f64::from(pixel(p, x0 + i as f64 - 1.0, y0 + j as f64 - 1.0));
            }
        }
    }
    if sum.is_nan() { linear(p, u, v) } else { sum as f32 }
}

/// An image on the grid of another header.
pub fn reproject_image(image: &Image, target: &Celestial, [ny, nx]: [usize; 2], options: &ReprojectOptions) -> Result<Image> {
    let map = PixelMap::new(target, [ny, nx], image.sky())?;
    let data = map.sample(image.data().view(), options.interpolation);
    if data.iter().all(|v| v.is_nan()) && image.data().iter().any(|v| !v.is_nan()) {
        return Err(ProductsError::NoOverlap("image").into());
    }
    let mut out = Image::new(data, target.clone(), image.unit.clone())?;
    (out.beam, out.rest_hz, out.spectral_frame) = (image.beam, image.rest_hz, image.spectral_frame);
    out.meta = image.meta.clone();
    Ok(out)
}

/// A cube on the grid of another: sky and spectral axis. Unit, beam and cards stay.
pub fn reproject_cube(source: &dyn CubeSource, target: &CubeInfo, options: &ReprojectOptions, notice: &dyn Reporter) -> Result<Cube> {
    let info = source.info();
    let map = PixelMap::new(target.sky(), [target.ny(), target.nx()], info.sky())?;
    let channels = channel_map(target.spectral(), info.spectral(), notice)?;
    let nc = info.n_chan() as f64;
    let same_sky = is_same_sky(info, target);
    let planes: Vec<Array2<f32>> = channels
        .par_iter()
        .map(|c| {
            notice.check()?;
            let blank = || Array2::from_elem((target.ny(), target.nx()), f32::NAN);
            let c = if options.spectral == Interpolation::Nearest { c.round_ties_even() } else { *c };
            if !(c >= 0.0 && c <= nc - 1.0) {
                return Ok(blank());
            }
            let (low, part) = (c.floor(), (c - c.floor()) as f32);
            let mut buffer = Vec::new();
            let at = |z: usize, buffer: &mut Vec<f32>| -> Result<Array2<f32>> {
                let plane = source.plane(z, buffer)?;
                Ok(if same_sky { plane.to_owned() } else { map.sample(plane, options.interpolation) })
            };
            let mut plane = at(low as usize, &mut buffer)?;
            if part > 0.0 {
                let next = at(low as usize + 1, &mut buffer)?;
                plane.zip_mut_with(&next, |a, b| *a += (b - *a) * part);
            }
            Ok(plane)
        })
        .collect::<Result<_>>()?;
    if channels.iter().all(|c| !(*c >= 0.0 && *c <= nc - 1.0)) {
        return Err(ProductsError::NoOverlap("spectral axis of the cube").into());
    }
    let values: Vec<f32> = planes.into_iter().flat_map(|p| p.into_iter()).collect();
    let data = Array3::from_shape_vec((target.n_chan(), target.ny(), target.nx()), values).map_err(|e| Error::internal(e.to_string()))?;
    let mut out = CubeInfo::new(target.sky().clone(), target.spectral().clone(), target.ny(), target.nx(), info.unit.clone())?
        .with_beams(info.beams().largest().map_or(crate::data::Beams::None, crate::data::Beams::One))?;
    out.meta = info.meta.clone();
    Ok(Cube::new(out, data)?)
}

/// A mask on the grid of another cube, by the nearest voxel; outside it is empty.
pub fn reproject_mask(mask: &Mask, from: &CubeInfo, target: &CubeInfo, notice: &dyn Reporter) -> Result<Mask> {
    if mask.shape() != from.shape() {
        return Err(ProductsError::Grid { what: "mask", found: mask.shape().to_vec(), expected: from.shape().to_vec() }.into());
    }
    if is_same_sky(from, target) && is_same_spectrum(from, target) {
        return Ok(mask.clone());
    }
    let map = PixelMap::new(target.sky(), [target.ny(), target.nx()], from.sky())?;
    let channels = channel_map(target.spectral(), from.spectral(), notice)?;
    Ok(Mask::from_fn(target.shape(), |z, y, x| {
        let ([u, v], c) = (map.at[[y, x]], channels[z].round_ties_even());
        let (u, v) = (u.round_ties_even(), v.round_ties_even());
        c >= 0.0 && u >= 0.0 && v >= 0.0 && mask.get(c as usize, v as usize, u as usize)
    }))
}

/// True where two cubes have the same pixels on the sky, to a ten-thousandth of one.
pub fn is_same_sky(a: &CubeInfo, b: &CubeInfo) -> bool {
    if (a.ny(), a.nx()) != (b.ny(), b.nx()) {
        return false;
    }
    let corners = [(0.0, 0.0), (a.nx() as f64 - 1.0, 0.0), (0.0, a.ny() as f64 - 1.0), (a.nx() as f64 - 1.0, a.ny() as f64 - 1.0)];
    corners.into_iter().all(|(x, y)| {
        let there = a.sky().sky_from_pixel(x, y).and_then(|d| d.in_frame(b.sky().frame())).and_then(|d| b.sky().pixel_from_sky(d));
        there.is_some_and(|(u, v)| (u - x).abs() < SAME && (v - y).abs() < SAME)
    })
}

/// True where two cubes have the same channels, to a ten-thousandth of one.
pub fn is_same_spectrum(a: &CubeInfo, b: &CubeInfo) -> bool {
    let quiet = crate::notice::Quiet::default();
    a.n_chan() == b.n_chan()
        && channel_map(a.spectral(), b.spectral(), &quiet).is_ok_and(|c| c.iter().enumerate().all(|(i, c)| (c - i as f64).abs() < SAME))
}

/// Where each channel of `target` lies on `source`, in channels.
fn channel_map(target: &SpectralAxis, source: &SpectralAxis, notice: &dyn Reporter) -> Result<Vec<f64>> {
    if let (Some(a), Some(b)) = (target.frame(), source.frame())
        && a != b
    {
        let message = format!("the spectral frames differ ({} and {}); values are compared as they are", b.name(), a.name());
        notice.warn(Warning::new("spectral-frame", message).hint("differences reach 30 km/s between LSRK and TOPO"));
    }
    let n = target.n_chan();
    let comparable = target.kind() == source.kind()
        && (!target.kind().is_velocity()
            || target.rest_hz() == source.rest_hz()
            || target.rest_hz().is_none()
            || source.rest_hz().is_none());
    (0..n)
        .map(|i| {
            if comparable {
                return Ok(snap(source.channel(target.value(i as f64))));
            }
            let freq = target.freq_hz(i as f64)?;
            let rest = if source.kind().is_velocity() {
                source.rest_hz().ok_or(crate::sky::SpectralError::NoRest { from: source.kind().code(), to: target.kind().code() })?
            } else {
                1.0
            };
            Ok(snap(source.channel(source.kind().value_from_freq(freq, rest))))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notice::Quiet;
    use crate::products::testing::{info_of, normal};
    use crate::sky::{CelestialKeys, Frame, Projection, SpectralKind};

    fn ramp(ny: usize, nx: usize) -> Array2<f32> {
        Array2::from_shape_fn((ny, nx), |(y, x)| 2.0 * x as f32 - 3.0 * y as f32 + 1.0)
    }

    #[test]
    fn the_same_grid_gives_the_same_bits_beside_blanks_too() {
        let info = info_of([3, 20, 21], None);
        let mut data = normal([3, 20, 21], 1);
        data[[1, 10, 10]] = f32::NAN;
        let cube = Cube::new(info.clone(), data).unwrap();
        for how in [Interpolation::Nearest, Interpolation::Linear, Interpolation::Cubic] {
            let options = ReprojectOptions { interpolation: how, ..ReprojectOptions::default() };
            // A header that has gone through degrees and back differs by a rounding.
            let mut keys: CelestialKeys = info.sky().keys().clone();
            keys.crpix = keys.crpix.map(|p| p + 1e-11);
            let target = CubeInfo::new(Celestial::new(keys).unwrap(), info.spectral().clone(), 20, 21, info.unit.clone()).unwrap();
            let out = reproject_cube(&cube, &target, &options, &Quiet::default()).unwrap();
            assert!(out.data().iter().zip(cube.data()).all(|(a, b)| a.to_bits() == b.to_bits()), "{how:?}");
        }
    }

    /// A plane is what linear and cubic interpolation reproduce; a turned and finer grid samples it exactly.
    #[test]
    fn a_plane_survives_turning() {
        let info = info_of([1, 40, 40], None);
        let image = Image::new(ramp(40, 40), info.sky().clone(), info.unit.clone()).unwrap();
        let mut keys = info.sky().keys().clone();
        let cell = keys.cd[1][1] * 0.7;
        let (s, c) = 0.5f64.sin_cos();
        keys.cd = [[-cell * c, -cell * s], [-cell * s, cell * c]];
        keys.crpix = [11.0, 12.0];
        let target = Celestial::new(keys).unwrap();
        for how in [Interpolation::Linear, Interpolation::Cubic] {
            let options = ReprojectOptions { interpolation: how, ..ReprojectOptions::default() };
            let out = reproject_image(&image, &target, [20, 20], &options).unwrap();
            for ((y, x), v) in out.data().indexed_iter() {
                let (u, w) = info.sky().pixel_from_sky(target.sky_from_pixel(x as f64, y as f64).unwrap()).unwrap();
                assert!((f64::from(*v) - (2.0 * u - 3.0 * w + 1.0)).abs() < 1e-3, "{how:?} {y} {x}");
            }
        }
    }

    #[test]
    fn channels_are_found_by_frequency_across_velocity_definitions() {
        let info = info_of([10, 4, 4], None);
        let data = Array3::from_shape_fn((10, 4, 4), |(z, _, _)| z as f32);
        let cube = Cube::new(info.clone(), data).unwrap();
        let axis = info.spectral().as_kind(SpectralKind::Frequency).unwrap().slab(2, 5).unwrap();
        let target = CubeInfo::new(info.sky().clone(), axis, 4, 4, info.unit.clone()).unwrap();
        let out = reproject_cube(&cube, &target, &ReprojectOptions::default(), &Quiet::default()).unwrap();
        assert_eq!(out.data().slice(ndarray::s![.., 1, 1]).to_vec(), [2.0, 3.0, 4.0, 5.0, 6.0]);
        let mask = Mask::from_fn([10, 4, 4], |z, y, x| z == 3 && y == x);
        let there = reproject_mask(&mask, &info, &target, &Quiet::default()).unwrap();
        assert_eq!(there, Mask::from_fn([5, 4, 4], |z, y, x| z == 1 && y == x));
    }

    #[test]
    fn equatorial_and_galactic_grids_meet() {
        let info = info_of([1, 30, 30], None);
        let image = Image::new(ramp(30, 30), info.sky().clone(), info.unit.clone()).unwrap();
        let center = info.sky().center().in_frame(Frame::Galactic).unwrap();
        let cell = info.sky().cell_rad().0;
        let target = Celestial::simple(Projection::Tan, center, cell, (10.0, 10.0)).unwrap();
        let out = reproject_image(&image, &target, [21, 21], &ReprojectOptions::default()).unwrap();
        assert!((out.data()[[10, 10]] - image.data()[[15, 15]]).abs() < 1e-3);
        let far = Celestial::simple(Projection::Tan, center.moved(0.1, 0.1), cell, (10.0, 10.0)).unwrap();
        assert!(reproject_image(&image, &far, [21, 21], &ReprojectOptions::default()).unwrap_err().message.contains("overlap"));
    }
}
