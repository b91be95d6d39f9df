//! Joint refinement of offsets and gains: variable projection of the image.
//!
//! The log-determinant of the marginal likelihood does not depend on the offsets (unit-modulus phases), so the profile
//! likelihood is the marginal one. Alternating image and offsets without the Schur term would stall: the image follows
//! whichever block alone measures a spacing.

use std::f64::consts::TAU;

use num_complex::Complex64;
use rayon::prelude::*;

use super::chain::GAIN_SIGMA;
use super::linear::invert;
use super::sky::Solution;
use super::state::State;
use crate::error::Result;
use crate::notice::Reporter;

/// Result of a refinement; parameters are (east, north, gain) of each free block in turn.
#[derive(Debug, Clone)]
pub(super) struct Refined {
    pub solution: Solution,
    /// Placed blocks except the anchor, in the order of the parameters.
    pub free: Vec<usize>,
    /// Inverse Hessian, [3 free][3 free].
    pub covariance: Vec<Vec<f64>>,
    /// Σ W |r|² of each block (0 where it has no place).
    pub chi2: Vec<f64>,
    /// Σ W|r|² + |ζ|² + Σ (g-1)²/σ².
    pub objective: f64,
    /// Largest last step in sigma.
    pub last_step: f64,
    pub iterations: usize,
}

/// What a block's residuals say.
struct BlockTerms {
    gradient: [f64; 3],
    fisher: [[f64; 3]; 3],
    chi2: f64,
    /// g W J for the three parameters.
    columns: [Vec<Complex64>; 3],
    u_eff: f64,
}

/// How far the refinement goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct RefineOptions {
    pub max_iterations: usize,
    /// Of the first image and of the others, on the preconditioned norm: 1e-4 makes offsets jitter by 0.2 sigma on sparse data.
    pub tolerance: [f64; 2],
    pub max_cg: usize,
    /// Of the solves behind the information matrix: 1e-1 makes errors 10 % too small, 1e-2 1 %.
    pub information_tolerance: f64,
    /// Steps below this many sigma end it.
    pub stop: f64,
}

impl Default for RefineOptions {
    fn default() -> Self {
        RefineOptions { max_iterations: 8, tolerance: [1e-3, 2e-5], max_cg: 600, information_tolerance: 1e-2, stop: 0.03 }
    }
}

impl RefineOptions {
    /// Two steps that bring the blocks to a fraction of their errors.
    pub fn quick() -> RefineOptions {
        RefineOptions { max_iterations: 2, tolerance: [1e-3, 1e-3], max_cg: 300, information_tolerance: 1e-1, stop: 0.3 }
    }
}

/// Moves the blocks of `state` (except the anchor) to the maximum of the profile likelihood.
pub(super) fn refine(state: &mut State, options: &RefineOptions, start: Option<Solution>, notice: &dyn Reporter) -> Result<Refined> {
    let free: Vec<usize> = state.placed().into_iter().filter(|i| *i != state.anchor).collect();
    let mut solution = start;
    let mut covariance = vec![vec![0.0; 3 * free.len()]; 3 * free.len()];
    let mut last_step = 0.0;
    for iteration in 0.. {
        notice.check()?;
        let new = state.solve(solution.as_ref().map(|s| &s.zeta[..]), options.tolerance[usize::from(iteration > 0)], options.max_cg)?;
        let placed = state.placed();
        let terms: Vec<BlockTerms> = placed.par_iter().map(|i| block_terms(state, *i, &new)).collect::<Result<_>>()?;
        let of = |i: usize| placed.iter().position(|p| *p == i).map(|k| &terms[k]);
        let finished = iteration >= options.max_iterations || (iteration > 0 && last_step < options.stop) || free.is_empty();
        if !finished && (iteration == 0 || iteration == 2) {
            let information = information(state, &free, &free.iter().filter_map(|i| of(*i)).collect::<Vec<_>>(), options)?;
            covariance = invert(&information).unwrap_or_else(|| diagonal_inverse(&information));
        }
        let penalty = state.sky.penalty(&new.zeta);
        solution = Some(new);
        if finished {
            let mut chi2 = vec![0.0; state.cells.len()];
            placed.iter().zip(&terms).for_each(|(i, t)| chi2[*i] = t.chi2);
            let gains: f64 = free.iter().map(|i| ((state.gain[*i].unwrap_or(1.0) - 1.0) / GAIN_SIGMA).powi(2)).sum();
            let objective = chi2.iter().sum::<f64>() + penalty + gains;
            let solution = solution.unwrap_or(Solution { zeta: Vec::new(), image: Vec::new(), explained: 0.0 });
            return Ok(Refined { solution, free, covariance, chi2, objective, last_step, iterations: iteration });
        }
        let mut gradient = Vec::with_capacity(3 * free.len());
        for i in &free {
            let gain = state.gain[*i].unwrap_or(1.0);
            let own = of(*i).map_or([0.0; 3], |t| t.gradient);
            // Priors: the gain's own, and the log-determinant that a block gains by being louder.
            let prior = -(gain - 1.0) / (GAIN_SIGMA * GAIN_SIGMA) - state.sky.effective_components(*i, &state.gain) / gain;
            gradient.extend([own[0], own[1], own[2] + prior]);
        }
        let step: Vec<f64> = covariance.iter().map(|row| row.iter().zip(&gradient).map(|(c, g)| c * g).sum()).collect();
        last_step = 0.0;
        for (k, i) in free.iter().enumerate() {
            let u_eff = of(*i).map_or(1.0, |t| t.u_eff);
            let (dx, dg) = ([step[3 * k], step[3 * k + 1]], step[3 * k + 2]);
            let shrink = (0.5 / (TAU * u_eff) / dx[0].hypot(dx[1]).max(f64::MIN_POSITIVE)).min(1.0);
            for axis in 0..2 {
                state.x[*i][axis] += shrink * dx[axis];
                let sigma = covariance[3 * k + axis][3 * k + axis].max(f64::MIN_POSITIVE).sqrt();
                last_step = f64::max(last_step, dx[axis].abs() / sigma);
            }
            state.gain[*i] = state.gain[*i].map(|g| (g + dg.clamp(-0.1, 0.1)).clamp(0.05, 20.0));
        }
    }
    unreachable!("the loop returns at its last iteration")
}

fn block_terms(state: &State, i: usize, solution: &Solution) -> Result<BlockTerms> {
    let (cells, gain) = (&state.cells[i], state.gain[i].unwrap_or(1.0));
    let model = state.sky.degrid(i, &solution.image)?;
    let data = state.centered(i);
    let n = cells.len();
    let mut columns = [vec![Complex64::default(); n], vec![Complex64::default(); n], vec![Complex64::default(); n]];
    let mut terms = BlockTerms { gradient: [0.0; 3], fisher: [[0.0; 3]; 3], chi2: 0.0, columns: Default::default(), u_eff: 0.0 };
    let (mut strength, mut u2) = (0.0, 0.0);
    for k in 0..n {
        let (w, m) = (cells.weight[k], model[k]);
        let residual = data[k] - gain * m;
        terms.chi2 += w * residual.norm_sqr();
        // d/dx of g M exp(2πi u.x), in the frame in which the source is in the middle.
        let turned = Complex64::new(-m.im, m.re) * gain;
        let jacobian = [turned * (TAU * cells.u[k]), turned * (TAU * cells.v[k]), m];
        for a in 0..3 {
            terms.gradient[a] += w * (residual * jacobian[a].conj()).re;
            for b in 0..=a {
                terms.fisher[a][b] += w * (jacobian[a] * jacobian[b].conj()).re;
            }
            columns[a][k] = jacobian[a] * (w * gain);
        }
        strength += w * m.norm_sqr();
        u2 += w * m.norm_sqr() * cells.uv(k).powi(2);
    }
    for a in 0..3 {
        for b in a + 1..3 {
            terms.fisher[a][b] = terms.fisher[b][a];
        }
    }
    terms.columns = columns;
    terms.u_eff = (u2 / strength.max(f64::MIN_POSITIVE)).sqrt().max(1.0);
    Ok(terms)
}

/// H = F - Bᵀ S (1 + SᵀTS)⁻¹ Sᵀ B: what the data say of the offsets and gains once the image is unknown.
fn information(state: &State, free: &[usize], terms: &[&BlockTerms], options: &RefineOptions) -> Result<Vec<Vec<f64>>> {
    let n = 3 * free.len();
    let normal = state.sky.normal(&state.gain);
    let images: Vec<Vec<f64>> =
        (0..n).into_par_iter().map(|k| state.sky.grid(free[k / 3], &terms[k / 3].columns[k % 3])).collect::<Result<_>>()?;
    let followed: Vec<Vec<f64>> =
        images.par_iter().map(|b| state.sky.solve(&normal, b, None, options.information_tolerance, options.max_cg).image).collect();
    let mut h = vec![vec![0.0; n]; n];
    for a in 0..n {
        for b in 0..n {
            let schur: f64 = images[a].iter().zip(&followed[b]).map(|(x, y)| x * y).sum();
            let own = if a / 3 == b / 3 { terms[a / 3].fisher[a % 3][b % 3] } else { 0.0 };
            h[a][b] = own - schur;
        }
        if a % 3 == 2 {
            h[a][a] += 1.0 / (GAIN_SIGMA * GAIN_SIGMA);
        }
    }
    // The solves stop early, so that the two halves differ a little.
    for a in 0..n {
        for b in 0..a {
            let mean = 0.5 * (h[a][b] + h[b][a]);
            (h[a][b], h[b][a]) = (mean, mean);
        }
    }
    Ok(h)
}

/// Where the information matrix is not positive definite: no correlations, and no step along a direction without information.
fn diagonal_inverse(h: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let n = h.len();
    let inverse = |a: usize| if h[a][a] > 0.0 { 1.0 / h[a][a] } else { 0.0 };
    (0..n).map(|a| (0..n).map(|b| if a == b { inverse(a) } else { 0.0 }).collect()).collect()
}
