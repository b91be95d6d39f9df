//! Two-dimensional data whose axes are not both celestial: position-velocity diagrams and the like.

use ndarray::Array2;

use super::{Beam, DataError, Meta, Unit};

/// A linear axis; pixels count from 0 here, `crpix` from 1 as in FITS.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LinearAxis {
    /// CTYPE.
    pub ctype: String,
    /// Unit as FITS spells it.
    pub cunit: String,
    /// Value at the reference pixel.
    pub crval: f64,
    /// Step.
    pub cdelt: f64,
    /// Reference pixel, from 1.
    pub crpix: f64,
}

impl LinearAxis {
    /// Value at a pixel.
    pub fn value(&self, pixel: f64) -> f64 {
        self.crval + (pixel + 1.0 - self.crpix) * self.cdelt
    }
}

/// Values over two linear axes, `[axis 2, axis 1]`.
#[derive(Debug, Clone)]
pub struct Plane {
    data: Array2<f32>,
    /// First axis (along a row), then the second.
    pub axes: [LinearAxis; 2],
    /// Unit of the values.
    pub unit: Unit,
    /// Beam of the data they come from.
    pub beam: Option<Beam>,
    /// Rest frequency, Hz.
    pub rest_hz: Option<f64>,
    /// Other header cards.
    pub meta: Meta,
}

impl Plane {
    /// Refuses empty data.
    pub fn new(data: Array2<f32>, axes: [LinearAxis; 2], unit: Unit) -> Result<Plane, DataError> {
        if data.is_empty() {
            return Err(DataError::Empty { what: "plane", shape: data.shape().to_vec() });
        }
        let data = if data.is_standard_layout() { data } else { data.as_standard_layout().into_owned() };
        Ok(Plane { data, axes, unit, beam: None, rest_hz: None, meta: Meta::default() })
    }
    /// Values.
    pub fn data(&self) -> &Array2<f32> {
        &self.data
    }
}
