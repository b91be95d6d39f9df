//! How a CLEAN went: peak, noise and flux against the number of components.

use super::{dashed, unit_of};
use crate::error::Result;
use crate::plot::color::{Rgb, series_color};
use crate::plot::mark::{Line, Points, Rule};
use crate::plot::ticks::compact;
use crate::plot::{Axis, Figure, Panel, Plot, Row, theme};

/// The state after one major cycle.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CycleState {
    /// Components so far.
    pub n_iter: u64,
    /// Largest residual inside the mask, Jy/beam.
    pub peak_jy: f64,
    /// Flux of the model, Jy.
    pub flux_jy: f64,
    /// Noise of the residual, Jy/beam.
    pub noise_jy: f64,
}

/// The convergence of a CLEAN.
#[derive(Debug, Clone)]
pub struct ConvergenceFigure {
    /// State after each major cycle, the dirty image first.
    pub cycles: Vec<CycleState>,
    /// Where it was to stop, Jy/beam; 0 for nowhere.
    pub threshold_jy: f64,
    /// Why it stopped.
    pub stop: String,
}

impl Plot for ConvergenceFigure {
    fn figure(&self) -> Result<Figure> {
        let first = self.cycles.first().map_or(0.0, |c| c.peak_jy);
        let (unit, scale) = unit_of(first);
        let curve =
            |f: fn(&CycleState) -> f64, k: f64| -> Vec<[f64; 2]> { self.cycles.iter().map(|c| [c.n_iter as f64, k * f(c)]).collect() };
        let peak = curve(|c| c.peak_jy, scale);
        let mut upper = Panel::new(Axis::new("Components").unlabelled(), Axis::log(format!("Residual ({unit} beam^{{-1}})")))
            .title(format!("Major cycles: {}", self.stop))
            .with(Line::new(peak.clone(), series_color(0)).key("peak inside the mask"))
            .with(Points::new(peak, series_color(0)).radius(3.0))
            .with(Line::new(curve(|c| c.noise_jy, scale), series_color(1)).key("noise"));
        if self.threshold_jy > 0.0 {
            upper = upper.with(Rule::y(self.threshold_jy * scale).stroke(dashed(Rgb::INK)));
        }
        let last = self.cycles.last().map_or(0.0, |c| c.flux_jy);
        let (unit, scale) = unit_of(last);
        let flux = curve(|c| c.flux_jy, scale);
        let lower = Panel::new(Axis::new("Components"), Axis::new(format!("Model flux ({unit})")))
            .with(Line::new(flux.clone(), series_color(2)))
            .with(Points::new(flux, series_color(2)).radius(3.0));
        Ok(Figure::new(theme::WIDTH * 0.8, &[1.0], &[Row::Ratio(0.5), Row::Ratio(0.4)]).place(0, 0, upper).place(1, 0, lower))
    }

    fn alt(&self) -> String {
        let (Some(first), Some(last)) = (self.cycles.first(), self.cycles.last()) else { return "No major cycle was made.".into() };
        let (unit, scale) = unit_of(first.peak_jy);
        format!(
            "Peak of the residual from {} to {} {unit}/beam in {} major cycles and {} components; flux of the model {} Jy; {}.",
            compact(first.peak_jy * scale, 4),
            compact(last.peak_jy * scale, 4),
            self.cycles.len().saturating_sub(1),
            last.n_iter,
            compact(last.flux_jy, 4),
            self.stop
        )
    }
}
