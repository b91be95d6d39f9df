//! The parts of the page: head, warnings, stages, files, how to reproduce.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::error::Result;
use crate::run::memo::How;
use crate::run::record::{FileLine, Line, Mark, Outcome, Quality, Status, Step};

use super::Page;
use super::html::{bytes, esc, seconds, shell_word, value};

/// The dialog in which figures open large; the script fills it.
const VIEWER: &str = "<dialog id=\"viewer\" aria-label=\"Figure\">\n<div class=\"viewer\">\n<header>\n<p></p>\n\
<button type=\"button\" data-do=\"back\">Previous</button>\n<button type=\"button\" data-do=\"on\">Next</button>\n\
<button type=\"button\" data-do=\"size\">Full size</button>\n<button type=\"button\" data-do=\"close\">Close</button>\n</header>\n\
<div tabindex=\"0\" role=\"group\" aria-label=\"Picture\"><img src=\"data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==\" alt=\"\"></div>\n\
</div>\n</dialog>\n";

impl Page<'_> {
    pub(super) fn body(&mut self) -> Result<String> {
        let notebook = self.notebook()?;
        let mut out = String::new();
        out.push_str("<a class=\"skip\" href=\"#main\">To the content</a>\n<div class=\"page\">\n");
        out.push_str(&self.contents());
        out.push_str("<main id=\"main\">\n");
        out.push_str(&self.head());
        out.push_str(&self.failure());
        out.push_str(&self.warnings());
        out.push_str(&self.stages());
        out.push_str(&notebook);
        out.push_str(&self.files());
        out.push_str(&self.reproduce());
        let _ = writeln!(
            out,
            "<footer>Made by phangs-script {} from the record of run {}.</footer>",
            env!("CARGO_PKG_VERSION"),
            esc(&self.run.start.run)
        );
        out.push_str("</main>\n</div>\n");
        if self.run.figures().next().is_some() {
            out.push_str(VIEWER);
        }
        Ok(out)
    }

    fn contents(&self) -> String {
        let mut out = String::from("<nav class=\"contents\" aria-label=\"Contents\">\n<ul>\n");
        if self.has_warnings() {
            out.push_str("<li><a href=\"#warnings\">Warnings</a></li>\n");
        }
        if self.run.steps().next().is_some() {
            out.push_str("<li><a href=\"#stages\">Stages</a></li>\n");
        }
        out.push_str("<li><a href=\"#notebook\">Notebook</a>");
        let titled: Vec<String> =
            self.titled_cells().iter().map(|(i, t)| format!("<li><a href=\"#cell-{i}\">{}</a></li>\n", esc(t))).collect();
        if !titled.is_empty() {
            let _ = write!(out, "\n<ul>\n{}</ul>\n", titled.concat());
        }
        out.push_str(
            "</li>\n<li><a href=\"#files\">Inputs and outputs</a></li>\n<li><a href=\"#reproduce\">Reproduce</a></li>\n</ul>\n</nav>\n",
        );
        out
    }

    fn head(&self) -> String {
        let start = &self.run.start;
        let title = if start.title.is_empty() { &start.script } else { &start.title };
        let mut facts = vec![
            ("Script", format!("<code>{}</code>", esc(if start.file.is_empty() { &start.script } else { &start.file }))),
            ("Run", esc(&start.run)),
            ("Started", esc(&time(&start.time))),
        ];
        if let Some(end) = &self.run.end {
            facts.push(("Took", seconds(end.usage.wall_s)));
            facts.push(("Steps", steps_in_words(end.steps_run, end.steps_skipped, end.steps_restored)));
        }
        let facts: String = facts.iter().map(|(name, text)| format!("<div><dt>{name}</dt><dd>{text}</dd></div>\n")).collect();
        let (mark, word) = outcome(self.run.outcome());
        format!("<header>\n<h1>{}</h1>\n<p>{}</p>\n<dl class=\"facts\">\n{facts}</dl>\n</header>\n", esc(title), badge(mark, word))
    }

    fn failure(&self) -> String {
        let Some(error) = self.run.end.as_ref().and_then(|e| e.error.as_ref()) else {
            return if self.run.end.is_some() {
                String::new()
            } else {
                "<div class=\"note look\"><p>The run has no end in the record: it was stopped from outside, or still runs.</p></div>\n"
                    .into()
            };
        };
        let mut out =
            format!("<section class=\"note bad\" aria-label=\"Error\">\n<p><strong>Stopped:</strong> {}</p>\n", esc(&error.message));
        if let Some(hint) = &error.hint {
            let _ = writeln!(out, "<p>Hint: {}</p>", esc(hint));
        }
        if let Some(line) = error.line {
            let source = self.run.script.as_ref().and_then(|s| s.text.lines().nth(line.saturating_sub(1)));
            let _ = writeln!(out, "<p>Line {line}: <code>{}</code></p>", esc(source.unwrap_or_default().trim()));
        }
        out + "</section>\n"
    }

    fn has_warnings(&self) -> bool {
        self.run.steps().any(|s| !s.warnings.is_empty() || s.quality.mark != Mark::Good)
            || self.run.lines.iter().any(|l| matches!(l, Line::Warning(_)))
    }

    fn warnings(&self) -> String {
        if !self.has_warnings() {
            return String::new();
        }
        let mut out = String::from("<section aria-labelledby=\"warnings\">\n<h2 id=\"warnings\">Warnings</h2>\n<ul class=\"notes\">\n");
        let mut steps: Vec<&Step> = self.run.steps().collect();
        steps.sort_by_key(|s| std::cmp::Reverse(s.quality.mark));
        for step in steps {
            let place = format!("<a href=\"#step-{}\">{} {}</a>", step.index, step.index, esc(&step.verb));
            if step.quality.mark == Mark::Bad || (step.quality.mark == Mark::Look && step.warnings.is_empty()) {
                let (class, word) = mark_words(step.quality.mark);
                let _ =
                    writeln!(out, "<li class=\"note {class}\"><p>{} {place}: {}</p></li>", badge(class, word), esc(&step.quality.reason));
            }
            for w in &step.warnings {
                out.push_str(&warning(w, &format!("{place}: ")));
            }
        }
        for line in &self.run.lines {
            if let Line::Warning(remark) = line {
                out.push_str(&warning(&remark.warning, ""));
            }
        }
        out + "</ul>\n</section>\n"
    }

    fn stages(&self) -> String {
        let steps: Vec<&Step> = self.run.steps().collect();
        if steps.is_empty() {
            return String::new();
        }
        let longest = steps.iter().map(|s| s.usage.wall_s).fold(1e-9, f64::max);
        let rows: String = steps.iter().map(|s| stage_row(s, longest)).collect();
        format!(
            "<section aria-labelledby=\"stages\">\n<h2 id=\"stages\">Stages</h2>\n\
             <div class=\"scroll\" role=\"group\" aria-label=\"Stages\" tabindex=\"0\">\n<table class=\"sorts\">\n<thead>\n<tr><th scope=\"col\" class=\"n\">No.</th>\
             <th scope=\"col\">Stage</th><th scope=\"col\">Quality</th><th scope=\"col\">Reason</th><th scope=\"col\">Status</th>\
             <th scope=\"col\" class=\"n\">Time</th><th scope=\"col\" class=\"n\">Processor</th>\
             <th scope=\"col\" class=\"n\">Peak memory</th></tr>\n</thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n\
             <p class=\"soft\">Times and memory of a step that was not done again are those of the run that did it.</p>\n</section>\n"
        )
    }

    fn files(&self) -> String {
        let mut rows: Vec<(String, &'static str, &FileLine, Vec<usize>)> = Vec::new();
        let mut place: BTreeMap<(&str, String), usize> = BTreeMap::new();
        for step in self.run.steps() {
            let inputs = step.inputs.iter().map(|f| ("input", f));
            for (role, file) in inputs.chain(step.outputs.iter().map(|f| ("output", f))) {
                let id = (file.path.as_str(), file.state.hash.to_string());
                match place.get(&id) {
                    Some(i) => {
                        let row = &mut rows[*i];
                        if role == "output" {
                            row.1 = role;
                        }
                        if !row.3.contains(&step.index) {
                            row.3.push(step.index);
                        }
                    }
                    None => {
                        place.insert(id, rows.len());
                        rows.push((file.path.clone(), role, file, vec![step.index]));
                    }
                }
            }
        }
        let mut out = String::from("<section aria-labelledby=\"files\">\n<h2 id=\"files\">Inputs and outputs</h2>\n");
        if rows.is_empty() {
            return out + "<p>No step read or wrote a file.</p>\n</section>\n";
        }
        out.push_str(
            "<p>Hashes are BLAKE3 over the content; of a plain file that is what <code>b3sum</code> prints.</p>\n\
             <div class=\"scroll\" role=\"group\" aria-label=\"Inputs and outputs\" tabindex=\"0\">\n<table class=\"sorts\">\n<thead>\n<tr>\
             <th scope=\"col\">Path</th><th scope=\"col\">Role</th><th scope=\"col\">Kind</th><th scope=\"col\" class=\"n\">Size</th>\
             <th scope=\"col\">Hash</th><th scope=\"col\">Hash taken</th><th scope=\"col\">Steps</th></tr>\n</thead>\n<tbody>\n",
        );
        for (path, role, file, steps) in rows {
            let links: Vec<String> = steps.iter().map(|i| format!("<a href=\"#step-{i}\">{i}</a>")).collect();
            let _ = writeln!(
                out,
                "<tr><td class=\"path\"><code>{}</code></td><td>{role}</td><td>{}</td><td class=\"n\" data-value=\"{}\">{}</td>\
                 <td class=\"hash\"><code>{}</code></td><td>{}</td><td>{}</td></tr>",
                esc(&path),
                esc(&file.state.kind),
                file.state.size,
                bytes(file.state.size),
                file.state.hash,
                how_in_words(file.state.how),
                links.join(" ")
            );
        }
        out + "</tbody>\n</table>\n</div>\n</section>\n"
    }

    fn reproduce(&self) -> String {
        let start = &self.run.start;
        let command = start.command.iter().map(|w| shell_word(w)).collect::<Vec<_>>().join(" ");
        let mut out = String::from("<section aria-labelledby=\"reproduce\">\n<h2 id=\"reproduce\">Reproduce</h2>\n");
        if !command.is_empty() {
            let _ = write!(out, "<p>In the project&#39;s folder:</p>\n<pre tabindex=\"0\">{}\n", esc(&command));
            let plots = crate::run::key::name_of(self.plots, self.root);
            let _ = writeln!(out, "phangs-script check {}</pre>", esc(&shell_word(&plots)));
        }
        out.push_str(&self.parameters());
        let machine = &start.machine;
        let mut facts: Vec<(String, String)> = Vec::new();
        facts.extend(start.versions.iter().map(|(name, v)| (format!("Version of {name}"), value(v))));
        let more = [
            ("Build", start.build.clone()),
            ("Script hash", start.script_hash.map(|h| h.to_string()).unwrap_or_default()),
            ("Threads", start.threads.to_string()),
            ("Seed", start.seed.map(|s| s.to_string()).unwrap_or_default()),
            ("System", machine.system.clone()),
            ("Processor", format!("{} ({} cores)", machine.processor, machine.cores)),
            ("Memory", bytes(machine.memory_bytes)),
        ];
        facts.extend(more.into_iter().map(|(n, v)| (n.to_string(), v)));
        facts.extend(start.modules.iter().map(|m| (format!("Module {}", m.path), m.state.hash.to_string())));
        if let Some(end) = &self.run.end {
            facts.push(("Processor time of the run".into(), seconds(end.usage.cpu_s)));
        }
        facts.push(("Time on keys and hashes".into(), seconds(self.run.steps().map(|s| s.overhead_s).sum())));
        let rows: String = facts
            .iter()
            .filter(|(_, v)| !v.is_empty())
            .map(|(n, v)| format!("<tr><th scope=\"row\">{}</th><td class=\"path\">{}</td></tr>\n", esc(n), esc(v)))
            .collect();
        let _ = write!(
            out,
            "<div class=\"scroll\" role=\"group\" aria-label=\"Program and machine\" tabindex=\"0\">\n<table>\n<caption>Program and machine</caption>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n</section>\n"
        );
        out
    }

    fn parameters(&self) -> String {
        let parameters = &self.run.start.parameters;
        if parameters.is_empty() {
            return String::new();
        }
        let row = |p: &crate::run::record::Parameter| {
            format!(
                "<tr><th scope=\"row\"><code>{}</code></th><td class=\"path\">{}</td><td>{}</td><td class=\"path\">{}</td><td>{}</td><td>{}</td></tr>\n",
                esc(&p.name),
                esc(&value(&p.value)),
                esc(&p.unit),
                esc(&value(&p.default)),
                if p.given { "given" } else { "default" },
                esc(&p.help)
            )
        };
        let rows: String = parameters.iter().map(row).collect();
        format!(
            "<div class=\"scroll\" role=\"group\" aria-label=\"Parameters\" tabindex=\"0\">\n<table class=\"sorts\">\n<caption>Parameters</caption>\n<thead>\n<tr>\
             <th scope=\"col\">Name</th><th scope=\"col\">Value</th><th scope=\"col\">Unit</th><th scope=\"col\">Default</th><th scope=\"col\">Source</th>\
             <th scope=\"col\">Meaning</th></tr>\n</thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n"
        )
    }
}

fn stage_row(s: &Step, longest: f64) -> String {
    let (class, word) = mark_words(s.quality.mark);
    let width = (60.0 * s.usage.wall_s / longest).max(1.0);
    let bar = format!(
        "<svg class=\"bars\" width=\"60\" height=\"10\" aria-hidden=\"true\"><rect x=\"{:.1}\" width=\"{width:.1}\" height=\"10\"/></svg>",
        60.0 - width
    );
    format!(
        "<tr><td class=\"n\">{0}</td><td><a href=\"#step-{0}\">{1}</a></td><td data-value=\"{2}\">{3}</td><td class=\"reason\">{4}</td><td>{5}</td>\
         <td class=\"n\" data-value=\"{6:.6}\">{bar} {7}</td><td class=\"n\" data-value=\"{8:.6}\">{9}</td><td class=\"n\" data-value=\"{10}\">{11}</td></tr>\n",
        s.index,
        esc(&s.verb),
        s.quality.mark as u8,
        badge(class, word),
        if s.quality.reason.is_empty() { "no warnings".to_string() } else { esc(&s.quality.reason) },
        status_word(s.status),
        s.usage.wall_s,
        seconds(s.usage.wall_s),
        s.usage.cpu_s,
        seconds(s.usage.cpu_s),
        s.usage.peak_bytes,
        bytes(s.usage.peak_bytes),
    )
}

fn warning(w: &crate::notice::Warning, place: &str) -> String {
    let hint = w.hint.as_ref().map(|h| format!("<p>Hint: {}</p>", esc(h))).unwrap_or_default();
    format!("<li class=\"note look\"><p>{} {place}{}</p>{hint}</li>\n", badge("look", &w.name), esc(&w.message))
}

/// A mark: a sign and a word, so that it does not need its colour.
pub(super) fn badge(class: &str, word: &str) -> String {
    let sign = match class {
        "good" => "\u{2713}",
        "look" => "!",
        _ => "\u{2715}",
    };
    format!("<span class=\"mark {class}\"><span aria-hidden=\"true\">{sign}</span> {}</span>", esc(word))
}

pub(super) fn mark_words(mark: Mark) -> (&'static str, &'static str) {
    match mark {
        Mark::Good => ("good", "good"),
        Mark::Look => ("look", "look"),
        Mark::Bad => ("bad", "bad"),
    }
}

pub(super) fn quality(q: &Quality) -> String {
    let (class, word) = mark_words(q.mark);
    let reason = if q.reason.is_empty() { String::new() } else { format!(" {}", esc(&q.reason)) };
    format!("{}{reason}", badge(class, word))
}

pub(super) fn status_word(status: Status) -> &'static str {
    match status {
        Status::Run => "run",
        Status::Skipped => "skipped",
        Status::Restored => "restored",
        Status::Would => "would run",
    }
}

pub(super) fn how_in_words(how: How) -> &'static str {
    match how {
        How::Read => "all bytes read",
        How::Memo => "unchanged since read",
    }
}

fn outcome(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Done => ("good", "done"),
        Outcome::Check => ("bad", "an assertion does not hold"),
        Outcome::Failed => ("bad", "failed"),
        Outcome::Interrupted => ("look", "interrupted"),
        Outcome::Unfinished => ("look", "unfinished"),
    }
}

fn steps_in_words(run: usize, skipped: usize, restored: usize) -> String {
    let restored = if restored > 0 { format!(", {restored} restored") } else { String::new() };
    format!("{run} run, {skipped} skipped{restored}")
}

/// `2026-02-14T10:15:30.123Z` as `2026-02-14 10:15:30 UTC`.
fn time(text: &str) -> String {
    match text.get(..19) {
        Some(head) if text.ends_with('Z') => format!("{} UTC", head.replace('T', " ")),
        _ => text.to_string(),
    }
}
