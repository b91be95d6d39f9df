//! Baselines whose antennas change places when ids are merged: they are turned, so that ANTENNA1 <= ANTENNA2 still holds
//! where it held.
//!
//! The turned baseline has UVW of the other sign, conjugate visibilities, and XY where YX was.

use std::ops::Range;
use std::path::Path;

use num_complex::Complex32;

use super::super::aipsio::CellType;
use super::super::error::MsError;
use super::super::scalars::ScalarColumn;
use super::super::table_files::TableFiles;
use super::super::tiles::{TileValue, TiledColumn};
use super::plan::Plan;
use crate::data::Corr;
use crate::error::Result;
use crate::notice::Reporter;

/// Rows whose antennas changed places, as ranges.
#[derive(Debug, Default)]
pub struct Flipped(Vec<Range<u64>>);

/// For each row whether its first id is not above the second; ids are little-endian 32-bit integers.
pub fn ordered(first: &[u8], second: &[u8]) -> Vec<bool> {
    let id = |b: &[u8]| i32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    first.chunks_exact(4).zip(second.chunks_exact(4)).map(|(a, b)| id(a) <= id(b)).collect()
}

impl Flipped {
    /// Swaps the antennas (and feeds) of rows whose order was right and is not any more; rows that a set has the other way
    /// round stay so. `antennas` and `feeds` are places of columns in `values`; the first row is row `first_row`.
    pub fn order(
        &mut self,
        first_row: u64,
        was_ordered: &[bool],
        values: &mut [Vec<u8>],
        antennas: (usize, usize),
        feeds: Option<(usize, usize)>,
    ) {
        let is_ordered = ordered(&values[antennas.0], &values[antennas.1]);
        for i in (0..was_ordered.len()).filter(|i| was_ordered[*i] && !is_ordered[*i]) {
            for (a, b) in std::iter::once(antennas).chain(feeds) {
                for k in 4 * i..4 * i + 4 {
                    let (x, y) = (values[a][k], values[b][k]);
                    (values[a][k], values[b][k]) = (y, x);
                }
            }
            self.push(first_row + i as u64);
        }
    }

    fn push(&mut self, row: u64) {
        match self.0.last_mut() {
            Some(range) if range.end == row => range.end += 1,
            _ => self.0.push(row..row + 1),
        }
    }
}

/// Turns the baselines of the flipped rows in the written table.
pub fn conjugate(table: &Path, flipped: &Flipped, plan: &Plan, notice: &dyn Reporter) -> Result<()> {
    if flipped.0.is_empty() {
        return Ok(());
    }
    let Some(files) = TableFiles::read(table)? else { return Ok(()) };
    let data_desc = data_descriptions(&files, flipped)?;
    for c in files.columns.iter().filter(|c| c.array) {
        let Some(tiles) = TiledColumn::open_for_writing(&files, &c.name)? else { continue };
        let turn = Turn { tiles: &tiles, rows: &flipped.0, data_desc: &data_desc, plan, notice };
        match c.cell {
            CellType::Double if c.name == "UVW" => turn.apply(|v: f64| -v, true, false)?,
            CellType::Complex => turn.apply(|v: Complex32| v.conj(), true, true)?,
            CellType::Float => turn.apply(|v: f32| v, false, true)?,
            CellType::Bool if c.name == "FLAG" => turn.apply(|v: bool| v, false, true)?,
            _ => {}
        }
    }
    Ok(())
}

/// DATA_DESC_ID of all rows up to the last flipped one.
fn data_descriptions(files: &TableFiles, flipped: &Flipped) -> Result<Vec<i32>, MsError> {
    let n = flipped.0.last().map_or(0, |r| r.end);
    let column = files.column("DATA_DESC_ID").map(|c| ScalarColumn::open(files, c)).transpose()?.flatten();
    let column = column.ok_or_else(|| MsError::Damaged("column DATA_DESC_ID".to_string()))?;
    let mut bytes = Vec::new();
    column.read(0, n as usize, &mut bytes)?;
    Ok(bytes.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

/// Bytes read and written at a time: rows that stay are written with their neighbours.
const PIECE: usize = 4 << 20;

struct Turn<'a> {
    tiles: &'a TiledColumn,
    rows: &'a [Range<u64>],
    data_desc: &'a [i32],
    plan: &'a Plan,
    notice: &'a dyn Reporter,
}

impl Turn<'_> {
    /// Changes each number of the flipped rows if `changes`, and the order of correlations if the first axis is theirs.
    fn apply<T: TileValue>(&self, each: impl Fn(T) -> T, changes: bool, by_corr: bool) -> Result<()> {
        let (Some(first), Some(last)) = (self.rows.first(), self.rows.last()) else { return Ok(()) };
        let orders: Vec<Vec<usize>> = (0..self.plan.data_descriptions.len()).map(|d| swapped(self.plan.corrs(d as i32))).collect();
        let moves = |order: &[usize]| order.iter().enumerate().any(|(i, j)| i != *j);
        let reorders = by_corr && orders.iter().any(|o| moves(o));
        if !changes && !reorders {
            return Ok(());
        }
        let mut values: Vec<T> = Vec::new();
        for (range, shape) in self.tiles.shapes(first.start..last.end) {
            let Some(len) = shape.map(|s| s.iter().product::<usize>()).filter(|n| *n > 0) else { continue };
            let step = (PIECE / (len * size_of::<T>()).max(1)).max(1);
            for start in range.clone().step_by(step) {
                let piece = start..(start + step as u64).min(range.end);
                let flipped = self.within(&piece);
                if flipped.is_empty() {
                    continue;
                }
                self.notice.check()?;
                let n = (piece.end - piece.start) as usize;
                values.resize(n * len, T::default());
                self.tiles.read(piece.start, n, &mut values)?;
                for row in flipped.into_iter().flatten() {
                    let at = (row - piece.start) as usize * len;
                    let cell = &mut values[at..at + len];
                    let order = usize::try_from(self.data_desc[row as usize]).ok().and_then(|d| orders.get(d));
                    if let Some(order) = order.filter(|o| by_corr && moves(o) && shape.is_some_and(|s| s[0] == o.len())) {
                        for corrs in cell.chunks_exact_mut(order.len()) {
                            let old = corrs.to_vec();
                            order.iter().enumerate().for_each(|(i, j)| corrs[i] = old[*j]);
                        }
                    }
                    cell.iter_mut().for_each(|v| *v = each(*v));
                }
                self.tiles.write(piece.start, n, &values)?;
            }
        }
        Ok(())
    }

    /// Flipped rows within a piece.
    fn within(&self, piece: &Range<u64>) -> Vec<Range<u64>> {
        let first = self.rows.partition_point(|r| r.end <= piece.start);
        let overlapping = self.rows[first..].iter().take_while(|r| r.start < piece.end);
        overlapping.map(|r| r.start.max(piece.start)..r.end.min(piece.end)).collect()
    }
}

/// For each correlation the place of the one with the receptors swapped.
fn swapped(corrs: &[Corr]) -> Vec<usize> {
    let other = |c: &Corr| match c {
        Corr::XY => Corr::YX,
        Corr::YX => Corr::XY,
        Corr::RL => Corr::LR,
        Corr::LR => Corr::RL,
        same => *same,
    };
    corrs.iter().enumerate().map(|(i, c)| corrs.iter().position(|d| *d == other(c)).unwrap_or(i)).collect()
}
