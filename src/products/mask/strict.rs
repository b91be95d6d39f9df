//! Masks from signal to noise: a high threshold finds emission, a low one says how far it reaches.

use rayon::prelude::*;

use super::components::{Components, Neighbours};
use super::grow::{grow_channels, grow_sky, keep_runs};
use crate::data::{CubeSource, Mask, fill_row};
use crate::error::Result;
use crate::notice::Reporter;
use crate::products::{Compat, Noise, ProductsError};

crate::options! {
    /// Options of masks from signal to noise.
    pub struct MaskOptions {
        /// Signal to noise that finds emission.
        ["1"] high: f64 = 4.0,
        /// Channels in a row that must reach it; a cube of fewer channels needs all that it has.
        ["1"] high_channels: usize = 2,
        /// Signal to noise to which emission is followed.
        ["1"] low: f64 = 2.0,
        /// Channels in a row that must reach it.
        ["1"] low_channels: usize = 2,
        /// Drop emission found in fewer voxels than this.
        ["1"] min_voxels: usize = 0,
        /// Drop emission found in less than this many beams: voxels of the peak region over pixels in a beam.
        ["1"] min_beams: f64 = 0.0,
        /// Drop emission found on fewer pixels of the sky than this.
        ["1"] min_area: usize = 0,
        /// Prune by the sizes above after the mask has been followed to the low threshold, not before.
        [""] prune_last: bool = false,
        /// Grow the result on the sky by this many pixels.
        ["1"] grow_sky: usize = 0,
        /// Grow the result by this many channels to both sides.
        ["1"] grow_channels: usize = 0,
        /// Look for absorption: the signs of the data are turned.
        [""] invert: bool = false,
        /// Which voxels are neighbours.
        [""] neighbours: Neighbours = Neighbours::Faces,
        /// "phangs": growth along the spectrum by an array of ones, so that 1 adds nothing and 2 adds the lower channel only; and the
        /// two kinds of growth each start from the mask.
        [""] compat: Compat = Compat::None,
    }
}

crate::options! {
    /// Options of pruning.
    pub struct PruneOptions {
        /// Drop regions of fewer voxels than this.
        ["1"] min_voxels: usize = 0,
        /// Drop regions of fewer voxels than this many beams.
        ["1"] min_beams: f64 = 0.0,
        /// Drop regions that cover fewer pixels of the sky than this.
        ["1"] min_area: usize = 0,
        /// Drop regions that span fewer channels than this.
        ["1"] min_channels: usize = 0,
        /// Which voxels are neighbours.
        [""] neighbours: Neighbours = Neighbours::Faces,
    }
}

/// The voxels where the signal reaches `threshold` times the noise.
pub fn signal_above(source: &dyn CubeSource, noise: &Noise, threshold: f64, notice: &dyn Reporter) -> Result<Mask> {
    Ok(thresholds(source, noise, [threshold, f64::INFINITY], false, notice)?.0)
}

/// The voxels brighter than `threshold`, in the unit of the cube.
pub fn voxels_above(source: &dyn CubeSource, threshold: f64, notice: &dyn Reporter) -> Result<Mask> {
    let shape = source.info().shape();
    let mut mask = Mask::empty(shape);
    let (words, nx, t) = (mask.row_words(), shape[2], threshold as f32);
    mask.words_mut().par_chunks_mut(shape[1] * words).enumerate().try_for_each(|(z, plane)| -> Result<()> {
        notice.check()?;
        let mut buffer = Vec::new();
        for (y, row) in source.plane(z, &mut buffer)?.rows().into_iter().enumerate() {
            fill_row(&mut plane[y * words..(y + 1) * words], nx, |x| row[x] > t);
        }
        Ok(())
    })?;
    Ok(mask)
}

/// A strict mask (cprops; Rosolowsky & Leroy 2006, PASP 118, 590): emission found at `high` and followed to `low`.
///
/// `prior` restricts where emission may be found, not how far it is followed: PHANGS passes voxels with a coverage above 0.95.
pub fn mask_strict(
    source: &dyn CubeSource,
    noise: &Noise,
    prior: Option<&Mask>,
    options: &MaskOptions,
    notice: &dyn Reporter,
) -> Result<Mask> {
    let (low, high) = thresholds(source, noise, [options.low, options.high], options.invert, notice)?;
    let ppb = source.info().pixels_per_beam();
    let (high, low) =
        (keep_runs(&high, runs(source, options.high_channels, options)), keep_runs(&low, runs(source, options.low_channels, options)));
    followed(high, low, prior, ppb, options)
}

/// Channels in a row that are needed: no more than there are.
fn runs(source: &dyn CubeSource, wanted: usize, o: &MaskOptions) -> usize {
    if o.compat == Compat::Phangs { wanted } else { wanted.min(source.info().n_chan()) }
}

/// A dilated mask: as [`mask_strict`] with single channels counting and regions pruned when complete, as users of maskmoment make it.
pub fn mask_dilated(source: &dyn CubeSource, noise: &Noise, options: &MaskOptions, notice: &dyn Reporter) -> Result<Mask> {
    let (low, high) = thresholds(source, noise, [options.low, options.high], options.invert, notice)?;
    let ppb = source.info().pixels_per_beam();
    let options = MaskOptions { prune_last: true, ..options.clone() };
    let (high, low) =
        (keep_runs(&high, runs(source, options.high_channels, &options)), keep_runs(&low, runs(source, options.low_channels, &options)));
    followed(high, low, None, ppb, &options)
}

/// The regions of `within` that hold a voxel of `seeds`.
pub fn mask_seeds(seeds: &Mask, within: &Mask, neighbours: Neighbours) -> Result<Mask> {
    same_shape(seeds, within)?;
    let regions = Components::find(within, neighbours);
    Ok(regions.mask(within.shape(), &regions.holding(seeds)))
}

/// Drops small regions.
pub fn prune(mask: &Mask, pixels_per_beam: Option<f64>, options: &PruneOptions) -> Result<Mask> {
    let min_voxels = least_voxels(options.min_voxels, options.min_beams, pixels_per_beam)?;
    if min_voxels == 0.0 && options.min_area == 0 && options.min_channels == 0 {
        return Ok(mask.clone());
    }
    let regions = Components::find(mask, options.neighbours);
    let (volume, area, channels) = (regions.volumes(), regions.areas(), regions.channels());
    let keep: Vec<bool> = (0..regions.n)
        .map(|i| volume[i] as f64 >= min_voxels && area[i] >= options.min_area as u64 && channels[i] as usize >= options.min_channels)
        .collect();
    Ok(regions.mask(mask.shape(), &keep))
}

fn least_voxels(min_voxels: usize, min_beams: f64, pixels_per_beam: Option<f64>) -> Result<f64> {
    if min_beams <= 0.0 {
        return Ok(min_voxels as f64);
    }
    let ppb = pixels_per_beam.ok_or(crate::data::DataError::NoBeam("min_beams"))?;
    Ok((min_voxels as f64).max(min_beams * ppb))
}

fn same_shape(a: &Mask, b: &Mask) -> Result<()> {
    if a.shape() == b.shape() {
        return Ok(());
    }
    Err(ProductsError::Grid { what: "mask", found: a.shape().to_vec(), expected: b.shape().to_vec() }.into())
}

fn followed(high: Mask, low: Mask, prior: Option<&Mask>, ppb: Option<f64>, o: &MaskOptions) -> Result<Mask> {
    let sizes =
        PruneOptions { min_voxels: o.min_voxels, min_beams: o.min_beams, min_area: o.min_area, min_channels: 0, neighbours: o.neighbours };
    let mut seeds = if o.prune_last { high } else { prune(&high, ppb, &sizes)? };
    if let Some(prior) = prior {
        same_shape(prior, &seeds)?;
        seeds.and(prior)?;
    }
    let mut mask = mask_seeds(&seeds, &low, o.neighbours)?;
    if o.prune_last {
        mask = prune(&mask, ppb, &sizes)?;
    }
    grown(mask, o)
}

fn grown(mask: Mask, o: &MaskOptions) -> Result<Mask> {
    if o.grow_sky == 0 && o.grow_channels == 0 {
        return Ok(mask);
    }
    let sky = grow_sky(&mask, o.grow_sky);
    if o.compat == Compat::None {
        return Ok(grow_channels(&sky, o.grow_channels, o.grow_channels));
    }
    // scipy's dilation by n ones: centred for odd n, one more before than after for even n.
    let n = o.grow_channels.max(1);
    let mut both = grow_channels(&mask, n / 2, (n - 1) / 2);
    both.or(&sky)?;
    Ok(both)
}

/// Voxels at or above two thresholds of signal to noise.
fn thresholds(source: &dyn CubeSource, noise: &Noise, at: [f64; 2], invert: bool, notice: &dyn Reporter) -> Result<(Mask, Mask)> {
    let shape = source.info().shape();
    if noise.shape() != shape {
        return Err(ProductsError::Grid { what: "noise", found: noise.shape().to_vec(), expected: shape.to_vec() }.into());
    }
    let (mut low, mut high) = (Mask::empty(shape), Mask::empty(shape));
    let [_, ny, nx] = shape;
    let (words, plane) = (low.row_words(), ny * low.row_words());
    let [a, b] = at.map(|t| t as f32);
    let jobs = low.words_mut().par_chunks_mut(plane).zip(high.words_mut().par_chunks_mut(plane)).enumerate();
    jobs.try_for_each(|(z, (low, high))| -> Result<()> {
        notice.check()?;
        let mut buffer = Vec::new();
        let data = source.plane(z, &mut buffer)?;
        let (mut sigma, mut ratio) = (vec![0.0f32; nx], vec![0.0f32; nx]);
        for (y, row) in data.rows().into_iter().enumerate() {
            noise.row(z, y, &mut sigma);
            ratio.iter_mut().zip(row).zip(&sigma).for_each(|((r, v), s)| *r = if invert { -v / s } else { v / s });
            fill_row(&mut low[y * words..(y + 1) * words], nx, |x| ratio[x] >= a);
            fill_row(&mut high[y * words..(y + 1) * words], nx, |x| ratio[x] >= b);
        }
        Ok(())
    })?;
    Ok((low, high))
}
