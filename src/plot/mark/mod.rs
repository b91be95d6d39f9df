//! What is drawn inside a panel.

mod curve;
mod field;
mod note;
mod point;
mod shape;

pub use curve::{Band, Line, Rule, Steps};
pub use field::{Contours, Grid, ImageMark};
pub use note::{Corner, Note, ScaleBar};
pub use point::{Points, Symbol};
pub use shape::{Bars, Beam, EllipseMark};

use super::axis::View;
use super::canvas::Canvas;
use super::geometry::{Point, Rect};

/// The inside of a panel while it is drawn.
pub struct Plane<'a> {
    /// The page, clipped to the panel.
    pub canvas: &'a mut Canvas,
    /// The frame of the panel in points of the page.
    pub rect: Rect,
    /// Horizontal axis.
    pub x: View,
    /// Vertical axis.
    pub y: View,
}

impl Plane<'_> {
    /// Place of a data point on the page; not finite where an axis cannot show it.
    pub fn at(&self, p: Point) -> Point {
        [self.x.at(p[0]), self.y.at(p[1])]
    }
    /// Places of many data points.
    pub fn line(&self, points: &[Point]) -> Vec<Point> {
        points.iter().map(|p| self.at(*p)).collect()
    }
}

/// Something drawn inside a panel.
pub trait Mark {
    /// Shows `see` the points that the panel's range and legend should take care of; NaN where a coordinate does not matter.
    fn extent(&self, see: &mut dyn FnMut(Point)) {
        let _ = see;
    }
    /// Draws.
    fn draw(&self, plane: &mut Plane);
    /// What the legend says; `None` to stay out of it.
    fn key(&self) -> Option<&str> {
        None
    }
    /// Draws a sample for the legend.
    fn swatch(&self, canvas: &mut Canvas, area: &Rect) {
        let _ = (canvas, area);
    }
}
