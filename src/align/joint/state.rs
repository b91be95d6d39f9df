//! Where the blocks are thought to lie, and the image that follows.

use std::f64::consts::TAU;

use num_complex::Complex64;
use rayon::prelude::*;

use super::compress::Cells;
use super::sky::{Sky, Solution};
use crate::error::Result;

/// Positions and gains of the blocks on a common sky; the seed's are fixed.
pub(super) struct State {
    pub cells: Vec<Cells>,
    pub sky: Sky,
    pub seed: usize,
    /// Position of the middle of the image in each block's cells (what is left after `taken_out`), rad.
    pub x: Vec<[f64; 2]>,
    /// `None` where the block has no place yet.
    pub gain: Vec<Option<f64>>,
    /// Blocks that do not take part.
    pub excluded: Vec<bool>,
}

impl State {
    /// Only the seed has a place: the middle of the image is where the sky says.
    pub fn new(cells: Vec<Cells>, sky: Sky, seed: usize) -> State {
        let n = cells.len();
        let mut state = State { x: vec![[0.0; 2]; n], gain: vec![None; n], excluded: vec![false; n], seed, cells, sky };
        let taken_out = state.cells[seed].taken_out;
        state.x[seed] = [state.sky.center[0] - taken_out[0], state.sky.center[1] - taken_out[1]];
        state.gain[seed] = Some(1.0);
        state
    }

    /// Blocks with a place.
    pub fn placed(&self) -> Vec<usize> {
        (0..self.cells.len()).filter(|i| self.gain[*i].is_some()).collect()
    }

    /// V exp(-2πi u.x): the data of a block with the middle of the image in the middle.
    pub fn centered(&self, i: usize) -> Vec<Complex64> {
        let (c, x) = (&self.cells[i], self.x[i]);
        (0..c.len()).map(|k| c.vis[k] * Complex64::cis(-TAU * (c.u[k] * x[0] + c.v[k] * x[1]))).collect()
    }

    /// b = Σ g Aᵀ[W V exp(-2πi u.x)], in the order of the blocks.
    fn right_side(&self) -> Result<Vec<f64>> {
        let one = |i: &usize| -> Result<Vec<f64>> {
            let gain = self.gain[*i].unwrap_or(0.0);
            let values: Vec<Complex64> = self.centered(*i).iter().zip(&self.cells[*i].weight).map(|(v, w)| v * (w * gain)).collect();
            self.sky.grid(*i, &values)
        };
        let parts = self.placed().par_iter().map(one).collect::<Result<Vec<_>>>()?;
        let mut sum = vec![0.0; self.sky.n * self.sky.n];
        for part in parts {
            sum.iter_mut().zip(part).for_each(|(s, p)| *s += p);
        }
        Ok(sum)
    }

    /// The image of the blocks that have a place.
    pub fn solve(&self, start: Option<&[Complex64]>, tolerance: f64, max_iterations: usize) -> Result<Solution> {
        let normal = self.sky.normal(&self.gain);
        Ok(self.sky.solve(&normal, &self.right_side()?, start, tolerance, max_iterations))
    }
}
