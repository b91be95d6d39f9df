//! The one error type that crosses rooms: what is wrong, whose mistake it is, and what to do.

use std::path::{Path, PathBuf};

/// Whose mistake an error is; the exit code of the program follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The script or the command line asks for something that cannot be (exit 1).
    User,
    /// The data cannot give what was asked (exit 2).
    Data,
    /// A fault of this program or of the machine: disk full, broken invariant (exit 3).
    Internal,
    /// A check or a script's assertion does not hold (exit 4).
    Check,
    /// Interrupted by the user (exit 130).
    Interrupted,
}

impl Kind {
    /// Exit code of the process.
    pub fn exit_code(self) -> i32 {
        match self {
            Kind::User => 1,
            Kind::Data => 2,
            Kind::Internal => 3,
            Kind::Check => 4,
            Kind::Interrupted => 130,
        }
    }
}

/// An error with its kind, an optional hint, and the file it is about.
#[derive(Debug, Clone)]
pub struct Error {
    /// Whose mistake it is.
    pub kind: Kind,
    /// What is wrong, with numbers and units, and what was expected.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The file or folder concerned.
    pub path: Option<PathBuf>,
}

/// Result with the crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    fn with_kind(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), hint: None, path: None }
    }
    /// An error in what was asked.
    pub fn user(message: impl Into<String>) -> Error {
        Error::with_kind(Kind::User, message)
    }
    /// An error in the data.
    pub fn data(message: impl Into<String>) -> Error {
        Error::with_kind(Kind::Data, message)
    }
    /// An error of this program or of the machine.
    pub fn internal(message: impl Into<String>) -> Error {
        Error::with_kind(Kind::Internal, message)
    }
    /// A check that does not hold.
    pub fn check(message: impl Into<String>) -> Error {
        Error::with_kind(Kind::Check, message)
    }
    /// The user interrupted the run.
    pub fn interrupted() -> Error {
        Error::with_kind(Kind::Interrupted, "interrupted")
    }
    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }
    /// Adds the file or folder concerned, unless one is already named.
    pub fn at(mut self, path: impl AsRef<Path>) -> Error {
        self.path.get_or_insert_with(|| path.as_ref().to_path_buf());
        self
    }
    /// An operating-system error while doing `what` to `path`.
    pub fn io(what: &str, path: impl AsRef<Path>, source: std::io::Error) -> Error {
        use std::io::ErrorKind as E;
        let (kind, hint) = match source.kind() {
            E::NotFound => (Kind::User, "check the path"),
            E::PermissionDenied | E::ReadOnlyFilesystem => (Kind::User, "the folder or file is not writable by you; choose another place"),
            E::StorageFull | E::QuotaExceeded => {
                (Kind::Internal, "the disk is full: free space or choose another place; nothing already there was touched")
            }
            _ => (Kind::Internal, ""),
        };
        let error = Error::with_kind(kind, format!("cannot {what}: {source}")).at(path);
        if hint.is_empty() { error } else { error.hint(hint) }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        if let Some(path) = &self.path {
            write!(f, "\n  data: {}", path.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// What a room's own error enum says of itself; it then converts into [`Error`] by `?`.
pub trait Explain: std::error::Error {
    /// Whose mistake it is.
    fn kind(&self) -> Kind;
    /// What to do about it.
    fn hint(&self) -> Option<String> {
        None
    }
}

impl<E: Explain> From<E> for Error {
    fn from(e: E) -> Error {
        Error { kind: e.kind(), message: e.to_string(), hint: e.hint(), path: None }
    }
}
