//! `scripts/derived_products.rhai` in compat mode against the answers of the PHANGS-ALMA pipeline.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ndarray::{Array2, Array3};
use phangs_script::fits::{ReadOptions, read_cube, read_image};
use phangs_script::notice::Quiet;
use phangs_script::script::context::{Context, Memory, Setup};
use phangs_script::script::engine::{self, Script};
use phangs_script::script::params::Given;

use super::shared;

/// The folder of answers, or `None` (said) where it is absent.
fn answers() -> Option<PathBuf> {
    let folder = shared::data()?.join("reference/phangs");
    if !folder.join("s64.fits").is_file() {
        println!("skipped: {} is absent", folder.display());
        return None;
    }
    Some(folder)
}

fn run_script(project: &Path, given: &[String]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/derived_products.rhai");
    let source = std::fs::read_to_string(script).expect("the script");
    let mut setup = Setup::new(project, "derived_products", Arc::new(Memory::default()));
    setup.given = Given::read(given, None, project).expect("parameters");
    let context = Arc::new(Context::new(setup).expect("a run"));
    if let Err(e) = engine::run(&Script::new("derived_products.rhai", &source), &context) {
        panic!("{e}");
    }
}

fn cube(path: &Path) -> Array3<f32> {
    read_cube(path, &ReadOptions::default(), &Quiet::default()).unwrap_or_else(|e| panic!("{}: {e}", path.display())).data().clone()
}

fn map(path: &Path) -> Array2<f32> {
    read_image(path, &ReadOptions::default(), &Quiet::default()).unwrap_or_else(|e| panic!("{}: {e}", path.display())).data().clone()
}

/// Largest relative difference of values above a floor, pixels where it exceeds 1e-5, and pixels blank in one only; `keep` chooses pixels.
fn difference<'a>(
    a: impl Iterator<Item = ((usize, usize), &'a f32)>,
    b: &Array2<f32>,
    floor: f32,
    keep: &dyn Fn(usize, usize) -> bool,
) -> (f64, usize, usize) {
    let (mut worst, mut beyond, mut blank) = (0.0f64, 0, 0);
    for ((y, x), p) in a.filter(|((y, x), _)| keep(*y, *x)) {
        let q = b[[y, x]];
        if p.is_nan() != q.is_nan() {
            blank += 1;
        } else if !p.is_nan() {
            let relative = f64::from((p - q).abs()) / f64::from(q.abs().max(floor));
            worst = worst.max(relative);
            beyond += usize::from(relative >= 1e-5);
        }
    }
    (worst, beyond, blank)
}

/// Pixels that the pipeline loses when it reprojects a map onto the map's own grid: roundings blank some near blanks.
struct Lost {
    /// Blank, or beside a blank, in any of the velocity maps that the field is made of.
    beside_input: Array2<bool>,
    /// The pipeline kept the velocity of the field, and it is ours; or neither has one.
    kept: Array2<bool>,
}

impl Lost {
    /// Fails where more is lost than was counted: 107 pixels of the field, all beside a blank of an input; 121 velocities after it, all
    /// within two pixels of a blank.
    fn find(out: &Path, expected: &Path) -> Lost {
        let (ours, theirs) = (map(&out.join("s64_vfield.fits")), map(&expected.join("s64_vfield.fits")));
        let shuffled = cube(&expected.join("s64_shuffled.fits"));
        let inputs: Vec<Array2<f32>> =
            ["", "_2as", "_4as"].iter().map(|t| map(&expected.join(format!("s64{t}_mom1wprior.fits")))).collect();
        let shape = theirs.dim();
        let near = |m: &Array2<f32>, y: usize, x: usize, reach: usize| {
            let beyond = |v: usize, n: usize| v.saturating_sub(reach)..(v + reach + 1).min(n);
            beyond(y, shape.0).any(|j| beyond(x, shape.1).any(|i| m[[j, i]].is_nan()))
        };
        let known = |m: &Array2<f32>, y: usize, x: usize| !m[[y, x]].is_nan();
        // A map that is blank at a pixel and all around it says nothing of the field there.
        let beside_input = Array2::from_shape_fn(shape, |(y, x)| inputs.iter().any(|m| known(m, y, x) && near(m, y, x, 1)));
        let same = |y: usize, x: usize| {
            let (a, b) = (ours[[y, x]], theirs[[y, x]]);
            a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-4
        };
        let gone = |y: usize, x: usize| known(&theirs, y, x) && (0..shuffled.dim().0).all(|z| shuffled[[z, y, x]].is_nan());
        let pixels = || (0..shape.0).flat_map(|y| (0..shape.1).map(move |x| (y, x)));
        let moved: Vec<_> = pixels().filter(|(y, x)| !same(*y, *x)).collect();
        let dropped: Vec<_> = pixels().filter(|(y, x)| gone(*y, *x)).collect();
        assert!(moved.len() <= 107 && moved.iter().all(|(y, x)| beside_input[[*y, *x]]), "{} velocities differ", moved.len());
        assert!(dropped.len() <= 121 && dropped.iter().all(|(y, x)| near(&theirs, *y, *x, 2)), "{} velocities are lost", dropped.len());
        Lost { beside_input, kept: Array2::from_shape_fn(shape, |(y, x)| same(y, x) && !gone(y, x)) }
    }
}

/// Noise to 1e-6, masks to the voxel, maps to 1e-5 (of the value, or of a hundredth of the largest in the map: where sums cancel, the
/// last bit of a 32-bit cube is 1e-4 of their error), with the file names of the pipeline.
#[test]
fn derived_products_in_compat_mode_are_those_of_the_phangs_pipeline() {
    let Some(folder) = answers() else { return };
    let project = tempfile::tempdir().expect("a folder");
    let data = project.path().join("s64.fits");
    std::fs::copy(folder.join("s64.fits"), &data).expect("the cube");
    let given = ["cube=s64.fits", "products=out", "ang_res=2as:2.0,4as:4.0", "window=40", "compat=phangs"].map(String::from);
    run_script(project.path(), &given);
    let (out, expected) = (project.path().join("out"), folder.join("derived_s64"));
    let lost = Lost::find(&out, &expected);
    let fields = |y: usize, x: usize| !lost.beside_input[[y, x]];
    let kept = |y: usize, x: usize| lost.kept[[y, x]];
    let everywhere = |_: usize, _: usize| true;
    let (mut n_files, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(&expected).expect("answers").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".fits") {
            continue;
        }
        n_files += 1;
        let (theirs, ours) = (entry.path(), out.join(&name));
        assert!(ours.is_file(), "{name} was not written");
        let keep: &dyn Fn(usize, usize) -> bool = match name.as_str() {
            n if n.contains("flat") || n.contains("shuffled") => &kept,
            n if n.contains("vfield") || n.contains("wprior") => &fields,
            _ => &everywhere,
        };
        if name.contains("mask") {
            let (a, b) = (cube(&ours), cube(&theirs));
            let n_wrong = a.indexed_iter().filter(|((z, y, x), v)| keep(*y, *x) && **v != b[[*z, *y, *x]]).count();
            if n_wrong > 0 {
                wrong.push(format!("{name}: {n_wrong} voxels differ"));
            }
            continue;
        }
        let is_cube = ["noise", "shuffled", "coverage.fits", "s64.fits", "as.fits"].iter().any(|s| name.contains(s));
        if is_cube {
            let (a, b) = (cube(&ours), cube(&theirs));
            let scale = b.iter().filter(|v| v.is_finite()).fold(0.0f32, |m, v| m.max(v.abs()));
            let (tolerance, floor) = if name.contains("noise") { (1e-6, 0.0) } else { (1e-6, scale) };
            for (z, plane) in a.outer_iter().enumerate() {
                let other = b.index_axis(ndarray::Axis(0), z).to_owned();
                let (worst, _, blank) = difference(plane.indexed_iter(), &other, floor, keep);
                if !(worst < tolerance && blank == 0) {
                    wrong.push(format!("{name} channel {z}: {worst:.1e}, {blank} blanks"));
                }
            }
            continue;
        }
        let (a, b) = (map(&ours), map(&theirs));
        let scale = b.iter().filter(|v| v.is_finite()).fold(0.0f32, |m, v| m.max(v.abs()));
        let (worst, beyond, blank) = difference(a.indexed_iter(), &b, 0.01 * scale, keep);
        // The pipeline convolves in 32 bits: its cubes are 4e-7 of their peak from a convolution in 64 bits, ours 7e-8 (fed with the
        // pipeline's own cubes, every map agrees to 1e-5: `compat_maps_are_those_of_the_phangs_pipeline`). That is amplified in one
        // pixel of a faint line, and in 11 of two channels in the mask, where (v - m1)² - m2² cancels.
        let (most, largest) = match name.as_str() {
            "s64_2as_broad_emom1.fits" => (1, 1.2e-5),
            "s64_4as_strict_emom2.fits" => (11, 1.2e-4),
            _ => (0, 1e-5),
        };
        if beyond > most || worst > largest || blank > 0 {
            wrong.push(format!("{name}: {worst:.1e}, {beyond} pixels beyond 1e-5, {blank} blanks"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(n_files > 80, "{n_files}");
}

/// Published moments of NGC 4047 (EDGE-CALIFA, dilated mask from 4 to 2 sigma) from its cube and response: all 192 published pixels.
///
/// Only the thresholds are published. What gives the published pixels: the noise 0.012329 Jy/beam where the response is 1, as the
/// published peak signal to noise says; seeds in 2 channels; the mask grown by a voxel on every face at the end; K at the frequency of
/// each channel. One pixel then differs, by a voxel at 2.00 sigma. Published mean velocities are blank where their errors are large.
#[test]
fn the_published_moments_of_a_real_galaxy_come_back() {
    const SCRIPT: &str = r##"
        let c = copy_cube("cube.fits.gz", "c.fits");
        let n = noise(c, "n.fits", (), "gain.fits.gz", #{ sigma: 0.012329 });
        let d = mask_dilated(c, n, "d.fits", #{ high: 4, high_channels: 2, low: 2, low_channels: 1 });
        let p = prune_mask(d, "p.fits", #{ min_channels: 2 });
        let m = combine_masks([p, grow_mask(p, "y.fits", #{ sky: 1 }), grow_mask(p, "z.fits", #{ channels: 1 })], "m.fits");
        let of = ["mom0", "mom1", "mom2"].map(|e| #{ map: e, mask: m, out: `${e}.fits`, error: `e${e}.fits` });
        maps(to_unit(c, "K", "k.fits"), of, to_unit(n, "K", "nk.fits"), #{ limits: false });
    "##;
    let Some(images) = shared::data().map(|d| d.join("real/images")).filter(|d| d.join("NGC4047.co.smo7msk.fits.gz").is_file()) else {
        println!("skipped: no cube of NGC 4047");
        return;
    };
    let project = tempfile::tempdir().expect("a folder");
    for (from, to) in [("NGC4047.co.smo7msk.fits.gz", "cube.fits.gz"), ("NGC4047.co.smo7gain.fits.gz", "gain.fits.gz")] {
        std::fs::copy(images.join(from), project.path().join(to)).expect("a copy");
    }
    run_text(project.path(), SCRIPT).expect("maps");
    let table = std::fs::read_to_string(images.join("NGC4047_comom_dil_published.csv")).expect("published values");
    let mut lines = table.lines().map(|l| l.split(',').collect::<Vec<_>>());
    let names = lines.next().expect("a header");
    let rows: Vec<Vec<f64>> = lines.map(|l| l.iter().map(|v| v.parse().unwrap_or(f64::NAN)).collect()).collect();
    let column = |name: &str| names.iter().position(|n| *n == name).expect("a column");
    // Map, column, published pixels, how many agree to 1e-4 (errors to 1 %: their noise is the published one to 2e-4).
    for (file, name, n_published, n_alike, tolerance) in [
        ("mom0", "mom0_12", 192, 191, 1e-4),
        ("emom0", "e_mom0_12", 192, 191, 1e-2),
        ("mom1", "mom1_12", 179, 178, 1e-4),
        ("emom1", "e_mom1_12", 179, 178, 1e-2),
        ("mom2", "mom2_12", 155, 154, 1e-4),
    ] {
        let ours = map(&project.path().join(format!("{file}.fits")));
        let (x, y, i) = (column("ix"), column("iy"), column(name));
        let published: Vec<(f64, f64)> =
            rows.iter().filter(|r| r[i].is_finite()).map(|r| (f64::from(ours[[r[y] as usize, r[x] as usize]]), r[i])).collect();
        let alike = published.iter().filter(|(a, b)| (a - b).abs() < tolerance * b.abs()).count();
        assert!(published.len() == n_published && published.iter().all(|p| p.0.is_finite()) && alike >= n_alike, "{file}: {alike}");
    }
}

/// A FITS file of 32-bit floats with these cards.
fn fits_file(path: &Path, cards: &[String], values: &[f32]) {
    let mut bytes: Vec<u8> = cards.iter().map(String::as_str).chain(["END"]).flat_map(|c| format!("{c:<80}").into_bytes()).collect();
    bytes.resize(bytes.len().next_multiple_of(2880), b' ');
    bytes.extend(values.iter().flat_map(|v| v.to_be_bytes()));
    bytes.resize(bytes.len().next_multiple_of(2880), 0);
    std::fs::write(path, bytes).expect("writable");
}

/// A cube of noise about 0 with a bright line in its middle; `edit` changes the cards, `n` are columns, rows, channels, Stokes.
fn strange_cube(path: &Path, n: [usize; 4], edit: &[(&str, Option<&str>)], value: impl Fn(usize) -> f32) {
    let mut cards: Vec<(String, String)> = [
        ("SIMPLE", "T"),
        ("BITPIX", "-32"),
        ("NAXIS", "4"),
        ("NAXIS1", ""),
        ("NAXIS2", ""),
        ("NAXIS3", ""),
        ("NAXIS4", ""),
        ("CTYPE1", "'RA---SIN'"),
        ("CRVAL1", "30.0"),
        ("CDELT1", "-2.0E-4"),
        ("CRPIX1", "10.0"),
        ("CUNIT1", "'deg'"),
        ("CTYPE2", "'DEC--SIN'"),
        ("CRVAL2", "10.0"),
        ("CDELT2", "2.0E-4"),
        ("CRPIX2", "10.0"),
        ("CUNIT2", "'deg'"),
        ("CTYPE3", "'VRAD'"),
        ("CRVAL3", "1.0E6"),
        ("CDELT3", "5.0E3"),
        ("CRPIX3", "1.0"),
        ("CUNIT3", "'m/s'"),
        ("CTYPE4", "'STOKES'"),
        ("CRVAL4", "1.0"),
        ("CDELT4", "1.0"),
        ("CRPIX4", "1.0"),
        ("BUNIT", "'Jy/beam'"),
        ("BMAJ", "8.0E-4"),
        ("BMIN", "8.0E-4"),
        ("BPA", "0.0"),
        ("RESTFRQ", "2.30538E11"),
        ("SPECSYS", "'LSRK'"),
    ]
    .map(|(k, v)| (k.to_string(), v.to_string()))
    .to_vec();
    for (i, size) in n.iter().enumerate() {
        cards[3 + i].1 = size.to_string();
    }
    for (key, new) in edit {
        cards.retain(|(k, _)| k != key || new.is_some());
        cards.iter_mut().filter(|(k, _)| k == key).for_each(|c| c.1 = new.unwrap_or_default().to_string());
    }
    let cards: Vec<String> = cards.iter().map(|(k, v)| format!("{k:<8}= {v:>20}")).collect();
    let values: Vec<f32> = (0..n.iter().product()).map(value).collect();
    fits_file(path, &cards, &values);
}

/// Numbers without order between -1 and 1.
fn scattered(i: usize) -> f32 {
    ((i as u64).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 40) as f32 / 8_388_608.0 - 1.0
}

fn run_text(project: &Path, text: &str) -> Result<(), String> {
    let context = Context::new(Setup::new(project, "strange", Arc::new(Memory::default()))).map_err(|e| e.to_string())?;
    engine::run(&Script::new("strange.rhai", text), &Arc::new(context)).map(drop).map_err(|e| e.to_string())
}

/// Input that is wrong gets an error that says what; input that is only unusual gets an answer.
#[test]
fn strange_cubes_get_an_answer_or_a_clear_error() {
    const ALL: &str = "let n = noise(\"c.fits\", \"n.fits\"); let m = mask_strict(\"c.fits\", n, \"m.fits\"); maps(\"c.fits\", moment_key(\"x\", #{ strict: m, broad: m }), n);";
    let usual = [20, 20, 24, 1];
    let plain = scattered as fn(usize) -> f32;
    let blank = |_: usize| f32::NAN;
    type Case<'a> = (&'a str, [usize; 4], Vec<(&'a str, Option<&'a str>)>, fn(usize) -> f32, &'a str, &'a str);
    let cases: Vec<Case<'_>> = vec![
        ("plain", usual, vec![], plain, ALL, ""),
        (
            "no beam",
            usual,
            vec![("BMAJ", None), ("BMIN", None), ("BPA", None)],
            plain,
            "convolve(\"c.fits\", \"o.fits\", #{ beam: [\"5arcsec\"] })",
            "no beam",
        ),
        ("no beam, maps", usual, vec![("BMAJ", None), ("BMIN", None), ("BPA", None)], plain, ALL, ""),
        ("no unit", usual, vec![("BUNIT", None)], plain, "to_unit(\"c.fits\", \"K\", \"o.fits\")", "unit"),
        ("no unit, maps", usual, vec![("BUNIT", None)], plain, ALL, ""),
        ("no rest frequency", usual, vec![("RESTFRQ", None)], plain, "to_unit(\"c.fits\", \"K\", \"o.fits\")", "rest frequency"),
        ("no rest frequency, maps", usual, vec![("RESTFRQ", None)], plain, ALL, ""),
        (
            "pixels that are not square",
            usual,
            vec![("CDELT2", Some("3.0E-4"))],
            plain,
            "convolve(\"c.fits\", \"o.fits\", #{ beam: [\"5arcsec\"] }); noise(\"o.fits\", \"n.fits\")",
            "",
        ),
        ("one channel", [20, 20, 1, 1], vec![], plain, ALL, ""),
        ("two channels", [20, 20, 2, 1], vec![], plain, ALL, ""),
        ("all blank", usual, vec![], blank, "noise(\"c.fits\", \"n.fits\")", "blank"),
        ("two Stokes", [20, 20, 24, 2], vec![], plain, "noise(\"c.fits\", \"n.fits\")", "Stokes"),
        (
            "two Stokes, one chosen",
            [20, 20, 24, 2],
            vec![],
            plain,
            "noise(copy_cube(\"c.fits\", \"o.fits\", #{ stokes: \"Q\" }), \"n.fits\")",
            "",
        ),
        ("descending axis", usual, vec![("CDELT3", Some("-5.0E3"))], plain, ALL, ""),
        (
            "too small a target",
            usual,
            vec![],
            plain,
            "convolve(\"c.fits\", \"o.fits\", #{ beam: [\"1arcsec\"] })",
            "does not contain the beam",
        ),
        ("an output that is there", usual, vec![], plain, "noise(\"c.fits\", \"c.fits\")", ""),
        ("an output of somebody else", usual, vec![], plain, "noise(\"c.fits\", \"other.fits\")", "overwrite"),
    ];
    for (name, n, edit, value, script, expected) in cases {
        let project = tempfile::tempdir().expect("a folder");
        strange_cube(&project.path().join("c.fits"), n, &edit, value);
        let before = std::fs::read(project.path().join("c.fits")).expect("the cube");
        std::fs::write(project.path().join("other.fits"), b"mine").expect("writable");
        let result = run_text(project.path(), script);
        match (&result, expected, name) {
            (Err(e), _, "an output that is there") => assert!(!e.is_empty()),
            (Ok(()), "", _) => {}
            (Err(e), expected, _) if !expected.is_empty() => assert!(e.contains(expected), "{name}: {e}"),
            _ => panic!("{name}: {result:?}, expected {expected:?}"),
        }
        let kept = std::fs::read(project.path().join("c.fits")).expect("the cube is still there");
        assert!(kept == before, "{name}: the input changed");
        assert_eq!(std::fs::read(project.path().join("other.fits")).expect("kept"), b"mine", "{name}");
    }
    let project = tempfile::tempdir().expect("a folder");
    strange_cube(&project.path().join("c.fits"), usual, &[], plain);
    let bytes = std::fs::read(project.path().join("c.fits")).expect("the cube");
    std::fs::write(project.path().join("c.fits"), &bytes[..bytes.len() / 2]).expect("writable");
    let e = run_text(project.path(), "noise(\"c.fits\", \"n.fits\")").expect_err("a truncated file");
    assert!(e.contains("ends") || e.contains("truncated") || e.contains("bytes"), "{e}");
}
