//! Streams a source of visibilities into the cells of one or several uv grids.
//!
//! Blocks are reduced in parallel to runs (samples of a row that fall into one cell), the runs are added to the cells in the
//! order of the blocks, each band of v by one thread: the sums do not depend on the number of threads.

use num_complex::Complex64;
use rayon::prelude::*;

use super::reduce::{Reduced, reduce};
use super::uv_grid::{UvCell, UvGridSpec};
use super::{AlignError, UvGrid};
use crate::data::VisSource;
use crate::error::Result;
use crate::notice::{Reporter, Warning};
use crate::sky::Offset;

/// Blocks between two merges; at most one block a thread is in memory, and the runs of this many.
const BATCH: usize = 8;
/// Bands of v that are merged independently.
pub(super) const N_SHARDS: usize = 8;

/// Where the samples of a selection went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct IngestCounts {
    /// Rows read.
    pub rows: u64,
    /// Rows dropped as autocorrelations.
    pub autocorrelation_rows: u64,
    /// Parallel-hand samples in the other rows: the sum of the five below.
    pub samples: u64,
    /// Dropped: flagged.
    pub flagged: u64,
    /// Dropped: weight zero, negative, NaN or infinite.
    pub bad_weight: u64,
    /// Dropped: data or UVW NaN or infinite.
    pub non_finite: u64,
    /// Dropped: beyond the longest baseline that was asked for.
    pub outside: u64,
    /// Used.
    pub used: u64,
}

impl IngestCounts {
    fn add(&mut self, other: &IngestCounts) {
        self.rows += other.rows;
        self.autocorrelation_rows += other.autocorrelation_rows;
        self.samples += other.samples;
        self.flagged += other.flagged;
        self.bad_weight += other.bad_weight;
        self.non_finite += other.non_finite;
        self.outside += other.outside;
        self.used += other.used;
    }

    /// Warns about samples that had to be dropped although they were not flagged.
    pub fn report(&self, name: &str, notice: &dyn Reporter) {
        let percent = |n: u64| 100.0 * n as f64 / self.samples.max(1) as f64;
        if self.bad_weight > 0 {
            let (n, p) = (self.bad_weight, percent(self.bad_weight));
            let message = format!(
                "{name}: {n} unflagged samples ({p:.2} %) have a weight that is zero, negative, NaN or infinite; they were not used"
            );
            notice.warn(Warning::new("bad-weights", message).hint("flag them, or set the weights anew (statwt)"));
        }
        if self.non_finite > 0 {
            let (n, p) = (self.non_finite, percent(self.non_finite));
            let message = format!("{name}: {n} unflagged samples ({p:.2} %) are NaN or infinite; they were not used");
            notice.warn(Warning::new("non-finite-data", message).hint("flag them in the set"));
        }
    }
}

impl std::fmt::Display for IngestCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} of {} parallel-hand samples used ({} flagged, {} with a bad weight, {} NaN or infinite, {} outside) in {} rows ({} autocorrelations)",
            self.used, self.samples, self.flagged, self.bad_weight, self.non_finite, self.outside, self.rows, self.autocorrelation_rows
        )
    }
}

/// What is done to each sample on its way into a cell.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct IngestOptions {
    /// Moves the phase center by this much first.
    pub recenter: Option<Offset>,
    /// Divides V by (ν/ν0)^α: (α, ν0 in Hz).
    pub spectral_index: Option<(f64, f64)>,
    /// Leaves out longer baselines, wavelengths.
    pub max_uv_lambda: Option<f64>,
}

/// Σ over the samples of a cell: w, w V, w u, w v, w |V|², 1.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    pub weight: f64,
    pub vis: Complex64,
    pub u: f64,
    pub v: f64,
    pub power: f64,
    pub count: u32,
}

impl Sum {
    /// As seen from the other end of the baseline.
    #[inline]
    pub fn mirrored(self) -> Sum {
        Sum { vis: self.vis.conj(), u: -self.u, v: -self.v, ..self }
    }

    #[inline]
    pub fn add(&mut self, other: &Sum) {
        self.weight += other.weight;
        self.vis += other.vis;
        self.u += other.u;
        self.v += other.v;
        self.power += other.power;
        self.count += other.count;
    }
}

/// Samples that fall into one cell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub key: u64,
    pub sum: Sum,
}

/// Adds all samples of `source` to one grid for each of `specs`.
pub(super) fn ingest(source: &dyn VisSource, specs: &[UvGridSpec], options: &IngestOptions, notice: &dyn Reporter) -> Result<Vec<UvGrid>> {
    let mut tables: Vec<CellTable> = (0..specs.len() * N_SHARDS).map(|_| CellTable::default()).collect();
    let mut total = BlockTotals::default();
    let n_blocks = source.n_blocks();
    for first in (0..n_blocks).step_by(BATCH) {
        notice.check()?;
        notice.progress("gridding", first as u64, n_blocks as u64);
        let read = |i| -> Result<Reduced> { reduce(source, &source.read_block(i)?, specs, options) };
        let batch = (first..(first + BATCH).min(n_blocks)).into_par_iter().map(read).collect::<Result<Vec<_>>>()?;
        batch.iter().for_each(|b| total.add(&b.totals));
        tables.par_iter_mut().enumerate().for_each(|(i, table)| {
            for block in &batch {
                block.runs[i].iter().for_each(|run| table.add(run));
            }
        });
    }
    notice.progress("gridding", n_blocks as u64, n_blocks as u64);
    let counts = total.counts;
    if counts.used == 0 {
        return Err(AlignError::NothingLeft { name: source.name().to_string(), counts: Box::new(counts) }.into());
    }
    specs
        .iter()
        .zip(tables.chunks(N_SHARDS))
        .map(|(spec, shards)| {
            if total.max_index(spec) > spec.max_index() {
                return Err(spec.too_coarse(source.name(), total.max_uv_lambda).into());
            }
            Ok(UvGrid::new(source, *spec, cells(shards), counts, &total))
        })
        .collect()
}

/// What is known of the samples used, whatever the grid.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockTotals {
    pub counts: IngestCounts,
    /// Largest |u| or |v|, wavelengths.
    pub max_coordinate: f64,
    pub max_uv_lambda: f64,
    pub min_uv_lambda: f64,
    pub weight: f64,
    /// Σ weight ν, Hz/Jy².
    pub weighted_freq: f64,
}

impl Default for BlockTotals {
    fn default() -> Self {
        let counts = IngestCounts::default();
        BlockTotals { counts, max_coordinate: 0.0, max_uv_lambda: 0.0, min_uv_lambda: f64::INFINITY, weight: 0.0, weighted_freq: 0.0 }
    }
}

impl BlockTotals {
    fn add(&mut self, other: &BlockTotals) {
        self.counts.add(&other.counts);
        self.max_coordinate = self.max_coordinate.max(other.max_coordinate);
        self.max_uv_lambda = self.max_uv_lambda.max(other.max_uv_lambda);
        self.min_uv_lambda = self.min_uv_lambda.min(other.min_uv_lambda);
        self.weight += other.weight;
        self.weighted_freq += other.weighted_freq;
    }

    fn max_index(&self, spec: &UvGridSpec) -> i64 {
        spec.index(self.max_coordinate)
    }
}

/// Cells by key: open addressing, never iterated in the order of the hash.
#[derive(Default)]
pub(super) struct CellTable {
    /// Index into `run` plus one; zero where empty.
    slot: Vec<u32>,
    run: Vec<Run>,
}

impl CellTable {
    #[inline]
    fn place(key: u64, n_slots: usize) -> usize {
        (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - n_slots.trailing_zeros())) as usize
    }

    #[inline]
    pub fn add(&mut self, run: &Run) {
        if self.slot.len() < 2 * (self.run.len() + 1) {
            self.grow();
        }
        let mask = self.slot.len() - 1;
        let mut place = CellTable::place(run.key, self.slot.len());
        loop {
            match self.slot[place] {
                0 => {
                    self.run.push(*run);
                    self.slot[place] = self.run.len() as u32;
                    return;
                }
                i if self.run[i as usize - 1].key == run.key => {
                    self.run[i as usize - 1].sum.add(&run.sum);
                    return;
                }
                _ => place = (place + 1) & mask,
            }
        }
    }

    /// The cells, ordered by key.
    pub fn sorted(mut self) -> Vec<Run> {
        self.run.sort_unstable_by_key(|r| r.key);
        self.run
    }

    fn grow(&mut self) {
        let n = (2 * self.slot.len()).max(1024);
        self.slot = vec![0; n];
        for (i, run) in self.run.iter().enumerate() {
            let mut place = CellTable::place(run.key, n);
            while self.slot[place] != 0 {
                place = (place + 1) & (n - 1);
            }
            self.slot[place] = i as u32 + 1;
        }
    }
}

/// The cells of all shards, ordered by v, then u.
pub(super) fn cells(shards: &[CellTable]) -> Vec<UvCell> {
    let mut runs: Vec<&Run> = shards.iter().flat_map(|s| &s.run).collect();
    runs.sort_unstable_by_key(|r| r.key);
    runs.into_iter()
        .map(|Run { key, sum }| {
            let (ku, kv) = UvGridSpec::indices(*key);
            let vis = sum.vis / sum.weight;
            UvCell {
                ku,
                kv,
                u: sum.u / sum.weight,
                v: sum.v / sum.weight,
                weight: sum.weight,
                vis,
                count: sum.count,
                scatter: (sum.power - sum.weight * vis.norm_sqr()).max(0.0),
            }
        })
        .collect()
}
