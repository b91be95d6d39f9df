//! Channel maps.

use super::{largest, unit_of};
use crate::error::Result;
use crate::plot::color::{ColorMap, Norm, Rgb, Stretch};
use crate::plot::mark::{ImageMark, Note};
use crate::plot::text::Align;
use crate::plot::ticks::fixed;
use crate::plot::{Axis, ColorBar, Figure, Panel, Plot, Row, Side, SkyImage, theme};

/// Planes of a cube side by side, on one color scale.
#[derive(Debug, Clone)]
pub struct ChannelMapsFigure {
    /// Planes, Jy/beam, with what stands in each: its velocity, say.
    pub planes: Vec<(SkyImage, String)>,
    /// Title.
    pub title: String,
    /// Noise, Jy/beam.
    pub noise: f64,
}

impl ChannelMapsFigure {
    fn columns(&self) -> usize {
        (self.planes.len() as f64).sqrt().ceil().max(1.0) as usize
    }
}

impl Plot for ChannelMapsFigure {
    fn figure(&self) -> Result<Figure> {
        let peak = self.planes.iter().map(|(p, _)| largest(&p.values)).fold(0.0, f64::max);
        let (unit, scale) = unit_of(peak);
        let norm = Norm::new(-2.0 * self.noise * scale, (peak * scale).max(self.noise * scale), Stretch::Asinh(0.3));
        let columns = self.columns();
        let rows = self.planes.len().div_ceil(columns).max(1);
        let mut figure = Figure::new(theme::WIDTH, &vec![1.0; columns], &vec![Row::Ratio(1.0); rows]).headline(&*self.title).gap(4.0);
        for (i, (plane, name)) in self.planes.iter().enumerate() {
            let (row, column) = (i / columns, i % columns);
            let scaled = SkyImage { values: plane.values.mapv(|v| v * scale as f32), ..plane.clone() };
            let corner = i + columns >= self.planes.len() && column == 0;
            let (axis_unit, unit_arcsec) = scaled.unit();
            let bar =
                ColorBar { label: format!("Intensity ({unit} beam^{{-1}})"), map: ColorMap::Inferno, norm, side: Side::Right, span: rows };
            let panel = if corner {
                scaled.panel(ColorMap::Inferno, norm, format!("Intensity ({unit} beam^{{-1}})"))
            } else {
                let grid = scaled.grid(unit_arcsec);
                let (xs, ys) = (grid.x, grid.y);
                let image = ImageMark::new(grid, ColorMap::Inferno, norm).blank(Rgb::BLANK);
                let bare = |axis: Axis| axis.unlabelled();
                Panel::new(bare(Axis::ra_offset(axis_unit)).range(xs[0], xs[1]), bare(Axis::dec_offset(axis_unit)).range(ys[0], ys[1]))
                    .with(image)
                    .aspect(crate::plot::Aspect::Shrink)
                    .ticks(Rgb::WHITE)
            };
            let note =
                Note::fraction(name.clone(), [0.05, 0.9], Align::Left).style(crate::plot::text::Type::new(theme::NOTE).color(Rgb::WHITE));
            figure =
                figure.place(row, column, panel.bar((row == 0 && column + 1 == columns.min(self.planes.len())).then_some(bar)).with(note));
        }
        Ok(figure)
    }

    fn alt(&self) -> String {
        let peak = self.planes.iter().map(|(p, _)| largest(&p.values)).fold(0.0, f64::max);
        let (unit, scale) = unit_of(peak);
        let ends = match (self.planes.first(), self.planes.last()) {
            (Some(a), Some(b)) => format!(" from {} to {}", a.1, b.1),
            _ => String::new(),
        };
        format!(
            "{}: {} channel maps{ends}, largest value {} {unit}/beam, noise {} {unit}/beam.",
            self.title,
            self.planes.len(),
            fixed(peak * scale, 3),
            fixed(self.noise * scale, 3)
        )
    }
}
