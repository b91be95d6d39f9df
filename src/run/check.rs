//! Whether what is on disk is what a run recorded: every input and output is read again, the memo is not asked.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::notice::Reporter;
use crate::run::content::{Looking, Registry, State};
use crate::run::hash::{Hash, hash_file};
use crate::run::memo::Memo;
use crate::run::reason::leaves;
use crate::run::record::{FileLine, Run, Step};

/// What a path is to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read by a step and written by none before it.
    Input,
    /// Written by a step.
    Output,
}

/// What was found at a path.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "found", rename_all = "lowercase")]
pub enum Found {
    /// The recorded content.
    Same,
    /// Other content.
    Differs {
        /// Its hash.
        hash: Hash,
        /// The parts that differ; empty where the content has no parts.
        parts: Vec<String>,
    },
    /// Nothing.
    Missing,
    /// Something that cannot be read.
    Unreadable {
        /// Why.
        error: String,
    },
}

/// One path that was checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checked {
    /// Its name in the project.
    pub path: String,
    /// What it is to the run.
    pub role: Role,
    /// The verb that read or wrote it last.
    pub verb: String,
    /// The recorded hash.
    pub recorded: Hash,
    /// The recorded size in bytes.
    pub size: u64,
    /// What is there.
    #[serde(flatten)]
    pub found: Found,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checks {
    /// The run.
    pub run: String,
    /// Inputs and outputs, each once, in the order of the run.
    pub paths: Vec<Checked>,
    /// Things worth saying that do not fail the check: a script edited since, lines of the record that cannot be read.
    pub notes: Vec<String>,
}

impl Checks {
    /// True if everything is as recorded.
    pub fn holds(&self) -> bool {
        self.paths.iter().all(|c| c.found == Found::Same)
    }
    /// Those that are not as recorded.
    pub fn failing(&self) -> impl Iterator<Item = &Checked> {
        self.paths.iter().filter(|c| c.found != Found::Same)
    }
    /// An error that names what differs, if anything does.
    pub fn into_result(self) -> Result<Checks> {
        let first = self.failing().next().map(|c| (c.to_string(), c.path.clone()));
        match first {
            None => Ok(self),
            Some((first, path)) => {
                let n = self.failing().count();
                let others = if n > 1 { format!(" (and {} more)", n - 1) } else { String::new() };
                let message = format!("run {} does not hold: {first}{others}", self.run);
                Err(Error::check(message).hint("run the script again to make what is missing or changed").at(path))
            }
        }
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = if self.role == Role::Input { "input" } else { "output" };
        match &self.found {
            Found::Same => write!(f, "{role} {} is as recorded ({})", self.path, self.recorded.short()),
            Found::Missing => write!(f, "{role} {} is not there", self.path),
            Found::Unreadable { error } => write!(f, "{role} {} cannot be read: {error}", self.path),
            Found::Differs { hash, parts } => {
                let parts = if parts.is_empty() { String::new() } else { format!(" in {}", parts.join(", ")) };
                write!(f, "{role} {} differs{parts}: recorded {}, found {}", self.path, self.recorded.short(), hash.short())
            }
        }
    }
}

/// Reads every recorded input and output of `run` again and compares hashes.
pub fn check(run: &Run, root: &Path, registry: &Registry, notice: &dyn Reporter) -> Result<Checks> {
    let last = last_states(run);
    let total = last.iter().map(|(_, _, line)| line.state.size).sum();
    let mut paths = Vec::new();
    let mut done = 0;
    for (role, verb, line) in last {
        notice.progress("check", done, total);
        let found = look(line, &root.join(&line.path), registry, notice)?;
        done += line.state.size;
        let (recorded, size) = (line.state.hash, line.state.size);
        paths.push(Checked { path: line.path.clone(), role, verb: verb.to_string(), recorded, size, found });
    }
    Ok(Checks { run: run.start.run.clone(), paths, notes: notes(run, root, notice) })
}

/// Each path with the state that the run left it in.
fn last_states(run: &Run) -> Vec<(Role, &str, &FileLine)> {
    let mut order: Vec<(Role, &str, &FileLine)> = Vec::new();
    let mut place: BTreeMap<&str, usize> = BTreeMap::new();
    for step in run.steps() {
        let inputs = step.inputs.iter().map(|i| (Role::Input, i));
        let outputs = step.outputs.iter().map(|o| (Role::Output, o));
        for (role, line) in inputs.chain(outputs) {
            match (place.get(line.path.as_str()), role) {
                (None, _) => {
                    place.insert(&line.path, order.len());
                    order.push((role, &step.verb, line));
                }
                (Some(i), Role::Output) => order[*i] = (role, &step.verb, line),
                (Some(_), Role::Input) => {}
            }
        }
    }
    order
}

fn look(line: &FileLine, path: &Path, registry: &Registry, notice: &dyn Reporter) -> Result<Found> {
    if std::fs::metadata(path).is_err() {
        return Ok(Found::Missing);
    }
    let looking = Looking { fresh: true, own: false };
    let state: State = match registry.state(path, &Memo::in_memory(), looking, notice) {
        Ok(state) => state,
        Err(e) if e.kind == crate::error::Kind::Interrupted => return Err(e),
        Err(e) => return Ok(Found::Unreadable { error: e.message }),
    };
    // a step that reads some parts of its input says nothing about the others
    if state.seen_by(&line.only) == line.state.seen_by(&line.only) {
        return Ok(Found::Same);
    }
    Ok(Found::Differs { hash: state.hash, parts: line.state.differing(&state, &line.only) })
}

fn notes(run: &Run, root: &Path, notice: &dyn Reporter) -> Vec<String> {
    let mut notes = Vec::new();
    let file = &run.start.file;
    if let (Some(recorded), Ok(now)) = (run.start.script_hash, hash_file(&root.join(file), notice))
        && recorded != now
    {
        notes.push(format!("{file} was edited since the run; the record holds the text that ran"));
    }
    if run.end.is_none() {
        notes.push("the run has no end line: it was killed, or still runs".to_string());
    }
    notes
}

/// What differs between a run and its repetition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Repeated {
    /// Count of the step, from 1.
    pub step: usize,
    /// Its verb.
    pub verb: String,
    /// What differs, in words.
    pub what: String,
}

/// Compares a run with its repetition elsewhere: same steps, same bits of every output, same values.
///
/// Outputs are paired by their order in the step, as their folders differ. A step that declares a tolerance is held to it in
/// the numbers of its value, and not to the bits of its outputs.
pub fn compare(first: &Run, second: &Run) -> Vec<Repeated> {
    let (a, b): (Vec<&Step>, Vec<&Step>) = (first.steps().collect(), second.steps().collect());
    let mut found = Vec::new();
    if a.len() != b.len() {
        let what = format!("{} steps, and {} when repeated", a.len(), b.len());
        found.push(Repeated { step: a.len().min(b.len()), verb: String::new(), what });
    }
    for (x, y) in a.iter().zip(&b) {
        let mut say = |what: String| found.push(Repeated { step: x.index, verb: x.verb.clone(), what });
        if x.verb != y.verb {
            say(format!("`{}` when repeated", y.verb));
            continue;
        }
        if x.outputs.len() != y.outputs.len() {
            say(format!("{} outputs, and {} when repeated", x.outputs.len(), y.outputs.len()));
        }
        for (p, q) in x.outputs.iter().zip(&y.outputs) {
            if x.tolerance.is_none() && p.state.hash != q.state.hash {
                let parts = p.state.differing(&q.state, &[]);
                let parts = if parts.is_empty() { String::new() } else { format!(" in {}", parts.join(", ")) };
                say(format!("{} has other bits{parts}: {} and {}", p.path, p.state.hash.short(), q.state.hash.short()));
            }
        }
        differing_numbers(x, y).into_iter().for_each(say);
    }
    found
}

/// Leaves of the values that differ by more than the tolerance; texts may differ, as they hold paths.
fn differing_numbers(x: &Step, y: &Step) -> Vec<String> {
    let (was, is) = (leaves(&x.value), leaves(&y.value));
    let tolerance = x.tolerance.unwrap_or(0.0);
    let mut found = Vec::new();
    for (name, a) in &was {
        match (a.as_f64(), is.get(name).map(|b| (b, b.as_f64()))) {
            (_, None) => found.push(format!("{name} is not there when repeated")),
            (Some(a), Some((_, Some(b)))) if (a - b).abs() > tolerance * a.abs().max(b.abs()) => {
                found.push(format!("{name} = {a}, and {b} when repeated"));
            }
            (Some(_), Some((_, Some(_)))) => {}
            (_, Some((b, _))) if a != b && !(a.is_string() || a.is_array()) => found.push(format!("{name} = {a}, and {b} when repeated")),
            _ => {}
        }
    }
    found
}
