//! The common sky of a joint alignment, and how well each block agrees with it.

use ndarray::Array2;

use super::alt_number;
use crate::error::Result;
use crate::plot::canvas::Stroke;
use crate::plot::color::{ColorMap, Norm, Rgb, Stretch, series_color};
use crate::plot::mark::{Bars, Contours, Grid, Note, Rule};
use crate::plot::text::{self, Align, Type};
use crate::plot::ticks::fixed;
use crate::plot::{Axis, Figure, Panel, Plot, PlotError, Row, SkyImage, short_names, theme};

/// How one block agrees with the common sky.
#[derive(Debug, Clone)]
pub struct BlockFit {
    /// Name.
    pub name: String,
    /// Residual chi-square per degree of freedom.
    pub chi2_reduced: f64,
    /// True if its offset is trusted.
    pub aligned: bool,
}

/// The sky that a joint alignment found.
#[derive(Debug, Clone)]
pub struct CommonSkyFigure {
    /// The sky.
    pub sky: SkyImage,
    /// Quantity and unit of the sky: `Intensity (mJy beam^{-1})`.
    pub label: String,
    /// Pixels in which emission was allowed, on the grid of the sky.
    pub support: Option<Array2<bool>>,
    /// All blocks.
    pub blocks: Vec<BlockFit>,
}

impl Plot for CommonSkyFigure {
    fn figure(&self) -> Result<Figure> {
        let sky = self.sky_panel()?;
        let figure = Figure::new(theme::WIDTH, &[1.0, 0.36], &[Row::Ratio(1.0)]);
        Ok(figure.place(0, 0, sky).place(0, 1, self.chi2_panel()))
    }

    fn alt(&self) -> String {
        let peak = self.sky.values.iter().filter(|v| v.is_finite()).fold(f32::NEG_INFINITY, |m, v| m.max(*v));
        let say = |b: &BlockFit| format!("{} {}{}", b.name, chi2(b), if b.aligned { "" } else { " (not aligned)" });
        let blocks: Vec<String> = self.blocks.iter().map(say).collect();
        let peak = crate::plot::ticks::compact(f64::from(peak), 3);
        let label = text::plain(&self.label);
        alt_number(&format!(
            "Common sky of the joint alignment, peak {peak} ({label}), with support and beam. Reduced chi-square: {}.",
            blocks.join(", ")
        ))
    }
}

impl CommonSkyFigure {
    fn sky_panel(&self) -> Result<Panel, PlotError> {
        let norm = Norm::of(&self.sky.values, Stretch::Asinh(0.08));
        let norm = Norm { lo: norm.lo.max(-0.03 * norm.hi.abs()), ..norm };
        let panel = self.sky.panel(ColorMap::Inferno, norm, &*self.label).title("Common sky and support");
        let Some(support) = &self.support else { return Ok(panel) };
        if support.dim() != self.sky.values.dim() {
            let (got, expected) = (support.shape().to_vec(), self.sky.values.shape().to_vec());
            return Err(PlotError::Shape { what: "the support", got, other: "the sky", expected });
        }
        let grid = Grid { values: soft(support), ..self.sky.grid(self.sky.unit().1) };
        Ok(panel.with(Contours::new(grid, &[0.5], Stroke::new(Rgb([120, 200, 255]), 1.4).dash(&[5.0, 3.0]))))
    }

    fn chi2_panel(&self) -> Panel {
        let values: Vec<f64> = self.blocks.iter().map(|b| b.chi2_reduced).collect();
        let color = |(i, b): (usize, &BlockFit)| if b.aligned { series_color(i).mix(Rgb::WHITE, 0.25) } else { Rgb::PALE };
        let colors = self.blocks.iter().enumerate().map(color).collect();
        let most = values.iter().filter(|v| v.is_finite()).fold(1.0_f64, |m, v| m.max(*v));
        let style = Type::new(theme::NOTE);
        let names: Vec<String> = self.blocks.iter().map(|b| b.name.clone()).collect();
        let x = Axis::new("Residual χ^{2} per d.o.f.").range(0.0, 1.45 * most);
        let panel = Panel::new(x, Axis::names(short_names(&names, &style, 110.0), true));
        let value = |(i, b): (usize, &BlockFit)| {
            let end = if b.chi2_reduced.is_finite() { b.chi2_reduced } else { 0.0 };
            Note::data(chi2(b), [end.max(1.0), i as f64], Align::Left, [7.0, 0.0]).style(style)
        };
        let refused = self.blocks.iter().enumerate().filter(|(_, b)| !b.aligned);
        let refused = refused.map(|(i, _)| Note::data("not aligned", [0.0, i as f64], Align::Left, [7.0, 0.0]).style(style));
        let refused: Vec<Note> = refused.collect();
        let notes: Vec<Note> = self.blocks.iter().enumerate().map(value).collect();
        let one = Rule::x(1.0).stroke(Stroke::new(Rgb::INK, 1.0).dash(&[4.0, 3.0]));
        panel.title("Blocks").with(Bars { values, colors }).with(one).with_all(notes).with_all(refused)
    }
}

/// Chi-square with two decimals.
fn chi2(b: &BlockFit) -> String {
    if b.chi2_reduced.is_finite() { fixed(b.chi2_reduced, 2) } else { "n/a".into() }
}

/// A mask as numbers whose 0.5 contour runs smoothly: averaged over 5 x 5 pixels with binomial weights.
fn soft(mask: &Array2<bool>) -> Array2<f32> {
    let (n_y, n_x) = mask.dim();
    let at = |j: i64, i: i64| f32::from(u8::from(mask[[j.clamp(0, n_y as i64 - 1) as usize, i.clamp(0, n_x as i64 - 1) as usize]]));
    const WEIGHTS: [f32; 5] = [1.0, 4.0, 6.0, 4.0, 1.0];
    Array2::from_shape_fn((n_y, n_x), |(j, i)| {
        let around = (0..25).map(|k| (k / 5, k % 5));
        around.map(|(b, a)| WEIGHTS[b] * WEIGHTS[a] * at((j + b) as i64 - 2, (i + a) as i64 - 2)).sum::<f32>() / 256.0
    })
}
