//! What two runs have in common and what not: parameters, code, numbers with their sizes, tables, figures.

use std::fmt;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::run::hash::Hash;
use crate::run::reason::{Reason, in_words, leaves};
use crate::run::record::{Figure, Run, Step, Table};
use crate::run::store::Store;

/// The differences of two runs.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Diff {
    /// The first run.
    pub first: String,
    /// The second run.
    pub second: String,
    /// Parameters, versions, threads and the like.
    pub parameters: Vec<Moved>,
    /// The script, line by line, with three lines around each change; empty where it is the same.
    pub code: Vec<CodeLine>,
    /// Steps that only one of them has, inputs and arguments that differ.
    pub steps: Vec<StepDiff>,
    /// Numbers that the steps returned.
    pub numbers: Vec<Moved>,
    /// Cells of tables.
    pub tables: Vec<Moved>,
    /// Figures.
    pub figures: Vec<FigureDiff>,
}

/// A value that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moved {
    /// Where: a parameter, `verb.field`, or `table[row].column`.
    pub name: String,
    /// In the first run; absent where it is not there.
    pub was: Option<Value>,
    /// In the second run.
    pub is: Option<Value>,
    /// Second minus first, for numbers.
    pub difference: Option<f64>,
    /// Difference over the larger magnitude, for numbers.
    pub relative: Option<f64>,
}

/// A line of the script.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CodeLine {
    /// `' '` in both, `'-'` only in the first, `'+'` only in the second, `'@'` for lines left out.
    pub mark: char,
    /// The text.
    pub text: String,
}

/// A step that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepDiff {
    /// Its verb.
    pub verb: String,
    /// Its line in the second run, or in the first where only that has it.
    pub line: Option<usize>,
    /// What differs, in words.
    pub what: Vec<String>,
}

/// A figure of both runs, or of one.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct FigureDiff {
    /// Its name.
    pub name: String,
    /// The file of the first run in the folder of the comparison.
    pub first: Option<String>,
    /// That of the second.
    pub second: Option<String>,
    /// The difference image, where both are pictures; they share the upper left corner.
    pub difference: Option<String>,
    /// Fraction of pixels that differ.
    pub changed: Option<f64>,
    /// What is to be said in words.
    pub note: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Alternative texts of the two.
    pub alt: [String; 2],
}

impl Diff {
    /// True if nothing differs.
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty()
            && self.code.is_empty()
            && self.steps.is_empty()
            && self.numbers.is_empty()
            && self.tables.is_empty()
            && self.figures.is_empty()
    }
}

/// Compares two runs. Numbers closer than `tolerance` (relative) count as equal. Figures that differ are copied to `folder`,
/// if given, with a difference image beside them; those that a later run replaced come from the store.
pub fn diff(first: &Run, second: &Run, tolerance: f64, root: &Path, store: &Store, folder: Option<&Path>) -> Result<Diff> {
    Ok(Diff {
        first: first.start.run.clone(),
        second: second.start.run.clone(),
        parameters: parameters(first, second),
        code: code(first, second),
        steps: steps(first, second),
        numbers: pairs(first, second).into_iter().filter_map(both).flat_map(|(a, b)| numbers(a, b, tolerance)).collect(),
        tables: tables(first, second, tolerance),
        figures: figures(first, second, root, store, folder)?,
    })
}

fn moved(name: String, was: Option<&Value>, is: Option<&Value>) -> Moved {
    let pair = was.and_then(Value::as_f64).zip(is.and_then(Value::as_f64));
    let difference = pair.map(|(a, b)| b - a);
    let relative = pair.map(|(a, b)| if a == b { 0.0 } else { (b - a) / a.abs().max(b.abs()) });
    Moved { name, was: was.cloned(), is: is.cloned(), difference, relative }
}

fn parameters(first: &Run, second: &Run) -> Vec<Moved> {
    let all = |run: &Run| {
        let s = &run.start;
        let mut map: Vec<(String, Value)> = s.parameters.iter().map(|p| (p.name.clone(), p.value.clone())).collect();
        map.extend(s.versions.iter().map(|(k, v)| (format!("version of {k}"), v.clone())));
        map.push(("threads".into(), s.threads.into()));
        map.push(("script".into(), s.script.clone().into()));
        map.extend(s.seed.map(|seed| ("seed".into(), seed.into())));
        map.extend(s.modules.iter().map(|m| (format!("module {}", m.path), m.state.hash.short().into())));
        map
    };
    let (a, b) = (all(first), all(second));
    let find = |list: &[(String, Value)], name: &str| list.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    let mut names: Vec<&String> = a.iter().chain(&b).map(|(n, _)| n).collect();
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|n| seen.insert(n.as_str()));
    let pairs = names.into_iter().map(|n| (n.clone(), find(&a, n), find(&b, n)));
    pairs.filter(|(_, was, is)| was != is).map(|(n, was, is)| moved(n, was.as_ref(), is.as_ref())).collect()
}

/// Steps of the two runs that belong together: the n-th call of a verb with the n-th.
fn pairs<'a>(first: &'a Run, second: &'a Run) -> Vec<(Option<&'a Step>, Option<&'a Step>)> {
    let numbered = |run: &'a Run| {
        let mut counts = std::collections::BTreeMap::new();
        run.steps()
            .map(|s| {
                let n = counts.entry(s.verb.as_str()).or_insert(0usize);
                *n += 1;
                ((s.verb.as_str(), *n), s)
            })
            .collect::<Vec<_>>()
    };
    let (a, b) = (numbered(first), numbered(second));
    let find = |list: &[((&'a str, usize), &'a Step)], id: (&str, usize)| list.iter().find(|(i, _)| *i == id).map(|(_, s)| *s);
    let mut all: Vec<_> = b.iter().map(|(id, s)| (find(&a, *id), Some(*s))).collect();
    all.extend(a.iter().filter(|(id, _)| find(&b, *id).is_none()).map(|(_, s)| (Some(*s), None)));
    all
}

fn both<'a>(pair: (Option<&'a Step>, Option<&'a Step>)) -> Option<(&'a Step, &'a Step)> {
    pair.0.zip(pair.1)
}

fn steps(first: &Run, second: &Run) -> Vec<StepDiff> {
    let mut found = Vec::new();
    for pair in pairs(first, second) {
        let (step, what) = match pair {
            (Some(a), Some(b)) if a.key == b.key => continue,
            (Some(a), Some(b)) => (b, step_words(a, b)),
            (None, Some(b)) => (b, vec!["only in the second run".to_string()]),
            (Some(a), None) => (a, vec!["only in the first run".to_string()]),
            (None, None) => continue,
        };
        if !what.is_empty() {
            found.push(StepDiff { verb: step.verb.clone(), line: step.line, what });
        }
    }
    found
}

fn step_words(a: &Step, b: &Step) -> Vec<String> {
    let mut what = Vec::new();
    if a.version != b.version {
        what.push(Reason::Version { was: a.version, is: b.version }.to_string());
    }
    what.extend(argument_words(a, b));
    for input in &b.inputs {
        if let Some(earlier) = a.inputs.iter().find(|i| i.path == input.path)
            && earlier.state.seen_by(&earlier.only) != input.state.seen_by(&input.only)
        {
            what.push(Reason::Input { path: input.path.clone(), parts: earlier.state.differing(&input.state, &input.only) }.to_string());
        }
    }
    what
}

/// Arguments that differ.
fn argument_words(a: &Step, b: &Step) -> Vec<String> {
    let (was, is) = (leaves(&a.args), leaves(&b.args));
    let names: std::collections::BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let reason = |name: &String| Reason::Argument { name: name.clone(), was: was.get(name).cloned(), is: is.get(name).cloned() };
    in_words(&names.into_iter().filter(|n| was.get(*n) != is.get(*n)).map(reason).collect::<Vec<_>>())
}

fn numbers(a: &Step, b: &Step, tolerance: f64) -> Vec<Moved> {
    let (was, is) = (leaves(&a.value), leaves(&b.value));
    let names: std::collections::BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    // names with `$` are not fields that a script can read: summaries, and what figures need
    let all = names.into_iter().filter(|n| !n.contains('$')).map(|n| {
        let label = if n.is_empty() { b.verb.clone() } else { format!("{}.{n}", b.verb) };
        moved(label, was.get(n), is.get(n))
    });
    all.filter(|m| differs(m, tolerance)).collect()
}

fn differs(m: &Moved, tolerance: f64) -> bool {
    m.was != m.is && m.relative.is_none_or(|r| r.abs() > tolerance)
}

fn tables(first: &Run, second: &Run, tolerance: f64) -> Vec<Moved> {
    let (a, b): (Vec<&Table>, Vec<&Table>) = (first.tables().collect(), second.tables().collect());
    let mut found = Vec::new();
    for (i, table) in b.iter().enumerate() {
        let nth = b[..i].iter().filter(|t| t.title == table.title).count();
        match a.iter().filter(|t| t.title == table.title).nth(nth) {
            Some(earlier) => found.extend(cells(earlier, table, tolerance)),
            None => found.push(moved(table.title.clone(), None, Some(&"only in the second run".into()))),
        }
    }
    found
}

fn cells(a: &Table, b: &Table, tolerance: f64) -> Vec<Moved> {
    let mut found = Vec::new();
    for row in 0..a.rows.len().max(b.rows.len()) {
        let (x, y) = (a.rows.get(row), b.rows.get(row));
        // the first cell of a row usually names it
        let label = y.or(x).and_then(|r| r.first()).map_or_else(String::new, |v| v.as_str().map_or_else(|| v.to_string(), str::to_string));
        for (i, column) in b.columns.iter().enumerate() {
            let j = a.columns.iter().position(|c| c.name == column.name);
            let was = x.zip(j).and_then(|(r, j)| r.get(j));
            let m = moved(format!("{}[{label}].{}", b.title, column.name), was, y.and_then(|r| r.get(i)));
            if differs(&m, tolerance) {
                found.push(m);
            }
        }
    }
    found
}

// --- code ---

fn code(first: &Run, second: &Run) -> Vec<CodeLine> {
    match (&first.script, &second.script) {
        (Some(a), Some(b)) if a.hash != b.hash => line_diff(&a.text, &b.text),
        _ => Vec::new(),
    }
}

/// Longest common subsequence of lines, shown with three lines around each change.
fn line_diff(a: &str, b: &str) -> Vec<CodeLine> {
    let (a, b): (Vec<&str>, Vec<&str>) = (a.lines().collect(), b.lines().collect());
    let head = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let tail = a[head..].iter().rev().zip(b[head..].iter().rev()).take_while(|(x, y)| x == y).count();
    let (x, y) = (&a[head..a.len() - tail], &b[head..b.len() - tail]);
    let mut lines: Vec<CodeLine> = a[..head].iter().map(|l| line(' ', l)).collect();
    lines.extend(middle(x, y));
    lines.extend(a[a.len() - tail..].iter().map(|l| line(' ', l)));
    with_context(lines)
}

fn line(mark: char, text: &str) -> CodeLine {
    CodeLine { mark, text: text.to_string() }
}

fn middle(x: &[&str], y: &[&str]) -> Vec<CodeLine> {
    const LARGEST: usize = 16_000_000;
    if x.len() * y.len() > LARGEST {
        return x.iter().map(|l| line('-', l)).chain(y.iter().map(|l| line('+', l))).collect();
    }
    let width = y.len() + 1;
    let mut common = vec![0u32; (x.len() + 1) * width];
    for i in (0..x.len()).rev() {
        for j in (0..y.len()).rev() {
            let at = i * width + j;
            common[at] = if x[i] == y[j] { common[at + width + 1] + 1 } else { common[at + width].max(common[at + 1]) };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < x.len() || j < y.len() {
        if i < x.len() && j < y.len() && x[i] == y[j] {
            out.push(line(' ', x[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == y.len() || i < x.len() && common[(i + 1) * width + j] >= common[i * width + j + 1] {
            out.push(line('-', x[i]));
            i += 1;
        } else {
            out.push(line('+', y[j]));
            j += 1;
        }
    }
    out
}

fn with_context(lines: Vec<CodeLine>) -> Vec<CodeLine> {
    const AROUND: usize = 3;
    let near = |i: usize| lines[i.saturating_sub(AROUND)..(i + AROUND + 1).min(lines.len())].iter().any(|l| l.mark != ' ');
    let mut out: Vec<CodeLine> = Vec::new();
    for (i, l) in lines.iter().enumerate() {
        if near(i) {
            out.push(l.clone());
        } else if out.last().is_none_or(|l| l.mark != '@') {
            out.push(line('@', ""));
        }
    }
    out
}

// --- figures ---

fn figures(first: &Run, second: &Run, root: &Path, store: &Store, folder: Option<&Path>) -> Result<Vec<FigureDiff>> {
    // runs into two plots folders call the same figure differently: the name of the file pairs them
    let name = |f: &Figure| Path::new(&f.path).file_name().map_or_else(|| f.path.clone(), |n| n.to_string_lossy().into_owned());
    let (a, b): (Vec<&Figure>, Vec<&Figure>) = (first.figures().collect(), second.figures().collect());
    let mut found = Vec::new();
    for y in &b {
        let x = a.iter().find(|x| name(x) == name(y)).copied();
        if x.is_none_or(|x| x.hash.is_none() || x.hash != y.hash) {
            found.push(figure_pair(name(y), x, Some(y), root, store, folder)?);
        }
    }
    for x in a.iter().filter(|x| !b.iter().any(|y| name(x) == name(y))) {
        found.push(figure_pair(name(x), Some(x), None, root, store, folder)?);
    }
    Ok(found)
}

fn figure_pair(
    name: String,
    x: Option<&Figure>,
    y: Option<&Figure>,
    root: &Path,
    store: &Store,
    folder: Option<&Path>,
) -> Result<FigureDiff> {
    let any = y.or(x);
    let alt = [x, y].map(|f| f.map(|f| f.alt.clone()).unwrap_or_default());
    let size = any.map_or((0, 0), |f| (f.width, f.height));
    let mut out = FigureDiff { name: name.clone(), alt, width: size.0, height: size.1, ..FigureDiff::default() };
    let bytes = [x, y].map(|f| f.and_then(|f| bytes_of(f, root, store)));
    out.note = match (x, y, &bytes) {
        (None, _, _) => "only in the second run".into(),
        (_, None, _) => "only in the first run".into(),
        (_, _, [None, _]) => "the first run's file was replaced and is not in the store".into(),
        (_, _, [_, None]) => "the second run's file was replaced and is not in the store".into(),
        _ => String::new(),
    };
    let Some(folder) = folder else { return Ok(out) };
    let keep = |suffix: &str, bytes: &[u8]| -> Result<String> {
        let file = format!("{}{suffix}", name.trim_end_matches(".png"));
        let path = folder.join(&file);
        std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, bytes)).map_err(|e| Error::io("write a figure", &path, e))?;
        Ok(file)
    };
    out.first = bytes[0].as_ref().map(|b| keep(".first.png", b)).transpose()?;
    out.second = bytes[1].as_ref().map(|b| keep(".second.png", b)).transpose()?;
    if let [Some(p), Some(q)] = &bytes {
        match picture(p).zip(picture(q)) {
            Some((p, q)) => {
                let (width, height) = (p.width.max(q.width), p.height.max(q.height));
                let (image, changed) = difference(&p.on_canvas(width, height), &q.on_canvas(width, height));
                out.changed = Some(changed);
                out.note = format!("{:.3} % of the pixels differ", 100.0 * changed);
                if (p.width, p.height) != (q.width, q.height) {
                    out.note.push_str(&format!("; {}x{} pixels, and {}x{}", p.width, p.height, q.width, q.height));
                }
                out.difference = Some(keep(".difference.png", &image)?);
            }
            None => out.note = "not pictures that can be compared".into(),
        }
    }
    Ok(out)
}

/// The bytes that a figure had: from its file if that is unchanged, else from the store.
fn bytes_of(figure: &Figure, root: &Path, store: &Store) -> Option<Vec<u8>> {
    let file = std::fs::read(root.join(&figure.path)).ok();
    match figure.hash {
        None => file,
        Some(hash) => file.filter(|bytes| Hash::of(bytes) == hash).or_else(|| store.get(&hash)),
    }
}

/// A decoded picture, RGB.
struct Picture {
    width: u32,
    height: u32,
    rgb: Vec<[u8; 3]>,
}

impl Picture {
    /// The picture in the upper left corner of a white canvas.
    fn on_canvas(&self, width: u32, height: u32) -> Picture {
        let mut rgb = vec![[255; 3]; width as usize * height as usize];
        for (row, from) in self.rgb.chunks_exact(self.width.max(1) as usize).enumerate() {
            let at = row * width as usize;
            rgb[at..at + from.len()].copy_from_slice(from);
        }
        Picture { width, height, rgb }
    }
}

fn picture(bytes: &[u8]) -> Option<Picture> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().ok()?;
    let mut data = vec![0; reader.output_buffer_size()?];
    let info = reader.next_frame(&mut data).ok()?;
    let n = info.color_type.samples();
    let rgb = data[..info.buffer_size()].chunks_exact(n).map(|p| if n < 3 { [p[0]; 3] } else { [p[0], p[1], p[2]] }).collect();
    Some(Picture { width: info.width, height: info.height, rgb })
}

/// The second picture in pale grey with what differs in red, and the fraction of pixels that differ.
fn difference(a: &Picture, b: &Picture) -> (Vec<u8>, f64) {
    let mut data = Vec::with_capacity(b.rgb.len() * 3);
    let mut changed = 0usize;
    for (p, q) in a.rgb.iter().zip(&b.rgb) {
        let most = p.iter().zip(q).map(|(x, y)| x.abs_diff(*y)).max().unwrap_or(0);
        let grey = q.iter().map(|c| u32::from(*c)).sum::<u32>() / 3;
        let pale = (192 + grey / 4).min(255) as u8;
        if most == 0 {
            data.extend([pale; 3]);
        } else {
            changed += 1;
            // a faint difference must still be seen: at least a third of full red
            let fade = 170 - (u32::from(most) * 2 / 3) as u8;
            data.extend([204, fade, fade]);
        }
    }
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, b.width, b.height);
    encoder.set_color(png::ColorType::Rgb);
    let written = encoder.write_header().and_then(|mut w| w.write_image_data(&data));
    if written.is_err() {
        out.clear();
    }
    (out, changed as f64 / b.rgb.len().max(1) as f64)
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |v: &Option<Value>| v.as_ref().map_or_else(|| "absent".to_string(), Value::to_string);
        write!(f, "{}: {} -> {}", self.name, show(&self.was), show(&self.is))?;
        match (self.difference, self.relative) {
            (Some(d), Some(r)) => write!(f, "  ({d:+.4e}, {:+.3} %)", 100.0 * r),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} -> {}", self.first, self.second)?;
        if self.is_empty() {
            return writeln!(f, "no difference");
        }
        let mut section = |title: &str, lines: Vec<String>| {
            if lines.is_empty() {
                return Ok(());
            }
            writeln!(f, "\n{title}")?;
            lines.iter().try_for_each(|l| writeln!(f, "  {l}"))
        };
        section("parameters", self.parameters.iter().map(Moved::to_string).collect())?;
        section("code", self.code.iter().map(|l| if l.mark == '@' { "...".into() } else { format!("{} {}", l.mark, l.text) }).collect())?;
        section("steps", self.steps.iter().map(|s| format!("{}: {}", s.verb, s.what.join("; "))).collect())?;
        section("numbers", self.numbers.iter().map(Moved::to_string).collect())?;
        section("tables", self.tables.iter().map(Moved::to_string).collect())?;
        section("figures", self.figures.iter().map(|x| format!("{}: {}", x.name, x.note)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_line_is_shown_with_its_neighbours() {
        let a: String = (0..20).map(|i| format!("line {i}\n")).collect();
        let b = a.replace("line 10\n", "line ten\nline ten and a half\n");
        let shown: Vec<String> = line_diff(&a, &b).iter().map(|l| format!("{}{}", l.mark, l.text)).collect();
        let want = [
            "@",
            " line 7",
            " line 8",
            " line 9",
            "-line 10",
            "+line ten",
            "+line ten and a half",
            " line 11",
            " line 12",
            " line 13",
            "@",
        ];
        assert_eq!(shown, want);
    }

    #[test]
    fn a_moved_number_comes_with_its_size() {
        let m = moved("find_offset.dra".into(), Some(&Value::from(2.0)), Some(&Value::from(2.5)));
        assert_eq!((m.difference, m.relative), (Some(0.5), Some(0.2)));
        assert_eq!(m.to_string(), "find_offset.dra: 2.0 -> 2.5  (+5.0000e-1, +20.000 %)");
        assert!(!differs(&moved("x".into(), Some(&Value::from(1.0)), Some(&Value::from(1.0 + 1e-12))), 1e-9));
    }

    #[test]
    fn a_difference_image_counts_the_pixels() {
        let a = Picture { width: 2, height: 1, rgb: vec![[0; 3], [9; 3]] };
        let b = Picture { width: 2, height: 1, rgb: vec![[0; 3], [10; 3]] };
        let (image, changed) = difference(&a, &b);
        assert_eq!(changed, 0.5);
        let back = picture(&image).unwrap();
        let wider = a.on_canvas(3, 2);
        assert_eq!(difference(&wider, &b.on_canvas(3, 2)).1, 1.0 / 6.0);
        assert_eq!(wider.rgb, [[0; 3], [9; 3], [255; 3], [255; 3], [255; 3], [255; 3]]);
        assert_eq!((back.width, back.rgb[0][0], back.rgb[1][0]), (2, 192, 204));
    }
}
