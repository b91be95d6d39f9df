//! Why a step is done: what changed since the nearest earlier one.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Reason {
    /// No step of this verb with these outputs is recorded.
    FirstTime,
    /// An argument changed.
    Argument {
        /// Its name; options inside a record as `record.option`.
        name: String,
        /// Its value then; absent where it was not there.
        was: Option<Value>,
        /// Its value now; absent where it is not there any more.
        is: Option<Value>,
    },
    /// The content of an input changed.
    Input {
        /// The input.
        path: String,
        /// The parts that changed; empty where the content has no parts.
        parts: Vec<String>,
    },
    /// An input will be made anew by an earlier step (dry run).
    Upstream {
        /// The input.
        path: String,
    },
    /// The verb has a new version: its numbers changed.
    Version {
        /// Version then.
        was: u32,
        /// Version now.
        is: u32,
    },
    /// A data table changed.
    Table {
        /// Its name.
        name: String,
        /// Version then.
        was: Option<String>,
        /// Version now.
        is: Option<String>,
    },
    /// The program was built anew and the run was asked to take that as a change.
    Build,
    /// An output is not there and not in the store.
    OutputMissing {
        /// The output.
        path: String,
    },
    /// A part of its value is not in the store any more.
    ValueMissing,
    /// An output is not as the step wrote it.
    OutputChanged {
        /// The output.
        path: String,
    },
    /// The set is as it was before the edit.
    BeforeEdit {
        /// The set.
        path: String,
    },
    /// The run was asked to do everything again.
    Forced,
    /// The verb may give another result each time.
    Impure,
    /// Recorded before, and the record cannot be read.
    Unreadable,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::FirstTime => write!(f, "not done before"),
            Reason::Argument { name, was: Some(was), is: Some(is) } => write!(f, "{name} was {}, is {}", short(was), short(is)),
            Reason::Argument { name, was: None, is: Some(is) } => write!(f, "{name} is new: {}", short(is)),
            Reason::Argument { name, was, .. } => write!(f, "{name} is gone: was {}", short(was.as_ref().unwrap_or(&Value::Null))),
            Reason::Input { path, parts } if parts.is_empty() => write!(f, "{path} has other content"),
            Reason::Input { path, parts } => write!(f, "{path} has other content in {}", listed(parts)),
            Reason::Upstream { path } => write!(f, "{path} would be made anew"),
            Reason::Version { was, is } => write!(f, "the verb's version was {was}, is {is}"),
            Reason::Table { name, was, is } => {
                let show = |v: &Option<String>| v.clone().unwrap_or_else(|| "absent".to_string());
                write!(f, "data table {name} was {}, is {}", show(was), show(is))
            }
            Reason::Build => write!(f, "the program was built anew (--strict-build)"),
            Reason::OutputMissing { path } => write!(f, "{path} is not there"),
            Reason::ValueMissing => write!(f, "its value is not in the store any more"),
            Reason::OutputChanged { path } => write!(f, "{path} is not as it was written"),
            Reason::BeforeEdit { path } => write!(f, "{path} is as before the edit"),
            Reason::Forced => write!(f, "--force"),
            Reason::Impure => write!(f, "the verb is done every time"),
            Reason::Unreadable => write!(f, "its stored result cannot be read"),
        }
    }
}

/// Reasons in words, for people. An argument that is the record of an earlier step differs in many places, which that step
/// tells better.
pub fn in_words(reasons: &[Reason]) -> Vec<String> {
    const TOLD: usize = 3;
    let mut told: Vec<String> = Vec::new();
    let mut rest = reasons;
    while let Some(first) = rest.first() {
        let n = first.argument().map_or(1, |name| rest.iter().take_while(|r| r.argument() == Some(name)).count());
        let (now, later) = rest.split_at(n);
        match first.argument() {
            Some(name) if n > TOLD => told.push(format!("{name} differs in {n} places")),
            _ => told.extend(now.iter().map(Reason::to_string)),
        }
        rest = later;
    }
    told
}

impl Reason {
    /// The argument as a whole, where the reason is one.
    fn argument(&self) -> Option<&str> {
        match self {
            Reason::Argument { name, .. } => name.split(['.', '[']).next(),
            _ => None,
        }
    }
}

fn listed(parts: &[String]) -> String {
    const SHOWN: usize = 5;
    let head = parts.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if parts.len() > SHOWN { format!("{head} and {} more", parts.len() - SHOWN) } else { head }
}

fn short(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    let head: String = text.chars().take(LONGEST).collect();
    format!("{head}...")
}

/// The leaves of a value by dotted name: `options.gain`, `blocks[2].path`.
pub fn leaves(value: &Value) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    collect(value, String::new(), &mut out);
    out
}

fn collect(value: &Value, name: String, out: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (k, v) in map {
                collect(v, if name.is_empty() { k.clone() } else { format!("{name}.{k}") }, out);
            }
        }
        Value::Array(items) if items.iter().any(|v| v.is_object() || v.is_array()) => {
            items.iter().enumerate().for_each(|(i, v)| collect(v, format!("{name}[{i}]"), out));
        }
        leaf => {
            out.insert(name, leaf.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_differs_in_many_places_is_told_in_one_line() {
        let argument = |name: &str| Reason::Argument { name: name.to_string(), was: Some(1.into()), is: Some(2.into()) };
        let mut reasons = vec![argument("gain"), argument("npix")];
        reasons.extend((0..20).map(|i| argument(&format!("offset.scan[{i}]"))));
        reasons.push(Reason::Forced);
        assert_eq!(in_words(&reasons), ["gain was 1, is 2", "npix was 1, is 2", "offset differs in 20 places", "--force"]);
        assert_eq!(in_words(&[argument("offset.a"), argument("offset.b")]).len(), 2);
    }
}
