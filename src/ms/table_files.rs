//! The files of a casacore table, read without casacore: which column is kept by which storage manager.
//!
//! `table.dat` holds the description; `table.f<n>` and `table.f<n>_TSM<m>` belong to the storage manager with sequence
//! number n. The number of rows may be newer in `table.lock` than in `table.dat`: see [`row_count`].

use std::path::{Path, PathBuf};

use super::aipsio::{AipsIo, CellType, Value, field};
use super::error::MsError;

/// One column of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnFile {
    /// Name.
    pub name: String,
    /// Type of its numbers.
    pub cell: CellType,
    /// False for one value a row.
    pub array: bool,
    /// Number of axes of a cell, -1 where any is allowed, 0 for scalars.
    pub n_dim: i32,
    /// The shape that all cells have, if it is fixed; first axis fastest.
    pub shape: Option<Vec<u64>>,
    /// Sequence number of its storage manager.
    pub manager: u32,
    /// What it holds.
    pub comment: String,
    /// Its keywords, as the TableRecord that is stored.
    pub keywords: Vec<u8>,
}

/// One storage manager of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Manager {
    /// Type, for example `TiledShapeStMan`.
    pub kind: String,
    /// Its number in the names of the files.
    pub number: u32,
    /// What `table.dat` keeps for it.
    pub stored: Vec<u8>,
}

/// A definition of the columns that share the tiles of a storage manager.
#[derive(Debug, Clone, PartialEq)]
pub struct Hypercolumn {
    /// Name, also the name of the storage manager.
    pub name: String,
    /// Columns that are kept in the tiles.
    pub data: Vec<String>,
    /// Columns that give coordinates of axes.
    pub coord: Vec<String>,
    /// Columns that tell hypercubes apart.
    pub id: Vec<String>,
}

/// The description of a table on disk.
#[derive(Debug, Clone)]
pub struct TableFiles {
    /// Folder of the table.
    pub path: PathBuf,
    /// Byte order of the bulk data.
    pub big_endian: bool,
    /// Columns in the order of the table.
    pub columns: Vec<ColumnFile>,
    /// Storage managers.
    pub managers: Vec<Manager>,
    /// Definitions of hypercolumns.
    pub hypercolumns: Vec<Hypercolumn>,
    /// False when the managers' files are kept inside one other file.
    pub separate_files: bool,
}

impl TableFiles {
    /// Reads `table.dat`; `None` for a table that only refers to others (a selection or a concatenation).
    pub fn read(path: &Path) -> Result<Option<TableFiles>, MsError> {
        let bytes = std::fs::read(path.join("table.dat")).map_err(|e| MsError::io("read table.dat", e))?;
        parse(path, &bytes)
    }

    /// A column by name.
    pub fn column(&self, name: &str) -> Option<&ColumnFile> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The storage manager of a column.
    pub fn manager_of(&self, column: &ColumnFile) -> Option<&Manager> {
        self.managers.iter().find(|m| m.number == column.manager)
    }

    /// The header file of a storage manager.
    pub fn manager_file(&self, number: u32) -> PathBuf {
        self.path.join(format!("table.f{number}"))
    }
}

/// Rows of the table at `path` as casacore counts them; `None` for a table that only refers to others.
///
/// casacore writes the count into `table.lock` whenever a lock is given up, and into `table.dat` only when it writes the
/// description: where the lock file has one, that counts.
pub fn row_count(path: &Path) -> Result<Option<u64>, MsError> {
    let bytes = std::fs::read(path.join("table.dat")).map_err(|e| MsError::io("read table.dat", e))?;
    let io = &mut AipsIo::new(&bytes);
    let version = io.start("Table")?;
    let described = rows(io, version > 2)?;
    io.u32()?;
    if io.text()? != "PlainTable" {
        return Ok(None);
    }
    let lock = std::fs::read(path.join("table.lock")).unwrap_or_default();
    Ok(Some(rows_in_lock(&lock)?.unwrap_or(described)))
}

/// The count in a lock file: after 65 integers of requests, the length of an AipsIO object `sync` that begins with it.
fn rows_in_lock(lock: &[u8]) -> Result<Option<u64>, MsError> {
    const REQUESTS: usize = 65 * 4;
    let Some((length, sync)) = lock.get(REQUESTS..).and_then(<[u8]>::split_first_chunk::<4>) else { return Ok(None) };
    let Some(sync) = sync.get(..u32::from_be_bytes(*length) as usize).filter(|s| !s.is_empty()) else { return Ok(None) };
    let io = &mut AipsIo::new(sync);
    let version = io.start("sync")?;
    rows(io, version > 1).map(Some)
}

fn rows(io: &mut AipsIo, wide: bool) -> Result<u64, MsError> {
    if wide { io.u64() } else { io.u32().map(u64::from) }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Option<TableFiles>, MsError> {
    let io = &mut AipsIo::new(bytes);
    let version = io.start("Table")?;
    if version > 3 {
        return Err(MsError::Damaged(format!("table version {version} is newer than 3")));
    }
    rows(io, version > 2)?;
    let big_endian = io.u32()? == 0;
    if io.text()? != "PlainTable" {
        return Ok(None);
    }
    let (mut columns, hypercolumns) = description(io)?;
    if version == 1 {
        io.skip_object()?;
    }
    let (managers, separate_files) = column_set(io, &mut columns)?;
    Ok(Some(TableFiles { path: path.to_path_buf(), big_endian, columns, managers, hypercolumns, separate_files }))
}

fn description(io: &mut AipsIo) -> Result<(Vec<ColumnFile>, Vec<Hypercolumn>), MsError> {
    let version = io.start("TableDesc")?;
    for _name_version_comment in 0..3 {
        io.text()?;
    }
    io.skip_object()?;
    let private = if version > 1 { io.record()? } else { Vec::new() };
    let n = io.count(16)?;
    let columns = (0..n).map(|_| column_description(io)).collect::<Result<Vec<_>, _>>()?;
    io.end();
    Ok((columns, private.iter().filter_map(|(name, value)| hypercolumn(name, value)).collect()))
}

fn hypercolumn(name: &str, value: &Value) -> Option<Hypercolumn> {
    let (name, Value::Record(record)) = (name.strip_prefix("Hypercolumn_")?, value) else { return None };
    let texts = |key: &str| match field(record, key) {
        Some(Value::Texts(t)) => t.clone(),
        _ => Vec::new(),
    };
    Some(Hypercolumn { name: name.to_string(), data: texts("data"), coord: texts("coord"), id: texts("id") })
}

fn column_description(io: &mut AipsIo) -> Result<ColumnFile, MsError> {
    io.u32()?;
    let class = io.text()?;
    io.u32()?;
    let (name, comment) = (io.text()?, io.text()?);
    for _manager_group in 0..2 {
        io.text()?;
    }
    let code = io.i32()?;
    let (cell, _) = CellType::from_code(code).ok_or_else(|| MsError::Damaged(format!("type code {code} of column {name}")))?;
    let option = io.i32()?;
    let n_dim = io.i32()?;
    let array = class.starts_with("Array");
    let shape = if class.starts_with("Scalar") { Vec::new() } else { io.shape()? };
    io.u32()?; // longest string
    let keywords = io.raw_object()?.to_vec();
    io.u32()?;
    if array {
        io.bool()?;
    } else if class.starts_with("ScalarColumn") {
        io.scalar(cell)?; // value of new rows
    } else if !class.starts_with("ScalarRecord") {
        return Err(MsError::Damaged(format!("column {name} of class {class}")));
    }
    const FIXED_SHAPE: i32 = 4;
    let fixed = array && option & FIXED_SHAPE != 0 && !shape.is_empty();
    Ok(ColumnFile { name, cell, array, n_dim: if array { n_dim } else { 0 }, shape: fixed.then_some(shape), manager: 0, comment, keywords })
}

fn column_set(io: &mut AipsIo, columns: &mut [ColumnFile]) -> Result<(Vec<Manager>, bool), MsError> {
    const SEPARATE_FILES: i32 = 2;
    let version = io.i32()?;
    let mut separate_files = true;
    match version {
        -3 => {
            io.u64()?;
            separate_files = io.i32()? == SEPARATE_FILES;
            io.i32()?;
        }
        -2 | -1 => drop(io.u32()?),
        _ => {}
    }
    io.u32()?;
    let n = io.count(8)?;
    let mut managers =
        (0..n).map(|_| Ok(Manager { kind: io.text()?, number: io.u32()?, stored: Vec::new() })).collect::<Result<Vec<_>, MsError>>()?;
    if version >= 0 {
        columns.sort_by(|a, b| a.name.cmp(&b.name)); // the order of the oldest files
    }
    for column in columns {
        if io.u32()? == 1 {
            io.skip_object()?;
        }
        io.text()?;
        io.u32()?;
        column.manager = io.u32()?;
        if column.array && io.bool()? {
            column.shape = Some(io.shape()?);
        }
    }
    for manager in &mut managers {
        let n = io.count(1)?;
        manager.stored = io.take(n)?.to_vec();
    }
    Ok((managers, separate_files))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ms::casacore::with_table;
    use crate::ms::tests::{shared_data, unpack};
    use crate::run::files_below;

    /// Every table of every real set has the rows that casacore counts.
    #[test]
    fn rows_are_counted_as_casacore_counts_them() {
        let Some(data) = shared_data() else { return };
        let archives = std::fs::read_dir(data.join("real/ms")).unwrap().flatten().map(|e| e.path());
        let archives = archives.filter(|p| p.to_string_lossy().ends_with("gz"));
        let mut tables = 0;
        for archive in archives {
            let (folder, _) = unpack(&data, archive.strip_prefix(&data).unwrap().to_str().unwrap());
            for (name, file) in files_below(folder.path()).unwrap() {
                let Some(table) = file.filter(|_| name.ends_with("/table.dat")).and_then(|f| f.parent().map(Path::to_path_buf)) else {
                    continue;
                };
                let Some(counted) = row_count(&table).unwrap() else { continue };
                assert_eq!(counted, with_table(&table, |t| Ok(t.n_rows())).unwrap(), "{name}");
                tables += 1;
            }
        }
        assert!(tables > 100, "{tables}");
    }

    /// The lock file is newer than the description: 7 rows there, none here.
    #[test]
    fn the_count_in_the_lock_file_counts() {
        let mut lock = vec![0; 260];
        let mut sync = 0xBEBE_BEBEu32.to_be_bytes().to_vec();
        sync.extend([0, 0, 0, 20, 0, 0, 0, 4]);
        sync.extend(b"sync");
        sync.extend([0, 0, 0, 1, 0, 0, 0, 7]);
        lock.extend((sync.len() as u32).to_be_bytes());
        lock.extend(&sync);
        assert_eq!(rows_in_lock(&lock).unwrap(), Some(7));
        assert_eq!(rows_in_lock(&lock[..260]).unwrap(), None);
        assert_eq!(rows_in_lock(&[]).unwrap(), None);
    }
}
