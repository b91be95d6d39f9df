//! A table written from its first row to its last, without casacore: `table.dat`, `table.info` and the columns' files.
//!
//! casacore's own StandardStMan takes 90 bytes a row for the scalars of a MeasurementSet; kept incrementally they
//! take next to nothing, and only this writer can choose.

use std::path::{Path, PathBuf};

use super::super::aipsio::CellType;
use super::incremental::IncrementalWriter;
use super::standard::{StandardWriter, Width};
use super::stream::{Keyword, Stream, record};
use super::tiled::TiledWriter;
use crate::error::{Error, Result};

/// How the cells of a column are laid out.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// One value a row, stored where it changes.
    Incremental,
    /// One value a row.
    Scalar,
    /// An array of this shape in every row, first axis fastest.
    Fixed(Vec<u64>),
    /// An array with this number of axes, or nothing.
    Array(usize),
    /// The same in an image, where casacore looks for a storage manager that has the name of the column.
    Image(usize),
}

/// A column to be written.
#[derive(Debug, Clone)]
pub struct Column {
    /// Name.
    pub name: String,
    /// What it holds.
    pub comment: String,
    /// Type of its numbers.
    pub cell: CellType,
    /// Layout of its cells.
    pub shape: Shape,
    /// Keywords, as a stored TableRecord without the magic number.
    pub keywords: Vec<u8>,
}

impl Column {
    /// A column with keywords.
    pub fn new(name: &str, cell: CellType, shape: Shape, comment: &str, keywords: &[(String, Keyword)]) -> Column {
        Column { name: name.to_string(), comment: comment.to_string(), cell, shape, keywords: stored(keywords) }
    }
}

/// A TableRecord as it stands inside other objects.
fn stored(fields: &[(String, Keyword)]) -> Vec<u8> {
    let mut s = Stream::big_endian();
    record(&mut s, fields);
    s.into_bytes().split_off(4) // the magic number stands only before outermost objects
}

/// Values of one column for the rows that are appended.
#[derive(Debug, Clone, Copy)]
pub enum Cells<'a> {
    /// Little-endian bytes, one number a row; truth values as bytes of 0 and 1.
    Scalars(&'a [u8]),
    /// Arrays of one shape (first axis fastest), row after row.
    Arrays(&'a [u64], &'a [u8]),
    /// No values.
    Undefined,
}

const INCREMENTAL: u32 = 0;
const STANDARD: u32 = 1;

/// Writes a table row by row.
pub struct TableWriter {
    dir: PathBuf,
    columns: Vec<Column>,
    incremental: IncrementalWriter,
    standard: StandardWriter,
    tiled: Vec<TiledWriter>,
    n_rows: u64,
}

impl TableWriter {
    /// Starts a table in the existing folder `dir`.
    pub fn new(dir: &Path, columns: Vec<Column>, expected_rows: u64) -> Result<TableWriter> {
        let incremental = IncrementalWriter::new(&dir.join("table.f0"), &incremental_widths(&columns))?;
        let standard = StandardWriter::new(&dir.join("table.f1"), &standard_widths(&columns))?;
        let mut tiled = Vec::new();
        for c in &columns {
            let n_dim = match &c.shape {
                Shape::Fixed(shape) => shape.len(),
                Shape::Array(n_dim) | Shape::Image(n_dim) => *n_dim,
                _ => continue,
            };
            tiled.push(TiledWriter::new(dir, STANDARD + 1 + tiled.len() as u32, &manager_name(c), c.cell, n_dim, expected_rows));
        }
        Ok(TableWriter { dir: dir.to_path_buf(), columns, incremental, standard, tiled, n_rows: 0 })
    }

    /// The columns, in the order in which `append` takes their cells.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Rows so far.
    pub fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// Appends rows; `cells` has one entry a column.
    pub fn append(&mut self, n_rows: usize, cells: &[Cells]) -> Result<()> {
        self.append_scalars(n_rows, cells)?;
        for (i, (_, cells)) in self.columns.iter().zip(cells).filter(|(c, _)| is_array(c)).enumerate() {
            match cells {
                Cells::Arrays(shape, bytes) => self.tiled[i].append(shape, n_rows, bytes)?,
                _ => self.tiled[i].append_undefined(n_rows as u64),
            }
        }
        Ok(())
    }

    /// Appends the scalars of rows, whose arrays the caller gives to [`TableWriter::array`].
    pub fn append_scalars(&mut self, n_rows: usize, cells: &[Cells]) -> Result<()> {
        let of = |shape: Shape| -> Vec<&[u8]> {
            let chosen = self.columns.iter().zip(cells).filter(|(c, _)| c.shape == shape);
            chosen.map(|(_, cells)| if let Cells::Scalars(bytes) = cells { *bytes } else { &[] }).collect()
        };
        let (incremental, standard) = (of(Shape::Incremental), of(Shape::Scalar));
        self.incremental.append(n_rows, &incremental)?;
        self.standard.append(n_rows, &standard)?;
        self.n_rows += n_rows as u64;
        if self.n_rows > u64::from(u32::MAX) {
            return Err(Error::data(format!("{} rows: a table takes at most 2^32", self.n_rows)).hint("split the data by time"));
        }
        Ok(())
    }

    /// The writer of an array column.
    pub fn array(&mut self, name: &str) -> Option<&mut TiledWriter> {
        let i = self.columns.iter().filter(|c| is_array(c)).position(|c| c.name == name)?;
        self.tiled.get_mut(i)
    }

    /// Completes all files.
    pub fn finish(self, keywords: &[(String, Keyword)], info: &str) -> Result<()> {
        let bytes = table_dat(&self.columns, self.n_rows, keywords);
        self.incremental.finish()?;
        self.standard.finish()?;
        self.tiled.into_iter().try_for_each(TiledWriter::finish)?;
        for (name, bytes) in [("table.dat", bytes.as_slice()), ("table.info", info.as_bytes())] {
            let path = self.dir.join(name);
            std::fs::write(&path, bytes).map_err(|e| Error::io("write a table file", path, e))?;
        }
        Ok(())
    }
}

fn is_array(c: &Column) -> bool {
    matches!(c.shape, Shape::Fixed(_) | Shape::Array(_) | Shape::Image(_))
}

fn incremental_widths(columns: &[Column]) -> Vec<usize> {
    columns.iter().filter(|c| c.shape == Shape::Incremental).map(|c| c.cell.memory_bytes()).collect()
}

fn standard_widths(columns: &[Column]) -> Vec<Width> {
    let width = |c: &Column| match c.cell {
        CellType::Bool => Width::Bit,
        // Place and length of the text; only tables without rows have such columns here.
        CellType::String => Width::Bytes(12),
        cell => Width::Bytes(cell.memory_bytes()),
    };
    columns.iter().filter(|c| c.shape == Shape::Scalar).map(width).collect()
}

/// Name of the storage manager of a column, in CASA's manner.
fn manager_name(c: &Column) -> String {
    match c.shape {
        Shape::Incremental => "Incremental".to_string(),
        Shape::Scalar => "Standard".to_string(),
        Shape::Image(_) => c.name.clone(),
        _ => format!("Tiled{}", c.name),
    }
}

fn manager_type(c: &Column) -> &'static str {
    match c.shape {
        Shape::Incremental => "IncrementalStMan",
        Shape::Scalar => "StandardStMan",
        _ => "TiledShapeStMan",
    }
}

fn table_dat(columns: &[Column], n_rows: u64, keywords: &[(String, Keyword)]) -> Vec<u8> {
    let mut s = Stream::big_endian();
    s.object("Table", 2, |s| {
        s.u32(n_rows as u32);
        s.u32(1); // little-endian data
        s.text("PlainTable");
        s.object("TableDesc", 2, |s| {
            (0..3).for_each(|_| s.text("")); // name, version, comment
            record(s, keywords);
            record(s, &[]); // definitions of hypercolumns: none needed with one column a manager
            s.u32(columns.len() as u32);
            columns.iter().for_each(|c| describe(s, c));
        });
        column_set(s, columns, n_rows);
    });
    s.into_bytes()
}

fn describe(s: &mut Stream, c: &Column) {
    const FIXED_SHAPE: i32 = 4;
    let class = if is_array(c) { "ArrayColumnDesc<" } else { "ScalarColumnDesc<" };
    s.u32(1);
    s.text(&format!("{class}{}", c.cell.class_name()));
    s.u32(1);
    [&c.name, &c.comment, manager_type(c), &manager_name(c)].into_iter().for_each(|t| s.text(t));
    s.i32(c.cell.code());
    let (option, n_dim, shape) = match &c.shape {
        Shape::Fixed(shape) => (FIXED_SHAPE, shape.len() as i32, Some(shape.iter().map(|n| *n as i64).collect())),
        Shape::Array(n_dim) | Shape::Image(n_dim) => (0, *n_dim as i32, Some(Vec::new())),
        _ => (0, 0, None),
    };
    s.i32(option);
    s.i32(n_dim);
    if let Some(shape) = shape {
        s.shape(&shape);
    }
    s.u32(0); // longest string
    s.raw(&c.keywords);
    s.u32(1);
    // Value of new rows; of texts its length.
    match c.cell {
        _ if is_array(c) => s.bool(false),
        CellType::String => s.text(""),
        cell => s.raw(&vec![0; cell.memory_bytes()]),
    }
}

fn column_set(s: &mut Stream, columns: &[Column], n_rows: u64) {
    let arrays: Vec<&Column> = columns.iter().filter(|c| is_array(c)).collect();
    let n_managers = STANDARD + 1 + arrays.len() as u32;
    s.i32(-2); // version
    s.u32(n_rows as u32);
    s.u32(n_managers); // next free number
    s.u32(n_managers);
    for (number, kind) in [(INCREMENTAL, "IncrementalStMan"), (STANDARD, "StandardStMan")] {
        s.text(kind);
        s.u32(number);
    }
    for i in 0..arrays.len() as u32 {
        s.text("TiledShapeStMan");
        s.u32(STANDARD + 1 + i);
    }
    let mut number = STANDARD;
    for c in columns {
        s.u32(2);
        s.text(&c.name);
        s.u32(1);
        match &c.shape {
            Shape::Incremental => s.u32(INCREMENTAL),
            Shape::Scalar => s.u32(STANDARD),
            shape => {
                number += 1;
                s.u32(number);
                s.bool(matches!(shape, Shape::Fixed(_)));
                if let Shape::Fixed(shape) = shape {
                    s.shape(&shape.iter().map(|n| *n as i64).collect::<Vec<_>>());
                }
            }
        }
    }
    let standard = StandardWriter::description("Standard", &standard_widths(columns));
    for own in [IncrementalWriter::description("Incremental"), standard] {
        s.u32(own.len() as u32);
        s.raw(&own);
    }
    arrays.iter().for_each(|_| s.u32(0));
}
