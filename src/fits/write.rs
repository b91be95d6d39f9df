//! Writing images, cubes and masks; a file appears under its name only when it is complete.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ndarray::{ArrayView2, ArrayView3};

use super::FitsError;
use super::axes::{beam_cards, coordinate_cards, line_cards};
use super::header::{format_card, format_lines};
use super::table::{Column, table_bytes};
use crate::data::{Beams, Card, CardValue, Cube, CubeInfo, CubeSink, Image, Mask, Meta, Plane, RowSink};
use crate::error::{Error, Result};
use crate::sky::SpectralAxis;

const BLOCK: usize = 2880;

/// How pixels are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pixels {
    /// 32-bit floating point, NaN where blank.
    F32,
    /// Bytes, 0 and 1: masks.
    U8,
}

impl Pixels {
    fn bitpix(self) -> i64 {
        match self {
            Pixels::F32 => -32,
            Pixels::U8 => 8,
        }
    }
}

/// Writes an image.
pub fn write_image(path: &Path, image: &Image, overwrite: bool) -> Result<()> {
    let mut head = Vec::new();
    if let Some(b) = image.beam {
        head.extend(beam_cards(b));
    }
    head.push(unit_card(image.unit.as_str()));
    head.extend(meta_cards(&image.meta));
    head.extend(coordinate_cards(image.sky(), None));
    head.extend(line_cards(image.rest_hz, image.spectral_frame));
    let mut file = Writer::create(path, overwrite, Pixels::F32, &[image.nx(), image.ny()], head, &image.meta)?;
    file.put_floats(image.data().view())?;
    file.finish(None)
}

/// Writes a plane of two linear axes.
pub fn write_plane(path: &Path, plane: &Plane, overwrite: bool) -> Result<()> {
    let mut head = Vec::new();
    if let Some(b) = plane.beam {
        head.extend(beam_cards(b));
    }
    head.push(unit_card(plane.unit.as_str()));
    head.extend(meta_cards(&plane.meta));
    for (i, a) in plane.axes.iter().enumerate() {
        let card = |key: &str, value: CardValue| Card { key: format!("{key}{}", i + 1), value, comment: String::new() };
        head.push(card("CTYPE", CardValue::Text(a.ctype.clone())));
        head.push(card("CRVAL", CardValue::Real(a.crval)));
        head.push(card("CDELT", CardValue::Real(a.cdelt)));
        head.push(card("CRPIX", CardValue::Real(a.crpix)));
        head.push(card("CUNIT", CardValue::Text(a.cunit.clone())));
    }
    head.extend(line_cards(plane.rest_hz, None));
    let (ny, nx) = plane.data().dim();
    let mut file = Writer::create(path, overwrite, Pixels::F32, &[nx, ny], head, &plane.meta)?;
    file.put_floats(plane.data().view())?;
    file.finish(None)
}

/// Writes a cube.
pub fn write_cube(path: &Path, cube: &Cube, overwrite: bool) -> Result<()> {
    let mut writer = CubeWriter::create(path, cube.info(), overwrite)?;
    for plane in cube.data().outer_iter() {
        writer.put_plane(plane)?;
    }
    writer.finish()
}

/// Writes a mask as a cube of bytes on the grid of `info`.
pub fn write_mask(path: &Path, mask: &Mask, info: &CubeInfo, overwrite: bool) -> Result<()> {
    if mask.shape() != info.shape() {
        let (found, expected) = (mask.shape().to_vec(), info.shape().to_vec());
        return Err(crate::data::DataError::Shape { what: "mask", found, expected }.into());
    }
    let mut info = info.clone();
    info.unit = crate::data::Unit::none();
    info.meta.set("BTYPE", CardValue::Text("Mask".into()), "");
    let mut file = Writer::create(path, overwrite, Pixels::U8, &fits_size(&info), cube_cards(&info), &info.meta)?;
    let [nc, ny, nx] = mask.shape();
    let mut row = vec![0u8; nx];
    for (z, y) in (0..nc).flat_map(|z| (0..ny).map(move |y| (z, y))) {
        row.fill(0);
        mask.columns(z, y).for_each(|x| row[x] = 1);
        file.put_bytes(&row)?;
    }
    file.finish(beams_bytes(info.beams()))
}

/// Writes a cube plane by plane.
pub struct CubeWriter {
    file: Writer,
    beams: Beams,
    shape: (usize, usize),
    n_chan: usize,
    /// Rows of any channel.
    done: usize,
}

impl CubeWriter {
    /// Begins the file under a temporary name.
    pub fn create(path: &Path, info: &CubeInfo, overwrite: bool) -> Result<CubeWriter> {
        let file = Writer::create(path, overwrite, Pixels::F32, &fits_size(info), cube_cards(info), &info.meta)?;
        Ok(CubeWriter { file, beams: info.beams().clone(), shape: (info.ny(), info.nx()), n_chan: info.n_chan(), done: 0 })
    }
    /// Begins a file with a fourth axis, Stokes I, as CASA exports images; a continuum image is a cube of one channel.
    pub fn create_with_stokes(path: &Path, info: &CubeInfo, overwrite: bool) -> Result<CubeWriter> {
        let [nx, ny, n_chan] = fits_size(info);
        let cards = with_stokes(cube_cards(info));
        let file = Writer::create(path, overwrite, Pixels::F32, &[nx, ny, n_chan, 1], cards, &info.meta)?;
        Ok(CubeWriter { file, beams: info.beams().clone(), shape: (info.ny(), info.nx()), n_chan: info.n_chan(), done: 0 })
    }
    /// Completes the file and gives it its name.
    pub fn finish(self) -> Result<()> {
        self.finish_with(&[])
    }
    /// As [`CubeWriter::finish`], with tables in further extensions.
    pub fn finish_with(self, tables: &[(&str, Vec<Column>)]) -> Result<()> {
        let rows = self.n_chan * self.shape.0;
        if self.done != rows {
            return Err(Error::from(FitsError::Incomplete { found: self.done, expected: rows }).at(&self.file.path));
        }
        let mut bytes = beams_bytes(&self.beams).unwrap_or_default();
        for (name, columns) in tables {
            bytes.extend(table_bytes(name, columns, &[])?);
        }
        self.file.finish((!bytes.is_empty()).then_some(bytes))
    }
}

impl CubeSink for CubeWriter {
    fn put_plane(&mut self, plane: ArrayView2<'_, f32>) -> Result<()> {
        if plane.dim() != self.shape || self.done == self.n_chan * self.shape.0 {
            let found = vec![self.done / self.shape.0.max(1), plane.nrows(), plane.ncols()];
            return Err(
                crate::data::DataError::Shape { what: "plane", found, expected: vec![self.n_chan, self.shape.0, self.shape.1] }.into()
            );
        }
        self.done += plane.nrows();
        self.file.put_floats(plane)
    }
}

impl RowSink for CubeWriter {
    fn put_rows(&mut self, first: usize, rows: ArrayView3<'_, f32>) -> Result<()> {
        let (nc, n, nx) = rows.dim();
        if (nc, nx) != (self.n_chan, self.shape.1) || first + n > self.shape.0 {
            return Err(crate::data::DataError::Shape {
                what: "rows",
                found: vec![nc, first + n, nx],
                expected: vec![self.n_chan, self.shape.0, self.shape.1],
            }
            .into());
        }
        for (z, plane) in rows.outer_iter().enumerate() {
            self.file.put_floats_at(((z * self.shape.0 + first) * nx) as u64, plane)?;
        }
        self.done += nc * n;
        Ok(())
    }
}

fn fits_size(info: &CubeInfo) -> [usize; 3] {
    [info.nx(), info.ny(), info.n_chan()]
}

fn unit_card(unit: &str) -> Card {
    Card { key: "BUNIT".into(), value: CardValue::Text(unit.into()), comment: String::new() }
}

fn cube_cards(info: &CubeInfo) -> Vec<Card> {
    let mut head = Vec::new();
    if let Some(b) = info.beams().largest() {
        head.extend(beam_cards(b));
    }
    if matches!(info.beams(), Beams::PerChannel(_)) {
        let comment = "One beam a channel: table BEAMS".to_string();
        head.push(Card { key: "CASAMBM".into(), value: CardValue::Bool(true), comment });
    }
    head.push(unit_card(info.unit.as_str()));
    head.extend(meta_cards(&info.meta));
    head.extend(coordinate_cards(info.sky(), Some(info.spectral())));
    head.extend(line_cards(info.spectral().rest_hz(), info.spectral().frame()));
    head.extend(velref_card(info.spectral()));
    head
}

/// The cards of a cube with those of a fourth axis: Stokes I.
fn with_stokes(mut cards: Vec<Card>) -> Vec<Card> {
    if let Some(axes) = cards.iter_mut().find(|c| c.key == "WCSAXES") {
        axes.value = CardValue::Int(4);
    }
    let after = cards.iter().position(|c| c.key == "CUNIT3").map_or(cards.len(), |i| i + 1);
    let text = |key: &str, v: &str| Card { key: key.into(), value: CardValue::Text(v.into()), comment: String::new() };
    let one = |key: &str| Card { key: key.into(), value: CardValue::Real(1.0), comment: String::new() };
    let stokes = [text("CTYPE4", "STOKES"), one("CRVAL4"), one("CDELT4"), one("CRPIX4"), text("CUNIT4", "")];
    cards.splice(after..after, stokes);
    cards
}

/// AIPS's VELREF, which CASA reads: it alone says that a frequency axis is meant in optical velocity.
fn velref_card(axis: &SpectralAxis) -> Option<Card> {
    use crate::sky::{SpectralFrame::*, SpectralKind};
    let frame = match axis.frame()? {
        Lsrk => 1,
        Helio | Bary => 2,
        Topo => 3,
        Lsrd => 4,
        Geo => 5,
        _ => return None,
    };
    let radio = if axis.velocity_kind() == SpectralKind::Radio { 256 } else { 0 };
    let comment = "1 LSR, 2 HEL, 3 OBS, +256 radio".to_string();
    Some(Card { key: "VELREF".into(), value: CardValue::Int(frame + radio), comment })
}

fn meta_cards(meta: &Meta) -> Vec<Card> {
    let mut cards = meta.cards.clone();
    // Half of a place (X, Y, Z without L, B, H) makes wcslib, and so astropy, complete it with a warning.
    if meta.get("OBSGEO-L").is_none() {
        cards.retain(|c| !c.key.starts_with("OBSGEO-"));
    }
    // wcslib, and so astropy, derives MJD-OBS from DATE-OBS and warns that it had to.
    if meta.get("MJD-OBS").is_none()
        && let Some(mjd) = meta.text("DATE-OBS").and_then(mjd_of_date)
    {
        cards.push(Card { key: "MJD-OBS".into(), value: CardValue::Real(mjd), comment: "[d] MJD of DATE-OBS".into() });
    }
    cards
}

/// MJD of `2017-12-26T10:27:59.616`.
fn mjd_of_date(text: &str) -> Option<f64> {
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00:00"));
    let mut d = date.split('-').map(|p| p.parse::<i64>().ok());
    let (y, m, day) = (d.next()??, d.next()??, d.next()??);
    let mut t = time.split(':').map(|p| p.parse::<f64>().ok());
    let (h, min, s) = (t.next()??, t.next().flatten().unwrap_or(0.0), t.next().flatten().unwrap_or(0.0));
    // Fliegel & Van Flandern 1968, for the Gregorian calendar.
    let a = (m - 14) / 12;
    let jdn = (1461 * (y + 4800 + a)) / 4 + (367 * (m - 2 - 12 * a)) / 12 - (3 * ((y + 4900 + a) / 100)) / 4 + day - 32075;
    Some((jdn - 2_400_001) as f64 + (h * 3600.0 + min * 60.0 + s) / 86400.0)
}

/// CASA's BEAMS table.
fn beams_bytes(beams: &Beams) -> Option<Vec<u8>> {
    let Beams::PerChannel(v) = beams else { return None };
    let column = |f: &dyn Fn(crate::data::Beam) -> f64| v.iter().map(|b| b.map_or(0.0, f) as f32).collect::<Vec<f32>>();
    let columns = [
        Column::f32("BMAJ", "arcsec", column(&|b| b.bmaj_rad() / crate::units::ARCSEC)),
        Column::f32("BMIN", "arcsec", column(&|b| b.bmin_rad() / crate::units::ARCSEC)),
        Column::f32("BPA", "deg", column(&|b| b.bpa_rad().to_degrees())),
        Column::i32("CHAN", "", (0..v.len() as i32).collect()),
        Column::i32("POL", "", vec![0; v.len()]),
    ];
    let extra = [
        Card { key: "NCHAN".into(), value: CardValue::Int(v.len() as i64), comment: String::new() },
        Card { key: "NPOL".into(), value: CardValue::Int(1), comment: String::new() },
    ];
    table_bytes("BEAMS", &columns, &extra).ok()
}

/// A FITS file being written under a temporary name beside its own.
pub(super) struct Writer {
    path: PathBuf,
    temporary: tempfile::NamedTempFile,
    out: BufWriter<File>,
    pixels: Pixels,
    expected: u64,
    written: u64,
    buffer: Vec<u8>,
    min_max: (f32, f32),
    /// Byte of the DATAMAX card; DATAMIN follows.
    extrema_at: u64,
    /// Byte of the first pixel.
    data_at: u64,
    overwrite: bool,
}

impl Writer {
    fn create(path: &Path, overwrite: bool, pixels: Pixels, size: &[usize], cards: Vec<Card>, meta: &Meta) -> Result<Writer> {
        if !overwrite && path.exists() {
            return Err(Error::from(FitsError::Exists).at(path));
        }
        let (temporary, out) = temporary_beside(path)?;
        let expected = size.iter().map(|n| *n as u64).product::<u64>() * pixels.bitpix().unsigned_abs() / 8;
        let (header, extrema_at) = header_bytes(pixels, size, cards, meta);
        let mut writer = Writer {
            path: path.to_path_buf(),
            temporary,
            out,
            pixels,
            expected,
            written: 0,
            buffer: Vec::new(),
            min_max: (f32::INFINITY, f32::NEG_INFINITY),
            extrema_at,
            data_at: header.len() as u64,
            overwrite,
        };
        writer.write_all(&header)?;
        Ok(writer)
    }

    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|e| Error::io("write the file", &self.path, e))
    }

    fn put_floats(&mut self, plane: ArrayView2<'_, f32>) -> Result<()> {
        debug_assert_eq!(self.pixels, Pixels::F32);
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(plane.len() * 4, 0);
        let mut extrema = Extrema::default();
        for (row, bytes) in plane.rows().into_iter().zip(buffer.chunks_exact_mut(4 * plane.ncols().max(1))) {
            row.iter().zip(bytes.chunks_exact_mut(4)).for_each(|(v, b)| b.copy_from_slice(&v.to_be_bytes()));
            match row.as_slice() {
                Some(values) => extrema.take(values),
                None => row.iter().for_each(|v| extrema.take(&[*v])),
            }
        }
        self.min_max = extrema.with(self.min_max);
        self.written += buffer.len() as u64;
        self.write_all(&buffer)?;
        self.buffer = buffer;
        Ok(())
    }

    /// Writes rows at a place among the pixels.
    fn put_floats_at(&mut self, pixel: u64, rows: ArrayView2<'_, f32>) -> Result<()> {
        let at = SeekFrom::Start(self.data_at + 4 * pixel);
        self.out.seek(at).map_err(|e| Error::io("write the file", &self.path, e))?;
        self.put_floats(rows)
    }

    fn put_bytes(&mut self, row: &[u8]) -> Result<()> {
        let (lo, hi) = row.iter().fold((u8::MAX, 0), |(lo, hi), b| (lo.min(*b), hi.max(*b)));
        self.min_max = (self.min_max.0.min(f32::from(lo)), self.min_max.1.max(f32::from(hi)));
        self.written += row.len() as u64;
        self.write_all(row)
    }

    /// Pads, appends an extension, fills in the extrema and gives the file its name.
    fn finish(mut self, extension: Option<Vec<u8>>) -> Result<()> {
        if self.written != self.expected {
            return Err(FitsError::Incomplete { found: self.written as usize, expected: self.expected as usize }.into());
        }
        let end = SeekFrom::Start(self.data_at + self.expected);
        self.out.seek(end).map_err(|e| Error::io("write the file", &self.path, e))?;
        self.write_all(&vec![0; padding(self.written)])?;
        if let Some(bytes) = extension {
            self.write_all(&bytes)?;
        }
        self.put_extrema()?;
        self.out.flush().map_err(|e| Error::io("write the file", &self.path, e))?;
        place(self.temporary, &self.path, self.overwrite)
    }

    /// Overwrites the two cards that were kept free; blank data keep none.
    fn put_extrema(&mut self) -> Result<()> {
        let (lo, hi) = self.min_max;
        if lo > hi {
            return Ok(());
        }
        let number = |v: f32| match self.pixels {
            Pixels::F32 => CardValue::Real(format!("{v}").parse().unwrap_or(f64::from(v))),
            Pixels::U8 => CardValue::Int(v as i64),
        };
        let mut bytes = Vec::new();
        for (key, v) in [("DATAMAX", hi), ("DATAMIN", lo)] {
            let card = Card { key: key.into(), value: number(v), comment: String::new() };
            format_card(&card).iter().for_each(|r| bytes.extend_from_slice(r));
        }
        let at = self.extrema_at;
        let to = |e| Error::io("write the file", &self.path, e);
        self.out.seek(SeekFrom::Start(at)).map_err(to)?;
        self.out.write_all(&bytes).map_err(to)
    }
}

/// Smallest and largest finite value, in lanes that do not wait for each other.
struct Extrema {
    lo: [f32; 16],
    hi: [f32; 16],
}

impl Default for Extrema {
    fn default() -> Extrema {
        Extrema { lo: [f32::INFINITY; 16], hi: [f32::NEG_INFINITY; 16] }
    }
}

impl Extrema {
    fn take(&mut self, values: &[f32]) {
        for chunk in values.chunks(16) {
            for ((v, lo), hi) in chunk.iter().zip(&mut self.lo).zip(&mut self.hi) {
                // Comparisons with NaN are false.
                *lo = if *v < *lo && *v > f32::NEG_INFINITY { *v } else { *lo };
                *hi = if *v > *hi && *v < f32::INFINITY { *v } else { *hi };
            }
        }
    }
    fn with(&self, (lo, hi): (f32, f32)) -> (f32, f32) {
        (self.lo.iter().fold(lo, |a, b| a.min(*b)), self.hi.iter().fold(hi, |a, b| a.max(*b)))
    }
}

/// A temporary file in the folder of `path`, so that giving it its name is one step.
pub(super) fn temporary_beside(path: &Path) -> Result<(tempfile::NamedTempFile, BufWriter<File>)> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::Builder::new()
        .prefix(".phangs-")
        .suffix(".tmp")
        .tempfile_in(folder)
        .map_err(|e| Error::io("create the file", path, e))?;
    let file = temporary.reopen().map_err(|e| Error::io("create the file", path, e))?;
    Ok((temporary, BufWriter::with_capacity(1 << 20, file)))
}

/// Gives a temporary file its name.
pub(super) fn place(temporary: tempfile::NamedTempFile, path: &Path, overwrite: bool) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    // tempfile makes files readable by the owner only; others get what a plain create would give.
    let mode = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(temporary.path(), mode).map_err(|e| Error::io("write the file", path, e))?;
    let placed = if overwrite { temporary.persist(path).map(drop) } else { temporary.persist_noclobber(path).map(drop) };
    placed.map_err(|e| match e.error.kind() {
        std::io::ErrorKind::AlreadyExists => Error::from(FitsError::Exists).at(path),
        _ => Error::io("write the file", path, e.error),
    })
}

fn padding(n: u64) -> usize {
    (BLOCK - (n % BLOCK as u64) as usize) % BLOCK
}

/// The header padded to blocks, and where its two free records are.
fn header_bytes(pixels: Pixels, size: &[usize], cards: Vec<Card>, meta: &Meta) -> (Vec<u8>, u64) {
    let mut bytes = Vec::new();
    let mut put = |card: &Card| format_card(card).iter().for_each(|r| bytes.extend_from_slice(r));
    let card = |key: &str, value: CardValue, comment: &str| Card { key: key.into(), value, comment: comment.into() };
    put(&card("SIMPLE", CardValue::Bool(true), "conforms to FITS standard"));
    put(&card("BITPIX", CardValue::Int(pixels.bitpix()), "array data type"));
    put(&card("NAXIS", CardValue::Int(size.len() as i64), "number of array dimensions"));
    for (i, n) in size.iter().enumerate() {
        put(&card(&format!("NAXIS{}", i + 1), CardValue::Int(*n as i64), ""));
    }
    put(&card("EXTEND", CardValue::Bool(true), ""));
    cards.iter().for_each(put);
    let extrema_at = bytes.len() as u64;
    bytes.extend_from_slice(&[b' '; 160]);
    let lines = |key: &str, lines: &[String], bytes: &mut Vec<u8>| {
        lines.iter().flat_map(|l| format_lines(key, l)).for_each(|r| bytes.extend_from_slice(&r));
    };
    lines("COMMENT", &meta.comments, &mut bytes);
    lines("HISTORY", &meta.history, &mut bytes);
    end_header(&mut bytes);
    (bytes, extrema_at)
}

/// Adds END and pads to a block.
pub(super) fn end_header(bytes: &mut Vec<u8>) {
    format_lines("END", "").iter().for_each(|r| bytes.extend_from_slice(r));
    let pad = padding(bytes.len() as u64);
    bytes.extend(std::iter::repeat_n(b' ', pad));
}

/// Pads data with zeros to a block.
pub(super) fn end_data(bytes: &mut Vec<u8>, from: usize) {
    let pad = padding((bytes.len() - from) as u64);
    bytes.extend(std::iter::repeat_n(0, pad));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A card cannot hold an infinity.
    #[test]
    fn extrema_are_those_of_finite_values() {
        let mut e = Extrema::default();
        e.take(&[1.0, f32::INFINITY, f32::NAN, -2.0, f32::NEG_INFINITY]);
        assert_eq!(e.with((f32::INFINITY, f32::NEG_INFINITY)), (-2.0, 1.0));
    }

    #[test]
    fn dates_become_days() {
        assert_eq!(mjd_of_date("1858-11-17"), Some(0.0));
        assert!((mjd_of_date("2017-12-26T10:27:59.616000").unwrap() - 58113.436106666666).abs() < 1e-9);
        assert_eq!(mjd_of_date("soon"), None);
    }
}
