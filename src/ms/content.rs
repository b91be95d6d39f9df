//! What counts as the content of a MeasurementSet (or of a folder that holds some) when a step is keyed.
//!
//! Each data-manager file is a part of its own that carries the names of its columns, each subtable another. Lock files and
//! the HISTORY subtable are left out; the rows that casacore counts are taken in, because some sets keep them in the lock file
//! alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::casacore::with_table;
use super::table_files::{TableFiles, row_count};
use crate::error::Result;
use crate::run::{Content, Part, Piece, Source, files_below};

/// Folders that hold casacore tables.
#[derive(Debug, Default)]
pub struct TableFolders;

impl Content for TableFolders {
    fn kind(&self) -> &'static str {
        "tables"
    }

    fn recognises(&self, path: &Path) -> bool {
        path.is_dir() && holds_table(path, 2)
    }

    fn parts(&self, path: &Path) -> Result<Vec<Part>> {
        let labels = column_labels(path);
        let mut parts: BTreeMap<String, Part> = BTreeMap::new();
        for (name, file) in files_below(path)? {
            if is_outside(&name) {
                continue;
            }
            if let Some(table) = table_of(&name, &file) {
                let rows = match row_count(&table) {
                    Ok(Some(rows)) => rows,
                    _ => with_table(&table, |t| Ok(t.n_rows()))?,
                };
                let source = Source::Bytes(rows.to_string().into_bytes());
                add(&mut parts, &name.replace("table.dat", "rows"), source, &[]);
            }
            let columns = manager_number(&name).and_then(|n| labels.get(&n)).map_or(&[][..], Vec::as_slice);
            add(&mut parts, &name, file.map_or(Source::Bytes(vec![]), Source::File), columns);
        }
        Ok(parts.into_values().collect())
    }
}

/// Adds a file to the part that it belongs to: its subtable, or the storage manager of its columns.
fn add(parts: &mut BTreeMap<String, Part>, name: &str, source: Source, columns: &[String]) {
    let part_name = match name.rsplit_once('/') {
        Some((folder, _)) => folder.to_string(),
        None => match manager_number(name) {
            Some(n) if !columns.is_empty() => format!("table.f{n} ({})", columns.join(", ")),
            _ => name.to_string(),
        },
    };
    let part = parts.entry(part_name.clone()).or_insert_with(|| Part { name: part_name, labels: columns.to_vec(), pieces: vec![] });
    part.pieces.push(Piece { name: name.to_string(), source });
}

/// Lock files, and what the HISTORY subtable holds: written by every program that touches a set.
fn is_outside(name: &str) -> bool {
    let mut parts = name.rsplit('/');
    let last = parts.next().unwrap_or("");
    last == "table.lock" || parts.any(|folder| folder == "HISTORY")
}

/// The folder of a table, for the file that describes it.
fn table_of(name: &str, file: &Option<PathBuf>) -> Option<PathBuf> {
    let is_description = name == "table.dat" || name.ends_with("/table.dat");
    file.as_ref().filter(|_| is_description).and_then(|f| f.parent()).map(Path::to_path_buf)
}

/// `table.f12_TSM1` -> 12, for files of the main table only.
fn manager_number(name: &str) -> Option<u32> {
    let digits: String = name.strip_prefix("table.f")?.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Columns by the number of their storage manager; empty where the description cannot be read.
fn column_labels(table: &Path) -> BTreeMap<u32, Vec<String>> {
    let mut labels: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    if let Ok(Some(files)) = TableFiles::read(table) {
        for column in &files.columns {
            labels.entry(column.manager).or_default().push(column.name.clone());
        }
    }
    labels
}

/// The sets at `path`: itself, or those directly in it.
pub fn sets_below(path: &Path) -> Vec<PathBuf> {
    let is_set = |p: &Path| p.join("table.dat").is_file() && p.join("SPECTRAL_WINDOW").is_dir();
    if is_set(path) {
        return vec![path.to_path_buf()];
    }
    let mut sets: Vec<PathBuf> = std::fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path()).filter(|p| is_set(p)).collect();
    sets.sort();
    sets
}

fn holds_table(folder: &Path, depth: usize) -> bool {
    if folder.join("table.dat").is_file() {
        return true;
    }
    let below =
        |entry: std::io::Result<std::fs::DirEntry>| entry.ok().map(|e| e.path()).is_some_and(|p| p.is_dir() && holds_table(&p, depth - 1));
    depth > 0 && std::fs::read_dir(folder).is_ok_and(|mut entries| entries.any(below))
}
