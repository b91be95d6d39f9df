//! Cubes on other grids and in other units.

use serde_json::Value;

use super::demo;
use super::files::{cube_in, cube_record, image_in, open_cube, put_cube, put_image, sign, write_stream};
use crate::data::{CubeSource, Unit};
use crate::error::{Error, Result};
use crate::fits::{ReadOptions, is_cube};
use crate::ms::is_casa_image;
use crate::options::Options;
use crate::products::{
    InUnit, ReprojectOptions, SpectralSmoothOptions, UnitOptions, convert_image, downsample, reproject_cube, reproject_image,
    slab_of_velocities, spectral_smooth,
};
use crate::script::verb::{Call, Effects, Example, Input, InputKind, Verb, Work, check_options, defaults};
use crate::sky::Direction;
use crate::units::{Angle, Frequency, Velocity};

/// The verbs of this group.
pub static VERBS: &[&Verb] = &[&TO_UNIT, &MAP_TO_UNIT, &CUTOUT, &DOWNSAMPLE, &REPROJECT, &REPROJECT_MAP, &SMOOTH_SPECTRA, &REST_FREQUENCY];

const CUBE: Input = Input::new("cube", InputKind::FileIn, "Cube.");
const OUT: Input = Input::new("out", InputKind::FileOut, "Cube to make.");

static TO_UNIT: Verb = Verb {
    name: "to_unit",
    group: "Products",
    summary: "Writes a cube in another brightness unit: K, mK, Jy/beam, mJy/beam, Jy/pixel, Jy/sr, MJy/sr.",
    details: "Between flux and temperature by T = c² S / (2 k ν² Ω), with the frequency and beam of each channel unless `frequency` says otherwise.",
    inputs: &[CUBE, Input::new("unit", InputKind::Text, "Unit."), OUT],
    options: &[UnitOptions::PARAMS],
    defaults: defaults::<UnitOptions>,
    returns: "Cube: `path` and the fields of `cube_info`",
    effects: Effects::Writes,
    examples: &[
        Example {
            title: "From K to Jy/beam.",
            script: demo!("to_unit(g.cube, \"Jy/beam\", \"jy.fits\").unit"),
            result: "Jy/beam",
            tolerance: 0.0,
        },
        Example {
            title: "A unit that is no brightness.",
            script: demo!("to_unit(g.cube, \"km/s\", \"x.fits\")"),
            result: "error: the unit is \"km s-1\"; unit conversion needs K",
            tolerance: 0.0,
        },
    ],
    check: check_options::<UnitOptions>,
    run: |call, work| {
        let cube = cube_in(call, 0, work)?;
        let seen = InUnit::new(cube.as_ref(), &Unit::new(call.text(1)?), &call.options()?)?;
        let mut info = seen.info().clone();
        sign(&mut info.meta, call, work);
        let path = call.path_out(2)?;
        write_stream(&path, &seen, &info, work.notice)?;
        cube_record(call, &path, &info)
    },
    ..Verb::EMPTY
};

crate::options! {
    /// Options of `map_to_unit`.
    pub struct MapUnitOptions {
        /// Frequency at which flux becomes temperature; automatic is the rest frequency in the header.
        ["GHz"] freq: Option<Frequency> = None,
    }
}

static MAP_TO_UNIT: Verb = Verb {
    name: "map_to_unit",
    group: "Products",
    summary: "Writes a map in another brightness unit.",
    inputs: &[
        Input::new("map", InputKind::FileIn, "Map."),
        Input::new("unit", InputKind::Text, "Unit."),
        Input::new("out", InputKind::FileOut, "Map to make."),
    ],
    options: &[MapUnitOptions::PARAMS],
    defaults: defaults::<MapUnitOptions>,
    returns: "Image",
    effects: Effects::Writes,
    examples: &[Example {
        title: "A peak map in mK.",
        script: demo!("let t = maps(g.model, [#{ map: \"tpeak\", out: \"t.fits\" }])[0]; map_to_unit(t, \"mK\", \"mk.fits\").max / t.max"),
        result: "1000",
        tolerance: 1e-2,
    }],
    check: check_options::<MapUnitOptions>,
    run: |call, work| {
        let image = image_in(call, 0, work)?;
        let freq = call.options::<MapUnitOptions>()?.freq.map(|f| f.0);
        put_image(call, work, &call.path_out(2)?, &convert_image(&image, &Unit::new(call.text(1)?), freq, &UnitOptions::default())?)
    },
    ..Verb::EMPTY
};

crate::options! {
    /// The part of a cube to keep.
    pub struct CutoutOptions {
        /// First and last velocity.
        ["km/s"] velocity: Option<[Velocity; 2]> = None,
        /// First and last channel, from 0.
        ["1"] channels: Option<[usize; 2]> = None,
        /// Center of the part on the sky, for example "01h36m41.7s +15d47m01s"; automatic is the middle of the image.
        [""] center: Option<String> = None,
        /// Width and height on the sky.
        ["arcsec"] size: Option<[Angle; 2]> = None,
        /// Cut off rows, columns and channels at the edges that are blank throughout.
        [""] trim: bool = false,
    }
}

static CUTOUT: Verb = Verb {
    name: "cutout",
    group: "Products",
    summary: "Writes a part of a cube: channels or velocities, a box on the sky, or what is not blank.",
    inputs: &[CUBE, OUT],
    options: &[CutoutOptions::PARAMS],
    defaults: defaults::<CutoutOptions>,
    returns: "Cube",
    effects: Effects::Writes,
    examples: &[
        Example {
            title: "A spectral slab.",
            script: demo!("cutout(g.cube, \"slab.fits\", #{ velocity: [\"1476km/s\", \"1524km/s\"] }).shape[0]"),
            result: "7",
            tolerance: 0.0,
        },
        Example {
            title: "A slab beyond the cube.",
            script: demo!("cutout(g.cube, \"slab.fits\", #{ velocity: [\"0km/s\", \"50km/s\"] })"),
            result: "error: no channel between 0 and 50 km/s; the cube covers 1340.000 to 1652.000 km/s",
            tolerance: 0.0,
        },
    ],
    check: check_options::<CutoutOptions>,
    run: run_cutout,
    ..Verb::EMPTY
};

fn run_cutout(call: &Call, work: &Work) -> Result<Value> {
    let o = call.options::<CutoutOptions>()?;
    let cube = cube_in(call, 0, work)?;
    let info = cube.info();
    let [nc, ny, nx] = info.shape();
    let chan = match (o.velocity, o.channels) {
        (Some(_), Some(_)) => return Err(Error::user("`cutout` takes `velocity` or `channels`, not both")),
        (Some([a, b]), None) => slab_of_velocities(info, a.0, b.0)?,
        (None, Some([a, b])) => a..b.saturating_add(1),
        (None, None) => 0..nc,
    };
    let (mut y, mut x) = (0..ny, 0..nx);
    if let Some([width, height]) = o.size {
        let middle = ((nx as f64 - 1.0) / 2.0, (ny as f64 - 1.0) / 2.0);
        let at = match &o.center {
            None => middle,
            Some(text) => pixel_of(info, text)?,
        };
        let (cell_x, cell_y) = info.sky().cell_rad();
        x = around(at.0, width.0 / cell_x, nx, "columns")?;
        y = around(at.1, height.0 / cell_y, ny, "rows")?;
    } else if o.center.is_some() {
        return Err(Error::user("`cutout` with a `center` needs a `size`").hint("size: [\"20arcsec\", \"20arcsec\"]"));
    }
    let mut part = crate::data::Cube::new(info.cut(chan.clone(), y.clone(), x.clone())?, {
        let mut buffer = Vec::new();
        let block = cube.block(chan.clone(), y.clone(), &mut buffer)?;
        block.slice(ndarray::s![.., .., x.clone()]).to_owned()
    })?;
    if o.trim {
        part = trimmed(&part)?;
    }
    put_cube(call, work, &call.path_out(1)?, part)
}

/// The pixel of a direction given as text.
pub fn pixel_of(info: &crate::data::CubeInfo, text: &str) -> Result<(f64, f64)> {
    let direction = Direction::parse(text).map_err(Error::user)?;
    let pixel = direction.in_frame(info.sky().frame()).and_then(|d| info.sky().pixel_from_sky(d));
    pixel.ok_or_else(|| Error::user(format!("{direction} has no place on the grid of the cube")))
}

/// The pixels of an axis within a width about a place, cut at its ends.
fn around(at: f64, width: f64, n: usize, axis: &str) -> Result<std::ops::Range<usize>> {
    let (a, b) = ((at - width / 2.0).round().max(0.0), (at + width / 2.0).round().min(n as f64 - 1.0));
    if !(b >= a) {
        return Err(Error::user(format!(
            "the box lies outside the image: {axis} {:.1} to {:.1} of 0 to {}",
            at - width / 2.0,
            at + width / 2.0,
            n - 1
        )));
    }
    Ok(a as usize..b as usize + 1)
}

/// A cube without the blank borders.
fn trimmed(cube: &crate::data::Cube) -> Result<crate::data::Cube> {
    let mut lo = [usize::MAX; 3];
    let mut hi = [0; 3];
    for ((z, y, x), v) in cube.data().indexed_iter() {
        if v.is_finite() {
            for (i, at) in [z, y, x].into_iter().enumerate() {
                lo[i] = lo[i].min(at);
                hi[i] = hi[i].max(at + 1);
            }
        }
    }
    if lo[0] == usize::MAX {
        return Err(Error::data("the cube is blank throughout: nothing is left after trimming"));
    }
    cube.cutout(lo[0]..hi[0], lo[1]..hi[1], lo[2]..hi[2])
}

crate::options! {
    /// By how much a cube is averaged.
    pub struct DownsampleOptions {
        /// Pixels of a side of the blocks on the sky.
        ["1"] sky: usize = 2,
        /// Channels of a block.
        ["1"] channels: usize = 1,
    }
}

static DOWNSAMPLE: Verb = Verb {
    name: "downsample",
    group: "Products",
    summary: "Averages a cube over blocks of pixels and channels.",
    inputs: &[CUBE, OUT],
    options: &[DownsampleOptions::PARAMS],
    defaults: defaults::<DownsampleOptions>,
    returns: "Cube",
    effects: Effects::Writes,
    examples: &[Example {
        title: "Half the pixels, a quarter of the channels.",
        script: demo!("downsample(g.cube, \"d.fits\", #{ sky: 2, channels: 4 }).shape.to_string()"),
        result: "[10, 24, 24]",
        tolerance: 0.0,
    }],
    check: check_options::<DownsampleOptions>,
    run: |call, work| {
        let o = call.options::<DownsampleOptions>()?;
        let out = downsample(cube_in(call, 0, work)?.as_ref(), o.sky, o.channels, work.notice)?;
        put_cube(call, work, &call.path_out(1)?, out)
    },
    ..Verb::EMPTY
};

static REPROJECT: Verb = Verb {
    name: "reproject",
    group: "Products",
    summary: "Puts a cube on the grid of another: sky and channels.",
    details: "Frames, projections and velocity definitions may differ. Values are interpolated: convolve first where the new pixels are coarser than the beam.",
    inputs: &[
        CUBE,
        Input::new("template", InputKind::FileIn, "Cube or map whose grid to take; a map leaves the channels as they are."),
        OUT,
    ],
    options: &[ReprojectOptions::PARAMS],
    defaults: defaults::<ReprojectOptions>,
    returns: "Cube",
    effects: Effects::Writes,
    examples: &[Example {
        title: "Onto a part of itself.",
        script: demo!(
            "let c = cutout(g.cube, \"c.fits\", #{ size: [\"24arcsec\", \"24arcsec\"], channels: [10, 19] }); reproject(g.cube, c, \"r.fits\").shape[0]"
        ),
        result: "10",
        tolerance: 0.0,
    }],
    check: check_options::<ReprojectOptions>,
    run: |call, work| {
        let cube = cube_in(call, 0, work)?;
        let path = call.path_in(1)?;
        let as_cube = is_casa_image(&path) || is_cube(&path, &ReadOptions::default(), work.notice)?;
        let target = if as_cube {
            open_cube(&path, &ReadOptions::default(), work.notice)?.info().clone()
        } else {
            let map = image_in(call, 1, work)?;
            crate::data::CubeInfo::new(map.sky().clone(), cube.info().spectral().clone(), map.ny(), map.nx(), cube.info().unit.clone())?
        };
        put_cube(call, work, &call.path_out(2)?, reproject_cube(cube.as_ref(), &target, &call.options()?, work.notice)?)
    },
    ..Verb::EMPTY
};

static REPROJECT_MAP: Verb = Verb {
    name: "reproject_map",
    group: "Products",
    summary: "Puts a map on the grid of another map.",
    inputs: &[
        Input::new("map", InputKind::FileIn, "Map."),
        Input::new("template", InputKind::FileIn, "Map whose grid to take."),
        Input::new("out", InputKind::FileOut, "Map to make."),
    ],
    options: &[ReprojectOptions::PARAMS],
    defaults: defaults::<ReprojectOptions>,
    returns: "Image",
    effects: Effects::Writes,
    examples: &[Example {
        title: "Onto the same grid.",
        script: demo!("reproject_map(g.mom0, g.mom1, \"r.fits\").n_known"),
        result: "2304",
        tolerance: 0.0,
    }],
    check: check_options::<ReprojectOptions>,
    run: |call, work| {
        let (map, template) = (image_in(call, 0, work)?, image_in(call, 1, work)?);
        let out = reproject_image(&map, template.sky(), [template.ny(), template.nx()], &call.options()?)?;
        put_image(call, work, &call.path_out(2)?, &out)
    },
    ..Verb::EMPTY
};

static SMOOTH_SPECTRA: Verb = Verb {
    name: "smooth_spectra",
    group: "Products",
    summary: "Smooths a cube along its spectral axis.",
    inputs: &[CUBE, OUT],
    options: &[SpectralSmoothOptions::PARAMS],
    defaults: defaults::<SpectralSmoothOptions>,
    returns: "Cube",
    effects: Effects::Writes,
    examples: &[Example {
        title: "Boxes of two channels, every second kept.",
        script: demo!("smooth_spectra(g.cube, \"s.fits\", #{ width: \"16km/s\", keep_every: 2 }).channel_kms"),
        result: "16",
        tolerance: 1e-6,
    }],
    check: check_options::<SpectralSmoothOptions>,
    run: |call, work| {
        let out = spectral_smooth(cube_in(call, 0, work)?.as_ref(), &call.options()?, work.notice)?;
        put_cube(call, work, &call.path_out(1)?, out)
    },
    ..Verb::EMPTY
};

static REST_FREQUENCY: Verb = Verb {
    name: "rest_frequency",
    group: "Products",
    summary: "Writes a cube whose velocities refer to another rest frequency.",
    details: "The frequencies of the channels stay; velocities change. To correct a wrong header use `copy_cube` with `rest_freq`.",
    inputs: &[CUBE, Input::new("freq", InputKind::Text, "Rest frequency, for example \"230.538GHz\"."), OUT],
    returns: "Cube",
    effects: Effects::Writes,
    examples: &[Example {
        title: "A line 10 MHz higher makes all velocities 13 km/s larger.",
        script: demo!("rest_frequency(g.cube, \"230.548GHz\", \"r.fits\").velocity_kms[0] - 1340.0"),
        result: "12.945",
        tolerance: 0.01,
    }],
    run: |call, work| {
        let cube = cube_in(call, 0, work)?;
        let freq = Frequency::parse(call.text(1)?).map_err(Error::user)?;
        let axis = cube.info().spectral().with_other_rest(freq.0)?;
        let mut info = cube.info().clone().with_spectral(axis)?;
        sign(&mut info.meta, call, work);
        let path = call.path_out(2)?;
        write_stream(&path, cube.as_ref(), &info, work.notice)?;
        cube_record(call, &path, &info)
    },
    ..Verb::EMPTY
};
