//! `run`: finds the script, runs it, reports how it ended.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::json;

use crate::error::{Error, Kind, Result};
use crate::script::context::{Context, project_of};
use crate::script::engine::{self, Script, ScriptError};
use crate::script::params::Given;
use crate::script::{builtin, catalogue};

use super::RunArgs;
use super::console::{self, Terminal};

/// Runs a script and returns the exit code.
pub fn run(args: &RunArgs) -> i32 {
    let start = Instant::now();
    let terminal = Arc::new(Terminal::new(args.quiet));
    let result = prepare(args, &terminal).map_err(plain).and_then(|(script, context)| {
        // The engine keeps its own thread: a deep recursion in a script must not end the program.
        let outcome = std::thread::scope(|s| {
            std::thread::Builder::new().stack_size(64 << 20).spawn_scoped(s, || engine::run(&script, &context)).map(|t| t.join())
        });
        match outcome {
            Ok(Ok(result)) => result.map(|_| ()),
            Ok(Err(_)) => Err(plain(
                Error::internal("the program broke one of its own rules (a panic, above)").hint("please report it with the script"),
            )),
            Err(e) => Err(plain(Error::internal(format!("cannot start a thread: {e}")))),
        }
    });
    terminal.finish();
    let code = match &result {
        Ok(()) => 0,
        Err(e) => {
            console::error(&e.to_string());
            e.error.kind.exit_code()
        }
    };
    if args.json {
        let status = match result.as_ref().map_err(|e| e.error.kind) {
            Ok(()) => "ok",
            Err(Kind::User) => "user error",
            Err(Kind::Data) => "data error",
            Err(Kind::Internal) => "internal error",
            Err(Kind::Check) => "check failed",
            Err(Kind::Interrupted) => "interrupted",
        };
        let line = json!({
            "status": status, "steps_run": terminal.n_steps(), "steps_skipped": 0, "steps_restored": 0,
            "outputs": terminal.outputs(), "wall_s": start.elapsed().as_secs_f64(),
        });
        console::out(&line.to_string());
    }
    code
}

fn plain(error: Error) -> ScriptError {
    ScriptError { error, file: String::new(), place: None, source_line: None }
}

fn prepare(args: &RunArgs, terminal: &Arc<Terminal>) -> Result<(Script, Arc<Context>)> {
    debug_assert!(catalogue::all().count() > 0);
    if let Some(n) = args.threads {
        if n == 0 {
            return Err(Error::user("--threads is 0, but must be at least 1"));
        }
        let _ = rayon::ThreadPoolBuilder::new().num_threads(n).build_global();
    }
    let here = std::env::current_dir().map_err(|e| Error::io("find the current folder", ".", e))?;
    let (script, project) = find_script(&args.file, &here)?;
    let name = Path::new(&script.file).file_stem().map_or("script".into(), |s| s.to_string_lossy().into_owned());
    let given = Given::read(&args.param, args.params.as_deref(), &here)?;
    let out = args.out.as_ref().map(|o| here.join(o));
    let cancel = Arc::new(AtomicBool::new(false));
    on_interrupt(&cancel)?;
    let context = Context::new(&project, &name, given, out, terminal.clone(), cancel)?;
    Ok((script, Arc::new(context)))
}

/// The script of that path, else of that name in `scripts/`, else built in.
fn find_script(file: &str, here: &Path) -> Result<(Script, PathBuf)> {
    let path = here.join(file);
    if path.is_file() {
        return Ok((engine::read(&path, file)?, project_of(&path)?));
    }
    let with_ending = if file.ends_with(".rhai") { file.to_string() } else { format!("{file}.rhai") };
    let in_scripts = here.join("scripts").join(&with_ending);
    if !file.contains('/') && in_scripts.is_file() {
        console::out(&format!("running scripts/{with_ending}"));
        return Ok((engine::read(&in_scripts, &format!("scripts/{with_ending}"))?, project_of(&in_scripts)?));
    }
    let bare = with_ending.strip_prefix("scripts/").unwrap_or(&with_ending);
    match builtin::script(bare) {
        Some(source) => {
            console::out(&format!("running {bare} as built into the program"));
            Ok((Script::new(bare, source), here.to_path_buf()))
        }
        None => Err(Error::user(format!("there is no script \"{file}\""))
            .hint(format!("give a path, or one of the built-in scripts: {}", builtin::names().collect::<Vec<_>>().join(", ")))),
    }
}

/// The first Ctrl-C asks the run to stop; a second one ends the program at once.
fn on_interrupt(cancel: &Arc<AtomicBool>) -> Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, cancel.clone())
            .and_then(|_| signal_hook::flag::register(signal, cancel.clone()))
            .map_err(|e| Error::internal(format!("cannot listen for signals: {e}")))?;
    }
    cancel.store(false, Ordering::Relaxed);
    Ok(())
}
