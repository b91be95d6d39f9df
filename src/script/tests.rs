use std::path::Path;
use std::sync::Arc;

use super::context::{Context, Event, Memory, Setup};
use super::engine::{Script, ScriptError, run};
use super::{catalogue, value, verbs};

/// Runs a script in an empty project; returns its value as printed, its prints, or its error.
fn eval(source: &str) -> (Result<String, ScriptError>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let console = Arc::new(Memory::default());
    let context = Context::new(Setup::new(dir.path(), "test", console.clone())).unwrap();
    let result = run(&Script::new("test.rhai", source), &Arc::new(context));
    let shown =
        result.map(|v| value::from_dynamic(&v).map(|v| if v.is_null() { String::new() } else { verbs::shown(&v) }).unwrap_or_default());
    let prints = console.events().into_iter().filter_map(|e| if let Event::Print(t) = e { Some(t) } else { None }).collect();
    (shown, prints)
}

fn error(source: &str) -> String {
    eval(source).0.unwrap_err().to_string()
}

#[test]
fn a_misspelt_verb_names_the_nearest_with_its_signature() {
    assert_eq!(
        error("let a = 1;\nasert(a == 1, \"x\");"),
        "there is no verb `asert`; did you mean `assert`?\n  hint: assert(condition, message): Stops the script with exit code 4 if a \
         condition does not hold.\n  --> test.rhai:2:1\n  |\n2 | asert(a == 1, \"x\");\n  | ^"
    );
}

#[test]
fn a_wrong_number_of_arguments_shows_the_signature() {
    assert!(
        error("assert(true);").starts_with("`assert` cannot be called with 1 argument\n  hint: assert(condition, message)"),
        "{}",
        error("assert(true);")
    );
}

#[test]
fn an_unknown_option_points_at_the_call() {
    let e = error("let x = param(\"a\", 1, #{ mim: 2 });");
    assert!(e.starts_with("`param` has no option `mim`; did you mean `min`") && e.contains("--> test.rhai:1:9"), "{e}");
}

#[test]
fn a_function_called_from_another_cell_reports_its_own_line() {
    let e = error("// %% one\nfn f(x) {\n    assert(x > 1, \"too small\");\n}\n// %% two\nf(0);");
    assert!(e.contains("too small") && e.contains("--> test.rhai:3:5"), "{e}");
}

#[test]
fn cells_are_announced_in_file_order_with_what_they_print() {
    let (result, prints) = eval("print(1);\n// %% two\nprint(2.5);\n// %% three\nprint(#{a: 1});");
    result.unwrap();
    assert_eq!(prints, ["1", "2.5", "#{\"a\": 1}"]);
}

#[test]
fn eval_is_off() {
    assert!(eval("eval(\"1\")").0.is_err());
}

#[test]
fn imports_stay_in_the_project() {
    assert!(error("import \"../x\" as x;").contains("may not read outside its project"));
    assert!(error("import \"/etc/hostname\" as x;").contains("may not read outside its project"));
}

#[test]
fn every_verb_is_complete_and_named_once() {
    let mut names: Vec<&str> = catalogue::all().map(|v| v.name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|w| w[0] != w[1]), "{names:?}");
    for v in catalogue::all() {
        assert!(
            v.summary.ends_with('.') && v.summary.split_whitespace().next().is_some_and(|w| w.ends_with('s')),
            "{}: third person, full stop",
            v.name
        );
        assert!(!v.returns.is_empty() && !v.group.is_empty() && v.version > 0, "{}", v.name);
        assert!(!v.examples.is_empty(), "{} has no example", v.name);
        assert_eq!(v.options.concat().len(), (v.defaults)().len(), "{}: a default for every option", v.name);
        let mut names: Vec<&str> = v.options.concat().iter().map(|p| p.name).chain(v.inputs.iter().map(|i| i.name)).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|w| w[0] != w[1]), "{}: two options or inputs of one name", v.name);
        let optional_last = v.inputs.iter().skip_while(|i| !i.optional).all(|i| i.optional);
        assert!(optional_last, "{}: optional inputs come last", v.name);
    }
}

/// Examples of verbs run in one project that is made for them.
#[test]
fn every_example_gives_its_result() {
    for verb in catalogue::all() {
        for example in verb.examples {
            let (result, _) = eval(example.script);
            match (result, example.result.strip_prefix("error: ")) {
                (Ok(got), None) => assert!(
                    same(&got, example.result, example.tolerance),
                    "{}: {}\n gives {got}\n not   {}",
                    verb.name,
                    example.script,
                    example.result
                ),
                (Err(e), Some(start)) => {
                    assert!(e.error.message.starts_with(start), "{}: {}\n gives {}", verb.name, example.script, e.error.message)
                }
                (Ok(got), Some(_)) => panic!("{}: {} gives {got}, not an error", verb.name, example.script),
                (Err(e), None) => panic!("{}: {}\n fails: {e}", verb.name, example.script),
            }
        }
    }
}

fn same(got: &str, expected: &str, tolerance: f64) -> bool {
    match (got.parse::<f64>(), expected.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= tolerance,
        _ => got == expected,
    }
}

#[test]
fn a_script_is_found_in_its_project() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("scripts/sub")).unwrap();
    let file = dir.path().join("scripts/sub/a.rhai");
    std::fs::write(&file, "1").unwrap();
    assert_eq!(super::context::project_of(&file).unwrap(), dir.path().canonicalize().unwrap());
    assert!(super::context::project_of(Path::new("missing.rhai")).is_err());
}
