//! The noise of cubes whose noise is known, and of the cube that the PHANGS pipeline measured.

use ndarray::{Array2, Array3};

use super::*;
use crate::data::{Beam, Mask};
use crate::fits::{ReadOptions, read_cube};
use crate::notice::Quiet;
use crate::products::testing::{info_of, normal};
use crate::testdata::shared;
use crate::units::ARCSEC;

fn info(shape: [usize; 3], beam_pixels: f64) -> CubeInfo {
    info_of(shape, (beam_pixels > 0.0).then(|| Beam::round(beam_pixels * ARCSEC).unwrap()))
}

/// `(deviation of sigma / truth from 1: mean, rms)` over known voxels.
fn accuracy(found: &Noise, truth: impl Fn(usize, usize, usize) -> f64) -> (f64, f64) {
    let [nc, ny, nx] = found.shape();
    let (mut n, mut s, mut q) = (0.0, 0.0, 0.0);
    for (z, y, x) in (0..nc).flat_map(|z| (0..ny).flat_map(move |y| (0..nx).map(move |x| (z, y, x)))) {
        let r = f64::from(found.at(z, y, x)) / truth(z, y, x) - 1.0;
        if r.is_finite() {
            n += 1.0;
            s += r;
            q += r * r;
        }
    }
    (s / n, (q / n).sqrt())
}

/// Data divided by a response have a noise of one number over it: to 1 % (57,600 voxels), for a response of one plane and of many.
#[test]
fn the_noise_behind_a_response_is_one_number() {
    let shape = [16, 60, 60];
    let gain = |z: usize, y: usize, x: usize| {
        0.2 + 0.8 * (-((y as f64 - 30.0).powi(2) + (x as f64 - 30.0).powi(2)) / 800.0).exp() - 0.001 * z as f64
    };
    for planes in [1, 16] {
        let of = |z: usize| if planes == 1 { 0 } else { z };
        let mut data = normal(shape, 5);
        data.indexed_iter_mut().for_each(|((z, y, x), v)| *v = (0.3 * f64::from(*v) / gain(of(z), y, x)) as f32);
        let cube = Cube::new(info(shape, 3.0), data).unwrap();
        let response =
            Cube::new(info([planes, 60, 60], 0.0), Array3::from_shape_fn((planes, 60, 60), |(z, y, x)| gain(z, y, x) as f32)).unwrap();
        let found = noise_from_gain(&cube, &response, None, None, &Quiet::default()).unwrap();
        let (mean, rms) = accuracy(&found, |z, y, x| 0.3 / gain(of(z), y, x));
        assert!(mean.abs() < 0.01 && rms < 0.01 && found.parts().is_some() == (planes == 1), "{planes}: {mean} {rms}");
        assert!(has_noise(&cube, None, &Quiet::default()).unwrap() && !has_noise(&response, None, &Quiet::default()).unwrap());
    }
}

/// A map that varies by 2 and a spectrum that varies by 1.5 come back within 1 % in the mean and 5 % rms: boxes of 13 pixels blur them.
#[test]
fn a_map_times_a_spectrum_comes_back() {
    let shape = [40, 60, 70];
    let truth = |z: usize, y: usize, x: usize| {
        (1.0 + ((y as f64 - 30.0).powi(2) + (x as f64 - 35.0).powi(2)) / 2000.0) * (1.0 + 0.5 * (z as f64 / 39.0))
    };
    let mut data = normal(shape, 1);
    data.indexed_iter_mut().for_each(|((z, y, x), v)| *v *= truth(z, y, x) as f32);
    let cube = Cube::new(info(shape, 5.0), data).unwrap();
    let found = noise(&cube, None, &NoiseOptions::default(), &Quiet::default()).unwrap();
    let (mean, rms) = accuracy(&found, truth);
    assert!(mean.abs() < 0.01 && rms < 0.05, "{mean} {rms}");
}

/// Small fields, few channels, one channel, no beam: an answer within the statistics of their few voxels.
#[test]
fn few_channels_and_small_fields_have_a_noise() {
    for (shape, beam, tolerance) in
        [([1, 40, 40], 4.0, 0.15), ([3, 8, 9], 4.0, 0.3), ([15, 30, 30], 4.0, 0.1), ([200, 3, 3], 3.0, 0.1), ([12, 30, 30], 0.0, 0.1)]
    {
        let cube = Cube::new(info(shape, beam), normal(shape, 7)).unwrap();
        let found = noise(&cube, None, &NoiseOptions::default(), &Quiet::default()).unwrap();
        let (mean, rms) = accuracy(&found, |_, _, _| 1.0);
        assert!(mean.abs() < tolerance && rms < 2.0 * tolerance, "{shape:?}: {mean} {rms}");
        assert!((noise_scalar(&cube, None, &Quiet::default()).unwrap() - 1.0).abs() < tolerance);
    }
}

#[test]
fn blanks_have_no_noise_and_their_neighbours_do() {
    let shape = [20, 30, 31];
    let mut data = normal(shape, 5);
    data.indexed_iter_mut().for_each(|((_, y, x), v)| {
        if x < 5 || y > 25 {
            *v = f32::NAN
        }
    });
    let cube = Cube::new(info(shape, 4.0), data).unwrap();
    let found = noise(&cube, None, &NoiseOptions::default(), &Quiet::default()).unwrap();
    assert!(found.at(3, 10, 4).is_nan() && found.at(3, 10, 5).is_finite());
    let compat = NoiseOptions { compat: Compat::Phangs, ..NoiseOptions::default() };
    let found = noise(&cube, None, &compat, &Quiet::default()).unwrap();
    assert!(found.at(3, 10, 5).is_nan() && found.at(3, 10, 6).is_finite() && found.at(3, 25, 10).is_nan());
}

#[test]
fn an_empty_cube_is_an_error_and_excluded_voxels_do_not_count() {
    let shape = [10, 20, 20];
    let cube = Cube::new(info(shape, 4.0), Array3::from_elem((10, 20, 20), f32::NAN)).unwrap();
    assert!(noise(&cube, None, &NoiseOptions::default(), &Quiet::default()).unwrap_err().message.contains("blank"));
    let mut data = normal(shape, 9);
    data.indexed_iter_mut().for_each(|((_, y, _), v)| {
        if y < 8 {
            *v = -50.0
        }
    });
    let cube = Cube::new(info(shape, 4.0), data).unwrap();
    let exclude = Mask::from_fn(shape, |_, y, _| y < 8);
    let sigma = noise_scalar(&cube, Some(&exclude), &Quiet::default()).unwrap();
    assert!((sigma - 1.0).abs() < 0.05, "{sigma}");
}

/// The neighbours of a blank voxel by face or edge are removed, those by corner are not.
#[test]
fn a_blank_takes_eighteen_neighbours_with_it() {
    let shape = [5, 6, 70];
    let mut data = normal(shape, 2);
    data[[2, 3, 63]] = f32::NAN;
    let cube = Cube::new(info(shape, 2.0), data).unwrap();
    let mut mask = super::estimate::finite_mask(&cube, &Quiet::default()).unwrap();
    super::estimate::erode_beside_blanks(&mut mask);
    assert_eq!((5 * 6 * 70) - mask.count(), 19);
    assert!(!mask.get(1, 3, 64) && !mask.get(2, 2, 62) && mask.get(1, 2, 62));
}

/// The same bits on one thread and on several.
#[test]
fn threads_change_no_bit() {
    let shape = [30, 50, 50];
    let cube = Cube::new(info(shape, 4.0), normal(shape, 11)).unwrap();
    let run = |n: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        let noise = pool.install(|| noise(&cube, None, &NoiseOptions::default(), &Quiet::default())).unwrap();
        let (map, spectrum) = noise.parts().unwrap();
        (map.to_owned(), spectrum.to_vec())
    };
    assert_eq!(run(1), run(3));
}

/// PHANGS pipeline v3, `s64_noise.fits` and the two convolved cubes: the same footprint, the same noise to 1e-6.
#[test]
fn compat_noise_is_that_of_the_phangs_pipeline() {
    for tag in ["", "_2as", "_4as"] {
        let (Some(cube), Some(expected)) = (
            shared(&format!("reference/phangs/derived_s64/s64{tag}.fits")),
            shared(&format!("reference/phangs/derived_s64/s64{tag}_noise.fits")),
        ) else {
            return;
        };
        let read = |p: &std::path::Path| read_cube(p, &ReadOptions::default(), &Quiet::default()).unwrap();
        let (cube, expected) = (read(&cube), read(&expected));
        let options = NoiseOptions { compat: Compat::Phangs, ..NoiseOptions::default() };
        let found = noise(&cube, None, &options, &Quiet::default()).unwrap();
        let mut worst = 0.0f64;
        for ((z, y, x), e) in expected.data().indexed_iter() {
            let f = found.at(z, y, x);
            assert_eq!(f.is_nan(), e.is_nan(), "{tag} {z} {y} {x}");
            if !f.is_nan() {
                worst = worst.max((f64::from(f) / f64::from(*e) - 1.0).abs());
            }
        }
        assert!(worst < 1e-6, "{tag}: {worst}");
    }
}

#[test]
fn the_map_and_the_spectrum_of_a_noise_are_its_medians() {
    let info = info([5, 4, 4], 2.0);
    let noise = Noise::separable(&info, Array2::from_elem((4, 4), 2.0), vec![1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
    assert_eq!(noise.map().unwrap().data()[[0, 0]], 6.0);
    assert_eq!(noise.spectrum()[4], 10.0);
    let cube = Noise::from_cube(noise.to_cube().unwrap());
    assert_eq!(cube.spectrum(), noise.spectrum());
}
