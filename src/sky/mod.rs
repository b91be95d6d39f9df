//! Directions on the sky and their frames.

mod direction;

pub use direction::{Direction, Frame};
