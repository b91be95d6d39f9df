//! Visibilities that are already in memory, as a source of blocks.

use super::{VisBlock, VisSource};
use crate::error::{Error, Result};
use crate::sky::Direction;
use crate::units::C_M_S;

/// Blocks held in memory: for simulations, tests and small tables.
#[derive(Debug, Clone)]
pub struct MemoryVis {
    name: String,
    center: Direction,
    blocks: Vec<VisBlock>,
}

impl MemoryVis {
    /// A source with these blocks.
    pub fn new(name: impl Into<String>, center: Direction, blocks: Vec<VisBlock>) -> MemoryVis {
        MemoryVis { name: name.into(), center, blocks }
    }
    /// The blocks.
    pub fn blocks(&self) -> &[VisBlock] {
        &self.blocks
    }
    /// The blocks, to change them in place.
    pub fn blocks_mut(&mut self) -> &mut [VisBlock] {
        &mut self.blocks
    }
}

impl VisSource for MemoryVis {
    fn name(&self) -> &str {
        &self.name
    }
    fn phase_center(&self) -> Direction {
        self.center
    }
    fn n_blocks(&self) -> usize {
        self.blocks.len()
    }
    fn n_rows(&self) -> u64 {
        self.blocks.iter().map(|b| b.row.len() as u64).sum()
    }
    fn read_block(&self, i: usize) -> Result<VisBlock> {
        let block = self.blocks.get(i).cloned();
        block.ok_or_else(|| Error::internal(format!("block {i} of {} was asked for, the last is {}", self.name, self.blocks.len())))
    }
    fn max_uv_lambda(&self) -> Option<f64> {
        let longest = |b: &VisBlock| b.uvw_m.rows().into_iter().map(|r| r[0].hypot(r[1])).fold(0.0, f64::max);
        let highest = |b: &VisBlock| b.freq_hz.iter().copied().fold(0.0, f64::max);
        Some(self.blocks.iter().map(|b| longest(b) * highest(b) / C_M_S).fold(0.0, f64::max))
    }
}
