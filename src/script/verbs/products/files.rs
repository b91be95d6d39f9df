//! Cubes, images and masks as files: what verbs read and write, and what they say of it.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::data::{Beam, Beams, CardValue, Cube, CubeInfo, CubeSink, CubeSource, Image, Mask, Meta, Unit};
use crate::error::{Error, Result};
use crate::fits::{self, Column, CubeWriter, ReadOptions};
use crate::ms::{is_casa_image, read_casa_cube, read_casa_image};
use crate::notice::Reporter;
use crate::products::Noise;
use crate::script::value::record;
use crate::script::verb::{Call, Work};
use crate::units::ARCSEC;

/// A cube to read, in place where the file allows it.
pub type AnyCube = Box<dyn CubeSource + Send>;

/// Opens a FITS cube without reading its pixels, or reads a CASA image.
pub fn open_cube(path: &Path, options: &ReadOptions, notice: &dyn Reporter) -> Result<AnyCube> {
    if is_casa_image(path) {
        let (mut info, data) = read_casa_cube(path, options.stokes.as_deref())?.into_parts();
        if let Some(unit) = &options.unit {
            info.unit = Unit::new(unit);
        }
        if let Some(beam) = &options.beam {
            info = info.with_beams(Beams::One(fits::given_beam(beam)?))?;
        }
        if let Some(rest) = options.rest_freq {
            let axis = info.spectral().clone().with_rest(rest.0)?;
            info = info.with_spectral(axis)?;
        }
        return Ok(Box::new(Cube::new(info, data)?));
    }
    Ok(Box::new(fits::open_cube(path, options, notice)?))
}

/// Reads an image from FITS or CASA.
pub fn open_image(path: &Path, options: &ReadOptions, notice: &dyn Reporter) -> Result<Image> {
    if !is_casa_image(path) {
        return fits::read_image(path, options, notice);
    }
    let mut image = read_casa_image(path, options.stokes.as_deref())?;
    if let Some(unit) = &options.unit {
        image.unit = Unit::new(unit);
    }
    if let Some(beam) = &options.beam {
        image.beam = Some(fits::given_beam(beam)?);
    }
    if let Some(rest) = options.rest_freq {
        image.rest_hz = Some(rest.0);
    }
    Ok(image)
}

/// Input `i` as a cube.
pub fn cube_in(call: &Call, i: usize, work: &Work) -> Result<AnyCube> {
    open_cube(&call.path_in(i)?, &ReadOptions::default(), work.notice)
}

/// Input `i` as an image.
pub fn image_in(call: &Call, i: usize, work: &Work) -> Result<Image> {
    open_image(&call.path_in(i)?, &ReadOptions::default(), work.notice)
}

/// Input `i` as an image; `None` where the call left it out.
pub fn optional_image_in(call: &Call, i: usize, work: &Work) -> Result<Option<Image>> {
    if call.args[i].is_null() { Ok(None) } else { image_in(call, i, work).map(Some) }
}

/// A mask and its grid: voxels that are not 0 and not blank.
pub fn read_mask(path: &Path, notice: &dyn Reporter) -> Result<(Mask, CubeInfo)> {
    let cube = open_cube(path, &ReadOptions::default(), notice)?;
    let info = cube.info().clone();
    let mut mask = Mask::empty(info.shape());
    let (words, [nc, ny, nx]) = (mask.row_words(), info.shape());
    let mut buffer = Vec::new();
    for z in 0..nc {
        notice.check()?;
        let plane = cube.plane(z, &mut buffer)?;
        for y in 0..ny {
            let start = (z * ny + y) * words;
            crate::data::fill_row(&mut mask.words_mut()[start..start + words], nx, |x| !(plane[[y, x]] == 0.0 || plane[[y, x]].is_nan()));
        }
    }
    Ok((mask, info))
}

/// Input `i` as a mask; `None` where the call left it out.
pub fn mask_in(call: &Call, i: usize, work: &Work) -> Result<Option<Mask>> {
    if call.args[i].is_null() { Ok(None) } else { Ok(Some(read_mask(&call.path_in(i)?, work.notice)?.0)) }
}

/// Table extensions that keep the noise as map and spectrum.
const NOISE_MAP: &str = "NOISEMAP";
const NOISE_SPECTRUM: &str = "NOISESPC";

/// The noise in a file: its model where the file keeps it, else the cube in memory.
pub fn read_noise(path: &Path, notice: &dyn Reporter) -> Result<Noise> {
    let cube = open_cube(path, &ReadOptions::default(), notice)?;
    let [nc, ny, nx] = cube.info().shape();
    if !is_casa_image(path)
        && let Some(map) = fits::read_column(path, NOISE_MAP, "SIGMA")?.filter(|m| m.len() == ny * nx)
        && let Some(spectrum) = fits::read_column(path, NOISE_SPECTRUM, "FACTOR")?.filter(|s| s.len() == nc)
    {
        let map = ndarray::Array2::from_shape_vec((ny, nx), map).map_err(|e| Error::internal(e.to_string()))?;
        return Ok(Noise::separable(cube.info(), map, spectrum)?);
    }
    Ok(Noise::from_cube(cube.load()?))
}

/// Input `i` as noise; `None` where the call left it out.
pub fn noise_in(call: &Call, i: usize, work: &Work) -> Result<Option<Noise>> {
    if call.args[i].is_null() { Ok(None) } else { read_noise(&call.path_in(i)?, work.notice).map(Some) }
}

/// Writes a noise cube; the model behind it goes into tables, so that it can be read again without the cube.
pub fn write_noise(path: &Path, noise: &Noise, info: &CubeInfo, notice: &dyn Reporter) -> Result<()> {
    let mut writer = CubeWriter::create(path, info, true)?;
    noise.write_to(&mut writer, notice)?;
    let Some((map, spectrum)) = noise.parts() else { return writer.finish() };
    let map = Column::f64("SIGMA", info.unit.as_str(), map.iter().copied().collect());
    let spectrum = Column::f64("FACTOR", "", spectrum.to_vec());
    writer.finish_with(&[(NOISE_MAP, vec![map]), (NOISE_SPECTRUM, vec![spectrum])])
}

/// Copies a cube plane by plane.
pub fn write_stream(path: &Path, source: &dyn CubeSource, info: &CubeInfo, notice: &dyn Reporter) -> Result<()> {
    write_without(path, source, info, None, notice)
}

/// Copies a cube plane by plane, with some of its pixels blank.
pub fn write_without(path: &Path, source: &dyn CubeSource, info: &CubeInfo, blank: Option<&Mask>, notice: &dyn Reporter) -> Result<()> {
    let mut writer = CubeWriter::create(path, info, true)?;
    let (nc, mut buffer) = (info.n_chan(), Vec::new());
    for z in 0..nc {
        notice.check()?;
        notice.progress("write", z as u64, nc as u64);
        let plane = source.plane(z, &mut buffer)?;
        match blank {
            None => writer.put_plane(plane)?,
            Some(mask) => {
                let mut plane = plane.to_owned();
                (0..info.ny()).for_each(|y| mask.columns(0, y).for_each(|x| plane[[y, x]] = f32::NAN));
                writer.put_plane(plane.view())?;
            }
        }
    }
    writer.finish()
}

/// Notes in a header which step made a file, with its options, and whose formulas.
pub fn sign(meta: &mut Meta, call: &Call, work: &Work) {
    if let Some(step) = work.step {
        meta.add_history(step.history());
    }
    let options: Vec<String> = call.options.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| format!("{k}={}", plain(v))).collect();
    if !options.is_empty() {
        meta.add_history(format!("{}: {}", call.verb.name, options.join(" ")));
    }
    if let Some(mode) = call.options.get("compat").and_then(Value::as_str) {
        meta.set("COMPAT", CardValue::Text(mode.into()), "Whose formulas: none (corrected) or phangs");
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// A number in a summary: four decimals, or as many digits where these show nothing.
pub fn shown_number(v: f64) -> String {
    if v != 0.0 && v.abs() < 0.1 { format!("{v:.3e}") } else { format!("{v:.4}") }
}

/// A beam in the units of scripts.
fn beam_value(beam: Option<Beam>) -> Value {
    beam.map_or(
        Value::Null,
        |b| json!({ "bmaj_arcsec": b.bmaj_rad() / ARCSEC, "bmin_arcsec": b.bmin_rad() / ARCSEC, "bpa_deg": b.bpa_rad().to_degrees() }),
    )
}

/// What is known of a cube from its header.
pub fn cube_fields(info: &CubeInfo) -> Map<String, Value> {
    let axis = info.spectral();
    let (cell_x, cell_y) = info.sky().cell_rad();
    let velocity = axis.velocities_kms().ok();
    let center = info.sky().sky_from_pixel((info.nx() as f64 - 1.0) / 2.0, (info.ny() as f64 - 1.0) / 2.0);
    let fields = json!({
        "shape": info.shape(),
        "unit": info.unit.as_str(),
        "beam": beam_value(info.beams().largest()),
        "n_beams": match info.beams() { crate::data::Beams::None => 0, crate::data::Beams::One(_) => 1, crate::data::Beams::PerChannel(v) => v.len() },
        "cell_arcsec": [cell_x / ARCSEC, cell_y / ARCSEC],
        "projection": info.sky().keys().projection.code(),
        "frame": info.sky().frame().name(),
        "center": center.map(|d| d.to_string()),
        "rest_ghz": axis.rest_hz().map(|f| f / 1e9),
        "axis": axis.kind().code(),
        "spectral_frame": axis.frame().map(|f| f.name()),
        "velocity_kms": velocity.as_ref().map(|v| [v[0], v[v.len() - 1]]),
        "channel_kms": axis.channel_width_kms().ok(),
        "pixels_per_beam": info.pixels_per_beam(),
    });
    fields.as_object().cloned().unwrap_or_default()
}

fn cube_line(info: &CubeInfo) -> String {
    let [nc, ny, nx] = info.shape();
    let beam = info
        .beams()
        .largest()
        .map_or("no beam".into(), |b| format!("beam {:.3} x {:.3} arcsec", b.bmaj_rad() / ARCSEC, b.bmin_rad() / ARCSEC));
    let unit = if info.unit.as_str().is_empty() { "no unit" } else { info.unit.as_str() };
    format!("{nx} x {ny} pixels x {nc} channels, {unit}, {beam}")
}

/// The value of a verb that wrote a cube.
pub fn cube_record(call: &Call, path: &Path, info: &CubeInfo) -> Result<Value> {
    let shown = call.context.sandbox.show(path);
    let mut fields = Map::from_iter([("path".to_string(), shown.clone().into())]);
    fields.extend(cube_fields(info));
    record("Cube", format!("{shown}: {}", cube_line(info)), fields)
}

/// The value of a verb that wrote a mask.
pub fn mask_record(call: &Call, path: &Path, mask: &Mask) -> Result<Value> {
    let shown = call.context.sandbox.show(path);
    let [nc, ny, nx] = mask.shape();
    let (n, pixels) = (mask.count(), mask.any_channel().count());
    let summary = format!("{shown}: {n} of {} voxels on {pixels} of {} pixels", nc * ny * nx, ny * nx);
    record("Mask", summary, json!({ "path": shown, "n_voxels": n, "n_pixels": pixels, "shape": mask.shape() }))
}

/// The value of a verb that wrote an image.
pub fn image_record(call: &Call, path: &Path, image: &Image) -> Result<Value> {
    let shown = call.context.sandbox.show(path);
    let known = image.data().iter().filter(|v| v.is_finite()).count();
    let (lo, hi) = image.min_max().map_or((None, None), |(a, b)| (Some(f64::from(a)), Some(f64::from(b))));
    let range = match (lo, hi) {
        (Some(a), Some(b)) => format!("{} to {} {}", shown_number(a), shown_number(b), image.unit),
        _ => "all blank".into(),
    };
    let summary = format!("{shown}: {} x {} pixels, {known} not blank, {range}", image.nx(), image.ny());
    let fields = json!({ "path": shown, "shape": [image.ny(), image.nx()], "unit": image.unit.as_str(), "n_known": known, "min": lo, "max": hi,
                         "beam": beam_value(image.beam) });
    record("Image", summary, fields)
}

/// Writes an image with what made it.
pub fn put_image(call: &Call, work: &Work, path: &Path, image: &Image) -> Result<Value> {
    let mut image = image.clone();
    sign(&mut image.meta, call, work);
    fits::write_image(path, &image, true)?;
    image_record(call, path, &image)
}

/// Writes a cube with what made it.
pub fn put_cube(call: &Call, work: &Work, path: &Path, mut cube: Cube) -> Result<Value> {
    sign(&mut cube.info_mut().meta, call, work);
    fits::write_cube(path, &cube, true)?;
    cube_record(call, path, cube.info())
}

/// Writes a mask on the grid of a cube with what made it.
pub fn put_mask(call: &Call, work: &Work, path: &Path, mask: &Mask, info: &CubeInfo) -> Result<Value> {
    let mut info = info.clone();
    sign(&mut info.meta, call, work);
    fits::write_mask(path, mask, &info, true)?;
    mask_record(call, path, mask)
}
