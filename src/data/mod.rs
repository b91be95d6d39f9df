//! Data types that every room shares; invariants are checked in their constructors.

mod visibilities;

pub use visibilities::{Corr, VisBlock, VisSource, VisWeight};
