//! Inputs that tend to break figures.

use ndarray::Array2;

use crate::plot::color::*;
use crate::plot::mark::*;
use crate::plot::*;

fn scatter(points: Vec<[f64; 2]>, title: &str) -> Panel {
    Panel::new(Axis::new("x (m)"), Axis::new("y (Jy)")).with(Points::new(points, series_color(0)).key("a series")).title(title)
}

pub fn panels() -> Figure {
    let wide: Vec<[f64; 2]> = (0..40).map(|i| [f64::from(i), 10f64.powi(i - 20)]).collect();
    let mut huge = scatter(wide.clone(), "Forty decades");
    huge.y = Axis::log("y (Jy)");
    let tiny = wide.iter().map(|p| [1e-9 * p[0], 2.5e7 + p[0]]).collect();
    let offsets = (0..30).map(|i| [230.538e0 + 1e-4 * f64::from(i), 1e5 * f64::from(i * i)]).collect();
    let long = "uid___A002_Xb00f1a_X1c0_calibrated_self-cal_round_3_of_7_continuum_averaged";
    let name = scatter(vec![[0.0, 1.0], [1.0, 2.0]], long).with(Points::new(vec![[0.5, 1.2]], series_color(1)).key(long));
    let mut nothing_positive = scatter(vec![[1.0, -1.0], [2.0, 0.0]], "Log axis, nothing positive");
    nothing_positive.y = Axis::log("y (Jy)");
    let flat = Grid { values: Array2::zeros((8, 8)), x: [0.0, 1.0], y: [0.0, 1.0] };
    let nan = Grid { values: Array2::from_elem((8, 8), f32::NAN), ..flat.clone() };
    let image = |grid: Grid, title: &str| {
        let norm = Norm::of(&grid.values, Stretch::Log);
        Panel::image(Axis::new("x"), Axis::new("y"), ImageMark::new(grid, ColorMap::Viridis, norm).blank(Rgb::PALE), "Value").title(title)
    };
    let panels = [
        scatter(vec![[3.0, 4.0]], "One point"),
        scatter(vec![[f64::NAN; 2]; 3], "All NaN"),
        scatter(vec![], "No marks"),
        huge,
        scatter(tiny, "Tiny and offset"),
        scatter(offsets, "Large numbers"),
        name,
        nothing_positive,
        scatter(vec![[f64::INFINITY, 1.0], [0.0, 0.0], [1e300, -1e300], [1.0, 1e300]], "Huge and infinite"),
        image(flat, "Constant image"),
        image(nan, "Blank image"),
        scatter((0..500).map(|i| [f64::from(i), (f64::from(i) * 0.05).sin()]).collect(), "Many points"),
    ];
    let figure = Figure::new(1000.0, &[1.0; 3], &[Row::Ratio(0.75); 4]);
    panels.into_iter().enumerate().fold(figure, |f, (i, p)| f.place(i / 3, i % 3, p))
}
