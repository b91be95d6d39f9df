//! All verbs, and the help printed from them.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::options::{nearest, show_default};

use super::verb::{OVERWRITE, Verb};
use super::verbs;

/// All verbs, by group and then in the order of their declaration.
pub fn all() -> impl Iterator<Item = &'static Verb> {
    verbs::GROUPS.iter().flat_map(|group| group.iter().copied())
}

/// A verb by name, or an error that names the nearest.
pub fn find(name: &str) -> Result<&'static Verb> {
    all().find(|v| v.name == name).ok_or_else(|| {
        let near = nearest(name, all().map(|v| v.name)).and_then(|n| all().find(|v| v.name == n));
        let error = Error::user(match near {
            Some(v) => format!("there is no verb `{name}`; did you mean `{}`?", v.name),
            None => format!("there is no verb `{name}`"),
        });
        error.hint(near.map_or("`phangs-script verbs` lists them".into(), |v| format!("{}: {}", v.signature(), v.summary)))
    })
}

/// One line a verb, by group.
pub fn list() -> String {
    let mut out = String::new();
    let mut group = "";
    let width = all().map(|v| v.name.len()).max().unwrap_or(0);
    for verb in all() {
        if verb.group != group {
            group = verb.group;
            out.push_str(&format!("{}{group}\n", if out.is_empty() { "" } else { "\n" }));
        }
        out.push_str(&format!("  {:width$}  {}\n", verb.name, verb.summary));
    }
    out
}

/// The list of verbs with links to their pages, in Markdown.
pub fn index() -> String {
    let mut out =
        String::from("# Verbs\n\nPrinted from the catalogue by `UPDATE_DOCS=1 cargo test --release --test suite docs`; do not edit.\n");
    let mut group = "";
    for verb in all() {
        if verb.group != group {
            group = verb.group;
            out.push_str(&format!("\n## {group}\n\n"));
        }
        out.push_str(&format!("- [`{}`]({}.md): {}\n", verb.signature(), verb.name, verb.summary));
    }
    out
}

/// The help page of a verb, in Markdown.
pub fn page(verb: &Verb) -> String {
    let mut out = format!("# {}\n\n{}\n\n```rhai\n{}\n```\n", verb.name, verb.summary, verb.signature());
    if !verb.details.is_empty() {
        out.push_str(&format!("\n{}\n", verb.details.trim()));
    }
    if !verb.inputs.is_empty() {
        out.push_str("\n## Inputs\n\n");
        for i in verb.inputs {
            out.push_str(&format!(
                "- `{}` ({}{}): {}\n",
                i.name,
                i.kind.describe(),
                if i.optional { ", may be left out" } else { "" },
                i.doc
            ));
        }
    }
    if verb.takes_options() {
        out.push_str("\n## Options\n\n| option | unit | default | meaning |\n|---|---|---|---|\n");
        let defaults = (verb.defaults)();
        for p in verb.options.iter().copied().flatten() {
            let unit = if p.unit.is_empty() { "" } else { p.unit };
            out.push_str(&format!(
                "| `{}` | {unit} | {} | {} |\n",
                p.name,
                show_option(defaults.get(p.name)),
                p.doc.trim().replace('|', "\\|")
            ));
        }
        if verb.effects.writes_files() {
            out.push_str(&format!("| `{OVERWRITE}` |  | `false` | Replaces a file that this project did not write. |\n"));
        }
    }
    out.push_str(&format!("\n## Returns\n\n{}\n\n## Effects\n\n{}.\n", verb.returns, sentence(verb.effects.describe())));
    if !verb.examples.is_empty() {
        out.push_str("\n## Examples\n");
        for e in verb.examples {
            out.push_str(&format!("\n{}\n\n```rhai\n{}\n// {}\n```\n", e.title, e.script.trim(), e.result.replace('\n', "\n// ")));
        }
    }
    if !verb.see.is_empty() {
        out.push_str(&format!("\n## Reference\n\n{}\n", verb.see));
    }
    out.push_str(&format!("\nVersion {}.\n", verb.version));
    out
}

fn show_option(value: Option<&Value>) -> String {
    format!("`{}`", show_default(value))
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}

/// Definitions for the Rhai language server: one declaration a verb, with its summary.
pub fn definitions() -> String {
    let mut out = String::from("module static;\n");
    for verb in all() {
        let args: Vec<String> =
            verb.inputs.iter().map(|i| format!("{}: ?", i.name)).chain(verb.takes_options().then(|| "options: Map".into())).collect();
        out.push_str(&format!("\n/// {}\nfn {}({}) -> ?;\n", verb.summary, verb.name, args.join(", ")));
    }
    out
}
