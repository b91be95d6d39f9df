use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2, Array3};
use ndarray_npy::NpzReader;
use num_complex::Complex64;
use serde_json::json;

use super::tests::{real, selection, shared_data, tiny};
use super::*;
use crate::data::{VisBlock, VisSource};
use crate::notice::Quiet;
use crate::sky::{Direction, Frame};
use crate::units::{ARCSEC, MAS};

fn all(ms: &MeasurementSet, given: serde_json::Value) -> Vec<VisBlock> {
    let selected = ms.select(&selection(given)).unwrap();
    (0..selected.n_blocks()).map(|i| selected.read_block(i).unwrap()).collect()
}

fn moved(ms: &MeasurementSet, folder: &Path, offset: (f64, f64), options: ShiftOptions) -> MeasurementSet {
    let out = folder.join(format!("out{}.ms", std::fs::read_dir(folder).unwrap().count()));
    shift(ms, offset, &out, &options, &Quiet::default()).unwrap();
    MeasurementSet::open(out).unwrap()
}

/// CASA 6.7.0-31 `phaseshift` (calls in the JSON beside the arrays): the same UVW to 1e-9 m and phases to rounding of f32,
/// for 1" , for 14" and from an ICRS set to a J2000 direction.
#[test]
fn phases_and_baselines_are_those_of_casa() {
    for (case, set, center) in [
        ("phaseshift_j2000", "LB1", "J2000 04h55m45.8649s +30d33m03.6332s"),
        ("phaseshift_far", "LB1", "J2000 04h55m46.6549s +30d33m13.7332s"),
        ("phaseshift_icrs_to_j2000", "LB3", "J2000 04h55m45.8549s +30d33m03.7332s"),
    ] {
        let (Some(data), Some((folder, ms))) = (shared_data(), tiny(set)) else { return };
        let own = ms.fields[0].phase_center.direction().unwrap();
        let target = Direction::parse(center).unwrap().in_frame(own.frame).unwrap();
        let out = moved(&ms, folder.path(), own.offset_to(target), ShiftOptions::default());
        let found = out.fields[0].phase_center.direction().unwrap();
        assert!(found.frame == own.frame && found.separation_rad(target) < 1e-14);

        let file = std::fs::File::open(data.join(format!("reference/casa_tasks_small/{case}.npz"))).unwrap();
        let mut npz = NpzReader::new(file).unwrap();
        for dd in 0..2 {
            let rows: Array1<i64> = npz.by_name(&format!("rows_dd{dd}")).unwrap();
            let uvw: Array2<f64> = npz.by_name(&format!("UVW_dd{dd}")).unwrap();
            let vis: Array3<Complex64> = npz.by_name(&format!("DATA_dd{dd}")).unwrap();
            let blocks = all(&out, json!({ "spw": dd }));
            for (k, row) in rows.iter().enumerate() {
                let (block, i) = blocks.iter().find_map(|b| Some((b, b.row.iter().position(|r| *r == *row as u64)?))).unwrap();
                for axis in 0..3 {
                    assert!((block.uvw_m[[i, axis]] - uvw[[axis, k]]).abs() < 1e-9, "{case} row {row}");
                }
                for (chan, corr) in (0..vis.shape()[1]).flat_map(|f| (0..vis.shape()[0]).map(move |c| (f, c))) {
                    let (a, b) = (block.vis_rfc[[i, chan, corr]], vis[[corr, chan, k]]);
                    let difference = Complex64::new(f64::from(a.re), f64::from(a.im)) - b;
                    // Two roundings to f32.
                    assert!(difference.norm() < 3e-7 * b.norm(), "{case} row {row}: {a} {b}");
                }
            }
        }
    }
}

/// CASA `fixplanets` writes the given numbers into FIELD whatever its frame; here they are converted into it.
#[test]
fn labels_are_in_the_frame_of_the_column() {
    let label = Direction::parse("J2000 04h55m45.8549s +30d33m03.7332s").unwrap();
    let options = || ShiftOptions { relabel_to: Some(Labels::One(label)), ..Default::default() };
    for (set, frame) in [("LB1", Frame::J2000), ("LB3", Frame::Icrs)] {
        let Some((folder, ms)) = tiny(set) else { return };
        let out = moved(&ms, folder.path(), (3.0 * MAS, -2.0 * MAS), options());
        let found = out.fields[0].phase_center.direction().unwrap();
        assert!(found.frame == frame && found.separation_rad(label.in_frame(frame).unwrap()) < 1e-15, "{set}");
        casacore::with_table(&out.path.join("SOURCE"), |t| {
            let source = casacore::array_cell::<f64>(t, "DIRECTION", 0)?.unwrap();
            // The simulated SOURCE tables are in J2000 (fixed keyword), whatever FIELD is in.
            let separation = Direction::new(source[0], source[1], Frame::J2000).separation_rad(label);
            assert!(separation < 1e-15, "{set}: {separation}");
            Ok(())
        })
        .unwrap();
    }
}

/// What is not moved is copied to the bit, and moving back restores the data to rounding.
#[test]
fn there_and_back_restores_the_set() {
    let Some((folder, ms)) = tiny("SB1") else { return };
    let there = moved(&ms, folder.path(), (10.0 * ARCSEC, -4.0 * ARCSEC), ShiftOptions::default());
    let (own, center) = (ms.fields[0].phase_center.direction().unwrap(), there.fields[0].phase_center.direction().unwrap());
    let back = moved(&there, folder.path(), center.offset_to(own), ShiftOptions::default());
    for (a, b) in all(&ms, json!({})).iter().zip(&all(&back, json!({}))) {
        assert!(a.uvw_m.iter().zip(&b.uvw_m).all(|(x, y)| (x - y).abs() < 1e-9));
        assert!(a.vis_rfc.iter().zip(&b.vis_rfc).all(|(x, y)| (x - y).norm() <= 4e-7 * x.norm()));
        assert_eq!((&a.flag_rfc, &a.time_s, &a.row), (&b.flag_rfc, &b.time_s, &b.row));
    }
}

/// A move by nothing changes no file of the main table.
#[test]
fn a_move_by_nothing_is_a_copy() {
    let Some((folder, ms)) = tiny("LB2") else { return };
    let out = moved(&ms, folder.path(), (0.0, 0.0), ShiftOptions::default());
    for entry in std::fs::read_dir(&ms.path).unwrap().flatten().filter(|e| e.path().is_file()) {
        let (a, b) = (std::fs::read(entry.path()).unwrap(), std::fs::read(out.path.join(entry.file_name())).unwrap());
        assert!(a == b, "{:?}", entry.file_name());
    }
}

/// Columns in one tile with others, in other byte order, cut along channels, in an incremental manager, beside tiles, and a
/// mosaic of which one field moves: every visibility column turns alike, other fields stay.
#[test]
fn every_storage_manager_is_rotated() {
    let cases = [
        ("atca_sim_tileddatastman", ""),
        ("lofar_generic", ""),
        ("wsrt_3c343_tNDPPP", ""),
        ("alma_mssel_small", "J1617-7717"),
        ("antennae_b7_mosaic_4eb", "AntNorth_FIELD_7"),
    ];
    for (name, field) in cases {
        let Some((folder, ms)) = real(name) else { return };
        let options = ShiftOptions { field: Names::parse(field), ..Default::default() };
        let out = moved(&ms, folder.path(), (0.7 * ARCSEC, 1.1 * ARCSEC), options);
        let moved_field = ms.fields.iter().position(|f| f.name == field).unwrap_or(0);
        let own = ms.fields[moved_field].phase_center.direction().unwrap();
        let rotation = rotation::Rotation::between(own, own.moved(0.7 * ARCSEC, 1.1 * ARCSEC));
        for i in 0..ms.fields.len() {
            let given = json!({ "field": i });
            if ms.select(&selection(given.clone())).is_err() {
                continue;
            }
            for column in ms.visibility_columns() {
                let given = json!({ "field": i, "datacolumn": column });
                for (a, b) in all(&ms, given.clone()).iter().zip(&all(&out, given)) {
                    for row in 0..a.row.len() {
                        let old = [a.uvw_m[[row, 0]], a.uvw_m[[row, 1]], a.uvw_m[[row, 2]]];
                        let new = if i == moved_field { rotation.uvw(old) } else { old };
                        assert!((0..3).all(|k| (new[k] - b.uvw_m[[row, k]]).abs() < 1e-9), "{name} {column} row {}", a.row[row]);
                        for (chan, freq) in a.freq_hz.iter().enumerate() {
                            let turn = -std::f64::consts::TAU * (new[2] - old[2]) * freq / crate::units::C_M_S;
                            for corr in 0..a.corr.len() {
                                let v = a.vis_rfc[[row, chan, corr]];
                                let expected = Complex64::new(f64::from(v.re), f64::from(v.im)) * Complex64::from_polar(1.0, turn);
                                let found = b.vis_rfc[[row, chan, corr]];
                                let difference = (Complex64::new(f64::from(found.re), f64::from(found.im)) - expected).norm();
                                assert!(!(difference > 2e-7 * expected.norm()), "{name} {column} row {}: {found} {expected}", a.row[row]);
                            }
                        }
                    }
                    assert_eq!(a.flag_rfc, b.flag_rfc);
                }
            }
        }
    }
}

fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() { found.extend(tree(&entry.path())) } else { found.push(entry.path()) }
    }
    found.sort();
    found
}

/// The number of threads changes no byte (HISTORY holds the time of the run).
#[test]
fn any_number_of_threads_writes_the_same_bytes() {
    let Some((folder, ms)) = tiny("LB1") else { return };
    let with = |n: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        pool.install(|| moved(&ms, folder.path(), (5.0 * MAS, 6.0 * MAS), ShiftOptions::default()))
    };
    let (one, three) = (with(1), with(3));
    for (a, b) in tree(&one.path).iter().zip(&tree(&three.path)).filter(|(a, _)| !a.to_string_lossy().contains("HISTORY")) {
        assert!(std::fs::read(a).unwrap() == std::fs::read(b).unwrap(), "{}", a.display());
    }
}

#[test]
fn history_says_what_was_done() {
    let Some((folder, ms)) = tiny("LB1") else { return };
    let out = moved(&ms, folder.path(), (5.0 * MAS, -6.25 * MAS), ShiftOptions::default());
    let messages = casacore::with_table(&out.path.join("HISTORY"), |t| casacore::column::<String>(t, "MESSAGE")).unwrap();
    let message = messages.last().unwrap();
    assert!(
        message.starts_with("shift: moved by +5.000000 mas east, -6.250000 mas north; field 0 target: new phase center J2000 04:55:45.85"),
        "{message}"
    );
}

#[test]
fn refusals_leave_nothing_behind() {
    let Some((folder, ms)) = tiny("LB1") else { return };
    let before = tree(folder.path());
    let refused = |ms: &MeasurementSet, offset: (f64, f64), out: &Path, options: ShiftOptions| {
        shift(ms, offset, out, &options, &Quiet::default()).unwrap_err().message
    };
    let out = folder.path().join("b.ms");
    assert!(refused(&ms, (0.0, 0.0), &ms.path, ShiftOptions::default()).contains("exists already"));
    assert!(refused(&ms, (0.0, 0.0), &ms.path.join("in.ms"), ShiftOptions::default()).contains("inside the set"));
    assert!(refused(&ms, (f64::NAN, 0.0), &out, ShiftOptions::default()).contains("finite"));
    assert!(
        refused(&ms, (0.0, 0.0), &out, ShiftOptions { field: "x".into(), ..Default::default() }).contains("field \"x\" is not in the set")
    );
    let by_field = Labels::ByField(vec![("targets".to_string(), Direction::new(0.0, 0.0, Frame::Icrs))]);
    assert!(
        refused(&ms, (0.0, 0.0), &out, ShiftOptions { relabel_to: Some(by_field), ..Default::default() }).contains("did you mean targets")
    );
    assert_eq!(tree(folder.path()), before);
    let Some((_mosaic_folder, mosaic)) = real("antennae_b7_mosaic_4eb") else { return };
    assert!(refused(&mosaic, (0.0, 0.0), &out, ShiftOptions::default()).contains("23 fields with different phase centers"));
}

#[test]
fn a_label_far_away_is_warned_about() {
    let Some((folder, ms)) = tiny("LB1") else { return };
    let own = ms.fields[0].phase_center.direction().unwrap();
    let options = ShiftOptions { relabel_to: Some(Labels::One(own.moved(3.0 * ARCSEC, 0.0))), ..Default::default() };
    let notice = Quiet::default();
    shift(&ms, (0.0, 0.0), &folder.path().join("far.ms"), &options, &notice).unwrap();
    assert_eq!(notice.warnings().iter().map(|w| w.name.as_str()).collect::<Vec<_>>(), ["label-far"]);
}
