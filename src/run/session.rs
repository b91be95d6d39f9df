//! One run of a script: its identity, what it did so far, its record.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::notice::{Reporter, Warning};
use crate::run::content::{Looking, Registry, State};
use crate::run::hash::Hash;
use crate::run::inplace::Reached;
use crate::run::key::name_of;
use crate::run::lock::Patient;
use crate::run::memo::{self, How, Memo, Stamp};
use crate::run::plan::stamps_below;
use crate::run::record::{
    self, End, Failure, Figure, FileLine, Line, ModuleLine, Outcome, Parameter, ParameterLine, Print, Remark, Script, Start, Table,
};
use crate::run::step::Counts;
use crate::run::store::{self, Entry, Pending, Store};
use crate::run::time;
use crate::run::usage::{Machine, Meter, Usage};

/// What a run is to do.
#[derive(Debug, Clone, Default)]
pub struct SessionOptions {
    /// Folder of the project; relative paths start here, the store lies in it.
    pub root: PathBuf,
    /// Folder of figures, report and record; what is in it may be overwritten. `None` keeps no record.
    pub plots: Option<PathBuf>,
    /// Name of the script.
    pub script: String,
    /// The file of the script; without it nobody can notice that it was edited.
    pub script_file: Option<PathBuf>,
    /// Do every step again.
    pub force: bool,
    /// Do nothing and say what would be done.
    pub dry_run: bool,
    /// Take another build of the program as a change.
    pub strict_build: bool,
    /// How this program was built.
    pub build: String,
    /// Number of threads, for the record.
    pub threads: usize,
    /// Seed of random numbers of the run, for the record.
    pub seed: Option<u64>,
}

/// One run of a script. It can be shared between threads; steps that write the same path wait for each other.
pub struct Session {
    pub(crate) options: SessionOptions,
    pub(crate) root: PathBuf,
    plots: Mutex<Option<PathBuf>>,
    pub(crate) run: String,
    pub(crate) registry: Registry,
    pub(crate) memo: Memo,
    pub(crate) store: Store,
    pub(crate) counts: Mutex<Counts>,
    /// Where the script has got to with what it edits in place.
    pub(crate) reached: Mutex<BTreeMap<PathBuf, Reached>>,
    /// Outputs that a dry run would make anew.
    pub(crate) stale: Mutex<BTreeSet<PathBuf>>,
    /// Lines that are not in the record yet.
    waiting: Mutex<Vec<Line>>,
    /// Steps of earlier runs by verb, read when the first step of the verb must run.
    earlier: Mutex<BTreeMap<String, Arc<Vec<Entry>>>>,
    /// Facts of steps that the record holds, and the folder it lies in.
    known: Mutex<Option<(PathBuf, BTreeSet<Hash>)>>,
    /// Hash of the script as it was read.
    script_hash: Mutex<Option<Hash>>,
    /// States that this run took, with the stamps that they hold for.
    states: Mutex<BTreeMap<PathBuf, (Vec<Stamp>, State)>>,
    /// Key of the step that wrote a file in this run.
    pub(crate) writers: Mutex<BTreeMap<String, Hash>>,
    /// Largest resident memory of the steps so far, in bytes.
    peak: AtomicU64,
    meter: Meter,
}

/// The line with which `--json` ends.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// How the run ended.
    pub status: Outcome,
    /// Steps executed.
    pub steps_run: usize,
    /// Steps not done because they were done.
    pub steps_skipped: usize,
    /// Steps whose outputs came from the store.
    pub steps_restored: usize,
    /// Everything that the steps of the run wrote, now or earlier.
    pub outputs: Vec<String>,
    /// Elapsed time in s.
    pub wall_s: f64,
}

impl Session {
    /// Opens the store of the project and the record of the run; a store that cannot be written is no error, see
    /// [`keeps`](Session::keeps).
    pub fn open(options: SessionOptions, registry: Registry) -> Result<Session> {
        let meter = Meter::start();
        let root = options.root.canonicalize().map_err(|e| Error::io("open the project's folder", &options.root, e))?;
        let store = if options.dry_run { Store::open(&root) } else { Store::create(&root) };
        let plots = options.plots.as_ref().map(|p| resolve(&root, p));
        let memo = store.memo();
        let session = Session {
            root,
            plots: Mutex::new(plots),
            run: run_id(),
            registry,
            memo,
            store,
            counts: Mutex::default(),
            reached: Mutex::default(),
            stale: Mutex::default(),
            waiting: Mutex::default(),
            earlier: Mutex::default(),
            known: Mutex::default(),
            script_hash: Mutex::default(),
            states: Mutex::default(),
            writers: Mutex::default(),
            peak: AtomicU64::new(0),
            meter,
            options,
        };
        session.settle_the_dead();
        Ok(session)
    }

    /// Id of the run: time and four random digits.
    pub fn run_id(&self) -> &str {
        &self.run
    }
    /// Folder of the project, without links.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// Folder of figures, report and record.
    pub fn plots(&self) -> Option<PathBuf> {
        lock(&self.plots).clone()
    }
    /// Puts figures, report and record elsewhere; lines that are written already stay where they are, and none are before the
    /// first step ends.
    pub fn set_plots(&self, path: impl AsRef<Path>) {
        let place = self.place(path);
        *lock(&self.plots) = Some(place);
    }
    /// False where `.phangs/` cannot be written, so that every step is done every time.
    pub fn keeps(&self) -> bool {
        self.store.writable()
    }
    /// The store, for values that are too large for the arguments of a step.
    pub fn store(&self) -> &Store {
        &self.store
    }
    /// True if nothing is to be done.
    pub fn is_dry(&self) -> bool {
        self.options.dry_run
    }
    /// What the run did so far.
    pub fn counts(&self) -> Counts {
        lock(&self.counts).clone()
    }

    /// The absolute place of a path that a script gave; links in its folder are resolved, the last name is kept.
    pub fn place(&self, path: impl AsRef<Path>) -> PathBuf {
        resolve(&self.root, path.as_ref())
    }
    /// Name of a path in the project: relative inside it, absolute outside.
    pub fn name(&self, path: impl AsRef<Path>) -> String {
        name_of(&self.place(path), &self.root)
    }

    /// The steps of earlier runs with this verb, the newest last.
    pub(crate) fn earlier(&self, verb: &str) -> Arc<Vec<Entry>> {
        lock(&self.earlier).entry(verb.to_string()).or_insert_with(|| Arc::new(self.store.entries(verb))).clone()
    }

    /// State of a path by memo or by reading it.
    pub fn state(&self, path: impl AsRef<Path>, notice: &dyn Reporter) -> Result<State> {
        Ok(self.look(&self.place(path), Looking::default(), notice)?.0)
    }

    /// State of an absolute path, with the stamps of its files from before it was taken. A state that this run took before is
    /// used again while all stamps are the same: opening the tables of a set for their rows costs more than its memo.
    pub(crate) fn look(&self, path: &Path, looking: Looking, notice: &dyn Reporter) -> Result<(State, Vec<Stamp>)> {
        let stamps = stamps_below(path)?;
        if let Some((same, state)) = lock(&self.states).get(path)
            && *same == stamps
        {
            return Ok((State { how: How::Memo, ..state.clone() }, stamps));
        }
        let settled = stamps.iter().all(|s| s.age() >= memo::STRICT);
        let state = self.registry.state(path, &self.memo, looking, notice)?;
        // what the memo itself would not trust is looked at again
        if settled || state.how == How::Memo {
            lock(&self.states).insert(path.to_path_buf(), (stamps.clone(), state.clone()));
        }
        Ok((state, stamps))
    }

    /// Remembers the high-water mark of memory before it is set back for the next step.
    pub(crate) fn note_peak(&self) {
        self.peak.fetch_max(crate::run::usage::peak_bytes(), Ordering::Relaxed);
    }

    /// The first line of the run; `run`, `time`, `machine`, `threads`, `seed`, `build` and `script` are filled in.
    pub fn begin(&self, script: Script, mut start: Start) {
        start.run = self.run.clone();
        start.time = time::now();
        start.machine = Machine::this();
        start.threads = self.options.threads;
        start.seed = self.options.seed;
        start.build = self.options.build.clone();
        start.script = self.options.script.clone();
        start.script_hash = Some(script.hash);
        start.file = self.options.script_file.as_ref().map(|f| self.name(f)).unwrap_or_default();
        *lock(&self.script_hash) = Some(script.hash);
        start.forced = self.options.force;
        lock(&self.waiting).extend([Line::Script(script), Line::Start(Box::new(start))]);
    }

    /// Notes a parameter as the script asks for it; the last note of a name counts.
    pub fn parameter(&self, parameter: Parameter) {
        lock(&self.waiting).push(Line::Parameter(ParameterLine { run: self.run.clone(), parameter }));
    }
    /// Notes a module that the script imports, with its hash.
    pub fn module(&self, path: impl AsRef<Path>, notice: &dyn Reporter) -> Result<()> {
        let (state, path) = (self.state(&path, notice)?, self.name(&path));
        let file = FileLine { path, state, only: Vec::new(), before: None, stored: false };
        lock(&self.waiting).push(Line::Module(ModuleLine { run: self.run.clone(), file }));
        Ok(())
    }

    /// Adds to what a cell printed.
    pub fn print(&self, cell: Option<usize>, text: &str) {
        let mut waiting = lock(&self.waiting);
        match waiting.last_mut() {
            Some(Line::Print(last)) if last.cell == cell => last.text.push_str(text),
            _ => waiting.push(Line::Print(Print { run: self.run.clone(), cell, text: text.to_string() })),
        }
    }
    /// Shows a figure that no step of this run drew.
    pub fn figure(&self, mut figure: Figure) {
        figure.run = self.run.clone();
        figure.path = self.name(&figure.path);
        lock(&self.waiting).push(Line::Figure(figure));
    }
    /// Shows a table that no step of this run made.
    pub fn table(&self, mut table: Table) {
        table.run = self.run.clone();
        lock(&self.waiting).push(Line::Table(table));
    }
    /// Notes a warning outside any step.
    pub fn warn(&self, cell: Option<usize>, warning: Warning) {
        lock(&self.waiting).push(Line::Warning(Remark { run: self.run.clone(), cell, warning }));
    }

    /// Writes the last line of the run. `error` is what stopped it, with the cell and line where.
    pub fn finish(&self, error: Option<(&Error, Option<usize>, Option<usize>)>) -> Result<Summary> {
        let counts = self.counts();
        self.note_peak();
        let usage = Usage { peak_bytes: self.peak.load(Ordering::Relaxed), ..self.meter.read() };
        let odd = self.loose_ends().into_iter().chain(self.edited_script());
        odd.for_each(|warning| self.warn(None, warning));
        let outcome = error.map_or(Outcome::Done, |(e, _, _)| Outcome::of(e));
        let end = End {
            run: self.run.clone(),
            time: time::now(),
            outcome,
            exit_code: error.map_or(0, |(e, _, _)| e.kind.exit_code()),
            steps_run: counts.steps_run,
            steps_skipped: counts.steps_skipped,
            steps_restored: counts.steps_restored,
            outputs: counts.outputs.clone(),
            usage,
            error: error.map(|(e, cell, line)| Failure { message: e.message.clone(), hint: e.hint.clone(), cell, line }),
        };
        self.write(vec![Line::End(Box::new(end))], true)?;
        Ok(Summary {
            status: outcome,
            steps_run: counts.steps_run,
            steps_skipped: counts.steps_skipped,
            steps_restored: counts.steps_restored,
            outputs: counts.outputs,
            wall_s: usage.wall_s,
        })
    }

    /// A warning if the script on disk is not the one that ran.
    fn edited_script(&self) -> Option<Warning> {
        let (ran, file) = (*lock(&self.script_hash), self.options.script_file.as_ref()?);
        let now = crate::run::hash::hash_file(&self.place(file), &Patient).ok();
        (ran.is_some() && now != ran).then(|| {
            Warning::new("script-edited", "the script was edited while it ran; the record holds the text that ran")
                .hint("run it again to see what the new text does")
        })
    }

    /// Appends what waits and `lines` to the record. A step that was skipped is true anyway: its line need not be `durable`.
    pub(crate) fn write(&self, lines: Vec<Line>, durable: bool) -> Result<()> {
        let mut all = std::mem::take(&mut *lock(&self.waiting));
        all.extend(lines);
        let Some(plots) = self.plots().filter(|_| !self.options.dry_run) else { return Ok(()) };
        let known = |line: &Line| matches!(line, Line::Script(script) if record::holds_script(&plots, &script.hash));
        all.retain(|line| !known(line));
        for line in &mut all {
            if let Line::Start(start) = line {
                start.project = way(&plots, &self.root);
            }
        }
        self.shorten(&plots, &mut all);
        let written = record::Writer::in_folder(&plots).and_then(|w| w.append(&all, durable));
        if written.is_err() {
            *lock(&self.known) = None;
        }
        written
    }

    /// Leaves out what the record says already, so that it hardly grows by runs that do nothing.
    fn shorten(&self, plots: &Path, lines: &mut [Line]) {
        let mut known = lock(&self.known);
        match known.as_mut().filter(|(folder, _)| folder == plots) {
            Some((_, known)) => record::shorten(lines, known),
            None => {
                let (_, known) = known.insert((plots.to_path_buf(), record::known_facts(plots)));
                record::shorten(lines, known);
            }
        }
    }

    /// Steps of dead processes that were cut short: remembers what they left, deletes their temporary files.
    fn settle_the_dead(&self) {
        if self.options.dry_run || !self.store.writable() {
            return;
        }
        for pending in self.store.all_pending() {
            if let Ok(Some(_held)) = self.store.try_lock(&pending.path) {
                // what cannot be settled now is settled when the path is written again
                let _ = self.settle(pending);
            }
        }
    }

    /// Ends or updates the note about a step that is not under way any more; the caller holds the lock of its path.
    ///
    /// What the step moved aside comes back, unless its own output is complete and recorded.
    pub(crate) fn settle(&self, mut pending: Pending) -> Result<()> {
        let path = self.place(&pending.path);
        clean_unfinished(&path);
        let aside = store::aside_of(&path);
        let is_folder = |path: &Path| path.symlink_metadata().ok().map(|m| m.is_dir());
        if is_folder(&aside).zip(is_folder(&path)).is_some_and(|(earlier, now)| earlier != now) {
            // No step turns a file into a folder: what is there is somebody else's, and is not touched.
            return Ok(());
        }
        if aside.symlink_metadata().is_ok() {
            let is = self.registry.state(&path, &self.memo, Looking::default(), &Patient).ok();
            if is.is_none_or(|state| !self.store.wrote(&pending.path, &state.hash)) {
                store::remove(&path)?;
                std::fs::rename(&aside, &path).map_err(|e| Error::io("put back the earlier output", &path, e))?;
            }
            store::remove(&aside)?;
        }
        let is = stamp_of(&path);
        let as_before = is.zip(pending.was).is_some_and(|(is, was)| is.is_same_file(&was));
        if is.is_none() || (as_before && pending.before.is_none()) {
            return self.store.end_pending(&pending.path);
        }
        if pending.left.is_none() {
            pending.left = is;
            return self.store.put_pending(&pending);
        }
        Ok(())
    }

    /// Parameters of the run as a map, for whoever shows them.
    pub fn versions(extra: &[(&str, String)]) -> Map<String, Value> {
        let own = ("phangs-script", env!("CARGO_PKG_VERSION").to_string());
        std::iter::once(&own).chain(extra).map(|(name, version)| (name.to_string(), Value::String(version.clone()))).collect()
    }
}

/// The way from a folder to the project it lies in, for example `../..`, so that both can be moved; else the absolute path.
fn way(from: &Path, root: &Path) -> String {
    match from.strip_prefix(root) {
        Ok(inside) => inside.components().map(|_| "..").collect::<Vec<_>>().join("/"),
        Err(_) => root.to_string_lossy().into_owned(),
    }
}

/// Locks a mutex; a thread that panicked while it held the lock leaves values that are whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// The stamp of a path itself, if it is there.
pub(crate) fn stamp_of(path: &Path) -> Option<Stamp> {
    std::fs::symlink_metadata(path).ok().map(|m| Stamp::of(&m))
}

/// Deletes temporary siblings of `output` whose process is dead: `.NAME.unfinished-PID..` and `.NAME.PID.part`.
pub(crate) fn clean_unfinished(output: &Path) {
    let (Some(folder), Some(name)) = (output.parent(), output.file_name()) else { return };
    let prefix = format!(".{}.", name.to_string_lossy());
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = file.strip_prefix(&prefix) else { continue };
        let pid = rest.strip_prefix("unfinished-").or_else(|| rest.strip_suffix(".part"));
        let Some(pid) = pid.and_then(|p| p.split(['.', '-']).next()?.parse::<i32>().ok()) else { continue };
        if !is_alive(pid) {
            // a leftover that cannot be deleted disturbs nobody
            let _ = store::remove(&entry.path());
        }
    }
}

fn is_alive(pid: i32) -> bool {
    // SAFETY: signal 0 only asks whether the process exists.
    let exists = unsafe { libc::kill(pid, 0) } == 0;
    exists || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// Absolute path with the links of its deepest existing folder resolved and the last name kept.
fn resolve(root: &Path, path: &Path) -> PathBuf {
    let absolute = if path.is_absolute() { path.to_path_buf() } else { root.join(path) };
    let mut clean = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::CurDir => {}
            // `..` after a link means the parent of where the link leads
            Component::ParentDir => {
                clean = clean.canonicalize().unwrap_or(clean);
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    let Some(name) = clean.file_name().map(|n| n.to_os_string()) else { return clean };
    let mut folder = clean.parent().map(Path::to_path_buf).unwrap_or_default();
    let mut below = vec![name];
    loop {
        if let Ok(real) = folder.canonicalize() {
            return below.iter().rev().fold(real, |path, name| path.join(name));
        }
        match folder.file_name() {
            Some(name) => below.push(name.to_os_string()),
            None => return clean,
        }
        folder.pop();
    }
}

/// For example `20260214T101530-3fa9`: sorts by time, and two runs in one second differ.
fn run_id() -> String {
    let now = SystemTime::now();
    let stamp: String = time::rfc3339(now).chars().take(19).filter(|c| !matches!(c, '-' | ':')).collect();
    let nanos = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    let salt = Hash::of(format!("{nanos} {} {:?}", std::process::id(), std::thread::current().id()).as_bytes());
    format!("{stamp}-{}", &salt.short()[..4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_one_spelling() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::os::unix::fs::symlink(root.join("a/b"), root.join("link")).unwrap();
        let want = root.join("a/b/c.txt");
        for given in ["a/b/c.txt", "./a//b/c.txt", "link/c.txt", "a/b/../b/c.txt", "link/../b/c.txt"] {
            assert_eq!(resolve(&root, Path::new(given)), want, "{given}");
        }
        assert_eq!(resolve(&root, &want), want);
        assert_eq!(resolve(&root, Path::new("new/deep/x")), root.join("new/deep/x"));
        assert_eq!(resolve(&root, Path::new("/")), Path::new("/"));
    }

    #[test]
    fn two_runs_have_two_names() {
        assert_ne!(run_id(), run_id());
    }
}
