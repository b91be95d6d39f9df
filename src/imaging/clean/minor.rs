//! Minor cycles: components found and subtracted in the image plane, within the mask only.
//!
//! One algorithm serves all: points of one term are Högbom's (1974, A&AS 15, 417), several scales Cornwell's (2008), several
//! Taylor terms Rau & Cornwell's (2011, A&A 532, A71). Only pixels where components may lie are kept up to date: a major cycle
//! follows every minor one and computes the whole residual anew.

use std::sync::Arc;

use ndarray::{Array2, ArrayView2, CowArray, Ix2, s};

use super::scales::{Area, ScaleSet, pair};
use crate::error::Result;
use crate::notice::Reporter;

/// Which component comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// The one that lowers chi-square most.
    #[default]
    Chi2,
    /// The one of the largest amplitude, as CASA chooses; needs a small-scale bias.
    Amplitude,
    /// As Chi2, among the bright pixels only, from which only a patch of the PSF is subtracted (Clark 1980, A&A 89, 377); for
    /// points of one term.
    Clark,
}

/// How far a minor cycle goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limits {
    /// Fraction of a component that is subtracted at once.
    pub gain: f64,
    /// Components at most.
    pub n_iter: u64,
    /// Stop below this peak, Jy/beam.
    pub threshold: f64,
}

/// Taylor terms at most.
pub(super) const MAX_TERMS: usize = 4;

/// A component that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Component {
    pub scale: usize,
    /// Pixel of the image.
    pub y: usize,
    pub x: usize,
    /// Flux of each term that was subtracted, Jy.
    pub amplitude: [f32; MAX_TERMS],
    /// The peak that it was found as, Jy/beam.
    pub peak: f64,
}

/// How pixels of residuals become the size of a component, for one plane.
#[derive(Debug, Clone)]
pub(super) struct Response {
    pub n_terms: usize,
    pub choice: Choice,
    /// Inverse of the matrix of PSF peaks, [scale][term][term].
    pub inverse: Vec<Vec<Vec<f64>>>,
}

/// The PSFs of a plane through all pairs of scales: what a component of one scale leaves in the residual of another.
pub(super) struct Pairs<'a> {
    /// [order][pair]; 2·n_terms - 1 orders.
    psf: Vec<Vec<CowArray<'a, f32, Ix2>>>,
    center: (usize, usize),
}

impl<'a> Pairs<'a> {
    /// `psf` has 2·n_terms - 1 planes whose first peaks at 1 in `center`.
    pub fn new(psf: &'a [Array2<f32>], center: (usize, usize), set: &ScaleSet) -> Pairs<'a> {
        let through = |psf: &'a Array2<f32>| -> Vec<CowArray<'a, f32, Ix2>> {
            if set.all_points() { vec![psf.into()] } else { set.pairs(psf.view()).into_iter().map(CowArray::from).collect() }
        };
        Pairs { psf: psf.iter().map(through).collect(), center }
    }

    /// What the residuals of these scales mean.
    pub fn response(&self, n_scales: usize, choice: Choice) -> Response {
        let n_terms = self.psf.len().div_ceil(2);
        let inverse = |s: usize| inverse_of_peaks(|order| f64::from(self.of(order, s, s)[self.center]), n_terms);
        Response { n_terms, choice, inverse: (0..n_scales).map(inverse).collect() }
    }

    fn of(&self, order: usize, a: usize, b: usize) -> &CowArray<'a, f32, Ix2> {
        let psf = &self.psf[order];
        &psf[pair(a, b).min(psf.len() - 1)]
    }

    /// Finds components until a limit is reached.
    pub fn components(
        &self,
        mut work: Work,
        response: &Response,
        set: &ScaleSet,
        limits: Limits,
        notice: &dyn Reporter,
    ) -> Result<Vec<Component>> {
        let mut found = Vec::new();
        let mut lowest = f64::INFINITY;
        while (found.len() as u64) < limits.n_iter {
            let peak = work.peak(response, set);
            // Twice the lowest peak: subtraction goes wrong.
            if peak.value <= limits.threshold || peak.value == 0.0 || peak.value > 2.0 * lowest {
                break;
            }
            lowest = lowest.min(peak.value);
            if found.len() % 64 == 0 {
                notice.check()?;
            }
            let mut amplitude = [0f32; MAX_TERMS];
            amplitude.iter_mut().zip(&peak.amplitude).for_each(|(out, a)| *out = (a * limits.gain) as f32);
            work.subtract(self, response, &peak, &amplitude);
            let area = work.places.area;
            found.push(Component { scale: peak.scale, y: peak.y + area.y0, x: peak.x + area.x0, amplitude, peak: peak.value });
        }
        Ok(found)
    }
}

/// Adds components to the images of the terms.
pub(super) fn add_components(components: &[Component], set: &ScaleSet, model: &mut [&mut Array2<f32>]) {
    for component in components {
        let scale = &set.scales[component.scale];
        let half = scale.half() as i64;
        for ((y, x), v) in scale.shape.indexed_iter() {
            let (y, x) = (component.y as i64 + y as i64 - half, component.x as i64 + x as i64 - half);
            let (Ok(y), Ok(x)) = (usize::try_from(y), usize::try_from(x)) else { continue };
            for (model, a) in model.iter_mut().zip(component.amplitude) {
                if let Some(pixel) = model.get_mut((y, x)) {
                    *pixel += a * v;
                }
            }
        }
    }
}

/// Keeps the `n` brightest components of all planes, as if the planes had been cleaned in turns.
pub(super) fn keep_brightest(found: &mut [Vec<Component>], n: u64) {
    let total: usize = found.iter().map(Vec::len).sum();
    if total as u64 <= n {
        return;
    }
    // A plane's components come in their order: one behind a faint one is no brighter than that.
    let rank = |components: &Vec<Component>| {
        components
            .iter()
            .scan(f64::INFINITY, |lowest, c| {
                *lowest = lowest.min(c.peak);
                Some(*lowest)
            })
            .collect::<Vec<f64>>()
    };
    let mut all: Vec<(f64, usize)> =
        found.iter().map(rank).enumerate().flat_map(|(plane, ranks)| ranks.into_iter().map(move |r| (r, plane))).collect();
    // Stable: of equals those of the first planes stay.
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut kept = vec![0; found.len()];
    all.iter().take(n as usize).for_each(|(_, plane)| kept[*plane] += 1);
    found.iter_mut().zip(kept).for_each(|(components, kept)| components.truncate(kept));
}

/// Inverse of the peaks of the PSFs of Taylor terms, [term][term].
pub(in crate::imaging) fn inverse_of_psf_peaks(psf: &[Array2<f32>], n_terms: usize) -> Vec<Vec<f64>> {
    let center = psf[0].indexed_iter().fold(((0, 0), f32::MIN), |best, (i, v)| if *v > best.1 { (i, *v) } else { best }).0;
    inverse_of_peaks(|order| f64::from(psf[order][center]), n_terms)
}

/// Inverse of H(t, q) = `at(t + q)`, the PSF of that order at its center; where it is singular the first term alone is solved for.
fn inverse_of_peaks(at: impl Fn(usize) -> f64, n_terms: usize) -> Vec<Vec<f64>> {
    let mut m: Vec<Vec<f64>> =
        (0..n_terms).map(|t| (0..n_terms).map(|q| at(t + q)).chain((0..n_terms).map(|q| f64::from(u8::from(q == t)))).collect()).collect();
    for i in 0..n_terms {
        let pivot = m[i][i];
        if !(pivot.abs() > 1e-12) {
            let mut out = vec![vec![0.0; n_terms]; n_terms];
            out[0][0] = 1.0 / at(0);
            return out;
        }
        m[i].iter_mut().for_each(|v| *v /= pivot);
        for j in (0..n_terms).filter(|j| *j != i) {
            let factor = m[j][i];
            let row = m[i].clone();
            m[j].iter_mut().zip(&row).for_each(|(v, r)| *v -= factor * r);
        }
    }
    m.into_iter().map(|row| row[n_terms..].to_vec()).collect()
}

/// Where components of each scale may lie.
#[derive(Debug)]
pub(super) struct Places {
    /// The box around the mask.
    pub area: Area,
    /// For each scale.
    inside: Vec<Inside>,
}

/// Pixels of the box where components of one scale may lie.
#[derive(Debug)]
struct Inside {
    /// 1 where they may, else 0.
    mask: Array2<f32>,
    /// First such column of each row, and the one behind the last.
    span: Vec<(usize, usize)>,
}

/// A component must lie in the mask with this much of its volume.
const VOLUME_INSIDE: f32 = 0.9;

impl Places {
    /// `None` for a mask without a pixel.
    pub fn of(mask: &Array2<bool>, set: &ScaleSet) -> Option<Places> {
        let area = Area::around(mask)?;
        let seen = set.filtered(mask.mapv(|m| f32::from(u8::from(m))).view(), area);
        let inside = seen.into_iter().map(|seen| Inside::new(seen.mapv(|v| f32::from(u8::from(v > VOLUME_INSIDE))))).collect();
        Some(Places { area, inside })
    }
}

impl Inside {
    fn new(mask: Array2<f32>) -> Inside {
        let used = |v: &f32| *v != 0.0;
        let ends = |row: ndarray::ArrayView1<f32>| match (row.iter().position(used), row.iter().rposition(used)) {
            (Some(first), Some(last)) => (first, last + 1),
            _ => (0, 0),
        };
        let span = mask.rows().into_iter().map(ends).collect();
        Inside { mask, span }
    }
}

/// Residuals of all scales and terms in the box; right only where components may lie.
#[derive(Debug)]
pub(super) struct Work {
    pub places: Arc<Places>,
    /// [scale][term]
    residual: Vec<Vec<Array2<f32>>>,
    /// Largest rank of a pixel in each row, [scale][row].
    top: Vec<Vec<f32>>,
}

/// The next component; place counts within the box.
#[derive(Debug, Clone)]
pub(super) struct Peak {
    scale: usize,
    y: usize,
    x: usize,
    /// Amplitudes of the terms, Jy.
    amplitude: Vec<f64>,
    /// What stops the cycle: the residual filtered with the scale, in units in which noise is the same for all scales, Jy/beam.
    pub value: f64,
}

impl Work {
    /// Residuals (one image a term) through all scales.
    pub fn new(residual: &[ArrayView2<f32>], places: Arc<Places>, response: &Response, set: &ScaleSet) -> Work {
        let mut by_scale: Vec<Vec<Array2<f32>>> = vec![Vec::new(); set.len()];
        for term in residual {
            let filtered = set.filtered(*term, places.area);
            by_scale.iter_mut().zip(filtered).for_each(|(scale, image)| scale.push(image));
        }
        let mut work = Work { places, residual: by_scale, top: vec![Vec::new(); set.len()] };
        for scale in 0..set.len() {
            work.top[scale] = (0..work.places.area.dim().0).map(|y| work.highest_rank(response, scale, y).0).collect();
        }
        work
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        let pixels = self.places.area.dim().0 * self.places.area.dim().1;
        4 * pixels * self.residual.iter().map(Vec::len).sum::<usize>()
    }

    /// The next component.
    pub fn peak(&self, response: &Response, set: &ScaleSet) -> Peak {
        let mut best = Peak { scale: 0, y: 0, x: 0, amplitude: vec![0.0; response.n_terms], value: 0.0 };
        let (mut best_rank, mut value) = (0.0, 0.0f64);
        for scale in 0..self.residual.len() {
            let Some((y, x)) = self.highest(response, scale) else { continue };
            let r: Vec<f64> = self.residual[scale].iter().map(|r| f64::from(r[[y, x]])).collect();
            let amplitude: Vec<f64> = response.inverse[scale].iter().map(|row| row.iter().zip(&r).map(|(h, r)| h * r).sum()).collect();
            let chi = amplitude.iter().zip(&r).map(|(a, r)| a * r).sum::<f64>().max(0.0).sqrt();
            let bias = f64::from(set.bias[scale]);
            let rank = match response.choice {
                // The drop in chi-square times the bias, and the root of that.
                Choice::Chi2 | Choice::Clark => chi * bias.sqrt(),
                Choice::Amplitude => amplitude[0].abs() * bias,
            };
            value = value.max(chi);
            if rank > best_rank {
                best_rank = rank;
                best = Peak { scale, y, x, amplitude, value: 0.0 };
            }
        }
        Peak { value, ..best }
    }

    /// The pixel of the largest chi-square gain for one scale; the first of equals.
    fn highest(&self, response: &Response, scale: usize) -> Option<(usize, usize)> {
        let (mut row, mut best) = (None, 0f32);
        for (y, top) in self.top[scale].iter().enumerate() {
            if *top > best {
                (row, best) = (Some(y), *top);
            }
        }
        row.map(|y| (y, self.highest_rank(response, scale, y).1))
    }

    /// The largest rank among the pixels of a row, and its column: the absolute value, or for several terms the gain in chi-square.
    fn highest_rank(&self, response: &Response, scale: usize, y: usize) -> (f32, usize) {
        let inside = &self.places.inside[scale];
        let (start, end) = inside.span[y];
        let mask = &row_of(&inside.mask, y)[start..end];
        let terms: Vec<&[f32]> = self.residual[scale].iter().map(|r| &row_of(r, y)[start..end]).collect();
        let rank: Vec<f32> = match terms.as_slice() {
            [one] => one.iter().zip(mask).map(|(r, m)| (r * m).abs()).collect(),
            terms => gains(terms, mask, &response.inverse[scale]),
        };
        rank.iter().enumerate().fold((0.0, start), |best, (x, v)| if *v > best.0 { (*v, x + start) } else { best })
    }

    fn subtract(&mut self, pairs: &Pairs, response: &Response, peak: &Peak, amplitude: &[f32; MAX_TERMS]) {
        let places = self.places.clone();
        for scale in 0..self.residual.len() {
            let inside = &places.inside[scale];
            for (t, residual) in self.residual[scale].iter_mut().enumerate() {
                for (q, a) in amplitude.iter().enumerate().take(response.n_terms) {
                    let psf = Shifted { psf: pairs.of(t + q, scale, peak.scale).view(), center: pairs.center, at: (peak.y, peak.x) };
                    let last = response.n_terms == 1;
                    subtract_shifted(residual, &psf, *a, inside, last.then_some(self.top[scale].as_mut_slice()));
                }
            }
            if response.n_terms > 1 {
                for y in 0..places.area.dim().0 {
                    self.top[scale][y] = self.highest_rank(response, scale, y).0;
                }
            }
        }
    }
}

/// Gain in chi-square of each pixel: Σ h(t,q) r_t r_q.
fn gains(terms: &[&[f32]], mask: &[f32], inverse: &[Vec<f64>]) -> Vec<f32> {
    let mut gain = vec![0f32; mask.len()];
    for (row, a) in inverse.iter().zip(terms) {
        for (h, b) in row.iter().zip(terms) {
            let h = *h as f32;
            gain.iter_mut().zip(a.iter().zip(b.iter())).for_each(|(g, (a, b))| *g += h * a * b);
        }
    }
    gain.iter_mut().zip(mask).for_each(|(g, m)| *g *= m);
    gain
}

fn row_of(image: &Array2<f32>, y: usize) -> &[f32] {
    let nx = image.ncols();
    &image.as_slice().expect("work images are made in standard layout")[y * nx..(y + 1) * nx]
}

/// A PSF with its center moved to a pixel of the box.
struct Shifted<'a> {
    psf: ArrayView2<'a, f32>,
    center: (usize, usize),
    at: (usize, usize),
}

impl Shifted<'_> {
    /// The pixels of an axis of `n` that the PSF covers, and its pixel on the first of them.
    fn covered(n: usize, n_psf: usize, at: usize, center: usize) -> (usize, usize, usize) {
        let low = at.saturating_sub(center);
        let high = (at + n_psf).saturating_sub(center).min(n);
        (low, high.max(low), low + center - at)
    }
}

/// residual -= amplitude · psf where components may lie; with `top` the largest absolute value of each row is found on the way.
fn subtract_shifted(residual: &mut Array2<f32>, psf: &Shifted, amplitude: f32, inside: &Inside, top: Option<&mut [f32]>) {
    let (ny, nx) = residual.dim();
    let (py, px) = psf.psf.dim();
    let (y0, y1, first_y) = Shifted::covered(ny, py, psf.at.0, psf.center.0);
    let (x0, x1, first_x) = Shifted::covered(nx, px, psf.at.1, psf.center.1);
    let mut top = top;
    for y in y0..y1 {
        let (start, end) = (inside.span[y].0.max(x0), inside.span[y].1.min(x1));
        if start >= end {
            continue;
        }
        let from = psf.psf.slice(s![first_y + y - y0, first_x + start - x0..first_x + end - x0]);
        let (Some(row), Some(p)) = (residual.row_mut(y).into_slice(), from.to_slice()) else { continue };
        let mask = row_of(&inside.mask, y);
        match top.as_deref_mut() {
            None => row[start..end].iter_mut().zip(p).for_each(|(r, p)| *r -= amplitude * p),
            Some(top) => {
                let (left, right) = (inside.span[y].0..start, end..inside.span[y].1.max(end));
                let beside = highest_in_row(&row[left.clone()], &mask[left]).max(highest_in_row(&row[right.clone()], &mask[right]));
                top[y] = subtract_in_row(&mut row[start..end], p, &mask[start..end], amplitude).max(beside);
            }
        }
    }
}

/// Subtracts and returns the largest absolute value: in eight lanes, which the compiler keeps in registers; the largest of numbers
/// does not depend on the order.
fn subtract_in_row(residual: &mut [f32], psf: &[f32], inside: &[f32], amplitude: f32) -> f32 {
    let mut lane = [0f32; 8];
    let (psf, mut r, inside) = (psf.chunks_exact(8), residual.chunks_exact_mut(8), inside.chunks_exact(8));
    let (last_psf, last_inside) = (psf.remainder(), inside.remainder());
    for ((r, p), m) in (&mut r).zip(psf).zip(inside) {
        for i in 0..8 {
            r[i] -= amplitude * p[i];
            let v = (r[i] * m[i]).abs();
            lane[i] = if v > lane[i] { v } else { lane[i] };
        }
    }
    let mut top = lane.into_iter().fold(0.0, f32::max);
    for ((r, p), m) in r.into_remainder().iter_mut().zip(last_psf).zip(last_inside) {
        *r -= amplitude * p;
        top = top.max((*r * m).abs());
    }
    top
}

/// Likewise without a change.
fn highest_in_row(residual: &[f32], inside: &[f32]) -> f32 {
    residual.iter().zip(inside).map(|(r, m)| (r * m).abs()).fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(peak: f64) -> Component {
        Component { scale: 0, y: 0, x: 0, amplitude: [0.0; MAX_TERMS], peak }
    }

    /// The brightest of all planes stay, each plane's in its order.
    #[test]
    fn no_more_components_are_kept_than_were_asked_for() {
        let found = || vec![[5.0, 3.0, 4.0].map(component).to_vec(), [4.5, 3.5, 1.0].map(component).to_vec(), Vec::new()];
        for (n, expected) in
            [(2, [1, 1, 0]), (3, [1, 2, 0]), (4, [2, 2, 0]), (5, [3, 2, 0]), (6, [3, 3, 0]), (100, [3, 3, 0]), (0, [0, 0, 0])]
        {
            let mut kept = found();
            keep_brightest(&mut kept, n);
            assert_eq!(kept.iter().map(Vec::len).collect::<Vec<_>>(), expected, "{n}");
        }
    }

    /// Row tops that are kept while subtracting are those of a search from scratch, wherever the PSF ends.
    #[test]
    fn tops_of_rows_are_kept_up_to_date() {
        let (ny, nx) = (21, 37);
        let value = |i: usize| ((i * 7919) % 211) as f32 / 100.0 - 1.0;
        let mut residual = Array2::from_shape_fn((ny, nx), |(y, x)| value(y * nx + x));
        let psf = Array2::from_shape_fn((ny, nx), |(y, x)| value(3 * (y * nx + x) + 5));
        let mask = Array2::from_shape_fn((ny, nx), |(y, x)| f32::from(u8::from((x + 2 * y) % 5 != 0 && x > y / 2 && x < 35)));
        let inside = Inside::new(mask.clone());
        let row_top = |r: &Array2<f32>, y: usize| highest_in_row(row_of(r, y), row_of(&mask, y));
        let mut top: Vec<f32> = (0..ny).map(|y| row_top(&residual, y)).collect();
        for at in [(3, 30), (10, 18), (20, 0), (0, 36)] {
            let expected = residual.clone();
            subtract_shifted(&mut residual, &Shifted { psf: psf.view(), center: (10, 18), at }, 0.3, &inside, Some(&mut top));
            for ((y, x), v) in residual.indexed_iter().filter(|(i, _)| mask[*i] != 0.0) {
                let p = psf.get(((y + 10).wrapping_sub(at.0), (x + 18).wrapping_sub(at.1))).copied().unwrap_or(0.0);
                assert!((v - (expected[[y, x]] - 0.3 * p)).abs() < 1e-6);
            }
            assert_eq!(top, (0..ny).map(|y| row_top(&residual, y)).collect::<Vec<_>>());
        }
    }
}
