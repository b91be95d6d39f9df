//! `check --rerun`: runs a recorded script again in a scratch folder and compares what it makes, bit by bit.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::run::record::{Record, Run, Start};
use crate::run::{Repeated, compare};
use crate::script::context::{Context, Setup};
use crate::script::engine::{Script, ScriptError};
use crate::script::params::Given;
use crate::script::sandbox::{begins_with, resolve};

use super::console::{self, Terminal};
use super::records::Place;
use super::run;

/// Runs the last run of a record again and fails where anything that it makes has other bits.
pub fn check(place: &Place) -> Result<()> {
    let first = place.run(None)?;
    let text = first.script.as_ref().ok_or_else(|| Error::data("the record does not hold the text of the script").at(&place.plots))?;
    let scratch = Scratch::make(place, first)?;
    let terminal = Arc::new(Terminal::new(true));
    let setup = Setup { given: scratch.given(first), ..Setup::new(&scratch.project, &first.start.script, terminal.clone()) };
    run::on_interrupt(&setup.cancel)?;
    let context = Arc::new(Context::new(setup)?);
    scratch.readable.iter().for_each(|path| context.sandbox.declare_read(path));
    scratch.writable.iter().for_each(|path| context.sandbox.declare_write(path));
    let file = if first.start.file.is_empty() { first.start.script.clone() } else { first.start.file.clone() };
    let script = Script::new(&file, &text.text);
    context.session.begin(run::record_of(&script), Start { versions: first.start.versions.clone(), ..Start::default() });
    let outcome = run::on_own_thread(&script, &context);
    let error = outcome.as_ref().err().map(|e| (&e.error, Some(context.cell()), e.place.map(|(line, _)| line)));
    context.session.finish(error)?;
    terminal.finish();
    as_recorded(outcome, first)?;
    let plots = context.session.plots().unwrap_or_else(|| scratch.project.clone());
    let record = Record::read(&plots)?;
    let second = record.run(Some(context.session.run_id())).ok_or_else(|| Error::internal("the second run left no record"))?;
    report(first, &compare(first, second))
}

/// A run that ended with an assertion that does not hold ends so again: the steps before it count.
fn as_recorded(outcome: std::result::Result<(), ScriptError>, first: &Run) -> Result<()> {
    let was = first.end.as_ref().and_then(|end| end.error.as_ref());
    match outcome {
        Err(e) if was.is_none_or(|was| was.message != e.error.message) => {
            Err(Error { message: format!("the script does not run again: {}", e.error.message), ..e.error })
        }
        _ => Ok(()),
    }
}

fn report(first: &Run, differences: &[Repeated]) -> Result<()> {
    let (steps, outputs) = (first.steps().count(), first.steps().map(|s| s.outputs.len()).sum::<usize>());
    let threads = rayon::current_num_threads();
    let Some(one) = differences.first() else {
        console::out(&format!(
            "run again with {threads} thread{}: {steps} steps and their {outputs} outputs have the same bits",
            if threads == 1 { "" } else { "s" }
        ));
        return Ok(());
    };
    for d in differences {
        console::out(&format!("step {} `{}`: {}", d.step, d.verb, d.what));
    }
    let more = if differences.len() > 1 { format!(" (and {} more)", differences.len() - 1) } else { String::new() };
    Err(Error::check(format!("the run does not repeat: step {} `{}`: {}{more}", one.step, one.verb, one.what)))
}

/// A project in which a recorded run can be done again: links to what it read, and room for what it makes.
struct Scratch {
    project: PathBuf,
    /// Original files behind the links.
    readable: Vec<PathBuf>,
    /// The project, and folders outside it that the run wrote into, each with its stand-in.
    moved: Vec<(PathBuf, PathBuf)>,
    writable: Vec<PathBuf>,
    _folder: tempfile::TempDir,
}

impl Scratch {
    fn make(place: &Place, first: &Run) -> Result<Scratch> {
        let folder = folder_in(&place.root)?;
        let base = folder.path().canonicalize().map_err(|e| Error::io("open the scratch folder", folder.path(), e))?;
        let project = base.join("project");
        std::fs::create_dir(&project).map_err(|e| Error::io("make the scratch folder", &project, e))?;
        let moved = vec![(place.root.clone(), project.clone())];
        let mut scratch = Scratch { project, readable: vec![], moved, writable: vec![], _folder: folder };
        for input in inputs(first) {
            scratch.link(&place.root, input)?;
        }
        for (i, path) in outside(first).into_iter().enumerate() {
            let stand_in = base.join(format!("out{i}"));
            std::fs::create_dir(&stand_in).map_err(|e| Error::io("make the scratch folder", &stand_in, e))?;
            scratch.writable.push(stand_in.clone());
            // The beginning of names of files keeps its own name.
            let name = path.file_name().filter(|_| !path.is_dir()).unwrap_or_default();
            let moved = stand_in.join(name);
            scratch.moved.push((path, moved));
        }
        Ok(scratch)
    }

    /// Puts a link where the script looks for an input of the project; inputs elsewhere stay where they are.
    fn link(&mut self, root: &Path, name: &str) -> Result<()> {
        let original = root.join(name);
        self.readable.push(original.clone());
        if Path::new(name).is_absolute() {
            return Ok(());
        }
        let link = self.project.join(name);
        if link.symlink_metadata().is_ok() {
            return Ok(());
        }
        let parent = link.parent().unwrap_or(&self.project);
        std::fs::create_dir_all(parent)
            .and_then(|()| symlink(&original, &link))
            .map_err(|e| Error::io("link an input into the scratch folder", &link, e))
    }

    /// The recorded parameters that the user gave, with folders of outputs replaced by their stand-ins.
    fn given(&self, first: &Run) -> Given {
        let given = first.start.parameters.iter().filter(|p| p.given);
        Given::recorded(given.map(|p| (p.name.clone(), self.replaced(&p.value))), &self.project)
    }

    fn replaced(&self, value: &Value) -> Value {
        let stand_in = |text: &str| {
            let path = Path::new(text);
            let (from, to) = self.moved.iter().find(|(from, _)| path.starts_with(from))?;
            path.strip_prefix(from).ok().map(|rest| if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) })
        };
        match value {
            Value::String(text) => stand_in(text).map_or_else(|| value.clone(), |p| p.display().to_string().into()),
            Value::Array(items) => items.iter().map(|v| self.replaced(v)).collect(),
            other => other.clone(),
        }
    }
}

/// Beside the store, where outputs of the same size have room; else where temporary files go.
fn folder_in(root: &Path) -> Result<tempfile::TempDir> {
    let store = root.join(".phangs");
    let build = tempfile::Builder::new().prefix("rerun-").tempdir_in(store);
    build.or_else(|_| tempfile::tempdir()).map_err(|e| Error::io("make a scratch folder", root, e))
}

/// Names of what the run read and did not make itself, and of the modules that it imported.
fn inputs(first: &Run) -> Vec<&str> {
    let mut made: BTreeSet<&str> = BTreeSet::new();
    let mut found = vec![];
    let inside = |made: &BTreeSet<&str>, path: &str| made.iter().any(|m| Path::new(path).starts_with(m));
    for step in first.steps() {
        found.extend(step.inputs.iter().map(|i| i.path.as_str()).filter(|path| !inside(&made, path)));
        made.extend(step.outputs.iter().map(|o| o.path.as_str()));
    }
    found.extend(first.start.modules.iter().map(|m| m.path.as_str()));
    found
}

/// Parameters that name a place outside the project under which the run wrote something.
fn outside(first: &Run) -> Vec<PathBuf> {
    let written: Vec<&Path> = first.steps().flat_map(|s| s.outputs.iter().map(|o| Path::new(&o.path))).collect();
    let given = first.start.parameters.iter().filter(|p| p.given).filter_map(|p| p.value.as_str()).map(Path::new);
    let mut found: Vec<PathBuf> = given.filter(|p| p.is_absolute()).map(Path::to_path_buf).collect();
    found.retain(|p| written.iter().any(|w| begins_with(w, &resolve(p))));
    found.sort();
    found.dedup();
    found
}
