//! Ellipses, beams and bars.

use super::{Corner, Mark, Plane};
use crate::plot::canvas::{Canvas, Stroke};
use crate::plot::color::Rgb;
use crate::plot::geometry::{self, Point, Rect};

/// An ellipse in data coordinates.
#[derive(Debug, Clone)]
pub struct EllipseMark {
    /// Center.
    pub center: Point,
    /// Full axes: `axes[0]` along `angle_deg`.
    pub axes: Point,
    /// Angle of the first axis from +y towards +x: the position angle (north through east) on a sky panel.
    pub angle_deg: f64,
    /// Outline.
    pub stroke: Stroke,
    /// Color and opacity inside.
    pub fill: Option<(Rgb, f64)>,
    /// Distance of hatching lines in points.
    pub hatch: Option<f64>,
    /// True if the range of the panel should include it.
    pub counts: bool,
}

impl EllipseMark {
    /// An outline of 1.3 points.
    pub fn new(center: Point, axes: Point, angle_deg: f64, color: Rgb) -> EllipseMark {
        EllipseMark { center, axes, angle_deg, stroke: Stroke::new(color, 1.3), fill: None, hatch: None, counts: true }
    }
    /// Filled.
    pub fn filled(self, color: Rgb, alpha: f64) -> EllipseMark {
        EllipseMark { fill: Some((color, alpha)), ..self }
    }
    /// Hatched.
    pub fn hatched(self, spacing: f64) -> EllipseMark {
        EllipseMark { hatch: Some(spacing), ..self }
    }
    /// With this stroke.
    pub fn stroke(self, stroke: Stroke) -> EllipseMark {
        EllipseMark { stroke, ..self }
    }
    fn outline(&self) -> Vec<Point> {
        let from_x = (90.0 - self.angle_deg).to_radians();
        geometry::ellipse(self.center, self.axes[0] / 2.0, self.axes[1] / 2.0, from_x)
    }
}

impl Mark for EllipseMark {
    fn extent(&self, see: &mut dyn FnMut(Point)) {
        if self.counts {
            self.outline().into_iter().for_each(see);
        }
    }
    fn draw(&self, plane: &mut Plane) {
        let outline = plane.line(&self.outline());
        draw_outline(plane.canvas, &outline, &self.stroke, self.fill, self.hatch);
    }
}

fn draw_outline(canvas: &mut Canvas, outline: &[Point], stroke: &Stroke, fill: Option<(Rgb, f64)>, hatch: Option<f64>) {
    if outline.iter().any(|p| !p[0].is_finite() || !p[1].is_finite()) {
        return;
    }
    if let Some((color, alpha)) = fill {
        canvas.fill(outline, color, alpha);
    }
    if let Some(spacing) = hatch {
        let thin = Stroke { width: 0.8, ..stroke.clone() };
        geometry::hatch(outline, spacing).iter().for_each(|(a, b)| canvas.stroke(&[*a, *b], &thin));
    }
    canvas.stroke_closed(outline, stroke);
}

/// The synthesized beam in a corner of a sky panel, in the scale of its axes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beam {
    /// Major axis (full width at half maximum) in the unit of the panel's axes.
    pub major: f64,
    /// Minor axis.
    pub minor: f64,
    /// Position angle, north through east.
    pub angle_deg: f64,
}

impl Beam {
    /// Drawn in a corner, in a color.
    pub fn in_corner(self, corner: Corner, color: Rgb) -> BeamMark {
        BeamMark { beam: self, corner, color }
    }
}

/// A [`Beam`] with its place.
pub struct BeamMark {
    beam: Beam,
    corner: Corner,
    color: Rgb,
}

impl Mark for BeamMark {
    fn draw(&self, plane: &mut Plane) {
        let b = self.beam;
        let (sx, sy) = (plane.x.per_unit(), plane.y.per_unit());
        let (sin, cos) = b.angle_deg.to_radians().sin_cos();
        let half_x = 0.5 * (b.major * sin).hypot(b.minor * cos) * sx;
        let half_y = 0.5 * (b.major * cos).hypot(b.minor * sin) * sy;
        if !(half_x.is_finite() && half_y.is_finite()) {
            return;
        }
        let at = self.corner.inside(&plane.rect, [half_x + 11.0, half_y + 11.0]);
        // East is to the left where the axis runs backwards.
        let east = if plane.x.range.0 > plane.x.range.1 { -1.0 } else { 1.0 };
        let outline: Vec<Point> = geometry::ellipse([0.0, 0.0], b.major / 2.0, b.minor / 2.0, (90.0 - b.angle_deg).to_radians())
            .iter()
            .map(|p| [at[0] + east * p[0] * sx, at[1] - p[1] * sy])
            .collect();
        // Below two points an ellipse would not be seen.
        let outline = if half_x.max(half_y) < 1.0 { geometry::ellipse(at, 1.0, 1.0, 0.0) } else { outline };
        draw_outline(plane.canvas, &outline, &Stroke::new(self.color, 1.2), Some((self.color, 0.35)), Some(4.0));
    }
}

/// Horizontal bars from zero, one for each row 0, 1, 2 ... of an [`Axis::names`](crate::plot::Axis::names).
#[derive(Debug, Clone)]
pub struct Bars {
    /// Values.
    pub values: Vec<f64>,
    /// Colors, one for each value.
    pub colors: Vec<Rgb>,
}

impl Mark for Bars {
    fn extent(&self, see: &mut dyn FnMut(Point)) {
        see([0.0, f64::NAN]);
        self.values.iter().for_each(|v| see([*v, f64::NAN]));
    }
    fn draw(&self, plane: &mut Plane) {
        for (i, (value, color)) in self.values.iter().zip(&self.colors).enumerate() {
            let (a, b) = (plane.at([0.0, i as f64 - 0.27]), plane.at([*value, i as f64 + 0.27]));
            if a.iter().chain(&b).all(|v| v.is_finite()) {
                let bar = Rect::new(a[0].min(b[0]), a[1].min(b[1]), a[0].max(b[0]), a[1].max(b[1]));
                plane.canvas.fill(&bar.corners(), *color, 0.85);
            }
        }
    }
}
