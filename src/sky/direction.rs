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
///
/// Written in scripts as a text, `"ICRS 04h55m45.8549s +30d33m03.7332s"`, or as the map of its fields.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
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

    /// The same direction in another frame; `None` only where none is known.
    ///
    /// J2000 is ICRS turned by the frame bias of IAU 2000, to the last digit what casacore does. B1950 is the FK4 catalogue's frame, for
    /// a source without proper motion seen in 1950 (SOFA's fk45z and fk54z).
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
            (Frame::Galactic, _) => {
                let (ra, dec) = sofars::coords::g2icrs(self.ra_rad, self.dec_rad);
                return Direction::new(ra, dec, Frame::Icrs).in_frame(frame);
            }
            (Frame::B1950, _) => {
                let (ra, dec) = sofars::star::fk45z(self.ra_rad, self.dec_rad, 1950.0);
                return Direction::new(ra, dec, Frame::J2000).in_frame(frame);
            }
            (_, Frame::Galactic) => {
                let d = self.in_frame(Frame::Icrs)?;
                let (l, b) = sofars::coords::icrs2g(d.ra_rad, d.dec_rad);
                return Some(Direction::new(l, b, frame));
            }
            (_, Frame::B1950) => {
                let d = self.in_frame(Frame::J2000)?;
                let (ra, dec, _, _) = sofars::star::fk54z(d.ra_rad, d.dec_rad, 1950.0);
                return Some(Direction::new(ra, dec, frame));
            }
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

    /// Offset to the east and north, rad, that [`moved`](Direction::moved) turns into `to`, a direction of the same frame.
    pub fn offset_to(self, to: Direction) -> (f64, f64) {
        let tau = std::f64::consts::TAU;
        let dra = (to.ra_rad - self.ra_rad + tau / 2.0).rem_euclid(tau) - tau / 2.0;
        (dra * self.dec_rad.cos(), to.dec_rad - self.dec_rad)
    }

    /// Reads a frame and two angles: `J2000 04h55m45.8549s +30d33m03.7332s`, `ICRS 04:55:45.8549 +30.33.03.7332`,
    /// `ICRS 73.941deg 30.551deg`.
    pub fn parse(text: &str) -> Result<Direction, String> {
        let expected = "expected a direction with its frame, for example \"ICRS 04h55m45.8549s +30d33m03.7332s\"";
        let words: Vec<&str> = text.split_whitespace().collect();
        let [frame, ra, dec] = words[..] else { return Err(format!("\"{text}\": {expected}")) };
        let frame = Frame::from_name(frame).ok_or_else(|| format!("\"{text}\": frame {frame} is unknown: {expected}"))?;
        let ra_rad = hours(ra).map(|h| h * std::f64::consts::TAU / 24.0).or_else(|| angle(ra));
        let dec_rad = degrees(dec).map(f64::to_radians).or_else(|| angle(dec)).filter(|d| d.abs() <= std::f64::consts::FRAC_PI_2);
        match (ra_rad, dec_rad) {
            (Some(ra_rad), Some(dec_rad)) => Ok(Direction { ra_rad, dec_rad, frame }),
            _ => Err(format!("\"{text}\": {expected}")),
        }
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

/// `04h55m45.8549s` or `04:55:45.8549`, in hours.
fn hours(text: &str) -> Option<f64> {
    sexagesimal_parts(text, &[['h', 'm', 's'], [':', ':', '\0']])
}

/// `+30d33m03.7332s`, `+30:33:03.7` or CASA's `+30.33.03.7332`, in degrees.
fn degrees(text: &str) -> Option<f64> {
    sexagesimal_parts(text, &[['d', 'm', 's'], [':', ':', '\0'], ['.', '.', '\0']])
}

/// Three numbers with these marks between (and after, unless the mark is NUL), joined as n + n/60 + n/3600.
fn sexagesimal_parts(text: &str, marks: &[[char; 3]]) -> Option<f64> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    marks.iter().find_map(|[a, b, c]| {
        let (first, rest) = rest.split_once(*a)?;
        let (second, third) = rest.split_once(*b)?;
        // The last mark is often left out.
        let third = if *c == '\0' { third } else { third.strip_suffix(*c).unwrap_or(third) };
        let (whole, minutes): (u32, u32) = (first.parse().ok()?, second.parse().ok()?);
        let seconds: f64 = third.parse().ok().filter(|s| (0.0..60.0).contains(s))?;
        (minutes < 60).then_some(sign * (f64::from(whole) + f64::from(minutes) / 60.0 + seconds / 3600.0))
    })
}

fn angle(text: &str) -> Option<f64> {
    crate::units::Angle::parse(text).ok().map(|a| a.0)
}

impl<'de> serde::Deserialize<'de> for Direction {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Direction, D::Error> {
        #[derive(serde::Deserialize)]
        struct Fields {
            ra_rad: f64,
            dec_rad: f64,
            frame: Frame,
        }
        use serde::de::Error;
        match serde_json::Value::deserialize(d)? {
            serde_json::Value::String(text) => Direction::parse(&text).map_err(D::Error::custom),
            other => {
                let f: Fields = serde_json::from_value(other).map_err(D::Error::custom)?;
                Ok(Direction::new(f.ra_rad, f.dec_rad, f.frame))
            }
        }
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
    }

    /// The galactic pole and centre, and Sagittarius A* between catalogues, to the roundings of the published numbers.
    #[test]
    fn frames_there_and_back() {
        let d = |ra: f64, dec: f64, frame| Direction::new(ra.to_radians(), dec.to_radians(), frame);
        let pole = d(192.85948, 27.12825, Frame::Icrs).in_frame(Frame::Galactic).unwrap();
        assert!((pole.dec_rad.to_degrees() - 90.0).abs() < 1e-4);
        let sgr = d(266.416_837, -29.007_811, Frame::Icrs).in_frame(Frame::Galactic).unwrap();
        assert!((sgr.ra_rad.to_degrees() - 359.944_23).abs() < 1e-4 && (sgr.dec_rad.to_degrees() + 0.046_16).abs() < 1e-4);
        for from in [Frame::Icrs, Frame::J2000, Frame::B1950, Frame::Galactic] {
            for to in [Frame::Icrs, Frame::J2000, Frame::B1950, Frame::Galactic] {
                let a = d(83.6, -35.0, from);
                let back = a.in_frame(to).and_then(|b| b.in_frame(from)).unwrap();
                // fk54z drops the small proper motion that fk45z gives back: 1e-8 rad.
                assert!(a.separation_rad(back) < 2e-8, "{from:?} {to:?} {}", a.separation_rad(back));
            }
        }
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

    #[test]
    fn written_directions_are_read() {
        let a = Direction::parse("J2000 04h55m45.8549s +30d33m03.7332s").unwrap();
        for text in ["J2000 04:55:45.8549 +30.33.03.7332", "j2000 04:55:45.8549 30:33:03.7332"] {
            assert_eq!(Direction::parse(text).unwrap(), a);
        }
        assert!((a.ra_rad - 1.2905149857757043).abs() < 1e-9 && (a.dec_rad - 0.5332161855486108).abs() < 1e-9);
        assert_eq!(Direction::parse("ICRS 10deg -0d00m30s").unwrap().dec_rad, -(30f64 / 3600.0).to_radians());
        for text in ["04h55m45s +30d33m03s", "FK5 1deg 2deg", "ICRS 4 5", "ICRS 1deg 95deg", "ICRS 04h61m00s 1deg"] {
            assert!(Direction::parse(text).unwrap_err().contains("expected a direction"), "{text}");
        }
        let shown: Direction = serde_json::from_value(serde_json::to_value(a).unwrap()).unwrap();
        assert_eq!(shown, a);
    }

    #[test]
    fn an_offset_leads_where_it_says() {
        let (a, b) = (Direction::new(0.1, 1.2, Frame::Icrs), Direction::new(0.1 - std::f64::consts::TAU + 1e-6, 1.2 - 3e-6, Frame::Icrs));
        let (east, north) = a.offset_to(b);
        assert!(a.moved(east, north).separation_rad(b) < 1e-15);
    }
}
