//! Identities of whole figures, and a gallery to look at.

mod edge;
mod later;
mod samples;

use ndarray::Array2;

use super::align::*;
use super::*;
use crate::data::{Image, Unit};
use crate::sky::{Celestial, Direction, Frame, Projection};
use crate::units::ARCSEC;

/// Every figure of the gallery, with its name and alt text.
fn figures() -> Vec<(&'static str, Figure, String)> {
    let plots: Vec<(&str, Box<dyn Plot>)> = vec![
        ("uv_overlap", Box::new(samples::overlap_figure())),
        ("shifts", Box::new(samples::shifts_figure())),
        ("shifts_12", Box::new(samples::many_shifts())),
        ("uv_profile", Box::new(samples::profile_figure())),
        ("common_sky", Box::new(samples::sky_figure())),
        ("uv_overlap_empty", Box::new(samples::empty_overlap())),
        ("shifts_empty", Box::new(ShiftsFigure { reference_name: "LB_EB1".into(), blocks: vec![] })),
        ("shifts_one", Box::new(samples::one_shift())),
        ("uv_profile_empty", Box::new(samples::empty_profile())),
        ("common_sky_blank", Box::new(samples::blank_sky())),
    ];
    let drawn = plots.into_iter().map(|(name, plot)| (name, plot.figure().unwrap(), plot.alt()));
    let later = [
        ("later_moments", later::moments()),
        ("later_channels", later::channels()),
        ("later_spectrum", later::spectrum()),
        ("later_pv", later::position_velocity()),
        ("later_convergence", later::convergence()),
        ("edge", edge::panels()),
    ];
    drawn.chain(later.into_iter().map(|(name, figure)| (name, figure, String::new()))).collect()
}

/// Writes every figure into a folder of the temp directory and prints where.
#[test]
#[ignore = "writes a gallery to look at"]
fn gallery() {
    let folder = std::env::temp_dir().join("phangs-script-gallery");
    for (name, figure, alt) in figures() {
        let start = std::time::Instant::now();
        figure.write(&folder.join(format!("{name}.png")), &alt).unwrap();
        println!("{name}: {:.0} ms: {alt}", start.elapsed().as_secs_f64() * 1e3);
    }
    println!("{}", folder.display());
}

/// Nothing is cut off: the outermost pixels of every figure, edge cases included, are white.
#[test]
fn no_figure_touches_the_edge_of_its_page() {
    for (name, figure, _) in figures() {
        let canvas = figure.draw();
        let (n_x, n_y) = canvas.size();
        let border = |i: usize| {
            let (x, y) = (i % n_x, i / n_x);
            x < 4 || y < 4 || x >= n_x - 4 || y >= n_y - 4
        };
        let inked = canvas.rgb().chunks_exact(3).enumerate().filter(|(i, p)| border(*i) && **p != [255; 3]).count();
        assert_eq!(inked, 0, "{name}: {inked} of the border pixels of {n_x} x {n_y} are not white");
    }
}

#[test]
fn the_same_data_give_the_same_bytes() {
    let once = |_| samples::shifts_figure().figure().unwrap().png("alt").unwrap();
    assert_eq!(once(0), once(1));
}

/// A PNG holds no time, and its description is the alt text.
#[test]
fn a_file_says_what_it_shows() {
    let png = later::spectrum().png("A spectrum, 3 Jy.").unwrap();
    let has = |word: &[u8]| png.windows(word.len()).any(|w| w == word);
    assert!(has(b"iTXt") && has("A spectrum, 3 Jy.".as_bytes()));
    assert!(!has(b"tIME") && !has(b"tEXt"));
}

#[test]
fn a_figure_is_written_whole_and_leaves_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plots/shifts.png");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, b"old").unwrap();
    let alt = samples::shifts_figure().write(&path).unwrap();
    assert!(alt.contains("SB_EB2: (119.2 ± 2.0, -192.2 ± 2.2) mas (1.1 bmin)"), "{alt}");
    assert!(std::fs::read(&path).unwrap().starts_with(b"\x89PNG"));
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = later::spectrum().write(&file.join("spectrum.png"), "").unwrap_err();
    assert!(error.path.is_some() && error.message.contains("make the folder"), "{error}");
}

#[test]
fn alt_texts_are_made_of_the_data() {
    let alt = samples::overlap_figure().alt();
    assert!(alt.contains("ΔRA  -19.78 ± 0.12 mas") && alt.contains("cells of 10.3 kλ"), "{alt}");
    let alt = samples::many_shifts().alt();
    assert!(alt.contains("ACA_EB1: not aligned"), "{alt}");
    let alt = samples::sky_figure().alt();
    assert!(alt.contains("SB_EB2 2.37 (not aligned)"), "{alt}");
    assert!(samples::profile_figure().alt().contains("rms phase"));
}

#[test]
fn a_cost_surface_that_does_not_fit_its_axes_is_an_error() {
    let mut figure = samples::overlap_figure();
    figure.cost.as_mut().unwrap().dra_mas.pop();
    let error = figure.figure().err().unwrap();
    assert!(error.message.contains("[41, 41]") && error.message.contains("[41, 40]"), "{error}");
}

/// Frames of one row stand at one height, frames of one column have one width, and all lie on the page.
#[test]
fn panels_stand_in_rows_and_columns() {
    let (frames, height) = later::channels().frames();
    assert_eq!(frames.len(), 12);
    for (i, a) in frames.iter().enumerate() {
        assert!(a.x0 >= theme::BORDER && a.x1 <= theme::WIDTH - theme::BORDER && a.y0 >= theme::BORDER && a.y1 <= height - theme::BORDER);
        assert!((a.width() - a.height()).abs() < 1e-9);
        for (j, b) in frames.iter().enumerate().skip(i + 1) {
            assert!(i / 4 != j / 4 || (a.y0 == b.y0 && a.y1 == b.y1));
            assert!(i % 4 != j % 4 || (a.x0 == b.x0 && a.x1 == b.x1));
            assert_eq!(a.intersect(b).width() * a.intersect(b).height(), 0.0);
        }
    }
}

/// The color of the pixel at a data point of the only panel of a figure.
fn color_at(figure: &Figure, panel: &Panel, p: [f64; 2]) -> [u8; 3] {
    let (frames, _) = figure.frames();
    let settled = layout::settle(panel, frames[0]);
    let canvas = figure.draw();
    let at = |v: f64| (v * canvas::Canvas::SCALE) as usize;
    let i = at(settled.y.at(p[1])) * canvas.size().0 + at(settled.x.at(p[0]));
    std::array::from_fn(|k| canvas.rgb()[3 * i + k])
}

/// East is on the left and north at the top: one bright pixel 3 pixels to the west and 2 to the north of the center is
/// found at ΔRA -3, ΔDec +2 cells, and the center at zero.
#[test]
fn a_map_is_drawn_with_east_to_the_left() {
    let mut values = Array2::zeros((17, 17));
    values[[8 + 2, 8 + 3]] = 1.0_f32;
    values[[8, 8]] = 0.5;
    let panel =
        || SkyImage::centered(values.clone(), 2.0).panel(color::ColorMap::Greys, color::Norm::new(0.0, 1.0, color::Stretch::Linear), "I");
    let (figure, settled) = (Figure::single(panel(), 1.0), layout::settle(&panel(), geometry::Rect::new(0.0, 0.0, 100.0, 100.0)));
    assert!(settled.x.at(5.0) < settled.x.at(-5.0) && settled.y.at(5.0) < settled.y.at(-5.0));
    let map = color::ColorMap::Greys;
    for (p, value) in [([-6.0, 4.0], 1.0), ([0.0, 0.0], 0.5), ([6.0, 4.0], 0.0), ([-5.1, 4.9], 1.0), ([-4.9, 4.0], 0.0)] {
        assert_eq!(color_at(&figure, &panel(), p), map.at(value).0, "at {p:?}");
    }
}

/// Pixels that run to the east are turned round, so that the same sky gives the same picture.
#[test]
fn an_image_with_reversed_columns_shows_the_same_sky() {
    let center = Direction::new(1.0, 0.5, Frame::Icrs);
    let values = Array2::from_shape_fn((5, 8), |(j, i)| (10 * j + i) as f32);
    let west = Celestial::simple(Projection::Tan, center, 0.1 * ARCSEC, (3.0, 2.0)).unwrap();
    let mut keys = west.keys().clone();
    (keys.cd[0][0], keys.crpix[0]) = (-keys.cd[0][0], 8.0 + 1.0 - keys.crpix[0]);
    let mut turned = values.clone();
    turned.invert_axis(ndarray::Axis(1));
    let unit = || Unit::new("Jy/beam");
    let a = SkyImage::from(&Image::new(values, west, unit()).unwrap());
    let b = SkyImage::from(&Image::new(turned, Celestial::new(keys).unwrap(), unit()).unwrap());
    assert_eq!(a.values, b.values);
    assert_eq!((a.center_px, b.center_px), ([3.0, 2.0], [3.0, 2.0]));
    let [x0, x1] = a.grid(1.0).x;
    assert!((x0 - 0.35).abs() < 1e-9 && (x1 + 0.45).abs() < 1e-9, "{x0} {x1}");
}

#[test]
fn names_that_are_too_long_stay_different() {
    let names: Vec<String> = (0..12).map(|i| format!("uid___A002_Xb{i:02}f1a_X1c0_calibrated_LB")).chain(["ACA".into()]).collect();
    let style = text::Type::new(theme::NOTE);
    let short = short_names(&names, &style, 110.0);
    assert!(short.iter().all(|n| text::width(n, &style) <= 110.0));
    let mut distinct = short.clone();
    distinct.dedup();
    assert_eq!(distinct.len(), 13, "{short:?}");
    assert_eq!(short[12], "ACA");
}
