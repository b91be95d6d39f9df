//! Masks of rotating discs: where a line is expected in each channel.

use ndarray::{Array2, Array3};

use super::ImagingError;
use crate::options;
use crate::units::{Angle, C_M_S, GM_SUN_PER_AU, Velocity};

options! {
    /// A disc in Keplerian rotation and the room its mask leaves around it.
    pub struct KeplerianOptions {
        /// Inclination; its sign says which side of a thick disc is near.
        ["deg"] inclination: Angle = Angle(0.0),
        /// Position angle of the red-shifted side, from north to east.
        ["deg"] pa: Angle = Angle(0.0),
        /// Mass of the star.
        ["Msun"] mass: f64 = 1.0,
        /// Distance.
        ["pc"] distance: f64 = 100.0,
        /// Velocity of the star.
        ["km/s"] vlsr: Velocity = Velocity(0.0),
        /// Inner radius.
        ["arcsec"] r_min: Angle = Angle(0.0),
        /// Outer radius.
        ["arcsec"] r_max: Angle = Angle(4.0 * crate::units::ARCSEC),
        /// Half width of the line at 1 arcsec.
        ["km/s"] dv0: Velocity = Velocity(0.3),
        /// Power with which the width changes with radius.
        ["1"] dv_power: f64 = -0.5,
        /// Largest height of the emitting layer over its radius, on both sides of the midplane.
        ["1"] zr: f64 = 0.0,
        /// Heights are tried in steps of at most this, over the radius.
        ["1"] zr_step: f64 = 0.2,
        /// The mask is smoothed to this many beams and kept where more than a hundredth is left; 0 leaves it as it is.
        ["beams"] smooth_beams: f64 = 0.0,
        /// Center of the disc from the phase center, to the east.
        ["arcsec"] dra: Angle = Angle(0.0),
        /// Center of the disc from the phase center, to the north.
        ["arcsec"] ddec: Angle = Angle(0.0),
        /// Further lines in the same mask, by their rest frequencies over the first one's, as velocities.
        ["km/s"] line_offsets: Vec<Velocity> = vec![],
    }
}

/// A place in the disc.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Arcsec.
    radius: f64,
    /// Line of sight, relative to the star, km/s.
    velocity: f64,
}

impl KeplerianOptions {
    fn check(&self) -> Result<(), ImagingError> {
        let fail = |name, value: f64, expected| Err(ImagingError::Option { name, value: value.to_string(), expected });
        if !(self.mass > 0.0) {
            return fail("mass", self.mass, "a positive mass in solar masses");
        }
        if !(self.distance > 0.0) {
            return fail("distance", self.distance, "a positive distance in parsec");
        }
        if !(self.inclination.0.abs() < std::f64::consts::FRAC_PI_2) {
            return fail("inclination", self.inclination.0.to_degrees(), "between -90 and 90 degrees, both excluded");
        }
        if !(self.r_max.0 > self.r_min.0) {
            return fail("r_max", self.r_max.arcsec(), "more than r_min");
        }
        if !(self.zr >= 0.0 && self.zr_step > 0.0) {
            return fail("zr", self.zr, "0 or more, in steps above 0");
        }
        Ok(())
    }

    /// Radius and velocity of what is seen at an offset from the center, for a layer of height `zr` times the radius.
    fn place(&self, east_arcsec: f64, north_arcsec: f64, zr: f64) -> Place {
        let ((sin_pa, cos_pa), (sin_i, cos_i)) = (self.pa.0.sin_cos(), self.inclination.0.sin_cos());
        // Along the red-shifted half of the major axis, and across it.
        let along = north_arcsec * cos_pa + east_arcsec * sin_pa;
        let across = (east_arcsec * cos_pa - north_arcsec * sin_pa) / cos_i;
        let mut radius = along.hypot(across);
        for _ in 0..10 {
            let y = across + zr * radius * sin_i / cos_i;
            radius = along.hypot(y);
        }
        let (r, z) = (radius * self.distance, zr * radius * self.distance);
        let speed2 = GM_SUN_PER_AU * self.mass * r * r / (r * r + z * z).powf(1.5);
        // At the star itself the speed has no bound: any channel may hold it.
        let velocity = if r > 0.0 { speed2.sqrt() * (along / radius) * sin_i.abs() } else { 0.0 };
        Place { radius, velocity }
    }

    fn heights(&self) -> Vec<f64> {
        let n = (self.zr / self.zr_step).ceil() as i64;
        if n == 0 { vec![0.0] } else { (-n..=n).map(|i| self.zr * i as f64 / n as f64).collect() }
    }
}

/// The voxels [chan, y, x] whose velocity range touches the disc's.
///
/// `velocity_kms` are the channels' centres, `center` the 0-based pixel (x, y) of the phase center.
pub fn keplerian_mask(
    options: &KeplerianOptions,
    velocity_kms: &[f64],
    channel_kms: f64,
    shape_yx: (usize, usize),
    center: (f64, f64),
    cell_rad: f64,
) -> Result<Array3<bool>, ImagingError> {
    options.check()?;
    let cell = cell_rad / crate::units::ARCSEC;
    let (ny, nx) = shape_yx;
    let mut mask = Array3::from_elem((velocity_kms.len(), ny, nx), false);
    let lines: Vec<f64> = std::iter::once(0.0).chain(options.line_offsets.iter().map(|v| v.0)).collect();
    for zr in options.heights() {
        for y in 0..ny {
            for x in 0..nx {
                let east = -(x as f64 - center.0) * cell - options.dra.arcsec();
                let north = (y as f64 - center.1) * cell - options.ddec.arcsec();
                let place = options.place(east, north, zr);
                if place.radius < options.r_min.arcsec() || place.radius > options.r_max.arcsec() {
                    continue;
                }
                // Half a pixel from the star at the nearest: the width has no bound there either.
                let half = options.dv0.0 * place.radius.max(0.5 * cell).powf(options.dv_power) + 0.5 * channel_kms.abs();
                for (chan, v) in velocity_kms.iter().enumerate() {
                    let inside = lines.iter().any(|line| (v - options.vlsr.0 - place.velocity - line).abs() < half);
                    mask[[chan, y, x]] |= inside;
                }
            }
        }
    }
    if mask.iter().any(|m| *m) { Ok(mask) } else { Err(ImagingError::EmptyMask) }
}

/// Grows a mask to where it, smoothed with a Gaussian of this FWHM, exceeds a hundredth.
pub fn smooth_mask(mask: &Array2<bool>, fwhm_rad: f64, cell_rad: f64) -> Array2<bool> {
    let Ok(beam) = crate::data::Beam::round(fwhm_rad) else { return mask.clone() };
    let values = mask.mapv(|m| if m { 1.0f32 } else { 0.0 });
    let volume = (beam.sr() / (cell_rad * cell_rad)) as f32;
    super::smooth(values.view(), beam, cell_rad).mapv(|v| v / volume > 0.01)
}

/// The offset in velocity of a second line at `rest_hz` in a cube whose velocities count from `cube_rest_hz` (radio), km/s.
pub fn line_offset_kms(rest_hz: f64, cube_rest_hz: f64) -> f64 {
    C_M_S * (1.0 - rest_hz / cube_rest_hz) / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::ARCSEC;

    fn disc() -> KeplerianOptions {
        KeplerianOptions {
            inclination: Angle(30f64.to_radians()),
            pa: Angle(90f64.to_radians()),
            mass: 2.0,
            distance: 150.0,
            vlsr: Velocity(5.0),
            ..Default::default()
        }
    }

    /// Mean orbital speed of the earth, km/s: 1 au from 1 Msun.
    const EARTH_KMS: f64 = 29.78;

    #[test]
    fn the_earth_orbits_the_sun() {
        // Seen edge-on (almost) from 1 pc, where 1 au is 1 arcsec.
        let earth = KeplerianOptions { inclination: Angle(89.9f64.to_radians()), distance: 1.0, ..Default::default() };
        assert!((earth.place(0.0, 1.0, 0.0).velocity - EARTH_KMS).abs() < 0.01);
    }

    /// 1 arcsec to the east at 150 au around 2 Msun: the earth's speed times sqrt(2/150), times sin i.
    #[test]
    fn the_red_side_lies_at_the_position_angle() {
        let expected = EARTH_KMS * (2.0f64 / 150.0).sqrt() * 0.5;
        let east = disc().place(1.0, 0.0, 0.0);
        assert!((east.velocity - expected).abs() < 1e-3 && (east.radius - 1.0).abs() < 1e-12);
        assert!((disc().place(-1.0, 0.0, 0.0).velocity + expected).abs() < 1e-3);
        assert!(disc().place(0.0, 1.0, 0.0).velocity.abs() < 1e-9);
        assert!((disc().place(0.0, 1.0, 0.0).radius - 1.0 / 30f64.to_radians().cos()).abs() < 1e-12);
    }

    #[test]
    fn the_mask_follows_the_line_through_the_channels() {
        let velocity: Vec<f64> = (0..41).map(|i| 0.25 * f64::from(i)).collect();
        let mask = keplerian_mask(&disc(), &velocity, 0.25, (65, 65), (32.0, 32.0), 0.2 * ARCSEC).unwrap();
        let chan_of = |v: f64| velocity.iter().position(|x| (x - v).abs() < 0.13).unwrap();
        let red = 5.0 + EARTH_KMS * (2.0f64 / 300.0).sqrt() * 0.5;
        // 2 arcsec to the east, 10 pixels to smaller x.
        assert!(mask[[chan_of(red), 32, 22]] && !mask[[chan_of(5.0), 32, 22]] && !mask[[chan_of(10.0 - red), 32, 22]]);
        assert!(mask[[chan_of(5.0), 42, 32]]);
        assert!(!mask[[chan_of(5.0), 64, 32]], "beyond r_max");
    }

    #[test]
    fn a_thick_layer_widens_the_mask() {
        let velocity: Vec<f64> = (0..41).map(|i| 0.25 * f64::from(i)).collect();
        let count = |zr| {
            let options = KeplerianOptions { zr, zr_step: 0.1, ..disc() };
            let mask = keplerian_mask(&options, &velocity, 0.25, (65, 65), (32.0, 32.0), 0.2 * ARCSEC).unwrap();
            mask.iter().filter(|m| **m).count()
        };
        assert!(count(0.3) > count(0.0));
    }

    #[test]
    fn impossible_discs_are_refused() {
        for options in [KeplerianOptions { mass: 0.0, ..disc() }, KeplerianOptions { inclination: Angle(1.6), ..disc() }] {
            assert!(keplerian_mask(&options, &[0.0], 0.1, (8, 8), (4.0, 4.0), ARCSEC).is_err());
        }
        let far = KeplerianOptions { vlsr: Velocity(500.0), ..disc() };
        assert_eq!(keplerian_mask(&far, &[0.0], 0.1, (8, 8), (4.0, 4.0), ARCSEC).unwrap_err(), ImagingError::EmptyMask);
    }

    #[test]
    fn smoothing_grows_a_mask() {
        let mut mask = Array2::from_elem((41, 41), false);
        mask[[20, 20]] = true;
        let grown = smooth_mask(&mask, 4.0 * ARCSEC, ARCSEC);
        assert!(grown[[20, 22]] && !grown[[20, 30]]);
    }
}
