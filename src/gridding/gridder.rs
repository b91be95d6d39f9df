//! Gridding and degridding of streamed visibilities.
//!
//! [`Gridder::add`] takes block after block; [`Gridder::image`] ends with the transform. [`Gridder::prepare`] and
//! [`Gridder::predict`] are the adjoint way. Bits do not depend on the number of threads.

use num_complex::Complex;
use rayon::prelude::*;

use super::plane::{Extent, Layout, NEVER, PlaneFft, Stop};
use super::shape::{KernelShape, Oversampling, Taps};
use super::spread::{Job, Loops};
use super::tiles::{Frame, Run, TILE, Tiled, Track, runs_of, tiled};
use super::{Float, GridError, Samples, good_size};

/// Rows that one task degrids at least, and samples that it degrids at most: many in one piece find the same cells in the cache
/// (4096 rows of 8 channels at once: 26 Mvis/s).
const CHUNK_ROWS: usize = 4096;
const CHUNK_SAMPLES: usize = 1 << 19;
/// Samples that are sorted and gridded together: more no longer fit into the cache (4 million at once: 13 Mvis/s instead of 45).
const ADD_SAMPLES: usize = 1 << 18;

/// Time of a sample beside that of its kernel, and of a cell of the grid, over that of one vector of a kernel (1 ns on a processor of
/// 2023).
const SAMPLE_COST: f64 = 7.0;
const CELL_COST: f64 = 4.0;
/// Images with more pixels a side leave no memory for grids of twice, or of one and a half times, their side.
const LARGE: usize = 2100;
const HUGE: usize = 4200;

/// The pixels of an image: l = -(x - center.0) cell, m = (y - center.1) cell.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Geometry {
    /// Pixels along x, against right ascension.
    pub nx: usize,
    /// Pixels along y, with declination.
    pub ny: usize,
    /// Side of a pixel, rad.
    pub cell_rad: f64,
    /// 0-based pixel of the phase center; need not be whole.
    pub center: (f64, f64),
}

impl Geometry {
    /// An image centred as FITS users and CASA expect it: the phase center in 0-based pixel (nx/2, ny/2).
    pub fn centered(nx: usize, ny: usize, cell_rad: f64) -> Geometry {
        Geometry { nx, ny, cell_rad, center: ((nx / 2) as f64, (ny / 2) as f64) }
    }
    /// Longest baseline that the cell can represent, wavelengths.
    pub fn max_uv_lambda(&self) -> f64 {
        0.5 / self.cell_rad
    }
}

/// A plan for one image geometry, accuracy and precision.
#[derive(Debug, Clone)]
pub struct Gridder<T: Float> {
    geometry: Geometry,
    taps: Taps<T>,
    loops: Loops<T>,
    fft: PlaneFft<T>,
}

/// A Fourier plane that visibilities are added to, with the plane of their weights where the PSF is wanted.
#[derive(Debug, Clone)]
pub struct UvPlane<T> {
    cells: Vec<Complex<T>>,
    psf: Vec<T>,
    reach: Reach,
    /// Sum of the weights added.
    pub sum_weight: f64,
    /// Samples with a weight that the cell is too coarse for; they were left out.
    pub n_outside: u64,
}

impl<T: Float> UvPlane<T>
where
    Complex<T>: bytemuck::Pod,
{
    /// Makes the plane empty again.
    pub fn clear(&mut self) {
        bytemuck::fill_zeroes(&mut self.cells);
        bytemuck::fill_zeroes(&mut self.psf);
        (self.reach, self.sum_weight, self.n_outside) = (Reach::default(), 0.0, 0);
    }
}

/// Largest coordinates of any sample, cells from the origin.
#[derive(Debug, Clone, Copy, Default)]
struct Reach {
    x: f64,
    y: f64,
}

impl Reach {
    fn with(self, other: Reach) -> Reach {
        Reach { x: self.x.max(other.x), y: self.y.max(other.y) }
    }
}

/// What a plane should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Visibilities.
    Vis,
    /// Weights: the PSF.
    Psf,
    /// Both, gridded together.
    VisAndPsf,
}

impl<T: Float> Gridder<T>
where
    Complex<T>: bytemuck::Pod,
{
    /// Plans for an error, relative to the image and averaged over it, below `accuracy` (single precision: down to 1e-6).
    pub fn new(geometry: Geometry, accuracy: f64, oversampling: Oversampling) -> Result<Gridder<T>, GridError> {
        let Geometry { nx, ny, .. } = geometry;
        if nx == 0 || ny == 0 || nx > 1 << 17 || ny > 1 << 17 {
            return Err(GridError::ImageSize { nx, ny });
        }
        if !(geometry.cell_rad.is_finite() && geometry.cell_rad > 0.0) {
            return Err(GridError::Cell { cell_rad: geometry.cell_rad });
        }
        let shape = KernelShape::for_accuracy(accuracy, oversampling, 2, T::WIDTHS)?;
        let taps = Taps::new(shape);
        // The accuracy holds to half the image's side about the phase center; off center the side counts from there.
        let side = |n: usize, center: f64| 2.0 * center.max(n as f64 - center).max(0.5 * n as f64);
        let size = |side: f64| good_size(((side * oversampling.ratio()).ceil() as usize).max(2 * taps.padded + 2));
        let (grid_x, grid_y) = (size(side(nx, geometry.center.0)), size(side(ny, geometry.center.1)));
        let layout = Layout::new(grid_x, grid_y, taps.width, taps.padded, TILE);
        let transform = |axis: usize, center: f64| {
            let (n, grid) = [(nx, grid_x), (ny, grid_y)][axis];
            taps.transform((0..n).map(|i| (i as f64 - center) / grid as f64))
        };
        let fft = PlaneFft::new(layout, geometry.center, transform);
        Ok(Gridder { geometry, loops: T::loops(taps.width), taps, fft })
    }

    /// The oversampling that grids and transforms a plane of `n_samples` in the least time: many samples want narrow kernels, many
    /// pixels a small grid.
    pub fn cheapest_oversampling(geometry: &Geometry, accuracy: f64, n_samples: f64) -> Oversampling {
        let cost = |oversampling: &Oversampling| {
            let shape = KernelShape::for_accuracy(accuracy, *oversampling, 2, T::WIDTHS).ok()?;
            let vectors = 2 * shape.width * shape.width.div_ceil(T::LANES);
            let cells = oversampling.ratio().powi(2) * (geometry.nx * geometry.ny) as f64;
            Some(n_samples * (SAMPLE_COST + vectors as f64) + cells * CELL_COST)
        };
        let side = geometry.nx.max(geometry.ny);
        let few = if side > HUGE { 2 } else { usize::from(side > LARGE) };
        let all = [Oversampling::Two, Oversampling::OneAndHalf, Oversampling::OneAndQuarter];
        let costs = all[few..].iter().filter_map(|o| Some((cost(o)?, *o)));
        costs.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(all[few], |(_, o)| o)
    }

    #[cfg(test)]
    pub(super) fn with_loops(mut self, loops: Loops<T>) -> Gridder<T> {
        self.loops = loops;
        self
    }

    /// Pixels of the image.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }
    /// Kernel width, cells.
    pub fn width(&self) -> usize {
        self.taps.width
    }
    /// Bytes that a plane takes.
    pub fn plane_bytes(&self, content: Content) -> usize {
        let cell = size_of::<T>()
            * match content {
                Content::Vis => 2,
                Content::Psf => 1,
                Content::VisAndPsf => 3,
            };
        self.fft.layout.len() * cell
    }

    /// An empty plane.
    pub fn plane(&self, content: Content) -> UvPlane<T> {
        let n = self.fft.layout.len();
        UvPlane {
            cells: if content == Content::Psf { Vec::new() } else { bytemuck::zeroed_vec(n) },
            psf: if content == Content::Vis { Vec::new() } else { bytemuck::zeroed_vec(n) },
            reach: Reach::default(),
            sum_weight: 0.0,
            n_outside: 0,
        }
    }

    /// Adds a block, with several threads; `vis` [row][chan] is `None` for a plane of weights only.
    pub fn add(&self, plane: &mut UvPlane<T>, samples: &Samples<T>, vis: Option<&[Complex<T>]>) -> Result<(), GridError> {
        samples.check(vis)?;
        let n_chan = samples.n_chan();
        let rows = (ADD_SAMPLES / n_chan.max(1)).max(CHUNK_ROWS);
        for first in (0..samples.n_rows()).step_by(rows) {
            let last = (first + rows).min(samples.n_rows());
            self.add_rows(plane, &samples.rows(first..last), vis.map(|v| &v[first * n_chan..last * n_chan]));
        }
        Ok(())
    }

    fn add_rows(&self, plane: &mut UvPlane<T>, samples: &Samples<T>, vis: Option<&[Complex<T>]>) {
        let track = self.tracks(samples);
        let tiled = tiled(samples, &track, &self.frame());
        self.account(plane, samples, &track, &tiled);
        let job = self.job(samples, &track, 0);
        for parity in 0..2 {
            self.spread_bands(&job, &tiled, vis, plane, parity);
        }
    }

    /// Adds a block on the calling thread: for cubes, whose channels are given to the threads.
    pub fn add_alone(&self, plane: &mut UvPlane<T>, samples: &Samples<T>, vis: Option<&[Complex<T>]>) -> Result<(), GridError> {
        samples.check(vis)?;
        let track = self.tracks(samples);
        let (runs, n_outside) = runs_of(samples, 0, &track, &self.frame());
        let runs = in_tile_order(&runs);
        self.account(plane, samples, &track, &Tiled { runs: Vec::new(), band: Vec::new(), n_outside });
        let psf = if plane.psf.is_empty() { None } else { Some(plane.psf.as_mut_slice()) };
        let vis = if plane.cells.is_empty() { None } else { vis };
        (self.loops.spread)(&self.job(samples, &track, 0), &runs, vis, &mut plane.cells, psf);
        Ok(())
    }

    /// The sum Σ w V exp(-2πi(ul + vm)) over all samples, real part, [y][x]; the plane is of no use afterwards until it is
    /// [cleared](UvPlane::clear).
    pub fn image(&self, plane: &mut UvPlane<T>, parallel: bool) -> Vec<T> {
        self.image_about(plane, false, parallel, NEVER)
    }

    /// Like [`image`](Self::image); `whole` puts the phase center on the nearest pixel.
    pub(super) fn image_about(&self, plane: &mut UvPlane<T>, whole: bool, parallel: bool, stop: Stop) -> Vec<T> {
        let mut out = vec![T::zero(); self.geometry.nx * self.geometry.ny];
        self.fft.image(&mut plane.cells, self.extent(plane.reach), whole, parallel, stop, &mut out);
        out
    }

    /// Like [`image`](Self::image), with the sum of the weights alone beside it: Σ w exp(-2πi(ul + vm)), its peak on the pixel
    /// nearest to the phase center.
    pub fn image_and_psf(&self, plane: &mut UvPlane<T>, parallel: bool, stop: Stop) -> (Vec<T>, Vec<T>) {
        let image = if plane.cells.is_empty() { Vec::new() } else { self.image_about(plane, false, parallel, stop) };
        let mut psf = Vec::new();
        if !plane.psf.is_empty() {
            psf = vec![T::zero(); self.geometry.nx * self.geometry.ny];
            self.fft.image(&mut plane.psf, self.extent(plane.reach), true, parallel, stop, &mut psf);
        }
        (image, psf)
    }

    /// The plane of an image, [y][x] in Jy/pixel, to predict visibilities from; `max_uv_lambda` (if known) spares the rest of the plane.
    pub fn prepare(&self, image: &[T], max_uv_lambda: Option<f64>, parallel: bool) -> Result<UvPlane<T>, GridError> {
        self.prepare_until(image, max_uv_lambda, parallel, NEVER)
    }

    /// Like [`prepare`](Self::prepare), unless `stop` becomes true.
    pub fn prepare_until(&self, image: &[T], max_uv_lambda: Option<f64>, parallel: bool, stop: Stop) -> Result<UvPlane<T>, GridError> {
        let expected = self.geometry.nx * self.geometry.ny;
        if image.len() != expected {
            return Err(GridError::Length { what: "image", got: image.len(), expected });
        }
        let mut plane = self.plane(Content::Vis);
        let Layout { grid_x, grid_y, .. } = self.fft.layout;
        let reach = |n: usize| max_uv_lambda.map_or(0.5, |uv| (uv * self.geometry.cell_rad * (1.0 + 1e-9)).min(0.5)) * n as f64;
        plane.reach = Reach { x: reach(grid_x), y: reach(grid_y) };
        self.fft.spectrum(image, self.extent(plane.reach), parallel, stop, &mut plane.cells);
        Ok(plane)
    }

    /// V = Σ I exp(+2πi(ul + vm)) at every sample that has a weight; the others become 0, as do those beyond the grid.
    pub fn predict(&self, plane: &UvPlane<T>, samples: &Samples<T>, vis: &mut [Complex<T>], parallel: bool) -> Result<(), GridError> {
        samples.check(Some(vis))?;
        let n_chan = samples.n_chan();
        let track = self.tracks(samples);
        let frame = self.frame_within(plane.reach);
        // Each visibility is a sum of its own: how rows are shared out among threads does not change its bits.
        let tasks = if parallel { 2 * rayon::current_num_threads() } else { 1 };
        let rows = track.len().div_ceil(tasks).clamp(CHUNK_ROWS, (CHUNK_SAMPLES / n_chan.max(1)).max(CHUNK_ROWS));
        let chunk = |(i, vis): (usize, &mut [Complex<T>])| {
            vis.fill(Complex::new(T::zero(), T::zero()));
            let first = i * rows;
            let last = (first + rows).min(track.len());
            let runs = in_tile_order(&runs_of(samples, first, &track[first..last], &frame).0);
            (self.loops.gather)(&self.job(samples, &track, 0), &runs, &plane.cells, first, vis);
        };
        if n_chan == 0 {
        } else if parallel {
            vis.par_chunks_mut(rows * n_chan).enumerate().for_each(chunk);
        } else {
            vis.chunks_mut(rows * n_chan).enumerate().for_each(chunk);
        }
        Ok(())
    }

    fn tracks(&self, samples: &Samples<T>) -> Vec<Track> {
        let (x, y) = (self.geometry.cell_rad * self.fft.layout.grid_x as f64, self.geometry.cell_rad * self.fft.layout.grid_y as f64);
        let track = |[u, v, _]: &[f64; 3]| {
            let mirrored = *u < 0.0;
            let sign = if mirrored { -1.0 } else { 1.0 };
            // l runs against x, m with y: V exp(-2πi(ul + vm)) = V exp(+2πi(u cell x - v cell y)).
            Track { x_per_hz: sign * u * x, y_per_hz: -sign * v * y, mirrored }
        };
        samples.uvw_s.iter().map(track).collect()
    }

    fn frame(&self) -> Frame {
        let Layout { grid_x, grid_y, .. } = self.fft.layout;
        self.frame_within(Reach { x: 0.5 * grid_x as f64, y: 0.5 * grid_y as f64 })
    }

    fn frame_within(&self, reach: Reach) -> Frame {
        let Layout { rows, stride, .. } = self.fft.layout;
        let (x_shift, y_shift) = self.shifts();
        Frame { x_shift, y_shift, x_max: reach.x, y_max: reach.y, n_columns: stride.div_ceil(TILE), n_bands: rows / TILE - 1 }
    }

    /// Added to coordinates, so that the integer part is the first stored cell of the kernel.
    fn shifts(&self) -> (f64, f64) {
        let first = self.fft.layout.margin as f64 + 1.0 - 0.5 * self.taps.width as f64;
        (first, first + (self.fft.layout.grid_y / 2) as f64)
    }

    fn job<'a>(&'a self, samples: &'a Samples<'a, T>, track: &'a [Track], first_row: usize) -> Job<'a, T> {
        let (x_shift, y_shift) = self.shifts();
        Job { samples: *samples, track, taps: &self.taps, x_shift, y_shift, stride: self.fft.layout.stride, first_row }
    }

    fn spread_bands(&self, job: &Job<T>, tiled: &Tiled, vis: Option<&[Complex<T>]>, plane: &mut UvPlane<T>, parity: usize) {
        let band_cells = TILE * self.fft.layout.stride;
        let n_pairs = tiled.band.len().div_ceil(2) + 1;
        let mut cells = split_bands(&mut plane.cells, parity, band_cells, n_pairs);
        let mut psf = split_bands(&mut plane.psf, parity, band_cells, n_pairs);
        let tasks: Vec<(usize, &mut [Complex<T>], &mut [T])> = (parity..tiled.band.len() - 1)
            .step_by(2)
            .map(|band| (band, cells.next().unwrap_or_default(), psf.next().unwrap_or_default()))
            .filter(|(band, ..)| tiled.band[*band] < tiled.band[band + 1])
            .collect();
        tasks.into_par_iter().with_max_len(1).for_each(|(band, cells, psf)| {
            let runs = &tiled.runs[tiled.band[band]..tiled.band[band + 1]];
            let vis = if cells.is_empty() { None } else { vis };
            let psf = if psf.is_empty() { None } else { Some(psf) };
            (self.loops.spread)(&Job { first_row: band * TILE, ..*job }, runs, vis, cells, psf);
        });
    }

    fn account(&self, plane: &mut UvPlane<T>, samples: &Samples<T>, track: &[Track], tiled: &Tiled) {
        let highest = samples.freq_hz.iter().copied().fold(0.0, f64::max);
        let n_chan = samples.n_chan();
        let used = |i: &usize| samples.weight[i * n_chan..(i + 1) * n_chan].iter().any(|w| *w != T::zero());
        for t in (0..track.len()).filter(used).map(|i| &track[i]) {
            plane.reach = plane.reach.with(Reach { x: t.x_per_hz * highest, y: t.y_per_hz.abs() * highest });
        }
        // In double precision and in fixed pieces: single precision stops counting unit weights at 2^24.
        plane.sum_weight += samples.weight.chunks(1 << 12).map(|c| c.iter().map(|w| w.f64()).sum::<f64>()).sum::<f64>();
        plane.n_outside += tiled.n_outside;
    }

    fn extent(&self, reach: Reach) -> Extent {
        let Layout { grid_x, grid_y, .. } = self.fft.layout;
        let x = reach.x.min(0.5 * grid_x as f64).ceil() as usize;
        let y = reach.y.min(0.5 * grid_y as f64).ceil() as usize;
        let middle = grid_y / 2;
        Extent { columns: x + 1, rows: (middle - y.min(middle), (middle + y + 1).min(grid_y)) }
    }
}

/// Runs tile by tile, and in their order within a tile.
fn in_tile_order(runs: &[(u32, Run)]) -> Vec<Run> {
    // Integers of key and index sort several times faster than runs by their key.
    let mut order: Vec<u64> = runs.iter().enumerate().map(|(i, (key, _))| u64::from(*key) << 32 | i as u64).collect();
    order.sort_unstable();
    order.into_iter().map(|k| runs[k as u32 as usize].1).collect()
}

/// Slices of two bands each, beginning with band `parity`; none where the plane does not exist.
fn split_bands<C>(cells: &mut [C], parity: usize, band_cells: usize, n: usize) -> impl Iterator<Item = &mut [C]> {
    let from = (parity * band_cells).min(cells.len());
    cells[from..].chunks_mut(2 * band_cells).take(n)
}
