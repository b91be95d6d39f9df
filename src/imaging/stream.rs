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
use crate::sky::{Direction, Doppler, Offset, Recenter, SpectralFrame};
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
    /// Baselines are turned, phases stay those of the pointing, which lies at (l, m) of the image: the phase
    /// b·(s - s_p) = u(l-l_p) + v(m-m_p) + w(n-n_p), whose last term is a slope in l and m about the pointing.
    Facet { turn: Recenter, slope: [f64; 2] },
}

/// Whether phases refer to the image's center or to that of each pointing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phases {
    Image,
    Pointing,
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
    fn add<T: Float>(&mut self, block: &Prepared<T>) {
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
}

impl<T> Cache<T> {
    /// Keeps blocks as long as they fit into `limit_bytes` together.
    pub fn new(limit_bytes: usize) -> Cache<T> {
        Cache { limit_bytes, blocks: Mutex::new(Kept { bytes: 0, block: BTreeMap::new() }) }
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
        let mut next = if n > 0 { Some(self.get(cache, 0)?) } else { None };
        for i in 0..n {
            notice.check()?;
            let Some(now) = next.take() else { break };
            met.add(&now);
            let read = || if i + 1 < n { self.get(cache, i + 1).map(Some) } else { Ok(None) };
            let (done, read) = rayon::join(|| each(&now), read);
            done?;
            next = read?;
            notice.progress(stage, i as u64 + 1, n as u64);
        }
        Ok(met)
    }

    fn get<T: Float>(&self, cache: &Cache<T>, i: usize) -> Result<Arc<Prepared<T>>> {
        if let Some(block) = cache.blocks.lock().ok().and_then(|kept| kept.block.get(&i).cloned()) {
            return Ok(block);
        }
        let block = Arc::new(self.prepare(i)?);
        if let Ok(mut kept) = cache.blocks.lock()
            && kept.bytes + block.bytes() <= cache.limit_bytes
        {
            kept.bytes += block.bytes();
            kept.block.insert(i, block.clone());
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
        match &self.placement[i_input] {
            Placement::Own => {}
            Placement::Moved(recenter) => turn(&mut prepared, recenter),
            Placement::Facet { turn, slope } => {
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
    if phases == Phases::Image {
        return Ok(Placement::Moved(turn));
    }
    let (dra_rad, ddec_rad) = to.offset_to(from);
    let [l, m, n_minus_1] = Offset { dra_rad, ddec_rad }.lmn(to);
    let n = 1.0 + n_minus_1;
    Ok(Placement::Facet { turn, slope: [l / n, m / n] })
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

/// Moves the phase center of a block.
fn turn<T: Float>(block: &mut Prepared<T>, recenter: &Recenter) {
    let n_chan = block.n_chan();
    let freq = block.freq_hz.clone();
    let mut factor = vec![1.0; block.uvw_s.len()];
    block.runs.iter().for_each(|(rows, f)| factor[rows.clone()].fill(*f));
    let rows = block.uvw_s.par_iter_mut().zip(&factor).zip(block.intensity.vis.par_chunks_mut(n_chan.max(1)));
    rows.with_min_len(256).for_each(|((uvw, factor), vis)| {
        let path = recenter.path(*uvw) * factor;
        *uvw = recenter.uvw(*uvw);
        for (v, f) in vis.iter_mut().zip(freq.iter()) {
            let p = Complex::cis(-std::f64::consts::TAU * path * f);
            *v = *v * Complex::new(T::of(p.re), T::of(p.im));
        }
    });
}
