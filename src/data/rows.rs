//! Rows on their way into a new set.

use ndarray::{Array2, Array3};
use num_complex::Complex32;

use super::VisWeight;

/// Consecutive rows of one data description, complete enough to be written.
#[derive(Debug, Clone)]
pub struct RowBlock {
    /// Data description: it gives spectral window and correlations.
    pub data_desc: usize,
    /// Centre of the integration, MJD seconds UTC.
    pub time_s: Vec<f64>,
    /// Length of the integration, seconds.
    pub interval_s: Vec<f64>,
    /// First antenna.
    pub antenna1: Vec<i32>,
    /// Second antenna.
    pub antenna2: Vec<i32>,
    /// Field.
    pub field: Vec<i32>,
    /// Scan number.
    pub scan: Vec<i32>,
    /// Observation.
    pub observation: Vec<i32>,
    /// Baseline coordinates in CASA's direction, metres, [row, 3].
    pub uvw_m: Array2<f64>,
    /// Visibilities, Jy, [row, chan, corr].
    pub vis_rfc: Array3<Complex32>,
    /// True where a sample must not be used, [row, chan, corr].
    pub flag_rfc: Array3<bool>,
    /// Weights, Jy^-2.
    pub weight: VisWeight,
}

impl RowBlock {
    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.time_s.len()
    }

    /// What is wrong with the lengths, if anything; `shape` is [chan, corr].
    pub fn fault(&self, shape: [usize; 2]) -> Option<String> {
        let (n, [n_chan, n_corr]) = (self.n_rows(), shape);
        let columns = [
            ("INTERVAL", self.interval_s.len()),
            ("ANTENNA1", self.antenna1.len()),
            ("ANTENNA2", self.antenna2.len()),
            ("FIELD_ID", self.field.len()),
            ("SCAN_NUMBER", self.scan.len()),
            ("OBSERVATION_ID", self.observation.len()),
        ];
        if let Some((name, m)) = columns.iter().find(|(_, m)| *m != n) {
            return Some(format!("{name} has {m} rows, TIME {n}"));
        }
        let weight_dim = match &self.weight {
            VisWeight::Row(w) => w.dim() == (n, n_corr),
            VisWeight::Sample(w) => w.dim() == (n, n_chan, n_corr),
        };
        let dims = [
            ("UVW", self.uvw_m.dim() == (n, 3)),
            ("DATA", self.vis_rfc.dim() == (n, n_chan, n_corr)),
            ("FLAG", self.flag_rfc.dim() == (n, n_chan, n_corr)),
            ("WEIGHT", weight_dim),
        ];
        dims.iter().find(|(_, ok)| !ok).map(|(name, _)| format!("{name} does not fit {n} rows, {n_chan} channels, {n_corr} correlations"))
    }
}
