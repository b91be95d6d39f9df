//! Visibilities made ready: simulated, averaged, split.

pub mod simulate;
