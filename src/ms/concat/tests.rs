use std::path::{Path, PathBuf};

use ndarray::{ArrayD, Axis};
use num_complex::{Complex32, Complex64};

use super::super::casacore::{array_cell, column, with_table};
use super::super::tests::{shared_data, unpack};
use super::super::{HistoryEntry, MeasurementSet, SetLayout, SetWriter};
use super::{ConcatOptions, concat};
use crate::data::{Antenna, Corr, Field, FreqFrame, Observation, RowBlock, SetDescription, SpectralWindow, VisWeight};
use crate::error::Kind;
use crate::notice::Quiet;
use crate::sky::{Direction, Frame};

fn npz(path: &Path) -> impl FnMut(&str) -> Option<ArrayD<f64>> {
    let mut file = ndarray_npy::NpzReader::new(std::fs::File::open(path).unwrap()).unwrap();
    move |name| {
        let integers = file.by_name::<ndarray::OwnedRepr<i64>, ndarray::IxDyn>(name).ok().map(|a| a.mapv(|v| v as f64));
        let flags = || file.by_name::<ndarray::OwnedRepr<bool>, ndarray::IxDyn>(name).ok().map(|a| a.mapv(|v| f64::from(u8::from(v))));
        integers.or_else(flags).or_else(|| file.by_name(name).ok())
    }
}

fn complex(path: &Path, name: &str) -> ArrayD<Complex64> {
    let mut file = ndarray_npy::NpzReader::new(std::fs::File::open(path).unwrap()).unwrap();
    file.by_name(name).unwrap()
}

/// Compares rows of the joined set with those that CASA's concat wrote; `join` gives the sets in the order of the call.
fn compare_with_casa(name: &str, archives: [&str; 2], options: &ConcatOptions) {
    let Some(data) = shared_data() else { return };
    let unpacked = archives.map(|a| unpack(&data, a));
    let sets: Vec<PathBuf> = unpacked.iter().map(|(_, p)| p.clone()).collect();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("joined.ms");
    concat(&sets, &out, options, &Quiet::default()).unwrap();
    let path = data.join("reference/casa_tasks_small").join(format!("{name}.npz"));
    let mut casa = npz(&path);
    let joined = MeasurementSet::open(&out).unwrap();
    assert_eq!(joined.rows.n_rows as f64, casa("nrows").unwrap().sum());
    for i in 0..2 {
        assert_eq!(joined.spws[i].freq_hz.to_vec(), casa(&format!("CHAN_FREQ_{i}")).unwrap().into_raw_vec_and_offset().0);
    }
    assert_eq!(joined.spws.len(), casa("MEAS_FREQ_REF").unwrap().len());
    let mut compared = 0;
    // CASA makes a third data description, because it takes the last of two equal correlation setups; rows are the same.
    for d in 0..3 {
        let Some(rows) = casa(&format!("rows_dd{d}")) else { continue };
        let vis = complex(&path, &format!("DATA_dd{d}"));
        let mut of = |column: &str| casa(&format!("{column}_dd{d}")).unwrap();
        let scalars = ["TIME", "ANTENNA1", "ANTENNA2", "FIELD_ID"].map(&mut of);
        let (flag, weight, sigma, uvw) = (of("FLAG"), of("WEIGHT"), of("SIGMA"), of("UVW"));
        with_table(&out, |t| {
            let time: Vec<f64> = column(t, "TIME")?;
            let ids = ["ANTENNA1", "ANTENNA2", "FIELD_ID"].map(|c| column::<i32>(t, c).unwrap());
            for (i, row) in rows.iter().enumerate() {
                let r = *row as usize;
                assert_eq!(time[r], scalars[0][i]);
                (0..3).for_each(|k| assert_eq!(f64::from(ids[k][r]), scalars[k + 1][i], "{k} row {r}"));
                // CASA's arrays are [corr, chan, row].
                let mine: Vec<Complex32> = array_cell(t, "DATA", r as u64)?.unwrap();
                let theirs = vis.index_axis(Axis(2), i).t().iter().map(|v| Complex32::new(v.re as f32, v.im as f32)).collect::<Vec<_>>();
                assert_eq!(mine, theirs);
                let mine: Vec<bool> = array_cell(t, "FLAG", r as u64)?.unwrap();
                assert_eq!(mine, flag.index_axis(Axis(2), i).t().iter().map(|f| *f != 0.0).collect::<Vec<_>>());
                for (column, theirs) in [("WEIGHT", &weight), ("SIGMA", &sigma)] {
                    let mine: Vec<f32> = array_cell(t, column, r as u64)?.unwrap();
                    assert_eq!(mine, theirs.index_axis(Axis(1), i).iter().map(|v| *v as f32).collect::<Vec<_>>());
                }
                let mine: Vec<f64> = array_cell(t, "UVW", r as u64)?.unwrap();
                assert_eq!(mine, uvw.index_axis(Axis(1), i).iter().copied().collect::<Vec<_>>());
                compared += 1;
            }
            Ok(())
        })
        .unwrap();
    }
    assert_eq!(compared, 600);
    // Rows know their set.
    let first = MeasurementSet::open(&sets[0]).unwrap();
    let observations: Vec<i32> = joined.rows.observation.values().to_vec();
    assert_eq!(observations, [0, 1]);
    assert_eq!(joined.observations.len(), 2);
    assert_eq!(joined.data_descriptions.len(), first.data_descriptions.len());
}

#[test]
fn two_blocks_of_one_array_are_joined_as_casa_joins_them() {
    let options = ConcatOptions { direction_tolerance: crate::units::Angle::from_arcsec(0.1), ..ConcatOptions::default() };
    compare_with_casa("concat", ["sim/align_tiny/LB1.ms.tar.gz", "sim/align_tiny/LB2.ms.tar.gz"], &options);
}

#[test]
fn two_arrays_of_different_antennas_are_joined_as_casa_joins_them() {
    let options = ConcatOptions {
        direction_tolerance: crate::units::Angle::from_arcsec(0.1),
        frequency_tolerance: crate::units::Frequency(10e6),
        ..ConcatOptions::default()
    };
    compare_with_casa("concat_tm_aca", ["sim/line_small/tm1.ms.tar.gz", "sim/line_small/aca.ms.tar.gz"], &options);
}

/// A set of one spectral window and four correlations with the antennas named, all pairs, `n_times` integrations from `begin_s` on.
fn small_set(out: &Path, antennas: &[&str], begin_s: f64, n_times: usize, frame: Frame, field: Direction) {
    let antenna = |n: &&str| {
        let place = f64::from(n.as_bytes()[0]);
        Antenna { name: n.to_string(), station: format!("P{n}"), position_m: [place, 2.0 * place, 0.0], diameter_m: 12.0 }
    };
    let d = SetDescription {
        antennas: antennas.iter().map(antenna).collect(),
        spws: vec![SpectralWindow::regular("w", 1e11, 1e6, 3, FreqFrame::Topo)],
        polarizations: vec![vec![Corr::XX, Corr::XY, Corr::YX, Corr::YY]],
        data_descriptions: vec![(0, 0)],
        fields: vec![Field { name: "f".to_string(), code: String::new(), phase_center: field.in_frame(frame).unwrap() }],
        observations: vec![Observation {
            telescope: "ALMA".to_string(),
            observer: String::new(),
            project: String::new(),
            time_range_s: [begin_s; 2],
        }],
        rest_freq_hz: None,
        variable_direction_frames: frame == Frame::Icrs,
    };
    let mut set = SetWriter::new(out, d, SetLayout { expected_rows: 10, sample_weights: true }).unwrap();
    let n = antennas.len();
    let pairs: Vec<(usize, usize)> = (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b))).collect();
    let rows = n_times * pairs.len();
    let name = |i: usize| f64::from(antennas[i].as_bytes()[0]);
    let pair = |r: usize| pairs[r % pairs.len()];
    // Numbers that tell the baseline by the names of its antennas: the difference is odd under a turn, the sum even.
    let uvw = ndarray::Array2::from_shape_fn((rows, 3), |(r, j)| (name(pair(r).0) - name(pair(r).1)) * (j + 1) as f64);
    let vis = ndarray::Array3::from_shape_fn((rows, 3, 4), |(r, f, c)| {
        let (a, b) = (name(pair(r).0), name(pair(r).1));
        let cross = [0.0, a - b, b - a, 1.0][c]; // V_XY of (a, b) is conj V_YX of (b, a)
        Complex32::new((a + b + cross) as f32, ((a - b) * (f + 1) as f64) as f32)
    });
    let flag = ndarray::Array3::from_shape_fn((rows, 3, 4), |(r, f, c)| {
        let (a, b) = (name(pair(r).0), name(pair(r).1));
        f == 1 && ((c == 1 && a < b) || (c == 2 && a > b))
    });
    let weight = ndarray::Array2::from_shape_fn((rows, 4), |(r, c)| {
        let (a, b) = (name(pair(r).0), name(pair(r).1));
        [1.0, if a < b { 2.0 } else { 3.0 }, if a < b { 3.0 } else { 2.0 }, 4.0][c]
    });
    let block = RowBlock {
        data_desc: 0,
        time_s: (0..rows).map(|r| begin_s + (r / pairs.len()) as f64).collect(),
        interval_s: vec![1.0; rows],
        antenna1: (0..rows).map(|r| pair(r).0 as i32).collect(),
        antenna2: (0..rows).map(|r| pair(r).1 as i32).collect(),
        field: vec![0; rows],
        scan: (0..rows).map(|r| 3 + (r / pairs.len()) as i32).collect(),
        observation: vec![0; rows],
        uvw_m: uvw,
        vis_rfc: vis,
        flag_rfc: flag,
        weight: VisWeight::Row(weight),
    };
    set.append(&block).unwrap();
    set.finish(&HistoryEntry::default(), &Quiet::default()).unwrap();
}

/// Antennas of the second set stand in another order: its baselines are turned, and say the same as before.
#[test]
fn turned_baselines_say_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = |n: &str| dir.path().join(n);
    let center = Direction::new(1.0, -0.4, Frame::J2000);
    small_set(&path("late.ms"), &["D", "A", "C", "E"], 6e9, 5, Frame::Icrs, center);
    small_set(&path("early.ms"), &["A", "B", "C", "D"], 5e9, 4, Frame::J2000, center);
    concat(&[path("late.ms"), path("early.ms")], &path("out.ms"), &ConcatOptions::default(), &Quiet::default()).unwrap();
    let joined = MeasurementSet::open(path("out.ms")).unwrap();
    assert_eq!(joined.antennas.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(), ["A", "B", "C", "D", "E"]);
    assert_eq!((joined.fields.len(), joined.spws.len(), joined.data_descriptions.len()), (1, 1, 1));
    assert_eq!(joined.rows.n_rows, 4 * 6 + 5 * 6);
    // Scans 3..6 of the first, then 3..7 of the second as 7..11.
    assert_eq!(joined.rows.scan.values(), (3..12).collect::<Vec<i32>>());
    with_table(&path("out.ms"), |t| {
        for row in 0..joined.rows.n_rows {
            let (a, b) = (joined.rows.antenna1[row as usize], joined.rows.antenna2[row as usize]);
            assert!(a < b);
            let [a, b] = [a, b].map(|i| f64::from(joined.antennas[usize::from(i)].name.as_bytes()[0]));
            let uvw: Vec<f64> = array_cell(t, "UVW", row)?.unwrap();
            assert_eq!(uvw, [a - b, 2.0 * (a - b), 3.0 * (a - b)]);
            let vis: Vec<Complex32> = array_cell(t, "DATA", row)?.unwrap();
            for (i, v) in vis.iter().enumerate() {
                let expected = (a + b + [0.0, a - b, b - a, 1.0][i % 4], (a - b) * (i / 4 + 1) as f64);
                assert_eq!((f64::from(v.re), f64::from(v.im)), expected, "row {row}");
            }
            let flag: Vec<bool> = array_cell(t, "FLAG", row)?.unwrap();
            assert_eq!(flag.iter().position(|f| *f), Some(5));
            assert_eq!(flag.iter().filter(|f| **f).count(), 1);
            assert_eq!(array_cell::<f32>(t, "WEIGHT", row)?.unwrap(), [1.0, 2.0, 3.0, 4.0]);
            assert_eq!(array_cell::<f32>(t, "WEIGHT_SPECTRUM", row)?.unwrap(), [1.0, 2.0, 3.0, 4.0].repeat(3));
        }
        Ok(())
    })
    .unwrap();
    with_table(&path("out.ms/HISTORY"), |t| {
        assert!(column::<String>(t, "MESSAGE")?.last().unwrap().contains("joined early, late"));
        Ok(())
    })
    .unwrap();
}

/// A field in another frame than the column's is written in the column's.
#[test]
fn directions_of_another_frame_are_turned_into_that_of_the_column() {
    let dir = tempfile::tempdir().unwrap();
    let path = |n: &str| dir.path().join(n);
    let (here, there) = (Direction::new(1.0, -0.4, Frame::J2000), Direction::new(1.1, -0.4, Frame::J2000));
    small_set(&path("a.ms"), &["A", "B"], 5e9, 1, Frame::J2000, here);
    small_set(&path("b.ms"), &["A", "B"], 6e9, 1, Frame::Icrs, there);
    for (list, frame) in [(["a.ms", "b.ms"], "J2000"), (["b.ms", "a.ms"], "J2000")] {
        let out = path(&format!("{}{}", list[0], frame));
        concat(&list.map(path), &out, &ConcatOptions::default(), &Quiet::default()).unwrap();
        let fields = MeasurementSet::open(&out).unwrap().fields.clone();
        assert_eq!(fields.len(), 2);
        let second = fields[1].phase_center.direction().unwrap();
        assert_eq!(second.frame.name(), frame);
        assert!(second.separation_rad(there) < 1e-14);
        assert_eq!(fields.iter().map(|f| f.source_id).collect::<Vec<_>>(), [0, 1]);
    }
}

#[test]
fn the_same_set_twice_and_an_output_that_exists_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = |n: &str| dir.path().join(n);
    small_set(&path("a.ms"), &["A", "B"], 5e9, 1, Frame::J2000, Direction::new(1.0, -0.4, Frame::J2000));
    let join = |list: &[&str], out: &str| {
        concat(&list.iter().map(|n| path(n)).collect::<Vec<_>>(), &path(out), &ConcatOptions::default(), &Quiet::default())
    };
    let twice = join(&["a.ms", ".", "./a.ms/"], "out.ms").unwrap_err();
    assert_eq!((twice.kind, twice.message.as_str()), (Kind::User, "sets 1 and 3 of the list are the same"));
    assert!(join(&[], "out.ms").is_err());
    assert!(join(&["a.ms"], "a.ms").unwrap_err().message.contains("exists already"));
    join(&["a.ms"], "out.ms").unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}
