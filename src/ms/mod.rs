//! MeasurementSets: read, select, shift, create, and the files of casacore tables below them.

pub mod aipsio;
pub mod atomic;
pub mod casacore;
pub mod create;
mod error;
pub mod history;
mod schema;
mod subtables;
pub mod table_files;
pub mod tiled_header;
pub mod tiles;
pub mod write;

pub use create::{SetLayout, SetWriter, write_set};
pub use error::MsError;
pub use history::{HistoryEntry, append_history};
pub use table_files::TableFiles;
pub use tiles::{TileValue, TiledColumn};

#[cfg(test)]
mod create_tests;
#[cfg(test)]
mod tests;
