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

/// What the fit minimises, above its minimum, around the best offset.
#[derive(Debug, Clone)]
pub struct CostSurface {
    /// Offsets to the east at which it was computed, evenly spaced, rising, mas.
    pub dra_mas: Vec<f64>,
    /// Offsets to the north at which it was computed, evenly spaced, rising, mas.
    pub ddec_mas: Vec<f64>,
    /// Objective minus its minimum, `[i_dec, i_ra]`.
    pub delta: Array2<f32>,
    /// Values of `delta` at 1, 2 and 3 sigma; `None` for an objective that is no chi-square.
    pub levels: Option<[f64; 3]>,
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
    /// Samples of the reference in each cell of the full plane, `[v, u]`; the middle element (n/2, n/2) lies at u = v = 0.
    pub reference: Array2<f32>,
    /// Samples of the block, in cells of the same width around the same middle; the size may differ.
    pub block: Array2<f32>,
    /// Cells with data of the reference, as the fit counts them.
    pub cells_reference: usize,
    /// Cells with data of the block.
    pub cells_block: usize,
    /// Cells with data of both.
    pub cells_shared: usize,
    /// Offset found.
    pub offset: Option<OffsetMas>,
    /// Cost surface.
    pub cost: Option<CostSurface>,
}

impl Plot for UvOverlapFigure {
    fn figure(&self) -> Result<Figure> {
        self.check()?;
        let both = overlap(&self.reference, &self.block);
        let most = both.iter().chain(&self.reference).chain(&self.block).filter(|c| c.is_finite()).fold(1.0_f32, |m, c| m.max(*c));
        let norm = Norm::new(0.0, f64::from(most), Stretch::Power(0.4));
        let named = |what: &str, name: &str| format!("{what}: {}", verbatim(name));
        let cells = |n: usize| format!("{} cells", count(n));
        let share = 100.0 * self.cells_shared as f64 / self.cells_block.max(1) as f64;
        let share = format!("{share:.0}% of the block’s");
        let size = Note::corner(Corner::BottomLeft, [format!("cell {} kλ", compact(self.cell_klambda, 3))]);
        let noted =
            |counts, title: String, lines: Vec<String>| self.uv_panel(counts, norm).title(title).with(Note::corner(Corner::TopLeft, lines));
        let reference = noted(&self.reference, named("Reference", &self.reference_name), vec![cells(self.cells_reference)]).with(size);
        let block = noted(&self.block, named("Block", &self.block_name), vec![cells(self.cells_block)]);
        let shared = noted(&both, "Overlap".into(), vec![cells(self.cells_shared), share]);
        let figure = Figure::new(0.94 * theme::WIDTH, &[1.0, 1.0], &[Row::Ratio(1.0), Row::Ratio(1.0)]);
        let figure = figure.place(0, 0, reference.bar(None)).place(0, 1, block);
        Ok(figure.place(1, 0, shared.bar(None)).place(1, 1, self.cost_panel()))
    }

    fn alt(&self) -> String {
        let offset = self.offset.map_or("no offset was found".to_string(), |o| format!("the offset is {}, {}", o.lines()[0], o.lines()[1]));
        alt_number(&format!(
            "Coverage of the uv plane in cells of {} kλ: {} cells of {}, {} cells of {}, {} shared; {offset}.",
            compact(self.cell_klambda, 3),
            self.cells_reference,
            self.reference_name,
            self.cells_block,
            self.block_name,
            self.cells_shared
        ))
    }
}

/// Samples of both sets in the cells that hold some of each; arrays share their middle.
fn overlap(a: &Array2<f32>, b: &Array2<f32>) -> Array2<f32> {
    let from_middle = |i: usize, of: usize, n: usize| (i + n / 2).checked_sub(of / 2);
    Array2::from_shape_fn(a.dim(), |(j, i)| {
        let at = from_middle(j, a.nrows(), b.nrows()).zip(from_middle(i, a.ncols(), b.ncols()));
        match at.and_then(|at| b.get(at)) {
            Some(other) if *other > 0.0 && a[[j, i]] > 0.0 => other + a[[j, i]],
            _ => 0.0,
        }
    })
}

impl UvOverlapFigure {
    fn check(&self) -> Result<(), PlotError> {
        match &self.cost {
            Some(c) if c.delta.dim() != (c.ddec_mas.len(), c.dra_mas.len()) => Err(PlotError::Shape {
                what: "the cost surface",
                got: c.delta.shape().to_vec(),
                other: "its axes",
                expected: vec![c.ddec_mas.len(), c.dra_mas.len()],
            }),
            _ => Ok(()),
        }
    }

    /// Half-width of the panels: the farthest cell with data, and a little more.
    fn reach(&self) -> f64 {
        let far = |i: usize, n: usize| (i as f64 - (n / 2) as f64).abs() + 0.5;
        let of = |counts: &Array2<f32>| {
            let (n_v, n_u) = counts.dim();
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

    fn cost_panel(&self) -> Panel {
        let (x, y) = (Axis::ra_offset("mas"), Axis::dec_offset("mas"));
        let Some((grid, levels)) = self.cost.as_ref().and_then(|c| Some((cost_grid(c)?, c.levels))) else {
            let mut panel = Panel::new(x, y).title("Cost surface");
            panel.if_empty = "no cost surface".into();
            return panel;
        };
        let (xs, ys) = (grid.x, grid.y);
        let grid = grid.refined(8);
        let most = grid.values.iter().filter(|v| v.is_finite()).fold(0.0_f32, |m, v| m.max(*v));
        let norm = Norm::new(0.0, f64::from(most).max(levels.map_or(0.0, |l| l[2])), Stretch::Sqrt);
        let image = ImageMark::new(grid.clone(), ColorMap::Cost, norm).smooth();
        let (title, label) = match levels {
            Some(_) => ("Cost surface: 1, 2, 3 σ", "Δχ^{2} above the minimum"),
            None => ("Cost surface", "Objective above the minimum"),
        };
        let mut panel = Panel::image(x, y, image, label).title(title);
        (panel.x.range, panel.y.range) = (Some((xs[1], xs[0])), Some((ys[0], ys[1])));
        let strokes = [2.2, 1.6, 1.1].map(|width| Stroke::new(Rgb::INK, width));
        let levels = levels.into_iter().flatten().zip(strokes).collect();
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
    Some(Grid { values: cost.delta.clone(), x: edges(&cost.dra_mas)?, y: edges(&cost.ddec_mas)? })
}
