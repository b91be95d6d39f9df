//! The directions that fields are labelled with, and writing them into FIELD and SOURCE.

use std::path::Path;

use rubbl_casatables::{Array, Table};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::casacore::{self, array_cell, casacore as failed, with_table_mut};
use super::error::MsError;
use super::measurement_set::MeasurementSet;
use super::subtables_read::{DIRECTION_FRAMES, Reference};
use crate::sky::{Direction, Frame};

/// One direction for all fields, or one for each name.
#[derive(Debug, Clone, PartialEq)]
pub enum Labels {
    /// The same for every field.
    One(Direction),
    /// By name of the field.
    ByField(Vec<(String, Direction)>),
}

impl Labels {
    /// The phase centers of another set, by name of the field.
    pub fn of(reference: &MeasurementSet) -> Labels {
        let named = reference.fields.iter().filter_map(|f| Some((f.name.clone(), f.phase_center.direction()?)));
        Labels::ByField(named.collect())
    }

    /// The label of a field.
    pub fn get(&self, field: &str) -> Option<Direction> {
        match self {
            Labels::One(direction) => Some(*direction),
            Labels::ByField(all) => all.iter().find(|(name, _)| name == field).map(|(_, d)| *d),
        }
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Labels::One(direction) => s.collect_str(direction),
            Labels::ByField(all) => s.collect_map(all.iter().map(|(name, d)| (name, d.to_string()))),
        }
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Labels, D::Error> {
        use serde::de::Error;
        let direction = |v: &serde_json::Value| serde_json::from_value::<Direction>(v.clone()).map_err(D::Error::custom);
        match serde_json::Value::deserialize(d)? {
            serde_json::Value::Object(map) if !map.contains_key("ra_rad") => {
                map.iter().map(|(name, v)| Ok((name.clone(), direction(v)?))).collect::<Result<_, _>>().map(Labels::ByField)
            }
            one => direction(&one).map(Labels::One),
        }
    }
}

/// The label of one field, and of its source if that is not shared with fields of another label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FieldLabel {
    /// Field id.
    pub field: usize,
    /// New direction, in any frame.
    pub direction: Direction,
    /// Id in SOURCE whose rows get the label too.
    pub source: Option<i32>,
}

/// Writes labels into FIELD and SOURCE of a set, each in the frame of its column and row.
pub fn relabel(set: &Path, labels: &[FieldLabel]) -> Result<(), MsError> {
    with_table_mut(&set.join("FIELD"), |t| {
        let columns = t.column_names().map_err(|e| failed("read the columns of FIELD", e))?;
        for column in ["PHASE_DIR", "DELAY_DIR", "REFERENCE_DIR"].iter().filter(|c| columns.iter().any(|n| n == *c)) {
            let targets: Vec<(u64, Direction)> = labels.iter().map(|l| (l.field as u64, l.direction)).collect();
            put_directions(t, column, &targets)?;
        }
        Ok(())
    })
    .map_err(|e| e.in_table("FIELD"))?;
    if !labels.iter().any(|l| l.source.is_some()) || !set.join("SOURCE/table.dat").is_file() {
        return Ok(());
    }
    with_table_mut(&set.join("SOURCE"), |t| {
        let ids: Vec<i32> = casacore::column(t, "SOURCE_ID")?;
        let label = |id: &i32| labels.iter().find(|l| l.source == Some(*id)).map(|l| l.direction);
        let targets: Vec<(u64, Direction)> = ids.iter().enumerate().filter_map(|(row, id)| Some((row as u64, label(id)?))).collect();
        put_directions(t, "DIRECTION", &targets)
    })
    .map_err(|e| e.in_table("SOURCE"))
}

/// Replaces the constant terms of rows of a direction column; terms in time, if any, become zero.
fn put_directions(t: &mut Table, column: &str, targets: &[(u64, Direction)]) -> Result<(), MsError> {
    let reference = Reference::of(t, column, &DIRECTION_FRAMES)?;
    let codes = reference.codes(t)?;
    for (row, direction) in targets {
        let frame = codes.get(*row as usize).map_or_else(|| reference.fixed.clone(), |c| reference.name_of(c));
        let here = Frame::from_name(&frame).and_then(|f| direction.in_frame(f));
        let here =
            here.ok_or_else(|| MsError::NoConversion { column: column.to_string(), row: *row, from: direction.frame.name(), to: frame })?;
        let n = array_cell::<f64>(t, column, *row)?.map_or(2, |cell| cell.len());
        let mut cell = vec![0.0; n.max(2)];
        (cell[0], cell[1]) = (here.ra_rad, here.dec_rad);
        let put = |t: &mut Table| {
            // SOURCE has vectors, FIELD has polynomials: a matrix of one row for each term.
            if reference_is_vector(column) {
                t.put_cell(column, *row, &cell)
            } else {
                let terms = Array::from_shape_vec((cell.len() / 2, 2), cell.clone()).unwrap_or_default();
                t.put_cell(column, *row, &terms)
            }
        };
        put(t).map_err(|e| failed(format!("write {column}, row {row}"), e))?;
    }
    Ok(())
}

fn reference_is_vector(column: &str) -> bool {
    column == "DIRECTION"
}
