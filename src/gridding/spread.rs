//! The inner loops: from samples to cells and from cells to samples.
//!
//! One body is compiled for each kernel width, precision and instruction set. Cells of complex grids are interleaved, so a
//! row of the kernel is a few fused multiply-adds on contiguous numbers.

use num_complex::Complex;

use super::shape::Taps;
use super::simd::Vector;
use super::tiles::{Run, Track};
use super::{Float, Samples};

/// What the inner loops read.
pub struct Job<'a, T> {
    pub(super) samples: Samples<'a, T>,
    pub(super) track: &'a [Track],
    pub(super) taps: &'a Taps<T>,
    pub(super) x_shift: f64,
    pub(super) y_shift: f64,
    /// Cells in a stored row.
    pub(super) stride: usize,
    /// Stored row at which the cells given to the loop begin.
    pub(super) first_row: usize,
}

/// First cell in x and y of a sample's kernel, and its place between cells.
struct Place<T> {
    column: usize,
    row: usize,
    sx: T,
    sy: T,
}

impl<T: Float> Job<'_, T> {
    #[inline(always)]
    fn place(&self, track: &Track, freq_hz: f64) -> Place<T> {
        let x = track.x_per_hz * freq_hz + self.x_shift;
        let y = track.y_per_hz * freq_hz + self.y_shift;
        let (column, row) = (x as i32, y as i32);
        let s = |cell: i32, at: f64| T::of(2.0 * (f64::from(cell) - at) + 1.0);
        Place { column: column as usize, row: row as usize - self.first_row, sx: s(column, x), sy: s(row, y) }
    }

    /// Cells from the first to one past the last that a kernel touches, padding included.
    #[inline(always)]
    fn reach<V: Vector<T = T>, const W: usize, const N: usize>(&self) -> usize {
        assert!(self.taps.width == W && self.taps.padded == N * V::LANES);
        (W - 1) * self.stride + N * V::LANES
    }

    /// Values of the kernel along y, one by one.
    #[inline(always)]
    unsafe fn row_taps<V: Vector<T = T>, const W: usize, const N: usize>(&self, s: T) -> [T; 16] {
        let mut out = [T::zero(); 16];
        const { assert!(N * V::LANES <= 16) };
        unsafe {
            for (i, v) in taps::<V, W, N>(self.taps.coefficient.as_ptr(), s).into_iter().enumerate() {
                v.store(out.as_mut_ptr().add(i * V::LANES));
            }
        }
        out
    }
}

/// Values of the kernel at the taps, in `N` vectors.
#[inline(always)]
unsafe fn taps<V: Vector, const W: usize, const N: usize>(coefficient: *const V::T, s: V::T) -> [V; N] {
    unsafe {
        // Loops, not closures: a closure that is not inlined loses the instructions of its function, and each of its vectors
        // becomes a call (three times slower).
        let s = V::splat(s);
        let mut value = [s; N];
        for i in 0..N {
            value[i] = V::load(coefficient.add(i * V::LANES));
        }
        for power in 1..=W {
            for i in 0..N {
                value[i] = value[i].madd(s, V::load(coefficient.add((power * N + i) * V::LANES)));
            }
        }
        value
    }
}

/// Adds the runs to `cells` (complex) and, where given, their weights alone to `psf` (real).
///
/// SAFETY: the processor has the instructions of `V`; the kernel has `W` taps padded to `N` vectors.
#[inline(always)]
unsafe fn spread_body<V: Vector, const W: usize, const N: usize>(
    job: &Job<V::T>,
    runs: &[Run],
    vis: Option<&[Complex<V::T>]>,
    cells: &mut [Complex<V::T>],
    psf: Option<&mut [V::T]>,
) {
    unsafe {
        match (vis, psf) {
            (Some(vis), None) => spread_what::<V, W, N, true, false>(job, runs, vis, cells, &mut []),
            (Some(vis), Some(psf)) => spread_what::<V, W, N, true, true>(job, runs, vis, cells, psf),
            (None, Some(psf)) => spread_what::<V, W, N, false, true>(job, runs, &[], cells, psf),
            (None, None) => {}
        }
    }
}

#[inline(always)]
unsafe fn spread_what<V: Vector, const W: usize, const N: usize, const VIS: bool, const PSF: bool>(
    job: &Job<V::T>,
    runs: &[Run],
    vis: &[Complex<V::T>],
    cells: &mut [Complex<V::T>],
    psf: &mut [V::T],
) {
    let (n_chan, freq) = (job.samples.n_chan(), job.samples.freq_hz);
    let reach = job.reach::<V, W, N>();
    let (zero, one) = (V::T::of(0.0), V::T::of(1.0));
    let coefficient = job.taps.coefficient.as_ptr();
    for run in runs {
        let track = &job.track[run.row as usize];
        let (start, end) = (run.start as usize, run.end as usize);
        let first = run.row as usize * n_chan;
        let weight = &job.samples.weight[first + start..first + end];
        let freq = &freq[start..end];
        let vis: &[Complex<V::T>] = if VIS { &vis[first + start..first + end] } else { &[] };
        let conjugate = if track.mirrored { -one } else { one };
        for i_chan in 0..freq.len() {
            let w = weight[i_chan];
            if w == zero {
                continue;
            }
            let place = job.place(track, freq[i_chan]);
            let at = place.row * job.stride + place.column;
            assert!((!VIS || at + reach <= cells.len()) && (!PSF || at + reach <= psf.len()), "a kernel reaches beyond its plane");
            // SAFETY: the last cell that the loops below touch is at + reach - 1, checked above.
            unsafe {
                let kx = taps::<V, W, N>(coefficient, place.sx);
                let ky = job.row_taps::<V, W, N>(place.sy);
                if VIS {
                    let value = V::pair(w * vis[i_chan].re, w * vis[i_chan].im * conjugate);
                    let pair = value;
                    let mut value = [[pair; 2]; N];
                    for i in 0..N {
                        let [low, high] = kx[i].doubled();
                        value[i] = [low.mul(pair), high.mul(pair)];
                    }
                    let mut row = cells.as_mut_ptr().add(at).cast::<V::T>();
                    for ky in ky.iter().take(W) {
                        let ky = V::splat(*ky);
                        for (i, value) in value.as_flattened().iter().enumerate() {
                            let cell = row.add(i * V::LANES);
                            value.madd(ky, V::load(cell)).store(cell);
                        }
                        row = row.add(2 * job.stride);
                    }
                }
                if PSF {
                    let mut value = kx;
                    for i in 0..N {
                        value[i] = kx[i].mul(V::splat(w));
                    }
                    let mut row = psf.as_mut_ptr().add(at);
                    for ky in ky.iter().take(W) {
                        let ky = V::splat(*ky);
                        for (i, value) in value.iter().enumerate() {
                            let cell = row.add(i * V::LANES);
                            value.madd(ky, V::load(cell)).store(cell);
                        }
                        row = row.add(job.stride);
                    }
                }
            }
        }
    }
}

/// Reads the runs' visibilities off `cells` and puts them into `vis`; samples of weight 0 are left as they are.
///
/// SAFETY: as for [`spread_body`].
#[inline(always)]
unsafe fn gather_body<V: Vector, const W: usize, const N: usize>(
    job: &Job<V::T>,
    runs: &[Run],
    cells: &[Complex<V::T>],
    first_row: usize,
    vis: &mut [Complex<V::T>],
) {
    let (n_chan, freq) = (job.samples.n_chan(), job.samples.freq_hz);
    let reach = job.reach::<V, W, N>();
    let zero = V::T::of(0.0);
    let coefficient = job.taps.coefficient.as_ptr();
    for run in runs {
        let track = &job.track[run.row as usize];
        let (start, end) = (run.start as usize, run.end as usize);
        let weight = &job.samples.weight[run.row as usize * n_chan..][start..end];
        let out = &mut vis[(run.row as usize - first_row) * n_chan..][start..end];
        let freq = &freq[start..end];
        for i_chan in 0..freq.len() {
            if weight[i_chan] == zero {
                continue;
            }
            let place = job.place(track, freq[i_chan]);
            let at = place.row * job.stride + place.column;
            assert!(at + reach <= cells.len(), "a kernel reaches beyond its plane");
            // SAFETY: the last cell that the loops below touch is at + reach - 1, checked above.
            let (re, im) = unsafe {
                let kx = taps::<V, W, N>(coefficient, place.sx);
                let ky = job.row_taps::<V, W, N>(place.sy);
                let mut sum = [[V::splat(zero); 2]; N];
                let mut row = cells.as_ptr().add(at).cast::<V::T>();
                for ky in ky.iter().take(W) {
                    let ky = V::splat(*ky);
                    for (i, sum) in sum.as_flattened_mut().iter_mut().enumerate() {
                        *sum = V::load(row.add(i * V::LANES)).madd(ky, *sum);
                    }
                    row = row.add(2 * job.stride);
                }
                let mut total = V::splat(zero);
                for (kx, sum) in kx.iter().zip(&sum) {
                    let [low, high] = kx.doubled();
                    total = low.madd(sum[0], high.madd(sum[1], total));
                }
                total.sum_pairs()
            };
            out[i_chan] = Complex::new(re, if track.mirrored { -im } else { im });
        }
    }
}

type SpreadFn<T> = fn(&Job<T>, &[Run], Option<&[Complex<T>]>, &mut [Complex<T>], Option<&mut [T]>);
type GatherFn<T> = fn(&Job<T>, &[Run], &[Complex<T>], usize, &mut [Complex<T>]);

/// The two loops, for one kernel width, precision and instruction set.
#[derive(Clone, Copy)]
pub struct Loops<T> {
    pub(super) spread: SpreadFn<T>,
    pub(super) gather: GatherFn<T>,
}

impl<T> std::fmt::Debug for Loops<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Loops")
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::*;

    #[target_feature(enable = "avx2,fma")]
    unsafe fn spread_with<V: Vector, const W: usize, const N: usize>(
        job: &Job<V::T>,
        runs: &[Run],
        vis: Option<&[Complex<V::T>]>,
        cells: &mut [Complex<V::T>],
        psf: Option<&mut [V::T]>,
    ) {
        unsafe { spread_body::<V, W, N>(job, runs, vis, cells, psf) }
    }
    #[target_feature(enable = "avx2,fma")]
    unsafe fn gather_with<V: Vector, const W: usize, const N: usize>(
        job: &Job<V::T>,
        runs: &[Run],
        cells: &[Complex<V::T>],
        first_row: usize,
        vis: &mut [Complex<V::T>],
    ) {
        unsafe { gather_body::<V, W, N>(job, runs, cells, first_row, vis) }
    }

    pub fn loops_of_width<V: Vector, const W: usize, const N: usize>() -> Loops<V::T> {
        if !(std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")) {
            return plain_loops();
        }
        Loops {
            // SAFETY: the instructions are there, as was just seen.
            spread: |job, runs, vis, cells, psf| unsafe { spread_with::<V, W, N>(job, runs, vis, cells, psf) },
            gather: |job, runs, cells, first_row, vis| unsafe { gather_with::<V, W, N>(job, runs, cells, first_row, vis) },
        }
    }
}

/// The same for any kernel width: for processors without the instructions above, and to check them by.
mod plain {
    use super::*;

    fn taps<T: Float>(taps: &Taps<T>, s: T, out: &mut [T]) {
        out.fill(T::zero());
        for c in taps.coefficient.chunks(taps.padded) {
            out.iter_mut().zip(c).for_each(|(v, c)| *v = *v * s + *c);
        }
    }

    pub fn spread<T: Float>(job: &Job<T>, runs: &[Run], vis: Option<&[Complex<T>]>, cells: &mut [Complex<T>], mut psf: Option<&mut [T]>) {
        let (mut kx, mut ky) = ([T::zero(); 16], [T::zero(); 16]);
        let (width, n_chan) = (job.taps.width, job.samples.n_chan());
        for run in runs {
            let track = &job.track[run.row as usize];
            for chan in run.start as usize..run.end as usize {
                let i = run.row as usize * n_chan + chan;
                let weight = job.samples.weight[i];
                let place = job.place(track, job.samples.freq_hz[chan]);
                taps(job.taps, place.sx, &mut kx[..job.taps.padded]);
                taps(job.taps, place.sy, &mut ky[..job.taps.padded]);
                for (k, ky) in ky.iter().enumerate().take(width) {
                    let from = (place.row + k) * job.stride + place.column;
                    if let Some(vis) = vis {
                        let v = vis[i] * weight * *ky;
                        let v = if track.mirrored { v.conj() } else { v };
                        cells[from..from + width].iter_mut().zip(&kx).for_each(|(c, kx)| *c = *c + v * *kx);
                    }
                    if let Some(psf) = &mut psf {
                        psf[from..from + width].iter_mut().zip(&kx).for_each(|(c, kx)| *c = *c + weight * *ky * *kx);
                    }
                }
            }
        }
    }

    pub fn gather<T: Float>(job: &Job<T>, runs: &[Run], cells: &[Complex<T>], first_row: usize, vis: &mut [Complex<T>]) {
        let (mut kx, mut ky) = ([T::zero(); 16], [T::zero(); 16]);
        let (width, n_chan) = (job.taps.width, job.samples.n_chan());
        for run in runs {
            let track = &job.track[run.row as usize];
            for chan in run.start as usize..run.end as usize {
                if job.samples.weight[run.row as usize * n_chan + chan] == T::zero() {
                    continue;
                }
                let place = job.place(track, job.samples.freq_hz[chan]);
                taps(job.taps, place.sx, &mut kx[..job.taps.padded]);
                taps(job.taps, place.sy, &mut ky[..job.taps.padded]);
                let mut sum = Complex::new(T::zero(), T::zero());
                for (k, ky) in ky.iter().enumerate().take(width) {
                    let from = (place.row + k) * job.stride + place.column;
                    cells[from..from + width].iter().zip(&kx).for_each(|(c, kx)| sum = sum + *c * (*kx * *ky));
                }
                vis[(run.row as usize - first_row) * n_chan + chan] = if track.mirrored { sum.conj() } else { sum };
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
use {
    std::arch::x86_64::{__m256 as F32s, __m256d as F64s},
    x86::loops_of_width,
};

#[cfg(not(target_arch = "x86_64"))]
type F32s = super::simd::Portable<f32, 8>;
#[cfg(not(target_arch = "x86_64"))]
type F64s = super::simd::Portable<f64, 4>;

#[cfg(any(test, not(target_arch = "x86_64")))]
fn portable_loops<V: Vector, const W: usize, const N: usize>() -> Loops<V::T> {
    Loops {
        // SAFETY: arrays need no particular instructions.
        spread: |job, runs, vis, cells, psf| unsafe { spread_body::<V, W, N>(job, runs, vis, cells, psf) },
        gather: |job, runs, cells, first_row, vis| unsafe { gather_body::<V, W, N>(job, runs, cells, first_row, vis) },
    }
}
#[cfg(not(target_arch = "x86_64"))]
use portable_loops as loops_of_width;

/// Portable vectors for a kernel of 8 cells, to test them on processors that do not use them.
#[cfg(test)]
pub(super) fn portable_loops_8() -> Loops<f64> {
    portable_loops::<super::simd::Portable<f64, 4>, 8, 2>()
}

/// The loops that need no particular instructions.
pub(super) fn plain_loops<T: Float>() -> Loops<T> {
    Loops { spread: plain::spread::<T>, gather: plain::gather::<T> }
}

/// Kernel widths that are compiled, and their loops; each costs seconds of compilation.
pub trait Compiled: Sized {
    #[doc(hidden)]
    const LANES: usize;
    #[doc(hidden)]
    const WIDTHS: &'static [usize];
    #[doc(hidden)]
    fn loops(width: usize) -> Loops<Self>;
}

impl Compiled for f32 {
    const LANES: usize = F32s::LANES;
    const WIDTHS: &'static [usize] = &[4, 5, 6, 7, 8, 10];

    fn loops(width: usize) -> Loops<f32> {
        match width {
            4 => loops_of_width::<F32s, 4, 1>(),
            5 => loops_of_width::<F32s, 5, 1>(),
            6 => loops_of_width::<F32s, 6, 1>(),
            7 => loops_of_width::<F32s, 7, 1>(),
            8 => loops_of_width::<F32s, 8, 1>(),
            10 => loops_of_width::<F32s, 10, 2>(),
            _ => plain_loops(),
        }
    }
}

impl Compiled for f64 {
    const LANES: usize = F64s::LANES;
    const WIDTHS: &'static [usize] = &[4, 5, 6, 7, 8, 10, 12, 14, 16];

    fn loops(width: usize) -> Loops<f64> {
        match width {
            4 => loops_of_width::<F64s, 4, 1>(),
            5 => loops_of_width::<F64s, 5, 2>(),
            6 => loops_of_width::<F64s, 6, 2>(),
            7 => loops_of_width::<F64s, 7, 2>(),
            8 => loops_of_width::<F64s, 8, 2>(),
            10 => loops_of_width::<F64s, 10, 3>(),
            12 => loops_of_width::<F64s, 12, 3>(),
            14 => loops_of_width::<F64s, 14, 4>(),
            16 => loops_of_width::<F64s, 16, 4>(),
            _ => plain_loops(),
        }
    }
}
