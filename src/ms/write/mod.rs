//! Tables written from nothing, in the layout of casacore's storage managers.

// Tables are written in the byte order of the machine, which every header declares as little-endian.
const _: () = assert!(cfg!(target_endian = "little"));

mod cells;
mod incremental;
mod standard;
mod stream;
mod table;
mod tiled;

pub use stream::Keyword;
pub use table::{Cells, Column, Shape, TableWriter};
pub use tiled::TiledWriter;
