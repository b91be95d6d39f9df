//! Figures of images, from their FITS files and records.

use std::path::Path;

use ndarray::s;
use serde_json::Value;

use crate::data::{Beam, Cube};
use crate::error::{Error, Result};
use crate::fits::{ReadOptions, read_cube};
use crate::imaging::{psf_sidelobes, robust_noise};
use crate::options;
use crate::options::Options;
use crate::plot::imaging::{ConvergenceFigure, CycleState, PsfFigure, ResidualFigure, SkyFigure};
use crate::plot::products::reference_note;
use crate::plot::{SkyImage, mark};
use crate::script::verb::{
    Call, Effects, Example, Input, InputKind, OptionGroups, Verb, Work, check_groups, check_options, defaults, defaults_groups,
};
use crate::script::verbs::figures::show;
use crate::units::{ARCSEC, Angle, List};

options! {
    /// What of an image is shown.
    pub struct ViewOptions {
        /// Title; the name of the file by default.
        [""] title: String = String::new(),
        /// Side of the part around the middle that is shown; automatic is all of it.
        ["arcsec"] size: Option<Angle> = None,
        /// Channel of a cube, from 0; automatic is the one with the brightest pixel.
        ["1"] channel: Option<usize> = None,
    }
}

options! {
    /// The noise that an image is drawn with.
    pub struct NoiseOptions {
        /// Noise; automatic is measured (median deviation).
        ["Jy/beam"] noise: Option<f64> = None,
    }
}

options! {
    /// Contours of an image.
    pub struct ContourOptions {
        /// Contours at these multiples of the noise.
        ["1"] contours: List<f64> = List(vec![]),
    }
}

macro_rules! on_one_image {
    ($rest:literal) => {
        concat!(
            "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 6, integrations: 3 });\n",
            "let i = image(s.long, \"demo_image\", #{ spw: 0, cell: \"0.03arcsec\", npix: 64, niter: 50 });\n",
            $rest
        )
    };
}

const FILE_AND_PNG: &[Input] =
    &[Input::new("file", InputKind::FileIn, "FITS image or cube."), Input::new("png", InputKind::FileOut, "PNG file.")];
const RETURNS: &str = "`figure`: its path; `alt`: what it shows, in words";

type ImageGroups = (ViewOptions, NoiseOptions, ContourOptions);
type ResidualGroups = (ViewOptions, NoiseOptions);

pub static PLOT_IMAGE: Verb = Verb {
    name: "plot_image",
    group: "Figures",
    summary: "Shows an image with its beam, contours and color bar.",
    inputs: FILE_AND_PNG,
    options: ImageGroups::PARAMS,
    defaults: defaults_groups::<ImageGroups>,
    returns: RETURNS,
    effects: Effects::Shows,
    examples: &[Example {
        title: "A restored image.",
        script: on_one_image!("plot_image(i.files.image, \"image.png\").figure"),
        result: "image.png",
        tolerance: 0.0,
    }],
    check: check_groups::<ImageGroups>,
    run: |call, work| {
        let shown = Shown::of(call, work)?;
        let noise = shown.noise(call)?;
        let label = (shown.unit != "Jy/beam")
            .then(|| if shown.unit.is_empty() { "Value".to_string() } else { format!("Intensity ({})", shown.unit) });
        let levels = call.options::<ContourOptions>()?.contours.0;
        show(call, work, 1, &SkyFigure { sky: shown.sky, title: format!("{}   {}", shown.title, shown.reference), levels, noise, label })
    },
    ..Verb::EMPTY
};

pub static PLOT_PSF: Verb = Verb {
    name: "plot_psf",
    group: "Figures",
    summary: "Shows a PSF: its map, profiles through the peak with the fitted beam, and its largest sidelobe.",
    inputs: FILE_AND_PNG,
    options: &[ViewOptions::PARAMS],
    defaults: defaults::<ViewOptions>,
    returns: RETURNS,
    effects: Effects::Shows,
    examples: &[Example {
        title: "The PSF of a short track.",
        script: on_one_image!("plot_psf(i.files.psf, \"psf.png\").figure"),
        result: "psf.png",
        tolerance: 0.0,
    }],
    check: check_options::<ViewOptions>,
    run: |call, work| {
        let shown = Shown::of(call, work)?;
        let (high, low) = psf_sidelobes(shown.whole.view());
        show(call, work, 1, &PsfFigure { psf: shown.sky, title: shown.title, sidelobes: [high, low] })
    },
    ..Verb::EMPTY
};

pub static PLOT_RESIDUAL: Verb = Verb {
    name: "plot_residual",
    group: "Figures",
    summary: "Shows a residual image and the histogram of its values against a Gaussian of its noise.",
    inputs: FILE_AND_PNG,
    options: ResidualGroups::PARAMS,
    defaults: defaults_groups::<ResidualGroups>,
    returns: RETURNS,
    effects: Effects::Shows,
    examples: &[Example {
        title: "What CLEAN left.",
        script: on_one_image!("plot_residual(i.files.residual, \"residual.png\").figure"),
        result: "residual.png",
        tolerance: 0.0,
    }],
    check: check_groups::<ResidualGroups>,
    run: |call, work| {
        let shown = Shown::of(call, work)?;
        let noise = shown.noise(call)?;
        show(call, work, 1, &ResidualFigure { residual: shown.sky, title: shown.title, noise })
    },
    ..Verb::EMPTY
};

options! {
    /// What the figure of convergence shows beside the cycles.
    pub struct PlotConvergenceOptions {
        /// Threshold, drawn as a line.
        ["Jy/beam"] threshold: crate::units::Flux = crate::units::Flux(0.0),
    }
}

pub static PLOT_CONVERGENCE: Verb = Verb {
    name: "plot_convergence",
    group: "Figures",
    summary: "Shows peak, noise and model flux after each major cycle of a CLEAN.",
    inputs: &[Input::new("image", InputKind::Record("Image"), "A result of `image`."), Input::new("png", InputKind::FileOut, "PNG file.")],
    options: &[PlotConvergenceOptions::PARAMS],
    defaults: defaults::<PlotConvergenceOptions>,
    returns: RETURNS,
    effects: Effects::Shows,
    examples: &[Example {
        title: "Fifty components.",
        script: on_one_image!("plot_convergence(i, \"convergence.png\").figure"),
        result: "convergence.png",
        tolerance: 0.0,
    }],
    check: check_options::<PlotConvergenceOptions>,
    run: |call, work| {
        let damaged = |e: serde_json::Error| Error::internal(format!("the record of an image is damaged: {e}"));
        let image = &call.args[0];
        let field = |name: &str| image.get(name).cloned().unwrap_or(Value::Null);
        let cycles: Vec<CycleState> = serde_json::from_value(field("cycles")).map_err(damaged)?;
        let stop = field("stop_reason").as_str().unwrap_or_default().to_string();
        let threshold_jy = call.options::<PlotConvergenceOptions>()?.threshold.0;
        show(call, work, 1, &ConvergenceFigure { cycles, threshold_jy, stop })
    },
    ..Verb::EMPTY
};

/// A plane of a file, ready to be drawn.
struct Shown {
    sky: SkyImage,
    /// The plane before it was cut.
    whole: ndarray::Array2<f32>,
    unit: String,
    title: String,
    /// What the offsets count from.
    reference: String,
}

impl Shown {
    /// What the first input and the [`ViewOptions`] of a call mean.
    fn of(call: &Call, work: &Work) -> Result<Shown> {
        let (path, view) = (&call.path_in(0)?, call.options::<ViewOptions>()?);
        let cube = read_cube(path, &ReadOptions::default(), work.notice)?;
        let n_chan = cube.info().n_chan();
        let channel = view.channel.unwrap_or_else(|| brightest(&cube));
        if channel >= n_chan {
            return Err(Error::user(format!("channel {channel} is not among the {n_chan} of the cube")).at(path));
        }
        let whole = cube.data().slice(s![channel, .., ..]).to_owned();
        let title = if view.title.is_empty() { file_name(path) } else { view.title };
        let (unit, reference) = (cube.info().unit.to_string(), reference_note(&cube.channel(channel)?));
        Ok(Shown { sky: sky_image(&cube, channel, view.size), whole, unit, title, reference })
    }

    /// The noise that the call gives, or that of the plane.
    fn noise(&self, call: &Call) -> Result<f64> {
        Ok(call.options::<NoiseOptions>()?.noise.unwrap_or_else(|| robust_noise(self.whole.iter())))
    }
}

fn brightest(cube: &Cube) -> usize {
    let finite = cube.data().indexed_iter().filter(|(_, v)| v.is_finite());
    finite.fold((0, f32::NEG_INFINITY), |best, ((c, _, _), v)| if *v > best.1 { (c, *v) } else { best }).0
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A channel, or a square of it around the reference pixel.
fn sky_image(cube: &Cube, channel: usize, size: Option<Angle>) -> SkyImage {
    let info = cube.info();
    let (sx, sy) = info.sky().cell_rad();
    let center = [info.sky().keys().crpix[0] - 1.0, info.sky().keys().crpix[1] - 1.0];
    let range = |center: f64, n: usize, cell: f64| match size {
        Some(size) => {
            let half = (0.5 * size.0 / cell).max(2.0);
            let first = (center - half).round().clamp(0.0, n as f64 - 1.0) as usize;
            (first, ((center + half).round().max(0.0) as usize + 1).clamp(first + 1, n))
        }
        None => (0, n),
    };
    let ((x0, x1), (y0, y1)) = (range(center[0], info.nx(), sx), range(center[1], info.ny(), sy));
    SkyImage {
        values: cube.data().slice(s![channel, y0..y1, x0..x1]).to_owned(),
        cell_arcsec: [sx / ARCSEC, sy / ARCSEC],
        center_px: [center[0] - x0 as f64, center[1] - y0 as f64],
        beam: info.beams().of_channel(channel).or_else(|| info.beams().largest()).map(beam_mark),
    }
}

fn beam_mark(beam: Beam) -> mark::Beam {
    mark::Beam { major: beam.bmaj_rad() / ARCSEC, minor: beam.bmin_rad() / ARCSEC, angle_deg: beam.bpa_rad().to_degrees() }
}
