//! Noise of overlapping slabs of channels, with every plane read once.
//!
//! The median of a slab is bracketed from rough medians of its planes; each plane then counts what lies below its bracket and lists
//! what lies inside, and a slab adds the counts and selects among the lists. The result is the exact median.

use ndarray::Array2;
use rayon::prelude::*;

use super::estimate::blank_outside;
use super::robust::{MAD_TO_SIGMA, Scratch, median, median_of_ranked, threshold, zero_centred};
use crate::data::{CubeSource, Mask};
use crate::error::Result;
use crate::notice::Reporter;

/// Half width of the bracket around the rough medians of a slab's planes.
const MARGIN: f32 = 0.06;
/// Values that a rough median is taken from.
const ROUGH: usize = 8192;
/// Below this many values in a slab it is cheaper to list them all.
const SMALL: u64 = 4096;

/// Zero-centred noise of the data divided by map and spectrum, over channels `z - half ..= z + half`, for every channel z.
pub(super) fn slab_noise(
    source: &dyn CubeSource,
    usable: Option<&Mask>,
    (map, spectrum): (&Array2<f64>, &[f64]),
    half: usize,
    notice: &dyn Reporter,
) -> Result<Vec<f64>> {
    let nc = source.info().n_chan();
    let has_blanks = usable.is_some() || map.iter().chain(spectrum).any(|v| v.is_nan());
    let planes = Planes {
        source,
        usable,
        has_blanks,
        inverse_map: map.mapv(|m| (1.0 / m) as f32),
        inverse_spectrum: spectrum.iter().map(|s| (1.0 / s) as f32).collect(),
        notice,
    };
    let rough: Vec<f32> = (0..nc).into_par_iter().map(|z| planes.rough_median(z)).collect::<Result<_>>()?;
    let slab = |z: usize| z.saturating_sub(half)..(z.saturating_add(half)).min(nc - 1) + 1;
    let slab_bracket = |z: usize| bracket(rough[slab(z)].iter());
    let counts: Vec<Counts> = (0..nc)
        .into_par_iter()
        .map_init(Buffers::default, |buffers, z| {
            // Every slab that holds this plane must find its bracket inside the plane's.
            let wide =
                bracket(rough[z.saturating_sub(half.saturating_mul(2))..(z.saturating_add(half.saturating_mul(2))).min(nc - 1) + 1].iter());
            planes.count(z, wide, buffers)
        })
        .collect::<Result<_>>()?;
    if half >= nc {
        return Ok(vec![planes.slab(&counts, 0..nc, bracket(rough.iter()), &mut Lists::default())?; nc]);
    }
    (0..nc).into_par_iter().map_init(Lists::default, |lists, z| planes.slab(&counts, slab(z), slab_bracket(z), lists)).collect()
}

/// From a little below the smallest to a little above the largest finite median; empty where there is none.
fn bracket<'a>(rough: impl Iterator<Item = &'a f32>) -> (f32, f32) {
    let (lo, hi) = rough.filter(|r| r.is_finite()).fold((f32::INFINITY, 0.0f32), |(a, b), r| (a.min(*r), b.max(*r)));
    if lo > hi { (0.0, 0.0) } else { (lo * (1.0 - MARGIN), hi * (1.0 + MARGIN)) }
}

/// What one plane says about the medians of its slabs.
struct Counts {
    n: u64,
    n_negative: u64,
    below: u64,
    negative_below: u64,
    /// Values whose size lies in the plane's bracket.
    inside: Vec<f32>,
    /// Values that may exceed the threshold of the second median, and the limit from which they are listed.
    tail: Vec<f32>,
    tail_from: f32,
}

/// Buffers of one thread that counts planes.
#[derive(Default)]
struct Buffers {
    block: Vec<f32>,
    values: Vec<f32>,
    inside: Vec<f32>,
}

/// Buffers of one thread that joins planes.
#[derive(Default)]
struct Lists {
    all: Vec<f32>,
    negative: Vec<f32>,
}

struct Planes<'a> {
    source: &'a dyn CubeSource,
    usable: Option<&'a Mask>,
    /// Some value may be blank, by the mask, the map or the spectrum.
    has_blanks: bool,
    inverse_map: Array2<f32>,
    inverse_spectrum: Vec<f32>,
    notice: &'a dyn Reporter,
}

impl Planes<'_> {
    /// Usable values of some rows, normalised.
    fn values(&self, z: usize, first: usize, n_rows: usize, buffer: &mut Vec<f32>, out: &mut Vec<f32>) -> Result<()> {
        let block = self.source.block(z..z + 1, first..first + n_rows, buffer)?;
        let s = self.inverse_spectrum[z];
        let mut line = vec![0.0f32; block.dim().2];
        if !self.has_blanks {
            for (y, row) in block.index_axis(ndarray::Axis(0), 0).rows().into_iter().enumerate() {
                line.iter_mut().zip(row).zip(self.inverse_map.row(first + y)).for_each(|((l, v), m)| *l = v * (m * s));
                out.extend_from_slice(&line);
            }
            return Ok(());
        }
        for (y, row) in block.index_axis(ndarray::Axis(0), 0).rows().into_iter().enumerate() {
            line.iter_mut().zip(row).zip(self.inverse_map.row(first + y)).for_each(|((l, v), m)| *l = v * (m * s));
            if let Some(mask) = self.usable {
                blank_outside(line.iter_mut(), mask.row(z, first + y));
            }
            let start = out.len();
            out.resize(start + line.len(), 0.0);
            let mut n = start;
            for v in &line {
                out[n] = *v;
                n += usize::from(!v.is_nan());
            }
            out.truncate(n);
        }
        Ok(())
    }

    /// Median of the size of negative values in some rows of the plane.
    fn rough_median(&self, z: usize) -> Result<f32> {
        self.notice.check()?;
        let [_, ny, nx] = self.source.info().shape();
        let (mut buffer, mut values) = (Vec::new(), Vec::new());
        let n_rows = ROUGH.div_ceil(nx).min(ny);
        let groups = n_rows.div_ceil(4).max(1);
        for g in 0..groups {
            let first = g * ny / groups;
            self.values(z, first, 4.min(ny - first).min(n_rows), &mut buffer, &mut values)?;
        }
        if values.iter().filter(|v| **v < 0.0).count() < 32 && n_rows < ny {
            values.clear();
            self.values(z, 0, ny, &mut buffer, &mut values)?;
        }
        let mut negative: Vec<f32> = values.iter().filter(|v| **v < 0.0).map(|v| -v).collect();
        Ok(median(&mut negative).map_or(f32::NAN, |m| m as f32))
    }

    fn count(&self, z: usize, (lo, hi): (f32, f32), b: &mut Buffers) -> Result<Counts> {
        self.notice.check()?;
        let Buffers { block, values, inside } = b;
        values.clear();
        self.values(z, 0, self.source.info().ny(), block, values)?;
        let tail_from = lo * MAD_TO_SIGMA as f32 * 2.5;
        let mut c =
            Counts { n: values.len() as u64, n_negative: 0, below: 0, negative_below: 0, inside: Vec::new(), tail: Vec::new(), tail_from };
        inside.resize(values.len(), 0.0);
        let mut n_in = 0;
        let (mut n_negative, mut below, mut negative_below) = (0u32, 0u32, 0u32);
        for v in values.iter() {
            let (a, is_negative) = (v.abs(), u32::from(*v < 0.0));
            let is_below = u32::from(a < lo);
            n_negative += is_negative;
            below += is_below;
            negative_below += is_negative & is_below;
            inside[n_in] = *v;
            n_in += usize::from(a >= lo && a <= hi);
        }
        c.inside = inside[..n_in].to_vec();
        (c.n_negative, c.below, c.negative_below) = (n_negative.into(), below.into(), negative_below.into());
        c.tail = values.iter().copied().filter(|v| *v >= tail_from).collect();
        Ok(c)
    }

    fn slab(&self, counts: &[Counts], slab: std::ops::Range<usize>, (lo, hi): (f32, f32), lists: &mut Lists) -> Result<f64> {
        self.notice.check()?;
        let part = &counts[slab.clone()];
        let n: u64 = part.iter().map(|c| c.n).sum();
        if n == 0 {
            return Ok(f64::NAN);
        }
        if n > SMALL
            && let Some(sigma) = slab_from_counts(part, n, lo, hi, lists)
        {
            return Ok(sigma);
        }
        let (mut buffer, mut values) = (Vec::new(), Vec::new());
        for z in slab {
            self.values(z, 0, self.source.info().ny(), &mut buffer, &mut values)?;
        }
        Ok(zero_centred(&values, f32::NAN, &mut Scratch::default()))
    }
}

/// `None` where a median lies outside the bracket.
fn slab_from_counts(part: &[Counts], n: u64, lo: f32, hi: f32, lists: &mut Lists) -> Option<f64> {
    let Lists { all: list, negative } = lists;
    list.resize(part.iter().map(|c| c.inside.len()).sum(), 0.0);
    let mut n_in = 0;
    let (mut below, mut negative_below) = (0, 0);
    for c in part {
        below += c.below;
        negative_below += c.negative_below;
        for v in &c.inside {
            // The plane's own bracket is wider: what lies below the slab's is counted, what lies above is dropped.
            let is_below = u64::from(v.abs() < lo);
            below += is_below;
            negative_below += is_below & u64::from(*v < 0.0);
            list[n_in] = *v;
            n_in += usize::from(v.abs() >= lo && v.abs() <= hi);
        }
    }
    list.truncate(n_in);
    negative.resize(n_in, 0.0);
    let mut n_negative = 0;
    for v in list.iter() {
        negative[n_negative] = -v;
        n_negative += usize::from(*v < 0.0);
    }
    negative.truncate(n_negative);
    let first = median_of_ranked(negative_below, negative, part.iter().map(|c| c.n_negative).sum())?;
    let limit = threshold(n) * MAD_TO_SIGMA * first;
    if limit <= f64::from(hi) || part.iter().any(|c| limit <= f64::from(c.tail_from)) {
        return None;
    }
    let above: u64 = part.iter().flat_map(|c| &c.tail).map(|v| u64::from(f64::from(*v) >= limit)).sum();
    list.iter_mut().for_each(|v| *v = v.abs());
    Some(MAD_TO_SIGMA * median_of_ranked(below, list, n - above)?)
}
