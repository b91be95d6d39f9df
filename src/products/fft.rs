//! Convolution of real planes with a symmetric kernel, by zero-padded FFT.

use std::sync::Arc;

use ndarray::{Array2, ArrayView2};
use num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use rustfft::{Fft, FftNum, FftPlanner};

/// Columns that are transformed together: one cache line of f32 pairs, twice.
const STRIP: usize = 16;

/// Plans for planes of one size; shared by threads.
pub(super) struct Convolver<T: FftNum> {
    ny: usize,
    nx: usize,
    rows: usize,
    columns: usize,
    forward_row: Arc<dyn RealToComplex<T>>,
    inverse_row: Arc<dyn ComplexToReal<T>>,
    forward_column: Arc<dyn Fft<T>>,
    inverse_column: Arc<dyn Fft<T>>,
}

/// Buffers of one thread.
pub(super) struct Workspace<T> {
    line: Vec<T>,
    half: Vec<Complex<T>>,
    strip: Vec<Complex<T>>,
    scratch: Vec<Complex<T>>,
}

/// The transform of a kernel that is symmetric about its centre, and so real: `[ky, kx >= 0]`, scaled for the way back.
pub(super) struct KernelTransform<T> {
    values: Vec<T>,
}

impl<T: FftNum> Convolver<T> {
    /// For planes of `ny` x `nx` pixels and kernels that reach `reach` pixels.
    pub(super) fn new(ny: usize, nx: usize, reach: usize) -> Convolver<T> {
        let (rows, columns) = (smooth_size(ny + reach, 1), smooth_size(nx + reach, 2));
        let (mut real, mut complex) = (RealFftPlanner::new(), FftPlanner::new());
        Convolver {
            ny,
            nx,
            rows,
            columns,
            forward_row: real.plan_fft_forward(columns),
            inverse_row: real.plan_fft_inverse(columns),
            forward_column: complex.plan_fft_forward(rows),
            inverse_column: complex.plan_fft_inverse(rows),
        }
    }

    fn n_half(&self) -> usize {
        self.columns / 2 + 1
    }

    pub(super) fn workspace(&self) -> Workspace<T> {
        let zero = Complex::new(T::zero(), T::zero());
        let scratch = [
            self.forward_row.get_scratch_len(),
            self.inverse_row.get_scratch_len(),
            self.forward_column.get_inplace_scratch_len(),
            self.inverse_column.get_inplace_scratch_len(),
        ];
        Workspace {
            line: vec![T::zero(); self.columns],
            half: vec![zero; self.ny * self.n_half()],
            strip: vec![zero; self.rows * STRIP],
            scratch: vec![zero; scratch.into_iter().max().unwrap_or(0)],
        }
    }

    /// The transform of a Gaussian with this inverse covariance in pixels, exact: no sampling of the kernel.
    ///
    /// `covariance` is `[xx, xy, yy]` in pixels². F(u, v) = exp(-2π² (xx u² + 2 xy u v + yy v²)), u and v in cycles a pixel.
    pub(super) fn gaussian(&self, covariance: [f64; 3]) -> KernelTransform<T> {
        let [xx, xy, yy] = covariance;
        let norm = 1.0 / (self.rows * self.columns) as f64;
        let two_pi2 = 2.0 * std::f64::consts::PI * std::f64::consts::PI;
        let n_half = self.n_half();
        let mut values = Vec::with_capacity(self.rows * n_half);
        for j in 0..self.rows {
            let v = (if 2 * j > self.rows { j as f64 - self.rows as f64 } else { j as f64 }) / self.rows as f64;
            for i in 0..n_half {
                let u = i as f64 / self.columns as f64;
                let f = (-two_pi2 * (xx * u * u + 2.0 * xy * u * v + yy * v * v)).exp() * norm;
                values.push(T::from_f64(f).unwrap_or_else(T::zero));
            }
        }
        KernelTransform { values }
    }

    /// The transform of a kernel given on pixels `-reach ..= reach`, `[dy, dx]`, symmetric and of sum 1.
    pub(super) fn sampled(&self, kernel: &Array2<f64>, workspace: &mut Workspace<T>) -> KernelTransform<T> {
        let (hy, hx) = (kernel.nrows() / 2, kernel.ncols() / 2);
        let n_half = self.n_half();
        let mut full = vec![T::zero(); self.rows * self.columns];
        for ((j, i), w) in kernel.indexed_iter() {
            let y = (j + self.rows - hy % self.rows) % self.rows;
            let x = (i + self.columns - hx % self.columns) % self.columns;
            full[y * self.columns + x] = full[y * self.columns + x] + T::from_f64(*w).unwrap_or_else(T::zero);
        }
        let zero = Complex::new(T::zero(), T::zero());
        let mut half = vec![zero; self.rows * n_half];
        for (line, out) in full.chunks_exact_mut(self.columns).zip(half.chunks_exact_mut(n_half)) {
            // Lengths come from the plan itself, so the transform cannot refuse them.
            let _ = self.forward_row.process_with_scratch(line, out, &mut workspace.scratch);
        }
        let norm = T::from_f64(1.0 / (self.rows * self.columns) as f64).unwrap_or_else(T::zero);
        let mut values = vec![T::zero(); self.rows * n_half];
        let mut column = vec![zero; self.rows];
        for i in 0..n_half {
            column.iter_mut().enumerate().for_each(|(j, c)| *c = half[j * n_half + i]);
            self.forward_column.process_with_scratch(&mut column, &mut workspace.scratch);
            column.iter().enumerate().for_each(|(j, c)| values[j * n_half + i] = c.re * norm);
        }
        KernelTransform { values }
    }

    /// The convolution of a plane of ones.
    pub(super) fn of_ones(&self, kernel: &KernelTransform<T>, w: &mut Workspace<T>) -> Vec<T> {
        let mut out = vec![T::zero(); self.ny * self.nx];
        self.convolve(Array2::ones((self.ny, self.nx)).view(), kernel, w, &mut out);
        out
    }

    /// Convolves a plane; what lies outside counts as 0.
    pub(super) fn convolve(&self, plane: ArrayView2<'_, f32>, kernel: &KernelTransform<T>, w: &mut Workspace<T>, out: &mut [T]) {
        let n_half = self.n_half();
        for (row, half) in plane.rows().into_iter().zip(w.half.chunks_exact_mut(n_half)) {
            for (l, v) in w.line.iter_mut().zip(row.iter().map(|v| T::from_f32(*v).unwrap_or_else(T::zero))) {
                *l = v;
            }
            w.line[self.nx..].fill(T::zero());
            let _ = self.forward_row.process_with_scratch(&mut w.line, half, &mut w.scratch);
        }
        for i0 in (0..n_half).step_by(STRIP) {
            self.columns_there_and_back(i0, STRIP.min(n_half - i0), kernel, w);
        }
        for (half, row) in w.half.chunks_exact_mut(n_half).zip(out.chunks_exact_mut(self.nx)) {
            // A real transform asks for real ends; rounding leaves them a trace.
            half[0].im = T::zero();
            if self.columns % 2 == 0 {
                half[n_half - 1].im = T::zero();
            }
            let _ = self.inverse_row.process_with_scratch(half, &mut w.line, &mut w.scratch);
            row.copy_from_slice(&w.line[..self.nx]);
        }
    }

    /// Columns `i0 .. i0 + n`: gathered, transformed, multiplied, transformed back, and the rows of the image put back.
    fn columns_there_and_back(&self, i0: usize, n: usize, kernel: &KernelTransform<T>, w: &mut Workspace<T>) {
        let (n_half, rows) = (self.n_half(), self.rows);
        let zero = Complex::new(T::zero(), T::zero());
        for j in 0..self.ny {
            for k in 0..n {
                w.strip[k * rows + j] = w.half[j * n_half + i0 + k];
            }
        }
        for k in 0..n {
            let column = &mut w.strip[k * rows..(k + 1) * rows];
            column[self.ny..].fill(zero);
            self.forward_column.process_with_scratch(column, &mut w.scratch);
            for (j, c) in column.iter_mut().enumerate() {
                *c = *c * kernel.values[j * n_half + i0 + k];
            }
            self.inverse_column.process_with_scratch(column, &mut w.scratch);
        }
        for j in 0..self.ny {
            for k in 0..n {
                w.half[j * n_half + i0 + k] = w.strip[k * rows + j];
            }
        }
    }
}

/// The smallest number not below `n` that is a multiple of `multiple` and has only the factors 2, 3 and 5.
fn smooth_size(n: usize, multiple: usize) -> usize {
    let is_smooth = |mut m: usize| {
        for f in [2, 3, 5] {
            while m % f == 0 {
                m /= f;
            }
        }
        m == 1
    };
    (n.max(1)..).find(|m| m % multiple == 0 && is_smooth(*m)).unwrap_or(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The FFT gives the sum that defines a convolution, for odd and even sizes, to rounding.
    #[test]
    fn an_fft_convolution_is_the_sum_that_defines_it() {
        for (ny, nx) in [(7, 9), (16, 10), (33, 34)] {
            let plane = Array2::from_shape_fn((ny, nx), |(y, x)| ((y * 7 + x * 13) % 11) as f32 - 5.0);
            let kernel = Array2::from_shape_fn((7, 5), |(j, i)| {
                let (j, i) = (j as f64 - 3.0, i as f64 - 2.0);
                (-(j * j + i * i + 0.7 * i * j) / 4.0).exp()
            });
            let c = Convolver::<f64>::new(ny, nx, 3);
            let mut w = c.workspace();
            let transform = c.sampled(&kernel, &mut w);
            let mut out = vec![0.0; ny * nx];
            c.convolve(plane.view(), &transform, &mut w, &mut out);
            for y in 0..ny as i64 {
                for x in 0..nx as i64 {
                    let mut sum = 0.0;
                    for ((j, i), k) in kernel.indexed_iter() {
                        let (yy, xx) = (y - (j as i64 - 3), x - (i as i64 - 2));
                        if (0..ny as i64).contains(&yy) && (0..nx as i64).contains(&xx) {
                            sum += k * f64::from(plane[[yy as usize, xx as usize]]);
                        }
                    }
                    assert!((out[(y as usize) * nx + x as usize] - sum).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn sizes_have_small_factors() {
        assert_eq!((smooth_size(577, 1), smooth_size(7, 2), smooth_size(512, 2)), (600, 8, 512));
    }
}
