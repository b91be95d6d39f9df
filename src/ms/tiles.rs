//! Bulk columns read from and written to the tiles of casacore's tiled storage managers, from any number of threads.
//!
//! Tiles are read with `pread`, not mapped: a file that another process shortens gives an error instead of a signal,
//! and no memory is used beyond the caller's buffer and one tile per thread.
//!
//! ```text
//! cell [corr, chan] = [2, 5], tile [2, 2, 3 rows]: corr fastest
//!   chan 0-1   chan 2-3   chan 4-(5)      <- tiles 0 1 2: rows 0-2; the last column of tiles is half empty
//!   tiles 3 4 5: rows 3-5
//! ```

use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use num_complex::{Complex32, Complex64};

use super::aipsio::CellType;
use super::error::MsError;
use super::table_files::TableFiles;
use super::tiled_header::{RowRun, TiledHeader, tile_column_bytes};

/// Bytes decoded at a time where numbers must be converted: stays in the cache of a core.
const PIECE: usize = 128 << 10;

/// A type of number that tiles hold.
pub trait TileValue: Copy + Default + Send + Sync + 'static {
    /// Its casacore type.
    const CELL: CellType;
    /// For messages.
    const NAME: &'static str;
    /// Reads numbers of a tile, the first of which is number `first` after byte `base` of the file.
    #[doc(hidden)]
    fn read_pixels(file: &File, base: u64, first: u64, big_endian: bool, out: &mut [Self]) -> std::io::Result<()>;
    /// Writes numbers of a tile, the first of which is number `first` after byte `base` of the file.
    #[doc(hidden)]
    fn write_pixels(file: &File, base: u64, first: u64, big_endian: bool, values: &[Self]) -> std::io::Result<()>;
}

macro_rules! number {
    ($T:ty, $cell:ident, $name:literal, $word:ty) => {
        impl TileValue for $T {
            const CELL: CellType = CellType::$cell;
            const NAME: &'static str = $name;
            fn read_pixels(file: &File, base: u64, first: u64, big_endian: bool, out: &mut [$T]) -> std::io::Result<()> {
                let mut at = base + first * size_of::<$T>() as u64;
                if big_endian == cfg!(target_endian = "big") {
                    return file.read_exact_at(bytemuck::cast_slice_mut(out), at);
                }
                for piece in out.chunks_mut(PIECE / size_of::<$T>()) {
                    file.read_exact_at(bytemuck::cast_slice_mut(piece), at)?;
                    at += size_of_val(piece) as u64;
                    for word in bytemuck::cast_slice_mut::<$T, $word>(piece) {
                        *word = word.swap_bytes();
                    }
                }
                Ok(())
            }
            fn write_pixels(file: &File, base: u64, first: u64, big_endian: bool, values: &[$T]) -> std::io::Result<()> {
                let mut at = base + first * size_of::<$T>() as u64;
                if big_endian == cfg!(target_endian = "big") {
                    return file.write_all_at(bytemuck::cast_slice(values), at);
                }
                for piece in values.chunks(PIECE / size_of::<$T>()) {
                    let words: Vec<$word> = bytemuck::cast_slice::<$T, $word>(piece).iter().map(|w| w.swap_bytes()).collect();
                    file.write_all_at(bytemuck::cast_slice(&words), at)?;
                    at += size_of_val(piece) as u64;
                }
                Ok(())
            }
        }
    };
}

number!(u8, UChar, "bytes", u8);
number!(i16, Short, "16-bit integers", u16);
number!(i32, Int, "32-bit integers", u32);
number!(u32, UInt, "unsigned 32-bit integers", u32);
number!(i64, Int64, "64-bit integers", u64);
number!(f32, Float, "32-bit floats", u32);
number!(f64, Double, "64-bit floats", u64);
number!(Complex32, Complex, "32-bit complex numbers", u32);
number!(Complex64, DComplex, "64-bit complex numbers", u64);

impl TileValue for bool {
    const CELL: CellType = CellType::Bool;
    const NAME: &'static str = "booleans";
    fn read_pixels(file: &File, base: u64, first: u64, _: bool, out: &mut [bool]) -> std::io::Result<()> {
        let mut bits = [0u8; 16 << 10];
        let mut pixel = first;
        // The first piece ends on a byte, so that all others begin on one.
        let lead = ((8 - first % 8) % 8) as usize;
        let (head, body) = out.split_at_mut(lead.min(out.len()));
        for piece in std::iter::once(head).chain(body.chunks_mut(bits.len() * 8)).filter(|p| !p.is_empty()) {
            let bytes = &mut bits[..((pixel % 8) as usize + piece.len()).div_ceil(8)];
            file.read_exact_at(bytes, base + pixel / 8)?;
            expand_bits(bytes, (pixel % 8) as u32, piece);
            pixel += piece.len() as u64;
        }
        Ok(())
    }
    fn write_pixels(file: &File, base: u64, first: u64, _: bool, values: &[bool]) -> std::io::Result<()> {
        let (lead, n) = ((first % 8) as usize, values.len());
        let mut bytes = vec![0u8; (lead + n).div_ceil(8)];
        // Neighbours that share the first or the last byte keep their bits.
        let at = base + first / 8;
        let last = bytes.len().saturating_sub(1);
        for (i, shared) in [(0, lead != 0), (last, (lead + n) % 8 != 0)] {
            if shared {
                read_or_zero(file, &mut bytes[i..=i], at + i as u64)?;
            }
        }
        for (i, value) in values.iter().enumerate() {
            let (byte, mask) = ((lead + i) / 8, 1 << ((lead + i) % 8));
            if *value { bytes[byte] |= mask } else { bytes[byte] &= !mask }
        }
        file.write_all_at(&bytes, at)
    }
}

/// Reads one byte, zero beyond the end of the file.
fn read_or_zero(file: &File, byte: &mut [u8], at: u64) -> std::io::Result<()> {
    let read = file.read_exact_at(byte, at);
    if read.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::UnexpectedEof) {
        byte.fill(0);
        return Ok(());
    }
    read
}

/// Eight booleans for each byte, lowest bit first, as eight bytes of 0 or 1.
static BITS: [[bool; 8]; 256] = {
    let mut table = [[false; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut bit = 0;
        while bit < 8 {
            table[byte][bit] = (byte >> bit) & 1 == 1;
            bit += 1;
        }
        byte += 1;
    }
    table
};

fn expand_bits(bytes: &[u8], skip: u32, out: &mut [bool]) {
    if skip > 0 {
        for (i, flag) in out.iter_mut().enumerate() {
            let bit = skip as usize + i;
            *flag = bytes[bit / 8] >> (bit % 8) & 1 == 1;
        }
        return;
    }
    let (eights, rest) = out.as_chunks_mut::<8>();
    for (eight, byte) in eights.iter_mut().zip(bytes) {
        *eight = BITS[*byte as usize];
    }
    if let Some(byte) = bytes.get(eights.len()) {
        rest.copy_from_slice(&BITS[*byte as usize][..rest.len()]);
    }
}

/// One column kept in tiles. Cloning is cheap; reading and writing need no lock.
#[derive(Debug, Clone)]
pub struct TiledColumn {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    cell: CellType,
    big_endian: bool,
    rows: u64,
    alone: bool,
    cubes: Vec<Option<TileCube>>,
    runs: Vec<RowRun>,
}

/// A hypercube with its file and all that follows from its shape.
#[derive(Debug)]
struct TileCube {
    file: Arc<TileFile>,
    /// Shape of a cell.
    cell_shape: Vec<usize>,
    /// Numbers in a cell.
    cell_len: usize,
    /// Rows in a tile.
    tile_rows: u64,
    /// Numbers of one row in a tile.
    tile_cell: u64,
    /// Byte of the column in the first tile.
    offset: u64,
    /// Bytes from tile to tile.
    stride: u64,
    /// The cell lies in one tile and fills it.
    whole: bool,
    /// Tiles follow one another without a gap, so that rows of several tiles are one piece.
    seamless: bool,
    /// The parts of a cell that lie in different tiles; one if `whole`.
    parts: Vec<Part>,
}

/// What one tile holds of a cell.
#[derive(Debug)]
struct Part {
    /// (place in the tile's row, place in the cell, length): numbers that lie together in both.
    pieces: Vec<(usize, usize, usize)>,
}

#[derive(Debug)]
struct TileFile {
    file: File,
    path: PathBuf,
}

impl TiledColumn {
    /// Opens a column for reading; `None` if casacore must be asked because it is not kept in tiles.
    pub fn open(table: &TableFiles, column: &str) -> Result<Option<TiledColumn>, MsError> {
        open(table, column, false)
    }

    /// Opens a column for reading and writing; tile files that are still too short are lengthened.
    ///
    /// casacore must not hold the table open for writing meanwhile: it would not see what is written here.
    pub fn open_for_writing(table: &TableFiles, column: &str) -> Result<Option<TiledColumn>, MsError> {
        open(table, column, true)
    }

    /// Name of the column.
    pub fn name(&self) -> &str {
        &self.inner.name
    }
    /// Type of its numbers.
    pub fn cell_type(&self) -> CellType {
        self.inner.cell
    }
    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.inner.rows
    }
    /// Shape of one cell, first axis fastest; `None` for a cell without a value.
    pub fn cell_shape(&self, row: u64) -> Option<&[usize]> {
        self.run_at(row).and_then(|run| self.cube_of(run)).map(|cube| cube.cell_shape.as_slice())
    }
    /// The files that hold the column.
    pub fn files(&self) -> Vec<&Path> {
        let mut paths: Vec<&Path> = self.inner.cubes.iter().flatten().map(|cube| cube.file.path.as_path()).collect();
        paths.dedup();
        paths.sort_unstable();
        paths.dedup();
        paths
    }
    /// True if its files hold no other column.
    pub fn is_alone(&self) -> bool {
        self.inner.alone
    }
    /// Rows of one tile at `row`: writers that keep to multiples of it fill whole tiles.
    pub fn tile_rows(&self, row: u64) -> Option<u64> {
        self.run_at(row).and_then(|run| self.cube_of(run)).map(|cube| cube.tile_rows)
    }

    /// Cuts a range of rows into consecutive ranges of one shape (`None`: without a value).
    pub fn shapes(&self, rows: Range<u64>) -> Vec<(Range<u64>, Option<&[usize]>)> {
        let mut out: Vec<(Range<u64>, Option<&[usize]>)> = Vec::new();
        let mut row = rows.start;
        while row < rows.end {
            let run = self.run_at(row);
            let end = run.map_or(rows.end, |r| r.end.min(rows.end));
            let shape = run.and_then(|r| self.cube_of(r)).map(|c| c.cell_shape.as_slice());
            match out.last_mut() {
                Some((range, last)) if *last == shape => range.end = end,
                _ => out.push((row..end, shape)),
            }
            row = end;
        }
        out
    }

    /// Reads the rows from `first_row` on into `out`, row after row, each in storage order (first axis fastest).
    ///
    /// `out` must hold whole cells of `n_rows` rows that all have one shape.
    pub fn read<T: TileValue>(&self, first_row: u64, n_rows: usize, out: &mut [T]) -> Result<(), MsError> {
        self.check_type::<T>()?;
        self.for_each_run(first_row, n_rows, out.len(), |cube, position, range| cube.read(position, &mut out[range], self.inner.big_endian))
    }

    /// Overwrites the rows from `first_row` on; the counterpart of [`read`](TiledColumn::read).
    ///
    /// Threads may write different rows at the same time, except that of Bool columns two threads must not share a tile.
    pub fn write<T: TileValue>(&self, first_row: u64, n_rows: usize, values: &[T]) -> Result<(), MsError> {
        self.check_type::<T>()?;
        self.for_each_run(first_row, n_rows, values.len(), |cube, position, range| {
            cube.write(position, &values[range], self.inner.big_endian)
        })
    }

    /// Makes sure that all that was written is on the disk.
    pub fn sync(&self) -> Result<(), MsError> {
        for cube in self.inner.cubes.iter().flatten() {
            cube.file.file.sync_data().map_err(|e| MsError::io(format!("write {}", cube.file.name()), e))?;
        }
        Ok(())
    }

    fn check_type<T: TileValue>(&self) -> Result<(), MsError> {
        if self.inner.cell == T::CELL {
            return Ok(());
        }
        Err(MsError::ColumnType { column: self.inner.name.clone(), found: format!("{:?}", self.inner.cell), expected: T::NAME })
    }

    fn run_at(&self, row: u64) -> Option<&RowRun> {
        let i = self.inner.runs.partition_point(|run| run.end <= row);
        self.inner.runs.get(i).filter(|run| run.first <= row)
    }

    fn cube_of(&self, run: &RowRun) -> Option<&TileCube> {
        run.cube.and_then(|i| self.inner.cubes[i].as_ref())
    }

    /// Calls `each` with the cube, the place in it, and the range of the buffer for every piece of the rows.
    fn for_each_run(
        &self,
        first_row: u64,
        n_rows: usize,
        n_values: usize,
        mut each: impl FnMut(&TileCube, u64, Range<usize>) -> Result<(), MsError>,
    ) -> Result<(), MsError> {
        let column = || self.inner.name.clone();
        let end = first_row + n_rows as u64;
        if end > self.inner.rows {
            return Err(MsError::Rows { column: column(), first: first_row, last: end.saturating_sub(1), rows: self.inner.rows });
        }
        let (mut row, mut at) = (first_row, 0);
        let mut shape: Option<&[usize]> = None;
        while row < end {
            let Some((run, cube)) = self.run_at(row).and_then(|run| Some((run, self.cube_of(run)?))) else {
                return Err(MsError::Undefined { column: column(), row });
            };
            let expected = *shape.get_or_insert(&cube.cell_shape);
            if expected != cube.cell_shape || cube.cell_len * n_rows != n_values {
                return Err(MsError::Shape { column: column(), row, found: cube.cell_shape.clone(), expected: expected.to_vec() });
            }
            let n = (run.end.min(end) - row) as usize;
            each(cube, run.position + (row - run.first), at..at + n * cube.cell_len)?;
            row += n as u64;
            at += n * cube.cell_len;
        }
        Ok(())
    }
}

impl TileFile {
    fn name(&self) -> String {
        self.path.file_name().map_or_else(|| self.path.display().to_string(), |n| n.to_string_lossy().into_owned())
    }
}

impl TileCube {
    /// Pieces of rows that lie in one tile, or in all of them where tiles join without a gap: (tile row, row in it, rows).
    fn slabs(&self, position: u64, rows: u64) -> impl Iterator<Item = (u64, u64, usize)> {
        let (tile_rows, seamless) = (self.tile_rows, self.whole && self.seamless);
        let mut done = 0;
        std::iter::from_fn(move || {
            if done >= rows {
                return None;
            }
            let (tile, within) = ((position + done) / tile_rows, (position + done) % tile_rows);
            let n = if seamless { rows - done } else { (rows - done).min(tile_rows - within) };
            done += n;
            Some((tile, within, n as usize))
        })
    }

    /// Byte at which the column begins in the tile of `part` in tile row `tile`.
    fn base(&self, tile: u64, part: usize) -> u64 {
        self.offset + (tile * self.parts.len() as u64 + part as u64) * self.stride
    }

    fn read<T: TileValue>(&self, position: u64, mut out: &mut [T], big_endian: bool) -> Result<(), MsError> {
        let failed = |e: std::io::Error| self.failed("read", e);
        let rows = (out.len() / self.cell_len.max(1)) as u64;
        let mut scratch: Vec<T> = Vec::new();
        for (tile, within, n) in self.slabs(position, rows) {
            let (here, rest) = std::mem::take(&mut out).split_at_mut(n * self.cell_len);
            out = rest;
            if self.whole {
                T::read_pixels(&self.file.file, self.base(tile, 0), within * self.tile_cell, big_endian, here).map_err(failed)?;
                continue;
            }
            let tile_cell = self.tile_cell as usize;
            scratch.resize(n * tile_cell, T::default());
            for (i, part) in self.parts.iter().enumerate() {
                T::read_pixels(&self.file.file, self.base(tile, i), within * self.tile_cell, big_endian, &mut scratch).map_err(failed)?;
                for (row, cell) in scratch.chunks_exact(tile_cell).zip(here.chunks_exact_mut(self.cell_len)) {
                    part.gather(row, cell);
                }
            }
        }
        Ok(())
    }

    fn write<T: TileValue>(&self, position: u64, mut values: &[T], big_endian: bool) -> Result<(), MsError> {
        let failed = |e: std::io::Error| self.failed("write", e);
        let rows = (values.len() / self.cell_len.max(1)) as u64;
        let mut scratch: Vec<T> = Vec::new();
        for (tile, within, n) in self.slabs(position, rows) {
            let (here, rest) = values.split_at(n * self.cell_len);
            values = rest;
            if self.whole {
                T::write_pixels(&self.file.file, self.base(tile, 0), within * self.tile_cell, big_endian, here).map_err(failed)?;
                continue;
            }
            // What lies in the tile beyond the edge of the cell means nothing: it becomes zero.
            let tile_cell = self.tile_cell as usize;
            for (i, part) in self.parts.iter().enumerate() {
                scratch.clear();
                scratch.resize(n * tile_cell, T::default());
                for (row, cell) in scratch.chunks_exact_mut(tile_cell).zip(here.chunks_exact(self.cell_len)) {
                    part.scatter(cell, row);
                }
                T::write_pixels(&self.file.file, self.base(tile, i), within * self.tile_cell, big_endian, &scratch).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn failed(&self, what: &str, e: std::io::Error) -> MsError {
        if e.kind() == std::io::ErrorKind::UnexpectedEof {
            let found = self.file.file.metadata().map_or(0, |m| m.len());
            return MsError::Damaged(format!("{} became shorter while it was read: {found} bytes", self.file.name()));
        }
        MsError::io(format!("{what} {}", self.file.name()), e)
    }
}

impl Part {
    fn gather<T: Copy>(&self, row: &[T], cell: &mut [T]) {
        for &(from, to, n) in &self.pieces {
            if n == 1 { cell[to] = row[from] } else { cell[to..to + n].copy_from_slice(&row[from..from + n]) }
        }
    }
    fn scatter<T: Copy>(&self, cell: &[T], row: &mut [T]) {
        for &(to, from, n) in &self.pieces {
            if n == 1 { row[to] = cell[from] } else { row[to..to + n].copy_from_slice(&cell[from..from + n]) }
        }
    }
}

fn open(table: &TableFiles, name: &str, write: bool) -> Result<Option<TiledColumn>, MsError> {
    let Some(column) = table.column(name) else {
        let existing: Vec<String> = table.columns.iter().map(|c| c.name.clone()).collect();
        let nearest = crate::options::nearest(name, existing.iter().map(String::as_str)).map(str::to_string);
        return Err(MsError::NoColumn { column: name.to_string(), nearest, existing });
    };
    let Some(manager) = table.manager_of(column) else { return Ok(None) };
    let Some(header) = TiledHeader::read(table, manager)? else { return Ok(None) };
    // Columns that only name hypercubes or axes are not in the tiles.
    let Some(place) = header.columns.iter().position(|c| c.name == name) else { return Ok(None) };

    let mut files: Vec<(i32, Arc<TileFile>)> = Vec::new();
    let mut cubes = Vec::with_capacity(header.cubes.len());
    for cube in &header.cubes {
        if cube.file < 0 || cube.shape.is_empty() {
            cubes.push(None);
            continue;
        }
        let file = match files.iter().find(|(n, _)| *n == cube.file) {
            Some((_, file)) => file.clone(),
            None => {
                let path = table.path.join(format!("table.f{}_TSM{}", manager.number, cube.file));
                let file = Arc::new(open_file(&path, write)?);
                files.push((cube.file, file.clone()));
                file
            }
        };
        cubes.push(Some(tile_cube(&header, place, cube, file, write)?));
    }
    let inner = Inner {
        name: name.to_string(),
        cell: column.cell,
        big_endian: table.big_endian,
        rows: header.rows,
        alone: header.columns.len() == 1,
        cubes,
        runs: header.runs,
    };
    Ok(Some(TiledColumn { inner: Arc::new(inner) }))
}

fn open_file(path: &Path, write: bool) -> Result<TileFile, MsError> {
    let file = OpenOptions::new().read(true).write(write).open(path);
    let file = file.map_err(|e| MsError::io(format!("open {}", path.file_name().unwrap_or_default().to_string_lossy()), e))?;
    Ok(TileFile { file, path: path.to_path_buf() })
}

fn tile_cube(
    header: &TiledHeader,
    place: usize,
    cube: &super::tiled_header::Cube,
    file: Arc<TileFile>,
    write: bool,
) -> Result<TileCube, MsError> {
    let axes = cube.shape.len() - 1;
    let pixels: u64 = cube.tile.iter().product();
    let before: u64 = header.columns[..place].iter().map(|c| tile_column_bytes(c.cell, pixels)).sum();
    let stride: u64 = header.columns.iter().map(|c| tile_column_bytes(c.cell, pixels)).sum();
    let tiles: u64 = cube.shape.iter().zip(&cube.tile).map(|(n, t)| n.div_ceil(*t)).product();
    check_length(&file, cube.offset + tiles * stride, write)?;

    let cell_shape: Vec<usize> = cube.shape[..axes].iter().map(|n| *n as usize).collect();
    let tile_shape: Vec<usize> = cube.tile[..axes].iter().map(|n| *n as usize).collect();
    let cell_len: usize = cell_shape.iter().product();
    let whole = cell_shape == tile_shape;
    let bits = header.columns[place].cell.tile_bytes().map_or(1, |n| if n == 0 { 1 } else { 8 * n as u64 });
    Ok(TileCube {
        file,
        cell_len,
        tile_rows: cube.tile[axes],
        tile_cell: tile_shape.iter().product::<usize>() as u64,
        offset: cube.offset + before,
        stride,
        whole,
        seamless: stride * 8 == pixels * bits,
        parts: parts(&cell_shape, &tile_shape),
        cell_shape,
    })
}

fn check_length(file: &TileFile, expected: u64, write: bool) -> Result<(), MsError> {
    let found = file.file.metadata().map_err(|e| MsError::io(format!("read {}", file.name()), e))?.len();
    if found >= expected {
        return Ok(());
    }
    if write {
        return file.file.set_len(expected).map_err(|e| MsError::io(format!("lengthen {}", file.name()), e));
    }
    Err(MsError::Damaged(format!("{} has {found} bytes, {expected} expected", file.name())))
}

/// The tiles that one cell touches, first axis fastest, and which numbers of the cell each holds.
fn parts(cell: &[usize], tile: &[usize]) -> Vec<Part> {
    let tiles: Vec<usize> = cell.iter().zip(tile).map(|(n, t)| n.div_ceil(*t)).collect();
    let mut at = vec![0; cell.len()];
    (0..tiles.iter().product())
        .map(|_| {
            let part = part(cell, tile, &at);
            step(&mut at, &tiles);
            part
        })
        .collect()
}

fn part(cell: &[usize], tile: &[usize], at: &[usize]) -> Part {
    if cell.is_empty() {
        return Part { pieces: vec![(0, 0, 1)] };
    }
    let begin: Vec<usize> = at.iter().zip(tile).map(|(i, t)| i * t).collect();
    let size: Vec<usize> = (0..cell.len()).map(|d| tile[d].min(cell[d] - begin[d])).collect();
    let mut lines = size.clone();
    lines[0] = 1;
    let mut line = vec![0; cell.len()];
    let mut pieces: Vec<(usize, usize, usize)> = Vec::new();
    for _ in 0..lines.iter().product() {
        let (mut in_tile, mut in_cell) = (0, 0);
        for d in (0..cell.len()).rev() {
            in_tile = in_tile * tile[d] + line[d];
            in_cell = in_cell * cell[d] + begin[d] + line[d];
        }
        match pieces.last_mut() {
            Some((t, c, n)) if *t + *n == in_tile && *c + *n == in_cell => *n += size[0],
            _ => pieces.push((in_tile, in_cell, size[0])),
        }
        step(&mut line, &lines);
    }
    Part { pieces }
}

/// The next index of an array of the given shape, first axis fastest.
fn step(at: &mut [usize], shape: &[usize]) {
    for (i, n) in at.iter_mut().zip(shape) {
        *i += 1;
        if *i < *n {
            return;
        }
        *i = 0;
    }
}
