//! The program as a user runs it: a project in a temporary folder, the binary, its exit code and its last line.

mod commands;
mod gotchas;
mod kills;
mod sandbox;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_phangs-script");

/// A reduction in small: eight steps on two sets that are given, `A.ms` and `B.ms`.
pub const SCRIPT: &str = r#"
// %% Choices
import "lib/offsets" as lib;
let a        = param("a", "A.ms", #{ path: "in" });
let b        = param("b", "B.ms", #{ path: "in" });
let factor   = param("factor", 1.0);
let products = param("products", "products", #{ path: "out" });
let plots    = param("plots", "plots/demo", #{ path: "out" });

// %% Measure
let center = phase_center(a);                                             // rows only
let fit    = find_offset(a, b);                                           // visibilities, weights, flags

fn offset(f) { #{ dra_mas: 3.0 * f, ddec_mas: lib::north() } }

// %% Move
let moved  = shift(b, offset(factor), `${products}/B_shift.ms`, #{ relabel_to: center });
let joined = concat([a, moved], `${products}/joined.ms`, #{ direction_tolerance: "1arcsec" });
let listed = summary(joined);
print(`${listed.n_rows} rows`);

// %% Show
let table = save_shifts("A", [fit], [], `${products}/shifts.csv`);
plot_shifts([fit], [], `${plots}/shifts.png`);
plot_uv_overlap(fit, `${plots}/overlap.png`);
"#;

/// Steps of [`SCRIPT`].
pub const STEPS: usize = 8;

pub struct Project {
    pub dir: tempfile::TempDir,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
    /// The last line of `--json`.
    pub last: Value,
}

impl Ended {
    pub fn of(output: Output) -> Ended {
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = out.lines().last().and_then(|l| serde_json::from_str(l).ok()).unwrap_or_default();
        Ended { code: output.status.code(), out, err: String::from_utf8_lossy(&output.stderr).into_owned(), last }
    }
    /// Steps run, skipped and restored, of a run that ended well.
    #[track_caller]
    pub fn steps(&self) -> (usize, usize, usize) {
        assert_eq!(self.code, Some(0), "{self:#?}");
        let count = |name: &str| self.last[name].as_u64().unwrap() as usize;
        (count("steps_run"), count("steps_skipped"), count("steps_restored"))
    }
}

/// The two sets, made once.
fn sets() -> &'static Path {
    static MADE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let dir = MADE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("make.rhai"), "simulate(\"sim\", #{ long: 2, short: 0, antennas: 8, integrations: 6 });").unwrap();
        let made = Command::new(PROGRAM).current_dir(dir.path()).arg("make.rhai").output().unwrap();
        assert!(made.status.success(), "{made:?}");
        for (from, to) in [("LB1", "A"), ("LB2", "B")] {
            fs::rename(dir.path().join(format!("sim/{from}.ms")), dir.path().join(format!("{to}.ms"))).unwrap();
        }
        dir
    });
    dir.path()
}

pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() { copy_folder(&entry.path(), &to) } else { fs::copy(entry.path(), to).map(|_| ()).unwrap() }
    }
}

impl Project {
    /// A project with the two sets, the script in `scripts/` and its module.
    pub fn new() -> Project {
        Project::with(SCRIPT)
    }

    pub fn with(script: &str) -> Project {
        let p = Project::empty();
        p.write("scripts/demo.rhai", script);
        p.write("lib/offsets.rhai", "fn north() { 1.0 }");
        for set in ["A.ms", "B.ms"] {
            copy_folder(&sets().join(set), &p.path(set));
        }
        p
    }

    pub fn empty() -> Project {
        Project { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Replaces a piece of the script.
    pub fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path("scripts/demo.rhai")).unwrap();
        assert!(text.contains(from), "{from}");
        self.write("scripts/demo.rhai", &text.replace(from, to));
    }

    pub fn command<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(PROGRAM);
        command.current_dir(self.dir.path()).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Any command.
    pub fn call<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Ended {
        Ended::of(self.command(args).output().unwrap())
    }

    /// The script, with parameters.
    pub fn run(&self, given: &[&str]) -> Ended {
        self.call(self.run_args(given))
    }

    pub fn run_args(&self, given: &[&str]) -> Vec<String> {
        let given = given.iter().flat_map(|g| ["-p".to_string(), g.to_string()]);
        ["run", "scripts/demo.rhai", "--json"].into_iter().map(str::to_string).chain(given).collect()
    }

    pub fn start(&self, given: &[&str]) -> Child {
        self.command(self.run_args(given)).spawn().unwrap()
    }

    /// The verbs that the last run did, in their order.
    pub fn verbs_run(&self) -> Vec<String> {
        let lines = self.record();
        let last = lines.iter().rposition(|l| l["type"] == "start").unwrap();
        let steps = lines[last..].iter().filter(|l| l["type"] == "step" && l["status"] == "run");
        steps.map(|l| l["verb"].as_str().unwrap().to_string()).collect()
    }

    /// The lines of the record.
    pub fn record(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("plots/demo/run.jsonl")).unwrap();
        text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
    }
}

/// The file of a set that holds the samples of a column.
pub fn samples(set: &Path, column: &str) -> PathBuf {
    use phangs_script::notice::Quiet;
    use phangs_script::run::{Looking, Memo};
    let state = phangs_script::script::context::registry().state(set, &Memo::in_memory(), Looking::default(), &Quiet::default()).unwrap();
    let part = state.parts.iter().find(|(_, p)| p.labels == [column]).unwrap_or_else(|| panic!("{column} has no file of its own"));
    let manager = part.0.split(' ').next().unwrap().to_string();
    let files = fs::read_dir(set).unwrap().map(|e| e.unwrap().path());
    let own = files.filter(|f| f.file_name().unwrap().to_string_lossy().starts_with(&format!("{manager}_TSM")));
    own.max_by_key(|f| f.metadata().unwrap().len()).unwrap()
}

/// Changes one bit in the middle of a file.
pub fn flip_a_bit(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

pub fn touch_all(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { touch_all(&path) } else { filetime(&path, std::time::SystemTime::now()) }
    }
}

pub fn filetime(path: &Path, time: std::time::SystemTime) {
    fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

pub fn hash(path: &Path) -> String {
    use phangs_script::notice::Quiet;
    use phangs_script::run::{Looking, Memo};
    let looking = Looking { fresh: true, own: false };
    phangs_script::script::context::registry().state(path, &Memo::in_memory(), looking, &Quiet::default()).unwrap().hash.to_string()
}
