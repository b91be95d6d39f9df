//! Selections of several pointings: one for each phase center.

use super::error::MsError;
use super::measurement_set::MeasurementSet;
use super::select::{Rows, Selection, select_rows};
use super::selected::Selected;
use crate::error::{Error, Result};
use crate::sky::Direction;

/// Fields that differ by less than this are one pointing: far below any beam.
const SAME_RAD: f64 = 5e-11;

impl MeasurementSet {
    /// Selects part of the set, as one selection for each phase center among its fields, in the order of the rows.
    pub fn select_pointings(&self, selection: &Selection) -> Result<Vec<Selected>> {
        let fail = |e: MsError| Error::from(e).at(&self.path);
        let rows = select_rows(self, selection).map_err(fail)?;
        let mut groups: Vec<(Direction, Rows)> = Vec::new();
        for range in rows.ranges {
            let field = &self.fields[range.2 as usize];
            let center = field.phase_center.direction();
            let center =
                center.ok_or_else(|| fail(MsError::Frame { field: field.name.clone(), frame: field.phase_center.frame.clone() }))?;
            let same = |d: &Direction| d.frame == center.frame && d.separation_rad(center) <= SAME_RAD;
            match groups.iter_mut().find(|(d, _)| same(d)) {
                Some((_, rows)) => rows.ranges.push(range),
                None => groups.push((center, Rows { ranges: vec![range] })),
            }
        }
        groups.into_iter().map(|(_, rows)| Selected::new(self, selection, rows).map_err(fail)).collect()
    }
}
