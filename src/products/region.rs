//! Regions of the sky as masks of one channel.

use crate::data::{Image, Mask};
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
