//! What one run of a script shares with its verbs: sandbox, parameters, figures folder, and the way to be heard.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};
use crate::fits::FitsFiles;
use crate::ms::TableFolders;
use crate::notice::{Reporter, Warning};
use crate::run::record::Status;
use crate::run::{Registry, Session, SessionOptions};

use super::params::Given;
use super::sandbox::Sandbox;

/// What happens during a run, for whoever shows it.
#[derive(Debug, Clone)]
pub enum Event {
    /// The script opened cell `index`.
    Cell(usize),
    /// The script printed a line.
    Print(String),
    /// A step starts: its verb.
    StepStarted(&'static str),
    /// A step ended.
    StepEnded { verb: &'static str, status: Status, because: Vec<String> },
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

/// What a run starts from.
pub struct Setup {
    /// Folder of the project.
    pub project: PathBuf,
    /// Name of the script without folder and `.rhai`.
    pub script_name: String,
    /// Its file, if it is one.
    pub script_file: Option<PathBuf>,
    /// What the user gave with `-p` and `--params`.
    pub given: Given,
    /// Folder of figures, report and record, if the user chose one.
    pub plots: Option<PathBuf>,
    /// Do every step again.
    pub force: bool,
    /// Do nothing and say what would be done.
    pub dry_run: bool,
    /// Take another build of the program as a change.
    pub strict_build: bool,
    /// Who hears of the run.
    pub console: Arc<dyn Console>,
    /// Set to stop the run.
    pub cancel: Arc<AtomicBool>,
}

impl Setup {
    /// A run in a project, with nothing given.
    pub fn new(project: &Path, script_name: &str, console: Arc<dyn Console>) -> Setup {
        Setup {
            project: project.to_path_buf(),
            script_name: script_name.to_string(),
            script_file: None,
            given: Given::default(),
            plots: None,
            force: false,
            dry_run: false,
            strict_build: false,
            console,
            cancel: Arc::default(),
        }
    }
}

/// One run of a script.
pub struct Context {
    /// Where the script may read and write.
    pub sandbox: Sandbox,
    /// What the user gave with `-p` and `--params`.
    pub given: Given,
    /// Steps, their store and the record of the run.
    pub session: Session,
    /// Folder of figures, report and record, if the user chose one with `--out`.
    pub out: Option<PathBuf>,
    console: Arc<dyn Console>,
    cancel: Arc<AtomicBool>,
    cell: AtomicUsize,
}

impl Context {
    /// The run of a script in a project; figures go to `plots/<script>` unless the user or the script says otherwise.
    pub fn new(setup: Setup) -> Result<Context> {
        let sandbox = Sandbox::new(&setup.project)?;
        let out = setup.plots.inspect(|plots| sandbox.declare_write(plots));
        let plots = out.clone().unwrap_or_else(|| sandbox.project().join("plots").join(&setup.script_name));
        let options = SessionOptions {
            root: sandbox.project().to_path_buf(),
            plots: Some(plots),
            script: setup.script_name,
            script_file: setup.script_file,
            force: setup.force,
            dry_run: setup.dry_run,
            strict_build: setup.strict_build,
            build: format!("{} {}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH),
            threads: rayon::current_num_threads(),
            seed: None,
        };
        let session = Session::open(options, registry())?;
        Ok(Context { sandbox, given: setup.given, session, out, console: setup.console, cancel: setup.cancel, cell: AtomicUsize::new(0) })
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

    /// The script printed.
    pub fn print(&self, text: &str) {
        self.session.print(Some(self.cell()), &format!("{text}\n"));
        self.tell(Event::Print(text.to_string()));
    }
}

impl Reporter for Context {
    fn warn(&self, warning: Warning) {
        self.tell(Event::Warning(warning.clone()));
        self.session.warn(Some(self.cell()), warning);
    }
    fn progress(&self, stage: &str, done: u64, total: u64) {
        self.tell(Event::Progress { stage: stage.to_string(), done, total });
    }
    fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

/// The kinds of content that steps read and write: MeasurementSets and FITS by part, files and folders by their bytes.
pub fn registry() -> Registry {
    Registry::default().with(FitsFiles).with(TableFolders)
}

/// The project of a script: the nearest folder above it that holds `scripts/` or `.phangs/`, else its own folder.
pub fn project_of(script: &Path) -> Result<PathBuf> {
    let script = script.canonicalize().map_err(|e| Error::io("open the script", script, e))?;
    let own = script.parent().map(Path::to_path_buf).unwrap_or_default();
    let project = own.ancestors().find(|dir| dir.join(".phangs").is_dir() || dir.join("scripts").is_dir());
    Ok(project.map(Path::to_path_buf).unwrap_or(own))
}
