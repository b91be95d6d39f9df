use std::path::Path;

use ndarray::{Array2, Array3};
use num_complex::Complex32;

use super::casacore::{array_cell, column, with_table};
use super::{HistoryEntry, SetLayout, SetWriter};
use crate::data::{Antenna, Corr, Field, FreqFrame, Observation, RowBlock, SetDescription, SpectralWindow, VisWeight};
use crate::notice::Quiet;
use crate::sky::{Direction, Frame};

fn description() -> SetDescription {
    let antenna =
        |i: usize| Antenna { name: format!("A{i}"), station: format!("P{i}"), position_m: [i as f64, 1.0, 2.0], diameter_m: 12.0 };
    let field = |name: &str, frame| Field { name: name.to_string(), code: String::new(), phase_center: Direction::new(1.0, -0.5, frame) };
    SetDescription {
        antennas: (0..3).map(antenna).collect(),
        spws: vec![
            SpectralWindow::regular("a", 1e11, 1e6, 5, FreqFrame::Topo),
            SpectralWindow::regular("b", 2e11, -2e6, 3, FreqFrame::Lsrk),
        ],
        polarizations: vec![vec![Corr::XX, Corr::XY, Corr::YX, Corr::YY], vec![Corr::I]],
        data_descriptions: vec![(0, 0), (1, 1)],
        fields: vec![field("j2000", Frame::J2000), field("icrs", Frame::Icrs)],
        observations: vec![Observation {
            telescope: "ALMA".to_string(),
            observer: "me".to_string(),
            project: "p".to_string(),
            time_range_s: [5e9, 5e9 + 10.0],
        }],
        rest_freq_hz: Some(1.15e11),
        variable_direction_frames: false,
    }
}

/// A block whose numbers all differ; `k` tells blocks apart.
fn block(data_desc: usize, n: usize, k: usize) -> RowBlock {
    let (n_chan, n_corr) = if data_desc == 0 { (5, 4) } else { (3, 1) };
    let number = |i: usize| (1000 * k + i) as f32;
    RowBlock {
        data_desc,
        time_s: (0..n).map(|i| 5e9 + (k * 100 + i / 3) as f64).collect(),
        interval_s: vec![1.0; n],
        antenna1: (0..n).map(|i| (i % 2) as i32).collect(),
        antenna2: (0..n).map(|i| (i % 2 + 1) as i32).collect(),
        field: vec![(k % 2) as i32; n],
        scan: vec![k as i32; n],
        observation: vec![0; n],
        uvw_m: Array2::from_shape_fn((n, 3), |(i, j)| f64::from(number(3 * i + j)) / 7.0),
        vis_rfc: Array3::from_shape_fn((n, n_chan, n_corr), |(r, f, c)| Complex32::new(number(r), (f * 10 + c) as f32)),
        flag_rfc: Array3::from_shape_fn((n, n_chan, n_corr), |(r, f, c)| (r * 7 + f * 3 + c * 5 + k) % 4 == 0 || r % 11 == 10),
        weight: VisWeight::Row(Array2::from_shape_fn((n, n_corr), |(r, c)| 1.0 + number(r) + c as f32)),
    }
}

fn make(out: &Path, blocks: &[RowBlock], sample_weights: bool) {
    let layout = SetLayout { expected_rows: 20, sample_weights };
    let mut set = SetWriter::new(out, description(), layout).unwrap();
    blocks.iter().for_each(|b| set.append(b).unwrap());
    set.finish(
        &HistoryEntry { verb: "test".to_string(), message: "made".to_string(), options: vec!["a=1".to_string()] },
        &Quiet::default(),
    )
    .unwrap();
}

/// What is written is what casacore reads, in every column, with tiles, buckets and bits that end anywhere.
#[test]
fn casacore_reads_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a.ms");
    // 13 000 rows with a new time every third: several buckets of both scalar managers, several tiles.
    let blocks = [block(0, 13, 0), block(1, 7, 1), block(0, 13_000, 2), block(1, 5, 3), block(0, 1, 4)];
    make(&out, &blocks, true);
    with_table(&out, |t| {
        let mut row = 0u64;
        let time: Vec<f64> = column(t, "TIME")?;
        let antenna2: Vec<i32> = column(t, "ANTENNA2")?;
        let scan: Vec<i32> = column(t, "SCAN_NUMBER")?;
        let data_desc: Vec<i32> = column(t, "DATA_DESC_ID")?;
        let flag_row: Vec<bool> = column(t, "FLAG_ROW")?;
        for b in &blocks {
            for i in 0..b.n_rows() {
                let r = row as usize;
                assert_eq!((time[r], antenna2[r], scan[r], data_desc[r]), (b.time_s[i], b.antenna2[i], b.scan[i], b.data_desc as i32));
                assert_eq!(flag_row[r], b.flag_rfc.index_axis(ndarray::Axis(0), i).iter().all(|f| *f));
                if i % 17 == 0 || b.n_rows() < 20 {
                    let at = ndarray::Axis(0);
                    let vis: Vec<Complex32> = array_cell(t, "DATA", row)?.unwrap_or_default();
                    assert_eq!(vis, b.vis_rfc.index_axis(at, i).iter().copied().collect::<Vec<_>>());
                    let flag: Vec<bool> = array_cell(t, "FLAG", row)?.unwrap_or_default();
                    assert_eq!(flag, b.flag_rfc.index_axis(at, i).iter().copied().collect::<Vec<_>>());
                    let uvw: Vec<f64> = array_cell(t, "UVW", row)?.unwrap_or_default();
                    assert_eq!(uvw, b.uvw_m.row(i).to_vec());
                    let VisWeight::Row(w) = &b.weight else { panic!("weights by row") };
                    let weight: Vec<f32> = array_cell(t, "WEIGHT", row)?.unwrap_or_default();
                    assert_eq!(weight, w.row(i).to_vec());
                    let spectrum: Vec<f32> = array_cell(t, "SIGMA_SPECTRUM", row)?.unwrap_or_default();
                    assert_eq!(spectrum.len(), vis.len());
                    assert_eq!(spectrum[0], 1.0 / w[[i, 0]].sqrt());
                    assert_eq!(array_cell::<bool>(t, "FLAG_CATEGORY", row)?, None);
                }
                row += 1;
            }
        }
        assert_eq!(t.n_rows(), row);
        Ok(())
    })
    .unwrap();
}

#[test]
fn subtables_tell_the_description() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a.ms");
    make(&out, &[block(0, 3, 0)], false);
    with_table(&out.join("FIELD"), |t| {
        assert_eq!(column::<String>(t, "NAME")?, ["j2000", "icrs"]);
        // Two frames: one a row, J2000 is 0 and ICRS 21.
        assert_eq!(column::<i32>(t, "PhaseDir_Ref")?, [0, 21]);
        assert_eq!(array_cell::<f64>(t, "PHASE_DIR", 1)?, Some(vec![1.0, -0.5]));
        Ok(())
    })
    .unwrap();
    with_table(&out.join("SPECTRAL_WINDOW"), |t| {
        assert_eq!(array_cell::<f64>(t, "CHAN_FREQ", 1)?, Some(vec![2e11, 2e11 - 2e6, 2e11 - 4e6]));
        assert_eq!(column::<i32>(t, "MEAS_FREQ_REF")?, [5, 1]);
        Ok(())
    })
    .unwrap();
    with_table(&out.join("HISTORY"), |t| {
        assert_eq!(column::<String>(t, "MESSAGE")?, ["test: made"]);
        assert_eq!(array_cell::<String>(t, "APP_PARAMS", 0)?, Some(vec!["a=1".to_string()]));
        Ok(())
    })
    .unwrap();
}

/// A copy without the lock files has all its rows: CASA's own appended tables lose them.
#[test]
fn row_counts_survive_the_loss_of_lock_files() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a.ms");
    make(&out, &[block(0, 3, 0)], false);
    super::append_history(&out, &HistoryEntry { verb: "again".to_string(), ..HistoryEntry::default() }).unwrap();
    for table in ["", "HISTORY", "ANTENNA"] {
        let _ = std::fs::remove_file(out.join(table).join("table.lock"));
    }
    for (table, n) in [("", 3), ("HISTORY", 2), ("ANTENNA", 3)] {
        assert_eq!(with_table(&out.join(table), |t| Ok(t.n_rows())).unwrap(), n);
    }
}

#[test]
fn a_set_that_exists_is_not_replaced_and_a_wrong_description_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a.ms");
    let layout = SetLayout { expected_rows: 1, sample_weights: false };
    let mut wrong = description();
    wrong.data_descriptions.push((7, 0));
    assert!(SetWriter::new(&out, wrong, layout).err().unwrap().message.contains("data description 2 names spw 7"));
    make(&out, &[], false);
    assert!(SetWriter::new(&out, description(), layout).err().unwrap().message.contains("exists already"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// UVW of sets that CASA's simulator made: antenna 1 minus antenna 2, east, north, to the source, with aberration.
///
/// Left out are UT1 - UTC (up to 0.1 s then: 7e-6 rad times cos dec) and the motion of the pole (0.5 arcsec, 2e-6).
#[test]
fn uvw_axes_give_the_uvw_of_casa() {
    let Some(data) = super::tests::shared_data() else { return };
    for archive in ["sim/align_tiny/LB1.ms.tar.gz", "sim/align_tiny/SB2.ms.tar.gz"] {
        let (_folder, path) = super::tests::unpack(&data, archive);
        let set = super::MeasurementSet::open(&path).unwrap();
        let center = set.fields[0].phase_center.direction().unwrap();
        with_table(&path, |t| {
            for row in (0..set.rows.n_rows).step_by(53) {
                let uvw: Vec<f64> = array_cell(t, "UVW", row)?.unwrap();
                let [a, b] = [&set.rows.antenna1, &set.rows.antenna2].map(|ids| set.antennas[usize::from(ids[row as usize])].position_m);
                let baseline: [f64; 3] = std::array::from_fn(|i| a[i] - b[i]);
                let length = baseline.iter().map(|x| x * x).sum::<f64>().sqrt();
                let own = crate::sky::UvwAxes::new(center, set.rows.time_s.get(row)).uvw(baseline);
                let wrong = (0..3).map(|i| (own[i] - uvw[i]).powi(2)).sum::<f64>().sqrt();
                assert!(wrong < 8e-6 * length, "row {row}: {own:?} {uvw:?}");
            }
            Ok(())
        })
        .unwrap();
    }
}
