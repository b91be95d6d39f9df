//! The hash memo: a file whose device, inode, size, modification and change time are known is not read again.
//!
//! One append-only file of fixed-size, checksummed records under a lock. An embedded database was not taken:
//! those that are safe against crashes let one process in at a time, and two runs at once are ordinary here.
//!
//! What is trusted. The kernel stamps the change time of a file, and nobody can set it back; but stamps tick, and a file
//! that is written twice within one tick keeps its stamp. So a hash is remembered only if the last change was at least
//! [`STRICT`] before the reading began (a change time in the future, as after a clock moved back, is never that). Local
//! Linux file systems take their stamps from the kernel's coarse clock, which ticks every 10 ms or faster: once that clock
//! has passed the stamp of a file, every later change gets another one. So what this program wrote itself there is
//! remembered after one tick, for which it waits where the file is large, so that the next run need not read it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use crate::error::{Error, Result};
use crate::notice::Reporter;
use crate::run::hash::{Hash, Hasher, LARGE_FILE, feed, feed_parallel};
use crate::run::lock::Lock;

/// Age that a file must have when it is hashed, on any file system: FAT stamps tick every 2 s.
pub const STRICT: Duration = Duration::from_secs(2);
/// Size from which on a file that this program wrote is waited for one tick: reading it takes about as long.
pub const WORTH_REMEMBERING: u64 = 4 << 20;
/// Ticks are 10 ms or shorter; a stamp that is farther ahead is not of this clock.
const LONGEST_TICK: Duration = Duration::from_millis(50);

/// 7 numbers, a hash, and the first 8 bytes of the hash of these.
const RECORD: usize = 7 * 8 + 32 + 8;
/// Bytes of a record that the last 8 vouch for.
const VOUCHED: usize = RECORD - 8;
/// Above this many dead records the file is written anew.
const MAX_DEAD: usize = 50_000;

/// What the file system says about a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Stamp {
    /// Device.
    pub device: u64,
    /// Inode.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// Time of the last modification, ns since 1970.
    pub mtime_ns: i64,
    /// Time of the last change of content or attributes, ns since 1970.
    pub ctime_ns: i64,
}

impl Stamp {
    /// From what `stat` gives.
    pub fn of(m: &std::fs::Metadata) -> Stamp {
        let ns = |s: i64, n: i64| s.saturating_mul(1_000_000_000).saturating_add(n);
        Stamp {
            device: m.dev(),
            inode: m.ino(),
            size: m.size(),
            mtime_ns: ns(m.mtime(), m.mtime_nsec()),
            ctime_ns: ns(m.ctime(), m.ctime_nsec()),
        }
    }
    /// True if `other` is the same file with the same bytes, whatever it is called: renaming changes the change time only.
    pub fn is_same_file(&self, other: &Stamp) -> bool {
        Stamp { ctime_ns: 0, ..*self } == Stamp { ctime_ns: 0, ..*other }
    }
    /// Time since the last change as the clock shows it now; zero where that is in the future.
    pub fn age(&self) -> Duration {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i128);
        Duration::from_nanos((now - i128::from(self.ctime_ns)).clamp(0, i128::from(u64::MAX)) as u64)
    }
}

/// How a hash was obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// All bytes were read.
    Read,
    /// The file is unchanged by its stamp since its bytes were read.
    Memo,
}

impl How {
    /// The weaker of two: one byte read makes the whole read.
    pub fn and(self, other: How) -> How {
        if self == How::Memo && other == How::Memo { How::Memo } else { How::Read }
    }
}

/// The memo of one project.
pub struct Memo {
    /// None keeps it in memory only.
    path: Option<PathBuf>,
    inner: Mutex<Inner>,
}

/// A hash and the number of bytes that went into it.
type Known = (Hash, u64);

#[derive(Default)]
struct Inner {
    known: HashMap<(Stamp, u64), Known>,
    /// Records that are not in the file yet.
    unsaved: Vec<u8>,
    /// Bytes of the file that are in `known`.
    read_to: u64,
    /// Identity of the file that was read, which another process may have written anew.
    inode: u64,
    records: usize,
}

impl Memo {
    /// A memo in the file `path`; an unreadable or damaged file is the same as an empty one.
    pub fn open(path: &Path) -> Memo {
        let memo = Memo { path: Some(path.to_path_buf()), inner: Mutex::default() };
        memo.refresh();
        memo
    }

    /// A memo that is forgotten with the process.
    pub fn in_memory() -> Memo {
        Memo { path: None, inner: Mutex::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Takes in what other processes appended.
    fn refresh(&self) {
        let Some(path) = &self.path else { return };
        let mut inner = self.lock();
        if let Ok(mut file) = File::open(path) {
            inner.catch_up(&mut file);
        }
    }

    /// Hash and number of bytes of a file whose stamp is `stamp`, as read in the way `tag` names.
    fn get(&self, stamp: &Stamp, tag: u64) -> Option<Known> {
        self.lock().known.get(&(*stamp, tag)).copied()
    }

    fn put(&self, stamp: &Stamp, tag: u64, known: Known) {
        let mut inner = self.lock();
        inner.known.insert((*stamp, tag), known);
        if self.path.is_some() {
            inner.unsaved.extend(record_of(stamp, tag, &known));
        }
    }

    /// Appends to the file what came in since it was last saved.
    pub fn save(&self) {
        let mut inner = self.lock();
        if let (Some(path), false) = (&self.path, inner.unsaved.is_empty()) {
            let records = std::mem::take(&mut inner.unsaved);
            // The memo saves time and nothing else: where it cannot be written the next run reads again.
            let _ = inner.append(path, &records);
        }
    }

    /// The hash of `path` by what is known of it, else by reading it with `read` (all its bytes where `None`).
    ///
    /// `tag` names the way of reading. `own` says that this program wrote the file just now.
    pub fn hash(
        &self,
        path: &Path,
        tag: u64,
        own: bool,
        fresh: bool,
        notice: &dyn Reporter,
        read: Option<&ReadFn>,
    ) -> Result<(Hash, u64, How)> {
        let mut file = File::open(path).map_err(|e| Error::io("read", path, e))?;
        let before = stamp(&file, path)?;
        if !fresh && let Some((hash, size)) = self.get(&before, tag) {
            return Ok((hash, size, How::Memo));
        }
        let settled = before.age() >= STRICT || (own && has_ticked(&file, &before));
        let (mut hasher, mut size) = (Hasher::new(), 0);
        let mut take = |bytes: &[u8]| {
            hasher.update(bytes);
            size += bytes.len() as u64;
        };
        match read {
            Some(read) => read(&mut take)?,
            None if before.size >= LARGE_FILE => {
                feed_parallel(&file, before.size, path, notice, &mut hasher)?;
                size = before.size;
            }
            None => {
                feed(&mut file, path, notice, take)?;
            }
        }
        if stamp(&file, path)? != before {
            return Err(Error::data("a file changed while it was read; it is being written").hint("wait until it is complete").at(path));
        }
        let hash = hasher.finish();
        if settled {
            self.put(&before, tag, (hash, size));
        }
        Ok((hash, size, How::Read))
    }
}

/// Hands the bytes that count to its argument.
pub type ReadFn = dyn Fn(&mut dyn FnMut(&[u8])) -> Result<()> + Send + Sync;

fn stamp(file: &File, path: &Path) -> Result<Stamp> {
    file.metadata().map(|m| Stamp::of(&m)).map_err(|e| Error::io("look at", path, e))
}

/// True once no later change of `file` can have the stamp `stamp`; waits for it where the file is large.
#[cfg(target_os = "linux")]
fn has_ticked(file: &File, stamp: &Stamp) -> bool {
    if !ticks_with_the_kernel(file) {
        return false;
    }
    let begin = Instant::now();
    while coarse_now_ns() <= stamp.ctime_ns {
        if stamp.size < WORTH_REMEMBERING || begin.elapsed() > LONGEST_TICK {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// Elsewhere nothing is assumed about the ticks of stamps.
#[cfg(not(target_os = "linux"))]
fn has_ticked(_file: &File, _stamp: &Stamp) -> bool {
    false
}

/// The clock that stamps are taken from, ns since 1970.
#[cfg(target_os = "linux")]
fn coarse_now_ns() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock is one of Linux and `now` has the type that it fills.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &mut now) };
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// True on local file systems of Linux, whose stamps have nanoseconds and tick with the kernel's clock.
#[cfg(target_os = "linux")]
fn ticks_with_the_kernel(file: &File) -> bool {
    use std::os::fd::AsRawFd;
    // ext2-4, xfs, btrfs, tmpfs, overlayfs, f2fs, bcachefs, zfs
    const LOCAL: [u64; 8] = [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630, 0xF2F5_2010, 0xCA45_1A4E, 0x2FC1_2FC1];
    let mut buffer = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the descriptor is open for the length of the call and the buffer has the size that fstatfs fills.
    let magic = unsafe {
        if libc::fstatfs(file.as_raw_fd(), buffer.as_mut_ptr()) != 0 {
            return false;
        }
        buffer.assume_init().f_type as u64 & 0xFFFF_FFFF
    };
    LOCAL.contains(&magic)
}

fn record_of(stamp: &Stamp, tag: u64, known: &Known) -> [u8; RECORD] {
    let mut out = [0; RECORD];
    let words = [tag, stamp.device, stamp.inode, stamp.size, stamp.mtime_ns as u64, stamp.ctime_ns as u64, known.1];
    for (slot, word) in out.chunks_exact_mut(8).zip(words) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    out[56..VOUCHED].copy_from_slice(known.0.bytes());
    let check = Hash::of(&out[..VOUCHED]);
    out[VOUCHED..].copy_from_slice(&check.bytes()[..8]);
    out
}

fn record_from(bytes: &[u8]) -> Option<((Stamp, u64), Known)> {
    if Hash::of(&bytes[..VOUCHED]).bytes()[..8] != bytes[VOUCHED..] {
        return None;
    }
    let word = |i: usize| bytes[8 * i..8 * i + 8].iter().rev().fold(0u64, |sum, b| sum << 8 | u64::from(*b));
    let mut hash = [0; 32];
    hash.copy_from_slice(&bytes[56..VOUCHED]);
    let stamp = Stamp { device: word(1), inode: word(2), size: word(3), mtime_ns: word(4) as i64, ctime_ns: word(5) as i64 };
    Some(((stamp, word(0)), (Hash::from_bytes(hash), word(6))))
}

impl Inner {
    fn catch_up(&mut self, file: &mut File) {
        let Ok(m) = file.metadata() else { return };
        if m.ino() != self.inode {
            *self = Inner { inode: m.ino(), unsaved: std::mem::take(&mut self.unsaved), ..Inner::default() };
        }
        let mut bytes = Vec::new();
        if m.size() < self.read_to + RECORD as u64
            || file.seek(SeekFrom::Start(self.read_to)).is_err()
            || file.read_to_end(&mut bytes).is_err()
        {
            return;
        }
        for record in bytes.chunks_exact(RECORD) {
            self.read_to += RECORD as u64;
            self.records += 1;
            if let Some((key, hash)) = record_from(record) {
                self.known.insert(key, hash);
            }
        }
    }

    fn append(&mut self, path: &Path, records: &[u8]) -> Result<()> {
        let _held = Lock::wait(&path.with_extension("lock"), &crate::run::lock::Patient)?;
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|e| Error::io("open the hash memo", path, e))?;
        let pending: Vec<_> = self.known.iter().map(|(k, h)| (*k, *h)).collect();
        self.catch_up(&mut file);
        if self.records > self.known.len() + MAX_DEAD {
            return self.rewrite(path);
        }
        if self.known.len() < pending.len() {
            // another process wrote the file anew: keep what we know
            self.known.extend(pending);
        }
        let torn = file.metadata().map_or(0, |m| m.size()) % RECORD as u64;
        let end = file.seek(SeekFrom::End(-(torn as i64))).map_err(|e| Error::io("write", path, e))?;
        file.write_all(records).map_err(|e| Error::io("write", path, e))?;
        self.read_to = end + records.len() as u64;
        self.records += records.len() / RECORD;
        Ok(())
    }

    /// Drops records that a later one replaced, and those of files that are gone by their inode's newest stamp.
    fn rewrite(&mut self, path: &Path) -> Result<()> {
        let mut newest: HashMap<(u64, u64, u64), (Stamp, Known)> = HashMap::new();
        for ((stamp, tag), hash) in &self.known {
            let slot = newest.entry((stamp.device, stamp.inode, *tag)).or_insert((*stamp, *hash));
            if slot.0.ctime_ns < stamp.ctime_ns {
                *slot = (*stamp, *hash);
            }
        }
        self.known = newest.into_iter().map(|((_, _, tag), (stamp, hash))| ((stamp, tag), hash)).collect();
        let mut bytes: Vec<[u8; RECORD]> = self.known.iter().map(|((stamp, tag), hash)| record_of(stamp, *tag, hash)).collect();
        bytes.sort_unstable();
        let new = path.with_extension("new");
        std::fs::write(&new, bytes.concat()).map_err(|e| Error::io("write", &new, e))?;
        std::fs::rename(&new, path).map_err(|e| Error::io("replace", path, e))?;
        self.records = bytes.len();
        self.read_to = (bytes.len() * RECORD) as u64;
        self.inode = std::fs::metadata(path).map_or(0, |m| m.ino());
        Ok(())
    }
}
