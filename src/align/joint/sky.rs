//! The common sky: an image with compact support and a Gaussian prior, solved for by conjugate gradients.
//!
//! I = E F⁻¹[√p ζ] with ζ white, so the penalty is |ζ|². The normal operator of the image is Toeplitz and does not depend on the
//! offsets (their phases cancel): the data are not touched inside the iterations.

use std::sync::Arc;

use num_complex::Complex64;
use rayon::prelude::*;

use super::compress::Cells;
use super::prior::RadialPower;
use super::support::Support;
use crate::error::Result;
use crate::gridding::{Nufft, RealFft2, good_size};

/// Accuracy of the transforms between image and cells.
const ACCURACY: f64 = 1e-7;
/// A worse kernel can make the normal operator indefinite at a signal to noise of 1000.
const ACCURACY_NORMAL: f64 = 1e-10;

/// What does not change with the support: image grid and transforms of all blocks.
struct Transforms {
    fft: RealFft2<f64>,
    fft_padded: RealFft2<f64>,
    plan: Vec<Nufft>,
    /// Transform of T_e(D) = Σ W cos(2πu.D) on the padded grid, real.
    normal: Vec<Vec<f64>>,
    /// Eigenvalues of the circulant matrix nearest to T_e (T. Chan), [n][n/2+1].
    circulant: Vec<Vec<f64>>,
}

/// Image grid, prior and transforms of all blocks.
#[derive(Clone)]
pub(super) struct Sky {
    pub n: usize,
    pub pixel: f64,
    /// Middle of the image, direction cosines from the seed's phase center.
    pub center: [f64; 2],
    pub support: Support,
    pub envelope: Vec<f64>,
    mean_e2: f64,
    /// Prior power on the half-plane of the transform, [n][n/2+1].
    prior: Vec<f64>,
    transforms: Arc<Transforms>,
}

/// Σ g² T_e over a set of blocks, with its preconditioner.
pub(super) struct Normal {
    kernel: Vec<f64>,
    precondition: Vec<f64>,
}

/// An image with its coefficients.
#[derive(Debug, Clone)]
pub(super) struct Solution {
    pub zeta: Vec<Complex64>,
    pub image: Vec<f64>,
    /// By how much the image lowers χ² + |ζ|² below Σ W|V|².
    pub explained: f64,
}

impl Sky {
    /// A grid for `support`, with pixels of 0.46/max_uv.
    pub fn new(blocks: &[&Cells], support: &Support, power: &RadialPower, max_uv: f64) -> Result<Sky> {
        let pixel = 0.46 / max_uv;
        let (center, half_width) = support.bounds();
        // Half a radius beyond the support, so that the prior's correlations do not reach around.
        let n = good_size(((2.0 * half_width + 0.5 * support.patches[0].major_rad) / pixel).ceil() as usize + 4);
        let fft_padded = RealFft2::new(2 * n, 2 * n);
        let per_block = |b: &&Cells| -> Result<(Nufft, Vec<f64>, Vec<f64>)> {
            let (u, v): (Vec<f64>, Vec<f64>) = (0..b.len()).map(|i| (b.u[i] * pixel, b.v[i] * pixel)).unzip();
            let (normal, circulant) = normal_kernel(&u, &v, &b.weight, n, &fft_padded)?;
            Ok((Nufft::new(&u, &v, n, n, ACCURACY)?, normal, circulant))
        };
        let (mut plan, mut normal, mut circulant) = (Vec::new(), Vec::new(), Vec::new());
        for (p, k, c) in blocks.par_iter().map(per_block).collect::<Result<Vec<_>>>()? {
            plan.push(p);
            normal.push(k);
            circulant.push(c);
        }
        let transforms = Arc::new(Transforms { fft: RealFft2::new(n, n), fft_padded, plan, normal, circulant });
        let empty = Support { patches: Vec::new() };
        let sky = Sky { n, pixel, center, support: empty, envelope: Vec::new(), mean_e2: 0.0, prior: Vec::new(), transforms };
        Ok(sky.with_support(support, power))
    }

    /// The same grid with another support, which has to lie within it.
    pub fn with_support(&self, support: &Support, power: &RadialPower) -> Sky {
        let (n, nc) = (self.n, self.n / 2 + 1);
        let envelope = support.envelope(self.center, n, self.pixel);
        let sum_e2 = envelope.iter().map(|e| e * e).sum::<f64>().max(f64::MIN_POSITIVE);
        let frequency = |i: usize| if i <= n / 2 { i as f64 } else { i as f64 - n as f64 } / (n as f64 * self.pixel);
        let prior = (0..n * nc).map(|k| power.at(frequency(k / nc).hypot(frequency(k % nc))) / sum_e2).collect();
        let mean_e2 = sum_e2 / (n * n) as f64;
        Sky { support: support.clone(), envelope, mean_e2, prior, transforms: self.transforms.clone(), ..*self }
    }

    /// Visibilities of an image at the cells of block `i`, for a source at the middle of the image.
    pub fn degrid(&self, i: usize, image: &[f64]) -> Result<Vec<Complex64>> {
        Ok(self.transforms.plan[i].degrid(image)?)
    }
    /// The adjoint.
    pub fn grid(&self, i: usize, vis: &[Complex64]) -> Result<Vec<f64>> {
        Ok(self.transforms.plan[i].grid(vis)?)
    }

    /// Information of block `i` on the Fourier component nearest to (u, v) relative to the prior's.
    pub fn information(&self, i: usize, gain: f64, u: f64, v: f64) -> f64 {
        let k = self.component(u, v);
        gain * gain * self.prior[k] * self.mean_e2 * self.transforms.circulant[i][k].max(0.0)
    }

    fn component(&self, u: f64, v: f64) -> usize {
        let (n, nc) = (self.n as i64, self.n / 2 + 1);
        let scale = self.pixel * self.n as f64;
        let (p, q) = ((u * scale).round() as i64, (v * scale).round() as i64);
        let (p, q) = if p < 0 { (-p, -q) } else { (p, q) };
        q.rem_euclid(n) as usize * nc + (p as usize).min(nc - 1)
    }

    /// Σ over the Fourier components of the support of f(component), each with its share in the whole plane.
    fn sum_over_components(&self, f: impl Fn(usize) -> f64) -> f64 {
        let nc = self.n / 2 + 1;
        let inside = self.envelope.iter().filter(|e| **e > 0.5).count() as f64 / (self.n * self.n) as f64;
        // The inner columns of the half-plane stand for their mirror images too.
        let times = |k: usize| if k % nc == 0 || k % nc == nc - 1 { 1.0 } else { 2.0 };
        inside * (0..self.prior.len()).map(|k| times(k) * f(k)).sum::<f64>()
    }

    fn total_circulant(&self, gains: &[Option<f64>], k: usize) -> f64 {
        gains.iter().zip(&self.transforms.circulant).filter_map(|(g, t)| g.map(|g| g * g * t[k].max(0.0))).sum()
    }

    /// Number of Fourier components that block `i` determines: the derivative of half the log-determinant by ln g².
    pub fn effective_components(&self, i: usize, gains: &[Option<f64>]) -> f64 {
        let own = gains[i].unwrap_or(0.0).powi(2);
        self.sum_over_components(|k| {
            let p = self.prior[k];
            p * own * self.transforms.circulant[i][k].max(0.0) / (1.0 + p * self.total_circulant(gains, k))
        })
    }

    /// Σ log(1 + p t): the log-determinant of the image's posterior relative to the prior, circulant approximation.
    pub fn log_determinant(&self, gains: &[Option<f64>]) -> f64 {
        self.sum_over_components(|k| (1.0 + self.prior[k] * self.total_circulant(gains, k)).ln())
    }

    /// The normal operator of the blocks that have a gain.
    pub fn normal(&self, gains: &[Option<f64>]) -> Normal {
        let sum = |parts: &[Vec<f64>]| {
            let mut out = vec![0.0; parts[0].len()];
            for (gain, part) in gains.iter().zip(parts) {
                if let Some(g) = gain {
                    out.iter_mut().zip(part).for_each(|(o, t)| *o += g * g * t);
                }
            }
            out
        };
        let precondition =
            sum(&self.transforms.circulant).iter().zip(&self.prior).map(|(t, p)| 1.0 / (1.0 + p * self.mean_e2 * t.max(0.0))).collect();
        Normal { kernel: sum(&self.transforms.normal), precondition }
    }

    /// Solves (1 + SᵀTS) ζ = Sᵀ b for the image whose adjoint data are `b`, from `start`.
    pub fn solve(&self, normal: &Normal, b: &[f64], start: Option<&[Complex64]>, tolerance: f64, max_iterations: usize) -> Solution {
        let mut work = Work::new(self);
        let right = self.synthesis_adjoint(b, &mut work);
        let target = tolerance * tolerance * self.dot(&right, &precondition(&right, normal)).max(f64::MIN_POSITIVE);
        let mut zeta = start.map_or_else(|| vec![Complex64::default(); right.len()], |s| s.to_vec());
        let mut residual = right.clone();
        if start.is_some() {
            let applied = self.apply(normal, &zeta, &mut work);
            residual.iter_mut().zip(&applied).for_each(|(r, a)| *r -= a);
        }
        let mut z = precondition(&residual, normal);
        let mut direction = z.clone();
        let mut rho = self.dot(&residual, &z);
        let mut iterations = 0;
        while rho > target && iterations < max_iterations {
            let applied = self.apply(normal, &direction, &mut work);
            let curvature = self.dot(&direction, &applied);
            if !(curvature > 0.0) {
                break;
            }
            let alpha = rho / curvature;
            for (((z, r), d), a) in zeta.iter_mut().zip(&mut residual).zip(&direction).zip(&applied) {
                *z += alpha * d;
                *r -= alpha * a;
            }
            z = precondition(&residual, normal);
            let next = self.dot(&residual, &z);
            let beta = next / rho;
            direction.iter_mut().zip(&z).for_each(|(d, z)| *d = z + beta * *d);
            rho = next;
            iterations += 1;
        }
        let image = self.synthesis(&zeta, &mut work);
        let sum: Vec<Complex64> = right.iter().zip(&residual).map(|(b, r)| b + r).collect();
        Solution { explained: self.dot(&zeta, &sum), zeta, image }
    }

    /// |ζ|², the penalty.
    pub fn penalty(&self, zeta: &[Complex64]) -> f64 {
        self.dot(zeta, zeta)
    }

    /// Real inner product of two transforms given on the half-plane.
    fn dot(&self, a: &[Complex64], b: &[Complex64]) -> f64 {
        let nc = self.n / 2 + 1;
        let mut total = 0.0;
        for (a, b) in a.chunks(nc).zip(b.chunks(nc)) {
            let term = |i: usize| a[i].re * b[i].re + a[i].im * b[i].im;
            let inner: f64 = (1..nc - 1).map(term).sum();
            total += 2.0 * inner + term(0) + term(nc - 1);
        }
        total
    }

    /// (1 + SᵀTS) ζ.
    fn apply(&self, normal: &Normal, zeta: &[Complex64], work: &mut Work) -> Vec<Complex64> {
        let image = self.synthesis(zeta, work);
        let smeared = self.toeplitz(normal, &image, work);
        let mut out = self.synthesis_adjoint(&smeared, work);
        out.iter_mut().zip(zeta).for_each(|(o, z)| *o += z);
        out
    }

    /// S ζ = E F⁻¹[√p ζ].
    fn synthesis(&self, zeta: &[Complex64], work: &mut Work) -> Vec<f64> {
        for ((s, z), p) in work.spectrum.iter_mut().zip(zeta).zip(&self.prior) {
            *s = z * p.sqrt();
        }
        let mut image = vec![0.0; self.n * self.n];
        self.transforms.fft.inverse(&mut work.spectrum, &mut image, |_| false);
        let scale = 1.0 / self.n as f64;
        image.iter_mut().zip(&self.envelope).for_each(|(i, e)| *i *= e * scale);
        image
    }

    /// Sᵀ b = √p F[E b].
    fn synthesis_adjoint(&self, b: &[f64], work: &mut Work) -> Vec<Complex64> {
        let scale = 1.0 / self.n as f64;
        for ((i, b), e) in work.image.iter_mut().zip(b).zip(&self.envelope) {
            *i = b * e * scale;
        }
        let mut out = vec![Complex64::default(); self.prior.len()];
        self.transforms.fft.forward(&mut work.image, &mut out, |_| false);
        out.iter_mut().zip(&self.prior).for_each(|(o, p)| *o *= p.sqrt());
        out
    }

    /// T I: convolution on a grid of twice the size.
    fn toeplitz(&self, normal: &Normal, image: &[f64], work: &mut Work) -> Vec<f64> {
        let (n, m) = (self.n, 2 * self.n);
        work.padded.fill(0.0);
        for (row, out) in image.chunks(n).zip(work.padded.chunks_mut(m)) {
            out[..n].copy_from_slice(row);
        }
        self.transforms.fft_padded.forward(&mut work.padded, &mut work.padded_spectrum, |row| row >= n);
        work.padded_spectrum.iter_mut().zip(&normal.kernel).for_each(|(s, k)| *s *= k);
        self.transforms.fft_padded.inverse(&mut work.padded_spectrum, &mut work.padded, |row| row >= n);
        let mut out = Vec::with_capacity(n * n);
        work.padded.chunks(m).take(n).for_each(|row| out.extend_from_slice(&row[..n]));
        out
    }
}

fn precondition(x: &[Complex64], normal: &Normal) -> Vec<Complex64> {
    x.iter().zip(&normal.precondition).map(|(x, m)| x * m).collect()
}

/// Arrays that every application of the operator needs.
struct Work {
    image: Vec<f64>,
    spectrum: Vec<Complex64>,
    padded: Vec<f64>,
    padded_spectrum: Vec<Complex64>,
}

impl Work {
    fn new(sky: &Sky) -> Work {
        let n = sky.n;
        Work {
            image: vec![0.0; n * n],
            spectrum: vec![Complex64::default(); n * (n / 2 + 1)],
            padded: vec![0.0; 4 * n * n],
            padded_spectrum: vec![Complex64::default(); 2 * n * (n + 1)],
        }
    }
}

/// The Toeplitz kernel of one block: its transform on the padded grid (scaled for the unscaled FFTs), and the nearest circulant's eigenvalues.
fn normal_kernel(u: &[f64], v: &[f64], weight: &[f64], n: usize, fft_padded: &RealFft2<f64>) -> Result<(Vec<f64>, Vec<f64>)> {
    let m = 2 * n;
    let values: Vec<Complex64> = weight.iter().map(|w| Complex64::new(*w, 0.0)).collect();
    let centered = Nufft::new(u, v, m, m, ACCURACY_NORMAL)?.grid(&values)?;
    let mut wrapped = vec![0.0; m * m];
    let mut folded = vec![0.0; n * n];
    for y in 0..m {
        for x in 0..m {
            let value = centered[y * m + x];
            wrapped[(y + n) % m * m + (x + n) % m] = value;
            let (dy, dx) = (y as i64 - n as i64, x as i64 - n as i64);
            let taper = |d: i64| 1.0 - d.unsigned_abs() as f64 / n as f64;
            folded[dy.rem_euclid(n as i64) as usize * n + dx.rem_euclid(n as i64) as usize] += taper(dy) * taper(dx) * value;
        }
    }
    let mut spectrum = vec![Complex64::default(); m * (n + 1)];
    fft_padded.forward(&mut wrapped, &mut spectrum, |_| false);
    let scale = 1.0 / (m * m) as f64;
    let kernel = spectrum.iter().map(|s| s.re * scale).collect();
    let mut spectrum = vec![Complex64::default(); n * (n / 2 + 1)];
    RealFft2::<f64>::new(n, n).forward(&mut folded, &mut spectrum, |_| false);
    Ok((kernel, spectrum.iter().map(|s| s.re).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells() -> Cells {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let n = 400;
        let (mut u, mut v, mut weight, mut vis) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..n {
            u.push((next() - 0.5) * 8e5);
            v.push(next() * 4e5);
            weight.push(1e3 * next());
            vis.push(Complex64::new(next() + 0.5, next() - 0.5));
        }
        Cells { name: "a".to_string(), u, v, weight, vis, taken_out: [0.0; 2], scatter_factor: None, weight_factor: 1.0, beam: None }
    }

    /// T I from the Toeplitz kernel equals Aᵀ W A I, and the solution satisfies the normal equations.
    #[test]
    fn the_normal_operator_is_gridding_after_degridding() {
        let cells = cells();
        let power = RadialPower::of(&[&cells], 1e9).unwrap();
        let support = Support::disc([0.0, 0.0], 8e-6);
        let sky = Sky::new(&[&cells], &support, &power, cells.max_uv()).unwrap();
        let normal = sky.normal(&[Some(1.3)]);
        let image: Vec<f64> = (0..sky.n * sky.n).map(|i| ((i * 31) % 17) as f64 / 17.0).collect();
        let direct: Vec<Complex64> = sky.degrid(0, &image).unwrap().iter().zip(&cells.weight).map(|(v, w)| v * w * 1.69).collect();
        let direct = sky.grid(0, &direct).unwrap();
        let fast = sky.toeplitz(&normal, &image, &mut Work::new(&sky));
        let scale = direct.iter().map(|x| x.abs()).fold(0.0, f64::max);
        direct.iter().zip(&fast).for_each(|(a, b)| assert!((a - b).abs() < 1e-6 * scale, "{a} {b}"));

        let b: Vec<Complex64> = cells.vis.iter().zip(&cells.weight).map(|(v, w)| v * w * 1.3).collect();
        let b = sky.grid(0, &b).unwrap();
        let solution = sky.solve(&normal, &b, None, 1e-8, 500);
        let mut work = Work::new(&sky);
        let (left, right) = (sky.apply(&normal, &solution.zeta, &mut work), sky.synthesis_adjoint(&b, &mut work));
        let miss: f64 = left.iter().zip(&right).map(|(a, b)| (a - b).norm_sqr()).sum();
        let size: f64 = right.iter().map(|x| x.norm_sqr()).sum();
        assert!(miss < 1e-8 * size, "{miss} {size}");
    }
}
