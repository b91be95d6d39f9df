//! Reproducible scripts for radio-interferometry data reduction.
//!
//! The rooms of the house and the arrows between them are described in `docs/architecture.md`;
//! signs, units and frames in `docs/conventions.md`.

// words: plain types, no files, no threads, no Rhai
pub mod calendar;
pub mod data;
pub mod error;
pub mod notice;
pub mod options;
pub mod sky;
pub mod units;

// edges: files
pub mod fits;
pub mod ms;

// science: arrays in, arrays out
pub mod align;
pub mod gridding;
pub mod imaging;
pub mod products;
pub mod staging;

// figures
pub mod plot;

// the program
pub mod cli;
pub mod run;
pub mod script;

#[cfg(test)]
mod testdata;
