//! Visibilities as the gridder takes them: rows of channels that share one baseline vector.

use num_complex::Complex;

use super::{Float, GridError};

/// Rows of visibilities; u, v, w of a sample are its row's vector times its channel's frequency.
///
/// V = Σ I exp(+2πi(ul + vm + w(n-1))), UVW as stored in the set.
#[derive(Debug, Clone, Copy)]
pub struct Samples<'a, T> {
    /// Baseline over the speed of light (times the Doppler factor where frequencies are not those of the image), s.
    pub uvw_s: &'a [[f64; 3]],
    /// Frequencies of the channels, Hz.
    pub freq_hz: &'a [f64],
    /// Imaging weights, [row][chan]; samples of weight 0 are not used.
    pub weight: &'a [T],
}

impl<T: Float> Samples<'_, T> {
    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.uvw_s.len()
    }
    /// Number of channels.
    pub fn n_chan(&self) -> usize {
        self.freq_hz.len()
    }
    /// The samples of some rows.
    pub(super) fn rows(&self, rows: std::ops::Range<usize>) -> Self {
        let n = self.n_chan();
        Samples { uvw_s: &self.uvw_s[rows.clone()], freq_hz: self.freq_hz, weight: &self.weight[rows.start * n..rows.end * n] }
    }
    /// Refuses arrays that do not belong together.
    pub(super) fn check(&self, vis: Option<&[Complex<T>]>) -> Result<(), GridError> {
        let expected = self.n_rows() * self.n_chan();
        let length = |what, got| if got == expected { Ok(()) } else { Err(GridError::Length { what, got, expected }) };
        length("weights", self.weight.len())?;
        vis.map_or(Ok(()), |v| length("visibilities", v.len()))?;
        if let Some(index) = self.uvw_s.iter().position(|r| r.iter().any(|x| !x.is_finite())) {
            return Err(GridError::NotFinite { index });
        }
        Ok(())
    }
}
