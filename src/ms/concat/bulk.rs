//! The main table of the joined set: scalars with their new ids, arrays tile file by tile file.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rubbl_casatables::CasaScalarData;

use super::super::aipsio::CellType;
use super::super::casacore::{array_cell, column, with_table};
use super::super::column_reader::ColumnReader;
use super::super::create::INFO;
use super::super::error::MsError;
use super::super::measurement_set::MeasurementSet;
use super::super::scalars::ScalarColumn;
use super::super::schema::SUBTABLES;
use super::super::table_files::{ColumnFile, TableFiles};
use super::super::tiled_header::TiledHeader;
use super::super::tiles::{TileValue, TiledColumn};
use super::super::write::{Cells, Column, Keyword, Shape, TableWriter, TiledWriter};
use super::conjugate::{Flipped, conjugate, ordered};
use super::plan::{Ids, Plan};
use super::subtables::RowIds;
use crate::error::{Error, Result};
use crate::notice::{Reporter, Warning};

/// Rows of scalars handled at a time.
const BLOCK: usize = 1 << 16;
/// Bytes of arrays handled at a time.
const PIECE: usize = 8 << 20;

/// Writes the main table into the folder of the joined set.
pub fn write(out: &Path, sets: &[MeasurementSet], plan: &Plan, rows: &RowIds, notice: &dyn Reporter) -> Result<()> {
    let inputs = sets.iter().map(Input::new).collect::<Result<Vec<_>>>()?;
    let columns = common_columns(&inputs, notice)?;
    let n_rows = sets.iter().map(|s| s.rows.n_rows).sum::<u64>();
    let mut main = TableWriter::new(out, columns.clone(), n_rows)?;
    let mut flipped = Flipped::default();
    let mut copies = Vec::new();
    for (i, input) in inputs.iter().enumerate() {
        let ids = RowMap { ids: &plan.ids[i], state: &rows.state[i], processor: &rows.processor[i] };
        scalars(&mut main, input, &ids, &mut flipped, notice).map_err(|e| e.at(&input.set.path))?;
        for c in columns.iter().filter(|c| is_array(c)) {
            let Some(writer) = main.array(&c.name) else { continue };
            arrays(writer, c, input, &mut copies, notice).map_err(|e| e.at(&input.set.path))?;
        }
    }
    copy_files(&copies, notice)?;
    let mut keywords = vec![("MS_VERSION".to_string(), Keyword::Float(2.0))];
    keywords.extend(SUBTABLES.iter().map(|(name, _)| (name.to_string(), Keyword::Table(name.to_string()))));
    main.finish(&keywords, INFO)?;
    conjugate(out, &flipped, plan, notice)
}

fn is_array(c: &Column) -> bool {
    matches!(c.shape, Shape::Fixed(_) | Shape::Array(_))
}

/// A set that is joined, and the files of its main table.
struct Input<'a> {
    set: &'a MeasurementSet,
    files: &'a TableFiles,
}

impl<'a> Input<'a> {
    fn new(set: &'a MeasurementSet) -> Result<Input<'a>> {
        let files = set.files.as_ref().ok_or_else(|| {
            let hint = "make a set of its own from it first, for example with `split`";
            Error::data("the set only refers to the rows of others").hint(hint).at(&set.path)
        })?;
        Ok(Input { set, files })
    }
}

/// Columns kept row by row where they change: all of the standard that follow time, scan, field or spectral window.
const INCREMENTAL: [&str; 13] = [
    "ARRAY_ID",
    "DATA_DESC_ID",
    "EXPOSURE",
    "FEED1",
    "FEED2",
    "FIELD_ID",
    "INTERVAL",
    "OBSERVATION_ID",
    "PROCESSOR_ID",
    "SCAN_NUMBER",
    "STATE_ID",
    "TIME",
    "TIME_CENTROID",
];

/// The columns of the joined set: those that all sets have.
fn common_columns(inputs: &[Input], notice: &dyn Reporter) -> Result<Vec<Column>> {
    let mut columns = Vec::new();
    let mut left_out: Vec<String> = Vec::new();
    for c in &inputs[0].files.columns {
        let alike: Vec<bool> =
            inputs.iter().map(|i| i.files.column(&c.name).is_some_and(|o| o.cell == c.cell && o.array == c.array)).collect();
        let writable = c.cell.memory_bytes() > 0;
        match (alike.iter().all(|a| *a) && writable).then(|| joined_column(c, inputs)).transpose()?.flatten() {
            Some(column) => columns.push(column),
            None => left_out.push(c.name.clone()),
        }
    }
    for other in inputs[1..].iter().flat_map(|i| &i.files.columns) {
        if inputs[0].files.column(&other.name).is_none() && !left_out.contains(&other.name) {
            left_out.push(other.name.clone());
        }
    }
    refuse_loss(inputs, &left_out)?;
    if !left_out.is_empty() {
        let message = format!("left out, because not all sets have them in one form: {}", left_out.join(", "));
        notice.warn(Warning::new("columns-left-out", message));
    }
    Ok(columns)
}

/// Visibilities of some sets only would be lost.
fn refuse_loss(inputs: &[Input], left_out: &[String]) -> Result<(), MsError> {
    let Some(column) = left_out.iter().find(|c| ["DATA", "FLOAT_DATA", "CORRECTED_DATA"].contains(&c.as_str())) else { return Ok(()) };
    let names = |has: bool| -> Vec<&str> {
        inputs.iter().filter(|i| i.files.column(column).is_some() == has).map(|i| i.set.name.as_str()).collect()
    };
    let (having, missing) = (names(true).join(", "), names(false).join(", "));
    Err(MsError::ColumnInSome { column: column.clone(), having, missing })
}

/// The column as it will be kept; `None` if the number of its axes is not known or differs.
fn joined_column(c: &ColumnFile, inputs: &[Input]) -> Result<Option<Column>, MsError> {
    let each: Vec<&ColumnFile> = inputs.iter().filter_map(|i| i.files.column(&c.name)).collect();
    let kept_where_it_changes = inputs[0].files.manager_of(c).is_some_and(|m| m.kind == "IncrementalStMan");
    let shape = if !c.array && (INCREMENTAL.contains(&c.name.as_str()) || kept_where_it_changes) {
        Shape::Incremental
    } else if !c.array {
        Shape::Scalar
    } else if let Some(shape) = c.shape.as_ref().filter(|s| each.iter().all(|o| o.shape.as_ref() == Some(s))) {
        Shape::Fixed(shape.clone())
    } else {
        let mut axes = Vec::new();
        for (input, column) in inputs.iter().zip(&each) {
            axes.extend(n_axes(input, column)?);
        }
        match axes.first() {
            Some(n) if axes.iter().all(|m| m == n) => Shape::Array(*n),
            Some(_) => return Ok(None),
            None => Shape::Array(if c.name == "FLAG_CATEGORY" { 3 } else { 2 }),
        }
    };
    let (name, comment, keywords) = (c.name.clone(), c.comment.clone(), c.keywords.clone());
    Ok(Some(Column { name, comment, cell: c.cell, shape, keywords }))
}

/// Axes of the cells of a column; `None` if no cell says.
fn n_axes(input: &Input, column: &ColumnFile) -> Result<Option<usize>, MsError> {
    if column.n_dim > 0 {
        return Ok(Some(column.n_dim as usize));
    }
    let Some(tiles) = TiledColumn::open(input.files, &column.name)? else { return Ok(None) };
    Ok(tiles.shapes(0..tiles.rows()).into_iter().find_map(|(_, shape)| shape).map(<[usize]>::len))
}

/// New ids of the rows of one set.
struct RowMap<'a> {
    ids: &'a Ids,
    state: &'a [i32],
    processor: &'a [i32],
}

impl RowMap<'_> {
    /// Replaces the ids of a column, little-endian bytes of 32-bit integers.
    fn apply(&self, column: &str, bytes: &mut [u8]) {
        let by = |bytes: &mut [u8], map: &[i32]| {
            // An id that points nowhere still does.
            replace(bytes, |id| usize::try_from(id).ok().and_then(|i| map.get(i)).copied().unwrap_or(if map.is_empty() { id } else { -1 }));
        };
        match column {
            "ANTENNA1" | "ANTENNA2" => by(bytes, &self.ids.antenna),
            "DATA_DESC_ID" => by(bytes, &self.ids.data_desc),
            "FIELD_ID" => by(bytes, &self.ids.field),
            "STATE_ID" => by(bytes, self.state),
            "PROCESSOR_ID" => by(bytes, self.processor),
            "OBSERVATION_ID" => replace(bytes, |id| id.max(0) + self.ids.observation),
            "SCAN_NUMBER" => replace(bytes, |scan| scan + self.ids.scan),
            _ => {}
        }
    }
}

fn replace(bytes: &mut [u8], new: impl Fn(i32) -> i32) {
    for b in bytes.chunks_exact_mut(4) {
        let id = i32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        b.copy_from_slice(&new(id).to_le_bytes());
    }
}

/// A scalar column of a set, read in pieces or, where casacore must do it, held whole.
enum Scalars {
    Pieces(ScalarColumn),
    Whole(Vec<u8>, usize),
}

impl Scalars {
    fn open(input: &Input, name: &str) -> Result<Scalars, MsError> {
        let c = input.files.column(name).ok_or_else(|| MsError::Damaged(format!("column {name}")))?;
        if let Some(pieces) = ScalarColumn::open(input.files, c)? {
            return Ok(Scalars::Pieces(pieces));
        }
        let bytes = match c.cell {
            CellType::Bool => whole::<bool>(input, name, |v| vec![u8::from(*v)])?,
            CellType::Int => whole::<i32>(input, name, |v| v.to_le_bytes().to_vec())?,
            CellType::UInt => whole::<u32>(input, name, |v| v.to_le_bytes().to_vec())?,
            CellType::Int64 => whole::<i64>(input, name, |v| v.to_le_bytes().to_vec())?,
            CellType::Float => whole::<f32>(input, name, |v| v.to_le_bytes().to_vec())?,
            CellType::Double => whole::<f64>(input, name, |v| v.to_le_bytes().to_vec())?,
            other => return Err(MsError::Damaged(format!("column {name} of type {other:?} in an unknown storage manager"))),
        };
        Ok(Scalars::Whole(bytes, c.cell.memory_bytes()))
    }

    fn read(&self, first: u64, n: usize, out: &mut Vec<u8>) -> Result<(), MsError> {
        match self {
            Scalars::Pieces(column) => column.read(first, n, out),
            Scalars::Whole(bytes, width) => {
                out.extend_from_slice(&bytes[first as usize * width..(first as usize + n) * width]);
                Ok(())
            }
        }
    }
}

fn whole<T: CasaScalarData>(input: &Input, name: &str, bytes: impl Fn(&T) -> Vec<u8>) -> Result<Vec<u8>, MsError> {
    let values: Vec<T> = with_table(&input.set.path, |t| column(t, name))?;
    Ok(values.iter().flat_map(bytes).collect())
}

fn scalars(main: &mut TableWriter, input: &Input, map: &RowMap, flipped: &mut Flipped, notice: &dyn Reporter) -> Result<()> {
    let columns: Vec<Column> = main.columns().to_vec();
    let sources: Vec<Option<Scalars>> =
        columns.iter().map(|c| (!is_array(c)).then(|| Scalars::open(input, &c.name)).transpose()).collect::<Result<_, _>>()?;
    let place = |name: &str| columns.iter().position(|c| c.name == name);
    let n_rows = input.set.rows.n_rows;
    let mut values: Vec<Vec<u8>> = vec![Vec::new(); columns.len()];
    for first in (0..n_rows).step_by(BLOCK) {
        notice.check()?;
        let n = BLOCK.min((n_rows - first) as usize);
        for (source, bytes) in sources.iter().zip(&mut values) {
            if let Some(source) = source {
                bytes.clear();
                source.read(first, n, bytes)?;
            }
        }
        let antennas = place("ANTENNA1").zip(place("ANTENNA2"));
        let was_ordered = antennas.map(|(a, b)| ordered(&values[a], &values[b]));
        columns.iter().zip(&mut values).filter(|(c, _)| !is_array(c)).for_each(|(c, bytes)| map.apply(&c.name, bytes));
        if let (Some(antennas), Some(was_ordered)) = (antennas, was_ordered) {
            flipped.order(main.n_rows(), &was_ordered, &mut values, antennas, place("FEED1").zip(place("FEED2")));
        }
        let cells: Vec<Cells> =
            columns.iter().zip(&values).map(|(c, v)| if is_array(c) { Cells::Undefined } else { Cells::Scalars(v) }).collect();
        main.append_scalars(n, &cells)?;
    }
    Ok(())
}

/// A file of tiles to be copied whole.
struct TileCopy {
    from: PathBuf,
    to: PathBuf,
}

fn arrays(writer: &mut TiledWriter, c: &Column, input: &Input, copies: &mut Vec<TileCopy>, notice: &dyn Reporter) -> Result<()> {
    if adopt(writer, c, input, copies)? {
        return Ok(());
    }
    match c.cell {
        CellType::Bool => rewrite::<bool>(writer, c, input, notice),
        CellType::UChar => rewrite::<u8>(writer, c, input, notice),
        CellType::Short => rewrite::<i16>(writer, c, input, notice),
        CellType::Int => rewrite::<i32>(writer, c, input, notice),
        CellType::UInt => rewrite::<u32>(writer, c, input, notice),
        CellType::Int64 => rewrite::<i64>(writer, c, input, notice),
        CellType::Float => rewrite::<f32>(writer, c, input, notice),
        CellType::Double => rewrite::<f64>(writer, c, input, notice),
        CellType::Complex => rewrite::<num_complex::Complex32>(writer, c, input, notice),
        CellType::DComplex => rewrite::<num_complex::Complex64>(writer, c, input, notice),
        other => Err(Error::data(format!("column {} of type {other:?} cannot be written", c.name))),
    }
}

/// Columns of cells smaller than this (UVW, WEIGHT, SIGMA) are written anew as one hypercube, in bytes.
///
/// casacore reads a column of several hypercubes row by row, three times slower than one; copying saves little there.
const SMALL_CELLS: usize = 64;

/// Takes over the hypercubes of a column as they are, if it has tiles of its own in this byte order.
fn adopt(writer: &mut TiledWriter, c: &Column, input: &Input, copies: &mut Vec<TileCopy>) -> Result<bool, MsError> {
    let files = input.files;
    let Some(manager) = files.column(&c.name).and_then(|column| files.manager_of(column)) else { return Ok(false) };
    let Some(header) = TiledHeader::read(files, manager)? else { return Ok(false) };
    let used: Vec<usize> = (0..header.cubes.len()).filter(|i| header.runs.iter().any(|r| r.cube == Some(*i))).collect();
    let n_dim = match &c.shape {
        Shape::Fixed(shape) => shape.len(),
        Shape::Array(n) => *n,
        _ => return Ok(false),
    };
    let own_file = |i: &usize| {
        let cube = &header.cubes[*i];
        let shared = header.cubes.iter().filter(|other| other.file == cube.file).count() > 1;
        cube.file >= 0 && cube.offset == 0 && !shared && cube.shape.len() == n_dim + 1 && cube.shape.iter().all(|n| *n > 0)
    };
    let numbers: u64 = used.iter().filter_map(|i| header.cubes[*i].shape.split_last()).map(|(_, cell)| cell.iter().product::<u64>()).sum();
    let small = numbers as usize * c.cell.bits() / 8 <= SMALL_CELLS;
    if header.columns.len() != 1 || files.big_endian || !used.iter().all(own_file) || small {
        return Ok(false);
    }
    let mut numbers = vec![0; header.cubes.len()];
    for i in used {
        let cube = &header.cubes[i];
        let from = files.path.join(format!("table.f{}_TSM{}", manager.number, cube.file));
        let bytes = std::fs::metadata(&from).map_err(|e| MsError::io(format!("read column {}", c.name), e))?.len();
        let (&rows, cell) = cube.shape.split_last().unwrap_or((&0, &[]));
        let (number, to) = writer.adopt(cell, &cube.tile, rows, bytes);
        numbers[i] = number;
        copies.push(TileCopy { from, to });
    }
    let mut next = 0;
    for run in &header.runs {
        match run.cube {
            Some(i) => writer.map_rows(run.end - run.first, numbers[i], run.position),
            None => writer.append_undefined(run.end - run.first),
        }
        next = run.end;
    }
    writer.append_undefined(input.set.rows.n_rows.saturating_sub(next));
    Ok(true)
}

/// Reads a column and writes it anew.
fn rewrite<T: TileValue + CasaScalarData + Bytes>(
    writer: &mut TiledWriter,
    c: &Column,
    input: &Input,
    notice: &dyn Reporter,
) -> Result<()> {
    let n_rows = input.set.rows.n_rows;
    match input.set.reader(&c.name)? {
        ColumnReader::Tiled(tiles) => {
            let mut values: Vec<T> = Vec::new();
            for (range, shape) in tiles.shapes(0..n_rows) {
                let Some(shape) = shape.filter(|s| s.iter().product::<usize>() > 0) else {
                    writer.append_undefined(range.end - range.start);
                    continue;
                };
                let cell: Vec<u64> = shape.iter().map(|n| *n as u64).collect();
                let len: usize = shape.iter().product();
                let step = (PIECE / (len * size_of::<T>()).max(1)).max(1);
                for first in range.clone().step_by(step) {
                    notice.check()?;
                    let n = step.min((range.end - first) as usize);
                    values.resize(n * len, T::default());
                    tiles.read(first, n, &mut values)?;
                    writer.append(&cell, n, T::bytes(&values))?;
                }
            }
            Ok(())
        }
        ColumnReader::Casacore { .. } => rewrite_cells::<T>(writer, c, input, notice),
    }
}

/// Reads a column cell by cell through casacore and writes it anew.
fn rewrite_cells<T: TileValue + CasaScalarData + Bytes>(
    writer: &mut TiledWriter,
    c: &Column,
    input: &Input,
    notice: &dyn Reporter,
) -> Result<()> {
    let (set, step) = (input.set, 4096);
    for first in (0..set.rows.n_rows).step_by(step) {
        notice.check()?;
        let end = (first + step as u64).min(set.rows.n_rows);
        let cells = with_table(&set.path, |t| (first..end).map(|row| array_cell::<T>(t, &c.name, row)).collect::<Result<Vec<_>, _>>())?;
        for (row, cell) in (first..end).zip(cells) {
            match cell.filter(|v| !v.is_empty()) {
                Some(values) => writer.append(&cell_shape(c, set, row, values.len())?, 1, T::bytes(&values))?,
                None => writer.append_undefined(1),
            }
        }
    }
    Ok(())
}

/// Shape of a cell that casacore gave as a list: the first of two axes is that of the correlations.
fn cell_shape(c: &Column, set: &MeasurementSet, row: u64, len: usize) -> Result<Vec<u64>, MsError> {
    let d = usize::try_from(set.rows.data_desc.get(row)).ok().and_then(|i| set.data_descriptions.get(i));
    let n_corr = d.map_or(1, |d| set.polarizations[d.polarization].len());
    match &c.shape {
        Shape::Fixed(shape) => Ok(shape.clone()),
        Shape::Array(1) => Ok(vec![len as u64]),
        Shape::Array(2) if len % n_corr == 0 => Ok(vec![n_corr as u64, (len / n_corr) as u64]),
        _ => Err(MsError::Shape { column: c.name.clone(), row, found: vec![len], expected: vec![n_corr] }),
    }
}

/// The bytes of numbers as tables hold them; truth values as bytes of 0 and 1.
trait Bytes: Sized {
    fn bytes(values: &[Self]) -> &[u8];
}
macro_rules! bytes {
    ($($T:ty),+) => { $(impl Bytes for $T {
        fn bytes(values: &[$T]) -> &[u8] {
            bytemuck::cast_slice(values)
        }
    })+ };
}
bytes!(u8, i16, i32, u32, i64, f32, f64, num_complex::Complex32, num_complex::Complex64, bool);

fn copy_files(copies: &[TileCopy], notice: &dyn Reporter) -> Result<()> {
    const AT_ONCE: u64 = 64 << 20;
    for (i, copy) in copies.iter().enumerate() {
        notice.progress("concat", i as u64, copies.len() as u64);
        let run = || -> std::io::Result<()> {
            let (from, mut to) = (File::open(&copy.from)?, File::create(&copy.to)?);
            // The kernel copies between the files; in parts, so that the user can stop it.
            while std::io::copy(&mut (&from).take(AT_ONCE), &mut to)? > 0 {
                if notice.cancelled() {
                    break;
                }
            }
            Ok(())
        };
        run().map_err(|e| Error::io("copy a column", &copy.to, e))?;
        notice.check()?;
    }
    Ok(())
}
