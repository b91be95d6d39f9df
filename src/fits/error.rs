//! What can be wrong with a FITS file.

use crate::error::{Explain, Kind};

/// Errors of reading and writing FITS files.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FitsError {
    /// cfitsio says no.
    #[error("cannot {what}: {reason} (cfitsio status {status})")]
    Cfitsio {
        /// What was tried.
        what: String,
        /// cfitsio's text.
        reason: String,
        /// cfitsio's number.
        status: i32,
    },
    /// Not a FITS file at all.
    #[error("the file is not FITS: it begins with {0:?} where \"SIMPLE  =\" was expected")]
    NotFits(String),
    /// The file ends before its data do.
    #[error("the file is truncated: its header promises data up to byte {expected}, the file ends at byte {found}")]
    Truncated {
        /// Bytes the header promises.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// No image in the file.
    #[error("no image found: {0}")]
    NoImage(String),
    /// The axes are not those of an image or cube.
    #[error("the axes are {found}; expected {expected}")]
    Axes {
        /// CTYPE and length of every axis.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// Several Stokes planes.
    #[error("the file has {n} Stokes planes ({names}); choose one")]
    Stokes {
        /// Number.
        n: usize,
        /// Their names.
        names: String,
    },
    /// A keyword that is needed is missing or of the wrong kind.
    #[error("keyword {key} {problem}; expected {expected}")]
    Keyword {
        /// Its name.
        key: String,
        /// What is wrong.
        problem: String,
        /// What was expected.
        expected: &'static str,
    },
    /// The output is there already.
    #[error("the file exists; nothing was written")]
    Exists,
    /// Not as many planes as the header says.
    #[error("{found} planes were written to a cube of {expected}")]
    Incomplete {
        /// Planes written.
        found: usize,
        /// Planes promised.
        expected: usize,
    },
}

impl Explain for FitsError {
    fn kind(&self) -> Kind {
        match self {
            FitsError::Exists | FitsError::Stokes { .. } => Kind::User,
            FitsError::Incomplete { .. } => Kind::Internal,
            FitsError::Cfitsio { status: 104, .. } => Kind::User,
            _ => Kind::Data,
        }
    }
    fn hint(&self) -> Option<String> {
        Some(
            match self {
                FitsError::Cfitsio { status: 104, .. } => "check the path",
                FitsError::Cfitsio { status: 107 | 108, .. } => "the copy or download may be incomplete; compare its size with the source",
                FitsError::NotFits(_) => "is it a CASA image, HDF5, or the error page of a download?",
                FitsError::Truncated { .. } => "the copy or download may be incomplete; compare its size with the source",
                FitsError::NoImage(_) => "name the extension, for example hdu: 1",
                FitsError::Stokes { .. } => "for example stokes: \"I\"",
                FitsError::Exists => "give overwrite: true to replace it",
                FitsError::Keyword { .. } | FitsError::Axes { .. } => {
                    "look at the header; a keyword can be given as an option where the verb has one"
                }
                _ => return None,
            }
            .to_string(),
        )
    }
}
