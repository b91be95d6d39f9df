//! Locks between processes, and between threads of one: `flock` on a file that stays.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::notice::{Reporter, Warning};

/// A lock that is held until it is dropped or its process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock if nobody has it.
    pub fn try_take(path: &Path) -> Result<Option<Lock>> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|e| Error::io("create the folder", parent, e))?;
        }
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|e| Error::io("open the lock", path, e))?;
        // SAFETY: flock only reads the descriptor, which lives as long as `file`.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            // `gc` may have deleted the file between opening and locking: then others lock another file
            let same = std::fs::metadata(path).and_then(|now| Ok(now.ino() == file.metadata()?.ino()));
            return Ok(same.unwrap_or(false).then_some(Lock { _file: file }));
        }
        let e = std::io::Error::last_os_error();
        match e.raw_os_error() {
            Some(libc::EWOULDBLOCK) | Some(libc::EINTR) => Ok(None),
            // a file system without locks: better unguarded than not at all
            Some(libc::ENOLCK) | Some(libc::ENOTSUP) | Some(libc::ENOSYS) => Ok(Some(Lock { _file: file })),
            _ => Err(Error::io("lock", path, e)),
        }
    }

    /// Takes the lock, waiting for whoever has it; `notice` can end the wait.
    pub fn wait(path: &Path, notice: &dyn Reporter) -> Result<Lock> {
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(lock) = Lock::try_take(path)? {
                return Ok(lock);
            }
            notice.check()?;
            notice.progress("waiting for another run", 0, 1);
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }
}

/// A reporter for short waits that nobody needs to hear of.
pub(crate) struct Patient;

impl Reporter for Patient {
    fn warn(&self, _warning: Warning) {}
    fn progress(&self, _stage: &str, _done: u64, _total: u64) {}
    fn cancelled(&self) -> bool {
        false
    }
}
