//! One step at a time: what it depends on, whether it is done, doing it once, and the record that it leaves.
//!
//! A [`Session`] is one run of a script. [`Session::step`] takes what a verb declares ([`StepCall`]) and a closure that does the
//! work; it hashes what is read, looks the key up, and runs, skips or restores. This room knows no verb and no file format: it
//! stores bytes by key. Formats say what their content is through [`Content`].

mod check;
mod content;
mod diff;
mod error;
mod explain;
mod gc;
mod hash;
mod inplace;
mod key;
mod lock;
mod memo;
mod perform;
mod placeholder;
mod plan;
mod reason;
pub mod record;
pub mod report;
mod session;
mod step;
mod store;
mod time;
mod usage;

pub use check::{Checked, Checks, Found, Repeated, Role, check, compare};
pub use content::{Content, Looking, Part, PartState, Piece, PlainFile, PlainFolder, Registry, Source, State, files_below};
pub use diff::{CodeLine, Diff, FigureDiff, Moved, StepDiff, diff};
pub use error::RunError;
pub use gc::{Dropped, Keeping, gc};
pub use hash::{Hash, Hasher, hash_file};
pub use memo::{How, Memo, ReadFn};
pub use reason::{Reason, in_words};
pub use session::{Session, SessionOptions, Summary};
pub use step::{Counts, Read, StepCall, StepContext, StepResult, Write};
pub use store::{Store, partial_of};
pub use time::now;
pub use usage::{Machine, Meter, Usage};

#[cfg(test)]
mod tests;
