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
}

fn near(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or(String::new(), |n| format!("; did you mean {n}?"))
}

impl Explain for MsError {
    fn kind(&self) -> Kind {
        match self {
            MsError::NoColumn { .. } => Kind::User,
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
            MsError::NoColumn { existing, .. } => Some(format!("the table has: {}", existing.join(", "))),
            MsError::Io { hint, .. } => hint.clone(),
            _ => None,
        }
    }
}
