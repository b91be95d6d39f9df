//! The turning earth: baselines on the ground as seen from the source.

use super::Direction;
use crate::units::C_M_S;

pub(super) const MJD_ZERO: f64 = 2_400_000.5;
pub(super) const AU_M: f64 = 149_597_870_700.0;
pub(super) const DAY_S: f64 = 86_400.0;

/// Axes u (east), v (north) and w (to the source) of a phase center at a time, as rows of a matrix that turns ITRF
/// vectors into UVW.
///
/// Aberration is applied as casacore does it: the three axes are turned together by the smallest turn that carries the
/// direction to the apparent one. Without it UVW is wrong by 1e-4 of the baseline. UT1 - UTC and the motion of the
/// pole are left out (2e-6 of the baseline), and so is the step from J2000 to ICRS (1e-7).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UvwAxes(pub [[f64; 3]; 3]);

impl UvwAxes {
    /// Axes at `time_s`, MJD seconds UTC.
    pub fn new(center: Direction, time_s: f64) -> UvwAxes {
        let (tt1, tt2) = terrestrial_time(time_s);
        let to_itrf = celestial_to_terrestrial(time_s);
        let axes = turn_by_aberration(tangent_axes(center), earth_velocity(tt1, tt2));
        UvwAxes(axes.map(|axis| times(&to_itrf, axis)))
    }

    /// UVW of a vector on the ground, metres.
    pub fn uvw(&self, itrf_m: [f64; 3]) -> [f64; 3] {
        self.0.map(|axis| dot(axis, itrf_m))
    }

    /// Direction of the source, ITRF.
    pub fn source(&self) -> [f64; 3] {
        self.0[2]
    }
}

/// TT of a time given as MJD seconds UTC, in two parts as SOFA takes it.
pub(super) fn terrestrial_time(time_s: f64) -> (f64, f64) {
    let days = time_s / DAY_S;
    sofars::ts::utctai(MJD_ZERO, days)
        .and_then(|(a, b)| sofars::ts::taitt(a, b))
        // Only for dates that UTC does not know; TT = UTC + 69 s is then as good as anything.
        .unwrap_or((MJD_ZERO, days + 69.184 / DAY_S))
}

/// Matrix that turns celestial vectors into ITRF, at MJD seconds UTC.
pub(super) fn celestial_to_terrestrial(time_s: f64) -> [[f64; 3]; 3] {
    let (tt1, tt2) = terrestrial_time(time_s);
    sofars::pnp::c2t06a(tt1, tt2, MJD_ZERO, time_s / DAY_S, 0.0, 0.0)
}

/// East, north, and the direction itself, in celestial coordinates.
fn tangent_axes(center: Direction) -> [[f64; 3]; 3] {
    let ((sr, cr), (sd, cd)) = (center.ra_rad.sin_cos(), center.dec_rad.sin_cos());
    [[-sr, cr, 0.0], [-sd * cr, -sd * sr, cd], [cd * cr, cd * sr, sd]]
}

/// Velocity of the earth about the barycentre, in units of the speed of light.
pub(super) fn earth_velocity(tt1: f64, tt2: f64) -> [f64; 3] {
    let barycentric = sofars::eph::epv00(tt1, tt2).map_or([0.0; 3], |(_, pvb)| pvb[1]);
    barycentric.map(|v| v * AU_M / DAY_S / C_M_S)
}

fn turn_by_aberration(axes: [[f64; 3]; 3], velocity: [f64; 3]) -> [[f64; 3]; 3] {
    let s = axes[2];
    let apparent: [f64; 3] = std::array::from_fn(|i| s[i] + velocity[i]);
    let length = dot(apparent, apparent).sqrt();
    let apparent = apparent.map(|a| a / length);
    let (k, c) = (cross(s, apparent), dot(s, apparent));
    // Rodrigues' formula for the turn about k = s x s', with |k| the sine and c the cosine of the angle.
    axes.map(|x| {
        let (kx, kkx) = (cross(k, x), cross(k, cross(k, x)));
        std::array::from_fn(|i| x[i] + kx[i] + kkx[i] / (1.0 + c))
    })
}

fn times(m: &[[f64; 3]; 3], v: [f64; 3]) -> [f64; 3] {
    m.map(|row| dot(row, v))
}
pub(super) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}
fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sky::Frame;

    #[test]
    fn the_axes_are_orthonormal_and_right_handed() {
        let axes = UvwAxes::new(Direction::new(1.29, 0.533, Frame::Icrs), 5.165e9).0;
        for i in 0..3 {
            for j in 0..3 {
                assert!((dot(axes[i], axes[j]) - f64::from(u8::from(i == j))).abs() < 1e-14);
            }
        }
        let w = cross(axes[0], axes[1]);
        assert!((0..3).all(|i| (w[i] - axes[2][i]).abs() < 1e-14));
    }

    #[test]
    fn a_sidereal_day_later_the_axes_are_back() {
        let center = Direction::new(1.29, 0.533, Frame::Icrs);
        let (a, b) = (UvwAxes::new(center, 5.165e9).0, UvwAxes::new(center, 5.165e9 + 86_164.0905).0);
        // Aberration changes by 0.3 arcsec a day, precession by 0.14.
        assert!((0..3).all(|i| (0..3).all(|j| (a[i][j] - b[i][j]).abs() < 3e-6)));
    }
}
