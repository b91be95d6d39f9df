//! HISTORY: what was done to a set, by which verb, with which options.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rubbl_casatables::{Table, TableOpenMode};

use super::casacore::{alone_writing, casacore};
use super::error::MsError;
use super::subtables;
use crate::error::{Error, Result};

/// One entry of HISTORY.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HistoryEntry {
    /// The verb.
    pub verb: String,
    /// What was done, in one line, with numbers and units.
    pub message: String,
    /// Options as `name=value`.
    pub options: Vec<String>,
}

impl HistoryEntry {
    /// An entry of a verb with its options.
    pub fn new(verb: &str, message: impl Into<String>, options: &impl serde::Serialize) -> HistoryEntry {
        let options = match serde_json::to_value(options) {
            Ok(serde_json::Value::Object(map)) => map.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            _ => Vec::new(),
        };
        HistoryEntry { verb: verb.to_string(), message: message.into(), options }
    }
}

/// Appends a row to the HISTORY of the set; a set without that table gets one.
pub fn append_history(set: &Path, entry: &HistoryEntry) -> Result<()> {
    let path = set.join("HISTORY");
    let n_rows = alone_writing(|| -> Result<u64, MsError> {
        let mut table = if path.is_dir() {
            Table::open(&path, TableOpenMode::ReadWrite).map_err(|e| casacore("open HISTORY", e))?
        } else {
            make_history(set)?
        };
        put(&mut table, entry)?;
        Ok(table.n_rows())
    })?;
    set_row_count(&path, n_rows)
}

fn make_history(set: &Path) -> Result<Table, MsError> {
    drop(subtables::make_empty(set, "HISTORY")?);
    let open = |p: &Path| Table::open(p, TableOpenMode::ReadWrite).map_err(|e| casacore("open HISTORY", e));
    let mut main = open(set)?;
    main.put_table_keyword("HISTORY", open(&set.join("HISTORY"))?).map_err(|e| casacore("link HISTORY", e))?;
    open(&set.join("HISTORY"))
}

fn put(table: &mut Table, entry: &HistoryEntry) -> Result<(), MsError> {
    let failed = |e: &dyn std::fmt::Display| casacore("write HISTORY", e);
    let columns = table.column_names().map_err(|e| failed(&e))?;
    table.add_rows(1).map_err(|e| failed(&e))?;
    let row = table.n_rows() - 1;
    let program = concat!("phangs-script ", env!("CARGO_PKG_VERSION"));
    let command = format!("{}({})", entry.verb, entry.options.join(", "));
    let message = if entry.message.is_empty() { command.clone() } else { format!("{}: {}", entry.verb, entry.message) };
    let texts = [("APPLICATION", program), ("MESSAGE", &message), ("ORIGIN", &entry.verb), ("PRIORITY", "INFO")];
    for (column, text) in texts.iter().filter(|(c, _)| columns.iter().any(|n| n == c)) {
        table.put_cell(column, row, &text.to_string()).map_err(|e| failed(&e))?;
    }
    for (column, id) in [("OBJECT_ID", 0i32), ("OBSERVATION_ID", -1)] {
        if columns.iter().any(|n| n == column) {
            table.put_cell(column, row, &id).map_err(|e| failed(&e))?;
        }
    }
    for (column, lines) in [("APP_PARAMS", &entry.options), ("CLI_COMMAND", &vec![command])] {
        if columns.iter().any(|n| n == column) {
            let lines = if lines.is_empty() { vec![String::new()] } else { lines.clone() };
            table.put_cell(column, row, &lines).map_err(|e| failed(&e))?;
        }
    }
    table.put_cell("TIME", row, &now_mjd_s()).map_err(|e| failed(&e))
}

/// The time now, MJD seconds UTC.
fn now_mjd_s() -> f64 {
    const UNIX_EPOCH_MJD: f64 = 40_587.0;
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64()) + UNIX_EPOCH_MJD * 86_400.0
}

/// Writes the number of rows into `table.dat`.
///
/// After rows were added to an existing table casacore keeps their number in `table.lock` only, and a copy of the
/// folder without its lock files would lose them.
pub fn set_row_count(table: &Path, n_rows: u64) -> Result<()> {
    let path = table.join("table.dat");
    let mut bytes = std::fs::read(&path).map_err(|e| Error::io("read table.dat", &path, e))?;
    let damaged = || Error::data("table.dat is no description of a plain table").at(&path);
    let (header, column_set) = row_count_places(&bytes).ok_or_else(damaged)?;
    let n = u32::try_from(n_rows).map_err(|_| damaged())?.to_be_bytes();
    for at in [header, column_set] {
        bytes.get_mut(at..at + 4).ok_or_else(damaged)?.copy_from_slice(&n);
    }
    std::fs::write(&path, bytes).map_err(|e| Error::io("write table.dat", &path, e))
}

/// Where `table.dat` keeps the number of rows: in the header, and in the description of the columns' storage.
fn row_count_places(bytes: &[u8]) -> Option<(usize, usize)> {
    let u32_at = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    let text_end = |at: usize| Some(at + 4 + u32_at(at)?);
    let version_at = text_end(8)?; // after the magic number, the length, and "Table"
    let n_rows_at = version_at + 4;
    if !(1..=2).contains(&u32_at(version_at)?) {
        return None;
    }
    let description = text_end(n_rows_at + 8)?; // after byte order and "PlainTable"
    let mut column_set = description + u32_at(description)?;
    if u32_at(version_at)? == 1 {
        column_set += u32_at(column_set)?; // keywords stood here
    }
    let version = u32_at(column_set)? as u32 as i32;
    Some((n_rows_at, if version < 0 { column_set + 4 } else { column_set }))
}
