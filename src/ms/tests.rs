use std::path::{Path, PathBuf};

use rubbl_casatables::CasaScalarData;

use super::aipsio::CellType;
use super::table_files::TableFiles;
use super::tiles::{TileValue, TiledColumn};
use super::*;

/// Folder with the data shared by the tests; the tests that need it say that they skip where it is absent.
pub fn shared_data() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let path = std::env::var_os("PHANGS_SCRIPT_DATA").map_or(default, PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: {} is absent", path.display());
    None
}

/// Unpacks `archive` below the shared data; the set lives as long as the folder.
pub fn unpack(data: &Path, archive: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let status = std::process::Command::new("tar").arg("xzf").arg(data.join(archive)).arg("-C").arg(folder.path()).status();
    assert!(status.expect("tar runs").success(), "cannot unpack {archive}");
    let set = std::fs::read_dir(folder.path()).expect("readable").next().expect("one entry").expect("readable").path();
    (folder, set)
}

fn archives(data: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["real/ms", "sim/align_tiny", "sim/line_small"] {
        let Ok(entries) = std::fs::read_dir(data.join(folder)) else { continue };
        found.extend(
            entries.flatten().map(|e| format!("{folder}/{}", e.file_name().to_string_lossy())).filter(|n| n.ends_with(".ms.tar.gz")),
        );
    }
    found.sort();
    found
}

/// Compares a tiled column with casacore: whole, and from an odd row on.
fn compare<T: TileValue + CasaScalarData + std::fmt::Debug>(set: &Path, tiles: &TiledColumn, same: fn(&T, &T) -> bool) {
    casacore::with_table(set, |table| {
        assert_eq!(tiles.rows(), table.n_rows());
        for (rows, shape) in tiles.shapes(0..tiles.rows()) {
            let Some(shape) = shape else {
                assert_eq!(casacore::array_cell::<T>(table, tiles.name(), rows.start)?, None);
                continue;
            };
            let len: usize = shape.iter().product();
            let n = (rows.end - rows.start) as usize;
            let mut all = vec![T::default(); n * len];
            tiles.read(rows.start, n, &mut all)?;
            for i in 0..n {
                let expected = casacore::array_cell::<T>(table, tiles.name(), rows.start + i as u64)?.expect("a value");
                let found = &all[i * len..(i + 1) * len];
                assert!(
                    expected.len() == len && expected.iter().zip(found).all(|(a, b)| same(a, b)),
                    "{} row {}",
                    tiles.name(),
                    rows.start + i as u64
                );
            }
            let (skip, some) = (n / 3, (n / 2).max(1));
            let mut part = vec![T::default(); some * len];
            tiles.read(rows.start + skip as u64, some, &mut part)?;
            assert!(part.iter().zip(&all[skip * len..]).all(|(a, b)| same(a, b)), "{} in part", tiles.name());
        }
        Ok(())
    })
    .unwrap();
}

/// Every tiled column of every set: one and several shapes, cells in several tiles, several columns in one tile, bits,
/// both byte orders, old and new managers.
#[test]
fn tiles_read_what_casacore_reads() {
    let Some(data) = shared_data() else { return };
    let mut columns = 0;
    for archive in archives(&data) {
        let (_folder, set) = unpack(&data, &archive);
        let table = TableFiles::read(&set).unwrap().unwrap();
        for column in table.columns.iter().filter(|c| c.array && c.cell != CellType::String) {
            let Some(tiles) = TiledColumn::open(&table, &column.name).unwrap() else { continue };
            columns += 1;
            match column.cell {
                CellType::Bool => compare::<bool>(&set, &tiles, bool::eq),
                CellType::UChar => compare::<u8>(&set, &tiles, u8::eq),
                CellType::Float => compare::<f32>(&set, &tiles, |a, b| a.to_bits() == b.to_bits()),
                CellType::Double => compare::<f64>(&set, &tiles, |a, b| a.to_bits() == b.to_bits()),
                CellType::Complex => compare::<num_complex::Complex32>(&set, &tiles, |a, b| {
                    (a.re.to_bits(), a.im.to_bits()) == (b.re.to_bits(), b.im.to_bits())
                }),
                other => panic!("{}: type {other:?} is not compared", column.name),
            }
        }
    }
    assert!(columns > 60, "only {columns} tiled columns");
}
