//! Imaging weights of blocks: density of samples, its rule, and the taper.

use std::borrow::Cow;

use rayon::prelude::*;

use super::channels::{ChannelGrid, channel_samples};
use super::pass::Planes;
use super::stream::{Cache, Prepared, Stream};
use crate::data::Beam;
use crate::error::Result;
use crate::gridding::{Density, Float, Geometry, Rounding, Scheme, Taper, WeightRule};
use crate::notice::Reporter;

/// Weighting of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weighting {
    /// How samples are weighted against each other.
    pub scheme: Scheme,
    /// Taper: the image is as if smoothed to this beam.
    pub taper: Option<Beam>,
    /// One density of samples for each channel of a cube, instead of one for all.
    pub per_channel_density: bool,
}

impl Weighting {
    /// 1/sigma², no taper.
    pub const NATURAL: Weighting = Weighting { scheme: Scheme::Natural, taper: None, per_channel_density: false };
}

/// Weighting with the densities it needs.
#[derive(Debug)]
pub(super) struct Weights {
    scheme: Scheme,
    taper: Option<Taper>,
    density: Vec<Density>,
    per_channel: bool,
}

const CHUNK_ROWS: usize = 2048;

impl Weights {
    /// Reads the visibilities once where densities are needed.
    pub fn measure<T: Float>(
        stream: &Stream,
        cache: &Cache<T>,
        planes: &Planes,
        geometry: &Geometry,
        weighting: &Weighting,
        notice: &dyn Reporter,
    ) -> Result<Weights> {
        let taper = weighting.taper.map(Taper::of_beam);
        let per_channel = weighting.per_channel_density && matches!(planes, Planes::Channels(_));
        let mut weights = Weights { scheme: weighting.scheme, taper, density: Vec::new(), per_channel };
        if !weighting.scheme.needs_density() {
            return Ok(weights);
        }
        let density = &mut weights.density;
        match planes {
            Planes::Channels(grid) if per_channel => {
                *density = (0..grid.n_chan).map(|_| Density::new(geometry, Rounding::Nearest)).collect();
                stream.for_each(cache, "density", notice, |block: &Prepared<T>| {
                    density.par_iter_mut().enumerate().for_each(|(chan, density)| add_channel(density, grid, chan, block));
                    Ok(())
                })?;
            }
            _ => {
                *density = vec![Density::new(geometry, Rounding::Down)];
                stream.for_each(cache, "density", notice, |block: &Prepared<T>| {
                    add_all(&mut density[0], planes, block);
                    Ok(())
                })?;
            }
        }
        Ok(weights)
    }

    /// Rules for all planes, computed once a pass.
    pub fn rules(&self) -> Rules<'_> {
        Rules { rule: self.density.iter().map(|d| d.rule(self.scheme)).collect(), taper: self.taper, per_channel: self.per_channel }
    }
}

/// Weighting ready to be applied.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    rule: Vec<WeightRule<'a>>,
    taper: Option<Taper>,
    per_channel: bool,
}

impl Rules<'_> {
    /// Imaging weights of the visibility channels of a block, [row][chan]; where each image channel has a density of its
    /// own these are the natural ones still.
    pub fn apply<'b, T: Float>(&self, block: &'b Prepared<T>, uvw_s: &[[f64; 3]]) -> Cow<'b, [T]> {
        if self.per_channel || self.rule.is_empty() && self.taper.is_none() {
            return Cow::Borrowed(&block.intensity.weight);
        }
        let (freq_hz, mut weight) = (&block.freq_hz, block.intensity.weight.clone());
        let n = (CHUNK_ROWS * freq_hz.len()).max(1);
        let chunks = weight.par_chunks_mut(n).zip(uvw_s.par_chunks(CHUNK_ROWS));
        chunks.for_each(|(weight, uvw)| change_rows(self.rule.first(), self.taper, uvw, freq_hz, weight));
        Cow::Owned(weight)
    }

    /// Imaging weights of the samples of one image channel.
    pub fn apply_channel<T: Float>(&self, chan: usize, uvw_s: &[[f64; 3]], freq_hz: &[f64], weight: &mut [T]) {
        if self.per_channel {
            change_rows(self.rule.get(chan), self.taper, uvw_s, freq_hz, weight);
        }
    }
}

fn change_rows<T: Float>(rule: Option<&WeightRule>, taper: Option<Taper>, uvw_s: &[[f64; 3]], freq_hz: &[f64], weight: &mut [T]) {
    for ([u, v, _], weight) in uvw_s.iter().zip(weight.chunks_mut(freq_hz.len().max(1))) {
        for (w, f) in weight.iter_mut().zip(freq_hz) {
            if *w != T::zero() {
                let (u, v) = (u * f, v * f);
                let mut out = w.f64();
                if let Some(rule) = rule {
                    out = rule.weight(u, v, out);
                }
                if let Some(taper) = &taper {
                    out *= taper.factor(u, v);
                }
                *w = T::of(out);
            }
        }
    }
}

/// Adds the channels that the image uses.
fn add_all<T: Float>(density: &mut Density, planes: &Planes, block: &Prepared<T>) {
    let n_chan = block.n_chan();
    let range = match planes {
        Planes::Channels(grid) => grid.range_hz(),
        _ => (0.0, f64::INFINITY),
    };
    for (rows, factor) in &block.runs {
        for row in rows.clone() {
            let [u, v, _] = block.uvw_s[row];
            let weight = &block.intensity.weight[row * n_chan..(row + 1) * n_chan];
            for (w, f) in weight.iter().zip(block.freq_hz.iter()) {
                let f = f * factor;
                if *w != T::zero() && f >= range.0 && f <= range.1 {
                    density.add(u * f, v * f, w.f64());
                }
            }
        }
    }
}

fn add_channel<T: Float>(density: &mut Density, grid: &ChannelGrid, chan: usize, block: &Prepared<T>) {
    let Some(samples) = channel_samples(grid, chan, block, &block.intensity.weight, false) else { return };
    let shifted = if samples.in_frame { None } else { Some(block.shifted_uvw_s()) };
    let uvw_s = shifted.as_deref().unwrap_or(&block.uvw_s);
    for ([u, v, _], weight) in uvw_s.iter().zip(samples.weight.chunks(samples.freq_hz.len())) {
        for (w, f) in weight.iter().zip(&samples.freq_hz) {
            if *w != T::zero() {
                density.add(u * f, v * f, w.f64());
            }
        }
    }
}
