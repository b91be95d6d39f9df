//! Minor cycles: components found and subtracted in the image plane, within the mask only.
//!
//! One algorithm serves all: points of one term are Högbom's (1974, A&AS 15, 417), several scales Cornwell's (2008), several
//! Taylor terms Rau & Cornwell's (2011, A&A 532, A71). Only the box around the mask is kept up to date: a major cycle
//! follows every minor one and computes the whole residual anew.

use ndarray::{Array2, ArrayView2, s};

use super::clark;
use super::scales::{Convolver, Scale, Spectrum};
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

/// What a minor cycle did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct MinorResult {
    /// Components subtracted.
    pub n_iter: u64,
    /// Peak left, Jy/beam.
    pub peak: f64,
    /// Flux of the components, Jy.
    pub flux: f64,
    /// The peak grew to twice what it had been: subtraction went wrong and ended.
    pub diverged: bool,
}

/// The shape of a plane's deconvolution: scales and PSFs, prepared once for all cycles.
pub(super) struct Cleaner {
    ny: usize,
    nx: usize,
    n_terms: usize,
    scales: Vec<Scale>,
    bias: Vec<f32>,
    choice: Choice,
    convolver: Convolver,
    spectrum: Vec<Spectrum>,
    /// psf(order) convolved with scales a and b, [order][pair(a, b)].
    psf: Vec<Vec<Array2<f32>>>,
    psf_center: (usize, usize),
    /// Inverse of the matrix of PSF peaks, [scale][term][term].
    inverse: Vec<Vec<Vec<f64>>>,
}

fn pair(a: usize, b: usize) -> usize {
    let (a, b) = (a.max(b), a.min(b));
    a * (a + 1) / 2 + b
}

impl Cleaner {
    /// `psf` has 2·n_terms - 1 planes whose first peaks at 1 in `psf_center`.
    pub fn new(psf: &[ArrayView2<f32>], psf_center: (usize, usize), radii: &[f64], small_scale_bias: f64, choice: Choice) -> Cleaner {
        let (ny, nx) = psf[0].dim();
        let n_terms = psf.len().div_ceil(2);
        let scales: Vec<Scale> = radii.iter().map(|r| Scale::new(*r)).collect();
        let half = scales.iter().map(Scale::half).max().unwrap_or(0);
        let largest = scales.iter().map(|s| s.radius).fold(0.0, f64::max).max(1e-9);
        let bias = scales.iter().map(|s| (1.0 - small_scale_bias * s.radius / largest) as f32).collect();
        let convolver = Convolver::new(ny, nx, 2 * half);
        let spectrum: Vec<Spectrum> = scales.iter().map(|s| convolver.scale(s)).collect();
        let all_points = half == 0;
        let psf: Vec<Vec<Array2<f32>>> = psf
            .iter()
            .map(|psf| {
                if all_points {
                    return vec![psf.to_owned()];
                }
                let image = convolver.image(*psf);
                let pairs = (0..scales.len()).flat_map(|a| (0..=a).map(move |b| (a, b)));
                pairs.map(|(a, b)| convolver.convolved(&image, &[&spectrum[a], &spectrum[b]])).collect()
            })
            .collect();
        let inverse = (0..scales.len()).map(|s| inverse_of_peaks(&psf, pair(s, s), n_terms, psf_center)).collect();
        Cleaner { ny, nx, n_terms, scales, bias, choice, convolver, spectrum, psf, psf_center, inverse }
    }

    /// Finds components in `residual` (one image a term) inside `mask`, adds them to `model`.
    ///
    /// `residual` is not changed: it is only right again after a major cycle.
    pub fn run(
        &self,
        residual: &[ArrayView2<f32>],
        mask: &Array2<bool>,
        limits: Limits,
        model: &mut [Array2<f32>],
        notice: &dyn Reporter,
    ) -> Result<MinorResult> {
        let Some(area) = Area::of(mask) else { return Ok(MinorResult::default()) };
        if self.choice == Choice::Clark && self.n_terms == 1 && self.scales.iter().all(|s| s.radius == 0.0) {
            return clark::run(&self.psf[0][0], self.psf_center, residual[0], mask, limits, &mut model[0], notice);
        }
        let mut work = self.begin(residual, mask, area);
        let mut result = MinorResult { peak: work.peak(self).value, ..Default::default() };
        let mut lowest = result.peak;
        while result.n_iter < limits.n_iter {
            let peak = work.peak(self);
            result.peak = peak.value;
            if peak.value <= limits.threshold || peak.value == 0.0 {
                break;
            }
            if peak.value > 2.0 * lowest {
                result.diverged = true;
                break;
            }
            lowest = lowest.min(peak.value);
            if result.n_iter % 64 == 0 {
                notice.check()?;
            }
            let amplitude: Vec<f32> = peak.amplitude.iter().map(|a| (a * limits.gain) as f32).collect();
            self.add_to_model(&peak, &amplitude, area, model);
            work.subtract(self, &peak, &amplitude);
            result.flux += f64::from(amplitude[0]);
            result.n_iter += 1;
        }
        if result.n_iter > 0 {
            result.peak = work.peak(self).value;
        }
        Ok(result)
    }

    /// Peak of the residual inside the mask as a minor cycle would see it, Jy/beam.
    pub fn peak(&self, residual: &[ArrayView2<f32>], mask: &Array2<bool>) -> f64 {
        Area::of(mask).map_or(0.0, |area| self.begin(residual, mask, area).peak(self).value)
    }

    fn begin(&self, residual: &[ArrayView2<f32>], mask: &Array2<bool>, area: Area) -> Work {
        let cut = |image: ArrayView2<f32>| image.slice(s![area.y0..area.y1, area.x0..area.x1]).to_owned();
        let transformed: Vec<Spectrum> = if self.scales.iter().all(|s| s.radius == 0.0) {
            Vec::new()
        } else {
            residual.iter().map(|r| self.convolver.image(*r)).collect()
        };
        let of_scale = |(i, scale): (usize, &Scale)| -> Vec<Array2<f32>> {
            let one = |t: usize| {
                if scale.radius == 0.0 {
                    cut(residual[t])
                } else {
                    cut(self.convolver.convolved(&transformed[t], &[&self.spectrum[i]]).view())
                }
            };
            (0..self.n_terms).map(one).collect()
        };
        let mask_spectrum =
            self.scales.iter().any(|s| s.radius > 0.0).then(|| self.convolver.image(mask.mapv(|m| f32::from(u8::from(m))).view()));
        let weight = |(i, scale): (usize, &Scale)| {
            let inside = match &mask_spectrum {
                // A component must lie in the mask with nine tenths of its volume.
                Some(m) if scale.radius > 0.0 => self.convolver.convolved(m, &[&self.spectrum[i]]).mapv(|v| v > 0.9),
                _ => mask.clone(),
            };
            cut(inside.mapv(|m| f32::from(u8::from(m))).view())
        };
        Work {
            residual: self.scales.iter().enumerate().map(of_scale).collect(),
            inside: self.scales.iter().enumerate().map(weight).collect(),
        }
    }

    fn add_to_model(&self, peak: &Peak, amplitude: &[f32], area: Area, model: &mut [Array2<f32>]) {
        let scale = &self.scales[peak.scale];
        let half = scale.half() as i64;
        let (yc, xc) = ((peak.y + area.y0) as i64, (peak.x + area.x0) as i64);
        for ((y, x), v) in scale.shape.indexed_iter() {
            let (y, x) = (yc + y as i64 - half, xc + x as i64 - half);
            if y >= 0 && x >= 0 && (y as usize) < self.ny && (x as usize) < self.nx {
                for (model, a) in model.iter_mut().zip(amplitude) {
                    model[[y as usize, x as usize]] += a * v;
                }
            }
        }
    }
}

/// Inverse of the peaks of the PSFs of Taylor terms, [term][term].
pub(in crate::imaging) fn inverse_of_psf_peaks(psf: &[Array2<f32>], n_terms: usize) -> Vec<Vec<f64>> {
    let center = psf[0].indexed_iter().fold(((0, 0), f32::MIN), |best, (i, v)| if *v > best.1 { (i, *v) } else { best }).0;
    let psf: Vec<Vec<Array2<f32>>> = psf.iter().map(|p| vec![p.slice(s![center.0..=center.0, center.1..=center.1]).to_owned()]).collect();
    inverse_of_peaks(&psf, 0, n_terms, (0, 0))
}

/// Inverse of H(t, q) = psf(t + q) at its center; where it is singular the first term alone is solved for.
fn inverse_of_peaks(psf: &[Vec<Array2<f32>>], pair: usize, n_terms: usize, center: (usize, usize)) -> Vec<Vec<f64>> {
    let at = |order: usize| f64::from(psf[order][pair.min(psf[order].len() - 1)][center]);
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

/// The box around a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub y0: usize,
    pub y1: usize,
    pub x0: usize,
    pub x1: usize,
}

impl Area {
    pub fn of(mask: &Array2<bool>) -> Option<Area> {
        let mut area: Option<Area> = None;
        for ((y, x), _) in mask.indexed_iter().filter(|(_, m)| **m) {
            let a = area.get_or_insert(Area { y0: y, y1: y + 1, x0: x, x1: x + 1 });
            *a = Area { y0: a.y0.min(y), y1: a.y1.max(y + 1), x0: a.x0.min(x), x1: a.x1.max(x + 1) };
        }
        area
    }
}

/// Residuals of all scales and terms in the box.
struct Work {
    /// [scale][term]
    residual: Vec<Vec<Array2<f32>>>,
    /// 1 where a component of the scale may lie, else 0.
    inside: Vec<Array2<f32>>,
}

/// The next component; place counts within the box.
#[derive(Debug, Clone)]
struct Peak {
    scale: usize,
    y: usize,
    x: usize,
    /// Amplitudes of the terms, Jy.
    amplitude: Vec<f64>,
    /// What stops the cycle: the residual filtered with the scale, in units in which noise is the same for all scales, Jy/beam.
    value: f64,
}

impl Work {
    fn peak(&self, cleaner: &Cleaner) -> Peak {
        let mut best = Peak { scale: 0, y: 0, x: 0, amplitude: vec![0.0; cleaner.n_terms], value: 0.0 };
        let (mut best_rank, mut value) = (0.0, 0.0f64);
        for scale in 0..self.residual.len() {
            let Some((y, x)) = self.highest(cleaner, scale) else { continue };
            let r: Vec<f64> = self.residual[scale].iter().map(|r| f64::from(r[[y, x]])).collect();
            let amplitude: Vec<f64> = cleaner.inverse[scale].iter().map(|row| row.iter().zip(&r).map(|(h, r)| h * r).sum()).collect();
            let chi = amplitude.iter().zip(&r).map(|(a, r)| a * r).sum::<f64>().max(0.0).sqrt();
            let bias = f64::from(cleaner.bias[scale]);
            let rank = match cleaner.choice {
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

    /// The pixel of the largest chi-square gain for one scale.
    fn highest(&self, cleaner: &Cleaner, scale: usize) -> Option<(usize, usize)> {
        let inside = &self.inside[scale];
        if cleaner.n_terms == 1 {
            return highest_of_one(&self.residual[scale][0], inside);
        }
        let inverse: Vec<Vec<f32>> = cleaner.inverse[scale].iter().map(|r| r.iter().map(|v| *v as f32).collect()).collect();
        let mut best: Option<((usize, usize), f32)> = None;
        for ((y, x), m) in inside.indexed_iter() {
            if *m == 0.0 {
                continue;
            }
            let mut gain = 0.0;
            for (row, a) in inverse.iter().zip(&self.residual[scale]) {
                for (h, b) in row.iter().zip(&self.residual[scale]) {
                    gain += h * a[[y, x]] * b[[y, x]];
                }
            }
            if gain > best.map_or(0.0, |b| b.1) {
                best = Some(((y, x), gain));
            }
        }
        best.map(|b| b.0)
    }

    fn subtract(&mut self, cleaner: &Cleaner, peak: &Peak, amplitude: &[f32]) {
        for (scale, terms) in self.residual.iter_mut().enumerate() {
            let pair = pair(scale, peak.scale);
            for (t, residual) in terms.iter_mut().enumerate() {
                for (q, a) in amplitude.iter().enumerate() {
                    let psf = &cleaner.psf[t + q];
                    subtract_shifted(residual, &psf[pair.min(psf.len() - 1)], cleaner.psf_center, (peak.y, peak.x), *a);
                }
            }
        }
    }
}

/// The pixel of the largest absolute value; the first of equals.
fn highest_of_one(residual: &Array2<f32>, inside: &Array2<f32>) -> Option<(usize, usize)> {
    let (mut best_row, mut best) = (None, 0f32);
    for (y, (r, m)) in residual.rows().into_iter().zip(inside.rows()).enumerate() {
        let (Some(r), Some(m)) = (r.to_slice(), m.to_slice()) else { continue };
        let top = highest_in_row(r, m);
        if top > best {
            (best_row, best) = (Some(y), top);
        }
    }
    let y = best_row?;
    let x = residual.row(y).iter().zip(inside.row(y)).position(|(r, m)| (r * m).abs() == best)?;
    Some((y, x))
}

/// In eight lanes, which the compiler keeps in registers; the largest of numbers does not depend on the order.
fn highest_in_row(residual: &[f32], inside: &[f32]) -> f32 {
    let mut lane = [0f32; 8];
    let (r, m) = (residual.chunks_exact(8), inside.chunks_exact(8));
    let rest = r.remainder().iter().zip(m.remainder()).map(|(r, m)| (r * m).abs()).fold(0.0, f32::max);
    for (r, m) in r.zip(m) {
        for i in 0..8 {
            let v = (r[i] * m[i]).abs();
            lane[i] = if v > lane[i] { v } else { lane[i] };
        }
    }
    lane.into_iter().fold(rest, f32::max)
}

/// residual -= amplitude · psf shifted from its center to `at`.
fn subtract_shifted(residual: &mut Array2<f32>, psf: &Array2<f32>, center: (usize, usize), at: (usize, usize), amplitude: f32) {
    let (ny, nx) = residual.dim();
    let (py, px) = psf.dim();
    // PSF pixel = image pixel - at + center, kept inside the PSF.
    let range = |n: usize, p: usize, at: usize, c: usize| {
        let low = at.saturating_sub(c);
        let high = (at + p).saturating_sub(c).min(n);
        (low, high.max(low), low + c - at)
    };
    let (y0, y1, py0) = range(ny, py, at.0, center.0);
    let (x0, x1, px0) = range(nx, px, at.1, center.1);
    for y in y0..y1 {
        let mut row = residual.slice_mut(s![y, x0..x1]);
        let from = psf.slice(s![py0 + y - y0, px0..px0 + x1 - x0]);
        if let (Some(r), Some(p)) = (row.as_slice_mut(), from.as_slice()) {
            r.iter_mut().zip(p).for_each(|(r, p)| *r -= amplitude * p);
        }
    }
}
