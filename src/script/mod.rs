//! The only room that knows Rhai: verbs, their catalogue, the engine, cells and parameters.

pub mod builtin;
pub mod catalogue;
pub mod cells;
pub mod context;
pub mod engine;
pub mod lint;
pub mod params;
pub mod sandbox;
pub mod value;
pub mod verb;
pub mod verbs;

#[cfg(test)]
mod tests;
