//! Tests of the alignment room on simulated blocks whose offsets are known.

mod joint;
mod pairwise;
pub mod sky;
mod uv;
