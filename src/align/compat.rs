//! The published alignment code, defects included, so that its numbers can be reproduced.
//!
//! Modelled on the behaviour of the exoALMA scripts of 2022: unweighted cells on the full plane with coordinates half a cell
//! too large, individual flags ignored, L1 with the mean of the two weights, one start, no uncertainty.

use std::f64::consts::TAU;
use std::sync::Arc;

use num_complex::Complex64;
use rayon::prelude::*;

use super::find_offset::{FindOffsetOptions, MIN_SHARED, Objective, OffsetFit};
use super::ingest::{CellTable, IngestOptions, Run, Sum, ingest};
use super::pair::{Pair, PairFit};
use super::uv_grid::{default_cell_rad, max_uv_lambda};
use super::{AlignError, UvGrid, UvGridSpec};
use crate::data::{VisBlock, VisSource};
use crate::error::Result;
use crate::notice::{Reporter, Warning};
use crate::sky::Offset;
use crate::units::C_M_S;

/// One cell of the full plane: plain mean, sum of weights.
struct Cell {
    i: i64,
    j: i64,
    vis: Complex64,
    weight: f64,
}

pub(super) fn find_offset(
    reference: &dyn VisSource,
    block: &dyn VisSource,
    options: &FindOffsetOptions,
    notice: &dyn Reporter,
) -> Result<OffsetFit> {
    let cell_rad = match options.grid.cell {
        Some(cell) => cell.0,
        None => default_cell_rad(max_uv_lambda(reference, notice)?.max(max_uv_lambda(block, notice)?)),
    };
    let spec = UvGridSpec::new(cell_rad, options.grid.npix.unwrap_or(1024))?;
    let (cells_reference, outside) = cells(reference, &spec, notice)?;
    if outside > 0 {
        let message = format!("{}: {outside} samples lie outside the uv grid and were left out", reference.name());
        notice.warn(Warning::new("outside-grid", message));
    }
    let (cells_block, outside) = cells(block, &spec, notice)?;
    if outside > 0 {
        return Err(spec.too_coarse(block.name(), max_uv_lambda(block, notice)?).into());
    }
    let shared = overlap(&cells_reference, &cells_block, &spec);
    if shared.len() < MIN_SHARED {
        return Err(AlignError::NoSharedCells {
            reference: reference.name().to_string(),
            block: block.name().to_string(),
            shared: shared.len(),
            needed: MIN_SHARED,
            cells_reference: cells_reference.len(),
            cells_block: cells_block.len(),
            cell_lambda: spec.cell_lambda(),
        }
        .into());
    }
    let q_max = shared.iter().map(|p| p.u.hypot(p.v)).fold(0.0, f64::max);
    let start = 1.0 / (6.0 * q_max);
    let (x, iterations, converged) = descend(&shared, [start, start]);
    // The grids for figures are those of the other methods: flags honoured, weighted.
    let plain = |source| -> Result<UvGrid> { Ok(ingest(source, &[spec], &IngestOptions::default(), notice)?.remove(0)) };
    let (reference_grid, block_grid) = (Arc::new(plain(reference)?), Arc::new(plain(block)?));
    let unknown = Offset { dra_rad: f64::NAN, ddec_rad: f64::NAN };
    Ok(OffsetFit {
        reference: reference.name().to_string(),
        block: block.name().to_string(),
        offset: Offset::from_lm(block.phase_center(), x[0], x[1]),
        sigma: unknown,
        correlation: f64::NAN,
        amplitude_ratio: f64::NAN,
        sigma_amplitude_ratio: f64::NAN,
        chi2_reduced: f64::NAN,
        cells_reference: cells_reference.len(),
        cells_block: cells_block.len(),
        shared_cells: shared.len(),
        spec,
        npix_scan: Vec::new(),
        other_objective: None,
        significance: f64::NAN,
        chance: f64::NAN,
        places: f64::NAN,
        ambiguity: f64::NAN,
        rival: None,
        scatter_factor: (reference_grid.scatter_factor(), block_grid.scatter_factor()),
        converged,
        reason: format!("{} after {iterations} steps from one start", if converged { "settled" } else { "not settled" }),
        passes: 1,
        objective: Objective::Complex,
        reference_grid,
        block_grid,
        shared: Arc::new(shared),
        last: PairFit {
            x,
            curvature: [f64::NAN; 3],
            noise_product: [f64::NAN; 3],
            amplitude: 1.0,
            sigma_amplitude: f64::NAN,
            chi2: f64::NAN,
            freedom: 1.0,
            iterations,
            converged,
        },
        inflation: f64::NAN,
        is_compat: true,
    })
}

/// Channels that are not flagged in every row and correlation, by spectral window.
fn kept_channels(source: &dyn VisSource, notice: &dyn Reporter) -> Result<Vec<(usize, Vec<bool>)>> {
    let mut kept: Vec<(usize, Vec<bool>)> = Vec::new();
    for i in 0..source.n_blocks() {
        notice.check()?;
        let block = source.read_block(i)?;
        let n_chan = block.freq_hz.len();
        let at = match kept.iter().position(|(spw, _)| *spw == block.i_spw) {
            Some(at) => at,
            None => {
                kept.push((block.i_spw, vec![false; n_chan]));
                kept.len() - 1
            }
        };
        for ((_, chan, _), flag) in block.flag_rfc.indexed_iter() {
            if !flag && chan < kept[at].1.len() {
                kept[at].1[chan] = true;
            }
        }
    }
    Ok(kept)
}

/// The cells of the full plane with data, and how many samples fell outside.
fn cells(source: &dyn VisSource, spec: &UvGridSpec, notice: &dyn Reporter) -> Result<(Vec<Cell>, u64)> {
    let kept = kept_channels(source, notice)?;
    let (mut table, mut outside) = (CellTable::default(), 0);
    for first in (0..source.n_blocks()).step_by(8) {
        notice.check()?;
        let read = |i| -> Result<(Vec<Run>, u64)> {
            let block = source.read_block(i)?;
            let kept = kept.iter().find(|(spw, _)| *spw == block.i_spw).map_or(&[][..], |k| &k.1);
            Ok(runs(&block, kept, spec))
        };
        let batch = (first..(first + 8).min(source.n_blocks())).into_par_iter().map(read).collect::<Result<Vec<_>>>()?;
        for (runs, n) in batch {
            runs.iter().for_each(|r| table.add(r));
            outside += n;
        }
    }
    let cell = |r: Run| Cell {
        i: (r.key & 0xFFFF_FFFF) as i64,
        j: (r.key >> 32) as i64,
        vis: r.sum.vis / r.sum.count as f64,
        weight: r.sum.weight,
    };
    Ok((table.sorted().into_iter().map(cell).collect(), outside))
}

/// Plain mean of the first two correlations, sum of their weights, at (u,v) and conjugated at (-u,-v).
fn runs(block: &VisBlock, kept: &[bool], spec: &UvGridSpec) -> (Vec<Run>, u64) {
    let n_corr = block.corr.len().min(2);
    let (mut out, mut outside) = (Vec::new(), 0);
    for row in (0..block.row.len()).filter(|r| block.antenna1[*r] != block.antenna2[*r]) {
        for chan in (0..block.freq_hz.len()).filter(|c| kept.get(*c) == Some(&true)) {
            let (mut vis, mut weight) = (Complex64::default(), 0.0);
            for corr in 0..n_corr {
                let sample = block.vis_rfc[[row, chan, corr]];
                vis += Complex64::new(sample.re as f64, sample.im as f64) / n_corr as f64;
                weight += block.weight.get(row, chan, corr) as f64;
            }
            if !(vis.re.is_finite() && vis.im.is_finite() && weight.is_finite()) {
                continue;
            }
            let per_m = block.freq_hz[chan] / C_M_S;
            let (u, v) = (block.uvw_m[[row, 0]] * per_m, block.uvw_m[[row, 1]] * per_m);
            for (u, v, vis) in [(u, v, vis), (-u, -v, vis.conj())] {
                match (index(u, spec), index(v, spec)) {
                    (Some(i), Some(j)) => {
                        let sum = Sum { weight, vis, count: 1, ..Default::default() };
                        out.push(Run { key: (j as u64) << 32 | i as u64, sum });
                    }
                    _ => outside += 1,
                }
            }
        }
    }
    (out, outside)
}

/// trunc(npix/2 + u/du + 1/2), inside the range of the (shifted) coordinates only.
fn index(u: f64, spec: &UvGridSpec) -> Option<i64> {
    let n = spec.npix() as i64;
    let i = (n as f64 / 2.0 + u / spec.cell_lambda() + 0.5).trunc() as i64;
    let inside = u > coordinate(0, spec) && u < coordinate(n - 1, spec);
    (inside && (0..n).contains(&i)).then_some(i)
}

/// Half a cell too large, as published.
fn coordinate(i: i64, spec: &UvGridSpec) -> f64 {
    (i as f64 - spec.npix() as f64 / 2.0 + 0.5) * spec.cell_lambda()
}

fn overlap(reference: &[Cell], block: &[Cell], spec: &UvGridSpec) -> Vec<Pair> {
    let mut rest = reference.iter().peekable();
    let mut out = Vec::new();
    for b in block {
        while rest.next_if(|r| (r.j, r.i) < (b.j, b.i)).is_some() {}
        if let Some(r) = rest.next_if(|r| (r.j, r.i) == (b.j, b.i)) {
            out.push(Pair {
                ku: b.i as i32,
                kv: b.j as i32,
                u: coordinate(b.i, spec),
                v: coordinate(b.j, spec),
                reference: r.vis,
                block: b.vis,
                var_reference: 1.0 / r.weight,
                var_block: 1.0 / b.weight,
            });
        }
    }
    out
}

/// Σ (w_R + w_C)/2 |C exp(-2πi u.x) - R|.
pub(super) fn cost(pairs: &[Pair], x: [f64; 2]) -> f64 {
    cost_and_gradient(pairs, x).0
}

fn cost_and_gradient(pairs: &[Pair], x: [f64; 2]) -> (f64, [f64; 2]) {
    let (mut cost, mut gradient) = (0.0, [0.0; 2]);
    for p in pairs {
        let weight = 0.5 * (1.0 / p.var_reference + 1.0 / p.var_block);
        let turned = p.block * Complex64::cis(-TAU * (p.u * x[0] + p.v * x[1]));
        let miss = turned - p.reference;
        let length = miss.norm();
        cost += weight * length;
        if length > 0.0 {
            // d|miss| = Re(miss* (-2πi u) turned)/|miss|
            let slope = weight * TAU * (miss.conj() * turned).im / length;
            gradient[0] += slope * p.u;
            gradient[1] += slope * p.v;
        }
    }
    (cost, gradient)
}

/// Quasi-Newton (BFGS) descent with backtracking, in units of the start's length.
fn descend(pairs: &[Pair], start: [f64; 2]) -> ([f64; 2], usize, bool) {
    let unit = start[0].hypot(start[1]).max(f64::MIN_POSITIVE);
    let evaluate = |z: [f64; 2]| {
        let (cost, gradient) = cost_and_gradient(pairs, [z[0] * unit, z[1] * unit]);
        (cost, gradient.map(|g| g * unit))
    };
    let dot = |a: [f64; 2], b: [f64; 2]| a[0] * b[0] + a[1] * b[1];
    let mut z = start.map(|s| s / unit);
    let (mut cost, mut gradient) = evaluate(z);
    let first = gradient[0].hypot(gradient[1]).max(f64::MIN_POSITIVE);
    let mut inverse = [0.3 / first, 0.0, 0.3 / first];
    for iteration in 1..=200 {
        let direction = super::pair::apply(inverse, gradient).map(|d| -d);
        let slope = dot(direction, gradient);
        let mut length = 1.0;
        let step = loop {
            let next = [z[0] + length * direction[0], z[1] + length * direction[1]];
            let there = evaluate(next);
            if there.0 <= cost + 1e-4 * length * slope {
                break Some((next, there));
            }
            length *= 0.5;
            if length < 1e-12 {
                break None;
            }
        };
        let Some((next, (next_cost, next_gradient))) = step else {
            // The cost is a cone where the two sets agree exactly: no step goes down from its tip.
            return (z.map(|z| z * unit), iteration, true);
        };
        let s = [next[0] - z[0], next[1] - z[1]];
        let y = [next_gradient[0] - gradient[0], next_gradient[1] - gradient[1]];
        let done = (cost - next_cost) <= 1e-13 * cost.abs() && dot(s, s).sqrt() < 1e-7;
        (z, cost, gradient) = (next, next_cost, next_gradient);
        if done {
            return (z.map(|z| z * unit), iteration, true);
        }
        let sy = dot(s, y);
        if sy > 1e-14 * dot(s, s).sqrt() * dot(y, y).sqrt() {
            let hy = super::pair::apply(inverse, y);
            let factor = (1.0 + dot(y, hy) / sy) / sy;
            inverse[0] += factor * s[0] * s[0] - 2.0 * hy[0] * s[0] / sy;
            inverse[1] += factor * s[0] * s[1] - (hy[0] * s[1] + s[0] * hy[1]) / sy;
            inverse[2] += factor * s[1] * s[1] - 2.0 * hy[1] * s[1] / sy;
        }
    }
    (z.map(|z| z * unit), 200, false)
}
