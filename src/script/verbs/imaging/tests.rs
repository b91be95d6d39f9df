//! Images of the shared simulated sets against those that CASA 6.7 made of them; each JSON beside them holds the call.

use std::path::{Path, PathBuf};
use std::process::Command;

use ndarray::{Array3, ArrayBase, Data, Ix2, s};
use serde_json::json;

use super::open::Pointings;
use crate::data::{Beam, VisBlock, VisSource};
use crate::error::Result;
use crate::fits::{ReadOptions, read_cube};
use crate::imaging::{CleanOptions, ImageOptions, Imaged, Input, MaskChoice, fit_beam, image};
use crate::ms::select::Selection;
use crate::notice::Quiet;
use crate::options::Options;
use crate::script::verbs::SetArg;
use crate::sky::Direction;
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
fn difference<S: Data<Elem = f32>>(ours: &[ArrayBase<S, Ix2>], casa: &Array3<f32>) -> f64 {
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

/// A source without some baselines.
struct Without<'a> {
    inner: &'a dyn VisSource,
    pairs: &'static [(i32, i32)],
}

impl VisSource for Without<'_> {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn phase_center(&self) -> Direction {
        self.inner.phase_center()
    }
    fn n_blocks(&self) -> usize {
        self.inner.n_blocks()
    }
    fn n_rows(&self) -> u64 {
        self.inner.n_rows()
    }
    fn read_block(&self, i: usize) -> Result<VisBlock> {
        let mut block = self.inner.read_block(i)?;
        for (row, mut flag) in block.flag_rfc.outer_iter_mut().enumerate() {
            if self.pairs.contains(&(block.antenna1[row], block.antenna2[row])) {
                flag.fill(true);
            }
        }
        Ok(block)
    }
}

/// One field of a line set, natural weights, linear interpolation to LSRK channels.
///
/// The cell is coarser than the longest baselines need. CASA leaves out two baselines that lie within 2 % of the edge of its
/// grid, where its kernel does not fit: they are left out here too. What remains is what its kernel aliases.
#[test]
fn a_dirty_cube_agrees_with_casa() {
    let Some((_folder, sets)) = sets("line_small", &["tm1"]) else { return };
    let (Some((casa, _)), Some((casa_psf, _))) = (reference("cube_tm1_std.image"), reference("cube_tm1_std.psf")) else { return };
    let given = json!({ "cell": "0.6arcsec", "npix": 162, "weighting": "natural", "gridder": "standard", "mode": "cube", "start": "1343km/s",
                        "width": "5km/s", "nchan": 52, "rest_freq": "230.538GHz", "phase_center": "J2000 39.1deg -10.85deg" });
    let selection = options::<Selection>(json!({ "spw": 0, "field": "gal_0", "datacolumn": "data" }));
    let pointings = Pointings::open(&sets, &selection).unwrap();
    let without: Vec<Without> = pointings.inputs().iter().map(|i| Without { inner: i.vis, pairs: &[(4, 10), (10, 11)] }).collect();
    let inputs: Vec<Input> = pointings.inputs().iter().zip(&without).map(|(i, vis)| Input { vis, array: i.array }).collect();
    let (given, cleaning) = (options::<ImageOptions>(given), options::<CleanOptions>(json!({})));
    let ours = image(&inputs, &given, &cleaning, &MaskChoice::Everywhere, None, &|_| Ok(()), &Quiet::default()).unwrap();
    assert_near("cube", difference(&ours.dirty.image, &casa), 1e-2);
    assert_near("cube psf", difference(&ours.dirty.psf, &casa_psf), 2e-3);
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

/// Runs a script in a project folder; the message of its error.
fn message_of(project: &Path, script: &str) -> String {
    use crate::script::context::{Context, Memory, Setup};
    use crate::script::engine::{self, Script};
    let context = Context::new(Setup::new(project, "messages", std::sync::Arc::new(Memory::default()))).unwrap();
    let result = engine::run(&Script::new("messages.rhai", script), &std::sync::Arc::new(context));
    result.map(|_| "no error".to_string()).unwrap_or_else(|e| e.error.message)
}

#[test]
fn bad_input_is_refused_in_words_and_nothing_is_written() {
    let project = tempfile::tempdir().unwrap();
    let make = "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 6, integrations: 3 });\n";
    assert_eq!(message_of(project.path(), make), "no error");
    std::fs::write(project.path().join("there.image.fits"), "someone's").unwrap();
    for (prefix, options, says) in [
        ("x", "cell: \"0.5arcsec\", npix: 64", "cell 0.5000arcsec is too coarse: baselines reach"),
        ("x", "npix: 64, robust: 3", "`robust` is 3; expected a number from -2 to 2"),
        ("x", "npix: 64, niter: 10, mask: \"circle[[900pix, 900pix], 3pix]\"", "the mask has no pixel inside the image"),
        ("x", "npix: 64, niter: 10, mask: \"blob[[1pix, 2pix], 3pix]\"", "region \"blob"),
        ("x", "npix: 64, uvrange: \">900Mlambda\"", "uvrange"),
        ("x", "npix: 64, mode: \"cube\", start: \"1km/s\"", "velocities need a rest frequency"),
        ("x", "npix: 64, mode: \"cube\", start: \"90000km/s\", width: \"1km/s\", nchan: 2, rest_freq: \"218GHz\"", "the cube's channels"),
        ("x", "npix: 64, start_model: \"demo/truth.json\"", ""),
        ("x", "npix: 64, phase_center: \"somewhere\"", "`phase_center`"),
        (
            "x",
            "npix: 64, niter: 9, deconvolver: \"multiscale\", scales: [0, 100]",
            "a scale of 100 pixels does not fit into 64 x 64 pixels",
        ),
        ("x", "npix: 64, deconvolver: \"mtmfs\", nterms: 0", "`nterms` is 0; expected 1 to 4"),
        ("x", "npix: 64, restoring_beam: \"0.001arcsec\"", "a beam no narrower than a pixel"),
        ("x", "npix: 64, niter: 9, mask: \"snr:2,4\"", "expected the noises of the peak, then those of the edge"),
        ("x", "npix: 64, niter: 9, mask: \"auto-multithresh\", smoothfactor: 1e6", "`smoothfactor` is 1000000; expected 0 to 20 beams"),
        ("x", "npix: 64, niter: 9, cycleniter: 0", "`cycleniter` is 0"),
        ("x", "npix: 64, memory: -5", "`memory` is -5; expected 0 or more megabytes"),
        ("x", "npix: 64, restoring_beam: \"500arcsec\"", "no wider than the image"),
        ("x", "npix: 64, taper: \"1000arcsec\"", "the taper leaves the others no weight"),
        ("x", "npix: 64, dish: -3.0", "`dish` is -3; expected a diameter above 0"),
        ("x", "npix: 64, nitre: 5", "`image` has no option `nitre`; did you mean `niter`"),
        ("there", "npix: 64", ""),
    ] {
        let cell = if options.contains("cell") { "" } else { ", cell: \"0.03arcsec\"" };
        let message = message_of(project.path(), &format!("{make}image(s.long, \"{prefix}\", #{{ spw: 0, {options}{cell} }})"));
        println!("{options}: {message}");
        assert!(message != "no error" && message.contains(says), "{options}: {message}");
    }
    let made: Vec<_> = std::fs::read_dir(project.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert!(made.iter().all(|f| !f.to_string_lossy().starts_with("x.") && !f.to_string_lossy().contains("unfinished")), "{made:?}");
    assert_eq!(std::fs::read_to_string(project.path().join("there.image.fits")).unwrap(), "someone's");
}

/// How much is kept in memory changes no bit: with none, planes take block after block in groups, with enough they follow one another.
#[test]
fn memory_changes_no_bit() {
    let project = tempfile::tempdir().unwrap();
    let script = r#"
        let s = simulate("demo", #{ long: 1, short: 0, antennas: 8, integrations: 6, channels: 5, flags: true, offset: "0arcsec", sky: [#{ flux: "1Jy" }] });
        for gridder in ["standard", "mosaic", "wproject"] {
            for memory in [0.0, 0.1, 96.0] {
                image(s.long, `${gridder}_${memory}`, #{ spw: 0, mode: "cube", cell: "0.03arcsec", npix: 72, gridder: gridder, memory: memory, niter: 60,
                                                        cycleniter: 10, deconvolver: "multiscale", scales: [0, 4] });
            }
        }
    "#;
    assert_eq!(message_of(project.path(), script), "no error");
    for gridder in ["standard", "mosaic", "wproject"] {
        for ending in ["dirty", "psf", "residual", "image", "model"] {
            let bits = |memory: &str| read(&project.path().join(format!("{gridder}_{memory}.{ending}.fits"))).0.mapv(f32::to_bits);
            let all = bits("96.0");
            assert!(all.iter().any(|v| *v != 0), "{gridder} {ending}");
            assert!(bits("0.0") == all && bits("0.1") == all, "{gridder} {ending}");
        }
    }
}

/// A field whose pointing lies between pixels, as a mosaic and alone: the phases of the mosaic refer to the pixel beside it.
#[test]
fn a_mosaic_of_one_pointing_is_its_field() {
    let project = tempfile::tempdir().unwrap();
    let script = r#"
        let s = simulate("demo", #{ long: 1, short: 0, antennas: 10, integrations: 4, offset: "0arcsec", ra: "73.941deg", dec: "30.551deg",
                                    sky: [#{ flux: "1Jy", dra: "0.4arcsec", ddec: "-0.3arcsec" }] });
        for gridder in ["wproject", "mosaic"] {
            image(s.long, gridder, #{ spw: 0, cell: "0.03arcsec", npix: 96, gridder: gridder, phase_center: "J2000 73.9411657deg 30.5509233deg" });
        }
    "#;
    assert_eq!(message_of(project.path(), script), "no error");
    let of = |name: &str| read(&project.path().join(format!("{name}.fits"))).0;
    for ending in ["dirty", "psf"] {
        let (field, mosaic) = (of(&format!("wproject.{ending}")), of(&format!("mosaic.{ending}")));
        let peak = field.iter().fold(0f32, |m, v| m.max(v.abs()));
        // The PSF of a mosaic ends where the pointing ends, moved to the middle.
        let inner = s![.., 24..72, 24..72];
        let pairs = field.slice(inner).into_iter().zip(mosaic.slice(inner));
        let worst = pairs.fold(0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(peak > 0.5 && worst < 1e-4 * peak, "{ending}: {worst} of {peak}");
    }
}

/// One Taylor term is an image of that name too; a model is taken up on its own pixels only; a set counts once; channels without data
/// are blank.
#[test]
fn terms_models_and_channels_are_what_they_are_called() {
    let project = tempfile::tempdir().unwrap();
    let make = "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 6, integrations: 3, channels: 4, offset: \"0arcsec\", sky: [#{ flux: \"1Jy\" }] });\n";
    let run = |script: &str| message_of(project.path(), &format!("{make}{script}"));
    assert_eq!(
        run("image(s.long, \"one\", #{ spw: 0, cell: \"0.03arcsec\", npix: 64, niter: 20, deconvolver: \"mtmfs\", nterms: 1 });"),
        "no error"
    );
    assert!(project.path().join("one.image.tt0.fits").is_file() && !project.path().join("one.alpha.fits").exists());
    let other = |name: &str, options: &str| run(&format!("image(s.long, \"{name}\", #{{ spw: 0, npix: 64, niter: 20, {options} }});"));
    assert_eq!(other("two", "cell: \"0.03arcsec\", start_model: \"one.model.fits\""), "no error");
    let coarser = other("three", "cell: \"0.02arcsec\", start_model: \"one.model.fits\"");
    assert!(coarser.contains("the start model has pixels of 0.0300 arcsec"), "{coarser}");
    let restored = other("four", "cell: \"0.03arcsec\", start_model: \"one.image.fits\"");
    assert!(restored.contains("the start model is in Jy/beam; expected a model in Jy/pixel"), "{restored}");
    let twice = run("image(s.long + s.long, \"five\", #{ spw: 0, cell: \"0.03arcsec\", npix: 64 });");
    assert!(twice.contains("is given twice"), "{twice}");
    assert_eq!(other("six", "cell: \"0.03arcsec\", mode: \"cube\", start: \"216GHz\", width: \"250MHz\", nchan: 8"), "no error");
    let cube = read(&project.path().join("six.image.fits")).0;
    let blank: Vec<bool> = cube.outer_iter().map(|p| p.iter().all(|v| v.is_nan())).collect();
    assert!(blank[0] && blank.iter().any(|b| !b), "{blank:?}");
}

/// Components at the edge stand for a source beyond it; memory is counted before anything is made.
#[test]
fn what_cannot_be_cleaned_or_held_is_refused() {
    let project = tempfile::tempdir().unwrap();
    let make = "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 8, integrations: 4, offset: \"0arcsec\", sky: [#{ flux: \"1Jy\", dra: \"0.9arcsec\" }] });\n";
    let refused =
        |options: &str| message_of(project.path(), &format!("{make}image(s.long, \"x\", #{{ spw: 0, cell: \"0.03arcsec\", {options} }})"));
    let edge = refused("npix: 62, niter: 10");
    assert!(edge.contains("lies at the edge of 62 x 62 pixels of 0.0300 arcsec"), "{edge}");
    assert_eq!(refused("npix: 62"), "no error", "a dirty image may be of any part of the sky");
    let large = refused("npix: 32768, mode: \"cube\", start: \"0\", nchan: 2000, overwrite: true");
    assert!(large.contains("the image needs about") && large.contains("are free"), "{large}");
}

/// A mosaic of one pointing has the Taylor terms of the field alone, near the middle of its beam.
#[test]
fn taylor_terms_of_a_mosaic_are_those_of_its_fields() {
    let project = tempfile::tempdir().unwrap();
    let script = r#"
        let s = simulate("demo", #{ long: 1, short: 0, antennas: 8, integrations: 4, rms: "10uJy", flux_error: 0.0, offset: "0arcsec",
                                    sky: [#{ flux: "1Jy" }], spectral_index: -0.7 });
        let made = [];
        for gridder in ["standard", "mosaic"] {
            let i = image(s.long, gridder, #{ cell: "0.03arcsec", npix: 64, gridder: gridder, deconvolver: "mtmfs", niter: 100, gain: 0.2,
                                              mask: "circle[[32pix, 32pix], 5pix]", casa: true });
            made.push([image_stats(i.files["image.tt0"]).peak, image_stats(i.files["image.tt1"]).min]);
        }
        assert(abs(made[0][0] - made[1][0]) < 1e-3, `tt0: ${made}`);
        assert(made[0][1] < -0.6 && abs(made[0][1] - made[1][1]) < 5e-3, `tt1: ${made}`);
    "#;
    assert_eq!(message_of(project.path(), script), "no error");
    assert!(project.path().join("mosaic.weight.fits").is_file() && !project.path().join("standard.weight.fits").exists());
    let casa = crate::ms::read_casa_image(&project.path().join("mosaic.image.tt0"), None).unwrap();
    let fits = read(&project.path().join("mosaic.image.tt0.fits")).0;
    assert!(casa.data().iter().zip(&fits).all(|(a, b)| a.to_bits() == b.to_bits()));
}

/// An image far from the pointing shows no sky.
#[test]
fn an_image_outside_the_beam_is_refused() {
    let project = tempfile::tempdir().unwrap();
    let make = "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 6, integrations: 3 });\n";
    for gridder in ["standard", "mosaic"] {
        let options =
            format!("#{{ spw: 0, cell: \"0.03arcsec\", npix: 64, gridder: \"{gridder}\", phase_center: \"J2000 12h00m00s +30d00m00s\" }}");
        let message = message_of(project.path(), &format!("{make}image(s.long, \"x\", {options})"));
        assert!(message.contains("lies outside the primary beam: the nearest pointing is"), "{message}");
    }
}
