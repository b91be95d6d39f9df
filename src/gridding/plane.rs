//! Planes of the Fourier grid and their transforms to images and back.
//!
//! Stored rows run over v, stored columns over u from 0 up; a margin on every side takes the overhang of the kernel and is
//! folded in before, or filled after, the transform. Columns are transformed in strips of 16, so that each cache line is
//! used whole, and only where there are data or image: rows and columns known to be zero are neither read nor computed.

use std::sync::Arc;

use num_complex::Complex;
use rayon::prelude::*;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use rustfft::{Fft, FftPlanner};

use super::Float;

const STRIP: usize = 16;

/// Asked before every strip: once true, the rest is left undone, and the result is of no use.
pub type Stop<'a> = &'a (dyn Fn() -> bool + Sync);

/// Goes on to the end.
pub const NEVER: Stop = &|| false;

/// A number that a plane can hold: visibilities, or weights.
pub(super) trait Cell<T: Float>: Copy + Send + Sync + bytemuck::Pod {
    fn conj(self) -> Self;
    fn plus(self, other: Self) -> Self;
    fn complex(self) -> Complex<T>;
}
impl<T: Float> Cell<T> for Complex<T>
where
    Complex<T>: bytemuck::Pod,
{
    #[inline(always)]
    fn conj(self) -> Self {
        Complex::new(self.re, -self.im)
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self + other
    }
    #[inline(always)]
    fn complex(self) -> Complex<T> {
        self
    }
}
impl<T: Float> Cell<T> for T {
    #[inline(always)]
    fn conj(self) -> Self {
        self
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self + other
    }
    #[inline(always)]
    fn complex(self) -> Complex<T> {
        Complex::new(self, T::zero())
    }
}

/// How the cells of a plane lie in memory, and which of them matter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Layout {
    /// Cells of the periodic grid.
    pub grid_x: usize,
    pub grid_y: usize,
    /// Stored cells before u = 0 and before the lowest v.
    pub margin: usize,
    /// Stored cells in a row, and rows.
    pub stride: usize,
    pub rows: usize,
}

impl Layout {
    /// Room for kernels of `padded` taps on a grid of `grid_x` x `grid_y` cells; `rows` is a multiple of `tile`.
    pub fn new(grid_x: usize, grid_y: usize, width: usize, padded: usize, tile: usize) -> Layout {
        let margin = width.div_ceil(2);
        // Rows start in different cache sets: an odd number of lines of 8 cells.
        let stride = ((grid_x / 2 + 2 * margin + 2 + padded).div_ceil(8)) | 1;
        let rows = ((grid_y + 2 * margin + 2) / tile + 2) * tile;
        Layout { grid_x, grid_y, margin, stride: stride * 8, rows }
    }
    /// Stored cells.
    pub fn len(&self) -> usize {
        self.stride * self.rows
    }
}

/// The part of a plane that is not zero: columns 0 .. columns of u, rows `rows.0 .. rows.1` of v, in cells of the grid, margin included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Extent {
    pub columns: usize,
    pub rows: (usize, usize),
}

/// Transforms between planes and images of fixed sizes.
#[derive(Clone)]
pub(super) struct PlaneFft<T: Float> {
    pub layout: Layout,
    nx: usize,
    ny: usize,
    /// Pixel of the phase center, rounded, and the rest.
    center: [i64; 2],
    fraction: [f64; 2],
    /// What pixels are multiplied by, along x and along y (with the sign that centres the rows).
    scale: [Vec<T>; 2],
    /// The same for images whose center is the whole pixel next to the given one.
    whole_scale: [Vec<T>; 2],
    row_inverse: Arc<dyn ComplexToReal<T>>,
    row_forward: Arc<dyn RealToComplex<T>>,
    column_inverse: Arc<dyn Fft<T>>,
    column_forward: Arc<dyn Fft<T>>,
}

impl<T: Float> std::fmt::Debug for PlaneFft<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PlaneFft({:?})", self.layout)
    }
}

/// Starts threads where the plane is large enough and the caller has none running already.
fn for_each<I, S>(parallel: bool, items: I, state: impl Fn() -> S + Sync + Send, f: impl Fn(&mut S, I::Item) + Sync + Send)
where
    I: IndexedParallelIterator,
{
    if parallel {
        items.for_each_init(state, f);
    } else {
        let mut s = state();
        let f = &f;
        // One task after the other on this thread: rayon's sequential order is not available on its iterators.
        let all: Vec<I::Item> = items.collect();
        all.into_iter().for_each(|item| f(&mut s, item));
    }
}

impl<T: Float> PlaneFft<T>
where
    Complex<T>: bytemuck::Pod,
{
    /// `transform(axis, center)`: the kernel's transform at the pixels along an axis.
    pub fn new(layout: Layout, center: (f64, f64), transform: impl Fn(usize, f64) -> Vec<f64>) -> PlaneFft<T> {
        let (mut real, mut complex) = (RealFftPlanner::new(), FftPlanner::new());
        let rounded = [center.0.round(), center.1.round()];
        let sign = |y: usize| if (y as i64 - rounded[1] as i64) % 2 == 0 { 1.0 } else { -1.0 };
        let scales = |center: [f64; 2]| {
            let along_x: Vec<T> = transform(0, center[0]).into_iter().map(|t| T::of(1.0 / t)).collect();
            let along_y: Vec<T> = transform(1, center[1]).into_iter().enumerate().map(|(y, t)| T::of(sign(y) / t)).collect();
            [along_x, along_y]
        };
        let scale = scales([center.0, center.1]);
        PlaneFft {
            layout,
            nx: scale[0].len(),
            ny: scale[1].len(),
            center: rounded.map(|c| c as i64),
            fraction: [center.0 - rounded[0], center.1 - rounded[1]],
            scale,
            whole_scale: scales(rounded),
            row_inverse: real.plan_fft_inverse(layout.grid_x),
            row_forward: real.plan_fft_forward(layout.grid_x),
            column_inverse: complex.plan_fft_inverse(layout.grid_y),
            column_forward: complex.plan_fft_forward(layout.grid_y),
        }
    }

    /// The sum over the plane, Σ Re(cell · exp(+2πi(cx/Nx + ry/Ny))), over the kernel's transform; destroys the cells.
    ///
    /// `whole` puts the center on the whole pixel next to the given one: PSFs peak on a pixel.
    pub fn image<C: Cell<T>>(&self, cells: &mut [C], extent: Extent, whole: bool, parallel: bool, stop: Stop, out: &mut [T]) {
        if whole || self.fraction == [0.0, 0.0] {
            self.fold(cells, extent);
            let scale = if whole { &self.whole_scale } else { &self.scale };
            self.rows_to_image(&self.columns_to_image(cells, extent, parallel, stop), extent, scale, parallel, stop, out);
        } else {
            let mut cells: Vec<Complex<T>> = cells.iter().map(|c| c.complex()).collect();
            self.shift(&mut cells, -1.0);
            self.fold(&mut cells, extent);
            self.rows_to_image(&self.columns_to_image(&cells, extent, parallel, stop), extent, &self.scale, parallel, stop, out);
        }
    }

    /// Turns phases by the part of the center that is not a whole pixel. Cells beyond the grid's edges are not yet folded or
    /// already filled: their phase is that of their own place, not of the cell that they are an alias of.
    fn shift(&self, cells: &mut [Complex<T>], sign: f64) {
        let Layout { grid_x, grid_y, margin, stride, .. } = self.layout;
        let phase = |i: f64, n: usize, axis: usize| {
            let p = Complex::cis(sign * std::f64::consts::TAU * i * self.fraction[axis] / n as f64);
            Complex::new(T::of(p.re), T::of(p.im))
        };
        let column: Vec<Complex<T>> = (0..stride).map(|c| phase(c as f64 - margin as f64, grid_x, 0)).collect();
        for (row, cells) in cells.chunks_mut(stride).enumerate() {
            let y = phase(row as f64 - (margin + grid_y / 2) as f64, grid_y, 1);
            cells.iter_mut().zip(&column).for_each(|(cell, x)| *cell = *cell * *x * y);
        }
    }

    /// Adds the margins to the cells they stand for.
    fn fold<C: Cell<T>>(&self, cells: &mut [C], extent: Extent) {
        let Layout { grid_x, grid_y, margin, stride, rows } = self.layout;
        let stored_columns = (extent.columns + 2 * margin + 2).min(stride);
        let (first, last) = self.used_rows(extent);
        let wraps = first == 0;
        for row in (0..margin).chain(margin + grid_y..rows).filter(|_| wraps) {
            let to = (row + grid_y - margin) % grid_y + margin;
            for column in 0..stored_columns {
                let value = cells[row * stride + column];
                let cell = &mut cells[to * stride + column];
                *cell = cell.plus(value);
            }
        }
        let mirror = |row: usize| (grid_y - row) % grid_y;
        let first_beyond = margin + grid_x / 2 + 1;
        for row in first..last {
            for column in (0..margin).chain(first_beyond..stored_columns.max(first_beyond)) {
                let to = if column < margin { margin - column } else { grid_x + margin - column };
                let value = cells[(row + margin) * stride + column].conj();
                let cell = &mut cells[(mirror(row) + margin) * stride + margin + to];
                *cell = cell.plus(value);
            }
        }
        for column in [0, grid_x / 2] {
            for row in first..=grid_y / 2 {
                let at = |row: usize| (row + margin) * stride + margin + column;
                let (a, b) = (cells[at(row)], cells[at(mirror(row))]);
                (cells[at(row)], cells[at(mirror(row))]) = (a.plus(b.conj()), b.plus(a.conj()));
            }
        }
    }

    fn n_columns(&self, extent: Extent) -> usize {
        (extent.columns + self.layout.margin + 1).min(self.layout.grid_x / 2 + 1)
    }

    /// Rows that hold data, in cells of the grid: all where the kernel wraps around.
    fn used_rows(&self, extent: Extent) -> (usize, usize) {
        let Layout { grid_y, margin, .. } = self.layout;
        let (from, to) = (extent.rows.0 as i64 - margin as i64 - 1, extent.rows.1 + margin + 1);
        // Near u = 0 rows are mirrored: the range must be symmetric about the middle.
        let from = from.min(grid_y as i64 - to as i64);
        if from < 0 { (0, grid_y) } else { (from as usize, (grid_y - from as usize + 1).min(grid_y)) }
    }

    fn image_row_index(&self, y: usize) -> usize {
        (y as i64 - self.center[1]).rem_euclid(self.layout.grid_y as i64) as usize
    }
    fn image_column_index(&self, x: usize) -> usize {
        (x as i64 - self.center[0]).rem_euclid(self.layout.grid_x as i64) as usize
    }

    /// [column][image row]
    fn columns_to_image<C: Cell<T>>(&self, cells: &[C], extent: Extent, parallel: bool, stop: Stop) -> Vec<Complex<T>> {
        let Layout { grid_y, margin, stride, .. } = self.layout;
        let zero = Complex::new(T::zero(), T::zero());
        let n_columns = self.n_columns(extent);
        let (first, last) = self.used_rows(extent);
        let index: Vec<usize> = (0..self.ny).map(|y| self.image_row_index(y)).collect();
        let mut out: Vec<Complex<T>> = bytemuck::zeroed_vec(n_columns * self.ny);
        let buffers = || (vec![zero; STRIP * grid_y], vec![zero; self.column_inverse.get_inplace_scratch_len()]);
        let items = out.par_chunks_mut(STRIP * self.ny).enumerate();
        for_each(parallel, items, buffers, |(buffer, scratch), (i, out)| {
            if stop() {
                return;
            }
            let (start, n) = (margin + i * STRIP, out.len() / self.ny);
            for column in buffer.chunks_mut(grid_y) {
                column[..first].fill(zero);
                column[last..].fill(zero);
            }
            for row in first..last {
                let from = &cells[(row + margin) * stride + start..][..n];
                for (x, cell) in from.iter().enumerate() {
                    buffer[x * grid_y + row] = cell.complex();
                }
            }
            self.column_inverse.process_with_scratch(&mut buffer[..n * grid_y], scratch);
            for (x, out) in out.chunks_mut(self.ny).enumerate() {
                let column = &buffer[x * grid_y..(x + 1) * grid_y];
                out.iter_mut().zip(&index).for_each(|(o, k)| *o = column[*k]);
            }
        });
        out
    }

    fn rows_to_image(&self, columns: &[Complex<T>], extent: Extent, scale: &[Vec<T>; 2], parallel: bool, stop: Stop, out: &mut [T]) {
        let zero = Complex::new(T::zero(), T::zero());
        let (nx, ny, n_columns) = (self.nx, self.ny, self.n_columns(extent));
        let (grid_x, n_half) = (self.layout.grid_x, self.layout.grid_x / 2 + 1);
        let first = self.image_column_index(0);
        let buffers = || (vec![zero; STRIP * n_half], vec![T::zero(); grid_x], self.row_inverse.make_scratch_vec());
        let items = out.par_chunks_mut(STRIP * nx).enumerate();
        for_each(parallel, items, buffers, |(spectrum, row, scratch), (i, out)| {
            if stop() {
                return;
            }
            let (y0, n) = (i * STRIP, out.len() / nx);
            for (x, column) in columns.chunks(ny).enumerate() {
                for (j, value) in column[y0..y0 + n].iter().enumerate() {
                    spectrum[j * n_half + x] = *value;
                }
            }
            for (j, out) in out.chunks_mut(nx).enumerate() {
                let spectrum = &mut spectrum[j * n_half..(j + 1) * n_half];
                spectrum[n_columns..].fill(zero);
                // Rounding leaves imaginary parts in the two self-conjugate columns; realfft calls that an error.
                spectrum[0].im = T::zero();
                spectrum[n_half - 1].im = T::zero();
                self.row_inverse.process_with_scratch(spectrum, row, scratch).expect("row lengths match the plan");
                // The fold added both halves of the plane.
                let factor = scale[1][y0 + j] * T::of(0.5);
                let mut k = first;
                for (o, s) in out.iter_mut().zip(&scale[0]) {
                    *o = row[k] * *s * factor;
                    k = if k + 1 == grid_x { 0 } else { k + 1 };
                }
            }
        });
    }

    /// The plane of an image divided by the kernel's transform, margins filled: what [`image`](Self::image) is the adjoint of.
    pub fn spectrum(&self, image: &[T], extent: Extent, parallel: bool, stop: Stop, cells: &mut [Complex<T>]) {
        let columns = self.rows_from_image(image, extent, parallel, stop);
        self.columns_from_image(&columns, extent, parallel, stop, cells);
        self.fill_margins(cells, extent);
        if self.fraction != [0.0, 0.0] {
            self.shift(cells, 1.0);
        }
    }

    /// [strip of image rows][column][row in the strip]
    fn rows_from_image(&self, image: &[T], extent: Extent, parallel: bool, stop: Stop) -> Vec<Complex<T>> {
        let zero = Complex::new(T::zero(), T::zero());
        let (nx, ny, n_columns) = (self.nx, self.ny, self.n_columns(extent));
        let (grid_x, n_half) = (self.layout.grid_x, self.layout.grid_x / 2 + 1);
        let first = self.image_column_index(0);
        let mut out: Vec<Complex<T>> = bytemuck::zeroed_vec(ny.div_ceil(STRIP) * n_columns * STRIP);
        let buffers = || (vec![zero; n_half], vec![T::zero(); grid_x], self.row_forward.make_scratch_vec());
        let items = out.par_chunks_mut(n_columns * STRIP).zip(image.par_chunks(STRIP * nx)).enumerate();
        for_each(parallel, items, buffers, |(spectrum, row, scratch), (i, (out, image))| {
            if stop() {
                return;
            }
            for (j, image) in image.chunks(nx).enumerate() {
                row.fill(T::zero());
                let scale = self.scale[1][i * STRIP + j];
                let mut k = first;
                for (v, s) in image.iter().zip(&self.scale[0]) {
                    row[k] = *v * *s * scale;
                    k = if k + 1 == grid_x { 0 } else { k + 1 };
                }
                self.row_forward.process_with_scratch(row, spectrum, scratch).expect("row lengths match the plan");
                for (x, value) in spectrum[..n_columns].iter().enumerate() {
                    out[x * STRIP + j] = *value;
                }
            }
        });
        out
    }

    fn columns_from_image(&self, columns: &[Complex<T>], extent: Extent, parallel: bool, stop: Stop, cells: &mut [Complex<T>]) {
        let Layout { grid_y, margin, stride, .. } = self.layout;
        let zero = Complex::new(T::zero(), T::zero());
        let n_columns = self.n_columns(extent);
        let index: Vec<usize> = (0..self.ny).map(|y| self.image_row_index(y)).collect();
        let shared = SharedCells { start: cells.as_mut_ptr(), len: cells.len() };
        let buffers = || (vec![zero; STRIP * grid_y], vec![zero; self.column_forward.get_inplace_scratch_len()]);
        let items = (0..n_columns.div_ceil(STRIP)).into_par_iter();
        for_each(parallel, items, buffers, |(buffer, scratch), i| {
            if stop() {
                return;
            }
            let (start, n) = (i * STRIP, STRIP.min(n_columns - i * STRIP));
            buffer.fill(zero);
            for (y, k) in index.iter().enumerate() {
                let strip = &columns[(y / STRIP) * n_columns * STRIP + y % STRIP..];
                for x in 0..n {
                    buffer[x * grid_y + k] = strip[(start + x) * STRIP];
                }
            }
            self.column_forward.process_with_scratch(&mut buffer[..n * grid_y], scratch);
            for row in 0..grid_y {
                for x in 0..n {
                    let value = buffer[x * grid_y + row];
                    // SAFETY: strip i writes columns start .. start+n only; strips are disjoint and the array outlives the loop.
                    unsafe { shared.put((row + margin) * stride + margin + start + x, value) };
                }
            }
        });
    }

    fn fill_margins(&self, cells: &mut [Complex<T>], extent: Extent) {
        let Layout { grid_x, grid_y, margin, stride, rows } = self.layout;
        let stored_columns = (extent.columns + 2 * margin + 2).min(stride);
        let first_beyond = margin + grid_x / 2 + 1;
        for row in 0..grid_y {
            let mirror = (grid_y - row) % grid_y;
            for column in (0..margin).chain(first_beyond..stored_columns.max(first_beyond)) {
                let from = if column < margin { margin - column } else { (grid_x + margin).saturating_sub(column) };
                cells[(row + margin) * stride + column] = cells[(mirror + margin) * stride + margin + from].conj();
            }
        }
        for row in (0..margin).chain(margin + grid_y..rows) {
            let from = (row + grid_y - margin) % grid_y + margin;
            cells.copy_within(from * stride..from * stride + stored_columns, row * stride);
        }
    }
}

/// Cells of an array that several threads write, each its own.
struct SharedCells<T> {
    start: *mut T,
    len: usize,
}

unsafe impl<T: Send> Sync for SharedCells<T> {}

impl<T> SharedCells<T> {
    /// SAFETY: no other thread uses the same cell meanwhile.
    #[inline(always)]
    unsafe fn put(&self, i: usize, value: T) {
        assert!(i < self.len);
        unsafe { *self.start.add(i) = value };
    }
}
