//! Where the blocks are thought to lie, and the image that follows.

use std::f64::consts::TAU;

use num_complex::Complex64;
use rayon::prelude::*;

use super::compress::Cells;
use super::sky::{Sky, Solution};
use crate::error::Result;

/// Positions and gains of the blocks on a common sky; the anchor's are fixed.
#[derive(Clone)]
pub(super) struct State {
    pub cells: Vec<Cells>,
    pub sky: Sky,
    /// Block whose image starts the chain.
    pub seed: usize,
    /// Block whose position and gain are fixed.
    pub anchor: usize,
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
        let mut state = State { x: vec![[0.0; 2]; n], gain: vec![None; n], excluded: vec![false; n], seed, anchor: seed, cells, sky };
        let taken_out = state.cells[seed].taken_out;
        state.x[seed] = [state.sky.center[0] - taken_out[0], state.sky.center[1] - taken_out[1]];
        state.gain[seed] = Some(1.0);
        state
    }

    /// Takes a block out.
    pub fn exclude(&mut self, i: usize) {
        self.gain[i] = None;
        self.excluded[i] = true;
    }

    /// Fixes position and gain of another block; its gain becomes 1.
    pub fn anchor_at(&mut self, i: usize) {
        let Some(unit) = self.gain[i] else { return };
        self.gain.iter_mut().flatten().for_each(|g| *g /= unit);
        self.anchor = i;
    }

    /// Puts the blocks where they are in another state of the same blocks.
    pub fn take_places(&mut self, other: &State) {
        for i in 0..self.cells.len() {
            self.gain[i] = other.gain[i];
            self.excluded[i] = other.excluded[i];
            // The middle of the image may have moved, and so may what was taken out of the data.
            for axis in 0..2 {
                let total = other.x[i][axis] + other.cells[i].taken_out[axis];
                self.x[i][axis] = total + self.sky.center[axis] - other.sky.center[axis] - self.cells[i].taken_out[axis];
            }
        }
        self.anchor = other.anchor;
    }

    /// Position of the middle of the image in a block as stored, rad.
    pub fn middle_in(&self, i: usize) -> [f64; 2] {
        [self.x[i][0] + self.cells[i].taken_out[0], self.x[i][1] + self.cells[i].taken_out[1]]
    }

    /// Full width of the naturally weighted beam of all blocks together, rad: 0.375/σ(u) for Gaussian coverage.
    pub fn beam_rad(&self) -> f64 {
        let sum = |f: &dyn Fn(&Cells, usize) -> f64| self.cells.iter().map(|c| (0..c.len()).map(|k| f(c, k)).sum::<f64>()).sum::<f64>();
        let (weight, square) = (sum(&|c, k| c.weight[k]), sum(&|c, k| c.weight[k] * c.uv(k).powi(2)));
        if square > 0.0 { 0.375 / (0.5 * square / weight).sqrt() } else { 0.0 }
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
    pub fn right_side(&self) -> Result<Vec<f64>> {
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

    /// Σ W|V|² of the blocks that have a place.
    pub fn power_of_data(&self) -> f64 {
        let one = |i: &usize| self.cells[*i].weight.iter().zip(&self.cells[*i].vis).map(|(w, v)| w * v.norm_sqr()).sum::<f64>();
        self.placed().iter().map(one).sum()
    }

    /// The image of the blocks that have a place.
    pub fn solve(&self, start: Option<&[Complex64]>, tolerance: f64, max_iterations: usize) -> Result<Solution> {
        let normal = self.sky.normal(&self.gain);
        Ok(self.sky.solve(&normal, &self.right_side()?, start, tolerance, max_iterations))
    }
}
