//! Maps with errors, velocity fields, shuffled cubes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use super::demo;
use super::files::{cube_in, cube_record, image_in, image_record, noise_in, optional_image_in, put_image, read_mask, sign};
use super::masks::{field_on, on_grid};
use crate::data::{Image, Mask};
use crate::error::{Error, Result};
use crate::fits::{CubeWriter, write_image};
use crate::options::{Options, nearest};
use crate::products::{
    HybridOptions, KeyedMask, MOMENT_KEY, MapKind, MapOptions, MapRequest, VelocityMaps, channel_correlation, compare_maps, maps,
    mom1_with_prior, shuffle_into, shuffled_info, velocity_field, velocity_gradient,
};
use crate::script::value::record;
use crate::script::verb::{Call, Effects, Example, Input, InputKind, Verb, Work, check_options, defaults, path_text};
use crate::units::{ARCSEC, Velocity};

/// The verbs of this group.
pub static VERBS: &[&Verb] =
    &[&MOMENT_KEY_VERB, &MAPS, &CHANNEL_CORRELATION, &MOM1_WITH_PRIOR, &VELOCITY_FIELD, &SHUFFLE, &VELOCITY_GRADIENT, &COMPARE_MAPS];

static MOMENT_KEY_VERB: Verb = Verb {
    name: "moment_key",
    group: "Products",
    summary: "Lists the maps that PHANGS-ALMA ships, with their file names, for the masks given.",
    details: "`strict`: mom0, mom1, mom2, ew, vpeak, vquad; `broad`: mom0, mom1, tpeak, tpeak in 12.5 km/s; `flatstrict`, `flatbroad`: mom0. \
              Names are `ROOT_strict_mom0.fits`, its error `ROOT_strict_emom0.fits`, and so on.",
    inputs: &[
        Input::new("root", InputKind::Text, "Beginning of the file names, with folder."),
        Input::new("masks", InputKind::FilesIn, "Map of masks: any of `strict`, `broad`, `flatstrict`, `flatbroad`."),
    ],
    returns: "A list for `maps`: `map`, `mask`, `window`, `out`, `error`",
    effects: Effects::Glue,
    examples: &[Example {
        title: "The maps of a broad mask.",
        script: "moment_key(\"products/ngc1637\", #{ broad: \"broad.fits\" })[0].out",
        result: "products/ngc1637_broad_mom0.fits",
        tolerance: 0.0,
    }],
    see: "Leroy et al. 2021, ApJS 255, 19, section 7.4",
    run: moment_key,
    ..Verb::EMPTY
};

const MASKS: [KeyedMask; 4] = [KeyedMask::Strict, KeyedMask::Broad, KeyedMask::FlatStrict, KeyedMask::FlatBroad];

fn moment_key(call: &Call, _: &Work) -> Result<Value> {
    let given = call.args[1].as_object().cloned().unwrap_or_default();
    if let Some(name) = given.keys().find(|k| !MASKS.iter().any(|m| m.name() == *k)) {
        let near = nearest(name, MASKS.map(KeyedMask::name)).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
        return Err(Error::user(format!("the moment key has no mask `{name}`{near}")).hint("it has: strict, broad, flatstrict, flatbroad"));
    }
    let root = call.text(0)?;
    let of = MOMENT_KEY.iter().filter_map(|m| {
        let mask = path_text(given.get(m.mask.name())?)?;
        let window = m.window.map(|w| w.to_string());
        Some(json!({ "map": m.kind.name(), "mask": mask, "window": window, "out": format!("{root}_{}.fits", m.value_name()),
                     "error": format!("{root}_{}.fits", m.error_name()) }))
    });
    Ok(Value::Array(of.collect()))
}

static MAPS: Verb = Verb {
    name: "maps",
    group: "Products",
    summary: "Makes maps of a cube with their errors, all in one pass over it.",
    details: "Each map is #{ map, mask, window, out, error }: `map` is mom0, mom1, mom2, ew, tpeak, vpeak or vquad; `mask` a mask or `()`; `window` a running mean \
              along the spectrum before the peak is looked for; `error` may be left out. Errors are those of the noise in a mask that is given; with `correlation` \
              neighbouring channels count as correlated. Each error map says in its header where its formula holds (vpeak: approximate, within 12 %). A \
              mask found in the same cube loses wings of lines, which no error counts: 15 % of the flux at a peak of 5 sigma, 6 % at 10, 1 % at 50.",
    inputs: &[
        Input::new("cube", InputKind::FileIn, "Cube."),
        Input::new("requests", InputKind::Maps, "Maps to make; `moment_key` lists those of PHANGS-ALMA."),
        Input::optional("noise", InputKind::FileIn, "Noise of the cube; without it errors are blank."),
    ],
    options: &[MapOptions::PARAMS],
    defaults: defaults::<MapOptions>,
    returns: "A list of Image, each with `path`, `error`, `map`, `shape`, `unit`, `n_known`, `min`, `max`",
    effects: Effects::Writes,
    examples: &[
        Example {
            title: "Integrated intensity of everything.",
            script: demo!("maps(g.cube, [#{ map: \"mom0\", out: \"mom0.fits\" }])[0].unit"),
            result: "K km s-1",
            tolerance: 0.0,
        },
        Example {
            title: "A map that does not exist.",
            script: demo!("maps(g.cube, [#{ map: \"mom3\", out: \"mom3.fits\" }])"),
            result: "error: there is no map `mom3`; did you mean `mom0`?",
            tolerance: 0.0,
        },
    ],
    see: "Leroy et al. 2021, ApJS 255, 19, section 7.4",
    check: check_options::<MapOptions>,
    run: run_maps,
    version: 2,
    ..Verb::EMPTY
};

/// One map as scripts ask for it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    map: String,
    #[serde(default)]
    mask: Value,
    #[serde(default)]
    window: Option<Velocity>,
    out: String,
    #[serde(default)]
    error: Option<String>,
}

impl Asked {
    fn kind(&self) -> Result<MapKind> {
        MapKind::from_name(&self.map).ok_or_else(|| {
            let names = MapKind::ALL.map(MapKind::name);
            let near = nearest(&self.map, names).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
            Error::user(format!("there is no map `{}`{near}", self.map)).hint(format!("there are: {}", names.join(", ")))
        })
    }
}

fn run_maps(call: &Call, work: &Work) -> Result<Value> {
    let wrong = |e: serde_json::Error| {
        Error::user(format!("a map is asked for wrongly: {e}"))
            .hint("write #{ map: \"mom0\", mask: mask, out: \"mom0.fits\", error: \"emom0.fits\" }")
    };
    let asked: Vec<Asked> = call.list(1).iter().map(|v| serde_json::from_value(v.clone()).map_err(wrong)).collect::<Result<_>>()?;
    let kinds: Vec<MapKind> = asked.iter().map(Asked::kind).collect::<Result<_>>()?;
    let cube = cube_in(call, 0, work)?;
    let noise = noise_in(call, 2, work)?;
    // A mask that several maps share is read once.
    let mut masks: BTreeMap<PathBuf, Mask> = BTreeMap::new();
    let mut mask_of: Vec<Option<PathBuf>> = Vec::new();
    for a in &asked {
        let path = if a.mask.is_null() { None } else { Some(call.readable(&a.mask)?) };
        if let Some(p) = path.as_ref().filter(|p| !masks.contains_key(*p)) {
            masks.insert(p.clone(), read_mask(p, work.notice)?.0);
        }
        mask_of.push(path);
    }
    let requests: Vec<MapRequest<'_>> = asked
        .iter()
        .zip(&kinds)
        .zip(&mask_of)
        .map(|((a, kind), mask)| MapRequest { kind: *kind, mask: mask.as_ref().and_then(|p| masks.get(p)), window: a.window })
        .collect();
    let found = maps(cube.as_ref(), noise.as_ref(), &requests, &call.options()?, work.notice)?;
    let mut out = Vec::new();
    for (a, m) in asked.iter().zip(found) {
        let path = call.context.sandbox.writable(&a.out)?;
        let mut value = put_image(call, work, &path, &m.value)?;
        value["map"] = a.map.as_str().into();
        if let Some(error) = &a.error {
            let path = call.context.sandbox.writable(error)?;
            put_image(call, work, &path, &m.error)?;
            value["error"] = call.context.sandbox.show(&path).into();
        }
        out.push(value);
    }
    Ok(Value::Array(out))
}

crate::options! {
    /// Options of `channel_correlation`.
    pub struct CorrelationOptions {
        /// Largest distance in channels.
        ["1"] max_lag: usize = 5,
    }
}

static CHANNEL_CORRELATION: Verb = Verb {
    name: "channel_correlation",
    group: "Products",
    summary: "Measures how much the noise of neighbouring channels is alike, for the option `correlation` of `maps`.",
    inputs: &[
        Input::new("cube", InputKind::FileIn, "Cube."),
        Input::new("noise", InputKind::FileIn, "Its noise."),
        Input::optional("exclude", InputKind::FileIn, "Mask of emission."),
    ],
    options: &[CorrelationOptions::PARAMS],
    defaults: defaults::<CorrelationOptions>,
    returns: "A list: the correlation of channels 1, 2, ... apart",
    effects: Effects::Reads,
    examples: &[Example {
        title: "Channels of the simulated galaxy are independent.",
        script: "let g = simulate_galaxy(\"demo\", #{ pixels: 48, peak: 0 }); let n = noise(g.cube, \"n.fits\"); channel_correlation(g.cube, n)[0]",
        result: "0",
        tolerance: 0.03,
    }],
    check: check_options::<CorrelationOptions>,
    run: |call, work| {
        let cube = cube_in(call, 0, work)?;
        let noise = noise_in(call, 1, work)?.ok_or_else(|| Error::user("`channel_correlation` needs the noise of the cube"))?;
        let exclude = super::files::mask_in(call, 2, work)?;
        let lag = call.options::<CorrelationOptions>()?.max_lag;
        Ok(json!(channel_correlation(cube.as_ref(), &noise, exclude.as_ref(), lag, work.notice)?))
    },
    ..Verb::EMPTY
};

static MOM1_WITH_PRIOR: Verb = Verb {
    name: "mom1_with_prior",
    group: "Products",
    summary: "Completes the mean velocity of the strict mask by that of the broad mask where it is detected and near a prior.",
    details: "Maps on another grid than `strict` are interpolated.",
    inputs: &[
        Input::new(
            "maps",
            InputKind::FilesIn,
            "Map of files: `strict`, `strict_error`, `broad`, `broad_error` (mean velocities), `mom0`, `mom0_error` (broad), `prior`.",
        ),
        Input::new("out", InputKind::FileOut, "Map to make."),
        Input::new("error", InputKind::FileOut, "Its error."),
    ],
    options: &[HybridOptions::PARAMS],
    defaults: defaults::<HybridOptions>,
    returns: "Image",
    effects: Effects::Writes,
    examples: &[Example {
        title: "The truth as the only map is itself.",
        script: demo!(
            "let m = g.mom1; mom1_with_prior(#{ strict: m, strict_error: m, broad: m, broad_error: m, mom0: m, mom0_error: m, prior: m }, \"v.fits\", \"ev.fits\").n_known"
        ),
        result: "2304",
        tolerance: 0.0,
    }],
    see: "Leroy et al. 2021, ApJS 255, 19, section 7.4",
    check: check_options::<HybridOptions>,
    run: run_hybrid,
    ..Verb::EMPTY
};

fn run_hybrid(call: &Call, work: &Work) -> Result<Value> {
    const NAMES: [&str; 7] = ["strict", "strict_error", "broad", "broad_error", "mom0", "mom0_error", "prior"];
    let read = |name: &str| -> Result<Image> {
        let value = call.args[0].get(name).ok_or_else(|| {
            Error::user(format!("`mom1_with_prior` needs `{name}` among its maps")).hint(format!("it needs {}", NAMES.join(", ")))
        })?;
        super::files::open_image(&call.readable(value)?, &Default::default(), work.notice)
    };
    let strict = read(NAMES[0])?;
    let on = |name: &str| -> Result<Image> { on_grid(read(name)?, &strict) };
    let (se, b, be, m0, e0, prior) = (on(NAMES[1])?, on(NAMES[2])?, on(NAMES[3])?, on(NAMES[4])?, on(NAMES[5])?, on(NAMES[6])?);
    let all = VelocityMaps { strict: (&strict, &se), broad: (&b, &be), broad_mom0: (&m0, &e0), prior: &prior };
    let (value, error) = mom1_with_prior(&all, &call.options()?)?;
    put_image(call, work, &call.path_out(2)?, &error)?;
    put_image(call, work, &call.path_out(1)?, &value)
}

static VELOCITY_FIELD: Verb = Verb {
    name: "velocity_field",
    group: "Products",
    summary: "Joins velocity maps on the grid of the first: each fills what is still blank.",
    inputs: &[
        Input::new("maps", InputKind::FilesIn, "Maps in the order of preference."),
        Input::new("out", InputKind::FileOut, "Map to make."),
    ],
    returns: "Image",
    effects: Effects::Writes,
    examples: &[Example {
        title: "A single map stays as it is.",
        script: demo!("velocity_field([g.mom1], \"v.fits\").n_known"),
        result: "2304",
        tolerance: 0.0,
    }],
    run: |call, work| {
        let mut all: Vec<Image> = Vec::new();
        for value in call.list(0) {
            let image = super::files::open_image(&call.readable(value)?, &Default::default(), work.notice)?;
            let image = match all.first() {
                Some(first) => on_grid(image, first)?,
                None => image,
            };
            all.push(image);
        }
        let field = velocity_field(&all.iter().collect::<Vec<_>>())?;
        let path = call.path_out(1)?;
        let mut field = field;
        sign(&mut field.meta, call, work);
        write_image(&path, &field, true)?;
        image_record(call, &path, &field)
    },
    ..Verb::EMPTY
};

static SHUFFLE: Verb = Verb {
    name: "shuffle",
    group: "Products",
    summary: "Moves the spectrum of every pixel so that a velocity field lies at 0 km/s.",
    details: "By the Fourier shift theorem, so also by parts of a channel. Channels that wrap around and pixels without a velocity are blank.",
    inputs: &[
        Input::new("cube", InputKind::FileIn, "Cube."),
        Input::new("field", InputKind::FileIn, "Velocity field in km/s."),
        Input::new("out", InputKind::FileOut, "Cube to make."),
    ],
    returns: "Cube",
    effects: Effects::Writes,
    examples: &[Example {
        title: "The middle channel is at 0 km/s.",
        script: demo!("let s = shuffle(g.cube, g.mom1, \"s.fits\"); s.velocity_kms[0] + 20 * 8.0"),
        result: "0",
        tolerance: 1e-6,
    }],
    run: |call, work| {
        let cube = cube_in(call, 0, work)?;
        let field = field_on(call, 1, cube.as_ref(), work)?;
        let mut info = shuffled_info(cube.info())?;
        sign(&mut info.meta, call, work);
        let path = call.path_out(2)?;
        let mut writer = CubeWriter::create(&path, &info, true)?;
        shuffle_into(cube.as_ref(), &field, &mut writer, work.notice)?;
        writer.finish()?;
        cube_record(call, &path, &info)
    },
    ..Verb::EMPTY
};

static VELOCITY_GRADIENT: Verb = Verb {
    name: "velocity_gradient",
    group: "Products",
    summary: "Fits a plane to a velocity field: its direction is near the kinematic major axis.",
    details: "Weighted by an intensity if given, whose centroid is then the center; else every pixel counts the same.",
    inputs: &[
        Input::new("field", InputKind::FileIn, "Velocity field."),
        Input::optional("weight", InputKind::FileIn, "Integrated intensity."),
    ],
    returns: "VelocityGradient: `pa_deg` (of the receding side, north to east), `gradient_kms_arcsec`, `velocity_kms` (at the center), `center`",
    effects: Effects::Reads,
    examples: &[Example {
        title: "The position angle of the simulated disc.",
        script: demo!("velocity_gradient(g.mom1, g.mom0).pa_deg - g.pa_deg"),
        result: "0",
        tolerance: 3.0,
    }],
    run: |call, work| {
        let field = image_in(call, 0, work)?;
        let weight = optional_image_in(call, 1, work)?.map(|w| on_grid(w, &field)).transpose()?;
        let g = velocity_gradient(&field, weight.as_ref())?;
        let (pa, slope) = (g.pa_rad.to_degrees(), g.per_rad * ARCSEC);
        let summary = format!("receding side at {pa:.1} deg, {slope:.3} km/s/arcsec, {:.2} km/s at {}", g.velocity_kms, g.center);
        record(
            "VelocityGradient",
            summary,
            json!({ "pa_deg": pa, "gradient_kms_arcsec": slope, "velocity_kms": g.velocity_kms, "center": g.center.to_string() }),
        )
    },
    ..Verb::EMPTY
};

static COMPARE_MAPS: Verb = Verb {
    name: "compare_maps",
    group: "Products",
    summary: "Compares a map with another, in units of its error if that is given.",
    inputs: &[
        Input::new("map", InputKind::FileIn, "Map."),
        Input::new("other", InputKind::FileIn, "Map to compare it with, for example the truth."),
        Input::optional("error", InputKind::FileIn, "Error of the map."),
    ],
    options: &[CompareOptions::PARAMS],
    defaults: defaults::<CompareOptions>,
    returns: "MapComparison: `n` (pixels in both), `median_difference`, `rms_difference`, `median_ratio`, and with an error `median_pull`, `scatter` (1.48 times the median of |difference/error - median|)",
    effects: Effects::Reads,
    examples: &[Example {
        title: "A map with itself.",
        script: demo!("compare_maps(g.mom0, g.mom0).rms_difference"),
        result: "0",
        tolerance: 0.0,
    }],
    check: check_options::<CompareOptions>,
    run: |call, work| {
        let map = image_in(call, 0, work)?;
        let other = on_grid(image_in(call, 1, work)?, &map)?;
        let error = optional_image_in(call, 2, work)?;
        let c = compare_maps(&map, &other, error.as_ref(), call.options::<CompareOptions>()?.min_snr)?;
        let pull = if error.is_some() { format!(", ({:.3} ± {:.3}) errors", c.median_pull, c.scatter) } else { String::new() };
        let summary = format!(
            "{} pixels: median difference {:.4}, rms {:.4}, median ratio {:.4}{pull}",
            c.n, c.median_difference, c.rms_difference, c.median_ratio
        );
        record("MapComparison", summary, &c)
    },
    ..Verb::EMPTY
};

crate::options! {
    /// Which pixels are compared.
    pub struct CompareOptions {
        /// Only pixels where the other map is at least this many errors.
        ["1"] min_snr: f64 = 0.0,
    }
}
