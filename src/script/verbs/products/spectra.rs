//! Spectra of regions, radial profiles, position-velocity slices, stacked spectra.

use serde_json::{Value, json};

use super::demo;
use super::files::{cube_in, image_in, mask_in, noise_in, optional_image_in, shown_number, sign};
use super::masks::{field_on, on_grid};
use crate::data::Image;
use crate::error::{Error, Result};
use crate::fits::write_plane;
use crate::options::Options;
use crate::products::{Disc, ProfileOptions, SliceOptions, SpectrumOptions, position_velocity, radial_profile, spectrum, stack};
use crate::script::value::{from_f64, record};
use crate::script::verb::{Effects, Example, Input, InputKind, Verb, check_options, check_options2, defaults, defaults2};
use crate::sky::Direction;
use crate::units::{ARCSEC, Angle};

/// The verbs of this group.
pub static VERBS: &[&Verb] = &[&SPECTRUM, &RADIAL_PROFILE, &PV_SLICE, &STACK];

/// Numbers for scripts; those that are not finite keep their names.
fn numbers(values: &[f64]) -> Value {
    values.iter().map(|v| from_f64(*v)).collect()
}

static SPECTRUM: Verb = Verb {
    name: "spectrum",
    group: "Products",
    summary: "Sums or averages the voxels of a region, channel by channel.",
    details: "The region is a mask of voxels, a mask of one channel, or everything. Errors count the pixels of a beam as one.",
    inputs: &[
        Input::new("cube", InputKind::FileIn, "Cube."),
        Input::optional("region", InputKind::FileIn, "Mask; `()` or nothing takes all."),
        Input::optional("noise", InputKind::FileIn, "Noise of the cube."),
    ],
    options: &[SpectrumOptions::PARAMS],
    defaults: defaults::<SpectrumOptions>,
    returns: "Spectrum: `velocity_kms`, `value`, `error`, `n_pixels`, `unit`, `integral`, `integral_error` (times km/s)",
    effects: Effects::Reads,
    examples: &[Example {
        title: "The flux of the model is that of its map.",
        script: demo!("let s = spectrum(g.model); s.unit"),
        result: "K arcsec2",
        tolerance: 0.0,
    }],
    check: check_options::<SpectrumOptions>,
    run: |call, work| {
        let cube = cube_in(call, 0, work)?;
        let (region, noise) = (mask_in(call, 1, work)?, noise_in(call, 2, work)?);
        let s = spectrum(cube.as_ref(), noise.as_ref(), region.as_ref(), &call.options()?, work.notice)?;
        let (sum, error) = s.integral();
        let summary = format!("{} ± {} {} km/s over {} channels", shown_number(sum), shown_number(error), s.unit, s.value.len());
        record(
            "Spectrum",
            summary,
            json!({ "velocity_kms": numbers(&s.velocity_kms), "value": numbers(&s.value), "error": numbers(&s.error),
            "n_pixels": s.n_pixels, "unit": s.unit.as_str(), "integral": from_f64(sum), "integral_error": from_f64(error) }),
        )
    },
    version: 2,
    ..Verb::EMPTY
};

crate::options! {
    /// How a disc lies on the sky.
    pub struct DiscOptions {
        /// Center with its frame, "ICRS 04h55m45.85s +30d33m03.7s"; automatic is the middle of the map.
        [""] center: Option<String> = None,
        /// Position angle of the major axis, from north to east.
        ["deg"] pa: Angle = Angle(0.0),
        /// Inclination; 0 is seen from above.
        ["deg"] inclination: Angle = Angle(0.0),
    }
}

fn disc_of(o: &DiscOptions, map: &Image) -> Result<Disc> {
    let center = match &o.center {
        Some(text) => Direction::parse(text).map_err(Error::user)?,
        None => middle(map)?,
    };
    Ok(Disc { center, pa_rad: o.pa.0, inclination_rad: o.inclination.0 })
}

fn middle(map: &Image) -> Result<Direction> {
    let at = map.sky().sky_from_pixel((map.nx() as f64 - 1.0) / 2.0, (map.ny() as f64 - 1.0) / 2.0);
    at.ok_or_else(|| Error::user("the middle of the map lies beyond the sky: give a `center`"))
}

static RADIAL_PROFILE: Verb = Verb {
    name: "radial_profile",
    group: "Products",
    summary: "Averages a map over rings of an inclined disc.",
    inputs: &[Input::new("map", InputKind::FileIn, "Map."), Input::optional("error", InputKind::FileIn, "Its error.")],
    options: &[DiscOptions::PARAMS, ProfileOptions::PARAMS],
    defaults: defaults2::<DiscOptions, ProfileOptions>,
    returns: "RadialProfile: `radius_arcsec`, `mean`, `error`, `median`, `scatter`, `n_pixels`, `filled`, `unit`",
    effects: Effects::Reads,
    examples: &[Example {
        title: "The galaxy fades outwards.",
        script: demo!("let p = radial_profile(g.mom0, #{ pa: \"34.4deg\", inclination: \"43deg\" }); p.mean[0] > p.mean[4]"),
        result: "true",
        tolerance: 0.0,
    }],
    check: check_options2::<DiscOptions, ProfileOptions>,
    run: |call, work| {
        let map = image_in(call, 0, work)?;
        let error = optional_image_in(call, 1, work)?;
        let p = radial_profile(&map, error.as_ref(), &disc_of(&call.options()?, &map)?, &call.options()?)?;
        let radius: Vec<f64> = p.radius_rad.iter().map(|r| r / ARCSEC).collect();
        let summary = format!("{} rings to {:.2} arcsec, in {}", radius.len(), radius.last().copied().unwrap_or(0.0), p.unit);
        record(
            "RadialProfile",
            summary,
            json!({ "radius_arcsec": numbers(&radius), "mean": numbers(&p.mean), "error": numbers(&p.error),
            "median": numbers(&p.median), "scatter": numbers(&p.scatter), "n_pixels": p.n_pixels, "filled": numbers(&p.filled), "unit": p.unit.as_str() }),
        )
    },
    ..Verb::EMPTY
};

crate::options! {
    /// Where a slice is centered.
    pub struct CenterOptions {
        /// Center of the slice with its frame; automatic is the middle of the image.
        [""] center: Option<String> = None,
    }
}

static PV_SLICE: Verb = Verb {
    name: "pv_slice",
    group: "Products",
    summary: "Cuts a position-velocity diagram out of a cube along a line.",
    inputs: &[Input::new("cube", InputKind::FileIn, "Cube."), Input::new("out", InputKind::FileOut, "FITS file to make.")],
    options: &[CenterOptions::PARAMS, SliceOptions::PARAMS],
    defaults: defaults2::<CenterOptions, SliceOptions>,
    returns: "Slice: `path`, `shape` (channels, steps), `pa_deg`, `unit`",
    effects: Effects::Writes,
    examples: &[Example {
        title: "All channels along the major axis.",
        script: demo!("pv_slice(g.cube, \"pv.fits\", #{ pa: \"34.4deg\" }).shape[0]"),
        result: "40",
        tolerance: 0.0,
    }],
    check: check_options2::<CenterOptions, SliceOptions>,
    run: |call, work| {
        let cube = cube_in(call, 0, work)?;
        let info = cube.info();
        let center = match &call.options::<CenterOptions>()?.center {
            Some(text) => Direction::parse(text).map_err(Error::user)?,
            None => info
                .sky()
                .sky_from_pixel((info.nx() as f64 - 1.0) / 2.0, (info.ny() as f64 - 1.0) / 2.0)
                .ok_or_else(|| Error::user("the middle of the image lies beyond the sky: give a `center`"))?,
        };
        let options = call.options::<SliceOptions>()?;
        let mut plane = position_velocity(cube.as_ref(), center, &options, work.notice)?;
        sign(&mut plane.meta, call, work);
        let path = call.path_out(1)?;
        write_plane(&path, &plane, true)?;
        let shown = call.context.sandbox.show(&path);
        let (n_chan, n) = plane.data().dim();
        let pa = options.pa.0.to_degrees();
        let summary = format!("{shown}: {n} steps x {n_chan} channels at {pa:.1} deg");
        record("Slice", summary, json!({ "path": shown, "shape": [n_chan, n], "pa_deg": pa, "unit": plane.unit.as_str() }))
    },
    ..Verb::EMPTY
};

static STACK: Verb = Verb {
    name: "stack",
    group: "Products",
    summary: "Averages spectra moved to the velocity of their pixels, one for each label.",
    details: "`labels` is a map whose values, rounded, name groups of pixels; without it all pixels with a velocity are one group. Errors count the pixels of a beam as one.",
    inputs: &[
        Input::new("cube", InputKind::FileIn, "Cube."),
        Input::new("field", InputKind::FileIn, "Velocity field in km/s."),
        Input::optional("labels", InputKind::FileIn, "Map of labels."),
        Input::optional("noise", InputKind::FileIn, "Noise of the cube."),
    ],
    returns: "A list of StackedSpectrum: `label`, `n_pixels`, `velocity_kms`, `mean`, `error`",
    effects: Effects::Reads,
    examples: &[Example {
        title: "The stacked line peaks at 0 km/s.",
        script: demo!(
            "let s = stack(g.cube, g.mom1)[0]; let k = 0; for i in 0..40 { if s.mean[i] > s.mean[k] { k = i; } } s.velocity_kms[k]"
        ),
        result: "0",
        tolerance: 1e-6,
    }],
    run: |call, work| {
        let cube = cube_in(call, 0, work)?;
        let field = field_on(call, 1, cube.as_ref(), work)?;
        let labels = match optional_image_in(call, 2, work)? {
            Some(labels) => on_grid(labels, &field)?,
            None => field.with_data(field.data().mapv(|v| if v.is_finite() { 1.0 } else { f32::NAN }), crate::data::Unit::none())?,
        };
        let noise = noise_in(call, 3, work)?;
        let stacks = stack(cube.as_ref(), &field, &labels, None, noise.as_ref(), work.notice)?;
        stacks
            .iter()
            .map(|s| {
                let summary = format!("label {}: {} pixels", s.label, s.n_pixels);
                record(
                    "StackedSpectrum",
                    summary,
                    json!({ "label": s.label, "n_pixels": s.n_pixels, "velocity_kms": numbers(&s.velocity_kms),
                    "mean": numbers(&s.mean), "error": numbers(&s.error) }),
                )
            })
            .collect::<Result<Vec<Value>>>()
            .map(Value::Array)
    },
    ..Verb::EMPTY
};
