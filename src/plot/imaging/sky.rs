//! An image of the sky with its beam, contours and color bar.

use super::{largest, unit_of};
use crate::error::Result;
use crate::plot::canvas::Stroke;
use crate::plot::color::{ColorMap, Norm, Rgb, Stretch};
use crate::plot::mark::Contours;
use crate::plot::ticks::compact;
use crate::plot::{Figure, Panel, Plot, SkyImage, theme};

/// One image of the sky.
#[derive(Debug, Clone)]
pub struct SkyFigure {
    /// Values in Jy/beam.
    pub sky: SkyImage,
    /// Title.
    pub title: String,
    /// Contours at these multiples of `noise`.
    pub levels: Vec<f64>,
    /// Noise, Jy/beam.
    pub noise: f64,
    /// Quantity and unit, where it is not Jy/beam.
    pub label: Option<String>,
}

impl SkyFigure {
    /// Color scale of the image: asinh with the noise as softening where the peak stands far above it.
    fn norm(&self, scale: f64) -> Norm {
        let (peak, noise) = (largest(&self.sky.values) * scale, self.noise * scale);
        let low = if noise > 0.0 { (-3.0 * noise).max(-0.3 * peak) } else { 0.0 };
        let softening = if noise > 0.0 { (4.0 * noise / peak.max(1e-30)).clamp(0.01, 1.0) } else { 0.1 };
        if peak > 20.0 * noise { Norm::new(low, peak, Stretch::Asinh(softening)) } else { Norm::new(low, peak, Stretch::Linear) }
    }
}

impl Plot for SkyFigure {
    fn figure(&self) -> Result<Figure> {
        let (unit, scale) = if self.label.is_some() { ("", 1.0) } else { unit_of(largest(&self.sky.values)) };
        let label = self.label.clone().unwrap_or_else(|| format!("Intensity ({unit} beam^{{-1}})"));
        let scaled = SkyImage { values: self.sky.values.mapv(|v| v * scale as f32), ..self.sky.clone() };
        let mut panel: Panel = scaled.panel(ColorMap::Inferno, self.norm(scale), label).title(&*self.title);
        if !self.levels.is_empty() && self.noise > 0.0 {
            let levels: Vec<f64> = self.levels.iter().map(|l| l * self.noise * scale).collect();
            panel = panel.with(Contours::new(scaled.grid(scaled.unit().1), &levels, Stroke::new(Rgb::WHITE, 0.7)));
        }
        let mut figure = Figure::new(theme::WIDTH * 0.8, &[1.0], &[crate::plot::Row::Ratio(0.86)]);
        figure = figure.place(0, 0, panel);
        Ok(figure)
    }

    fn alt(&self) -> String {
        let peak = largest(&self.sky.values);
        let (unit, scale) = unit_of(peak);
        let beam = self.sky.beam.map_or(String::new(), |b| {
            format!(", beam {} x {} arcsec at {} deg", compact(b.major, 3), compact(b.minor, 3), compact(b.angle_deg, 3))
        });
        let noise = if self.noise > 0.0 { format!(", noise {} {unit}/beam", compact(self.noise * scale, 3)) } else { String::new() };
        format!("{}: image of the sky, largest value {} {unit}/beam{noise}{beam}.", self.title, compact(peak * scale, 4))
    }
}
