//! From the fit to what is told: offsets relative to the reference, and the blocks that cannot be trusted.

use ndarray::Array2;

use super::chain::Link;
use super::refine::Refined;
use super::residual::ResidualMap;
use super::result::{BlockStatus, JointBlock, JointFit, SkyMap};
use super::solve::{Joint, OUTLIER, Problem};
use super::state::State;
use crate::align::SigmaFrom;
use crate::sky::Offset;
use crate::units::{ARCSEC, MAS};

/// Residual chi-square beyond which a block is not aligned: good fits have 0.8-1.2, wrong ones 3 and more.
const MAX_CHI2: f64 = 2.0;

pub(super) fn report(joint: &Joint, problem: Problem, refined: Refined, residual: ResidualMap, links: Vec<Option<Link>>) -> JointFit {
    let (state, reference) = (problem.state, joint.reference);
    let n = state.cells.len();
    let total = |i: usize| [state.x[i][0] + state.cells[i].taken_out[0], state.x[i][1] + state.cells[i].taken_out[1]];
    let (zero, unit) = (total(reference), state.gain[reference].unwrap_or(1.0));
    // Covariance of x_i - x_reference; the anchor's parameters are fixed.
    let parameter = |i: usize, axis: usize| refined.free.iter().position(|f| *f == i).map(|k| 3 * k + axis);
    let c = |a: Option<usize>, b: Option<usize>| a.zip(b).map_or(0.0, |(a, b)| refined.covariance[a][b]);
    let relative = |i: usize, p: usize, j: usize, q: usize| {
        let (a, b, ra, rb) = (parameter(i, p), parameter(j, q), parameter(reference, p), parameter(reference, q));
        c(a, b) - c(a, rb) - c(ra, b) + c(ra, rb)
    };
    let mut covariance = Array2::from_shape_fn((2 * n, 2 * n), |(a, b)| {
        let known = state.gain[a / 2].is_some() && state.gain[b / 2].is_some();
        if known { relative(a / 2, a % 2, b / 2, b % 2) } else { f64::NAN }
    });
    let mut blocks: Vec<JointBlock> = (0..n)
        .map(|i| {
            let cells = &state.cells[i];
            let chi2_reduced = refined.chi2[i] / (2.0 * cells.len().max(1) as f64);
            let scale = if joint.options.sigma == SigmaFrom::Scatter { chi2_reduced.sqrt() } else { 1.0 };
            let (x, gain) = (total(i), state.gain[i]);
            let placed = gain.is_some();
            let [xx, xy, yy] = [covariance[[2 * i, 2 * i]], covariance[[2 * i, 2 * i + 1]], covariance[[2 * i + 1, 2 * i + 1]]];
            JointBlock {
                name: cells.name.clone(),
                status: if i == reference { BlockStatus::Reference } else { BlockStatus::Aligned },
                offset: placed.then(|| Offset { dra_rad: x[0] - zero[0], ddec_rad: x[1] - zero[1] }),
                sigma: placed.then(|| Offset { dra_rad: xx.sqrt() * scale, ddec_rad: yy.sqrt() * scale }),
                correlation: if i == reference { 0.0 } else { xy / (xx * yy).sqrt() },
                gain: gain.unwrap_or(f64::NAN) / unit,
                sigma_gain: parameter(i, 2).map_or(0.0, |k| refined.covariance[k][k].sqrt()),
                chi2_reduced,
                cells: cells.len(),
                ambiguity: links[i].as_ref().map_or(0.0, |l| l.ambiguity),
                significance: links[i].as_ref().map_or(f64::INFINITY, |l| l.significance),
                scatter_factor: cells.scatter_factor,
                beam_rad: state.block_beam_rad(i),
            }
        })
        .collect();
    let outside = residual.outlier(&state).filter(|o| o.significance > OUTLIER).map(|o| {
        let (e, n) = ((o.east - zero[0]) / ARCSEC, (o.north - zero[1]) / ARCSEC);
        format!("emission outside the support at ({e:+.2}, {n:+.2}) arcsec, {:.1} times the noise", o.significance)
    });
    for i in 0..n {
        if let Some(reason) = doubt(&blocks[i], &refined, outside.as_deref()) {
            let b = &mut blocks[i];
            (b.status, b.offset, b.sigma) = (BlockStatus::NotAligned(reason), None, None);
            for k in 0..2 * n {
                for axis in 0..2 {
                    covariance[[2 * i + axis, k]] = f64::NAN;
                    covariance[[k, 2 * i + axis]] = f64::NAN;
                }
            }
        }
    }
    let center = |c: [f64; 2]| Offset { dra_rad: c[0] - zero[0], ddec_rad: c[1] - zero[1] };
    let map = |values: &[f64], size: usize, at: [f64; 2]| SkyMap {
        data: Array2::from_shape_vec((size, size), values.to_vec()).unwrap_or_default(),
        pixel_rad: state.sky.pixel,
        center: center(at),
    };
    JointFit {
        reference: state.cells[reference].name.clone(),
        seed: state.cells[state.seed].name.clone(),
        converged: blocks.iter().all(|b| !matches!(b.status, BlockStatus::NotAligned(_))),
        blocks,
        covariance,
        image: map(&refined.solution.image, state.sky.n, state.sky.center),
        envelope: map(&state.sky.envelope, state.sky.n, state.sky.center),
        support: state.sky.support.clone(),
        residual: map(&residual.values, residual.n, residual.center),
        remarks: remarks(joint, &state, &refined),
        iterations: refined.iterations,
    }
}

fn remarks(joint: &Joint, state: &State, refined: &Refined) -> Vec<String> {
    let mut out = joint.remarks.clone();
    out.push(format!(
        "The sky is an image of {0} x {0} pixels of {1:.1} mas; emission is allowed in {2}; the last step of the fit was {3:.2} sigma.",
        state.sky.n,
        state.sky.pixel / MAS,
        state.sky.support,
        refined.last_step,
    ));
    out
}

/// Why a block cannot be trusted, if it cannot.
fn doubt(block: &JointBlock, refined: &Refined, outside: Option<&str>) -> Option<String> {
    let Some(sigma) = block.sigma else {
        return Some(format!("no match with the image of the other blocks: the best is {:.1} times its noise", block.significance));
    };
    // Weights that are off by a factor are off in the cells' scatter as well.
    let expected = block.scatter_factor.unwrap_or(1.0).max(1.0);
    if block.chi2_reduced > MAX_CHI2 * expected {
        return Some(format!("the common sky does not fit it: reduced chi-square {:.2}", block.chi2_reduced / expected));
    }
    if let Some(outside) = outside {
        return Some(outside.to_string());
    }
    if refined.last_step > 1.0 {
        return Some(format!("the fit did not settle: the last step was {:.1} sigma", refined.last_step));
    }
    let largest = sigma.dra_rad.max(sigma.ddec_rad);
    if block.beam_rad > 0.0 && largest > 0.25 * block.beam_rad {
        return Some(format!("its error, {:.2} mas, is more than a quarter of its beam of {:.1} mas", largest / MAS, block.beam_rad / MAS));
    }
    None
}
