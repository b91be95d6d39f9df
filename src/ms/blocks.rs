//! Execution blocks inside one set: by gaps in time, and by OBSERVATION_ID where it says so.
//!
//! OBSERVATION_ID alone cannot be trusted: some sets number fields with it, others give two nights one id. So the rows are
//! first cut at long gaps in time, and then by id where the ids follow one another in time and are not names of fields.

use std::collections::BTreeMap;

use super::measurement_set::Metadata;

/// Gaps longer than this separate execution blocks: longer than any break for calibration, shorter than a turn-around
/// between two that were not numbered apart.
pub const DEFAULT_GAP_S: f64 = 3600.0;

/// One execution block of a set.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ExecutionBlock {
    /// Name: the set's and the number, `a#0`; the set's alone if it has one block.
    pub name: String,
    /// First and last time (centers of integrations), MJD seconds.
    pub time_s: [f64; 2],
    /// Rows.
    pub n_rows: u64,
    /// Scans in ascending order.
    pub scans: Vec<i32>,
    /// Field ids in ascending order.
    pub fields: Vec<usize>,
    /// Observation ids in ascending order.
    pub observations: Vec<i32>,
}

/// All that was observed at one time, with one observation id.
struct Instant {
    time_s: f64,
    observation: i32,
}

/// The execution blocks of a set in the order of time.
pub fn blocks(data: &Metadata, gap_s: f64) -> Vec<ExecutionBlock> {
    let starts = block_starts(data, gap_s);
    let mut blocks: Vec<ExecutionBlock> = starts.iter().map(|_| empty()).collect();
    for segment in data.rows.segments(0..data.rows.n_rows) {
        let Some(i) = block_of(&starts, segment.time_s) else { continue };
        let block = &mut blocks[i];
        block.time_s = [block.time_s[0].min(segment.time_s), block.time_s[1].max(segment.time_s)];
        block.n_rows += segment.rows.end - segment.rows.start;
        insert(&mut block.scans, segment.scan);
        insert(&mut block.fields, segment.field.max(0) as usize);
        insert(&mut block.observations, segment.observation);
    }
    let single = blocks.len() == 1;
    for (i, block) in blocks.iter_mut().enumerate() {
        block.name = if single { data.name.clone() } else { format!("{}#{i}", data.name) };
    }
    blocks
}

fn empty() -> ExecutionBlock {
    ExecutionBlock {
        name: String::new(),
        time_s: [f64::INFINITY, f64::NEG_INFINITY],
        n_rows: 0,
        scans: Vec::new(),
        fields: Vec::new(),
        observations: Vec::new(),
    }
}

fn insert<T: Ord>(sorted: &mut Vec<T>, value: T) {
    if let Err(place) = sorted.binary_search(&value) {
        sorted.insert(place, value);
    }
}

/// Times at which blocks begin, ascending.
pub fn block_starts(data: &Metadata, gap_s: f64) -> Vec<f64> {
    let instants = instants(data);
    let mut starts = Vec::new();
    for night in instants.chunk_by(|a, b| b.time_s - a.time_s <= gap_s) {
        let by_id = observations_follow_one_another(night) && !observations_name_fields(data, night);
        for (i, instant) in night.iter().enumerate() {
            if i == 0 || (by_id && instant.observation != night[i - 1].observation) {
                starts.push(instant.time_s);
            }
        }
    }
    starts
}

/// The block that a time belongs to.
pub fn block_of(starts: &[f64], time_s: f64) -> Option<usize> {
    starts.partition_point(|s| *s <= time_s).checked_sub(1)
}

fn instants(data: &Metadata) -> Vec<Instant> {
    let mut all: Vec<Instant> = data
        .rows
        .segments(0..data.rows.n_rows)
        .filter(|s| s.time_s.is_finite())
        .map(|s| Instant { time_s: s.time_s, observation: s.observation })
        .collect();
    all.sort_by(|a, b| a.time_s.total_cmp(&b.time_s).then(a.observation.cmp(&b.observation)));
    all.dedup_by(|a, b| a.time_s == b.time_s && a.observation == b.observation);
    all
}

/// True if each observation id covers one stretch of time that no other id touches.
fn observations_follow_one_another(night: &[Instant]) -> bool {
    let mut seen = Vec::new();
    for run in night.chunk_by(|a, b| a.observation == b.observation) {
        let shares_time = night.windows(2).any(|w| w[0].time_s == w[1].time_s && w[0].observation != w[1].observation);
        if seen.contains(&run[0].observation) || shares_time {
            return false;
        }
        seen.push(run[0].observation);
    }
    true
}

/// True if several observation ids of the night have one field each, and all of other names.
fn observations_name_fields(data: &Metadata, night: &[Instant]) -> bool {
    let (Some(first), Some(last)) = (night.first(), night.last()) else { return false };
    let mut names: BTreeMap<i32, Vec<&str>> = BTreeMap::new();
    for segment in data.rows.segments(0..data.rows.n_rows) {
        if segment.time_s < first.time_s || segment.time_s > last.time_s {
            continue;
        }
        let Some(field) = data.fields.get(segment.field.max(0) as usize) else { continue };
        let of_id = names.entry(segment.observation).or_default();
        if !of_id.contains(&field.name.as_str()) {
            of_id.push(&field.name);
        }
    }
    let mut all: Vec<&str> = names.values().filter(|v| v.len() == 1).map(|v| v[0]).collect();
    all.sort_unstable();
    let distinct = all.windows(2).all(|w| w[0] != w[1]);
    names.len() > 1 && all.len() == names.len() && distinct
}
