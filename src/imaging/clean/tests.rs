//! Cleaning of analytic skies, with the PSF itself as the operator between model and residual.

use ndarray::Array2;

use super::scales::{Area, Convolver, Scale};
use super::*;
use crate::imaging::PlaneSummary;
use crate::notice::Quiet;

/// Convolution with a PSF: what visibilities would give without noise and gridding.
struct Analytic {
    psf: Array2<f32>,
    dirty: Array2<f32>,
}

impl Analytic {
    fn smeared(&self, model: &Array2<f32>) -> Array2<f32> {
        let (n, center) = (self.psf.nrows(), self.psf.nrows() / 2);
        let mut out = Array2::zeros((n, n));
        for ((y, x), v) in model.indexed_iter().filter(|(_, v)| **v != 0.0) {
            for ((py, px), p) in self.psf.indexed_iter() {
                let (oy, ox) = (y + py, x + px);
                if oy >= center && ox >= center && oy - center < n && ox - center < n {
                    out[[oy - center, ox - center]] += v * p;
                }
            }
        }
        out
    }
}

impl MajorCycle for Analytic {
    fn residual(&self, model: &[Option<ArrayView2<f32>>], _: &dyn Reporter) -> Result<Vec<Option<Array2<f32>>>> {
        Ok(model.iter().map(|m| m.map(|m| &self.dirty - &self.smeared(&m.to_owned()))).collect())
    }
}

fn run(dirty: &Dirty, mask: &MaskPlan, start: Option<Start>, options: &CleanOptions, choice: Choice, major: &Analytic) -> Cleaned {
    let psfs = Psfs::new(dirty, 1, &options.scales, options.smallscalebias, choice);
    clean(&psfs, mask, start.unwrap_or_else(|| Start::nothing(dirty)), options, major, &Quiet::default()).unwrap()
}

fn case(n: usize, sky: &Array2<f32>) -> (Analytic, Dirty) {
    let psf = Array2::from_shape_fn((n, n), |(y, x)| {
        let r = (x as f64 - (n / 2) as f64).hypot(y as f64 - (n / 2) as f64);
        ((-r * r / 8.0).exp() + 0.05 * (r * 0.9).cos() * (1.0 - (-r).exp()) * (-r / 15.0).exp()) as f32
    });
    let mut a = Analytic { psf, dirty: Array2::zeros((n, n)) };
    a.dirty = a.smeared(sky);
    let dirty = Dirty {
        image: vec![a.dirty.to_shared()],
        psf: vec![a.psf.clone()],
        planes: vec![PlaneSummary::default()],
        dropped: Default::default(),
        band_hz: (1e9, 2e9),
    };
    (a, dirty)
}

#[test]
fn points_come_back_where_they_were() {
    let mut sky = Array2::zeros((64, 64));
    sky[[30, 20]] = 1.0;
    sky[[40, 45]] = -0.5;
    let (a, dirty) = case(64, &sky);
    let options = CleanOptions { niter: 2000, threshold: crate::units::Flux(1e-4), ..Default::default() };
    let mask = MaskPlan::Fixed(vec![Array2::from_elem((64, 64), true)]);
    for choice in [Choice::Chi2, Choice::Clark] {
        let got = run(&dirty, &mask, None, &options, choice, &a);
        assert_eq!(got.stop, StopReason::Threshold, "{choice:?}");
        assert!((got.model[0][[30, 20]] - 1.0).abs() < 2e-3 && (got.model[0][[40, 45]] + 0.5).abs() < 2e-3);
        assert!(got.residual[0].iter().all(|v| v.abs() < 2e-4));
        assert!(got.record.windows(2).all(|w| w[1].peak_jy < w[0].peak_jy));
    }
}

#[test]
fn nothing_is_found_outside_the_mask() {
    let mut sky = Array2::zeros((48, 48));
    sky[[24, 12]] = 1.0;
    sky[[24, 36]] = 1.0;
    let (a, dirty) = case(48, &sky);
    let mask = Array2::from_shape_fn((48, 48), |(_, x)| x < 20);
    let options = CleanOptions { niter: 300, ..Default::default() };
    let got = run(&dirty, &MaskPlan::Fixed(vec![mask.clone()]), None, &options, Choice::Chi2, &a);
    assert!(got.model[0].indexed_iter().all(|(i, v)| mask[i] || *v == 0.0));
    let empty = run(&dirty, &MaskPlan::Fixed(vec![Array2::from_elem((48, 48), false)]), None, &options, Choice::Chi2, &a);
    assert_eq!((empty.stop, empty.model[0].sum()), (StopReason::NoMask, 0.0));
}

/// A disc of 20 pixels: scales need few components and leave little; all of its flux comes back.
#[test]
fn scales_recover_extended_flux() {
    let n = 96;
    let disc = Scale::new(12.0);
    let mut sky = Array2::zeros((n, n));
    for ((y, x), v) in disc.shape.indexed_iter() {
        sky[[y + 30, x + 36]] += 10.0 * v;
    }
    sky[[60, 60]] += 0.5;
    let (a, dirty) = case(n, &sky);
    let mask = Array2::from_shape_fn((n, n), |(y, x)| (x as f64 - 48.0).hypot(y as f64 - 48.0) < 35.0);
    let options = CleanOptions {
        niter: 400,
        scales: crate::units::List(vec![0.0, 4.0, 12.0]),
        threshold: crate::units::Flux(5e-3),
        ..Default::default()
    };
    let got = run(&dirty, &MaskPlan::Fixed(vec![mask]), None, &options, Choice::Chi2, &a);
    assert!((got.model[0].sum() - 10.5).abs() < 0.05, "{} {:?}", got.model[0].sum(), got.record);
    assert!(got.residual[0].iter().all(|v| v.abs() < 0.02));
}

#[test]
fn a_start_model_is_taken_up() {
    let mut sky = Array2::zeros((48, 48));
    sky[[24, 12]] = 1.0;
    let (a, dirty) = case(48, &sky);
    let mask = Array2::from_elem((48, 48), true);
    let options = CleanOptions { niter: 100, threshold: crate::units::Flux(1e-3), ..Default::default() };
    let start = Start::model(vec![sky.clone()], 0, &a, &Quiet::default()).unwrap();
    let got = run(&dirty, &MaskPlan::Fixed(vec![mask]), Some(start), &options, Choice::Chi2, &a);
    assert_eq!(got.record.last().unwrap().n_iter, 0);
    assert_eq!(got.model[0], sky);
}

#[test]
fn the_convolver_and_the_sum_agree_on_psf_and_scale() {
    let (a, _) = case(40, &Array2::zeros((40, 40)));
    let scale = Scale::new(3.0);
    let convolver = Convolver::new(40, 40, 2 * scale.half());
    let fast = convolver.convolved(&convolver.image(a.psf.view()), &[&convolver.scale(&scale)], Area::whole((40, 40)));
    let mut sky = Array2::zeros((40, 40));
    for ((y, x), v) in scale.shape.indexed_iter() {
        sky[[y + 20 - scale.half(), x + 20 - scale.half()]] = *v;
    }
    let slow = a.smeared(&sky);
    for y in 12..28 {
        for x in 12..28 {
            assert!((fast[[y, x]] - slow[[y, x]]).abs() < 1e-5);
        }
    }
}

/// An interrupted cleaning that goes on makes as many components in all as one that was not interrupted may.
#[test]
fn components_are_counted_over_restarts() {
    let mut sky = Array2::zeros((64, 64));
    sky[[30, 20]] = 1.0;
    let (a, dirty) = case(64, &sky);
    let everywhere = MaskPlan::Fixed(vec![Array2::from_elem((64, 64), true)]);
    let options = |niter| CleanOptions { niter, gain: 0.05, cycleniter: Some(10), ..Default::default() };
    let run = |niter, start| run(&dirty, &everywhere, start, &options(niter), Choice::Chi2, &a);
    let first = run(20, None);
    let n_iter = first.record.last().unwrap().n_iter;
    let second = run(50, Some(Start { n_iter, model: first.model, residual: first.residual }));
    let whole = run(50, None);
    assert_eq!((n_iter, second.record.last().unwrap().n_iter, second.stop), (20, 50, StopReason::Iterations));
    let difference = second.model[0].iter().zip(&whole.model[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference < 1e-5, "{difference}");
}

/// The cycles of a loop of calls read like those of one cleaning.
#[test]
fn cycles_of_calls_are_joined() {
    let line = |cycle, n_iter, peak_jy| CycleRecord { cycle, n_iter, peak_jy, flux_jy: 0.0, noise_jy: 0.0, cycle_threshold_jy: 0.0 };
    let all = followed_by(vec![line(0, 0, 9.0), line(1, 10, 5.0)], &[line(0, 0, 5.0), line(1, 7, 3.0), line(2, 9, 2.0)]);
    let counts: Vec<(u64, u64)> = all.iter().map(|r| (r.cycle, r.n_iter)).collect();
    assert_eq!(counts, [(0, 0), (1, 10), (2, 17), (3, 19)]);
}
