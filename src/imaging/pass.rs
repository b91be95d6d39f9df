//! One pass of gridding, with or without a model to subtract: from blocks to sums over visibilities.
//!
//! Channels of a cube whose visibilities are all in memory are made one after the other by each thread, so that only a few Fourier
//! planes exist at a time; otherwise as many planes as memory allows take block after block.

use std::borrow::Cow;
use std::sync::Arc;

use ndarray::ArrayView2;
use num_complex::Complex;
use rayon::prelude::*;

use super::channels::{ChannelGrid, channel_samples};
use super::stream::{Cache, Met, Prepared, Stream};
use super::weighting::{Rules, Weights};
use super::{memory, shape_error};
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
    /// Σ w V exp(-2πi(ul+vm)), plane by plane; `None` where it was not asked for.
    pub image: Vec<Option<Vec<T>>>,
    /// Σ w exp(-2πi(ul+vm)); nothing if not asked for.
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
    /// Images of a model to subtract, Jy/pixel, one for each image plane; planes of `None` are left out. Terms are given together.
    pub model: Option<&'a [Option<ArrayView2<'a, f32>>]>,
    pub stage: &'a str,
}

impl<T: Float> Pass<'_, T>
where
    Complex<T>: bytemuck::Pod,
{
    /// Reads all blocks and grids them.
    pub fn run(&self, notice: &dyn Reporter) -> Result<Sums<T>> {
        let Planes::Channels(grid) = self.planes else { return self.all_planes(notice) };
        match self.stream.all(self.cache, self.stage, notice)? {
            Some(blocks) => self.plane_by_plane(grid, &blocks, notice),
            None => self.planes_in_groups(grid, notice),
        }
    }

    fn n_planes(&self) -> usize {
        if self.content == Content::Vis { self.planes.n_images() } else { self.planes.n_psfs() }
    }

    fn is_wanted(&self, plane: usize) -> bool {
        self.model.is_none_or(|model| model.get(plane).is_none_or(Option::is_some))
    }

    /// The Fourier plane of the model of an image plane, if there is a model.
    fn model_plane(&self, plane: usize, parallel: bool, notice: &dyn Reporter) -> Result<Option<WidePlane<T>>> {
        let Some(model) = self.model.and_then(|model| model.get(plane)?.as_ref()) else { return Ok(None) };
        let geometry = self.gridder.geometry();
        if model.dim() != (geometry.ny, geometry.nx) {
            return Err(shape_error("model", model.dim(), (geometry.ny, geometry.nx)).into());
        }
        if model.iter().all(|v| *v == 0.0) {
            return Ok(None);
        }
        let values: Vec<T> = model.iter().map(|v| T::of(f64::from(*v))).collect();
        let plane = self.gridder.prepare_until(&values, None, parallel, &|| notice.cancelled())?;
        notice.check()?;
        Ok(Some(plane))
    }

    /// Continuum: all planes take block after block.
    fn all_planes(&self, notice: &dyn Reporter) -> Result<Sums<T>> {
        let n = self.n_planes();
        let mut plane: Vec<WidePlane<T>> = (0..n).map(|i| self.gridder.plane(self.content_of(i))).collect();
        let model: Vec<Option<WidePlane<T>>> = (0..n).map(|i| self.model_plane(i, true, notice)).collect::<Result<_>>()?;
        let mut tally = vec![Tally::default(); n];
        let rules = self.weights.rules();
        let met = self.stream.for_each(self.cache, self.stage, notice, |block: &Prepared<T>| {
            self.add_continuum(&rules, block, &model, &mut plane, &mut tally)
        })?;
        tally.iter_mut().zip(&plane).for_each(|(tally, plane)| tally.add_sums_of(plane));
        let made = plane.iter_mut().map(|p| self.images_of(p, true, notice)).zip(tally).map(|(images, tally)| Ok((images?, tally)));
        let made = made.collect::<Result<Vec<Made<T>>>>()?;
        Ok(self.sums(made, met))
    }

    /// Cubes whose visibilities are in memory.
    fn plane_by_plane(&self, grid: &ChannelGrid, blocks: &[Arc<Prepared<T>>], notice: &dyn Reporter) -> Result<Sums<T>> {
        let rules = self.weights.rules();
        let weighted: Vec<Weighted<T>> = blocks.iter().map(|block| Weighted::new(block, &rules)).collect();
        let one = |scratch: &mut Option<WidePlane<T>>, chan: usize| -> Result<Made<T>> {
            notice.check()?;
            let mut tally = Tally::default();
            if !self.is_wanted(chan) {
                return Ok((Default::default(), tally));
            }
            let plane = scratch.get_or_insert_with(|| self.gridder.plane(self.content));
            plane.clear();
            let model = self.model_plane(chan, false, notice)?;
            for block in &weighted {
                self.add_channel(grid, chan, &rules, block, model.as_ref(), plane, &mut tally)?;
            }
            tally.add_sums_of(plane);
            Ok((self.images_of(plane, false, notice)?, tally))
        };
        let made: Vec<Made<T>> =
            (0..self.n_planes()).into_par_iter().with_max_len(1).map_init(|| None, |s, chan| one(s, chan)).collect::<Result<_>>()?;
        let mut met = Met::default();
        blocks.iter().for_each(|block| met.add(block));
        notice.progress(self.stage, blocks.len() as u64, blocks.len() as u64);
        Ok(self.sums(made, met))
    }

    /// Cubes larger than memory: the visibilities are read once for each group of planes.
    fn planes_in_groups(&self, grid: &ChannelGrid, notice: &dyn Reporter) -> Result<Sums<T>> {
        let wanted: Vec<usize> = (0..self.n_planes()).filter(|i| self.is_wanted(*i)).collect();
        let bytes = self.gridder.plane_bytes(self.content) + if self.model.is_some() { self.gridder.plane_bytes(Content::Vis) } else { 0 };
        let group = (memory::for_grids() / bytes.max(1)).max(rayon::current_num_threads());
        let rules = self.weights.rules();
        let mut made: Vec<Made<T>> = (0..self.n_planes()).map(|_| Default::default()).collect();
        let mut met = Met::default();
        for chans in wanted.chunks(group) {
            let model = |chan: &usize| self.model_plane(*chan, false, notice);
            let model: Vec<Option<WidePlane<T>>> = chans.par_iter().map(model).collect::<Result<_>>()?;
            let mut planes: Vec<(WidePlane<T>, Tally)> =
                chans.iter().map(|_| (self.gridder.plane(self.content), Tally::default())).collect();
            met = self.stream.for_each(self.cache, self.stage, notice, |block: &Prepared<T>| {
                let block = Weighted::new(block, &rules);
                planes.par_iter_mut().zip(chans).zip(&model).with_max_len(1).try_for_each(|(((plane, tally), chan), model)| {
                    self.add_channel(grid, *chan, &rules, &block, model.as_ref(), plane, tally)
                })
            })?;
            let finish = |(mut plane, mut tally): (WidePlane<T>, Tally)| -> Result<Made<T>> {
                tally.add_sums_of(&plane);
                Ok((self.images_of(&mut plane, false, notice)?, tally))
            };
            let finished: Vec<Made<T>> = planes.into_par_iter().map(finish).collect::<Result<_>>()?;
            chans.iter().zip(finished).for_each(|(chan, new)| made[*chan] = new);
        }
        Ok(self.sums(made, met))
    }

    /// Image and PSF of a plane; an error once the user asked to stop.
    fn images_of(&self, plane: &mut WidePlane<T>, parallel: bool, notice: &dyn Reporter) -> Result<(Vec<T>, Vec<T>)> {
        let images = self.gridder.image_and_psf_until(plane, parallel, &|| notice.cancelled());
        notice.check()?;
        Ok(images)
    }

    fn sums(&self, made: Vec<Made<T>>, met: Met) -> Sums<T> {
        let (images, tally): (Vec<_>, Vec<_>) = made.into_iter().unzip();
        let (image, mut psf): (Vec<Vec<T>>, Vec<Vec<T>>) = images.into_iter().unzip();
        let image = image.into_iter().take(self.planes.n_images()).map(|i| (!i.is_empty()).then_some(i)).collect();
        psf.retain(|p| !p.is_empty());
        Sums { image, psf, tally, met }
    }

    /// Sum of the imaging weights of the middle plane, about: from a few blocks, for all rows.
    pub fn expected_weight(&self) -> Result<f64> {
        let n = self.stream.n_blocks();
        let rules = self.weights.rules();
        let (mut sum, mut n_rows) = (0.0, 0);
        for i in (0..n).step_by(n.div_ceil(LOOKED_AT).max(1)) {
            let block = self.stream.block(self.cache, i)?;
            let weighted = Weighted::new(&block, &rules);
            n_rows += block.uvw_s.len();
            sum += match self.planes {
                Planes::Channels(grid) => self.weight_of_channel(grid, grid.n_chan / 2, &rules, &weighted),
                _ => sum_of(&weighted.weight),
            };
        }
        Ok(if n_rows > 0 { sum * self.stream.n_rows() as f64 / n_rows as f64 } else { 0.0 })
    }

    fn weight_of_channel(&self, grid: &ChannelGrid, chan: usize, rules: &Rules, weighted: &Weighted<T>) -> f64 {
        let block = weighted.block;
        let Some(mut got) = channel_samples(grid, chan, block, &weighted.weight, false) else { return 0.0 };
        let uvw_s = if got.in_frame { &block.uvw_s } else { &weighted.shifted_uvw_s };
        rules.apply_channel(chan, uvw_s, &got.freq_hz, &mut got.weight);
        sum_of(&got.weight)
    }

    /// PSFs of high Taylor terms have no image beside them.
    fn content_of(&self, i: usize) -> Content {
        if i >= self.planes.n_images() { Content::Psf } else { self.content }
    }

    fn add_continuum(
        &self,
        rules: &Rules,
        block: &Prepared<T>,
        model: &[Option<WidePlane<T>>],
        plane: &mut [WidePlane<T>],
        tally: &mut [Tally],
    ) -> Result<()> {
        let Weighted { shifted_uvw_s, weight, .. } = Weighted::new(block, rules);
        let samples = Samples { uvw_s: &shifted_uvw_s, freq_hz: &block.freq_hz, weight: &weight };
        let residual = if model.iter().any(Option::is_some) { Some(self.residual(block, &samples, model)?) } else { None };
        let vis = residual.as_deref().unwrap_or(&block.intensity.vis);
        if self.model.is_none() {
            add_tally(&mut tally[0], &weight, &block.intensity.weight, block.intensity.weight_to_inverse_variance);
        }
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

    fn residual(&self, block: &Prepared<T>, samples: &Samples<T>, model: &[Option<WidePlane<T>>]) -> Result<Vec<Complex<T>>> {
        let mut out = block.intensity.vis.clone();
        let mut predicted = vec![Complex::new(T::zero(), T::zero()); out.len()];
        let n = block.n_chan();
        for (term, model) in model.iter().enumerate().filter_map(|(term, model)| Some((term, model.as_ref()?))) {
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

    #[allow(clippy::too_many_arguments)]
    fn add_channel(
        &self,
        grid: &ChannelGrid,
        chan: usize,
        rules: &Rules,
        weighted: &Weighted<T>,
        model: Option<&WidePlane<T>>,
        plane: &mut WidePlane<T>,
        tally: &mut Tally,
    ) -> Result<()> {
        let block = weighted.block;
        let with_vis = self.content != Content::Psf;
        let Some(mut got) = channel_samples(grid, chan, block, &weighted.weight, with_vis) else { return Ok(()) };
        let uvw_s = if got.in_frame { &block.uvw_s } else { &weighted.shifted_uvw_s };
        let natural = if self.model.is_none() { self.natural(grid, chan, weighted, &got.weight) } else { Vec::new() };
        rules.apply_channel(chan, uvw_s, &got.freq_hz, &mut got.weight);
        let samples = Samples { uvw_s, freq_hz: &got.freq_hz, weight: &got.weight };
        if let Some(model) = model {
            let mut predicted = vec![Complex::new(T::zero(), T::zero()); got.vis.len()];
            self.gridder.predict(model, &samples, &mut predicted, false)?;
            got.vis.iter_mut().zip(&predicted).for_each(|(v, p)| *v = *v - *p);
        }
        add_tally(tally, &got.weight, &natural, block.intensity.weight_to_inverse_variance);
        self.gridder.add(plane, &samples, with_vis.then_some(got.vis.as_slice()), false)?;
        Ok(())
    }

    /// Natural weights of the samples of a channel, of which `weight` are those that the block gave.
    fn natural(&self, grid: &ChannelGrid, chan: usize, weighted: &Weighted<T>, weight: &[T]) -> Vec<T> {
        match weighted.weight {
            Cow::Borrowed(_) => weight.to_vec(),
            Cow::Owned(_) => {
                let block = weighted.block;
                channel_samples(grid, chan, block, &block.intensity.weight, false).map_or(Vec::new(), |s| s.weight)
            }
        }
    }
}

/// Image and PSF of a plane, with what was gridded into it: samples and their noise are counted where there is no model.
type Made<T> = ((Vec<T>, Vec<T>), Tally);

/// A block with the imaging weights of its channels.
struct Weighted<'a, T: Float> {
    block: &'a Prepared<T>,
    shifted_uvw_s: Vec<[f64; 3]>,
    /// [row][chan]; still the natural ones where each image channel has a density of its own.
    weight: Cow<'a, [T]>,
}

impl<'a, T: Float> Weighted<'a, T> {
    fn new(block: &'a Prepared<T>, rules: &Rules) -> Weighted<'a, T> {
        let shifted_uvw_s = block.shifted_uvw_s();
        let weight = rules.apply(block, &shifted_uvw_s);
        Weighted { block, shifted_uvw_s, weight }
    }
}

impl Tally {
    /// Adds another one, as if all had been gridded together.
    pub fn add(&mut self, other: &Tally) {
        self.sum_weight += other.sum_weight;
        self.variance += other.variance;
        self.inverse_variance += other.inverse_variance;
        self.n_samples += other.n_samples;
        self.n_outside += other.n_outside;
    }
    fn add_sums_of<T: Float>(&mut self, plane: &WidePlane<T>) {
        (self.sum_weight, self.n_outside) = (plane.sum_weight(), plane.n_outside());
    }
}

/// Blocks that are looked at to learn what a pointing weighs.
const LOOKED_AT: usize = 8;

fn sum_of<T: Float>(weight: &[T]) -> f64 {
    weight.iter().map(|w| w.f64()).sum()
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
