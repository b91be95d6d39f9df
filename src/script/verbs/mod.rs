//! The verbs, by group; each converts, runs the science, and converts back.

use super::verb::Verb;

mod run;
mod simulate;

pub use run::shown;

/// All groups in the order in which help lists them.
pub static GROUPS: &[&[&Verb]] = &[run::VERBS, simulate::VERBS];
