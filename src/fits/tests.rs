//! FITS files written here and by others: there and back, and what astropy and spectral-cube read.

use ndarray::{Array2, Array3};
use serde_json::Value;

use super::*;
use crate::data::{Beam, Beams, CardValue, Cube, CubeInfo, CubeSource, Image, Mask, Unit};
use crate::notice::Quiet;
use crate::sky::{Celestial, Direction, Frame, Projection, SpectralAxis, SpectralFrame, SpectralKind};
use crate::testdata::{oracle, shared};
use crate::units::ARCSEC;

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().map(|a| a.iter().map(|x| x.as_f64().unwrap_or(f64::NAN)).collect()).unwrap_or_default()
}

fn example(beams: Beams) -> Cube {
    let center = Direction::new(3.2, -0.7, Frame::J2000);
    let sky = Celestial::simple(Projection::Sin { xi: 0.0, eta: 0.0 }, center, 0.3 * ARCSEC, (3.0, 2.0)).unwrap();
    let axis = SpectralAxis::new(SpectralKind::Frequency, 230.4e9, -2e6, 2.0, 4).unwrap();
    let axis = axis.with_rest(230.538e9).unwrap().with_frame(Some(SpectralFrame::Lsrk));
    let mut info = CubeInfo::new(sky, axis, 5, 7, Unit::new("Jy/beam")).unwrap().with_beams(beams).unwrap();
    info.meta.set("OBJECT", CardValue::Text("NGC 0 'test'".into()), "");
    info.meta.set("DATE-OBS", CardValue::Text("2017-12-26T10:27:59.6".into()), "");
    info.meta.add_history("a line that is rather longer than the seventy-two characters that one HISTORY record holds");
    let mut data = Array3::from_shape_fn((4, 5, 7), |(c, y, x)| (c * 100 + y * 10 + x) as f32 - 7.25);
    data[[1, 2, 3]] = f32::NAN;
    Cube::new(info, data).unwrap()
}

fn same_values(a: &Array3<f32>, b: &Array3<f32>) -> bool {
    a.dim() == b.dim() && a.iter().zip(b).all(|(x, y)| x.to_bits() == y.to_bits())
}

#[test]
fn a_cube_survives_writing_and_reading() {
    let dir = tempfile::tempdir().unwrap();
    let one = Beams::One(Beam::new(1.2 * ARCSEC, 1.0 * ARCSEC, 0.4).unwrap());
    let many = Beams::PerChannel((0..4).map(|i| (i != 2).then(|| Beam::new((1.2 + i as f64) * ARCSEC, ARCSEC, 0.5).unwrap())).collect());
    for (i, beams) in [Beams::None, one, many].into_iter().enumerate() {
        let (cube, path) = (example(beams), dir.path().join(format!("a[{i}].fits")));
        write_cube(&path, &cube, false).unwrap();
        let back = read_cube(&path, &ReadOptions::default(), &Quiet::default()).unwrap();
        assert!(same_values(back.data(), cube.data()));
        assert_eq!(back.info().spectral(), cube.info().spectral());
        assert_eq!(back.info().unit, cube.info().unit);
        assert_eq!(back.info().meta.text("OBJECT"), Some("NGC 0 'test'"));
        assert_eq!(back.info().meta.history.concat(), cube.info().meta.history.concat());
        let (a, b) = (cube.info().sky().sky_from_pixel(6.0, 0.0).unwrap(), back.info().sky().sky_from_pixel(6.0, 0.0).unwrap());
        assert!(a.separation_rad(b) < 1e-15);
        for c in 0..4 {
            match (back.info().beams().of_channel(c), cube.info().beams().of_channel(c)) {
                (Some(a), Some(b)) => assert!((a.bmaj_rad() / b.bmaj_rad() - 1.0).abs() < 1e-6 && (a.bpa_rad() - b.bpa_rad()).abs() < 1e-6),
                (a, b) => assert_eq!(a, b),
            }
        }
    }
}

#[test]
fn blocks_of_a_file_are_blocks_of_the_cube() {
    let dir = tempfile::tempdir().unwrap();
    let (cube, path) = (example(Beams::None), dir.path().join("c.fits"));
    write_cube(&path, &cube, false).unwrap();
    let file = open_cube(&path, &ReadOptions::default(), &Quiet::default()).unwrap();
    assert!(file.is_streamed());
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for (chan, y) in [(0..4, 0..5), (1..3, 2..4), (3..4, 4..5)] {
        let (u, v) = (file.block(chan.clone(), y.clone(), &mut a).unwrap().to_owned(), cube.block(chan, y, &mut b).unwrap().to_owned());
        assert!(same_values(&u, &v));
    }
    assert!(file.block(0..5, 0..1, &mut a).is_err());
}

#[test]
fn a_file_that_exists_stays_unless_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.fits");
    std::fs::write(&path, "precious").unwrap();
    let e = write_cube(&path, &example(Beams::None), false).unwrap_err();
    assert!(e.message.contains("exists"), "{e}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    write_cube(&path, &example(Beams::None), true).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn a_truncated_file_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.fits");
    let (info, _) = example(Beams::None).into_parts();
    let big = CubeInfo::new(info.sky().clone(), info.spectral().clone(), 50, 70, Unit::none()).unwrap();
    write_cube(&path, &Cube::new(big, Array3::zeros((4, 50, 70))).unwrap(), false).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 5760]).unwrap();
    let e = read_cube(&path, &ReadOptions::default(), &Quiet::default()).unwrap_err();
    assert!(format!("{e}").contains("incomplete"), "{e}");
    std::fs::write(&path, &bytes[..1000]).unwrap();
    assert!(read_cube(&path, &ReadOptions::default(), &Quiet::default()).is_err());
    std::fs::write(&path, "<html>not found</html>").unwrap();
    let e = read_cube(&path, &ReadOptions::default(), &Quiet::default()).unwrap_err();
    assert!(e.message.contains("<html") && e.hint.unwrap_or_default().contains("download"), "{}", e.message);
}

#[test]
fn a_mask_is_written_as_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.fits");
    let cube = example(Beams::None);
    let mask = Mask::from_fn([4, 5, 7], |c, y, x| (c + y + x) % 3 == 1);
    write_mask(&path, &mask, cube.info(), false).unwrap();
    let back = read_cube(&path, &ReadOptions::default(), &Quiet::default()).unwrap();
    assert_eq!(Mask::from_fn([4, 5, 7], |c, y, x| back.data()[[c, y, x]] == 1.0), mask);
    assert_eq!(read_header(&path, None).unwrap().number("BITPIX"), Some(8.0));
}

#[test]
fn an_image_survives_writing_and_reading() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("i.fits");
    let mut keys = example(Beams::None).info().sky().keys().clone();
    keys.cd = [[-1e-4, 2e-5], [1.5e-5, 1.1e-4]];
    let sky = Celestial::new(keys).unwrap();
    let image = Image::new(Array2::from_shape_fn((3, 4), |(y, x)| (y * 4 + x) as f32), sky, Unit::new("K km/s")).unwrap();
    write_image(&path, &image, false).unwrap();
    let back = read_image(&path, &ReadOptions::default(), &Quiet::default()).unwrap();
    assert_eq!(back.data(), image.data());
    assert_eq!(back.unit.as_str(), "K km s-1");
    let (a, b) = (image.sky().sky_from_pixel(3.0, 2.0).unwrap(), back.sky().sky_from_pixel(3.0, 2.0).unwrap());
    assert!(a.separation_rad(b) < 1e-15);
}

/// What astropy 8 and spectral-cube 0.7 read from every real file: positions to 1 µas, velocities to 1 mm/s, values to f32.
#[test]
fn real_files_read_as_astropy_reads_them() {
    let expected = oracle("fits_headers.json");
    for (name, e) in expected["files"].as_object().unwrap() {
        let folder = if name.starts_with("casadata") { "casaimg" } else { "images" };
        let Some(path) = shared(&format!("real/{folder}/{name}")) else { continue };
        let shape = numbers(&e["shape"]);
        let quiet = Quiet::default();
        let (sky, values, beam) = if shape.len() == 3 {
            let cube = read_cube(&path, &ReadOptions::default(), &quiet).unwrap();
            check_spectral(name, e, cube.info().spectral());
            (cube.info().sky().clone(), cube.data().iter().copied().collect::<Vec<f32>>(), cube.info().beams().largest())
        } else {
            let image = read_image(&path, &ReadOptions::default(), &quiet).unwrap();
            (image.sky().clone(), image.data().iter().copied().collect(), image.beam)
        };
        let (x, y, lon, lat) = (numbers(&e["x"]), numbers(&e["y"]), numbers(&e["lon"]), numbers(&e["lat"]));
        for i in 0..x.len() {
            let d = sky.sky_from_pixel(x[i], y[i]).unwrap();
            let theirs = Direction::new(lon[i].to_radians(), lat[i].to_radians(), d.frame);
            assert!(d.separation_rad(theirs) < 5e-12, "{name} {} {}: {d} {theirs}", x[i], y[i]);
        }
        assert_eq!(values.iter().filter(|v| v.is_nan()).count() as f64, e["n_nan"].as_f64().unwrap(), "{name}");
        let sum: f64 = values.iter().filter(|v| !v.is_nan()).map(|v| f64::from(*v)).sum();
        assert!((sum - e["sum"].as_f64().unwrap()).abs() <= 1e-6 * e["abs_sum"].as_f64().unwrap(), "{name}");
        for (i, v) in numbers(&e["probe"]).iter().zip(numbers(&e["value"])) {
            let ours = f64::from(values[*i as usize]);
            assert!(ours.is_nan() == v.is_nan() && (v.is_nan() || (ours - v).abs() <= 1e-7 * v.abs()), "{name} {i}");
        }
        if let [a, b, pa] = numbers(&e["beam_deg"])[..] {
            let beam = beam.unwrap();
            assert!(
                (beam.bmaj_rad().to_degrees() / a - 1.0).abs() < 1e-6 && (beam.bmin_rad().to_degrees() / b - 1.0).abs() < 1e-6,
                "{name}"
            );
            assert!((beam.bpa_rad().to_degrees() - pa).abs() < 1e-4, "{name}");
        }
    }
}

fn check_spectral(name: &str, e: &Value, axis: &SpectralAxis) {
    let theirs = numbers(&e["spectral_si"]);
    let ctype = e["spectral_ctype"].as_str().unwrap();
    for (i, v) in theirs.iter().enumerate() {
        let ours = if ctype.ends_with("F2W") { axis.velocity_kms(i as f64).unwrap() * 1e3 } else { axis.value(i as f64) };
        assert!((ours - v).abs() <= 1e-3 + 1e-12 * v.abs(), "{name} channel {i}: {ours} {v}");
    }
    if !ctype.ends_with("F2W") {
        assert_eq!(axis.kind().code(), ctype, "{name}");
    }
    for (i, v) in numbers(&e["v_radio"]).iter().enumerate().filter(|_| ctype != "VOPT") {
        assert!((axis.velocity_as_kms(i as f64, SpectralKind::Radio).unwrap() - v).abs() < 1e-5, "{name}");
    }
    for (key, kind) in [("v_optical", SpectralKind::Optical), ("v_relativistic", SpectralKind::Relativistic)] {
        // spectral-cube makes the axis linear about the reference channel: only that one is exact.
        let i = axis.crpix() - 1.0;
        if let Some(v) = numbers(&e[key]).get(i as usize).filter(|_| i >= 0.0 && i.fract() == 0.0) {
            assert!((axis.velocity_as_kms(i, kind).unwrap() - v).abs() < 1e-5, "{name} {key}");
        }
    }
}
