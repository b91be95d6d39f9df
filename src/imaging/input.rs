//! What is imaged: visibilities with the array that took them, and their total intensity.

use num_complex::{Complex, Complex32};
use rayon::prelude::*;

use super::ImagingError;
use crate::data::{Corr, VisBlock, VisSource, VisWeight};
use crate::error::Result;
use crate::gridding::Float;
use crate::sky::{Direction, Doppler, SpectralFrame};

/// The array that took a set of visibilities.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Name of the telescope, for example `ALMA`.
    pub telescope: String,
    /// Its position, ITRF, metres.
    pub position_m: [f64; 3],
    /// Dish diameter of each antenna id, metres.
    pub dish_m: Vec<f64>,
    /// Frame of the frequencies of each spectral window id.
    pub frames: Vec<SpectralFrame>,
    /// Lowest and highest frequency that is imaged, about, Hz.
    pub band_hz: (f64, f64),
    /// Longest distance of two antennas, metres.
    pub longest_baseline_m: f64,
}

impl Array {
    /// The middle one of the dish diameters, metres; 0 where none is known.
    pub fn typical_dish_m(&self) -> f64 {
        let mut dish: Vec<f64> = self.dish_m.iter().copied().filter(|d| *d > 0.0).collect();
        dish.sort_by(f64::total_cmp);
        dish.get(dish.len() / 2).copied().unwrap_or(0.0)
    }
    /// Middle of the band, Hz.
    pub fn middle_hz(&self) -> f64 {
        0.5 * (self.band_hz.0 + self.band_hz.1)
    }
    /// Bound of |w|, wavelengths.
    pub fn max_w_lambda(&self) -> f64 {
        self.longest_baseline_m * self.band_hz.1 / crate::units::C_M_S * 1.001
    }
}

/// Visibilities of one pointing of one array.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The visibilities.
    pub vis: &'a dyn VisSource,
    /// The array.
    pub array: &'a Array,
}

impl std::fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Input({}, {})", self.vis.name(), self.array.telescope)
    }
}

impl Input<'_> {
    /// Direction of the pointing.
    pub fn center(&self) -> Direction {
        self.vis.phase_center()
    }
    /// Frame of the frequencies of a block's spectral window.
    pub fn frame(&self, i_spw: usize) -> SpectralFrame {
        self.array.frames.get(i_spw).copied().unwrap_or(SpectralFrame::Topo)
    }
    /// The shift of frequencies from a spectral window's frame to `to`.
    pub fn doppler(&self, i_spw: usize, to: SpectralFrame) -> Result<Doppler> {
        Ok(Doppler::new(self.frame(i_spw), to, self.center(), self.array.position_m)?)
    }
}

/// Samples that were not used, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Dropped {
    /// Flagged in either hand.
    pub flagged: u64,
    /// Of an antenna with itself.
    pub autocorrelations: u64,
    /// NaN or infinite visibilities.
    pub not_finite: u64,
    /// Weights that are zero, negative, NaN or infinite.
    pub bad_weight: u64,
}

impl std::ops::AddAssign for Dropped {
    fn add_assign(&mut self, o: Dropped) {
        self.flagged += o.flagged;
        self.autocorrelations += o.autocorrelations;
        self.not_finite += o.not_finite;
        self.bad_weight += o.bad_weight;
    }
}

/// Total intensity of a block; weight 0 marks samples that must not be used, and their visibility is 0.
#[derive(Debug, Default)]
pub struct Intensity<T> {
    /// [row][chan], Jy.
    pub vis: Vec<Complex<T>>,
    /// [row][chan]: (w_XX + w_YY)/2, as CASA counts it; 1/sigma² of one sample is `weight_to_inverse_variance` times this.
    pub weight: Vec<T>,
    /// Samples left out.
    pub dropped: Dropped,
    /// 2 where two hands were averaged, else 1.
    pub weight_to_inverse_variance: f64,
}

/// Rows that one task converts.
const CHUNK_ROWS: usize = 1024;

impl<T: Float> Intensity<T> {
    /// Stokes I = (XX+YY)/2 or (RR+LL)/2, or the only hand; a sample is dropped if either hand is flagged.
    pub fn fill(&mut self, block: &VisBlock) -> Result<(), ImagingError> {
        let hands = hands(&block.corr)?;
        let (n_rows, n_chan, n_corr) = block.vis_rfc.dim();
        let zero = Complex::new(T::zero(), T::zero());
        self.vis.clear();
        self.weight.clear();
        self.vis.resize(n_rows * n_chan, zero);
        self.weight.resize(n_rows * n_chan, T::zero());
        self.weight_to_inverse_variance = if hands.1.is_some() { 2.0 } else { 1.0 };
        let rows = Rows { block, vis: flat(&block.vis_rfc), flag: flat(&block.flag_rfc), n_chan, n_corr };
        let length = (CHUNK_ROWS * n_chan).max(1);
        let dropped: Vec<Dropped> = self
            .vis
            .par_chunks_mut(length)
            .zip(self.weight.par_chunks_mut(length))
            .enumerate()
            .map(|(i, (vis, weight))| rows.convert(hands, i * CHUNK_ROWS, vis, weight))
            .collect();
        self.dropped = Dropped::default();
        dropped.into_iter().for_each(|d| self.dropped += d);
        Ok(())
    }
}

/// Places of the two hands, or of the only one.
fn hands(corr: &[Corr]) -> Result<(usize, Option<usize>), ImagingError> {
    let find = |c: Corr| corr.iter().position(|x| *x == c);
    if let Some(i) = find(Corr::I) {
        return Ok((i, None));
    }
    for (a, b) in [(Corr::XX, Corr::YY), (Corr::RR, Corr::LL)] {
        match (find(a), find(b)) {
            (Some(a), b) => return Ok((a, b)),
            (None, Some(b)) => return Ok((b, None)),
            (None, None) => {}
        }
    }
    Err(ImagingError::NoIntensity { corr: corr.iter().map(|c| c.name()).collect::<Vec<_>>().join(",") })
}

fn flat<A>(array: &ndarray::Array3<A>) -> &[A] {
    array.as_slice().expect("blocks are made in standard layout")
}

struct Rows<'a> {
    block: &'a VisBlock,
    vis: &'a [Complex32],
    flag: &'a [bool],
    n_chan: usize,
    n_corr: usize,
}

impl Rows<'_> {
    fn convert<T: Float>(&self, hands: (usize, Option<usize>), first_row: usize, vis: &mut [Complex<T>], weight: &mut [T]) -> Dropped {
        let mut dropped = Dropped::default();
        let n_chan = self.n_chan;
        for (i, (vis, weight)) in vis.chunks_mut(n_chan).zip(weight.chunks_mut(n_chan)).enumerate() {
            let row = first_row + i;
            if self.block.antenna1[row] == self.block.antenna2[row] {
                dropped.autocorrelations += n_chan as u64;
                continue;
            }
            self.convert_row(hands, row, vis, weight, &mut dropped);
        }
        dropped
    }

    fn convert_row<T: Float>(
        &self,
        (a, b): (usize, Option<usize>),
        row: usize,
        vis: &mut [Complex<T>],
        weight: &mut [T],
        dropped: &mut Dropped,
    ) {
        let b = b.unwrap_or(a);
        let cells = self.n_chan * self.n_corr;
        let (data, flag) = (&self.vis[row * cells..(row + 1) * cells], &self.flag[row * cells..(row + 1) * cells]);
        let good = |w: f32| w > 0.0 && w < f32::INFINITY;
        let mean = |wa: f32, wb: f32| if good(wa) && good(wb) { 0.5 * (wa + wb) } else { 0.0 };
        let row_weight = match &self.block.weight {
            VisWeight::Row(w) => Some(mean(w[[row, a]], w[[row, b]])),
            VisWeight::Sample(_) => None,
        };
        for chan in 0..self.n_chan {
            let at = chan * self.n_corr;
            if flag[at + a] | flag[at + b] {
                dropped.flagged += 1;
                continue;
            }
            let v = (data[at + a] + data[at + b]) * 0.5;
            let w = row_weight.unwrap_or_else(|| mean(self.block.weight.get(row, chan, a), self.block.weight.get(row, chan, b)));
            if !(v.re.is_finite() && v.im.is_finite()) {
                dropped.not_finite += 1;
            } else if w == 0.0 {
                dropped.bad_weight += 1;
            } else {
                vis[chan] = Complex::new(T::of(f64::from(v.re)), T::of(f64::from(v.im)));
                weight[chan] = T::of(f64::from(w));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, Array3};

    fn block(corr: &[Corr]) -> VisBlock {
        let n = corr.len();
        VisBlock {
            i_spw: 0,
            field: vec![0; 4].into(),
            row: (0..4).collect(),
            uvw_m: Array2::zeros((4, 3)),
            time_s: vec![0.0; 4],
            antenna1: vec![0, 0, 0, 1],
            antenna2: vec![1, 1, 1, 1],
            freq_hz: vec![1e9, 1.1e9].into(),
            corr: corr.into(),
            vis_rfc: Array3::from_shape_fn((4, 2, n), |(r, c, p)| Complex32::new((r + c) as f32, p as f32)),
            flag_rfc: Array3::from_shape_fn((4, 2, n), |(r, c, p)| r == 1 && c == 0 && p == n - 1),
            weight: VisWeight::Row(Array2::from_shape_fn((4, n), |(r, p)| if r == 2 { f32::NAN } else { 1.0 + p as f32 })),
        }
    }

    #[test]
    fn intensity_is_the_mean_of_the_hands_with_the_mean_weight() {
        let mut i = Intensity::<f64>::default();
        i.fill(&block(&[Corr::XX, Corr::XY, Corr::YX, Corr::YY])).unwrap();
        assert_eq!(i.vis[..2], [Complex::new(0.0, 1.5), Complex::new(1.0, 1.5)]);
        assert_eq!(i.weight, [2.5, 2.5, 0.0, 2.5, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(i.dropped, Dropped { flagged: 1, autocorrelations: 2, not_finite: 0, bad_weight: 2 });
        assert_eq!(i.weight_to_inverse_variance, 2.0);
    }

    #[test]
    fn one_hand_stands_for_both_and_none_is_an_error() {
        let mut i = Intensity::<f32>::default();
        i.fill(&block(&[Corr::YY])).unwrap();
        assert_eq!((i.weight[0], i.weight_to_inverse_variance), (1.0, 1.0));
        let e = i.fill(&block(&[Corr::XY, Corr::YX])).unwrap_err().to_string();
        assert!(e.contains("XY,YX"), "{e}");
    }
}
