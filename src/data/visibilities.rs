//! Blocks of visibilities, and the trait by which data larger than memory pass through science.

use std::sync::Arc;

use ndarray::{Array2, Array3};
use num_complex::Complex32;

use crate::error::Result;
use crate::sky::Direction;

/// A correlation product (Stokes parameter or receptor pair), coded as in the MeasurementSet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs)]
pub enum Corr {
    I = 1,
    Q = 2,
    U = 3,
    V = 4,
    RR = 5,
    RL = 6,
    LR = 7,
    LL = 8,
    XX = 9,
    XY = 10,
    YX = 11,
    YY = 12,
}

impl Corr {
    /// From the code of POLARIZATION::CORR_TYPE; `None` for products that are not listed here.
    pub fn from_code(code: i32) -> Option<Corr> {
        use Corr::*;
        [I, Q, U, V, RR, RL, LR, LL, XX, XY, YX, YY].into_iter().find(|c| *c as i32 == code)
    }
    /// From its name, `"XX"`.
    pub fn from_name(name: &str) -> Option<Corr> {
        (1..=12).filter_map(Corr::from_code).find(|c| c.name() == name.to_uppercase())
    }
    /// Its name, `"XX"`.
    pub fn name(self) -> &'static str {
        ["I", "Q", "U", "V", "RR", "RL", "LR", "LL", "XX", "XY", "YX", "YY"][self as usize - 1]
    }
    /// True for the products that carry total intensity: I, and the parallel hands.
    pub fn is_parallel(self) -> bool {
        matches!(self, Corr::I | Corr::RR | Corr::LL | Corr::XX | Corr::YY)
    }
}

/// Weights of a block, Jy^-2 (1/sigma^2 of the real part of one sample).
#[derive(Debug, Clone)]
pub enum VisWeight {
    /// One weight a row and correlation, [row, corr], the same for every channel.
    Row(Array2<f32>),
    /// One weight a sample, [row, chan, corr].
    Sample(Array3<f32>),
}

impl VisWeight {
    /// Weight of one sample, Jy^-2.
    #[inline]
    pub fn get(&self, row: usize, chan: usize, corr: usize) -> f32 {
        match self {
            VisWeight::Row(w) => w[[row, corr]],
            VisWeight::Sample(w) => w[[row, chan, corr]],
        }
    }
}

/// Consecutive selected rows that share one spectral window and one set of correlations.
///
/// UVW is as stored in the set (CASA's baseline direction): V = Σ I exp(+2πi(ul+vm+w(n-1))), docs/conventions.md.
#[derive(Debug, Clone)]
pub struct VisBlock {
    /// Spectral window id in the set.
    pub i_spw: usize,
    /// Field id in the set.
    pub field: Arc<[i32]>,
    /// Row numbers in the set.
    pub row: Vec<u64>,
    /// Baseline coordinates, metres, [row, 3].
    pub uvw_m: Array2<f64>,
    /// Time of the centre of the integration, MJD seconds UTC.
    pub time_s: Vec<f64>,
    /// First antenna of the baseline.
    pub antenna1: Vec<i32>,
    /// Second antenna of the baseline.
    pub antenna2: Vec<i32>,
    /// Channel frequencies, Hz, as stored (any order).
    pub freq_hz: Arc<[f64]>,
    /// Correlations along the last axis.
    pub corr: Arc<[Corr]>,
    /// Visibilities, Jy, [row, chan, corr].
    pub vis_rfc: Array3<Complex32>,
    /// True where a sample must not be used: FLAG or FLAG_ROW, [row, chan, corr].
    pub flag_rfc: Array3<bool>,
    /// Weights, Jy^-2; not checked: zero, negative, NaN and infinite values are for the reader to drop.
    pub weight: VisWeight,
}

/// A selection of visibilities that can be read block by block, in any order and from several threads.
///
/// The cut into blocks depends on the selection only, never on the number of threads, so that sums over blocks in
/// their order give the same bits on any machine width.
pub trait VisSource: Sync {
    /// Short name for tables and messages: the set's file name without folder and `.ms`.
    fn name(&self) -> &str;
    /// Phase center of the selected field (all selected fields must share it).
    fn phase_center(&self) -> Direction;
    /// How many blocks the selection has.
    fn n_blocks(&self) -> usize;
    /// Rows in all blocks.
    fn n_rows(&self) -> u64;
    /// Reads block `i`.
    fn read_block(&self, i: usize) -> Result<VisBlock>;
    /// Largest baseline in wavelengths over the selection, from UVW and frequencies alone (flags ignored), if cheaply known.
    fn max_uv_lambda(&self) -> Option<f64> {
        None
    }
}
