//! All blocks at once: a common unknown sky, an offset and a flux scale for each block.
//!
//! V_e = g_e V(u) exp(2πi u.x_e) + noise. The sky is an image with compact support and a Gaussian prior whose power follows the
//! data; it is eliminated exactly, so that the stated errors include that it is unknown.

mod chain;
mod compress;
mod linear;
mod options;
mod prior;
mod refine;
mod report;
mod residual;
mod result;
mod sky;
mod solve;
mod state;
mod support;
mod tune;

pub use options::{JointOptions, SupportOption, SupportRegion};
pub use result::{BlockStatus, JointBlock, JointFit, SkyMap};
pub use solve::align_jointly;
pub use support::{Support, SupportPatch};
