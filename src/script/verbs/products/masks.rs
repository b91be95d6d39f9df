//! Masks: where there is emission.

use serde_json::Value;

use super::demo;
use super::files::{cube_in, image_in, mask_in, noise_in, put_mask, read_mask};
use crate::data::{CubeSource, Mask};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::products::{
    MaskOptions, PruneOptions, UnionOptions, VelocityMaskOptions, grow_channels, grow_sky, is_same_sky, mask_broad, mask_dilated,
    mask_seeds, mask_strict, mask_velocity, prune, reproject_image, reproject_mask, voxels_above,
};
use crate::script::verb::{Call, Effects, Example, Input, InputKind, Verb, Work, check_options, defaults};

/// The verbs of this group.
pub static VERBS: &[&Verb] =
    &[&MASK_STRICT, &MASK_DILATED, &MASK_ABOVE, &MASK_BROAD, &MASK_VELOCITY, &COMBINE_MASKS, &GROW_MASK, &PRUNE_MASK];

const RETURNS: &str = "Mask: `path`, `n_voxels`, `n_pixels`, `shape`";

static MASK_STRICT: Verb = Verb {
    name: "mask_strict",
    group: "Products",
    summary: "Finds emission above a high signal to noise and follows it down to a low one.",
    details: "Voxels at `high` in `high_channels` neighbouring channels are seeds; connected regions at `low` in `low_channels` channels that hold a seed \
              are the mask. Seeds count only where the coverage, if given, exceeds 0.95.",
    inputs: &[
        Input::new("cube", InputKind::FileIn, "Cube."),
        Input::new("noise", InputKind::FileIn, "Its noise."),
        Input::new("out", InputKind::FileOut, "Mask to make."),
        Input::optional("coverage", InputKind::FileIn, "Coverage of a convolved cube."),
    ],
    options: &[MaskOptions::PARAMS],
    defaults: defaults::<MaskOptions>,
    returns: RETURNS,
    effects: Effects::Writes,
    examples: &[
        Example {
            title: "The mask of a galaxy holds a part of the cube.",
            script: demo!(
                "let n = noise(g.cube, \"n.fits\"); let m = mask_strict(g.cube, n, \"m.fits\"); m.n_voxels > 200 && m.n_voxels < 40000"
            ),
            result: "true",
            tolerance: 0.0,
        },
        Example {
            title: "A misspelt threshold.",
            script: demo!("let n = noise(g.cube, \"n.fits\"); mask_strict(g.cube, n, \"m.fits\", #{ hihg: 5 })"),
            result: "error: `mask_strict` has no option `hihg`; did you mean `high` (default 4.0)?",
            tolerance: 0.0,
        },
    ],
    see: "Rosolowsky & Leroy 2006, PASP 118, 590; Leroy et al. 2021, ApJS 255, 19, section 7.3",
    check: check_options::<MaskOptions>,
    run: |call, work| {
        let (cube, noise) = (cube_in(call, 0, work)?, noise_given(call, work)?);
        let prior = if call.args[3].is_null() { None } else { Some(covered(call, 3, work)?) };
        let mask = mask_strict(cube.as_ref(), &noise, prior.as_ref(), &call.options()?, work.notice)?;
        put_mask(call, work, &call.path_out(2)?, &mask, cube.info())
    },
    version: 2,
    ..Verb::EMPTY
};

fn noise_given(call: &Call, work: &Work) -> Result<crate::products::Noise> {
    noise_in(call, 1, work)?.ok_or_else(|| Error::user(format!("`{}` needs the noise of the cube", call.verb.name)))
}

/// Coverage above which emission may be found, as in the PHANGS pipeline.
const COVERED: f32 = 0.95;

fn covered(call: &Call, i: usize, work: &Work) -> Result<Mask> {
    let coverage = cube_in(call, i, work)?;
    let mut mask = Mask::empty(coverage.info().shape());
    let ([nc, ny, nx], words) = (coverage.info().shape(), mask.row_words());
    let mut buffer = Vec::new();
    for z in 0..nc {
        let plane = coverage.plane(z, &mut buffer)?;
        for y in 0..ny {
            let start = (z * ny + y) * words;
            crate::data::fill_row(&mut mask.words_mut()[start..start + words], nx, |x| plane[[y, x]] > COVERED);
        }
    }
    Ok(mask)
}

static MASK_DILATED: Verb = Verb {
    name: "mask_dilated",
    group: "Products",
    summary: "Finds emission in single voxels above a high signal to noise, follows it to a low one, and drops small regions at the end.",
    details: "As users of maskmoment make it: `high_channels` and `low_channels` are as given, and regions are pruned when complete.",
    inputs: &[
        Input::new("cube", InputKind::FileIn, "Cube."),
        Input::new("noise", InputKind::FileIn, "Its noise."),
        Input::new("out", InputKind::FileOut, "Mask to make."),
    ],
    options: &[MaskOptions::PARAMS],
    defaults: defaults::<MaskOptions>,
    returns: RETURNS,
    effects: Effects::Writes,
    examples: &[Example {
        title: "Single channels count.",
        script: demo!(
            "let n = noise(g.cube, \"n.fits\"); let d = mask_dilated(g.cube, n, \"d.fits\", #{ high_channels: 1, low_channels: 1 });\n\
                 d.n_voxels > mask_strict(g.cube, n, \"m.fits\").n_voxels"
        ),
        result: "true",
        tolerance: 0.0,
    }],
    see: "https://github.com/tonywong94/maskmoment",
    check: check_options::<MaskOptions>,
    run: |call, work| {
        let (cube, noise) = (cube_in(call, 0, work)?, noise_given(call, work)?);
        let mask = mask_dilated(cube.as_ref(), &noise, &call.options()?, work.notice)?;
        put_mask(call, work, &call.path_out(2)?, &mask, cube.info())
    },
    version: 2,
    ..Verb::EMPTY
};

crate::options! {
    /// Which voxels a mask holds.
    pub struct AboveOptions {
        /// Brightness that voxels exceed, in the unit of the cube.
        [""] threshold: f64 = 0.0,
    }
}

static MASK_ABOVE: Verb = Verb {
    name: "mask_above",
    group: "Products",
    summary: "Makes a mask of the voxels brighter than a threshold, for models and other cubes without noise.",
    inputs: &[Input::new("cube", InputKind::FileIn, "Cube."), Input::new("out", InputKind::FileOut, "Mask to make.")],
    options: &[AboveOptions::PARAMS],
    defaults: defaults::<AboveOptions>,
    returns: RETURNS,
    effects: Effects::Writes,
    examples: &[Example {
        title: "Every line of the model is somewhere brighter than 1 mK.",
        script: demo!("mask_above(g.model, \"m.fits\", #{ threshold: 0.001 }).n_pixels > 1000"),
        result: "true",
        tolerance: 0.0,
    }],
    check: check_options::<AboveOptions>,
    run: |call, work| {
        let cube = cube_in(call, 0, work)?;
        let mask = voxels_above(cube.as_ref(), call.options::<AboveOptions>()?.threshold, work.notice)?;
        put_mask(call, work, &call.path_out(1)?, &mask, cube.info())
    },
    ..Verb::EMPTY
};

static MASK_BROAD: Verb = Verb {
    name: "mask_broad",
    group: "Products",
    summary: "Joins masks of several resolutions and configurations on the grid of the first.",
    details: "Masks on another grid are taken by their nearest voxel. `at_least` keeps voxels of a fraction of the masks only.",
    inputs: &[Input::new("masks", InputKind::FilesIn, "Masks."), Input::new("out", InputKind::FileOut, "Mask to make.")],
    options: &[UnionOptions::PARAMS],
    defaults: defaults::<UnionOptions>,
    returns: RETURNS,
    effects: Effects::Writes,
    examples: &[Example {
        title: "A mask joined with itself.",
        script: demo!(
            "let n = noise(g.cube, \"n.fits\"); let m = mask_strict(g.cube, n, \"m.fits\"); mask_broad([m, m], \"b.fits\").n_voxels == m.n_voxels"
        ),
        result: "true",
        tolerance: 0.0,
    }],
    see: "Leroy et al. 2021, ApJS 255, 19, section 7.3",
    check: check_options::<UnionOptions>,
    run: |call, work| {
        let (masks, info) = masks_of(call, work)?;
        let all: Vec<&Mask> = masks.iter().collect();
        let mask = mask_broad(&all, &call.options()?)?;
        put_mask(call, work, &call.path_out(1)?, &mask, &info)
    },
    ..Verb::EMPTY
};

/// The masks of a list on the grid of the first.
fn masks_of(call: &Call, work: &Work) -> Result<(Vec<Mask>, crate::data::CubeInfo)> {
    let mut out = Vec::new();
    let mut grid = None;
    for value in call.list(0) {
        let (mask, info) = read_mask(&call.readable(value)?, work.notice)?;
        let grid = grid.get_or_insert_with(|| info.clone());
        out.push(reproject_mask(&mask, &info, grid, work.notice)?);
    }
    let info = grid.ok_or_else(|| Error::user(format!("`{}` needs at least one mask", call.verb.name)))?;
    Ok((out, info))
}

static MASK_VELOCITY: Verb = Verb {
    name: "mask_velocity",
    group: "Products",
    summary: "Makes a mask of a window about a velocity field, joined with another mask if one is given.",
    details: "Joined with a strict or broad mask this is the flat mask of PHANGS. A velocity field on another grid is interpolated.",
    inputs: &[
        Input::new("cube", InputKind::FileIn, "Cube whose grid the mask has."),
        Input::new("field", InputKind::FileIn, "Velocity field in km/s."),
        Input::new("out", InputKind::FileOut, "Mask to make."),
        Input::optional("with", InputKind::FileIn, "Mask to join it with."),
    ],
    options: &[VelocityMaskOptions::PARAMS],
    defaults: defaults::<VelocityMaskOptions>,
    returns: RETURNS,
    effects: Effects::Writes,
    examples: &[Example {
        title: "Five channels of 8 km/s lie within 40 km/s of every pixel's velocity.",
        script: demo!("let m = mask_velocity(g.cube, g.mom1, \"v.fits\", #{ window: \"40km/s\" }); m.n_voxels / m.n_pixels"),
        result: "5",
        tolerance: 0.5,
    }],
    check: check_options::<VelocityMaskOptions>,
    run: |call, work| {
        let cube = cube_in(call, 0, work)?;
        let mut mask = mask_velocity(cube.info(), &field_on(call, 1, cube.as_ref(), work)?, &call.options()?)?;
        if let Some(other) = mask_in(call, 3, work)? {
            mask.or(&other)?;
        }
        put_mask(call, work, &call.path_out(2)?, &mask, cube.info())
    },
    ..Verb::EMPTY
};

/// Input `i`, a map, on the grid of a cube.
pub fn field_on(call: &Call, i: usize, cube: &dyn CubeSource, work: &Work) -> Result<crate::data::Image> {
    let field = image_in(call, i, work)?;
    let info = cube.info();
    let grid = info.image(ndarray::Array2::zeros((info.ny(), info.nx())), field.unit.clone())?;
    on_grid(field, &grid)
}

/// An image on the grid of another; itself where it is there already.
pub fn on_grid(image: crate::data::Image, grid: &crate::data::Image) -> Result<crate::data::Image> {
    let info = |i: &crate::data::Image| -> Result<crate::data::CubeInfo> {
        let axis = crate::sky::SpectralAxis::new(crate::sky::SpectralKind::Frequency, 1.0, 1.0, 1.0, 1)?;
        Ok(crate::data::CubeInfo::new(i.sky().clone(), axis, i.ny(), i.nx(), i.unit.clone())?)
    };
    if is_same_sky(&info(&image)?, &info(grid)?) {
        return Ok(image);
    }
    reproject_image(&image, grid.sky(), [grid.ny(), grid.nx()], &crate::products::ReprojectOptions::default())
}

crate::options! {
    /// How masks are combined.
    pub struct CombineOptions {
        /// "or": voxels of any; "and": of all; "minus": of the first and of no other; "not": of none.
        [""] how: How = How::Or,
    }
}

/// How masks are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// Voxels of any.
    Or,
    /// Voxels of all.
    And,
    /// Voxels of the first and of no other.
    Minus,
    /// Voxels of none.
    Not,
}

static COMBINE_MASKS: Verb = Verb {
    name: "combine_masks",
    group: "Products",
    summary: "Combines masks: any, all, the first without the others, or none of them.",
    inputs: &[
        Input::new("masks", InputKind::FilesIn, "Masks; the first gives the grid."),
        Input::new("out", InputKind::FileOut, "Mask to make."),
    ],
    options: &[CombineOptions::PARAMS],
    defaults: defaults::<CombineOptions>,
    returns: RETURNS,
    effects: Effects::Writes,
    examples: &[Example {
        title: "A mask and its inverse fill the cube.",
        script: demo!(
            "let n = noise(g.cube, \"n.fits\"); let m = mask_strict(g.cube, n, \"m.fits\"); let i = combine_masks([m], \"i.fits\", #{ how: \"not\" });\n\
                 m.n_voxels + i.n_voxels == 40 * 48 * 48"
        ),
        result: "true",
        tolerance: 0.0,
    }],
    check: check_options::<CombineOptions>,
    run: |call, work| {
        let (masks, info) = masks_of(call, work)?;
        let mut mask = masks[0].clone();
        let how = call.options::<CombineOptions>()?.how;
        for other in &masks[1..] {
            match how {
                How::Or | How::Not => mask.or(other)?,
                How::And => mask.and(other)?,
                How::Minus => mask.minus(other)?,
            }
        }
        if how == How::Not {
            mask.invert();
        }
        put_mask(call, work, &call.path_out(1)?, &mask, &info)
    },
    ..Verb::EMPTY
};

crate::options! {
    /// How far a mask grows.
    pub struct GrowOptions {
        /// Steps on the sky, along x and y.
        ["1"] sky: usize = 0,
        /// Channels to both sides.
        ["1"] channels: usize = 0,
    }
}

static GROW_MASK: Verb = Verb {
    name: "grow_mask",
    group: "Products",
    summary: "Grows a mask by pixels on the sky and by channels.",
    inputs: &[Input::new("mask", InputKind::FileIn, "Mask."), Input::new("out", InputKind::FileOut, "Mask to make.")],
    options: &[GrowOptions::PARAMS],
    defaults: defaults::<GrowOptions>,
    returns: RETURNS,
    effects: Effects::Writes,
    examples: &[Example {
        title: "A channel to both sides.",
        script: demo!(
            "let m = mask_velocity(g.cube, g.mom1, \"v.fits\", #{ window: \"40km/s\" }); let w = grow_mask(m, \"w.fits\", #{ channels: 1 }); w.n_voxels / w.n_pixels"
        ),
        result: "7",
        tolerance: 0.5,
    }],
    check: check_options::<GrowOptions>,
    run: |call, work| {
        let (mask, info) = read_mask(&call.path_in(0)?, work.notice)?;
        let o = call.options::<GrowOptions>()?;
        let grown = grow_channels(&grow_sky(&mask, o.sky), o.channels, o.channels);
        put_mask(call, work, &call.path_out(1)?, &grown, &info)
    },
    ..Verb::EMPTY
};

static PRUNE_MASK: Verb = Verb {
    name: "prune_mask",
    group: "Products",
    summary: "Drops the regions of a mask that are too small, or that hold no voxel of another mask.",
    inputs: &[
        Input::new("mask", InputKind::FileIn, "Mask."),
        Input::new("out", InputKind::FileOut, "Mask to make."),
        Input::optional("seeds", InputKind::FileIn, "Mask of which a region must hold a voxel."),
    ],
    options: &[PruneOptions::PARAMS],
    defaults: defaults::<PruneOptions>,
    returns: RETURNS,
    effects: Effects::Writes,
    examples: &[Example {
        title: "No region has more voxels than the cube.",
        script: demo!(
            "let n = noise(g.cube, \"n.fits\"); let m = mask_strict(g.cube, n, \"m.fits\"); prune_mask(m, \"p.fits\", #{ min_voxels: 92161 }).n_voxels"
        ),
        result: "0",
        tolerance: 0.0,
    }],
    check: check_options::<PruneOptions>,
    run: run_prune,
    ..Verb::EMPTY
};

fn run_prune(call: &Call, work: &Work) -> Result<Value> {
    let (mut mask, info) = read_mask(&call.path_in(0)?, work.notice)?;
    let options = call.options::<PruneOptions>()?;
    if let Some(seeds) = mask_in(call, 2, work)? {
        mask = mask_seeds(&seeds, &mask, options.neighbours)?;
    }
    mask = prune(&mask, info.pixels_per_beam(), &options)?;
    put_mask(call, work, &call.path_out(1)?, &mask, &info)
}
