//! Maps against maps, and the direction in which a velocity field grows.

use super::ProductsError;
use super::noise::median_f64;
use super::region::offset;
use crate::data::Image;
use crate::error::{Error, Result};
use crate::sky::Direction;

/// How two maps of one grid differ, over the pixels that both have.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct MapComparison {
    /// Pixels compared.
    pub n: usize,
    /// Median of map - other.
    pub median_difference: f64,
    /// Root mean square of map - other.
    pub rms_difference: f64,
    /// Median of map / other.
    pub median_ratio: f64,
    /// Median of (map - other) / error; NaN without errors.
    pub median_pull: f64,
    /// 1.4826 times the median deviation of (map - other) / error from its median.
    pub scatter: f64,
}

/// Compares a map with another on its grid, where the other is at least `min_snr` times the error.
///
/// A cut on the map itself would prefer pixels that noise has raised.
pub fn compare_maps(map: &Image, other: &Image, error: Option<&Image>, min_snr: f64) -> Result<MapComparison> {
    let shape = map.data().dim();
    for (what, image) in [("other map", Some(other)), ("error map", error)] {
        if let Some(i) = image.filter(|i| i.data().dim() != shape) {
            return Err(ProductsError::Grid { what, found: vec![1, i.ny(), i.nx()], expected: vec![1, shape.0, shape.1] }.into());
        }
    }
    let (mut difference, mut ratio, mut pull) = (Vec::new(), Vec::new(), Vec::new());
    for ((y, x), a) in map.data().indexed_iter() {
        let (a, b) = (f64::from(*a), f64::from(other.data()[[y, x]]));
        let e = error.map(|e| f64::from(e.data()[[y, x]]));
        if !a.is_finite() || !b.is_finite() || e.is_some_and(|e| !(b.abs() >= min_snr * e)) {
            continue;
        }
        difference.push(a - b);
        ratio.push(a / b);
        pull.extend(e.map(|e| (a - b) / e).filter(|p| p.is_finite()));
    }
    let n = difference.len();
    let rms = (difference.iter().map(|d| d * d).sum::<f64>() / n as f64).sqrt();
    let middle = |v: Vec<f64>| median_f64(v).unwrap_or(f64::NAN);
    let median_pull = middle(pull.clone());
    let scatter = 1.482_602_218_505_602 * middle(pull.iter().map(|p| (p - median_pull).abs()).collect());
    Ok(MapComparison { n, median_difference: middle(difference), rms_difference: rms, median_ratio: middle(ratio), median_pull, scatter })
}

/// The plane that fits a velocity field best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VelocityGradient {
    /// Direction in which the velocity grows, from north to east, rad.
    pub pa_rad: f64,
    /// Slope, km/s a rad.
    pub per_rad: f64,
    /// Velocity at the center, km/s.
    pub velocity_kms: f64,
    /// Center: the weighted centroid of the pixels.
    pub center: Direction,
}

/// Fits v = v0 + a east + b north by weighted least squares over the pixels with a velocity.
pub fn velocity_gradient(field: &Image, weight: Option<&Image>) -> Result<VelocityGradient> {
    let shape = field.data().dim();
    if let Some(w) = weight.filter(|w| w.data().dim() != shape) {
        return Err(ProductsError::Grid { what: "weight map", found: vec![1, w.ny(), w.nx()], expected: vec![1, shape.0, shape.1] }.into());
    }
    let points: Vec<(f64, f64, f64, f64)> = field
        .data()
        .indexed_iter()
        .filter_map(|((y, x), v)| {
            let w = weight.map_or(1.0, |w| f64::from(w.data()[[y, x]]));
            (v.is_finite() && w > 0.0).then_some((x as f64, y as f64, f64::from(*v), w))
        })
        .collect();
    let few = || Error::data(format!("a plane needs velocities at 3 pixels that are not in line; there are {}", points.len()));
    let total: f64 = points.iter().map(|p| p.3).sum();
    let mean = |f: &dyn Fn(&(f64, f64, f64, f64)) -> f64| points.iter().map(|p| p.3 * f(p)).sum::<f64>() / total;
    let (x0, y0, v0) = (mean(&|p| p.0), mean(&|p| p.1), mean(&|p| p.2));
    let center = field.sky().sky_from_pixel(x0, y0).ok_or_else(few)?;
    let places: Vec<(f64, f64, f64, f64)> = points
        .iter()
        .filter_map(|(x, y, v, w)| field.sky().sky_from_pixel(*x, *y).map(|d| (offset(center, d), v, w)))
        .map(|((east, north), v, w)| (east, north, v - v0, *w))
        .collect();
    let sum = |f: &dyn Fn(&(f64, f64, f64, f64)) -> f64| places.iter().map(|p| p.3 * f(p)).sum::<f64>();
    let (ee, nn, en) = (sum(&|p| p.0 * p.0), sum(&|p| p.1 * p.1), sum(&|p| p.0 * p.1));
    let (ev, nv) = (sum(&|p| p.0 * p.2), sum(&|p| p.1 * p.2));
    let det = ee * nn - en * en;
    if !(det > 1e-12 * ee * nn) {
        return Err(few());
    }
    let (a, b) = ((ev * nn - nv * en) / det, (nv * ee - ev * en) / det);
    Ok(VelocityGradient { pa_rad: a.atan2(b).rem_euclid(std::f64::consts::TAU), per_rad: a.hypot(b), velocity_kms: v0, center })
}
