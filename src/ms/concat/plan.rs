//! Which antenna, field, window of each set becomes which of the joined one.

use super::super::measurement_set::{Antenna, DataDescription, Field, MeasurementSet, Spw};
use super::ConcatOptions;
use crate::data::Corr;
use crate::error::{Error, Result};

/// New ids of one set, by old id.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ids {
    /// Antennas.
    pub antenna: Vec<i32>,
    /// Spectral windows.
    pub spw: Vec<i32>,
    /// Correlation setups.
    pub polarization: Vec<i32>,
    /// Data descriptions.
    pub data_desc: Vec<i32>,
    /// Fields.
    pub field: Vec<i32>,
    /// Sources, by SOURCE_ID.
    pub source: Vec<(i32, i32)>,
    /// Added to observation ids.
    pub observation: i32,
    /// Added to scan numbers.
    pub scan: i32,
}

/// The joined tables and the way of each set into them.
#[derive(Debug, Default)]
pub struct Plan {
    /// Ids of each set.
    pub ids: Vec<Ids>,
    antennas: Vec<Antenna>,
    spws: Vec<Spw>,
    polarizations: Vec<std::sync::Arc<[Corr]>>,
    /// Data descriptions of the joined set.
    pub data_descriptions: Vec<DataDescription>,
    fields: Vec<Field>,
    observations: i32,
    last_scan: Option<i32>,
    last_source: i32,
}

/// Antennas of one name on one pad are one antenna if they stand no farther apart, metres: pads are measured anew.
const SAME_PLACE_M: f64 = 1.0;

impl Plan {
    /// Merges the tables of the sets one after the other; ids of the first set stay.
    pub fn new(sets: &[MeasurementSet], options: &ConcatOptions) -> Result<Plan> {
        let mut plan = Plan { last_source: -1, ..Plan::default() };
        for set in sets {
            let ids = plan.merge(set, options);
            plan.ids.push(ids);
        }
        let rows: u64 = sets.iter().map(|s| s.rows.n_rows).sum();
        if rows > u64::from(u32::MAX) {
            return Err(Error::data(format!("{rows} rows together: a table takes at most 2^32")).hint("join fewer sets"));
        }
        Ok(plan)
    }

    /// The correlations of a data description of the joined set.
    pub fn corrs(&self, data_desc: i32) -> &[Corr] {
        let polarization = usize::try_from(data_desc).ok().and_then(|i| self.data_descriptions.get(i)).map(|d| d.polarization);
        polarization.and_then(|p| self.polarizations.get(p)).map_or(&[], |c| c)
    }

    fn merge(&mut self, set: &MeasurementSet, options: &ConcatOptions) -> Ids {
        let antenna = merge(&mut self.antennas, &set.antennas, same_antenna);
        let spw = merge(&mut self.spws, &set.spws, |a, b| same_spw(a, b, options.frequency_tolerance.0));
        let polarization = merge(&mut self.polarizations, &set.polarizations, |a, b| a == b);
        let described: Vec<DataDescription> = set
            .data_descriptions
            .iter()
            .map(|d| DataDescription { spw: spw[d.spw] as usize, polarization: polarization[d.polarization] as usize })
            .collect();
        // By what the setups are, not by their ids: a set may hold two equal ones.
        let setups = &self.polarizations;
        let same = |a: &DataDescription, b: &DataDescription| a.spw == b.spw && setups[a.polarization] == setups[b.polarization];
        let data_desc = merge(&mut self.data_descriptions, &described, same);
        let (field, source) = self.merge_fields(set, options);
        let observation = self.observations;
        // A set without a row of OBSERVATION is given one.
        self.observations += (set.observations.len() as i32).max(1);
        Ids { antenna, spw, polarization, data_desc, field, source, observation, scan: self.scan_offset(set) }
    }

    fn merge_fields(&mut self, set: &MeasurementSet, options: &ConcatOptions) -> (Vec<i32>, Vec<(i32, i32)>) {
        let mut source: Vec<(i32, i32)> = Vec::new();
        let n_before = self.fields.len();
        let field = merge(&mut self.fields, &set.fields, |a, b| same_field(a, b, options.direction_tolerance.0));
        for (old, new) in set.fields.iter().zip(&field) {
            if old.source_id < 0 || source.iter().any(|(id, _)| *id == old.source_id) {
                continue;
            }
            let merged = (*new as usize) < n_before;
            let id = if n_before == 0 {
                old.source_id
            } else if merged {
                self.fields[*new as usize].source_id
            } else {
                self.last_source + 1
            };
            source.push((old.source_id, id));
            self.last_source = self.last_source.max(id);
        }
        for f in &mut self.fields[n_before..] {
            f.source_id = source.iter().find(|(old, _)| *old == f.source_id).map_or(-1, |(_, new)| *new);
        }
        (field, source)
    }

    /// Scans follow those of the sets before, unless their numbers are free.
    fn scan_offset(&mut self, set: &MeasurementSet) -> i32 {
        let scans = set.rows.scan.values();
        let (Some(low), Some(high)) = (scans.iter().min(), scans.iter().max()) else { return 0 };
        let offset = self.last_scan.map_or(0, |last| (last + 1 - low).max(0));
        self.last_scan = Some(self.last_scan.unwrap_or(i32::MIN).max(high + offset));
        offset
    }
}

/// Finds each of `new` among the merged ones, or adds it; returns its id.
fn merge<T: Clone>(merged: &mut Vec<T>, new: &[T], same: impl Fn(&T, &T) -> bool) -> Vec<i32> {
    // Only those of earlier sets are candidates: two entries of one set that look alike stay two, as its makers meant.
    let n_before = merged.len();
    let mut ids = Vec::with_capacity(new.len());
    for entry in new {
        let found = merged[..n_before].iter().position(|m| same(m, entry));
        if found.is_none() {
            merged.push(entry.clone());
        }
        ids.push(found.unwrap_or(merged.len() - 1) as i32);
    }
    ids
}

fn same_antenna(a: &Antenna, b: &Antenna) -> bool {
    let apart: f64 = (0..3).map(|i| (a.position_m[i] - b.position_m[i]).powi(2)).sum();
    a.name == b.name && a.station == b.station && apart <= SAME_PLACE_M * SAME_PLACE_M
}

fn same_spw(a: &Spw, b: &Spw, tolerance_hz: f64) -> bool {
    let close = |x: &[f64], y: &[f64]| x.len() == y.len() && x.iter().zip(y).all(|(p, q)| (p - q).abs() <= tolerance_hz);
    a.frame == b.frame && close(&a.freq_hz, &b.freq_hz) && close(&a.width_hz, &b.width_hz)
}

fn same_field(a: &Field, b: &Field, tolerance_rad: f64) -> bool {
    if a.name != b.name || a.phase_center.moves || b.phase_center.moves {
        return a.name == b.name && a.phase_center == b.phase_center;
    }
    match (a.phase_center.direction(), b.phase_center.direction()) {
        (Some(p), Some(q)) => q.in_frame(p.frame).is_some_and(|q| p.separation_rad(q) <= tolerance_rad),
        _ => a.phase_center == b.phase_center,
    }
}
