//! Lines, steps, bands and rules.

use super::{Mark, Plane};
use crate::plot::canvas::{Canvas, Stroke};
use crate::plot::color::Rgb;
use crate::plot::geometry::{Point, Rect};

/// A polyline; points that are not finite break it.
#[derive(Debug, Clone)]
pub struct Line {
    /// Points in data coordinates.
    pub points: Vec<Point>,
    /// How it is drawn.
    pub stroke: Stroke,
    /// Legend entry.
    pub key: Option<String>,
}

impl Line {
    /// A line of 1.6 points.
    pub fn new(points: Vec<Point>, color: Rgb) -> Line {
        Line { points, stroke: Stroke::new(color, 1.6), key: None }
    }
    /// With this stroke.
    pub fn stroke(self, stroke: Stroke) -> Line {
        Line { stroke, ..self }
    }
    /// With this legend entry.
    pub fn key(self, key: impl Into<String>) -> Line {
        Line { key: Some(key.into()), ..self }
    }
}

impl Mark for Line {
    fn extent(&self, see: &mut dyn FnMut(Point)) {
        self.points.iter().for_each(|p| see(*p));
    }
    fn draw(&self, plane: &mut Plane) {
        let line = plane.line(&self.points);
        plane.canvas.stroke(&line, &self.stroke);
    }
    fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
    fn swatch(&self, canvas: &mut Canvas, area: &Rect) {
        swatch_line(canvas, area, &self.stroke);
    }
}

fn swatch_line(canvas: &mut Canvas, area: &Rect, stroke: &Stroke) {
    let y = area.center()[1];
    canvas.stroke(&[[area.x0, y], [area.x1, y]], stroke);
}

/// A histogram: `values[i]` between `edges[i]` and `edges[i + 1]`.
#[derive(Debug, Clone)]
pub struct Steps {
    /// Edges, one more than the values.
    pub edges: Vec<f64>,
    /// Values.
    pub values: Vec<f64>,
    /// Outline.
    pub stroke: Stroke,
    /// Color and opacity of the area down to zero (or to the lower end of the axis).
    pub fill: Option<(Rgb, f64)>,
    /// Legend entry.
    pub key: Option<String>,
}

impl Steps {
    /// An outline of 1.6 points.
    pub fn new(edges: Vec<f64>, values: Vec<f64>, color: Rgb) -> Steps {
        Steps { edges, values, stroke: Stroke::new(color, 1.6), fill: None, key: None }
    }
    /// Filled below in the color of the outline.
    pub fn filled(self, alpha: f64) -> Steps {
        Steps { fill: Some((self.stroke.color, alpha)), ..self }
    }
    /// With this legend entry.
    pub fn key(self, key: impl Into<String>) -> Steps {
        Steps { key: Some(key.into()), ..self }
    }
    fn outline(&self) -> Vec<Point> {
        self.edges.windows(2).zip(&self.values).flat_map(|(e, v)| [[e[0], *v], [e[1], *v]]).collect()
    }
}

impl Mark for Steps {
    fn extent(&self, see: &mut dyn FnMut(Point)) {
        self.outline().into_iter().for_each(&mut *see);
        if self.fill.is_some() {
            see([f64::NAN, 0.0]);
        }
    }
    fn draw(&self, plane: &mut Plane) {
        if let Some((color, alpha)) = self.fill {
            let zero = plane.y.at(0.0);
            let base = if zero.is_finite() { zero } else { plane.rect.y1 };
            for pair in plane.line(&self.outline()).chunks_exact(2) {
                plane.canvas.fill(&[[pair[0][0], base], pair[0], pair[1], [pair[1][0], base]], color, alpha);
            }
        }
        let line = plane.line(&self.outline());
        plane.canvas.stroke(&line, &self.stroke);
    }
    fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
    fn swatch(&self, canvas: &mut Canvas, area: &Rect) {
        if let Some((color, alpha)) = self.fill {
            canvas.fill(&area.corners(), color, alpha);
        }
        swatch_line(canvas, area, &self.stroke);
    }
}

/// The area between two curves over the same x.
#[derive(Debug, Clone)]
pub struct Band {
    /// x, lower and upper value.
    pub points: Vec<[f64; 3]>,
    /// Color.
    pub color: Rgb,
    /// Opacity.
    pub alpha: f64,
    /// Legend entry.
    pub key: Option<String>,
}

impl Band {
    /// A pale band.
    pub fn new(points: Vec<[f64; 3]>, color: Rgb) -> Band {
        Band { points, color, alpha: 0.25, key: None }
    }
    /// With this legend entry.
    pub fn key(self, key: impl Into<String>) -> Band {
        Band { key: Some(key.into()), ..self }
    }
}

impl Mark for Band {
    fn extent(&self, see: &mut dyn FnMut(Point)) {
        self.points.iter().for_each(|p| {
            see([p[0], p[1]]);
            see([p[0], p[2]]);
        });
    }
    fn draw(&self, plane: &mut Plane) {
        let floor = plane.rect.y1 + 10.0;
        for run in self.points.split(|p| p.iter().any(|v| !v.is_finite())) {
            // On a logarithmic axis a lower edge at or below zero lies below the frame.
            let low = |p: &[f64; 3]| match plane.at([p[0], p[1]]) {
                [x, y] if !y.is_finite() => [x, floor],
                at => at,
            };
            let mut outline: Vec<Point> = run.iter().map(|p| plane.at([p[0], p[2]])).collect();
            outline.extend(run.iter().rev().map(low));
            plane.canvas.fill(&outline, self.color, self.alpha);
        }
    }
    fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
    fn swatch(&self, canvas: &mut Canvas, area: &Rect) {
        canvas.fill(&area.corners(), self.color, self.alpha);
    }
}

/// A line across the whole panel.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Value at which it lies.
    pub at: f64,
    /// True for a horizontal line (at a value of y).
    pub horizontal: bool,
    /// How it is drawn.
    pub stroke: Stroke,
    /// True if the range of the panel should include it.
    pub counts: bool,
}

impl Rule {
    /// A thin grey line at a value of y.
    pub fn y(at: f64) -> Rule {
        Rule { at, horizontal: true, stroke: Stroke::new(Rgb::GREY, 0.9), counts: true }
    }
    /// A thin grey line at a value of x.
    pub fn x(at: f64) -> Rule {
        Rule { horizontal: false, ..Rule::y(at) }
    }
    /// With this stroke.
    pub fn stroke(self, stroke: Stroke) -> Rule {
        Rule { stroke, ..self }
    }
}

impl Mark for Rule {
    fn extent(&self, see: &mut dyn FnMut(Point)) {
        if self.counts {
            see(if self.horizontal { [f64::NAN, self.at] } else { [self.at, f64::NAN] });
        }
    }
    fn draw(&self, plane: &mut Plane) {
        let r = plane.rect;
        let line = if self.horizontal {
            let y = Canvas::snap(plane.y.at(self.at), self.stroke.width);
            [[r.x0, y], [r.x1, y]]
        } else {
            let x = Canvas::snap(plane.x.at(self.at), self.stroke.width);
            [[x, r.y0], [x, r.y1]]
        };
        plane.canvas.stroke(&line, &self.stroke);
    }
}
