//! Where in the uv plane two blocks can be compared, and how well the comparison fixes the offset.

use ndarray::Array2;

use super::{OffsetMas, alt_number, count};
use crate::error::Result;
use crate::plot::canvas::Stroke;
use crate::plot::color::{ColorMap, Norm, Rgb, Stretch};
use crate::plot::mark::{Contours, Corner, Grid, ImageMark, Note, Points, Symbol};
use crate::plot::text::verbatim;
use crate::plot::ticks::compact;
use crate::plot::{Aspect, Axis, Figure, Panel, Plot, PlotError, Row, theme};

/// Chi-square above the minimum around the best offset.
#[derive(Debug, Clone)]
pub struct CostSurface {
    /// Offsets to the east at which it was computed, evenly spaced, rising, mas.
    pub dra_mas: Vec<f64>,
    /// Offsets to the north at which it was computed, evenly spaced, rising, mas.
    pub ddec_mas: Vec<f64>,
    /// Chi-square minus its minimum, `[i_dec, i_ra]`.
    pub delta_chi2: Array2<f32>,
}

/// Samples in uv cells of a reference, of a block and of both, and the cost surface of the offset.
#[derive(Debug, Clone)]
pub struct UvOverlapFigure {
    /// Name of the reference.
    pub reference_name: String,
    /// Name of the block.
    pub block_name: String,
    /// Width of a uv cell, kλ.
    pub cell_klambda: f64,
    /// Samples of the reference in each cell `[v, u]`; cell (n/2, n/2) lies around u = v = 0.
    pub reference: Array2<f32>,
    /// Samples of the block on the same grid.
    pub block: Array2<f32>,
    /// Samples of both, in cells that hold some of each.
    pub overlap: Array2<f32>,
    /// Offset found.
    pub offset: Option<OffsetMas>,
    /// Cost surface.
    pub cost: Option<CostSurface>,
}

/// Δχ² at 1, 2 and 3 sigma for two parameters.
const LEVELS: [f64; 3] = [2.30, 6.18, 11.83];

impl Plot for UvOverlapFigure {
    fn figure(&self) -> Result<Figure> {
        self.check()?;
        let norm = self.norm();
        let cells = |name: &str, counts: &Array2<f32>| {
            let n = filled(counts);
            self.uv_panel(counts, norm).title(name).with(Note::corner(Corner::TopLeft, [format!("{} cells", count(n))]))
        };
        let named = |what: &str, name: &str| format!("{what}: {}", verbatim(name));
        let reference = cells(&named("Reference", &self.reference_name), &self.reference);
        let block = cells(&named("Block", &self.block_name), &self.block);
        let size = Note::corner(Corner::BottomLeft, [format!("cell {} kλ", compact(self.cell_klambda, 3))]);
        let (reference, overlap) = (reference.with(size).bar(None), self.overlap_panel(norm).bar(None));
        let figure = Figure::new(0.94 * theme::WIDTH, &[1.0, 1.0], &[Row::Ratio(1.0), Row::Ratio(1.0)]);
        Ok(figure.place(0, 0, reference).place(0, 1, block).place(1, 0, overlap).place(1, 1, self.cost_panel()))
    }

    fn alt(&self) -> String {
        let (n_ref, n_block, n_both) = (filled(&self.reference), filled(&self.block), filled(&self.overlap));
        let offset = self.offset.map_or("no offset was found".to_string(), |o| format!("the offset is {}, {}", o.lines()[0], o.lines()[1]));
        alt_number(&format!(
            "Coverage of the uv plane in cells of {} kλ: {n_ref} cells of {}, {n_block} cells of {}, {n_both} shared; {offset}.",
            compact(self.cell_klambda, 3),
            self.reference_name,
            self.block_name
        ))
    }
}

/// Number of cells with data.
fn filled(counts: &Array2<f32>) -> usize {
    counts.iter().filter(|c| **c > 0.0).count()
}

impl UvOverlapFigure {
    fn check(&self) -> Result<(), PlotError> {
        for (what, array) in [("the uv grid of the block", &self.block), ("the uv grid of the overlap", &self.overlap)] {
            if array.dim() != self.reference.dim() {
                let (got, expected) = (array.shape().to_vec(), self.reference.shape().to_vec());
                return Err(PlotError::Shape { what, got, other: "that of the reference", expected });
            }
        }
        match &self.cost {
            Some(c) if c.delta_chi2.dim() != (c.ddec_mas.len(), c.dra_mas.len()) => Err(PlotError::Shape {
                what: "the cost surface",
                got: c.delta_chi2.shape().to_vec(),
                other: "its axes",
                expected: vec![c.ddec_mas.len(), c.dra_mas.len()],
            }),
            _ => Ok(()),
        }
    }

    /// One color scale for the three panels.
    fn norm(&self) -> Norm {
        let all = self.reference.iter().chain(&self.block).chain(&self.overlap);
        let most = all.filter(|c| c.is_finite()).fold(1.0_f32, |m, c| m.max(*c));
        Norm::new(0.0, f64::from(most), Stretch::Power(0.4))
    }

    /// Half-width of the panels: the farthest cell with data, and a little more.
    fn reach(&self) -> f64 {
        let (n_v, n_u) = self.reference.dim();
        let far = |i: usize, n: usize| (i as f64 - (n / 2) as f64).abs() + 0.5;
        let of = |counts: &Array2<f32>| {
            let used = counts.indexed_iter().filter(|(_, c)| **c > 0.0);
            used.map(|((v, u), _)| far(u, n_u).max(far(v, n_v))).fold(0.0, f64::max)
        };
        let reach = of(&self.reference).max(of(&self.block));
        1.08 * self.cell_klambda * if reach > 0.0 { reach } else { 1.0 }
    }

    fn uv_panel(&self, counts: &Array2<f32>, norm: Norm) -> Panel {
        let (n_v, n_u) = counts.dim();
        let edges = |n: usize| [-((n / 2) as f64) - 0.5, (n - n / 2) as f64 - 0.5].map(|e| e * self.cell_klambda);
        let values = counts.mapv(|c| if c > 0.0 { c } else { f32::NAN });
        let image = ImageMark::new(Grid { values, x: edges(n_u.max(1)), y: edges(n_v.max(1)) }, ColorMap::Counts, norm);
        let (x, y) = (Axis::new("$u$ (kλ)"), Axis::new("$v$ (kλ)"));
        let mut panel = Panel::image(x, y, image, "Visibilities per cell");
        let reach = self.reach();
        (panel.x.range, panel.y.range) = (Some((-reach, reach)), Some((-reach, reach)));
        panel
    }

    fn overlap_panel(&self, norm: Norm) -> Panel {
        let (n_both, n_block) = (filled(&self.overlap), filled(&self.block));
        let share = 100.0 * n_both as f64 / n_block.max(1) as f64;
        let lines = [format!("{} cells", count(n_both)), format!("{share:.0}% of the block's")];
        self.uv_panel(&self.overlap, norm).title("Overlap").with(Note::corner(Corner::TopLeft, lines))
    }

    fn cost_panel(&self) -> Panel {
        let (x, y) = (Axis::ra_offset("mas"), Axis::dec_offset("mas"));
        let Some(grid) = self.cost.as_ref().and_then(cost_grid) else {
            let mut panel = Panel::new(x, y).title("Cost surface");
            panel.if_empty = "no cost surface".into();
            return panel;
        };
        let (xs, ys) = (grid.x, grid.y);
        let grid = grid.refined(8);
        let most = grid.values.iter().filter(|v| v.is_finite()).fold(0.0_f32, |m, v| m.max(*v));
        let norm = Norm::new(0.0, f64::from(most).max(LEVELS[2]), Stretch::Sqrt);
        let image = ImageMark::new(grid.clone(), ColorMap::Cost, norm).smooth();
        let strokes = [2.2, 1.6, 1.1].map(|width| Stroke::new(Rgb::INK, width));
        let levels = LEVELS.into_iter().zip(strokes).collect();
        let mut panel = Panel::image(x, y, image, "Δχ^{2} above the minimum").title("Cost surface: 1, 2, 3 σ");
        (panel.x.range, panel.y.range) = (Some((xs[1], xs[0])), Some((ys[0], ys[1])));
        let panel = panel.with(Contours { grid, levels });
        match self.offset {
            Some(o) => panel
                .with(Points::new(vec![[o.dra, o.ddec]], Rgb::INK).symbol(Symbol::Plus).radius(6.0))
                .with(Note::corner(Corner::TopLeft, o.lines())),
            None => panel,
        }
        .aspect(Aspect::Free)
    }
}

/// The cost surface with its edges half a step beyond the samples.
fn cost_grid(cost: &CostSurface) -> Option<Grid> {
    let edges = |v: &[f64]| {
        let (first, last) = (v.first()?, v.last()?);
        let half = (last - first) / (v.len() - 1).max(1) as f64 / 2.0;
        (half > 0.0).then_some([first - half, last + half])
    };
    Some(Grid { values: cost.delta_chi2.clone(), x: edges(&cost.dra_mas)?, y: edges(&cost.ddec_mas)? })
}
