//! Commands, exit codes, messages, interruption.

use std::fs;
use std::time::{Duration, Instant};

use super::{Ended, Project, STEPS, flip_a_bit, samples};

#[test]
fn a_bare_file_is_run_and_the_last_line_is_json() {
    let p = Project::new();
    let ended = p.call(["scripts/demo.rhai", "--json"]);
    assert_eq!(ended.steps(), (STEPS, 0, 0));
    let names: Vec<&str> = ended.last.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["status", "steps_run", "steps_skipped", "steps_restored", "outputs", "wall_s"]);
    assert_eq!(ended.last["status"], "done");
    assert!(ended.last["outputs"].as_array().unwrap().iter().any(|o| o == "products/joined.ms"));
    assert_eq!(p.call(["demo", "--json"]).steps(), (0, STEPS, 0), "a bare name is looked for in scripts/");
    let quiet = p.call(["demo", "--quiet"]);
    assert_eq!((quiet.out.as_str(), quiet.err.as_str()), ("", ""));
}

#[test]
fn exit_codes_say_whose_mistake_it_was() {
    let p = Project::empty();
    let code = |script: &str| {
        p.write("scripts/demo.rhai", script);
        p.run(&[]).code
    };
    assert_eq!(code("let x = 1;"), Some(0));
    assert_eq!(code("let x = y;"), Some(1));
    assert_eq!(code("summary(\"missing.ms\");"), Some(1));
    p.write("broken.ms/table.dat", "no table");
    assert_eq!(code("summary(\"broken.ms\");"), Some(2));
    assert_eq!(code("assert(1 > 2, \"arithmetic\");"), Some(4));
    assert_eq!(p.call(["run", "scripts/demo.rhai", "--no-such-option"]).code, Some(1));
    assert_eq!(p.call(["no-such-script"]).code, Some(1));
    assert_eq!(p.call(["--help"]).code, Some(0));
    let failed = p.run(&[]);
    assert_eq!(failed.last["status"], "check");
}

#[test]
fn errors_point_at_line_and_column_in_scripts_functions_and_modules() {
    let p = Project::empty();
    p.write("lib/m.rhai", "fn f(x) {\n    asert(x);\n}");
    p.write("scripts/demo.rhai", "// %% One\nimport \"lib/m\" as m;\nlet y = m::f(1);");
    let e = p.run(&[]).err;
    assert!(e.contains("there is no verb `asert`; did you mean `assert`?"), "{e}");
    assert!(e.contains("lib/m.rhai:2:5") && e.contains("2 |     asert(x);\n  |     ^"), "{e}");
    p.write("scripts/demo.rhai", "let a = 1;\nlet s = find_offset(\"x.ms\", #{ spv: 1 });");
    let e = p.run(&[]).err;
    assert!(e.contains("scripts/demo.rhai:2:9") && e.contains("find_offset(reference, ms, #{..})"), "{e}");
    p.write("scripts/demo.rhai", "let a = [1, 2;\n");
    let e = p.run(&[]).err;
    assert!(e.contains("does not parse") && e.contains("scripts/demo.rhai:1:14"), "{e}");
}

#[test]
fn explain_names_what_changed_and_does_nothing() {
    let p = Project::new();
    let explain = |given: &[&str]| p.call(["explain", "scripts/demo.rhai"].iter().chain(given)).out;
    assert!(explain(&[]).contains("would run  phase_center        not done before"), "{}", explain(&[]));
    assert!(!p.path(".phangs").exists() && !p.path("products").exists() && !p.path("plots").exists());
    p.run(&[]).steps();
    assert_eq!(explain(&[]).lines().filter(|l| l.starts_with("done")).count(), STEPS, "{}", explain(&[]));
    let said = explain(&["-p", "factor=2"]);
    assert!(said.contains("would run  shift               offset.dra_mas was 3.0, is 6.0"), "{said}");
    assert!(said.contains("would run  concat              products/B_shift.ms would be made anew"), "{said}");
    assert!(p.call(["run", "scripts/demo.rhai", "--dry-run", "-p", "factor=2", "--json"]).steps().0 == 0);
    // a part of a set, by its file and column
    flip_a_bit(&samples(&p.path("A.ms"), "DATA"));
    let said = explain(&[]);
    assert!(said.contains("A.ms has other content in table.f") && said.contains("(DATA)"), "{said}");
}

#[test]
fn check_holds_until_a_byte_is_altered() {
    let p = Project::new();
    p.run(&[]).steps();
    let ended = p.call(["check", "plots/demo"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{}", ended.out);
    assert_eq!(p.call(["check", "scripts/demo.rhai"]).code, Some(0));
    assert_eq!(p.call(["check", "demo"]).code, Some(0));
    assert_eq!(p.call(["check", "dmo"]).code, Some(1));
    let mut bytes = fs::read(p.path("products/shifts.csv")).unwrap();
    bytes[40] ^= 1;
    fs::write(p.path("products/shifts.csv"), bytes).unwrap();
    let ended = p.call(["check", "plots/demo"]);
    assert_eq!(ended.code, Some(4));
    assert!(ended.err.contains("output products/shifts.csv differs"), "{}", ended.err);
}

#[test]
fn a_rerun_elsewhere_gives_the_same_bits_on_one_and_two_threads() {
    let p = Project::new();
    let far = Project::empty();
    let given = [format!("products={}", far.path("made").display()), "factor=2".into()];
    p.run(&given.each_ref().map(String::as_str)).steps();
    let before = super::hash(&far.path("made/joined.ms"));
    for threads in ["1", "2"] {
        let ended = p.call(["check", "plots/demo", "--rerun", "--threads", threads]);
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        assert!(ended.out.contains("8 steps and their 5 outputs have the same bits"), "{}", ended.out);
    }
    assert_eq!(super::hash(&far.path("made/joined.ms")), before);
    let left = fs::read_dir(p.path(".phangs")).unwrap().filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with("rerun"));
    assert_eq!(left.count(), 0, "the scratch folder is gone");
    // a record that claims something else is found out
    let record = fs::read_to_string(p.path("plots/demo/run.jsonl")).unwrap();
    fs::write(p.path("plots/demo/run.jsonl"), record.replace("\"n_rows\":", "\"n_rows\":1")).unwrap();
    let ended = p.call(["check", "plots/demo", "--rerun"]);
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    assert!(ended.err.contains("does not repeat") && ended.err.contains("n_rows"), "{}", ended.err);
}

/// Regression: casacore wrote what its buffers held into gaps of FIELD and FEED.
#[test]
fn the_same_set_has_the_same_bits_whatever_the_program_did_before() {
    let p = Project::empty();
    let make = |at: &str| format!("simulate(\"{at}\", #{{ long: 2, short: 1, antennas: 6, integrations: 4 }});\n");
    p.write("scripts/demo.rhai", &make("one"));
    p.run(&[]).steps();
    let before = "let s = simulate(\"other\", #{ long: 1, short: 1, antennas: 12, integrations: 8 });\n\
                  concat(s.long + s.short, \"joined.ms\", #{ direction_tolerance: \"1arcsec\" });\nsummary(\"joined.ms\");\n";
    p.write("scripts/demo.rhai", &format!("{before}{}", make("two")));
    p.run(&[]).steps();
    assert_eq!(super::hash(&p.path("one")), super::hash(&p.path("two")));
}

#[test]
fn diff_names_the_parameter_the_numbers_and_the_figures() {
    let p = Project::new();
    p.edit("plot_shifts([fit], []", "let other = find_offset(a, moved); // after the move\nplot_shifts([fit], [other]");
    p.run(&[]).steps();
    p.run(&["factor=30"]).steps();
    let ended = p.call(["diff", "plots/demo"]);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.out.contains("factor: 1.0 -> 30.0"), "{}", ended.out);
    assert!(ended.out.contains("find_offset.best.dra_mas"), "{}", ended.out);
    let page = fs::read_to_string(p.path("plots/demo/diff/index.html")).unwrap();
    for file in ["shifts.first.png", "shifts.second.png", "shifts.difference.png"] {
        assert!(p.path("plots/demo/diff").join(file).exists() && page.contains(file), "{file}");
    }
    // two folders, and a tolerance above what moved
    p.call(["run", "scripts/demo.rhai", "--out", "other"]);
    assert!(p.call(["diff", "plots/demo", "other"]).out.contains("factor"));
}

#[test]
fn ctrl_c_stops_within_a_second_also_in_native_loops() {
    for script in [
        "simulate(\"products/sim\", #{ long: 8, short: 8, antennas: 40, integrations: 120 });",
        "let n = 0; while true { n += 1; }",
        "let s = simulate(\"sim\", #{ long: 2, short: 2, antennas: 40, integrations: 60 });\nprint(\"made\");\n\
         align_jointly(s.long + s.short); align_jointly(s.long + s.short, #{ reference: \"LB2\" });",
    ] {
        let p = Project::with(script);
        if script.contains("made") {
            p.write("scripts/demo.rhai", script.split("print").next().unwrap());
            p.run(&[]).steps();
            p.write("scripts/demo.rhai", script);
        }
        let child = p.start(&[]);
        std::thread::sleep(Duration::from_millis(400));
        let clock = Instant::now();
        // SAFETY: a signal to a child of this test.
        unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
        let ended = Ended::of(child.wait_with_output().unwrap());
        if ended.code == Some(0) {
            println!("{script} ended before it was interrupted");
            continue;
        }
        assert_eq!(ended.code, Some(130), "{script}: {ended:#?}");
        assert!(clock.elapsed() < Duration::from_secs(1), "{script}: {:?}", clock.elapsed());
        assert_eq!(ended.last["status"], "interrupted");
        assert!(!p.path("products/sim").exists());
    }
}

#[test]
fn reports_docs_verbs_lint_and_gc_answer() {
    let p = Project::new();
    p.run(&[]).steps();
    fs::remove_dir_all(p.path("plots/demo/report")).unwrap();
    assert_eq!(p.call(["report", "plots/demo"]).code, Some(0));
    assert!(p.path("plots/demo/report/index.html").exists());
    assert_eq!(p.call(["report", "plots/demo", "--single"]).code, Some(0));
    assert!(p.call(["doc", "shift"]).out.contains("overwrite"));
    let wrong = p.call(["doc", "shfit"]);
    assert!(wrong.code == Some(1) && wrong.err.contains("did you mean `shift`"), "{}", wrong.err);
    assert!(p.call(["verbs"]).out.contains("align_jointly"));
    let lint = p.call(["lint", "scripts/demo.rhai"]);
    assert_eq!(
        (lint.code, lint.out.as_str()),
        (
            Some(0),
            "scripts/demo.rhai:23:5: warning [unused]: `table` is never read; a name that begins with `_` says so\n0 errors, 1 warning\n"
        )
    );
    p.edit("find_offset(a, b)", "find_ofset(a, b)");
    assert_eq!(p.call(["lint", "scripts/demo.rhai"]).code, Some(1));
    assert_eq!(p.call(["gc", "--dry-run"]).code, Some(0));
    assert_eq!(p.call(["gc"]).code, Some(0));
}

/// What a reader finds in the histories of products.
#[test]
fn products_carry_the_run_and_the_key_outside_their_hash() {
    let p = Project::new();
    p.run(&[]).steps();
    let history = fs::read(p.path("products/joined.ms/HISTORY/table.f0")).unwrap();
    let step = p.record().into_iter().find(|l| l["verb"] == "concat").unwrap();
    let text = String::from_utf8_lossy(&history).into_owned();
    let (run, key) = (step["run"].as_str().unwrap(), &step["key"].as_str().unwrap()[..8]);
    assert!(text.contains(run) && text.contains(key), "run {run}, key {key}");
}
