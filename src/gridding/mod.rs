//! From irregular (u,v) points to images and back; the room that owns the signs of the Fourier transform.
//!
//! V(u,v) = Σ I(l,m) exp(+2πi(ul + vm)), l to the east and m to the north, UVW as stored in the set
//! (`docs/conventions.md`). [`Nufft::degrid`] evaluates this sum, [`Nufft::grid`] is its exact adjoint.

mod error;
mod fft;
mod float;
mod gridder;
mod kernel;
mod nufft;
mod plane;
mod samples;
mod shape;
mod simd;
mod spread;
#[cfg(test)]
mod tests;
mod tiles;
mod weight;
mod wide;

pub use error::GridError;
pub use fft::{RealFft2, good_size};
pub use float::Float;
pub use gridder::{Content, Geometry, Gridder, UvPlane};
pub use kernel::Kernel;
pub use nufft::Nufft;
pub use samples::Samples;
pub use shape::{KernelShape, Oversampling};
pub use weight::{Density, Rounding, Scheme, Taper, WeightRule};
pub use wide::{WideGridder, WidePlane, w_phase};
