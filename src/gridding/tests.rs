//! Gridding against explicit sums, its adjoint, and itself on other numbers of threads.

use num_complex::Complex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::f64::consts::TAU;

use super::plane::{NEVER, Stop};
use super::*;

struct Set {
    uvw_s: Vec<[f64; 3]>,
    freq_hz: Vec<f64>,
    weight: Vec<f64>,
    vis: Vec<Complex<f64>>,
}

/// Rows within the disc that cells of `cell_rad` can show; one weight in five is 0.
fn set(n_rows: usize, n_chan: usize, cell_rad: f64, seed: u64) -> Set {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let freq_hz: Vec<f64> = (0..n_chan).map(|i| 1e9 * (1.0 + 0.03 * i as f64)).collect();
    let reach = 0.5 / cell_rad / freq_hz[n_chan - 1];
    let uvw_s =
        (0..n_rows).map(|_| [rng.random_range(-reach..reach), rng.random_range(-reach..reach), rng.random_range(-reach..reach)]).collect();
    let n = n_rows * n_chan;
    let weight = (0..n).map(|_| if rng.random_bool(0.2) { 0.0 } else { rng.random_range(0.5..2.0) }).collect();
    let vis = (0..n).map(|_| Complex::new(rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0))).collect();
    Set { uvw_s, freq_hz, weight, vis }
}

impl Set {
    fn samples(&self) -> Samples<'_, f64> {
        Samples { uvw_s: &self.uvw_s, freq_hz: &self.freq_hz, weight: &self.weight }
    }
    fn each(&self) -> impl Iterator<Item = (f64, f64, f64, f64, Complex<f64>, usize)> {
        let n = self.freq_hz.len();
        (0..self.vis.len()).map(move |i| {
            let ([u, v, w], f) = (self.uvw_s[i / n], self.freq_hz[i % n]);
            (u * f, v * f, w * f, self.weight[i], self.vis[i], i)
        })
    }
}

fn lm(g: &Geometry, y: usize, x: usize) -> (f64, f64) {
    (-(x as f64 - g.center.0) * g.cell_rad, (y as f64 - g.center.1) * g.cell_rad)
}

fn dirty_by_sum(set: &Set, g: &Geometry) -> Vec<f64> {
    (0..g.ny * g.nx)
        .map(|i| {
            let (l, m) = lm(g, i / g.nx, i % g.nx);
            set.each().map(|(u, v, _, w, vis, _)| w * (vis * Complex::cis(-TAU * (u * l + v * m))).re).sum()
        })
        .collect()
}

fn vis_by_sum(set: &Set, g: &Geometry, image: &[f64]) -> Vec<Complex<f64>> {
    let value = |(u, v, _, w, _, _): (f64, f64, f64, f64, Complex<f64>, usize)| {
        if w == 0.0 {
            return Complex::default();
        }
        (0..image.len())
            .map(|i| {
                let (l, m) = lm(g, i / g.nx, i % g.nx);
                image[i] * Complex::cis(TAU * (u * l + v * m))
            })
            .sum()
    };
    set.each().map(value).collect()
}

fn image_of(n: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 7919) % 1009) as f64 / 1009.0 - 0.4).collect()
}

/// ‖a - b‖ / ‖b‖
fn difference<'a>(a: impl IntoIterator<Item = f64>, b: impl IntoIterator<Item = &'a f64>) -> f64 {
    let (mut d, mut s) = (0.0, 0.0);
    for (a, b) in a.into_iter().zip(b) {
        d += (a - b) * (a - b);
        s += b * b;
    }
    (d / s).sqrt()
}

const SHAPES: [(usize, usize, (f64, f64)); 4] =
    [(24, 38, (12.0, 19.0)), (37, 21, (18.0, 10.0)), (30, 30, (14.3, 16.8)), (2, 64, (1.0, 32.0))];

/// Gridding is the sum over visibilities to the accuracy asked for, for every kernel, shape and center.
/// A transform that is told to stop leaves the rest undone.
#[test]
fn a_transform_stops_when_it_is_told_to() {
    let geometry = Geometry::centered(256, 256, 1e-6);
    let gridder = Gridder::<f32>::new(geometry, 1e-4, Oversampling::Two).unwrap();
    let samples = Samples { uvw_s: &[[1e-6, 2e-6, 0.0]], freq_hz: &[1e10], weight: &[1.0] };
    let image = |stop: Stop| {
        let mut plane = gridder.plane(Content::VisAndPsf);
        gridder.add(&mut plane, &samples, Some(&[Complex::new(1.0, 0.0)])).unwrap();
        gridder.image_and_psf(&mut plane, false, stop)
    };
    let is_empty = |image: &[f32]| image.iter().all(|v| *v == 0.0);
    let (whole, psf) = image(NEVER);
    assert!(!is_empty(&whole) && !is_empty(&psf));
    let (stopped, psf) = image(&|| true);
    assert!(stopped.len() == whole.len() && is_empty(&stopped) && is_empty(&psf));
    let back = |stop: Stop| {
        let plane = gridder.prepare_until(&whole, None, false, stop).unwrap();
        let mut vis = [Complex::new(0.0, 0.0)];
        gridder.predict(&plane, &samples, &mut vis, false).unwrap();
        vis[0].norm()
    };
    assert!(back(NEVER) > 1e3 && back(&|| true) == 0.0);
}

#[test]
fn gridding_is_the_sum_over_visibilities() {
    let cell = 1e-4;
    for (nx, ny, center) in SHAPES {
        let g = Geometry { nx, ny, cell_rad: cell, center };
        let set = set(40, 3, cell, 1);
        let exact = dirty_by_sum(&set, &g);
        for oversampling in [Oversampling::Two, Oversampling::OneAndHalf, Oversampling::OneAndQuarter] {
            for accuracy in [1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-10, 1e-12] {
                let Ok(gridder) = Gridder::<f64>::new(g, accuracy, oversampling) else { continue };
                let mut plane = gridder.plane(Content::Vis);
                gridder.add(&mut plane, &set.samples(), Some(&set.vis)).unwrap();
                let error = difference(gridder.image(&mut plane, false), &exact);
                // The bound is an average over many images; few samples on few pixels scatter about it.
                assert!(error < 2.0 * accuracy, "{nx} x {ny} {oversampling:?} {accuracy:e}: {error:e}");
            }
        }
    }
}

/// Degridding is the sum over pixels, also with the plane cut at the longest baseline.
#[test]
fn degridding_is_the_sum_over_pixels() {
    let cell = 1e-4;
    for (nx, ny, center) in SHAPES {
        let g = Geometry { nx, ny, cell_rad: cell, center };
        for (set, limit) in [(set(30, 2, cell, 2), None), (set(30, 2, 3.0 * cell, 2), Some(0.5 / (3.0 * cell) * std::f64::consts::SQRT_2))]
        {
            let image = image_of(nx * ny);
            let exact = vis_by_sum(&set, &g, &image);
            for accuracy in [1e-3, 1e-6, 1e-11] {
                let gridder = Gridder::<f64>::new(g, accuracy, Oversampling::Two).unwrap();
                let plane = gridder.prepare(&image, limit, false).unwrap();
                let mut vis = set.vis.clone();
                gridder.predict(&plane, &set.samples(), &mut vis, false).unwrap();
                let parts = |v: &[Complex<f64>]| v.iter().flat_map(|c| [c.re, c.im]).collect::<Vec<f64>>();
                let error = difference(parts(&vis), &parts(&exact));
                assert!(error < 2.0 * accuracy, "{nx} x {ny} {accuracy:e}: {error:e}");
            }
        }
    }
}

/// <G x, y> = <x, G* y> to rounding, in blocks and in one, alone and with threads.
#[test]
fn degridding_is_the_adjoint_of_gridding() {
    let cell = 1e-4;
    for (n_rows, nx, ny) in [(50, 16, 20), (20_000, 120, 90)] {
        let g = Geometry::centered(nx, ny, cell);
        let mut set = set(n_rows, 3, cell, 3);
        let gridder = Gridder::<f64>::new(g, 1e-9, Oversampling::Two).unwrap();
        let x = image_of(nx * ny);
        let plane = gridder.prepare(&x, None, true).unwrap();
        let mut predicted = set.vis.clone();
        gridder.predict(&plane, &set.samples(), &mut predicted, true).unwrap();
        for w in &mut set.weight {
            *w = w.min(1.0).ceil();
        }
        let mut grid = gridder.plane(Content::Vis);
        gridder.add(&mut grid, &set.samples(), Some(&set.vis)).unwrap();
        let left: f64 = predicted.iter().zip(&set.vis).map(|(a, b)| (a * b.conj()).re).sum();
        let right: f64 = gridder.image(&mut grid, true).iter().zip(&x).map(|(a, b)| a * b).sum();
        assert!((left - right).abs() < 1e-11 * left.abs().max(n_rows as f64), "{left} {right}");
    }
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let set = set(30_000, 4, 1e-4, 4);
    let weight: Vec<f32> = set.weight.iter().map(|w| *w as f32).collect();
    let vis: Vec<Complex<f32>> = set.vis.iter().map(|v| Complex::new(v.re as f32, v.im as f32)).collect();
    let gridder = Gridder::<f32>::new(Geometry::centered(300, 260, 1e-4), 1e-5, Oversampling::Two).unwrap();
    let samples = Samples { uvw_s: &set.uvw_s, freq_hz: &set.freq_hz, weight: &weight };
    let image: Vec<f32> = image_of(300 * 260).iter().map(|v| *v as f32).collect();
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut plane = gridder.plane(Content::VisAndPsf);
            gridder.add(&mut plane, &samples, Some(&vis)).unwrap();
            let mut predicted = vis.clone();
            let model = gridder.prepare(&image, None, true).unwrap();
            gridder.predict(&model, &samples, &mut predicted, true).unwrap();
            (gridder.image_and_psf(&mut plane, true, NEVER), predicted)
        })
    };
    let (one, two, three) = (on(1), on(2), on(3));
    assert!(one == two && one == three);
}

/// The PSF is the image of unit visibilities, its peak the sum of weights; blocks add up; alone and with threads agree.
#[test]
fn the_psf_is_the_image_of_ones() {
    let g = Geometry::centered(40, 36, 1e-4);
    let set = set(3000, 4, 1e-4, 5);
    let gridder = Gridder::<f64>::new(g, 1e-10, Oversampling::OneAndHalf).unwrap();
    let ones = vec![Complex::new(1.0, 0.0); set.vis.len()];
    let mut plane = gridder.plane(Content::Vis);
    gridder.add(&mut plane, &set.samples(), Some(&ones)).unwrap();
    let image = gridder.image(&mut plane, false);
    let mut both = gridder.plane(Content::VisAndPsf);
    for rows in [0..1000, 1000..3000] {
        let s = Samples { uvw_s: &set.uvw_s[rows.clone()], freq_hz: &set.freq_hz, weight: &set.weight[rows.start * 4..rows.end * 4] };
        gridder.add_alone(&mut both, &s, Some(&ones[rows.start * 4..rows.end * 4])).unwrap();
    }
    let sum = both.sum_weight;
    let (again, psf) = gridder.image_and_psf(&mut both, false, NEVER);
    assert!(difference(psf.iter().copied(), &image) < 1e-13);
    assert!(difference(again, &image) < 1e-13);
    assert!((psf[18 * 40 + 20] / sum - 1.0).abs() < 1e-9);
}

/// Samples that the cell is too coarse for are left out and counted, not folded into the image.
#[test]
fn samples_beyond_the_grid_are_counted() {
    let g = Geometry::centered(32, 32, 1e-4);
    let fine = set(500, 2, 1e-4, 6);
    let mut all = set(500, 2, 1e-4, 6);
    all.uvw_s.extend([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);
    all.weight.extend([1.0; 4]);
    all.vis.extend([Complex::new(1.0, 0.0); 4]);
    let gridder = Gridder::<f64>::new(g, 1e-6, Oversampling::Two).unwrap();
    let image = |set: &Set| {
        let mut plane = gridder.plane(Content::Vis);
        gridder.add(&mut plane, &set.samples(), Some(&set.vis)).unwrap();
        (plane.n_outside, gridder.image(&mut plane, false))
    };
    let ((none, a), (four, b)) = (image(&fine), image(&all));
    assert_eq!((none, four), (0, 4));
    assert_eq!(a, b);
}

#[test]
fn wrong_input_is_refused_in_words() {
    assert!(Gridder::<f32>::new(Geometry::centered(0, 8, 1e-4), 1e-4, Oversampling::Two).is_err());
    assert!(Gridder::<f32>::new(Geometry::centered(8, 8, f64::NAN), 1e-4, Oversampling::Two).is_err());
    let gridder = Gridder::<f64>::new(Geometry::centered(8, 8, 1e-4), 1e-4, Oversampling::Two).unwrap();
    let mut plane = gridder.plane(Content::Vis);
    let samples = Samples { uvw_s: &[[f64::NAN; 3]], freq_hz: &[1e9], weight: &[1.0] };
    assert_eq!(gridder.add(&mut plane, &samples, None).unwrap_err(), GridError::NotFinite { index: 0 });
    let samples = Samples { uvw_s: &[[0.0; 3]], freq_hz: &[1e9], weight: &[] };
    assert!(gridder.add(&mut plane, &samples, None).unwrap_err().to_string().contains("weights"));
}

/// The loops of this processor do what the plain ones do, to rounding.
#[test]
fn fast_loops_agree_with_plain_ones() {
    let set = set(300, 3, 1e-4, 7);
    let g = Geometry::centered(30, 26, 1e-4);
    for accuracy in [1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-9, 1e-11] {
        let fast = Gridder::<f64>::new(g, accuracy, Oversampling::Two).unwrap();
        let plain = fast.clone().with_loops(spread::plain_loops());
        let run = |gridder: &Gridder<f64>| {
            let mut plane = gridder.plane(Content::VisAndPsf);
            gridder.add(&mut plane, &set.samples(), Some(&set.vis)).unwrap();
            let mut vis = set.vis.clone();
            gridder.predict(&gridder.prepare(&image_of(30 * 26), None, false).unwrap(), &set.samples(), &mut vis, false).unwrap();
            let (mut image, psf) = gridder.image_and_psf(&mut plane, false, NEVER);
            image.extend(psf);
            image.extend(vis.iter().flat_map(|v| [v.re, v.im]));
            image
        };
        assert!(difference(run(&fast), &run(&plain)) < 1e-13, "{accuracy:e}");
        if fast.width() == 8 {
            let portable = fast.clone().with_loops(spread::portable_loops_8());
            assert!(difference(run(&portable), &run(&plain)) < 1e-13);
        }
    }
}

/// With the w-term the sum is over exp(-2πi(ul + vm + w(n-1))), for shallow and for deep images, and predicting is its adjoint.
#[test]
fn wide_images_count_the_w_term() {
    let cell = 2e-3;
    for (n, deepen) in [(24, 1.0), (24, 8.0)] {
        let g = Geometry { nx: n, ny: n + 6, cell_rad: cell, center: (n as f64 / 2.0, n as f64 / 2.0) };
        let mut set = set(60, 2, cell, 8);
        set.uvw_s.iter_mut().for_each(|uvw| uvw[2] *= deepen);
        let w_max = set.each().map(|s| s.2.abs()).fold(0.0, f64::max);
        let phase = |(u, v, w): (f64, f64, f64), i: usize| {
            let (l, m) = lm(&g, i / g.nx, i % g.nx);
            TAU * (u * l + v * m + w * ((1.0 - l * l - m * m).sqrt() - 1.0))
        };
        let exact: Vec<f64> = (0..g.nx * g.ny)
            .map(|i| set.each().map(|(u, v, w, wt, vis, _)| wt * (vis * Complex::cis(-phase((u, v, w), i))).re).sum())
            .collect();
        for accuracy in [1e-3, 1e-6, 1e-10] {
            let gridder = WideGridder::<f64>::new(g, accuracy, Oversampling::Two, Some(w_max)).unwrap();
            assert!(gridder.n_terms() > 1);
            let mut plane = gridder.plane(Content::VisAndPsf);
            gridder.add(&mut plane, &set.samples(), Some(&set.vis), true).unwrap();
            let sum = plane.sum_weight();
            let (image, psf) = gridder.image_and_psf(&mut plane, true);
            let error = difference(image, &exact);
            assert!(error < 3.0 * accuracy, "{} terms, {accuracy:e}: {error:e}", gridder.n_terms());
            assert!((psf[n / 2 * n + n / 2] / sum - 1.0).abs() < 3.0 * accuracy);
            let model = image_of(g.nx * g.ny);
            let mut vis = set.vis.clone();
            gridder.predict(&gridder.prepare(&model, None, false).unwrap(), &set.samples(), &mut vis, true).unwrap();
            let (mut error, mut power) = (0.0, 0.0);
            for (u, v, w, _, _, i) in set.each().filter(|s| s.3 > 0.0).take(40) {
                let sum: Complex<f64> = (0..model.len()).map(|p| model[p] * Complex::cis(phase((u, v, w), p))).sum();
                error += (vis[i] - sum).norm_sqr();
                power += sum.norm_sqr();
            }
            assert!((error / power).sqrt() < 10.0 * accuracy, "predicted to {:e}, {accuracy:e} wanted", (error / power).sqrt());
        }
    }
}
