//! What later rooms will draw with the same grammar: maps, channels, spectra, position-velocity, convergence.

use ndarray::Array2;

use super::samples::Noise;
use crate::plot::canvas::Stroke;
use crate::plot::color::*;
use crate::plot::mark::*;
use crate::plot::text::{Align, Type};
use crate::plot::*;

const N: usize = 160;

/// Offsets in arcsec and deprojected radius and angle of a pixel.
fn galaxy(i: usize, j: usize) -> (f64, f64) {
    let (x, y) = ((N as f64 / 2.0 - i as f64) * 0.5, (j as f64 - N as f64 / 2.0) * 0.5);
    let (s, c) = 0.6_f64.sin_cos();
    let (a, b) = (x * s + y * c, (x * c - y * s) / 0.6);
    (a.hypot(b), b.atan2(a))
}

fn velocity(i: usize, j: usize) -> f64 {
    let (r, t) = galaxy(i, j);
    160.0 * (r / 8.0).tanh() * t.cos()
}

fn intensity(i: usize, j: usize) -> f64 {
    let (r, t) = galaxy(i, j);
    60.0 * (-r / 14.0).exp() * (1.0 + 0.8 * (2.0 * t - 2.4 * (r + 1.0).ln()).cos())
}

fn map(value: impl Fn(usize, usize) -> f64) -> SkyImage {
    let values = Array2::from_shape_fn((N, N), |(j, i)| if intensity(i, j) > 2.5 { value(i, j) as f32 } else { f32::NAN });
    let beam = Some(Beam { major: 2.4, minor: 1.8, angle_deg: 65.0 });
    SkyImage { beam, ..SkyImage::centered(values, 0.5) }
}

pub fn moments() -> Figure {
    let kpc = ScaleBar { length: 20.0, label: "1 kpc".into(), corner: Corner::BottomRight, color: Rgb::INK };
    let panel = |image: SkyImage, map, norm, label: &str, title: &str| {
        image.panel(map, norm, label).title(title).with(kpc.clone()).with(Note::corner(Corner::TopLeft, ["NGC 1637"]))
    };
    let mom0 = map(|i, j| intensity(i, j) * (1.0 + 0.03 * noise_at(i, j)));
    let mom1 = map(|i, j| 717.0 + velocity(i, j));
    let mom2 = map(|i, j| 6.0 + 14.0 * (-galaxy(i, j).0 / 6.0).exp());
    let peak = map(|i, j| 0.5 * intensity(i, j) + 0.02 * noise_at(i, j));
    let norms = [Norm::of(&mom0.values, Stretch::Asinh(0.1)), Norm::new(550.0, 880.0, Stretch::Linear)];
    Figure::new(theme::WIDTH, &[1.0, 1.0], &[Row::Ratio(1.0), Row::Ratio(1.0)])
        .headline("NGC 1637, CO(2–1)")
        .place(0, 0, panel(mom0, ColorMap::Inferno, norms[0], "Integrated intensity (K km s^{-1})", "Moment 0"))
        .place(0, 1, panel(mom1, ColorMap::BlueRed, norms[1], "LSRK velocity (km s^{-1})", "Moment 1"))
        .place(
            1,
            0,
            panel(mom2.clone(), ColorMap::Viridis, Norm::of(&mom2.values, Stretch::Linear), "Line width (km s^{-1})", "Effective width"),
        )
        .place(1, 1, panel(peak.clone(), ColorMap::Magma, Norm::of(&peak.values, Stretch::Sqrt), "Peak temperature (K)", "Peak"))
}

fn noise_at(i: usize, j: usize) -> f64 {
    Noise((i * 7919 + j * 104_729) as u64).normal()
}

pub fn channels() -> Figure {
    let columns = 4;
    let norm = Norm::new(-0.3, 8.0, Stretch::Asinh(0.1));
    (0..12).fold(Figure::new(theme::WIDTH, &[1.0; 4], &[Row::Ratio(1.0); 3]).gap(1.0), |figure, k| {
        let (row, column) = (k / columns, k % columns);
        let v = -165.0 + 30.0 * k as f64;
        let values = Array2::from_shape_fn((N, N), |(j, i)| {
            let line = intensity(i, j) * 0.2 * (-((velocity(i, j) - v) / 18.0).powi(2)).exp();
            (line + 0.1 * noise_at(i, j + 1000 * k)) as f32
        });
        let beam = Some(Beam { major: 2.4, minor: 1.8, angle_deg: 65.0 });
        let image = SkyImage { beam: beam.filter(|_| column == 0 && row == 2), ..SkyImage::centered(values, 0.5) };
        let label = format!("{:.0} km s^{{-1}}", 717.0 + v);
        let mut panel = image.panel(ColorMap::Inferno, norm, "Brightness temperature (K)");
        panel = panel.with(Note::corner(Corner::TopRight, [label]).style(Type::new(theme::NOTE).color(Rgb::WHITE)));
        (panel.x.labelled, panel.y.labelled) = (row == 2, column == 0);
        let bar = panel.bar.take().filter(|_| k == 3).map(|b| ColorBar { span: 3, ..b });
        figure.place(row, column, panel.bar(bar))
    })
}

pub fn spectrum() -> Figure {
    let mut noise = Noise(4);
    let edges: Vec<f64> = (0..=80).map(|i| 500.0 + 5.5 * f64::from(i)).collect();
    let flux = |v: f64| 3.2 * ((-((v - 640.0) / 35.0).powi(2)).exp() + 0.9 * (-((v - 795.0) / 38.0).powi(2)).exp());
    let values: Vec<f64> = edges.windows(2).map(|e| flux(0.5 * (e[0] + e[1])) + 0.12 * noise.normal()).collect();
    let fine: Vec<[f64; 2]> = (0..400).map(|i| 500.0 + 1.1 * f64::from(i)).map(|v| [v, flux(v)]).collect();
    let band = edges.iter().map(|v| [*v, -0.12, 0.12]).collect();
    let panel = Panel::new(Axis::new("LSRK velocity (km s^{-1})"), Axis::new("Flux density (Jy)"))
        .with(Band::new(band, Rgb::GREY).key("±1 σ"))
        .with(Rule::y(0.0))
        .with(Steps::new(edges, values, series_color(0)).filled(0.15).key("CO(2–1)"))
        .with(Line::new(fine, series_color(1)).key("model"));
    Figure::single(panel, 0.62)
}

pub fn position_velocity() -> Figure {
    let (n_x, n_v) = (120, 90);
    let values = Array2::from_shape_fn((n_v, n_x), |(k, i)| {
        let (x, v) = ((i as f64 - 60.0) * 0.6, (k as f64 - 45.0) * 5.0);
        let curve = 160.0 * (x / 8.0).tanh();
        (4.0 * (-((v - curve) / 20.0).powi(2) - (x / 20.0).powi(2)).exp() + 0.15 * noise_at(i, k)) as f32
    });
    let grid = Grid { values, x: [-36.0, 36.0], y: [717.0 - 225.0, 717.0 + 225.0] };
    let image = ImageMark::new(grid.clone(), ColorMap::Greys, Norm::new(-0.3, 4.0, Stretch::Linear));
    let contours = Contours::new(grid, &[-0.45, 0.45, 1.0, 2.0, 3.0], Stroke::new(series_color(1), 1.2));
    let panel = Panel::image(
        Axis::new("Offset along the major axis (arcsec)"),
        Axis::new("LSRK velocity (km s^{-1})"),
        image,
        "Brightness temperature (K)",
    );
    Figure::single(panel.aspect(Aspect::Free).with(contours).title("Position angle 34°"), 0.75)
}

pub fn convergence() -> Figure {
    let mut noise = Noise(14);
    let mut curve = |scale: f64, rate: f64, floor: f64| -> Vec<[f64; 2]> {
        (0..60).map(|i| [f64::from(i), scale * (-rate * f64::from(i)).exp() + floor * (1.0 + 0.1 * noise.uniform())]).collect()
    };
    let (peak, rms) = (curve(3e-1, 0.16, 2e-4), curve(4e-3, 0.07, 4e-5));
    let panel = Panel::new(Axis::new("Major cycle"), Axis::log("Residual (Jy beam^{-1})"))
        .with(Line::new(peak, series_color(0)).key("largest residual"))
        .with(Line::new(rms, series_color(1)).stroke(Stroke::new(series_color(1), 1.6).dash(&[6.0, 3.0])).key("rms of the residual"))
        .with(Rule::y(3e-4).stroke(Stroke::new(Rgb::GREY, 1.2).dash(&[2.0, 2.0])))
        .with(Note::data("threshold", [59.0, 3e-4], Align::Right, [0.0, -9.0]));
    Figure::single(panel, 0.62)
}
