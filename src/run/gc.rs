//! Drops what the store need not keep: results that no recent run used, and bytes above a cap.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::error::Result;
use crate::run::hash::Hash;
use crate::run::key::stored_in;
use crate::run::lock::Lock;
use crate::run::store::{Entry, Store, remove};

/// What to keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Keeping {
    /// Bytes of stored outputs; the least recently used go first.
    pub cap_bytes: u64,
    /// Finished steps that no run used for this long are forgotten; their outputs stay where they are.
    pub unused: Duration,
}

impl Default for Keeping {
    fn default() -> Keeping {
        Keeping { cap_bytes: 2 << 30, unused: Duration::from_secs(90 * 86_400) }
    }
}

/// What was, or would be, dropped.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Dropped {
    /// Finished steps forgotten.
    pub steps: usize,
    /// Stored files deleted.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of stored outputs that stay.
    pub kept_bytes: u64,
}

/// A file is left alone this long: a run under way may be about to refer to it.
const GRACE: Duration = Duration::from_secs(3600);

/// Drops what need not be kept; with `dry` only says what would go. Runs may go on meanwhile.
pub fn gc(store: &Store, keeping: Keeping, dry: bool) -> Result<Dropped> {
    let _held = Lock::try_take(&store.folder().join("gc.lock"))?;
    let mut dropped = Dropped::default();
    let mut entries = used(store);
    entries.sort_by_key(|e| std::cmp::Reverse(e.used));
    let (recent, old): (Vec<Used>, Vec<Used>) = entries.into_iter().partition(|e| age(e.used) < keeping.unused);
    for e in &old {
        dropped.steps += 1;
        if !dry {
            remove(&e.file)?;
        }
    }
    let keep = within_cap(store, &recent, keeping.cap_bytes);
    for (file, hash, size, changed) in blobs(store) {
        if keep.contains(&hash) || age(changed) < GRACE {
            dropped.kept_bytes += size;
            continue;
        }
        dropped.blobs += 1;
        dropped.bytes += size;
        if !dry {
            remove(&file)?;
        }
    }
    if !dry {
        drop_leftovers(store)?;
    }
    Ok(dropped)
}

/// A finished step and when a run used it last.
struct Used {
    entry: Entry,
    used: SystemTime,
    file: PathBuf,
}

fn used(store: &Store) -> Vec<Used> {
    let mut all = Vec::new();
    for verb in store.verbs() {
        for file in files(&store.folder().join("steps").join(&verb)) {
            let entry = file.file_stem().and_then(|s| Hash::from_hex(&s.to_string_lossy())).and_then(|key| store.entry(&verb, &key));
            if let Some(entry) = entry {
                all.push(Used { entry, used: changed(&file), file });
            }
        }
    }
    all
}

/// Blobs of the most recently used steps, as many as fit; those that values refer to come before stored outputs.
fn within_cap(store: &Store, recent: &[Used], cap: u64) -> BTreeSet<Hash> {
    let mut keep = BTreeSet::new();
    let mut total = 0;
    let mut take = |all: Vec<Hash>, total: &mut u64| {
        let size: u64 = all.iter().filter(|h| !keep.contains(*h)).map(|h| store.size_of(h)).sum();
        if *total + size <= cap {
            *total += size;
            keep.extend(all);
        }
    };
    for e in recent {
        take(stored_in(&e.entry.value), &mut total);
    }
    for e in recent {
        let files = e.entry.outputs.iter().flat_map(|o| o.stored.iter().flatten());
        take(files.map(|f| f.blob).collect(), &mut total);
    }
    keep
}

fn blobs(store: &Store) -> Vec<(PathBuf, Hash, u64, SystemTime)> {
    let mut all = Vec::new();
    for folder in files(&store.folder().join("blobs")) {
        for file in files(&folder) {
            let size = std::fs::metadata(&file).map_or(0, |m| m.len());
            if let Some(hash) = file.file_name().and_then(|n| Hash::from_hex(&n.to_string_lossy())) {
                let changed = changed(&file);
                all.push((file, hash, size, changed));
            }
        }
    }
    all
}

/// Temporary files of dead processes, and locks that nobody holds.
fn drop_leftovers(store: &Store) -> Result<()> {
    let old = |p: &PathBuf| age(changed(p)) > GRACE;
    let temporary = |p: &PathBuf| p.extension().is_some_and(|x| x == "tmp");
    for folder in ["owners", "pending", "edits"].map(|f| store.folder().join(f)).into_iter().chain(files(&store.folder().join("steps"))) {
        for file in files(&folder).into_iter().filter(|p| old(p) && temporary(p)) {
            remove(&file)?;
        }
    }
    for file in files(&store.folder().join("locks")).into_iter().filter(|p| old(p)) {
        if let Some(_held) = Lock::try_take(&file)? {
            remove(&file)?;
        }
    }
    Ok(())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    all.sort();
    all
}

fn changed(file: &Path) -> SystemTime {
    std::fs::metadata(file).and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Time since `then`; zero where the clock was moved back.
fn age(then: SystemTime) -> Duration {
    SystemTime::now().duration_since(then).unwrap_or_default()
}
