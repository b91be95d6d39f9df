//! Identities of the axis layer, and a gallery to look at.

use ndarray::Array2;

use super::align::*;
use super::mark::*;
use super::*;

/// Numbers in (-1, 1) without a crate (splitmix64): the same on every machine.
pub(super) struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
    /// About normal with unit width: the sum of twelve uniform numbers.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() / 2.0
    }
}

/// Counts on a uv grid from tracks of a few antennas.
fn uv_counts(n: usize, cell: f64, longest: f64, n_antenna: usize, seed: u64) -> Array2<f32> {
    let mut noise = Noise(seed);
    let antennas: Vec<[f64; 2]> = (0..n_antenna)
        .map(|_| (0.5 * longest * noise.uniform().powi(2), noise.uniform() * 3.2))
        .map(|(r, a)| [r * a.cos(), r * a.sin()])
        .collect();
    let mut counts = Array2::zeros((n, n));
    for (i, a) in antennas.iter().enumerate() {
        for b in antennas.iter().skip(i + 1) {
            for step in 0..60 {
                let (s, c) = (0.2 + 0.012 * step as f64).sin_cos();
                let (dx, dy) = (a[0] - b[0], a[1] - b[1]);
                let (u, v) = (dx * c + dy * s, 0.8 * (dy * c - dx * s));
                for sign in [1.0, -1.0] {
                    let at = |x: f64| (sign * x / cell + (n / 2) as f64).round();
                    let (i_u, i_v) = (at(u), at(v));
                    if i_u >= 0.0 && i_v >= 0.0 && i_u < n as f64 && i_v < n as f64 {
                        counts[[i_v as usize, i_u as usize]] += 7.0;
                    }
                }
            }
        }
    }
    counts
}

fn overlap_figure() -> UvOverlapFigure {
    let (n, cell) = (361, 10.3);
    let reference = uv_counts(n, cell, 2400.0, 40, 1);
    let block = uv_counts(n, cell, 1100.0, 38, 7);
    let overlap = ndarray::Zip::from(&reference).and(&block).map_collect(|a, b| if *a > 0.0 && *b > 0.0 { a + b } else { 0.0 });
    let o = OffsetMas { dra: -19.783, ddec: 4.681, sigma_dra: 0.124, sigma_ddec: 0.094 };
    let axis = |center: f64, sigma: f64| (0..41).map(|i| center + (f64::from(i) - 20.0) / 4.0 * sigma).collect::<Vec<_>>();
    let (dra, ddec) = (axis(o.dra, 0.15), axis(o.ddec, 0.15));
    let delta_chi2 = Array2::from_shape_fn((41, 41), |(j, i)| {
        let (x, y) = ((dra[i] - o.dra) / o.sigma_dra, (ddec[j] - o.ddec) / o.sigma_ddec);
        ((x * x + y * y - 2.0 * 0.45 * x * y) / (1.0 - 0.45 * 0.45)) as f32
    });
    let cost = Some(CostSurface { dra_mas: dra, ddec_mas: ddec, delta_chi2 });
    UvOverlapFigure {
        reference_name: "AB_Aur_LB_EB1".into(),
        block_name: "AB_Aur_LB_EB2".into(),
        cell_klambda: cell,
        reference,
        block,
        overlap,
        offset: Some(o),
        cost,
    }
}

fn shift(name: &str, dra: f64, ddec: f64, sigma: f64, beam: [f64; 3]) -> BlockShift {
    let mut noise = Noise((dra.abs() * 1e3) as u64 + 11);
    let after = OffsetMas { dra: sigma * noise.normal(), ddec: sigma * noise.normal(), sigma_dra: sigma, sigma_ddec: 1.1 * sigma };
    BlockShift {
        name: name.into(),
        before: Some(OffsetMas { dra, ddec, sigma_dra: sigma, sigma_ddec: 1.1 * sigma }),
        after: Some(after),
        beam: Some(Beam { major: beam[0], minor: beam[1], angle_deg: beam[2] }),
    }
}

fn shifts_figure() -> ShiftsFigure {
    let blocks = vec![
        shift("LB_EB2", -19.8, 4.68, 0.3, [38.0, 27.0, 20.0]),
        shift("LB_EB3", -12.7, 1.34, 0.25, [45.0, 30.0, -35.0]),
        shift("LB_EB4", 23.7, -21.9, 0.4, [40.0, 31.0, 5.0]),
        shift("SB_EB1", -13.1, 39.5, 1.2, [240.0, 180.0, 60.0]),
        shift("SB_EB2", 119.2, -192.2, 2.0, [260.0, 210.0, -10.0]),
    ];
    ShiftsFigure { reference_name: "LB_EB1".into(), blocks }
}

fn many_shifts() -> ShiftsFigure {
    let mut noise = Noise(5);
    let mut blocks: Vec<BlockShift> = (0..11)
        .map(|i| {
            let scale = if i < 6 { 8.0 } else { 60.0 };
            let name = format!("uid___A002_Xb{i:02}f1a_X1c0_calibrated_{}", if i < 6 { "LB" } else { "SB" });
            shift(&name, scale * noise.normal(), scale * noise.normal(), scale / 40.0, [scale * 6.0, scale * 4.0, 30.0 * f64::from(i)])
        })
        .collect();
    blocks.push(BlockShift { name: "ACA_EB1".into(), before: None, after: None, beam: None });
    ShiftsFigure { reference_name: "LB_EB0".into(), blocks }
}

fn profile_figure() -> UvProfileFigure {
    let mut noise = Noise(3);
    let mut bins = |longest: f64, n: usize, shift: f64, snr: f64| -> Vec<ProfileBin> {
        (1..=n)
            .map(|i| {
                let uv = longest * (i as f64 / n as f64).powf(1.3);
                let disk = 95.0 * (-uv * uv / 4.5e5).exp() * (1.0 + 0.2 * (uv / 120.0).sin()) + 4.0;
                let sigma = 95.0 / snr * (0.5 + uv / longest);
                ProfileBin {
                    uv_klambda: uv,
                    amplitude: disk * (-shift * uv * uv / 1e6).exp() + sigma * noise.normal(),
                    sigma_amplitude: sigma,
                    phase_deg: shift * 0.05 * uv * (uv / 300.0).cos() + 57.0 * sigma / disk * noise.normal(),
                    sigma_phase_deg: 57.0 * sigma / disk,
                }
            })
            .collect()
    };
    UvProfileFigure {
        reference_name: "AB_Aur_LB_EB1".into(),
        block_name: "AB_Aur_SB_EB2".into(),
        unit: "mJy".into(),
        reference: bins(2200.0, 44, 0.0, 160.0),
        before: bins(1100.0, 24, 1.6, 120.0),
        after: bins(1100.0, 24, 0.0, 120.0),
        offset: Some(OffsetMas { dra: 119.22, ddec: -192.22, sigma_dra: 1.3, sigma_ddec: 1.5 }),
    }
}

/// A ring with an arc.
fn disk_image(n: usize, noise_level: f64) -> Array2<f32> {
    let mut noise = Noise(9);
    Array2::from_shape_fn((n, n), |(j, i)| {
        let (x, y) = ((i as f64 - n as f64 / 2.0) / n as f64 * 4.0, (j as f64 - n as f64 / 2.0) / n as f64 * 4.0);
        let r = x.hypot(y / 0.75);
        let ring = (-((r - 0.9) / 0.13).powi(2)).exp() * (1.0 + 0.7 * y.atan2(x).cos());
        (1e-3 * (5.0 * ring + 8.0 * (-(r / 0.05).powi(2)).exp() + noise_level * noise.normal())) as f32
    })
}

fn sky_figure() -> CommonSkyFigure {
    let n = 240;
    let mut sky = SkyImage::centered(disk_image(n, 0.02).mapv(|v| v * 1e3), 0.012);
    sky.beam = Some(Beam { major: 0.12, minor: 0.08, angle_deg: 30.0 });
    let support = Array2::from_shape_fn((n, n), |(j, i)| (i as f64 - 120.0).hypot(j as f64 - 120.0) < 92.0);
    let blocks = [("LB_EB1", 1.01, true), ("LB_EB2", 0.98, true), ("LB_EB3", 1.03, true), ("SB_EB1", 1.12, true), ("SB_EB2", 2.37, false)];
    let blocks = blocks.map(|(name, chi2_reduced, aligned)| BlockFit { name: name.into(), chi2_reduced, aligned }).to_vec();
    CommonSkyFigure { sky, label: "Intensity (mJy beam^{-1})".into(), support: Some(support), blocks }
}

/// Writes every figure, with edge cases, into a folder of the temp directory and prints where.
#[test]
#[ignore = "writes a gallery to look at"]
fn gallery() {
    let folder = std::env::temp_dir().join("phangs-script-gallery");
    let figures: Vec<(&str, Box<dyn Plot>)> = vec![
        ("uv_overlap", Box::new(overlap_figure())),
        ("shifts", Box::new(shifts_figure())),
        ("shifts_12", Box::new(many_shifts())),
        ("uv_profile", Box::new(profile_figure())),
        ("common_sky", Box::new(sky_figure())),
    ];
    for (name, plot) in figures {
        let start = std::time::Instant::now();
        let alt = plot.write(&folder.join(format!("{name}.png"))).unwrap();
        println!("{name}: {:.0} ms: {alt}", start.elapsed().as_secs_f64() * 1e3);
    }
    let figures: [(&str, Figure); 6] = [
        ("later_moments", later::moments()),
        ("later_channels", later::channels()),
        ("later_spectrum", later::spectrum()),
        ("later_pv", later::position_velocity()),
        ("later_convergence", later::convergence()),
        ("edge", edge::panels()),
    ];
    for (name, figure) in figures {
        let start = std::time::Instant::now();
        figure.write(&folder.join(format!("{name}.png")), "").unwrap();
        println!("{name}: {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    }
    println!("{}", folder.display());
}

/// What later rooms will draw with the same grammar: maps, channels, spectra, position-velocity, convergence.
mod later {
    use super::*;
    use crate::plot::canvas::Stroke;
    use crate::plot::color::*;
    use crate::plot::text::Type;

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
                panel(
                    mom2.clone(),
                    ColorMap::Viridis,
                    Norm::of(&mom2.values, Stretch::Linear),
                    "Line width (km s^{-1})",
                    "Effective width",
                ),
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

    use crate::plot::text::Align;
}

/// Inputs that tend to break figures.
mod edge {
    use super::*;
    use crate::plot::color::*;

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
            Panel::image(Axis::new("x"), Axis::new("y"), ImageMark::new(grid, ColorMap::Viridis, norm).blank(Rgb::PALE), "Value")
                .title(title)
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
}
