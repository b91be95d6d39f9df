//! Refusals: what is not a set, not whole, being written, or at odds with itself.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::Path;

use super::aipsio::AipsIo;
use super::casacore::{self, short_name};
use super::error::MsError;
use super::measurement_set::Metadata;
use super::table_files::{Manager, TableFiles};
use super::tiles::TiledColumn;
use crate::error::{Error, Result};

/// Refuses a path that does not lead to a MeasurementSet.
pub fn check_is_set(path: &Path) -> Result<()> {
    is_set(path).map_err(|e| Error::from(e).at(path))
}

fn is_set(path: &Path) -> Result<(), MsError> {
    let meta = match std::fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(MsError::Missing { nearest: nearest_sibling(path) }),
        Err(e) => return Err(MsError::io("read the set", e)),
        Ok(meta) => meta,
    };
    if meta.is_file() {
        return Err(not_a_set_but(path));
    }
    if !path.join("table.dat").is_file() {
        let other = "a MeasurementSet is a folder with table.dat in it; the copy may be incomplete";
        return Err(MsError::NotASet { found: "a folder without table.dat".to_string(), hint: other.to_string() });
    }
    if short_name(path).contains(".unfinished-") {
        return Err(MsError::NotASet {
            found: "an output that was never finished".to_string(),
            hint: "remove it and run the step again".to_string(),
        });
    }
    if let Some(kind) = table_type(path).filter(|kind| kind != "Measurement Set") {
        let hint = "the type is that of its table.info".to_string();
        return Err(MsError::NotASet { found: format!("a casacore table of type {kind}"), hint });
    }
    check_not_written(path)
}

fn not_a_set_but(path: &Path) -> MsError {
    let mut start = [0u8; 9];
    let read = File::open(path).and_then(|mut f| f.read(&mut start)).unwrap_or(0);
    let (found, hint) = if start[..read].starts_with(b"SIMPLE  =") {
        ("a FITS file", "visibilities in UVFITS are read with import_uvfits")
    } else if start[..read].starts_with(&[0x1f, 0x8b]) || short_name(path).contains(".tar") {
        ("an archive", "unpack it first: a MeasurementSet is a folder")
    } else {
        ("a file", "a MeasurementSet is a folder with table.dat in it")
    };
    MsError::NotASet { found: found.to_string(), hint: hint.to_string() }
}

fn nearest_sibling(path: &Path) -> Option<String> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut names: Vec<String> = std::fs::read_dir(folder).ok()?.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    crate::options::nearest(&short_name(path), names.iter().map(String::as_str)).map(str::to_string)
}

/// The type that `table.info` gives; `None` where it gives none.
fn table_type(path: &Path) -> Option<String> {
    let info = std::fs::read(path.join("table.info")).ok()?;
    let text = String::from_utf8_lossy(&info);
    let kind = text.lines().next()?.strip_prefix("Type =")?.trim().to_string();
    (!kind.is_empty()).then_some(kind)
}

/// Refuses a table that another process holds locked for writing: casacore would wait for it without end.
pub fn check_not_written(table: &Path) -> Result<(), MsError> {
    // Locks of this process do not count, and closing the file would drop them: no table is open meanwhile.
    let pid = casacore::alone(|| File::open(table.join("table.lock")).ok().and_then(|file| writer_of(&file)));
    match pid {
        Some(pid) => Err(MsError::BeingWritten { table: short_name(table), pid }),
        None => Ok(()),
    }
}

/// The process that holds casacore's write lock, the first byte of the lock file.
fn writer_of(file: &File) -> Option<i32> {
    // SAFETY: flock is plain numbers, for which zero is a value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_RDLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = 0;
    lock.l_len = 1;
    // SAFETY: the descriptor is open for the time of the call and the pointer is to a live flock.
    let asked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &mut lock) };
    (asked == 0 && lock.l_type != libc::F_UNLCK as libc::c_short).then_some(lock.l_pid)
}

/// Refuses files of storage managers that are missing or shorter than their headers say.
pub fn check_files(files: &TableFiles) -> Result<(), MsError> {
    for manager in &files.managers {
        let number = manager.number;
        let path = files.manager_file(number);
        if !path.is_file() && files.separate_files && manager.kind != "MemoryStMan" && !manager.kind.contains("Engine") {
            return Err(MsError::Damaged(format!("{} of {} is missing", short_name(&path), manager.kind)));
        }
        if manager.kind == "StandardStMan" || manager.kind == "IncrementalStMan" {
            check_buckets(files, manager)?;
        }
        if manager.kind.starts_with("Tiled") {
            for column in files.columns.iter().filter(|c| c.manager == number && c.array).take(1) {
                TiledColumn::open(files, &column.name)?;
            }
        }
    }
    Ok(())
}

/// Refuses a standard or incremental storage manager whose buckets are not all there.
fn check_buckets(files: &TableFiles, manager: &Manager) -> Result<(), MsError> {
    const HEADER: u64 = 512;
    if !files.separate_files {
        return Ok(());
    }
    let path = files.manager_file(manager.number);
    let failed = |e| MsError::io(format!("read {}", short_name(&path)), e);
    let mut header = Vec::new();
    let file = File::open(&path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?.len();
    file.take(HEADER).read_to_end(&mut header).map_err(failed)?;
    let io = &mut AipsIo::in_order(&header, files.big_endian);
    let (kind, version) = io.start_any()?;
    let with_order = if kind == "StandardStMan" { version >= 3 } else { version >= 5 };
    if with_order {
        io.bool()?;
    }
    let (bytes, n) = (u64::from(io.u32()?), u64::from(io.u32()?));
    let expected = HEADER + bytes * n;
    if found >= expected { Ok(()) } else { Err(MsError::Damaged(format!("{} has {found} bytes, {expected} expected", short_name(&path)))) }
}

/// Refuses a table that lacks the columns of a MeasurementSet.
pub fn check_main_columns(columns: &[String]) -> Result<(), MsError> {
    for needed in ["ANTENNA1", "ANTENNA2", "DATA_DESC_ID", "FIELD_ID", "TIME", "UVW", "FLAG"] {
        if !columns.iter().any(|c| c == needed) {
            let found = format!("a casacore table without column {needed}");
            return Err(MsError::NotASet { found, hint: "the table has other columns than the main table of a set".to_string() });
        }
    }
    Ok(())
}

/// Refuses ids in the main table that its subtables do not have.
pub fn check_ids(data: &Metadata) -> Result<(), MsError> {
    let (n_spw, n_pol) = (data.spws.len(), data.polarizations.len());
    for (i, dd) in data.data_descriptions.iter().enumerate() {
        in_range(&format!("SPECTRAL_WINDOW_ID of data description {i}"), dd.spw as u32 as i32, n_spw, "SPECTRAL_WINDOW")?;
        in_range(&format!("POLARIZATION_ID of data description {i}"), dd.polarization as u32 as i32, n_pol, "POLARIZATION")?;
    }
    for (rows, id) in data.rows.data_desc.iter() {
        in_range(&format!("DATA_DESC_ID of row {}", rows.start), id, data.data_descriptions.len(), "DATA_DESCRIPTION")?;
    }
    for (rows, id) in data.rows.field.iter() {
        in_range(&format!("FIELD_ID of row {}", rows.start), id, data.fields.len(), "FIELD")?;
    }
    for (name, ids) in [("ANTENNA1", &data.rows.antenna1), ("ANTENNA2", &data.rows.antenna2)] {
        let n = data.antennas.len();
        if let Some(row) = ids.iter().position(|id| usize::from(*id) >= n) {
            in_range(&format!("{name} of row {row}"), i32::from(ids[row]), n, "ANTENNA")?;
        }
    }
    Ok(())
}

fn in_range(what: &str, id: i32, rows: usize, table: &str) -> Result<(), MsError> {
    if id >= 0 && (id as usize) < rows {
        return Ok(());
    }
    Err(MsError::Disagree(format!("{what} is {id}, but {table} has {rows} rows")))
}

/// Refuses visibilities of another shape than their spectral window and polarization.
pub fn check_shapes(data: &Metadata) -> Result<(), MsError> {
    // Reading checks each row again; this is to refuse before the long computation, not to look at every row of a set
    // in which the kind of row changes all the time.
    const ENOUGH: usize = 20_000;
    let Some(files) = &data.files else { return Ok(()) };
    let Some(column) = ["DATA", "CORRECTED_DATA"].into_iter().find(|c| data.columns.iter().any(|n| n == c)) else { return Ok(()) };
    let Some(tiles) = TiledColumn::open(files, column)? else { return Ok(()) };
    for (rows, id) in data.rows.data_desc.iter().take(ENOUGH) {
        let Some(shape) = tiles.cell_shape(rows.start) else { continue };
        let dd = data.data_descriptions[id as usize];
        let (n_corr, n_chan) = (data.polarizations[dd.polarization].len(), data.spws[dd.spw].freq_hz.len());
        let wrong = |what: String| Err(MsError::Disagree(what));
        match shape {
            [_, found] if *found != n_chan => {
                return wrong(format!(
                    "spw {} has {n_chan} channels in SPECTRAL_WINDOW but {found} in {column} row {}",
                    dd.spw, rows.start
                ));
            }
            [found, _] if *found != n_corr => {
                return wrong(format!(
                    "polarization {} has {n_corr} correlations in POLARIZATION but {found} in {column} row {}",
                    dd.polarization, rows.start
                ));
            }
            [_, _] => {}
            other => return wrong(format!("{column} has {} axes in row {}, 2 are expected", other.len(), rows.start)),
        }
    }
    Ok(())
}
