//! Cubes, and the trait by which cubes larger than memory pass through science.

use std::ops::Range;

use ndarray::{Array3, ArrayView2, ArrayView3, s};

use super::{Beams, DataError, Image, Meta, Unit};
use crate::error::Result;
use crate::sky::{Celestial, SpectralAxis};

/// Everything about a cube but its values.
#[derive(Debug, Clone, PartialEq)]
pub struct CubeInfo {
    sky: Celestial,
    spectral: SpectralAxis,
    ny: usize,
    nx: usize,
    beams: Beams,
    /// Unit of the values.
    pub unit: Unit,
    /// Other header cards.
    pub meta: Meta,
}

impl CubeInfo {
    /// A grid of `ny` rows and `nx` columns without beam.
    pub fn new(sky: Celestial, spectral: SpectralAxis, ny: usize, nx: usize, unit: Unit) -> Result<CubeInfo, DataError> {
        if ny == 0 || nx == 0 {
            return Err(DataError::Empty { what: "cube", shape: vec![spectral.n_chan(), ny, nx] });
        }
        Ok(CubeInfo { sky, spectral, ny, nx, beams: Beams::None, unit, meta: Meta::default() })
    }
    /// With beams; one for each channel where they are per channel.
    pub fn with_beams(mut self, beams: Beams) -> Result<CubeInfo, DataError> {
        if let Beams::PerChannel(v) = &beams
            && v.len() != self.n_chan()
        {
            return Err(DataError::BeamCount { n_beams: v.len(), n_chan: self.n_chan() });
        }
        self.beams = beams;
        Ok(self)
    }
    /// With another spectral axis of as many channels.
    pub fn with_spectral(mut self, spectral: SpectralAxis) -> Result<CubeInfo, DataError> {
        if spectral.n_chan() != self.n_chan() {
            return Err(DataError::Shape { what: "spectral axis", found: vec![spectral.n_chan()], expected: vec![self.n_chan()] });
        }
        self.spectral = spectral;
        Ok(self)
    }
    /// Celestial coordinates.
    pub fn sky(&self) -> &Celestial {
        &self.sky
    }
    /// Spectral axis.
    pub fn spectral(&self) -> &SpectralAxis {
        &self.spectral
    }
    /// Beams.
    pub fn beams(&self) -> &Beams {
        &self.beams
    }
    /// Channels.
    pub fn n_chan(&self) -> usize {
        self.spectral.n_chan()
    }
    /// Rows.
    pub fn ny(&self) -> usize {
        self.ny
    }
    /// Columns.
    pub fn nx(&self) -> usize {
        self.nx
    }
    /// Channels, rows, columns.
    pub fn shape(&self) -> [usize; 3] {
        [self.n_chan(), self.ny, self.nx]
    }
    /// Pixels in the area of the largest beam.
    pub fn pixels_per_beam(&self) -> Option<f64> {
        self.beams.largest().map(|b| b.sr() / self.sky.pixel_sr())
    }
    /// The same grid cut to these channels, rows and columns.
    pub fn cut(&self, chan: Range<usize>, y: Range<usize>, x: Range<usize>) -> Result<CubeInfo> {
        check_range("channels", &chan, self.n_chan())?;
        check_range("rows", &y, self.ny)?;
        check_range("columns", &x, self.nx)?;
        let beams = match &self.beams {
            Beams::PerChannel(v) => Beams::PerChannel(v[chan.clone()].to_vec()),
            other => other.clone(),
        };
        Ok(CubeInfo {
            sky: self.sky.shifted(x.start as f64, y.start as f64),
            spectral: self.spectral.slab(chan.start, chan.len())?,
            ny: y.len(),
            nx: x.len(),
            beams,
            unit: self.unit.clone(),
            meta: self.meta.clone(),
        })
    }
    /// An image of this grid with its largest beam and its cards.
    pub fn image(&self, data_yx: ndarray::Array2<f32>, unit: Unit) -> Result<Image, DataError> {
        if data_yx.dim() != (self.ny, self.nx) {
            return Err(DataError::Shape { what: "map", found: data_yx.shape().to_vec(), expected: vec![self.ny, self.nx] });
        }
        let mut image = Image::new(data_yx, self.sky.clone(), unit)?;
        image.beam = self.beams.largest();
        image.rest_hz = self.spectral.rest_hz();
        image.spectral_frame = self.spectral.frame();
        image.meta = self.meta.clone();
        Ok(image)
    }
}

fn check_range(axis: &'static str, r: &Range<usize>, len: usize) -> Result<(), DataError> {
    if r.start >= r.end || r.end > len { Err(DataError::Range { axis, start: r.start, end: r.end, len }) } else { Ok(()) }
}

/// A cube in memory, NaN where blank.
#[derive(Debug, Clone)]
pub struct Cube {
    info: CubeInfo,
    data_cyx: Array3<f32>,
}

impl Cube {
    /// A cube; the array must have the shape of `info`.
    pub fn new(info: CubeInfo, data_cyx: Array3<f32>) -> Result<Cube, DataError> {
        if data_cyx.shape() != info.shape() {
            return Err(DataError::Shape { what: "cube", found: data_cyx.shape().to_vec(), expected: info.shape().to_vec() });
        }
        let data_cyx = if data_cyx.is_standard_layout() { data_cyx } else { data_cyx.as_standard_layout().into_owned() };
        Ok(Cube { info, data_cyx })
    }
    /// Everything but the values.
    pub fn info(&self) -> &CubeInfo {
        &self.info
    }
    /// Everything but the values, to change unit and cards.
    pub fn info_mut(&mut self) -> &mut CubeInfo {
        &mut self.info
    }
    /// Values, [chan, y, x].
    pub fn data(&self) -> &Array3<f32> {
        &self.data_cyx
    }
    /// Values to change in place.
    pub fn data_mut(&mut self) -> &mut Array3<f32> {
        &mut self.data_cyx
    }
    /// Grid and values.
    pub fn into_parts(self) -> (CubeInfo, Array3<f32>) {
        (self.info, self.data_cyx)
    }
    /// One channel as an image.
    pub fn channel(&self, channel: usize) -> Result<Image> {
        check_range("channels", &(channel..channel + 1), self.info.n_chan())?;
        let mut image = self.info.image(self.data_cyx.slice(s![channel, .., ..]).to_owned(), self.info.unit.clone())?;
        image.beam = self.info.beams.of_channel(channel);
        Ok(image)
    }
    /// Channels, rows and columns cut out.
    pub fn cutout(&self, chan: Range<usize>, y: Range<usize>, x: Range<usize>) -> Result<Cube> {
        let info = self.info.cut(chan.clone(), y.clone(), x.clone())?;
        Ok(Cube::new(info, self.data_cyx.slice(s![chan, y, x]).to_owned())?)
    }
}

/// A cube that can be read block by block, from memory or from a file, from several threads.
pub trait CubeSource: Sync {
    /// Everything but the values.
    fn info(&self) -> &CubeInfo;

    /// The channels `chan` of the rows `y`, all columns; borrowed where they lie in memory, else read into `buffer`.
    fn block<'a>(&'a self, chan: Range<usize>, y: Range<usize>, buffer: &'a mut Vec<f32>) -> Result<ArrayView3<'a, f32>>;

    /// One plane.
    fn plane<'a>(&'a self, channel: usize, buffer: &'a mut Vec<f32>) -> Result<ArrayView2<'a, f32>> {
        Ok(self.block(channel..channel + 1, 0..self.info().ny(), buffer)?.index_axis_move(ndarray::Axis(0), 0))
    }

    /// The whole cube in memory.
    fn load(&self) -> Result<Cube> {
        let mut buffer = Vec::new();
        let data = self.block(0..self.info().n_chan(), 0..self.info().ny(), &mut buffer)?.to_owned();
        Ok(Cube::new(self.info().clone(), data)?)
    }
}

impl CubeSource for Cube {
    fn info(&self) -> &CubeInfo {
        &self.info
    }
    fn block<'a>(&'a self, chan: Range<usize>, y: Range<usize>, _buffer: &'a mut Vec<f32>) -> Result<ArrayView3<'a, f32>> {
        check_range("channels", &chan, self.info.n_chan())?;
        check_range("rows", &y, self.info.ny)?;
        Ok(self.data_cyx.slice(s![chan, y, ..]))
    }
    fn load(&self) -> Result<Cube> {
        Ok(self.clone())
    }
}

/// Receives rows of a cube over all its channels, each once, in any order.
pub trait RowSink {
    /// Takes the rows from `first` on.
    fn put_rows(&mut self, first: usize, rows: ArrayView3<'_, f32>) -> Result<()>;
}

/// Receives the planes of a cube in their order.
pub trait CubeSink {
    /// Takes the next plane.
    fn put_plane(&mut self, plane: ArrayView2<'_, f32>) -> Result<()>;
}
