//! From components to an image: the model seen with the clean beam, plus what was not cleaned.

use ndarray::{Array2, ArrayView2, Zip};
use num_complex::Complex;

use super::ImagingError;
use crate::data::Beam;
use crate::gridding::{RealFft2, good_size};

/// model ⊛ beam + residual: model in Jy/pixel, residual and result in Jy/beam.
pub fn restore(model_yx: ArrayView2<f32>, residual_yx: ArrayView2<f32>, beam: Beam, cell_rad: f64) -> Result<Array2<f32>, ImagingError> {
    let mut image = smooth(model_yx, beam, cell_rad);
    if image.dim() != residual_yx.dim() {
        return Err(super::shape_error("residual", residual_yx.dim(), image.dim()));
    }
    Zip::from(&mut image).and(residual_yx).for_each(|i, r| *i += r);
    Ok(image)
}

/// An image of Jy/pixel seen with a Gaussian beam of peak 1: Jy/beam.
pub fn smooth(model_yx: ArrayView2<f32>, beam: Beam, cell_rad: f64) -> Array2<f32> {
    let (ny, nx) = model_yx.dim();
    if model_yx.iter().all(|v| *v == 0.0) {
        return Array2::zeros((ny, nx));
    }
    // The beam falls to 1e-7 at 2.4 times its FWHM: what wraps around beyond that margin is rounding.
    let margin = (2.5 * beam.bmaj_rad() / cell_rad).ceil() as usize;
    let (py, px) = (good_size(ny + margin), good_size(nx + margin));
    let fft = RealFft2::<f32>::new(py, px);
    let mut padded = vec![0f32; py * px];
    for (row, out) in model_yx.rows().into_iter().zip(padded.chunks_mut(px)) {
        out.iter_mut().zip(row).for_each(|(o, v)| *o = *v);
    }
    let mut spectrum = vec![Complex::new(0f32, 0f32); py * fft.n_columns()];
    fft.forward(&mut padded, &mut spectrum, |row| row >= ny);
    multiply_by_beam(&mut spectrum, (py, px), fft.n_columns(), beam, cell_rad);
    fft.inverse(&mut spectrum, &mut padded, |row| row >= ny);
    Array2::from_shape_fn((ny, nx), |(y, x)| padded[y * px + x])
}

/// Multiplies by the beam's transform, scaled so that a point of 1 Jy/pixel becomes a beam of peak 1.
fn multiply_by_beam(spectrum: &mut [Complex<f32>], (py, px): (usize, usize), n_columns: usize, beam: Beam, cell_rad: f64) {
    let k = std::f64::consts::PI.powi(2) / (4.0 * std::f64::consts::LN_2);
    let e = beam.ellipse();
    // The transform of the Gaussian at zero is its area in pixels; the transforms do not divide by their size.
    let scale = beam.sr() / (cell_rad * cell_rad) / (py * px) as f64;
    for (row, line) in spectrum.chunks_mut(n_columns).enumerate() {
        let v = if row > py / 2 { row as f64 - py as f64 } else { row as f64 } / (py as f64 * cell_rad);
        for (column, value) in line.iter_mut().enumerate() {
            // x runs against east.
            let u = -(column as f64) / (px as f64 * cell_rad);
            let form = e.ee * u * u + e.nn * v * v + 2.0 * e.en * u * v;
            *value *= (scale * (-k * form).exp()) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::ARCSEC;

    /// A point becomes the beam, analytically, at its place, with its angle; also near the edge, without wrapping around.
    #[test]
    fn a_point_becomes_the_beam() {
        let cell = 0.2 * ARCSEC;
        let beam = Beam::new(1.6 * ARCSEC, 1.0 * ARCSEC, 0.6).unwrap();
        let (s, c) = beam.bpa_rad().sin_cos();
        for (y0, x0) in [(20, 25), (0, 47)] {
            let mut model = Array2::zeros((40, 48));
            model[[y0, x0]] = 2.0;
            let image = restore(model.view(), Array2::zeros((40, 48)).view(), beam, cell).unwrap();
            for ((y, x), v) in image.indexed_iter() {
                let (e, n) = ((x0 as f64 - x as f64) * cell, (y as f64 - y0 as f64) * cell);
                let (along, across) = (e * s + n * c, e * c - n * s);
                let r2 = (along / beam.bmaj_rad()).powi(2) + (across / beam.bmin_rad()).powi(2);
                let expected = 2.0 * (-4.0 * std::f64::consts::LN_2 * r2).exp();
                assert!((f64::from(*v) - expected).abs() < 3e-6, "{y} {x}: {v} {expected}");
            }
        }
    }
}
