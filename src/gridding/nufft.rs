//! The nonuniform Fourier transform of a real image: exact sums over pixels to a stated accuracy.
//!
//! After Barnett, Magland & af Klinteberg 2019 (SISC 41, C479): divide by the kernel's transform, FFT on a grid of twice
//! the size, interpolate. The image is real, so only the half-plane u >= 0 is kept and points with u < 0 are conjugated.

use num_complex::Complex64;
use rayon::prelude::*;

use super::kernel::{Kernel, OVERSAMPLING};
use super::{GridError, RealFft2, good_size};

/// Fewer taps than this in all are not worth starting threads for.
const PARALLEL_TAPS: usize = 1 << 19;

/// A plan for fixed points and a fixed image size.
///
/// Pixel (y, x) of an image of `ny` x `nx` lies at l = x - nx/2 (east), m = y - ny/2 (north), in pixels; points are in
/// cycles per pixel, u_lambda * pixel_rad.
#[derive(Debug, Clone)]
pub struct Nufft {
    ny: usize,
    nx: usize,
    grid_y: usize,
    grid_x: usize,
    kernel: Kernel,
    correction_y: Vec<f64>,
    correction_x: Vec<f64>,
    fft: RealFft2<f64>,
    /// Points in the order of their place on the grid.
    point: Vec<Point>,
    /// Where each strip of grid rows starts in `point`.
    strip: Vec<usize>,
    strip_rows: usize,
}

#[derive(Debug, Clone, Copy)]
struct Point {
    x: f64,
    y: f64,
    index: u32,
    /// The point lay at u < 0.
    mirrored: bool,
}

macro_rules! with_width {
    ($width:expr, $call:ident, $($arg:expr),*) => {
        match $width {
            3 => $call::<3>($($arg),*), 4 => $call::<4>($($arg),*), 5 => $call::<5>($($arg),*), 6 => $call::<6>($($arg),*),
            7 => $call::<7>($($arg),*), 8 => $call::<8>($($arg),*), 9 => $call::<9>($($arg),*), 10 => $call::<10>($($arg),*),
            11 => $call::<11>($($arg),*), 12 => $call::<12>($($arg),*), 13 => $call::<13>($($arg),*), 14 => $call::<14>($($arg),*),
            15 => $call::<15>($($arg),*), _ => $call::<16>($($arg),*),
        }
    };
}

impl Nufft {
    /// Plans transforms between an image of `ny` x `nx` pixels and the points (u, v), in cycles per pixel.
    ///
    /// `accuracy` is the error relative to Σ|values|, 1e-1 to 1e-13.
    pub fn new(u: &[f64], v: &[f64], ny: usize, nx: usize, accuracy: f64) -> Result<Nufft, GridError> {
        if ny < 2 || nx < 2 || ny % 2 != 0 || nx % 2 != 0 {
            return Err(GridError::ImageSize { nx, ny });
        }
        if u.len() != v.len() {
            return Err(GridError::Length { what: "v", got: v.len(), expected: u.len() });
        }
        if let Some(index) = u.iter().zip(v).position(|(u, v)| !(u.is_finite() && v.is_finite())) {
            return Err(GridError::NotFinite { index });
        }
        let kernel = Kernel::for_accuracy(accuracy)?;
        let grid_size = |n: usize| good_size(((n as f64 * OVERSAMPLING) as usize).max(2 * kernel.width()));
        let (grid_y, grid_x) = (grid_size(ny), grid_size(nx));
        let strip_rows = kernel.width().max(16);
        let (point, strip) = sort_points(u, v, grid_y, grid_x, strip_rows);
        Ok(Nufft {
            ny,
            nx,
            grid_y,
            grid_x,
            correction_y: kernel.correction(ny, grid_y),
            correction_x: kernel.correction(nx, grid_x),
            fft: RealFft2::new(grid_y, grid_x),
            kernel,
            point,
            strip,
            strip_rows,
        })
    }

    /// Number of points.
    pub fn n_points(&self) -> usize {
        self.point.len()
    }

    /// V = Σ I exp(+2πi(ul + vm)) at every point.
    pub fn degrid(&self, image: &[f64]) -> Result<Vec<Complex64>, GridError> {
        check_length("image", image.len(), self.ny * self.nx)?;
        let mut padded = vec![0.0; self.grid_y * self.grid_x];
        for (y, row) in image.chunks(self.nx).enumerate() {
            let out = &mut padded[self.grid_row(y) * self.grid_x..][..self.grid_x];
            for (x, value) in row.iter().enumerate() {
                out[self.grid_column(x)] = value / (self.correction_y[y] * self.correction_x[x]);
            }
        }
        let mut spectrum = vec![Complex64::default(); self.grid_y * self.fft.n_columns()];
        self.fft.forward(&mut padded, &mut spectrum, |row| !self.is_image_row(row));
        let extended = self.extend(&spectrum);
        let mut vis = vec![Complex64::default(); self.point.len()];
        with_width!(self.kernel.width(), interpolate, self, &extended, &mut vis);
        Ok(vis)
    }

    /// I(l,m) = Re Σ V exp(-2πi(ul + vm)) over the points: the adjoint of [`degrid`](Nufft::degrid).
    pub fn grid(&self, vis: &[Complex64]) -> Result<Vec<f64>, GridError> {
        check_length("visibilities", vis.len(), self.point.len())?;
        let mut extended = vec![Complex64::default(); self.extended_rows() * self.extended_columns()];
        with_width!(self.kernel.width(), spread, self, vis, &mut extended);
        let mut spectrum = self.fold(&extended);
        let mut padded = vec![0.0; self.grid_y * self.grid_x];
        self.fft.inverse(&mut spectrum, &mut padded, |row| !self.is_image_row(row));
        let mut image = vec![0.0; self.ny * self.nx];
        for (y, row) in image.chunks_mut(self.nx).enumerate() {
            let from = &padded[self.grid_row(y) * self.grid_x..][..self.grid_x];
            for (x, value) in row.iter_mut().enumerate() {
                *value = from[self.grid_column(x)] / (self.correction_y[y] * self.correction_x[x]);
            }
        }
        Ok(image)
    }

    fn grid_row(&self, y: usize) -> usize {
        (y + self.grid_y - self.ny / 2) % self.grid_y
    }
    fn grid_column(&self, x: usize) -> usize {
        (x + self.grid_x - self.nx / 2) % self.grid_x
    }
    fn is_image_row(&self, row: usize) -> bool {
        row < self.ny / 2 || row >= self.grid_y - self.ny / 2
    }
    /// The grid with the margin that the kernel needs beyond v = -1/2, 1/2 and u = 0, 1/2 cycles per pixel.
    fn extended_rows(&self) -> usize {
        self.grid_y + self.kernel.width()
    }
    fn extended_columns(&self) -> usize {
        self.grid_x / 2 + 2 + self.kernel.width()
    }

    /// For each cell of a row of the extended grid: column in the half-plane and whether it is the mirrored cell's conjugate.
    fn half_plane_column(&self, extended: usize) -> (usize, bool) {
        let (column, half) = (extended as i64 - (self.kernel.width() / 2) as i64, (self.grid_x / 2) as i64);
        match column {
            c if c < 0 => (-c as usize, true),
            c if c > half => ((2 * half - c) as usize, true),
            c => (c as usize, false),
        }
    }
    fn half_plane_row(&self, extended: usize) -> (usize, usize) {
        let row = (extended + self.grid_y - self.kernel.width() / 2) % self.grid_y;
        (row, (self.grid_y - row) % self.grid_y)
    }

    fn extend(&self, spectrum: &[Complex64]) -> Vec<Complex64> {
        let (nc, ne) = (self.fft.n_columns(), self.extended_columns());
        let mut extended = vec![Complex64::default(); self.extended_rows() * ne];
        for (er, out) in extended.chunks_mut(ne).enumerate() {
            let (row, mirror) = self.half_plane_row(er);
            for (ec, cell) in out.iter_mut().enumerate() {
                *cell = match self.half_plane_column(ec) {
                    (c, false) => spectrum[row * nc + c],
                    (c, true) => spectrum[mirror * nc + c].conj(),
                };
            }
        }
        extended
    }

    fn fold(&self, extended: &[Complex64]) -> Vec<Complex64> {
        let (nc, ne) = (self.fft.n_columns(), self.extended_columns());
        let mut spectrum = vec![Complex64::default(); self.grid_y * nc];
        for (er, cells) in extended.chunks(ne).enumerate() {
            let (row, mirror) = self.half_plane_row(er);
            for (ec, cell) in cells.iter().enumerate() {
                let half = 0.5 * cell;
                let (c, is_mirror) = self.half_plane_column(ec);
                if is_mirror {
                    spectrum[mirror * nc + c] += half.conj();
                } else {
                    spectrum[row * nc + c] += half;
                    // The two self-conjugate columns hold both halves themselves.
                    if c == 0 || c == nc - 1 {
                        spectrum[mirror * nc + c] += half.conj();
                    }
                }
            }
        }
        spectrum
    }
}

fn check_length(what: &'static str, got: usize, expected: usize) -> Result<(), GridError> {
    if got == expected { Ok(()) } else { Err(GridError::Length { what, got, expected }) }
}

/// Folds the points to u >= 0 and orders them by strips of rows, within a strip by columns: neighbours share cache lines.
fn sort_points(u: &[f64], v: &[f64], grid_y: usize, grid_x: usize, strip_rows: usize) -> (Vec<Point>, Vec<usize>) {
    let place = |cycles: f64, n: usize| {
        let x = (cycles - cycles.floor()) * n as f64;
        if x < n as f64 { x } else { 0.0 }
    };
    let mut point: Vec<Point> = (0..u.len())
        .map(|i| {
            // Within [-1/2, 1/2): a coordinate beyond is its own alias.
            let wrapped = u[i] - (u[i] + 0.5).floor();
            let mirrored = wrapped < 0.0;
            let sign = if mirrored { -1.0 } else { 1.0 };
            Point { x: wrapped.abs() * grid_x as f64, y: place(sign * v[i], grid_y), index: i as u32, mirrored }
        })
        .collect();
    let of_point = |p: &Point| (p.y as usize / strip_rows, p.x as usize / 16);
    point.sort_by_key(|p| of_point(p));
    let n_strips = grid_y.div_ceil(strip_rows);
    let strip = (0..=n_strips).map(|s| point.partition_point(|p| of_point(p).0 < s)).collect();
    (point, strip)
}

fn interpolate<const W: usize>(plan: &Nufft, extended: &[Complex64], vis: &mut [Complex64]) {
    let (ne, margin) = (plan.extended_columns(), (W / 2) as i64);
    let value = |p: &Point| {
        let (row, wy) = plan.kernel.taps::<W>(p.y);
        let (column, wx) = plan.kernel.taps::<W>(p.x);
        let start = (row + margin) as usize * ne + (column + margin) as usize;
        let mut sum = Complex64::default();
        for (k, wy) in wy.iter().enumerate() {
            let cells = &extended[start + k * ne..start + k * ne + W];
            let (mut re, mut im) = (0.0, 0.0);
            for i in 0..W {
                re += cells[i].re * wx[i];
                im += cells[i].im * wx[i];
            }
            sum += Complex64::new(re * wy, im * wy);
        }
        if p.mirrored { sum } else { sum.conj() }
    };
    if plan.point.len() * W * W < PARALLEL_TAPS {
        plan.point.iter().for_each(|p| vis[p.index as usize] = value(p));
    } else {
        let sorted: Vec<Complex64> = plan.point.par_iter().map(value).collect();
        plan.point.iter().zip(sorted).for_each(|(p, v)| vis[p.index as usize] = v);
    }
}

/// Strips of one parity touch different rows, so they are spread at the same time: first the even ones, then the odd ones.
fn spread<const W: usize>(plan: &Nufft, vis: &[Complex64], extended: &mut [Complex64]) {
    let (ne, margin) = (plan.extended_columns(), (W / 2) as i64);
    let n_strips = plan.strip.len() - 1;
    let spread_strip = |i_strip: usize, rows: &mut [Complex64]| {
        let first_row = (i_strip * plan.strip_rows) as i64;
        for p in &plan.point[plan.strip[i_strip]..plan.strip[i_strip + 1]] {
            let v = vis[p.index as usize];
            let v = if p.mirrored { v } else { v.conj() };
            let (row, wy) = plan.kernel.taps::<W>(p.y);
            let (column, wx) = plan.kernel.taps::<W>(p.x);
            let start = (row + margin - first_row) as usize * ne + (column + margin) as usize;
            for (k, wy) in wy.iter().enumerate() {
                let cells = &mut rows[start + k * ne..start + k * ne + W];
                let (re, im) = (v.re * wy, v.im * wy);
                for i in 0..W {
                    cells[i].re += re * wx[i];
                    cells[i].im += im * wx[i];
                }
            }
        }
    };
    let pair = 2 * plan.strip_rows * ne;
    for parity in 0..2 {
        let rows = &mut extended[(parity * plan.strip_rows * ne).min(plan.extended_rows() * ne)..];
        let strips = rows.chunks_mut(pair).enumerate().map(|(i, rows)| (2 * i + parity, rows)).filter(|(i, _)| *i < n_strips);
        if plan.point.len() * W * W < PARALLEL_TAPS {
            strips.for_each(|(i, rows)| spread_strip(i, rows));
        } else {
            strips.collect::<Vec<_>>().into_par_iter().for_each(|(i, rows)| spread_strip(i, rows));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use std::f64::consts::TAU;

    fn points(n: usize, seed: u64) -> (Vec<f64>, Vec<f64>, Vec<Complex64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut coordinate = || (0..n).map(|_| rng.random_range(-0.5..0.5)).collect::<Vec<f64>>();
        let (u, v, re, im) = (coordinate(), coordinate(), coordinate(), coordinate());
        (u, v, re.into_iter().zip(im).map(|(a, b)| Complex64::new(a, b)).collect())
    }

    fn image(n: usize) -> Vec<f64> {
        (0..n).map(|i| ((i * 7919) % 1009) as f64 / 1009.0 - 0.4).collect()
    }

    fn dft(image: &[f64], ny: usize, nx: usize, u: f64, v: f64) -> Complex64 {
        let mut sum = Complex64::default();
        for y in 0..ny {
            for x in 0..nx {
                let turns = u * (x as f64 - (nx / 2) as f64) + v * (y as f64 - (ny / 2) as f64);
                sum += image[y * nx + x] * Complex64::cis(TAU * turns);
            }
        }
        sum
    }

    /// The error of degridding stays below the accuracy asked for, relative to Σ|I|, at every kernel width.
    #[test]
    fn degridding_is_the_sum_over_pixels() {
        let (ny, nx) = (38, 24);
        let image = image(ny * nx);
        let total: f64 = image.iter().map(|x| x.abs()).sum();
        let (mut u, mut v, _) = points(60, 1);
        // Places where the half-plane folds.
        u.extend([0.0, -0.5, 0.0, 0.5, 1e-9, -1e-9, 0.499999, -0.499999]);
        v.extend([0.0, 0.3, -0.5, 0.5, 0.499999, -0.499999, 0.0, 0.25]);
        for accuracy in [1e-2, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12] {
            let vis = Nufft::new(&u, &v, ny, nx, accuracy).unwrap().degrid(&image).unwrap();
            let worst = (0..u.len()).map(|i| (vis[i] - dft(&image, ny, nx, u[i], v[i])).norm() / total).fold(0.0, f64::max);
            assert!(worst < accuracy, "{accuracy:e}: {worst:e}");
        }
    }

    /// <G x, y> = <x, G* y> to rounding, for small and threaded sizes.
    #[test]
    fn gridding_is_the_adjoint_of_degridding() {
        for (n, ny, nx) in [(50, 16, 20), (20_000, 120, 90)] {
            let (u, v, y) = points(n, 2);
            let plan = Nufft::new(&u, &v, ny, nx, 1e-9).unwrap();
            let x = image(ny * nx);
            let left: f64 = plan.degrid(&x).unwrap().iter().zip(&y).map(|(a, b)| (a * b.conj()).re).sum();
            let right: f64 = plan.grid(&y).unwrap().iter().zip(&x).map(|(a, b)| a * b).sum();
            assert!((left - right).abs() < 1e-12 * left.abs().max(n as f64), "{left} {right}");
        }
    }

    #[test]
    fn the_bits_do_not_depend_on_the_number_of_threads() {
        let (u, v, y) = points(30_000, 3);
        let plan = Nufft::new(&u, &v, 150, 130, 1e-8).unwrap();
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| (plan.grid(&y).unwrap(), plan.degrid(&image(150 * 130)).unwrap()))
        };
        assert_eq!(on(1), on(2));
    }

    #[test]
    fn wrong_input_is_refused_in_words() {
        assert_eq!(Nufft::new(&[f64::NAN], &[0.0], 8, 8, 1e-6).unwrap_err(), GridError::NotFinite { index: 0 });
        assert_eq!(Nufft::new(&[0.1], &[0.0], 7, 8, 1e-6).unwrap_err(), GridError::ImageSize { nx: 8, ny: 7 });
        let plan = Nufft::new(&[0.1], &[0.0], 8, 8, 1e-6).unwrap();
        assert!(plan.degrid(&[0.0; 3]).unwrap_err().to_string().contains("64 are needed"));
    }
}
