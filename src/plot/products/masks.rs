//! What masks hold: width of their windows on the sky, pixels in each channel.

use super::{scale_bar, shared_axes};
use crate::data::Image;
use crate::error::Result;
use crate::plot::color::{ColorMap, Norm, Rgb, Stretch, series_color};
use crate::plot::mark::Steps;
use crate::plot::{Axis, Figure, Panel, Plot, Row, SkyImage, theme};

/// One mask.
#[derive(Debug, Clone)]
pub struct MaskShown {
    /// Name.
    pub name: String,
    /// Width of the mask at every pixel, km/s; blank where there is none.
    pub width: Image,
    /// Pixels in each channel.
    pub pixels: Vec<u64>,
}

/// Masks side by side.
#[derive(Debug, Clone)]
pub struct MaskOverview {
    /// Headline.
    pub title: String,
    /// The masks.
    pub masks: Vec<MaskShown>,
    /// Edges of the channels in km/s, one more than channels.
    pub edges_kms: Vec<f64>,
}

impl Plot for MaskOverview {
    fn figure(&self) -> Result<Figure> {
        let n = self.masks.len().max(1);
        let columns = if n == 4 { 2 } else { n.min(3) };
        let rows = n.div_ceil(columns);
        let most = self.masks.iter().flat_map(|m| m.width.data()).filter(|v| v.is_finite()).fold(1.0f32, |a, b| a.max(*b));
        let norm = Norm::new(0.0, f64::from(most), Stretch::Linear);
        let mut heights = vec![Row::Ratio(1.0); rows];
        heights.push(Row::Points(210.0));
        let width = theme::WIDTH * if columns == 1 { 0.65 } else { 1.0 };
        let mut figure = Figure::new(width, &vec![1.0; columns], &heights).headline(&*self.title);
        for (i, m) in self.masks.iter().enumerate() {
            let sky = SkyImage::from(&m.width);
            let mut panel = sky.panel(ColorMap::Viridis, norm, "Width of the mask (km s^{−1})").title(&*m.name);
            if i == 0 {
                panel = panel.with(scale_bar(&sky, None, Rgb::INK));
            }
            // One bar for all, beside the last of a row.
            if i % columns != columns - 1 && i + 1 != self.masks.len() {
                panel = panel.bar(None);
            }
            figure = figure.place(i / columns, i % columns, shared_axes(panel, i % columns == 0, true));
        }
        let x = Axis { pad: 0.0, ..Axis::new("Velocity (km s^{−1})") };
        let steps = self.masks.iter().enumerate().map(|(i, m)| {
            let values: Vec<f64> = m.pixels.iter().map(|n| *n as f64).collect();
            let steps = Steps::new(self.edges_kms.clone(), values, series_color(i)).key(&*m.name);
            if i == 0 { steps.filled(0.15) } else { steps }
        });
        let highest = self.masks.iter().flat_map(|m| &m.pixels).copied().max().unwrap_or(1).max(1) as f64;
        // Room above for the legend.
        let y = Axis::new("Pixels in the mask").range(0.0, highest * (1.1 + 0.13 * n as f64));
        let spectrum = Panel::new(x, y).with_all(steps.collect::<Vec<Steps>>());
        Ok(figure.place_over(rows, 0, 1, columns, spectrum))
    }

    fn alt(&self) -> String {
        let say = |m: &MaskShown| {
            let pixels = m.width.data().iter().filter(|v| v.is_finite()).count();
            format!("{}: {pixels} pixels, {} voxels", m.name, m.pixels.iter().sum::<u64>())
        };
        let all: Vec<String> = self.masks.iter().map(say).collect();
        format!("{}. {}.", self.title, all.join("; "))
    }
}
