//! Shapes of multiscale components: tapered paraboloids (Cornwell 2008, IEEE J. Sel. Top. Signal Process. 2, 793).

use ndarray::{Array2, ArrayView2};
use num_complex::Complex;

use crate::gridding::{RealFft2, good_size};

/// A component shape of unit volume; radius 0 is a point.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    /// Radius, pixels.
    pub radius: f64,
    /// Values, [y, x], odd square about the middle.
    pub shape: Array2<f32>,
}

impl Scale {
    /// (1 - (r/R)²) times a prolate spheroidal taper, normalized to unit volume.
    pub fn new(radius: f64) -> Scale {
        if radius < 0.5 {
            return Scale { radius: 0.0, shape: Array2::ones((1, 1)) };
        }
        let half = radius.ceil() as usize;
        let at = |y: usize, x: usize| (x as f64 - half as f64).hypot(y as f64 - half as f64) / radius;
        let value = |nu: f64| if nu >= 1.0 { 0.0 } else { (1.0 - nu * nu) * spheroidal(nu) };
        let shape = Array2::from_shape_fn((2 * half + 1, 2 * half + 1), |(y, x)| value(at(y, x)));
        let volume = shape.sum();
        Scale { radius, shape: shape.mapv(|v| (v / volume) as f32) }
    }
    /// Pixels from the middle to the edge.
    pub fn half(&self) -> usize {
        self.shape.nrows() / 2
    }
}

/// Zeroth-order prolate spheroidal function with m = 6, alpha = 1 (Schwab 1984).
fn spheroidal(nu: f64) -> f64 {
    const P: [[f64; 5]; 2] = [
        [8.203_343e-2, -3.644_705e-1, 6.278_660e-1, -5.335_581e-1, 2.312_756e-1],
        [4.028_559e-3, -3.697_768e-2, 1.021_332e-1, -1.201_436e-1, 6.412_774e-2],
    ];
    const Q: [[f64; 3]; 2] = [[1.0, 8.212_018e-1, 2.078_043e-1], [1.0, 9.599_102e-1, 2.918_724e-1]];
    let (part, end) = if nu < 0.75 { (0, 0.75) } else { (1, 1.0) };
    let x = nu * nu - end * end;
    let poly = |c: &[f64]| c.iter().rev().fold(0.0, |s, c| s * x + c);
    poly(&P[part]) / poly(&Q[part])
}

/// Convolution with scales by Fourier transform, for images of one size.
pub(super) struct Convolver {
    ny: usize,
    nx: usize,
    py: usize,
    px: usize,
    fft: RealFft2<f32>,
}

/// A transformed image or scale.
pub(super) type Spectrum = Vec<Complex<f32>>;

impl Convolver {
    /// For images of `ny` x `nx` pixels and scales up to `half` pixels from their middles, twice.
    pub fn new(ny: usize, nx: usize, half: usize) -> Convolver {
        let (py, px) = (good_size(ny + 2 * half), good_size(nx + 2 * half));
        Convolver { ny, nx, py, px, fft: RealFft2::new(py, px) }
    }

    /// Transform of an image.
    pub fn image(&self, image: ArrayView2<f32>) -> Spectrum {
        let mut padded = vec![0f32; self.py * self.px];
        for (row, out) in image.rows().into_iter().zip(padded.chunks_mut(self.px)) {
            out.iter_mut().zip(row).for_each(|(o, v)| *o = *v);
        }
        self.transform(padded)
    }

    /// Transform of a scale about its middle.
    pub fn scale(&self, scale: &Scale) -> Spectrum {
        let mut padded = vec![0f32; self.py * self.px];
        let half = scale.half();
        for ((y, x), v) in scale.shape.indexed_iter() {
            padded[(y + self.py - half) % self.py * self.px + (x + self.px - half) % self.px] = *v;
        }
        self.transform(padded)
    }

    fn transform(&self, mut padded: Vec<f32>) -> Spectrum {
        let mut out = vec![Complex::default(); self.py * self.fft.n_columns()];
        self.fft.forward(&mut padded, &mut out, |_| false);
        out
    }

    /// The image convolved with all these scales.
    pub fn convolved(&self, image: &Spectrum, scales: &[&Spectrum]) -> Array2<f32> {
        let scale = 1.0 / (self.py * self.px) as f32;
        let mut product: Spectrum = image.iter().map(|v| *v * scale).collect();
        for s in scales {
            product.iter_mut().zip(s.iter()).for_each(|(p, s)| *p *= *s);
        }
        let mut padded = vec![0f32; self.py * self.px];
        self.fft.inverse(&mut product, &mut padded, |row| row >= self.ny);
        Array2::from_shape_fn((self.ny, self.nx), |(y, x)| padded[y * self.px + x])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_have_unit_volume_and_fall_to_nothing() {
        for radius in [0.0, 1.0, 5.0, 15.5] {
            let s = Scale::new(radius);
            assert!((s.shape.sum() - 1.0).abs() < 1e-5);
            assert!(s.radius == 0.0 || s.shape[[0, 0]] == 0.0);
            let middle = s.shape[[s.half(), s.half()]];
            assert!(s.shape.iter().all(|v| *v <= middle && *v >= 0.0));
        }
    }

    #[test]
    fn convolution_with_a_scale_spreads_a_point_into_it() {
        let scale = Scale::new(4.0);
        let convolver = Convolver::new(31, 28, 2 * scale.half());
        let mut image = Array2::zeros((31, 28));
        image[[3, 20]] = 2.0;
        let out = convolver.convolved(&convolver.image(image.view()), &[&convolver.scale(&scale)]);
        for ((y, x), v) in out.indexed_iter() {
            let (dy, dx) = (y as i64 - 3 + 4, x as i64 - 20 + 4);
            let expected = if (0..9).contains(&dy) && (0..9).contains(&dx) { 2.0 * scale.shape[[dy as usize, dx as usize]] } else { 0.0 };
            assert!((v - expected).abs() < 1e-6);
        }
    }
}
