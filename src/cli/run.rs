//! `run`: finds the script, runs it, reports how it ended.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::error::{Error, Result};
use crate::run::record::{self, Outcome};
use crate::run::report::{self, Form};
use crate::run::{Hash, Session, Summary};
use crate::script::builtin;
use crate::script::context::{Context, Setup, project_of};
use crate::script::engine::{self, Script, ScriptError};
use crate::script::params::Given;

use super::RunArgs;
use super::console::{self, Terminal};

/// Runs a script and returns the exit code.
pub fn run(args: &RunArgs) -> i32 {
    run_on(args, Terminal::new(args.quiet))
}

/// Says which steps of a script would run.
pub fn explain(args: &RunArgs) -> i32 {
    run_on(&RunArgs { dry_run: true, ..args.clone() }, Terminal::explaining())
}

fn run_on(args: &RunArgs, terminal: Terminal) -> i32 {
    let start = Instant::now();
    let terminal = Arc::new(terminal);
    let (result, summary) = match prepare(args, &terminal) {
        Err(e) => (Err(plain(e)), None),
        Ok((script, context)) => {
            context.session.begin(record_of(&script), start_line(args, &script));
            let result = on_own_thread(&script, &context);
            let error = result.as_ref().err().map(|e: &ScriptError| (&e.error, Some(context.cell()), e.place.map(|(line, _)| line)));
            let summary = context.session.finish(error).and_then(|summary| write_report(&context).map(|_| summary));
            (result, Some(summary))
        }
    };
    terminal.finish();
    let result = match (&result, &summary) {
        (Ok(()), Some(Err(e))) => Err(plain(e.clone())),
        _ => result,
    };
    if let Err(e) = &result {
        console::error(&e.to_string());
    }
    if args.json {
        console::out(&last_line(&result, summary.and_then(|s| s.ok()), start));
    }
    result.map_or_else(|e| e.error.kind.exit_code(), |_| 0)
}

/// The report of the run that just ended, beside its record.
fn write_report(context: &Context) -> Result<()> {
    let Some(plots) = context.session.plots().filter(|_| !context.session.is_dry()) else { return Ok(()) };
    let record = record::Record::read(&plots)?;
    match record.run(Some(context.session.run_id())) {
        Some(run) => report::write(run, context.session.root(), &plots, Some(context.session.store()), Form::Folder).map(|_| ()),
        None => Ok(()),
    }
}

/// The engine has a thread and a stack of its own: a deep recursion in a script must not end the program.
pub fn on_own_thread(script: &Script, context: &Arc<Context>) -> Result<(), ScriptError> {
    let outcome = std::thread::scope(|s| {
        std::thread::Builder::new().stack_size(64 << 20).spawn_scoped(s, || engine::run(script, context)).map(|t| t.join())
    });
    match outcome {
        Ok(Ok(result)) => result.map(|_| ()),
        Ok(Err(_)) => {
            Err(plain(Error::internal("the program broke one of its own rules (a panic, above)").hint("please report it with the script")))
        }
        Err(e) => Err(plain(Error::internal(format!("cannot start a thread: {e}")))),
    }
}

/// The last line of `--json`.
fn last_line(result: &Result<(), ScriptError>, summary: Option<Summary>, start: Instant) -> String {
    let status = result.as_ref().map_or_else(|e| Outcome::of(&e.error), |_| Outcome::Done);
    let summary = summary.unwrap_or(Summary {
        status,
        steps_run: 0,
        steps_skipped: 0,
        steps_restored: 0,
        outputs: vec![],
        wall_s: start.elapsed().as_secs_f64(),
    });
    serde_json::to_string(&Summary { status, ..summary }).unwrap_or_default()
}

/// The script as the record keeps it.
pub fn record_of(script: &Script) -> record::Script {
    let cells = script.cells.iter().map(|c| record::Cell {
        title: c.title.clone(),
        markdown: c.markdown,
        first_line: c.first_line,
        last_line: c.first_line + c.text.lines().count().saturating_sub(1),
        options: c.tags.iter().map(|(k, v)| (k.clone(), v.clone().into())).collect(),
    });
    record::Script { hash: Hash::of(script.source.as_bytes()), text: script.source.clone(), cells: cells.collect() }
}

fn start_line(args: &RunArgs, script: &Script) -> record::Start {
    let command = std::iter::once("phangs-script".to_string()).chain(std::env::args().skip(1)).collect();
    let name = || Path::new(&args.file).file_stem().map_or(String::new(), |s| s.to_string_lossy().into_owned());
    let title = script.title().unwrap_or_else(name);
    record::Start { title, command, versions: Session::versions(&[]), ..Default::default() }
}

fn plain(error: Error) -> ScriptError {
    ScriptError { error, file: String::new(), place: None, source_line: None }
}

/// Sets the number of threads of this process.
pub fn use_threads(threads: Option<usize>) -> Result<()> {
    match threads {
        Some(0) => Err(Error::user("--threads is 0, but must be at least 1")),
        Some(n) => {
            // Fails only if the pool is there already, which nothing before this has made.
            let _ = rayon::ThreadPoolBuilder::new().num_threads(n).build_global();
            Ok(())
        }
        None => Ok(()),
    }
}

fn prepare(args: &RunArgs, terminal: &Arc<Terminal>) -> Result<(Script, Arc<Context>)> {
    use_threads(args.threads)?;
    let here = std::env::current_dir().map_err(|e| Error::io("find the current folder", ".", e))?;
    let (script, project, taken) = find_script(&args.file, &here)?;
    if let Some(taken) = taken.filter(|_| !args.quiet) {
        console::out(&taken);
    }
    let name = Path::new(&script.file).file_stem().map_or("script".into(), |s| s.to_string_lossy().into_owned());
    let setup = Setup {
        given: Given::read(&args.param, args.params.as_deref(), &here)?,
        plots: args.out.as_ref().map(|o| here.join(o)),
        script_file: Some(here.join(&script.file)).filter(|file| file.is_file()),
        force: args.force,
        dry_run: args.dry_run,
        strict_build: args.strict_build,
        ..Setup::new(&project, &name, terminal.clone())
    };
    on_interrupt(&setup.cancel)?;
    Ok((script, Arc::new(Context::new(setup)?)))
}

/// The script of that path, else of that name in `scripts/`, else built in; with its project, and which one it is if that must
/// be said.
pub fn find_script(file: &str, here: &Path) -> Result<(Script, PathBuf, Option<String>)> {
    let path = here.join(file);
    if path.is_file() {
        return Ok((engine::read(&path, file)?, project_of(&path)?, None));
    }
    let with_ending = if file.ends_with(".rhai") { file.to_string() } else { format!("{file}.rhai") };
    let in_scripts = here.join("scripts").join(&with_ending);
    if !file.contains('/') && in_scripts.is_file() {
        let shown = format!("scripts/{with_ending}");
        return Ok((engine::read(&in_scripts, &shown)?, project_of(&in_scripts)?, Some(format!("script: {shown}"))));
    }
    let bare = with_ending.strip_prefix("scripts/").unwrap_or(&with_ending);
    match builtin::script(bare) {
        Some(source) => Ok((Script::new(bare, source), here.to_path_buf(), Some(format!("script: {bare}, as built into the program")))),
        None => Err(Error::user(format!("there is no script \"{file}\""))
            .hint(format!("give a path, or one of the built-in scripts: {}", builtin::names().collect::<Vec<_>>().join(", ")))),
    }
}

/// The first Ctrl-C asks the run to stop; a second one ends the program at once.
pub fn on_interrupt(cancel: &Arc<AtomicBool>) -> Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, cancel.clone())
            .and_then(|_| signal_hook::flag::register(signal, cancel.clone()))
            .map_err(|e| Error::internal(format!("cannot listen for signals: {e}")))?;
    }
    cancel.store(false, Ordering::Relaxed);
    Ok(())
}
