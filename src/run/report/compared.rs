//! The page that shows the differences of two runs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::run::diff::{CodeLine, Diff, FigureDiff, Moved};

use super::cells::framed;
use super::html::{esc, href, number, value};
use super::{document, put};

/// Writes `index.html` into `folder`, where [`diff`](crate::run::diff()) put the figures, and gives its path.
pub fn write_diff(diff: &Diff, folder: &Path) -> Result<PathBuf> {
    let path = folder.join("index.html");
    put(&path, document(&format!("Difference of {} and {}", diff.first, diff.second), &body(diff)).as_bytes())?;
    Ok(path)
}

fn body(diff: &Diff) -> String {
    let sections = [
        ("parameters", "Parameters", moved("Parameters", &diff.parameters)),
        ("steps", "Steps", steps(diff)),
        ("numbers", "Numbers", moved("Numbers", &diff.numbers)),
        ("tables", "Tables", moved("Tables", &diff.tables)),
        ("figures", "Figures", diff.figures.iter().map(figure).collect()),
        ("code", "Code", code(&diff.code)),
    ];
    let present: Vec<_> = sections.iter().filter(|(_, _, text)| !text.is_empty()).collect();
    let links: String = present.iter().map(|(id, title, _)| format!("<li><a href=\"#{id}\">{title}</a></li>\n")).collect();
    let mut out = String::from("<a class=\"skip\" href=\"#main\">To the content</a>\n<div class=\"page\">\n");
    let _ =
        write!(out, "<nav class=\"contents\" aria-label=\"Contents\">\n<ul>\n<li><a href=\"#main\">Runs</a></li>\n{links}</ul>\n</nav>\n");
    let _ = write!(
        out,
        "<main id=\"main\">\n<h1>Two runs compared</h1>\n<dl class=\"facts\">\n<div><dt>First</dt><dd>{}</dd></div>\n<div><dt>Second</dt><dd>{}</dd></div>\n</dl>\n",
        esc(&diff.first),
        esc(&diff.second)
    );
    if present.is_empty() {
        out.push_str("<p>No difference.</p>\n");
    }
    for (id, title, text) in present {
        let _ = write!(out, "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{title}</h2>\n{text}</section>\n");
    }
    out + "</main>\n</div>\n"
}

fn moved(title: &str, all: &[Moved]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let show = |v: &Option<serde_json::Value>| v.as_ref().map_or_else(|| "absent".to_string(), value);
    let row = |m: &Moved| {
        let sizes = match (m.difference, m.relative) {
            (Some(d), Some(r)) => {
                format!(
                    "<td class=\"n\" data-value=\"{d}\">{}</td><td class=\"n\" data-value=\"{}\">{:+.3} %</td>",
                    number(d),
                    r.abs(),
                    100.0 * r
                )
            }
            _ => "<td></td><td></td>".to_string(),
        };
        format!(
            "<tr><th scope=\"row\">{}</th><td class=\"path\">{}</td><td class=\"path\">{}</td>{sizes}</tr>\n",
            esc(&m.name),
            esc(&show(&m.was)),
            esc(&show(&m.is))
        )
    };
    let rows: String = all.iter().map(row).collect();
    let head = "<thead>\n<tr><th scope=\"col\">Name</th><th scope=\"col\">First</th><th scope=\"col\">Second</th>\
                <th scope=\"col\" class=\"n\">Difference</th><th scope=\"col\" class=\"n\">Relative</th></tr>\n</thead>\n";
    framed(title, &format!("<table class=\"sorts\">\n{head}<tbody>\n{rows}</tbody>\n</table>\n"))
}

fn steps(diff: &Diff) -> String {
    let item = |s: &crate::run::diff::StepDiff| {
        let line = s.line.map(|l| format!(" <span class=\"soft\">line {l}</span>")).unwrap_or_default();
        format!("<li><strong>{}</strong>{line}: {}</li>\n", esc(&s.verb), esc(&s.what.join("; ")))
    };
    let items: String = diff.steps.iter().map(item).collect();
    if items.is_empty() { items } else { format!("<ul>\n{items}</ul>\n") }
}

fn figure(f: &FigureDiff) -> String {
    let mut out = format!("<h3>{}</h3>\n<p>{}</p>\n<div class=\"figures\">\n", esc(&f.name), esc(&f.note));
    let size = if f.width > 0 { format!(" width=\"{}\" height=\"{}\"", f.width, f.height) } else { String::new() };
    let note = format!("Difference: {}", f.note);
    let all =
        [(&f.first, "First", f.alt[0].as_str()), (&f.second, "Second", f.alt[1].as_str()), (&f.difference, "Difference", note.as_str())];
    for (file, title, alt) in all {
        if let Some(file) = file {
            let alt = if alt.is_empty() { f.name.as_str() } else { alt };
            let _ = write!(
                out,
                "<figure>\n<img loading=\"lazy\" decoding=\"async\" src=\"{}\" alt=\"{}\"{size}>\n<figcaption>{title}</figcaption>\n</figure>\n",
                esc(&href(file)),
                esc(alt)
            );
        }
    }
    out + "</div>\n"
}

fn code(lines: &[CodeLine]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let show = |l: &CodeLine| match l.mark {
        '+' => format!("<span class=\"add\">+ {}</span>\n", esc(&l.text)),
        '-' => format!("<span class=\"del\">- {}</span>\n", esc(&l.text)),
        '@' => "...\n".to_string(),
        _ => format!("  {}\n", esc(&l.text)),
    };
    format!("<pre tabindex=\"0\">{}</pre>\n", lines.iter().map(show).collect::<String>())
}
