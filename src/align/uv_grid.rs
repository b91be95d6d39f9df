//! Visibilities averaged in the cells of a uv grid, with the weighted mean (u,v) of each cell instead of its center.

use ndarray::Array2;
use num_complex::Complex64;

use super::ingest::{BlockTotals, IngestOptions, ingest};
use super::{AlignError, IngestCounts};
use crate::data::VisSource;
use crate::error::Result;
use crate::notice::Reporter;
use crate::options;
use crate::sky::Direction;
use crate::units::{ARCSEC, Angle, C_M_S};

options! {
    /// Options of a uv grid; what is left out is chosen from the data.
    pub struct UvGridOptions {
        /// Pixel of the image that belongs to the grid; the grid reaches to 1/(2 cell). By default just enough for the longest baseline.
        ["arcsec"] cell: Option<Angle> = None,
        /// Cells a side, even; a uv cell is 1/(npix cell) wide. By default the one with the smallest expected error.
        ["1"] npix: Option<usize> = None,
    }
}

/// Geometry of a uv grid: cell (i, j) is centered at (i, j) du, with du = 1/(npix cell).
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct UvGridSpec {
    cell_rad: f64,
    npix: usize,
    du: f64,
}

impl UvGridSpec {
    /// A grid for images of `npix` pixels of `cell_rad`.
    pub fn new(cell_rad: f64, npix: usize) -> Result<UvGridSpec, AlignError> {
        if !(cell_rad > 0.0 && cell_rad.is_finite()) {
            return Err(AlignError::Cell { cell_rad });
        }
        if !(8..=65536).contains(&npix) || npix % 2 != 0 {
            return Err(AlignError::Npix { npix });
        }
        Ok(UvGridSpec { cell_rad, npix, du: 1.0 / (npix as f64 * cell_rad) })
    }

    /// A grid of cells of 1/`field_rad` that holds baselines up to `max_uv_lambda`.
    pub fn for_field(field_rad: f64, max_uv_lambda: f64) -> Result<UvGridSpec, AlignError> {
        let half = (max_uv_lambda * field_rad + 1.5).ceil() as usize;
        UvGridSpec::new(field_rad / (2 * half.max(4)) as f64, 2 * half.max(4))
    }

    /// Pixel of the image, rad.
    pub fn cell_rad(&self) -> f64 {
        self.cell_rad
    }
    /// Cells a side.
    pub fn npix(&self) -> usize {
        self.npix
    }
    /// Size of a uv cell, wavelengths.
    pub fn cell_lambda(&self) -> f64 {
        self.du
    }
    /// Side of the image that belongs to the grid, rad.
    pub fn field_rad(&self) -> f64 {
        self.npix as f64 * self.cell_rad
    }
    /// The same cell with another number of pixels.
    pub fn with_npix(&self, npix: usize) -> Result<UvGridSpec, AlignError> {
        UvGridSpec::new(self.cell_rad, npix)
    }

    /// Index of the cell that holds coordinate `u`; ties go away from zero, so that u and -u have opposite indices.
    #[inline]
    pub fn index(&self, u: f64) -> i64 {
        let x = u * self.field_rad();
        (x + 0.5f64.copysign(x)) as i64
    }
    /// Largest index; for even npix the cell at -npix/2 has no mirror image and is not used.
    pub fn max_index(&self) -> i64 {
        (self.npix as i64 - 1) / 2
    }
    /// The cell of a sample on the half-plane v > 0 (or v = 0, u > 0), and whether the sample has to be conjugated for it.
    #[inline]
    pub fn cell(&self, u: f64, v: f64) -> (i64, i64, bool) {
        self.folded(self.index(u), self.index(v), u, v)
    }

    /// Indices, not folded, of a baseline of (u, v) metres at a number of wavelengths a metre.
    #[inline]
    pub(super) fn indices_at(&self, [u_m, v_m]: [f64; 2], per_m: f64) -> (i32, i32) {
        (self.index(u_m * per_m) as i32, self.index(v_m * per_m) as i32)
    }

    #[inline]
    fn folded(&self, ku: i64, kv: i64, u: f64, v: f64) -> (i64, i64, bool) {
        let mirrored = if kv != 0 {
            kv < 0
        } else if ku != 0 {
            ku < 0
        } else {
            v < 0.0 || (v == 0.0 && u < 0.0)
        };
        if mirrored { (-ku, -kv, true) } else { (ku, kv, false) }
    }

    /// The key of the cell with these indices, and whether what is at (u, v), in any unit, has to be conjugated for it.
    #[inline]
    pub(super) fn key_of(&self, (ku, kv): (i32, i32), [u, v]: [f64; 2]) -> (u64, bool) {
        let (ku, kv, mirrored) = self.folded(i64::from(ku), i64::from(kv), u, v);
        ((kv as u64) << 32 | (ku + (1 << 31)) as u64 & 0xFFFF_FFFF, mirrored)
    }
    pub(super) fn indices(key: u64) -> (i32, i32) {
        (((key & 0xFFFF_FFFF) as i64 - (1 << 31)) as i32, (key >> 32) as i32)
    }

    pub(super) fn too_coarse(&self, name: &str, max_uv_lambda: f64) -> AlignError {
        let reach = self.max_index() as f64 / self.npix as f64;
        AlignError::CellTooCoarse { name: name.to_string(), cell_rad: self.cell_rad, limit_rad: reach / max_uv_lambda, max_uv_lambda }
    }
}

/// The samples of one uv cell, folded to the half-plane v >= 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UvCell {
    /// Index along u.
    pub ku: i32,
    /// Index along v, >= 0.
    pub kv: i32,
    /// Weighted mean u, wavelengths.
    pub u: f64,
    /// Weighted mean v, wavelengths.
    pub v: f64,
    /// Σ weight, Jy^-2.
    pub weight: f64,
    /// Weighted mean visibility, Jy.
    pub vis: Complex64,
    /// Number of samples (channels of rows; parallel hands count once).
    pub count: u32,
    /// Σ weight |V - mean|² of the samples; its expectation is 2 (count - 1) where the weights are right.
    pub scatter: f64,
}

/// Visibilities in the cells of a uv grid.
#[derive(Debug, Clone)]
pub struct UvGrid {
    name: String,
    center: Direction,
    spec: UvGridSpec,
    cells: Vec<UvCell>,
    counts: IngestCounts,
    mean_freq_hz: f64,
    max_uv_lambda: f64,
    min_uv_lambda: f64,
    /// Largest |u| or |v|, wavelengths.
    max_coordinate: f64,
}

impl UvGrid {
    pub(super) fn new(source: &dyn VisSource, spec: UvGridSpec, cells: Vec<UvCell>, counts: IngestCounts, totals: &BlockTotals) -> UvGrid {
        UvGrid {
            name: source.name().to_string(),
            center: source.phase_center(),
            spec,
            cells,
            counts,
            mean_freq_hz: totals.weighted_freq / totals.weight,
            max_uv_lambda: totals.max_uv_lambda,
            min_uv_lambda: totals.min_uv_lambda,
            max_coordinate: totals.max_coordinate,
        }
    }

    /// The same data in other cells.
    pub(super) fn with_cells(&self, spec: UvGridSpec, cells: Vec<UvCell>) -> UvGrid {
        UvGrid { name: self.name.clone(), spec, cells, ..*self }
    }
    /// Largest index of a sample on another grid.
    pub(super) fn max_index_on(&self, spec: &UvGridSpec) -> i64 {
        spec.index(self.max_coordinate)
    }

    /// Name of the set.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Phase center of the set as stored.
    pub fn phase_center(&self) -> Direction {
        self.center
    }
    /// Geometry.
    pub fn spec(&self) -> &UvGridSpec {
        &self.spec
    }
    /// Cells with data, ordered by v, then u.
    pub fn cells(&self) -> &[UvCell] {
        &self.cells
    }
    /// Where the samples went.
    pub fn counts(&self) -> &IngestCounts {
        &self.counts
    }
    /// Weighted mean frequency of the samples used, Hz.
    pub fn mean_freq_hz(&self) -> f64 {
        self.mean_freq_hz
    }
    /// Longest baseline used, wavelengths.
    pub fn max_uv_lambda(&self) -> f64 {
        self.max_uv_lambda
    }
    /// Shortest baseline used, wavelengths.
    pub fn min_uv_lambda(&self) -> f64 {
        self.min_uv_lambda
    }

    /// √Σ (w |V|² - 2), what the cells hold above noise: all that a fit of a position can use.
    pub fn signal_to_noise(&self) -> f64 {
        self.cells.iter().map(|c| c.weight * c.vis.norm_sqr() - 2.0).sum::<f64>().max(0.0).sqrt()
    }

    /// Σ weight |V - cell mean|² over its expectation: 1 where weights are right, 4 where they are four times too large.
    ///
    /// `None` with fewer than 100 samples to spare. Structure inside a cell raises it as well.
    pub fn scatter_factor(&self) -> Option<f64> {
        let spare: f64 = self.cells.iter().map(|c| 2.0 * (c.count as f64 - 1.0)).sum();
        let scatter: f64 = self.cells.iter().map(|c| c.scatter).sum();
        (spare >= 100.0).then(|| scatter / spare)
    }

    /// The naturally weighted synthesized beam, from the curvature of its peak: FWHM of the Gaussian with the same second
    /// derivatives, (bmaj rad, bmin rad, bpa rad). `None` with fewer than two directions of baselines.
    pub fn beam(&self) -> Option<(f64, f64, f64)> {
        let (mut w, mut uu, mut uv, mut vv) = (0.0, 0.0, 0.0, 0.0);
        for c in &self.cells {
            w += c.weight;
            uu += c.weight * c.u * c.u;
            uv += c.weight * c.u * c.v;
            vv += c.weight * c.v * c.v;
        }
        let (mean, half) = (0.5 * (uu + vv) / w, 0.5 * ((uu - vv) / w).hypot(2.0 * uv / w));
        let fwhm = |variance: f64| (2.0 * std::f64::consts::LN_2 / variance).sqrt() / std::f64::consts::PI;
        let (narrow, wide) = (mean + half, mean - half);
        // The major axis lies along the direction of the shortest baselines.
        let angle = 0.5 * (2.0 * uv).atan2(vv - uu) + std::f64::consts::FRAC_PI_2;
        (wide > 1e-9 * narrow && narrow > 0.0).then(|| (fwhm(wide), fwhm(narrow), angle.rem_euclid(std::f64::consts::PI)))
    }

    /// Samples in each cell on the full plane, [v, u], with v and u increasing; the middle element is (0, 0).
    ///
    /// Only as large as the data reach: element (j, i) is at ((i, j) - half) du, the side is 2 half + 1.
    pub fn count_image(&self) -> Array2<u32> {
        let half = self.cells.iter().map(|c| c.ku.unsigned_abs().max(c.kv.unsigned_abs())).max().unwrap_or(0) as i64;
        let mut image = Array2::zeros((2 * half as usize + 1, 2 * half as usize + 1));
        for c in &self.cells {
            for sign in [1, -1] {
                let (i, j) = (half + sign * c.ku as i64, half + sign * c.kv as i64);
                image[[j as usize, i as usize]] = c.count;
            }
        }
        image
    }
}

/// The longest baseline of a source, wavelengths; read from the data where the source does not know it.
pub(super) fn max_uv_lambda(source: &dyn VisSource, notice: &dyn Reporter) -> Result<f64> {
    if let Some(known) = source.max_uv_lambda().filter(|x| x.is_finite() && *x > 0.0) {
        return Ok(known);
    }
    let mut longest: f64 = 0.0;
    for i in 0..source.n_blocks() {
        notice.check()?;
        let block = source.read_block(i)?;
        let highest = block.freq_hz.iter().copied().fold(0.0, f64::max);
        let rows = block.uvw_m.rows().into_iter().map(|r| r[0].hypot(r[1])).filter(|x| x.is_finite());
        longest = longest.max(rows.fold(0.0, f64::max) * highest / C_M_S);
    }
    if longest > 0.0 {
        Ok(longest)
    } else {
        Err(AlignError::NothingLeft { name: source.name().to_string(), counts: Box::default() }.into())
    }
}

/// A cell, in round numbers, that holds baselines up to `max_uv_lambda`: the grid reaches 5 % further.
pub(super) fn default_cell_rad(max_uv_lambda: f64) -> f64 {
    let arcsec = 1.0 / (2.1 * max_uv_lambda) / ARCSEC;
    let unit = 10f64.powf(arcsec.log10().floor() - 1.0);
    (arcsec / unit).floor() * unit * ARCSEC
}

/// Averages the parallel hands of `source` in the cells of a uv grid.
///
/// Flagged samples, autocorrelations, bad weights and non-finite data are left out and counted. Without options the cell
/// follows from the longest baseline and npix is 1024.
pub fn uv_grid(source: &dyn VisSource, options: &UvGridOptions, notice: &dyn Reporter) -> Result<UvGrid> {
    let cell_rad = match options.cell {
        Some(cell) => cell.0,
        None => default_cell_rad(max_uv_lambda(source, notice)?),
    };
    let spec = UvGridSpec::new(cell_rad, options.npix.unwrap_or(1024))?;
    let mut grids = ingest(source, &[spec], &IngestOptions::default(), notice)?;
    let grid = grids.remove(0);
    grid.counts.report(source.name(), notice);
    Ok(grid)
}
