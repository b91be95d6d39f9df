//! What changed since the nearest earlier step of the same verb.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::run::reason::{Reason, leaves};
use crate::run::store::{Entry, EntryRead};

/// What is compared with an earlier step.
pub(crate) struct Now<'a> {
    pub verb: &'a str,
    pub version: u32,
    pub args: &'a Value,
    pub canonical: &'a Value,
    pub reads: &'a [EntryRead],
    pub outputs: &'a [String],
    pub tables: &'a std::collections::BTreeMap<String, String>,
    pub build: &'a str,
}

/// The nearest earlier step: same outputs first, then the most equal arguments, then the newest.
pub(crate) fn nearest(earlier: &[Entry], now: &Now) -> Option<Entry> {
    let mine = leaves(now.canonical);
    let score = |e: &Entry| {
        let same_outputs = e.outputs.iter().filter(|o| now.outputs.contains(&o.path)).count();
        let same_inputs = e.reads.iter().filter(|r| now.reads.iter().any(|n| n.path == r.path)).count();
        let theirs = leaves(&e.canonical);
        let equal = mine.iter().filter(|(name, value)| theirs.get(*name) == Some(value)).count();
        (same_outputs, same_inputs, equal)
    };
    // a step that writes elsewhere is another step, not an earlier one; entries come oldest first, and the last maximum is taken
    let related = earlier.iter().filter(|e| now.outputs.is_empty() || e.outputs.iter().any(|o| now.outputs.contains(&o.path)));
    related.map(|e| (score(e), e)).max_by(|a, b| a.0.cmp(&b.0)).map(|(_, e)| e.clone())
}

/// Everything in which `now` differs from `then`.
pub(crate) fn differences(then: &Entry, now: &Now, strict_build: bool) -> Vec<Reason> {
    let mut found = Vec::new();
    if then.version != now.version {
        found.push(Reason::Version { was: then.version, is: now.version });
    }
    for name in then.tables.keys().chain(now.tables.keys()).collect::<BTreeSet<_>>() {
        let (was, is) = (then.tables.get(name).cloned(), now.tables.get(name).cloned());
        if was != is {
            found.push(Reason::Table { name: name.clone(), was, is });
        }
    }
    found.extend(changed_arguments(then, now));
    found.extend(changed_inputs(then, now));
    if strict_build && then.build != now.build {
        found.push(Reason::Build);
    }
    found
}

fn changed_arguments(then: &Entry, now: &Now) -> Vec<Reason> {
    let (was_meant, is_meant) = (top(&then.canonical), top(now.canonical));
    let (was, is) = (leaves(&then.args), leaves(now.args));
    let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let differs = |name: &&String| {
        let head = name.split(['.', '[']).next().unwrap_or(name);
        was.get(*name) != is.get(*name) && was_meant.get(head) != is_meant.get(head)
    };
    let reason = |name: &String| Reason::Argument { name: name.clone(), was: was.get(name).cloned(), is: is.get(name).cloned() };
    let changed: Vec<&String> = names.into_iter().filter(differs).collect();
    // names with `$` are summaries, and what figures need: they say nothing that the others do not
    let own = changed.iter().any(|n| !n.contains('$'));
    changed.into_iter().filter(|n| !own || !n.contains('$')).map(reason).collect()
}

fn top(value: &Value) -> std::collections::BTreeMap<&str, &Value> {
    value.as_object().into_iter().flatten().map(|(k, v)| (k.as_str(), v)).collect()
}

fn changed_inputs(then: &Entry, now: &Now) -> Vec<Reason> {
    let mut found = Vec::new();
    for read in now.reads {
        let Some(earlier) = then.reads.iter().find(|r| r.path == read.path) else { continue };
        if earlier.seen != read.seen {
            found.push(Reason::Input { path: read.path.clone(), parts: earlier.state.differing(&read.state, &read.only) });
        }
    }
    found
}
