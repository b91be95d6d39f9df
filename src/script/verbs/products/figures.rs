//! Figures of cubes and their products.

use serde::Deserialize;
use serde_json::Value;

use super::super::figures::{TitleOptions, show};
use super::demo;
use super::files::{cube_in, mask_in, open_image, read_mask, read_noise};
use crate::data::{CubeInfo, Mask, Unit};
use crate::error::{Error, Result};
use crate::fits::{ReadOptions, read_plane};
use crate::options::Options;
use crate::plot::products::{
    ChannelMaps, GalleryMap, MapGallery, MaskOverview, MaskShown, NoiseFigure, ProfileFigure, SliceFigure, SpectrumFigure, SpectrumShown,
    channel_edges, common_box,
};
use crate::script::verb::{Call, Effects, Example, Input, InputKind, Verb, Work, check_options, defaults};

/// The verbs of this group.
pub static VERBS: &[&Verb] = &[&PLOT_MAPS, &PLOT_NOISE, &PLOT_MASKS, &PLOT_CHANNELS, &PLOT_SPECTRUM, &PLOT_SLICE, &PLOT_PROFILE];

const RETURNS: &str = "`figure`: its path; `alt`: what it shows, in words";
const FILE: Input = Input::new("file", InputKind::FileOut, "PNG file.");

crate::options! {
    /// Options of a gallery of maps.
    pub struct GalleryOptions {
        /// Headline.
        [""] title: String = String::new(),
        /// Titles of the maps; automatic from the file names.
        [""] names: Vec<String> = vec![],
        /// Maps in a row.
        ["1"] columns: usize = 3,
        /// Distance, for a scale bar in pc.
        ["Mpc"] distance: Option<f64> = None,
        /// Show only the part of the sky that has values.
        [""] crop: bool = true,
    }
}

static PLOT_MAPS: Verb = Verb {
    name: "plot_maps",
    group: "Figures",
    summary: "Shows maps side by side, with beam, scale bar and color bars.",
    details: "Colors follow what a map shows (BTYPE): intensities, velocities, widths, errors.",
    inputs: &[Input::new("maps", InputKind::FilesIn, "Maps."), FILE],
    options: &[GalleryOptions::PARAMS],
    defaults: defaults::<GalleryOptions>,
    returns: RETURNS,
    effects: Effects::Shows,
    examples: &[Example {
        title: "The true maps of the simulated galaxy.",
        script: demo!("plot_maps([g.mom0, g.mom1, g.mom2], \"maps.png\").figure"),
        result: "maps.png",
        tolerance: 0.0,
    }],
    check: check_options::<GalleryOptions>,
    run: plot_maps,
    ..Verb::EMPTY
};

fn plot_maps(call: &Call, work: &Work) -> Result<Value> {
    let o = call.options::<GalleryOptions>()?;
    let mut maps = Vec::new();
    for (i, value) in call.list(0).iter().enumerate() {
        let path = call.readable(value)?;
        let image = open_image(&path, &ReadOptions::default(), work.notice)?;
        let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let title = o.names.get(i).cloned().unwrap_or_else(|| title_of(&stem));
        maps.push(GalleryMap { title, image });
    }
    if maps.is_empty() {
        return Err(Error::user("`plot_maps` needs at least one map"));
    }
    let figure = MapGallery { title: o.title, maps, columns: o.columns, distance_mpc: o.distance, crop: o.crop };
    show(call, work, 1, &figure)
}

/// What the end of a file name of the pipeline stands for; the name itself where it is another.
fn title_of(stem: &str) -> String {
    let (rest, last) = stem.rsplit_once('_').unwrap_or(("", stem));
    let known = |name: &str| {
        Some(match name {
            "mom0" => "Intensity",
            "mom1" => "Velocity",
            "mom1wprior" => "Velocity with prior",
            "mom2" => "Dispersion",
            "ew" => "Effective width",
            "tpeak" => "Peak",
            "tpeak12p5" => "Peak in 12.5 km/s",
            "vpeak" => "Peak velocity",
            "vquad" => "Parabola",
            "vfield" => "Velocity field",
            "coverage2d" => "Coverage",
            _ => return None,
        })
    };
    let mask = rest.rsplit('_').next().filter(|m| ["strict", "broad", "flatstrict", "flatbroad"].contains(m));
    let title = match (known(last), last.strip_prefix('e').and_then(known)) {
        (Some(t), _) => t.to_string(),
        (None, Some(t)) => format!("Error: {}{}", t[..1].to_lowercase(), &t[1..]),
        (None, None) => return crate::plot::text::verbatim(stem),
    };
    mask.map_or(title.clone(), |m| format!("{title} ({m})"))
}

static PLOT_NOISE: Verb = Verb {
    name: "plot_noise",
    group: "Figures",
    summary: "Shows the map and the spectrum of the noise.",
    inputs: &[Input::new("noise", InputKind::FileIn, "Noise cube."), FILE],
    options: &[TitleOptions::PARAMS],
    defaults: defaults::<TitleOptions>,
    returns: RETURNS,
    effects: Effects::Shows,
    examples: &[Example {
        title: "Noise of the simulated galaxy.",
        script: demo!("plot_noise(noise(g.cube, \"n.fits\"), \"noise.png\").figure"),
        result: "noise.png",
        tolerance: 0.0,
    }],
    check: check_options::<TitleOptions>,
    run: |call, work| {
        let noise = read_noise(&call.path_in(0)?, work.notice)?;
        let figure = NoiseFigure {
            title: call.options::<TitleOptions>()?.title,
            map: noise.map()?,
            velocity_kms: velocities(noise.info()),
            spectrum: noise.spectrum(),
        };
        show(call, work, 1, &figure)
    },
    ..Verb::EMPTY
};

/// Velocities of the channels, or their numbers where there is no rest frequency.
fn velocities(info: &CubeInfo) -> Vec<f64> {
    info.spectral().velocities_kms().unwrap_or_else(|_| (0..info.n_chan()).map(|i| i as f64).collect())
}

crate::options! {
    /// Options of an overview of masks.
    pub struct OverviewOptions {
        /// Headline.
        [""] title: String = String::new(),
        /// Names of the masks; automatic from the file names.
        [""] names: Vec<String> = vec![],
    }
}

static PLOT_MASKS: Verb = Verb {
    name: "plot_masks",
    group: "Figures",
    summary: "Shows what masks hold: their width in velocity at every pixel, and their pixels in every channel.",
    inputs: &[Input::new("masks", InputKind::FilesIn, "Masks of one cube."), FILE],
    options: &[OverviewOptions::PARAMS],
    defaults: defaults::<OverviewOptions>,
    returns: RETURNS,
    effects: Effects::Shows,
    examples: &[Example {
        title: "A window about the velocity field.",
        script: demo!("plot_masks([mask_velocity(g.cube, g.mom1, \"v.fits\")], \"masks.png\").figure"),
        result: "masks.png",
        tolerance: 0.0,
    }],
    check: check_options::<OverviewOptions>,
    run: plot_masks,
    ..Verb::EMPTY
};

fn plot_masks(call: &Call, work: &Work) -> Result<Value> {
    let o = call.options::<OverviewOptions>()?;
    let (mut masks, mut edges) = (Vec::new(), Vec::new());
    for (i, value) in call.list(0).iter().enumerate() {
        let path = call.readable(value)?;
        let (mask, info) = read_mask(&path, work.notice)?;
        let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let name = o.names.get(i).cloned().unwrap_or_else(|| crate::plot::text::verbatim(&stem));
        edges = channel_edges(&velocities(&info));
        masks.push(shown(&mask, &info, name)?);
    }
    if masks.is_empty() {
        return Err(Error::user("`plot_masks` needs at least one mask"));
    }
    show(call, work, 1, &MaskOverview { title: o.title, masks, edges_kms: edges })
}

fn shown(mask: &Mask, info: &CubeInfo, name: String) -> Result<MaskShown> {
    let [nc, ny, nx] = mask.shape();
    let dv = info.spectral().channel_width_kms().unwrap_or(1.0) as f32;
    let mut width = ndarray::Array2::<f32>::zeros((ny, nx));
    let mut pixels = Vec::with_capacity(nc);
    for z in 0..nc {
        for y in 0..ny {
            mask.columns(z, y).for_each(|x| width[[y, x]] += dv);
        }
        pixels.push(mask.plane_words(z).iter().map(|w| u64::from(w.count_ones())).sum());
    }
    width.mapv_inplace(|w| if w == 0.0 { f32::NAN } else { w });
    Ok(MaskShown { name, width: info.image(width, Unit::new("km/s"))?, pixels })
}

crate::options! {
    /// Options of channel maps.
    pub struct ChannelOptions {
        /// Headline.
        [""] title: String = String::new(),
        /// Number of maps; channels between are left out.
        ["1"] maps: usize = 15,
        /// Maps in a row.
        ["1"] columns: usize = 5,
        /// Noise of a voxel in the unit of the cube: the colors begin at -2 of it.
        [""] noise: Option<f64> = None,
        /// Distance, for a scale bar in pc.
        ["Mpc"] distance: Option<f64> = None,
    }
}

static PLOT_CHANNELS: Verb = Verb {
    name: "plot_channels",
    group: "Figures",
    summary: "Shows channel maps, over the channels and the sky of a mask if one is given.",
    inputs: &[Input::new("cube", InputKind::FileIn, "Cube."), FILE, Input::optional("mask", InputKind::FileIn, "Mask, drawn as contours.")],
    options: &[ChannelOptions::PARAMS],
    defaults: defaults::<ChannelOptions>,
    returns: RETURNS,
    effects: Effects::Shows,
    examples: &[Example {
        title: "Channels of the simulated galaxy.",
        script: demo!("plot_channels(g.cube, \"channels.png\", #{ maps: 6, columns: 3 }).figure"),
        result: "channels.png",
        tolerance: 0.0,
    }],
    check: check_options::<ChannelOptions>,
    run: plot_channels,
    ..Verb::EMPTY
};

fn plot_channels(call: &Call, work: &Work) -> Result<Value> {
    let o = call.options::<ChannelOptions>()?;
    let cube = cube_in(call, 0, work)?;
    let mask = mask_in(call, 2, work)?;
    let info = cube.info();
    let velocity = velocities(info);
    let used: Vec<usize> = (0..info.n_chan()).filter(|z| mask.as_ref().is_none_or(|m| m.plane_words(*z).iter().any(|w| *w != 0))).collect();
    let (first, last) = (used.first().copied().unwrap_or(0), used.last().copied().unwrap_or(info.n_chan() - 1));
    let n = o.maps.clamp(1, last - first + 1);
    let mut channels = Vec::new();
    let mut buffer = Vec::new();
    for i in 0..n {
        let z = if n == 1 { first } else { first + ((last - first) * i + (n - 1) / 2) / (n - 1) };
        let image = info.image(cube.plane(z, &mut buffer)?.to_owned(), info.unit.clone())?;
        channels.push((velocity[z], image, mask.as_ref().map(|m| m.plane(z))));
    }
    let part = match &mask {
        Some(m) => {
            let any = m.any_channel().plane(0).mapv(|b| if b { 1.0 } else { f32::NAN });
            common_box(&[&info.image(any, Unit::none())?])
        }
        None => [0, usize::MAX, 0, usize::MAX],
    };
    let figure = ChannelMaps { title: o.title, channels, columns: o.columns, noise: o.noise, part, distance_mpc: o.distance };
    show(call, work, 1, &figure)
}

crate::options! {
    /// Options of a figure of spectra.
    pub struct SpectrumFigureOptions {
        /// Headline.
        [""] title: String = String::new(),
        /// Names of the spectra in the legend.
        [""] names: Vec<String> = vec![],
    }
}

static PLOT_SPECTRUM: Verb = Verb {
    name: "plot_spectrum",
    group: "Figures",
    summary: "Shows spectra with their errors.",
    inputs: &[Input::new("spectra", InputKind::Any, "Results of `spectrum` or `stack`, one or a list."), FILE],
    options: &[SpectrumFigureOptions::PARAMS],
    defaults: defaults::<SpectrumFigureOptions>,
    returns: RETURNS,
    effects: Effects::Shows,
    examples: &[Example {
        title: "The spectrum of the simulated galaxy.",
        script: demo!("plot_spectrum(spectrum(g.cube), \"spectrum.png\").figure"),
        result: "spectrum.png",
        tolerance: 0.0,
    }],
    check: check_options::<SpectrumFigureOptions>,
    run: plot_spectrum,
    ..Verb::EMPTY
};

/// A spectrum or a stack, as the verbs return them.
#[derive(Deserialize)]
struct SpectrumRecord {
    velocity_kms: Vec<Value>,
    #[serde(alias = "mean")]
    value: Vec<Value>,
    error: Vec<Value>,
    unit: Option<String>,
}

fn floats(values: &[Value]) -> Vec<f64> {
    values.iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).collect()
}

fn plot_spectrum(call: &Call, work: &Work) -> Result<Value> {
    let o = call.options::<SpectrumFigureOptions>()?;
    let list = match &call.args[0] {
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    let mut spectra = Vec::new();
    let mut unit = None;
    for (i, value) in list.iter().enumerate() {
        let r: SpectrumRecord = serde_json::from_value(value.clone()).map_err(|_| {
            Error::user("`plot_spectrum` needs results of `spectrum` or `stack`").hint("plot_spectrum(spectrum(cube), \"spectrum.png\")")
        })?;
        let name = o.names.get(i).cloned().unwrap_or_else(|| format!("spectrum {}", i + 1));
        unit = unit.or(r.unit);
        spectra.push(SpectrumShown { name, velocity_kms: floats(&r.velocity_kms), value: floats(&r.value), error: floats(&r.error) });
    }
    if spectra.is_empty() {
        return Err(Error::user("`plot_spectrum` needs at least one spectrum"));
    }
    let unit = unit.unwrap_or_else(|| "K".into());
    let quantity = if unit.starts_with("Jy") { "Flux density" } else { "Brightness" };
    show(call, work, 1, &SpectrumFigure { title: o.title, spectra, quantity: quantity.into(), unit })
}

crate::options! {
    /// Options of a figure of a slice.
    pub struct SliceFigureOptions {
        /// Headline.
        [""] title: String = String::new(),
        /// Noise of a pixel: contours at 3, 6, 12 ... of it.
        [""] noise: Option<f64> = None,
    }
}

static PLOT_SLICE: Verb = Verb {
    name: "plot_slice",
    group: "Figures",
    summary: "Shows a position-velocity diagram.",
    inputs: &[Input::new("slice", InputKind::FileIn, "A result of `pv_slice`."), FILE],
    options: &[SliceFigureOptions::PARAMS],
    defaults: defaults::<SliceFigureOptions>,
    returns: RETURNS,
    effects: Effects::Shows,
    examples: &[Example {
        title: "Along the major axis.",
        script: demo!("plot_slice(pv_slice(g.cube, \"pv.fits\", #{ pa: `${g.pa_deg}deg` }), \"pv.png\").figure"),
        result: "pv.png",
        tolerance: 0.0,
    }],
    check: check_options::<SliceFigureOptions>,
    run: |call, work| {
        let o = call.options::<SliceFigureOptions>()?;
        let plane = read_plane(&call.path_in(0)?)?;
        let pa_deg = plane.meta.number("PVPA").unwrap_or(f64::NAN);
        show(call, work, 1, &SliceFigure { title: o.title, plane, noise: o.noise, pa_deg })
    },
    ..Verb::EMPTY
};

crate::options! {
    /// Options of a figure of a profile.
    pub struct ProfileFigureOptions {
        /// Headline.
        [""] title: String = String::new(),
        /// Logarithmic values.
        [""] log: bool = false,
    }
}

static PLOT_PROFILE: Verb = Verb {
    name: "plot_profile",
    group: "Figures",
    summary: "Shows a radial profile with its errors and the scatter of the pixels.",
    inputs: &[Input::new("profile", InputKind::Record("RadialProfile"), "A result of `radial_profile`."), FILE],
    options: &[ProfileFigureOptions::PARAMS],
    defaults: defaults::<ProfileFigureOptions>,
    returns: RETURNS,
    effects: Effects::Shows,
    examples: &[Example {
        title: "The profile of the simulated galaxy.",
        script: demo!("plot_profile(radial_profile(g.mom0), \"profile.png\").figure"),
        result: "profile.png",
        tolerance: 0.0,
    }],
    check: check_options::<ProfileFigureOptions>,
    run: |call, work| {
        let o = call.options::<ProfileFigureOptions>()?;
        let list = |key: &str| floats(call.args[0].get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice));
        let unit = call.args[0].get("unit").and_then(Value::as_str).unwrap_or_default().to_string();
        let figure = ProfileFigure {
            title: o.title,
            radius_arcsec: list("radius_arcsec"),
            mean: list("mean"),
            error: list("error"),
            scatter: list("scatter"),
            unit,
            log: o.log,
        };
        show(call, work, 1, &figure)
    },
    ..Verb::EMPTY
};

/// An image's title is what its name stands for.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_pipeline_become_titles() {
        assert_eq!(title_of("s64_2as_strict_mom1"), "Velocity (strict)");
        assert_eq!(title_of("s64_broad_etpeak12p5"), "Error: peak in 12.5 km/s (broad)");
        assert_eq!(title_of("s64_mom1wprior"), "Velocity with prior");
        assert!(title_of("my_map").contains("my"));
    }
}
