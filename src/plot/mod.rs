//! Figures from plain data: a small grammar of [`Figure`], [`Panel`], [`Axis`] and [`mark`]s, and the figures made with it.
//!
//! ```
//! use phangs_script::plot::{Axis, Figure, Panel, mark::Line, color::series_color};
//! let wave: Vec<[f64; 2]> = (0..100).map(|i| [i as f64, (0.1 * i as f64).sin()]).collect();
//! let panel = Panel::new(Axis::new("Time (s)"), Axis::new("Signal (Jy)")).with(Line::new(wave, series_color(0)).key("model"));
//! let png = Figure::single(panel, 0.7).png("A sine wave.").unwrap();
//! assert!(png.starts_with(b"\x89PNG"));
//! ```
//!
//! A figure is made of data only: the same data give the same bytes, on any machine.

pub mod align;
mod axis;
pub mod canvas;
pub mod color;
mod contour;
mod draw;
mod error;
mod figure;
pub mod geometry;
pub mod imaging;
mod layout;
pub mod mark;
mod names;
mod panel;
pub mod products;
#[cfg(test)]
mod tests;
pub mod text;
pub mod theme;
pub mod ticks;

use std::path::Path;

pub use axis::{Axis, Scale, View};
pub use contour::trace;
pub use error::PlotError;
pub use figure::{Figure, Row};
pub use names::short_names;
pub use panel::{Aspect, ColorBar, Legend, Panel, Side, SkyImage};

/// Data that can be shown as a figure.
pub trait Plot {
    /// The figure.
    fn figure(&self) -> crate::error::Result<Figure>;

    /// One or two sentences that say what the figure shows, with its numbers: for readers who cannot see it.
    fn alt(&self) -> String;

    /// Writes the figure as PNG, whole or not at all, and returns its alt text.
    fn write(&self, path: &Path) -> crate::error::Result<String> {
        let alt = self.alt();
        self.figure()?.write(path, &alt)?;
        Ok(alt)
    }
}
