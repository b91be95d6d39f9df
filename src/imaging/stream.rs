//! One pass over the visibilities: blocks are read ahead, turned into weighted total intensity, and handed on in order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use num_complex::Complex;
use rayon::prelude::*;

use super::ImagingError;
use super::input::{Dropped, Input, Intensity};
use crate::error::Result;
use crate::gridding::Float;
use crate::notice::Reporter;
use crate::sky::{Celestial, Direction, Doppler, Offset, Recenter, SpectralFrame};
use crate::units::C_M_S;

/// A block of total intensity, ready to be weighted and gridded.
#[derive(Debug)]
pub(super) struct Prepared<T> {
    /// Baselines over the speed of light, towards the image's phase center, s.
    pub uvw_s: Vec<[f64; 3]>,
    /// Consecutive rows of one time, with the factor that brings their frequencies to the image's frame.
    pub runs: Vec<(Range<usize>, f64)>,
    /// Frequencies of the channels as observed, Hz.
    pub freq_hz: Arc<[f64]>,
    /// Visibilities and natural weights, [row][chan].
    pub intensity: Intensity<T>,
}

impl<T: Float> Prepared<T> {
    /// Number of channels.
    pub fn n_chan(&self) -> usize {
        self.freq_hz.len()
    }
    /// Baselines that, times the observed frequency, are wavelengths in the image's frame.
    pub fn shifted_uvw_s(&self) -> Vec<[f64; 3]> {
        let mut out = self.uvw_s.clone();
        for (rows, factor) in &self.runs {
            out[rows.clone()].iter_mut().for_each(|uvw| *uvw = uvw.map(|x| x * factor));
        }
        out
    }
    fn bytes(&self) -> usize {
        self.uvw_s.len() * 24 + self.intensity.vis.len() * 3 * size_of::<T>() + self.runs.len() * 24
    }
}

/// Where the visibilities come from and what the image wants of them.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    inputs: &'a [Input<'a>],
    frame: SpectralFrame,
    /// (input, block)
    blocks: Vec<(usize, usize)>,
    doppler: Mutex<BTreeMap<(usize, usize), Arc<Doppler>>>,
    placement: Vec<Placement>,
}

/// How an input's baselines become those of the image.
#[derive(Debug, Clone, Copy)]
enum Placement {
    /// The image's phase center is the pointing's.
    Own,
    /// Baselines and phases are turned to the image's phase center.
    Moved(Recenter),
    /// Baselines are turned, phases are moved to the pixel nearest to the pointing, which lies at (l, m) of the image: the phase
    /// b·(s - s_p) = u(l-l_p) + v(m-m_p) + w(n-n_p), whose last term is a slope in l and m about that pixel.
    Facet { turn: Recenter, to_pixel: Recenter, slope: [f64; 2] },
}

/// What phases refer to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Phases<'a> {
    /// The image's phase center.
    Image,
    /// The pixel of these that is nearest to each pointing.
    Pixels(&'a Celestial),
}

/// What a pass met.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Met {
    pub dropped: Dropped,
    /// Lowest and highest frequency, channel edges included, in the image's frame, Hz.
    pub band_hz: (f64, f64),
}

impl Default for Met {
    fn default() -> Met {
        Met { dropped: Dropped::default(), band_hz: (f64::INFINITY, 0.0) }
    }
}

impl Met {
    /// Adds a block.
    pub fn add<T: Float>(&mut self, block: &Prepared<T>) {
        self.dropped += block.intensity.dropped;
        if block.intensity.weight.iter().all(|w| *w == T::zero()) {
            return;
        }
        let f = &block.freq_hz;
        let half = if f.len() > 1 { 0.5 * (f[1] - f[0]).abs() } else { 0.0 };
        let (low, high) = f.iter().fold((f64::INFINITY, 0f64), |(a, b), f| (a.min(*f), b.max(*f)));
        for (_, factor) in &block.runs {
            self.band_hz = (self.band_hz.0.min((low - half) * factor), self.band_hz.1.max((high + half) * factor));
        }
    }

    /// Both together.
    pub fn with(mut self, other: Met) -> Met {
        self.dropped += other.dropped;
        self.band_hz = (self.band_hz.0.min(other.band_hz.0), self.band_hz.1.max(other.band_hz.1));
        self
    }
}

/// Blocks that are kept in memory between passes, up to a number of bytes.
#[derive(Debug)]
pub(super) struct Cache<T> {
    limit_bytes: usize,
    blocks: Mutex<Kept<T>>,
}

#[derive(Debug)]
struct Kept<T> {
    bytes: usize,
    block: BTreeMap<usize, Arc<Prepared<T>>>,
    full: bool,
}

impl<T> Cache<T> {
    /// Keeps blocks as long as they fit into `limit_bytes` together.
    pub fn new(limit_bytes: usize) -> Cache<T> {
        Cache { limit_bytes, blocks: Mutex::new(Kept { bytes: 0, block: BTreeMap::new(), full: false }) }
    }

    fn has(&self, i: usize) -> bool {
        self.blocks.lock().is_ok_and(|kept| kept.block.contains_key(&i))
    }

    /// True once a block did not fit.
    fn is_full(&self) -> bool {
        self.blocks.lock().is_ok_and(|kept| kept.full)
    }
}

impl<'a> Stream<'a> {
    /// A stream of all blocks of `inputs` towards `center`, with frequencies in `frame`.
    pub fn new(inputs: &'a [Input<'a>], center: Direction, frame: SpectralFrame, phases: Phases) -> Result<Stream<'a>> {
        let blocks = inputs.iter().enumerate().flat_map(|(i, input)| (0..input.vis.n_blocks()).map(move |b| (i, b))).collect();
        let placement = inputs.iter().map(|input| placement(input.center(), center, phases)).collect::<Result<_, ImagingError>>()?;
        Ok(Stream { inputs, frame, blocks, doppler: Mutex::default(), placement })
    }

    /// Calls `each` with every block in order, while the next one is read on another thread.
    pub fn for_each<T: Float>(
        &self,
        cache: &Cache<T>,
        stage: &str,
        notice: &dyn Reporter,
        mut each: impl FnMut(&Prepared<T>) -> Result<()> + Send,
    ) -> Result<Met> {
        let n = self.blocks.len();
        let mut met = Met::default();
        let mut next = if n > 0 { Some(self.block(cache, 0)?) } else { None };
        for i in 0..n {
            notice.check()?;
            let Some(now) = next.take() else { break };
            met.add(&now);
            let read = || if i + 1 < n { self.block(cache, i + 1).map(Some) } else { Ok(None) };
            let (done, read) = rayon::join(|| each(&now), read);
            done?;
            next = read?;
            notice.progress(stage, i as u64 + 1, n as u64);
        }
        Ok(met)
    }

    /// All blocks, if they can be kept in memory together; those that can stay there.
    pub fn all<T: Float>(&self, cache: &Cache<T>, stage: &str, notice: &dyn Reporter) -> Result<Option<Vec<Arc<Prepared<T>>>>> {
        let n = self.blocks.len();
        let mut all = Vec::with_capacity(n);
        for i in 0..n {
            notice.check()?;
            if !cache.has(i) && cache.is_full() {
                return Ok(None);
            }
            let new = !cache.has(i);
            let block = self.block(cache, i)?;
            if !cache.has(i) {
                return Ok(None);
            }
            all.push(block);
            if new {
                notice.progress(stage, i as u64 + 1, n as u64);
            }
        }
        Ok(Some(all))
    }

    /// Rows of all inputs.
    pub fn n_rows(&self) -> u64 {
        self.inputs.iter().map(|i| i.vis.n_rows()).sum()
    }

    /// Number of blocks.
    pub fn n_blocks(&self) -> usize {
        self.blocks.len()
    }

    /// One block.
    pub fn block<T: Float>(&self, cache: &Cache<T>, i: usize) -> Result<Arc<Prepared<T>>> {
        if let Some(block) = cache.blocks.lock().ok().and_then(|kept| kept.block.get(&i).cloned()) {
            return Ok(block);
        }
        let block = Arc::new(self.prepare(i)?);
        if let Ok(mut kept) = cache.blocks.lock() {
            if kept.bytes + block.bytes() <= cache.limit_bytes {
                kept.bytes += block.bytes();
                kept.block.insert(i, block.clone());
            } else {
                kept.full = true;
            }
        }
        Ok(block)
    }

    fn prepare<T: Float>(&self, i: usize) -> Result<Prepared<T>> {
        let (i_input, i_block) = self.blocks[i];
        let block = self.inputs[i_input].vis.read_block(i_block)?;
        let mut intensity = Intensity::default();
        intensity.fill(&block)?;
        let doppler = self.doppler(i_input, block.i_spw)?;
        let mut prepared = Prepared {
            uvw_s: block.uvw_m.rows().into_iter().map(|r| [r[0] / C_M_S, r[1] / C_M_S, r[2] / C_M_S]).collect(),
            runs: runs(&block.time_s, &doppler),
            freq_hz: block.freq_hz.clone(),
            intensity,
        };
        drop_rows_without_place(&mut prepared);
        match &self.placement[i_input] {
            Placement::Own => {}
            Placement::Moved(recenter) => {
                move_phases(&mut prepared, recenter);
                prepared.uvw_s.iter_mut().for_each(|uvw| *uvw = recenter.uvw(*uvw));
            }
            Placement::Facet { turn, to_pixel, slope } => {
                move_phases(&mut prepared, to_pixel);
                for uvw in &mut prepared.uvw_s {
                    let [u, v, w] = turn.uvw(*uvw);
                    *uvw = [u - w * slope[0], v - w * slope[1], w];
                }
            }
        }
        Ok(prepared)
    }

    fn doppler(&self, i_input: usize, i_spw: usize) -> Result<Arc<Doppler>> {
        let known = self.doppler.lock().ok().and_then(|d| d.get(&(i_input, i_spw)).cloned());
        if let Some(doppler) = known {
            return Ok(doppler);
        }
        let doppler = Arc::new(self.inputs[i_input].doppler(i_spw, self.frame)?);
        if let Ok(mut all) = self.doppler.lock() {
            all.insert((i_input, i_spw), doppler.clone());
        }
        Ok(doppler)
    }
}

/// Offsets below this move no image: a thousandth of the finest beam.
const SAME_CENTER_RAD: f64 = 5e-11;

fn placement(from: Direction, to: Direction, phases: Phases) -> Result<Placement, ImagingError> {
    let to = to.in_frame(from.frame).ok_or_else(|| ImagingError::Frame { from: to.to_string(), to: from.frame.name() })?;
    if from.separation_rad(to) < SAME_CENTER_RAD {
        return Ok(Placement::Own);
    }
    let (dra_rad, ddec_rad) = from.offset_to(to);
    let turn = Recenter::by(from, Offset { dra_rad, ddec_rad });
    let Phases::Pixels(sky) = phases else { return Ok(Placement::Moved(turn)) };
    let behind = || ImagingError::Frame { from: from.to_string(), to: to.frame.name() };
    let pixel = nearest_pixel(sky, from).and_then(|(x, y)| sky.sky_from_pixel(x, y)).ok_or_else(behind)?;
    let pixel = pixel.in_frame(from.frame).ok_or_else(behind)?;
    let (dra_rad, ddec_rad) = from.offset_to(pixel);
    let to_pixel = Recenter::by(from, Offset { dra_rad, ddec_rad });
    let (dra_rad, ddec_rad) = to.offset_to(pixel);
    let [l, m, n_minus_1] = Offset { dra_rad, ddec_rad }.lmn(to);
    let n = 1.0 + n_minus_1;
    Ok(Placement::Facet { turn, to_pixel, slope: [l / n, m / n] })
}

/// The whole pixel nearest to a direction.
pub(super) fn nearest_pixel(sky: &Celestial, direction: Direction) -> Option<(f64, f64)> {
    let (x, y) = sky.pixel_from_sky(direction.in_frame(sky.frame())?)?;
    Some((x.round(), y.round()))
}

/// [t0 t0 t0 t1 t1] -> (0..3, factor(t0)), (3..5, factor(t1))
fn runs(time_s: &[f64], doppler: &Doppler) -> Vec<(Range<usize>, f64)> {
    let mut out: Vec<(Range<usize>, f64)> = Vec::new();
    for (i, time) in time_s.iter().enumerate() {
        match out.last_mut() {
            Some((rows, _)) if time_s[rows.start] == *time => rows.end = i + 1,
            _ => out.push((i..i + 1, doppler.factor(*time))),
        }
    }
    out
}

/// Takes rows out whose baseline or time is not a number, as flagged rows may have them.
fn drop_rows_without_place<T: Float>(block: &mut Prepared<T>) {
    let n_chan = block.n_chan();
    let broken_time: Vec<Range<usize>> = block.runs.iter().filter(|(_, f)| !f.is_finite()).map(|(rows, _)| rows.clone()).collect();
    let broken = |(row, uvw): (usize, &[f64; 3])| {
        (!uvw.iter().all(|x| x.is_finite()) || broken_time.iter().any(|rows| rows.contains(&row))).then_some(row)
    };
    let rows: Vec<usize> = block.uvw_s.iter().enumerate().filter_map(broken).collect();
    for row in rows {
        block.uvw_s[row] = [0.0; 3];
        let weight = &mut block.intensity.weight[row * n_chan..(row + 1) * n_chan];
        block.intensity.dropped.not_finite += weight.iter().filter(|w| **w != T::zero()).count() as u64;
        weight.fill(T::zero());
    }
    block.runs.iter_mut().filter(|(_, factor)| !factor.is_finite()).for_each(|(_, factor)| *factor = 1.0);
}

/// Refers the phases of a block to another direction.
fn move_phases<T: Float>(block: &mut Prepared<T>, recenter: &Recenter) {
    let n_chan = block.n_chan().max(1);
    let steps = Steps::of(&block.freq_hz);
    let mut factor = vec![1.0; block.uvw_s.len()];
    block.runs.iter().for_each(|(rows, f)| factor[rows.clone()].fill(*f));
    let rows = block.uvw_s.par_iter().zip(&factor).zip(block.intensity.vis.par_chunks_mut(n_chan));
    rows.with_min_len(256).for_each(|((uvw, factor), vis)| {
        let path = recenter.path(*uvw) * factor;
        for (v, p) in vis.iter_mut().zip(steps.phasors(path)) {
            *v = *v * Complex::new(T::of(p.re), T::of(p.im));
        }
    });
}

/// Frequencies of a window: where they are equally spaced, the phasor of a channel is that of the one before times a constant.
struct Steps<'a> {
    freq_hz: &'a [f64],
    step_hz: Option<f64>,
}

/// Phasors are computed anew after as many channels: rounding adds up to no more than 1e-14.
const ANEW: usize = 64;

impl<'a> Steps<'a> {
    fn of(freq_hz: &'a [f64]) -> Steps<'a> {
        let n = freq_hz.len();
        let step = if n > 1 { (freq_hz[n - 1] - freq_hz[0]) / (n - 1) as f64 } else { 0.0 };
        let even = freq_hz.iter().enumerate().all(|(i, f)| (f - freq_hz[0] - step * i as f64).abs() <= 1e-9 * step.abs());
        Steps { freq_hz, step_hz: even.then_some(step) }
    }

    /// exp(-2πi path f) of each channel.
    fn phasors(&self, path_s: f64) -> impl Iterator<Item = Complex<f64>> {
        let at = move |f: f64| Complex::cis(-std::f64::consts::TAU * path_s * f);
        let step = self.step_hz.map(at);
        let mut now = Complex::default();
        self.freq_hz.iter().enumerate().map(move |(i, f)| {
            now = match step {
                Some(step) if i % ANEW != 0 => now * step,
                _ => at(*f),
            };
            now
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Channels that are equally spaced, and some that are not, over many turns of phase.
    #[test]
    fn phasors_of_channels_are_those_of_their_frequencies() {
        let even: Vec<f64> = (0..300).map(|i| 230e9 + 122e3 * f64::from(i)).collect();
        let uneven: Vec<f64> = even.iter().enumerate().map(|(i, f)| f + if i == 150 { 1e3 } else { 0.0 }).collect();
        for (freq_hz, is_even) in [(&even, true), (&uneven, false)] {
            let steps = Steps::of(freq_hz);
            assert_eq!(steps.step_hz.is_some(), is_even);
            for path_s in [0.0, 3e-10, -7.7e-6] {
                for (p, f) in steps.phasors(path_s).zip(freq_hz) {
                    let exact = Complex::cis(-std::f64::consts::TAU * path_s * f);
                    // The turns themselves are known to 1e-16 of their number, 1.8 million.
                    assert!((p - exact).norm() < 2e-8 * (path_s.abs() / 7.7e-6) + 1e-13, "{path_s} {}", (p - exact).norm());
                }
            }
        }
    }
}
