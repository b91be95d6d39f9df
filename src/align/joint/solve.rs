//! The joint alignment from blocks to offsets.

use ndarray::Array2;

use super::chain::{Link, next_link};
use super::compress::{Cells, Compression, compress};
use super::options::{JointOptions, SupportOption};
use super::prior::RadialPower;
use super::refine::{RefineOptions, Refined, refine};
use super::result::{BlockStatus, JointBlock, JointFit, SkyMap};
use super::sky::Sky;
use super::state::State;
use super::support::{Support, extent};
use crate::align::{AlignError, SigmaFrom};
use crate::data::VisSource;
use crate::error::Result;
use crate::notice::Reporter;
use crate::sky::Offset;
use crate::units::Angle;

/// Baselines beyond this many times the last with signal are left out.
const UV_MARGIN: f64 = 1.6;

/// Aligns all blocks at once on a common unknown sky.
///
/// Needs no shared uv cells: blocks are placed one after the other on the image of those already placed, then all offsets and
/// flux scales are refined together. A block that cannot be trusted has no offset but a reason.
pub fn align_jointly(blocks: &[&dyn VisSource], options: &JointOptions, notice: &dyn Reporter) -> Result<JointFit> {
    check_request(blocks, options)?;
    let how = compression(blocks, options)?;
    let mut cells = Vec::new();
    for (i, block) in blocks.iter().enumerate() {
        notice.progress("reading", i as u64, blocks.len() as u64);
        let (c, grid) = compress(*block, &how, [0.0; 2], notice)?;
        grid.counts().report(block.name(), notice);
        cells.push(c);
    }
    let seed = named(blocks, options.seed.as_deref()).unwrap_or_else(|| loudest(&cells));
    let reference = named(blocks, options.reference.as_deref()).unwrap_or_else(|| sharpest(&cells));

    let disc = how.field_rad / 15.0;
    let (support, center) = match options.support {
        Some(SupportOption::Region(region)) => {
            let patch = region.patch();
            (Support { patches: vec![patch] }, [patch.east_rad, patch.north_rad])
        }
        Some(SupportOption::Radius(radius)) => {
            let center = seed_extent(&cells[seed], disc)?.map_or([0.0; 2], |e| e.center);
            (Support::disc(center, radius.0), center)
        }
        None => match seed_extent(&cells[seed], disc)? {
            Some(e) => (Support::disc(e.center, e.radius), e.center),
            None => (Support::disc([0.0; 2], disc), [0.0; 2]),
        },
    };
    let all: Vec<&Cells> = cells.iter().collect();
    let max_uv = cells.iter().map(Cells::max_uv).fold(0.0, f64::max);
    let power = RadialPower::of(&all, max_uv).ok_or_else(|| no_signal(&cells))?;
    let kept = (UV_MARGIN * power.last_edge).min(max_uv);
    let cells: Vec<Cells> = cells.iter().map(|c| c.cut(kept)).collect();
    let all: Vec<&Cells> = cells.iter().collect();
    let power = RadialPower::of(&all, kept).ok_or_else(|| no_signal(&cells))?;
    let sky = Sky::new(&all, &support, center, &power, kept)?;
    let mut state = State::new(cells, sky, seed);
    let mut links: Vec<Option<Link>> = vec![None; blocks.len()];
    loop {
        let (best, _) = next_link(&state, options.search.0, notice)?;
        let Some(link) = best else { break };
        state.x[link.block] = link.peaks[0].x;
        state.gain[link.block] = Some(link.peaks[0].gain);
        let i = link.block;
        links[i] = Some(link);
    }
    let refined = refine(&mut state, &RefineOptions::default(), None, notice)?;
    Ok(report(state, refined, links, reference, support, options))
}

fn check_request(blocks: &[&dyn VisSource], options: &JointOptions) -> Result<(), AlignError> {
    if blocks.len() < 2 {
        return Err(AlignError::TooFewBlocks { n: blocks.len() });
    }
    let names: Vec<String> = blocks.iter().map(|b| b.name().to_string()).collect();
    if let Some(i) = (0..names.len()).find(|i| names[..*i].contains(&names[*i])) {
        return Err(AlignError::DuplicateName { name: names[i].clone() });
    }
    for (role, name) in [("reference", &options.reference), ("seed", &options.seed)] {
        if let Some(name) = name.as_ref().filter(|n| !names.contains(n)) {
            return Err(AlignError::UnknownBlock { role, name: name.clone(), known: names });
        }
    }
    let positive = |option, angle: Option<Angle>| match angle {
        Some(a) if !(a.0 > 0.0 && a.0 < 0.1) => {
            Err(AlignError::Option { option, value: a.arcsec(), expected: "a positive angle below 5 degrees" })
        }
        _ => Ok(()),
    };
    positive("search", Some(options.search))?;
    positive("sky_field", options.sky_field)?;
    match options.support {
        Some(SupportOption::Radius(r)) => positive("support", Some(r)),
        Some(SupportOption::Region(r)) => positive("support.major", Some(r.major)).and(positive("support.minor", r.minor)),
        None => Ok(()),
    }
}

fn named(blocks: &[&dyn VisSource], name: Option<&str>) -> Option<usize> {
    name.and_then(|n| blocks.iter().position(|b| b.name() == n))
}

fn compression(blocks: &[&dyn VisSource], options: &JointOptions) -> Result<Compression> {
    let first = blocks[0].read_block(0)?;
    let freq_hz = first.freq_hz.iter().sum::<f64>() / first.freq_hz.len().max(1) as f64;
    // Two primary beams (1.13 λ/D) of a 12 m dish.
    let field_rad = options.sky_field.map_or_else(|| Angle::from_arcsec(60.0 * 230e9 / freq_hz).0, |f| f.0);
    Ok(Compression { field_rad, spectral_index: options.spectral_index, freq_hz })
}

/// The block with the strongest signal.
fn loudest(cells: &[Cells]) -> usize {
    (0..cells.len()).max_by(|a, b| cells[*a].signal().total_cmp(&cells[*b].signal())).unwrap_or(0)
}

/// The block whose own data fix the position best: Σ (W|V|² - 2) u².
fn sharpest(cells: &[Cells]) -> usize {
    let information = |c: &Cells| (0..c.len()).map(|k| (c.weight[k] * c.vis[k].norm_sqr() - 2.0) * c.uv(k).powi(2)).sum::<f64>();
    (0..cells.len()).max_by(|a, b| information(&cells[*a]).total_cmp(&information(&cells[*b]))).unwrap_or(0)
}

fn no_signal(cells: &[Cells]) -> AlignError {
    AlignError::NoSignal { names: cells.iter().map(|c| c.name.clone()).collect() }
}

/// Where the image of one block has its emission.
fn seed_extent(cells: &Cells, disc: f64) -> Result<Option<super::support::Extent>> {
    let max_uv = cells.max_uv();
    let Some(power) = RadialPower::of(&[cells], max_uv) else { return Ok(None) };
    let kept = (UV_MARGIN * power.last_edge).min(max_uv);
    let cells = cells.cut(kept);
    let support = Support::disc([0.0; 2], disc);
    let sky = Sky::new(&[&cells], &support, [0.0; 2], &power, kept)?;
    let state = State::new(vec![cells], sky, 0);
    let image = state.solve(None, 1e-3, 200)?.image;
    Ok(extent(&image, state.sky.n, state.sky.pixel, disc, 1.0 / kept))
}

fn report(
    state: State,
    refined: Refined,
    links: Vec<Option<Link>>,
    reference: usize,
    support: Support,
    options: &JointOptions,
) -> JointFit {
    let n = state.cells.len();
    let total = |i: usize| [state.x[i][0] + state.cells[i].taken_out[0], state.x[i][1] + state.cells[i].taken_out[1]];
    let (zero, unit) = (total(reference), state.gain[reference].unwrap_or(1.0));
    // Covariance of x_i - x_reference; the seed's parameters are fixed.
    let parameter = |i: usize, axis: usize| refined.free.iter().position(|f| *f == i).map(|k| 3 * k + axis);
    let c = |a: Option<usize>, b: Option<usize>| a.zip(b).map_or(0.0, |(a, b)| refined.covariance[a][b]);
    let relative = |i: usize, p: usize, j: usize, q: usize| {
        let (a, b, ra, rb) = (parameter(i, p), parameter(j, q), parameter(reference, p), parameter(reference, q));
        c(a, b) - c(a, rb) - c(ra, b) + c(ra, rb)
    };
    let covariance = Array2::from_shape_fn((2 * n, 2 * n), |(a, b)| {
        let known = state.gain[a / 2].is_some() && state.gain[b / 2].is_some();
        if known { relative(a / 2, a % 2, b / 2, b % 2) } else { f64::NAN }
    });
    let blocks = (0..n)
        .map(|i| {
            let cells = &state.cells[i];
            let chi2_reduced = refined.chi2[i] / (2.0 * cells.len().max(1) as f64);
            let scale = if options.sigma == SigmaFrom::Scatter { chi2_reduced.sqrt() } else { 1.0 };
            let (x, gain) = (total(i), state.gain[i]);
            let placed = gain.is_some();
            let [xx, xy, yy] = [covariance[[2 * i, 2 * i]], covariance[[2 * i, 2 * i + 1]], covariance[[2 * i + 1, 2 * i + 1]]];
            JointBlock {
                name: cells.name.clone(),
                status: if i == reference {
                    BlockStatus::Reference
                } else if placed {
                    BlockStatus::Aligned
                } else {
                    BlockStatus::NotAligned("no match with the image of the other blocks".to_string())
                },
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
                beam_rad: 0.0,
            }
        })
        .collect();
    let size = state.sky.n;
    let map = |values: &[f64]| SkyMap {
        data: Array2::from_shape_vec((size, size), values.to_vec()).unwrap_or_default(),
        pixel_rad: state.sky.pixel,
        center: Offset { dra_rad: state.sky.center[0] - zero[0], ddec_rad: state.sky.center[1] - zero[1] },
    };
    JointFit {
        reference: state.cells[reference].name.clone(),
        seed: state.cells[state.seed].name.clone(),
        blocks,
        covariance,
        image: map(&refined.solution.image),
        envelope: map(&state.sky.envelope),
        support,
        residual: map(&state.sky.envelope),
        converged: true,
        remarks: Vec::new(),
        iterations: refined.iterations,
    }
}
