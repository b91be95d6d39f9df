//! The record of runs, `run.jsonl`: one line for what happened, appended, never rewritten.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Kind, Result};
use crate::notice::Warning;
use crate::run::content::State;
use crate::run::hash::Hash;
use crate::run::reason::Reason;
use crate::run::usage::{Machine, Usage};

/// Name of the record in the plots folder.
pub const FILE: &str = "run.jsonl";

/// One line of the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Line {
    /// A script as it was read; written once for each text.
    Script(Script),
    /// A run begins.
    Start(Box<Start>),
    /// The script asked for a parameter.
    Parameter(ParameterLine),
    /// The script imported a module.
    Module(ModuleLine),
    /// A step was done, skipped or restored.
    Step(Box<Step>),
    /// A cell printed.
    Print(Print),
    /// A figure was shown.
    Figure(Figure),
    /// A table was shown.
    Table(Table),
    /// A warning outside any step.
    Warning(Remark),
    /// A run ends.
    End(Box<End>),
}

impl Line {
    /// The run that the line belongs to; a script belongs to none.
    pub fn run(&self) -> Option<&str> {
        match self {
            Line::Script(_) => None,
            Line::Start(x) => Some(&x.run),
            Line::Parameter(x) => Some(&x.run),
            Line::Module(x) => Some(&x.run),
            Line::Step(x) => Some(&x.run),
            Line::Print(x) => Some(&x.run),
            Line::Figure(x) => Some(&x.run),
            Line::Table(x) => Some(&x.run),
            Line::Warning(x) => Some(&x.run),
            Line::End(x) => Some(&x.run),
        }
    }
}

/// The text of a script and its cells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Script {
    /// Hash of the text.
    pub hash: Hash,
    /// The text.
    pub text: String,
    /// Its cells in the order of the file.
    pub cells: Vec<Cell>,
}

/// One cell of a script.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cell {
    /// Its title; empty where it has none.
    pub title: String,
    /// True for Markdown.
    pub markdown: bool,
    /// First line of its body, counted from 1.
    pub first_line: usize,
    /// Last line of its body; less than the first where it is empty.
    pub last_line: usize,
    /// `key="value"` of its marker.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
}

/// A parameter of the script and what it was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Parameter {
    /// Name.
    pub name: String,
    /// Value in this run.
    pub value: Value,
    /// Value when nothing is given.
    pub default: Value,
    /// Unit, empty where there is none.
    pub unit: String,
    /// What it does.
    pub help: String,
    /// True where the command line or a file gave it.
    pub given: bool,
}

/// The script asked for a parameter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ParameterLine {
    /// Run id.
    pub run: String,
    /// The parameter.
    #[serde(flatten)]
    pub parameter: Parameter,
}

/// The script imported a module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModuleLine {
    /// Run id.
    pub run: String,
    /// The module.
    #[serde(flatten)]
    pub file: FileLine,
}

/// A run begins.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Start {
    /// Run id.
    pub run: String,
    /// When, UTC.
    pub time: String,
    /// Name of the script.
    pub script: String,
    /// Its file, relative to the project; empty for a script that is no file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// The project's folder, seen from the record's: relative where the record lies inside it.
    pub project: String,
    /// Hash of its text.
    pub script_hash: Option<Hash>,
    /// What the script is called.
    pub title: String,
    /// Modules that it imports, with their hashes.
    pub modules: Vec<FileLine>,
    /// Parameters, in the order of the script.
    pub parameters: Vec<Parameter>,
    /// The command, word by word.
    pub command: Vec<String>,
    /// This program and the libraries that make the numbers, with their versions.
    pub versions: Map<String, Value>,
    /// How this program was built.
    pub build: String,
    /// Number of threads.
    pub threads: usize,
    /// Seed of random numbers, where one was set for the run.
    pub seed: Option<u64>,
    /// The machine.
    pub machine: Machine,
    /// True where every step was to be done again.
    pub forced: bool,
}

/// Whether a step was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It was executed.
    Run,
    /// Its key is recorded and its outputs are intact.
    Skipped,
    /// Its key is recorded and its outputs came back from the store.
    Restored,
    /// It would be executed (dry run).
    Would,
}

/// How good the result of a step is, as its verb says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// Nothing to say against it.
    #[default]
    Good,
    /// Worth a look: there is a warning.
    Look,
    /// Not to be used as it is.
    Bad,
}

/// A quality mark with its reason.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quality {
    /// The mark.
    pub mark: Mark,
    /// Why, in words and numbers.
    pub reason: String,
}

/// A path with the state of its content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileLine {
    /// Relative to the project, or absolute outside it.
    pub path: String,
    /// The state, with how the hash was obtained.
    #[serde(flatten)]
    pub state: State,
    /// Labels of the parts that were used; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// The state before, for an edit in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<State>,
    /// True where the bytes are in the store.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stored: bool,
}

/// A step was done, skipped or restored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Hash of what [`Step::facts`] holds, on the line that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Hash>,
    /// Hash of the same facts on an earlier line of the record, which are then left out here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_as: Option<Hash>,
    /// Run id.
    pub run: String,
    /// Count of the step in its run, from 1.
    pub index: usize,
    /// Key.
    pub key: Hash,
    /// Verb.
    pub verb: String,
    /// Version of the verb.
    pub version: u32,
    /// Cell that called it, counted from 0.
    #[serde(default)]
    pub cell: Option<usize>,
    /// Line of the script that called it, counted from 1.
    #[serde(default)]
    pub line: Option<usize>,
    /// When it began, UTC.
    pub time: String,
    /// Whether it was done.
    pub status: Status,
    /// Why it was done.
    #[serde(default)]
    pub because: Vec<Reason>,
    /// The run that executed it; another than `run` where it was not done again.
    pub made_by: String,
    /// Arguments with defaults filled in.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub args: Value,
    /// What it read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<FileLine>,
    /// What it wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<FileLine>,
    /// What it returned.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub value: Value,
    /// What it warned about when it was executed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// How good the result is.
    pub quality: Quality,
    /// Versions of data tables.
    #[serde(default)]
    pub tables: Map<String, Value>,
    /// Seed, where the verb draws random numbers.
    #[serde(default)]
    pub seed: Option<u64>,
    /// Number of threads.
    pub threads: usize,
    /// What its execution used, here or in `made_by`.
    pub usage: Usage,
    /// Time spent on keys, hashes and locks in this run, in s.
    pub overhead_s: f64,
    /// Relative difference up to which another execution counts as the same; absent for the same bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
}

impl Step {
    /// What is long and mostly the same in the next run.
    fn facts(&mut self) -> [Value; 5] {
        let take = |lines: &mut Vec<FileLine>| serde_json::to_value(std::mem::take(lines)).unwrap_or_default();
        let files = [take(&mut self.inputs), take(&mut self.outputs)];
        let [inputs, outputs] = files;
        let warnings = serde_json::to_value(std::mem::take(&mut self.warnings)).unwrap_or_default();
        [std::mem::take(&mut self.args), inputs, outputs, std::mem::take(&mut self.value), warnings]
    }

    /// Leaves out what an earlier line of the record says, or says that this line is the first.
    fn shorten(&mut self, known: &mut BTreeSet<Hash>) {
        let mut short = self.clone();
        let text = Value::from(short.facts().to_vec()).to_string();
        let hash = Hash::of(text.as_bytes());
        if known.insert(hash) {
            self.facts = Some(hash);
        } else {
            *self = Step { same_as: Some(hash), ..short };
        }
    }

    /// Fills in what an earlier line says.
    fn complete(&mut self, earlier: &Step) {
        self.args = earlier.args.clone();
        self.inputs = earlier.inputs.clone();
        self.outputs = earlier.outputs.clone();
        self.value = earlier.value.clone();
        self.warnings = earlier.warnings.clone();
    }
}

/// Leaves out of the lines of steps what earlier lines say; `known` are the hashes of those.
pub fn shorten(lines: &mut [Line], known: &mut BTreeSet<Hash>) {
    for line in lines {
        if let Line::Step(step) = line {
            step.shorten(known);
        }
    }
}

/// Hashes of the facts in the record of `folder`.
pub fn known_facts(folder: &Path) -> BTreeSet<Hash> {
    const MARK: &str = "{\"type\":\"step\",\"facts\":\"";
    let text = std::fs::read_to_string(folder.join(FILE)).unwrap_or_default();
    text.lines().filter_map(|l| Hash::from_hex(l.strip_prefix(MARK)?.split('"').next()?)).collect()
}

/// A cell printed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Print {
    /// Run id.
    pub run: String,
    /// Cell, counted from 0.
    pub cell: Option<usize>,
    /// The text.
    pub text: String,
}

/// A figure.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figure {
    /// Run id.
    pub run: String,
    /// Cell, counted from 0.
    pub cell: Option<usize>,
    /// The step that drew it, by its count.
    pub step: Option<usize>,
    /// Path, relative to the project or absolute outside it.
    pub path: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// What it shows, in words made from the data, for those who cannot see it.
    pub alt: String,
    /// Caption.
    pub caption: String,
    /// Hash of the file.
    pub hash: Option<Hash>,
}

/// A column of a table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// Unit, empty where there is none.
    pub unit: String,
}

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Table {
    /// Run id.
    pub run: String,
    /// Cell, counted from 0.
    pub cell: Option<usize>,
    /// The step that made it, by its count.
    pub step: Option<usize>,
    /// Title.
    pub title: String,
    /// Columns.
    pub columns: Vec<Column>,
    /// Rows of as many values.
    pub rows: Vec<Vec<Value>>,
}

/// A warning outside any step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remark {
    /// Run id.
    pub run: String,
    /// Cell, counted from 0.
    #[serde(default)]
    pub cell: Option<usize>,
    /// The warning.
    pub warning: Warning,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All cells ran.
    Done,
    /// An error.
    Failed,
    /// An assertion of the script does not hold.
    Check,
    /// Stopped by the user.
    Interrupted,
    /// No end line: the process was killed, or still runs.
    #[default]
    Unfinished,
}

impl Outcome {
    /// The outcome that an error means.
    pub fn of(error: &Error) -> Outcome {
        match error.kind {
            Kind::Interrupted => Outcome::Interrupted,
            Kind::Check => Outcome::Check,
            _ => Outcome::Failed,
        }
    }
}

/// An error as the record keeps it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Where in the script.
    pub cell: Option<usize>,
    /// Line of the script, counted from 1.
    pub line: Option<usize>,
}

/// A run ends.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct End {
    /// Run id.
    pub run: String,
    /// When, UTC.
    pub time: String,
    /// How.
    pub outcome: Outcome,
    /// Exit code of the process.
    pub exit_code: i32,
    /// Steps executed.
    pub steps_run: usize,
    /// Steps not done because they were done.
    pub steps_skipped: usize,
    /// Steps whose outputs came from the store.
    pub steps_restored: usize,
    /// Everything written by the steps of the run, done or not.
    pub outputs: Vec<String>,
    /// What the run used.
    pub usage: Usage,
    /// What went wrong.
    pub error: Option<Failure>,
}

/// Appends to a record.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
}

impl Writer {
    /// A writer to `run.jsonl` in `folder`, which is created.
    pub fn in_folder(folder: &Path) -> Result<Writer> {
        std::fs::create_dir_all(folder).map_err(|e| Error::io("create the folder", folder, e))?;
        Ok(Writer { path: folder.join(FILE) })
    }

    /// Appends lines; `durable` brings them to the disk before it returns.
    pub fn append(&self, lines: &[Line], durable: bool) -> Result<()> {
        let mut text = String::new();
        for line in lines {
            let line = serde_json::to_string(line).map_err(|e| Error::internal(format!("cannot write a line of the record: {e}")))?;
            text.push_str(&line);
            text.push('\n');
        }
        let failed = |e| Error::io("append to the record", &self.path, e);
        let mut file = File::options().read(true).append(true).create(true).open(&self.path).map_err(failed)?;
        let _held = Held::of(&file);
        if ends_torn(&mut file).map_err(failed)? {
            text.insert(0, '\n');
        }
        let whole = file.metadata().map_err(failed)?.len();
        let written = file.write_all(text.as_bytes()).and_then(|()| if durable { file.sync_data() } else { Ok(()) });
        if let Err(e) = written {
            // a full disk may take half a line: take it back, so that the record stays readable
            let _ = file.set_len(whole);
            return Err(failed(e));
        }
        Ok(())
    }
}

/// True if a process died while it wrote the last line.
fn ends_torn(file: &mut File) -> std::io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last[0] != b'\n')
}

/// A lock on the record itself while a line is appended.
struct Held(std::os::fd::RawFd);

impl Held {
    fn of(file: &File) -> Held {
        use std::os::fd::AsRawFd;
        let fd = file.as_raw_fd();
        // SAFETY: flock only reads the descriptor; a file system without locks leaves appends as atomic as O_APPEND makes them.
        unsafe { libc::flock(fd, libc::LOCK_EX) };
        Held(fd)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: the file outlives the guard, which is declared after it.
        unsafe { libc::flock(self.0, libc::LOCK_UN) };
    }
}

/// One run as the record has it.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Its start.
    pub start: Start,
    /// The script, if the record holds its text.
    pub script: Option<Script>,
    /// Everything between start and end, in order.
    pub lines: Vec<Line>,
    /// Its end; absent where the process was killed or still runs.
    pub end: Option<End>,
}

impl Run {
    /// The project's folder of a run whose record lies in `plots`; paths of the record start there.
    pub fn project(&self, plots: &Path) -> PathBuf {
        let path = plots.join(&self.start.project);
        path.canonicalize().unwrap_or(path)
    }
    /// Its steps, in order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.lines.iter().filter_map(|l| if let Line::Step(s) = l { Some(s.as_ref()) } else { None })
    }
    /// Its figures, in order.
    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.lines.iter().filter_map(|l| if let Line::Figure(f) = l { Some(f) } else { None })
    }
    /// Its tables, in order.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.lines.iter().filter_map(|l| if let Line::Table(t) = l { Some(t) } else { None })
    }
    /// How it ended.
    pub fn outcome(&self) -> Outcome {
        self.end.as_ref().map_or(Outcome::Unfinished, |e| e.outcome)
    }
}

/// A record that was read back.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Runs in the order of their start.
    pub runs: Vec<Run>,
    /// Lines that could not be read, counted from 1: a process died while writing, or somebody edited the file.
    pub unreadable: Vec<usize>,
}

impl Record {
    /// Reads the record `path`, or the one in the folder `path`.
    pub fn read(path: &Path) -> Result<Record> {
        let file = if path.is_dir() { path.join(FILE) } else { path.to_path_buf() };
        let bytes = std::fs::read(&file).map_err(|e| Error::io("read the record of a run", &file, e))?;
        Ok(Record::parse(&String::from_utf8_lossy(&bytes)))
    }

    fn parse(text: &str) -> Record {
        let mut record = Record::default();
        let mut scripts: Vec<Script> = Vec::new();
        let mut facts: BTreeMap<Hash, Step> = BTreeMap::new();
        for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            match serde_json::from_str::<Line>(line) {
                Ok(Line::Step(mut step)) => {
                    match step.same_as.map(|hash| facts.get(&hash)) {
                        Some(Some(earlier)) => step.complete(earlier),
                        Some(None) => record.unreadable.push(i + 1),
                        None => {}
                    }
                    if let Some(hash) = step.facts {
                        facts.insert(hash, (*step).clone());
                    }
                    record.take(Line::Step(step), &mut scripts);
                }
                Ok(line) => record.take(line, &mut scripts),
                Err(_) => record.unreadable.push(i + 1),
            }
        }
        record
    }

    fn take(&mut self, line: Line, scripts: &mut Vec<Script>) {
        match line {
            Line::Script(script) => scripts.push(script),
            Line::Start(start) => {
                let script = scripts.iter().rev().find(|s| Some(s.hash) == start.script_hash).cloned();
                self.runs.push(Run { start: *start, script, ..Run::default() });
            }
            line => {
                let id = line.run().unwrap_or_default().to_string();
                let Some(run) = self.runs.iter_mut().rev().find(|r| r.start.run == id) else { return };
                match line {
                    Line::End(end) => run.end = Some(*end),
                    Line::Parameter(p) => {
                        run.start.parameters.retain(|q| q.name != p.parameter.name);
                        run.start.parameters.push(p.parameter);
                    }
                    Line::Module(m) => {
                        run.start.modules.retain(|f| f.path != m.file.path);
                        run.start.modules.push(m.file);
                    }
                    line => run.lines.push(line),
                }
            }
        }
    }

    /// The run called `id`, or the newest that ended well, or the newest.
    pub fn run(&self, id: Option<&str>) -> Option<&Run> {
        match id {
            Some(id) => self.runs.iter().rev().find(|r| r.start.run == id || r.start.run.starts_with(id)),
            None => self.runs.iter().rev().find(|r| matches!(r.outcome(), Outcome::Done | Outcome::Check)).or(self.runs.last()),
        }
    }
}

/// True if the record in `folder` holds the text of the script with this hash.
pub fn holds_script(folder: &Path, hash: &Hash) -> bool {
    let Ok(text) = std::fs::read_to_string(folder.join(FILE)) else { return false };
    let mark = format!("{{\"type\":\"script\",\"hash\":\"{hash}\"");
    text.lines().any(|l| l.starts_with(&mark))
}

/// What a product's own history says of the step that made it.
pub fn history(run: &str, verb: &str, version: u32, key: &Hash) -> String {
    format!("phangs-script {} run {run} step {verb} {version} key {}", env!("CARGO_PKG_VERSION"), key.short())
}
