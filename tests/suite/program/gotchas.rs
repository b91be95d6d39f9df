//! What has deceived other programs of this kind, each case with the steps that must run.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rubbl_casatables::{Array, Table, TableOpenMode};

use super::{Ended, PROGRAM, Project, STEPS, flip_a_bit, hash, samples, touch_all};

const ALL_DONE: (usize, usize, usize) = (0, STEPS, 0);

/// A project whose script has run.
fn done() -> Project {
    let p = Project::new();
    assert_eq!(p.run(&[]).steps(), (STEPS, 0, 0));
    p
}

#[test]
fn nothing_changed_runs_nothing() {
    let p = done();
    assert_eq!(p.run(&[]).steps(), ALL_DONE);
}

#[test]
fn a_set_that_is_only_touched_runs_nothing() {
    let p = done();
    touch_all(&p.path("A.ms"));
    assert_eq!(p.run(&[]).steps(), ALL_DONE);
}

#[test]
fn other_bytes_with_the_same_time_and_size_run_what_reads_them() {
    let p = done();
    let file = samples(&p.path("A.ms"), "DATA");
    let time = file.metadata().unwrap().modified().unwrap();
    flip_a_bit(&file);
    super::filetime(&file, time);
    let (run, ..) = p.run(&[]).steps();
    let verbs = p.verbs_run();
    assert_eq!(run, verbs.len());
    // the last bit of one sample may or may not move the fit, and with it the table and the figures
    let expected = ["find_offset", "concat", "save_shifts", "plot_shifts", "plot_uv_overlap"];
    assert!(verbs.starts_with(&["find_offset".to_string(), "concat".to_string()]), "{verbs:?}");
    assert!(verbs.iter().all(|v| expected.contains(&v.as_str())), "{verbs:?}");
}

#[test]
fn a_renamed_input_runs_only_what_carries_its_name() {
    let p = done();
    fs::rename(p.path("B.ms"), p.path("C.ms")).unwrap();
    p.run(&["b=C.ms"]).steps();
    assert_eq!(p.verbs_run(), ["find_offset", "save_shifts", "plot_shifts", "plot_uv_overlap"]);
    assert!(fs::read_to_string(p.path("products/shifts.csv")).unwrap().contains("\nC,"));
    // and a set that only lies elsewhere is the same set
    fs::create_dir(p.path("sub")).unwrap();
    fs::rename(p.path("C.ms"), p.path("sub/C.ms")).unwrap();
    assert_eq!(p.run(&["b=sub/C.ms"]).steps(), ALL_DONE);
}

#[test]
fn a_permuted_list_runs_nothing_where_order_does_not_matter() {
    let p = done();
    let before = hash(&p.path("products/joined.ms"));
    p.edit("concat([a, moved]", "concat([moved, a]");
    assert_eq!(p.run(&[]).steps(), ALL_DONE);
    // and it truly does not matter
    let again = p.call(["run", "scripts/demo.rhai", "--json", "--force"]);
    assert_eq!(again.steps(), (STEPS, 0, 0));
    assert_eq!(hash(&p.path("products/joined.ms")), before);
}

#[test]
fn a_changed_default_runs_what_it_enters() {
    let p = done();
    p.edit("param(\"factor\", 1.0)", "param(\"factor\", 2.0)");
    assert_eq!(p.run(&[]).steps().0, 2);
    assert_eq!(p.verbs_run(), ["shift", "concat"]);
    // the same number, otherwise written
    p.edit("param(\"factor\", 2.0)", "param(\"factor\", 2)");
    assert_eq!(p.run(&[]).steps(), ALL_DONE);
}

#[test]
fn a_changed_helper_runs_what_its_value_enters() {
    let p = done();
    p.edit("dra_mas: 3.0 * f,", "dra_mas: f + f + f,");
    assert_eq!(p.run(&[]).steps(), ALL_DONE, "the same number by another way");
    p.edit("dra_mas: f + f + f,", "dra_mas: f + f,");
    p.run(&[]).steps();
    assert_eq!(p.verbs_run(), ["shift", "concat"]);
}

#[test]
fn a_changed_module_runs_what_its_value_enters() {
    let p = done();
    p.write("lib/offsets.rhai", "// a comment\nfn north() { 1.0 }");
    assert_eq!(p.run(&[]).steps(), ALL_DONE);
    p.write("lib/offsets.rhai", "fn north() { 1.5 }");
    p.run(&[]).steps();
    assert_eq!(p.verbs_run(), ["shift", "concat"]);
}

#[test]
fn a_deleted_output_comes_back_without_running() {
    let p = done();
    let before = hash(&p.path("products/B_shift.ms"));
    fs::remove_dir_all(p.path("products/B_shift.ms")).unwrap();
    fs::remove_file(p.path("plots/demo/shifts.png")).unwrap();
    assert_eq!(p.run(&[]).steps(), (0, STEPS - 2, 2));
    assert_eq!(hash(&p.path("products/B_shift.ms")), before);
    // without the store only what is missing is made again
    fs::remove_dir_all(p.path("products/B_shift.ms")).unwrap();
    fs::remove_dir_all(p.path(".phangs/blobs")).unwrap();
    let (run, ..) = p.run(&[]).steps();
    let verbs = p.verbs_run();
    assert!(verbs.contains(&"shift".into()) && !verbs.contains(&"concat".into()) && run == verbs.len(), "{verbs:?}");
}

#[test]
fn an_output_altered_by_hand_is_not_overwritten() {
    let p = done();
    p.write("products/shifts.csv", "my own table\n");
    let ended = p.run(&[]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("changed since `save_shifts` wrote it"), "{}", ended.err);
    assert_eq!(fs::read_to_string(p.path("products/shifts.csv")).unwrap(), "my own table\n");
    // a figure in the plots folder is ours to replace
    fs::remove_file(p.path("products/shifts.csv")).unwrap();
    p.write("plots/demo/shifts.png", "scribble");
    let (run, _, restored) = p.run(&[]).steps();
    assert_eq!((run, restored), (0, 2));
}

#[test]
fn a_file_of_somebody_else_is_overwritten_on_request_only() {
    let p = Project::new();
    p.write("products/shifts.csv", "theirs\n");
    let ended = p.run(&[]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("did not write") && ended.err.contains("overwrite: true"), "{}", ended.err);
    p.edit("/shifts.csv`)", "/shifts.csv`, #{ overwrite: true })");
    p.run(&[]).steps();
    assert_ne!(fs::read_to_string(p.path("products/shifts.csv")).unwrap(), "theirs\n");
}

#[test]
fn kill_9_in_mid_write_leaves_nothing_half_and_the_rerun_goes_on() {
    let p = Project::with("simulate(\"products/sim\", #{ long: 3, short: 3 });");
    let mut child = p.start(&[]);
    // the folder under way has another name until it is whole
    let under_way = || fs::read_dir(p.path("products")).is_ok_and(|mut d| d.next().is_some());
    while !under_way() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!p.path("products/sim").exists(), "a half output under its own name");
    assert_eq!(p.run(&[]).steps(), (1, 0, 0));
    let left: Vec<_> = fs::read_dir(p.path("products")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["sim"], "leftovers of the dead are gone");
    assert_eq!(p.call(["check", "plots/demo"]).code, Some(0));
}

/// A full disk, by a file system of 3 MB where this user may mount one, else by a limit on the size of files.
#[test]
fn a_full_disk_is_said_and_nothing_is_half_written() {
    let p = Project::new();
    fs::create_dir(p.path("products")).unwrap();
    let mounted = Mounted::tmpfs(&p.path("products"), "size=200k");
    let ended = match &mounted {
        Some(_) => p.run(&[]),
        None => {
            let mut command = p.command(p.run_args(&[]));
            // SAFETY: only calls that are allowed between fork and exec.
            unsafe {
                command.pre_exec(|| {
                    libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
                    libc::setrlimit(libc::RLIMIT_FSIZE, &libc::rlimit { rlim_cur: 40_000, rlim_max: 40_000 });
                    Ok(())
                });
            }
            Ended::of(command.output().unwrap())
        }
    };
    assert_eq!(ended.code, Some(3), "{ended:#?}");
    assert!(mounted.is_none() || ended.err.contains("disk is full") || ended.err.contains("No space left"), "{}", ended.err);
    let names = |folder: &str| fs::read_dir(p.path(folder)).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
    assert!(!names("products").contains(&"B_shift.ms".into()), "{:?}", names("products"));
    drop(mounted);
    assert_eq!(p.run(&[]).steps().0, STEPS - 2, "what was complete is not done again");
    assert_eq!(p.call(["check", "plots/demo"]).code, Some(0));
}

/// A mount that goes away with it.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn tmpfs(at: &Path, options: &str) -> Option<Mounted> {
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output().ok()?;
        done.status.success().then(|| Mounted(at.to_path_buf()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// The clock of the program set back by a day, as by a preloaded library; files keep the stamps of the true clock.
#[test]
fn a_clock_that_was_moved_back_deceives_nobody() {
    let p = done();
    let Some(clock) = shifted_clock(p.dir.path()) else { return println!("skipped: no C compiler for the shifted clock") };
    let run = || Ended::of(p.command(p.run_args(&[])).env("LD_PRELOAD", &clock).output().unwrap());
    assert_eq!(run().steps(), ALL_DONE);
    let text = fs::read_to_string(p.path("lib/offsets.rhai")).unwrap();
    p.write("lib/offsets.rhai", &text.replace("1.0", "1.5"));
    assert_eq!(run().steps().0, 2);
    flip_a_bit(&samples(&p.path("A.ms"), "DATA"));
    let changed = run();
    assert!(changed.steps().0 > 0 && p.verbs_run().contains(&"find_offset".into()), "{changed:?}");
    assert_eq!(run().steps(), ALL_DONE);
    assert_eq!(p.run(&[]).steps(), ALL_DONE, "and forth again");
    assert_eq!(p.call(["check", "plots/demo"]).code, Some(0));
}

fn shifted_clock(folder: &Path) -> Option<std::path::PathBuf> {
    const SOURCE: &str = "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <time.h>\n\
        int clock_gettime(clockid_t id, struct timespec *t) {\n  static int (*real)(clockid_t, struct timespec *);\n\
        if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, \"clock_gettime\");\n\
        int r = real(id, t);\n  if (r == 0 && id == CLOCK_REALTIME) t->tv_sec -= 86400;\n  return r;\n}\n";
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    fs::write(&source, SOURCE).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl").status();
    built.is_ok_and(|s| s.success()).then_some(library)
}

#[test]
fn two_runs_at_once_do_each_step_once() {
    let p = Project::new();
    let children = [p.start(&[]), p.start(&[])];
    let ended = children.map(|c| Ended::of(c.wait_with_output().unwrap()));
    let (one, two) = (ended[0].steps(), ended[1].steps());
    assert_eq!((one.0 + two.0, one.1 + two.1), (STEPS, STEPS), "{one:?} {two:?}");
    assert_eq!(p.run(&[]).steps(), ALL_DONE);
    assert_eq!(p.call(["check", "plots/demo"]).code, Some(0));
}

/// As another user, as the superuser may write everywhere.
#[test]
fn a_read_only_folder_is_said_before_anything_is_computed() {
    let p = Project::new();
    // SAFETY: it only asks.
    let root = unsafe { libc::getuid() } == 0;
    let program = p.path("program");
    fs::copy(PROGRAM, &program).unwrap();
    let run = |folder: &str| {
        let mode = |m: &str| assert!(Command::new("chmod").args(["-R", m]).arg(p.dir.path()).status().unwrap().success());
        mode("a+rwX");
        assert!(Command::new("chmod").arg("a-w").arg(p.path(folder)).status().unwrap().success());
        let mut command = Command::new(&program);
        command.current_dir(p.dir.path()).args(p.run_args(&[]));
        if root {
            command.uid(65534).gid(65534);
        }
        let ended = Ended::of(command.output().unwrap());
        mode("u+rwX");
        ended
    };
    fs::create_dir(p.path("products")).unwrap();
    let ended = run("products");
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.err.contains("`shift` cannot write: the folder is read-only for you"), "{}", ended.err);
    // a project whose store cannot be written still gives its results, every time anew
    let keeps = || fs::read_dir(p.path(".phangs/steps")).is_ok_and(|mut d| d.next().is_some());
    fs::remove_dir_all(p.path(".phangs")).unwrap();
    for folder in ["products", "plots/demo"] {
        fs::create_dir_all(p.path(folder)).unwrap();
    }
    for _ in 0..2 {
        let ended = run("");
        assert_eq!((ended.code, ended.last["steps_run"].as_u64()), (Some(0), Some(STEPS as u64)), "{ended:#?}");
        assert!(!keeps());
        fs::remove_dir_all(p.path("products")).unwrap();
        fs::create_dir_all(p.path("products")).unwrap();
    }
}

#[test]
fn a_script_edited_while_it_runs_is_recorded_as_it_ran() {
    let p = Project::with("simulate(\"products/sim\", #{ long: 3, short: 3 });\nprint(\"old\");");
    let child = p.start(&[]);
    while !p.path("products").exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    p.edit("old", "new");
    let ended = Ended::of(child.wait_with_output().unwrap());
    assert_eq!(ended.steps(), (1, 0, 0));
    assert!(ended.out.contains("old"), "{}", ended.out);
    let lines = p.record();
    assert!(lines.iter().any(|l| l["type"] == "warning" && l["warning"]["name"] == "script-edited"), "{lines:#?}");
    assert!(lines.iter().any(|l| l["type"] == "script" && l["text"].as_str().unwrap().contains("old")));
    let again = p.run(&[]);
    assert_eq!(again.steps(), (0, 1, 0));
    assert!(again.out.contains("new"));
}

#[test]
fn a_flag_changed_in_place_runs_only_what_depends_on_flags() {
    let p = Project::with(
        "let c = phase_center(\"A.ms\");\nlet b = blocks(\"A.ms\");\nlet s = summary(\"A.ms\");\nlet f = find_offset(\"A.ms\", \"B.ms\");\n\
         let m = shift(\"B.ms\", #{ dra_mas: 1.0, ddec_mas: 0.0 }, \"products/B_shift.ms\", #{ relabel_to: c });",
    );
    assert_eq!(p.run(&[]).steps(), (5, 0, 0));
    flag_a_row(&p.path("A.ms"));
    assert_eq!(p.run(&[]).steps(), (2, 3, 0));
    assert_eq!(p.verbs_run(), ["summary", "find_offset"]);
    assert_eq!(p.run(&[]).steps(), (0, 5, 0));
    // DATA does not matter to a summary
    flip_a_bit(&samples(&p.path("A.ms"), "DATA"));
    p.run(&[]).steps();
    assert_eq!(p.verbs_run(), ["find_offset"]);
}

/// What a verb does not declare it does not read: with everything else scrambled it says the same.
#[test]
fn verbs_depend_on_nothing_but_the_columns_that_they_declare() {
    let p = Project::with("print(phase_center(\"A.ms\"));\nprint(blocks(\"A.ms\"));\nprint(blocks(\"A.ms\")[0].time_s);");
    let flags = "print(summary(\"A.ms\"));\nlet s = summary(\"A.ms\");\nprint(s.scans);\nprint(s.spws);\nprint(s.fields);";
    let samples_too = "let f = find_offset(\"A.ms\", \"B.ms\");\nprint(f);\nprint(f.npix_scan);\nprint(best_block([\"A.ms\", \"B.ms\"]));\n\
                       print(align_jointly([\"A.ms\", \"B.ms\"]).offsets);\nprint(uv_profile(\"A.ms\", \"B.ms\", f).before);\n\
                       print(write_uvtable([\"A.ms\"], \"products/t.npz\").weight_sum);";
    let rows = fs::read_to_string(p.path("scripts/demo.rhai")).unwrap();
    let said = |script: &str| {
        p.write("scripts/demo.rhai", script);
        let ended = p.call(["run", "scripts/demo.rhai", "--force"]);
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        ended.out
    };
    let scramble = |columns: &[&str]| {
        for column in columns {
            let file = samples(&p.path("A.ms"), column);
            let bytes = fs::read(&file).unwrap();
            fs::write(&file, bytes.iter().map(|b| b ^ 0x5a).collect::<Vec<u8>>()).unwrap();
        }
    };
    let whole = said(samples_too);
    scramble_numbers(&p.path("A.ms"));
    assert_eq!(said(samples_too), whole, "columns of times and ids that no fit needs");
    let whole = (said(&rows), said(flags));
    scramble(&["DATA", "UVW", "WEIGHT", "SIGMA"]);
    assert_eq!((said(&rows), said(flags)), whole);
    scramble(&["FLAG"]);
    assert_eq!(said(&rows), whole.0);
    assert_ne!(said(flags), whole.1);
}

/// Numbers of each row that are in no group of columns.
fn scramble_numbers(set: &Path) {
    let mut table = Table::open(set, TableOpenMode::ReadWrite).unwrap();
    let columns = table.column_names().unwrap();
    let there = |name: &&str| columns.iter().any(|c| c == name);
    for row in 0..table.n_rows() {
        for column in ["TIME_CENTROID", "EXPOSURE"].iter().filter(|c| there(c)) {
            table.put_cell(column, row, &(row as f64 + 0.5)).unwrap();
        }
        for column in ["ARRAY_ID", "PROCESSOR_ID", "FEED1", "FEED2"].iter().filter(|c| there(c)) {
            table.put_cell(column, row, &((row % 3) as i32)).unwrap();
        }
    }
}

/// Flags all of the first row that is not, through casacore, as another program does.
fn flag_a_row(set: &Path) {
    const N_CORR: usize = 2;
    let mut table = Table::open(set, TableOpenMode::ReadWrite).unwrap();
    for row in 0..table.n_rows() {
        let old: Vec<bool> = table.get_cell_as_vec("FLAG", row).unwrap();
        if !old.iter().all(|f| *f) {
            let all = Array::from_shape_vec((old.len() / N_CORR, N_CORR), vec![true; old.len()]).unwrap();
            return table.put_cell("FLAG", row, &all).unwrap();
        }
    }
    panic!("every row is flagged");
}
