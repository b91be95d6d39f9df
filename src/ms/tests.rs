use std::path::{Path, PathBuf};

use num_complex::Complex32;
use rubbl_casatables::CasaScalarData;
use serde_json::json;

use super::aipsio::CellType;
use super::table_files::TableFiles;
use super::tiles::{TileValue, TiledColumn};
use super::*;
use crate::data::VisSource;
use crate::options::Options;

/// Folder with the data shared by the tests; the tests that need it say that they skip where it is absent.
pub fn shared_data() -> Option<PathBuf> {
    crate::testdata::shared("")
}

/// Unpacks `archive` below the shared data; the set lives as long as the folder.
pub fn unpack(data: &Path, archive: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let status = std::process::Command::new("tar").arg("xzf").arg(data.join(archive)).arg("-C").arg(folder.path()).status();
    assert!(status.expect("tar runs").success(), "cannot unpack {archive}");
    let set = std::fs::read_dir(folder.path()).expect("readable").next().expect("one entry").expect("readable").path();
    (folder, set)
}

pub fn archives(data: &Path) -> Vec<String> {
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

pub fn tiny(name: &str) -> Option<(tempfile::TempDir, MeasurementSet)> {
    let (folder, set) = unpack(&shared_data()?, &format!("sim/align_tiny/{name}.ms.tar.gz"));
    Some((folder, MeasurementSet::open(set).unwrap()))
}

pub fn real(name: &str) -> Option<(tempfile::TempDir, MeasurementSet)> {
    let (folder, set) = unpack(&shared_data()?, &format!("real/ms/{name}.ms.tar.gz"));
    Some((folder, MeasurementSet::open(set).unwrap()))
}

pub fn selection(given: serde_json::Value) -> Selection {
    Selection::from_given("select", given.as_object().unwrap().clone()).unwrap()
}

fn message(ms: &MeasurementSet, given: serde_json::Value) -> String {
    ms.select(&selection(given)).unwrap_err().to_string().split("\n  data:").next().unwrap().to_string()
}

#[test]
fn the_row_index_is_the_same_through_casacore() {
    let Some(data) = shared_data() else { return };
    for archive in archives(&data) {
        let (_folder, set) = unpack(&data, &archive);
        let files = TableFiles::read(&set).unwrap();
        casacore::with_table(&set, |t| {
            let (own, other) = (RowIndex::read(t, files.as_ref())?, RowIndex::read(t, None)?);
            assert!(own == other, "{archive}");
            Ok(())
        })
        .unwrap();
    }
}

/// Blocks hold each selected row once, with the values that casacore reads, flags joined with FLAG_ROW.
#[test]
fn blocks_hold_what_casacore_reads() {
    for (name, field) in
        [("evla_simple_casaformatsio", ""), ("alma_mssel_small", "J1617-7717"), ("lofar_generic", ""), ("atca_sim_tileddatastman", "")]
    {
        let Some((_folder, ms)) = real(name) else { return };
        let selected = ms.select(&selection(json!({ "field": field }))).unwrap();
        let mut rows = Vec::new();
        for i in 0..selected.n_blocks() {
            let block = selected.read_block(i).unwrap();
            let expected_row = |row: u64| {
                casacore::with_table(&ms.path, |t| {
                    let vis = casacore::array_cell::<Complex32>(t, selected.data_column(), row)?.unwrap();
                    let flag = casacore::array_cell::<bool>(t, "FLAG", row)?.unwrap();
                    let uvw = casacore::array_cell::<f64>(t, "UVW", row)?.unwrap();
                    Ok((vis, flag, uvw, ms.rows.flag_row.get(row)))
                })
                .unwrap()
            };
            for (k, row) in block.row.iter().enumerate().step_by(37) {
                let (vis, flag, uvw, flag_row) = expected_row(*row);
                assert_eq!(block.vis_rfc.index_axis(ndarray::Axis(0), k).iter().copied().collect::<Vec<_>>(), vis);
                assert_eq!(
                    block.flag_rfc.index_axis(ndarray::Axis(0), k).iter().copied().collect::<Vec<_>>(),
                    flag.iter().map(|f| *f || flag_row).collect::<Vec<_>>()
                );
                assert_eq!(block.uvw_m.row(k).to_vec(), uvw);
                assert_eq!(block.i_spw, ms.data_descriptions[ms.rows.data_desc.get(*row) as usize].spw);
            }
            rows.extend(block.row);
        }
        rows.sort_unstable();
        let expected: Vec<u64> = (0..ms.rows.n_rows).filter(|r| field.is_empty() || ms.rows.field.get(*r) == 0).collect();
        assert_eq!(rows, expected, "{name}");
    }
}

#[test]
fn channels_and_correlations_are_picked() {
    let Some((_folder, ms)) = real("vla_ngc5921_target_cal") else { return };
    let all = ms.select(&Selection::default()).unwrap().read_block(0).unwrap();
    let some = ms.select(&selection(json!({"spw": "0:4~6;50~59", "corr": "LL"}))).unwrap().read_block(0).unwrap();
    assert_eq!(some.vis_rfc.shape()[1..], [13, 1]);
    assert_eq!(some.freq_hz[3], all.freq_hz[50]);
    for (k, row) in some.row.iter().enumerate().take(all.row.len()) {
        assert_eq!(*row, all.row[k]);
        assert_eq!(some.vis_rfc[[k, 3, 0]], all.vis_rfc[[k, 50, 1]]);
        assert_eq!(some.weight.get(k, 3, 0), all.weight.get(k, 50, 1));
    }
}

/// The same rows by spw id, name, and frequency; `auto` takes CORRECTED_DATA where there is one.
#[test]
fn windows_are_found_by_name_and_frequency() {
    let Some((_folder, ms)) = tiny("LB1") else { return };
    let rows = |spw: &str| ms.select(&selection(json!({ "spw": spw }))).unwrap().spws();
    assert_eq!(rows(""), [0, 1]);
    assert_eq!(rows("cont"), [0]);
    assert_eq!(rows("f*"), [1]);
    let ghz = format!("{}GHz", ms.spws[1].center_hz() / 1e9);
    assert_eq!(rows(&ghz), [1]);
    assert_eq!(matching_spws(&ms, ms.spws[0].range_hz(), 0.5), [0]);
    let Some((_folder, lofar)) = real("lofar_generic") else { return };
    assert_eq!(lofar.select(&Selection::default()).unwrap().data_column(), "CORRECTED_DATA");
    assert_eq!(lofar.select(&selection(json!({"datacolumn": "data"}))).unwrap().data_column(), "DATA");
}

#[test]
fn what_is_not_there_is_named_with_the_nearest() {
    let Some((_folder, ms)) = tiny("LB1") else { return };
    insta::assert_snapshot!(message(&ms, json!({"field": "taget"})), @r#"
    field "taget" is not in the set; did you mean target?
      hint: the set has: 0 target
    "#);
    insta::assert_snapshot!(message(&ms, json!({"spw": 7})), @r#"
    spw "7" is not in the set
      hint: the set has: 0 cont (8 channels, 217.000000~219.000000GHz), 1 few (2 channels, 230.435350~230.493950GHz)
    "#);
    insta::assert_snapshot!(message(&ms, json!({"spw": "0:99"})), @"spw \"0:99\" cannot be understood: spw 0 has channels 0 to 7, 217.000000 to 219.000000 GHz");
    insta::assert_snapshot!(message(&ms, json!({"scan": "77"})), @r#"
    the selection is empty: 1584 rows were left before scan "77", none after
      hint: the set has: scans 1, 2
    "#);
    insta::assert_snapshot!(message(&ms, json!({"corr": "RR"})), @r#"
    corr "RR" is not in the set
      hint: the set has: XX, YY
    "#);
    insta::assert_snapshot!(message(&ms, json!({"datacolumn": "corected"})), @r#"
    column corected does not exist
      hint: the table has: DATA
    "#);
    insta::assert_snapshot!(message(&ms, json!({"antenna": "nowhere"})), @r#"
    antenna "nowhere" is not in the set
      hint: the set has: A007, A027, A068, A069, A076, A088, A092, A104, A111, A135, A121, A128
    "#);
    insta::assert_snapshot!(message(&ms, json!({"uvrange": "<1m"})), @"the selection is empty: 1584 rows were left before uvrange \"<1m\", none after");
    insta::assert_snapshot!(message(&ms, json!({"block": 3})), @r#"
    block "3" is not in the set
      hint: the set has: one block, LB1#0
    "#);
    insta::assert_snapshot!(message(&ms, json!({"time": ">2050/01/01"})), @r#"
    the selection is empty: 1584 rows were left before time ">2050/01/01", none after
      hint: the set has: times 2022/07/16/12:51:06.4~2022/07/16/13:24:06.4
    "#);
    let Some((_folder, mosaic)) = real("antennae_b7_mosaic_4eb") else { return };
    insta::assert_snapshot!(message(&mosaic, json!({"field": "0~2"})), @r#"
    the selection has 3 fields with different phase centers; choose one with `field`
      hint: the selection holds 0 AntNorth_FIELD_1, 1 AntNorth_FIELD_2, 2 AntNorth_FIELD_3
    "#);
}

/// MANIFEST: 4 execution blocks of 16800, 21200, 8800 and 27895 rows whose OBSERVATION_ID numbers fields; two nights with one
/// id; two scans of one block.
#[test]
fn execution_blocks_are_told_apart() {
    let Some((_a, antennae)) = real("antennae_b7_mosaic_4eb") else { return };
    let rows: Vec<u64> = blocks(&antennae, 3600.0).iter().map(|b| b.n_rows).collect();
    assert_eq!(rows, [16800, 21200, 8800, 27895]);
    let Some((_b, hd142527)) = real("hd142527_co65_chan_2eb") else { return };
    let found = blocks(&hd142527, 3600.0);
    assert_eq!(found.iter().map(|b| b.scans.clone()).collect::<Vec<_>>(), [vec![1, 2, 3, 4], vec![5, 6, 7, 8, 9]]);
    assert_eq!(found[1].name, "hd142527_co65_chan_2eb#1");
    let one = hd142527.select(&selection(json!({"block": 1}))).unwrap();
    assert_eq!((one.n_rows(), one.name()), (found[1].n_rows, "hd142527_co65_chan_2eb#1"));
    let Some((_c, ngc5921)) = real("vla_ngc5921_target_cal") else { return };
    assert_eq!(blocks(&ngc5921, 3600.0).len(), 1);
    assert_eq!(blocks(&ngc5921, 1800.0).len(), 2);
}

/// listobs of CASA 6.7 says the same of these sets; the fractions were counted with python-casacore.
#[test]
fn a_summary_says_what_a_set_holds() {
    let notice = crate::notice::Quiet::default();
    let Some((_folder, ms)) = tiny("LB1") else { return };
    let text = summary(&ms, &notice).unwrap().text();
    insta::assert_snapshot!(text, @r#"
    LB1: 1584 rows, 1.1 MB (DATA)
    telescope ALMA   observer CASA simulator   project CASA simulation
    2022/07/16/12:51:06.4 to 2022/07/16/13:24:06.4 UTC (36.0 min), integrations of 180 s
    12 antennas, 66 baselines of 79.4 to 2386.2 m; 20.62 % flagged
    
    field  name                 direction                                      rows
        0  target               J2000    04:55:45.854900 +30.33.03.73320        1584
    
      spw  name                 channels  frame        from GHz          to GHz   width kHz  corr           rows  flagged
        0  cont                        8  TOPO       217.000000      219.000000  250000.000  XX YY           792   22.92%
        1  few                         2  TOPO       230.435350      230.493950   29300.000  XX YY           792   11.43%
    
     scan  obs  from                    to                      field      spw              rows  intent
        1    0  2022/07/16/12:51:06.4 - 2022/07/16/13:24:06.4   0          0                 792  OBSERVE_TARGET.ON_SOURCE
        2    0  2022/07/16/12:51:06.4 - 2022/07/16/13:24:06.4   0          1                 792  OBSERVE_TARGET.ON_SOURCE
    
    antennas: 0 A007@A007 12 m, 1 A027@A027 12 m, 2 A068@A068 12 m, 3 A069@A069 12 m, 4 A076@A076 12 m, 5 A088@A088 12 m, 6 A092@A092 12 m, 7 A104@A104 12 m, 8 A111@A111 12 m, 9 A135@A135 12 m, 10 A121@A121 12 m, 11 A128@A128 12 m
    "#);
    let Some((_folder, ms)) = real("hd142527_co65_chan_2eb") else { return };
    let s = summary(&ms, &notice).unwrap();
    assert_eq!((s.n_rows, s.antennas.len(), s.blocks.len(), s.scans.len()), (120982, 20, 2, 9));
}
