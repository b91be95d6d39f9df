//! Data types that every room shares; invariants are checked in their constructors.

mod baselines;
mod beam;
mod cube;
mod description;
mod error;
mod image;
mod mask;
mod memory;
mod meta;
mod plane;
mod rows;
mod shift_table;
mod visibilities;

pub use baselines::BaselinesOf;
pub use beam::{Beam, Beams, Ellipse};
pub use cube::{Cube, CubeInfo, CubeSink, CubeSource, RowSink};
pub use description::{Antenna, Field, FreqFrame, Observation, SetDescription, SpectralWindow};
pub use error::DataError;
pub use image::Image;
pub use mask::{Mask, fill_row, finite_plane, set_bits, valid_bits};
pub use memory::MemoryVis;
pub use meta::{Brightness, Card, CardValue, Meta, Unit};
pub use plane::{LinearAxis, Plane};
pub use rows::RowBlock;
pub use shift_table::{SHIFT_COLUMNS, ShiftRow, ShiftTable};
pub use visibilities::{Corr, VisBlock, VisSource, VisWeight};
