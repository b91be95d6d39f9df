//! A step: skipped, restored, or run and recorded.

use std::path::PathBuf;
use std::time::Instant;

use rayon::prelude::*;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::notice::{Reporter, Warning};
use crate::run::content::Looking;
use crate::run::error::RunError;
use crate::run::hash::Hash;
use crate::run::inplace::Reached;
use crate::run::memo::WORTH_REMEMBERING;
use crate::run::plan::{Decision, Output, Prepared, stamps_below};
use crate::run::reason::Reason;
use crate::run::record::{self, FileLine, Line, Status, Step};
use crate::run::session::{Session, clean_unfinished, lock, stamp_of};
use crate::run::step::{Noted, StepCall, StepContext, StepResult};
use crate::run::store::{self, Edit, Entry, EntryOutput, Owner, Pending};
use crate::run::time::now;
use crate::run::usage::Meter;

impl Session {
    /// Does a step unless it is done: `work` is called at most once, and only if the result is not already there.
    ///
    /// A record line means that the step is complete and its outputs are on the disk. Steps do not nest.
    pub fn step(&self, call: &StepCall, notice: &dyn Reporter, work: impl FnOnce(&StepContext) -> Result<Value>) -> Result<StepResult> {
        let clock = Instant::now();
        notice.check()?;
        let outputs = self.outputs_of(call);
        let names: Vec<String> = outputs.iter().map(|o| o.name.clone()).collect();
        let _held = if self.options.dry_run { Vec::new() } else { self.store.lock(&names, notice)? };
        let inputs = match self.inputs_of(call, notice)? {
            Ok(inputs) => inputs,
            Err(upstream) => return Ok(self.would_run(call, &outputs, None, vec![upstream])),
        };
        let p = self.prepare(call, inputs, outputs, notice)?;
        let alone = names.is_empty() && !self.options.dry_run;
        let _key_held = if alone { self.store.lock(&[format!("key {}", p.key)], notice)? } else { Vec::new() };
        match self.decide(call, &p, notice)? {
            Decision::Skip(entry) => self.reuse(call, &p, *entry, Status::Skipped, clock),
            Decision::Restore(entry, _) if self.options.dry_run => self.reuse(call, &p, *entry, Status::Restored, clock),
            Decision::Restore(entry, outputs) => match self.bring_back(call, &entry, &outputs, notice)? {
                None => self.reuse(call, &p, *entry, Status::Restored, clock),
                Some(lost) => self.execute(call, p, vec![lost], notice, clock, work),
            },
            Decision::Run(because) if self.options.dry_run => Ok(self.would_run(call, &p.outputs, Some(p.key), because)),
            Decision::Run(because) => self.execute(call, p, because, notice, clock, work),
        }
    }

    /// The result of a step that would be done.
    fn would_run(&self, call: &StepCall, outputs: &[Output], key: Option<Hash>, because: Vec<Reason>) -> StepResult {
        lock(&self.stale).extend(outputs.iter().map(|o| o.path.clone()));
        let earlier = self.stand_in(call, outputs);
        let names: Vec<String> = outputs.iter().map(|o| o.name.clone()).collect();
        let index = lock(&self.counts).add(Status::Would, &names);
        StepResult {
            status: Status::Would,
            value: earlier.as_ref().map_or(Value::Null, |e| self.unpacked(&e.value, &[])),
            warnings: Vec::new(),
            quality: Default::default(),
            because,
            key: key.unwrap_or_else(|| Hash::of(b"")),
            index,
            outputs: names,
            usage: earlier.map(|e| e.usage).unwrap_or_default(),
            overhead_s: 0.0,
        }
    }

    /// Brings outputs back from the store; the reason to run instead if one cannot be had.
    fn bring_back(&self, call: &StepCall, entry: &Entry, which: &[usize], notice: &dyn Reporter) -> Result<Option<Reason>> {
        for output in which.iter().filter_map(|i| entry.outputs.get(*i)) {
            let place = self.output(&PathBuf::from(&output.path), false);
            self.check_free(call, &place, notice)?;
            store::create_parent(&place.path)?;
            check_writable(call, &place)?;
            clean_unfinished(&place.path);
            let files = output.stored.as_deref().unwrap_or_default();
            if !self.store.restore(files, &place.path, notice)? {
                return Ok(Some(Reason::OutputMissing { path: output.path.clone() }));
            }
            self.own(&output.path, output.state.hash, &entry.verb)?;
        }
        Ok(None)
    }

    /// The result of a step that is done.
    fn reuse(&self, call: &StepCall, p: &Prepared, entry: Entry, status: Status, clock: Instant) -> Result<StepResult> {
        if let Some(edit) = &p.edit
            && let Some(after) = entry.outputs.iter().find(|o| o.path == edit.name)
        {
            let reached = Reached { state: after.state.clone(), disk: edit.disk.hash };
            lock(&self.reached).insert(edit.path.clone(), reached);
        }
        if !self.options.dry_run {
            for output in &entry.outputs {
                self.store.end_pending(&output.path)?;
            }
            self.store.touch(&entry);
        }
        self.report(call, p, &entry, status, Vec::new(), clock.elapsed().as_secs_f64())
    }

    /// Runs a step and records it.
    fn execute(
        &self,
        call: &StepCall,
        p: Prepared,
        because: Vec<Reason>,
        notice: &dyn Reporter,
        clock: Instant,
        work: impl FnOnce(&StepContext) -> Result<Value>,
    ) -> Result<StepResult> {
        self.refuse_if_behind(&p)?;
        self.make_way(call, &p, notice)?;
        let history = record::history(&self.run, &call.verb, call.version, &p.key);
        let ahead = |files: &[PathBuf]| self.hash_ahead(files, notice);
        let context = StepContext::new(notice, &ahead, history, p.key);
        let before_s = clock.elapsed().as_secs_f64();
        self.note_peak();
        let meter = Meter::start();
        let done = work(&context);
        let usage = meter.read();
        let clock = Instant::now();
        let noted = context.into_noted();
        let completed = done.and_then(|value| {
            let mut entry = self.complete(call, &p, value, noted, notice)?;
            entry.usage = usage;
            self.keep(&p, &entry)?;
            Ok(entry)
        });
        match completed {
            Ok(entry) => self.report(call, &p, &entry, Status::Run, because, before_s + clock.elapsed().as_secs_f64()),
            Err(e) => {
                for output in &p.outputs {
                    if let Some(pending) = self.store.pending(&output.name) {
                        self.settle(pending)?;
                    }
                }
                Err(e)
            }
        }
    }

    /// A step must not run on a set that is on disk in a later state than the script means.
    fn refuse_if_behind(&self, p: &Prepared) -> Result<()> {
        match p.inputs.iter().find(|i| i.behind) {
            None => Ok(()),
            Some(input) => {
                let found = "it is on disk as after a later edit of this script".to_string();
                Err(RunError::UnknownState { verb: p.verb.clone(), found, path: input.path.clone() }.located())
            }
        }
    }

    /// Refuses what must not be overwritten, creates folders, clears leftovers, notes that the step begins.
    fn make_way(&self, call: &StepCall, p: &Prepared, notice: &dyn Reporter) -> Result<()> {
        for output in &p.outputs {
            if !output.in_place {
                self.check_free(call, output, notice)?;
            }
            store::create_parent(&output.path)?;
            check_writable(call, output)?;
            clean_unfinished(&output.path);
        }
        for output in &p.outputs {
            let before = p.edit.as_ref().filter(|_| output.in_place).map(|e| e.disk.hash);
            self.store.put_pending(&Pending {
                path: output.name.clone(),
                verb: call.verb.clone(),
                run: self.run.clone(),
                time: now(),
                was: stamp_of(&output.path),
                left: None,
                before,
            })?;
            lock(&self.reached).remove(&output.path);
        }
        p.outputs.iter().filter(|o| !o.in_place).try_for_each(|o| self.move_aside(p, o))
    }

    /// Moves an output that is there out of the way until the new one is complete; writers refuse what exists.
    fn move_aside(&self, p: &Prepared, output: &Output) -> Result<()> {
        let is_input = p.inputs.iter().any(|i| i.path.starts_with(&output.path));
        let holds_plots = self.plots().is_some_and(|plots| plots.starts_with(&output.path));
        if is_input || holds_plots || stamp_of(&output.path).is_none() {
            return Ok(());
        }
        let aside = store::aside_of(&output.path);
        store::remove(&aside)?;
        std::fs::rename(&output.path, &aside).map_err(|e| Error::io("move the earlier output aside", &output.path, e))
    }

    /// Fails if `output` is there and neither this project wrote it nor the call may overwrite it.
    fn check_free(&self, call: &StepCall, output: &Output, notice: &dyn Reporter) -> Result<()> {
        let Some(stamp) = stamp_of(&output.path) else { return Ok(()) };
        let left_by_the_dead = || self.store.pending(&output.name).is_some_and(|p| p.left == Some(stamp));
        if output.exempt || call.overwrite || left_by_the_dead() {
            return Ok(());
        }
        let is = self.look(&output.path, Looking::default(), notice)?.0.hash;
        if self.store.wrote(&output.name, &is) {
            return Ok(());
        }
        let (verb, path) = (call.verb.clone(), output.path.clone());
        Err(match self.store.owner(&output.name) {
            Some(Owner { hash: Some(was), verb: writer, .. }) => {
                RunError::Altered { verb, writer, was: was.short(), is: is.short(), path }.located()
            }
            _ => RunError::NotOurs { verb, path }.located(),
        })
    }

    /// After the work: inputs unchanged, outputs there, on the disk, hashed, and kept where small.
    fn complete(&self, call: &StepCall, p: &Prepared, value: Value, noted: Noted, notice: &dyn Reporter) -> Result<Entry> {
        self.check_inputs_unchanged(call, p, notice)?;
        let mut places: Vec<(PathBuf, String, bool)> = p.outputs.iter().map(|o| (o.path.clone(), o.name.clone(), o.in_place)).collect();
        for path in &noted.wrote {
            let o = self.output(path, false);
            if !places.iter().any(|(_, name, _)| *name == o.name) {
                places.push((o.path, o.name, false));
            }
        }
        for (path, ..) in &places {
            if std::fs::metadata(path).is_err() {
                return Err(RunError::NoOutput { verb: call.verb.clone(), path: path.clone() }.located());
            }
        }
        // the processor hashes while the disk takes what was written
        let (synced, outputs) = std::thread::scope(|scope| {
            let paths: Vec<PathBuf> = places.iter().map(|(path, ..)| path.clone()).collect();
            let disk = scope.spawn(move || paths.iter().try_for_each(|path| store::sync(path)));
            let outputs = places.into_iter().map(|place| self.finished_output(p, place, notice)).collect::<Result<Vec<_>>>();
            (disk.join().unwrap_or_else(|_| Err(Error::internal("the thread that syncs outputs failed"))), outputs)
        });
        synced?;
        let outputs = outputs?;
        Ok(self.entry(call, p, outputs, value, noted))
    }

    /// Hashes the large ones of files that a step has completed, so that they are known when its outputs are looked at.
    fn hash_ahead(&self, files: &[PathBuf], notice: &dyn Reporter) {
        let own = Looking { own: true, fresh: false };
        let is_large = |f: &&PathBuf| std::fs::metadata(f).is_ok_and(|m| m.is_file() && m.len() >= WORTH_REMEMBERING);
        let large: Vec<&PathBuf> = files.iter().filter(is_large).collect();
        // what fails here fails again, and is told, when the outputs are looked at
        large.into_par_iter().for_each(|f| drop(self.registry.state(f, &self.memo, own, notice)));
    }

    fn finished_output(&self, p: &Prepared, place: (PathBuf, String, bool), notice: &dyn Reporter) -> Result<EntryOutput> {
        let (path, name, in_place) = place;
        let (state, _) = self.look(&path, Looking { own: true, fresh: false }, notice)?;
        let before = p.edit.as_ref().filter(|_| in_place).map(|e| e.disk.clone());
        // the store is a convenience: where it has no room the output is made again when it is missed
        let stored = if in_place { None } else { self.store.keep(&path, notice).unwrap_or(None) };
        notice.check()?;
        Ok(EntryOutput { path: name, state, before, stored })
    }

    fn check_inputs_unchanged(&self, call: &StepCall, p: &Prepared, notice: &dyn Reporter) -> Result<()> {
        for input in &p.inputs {
            if p.outputs.iter().any(|o| o.path.starts_with(&input.path)) || stamps_below(&input.path)? == input.stamps {
                continue;
            }
            let (is, _) = self.look(&input.path, Looking::default(), notice)?;
            if is.seen_by(&input.entry.only) != input.entry.seen {
                let parts = input.entry.state.differing(&is, &input.entry.only).join(", ");
                let parts = if parts.is_empty() { "its bytes".to_string() } else { parts };
                return Err(RunError::InputChanged { verb: call.verb.clone(), parts, path: input.path.clone() }.located());
            }
        }
        Ok(())
    }

    fn entry(&self, call: &StepCall, p: &Prepared, outputs: Vec<EntryOutput>, value: Value, noted: Noted) -> Entry {
        let hash_of = |name: &str| outputs.iter().find(|o| o.path == name).map(|o| o.state.hash);
        let quality = noted.judged();
        let mut figures = noted.figures;
        for figure in &mut figures {
            figure.path = self.name(&figure.path);
            figure.hash = hash_of(&figure.path);
        }
        Entry {
            key: p.key,
            base: p.base,
            verb: call.verb.clone(),
            version: call.version,
            build: self.options.build.clone(),
            run: self.run.clone(),
            script: self.options.script.clone(),
            time: now(),
            args: call.args.clone(),
            canonical: p.canonical.clone(),
            tables: call.tables.clone(),
            reads: p.inputs.iter().map(|i| i.entry.clone()).collect(),
            outputs,
            value: self.packed(&value, &p.inputs),
            warnings: noted.warnings,
            quality,
            figures,
            shown: noted.tables,
            usage: Default::default(),
        }
    }

    /// Keeps a finished step; from here on it counts.
    fn keep(&self, p: &Prepared, entry: &Entry) -> Result<()> {
        self.store.put_entry(entry)?;
        for output in &entry.outputs {
            if let Some(before) = &output.before {
                let edit = Edit {
                    before: before.hash,
                    after: output.state.hash,
                    base: p.base,
                    key: p.key,
                    verb: entry.verb.clone(),
                    script: entry.script.clone(),
                    run: entry.run.clone(),
                };
                self.store.put_edit(&output.path, edit)?;
            }
            let reached = Reached { state: output.state.clone(), disk: output.state.hash };
            lock(&self.reached).insert(self.place(&output.path), reached);
            self.own(&output.path, output.state.hash, &entry.verb)?;
            store::remove(&store::aside_of(&self.place(&output.path)))?;
            self.store.end_pending(&output.path)?;
        }
        Ok(())
    }

    fn own(&self, path: &str, hash: Hash, verb: &str) -> Result<()> {
        self.store.put_owner(&Owner { path: path.to_string(), hash: Some(hash), verb: verb.to_string() })
    }

    /// Counts the step, writes its line with its figures and tables, and makes the result.
    fn report(
        &self,
        call: &StepCall,
        p: &Prepared,
        entry: &Entry,
        status: Status,
        because: Vec<Reason>,
        overhead_s: f64,
    ) -> Result<StepResult> {
        let outputs: Vec<String> = entry.outputs.iter().map(|o| o.path.clone()).collect();
        let index = lock(&self.counts).add(status, &outputs);
        self.note_writers(call, p, entry);
        let value = self.unpacked(&entry.value, &p.inputs);
        if !self.options.dry_run {
            let line = self.line(call, p, entry, status, &because, index, &value, overhead_s);
            self.write(lines_of(line, entry, &self.run, call.cell, index), status != Status::Skipped)?;
        }
        Ok(StepResult {
            status,
            value,
            warnings: entry.warnings.clone(),
            quality: entry.quality.clone(),
            because,
            key: p.key,
            index,
            outputs,
            usage: entry.usage,
            overhead_s,
        })
    }

    /// Warns if another step of this run wrote the same file: then neither is ever done for good.
    fn note_writers(&self, call: &StepCall, p: &Prepared, entry: &Entry) {
        let made = p.outputs.iter().filter(|o| !o.in_place).map(|o| &o.name);
        for path in made.chain(entry.figures.iter().map(|f| &f.path)) {
            let earlier = lock(&self.writers).insert(path.clone(), p.key);
            if earlier.is_some_and(|key| key != p.key) {
                let message = format!("{path} is written by two steps of this script, the later one by `{}`", call.verb);
                self.warn(
                    call.cell,
                    Warning::new("written-twice", message).hint("give each its own file: both are done again in every run"),
                );
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one line of the record")]
    fn line(
        &self,
        call: &StepCall,
        p: &Prepared,
        entry: &Entry,
        status: Status,
        because: &[Reason],
        index: usize,
        value: &Value,
        overhead_s: f64,
    ) -> Step {
        let input = |r: &crate::run::store::EntryRead| FileLine {
            path: r.path.clone(),
            state: r.state.clone(),
            only: r.only.clone(),
            before: None,
            stored: false,
        };
        let output = |o: &EntryOutput| FileLine {
            path: o.path.clone(),
            state: o.state.clone(),
            only: Vec::new(),
            before: o.before.clone(),
            stored: o.stored.is_some(),
        };
        Step {
            facts: None,
            same_as: None,
            run: self.run.clone(),
            index,
            key: entry.key,
            verb: call.verb.clone(),
            version: call.version,
            cell: call.cell,
            line: call.line,
            time: now(),
            status,
            because: because.to_vec(),
            made_by: entry.run.clone(),
            args: call.args.clone(),
            inputs: p.inputs.iter().map(|i| input(&i.entry)).collect(),
            outputs: entry.outputs.iter().map(output).collect(),
            value: value.clone(),
            warnings: entry.warnings.clone(),
            quality: entry.quality.clone(),
            tables: call.tables.iter().map(|(k, v)| (k.clone(), Value::String(v.clone()))).collect(),
            seed: call.seed,
            threads: self.options.threads,
            usage: entry.usage,
            overhead_s,
            tolerance: call.tolerance,
        }
    }

    /// Sets that are on disk in a later state than this script leads to, because an edit was taken out of it.
    pub fn loose_ends(&self) -> Vec<Warning> {
        let ahead = lock(&self.reached).iter().filter(|(_, r)| r.state.hash != r.disk).map(|(path, _)| self.name(path)).collect::<Vec<_>>();
        let warning = |path: String| {
            Warning::new("edit-left-over", format!("{path} carries an edit in place that this script does not make any more"))
                .hint("start again from the original set, or let the script write a new one")
        };
        ahead.into_iter().map(warning).collect()
    }
}

fn lines_of(step: Step, entry: &Entry, run: &str, cell: Option<usize>, index: usize) -> Vec<Line> {
    let mut lines = vec![Line::Step(Box::new(step))];
    for figure in &entry.figures {
        let figure = record::Figure { run: run.to_string(), cell, step: Some(index), ..figure.clone() };
        lines.push(Line::Figure(figure));
    }
    for table in &entry.shown {
        let table = record::Table { run: run.to_string(), cell, step: Some(index), ..table.clone() };
        lines.push(Line::Table(table));
    }
    lines
}

fn check_writable(call: &StepCall, output: &Output) -> Result<()> {
    match output.path.parent() {
        Some(folder) if !store::may_write(folder) => {
            Err(RunError::ReadOnly { verb: call.verb.clone(), path: folder.to_path_buf() }.located())
        }
        _ => Ok(()),
    }
}
