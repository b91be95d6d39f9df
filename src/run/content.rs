//! What counts as the content of a path: its parts, how their bytes are read, and what is outside the hash.
//!
//! A plain file is its bytes. A plain folder is a sorted manifest of relative path, size and hash. Rooms that know a format
//! better implement [`Content`] and are added to the [`Registry`]: a MeasurementSet by subtable and data-manager file without
//! lock and HISTORY, a FITS file without HISTORY and DATE cards.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::notice::Reporter;
use crate::run::hash::{Hash, Hasher};
use crate::run::memo::{How, Memo, ReadFn};

/// A kind of content: recognises a path and names its parts.
pub trait Content: Send + Sync {
    /// Short name, for example `file`, `folder`, `fits`, `ms`; it is part of the hash of everything but a plain file.
    fn kind(&self) -> &'static str;
    /// True if `path`, which exists, is of this kind.
    fn recognises(&self, path: &Path) -> bool;
    /// The parts of `path`; their names are unique, their order does not matter.
    fn parts(&self, path: &Path) -> Result<Vec<Part>>;
}

/// One part of a content: what is named when it differs.
pub struct Part {
    /// Name within the content, for example `SPECTRAL_WINDOW` or `table.f3 (DATA)`; empty for a plain file.
    pub name: String,
    /// What a reader asks for to get this part, for example column names; a part without labels belongs to every reading.
    pub labels: Vec<String>,
    /// Its pieces, hashed in this order.
    pub pieces: Vec<Piece>,
}

impl Part {
    /// A part of one piece that every reading includes.
    pub fn new(name: impl Into<String>, source: Source) -> Part {
        let name = name.into();
        Part { pieces: vec![Piece { name: name.clone(), source }], name, labels: Vec::new() }
    }
    /// Adds a label.
    pub fn label(mut self, label: impl Into<String>) -> Part {
        self.labels.push(label.into());
        self
    }
}

/// A named run of bytes.
pub struct Piece {
    /// Name within the part.
    pub name: String,
    /// Where its bytes come from.
    pub source: Source,
}

/// Where bytes come from.
pub enum Source {
    /// All bytes of a file.
    File(PathBuf),
    /// What a function makes of a file; remembered by the stamp of `file` under `tag`.
    Reading {
        /// The file whose stamp guards the memo.
        file: PathBuf,
        /// Names the way of reading and its version: another tag is another reading.
        tag: String,
        /// Hands over the bytes.
        read: Arc<ReadFn>,
    },
    /// Bytes at hand.
    Bytes(Vec<u8>),
}

/// The state of a path: the hash of its content and of every part.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct State {
    /// Kind of content.
    pub kind: String,
    /// Hash of the whole content.
    pub hash: Hash,
    /// Bytes that went into it.
    pub size: u64,
    /// How the hash was obtained.
    pub how: How,
    /// Parts by name; empty for a plain file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, PartState>,
}

/// The state of one part.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PartState {
    /// Hash of its bytes.
    pub hash: Hash,
    /// Its size in bytes.
    pub size: u64,
    /// What readers ask for to get it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

impl State {
    /// The hash of what a reader of the parts labelled `only` sees; of everything where `only` is empty.
    ///
    /// A label that no part carries changes nothing: a column that is absent is part of the table's description.
    pub fn seen_by(&self, only: &[String]) -> Hash {
        if only.is_empty() || self.parts.is_empty() {
            return self.hash;
        }
        let seen = self.parts.iter().filter(|(_, p)| is_seen(&p.labels, only));
        manifest(&self.kind, seen.map(|(name, p)| (name.as_str(), p.size, p.hash)))
    }

    /// The parts in which `self` and `other` differ, among those that a reader of `only` sees.
    pub fn differing(&self, other: &State, only: &[String]) -> Vec<String> {
        let names: std::collections::BTreeSet<&String> = self.parts.keys().chain(other.parts.keys()).collect();
        let differs = |name: &&String| {
            let (a, b) = (self.parts.get(*name), other.parts.get(*name));
            let seen = only.is_empty() || a.or(b).is_some_and(|p| is_seen(&p.labels, only));
            seen && a.map(|p| p.hash) != b.map(|p| p.hash)
        };
        names.into_iter().filter(differs).cloned().collect()
    }
}

fn is_seen(labels: &[String], only: &[String]) -> bool {
    labels.is_empty() || labels.iter().any(|l| only.contains(l))
}

fn manifest<'a>(kind: &str, parts: impl Iterator<Item = (&'a str, u64, Hash)>) -> Hash {
    let mut hasher = Hasher::new();
    hasher.update(format!("{kind}\n").as_bytes());
    parts.for_each(|(name, size, hash)| hasher.update(format!("{name}\t{size}\t{hash}\n").as_bytes()));
    hasher.finish()
}

/// How a state is taken.
#[derive(Debug, Clone, Copy, Default)]
pub struct Looking {
    /// Read every byte, whatever the memo says.
    pub fresh: bool,
    /// This program wrote the path just now; see [`memo`](crate::run::memo).
    pub own: bool,
}

/// The kinds of content known to a session; the first that recognises a path has it.
pub struct Registry(Vec<Box<dyn Content>>);

impl Default for Registry {
    fn default() -> Registry {
        Registry(vec![Box::new(PlainFolder), Box::new(PlainFile)])
    }
}

impl Registry {
    /// Puts `content` before those that are there.
    pub fn with(mut self, content: impl Content + 'static) -> Registry {
        self.0.insert(0, Box::new(content));
        self
    }

    fn pick(&self, path: &Path) -> Result<&dyn Content> {
        std::fs::metadata(path).map_err(|e| Error::io("read", path, e))?;
        let found = self.0.iter().find(|c| c.recognises(path));
        found.map(|c| c.as_ref()).ok_or_else(|| Error::data("neither a file nor a folder, so it has no content to hash").at(path))
    }

    /// The state of `path`; pieces are hashed in parallel.
    pub fn state(&self, path: &Path, memo: &Memo, looking: Looking, notice: &dyn Reporter) -> Result<State> {
        let content = self.pick(path)?;
        let parts = content.parts(path)?;
        let jobs: Vec<(usize, &Piece)> = parts.iter().enumerate().flat_map(|(i, p)| p.pieces.iter().map(move |piece| (i, piece))).collect();
        let done: Vec<(Hash, u64, How)> =
            jobs.par_iter().map(|(_, piece)| hash_piece(piece, content.kind(), memo, looking, notice)).collect::<Result<_>>()?;
        memo.save();
        let mut per_part: Vec<Vec<(&str, u64, Hash)>> = parts.iter().map(|_| Vec::new()).collect();
        let mut how = How::Memo;
        for ((i, piece), (hash, size, piece_how)) in jobs.iter().zip(&done) {
            per_part[*i].push((&piece.name, *size, *hash));
            how = how.and(*piece_how);
        }
        Ok(assemble(content.kind(), &parts, per_part, how))
    }
}

fn assemble(kind: &str, parts: &[Part], pieces: Vec<Vec<(&str, u64, Hash)>>, how: How) -> State {
    let mut states = BTreeMap::new();
    for (part, pieces) in parts.iter().zip(pieces) {
        let size = pieces.iter().map(|(_, size, _)| size).sum();
        let hash = match pieces.as_slice() {
            [(_, _, hash)] => *hash,
            many => manifest(&part.name, many.iter().copied()),
        };
        states.insert(part.name.clone(), PartState { hash, size, labels: part.labels.clone() });
    }
    let size = states.values().map(|p| p.size).sum();
    if let (1, Some(only)) = (states.len(), states.get("")) {
        return State { kind: kind.to_string(), hash: only.hash, size, how, parts: BTreeMap::new() };
    }
    let hash = manifest(kind, states.iter().map(|(name, p)| (name.as_str(), p.size, p.hash)));
    State { kind: kind.to_string(), hash, size, how, parts: states }
}

fn hash_piece(piece: &Piece, kind: &str, memo: &Memo, looking: Looking, notice: &dyn Reporter) -> Result<(Hash, u64, How)> {
    match &piece.source {
        Source::Bytes(bytes) => Ok((Hash::of(bytes), bytes.len() as u64, How::Memo)),
        Source::File(path) => memo.hash(path, 0, looking.own, looking.fresh, notice, None),
        Source::Reading { file, tag, read } => {
            let tag = Hash::of(format!("{kind}\n{tag}").as_bytes());
            let tag = tag.bytes()[..8].iter().fold(0u64, |sum, b| sum << 8 | u64::from(*b)) | 1;
            memo.hash(file, tag, looking.own, looking.fresh, notice, Some(read.as_ref()))
        }
    }
}

/// A plain file: all its bytes.
pub struct PlainFile;

impl Content for PlainFile {
    fn kind(&self) -> &'static str {
        "file"
    }
    fn recognises(&self, path: &Path) -> bool {
        path.is_file()
    }
    fn parts(&self, path: &Path) -> Result<Vec<Part>> {
        Ok(vec![Part::new("", Source::File(path.to_path_buf()))])
    }
}

/// A plain folder: each file in it, at any depth; an empty folder counts as itself.
pub struct PlainFolder;

impl Content for PlainFolder {
    fn kind(&self) -> &'static str {
        "folder"
    }
    fn recognises(&self, path: &Path) -> bool {
        path.is_dir()
    }
    fn parts(&self, path: &Path) -> Result<Vec<Part>> {
        let named = |(name, file): (String, Option<PathBuf>)| {
            let source = file.map_or(Source::Bytes(Vec::new()), Source::File);
            Part::new(name, source)
        };
        Ok(files_below(path)?.into_iter().map(named).collect())
    }
}

/// Every file below `folder` with its name relative to it, sorted; empty folders come with a trailing `/` and no file.
///
/// Links are followed. Names are escaped so that no two files share one and none can look like a line of the manifest.
pub fn files_below(folder: &Path) -> Result<Vec<(String, Option<PathBuf>)>> {
    let mut found = Vec::new();
    walk(folder, "", &mut Vec::new(), &mut found)?;
    found.sort();
    Ok(found)
}

fn walk(folder: &Path, prefix: &str, above: &mut Vec<(u64, u64)>, found: &mut Vec<(String, Option<PathBuf>)>) -> Result<()> {
    let read = |e| Error::io("read the folder", folder, e);
    let m = std::fs::metadata(folder).map_err(read)?;
    if above.contains(&(m.dev(), m.ino())) {
        return Err(Error::data("a link inside the folder leads back to the folder").at(folder));
    }
    above.push((m.dev(), m.ino()));
    let mut empty = true;
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        empty = false;
        let path = entry.path();
        let name = format!("{prefix}{}", escaped(entry.file_name().as_bytes()));
        let kind = std::fs::metadata(&path).map_err(|e| Error::io("read", &path, e))?;
        if kind.is_dir() {
            walk(&path, &format!("{name}/"), above, found)?;
        } else if kind.is_file() {
            found.push((name, Some(path)));
        } else {
            return Err(Error::data("a folder holds something that is neither file nor folder").at(&path));
        }
    }
    if empty {
        found.push((prefix.to_string(), None));
    }
    above.pop();
    Ok(())
}

/// Bytes of a file name as text: UTF-8 stays, anything else and control characters become `\xNN`.
fn escaped(name: &[u8]) -> String {
    let mut out = String::new();
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c if c.is_control() => c.to_string().bytes().for_each(|b| out.push_str(&format!("\\x{b:02x}"))),
                c => out.push(c),
            }
        }
        chunk.invalid().iter().for_each(|b| out.push_str(&format!("\\x{b:02x}")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notice::Quiet;

    fn state(path: &Path) -> State {
        Registry::default().state(path, &Memo::in_memory(), Looking::default(), &Quiet::default()).unwrap()
    }

    #[test]
    fn a_file_has_the_hash_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, b"abc").unwrap();
        let s = state(&path);
        assert_eq!((s.hash, s.size, s.kind.as_str()), (Hash::of(b"abc"), 3, "file"));
        assert!(s.parts.is_empty());
    }

    #[test]
    fn a_folder_is_its_names_and_bytes_and_not_its_own_name() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str, files: &[(&str, &str)]| {
            let root = dir.path().join(name);
            for (file, text) in files {
                let path = root.join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            state(&root).hash
        };
        let one = make("one", &[("a", "1"), ("sub/b", "2")]);
        assert_eq!(one, make("two", &[("sub/b", "2"), ("a", "1")]));
        assert_ne!(one, make("three", &[("a", "2"), ("sub/b", "1")]));
        assert_ne!(one, make("four", &[("a", "1"), ("sub/c", "2")]));
        assert_ne!(one, make("five", &[("a", "1"), ("sub/b", "2"), ("e", "")]));
    }

    #[test]
    fn an_empty_folder_inside_counts() {
        let dir = tempfile::tempdir().unwrap();
        let empty = state(dir.path()).hash;
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        assert_ne!(state(dir.path()).hash, empty);
    }

    #[test]
    fn a_file_name_cannot_pose_as_two_files() {
        assert_eq!(escaped(b"a\t1\nb"), "a\\x091\\x0ab");
        assert_eq!(escaped(b"a\\x09"), "a\\\\x09");
        assert_eq!(escaped(b"\xff\xc3\xa9"), "\\xff\u{e9}");
    }

    #[test]
    fn a_link_to_the_folder_itself_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
        let result = Registry::default().state(dir.path(), &Memo::in_memory(), Looking::default(), &Quiet::default());
        assert!(result.unwrap_err().message.contains("leads back"));
    }

    #[test]
    fn a_reader_sees_the_parts_that_it_asks_for() {
        struct Two(&'static str, &'static str);
        impl Content for Two {
            fn kind(&self) -> &'static str {
                "two"
            }
            fn recognises(&self, _: &Path) -> bool {
                true
            }
            fn parts(&self, _: &Path) -> Result<Vec<Part>> {
                let bytes = |s: &str| Source::Bytes(s.as_bytes().to_vec());
                Ok(vec![
                    Part::new("f1", bytes(self.0)).label("DATA"),
                    Part::new("f2", bytes(self.1)).label("FLAG"),
                    Part::new("rows", bytes("3")),
                ])
            }
        }
        let take = |a, b| {
            let registry = Registry::default().with(Two(a, b));
            registry.state(Path::new("/"), &Memo::in_memory(), Looking::default(), &Quiet::default()).unwrap()
        };
        let (before, after) = (take("x", "y"), take("x", "z"));
        let (data, flag) = (vec!["DATA".to_string()], vec!["FLAG".to_string()]);
        assert_ne!(before.hash, after.hash);
        assert_eq!(before.seen_by(&data), after.seen_by(&data));
        assert_ne!(before.seen_by(&flag), after.seen_by(&flag));
        assert_eq!(before.differing(&after, &[]), vec!["f2"]);
        assert!(before.differing(&after, &data).is_empty());
    }
}
