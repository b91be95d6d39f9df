//! Channel maps.

use super::{cropped, quantiles, scale_bar, shared_axes, unit_markup};
use crate::data::Image;
use crate::error::Result;
use crate::plot::canvas::Stroke;
use crate::plot::color::{ColorMap, Norm, Rgb, Stretch};
use crate::plot::mark::{Contours, Corner, Note};
use crate::plot::text::Type;
use crate::plot::ticks::fixed;
use crate::plot::{Axis, Figure, Plot, Row, Side, theme};

/// Channels side by side in one color scale.
#[derive(Debug, Clone)]
pub struct ChannelMaps {
    /// Headline.
    pub title: String,
    /// Velocity (km/s) and image of each channel shown; and where the mask holds it.
    pub channels: Vec<(f64, Image, Option<ndarray::Array2<bool>>)>,
    /// Maps in a row.
    pub columns: usize,
    /// Noise of a voxel, where known: the lower end of the colors is at -2 of it.
    pub noise: Option<f64>,
    /// Rows and columns to show: first, end, first, end.
    pub part: [usize; 4],
    /// For a scale bar in pc.
    pub distance_mpc: Option<f64>,
}

impl Plot for ChannelMaps {
    fn figure(&self) -> Result<Figure> {
        let n = self.channels.len().max(1);
        let columns = self.columns.clamp(1, n);
        let rows = n.div_ceil(columns);
        let all = || self.channels.iter().flat_map(|c| c.1.data().iter());
        let (lo, hi) = quantiles(all(), 0.02, 0.9997).unwrap_or((0.0, 1.0));
        let norm = Norm::new(self.noise.map_or(lo, |s| -2.0 * s), hi, Stretch::Asinh(0.25));
        let ratio = self.channels.first().map_or(1.0, |c| {
            let (ny, nx) = cropped(&c.1, self.part).values.dim();
            ny as f64 / nx.max(1) as f64
        });
        let mut figure = Figure::new(theme::WIDTH, &vec![1.0; columns], &vec![Row::Ratio(ratio); rows]).headline(&*self.title).gap(3.0);
        for (i, (velocity, image, mask)) in self.channels.iter().enumerate() {
            let mut sky = cropped(image, self.part);
            // Beam and scale bar are drawn once.
            sky.beam = sky.beam.filter(|_| i == 0);
            let unit = unit_markup(image.unit.as_str());
            let mut panel = sky.panel(ColorMap::Inferno, norm, unit).ticks(Rgb::WHITE);
            panel.bar = panel.bar.filter(|_| i == 0).map(|b| crate::plot::ColorBar { side: Side::Top, span: columns, ..b });
            if let Some(mask) = mask {
                let soft = Image::with_data(image, mask.mapv(|m| f32::from(u8::from(m))), image.unit.clone())?;
                let grid = cropped(&soft, self.part).grid(sky.unit().1);
                panel = panel.with(Contours::new(grid, &[0.5], Stroke::new(Rgb([120, 200, 255]), 0.9)));
            }
            // White on the colors of noise, dark where the corner is blank.
            let (ny, nx) = sky.values.dim();
            let on = |y: usize, x: usize| if sky.values.get([y, x]).is_some_and(|v| v.is_finite()) { Rgb::WHITE } else { Rgb::INK };
            let style = Type::new(11.0).color(on(ny.saturating_sub(1 + ny / 12), nx / 8));
            panel = panel.with(Note::corner(Corner::TopLeft, [format!("{} km s^{{−1}}", fixed(*velocity, 1))]).style(style));
            if i == 0 {
                panel = panel.with(scale_bar(&sky, self.distance_mpc, on(ny / 12, nx * 5 / 6)));
            }
            let (left, bottom) = (i % columns == 0, i + columns >= n);
            if !(left && i / columns == rows - 1) {
                panel.x = Axis { labelled: bottom && left, ..panel.x };
            }
            figure = figure.place(i / columns, i % columns, shared_axes(panel, left && i / columns == rows - 1, bottom && left));
        }
        Ok(figure)
    }

    fn alt(&self) -> String {
        let ends = (self.channels.first().map_or(f64::NAN, |c| c.0), self.channels.last().map_or(f64::NAN, |c| c.0));
        format!("{}. {} channels from {:.1} to {:.1} km/s.", self.title, self.channels.len(), ends.0, ends.1)
    }
}
