//! Masks of cubes made by hand, and of the cube that the PHANGS pipeline masked.

use ndarray::Array3;

use super::*;
use crate::data::{Beam, Mask};
use crate::fits::{ReadOptions, read_cube};
use crate::notice::Quiet;
use crate::products::testing::{cube_of, normal};
use crate::products::{Compat, Noise};
use crate::testdata::shared;
use crate::units::ARCSEC;

fn beam() -> Beam {
    Beam::round(2.0 * ARCSEC).unwrap()
}

/// Two regions at 3 sigma in many channels; only the one that reaches 5 sigma twice is emission, and all of it.
#[test]
fn a_peak_takes_its_whole_region_along() {
    let mut data = Array3::<f32>::zeros((12, 9, 9));
    data.slice_mut(ndarray::s![3..9, 1..4, 1..4]).fill(3.0);
    data.slice_mut(ndarray::s![3..9, 5..8, 5..8]).fill(3.0);
    data[[5, 2, 2]] = 5.0;
    data[[6, 2, 2]] = 5.0;
    data[[5, 6, 6]] = 5.0;
    let cube = cube_of(data, beam());
    let noise = Noise::uniform(cube.info(), 1.0);
    let mask = mask_strict(&cube, &noise, None, &MaskOptions::default(), &Quiet::default()).unwrap();
    assert_eq!(mask, Mask::from_fn([12, 9, 9], |z, y, x| (3..9).contains(&z) && (1..4).contains(&y) && (1..4).contains(&x)));
    let prior = Mask::from_fn([12, 9, 9], |_, y, _| y > 4);
    let none = mask_strict(&cube, &noise, Some(&prior), &MaskOptions::default(), &Quiet::default()).unwrap();
    assert!(none.is_empty());
    let one = MaskOptions { high_channels: 1, min_voxels: 2, ..MaskOptions::default() };
    assert_eq!(mask_strict(&cube, &noise, None, &one, &Quiet::default()).unwrap(), mask, "the seed of a single voxel is too small");
    let last = mask_dilated(&cube, &noise, &MaskOptions { min_area: 9, ..one.clone() }, &Quiet::default()).unwrap();
    assert_eq!(last.count(), 108, "pruned after growing, both regions are large enough");
    let grown =
        mask_strict(&cube, &noise, None, &MaskOptions { grow_sky: 1, grow_channels: 1, ..MaskOptions::default() }, &Quiet::default())
            .unwrap();
    assert_eq!(grown.count(), 8 * 21);
}

#[test]
fn absorption_is_found_when_asked_for() {
    let mut data = Array3::<f32>::zeros((6, 5, 5));
    data.slice_mut(ndarray::s![2..4, 2, 2]).fill(-6.0);
    let cube = cube_of(data, beam());
    let noise = Noise::uniform(cube.info(), 1.0);
    let find =
        |invert: bool| mask_strict(&cube, &noise, None, &MaskOptions { invert, ..MaskOptions::default() }, &Quiet::default()).unwrap();
    assert_eq!((find(false).count(), find(true).count()), (0, 2));
}

/// Of 10^6 noise voxels two in a row exceed 4 sigma with a chance of 1e-3: nothing is found.
#[test]
fn noise_is_no_emission() {
    let cube = cube_of(normal([100, 100, 100], 1), beam());
    let noise = Noise::uniform(cube.info(), 1.0);
    assert!(mask_strict(&cube, &noise, None, &MaskOptions::default(), &Quiet::default()).unwrap().is_empty());
}

/// PHANGS pipeline v3 on the cube at three resolutions: the same voxels.
#[test]
fn compat_masks_are_those_of_the_phangs_pipeline() {
    let read = |name: &str| {
        Some(read_cube(&shared(&format!("reference/phangs/derived_s64/{name}"))?, &ReadOptions::default(), &Quiet::default()).unwrap())
    };
    for tag in ["", "_2as", "_4as"] {
        let (Some(cube), Some(noise), Some(expected)) =
            (read(&format!("s64{tag}.fits")), read(&format!("s64{tag}_noise.fits")), read(&format!("s64{tag}_strictmask.fits")))
        else {
            return;
        };
        let shape = cube.info().shape();
        let prior = (!tag.is_empty())
            .then(|| read(&format!("s64{tag}_coverage.fits")))
            .flatten()
            .map(|c| Mask::from_fn(shape, |z, y, x| c.data()[[z, y, x]] > 0.95));
        let options = MaskOptions { compat: Compat::Phangs, ..MaskOptions::default() };
        let found = mask_strict(&cube, &Noise::from_cube(noise), prior.as_ref(), &options, &Quiet::default()).unwrap();
        let expected = Mask::from_fn(shape, |z, y, x| expected.data()[[z, y, x]] == 1.0);
        assert!(expected.count() > 100);
        assert_eq!(found, expected, "{tag}: {} {}", found.count(), expected.count());
    }
}
