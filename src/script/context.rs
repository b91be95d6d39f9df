//! What one run of a script shares with its verbs: sandbox, parameters, figures folder, and the way to be heard.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::notice::{Reporter, Warning};

use super::params::Given;
use super::sandbox::Sandbox;

/// What happens during a run, for whoever shows or records it.
#[derive(Debug, Clone)]
pub enum Event {
    /// The script opened cell `index`.
    Cell(usize),
    /// The script printed a line.
    Print(String),
    /// A costly verb starts.
    StepStarted { verb: &'static str, text: String },
    /// A costly verb ended, after `wall_s` seconds.
    StepEnded { verb: &'static str, wall_s: f64 },
    /// A figure, table or report file was written, with its alternative text.
    Shown { path: PathBuf, alt: String },
    /// A named warning.
    Warning(Warning),
    /// Progress of a stage: `done` of `total` units.
    Progress { stage: String, done: u64, total: u64 },
}

/// Receives the events of a run; the only place where anything is printed is behind it.
pub trait Console: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event);
}

/// A console that keeps what it hears, for tests and library users.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Vec<Event>>);

impl Memory {
    /// The events so far.
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().map(|e| e.clone()).unwrap_or_default()
    }
}

impl Console for Memory {
    fn event(&self, event: Event) {
        if let Ok(mut events) = self.0.lock() {
            events.push(event);
        }
    }
}

/// A parameter as the run used it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ParamUsed {
    /// Name.
    pub name: String,
    /// Value in this run.
    pub value: Value,
    /// Default in the script.
    pub default: Value,
    /// What it is for.
    pub help: String,
    /// Unit.
    pub unit: String,
}

/// One run of a script.
pub struct Context {
    /// Where the script may read and write.
    pub sandbox: Sandbox,
    /// What the user gave with `-p` and `--params`.
    pub given: Given,
    /// Name of the script without folder and `.rhai`.
    pub script_name: String,
    console: std::sync::Arc<dyn Console>,
    cancel: std::sync::Arc<AtomicBool>,
    cell: AtomicUsize,
    plots: Mutex<PathBuf>,
    params: Mutex<Vec<ParamUsed>>,
}

impl Context {
    /// The run of a script in a project; figures go to `plots` unless the script says otherwise.
    pub fn new(
        project: &Path,
        script_name: &str,
        given: Given,
        plots: Option<PathBuf>,
        console: std::sync::Arc<dyn Console>,
        cancel: std::sync::Arc<AtomicBool>,
    ) -> Result<Context> {
        let sandbox = Sandbox::new(project)?;
        let plots = plots.unwrap_or_else(|| sandbox.project().join("plots").join(script_name));
        sandbox.declare_write(&plots);
        Ok(Context {
            sandbox,
            given,
            script_name: script_name.to_string(),
            console,
            cancel,
            cell: AtomicUsize::new(0),
            plots: Mutex::new(plots),
            params: Mutex::default(),
        })
    }

    /// Tells the console.
    pub fn tell(&self, event: Event) {
        self.console.event(event);
    }

    /// The script opened cell `index`.
    pub fn enter_cell(&self, index: usize) {
        self.cell.store(index, Ordering::Relaxed);
        self.tell(Event::Cell(index));
    }

    /// The cell that runs now.
    pub fn cell(&self) -> usize {
        self.cell.load(Ordering::Relaxed)
    }

    /// The folder of figures, report and record.
    pub fn plots(&self) -> PathBuf {
        self.plots.lock().map(|p| p.clone()).unwrap_or_default()
    }

    /// Puts figures, report and record elsewhere (the parameter `plots`).
    pub fn set_plots(&self, path: PathBuf) {
        if let Ok(mut plots) = self.plots.lock() {
            *plots = path;
        }
    }

    /// Notes a parameter as used.
    pub fn note_param(&self, used: ParamUsed) {
        if let Ok(mut params) = self.params.lock() {
            params.retain(|p| p.name != used.name);
            params.push(used);
        }
    }

    /// The parameters used so far, in the order of the script.
    pub fn params(&self) -> Vec<ParamUsed> {
        self.params.lock().map(|p| p.clone()).unwrap_or_default()
    }
}

impl Reporter for Context {
    fn warn(&self, warning: Warning) {
        self.tell(Event::Warning(warning));
    }
    fn progress(&self, stage: &str, done: u64, total: u64) {
        self.tell(Event::Progress { stage: stage.to_string(), done, total });
    }
    fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

/// The project of a script: the nearest folder above it that holds `scripts/` or `.phangs/`, else its own folder.
pub fn project_of(script: &Path) -> Result<PathBuf> {
    let script = script.canonicalize().map_err(|e| Error::io("open the script", script, e))?;
    let own = script.parent().map(Path::to_path_buf).unwrap_or_default();
    let project = own.ancestors().find(|dir| dir.join(".phangs").is_dir() || dir.join("scripts").is_dir());
    Ok(project.map(Path::to_path_buf).unwrap_or(own))
}
