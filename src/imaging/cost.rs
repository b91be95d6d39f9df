//! What an image takes, before any is made: memory, and time in its order of magnitude.

use super::mosaic::{Pointing, facets_of, is_mosaic};
use super::pass::Planes;
use super::{ImageSpec, ImagingError, memory};
use crate::error::Result;
use crate::gridding::{Content, Geometry, WideGridder};

/// Memory and time of an image.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
pub struct Cost {
    /// Bytes, about: all planes as they are while cleaning, Fourier planes, visibilities that are kept.
    pub memory_bytes: usize,
    /// Wall seconds for dirty image and PSF on the threads that there are, to a factor of two or three.
    pub dirty_s: f64,
    /// Terms of the expansion in w; 1 where the sky is flat enough.
    pub w_terms: usize,
}

/// PSF, dirty image, model and residual, each of the latter as it was and as it becomes, restored image, beam: 4 bytes; mask: 1.
const BYTES_PER_PIXEL: usize = 33;
/// The program itself, and blocks on their way.
const BYTES_OF_PROGRAM: usize = 60 << 20;
/// A visibility with its weight, as it is kept between passes.
const BYTES_PER_VISIBILITY: f64 = 13.0;
/// PSFs and residuals filtered with the scales, which cubes keep: as many bytes of a pixel, and in all.
const BYTES_FILTERED: usize = 36;
const MOST_FILTERED: usize = 192 << 20;
/// To read, convert and weight one correlation of one channel of one row, ns (processor of 2023, page cache warm).
const READ_NS: f64 = 8.0;
/// To grid a visibility with its weight, ns.
const GRID_NS: f64 = 25.0;
/// To transform and write a cell of a Fourier plane, image and PSF, ns.
const CELL_NS: f64 = 15.0;

/// Densities of samples: of each pointing of a mosaic if they are few, else of one at a time.
fn density_bytes(spec: &ImageSpec, n_parts: usize) -> usize {
    let one = spec.density_bytes();
    if spec.weights_by_pointing && n_parts > 1 { (n_parts * one).min(spec.cache_bytes.max(one)) } else { one }
}

/// A pointing of a mosaic, or all of them: its pixels, rows, channels and correlations.
struct Part {
    geometry: Geometry,
    n_rows: f64,
    n_chan: f64,
    n_corr: f64,
}

impl Cost {
    /// What an image of these pointings takes.
    pub fn of(points: &[Pointing], spec: &ImageSpec) -> Result<Cost> {
        let parts = parts(points, spec)?;
        let n_planes = spec.planes.n_images();
        let threads = rayon::current_num_threads();
        let together = if matches!(spec.planes, Planes::Channels(_)) { n_planes.min(threads) } else { spec.planes.n_psfs() };
        let pixels = spec.geometry.nx * spec.geometry.ny;
        let visibilities: f64 = parts.iter().map(|p| p.n_rows * p.n_chan * BYTES_PER_VISIBILITY).sum();
        let kept = spec.cache_bytes.min(visibilities as usize) + (pixels * n_planes * BYTES_FILTERED).min(MOST_FILTERED);
        let memory_bytes = BYTES_OF_PROGRAM + pixels * n_planes * BYTES_PER_PIXEL + kept + density_bytes(spec, parts.len());
        let mut cost = Cost { memory_bytes, dirty_s: 0.0, w_terms: 1 };
        let mut largest = 0;
        for part in &parts {
            let samples = part.n_rows * part.n_chan;
            let Fourier { bytes, w_terms } = Fourier::of(spec, &part.geometry, samples / n_planes as f64)?;
            cost.w_terms = cost.w_terms.max(w_terms);
            largest = largest.max(together * bytes);
            let terms = if w_terms > 1 { 2 * w_terms } else { 1 } as f64;
            let cells = 2.0 * (part.geometry.nx * part.geometry.ny * n_planes) as f64;
            cost.dirty_s += 1e-9 * (samples * part.n_corr * READ_NS + (samples * GRID_NS + cells * CELL_NS) * terms / threads as f64);
        }
        cost.memory_bytes += largest;
        Ok(cost)
    }

    /// Refuses an image that the memory does not hold.
    pub fn check(&self) -> Result<(), ImagingError> {
        match memory::available() {
            Some(available) if self.memory_bytes > available => {
                Err(ImagingError::Memory { needed_bytes: self.memory_bytes, available_bytes: available, w_terms: self.w_terms })
            }
            _ => Ok(()),
        }
    }

    /// `about 1.2 GB of memory`
    pub fn memory_text(&self) -> String {
        format!("about {} of memory", memory::text(self.memory_bytes))
    }

    /// `some 3 s`
    pub fn time_text(&self) -> String {
        match self.dirty_s {
            s if s < 1.0 => "less than a second".into(),
            s if s < 90.0 => format!("some {s:.0} s"),
            s if s < 5400.0 => format!("some {:.0} min", s / 60.0),
            s => format!("some {:.0} h", s / 3600.0),
        }
    }
}

fn parts(points: &[Pointing], spec: &ImageSpec) -> Result<Vec<Part>> {
    let part = |geometry: Geometry, points: &[Pointing]| -> Result<Part> {
        let inputs = || points.iter().flat_map(|p| &p.inputs);
        let first = inputs().find(|i| i.vis.n_blocks() > 0).map(|i| i.vis.read_block(0)).transpose()?;
        let (n_chan, n_corr) = first.map_or((0, 0), |b| (b.freq_hz.len(), b.corr.len()));
        let n_rows = inputs().map(|i| i.vis.n_rows()).sum::<u64>();
        Ok(Part { geometry, n_rows: n_rows as f64, n_chan: n_chan as f64, n_corr: n_corr as f64 })
    };
    if !is_mosaic(points) {
        return Ok(vec![part(spec.geometry, points)?]);
    }
    facets_of(points, spec)?.into_iter().map(|(i, geometry)| part(geometry, &points[i..=i])).collect()
}

/// The Fourier plane of an image plane.
struct Fourier {
    bytes: usize,
    w_terms: usize,
}

impl Fourier {
    fn of(spec: &ImageSpec, geometry: &Geometry, n_samples: f64) -> Result<Fourier> {
        let pixels = geometry.nx * geometry.ny;
        let oversampling = WideGridder::<f32>::cheapest_oversampling(geometry, spec.accuracy, n_samples);
        let single = spec.is_single_precision();
        let (bytes, w_terms) = if single {
            let gridder = WideGridder::<f32>::new(*geometry, spec.accuracy, oversampling, spec.max_w_lambda)?;
            (gridder.plane_bytes(Content::VisAndPsf), gridder.n_terms())
        } else {
            let gridder = WideGridder::<f64>::new(*geometry, spec.accuracy, oversampling, spec.max_w_lambda)?;
            (gridder.plane_bytes(Content::VisAndPsf), gridder.n_terms())
        };
        // Images of the terms exist side by side before they are added up.
        let size = if single { 4 } else { 8 };
        Ok(Fourier { bytes: bytes + (w_terms + 2) * pixels * size, w_terms })
    }
}
