//! The notebook part: cells in the order of the file, with what they printed, did and showed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::error::Result;
use crate::run::reason::{in_words, leaves};
use crate::run::record::{Cell, Figure, FileLine, Line, Status, Step, Table};

use super::Page;
use super::code::highlighted;
use super::html::{bytes, esc, number, seconds, value};
use super::markdown::{render, uncommented};
use super::sections::{quality, status_word};

/// Figures per row are one where there is one.
const ONE: &str = " one";

impl Page<'_> {
    pub(super) fn titled_cells(&self) -> Vec<(usize, String)> {
        let cells = self.run.script.as_ref().map(|s| s.cells.as_slice()).unwrap_or_default();
        cells.iter().enumerate().filter(|(_, c)| !c.title.is_empty()).map(|(i, c)| (i, c.title.clone())).collect()
    }

    pub(super) fn notebook(&mut self) -> Result<String> {
        let run = self.run;
        let cells: &[Cell] = run.script.as_ref().map(|s| s.cells.as_slice()).unwrap_or_default();
        let text: Vec<&str> = run.script.as_ref().map(|s| s.text.lines().collect()).unwrap_or_default();
        let mut by_cell: BTreeMap<Option<usize>, Vec<&Line>> = BTreeMap::new();
        for line in &run.lines {
            let cell = cell_of(line).filter(|c| *c < cells.len());
            by_cell.entry(cell).or_default().push(line);
        }
        let mut out = String::from("<section aria-labelledby=\"notebook\">\n<h2 id=\"notebook\">Notebook</h2>\n");
        let outside = by_cell.remove(&None).unwrap_or_default();
        let outside = self.shown(&outside)?;
        if !outside.is_empty() {
            let _ = write!(out, "<div class=\"cell\">\n{outside}</div>\n");
        }
        for (i, cell) in cells.iter().enumerate() {
            let lines = by_cell.remove(&Some(i)).unwrap_or_default();
            let last = cell.last_line.min(text.len());
            let source = text.get(cell.first_line.saturating_sub(1)..last).unwrap_or_default();
            let _ = writeln!(out, "<div class=\"cell\" id=\"cell-{i}\">");
            if !cell.title.is_empty() {
                let _ = writeln!(out, "<h3>{}</h3>", esc(&cell.title));
            }
            if cell.markdown {
                out.push_str(&render(&uncommented(source), if cell.title.is_empty() { 2 } else { 3 }));
            } else if source.iter().any(|l| !l.trim().is_empty()) {
                let _ = write!(
                    out,
                    "<details>\n<summary>Code, lines {} to {last}</summary>\n<pre tabindex=\"0\"><code>{}</code></pre>\n</details>\n",
                    cell.first_line,
                    highlighted(source.join("\n").trim_end())
                );
            }
            out.push_str(&self.shown(&lines)?);
            out.push_str("</div>\n");
        }
        Ok(out + "</section>\n")
    }

    /// What a cell printed, did and showed, in order; figures that follow each other stand together.
    fn shown(&mut self, lines: &[&Line]) -> Result<String> {
        let mut out = String::new();
        let mut figures: Vec<&Figure> = Vec::new();
        for line in lines {
            if let Line::Figure(figure) = line {
                figures.push(figure);
                continue;
            }
            // a step that only draws does not part the figures around it
            if !(matches!(line, Line::Step(_)) && lines.iter().filter(|l| matches!(l, Line::Figure(_))).count() > 8) {
                out.push_str(&self.gallery(&std::mem::take(&mut figures))?);
            }
            match line {
                Line::Print(print) => {
                    let _ = writeln!(out, "<pre tabindex=\"0\">{}</pre>", esc(print.text.trim_end()));
                }
                Line::Step(step) => out.push_str(&block(step)),
                Line::Table(table) => out.push_str(&table_html(table)),
                _ => {}
            }
        }
        out.push_str(&self.gallery(&figures)?);
        Ok(out)
    }

    fn gallery(&mut self, figures: &[&Figure]) -> Result<String> {
        if figures.is_empty() {
            return Ok(String::new());
        }
        let mut out = format!("<div class=\"figures{}\">\n", if figures.len() == 1 { ONE } else { "" });
        for figure in figures {
            let source = self.source(figure)?;
            out.push_str(&figure_html(figure, source));
        }
        Ok(out + "</div>\n")
    }
}

fn cell_of(line: &Line) -> Option<usize> {
    match line {
        Line::Step(x) => x.cell,
        Line::Print(x) => x.cell,
        Line::Figure(x) => x.cell,
        Line::Table(x) => x.cell,
        Line::Warning(x) => x.cell,
        _ => None,
    }
}

fn figure_html(figure: &Figure, source: Option<String>) -> String {
    let name = figure.path.rsplit('/').next().unwrap_or_default();
    let caption = if figure.caption.is_empty() { name } else { &figure.caption };
    let alt = if figure.alt.is_empty() { format!("Figure {name}") } else { figure.alt.clone() };
    let Some(source) = source else {
        return format!(
            "<figure>\n<p class=\"missing\">{} is not there any more.</p>\n<figcaption>{}</figcaption>\n</figure>\n",
            esc(name),
            esc(caption)
        );
    };
    let size = if figure.width > 0 && figure.height > 0 {
        format!(" width=\"{}\" height=\"{}\"", figure.width, figure.height)
    } else {
        String::new()
    };
    format!(
        "<figure>\n<a class=\"zoom\" href=\"{}\" data-caption=\"{}\"><img loading=\"lazy\" decoding=\"async\" src=\"{}\" alt=\"{}\"{size}></a>\n\
         <figcaption>{}</figcaption>\n</figure>\n",
        esc(&source),
        esc(caption),
        esc(&source),
        esc(&alt),
        esc(caption)
    )
}

fn block(step: &Step) -> String {
    let mut out = format!("<div class=\"step\" id=\"step-{}\">\n", step.index);
    let line = step.line.map(|l| format!(", line {l}")).unwrap_or_default();
    let _ = writeln!(
        out,
        "<p>{}. <strong>{}</strong> <span class=\"soft\">{}, {}{line}</span> {}</p>",
        step.index,
        esc(&step.verb),
        status_word(step.status),
        seconds(step.usage.wall_s),
        quality(&step.quality)
    );
    let why: Vec<String> = in_words(&step.because).iter().map(|r| esc(r)).collect();
    let why = match step.status {
        Status::Run | Status::Would if why.is_empty() => String::new(),
        Status::Run | Status::Would => format!("<p class=\"soft\">Because: {}.</p>\n", why.join("; ")),
        Status::Skipped => format!(
            "<p class=\"soft\">Not done again: same arguments, inputs and version as in run {}; outputs intact.</p>\n",
            esc(&step.made_by)
        ),
        Status::Restored => {
            format!("<p class=\"soft\">Not done again: outputs of run {} brought back from the store.</p>\n", esc(&step.made_by))
        }
    };
    out.push_str(&why);
    out.push_str("<details>\n<summary>Arguments, files, value</summary>\n");
    out.push_str(&pairs("Arguments", &step.args));
    out.push_str(&files("Read", &step.inputs));
    out.push_str(&files("Written", &step.outputs));
    out.push_str(&pairs("Returned", &step.value));
    let _ = writeln!(
        out,
        "<p class=\"soft\">Key <code>{}</code>, version {} of the verb, {} threads.</p>",
        step.key, step.version, step.threads
    );
    out + "</details>\n</div>\n"
}

/// The leaves of a record by name; long lists by their length.
fn pairs(caption: &str, record: &Value) -> String {
    const LONGEST: usize = 400;
    let show = |v: &Value| {
        let text = if v.is_null() { "none".to_string() } else { value(v) };
        let long = text.chars().count() > LONGEST;
        if long { format!("{} ...", text.chars().take(LONGEST).collect::<String>()) } else { text }
    };
    let all = leaves(record);
    if all.is_empty() || record.is_null() {
        return String::new();
    }
    let name = |n: &str| if n.is_empty() { "value".to_string() } else { esc(n) };
    const MOST: usize = 200;
    let mut rows: String = all
        .iter()
        .take(MOST)
        .map(|(n, v)| format!("<tr><th scope=\"row\"><code>{}</code></th><td class=\"path\">{}</td></tr>\n", name(n), esc(&show(v))))
        .collect();
    if all.len() > MOST {
        let _ = writeln!(rows, "<tr><td colspan=\"2\">and {} more, see the record</td></tr>", all.len() - MOST);
    }
    framed(caption, &format!("<table>\n<caption>{caption}</caption>\n<tbody>\n{rows}</tbody>\n</table>\n"))
}

fn files(caption: &str, files: &[FileLine]) -> String {
    if files.is_empty() {
        return String::new();
    }
    let row = |f: &FileLine| {
        let only = if f.only.is_empty() { String::new() } else { format!(" <span class=\"soft\">only {}</span>", esc(&f.only.join(", "))) };
        let before = f.before.as_ref().map(|b| format!(" <span class=\"soft\">before {}</span>", b.hash.short())).unwrap_or_default();
        let stored = if f.stored { ", kept" } else { "" };
        format!(
            "<tr><td class=\"path\"><code>{}</code>{only}</td><td class=\"n\">{}{stored}</td><td><code>{}</code>{before}</td></tr>\n",
            esc(&f.path),
            bytes(f.state.size),
            f.state.hash.short()
        )
    };
    let rows: String = files.iter().map(row).collect();
    let head = "<thead>\n<tr><th scope=\"col\">Path</th><th scope=\"col\" class=\"n\">Size</th><th scope=\"col\">Hash begins</th></tr>\n</thead>\n";
    framed(caption, &format!("<table>\n<caption>{caption}</caption>\n{head}<tbody>\n{rows}</tbody>\n</table>\n"))
}

fn table_html(table: &Table) -> String {
    let unit = |u: &str| if u.is_empty() { String::new() } else { format!(" <span class=\"unit\">[{}]</span>", esc(u)) };
    let numeric = |i: usize| table.rows.iter().filter_map(|r| r.get(i)).any(Value::is_number);
    let class = |i: usize| if numeric(i) { " class=\"n\"" } else { "" };
    let head: String = table
        .columns
        .iter()
        .enumerate()
        .map(|(i, c)| format!("<th scope=\"col\"{}>{}{}</th>", class(i), esc(&c.name), unit(&c.unit)))
        .collect();
    let cell = |(i, v): (usize, &Value)| match v.as_f64() {
        Some(x) => format!("<td{} data-value=\"{x}\">{}</td>", class(i), if v.is_f64() { number(x) } else { esc(&value(v)) }),
        None => format!("<td{}>{}</td>", class(i), esc(&value(v))),
    };
    let rows: String = table.rows.iter().map(|r| format!("<tr>{}</tr>\n", r.iter().enumerate().map(cell).collect::<String>())).collect();
    let title = if table.title.is_empty() { "Table" } else { &table.title };
    framed(
        title,
        &format!(
            "<table class=\"sorts\">\n<caption>{}</caption>\n<thead>\n<tr>{head}</tr>\n</thead>\n<tbody>\n{rows}</tbody>\n</table>\n",
            esc(title)
        ),
    )
}

/// A table that scrolls sideways in its own frame, which the keyboard reaches.
pub(super) fn framed(label: &str, table: &str) -> String {
    format!("<div class=\"scroll\" role=\"group\" aria-label=\"{}\" tabindex=\"0\">\n{table}</div>\n", esc(label))
}
