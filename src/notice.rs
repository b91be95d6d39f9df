//! Warnings, progress and cancellation, passed down as values: the science never prints.

use std::path::PathBuf;
use std::sync::Mutex;

use crate::error::{Error, Result};

/// A named warning; it appears in the run report and can be silenced by name.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Warning {
    /// Short name in kebab case, for example `weights-off`.
    pub name: String,
    /// What was noticed, with numbers and units.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Warning {
    /// A warning without a hint.
    pub fn new(name: &str, message: impl Into<String>) -> Warning {
        Warning { name: name.to_string(), message: message.into(), hint: None }
    }
    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Warning {
        self.hint = Some(hint.into());
        self
    }
}

/// Receives what a long computation has to say while it runs.
pub trait Reporter: Sync {
    /// A warning for the reader of the report.
    fn warn(&self, warning: Warning);
    /// Progress of `stage`: `done` of `total` units.
    fn progress(&self, stage: &str, done: u64, total: u64);
    /// These files are complete: they will not change any more, whatever they are called afterwards.
    ///
    /// A run hashes them here, while they are brought to the disk, so that the processor need not wait for the disk first.
    fn complete(&self, _files: &[PathBuf]) {}
    /// True once the user asked to stop.
    fn cancelled(&self) -> bool;
    /// Fails with [`Error::interrupted`] once the user asked to stop; native loops call it several times a second.
    fn check(&self) -> Result<()> {
        if self.cancelled() { Err(Error::interrupted()) } else { Ok(()) }
    }
}

/// A reporter that shows nothing and keeps the warnings, for tests and library users.
#[derive(Debug, Default)]
pub struct Quiet {
    warnings: Mutex<Vec<Warning>>,
}

impl Quiet {
    /// The warnings so far.
    pub fn warnings(&self) -> Vec<Warning> {
        self.warnings.lock().map(|w| w.clone()).unwrap_or_default()
    }
}

impl Reporter for Quiet {
    fn warn(&self, warning: Warning) {
        if let Ok(mut warnings) = self.warnings.lock() {
            warnings.push(warning);
        }
    }
    fn progress(&self, _stage: &str, _done: u64, _total: u64) {}
    fn cancelled(&self) -> bool {
        false
    }
}
