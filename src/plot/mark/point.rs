//! Points with error bars.

use super::{Mark, Plane};
use crate::plot::canvas::{Canvas, Stroke};
use crate::plot::color::Rgb;
use crate::plot::geometry::{Point, Rect};

/// The shape of a point: with the color it tells series apart without color vision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symbol {
    /// Disk.
    Circle,
    /// Square.
    Square,
    /// Triangle, point up.
    Up,
    /// Square on its corner.
    Diamond,
    /// Triangle, point down.
    Down,
    /// Five-pointed star.
    Star,
    /// Plus sign.
    Plus,
    /// Cross.
    Cross,
}

impl Symbol {
    /// The symbol of the `i`-th series; with [`crate::plot::color::series_color`] the first 42 differ.
    pub fn series(i: usize) -> Symbol {
        [Symbol::Circle, Symbol::Square, Symbol::Up, Symbol::Diamond, Symbol::Down, Symbol::Star][i % 6]
    }

    /// Outline of a symbol about as large as a circle of radius `r`.
    fn outline(self, at: Point, r: f64) -> Vec<Point> {
        let polygon = |n: usize, r: f64, turn: f64, inner: f64| -> Vec<Point> {
            (0..n)
                .map(|i| {
                    let (s, c) = (turn + i as f64 * std::f64::consts::TAU / n as f64).sin_cos();
                    let r = if i % 2 == 1 { r * inner } else { r };
                    [at[0] + r * c, at[1] + r * s]
                })
                .collect()
        };
        let up = -std::f64::consts::FRAC_PI_2;
        match self {
            Symbol::Square => Rect::new(at[0], at[1], at[0], at[1]).grown(0.88 * r).corners(),
            Symbol::Up => polygon(3, 1.3 * r, up, 1.0),
            Symbol::Down => polygon(3, 1.3 * r, -up, 1.0),
            Symbol::Diamond => polygon(4, 1.25 * r, up, 1.0),
            Symbol::Star => polygon(10, 1.45 * r, up, 0.45),
            _ => polygon(28, r, 0.0, 1.0),
        }
    }

    /// Draws the symbol with a thin white rim that keeps neighbours apart; hollow ones are white inside.
    pub fn draw(self, canvas: &mut Canvas, at: Point, r: f64, color: Rgb, hollow: bool) {
        if matches!(self, Symbol::Plus | Symbol::Cross) {
            let d = if self == Symbol::Cross { [0.8 * r, 0.8 * r] } else { [1.2 * r, 0.0] };
            for [dx, dy] in [d, [-d[1], d[0]]] {
                let arm = [[at[0] - dx, at[1] - dy], [at[0] + dx, at[1] + dy]];
                canvas.stroke(&arm, &Stroke::new(color, (0.3 * r).clamp(1.2, 2.4)));
            }
            return;
        }
        let outline = self.outline(at, r);
        canvas.stroke_closed(&outline, &Stroke::new(Rgb::WHITE, 1.6).alpha(0.8));
        canvas.fill(&outline, if hollow { Rgb::WHITE } else { color }, 1.0);
        if hollow {
            canvas.stroke_closed(&outline, &Stroke::new(color, 1.5));
        }
    }
}

/// Points with optional error bars.
#[derive(Debug, Clone)]
pub struct Points {
    /// Places in data coordinates.
    pub points: Vec<Point>,
    /// One-sigma errors in x and y, one for each point or none at all; NaN or 0 for no bar.
    pub errors: Vec<Point>,
    /// Shape.
    pub symbol: Symbol,
    /// Radius in points of the page.
    pub radius: f64,
    /// Color.
    pub color: Rgb,
    /// White inside.
    pub hollow: bool,
    /// Legend entry.
    pub key: Option<String>,
}

impl Points {
    /// Disks of radius 4.
    pub fn new(points: Vec<Point>, color: Rgb) -> Points {
        Points { points, errors: Vec::new(), symbol: Symbol::Circle, radius: 4.0, color, hollow: false, key: None }
    }
    /// With errors in x and y.
    pub fn errors(self, errors: Vec<Point>) -> Points {
        Points { errors, ..self }
    }
    /// With errors in y.
    pub fn y_errors(self, errors: impl IntoIterator<Item = f64>) -> Points {
        Points { errors: errors.into_iter().map(|e| [f64::NAN, e]).collect(), ..self }
    }
    /// With this shape.
    pub fn symbol(self, symbol: Symbol) -> Points {
        Points { symbol, ..self }
    }
    /// With this radius.
    pub fn radius(self, radius: f64) -> Points {
        Points { radius, ..self }
    }
    /// White inside.
    pub fn hollow(self) -> Points {
        Points { hollow: true, ..self }
    }
    /// With this legend entry.
    pub fn key(self, key: impl Into<String>) -> Points {
        Points { key: Some(key.into()), ..self }
    }

    fn error_bar(&self, plane: &mut Plane, p: Point, axis: usize, error: f64) {
        if !(error.is_finite() && error > 0.0) {
            return;
        }
        let (mut lo, mut hi) = (p, p);
        lo[axis] -= error;
        hi[axis] += error;
        let (mut a, b) = (plane.at(lo), plane.at(hi));
        if !a[axis].is_finite() {
            // The lower end lies at or below zero on a logarithmic axis.
            a[axis] = if axis == 0 { plane.rect.x0 - 20.0 } else { plane.rect.y1 + 20.0 };
        }
        let stroke = Stroke::new(self.color, 1.2);
        plane.canvas.stroke(&[a, b], &stroke);
        for end in [a, b] {
            let (mut c, mut d) = (end, end);
            c[1 - axis] -= 2.5;
            d[1 - axis] += 2.5;
            plane.canvas.stroke(&[c, d], &stroke);
        }
    }
}

impl Mark for Points {
    fn extent(&self, see: &mut dyn FnMut(Point)) {
        for (i, p) in self.points.iter().enumerate() {
            see(*p);
            let e = self.errors.get(i).copied().unwrap_or([f64::NAN; 2]);
            see([p[0] - e[0], p[1] - e[1]]);
            see([p[0] + e[0], p[1] + e[1]]);
            see([p[0], p[1] - e[1]]);
            see([p[0], p[1] + e[1]]);
        }
    }
    fn draw(&self, plane: &mut Plane) {
        for (p, e) in self.points.iter().zip(&self.errors) {
            self.error_bar(plane, *p, 0, e[0]);
            self.error_bar(plane, *p, 1, e[1]);
        }
        for p in &self.points {
            let at = plane.at(*p);
            if at[0].is_finite() && at[1].is_finite() && plane.rect.grown(20.0).contains(at) {
                self.symbol.draw(plane.canvas, at, self.radius, self.color, self.hollow);
            }
        }
    }
    fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
    fn swatch(&self, canvas: &mut Canvas, area: &Rect) {
        if !self.errors.is_empty() {
            let [x, y] = area.center();
            canvas.stroke(&[[x, y - 7.0], [x, y + 7.0]], &Stroke::new(self.color, 1.2));
        }
        self.symbol.draw(canvas, area.center(), self.radius.min(5.0), self.color, self.hollow);
    }
}
