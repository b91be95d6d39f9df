//! The noise of a cube as a map times a spectrum.

mod estimate;
mod planes;
mod robust;
mod smooth;
#[cfg(test)]
mod tests;

use ndarray::{Array2, Array3, ArrayView2};

use super::Compat;
use crate::data::{Cube, CubeInfo, CubeSink, CubeSource, DataError, Image, Unit};
use crate::error::Result;
use crate::notice::Reporter;

pub use estimate::{has_noise, noise, noise_from_gain, noise_scalar};

crate::options! {
    /// Options of the noise model.
    pub struct NoiseOptions {
        /// Side of the boxes of the map, in pixels; automatic is 2.5 times the square root of the pixels in a beam; 0 measures every pixel alone.
        ["1"] box_pixels: Option<usize> = None,
        /// Take every n-th pixel of a box; automatic is about half a beam, since neighbours in a beam say the same.
        ["1"] substride: Option<usize> = None,
        /// Channels that make one point of the noise spectrum.
        ["1"] spec_box: usize = 5,
        /// Window of the Savitzky-Golay filter of the spectrum, in channels, odd; automatic is a fifth of the channels; 0 does not smooth.
        ["1"] smooth_window: Option<usize> = None,
        /// Order of the polynomial of that filter.
        ["1"] smooth_order: usize = 3,
        /// How often map and spectrum are refined in turn. 3 is what PHANGS-ALMA ships; it changes the result by 1e-3 after the second.
        ["1"] iterations: usize = 3,
        /// Voxels that a box must exceed to count.
        ["1"] min_voxels: usize = 30,
        /// Let the noise vary over the sky.
        [""] map: bool = true,
        /// Let the noise vary with channel.
        [""] spectrum: bool = true,
        /// "phangs": as the PHANGS-ALMA pipeline, which leaves a rind of one voxel around blanks without noise and lets the map wrap at its edges.
        [""] compat: Compat = Compat::None,
    }
}

/// Noise (1 sigma) of every voxel of a cube, NaN where it is not known.
#[derive(Debug, Clone)]
pub struct Noise {
    info: CubeInfo,
    model: Model,
}

#[derive(Debug, Clone)]
enum Model {
    /// sigma(chan, y, x) = map(y, x) spectrum(chan).
    Separable { map_yx: Array2<f64>, spectrum: Vec<f64> },
    /// Any.
    Cube(Array3<f32>),
}

impl Noise {
    /// The model map times spectrum on the grid of `info`.
    pub fn separable(info: &CubeInfo, map_yx: Array2<f64>, spectrum: Vec<f64>) -> Result<Noise, DataError> {
        let found = vec![spectrum.len(), map_yx.nrows(), map_yx.ncols()];
        if found != info.shape() {
            return Err(DataError::Shape { what: "noise model", found, expected: info.shape().to_vec() });
        }
        Ok(Noise { info: noise_info(info), model: Model::Separable { map_yx, spectrum } })
    }
    /// The same noise everywhere.
    pub fn uniform(info: &CubeInfo, sigma: f64) -> Noise {
        let model = Model::Separable { map_yx: Array2::from_elem((info.ny(), info.nx()), sigma), spectrum: vec![1.0; info.n_chan()] };
        Noise { info: noise_info(info), model }
    }
    /// The same for all channels, different over the sky.
    pub fn from_map(info: &CubeInfo, map: &Image) -> Result<Noise, DataError> {
        Noise::separable(info, map.data().mapv(f64::from), vec![1.0; info.n_chan()])
    }
    /// A cube of noise.
    pub fn from_cube(cube: Cube) -> Noise {
        let (info, data) = cube.into_parts();
        Noise { info: noise_info(&info), model: Model::Cube(data) }
    }
    /// The grid.
    pub fn info(&self) -> &CubeInfo {
        &self.info
    }
    /// Channels, rows, columns.
    pub fn shape(&self) -> [usize; 3] {
        self.info.shape()
    }
    /// Noise of one voxel.
    #[inline]
    pub fn at(&self, chan: usize, y: usize, x: usize) -> f32 {
        match &self.model {
            Model::Separable { map_yx, spectrum } => (map_yx[[y, x]] * spectrum[chan]) as f32,
            Model::Cube(c) => c[[chan, y, x]],
        }
    }
    /// Noise of one row of one channel.
    #[inline]
    pub fn row(&self, chan: usize, y: usize, out: &mut [f32]) {
        match &self.model {
            Model::Separable { map_yx, spectrum } => {
                let s = spectrum[chan];
                out.iter_mut().zip(map_yx.row(y)).for_each(|(o, m)| *o = (m * s) as f32);
            }
            Model::Cube(c) => out.iter_mut().zip(c.slice(ndarray::s![chan, y, ..])).for_each(|(o, v)| *o = *v),
        }
    }
    /// Map and spectrum, where the noise is a model.
    pub fn parts(&self) -> Option<(ArrayView2<'_, f64>, &[f64])> {
        match &self.model {
            Model::Separable { map_yx, spectrum } => Some((map_yx.view(), spectrum)),
            Model::Cube(_) => None,
        }
    }
    /// The map (median over channels) as an image.
    pub fn map(&self) -> Result<Image> {
        let data = match &self.model {
            Model::Separable { map_yx, spectrum } => {
                let middle = median_f64(spectrum.clone()).unwrap_or(f64::NAN);
                map_yx.mapv(|v| (v * middle) as f32)
            }
            Model::Cube(c) => Array2::from_shape_fn((c.dim().1, c.dim().2), |(y, x)| {
                let column: Vec<f64> = c.slice(ndarray::s![.., y, x]).iter().map(|v| f64::from(*v)).filter(|v| !v.is_nan()).collect();
                median_f64(column).unwrap_or(f64::NAN) as f32
            }),
        };
        Ok(self.info.image(data, self.info.unit.clone())?)
    }
    /// The spectrum (median over the sky), in the unit of the cube.
    pub fn spectrum(&self) -> Vec<f64> {
        match &self.model {
            Model::Separable { map_yx, spectrum } => {
                let middle = median_f64(map_yx.iter().copied().filter(|v| !v.is_nan()).collect()).unwrap_or(f64::NAN);
                spectrum.iter().map(|s| s * middle).collect()
            }
            Model::Cube(c) => c
                .outer_iter()
                .map(|p| median_f64(p.iter().map(|v| f64::from(*v)).filter(|v| !v.is_nan()).collect()).unwrap_or(f64::NAN))
                .collect(),
        }
    }
    /// Hands the noise on as a cube, plane by plane.
    pub fn write_to(&self, sink: &mut dyn CubeSink, notice: &dyn Reporter) -> Result<()> {
        let [nc, ny, nx] = self.shape();
        let mut plane = Array2::<f32>::zeros((ny, nx));
        for z in 0..nc {
            notice.check()?;
            for (y, mut row) in plane.rows_mut().into_iter().enumerate() {
                if let Some(row) = row.as_slice_mut() {
                    self.row(z, y, row);
                }
            }
            sink.put_plane(plane.view())?;
        }
        Ok(())
    }
    /// The noise as a cube in memory.
    pub fn to_cube(&self) -> Result<Cube> {
        let [nc, ny, nx] = self.shape();
        Ok(Cube::new(self.info.clone(), Array3::from_shape_fn((nc, ny, nx), |(z, y, x)| self.at(z, y, x)))?)
    }
    /// The noise of the data in another unit: times `factor` for each channel.
    pub fn scaled(&self, factor: &[f64], unit: Unit) -> Result<Noise, DataError> {
        if factor.len() != self.info.n_chan() {
            return Err(DataError::Shape { what: "list of factors", found: vec![factor.len()], expected: vec![self.info.n_chan()] });
        }
        let mut out = self.clone();
        out.info.unit = unit;
        match &mut out.model {
            Model::Separable { spectrum, .. } => spectrum.iter_mut().zip(factor).for_each(|(s, f)| *s *= f),
            Model::Cube(c) => c.outer_iter_mut().zip(factor).for_each(|(mut p, f)| p.mapv_inplace(|v| (f64::from(v) * f) as f32)),
        }
        Ok(out)
    }
}

impl CubeSource for Noise {
    fn info(&self) -> &CubeInfo {
        &self.info
    }
    fn block<'a>(
        &'a self,
        chan: std::ops::Range<usize>,
        y: std::ops::Range<usize>,
        buffer: &'a mut Vec<f32>,
    ) -> Result<ndarray::ArrayView3<'a, f32>> {
        self.info.cut(chan.clone(), y.clone(), 0..1)?;
        let (nx, shape) = (self.info.nx(), (chan.len(), y.len(), self.info.nx()));
        buffer.resize(chan.len() * y.len() * nx, 0.0);
        let rows = chan.flat_map(|z| y.clone().map(move |y| (z, y)));
        for (row, (z, y)) in buffer.chunks_exact_mut(nx).zip(rows) {
            self.row(z, y, row);
        }
        ndarray::ArrayView3::from_shape(shape, &buffer[..]).map_err(|e| crate::error::Error::internal(e.to_string()))
    }
}

/// The grid of the noise of a cube: its cards without what only the data have.
fn noise_info(info: &CubeInfo) -> CubeInfo {
    info.clone()
}

/// Median; the mean of the middle two of an even number.
pub(crate) fn median_f64(mut v: Vec<f64>) -> Option<f64> {
    let n = v.len();
    if n == 0 {
        return None;
    }
    let (_, upper, _) = v.select_nth_unstable_by(n / 2, f64::total_cmp);
    let upper = *upper;
    if n % 2 == 1 {
        return Some(upper);
    }
    let lower = v[..n / 2].iter().copied().max_by(f64::total_cmp)?;
    Some((lower + upper) / 2.0)
}
