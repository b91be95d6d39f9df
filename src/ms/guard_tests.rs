use std::path::Path;

use serde_json::json;

use super::tests::{selection, tiny};
use super::*;
use crate::data::VisSource;
use crate::error::Kind;

/// Opens the set again and returns what is said, without the place.
fn complaint(path: &Path) -> String {
    let error = MeasurementSet::open(path).unwrap_err();
    assert_eq!(error.path.as_deref(), Some(path));
    error.to_string().split("\n  data:").next().unwrap_or_default().to_string()
}

fn shorten(path: &Path, part: f64) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len((file.metadata().unwrap().len() as f64 * part) as u64).unwrap();
}

fn put<T: rubbl_casatables::CasaDataType>(table: &Path, column: &str, row: u64, value: T) {
    casacore::with_table_mut(table, |t| t.put_cell(column, row, &value).map_err(|e| casacore::casacore("write", e))).unwrap();
}

#[test]
fn what_is_no_set_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("LB_EB1.ms")).unwrap();
    std::fs::write(path("a.fits"), "SIMPLE  =                    T").unwrap();
    std::fs::write(path("a.tar"), "x").unwrap();
    insta::assert_snapshot!(complaint(&path("LB_EB2.ms")), @r#"
    there is no set of this name; did you mean LB_EB1.ms?
      hint: check the path
    "#);
    insta::assert_snapshot!(complaint(&path("LB_EB1.ms")), @r#"
    not a MeasurementSet: a folder without table.dat
      hint: a MeasurementSet is a folder with table.dat in it; the copy may be incomplete
    "#);
    insta::assert_snapshot!(complaint(&path("a.fits")), @r#"
    not a MeasurementSet: a FITS file
      hint: visibilities in UVFITS are read with import_uvfits
    "#);
    insta::assert_snapshot!(complaint(&path("a.tar")), @r#"
    not a MeasurementSet: an archive
      hint: unpack it first: a MeasurementSet is a folder
    "#);
    assert_eq!(MeasurementSet::open(path("a.tar")).unwrap_err().kind, Kind::User);
    let Some((_set_folder, ms)) = tiny("LB1") else { return };
    insta::assert_snapshot!(complaint(&ms.path.join("FIELD")), @r#"
    not a MeasurementSet: a casacore table without column ANTENNA1
      hint: the table has other columns than the main table of a set
    "#);
}

#[test]
fn a_truncated_set_is_refused_when_it_is_opened() {
    let cases = [
        ("table.f8_TSM1", 0.9),
        ("table.f8", 0.5),
        ("table.dat", 0.5),
        ("table.f5", 0.2),
        ("table.f5", 0.0),
        ("table.f3", 0.1),
        ("FIELD/table.f0", 0.3),
        ("SPECTRAL_WINDOW/table.dat", 0.7),
    ];
    let mut all = Vec::new();
    for (file, part) in cases {
        let Some((_folder, ms)) = tiny("LB1") else { return };
        shorten(&ms.path.join(file), part);
        let message = complaint(&ms.path);
        assert!(message.contains("hint: the copy may be incomplete"), "{message}");
        all.push(format!("{file}: {}", message.lines().next().unwrap_or_default()));
    }
    insta::assert_snapshot!(all.join("\n"), @r#"
    table.f8_TSM1: the table files are damaged: table.f8_TSM1 has 117964 bytes, 131072 expected
    table.f8: a table description is incomplete: 647 bytes expected, 323 found
    table.dat: a table description is incomplete: 10479 bytes expected, 5239 found
    table.f5: the table files are damaged: table.f5 has 13209 bytes, 66048 expected
    table.f5: a table description is incomplete: 4 bytes expected, 0 found
    table.f3: the table files are damaged: table.f3 has 3336 bytes, 33280 expected
    FIELD/table.f0: table FIELD: the table files are damaged: table.f0 has 1384 bytes, 4616 expected
    SPECTRAL_WINDOW/table.dat: table SPECTRAL_WINDOW: a table description is incomplete: 5126 bytes expected, 3588 found
    "#);
    let Some((_folder, ms)) = tiny("LB1") else { return };
    std::fs::remove_file(ms.path.join("table.f5")).unwrap();
    insta::assert_snapshot!(complaint(&ms.path), @r#"
    the table files are damaged: table.f5 of StandardStMan is missing
      hint: the copy may be incomplete, or the set is still being written; compare its sizes with the original
    "#);
    let Some((_folder, ms)) = tiny("LB1") else { return };
    std::fs::remove_dir_all(ms.path.join("FIELD")).unwrap();
    insta::assert_snapshot!(complaint(&ms.path), @r#"
    the set has no table FIELD
      hint: the copy may be incomplete; compare its sizes with the original
    "#);
}

#[test]
fn tables_that_disagree_are_refused() {
    let cases: [(&str, fn(&Path)); 5] = [
        ("channels", |set| put(&set.join("SPECTRAL_WINDOW"), "NUM_CHAN", 0, 7i32)),
        ("description", |set| put(set, "DATA_DESC_ID", 3, 5i32)),
        ("antenna", |set| put(set, "ANTENNA2", 5, 99i32)),
        ("spw", |set| put(&set.join("DATA_DESCRIPTION"), "SPECTRAL_WINDOW_ID", 0, 1i32)),
        ("field", |set| put(set, "FIELD_ID", 0, -1i32)),
    ];
    let mut all = Vec::new();
    for (name, break_it) in cases {
        let Some((_folder, ms)) = tiny("LB1") else { return };
        break_it(&ms.path);
        all.push(format!("{name}: {}", complaint(&ms.path).lines().next().unwrap_or_default()));
    }
    insta::assert_snapshot!(all.join("\n"), @r#"
    channels: table SPECTRAL_WINDOW: spw 0 has NUM_CHAN 7, but 8 frequencies and 8 widths; the set is inconsistent
    description: DATA_DESC_ID of row 3 is 5, but DATA_DESCRIPTION has 2 rows; the set is inconsistent
    antenna: ANTENNA2 of row 5 is 99, but ANTENNA has 12 rows; the set is inconsistent
    spw: spw 1 has 2 channels in SPECTRAL_WINDOW but 8 in DATA row 0; the set is inconsistent
    field: FIELD_ID of row 0 is -1, but FIELD has 1 rows; the set is inconsistent
    "#);
}

/// A file that shrinks while it is read gives an error, not a signal.
#[test]
fn a_set_that_shrinks_gives_an_error() {
    let Some((_folder, ms)) = tiny("LB1") else { return };
    let selected = ms.select(&selection(json!({"spw": 0}))).unwrap();
    shorten(&ms.path.join("table.f8_TSM1"), 0.1);
    let error = (0..selected.n_blocks()).find_map(|i| selected.read_block(i).err()).expect("an error");
    assert!(error.message.contains("became shorter while it was read"), "{}", error.message);
}

/// casacore would wait for the lock without end.
#[test]
fn a_set_that_another_process_writes_is_refused() {
    let Some((_folder, ms)) = tiny("LB1") else { return };
    let path = std::ffi::CString::new(ms.path.join("table.lock").to_string_lossy().as_bytes()).unwrap();
    let mut pipe = [0i32; 2];
    // SAFETY: the child uses system calls only, and ends itself.
    let child = unsafe {
        assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
        match libc::fork() {
            0 => {
                let fd = libc::open(path.as_ptr(), libc::O_RDWR);
                let mut lock: libc::flock = std::mem::zeroed();
                lock.l_type = libc::F_WRLCK as libc::c_short;
                lock.l_len = 1;
                libc::fcntl(fd, libc::F_SETLK, &lock);
                libc::write(pipe[1], b"x".as_ptr().cast(), 1);
                libc::sleep(60);
                libc::_exit(0);
            }
            child => child,
        }
    };
    let mut byte = [0u8; 1];
    // SAFETY: the pipe is open, the buffer has one byte.
    assert_eq!(unsafe { libc::read(pipe[0], byte.as_mut_ptr().cast(), 1) }, 1);
    let message = complaint(&ms.path);
    // SAFETY: the child of this test, which is waited for.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
    assert!(message.starts_with(&format!("the table LB1.ms is being written by process {child}")), "{message}");
    assert!(MeasurementSet::open(&ms.path).is_ok());
}
