//! A verb: what scripts can call, declared once. Registration, help, checks and the step key follow from it.

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::options::{Options, Param, check_names};

use crate::ms::MeasurementSet;
use crate::notice::Reporter;
use crate::run::{Read, StepCall, StepContext};

use super::context::Context;
use super::value::kind_of;
use super::verbs::SetArg;

/// What an input of a verb may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum InputKind {
    /// Path of a MeasurementSet or UVFITS file (`"a.ms"`, `"a.ms#1"` for one block), or a handle.
    Ms,
    /// A list of them.
    MsList,
    /// Path of a file to read, or a handle of it.
    FileIn,
    /// A list or a map of paths of files to read; `()` stands for none.
    FilesIn,
    /// A list of maps to make, as `moment_key` gives it: each reads `mask` and writes `out` and `error`.
    Maps,
    /// Path of a file or folder to make.
    FileOut,
    /// Beginning of the names of files to make: the verb adds endings.
    PrefixOut,
    /// A record of the named kind.
    Record(&'static str),
    /// A record of one of two kinds.
    EitherRecord(&'static str, &'static str),
    /// A list of records of the named kind.
    Records(&'static str),
    /// Text.
    Text,
    /// A number.
    Number,
    /// True or false.
    Bool,
    /// Any value.
    Any,
}

impl InputKind {
    /// As help shows it.
    pub fn describe(self) -> String {
        match self {
            InputKind::Ms => "MeasurementSet".into(),
            InputKind::MsList => "list of MeasurementSets".into(),
            InputKind::FileIn => "file".into(),
            InputKind::FilesIn => "list or map of files".into(),
            InputKind::Maps => "list of maps #{ map, mask, out, error }".into(),
            InputKind::FileOut => "file to write".into(),
            InputKind::PrefixOut => "beginning of the names of files to write".into(),
            InputKind::Record(k) => k.into(),
            InputKind::EitherRecord(a, b) => format!("{a} or {b}"),
            InputKind::Records(k) => format!("list of {k}"),
            InputKind::Text => "text".into(),
            InputKind::Number => "number".into(),
            InputKind::Bool => "true or false".into(),
            InputKind::Any => "any value".into(),
        }
    }

    /// Whether `value` fits.
    fn accepts(self, value: &Value) -> bool {
        let is_ms = |v: &Value| v.is_string() || kind_of(v) == Some("MeasurementSet");
        match self {
            InputKind::Ms => is_ms(value),
            InputKind::MsList => value.as_array().is_some_and(|l| l.iter().all(is_ms)),
            InputKind::FileOut | InputKind::PrefixOut | InputKind::Text => value.is_string(),
            InputKind::FileIn => path_text(value).is_some(),
            InputKind::FilesIn => {
                kind_of(value).is_none()
                    && (value.is_array() || value.is_object())
                    && files_of(value).all(|v| v.is_null() || path_text(v).is_some())
            }
            InputKind::Maps => value.as_array().is_some_and(|l| l.iter().all(|v| v.get("map").is_some_and(Value::is_string))),
            InputKind::Record(k) => kind_of(value) == Some(k),
            InputKind::EitherRecord(a, b) => kind_of(value).is_some_and(|k| k == a || k == b),
            InputKind::Records(k) => value.as_array().is_some_and(|l| l.iter().all(|v| kind_of(v) == Some(k))),
            InputKind::Number => value.is_number() || value.get("$float").is_some(),
            InputKind::Bool => value.is_boolean(),
            InputKind::Any => true,
        }
    }
}

/// An input of a verb, in the order of the call.
#[derive(Debug, Clone, Copy)]
pub struct Input {
    /// Name in help.
    pub name: &'static str,
    /// What it may be.
    pub kind: InputKind,
    /// One sentence.
    pub doc: &'static str,
    /// True if the call may leave it out (only at the end).
    pub optional: bool,
}

impl Input {
    /// An input that every call gives.
    pub const fn new(name: &'static str, kind: InputKind, doc: &'static str) -> Input {
        Input { name, kind, doc, optional: false }
    }
    /// An input that a call may leave out.
    pub const fn optional(name: &'static str, kind: InputKind, doc: &'static str) -> Input {
        Input { name, kind, doc, optional: true }
    }
}

/// What a verb does to files, and whether it is worth remembering.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Effects {
    /// Cheap and pure: evaluated again in every run.
    Glue,
    /// Costly and pure: its value depends on its arguments and on the files among them.
    Reads,
    /// Makes the files that it is told to write, from its arguments and the files among them.
    Writes,
    /// Writes a figure for a reader; in the plots folder it replaces whatever is there.
    Shows,
    /// Talks to the run itself (parameters, printing, assertions): never cached.
    Run,
}

impl Effects {
    /// As help shows it.
    pub fn describe(self) -> &'static str {
        match self {
            Effects::Glue => "none: evaluated in every run",
            Effects::Reads => "reads its inputs; not done again while they are the same",
            Effects::Writes => "reads its inputs and writes its output, whole or not at all; not done again while both are the same",
            Effects::Shows => "writes the file it names, whole or not at all; not done again while it and what it shows are the same",
            Effects::Run => "speaks to the run itself; evaluated in every run",
        }
    }
}

impl Effects {
    /// True if it writes the file that it is told to write.
    pub fn writes_files(self) -> bool {
        matches!(self, Effects::Writes | Effects::Shows)
    }

    /// True for a step: keyed, recorded, and not done again while it is done.
    pub fn is_step(self) -> bool {
        matches!(self, Effects::Reads | Effects::Writes | Effects::Shows)
    }
}

/// Which columns of the sets that a verb reads its result can depend on; a change in any other is no change for it.
///
/// Subtables and the description of the main table always count. A storage manager that holds several columns counts with
/// each of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Columns {
    /// All: for verbs that copy.
    All,
    /// Which rows there are: times, fields, windows, scans, baselines.
    Rows,
    /// Which rows there are, and what is flagged.
    Flags,
    /// What a fit reads: the above, UVW, weights, and the column of visibilities that the option `datacolumn` means.
    Visibilities,
}

impl Columns {
    const ROWS: &'static [&'static str] =
        &["ANTENNA1", "ANTENNA2", "DATA_DESC_ID", "FIELD_ID", "SCAN_NUMBER", "OBSERVATION_ID", "STATE_ID", "TIME", "INTERVAL"];
    const FLAGS: &'static [&'static str] = &["FLAG", "FLAG_ROW"];
    const SAMPLES: &'static [&'static str] = &["UVW", "WEIGHT", "WEIGHT_SPECTRUM", "SIGMA"];

    /// Their names; empty for all.
    pub fn names(self, datacolumn: Option<&str>) -> Vec<String> {
        let groups: &[&[&str]] = match self {
            Columns::All => return vec![],
            Columns::Rows => &[Self::ROWS],
            Columns::Flags => &[Self::ROWS, Self::FLAGS],
            Columns::Visibilities => &[Self::ROWS, Self::FLAGS, Self::SAMPLES],
        };
        let mut names: Vec<String> = groups.concat().iter().map(|n| n.to_string()).collect();
        if self == Columns::Visibilities {
            names.extend(MeasurementSet::data_column_names(datacolumn.unwrap_or("auto")));
        }
        names
    }
}

/// The option of every verb that writes: it may replace a file that this project did not write.
pub const OVERWRITE: &str = "overwrite";

/// An example with its result; every example runs as a test.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// One sentence.
    pub title: &'static str,
    /// The script.
    pub script: &'static str,
    /// Its value as printed, or the beginning of the error message if it starts with `error:`.
    pub result: &'static str,
    /// Allowed difference if the result is a number.
    pub tolerance: f64,
}

/// Files of a call beside those that its inputs name: what options name, and what is made from a prefix.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// Files to read.
    pub reads: Vec<PathBuf>,
    /// Files to write.
    pub writes: Vec<PathBuf>,
}

/// A verb.
pub struct Verb {
    /// Name in scripts.
    pub name: &'static str,
    /// Group in lists.
    pub group: &'static str,
    /// One sentence, third person, full stop.
    pub summary: &'static str,
    /// Further paragraphs of help.
    pub details: &'static str,
    /// Inputs in the order of the call.
    pub inputs: &'static [Input],
    /// Groups of options, given together as a map at the end of the call.
    pub options: &'static [&'static [Param]],
    /// Defaults of the options.
    pub defaults: fn() -> Map<String, Value>,
    /// What it returns, with units.
    pub returns: &'static str,
    /// What it does to files.
    pub effects: Effects,
    /// What of the sets among its inputs its result can depend on.
    pub columns: Columns,
    /// True if its value, or what it writes, carries the names of the sets that it reads; a set that is renamed is then another.
    pub names: bool,
    /// Inputs that are lists whose order does not matter.
    pub unordered: &'static [&'static str],
    /// Examples with results.
    pub examples: &'static [Example],
    /// Where the method comes from.
    pub see: &'static str,
    /// In the step key: raised when the numbers change.
    pub version: u32,
    /// Files that a call reads and writes beside those that its inputs name.
    pub files: fn(&Call) -> Result<Files>,
    /// Checks the options before anything runs; from [`check_options`].
    pub check: fn(&str, Map<String, Value>) -> Result<Map<String, Value>>,
    /// Converts, runs the science, converts back; no science here.
    pub run: fn(&Call, &Work) -> Result<Value>,
}

/// The check of a verb's options: reads them into the struct and gives them back with all defaults filled in.
pub fn check_options<O: Options>(verb: &str, given: Map<String, Value>) -> Result<Map<String, Value>> {
    let options = O::from_given(verb, given)?;
    match serde_json::to_value(options) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err(Error::internal(format!("`{verb}`: its options do not serialize"))),
    }
}

/// The same for a verb with two groups of options.
pub fn check_options2<A: Options, B: Options>(verb: &str, given: Map<String, Value>) -> Result<Map<String, Value>> {
    check_names(verb, &given, &[A::PARAMS, B::PARAMS], &defaults2::<A, B>())?;
    let (of_a, of_b) = given.into_iter().partition(|(name, _)| A::PARAMS.iter().any(|p| p.name == name));
    let mut all = check_options::<A>(verb, of_a)?;
    all.extend(check_options::<B>(verb, of_b)?);
    Ok(all)
}

/// Several groups of options that a verb takes together.
pub trait OptionGroups {
    /// The options of each group.
    const PARAMS: &'static [&'static [Param]];
    /// Checks each group and fills in its defaults.
    fn check_each(verb: &str, given: &Map<String, Value>) -> Result<Map<String, Value>>;
    /// Defaults of all.
    fn defaults_of_all() -> Map<String, Value>;
}

macro_rules! option_groups {
    ($($Group:ident),+) => {
        impl<$($Group: Options),+> OptionGroups for ($($Group,)+) {
            const PARAMS: &'static [&'static [Param]] = &[$($Group::PARAMS),+];
            fn check_each(verb: &str, given: &Map<String, Value>) -> Result<Map<String, Value>> {
                let mut all = Map::new();
                $(
                    let own = given.iter().filter(|(name, _)| $Group::PARAMS.iter().any(|p| p.name == *name));
                    all.extend(check_options::<$Group>(verb, own.map(|(n, v)| (n.clone(), v.clone())).collect())?);
                )+
                Ok(all)
            }
            fn defaults_of_all() -> Map<String, Value> {
                let mut all = Map::new();
                $(all.extend($Group::defaults());)+
                all
            }
        }
    };
}
option_groups!(A, B);
option_groups!(A, B, C);
option_groups!(A, B, C, D);
option_groups!(A, B, C, D, E);

/// The check of a verb with several groups of options, `(A, B, C)`.
pub fn check_groups<G: OptionGroups>(verb: &str, given: Map<String, Value>) -> Result<Map<String, Value>> {
    check_names(verb, &given, G::PARAMS, &G::defaults_of_all())?;
    G::check_each(verb, &given)
}

/// Defaults of several groups of options.
pub fn defaults_groups<G: OptionGroups>() -> Map<String, Value> {
    G::defaults_of_all()
}

/// Defaults of a struct of options.
pub fn defaults<O: Options>() -> Map<String, Value> {
    O::defaults()
}

/// Defaults of two groups of options.
pub fn defaults2<A: Options, B: Options>() -> Map<String, Value> {
    let mut all = A::defaults();
    all.extend(B::defaults());
    all
}

crate::options! {
    /// For verbs without options.
    pub struct NoOptions {}
}

impl Verb {
    /// A verb without options, to be filled in with struct update syntax.
    pub const EMPTY: Verb = Verb {
        name: "",
        group: "",
        summary: "",
        details: "",
        inputs: &[],
        options: &[],
        defaults: Map::new,
        returns: "",
        effects: Effects::Glue,
        columns: Columns::All,
        names: true,
        unordered: &[],
        examples: &[],
        see: "",
        version: 1,
        files: |_| Ok(Files::default()),
        check: check_options::<NoOptions>,
        run: |call, _| Err(Error::internal(format!("`{}` does nothing", call.verb.name))),
    };

    /// `name(a, b, #{..})`, as messages and help show it.
    pub fn signature(&self) -> String {
        let mut args: Vec<String> =
            self.inputs.iter().map(|i| if i.optional { format!("[{}]", i.name) } else { i.name.to_string() }).collect();
        if self.takes_options() {
            args.push("#{..}".into());
        }
        format!("{}({})", self.name, args.join(", "))
    }

    /// True if a call may end with a map of options.
    pub fn takes_options(&self) -> bool {
        !self.options.is_empty() || self.effects.writes_files()
    }

    /// Fewest inputs of a call.
    pub fn n_required(&self) -> usize {
        self.inputs.iter().filter(|i| !i.optional).count()
    }
}

/// One call of a verb, with checked inputs and with all options filled in.
pub struct Call<'a> {
    /// The verb.
    pub verb: &'static Verb,
    /// Inputs; those left out are null.
    pub args: Vec<Value>,
    /// Options with their defaults filled in.
    pub options: Map<String, Value>,
    /// True if it may replace files that this project did not write.
    pub overwrite: bool,
    /// The run.
    pub context: &'a Context,
}

/// What a verb hears and says while it works: the notice of its step, and the step itself if it is one.
pub struct Work<'a> {
    /// Warnings, progress, cancellation.
    pub notice: &'a dyn Reporter,
    /// The step, for verbs whose effects make them one.
    pub step: Option<&'a StepContext<'a>>,
}

impl<'a> Call<'a> {
    /// Checks the inputs and options of a call.
    pub fn new(verb: &'static Verb, mut args: Vec<Value>, context: &'a Context) -> Result<Call<'a>> {
        let has_options = verb.takes_options() && args.len() > verb.n_required() && is_option_map(args.last());
        let mut given = if has_options { args.pop().and_then(|v| v.as_object().cloned()).unwrap_or_default() } else { Map::new() };
        for (input, value) in verb.inputs.iter().zip(&args) {
            if !(input.kind.accepts(value) || input.optional && value.is_null()) {
                return Err(Error::user(format!(
                    "`{}`: `{}` must be a {}, not {}",
                    verb.name,
                    input.name,
                    input.kind.describe(),
                    describe(value)
                ))
                .hint(format!("{}: {}", verb.signature(), input.doc)));
            }
        }
        args.resize(verb.inputs.len(), Value::Null);
        let overwrite = match verb.effects.writes_files().then(|| given.remove(OVERWRITE)).flatten() {
            None => false,
            Some(Value::Bool(yes)) => yes,
            Some(other) => {
                return Err(Error::user(format!("`{}`: `{OVERWRITE}` must be true or false, not {}", verb.name, describe(&other))));
            }
        };
        let options = (verb.check)(verb.name, given)?;
        Ok(Call { verb, args, options, overwrite, context })
    }

    /// What the step of this call depends on and makes, from the kinds of its inputs.
    pub fn step(&self) -> Result<StepCall> {
        let mut args: Map<String, Value> = self.options.clone();
        args.extend(self.verb.inputs.iter().zip(&self.args).map(|(input, value)| (input.name.to_string(), plain_path(input.kind, value))));
        if self.verb.names {
            args.extend(self.set_names()?);
        }
        let mut step = StepCall::new(self.verb.name, self.verb.version, Value::Object(args));
        step.overwrite = self.overwrite;
        step.unordered = self.verb.unordered.iter().map(|name| name.to_string()).collect();
        let columns = self.verb.columns.names(self.options.get("datacolumn").and_then(Value::as_str));
        let set = |value: &Value| -> Result<Read> {
            let path = SetArg::new(self.context, value)?.path;
            // Said before the folder is read, which may be anything.
            if path.is_dir() {
                crate::ms::check_is_set(&path)?;
            }
            Ok(Read { path, only: columns.clone() })
        };
        for (input, value) in self.verb.inputs.iter().zip(&self.args).filter(|(_, value)| !value.is_null()) {
            step = match input.kind {
                InputKind::Ms => {
                    step.reads.push(set(value)?);
                    step
                }
                InputKind::MsList => {
                    let sets = value.as_array().map_or(&[][..], Vec::as_slice);
                    step.reads.extend(sets.iter().map(set).collect::<Result<Vec<_>>>()?);
                    step
                }
                InputKind::FileIn => step.reads(self.readable(value)?),
                InputKind::FilesIn => {
                    files_of(value).filter(|v| !v.is_null()).try_fold(step, |step, v| Ok::<_, Error>(step.reads(self.readable(v)?)))?
                }
                InputKind::Maps => {
                    value.as_array().map_or(&[][..], Vec::as_slice).iter().try_fold(step, |step, m| self.step_of_map(step, m))?
                }
                InputKind::FileOut => step.writes(self.context.sandbox.writable(value.as_str().unwrap_or_default())?),
                _ => step,
            };
        }
        let Files { reads, writes } = (self.verb.files)(self)?;
        let step = reads.into_iter().fold(step, StepCall::reads);
        Ok(writes.into_iter().fold(step, StepCall::writes))
    }

    /// The names of the sets among the inputs: paths count by what they hold.
    fn set_names(&self) -> Result<Option<(String, Value)>> {
        let mut names = vec![];
        for (input, value) in self.verb.inputs.iter().zip(&self.args) {
            let sets = match (input.kind, value) {
                (InputKind::Ms, Value::Null) => &[][..],
                (InputKind::Ms, value) => std::slice::from_ref(value),
                (InputKind::MsList, Value::Array(list)) => list,
                _ => &[],
            };
            for set in sets {
                names.push(Value::from(SetArg::new(self.context, set)?.name()));
            }
        }
        Ok((!names.is_empty()).then(|| ("names of sets".to_string(), Value::Array(names))))
    }

    /// A map of a list: its mask is read, its value and error are written.
    fn step_of_map(&self, mut step: StepCall, map: &Value) -> Result<StepCall> {
        if let Some(mask) = map.get("mask").filter(|m| !m.is_null()) {
            step = step.reads(self.readable(mask)?);
        }
        for key in ["out", "error"] {
            if let Some(path) = map.get(key).and_then(Value::as_str) {
                step = step.writes(self.context.sandbox.writable(path)?);
            }
        }
        Ok(step)
    }

    /// A path, or the path of a handle, inside the project or declared.
    pub fn readable(&self, value: &Value) -> Result<PathBuf> {
        self.context.sandbox.readable(path_text(value).unwrap_or_default())
    }

    /// The options of one group as their struct.
    pub fn options<O: Options>(&self) -> Result<O> {
        let own = self.options.iter().filter(|(name, _)| O::PARAMS.iter().any(|p| p.name == *name));
        O::from_given(self.verb.name, own.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// Input `i` as text.
    pub fn text(&self, i: usize) -> Result<&str> {
        self.args[i].as_str().ok_or_else(|| Error::user(format!("`{}`: `{}` must be text", self.verb.name, self.verb.inputs[i].name)))
    }

    /// Input `i` as a number.
    pub fn number(&self, i: usize) -> Result<f64> {
        let value = &self.args[i];
        let special = value.get("$float").and_then(Value::as_str).and_then(|s| s.parse().ok());
        value
            .as_f64()
            .or(special)
            .ok_or_else(|| Error::user(format!("`{}`: `{}` must be a number", self.verb.name, self.verb.inputs[i].name)))
    }

    /// Input `i` as a list.
    pub fn list(&self, i: usize) -> &[Value] {
        self.args[i].as_array().map_or(&[], Vec::as_slice)
    }

    /// Input `i` as the path of a file to read, inside the project or declared.
    pub fn path_in(&self, i: usize) -> Result<PathBuf> {
        self.readable(&self.args[i])
    }

    /// Input `i` as the path of a file to write; `None` where the call left it out.
    pub fn optional_path_out(&self, i: usize) -> Result<Option<PathBuf>> {
        if self.args[i].is_null() { Ok(None) } else { self.path_out(i).map(Some) }
    }

    /// Input `i` as the path of a file to write, inside the project or declared.
    pub fn path_out(&self, i: usize) -> Result<PathBuf> {
        self.context.sandbox.writable(self.text(i)?)
    }
}

/// The path that a text or a handle names.
pub fn path_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("path")?.as_str())
}

/// The values of a list or a map.
fn files_of(value: &Value) -> impl Iterator<Item = &Value> {
    let list = value.as_array().map_or(&[][..], Vec::as_slice).iter();
    list.chain(value.as_object().into_iter().flat_map(|m| m.values()))
}

/// Files count by their paths, whatever else a handle says of them.
fn plain_path(kind: InputKind, value: &Value) -> Value {
    let plain = |v: &Value| path_text(v).map_or_else(|| v.clone(), Value::from);
    match (kind, value) {
        (InputKind::FileIn, v) => plain(v),
        (InputKind::FilesIn, Value::Array(list)) => list.iter().map(plain).collect(),
        (InputKind::FilesIn, Value::Object(map)) => Value::Object(map.iter().map(|(k, v)| (k.clone(), plain(v))).collect()),
        (InputKind::Maps, Value::Array(list)) => list.iter().map(|m| plain_mask(m, &plain)).collect(),
        (_, v) => v.clone(),
    }
}

fn plain_mask(map: &Value, plain: &dyn Fn(&Value) -> Value) -> Value {
    let mut map = map.clone();
    if let Some(mask) = map.get_mut("mask") {
        *mask = plain(mask);
    }
    map
}

fn is_option_map(value: Option<&Value>) -> bool {
    value.is_some_and(|v| v.is_object() && kind_of(v).is_none() && v.get("$float").is_none())
}

/// A value in words, for messages.
pub fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(_) => "a truth value".into(),
        Value::Number(n) => format!("the number {n}"),
        Value::String(s) => format!("the text \"{s}\""),
        Value::Array(l) => format!("a list of {}", l.len()),
        Value::Object(_) => kind_of(value).map_or("a map".into(), |k| format!("a {k}")),
    }
}
