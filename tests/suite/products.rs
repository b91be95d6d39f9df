//! `scripts/derived_products.rhai` in compat mode against the answers of the PHANGS-ALMA pipeline.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ndarray::{Array2, Array3};
use phangs_script::fits::{ReadOptions, read_cube, read_image};
use phangs_script::notice::Quiet;
use phangs_script::script::context::{Context, Memory, Setup};
use phangs_script::script::engine::{self, Script};
use phangs_script::script::params::Given;

/// The folder of answers, or `None` (said) where it is absent.
fn answers() -> Option<PathBuf> {
    let root =
        std::env::var_os("PHANGS_SCRIPT_DATA").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let folder = root.join("reference/phangs");
    if !folder.join("s64.fits").is_file() {
        eprintln!("skipped: {} is absent", folder.display());
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

/// Largest relative difference of values above a floor, and the number of pixels blank in one only; `keep` chooses pixels.
fn difference<'a>(
    a: impl Iterator<Item = ((usize, usize), &'a f32)>,
    b: &Array2<f32>,
    floor: f32,
    keep: &dyn Fn(usize, usize) -> bool,
) -> (f64, usize) {
    let (mut worst, mut blank) = (0.0f64, 0);
    for ((y, x), p) in a.filter(|((y, x), _)| keep(*y, *x)) {
        let q = b[[y, x]];
        if p.is_nan() != q.is_nan() {
            blank += 1;
        } else if !p.is_nan() {
            worst = worst.max(f64::from((p - q).abs()) / f64::from(q.abs().max(floor)));
        }
    }
    (worst, blank)
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
    let field = map(&expected.join("s64_vfield.fits"));
    // Pixels beside a blank: there the pipeline's reprojection onto the same grid blanks some.
    let inside = |y: usize, x: usize| {
        (y.saturating_sub(1)..=y + 1).all(|j| (x.saturating_sub(1)..=x + 1).all(|i| field.get((j, i)).is_some_and(|v| v.is_finite())))
    };
    let everywhere = |_: usize, _: usize| true;
    let mut n_files = 0;
    for entry in std::fs::read_dir(&expected).expect("answers").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".fits") {
            continue;
        }
        n_files += 1;
        let (theirs, ours) = (entry.path(), out.join(&name));
        assert!(ours.is_file(), "{name} was not written");
        let from_field = ["flat", "vfield", "shuffled", "wprior"].iter().any(|s| name.contains(s));
        let keep: &dyn Fn(usize, usize) -> bool = if from_field { &inside } else { &everywhere };
        if name.contains("mask") {
            let (a, b) = (cube(&ours), cube(&theirs));
            let wrong = a.indexed_iter().filter(|((z, y, x), v)| keep(*y, *x) && **v != b[[*z, *y, *x]]).count();
            assert_eq!(wrong, 0, "{name}: {wrong} voxels differ");
            continue;
        }
        let is_cube = ["noise", "shuffled", "coverage.fits", "s64.fits", "as.fits"].iter().any(|s| name.contains(s));
        if is_cube {
            let (a, b) = (cube(&ours), cube(&theirs));
            let scale = b.iter().filter(|v| v.is_finite()).fold(0.0f32, |m, v| m.max(v.abs()));
            let (tolerance, floor) = if name.contains("noise") { (1e-6, 0.0) } else { (1e-6, scale) };
            for (z, plane) in a.outer_iter().enumerate() {
                let other = b.index_axis(ndarray::Axis(0), z).to_owned();
                let (worst, blank) = difference(plane.indexed_iter(), &other, floor, keep);
                assert!(worst < tolerance && blank == 0, "{name} channel {z}: {worst:.1e}, {blank} blanks");
            }
            continue;
        }
        let (a, b) = (map(&ours), map(&theirs));
        let scale = b.iter().filter(|v| v.is_finite()).fold(0.0f32, |m, v| m.max(v.abs()));
        let (worst, blank) = difference(a.indexed_iter(), &b, 0.01 * scale, keep);
        assert!(worst < 1e-5 && blank == 0, "{name}: {worst:.1e}, {blank} blanks");
    }
    assert!(n_files > 80, "{n_files}");
}
