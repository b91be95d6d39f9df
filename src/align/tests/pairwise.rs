//! Offsets between two blocks.

use std::sync::Arc;

use num_complex::Complex32;

use super::sky::{Observation, Sky, disk};
use crate::align::{Compat, FindOffsetOptions, Objective, OffsetFit, UvGridOptions, check_weights, diagnose, find_offset};
use crate::data::{MemoryVis, VisSource, VisWeight};
use crate::notice::Quiet;
use crate::sky::{Direction, Frame, Offset};
use crate::units::{ARCSEC, Angle, MAS};

fn fit(reference: &dyn VisSource, block: &dyn VisSource) -> OffsetFit {
    fit_with(reference, block, &FindOffsetOptions::default())
}
fn fit_with(reference: &dyn VisSource, block: &dyn VisSource, options: &FindOffsetOptions) -> OffsetFit {
    find_offset(reference, block, options, &Quiet::default()).unwrap()
}
fn grid(cell_arcsec: f64, npix: usize) -> FindOffsetOptions {
    let grid = UvGridOptions { cell: Some(Angle::from_arcsec(cell_arcsec)), npix: Some(npix) };
    FindOffsetOptions { grid, ..Default::default() }
}
fn noiseless(name: &str) -> Observation {
    Observation { sigma: 0.0, ..Observation::new(name) }
}

#[test]
fn a_set_against_itself_has_exactly_no_offset() {
    let set = Observation::new("a").observe(&disk());
    for objective in [Objective::Complex, Objective::Phase] {
        let found = fit_with(&set, &set, &FindOffsetOptions { objective, ..Default::default() });
        assert_eq!(found.offset, Offset::ZERO);
        assert!(found.converged, "{}", found.reason);
        assert!((found.amplitude_ratio - 1.0).abs() < 1e-12);
    }
}

/// The same uv twice, shifted by 0.01 to 5 beams (0.2 arcsec each), all four signs, at declinations up to -80: to 1e-6 arcsec.
#[test]
fn a_pure_shift_is_recovered() {
    for dec_deg in [30.5f64, -80.0, 2.0] {
        let center = Direction::new(4.0, dec_deg.to_radians(), Frame::J2000);
        let at = |name: &str| Observation { center, ..noiseless(name) };
        let reference = at("a").observe(&disk());
        for (e, n) in [(2.0, 1.0), (-20.0, 30.0), (150.0, -120.0), (-200.0, -90.0), (1000.0, 500.0)] {
            let found = fit(&reference, &at("b").offset_mas(e, n).observe(&disk()));
            let miss = found.offset - Offset::from_mas(e, n);
            // Far from the equator a shift turns north by 3e-5 rad an arcsecond: the two uv planes are no longer the same.
            let limit = (1e-6 * ARCSEC).max(5e-6 * found.offset.length_rad());
            assert!(found.converged && miss.length_rad() < limit, "dec {dec_deg}, {e} {n}: {found}");
        }
    }
}

/// find_offset(R, C) = -find_offset(C, R) within a tenth of its error, and the chi-square of the truth is that of two numbers.
#[test]
fn exchanging_the_sets_turns_the_sign() {
    let a = Observation { sigma: 0.02, ..Observation::new("a") }.observe(&disk());
    let b = Observation { sigma: 0.02, noise_seed: 2, ..Observation::new("b") }.offset_mas(31.0, -12.0).observe(&disk());
    let (forward, back) = (fit(&a, &b), fit(&b, &a));
    let sum = forward.offset + back.offset;
    assert!(sum.dra_rad.abs() < 0.1 * forward.sigma.dra_rad && sum.ddec_rad.abs() < 0.1 * forward.sigma.ddec_rad, "{forward}\n{back}");
    let miss = forward.offset - Offset::from_mas(31.0, -12.0);
    assert!(miss.length_rad() < 4.0 * forward.sigma.length_rad(), "{forward}");
}

/// Offsets over noise realisations scatter as stated: chi-square 2 per draw for two numbers, here to 3 of its own errors.
#[test]
fn the_stated_error_is_the_scatter() {
    let n = 40;
    let chi2: f64 = (0..n)
        .map(|i| {
            let a = Observation { sigma: 0.05, noise_seed: 10 + i, ..Observation::new("a") }.observe(&disk());
            let b = Observation { sigma: 0.08, noise_seed: 500 + i, ..Observation::new("b") }.offset_mas(4.0, -7.0).observe(&disk());
            let f = fit_with(&a, &b, &grid(0.05, 512));
            let (x, y) = ((f.offset.dra_mas() - 4.0) / f.sigma.dra_mas(), (f.offset.ddec_mas() + 7.0) / f.sigma.ddec_mas());
            (x * x - 2.0 * f.correlation * x * y + y * y) / (1.0 - f.correlation.powi(2))
        })
        .sum();
    let mean = chi2 / n as f64;
    assert!((mean - 2.0).abs() < 3.0 * 2.0 / (n as f64).sqrt(), "{mean}");
}

#[test]
fn flagged_garbage_a_weight_factor_and_a_flux_factor_do_not_move_the_answer() {
    let a = Observation::new("a").observe(&disk());
    let b = || Observation { noise_seed: 2, ..Observation::new("b") }.offset_mas(-9.0, 15.0);
    let options = grid(0.05, 512);
    let plain = fit_with(&a, &b().observe(&disk()), &options);

    let mut garbage = b().observe(&disk());
    for block in garbage.blocks_mut() {
        block.vis_rfc.slice_mut(ndarray::s![..;7, .., ..]).fill(Complex32::new(50.0, -20.0));
        block.flag_rfc.slice_mut(ndarray::s![..;7, .., ..]).fill(true);
    }
    let with_garbage = fit_with(&a, &garbage, &options);
    assert!((with_garbage.offset - plain.offset).length_rad() < 2.0 * plain.sigma.length_rad());

    let scaled = |source: &MemoryVis, factor: f32| {
        let mut out = source.clone();
        for block in out.blocks_mut() {
            let VisWeight::Row(w) = &mut block.weight else { panic!() };
            *w *= factor;
        }
        out
    };
    let factor = fit_with(&scaled(&a, 16.0), &scaled(&b().observe(&disk()), 16.0), &options);
    assert!((factor.offset - plain.offset).length_rad() < 1e-6 * MAS);
    assert!((factor.sigma.dra_rad / plain.sigma.dra_rad - 0.25).abs() < 1e-3);
    // With the scatter as the measure of the errors the factor drops out.
    let scatter = FindOffsetOptions { sigma: crate::align::SigmaFrom::Scatter, ..options.clone() };
    let (s, p) =
        (fit_with(&scaled(&a, 16.0), &scaled(&b().observe(&disk()), 16.0), &scatter), fit_with(&a, &b().observe(&disk()), &scatter));
    assert!((s.sigma.dra_rad / p.sigma.dra_rad - 1.0).abs() < 1e-3);

    for flux_scale in [0.8, 1.25] {
        let found = fit_with(&a, &Observation { flux_scale, ..b() }.observe(&disk()), &options);
        assert!((found.offset - Offset::from_mas(-9.0, 15.0)).length_rad() < 4.0 * plain.sigma.length_rad(), "{found}");
        assert!((found.amplitude_ratio - flux_scale).abs() < 5.0 * found.sigma_amplitude_ratio, "{found:?}");
    }
}

#[test]
fn grids_from_256_to_4096_agree_within_the_error() {
    let a = Observation::new("a").observe(&disk());
    let b = Observation { noise_seed: 2, ..Observation::new("b") }.offset_mas(12.0, 5.0).observe(&disk());
    let results: Vec<OffsetFit> = [256, 512, 1024, 2048, 4096].iter().map(|n| fit_with(&a, &b, &grid(0.02, *n))).collect();
    for r in &results {
        let miss = r.offset - Offset::from_mas(12.0, 5.0);
        assert!(miss.dra_rad.abs() < 4.0 * r.sigma.dra_rad && miss.ddec_rad.abs() < 4.0 * r.sigma.ddec_rad, "{r}");
        assert_eq!(r.npix_scan.len(), 3);
    }
}

/// Three sets with different frequencies one after the other, as a concatenation gives them: all of them are seen.
#[test]
fn all_frequencies_of_a_concatenation_are_used() {
    let part = |shift: f64, seed: u64| {
        let freq_hz = (0..4).map(|i| 220e9 + shift + 0.25e9 * i as f64).collect();
        Observation { freq_hz, noise_seed: seed, hour_angle: -0.4 + shift / 1e10, ..Observation::new("p") }.observe(&disk())
    };
    let parts = [part(0.0, 1), part(1.3e7, 2), part(-9.1e6, 3)];
    let mut blocks = Vec::new();
    for (spw, p) in parts.iter().enumerate() {
        blocks.extend(p.blocks().iter().cloned().map(|mut b| {
            b.i_spw = spw;
            b.freq_hz = Arc::clone(&b.freq_hz);
            b
        }));
    }
    let all = MemoryVis::new("all", parts[0].phase_center(), blocks);
    let b = Observation { noise_seed: 9, ..Observation::new("b") }.offset_mas(12.0, 5.0).observe(&disk());
    let (one, three) = (fit_with(&parts[0], &b, &grid(0.05, 512)), fit_with(&all, &b, &grid(0.05, 512)));
    assert_eq!(three.reference_grid.counts().used, 3 * one.reference_grid.counts().used);
    assert!(three.sigma.dra_rad < 0.9 * one.sigma.dra_rad);
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let a = Observation::new("a").observe(&disk());
    let b = Observation { noise_seed: 2, ..Observation::new("b") }.offset_mas(12.0, 5.0).observe(&disk());
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let f = pool.install(|| fit(&a, &b));
        (f.offset, f.sigma, f.chi2_reduced, f.amplitude_ratio)
    };
    assert_eq!(on(1), on(2));
}

#[test]
fn noise_alone_is_reported_as_not_converged() {
    let a = Observation { sigma: 0.5, ..Observation::new("a") }.observe(&Vec::new());
    let b = Observation { sigma: 0.5, noise_seed: 2, ..Observation::new("b") }.observe(&Vec::new());
    let found = fit(&a, &b);
    assert!(!found.converged && found.reason.starts_with("no signal"), "{found}");
}

#[test]
fn sets_without_shared_cells_are_an_error() {
    let a = Observation { radius_m: 3000.0, n_ant: 3, n_time: 4, array_seed: 5, ..Observation::new("a") }.observe(&disk());
    let b = Observation { radius_m: 20.0, n_ant: 4, n_time: 4, ..Observation::new("b") }.observe(&disk());
    let message = find_offset(&a, &b, &grid(0.01, 4096), &Quiet::default()).unwrap_err().to_string();
    assert!(message.contains("a and b share 0 uv cells"), "{message}");
}

/// The minimum of the surface is the offset, and where it rises by one stated level lies the stated error.
#[test]
fn the_cost_surface_has_its_minimum_at_the_offset() {
    let a = Observation { sigma: 0.03, ..Observation::new("a") }.observe(&disk());
    let b = Observation { sigma: 0.03, noise_seed: 2, ..Observation::new("b") }.offset_mas(12.0, 5.0).observe(&disk());
    let found = fit(&a, &b);
    for n in [81, 82] {
        let surface = found.cost_surface(None, n);
        let (j, i) = surface.delta.indexed_iter().min_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        let step = surface.dra_rad[1] - surface.dra_rad[0];
        assert!((surface.dra_rad[i] - found.offset.dra_rad).abs() < 0.6 * step);
        assert!((surface.ddec_rad[j] - found.offset.ddec_rad).abs() < 0.6 * step);
    }
    let surface = found.cost_surface(Some(found.sigma.dra_rad), 3);
    // Δχ² at 1 sigma on the dRA axis is 1/(1-ρ²) in units in which the 1-sigma level is 2.2957.
    let rise = surface.delta[[1, 2]] * (1.0 - found.correlation.powi(2)) * 2.2957 / surface.levels.unwrap()[0];
    // A quarter: the part of the covariance that noise times noise adds has another shape.
    assert!((rise - 1.0).abs() < 0.25, "{rise}");
}

/// The published method on clean data with a small offset: near the truth, not better than its half-cell convention allows.
#[test]
fn the_published_method_is_reproduced_with_its_conventions() {
    let a = noiseless("a").observe(&disk());
    let b = noiseless("b").offset_mas(8.0, -5.0).observe(&disk());
    let options = FindOffsetOptions { compat: Some(Compat::Exoalma2022), ..grid(0.02, 1024) };
    let found = fit_with(&a, &b, &options);
    assert!(found.converged && (found.offset - Offset::from_mas(8.0, -5.0)).length_mas() < 0.5, "{found}");
    assert!(found.sigma.dra_rad.is_nan() && found.chi2_reduced.is_nan());
    // Both halves of the plane are gridded: an even number of cells.
    assert_eq!((found.cells_reference % 2, found.shared_cells % 2), (0, 0));
    // Flags are ignored unless a channel is flagged everywhere.
    let mut flagged = b.clone();
    for block in flagged.blocks_mut() {
        block.vis_rfc.slice_mut(ndarray::s![.., 0, ..]).fill(Complex32::new(50.0, 0.0));
        block.flag_rfc.slice_mut(ndarray::s![.., 0, ..]).fill(true);
    }
    assert!((fit_with(&a, &flagged, &options).offset - found.offset).length_mas() < 0.5);
    let first = &mut flagged.blocks_mut()[0];
    first.flag_rfc[[0, 0, 0]] = false;
    assert!((fit_with(&a, &flagged, &options).offset - found.offset).length_mas() > 0.5);
}

#[test]
fn a_good_fit_has_no_findings_and_bad_ones_are_named() {
    let names = |f: &OffsetFit| diagnose(f).into_iter().map(|d| d.name).collect::<Vec<_>>();
    let a = Observation { sigma: 0.02, ..Observation::new("a") }.observe(&disk());
    let b = Observation { sigma: 0.02, noise_seed: 2, ..Observation::new("b") }.offset_mas(12.0, 5.0).observe(&disk());
    assert_eq!(names(&fit(&a, &b)), Vec::<String>::new());

    let noise = Observation { sigma: 0.02, noise_seed: 3, ..Observation::new("n") }.observe(&Vec::new());
    let found = fit(&a, &noise);
    assert!(names(&found).contains(&"no-signal".to_string()), "{found}");
    assert!(diagnose(&found)[0].message.starts_with("no signal in common: among the "), "{:?}", diagnose(&found));

    // Only baselines within 2 degrees of east-west, for a moment.
    let mut line = (a.clone(), b.clone());
    for block in line.0.blocks_mut().iter_mut().chain(line.1.blocks_mut()) {
        for r in 0..block.row.len() {
            if block.uvw_m[[r, 1]].abs() > 0.03 * block.uvw_m[[r, 0]].abs() {
                block.flag_rfc.slice_mut(ndarray::s![r, .., ..]).fill(true);
            }
        }
    }
    let found = fit_with(&line.0, &line.1, &grid(0.05, 256));
    assert!(names(&found).contains(&"one-direction".to_string()), "{found} {:?}", diagnose(&found));
}

/// Differences of neighbouring channels give the factor by which weights are off, and outliers do not.
#[test]
fn the_scatter_of_channels_measures_the_weights() {
    let mut set = Observation { sigma: 0.03, n_time: 24, ..Observation::new("a") }.observe(&disk());
    let one = Observation { sigma: 0.03, n_time: 24, freq_hz: vec![220e9], ..Observation::new("a") }.observe(&Vec::new());
    let check = |s: &MemoryVis| check_weights(s, &Quiet::default()).unwrap();
    assert!(check(&set).by_channel && !check(&one).by_channel);
    // 4000 differences measure the median to 2 %.
    assert!((check(&set).factor.unwrap() - 1.0).abs() < 0.08, "{:?}", check(&set));
    assert!((check(&one).factor.unwrap() - 1.0).abs() < 0.12, "{:?}", check(&one));
    for block in set.blocks_mut() {
        let VisWeight::Row(w) = &mut block.weight else { panic!() };
        *w *= 3.0;
        block.vis_rfc[[0, 0, 0]] = Complex32::new(1e5, 0.0);
    }
    assert!((check(&set).factor.unwrap() - 3.0).abs() < 0.3);
    let notice = Quiet::default();
    check(&set).report("a", &notice);
    assert_eq!(notice.warnings()[0].name, "weights-off");
}

/// Sparse arrays of different size: few cells are shared. The offset is near, or it is refused; it is never another place of the field.
#[test]
fn few_shared_cells_give_a_near_offset_or_none() {
    for seed in 0..8 {
        let sparse = |name: &str, radius_m, array_seed| Observation {
            radius_m,
            array_seed,
            sigma: 5e-3,
            n_ant: 7,
            n_time: 3,
            noise_seed: 2 * seed + array_seed,
            ..Observation::new(name)
        };
        let a = sparse("a", 700.0, 10 + seed).observe(&disk());
        let b = sparse("b", 250.0, 30 + seed).offset_mas(40.0, -25.0).observe(&disk());
        if let Some(f) = find_offset(&a, &b, &FindOffsetOptions::default(), &Quiet::default()).ok().filter(|f| f.converged) {
            assert!((f.offset - Offset::from_mas(40.0, -25.0)).length_mas() < 150.0, "{seed}: {f}");
        }
    }
}

/// Two sets of different skies match somewhere, at a place that errors from the weights cannot describe.
#[test]
fn a_misfit_far_above_the_noise_is_refused() {
    let mut other = disk();
    other.push((0.9, 0.7, 0.02, 0.03));
    let reference = Observation::new("a").observe(&disk());
    let observed = |sky: &Sky| Observation { noise_seed: 2, ..Observation::new("b") }.observe(sky);
    let refused = fit(&reference, &observed(&other));
    let told = refused.reason.contains("differ by more than their noise");
    assert!(!refused.converged && refused.chi2_reduced > 5.0 && told, "{refused} {}", refused.reason);
    assert!(fit(&reference, &observed(&disk())).converged);
}
