//! From the fit to what is told: offsets relative to the reference, and the blocks that cannot be trusted.

use ndarray::Array2;

use super::chain::MIN_SIGNIFICANCE;
use super::refine::Refined;
use super::residual::ResidualMap;
use super::result::{BlockStatus, JointBlock, JointFit, SkyMap};
use super::solve::{History, Joint, MAX_CHI2, OUTLIER, Problem, chi2_reduced};
use super::state::State;
use super::support::Support;
use crate::align::SigmaFrom;
use crate::align::profile::{PROFILE_BINS, Sample, UvProfile};
use crate::sky::Offset;
use crate::units::{ARCSEC, MAS};

pub(super) fn report(joint: &Joint, problem: Problem, refined: Refined, residual: ResidualMap, history: Vec<History>) -> JointFit {
    let (state, reference) = (problem.state, joint.reference);
    let n = state.cells.len();
    let zero = state.middle_in(reference);
    let mut covariance = covariance(&state, &refined, reference);
    // Directions in the sky's frame (the seed's), as seen from the reference.
    let from_reference = |east: f64, north: f64| [east - state.sky.center[0] + zero[0], north - state.sky.center[1] + zero[1]];
    let outside = residual.outlier(&state).filter(|o| o.significance > OUTLIER).map(|o| {
        let [e, n] = from_reference(o.east, o.north).map(|x| x / ARCSEC);
        format!("emission outside the support at ({e:+.2}, {n:+.2}) arcsec, {:.1} times the noise: give a larger support", o.significance)
    });
    let lost = doubt_of_reference(&state, &refined, reference);
    let mut blocks: Vec<JointBlock> = (0..n).map(|i| block(joint, &state, &refined, &covariance, &history[i], i)).collect();
    for (i, b) in blocks.iter_mut().enumerate() {
        let reason =
            if i == reference { lost.clone() } else { lost.clone().or_else(|| doubt(b, &refined, &history[i], outside.as_deref())) };
        if let Some(reason) = reason {
            (b.status, b.offset, b.sigma, b.profile) = (BlockStatus::NotAligned(reason), None, None, None);
            for k in 0..2 * n {
                for axis in 0..2 {
                    covariance[[2 * i + axis, k]] = f64::NAN;
                    covariance[[k, 2 * i + axis]] = f64::NAN;
                }
            }
        }
    }
    let map = |values: &[f64], size: usize| SkyMap {
        data: Array2::from_shape_vec((size, size), values.to_vec()).unwrap_or_default(),
        pixel_rad: state.sky.pixel,
        center: Offset { dra_rad: zero[0], ddec_rad: zero[1] },
    };
    let mut support = state.sky.support.clone();
    for p in &mut support.patches {
        [p.east_rad, p.north_rad] = from_reference(p.east_rad, p.north_rad);
    }
    JointFit {
        reference: state.cells[reference].name.clone(),
        seed: state.cells[state.seed].name.clone(),
        converged: blocks.iter().all(|b| !matches!(b.status, BlockStatus::NotAligned(_))),
        blocks,
        covariance,
        image: map(&refined.solution.image, state.sky.n),
        envelope: map(&state.sky.envelope, state.sky.n),
        residual: map(&residual.values, residual.n),
        remarks: remarks(joint, &state, &refined, &support),
        support,
        iterations: refined.iterations,
    }
}

/// Covariance of x_i - x_reference for all blocks with a place; the anchor's parameters are fixed.
fn covariance(state: &State, refined: &Refined, reference: usize) -> Array2<f64> {
    let n = state.cells.len();
    let parameter = |i: usize, axis: usize| refined.free.iter().position(|f| *f == i).map(|k| 3 * k + axis);
    let c = |a: Option<usize>, b: Option<usize>| a.zip(b).map_or(0.0, |(a, b)| refined.covariance[a][b]);
    let relative = |i: usize, p: usize, j: usize, q: usize| {
        let (a, b, ra, rb) = (parameter(i, p), parameter(j, q), parameter(reference, p), parameter(reference, q));
        c(a, b) - c(a, rb) - c(ra, b) + c(ra, rb)
    };
    Array2::from_shape_fn((2 * n, 2 * n), |(a, b)| {
        let known = state.gain[a / 2].is_some() && state.gain[b / 2].is_some();
        if known { relative(a / 2, a % 2, b / 2, b % 2) } else { f64::NAN }
    })
}

fn block(joint: &Joint, state: &State, refined: &Refined, covariance: &Array2<f64>, history: &History, i: usize) -> JointBlock {
    let (cells, reference) = (&state.cells[i], joint.reference);
    let placed = state.gain[i].is_some();
    let chi2 = if placed { chi2_reduced(state, refined, i) } else { history.misfit.unwrap_or(f64::NAN) };
    // The fit itself uses weights that agree with the scatter; errors from the weights are those of the set's own.
    let scale = match joint.options.sigma {
        SigmaFrom::Weights => 1.0 / (cells.weight_factor * state.cells[reference].weight_factor).sqrt(),
        SigmaFrom::Scatter => chi2,
    };
    let (x, zero) = (state.middle_in(i), state.middle_in(reference));
    let [xx, xy, yy] = [covariance[[2 * i, 2 * i]], covariance[[2 * i, 2 * i + 1]], covariance[[2 * i + 1, 2 * i + 1]]];
    let gain_row = refined.free.iter().position(|f| *f == i).map(|k| 3 * k + 2);
    let link = history.link.as_ref().filter(|_| i != state.seed);
    JointBlock {
        name: cells.name.clone(),
        status: if i == reference { BlockStatus::Reference } else { BlockStatus::Aligned },
        offset: placed.then(|| Offset { dra_rad: x[0] - zero[0], ddec_rad: x[1] - zero[1] }),
        sigma: placed.then(|| Offset { dra_rad: (xx * scale).sqrt(), ddec_rad: (yy * scale).sqrt() }),
        correlation: if i == reference { 0.0 } else { xy / (xx * yy).sqrt() },
        gain: state.gain[i].unwrap_or(f64::NAN) / state.gain[reference].unwrap_or(1.0),
        sigma_gain: gain_row.map_or(0.0, |k| (refined.covariance[k][k] * scale).sqrt()),
        chi2_reduced: chi2 * cells.weight_factor,
        cells: cells.len(),
        ambiguity: link.map_or(0.0, |l| l.ambiguity),
        significance: link.map_or(f64::INFINITY, |l| l.significance),
        scatter_factor: cells.scatter_factor,
        beam: cells.beam,
        profile: (placed && i != reference)
            .then(|| profile(joint, reference, i, Offset { dra_rad: x[0] - zero[0], ddec_rad: x[1] - zero[1] })),
    }
}

/// The cells of a block, of all baselines, beside those of the reference.
fn profile(joint: &Joint, reference: usize, i: usize, offset: Offset) -> UvProfile {
    let as_offset = |[l, m]: [f64; 2]| Offset { dra_rad: l, ddec_rad: m };
    let back = as_offset(joint.cells[reference].taken_out);
    let reference: Vec<Sample> = joint.cells[reference].samples().map(|s| s.turned(-back)).collect();
    let block: Vec<Sample> = joint.cells[i].samples().collect();
    UvProfile::of(&reference, &block, offset, as_offset(joint.cells[i].taken_out), PROFILE_BINS)
}

fn remarks(joint: &Joint, state: &State, refined: &Refined, support: &Support) -> Vec<String> {
    let mut out = joint.remarks.clone();
    out.push(format!(
        "The sky is an image of {0} x {0} pixels of {1:.1} mas; emission is allowed in {support}; baselines up to {2:.0} kλ are used; the last step of the fit was {3:.2} sigma.",
        state.sky.n,
        state.sky.pixel / MAS,
        state.cells.iter().map(|c| c.max_uv()).fold(0.0, f64::max) / 1e3,
        refined.last_step,
    ));
    out
}

/// Why nothing can be said relative to the reference, if that is so.
fn doubt_of_reference(state: &State, refined: &Refined, reference: usize) -> Option<String> {
    let name = &state.cells[reference].name;
    if state.gain[reference].is_none() {
        return Some(format!("the reference {name} has no match with the image of the other blocks"));
    }
    let chi2 = chi2_reduced(state, refined, reference);
    (chi2 > MAX_CHI2).then(|| format!("the common sky does not fit the reference {name}: reduced chi-square {chi2:.2}"))
}

/// Why a block cannot be trusted, if it cannot.
fn doubt(block: &JointBlock, refined: &Refined, history: &History, outside: Option<&str>) -> Option<String> {
    if let Some(chi2) = history.misfit {
        return Some(format!("the common sky does not fit it: reduced chi-square {chi2:.2}"));
    }
    let Some(sigma) = block.sigma else {
        return Some(format!(
            "no match with the image of the other blocks: the best is {:.1} times its noise, {MIN_SIGNIFICANCE} are needed",
            block.significance
        ));
    };
    if let Some(outside) = outside {
        return Some(outside.to_string());
    }
    if refined.last_step > 1.0 {
        return Some(format!("the fit did not settle: the last step was {:.1} sigma", refined.last_step));
    }
    let largest = sigma.dra_rad.max(sigma.ddec_rad);
    if let Some((excess, distance)) = history.rival.filter(|r| r.1 > 5.0 * largest) {
        return Some(format!("ambiguous: a place {:.1} mas away fits nearly as well (chi-square higher by {excess:.1})", distance / MAS));
    }
    if let Some((major, minor, _)) = block.beam.filter(|b| largest > 0.25 * (b.0 * b.1).sqrt()) {
        let (major, minor) = (major / MAS, minor / MAS);
        return Some(format!("its error, {:.2} mas, is more than a quarter of its beam of {major:.1} by {minor:.1} mas", largest / MAS));
    }
    None
}
