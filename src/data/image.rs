//! Images: one plane of sky.

use ndarray::Array2;

use super::{Beam, DataError, Meta, Unit};
use crate::sky::{Celestial, SpectralFrame};

/// A map of the sky, NaN where blank.
#[derive(Debug, Clone)]
pub struct Image {
    data_yx: Array2<f32>,
    sky: Celestial,
    /// Unit of the values.
    pub unit: Unit,
    /// Beam, if known.
    pub beam: Option<Beam>,
    /// Rest frequency of the line the map shows, Hz.
    pub rest_hz: Option<f64>,
    /// Frame of velocities or of the frequency.
    pub spectral_frame: Option<SpectralFrame>,
    /// Other header cards.
    pub meta: Meta,
}

impl Image {
    /// An image without beam and cards; refuses an empty one.
    pub fn new(data_yx: Array2<f32>, sky: Celestial, unit: Unit) -> Result<Image, DataError> {
        if data_yx.is_empty() {
            return Err(DataError::Empty { what: "image", shape: data_yx.shape().to_vec() });
        }
        let data_yx = if data_yx.is_standard_layout() { data_yx } else { data_yx.as_standard_layout().into_owned() };
        Ok(Image { data_yx, sky, unit, beam: None, rest_hz: None, spectral_frame: None, meta: Meta::default() })
    }
    /// Values, [y, x].
    pub fn data(&self) -> &Array2<f32> {
        &self.data_yx
    }
    /// Values, [y, x], to change in place.
    pub fn data_mut(&mut self) -> &mut Array2<f32> {
        &mut self.data_yx
    }
    /// Coordinates.
    pub fn sky(&self) -> &Celestial {
        &self.sky
    }
    /// Rows.
    pub fn ny(&self) -> usize {
        self.data_yx.nrows()
    }
    /// Columns.
    pub fn nx(&self) -> usize {
        self.data_yx.ncols()
    }
    /// An image with other values on the same grid, cards included.
    pub fn with_data(&self, data_yx: Array2<f32>, unit: Unit) -> Result<Image, DataError> {
        if data_yx.dim() != self.data_yx.dim() {
            return Err(DataError::Shape { what: "map", found: data_yx.shape().to_vec(), expected: self.data_yx.shape().to_vec() });
        }
        Ok(Image { data_yx, unit, ..self.clone() })
    }
    /// Pixels in the area of the beam.
    pub fn pixels_per_beam(&self) -> Option<f64> {
        self.beam.map(|b| b.sr() / self.sky.pixel_sr())
    }
    /// Smallest and largest value that is not NaN.
    pub fn min_max(&self) -> Option<(f32, f32)> {
        min_max(self.data_yx.iter())
    }
}

/// Smallest and largest value that is not NaN.
pub(crate) fn min_max<'a>(values: impl Iterator<Item = &'a f32>) -> Option<(f32, f32)> {
    let (lo, hi) = values.fold((f32::INFINITY, f32::NEG_INFINITY), |(lo, hi), v| (lo.min(*v), hi.max(*v)));
    (lo <= hi).then_some((lo, hi))
}
