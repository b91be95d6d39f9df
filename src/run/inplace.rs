//! Edits in place: disk = after, skip; disk = before, run; anything else, stop and say which recorded state matches.
//!
//! A script may edit a set several times, before0 -> after0 = before1 -> after1. When it runs again the set is at the last
//! state, so an earlier edit is done if a chain of recorded edits leads from its result to what is on disk; the session then
//! remembers that the script is at `after0` while the disk is ahead of it.

use crate::error::Result;
use crate::run::content::State;
use crate::run::error::RunError;
use crate::run::hash::Hash;
use crate::run::plan::{Decision, Prepared};
use crate::run::reason::Reason;
use crate::run::session::{Session, lock};
use crate::run::store::Edit;

/// Where the script has got to with a set that it edits in place.
#[derive(Debug, Clone)]
pub(crate) struct Reached {
    /// The state that the script means.
    pub state: State,
    /// The state on disk; another one where the disk is ahead.
    pub disk: Hash,
}

impl Session {
    /// What to do about a step that edits in place; `reasons` is called if it is new.
    pub(crate) fn decide_in_place(&self, p: &Prepared, reasons: &dyn Fn() -> Vec<Reason>) -> Result<Decision> {
        let Some(edit) = &p.edit else { return Ok(Decision::Run(reasons())) };
        let edits = self.store.edits(&edit.name);
        let complete = edits.iter().any(|e| e.after == edit.disk.hash);
        let cut = self.store.pending(&edit.name).filter(|c| c.before.is_some_and(|b| b != edit.disk.hash));
        if let Some(cut) = cut.filter(|_| !complete) {
            let found = format!("`{}` began to edit it at {} and was cut short", cut.verb, cut.time);
            return Err(self.unknown(p, found));
        }
        let reached = lock(&self.reached).get(&edit.path).cloned();
        match reached {
            Some(reached) => self.continue_chain(p, &edits, &reached, reasons),
            None => self.begin_chain(p, &edits, reasons),
        }
    }

    /// The script has edited this set before in this run: it goes on from where it is.
    fn continue_chain(&self, p: &Prepared, edits: &[Edit], reached: &Reached, reasons: &dyn Fn() -> Vec<Reason>) -> Result<Decision> {
        let Some(edit) = &p.edit else { return Ok(Decision::Run(reasons())) };
        let at_disk = reached.state.hash == edit.disk.hash;
        let known = edits.iter().rev().find(|e| e.key == p.key).and_then(|e| self.store.entry(&p.verb, &e.key).map(|entry| (e, entry)));
        match known {
            Some((e, entry)) if leads(edits, &e.after, &edit.disk.hash) => Ok(Decision::Skip(Box::new(entry))),
            Some(_) if at_disk => Ok(Decision::Run(vec![Reason::BeforeEdit { path: edit.name.clone() }])),
            None if at_disk => Ok(Decision::Run(reasons())),
            _ => Err(self.unknown(p, self.describe(edits, &edit.disk.hash))),
        }
    }

    /// The first edit of this set in this run: the state on disk says where it is.
    fn begin_chain(&self, p: &Prepared, edits: &[Edit], reasons: &dyn Fn() -> Vec<Reason>) -> Result<Decision> {
        let Some(edit) = &p.edit else { return Ok(Decision::Run(reasons())) };
        let disk = edit.disk.hash;
        let same: Vec<&Edit> = edits.iter().rev().filter(|e| e.base == p.base).collect();
        let done =
            same.iter().find(|e| e.after == disk).or_else(|| same.iter().find(|e| e.before != disk && leads(edits, &e.after, &disk)));
        if let Some(entry) = done.and_then(|e| self.store.entry(&p.verb, &e.key)) {
            return Ok(Decision::Skip(Box::new(entry)));
        }
        if same.iter().any(|e| e.before == disk) {
            return Ok(Decision::Run(vec![Reason::BeforeEdit { path: edit.name.clone() }]));
        }
        let by_this_script = edits.iter().any(|e| e.after == disk && e.script == self.options.script);
        if !same.is_empty() || by_this_script {
            return Err(self.unknown(p, self.describe(edits, &disk)));
        }
        Ok(Decision::Run(reasons()))
    }

    /// Which recorded state a hash is.
    fn describe(&self, edits: &[Edit], disk: &Hash) -> String {
        if let Some(e) = edits.iter().rev().find(|e| e.after == *disk) {
            return format!("it is as after `{}` of {} (run {})", e.verb, e.script, e.run);
        }
        match edits.iter().rev().find(|e| e.before == *disk) {
            Some(e) => format!("it is as before `{}` of {} (run {})", e.verb, e.script, e.run),
            None => format!("its hash {} is none of the {} recorded states", disk.short(), edits.len() + 1),
        }
    }

    pub(crate) fn unknown(&self, p: &Prepared, found: String) -> crate::error::Error {
        let path = p.edit.as_ref().map(|e| e.path.clone()).unwrap_or_default();
        RunError::UnknownState { verb: p.verb.clone(), found, path }.located()
    }
}

/// True if recorded edits lead from `from` to `to`, in any number of steps including none.
pub(crate) fn leads(edits: &[Edit], from: &Hash, to: &Hash) -> bool {
    let mut reachable = vec![*from];
    let mut next = 0;
    while next < reachable.len() {
        let at = reachable[next];
        if at == *to {
            return true;
        }
        for e in edits.iter().filter(|e| e.before == at) {
            if !reachable.contains(&e.after) {
                reachable.push(e.after);
            }
        }
        next += 1;
    }
    false
}
