//! Amplitudes of data, model and residual against the length of baselines.

use super::{dashed, unit_of};
use crate::error::Result;
use crate::plot::color::{Rgb, series_color};
use crate::plot::mark::{Line, Points};
use crate::plot::ticks::compact;
use crate::plot::{Axis, Figure, Panel, Plot};

/// One ring of the (u, v) plane.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AmplitudePoint {
    /// Length of the baselines, kλ.
    pub uv_klambda: f64,
    /// Amplitude of the data, Jy.
    pub data_jy: f64,
    /// Amplitude of the model, Jy.
    pub model_jy: f64,
    /// Amplitude of data minus model, Jy.
    pub residual_jy: f64,
    /// Amplitude that noise alone would show, Jy.
    pub noise_jy: f64,
}

/// Amplitudes against the length of baselines.
#[derive(Debug, Clone)]
pub struct AmplitudeFigure {
    /// Rings, by length.
    pub points: Vec<AmplitudePoint>,
    /// Title.
    pub title: String,
}

impl AmplitudeFigure {
    /// False for an empty model, whose residuals are the data.
    fn has_model(&self) -> bool {
        self.points.iter().any(|p| p.model_jy > 0.0)
    }
}

impl Plot for AmplitudeFigure {
    fn figure(&self) -> Result<Figure> {
        let most = self.points.iter().map(|p| p.data_jy.max(p.model_jy)).fold(0.0, f64::max);
        let (unit, scale) = unit_of(most);
        let curve = |f: fn(&AmplitudePoint) -> f64| -> Vec<[f64; 2]> {
            self.points.iter().map(|p| [p.uv_klambda, f(p) * scale]).filter(|p| p[1] > 0.0).collect()
        };
        let panel = Panel::new(Axis::log("uv distance (kλ)"), Axis::log(format!("Amplitude ({unit})")))
            .title(&*self.title)
            .with(Line::new(curve(|p| p.noise_jy), Rgb::GREY).stroke(dashed(Rgb::GREY)).key("noise"));
        let data = Points::new(curve(|p| p.data_jy), series_color(0)).radius(3.4).key("data");
        if !self.has_model() {
            return Ok(Figure::single(panel.with(data), 0.62));
        }
        let panel = panel
            .with(Line::new(curve(|p| p.model_jy), series_color(1)).key("model"))
            .with(data)
            .with(Points::new(curve(|p| p.residual_jy), series_color(2)).radius(3.0).hollow().key("residual"));
        Ok(Figure::single(panel, 0.62))
    }

    fn alt(&self) -> String {
        let (Some(first), Some(last)) = (self.points.first(), self.points.last()) else { return "No visibilities.".into() };
        let (unit, scale) = unit_of(first.data_jy);
        format!(
            "{}: root mean square amplitudes of data, model and residual from {} to {} kλ; on the shortest baselines data {} and residual {} {unit}.",
            self.title,
            compact(first.uv_klambda, 3),
            compact(last.uv_klambda, 3),
            compact(first.data_jy * scale, 3),
            compact(first.residual_jy * scale, 3)
        )
    }
}
