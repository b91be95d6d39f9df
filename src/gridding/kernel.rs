//! The convolution kernel: "exponential of semicircle" (Barnett, Magland & af Klinteberg 2019, SISC 41, C479).

use std::f64::consts::PI;

use super::GridError;

/// Ratio of the transform's grid to the image; 2 keeps the kernel narrow, and the grid is padded to a good size anyway.
pub(super) const OVERSAMPLING: f64 = 2.0;
/// Widest kernel that is compiled, cells.
pub(super) const MAX_WIDTH: usize = 16;

/// The kernel φ(x) = exp(β(√(1 − (2x/w)²) − 1)), |x| <= w/2 cells, tabulated as one polynomial for each tap.
///
/// Both gridding and the correction use the polynomials, so that the correction is exact for what is gridded.
#[derive(Debug, Clone)]
pub struct Kernel {
    width: usize,
    /// Coefficients, [degree][tap], of powers of s in [-1, 1), the place of the point between two cells.
    coefficient: Vec<f64>,
    degree: usize,
}

impl Kernel {
    /// The narrowest kernel whose relative aliasing error is below `accuracy` (1e-13 to 0.1).
    pub fn for_accuracy(accuracy: f64) -> Result<Kernel, GridError> {
        if !(1e-13..=0.1).contains(&accuracy) {
            return Err(GridError::Accuracy { accuracy });
        }
        // Error ~ exp(-π w √(1-1/σ)) (their eq. 3.12, 4.8); one tap more covers the constant in front.
        let taps = -accuracy.ln() / (PI * (1.0 - 1.0 / OVERSAMPLING).sqrt());
        let width = (taps.ceil() as usize + 1).clamp(3, MAX_WIDTH);
        // β just below the value that puts the kernel's transform to zero at the first alias.
        let beta = 0.976 * PI * width as f64 * (1.0 - 0.5 / OVERSAMPLING);
        Ok(Kernel::with_shape(width, beta))
    }

    fn with_shape(width: usize, beta: f64) -> Kernel {
        let degree = (width + 3).min(18);
        let n = degree + 1;
        let mut coefficient = vec![0.0; n * width];
        for tap in 0..width {
            let value = |s: f64| semicircle((s + 1.0) / 2.0 + tap as f64 - width as f64 / 2.0, width, beta);
            for (power, c) in monomials(n, value).into_iter().enumerate() {
                coefficient[power * width + tap] = c;
            }
        }
        Kernel { width, coefficient, degree }
    }

    /// Number of cells the kernel covers in one dimension.
    pub fn width(&self) -> usize {
        self.width
    }

    /// First cell and the kernel's values at it and the following ones, for a point at `x` cells.
    #[inline]
    pub(super) fn taps<const W: usize>(&self, x: f64) -> (i64, [f64; W]) {
        let first = (x - W as f64 / 2.0).ceil();
        let s = 2.0 * (first - x + W as f64 / 2.0) - 1.0;
        let mut value = [0.0; W];
        for power in (0..=self.degree).rev() {
            let c = &self.coefficient[power * W..(power + 1) * W];
            for (v, c) in value.iter_mut().zip(c) {
                *v = *v * s + c;
            }
        }
        (first as i64, value)
    }

    /// What an image must be divided by after gridding: the kernel's Fourier transform at pixels -n/2 .. n/2-1 of `n_grid`.
    pub fn correction(&self, n: usize, n_grid: usize) -> Vec<f64> {
        let (node, weight) = gauss_legendre(24);
        let w = self.width as f64;
        let mut sample = Vec::with_capacity(self.width * node.len());
        for (s, g) in node.iter().zip(&weight) {
            for tap in 0..self.width {
                let value = (0..=self.degree).rev().fold(0.0, |v, power| v * s + self.coefficient[power * self.width + tap]);
                sample.push(((s + 1.0) / 2.0 + tap as f64 - w / 2.0, 0.5 * g * value));
            }
        }
        let transform = |pixel: f64| sample.iter().map(|(x, v)| v * (2.0 * PI * x * pixel / n_grid as f64).cos()).sum::<f64>();
        (0..n).map(|i| transform(i as f64 - (n / 2) as f64)).collect()
    }
}

fn semicircle(x: f64, width: usize, beta: f64) -> f64 {
    let z = 2.0 * x / width as f64;
    (beta * ((1.0 - z * z).max(0.0).sqrt() - 1.0)).exp()
}

/// Coefficients of 1, s, s², ... of the Chebyshev interpolant of `f` on [-1, 1].
pub(super) fn monomials(n: usize, f: impl Fn(f64) -> f64) -> Vec<f64> {
    let angle = |j: usize| PI * (j as f64 + 0.5) / n as f64;
    let value: Vec<f64> = (0..n).map(|j| f(angle(j).cos())).collect();
    let chebyshev = |k: usize| {
        let sum: f64 = value.iter().enumerate().map(|(j, v)| v * (k as f64 * angle(j)).cos()).sum();
        sum * if k == 0 { 1.0 } else { 2.0 } / n as f64
    };
    // T(k+1) = 2 s T(k) - T(k-1)
    let (mut before, mut now) = (vec![0.0; n], vec![0.0; n]);
    now[0] = 1.0;
    let mut out = vec![0.0; n];
    for k in 0..n {
        let c = chebyshev(k);
        out.iter_mut().zip(&now).for_each(|(o, t)| *o += c * t);
        let factor = if k == 0 { 1.0 } else { 2.0 };
        let next: Vec<f64> = (0..n).map(|i| factor * if i > 0 { now[i - 1] } else { 0.0 } - if k == 0 { 0.0 } else { before[i] }).collect();
        before = now;
        now = next;
    }
    out
}

/// Nodes and weights of Gauss-Legendre quadrature on [-1, 1].
pub(super) fn gauss_legendre(n: usize) -> (Vec<f64>, Vec<f64>) {
    let legendre = |x: f64| {
        let (mut p0, mut p1) = (1.0, x);
        for k in 2..=n {
            let p2 = ((2 * k - 1) as f64 * x * p1 - (k - 1) as f64 * p0) / k as f64;
            (p0, p1) = (p1, p2);
        }
        (p1, n as f64 * (x * p1 - p0) / (x * x - 1.0))
    };
    (0..n)
        .map(|i| {
            let mut x = (PI * (i as f64 + 0.75) / (n as f64 + 0.5)).cos();
            for _ in 0..8 {
                let (p, dp) = legendre(x);
                x -= p / dp;
            }
            let (_, dp) = legendre(x);
            (x, 2.0 / ((1.0 - x * x) * dp * dp))
        })
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_polynomials_follow_the_kernel() {
        let kernel = Kernel::for_accuracy(1e-10).unwrap();
        assert_eq!(kernel.width(), 12);
        let beta = 0.976 * PI * 12.0 * 0.75;
        for i in 0..50 {
            let x = 7.3 + i as f64 * 0.02;
            let (first, taps) = kernel.taps::<12>(x);
            for (k, t) in taps.iter().enumerate() {
                let exact = semicircle(first as f64 + k as f64 - x, 12, beta);
                assert!((t - exact).abs() < 1e-11, "{x} {k}: {t} {exact}");
            }
        }
    }

    #[test]
    fn gauss_legendre_integrates_polynomials() {
        let (x, w) = gauss_legendre(5);
        let sum: f64 = x.iter().zip(&w).map(|(x, w)| w * x.powi(8)).sum();
        assert!((sum - 2.0 / 9.0).abs() < 1e-15);
    }

    #[test]
    fn an_accuracy_out_of_reach_is_refused() {
        assert_eq!(Kernel::for_accuracy(1e-20).unwrap_err(), GridError::Accuracy { accuracy: 1e-20 });
    }
}
