//! Which visibility channels an image channel is made of, time by time as the earth turns.

use num_complex::Complex;

use super::stream::Prepared;
use crate::gridding::Float;

/// How visibilities come to lie on the channels of a cube.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Each visibility channel counts, at its own frequency, for the image channel it lies in.
    Nearest,
    /// Between the two visibility channels on either side; as many points to an image channel as it holds visibility channels.
    #[default]
    Linear,
}

/// The channels of a cube: centres in the cube's frame, equally spaced.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelGrid {
    /// Centre of the first channel, Hz.
    pub first_hz: f64,
    /// From channel to channel, Hz; may be negative.
    pub step_hz: f64,
    /// Number of channels.
    pub n_chan: usize,
    /// How visibilities come to lie on them.
    pub interpolation: Interpolation,
}

impl ChannelGrid {
    /// Centre of a channel, Hz.
    pub fn freq_hz(&self, chan: usize) -> f64 {
        self.first_hz + chan as f64 * self.step_hz
    }
    /// Lowest and highest frequency, edges included.
    pub fn range_hz(&self) -> (f64, f64) {
        let (a, b) = (self.first_hz - self.step_hz / 2.0, self.freq_hz(self.n_chan - 1) + self.step_hz / 2.0);
        (a.min(b), a.max(b))
    }
    /// True where visibilities of this spacing are interpolated; a cube of one channel takes what lies in it.
    fn interpolates(&self, native: &[f64]) -> bool {
        self.interpolation == Interpolation::Linear && self.n_chan > 1 && native.len() > 1
    }
}

/// Samples of one image channel from one block, [row][point].
#[derive(Debug, Default)]
pub(super) struct ChannelSamples<T> {
    /// Frequencies, Hz: in the image's frame if interpolated, as observed if not.
    pub freq_hz: Vec<f64>,
    /// True if `freq_hz` is in the image's frame.
    pub in_frame: bool,
    pub vis: Vec<Complex<T>>,
    pub weight: Vec<T>,
}

/// Two neighbours and the part of the second.
#[derive(Debug, Clone, Copy)]
struct Pair {
    left: usize,
    part: f64,
}

/// Samples of image channel `chan`; visibilities are left out where `with_vis` is false, and nothing is returned where nothing falls into it.
pub(super) fn channel_samples<T: Float>(
    grid: &ChannelGrid,
    chan: usize,
    block: &Prepared<T>,
    weight: &[T],
    with_vis: bool,
) -> Option<ChannelSamples<T>> {
    if grid.interpolates(&block.freq_hz) {
        interpolated(grid, chan, block, weight, with_vis)
    } else {
        nearest(grid, chan, block, weight, with_vis)
    }
}

fn nearest<T: Float>(grid: &ChannelGrid, chan: usize, block: &Prepared<T>, weight: &[T], with_vis: bool) -> Option<ChannelSamples<T>> {
    let native = &block.freq_hz;
    let falls = |c: usize, factor: f64| ((native[c] * factor - grid.first_hz) / grid.step_hz + 0.5).floor() == chan as f64;
    let used: Vec<usize> = (0..native.len()).filter(|c| block.runs.iter().any(|(_, factor)| falls(*c, *factor))).collect();
    let (first, last) = (*used.first()?, *used.last()?);
    let n = last + 1 - first;
    let n_chan = native.len();
    let mut out = ChannelSamples { freq_hz: native[first..=last].to_vec(), in_frame: false, ..Default::default() };
    out.weight = vec![T::zero(); block.uvw_s.len() * n];
    for (rows, factor) in &block.runs {
        let inside: Vec<bool> = (first..=last).map(|c| falls(c, *factor)).collect();
        for row in rows.clone() {
            let from = &weight[row * n_chan + first..=row * n_chan + last];
            let to = &mut out.weight[row * n..(row + 1) * n];
            for ((to, from), inside) in to.iter_mut().zip(from).zip(&inside) {
                if *inside {
                    *to = *from;
                }
            }
        }
    }
    if with_vis {
        out.vis = (0..block.uvw_s.len())
            .flat_map(|row| block.intensity.vis[row * n_chan + first..=row * n_chan + last].iter().copied())
            .collect();
    }
    Some(out)
}

fn interpolated<T: Float>(grid: &ChannelGrid, chan: usize, block: &Prepared<T>, weight: &[T], with_vis: bool) -> Option<ChannelSamples<T>> {
    let native = &block.freq_hz;
    let n_native = native.len();
    let spacing = (native[1] - native[0]).abs();
    let n = ((grid.step_hz.abs() / spacing).floor() as usize).max(1);
    let center = grid.freq_hz(chan);
    let point = |j: usize| center + grid.step_hz * ((j as f64 + 0.5) / n as f64 - 0.5);
    let freq_hz: Vec<f64> = (0..n).map(point).collect();
    let pairs: Vec<Vec<Option<Pair>>> =
        block.runs.iter().map(|(_, factor)| freq_hz.iter().map(|f| pair(native, f / factor)).collect()).collect();
    if pairs.iter().flatten().all(Option::is_none) {
        return None;
    }
    let n_rows = block.uvw_s.len();
    let zero = Complex::new(T::zero(), T::zero());
    let mut out = ChannelSamples { freq_hz, in_frame: true, vis: Vec::new(), weight: vec![T::zero(); n_rows * n] };
    if with_vis {
        out.vis = vec![zero; n_rows * n];
    }
    for ((rows, _), pairs) in block.runs.iter().zip(&pairs) {
        for (j, pair) in pairs.iter().enumerate() {
            let Some(Pair { left, part }) = *pair else { continue };
            let right = (left + 1).min(n_native - 1);
            let (a, b) = (T::of(1.0 - part), T::of(part));
            for row in rows.clone() {
                let (l, r) = (row * n_native + left, row * n_native + right);
                // Either neighbour flagged: no value between them.
                if weight[l] == T::zero() || weight[r] == T::zero() {
                    continue;
                }
                out.weight[row * n + j] = weight[l] * a + weight[r] * b;
                if with_vis {
                    out.vis[row * n + j] = block.intensity.vis[l] * a + block.intensity.vis[r] * b;
                }
            }
        }
    }
    Some(out)
}

/// The neighbours of a frequency among channels that ascend or descend; exact hits need no second one.
fn pair(native: &[f64], freq: f64) -> Option<Pair> {
    let n = native.len();
    let ascending = native[n - 1] > native[0];
    let left = native.partition_point(|f| if ascending { *f <= freq } else { *f >= freq });
    if left == 0 {
        return None;
    }
    let left = left - 1;
    if left + 1 == n {
        return (native[left] == freq).then_some(Pair { left: left.saturating_sub(1), part: 1.0 });
    }
    Some(Pair { left, part: (freq - native[left]) / (native[left + 1] - native[left]) })
}
