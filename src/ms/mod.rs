//! MeasurementSets: read, select, shift, create, and the files of casacore tables below them.

pub mod aipsio;
pub mod atomic;
pub mod blocks;
pub mod casacore;
mod column_reader;
pub mod concat;
pub mod content;
mod copy_set;
pub mod create;
mod error;
mod guard;
pub mod history;
mod image;
mod image_write;
mod labels;
pub mod measurement_set;
mod pointings;
mod rewrite;
pub mod rotation;
pub mod rows;
pub mod scalars;
mod schema;
pub mod select;
mod select_terms;
mod selected;
pub mod shift;
pub mod split;
mod subtables;
mod subtables_read;
pub mod summary;
pub mod table_files;
pub mod tiled_header;
pub mod tiles;
pub mod uvfits;
pub mod uvtable;
pub mod write;

pub use blocks::{ExecutionBlock, blocks};
pub use column_reader::ColumnReader;
pub use content::{TableFolders, sets_below};
pub use create::{SetLayout, SetWriter, write_set};
pub use error::MsError;
pub(crate) use guard::check_is_set;
pub use history::{HistoryEntry, append_history};
pub use image::{is_casa_image, read_casa_cube, read_casa_image};
pub use image_write::CasaImageWriter;
pub use labels::Labels;
pub use measurement_set::{Antenna, DataDescription, Field, MeasurementSet, Observation, Spw, StoredDirection, set_name};
pub use rewrite::rewrite_visibilities;
pub use rows::{RowIndex, Runs, Segment};
pub use select::{Names, Selection, matching_spws};
pub use selected::{Selected, SelectedWindow};
pub use shift::{ShiftOptions, shift};
pub use split::split_block;
pub use summary::{Summary, summary};
pub use table_files::TableFiles;
pub use tiles::{TileValue, TiledColumn};

#[cfg(test)]
mod create_tests;
#[cfg(test)]
mod guard_tests;
#[cfg(test)]
mod scalars_tests;
#[cfg(test)]
mod shift_tests;
#[cfg(test)]
mod tests;
