//! Position-velocity slices.

use ndarray::Array2;
use rayon::prelude::*;

use super::ProductsError;
use crate::data::{CardValue, CubeSource, LinearAxis, Plane};
use crate::error::{Error, Result};
use crate::notice::Reporter;
use crate::sky::Direction;
use crate::units::{ARCSEC, Angle};

crate::options! {
    /// Options of position-velocity slices.
    pub struct SliceOptions {
        /// Position angle of the slice, from north to east; offsets grow in this direction.
        ["deg"] pa: Angle = Angle(0.0),
        /// Length of the slice; automatic is the diagonal of the image.
        ["arcsec"] length: Option<Angle> = None,
        /// Width over which spectra are averaged; automatic is the beam's major axis.
        ["arcsec"] width: Option<Angle> = None,
        /// Step along the slice; automatic is a pixel.
        ["arcsec"] step: Option<Angle> = None,
    }
}

/// A slice through a cube along a line through `center`: offset along the first axis, the spectral axis along the second.
///
/// Values are linear between pixels and averaged across the width over what is not blank.
pub fn position_velocity(source: &dyn CubeSource, center: Direction, options: &SliceOptions, notice: &dyn Reporter) -> Result<Plane> {
    let info = source.info();
    let sky = info.sky();
    let [nc, ny, nx] = info.shape();
    let at = center
        .in_frame(sky.frame())
        .and_then(|d| sky.pixel_from_sky(d))
        .filter(|(x, y)| *x > -0.5 && *y > -0.5 && *x < nx as f64 - 0.5 && *y < ny as f64 - 0.5)
        .ok_or_else(|| Error::user(format!("the center of the slice, {center}, is outside the cube")))?;
    let (cell_x, cell_y) = sky.cell_rad();
    let cell = (cell_x * cell_y).sqrt();
    let step = options.step.map_or(cell, |s| s.0);
    let length = options.length.map_or((nx as f64 * cell_x).hypot(ny as f64 * cell_y), |l| l.0);
    let width = options.width.map(|w| w.0).or(info.beams().largest().map(|b| b.bmaj_rad())).unwrap_or(cell);
    for (name, value) in [("step", step), ("length", length)] {
        if !(value > 0.0) {
            let value = format!("{} arcsec", value / ARCSEC);
            return Err(ProductsError::Option { name, value, expected: "a positive angle" }.into());
        }
    }
    let half = (length / 2.0 / step).floor() as i64;
    let across = (width / cell).round().max(1.0) as i64;
    let (s, c) = options.pa.0.sin_cos();
    // Pixels of the samples, point by point, across the width first.
    let points: Vec<(f64, f64)> = (-half..=half)
        .flat_map(|i| (0..across).map(move |j| (i as f64 * step, (j as f64 - (across - 1) as f64 / 2.0) * cell)))
        .map(|(along, side)| {
            let (dx, dy) = sky.pixels_from_offset(along * s + side * c, along * c - side * s);
            (at.0 + dx, at.1 + dy)
        })
        .collect();
    let n = (2 * half + 1) as usize;
    let rows: Vec<Vec<f32>> = (0..nc)
        .into_par_iter()
        .map(|z| {
            notice.check()?;
            let mut buffer = Vec::new();
            let plane = source.plane(z, &mut buffer)?;
            Ok(points.chunks_exact(across as usize).map(|p| mean_of(p, |x, y| between(&plane, x, y))).collect())
        })
        .collect::<Result<_>>()?;
    let data = Array2::from_shape_vec((nc, n), rows.concat()).map_err(|e| Error::internal(e.to_string()))?;
    let axis = info.spectral();
    let axes = [
        LinearAxis { ctype: "OFFSET".into(), cunit: "arcsec".into(), crval: 0.0, cdelt: step / ARCSEC, crpix: half as f64 + 1.0 },
        LinearAxis {
            ctype: axis.kind().code().into(),
            cunit: axis.kind().unit().into(),
            crval: axis.crval(),
            cdelt: axis.cdelt(),
            crpix: axis.crpix(),
        },
    ];
    let mut out = Plane::new(data, axes, info.unit.clone())?;
    out.beam = info.beams().largest();
    out.rest_hz = axis.rest_hz();
    out.meta = info.meta.clone();
    out.meta.set("PVPA", CardValue::Real(options.pa.0.to_degrees()), "[deg] Position angle of the slice");
    out.meta.set("PVWIDTH", CardValue::Real(across as f64 * cell / ARCSEC), "[arcsec] Width of the slice");
    out.meta.set("PVCENTER", CardValue::Text(center.to_string()), "Offset 0");
    Ok(out)
}

fn mean_of(points: &[(f64, f64)], value: impl Fn(f64, f64) -> f32) -> f32 {
    let (mut sum, mut n) = (0.0f64, 0);
    for (x, y) in points {
        let v = value(*x, *y);
        if v.is_finite() {
            sum += f64::from(v);
            n += 1;
        }
    }
    if n == 0 { f32::NAN } else { (sum / f64::from(n)) as f32 }
}

/// Linear between the four pixels around, of those that are not blank; blank if the nearest is.
fn between(plane: &ndarray::ArrayView2<'_, f32>, x: f64, y: f64) -> f32 {
    let (x0, y0) = (x.floor(), y.floor());
    let (fx, fy) = (x - x0, y - y0);
    let (mut sum, mut weight) = (0.0, 0.0);
    for (dy, wy) in [(0.0, 1.0 - fy), (1.0, fy)] {
        for (dx, wx) in [(0.0, 1.0 - fx), (1.0, fx)] {
            let (i, j) = (x0 + dx, y0 + dy);
            if i < 0.0 || j < 0.0 || i >= plane.ncols() as f64 || j >= plane.nrows() as f64 {
                continue;
            }
            let v = plane[[j as usize, i as usize]];
            if v.is_finite() {
                sum += wx * wy * f64::from(v);
                weight += wx * wy;
            }
        }
    }
    if weight < 0.5 { f32::NAN } else { (sum / weight) as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Cube;
    use crate::notice::Quiet;
    use crate::products::testing::info_of;
    use ndarray::Array3;

    /// A velocity gradient along a position angle is a straight line in a slice along it, and flat in one across it.
    #[test]
    fn a_gradient_is_a_line() {
        let info = info_of([41, 61, 61], None);
        let v = info.spectral().velocities_kms().unwrap();
        let (s, c) = 0.6f64.sin_cos();
        let data = Array3::from_shape_fn((41, 61, 61), |(z, y, x)| {
            // x grows to the west
            let (east, north) = (-(x as f64 - 30.0), y as f64 - 30.0);
            let center = v[20] + (east * s + north * c) * 0.8;
            (-0.5 * ((v[z] - center) / 4.0).powi(2)).exp() as f32
        });
        let cube = Cube::new(info.clone(), data).unwrap();
        let center = info.sky().sky_from_pixel(30.0, 30.0).unwrap();
        let slope = |pa: f64| {
            let o =
                SliceOptions { pa: Angle(pa), length: Some(Angle(40.0 * ARCSEC)), width: Some(Angle(3.0 * ARCSEC)), ..Default::default() };
            let pv = position_velocity(&cube, center, &o, &Quiet::default()).unwrap();
            let mean = |i: usize| {
                let (mut t, mut tv) = (0.0, 0.0);
                for z in 0..41 {
                    t += f64::from(pv.data()[[z, i]]);
                    tv += f64::from(pv.data()[[z, i]]) * v[z];
                }
                tv / t
            };
            let n = pv.data().ncols();
            assert_eq!(n, 41);
            (mean(n / 2 + 10) - mean(n / 2 - 10)) / (pv.axes[0].value((n / 2 + 10) as f64) - pv.axes[0].value((n / 2 - 10) as f64))
        };
        assert!((slope(0.6) - 0.8).abs() < 0.01, "{}", slope(0.6));
        assert!(slope(0.6 + std::f64::consts::FRAC_PI_2).abs() < 0.01);
        let far = center.moved(1.0, 0.0);
        assert!(position_velocity(&cube, far, &SliceOptions::default(), &Quiet::default()).unwrap_err().message.contains("outside"));
    }
}
