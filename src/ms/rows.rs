//! Which row of the main table is of which time, field, scan, spectral window and baseline, kept small.
//!
//! Rows of one kind follow one another, so most columns are kept as runs of equal values; a set of ten million rows takes
//! some 50 MB.

use std::ops::Range;

use rubbl_casatables::{CasaScalarData, Table};

use super::aipsio::CellType;
use super::casacore::column;
use super::error::MsError;
use super::scalars::ScalarColumn;
use super::table_files::TableFiles;

/// Rows read at a time.
const PIECE: u64 = 1 << 16;

/// A column in which equal values follow one another.
#[derive(Debug, Clone, PartialEq)]
pub struct Runs<T> {
    ends: Vec<u64>,
    values: Vec<T>,
}

impl<T: Copy + PartialEq> Runs<T> {
    /// From the values of all rows.
    pub fn new(all: &[T]) -> Runs<T> {
        let mut runs = Runs::empty();
        all.iter().for_each(|value| runs.push(*value, 1));
        runs.fitted()
    }

    fn empty() -> Runs<T> {
        Runs { ends: Vec::new(), values: Vec::new() }
    }

    /// Appends `n` rows of a value.
    fn push(&mut self, value: T, n: u64) {
        // NaN is not equal to itself: such rows are runs of their own.
        match (self.values.last(), self.ends.last_mut()) {
            (Some(last), Some(end)) if *last == value => *end += n,
            (_, end) => {
                let before = end.map_or(0, |e| *e);
                self.values.push(value);
                self.ends.push(before + n);
            }
        }
    }

    fn fitted(mut self) -> Runs<T> {
        self.ends.shrink_to_fit();
        self.values.shrink_to_fit();
        self
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
#[derive(Debug, Clone, PartialEq)]
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
    /// Reads the columns from the main table: from its files where they are of a known kind, else through casacore.
    pub fn read(table: &mut Table, files: Option<&TableFiles>) -> Result<RowIndex, MsError> {
        let names = table.column_names().map_err(|e| super::casacore::casacore("read the column names", e))?;
        let n_rows = table.n_rows();
        let source = &mut Source { table, files, names, n_rows };
        Ok(RowIndex {
            n_rows,
            data_desc: source.needed("DATA_DESC_ID")?,
            field: source.needed("FIELD_ID")?,
            scan: source.optional("SCAN_NUMBER", 0)?,
            observation: source.optional("OBSERVATION_ID", 0)?,
            state: source.optional("STATE_ID", -1)?,
            time_s: source.needed("TIME")?,
            interval_s: source.optional("INTERVAL", 0.0)?,
            flag_row: source.optional("FLAG_ROW", false)?,
            antenna1: source.antennas("ANTENNA1")?,
            antenna2: source.antennas("ANTENNA2")?,
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

/// A number of a scalar column.
trait Scalar: CasaScalarData + Copy + PartialEq {
    const CELL: CellType;
    const BYTES: usize;
    /// From its bytes, lowest first.
    fn from_le(bytes: &[u8]) -> Self;
}

macro_rules! scalar {
    ($T:ty, $cell:ident) => {
        impl Scalar for $T {
            const CELL: CellType = CellType::$cell;
            const BYTES: usize = size_of::<$T>();
            fn from_le(bytes: &[u8]) -> $T {
                bytes.try_into().map(<$T>::from_le_bytes).unwrap_or_default()
            }
        }
    };
}

scalar!(i32, Int);
scalar!(f64, Double);

impl Scalar for bool {
    const CELL: CellType = CellType::Bool;
    const BYTES: usize = 1;
    fn from_le(bytes: &[u8]) -> bool {
        bytes.first().is_some_and(|b| *b != 0)
    }
}

/// Where the columns come from.
struct Source<'a> {
    table: &'a mut Table,
    files: Option<&'a TableFiles>,
    names: Vec<String>,
    n_rows: u64,
}

impl Source<'_> {
    /// The column's own file, if it is of a kind that is read without casacore.
    fn own<T: Scalar>(&self, name: &str) -> Result<Option<ScalarColumn>, MsError> {
        let Some(files) = self.files else { return Ok(None) };
        match files.column(name).filter(|c| c.cell == T::CELL && !c.array) {
            Some(described) if self.n_rows > 0 => ScalarColumn::open(files, described),
            _ => Ok(None),
        }
    }

    fn needed<T: Scalar>(&mut self, name: &str) -> Result<Runs<T>, MsError> {
        let mut runs = Runs::empty();
        if let Some(own) = self.own::<T>(name)? {
            if !own.each_run(|n, bytes| runs.push(T::from_le(bytes), n))? {
                self.in_pieces(&own, |value| runs.push(value, 1))?;
            }
        }
        // Also where casacore counts other rows than the column has: it knows best.
        if runs.len() != self.n_rows {
            runs = Runs::new(&column::<T>(self.table, name)?);
        }
        Ok(runs.fitted())
    }

    fn optional<T: Scalar>(&mut self, name: &str, otherwise: T) -> Result<Runs<T>, MsError> {
        if self.names.iter().any(|n| n == name) { self.needed(name) } else { Ok(Runs::constant(otherwise, self.n_rows)) }
    }

    fn in_pieces<T: Scalar>(&self, own: &ScalarColumn, mut each: impl FnMut(T)) -> Result<(), MsError> {
        let mut bytes = Vec::new();
        for first in (0..self.n_rows).step_by(PIECE as usize) {
            bytes.clear();
            own.read(first, PIECE.min(self.n_rows - first) as usize, &mut bytes)?;
            bytes.chunks_exact(T::BYTES).for_each(|b| each(T::from_le(b)));
        }
        Ok(())
    }

    fn antennas(&mut self, name: &str) -> Result<Vec<u16>, MsError> {
        // An id that is no u16 becomes the largest and is refused with those that ANTENNA does not have.
        let narrow = |id: i32| u16::try_from(id).unwrap_or(u16::MAX);
        let mut ids = Vec::with_capacity(self.n_rows as usize);
        match self.own::<i32>(name)? {
            Some(own) => self.in_pieces(&own, |id| ids.push(narrow(id)))?,
            None => ids.extend(column::<i32>(self.table, name)?.into_iter().map(narrow)),
        }
        Ok(ids)
    }
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
