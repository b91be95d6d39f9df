//! Reading images and cubes, whole or block by block.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use ndarray::{Array3, ArrayView3};

use super::axes::{Axes, beam_of, is_structural};
use super::handle::{Handle, HduKind};
use super::header::Header;
use super::{FitsError, ReadOptions};
use crate::data::{Beam, Beams, Cube, CubeInfo, CubeSource, Image, LinearAxis, Meta, Plane, Unit};
use crate::error::{Error, Result};
use crate::notice::{Reporter, Warning};

/// A FITS cube on disk; blocks are read when asked for, from any thread.
///
/// Uncompressed files are read in place; compressed ones and unusual axis orders are held in memory.
pub struct FitsCube {
    info: CubeInfo,
    store: Store,
    path: std::path::PathBuf,
}

enum Store {
    File { file: File, layout: Layout },
    Memory(Cube),
}

/// Where the pixels of a plane are, and how they are coded.
#[derive(Debug, Clone, Copy)]
struct Layout {
    start: u64,
    bitpix: i64,
    scale: f64,
    zero: f64,
    blank: Option<i64>,
    /// Pixels from one channel to the next, and from the start to the first.
    chan_stride: u64,
    offset: u64,
}

/// Reads a cube into memory.
pub fn read_cube(path: &Path, options: &ReadOptions, notice: &dyn Reporter) -> Result<Cube> {
    let FitsCube { info, store, path } = open_cube(path, options, notice)?;
    match store {
        Store::Memory(cube) => Ok(cube),
        store => FitsCube { info, store, path }.load(),
    }
}

/// Reads an image: two celestial axes, all others of length 1.
pub fn read_image(path: &Path, options: &ReadOptions, notice: &dyn Reporter) -> Result<Image> {
    let opened = Opened::open(path, options, notice).map_err(|e| e.at(path))?;
    if opened.n_chan() != 1 {
        let found = format!("those of a cube with {} channels", opened.n_chan());
        return Err(Error::from(FitsError::Axes { found, expected: "those of an image" }).hint("read it as a cube").at(path));
    }
    opened.image().map_err(|e| e.at(path))
}

/// Opens a cube without reading its pixels; an image is a cube of one channel if it has a spectral axis.
pub fn open_cube(path: &Path, options: &ReadOptions, notice: &dyn Reporter) -> Result<FitsCube> {
    Opened::open(path, options, notice).and_then(Opened::cube).map_err(|e| e.at(path))
}

/// True if the file has more than one channel (its header only is read).
pub fn is_cube(path: &Path, options: &ReadOptions, notice: &dyn Reporter) -> Result<bool> {
    let options = ReadOptions { stokes: options.stokes.clone().or(Some("1".into())), ..options.clone() };
    Ok(Opened::open(path, &options, notice).map_err(|e| e.at(path))?.n_chan() > 1)
}

/// Reads the header of an HDU (the first with an image unless named).
pub fn read_header(path: &Path, hdu: Option<usize>) -> Result<Header> {
    let mut handle = Handle::open(path).map_err(|e| Error::from(e).at(path))?;
    select_image(&mut handle, hdu).and_then(|_| handle.header()).map_err(|e| Error::from(e).at(path))
}

/// Reads two-dimensional data whose axes are linear and not both celestial: a position-velocity diagram.
pub fn read_plane(path: &Path) -> Result<Plane> {
    let read = || -> Result<Plane> {
        let mut handle = Handle::open(path)?;
        select_image(&mut handle, None)?;
        let (header, size) = (handle.header()?, handle.image_size()?);
        let [nx, ny] = size[..] else {
            let found = format!("{} axes", size.len());
            return Err(FitsError::Axes { found, expected: "those of a plane (two)" }.into());
        };
        let mut values = vec![0.0; nx * ny];
        handle.read_pixels(&size, 0, &mut values)?;
        let data = ndarray::Array2::from_shape_vec((ny, nx), values.iter().map(|v| *v as f32).collect())
            .map_err(|e| Error::internal(e.to_string()))?;
        let axis = |i: usize| LinearAxis {
            ctype: header.text(&format!("CTYPE{i}")).unwrap_or_default().into(),
            cunit: header.text(&format!("CUNIT{i}")).unwrap_or_default().into(),
            crval: header.number(&format!("CRVAL{i}")).unwrap_or(0.0),
            cdelt: header.number(&format!("CDELT{i}")).unwrap_or(1.0),
            crpix: header.number(&format!("CRPIX{i}")).unwrap_or(1.0),
        };
        let mut plane = Plane::new(data, [axis(1), axis(2)], Unit::new(header.text("BUNIT").unwrap_or("")))?;
        plane.beam = beam_of(&header)?;
        plane.rest_hz = header.number("RESTFRQ");
        plane.meta.cards = header.cards.iter().filter(|c| !is_structural(&c.key)).cloned().collect();
        Ok(plane)
    };
    read().map_err(|e| e.at(path))
}

/// A numeric column of the table extension of this name; `None` where the file has neither.
pub fn read_column(path: &Path, extension: &str, column: &str) -> Result<Option<Vec<f64>>> {
    let find = || -> Result<Option<Vec<f64>>, FitsError> {
        let mut handle = Handle::open(path)?;
        for i in 1..handle.n_hdu()? {
            if handle.select(i)? == HduKind::Table && handle.header()?.text("EXTNAME") == Some(extension) {
                return handle.column(column);
            }
        }
        Ok(None)
    };
    find().map_err(|e| Error::from(e).at(path))
}

/// A file whose header has been understood.
struct Opened {
    path: std::path::PathBuf,
    handle: Handle,
    header: Header,
    size: Vec<usize>,
    axes: Axes,
    /// 0-based Stokes plane.
    i_stokes: usize,
    beams: Beams,
    unit: Unit,
}

impl Opened {
    fn open(path: &Path, options: &ReadOptions, notice: &dyn Reporter) -> Result<Opened> {
        let mut handle = Handle::open(path)?;
        let i_hdu = select_image(&mut handle, options.hdu)?;
        let (header, size) = (handle.header()?, handle.image_size()?);
        let axes = Axes::read(&header, &size, options.rest_freq.map(|f| f.0), notice)?;
        let i_stokes = choose_stokes(&header, &axes, &size, options)?;
        let n_chan = axes.spectral.map_or(1, |i| size[i]);
        let beams = match &options.beam {
            Some(given) => Beams::One(given_beam(given)?),
            None => beams_of(&mut handle, &header, n_chan, stokes_code(&header, &axes, i_stokes), notice)?,
        };
        handle.select(i_hdu)?;
        let unit = Unit::new(options.unit.as_deref().or(header.text("BUNIT")).unwrap_or(""));
        Ok(Opened { path: path.to_path_buf(), handle, header, size, axes, i_stokes, beams, unit })
    }

    fn n_chan(&self) -> usize {
        self.axes.spectral.map_or(1, |i| self.size[i])
    }

    fn meta(&self) -> Meta {
        let cards = self.header.cards.iter().filter(|c| !is_structural(&c.key)).cloned().collect();
        Meta { cards, comments: self.header.comments.clone(), history: self.header.history.clone() }
    }

    fn image(mut self) -> Result<Image> {
        let (ny, nx) = (self.size[self.axes.lat], self.size[self.axes.lon]);
        let data = self.pixels()?.into_shape_with_order((ny, nx)).map_err(|e| Error::internal(e.to_string()))?;
        let mut image = Image::new(data, self.axes.sky.clone(), self.unit.clone())?;
        image.beam = self.beams.largest();
        image.rest_hz = self.axes.rest_hz;
        image.spectral_frame = self.axes.spectral_frame;
        image.meta = self.meta();
        Ok(image)
    }

    fn cube(mut self) -> Result<FitsCube> {
        let Some(spectral) = self.axes.spectral_axis.clone() else {
            return Err(Error::from(FitsError::Axes {
                found: "those of an image without spectral axis".into(),
                expected: "those of a cube",
            })
            .hint("read it as an image"));
        };
        let (ny, nx) = (self.size[self.axes.lat], self.size[self.axes.lon]);
        let mut info = CubeInfo::new(self.axes.sky.clone(), spectral, ny, nx, self.unit.clone())?.with_beams(self.beams.clone())?;
        info.meta = self.meta();
        let path = self.path.clone();
        let store = match self.layout()? {
            Some((file, layout)) => Store::File { file, layout },
            None => Store::Memory(Cube::new(info.clone(), self.pixels()?)?),
        };
        Ok(FitsCube { info, store, path })
    }

    /// How to read planes in place; `None` for compressed files and axes in another order than x, y, ... .
    fn layout(&mut self) -> Result<Option<(File, Layout)>> {
        if self.axes.lon != 0 || self.axes.lat != 1 || self.handle.is_tile_compressed() {
            return Ok(None);
        }
        let file = File::open(&self.path).map_err(|e| Error::io("open the file", &self.path, e))?;
        let mut magic = [0; 9];
        let plain = file.read_exact_at(&mut magic, 0).is_ok() && &magic == b"SIMPLE  =";
        if !plain {
            return Ok(None);
        }
        let start = self.handle.data_start()?;
        let bitpix = self.header.number("BITPIX").unwrap_or(0.0) as i64;
        let n: u64 = self.size.iter().map(|n| *n as u64).product();
        let expected = start + n * bitpix.unsigned_abs() / 8;
        let found = file.metadata().map_err(|e| Error::io("look at the file", &self.path, e))?.len();
        if found < expected {
            return Err(FitsError::Truncated { expected, found }.into());
        }
        let stride = |axis: usize| self.size[..axis].iter().map(|n| *n as u64).product::<u64>();
        let layout = Layout {
            start,
            bitpix,
            scale: self.header.number("BSCALE").unwrap_or(1.0),
            zero: self.header.number("BZERO").unwrap_or(0.0),
            blank: self.header.number("BLANK").filter(|_| bitpix > 0).map(|b| b as i64),
            chan_stride: self.axes.spectral.map_or(0, stride),
            offset: self.axes.stokes.map_or(0, |a| stride(a) * self.i_stokes as u64),
        };
        Ok(Some((file, layout)))
    }

    /// All pixels of the chosen Stokes plane, [chan, y, x].
    fn pixels(&mut self) -> Result<Array3<f32>> {
        let (ny, nx, nc) = (self.size[self.axes.lat], self.size[self.axes.lon], self.n_chan());
        if let Some((file, layout)) = self.layout()? {
            let mut out = vec![0.0; nc * ny * nx];
            read_in_place(&file, &layout, [ny, nx], 0..nc, 0..ny, &mut out).map_err(|e| Error::io("read the pixels", &self.path, e))?;
            return Array3::from_shape_vec((nc, ny, nx), out).map_err(|e| Error::internal(e.to_string()));
        }
        let stride = |axis: usize| self.size[..axis].iter().product::<usize>();
        let (sx, sy) = (stride(self.axes.lon), stride(self.axes.lat));
        let sc = self.axes.spectral.map_or(0, stride);
        let first = self.axes.stokes.map_or(0, |a| stride(a) * self.i_stokes);
        let mut out = Array3::<f32>::zeros((nc, ny, nx));
        if sx == 1 && sy == nx {
            let mut row = vec![0.0; nx * ny];
            for (c, mut plane) in out.outer_iter_mut().enumerate() {
                self.handle.read_pixels(&self.size, first + c * sc, &mut row)?;
                plane.iter_mut().zip(&row).for_each(|(o, v)| *o = *v as f32);
            }
            return Ok(out);
        }
        // Another axis order: all pixels in the file's order, then gathered.
        let mut all = vec![0.0; self.size.iter().product()];
        self.handle.read_pixels(&self.size, 0, &mut all)?;
        for ((c, y, x), o) in out.indexed_iter_mut() {
            *o = all[first + c * sc + y * sy + x * sx] as f32;
        }
        Ok(out)
    }
}

/// Goes to the HDU named, or to the first that holds an image of two or more axes.
fn select_image(handle: &mut Handle, hdu: Option<usize>) -> Result<usize, FitsError> {
    let n = handle.n_hdu()?;
    if let Some(i) = hdu {
        if i >= n {
            return Err(FitsError::NoImage(format!("extension {i} of a file with {n} (0 to {})", n.saturating_sub(1))));
        }
        if handle.select(i)? != HduKind::Image && !handle.is_tile_compressed() {
            return Err(FitsError::NoImage(format!("extension {i} is a table")));
        }
        return Ok(i);
    }
    for i in 0..n {
        let kind = handle.select(i)?;
        if (kind == HduKind::Image || handle.is_tile_compressed()) && handle.image_size()?.len() >= 2 {
            return Ok(i);
        }
    }
    Err(FitsError::NoImage(format!("none of the {n} extensions has an image of two or more axes")))
}

fn stokes_code(header: &Header, axes: &Axes, i: usize) -> i64 {
    let Some(axis) = axes.stokes else { return 1 };
    let card = |key: &str, d: f64| header.number(&format!("{key}{}", axis + 1)).unwrap_or(d);
    (card("CRVAL", 1.0) + (i as f64 + 1.0 - card("CRPIX", 1.0)) * card("CDELT", 1.0)).round() as i64
}

fn stokes_name(code: i64) -> String {
    let names = ["", "I", "Q", "U", "V"];
    let feeds = ["RR", "LL", "RL", "LR", "XX", "YY", "XY", "YX"];
    match code {
        1..=4 => names[code as usize].to_string(),
        -8..=-1 => feeds[(-code - 1) as usize].to_string(),
        _ => code.to_string(),
    }
}

fn choose_stokes(header: &Header, axes: &Axes, size: &[usize], options: &ReadOptions) -> Result<usize> {
    let n = axes.stokes.map_or(1, |a| size[a]);
    let names: Vec<String> = (0..n).map(|i| stokes_name(stokes_code(header, axes, i))).collect();
    match &options.stokes {
        Some(asked) => names
            .iter()
            .position(|s| s.eq_ignore_ascii_case(asked))
            .or_else(|| (asked == "1").then_some(0))
            .ok_or_else(|| Error::user(format!("the file has no Stokes {asked}; it has {}", names.join(", ")))),
        None if n == 1 => Ok(0),
        None => Err(FitsError::Stokes { n, names: names.join(", ") }.into()),
    }
}

/// A beam as options give it: full width, or major axis, minor axis and position angle.
pub fn given_beam(given: &[crate::units::Angle]) -> Result<Beam> {
    match given {
        [a] => Ok(Beam::round(a.0)?),
        [a, b] => Ok(Beam::new(a.0, b.0, 0.0)?),
        [a, b, pa] => Ok(Beam::new(a.0, b.0, pa.0)?),
        _ => {
            Err(Error::user(format!("a beam has 1 to 3 numbers, not {}", given.len()))
                .hint("beam: [\"1.2arcsec\", \"1.0arcsec\", \"35deg\"]"))
        }
    }
}

/// The beams of a file: the BEAMS table of CASA where there is one, else the header.
fn beams_of(handle: &mut Handle, header: &Header, n_chan: usize, pol_code: i64, notice: &dyn Reporter) -> Result<Beams> {
    if header.flag("CASAMBM")
        && let Some(beams) = beams_table(handle, n_chan, pol_code)?
    {
        return Ok(beams.simplified());
    }
    match beam_of(header) {
        Ok(beam) => Ok(beam.map_or(Beams::None, Beams::One)),
        Err(e) => {
            notice.warn(Warning::new("beam-unusable", e.message).hint("the data are read without a beam"));
            Ok(Beams::None)
        }
    }
}

/// CASA's BEAMS table: one row for each channel and polarization.
fn beams_table(handle: &mut Handle, n_chan: usize, pol_code: i64) -> Result<Option<Beams>> {
    for i in 1..handle.n_hdu()? {
        if handle.select(i)? != HduKind::Table {
            continue;
        }
        let head = handle.header()?;
        if head.text("EXTNAME").is_none_or(|n| !n.eq_ignore_ascii_case("BEAMS")) {
            continue;
        }
        let (Some(a), Some(b), Some(pa)) = (handle.column("BMAJ")?, handle.column("BMIN")?, handle.column("BPA")?) else { continue };
        let rows = a.len();
        let chan = handle.column("CHAN")?.unwrap_or_else(|| (0..rows).map(|i| i as f64).collect());
        let pol = handle.column("POL")?.unwrap_or_else(|| vec![0.0; rows]);
        let scale = |column: &str| -> f64 {
            let unit = (1..=head.number("TFIELDS").unwrap_or(0.0) as usize)
                .find(|i| head.text(&format!("TTYPE{i}")).is_some_and(|t| t.eq_ignore_ascii_case(column)))
                .and_then(|i| head.text(&format!("TUNIT{i}")).map(str::to_ascii_lowercase));
            match unit.as_deref() {
                Some("deg") => 1f64.to_radians(),
                Some("rad") => 1.0,
                _ if column == "BPA" => 1f64.to_radians(),
                _ => crate::units::ARCSEC,
            }
        };
        let (sa, sb, sp) = (scale("BMAJ"), scale("BMIN"), scale("BPA"));
        // The table counts polarizations along its axis; with one, that is 0 whatever its Stokes code.
        let wanted = if pol.iter().any(|p| *p > 0.0) { (pol_code - 1).max(0) as f64 } else { 0.0 };
        let mut out = vec![None; n_chan];
        for r in 0..rows {
            if let Some(o) = (pol[r] == wanted).then(|| out.get_mut(chan[r] as usize)).flatten() {
                *o = Beam::new(a[r] * sa, b[r] * sb, pa[r] * sp).ok();
            }
        }
        return Ok(out.iter().any(Option::is_some).then_some(Beams::PerChannel(out)));
    }
    Ok(None)
}

impl FitsCube {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// True where blocks come from the file, not from memory.
    pub fn is_streamed(&self) -> bool {
        matches!(self.store, Store::File { .. })
    }
}

impl CubeSource for FitsCube {
    fn info(&self) -> &CubeInfo {
        &self.info
    }

    fn block<'a>(&'a self, chan: Range<usize>, y: Range<usize>, buffer: &'a mut Vec<f32>) -> Result<ArrayView3<'a, f32>> {
        let (file, layout) = match &self.store {
            Store::Memory(cube) => return cube.block(chan, y, buffer),
            Store::File { file, layout } => (file, layout),
        };
        // The same refusals as in memory.
        self.info.cut(chan.clone(), y.clone(), 0..1)?;
        let (nx, shape) = (self.info.nx(), (chan.len(), y.len(), self.info.nx()));
        buffer.resize(chan.len() * y.len() * nx, 0.0);
        read_in_place(file, layout, [self.info.ny(), nx], chan, y, buffer).map_err(|e| Error::io("read the pixels", &self.path, e))?;
        ArrayView3::from_shape(shape, &buffer[..]).map_err(|e| Error::internal(e.to_string()))
    }

    fn load(&self) -> Result<Cube> {
        match &self.store {
            Store::Memory(cube) => Ok(cube.clone()),
            Store::File { .. } => {
                let mut buffer = Vec::new();
                self.block(0..self.info.n_chan(), 0..self.info.ny(), &mut buffer)?;
                let shape = (self.info.n_chan(), self.info.ny(), self.info.nx());
                let data = Array3::from_shape_vec(shape, buffer).map_err(|e| Error::internal(e.to_string()))?;
                Ok(Cube::new(self.info.clone(), data)?)
            }
        }
    }
}

/// Bytes read at a time: large enough for the disk, small enough for the cache.
const CHUNK: usize = 1 << 18;

fn read_in_place(
    file: &File,
    l: &Layout,
    [ny, nx]: [usize; 2],
    chan: Range<usize>,
    y: Range<usize>,
    out: &mut [f32],
) -> std::io::Result<()> {
    let bytes = l.bitpix.unsigned_abs() as usize / 8;
    let mut raw = vec![0u8; CHUNK.min(y.len() * nx * bytes).max(bytes)];
    for (c, plane) in chan.zip(out.chunks_exact_mut(y.len() * nx)) {
        debug_assert!(y.end <= ny);
        let first = l.offset + c as u64 * l.chan_stride + (y.start * nx) as u64;
        let mut at = l.start + first * bytes as u64;
        for part in plane.chunks_mut(CHUNK / bytes) {
            let raw = &mut raw[..part.len() * bytes];
            file.read_exact_at(raw, at)?;
            decode(raw, l, part);
            at += raw.len() as u64;
        }
    }
    Ok(())
}

fn decode(raw: &[u8], l: &Layout, out: &mut [f32]) {
    let plain = l.scale == 1.0 && l.zero == 0.0;
    let scaled = |v: f64| (v * l.scale + l.zero) as f32;
    let integer = |v: i64| if l.blank == Some(v) { f32::NAN } else { scaled(v as f64) };
    match l.bitpix {
        -32 if plain => each(raw, out, f32::from_be_bytes),
        -32 => each(raw, out, |b| scaled(f64::from(f32::from_be_bytes(b)))),
        -64 => each(raw, out, |b| scaled(f64::from_be_bytes(b))),
        8 => each(raw, out, |[b]: [u8; 1]| integer(i64::from(b))),
        16 => each(raw, out, |b| integer(i64::from(i16::from_be_bytes(b)))),
        32 => each(raw, out, |b| integer(i64::from(i32::from_be_bytes(b)))),
        _ => each(raw, out, |b| integer(i64::from_be_bytes(b))),
    }
}

#[inline]
fn each<const N: usize>(raw: &[u8], out: &mut [f32], f: impl Fn([u8; N]) -> f32) {
    for (o, b) in out.iter_mut().zip(raw.as_chunks::<N>().0) {
        *o = f(*b);
    }
}
