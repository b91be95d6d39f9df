//! Reduces a block of visibilities to runs: what falls into one cell from one row.
//!
//! (u, v) of a row grows in proportion to the frequency: neighbouring channels share their cell, and only their sum goes to the grid.

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
    let mut writer = RunWriter::new(specs, block.freq_hz.len());
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

impl Hands<'_> {
    fn row_weight(&self, corr: usize) -> f64 {
        match &self.block.weight {
            VisWeight::Row(weight) => f64::from(weight[[self.row, corr]]),
            VisWeight::Sample(_) => f64::NAN,
        }
    }

    /// The weight of the parallel hands together, where it is usable and the same for all channels.
    fn even_weight(&self) -> Option<f64> {
        let usable = |w: &f64| *w > 0.0 && w.is_finite();
        self.parallel.iter().map(|c| Some(self.row_weight(*c)).filter(usable)).sum()
    }

    /// True where no sample is flagged, NaN or infinite.
    fn is_clean(&self) -> bool {
        let infinite = |x: f32| x.to_bits() & 0x7F80_0000 == 0x7F80_0000;
        let flagged = self.flag.iter().fold(false, |any, f| any | f);
        !flagged && !self.vis.iter().fold(false, |any, v| any | infinite(v.re) | infinite(v.im))
    }
}

#[inline]
fn double(v: Complex32) -> Complex64 {
    Complex64::new(f64::from(v.re), f64::from(v.im))
}

/// The parallel hands of a row together, by channel.
struct Spectrum {
    /// Σ w; zero where nothing is used.
    weight: Vec<f64>,
    /// Σ w V.
    vis: Vec<Complex64>,
    /// Samples used.
    used: Vec<u32>,
    /// Set where all samples are used with weights that do not depend on the channel: the common entry of `weight`.
    even: Option<f64>,
}

impl Spectrum {
    fn new(n_chan: usize) -> Spectrum {
        Spectrum { weight: vec![0.0; n_chan], vis: vec![Complex64::default(); n_chan], used: vec![0; n_chan], even: None }
    }

    /// Adds up the usable samples of a row, and counts the others.
    fn gather(&mut self, hands: &Hands, uvw: [f64; 3], counts: &mut IngestCounts) {
        counts.samples += (self.used.len() * hands.parallel.len()) as u64;
        let finite_uvw = uvw.iter().all(|x| x.is_finite());
        self.even = hands.even_weight().filter(|_| finite_uvw && hands.is_clean());
        if let Some(weight) = self.even {
            self.gather_all(hands, weight);
            return;
        }
        self.weight.fill(0.0);
        self.vis.fill(Complex64::default());
        self.used.fill(0);
        for &corr in hands.parallel {
            match &hands.block.weight {
                VisWeight::Row(weight) => {
                    let weight = weight[[hands.row, corr]];
                    self.gather_hand(hands, corr, |_| weight, finite_uvw, counts);
                }
                VisWeight::Sample(weight) => self.gather_hand(hands, corr, |chan| weight[[hands.row, chan, corr]], finite_uvw, counts),
            }
        }
    }

    /// Adds up a row of which every sample can be used.
    fn gather_all(&mut self, hands: &Hands, weight: f64) {
        self.weight.fill(weight);
        self.used.fill(hands.parallel.len() as u32);
        let cells = hands.vis.chunks_exact(hands.block.corr.len());
        match *hands.parallel {
            [a, b] => {
                let (wa, wb) = (hands.row_weight(a), hands.row_weight(b));
                for (sum, cell) in self.vis.iter_mut().zip(cells) {
                    *sum = wa * double(cell[a]) + wb * double(cell[b]);
                }
            }
            _ => {
                for (sum, cell) in self.vis.iter_mut().zip(cells) {
                    *sum = hands.parallel.iter().map(|c| hands.row_weight(*c) * double(cell[*c])).sum();
                }
            }
        }
    }

    #[inline]
    fn gather_hand(&mut self, hands: &Hands, corr: usize, weight: impl Fn(usize) -> f32, finite_uvw: bool, counts: &mut IngestCounts) {
        let n_corr = hands.block.corr.len();
        let samples = hands.vis[corr..].iter().step_by(n_corr).zip(hands.flag[corr..].iter().step_by(n_corr));
        let sums = self.weight.iter_mut().zip(&mut self.vis).zip(&mut self.used);
        for (chan, ((sample, flagged), ((sum_weight, sum_vis), used))) in samples.zip(sums).enumerate() {
            let weight = weight(chan);
            if *flagged {
                counts.flagged += 1;
            } else if !(weight > 0.0 && weight.is_finite()) {
                counts.bad_weight += 1;
            } else if !(sample.re.is_finite() && sample.im.is_finite() && finite_uvw) {
                counts.non_finite += 1;
            } else {
                let weight = f64::from(weight);
                *sum_weight += weight;
                *sum_vis += weight * double(*sample);
                *used += 1;
            }
        }
    }

    /// Drops channels of more than `max_per_m` wavelengths a metre.
    fn leave_out(&mut self, channels: &Channels, max_per_m: f64, counts: &mut IngestCounts) {
        if !(channels.ends[1] > max_per_m) {
            return;
        }
        self.even = None;
        for (chan, used) in self.used.iter_mut().enumerate().filter(|(chan, _)| channels.per_m[*chan] > max_per_m) {
            counts.outside += u64::from(*used);
            (*used, self.weight[chan], self.vis[chan]) = (0, 0.0, Complex64::default());
        }
    }

    /// The smallest and the largest number of wavelengths a metre among the channels that are used.
    fn used_range(&self, channels: &Channels) -> Option<(f64, f64)> {
        if self.even.is_some() {
            return Some((channels.ends[0], channels.ends[1]));
        }
        let used = self.used.iter().zip(&channels.per_m).filter(|(used, _)| **used > 0);
        used.fold(None, |range, (_, k)| range.map_or(Some((*k, *k)), |(a, b): (f64, f64)| Some((a.min(*k), b.max(*k)))))
    }

    /// Σ over a range of channels of a row at (u, v) metres.
    fn sum(&self, range: std::ops::Range<usize>, channels: &Channels, uv_m: [f64; 2]) -> Sum {
        if let Some(weight) = self.even {
            return self.sum_even(range, weight, channels, uv_m);
        }
        let (mut sum, mut wavelengths) = (Sum::default(), 0.0);
        for chan in range.filter(|c| self.used[*c] > 0) {
            let (w, vis) = (self.weight[chan], self.vis[chan]);
            sum.weight += w;
            sum.vis += vis;
            sum.power += vis.norm_sqr() / w;
            sum.count += 1;
            wavelengths += w * channels.per_m[chan];
        }
        Sum { u: uv_m[0] * wavelengths, v: uv_m[1] * wavelengths, ..sum }
    }

    fn sum_even(&self, range: std::ops::Range<usize>, weight: f64, channels: &Channels, uv_m: [f64; 2]) -> Sum {
        let (mut vis, mut power) = (Complex64::default(), 0.0);
        for v in &self.vis[range.clone()] {
            vis += v;
            power += v.norm_sqr();
        }
        let count = range.len() as u32;
        let wavelengths = weight * channels.per_m[range].iter().sum::<f64>();
        let (u, v) = (uv_m[0] * wavelengths, uv_m[1] * wavelengths);
        Sum { weight: f64::from(count) * weight, vis, u, v, power: power / weight, count }
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
    /// Indices of the cells of a row's channels along u and v.
    cells: Vec<(i32, i32)>,
}

const NO_CELL: u64 = u64::MAX;

impl<'a> RunWriter<'a> {
    fn new(specs: &'a [UvGridSpec], n_chan: usize) -> Self {
        let open = vec![Run { key: NO_CELL, sum: Sum::default() }; specs.len()];
        RunWriter { specs, open, runs: vec![Vec::new(); specs.len() * N_SHARDS], cells: vec![(0, 0); n_chan] }
    }

    /// Adds a row at (u, v) metres to each grid, range by range of channels that stay in a cell.
    fn add_row(&mut self, channels: &Channels, spectrum: &Spectrum, uv_m: [f64; 2], totals: &mut BlockTotals) {
        let n_chan = channels.per_m.len();
        let whole = spectrum.sum(0..n_chan, channels, uv_m);
        totals.weight += whole.weight;
        totals.weighted_freq += match spectrum.even {
            Some(weight) => weight * channels.sum,
            None => spectrum.weight.iter().zip(&channels.per_m).map(|(w, k)| w * k).sum::<f64>(),
        } * C_M_S;
        totals.counts.used += spectrum.used.iter().map(|n| u64::from(*n)).sum::<u64>();
        for i in 0..self.specs.len() {
            if let Some(cell) = self.one_cell(i, channels, uv_m) {
                self.add(i, cell, uv_m, whole);
                continue;
            }
            for (cell, k) in self.cells.iter_mut().zip(&channels.per_m) {
                *cell = self.specs[i].indices_at(uv_m, *k);
            }
            let mut start = 0;
            while start < n_chan {
                let cell = self.cells[start];
                let end = self.cells[start..].iter().position(|c| *c != cell).map_or(n_chan, |n| start + n);
                self.add(i, cell, uv_m, spectrum.sum(start..end, channels, uv_m));
                start = end;
            }
        }
    }

    /// The cell of a row whose channels are all in one.
    #[inline]
    fn one_cell(&self, i_spec: usize, channels: &Channels, uv_m: [f64; 2]) -> Option<(i32, i32)> {
        let [first, last] = channels.ends.map(|k| self.specs[i_spec].indices_at(uv_m, k));
        (first == last).then_some(first)
    }

    #[inline]
    fn add(&mut self, i_spec: usize, cell: (i32, i32), uv_m: [f64; 2], sum: Sum) {
        if sum.count == 0 {
            return;
        }
        let (key, mirrored) = self.specs[i_spec].key_of(cell, uv_m);
        let sum = if mirrored { sum.mirrored() } else { sum };
        let open = &mut self.open[i_spec];
        if open.key == key {
            open.sum.add(&sum);
        } else {
            let closed = std::mem::replace(open, Run { key, sum });
            close(&mut self.runs[i_spec * N_SHARDS..(i_spec + 1) * N_SHARDS], closed);
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
    /// Smallest and largest of them.
    ends: [f64; 2],
    /// Sum of them.
    sum: f64,
    /// V is divided by it, so that a source of spectral index α has the same flux in every channel.
    flux_scale: Option<Vec<f64>>,
    /// Spacing of the channels in wavelengths a metre, where it is the same throughout.
    step: Option<f64>,
}

impl Channels {
    fn new(block: &VisBlock, options: &IngestOptions) -> Channels {
        let per_m: Vec<f64> = block.freq_hz.iter().map(|f| f / C_M_S).collect();
        let flux_scale = options
            .spectral_index
            .filter(|(alpha, _)| *alpha != 0.0)
            .map(|(alpha, nu0)| block.freq_hz.iter().map(|f| (f / nu0).powf(alpha)).collect());
        let step = (per_m.len() > 1).then(|| (per_m[per_m.len() - 1] - per_m[0]) / (per_m.len() - 1) as f64);
        // 1e-12 of ν/c: less than 1e-9 turns for a path of a metre, 1e-4 of what single-precision data hold.
        let regular = |s: &f64| per_m.iter().enumerate().all(|(i, k)| (per_m[0] + i as f64 * s - k).abs() <= 1e-12 * k.abs());
        let ends = [per_m.iter().copied().fold(f64::INFINITY, f64::min), per_m.iter().copied().fold(0.0, f64::max)];
        Channels { ends, sum: per_m.iter().sum(), flux_scale, step: step.filter(regular), per_m }
    }

    fn scale(&self, spectrum: &mut Spectrum) {
        let Some(flux_scale) = &self.flux_scale else { return };
        spectrum.even = None;
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
