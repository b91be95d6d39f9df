//! Cell bookkeeping: which sample goes where, and what is left out.

use num_complex::Complex32;

use super::sky::{Observation, disk};
use crate::align::ingest::{IngestOptions, ingest};
use crate::align::{UvGridOptions, UvGridSpec, uv_grid};
use crate::data::{Corr, MemoryVis, VisSource, VisWeight};
use crate::notice::Quiet;
use crate::units::{ARCSEC, Angle, C_M_S};

fn spec() -> UvGridSpec {
    UvGridSpec::new(0.01 * ARCSEC, 1000).unwrap()
}

#[test]
fn a_coordinate_on_a_center_is_in_that_cell_and_ties_mirror() {
    let s = spec();
    let du = s.cell_lambda();
    for k in [-499i64, -3, -1, 0, 1, 2, 499] {
        assert_eq!(s.index(k as f64 * du), k);
        assert_eq!(s.index((k as f64 + 0.499) * du), k);
        assert_eq!(s.index((k as f64 - 0.499) * du), k);
    }
    for k in 0..20 {
        let tie = (k as f64 + 0.5) * du;
        assert_eq!(s.index(tie), -s.index(-tie), "tie {k}");
    }
}

/// A sample and its conjugate fall into the same cell, on the axes too.
#[test]
fn a_sample_and_its_mirror_image_share_a_cell() {
    let s = spec();
    let du = s.cell_lambda();
    for (u, v) in [(3.2, 4.1), (3.2, -4.1), (7.0, 0.3), (7.0, -0.3), (7.0, 0.0), (0.2, 5.0), (0.4, 0.2), (2.5, 3.5)] {
        let (a, b) = (s.cell(u * du, v * du), s.cell(-u * du, -v * du));
        assert_eq!((a.0, a.1), (b.0, b.1), "{u} {v}");
        assert_ne!(a.2, b.2);
        assert!(a.1 > 0 || (a.1 == 0 && a.0 >= 0));
    }
}

#[test]
fn odd_and_tiny_grids_are_refused() {
    assert!(UvGridSpec::new(1e-8, 101).unwrap_err().to_string().contains("even"));
    assert!(UvGridSpec::new(1e-8, 2).is_err());
    assert!(UvGridSpec::new(f64::NAN, 100).is_err());
    // Sizes that made published code build one cell too many.
    for (npix, cell) in [(30, 0.1), (100, 0.1), (102, 0.04), (102, 0.01), (1000, 1.0), (1000, 0.008), (2000, 1.0)] {
        let s = UvGridSpec::new(cell * ARCSEC, npix).unwrap();
        assert_eq!(s.max_index() as usize, npix / 2 - 1);
    }
}

/// Σ w, Σ w V and Σ w (u,v) over the cells equal the sums over the samples.
#[test]
fn cells_keep_the_sums() {
    let set = Observation { corr: vec![Corr::XX, Corr::XY, Corr::YX, Corr::YY], ..Observation::new("a") }.observe(&disk());
    let grid = uv_grid(&set, &UvGridOptions::default(), &Quiet::default()).unwrap();
    let expected: f64 = set.blocks().iter().map(|b| b.row.len() as f64 * 4.0 * 2.0 / 4e-6).sum();
    let weight: f64 = grid.cells().iter().map(|c| c.weight).sum();
    assert!((weight / expected - 1.0).abs() < 1e-6);
    // |mean u| never leaves the cell, and the cross-hands (9 - 9i) never enter.
    let du = grid.spec().cell_lambda();
    for c in grid.cells() {
        assert!((c.u / du - c.ku as f64).abs() <= 0.5 + 1e-9 && (c.v / du - c.kv as f64).abs() <= 0.5 + 1e-9);
        assert!(c.vis.norm() < 0.2);
    }
    let image = grid.count_image();
    assert_eq!(image.sum() as u64, grid.counts().used / 2 * 2);
}

#[test]
fn flags_autocorrelations_bad_weights_and_bad_data_are_left_out_and_counted() {
    let clean = Observation::new("a").observe(&disk());
    let mut set = clean.clone();
    let block = &mut set.blocks_mut()[0];
    block.vis_rfc[[0, 0, 0]] = Complex32::new(1e6, 0.0);
    block.flag_rfc[[0, 0, 0]] = true;
    block.vis_rfc[[1, 2, 1]] = Complex32::new(f32::NAN, 0.0);
    block.antenna2[5] = block.antenna1[5];
    let VisWeight::Row(w) = &mut block.weight else { panic!() };
    w[[2, 0]] = 0.0;
    w[[2, 1]] = -1.0;
    w[[3, 0]] = f32::NAN;
    w[[3, 1]] = f32::INFINITY;
    let notice = Quiet::default();
    let counts = *uv_grid(&set, &UvGridOptions::default(), &notice).unwrap().counts();
    assert_eq!((counts.flagged, counts.non_finite, counts.bad_weight, counts.autocorrelation_rows), (1, 1, 16, 1));
    assert_eq!(counts.samples, counts.flagged + counts.non_finite + counts.bad_weight + counts.outside + counts.used);
    let names: Vec<String> = notice.warnings().into_iter().map(|w| w.name).collect();
    assert_eq!(names, ["bad-weights", "non-finite-data"]);
}

#[test]
fn a_cell_too_coarse_for_the_baselines_says_what_is_needed() {
    let set = Observation::new("a").observe(&disk());
    let options = UvGridOptions { cell: Some(Angle::from_arcsec(0.3)), npix: Some(256) };
    let message = uv_grid(&set, &options, &Quiet::default()).unwrap_err().to_string();
    assert!(message.starts_with("cell 0.3arcsec is too coarse for a: baselines reach"), "{message}");
    let limit = message.split("cell <= ").nth(1).unwrap().split("arcsec").next().unwrap().parse().unwrap();
    let options = UvGridOptions { cell: Some(Angle::from_arcsec(limit)), npix: Some(256) };
    uv_grid(&set, &options, &Quiet::default()).unwrap();
}

#[test]
fn everything_flagged_is_an_error_with_the_counts() {
    let mut set = Observation::new("a").observe(&disk());
    set.blocks_mut().iter_mut().for_each(|b| b.flag_rfc.fill(true));
    let message = uv_grid(&set, &UvGridOptions::default(), &Quiet::default()).unwrap_err().to_string();
    assert!(message.contains("a has no usable visibilities: 0 of"), "{message}");
}

/// Weighted scatter inside cells: 1 with right weights, 4 with weights four times too large.
#[test]
fn the_scatter_inside_cells_shows_wrong_weights() {
    let mut set = Observation { sigma: 0.01, ..Observation::new("a") }.observe(&disk());
    let options = UvGridOptions::default();
    let factor = uv_grid(&set, &options, &Quiet::default()).unwrap().scatter_factor().unwrap();
    assert!((factor - 1.0).abs() < 0.1, "{factor}");
    for b in set.blocks_mut() {
        let VisWeight::Row(w) = &mut b.weight else { panic!() };
        *w *= 4.0;
    }
    let wrong = uv_grid(&set, &options, &Quiet::default()).unwrap().scatter_factor().unwrap();
    assert!((wrong / factor - 4.0).abs() < 1e-6);
    assert!(set.n_rows() > 0);
}

/// A spectral index that is divided out leaves the flux at the reference frequency; errors are divided as well.
#[test]
fn a_spectral_index_is_divided_out() {
    let (alpha, nu0) = (2.3, 230e9);
    let set = Observation { sigma: 0.0, freq_hz: vec![200e9, 230e9, 260e9], ..Observation::new("a") }.observe(&vec![(0.0, 0.0, 0.0, 0.5)]);
    let mut blocks = set.blocks().to_vec();
    for block in &mut blocks {
        for ((_, chan, _), v) in block.vis_rfc.indexed_iter_mut() {
            *v *= (block.freq_hz[chan] / nu0).powf(alpha) as f32;
        }
    }
    let set = MemoryVis::new("a", set.phase_center(), blocks);
    let options = IngestOptions { spectral_index: Some((alpha, nu0)), ..Default::default() };
    let specs = [UvGridSpec::new(0.01 * ARCSEC, 1000).unwrap()];
    let grid = ingest(&set, &specs, &options, &Quiet::default()).unwrap().remove(0);
    assert!(grid.cells().iter().all(|c| (c.vis.re - 0.5).abs() < 1e-6 && c.vis.im.abs() < 1e-6));
    let total: f64 = grid.cells().iter().map(|c| c.weight).sum();
    let samples: f64 = set.blocks().iter().map(|b| b.row.len() as f64).sum();
    let expected: f64 = set.blocks()[0].freq_hz.iter().map(|f| 2e12 * (f / nu0).powf(2.0 * alpha)).sum();
    assert!((total / (samples * expected) - 1.0).abs() < 1e-6, "{total} {}", samples * expected);
}

/// Ranges of channels give the cells that sample-by-sample assignment gives, on several grids and with flags, also where
/// frequencies fall or are in no order.
#[test]
fn ranges_of_channels_are_the_samples_of_their_cells() {
    let rising: Vec<f64> = (0..40).map(|i| 200e9 + 1.7e9 * i as f64).collect();
    let falling: Vec<f64> = rising.iter().rev().copied().collect();
    let mixed: Vec<f64> = (0..40).map(|i| rising[i * 17 % 40]).collect();
    for freq_hz in [rising, falling, mixed] {
        let set = Observation { freq_hz, n_time: 3, ..Observation::new("a") }.observe(&disk());
        let mut blocks = set.blocks().to_vec();
        for block in &mut blocks {
            block.flag_rfc.indexed_iter_mut().for_each(|((r, f, c), flag)| *flag = (r * 7 + f * 3 + c) % 5 == 0);
        }
        let set = MemoryVis::new("a", set.phase_center(), blocks);
        let specs = [64, 500, 3000].map(|n| UvGridSpec::new(0.01 * ARCSEC, n).unwrap());
        let grids = ingest(&set, &specs, &IngestOptions::default(), &Quiet::default()).unwrap();
        for (spec, grid) in specs.iter().zip(&grids) {
            let mut expected = std::collections::BTreeMap::<(i64, i64), (f64, f64, f64, u32)>::new();
            for block in set.blocks() {
                for ((r, f, c), vis) in block.vis_rfc.indexed_iter().filter(|(at, _)| !block.flag_rfc[*at]) {
                    let k = block.freq_hz[f] / C_M_S;
                    let (ku, kv, mirrored) = spec.cell(block.uvw_m[[r, 0]] * k, block.uvw_m[[r, 1]] * k);
                    let VisWeight::Row(weight) = &block.weight else { unreachable!() };
                    let (w, first) = (f64::from(weight[[r, c]]), c == 0 || block.flag_rfc[[r, f, 0]]);
                    let cell = expected.entry((kv, ku)).or_default();
                    cell.0 += w;
                    cell.1 += w * f64::from(vis.im) * if mirrored { -1.0 } else { 1.0 };
                    cell.2 += w * block.uvw_m[[r, 0]] * k * if mirrored { -1.0 } else { 1.0 };
                    cell.3 += u32::from(first);
                }
            }
            assert_eq!(grid.cells().len(), expected.len());
            for (cell, (at, (w, im, u, n))) in grid.cells().iter().zip(&expected) {
                assert_eq!((i64::from(cell.kv), i64::from(cell.ku), cell.count), (at.0, at.1, *n));
                assert!((cell.weight / w - 1.0).abs() < 1e-12 && (cell.vis.im - im / w).abs() < 1e-12);
                assert!((cell.u - u / w).abs() < 1e-9 * spec.cell_lambda() * spec.npix() as f64);
            }
        }
    }
}
