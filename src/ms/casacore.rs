//! casacore's own table code, behind one process-wide lock.
//!
//! A `Table` must not cross threads, and the same table opened in two threads crashes: every use of rubbl goes through
//! [`with_table`], which opens, calls, and closes inside the lock.

use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use rubbl_casatables::{Array, CasaScalarData, Table, TableError, TableOpenMode, TableRecord, TableRow};

use super::error::MsError;

static LOCK: Mutex<()> = Mutex::new(());

fn lock() -> MutexGuard<'static, ()> {
    // A panic while the lock was held leaves nothing behind that the next user needs.
    LOCK.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Runs `body` with no other use of casacore in this process.
pub fn alone<R>(body: impl FnOnce() -> R) -> R {
    let _guard = lock();
    body()
}

/// Runs `body`, which writes tables, with no other use of casacore in this process, and with fresh memory zeroed.
///
/// casacore leaves gaps between arrays of one cell as its buffers had them: without this the same set has other bits each time.
pub fn alone_writing<R>(body: impl FnOnce() -> R) -> R {
    alone(|| {
        let _zeroed = Zeroed::new();
        body()
    })
}

/// While it lives, memory from the allocator is zero.
struct Zeroed;

impl Zeroed {
    fn new() -> Zeroed {
        perturb(0xff);
        Zeroed
    }
}

impl Drop for Zeroed {
    fn drop(&mut self) {
        perturb(0);
    }
}

/// glibc fills new memory with the complement of `byte`, unless that is 0.
fn perturb(byte: i32) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it sets a number that the allocator reads.
    unsafe {
        libc::mallopt(libc::M_PERTURB, byte);
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let _ = byte;
}

/// Opens the table at `path` for reading and hands it to `body`.
pub fn with_table<R>(path: &Path, body: impl FnOnce(&mut Table) -> Result<R, MsError>) -> Result<R, MsError> {
    with_mode(path, TableOpenMode::Read, body)
}

/// Opens the table at `path` for reading and writing and hands it to `body`; all is on disk when this returns.
pub fn with_table_mut<R>(path: &Path, body: impl FnOnce(&mut Table) -> Result<R, MsError>) -> Result<R, MsError> {
    with_mode(path, TableOpenMode::ReadWrite, body)
}

fn with_mode<R>(path: &Path, mode: TableOpenMode, body: impl FnOnce(&mut Table) -> Result<R, MsError>) -> Result<R, MsError> {
    let write = matches!(mode, TableOpenMode::ReadWrite);
    let work = || {
        let mut table = Table::open(path, mode).map_err(|e| casacore(format!("open table {}", short_name(path)), e))?;
        body(&mut table)
    };
    if write { alone_writing(work) } else { alone(work) }
}

/// Last part of a path, for messages.
pub fn short_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned())
}

/// An error of casacore while doing `what`.
pub fn casacore(what: impl Into<String>, e: impl std::fmt::Display) -> MsError {
    MsError::Casacore { what: what.into(), message: e.to_string().lines().next().unwrap_or_default().to_string() }
}

/// A whole column of scalars.
pub fn column<T: CasaScalarData>(table: &mut Table, name: &str) -> Result<Vec<T>, MsError> {
    if table.n_rows() == 0 {
        return Ok(Vec::new());
    }
    table.get_col_as_vec(name).map_err(|e| casacore(format!("read column {name}"), e))
}

/// One cell of an array column; `None` where it has no value.
pub fn array_cell<T: CasaScalarData>(table: &mut Table, name: &str, row: u64) -> Result<Option<Vec<T>>, MsError> {
    match table.get_cell_as_vec(name, row) {
        Ok(values) => Ok(Some(values)),
        Err(TableError::Casacore(e)) if is_undefined(&e.to_string()) => Ok(None),
        Err(e) => Err(casacore(format!("read column {name}, row {row}"), e)),
    }
}

/// casacore's words for a cell that was never written differ by storage manager.
fn is_undefined(message: &str) -> bool {
    let m = message.to_lowercase();
    ["no array", "not defined", "undefined", "no value"].iter().any(|words| m.contains(words))
}

/// The keywords of a column.
pub fn column_keywords(table: &mut Table, name: &str) -> Result<TableRecord, MsError> {
    table.get_column_keyword_record(name).map_err(|e| casacore(format!("read the keywords of column {name}"), e))
}

/// True if a cell of an array column of floats has a value.
pub fn is_defined(table: &mut Table, name: &str, row: u64) -> Result<bool, MsError> {
    array_cell::<f32>(table, name, row).map(|cell| cell.is_some_and(|values| !values.is_empty()))
}

/// One cell of an array column with its shape, first axis fastest; `None` where it has no value.
///
/// `row` is a row reader of the table: the only way in which rubbl tells shapes. It reads all columns of the row.
pub fn shaped_cell<T: CasaScalarData + Copy>(
    table: &mut Table,
    row: &mut TableRow,
    name: &str,
    number: u64,
) -> Result<Option<(Vec<usize>, Vec<T>)>, MsError> {
    let Some(values) = array_cell::<T>(table, name, number)? else { return Ok(None) };
    let failed = |e: TableError| casacore(format!("read column {name}, row {number}"), e);
    table.read_row(row, number).map_err(failed)?;
    macro_rules! try_axes {
        ($($n:literal)*) => { $(
            let mut cell = Array::from_shape_vec([0usize; $n], Vec::<T>::new()).unwrap_or_else(|_| unreachable!("no values, no length"));
            match row.get_cell(name) {
                Ok(found) => {
                    cell = found;
                    return Ok(Some((cell.shape().iter().rev().copied().collect(), values)));
                }
                // Arrays without axes: rubbl takes their one "value" from memory that nobody wrote.
                Err(TableError::DimensionMismatch(e)) if e.actual == 0 => return Ok(Some((Vec::new(), Vec::new()))),
                Err(TableError::DimensionMismatch(_)) => drop(cell),
                Err(e) => return Err(failed(e)),
            }
        )* };
    }
    try_axes!(1 2 3 4 5 6);
    Err(MsError::Damaged(format!("column {name} has more than six axes in row {number}")))
}
