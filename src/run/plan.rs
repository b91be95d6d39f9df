//! Before a step: where its paths are, what they hold, its key, and whether it is done.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::Result;
use crate::notice::Reporter;
use crate::run::content::{Looking, State};
use crate::run::error::RunError;
use crate::run::explain::{Now, differences, nearest};
use crate::run::hash::Hash;
use crate::run::inplace::{Reached, leads};
use crate::run::key::{Ingredients, Meaning, Stands, spellings, stored_in};
use crate::run::memo::Stamp;
use crate::run::reason::Reason;
use crate::run::session::{Session, lock};
use crate::run::step::StepCall;
use crate::run::store::{Entry, EntryOutput, EntryRead};

/// An input with its state.
pub(crate) struct Input {
    pub path: PathBuf,
    /// As the script spells it.
    pub given: String,
    pub entry: EntryRead,
    /// Stamps of its files before they were hashed.
    pub stamps: Vec<Stamp>,
    /// True if the script means an earlier state than the one on disk.
    pub behind: bool,
    meaning: Meaning,
}

impl Input {
    /// The rest of `text` if it is this path, see [`Meaning::rest`].
    pub fn rest<'t>(&self, text: &'t str) -> Option<&'t str> {
        self.meaning.rest(text)
    }
}

/// An output.
pub(crate) struct Output {
    pub path: PathBuf,
    pub name: String,
    pub in_place: bool,
    /// Under the plots folder, where anything may be overwritten.
    pub exempt: bool,
    meaning: Meaning,
}

/// What a step edits in place.
pub(crate) struct EditOf {
    pub path: PathBuf,
    pub name: String,
    /// State on disk.
    pub disk: State,
    /// State that the script means.
    pub meant: State,
}

/// A step with its paths resolved and its key.
pub(crate) struct Prepared {
    pub verb: String,
    pub inputs: Vec<Input>,
    pub outputs: Vec<Output>,
    pub edit: Option<EditOf>,
    pub canonical: Value,
    pub key: Hash,
    /// The key without the state of what is edited in place.
    pub base: Hash,
}

/// What to do about a step.
pub(crate) enum Decision {
    /// It is done.
    Skip(Box<Entry>),
    /// It is done, but these outputs (by index) must come back from the store.
    Restore(Box<Entry>, Vec<usize>),
    /// It must run.
    Run(Vec<Reason>),
}

impl Session {
    /// The outputs of a call.
    pub(crate) fn outputs_of(&self, call: &StepCall) -> Vec<Output> {
        call.writes.iter().map(|w| self.output(&w.path, w.in_place)).collect()
    }

    pub(crate) fn output(&self, given: &Path, in_place: bool) -> Output {
        let (path, name) = (self.place(given), self.name(given));
        let exempt = self.plots().is_some_and(|plots| path.starts_with(plots));
        let meaning = Meaning { spellings: spellings(&given.to_string_lossy(), &name, &path), stands_for: Stands::Place(name.clone()) };
        Output { path, name, in_place, exempt, meaning }
    }

    /// The inputs of a call with their states; in a dry run an input that would be made anew is not looked at.
    pub(crate) fn inputs_of(&self, call: &StepCall, notice: &dyn Reporter) -> Result<Result<Vec<Input>, Reason>> {
        let mut inputs = Vec::new();
        for read in &call.reads {
            let (path, name) = (self.place(&read.path), self.name(&read.path));
            if lock(&self.stale).iter().any(|s| path.starts_with(s) || s.starts_with(&path)) {
                return Ok(Err(Reason::Upstream { path: name }));
            }
            if std::fs::metadata(&path).is_err() {
                return Err(RunError::NoInput { verb: call.verb.clone(), path }.located());
            }
            let (disk, stamps) = self.look(&path, Looking::default(), notice)?;
            let meant = self.meant(&path, &name, &disk);
            let (state, behind) = meant.map_or((disk, false), |meant| (meant, true));
            let seen = state.seen_by(&read.only);
            let given = read.path.to_string_lossy().into_owned();
            let meaning = Meaning { spellings: spellings(&given, &name, &path), stands_for: Stands::Content(seen) };
            let entry = EntryRead { path: name, only: read.only.clone(), seen, state };
            inputs.push(Input { path, given, stamps, behind, meaning, entry });
        }
        Ok(Ok(inputs))
    }

    /// The state that the script means where it is an earlier one than that on disk, which recorded edits led to.
    fn meant(&self, path: &Path, name: &str, disk: &State) -> Option<State> {
        let reached = lock(&self.reached).get(path).cloned()?;
        let ahead = reached.state.hash != disk.hash && leads(&self.store.edits(name), &reached.state.hash, &disk.hash);
        ahead.then_some(reached.state)
    }

    /// The key of a call whose paths are resolved.
    pub(crate) fn prepare(&self, call: &StepCall, inputs: Vec<Input>, outputs: Vec<Output>, notice: &dyn Reporter) -> Result<Prepared> {
        let edit = match outputs.iter().find(|o| o.in_place) {
            None => None,
            Some(o) if std::fs::metadata(&o.path).is_err() => {
                return Err(RunError::NoInput { verb: call.verb.clone(), path: o.path.clone() }.located());
            }
            Some(o) => {
                let (disk, _) = self.look(&o.path, Looking::default(), notice)?;
                let meant = self.meant(&o.path, &o.name, &disk).unwrap_or_else(|| disk.clone());
                Some(EditOf { path: o.path.clone(), name: o.name.clone(), disk, meant })
            }
        };
        let edited = edit.as_ref().map(|e| e.path.clone());
        // what is edited in place counts by the state before, which enters below, and not as an input of its own
        let inputs: Vec<Input> = inputs.into_iter().filter(|i| Some(&i.path) != edited.as_ref()).collect();
        let (mut inputs, mut outputs) = (inputs, outputs);
        self.learn_spellings(&call.args, &mut inputs, &mut outputs);
        let meanings: Vec<Meaning> = inputs.iter().map(|i| i.meaning.clone()).chain(outputs.iter().map(|o| o.meaning.clone())).collect();
        let also_read: Vec<Hash> = inputs.iter().filter(|i| !is_named(&call.args, &i.meaning)).map(|i| i.entry.seen).collect();
        let build = self.options.strict_build.then_some(self.options.build.as_str());
        let ingredients = Ingredients {
            verb: &call.verb,
            version: call.version,
            args: &call.args,
            unordered: &call.unordered,
            meanings: &meanings,
            also_read,
            writes: outputs.iter().map(|o| o.name.clone()).collect(),
            tables: &call.tables,
            build,
        };
        let base = ingredients.key();
        let key = edit.as_ref().map_or(base, |e| Hash::of(format!("{base} {}", e.meant.hash).as_bytes()));
        let canonical = ingredients.canonical_args();
        Ok(Prepared { verb: call.verb.clone(), inputs, outputs, edit, canonical, key, base })
    }

    /// Arguments may spell a path in ways of their own (`../x/a.ms`): those that lead to an input or output are taken for it.
    fn learn_spellings(&self, args: &Value, inputs: &mut [Input], outputs: &mut [Output]) {
        const LONGEST: usize = 4096;
        let mut texts = Vec::new();
        all_texts(args, &mut texts);
        for text in texts.into_iter().filter(|t| !t.is_empty() && t.len() < LONGEST && !t.contains('\n')) {
            for spelling in std::iter::once(text).chain(text.rsplit_once('#').map(|(path, _)| path)) {
                let place = self.place(spelling);
                let of_inputs = inputs.iter_mut().filter(|i| i.path == place).map(|i| &mut i.meaning);
                let of_outputs = outputs.iter_mut().filter(|o| o.path == place).map(|o| &mut o.meaning);
                for meaning in of_inputs.chain(of_outputs) {
                    if !meaning.spellings.iter().any(|s| s == spelling) {
                        meaning.spellings.push(spelling.to_string());
                    }
                }
            }
        }
    }

    /// Whether the step is done.
    pub(crate) fn decide(&self, call: &StepCall, p: &Prepared, notice: &dyn Reporter) -> Result<Decision> {
        let reasons = || self.reasons(call, p);
        if p.edit.is_some() {
            return self.decide_in_place(p, &reasons);
        }
        if !call.pure {
            return Ok(Decision::Run(vec![Reason::Impure]));
        }
        if self.options.force {
            return Ok(Decision::Run(vec![Reason::Forced]));
        }
        let Some(mut entry) = self.store.entry(&call.verb, &p.key) else { return Ok(Decision::Run(reasons())) };
        if !stored_in(&entry.value).iter().all(|hash| self.store.holds(hash)) {
            return Ok(Decision::Run(vec![Reason::ValueMissing]));
        }
        let (mut missing, mut lost) = (Vec::new(), Vec::new());
        for (i, output) in entry.outputs.iter_mut().enumerate() {
            let Some(reason) = self.look_at_output(output, notice)? else { continue };
            match &output.stored {
                Some(files) if self.store.has(files) => missing.push(i),
                _ => lost.push(reason),
            }
        }
        if !lost.is_empty() {
            return Ok(Decision::Run(lost));
        }
        Ok(if missing.is_empty() { Decision::Skip(Box::new(entry)) } else { Decision::Restore(Box::new(entry), missing) })
    }

    /// Whether an output is as the step wrote it, or as recorded edits in place made it since; else what is wrong with it.
    fn look_at_output(&self, output: &mut EntryOutput, notice: &dyn Reporter) -> Result<Option<Reason>> {
        let path = self.place(&output.path);
        if std::fs::metadata(&path).is_err() {
            return Ok(Some(Reason::OutputMissing { path: output.path.clone() }));
        }
        let (disk, _) = self.look(&path, Looking::default(), notice)?;
        if disk.hash == output.state.hash {
            lock(&self.reached).insert(path, Reached { state: disk.clone(), disk: disk.hash });
            output.state = disk;
            return Ok(None);
        }
        if leads(&self.store.edits(&output.path), &output.state.hash, &disk.hash) {
            let reached = Reached { state: output.state.clone(), disk: disk.hash };
            lock(&self.reached).insert(path, reached);
            return Ok(None);
        }
        Ok(Some(Reason::OutputChanged { path: output.path.clone() }))
    }

    fn now<'a>(&'a self, call: &'a StepCall, p: &'a Prepared, reads: &'a [EntryRead], outputs: &'a [String]) -> Now<'a> {
        Now {
            verb: &call.verb,
            version: call.version,
            args: &call.args,
            canonical: &p.canonical,
            reads,
            outputs,
            tables: &call.tables,
            build: &self.options.build,
        }
    }

    /// Why a step whose key is unknown must run.
    fn reasons(&self, call: &StepCall, p: &Prepared) -> Vec<Reason> {
        let reads: Vec<EntryRead> = p.inputs.iter().map(|i| i.entry.clone()).collect();
        let outputs: Vec<String> = p.outputs.iter().map(|o| o.name.clone()).collect();
        let now = self.now(call, p, &reads, &outputs);
        let found =
            nearest(&self.earlier(now.verb), &now).map(|then| differences(&then, &now, self.options.strict_build)).unwrap_or_default();
        if found.is_empty() { vec![Reason::FirstTime] } else { found }
    }

    /// The value of the nearest earlier step, as a stand-in where nothing is run.
    pub(crate) fn stand_in(&self, call: &StepCall, outputs: &[Output]) -> Option<Entry> {
        let names: Vec<String> = outputs.iter().map(|o| o.name.clone()).collect();
        let meanings: Vec<Meaning> = outputs.iter().map(|o| o.meaning.clone()).collect();
        let canonical = crate::run::key::canonical(&call.args, &meanings);
        let now = Now {
            verb: &call.verb,
            version: call.version,
            args: &call.args,
            canonical: &canonical,
            reads: &[],
            outputs: &names,
            tables: &call.tables,
            build: &self.options.build,
        };
        nearest(&self.earlier(now.verb), &now)
    }
}

fn all_texts<'v>(value: &'v Value, out: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => out.push(text),
        Value::Array(items) => items.iter().for_each(|v| all_texts(v, out)),
        Value::Object(map) => map.values().for_each(|v| all_texts(v, out)),
        _ => {}
    }
}

/// True if an argument names the path.
fn is_named(args: &Value, meaning: &Meaning) -> bool {
    match args {
        Value::String(text) => meaning.rest(text).is_some(),
        Value::Array(items) => items.iter().any(|v| is_named(v, meaning)),
        Value::Object(map) => map.values().any(|v| is_named(v, meaning)),
        _ => false,
    }
}

/// Stamps of a file, or of every file below a folder in the order of their names.
pub(crate) fn stamps_below(path: &Path) -> Result<Vec<Stamp>> {
    if !path.is_dir() {
        return Ok(std::fs::metadata(path).ok().map(|m| Stamp::of(&m)).into_iter().collect());
    }
    let files = crate::run::content::files_below(path)?;
    Ok(files.iter().filter_map(|(_, f)| std::fs::metadata(f.as_ref()?).ok().map(|m| Stamp::of(&m))).collect())
}
