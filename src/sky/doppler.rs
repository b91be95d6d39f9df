//! Frequencies seen from the observatory, the earth's centre, the solar system's centre and the local standard of rest.

use std::collections::BTreeMap;
use std::sync::RwLock;

use super::earth::{celestial_to_terrestrial, dot, earth_velocity, terrestrial_time};
use super::{Direction, Frame, SpectralFrame};
use crate::units::C_M_S;

/// Rotation of the earth, rad/s.
const EARTH_RAD_S: f64 = 7.292_115e-5;
/// Motion of the sun in the kinematic local standard of rest: 20 km/s towards 18h +30° (1900), in J2000 m/s.
const SUN_LSRK_M_S: [f64; 3] = [290.0, -17_317.26, 10_001.41];
/// Distance of the times at which factors are computed. Between them the factor is taken as straight: the
/// observatory's turn by 0.9° bends it by 0.015 m/s, 5e-11 of the frequency.
const NODE_S: f64 = 120.0;

/// Why frequencies cannot be brought to another frame.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DopplerError {
    /// A frame without a known motion.
    #[error("frequencies in frame {} cannot be brought to {}; frames that can: TOPOCENT, GEOCENTR, BARYCENT, LSRK", .from.name(), .to.name())]
    Frame {
        /// Frame of the data.
        from: SpectralFrame,
        /// Frame asked for.
        to: SpectralFrame,
    },
    /// A direction that is not celestial.
    #[error("the direction {0} is not given in ICRS or J2000, so its Doppler shift is unknown")]
    Direction(Direction),
}

impl crate::error::Explain for DopplerError {
    fn kind(&self) -> crate::error::Kind {
        crate::error::Kind::Data
    }
}

/// The factor from frequencies in one frame to those in another, towards one direction, as a function of time.
#[derive(Debug)]
pub struct Doppler {
    from: Step,
    to: Step,
    /// ICRS.
    direction: [f64; 3],
    observatory_m: [f64; 3],
    node: RwLock<BTreeMap<i64, f64>>,
}

/// Frames in the order of the motions between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Topocentric,
    Geocentric,
    Barycentric,
    Lsrk,
}

impl Step {
    fn of(frame: SpectralFrame) -> Option<Step> {
        Some(match frame {
            SpectralFrame::Topo => Step::Topocentric,
            SpectralFrame::Geo => Step::Geocentric,
            SpectralFrame::Bary => Step::Barycentric,
            SpectralFrame::Lsrk => Step::Lsrk,
            _ => return None,
        })
    }
}

impl Doppler {
    /// From frequencies in `from` to those in `to`, for an observatory at `observatory_m` (ITRF, metres).
    pub fn new(from: SpectralFrame, to: SpectralFrame, direction: Direction, observatory_m: [f64; 3]) -> Result<Doppler, DopplerError> {
        let (Some(a), Some(b)) = (Step::of(from), Step::of(to)) else { return Err(DopplerError::Frame { from, to }) };
        let icrs = direction.in_frame(Frame::Icrs).ok_or(DopplerError::Direction(direction))?;
        let ((sr, cr), (sd, cd)) = (icrs.ra_rad.sin_cos(), icrs.dec_rad.sin_cos());
        Ok(Doppler { from: a, to: b, direction: [cd * cr, cd * sr, sd], observatory_m, node: RwLock::default() })
    }

    /// Frequency in the new frame over that in the old one, at MJD seconds UTC.
    pub fn factor(&self, time_s: f64) -> f64 {
        if self.from == self.to {
            return 1.0;
        }
        let i = (time_s / NODE_S).floor();
        let (a, b) = (self.node(i as i64), self.node(i as i64 + 1));
        a + (b - a) * (time_s / NODE_S - i)
    }

    fn node(&self, i: i64) -> f64 {
        if let Some(factor) = self.node.read().ok().and_then(|node| node.get(&i).copied()) {
            return factor;
        }
        let factor = self.exact(i as f64 * NODE_S);
        if let Ok(mut node) = self.node.write() {
            node.insert(i, factor);
        }
        factor
    }

    /// Without interpolation in time.
    fn exact(&self, time_s: f64) -> f64 {
        let (low, high) = (self.from.min(self.to), self.from.max(self.to));
        let mut factor = 1.0;
        // Each step by the relativistic formula for the velocity along the line of sight, as casacore composes them.
        let mut step = |from: Step, towards: f64| {
            if low <= from && from < high {
                factor *= ((1.0 - towards) / (1.0 + towards)).sqrt();
            }
        };
        step(Step::Topocentric, self.spin(time_s));
        step(Step::Geocentric, dot(earth_velocity_at(time_s), self.direction));
        step(Step::Barycentric, dot(SUN_LSRK_M_S, self.direction) / C_M_S);
        if self.from <= self.to { factor } else { 1.0 / factor }
    }

    /// Velocity of the observatory towards the source by the turn of the earth, over that of light.
    fn spin(&self, time_s: f64) -> f64 {
        let to_itrf = celestial_to_terrestrial(time_s);
        let source = to_itrf.map(|row| dot(row, self.direction));
        let [x, y, _] = self.observatory_m;
        EARTH_RAD_S * (x * source[1] - y * source[0]) / C_M_S
    }
}

fn earth_velocity_at(time_s: f64) -> [f64; 3] {
    let (tt1, tt2) = terrestrial_time(time_s);
    earth_velocity(tt1, tt2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALMA_M: [f64; 3] = [2225015.3, -5440016.4, -2481631.2];

    fn doppler(from: SpectralFrame, to: SpectralFrame) -> Doppler {
        Doppler::new(from, to, Direction::new(1.29051499, 0.53321619, Frame::Icrs), ALMA_M).unwrap()
    }

    #[test]
    fn there_and_back_is_one() {
        let time = 5.165e9 + 1234.5;
        let (there, back) = (
            doppler(SpectralFrame::Topo, SpectralFrame::Lsrk).factor(time),
            doppler(SpectralFrame::Lsrk, SpectralFrame::Topo).factor(time),
        );
        assert!((there * back - 1.0).abs() < 1e-12 && (there - 1.0).abs() < 3e-4);
    }

    #[test]
    fn between_the_nodes_the_factor_is_exact_to_a_few_centimetres_a_second() {
        let d = doppler(SpectralFrame::Topo, SpectralFrame::Bary);
        for i in 0..200 {
            let time = 5.165e9 + 431.7 * f64::from(i);
            assert!((d.factor(time) - d.exact(time)).abs() * C_M_S < 0.03);
        }
    }

    #[test]
    fn a_frame_without_a_motion_is_refused() {
        let direction = Direction::new(1.0, 0.5, Frame::Icrs);
        assert!(Doppler::new(SpectralFrame::Topo, SpectralFrame::Cmb, direction, ALMA_M).is_err());
    }

    /// A direction may be given in any frame of the sky.
    #[test]
    fn the_frame_of_the_direction_does_not_matter() {
        let direction = Direction::new(1.0, 0.5, Frame::Icrs);
        let galactic = direction.in_frame(Frame::Galactic).unwrap();
        let factor = |d| Doppler::new(SpectralFrame::Topo, SpectralFrame::Lsrk, d, ALMA_M).unwrap().factor(5.1e9);
        assert!((factor(direction) - factor(galactic)).abs() < 1e-12);
    }
}
