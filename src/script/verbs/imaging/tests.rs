//! Images of the shared simulated sets against those that CASA 6.7 made of them; each JSON beside them holds the call.

use std::path::{Path, PathBuf};
use std::process::Command;

use ndarray::{Array2, Array3, s};
use serde_json::json;

use super::open::Pointings;
use crate::data::Beam;
use crate::fits::{ReadOptions, read_cube};
use crate::imaging::{CleanOptions, ImageOptions, Imaged, MaskChoice, fit_beam, image};
use crate::ms::select::Selection;
use crate::notice::Quiet;
use crate::options::Options;
use crate::script::verbs::SetArg;
use crate::testdata::shared;
use crate::units::ARCSEC;

/// Unpacks sets of a simulated case; `None`, saying so, where the shared data are absent.
fn sets(case: &str, names: &[&str]) -> Option<(tempfile::TempDir, Vec<SetArg>)> {
    let folder = tempfile::tempdir().unwrap();
    let mut out = Vec::new();
    for name in names {
        let archive = shared(&format!("sim/{case}/{name}.ms.tar.gz"))?;
        assert!(Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(folder.path()).status().unwrap().success());
        let path = folder.path().join(format!("{name}.ms"));
        out.push(SetArg { text: path.display().to_string(), path, block: None });
    }
    Some((folder, out))
}

fn options<O: Options>(given: serde_json::Value) -> O {
    O::from_given("test", given.as_object().cloned().unwrap_or_default()).unwrap()
}

fn make(sets: &[SetArg], selection: serde_json::Value, given: serde_json::Value, cleaning: serde_json::Value, mask: &MaskChoice) -> Imaged {
    let pointings = Pointings::open(sets, &options::<Selection>(selection)).unwrap();
    image(
        &pointings.inputs(),
        &options::<ImageOptions>(given),
        &options::<CleanOptions>(cleaning),
        mask,
        None,
        &|_| Ok(()),
        &Quiet::default(),
    )
    .unwrap()
}

/// Values [chan, y, x] and the beam of a reference image.
fn reference(name: &str) -> Option<(Array3<f32>, Option<Beam>)> {
    let path: PathBuf = shared(&format!("reference/casa_images_small/{name}.fits.gz"))?;
    Some(read(&path))
}

fn read(path: &Path) -> (Array3<f32>, Option<Beam>) {
    let cube = read_cube(path, &ReadOptions::default(), &Quiet::default()).unwrap();
    let beam = cube.info().beams().of_channel(cube.info().n_chan() / 2);
    (cube.into_parts().1, beam)
}

/// Largest difference over the peak, in the inner half of every plane that both have.
fn difference(ours: &[Array2<f32>], casa: &Array3<f32>) -> f64 {
    assert_eq!((ours.len(), ours[0].nrows(), ours[0].ncols()), casa.dim());
    let (_, ny, nx) = casa.dim();
    let inner = s![ny / 4..3 * ny / 4, nx / 4..3 * nx / 4];
    let peak = casa.iter().filter(|v| v.is_finite()).fold(0f32, |m, v| m.max(v.abs()));
    let mut worst = 0f32;
    for (ours, casa) in ours.iter().zip(casa.outer_iter()) {
        for (a, b) in ours.slice(inner).iter().zip(casa.slice(inner)) {
            if b.is_finite() {
                worst = worst.max((a - b).abs());
            }
        }
    }
    f64::from(worst / peak)
}

fn assert_near(what: &str, found: f64, limit: f64) {
    println!("{what}: max|difference|/peak in the inner half {found:.2e}, limit {limit:.1e}");
    assert!(found <= limit, "{what}: {found:e} is more than {limit:e}");
}

fn assert_same_beam(what: &str, ours: Option<Beam>, casa: Option<Beam>) {
    let (a, b) = (ours.unwrap(), casa.unwrap());
    println!("{what}: beam {a}, CASA {b}");
    assert!((a.bmaj_rad() / b.bmaj_rad() - 1.0).abs() < 0.01 && (a.bmin_rad() / b.bmin_rad() - 1.0).abs() < 0.01, "{what}: {a} {b}");
}

/// Our fit to CASA's PSF: its own one has three pixels to go by where the beam is a pixel and a half wide (0.10 arcsec for 1.03).
fn fitted(psf: &Array3<f32>, plane: usize) -> Option<Beam> {
    fit_beam(psf.index_axis(ndarray::Axis(0), plane), 0.6 * ARCSEC).ok()
}

/// The limits are what CASA and ducc0 differ by on this case (12 antennas), a little widened.
#[test]
fn continuum_dirty_images_and_psfs_agree_with_casa() {
    let Some((_folder, sets)) = sets("align_tiny", &["LB1"]) else { return };
    for (name, weighting, limit) in [("natural", "natural", 4e-4), ("briggs05", "briggs", 7e-4)] {
        let Some((casa, beam)) = reference(&format!("cont_dirty_{name}.image")) else { return };
        let Some((casa_psf, _)) = reference(&format!("cont_dirty_{name}.psf")) else { return };
        let given = json!({ "cell": "0.02arcsec", "npix": 512, "weighting": weighting, "gridder": "standard" });
        let ours = make(&sets, json!({ "spw": 0, "datacolumn": "data" }), given, json!({}), &MaskChoice::Everywhere);
        assert_near(&format!("{name} dirty image"), difference(&ours.dirty.image, &casa), limit);
        assert_near(&format!("{name} psf"), difference(&ours.dirty.psf, &casa_psf), limit);
        assert_same_beam(name, ours.beams[0], beam);
        let Some((casa_pb, _)) = reference(&format!("cont_dirty_{name}.pb")) else { return };
        assert_near(&format!("{name} primary beam"), difference(&ours.pb, &casa_pb), 1e-3);
    }
}

/// One field of a line set, natural weights, linear interpolation to LSRK channels.
#[test]
fn a_dirty_cube_agrees_with_casa() {
    let Some((_folder, sets)) = sets("line_small", &["tm1"]) else { return };
    let (Some((casa, _)), Some((casa_psf, _))) = (reference("cube_tm1_std.image"), reference("cube_tm1_std.psf")) else { return };
    let given = json!({ "cell": "0.6arcsec", "npix": 162, "weighting": "natural", "gridder": "standard", "mode": "cube", "start": "1343km/s",
                        "width": "5km/s", "nchan": 52, "rest_freq": "230.538GHz", "phase_center": "J2000 39.1deg -10.85deg" });
    let ours = make(&sets, json!({ "spw": 0, "field": "gal_0", "datacolumn": "data" }), given, json!({}), &MaskChoice::Everywhere);
    assert_near("cube", difference(&ours.dirty.image, &casa), 1e-2);
    assert_near("cube psf", difference(&ours.dirty.psf, &casa_psf), 1e-2);
    assert_same_beam("cube", ours.beams[26], fitted(&casa_psf, 26));
}

/// Two arrays, all fields, Briggs weights over the whole cube: CASA's mosaic gridder convolves with the primary beam in the
/// uv plane, ours multiplies in the image.
#[test]
fn a_joint_mosaic_agrees_with_casa() {
    let Some((_folder, sets)) = sets("line_small", &["tm1", "aca"]) else { return };
    let (Some((casa, _)), Some((casa_pb, _))) = (reference("cube_dirty_briggs05.image"), reference("cube_dirty_briggs05.pb")) else {
        return;
    };
    let given = json!({ "cell": "0.6arcsec", "npix": 162, "robust": 0.5, "mode": "cube", "start": "1343km/s", "width": "5km/s", "nchan": 52,
                        "rest_freq": "230.538GHz", "phase_center": "J2000 39.1deg -10.85deg", "per_channel_density": false, "mosweight": false });
    let ours = make(&sets, json!({ "spw": 0, "datacolumn": "data" }), given, json!({}), &MaskChoice::Everywhere);
    assert_eq!(ours.gridder, "mosaic");
    assert_near("mosaic", difference(&ours.dirty.image, &casa), 3e-2);
    assert_near("mosaic weight", difference(&ours.pb, &casa_pb), 2e-2);
    let Some((casa_psf, _)) = reference("cube_dirty_briggs05.psf") else { return };
    assert_same_beam("mosaic", ours.beams[26], fitted(&casa_psf, 26));
}
