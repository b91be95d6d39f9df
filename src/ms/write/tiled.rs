//! The tiled shape storage manager, written: one file for each shape of cell, cut into tiles of whole cells.
//!
//! As a tile holds whole cells and rows are its slowest axis, a file is its cells one after the other, filled up to a
//! whole tile at the end. Truth values are bits; tiles of them hold a multiple of 8 rows, so that no tile ends inside
//! a byte.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::super::aipsio::CellType;
use super::stream::{Stream, empty_record};
use crate::error::{Error, Result};

/// Size that tiles should have, in bytes.
const TILE: usize = 1 << 18;

/// Writes one array column.
pub struct TiledWriter {
    dir: PathBuf,
    number: u32,
    name: String,
    cell: CellType,
    n_dim: usize,
    expected_rows: u64,
    cubes: Vec<Cube>,
    map: Vec<Run>,
    n_rows: u64,
}

/// Rows up to `last` are in cube `cube` (0: undefined); the last of them at position `position`.
#[derive(Debug, Clone, Copy)]
struct Run {
    last: u64,
    cube: u32,
    position: u64,
}

struct Cube {
    cell_shape: Vec<u64>,
    tile_shape: Vec<u64>,
    rows: u64,
    bytes: u64,
    path: PathBuf,
    /// `None` for a cube that was copied whole and takes no more rows.
    file: Option<BufWriter<File>>,
    bits: BitTail,
}

/// Bits that do not fill a byte yet.
#[derive(Default)]
struct BitTail {
    byte: u8,
    n: u32,
}

impl TiledWriter {
    /// A new column with cells of `n_dim` axes; tiles hold at most `expected_rows` rows.
    pub fn new(dir: &Path, number: u32, name: &str, cell: CellType, n_dim: usize, expected_rows: u64) -> TiledWriter {
        let (dir, name) = (dir.to_path_buf(), name.to_string());
        TiledWriter { dir, number, name, cell, n_dim, expected_rows, cubes: Vec::new(), map: Vec::new(), n_rows: 0 }
    }

    fn header(&self) -> PathBuf {
        self.dir.join(format!("table.f{}", self.number))
    }

    /// Appends rows whose cells have `shape` (first axis fastest): little-endian bytes, or a byte for each truth value.
    pub fn append(&mut self, shape: &[u64], n_rows: usize, bytes: &[u8]) -> Result<()> {
        if n_rows == 0 {
            return Ok(());
        }
        let i = match self.cubes.iter().position(|c| c.cell_shape == shape && c.file.is_some()) {
            Some(i) => i,
            None => self.new_cube(shape)?,
        };
        let cube = &mut self.cubes[i];
        if let Some(file) = &mut cube.file {
            let written =
                if self.cell == CellType::Bool { cube.bits.write(file, bytes) } else { file.write_all(bytes).map(|()| bytes.len()) };
            cube.bytes += written.map_err(|e| Error::io("write a table file", &cube.path, e))? as u64;
        }
        let first = cube.rows;
        cube.rows += n_rows as u64;
        self.map_rows(n_rows as u64, i as u32 + 1, first);
        Ok(())
    }

    /// Appends rows without a value.
    pub fn append_undefined(&mut self, n_rows: u64) {
        self.n_rows += n_rows;
    }

    /// Appends a whole hypercube whose file holds `rows` rows in tiles of `tile_shape`; returns its number and the path its tiles must be put.
    pub fn adopt(&mut self, cell_shape: &[u64], tile_shape: &[u64], rows: u64, bytes: u64) -> (u32, PathBuf) {
        let number = self.cubes.len() as u32 + 1;
        let path = self.cube_path(number);
        let (cell_shape, tile_shape) = (cell_shape.to_vec(), tile_shape.to_vec());
        self.cubes.push(Cube { cell_shape, tile_shape, rows, bytes, path: path.clone(), file: None, bits: BitTail::default() });
        (number, path)
    }

    /// Appends `n` rows that stand at position `first` and on of an adopted cube.
    pub fn map_rows(&mut self, n: u64, cube: u32, first: u64) {
        let next = self.map.last().map_or(0, |r| r.last + 1);
        if self.n_rows > next {
            self.map.push(Run { last: self.n_rows - 1, cube: 0, position: 0 });
        }
        self.n_rows += n;
        match self.map.last_mut() {
            Some(run) if run.cube == cube && run.position + 1 == first => {
                run.last += n;
                run.position += n;
            }
            _ => self.map.push(Run { last: self.n_rows - 1, cube, position: first + n - 1 }),
        }
    }

    fn cube_path(&self, number: u32) -> PathBuf {
        self.dir.join(format!("table.f{}_TSM{number}", self.number))
    }

    fn new_cube(&mut self, shape: &[u64]) -> Result<usize> {
        let bits = shape.iter().product::<u64>().max(1) as usize * self.cell.bits();
        let rows = (8 * TILE / bits) as u64;
        let limit = self.expected_rows.next_multiple_of(8).max(8);
        let rows = if self.cell == CellType::Bool { (rows / 8 * 8).clamp(8, limit) } else { rows.clamp(1, limit) };
        let tile_shape: Vec<u64> = shape.iter().copied().chain([rows]).collect();
        let (_, path) = self.adopt(shape, &tile_shape, 0, 0);
        let file = File::create(&path).map_err(|e| Error::io("create a table file", &path, e))?;
        let i = self.cubes.len() - 1;
        self.cubes[i].file = Some(BufWriter::with_capacity(1 << 20, file));
        Ok(i)
    }

    /// Completes the tiles and writes the header.
    pub fn finish(mut self) -> Result<()> {
        for cube in &mut self.cubes {
            cube.complete(self.cell)?;
        }
        let path = self.header();
        std::fs::write(&path, self.header_bytes()).map_err(|e| Error::io("write a table file", path, e))
    }

    fn header_bytes(&self) -> Vec<u8> {
        let mut s = Stream::big_endian();
        s.object("TiledShapeStMan", 1, |s| {
            s.object("TiledStMan", 2, |s| self.manager(s));
            let default = self.cubes.first().map_or(vec![1; self.n_dim + 1], |c| c.tile_shape.clone());
            s.shape(&signed(&default));
            s.u32(self.map.len() as u32);
            s.block(&self.map.iter().map(|r| r.last as u32).collect::<Vec<_>>());
            s.block(&self.map.iter().map(|r| r.cube).collect::<Vec<_>>());
            s.block(&self.map.iter().map(|r| r.position as u32).collect::<Vec<_>>());
        });
        s.into_bytes()
    }

    fn manager(&self, s: &mut Stream) {
        s.bool(false); // big endian
        s.u32(self.number);
        s.u32(self.n_rows as u32);
        s.u32(1); // columns
        s.i32(self.cell.code());
        s.text(&self.name);
        s.u32(0); // cache limit
        s.u32(self.n_dim as u32 + 1);
        // Cube 0 stands for rows without a value; it has no file.
        s.u32(self.cubes.len() as u32 + 1);
        s.bool(false);
        for (i, cube) in self.cubes.iter().enumerate() {
            s.bool(true);
            let wide = cube.bytes >= 1 << 31;
            s.u32(if wide { 2 } else { 1 });
            s.u32(i as u32 + 1);
            if wide { s.u64(cube.bytes) } else { s.u32(cube.bytes as u32) }
        }
        s.u32(self.cubes.len() as u32 + 1);
        hypercube(s, false, &[], &[], -1);
        for (i, cube) in self.cubes.iter().enumerate() {
            let shape: Vec<u64> = cube.cell_shape.iter().copied().chain([cube.rows]).collect();
            hypercube(s, true, &shape, &cube.tile_shape, i as i32 + 1);
        }
    }
}

fn hypercube(s: &mut Stream, extensible: bool, shape: &[u64], tile: &[u64], file: i32) {
    s.u32(1);
    empty_record(s);
    s.bool(extensible);
    s.u32(shape.len() as u32);
    s.shape(&signed(shape));
    s.shape(&signed(tile));
    s.i32(file);
    s.u32(0); // offset in the file
}

fn signed(axes: &[u64]) -> Vec<i64> {
    axes.iter().map(|a| *a as i64).collect()
}

impl Cube {
    fn complete(&mut self, cell: CellType) -> Result<()> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let tile_bytes = (self.tile_shape.iter().product::<u64>() * cell.bits() as u64).div_ceil(8);
        let tiles = self.rows.div_ceil(self.tile_shape[self.tile_shape.len() - 1]);
        self.bytes = tiles * tile_bytes;
        let mut write = || {
            self.bits.finish(&mut file)?;
            file.flush()?;
            file.get_ref().set_len(self.bytes)
        };
        write().map_err(|e| Error::io("write a table file", &self.path, e))
    }
}

impl BitTail {
    /// Packs bytes of 0 and 1 into bits, the first into the lowest; returns the bytes written.
    fn write(&mut self, file: &mut impl Write, values: &[u8]) -> std::io::Result<usize> {
        let mut packed = Vec::with_capacity(values.len() / 8 + 1);
        let mut rest = values;
        while self.n != 0 && !rest.is_empty() {
            self.push(rest[0], &mut packed);
            rest = &rest[1..];
        }
        let whole = rest.chunks_exact(8);
        let tail = whole.remainder();
        packed.extend(whole.map(|c| c.iter().enumerate().fold(0, |byte, (i, b)| byte | (b & 1) << i)));
        for b in tail {
            self.push(*b, &mut packed);
        }
        file.write_all(&packed)?;
        Ok(packed.len())
    }

    fn push(&mut self, bit: u8, packed: &mut Vec<u8>) {
        self.byte |= (bit & 1) << self.n;
        self.n += 1;
        if self.n == 8 {
            packed.push(self.byte);
            *self = BitTail::default();
        }
    }

    fn finish(&mut self, file: &mut impl Write) -> std::io::Result<()> {
        if self.n > 0 { file.write_all(&[self.byte]) } else { Ok(()) }
    }
}
