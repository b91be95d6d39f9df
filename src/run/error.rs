//! What can be wrong with a step.

use std::path::PathBuf;

use crate::error::{Error, Explain, Kind};

/// Why a step is refused or does not count.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RunError {
    /// The output exists and nobody knows it.
    #[error("`{verb}` would overwrite a file that this project did not write")]
    NotOurs {
        /// The verb.
        verb: String,
        /// The file.
        path: PathBuf,
    },
    /// The output exists and was changed by hand.
    #[error("`{verb}` would overwrite a file that was changed since `{writer}` wrote it (hash {was} then, {is} now)")]
    Altered {
        /// The verb.
        verb: String,
        /// The verb that wrote it.
        writer: String,
        /// Hash when written.
        was: String,
        /// Hash now.
        is: String,
        /// The file.
        path: PathBuf,
    },
    /// An input is not there.
    #[error("`{verb}` reads a file that is not there")]
    NoInput {
        /// The verb.
        verb: String,
        /// The file.
        path: PathBuf,
    },
    /// An input changed while the step ran.
    #[error("an input changed while `{verb}` was reading it ({parts}); its result does not count")]
    InputChanged {
        /// The verb.
        verb: String,
        /// What differs.
        parts: String,
        /// The input.
        path: PathBuf,
    },
    /// A verb did not write what it declared.
    #[error("`{verb}` ended without writing an output that it declares")]
    NoOutput {
        /// The verb.
        verb: String,
        /// The output.
        path: PathBuf,
    },
    /// A set is in a state from which the step must not run.
    #[error("`{verb}` edits in place, and the set is in no state that it may start from: {found}")]
    UnknownState {
        /// The verb.
        verb: String,
        /// Which recorded state matches.
        found: String,
        /// The set.
        path: PathBuf,
    },
    /// A place cannot be written.
    #[error("`{verb}` cannot write: the folder is read-only for you")]
    ReadOnly {
        /// The verb.
        verb: String,
        /// The folder.
        path: PathBuf,
    },
}

impl RunError {
    /// As the error that crosses rooms, with its file.
    pub fn located(self) -> Error {
        let path = match &self {
            RunError::NotOurs { path, .. }
            | RunError::Altered { path, .. }
            | RunError::NoInput { path, .. }
            | RunError::InputChanged { path, .. }
            | RunError::NoOutput { path, .. }
            | RunError::UnknownState { path, .. }
            | RunError::ReadOnly { path, .. } => path.clone(),
        };
        Error::from(self).at(path)
    }
}

impl Explain for RunError {
    fn kind(&self) -> Kind {
        match self {
            RunError::NotOurs { .. } | RunError::Altered { .. } | RunError::NoInput { .. } | RunError::ReadOnly { .. } => Kind::User,
            RunError::InputChanged { .. } | RunError::UnknownState { .. } => Kind::Data,
            RunError::NoOutput { .. } => Kind::Internal,
        }
    }
    fn hint(&self) -> Option<String> {
        let text = match self {
            RunError::NotOurs { .. } => "move it away, choose another place, or say `overwrite: true`",
            RunError::Altered { .. } => "keep your change by moving the file away; or give it up with `overwrite: true`",
            RunError::NoInput { .. } => "check the path; relative paths start at the project's folder",
            RunError::InputChanged { .. } => "wait until the other program is done, then run again",
            RunError::NoOutput { .. } => "this is a fault of the verb: please report it",
            RunError::UnknownState { .. } => {
                "start again from the original set, or from a copy of it; better, let the script write a new set instead of editing in place"
            }
            RunError::ReadOnly { .. } => "choose another place, for example with -p products=DIR",
        };
        Some(text.to_string())
    }
}
