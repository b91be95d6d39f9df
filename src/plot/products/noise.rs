//! The noise of a cube: its map and its spectrum.

use super::{bar_color, quantiles, scale_bar, unit_markup};
use crate::data::Image;
use crate::error::Result;
use crate::plot::color::{ColorMap, Norm, Stretch, series_color};
use crate::plot::mark::{Line, Rule};
use crate::plot::ticks::significant;
use crate::plot::{Axis, Figure, Panel, Plot, Row, SkyImage, theme};

/// Noise map and noise spectrum.
#[derive(Debug, Clone)]
pub struct NoiseFigure {
    /// Headline.
    pub title: String,
    /// Median over channels.
    pub map: Image,
    /// Velocity of each channel in km/s.
    pub velocity_kms: Vec<f64>,
    /// Median over the sky.
    pub spectrum: Vec<f64>,
}

impl Plot for NoiseFigure {
    fn figure(&self) -> Result<Figure> {
        let unit = unit_markup(self.map.unit.as_str());
        let (lo, hi) = quantiles(self.map.data(), 0.005, 0.995).unwrap_or((0.0, 1.0));
        let sky = SkyImage::from(&self.map);
        let norm = Norm::new(lo, hi, Stretch::Linear);
        let map = sky.panel(ColorMap::Viridis, norm, format!("Noise, 1σ ({unit})")).title("Median over channels");
        let map = map.with(scale_bar(&sky, None, bar_color(&sky, ColorMap::Viridis, norm)));
        let points = self.velocity_kms.iter().zip(&self.spectrum).map(|(v, s)| [*v, *s]).collect();
        let (lo, hi) = self.range();
        let y = Axis::new(format!("Noise, 1σ ({unit})")).range(lo, hi);
        let x = Axis { pad: 0.0, ..Axis::new("Velocity (km s^{−1})") };
        let spectrum = Panel::new(x, y).with(Line::new(points, series_color(0))).with(Rule { counts: false, ..Rule::y(self.median()) });
        let figure = Figure::new(theme::WIDTH, &[1.0, 1.0], &[Row::Ratio(0.95)]).headline(&*self.title);
        Ok(figure.place(0, 0, map).place(0, 1, spectrum.title("Median over the sky")))
    }

    fn alt(&self) -> String {
        let (lo, hi) = self.map.min_max().unwrap_or((f32::NAN, f32::NAN));
        let n = |v: f64| significant(v, 3).replace('\u{2212}', "-");
        format!(
            "{}. Noise map {} to {} {}, median of the noise spectrum {}.",
            self.title,
            n(f64::from(lo)),
            n(f64::from(hi)),
            self.map.unit,
            n(self.median())
        )
    }
}

impl NoiseFigure {
    fn median(&self) -> f64 {
        let mut v: Vec<f64> = self.spectrum.iter().copied().filter(|s| s.is_finite()).collect();
        v.sort_by(f64::total_cmp);
        v.get(v.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// At least a tenth about the median: a flat spectrum shall look flat.
    fn range(&self) -> (f64, f64) {
        let finite = || self.spectrum.iter().copied().filter(|s| s.is_finite());
        let m = self.median();
        let (lo, hi) = (finite().fold(0.9 * m, f64::min), finite().fold(1.1 * m, f64::max));
        (lo - 0.05 * (hi - lo), hi + 0.05 * (hi - lo))
    }
}
