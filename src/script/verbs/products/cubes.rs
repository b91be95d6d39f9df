//! Cubes: simulate, look, copy, convolve, noise.

use std::path::Path;

use serde_json::{Value, json};

use super::demo;
use super::files::{
    cube_fields, cube_in, cube_record, image_in, image_record, mask_in, open_cube, open_image, put_image, shown_number, sign, write_noise,
    write_stream, write_without,
};
use crate::data::{Beam, CardValue, Cube, CubeInfo, CubeSink, CubeSource, Mask};
use crate::error::{Error, Result};
use crate::fits::{CubeWriter, ReadOptions, is_cube, write_image};
use crate::ms::{atomic::NewFolder, is_casa_image};
use crate::notice::Warning;
use crate::options::Options;
use crate::products::{
    ConvolveOptions, Coverage, Galaxy, GalaxyOptions, Noise, NoiseOptions, convolve_image, convolve_into, has_noise, noise,
    noise_from_gain, noise_scalar, region_zero,
};
use crate::script::value::record;
use crate::script::verb::{Call, Effects, Example, Input, InputKind, Verb, Work, check_options, check_options2, defaults, defaults2};
use crate::units::{ARCSEC, Angle};

/// The verbs of this group.
pub static VERBS: &[&Verb] = &[&SIMULATE_GALAXY, &CUBE_INFO, &MAP_INFO, &COPY_CUBE, &CONVOLVE, &CONVOLVE_MAP, &NOISE, &NOISE_SCALAR];

static SIMULATE_GALAXY: Verb = Verb {
    name: "simulate_galaxy",
    group: "Products",
    summary: "Makes a folder with the line cube of a simulated galaxy, its noiseless model and its true maps.",
    details: "A rotating disc with spiral arms; every sight line is a Gaussian of known peak, velocity and width. Noise has the correlation of \
              the beam and grows to the edges like that under a primary beam.",
    inputs: &[Input::new("folder", InputKind::FileOut, "Folder to make.")],
    options: &[GalaxyOptions::PARAMS],
    defaults: defaults::<GalaxyOptions>,
    returns: "`cube`, `model`, `mom0`, `mom1`, `mom2`: files; `center`, `pa_deg`, `inclination_deg`",
    effects: Effects::Writes,
    examples: &[Example {
        title: "A small galaxy: the cube and its truth.",
        script: demo!("file_name(g.cube)"),
        result: "galaxy.fits",
        tolerance: 0.0,
    }],
    check: check_options::<GalaxyOptions>,
    run: |call, work| {
        let galaxy = Galaxy::new(&call.options()?)?;
        let folder = NewFolder::new(&call.path_out(0)?)?;
        let at = |name: &str| folder.path().join(name);
        write_stream(&at("galaxy.fits"), &galaxy, galaxy.info(), work.notice)?;
        let model = galaxy.noiseless();
        write_stream(&at("galaxy_model.fits"), &model, model.info(), work.notice)?;
        for (image, name) in galaxy.truth()?.iter().zip(["mom0", "mom1", "mom2"]) {
            write_image(&at(&format!("galaxy_{name}.fits")), image, false)?;
        }
        let disc = galaxy.disc;
        folder.publish(work.notice)?;
        let place = |name: &str| format!("{}/{name}", call.text(0).unwrap_or_default().trim_end_matches('/'));
        Ok(json!({ "cube": place("galaxy.fits"), "model": place("galaxy_model.fits"), "mom0": place("galaxy_mom0.fits"),
                   "mom1": place("galaxy_mom1.fits"), "mom2": place("galaxy_mom2.fits"), "center": disc.center.to_string(),
                   "pa_deg": disc.pa_rad.to_degrees(), "inclination_deg": disc.inclination_rad.to_degrees() }))
    },
    ..Verb::EMPTY
};

static CUBE_INFO: Verb = Verb {
    name: "cube_info",
    group: "Products",
    summary: "Tells what a cube's header says: shape, unit, beam, pixels, velocities, rest frequency.",
    inputs: &[Input::new("cube", InputKind::FileIn, "FITS cube or CASA image.")],
    options: &[ReadOptions::PARAMS],
    defaults: defaults::<ReadOptions>,
    returns: "CubeInfo: `shape` (channels, rows, columns), `unit`, `beam` (`bmaj_arcsec`, `bmin_arcsec`, `bpa_deg`), `n_beams`, `cell_arcsec`, `projection`, \
              `frame`, `center`, `rest_ghz`, `axis`, `spectral_frame`, `velocity_kms` (first and last), `channel_kms`, `pixels_per_beam`; `()` where unknown",
    effects: Effects::Reads,
    examples: &[Example { title: "The channels of a cube.", script: demo!("cube_info(g.cube).shape[0]"), result: "40", tolerance: 0.0 }],
    check: check_options::<ReadOptions>,
    run: |call, work| {
        let cube = open_cube(&call.path_in(0)?, &call.options()?, work.notice)?;
        let shown = call.context.sandbox.show(&call.path_in(0)?);
        let mut fields = cube_fields(cube.info());
        fields.insert("path".into(), shown.clone().into());
        record("CubeInfo", summary_of(&shown, cube.info()), fields)
    },
    ..Verb::EMPTY
};

static MAP_INFO: Verb = Verb {
    name: "map_info",
    group: "Products",
    summary: "Tells what a map holds: shape, unit, beam, range of values.",
    inputs: &[Input::new("map", InputKind::FileIn, "FITS or CASA image of one channel.")],
    options: &[ReadOptions::PARAMS],
    defaults: defaults::<ReadOptions>,
    returns: "Image: `path`, `shape` (rows, columns), `unit`, `n_known`, `min`, `max`, `beam`",
    effects: Effects::Reads,
    examples: &[Example { title: "The unit of a map.", script: demo!("map_info(g.mom0).unit"), result: "K km s-1", tolerance: 0.0 }],
    check: check_options::<ReadOptions>,
    run: |call, work| {
        let path = call.path_in(0)?;
        image_record(call, &path, &open_image(&path, &call.options()?, work.notice)?)
    },
    ..Verb::EMPTY
};

/// Several lines for a reader.
fn summary_of(shown: &str, info: &CubeInfo) -> String {
    let f = cube_fields(info);
    let text = |key: &str| match &f[key] {
        Value::String(s) => s.clone(),
        Value::Null => "unknown".into(),
        v => v.to_string(),
    };
    let [nc, ny, nx] = info.shape();
    let (cell_x, cell_y) = info.sky().cell_rad();
    let mut lines = vec![
        format!("{shown}"),
        format!(
            "  {nx} x {ny} pixels of {:.4} x {:.4} arcsec, {} projection, {}",
            cell_x / ARCSEC,
            cell_y / ARCSEC,
            text("projection"),
            text("frame")
        ),
        format!("  center {}", text("center")),
        format!(
            "  unit {}, beam {}",
            if info.unit.as_str().is_empty() { "unknown" } else { info.unit.as_str() },
            info.beams().largest().map_or("unknown".into(), |b| b.to_string())
        ),
    ];
    let spectral = match info.spectral().velocities_kms() {
        Ok(v) => format!(
            "  {nc} channels of {:.4} km/s, {:.3} to {:.3} km/s ({}), rest frequency {}",
            info.spectral().channel_width_kms().unwrap_or(f64::NAN),
            v[0],
            v[nc - 1],
            text("spectral_frame"),
            info.spectral().rest_hz().map_or("unknown".into(), |f| format!("{} GHz", f / 1e9))
        ),
        Err(_) => format!("  {nc} channels along {}, rest frequency unknown", text("axis")),
    };
    lines.push(spectral);
    lines.join("\n")
}

crate::options! {
    /// What `copy_cube` changes.
    pub struct CopyOptions {
        /// Blank the sight lines that are exactly 0 in every channel: some programs write 0 where nothing was measured.
        [""] blank_zeros: bool = false,
    }
}

static COPY_CUBE: Verb = Verb {
    name: "copy_cube",
    group: "Products",
    summary: "Copies a cube into a plain FITS cube, with what its header lacks filled in.",
    details: "Reads FITS with 2 to 4 axes in any order, integers with BSCALE, compressed files, extensions, and CASA images; writes 32-bit floats \
              with NaN where blank. `unit`, `beam` and `rest_freq` replace what the header says; `stokes` chooses one of several.",
    inputs: &[Input::new("cube", InputKind::FileIn, "FITS cube or CASA image."), Input::new("out", InputKind::FileOut, "Cube to make.")],
    options: &[ReadOptions::PARAMS, CopyOptions::PARAMS],
    defaults: defaults2::<ReadOptions, CopyOptions>,
    returns: "Cube: `path` and the fields of `cube_info`",
    effects: Effects::Writes,
    examples: &[
        Example {
            title: "A beam for a cube without one.",
            script: demo!("copy_cube(g.cube, \"copy.fits\", #{ beam: [\"5arcsec\"] }).beam.bmaj_arcsec"),
            result: "5",
            tolerance: 1e-9,
        },
        Example {
            title: "A map is no cube.",
            script: demo!("copy_cube(g.mom0, \"copy.fits\")"),
            result: "error: the axes are those of an image without spectral axis",
            tolerance: 0.0,
        },
    ],
    check: check_options2::<ReadOptions, CopyOptions>,
    run: |call, work| {
        let cube = open_cube(&call.path_in(0)?, &call.options()?, work.notice)?;
        let mut info = cube.info().clone();
        sign(&mut info.meta, call, work);
        let path = call.path_out(1)?;
        let zero = if call.options::<CopyOptions>()?.blank_zeros { Some(region_zero(cube.as_ref(), work.notice)?) } else { None };
        if let Some(n) = zero.as_ref().map(Mask::count).filter(|n| *n > 0) {
            let message = format!("{n} sight lines are exactly 0 in every channel; they are blank in the copy");
            work.notice.warn(Warning::new("zeros-blanked", message));
        }
        write_without(&path, cube.as_ref(), &info, zero.as_ref(), work.notice)?;
        cube_record(call, &path, &info)
    },
    ..Verb::EMPTY
};

crate::options! {
    /// The target of a convolution.
    pub struct TargetOptions {
        /// Target beam: FWHM, or major axis, minor axis and position angle.
        ["arcsec"] beam: Vec<Angle> = vec![],
        /// Target resolution in pc, with `distance`.
        ["pc"] pc: Option<f64> = None,
        /// Distance in Mpc.
        ["Mpc"] distance: Option<f64> = None,
    }
}

/// The beam that the options name, and the distance if it was needed.
fn target(o: &TargetOptions) -> Result<Beam> {
    match (o.beam.as_slice(), o.pc, o.distance) {
        ([a], None, _) => Ok(Beam::round(a.0)?),
        ([a, b, pa], None, _) => Ok(Beam::new(a.0, b.0, pa.0)?),
        ([], Some(pc), Some(mpc)) if pc > 0.0 && mpc > 0.0 => Ok(Beam::round(pc / (mpc * 1e6))?),
        ([], Some(_), _) => Err(Error::user("a resolution in pc needs a positive `distance` in Mpc")),
        _ => Err(Error::user("the target of a convolution is `beam` (1 or 3 numbers) or `pc` with `distance`")
            .hint("convolve(cube, out, #{ beam: [\"2arcsec\"] }) or #{ pc: 80, distance: 9.8 }")),
    }
}

static CONVOLVE: Verb = Verb {
    name: "convolve",
    group: "Products",
    summary: "Convolves every channel of a cube to a larger beam.",
    details: "Any elliptical beam to any that contains it, plane by plane where beams differ; by FFT, in blocks: neither cube is in memory. Jy/beam are \
              scaled by the ratio of the beams. `coverage` is the part of the kernel that fell on data, `coverage_map` its mean over channels.",
    inputs: &[
        Input::new("cube", InputKind::FileIn, "Cube."),
        Input::new("out", InputKind::FileOut, "Cube to make."),
        Input::optional("coverage", InputKind::FileOut, "Cube of the coverage to make."),
        Input::optional("coverage_map", InputKind::FileOut, "Map of the coverage to make."),
    ],
    options: &[TargetOptions::PARAMS, ConvolveOptions::PARAMS],
    defaults: defaults2::<TargetOptions, ConvolveOptions>,
    returns: "Cube: `path`, `changed` (false within the tolerance) and the fields of `cube_info`",
    effects: Effects::Writes,
    examples: &[
        Example {
            title: "To 6 arcsec.",
            script: demo!("convolve(g.cube, \"6as.fits\", #{ beam: [\"6arcsec\"] }).beam.bmaj_arcsec"),
            result: "6",
            tolerance: 1e-6,
        },
        Example {
            title: "Convolution cannot sharpen.",
            script: demo!("convolve(g.cube, \"2as.fits\", #{ beam: [\"2arcsec\"] })"),
            result: "error: the target beam 2.0000 x 2.0000 arcsec at 0.0 deg does not contain the beam of the data",
            tolerance: 0.0,
        },
    ],
    see: "Leroy et al. 2021, ApJS 255, 19, section 6.1",
    check: check_options2::<TargetOptions, ConvolveOptions>,
    run: run_convolve,
    ..Verb::EMPTY
};

fn run_convolve(call: &Call, work: &Work) -> Result<Value> {
    let cube = cube_in(call, 0, work)?;
    let (to, options) = (call.options::<TargetOptions>()?, call.options::<ConvolveOptions>()?);
    let path = call.path_out(1)?;
    let mut out = Convolving { call, work, path: &path, distance_mpc: to.pc.and(to.distance), writer: None };
    let (mut info, coverage, changed) = {
        let shared = std::cell::RefCell::new(&mut out);
        convolve_into(
            cube.as_ref(),
            target(&to)?,
            &options,
            &mut |info| shared.borrow_mut().begin(info),
            &mut Shared(&shared),
            work.notice,
        )?
    };
    out.finish()?;
    write_coverage(call, work, &coverage)?;
    info.unit = cube.info().unit.clone();
    let mut value = cube_record(call, &path, &info)?;
    value["changed"] = changed.into();
    Ok(value)
}

/// The file of a convolved cube, begun once its header is known.
struct Convolving<'a> {
    call: &'a Call<'a>,
    work: &'a Work<'a>,
    path: &'a Path,
    distance_mpc: Option<f64>,
    writer: Option<CubeWriter>,
}

impl Convolving<'_> {
    fn begin(&mut self, info: &CubeInfo) -> Result<()> {
        let mut info = info.clone();
        sign(&mut info.meta, self.call, self.work);
        if let Some(d) = self.distance_mpc {
            info.meta.set("DIST_MPC", CardValue::Real(d), "[Mpc] Distance of the physical resolution");
        }
        self.writer = Some(CubeWriter::create(self.path, &info, true)?);
        Ok(())
    }
    fn finish(self) -> Result<()> {
        self.writer.map_or(Ok(()), CubeWriter::finish)
    }
}

/// `begin` and the planes go to the same file.
struct Shared<'a, 'b, 'c>(&'a std::cell::RefCell<&'b mut Convolving<'c>>);

impl CubeSink for Shared<'_, '_, '_> {
    fn put_plane(&mut self, plane: ndarray::ArrayView2<'_, f32>) -> Result<()> {
        match &mut self.0.borrow_mut().writer {
            Some(writer) => writer.put_plane(plane),
            None => Err(Error::internal("a plane came before the header")),
        }
    }
}

fn write_coverage(call: &Call, work: &Work, coverage: &Coverage) -> Result<()> {
    if let Some(path) = call.optional_path_out(2)? {
        let mut writer = CubeWriter::create(&path, coverage.info(), true)?;
        coverage.write_to(&mut writer)?;
        writer.finish()?;
    }
    if let Some(path) = call.optional_path_out(3)? {
        put_image(call, work, &path, &coverage.map()?)?;
    }
    Ok(())
}

static CONVOLVE_MAP: Verb = Verb {
    name: "convolve_map",
    group: "Products",
    summary: "Convolves a map to a larger beam.",
    inputs: &[Input::new("map", InputKind::FileIn, "Map."), Input::new("out", InputKind::FileOut, "Map to make.")],
    options: &[TargetOptions::PARAMS, ConvolveOptions::PARAMS],
    defaults: defaults2::<TargetOptions, ConvolveOptions>,
    returns: "Image: `path`, `shape`, `unit`, `beam`, `n_known`, `min`, `max`",
    effects: Effects::Writes,
    examples: &[Example {
        title: "A map at 8 arcsec.",
        script: demo!("convolve_map(g.mom0, \"8as.fits\", #{ beam: [\"8arcsec\"] }).beam.bmaj_arcsec"),
        result: "8",
        tolerance: 1e-6,
    }],
    check: check_options2::<TargetOptions, ConvolveOptions>,
    run: |call, work| {
        let image = image_in(call, 0, work)?;
        let (out, _) = convolve_image(&image, target(&call.options()?)?, &call.options()?, work.notice)?;
        put_image(call, work, &call.path_out(1)?, &out)
    },
    ..Verb::EMPTY
};

crate::options! {
    /// Noise that is known.
    pub struct KnownNoise {
        /// Take this number, in the unit of the cube, for the noise everywhere (with `gain`: where that is 1), and measure nothing.
        [""] sigma: Option<f64> = None,
        /// An error where there is no noise to measure, as in models; false writes a blank noise instead.
        [""] required: bool = true,
    }
}

static NOISE: Verb = Verb {
    name: "noise",
    group: "Products",
    summary: "Measures the noise of a cube as a map times a spectrum and writes it as a cube.",
    details: "Robust about zero from the negative side, so that emission hardly counts; map and spectrum are refined in turn. The model behind the cube \
              stands in table extensions, from which later steps read it without the cube.",
    inputs: &[
        Input::new("cube", InputKind::FileIn, "Cube."),
        Input::new("out", InputKind::FileOut, "Noise cube to make."),
        Input::optional("exclude", InputKind::FileIn, "Mask of voxels that do not count, for example known emission."),
        Input::optional(
            "gain",
            InputKind::FileIn,
            "Response that the data were divided by (primary beam), cube or map: the noise is one number over it.",
        ),
    ],
    options: &[NoiseOptions::PARAMS, KnownNoise::PARAMS],
    defaults: defaults2::<NoiseOptions, KnownNoise>,
    returns: "Noise: `path`, `median` (over the map), `map_range`, `spectrum` (median over the sky), `unit`",
    effects: Effects::Writes,
    examples: &[Example {
        title: "Noise of 0.15 K in the middle, 0.3 K in the corners.",
        script: demo!("let n = noise(g.cube, \"noise.fits\"); n.median > 0.15 && n.median < 0.21"),
        result: "true",
        tolerance: 0.0,
    }],
    see: "Leroy et al. 2021, ApJS 255, 19, section 7.2",
    check: check_options2::<NoiseOptions, KnownNoise>,
    run: |call, work| {
        let cube = cube_in(call, 0, work)?;
        let exclude = mask_in(call, 2, work)?;
        let known = call.options::<KnownNoise>()?;
        if let Some(sigma) = known.sigma.filter(|s| !(*s > 0.0)) {
            return Err(Error::user(format!("`noise`: sigma is {sigma}; expected a positive number")));
        }
        let measured = || match gain_in(call, work)? {
            Some(gain) => noise_from_gain(cube.as_ref(), gain.as_ref(), exclude.as_ref(), known.sigma, work.notice),
            None => match known.sigma {
                Some(sigma) => Ok(Noise::uniform(cube.info(), sigma)),
                None => noise(cube.as_ref(), exclude.as_ref(), &call.options()?, work.notice),
            },
        };
        let found = match measured() {
            Err(_) if !known.required && !has_noise(cube.as_ref(), exclude.as_ref(), work.notice)? => {
                let message = "no noise can be measured: no voxel is below zero, or half of them are zero; the noise is blank";
                work.notice.warn(Warning::new("no-noise", message));
                Noise::uniform(cube.info(), f64::NAN)
            }
            other => other?,
        };
        let mut info = found.info().clone();
        info.meta.set("BTYPE", CardValue::Text("Noise".into()), "");
        sign(&mut info.meta, call, work);
        let path = call.path_out(1)?;
        write_noise(&path, &found, &info, work.notice)?;
        let (map, spectrum) = (found.map()?, found.spectrum());
        let mut known: Vec<f64> = map.data().iter().filter(|v| v.is_finite()).map(|v| f64::from(*v)).collect();
        known.sort_by(f64::total_cmp);
        let (lo, mid, hi) = (known.first(), known.get(known.len() / 2), known.last());
        let shown = call.context.sandbox.show(&path);
        let unit = info.unit.as_str();
        let summary = match mid {
            Some(_) => format!("{shown}: {} {unit} ({} to {} over the map)", num(mid), num(lo), num(hi)),
            None => format!("{shown}: blank"),
        };
        let list: Vec<Value> = spectrum.iter().map(|s| crate::script::value::from_f64(*s)).collect();
        record("Noise", summary, json!({ "path": shown, "median": mid, "map_range": [lo, hi], "spectrum": list, "unit": unit }))
    },
    ..Verb::EMPTY
};

/// The gain of a call of `noise`.
fn gain_in(call: &Call, work: &Work) -> Result<Option<super::files::AnyCube>> {
    if call.args[3].is_null() {
        return Ok(None);
    }
    let path = call.path_in(3)?;
    if is_casa_image(&path) || is_cube(&path, &ReadOptions::default(), work.notice)? {
        return cube_in(call, 3, work).map(Some);
    }
    let map = image_in(call, 3, work)?;
    let axis = crate::sky::SpectralAxis::new(crate::sky::SpectralKind::Frequency, 1.0, 1.0, 1.0, 1)?;
    let info = CubeInfo::new(map.sky().clone(), axis, map.ny(), map.nx(), map.unit.clone())?;
    Ok(Some(Box::new(Cube::new(info, map.data().clone().insert_axis(ndarray::Axis(0)))?)))
}

fn num(v: Option<&f64>) -> String {
    shown_number(v.copied().unwrap_or(f64::NAN))
}

static NOISE_SCALAR: Verb = Verb {
    name: "noise_scalar",
    group: "Products",
    summary: "Measures one number for the noise of a cube, robust against emission.",
    inputs: &[
        Input::new("cube", InputKind::FileIn, "Cube."),
        Input::optional("exclude", InputKind::FileIn, "Mask of voxels that do not count."),
    ],
    returns: "The noise in the unit of the cube.",
    effects: Effects::Reads,
    examples: &[Example {
        title: "The noise of a cube with 0.15 K everywhere.",
        script: "let g = simulate_galaxy(\"demo\", #{ pixels: 48, channels: 40, edge_noise: 1, peak: 0 });\nnoise_scalar(g.cube)",
        result: "0.15",
        tolerance: 0.01,
    }],
    run: |call, work| {
        let cube = cube_in(call, 0, work)?;
        let exclude = mask_in(call, 1, work)?;
        Ok(noise_scalar(cube.as_ref(), exclude.as_ref(), work.notice)?.into())
    },
    ..Verb::EMPTY
};
