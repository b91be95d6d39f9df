//! What a set holds, as users of `listobs` look for it: values for scripts, and a text to read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;

use super::blocks::{DEFAULT_GAP_S, ExecutionBlock, blocks};
use super::error::MsError;
use super::measurement_set::{MeasurementSet, Metadata};
use super::select_terms::show_time;
use crate::error::Result;
use crate::notice::Reporter;

/// What a set holds.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Summary {
    /// Name of the set.
    pub name: String,
    /// Telescopes.
    pub telescopes: Vec<String>,
    /// Observers.
    pub observers: Vec<String>,
    /// Projects.
    pub projects: Vec<String>,
    /// First and last time (centers of integrations), MJD seconds UTC.
    pub time_s: [f64; 2],
    /// Rows.
    pub n_rows: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Columns of visibilities.
    pub data_columns: Vec<String>,
    /// True if every channel has its own weight.
    pub weight_spectrum: bool,
    /// Length of most integrations, seconds.
    pub integration_s: f64,
    /// Part of the samples that is flagged, by FLAG or FLAG_ROW.
    pub flagged_fraction: f64,
    /// Fields with rows.
    pub fields: Vec<FieldSummary>,
    /// Spectral windows with rows.
    pub spws: Vec<SpwSummary>,
    /// Scans.
    pub scans: Vec<ScanSummary>,
    /// Execution blocks.
    pub blocks: Vec<ExecutionBlock>,
    /// Antennas with data.
    pub antennas: Vec<AntennaSummary>,
    /// Number of baselines with data, autocorrelations left out.
    pub n_baselines: usize,
    /// Shortest and longest distance between two of those antennas, metres.
    pub baseline_m: [f64; 2],
}

/// A field with rows.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FieldSummary {
    /// Field id.
    pub id: usize,
    /// Name.
    pub name: String,
    /// Right ascension, rad.
    pub ra_rad: f64,
    /// Declination, rad.
    pub dec_rad: f64,
    /// Frame.
    pub frame: String,
    /// The direction as CASA prints it.
    pub direction: String,
    /// Rows.
    pub n_rows: u64,
}

/// A spectral window with rows.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct SpwSummary {
    /// Spectral window id.
    pub id: usize,
    /// Name.
    pub name: String,
    /// Channels.
    pub n_chan: usize,
    /// Frame of the frequencies.
    pub frame: String,
    /// Lowest and highest frequency, channel edges included, Hz.
    pub freq_hz: [f64; 2],
    /// Width of the first channel, Hz.
    pub width_hz: f64,
    /// Correlations.
    pub corr: Vec<String>,
    /// Rows.
    pub n_rows: u64,
    /// Part of the samples that is flagged.
    pub flagged_fraction: f64,
}

/// A scan.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ScanSummary {
    /// Scan number.
    pub scan: i32,
    /// Observation id.
    pub observation: i32,
    /// First and last time, MJD seconds UTC.
    pub time_s: [f64; 2],
    /// Field ids.
    pub fields: Vec<usize>,
    /// Spectral window ids.
    pub spws: Vec<usize>,
    /// Intents.
    pub intents: Vec<String>,
    /// Rows.
    pub n_rows: u64,
}

/// An antenna with data.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct AntennaSummary {
    /// Antenna id.
    pub id: usize,
    /// Name.
    pub name: String,
    /// Pad.
    pub station: String,
    /// Dish diameter, metres.
    pub dish_m: f64,
}

/// Summarizes a set; reads FLAG once.
pub fn summary(ms: &MeasurementSet, notice: &dyn Reporter) -> Result<Summary> {
    let flags = flags(ms, notice).map_err(|e| e.at(&ms.path))?;
    let total: (u64, u64) = flags.iter().fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    let (antennas, pairs) = antennas(ms);
    let distinct = |text: fn(&super::Observation) -> &String| {
        ms.observations.iter().map(text).filter(|t| !t.is_empty()).cloned().collect::<BTreeSet<_>>().into_iter().collect()
    };
    Ok(Summary {
        name: ms.name.clone(),
        telescopes: distinct(|o| &o.telescope),
        observers: distinct(|o| &o.observer),
        projects: distinct(|o| &o.project),
        time_s: time_range(ms),
        n_rows: ms.rows.n_rows,
        bytes: size_of_folder(&ms.path),
        data_columns: ms.visibility_columns(),
        weight_spectrum: ms.has_column("WEIGHT_SPECTRUM"),
        integration_s: integration(ms),
        flagged_fraction: fraction(total),
        fields: fields(ms),
        spws: spws(ms, &flags),
        scans: scans(ms),
        blocks: blocks(ms, DEFAULT_GAP_S),
        n_baselines: pairs.len(),
        baseline_m: lengths(ms, &pairs),
        antennas,
    })
}

fn fraction((flagged, all): (u64, u64)) -> f64 {
    if all == 0 { 0.0 } else { flagged as f64 / all as f64 }
}

/// Flagged and all samples of each data description.
fn flags(ms: &MeasurementSet, notice: &dyn Reporter) -> Result<Vec<(u64, u64)>> {
    const SAMPLES: u64 = 1 << 20;
    let reader = ms.reader("FLAG")?;
    let mut pieces: Vec<(Range<u64>, usize)> = Vec::new();
    for (rows, dd) in ms.rows.data_desc.iter() {
        let d = ms.data_descriptions[dd as usize];
        let cell = (ms.spws[d.spw].freq_hz.len() * ms.polarizations[d.polarization].len()).max(1) as u64;
        let step = (SAMPLES / cell).max(1);
        let mut start = rows.start;
        while start < rows.end {
            pieces.push((start..rows.end.min(start + step), dd as usize));
            start += step;
        }
    }
    let counts = pieces.par_iter().map(|(rows, dd)| -> Result<(usize, u64, u64)> {
        notice.check()?;
        let (flagged, all) = count(ms, &reader, rows, *dd)?;
        Ok((*dd, flagged, all))
    });
    let mut totals = vec![(0, 0); ms.data_descriptions.len()];
    for (dd, flagged, all) in counts.collect::<Result<Vec<_>>>()? {
        totals[dd].0 += flagged;
        totals[dd].1 += all;
    }
    Ok(totals)
}

fn count(ms: &MeasurementSet, reader: &super::ColumnReader, rows: &Range<u64>, dd: usize) -> Result<(u64, u64), MsError> {
    let d = ms.data_descriptions[dd];
    let cell = ms.spws[d.spw].freq_hz.len() * ms.polarizations[d.polarization].len();
    let n = (rows.end - rows.start) as usize;
    let mut flag = vec![false; n * cell];
    reader.read(rows.start, n, &mut flag)?;
    for (whole, _) in ms.rows.flag_row.within(rows.clone()).filter(|(_, f)| *f) {
        flag[(whole.start - rows.start) as usize * cell..(whole.end - rows.start) as usize * cell].fill(true);
    }
    Ok((flag.iter().map(|f| u64::from(*f)).sum(), flag.len() as u64))
}

fn time_range(data: &Metadata) -> [f64; 2] {
    data.rows.time_s.values().iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], t| [a.min(*t), b.max(*t)])
}

/// The length that most rows have.
fn integration(data: &Metadata) -> f64 {
    let mut rows: BTreeMap<u64, u64> = BTreeMap::new();
    for (range, interval) in data.rows.interval_s.iter() {
        *rows.entry(interval.to_bits()).or_default() += range.end - range.start;
    }
    rows.into_iter().max_by_key(|(_, n)| *n).map_or(0.0, |(bits, _)| f64::from_bits(bits))
}

fn size_of_folder(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    let size = |e: std::fs::DirEntry| match e.metadata() {
        Ok(m) if m.is_dir() => size_of_folder(&e.path()),
        Ok(m) => m.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

fn rows_by<K: Ord>(runs: impl Iterator<Item = (Range<u64>, K)>) -> BTreeMap<K, u64> {
    let mut rows = BTreeMap::new();
    for (range, key) in runs {
        *rows.entry(key).or_insert(0) += range.end - range.start;
    }
    rows
}

fn fields(data: &Metadata) -> Vec<FieldSummary> {
    rows_by(data.rows.field.iter())
        .into_iter()
        .map(|(id, n_rows)| {
            let (id, field) = (id as usize, &data.fields[id as usize]);
            let center = &field.phase_center;
            // Only the writing of the angles is wanted: the frame is named beside it.
            let angles = crate::sky::Direction::new(center.ra_rad, center.dec_rad, crate::sky::Frame::Icrs);
            FieldSummary {
                id,
                name: field.name.clone(),
                ra_rad: center.ra_rad,
                dec_rad: center.dec_rad,
                frame: center.frame.clone(),
                direction: angles.sexagesimal(),
                n_rows,
            }
        })
        .collect()
}

fn spws(data: &Metadata, flags: &[(u64, u64)]) -> Vec<SpwSummary> {
    let mut out: Vec<SpwSummary> = Vec::new();
    for (dd, n_rows) in rows_by(data.rows.data_desc.iter()) {
        let d = data.data_descriptions[dd as usize];
        let spw = &data.spws[d.spw];
        let (low, high) = spw.range_hz();
        out.push(SpwSummary {
            id: d.spw,
            name: spw.name.clone(),
            n_chan: spw.freq_hz.len(),
            frame: spw.frame.clone(),
            freq_hz: [low, high],
            width_hz: spw.width_hz.first().copied().unwrap_or(0.0),
            corr: data.polarizations[d.polarization].iter().map(|c| c.name().to_string()).collect(),
            n_rows,
            flagged_fraction: fraction(flags[dd as usize]),
        });
    }
    out.sort_by_key(|s| s.id);
    out
}

fn scans(data: &Metadata) -> Vec<ScanSummary> {
    let mut scans: BTreeMap<(i32, i32), ScanSummary> = BTreeMap::new();
    for s in data.rows.segments(0..data.rows.n_rows) {
        let scan = scans.entry((s.observation, s.scan)).or_insert_with(|| ScanSummary {
            scan: s.scan,
            observation: s.observation,
            time_s: [f64::INFINITY, f64::NEG_INFINITY],
            fields: Vec::new(),
            spws: Vec::new(),
            intents: Vec::new(),
            n_rows: 0,
        });
        scan.time_s = [scan.time_s[0].min(s.time_s), scan.time_s[1].max(s.time_s)];
        scan.n_rows += s.rows.end - s.rows.start;
        insert(&mut scan.fields, s.field as usize);
        insert(&mut scan.spws, data.data_descriptions[s.data_desc as usize].spw);
        if let Some(intent) = data.states.get(s.state.max(0) as usize).filter(|t| s.state >= 0 && !t.is_empty()) {
            insert(&mut scan.intents, intent.clone());
        }
    }
    let mut scans: Vec<ScanSummary> = scans.into_values().collect();
    scans.sort_by(|a, b| a.time_s[0].total_cmp(&b.time_s[0]).then(a.scan.cmp(&b.scan)));
    scans
}

fn insert<T: Ord>(sorted: &mut Vec<T>, value: T) {
    if let Err(place) = sorted.binary_search(&value) {
        sorted.insert(place, value);
    }
}

/// The antennas with data, and the pairs of different ones.
fn antennas(data: &Metadata) -> (Vec<AntennaSummary>, BTreeSet<(u16, u16)>) {
    let n = data.antennas.len();
    let mut seen = vec![false; n * n];
    for (a, b) in data.rows.antenna1.iter().zip(&data.rows.antenna2) {
        seen[usize::from(*a) * n + usize::from(*b)] = true;
    }
    let used = |i: usize| (0..n).any(|k| seen[i * n + k] || seen[k * n + i]);
    let list = (0..n).filter(|i| used(*i)).map(|id| {
        let a = &data.antennas[id];
        AntennaSummary { id, name: a.name.clone(), station: a.station.clone(), dish_m: a.dish_m }
    });
    let pairs = (0..n * n).filter(|i| seen[*i] && i / n != i % n).map(|i| ((i / n).min(i % n) as u16, (i / n).max(i % n) as u16));
    (list.collect(), pairs.collect())
}

fn lengths(data: &Metadata, pairs: &BTreeSet<(u16, u16)>) -> [f64; 2] {
    let length = |(a, b): &(u16, u16)| {
        let (p, q) = (data.antennas[usize::from(*a)].position_m, data.antennas[usize::from(*b)].position_m);
        (0..3).map(|k| (p[k] - q[k]).powi(2)).sum::<f64>().sqrt()
    };
    let range = pairs.iter().map(length).fold([f64::INFINITY, 0.0], |[a, b], l| [a.min(l), b.max(l)]);
    if pairs.is_empty() { [0.0, 0.0] } else { range }
}

impl Summary {
    /// The summary as a text to read.
    pub fn text(&self) -> String {
        let mut t = String::new();
        self.write(&mut t).map(|()| t).unwrap_or_default()
    }

    fn write(&self, t: &mut String) -> std::fmt::Result {
        let list = |items: &[String]| if items.is_empty() { "unknown".to_string() } else { items.join(", ") };
        let weights = if self.weight_spectrum { ", a weight for each channel" } else { "" };
        writeln!(t, "{}: {} rows, {} ({}{weights})", self.name, self.n_rows, bytes(self.bytes), self.data_columns.join(", "))?;
        writeln!(t, "telescope {}   observer {}   project {}", list(&self.telescopes), list(&self.observers), list(&self.projects))?;
        let minutes = (self.time_s[1] - self.time_s[0] + self.integration_s) / 60.0;
        writeln!(
            t,
            "{} to {} UTC ({minutes:.1} min), integrations of {} s",
            show_time(self.time_s[0]),
            show_time(self.time_s[1]),
            number(self.integration_s)
        )?;
        let [short, long] = self.baseline_m;
        writeln!(
            t,
            "{} antennas, {} baselines of {short:.1} to {long:.1} m; {:.2} % flagged",
            self.antennas.len(),
            self.n_baselines,
            100.0 * self.flagged_fraction
        )?;

        writeln!(t, "\nfield  name                 direction                                      rows")?;
        for f in &self.fields {
            writeln!(t, "{:>5}  {:<20} {:<8} {:<32} {:>10}", f.id, f.name, f.frame, f.direction, f.n_rows)?;
        }
        writeln!(
            t,
            "\n  spw  name                 channels  frame        from GHz          to GHz   width kHz  corr           rows  flagged"
        )?;
        for s in &self.spws {
            writeln!(
                t,
                "{:>5}  {:<20} {:>8}  {:<5} {:>15.6} {:>15.6} {:>11.3}  {:<11} {:>7} {:>7.2}%",
                s.id,
                s.name,
                s.n_chan,
                s.frame,
                s.freq_hz[0] / 1e9,
                s.freq_hz[1] / 1e9,
                s.width_hz / 1e3,
                s.corr.join(" "),
                s.n_rows,
                100.0 * s.flagged_fraction
            )?;
        }
        writeln!(t, "\n scan  obs  from                    to                      field      spw              rows  intent")?;
        for s in &self.scans {
            let (fields, spws) = (ids(&s.fields), ids(&s.spws));
            let line = format!(
                "{:>5} {:>4}  {} - {}   {fields:<10} {spws:<12} {:>8}  {}",
                s.scan,
                s.observation,
                show_time(s.time_s[0]),
                show_time(s.time_s[1]),
                s.n_rows,
                s.intents.join(" | ")
            );
            writeln!(t, "{}", line.trim_end())?;
        }
        if self.blocks.len() > 1 {
            writeln!(t, "\nblock  name                 from                    to                          rows  scans")?;
            for (i, b) in self.blocks.iter().enumerate() {
                let scans: Vec<usize> = b.scans.iter().map(|s| (*s).max(0) as usize).collect();
                writeln!(
                    t,
                    "{i:>5}  {:<20} {} - {} {:>10}  {}",
                    b.name,
                    show_time(b.time_s[0]),
                    show_time(b.time_s[1]),
                    b.n_rows,
                    ids(&scans)
                )?;
            }
        }
        let antennas: Vec<String> =
            self.antennas.iter().map(|a| format!("{} {}{} {} m", a.id, a.name, on(&a.station), number(a.dish_m))).collect();
        writeln!(t, "\nantennas: {}", antennas.join(", "))
    }
}

fn on(station: &str) -> String {
    if station.is_empty() { String::new() } else { format!("@{station}") }
}

/// Up to four digits, without zeros at the end.
fn number(x: f64) -> String {
    let text = format!("{x:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

fn bytes(n: u64) -> String {
    match n {
        0..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}

/// `[0, 1, 2, 5]` as `0~2,5`.
fn ids(sorted: &[usize]) -> String {
    let runs = sorted.chunk_by(|a, b| *b == a + 1);
    let show = |run: &[usize]| match run {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}~{last}"),
        [] => String::new(),
    };
    runs.map(show).collect::<Vec<_>>().join(",")
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text())
    }
}
