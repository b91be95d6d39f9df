//! What of a set is meant: fields, spectral windows, times and so on, as CASA users write them.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::blocks::{DEFAULT_GAP_S, block_of, block_starts};
use super::error::MsError;
use super::measurement_set::{MeasurementSet, Metadata};
use super::select_terms as terms;
use super::selected::{Selected, SpwPick};
use crate::data::Corr;
use crate::error::Result;
use crate::options;
use crate::units::Duration;

/// Names, numbers or ranges: a text with commas, a number, or an array of them; empty means everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Names(pub Vec<String>);

impl Names {
    /// From a text in which commas separate the terms.
    pub fn parse(text: &str) -> Names {
        Names(text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_string).collect())
    }
    /// True if everything is meant.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Names {
    fn from(text: &str) -> Names {
        Names::parse(text)
    }
}

impl std::fmt::Display for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

impl Serialize for Names {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Names, D::Error> {
        use serde_json::Value;
        let one = |v: &Value| match v {
            Value::String(s) => Ok(Names::parse(s).0),
            Value::Number(n) => Ok(vec![n.to_string()]),
            other => Err(serde::de::Error::custom(format!("{other} is neither a name nor a number"))),
        };
        let value = Value::deserialize(d)?;
        let terms = match &value {
            Value::Null => Ok(Vec::new()),
            Value::Array(items) => items.iter().map(one).collect::<Result<Vec<_>, _>>().map(|v| v.concat()),
            other => one(other),
        };
        terms.map(Names)
    }
}

options! {
    /// Which part of a set is read. Terms are joined by commas; everything is selected where nothing is said.
    pub struct Selection {
        /// Fields by name, name with `*`, id, or range of ids `0~3`.
        [""] field: Names = Names::default(),
        /// Spectral windows by id, name with `*`, or a frequency inside them (`217.1GHz`, `217~218GHz`), each with channels after a colon: `0:5~60;70~80`, `1:217.1~217.3GHz`.
        [""] spw: Names = Names::default(),
        /// Scan numbers or ranges, `3,5~8`.
        [""] scan: Names = Names::default(),
        /// UTC times: `2012/06/03/03:20:00~2012/06/03/04:00:00`, or open with `>` or `<`.
        [""] time: Names = Names::default(),
        /// Baselines with an antenna (`DA41`, or its id), between two (`DA41&DV02`), or without one (`!DA41`).
        [""] antenna: Names = Names::default(),
        /// Lengths of baselines, projected: `0~500klambda`, `>100m`, `<1Mlambda`.
        [""] uvrange: Names = Names::default(),
        /// Correlations, `XX,YY`.
        [""] corr: Names = Names::default(),
        /// Execution blocks by number, in the order of time.
        [""] block: Names = Names::default(),
        /// A gap in time longer than this separates execution blocks.
        ["s"] block_gap: Duration = Duration(DEFAULT_GAP_S),
        /// Observation ids or ranges.
        [""] observation: Names = Names::default(),
        /// Intents, with `*`: `*OBSERVE_TARGET*`.
        [""] intent: Names = Names::default(),
        /// Column of visibilities; `auto` is CORRECTED_DATA where present, else DATA.
        [""] datacolumn: String = "auto".to_string(),
    }
}

/// Rows that pass every criterion, as ranges of consecutive rows of one data description and field.
pub(crate) struct Rows {
    /// (rows, data description, field).
    pub ranges: Vec<(Range<u64>, usize, i32)>,
}

impl MeasurementSet {
    /// Selects part of the set for reading block by block; all selected fields must share one phase center.
    pub fn select(&self, selection: &Selection) -> Result<Selected> {
        let rows = select_rows(self, selection).map_err(|e| self.error(e))?;
        Selected::new(self, selection, rows).map_err(|e| self.error(e))
    }

    fn error(&self, e: MsError) -> crate::error::Error {
        crate::error::Error::from(e).at(&self.path)
    }

    /// The columns that `datacolumn` may mean; the first that a set has is meant.
    pub fn data_column_names(wanted: &str) -> Vec<String> {
        if wanted == "auto" {
            return ["CORRECTED_DATA", "DATA"].map(str::to_string).to_vec();
        }
        // CASA's tasks say "corrected" and "model".
        let upper = wanted.to_uppercase();
        vec![wanted.to_string(), upper.clone(), format!("{upper}_DATA")]
    }

    /// The column that `datacolumn` means for this set.
    pub fn data_column(&self, wanted: &str) -> Result<String, MsError> {
        let existing = || self.columns.iter().filter(|c| c.contains("DATA") && !c.starts_with("DATA_DESC")).cloned().collect::<Vec<_>>();
        if let Some(found) = MeasurementSet::data_column_names(wanted).into_iter().find(|n| self.has_column(n)) {
            return Ok(found);
        }
        if wanted == "auto" {
            return Err(MsError::NoColumn { column: "DATA".into(), nearest: None, existing: existing() });
        }
        let existing = existing();
        let nearest = crate::options::nearest(wanted, existing.iter().map(String::as_str)).map(str::to_string);
        Err(MsError::NoColumn { column: wanted.to_string(), nearest, existing })
    }
}

/// What is left of each spectral window: its channels.
pub(crate) fn spw_picks(data: &Metadata, spw: &Names) -> Result<Vec<Option<SpwPick>>, MsError> {
    if spw.is_all() {
        return Ok(data.spws.iter().map(|_| Some(SpwPick::All)).collect());
    }
    let mut picks: Vec<Option<Vec<bool>>> = vec![None; data.spws.len()];
    for term in &spw.0 {
        for (i, channels) in terms::spw(data, term)? {
            let kept = picks[i].get_or_insert_with(|| vec![false; data.spws[i].freq_hz.len()]);
            for c in channels {
                kept[c] = true;
            }
        }
    }
    Ok(picks.into_iter().map(|p| p.map(SpwPick::from_kept)).collect())
}

/// Indices along the correlation axis for each polarization id, `None` where nothing is left.
pub(crate) fn corr_picks(data: &Metadata, corr: &Names) -> Result<Vec<Option<Vec<usize>>>, MsError> {
    let mut wanted = Vec::new();
    for term in &corr.0 {
        wanted.push(Corr::from_name(term).ok_or_else(|| terms::unknown_corr(data, term))?);
    }
    let picks: Vec<Option<Vec<usize>>> = data
        .polarizations
        .iter()
        .map(|have| (0..have.len()).filter(|i| wanted.is_empty() || wanted.contains(&have[*i])).collect::<Vec<_>>())
        .map(|indices| (!indices.is_empty()).then_some(indices))
        .collect();
    match wanted.iter().zip(&corr.0).find(|(w, _)| !data.polarizations.iter().any(|have| have.contains(w))) {
        Some((_, term)) => Err(terms::unknown_corr(data, term)),
        None => Ok(picks),
    }
}

pub(crate) fn select_rows(ms: &MeasurementSet, selection: &Selection) -> Result<Rows, MsError> {
    let data: &Metadata = ms;
    let mut left = Left { segments: data.rows.segments(0..data.rows.n_rows).collect(), rows: data.rows.n_rows };
    if left.rows == 0 {
        return Err(MsError::NoRows);
    }
    let picks = spw_picks(data, &selection.spw)?;
    let corrs = corr_picks(data, &selection.corr)?;

    let fields = terms::fields(data, &selection.field)?;
    left.keep("field", &selection.field, || terms::list_fields(data), |s| fields[s.field as usize])?;
    left.keep("spw", &selection.spw, || terms::list_spws(data), |s| picks[data.data_descriptions[s.data_desc as usize].spw].is_some())?;
    left.keep(
        "corr",
        &selection.corr,
        || terms::list_corrs(data),
        |s| corrs[data.data_descriptions[s.data_desc as usize].polarization].is_some(),
    )?;
    let scans = terms::numbers("scan", &selection.scan)?;
    left.keep("scan", &selection.scan, || terms::list_scans(data), |s| scans.contains(i64::from(s.scan)))?;
    let observations = terms::numbers("observation", &selection.observation)?;
    left.keep(
        "observation",
        &selection.observation,
        || terms::list_observations(data),
        |s| observations.contains(i64::from(s.observation)),
    )?;
    let intents = terms::intents(data, &selection.intent)?;
    left.keep("intent", &selection.intent, || data.states.join(" | "), |s| intents.get(s.state.max(0) as usize).copied().unwrap_or(false))?;
    if !selection.block.is_all() {
        let starts = block_starts(data, selection.block_gap.0);
        let wanted = terms::blocks(data, &selection.block, starts.len())?;
        left.keep(
            "block",
            &selection.block,
            || format!("blocks 0 to {}", starts.len() - 1),
            |s| block_of(&starts, s.time_s).is_some_and(|b| wanted.contains(b as i64)),
        )?;
    }
    let times = terms::times(&selection.time)?;
    left.keep("time", &selection.time, || terms::list_times(data), |s| times.iter().any(|t| t.contains(s.time_s)))?;
    left.by_row(ms, selection)
}

/// The rows that are left, criterion after criterion.
struct Left {
    segments: Vec<super::rows::Segment>,
    rows: u64,
}

impl Left {
    fn keep(
        &mut self,
        name: &str,
        given: &Names,
        existing: impl FnOnce() -> String,
        test: impl Fn(&super::rows::Segment) -> bool,
    ) -> Result<(), MsError> {
        if given.is_all() {
            return Ok(());
        }
        let before = self.rows;
        self.segments.retain(|s| test(s));
        self.rows = self.segments.iter().map(|s| s.rows.end - s.rows.start).sum();
        if self.rows > 0 {
            return Ok(());
        }
        Err(MsError::Empty { criterion: format!("{name} \"{given}\""), before, existing: existing() })
    }

    /// The criteria that differ from row to row, and joining what lies together.
    fn by_row(self, ms: &MeasurementSet, selection: &Selection) -> Result<Rows, MsError> {
        let antennas = terms::antennas(ms, &selection.antenna)?;
        let lengths = terms::uvrange(&selection.uvrange)?;
        let mut ranges: Vec<(Range<u64>, usize, i32)> = Vec::new();
        let mut push = |rows: Range<u64>, dd: i32, field: i32| match ranges.last_mut() {
            Some((last, d, f)) if last.end == rows.start && *d == dd as usize && *f == field => last.end = rows.end,
            _ => ranges.push((rows, dd as usize, field)),
        };
        if antennas.is_all() && lengths.is_empty() {
            for s in self.segments {
                push(s.rows, s.data_desc, s.field);
            }
            return Ok(Rows { ranges });
        }
        let uvw = if lengths.is_empty() { None } else { Some(ms.reader("UVW")?) };
        let mut uvw_m: Vec<f64> = Vec::new();
        let (mut after_antenna, mut kept) = (0u64, 0u64);
        for s in &self.segments {
            let freq_hz = ms.spws[ms.data_descriptions[s.data_desc as usize].spw].center_hz();
            if let Some(uvw) = &uvw {
                uvw_m.resize(3 * (s.rows.end - s.rows.start) as usize, 0.0);
                uvw.read(s.rows.start, (s.rows.end - s.rows.start) as usize, &mut uvw_m)?;
            }
            for (i, row) in s.rows.clone().enumerate() {
                if !antennas.contains(ms.rows.antenna1[row as usize], ms.rows.antenna2[row as usize]) {
                    continue;
                }
                after_antenna += 1;
                let near = || uvw_m[3 * i].hypot(uvw_m[3 * i + 1]);
                if lengths.is_empty() || lengths.iter().any(|l| l.contains(near(), freq_hz)) {
                    kept += 1;
                    push(row..row + 1, s.data_desc, s.field);
                }
            }
        }
        if after_antenna == 0 {
            let names = ms.antennas.iter().map(|a| a.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(MsError::Empty { criterion: format!("antenna \"{}\"", selection.antenna), before: self.rows, existing: names });
        }
        if kept == 0 {
            return Err(MsError::Empty {
                criterion: format!("uvrange \"{}\"", selection.uvrange),
                before: after_antenna,
                existing: String::new(),
            });
        }
        Ok(Rows { ranges })
    }
}

/// The spectral windows of `data` that cover the range of a reference spectral window, by frequency.
///
/// Blocks differ by their Doppler shift, and a concatenated set has one window for each: a window matches if the part that
/// both cover is at least `min_overlap` of the wider of the two.
pub fn matching_spws(data: &Metadata, range_hz: (f64, f64), min_overlap: f64) -> Vec<usize> {
    let (low, high) = range_hz;
    (0..data.spws.len())
        .filter(|i| {
            let (a, b) = data.spws[*i].range_hz();
            let shared = b.min(high) - a.max(low);
            shared > 0.0 && shared >= min_overlap * (b - a).max(high - low)
        })
        .collect()
}

/// Shared empty slice type of corr lists.
pub(crate) fn corr_list(have: &[Corr], indices: &[usize]) -> Arc<[Corr]> {
    indices.iter().map(|i| have[*i]).collect()
}
