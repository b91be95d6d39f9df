//! CASA images: tables whose one cell `map` holds the pixels and whose keywords hold the coordinates.

use std::path::Path;

use ndarray::{Array2, Array3};
use rubbl_casatables::{Array, CasaDataType, TableRecord};
use rubbl_core::ndarray::Ix2;

use super::casacore::{casacore, column, shaped_cell, with_table};
use super::error::MsError;
use super::table_files::TableFiles;
use super::tiles::TiledColumn;
use crate::data::{Beam, Beams, CardValue, Cube, CubeInfo, Image, Meta, Unit};
use crate::error::{Error, Result};
use crate::sky::{Celestial, CelestialKeys, Frame, Projection, SpectralAxis, SpectralFrame, SpectralKind};

/// True for a folder that is a CASA image: a table with a column `map`.
pub fn is_casa_image(path: &Path) -> bool {
    matches!(TableFiles::read(path), Ok(Some(files)) if files.column("map").is_some())
}

/// Reads a CASA image as a cube; where it has several Stokes planes, one must be named.
pub fn read_casa_cube(path: &Path, stokes: Option<&str>) -> Result<Cube> {
    Stored::read(path, stokes).and_then(Stored::cube).map_err(|e| e.at(path))
}

/// Reads a CASA image of one channel as an image.
pub fn read_casa_image(path: &Path, stokes: Option<&str>) -> Result<Image> {
    Stored::read(path, stokes).and_then(Stored::image).map_err(|e| e.at(path))
}

/// Fields of a record, whatever their width.
struct Fields(TableRecord);

impl Fields {
    fn get<T: CasaDataType>(&mut self, key: &str) -> Option<T> {
        self.0.get_field(key).ok()
    }
    fn number(&mut self, key: &str) -> Option<f64> {
        let integer = |f: &mut Fields| f.get::<i32>(key).map(f64::from).or_else(|| f.get::<u32>(key).map(f64::from));
        self.get::<f64>(key).or_else(|| self.get::<f32>(key).map(f64::from)).or_else(|| integer(self))
    }
    fn numbers(&mut self, key: &str) -> Option<Vec<f64>> {
        let wide = |v: Vec<i32>| v.into_iter().map(f64::from).collect();
        self.get::<Vec<f64>>(key).or_else(|| self.get::<Vec<i32>>(key).map(wide))
    }
    fn text(&mut self, key: &str) -> Option<String> {
        self.get::<String>(key).map(|s| s.trim_end_matches('\0').trim().to_string())
    }
    fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        self.get(key)
    }
    fn record(&mut self, key: &str) -> Option<Fields> {
        self.get::<TableRecord>(key).map(Fields)
    }
    fn names(&mut self) -> Vec<String> {
        self.0.keyword_names().unwrap_or_default()
    }
    /// `{value, unit}` in the unit asked for.
    fn quantity(&mut self, key: &str, scale: impl Fn(&str) -> Option<f64>) -> Option<f64> {
        let mut r = self.record(key)?;
        Some(r.number("value")? * scale(&r.text("unit")?)?)
    }
}

fn radians(unit: &str) -> Option<f64> {
    Some(match unit {
        "rad" => 1.0,
        "deg" => 1f64.to_radians(),
        "arcmin" | "'" => 60.0 * crate::units::ARCSEC,
        "arcsec" | "\"" => crate::units::ARCSEC,
        "mas" => crate::units::MAS,
        _ => return None,
    })
}

/// What a table says of itself before pixels are put in place.
struct Stored {
    shape: Vec<usize>,
    values: Vec<f32>,
    axes: Axes,
    i_stokes: usize,
    unit: Unit,
    beams: Beams,
    meta: Meta,
}

/// Which pixel axis is what, and coordinates.
struct Axes {
    x: usize,
    y: usize,
    spectral: Option<usize>,
    stokes: Option<usize>,
    stokes_names: Vec<String>,
    sky: Celestial,
    axis: Option<(LinearSpectral, Option<f64>, Option<SpectralFrame>, SpectralKind)>,
}

#[derive(Debug, Clone, Copy)]
struct LinearSpectral {
    crval: f64,
    cdelt: f64,
    /// 1-based.
    crpix: f64,
}

fn damaged(message: impl Into<String>) -> MsError {
    MsError::Damaged(message.into())
}

impl Stored {
    fn read(path: &Path, stokes: Option<&str>) -> Result<Stored> {
        let files = TableFiles::read(path)?.ok_or_else(|| damaged("the image refers to other tables; copy it with CASA first"))?;
        if files.column("map").is_none() {
            return Err(Error::data("the table has no column `map`: it is no CASA image").hint("a MeasurementSet is read by other verbs"));
        }
        let in_tiles = tiled_pixels(&files)?;
        let (keywords, slow) = with_table(path, |table| {
            let record = table.get_keyword_record().map_err(|e| casacore("read the keywords of the image", e))?;
            let slow = match in_tiles {
                Some(_) => None,
                None => {
                    let mut row = table.get_row_reader().map_err(|e| casacore("read the image", e))?;
                    Some(shaped_cell::<f32>(table, &mut row, "map", 0)?.ok_or_else(|| damaged("the image has no pixels"))?)
                }
            };
            Ok((Keywords::read(Fields(record))?, slow))
        })?;
        let (shape, mut values) = in_tiles.or(slow).ok_or_else(|| damaged("the image has no pixels"))?;
        if let Some(name) = &keywords.mask {
            blank_masked(&path.join(name), &shape, &mut values)?;
        }
        let i_stokes = choose(&keywords.axes, &shape, stokes)?;
        let mut beams = keywords.beams_of(i_stokes, &shape)?;
        if beams.largest().is_none() {
            beams = history_beam(path).map_or(Beams::None, Beams::One);
        }
        Ok(Stored { shape, values, axes: keywords.axes, i_stokes, unit: Unit::new(&keywords.unit), beams, meta: keywords.meta })
    }

    fn n_chan(&self) -> usize {
        self.axes.spectral.map_or(1, |a| self.shape[a])
    }

    /// Pixels as [chan, y, x].
    fn gathered(&self) -> Array3<f32> {
        let stride = |axis: usize| self.shape[..axis].iter().product::<usize>();
        let (sx, sy) = (stride(self.axes.x), stride(self.axes.y));
        let sc = self.axes.spectral.map_or(0, stride);
        let first = self.axes.stokes.map_or(0, |a| stride(a) * self.i_stokes);
        let dim = (self.n_chan(), self.shape[self.axes.y], self.shape[self.axes.x]);
        Array3::from_shape_fn(dim, |(c, y, x)| self.values[first + c * sc + y * sy + x * sx])
    }

    fn cube(self) -> Result<Cube> {
        let Some((linear, rest, frame, velocity)) = self.axes.axis else {
            return Err(Error::data("the image has no spectral axis; read it as an image"));
        };
        let mut axis = SpectralAxis::new(SpectralKind::Frequency, linear.crval, linear.cdelt, linear.crpix, self.n_chan())?
            .with_frame(frame)
            .with_velocity(velocity);
        if let Some(rest) = rest {
            axis = axis.with_rest(rest)?;
        }
        let data = self.gathered();
        let (_, ny, nx) = data.dim();
        let mut info = CubeInfo::new(self.axes.sky, axis, ny, nx, self.unit)?.with_beams(self.beams)?;
        info.meta = self.meta;
        Ok(Cube::new(info, data)?)
    }

    fn image(self) -> Result<Image> {
        if self.n_chan() != 1 {
            return Err(Error::user(format!("the image has {} channels; read it as a cube", self.n_chan())));
        }
        let data: Array2<f32> = self.gathered().index_axis_move(ndarray::Axis(0), 0);
        let mut image = Image::new(data, self.axes.sky, self.unit)?;
        image.beam = self.beams.largest();
        if let Some((_, rest, frame, _)) = self.axes.axis {
            (image.rest_hz, image.spectral_frame) = (rest, frame);
        }
        image.meta = self.meta;
        Ok(image)
    }
}

/// Shape and pixels from the tiles themselves; `None` where casacore must be asked.
fn tiled_pixels(files: &TableFiles) -> Result<Option<(Vec<usize>, Vec<f32>)>> {
    let Some(column) = TiledColumn::open(files, "map")? else { return Ok(None) };
    if column.cell_type() != super::aipsio::CellType::Float {
        return Ok(None);
    }
    let Some(shape) = column.cell_shape(0).map(<[usize]>::to_vec) else { return Ok(None) };
    let mut values = vec![0.0f32; shape.iter().product()];
    column.read(0, 1, &mut values)?;
    Ok(Some((shape, values)))
}

/// Blanks the pixels that the image's default mask leaves out.
fn blank_masked(path: &Path, shape: &[usize], values: &mut [f32]) -> Result<()> {
    let name = super::casacore::short_name(path);
    let files = TableFiles::read(path)?.ok_or_else(|| damaged(format!("mask {name} refers to other tables")))?;
    let column = files.columns.first().map(|c| c.name.clone()).ok_or_else(|| damaged(format!("mask {name} has no column")))?;
    let tiled = TiledColumn::open(&files, &column)?.and_then(|c| c.cell_shape(0).map(<[usize]>::to_vec).map(|s| (c, s)));
    let (found, mask) = match tiled {
        Some((c, s)) => {
            let mut mask = vec![false; s.iter().product()];
            c.read(0, 1, &mut mask)?;
            (s, mask)
        }
        None => with_table(path, |table| {
            let mut row = table.get_row_reader().map_err(|e| casacore("read the mask", e))?;
            shaped_cell::<bool>(table, &mut row, &column, 0)?.ok_or_else(|| damaged(format!("mask {name} has no pixels")))
        })?,
    };
    if found != shape {
        return Err(damaged(format!("mask {name} has shape {found:?}, the image {shape:?}")).into());
    }
    values.iter_mut().zip(&mask).for_each(|(v, m)| {
        if !m {
            *v = f32::NAN;
        }
    });
    Ok(())
}

fn choose(axes: &Axes, shape: &[usize], stokes: Option<&str>) -> Result<usize> {
    let n = axes.stokes.map_or(1, |a| shape[a]);
    let names = axes.stokes_names.join(", ");
    match stokes {
        Some(asked) if axes.stokes.is_some() => axes
            .stokes_names
            .iter()
            .position(|s| s.eq_ignore_ascii_case(asked))
            .filter(|i| *i < n)
            .ok_or_else(|| Error::user(format!("the image has no Stokes {asked}; it has {names}"))),
        _ if n == 1 => Ok(0),
        _ => Err(Error::user(format!("the image has {n} Stokes planes ({names}); choose one")).hint("for example stokes: \"I\"")),
    }
}

struct Keywords {
    axes: Axes,
    unit: String,
    mask: Option<String>,
    beams: Vec<Option<Beam>>,
    /// Channels and Stokes planes of `beams`; (0, 0) for one beam.
    beam_shape: (usize, usize),
    meta: Meta,
}

impl Keywords {
    fn read(mut k: Fields) -> Result<Keywords, MsError> {
        let mut coords = k.record("coords").ok_or_else(|| damaged("the image has no keyword `coords`"))?;
        let axes = read_axes(&mut coords)?;
        let mut meta = Meta::default();
        let mut info = k.record("imageinfo");
        for (key, value) in [
            ("OBJECT", info.as_mut().and_then(|i| i.text("objectname"))),
            ("BTYPE", info.as_mut().and_then(|i| i.text("imagetype"))),
            ("TELESCOP", coords.text("telescope")),
            ("OBSERVER", coords.text("observer")),
        ] {
            if let Some(v) = value.filter(|v| !v.is_empty()) {
                meta.set(key, CardValue::Text(v), "");
            }
        }
        let (beams, beam_shape) = info.as_mut().map_or((Vec::new(), (0, 0)), read_beams);
        Ok(Keywords {
            axes,
            unit: k.text("units").unwrap_or_default(),
            mask: k.text("Image_defaultmask").filter(|m| !m.is_empty()),
            beams,
            beam_shape,
            meta,
        })
    }

    fn beams_of(&self, i_stokes: usize, shape: &[usize]) -> Result<Beams> {
        let (n_chan, n_stokes) = self.beam_shape;
        if n_chan == 0 {
            return Ok(self.beams.first().copied().flatten().map_or(Beams::None, Beams::One));
        }
        let wanted = self.axes.spectral.map_or(1, |a| shape[a]);
        let i = if n_stokes > 1 { i_stokes } else { 0 };
        let each: Vec<Option<Beam>> =
            (0..wanted).map(|c| self.beams.get(if n_chan == 1 { 0 } else { c } + n_chan * i).copied().flatten()).collect();
        Ok(Beams::PerChannel(each).simplified())
    }
}

/// The beam that AIPS or CASA wrote into the history of an image without one of its own.
fn history_beam(path: &Path) -> Option<Beam> {
    let messages = with_table(&path.join("logtable"), |t| column::<String>(t, "MESSAGE")).ok()?;
    Beam::of_history(messages.iter().flat_map(|m| m.lines()).collect::<Vec<_>>().into_iter())
}

fn beam(r: &mut Fields) -> Option<Beam> {
    let (a, b, pa) = (r.quantity("major", radians)?, r.quantity("minor", radians)?, r.quantity("positionangle", radians)?);
    Beam::new(a, b, pa).ok()
}

fn read_beams(info: &mut Fields) -> (Vec<Option<Beam>>, (usize, usize)) {
    if let Some(mut one) = info.record("restoringbeam") {
        return (vec![beam(&mut one)], (0, 0));
    }
    let Some(mut set) = info.record("perplanebeams") else { return (Vec::new(), (0, 0)) };
    let (n_chan, n_stokes) = (set.number("nChannels").unwrap_or(0.0) as usize, set.number("nStokes").unwrap_or(0.0) as usize);
    let each = (0..n_chan * n_stokes).map(|i| set.record(&format!("*{i}")).and_then(|mut r| beam(&mut r))).collect();
    (each, (n_chan, n_stokes))
}

/// Pixel axes of a coordinate: `pixelmap2` says where those of coordinate 2 lie.
fn pixel_axes(coords: &mut Fields, number: usize, n: usize) -> Vec<Option<usize>> {
    let map = coords.numbers(&format!("pixelmap{number}")).unwrap_or_default();
    (0..n).map(|i| map.get(i).filter(|p| **p >= 0.0).map(|p| *p as usize)).collect()
}

fn read_axes(coords: &mut Fields) -> Result<Axes, MsError> {
    let (mut sky, mut axis, mut stokes_names) = (None, None, Vec::new());
    let (mut xy, mut spectral, mut stokes) = (None, None, None);
    for name in coords.names() {
        let split = name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (kind, Ok(number)) = (&name[..split], name[split..].parse::<usize>()) else { continue };
        match kind {
            "direction" => {
                let at = pixel_axes(coords, number, 2);
                let mut r = coords.record(&name).ok_or_else(|| damaged("the direction coordinate is no record"))?;
                sky = Some(direction(&mut r)?);
                if let [Some(x), Some(y)] = at[..] {
                    xy = Some((x, y));
                }
            }
            "spectral" => {
                spectral = pixel_axes(coords, number, 1)[0];
                let mut r = coords.record(&name).ok_or_else(|| damaged("the spectral coordinate is no record"))?;
                axis = Some(spectral_axis(&mut r)?);
            }
            "stokes" => {
                stokes = pixel_axes(coords, number, 1)[0];
                stokes_names = coords.record(&name).and_then(|mut r| r.texts("stokes")).unwrap_or_default();
            }
            _ => {}
        }
    }
    let (Some(sky), Some((x, y))) = (sky, xy) else { return Err(damaged("the image has no direction coordinate over two pixel axes")) };
    Ok(Axes { x, y, spectral, stokes, stokes_names, sky, axis })
}

fn direction(r: &mut Fields) -> Result<Celestial, MsError> {
    let units = r.texts("units").unwrap_or_else(|| vec!["rad".into(), "rad".into()]);
    let scale = |i: usize| units.get(i).and_then(|u| radians(u)).unwrap_or(1.0).to_degrees();
    let pair = |r: &mut Fields, key: &str| match r.numbers(key).as_deref() {
        Some([a, b]) => Ok([*a, *b]),
        _ => Err(damaged(format!("the direction coordinate has no pair `{key}`"))),
    };
    let (crval, cdelt, crpix) = (pair(r, "crval")?, pair(r, "cdelt")?, pair(r, "crpix")?);
    // rubbl reverses axes: element [j][i] is casacore's (i, j), world axis i by pixel axis j.
    let pc = r.get::<Array<f64, Ix2>>("pc").filter(|a| a.shape() == [2, 2]);
    let pc = |i: usize, j: usize| pc.as_ref().map_or(if i == j { 1.0 } else { 0.0 }, |a| a[[j, i]]);
    let code = r.text("projection").unwrap_or_default();
    let parameters = r.numbers("projection_parameters").unwrap_or_default();
    let projection = match Projection::from_code(&code) {
        Some(Projection::Sin { .. }) => {
            Projection::Sin { xi: parameters.first().copied().unwrap_or(0.0), eta: parameters.get(1).copied().unwrap_or(0.0) }
        }
        Some(p) => p,
        None => return Err(damaged(format!("projection {code} is unknown; known are SIN, NCP, TAN, ARC, ZEA, STG, SFL, GLS, CAR"))),
    };
    let system = r.text("system").unwrap_or_default();
    let frame = Frame::from_name(&system).ok_or_else(|| damaged(format!("direction frame {system} is unknown")))?;
    let keys = CelestialKeys {
        projection,
        crval: [crval[0] * scale(0), crval[1] * scale(1)],
        crpix: [crpix[0] + 1.0, crpix[1] + 1.0],
        cd: [0, 1].map(|i| [0, 1].map(|j| cdelt[i] * scale(i) * pc(i, j))),
        lonpole: r.number("longpole"),
        latpole: r.number("latpole"),
        frame,
        radesys: None,
        equinox: None,
    };
    Celestial::new(keys).map_err(|e| damaged(e.to_string()))
}

type Spectral = (LinearSpectral, Option<f64>, Option<SpectralFrame>, SpectralKind);

fn spectral_axis(r: &mut Fields) -> Result<Spectral, MsError> {
    let linear = match (r.record("wcs"), r.record("tabular")) {
        (Some(mut w), _) => LinearSpectral {
            crval: w.number("crval").unwrap_or(0.0),
            cdelt: w.number("cdelt").unwrap_or(1.0) * w.number("pc").unwrap_or(1.0),
            crpix: w.number("crpix").unwrap_or(0.0) + 1.0,
        },
        (None, Some(mut t)) => tabular(&mut t)?,
        _ => return Err(damaged("the spectral coordinate is neither linear nor tabular")),
    };
    let frame = r.text("system").and_then(|s| SpectralFrame::from_name(if s == "BARY" { "BARYCENT" } else { &s }));
    let velocity = match r.number("velType").unwrap_or(0.0) as i64 {
        1 => SpectralKind::Optical,
        3 => SpectralKind::Relativistic,
        _ => SpectralKind::Radio,
    };
    Ok((linear, r.number("restfreq").filter(|f| *f > 0.0), frame, velocity))
}

/// A list of channel frequencies, which must be regular to a thousandth of a channel.
fn tabular(t: &mut Fields) -> Result<LinearSpectral, MsError> {
    let first = |t: &mut Fields, key: &str| t.numbers(key).and_then(|v| v.first().copied());
    let (pixel, world) = (t.numbers("pixelvalues").unwrap_or_default(), t.numbers("worldvalues").unwrap_or_default());
    if pixel.len() < 2 || world.len() != pixel.len() {
        let (Some(crval), Some(cdelt)) = (first(t, "crval"), first(t, "cdelt")) else {
            return Err(damaged("the spectral coordinate has no reference value"));
        };
        return Ok(LinearSpectral { crval, cdelt, crpix: first(t, "crpix").unwrap_or(0.0) + 1.0 });
    }
    let n = pixel.len() - 1;
    let cdelt = (world[n] - world[0]) / (pixel[n] - pixel[0]);
    let irregular = pixel.iter().zip(&world).any(|(p, w)| (w - world[0] - (p - pixel[0]) * cdelt).abs() > 1e-3 * cdelt.abs());
    if irregular {
        return Err(damaged("the channels of the image are not evenly spaced; regrid it with CASA first"));
    }
    Ok(LinearSpectral { crval: world[0], cdelt, crpix: pixel[0] + 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testdata::shared;

    fn unpacked(name: &str) -> Option<(tempfile::TempDir, std::path::PathBuf)> {
        let archive = shared(&format!("real/casaimg/{name}.tar.gz"))?;
        let dir = tempfile::tempdir().unwrap();
        let done = std::process::Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(dir.path()).status().unwrap();
        assert!(done.success());
        let path = dir.path().join(name);
        Some((dir, path))
    }

    /// Values and the corner position as python-casacore 3.8.1 gives them (`image.getdata`, `image.toworld` of pixel 0).
    #[test]
    fn images_read_as_casacore_reads_them() {
        for (name, shape, sum, max, ra, dec, freq) in [
            (
                "casadata_test_image",
                [8, 32, 32],
                -175.527_419_957_6,
                0.885_345_9,
                4.636_473_521_057_336_5,
                -0.506_376_202_139_335_5,
                1_413_350_027.822_617_3,
            ),
            ("3C286_L.im", [1, 250, 250], 14.703_563_7, 11.784_196_9, 3.539_327_554_054_219, 0.532_424_608_824_191_1, 1_425_000_000.0),
            ("3C286_Q.im", [1, 51, 57], 1.455_460_07, 1.031_904_46, 3.539_258_461_327_477, 0.532_484_513_468_395, 43_339_900_000.0),
        ] {
            let Some((_dir, path)) = unpacked(name) else { return };
            assert!(is_casa_image(&path));
            let cube = read_casa_cube(&path, None).unwrap();
            assert_eq!(cube.info().shape(), shape, "{name}");
            let total: f64 = cube.data().iter().map(|v| f64::from(*v)).sum();
            let largest = cube.data().iter().copied().fold(f32::MIN, f32::max);
            assert!((total / sum - 1.0).abs() < 1e-4 && (f64::from(largest) / max - 1.0).abs() < 1e-6, "{name}: {total} {largest}");
            let corner = cube.info().sky().sky_from_pixel(0.0, 0.0).unwrap();
            assert!((corner.ra_rad - ra).abs() < 1e-12 && (corner.dec_rad - dec).abs() < 1e-12, "{name}: {corner:?}");
            assert!((cube.info().spectral().freq_hz(0.0).unwrap() / freq - 1.0).abs() < 1e-12, "{name}");
        }
    }

    /// The image and the FITS file that CASA made of it hold the same values at the same places.
    #[test]
    fn an_image_and_its_fits_twin_agree() {
        let (Some((_dir, path)), Some(fits)) = (unpacked("casadata_test_image"), shared("real/casaimg/casadata_test_image.fits")) else {
            return;
        };
        let cube = read_casa_cube(&path, None).unwrap();
        let bytes = std::fs::read(fits).unwrap();
        // The data follow the header, big-endian f32.
        let end = bytes.chunks(80).position(|c| c.starts_with(b"END")).unwrap() * 80;
        let start = (end / 2880 + 1) * 2880;
        for (i, v) in cube.data().iter().enumerate() {
            let at = start + 4 * i;
            assert_eq!(*v, f32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()), "{i}");
        }
    }

    #[test]
    fn stokes_planes_are_chosen_by_name() {
        let Some((_dir, path)) = unpacked("sc_basic.image") else { return };
        let e = read_casa_cube(&path, None).unwrap_err();
        assert!(e.message.contains("I, Q"), "{e}");
        let q = read_casa_cube(&path, Some("Q")).unwrap();
        assert_eq!(q.info().shape(), [3, 4, 5]);
        assert!((q.info().beams().largest().unwrap().bmaj_rad() / crate::units::ARCSEC - 1.0).abs() < 1e-12);
        assert_eq!(q.info().spectral().frame(), Some(SpectralFrame::Bary));
        assert!((q.info().spectral().cdelt() + 6116.563_216).abs() < 1e-3);
        assert!(read_casa_image(&path, Some("Q")).is_err());
    }
}
