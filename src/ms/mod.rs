//! MeasurementSets: read, select, shift, and the files of casacore tables below them.

pub mod aipsio;
pub mod casacore;
mod error;
pub mod table_files;
pub mod tiled_header;
pub mod tiles;

pub use error::MsError;
pub use table_files::TableFiles;
pub use tiles::{TileValue, TiledColumn};

#[cfg(test)]
mod tests;
