//! The report of a run: one page that needs no network, no server and no script to be read.

mod cells;
mod code;
mod compared;
mod digest;
mod html;
mod markdown;
mod sections;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::run::hash::Hash;
use crate::run::record::{Figure, Run};
use crate::run::store::Store;

use digest::{base64, sha256};
use html::{esc, href};

pub use compared::write_diff;

/// Name of the folder in the plots folder.
pub const FOLDER: &str = "report";
/// A report in one file is refused above this size.
pub const SINGLE_LIMIT: u64 = 40_000_000;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// How a report is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `report/index.html` that links the figures of the plots folder.
    Folder,
    /// `report.html` with the figures inside.
    Single,
}

/// Writes the report of `run`, whose figures and record are in `plots`, and gives its path.
///
/// Figures that were replaced since are taken from `store` if it has them. The page appears whole.
pub fn write(run: &Run, root: &Path, plots: &Path, store: Option<&Store>, form: Form) -> Result<PathBuf> {
    let mut page = Page { run, root, plots, store, form, copied: BTreeMap::new(), inside: 0 };
    let body = page.body()?;
    let title = if run.start.title.is_empty() { run.start.script.as_str() } else { run.start.title.as_str() };
    let text = document(title, &body);
    let path = match form {
        Form::Folder => plots.join(FOLDER).join("index.html"),
        Form::Single => plots.join("report.html"),
    };
    put(&path, text.as_bytes())?;
    Ok(path)
}

/// A page under construction.
struct Page<'a> {
    run: &'a Run,
    root: &'a Path,
    plots: &'a Path,
    store: Option<&'a Store>,
    form: Form,
    /// Figures that were copied into the report, by the path they had.
    copied: BTreeMap<String, String>,
    /// Bytes of figures inside the page.
    inside: u64,
}

impl Page<'_> {
    /// Where the page finds a figure; `None` if its bytes are gone.
    fn source(&mut self, figure: &Figure) -> Result<Option<String>> {
        if let Some(known) = self.copied.get(&figure.path) {
            return Ok(Some(known.clone()));
        }
        let path = self.root.join(&figure.path);
        let on_disk = std::fs::read(&path).ok().filter(|bytes| figure.hash.is_none_or(|h| Hash::of(bytes) == h));
        let in_plots = path.strip_prefix(self.plots).ok().filter(|_| on_disk.is_some() && self.form == Form::Folder);
        if let Some(inside) = in_plots {
            return Ok(Some(href(&format!("../{}", inside.to_string_lossy()))));
        }
        let bytes = on_disk.or_else(|| figure.hash.and_then(|h| self.store.and_then(|s| s.get(&h))));
        let Some(bytes) = bytes else { return Ok(None) };
        let source = match self.form {
            Form::Single => self.embedded(&figure.path, &bytes)?,
            Form::Folder => self.copy(&figure.path, &bytes)?,
        };
        self.copied.insert(figure.path.clone(), source.clone());
        Ok(Some(source))
    }

    fn embedded(&mut self, path: &str, bytes: &[u8]) -> Result<String> {
        self.inside += bytes.len() as u64 * 4 / 3;
        if self.inside > SINGLE_LIMIT {
            let message =
                format!("the figures do not fit in one file: more than {} of {}", html::bytes(self.inside), html::bytes(SINGLE_LIMIT));
            return Err(Error::user(message).hint("leave out --single: the report is then a folder that links its figures"));
        }
        Ok(format!("data:{};base64,{}", media_type(path), base64(bytes)))
    }

    fn copy(&self, path: &str, bytes: &[u8]) -> Result<String> {
        let name = Path::new(path).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let file = format!("figures/{}-{name}", Hash::of(bytes).short());
        put(&self.plots.join(FOLDER).join(&file), bytes)?;
        Ok(href(&file))
    }
}

fn media_type(path: &str) -> &'static str {
    match Path::new(path).extension().map(|x| x.to_string_lossy().to_lowercase()).as_deref() {
        Some("svg") => "image/svg+xml",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("webp") => "image/webp",
        _ => "image/png",
    }
}

/// A whole document. Style and script stand inside and are allowed by their digests; nothing else may run or load, and
/// pictures only from beside the page or from inside it.
fn document(title: &str, body: &str) -> String {
    let allowed = |text: &str| format!("'sha256-{}'", base64(&sha256(text.as_bytes())));
    let policy = format!(
        "default-src 'none'; img-src 'self' file: data:; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        allowed(STYLE),
        allowed(SCRIPT)
    );
    let mut out = String::with_capacity(body.len() + 20_000);
    let short: String = title.chars().take(60).collect();
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}<script>{SCRIPT}</script>\n</body>\n</html>\n",
        esc(&short)
    );
    out
}

/// Writes a file so that it appears whole.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    crate::run::store::create_parent(path)?;
    let partial = crate::run::store::partial_of(path);
    let written = std::fs::write(&partial, bytes).and_then(|()| std::fs::rename(&partial, path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&partial);
        Error::io("write the report", path, e)
    })
}

#[cfg(test)]
mod tests;
