//! Commands that read the record of a run: check, diff, report, gc.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::notice::Quiet;
use crate::run::record::{Record, Run};
use crate::run::report::{self, Form};
use crate::run::{self, Keeping, Store};
use crate::script::context::{project_of, registry};

use super::console;

/// The plots folder of a run, its project, and its record.
pub struct Place {
    /// The plots folder.
    pub plots: PathBuf,
    /// The project.
    pub root: PathBuf,
    record: Record,
}

impl Place {
    /// Of a script (its last run), or of a plots folder.
    fn find(target: &str) -> Result<Place> {
        let path = PathBuf::from(target);
        let plots = if path.is_dir() { path.clone() } else { plots_of(&path)? };
        if !plots.join(crate::run::record::FILE).is_file() {
            return Err(no_record(&plots));
        }
        let record = Record::read(&plots)?;
        let plots = plots.canonicalize().map_err(|e| Error::io("open the folder of the run", &plots, e))?;
        let root = record.run(None).map_or_else(|| plots.clone(), |run| run.project(&plots));
        Ok(Place { plots, root, record })
    }

    /// A run of the record, by default the last that ended well.
    pub fn run(&self, id: Option<&str>) -> Result<&Run> {
        self.record.run(id).ok_or_else(|| match id {
            Some(id) => Error::user(format!("the record has no run {id}")).at(&self.plots),
            None => Error::user("the record holds no run").at(&self.plots),
        })
    }
}

/// Where a script leaves its record unless told otherwise; a bare name is that of a script in `scripts/`, or of one built in.
fn plots_of(script: &Path) -> Result<PathBuf> {
    let name = script.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    let in_scripts = Path::new("scripts").join(format!("{name}.rhai"));
    let project = match (script.exists(), in_scripts.exists()) {
        (false, true) => project_of(&in_scripts)?,
        (false, false) if Path::new("plots").join(&name).is_dir() => PathBuf::from("."),
        _ => project_of(script)?,
    };
    Ok(project.join("plots").join(name))
}

fn no_record(path: &Path) -> Error {
    Error::user("there is no record of a run (run.jsonl) here")
        .hint("give the plots folder of a run, or a script whose figures are in plots/<script>")
        .at(path)
}

/// Re-hashes what the last run read and wrote, and runs it again elsewhere if asked.
pub fn check(target: &str, rerun: bool, threads: Option<usize>) -> Result<()> {
    super::run::use_threads(threads)?;
    let place = Place::find(target)?;
    let checks = run::check(place.run(None)?, &place.root, &registry(), &Quiet::default())?;
    for note in &checks.notes {
        console::out(note);
    }
    let checks = checks.into_result()?;
    console::out(&format!("{} inputs and outputs of run {} are as recorded", checks.paths.len(), checks.run));
    if rerun { super::rerun::check(&place) } else { Ok(()) }
}

/// Compares two runs: two plots folders (or scripts), or the last two runs of one.
pub fn diff(first: &str, second: Option<&str>, tolerance: f64) -> Result<()> {
    let a = Place::find(first)?;
    let b = second.map(Place::find).transpose()?;
    let (one, two) = match &b {
        Some(b) => (a.run(None)?, b.run(None)?),
        None => {
            let runs = &a.record.runs;
            let n = runs.len();
            if n < 2 {
                return Err(Error::user("the record holds one run only").hint("give a second plots folder to compare with").at(&a.plots));
            }
            (&runs[n - 2], &runs[n - 1])
        }
    };
    let folder = b.as_ref().unwrap_or(&a).plots.join("diff");
    let store = Store::open(&a.root);
    let found = run::diff(one, two, tolerance, &a.root, &store, Some(&folder))?;
    console::out(&found.to_string());
    let page = report::write_diff(&found, &folder)?;
    console::out(&format!("page: {}", page.display()));
    Ok(())
}

/// Rebuilds the report of the last run.
pub fn report(target: &str, single: bool) -> Result<()> {
    let place = Place::find(target)?;
    let store = Store::open(&place.root);
    let form = if single { Form::Single } else { Form::Folder };
    let path = report::write(place.run(None)?, &place.root, &place.plots, Some(&store), form)?;
    console::out(&path.display().to_string());
    Ok(())
}

/// Drops stored results that no recent run refers to.
pub fn gc(project: Option<&Path>, cap_mb: u64, dry: bool) -> Result<()> {
    let here = std::env::current_dir().map_err(|e| Error::io("find the current folder", ".", e))?;
    let root = project.map_or(here, Path::to_path_buf);
    let dropped = run::gc(&Store::open(&root), Keeping { cap_bytes: cap_mb << 20, ..Keeping::default() }, dry)?;
    let verb = if dry { "would drop" } else { "dropped" };
    console::out(&format!(
        "{verb} {} steps and {} stored files ({:.1} MB); {:.1} MB of stored outputs stay",
        dropped.steps,
        dropped.blobs,
        dropped.bytes as f64 / 1e6,
        dropped.kept_bytes as f64 / 1e6
    ));
    Ok(())
}
