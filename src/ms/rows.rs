//! Which row of the main table is of which time, field, scan, spectral window and baseline, kept small.
//!
//! Rows of one kind follow one another, so most columns are kept as runs of equal values; a set of ten million rows takes
//! some 50 MB.

use std::ops::Range;

use rubbl_casatables::{CasaScalarData, Table};

use super::casacore::column;
use super::error::MsError;

/// A column in which equal values follow one another.
#[derive(Debug, Clone, PartialEq)]
pub struct Runs<T> {
    ends: Vec<u64>,
    values: Vec<T>,
}

impl<T: Copy + PartialEq> Runs<T> {
    /// From the values of all rows.
    pub fn new(all: &[T]) -> Runs<T> {
        let mut runs = Runs { ends: Vec::new(), values: Vec::new() };
        for (i, value) in all.iter().enumerate() {
            // NaN is not equal to itself: such rows are runs of one.
            match (runs.values.last(), runs.ends.last_mut()) {
                (Some(last), Some(end)) if last == value => *end = i as u64 + 1,
                _ => {
                    runs.values.push(*value);
                    runs.ends.push(i as u64 + 1);
                }
            }
        }
        runs.ends.shrink_to_fit();
        runs.values.shrink_to_fit();
        runs
    }

    /// The same value in all rows.
    pub fn constant(value: T, n_rows: u64) -> Runs<T> {
        if n_rows == 0 { Runs { ends: Vec::new(), values: Vec::new() } } else { Runs { ends: vec![n_rows], values: vec![value] } }
    }

    /// Value of a row, which must exist.
    pub fn get(&self, row: u64) -> T {
        self.values[self.ends.partition_point(|end| *end <= row)]
    }

    /// Runs within a range of rows.
    pub fn within(&self, rows: Range<u64>) -> impl Iterator<Item = (Range<u64>, T)> + '_ {
        let first = self.ends.partition_point(|end| *end <= rows.start);
        let mut start = rows.start;
        (first..self.ends.len()).take_while(move |i| *i == 0 || self.ends[*i - 1] < rows.end).filter_map(move |i| {
            let range = start..self.ends[i].min(rows.end);
            start = range.end;
            (!range.is_empty()).then_some((range, self.values[i]))
        })
    }

    /// All runs.
    pub fn iter(&self) -> impl Iterator<Item = (Range<u64>, T)> + '_ {
        self.within(0..self.ends.last().copied().unwrap_or(0))
    }

    /// The values, one for each run.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// Rows.
    pub fn len(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// The columns of the main table that hold one number a row.
#[derive(Debug, Clone)]
pub struct RowIndex {
    /// Number of rows.
    pub n_rows: u64,
    /// Data description id.
    pub data_desc: Runs<i32>,
    /// Field id.
    pub field: Runs<i32>,
    /// Scan number.
    pub scan: Runs<i32>,
    /// Observation id.
    pub observation: Runs<i32>,
    /// State id.
    pub state: Runs<i32>,
    /// Center of the integration, MJD seconds.
    pub time_s: Runs<f64>,
    /// Length of the integration, seconds.
    pub interval_s: Runs<f64>,
    /// True for rows that are flagged as a whole.
    pub flag_row: Runs<bool>,
    /// First antenna of each row.
    pub antenna1: Vec<u16>,
    /// Second antenna of each row.
    pub antenna2: Vec<u16>,
}

impl RowIndex {
    /// Reads the columns from the main table.
    pub fn read(table: &mut Table) -> Result<RowIndex, MsError> {
        let names = table.column_names().map_err(|e| super::casacore::casacore("read the column names", e))?;
        let has = |name: &str| names.iter().any(|n| n == name);
        let n_rows = table.n_rows();
        Ok(RowIndex {
            n_rows,
            data_desc: runs(table, "DATA_DESC_ID", true, 0)?,
            field: runs(table, "FIELD_ID", true, 0)?,
            scan: runs(table, "SCAN_NUMBER", has("SCAN_NUMBER"), 0)?,
            observation: runs(table, "OBSERVATION_ID", has("OBSERVATION_ID"), 0)?,
            state: runs(table, "STATE_ID", has("STATE_ID"), -1)?,
            time_s: runs(table, "TIME", true, 0.0)?,
            interval_s: runs(table, "INTERVAL", has("INTERVAL"), 0.0)?,
            flag_row: runs(table, "FLAG_ROW", has("FLAG_ROW"), false)?,
            antenna1: antennas(table, "ANTENNA1")?,
            antenna2: antennas(table, "ANTENNA2")?,
        })
    }

    /// Cuts a range of rows wherever data description, field, scan, observation, state or time changes.
    pub fn segments(&self, rows: Range<u64>) -> impl Iterator<Item = Segment> + '_ {
        let mut row = rows.start;
        let mut cursors = [0usize; 6];
        std::iter::from_fn(move || {
            if row >= rows.end.min(self.n_rows) {
                return None;
            }
            let mut end = rows.end.min(self.n_rows);
            let segment = Segment {
                data_desc: value_at(&self.data_desc, row, &mut cursors[0], &mut end),
                field: value_at(&self.field, row, &mut cursors[1], &mut end),
                scan: value_at(&self.scan, row, &mut cursors[2], &mut end),
                observation: value_at(&self.observation, row, &mut cursors[3], &mut end),
                state: value_at(&self.state, row, &mut cursors[4], &mut end),
                time_s: value_at(&self.time_s, row, &mut cursors[5], &mut end),
                rows: row..end,
            };
            row = end;
            Some(segment)
        })
    }
}

/// Consecutive rows of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// The rows.
    pub rows: Range<u64>,
    /// Data description id.
    pub data_desc: i32,
    /// Field id.
    pub field: i32,
    /// Scan number.
    pub scan: i32,
    /// Observation id.
    pub observation: i32,
    /// State id.
    pub state: i32,
    /// Center of the integration, MJD seconds.
    pub time_s: f64,
}

fn value_at<T: Copy + PartialEq>(runs: &Runs<T>, row: u64, cursor: &mut usize, end: &mut u64) -> T {
    // The cursor follows rows that are visited in ascending order.
    if *cursor == 0 {
        *cursor = runs.ends.partition_point(|e| *e <= row);
    }
    while runs.ends[*cursor] <= row {
        *cursor += 1;
    }
    *end = (*end).min(runs.ends[*cursor]);
    runs.values[*cursor]
}

fn runs<T: CasaScalarData + Copy>(table: &mut Table, name: &str, exists: bool, otherwise: T) -> Result<Runs<T>, MsError> {
    if exists { column(table, name).map(|all| Runs::new(&all)) } else { Ok(Runs::constant(otherwise, table.n_rows())) }
}

fn antennas(table: &mut Table, name: &str) -> Result<Vec<u16>, MsError> {
    let all: Vec<i32> = column(table, name)?;
    all.iter()
        .enumerate()
        .map(|(row, id)| u16::try_from(*id).map_err(|_| MsError::Disagree(format!("{name} is {id} in row {row}"))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_give_back_the_values() {
        let all = [3, 3, 3, 1, 1, 3, 2];
        let runs = Runs::new(&all);
        assert_eq!(runs.values(), [3, 1, 3, 2]);
        assert_eq!((0..7).map(|i| runs.get(i)).collect::<Vec<_>>(), all);
        assert_eq!(runs.within(1..6).collect::<Vec<_>>(), [(1..3, 3), (3..5, 1), (5..6, 3)]);
        assert_eq!(runs.within(3..4).collect::<Vec<_>>(), [(3..4, 1)]);
        assert_eq!(runs.within(3..3).count(), 0);
    }
}
