//! Radial profiles.

use super::unit_markup;
use crate::error::Result;
use crate::plot::color::series_color;
use crate::plot::mark::{Band, Line, Points};
use crate::plot::{Axis, Figure, Panel, Plot};

/// A profile of a map over rings.
#[derive(Debug, Clone)]
pub struct ProfileFigure {
    /// Headline.
    pub title: String,
    /// Middle of each ring, arcsec.
    pub radius_arcsec: Vec<f64>,
    /// Mean of each ring.
    pub mean: Vec<f64>,
    /// Error of the mean.
    pub error: Vec<f64>,
    /// Standard deviation of the pixels of a ring.
    pub scatter: Vec<f64>,
    /// Unit.
    pub unit: String,
    /// Logarithmic values.
    pub log: bool,
}

impl Plot for ProfileFigure {
    fn figure(&self) -> Result<Figure> {
        let label = format!("Mean ({})", unit_markup(&self.unit));
        let y = if self.log { Axis::log(label) } else { Axis::new(label) };
        let at = |i: usize| [self.radius_arcsec[i], self.mean[i]];
        let n = self.mean.len();
        let spread = (0..n).map(|i| [self.radius_arcsec[i], self.mean[i] - self.scatter[i], self.mean[i] + self.scatter[i]]).collect();
        let panel = Panel::new(Axis::new("Radius (arcsec)"), y)
            .with(Band { alpha: 0.15, ..Band::new(spread, series_color(0)) }.key("scatter of pixels"))
            .with(Line::new((0..n).map(at).collect(), series_color(0)))
            .with(Points::new((0..n).map(at).collect(), series_color(0)).y_errors(self.error.clone()).key("mean and its error"));
        Ok(Figure::single(panel.title(&*self.title), 0.7))
    }

    fn alt(&self) -> String {
        let end = |i: usize| self.mean.get(i).copied().unwrap_or(f64::NAN);
        let n = self.mean.len();
        format!("{}. {n} rings; mean {:.4} {} in the first, {:.4} in the last.", self.title, end(0), self.unit, end(n.saturating_sub(1)))
    }
}
