//! From irregular (u,v) points to images and back; the room that owns the signs of the Fourier transform.
//!
//! V(u,v) = Σ I(l,m) exp(+2πi(ul + vm)), l to the east and m to the north, UVW as stored in the set
//! (`docs/conventions.md`). [`Nufft::degrid`] evaluates this sum, [`Nufft::grid`] is its exact adjoint.

mod error;
mod fft;
mod kernel;
mod nufft;

pub use error::GridError;
pub use fft::{RealFft2, good_size};
pub use kernel::Kernel;
pub use nufft::Nufft;
