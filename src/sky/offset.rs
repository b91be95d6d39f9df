//! Offsets on the sky, and what moving the phase center does to visibilities.

use super::Direction;
use crate::units::MAS;

/// A small offset on the sky, positive to the east (dRA cos dec) and north.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Offset {
    /// To the east, rad: dRA cos(dec of the center).
    pub dra_rad: f64,
    /// To the north, rad.
    pub ddec_rad: f64,
}

impl Offset {
    /// No offset.
    pub const ZERO: Offset = Offset { dra_rad: 0.0, ddec_rad: 0.0 };

    /// An offset given in milliarcseconds.
    pub fn from_mas(dra_mas: f64, ddec_mas: f64) -> Offset {
        Offset { dra_rad: dra_mas * MAS, ddec_rad: ddec_mas * MAS }
    }
    /// To the east, mas.
    pub fn dra_mas(self) -> f64 {
        self.dra_rad / MAS
    }
    /// To the north, mas.
    pub fn ddec_mas(self) -> f64 {
        self.ddec_rad / MAS
    }
    /// Its length, rad.
    pub fn length_rad(self) -> f64 {
        self.dra_rad.hypot(self.ddec_rad)
    }
    /// Its length, mas.
    pub fn length_mas(self) -> f64 {
        self.length_rad() / MAS
    }

    /// Direction cosines (l, m, n-1) of `center` moved by this offset, as seen from `center`.
    pub fn lmn(self, center: Direction) -> [f64; 3] {
        let (sin_dec, cos_dec) = center.dec_rad.sin_cos();
        let (dra, dec) = (self.dra_rad / cos_dec, center.dec_rad + self.ddec_rad);
        // 1 - cos(dra) without cancellation.
        let versine = 2.0 * (dra / 2.0).sin().powi(2);
        let l = dec.cos() * dra.sin();
        let m = self.ddec_rad.sin() + dec.cos() * sin_dec * versine;
        let n_minus_1 = -2.0 * (self.ddec_rad / 2.0).sin().powi(2) - dec.cos() * cos_dec * versine;
        [l, m, n_minus_1]
    }

    /// The offset whose direction cosines from `center` are (l, m): the inverse of [`lmn`](Offset::lmn).
    pub fn from_lm(center: Direction, l: f64, m: f64) -> Offset {
        let (sin_dec, cos_dec) = center.dec_rad.sin_cos();
        let r2 = l * l + m * m;
        let n = (1.0 - r2).max(0.0).sqrt();
        let towards = n * cos_dec - m * sin_dec;
        let dra = l.atan2(towards);
        // sin(dec') - sin(dec) = m cos dec + (n-1) sin dec, turned into dec' - dec without cancellation.
        let rise = m * cos_dec - r2 / (1.0 + n) * sin_dec;
        let dec = (sin_dec + rise).atan2(l.hypot(towards));
        let ddec = 2.0 * (rise / (2.0 * ((dec + center.dec_rad) / 2.0).cos())).clamp(-1.0, 1.0).asin();
        Offset { dra_rad: dra * cos_dec, ddec_rad: ddec }
    }
}

impl std::ops::Neg for Offset {
    type Output = Offset;
    fn neg(self) -> Offset {
        Offset { dra_rad: -self.dra_rad, ddec_rad: -self.ddec_rad }
    }
}
impl std::ops::Sub for Offset {
    type Output = Offset;
    fn sub(self, other: Offset) -> Offset {
        Offset { dra_rad: self.dra_rad - other.dra_rad, ddec_rad: self.ddec_rad - other.ddec_rad }
    }
}
impl std::ops::Add for Offset {
    type Output = Offset;
    fn add(self, other: Offset) -> Offset {
        Offset { dra_rad: self.dra_rad + other.dra_rad, ddec_rad: self.ddec_rad + other.ddec_rad }
    }
}

impl std::fmt::Display for Offset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({:+.3}, {:+.3}) mas", self.dra_mas(), self.ddec_mas())
    }
}

/// A move of the phase center: how UVW turns, and the path to take out of the phases.
///
/// V' = V exp(-2πi Δw ν/c), Δw = w_new - w_old in metres; no small-angle approximation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recenter {
    rotation: [[f64; 3]; 3],
    lmn: [f64; 3],
}

impl Recenter {
    /// The move from `center` to `center` moved by `offset`.
    pub fn by(center: Direction, offset: Offset) -> Recenter {
        let to = center.moved(offset.dra_rad, offset.ddec_rad);
        let (old, new) = (basis(center), basis(to));
        let mut rotation = [[0.0; 3]; 3];
        for (row, axis) in rotation.iter_mut().zip(&new) {
            for (cell, other) in row.iter_mut().zip(&old) {
                *cell = axis.iter().zip(other).map(|(a, b)| a * b).sum();
            }
        }
        Recenter { rotation, lmn: offset.lmn(center) }
    }

    /// UVW with respect to the new center, metres.
    #[inline]
    pub fn uvw(&self, uvw: [f64; 3]) -> [f64; 3] {
        self.rotation.map(|row| row[0] * uvw[0] + row[1] * uvw[1] + row[2] * uvw[2])
    }

    /// w_new - w_old, metres, from the old UVW.
    #[inline]
    pub fn path(&self, uvw: [f64; 3]) -> f64 {
        self.lmn[0] * uvw[0] + self.lmn[1] * uvw[1] + self.lmn[2] * uvw[2]
    }
}

/// Unit vectors to the east, to the north and to the direction itself.
fn basis(d: Direction) -> [[f64; 3]; 3] {
    let ((sa, ca), (sd, cd)) = (d.ra_rad.sin_cos(), d.dec_rad.sin_cos());
    [[-sa, ca, 0.0], [-sd * ca, -sd * sa, cd], [cd * ca, cd * sa, sd]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sky::Frame;
    use crate::units::ARCSEC;

    #[test]
    fn direction_cosines_come_back_as_the_offset() {
        for dec in [-1.4, -0.3, 0.0, 0.6, 1.5] {
            let center = Direction::new(2.0, dec, Frame::Icrs);
            for (e, n) in [(0.0, 0.0), (0.01, -0.02), (10.0, 7.0), (-300.0, 200.0)] {
                let offset = Offset { dra_rad: e * ARCSEC, ddec_rad: n * ARCSEC };
                let [l, m, _] = offset.lmn(center);
                let back = Offset::from_lm(center, l, m);
                assert!((back - offset).length_rad() < 1e-9 * MAS, "{dec} {offset}: {back}");
            }
            assert_eq!(Offset::from_lm(center, 0.0, 0.0), Offset::ZERO);
        }
    }

    /// w_new computed by the rotation equals w_old + the path.
    #[test]
    fn the_path_is_the_change_of_w() {
        let center = Direction::new(1.0, -1.2, Frame::J2000);
        let recenter = Recenter::by(center, Offset { dra_rad: 10.0 * ARCSEC, ddec_rad: -25.0 * ARCSEC });
        let uvw = [1234.0, -8765.0, 4321.0];
        assert!((recenter.uvw(uvw)[2] - uvw[2] - recenter.path(uvw)).abs() < 1e-11);
    }
}
