//! Position-velocity diagrams.

use super::{quantiles, unit_markup};
use crate::data::Plane;
use crate::error::Result;
use crate::plot::canvas::Stroke;
use crate::plot::color::{ColorMap, Norm, Rgb, Stretch};
use crate::plot::mark::{Contours, Corner, Grid, ImageMark, Line, Note};
use crate::plot::text::Type;
use crate::plot::{Axis, Figure, Panel, Plot};

/// A position-velocity diagram.
#[derive(Debug, Clone)]
pub struct SliceFigure {
    /// Headline.
    pub title: String,
    /// The slice: offset along the first axis in arcsec, velocity along the second in m/s.
    pub plane: Plane,
    /// Noise of a pixel: contours at 3, 6, 12 ... of it.
    pub noise: Option<f64>,
    /// Position angle in degrees.
    pub pa_deg: f64,
}

impl Plot for SliceFigure {
    fn figure(&self) -> Result<Figure> {
        let p = &self.plane;
        let (n_chan, n) = p.data().dim();
        let edge = |i: usize, last: bool| if last { n_of(i, n, n_chan) - 0.5 } else { -0.5 };
        let x = [p.axes[0].value(edge(0, false)), p.axes[0].value(edge(0, true))];
        let y = [p.axes[1].value(edge(1, false)) / 1e3, p.axes[1].value(edge(1, true)) / 1e3];
        let grid = Grid { values: p.data().clone(), x, y };
        let (lo, hi) = quantiles(p.data(), 0.02, 0.9995).unwrap_or((0.0, 1.0));
        let norm = Norm::new(self.noise.map_or(lo, |s| -2.0 * s), hi, Stretch::Asinh(0.2));
        let image = ImageMark::new(grid.clone(), ColorMap::Inferno, norm).blank(Rgb::BLANK);
        let mut panel = Panel::image(Axis::new("Offset (arcsec)"), Axis::new("Velocity (km s^{−1})"), image, unit_markup(p.unit.as_str()))
            .aspect(crate::plot::Aspect::Free)
            .ticks(Rgb::WHITE)
            .title(&*self.title);
        // Upwards from low to high velocities, whatever the axis of the file.
        panel.y = panel.y.range(y[0].min(y[1]), y[0].max(y[1]));
        if let Some(s) = self.noise.filter(|s| *s > 0.0) {
            let levels: Vec<f64> = (0..8).map(|k| 3.0 * s * 2f64.powi(k)).filter(|l| *l < hi).collect();
            panel = panel.with(Contours::new(grid, &levels, Stroke::new(Rgb::WHITE, 0.8).alpha(0.7)));
        }
        if let Some(beam) = p.beam {
            // Beam along the slice by channel width: the resolution element.
            let along = beam.bmaj_rad() / crate::units::ARCSEC;
            let width = (p.axes[1].cdelt / 1e3).abs();
            let (x0, y0) = (x[0].min(x[1]) + 0.04 * (x[1] - x[0]).abs(), y[0].min(y[1]) + 0.05 * (y[1] - y[0]).abs());
            let cross = [
                vec![[x0, y0 + width / 2.0], [x0 + along, y0 + width / 2.0]],
                vec![[x0 + along / 2.0, y0], [x0 + along / 2.0, y0 + width]],
            ];
            panel = panel.with_all(cross.map(|points| Line::new(points, Rgb::WHITE)));
        }
        let note = Note::corner(Corner::TopLeft, [format!("PA {:.0}°", self.pa_deg)]).style(Type::new(12.5).color(Rgb::WHITE));
        Ok(Figure::single(panel.with(note), 0.75))
    }

    fn alt(&self) -> String {
        let (n_chan, n) = self.plane.data().dim();
        format!("{}. Position-velocity diagram of {n} steps by {n_chan} channels at position angle {:.1} deg.", self.title, self.pa_deg)
    }
}

fn n_of(axis: usize, n: usize, n_chan: usize) -> f64 {
    if axis == 0 { n as f64 } else { n_chan as f64 }
}
