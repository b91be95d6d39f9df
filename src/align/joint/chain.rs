//! Start values without common cells: a chain of cross-correlations against the image of the blocks placed so far.

use std::f64::consts::TAU;

use num_complex::Complex64;
use rayon::prelude::*;

use super::state::State;
use crate::align::pair::{Local, descend};
use crate::error::Result;
use crate::gridding::{Nufft, good_size};
use crate::notice::Reporter;

/// A place where a block may lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Peak {
    pub x: [f64; 2],
    pub gain: f64,
    /// Height relative to the highest.
    pub relative: f64,
}

/// How a block matches the image of the others.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub block: usize,
    /// Best first; one unless the match is ambiguous.
    pub peaks: Vec<Peak>,
    /// Highest value beyond a third of a fringe from the best, relative to it.
    pub ambiguity: f64,
    /// Height of the best in units of its noise.
    pub significance: f64,
    /// Σ w |M|², the squared signal to noise that the match could have.
    pub strength: f64,
}

/// A lower match is not told from noise: a few thousand places are searched.
pub(super) const MIN_SIGNIFICANCE: f64 = 6.0;
/// Above this the second-best place is kept as well.
const AMBIGUOUS: f64 = 0.7;
/// Prior of a gain about 1.
pub(super) const GAIN_SIGMA: f64 = 0.2;

/// The best next link of the chain among the blocks without a place, if any has a match.
pub(super) fn next_link(state: &State, search_rad: f64, notice: &dyn Reporter) -> Result<(Option<Link>, Vec<Link>)> {
    notice.check()?;
    let image = state.solve(None, 1e-2, 60)?.image;
    let free: Vec<usize> = (0..state.cells.len()).filter(|i| state.gain[*i].is_none() && !state.excluded[*i]).collect();
    let links: Vec<Link> = free.par_iter().map(|i| link(state, *i, &image, search_rad)).collect::<Result<_>>()?;
    let usable = links.iter().filter(|l| l.significance >= MIN_SIGNIFICANCE && !l.peaks.is_empty());
    let best = usable.min_by(|a, b| a.ambiguity.max(0.5).total_cmp(&b.ambiguity.max(0.5)).then(b.strength.total_cmp(&a.strength)));
    Ok((best.cloned(), links))
}

fn link(state: &State, i: usize, image: &[f64], search_rad: f64) -> Result<Link> {
    let (cells, sky) = (&state.cells[i], &state.sky);
    let model = sky.degrid(i, image)?;
    let placed: Vec<(usize, f64)> = state.gain.iter().enumerate().filter_map(|(a, g)| g.map(|g| (a, g))).collect();
    // The model counts only where the blocks placed so far have measured it.
    let effective = |k: usize| {
        let (u, v) = (cells.u[k], cells.v[k]);
        let known: f64 = placed.iter().map(|(a, g)| sky.information(*a, *g, u, v)).sum();
        cells.weight[k] / (1.0 + sky.information(i, 1.0, u, v) / (1.0 + known))
    };
    let weight: Vec<f64> = (0..cells.len()).map(effective).collect();
    let sum = |f: &dyn Fn(usize) -> f64| (0..cells.len()).map(|k| weight[k] * model[k].norm_sqr() * f(k)).sum::<f64>();
    let strength = sum(&|_| 1.0);
    let u_eff = (sum(&|k| cells.uv(k).powi(2)) / strength.max(f64::MIN_POSITIVE)).sqrt().max(1.0);
    // The block's data relative to the seed's phase center, before its own offset is known.
    let expected = [sky.center[0] - cells.taken_out[0], sky.center[1] - cells.taken_out[1]];
    let product = |k: usize| weight[k] * model[k].conj() * cells.vis[k];
    let turn = |k: usize, x: [f64; 2]| Complex64::cis(-TAU * (cells.u[k] * x[0] + cells.v[k] * x[1]));
    let values: Vec<Complex64> = (0..cells.len()).map(|k| product(k) * turn(k, expected)).collect();

    let step = (0.06 / u_eff).min(0.4 / cells.max_uv());
    let n = good_size((2.0 * search_rad / step).ceil() as usize + 2);
    let (u, v): (Vec<f64>, Vec<f64>) = (0..cells.len()).map(|k| (cells.u[k] * step, cells.v[k] * step)).unzip();
    let map = Nufft::new(&u, &v, n, n, 1e-4)?.grid(&values)?;
    let place = |k: usize| [((k % n) as f64 - (n / 2) as f64) * step, ((k / n) as f64 - (n / 2) as f64) * step];
    let maxima = local_maxima(&map, n);
    let Some(&best) = maxima.first() else {
        return Ok(Link { block: i, peaks: Vec::new(), ambiguity: 1.0, significance: 0.0, strength });
    };
    let far = |k: usize, from: usize| {
        let (a, b) = (place(k), place(from));
        (a[0] - b[0]).hypot(a[1] - b[1]) > 0.35 / u_eff
    };
    let second = (0..n * n).filter(|k| far(*k, best)).map(|k| map[k]).fold(0.0, f64::max);
    let ambiguity = second / map[best];
    let mut kept = vec![best];
    if ambiguity > AMBIGUOUS {
        let others = maxima.iter().filter(|k| map[**k] > AMBIGUOUS * map[best]);
        for k in others {
            if kept.len() < 3 && kept.iter().all(|o| far(*k, *o)) {
                kept.push(*k);
            }
        }
    }
    let local = |x: [f64; 2]| {
        let mut out = Local::default();
        for k in 0..cells.len() {
            let c = product(k) * turn(k, x);
            let (u, v, curvature) = (TAU * cells.u[k], TAU * cells.v[k], weight[k] * model[k].norm_sqr());
            out.cost -= c.re;
            out.gradient[0] -= u * c.im;
            out.gradient[1] -= v * c.im;
            out.hessian[0] += curvature * u * u;
            out.hessian[1] += curvature * u * v;
            out.hessian[2] += curvature * v * v;
        }
        out
    };
    let refine = |k: &usize| {
        let start = [place(*k)[0] + expected[0], place(*k)[1] + expected[1]];
        let (x, _, _) = descend(start, 0.1 / u_eff, 6, local);
        let height = -local(x).cost;
        let prior = 1.0 / (GAIN_SIGMA * GAIN_SIGMA);
        Peak { x, gain: (height + prior) / (strength + prior), relative: map[*k] / map[best] }
    };
    let peaks = kept.iter().map(refine).collect();
    Ok(Link { block: i, peaks, ambiguity, significance: map[best] / strength.max(f64::MIN_POSITIVE).sqrt(), strength })
}

/// Indices of the local maxima of a map, highest first; the border does not count.
fn local_maxima(map: &[f64], n: usize) -> Vec<usize> {
    let is_peak = |k: usize| {
        let (y, x) = (k / n, k % n);
        let inside = x > 0 && y > 0 && x < n - 1 && y < n - 1;
        inside && map[k] > 0.0 && (0..9).all(|d| map[(y + d / 3 - 1) * n + x + d % 3 - 1] <= map[k])
    };
    let mut out: Vec<usize> = (0..n * n).filter(|k| is_peak(*k)).collect();
    out.sort_by(|a, b| map[*b].total_cmp(&map[*a]));
    out
}
