//! Products of cubes: verbs over FITS files and CASA images.
//!
//! Cubes are named by path, read in place and written under their own name: the step key holds their content.

pub mod cubes;
pub mod figures;
pub mod files;
pub mod grids;
pub mod maps;
pub mod masks;
pub mod spectra;

/// A cube of 48 x 48 pixels for examples.
macro_rules! demo {
    ($rest:literal) => {
        concat!("let g = simulate_galaxy(\"demo\", #{ pixels: 48, channels: 40, cell: \"1.2arcsec\", beam: \"4arcsec\", channel_width: \"8km/s\" });\n", $rest)
    };
}
pub(crate) use demo;
