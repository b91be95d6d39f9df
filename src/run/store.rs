//! What a project remembers, in `.phangs/`: finished steps by key, small outputs by content, who wrote which file.
//!
//! Everything here may be deleted at any time; the next run then does its steps again. Files appear whole (temporary name,
//! rename); one that cannot be read counts as absent.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::notice::{Reporter, Warning};
use crate::run::content::{State, files_below};
use crate::run::hash::Hash;
use crate::run::lock::Lock;
use crate::run::memo::{Memo, Stamp};
use crate::run::record::{Figure, Quality, Table};
use crate::run::usage::Usage;

/// Name of the folder under the project.
pub const FOLDER: &str = ".phangs";

/// A finished step as the store keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its key.
    pub key: Hash,
    /// Its key without the state of what it edits in place; equal to `key` where it edits nothing in place.
    pub base: Hash,
    /// Verb.
    pub verb: String,
    /// Version of the verb.
    pub version: u32,
    /// Build of the program.
    pub build: String,
    /// The run that executed it.
    pub run: String,
    /// The script of that run.
    pub script: String,
    /// When, UTC.
    pub time: String,
    /// Arguments with defaults filled in, as given.
    pub args: Value,
    /// Arguments in canonical form, paths replaced by content.
    pub canonical: Value,
    /// Versions of data tables.
    pub tables: std::collections::BTreeMap<String, String>,
    /// What it read.
    pub reads: Vec<EntryRead>,
    /// What it wrote.
    pub outputs: Vec<EntryOutput>,
    /// What it returned; inputs stand as placeholders.
    pub value: Value,
    /// What it warned about.
    pub warnings: Vec<Warning>,
    /// How good its result is.
    pub quality: Quality,
    /// Figures that it drew.
    pub figures: Vec<Figure>,
    /// Tables that it made.
    pub shown: Vec<Table>,
    /// What it used.
    pub usage: Usage,
}

/// What a step read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntryRead {
    /// Name in the project.
    pub path: String,
    /// Labels of the parts that it reads; empty for all.
    pub only: Vec<String>,
    /// Hash of what it sees.
    pub seen: Hash,
    /// State of the whole.
    pub state: State,
}

/// What a step wrote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntryOutput {
    /// Name in the project.
    pub path: String,
    /// State after the step.
    pub state: State,
    /// State before the step, where it edits in place.
    pub before: Option<State>,
    /// Its files in the store; absent where it is too large for that.
    pub stored: Option<Vec<StoredFile>>,
}

/// A file in the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredFile {
    /// Path inside the output; empty where the output is a file itself, with a trailing `/` for an empty folder.
    pub inside: String,
    /// Hash of its bytes.
    pub blob: Hash,
}

/// Who wrote a path.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Owner {
    /// Name in the project.
    pub path: String,
    /// Hash of the content that a step of this project wrote.
    pub hash: Option<Hash>,
    /// Verb of that step.
    pub verb: String,
}

/// A step that began to write a path and has not finished: under way, or dead.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pending {
    /// Name in the project.
    pub path: String,
    /// Its verb.
    pub verb: String,
    /// Its run.
    pub run: String,
    /// When it began, UTC.
    pub time: String,
    /// Stamp of the path when it began; absent if nothing was there.
    pub was: Option<Stamp>,
    /// Stamp of what it left behind, once it is known to have ended.
    pub left: Option<Stamp>,
    /// State before, where it edits in place.
    pub before: Option<Hash>,
}

/// An edit in place: a step led from one state to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Edit {
    /// State before.
    pub before: Hash,
    /// State after.
    pub after: Hash,
    /// Key of the step without the state.
    pub base: Hash,
    /// Key of the step.
    pub key: Hash,
    /// Its verb.
    pub verb: String,
    /// Script that called it.
    pub script: String,
    /// Run that executed it.
    pub run: String,
}

/// Figures, tables and images of a megapixel are kept; cubes are not: a second copy of them on the disk costs more than making them again.
const CAP_BYTES: u64 = 5 << 20;

/// The store of one project.
pub struct Store {
    root: PathBuf,
    writable: bool,
    /// Outputs up to this many bytes are kept, so that they come back when deleted.
    pub cap_bytes: u64,
}

impl Store {
    /// The store of the project at `root`, made if it is not there; one that cannot be written keeps nothing, and says so by
    /// [`writable`](Store::writable).
    pub fn create(root: &Path) -> Store {
        // without permission there is no folder, and `open` says so
        let _ = std::fs::create_dir_all(root.join(FOLDER));
        Store::open(root)
    }

    /// The store of the project at `root`, if there is one.
    pub fn open(root: &Path) -> Store {
        let folder = root.join(FOLDER);
        let writable = folder.is_dir() && may_write(&folder);
        if writable && !folder.join(".gitignore").exists() {
            let _ = std::fs::write(folder.join(".gitignore"), "*\n");
        }
        Store { root: folder, writable, cap_bytes: CAP_BYTES }
    }

    /// True if results can be kept.
    pub fn writable(&self) -> bool {
        self.writable
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.root
    }

    /// The hash memo of the project.
    pub fn memo(&self) -> Memo {
        if self.writable { Memo::open(&self.root.join("memo")) } else { Memo::in_memory() }
    }

    /// Takes the lock called `name` if nobody has it.
    pub fn try_lock(&self, name: &str) -> Result<Option<Lock>> {
        Lock::try_take(&self.root.join("locks").join(digest(name)))
    }

    /// Waits for the locks called `names`, in one order for all processes; `notice` can end the wait.
    pub fn lock(&self, names: &[String], notice: &dyn Reporter) -> Result<Vec<Lock>> {
        if !self.writable {
            return Ok(Vec::new());
        }
        let mut files: Vec<PathBuf> = names.iter().map(|n| self.root.join("locks").join(digest(n))).collect();
        files.sort();
        files.dedup();
        files.iter().map(|f| Lock::wait(f, notice)).collect()
    }

    fn entry_path(&self, verb: &str, key: &Hash) -> PathBuf {
        self.root.join("steps").join(verb).join(format!("{key}.json"))
    }

    /// The finished step with this key.
    pub fn entry(&self, verb: &str, key: &Hash) -> Option<Entry> {
        read_json::<Entry>(&self.entry_path(verb, key)).filter(|e| e.key == *key)
    }

    /// All finished steps of a verb, the newest last.
    pub fn entries(&self, verb: &str) -> Vec<Entry> {
        let mut all: Vec<Entry> = json_files(&self.root.join("steps").join(verb)).iter().filter_map(|p| read_json(p)).collect();
        all.sort_by(|a, b| (&a.time, a.key).cmp(&(&b.time, b.key)));
        all
    }

    /// The verbs that have finished steps.
    pub fn verbs(&self) -> Vec<String> {
        let Ok(folders) = std::fs::read_dir(self.root.join("steps")) else { return Vec::new() };
        let mut names: Vec<String> = folders.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Keeps a finished step.
    pub fn put_entry(&self, entry: &Entry) -> Result<()> {
        self.write_json(&self.entry_path(&entry.verb, &entry.key), entry)
    }

    /// Notes that an entry was of use, so that `gc` keeps it.
    pub fn touch(&self, entry: &Entry) {
        if self.writable
            && let Ok(file) = File::options().append(true).open(self.entry_path(&entry.verb, &entry.key))
        {
            let _ = file.set_modified(std::time::SystemTime::now());
        }
    }

    fn owner_path(&self, path: &str) -> PathBuf {
        self.root.join("owners").join(format!("{}.json", digest(path)))
    }

    /// Who wrote `path`.
    pub fn owner(&self, path: &str) -> Option<Owner> {
        read_json::<Owner>(&self.owner_path(path)).filter(|o| o.path == path)
    }

    /// Notes who wrote a path.
    pub fn put_owner(&self, owner: &Owner) -> Result<()> {
        self.write_json(&self.owner_path(&owner.path), owner)
    }

    /// True if a step of this project wrote `path` with this content.
    pub fn wrote(&self, path: &str, hash: &Hash) -> bool {
        if self.owner(path).is_some_and(|o| o.hash.as_ref() == Some(hash)) {
            return true;
        }
        let made = |e: &Entry| e.outputs.iter().any(|o| o.path == path && o.state.hash == *hash);
        self.verbs().iter().any(|verb| self.entries(verb).iter().any(made))
    }

    fn pending_path(&self, path: &str) -> PathBuf {
        self.root.join("pending").join(format!("{}.json", digest(path)))
    }

    /// The step that began to write `path` and has not finished.
    pub fn pending(&self, path: &str) -> Option<Pending> {
        read_json::<Pending>(&self.pending_path(path)).filter(|p| p.path == path)
    }

    /// All of them.
    pub fn all_pending(&self) -> Vec<Pending> {
        json_files(&self.root.join("pending")).iter().filter_map(|p| read_json(p)).collect()
    }

    /// Notes that a step begins to write a path.
    pub fn put_pending(&self, pending: &Pending) -> Result<()> {
        self.write_json(&self.pending_path(&pending.path), pending)
    }

    /// Forgets it: the step is complete, or left nothing.
    pub fn end_pending(&self, path: &str) -> Result<()> {
        if self.writable { remove(&self.pending_path(path)) } else { Ok(()) }
    }

    fn edits_path(&self, path: &str) -> PathBuf {
        self.root.join("edits").join(format!("{}.json", digest(path)))
    }

    /// The edits in place of `path`, in order.
    pub fn edits(&self, path: &str) -> Vec<Edit> {
        read_json(&self.edits_path(path)).unwrap_or_default()
    }

    /// Adds an edit in place.
    pub fn put_edit(&self, path: &str, edit: Edit) -> Result<()> {
        let mut all = self.edits(path);
        all.retain(|e| (e.before, e.key) != (edit.before, edit.key));
        all.push(edit);
        self.write_json(&self.edits_path(path), &all)
    }

    fn write_json<T: Serialize>(&self, path: &Path, value: &T) -> Result<()> {
        if !self.writable {
            return Ok(());
        }
        let text = serde_json::to_vec(value).map_err(|e| Error::internal(format!("cannot write to the store: {e}")).at(path))?;
        write_whole(path, &text)
    }

    fn blob_path(&self, hash: &Hash) -> PathBuf {
        let hex = hash.to_string();
        self.root.join("blobs").join(&hex[..2]).join(hex)
    }

    /// Keeps bytes by their hash. A value that a step returns refers to them as `{"$stored": hash}`, and they are kept as long
    /// as the step; an error where the store cannot be written.
    pub fn put(&self, bytes: &[u8]) -> Result<Hash> {
        if !self.writable {
            return Err(Error::user("the store of the project cannot be written").at(&self.root));
        }
        let hash = Hash::of(bytes);
        let path = self.blob_path(&hash);
        if !path.exists() {
            write_whole(&path, bytes)?;
        }
        Ok(hash)
    }

    /// True if bytes with this hash are kept.
    pub fn holds(&self, hash: &Hash) -> bool {
        self.blob_path(hash).is_file()
    }

    /// How many bytes are kept under this hash.
    pub(crate) fn size_of(&self, hash: &Hash) -> u64 {
        std::fs::metadata(self.blob_path(hash)).map_or(0, |m| m.len())
    }

    /// The bytes with this hash, if they are kept and undamaged.
    pub fn get(&self, hash: &Hash) -> Option<Vec<u8>> {
        std::fs::read(self.blob_path(hash)).ok().filter(|bytes| Hash::of(bytes) == *hash)
    }

    /// Keeps the files of an output, if it is small enough.
    pub fn keep(&self, output: &Path, notice: &dyn Reporter) -> Result<Option<Vec<StoredFile>>> {
        if !self.writable {
            return Ok(None);
        }
        let files = if output.is_dir() { files_below(output)? } else { vec![(String::new(), Some(output.to_path_buf()))] };
        let size = |f: &Option<PathBuf>| f.as_ref().and_then(|f| std::fs::metadata(f).ok()).map_or(0, |m| m.len());
        if files.iter().map(|(_, f)| size(f)).sum::<u64>() > self.cap_bytes {
            return Ok(None);
        }
        let mut kept = Vec::new();
        for (inside, file) in files {
            notice.check()?;
            let bytes = file.map_or(Ok(Vec::new()), |f| std::fs::read(&f).map_err(|e| Error::io("read", &f, e)))?;
            kept.push(StoredFile { inside, blob: self.put(&bytes)? });
        }
        Ok(Some(kept))
    }

    /// True if all files of an output are in the store.
    pub fn has(&self, files: &[StoredFile]) -> bool {
        files.iter().all(|f| self.holds(&f.blob))
    }

    /// Brings an output back from the store; false if the store has it no more, and then nothing is touched.
    pub fn restore(&self, files: &[StoredFile], output: &Path, notice: &dyn Reporter) -> Result<bool> {
        let partial = partial_of(output);
        remove(&partial)?;
        for file in files {
            notice.check()?;
            let Some(bytes) = self.get(&file.blob) else {
                remove(&partial)?;
                return Ok(false);
            };
            let to = if file.inside.is_empty() { partial.clone() } else { partial.join(&file.inside) };
            if file.inside.ends_with('/') {
                std::fs::create_dir_all(&to).map_err(|e| Error::io("create the folder", &to, e))?;
            } else {
                let written = create_parent(&to).and_then(|()| write_synced(&to, &bytes));
                written.inspect_err(|_| drop(remove(&partial)))?;
            }
        }
        replace(&partial, output)?;
        Ok(true)
    }
}

/// The temporary sibling under which this process writes `output` before it gets its name.
pub fn partial_of(output: &Path) -> PathBuf {
    let name = output.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    output.with_file_name(format!(".{name}.unfinished-{}", std::process::id()))
}

/// The sibling under which the present `output` waits while a step makes a new one.
pub(crate) fn aside_of(output: &Path) -> PathBuf {
    let name = output.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    output.with_file_name(format!(".{name}.replaced"))
}

/// Gives `partial` the name `output`; a folder that is there is moved aside first and then deleted.
pub fn replace(partial: &Path, output: &Path) -> Result<()> {
    let failed = |e| Error::io("give the output its name", output, e);
    let both_files = !output.is_dir() && !partial.is_dir();
    if both_files || std::fs::symlink_metadata(output).is_err() {
        std::fs::rename(partial, output).map_err(failed)?;
    } else {
        let aside = aside_of(output);
        remove(&aside)?;
        std::fs::rename(output, &aside).map_err(failed)?;
        std::fs::rename(partial, output).map_err(failed)?;
        remove(&aside)?;
    }
    sync_parent(output)
}

/// Deletes a file or folder if it is there.
pub fn remove(path: &Path) -> Result<()> {
    let result = match std::fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(m) if m.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
    };
    result.map_err(|e| Error::io("delete", path, e))
}

/// Brings a file, or every file of a folder, and its name to the disk.
pub fn sync(path: &Path) -> Result<()> {
    let files: Vec<PathBuf> = if path.is_dir() { files_below(path)?.into_iter().filter_map(|(_, f)| f).collect() } else { Vec::new() };
    sync_files(&files)?;
    sync_one(path)?;
    sync_parent(path)
}

fn sync_one(path: &Path) -> Result<()> {
    File::open(path).and_then(|f| f.sync_all()).map_err(|e| Error::io("bring to the disk", path, e))
}

/// Eight at a time: the disk joins syncs that wait together.
fn sync_files(files: &[PathBuf]) -> Result<()> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let some = || {
        while let Some(file) = files.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            sync_one(file)?;
        }
        Ok(())
    };
    if files.len() < 2 {
        return some();
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..files.len().min(8)).map(|_| scope.spawn(some)).collect();
        threads.into_iter().try_for_each(|t| t.join().unwrap_or_else(|_| Err(Error::internal("a thread that syncs files failed"))))
    })
}

fn sync_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => {
            // some network file systems refuse to sync a folder; its name is then as durable as they make it
            let _ = File::open(parent).and_then(|f| f.sync_all());
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Creates the folder that `path` lies in.
pub fn create_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    std::fs::create_dir_all(parent).map_err(|e| Error::io("create the folder", parent, e))
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create(path).map_err(|e| Error::io("write", path, e))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| Error::io("write", path, e))
}

/// Writes a file so that it appears whole.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    create_parent(path)?;
    let temporary = path.with_extension(format!("{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let written = std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&temporary);
        Error::io("write to the store", path, e)
    })
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|x| x == "json")).collect();
    files.sort();
    files
}

fn digest(name: &str) -> String {
    Hash::of(name.as_bytes()).to_string()[..32].to_string()
}

/// True if the process may make files in `folder`.
pub fn may_write(folder: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let Ok(c) = std::ffi::CString::new(folder.as_os_str().as_bytes()) else { return false };
    // SAFETY: `c` is a string that ends in NUL and outlives the call.
    unsafe { libc::access(c.as_ptr(), libc::W_OK | libc::X_OK) == 0 }
}
