//! The page of a made-up run: complete, escaped, and the same for the same record.

use serde_json::json;

use super::*;
use crate::notice::Warning;
use crate::run::record::{Cell, Column, Line, Parameter, Print, Quality, Remark, Script, Start, Table};
use crate::run::{Hash, State, Usage};

/// A record with one of everything and `n` figures; `folder` gets the pictures.
pub(crate) fn sample(folder: &Path, n: usize) -> Run {
    let text = sample_script();
    let cells = vec![
        Cell { title: "Align execution blocks".into(), markdown: true, first_line: 2, last_line: 6, ..Cell::default() },
        Cell { title: "Parameters & inputs <all>".into(), first_line: 8, last_line: 11, ..Cell::default() },
        Cell { title: "Offsets".into(), first_line: 13, last_line: 15, ..Cell::default() },
    ];
    let script = Script { hash: Hash::of(text.as_bytes()), text, cells };
    let start = Start {
        run: "20260214T101530-3fa9".into(),
        time: "2026-02-14T10:15:30.123Z".into(),
        script: "scripts/step2.rhai".into(),
        script_hash: Some(script.hash),
        title: "Phase alignment".into(),
        command: ["phangs-script", "scripts/step2.rhai", "-p", "long=data/LB 1.ms,data/LB2.ms"].map(String::from).to_vec(),
        threads: 2,
        seed: Some(7),
        parameters: vec![Parameter {
            name: "cell".into(),
            value: json!("0.02arcsec"),
            default: json!("0.01arcsec"),
            unit: "arcsec".into(),
            help: "Size of a cell <i>".into(),
            given: true,
        }],
        machine: crate::run::Machine { system: "linux".into(), processor: "test".into(), cores: 2, memory_bytes: 8 << 30 },
        ..Start::default()
    };
    let mut lines = vec![Line::Print(Print { run: String::new(), cell: Some(1), text: "5 blocks\n  LB1  <reference>\n".into() })];
    for (i, (verb, mark, status)) in STEPS.iter().enumerate() {
        lines.push(Line::Step(Box::new(sample_step(i + 1, verb, *mark, *status))));
    }
    lines.push(Line::Table(sample_table()));
    for i in 0..n {
        lines.push(Line::Figure(sample_figure(folder, i)));
    }
    let warning = Warning::new("script-edited", "the script was edited while it ran").hint("run it again");
    lines.push(Line::Warning(Remark { run: String::new(), cell: None, warning }));
    let end = crate::run::record::End { steps_run: 2, steps_skipped: 1, usage: sample_usage(12.5), ..Default::default() };
    let end = crate::run::record::End { outcome: crate::run::record::Outcome::Done, ..end };
    Run { start, script: Some(script), lines, end: Some(end) }
}

use crate::run::record::{Mark, Status, Step};

const STEPS: [(&str, Mark, Status); 3] =
    [("read_blocks", Mark::Good, Status::Skipped), ("align_jointly", Mark::Look, Status::Run), ("shift", Mark::Bad, Status::Run)];

fn sample_script() -> String {
    "// %% Align execution blocks [markdown]\n// Finds the **offset** of each block.\n//\n// # Method\n//\n// - joint fit, see [the paper](https://example.org/a?b=c&d)\n\
     // %% Parameters & inputs <all>\nlet cell = param(\"cell\", \"0.01arcsec\"); // <size>\nlet blocks = read_blocks([\"a.ms\"]);\nif cell > 1 {\n}\n\
     // %% Offsets\nlet offsets = align_jointly(blocks, #{ cell: cell });\nprint(offsets);\nshift(blocks[0], offsets[0], \"out.ms\");\n"
        .into()
}

fn sample_usage(wall_s: f64) -> Usage {
    Usage { wall_s, cpu_s: wall_s * 1.7, peak_bytes: 250_000_000 }
}

fn sample_step(index: usize, verb: &str, mark: Mark, status: Status) -> Step {
    let file = |name: &str, size: u64| crate::run::record::FileLine {
        path: name.into(),
        state: State { kind: "ms".into(), hash: Hash::of(name.as_bytes()), size, how: crate::run::How::Memo, parts: Default::default() },
        only: vec![],
        before: None,
        stored: false,
    };
    let reason = if mark == Mark::Good { String::new() } else { "residual chi-square 1.31 > 1.2 & more".into() };
    let warnings = if mark == Mark::Look {
        vec![Warning::new("weights-off", "weights are off by a factor 2.1").hint("use sigma: \"scatter\"")]
    } else {
        vec![]
    };
    Step {
        facts: None,
        same_as: None,
        run: String::new(),
        index,
        key: Hash::of(verb.as_bytes()),
        verb: verb.into(),
        version: 1,
        cell: Some(if index == 1 { 1 } else { 2 }),
        line: Some(8 + 2 * index),
        time: "2026-02-14T10:15:31.000Z".into(),
        status,
        because: if status == Status::Run { vec![crate::run::Reason::FirstTime] } else { vec![] },
        made_by: "20260213T091500-aaaa".into(),
        args: json!({"blocks": ["data/LB 1.ms", "data/LB2.ms"], "options": {"cell": 0.02, "support": null}}),
        inputs: vec![file("data/LB 1.ms", 750_000_000)],
        outputs: vec![file(&format!("products/out{index}.ms"), 750_000_000)],
        value: json!({"dra_mas": 12.345678, "ok": true}),
        warnings,
        quality: Quality { mark, reason },
        tables: Default::default(),
        seed: None,
        threads: 2,
        usage: sample_usage(0.3 * index as f64),
        overhead_s: 0.01,
        tolerance: None,
    }
}

fn sample_table() -> Table {
    let column = |name: &str, unit: &str| Column { name: name.into(), unit: unit.into() };
    let columns = vec![column("block", ""), column("dra", "mas"), column("sigma", "mas"), column("converged", "")];
    let row = |i: usize| vec![json!(format!("LB{i}")), json!(12.5 * i as f64 - 20.0), json!(0.123456789), json!(i != 3)];
    Table { cell: Some(2), title: "Required shifts".into(), columns, rows: (1..6).map(row).collect(), ..Table::default() }
}

fn sample_figure(folder: &Path, i: usize) -> Figure {
    let path = folder.join(format!("figure {i}.png"));
    let bytes = picture(i);
    std::fs::write(&path, &bytes).unwrap();
    Figure {
        cell: Some(2),
        path: path.to_string_lossy().into_owned(),
        width: 640,
        height: 400,
        alt: format!("Amplitude against uv distance of block {i}: falls from 1.2 to 0.1 Jy \"smoothly\""),
        caption: format!("Block {i}, amplitude & phase"),
        hash: Some(Hash::of(&bytes)),
        ..Figure::default()
    }
}

fn picture(i: usize) -> Vec<u8> {
    let (w, h) = (640u32, 400u32);
    let mut data = Vec::new();
    for y in 0..h {
        for x in 0..w {
            let curve = 200.0 + 120.0 * ((x as f64 / 60.0) + i as f64).sin();
            data.push(if (curve - f64::from(y)).abs() < 2.0 { 30 } else { 245 });
        }
    }
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, w, h);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().unwrap().write_image_data(&data).unwrap();
    out
}

fn written(n: usize, form: Form) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let plots = dir.path().join("plots");
    std::fs::create_dir(&plots).unwrap();
    let run = sample(&plots, n);
    let path = write(&run, dir.path(), &plots, None, form).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    (dir, text)
}

#[test]
fn the_page_has_everything_and_is_escaped() {
    let (_dir, text) = written(2, Form::Folder);
    for part in [
        "<h1>Phase alignment</h1>",
        "weights are off by a factor 2.1",
        "Parameters &amp; inputs &lt;all&gt;",
        "<strong>offset</strong>",
        "residual chi-square 1.31 &gt; 1.2 &amp; more",
        "LB1  &lt;reference&gt;",
        "phangs-script scripts/step2.rhai -p &#39;long=data/LB 1.ms,data/LB2.ms&#39;",
        "phangs-script check plots",
        "src=\"../figure%200.png\"",
        "width=\"640\" height=\"400\"",
        "not done before",
        "in run 20260213T091500-aaaa",
        "the script was edited while it ran",
    ] {
        assert!(text.contains(part), "lacks {part}");
    }
    assert!(text.find("id=\"warnings\"") < text.find("id=\"stages\""), "warnings come first");
    assert!(!text.contains("style=\"") && !text.contains("onclick") && !text.contains("src=\"http"));
}

#[test]
fn the_policy_allows_exactly_the_style_and_the_script() {
    let (_dir, text) = written(0, Form::Folder);
    let between = |a: &str, b: &str| text.split_once(a).unwrap().1.split_once(b).unwrap().0.to_string();
    for (inside, name) in [(between("<style>", "</style>"), "style-src"), (between("<script>", "</script>"), "script-src")] {
        let want = format!("{name} 'sha256-{}'", base64(&sha256(inside.as_bytes())));
        assert!(text.contains(&want), "{want}");
    }
    assert!(text.contains("default-src 'none'"));
}

#[test]
fn one_file_holds_its_figures_and_refuses_to_grow_without_bound() {
    let (_dir, text) = written(2, Form::Single);
    assert_eq!(text.matches("src=\"data:image/png;base64,").count(), 2);
    let dir = tempfile::tempdir().unwrap();
    let run = sample(dir.path(), 1);
    let mut page = Page {
        run: &run,
        root: dir.path(),
        plots: dir.path(),
        store: None,
        form: Form::Single,
        copied: BTreeMap::new(),
        inside: SINGLE_LIMIT,
    };
    assert!(page.embedded("x.png", &[0; 10]).unwrap_err().message.contains("40 MB"));
}

#[test]
fn a_figure_that_was_replaced_is_said_to_be_gone() {
    let dir = tempfile::tempdir().unwrap();
    let run = sample(dir.path(), 1);
    std::fs::write(dir.path().join("figure 0.png"), "other").unwrap();
    let path = write(&run, dir.path(), dir.path(), None, Form::Folder).unwrap();
    assert!(std::fs::read_to_string(path).unwrap().contains("is not there any more"));
}

/// Writes pages to look at in a browser into the folder PHANGS_REPORT_OUT: a small one, one with 2,000 figures, a difference.
#[test]
#[ignore = "writes pages to look at"]
fn pages_to_look_at() {
    let Ok(out) = std::env::var("PHANGS_REPORT_OUT") else { return };
    for (name, n) in [("small", 5), ("large", 2000)] {
        let plots = Path::new(&out).join(name);
        std::fs::create_dir_all(&plots).unwrap();
        let run = sample(&plots, n);
        let clock = std::time::Instant::now();
        let path = write(&run, Path::new(&out), &plots, None, Form::Folder).unwrap();
        eprintln!("{}: {:.3} s", path.display(), clock.elapsed().as_secs_f64());
    }
}
