//! Numbers of an image or of a part of it.

use ndarray::Array2;
use serde_json::json;

use crate::data::Cube;
use crate::error::{Error, Result};
use crate::fits::{ReadOptions, read_cube};
use crate::imaging::{parse_regions, regions_mask, robust_noise};
use crate::options;
use crate::options::Options;
use crate::script::value::record;
use crate::script::verb::{Effects, Example, Input, InputKind, Verb, check_options, defaults};
use crate::units::ARCSEC;

options! {
    /// Which part of an image is looked at.
    pub struct StatsOptions {
        /// A region (CRTF or DS9): `annulus[[64pix, 64pix], [30pix, 60pix]]`; everything by default.
        [""] region: String = String::new(),
        /// First channel, from 0.
        ["1"] first: usize = 0,
        /// Last channel; automatic is the last of all.
        ["1"] last: Option<usize> = None,
    }
}

pub static IMAGE_STATS: Verb = Verb {
    name: "image_stats",
    group: "Imaging",
    summary: "Measures peak, flux and noise of an image, in a region and in a range of channels.",
    inputs: &[Input::new("file", InputKind::FileIn, "FITS image or cube.")],
    options: &[StatsOptions::PARAMS],
    defaults: defaults::<StatsOptions>,
    returns: "ImageStats: `peak`, `min`, `mean`, `rms`, `noise` (1.4826 times the median absolute deviation), `sum`, `flux_jy` (of Jy/beam or \
              Jy/pixel), `n_pixels`, `peak_at` (`x`, `y`, `channel`, counted from 0, and `direction`), `beam`, `unit`",
    effects: Effects::Reads,
    examples: &[Example {
        title: "The dirty image of a point source peaks at its flux.",
        script: "let s = simulate(\"demo\", #{ long: 1, short: 0, antennas: 8, integrations: 6, flux_error: 0.0, offset: \"0arcsec\", sky: [#{ flux: \"1Jy\" }] });\n\
                 let i = image(s.long, \"demo_image\", #{ spw: 0, cell: \"0.02arcsec\", npix: 128 });\nimage_stats(i.files.dirty).peak",
        result: "1",
        tolerance: 0.01,
    }],
    version: 2,
    check: check_options::<StatsOptions>,
    run: |call, work| {
        let path = call.path_in(0)?;
        let cube = read_cube(&path, &ReadOptions::default(), work.notice)?;
        measure(&cube, &call.options::<StatsOptions>()?).map_err(|e| e.at(&path))
    },
    ..Verb::EMPTY
};

fn measure(cube: &Cube, options: &StatsOptions) -> Result<serde_json::Value> {
    let info = cube.info();
    let (n_chan, ny, nx) = (info.n_chan(), info.ny(), info.nx());
    let last = options.last.unwrap_or(n_chan - 1);
    if options.first > last || last >= n_chan {
        return Err(Error::user(format!("channels {} to {last} are not among the {n_chan} of the cube", options.first))
            .hint("channels count from 0"));
    }
    let inside = if options.region.is_empty() {
        Array2::from_elem((ny, nx), true)
    } else {
        regions_mask(&parse_regions(&options.region, info.sky())?, ny, nx)?
    };
    let planes = cube.data().slice(ndarray::s![options.first..=last, .., ..]);
    let mut values: Vec<f32> = Vec::new();
    let (mut at, mut peak) = ((0, 0, 0), f32::NEG_INFINITY);
    for ((c, y, x), v) in planes.indexed_iter().filter(|((_, y, x), v)| inside[[*y, *x]] && v.is_finite()) {
        values.push(*v);
        if *v > peak {
            (at, peak) = ((c + options.first, y, x), *v);
        }
    }
    if values.is_empty() {
        return Err(Error::data("no pixel of the region has a value").hint("the region may lie in the blank part of the image"));
    }
    let n = values.len() as f64;
    let sum: f64 = values.iter().map(|v| f64::from(*v)).sum();
    let square: f64 = values.iter().map(|v| f64::from(*v).powi(2)).sum();
    let per_jy = match info.unit.as_str() {
        "Jy/beam" => info.pixels_per_beam(),
        "Jy/pixel" => Some(1.0),
        _ => None,
    };
    let direction = info.sky().sky_from_pixel(at.2 as f64, at.1 as f64).map(|d| d.to_string());
    let noise = robust_noise(values.iter());
    let fields = json!({
        "peak": peak, "min": values.iter().copied().fold(f32::INFINITY, f32::min), "mean": sum / n, "rms": (square / n).sqrt(), "noise": noise,
        "sum": sum, "flux_jy": per_jy.map(|p| sum / p), "n_pixels": values.len(), "peak_at": { "x": at.2, "y": at.1, "channel": at.0, "direction": direction },
        "beam": super::image::beam_value(info.beams().largest()), "unit": info.unit.as_str(), "cell_arcsec": info.sky().cell_rad().0 / ARCSEC,
    });
    let text = format!(
        "{} pixels: peak {peak:.4e} at ({}, {}), rms {:.4e}, noise {noise:.4e} {}",
        values.len(),
        at.2,
        at.1,
        (square / n).sqrt(),
        info.unit
    );
    record("ImageStats", text, fields)
}
