//! One pass of gridding, with or without a model to subtract: from blocks to sums over visibilities.

use num_complex::Complex;
use rayon::prelude::*;

use super::channels::{ChannelGrid, channel_samples};
use super::stream::{Cache, Met, Prepared, Stream};
use super::weighting::{Rules, Weights};
use crate::error::Result;
use crate::gridding::{Content, Float, Samples, WideGridder, WidePlane};
use crate::notice::Reporter;

/// The planes of an image.
#[derive(Debug, Clone, PartialEq)]
pub enum Planes {
    /// All channels together.
    Continuum,
    /// Taylor terms of the spectrum: term t is weighted by ((ν - ν0)/ν0)^t.
    Taylor {
        /// Number of terms.
        n_terms: usize,
        /// ν0, Hz.
        reference_hz: f64,
    },
    /// The channels of a cube.
    Channels(ChannelGrid),
}

impl Planes {
    /// Planes of the image.
    pub fn n_images(&self) -> usize {
        match self {
            Planes::Continuum => 1,
            Planes::Taylor { n_terms, .. } => *n_terms,
            Planes::Channels(grid) => grid.n_chan,
        }
    }
    /// Planes of the PSF: products of two terms reach twice as high.
    pub fn n_psfs(&self) -> usize {
        match self {
            Planes::Taylor { n_terms, .. } => 2 * n_terms - 1,
            _ => self.n_images(),
        }
    }
}

/// Sums over visibilities, not yet divided by the weights.
#[derive(Debug)]
pub(super) struct Sums<T> {
    /// Σ w V exp(-2πi(ul+vm)), plane by plane; empty where only the PSF was asked for.
    pub image: Vec<Vec<T>>,
    /// Σ w exp(-2πi(ul+vm)); empty where not asked for.
    pub psf: Vec<Vec<T>>,
    pub tally: Vec<Tally>,
    pub met: Met,
}

/// What was gridded into a plane.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Tally {
    /// Σ w
    pub sum_weight: f64,
    /// Σ w² sigma², the variance of the sum.
    pub variance: f64,
    /// Σ 1/sigma²
    pub inverse_variance: f64,
    /// Samples used.
    pub n_samples: u64,
    /// Samples that the cell is too coarse for.
    pub n_outside: u64,
}

/// What to grid.
pub(super) struct Pass<'a, T: Float> {
    pub stream: &'a Stream<'a>,
    pub cache: &'a Cache<T>,
    pub gridder: &'a WideGridder<T>,
    pub planes: &'a Planes,
    pub weights: &'a Weights,
    pub content: Content,
    /// Planes of a model to subtract, one for each image plane.
    pub model: Option<&'a [WidePlane<T>]>,
    pub stage: &'a str,
}

impl<T: Float> Pass<'_, T>
where
    Complex<T>: bytemuck::Pod,
{
    /// Reads all blocks and grids them.
    pub fn run(&self, notice: &dyn Reporter) -> Result<Sums<T>> {
        let n = if self.content == Content::Vis { self.planes.n_images() } else { self.planes.n_psfs() };
        let mut plane: Vec<WidePlane<T>> = (0..n).map(|i| self.gridder.plane(self.content_of(i))).collect();
        let mut tally = vec![Tally::default(); n];
        let rules = self.weights.rules();
        let met = self.stream.for_each(self.cache, self.stage, notice, |block: &Prepared<T>| match self.planes {
            Planes::Channels(grid) => self.add_channels(grid, &rules, block, &mut plane, &mut tally),
            _ => self.add_continuum(&rules, block, &mut plane, &mut tally),
        })?;
        for (tally, plane) in tally.iter_mut().zip(&plane) {
            (tally.sum_weight, tally.n_outside) = (plane.sum_weight(), plane.n_outside());
        }
        let many = n > 1;
        let finish = |plane: WidePlane<T>| self.gridder.image_and_psf(plane, !many);
        let images: Vec<(Vec<T>, Vec<T>)> =
            if many { plane.into_par_iter().map(finish).collect() } else { plane.into_iter().map(finish).collect() };
        let (mut image, mut psf): (Vec<_>, Vec<_>) = images.into_iter().unzip();
        image.retain(|i| !i.is_empty());
        psf.retain(|p| !p.is_empty());
        Ok(Sums { image, psf, tally, met })
    }

    /// PSFs of high Taylor terms have no image beside them.
    fn content_of(&self, i: usize) -> Content {
        if i >= self.planes.n_images() { Content::Psf } else { self.content }
    }

    fn add_continuum(&self, rules: &Rules, block: &Prepared<T>, plane: &mut [WidePlane<T>], tally: &mut [Tally]) -> Result<()> {
        let uvw_s = block.shifted_uvw_s();
        let weight = rules.apply(block, &uvw_s);
        let samples = Samples { uvw_s: &uvw_s, freq_hz: &block.freq_hz, weight: &weight };
        let residual = match self.model {
            Some(model) => Some(self.residual(block, &samples, model)?),
            None => None,
        };
        let vis = residual.as_deref().unwrap_or(&block.intensity.vis);
        add_tally(&mut tally[0], &weight, &block.intensity.weight, block.intensity.weight_to_inverse_variance);
        for (term, plane) in plane.iter_mut().enumerate() {
            let powers = (term > 0).then(|| self.times_power(block, &weight, term));
            let samples = Samples { weight: powers.as_deref().unwrap_or(&weight), ..samples };
            self.gridder.add(plane, &samples, Some(vis), true)?;
        }
        Ok(())
    }

    /// Weights times ((ν - ν0)/ν0)^term.
    fn times_power(&self, block: &Prepared<T>, weight: &[T], term: usize) -> Vec<T> {
        let x = self.offsets(block);
        let n = block.n_chan();
        let mut out = weight.to_vec();
        for (rows, x) in x {
            let power: Vec<T> = x.iter().map(|x| T::of(x.powi(term as i32))).collect();
            for row in rows {
                out[row * n..(row + 1) * n].iter_mut().zip(&power).for_each(|(w, p)| *w *= *p);
            }
        }
        out
    }

    /// (ν - ν0)/ν0 of each channel, for each run of rows.
    fn offsets(&self, block: &Prepared<T>) -> Vec<(std::ops::Range<usize>, Vec<f64>)> {
        let Planes::Taylor { reference_hz, .. } = self.planes else { return Vec::new() };
        let offset = |factor: f64| block.freq_hz.iter().map(|f| f * factor / reference_hz - 1.0).collect();
        block.runs.iter().map(|(rows, factor)| (rows.clone(), offset(*factor))).collect()
    }

    fn residual(&self, block: &Prepared<T>, samples: &Samples<T>, model: &[WidePlane<T>]) -> Result<Vec<Complex<T>>> {
        let mut out = block.intensity.vis.clone();
        let mut predicted = vec![Complex::new(T::zero(), T::zero()); out.len()];
        let n = block.n_chan();
        for (term, model) in model.iter().enumerate() {
            self.gridder.predict(model, samples, &mut predicted, true)?;
            if term == 0 {
                out.par_iter_mut().zip(&predicted).with_min_len(1 << 14).for_each(|(v, p)| *v = *v - *p);
                continue;
            }
            for (rows, x) in self.offsets(block) {
                let power: Vec<T> = x.iter().map(|x| T::of(x.powi(term as i32))).collect();
                for row in rows {
                    let cells = out[row * n..(row + 1) * n].iter_mut().zip(&predicted[row * n..(row + 1) * n]);
                    cells.zip(&power).for_each(|((v, p), x)| *v = *v - *p * *x);
                }
            }
        }
        Ok(out)
    }

    fn add_channels(
        &self,
        grid: &ChannelGrid,
        rules: &Rules,
        block: &Prepared<T>,
        plane: &mut [WidePlane<T>],
        tally: &mut [Tally],
    ) -> Result<()> {
        let shifted = block.shifted_uvw_s();
        let weight = rules.apply(block, &shifted);
        plane.par_iter_mut().zip(tally).enumerate().with_max_len(1).try_for_each(|(chan, (plane, tally))| {
            let with_vis = self.content != Content::Psf;
            let Some(mut got) = channel_samples(grid, chan, block, &weight, with_vis) else { return Ok(()) };
            let uvw_s = if got.in_frame { &block.uvw_s } else { &shifted };
            let natural = got.weight.clone();
            rules.apply_channel(chan, uvw_s, &got.freq_hz, &mut got.weight);
            let samples = Samples { uvw_s, freq_hz: &got.freq_hz, weight: &got.weight };
            if let Some(model) = self.model {
                let mut predicted = vec![Complex::new(T::zero(), T::zero()); got.vis.len()];
                self.gridder.predict(&model[chan], &samples, &mut predicted, false)?;
                got.vis.iter_mut().zip(&predicted).for_each(|(v, p)| *v = *v - *p);
            }
            add_tally(tally, &got.weight, &natural, block.intensity.weight_to_inverse_variance);
            self.gridder.add(plane, &samples, with_vis.then_some(got.vis.as_slice()), false)?;
            Ok(())
        })
    }
}

fn add_tally<T: Float>(tally: &mut Tally, weight: &[T], natural: &[T], to_inverse_variance: f64) {
    // Fixed pieces, summed in their order.
    let piece = |(w, n): (&[T], &[T])| {
        let (mut variance, mut inverse, mut count) = (0.0, 0.0, 0u64);
        for (w, n) in w.iter().zip(n).filter(|(w, _)| **w != T::zero()) {
            let (w, n) = (w.f64(), n.f64() * to_inverse_variance);
            variance += w * w / n;
            inverse += n;
            count += 1;
        }
        (variance, inverse, count)
    };
    let pieces: Vec<_> = weight.par_chunks(1 << 14).zip(natural.par_chunks(1 << 14)).map(piece).collect();
    for (variance, inverse, count) in pieces {
        tally.variance += variance;
        tally.inverse_variance += inverse;
        tally.n_samples += count;
    }
}
