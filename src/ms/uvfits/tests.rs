use std::path::{Path, PathBuf};

use num_complex::Complex32;

use super::super::MeasurementSet;
use super::super::casacore::{array_cell, column, with_table};
use super::super::tests::{shared_data, unpack};
use super::{ImportUvfitsOptions, import_uvfits};
use crate::data::Corr;
use crate::notice::Quiet;
use crate::sky::Frame;

fn import(file: &Path, dir: &Path) -> PathBuf {
    import_uvfits(file, &dir.join("out.ms"), &ImportUvfitsOptions::default(), &Quiet::default()).unwrap()
}

/// The same data as a set that CASA made: same rows, signs, flags and weights.
#[test]
fn the_twin_of_a_set_reads_the_same() {
    let Some(data) = shared_data() else { return };
    let dir = tempfile::tempdir().unwrap();
    let own = import(&data.join("real/uvfits/evla_day2_TDEM0003.uvfits"), dir.path());
    let (_folder, twin) = unpack(&data, "real/ms/evla_day2_TDEM0003.ms.tar.gz");
    let (a, b) = (MeasurementSet::open(&own).unwrap(), MeasurementSet::open(&twin).unwrap());
    assert_eq!(a.rows.n_rows, b.rows.n_rows);
    // CASA numbers antennas by station and fills the gaps with antennas that are not there.
    for (own, theirs) in [(&a.rows.antenna1, &b.rows.antenna1), (&a.rows.antenna2, &b.rows.antenna2)] {
        assert!(own.iter().zip(theirs).all(|(x, y)| {
            let (x, y) = (&a.antennas[usize::from(*x)], &b.antennas[usize::from(*y)]);
            x.station == y.station && x.position_m == y.position_m
        }));
    }
    // The file's time is a part of a day in single precision: 5 ms; both read the same number.
    assert!((0..a.rows.n_rows).all(|r| (a.rows.time_s.get(r) - b.rows.time_s.get(r)).abs() < 1e-5));
    assert!(a.spws[0].freq_hz.iter().zip(b.spws[0].freq_hz.iter()).all(|(x, y)| (x - y).abs() < 1e-3));
    assert_eq!((a.polarizations[0].to_vec(), a.spws[0].frame.as_str()), (vec![Corr::RR, Corr::RL, Corr::LR, Corr::LL], "TOPO"));
    let (x, y) = (a.fields[0].phase_center.direction().unwrap(), b.fields[0].phase_center.direction().unwrap());
    assert!(x.separation_rad(y) < 1e-12);
    let read = |set: &Path, row: u64| {
        with_table(set, |t| {
            let uvw: Vec<f64> = array_cell(t, "UVW", row)?.unwrap();
            let vis: Vec<Complex32> = array_cell(t, "DATA", row)?.unwrap();
            let flag: Vec<bool> = array_cell(t, "FLAG", row)?.unwrap();
            let weight: Vec<f32> = array_cell(t, "WEIGHT_SPECTRUM", row)?.unwrap();
            Ok((uvw, vis, flag, weight))
        })
        .unwrap()
    };
    for row in (0..a.rows.n_rows).step_by(7) {
        let ((uvw, vis, flag, weight), theirs) = (read(&own, row), read(&twin, row));
        assert!(uvw.iter().zip(&theirs.0).all(|(x, y)| (x - y).abs() < 1e-9 * (1.0 + y.abs())));
        assert_eq!((vis, flag, weight), (theirs.1, theirs.2, theirs.3));
    }
}

/// CASA 6.7 importuvfits gives 6300 rows, 10 scans, windows at 8104.45875 and 8112.45875 MHz, time range 4657121585.005 to 4657157085.004 s.
#[test]
fn two_ifs_become_two_windows() {
    let Some(data) = shared_data() else { return };
    let dir = tempfile::tempdir().unwrap();
    let set = MeasurementSet::open(import(&data.join("real/uvfits/vlba_mojave_1228+126_2if.uvfits"), dir.path())).unwrap();
    assert_eq!((set.rows.n_rows, set.spws.len(), set.rows.scan.values().iter().max()), (6300, 2, Some(&10)));
    assert_eq!((set.spws[0].freq_hz[0], set.spws[1].freq_hz[0]), (8.10445875e9, 8.11245875e9));
    let times = set.rows.time_s.values();
    assert!((times[0] - 4_657_121_585.005_188).abs() < 1e-5);
    assert_eq!((set.antennas[0].name.as_str(), set.fields[0].name.as_str()), ("BR", "1228+126"));
    with_table(&set.path, |t| {
        // First group: RR, LL, RL, LR of IF 1 have no weight, those of IF 2 do.
        assert_eq!(array_cell::<bool>(t, "FLAG", 0)?.unwrap(), [true; 4]);
        let second = (0..set.rows.n_rows).find(|r| set.rows.data_desc.get(*r) == 1).unwrap();
        assert_eq!(array_cell::<f32>(t, "WEIGHT", second)?.unwrap(), [55.077496, 69.558838, 1995.2133, 2517.2725]);
        let vis: Vec<Complex32> = array_cell(t, "DATA", second)?.unwrap();
        assert_eq!(vis[3], Complex32::new(2.1024821, 0.30311882));
        Ok(())
    })
    .unwrap();
}

/// Cross hands of these files are zero with infinite weight: nothing to image.
#[test]
fn infinite_weights_are_flagged() {
    let Some(data) = shared_data() else { return };
    let dir = tempfile::tempdir().unwrap();
    let set = MeasurementSet::open(import(&data.join("real/uvfits/SR1_M87_2017_095_lo_hops_netcal_StokesI.uvfits"), dir.path())).unwrap();
    assert_eq!(set.rows.n_rows, 6453);
    with_table(&set.path, |t| {
        assert_eq!(array_cell::<bool>(t, "FLAG", 0)?.unwrap(), [false, true, true, false]);
        assert_eq!(array_cell::<f32>(t, "WEIGHT", 0)?.unwrap(), [22450.674, 0.0, 0.0, 22450.674]);
        assert!(column::<f64>(t, "EXPOSURE")?[0] - 9.181568 < 1e-5);
        Ok(())
    })
    .unwrap();
}

/// Parts of a FITS file made here.
#[derive(Default)]
struct Fits(Vec<u8>);

impl Fits {
    fn header(&mut self, cards: &[(&str, String)]) {
        for (name, value) in cards {
            self.0.extend(format!("{name:<8}= {value:>20}{:50}", "").bytes());
        }
        self.0.extend(format!("{:<80}", "END").bytes());
        self.fill(b' ');
    }
    fn fill(&mut self, with: u8) {
        self.0.resize(self.0.len().next_multiple_of(2880), with);
    }
    fn table(&mut self, name: &str, more: &[(&str, String)], columns: &[(&str, &str)], rows: &[Vec<u8>]) {
        let text = |t: &str| format!("'{t:<8}'");
        let mut cards = vec![
            ("XTENSION", text("BINTABLE")),
            ("BITPIX", "8".to_string()),
            ("NAXIS", "2".to_string()),
            ("NAXIS1", rows[0].len().to_string()),
            ("NAXIS2", rows.len().to_string()),
            ("PCOUNT", "0".to_string()),
            ("GCOUNT", "1".to_string()),
            ("TFIELDS", columns.len().to_string()),
            ("EXTNAME", text(name)),
        ];
        cards.extend(more.iter().cloned());
        let names: Vec<(String, String)> = (1..=columns.len()).map(|i| (format!("TTYPE{i}"), format!("TFORM{i}"))).collect();
        for ((n, f), (column, form)) in names.iter().zip(columns) {
            cards.push((n, text(column)));
            cards.push((f, text(form)));
        }
        self.header(&cards);
        rows.iter().for_each(|r| self.0.extend(r));
        self.fill(0);
    }
}

/// Two sources, two IFs of three channels, TAI, two subarrays, flags.
fn multi_source(path: &Path) {
    let text = |t: &str| format!("'{t:<8}'");
    let mut f = Fits::default();
    let mut cards: Vec<(String, String)> = [
        ("SIMPLE", "T"),
        ("BITPIX", "-32"),
        ("NAXIS", "7"),
        ("NAXIS1", "0"),
        ("NAXIS2", "3"),
        ("NAXIS3", "2"),
        ("NAXIS4", "3"),
        ("NAXIS5", "2"),
        ("NAXIS6", "1"),
        ("NAXIS7", "1"),
        ("EXTEND", "T"),
        ("GROUPS", "T"),
        ("PCOUNT", "8"),
        ("GCOUNT", "4"),
    ]
    .map(|(a, b)| (a.to_string(), b.to_string()))
    .to_vec();
    let axes = [
        ("COMPLEX", 1.0, 1.0, 1.0),
        ("STOKES", -5.0, -1.0, 1.0),
        ("FREQ", 1e9, 1e6, 2.0),
        ("IF", 1.0, 1.0, 1.0),
        ("RA", 0.0, 1.0, 1.0),
        ("DEC", 0.0, 1.0, 1.0),
    ];
    for (i, (name, value, step, pixel)) in axes.iter().enumerate() {
        let i = i + 2;
        cards.extend([
            (format!("CTYPE{i}"), text(name)),
            (format!("CRVAL{i}"), format!("{value}")),
            (format!("CDELT{i}"), format!("{step}")),
            (format!("CRPIX{i}"), format!("{pixel}")),
        ]);
    }
    for (i, name) in ["UU---SIN", "VV---SIN", "WW---SIN", "DATE", "DATE", "BASELINE", "SOURCE", "INTTIM"].iter().enumerate() {
        cards.extend([
            (format!("PTYPE{}", i + 1), text(name)),
            (format!("PSCAL{}", i + 1), "1.0".to_string()),
            (format!("PZERO{}", i + 1), if i == 3 { "2455000.5" } else { "0.0" }.to_string()),
        ]);
    }
    f.header(&cards.iter().map(|(a, b)| (a.as_str(), b.clone())).collect::<Vec<_>>());
    // Groups: baseline 1-2 of source 7, 1-2 of source 9, 1-3 of source 9, and 1-2 of subarray 2.
    for (k, (baseline, source)) in [(258.0f32, 7.0f32), (258.0, 9.0), (259.0, 9.0), (258.01, 9.0)].into_iter().enumerate() {
        let seconds = [0.0f32, 1000.0, 1000.0, 1000.0][k];
        let params = [1e-6, 2e-6, -3e-6, 0.0, seconds / 86_400.0, baseline, source, 10.0];
        params.iter().for_each(|p| f.0.extend(p.to_be_bytes()));
        for i_if in 0..2 {
            for chan in 0..3 {
                for corr in 0..2 {
                    let weight = if k == 0 && chan == 1 { -4.0f32 } else { 2.0 };
                    [(100 * k + 10 * i_if + chan) as f32, corr as f32, weight].iter().for_each(|v| f.0.extend(v.to_be_bytes()));
                }
            }
        }
    }
    f.fill(0);
    let be = |values: &[f64]| values.iter().flat_map(|v| v.to_be_bytes()).collect::<Vec<u8>>();
    let ints = |values: &[i32]| values.iter().flat_map(|v| v.to_be_bytes()).collect::<Vec<u8>>();
    let floats = |values: &[f32]| values.iter().flat_map(|v| v.to_be_bytes()).collect::<Vec<u8>>();
    let antenna = |name: &str, x: f64, n: i32| [format!("{name:<8}").into_bytes(), be(&[x, 2.0, 3.0]), ints(&[n])].concat();
    let columns = [("ANNAME", "8A"), ("STABXYZ", "3D"), ("NOSTA", "1J")];
    let more = |version: &str| {
        vec![("EXTVER", version.to_string()), ("RDATE", text("2009-06-18")), ("TIMSYS", text("IAT")), ("IATUTC", "34.0".to_string())]
    };
    f.table("AIPS AN", &more("1"), &columns, &[antenna("A", 10.0, 1), antenna("B", 20.0, 2), antenna("C", 30.0, 3)]);
    f.table("AIPS AN", &more("2"), &columns, &[antenna("D", 40.0, 1), antenna("E", 50.0, 2)]);
    let fq = [ints(&[1]), be(&[0.0, 1e8]), floats(&[1e6, 2e6]), ints(&[1, -1])].concat();
    f.table("AIPS FQ", &[], &[("FRQSEL", "1J"), ("IF FREQ", "2D"), ("CH WIDTH", "2E"), ("SIDEBAND", "2J")], &[fq]);
    let source = |id: i32, name: &str, ra: f64, year: f64| {
        [ints(&[id]), format!("{name:<16}").into_bytes(), be(&[ra, -10.0, year, 1.42e9])].concat()
    };
    let columns = [("ID. NO.", "1J"), ("SOURCE", "16A"), ("RAEPO", "1D"), ("DECEPO", "1D"), ("EPOCH", "1D"), ("RESTFREQ", "1D")];
    f.table("AIPS SU", &[], &columns, &[source(7, "first", 30.0, 2000.0), source(9, "second", 40.0, 1950.0)]);
    // Second source, antenna 3, all times after 500 s, IF 2, channels 2 and 3, second correlation.
    let flag = [ints(&[9, 0, 0]), ints(&[3, 0]), floats(&[0.005, 1.0]), ints(&[2, 2]), ints(&[2, 3]), vec![0b0100_0000]].concat();
    let columns = [
        ("SOURCE", "1J"),
        ("SUBARRAY", "1J"),
        ("FREQ ID", "1J"),
        ("ANTS", "2J"),
        ("TIME RANGE", "2E"),
        ("IFS", "2J"),
        ("CHANS", "2J"),
        ("PFLAGS", "4X"),
    ];
    f.table("AIPS FG", &[], &columns, &[flag]);
    std::fs::write(path, f.0).unwrap();
}

#[test]
fn sources_subarrays_atomic_time_and_flags_are_understood() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.uvfits");
    multi_source(&file);
    let set = MeasurementSet::open(import(&file, dir.path())).unwrap();
    assert_eq!(set.antennas.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(), ["A", "B", "C", "D", "E"]);
    assert_eq!(set.fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["first", "second"]);
    assert_eq!(set.fields[0].phase_center.direction().unwrap().frame, Frame::J2000);
    assert_eq!(set.fields[1].phase_center.frame, "B1950");
    assert_eq!(set.spws[0].freq_hz.to_vec(), [0.999e9, 1e9, 1.001e9]);
    assert_eq!(set.spws[1].freq_hz.to_vec(), [1.102e9, 1.1e9, 1.098e9]);
    assert_eq!(set.polarizations[0].to_vec(), [Corr::XX, Corr::YY]);
    // Rows: four groups of IF 1, then of IF 2.
    assert_eq!(set.rows.antenna1, [0, 0, 0, 3, 0, 0, 0, 3]);
    assert_eq!(set.rows.antenna2, [1, 1, 2, 4, 1, 1, 2, 4]);
    let all = |runs: &crate::ms::Runs<i32>| (0..8).map(|r| runs.get(r)).collect::<Vec<_>>();
    assert_eq!(all(&set.rows.field), [0, 1, 1, 1, 0, 1, 1, 1]);
    assert_eq!(all(&set.rows.scan), [1, 2, 2, 2, 1, 2, 2, 2]);
    // JD 2455000.5 is MJD 55000; TAI was 34 s ahead.
    assert!((set.rows.time_s.get(0) - (55_000.0 * 86_400.0 - 34.0)).abs() < 1e-4);
    assert!((set.rows.time_s.get(1) - (55_000.0 * 86_400.0 + 966.0)).abs() < 1e-2);
    with_table(&set.path, |t| {
        let flagged = |t: &mut rubbl_casatables::Table, row| Ok::<_, super::super::MsError>(array_cell::<bool>(t, "FLAG", row)?.unwrap());
        assert_eq!(flagged(t, 0)?, [false, false, true, true, false, false]);
        assert_eq!(flagged(t, 1)?, [false; 6]);
        assert_eq!(flagged(t, 2)?, [false; 6]);
        assert_eq!(flagged(t, 6)?, [false, false, false, true, false, true]);
        assert_eq!(array_cell::<f32>(t, "WEIGHT_SPECTRUM", 0)?.unwrap(), [2.0, 2.0, 4.0, 4.0, 2.0, 2.0]);
        assert_eq!(array_cell::<Complex32>(t, "DATA", 6)?.unwrap()[3], Complex32::new(211.0, 1.0));
        let uvw: Vec<f64> = array_cell(t, "UVW", 0)?.unwrap();
        assert!((uvw[2] + 899.377_374).abs() < 1e-4);
        Ok(())
    })
    .unwrap();
}

#[test]
fn what_is_no_uvfits_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.uvfits");
    let read = |file: &Path, n: usize| {
        let out = dir.path().join(format!("{n}.ms"));
        import_uvfits(file, &out, &ImportUvfitsOptions::default(), &Quiet::default())
    };
    std::fs::write(&file, "no FITS").unwrap();
    assert_eq!(read(&file, 0).unwrap_err().message, "this is no UVFITS file: it does not begin with SIMPLE");
    multi_source(&file);
    let bytes = std::fs::read(&file).unwrap();
    // Cut it is an error, unless nothing but the filling of a last block is lost; never a panic, and nothing is left behind.
    let mut whole = 0;
    for n in (0..bytes.len()).step_by(720) {
        std::fs::write(&file, &bytes[..n]).unwrap();
        whole += usize::from(read(&file, n).is_ok());
    }
    assert!(whole < bytes.len() / 720 / 4, "{whole} cut files were read");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1 + whole);
}
