//! The offset of one block relative to another, from the uv cells that both have.

use std::sync::Arc;

use super::chance::{Chance, chance, searched_area};
use super::gridded::Gridded;
use super::pair::{self, Pair, PairFit, pairs};
use super::profile::{Sample, UvProfile};
use super::surface::{self, CostSurface};
use super::uv_grid::{default_cell_rad, max_uv_lambda};
use super::{AlignError, UvGrid, UvGridOptions, UvGridSpec, compat};
use crate::data::VisSource;
use crate::error::Result;
use crate::notice::{Reporter, Warning};
use crate::options;
use crate::sky::Offset;
use crate::units::{Angle, MAS};

/// What the fit minimizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Σ w_R w_C/(w_R + w_C) |R - C|², complex visibilities with a free amplitude ratio.
    Complex,
    /// Σ (phase difference)²/variance: amplitudes do not count.
    Phase,
}

/// Where the uncertainty comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SigmaFrom {
    /// The weights of the data.
    Weights,
    /// The weights, rescaled so that the reduced chi-square is 1.
    Scatter,
}

/// Published code whose numbers are to be reproduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Compat {
    /// The alignment scripts of the exoALMA programme: L1, mean weights, unweighted cells, half-cell offset, flags ignored, one start.
    #[serde(rename = "exoalma-2022")]
    Exoalma2022,
}

options! {
    /// Options of `find_offset`.
    pub struct FindOffsetOptions {
        /// The common uv grid; what is left out is chosen from the data.
        [""] grid: UvGridOptions = UvGridOptions::default(),
        /// What the fit minimizes: "complex" visibilities, or the "phase" differences alone.
        [""] objective: Objective = Objective::Complex,
        /// Where errors come from: the "weights" of the data, or their "scatter" about the fit (weights rescaled to a reduced chi-square of 1).
        [""] sigma: SigmaFrom = SigmaFrom::Weights,
        /// Largest offset that is searched; by default the whole image field of the grid.
        ["arcsec"] search: Option<Angle> = None,
        /// Most passes of shifting exactly, gridding again and fitting again.
        ["1"] max_passes: usize = 6,
        /// Reproduces published code, "exoalma-2022", defects included.
        [""] compat: Option<Compat> = None,
    }
}

/// The offset found on a grid with another number of cells.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct NpixResult {
    /// Cells a side.
    pub npix: usize,
    /// Offset.
    pub offset: Offset,
    /// Its 1-sigma, to the east and north.
    pub sigma: Offset,
    /// Reduced chi-square.
    pub chi2_reduced: f64,
    /// Cells in both sets.
    pub shared_cells: usize,
}

/// The offset of a block relative to a reference.
#[derive(Debug, Clone)]
pub struct OffsetFit {
    /// Name of the reference.
    pub reference: String,
    /// Name of the block.
    pub block: String,
    /// Position of the source relative to the block's phase center minus the same in the reference.
    pub offset: Offset,
    /// 1-sigma to the east and north.
    pub sigma: Offset,
    /// Correlation of the two errors, -1 to 1.
    pub correlation: f64,
    /// Flux scale of the block relative to the reference.
    pub amplitude_ratio: f64,
    /// Its 1-sigma.
    pub sigma_amplitude_ratio: f64,
    /// Chi-square over degrees of freedom (2 shared cells - 3).
    pub chi2_reduced: f64,
    /// Cells of the reference that hold data.
    pub cells_reference: usize,
    /// Cells of the block that hold data.
    pub cells_block: usize,
    /// Cells in both.
    pub shared_cells: usize,
    /// The grid that was used.
    pub spec: UvGridSpec,
    /// The same fit with half and twice the cells a side, the one that was used in the middle.
    pub npix_scan: Vec<NpixResult>,
    /// Offset with the other objective on the same cells: phase for complex, complex for phase.
    pub other_objective: Option<NpixResult>,
    /// How far the best match of the field is from one of random phases, as the sigma of a Gaussian of the same probability.
    pub significance: f64,
    /// Matches as good that random phases bring in the field that was searched; below [`MAX_CHANCE`] in a match to be trusted.
    pub chance: f64,
    /// Independent places in that field.
    pub places: f64,
    /// Height of the second-best match over that of the best.
    pub ambiguity: f64,
    /// The place that fits second best.
    pub rival: Option<Rival>,
    /// Scatter of the samples inside cells over what the weights say: (reference, block).
    pub scatter_factor: (Option<f64>, Option<f64>),
    /// True where the fit settled on a significant match.
    pub converged: bool,
    /// Why it is converged, or why not.
    pub reason: String,
    /// Passes of gridding and fitting.
    pub passes: usize,
    /// Objective of the fit.
    pub objective: Objective,
    /// Cells of the reference.
    pub reference_grid: Arc<UvGrid>,
    /// Cells of the block after the last shift.
    pub block_grid: Arc<UvGrid>,
    pub(super) shared: Arc<Vec<Pair>>,
    /// The fit to `shared`, whose offset is what the last shift left over.
    pub(super) last: PairFit,
    /// Determinant of the stated covariance over that of the objective's curvature.
    pub(super) inflation: f64,
    pub(super) is_compat: bool,
}

impl OffsetFit {
    /// The objective about the minimum, `n` by `n` points to `half_width_rad` on each side (by default 5 sigma).
    pub fn cost_surface(&self, half_width_rad: Option<f64>, n: usize) -> CostSurface {
        surface::around(self, half_width_rad, n)
    }

    /// Both sets in `n_bins` rings of the uv plane, from the cells of the fit.
    pub fn profile(&self, n_bins: usize) -> UvProfile {
        let samples = |g: &UvGrid| g.cells().iter().map(Sample::from).collect::<Vec<_>>();
        let left = Offset { dra_rad: self.last.x[0], ddec_rad: self.last.x[1] };
        UvProfile::of(&samples(&self.reference_grid), &samples(&self.block_grid), self.offset, self.offset - left, n_bins)
    }

    /// Largest difference of the scanned grids from the one that was used, rad.
    pub fn npix_spread_rad(&self) -> f64 {
        self.npix_scan.iter().map(|r| (r.offset - self.offset).length_rad()).fold(0.0, f64::max)
    }
}

impl std::fmt::Display for OffsetFit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (o, s) = (self.offset, self.sigma);
        write!(
            f,
            "{} relative to {}: ({:+.3} ± {:.3}, {:+.3} ± {:.3}) mas, chi2 {:.2}, {} shared cells{}",
            self.block,
            self.reference,
            o.dra_mas(),
            s.dra_mas(),
            o.ddec_mas(),
            s.ddec_mas(),
            self.chi2_reduced,
            self.shared_cells,
            if self.converged { "" } else { ", NOT CONVERGED" }
        )
    }
}

/// Fewest shared cells for a fit of three numbers.
pub(super) const MIN_SHARED: usize = 4;
/// Fewest shared cells for a grid to be chosen by its misfit, which fewer do not measure.
const MIN_CHOSEN: usize = 8;

/// Finds the offset of `block` relative to `reference` on a common uv grid.
///
/// Global start from the Fourier transform of the cross spectrum over the whole image field, Newton steps with analytic
/// derivatives, then the data are shifted, gridded and fitted again until the offset stays. The samples are read once: a small
/// shift is exact for their means in the finest cells, after a large one they are read again.
pub fn find_offset(
    reference: &dyn VisSource,
    block: &dyn VisSource,
    options: &FindOffsetOptions,
    notice: &dyn Reporter,
) -> Result<OffsetFit> {
    if options.compat.is_some() {
        return compat::find_offset(reference, block, options, notice);
    }
    let by_data = options.grid.npix.is_none();
    let (specs, wanted) = candidate_specs(reference, block, &options.grid, &FINE, notice)?;
    let finest = specs.last().copied().filter(|_| by_data);
    let mut sets = Sets { reference: Gridded::read(reference, finest, notice)?, block: Gridded::read(block, finest, notice)? };
    let mut tried = sets.candidates(specs, wanted, options, notice)?;
    if by_data && tried.start.is_none_or(|s| s.distrust().is_some()) {
        // Sparse arrays share cells only where these are large; their field is smaller then, too.
        let (specs, wanted) = candidate_specs(reference, block, &options.grid, &COARSE, notice)?;
        let coarse = sets.candidates(specs, wanted, options, notice)?;
        let better = tried.start.is_none() || coarse.start.is_some_and(|s| s.distrust().is_none());
        tried = if better && coarse.start.is_some() { coarse.with_errors_from_misfit() } else { tried };
    }
    tried.reference[0].counts().report(reference.name(), notice);
    tried.block[0].counts().report(block.name(), notice);
    let Candidates { specs, wanted, reference: reference_grids, block: mut block_grids, shared, start } = tried;
    let Some(start) = start else {
        let middle = wanted.unwrap_or(specs.len() / 2);
        return Err(no_shared_cells(&reference_grids[middle], &block_grids[middle], shared).into());
    };
    let chosen = wanted.unwrap_or_else(|| best_grid(&reference_grids, &block_grids, start.x, options.objective));

    // Half, once and twice the cells a side.
    let scanned: Vec<usize> = (chosen.saturating_sub(1)..(chosen + 2).min(specs.len())).collect();
    let scan_specs: Vec<UvGridSpec> = scanned.iter().map(|i| specs[*i]).collect();
    let reference_grids: Vec<UvGrid> = scanned.iter().map(|i| reference_grids[*i].clone()).collect();
    block_grids = scanned.iter().map(|i| block_grids[*i].clone()).collect();
    let chosen = scanned.iter().position(|i| *i == chosen).unwrap_or(0);

    let refined = refine(&mut sets.block, &scan_specs, &reference_grids, block_grids, chosen, start.x, options, notice)?;
    Ok(report(refined, &reference_grids, chosen, start, options, notice))
}

/// Image fields of the candidate grids in half-fringes of the longest spacing that both sets have.
const FINE: [f64; 5] = [128.0, 256.0, 512.0, 1024.0, 2048.0];
const COARSE: [f64; 5] = [16.0, 32.0, 64.0, 128.0, 256.0];

/// Both sets on grids of different cells, and the place where they match best on the middle one.
struct Candidates {
    specs: Vec<UvGridSpec>,
    /// The grid that was asked for, if one was.
    wanted: Option<usize>,
    reference: Vec<UvGrid>,
    block: Vec<UvGrid>,
    shared: usize,
    /// `None` where too few cells are shared.
    start: Option<Start>,
}

impl Candidates {
    fn with_errors_from_misfit(mut self) -> Candidates {
        self.start = self.start.map(|s| Start { large_cells: true, ..s });
        self
    }
}

/// The two sets.
struct Sets<'a> {
    reference: Gridded<'a>,
    block: Gridded<'a>,
}

impl Sets<'_> {
    fn candidates(
        &mut self,
        specs: Vec<UvGridSpec>,
        wanted: Option<usize>,
        options: &FindOffsetOptions,
        notice: &dyn Reporter,
    ) -> Result<Candidates> {
        let (reference, block) = (self.reference.on(&specs, [0.0; 2], notice)?, self.block.on(&specs, [0.0; 2], notice)?);
        let middle = wanted.unwrap_or(specs.len() / 2);
        let shared = pairs(&reference[middle], &block[middle]);
        let start = (shared.len() >= MIN_SHARED).then(|| global_start(&shared, &specs[middle], options));
        Ok(Candidates { wanted, reference, block, shared: shared.len(), start, specs })
    }
}

fn no_shared_cells(reference: &UvGrid, block: &UvGrid, shared: usize) -> AlignError {
    AlignError::NoSharedCells {
        reference: reference.name().to_string(),
        block: block.name().to_string(),
        shared,
        needed: MIN_SHARED,
        cells_reference: reference.cells().len(),
        cells_block: block.cells().len(),
        cell_lambda: reference.spec().cell_lambda(),
    }
}

/// The grids to make, npix increasing by factors of two, and which of them was asked for, if one was.
fn candidate_specs(
    reference: &dyn VisSource,
    block: &dyn VisSource,
    options: &UvGridOptions,
    fields: &[f64],
    notice: &dyn Reporter,
) -> Result<(Vec<UvGridSpec>, Option<usize>)> {
    let (max_r, max_b) = match (options.cell, options.npix) {
        (Some(_), Some(_)) => (0.0, 0.0),
        _ => (max_uv_lambda(reference, notice)?, max_uv_lambda(block, notice)?),
    };
    let cell_rad = options.cell.map_or_else(|| default_cell_rad(max_r.max(max_b)), |c| c.0);
    if let Some(npix) = options.npix {
        let half = (npix / 4 * 2).max(8);
        let all = [half, npix, 2 * npix].map(|n| UvGridSpec::new(cell_rad, n));
        let asked = all[1].clone()?;
        let all: Vec<UvGridSpec> = all.into_iter().flatten().filter(|s| s.npix() == npix || s.npix() != asked.npix()).collect();
        let wanted = all.iter().position(|s| s.npix() == npix);
        return Ok((all, wanted));
    }
    let fringe = 1.0 / (2.1 * max_r.min(max_b));
    let specs = fields.iter().map(|n| {
        let npix = 2 * (n * fringe / cell_rad / 2.0).round() as usize;
        UvGridSpec::new(cell_rad, npix.clamp(8, 65536))
    });
    let mut specs = specs.collect::<Result<Vec<_>, _>>()?;
    specs.dedup();
    // The middle cell of a small grid is a larger part of it: the pixel that the baselines need is then smaller.
    let longest = max_r.max(max_b);
    let (fits, small): (Vec<_>, Vec<_>) = specs.into_iter().partition(|s| s.index(longest) <= s.max_index());
    match (fits.is_empty(), options.cell, small.last()) {
        (true, Some(_), Some(spec)) => Err(spec.too_coarse(block.name(), longest).into()),
        (true, _, _) => Ok((vec![UvGridSpec::for_field(fields[0] * fringe, longest)?], None)),
        _ => Ok((fits, None)),
    }
}

/// Another place of the field that fits nearly as well.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Rival {
    /// Where, relative to the best, rad.
    pub distance_rad: f64,
    /// By how much its chi-square is higher, in units of the best's reduced chi-square (where that is above 1).
    pub chi2_excess: f64,
}

/// The best match over the field and how it compares with chance and with the next.
#[derive(Debug, Clone, Copy)]
struct Start {
    x: [f64; 2],
    chance: Chance,
    ambiguity: f64,
    rival: Option<Rival>,
    /// Cells that both have on the grid that was searched.
    shared: usize,
    /// Cells so large that the source changes across them: the misfit counts as noise.
    large_cells: bool,
}

impl Start {
    /// Why the place may be wrong, if it may.
    fn distrust(&self) -> Option<String> {
        if self.chance.expected > MAX_CHANCE {
            return Some(by_chance(self.chance.expected, self.chance.places, self.shared));
        }
        self.rival.filter(|r| r.chi2_excess < DECISIVE).map(|r| ambiguous(&r))
    }
}

fn global_start(shared: &[Pair], spec: &UvGridSpec, options: &FindOffsetOptions) -> Start {
    let radius = options.search.map_or(f64::INFINITY, |a| a.0);
    let peaks = pair::search(shared, spec.cell_lambda(), radius, 6);
    let Some(first) = peaks.first() else {
        return Start { x: [0.0; 2], chance: Chance::NONE, ambiguity: 1.0, rival: None, shared: shared.len(), large_cells: false };
    };
    let ambiguity = peaks.get(1).map_or(0.0, |p| p.height / first.height);
    let mut refined: Vec<PairFit> = peaks.iter().filter_map(|p| pair::fit_complex(shared, p.x)).collect();
    refined.sort_by(|a, b| a.chi2.total_cmp(&b.chi2));
    let Some(best) = refined.first() else {
        return Start { x: first.x, chance: Chance::NONE, ambiguity, rival: None, shared: shared.len(), large_cells: false };
    };
    let distance = |f: &PairFit| (f.x[0] - best.x[0]).hypot(f.x[1] - best.x[1]);
    // Two starts that end in one minimum are one place.
    let other = refined.iter().find(|f| distance(f) > pair::step_limit(shared));
    let rival = other.map(|f| Rival { distance_rad: distance(f), chi2_excess: (f.chi2 - best.chi2) / best.chi2_reduced().max(1.0) });
    let chance = chance(shared, best.x, |p| pair::weight(p, best.amplitude), searched_area(radius, spec.cell_lambda()));
    Start { x: best.x, chance, ambiguity, rival, shared: shared.len(), large_cells: false }
}

fn fit(shared: &[Pair], start: [f64; 2], objective: Objective) -> Option<PairFit> {
    match objective {
        Objective::Complex => pair::fit_complex(shared, start),
        Objective::Phase => pair::fit_phase(shared, start),
    }
}

/// The candidate (not the first or last) with the smallest expected error; the one with the largest cells where all share few.
fn best_grid(reference: &[UvGrid], block: &[UvGrid], start: [f64; 2], objective: Objective) -> usize {
    let expected = |i: usize| {
        let shared = pairs(&reference[i], &block[i]);
        let fitted = (shared.len() >= MIN_CHOSEN).then(|| fit(&shared, start, objective)).flatten();
        fitted.map_or(f64::INFINITY, |f| f.expected_error())
    };
    let inner = 1..reference.len().saturating_sub(1).max(2).min(reference.len());
    inner.map(|i| (i, expected(i))).min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |b| b.0)
}

struct Refined {
    /// Offset taken out of the data before the last fit, direction cosines.
    taken_out: [f64; 2],
    fits: Vec<Option<PairFit>>,
    shared: Vec<Vec<Pair>>,
    grids: Vec<UvGrid>,
    passes: usize,
    settled: bool,
}

/// Shifts the block exactly by what was found, grids and fits again, until the offset stays.
#[allow(clippy::too_many_arguments)] // one loop; a struct for its inputs would be read once
fn refine(
    block: &mut Gridded,
    specs: &[UvGridSpec],
    reference: &[UvGrid],
    mut grids: Vec<UvGrid>,
    chosen: usize,
    start: [f64; 2],
    options: &FindOffsetOptions,
    notice: &dyn Reporter,
) -> Result<Refined> {
    let (mut taken_out, mut start, mut before) = ([0.0; 2], start, f64::NAN);
    for pass in 1.. {
        let shared: Vec<Vec<Pair>> = reference.iter().zip(&grids).map(|(r, b)| pairs(r, b)).collect();
        let one = |s: &Vec<Pair>| if s.len() >= MIN_SHARED { fit(s, start, options.objective) } else { None };
        let fits: Vec<Option<PairFit>> = shared.iter().map(one).collect();
        let left = fits[chosen].map_or([0.0; 2], |f| f.x);
        let sigma = fits[chosen].map_or(0.0, |f| f.sigma()[0].min(f.sigma()[1]));
        let length = left[0].hypot(left[1]);
        // A pass leaves a small part of what the one before left; the next would leave as small a part of this.
        let next = if pass > 1 { length * (length / before).min(1.0) } else { length };
        // That turns the phase by less than 1e-7 of a turn across a cell, or is far below the error.
        let settled = next * specs[chosen].cell_lambda() < 1e-7 || next < 1e-3 * sigma;
        before = length;
        if settled || pass >= options.max_passes.max(1) || fits[chosen].is_none() {
            return Ok(Refined { taken_out, fits, shared, grids, passes: pass, settled });
        }
        taken_out = [taken_out[0] + left[0], taken_out[1] + left[1]];
        start = [0.0; 2];
        grids = block.on(specs, taken_out, notice)?;
    }
    unreachable!("the loop returns at the last pass")
}

/// Puts the numbers of the last fit together and says whether they can be trusted.
fn report(
    refined: Refined,
    reference: &[UvGrid],
    chosen: usize,
    start: Start,
    options: &FindOffsetOptions,
    notice: &dyn Reporter,
) -> OffsetFit {
    let center = refined.grids[chosen].phase_center();
    let zero = PairFit {
        x: [0.0; 2],
        curvature: [f64::INFINITY, 0.0, f64::INFINITY],
        noise_product: [0.0; 3],
        amplitude: f64::NAN,
        sigma_amplitude: f64::NAN,
        chi2: f64::NAN,
        freedom: 1.0,
        iterations: 0,
        converged: false,
    };
    let result = |f: &PairFit, npix: usize, shared: usize| {
        let [xx, _, yy] = f.covariance(variance_factor(f, options, start.large_cells));
        NpixResult {
            npix,
            offset: Offset::from_lm(center, refined.taken_out[0] + f.x[0], refined.taken_out[1] + f.x[1]),
            sigma: Offset { dra_rad: xx.sqrt(), ddec_rad: yy.sqrt() },
            chi2_reduced: f.chi2_reduced(),
            shared_cells: shared,
        }
    };
    let last = refined.fits[chosen].unwrap_or(zero);
    let shared = &refined.shared[chosen];
    let main = result(&last, reference[chosen].spec().npix(), shared.len());
    let scan =
        refined.fits.iter().enumerate().filter_map(|(i, f)| f.map(|f| result(&f, reference[i].spec().npix(), refined.shared[i].len())));
    let other = match options.objective {
        Objective::Complex => pair::fit_phase(shared, last.x),
        Objective::Phase => pair::fit_complex(shared, last.x),
    };
    let covariance = last.covariance(variance_factor(&last, options, start.large_cells));
    let weights_off =
        [reference[chosen].scatter_factor(), refined.grids[chosen].scatter_factor()].into_iter().flatten().fold(1.0, f64::max);
    let misfit = (options.sigma == SigmaFrom::Weights && !start.large_cells).then(|| last.chi2_reduced() / weights_off);
    let (converged, reason) = verdict(&refined, &last, start, misfit);
    let out = OffsetFit {
        reference: reference[chosen].name().to_string(),
        block: refined.grids[chosen].name().to_string(),
        offset: main.offset,
        sigma: main.sigma,
        correlation: covariance[1] / (covariance[0] * covariance[2]).sqrt(),
        amplitude_ratio: last.amplitude,
        sigma_amplitude_ratio: last.sigma_amplitude,
        chi2_reduced: main.chi2_reduced,
        cells_reference: reference[chosen].cells().len(),
        cells_block: refined.grids[chosen].cells().len(),
        shared_cells: shared.len(),
        spec: *reference[chosen].spec(),
        npix_scan: scan.collect(),
        other_objective: other.map(|f| result(&f, reference[chosen].spec().npix(), shared.len())),
        significance: start.chance.significance,
        chance: start.chance.expected,
        places: start.chance.places,
        ambiguity: start.ambiguity,
        rival: start.rival,
        scatter_factor: (reference[chosen].scatter_factor(), refined.grids[chosen].scatter_factor()),
        converged,
        reason,
        passes: refined.passes,
        objective: options.objective,
        reference_grid: Arc::new(reference[chosen].clone()),
        block_grid: Arc::new(refined.grids[chosen].clone()),
        shared: Arc::new(shared.clone()),
        last,
        inflation: pair::determinant(covariance) / pair::determinant(last.curvature),
        is_compat: false,
    };
    if !start.large_cells {
        warn(&out, options, notice);
    }
    out
}

/// What the variances have to be multiplied by.
fn variance_factor(fit: &PairFit, options: &FindOffsetOptions, large_cells: bool) -> f64 {
    match options.sigma {
        SigmaFrom::Weights if large_cells => fit.chi2_reduced().max(1.0),
        SigmaFrom::Weights => 1.0,
        SigmaFrom::Scatter => fit.chi2_reduced(),
    }
}

/// Most matches as good that chance may bring in the field: one wrong offset in a thousand pairs without common signal.
pub const MAX_CHANCE: f64 = 1e-3;
/// Largest reduced chi-square, over what weights that are off account for, at which errors from the weights mean anything.
pub(super) const MAX_MISFIT: f64 = 5.0;
/// A place whose chi-square is higher by less than this is a rival: 5 sigma.
pub(super) const DECISIVE: f64 = 25.0;

fn verdict(refined: &Refined, last: &PairFit, start: Start, misfit: Option<f64>) -> (bool, String) {
    if refined.fits.iter().all(|f| f.is_none()) || !last.curvature[0].is_finite() {
        return (false, "the shared cells do not constrain both coordinates".to_string());
    }
    if let Some(reason) = start.distrust() {
        return (false, reason);
    }
    if let Some(misfit) = misfit.filter(|m| *m > MAX_MISFIT) {
        return (
            false,
            format!(
                "the shared cells differ by more than their noise: reduced chi-square {misfit:.1}, at most {MAX_MISFIT} is allowed where errors \
                 come from the weights; smaller uv cells (larger npix), or sigma: \"scatter\""
            ),
        );
    }
    if !last.converged {
        return (false, format!("the fit did not settle in {} steps", last.iterations));
    }
    if !refined.settled {
        let left = last.x[0].hypot(last.x[1]) / MAS;
        return (false, format!("{left:.3} mas are left after {} passes", refined.passes));
    }
    let how = if start.large_cells { "; large uv cells were needed, and their misfit counts in the errors" } else { "" };
    (true, format!("settled after {} passes{how}", refined.passes))
}

pub(super) fn by_chance(expected: f64, places: f64, shared: usize) -> String {
    let times = if expected < 0.1 { format!("{expected:.4}") } else { format!("{expected:.2}") };
    format!(
        "no signal in common: among the {places:.0} places searched, {shared} shared cells of random phase match as well {times} times, \
         at most {MAX_CHANCE} are allowed"
    )
}

pub(super) fn ambiguous(rival: &Rival) -> String {
    format!(
        "ambiguous: a place {:.1} mas away fits nearly as well (chi-square higher by {:.1}, {DECISIVE} are needed)",
        rival.distance_rad / MAS,
        rival.chi2_excess
    )
}

fn warn(fit: &OffsetFit, options: &FindOffsetOptions, notice: &dyn Reporter) {
    if fit.chi2_reduced > 2.0 && options.sigma == SigmaFrom::Weights {
        let message = format!(
            "{}: reduced chi-square {:.1}: errors from the weights are too small by about {:.1}",
            fit.block,
            fit.chi2_reduced,
            fit.chi2_reduced.sqrt()
        );
        notice.warn(
            Warning::new("errors-too-small", message).hint("sigma: \"scatter\" rescales them; align_jointly does not average over cells"),
        );
    }
}
