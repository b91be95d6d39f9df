use rubbl_casatables::CasaScalarData;

use super::aipsio::CellType;
use super::scalars::ScalarColumn;
use super::tests::{archives, shared_data, unpack};
use super::{TableFiles, casacore};

fn bytes_of<T: CasaScalarData>(table: &std::path::Path, column: &str, bytes: impl Fn(&T) -> Vec<u8>) -> Vec<u8> {
    let values: Vec<T> = casacore::with_table(table, |t| casacore::column(t, column)).unwrap();
    values.iter().flat_map(bytes).collect()
}

/// Every numeric scalar column of the main table and of the subtables of every set, whole and in pieces.
#[test]
fn scalars_read_what_casacore_reads() {
    let Some(data) = shared_data() else { return };
    let (mut incremental, mut standard) = (0, 0);
    for archive in archives(&data) {
        let (_folder, set) = unpack(&data, &archive);
        let mut tables: Vec<_> =
            std::fs::read_dir(&set).unwrap().flatten().map(|e| e.path()).filter(|p| p.join("table.dat").exists()).collect();
        tables.push(set.clone());
        for table in tables {
            let Some(files) = TableFiles::read(&table).unwrap() else { continue };
            for column in &files.columns {
                let Some(own) = ScalarColumn::open(&files, column).unwrap() else { continue };
                let name = &column.name;
                let expected = match column.cell {
                    CellType::Bool => bytes_of(&table, name, |v: &bool| vec![u8::from(*v)]),
                    CellType::Int => bytes_of(&table, name, |v: &i32| v.to_le_bytes().to_vec()),
                    CellType::Float => bytes_of(&table, name, |v: &f32| v.to_le_bytes().to_vec()),
                    CellType::Double => bytes_of(&table, name, |v: &f64| v.to_le_bytes().to_vec()),
                    _ => continue,
                };
                let width = column.cell.memory_bytes();
                let n = expected.len() / width;
                let mut found = Vec::new();
                own.read(0, n, &mut found).unwrap();
                assert!(found == expected, "{archive} {} {name}", table.display());
                let (first, some) = (n / 3, n / 2);
                found.clear();
                own.read(first as u64, some, &mut found).unwrap();
                assert!(found == expected[first * width..(first + some) * width], "{archive} {} {name}, in part", table.display());
                assert!(own.read(n as u64, 1, &mut found).is_err());
                if files.manager_of(column).unwrap().kind.starts_with("Inc") { incremental += 1 } else { standard += 1 }
            }
        }
    }
    assert!(incremental > 50 && standard > 500, "{incremental} and {standard} columns compared");
}
