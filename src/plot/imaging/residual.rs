//! A residual image with the histogram of its values against a Gaussian.

use super::{dashed, unit_of};
use crate::error::Result;
use crate::plot::color::{ColorMap, Norm, Rgb, Stretch, series_color};
use crate::plot::mark::{Line, Steps};
use crate::plot::ticks::compact;
use crate::plot::{Axis, Figure, Panel, Plot, Row, SkyImage, theme};

/// A residual image.
#[derive(Debug, Clone)]
pub struct ResidualFigure {
    /// Residual, Jy/beam.
    pub residual: SkyImage,
    /// Title.
    pub title: String,
    /// Noise (median deviation), Jy/beam.
    pub noise: f64,
}

const BINS: usize = 60;
/// Reach of the histogram in noises.
const REACH: f64 = 6.0;

impl ResidualFigure {
    /// Counts of values in bins of noises; those beyond the ends count in the last bins.
    fn histogram(&self) -> (Vec<f64>, Vec<f64>, usize) {
        let edges: Vec<f64> = (0..=BINS).map(|i| REACH * (2.0 * i as f64 / BINS as f64 - 1.0)).collect();
        let mut counts = vec![0.0; BINS];
        let mut n = 0;
        for v in self.residual.values.iter().filter(|v| v.is_finite()) {
            let x = f64::from(*v) / self.noise.max(f64::MIN_POSITIVE);
            let bin = ((x / REACH + 1.0) * 0.5 * BINS as f64).floor().clamp(0.0, BINS as f64 - 1.0);
            counts[bin as usize] += 1.0;
            n += 1;
        }
        (edges, counts, n)
    }
}

impl Plot for ResidualFigure {
    fn figure(&self) -> Result<Figure> {
        let (unit, scale) = unit_of(self.noise * 3.0);
        let scaled = SkyImage { values: self.residual.values.mapv(|v| v * scale as f32), ..self.residual.clone() };
        let reach = 5.0 * self.noise * scale;
        let map = scaled
            .panel(ColorMap::BlueRed, Norm::new(-reach, reach, Stretch::Linear), format!("Residual ({unit} beam^{{-1}})"))
            .title(&*self.title);
        let (edges, counts, n) = self.histogram();
        let width = 2.0 * REACH / BINS as f64;
        let peak = n as f64 * width / (std::f64::consts::TAU).sqrt();
        let gaussian = (0..=200).map(|i| REACH * (i as f64 / 100.0 - 1.0)).map(|x| [x, (peak * (-0.5 * x * x).exp()).max(0.5)]).collect();
        let shown = counts.iter().map(|c| c.max(0.5)).collect();
        let panel = Panel::new(Axis::new("Residual (noises)"), Axis::log("Pixels").range(0.5, 2.5 * peak.max(1.0)))
            .title("Values")
            .with(Steps::new(edges, shown, series_color(0)).filled(0.25).key("residual"))
            .with(Line::new(gaussian, Rgb::INK).stroke(dashed(Rgb::INK)).key("Gaussian of the noise"));
        Ok(Figure::new(theme::WIDTH, &[1.0, 0.8], &[Row::Ratio(0.9)]).place(0, 0, map).place(0, 1, panel))
    }

    fn alt(&self) -> String {
        let (unit, scale) = unit_of(self.noise);
        let beyond = self.residual.values.iter().filter(|v| v.is_finite() && f64::from(v.abs()) > 5.0 * self.noise).count();
        format!(
            "{}: residual image and histogram of its values, noise {} {unit}/beam; {beyond} pixels lie beyond five times the noise.",
            self.title,
            compact(self.noise * scale, 4)
        )
    }
}
