//! Directions on the sky and their frames, world coordinates of images and of spectral axes.

mod celestial;
mod direction;
mod doppler;
mod earth;
mod offset;
mod spectral;

pub use celestial::{Celestial, CelestialError, CelestialKeys, Projection};
pub use direction::{Direction, Frame};
pub use doppler::{Doppler, DopplerError};
pub use earth::UvwAxes;
pub use offset::{Offset, Recenter};
pub use spectral::{SpectralAxis, SpectralError, SpectralFrame, SpectralKind};
