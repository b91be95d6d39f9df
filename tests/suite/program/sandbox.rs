//! A script cannot read or write outside its project and what the user declared.

use std::fs;
use std::os::unix::fs::symlink;

use super::{Project, copy_folder};

/// A project in a folder beside secrets.
fn fenced() -> (Project, Project) {
    let outside = Project::with("1");
    outside.write("secret.csv", "block,reference\n");
    outside.write("secret.rhai", "fn f() { 1 }");
    let p = Project::empty();
    p.write("scripts/demo.rhai", "1");
    symlink(outside.path("secret.csv"), p.path("link.csv")).unwrap();
    symlink(outside.dir.path(), p.path("folder")).unwrap();
    symlink(outside.path("nothing.csv"), p.path("dangling.csv")).unwrap();
    symlink(outside.path("secret.rhai"), p.path("module.rhai")).unwrap();
    (p, outside)
}

fn depth(p: &Project) -> String {
    "../".repeat(p.dir.path().components().count()) + &p.dir.path().display().to_string()[1..]
}

#[test]
fn nothing_outside_is_read() {
    let (p, outside) = fenced();
    let far = outside.dir.path().display().to_string();
    let out = outside.dir.path().file_name().unwrap().to_string_lossy().into_owned();
    for path in [
        format!("{far}/secret.csv"),
        format!("../{out}/secret.csv"),
        format!("scripts/../../{out}/secret.csv"),
        format!("{}/secret.csv", depth(&outside)),
        "link.csv".into(),
        "folder/secret.csv".into(),
        "folder/../secret.csv".into(),
        "dangling.csv".into(),
    ] {
        p.write("scripts/demo.rhai", &format!("read_uvtable(\"{path}\");"));
        let ended = p.run(&[]);
        assert_eq!(ended.code, Some(1), "{path}");
        assert!(ended.err.contains("may not read outside its project"), "{path}: {}", ended.err);
    }
    for set in [format!("{far}/A.ms"), format!("../{out}/A.ms#0"), "folder/A.ms".into()] {
        p.write("scripts/demo.rhai", &format!("summary(\"{set}\");"));
        assert!(p.run(&[]).err.contains("may not read outside its project"), "{set}");
    }
}

#[test]
fn nothing_outside_is_imported() {
    let (p, outside) = fenced();
    let far = outside.dir.path().display().to_string();
    let out = outside.dir.path().file_name().unwrap().to_string_lossy().into_owned();
    for path in [format!("{far}/secret"), format!("../{out}/secret"), "folder/secret".into(), "module".into()] {
        p.write("scripts/demo.rhai", &format!("import \"{path}\" as m;\nprint(m::f());"));
        let ended = p.run(&[]);
        assert!(ended.code == Some(1) && ended.err.contains("may not read outside its project"), "{path}: {}", ended.err);
    }
    // a module inside may not lead out either, and `eval` is off
    p.write("inside.rhai", &format!("import \"../{out}/secret\" as m;\nfn f() {{ 1 }}"));
    p.write("scripts/demo.rhai", "import \"inside\" as m;\nprint(m::f());");
    assert!(p.run(&[]).err.contains("may not read outside its project"));
    p.write("scripts/demo.rhai", "eval(\"1\");");
    assert_eq!(p.run(&[]).code, Some(1));
}

#[test]
fn nothing_outside_is_written() {
    let (p, outside) = fenced();
    let before = fs::read_dir(outside.dir.path()).unwrap().count();
    let far = outside.dir.path().display().to_string();
    let out = outside.dir.path().file_name().unwrap().to_string_lossy().into_owned();
    for path in [format!("{far}/new"), format!("../{out}/new"), "folder/new".into(), "folder/deep/new".into(), "dangling.csv".into()] {
        p.write("scripts/demo.rhai", &format!("simulate(\"{path}\", #{{ long: 1, short: 0, antennas: 4, integrations: 2 }});"));
        let ended = p.run(&[]);
        assert!(ended.code == Some(1) && ended.err.contains("may not write outside its project"), "{path}: {}", ended.err);
    }
    // a default of the script's own is no declaration, not even of a parameter for outputs
    p.write(
        "scripts/demo.rhai",
        &format!("let products = param(\"products\", \"{far}\", #{{ path: \"out\" }});\nsimulate(`${{products}}/new`);"),
    );
    assert!(p.run(&[]).err.contains("may not write outside its project"));
    p.write("scripts/demo.rhai", &format!("let plots = param(\"plots\", \"{far}\", #{{ path: \"out\" }});"));
    assert!(p.run(&[]).err.contains("may not write outside its project"));
    assert_eq!(fs::read_dir(outside.dir.path()).unwrap().count(), before);
    assert!(!outside.path("nothing.csv").exists());
}

#[test]
fn what_the_user_gives_works_wherever_it_is() {
    let (p, q) = (Project::new(), Project::empty());
    for set in ["A.ms", "B.ms"] {
        copy_folder(&p.path(set), &q.path(set));
        fs::remove_dir_all(p.path(set)).unwrap();
    }
    let far = q.dir.path().display().to_string();
    let near = format!("../{}", q.dir.path().file_name().unwrap().to_string_lossy());
    let given = [format!("a={far}/A.ms"), format!("b={near}/B.ms"), format!("products={far}/made"), format!("plots={near}/plots")];
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    assert_eq!(p.run(&given).steps(), (super::STEPS, 0, 0));
    for file in ["made/joined.ms", "plots/shifts.png", "plots/run.jsonl", "plots/report/index.html"] {
        assert!(q.path(file).exists(), "{file}");
    }
    assert_eq!(p.run(&given).steps(), (0, super::STEPS, 0));
    assert_eq!(p.call(["check".to_string(), format!("{far}/plots")]).code, Some(0));
    // an input is declared for reading, and not for writing
    let text = fs::read_to_string(p.path("scripts/demo.rhai")).unwrap();
    p.write("scripts/demo.rhai", &text.replace("`${products}/B_shift.ms`", "`${a}/B_shift.ms`"));
    assert!(p.run(&given).err.contains("may not write outside its project"));
}

#[test]
fn parameters_come_from_a_file_and_the_command_line_wins() {
    let p = Project::new();
    p.write("given.toml", "factor = 2\nproducts = \"elsewhere\"\n");
    let call = |more: &[&str]| p.call(["run", "scripts/demo.rhai", "--json", "--params", "given.toml"].iter().chain(more));
    assert_eq!(call(&[]).steps(), (super::STEPS, 0, 0));
    assert!(p.path("elsewhere/joined.ms").exists() && !p.path("products").exists());
    call(&["-p", "products=products"]).steps();
    assert!(p.path("products/joined.ms").exists());
    p.write("given.toml", "factr = 2\n");
    let ended = call(&[]);
    assert!(ended.code == Some(1) && ended.err.contains("no parameter `factr`; did you mean `factor`?"), "{}", ended.err);
    p.write("given.toml", "factor = \"much\"\n");
    assert!(call(&[]).err.contains("is not a number"), "{}", call(&[]).err);
}
