//! The only room that knows the command line, prints, and sets the exit code.

mod console;
mod records;
mod rerun;
mod run;

use clap::{Parser, Subcommand};

use crate::error::{Error, Result};
use crate::script::catalogue;
use crate::script::lint::{self, Level};

/// Reproducible scripts for radio-interferometry data reduction.
#[derive(Debug, Parser)]
#[command(name = "phangs-script", version, about, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Option<RunArgs>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a script (the same as `phangs-script FILE`).
    Run(RunArgs),
    /// Say which steps of a script would run, and what changed, without running them.
    Explain(RunArgs),
    /// Read again and hash again what the last run read and wrote; exit code 4 if anything differs.
    Check {
        /// A script, or the plots folder of a run.
        target: String,
        /// Also run it again in a scratch folder and compare every bit of what it makes.
        #[arg(long)]
        rerun: bool,
        /// Number of threads of the second run.
        #[arg(long, value_name = "N", requires = "rerun")]
        threads: Option<usize>,
    },
    /// Say what is wrong with a script before it runs: cells, variables, unknown verbs and options, loops.
    Lint {
        /// Scripts.
        #[arg(required = true)]
        files: Vec<String>,
    },
    /// Compare two runs: parameters, code, numbers, tables, figures.
    Diff {
        /// A script, or the plots folder of a run.
        first: String,
        /// Another one; without it, the last two runs of the first.
        second: Option<String>,
        /// Relative difference below which numbers count as equal.
        #[arg(long, default_value_t = 0.0)]
        tolerance: f64,
    },
    /// Rebuild the report of the last run.
    Report {
        /// A script, or the plots folder of a run.
        target: String,
        /// One file with the figures inside.
        #[arg(long)]
        single: bool,
    },
    /// Drop stored results that no recent run refers to.
    Gc {
        /// Folder of the project [default: the current folder].
        project: Option<std::path::PathBuf>,
        /// Stored outputs that may stay, in MB; the least recently used go first.
        #[arg(long, default_value_t = 2048)]
        cap: u64,
        /// Only say what would go.
        #[arg(long)]
        dry_run: bool,
    },
    /// Show the help of a verb, or of all.
    Doc {
        /// Name of the verb.
        verb: Option<String>,
    },
    /// List the verbs.
    Verbs {
        /// Print definitions for the Rhai language server instead.
        #[arg(long)]
        definitions: bool,
    },
}

/// How to run a script.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// The script: a path, or the name of one in `scripts/` or among those built in.
    pub file: String,
    /// A parameter of the script, name=value; may be given several times.
    #[arg(short, long = "param", value_name = "NAME=VALUE")]
    pub param: Vec<String>,
    /// A TOML file of parameters; `-p` wins over it.
    #[arg(long, value_name = "FILE")]
    pub params: Option<std::path::PathBuf>,
    /// Folder of figures, report and record [default: plots/<script>].
    #[arg(long, value_name = "DIR")]
    pub out: Option<std::path::PathBuf>,
    /// Number of threads [default: one a processor]; the results do not depend on it.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Do nothing; say what would be done.
    #[arg(long)]
    pub dry_run: bool,
    /// Do every step again.
    #[arg(long)]
    pub force: bool,
    /// Take another build of the program as a change.
    #[arg(long)]
    pub strict_build: bool,
    /// Print nothing but errors.
    #[arg(long)]
    pub quiet: bool,
    /// End with one line of JSON: status, steps, outputs, time.
    #[arg(long)]
    pub json: bool,
}

/// Images come and go by the hundred: given back to the system after each, their pages cost a third of the time of a cube.
fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: two settings of the allocator, made before there are threads.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 << 20);
    }
}

/// Runs the program and returns its exit code.
pub fn main() -> i32 {
    // A file that outgrows a limit (`ulimit -f`) is then a failed write with its message, as on a full disk.
    // SAFETY: the signal is ignored, no code of ours runs in a handler.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    keep_freed_memory();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are no mistakes; every other usage error is the user's (exit 1, not clap's 2).
            let _ = e.print();
            return i32::from(e.use_stderr());
        }
    };
    let result = match (cli.command, cli.run) {
        (Some(Command::Run(args)), _) | (None, Some(args)) => return run::run(&args),
        (Some(Command::Explain(args)), _) => return run::explain(&args),
        (Some(Command::Check { target, rerun, threads }), _) => records::check(&target, rerun, threads),
        (Some(Command::Lint { files }), _) => lint(&files),
        (Some(Command::Diff { first, second, tolerance }), _) => records::diff(&first, second.as_deref(), tolerance),
        (Some(Command::Report { target, single }), _) => records::report(&target, single),
        (Some(Command::Gc { project, cap, dry_run }), _) => records::gc(project.as_deref(), cap, dry_run),
        (Some(Command::Doc { verb }), _) => doc(verb.as_deref()),
        (Some(Command::Verbs { definitions }), _) => {
            console::out(&if definitions { catalogue::definitions() } else { catalogue::list() });
            Ok(())
        }
        (None, None) => Err(Error::user("no script given").hint("phangs-script --help")),
    };
    match result {
        Ok(()) => 0,
        Err(e) => {
            console::error(&e.to_string());
            e.kind.exit_code()
        }
    }
}

/// Says what is wrong with scripts; errors make the exit code 1.
fn lint(files: &[String]) -> Result<()> {
    let here = std::env::current_dir().map_err(|e| Error::io("find the current folder", ".", e))?;
    let (mut errors, mut warnings) = (0, 0);
    for file in files {
        let (script, project, _) = run::find_script(file, &here)?;
        for finding in lint::lint(&script, &project)? {
            match finding.level {
                Level::Error => errors += 1,
                Level::Warning => warnings += 1,
            }
            console::out(&format!("{}:{finding}", script.file));
        }
    }
    let plural = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let counts = format!("{}, {}", plural(errors, "error"), plural(warnings, "warning"));
    if errors > 0 {
        return Err(Error::user(counts));
    }
    console::out(&counts);
    Ok(())
}

fn doc(verb: Option<&str>) -> Result<()> {
    let pages: Vec<String> = match verb {
        Some(name) => vec![catalogue::page(catalogue::find(name)?)],
        None => catalogue::all().map(catalogue::page).collect(),
    };
    console::out(&pages.join("\n"));
    Ok(())
}
