//! A direction with its frame, and offsets between directions.

/// Reference frame of a direction, as casacore names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Frame {
    /// International Celestial Reference System.
    #[serde(rename = "ICRS")]
    Icrs,
    /// Mean equator and equinox of J2000 in casacore's sense (IAU frame bias from ICRS), not astropy's FK5.
    J2000,
    /// Mean equator and equinox of B1950.
    B1950,
    /// Galactic coordinates.
    #[serde(rename = "GALACTIC")]
    Galactic,
}

impl Frame {
    /// casacore's name.
    pub fn name(self) -> &'static str {
        match self {
            Frame::Icrs => "ICRS",
            Frame::J2000 => "J2000",
            Frame::B1950 => "B1950",
            Frame::Galactic => "GALACTIC",
        }
    }
    /// From casacore's name.
    pub fn from_name(name: &str) -> Option<Frame> {
        [Frame::Icrs, Frame::J2000, Frame::B1950, Frame::Galactic].into_iter().find(|f| f.name().eq_ignore_ascii_case(name))
    }
}

/// A direction on the sky.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Direction {
    /// Right ascension (longitude), rad.
    pub ra_rad: f64,
    /// Declination (latitude), rad.
    pub dec_rad: f64,
    /// Frame.
    pub frame: Frame,
}

impl Direction {
    /// A direction from its coordinates.
    pub fn new(ra_rad: f64, dec_rad: f64, frame: Frame) -> Direction {
        Direction { ra_rad, dec_rad, frame }
    }

    /// The direction `(dra, ddec)` to the east and north on the sky: (ra + dra/cos dec, dec + ddec).
    pub fn moved(self, dra_rad: f64, ddec_rad: f64) -> Direction {
        Direction { ra_rad: self.ra_rad + dra_rad / self.dec_rad.cos(), dec_rad: self.dec_rad + ddec_rad, ..self }
    }

    /// The same direction in another frame; `None` unless both are J2000 or ICRS.
    ///
    /// J2000 is ICRS turned by the frame bias of IAU 2000, to the last digit what casacore does.
    pub fn in_frame(self, frame: Frame) -> Option<Direction> {
        if self.frame == frame {
            return Some(self);
        }
        let (bias, _, _) = sofars::pnp::bp00(2_451_545.0, 0.0);
        let ((sr, cr), (sd, cd)) = (self.ra_rad.sin_cos(), self.dec_rad.sin_cos());
        let v = [cd * cr, cd * sr, sd];
        let to: [f64; 3] = match (self.frame, frame) {
            (Frame::Icrs, Frame::J2000) => std::array::from_fn(|i| (0..3).map(|j| bias[i][j] * v[j]).sum()),
            (Frame::J2000, Frame::Icrs) => std::array::from_fn(|i| (0..3).map(|j| bias[j][i] * v[j]).sum()),
            _ => return None,
        };
        let turn = to[1].atan2(to[0]) - self.ra_rad;
        // The right ascension stays in the turn it was given in: -0.3 rad is not made 5.98.
        let ra_rad = self.ra_rad + (turn + std::f64::consts::PI).rem_euclid(std::f64::consts::TAU) - std::f64::consts::PI;
        Some(Direction::new(ra_rad, to[2].atan2(to[0].hypot(to[1])), frame))
    }

    /// Angle to another direction of the same frame, rad (haversine: exact for small angles too).
    pub fn separation_rad(self, other: Direction) -> f64 {
        let (sd, sr) = (((other.dec_rad - self.dec_rad) / 2.0).sin(), ((other.ra_rad - self.ra_rad) / 2.0).sin());
        2.0 * (sd * sd + self.dec_rad.cos() * other.dec_rad.cos() * sr * sr).sqrt().min(1.0).asin()
    }

    /// `04:55:45.854900 +30.33.03.73320`, as CASA prints directions.
    pub fn sexagesimal(self) -> String {
        let tau = std::f64::consts::TAU;
        // Rounded to the last shown digit first, so that no field shows 60.
        let t = (self.ra_rad.rem_euclid(tau) / tau * 86_400.0 * 1e6).round() / 1e6 % 86_400.0;
        let d = (self.dec_rad.abs().to_degrees() * 3600.0 * 1e5).round() / 1e5;
        let sign = if self.dec_rad < 0.0 { '-' } else { '+' };
        format!(
            "{:02}:{:02}:{:09.6} {sign}{:02}.{:02}.{:08.5}",
            (t / 3600.0) as u32,
            (t / 60.0) as u32 % 60,
            t % 60.0,
            (d / 3600.0) as u32,
            (d / 60.0) as u32 % 60,
            d % 60.0
        )
    }
}

impl std::fmt::Display for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.frame.name(), self.sexagesimal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::ARCSEC;

    /// casatools 6.7: `me.measure(me.direction('ICRS', ra, dec), 'J2000')`.
    #[test]
    fn icrs_becomes_the_j2000_of_casacore_and_back() {
        let known = [
            (1.29051499, 0.53321619, 1.290515020484922, 0.5332161359440913),
            (4.2, -1.1, -2.0831853425091515 + std::f64::consts::TAU, -1.0999999316888684),
        ];
        for (ra, dec, ra_j2000, dec_j2000) in known {
            let icrs = Direction::new(ra, dec, Frame::Icrs);
            let j2000 = icrs.in_frame(Frame::J2000).unwrap();
            assert!((j2000.ra_rad - ra_j2000).abs() < 1e-14 && (j2000.dec_rad - dec_j2000).abs() < 1e-14);
            assert!(j2000.in_frame(Frame::Icrs).unwrap().separation_rad(icrs) < 1e-15);
        }
        assert_eq!(Direction::new(1.0, 1.0, Frame::Galactic).in_frame(Frame::Icrs), None);
    }

    #[test]
    fn a_small_move_is_its_own_separation() {
        let a = Direction::new(1.29, -1.4, Frame::Icrs);
        let b = a.moved(3e-3 * ARCSEC, 4e-3 * ARCSEC);
        assert!((a.separation_rad(b) / ARCSEC - 5e-3).abs() < 1e-8);
    }

    #[test]
    fn no_field_of_a_printed_direction_shows_sixty() {
        let d = Direction::new((3599.9999999 / 86400.0) * std::f64::consts::TAU, -(59.9999999999 * ARCSEC), Frame::J2000);
        assert_eq!(d.sexagesimal(), "01:00:00.000000 -00.01.00.00000");
    }
}
