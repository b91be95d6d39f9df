//! Maps of analytic lines, of noise, and of the cube that the PHANGS pipeline mapped.

use ndarray::Array3;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

use super::*;
use crate::data::{Beam, Cube};
use crate::fits::{ReadOptions, read_cube, read_image};
use crate::notice::Quiet;
use crate::products::testing::{cube_of, info_of};
use crate::testdata::shared;
use crate::units::ARCSEC;

fn request(kind: MapKind, mask: Option<&Mask>) -> MapRequest<'_> {
    MapRequest { kind, mask, window: None }
}

fn all<'a>(mask: Option<&'a Mask>) -> Vec<MapRequest<'a>> {
    MapKind::ALL.map(|k| request(k, mask)).to_vec()
}

/// A 3x1x2 cube with the sums written out: T = 1, 3, 2 at -50, -47.5, -45 km/s; the second pixel is blank but for one channel.
#[test]
fn sums_by_hand() {
    let nan = f32::NAN;
    let cube = cube_of(Array3::from_shape_vec((3, 1, 2), vec![1.0, nan, 3.0, 4.0, 2.0, nan]).unwrap(), Beam::round(ARCSEC).unwrap());
    let noise = Noise::uniform(cube.info(), 0.5);
    let out = maps(&cube, Some(&noise), &all(None), &MapOptions::default(), &Quiet::default()).unwrap();
    let at = |kind: MapKind, x: usize| {
        let m = out.iter().find(|m| m.kind == kind).unwrap();
        (f64::from(m.value.data()[[0, x]]), f64::from(m.error.data()[[0, x]]))
    };
    let near = |(a, b): (f64, f64), (c, d): (f64, f64)| assert!((a - c).abs() < 1e-5 && (b - d).abs() < 1e-5, "{a} {b}, not {c} {d}");
    // S = 6, dv = 2.5; error √3 0.5 2.5
    near(at(MapKind::Mom0, 0), (15.0, 3f64.sqrt() * 1.25));
    // m1 = -50 + (3·2.5 + 2·5)/6 = -47.0833; offsets -2.9167, -0.4167, 2.0833; error 0.5 √Σo² / 6
    let o = [-2.916_666_7f64, -0.416_666_7, 2.083_333_3];
    near(at(MapKind::Mom1, 0), (-47.083_333_3, 0.5 * o.iter().map(|o| o * o).sum::<f64>().sqrt() / 6.0));
    let m2 = ((o[0] * o[0] + 3.0 * o[1] * o[1] + 2.0 * o[2] * o[2]) / 6.0).sqrt();
    // Half the interval from √(m2² - e) to √(m2² + e).
    let e = 0.5 * o.iter().map(|o| (o * o - m2 * m2).powi(2)).sum::<f64>().sqrt() / 6.0;
    let e2 = ((m2 * m2 + e).sqrt() - (m2 * m2 - e).sqrt()) / 2.0;
    near(at(MapKind::Mom2, 0), (m2, e2));
    // vertex: (2 - 1) / (2 (2·3 - 1 - 2)) = 1/6 of a channel
    assert!((at(MapKind::Vquad, 0).0 - (-47.5 + 2.5 / 6.0)).abs() < 1e-5);
    // a neighbour one below, at √2·0.5 for the difference: of 0.18 exp(-1 / (2 0.66² 0.5)) for the velocity of the peak (the one two
    // below of 0.18 exp(-4 / (2 0.66² 0.5))), of exp(-1 / (2 0.4² 0.5)) = 0.0019 for the peak
    let [w1, w2] = [1.0f64, 4.0].map(|d2| 0.18 * (-d2 / (0.66f64 * 0.66)).exp());
    near(at(MapKind::Vpeak, 0), (-47.5, 2.5 * (1.0 / 12.0 + (w1 + w2) / (1.0 + w1 + w2)).sqrt()));
    near(at(MapKind::Tpeak, 0), (3.0, 0.5 * (1.0f64 + 0.001_930_454_1f64.powi(2)).sqrt() / 1.001_930_454_1));
    near(at(MapKind::Mom0, 1), (10.0, 1.25));
    assert!((at(MapKind::Ew, 1).0 - 2.5 / 2.506_628_274_631).abs() < 1e-6, "one channel");
}

/// A Gaussian line sampled twice a sigma: all maps give its parameters; sums over equal steps are exact to 1e-6 there.
#[test]
fn a_gaussian_line_gives_its_parameters() {
    let (peak, v0, sigma) = (4.0, 1.3, 6.0);
    let data = Array3::from_shape_fn((60, 2, 2), |(z, _, _)| {
        let v = -50.0 + 2.5 * z as f64;
        (peak * (-0.5 * ((v - v0) / sigma).powi(2)).exp()) as f32
    });
    let cube = cube_of(data, Beam::round(ARCSEC).unwrap());
    let out = maps(&cube, None, &all(None), &MapOptions::default(), &Quiet::default()).unwrap();
    let at = |kind: MapKind| f64::from(out.iter().find(|m| m.kind == kind).unwrap().value.data()[[1, 1]]);
    assert!((at(MapKind::Mom0) / (peak * sigma * 2.506_628_274_631) - 1.0).abs() < 1e-6);
    assert!((at(MapKind::Mom1) - v0).abs() < 1e-5 && (at(MapKind::Mom2) / sigma - 1.0).abs() < 1e-5);
    // A parabola through three points of a Gaussian: its vertex is off by up to δ(1-4δ²)dv²/(12σ²) of a channel, here 0.3 %.
    assert!((at(MapKind::Vquad) - v0).abs() < 0.02, "{}", at(MapKind::Vquad));
    assert_eq!(out[0].value.unit.as_str(), "K km s-1");
    assert!(out.iter().all(|m| m.error.data().iter().all(|v| v.is_nan())), "no noise, no error");
}

#[test]
fn sight_lines_outside_the_mask_are_limits_or_blank() {
    let mut data = Array3::<f32>::ones((8, 1, 3));
    data.slice_mut(ndarray::s![.., .., 2]).fill(f32::NAN);
    let cube = cube_of(data, Beam::round(ARCSEC).unwrap());
    let noise = Noise::uniform(cube.info(), 0.5);
    let mask = Mask::from_fn([8, 1, 3], |z, _, x| x != 1 && z > 3);
    let run = |limits: bool| {
        let options = MapOptions { limits, ..MapOptions::default() };
        map(&cube, Some(&noise), request(MapKind::Mom0, Some(&mask)), &options, &Quiet::default()).unwrap()
    };
    let m = run(true);
    assert_eq!(m.value.data().as_slice().unwrap()[..2], [10.0, 0.0]);
    assert!((m.error.data()[[0, 1]] - 0.5 * 2.0 * 2.5).abs() < 1e-6 && m.value.data()[[0, 2]].is_nan() && m.error.data()[[0, 2]].is_nan());
    assert!(run(false).value.data()[[0, 1]].is_nan());
}

/// A descending velocity axis gives the same maps.
#[test]
fn the_direction_of_the_axis_does_not_matter() {
    let info = info_of([20, 3, 3], None);
    let f = |v: f64| (3.0 * (-0.5 * ((v - 3.0) / 5.0).powi(2)).exp()) as f32;
    let up = Cube::new(info.clone(), Array3::from_shape_fn((20, 3, 3), |(z, _, _)| f(-50.0 + 2.5 * z as f64))).unwrap();
    let axis = crate::sky::SpectralAxis::new(crate::sky::SpectralKind::Radio, -2500.0, -2500.0, 1.0, 20).unwrap();
    let down =
        Cube::new(info.with_spectral(axis).unwrap(), Array3::from_shape_fn((20, 3, 3), |(z, _, _)| f(-2.5 - 2.5 * z as f64))).unwrap();
    let run = |c: &Cube| maps(c, Some(&Noise::uniform(c.info(), 0.1)), &all(None), &MapOptions::default(), &Quiet::default()).unwrap();
    for (a, b) in run(&up).iter().zip(&run(&down)) {
        let close = |p: &Image, q: &Image| (p.data()[[1, 1]] - q.data()[[1, 1]]).abs() < 1e-4;
        assert!(
            close(&a.value, &b.value) && close(&a.error, &b.error),
            "{:?}: {:?} {:?}",
            a.kind,
            a.value.data()[[1, 1]],
            b.value.data()[[1, 1]]
        );
    }
}

/// Scatter of a map over noise draws, the error it states, and the mean deviation from the truth.
struct MonteCarlo {
    scatter: f64,
    stated: f64,
    bias: f64,
}

const TRUTHS: usize = 48;
const DRAWS: usize = 200;

/// All maps of a Gaussian line of this peak signal to noise and width, for 48 velocities within a channel and 200 draws each.
///
/// The noise is correlated between channels by `kernel`; the mask is fixed, ±3 widths: one made from the data would add its own scatter.
fn monte_carlo(snr: f64, sigma_v: f64, kernel: &[f64], window: Option<f64>) -> Vec<(MapKind, MonteCarlo)> {
    let norm = kernel.iter().map(|k| k * k).sum::<f64>().sqrt();
    let correlation: Vec<f64> =
        (1..kernel.len()).map(|lag| kernel.iter().zip(&kernel[lag..]).map(|(a, b)| a * b).sum::<f64>() / (norm * norm)).collect();
    let (cube, truth) = noisy_lines(snr, sigma_v, kernel);
    let mask = Mask::from_fn(cube.info().shape(), |z, y, _| (velocity(z) - truth[y]).abs() < 3.0 * sigma_v);
    let options = MapOptions { correlation, ..MapOptions::default() };
    let requests = MapKind::ALL.map(|kind| MapRequest { kind, mask: Some(&mask), window: window.map(Velocity) });
    let out = maps(&cube, Some(&Noise::uniform(cube.info(), 1.0)), &requests, &options, &Quiet::default()).unwrap();
    out.iter().map(|m| (m.kind, against_truth(m, &truth))).collect()
}

fn velocity(z: usize) -> f64 {
    -50.0 + 2.5 * z as f64
}

/// A cube of Gaussian lines in noise of 1, one velocity a row; and these velocities.
fn noisy_lines(snr: f64, sigma_v: f64, kernel: &[f64]) -> (Cube, Vec<f64>) {
    let nc = 36;
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(17);
    let norm = kernel.iter().map(|k| k * k).sum::<f64>().sqrt();
    let truth: Vec<f64> = (0..TRUTHS).map(|i| velocity(16) + 2.5 * (i as f64 / TRUTHS as f64 - 0.5)).collect();
    let mut data = Array3::<f32>::zeros((nc, TRUTHS, DRAWS));
    for y in 0..TRUTHS {
        for x in 0..DRAWS {
            let white: Vec<f64> = (0..nc + kernel.len()).map(|_| StandardNormal.sample(&mut rng)).collect();
            for z in 0..nc {
                let noise: f64 = kernel.iter().enumerate().map(|(k, w)| w * white[z + k]).sum::<f64>() / norm;
                data[[z, y, x]] = (snr * (-0.5 * ((velocity(z) - truth[y]) / sigma_v).powi(2)).exp() + noise) as f32;
            }
        }
    }
    (cube_of(data, Beam::round(ARCSEC).unwrap()), truth)
}

fn against_truth(m: &MapWithError, truth: &[f64]) -> MonteCarlo {
    let (mut scatter, mut stated, mut bias, mut n) = (0.0, 0.0, 0.0, 0.0);
    for (y, (values, errors)) in m.value.data().rows().into_iter().zip(m.error.data().rows()).enumerate() {
        let good: Vec<(f64, f64)> = values
            .iter()
            .zip(errors)
            .map(|(v, e)| (f64::from(*v), f64::from(*e)))
            .filter(|(v, e)| v.is_finite() && e.is_finite())
            .collect();
        let mean = good.iter().map(|g| g.0).sum::<f64>() / good.len() as f64;
        // What a velocity of a channel hides is part of its error; a width or a flux is compared with its own mean.
        let about = if m.kind == MapKind::Vpeak { truth[y] } else { mean };
        let freedom = if m.kind == MapKind::Vpeak { 1.0 } else { good.len() as f64 / (good.len() as f64 - 1.0) };
        for (v, e) in &good {
            scatter += (v - about).powi(2) * freedom;
            stated += e * e;
            bias += v - truth[y];
            n += 1.0;
        }
    }
    MonteCarlo { scatter: (scatter / n).sqrt(), stated: (stated / n).sqrt(), bias: bias / n }
}

/// Scatter over stated error within 5 % (statistics of 9600 draws: 1 %), for lines of 0.7 to 4 channels (sigma), independent and
/// correlated channels, from the signal to noise that each formula needs:
///
/// - mom0: any. mom1: 5, or 8 with correlated channels or lines narrower than a channel. mom2: 20 (integrated signal to noise of
///   about 17), 50 for lines narrower than a channel.
/// - ew, tpeak: 5, since their errors count the channels that may be the peak.
/// - vpeak: 5, averaged over lines of 0.7 to 4 channels; within 12 % for each width (see `Frame::vpeak`).
/// - vquad: 10, and where 2 T_m - T+ - T- exceeds 12 sigma, i.e. snr > 12 (sigma_v / dv)².
#[test]
fn stated_errors_are_the_scatter() {
    let mut report = String::new();
    let mut failed = false;
    const WIDTHS: [f64; 5] = [1.75, 3.0, 5.0, 7.0, 10.0];
    for kernel in [&[1.0][..], &[1.0, 0.8]] {
        for snr in [2.0, 5.0, 8.0, 10.0, 20.0, 50.0, 100.0, 300.0] {
            let mut vpeak = 0.0;
            for sigma_v in WIDTHS {
                for (kind, mc) in monte_carlo(snr, sigma_v, kernel, None) {
                    let wide = kernel.len() > 1;
                    let (from, tolerance) = match kind {
                        MapKind::Mom0 => (2.0, 0.05),
                        MapKind::Mom1 => (if wide || sigma_v < 2.5 { 8.0 } else { 5.0 }, 0.05),
                        MapKind::Mom2 => (if sigma_v < 2.5 { 50.0 } else { 20.0 }, 0.05),
                        MapKind::Ew | MapKind::Tpeak => (5.0, 0.05),
                        MapKind::Vpeak => (5.0, 0.12),
                        MapKind::Vquad => ((12.0 * (sigma_v / 2.5f64).powi(2)).max(10.0), 0.05),
                    };
                    let ratio = mc.scatter / mc.stated;
                    if kind == MapKind::Vpeak {
                        vpeak += ratio * ratio / WIDTHS.len() as f64;
                    }
                    let bad = snr >= from && (ratio - 1.0).abs() > tolerance;
                    failed |= bad;
                    report += &format!(
                        "{:6} width {sigma_v} snr {snr:4} neighbours {}: scatter {:8.4} stated {:8.4} ratio {ratio:.3} bias {:8.4}{}\n",
                        kind.name(),
                        if wide { "correlated " } else { "independent" },
                        mc.scatter,
                        mc.stated,
                        mc.bias,
                        if bad { "  <--" } else { "" }
                    );
                }
            }
            let bad = snr >= 5.0 && (vpeak.sqrt() - 1.0).abs() > 0.055;
            failed |= bad;
            report += &format!("vpeak  all widths snr {snr:4}: ratio {:.3}{}\n", vpeak.sqrt(), if bad { "  <--" } else { "" });
        }
    }
    println!("{report}");
    assert!(!failed, "{report}");
}

/// A mask made from the same noise is not fixed: it drops wings of the line that stay below 2 sigma and keeps what noise lifts.
///
/// Error of the flux in a strict mask (4 to 2 sigma) against the whole line, for lines of 1.2 and 2.8 channels (sigma): 14 to 17 % low at
/// a peak of 5 sigma, 5 to 6 % at 10, below 1 % at 50; the scatter is up to 1.6 times what is stated for a fixed mask, 1.2 at 50.
#[test]
fn a_mask_made_from_the_data_loses_flux_and_adds_scatter() {
    for (sigma_v, snr, low, scatter) in [
        (3.0, 5.0, -0.136, 1.49),
        (3.0, 10.0, -0.051, 1.29),
        (3.0, 50.0, -0.008, 1.17),
        (7.0, 5.0, -0.170, 1.59),
        (7.0, 10.0, -0.064, 1.33),
        (7.0, 50.0, -0.009, 1.16),
    ] {
        let (cube, truth) = noisy_lines(snr, sigma_v, &[1.0]);
        let noise = Noise::uniform(cube.info(), 1.0);
        let mask = crate::products::mask_strict(&cube, &noise, None, &Default::default(), &Quiet::default()).unwrap();
        let m = map(&cube, Some(&noise), request(MapKind::Mom0, Some(&mask)), &MapOptions::default(), &Quiet::default()).unwrap();
        let found: Vec<(f64, f64)> =
            m.value.data().iter().zip(m.error.data()).map(|(v, e)| (f64::from(*v), f64::from(*e))).filter(|p| p.0 != 0.0).collect();
        assert!(found.len() as f64 > 0.99 * (TRUTHS * DRAWS) as f64 && truth.len() == TRUTHS);
        let n = found.len() as f64;
        let mean = found.iter().map(|p| p.0).sum::<f64>() / n;
        let spread = (found.iter().map(|p| (p.0 - mean).powi(2)).sum::<f64>() / n).sqrt();
        let stated = (found.iter().map(|p| p.1 * p.1).sum::<f64>() / n).sqrt();
        let off = mean / (snr * sigma_v * 2.506_628_274_631) - 1.0;
        assert!((off - low).abs() < 0.006 && (spread / stated - scatter).abs() < 0.06, "{sigma_v} {snr}: {off} {}", spread / stated);
    }
}

/// The peak of a running mean over 12.5 km/s: neighbouring means share channels, which the error counts; within 8 % from 5 sigma on.
#[test]
fn the_error_of_a_windowed_peak_is_its_scatter() {
    for sigma_v in [3.0, 7.0] {
        for snr in [5.0, 10.0, 20.0, 50.0] {
            let all = monte_carlo(snr, sigma_v, &[1.0], Some(12.5));
            let mc = &all.iter().find(|m| m.0 == MapKind::Tpeak).unwrap().1;
            let ratio = mc.scatter / mc.stated;
            assert!((ratio - 1.0).abs() < 0.08, "width {sigma_v} snr {snr}: {ratio}");
        }
    }
}

/// PHANGS pipeline v3: every map of both masks at three resolutions, values and errors to 1e-5, blanks in the same places.
#[test]
fn compat_maps_are_those_of_the_phangs_pipeline() {
    let path = |name: &str| shared(&format!("reference/phangs/derived_s64/{name}"));
    let cube_at = |name: &str| Some(read_cube(&path(name)?, &ReadOptions::default(), &Quiet::default()).unwrap());
    for tag in ["", "_2as", "_4as"] {
        let (Some(cube), Some(noise), Some(strict), Some(broad)) = (
            cube_at(&format!("s64{tag}.fits")),
            cube_at(&format!("s64{tag}_noise.fits")),
            cube_at(&format!("s64{tag}_strictmask.fits")),
            cube_at("s64_broadmask.fits"),
        ) else {
            return;
        };
        let mask_of = |c: &Cube| Mask::from_fn(c.info().shape(), |z, y, x| c.data()[[z, y, x]] == 1.0);
        let (strict, broad) = (mask_of(&strict), mask_of(&broad));
        let noise = Noise::from_cube(noise);
        let mut wanted: Vec<(String, MapRequest<'_>)> = Vec::new();
        for kind in [MapKind::Mom0, MapKind::Mom1, MapKind::Mom2, MapKind::Ew, MapKind::Vpeak, MapKind::Vquad] {
            wanted.push((format!("strict_{{}}{}", kind.name()), request(kind, Some(&strict))));
        }
        for kind in [MapKind::Mom0, MapKind::Mom1, MapKind::Tpeak] {
            wanted.push((format!("broad_{{}}{}", kind.name()), request(kind, Some(&broad))));
        }
        let window = Some(Velocity(12.5));
        wanted.push(("broad_{}tpeak12p5".into(), MapRequest { kind: MapKind::Tpeak, mask: Some(&broad), window }));
        let requests: Vec<MapRequest<'_>> = wanted.iter().map(|w| w.1).collect();
        let options = MapOptions { compat: Compat::Phangs, ..MapOptions::default() };
        let out = maps(&cube, Some(&noise), &requests, &options, &Quiet::default()).unwrap();
        for ((name, _), m) in wanted.iter().zip(&out) {
            for (image, prefix) in [(&m.value, ""), (&m.error, "e")] {
                let file = format!("s64{tag}_{}.fits", name.replace("{}", prefix));
                let expected = read_image(&path(&file).unwrap(), &ReadOptions::default(), &Quiet::default()).unwrap();
                assert_eq!(expected.unit, image.unit, "{file}");
                assert_eq!(expected.meta.text("BTYPE"), image.meta.text("BTYPE"), "{file}");
                for ((i, e), f) in expected.data().indexed_iter().zip(image.data()) {
                    let same = e.is_nan() && f.is_nan() || (e - f).abs() <= 1e-5 * e.abs();
                    assert!(same, "{file} {i:?}: {f}, expected {e}");
                }
            }
        }
    }
}
