//! What can be wrong with a MeasurementSet, or with what is asked of it.

use crate::error::{Explain, Kind};

/// Errors of the room `ms`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MsError {
    /// A file ends early.
    #[error("{what} is incomplete: {expected} bytes expected, {found} found")]
    Truncated { what: &'static str, expected: u64, found: u64 },
    /// A file does not hold what its description says.
    #[error("the table files are damaged: {0}")]
    Damaged(String),
    /// A column that is not there.
    #[error("column {column} does not exist{}", near(.nearest))]
    NoColumn { column: String, nearest: Option<String>, existing: Vec<String> },
    /// A column of another type than asked for.
    #[error("column {column} holds {found}, {expected} expected")]
    ColumnType { column: String, found: String, expected: &'static str },
    /// Rows of different shape were read as one array.
    #[error("column {column} has shape {found:?} in row {row}, {expected:?} expected")]
    Shape { column: String, row: u64, found: Vec<usize>, expected: Vec<usize> },
    /// A cell without a value.
    #[error("column {column} has no value in row {row}")]
    Undefined { column: String, row: u64 },
    /// Beyond the last row.
    #[error("rows {first} to {last} of column {column}, which has {rows} rows")]
    Rows { column: String, first: u64, last: u64, rows: u64 },
    /// A subtable that every MeasurementSet has is missing.
    #[error("the set has no table {0}")]
    NoSubtable(String),
    /// Tables of a set contradict each other.
    #[error("{0}; the set is inconsistent")]
    Disagree(String),
    /// A correlation product that the program does not know.
    #[error("polarization {polarization} has a correlation of type {code}, which is not one of I Q U V RR RL LR LL XX XY YX YY")]
    UnknownCorr { polarization: usize, code: i32 },
    /// The path leads to something else than a MeasurementSet.
    #[error("not a MeasurementSet: {found}")]
    NotASet { found: String, hint: String },
    /// There is nothing at the path.
    #[error("there is no set of this name{}", near(.nearest))]
    Missing { nearest: Option<String> },
    /// Another process is writing the set.
    #[error("the table {table} is being written by process {pid}")]
    BeingWritten { table: String, pid: i32 },
    /// A set named twice where each must be another.
    #[error("sets {first} and {second} of the list are the same")]
    Twice { first: usize, second: usize },
    /// Visibilities that only some of the sets hold.
    #[error("{column} is in {having} and not in {missing}: joining would lose it")]
    ColumnInSome { column: String, having: String, missing: String },
    /// A table of the set cannot be read.
    #[error("table {table}: {source}")]
    InTable { table: String, source: Box<MsError> },
    /// Nothing of this name or number.
    #[error("{what} \"{given}\" is not in the set{}", near(.nearest))]
    Unknown { what: &'static str, given: String, nearest: Option<String>, existing: String },
    /// A selection that cannot be understood.
    #[error("{what} \"{given}\" cannot be understood: {problem}")]
    Syntax { what: &'static str, given: String, problem: String },
    /// Nothing is selected.
    #[error("the selection is empty: {before} rows were left before {criterion}, none after")]
    Empty { criterion: String, before: u64, existing: String },
    /// The main table is empty.
    #[error("the set has no rows: its main table is empty")]
    NoRows,
    /// The selected fields have different phase centers.
    #[error("the selection has {} fields with different phase centers; choose one with `field`", .fields.len())]
    ManyFields { fields: Vec<String> },
    /// A direction in a frame that does not stay on the sky.
    #[error("field {field} has its phase center in frame {frame}; J2000, ICRS, B1950 or GALACTIC is expected")]
    Frame { field: String, frame: String },
    /// A phase center that changes with time cannot be moved by an offset.
    #[error("field {field} moves on the sky (a polynomial or an ephemeris)")]
    Moving { field: String },
    /// Single-dish spectra.
    #[error("the set has FLOAT_DATA: spectra without phase cannot be moved")]
    NoPhase,
    /// A frame that a direction cannot be converted to.
    #[error("{column} of row {row} is in frame {to}: a direction in {from} cannot be converted to it")]
    NoConversion { column: String, row: u64, from: &'static str, to: String },
    /// An error of the operating system.
    #[error("cannot {what}: {message}")]
    Io { what: String, message: String, kind: Kind, hint: Option<String> },
    /// An error that casacore reports.
    #[error("casacore cannot {what}: {message}")]
    Casacore { what: String, message: String },
}

impl MsError {
    /// An error of the operating system while doing `what`.
    pub fn io(what: impl Into<String>, e: std::io::Error) -> MsError {
        let what = what.into();
        let error = crate::error::Error::io(&what, "", e);
        let message = error.message.strip_prefix(&format!("cannot {what}: ")).unwrap_or(&error.message).to_string();
        MsError::Io { what, message, kind: error.kind, hint: error.hint }
    }

    /// Says which subtable the error is about.
    pub fn in_table(self, table: &str) -> MsError {
        MsError::InTable { table: table.to_string(), source: Box::new(self) }
    }
}

fn near(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or(String::new(), |n| format!("; did you mean {n}?"))
}

impl Explain for MsError {
    fn kind(&self) -> Kind {
        match self {
            MsError::NoColumn { .. }
            | MsError::NotASet { .. }
            | MsError::Missing { .. }
            | MsError::BeingWritten { .. }
            | MsError::Twice { .. }
            | MsError::ColumnInSome { .. }
            | MsError::Unknown { .. }
            | MsError::Syntax { .. }
            | MsError::Empty { .. }
            | MsError::NoRows
            | MsError::ManyFields { .. } => Kind::User,
            MsError::InTable { source, .. } => source.kind(),
            MsError::Io { kind, .. } => *kind,
            MsError::Rows { .. } => Kind::Internal,
            _ => Kind::Data,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            MsError::Truncated { .. } | MsError::Damaged(_) => {
                Some("the copy may be incomplete, or the set is still being written; compare its sizes with the original".to_string())
            }
            MsError::NoRows => Some("the copy or the split that made it may have failed; choose another set".to_string()),
            MsError::Casacore { message, .. } if message.contains("incorrect number of bytes") => {
                Some("the copy may be incomplete; compare its sizes with the original".to_string())
            }
            MsError::NoColumn { existing, .. } => Some(format!("the table has: {}", existing.join(", "))),
            MsError::Io { hint, .. } => hint.clone(),
            MsError::NoSubtable(_) | MsError::Disagree(_) => {
                Some("the copy may be incomplete; compare its sizes with the original".to_string())
            }
            MsError::NotASet { hint, .. } => Some(hint.clone()),
            MsError::Missing { .. } => Some("check the path".to_string()),
            MsError::BeingWritten { .. } => Some("wait until that process has ended, or close the set there".to_string()),
            MsError::ColumnInSome { .. } => {
                Some("make the sets alike first, for example by shifting or splitting out the one column that you need".to_string())
            }
            MsError::InTable { source, .. } => source.hint(),
            MsError::Unknown { existing, .. } | MsError::Empty { existing, .. } => {
                (!existing.is_empty()).then(|| format!("the set has: {existing}"))
            }
            MsError::ManyFields { fields } => Some(format!("the selection holds {}", fields.join(", "))),
            _ => None,
        }
    }
}
