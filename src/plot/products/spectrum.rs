//! Spectra with their errors.

use super::unit_markup;
use crate::error::Result;
use crate::plot::color::series_color;
use crate::plot::mark::{Band, Rule, Steps};
use crate::plot::{Axis, Figure, Panel, Plot};

/// One spectrum.
#[derive(Debug, Clone)]
pub struct SpectrumShown {
    /// Name in the legend.
    pub name: String,
    /// Velocity of each channel, km/s.
    pub velocity_kms: Vec<f64>,
    /// Values.
    pub value: Vec<f64>,
    /// Errors; NaN where unknown.
    pub error: Vec<f64>,
}

/// Spectra in one frame.
#[derive(Debug, Clone)]
pub struct SpectrumFigure {
    /// Headline.
    pub title: String,
    /// The spectra.
    pub spectra: Vec<SpectrumShown>,
    /// What the vertical axis shows.
    pub quantity: String,
    /// Its unit.
    pub unit: String,
}

/// Edges of channels from their middles.
pub fn channel_edges(middles: &[f64]) -> Vec<f64> {
    let n = middles.len();
    match n {
        0 => vec![],
        1 => vec![middles[0] - 0.5, middles[0] + 0.5],
        _ => {
            let mut e = vec![1.5 * middles[0] - 0.5 * middles[1]];
            e.extend(middles.windows(2).map(|w| 0.5 * (w[0] + w[1])));
            e.push(1.5 * middles[n - 1] - 0.5 * middles[n - 2]);
            e
        }
    }
}

impl Plot for SpectrumFigure {
    fn figure(&self) -> Result<Figure> {
        let x = Axis { pad: 0.0, ..Axis::new("Velocity (km s^{−1})") };
        let mut panel = Panel::new(x, Axis::new(format!("{} ({})", self.quantity, unit_markup(&self.unit)))).with(Rule::y(0.0));
        for (i, s) in self.spectra.iter().enumerate() {
            let band = (0..s.value.len()).map(|k| [s.velocity_kms[k], s.value[k] - s.error[k], s.value[k] + s.error[k]]).collect();
            panel = panel.with(Band::new(band, series_color(i)));
            panel = panel.with(Steps::new(channel_edges(&s.velocity_kms), s.value.clone(), series_color(i)).key(&*s.name));
        }
        Ok(Figure::single(panel.title(&*self.title), 0.6))
    }

    fn alt(&self) -> String {
        let say = |s: &SpectrumShown| {
            let best = (0..s.value.len()).filter(|i| s.value[*i].is_finite()).max_by(|a, b| s.value[*a].total_cmp(&s.value[*b]));
            best.map_or(s.name.clone(), |i| format!("{} peaks at {:.4} {} at {:.1} km/s", s.name, s.value[i], self.unit, s.velocity_kms[i]))
        };
        let all: Vec<String> = self.spectra.iter().map(say).collect();
        format!("{}. {}.", self.title, all.join("; "))
    }
}
