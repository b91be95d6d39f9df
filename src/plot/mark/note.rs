//! Words in a panel, and the scale bar.

use super::{Mark, Plane};
use crate::plot::canvas::Stroke;
use crate::plot::color::Rgb;
use crate::plot::geometry::{Point, Rect};
use crate::plot::text::{self, Align, Level, Type};
use crate::plot::theme;

/// A corner of a panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Corner {
    TopLeft,
    TopRight,
    BottomLeft,
    BottomRight,
}

impl Corner {
    /// All corners, in the order in which a legend tries them.
    pub const ALL: [Corner; 4] = [Corner::TopRight, Corner::TopLeft, Corner::BottomRight, Corner::BottomLeft];
    /// On the left side.
    pub fn left(self) -> bool {
        matches!(self, Corner::TopLeft | Corner::BottomLeft)
    }
    /// On the upper side.
    pub fn top(self) -> bool {
        matches!(self, Corner::TopLeft | Corner::TopRight)
    }
    /// The point `d` inside from the corner of `rect`.
    pub fn inside(self, rect: &Rect, d: Point) -> Point {
        [if self.left() { rect.x0 + d[0] } else { rect.x1 - d[0] }, if self.top() { rect.y0 + d[1] } else { rect.y1 - d[1] }]
    }
}

/// Lines of words at a place.
#[derive(Debug, Clone)]
pub struct Note {
    lines: Vec<String>,
    place: Place,
    style: Type,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Corner(Corner),
    Fraction(Point, Align),
    Data(Point, Align, Point),
}

impl Note {
    /// In a corner of the panel.
    pub fn corner<S: Into<String>>(corner: Corner, lines: impl IntoIterator<Item = S>) -> Note {
        Note { lines: lines.into_iter().map(Into::into).collect(), place: Place::Corner(corner), style: Type::new(theme::NOTE) }
    }
    /// At fractions of the panel's width and height, from the lower left.
    pub fn fraction(text: impl Into<String>, at: Point, align: Align) -> Note {
        Note { lines: vec![text.into()], place: Place::Fraction(at, align), style: Type::new(theme::NOTE) }
    }
    /// Beside a data point, moved by `shift` points of the page.
    pub fn data(text: impl Into<String>, at: Point, align: Align, shift: Point) -> Note {
        Note { lines: vec![text.into()], place: Place::Data(at, align, shift), style: Type::new(theme::NOTE) }
    }
    /// Several lines beside a data point.
    pub fn data_lines(lines: Vec<String>, at: Point, align: Align, shift: Point) -> Note {
        Note { lines, place: Place::Data(at, align, shift), style: Type::new(theme::NOTE) }
    }
    /// In this type.
    pub fn style(self, style: Type) -> Note {
        Note { style, ..self }
    }
}

impl Mark for Note {
    fn extent(&self, see: &mut dyn FnMut(Point)) {
        if let Place::Data(at, ..) = self.place {
            see(at);
        }
    }
    fn draw(&self, plane: &mut Plane) {
        let step = 1.4 * self.style.size;
        let height = step * (self.lines.len().max(1) - 1) as f64 + text::CAP_HEIGHT * self.style.size;
        let (at, align) = match self.place {
            Place::Corner(corner) => {
                let p = corner.inside(&plane.rect, [11.0, if corner.top() { 11.0 } else { 11.0 + height }]);
                (p, if corner.left() { Align::Left } else { Align::Right })
            }
            Place::Fraction(f, align) => {
                let p = plane.rect.at_fraction(f[0], f[1]);
                ([p[0], p[1] - height / 2.0], align)
            }
            Place::Data(p, align, shift) => {
                let p = plane.at(p);
                ([p[0] + shift[0], p[1] + shift[1] - height / 2.0], align)
            }
        };
        if !at[0].is_finite() || !at[1].is_finite() {
            return;
        }
        for (i, line) in self.lines.iter().enumerate() {
            text::draw(plane.canvas, line, [at[0], at[1] + i as f64 * step], align, Level::Top, &self.style);
        }
    }
}

/// A bar of known length in a corner, with what it stands for.
#[derive(Debug, Clone)]
pub struct ScaleBar {
    /// Length in the unit of the horizontal axis.
    pub length: f64,
    /// What stands above it: `"100 au"`.
    pub label: String,
    /// Corner.
    pub corner: Corner,
    /// Color.
    pub color: Rgb,
}

impl Mark for ScaleBar {
    fn draw(&self, plane: &mut Plane) {
        let length = self.length * plane.x.per_unit();
        if !(length.is_finite() && length > 0.0) {
            return;
        }
        let style = Type::new(theme::NOTE).color(self.color);
        let half = length.max(text::width(&self.label, &style)) / 2.0;
        let drop = if self.corner.top() { 18.0 + style.size } else { 13.0 };
        let [x, y] = self.corner.inside(&plane.rect, [half + 11.0, drop]);
        plane.canvas.stroke(&[[x - length / 2.0, y], [x + length / 2.0, y]], &Stroke::new(self.color, 2.0));
        text::draw(plane.canvas, &self.label, [x, y - 6.0], Align::Center, Level::Baseline, &style);
    }
}
