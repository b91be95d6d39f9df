//! The cells that two uv grids share, and the objectives of a pairwise fit.

use std::f64::consts::{PI, TAU};

use num_complex::Complex64;

use super::{UvCell, UvGrid};
use crate::gridding::{RealFft2, good_size};

/// One shared cell: (u, v) of the block, in wavelengths; visibilities of reference and block; variances of their real parts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pair {
    pub ku: i32,
    pub kv: i32,
    pub u: f64,
    pub v: f64,
    pub reference: Complex64,
    pub block: Complex64,
    pub var_reference: f64,
    pub var_block: f64,
}

/// The shared cells, in the order of the grids.
pub(super) fn pairs(reference: &UvGrid, block: &UvGrid) -> Vec<Pair> {
    let key = |c: &UvCell| (c.kv, c.ku);
    let (mut out, mut rest) = (Vec::new(), reference.cells().iter().peekable());
    for b in block.cells() {
        while rest.next_if(|r| key(r) < key(b)).is_some() {}
        if let Some(r) = rest.next_if(|r| key(r) == key(b)) {
            out.push(Pair {
                ku: b.ku,
                kv: b.kv,
                u: b.u,
                v: b.v,
                reference: r.vis,
                block: b.vis,
                var_reference: 1.0 / r.weight,
                var_block: 1.0 / b.weight,
            });
        }
    }
    out
}

/// What a pairwise fit found on one grid; lengths in radians (direction cosines).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PairFit {
    pub x: [f64; 2],
    /// Inverse of half the objective's second derivatives: xx, xy, yy.
    pub curvature: [f64; 3],
    /// What products of the two noises add to the covariance.
    pub noise_product: [f64; 3],
    pub amplitude: f64,
    pub sigma_amplitude: f64,
    pub chi2: f64,
    pub freedom: f64,
    pub iterations: usize,
    pub converged: bool,
}

impl PairFit {
    pub fn chi2_reduced(&self) -> f64 {
        self.chi2 / self.freedom.max(1.0)
    }
    /// xx, xy, yy, if variances are `factor` times what the weights say.
    pub fn covariance(&self, factor: f64) -> [f64; 3] {
        [0, 1, 2].map(|i| factor * self.curvature[i] + factor * factor * self.noise_product[i])
    }
    pub fn sigma(&self) -> [f64; 2] {
        let [xx, _, yy] = self.covariance(1.0);
        [xx.sqrt(), yy.sqrt()]
    }
    /// Geometric mean error with the misfit counted as noise: what the choice between grids minimizes.
    pub fn expected_error(&self) -> f64 {
        determinant(self.covariance(self.chi2_reduced().max(1.0))).powf(0.25)
    }
}

/// Derivatives of half an objective with respect to the offset.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Local {
    pub cost: f64,
    pub gradient: [f64; 2],
    /// xx, xy, yy.
    pub hessian: [f64; 3],
}

/// Weight of a cell in Σ W |a R - C|²: both variances count.
#[inline]
pub(super) fn weight(p: &Pair, amplitude: f64) -> f64 {
    1.0 / (amplitude * amplitude * p.var_reference + p.var_block)
}

/// R* C exp(-2πi u.x): its phase is what the offset has to bring to zero.
#[inline]
fn cross(p: &Pair, x: [f64; 2]) -> Complex64 {
    let product = p.reference.conj() * p.block;
    if x == [0.0; 2] { product } else { product * Complex64::cis(-TAU * (p.u * x[0] + p.v * x[1])) }
}

/// Half the complex chi-square, up to a constant that does not depend on the offset.
fn complex_local(pairs: &[Pair], x: [f64; 2], amplitude: f64) -> Local {
    let mut out = Local::default();
    for p in pairs {
        let w = weight(p, amplitude) * amplitude;
        let c = cross(p, x);
        let (u, v) = (TAU * p.u, TAU * p.v);
        out.cost -= w * c.re;
        out.gradient[0] -= w * u * c.im;
        out.gradient[1] -= w * v * c.im;
        out.hessian[0] += w * u * u * c.re;
        out.hessian[1] += w * u * v * c.re;
        out.hessian[2] += w * v * v * c.re;
    }
    out
}

/// Variance of the cross phase; a cell without signal has a phase anywhere, π²/3.
fn phase_variance(p: &Pair) -> f64 {
    let one = |var: f64, vis: Complex64| (var / vis.norm_sqr().max(f64::MIN_POSITIVE)).min(PI * PI / 3.0);
    one(p.var_reference, p.reference) + one(p.var_block, p.block)
}

/// Half the phase-only chi-square.
fn phase_local(pairs: &[Pair], x: [f64; 2]) -> Local {
    let mut out = Local::default();
    for p in pairs {
        let w = 1.0 / phase_variance(p);
        let phase = cross(p, x).arg();
        let (u, v) = (TAU * p.u, TAU * p.v);
        out.cost += 0.5 * w * phase * phase;
        out.gradient[0] -= w * u * phase;
        out.gradient[1] -= w * v * phase;
        out.hessian[0] += w * u * u;
        out.hessian[1] += w * u * v;
        out.hessian[2] += w * v * v;
    }
    out
}

/// The amplitude a that minimizes Σ |a R - C|²/(a² var_R + var_C), both sets noisy (total least squares, fixed point).
fn amplitude(pairs: &[Pair], x: [f64; 2], start: f64) -> f64 {
    let mut a = start;
    for _ in 0..30 {
        let (mut up, mut down) = (0.0, 0.0);
        for p in pairs {
            let (w, c) = (weight(p, a), cross(p, x).re);
            let misfit = (a * a * p.reference.norm_sqr() - 2.0 * a * c + p.block.norm_sqr()).max(0.0);
            up += w * c;
            down += w * p.reference.norm_sqr() - w * w * misfit * p.var_reference;
        }
        let next = if down > 0.0 && up > 0.0 { (up / down).clamp(1e-3, 1e3) } else { return a };
        let settled = (next - a).abs() < 1e-12 * a;
        a = next;
        if settled {
            break;
        }
    }
    a
}

/// Σ W |a R - C exp(-2πi u.x)|² over the shared cells.
pub(super) fn complex_chi2(pairs: &[Pair], x: [f64; 2], a: f64) -> f64 {
    pairs.iter().map(|p| weight(p, a) * (a * a * p.reference.norm_sqr() - 2.0 * a * cross(p, x).re + p.block.norm_sqr()).max(0.0)).sum()
}

/// Σ (phase difference)²/variance over the shared cells.
pub(super) fn phase_chi2(pairs: &[Pair], x: [f64; 2]) -> f64 {
    2.0 * phase_local(pairs, x).cost
}

/// Inverse of a symmetric 2 x 2 matrix (xx, xy, yy), if it is positive definite.
pub(super) fn invert([xx, xy, yy]: [f64; 3]) -> Option<[f64; 3]> {
    let det = xx * yy - xy * xy;
    (xx > 0.0 && yy > 0.0 && det > 1e-14 * xx * yy).then(|| [yy / det, -xy / det, xx / det])
}

pub(super) fn apply([xx, xy, yy]: [f64; 3], g: [f64; 2]) -> [f64; 2] {
    [xx * g[0] + xy * g[1], xy * g[0] + yy * g[1]]
}

/// Damped Newton steps from `x`; steps are limited to a fraction of the fringe of the longest shared spacing.
pub(super) fn descend(mut x: [f64; 2], limit: f64, max_steps: usize, local: impl Fn([f64; 2]) -> Local) -> ([f64; 2], usize, bool) {
    let (mut now, mut damping) = (local(x), 0.0);
    for iteration in 1..=max_steps {
        if now.gradient == [0.0; 2] {
            return (x, iteration, true);
        }
        let trace = (now.hessian[0].abs() + now.hessian[2].abs()).max(f64::MIN_POSITIVE);
        let damped = [now.hessian[0] + damping * trace, now.hessian[1], now.hessian[2] + damping * trace];
        let Some(inverse) = invert(damped) else {
            damping = (4.0 * damping).max(0.05);
            if damping > 1e8 {
                return (x, iteration, false);
            }
            continue;
        };
        let step = apply(inverse, now.gradient).map(|s| -s);
        let length = step[0].hypot(step[1]);
        let shrink = (limit / length).min(1.0);
        let next = [x[0] + shrink * step[0], x[1] + shrink * step[1]];
        let there = local(next);
        let tiny = length < 1e-7 * limit;
        if there.cost <= now.cost || tiny {
            (x, now) = (next, there);
            damping = if damping < 1e-3 { 0.0 } else { damping / 8.0 };
            if tiny {
                return (x, iteration, true);
            }
        } else {
            damping = (4.0 * damping).max(0.05);
            if damping > 1e8 {
                return (x, iteration, false);
            }
        }
    }
    (x, max_steps, false)
}

/// Length that turns the longest shared spacing by a fifth of a turn.
pub(super) fn step_limit(pairs: &[Pair]) -> f64 {
    0.2 / pairs.iter().map(|p| p.u.hypot(p.v)).fold(1.0, f64::max)
}

/// Fits offset and amplitude ratio from `start` with the complex chi-square.
pub(super) fn fit_complex(pairs: &[Pair], start: [f64; 2]) -> Option<PairFit> {
    let limit = step_limit(pairs);
    let (mut x, mut a, mut iterations, mut converged) = (start, amplitude(pairs, start, 1.0), 0, false);
    for _ in 0..20 {
        let (before_x, before_a) = (x, a);
        let (next, n, settled) = descend(x, limit, 60, |x| complex_local(pairs, x, a));
        x = next;
        a = amplitude(pairs, x, a);
        (iterations, converged) = (iterations + n, settled);
        let moved = (x[0] - before_x[0]).hypot(x[1] - before_x[1]);
        if moved < 1e-6 * limit && (a - before_a).abs() < 1e-9 * a {
            break;
        }
    }
    let hessian = complex_local(pairs, x, a).hessian;
    let inverse = invert(hessian)?;
    // Products of the two noises add to the gradient's variance but not to the curvature.
    let (mut products, mut signal) = ([0.0; 3], 0.0);
    for p in pairs {
        let w = weight(p, a) * a;
        let noise = 2.0 * w * w * p.var_reference * p.var_block * TAU * TAU;
        products[0] += noise * p.u * p.u;
        products[1] += noise * p.u * p.v;
        products[2] += noise * p.v * p.v;
        signal += weight(p, a) * cross(p, x).re / a;
    }
    Some(PairFit {
        x,
        curvature: inverse,
        noise_product: sandwich(inverse, products),
        amplitude: a,
        sigma_amplitude: 1.0 / signal.max(f64::MIN_POSITIVE).sqrt(),
        chi2: complex_chi2(pairs, x, a),
        freedom: 2.0 * pairs.len() as f64 - 3.0,
        iterations,
        converged,
    })
}

/// Fits the offset from `start` with the phase-only chi-square.
pub(super) fn fit_phase(pairs: &[Pair], start: [f64; 2]) -> Option<PairFit> {
    let (x, iterations, converged) = descend(start, step_limit(pairs), 60, |x| phase_local(pairs, x));
    let local = phase_local(pairs, x);
    let curvature = invert(local.hessian)?;
    let a = amplitude(pairs, x, 1.0);
    let signal: f64 = pairs.iter().map(|p| weight(p, a) * cross(p, x).re / a).sum();
    Some(PairFit {
        x,
        curvature,
        noise_product: [0.0; 3],
        amplitude: a,
        sigma_amplitude: 1.0 / signal.max(f64::MIN_POSITIVE).sqrt(),
        chi2: 2.0 * local.cost,
        freedom: pairs.len() as f64 - 2.0,
        iterations,
        converged,
    })
}

/// Determinant of a covariance, not below zero.
pub(super) fn determinant([xx, xy, yy]: [f64; 3]) -> f64 {
    (xx * yy - xy * xy).max(0.0)
}

fn sandwich(h: [f64; 3], g: [f64; 3]) -> [f64; 3] {
    let column = |i: usize| apply(g, if i == 0 { [h[0], h[1]] } else { [h[1], h[2]] });
    let (a, b) = (apply(h, column(0)), apply(h, column(1)));
    [a[0], b[0], b[1]]
}

/// A place where the two sets match, from the Fourier transform of the cross spectrum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Peak {
    pub x: [f64; 2],
    /// Σ W Re(R* C exp(-2πi u.x)).
    pub height: f64,
}

/// The highest local maxima over the whole image field, best first; cells count at their centers.
pub(super) fn search(pairs: &[Pair], cell_lambda: f64, radius_rad: f64, n_best: usize) -> Vec<Peak> {
    let reach = pairs.iter().map(|p| p.ku.unsigned_abs().max(p.kv.unsigned_abs())).max().unwrap_or(1) as usize;
    // Four pixels for the finest fringe: the nearest one is inside its basin.
    let n = good_size((4 * reach).max(16));
    let fft = RealFft2::<f64>::new(n, n);
    let nc = fft.n_columns();
    let mut spectrum = vec![Complex64::default(); n * nc];
    for p in pairs {
        // Rows follow u and columns v, because the cells are folded to v >= 0.
        let value = (weight(p, 1.0) * p.reference.conj() * p.block).conj();
        let row = |k: i32| k.rem_euclid(n as i32) as usize;
        spectrum[row(p.ku) * nc + p.kv as usize] += 0.5 * value;
        if p.kv == 0 {
            spectrum[row(-p.ku) * nc] += 0.5 * value.conj();
        }
    }
    let mut map = vec![0.0; n * n];
    fft.inverse(&mut spectrum, &mut map, |_| false);
    let pixel = 1.0 / (n as f64 * cell_lambda);
    let signed = |i: usize| if i < n.div_ceil(2) { i as f64 } else { i as f64 - n as f64 } * pixel;
    let at = |i: usize, j: usize| map[(i % n) * n + j % n];
    let mut peaks: Vec<Peak> = Vec::new();
    for i in 0..n {
        for j in 0..n {
            let (height, x) = (at(i, j), [signed(i), signed(j)]);
            let is_peak = || (0..9).all(|k| at(i + n + k / 3 - 1, j + n + k % 3 - 1) <= height);
            if height > 0.0 && x[0].hypot(x[1]) <= radius_rad && is_peak() {
                peaks.push(Peak { x, height });
            }
        }
    }
    peaks.sort_by(|a, b| b.height.total_cmp(&a.height));
    peaks.truncate(n_best);
    peaks
}
