//! One column of the main table, from tiles where possible and through casacore elsewhere.

use std::path::PathBuf;

use rubbl_casatables::CasaScalarData;

use super::casacore;
use super::error::MsError;
use super::measurement_set::MeasurementSet;
use super::tiles::{TileValue, TiledColumn};

/// Reads rows of one array column, from any thread.
#[derive(Debug, Clone)]
pub enum ColumnReader {
    /// Kept in tiles: read without casacore and without a lock.
    Tiled(TiledColumn),
    /// Kept in another way: casacore reads it, one thread at a time.
    Casacore {
        /// The set.
        set: PathBuf,
        /// Name of the column.
        column: String,
    },
}

impl MeasurementSet {
    /// A reader of an array column of the main table.
    pub fn reader(&self, column: &str) -> Result<ColumnReader, MsError> {
        if let Some(files) = &self.files {
            if let Some(tiles) = TiledColumn::open(files, column)? {
                return Ok(ColumnReader::Tiled(tiles));
            }
        } else if !self.has_column(column) {
            return Err(MsError::NoColumn { column: column.to_string(), nearest: None, existing: self.columns.clone() });
        }
        Ok(ColumnReader::Casacore { set: self.path.clone(), column: column.to_string() })
    }
}

impl ColumnReader {
    /// True if reading needs no lock.
    pub fn is_tiled(&self) -> bool {
        matches!(self, ColumnReader::Tiled(_))
    }

    /// Reads `n_rows` rows of one shape, row after row, each in storage order (first axis fastest).
    pub fn read<T: TileValue + CasaScalarData>(&self, first_row: u64, n_rows: usize, out: &mut [T]) -> Result<(), MsError> {
        match self.read_defined(first_row, n_rows, out)? {
            None => Ok(()),
            Some(row) => Err(MsError::Undefined { column: self.name().to_string(), row }),
        }
    }

    /// Like [`read`](ColumnReader::read), but stops at the first row without a value and returns it.
    pub fn read_defined<T: TileValue + CasaScalarData>(
        &self,
        first_row: u64,
        n_rows: usize,
        out: &mut [T],
    ) -> Result<Option<u64>, MsError> {
        let (set, column) = match self {
            ColumnReader::Tiled(tiles) => {
                return match tiles.read(first_row, n_rows, out) {
                    Err(MsError::Undefined { row, .. }) => Ok(Some(row)),
                    other => other.map(|()| None),
                };
            }
            ColumnReader::Casacore { set, column } => (set, column),
        };
        if n_rows == 0 {
            return Ok(None);
        }
        let len = out.len() / n_rows;
        casacore::with_table(set, |table| {
            for (i, cell) in out.chunks_exact_mut(len.max(1)).enumerate() {
                let row = first_row + i as u64;
                let Some(values) = casacore::array_cell::<T>(table, column, row)? else { return Ok(Some(row)) };
                if values.len() != len {
                    return Err(MsError::Shape { column: column.clone(), row, found: vec![values.len()], expected: vec![len] });
                }
                cell.copy_from_slice(&values);
            }
            Ok(None)
        })
    }

    /// Name of the column.
    pub fn name(&self) -> &str {
        match self {
            ColumnReader::Tiled(tiles) => tiles.name(),
            ColumnReader::Casacore { column, .. } => column,
        }
    }

    /// Cuts rows where the cells change between having a value and none; each part with whether it has.
    pub fn defined(&self, rows: std::ops::Range<u64>) -> Result<Vec<(std::ops::Range<u64>, bool)>, MsError> {
        match self {
            ColumnReader::Tiled(tiles) => {
                let mut parts: Vec<(std::ops::Range<u64>, bool)> = Vec::new();
                for (range, shape) in tiles.shapes(rows) {
                    match parts.last_mut() {
                        Some((last, defined)) if *defined == has_values(shape) => last.end = range.end,
                        _ => parts.push((range, has_values(shape))),
                    }
                }
                Ok(parts)
            }
            ColumnReader::Casacore { set, column } => casacore::with_table(set, |table| {
                let mut parts: Vec<(std::ops::Range<u64>, bool)> = Vec::new();
                for row in rows {
                    let defined = casacore::is_defined(table, column, row)?;
                    match parts.last_mut() {
                        Some((last, d)) if *d == defined => last.end = row + 1,
                        _ => parts.push((row..row + 1, defined)),
                    }
                }
                Ok(parts)
            }),
        }
    }
}

/// Some writers store cells of no length where they have no value.
fn has_values(shape: Option<&[usize]>) -> bool {
    shape.is_some_and(|axes| axes.iter().product::<usize>() > 0)
}
