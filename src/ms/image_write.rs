//! CASA images, written: a table with one row whose cell `map` holds the pixels, in tiles of one plane, with axes right
//! ascension, declination, Stokes, frequency as tclean makes them; blank pixels are NaN and excluded by `mask0`.

use std::f64::consts::PI;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use ndarray::ArrayView2;

use super::aipsio::CellType;
use super::write::{Cells, Column, Keyword, Shape, TableWriter};
use crate::calendar::{MJD_OF_1970, days_from_civil};
use crate::data::{Beam, Beams, CardValue, CubeInfo, CubeSink, Meta};
use crate::error::{Error, Result};
use crate::sky::{Celestial, SpectralAxis, SpectralFrame};
use crate::units::ARCSEC;

const IMAGE_INFO: &str = "Type = Image\nSubType = \n";
const LOG_INFO: &str = "Type = Log message\nSubType = \n\nRepository for software-generated logging messages\n";
const MASK_INFO: &str = "Type = Paged Array\nSubType = \n";
/// What CASA writes as the comment of such a column.
const ARRAY_COMMENT: &str = "version 4.0";

/// Writes a CASA image plane by plane.
pub struct CasaImageWriter {
    dir: PathBuf,
    info: CubeInfo,
    pixels: BufWriter<File>,
    table: TableWriter,
    /// Made where the first blank pixel is met.
    mask: Option<MaskWriter>,
    done: usize,
}

impl CasaImageWriter {
    /// Begins an image of Stokes I in the folder `dir`, which must not exist.
    pub fn create(dir: &Path, info: &CubeInfo) -> Result<CasaImageWriter> {
        std::fs::create_dir(dir).map_err(|e| Error::io("make the folder of a CASA image", dir, e))?;
        let bytes = 4 * info.shape().iter().product::<usize>() as u64;
        let (table, pixels) = array_table(dir, "map", CellType::Float, info, bytes)?;
        Ok(CasaImageWriter { dir: dir.to_path_buf(), info: info.clone(), pixels, table, mask: None, done: 0 })
    }

    /// Completes the image.
    pub fn finish(mut self) -> Result<()> {
        let failed = |e| Error::io("write a CASA image", &self.dir, e);
        self.pixels.flush().map_err(failed)?;
        let masked = self.mask.is_some();
        if let Some(mask) = self.mask {
            mask.finish()?;
        }
        write_log(&self.dir.join("logtable"))?;
        self.table.finish(&image_keywords(&self.info, masked)?, IMAGE_INFO)
    }
}

impl CubeSink for CasaImageWriter {
    fn put_plane(&mut self, plane: ArrayView2<'_, f32>) -> Result<()> {
        let (found, expected) = ([plane.nrows(), plane.ncols()], [self.info.ny(), self.info.nx()]);
        if found != expected || self.done == self.info.n_chan() {
            return Err(Error::internal(format!("plane {} of {found:?} pixels in an image of {:?}", self.done, self.info.shape())));
        }
        if self.mask.is_none() && plane.iter().any(|v| v.is_nan()) {
            self.mask = Some(MaskWriter::create(&self.dir.join("mask0"), &self.info, self.done)?);
        }
        if let Some(mask) = &mut self.mask {
            mask.put(plane.iter().map(|v| !v.is_nan()))?;
        }
        self.done += 1;
        let mut put = || plane.iter().try_for_each(|v| self.pixels.write_all(&v.to_le_bytes()));
        put().map_err(|e| Error::io("write a CASA image", &self.dir, e))
    }
}

/// The mask beside an image: true where its pixels count; bits, each plane filled up to a whole byte.
struct MaskWriter {
    dir: PathBuf,
    table: TableWriter,
    bits: BufWriter<File>,
}

impl MaskWriter {
    /// Begins the mask of an image whose first `n_good` planes have no blank pixel.
    fn create(dir: &Path, info: &CubeInfo, n_good: usize) -> Result<MaskWriter> {
        std::fs::create_dir(dir).map_err(|e| Error::io("make the folder of a mask", dir, e))?;
        let plane_bytes = (info.nx() * info.ny()).div_ceil(8);
        let (table, bits) = array_table(dir, "PagedArray", CellType::Bool, info, (plane_bytes * info.n_chan()) as u64)?;
        let mut mask = MaskWriter { dir: dir.to_path_buf(), table, bits };
        (0..n_good).try_for_each(|_| mask.put(std::iter::repeat_n(true, info.nx() * info.ny())))?;
        Ok(mask)
    }

    fn put(&mut self, values: impl Iterator<Item = bool>) -> Result<()> {
        let values: Vec<bool> = values.collect();
        let byte = |eight: &[bool]| eight.iter().enumerate().fold(0u8, |byte, (i, v)| byte | u8::from(*v) << i);
        let bytes: Vec<u8> = values.chunks(8).map(byte).collect();
        self.bits.write_all(&bytes).map_err(|e| Error::io("write the mask of a CASA image", &self.dir, e))
    }

    fn finish(mut self) -> Result<()> {
        self.bits.flush().map_err(|e| Error::io("write the mask of a CASA image", &self.dir, e))?;
        self.table.finish(&[], MASK_INFO)
    }
}

/// A table of one row with one array [x, y, Stokes, channel], and the file that its tiles, plane after plane, go into.
fn array_table(dir: &Path, column: &str, cell: CellType, info: &CubeInfo, bytes: u64) -> Result<(TableWriter, BufWriter<File>)> {
    let column = Column::new(column, cell, Shape::Image(4), ARRAY_COMMENT, &[]);
    let name = column.name.clone();
    let mut table = TableWriter::new(dir, vec![column], 1)?;
    table.append_scalars(1, &[Cells::Undefined])?;
    let [n_chan, ny, nx] = info.shape().map(|n| n as u64);
    let tiled = table.array(&name).ok_or_else(|| Error::internal("a table without its column"))?;
    let (number, path) = tiled.adopt(&[nx, ny, 1, n_chan], &[nx, ny, 1, 1, 1], 1, bytes);
    tiled.map_rows(1, number, 0);
    let file = File::create(&path).map_err(|e| Error::io("create a table file", &path, e))?;
    Ok((table, BufWriter::with_capacity(1 << 20, file)))
}

type Fields = Vec<(String, Keyword)>;

fn fields<const N: usize>(fields: [(&str, Keyword); N]) -> Fields {
    fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

fn record<const N: usize>(given: [(&str, Keyword); N]) -> Keyword {
    Keyword::Record(fields(given))
}

fn text(t: &str) -> Keyword {
    Keyword::Text(t.to_string())
}

fn texts(list: &[&str]) -> Keyword {
    Keyword::Texts(list.iter().map(|t| t.to_string()).collect())
}

fn quantity(value: f64, unit: &str) -> Keyword {
    record([("value", Keyword::Double(value)), ("unit", text(unit))])
}

fn image_keywords(info: &CubeInfo, masked: bool) -> Result<Fields> {
    let mut out = fields([("coords", coordinates(info)?), ("units", text(info.unit.as_str())), ("miscinfo", miscellaneous(&info.meta))]);
    if masked {
        out.push(("masks".into(), record([("mask0", mask_record(info))])));
        out.push(("Image_defaultmask".into(), text("mask0")));
    }
    out.push(("imageinfo".into(), image_info(info)));
    Ok(out)
}

fn mask_record(info: &CubeInfo) -> Keyword {
    let [n_chan, ny, nx] = info.shape();
    let shape = [nx, ny, 1, n_chan];
    // Pixels of regions count from 1.
    let region = |name: &str| [("isRegion", Keyword::Int(1)), ("name", text(name)), ("comment", text(""))];
    let mut boxed = fields(region("LCBox"));
    boxed.extend(fields([
        ("oneRel", Keyword::Bool(true)),
        ("blc", Keyword::Floats(vec![1.0; 4])),
        ("trc", Keyword::Floats(shape.iter().map(|n| *n as f32).collect())),
        ("shape", Keyword::Ints(shape.iter().map(|n| *n as i32).collect())),
    ]));
    let mut mask = fields(region("LCPagedMask"));
    mask.extend(fields([("mask", Keyword::Table("mask0".into())), ("box", Keyword::Record(boxed))]));
    Keyword::Record(mask)
}

fn image_info(info: &CubeInfo) -> Keyword {
    let beam = |b: Beam| {
        record([
            ("major", quantity(b.bmaj_rad() / ARCSEC, "arcsec")),
            ("minor", quantity(b.bmin_rad() / ARCSEC, "arcsec")),
            ("positionangle", quantity(b.bpa_rad().to_degrees(), "deg")),
        ])
    };
    let mut out = Fields::new();
    match info.beams() {
        Beams::None => {}
        Beams::One(one) => out.push(("restoringbeam".into(), beam(*one))),
        Beams::PerChannel(list) => {
            let n = Keyword::UInt(list.len() as u32);
            let mut set = fields([("nChannels", n), ("nStokes", Keyword::UInt(1))]);
            // A channel without a beam has one of no size, as CASA writes it.
            let none = || {
                record(["major", "minor", "positionangle"].map(|k| (k, quantity(0.0, if k == "positionangle" { "deg" } else { "arcsec" }))))
            };
            set.extend(list.iter().enumerate().map(|(i, b)| (format!("*{i}"), b.map_or_else(none, beam))));
            out.push(("perplanebeams".into(), Keyword::Record(set)));
        }
    }
    let kind = match info.meta.text("BTYPE").unwrap_or_default() {
        "Psf" => "Intensity",
        "Mask" | "Weight" => "Undefined",
        other => other,
    };
    out.extend(fields([("imagetype", text(kind)), ("objectname", text(info.meta.text("OBJECT").unwrap_or_default()))]));
    Keyword::Record(out)
}

/// The log that casacore wants beside an image; empty, as the image would have other bytes in every run with HISTORY in it.
fn write_log(dir: &Path) -> Result<()> {
    std::fs::create_dir(dir).map_err(|e| Error::io("make the log of a CASA image", dir, e))?;
    let unit = fields([("UNIT", text("s")), ("MEASURE_TYPE", text("EPOCH")), ("MEASURE_REFERENCE", text("UTC"))]);
    let time = Column::new("TIME", CellType::Double, Shape::Scalar, "MJD in seconds", &unit);
    let texts = ["PRIORITY", "MESSAGE", "LOCATION", "OBJECT_ID"].map(|name| Column::new(name, CellType::String, Shape::Scalar, "", &[]));
    let columns = std::iter::once(time).chain(texts).collect();
    TableWriter::new(dir, columns, 0)?.finish(&[], LOG_INFO)
}

/// Cards that have no place of their own.
fn miscellaneous(meta: &Meta) -> Keyword {
    const ELSEWHERE: [&str; 10] =
        ["TELESCOP", "OBSERVER", "OBJECT", "DATE-OBS", "TIMESYS", "OBSRA", "OBSDEC", "OBSGEO-X", "OBSGEO-Y", "OBSGEO-Z"];
    let value = |v: &CardValue| match v {
        CardValue::Bool(b) => Keyword::Bool(*b),
        CardValue::Int(i) => Keyword::Double(*i as f64),
        CardValue::Real(r) => Keyword::Double(*r),
        CardValue::Text(t) => text(t),
    };
    let cards = meta.cards.iter().filter(|c| !ELSEWHERE.contains(&c.key.as_str()));
    Keyword::Record(cards.map(|c| (c.key.to_ascii_lowercase(), value(&c.value))).collect())
}

fn coordinates(info: &CubeInfo) -> Result<Keyword> {
    let mut out = observation(&info.meta, info.sky());
    let axis = |number: usize, axes: &[i32], world: &[f64]| {
        let name = |kind: &str| format!("{kind}{number}");
        let ints = || Keyword::Ints(axes.to_vec());
        vec![
            (name("worldmap"), ints()),
            (name("worldreplace"), Keyword::doubles(world)),
            (name("pixelmap"), ints()),
            (name("pixelreplace"), Keyword::doubles(&vec![0.0; axes.len()])),
        ]
    };
    let center = info.sky().keys().crval.map(f64::to_radians);
    out.push(("direction0".into(), direction(info.sky())));
    out.extend(axis(0, &[0, 1], &center));
    out.push(("stokes1".into(), stokes()));
    out.extend(axis(1, &[2], &[1.0]));
    out.push(("spectral2".into(), spectral(info.spectral())?));
    out.extend(axis(2, &[3], &[info.spectral().freq_hz(0.0)?]));
    Ok(Keyword::Record(out))
}

fn observation(meta: &Meta, sky: &Celestial) -> Fields {
    let angle = |key: &str, default: f64| meta.number(key).unwrap_or(default).to_radians();
    let [ra, dec] = sky.keys().crval;
    let mut out = fields([
        ("telescope", text(meta.text("TELESCOP").unwrap_or("UNKNOWN"))),
        ("observer", text(meta.text("OBSERVER").unwrap_or_default())),
        ("obsdate", measure("epoch", "UTC", &[(meta.text("DATE-OBS").and_then(mjd).unwrap_or(0.0), "d")])),
        (
            "pointingcenter",
            record([
                ("value", Keyword::doubles(&[angle("OBSRA", ra), angle("OBSDEC", dec)])),
                ("initial", Keyword::Bool(meta.number("OBSRA").is_none())),
            ]),
        ),
    ]);
    if let (Some(x), Some(y), Some(z)) = (meta.number("OBSGEO-X"), meta.number("OBSGEO-Y"), meta.number("OBSGEO-Z")) {
        let r = x.hypot(y).hypot(z);
        let place = [(y.atan2(x), "rad"), (z.atan2(x.hypot(y)), "rad"), (r, "m")];
        out.push(("telescopeposition".into(), measure("position", "ITRF", &place)));
    }
    out
}

fn measure(kind: &str, reference: &str, values: &[(f64, &str)]) -> Keyword {
    let mut out = fields([("type", text(kind)), ("refer", text(reference))]);
    out.extend(values.iter().enumerate().map(|(i, (value, unit))| (format!("m{i}"), quantity(*value, unit))));
    Keyword::Record(out)
}

/// MJD of `2017-12-26T10:27:59.616000`.
fn mjd(date: &str) -> Option<f64> {
    let (day, time) = date.split_once('T').unwrap_or((date, "0:0:0"));
    let mut ymd = day.split('-').map(|t| t.parse::<i64>().ok());
    let mut hms = time.split(':').map(|t| t.parse::<f64>().ok());
    let days = days_from_civil(ymd.next()??, ymd.next()??, ymd.next()??) + MJD_OF_1970;
    Some(days as f64 + (hms.next()?? * 3600.0 + hms.next()?? * 60.0 + hms.next()??) / 86_400.0)
}

fn direction(sky: &Celestial) -> Keyword {
    let keys = sky.keys();
    let cdelt = [0, 1].map(|i| if keys.cd[i][i] != 0.0 { keys.cd[i][i] } else { keys.cd[i][1 - i] });
    let pc = [0, 1].map(|i| [keys.cd[i][0] / cdelt[i], keys.cd[i][1] / cdelt[i]]);
    let parameters = match keys.projection {
        crate::sky::Projection::Sin { xi, eta } => vec![xi, eta],
        _ => vec![],
    };
    record([
        ("system", text(sky.frame().name())),
        ("projection", text(keys.projection.code())),
        ("projection_parameters", Keyword::doubles(&parameters)),
        ("crval", Keyword::doubles(&keys.crval.map(f64::to_radians))),
        ("crpix", Keyword::doubles(&keys.crpix.map(|p| p - 1.0))),
        ("cdelt", Keyword::doubles(&cdelt.map(f64::to_radians))),
        // First index fastest.
        ("pc", Keyword::Doubles(vec![pc[0][0], pc[1][0], pc[0][1], pc[1][1]], vec![2, 2])),
        ("axes", texts(&["Right Ascension", "Declination"])),
        ("units", texts(&["rad", "rad"])),
        ("conversionSystem", text(sky.frame().name())),
        ("longpole", Keyword::Double(keys.lonpole.unwrap_or(180.0))),
        ("latpole", Keyword::Double(keys.latpole.unwrap_or(keys.crval[1]))),
    ])
}

fn stokes() -> Keyword {
    record([
        ("axes", texts(&["Stokes"])),
        ("stokes", texts(&["I"])),
        ("crval", Keyword::doubles(&[1.0])),
        ("crpix", Keyword::doubles(&[0.0])),
        ("cdelt", Keyword::doubles(&[1.0])),
        ("pc", Keyword::Doubles(vec![1.0], vec![1, 1])),
    ])
}

/// casacore's name of a frame of frequencies.
fn frame_name(frame: Option<SpectralFrame>) -> &'static str {
    match frame {
        None | Some(SpectralFrame::Lsrk) => "LSRK",
        Some(SpectralFrame::Topo) => "TOPO",
        Some(SpectralFrame::Geo) => "GEO",
        Some(SpectralFrame::Bary | SpectralFrame::Helio) => "BARY",
        Some(SpectralFrame::Lsrd) => "LSRD",
        Some(SpectralFrame::Galactocentric) => "GALACTO",
        Some(SpectralFrame::LocalGroup) => "LGROUP",
        Some(SpectralFrame::Cmb) => "CMB",
        Some(SpectralFrame::Source) => "REST",
    }
}

/// The axis in frequency, in which the channels of an image are equally wide.
fn spectral(axis: &SpectralAxis) -> Result<Keyword> {
    let last = axis.n_chan().saturating_sub(1).max(1) as f64;
    let (first_hz, last_hz) = (axis.freq_hz(0.0)?, axis.freq_hz(last)?);
    let system = frame_name(axis.frame());
    let rest_hz = axis.rest_hz().unwrap_or(0.0);
    let optical = axis.velocity_kind() == crate::sky::SpectralKind::Optical;
    let wcs = record([
        ("crval", Keyword::Double(first_hz)),
        ("crpix", Keyword::Double(0.0)),
        ("cdelt", Keyword::Double((last_hz - first_hz) / last)),
        ("pc", Keyword::Double(1.0)),
        ("ctype", text("FREQ")),
    ]);
    let conversion = record([
        ("direction", measure("direction", "J2000", &[(0.0, "rad"), (PI / 2.0, "rad")])),
        ("position", measure("position", "ITRF", &[(0.0, "rad"), (0.0, "rad"), (0.0, "m")])),
        ("epoch", measure("epoch", "LAST", &[(0.0, "d")])),
        ("system", text(system)),
    ]);
    Ok(record([
        ("version", Keyword::Int(2)),
        ("system", text(system)),
        ("restfreq", Keyword::Double(rest_hz)),
        ("restfreqs", Keyword::doubles(&[rest_hz])),
        ("velType", Keyword::Int(i32::from(optical))),
        ("nativeType", Keyword::Int(0)),
        ("velUnit", text("km/s")),
        ("waveUnit", text("mm")),
        ("formatUnit", text("")),
        ("wcs", wcs),
        ("unit", text("Hz")),
        ("name", text("Frequency")),
        ("conversion", conversion),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Unit;
    use crate::ms::read_casa_cube;
    use crate::sky::{Direction, Frame, Projection, SpectralKind};
    use ndarray::Array3;

    fn case() -> (CubeInfo, Array3<f32>) {
        let center = Direction { ra_rad: 1.2, dec_rad: -0.4, frame: Frame::Icrs };
        let sky = Celestial::simple(Projection::Sin { xi: 0.0, eta: 0.0 }, center, 0.05 * ARCSEC, (3.0, 2.0)).unwrap();
        let spectral = SpectralAxis::new(SpectralKind::Frequency, 230e9, -1e6, 1.0, 4).unwrap();
        let spectral = spectral.with_rest(230.538e9).unwrap().with_frame(Some(SpectralFrame::Lsrk));
        let beams = (1..5).map(|i| Beam::new(0.1 * f64::from(i) * ARCSEC, 0.08 * ARCSEC, 0.3).ok()).collect();
        let mut info = CubeInfo::new(sky, spectral, 5, 7, Unit::new("Jy/beam")).unwrap().with_beams(Beams::PerChannel(beams)).unwrap();
        info.meta.set("TELESCOP", CardValue::Text("ALMA".into()), "");
        info.meta.set("DATE-OBS", CardValue::Text("2017-12-26T12:00:00.0".into()), "");
        let mut values = Array3::from_shape_fn((4, 5, 7), |(z, y, x)| (100 * z + 10 * y + x) as f32);
        values[[2, 1, 3]] = f32::NAN;
        (info, values)
    }

    #[test]
    fn an_image_comes_back_through_casacore() {
        let (info, values) = case();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.image");
        let mut writer = CasaImageWriter::create(&path, &info).unwrap();
        values.outer_iter().for_each(|plane| writer.put_plane(plane).unwrap());
        writer.finish().unwrap();
        let read = read_casa_cube(&path, None).unwrap();
        for ((i, a), b) in values.indexed_iter().zip(read.data()) {
            assert!(a == b || (a.is_nan() && b.is_nan()), "{i:?}: {a} {b}");
        }
        let (a, b) = (read.info(), &info);
        assert_eq!((a.unit.as_str(), a.sky().frame()), ("Jy/beam", Frame::Icrs));
        assert!((a.spectral().freq_hz(2.0).unwrap() - 229.998e9).abs() < 1e-3 && a.spectral().rest_hz() == Some(230.538e9));
        let (pa, pb) = (a.sky().sky_from_pixel(5.0, 1.0).unwrap(), b.sky().sky_from_pixel(5.0, 1.0).unwrap());
        assert!(pa.separation_rad(pb) < 1e-14);
        assert!((a.beams().of_channel(3).unwrap().bmaj_rad() - 0.4 * ARCSEC).abs() < 1e-15);
        assert!(path.join("mask0/table.dat").is_file());
        let log = crate::ms::casacore::with_table(&path.join("logtable"), |t| Ok((t.n_rows(), t.column_names().unwrap()))).unwrap();
        assert_eq!((log.0, log.1.len()), (0, 5));
    }

    #[test]
    fn dates_become_days() {
        assert_eq!(mjd("2017-12-26T12:00:00.0"), Some(58113.5));
        assert_eq!(mjd("yesterday"), None);
    }
}
