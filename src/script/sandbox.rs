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

    /// A path to read: relative ones are in the project.
    pub fn readable(&self, text: &str) -> Result<PathBuf> {
        self.allowed(text, "read", |d, p| d.read.iter().chain(&d.write).any(|root| p.starts_with(root)))
    }

    /// A path to write: relative ones are in the project.
    pub fn writable(&self, text: &str) -> Result<PathBuf> {
        self.allowed(text, "write", |d, p| d.write.iter().any(|root| p.starts_with(root)))
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
    }
}
