//! Reduces a block of visibilities to runs: what falls into one cell from one row.
//!
//! (u, v) of a row grows in proportion to the frequency, so that the channels of a cell are a range; its end is found by
//! bisection, and only the range's sum goes to the grids.

use num_complex::{Complex32, Complex64};

use super::AlignError;
use super::ingest::{BlockTotals, IngestCounts, IngestOptions, N_SHARDS, Run, Sum};
use super::uv_grid::UvGridSpec;
use crate::data::{VisBlock, VisSource, VisWeight};
use crate::error::Result;
use crate::sky::Recenter;
use crate::units::C_M_S;

pub(super) struct Reduced {
    /// [spec][shard]
    pub runs: Vec<Vec<Run>>,
    pub totals: BlockTotals,
}

/// Sums of the parallel hands over the cells of each of `specs`.
pub(super) fn reduce(source: &dyn VisSource, block: &VisBlock, specs: &[UvGridSpec], options: &IngestOptions) -> Result<Reduced> {
    let parallel: Vec<usize> = (0..block.corr.len()).filter(|c| block.corr[*c].is_parallel()).collect();
    if parallel.is_empty() {
        let corr = block.corr.iter().map(|c| c.name()).collect::<Vec<_>>().join(", ");
        return Err(AlignError::NoParallelHands { name: source.name().to_string(), corr }.into());
    }
    let recenter = options.recenter.map(|offset| Recenter::by(source.phase_center(), offset));
    let channels = Channels::new(block, options);
    let max_uv = options.max_uv_lambda.unwrap_or(f64::INFINITY);
    let (vis, flag) = (block.vis_rfc.as_standard_layout(), block.flag_rfc.as_standard_layout());
    let per_row = block.freq_hz.len() * block.corr.len();
    let mut totals = BlockTotals::default();
    totals.counts.rows = block.row.len() as u64;
    let mut writer = RunWriter::new(specs);
    let mut spectrum = Spectrum::new(block.freq_hz.len());
    // A standard layout is contiguous, so that the empty fallback is never taken.
    let rows = vis.as_slice().unwrap_or(&[]).chunks_exact(per_row).zip(flag.as_slice().unwrap_or(&[]).chunks_exact(per_row));
    for (row, (vis, flag)) in rows.enumerate() {
        if block.antenna1[row] == block.antenna2[row] {
            totals.counts.autocorrelation_rows += 1;
            continue;
        }
        let stored = [block.uvw_m[[row, 0]], block.uvw_m[[row, 1]], block.uvw_m[[row, 2]]];
        spectrum.gather(&Hands { block, row, parallel: &parallel, vis, flag }, stored, &mut totals.counts);
        let uvw = recenter.as_ref().map_or(stored, |r| r.uvw(stored));
        let uv_m = (uvw[0] * uvw[0] + uvw[1] * uvw[1]).sqrt();
        spectrum.leave_out(&channels, max_uv / uv_m, &mut totals.counts);
        let Some((lowest, highest)) = spectrum.used_range(&channels) else { continue };
        if let Some(r) = &recenter {
            spectrum.turn(channels.phase(-r.path(stored)));
        }
        channels.scale(&mut spectrum);
        totals.stretch(uvw, uv_m, lowest, highest);
        writer.add_row(&channels, &spectrum, [uvw[0], uvw[1]], &mut totals);
    }
    Ok(Reduced { runs: writer.finish(), totals })
}

/// One row of a block.
struct Hands<'a> {
    block: &'a VisBlock,
    row: usize,
    parallel: &'a [usize],
    vis: &'a [Complex32],
    flag: &'a [bool],
}

/// The parallel hands of a row together, by channel.
struct Spectrum {
    /// Σ w; zero where nothing is used.
    weight: Vec<f64>,
    /// Σ w V.
    vis: Vec<Complex64>,
    /// Samples used.
    used: Vec<u32>,
}

impl Spectrum {
    fn new(n_chan: usize) -> Spectrum {
        Spectrum { weight: vec![0.0; n_chan], vis: vec![Complex64::default(); n_chan], used: vec![0; n_chan] }
    }

    /// Adds up the usable samples of a row, and counts the others.
    fn gather(&mut self, hands: &Hands, uvw: [f64; 3], counts: &mut IngestCounts) {
        let n_corr = hands.block.corr.len();
        let finite_uvw = uvw.iter().all(|x| x.is_finite());
        self.weight.fill(0.0);
        self.vis.fill(Complex64::default());
        self.used.fill(0);
        counts.samples += (self.used.len() * hands.parallel.len()) as u64;
        for &corr in hands.parallel {
            for chan in 0..self.used.len() {
                if hands.flag[chan * n_corr + corr] {
                    counts.flagged += 1;
                    continue;
                }
                let weight = match &hands.block.weight {
                    VisWeight::Row(weight) => weight[[hands.row, corr]],
                    VisWeight::Sample(weight) => weight[[hands.row, chan, corr]],
                };
                let sample = hands.vis[chan * n_corr + corr];
                if !(weight > 0.0 && weight.is_finite()) {
                    counts.bad_weight += 1;
                } else if !(sample.re.is_finite() && sample.im.is_finite() && finite_uvw) {
                    counts.non_finite += 1;
                } else {
                    let weight = f64::from(weight);
                    self.weight[chan] += weight;
                    self.vis[chan] += weight * Complex64::new(f64::from(sample.re), f64::from(sample.im));
                    self.used[chan] += 1;
                }
            }
        }
    }

    /// Drops channels of more than `max_per_m` wavelengths a metre.
    fn leave_out(&mut self, channels: &Channels, max_per_m: f64, counts: &mut IngestCounts) {
        if !(channels.longest > max_per_m) {
            return;
        }
        for (chan, used) in self.used.iter_mut().enumerate().filter(|(chan, _)| channels.per_m[*chan] > max_per_m) {
            counts.outside += u64::from(*used);
            (*used, self.weight[chan], self.vis[chan]) = (0, 0.0, Complex64::default());
        }
    }

    /// The smallest and the largest number of wavelengths a metre among the channels that are used.
    fn used_range(&self, channels: &Channels) -> Option<(f64, f64)> {
        let used = self.used.iter().zip(&channels.per_m).filter(|(used, _)| **used > 0);
        used.fold(None, |range, (_, k)| range.map_or(Some((*k, *k)), |(a, b): (f64, f64)| Some((a.min(*k), b.max(*k)))))
    }

    fn turn(&mut self, mut phase: Phase) {
        for (chan, vis) in self.vis.iter_mut().enumerate() {
            *vis *= phase.next(chan);
        }
    }
}

impl BlockTotals {
    /// Takes note of a row that reaches from `lowest` to `highest` wavelengths a metre.
    fn stretch(&mut self, uvw_m: [f64; 3], uv_m: f64, lowest: f64, highest: f64) {
        self.max_coordinate = self.max_coordinate.max(uvw_m[0].abs().max(uvw_m[1].abs()) * highest);
        self.max_uv_lambda = self.max_uv_lambda.max(uv_m * highest);
        self.min_uv_lambda = self.min_uv_lambda.min(uv_m * lowest);
    }
}

/// Collects the samples of a block into runs, one open run for each grid.
struct RunWriter<'a> {
    specs: &'a [UvGridSpec],
    open: Vec<Run>,
    runs: Vec<Vec<Run>>,
    /// Cell of the range at hand, and whether it is mirrored, for each grid.
    cells: Vec<(u64, bool)>,
}

const NO_CELL: u64 = u64::MAX;

impl<'a> RunWriter<'a> {
    fn new(specs: &'a [UvGridSpec]) -> Self {
        let open = vec![Run { key: NO_CELL, sum: Sum::default() }; specs.len()];
        RunWriter { specs, open, runs: vec![Vec::new(); specs.len() * N_SHARDS], cells: vec![(NO_CELL, false); specs.len()] }
    }

    /// Adds a row at (u, v) metres, range by range of channels that share their cell in every grid.
    fn add_row(&mut self, channels: &Channels, spectrum: &Spectrum, uv_m: [f64; 2], totals: &mut BlockTotals) {
        let n_chan = channels.per_m.len();
        let mut start = 0;
        while start < n_chan {
            let end = self.end_of_cells(channels, uv_m, start);
            let (mut sum, mut wavelengths) = (Sum::default(), 0.0);
            for chan in (start..end).filter(|c| spectrum.used[*c] > 0) {
                let (w, vis) = (spectrum.weight[chan], spectrum.vis[chan]);
                sum.weight += w;
                sum.vis += vis;
                sum.power += vis.norm_sqr() / w;
                sum.count += 1;
                wavelengths += w * channels.per_m[chan];
                totals.counts.used += u64::from(spectrum.used[chan]);
            }
            if sum.count > 0 {
                totals.weight += sum.weight;
                totals.weighted_freq += wavelengths * C_M_S;
                (sum.u, sum.v) = (uv_m[0] * wavelengths, uv_m[1] * wavelengths);
                self.add(&sum);
            }
            start = end;
        }
    }

    /// End of the range of channels from `start` on that stay in their cell in every grid; leaves the cells in `self.cells`.
    fn end_of_cells(&mut self, channels: &Channels, [u_m, v_m]: [f64; 2], start: usize) -> usize {
        let key = |spec: &UvGridSpec, chan: usize| spec.key(u_m * channels.per_m[chan], v_m * channels.per_m[chan]);
        for (cell, spec) in self.cells.iter_mut().zip(self.specs) {
            *cell = key(spec, start);
        }
        let stays = |chan: usize| self.specs.iter().zip(&self.cells).all(|(spec, cell)| key(spec, chan) == *cell);
        let n_chan = channels.per_m.len();
        if !channels.monotonic {
            return start + 1;
        }
        if stays(n_chan - 1) {
            return n_chan;
        }
        let (mut inside, mut outside) = (start, n_chan - 1);
        while outside - inside > 1 {
            let middle = (inside + outside) / 2;
            if stays(middle) { inside = middle } else { outside = middle }
        }
        outside
    }

    /// Adds a sum to the cells at hand.
    fn add(&mut self, sum: &Sum) {
        for (i, &(key, mirrored)) in self.cells.iter().enumerate() {
            let open = &mut self.open[i];
            if open.key != key {
                let closed = std::mem::replace(open, Run { key, sum: Sum::default() });
                close(&mut self.runs[i * N_SHARDS..(i + 1) * N_SHARDS], closed);
            }
            if mirrored {
                open.sum.add(&Sum { vis: sum.vis.conj(), u: -sum.u, v: -sum.v, ..*sum });
            } else {
                open.sum.add(sum);
            }
        }
    }

    fn finish(mut self) -> Vec<Vec<Run>> {
        for (i, open) in self.open.into_iter().enumerate() {
            close(&mut self.runs[i * N_SHARDS..(i + 1) * N_SHARDS], open);
        }
        self.runs
    }
}

#[inline]
fn close(shards: &mut [Vec<Run>], run: Run) {
    if run.key != NO_CELL {
        shards[(run.key >> 32) as usize % N_SHARDS].push(run);
    }
}

/// What depends on the channel only.
struct Channels {
    /// Wavelengths a metre, ν/c.
    per_m: Vec<f64>,
    /// Largest of them.
    longest: f64,
    /// True where they only grow or only fall.
    monotonic: bool,
    /// V is divided by it, so that a source of spectral index α has the same flux in every channel.
    flux_scale: Option<Vec<f64>>,
    /// Spacing of the channels in wavelengths a metre, where it is the same throughout.
    step: Option<f64>,
}

impl Channels {
    fn new(block: &VisBlock, options: &IngestOptions) -> Channels {
        let per_m: Vec<f64> = block.freq_hz.iter().map(|f| f / C_M_S).collect();
        let flux_scale = options.spectral_index.map(|(alpha, nu0)| block.freq_hz.iter().map(|f| (f / nu0).powf(alpha)).collect());
        let step = (per_m.len() > 1).then(|| (per_m[per_m.len() - 1] - per_m[0]) / (per_m.len() - 1) as f64);
        // 1e-12 of ν/c: less than 1e-9 turns for a path of a metre, 1e-4 of what single-precision data hold.
        let regular = |s: &f64| per_m.iter().enumerate().all(|(i, k)| (per_m[0] + i as f64 * s - k).abs() <= 1e-12 * k.abs());
        let monotonic = per_m.is_sorted() || per_m.is_sorted_by(|a, b| a >= b);
        let longest = per_m.iter().copied().fold(0.0, f64::max);
        Channels { longest, monotonic, flux_scale, step: step.filter(regular), per_m }
    }

    fn scale(&self, spectrum: &mut Spectrum) {
        let Some(flux_scale) = &self.flux_scale else { return };
        for ((weight, vis), flux) in spectrum.weight.iter_mut().zip(&mut spectrum.vis).zip(flux_scale) {
            // V becomes V/flux and its weight w flux², so that w V becomes w V flux.
            *weight *= flux * flux;
            *vis *= *flux;
        }
    }

    /// exp(2πi path ν/c) for the channels in turn.
    fn phase(&self, path_m: f64) -> Phase<'_> {
        let turn = |x: f64| Complex64::cis(std::f64::consts::TAU * x);
        let one = Complex64::new(1.0, 0.0);
        let (start, step) = match self.step {
            _ if path_m == 0.0 => (one, Some(one)),
            Some(step) => (turn(path_m * self.per_m[0]), Some(turn(path_m * step))),
            None => (one, None),
        };
        Phase { channels: self, path_m, now: start, step }
    }
}

struct Phase<'a> {
    channels: &'a Channels,
    path_m: f64,
    now: Complex64,
    step: Option<Complex64>,
}

impl Phase<'_> {
    #[inline]
    fn next(&mut self, chan: usize) -> Complex64 {
        match self.step {
            Some(step) => {
                let turn = self.now;
                self.now *= step;
                turn
            }
            None => Complex64::cis(std::f64::consts::TAU * self.path_m * self.channels.per_m[chan]),
        }
    }
}
