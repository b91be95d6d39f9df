//! The support that the data prefer: largest evidence, with the offsets where they are.
//!
//! -2 log evidence = χ² + |ζ|² + log det, the determinant in the circulant approximation. Too small a support cannot fit the data,
//! too large a one wastes them: on 12 antennas the error of a block with little overlap grows with the radius.

use num_complex::Complex64;

use super::prior::RadialPower;
use super::sky::Solution;
use super::state::State;
use super::support::{Extent, Picture, Support, SupportPatch, extents};
use crate::error::Result;
use crate::notice::Reporter;

/// Factor between radii that are tried.
const STEP: f64 = 1.12;
/// Logarithm of the smallest factor: beyond, the source is a point for these data.
const LEAST: f64 = -1.8;
/// Beyond the best radius: its own error costs less on the large side.
const MARGIN: f64 = 1.03;

/// Searches radius, up to `reach`, and shape of the source's patch; other patches stay unless they are useless.
///
/// The patch may have to grow: long baselines alone may show a bright core only.
pub(super) fn tune(
    state: &State,
    solution: &Solution,
    power: &RadialPower,
    (resolution, reach): (f64, f64),
    notice: &dyn Reporter,
) -> Result<Support> {
    let start = state.sky.support.clone();
    let warm = Some(solution.zeta.clone());
    let mut search = Search { state, power, right_side: state.right_side()?, warm, data: state.power_of_data(), notice };
    let picture = Picture { image: &solution.image, n: state.sky.n, pixel: state.sky.pixel, resolution };
    let main = start.patches[0];
    let rest = &start.patches[1..];
    let before = search.evaluate(&start)?;
    let seen = match extent_within(&picture, state.sky.center, &main) {
        Some(extent) => Some(search.shape(&extent, extent.disc(state.sky.center), rest, reach)?),
        None => None,
    };
    // What the image shows may be the bright core of a resolved source: it has to be better than what there was.
    let (best, mut value) = match seen.filter(|(_, value)| *value < before) {
        Some(better) => better,
        None => search.radius(main, rest, reach)?,
    };
    let scaled = |p: SupportPatch, f: f64| SupportPatch { major_rad: p.major_rad * f, minor_rad: p.minor_rad * f, ..p };
    let mut support = Support { patches: vec![scaled(best, MARGIN)] };
    support.patches.extend_from_slice(rest);
    for i in (1..support.patches.len()).rev() {
        let mut without = support.clone();
        without.patches.remove(i);
        let lower = search.evaluate(&without)?;
        if lower < value {
            (support, value) = (without, lower);
        }
    }
    Ok(support)
}

fn extent_within(picture: &Picture, middle: [f64; 2], main: &SupportPatch) -> Option<Extent> {
    // Only the source's own patch: the rest of the image belongs to others.
    let n = picture.n;
    let inside = |k: usize| {
        let east = middle[0] + ((k % n) as f64 - (n / 2) as f64) * picture.pixel;
        let north = middle[1] + ((k / n) as f64 - (n / 2) as f64) * picture.pixel;
        main.radius(east, north) < 1.0
    };
    let own: Vec<f64> = (0..n * n).map(|k| if inside(k) { picture.image[k] } else { 0.0 }).collect();
    extents(&Picture { image: &own, ..*picture }, main.major_rad).into_iter().next()
}

struct Search<'a> {
    state: &'a State,
    power: &'a RadialPower,
    right_side: Vec<f64>,
    warm: Option<Vec<Complex64>>,
    data: f64,
    notice: &'a dyn Reporter,
}

impl Search<'_> {
    /// -2 log evidence of a support.
    fn evaluate(&mut self, support: &Support) -> Result<f64> {
        self.notice.check()?;
        let sky = self.state.sky.with_support(support, self.power);
        let normal = sky.normal(&self.state.gain);
        let solution = sky.solve(&normal, &self.right_side, self.warm.as_deref(), 1e-3, 300);
        let value = self.data - solution.explained + sky.log_determinant(&self.state.gain);
        self.warm = Some(solution.zeta);
        Ok(value)
    }

    /// The best disc, or the best ellipse with the axes of `extent` where that is better.
    fn shape(&mut self, extent: &Extent, disc: SupportPatch, rest: &[SupportPatch], reach: f64) -> Result<(SupportPatch, f64)> {
        let round = self.radius(disc, rest, reach)?;
        // Nearly round sources are not worth the second search.
        if extent.axis_ratio > 0.95 {
            return Ok(round);
        }
        let major_rad = round.0.major_rad * 1.03;
        let minor_rad = major_rad * extent.axis_ratio.max(0.3);
        let ellipse = self.radius(SupportPatch { major_rad, minor_rad, angle_rad: extent.angle, ..disc }, rest, reach)?;
        Ok(if ellipse.1 < round.1 { ellipse } else { round })
    }

    /// The best scaling of `patch`, not beyond `limit`, by steps and a parabola.
    fn radius(&mut self, patch: SupportPatch, rest: &[SupportPatch], limit: f64) -> Result<(SupportPatch, f64)> {
        let scaled = |f: f64| SupportPatch { major_rad: patch.major_rad * f, minor_rad: patch.minor_rad * f, ..patch };
        let top = (limit / patch.major_rad).ln();
        let mut tried: Vec<(f64, f64)> = Vec::new();
        let mut value = |x: f64, search: &mut Self| -> Result<f64> {
            if let Some(known) = tried.iter().find(|t| t.0 == x) {
                return Ok(known.1);
            }
            let mut patches = vec![scaled(x.exp())];
            patches.extend_from_slice(rest);
            let v = search.evaluate(&Support { patches })?;
            tried.push((x, v));
            Ok(v)
        };
        let step = STEP.ln();
        let mut x = top.min(0.0);
        let mut v = value(x, self)?;
        for direction in [-step, step] {
            let mut moved = false;
            while x > LEAST {
                let next = (x + direction).min(top);
                let lower = value(next, self)?;
                if next == x || lower >= v {
                    break;
                }
                (x, v, moved) = (next, lower, true);
            }
            if moved {
                break;
            }
        }
        let (left, right) = (value(x - step, self)?, value((x + step).min(top), self)?);
        let curvature = left - 2.0 * v + right;
        if x + step <= top && curvature > 0.0 {
            let best = x + (0.5 * (left - right) / curvature).clamp(-0.5, 0.5) * step;
            let lower = value(best, self)?;
            if lower < v {
                (x, v) = (best, lower);
            }
        }
        Ok((scaled(x.exp()), v))
    }
}
