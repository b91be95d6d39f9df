//! Where a script may read and write: its project, and what the user declared on the command line.

use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;

use crate::error::{Error, Result};

/// The folders and files open to a script.
#[derive(Debug)]
pub struct Sandbox {
    project: PathBuf,
    declared: Mutex<Declared>,
}

#[derive(Debug, Default)]
struct Declared {
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
    /// Beginnings of names to write.
    prefix: Vec<PathBuf>,
}

impl Sandbox {
    /// A sandbox around a project folder, which must exist.
    pub fn new(project: &Path) -> Result<Sandbox> {
        let project = project.canonicalize().map_err(|e| Error::io("open the project folder", project, e))?;
        Ok(Sandbox { project, declared: Mutex::default() })
    }

    /// The project folder, absolute and without links.
    pub fn project(&self) -> &Path {
        &self.project
    }

    /// Opens a path that the user gave for reading.
    pub fn declare_read(&self, path: &Path) {
        if let Ok(mut declared) = self.declared.lock() {
            declared.read.push(resolve(path));
        }
    }

    /// Opens a path that the user gave for writing (and reading).
    pub fn declare_write(&self, path: &Path) {
        if let Ok(mut declared) = self.declared.lock() {
            declared.write.push(resolve(path));
        }
    }

    /// Opens all paths whose names begin so for writing (and reading): `a/b` opens `a/b.fits`, `a/b_dirty.fits`, `a/b/c`.
    pub fn declare_prefix(&self, path: &Path) {
        if let Ok(mut declared) = self.declared.lock() {
            declared.prefix.push(resolve(path));
        }
    }

    /// A path to read: relative ones are in the project.
    pub fn readable(&self, text: &str) -> Result<PathBuf> {
        self.allowed(text, "read", |d, p| d.read.iter().any(|root| p.starts_with(root)) || d.may_write(p))
    }

    /// A path to write: relative ones are in the project.
    pub fn writable(&self, text: &str) -> Result<PathBuf> {
        self.allowed(text, "write", Declared::may_write)
    }

    fn allowed(&self, text: &str, verb: &str, declared: impl Fn(&Declared, &Path) -> bool) -> Result<PathBuf> {
        if text.is_empty() || text.contains('\0') {
            return Err(Error::user(format!("cannot {verb} a file with an empty or invalid name")));
        }
        let path = resolve(&self.project.join(text));
        let open = path.starts_with(&self.project) || self.declared.lock().is_ok_and(|d| declared(&d, &path));
        if open {
            return Ok(path);
        }
        Err(Error::user(format!("the script may not {verb} outside its project"))
            .hint(format!("give the path on the command line (`-p name=path`), or place it under {}", self.project.display()))
            .at(path))
    }

    /// A path as a script writes it: relative to the project where it lies inside.
    pub fn show(&self, path: &Path) -> String {
        path.strip_prefix(&self.project).unwrap_or(path).display().to_string()
    }
}

impl Declared {
    fn may_write(&self, path: &Path) -> bool {
        self.write.iter().any(|root| path.starts_with(root)) || self.prefix.iter().any(|prefix| begins_with(path, prefix))
    }
}

/// True if the name of `path`, or of a folder that it lies in, is that of `prefix`, alone or followed by `.`, `_` or `-`.
pub fn begins_with(path: &Path, prefix: &Path) -> bool {
    match path.as_os_str().as_encoded_bytes().strip_prefix(prefix.as_os_str().as_encoded_bytes()) {
        Some([]) => true,
        Some([next, ..]) => prefix.file_name().is_some() && matches!(next, b'.' | b'_' | b'-' | b'/'),
        None => false,
    }
}

/// Absolute path without `..` and with every existing link followed, also where the last parts do not exist yet.
pub fn resolve(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut out = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            part => {
                out.push(part);
                if let Ok(real) = out.canonicalize() {
                    out = real;
                } else if let Ok(target) = std::fs::read_link(&out) {
                    // A link to something that does not exist yet still says where a write would land.
                    out.pop();
                    out = resolve(&out.join(target));
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_cannot_leave_its_project() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("project");
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(dir.path().join("secret"), "x").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(dir.path().join("secret"), inside.join("link")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("later"), inside.join("dangling")).unwrap();
        let s = Sandbox::new(&inside).unwrap();
        for path in ["../secret", "a/../../secret", "link", dir.path().join("secret").to_str().unwrap()] {
            assert!(s.readable(path).is_err(), "{path}");
        }
        assert!(s.writable("dangling").is_err());
        assert!(s.writable("new/folder/file").is_ok());
        s.declare_read(&dir.path().join("secret"));
        assert!(s.readable("../secret").is_ok());
        assert!(s.writable("../secret").is_err());
        s.declare_prefix(&dir.path().join("images/disk"));
        for (path, open) in
            [("disk.image.fits", true), ("disk_dirty.psf.fits", true), ("disk", true), ("disk/x", true), ("disks", false), ("other", false)]
        {
            assert_eq!(s.writable(&format!("../images/{path}")).is_ok(), open, "{path}");
        }
    }
}
