//! The joint alignment from blocks to offsets.

use super::chain::{Link, next_link};
use super::compress::{Cells, Compression, compress};
use super::options::{JointOptions, SupportOption};
use super::prior::RadialPower;
use super::refine::{RefineOptions, Refined, refine};
use super::report::report;
use super::residual::{ResidualMap, residual_map};
use super::result::JointFit;
use super::sky::{Sky, Solution};
use super::state::State;
use super::support::{Picture, Support, SupportPatch, extents};
use super::tune::tune;
use crate::align::AlignError;
use crate::data::VisSource;
use crate::error::Result;
use crate::notice::{Reporter, Warning};
use crate::units::{ARCSEC, Angle};

/// Baselines beyond this many times the last with signal are left out.
const UV_MARGIN: f64 = 1.6;
/// A residual this high outside the support is emission: the highest of 10^4 places of noise is about 4.3.
pub(super) const OUTLIER: f64 = 6.0;
/// Residual chi-square beyond which a block is taken out: good fits have 0.8-1.2, wrong ones 3 and more.
pub(super) const MAX_CHI2: f64 = 2.0;
/// Other places that are tried for ambiguous links.
const MAX_ALTERNATIVES: usize = 4;
/// A place whose χ² is higher by less than this is a rival: 5 sigma.
const DECISIVE: f64 = 25.0;
/// Residuals outside the support that agree better than this are of one observation: independent noise agrees to a few percent.
const ALIKE: f64 = 0.5;
/// Patches that may be added to the support.
const MAX_PATCHES: usize = 4;

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
        report_scatter(&c, notice);
        cells.push(c);
    }
    let seed = named(blocks, options.seed.as_deref()).unwrap_or_else(|| loudest(&cells));
    let reference = named(blocks, options.reference.as_deref()).unwrap_or_else(|| sharpest(&cells));
    let mut joint = Joint { blocks, options, how, cells, seed, reference, notice, remarks: Vec::new() };
    joint.run()
}

/// Says by what the weights of a block are rescaled for the fit.
fn report_scatter(cells: &Cells, notice: &dyn Reporter) {
    if cells.weight_factor != 1.0 {
        let message = format!(
            "{}: the scatter inside uv cells, noise and source, is {:.2} times what the weights say; the fit uses weights that agree with it",
            cells.name, cells.weight_factor
        );
        notice.warn(Warning::new("cell-scatter", message).hint("errors stay those of the weights; sigma: \"scatter\" rescales them too"));
    }
}

/// Everything that the steps share.
pub(super) struct Joint<'a> {
    blocks: &'a [&'a dyn VisSource],
    pub options: &'a JointOptions,
    how: Compression,
    /// All cells, beyond the longest baseline with signal too.
    pub cells: Vec<Cells>,
    pub seed: usize,
    pub reference: usize,
    notice: &'a dyn Reporter,
    pub remarks: Vec<String>,
}

/// Blocks placed one after the other.
struct Chained {
    problem: Problem,
    links: Vec<Option<Link>>,
    /// Matches of the blocks that found no place.
    left: Vec<Link>,
    objective: f64,
}

/// A prior and the sky that goes with it.
#[derive(Clone)]
pub(super) struct Problem {
    pub state: State,
    power: RadialPower,
    /// Longest baseline kept, wavelengths.
    kept: f64,
    /// The image of the last refinement.
    solution: Option<Solution>,
}

/// Where a block was placed first, and what became of it.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    /// The link of the chain that placed it, or the best one that did not.
    pub link: Option<Link>,
    /// Another place that fits nearly as well: by how much χ² is higher, and how far it is, rad.
    pub rival: Option<(f64, f64)>,
    /// Reduced chi-square for which it was taken out.
    pub misfit: Option<f64>,
}

impl Joint<'_> {
    fn run(&mut self) -> Result<JointFit> {
        let first = self.first_support()?;
        let mut history = vec![History::default(); self.blocks.len()];
        let mut problem = self.place(&first, &mut history)?;
        let start = self.in_reference_frame(&problem.state, &first);
        if self.rebin(&problem.state)? || start != first {
            self.rebuild(&mut problem, &start)?;
        }
        loop {
            let (refined, residual) = self.settle_support(&mut problem)?;
            match self.worst(&problem.state, &refined) {
                Some((i, chi2)) => {
                    history[i].misfit = Some(chi2);
                    problem.state.exclude(i);
                    self.rebuild(&mut problem, &start)?;
                }
                None => return Ok(report(self, problem, refined, residual, history)),
            }
        }
    }

    /// The block, not the reference, that the common sky fits worst, if it is too bad to be kept.
    fn worst(&self, state: &State, refined: &Refined) -> Option<(usize, f64)> {
        let others = state.placed().into_iter().filter(|i| *i != self.reference).map(|i| (i, chi2_reduced(state, refined, i)));
        others.filter(|(_, chi2)| *chi2 > MAX_CHI2).max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Places the blocks; where a link was ambiguous, tries its other places too and keeps what fits best.
    fn place(&self, support: &Support, history: &mut [History]) -> Result<Problem> {
        let empty = self.problem(support)?;
        let mut best = self.chain(empty.clone(), None)?;
        let ambiguous: Vec<(usize, usize)> =
            best.links.iter().flatten().flat_map(|l| (1..l.peaks.len()).map(|p| (l.block, p))).take(MAX_ALTERNATIVES).collect();
        let mut others = Vec::new();
        for choice in ambiguous {
            let mut other = self.chain(empty.clone(), Some(choice))?;
            if other.objective < best.objective && other.problem.state.placed().len() >= best.problem.state.placed().len() {
                std::mem::swap(&mut best, &mut other);
            }
            others.push(other);
        }
        for (i, h) in history.iter_mut().enumerate() {
            h.link = best.links[i].clone().or_else(|| best.left.iter().find(|l| l.block == i).cloned());
            let distance = |o: &Chained| {
                let (a, b) = (o.problem.state.x[i], best.problem.state.x[i]);
                (a[0] - b[0]).hypot(a[1] - b[1])
            };
            let rivals = others.iter().filter(|o| o.problem.state.gain[i].is_some()).map(|o| (o.objective - best.objective, distance(o)));
            h.rival = rivals.filter(|r| r.0 < DECISIVE).max_by(|a, b| a.1.total_cmp(&b.1));
        }
        Ok(best.problem)
    }

    /// A region given by the user refers to the reference, the sky to the seed.
    fn in_reference_frame(&self, state: &State, first: &Support) -> Support {
        match self.options.support {
            Some(SupportOption::Region(region)) => {
                let moved = state.middle_in(self.reference);
                let mut patch = region.patch();
                patch.east_rad += state.sky.center[0] - moved[0];
                patch.north_rad += state.sky.center[1] - moved[1];
                Support { patches: vec![patch] }
            }
            _ => first.clone(),
        }
    }

    /// Radius within which emission is looked for, rad.
    pub fn disc(&self) -> f64 {
        self.how.field_rad / 15.0
    }

    fn first_support(&self) -> Result<Support> {
        let measured = || self.seed_support();
        Ok(match self.options.support {
            Some(SupportOption::Region(region)) => {
                // Where the reference lies relative to the seed is not known yet.
                let patch = region.patch();
                let wider = self.options.search.0;
                Support { patches: vec![SupportPatch { major_rad: patch.major_rad + wider, minor_rad: patch.minor_rad + wider, ..patch }] }
            }
            Some(SupportOption::Radius(radius)) => {
                let found = measured()?.patches[0];
                Support::disc([found.east_rad, found.north_rad], radius.0)
            }
            None => measured()?,
        })
    }

    /// Where the image of the seed alone has its emission.
    fn seed_support(&self) -> Result<Support> {
        let (cells, whole) = (&self.cells[self.seed], Support::disc([0.0; 2], self.disc()));
        let max_uv = cells.max_uv();
        let Some(power) = RadialPower::of(&[cells], max_uv) else { return Ok(whole) };
        let kept = (UV_MARGIN * power.last_edge).min(max_uv);
        let cells = cells.cut(kept);
        let sky = Sky::new(&[&cells], &whole, &power, kept)?;
        let state = State::new(vec![cells], sky, 0);
        let image = state.solve(None, 1e-3, 200)?.image;
        let picture = Picture { image: &image, n: state.sky.n, pixel: state.sky.pixel, resolution: 1.0 / kept };
        let patches: Vec<SupportPatch> = extents(&picture, self.disc()).iter().take(1 + MAX_PATCHES).map(|e| e.disc([0.0; 2])).collect();
        Ok(if patches.is_empty() { whole } else { Support { patches } })
    }

    /// Cells up to the longest baseline with signal, their power, and the sky on `support`.
    fn problem(&self, support: &Support) -> Result<Problem> {
        let no_signal = || AlignError::NoSignal { names: self.cells.iter().map(|c| c.name.clone()).collect() };
        let all: Vec<&Cells> = self.cells.iter().collect();
        let max_uv = self.cells.iter().map(Cells::max_uv).fold(0.0, f64::max);
        let kept = (UV_MARGIN * RadialPower::of(&all, max_uv).ok_or_else(no_signal)?.last_edge).min(max_uv);
        let cells: Vec<Cells> = self.cells.iter().map(|c| c.cut(kept)).collect();
        let all: Vec<&Cells> = cells.iter().collect();
        let power = RadialPower::of(&all, kept).ok_or_else(no_signal)?;
        let sky = Sky::new(&all, support, &power, kept)?;
        Ok(Problem { state: State::new(cells, sky, self.seed), power, kept, solution: None })
    }

    /// Places the blocks one after the other, one of them (block, number of its peak) where it is not the highest.
    fn chain(&self, mut problem: Problem, choice: Option<(usize, usize)>) -> Result<Chained> {
        let state = &mut problem.state;
        let mut links: Vec<Option<Link>> = vec![None; self.blocks.len()];
        let left = loop {
            let (next, all) = next_link(state, self.options.search.0, self.notice)?;
            let Some(link) = next else { break all };
            let i = link.block;
            let rank = choice.filter(|c| c.0 == i).map_or(0, |c| c.1.min(link.peaks.len() - 1));
            state.x[i] = link.peaks[rank].x;
            state.gain[i] = Some(link.peaks[rank].gain);
            links[i] = Some(link);
        };
        state.anchor_at(self.reference);
        let refined = refine(state, &RefineOptions::quick(), None, self.notice)?;
        problem.solution = Some(refined.solution);
        Ok(Chained { problem, links, left, objective: refined.objective })
    }

    /// Averages blocks again whose source is so far from their phase center that cells blur it; true if there were any.
    fn rebin(&mut self, state: &State) -> Result<bool> {
        let limit = 0.3 / 60.0 * self.how.field_rad;
        let far: Vec<usize> = state.placed().into_iter().filter(|i| state.x[*i][0].hypot(state.x[*i][1]) > limit).collect();
        for i in &far {
            let (x, before) = (state.x[*i], state.cells[*i].taken_out);
            let taken_out = [before[0] + x[0], before[1] + x[1]];
            self.cells[*i] = compress(self.blocks[*i], &self.how, taken_out, self.notice)?.0;
        }
        Ok(!far.is_empty())
    }

    /// Shrinks the support to what the data prefer, and grows it where the residuals show emission outside.
    fn settle_support(&mut self, problem: &mut Problem) -> Result<(Refined, ResidualMap)> {
        let automatic = self.options.support.is_none();
        let (mut tuned, mut whole) = (!automatic, false);
        loop {
            let solution = match problem.solution.take() {
                Some(known) => known,
                None => problem.state.solve(None, 1e-3, 300)?,
            };
            let residual = residual_map(&problem.state, &solution, 1.25 * self.disc())?;
            let outlier = residual.outlier(&problem.state).filter(|o| o.significance > OUTLIER);
            let patches = problem.state.sky.support.patches.len();
            if let Some(o) = outlier.filter(|_| automatic && patches <= MAX_PATCHES) {
                let at = format!("({:+.2}, {:+.2}) arcsec", o.east / ARCSEC, o.north / ARCSEC);
                self.remarks.push(format!(
                    "emission outside the support at {at}, {:.1} times the noise: the support was enlarged there",
                    o.significance
                ));
                let mut support = problem.state.sky.support.clone();
                support.patches.push(SupportPatch::disc([o.east, o.north], 3.0 * problem.state.beam_rad()));
                self.rebuild(problem, &support)?;
                continue;
            }
            if !tuned {
                tuned = true;
                let support = tune(&problem.state, &solution, &problem.power, (1.0 / problem.kept, self.disc()), self.notice)?;
                let before = problem.state.sky.support.patches[0].major_rad;
                if support.patches[0].major_rad > 1.1 * before {
                    self.rebuild(problem, &support)?;
                } else {
                    // The blocks are where they were to a fraction of their errors; the refinement at the end moves them.
                    *problem = self.on_support(problem, &support)?;
                }
                continue;
            }
            if let Some((a, b, agreement)) = residual.alike.filter(|(.., r)| automatic && !whole && *r > ALIKE) {
                whole = true;
                let name = |i: usize| &problem.state.cells[i].name;
                self.remarks.push(format!(
                    "{} and {} agree in their noise (correlation {agreement:.2}), as a set and its copy do: what they share is taken for sky \
                     over the whole field, and their errors do not hold",
                    name(a),
                    name(b)
                ));
                let support = Support::disc(problem.state.sky.center, 3.0 * self.disc());
                self.rebuild(problem, &support)?;
                continue;
            }
            let refined = refine(&mut problem.state, &RefineOptions::default(), Some(solution), self.notice)?;
            let residual = residual_map(&problem.state, &refined.solution, 1.25 * self.disc())?;
            return Ok((refined, residual));
        }
    }

    /// Another support with the blocks where they are.
    fn on_support(&self, problem: &Problem, support: &Support) -> Result<Problem> {
        let mut next = self.problem(support)?;
        next.state.take_places(&problem.state);
        next.state.anchor_at(self.reference);
        Ok(next)
    }

    /// The same, and a few steps towards where they lie now.
    fn rebuild(&self, problem: &mut Problem, support: &Support) -> Result<()> {
        *problem = self.on_support(problem, support)?;
        problem.solution = Some(refine(&mut problem.state, &RefineOptions::quick(), None, self.notice)?.solution);
        Ok(())
    }
}

/// Chi-square of a block over its degrees of freedom: twice its cells less what the image follows.
pub(super) fn chi2_reduced(state: &State, refined: &Refined, i: usize) -> f64 {
    let n = 2.0 * state.cells[i].len() as f64;
    refined.chi2[i] / (n - state.sky.effective_components(i, &state.gain)).max(0.2 * n).max(1.0)
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
