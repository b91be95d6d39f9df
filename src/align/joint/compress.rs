//! Blocks reduced to the means of small uv cells, which is all that a joint fit looks at.

use num_complex::Complex64;

use crate::align::UvGrid;
use crate::align::ingest::{IngestOptions, ingest};
use crate::align::profile::Sample;
use crate::align::uv_grid::{UvGridSpec, max_uv_lambda};
use crate::data::VisSource;
use crate::error::Result;
use crate::notice::Reporter;
use crate::sky::Offset;

/// Cells of one block: means of V at the mean (u, v), folded to v >= 0.
#[derive(Debug, Clone)]
pub(super) struct Cells {
    pub name: String,
    /// Wavelengths.
    pub u: Vec<f64>,
    pub v: Vec<f64>,
    /// Jy^-2; rescaled where the scatter of the data says so.
    pub weight: Vec<f64>,
    /// Jy, at the reference frequency.
    pub vis: Vec<Complex64>,
    /// Offset already taken out of the data, direction cosines.
    pub taken_out: [f64; 2],
    /// Scatter inside cells over what the weights of the set say.
    pub scatter_factor: Option<f64>,
    /// What the weights of the set were divided by: the scatter factor where it is far from 1.
    pub weight_factor: f64,
    /// Naturally weighted beam: (bmaj rad, bmin rad, bpa rad).
    pub beam: Option<(f64, f64, f64)>,
}

/// Within this factor of 1 the weights are taken as they are.
const TOLERATED: f64 = 1.15;

impl Cells {
    fn new(grid: &UvGrid, taken_out: [f64; 2]) -> Cells {
        let cells = grid.cells();
        let scatter_factor = grid.scatter_factor();
        let weight_factor = scatter_factor.filter(|f| *f > TOLERATED || *f < 1.0 / TOLERATED).unwrap_or(1.0);
        Cells {
            name: grid.name().to_string(),
            u: cells.iter().map(|c| c.u).collect(),
            v: cells.iter().map(|c| c.v).collect(),
            weight: cells.iter().map(|c| c.weight / weight_factor).collect(),
            vis: cells.iter().map(|c| c.vis).collect(),
            taken_out,
            scatter_factor,
            weight_factor,
            beam: grid.beam(),
        }
    }

    pub fn samples(&self) -> impl Iterator<Item = Sample> + '_ {
        (0..self.len()).map(|i| Sample { u: self.u[i], v: self.v[i], weight: self.weight[i], vis: self.vis[i] })
    }
    pub fn len(&self) -> usize {
        self.u.len()
    }
    pub fn uv(&self, i: usize) -> f64 {
        self.u[i].hypot(self.v[i])
    }
    pub fn max_uv(&self) -> f64 {
        (0..self.len()).map(|i| self.uv(i)).fold(0.0, f64::max)
    }

    /// Σ (W|V|² - 2): what the data hold above noise.
    pub fn signal(&self) -> f64 {
        self.weight.iter().zip(&self.vis).map(|(w, v)| w * v.norm_sqr() - 2.0).sum()
    }

    /// The cells up to a baseline.
    pub fn cut(&self, max_uv: f64) -> Cells {
        let keep: Vec<usize> = (0..self.len()).filter(|i| self.uv(*i) <= max_uv).collect();
        let pick = |x: &[f64]| keep.iter().map(|i| x[*i]).collect();
        Cells {
            name: self.name.clone(),
            u: pick(&self.u),
            v: pick(&self.v),
            weight: pick(&self.weight),
            vis: keep.iter().map(|i| self.vis[*i]).collect(),
            taken_out: self.taken_out,
            scatter_factor: self.scatter_factor,
            weight_factor: self.weight_factor,
            beam: self.beam,
        }
    }
}

/// How blocks are reduced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compression {
    /// Cells are 1/field wide.
    pub field_rad: f64,
    /// V is divided by (ν/ν0)^α.
    pub spectral_index: f64,
    pub freq_hz: f64,
}

/// Reduces one block, with the source moved by `-taken_out` first.
pub(super) fn compress(source: &dyn VisSource, how: &Compression, taken_out: [f64; 2], notice: &dyn Reporter) -> Result<(Cells, UvGrid)> {
    let spec = UvGridSpec::for_field(how.field_rad, 1.0001 * max_uv_lambda(source, notice)?)?;
    let recenter = (taken_out != [0.0; 2]).then(|| Offset::from_lm(source.phase_center(), taken_out[0], taken_out[1]));
    let options = IngestOptions { recenter, spectral_index: Some((how.spectral_index, how.freq_hz)), max_uv_lambda: None };
    let grid = ingest(source, &[spec], &options, notice)?.remove(0);
    Ok((Cells::new(&grid, taken_out), grid))
}
