//! A step: what a verb declares before it runs, and what comes back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::Value;

use crate::notice::{Reporter, Warning};
use crate::run::hash::Hash;
use crate::run::reason::Reason;
use crate::run::record::{Figure, Mark, Quality, Status, Table};
use crate::run::usage::Usage;

/// What a verb declares of one call. Inputs and outputs are complete: what is not declared is not seen by the key.
#[derive(Debug, Clone, Default)]
pub struct StepCall {
    /// Name of the verb.
    pub verb: String,
    /// Its version: raised by hand when its numbers change.
    pub version: u32,
    /// Arguments by name, defaults filled in. A path that is also among `reads` counts by its content: a verb whose value or
    /// output carries the name of an input must put that name here as an argument of its own.
    pub args: Value,
    /// What it reads.
    pub reads: Vec<Read>,
    /// What it writes; more can be added while it runs by [`StepContext::wrote`].
    pub writes: Vec<Write>,
    /// True if the same key always gives the same result; others are done every time.
    pub pure: bool,
    /// Names of arguments that are lists whose order does not matter.
    pub unordered: Vec<String>,
    /// Versions of the data tables that it uses.
    pub tables: BTreeMap<String, String>,
    /// True if it may overwrite files that this project did not write.
    pub overwrite: bool,
    /// Seed, where it draws random numbers; for the record, it must be among the arguments as well.
    pub seed: Option<u64>,
    /// Relative difference up to which another execution counts as the same; `None` for the same bits.
    pub tolerance: Option<f64>,
    /// Cell that calls it, counted from 0.
    pub cell: Option<usize>,
    /// Line of the script that calls it, counted from 1.
    pub line: Option<usize>,
}

impl StepCall {
    /// A pure call that reads and writes nothing so far.
    pub fn new(verb: &str, version: u32, args: Value) -> StepCall {
        StepCall { verb: verb.to_string(), version, args, pure: true, ..StepCall::default() }
    }
    /// Adds an input, all of it.
    pub fn reads(mut self, path: impl AsRef<Path>) -> StepCall {
        self.reads.push(Read { path: path.as_ref().to_path_buf(), only: Vec::new() });
        self
    }
    /// Adds an input of which only the parts with these labels count, for example columns of a table.
    pub fn reads_only(mut self, path: impl AsRef<Path>, labels: &[&str]) -> StepCall {
        self.reads.push(Read { path: path.as_ref().to_path_buf(), only: labels.iter().map(|l| l.to_string()).collect() });
        self
    }
    /// Adds an output.
    pub fn writes(mut self, path: impl AsRef<Path>) -> StepCall {
        self.writes.push(Write { path: path.as_ref().to_path_buf(), in_place: false });
        self
    }
    /// Adds something that it edits in place.
    pub fn edits(mut self, path: impl AsRef<Path>) -> StepCall {
        self.writes.push(Write { path: path.as_ref().to_path_buf(), in_place: true });
        self
    }
    /// Says that the order of the list argument `name` does not matter.
    pub fn unordered(mut self, name: &str) -> StepCall {
        self.unordered.push(name.to_string());
        self
    }
    /// Says where the script calls it.
    pub fn at(mut self, cell: Option<usize>, line: Option<usize>) -> StepCall {
        (self.cell, self.line) = (cell, line);
        self
    }
}

/// An input.
#[derive(Debug, Clone, Default)]
pub struct Read {
    /// Path as the script gave it; relative paths start at the project's folder.
    pub path: PathBuf,
    /// Labels of the parts that count; empty for all.
    pub only: Vec<String>,
}

/// An output.
#[derive(Debug, Clone, Default)]
pub struct Write {
    /// Path as the script gave it; relative paths start at the project's folder.
    pub path: PathBuf,
    /// True if something that is there is changed, instead of something new made.
    pub in_place: bool,
}

/// What comes back from a step.
#[derive(Debug, Clone)]
pub struct StepResult {
    /// Whether it was done.
    pub status: Status,
    /// What the verb returned, now or when it was executed. For a step that would be done (dry run) that of the nearest
    /// earlier step of the same verb and outputs, else null.
    pub value: Value,
    /// What it warned about, now or when it was executed.
    pub warnings: Vec<Warning>,
    /// How good its result is.
    pub quality: Quality,
    /// Why it was, or would be, done.
    pub because: Vec<Reason>,
    /// Its key.
    pub key: Hash,
    /// Count of the step in the run, from 1.
    pub index: usize,
    /// Names of its outputs in the project.
    pub outputs: Vec<String>,
    /// What its execution used, now or earlier.
    pub usage: Usage,
    /// Time spent on keys, hashes and locks, in s.
    pub overhead_s: f64,
}

/// What a verb sees while it is executed: a [`Reporter`] that also takes figures, tables, and the quality of the result.
pub struct StepContext<'a> {
    base: &'a dyn Reporter,
    hash_ahead: &'a (dyn Fn(&[PathBuf]) + Sync),
    history: String,
    key: Hash,
    noted: Mutex<Noted>,
}

/// What a verb said while it was executed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Noted {
    pub(crate) warnings: Vec<Warning>,
    pub(crate) wrote: Vec<PathBuf>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) tables: Vec<Table>,
    pub(crate) quality: Option<Quality>,
}

impl<'a> StepContext<'a> {
    pub(crate) fn new(base: &'a dyn Reporter, hash_ahead: &'a (dyn Fn(&[PathBuf]) + Sync), history: String, key: Hash) -> StepContext<'a> {
        StepContext { base, hash_ahead, history, key, noted: Mutex::default() }
    }
    fn noted(&self) -> std::sync::MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(|e| e.into_inner())
    }
    /// What a product's HISTORY says of the step: program, run, verb, key. It is outside the content hash of FITS and
    /// MeasurementSets, and must not go into any other file.
    pub fn history(&self) -> &str {
        &self.history
    }
    /// Key of the step.
    pub fn key(&self) -> Hash {
        self.key
    }
    /// An output whose name was not known before the step ran.
    pub fn wrote(&self, path: impl AsRef<Path>) {
        self.noted().wrote.push(path.as_ref().to_path_buf());
    }
    /// A figure that the step drew; its file is an output as well. Run, cell, step and hash are filled in.
    pub fn figure(&self, figure: Figure) {
        let mut noted = self.noted();
        noted.wrote.push(PathBuf::from(&figure.path));
        noted.figures.push(figure);
    }
    /// A table for the report. Run, cell and step are filled in.
    pub fn table(&self, table: Table) {
        self.noted().tables.push(table);
    }
    /// How good the result is; without it a step is good, or worth a look if it warned. The worst mark stays.
    pub fn quality(&self, mark: Mark, reason: impl Into<String>) {
        let mut noted = self.noted();
        if noted.quality.as_ref().is_none_or(|q| q.mark < mark) {
            noted.quality = Some(Quality { mark, reason: reason.into() });
        }
    }
    pub(crate) fn into_noted(self) -> Noted {
        self.noted.into_inner().unwrap_or_else(|e| e.into_inner())
    }
}

impl Noted {
    /// The mark that the verb gave, or what its warnings mean.
    pub(crate) fn judged(&self) -> Quality {
        match (&self.quality, self.warnings.first()) {
            (Some(quality), _) => quality.clone(),
            (None, Some(first)) => {
                let more = if self.warnings.len() > 1 { format!(" and {} more", self.warnings.len() - 1) } else { String::new() };
                Quality { mark: Mark::Look, reason: format!("warning {}{more}", first.name) }
            }
            (None, None) => Quality::default(),
        }
    }
}

impl Reporter for StepContext<'_> {
    fn warn(&self, warning: Warning) {
        self.noted().warnings.push(warning.clone());
        self.base.warn(warning);
    }
    fn progress(&self, stage: &str, done: u64, total: u64) {
        self.base.progress(stage, done, total);
    }
    fn complete(&self, files: &[PathBuf]) {
        (self.hash_ahead)(files);
    }
    fn cancelled(&self) -> bool {
        self.base.cancelled()
    }
}

/// What a run did so far.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Counts {
    /// Steps executed.
    pub steps_run: usize,
    /// Steps not done because they were done.
    pub steps_skipped: usize,
    /// Steps whose outputs came from the store.
    pub steps_restored: usize,
    /// Steps that would be executed (dry run).
    pub steps_would_run: usize,
    /// Names of outputs in the project, each once, in the order of the steps.
    pub outputs: Vec<String>,
}

impl Counts {
    pub(crate) fn add(&mut self, status: Status, outputs: &[String]) -> usize {
        match status {
            Status::Run => self.steps_run += 1,
            Status::Skipped => self.steps_skipped += 1,
            Status::Restored => self.steps_restored += 1,
            Status::Would => self.steps_would_run += 1,
        }
        for output in outputs {
            if !self.outputs.contains(output) {
                self.outputs.push(output.clone());
            }
        }
        self.steps_run + self.steps_skipped + self.steps_restored + self.steps_would_run
    }
}
