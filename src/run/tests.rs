//! The gotcha corpus at the level of this room: a verb that counts its executions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::record::{Figure, Line, Mark, Outcome, Record, Script, Start, Status};
use super::*;
use crate::error::{Error, Kind, Result};
use crate::notice::{Quiet, Reporter, Warning};

/// A project in a temporary folder.
struct Project {
    dir: tempfile::TempDir,
    runs: AtomicUsize,
}

impl Project {
    fn new() -> Project {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.txt"), "alpha").unwrap();
        fs::write(dir.path().join("b.txt"), "beta").unwrap();
        Project { dir, runs: AtomicUsize::new(0) }
    }
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }
    fn session(&self) -> Session {
        self.session_with(|_| {})
    }
    fn session_with(&self, change: impl FnOnce(&mut SessionOptions)) -> Session {
        let mut options = SessionOptions {
            root: self.dir.path().to_path_buf(),
            plots: Some(PathBuf::from("plots")),
            script: "s.rhai".into(),
            threads: 1,
            ..SessionOptions::default()
        };
        change(&mut options);
        Session::open(options, Registry::default()).unwrap()
    }
    /// `shout`: joins its inputs in capitals, with a mark, into `out`.
    fn shout(&self, session: &Session, inputs: &[&str], out: &str, mark: &str) -> Result<StepResult> {
        self.shout_with(session, inputs, out, mark, |call| call)
    }
    fn shout_with(
        &self,
        session: &Session,
        inputs: &[&str],
        out: &str,
        mark: &str,
        change: impl FnOnce(StepCall) -> StepCall,
    ) -> Result<StepResult> {
        let mut call = StepCall::new("shout", 1, json!({"inputs": inputs, "out": out, "options": {"mark": mark}})).writes(out);
        for input in inputs {
            call = call.reads(input);
        }
        let call = change(call);
        session.step(&call, &Quiet::default(), |context| {
            self.runs.fetch_add(1, Ordering::SeqCst);
            let text: Vec<String> = inputs.iter().map(|i| fs::read_to_string(session.place(i)).unwrap().to_uppercase()).collect();
            context.warn(Warning::new("loud", "it is loud"));
            write_renamed(&session.place(out), (text.join("+") + mark).as_bytes())?;
            Ok(json!({"$kind": "text", "path": out, "from": inputs}))
        })
    }
    fn count(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
    /// Statuses of a fresh session that makes one call.
    fn again(&self) -> (Status, usize) {
        let status = self.shout(&self.session(), &["a.txt", "b.txt"], "out.txt", "!").unwrap().status;
        (status, self.count())
    }
}

/// Writes as verbs do: temporary sibling, then rename.
fn write_renamed(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = partial_of(path);
    let written = fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, path));
    written.map_err(|e| {
        let _ = fs::remove_file(&partial);
        Error::io("write", path, e)
    })
}

#[test]
fn an_unchanged_step_is_not_run_again() {
    let p = Project::new();
    assert_eq!(p.again(), (Status::Run, 1));
    assert_eq!(p.again(), (Status::Skipped, 1));
    assert_eq!(p.read("out.txt"), "ALPHA+BETA!");
    let result = p.shout(&p.session(), &["a.txt", "b.txt"], "out.txt", "!").unwrap();
    assert_eq!(result.value, json!({"$kind": "text", "path": "out.txt", "from": ["a.txt", "b.txt"]}));
    assert_eq!(result.warnings[0].name, "loud");
    assert_eq!(result.quality.mark, Mark::Look);
}

#[test]
fn touching_a_file_runs_nothing() {
    let p = Project::new();
    p.again();
    let file = fs::File::options().append(true).open(p.path("a.txt")).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(100)).unwrap();
    assert_eq!(p.again(), (Status::Skipped, 1));
}

#[test]
fn other_bytes_with_the_same_size_and_time_run() {
    let p = Project::new();
    p.again();
    let time = fs::metadata(p.path("a.txt")).unwrap().modified().unwrap();
    p.write("a.txt", "ALPHa");
    fs::File::options().append(true).open(p.path("a.txt")).unwrap().set_modified(time).unwrap();
    assert_eq!(p.again(), (Status::Run, 2));
}

/// The same, when the memo trusts the file because it was old when it was hashed.
#[test]
fn other_bytes_are_seen_behind_a_trusted_memo() {
    let p = Project::new();
    std::thread::sleep(memo::STRICT + Duration::from_millis(50));
    let state = |session: &Session| session.state("a.txt", &Quiet::default()).unwrap();
    assert_eq!(state(&p.session()).how, How::Read);
    assert_eq!(state(&p.session()).how, How::Memo);
    let time = fs::metadata(p.path("a.txt")).unwrap().modified().unwrap();
    p.write("a.txt", "ALPHa");
    fs::File::options().append(true).open(p.path("a.txt")).unwrap().set_modified(time).unwrap();
    let after = state(&p.session());
    assert_eq!((after.how, after.hash), (How::Read, Hash::of(b"ALPHa")));
    assert_eq!(state(&p.session()).how, How::Read, "a file that was just written is not trusted");
}

/// A large output is remembered as soon as the clock of the stamps has ticked, and a change right after is seen.
#[test]
fn a_large_output_is_trusted_after_a_tick_and_no_longer() {
    let p = Project::new();
    let path = p.path("large.bin");
    let own = Looking { own: true, fresh: false };
    let memo = Memo::open(&p.path("memo"));
    let look = |memo: &Memo, looking| Registry::default().state(&path, memo, looking, &Quiet::default()).unwrap();
    for (round, byte) in (0..10u8).enumerate() {
        fs::write(&path, vec![byte; memo::WORTH_REMEMBERING as usize]).unwrap();
        let written = look(&memo, own);
        assert_eq!(written.how, How::Read, "round {round}");
        assert_eq!(written.hash, Hash::of(&vec![byte; memo::WORTH_REMEMBERING as usize]));
        if cfg!(target_os = "linux") {
            let again = look(&Memo::open(&p.path("memo")), Looking::default());
            assert_eq!((again.how, again.hash), (How::Memo, written.hash), "round {round}");
        }
    }
}

#[test]
fn a_renamed_input_is_the_same_input() {
    let p = Project::new();
    p.again();
    fs::rename(p.path("a.txt"), p.path("c.txt")).unwrap();
    let result = p.shout(&p.session(), &["c.txt", "b.txt"], "out.txt", "!").unwrap();
    assert_eq!((result.status, p.count()), (Status::Skipped, 1));
    assert_eq!(result.value["from"], json!(["c.txt", "b.txt"]), "the value names the input as it is called now");
}

#[test]
fn a_path_counts_by_its_content_however_it_is_spelled() {
    let p = Project::new();
    fs::create_dir(p.path("sub")).unwrap();
    let take = |text: &str| {
        let session = p.session();
        // the verb resolves the path itself and declares where it leads
        let call = StepCall::new("look", 1, json!({"set": format!("{text}#0")})).reads(session.place(text));
        session.step(&call, &Quiet::default(), |_| Ok(Value::Null)).unwrap().status
    };
    assert_eq!(take("a.txt"), Status::Run);
    for text in ["./a.txt", "sub/../a.txt", p.path("a.txt").to_str().unwrap()] {
        assert_eq!(take(text), Status::Skipped, "{text}");
    }
    fs::rename(p.path("a.txt"), p.path("sub/other.txt")).unwrap();
    assert_eq!(take("sub/./other.txt"), Status::Skipped);
}

#[test]
fn a_value_in_the_store_is_kept_with_its_step_and_missed_when_gone() {
    let p = Project::new();
    let run = || {
        let session = p.session();
        let call = StepCall::new("profile", 1, json!({}));
        let result = session.step(&call, &Quiet::default(), |_| {
            let hash = session.store().put(&[7; 5000])?;
            Ok(json!({"n": 1, "$figure": {"$stored": hash}}))
        });
        result.unwrap()
    };
    run();
    let blobs = walkdir(&p.path(".phangs/blobs"));
    let long_ago = SystemTime::now() - Duration::from_secs(86_400);
    fs::File::options().append(true).open(&blobs[0]).unwrap().set_modified(long_ago).unwrap();
    assert_eq!(gc(p.session().store(), Keeping::default(), false).unwrap().blobs, 0, "a value refers to it");
    assert_eq!(run().status, Status::Skipped);
    fs::remove_file(&blobs[0]).unwrap();
    let again = run();
    assert_eq!((again.status, again.because), (Status::Run, vec![Reason::ValueMissing]));
    assert_eq!(run().status, Status::Skipped);
}

#[test]
fn a_script_that_is_edited_while_it_runs_is_said_and_the_record_holds_what_ran() {
    let p = Project::new();
    p.write("s.rhai", "let x = 1;");
    let session = p.session_with(|o| o.script_file = Some("s.rhai".into()));
    let script = Script { hash: Hash::of(b"let x = 1;"), text: "let x = 1;".into(), cells: vec![] };
    session.begin(script, Start::default());
    p.write("s.rhai", "let x = 2;");
    session.finish(None).unwrap();
    let record = Record::read(&p.path("plots")).unwrap();
    assert_eq!(record.runs[0].script.as_ref().unwrap().text, "let x = 1;");
    assert!(matches!(&record.runs[0].lines[0], Line::Warning(w) if w.warning.name == "script-edited"));
    let checks = check(&record.runs[0], p.dir.path(), &Registry::default(), &Quiet::default()).unwrap();
    assert_eq!(checks.notes.len(), 1);
}

#[test]
fn a_permuted_list_runs_unless_order_does_not_matter() {
    let p = Project::new();
    p.again();
    let result = p.shout(&p.session(), &["b.txt", "a.txt"], "out.txt", "!").unwrap();
    assert_eq!((result.status, p.count()), (Status::Run, 2));
    let any = |call: StepCall| call.unordered("inputs");
    p.shout_with(&p.session(), &["a.txt", "b.txt"], "any.txt", "!", any).unwrap();
    let result = p.shout_with(&p.session(), &["b.txt", "a.txt"], "any.txt", "!", any).unwrap();
    assert_eq!((result.status, p.count()), (Status::Skipped, 3));
}

#[test]
fn a_changed_default_runs_and_is_named() {
    let p = Project::new();
    p.again();
    let result = p.shout(&p.session(), &["a.txt", "b.txt"], "out.txt", "?").unwrap();
    assert_eq!((result.status, p.count()), (Status::Run, 2));
    let said: Vec<String> = result.because.iter().map(Reason::to_string).collect();
    assert_eq!(said, [r#"options.mark was "!", is "?""#]);
    assert_eq!(p.read("out.txt"), "ALPHA+BETA?");
    // back again: the output that lies there is ours, and the first one is still in the store
    assert_eq!(p.again(), (Status::Restored, 2));
    assert_eq!(p.read("out.txt"), "ALPHA+BETA!");
}

#[test]
fn a_new_version_of_a_verb_or_table_runs_and_is_named() {
    let p = Project::new();
    p.again();
    let newer = |mut call: StepCall| {
        call.version = 2;
        call
    };
    let result = p.shout_with(&p.session(), &["a.txt", "b.txt"], "out.txt", "!", newer).unwrap();
    assert_eq!((result.status, result.because), (Status::Run, vec![Reason::Version { was: 1, is: 2 }]));
    let table = |version: &'static str| {
        move |mut call: StepCall| {
            call.tables.insert("eop".into(), version.into());
            call
        }
    };
    p.shout_with(&p.session(), &["a.txt", "b.txt"], "t.txt", "!", table("1")).unwrap();
    let result = p.shout_with(&p.session(), &["a.txt", "b.txt"], "t.txt", "!", table("2")).unwrap();
    assert_eq!(result.because[0].to_string(), "data table eop was 1, is 2");
}

#[test]
fn a_changed_input_is_named() {
    let p = Project::new();
    p.again();
    p.write("b.txt", "gamma");
    let result = p.shout(&p.session(), &["a.txt", "b.txt"], "out.txt", "!").unwrap();
    assert_eq!(result.because, vec![Reason::Input { path: "b.txt".into(), parts: vec![] }]);
}

#[test]
fn a_deleted_output_comes_back_from_the_store() {
    let p = Project::new();
    p.again();
    fs::remove_file(p.path("out.txt")).unwrap();
    assert_eq!(p.again(), (Status::Restored, 1));
    assert_eq!(p.read("out.txt"), "ALPHA+BETA!");
    assert_eq!(p.again(), (Status::Skipped, 1));
}

#[test]
fn a_deleted_output_too_large_for_the_store_is_made_again() {
    let p = Project::new();
    let mut session = p.session();
    session.store.cap_bytes = 3;
    p.shout(&session, &["a.txt"], "out.txt", "!").unwrap();
    fs::remove_file(p.path("out.txt")).unwrap();
    let result = p.shout(&p.session(), &["a.txt"], "out.txt", "!").unwrap();
    assert_eq!((result.status, p.count()), (Status::Run, 2));
    assert_eq!(result.because[0].to_string(), "out.txt is not there");
}

#[test]
fn an_output_altered_by_hand_stops_the_step() {
    let p = Project::new();
    p.again();
    p.write("out.txt", "my precious note");
    let error = p.shout(&p.session(), &["a.txt", "b.txt"], "out.txt", "!").unwrap_err();
    assert_eq!((error.kind, p.count()), (Kind::User, 1));
    assert!(error.message.contains("changed since `shout` wrote it"), "{error}");
    assert_eq!(p.read("out.txt"), "my precious note");
    // also with another argument, and with --force
    assert!(p.shout(&p.session(), &["a.txt"], "out.txt", "?").is_err());
    assert!(p.shout(&p.session_with(|o| o.force = true), &["a.txt", "b.txt"], "out.txt", "!").is_err());
    assert_eq!(p.read("out.txt"), "my precious note");
    let overwrite = |mut call: StepCall| {
        call.overwrite = true;
        call
    };
    let result = p.shout_with(&p.session(), &["a.txt", "b.txt"], "out.txt", "!", overwrite).unwrap();
    assert_eq!((result.status, p.read("out.txt").as_str()), (Status::Restored, "ALPHA+BETA!"));
}

/// A verb whose writer refuses what exists, and one that fails: the earlier output is there until the new one is complete.
#[test]
fn the_earlier_output_stays_until_the_new_one_is_complete() {
    let p = Project::new();
    let make = |n: i32, fails: bool| {
        let session = p.session();
        let call = StepCall::new("make", 1, json!({"n": n})).writes("out.txt");
        session.step(&call, &Quiet::default(), |_| {
            assert!(!p.path("out.txt").exists(), "it is out of the way");
            if fails {
                return Err(Error::data("no"));
            }
            write_renamed(&session.place("out.txt"), n.to_string().as_bytes()).map(|()| Value::Null)
        })
    };
    make(1, false).unwrap();
    assert!(make(2, true).is_err());
    assert_eq!(p.read("out.txt"), "1");
    assert_eq!(make(1, true).unwrap().status, Status::Skipped);
    make(2, false).unwrap();
    assert_eq!(p.read("out.txt"), "2");
    assert_eq!(fs::read_dir(p.dir.path()).unwrap().flatten().filter(|e| e.file_name().to_string_lossy().contains("replaced")).count(), 0);
}

#[test]
fn a_file_of_somebody_else_is_not_overwritten_outside_the_plots() {
    let p = Project::new();
    p.write("out.txt", "theirs");
    let error = p.shout(&p.session(), &["a.txt"], "out.txt", "!").unwrap_err();
    assert!(error.message.contains("did not write"), "{error}");
    assert_eq!((p.read("out.txt").as_str(), p.count()), ("theirs", 0));
    fs::create_dir_all(p.path("plots")).unwrap();
    p.write("plots/figure.txt", "committed example");
    p.shout(&p.session(), &["a.txt"], "plots/figure.txt", "!").unwrap();
    assert_eq!(p.read("plots/figure.txt"), "ALPHA!");
}

#[test]
fn force_runs_everything_and_dry_run_nothing() {
    let p = Project::new();
    let dry = p.session_with(|o| o.dry_run = true);
    let result = p.shout(&dry, &["a.txt"], "out.txt", "!").unwrap();
    assert_eq!((result.status, result.because, p.count()), (Status::Would, vec![Reason::FirstTime], 0));
    assert!(!p.path("plots").exists() && !p.path("out.txt").exists() && !p.path(".phangs").exists());
    p.shout(&p.session(), &["a.txt"], "out.txt", "!").unwrap();
    let dry = p.session_with(|o| o.dry_run = true);
    assert_eq!(p.shout(&dry, &["a.txt"], "out.txt", "!").unwrap().status, Status::Skipped);
    p.shout(&p.session_with(|o| o.force = true), &["a.txt"], "out.txt", "!").unwrap();
    assert_eq!(p.count(), 2);
}

#[test]
fn a_dry_run_follows_what_would_change() {
    let p = Project::new();
    let chain = |session: &Session, mark: &str| {
        let one = p.shout(session, &["a.txt"], "one.txt", mark).unwrap();
        let two = p.shout(session, &["one.txt"], "two.txt", "").unwrap();
        (one, two)
    };
    chain(&p.session(), "!");
    let (one, two) = chain(&p.session_with(|o| o.dry_run = true), "?");
    assert_eq!((one.status, two.status), (Status::Would, Status::Would));
    assert_eq!(two.because, vec![Reason::Upstream { path: "one.txt".into() }]);
    assert_eq!(two.value["path"], "two.txt", "the earlier value stands in");
    // the second step of a run whose first gives the same bytes again is done
    let (_, two) = chain(&p.session_with(|o| o.force = false), "!");
    assert_eq!((two.status, p.count()), (Status::Skipped, 2));
}

#[test]
fn an_impure_step_runs_each_time() {
    let p = Project::new();
    let impure = |mut call: StepCall| {
        call.pure = false;
        call
    };
    for n in 1..=2 {
        let result = p.shout_with(&p.session(), &["a.txt"], "out.txt", "!", impure).unwrap();
        assert_eq!((result.status, p.count()), (Status::Run, n));
    }
}

#[test]
fn a_record_knows_its_project_wherever_it_lies() {
    let (p, elsewhere) = (Project::new(), tempfile::tempdir().unwrap());
    let script = Script { hash: Hash::of(b""), text: String::new(), cells: vec![] };
    for plots in ["plots/deep/down".into(), elsewhere.path().join("plots")] {
        let session = p.session_with(|o| o.plots = Some(plots.clone()));
        session.begin(script.clone(), Start::default());
        p.shout(&session, &["a.txt"], "out.txt", "!").unwrap();
        session.finish(None).unwrap();
        let plots = session.plots().unwrap();
        let record = Record::read(&plots).unwrap();
        let root = record.runs[0].project(&plots);
        assert_eq!(root, p.dir.path().canonicalize().unwrap());
        assert!(check(&record.runs[0], &root, &Registry::default(), &Quiet::default()).unwrap().holds());
    }
}

#[test]
fn two_steps_that_write_one_file_are_warned_about() {
    let p = Project::new();
    let session = p.session();
    p.shout(&session, &["a.txt"], "out.txt", "!").unwrap();
    p.shout(&session, &["a.txt"], "out.txt", "!").unwrap();
    p.shout(&session, &["a.txt"], "out.txt", "?").unwrap();
    session.finish(None).unwrap();
    let text = p.read("plots/run.jsonl");
    assert_eq!(text.matches("written-twice").count(), 1, "{text}");
}

#[test]
fn a_moved_project_is_the_same_project() {
    let p = Project::new();
    let inner = p.path("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("a.txt"), "alpha").unwrap();
    let take = |root: &Path| {
        let options = SessionOptions { root: root.to_path_buf(), ..SessionOptions::default() };
        let session = Session::open(options, Registry::default()).unwrap();
        let (input, out) = (root.join("a.txt"), root.join("out.txt"));
        p.shout(&session, &[input.to_str().unwrap()], out.to_str().unwrap(), "!").unwrap()
    };
    assert_eq!(take(&inner).status, Status::Run);
    let moved = p.path("moved");
    fs::rename(&inner, &moved).unwrap();
    let result = take(&moved);
    assert_eq!(result.status, Status::Skipped);
    assert_eq!(result.value["path"], moved.canonicalize().unwrap().join("out.txt").to_str().unwrap());
}

#[test]
fn an_input_that_changes_while_the_step_runs_is_an_error() {
    let p = Project::new();
    let session = p.session();
    let call = StepCall::new("slow", 1, json!({"in": "a.txt"})).reads("a.txt").writes("out.txt");
    let result = session.step(&call, &Quiet::default(), |_| {
        p.write("a.txt", "omega");
        write_renamed(&session.place("out.txt"), b"half old, half new")?;
        Ok(Value::Null)
    });
    assert!(result.unwrap_err().message.contains("changed while `slow` was reading"));
    // what it left behind is ours to overwrite, and the next run does the step
    let ok = session.step(&call, &Quiet::default(), |_| write_renamed(&session.place("out.txt"), b"new").map(|()| Value::Null)).unwrap();
    assert_eq!((ok.status, p.read("out.txt").as_str()), (Status::Run, "new"));
}

#[test]
fn a_missing_input_is_an_error_before_any_work() {
    let p = Project::new();
    let error = p.shout(&p.session(), &["nowhere.txt"], "out.txt", "!").unwrap_err();
    assert_eq!((error.kind, p.count()), (Kind::User, 0));
}

#[test]
fn a_failed_step_leaves_no_claim_on_its_output() {
    let p = Project::new();
    let session = p.session();
    let call = StepCall::new("fail", 1, json!({})).writes("out.txt");
    assert!(session.step(&call, &Quiet::default(), |_| Err(Error::data("no"))).is_err());
    p.write("out.txt", "theirs");
    let error = session.step(&call, &Quiet::default(), |_| Ok(Value::Null)).unwrap_err();
    assert!(error.message.contains("did not write"), "{error}");
}

/// A step was killed after it moved the earlier output aside, and somebody put a folder in its place.
#[test]
fn a_folder_in_the_place_of_a_file_is_never_deleted() {
    let p = Project::new();
    p.shout(&p.session(), &["a.txt"], "out.txt", "!").unwrap();
    let session = p.session();
    let was = super::session::stamp_of(&p.path("out.txt"));
    fs::rename(p.path("out.txt"), store::aside_of(&p.path("out.txt"))).unwrap();
    let pending = store::Pending {
        path: "out.txt".into(),
        verb: "shout".into(),
        run: "r".into(),
        time: String::new(),
        was,
        left: None,
        before: None,
    };
    session.store.put_pending(&pending).unwrap();
    fs::create_dir(p.path("out.txt")).unwrap();
    p.write("out.txt/precious.txt", "theirs");
    let error = p.shout(&p.session(), &["b.txt"], "out.txt", "?").unwrap_err();
    assert!(error.message.contains("would overwrite"), "{error}");
    assert_eq!(p.read("out.txt/precious.txt"), "theirs");
}

#[test]
fn a_step_without_outputs_keeps_its_value() {
    let p = Project::new();
    for n in 0..2 {
        let call = StepCall::new("measure", 1, json!({"in": "a.txt", "tiny": 1e-300, "third": 1.0 / 3.0})).reads("a.txt");
        let result = p.session().step(&call, &Quiet::default(), |_| {
            p.runs.fetch_add(1, Ordering::SeqCst);
            Ok(json!({"x": 0.1 + 0.2, "n": u64::MAX}))
        });
        let result = result.unwrap();
        assert_eq!((result.value, p.count()), (json!({"x": 0.1 + 0.2, "n": u64::MAX}), 1), "call {n}");
    }
}

#[test]
fn figures_and_tables_of_a_skipped_step_are_shown_again() {
    let p = Project::new();
    for _ in 0..2 {
        let session = p.session();
        let call = StepCall::new("draw", 1, json!({"in": "a.txt", "out": "plots/f.png"}))
            .reads("a.txt")
            .writes("plots/f.png")
            .at(Some(2), Some(7));
        let draw = |context: &StepContext| {
            write_renamed(&session.place("plots/f.png"), b"not really a png")?;
            context.figure(Figure { path: "plots/f.png".into(), width: 800, height: 600, alt: "a line".into(), ..Figure::default() });
            Ok(Value::Null)
        };
        session.step(&call, &Quiet::default(), draw).unwrap();
        session.finish(None).unwrap();
    }
    let text = fs::read_to_string(p.path("plots/run.jsonl")).unwrap();
    let figures: Vec<Line> = text.lines().map(|l| serde_json::from_str(l).unwrap()).filter(|l| matches!(l, Line::Figure(_))).collect();
    assert_eq!(figures.len(), 2);
    let Line::Figure(last) = &figures[1] else { panic!("a figure") };
    assert_eq!((last.cell, last.step, last.hash), (Some(2), Some(1), Some(Hash::of(b"not really a png"))));
}

#[test]
fn the_record_is_read_back_and_survives_a_torn_line() {
    let p = Project::new();
    let script = Script { hash: Hash::of(b"let x = 1;"), text: "let x = 1;".into(), cells: vec![] };
    for _ in 0..2 {
        let session = p.session();
        session.begin(script.clone(), Start { title: "a test".into(), ..Start::default() });
        session.print(Some(0), "hello ");
        session.print(Some(0), "world\n");
        p.shout(&session, &["a.txt"], "out.txt", "!").unwrap();
        let summary = session.finish(None).unwrap();
        assert_eq!(summary.outputs, ["out.txt"]);
        // a process that dies in the middle of a line
        let torn = fs::read_to_string(p.path("plots/run.jsonl")).unwrap() + "{\"type\":\"step\",\"ru";
        p.write("plots/run.jsonl", &torn);
    }
    let record = Record::read(&p.path("plots")).unwrap();
    assert_eq!((record.runs.len(), record.unreadable.len()), (2, 2));
    let last = record.run(None).unwrap();
    assert_eq!((last.outcome(), last.script.as_ref().unwrap().text.as_str()), (Outcome::Done, "let x = 1;"));
    let end = last.end.as_ref().unwrap();
    assert_eq!((end.steps_run, end.steps_skipped), (0, 1));
    let step = last.steps().next().unwrap();
    assert_eq!((step.status, step.inputs[0].path.as_str(), step.outputs[0].state.hash), (Status::Skipped, "a.txt", Hash::of(b"ALPHA!")));
    assert_ne!(step.made_by, last.start.run);
    assert!(matches!(&last.lines[0], Line::Print(print) if print.text == "hello world\n"));
    assert_eq!(fs::read_to_string(p.path("plots/run.jsonl")).unwrap().matches("\"type\":\"script\"").count(), 1);
}

/// `flag`: appends to a file in place.
fn flag(p: &Project, session: &Session, word: &str) -> Result<StepResult> {
    let call = StepCall::new("flag", 1, json!({"file": "set.txt", "word": word})).edits("set.txt");
    session.step(&call, &Quiet::default(), |_| {
        p.runs.fetch_add(1, Ordering::SeqCst);
        let path = session.place("set.txt");
        let text = fs::read_to_string(&path).unwrap() + word;
        fs::write(path, text).map_err(|e| Error::internal(e.to_string()))?;
        Ok(Value::Null)
    })
}

#[test]
fn edits_in_place_are_done_once_in_a_chain() {
    let p = Project::new();
    p.write("set.txt", "0");
    let run = |p: &Project| {
        let session = p.session();
        let one = flag(p, &session, "1").unwrap().status;
        let two = flag(p, &session, "2").unwrap().status;
        (one, two)
    };
    assert_eq!((run(&p), p.count()), ((Status::Run, Status::Run), 2));
    assert_eq!((run(&p), p.count()), ((Status::Skipped, Status::Skipped), 2));
    assert_eq!(p.read("set.txt"), "012");
    // disk = before: both run again
    p.write("set.txt", "0");
    assert_eq!((run(&p), p.count()), ((Status::Run, Status::Run), 4));
    // an edit is added at the end
    let session = p.session();
    flag(&p, &session, "1").unwrap();
    flag(&p, &session, "2").unwrap();
    assert_eq!(flag(&p, &session, "3").unwrap().status, Status::Run);
    assert_eq!(p.read("set.txt"), "0123");
}

#[test]
fn a_changed_edit_stops_and_says_which_state_is_on_disk() {
    let p = Project::new();
    p.write("set.txt", "0");
    let session = p.session();
    flag(&p, &session, "1").unwrap();
    flag(&p, &session, "2").unwrap();
    let error = flag(&p, &p.session(), "x").unwrap_err();
    assert!(error.message.contains("as after `flag` of s.rhai"), "{error}");
    let session = p.session();
    flag(&p, &session, "1").unwrap();
    assert!(flag(&p, &session, "y").is_err(), "the disk is ahead of the script");
    assert!(!session.loose_ends().is_empty());
    // changed by hand
    p.write("set.txt", "by hand");
    let error = flag(&p, &p.session(), "1").unwrap_err();
    assert!(error.message.contains("none of the 3 recorded states"), "{error}");
    assert_eq!((p.read("set.txt").as_str(), p.count()), ("by hand", 2));
}

#[test]
fn a_set_made_by_a_step_and_then_edited_is_made_and_edited_once() {
    let p = Project::new();
    let run = |mark: &str| {
        let session = p.session();
        let made = p.shout(&session, &["a.txt"], "set.txt", mark).unwrap().status;
        let before = StepCall::new("look", 1, json!({"set": "set.txt"})).reads("set.txt");
        let look = session.step(&before, &Quiet::default(), |_| Ok(json!(p.read("set.txt")))).unwrap();
        let edited = flag(&p, &session, "#").unwrap().status;
        (made, look.value, edited)
    };
    assert_eq!(run("!"), (Status::Run, json!("ALPHA!"), Status::Run));
    assert_eq!(run("!"), (Status::Skipped, json!("ALPHA!"), Status::Skipped), "a look in between sees the state that the script means");
    assert_eq!(p.read("set.txt"), "ALPHA!#");
    assert_eq!(run("?"), (Status::Run, json!("ALPHA?"), Status::Run));
    assert_eq!(p.read("set.txt"), "ALPHA?#");
}

#[test]
fn only_what_reads_a_changed_part_runs_again() {
    /// Files of a folder, each labelled by its name.
    struct Labelled;
    impl Content for Labelled {
        fn kind(&self) -> &'static str {
            "labelled"
        }
        fn recognises(&self, path: &Path) -> bool {
            path.extension().is_some_and(|x| x == "set")
        }
        fn parts(&self, path: &Path) -> Result<Vec<Part>> {
            let part = |(name, file): (String, Option<PathBuf>)| Part::new(name.clone(), Source::File(file.unwrap())).label(name);
            Ok(files_below(path)?.into_iter().map(part).collect())
        }
    }
    let p = Project::new();
    fs::create_dir(p.path("x.set")).unwrap();
    p.write("x.set/DATA", "data");
    p.write("x.set/FLAG", "flag");
    let run = || {
        let options = SessionOptions { root: p.dir.path().to_path_buf(), ..SessionOptions::default() };
        let session = Session::open(options, Registry::default().with(Labelled)).unwrap();
        let one = |labels: &[&str]| {
            let call = StepCall::new("use", 1, json!({"set": "x.set", "labels": labels})).reads_only("x.set", labels);
            session.step(&call, &Quiet::default(), |_| Ok(Value::Null)).unwrap()
        };
        [one(&["DATA"]), one(&["DATA", "FLAG"])]
    };
    run();
    p.write("x.set/FLAG", "glaf");
    let [data, both] = run();
    assert_eq!((data.status, both.status), (Status::Skipped, Status::Run));
    assert_eq!(both.because[0].to_string(), "x.set has other content in FLAG");
}

#[test]
fn a_folder_output_is_stored_restored_and_replaced() {
    let p = Project::new();
    let make = |n: i32| {
        let session = p.session();
        let call = StepCall::new("fold", 1, json!({"n": n, "out": "f.dir"})).writes("f.dir");
        session.step(&call, &Quiet::default(), |_| {
            p.runs.fetch_add(1, Ordering::SeqCst);
            let partial = partial_of(&session.place("f.dir"));
            fs::create_dir_all(partial.join("sub/empty")).unwrap();
            fs::write(partial.join("sub/x"), n.to_string()).unwrap();
            store::replace(&partial, &session.place("f.dir"))?;
            Ok(Value::Null)
        })
    };
    assert_eq!(make(1).unwrap().status, Status::Run);
    fs::remove_dir_all(p.path("f.dir")).unwrap();
    assert_eq!(make(1).unwrap().status, Status::Restored);
    assert!(p.path("f.dir/sub/empty").is_dir());
    assert_eq!(make(2).unwrap().status, Status::Run);
    assert_eq!(p.read("f.dir/sub/x"), "2");
    assert_eq!(make(1).unwrap().status, Status::Restored);
    assert_eq!((p.read("f.dir/sub/x").as_str(), p.count()), ("1", 2));
    p.write("f.dir/new-by-hand", "x");
    assert!(make(1).is_err());
}

#[test]
fn a_damaged_store_is_the_same_as_none() {
    let p = Project::new();
    p.again();
    for entry in fs::read_dir(p.path(".phangs/steps/shout")).unwrap().flatten() {
        fs::write(entry.path(), "{\"key\": 12").unwrap();
    }
    fs::write(p.path(".phangs/memo"), vec![7; 1000]).unwrap();
    assert_eq!(p.again(), (Status::Run, 2));
    fs::remove_file(p.path("out.txt")).unwrap();
    for folder in fs::read_dir(p.path(".phangs/blobs")).unwrap().flatten() {
        for blob in fs::read_dir(folder.path()).unwrap().flatten() {
            fs::write(blob.path(), "damaged").unwrap();
        }
    }
    assert_eq!(p.again(), (Status::Run, 3), "a damaged blob is not restored");
    assert_eq!(p.read("out.txt"), "ALPHA+BETA!");
}

/// Times in the store and stamps from before or after "now" change nothing: keys decide, and a stamp in the future is not trusted.
#[test]
fn a_clock_moved_back_changes_nothing() {
    let p = Project::new();
    p.again();
    for entry in fs::read_dir(p.path(".phangs/steps/shout")).unwrap().flatten() {
        let text = fs::read_to_string(entry.path()).unwrap();
        let mut value: Value = serde_json::from_str(&text).unwrap();
        value["time"] = json!("2999-01-01T00:00:00.000Z");
        fs::write(entry.path(), value.to_string()).unwrap();
    }
    assert_eq!(p.again(), (Status::Skipped, 1));
    let past = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    p.write("a.txt", "omega");
    fs::File::options().append(true).open(p.path("a.txt")).unwrap().set_modified(past).unwrap();
    assert_eq!(p.again(), (Status::Run, 2));
    let future = memo::Stamp { device: 1, inode: 1, size: 1, mtime_ns: i64::MAX, ctime_ns: i64::MAX };
    assert_eq!(future.age(), Duration::ZERO);
}

#[test]
fn two_runs_at_once_do_the_work_once() {
    let p = Project::new();
    let run = || {
        let session = p.session();
        let call = StepCall::new("slow", 1, json!({"in": "a.txt"})).reads("a.txt").writes("out.txt");
        let result = session.step(&call, &Quiet::default(), |_| {
            p.runs.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(300));
            write_renamed(&session.place("out.txt"), b"done").map(|()| Value::Null)
        });
        result.unwrap().status
    };
    let statuses = std::thread::scope(|s| {
        let both = [s.spawn(run), s.spawn(run)];
        both.map(|t| t.join().unwrap())
    });
    assert_eq!(p.count(), 1);
    assert!(statuses.contains(&Status::Run) && statuses.contains(&Status::Skipped), "{statuses:?}");
}

#[test]
fn a_wait_for_another_run_can_be_interrupted() {
    struct Impatient;
    impl Reporter for Impatient {
        fn warn(&self, _: Warning) {}
        fn progress(&self, _: &str, _: u64, _: u64) {}
        fn cancelled(&self) -> bool {
            true
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let _held = lock::Lock::try_take(&dir.path().join("l")).unwrap().unwrap();
    let error = lock::Lock::wait(&dir.path().join("l"), &Impatient).unwrap_err();
    assert_eq!(error.kind, Kind::Interrupted);
}

// --- child processes: this test binary runs itself with one ignored test ---

fn child(root: &Path, what: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "run::tests::as_a_child", "--ignored", "--test-threads=1"])
        .env("PHANGS_RUN_CHILD", what)
        .env("PHANGS_RUN_ROOT", root)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

/// Five steps, each reading the output of the one before; `slow` sleeps in the middle of writing.
fn chain_of_five(session: &Session, pause: Duration, counted: Option<&Path>) -> Result<()> {
    let mut input = "a.txt".to_string();
    for i in 0..5 {
        let out = format!("out{i}.txt");
        let call = StepCall::new("link", 1, json!({"in": input, "out": out})).reads(&input).writes(&out);
        session.step(&call, &Quiet::default(), |_| {
            let text = fs::read_to_string(session.place(&input)).map_err(|e| Error::internal(e.to_string()))?;
            if let Some(counted) = counted {
                let line = format!("{}{i}\n", fs::read_to_string(counted).unwrap_or_default());
                fs::write(counted, line).map_err(|e| Error::internal(e.to_string()))?;
            }
            let (path, partial) = (session.place(&out), partial_of(&session.place(&out)));
            fs::write(&partial, &text).map_err(|e| Error::internal(e.to_string()))?;
            std::thread::sleep(pause);
            fs::write(&partial, format!("{text}>{i}")).map_err(|e| Error::internal(e.to_string()))?;
            fs::rename(&partial, &path).map_err(|e| Error::internal(e.to_string()))?;
            Ok(json!(i))
        })?;
        input = out;
    }
    Ok(())
}

#[test]
#[ignore = "run by other tests as a process of its own"]
fn as_a_child() {
    let Ok(root) = std::env::var("PHANGS_RUN_ROOT") else { return };
    let what = std::env::var("PHANGS_RUN_CHILD").unwrap_or_default();
    let root = PathBuf::from(root);
    let options = SessionOptions { root: root.clone(), plots: Some("plots".into()), script: "s.rhai".into(), ..SessionOptions::default() };
    let session = Session::open(options, Registry::default()).unwrap();
    let pause = Duration::from_millis(what.parse().unwrap());
    chain_of_five(&session, pause, Some(&root.join("count.log"))).unwrap();
    session.finish(None).unwrap();
}

/// A killed run leaves whole outputs only, every record line is true, and the next run repeats at most the step in flight.
fn kill_and_check(kills: usize, pause_ms: u64, window_ms: u64) {
    let mut random = 0x2545_F491_4F6C_DD1Du64;
    for round in 0..kills {
        let p = Project::new();
        let mut process = child(p.dir.path(), &pause_ms.to_string());
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_micros(random % (window_ms * 1000)));
        process.kill().unwrap();
        process.wait().unwrap();
        let mut expected = "alpha".to_string();
        for i in 0..5 {
            expected = format!("{expected}>{i}");
            let out = p.path(&format!("out{i}.txt"));
            assert!(!out.exists() || fs::read_to_string(&out).unwrap() == expected, "round {round}: a half output");
        }
        let done_before = Record::read(&p.path("plots")).map_or(0, |r| {
            // there is no start line here: count the lines themselves
            let text = fs::read_to_string(p.path("plots/run.jsonl")).unwrap_or_default();
            let whole = text.lines().filter_map(|l| serde_json::from_str::<Line>(l).ok());
            let steps: Vec<_> = whole.filter_map(|l| if let Line::Step(s) = l { Some(s) } else { None }).collect();
            for step in &steps {
                let bytes = fs::read(p.path(&step.outputs[0].path)).unwrap();
                assert_eq!(Hash::of(&bytes), step.outputs[0].state.hash, "round {round}: a wrong record");
            }
            assert!(r.unreadable.len() <= 1);
            steps.len()
        });
        let started = fs::read_to_string(p.path("count.log")).unwrap_or_default().lines().count();
        let session = p.session();
        chain_of_five(&session, Duration::ZERO, Some(&p.path("count.log"))).unwrap();
        let after = session.counts();
        assert_eq!(after.steps_run + after.steps_skipped + after.steps_restored, 5);
        assert!(started <= done_before + 1, "round {round}: {started} started, {done_before} recorded");
        assert!(after.steps_skipped + after.steps_restored >= done_before, "round {round}");
        assert_eq!(p.read("out4.txt"), "alpha>0>1>2>3>4");
        let left: Vec<_> =
            fs::read_dir(p.dir.path()).unwrap().flatten().filter(|e| e.file_name().to_string_lossy().contains("unfinished")).collect();
        assert!(left.is_empty(), "round {round}: {left:?}");
    }
}

#[test]
fn kill_9_in_the_middle_of_writing() {
    kill_and_check(4, 30, 250);
}

#[test]
#[ignore = "20 s: 100 kills at random times"]
fn kill_9_a_hundred_times() {
    kill_and_check(50, 2, 80);
    kill_and_check(50, 20, 200);
}

#[test]
fn two_processes_at_once_do_each_step_once() {
    let p = Project::new();
    let mut both = [child(p.dir.path(), "20"), child(p.dir.path(), "20")];
    for process in &mut both {
        assert!(process.wait().unwrap().success());
    }
    assert_eq!(p.read("count.log").lines().count(), 5, "{}", p.read("count.log"));
    assert_eq!(p.read("out4.txt"), "alpha>0>1>2>3>4");
}

/// A small file system of its own, if this process may mount one.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: &Path, options: &str) -> Option<Mounted> {
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output().ok()?;
        done.status.success().then(|| Mounted(at.to_path_buf()))
    }
    fn remount(&self, options: &str) {
        assert!(Command::new("mount").args(["-o", options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_leaves_nothing_and_loses_nothing() {
    let p = Project::new();
    fs::create_dir(p.path("small")).unwrap();
    let Some(_mounted) = Mounted::tmpfs(&p.path("small"), "size=64k") else {
        return eprintln!("skipped: may not mount a small file system");
    };
    let session = p.session();
    let make = |bytes: usize| {
        let call = StepCall::new("fill", 1, json!({"bytes": bytes, "out": "small/out"})).writes("small/out");
        session.step(&call, &Quiet::default(), |_| write_renamed(&session.place("small/out"), &vec![1; bytes]).map(|()| Value::Null))
    };
    make(1000).unwrap();
    let error = make(1_000_000).unwrap_err();
    assert!(error.message.contains("space") && error.hint.unwrap().contains("full"), "{}", error.message);
    assert_eq!(fs::read(p.path("small/out")).unwrap(), vec![1; 1000], "the earlier output is intact");
    assert_eq!(fs::read_dir(p.path("small")).unwrap().count(), 1);
    assert_eq!(make(1000).unwrap().status, Status::Skipped);
}

#[test]
fn a_full_disk_under_the_record_is_an_error_and_the_record_stays_readable() {
    let p = Project::new();
    fs::create_dir(p.path("plots")).unwrap();
    let Some(_mounted) = Mounted::tmpfs(&p.path("plots"), "size=16k") else {
        return eprintln!("skipped: may not mount a small file system");
    };
    let session = p.session();
    session.print(None, &"x".repeat(100_000));
    let error = p.shout(&session, &["a.txt"], "out.txt", "!").unwrap_err();
    assert!(error.message.contains("record"), "{error}");
    assert_eq!(fs::metadata(p.path("plots/run.jsonl")).unwrap().len(), 0);
    assert_eq!(p.shout(&p.session(), &["a.txt"], "out.txt", "!").unwrap().status, Status::Skipped);
}

#[test]
fn a_read_only_folder_is_said_before_any_work() {
    let p = Project::new();
    fs::create_dir(p.path("fixed")).unwrap();
    let Some(mounted) = Mounted::tmpfs(&p.path("fixed"), "size=64k") else {
        return eprintln!("skipped: may not mount a read-only file system");
    };
    mounted.remount("remount,ro");
    let error = p.shout(&p.session(), &["a.txt"], "fixed/out.txt", "!").unwrap_err();
    assert!(error.message.contains("read-only") && p.count() == 0, "{error}");
}

#[test]
fn a_read_only_project_runs_without_a_store() {
    let p = Project::new();
    let (project, other) = (p.path("project"), p.path("elsewhere"));
    fs::create_dir(&project).unwrap();
    let Some(mounted) = Mounted::tmpfs(&project, "size=64k") else {
        return eprintln!("skipped: may not mount a read-only file system");
    };
    fs::write(project.join("a.txt"), "alpha").unwrap();
    mounted.remount("remount,ro");
    let options = || SessionOptions { root: project.clone(), plots: Some(other.join("plots")), ..SessionOptions::default() };
    for n in 1..=2 {
        let session = Session::open(options(), Registry::default()).unwrap();
        assert!(!session.keeps());
        let out = other.join(format!("out{n}.txt"));
        p.shout(&session, &["a.txt"], out.to_str().unwrap(), "!").unwrap();
        session.finish(None).unwrap();
        assert_eq!(p.count(), n);
    }
}

// --- check, diff, gc ---

/// A script of two steps with a figure and a table, run once.
fn small_run(p: &Project, mark: &str) -> Session {
    let session = p.session();
    let script = Script { hash: Hash::of(mark.as_bytes()), text: format!("let mark = \"{mark}\";\nshout(mark);\n"), cells: vec![] };
    session.begin(script, Start::default());
    let parameter = record::Parameter { name: "mark".into(), value: json!(mark), ..record::Parameter::default() };
    session.parameter(parameter);
    p.shout(&session, &["a.txt"], "out.txt", mark).unwrap();
    let call = StepCall::new("measure", 1, json!({"in": "out.txt", "figure": "plots/f.png"})).reads("out.txt").writes("plots/f.png");
    let measure = |context: &StepContext| {
        let length = p.read("out.txt").len();
        write_renamed(&session.place("plots/f.png"), &grey_png(length as u8 * 10))?;
        context.figure(Figure { path: "plots/f.png".into(), width: 4, height: 4, alt: "grey".into(), ..Figure::default() });
        let column = |name: &str| record::Column { name: name.into(), unit: String::new() };
        context.table(record::Table {
            title: "lengths".into(),
            columns: vec![column("name"), column("length")],
            rows: vec![vec![json!("out"), json!(length)]],
            ..record::Table::default()
        });
        Ok(json!({"length": length as f64}))
    };
    session.step(&call, &Quiet::default(), measure).unwrap();
    session.finish(None).unwrap();
    session
}

fn grey_png(level: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, 4, 4);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().unwrap().write_image_data(&[level; 16]).unwrap();
    out
}

#[test]
fn a_check_holds_until_a_byte_changes() {
    let p = Project::new();
    small_run(&p, "!");
    let take = || {
        let record = Record::read(&p.path("plots")).unwrap();
        check(record.run(None).unwrap(), p.dir.path(), &Registry::default(), &Quiet::default()).unwrap()
    };
    let checks = take();
    let names: Vec<&str> = checks.paths.iter().map(|c| c.path.as_str()).collect();
    assert_eq!(names, ["a.txt", "out.txt", "plots/f.png"]);
    assert!(checks.holds());
    p.write("out.txt", "ALPHA?");
    let error = take().into_result().unwrap_err();
    assert_eq!(error.kind, Kind::Check);
    assert!(error.message.contains("output out.txt differs"), "{error}");
    fs::remove_file(p.path("a.txt")).unwrap();
    let failing: Vec<String> = take().failing().map(|c| c.to_string()).collect();
    assert_eq!(failing[0], "input a.txt is not there");
}

#[test]
fn a_run_and_its_repetition_are_compared_bit_by_bit() {
    let (p, q, r) = (Project::new(), Project::new(), Project::new());
    small_run(&p, "!");
    small_run(&q, "!");
    small_run(&r, "!!");
    let read = |p: &Project| Record::read(&p.path("plots")).unwrap().runs.remove(0);
    assert!(compare(&read(&p), &read(&q)).is_empty());
    let found: Vec<String> = compare(&read(&p), &read(&r)).iter().map(|d| d.what.clone()).collect();
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].contains("out.txt has other bits") && found[2] == "length = 6, and 7 when repeated", "{found:?}");
}

#[test]
fn a_diff_names_the_parameter_and_the_numbers_that_moved() {
    let p = Project::new();
    small_run(&p, "!");
    let session = small_run(&p, "!!");
    let record = Record::read(&p.path("plots")).unwrap();
    let folder = p.path("compared");
    let d = diff(&record.runs[0], &record.runs[1], 1e-9, session.root(), session.store(), Some(&folder)).unwrap();
    assert_eq!(d.parameters.len(), 1);
    assert_eq!(d.parameters[0].to_string(), r#"mark: "!" -> "!!""#);
    assert_eq!(d.numbers.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["measure.length"]);
    assert_eq!(d.tables[0].name, "lengths[out].length");
    assert_eq!(d.code.iter().filter(|l| l.mark != ' ').count(), 2);
    let figure = &d.figures[0];
    assert_eq!((figure.changed, figure.note.as_str()), (Some(1.0), "100.000 % of the pixels differ"));
    assert_eq!(fs::read(folder.join(figure.first.as_ref().unwrap())).unwrap(), grey_png(60), "the first figure comes from the store");
    assert!(folder.join(figure.difference.as_ref().unwrap()).exists());
    let same = diff(&record.runs[0], &record.runs[0], 0.0, session.root(), session.store(), None).unwrap();
    assert!(same.is_empty());
}

#[test]
fn gc_drops_what_no_recent_run_used() {
    let p = Project::new();
    let session = small_run(&p, "!");
    small_run(&p, "!!");
    let blobs = || fs::read_dir(p.path(".phangs/blobs")).unwrap().flatten().flat_map(|d| fs::read_dir(d.path()).unwrap()).count();
    let long_ago = SystemTime::now() - Duration::from_secs(200 * 86_400);
    let age = |folder: &str| {
        for entry in walkdir(&p.path(folder)) {
            fs::File::options().append(true).open(entry).unwrap().set_modified(long_ago).unwrap();
        }
    };
    assert_eq!(blobs(), 4);
    age(".phangs/blobs");
    let none = gc(session.store(), Keeping::default(), false).unwrap();
    assert_eq!((none.steps, none.blobs), (0, 0));
    let tight = Keeping { cap_bytes: 150, ..Keeping::default() };
    let would = gc(session.store(), tight, true).unwrap();
    assert!(would.blobs > 0 && blobs() == 4, "{would:?}");
    age(".phangs/steps");
    small_run(&p, "!!");
    let dropped = gc(session.store(), Keeping::default(), false).unwrap();
    assert_eq!((dropped.steps, dropped.blobs, blobs()), (2, 2, 2), "what the last run used stays");
}

fn walkdir(folder: &Path) -> Vec<PathBuf> {
    files_below(folder).unwrap().into_iter().filter_map(|(_, f)| f).collect()
}

/// Hashing rate and what a step costs beside its work; prints numbers. PHANGS_RUN_MEASURE names a large file or folder.
#[test]
#[ignore = "measures"]
fn costs() {
    let clock = |label: &str, bytes: u64, work: &mut dyn FnMut()| {
        let meter = Meter::start();
        work();
        let Usage { wall_s, cpu_s, .. } = meter.read();
        let rate = |s: f64| if bytes > 0 { format!(" ({:.2} GB/s)", bytes as f64 / s * 1e-9) } else { String::new() };
        eprintln!("{label}: wall {:.2} ms{}, processor {:.2} ms{}", 1e3 * wall_s, rate(wall_s), 1e3 * cpu_s, rate(cpu_s));
    };
    if let Ok(path) = std::env::var("PHANGS_RUN_MEASURE") {
        let path = Path::new(&path);
        let size = Registry::default().state(path, &Memo::in_memory(), Looking::default(), &Quiet::default()).unwrap().size;
        for threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            clock(&format!("hash, {threads} threads, warm"), size, &mut || {
                pool.install(|| Registry::default().state(path, &Memo::in_memory(), Looking::default(), &Quiet::default()).unwrap());
            });
        }
        clock("read alone, 1 thread, warm", size, &mut || {
            for (_, file) in files_below(path).unwrap() {
                let file = file.unwrap();
                hash::feed(&mut fs::File::open(&file).unwrap(), &file, &Quiet::default(), |_| {}).unwrap();
            }
        });
        let memo = Memo::in_memory();
        let state = || Registry::default().state(path, &memo, Looking::default(), &Quiet::default()).unwrap();
        state();
        clock("memo hit", 0, &mut || assert_eq!(state().how, How::Memo));
    }
    let p = Project::new();
    const N: usize = 200;
    let run = || {
        let session = p.session();
        for i in 0..N {
            p.shout(&session, &["a.txt"], &format!("plots/{i}.txt"), "!").unwrap();
        }
        session.finish(None).unwrap();
    };
    clock(&format!("{N} steps run"), 0, &mut || run());
    clock(&format!("{N} steps skipped"), 0, &mut || run());
    clock("open a session", 0, &mut || drop(p.session()));
}

/// A run that does nothing adds a few hundred bytes a step to the record, whatever the step holds.
#[test]
fn the_record_of_runs_that_do_nothing_is_short_and_reads_as_a_whole() {
    let p = Project::new();
    let long = "x".repeat(20_000);
    let mut sizes = vec![];
    for _ in 0..4 {
        let session = p.session();
        session.begin(Script { hash: Hash::of(b"1"), text: "1".into(), cells: vec![] }, Start::default());
        p.shout(&session, &["a.txt"], "out.txt", &long).unwrap();
        session.finish(None).unwrap();
        sizes.push(fs::metadata(p.path("plots/run.jsonl")).unwrap().len());
    }
    assert!(sizes[3] - sizes[2] < 4_000, "{sizes:?}");
    let record = Record::read(&p.path("plots")).unwrap();
    assert!(record.unreadable.is_empty());
    let last = record.runs[3].steps().next().unwrap();
    assert_eq!((last.args["options"]["mark"].as_str(), last.inputs[0].path.as_str()), (Some(long.as_str()), "a.txt"));
    assert_eq!((last.status, last.outputs.len(), last.warnings.len()), (Status::Skipped, 1, 1));
}
