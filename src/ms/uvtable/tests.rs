use std::f64::consts::TAU;
use std::path::Path;
use std::sync::Arc;

use ndarray::{Array2, Array3};
use num_complex::{Complex32, Complex64};

use super::super::tests::shared_data;
use super::*;
use crate::data::{Corr, MemoryVis, VisBlock, VisWeight};
use crate::notice::Quiet;
use crate::sky::{Direction, Frame};
use crate::units::{ARCSEC, C_M_S};

/// A point source of 2 Jy, 0.4 arcsec east and 0.2 south, on four baselines, three channels, two correlations.
fn source() -> MemoryVis {
    let freq_hz = [200e9, 201e9, 203e9];
    let uvw = [[100.0, 50.0, 3.0], [-300.0, 70.0, 1.0], [20.0, -800.0, 0.0], [0.0, 0.0, 0.0]];
    let vis = Array3::from_shape_fn((4, 3, 2), |(r, f, c)| {
        let k = freq_hz[f] / C_M_S;
        let phase = TAU * k * (uvw[r][0] * 0.4 - uvw[r][1] * 0.2) * ARCSEC;
        Complex32::new((2.0 * phase.cos() + [0.1, -0.1][c]) as f32, (2.0 * phase.sin()) as f32)
    });
    let block = VisBlock {
        i_spw: 0,
        field: Arc::from([0; 4]),
        row: (0..4).collect(),
        uvw_m: Array2::from_shape_fn((4, 3), |(r, j)| uvw[r][j]),
        time_s: vec![0.0; 4],
        antenna1: vec![0, 0, 1, 2],
        antenna2: vec![1, 2, 2, 2],
        freq_hz: Arc::from(freq_hz),
        corr: Arc::from([Corr::XX, Corr::YY]),
        vis_rfc: vis,
        // Second baseline: channel 0 flagged; third: YY of channel 1.
        flag_rfc: Array3::from_shape_fn((4, 3, 2), |(r, f, c)| (r == 1 && f == 0) || (r == 2 && f == 1 && c == 1)),
        weight: VisWeight::Row(Array2::from_elem((4, 2), 3.0)),
    };
    MemoryVis::new("point", Direction::new(1.0, 0.5, Frame::Icrs), vec![block])
}

fn write(out: &Path, style: TableStyle, average: bool) -> WrittenTable {
    write_uvtable(&[&source()], out, &WriteUvtableOptions { style, average }, &Quiet::default()).unwrap()
}

/// Whatever the style, the table comes back in wavelengths with the sign of the set: the source is where it was.
#[test]
fn every_style_comes_back_with_its_source_in_place() {
    let dir = tempfile::tempdir().unwrap();
    for (name, style) in
        [("f.npz", TableStyle::Frank), ("f.txt", TableStyle::Frank), ("g.txt", TableStyle::Galario), ("m.npz", TableStyle::Mpol)]
    {
        let out = dir.path().join(name);
        let written = write(&out, style, false);
        assert_eq!(written.n_vis, 3 + 2 + 3, "{name}");
        let table = read_uvtable(&out, &ReadUvtableOptions::default()).unwrap();
        assert_eq!(table.len(), 8);
        for i in 0..8 {
            let phase = TAU * (table.u_lambda[i] * 0.4 - table.v_lambda[i] * 0.2) * ARCSEC;
            // One correlation alone (sample 6) is 0.1 Jy off: that is what was put in.
            let expected = Complex64::from_polar(2.0, phase) + if i == 6 { 0.1 } else { 0.0 };
            assert!((table.vis[i] - expected).norm() < 2e-6, "{name} {i}: {} {expected}", table.vis[i]);
            assert_eq!(table.weight[i], if i == 6 { 3.0 } else { 6.0 });
        }
        assert!((table.max_uv_lambda() / written.max_uv_lambda - 1.0).abs() < 1e-9);
        assert!(write_uvtable(&[&source()], &out, &WriteUvtableOptions { style, average: false }, &Quiet::default()).is_err());
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 4);
}

#[test]
fn averaged_channels_are_one_visibility_with_all_their_weight() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a.txt");
    let written = write(&out, TableStyle::Frank, true);
    assert_eq!((written.n_vis, written.weight_sum), (3, 18.0 + 12.0 + 15.0));
    let table = read_uvtable(&out, &ReadUvtableOptions::default()).unwrap();
    let mean = (200e9 + 201e9 + 203e9) / 3.0;
    assert!((table.u_lambda[0] - 100.0 * mean / C_M_S).abs() < 1e-4);
    assert!((table.u_lambda[1] + 300.0 * 202e9 / C_M_S).abs() < 1e-4);
}

/// galario's own example: metres without a wavelength, 13923 lines.
#[test]
fn the_table_of_galario_is_read_and_becomes_one_of_frank() {
    let Some(data) = shared_data() else { return };
    let file = data.join("real/uv/galario_quickstart_uvtable.txt");
    let error = read_uvtable(&file, &ReadUvtableOptions::default()).unwrap_err();
    assert_eq!(error.message, "coordinates are in metres, and the header gives no wavelength");
    let options = ReadUvtableOptions { frequency: Some(Frequency(C_M_S / 1e-3)), ..ReadUvtableOptions::default() };
    let table = read_uvtable(&file, &options).unwrap();
    assert_eq!(table.len(), 13_923);
    assert_eq!((table.u_lambda[0], table.v_lambda[0], table.weight[0]), (-155.9 * 1e3, 234.35 * 1e3, 200.06));
    assert_eq!(table.vis[0], Complex64::new(1.8103e-2, 0.13799));
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("f.npz");
    convert_uvtable(&file, &out, &options, TableStyle::Frank, &Quiet::default()).unwrap();
    assert_eq!(read_uvtable(&out, &ReadUvtableOptions::default()).unwrap(), table);
    let back = dir.path().join("g.txt");
    convert_uvtable(&out, &back, &options, TableStyle::Galario, &Quiet::default()).unwrap();
    let again = read_uvtable(&back, &ReadUvtableOptions::default()).unwrap();
    assert!(again.u_lambda.iter().zip(&table.u_lambda).all(|(a, b)| (a - b).abs() <= 1e-9 * b.abs()));
}

#[test]
fn wrong_endings_and_lines_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let to = |name: &str, style| {
        write_uvtable(&[&source()], &dir.path().join(name), &WriteUvtableOptions { style, average: false }, &Quiet::default())
    };
    assert_eq!(to("a.npz", TableStyle::Galario).unwrap_err().message, "a galario table ends in .txt or .dat, not in \"npz\"");
    let file = dir.path().join("a.txt");
    std::fs::write(&file, "# u [lambda]\n1 2 3 4 5\n1 2 x 4 5\n").unwrap();
    let error = read_uvtable(&file, &ReadUvtableOptions::default()).unwrap_err();
    assert_eq!(error.message, "line 3 has 2 numbers: \"1 2 x 4 5\", five numbers expected: u v Re Im weight");
    std::fs::write(&file, "1 2 3 4 5\n").unwrap();
    assert!(read_uvtable(&file, &ReadUvtableOptions::default()).unwrap_err().hint.unwrap().contains("unit"));
    let npz = dir.path().join("a.npz");
    std::fs::write(&npz, "no archive").unwrap();
    assert!(read_uvtable(&npz, &ReadUvtableOptions::default()).is_err());
}
