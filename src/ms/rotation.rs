//! The rotation of a baseline and of its visibilities to another phase center.

use num_complex::{Complex32, Complex64};

use crate::sky::Direction;
use crate::units::C_M_S;

/// Turns (u, v, w) of one phase center into those of another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rotation {
    matrix: [[f64; 3]; 3],
    identity: bool,
}

impl Rotation {
    /// From one direction to another of the same frame.
    pub fn between(old: Direction, new: Direction) -> Rotation {
        let (a, b) = (axes(new), axes(old));
        let dot = |x: [f64; 3], y: [f64; 3]| x[0] * y[0] + x[1] * y[1] + x[2] * y[2];
        Rotation { matrix: a.map(|x| b.map(|y| dot(x, y))), identity: old == new }
    }

    /// True if nothing moves.
    pub fn is_identity(&self) -> bool {
        self.identity
    }

    /// The baseline as seen from the new phase center, metres.
    pub fn uvw(&self, uvw_m: [f64; 3]) -> [f64; 3] {
        if self.identity {
            return uvw_m;
        }
        self.matrix.map(|row| row[0] * uvw_m[0] + row[1] * uvw_m[1] + row[2] * uvw_m[2])
    }
}

/// The axes of u, v and w at a direction, in the coordinates of its frame.
fn axes(d: Direction) -> [[f64; 3]; 3] {
    let ((sa, ca), (sd, cd)) = (d.ra_rad.sin_cos(), d.dec_rad.sin_cos());
    [[-sa, ca, 0.0], [-sd * ca, -sd * sa, cd], [cd * ca, cd * sa, sd]]
}

/// The frequencies of the channels of a spectral window, as far as phases need them.
#[derive(Debug, Clone)]
pub struct Channels {
    per_metre: Vec<f64>,
    step: Option<f64>,
}

impl Channels {
    /// From the frequencies of a window, Hz.
    pub fn new(freq_hz: &[f64]) -> Channels {
        // Turns of phase per metre of w.
        let per_metre: Vec<f64> = freq_hz.iter().map(|f| f / C_M_S).collect();
        Channels { step: even_step(&per_metre), per_metre }
    }

    /// Multiplies the visibilities of one row, [chan, corr], by exp(-2πi Δw ν/c).
    pub fn turn(&self, vis: &mut [Complex32], dw_m: f64) {
        let n_corr = vis.len() / self.per_metre.len().max(1);
        if n_corr == 0 {
            return;
        }
        match self.step {
            None => {
                for (cell, f) in vis.chunks_exact_mut(n_corr).zip(&self.per_metre) {
                    multiply(cell, phasor(dw_m * f));
                }
            }
            Some(step) => {
                // From channel to channel by one multiplication, started anew often enough to stay at rounding.
                const RUN: usize = 64;
                let next = phasor(dw_m * step);
                for (cells, f) in vis.chunks_mut(RUN * n_corr).zip(self.per_metre.iter().step_by(RUN)) {
                    let mut p = phasor(dw_m * f);
                    for cell in cells.chunks_exact_mut(n_corr) {
                        multiply(cell, p);
                        p *= next;
                    }
                }
            }
        }
    }
}

/// exp(-2πi t); whole turns are taken off first, so that large shifts lose no digits.
fn phasor(turns: f64) -> Complex64 {
    let (sin, cos) = (-std::f64::consts::TAU * (turns - turns.round())).sin_cos();
    Complex64::new(cos, sin)
}

fn multiply(cell: &mut [Complex32], p: Complex64) {
    for v in cell {
        let (re, im) = (f64::from(v.re), f64::from(v.im));
        *v = Complex32::new((re * p.re - im * p.im) as f32, (re * p.im + im * p.re) as f32);
    }
}

/// The step between channels, if all have the same to 1e-13 of the frequency: 1e-7 turns at the longest baselines.
fn even_step(values: &[f64]) -> Option<f64> {
    let (first, last) = (values.first()?, values.last()?);
    let step = (last - first) / (values.len() - 1).max(1) as f64;
    let even = values.iter().enumerate().all(|(i, v)| (first + i as f64 * step - v).abs() <= 1e-13 * v.abs());
    (values.len() > 1 && even).then_some(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sky::Frame;
    use crate::units::ARCSEC;

    #[test]
    fn there_and_back_is_where_one_was() {
        let a = Direction::new(1.3, -1.39, Frame::Icrs);
        let b = a.moved(10.0 * ARCSEC, -7.0 * ARCSEC);
        let uvw = [1234.5, -9876.5, 4321.0];
        let back = Rotation::between(b, a).uvw(Rotation::between(a, b).uvw(uvw));
        assert!(uvw.iter().zip(back).all(|(x, y)| (x - y).abs() < 1e-11));
        assert!(Rotation::between(a, a).is_identity());
    }

    /// The visibility of a point source at the new center has no phase once it was moved there, for 10" as for 1".
    #[test]
    fn a_source_at_the_new_center_has_no_phase() {
        let old = Direction::new(0.3, 0.53, Frame::J2000);
        for offset in [(1.0, 2.0), (-10.0, 3.0), (600.0, -900.0)] {
            let new = old.moved(offset.0 * ARCSEC, offset.1 * ARCSEC);
            let freq: Vec<f64> = (0..200).map(|i| 217e9 + 15.625e6 * f64::from(i)).collect();
            for channels in [Channels::new(&freq), Channels { step: None, ..Channels::new(&freq) }] {
                let uvw = [4000.0, -3000.0, 2500.0];
                // Path of the source at `new` against the old center: w as seen from it minus w as seen from the old one.
                let turned = Rotation::between(old, new).uvw(uvw);
                let dw = turned[2] - uvw[2];
                let mut vis: Vec<Complex32> = freq
                    .iter()
                    .map(|f| Complex64::from_polar(1.0, std::f64::consts::TAU * (dw * f / C_M_S).fract()))
                    .map(|v| Complex32::new(v.re as f32, v.im as f32))
                    .collect();
                channels.turn(&mut vis, dw);
                assert!(vis.iter().all(|v| v.arg().abs() < 3e-7), "{offset:?}: {}", vis.iter().map(|v| v.arg().abs()).fold(0.0, f32::max));
            }
        }
    }

    #[test]
    fn uneven_channels_are_seen() {
        assert!(Channels::new(&[1e9, 2e9, 3e9]).step.is_some());
        assert!(Channels::new(&[1e9, 2e9, 3.1e9]).step.is_none());
        assert!(Channels::new(&[1e9]).step.is_none());
    }
}
