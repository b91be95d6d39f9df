//! Which convolution kernel reaches a given accuracy, and its values.
//!
//! φ(x) = exp(β w ((1 − (2x/w)²)^μ − 1)) for |x| <= w/2 cells: the "exponential of semicircle" of Barnett, Magland &
//! af Klinteberg (2019, SISC 41, C479) with the exponent freed as by Arras et al. (2021, A&A 646, A58). β and μ of the
//! table minimise the aliasing averaged over the image, found here by direct search; `tests::the_table_is_true`
//! computes the third number anew.

use std::f64::consts::PI;

use super::kernel::{gauss_legendre, monomials};
use super::{Float, GridError};

/// (width, β, μ, rms over the image of the aliased part in one dimension) for one ratio of grid to image.
type Row = (usize, f64, f64, f64);

#[rustfmt::skip]
const SIGMA_2: [Row; 14] = [
    (3, 1.6968, 0.5970, 3.9e-3), (4, 1.9350, 0.5453, 4.2e-4), (5, 2.0504, 0.5274, 4.3e-5), (6, 2.1135, 0.5197, 4.4e-6),
    (7, 2.1583, 0.5149, 4.5e-7), (8, 2.1956, 0.5113, 4.7e-8), (9, 2.2258, 0.5087, 4.7e-9), (10, 2.2512, 0.5066, 4.9e-10),
    (11, 2.2788, 0.5045, 5.2e-11), (12, 2.3051, 0.5025, 5.7e-12), (13, 2.2535, 0.5063, 6.4e-13), (14, 2.2660, 0.5053, 7e-14),
    (15, 2.2748, 0.5046, 2.7e-14), (16, 2.1844, 0.5105, 3.4e-14),
];
#[rustfmt::skip]
const SIGMA_1_5: [Row; 12] = [
    (3, 1.4205, 0.6177, 1.0e-2), (4, 1.6401, 0.5593, 1.5e-3), (5, 1.7476, 0.5377, 2.1e-4), (6, 1.8295, 0.5251, 3.1e-5),
    (7, 1.8802, 0.5188, 4.4e-6), (8, 1.9304, 0.5131, 6.6e-7), (9, 1.9701, 0.5091, 9.8e-8), (10, 2.0080, 0.5055, 1.5e-8),
    (11, 2.0462, 0.5020, 2.3e-9), (12, 1.9691, 0.5091, 4.6e-10), (14, 2.0062, 0.5060, 7.7e-12), (16, 1.9600, 0.5101, 4.5e-13),
];
#[rustfmt::skip]
const SIGMA_1_25: [Row; 9] = [
    (5, 1.5214, 0.5465, 1.1e-3), (6, 1.5984, 0.5319, 2.2e-4), (7, 1.6623, 0.5223, 4.7e-5), (8, 1.7112, 0.5160, 8.9e-6),
    (9, 1.7672, 0.5093, 2.0e-6), (10, 1.8122, 0.5043, 4.2e-7), (12, 1.7548, 0.5107, 3.4e-8), (14, 1.8366, 0.4967, 1.7e-9),
    (16, 2.0817, 0.4761, 7.0e-10),
];

/// Ratio of the side of the Fourier grid to that of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Oversampling {
    /// 2: the narrowest kernels, best while visibilities outnumber pixels.
    Two,
    /// 1.5.
    OneAndHalf,
    /// 1.25: the smallest grids, for large images of few visibilities.
    OneAndQuarter,
}

impl Oversampling {
    /// The ratio.
    pub fn ratio(self) -> f64 {
        match self {
            Oversampling::Two => 2.0,
            Oversampling::OneAndHalf => 1.5,
            Oversampling::OneAndQuarter => 1.25,
        }
    }
    fn table(self) -> &'static [Row] {
        match self {
            Oversampling::Two => &SIGMA_2,
            Oversampling::OneAndHalf => &SIGMA_1_5,
            Oversampling::OneAndQuarter => &SIGMA_1_25,
        }
    }
}

/// A kernel with the numbers that define it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KernelShape {
    /// Cells it covers in one dimension.
    pub width: usize,
    beta: f64,
    mu: f64,
}

impl KernelShape {
    /// The narrowest kernel of `widths` whose error, relative and averaged over the image, stays below `accuracy` in `n_dim` dimensions.
    pub(super) fn for_accuracy(
        accuracy: f64,
        oversampling: Oversampling,
        n_dim: usize,
        widths: &[usize],
    ) -> Result<KernelShape, GridError> {
        if !(1e-13..=0.1).contains(&accuracy) {
            return Err(GridError::Accuracy { accuracy });
        }
        let limit = accuracy / (n_dim as f64).sqrt();
        let row = oversampling.table().iter().find(|row| row.3 <= limit && widths.contains(&row.0));
        row.map(|&(width, beta, mu, _)| KernelShape { width, beta, mu }).ok_or(GridError::Accuracy { accuracy })
    }

    /// Value at `x` cells from the centre.
    fn value(&self, x: f64) -> f64 {
        let z = 2.0 * x / self.width as f64;
        (self.beta * self.width as f64 * ((1.0 - z * z).max(0.0).powf(self.mu) - 1.0)).exp()
    }

    /// Value at tap `tap`, the point lying (1-s)/2 cells before the first tap counted from the edge of the kernel.
    fn tap(&self, tap: usize, s: f64) -> f64 {
        self.value((s + 1.0) / 2.0 + tap as f64 - self.width as f64 / 2.0)
    }
}

/// A kernel as one polynomial of degree `width` in s ∈ (-1, 1] for each tap; taps are padded with zeros to `padded`.
///
/// Gridding and correction use the same polynomials, so that the correction is exact for what is gridded.
#[derive(Debug, Clone)]
pub(super) struct Taps<T> {
    pub width: usize,
    pub padded: usize,
    /// From the highest power to the constant, [power][padded].
    pub coefficient: Vec<T>,
    exact: Vec<f64>,
}

impl<T: Float> Taps<T> {
    pub fn new(shape: KernelShape) -> Taps<T> {
        let (width, padded) = (shape.width, shape.width.div_ceil(T::LANES) * T::LANES);
        let n = width + 1;
        let mut exact = vec![0.0; n * padded];
        for tap in 0..width {
            for (power, c) in monomials(n, |s| shape.tap(tap, s)).into_iter().enumerate() {
                exact[(n - 1 - power) * padded + tap] = c;
            }
        }
        Taps { width, padded, coefficient: exact.iter().map(|c| T::of(*c)).collect(), exact }
    }

    /// The kernel's Fourier transform at these frequencies, cycles per cell: what an image is divided by.
    pub fn transform(&self, frequency: impl Iterator<Item = f64>) -> Vec<f64> {
        let (node, weight) = gauss_legendre(24);
        let mut sample = Vec::with_capacity(self.width * node.len());
        for (s, g) in node.iter().zip(&weight) {
            for tap in 0..self.width {
                let value = self.exact.chunks(self.padded).fold(0.0, |v, c| v * s + c[tap]);
                sample.push(((s + 1.0) / 2.0 + tap as f64 - self.width as f64 / 2.0, 0.5 * g * value));
            }
        }
        frequency.map(|f| sample.iter().map(|(x, v)| v * (2.0 * PI * x * f).cos()).sum()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// rms over the image of the aliases, from the transform of the polynomials that are really used.
    fn aliasing(shape: KernelShape, ratio: f64) -> f64 {
        let taps = Taps::<f64>::new(shape);
        let pixel: Vec<f64> = (0..17).map(|i| 0.5 / ratio * i as f64 / 16.0).collect();
        let main = taps.transform(pixel.iter().copied());
        let alias = |f: f64| {
            // The polynomials are not exactly even, so both parts of the transform count.
            taps.transform((-6..=6).filter(|m| *m != 0).map(|m| f + m as f64)).iter().map(|a| a * a).sum::<f64>()
        };
        let mean = pixel.iter().zip(&main).map(|(f, m)| alias(*f) / (m * m)).sum::<f64>() / pixel.len() as f64;
        mean.sqrt()
    }

    /// The error column, which chooses the kernel, is not below the aliasing of the kernel.
    #[test]
    fn the_table_is_true() {
        for oversampling in [Oversampling::Two, Oversampling::OneAndHalf, Oversampling::OneAndQuarter] {
            for &(width, beta, mu, error) in oversampling.table() {
                let found = aliasing(KernelShape { width, beta, mu }, oversampling.ratio());
                assert!(found < 1.05 * error + 2e-14, "{oversampling:?} {width}: {found:e}, table {error:e}");
            }
        }
    }

    #[test]
    fn an_accuracy_out_of_reach_is_refused() {
        assert!(KernelShape::for_accuracy(1e-20, Oversampling::Two, 2, &[16]).is_err());
        assert!(KernelShape::for_accuracy(1e-12, Oversampling::OneAndQuarter, 2, &[16]).is_err());
        assert_eq!(KernelShape::for_accuracy(1e-4, Oversampling::Two, 2, &[4, 6, 8]).unwrap().width, 6);
    }
}
