//! FITS files: images, cubes, tables and headers.
//!
//! Pixels count from 0 here and from 1 in the files; blanks are NaN; values are f32.

mod axes;
mod content;
mod error;
mod handle;
mod header;
mod read;
mod table;
#[cfg(test)]
mod tests;
mod write;

pub use content::FitsFiles;
pub use error::FitsError;
pub use header::Header;
pub use read::{FitsCube, given_beam, is_cube, open_cube, read_column, read_cube, read_header, read_image, read_plane};
pub use table::{Column, write_table};
pub use write::{CubeWriter, Pixels, write_cube, write_image, write_mask, write_plane};

use crate::units::{Angle, Frequency};

crate::options! {
    /// Options of reading images and cubes.
    pub struct ReadOptions {
        /// Extension to read, 0 the primary one; automatic takes the first that holds an image.
        ["1"] hdu: Option<usize> = None,
        /// Stokes parameter to read where the file has several, for example "I".
        [""] stokes: Option<String> = None,
        /// Unit of the values, where the header lacks it or has it wrong.
        [""] unit: Option<String> = None,
        /// Beam, where the header lacks it or has it wrong: major axis, minor axis, position angle.
        ["arcsec"] beam: Option<Vec<Angle>> = None,
        /// Rest frequency, where the header lacks it or has it wrong.
        ["GHz"] rest_freq: Option<Frequency> = None,
    }
}
