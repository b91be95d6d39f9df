//! Two-dimensional Fourier transforms of real images.
//!
//! Columns are gathered in strips of 16, so that each cache line is used whole; transposing whole arrays costs 1.5-2 times as much.

use std::sync::Arc;

use num_complex::Complex;
use rayon::prelude::*;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use rustfft::{Fft, FftNum, FftPlanner};

const STRIP: usize = 16;
/// Below this many cells threads cost more than they give.
const PARALLEL_CELLS: usize = 1 << 16;

/// The smallest even number not below `n` with no prime factor above 7.
pub fn good_size(n: usize) -> usize {
    let smooth = |mut k: usize| {
        for p in [2, 3, 5, 7] {
            while k.is_multiple_of(p) {
                k /= p;
            }
        }
        k == 1
    };
    (n.max(2)..).find(|k| k % 2 == 0 && smooth(*k)).unwrap_or(n)
}

/// A plan for real images of `ny` x `nx` pixels, x running fastest.
///
/// `forward`: F(q,p) = Σ f(y,x) exp(-2πi(qy/ny + px/nx)) for p = 0 ..= nx/2; `inverse` is the unscaled sum with the other sign.
#[derive(Clone)]
pub struct RealFft2<T: FftNum> {
    ny: usize,
    nx: usize,
    row_forward: Arc<dyn RealToComplex<T>>,
    row_inverse: Arc<dyn ComplexToReal<T>>,
    column_forward: Arc<dyn Fft<T>>,
    column_inverse: Arc<dyn Fft<T>>,
}

impl<T: FftNum> std::fmt::Debug for RealFft2<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RealFft2({} x {})", self.ny, self.nx)
    }
}

impl<T: FftNum> RealFft2<T> {
    /// Plans transforms of `ny` x `nx` pixels; `nx` must be even.
    pub fn new(ny: usize, nx: usize) -> RealFft2<T> {
        let (mut real, mut complex) = (RealFftPlanner::new(), FftPlanner::new());
        RealFft2 {
            ny,
            nx,
            row_forward: real.plan_fft_forward(nx),
            row_inverse: real.plan_fft_inverse(nx),
            column_forward: complex.plan_fft_forward(ny),
            column_inverse: complex.plan_fft_inverse(ny),
        }
    }

    /// Columns of the transformed array, nx/2 + 1.
    pub fn n_columns(&self) -> usize {
        self.nx / 2 + 1
    }

    /// Transforms `image` (destroyed) into `spectrum`; rows for which `row_is_empty` holds are known to be zero.
    pub fn forward(&self, image: &mut [T], spectrum: &mut [Complex<T>], row_is_empty: impl Fn(usize) -> bool + Sync) {
        let nc = self.n_columns();
        let zero = Complex::new(T::zero(), T::zero());
        let transform = |scratch: &mut Vec<Complex<T>>, y: usize, image: &mut [T], out: &mut [Complex<T>]| {
            if row_is_empty(y) {
                out.fill(zero);
            } else {
                // The lengths are those of the plan, the only thing that can be wrong.
                self.row_forward.process_with_scratch(image, out, scratch).expect("row lengths match the plan");
            }
        };
        let scratch = || self.row_forward.make_scratch_vec();
        if self.is_large() {
            image
                .par_chunks_mut(self.nx)
                .zip(spectrum.par_chunks_mut(nc))
                .enumerate()
                .for_each_init(scratch, |s, (y, (i, o))| transform(s, y, i, o));
        } else {
            let mut s = scratch();
            image.chunks_mut(self.nx).zip(spectrum.chunks_mut(nc)).enumerate().for_each(|(y, (i, o))| transform(&mut s, y, i, o));
        }
        self.columns(spectrum, &self.column_forward);
    }

    /// Transforms `spectrum` (destroyed) into `image`; rows for which `row_is_unused` holds are left as they are.
    pub fn inverse(&self, spectrum: &mut [Complex<T>], image: &mut [T], row_is_unused: impl Fn(usize) -> bool + Sync) {
        let nc = self.n_columns();
        self.columns(spectrum, &self.column_inverse);
        let transform = |scratch: &mut Vec<Complex<T>>, y: usize, spectrum: &mut [Complex<T>], out: &mut [T]| {
            if !row_is_unused(y) {
                // Rounding leaves imaginary parts in the two self-conjugate columns; realfft calls that an error.
                spectrum[0].im = T::zero();
                spectrum[nc - 1].im = T::zero();
                self.row_inverse.process_with_scratch(spectrum, out, scratch).expect("row lengths match the plan");
            }
        };
        let scratch = || self.row_inverse.make_scratch_vec();
        if self.is_large() {
            spectrum
                .par_chunks_mut(nc)
                .zip(image.par_chunks_mut(self.nx))
                .enumerate()
                .for_each_init(scratch, |s, (y, (i, o))| transform(s, y, i, o));
        } else {
            let mut s = scratch();
            spectrum.chunks_mut(nc).zip(image.chunks_mut(self.nx)).enumerate().for_each(|(y, (i, o))| transform(&mut s, y, i, o));
        }
    }

    fn is_large(&self) -> bool {
        self.nx * self.ny >= PARALLEL_CELLS
    }

    fn columns(&self, data: &mut [Complex<T>], fft: &Arc<dyn Fft<T>>) {
        let (nc, ny) = (self.n_columns(), self.ny);
        assert_eq!(data.len(), nc * ny);
        let shared = SharedCells { start: data.as_mut_ptr() };
        let zero = Complex::new(T::zero(), T::zero());
        let buffers = || (vec![zero; STRIP * ny], vec![zero; fft.get_inplace_scratch_len()]);
        let strip = |(buffer, scratch): &mut (Vec<Complex<T>>, Vec<Complex<T>>), i: usize| {
            let (first, n) = (i * STRIP, STRIP.min(nc - i * STRIP));
            // SAFETY: strip i reads and writes columns first .. first+n of every row only; strips are disjoint and
            // the array outlives the loop.
            for y in 0..ny {
                for x in 0..n {
                    buffer[x * ny + y] = unsafe { *shared.cell(y * nc + first + x) };
                }
            }
            fft.process_with_scratch(&mut buffer[..n * ny], scratch);
            for y in 0..ny {
                for x in 0..n {
                    unsafe { *shared.cell(y * nc + first + x) = buffer[x * ny + y] };
                }
            }
        };
        let n_strips = nc.div_ceil(STRIP);
        if self.is_large() {
            (0..n_strips).into_par_iter().for_each_init(buffers, strip);
        } else {
            let mut b = buffers();
            (0..n_strips).for_each(|i| strip(&mut b, i));
        }
    }
}

/// Cells of an array that several threads write, each its own.
struct SharedCells<T> {
    start: *mut T,
}

unsafe impl<T: Send> Sync for SharedCells<T> {}

impl<T> SharedCells<T> {
    /// SAFETY: `i` is inside the array, and no other thread uses the same cell meanwhile.
    unsafe fn cell(&self, i: usize) -> *mut T {
        unsafe { self.start.add(i) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_even_and_smooth() {
        assert_eq!([1, 7, 11, 97, 180, 2049].map(good_size), [2, 8, 12, 98, 180, 2058]);
    }

    /// Against the sum itself, for sizes below and above the threshold of threads.
    #[test]
    fn the_transform_is_the_sum_and_comes_back() {
        for (ny, nx) in [(6, 10), (30, 14), (300, 256)] {
            let fft = RealFft2::<f64>::new(ny, nx);
            let image: Vec<f64> = (0..ny * nx).map(|i| ((i * 7919) % 101) as f64 - 50.0).collect();
            let mut spectrum = vec![Complex::default(); ny * fft.n_columns()];
            fft.forward(&mut image.clone(), &mut spectrum, |_| false);
            for (q, p) in [(0, 0), (1, 2), (ny - 1, nx / 2), (ny / 2, 1)] {
                let mut sum = Complex::new(0.0, 0.0);
                for y in 0..ny {
                    for x in 0..nx {
                        let turns = (q * y) as f64 / ny as f64 + (p * x) as f64 / nx as f64;
                        sum += image[y * nx + x] * Complex::cis(-std::f64::consts::TAU * turns);
                    }
                }
                assert!((sum - spectrum[q * fft.n_columns() + p]).norm() < 1e-8, "{ny} {nx} {q} {p}");
            }
            let mut back = vec![0.0; ny * nx];
            fft.inverse(&mut spectrum, &mut back, |_| false);
            for (a, b) in image.iter().zip(&back) {
                assert!((a - b / (nx * ny) as f64).abs() < 1e-11);
            }
        }
    }
}
