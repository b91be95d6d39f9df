//! Regions of the sky as masks of one channel.

use crate::data::{CubeSource, Image, Mask};
use crate::error::Result;
use crate::notice::Reporter;
use crate::sky::{Celestial, Direction};

/// A disc seen at an angle: its centre, and how it is turned and tilted.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Disc {
    /// Centre.
    pub center: Direction,
    /// Position angle of the major axis from north to east, rad.
    pub pa_rad: f64,
    /// Inclination, rad; 0 is seen from above.
    pub inclination_rad: f64,
}

impl Disc {
    /// A disc seen from above.
    pub fn flat(center: Direction) -> Disc {
        Disc { center, pa_rad: 0.0, inclination_rad: 0.0 }
    }

    /// Radius and azimuth in the plane of the disc of every pixel, rad; azimuth 0 is the major axis at its position angle.
    pub fn polar(&self, sky: &Celestial, [ny, nx]: [usize; 2]) -> Option<ndarray::Array2<(f64, f64)>> {
        let center = self.center.in_frame(sky.frame())?;
        let (s, c) = self.pa_rad.sin_cos();
        let stretch = 1.0 / self.inclination_rad.cos();
        Some(ndarray::Array2::from_shape_fn((ny, nx), |(y, x)| {
            let Some(d) = sky.sky_from_pixel(x as f64, y as f64) else { return (f64::NAN, f64::NAN) };
            let (east, north) = offset(center, d);
            let (along, across) = (east * s + north * c, (east * c - north * s) * stretch);
            (along.hypot(across), across.atan2(along))
        }))
    }
}

/// Offset to the east and north in the tangent plane at `center`, rad.
pub(super) fn offset(center: Direction, d: Direction) -> (f64, f64) {
    let (sd, cd) = d.dec_rad.sin_cos();
    let (s0, c0) = center.dec_rad.sin_cos();
    let (sa, ca) = (d.ra_rad - center.ra_rad).sin_cos();
    let (l, m, n) = (cd * sa, sd * c0 - cd * s0 * ca, sd * s0 + cd * c0 * ca);
    let sine = l.hypot(m);
    let scale = if sine > 0.0 { sine.atan2(n) / sine } else { 1.0 };
    (l * scale, m * scale)
}

/// The pixels whose centres lie within `radius_rad` of the centre, in the plane of the disc.
pub fn region_disc(sky: &Celestial, shape: [usize; 2], disc: &Disc, radius_rad: f64) -> Option<Mask> {
    let polar = disc.polar(sky, shape)?;
    Some(Mask::from_fn([1, shape[0], shape[1]], |_, y, x| polar[[y, x]].0 <= radius_rad))
}

/// The pixels of a map above a value.
pub fn region_above(map: &Image, threshold: f64) -> Mask {
    Mask::from_fn([1, map.ny(), map.nx()], |_, y, x| f64::from(map.data()[[y, x]]) > threshold)
}

/// The pixels of a map that are not blank.
pub fn region_known(map: &Image) -> Mask {
    Mask::from_fn([1, map.ny(), map.nx()], |_, y, x| map.data()[[y, x]].is_finite())
}

/// The pixels that are exactly 0 or blank in every channel, and 0 in at least one: what some programs write where nothing was measured.
pub fn region_zero(source: &dyn CubeSource, notice: &dyn Reporter) -> Result<Mask> {
    let [nc, ny, nx] = source.info().shape();
    let (mut measured, mut zero) = (Mask::empty([1, ny, nx]), Mask::empty([1, ny, nx]));
    let mut buffer = Vec::new();
    for z in 0..nc {
        notice.check()?;
        for ((y, x), v) in source.plane(z, &mut buffer)?.indexed_iter() {
            if *v == 0.0 {
                zero.set(0, y, x, true);
            } else if v.is_finite() {
                measured.set(0, y, x, true);
            }
        }
    }
    zero.minus(&measured)?;
    Ok(zero)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Cube;
    use crate::notice::Quiet;
    use crate::products::testing::info_of;

    #[test]
    fn a_sight_line_of_zeros_was_not_measured() {
        let mut data = ndarray::Array3::<f32>::zeros((3, 1, 4));
        data[[1, 0, 1]] = 0.5;
        data.slice_mut(ndarray::s![.., 0, 2]).fill(f32::NAN);
        data[[0, 0, 3]] = f32::NAN;
        let cube = Cube::new(info_of([3, 1, 4], None), data).unwrap();
        let zero = region_zero(&cube, &Quiet::default()).unwrap();
        assert_eq!((0..4).map(|x| zero.get(0, 0, x)).collect::<Vec<_>>(), [true, false, false, true]);
    }
}
