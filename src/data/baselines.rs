//! A source of which only the rows between some antennas are read.

use ndarray::Axis;

use super::{VisBlock, VisSource, VisWeight};
use crate::error::Result;
use crate::sky::Direction;

/// The baselines of `inner` both of whose antennas are kept.
#[derive(Debug, Clone)]
pub struct BaselinesOf<S> {
    inner: S,
    /// True for the antenna ids that are kept; empty for all.
    kept: Vec<bool>,
}

impl<S: VisSource> BaselinesOf<S> {
    /// All baselines.
    pub fn all(inner: S) -> BaselinesOf<S> {
        BaselinesOf { inner, kept: Vec::new() }
    }
    /// Those between antennas that are kept.
    pub fn between(inner: S, kept: Vec<bool>) -> BaselinesOf<S> {
        BaselinesOf { inner, kept }
    }
    /// The source itself.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn keeps(&self, antenna: i32) -> bool {
        usize::try_from(antenna).ok().and_then(|a| self.kept.get(a)).copied().unwrap_or(false)
    }
}

impl<S: VisSource> VisSource for BaselinesOf<S> {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn phase_center(&self) -> Direction {
        self.inner.phase_center()
    }
    fn n_blocks(&self) -> usize {
        self.inner.n_blocks()
    }
    /// Rows before any are left out.
    fn n_rows(&self) -> u64 {
        self.inner.n_rows()
    }
    fn read_block(&self, i: usize) -> Result<VisBlock> {
        let block = self.inner.read_block(i)?;
        if self.kept.is_empty() {
            return Ok(block);
        }
        let rows: Vec<usize> = (0..block.row.len()).filter(|r| self.keeps(block.antenna1[*r]) && self.keeps(block.antenna2[*r])).collect();
        Ok(if rows.len() == block.row.len() { block } else { only_rows(block, &rows) })
    }
    fn max_uv_lambda(&self) -> Option<f64> {
        self.inner.max_uv_lambda()
    }
}

fn only_rows(block: VisBlock, rows: &[usize]) -> VisBlock {
    fn pick<T: Copy>(values: &[T], rows: &[usize]) -> Vec<T> {
        rows.iter().map(|r| values[*r]).collect()
    }
    VisBlock {
        i_spw: block.i_spw,
        field: pick(&block.field, rows).into(),
        row: pick(&block.row, rows),
        uvw_m: block.uvw_m.select(Axis(0), rows),
        time_s: pick(&block.time_s, rows),
        antenna1: pick(&block.antenna1, rows),
        antenna2: pick(&block.antenna2, rows),
        freq_hz: block.freq_hz.clone(),
        corr: block.corr.clone(),
        vis_rfc: block.vis_rfc.select(Axis(0), rows),
        flag_rfc: block.flag_rfc.select(Axis(0), rows),
        weight: match &block.weight {
            VisWeight::Row(w) => VisWeight::Row(w.select(Axis(0), rows)),
            VisWeight::Sample(w) => VisWeight::Sample(w.select(Axis(0), rows)),
        },
    }
}
