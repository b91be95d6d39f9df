//! The w-term: images wide enough, or baselines long enough, that the sky is not flat.
//!
//! The phase w(n-1) is expanded about the middle of both ranges: with s = w/w_max, t the place of n-1 in its range and
//! φ = π w_max range, exp(-iφst) = Σ (2-δ_k0) (-i)^k J_k(φt) T_k(s) (Jacobi-Anger). Each term is one plane of visibilities
//! weighted by a Chebyshev polynomial of w, whose image is multiplied by a Bessel function of the place: a few terms where
//! the effect is small, φ + 10 where it is large. Without the w-term there is one term and no cost.

use num_complex::Complex;
use rayon::prelude::*;

use super::plane::{NEVER, Stop};
use super::{Content, Float, Geometry, GridError, Gridder, Oversampling, Samples, UvPlane};

/// More terms than this are refused: the image should then be cut into facets.
const MAX_TERMS: usize = 200;

/// How far the sky departs from flat in an image.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Depth {
    /// Largest |w| that is allowed for, wavelengths.
    w_max: f64,
    /// Range of 1-n over the image.
    range: f64,
    /// π w_max range
    phi: f64,
}

/// A [`Gridder`] that knows of the w-term, or of its absence.
#[derive(Debug, Clone)]
pub struct WideGridder<T: Float> {
    gridder: Gridder<T>,
    n_terms: usize,
    depth: Option<Depth>,
}

/// Planes of all terms.
#[derive(Debug, Clone)]
pub struct WidePlane<T> {
    vis: Vec<UvPlane<T>>,
    /// Only with the w-term; without, the PSF lies beside the visibilities.
    psf: Vec<UvPlane<T>>,
}

impl<T> WidePlane<T> {
    fn first(&self) -> Option<&UvPlane<T>> {
        self.vis.first().or(self.psf.first())
    }
    /// Sum of the weights added.
    pub fn sum_weight(&self) -> f64 {
        self.first().map_or(0.0, |p| p.sum_weight)
    }
    /// Samples with a weight that the cell is too coarse for; they were left out.
    pub fn n_outside(&self) -> u64 {
        self.first().map_or(0, |p| p.n_outside)
    }
}

impl<T: Float> WidePlane<T>
where
    Complex<T>: bytemuck::Pod,
{
    /// Makes the plane empty again.
    pub fn clear(&mut self) {
        self.vis.iter_mut().chain(&mut self.psf).for_each(UvPlane::clear);
    }
}

/// Largest |w(n-1)| phase of an image, rad: how wrong its corners are if the w-term is left out.
pub fn w_phase(geometry: &Geometry, max_w_lambda: f64) -> f64 {
    std::f64::consts::TAU * max_w_lambda * depth_of_sky(geometry)
}

/// Largest 1-n over the image.
fn depth_of_sky(g: &Geometry) -> f64 {
    let far = |n: usize, c: f64| c.abs().max((n as f64 - 1.0 - c).abs()) * g.cell_rad;
    one_minus_n(far(g.nx, g.center.0), far(g.ny, g.center.1))
}

fn one_minus_n(l: f64, m: f64) -> f64 {
    let r2 = (l * l + m * m).min(1.0);
    r2 / (1.0 + (1.0 - r2).sqrt())
}

impl<T: Float> WideGridder<T>
where
    Complex<T>: bytemuck::Pod,
{
    /// Plans for an accuracy; `max_w_lambda` bounds |w| of all samples, `None` leaves the w-term out.
    pub fn new(
        geometry: Geometry,
        accuracy: f64,
        oversampling: Oversampling,
        max_w_lambda: Option<f64>,
    ) -> Result<WideGridder<T>, GridError> {
        let gridder = Gridder::new(geometry, accuracy, oversampling)?;
        let Some(w_max) = max_w_lambda.filter(|w| *w > 0.0) else { return Ok(WideGridder { gridder, n_terms: 1, depth: None }) };
        let range = depth_of_sky(&geometry);
        let phi = std::f64::consts::PI * w_max * range;
        let n_terms = terms_for(phi, accuracy);
        if n_terms > MAX_TERMS {
            return Err(GridError::TooDeep { phase_rad: 2.0 * phi });
        }
        if n_terms <= 1 {
            return Ok(WideGridder { gridder, n_terms: 1, depth: None });
        }
        Ok(WideGridder { gridder, n_terms, depth: Some(Depth { w_max, range, phi }) })
    }

    /// The oversampling for planes of `n_samples`, as [`Gridder::cheapest_oversampling`].
    pub fn cheapest_oversampling(geometry: &Geometry, accuracy: f64, n_samples: f64) -> Oversampling {
        Gridder::<T>::cheapest_oversampling(geometry, accuracy, n_samples)
    }

    /// Pixels of the image.
    pub fn geometry(&self) -> &Geometry {
        self.gridder.geometry()
    }
    /// Terms of the expansion; 1 without the w-term.
    pub fn n_terms(&self) -> usize {
        self.n_terms
    }
    /// Kernel width, cells.
    pub fn width(&self) -> usize {
        self.gridder.width()
    }
    /// Bytes that a plane takes.
    pub fn plane_bytes(&self, content: Content) -> usize {
        let one = |c| self.gridder.plane_bytes(c);
        match (self.depth, content) {
            (None, content) => one(content),
            (Some(_), Content::VisAndPsf) => 2 * self.n_terms * one(Content::Vis),
            (Some(_), _) => self.n_terms * one(Content::Vis),
        }
    }

    /// An empty plane.
    pub fn plane(&self, content: Content) -> WidePlane<T> {
        let planes = |c: Content, n: usize| (0..n).map(|_| self.gridder.plane(c)).collect();
        match (self.depth, content) {
            (None, content) => WidePlane { vis: planes(content, 1), psf: Vec::new() },
            (Some(_), Content::Vis) => WidePlane { vis: planes(Content::Vis, self.n_terms), psf: Vec::new() },
            (Some(_), Content::Psf) => WidePlane { vis: Vec::new(), psf: planes(Content::Vis, self.n_terms) },
            (Some(_), Content::VisAndPsf) => WidePlane { vis: planes(Content::Vis, self.n_terms), psf: planes(Content::Vis, self.n_terms) },
        }
    }

    /// Adds a block: with all threads, or on this one if `parallel` is false.
    pub fn add(&self, plane: &mut WidePlane<T>, samples: &Samples<T>, vis: Option<&[Complex<T>]>, parallel: bool) -> Result<(), GridError> {
        let add = |plane: &mut UvPlane<T>, vis: Option<&[Complex<T>]>| {
            if parallel { self.gridder.add(plane, samples, vis) } else { self.gridder.add_alone(plane, samples, vis) }
        };
        let Some(depth) = &self.depth else {
            return plane.vis.first_mut().map_or(Ok(()), |plane| add(plane, vis));
        };
        samples.check(vis)?;
        let mut turned = vec![Complex::new(T::zero(), T::zero()); samples.weight.len()];
        for k in 0..self.n_terms {
            if let (Some(plane), Some(vis)) = (plane.vis.get_mut(k), vis) {
                self.turn(depth, k, samples, Some(vis), &mut turned);
                add(plane, Some(&turned))?;
            }
            if let Some(plane) = plane.psf.get_mut(k) {
                self.turn(depth, k, samples, None, &mut turned);
                add(plane, Some(&turned))?;
            }
        }
        Ok(())
    }

    /// Visibilities (ones where absent) times exp(iπ w range) (-i)^k T_k(w/w_max).
    fn turn(&self, depth: &Depth, k: usize, samples: &Samples<T>, vis: Option<&[Complex<T>]>, out: &mut [Complex<T>]) {
        let n = samples.n_chan().max(1);
        let row = |(i, out): (usize, &mut [Complex<T>])| {
            for (chan, (out, f)) in out.iter_mut().zip(samples.freq_hz).enumerate() {
                let factor = depth.factor(k, samples.uvw_s[i][2] * f);
                let factor = Complex::new(T::of(factor.re), T::of(factor.im));
                *out = vis.map_or(factor, |v| v[i * n + chan] * factor);
            }
        };
        out.par_chunks_mut(n).enumerate().with_min_len(512).for_each(row);
    }

    /// The images of a plane, [y][x]: of the visibilities and of the weights, empty where there is none. The plane is of no use
    /// afterwards until it is [cleared](WidePlane::clear).
    pub fn image_and_psf(&self, plane: &mut WidePlane<T>, parallel: bool) -> (Vec<T>, Vec<T>) {
        self.image_and_psf_until(plane, parallel, NEVER)
    }

    /// Like [`image_and_psf`](Self::image_and_psf), unless `stop` becomes true: then the images are of no use.
    pub fn image_and_psf_until(&self, plane: &mut WidePlane<T>, parallel: bool, stop: Stop) -> (Vec<T>, Vec<T>) {
        let Some(depth) = &self.depth else {
            return plane.vis.first_mut().map_or((Vec::new(), Vec::new()), |p| self.gridder.image_and_psf(p, parallel, stop));
        };
        (self.sum_terms(depth, &mut plane.vis, false, parallel, stop), self.sum_terms(depth, &mut plane.psf, true, parallel, stop))
    }

    fn sum_terms(&self, depth: &Depth, planes: &mut [UvPlane<T>], whole: bool, parallel: bool, stop: Stop) -> Vec<T> {
        if planes.is_empty() {
            return Vec::new();
        }
        let images: Vec<Vec<T>> = planes.iter_mut().map(|p| self.gridder.image_about(p, whole, parallel, stop)).collect();
        let mut g = *self.geometry();
        if whole {
            g.center = (g.center.0.round(), g.center.1.round());
        }
        let mut out = vec![T::zero(); g.nx * g.ny];
        out.par_chunks_mut(g.nx).enumerate().for_each_init(
            || vec![0.0; self.n_terms],
            |bessel, (y, row)| {
                if stop() {
                    return;
                }
                for (x, out) in row.iter_mut().enumerate() {
                    depth.bessel(&g, y, x, bessel);
                    *out = T::of(images.iter().zip(bessel.iter()).map(|(i, b)| i[y * g.nx + x].f64() * b).sum());
                }
            },
        );
        out
    }

    /// The planes of an image, to predict visibilities from.
    pub fn prepare(&self, image: &[T], max_uv_lambda: Option<f64>, parallel: bool) -> Result<WidePlane<T>, GridError> {
        self.prepare_until(image, max_uv_lambda, parallel, NEVER)
    }

    /// Like [`prepare`](Self::prepare), unless `stop` becomes true: then the planes are of no use.
    pub fn prepare_until(&self, image: &[T], max_uv_lambda: Option<f64>, parallel: bool, stop: Stop) -> Result<WidePlane<T>, GridError> {
        let Some(depth) = &self.depth else {
            return Ok(WidePlane { vis: vec![self.gridder.prepare_until(image, max_uv_lambda, parallel, stop)?], psf: Vec::new() });
        };
        let g = self.geometry();
        let term = |k: usize| {
            let mut times = image.to_vec();
            times.par_chunks_mut(g.nx).enumerate().for_each_init(
                || vec![0.0; self.n_terms],
                |bessel, (y, row)| {
                    if stop() {
                        return;
                    }
                    for (x, v) in row.iter_mut().enumerate().filter(|(_, v)| **v != T::zero()) {
                        depth.bessel(g, y, x, bessel);
                        *v = T::of(v.f64() * bessel[k]);
                    }
                },
            );
            self.gridder.prepare_until(&times, max_uv_lambda, parallel, stop)
        };
        Ok(WidePlane { vis: (0..self.n_terms).map(term).collect::<Result<_, _>>()?, psf: Vec::new() })
    }

    /// V = Σ I exp(+2πi(ul + vm + w(n-1))) at every sample that has a weight; the others become 0.
    pub fn predict(&self, plane: &WidePlane<T>, samples: &Samples<T>, vis: &mut [Complex<T>], parallel: bool) -> Result<(), GridError> {
        let Some(depth) = &self.depth else {
            return plane.vis.first().map_or(Ok(()), |p| self.gridder.predict(p, samples, vis, parallel));
        };
        let n = samples.n_chan().max(1);
        vis.fill(Complex::new(T::zero(), T::zero()));
        let mut term = vis.to_vec();
        for (k, plane) in plane.vis.iter().enumerate() {
            self.gridder.predict(plane, samples, &mut term, parallel)?;
            let add = |(i, (vis, term)): (usize, (&mut [Complex<T>], &[Complex<T>]))| {
                for ((v, t), f) in vis.iter_mut().zip(term).zip(samples.freq_hz) {
                    let factor = depth.factor(k, samples.uvw_s[i][2] * f);
                    *v = *v + *t * Complex::new(T::of(factor.re), T::of(-factor.im));
                }
            };
            vis.par_chunks_mut(n).zip(term.par_chunks(n)).enumerate().with_min_len(512).for_each(add);
        }
        Ok(())
    }
}

impl Depth {
    /// exp(iπ w range) (-i)^k T_k(w/w_max)
    fn factor(&self, k: usize, w: f64) -> Complex<f64> {
        let s = (w / self.w_max).clamp(-1.0, 1.0);
        let turn = [Complex::new(1.0, 0.0), Complex::new(0.0, -1.0), Complex::new(-1.0, 0.0), Complex::new(0.0, 1.0)][k % 4];
        turn * Complex::cis(std::f64::consts::PI * w * self.range) * chebyshev(k, s)
    }

    /// (2-δ_k0) J_k(φt) at a pixel.
    fn bessel(&self, g: &Geometry, y: usize, x: usize, out: &mut [f64]) {
        let (l, m) = ((x as f64 - g.center.0) * g.cell_rad, (y as f64 - g.center.1) * g.cell_rad);
        let t = 1.0 - 2.0 * one_minus_n(l, m) / self.range;
        bessel(self.phi * t, out);
        out[1..].iter_mut().for_each(|b| *b *= 2.0);
    }
}

fn chebyshev(k: usize, s: f64) -> f64 {
    match k {
        0 => 1.0,
        1 => s,
        _ => {
            let (mut before, mut now) = (1.0, s);
            for _ in 1..k {
                (before, now) = (now, 2.0 * s * now - before);
            }
            now
        }
    }
}

/// J_0(x) .. J_{n-1}(x) by Miller's backward recurrence.
fn bessel(x: f64, out: &mut [f64]) {
    out.fill(0.0);
    if x.abs() < 1e-30 {
        out[0] = 1.0;
        return;
    }
    let top = out.len().max(x.abs().ceil() as usize) + 24;
    let (mut above, mut here, mut norm) = (0.0, 1e-280, 0.0);
    for k in (0..top).rev() {
        // here is J_{k+1} up to the factor that the sum rule 1 = J_0 + 2 J_2 + 2 J_4 + ... gives at the end.
        let below = 2.0 * (k as f64 + 1.0) / x * here - above;
        (above, here) = (here, below);
        if k < out.len() {
            out[k] = here;
        }
        norm += if k % 2 == 1 {
            0.0
        } else if k == 0 {
            here
        } else {
            2.0 * here
        };
        if here.abs() > 1e200 {
            (above, here, norm) = (above * 1e-200, here * 1e-200, norm * 1e-200);
            out.iter_mut().for_each(|o| *o *= 1e-200);
        }
    }
    out.iter_mut().for_each(|o| *o /= norm);
}

/// Terms whose remainder stays below half the accuracy.
fn terms_for(phi: f64, accuracy: f64) -> usize {
    let mut j = vec![0.0; (phi.ceil() as usize + 60).min(4 * MAX_TERMS)];
    bessel(phi, &mut j);
    let mut rest = 0.0;
    for k in (0..j.len()).rev() {
        rest += 2.0 * j[k].abs();
        if rest > 0.5 * accuracy {
            return k + 1;
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Abramowitz & Stegun, table 9.1, 9.2, 9.4.
    #[test]
    fn bessel_functions_at_known_places() {
        let mut j = vec![0.0; 12];
        bessel(1.0, &mut j);
        assert!((j[0] - 0.765_197_686_557_966_6).abs() < 1e-14 && (j[1] - 0.440_050_585_744_933_5).abs() < 1e-14);
        assert!((j[10] / 2.630_615_123_687_453e-10 - 1.0).abs() < 1e-12);
        bessel(-10.0, &mut j);
        assert!((j[0] + 0.245_935_764_451_348_3).abs() < 1e-13 && (j[1] + 0.043_472_746_168_861_4).abs() < 1e-13);
        bessel(0.0, &mut j);
        assert_eq!((j[0], j[1]), (1.0, 0.0));
    }

    #[test]
    fn little_depth_needs_few_terms() {
        assert_eq!(terms_for(1e-6, 1e-4), 1);
        assert_eq!(terms_for(0.004, 1e-4), 2);
        assert!((3..=4).contains(&terms_for(0.17, 1e-4)));
        assert!(terms_for(20.0, 1e-4) < 36);
    }
}
