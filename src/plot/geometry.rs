//! Plane geometry of drawing: rectangles, clipping, dashes, ellipses and hatching.

/// A point on the page or in a panel: x to the right, y down on the page.
pub type Point = [f64; 2];

/// A rectangle with `x0 <= x1` and `y0 <= y1`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x0: f64,
    /// Top edge.
    pub y0: f64,
    /// Right edge.
    pub x1: f64,
    /// Bottom edge.
    pub y1: f64,
}

impl Rect {
    /// The rectangle between two corners.
    pub fn new(x0: f64, y0: f64, x1: f64, y1: f64) -> Rect {
        Rect { x0, y0, x1, y1 }
    }
    /// Width.
    pub fn width(&self) -> f64 {
        self.x1 - self.x0
    }
    /// Height.
    pub fn height(&self) -> f64 {
        self.y1 - self.y0
    }
    /// The middle.
    pub fn center(&self) -> Point {
        [(self.x0 + self.x1) / 2.0, (self.y0 + self.y1) / 2.0]
    }
    /// The same rectangle grown by `d` on every side.
    pub fn grown(&self, d: f64) -> Rect {
        Rect::new(self.x0 - d, self.y0 - d, self.x1 + d, self.y1 + d)
    }
    /// The part inside both rectangles, empty (zero size) if there is none.
    pub fn intersect(&self, other: &Rect) -> Rect {
        let (x0, y0) = (self.x0.max(other.x0), self.y0.max(other.y0));
        Rect::new(x0, y0, self.x1.min(other.x1).max(x0), self.y1.min(other.y1).max(y0))
    }
    /// True if the point lies inside or on the edge.
    pub fn contains(&self, p: Point) -> bool {
        p[0] >= self.x0 && p[0] <= self.x1 && p[1] >= self.y0 && p[1] <= self.y1
    }
    /// All lengths times `s`.
    pub fn scaled(&self, s: f64) -> Rect {
        Rect::new(self.x0 * s, self.y0 * s, self.x1 * s, self.y1 * s)
    }
    /// Corners in order, the first not repeated.
    pub fn corners(&self) -> Vec<Point> {
        vec![[self.x0, self.y0], [self.x1, self.y0], [self.x1, self.y1], [self.x0, self.y1]]
    }
    /// The point at fractions of width and height; `fy` counts from the bottom up.
    pub fn at_fraction(&self, fx: f64, fy: f64) -> Point {
        [self.x0 + fx * self.width(), self.y1 - fy * self.height()]
    }
}

/// The part of segment a-b inside `clip` (Liang and Barsky 1984), or `None`.
pub fn clip_segment(a: Point, b: Point, clip: &Rect) -> Option<(Point, Point)> {
    let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
    let (mut t0, mut t1) = (0.0_f64, 1.0_f64);
    for (p, q) in [(-dx, a[0] - clip.x0), (dx, clip.x1 - a[0]), (-dy, a[1] - clip.y0), (dy, clip.y1 - a[1])] {
        if p == 0.0 && q < 0.0 {
            return None;
        } else if p < 0.0 {
            t0 = t0.max(q / p);
        } else if p > 0.0 {
            t1 = t1.min(q / p);
        }
    }
    let at = |t: f64| [a[0] + t * dx, a[1] + t * dy];
    (t0 <= t1).then(|| (at(t0), at(t1)))
}

/// The part of a polygon inside `clip` (Sutherland and Hodgman 1974).
pub fn clip_polygon(polygon: &[Point], clip: &Rect) -> Vec<Point> {
    // (axis, edge, keep the side above the edge)
    let sides = [(0, clip.x0, true), (0, clip.x1, false), (1, clip.y0, true), (1, clip.y1, false)];
    sides.iter().fold(polygon.to_vec(), |points, &(axis, edge, above)| {
        let inside = |p: &Point| if above { p[axis] >= edge } else { p[axis] <= edge };
        let mut kept = Vec::with_capacity(points.len() + 4);
        for (i, b) in points.iter().enumerate() {
            let a = &points[(i + points.len() - 1) % points.len()];
            if inside(a) != inside(b) {
                let t = (edge - a[axis]) / (b[axis] - a[axis]);
                let mut cross = [a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])];
                cross[axis] = edge;
                kept.push(cross);
            }
            if inside(b) {
                kept.push(*b);
            }
        }
        kept
    })
}

/// Splits a polyline at points that are not finite.
pub fn finite_runs(line: &[Point]) -> Vec<Vec<Point>> {
    line.split(|p| !p[0].is_finite() || !p[1].is_finite()).filter(|run| !run.is_empty()).map(<[Point]>::to_vec).collect()
}

/// Cuts a polyline into the drawn pieces of a dash pattern (drawn, gap, drawn, gap ...).
pub fn dashes(line: &[Point], pattern: &[f64]) -> Vec<Vec<Point>> {
    if pattern.is_empty() || pattern.iter().sum::<f64>() <= 0.0 {
        return vec![line.to_vec()];
    }
    let mut pieces = Vec::new();
    let mut piece: Vec<Point> = line.first().copied().into_iter().collect();
    let (mut i_dash, mut left) = (0, pattern[0]);
    for pair in line.windows(2) {
        let (mut a, b) = (pair[0], pair[1]);
        let mut length = (b[0] - a[0]).hypot(b[1] - a[1]);
        while length > left {
            let t = left / length;
            a = [a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])];
            length -= left;
            if i_dash % 2 == 0 {
                piece.push(a);
                pieces.push(std::mem::take(&mut piece));
            } else {
                piece = vec![a];
            }
            i_dash = (i_dash + 1) % (pattern.len() * 2);
            left = pattern[i_dash % pattern.len()].max(1e-6);
        }
        left -= length;
        if i_dash % 2 == 0 {
            piece.push(b);
        }
    }
    if piece.len() > 1 {
        pieces.push(piece);
    }
    pieces
}

/// Corners of an ellipse's outline: off by less than a tenth of a pixel up to a radius of 180 pixels.
const ELLIPSE: usize = 96;

/// Outline of an ellipse: semi-axis `a` points along `angle_rad` from +x towards +y.
pub fn ellipse(center: Point, a: f64, b: f64, angle_rad: f64) -> Vec<Point> {
    let (sin, cos) = angle_rad.sin_cos();
    (0..ELLIPSE)
        .map(|i| {
            let (s, c) = (i as f64 * std::f64::consts::TAU / ELLIPSE as f64).sin_cos();
            [center[0] + a * c * cos - b * s * sin, center[1] + a * c * sin + b * s * cos]
        })
        .collect()
}

/// Parallel lines at 45 degrees, `spacing` apart, inside a polygon.
pub fn hatch(polygon: &[Point], spacing: f64) -> Vec<(Point, Point)> {
    // Along u = x + y (across the lines) and v = x - y (along them).
    let uv: Vec<Point> = polygon.iter().map(|p| [p[0] + p[1], p[0] - p[1]]).collect();
    let (lo, hi) = uv.iter().fold((f64::MAX, f64::MIN), |(lo, hi), p| (lo.min(p[0]), hi.max(p[0])));
    let step = spacing * std::f64::consts::SQRT_2;
    let sane = step > 0.0 && (hi - lo) / step < 1e4;
    if polygon.is_empty() || !sane {
        return Vec::new();
    }
    let middle = (lo + hi) / 2.0;
    let n = ((hi - lo) / 2.0 / step).floor() as i64;
    (-n..=n).flat_map(|i| crossings(&uv, middle + i as f64 * step)).collect()
}

/// The stretches of the line u = `level` inside a polygon in (u, v), back in (x, y).
fn crossings(uv: &[Point], level: f64) -> Vec<(Point, Point)> {
    let mut at: Vec<f64> = (0..uv.len())
        .filter_map(|i| {
            let (a, b) = (uv[i], uv[(i + 1) % uv.len()]);
            ((a[0] > level) != (b[0] > level)).then(|| a[1] + (level - a[0]) / (b[0] - a[0]) * (b[1] - a[1]))
        })
        .collect();
    at.sort_by(f64::total_cmp);
    let back = |v: f64| [(level + v) / 2.0, (level - v) / 2.0];
    at.chunks_exact(2).map(|pair| (back(pair[0]), back(pair[1]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(line: &[Point]) -> f64 {
        line.windows(2).map(|w| (w[1][0] - w[0][0]).hypot(w[1][1] - w[0][1])).sum()
    }

    /// Of a pattern 3 on, 2 off, three fifths of the line are drawn, and no piece is longer than 3.
    #[test]
    fn dashes_share_the_line_as_the_pattern_says() {
        let line: Vec<Point> = (0..=500).map(|i| [f64::from(i), 40.0 * (f64::from(i) * 0.05).sin()]).collect();
        let pieces = dashes(&line, &[3.0, 2.0]);
        let drawn: f64 = pieces.iter().map(|p| length(p)).sum();
        assert!((drawn / length(&line) - 0.6).abs() < 0.005, "{drawn} of {}", length(&line));
        assert!(pieces.iter().all(|p| length(p) < 3.0 + 1e-9));
        assert_eq!(dashes(&line, &[]), std::slice::from_ref(&line));
    }

    #[test]
    fn clipping_keeps_what_is_inside() {
        let clip = Rect::new(0.0, 0.0, 10.0, 5.0);
        assert_eq!(clip_segment([-10.0, 2.0], [20.0, 2.0], &clip), Some(([0.0, 2.0], [10.0, 2.0])));
        assert_eq!(clip_segment([-10.0, 7.0], [20.0, 7.0], &clip), None);
        let square = Rect::new(-5.0, -5.0, 5.0, 20.0).corners();
        let inside = clip_polygon(&square, &clip);
        let bounds =
            inside.iter().fold([9e9, 9e9, -9e9, -9e9], |b: [f64; 4], p| [b[0].min(p[0]), b[1].min(p[1]), b[2].max(p[0]), b[3].max(p[1])]);
        assert_eq!(bounds, [0.0, 0.0, 5.0, 5.0]);
        assert!(clip_polygon(&Rect::new(20.0, 20.0, 30.0, 30.0).corners(), &clip).is_empty());
    }

    /// Hatching lines lie inside, are `spacing` apart, and together cover area / spacing.
    #[test]
    fn hatching_covers_an_ellipse_evenly() {
        let lines = hatch(&ellipse([3.0, 4.0], 30.0, 20.0, 0.4), 0.5);
        let total: f64 = lines.iter().map(|(a, b)| (b[0] - a[0]).hypot(b[1] - a[1])).sum();
        let expected = std::f64::consts::PI * 30.0 * 20.0 / 0.5;
        assert!((total / expected - 1.0).abs() < 0.01, "{total} {expected}");
        assert!(hatch(&[], 1.0).is_empty());
    }
}
