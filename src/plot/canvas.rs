//! The page: antialiased fills and strokes at fractions of a pixel, with the same bytes on every machine.
//!
//! Plotters' bitmap backend has whole-pixel coordinates, truncates the corners of thick lines and the places of
//! glyphs, and has no clipping; drawn large and reduced it costs 16 times the memory. What a figure needs from
//! below is one exact area fill and one stroke, and both are here. Coordinates are in points of the page, of
//! which each is [`Canvas::SCALE`] pixels, so that a figure seen at half size has one pixel a point.

use super::color::Rgb;
use super::geometry::{Point, Rect, clip_polygon, clip_segment, dashes, finite_runs};

/// How a line is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Stroke {
    /// Color.
    pub color: Rgb,
    /// Width in points.
    pub width: f64,
    /// Opacity, 0 to 1.
    pub alpha: f64,
    /// Lengths drawn and left out in points; empty for a solid line.
    pub dash: Vec<f64>,
}

impl Stroke {
    /// A solid line.
    pub fn new(color: Rgb, width: f64) -> Stroke {
        Stroke { color, width, alpha: 1.0, dash: Vec::new() }
    }
    /// With this opacity.
    pub fn alpha(mut self, alpha: f64) -> Stroke {
        self.alpha = alpha;
        self
    }
    /// With this dash pattern.
    pub fn dash(mut self, pattern: &[f64]) -> Stroke {
        self.dash = pattern.to_vec();
        self
    }
}

/// A page of RGB pixels, white at first.
pub struct Canvas {
    n_x: usize,
    n_y: usize,
    rgb: Vec<u8>,
    clip: Rect,
}

/// Coverage, 0 to 1, of the pixels in a window that may reach beyond the page.
struct Mask {
    x0: i64,
    y0: i64,
    n_x: usize,
    n_y: usize,
    cover: Vec<f32>,
}

impl Mask {
    /// A mask over `area` (pixels); `None` if it is empty, or far larger than any page.
    fn over(area: &Rect) -> Option<Mask> {
        let (x0, y0) = (area.x0.floor() as i64, area.y0.floor() as i64);
        let (n_x, n_y) = (area.x1.ceil() as i64 - x0, area.y1.ceil() as i64 - y0);
        let sound = n_x > 0 && n_y > 0 && n_x < 100_000 && n_y < 100_000;
        sound.then(|| Mask { x0, y0, n_x: n_x as usize, n_y: n_y as usize, cover: vec![0.0; (n_x * n_y) as usize] })
    }
}

impl Canvas {
    /// Pixels to a point of the page.
    pub const SCALE: f64 = 2.0;

    /// A white page of a size in points.
    pub fn new(width: f64, height: f64) -> Canvas {
        let n_x = (width * Canvas::SCALE).round().max(1.0) as usize;
        let n_y = (height * Canvas::SCALE).round().max(1.0) as usize;
        Canvas { n_x, n_y, rgb: vec![255; 3 * n_x * n_y], clip: Rect::new(0.0, 0.0, n_x as f64, n_y as f64) }
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (usize, usize) {
        (self.n_x, self.n_y)
    }

    /// The pixels, row by row from the top, three bytes each.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// Only draws inside `clip` from now on; `None` for the whole page. Returns what held before.
    pub fn set_clip(&mut self, clip: Option<Rect>) -> Option<Rect> {
        let page = Rect::new(0.0, 0.0, self.n_x as f64, self.n_y as f64);
        let before = std::mem::replace(&mut self.clip, clip.map_or(page, |c| c.scaled(Canvas::SCALE).intersect(&page)));
        Some(before.scaled(1.0 / Canvas::SCALE))
    }

    /// The nearest place at which a line of this width has sharp edges.
    pub fn snap(at: f64, width: f64) -> f64 {
        let half = if ((width * Canvas::SCALE).round() as i64) % 2 == 1 { 0.5 } else { 0.0 };
        ((at * Canvas::SCALE - half).round() + half) / Canvas::SCALE
    }

    /// Fills a polygon.
    pub fn fill(&mut self, polygon: &[Point], color: Rgb, alpha: f64) {
        if polygon.iter().any(|p| !p[0].is_finite() || !p[1].is_finite()) {
            return;
        }
        let pixels: Vec<Point> = polygon.iter().map(|p| [p[0] * Canvas::SCALE, p[1] * Canvas::SCALE]).collect();
        let inside = clip_polygon(&pixels, &self.clip);
        let edges: Vec<(Point, Point)> = (0..inside.len()).map(|i| (inside[i], inside[(i + 1) % inside.len()])).collect();
        self.fill_pixels(&edges, color, alpha);
    }

    /// Fills what closed outlines enclose; `edges` are in points and stay near the page (glyphs).
    pub fn fill_edges(&mut self, edges: &[(Point, Point)], color: Rgb, alpha: f64) {
        let s = |p: Point| [p[0] * Canvas::SCALE, p[1] * Canvas::SCALE];
        let pixels: Vec<(Point, Point)> = edges.iter().map(|&(a, b)| (s(a), s(b))).collect();
        self.fill_pixels(&pixels, color, alpha);
    }

    fn fill_pixels(&mut self, edges: &[(Point, Point)], color: Rgb, alpha: f64) {
        let Some(bounds) = bounds_of(edges.iter().flat_map(|e| [&e.0, &e.1])) else { return };
        // One column more than the outline: the running sum below ends there.
        let Some(mut mask) = Mask::over(&Rect { x1: bounds.x1.ceil() + 1.0, ..bounds }) else { return };
        let corner = [mask.x0 as f64, mask.y0 as f64];
        for &(a, b) in edges {
            add_edge(&mut mask, [a[0] - corner[0], a[1] - corner[1]], [b[0] - corner[0], b[1] - corner[1]]);
        }
        for row in mask.cover.chunks_exact_mut(mask.n_x) {
            let mut sum = 0.0_f32;
            row.iter_mut().for_each(|c| {
                sum += *c;
                *c = sum.abs().min(1.0);
            });
        }
        self.blend_mask(&mask, color, alpha);
    }

    /// Draws a polyline; points that are not finite break it.
    pub fn stroke(&mut self, line: &[Point], stroke: &Stroke) {
        let pixels: Vec<Point> = line.iter().map(|p| [p[0] * Canvas::SCALE, p[1] * Canvas::SCALE]).collect();
        let pattern: Vec<f64> = stroke.dash.iter().map(|d| d * Canvas::SCALE).collect();
        let width = stroke.width * Canvas::SCALE;
        let reach = self.clip.grown(width + 2.0);
        for run in finite_runs(&pixels) {
            let runs = clip_line(&run, &reach);
            let pieces: Vec<Vec<Point>> = runs.iter().flat_map(|r| dashes(r, &pattern)).collect();
            self.stroke_pixels(&pieces, width, stroke);
        }
    }

    /// Draws a closed polyline.
    pub fn stroke_closed(&mut self, line: &[Point], stroke: &Stroke) {
        let mut closed = line.to_vec();
        closed.extend(line.iter().take(2));
        self.stroke(&closed, stroke);
    }

    /// All pieces share one mask, so that where they touch nothing is painted twice.
    fn stroke_pixels(&mut self, pieces: &[Vec<Point>], width: f64, stroke: &Stroke) {
        let radius = (width / 2.0).max(0.5);
        let Some(bounds) = bounds_of(pieces.iter().flatten()) else { return };
        let Some(mut mask) = Mask::over(&bounds.grown(radius + 1.0).intersect(&self.clip)) else { return };
        for piece in pieces {
            let ends = straight_ends(piece, radius + 1.0);
            for (pair, ends) in piece.windows(2).zip(&ends) {
                add_segment(&mut mask, pair[0], pair[1], radius, ends);
            }
        }
        self.blend_mask(&mask, stroke.color, stroke.alpha * width.min(1.0));
    }

    fn blend_mask(&mut self, mask: &Mask, color: Rgb, alpha: f64) {
        let clip = self.clip;
        for (i_y, row) in mask.cover.chunks_exact(mask.n_x).enumerate() {
            let y = mask.y0 + i_y as i64;
            let in_y = overlap(y, clip.y0, clip.y1);
            for (i_x, &cover) in row.iter().enumerate() {
                let x = mask.x0 + i_x as i64;
                let part = f64::from(cover) * in_y * overlap(x, clip.x0, clip.x1);
                if part > 0.0 {
                    self.blend(x as usize, y as usize, color, part * alpha);
                }
            }
        }
    }

    fn blend(&mut self, x: usize, y: usize, color: Rgb, alpha: f64) {
        let at = 3 * (y * self.n_x + x);
        for (old, new) in self.rgb[at..at + 3].iter_mut().zip(color.0) {
            *old = (f64::from(*old) + (f64::from(new) - f64::from(*old)) * alpha.clamp(0.0, 1.0)).round() as u8;
        }
    }

    /// Paints the pixels of `area` (points) with what `color_at` gives for the fractions [0, 1) of width and height, from the top left.
    ///
    /// `color_at` gets the fractions at the left, right, top and bottom edge of a pixel.
    pub fn paint(&mut self, area: &Rect, color_at: impl Fn([f64; 4]) -> Option<Rgb>) {
        let full = area.scaled(Canvas::SCALE);
        let part = full.intersect(&self.clip);
        let (x0, y0) = (part.x0.round() as usize, part.y0.round() as usize);
        let (x1, y1) = ((part.x1.round() as usize).min(self.n_x), (part.y1.round() as usize).min(self.n_y));
        for y in y0..y1 {
            let (f_top, f_bottom) = ((y as f64 - full.y0) / full.height(), (y as f64 + 1.0 - full.y0) / full.height());
            for x in x0..x1 {
                let (f_left, f_right) = ((x as f64 - full.x0) / full.width(), (x as f64 + 1.0 - full.x0) / full.width());
                if let Some(color) = color_at([f_left, f_right, f_top, f_bottom]) {
                    self.rgb[3 * (y * self.n_x + x)..][..3].copy_from_slice(&color.0);
                }
            }
        }
    }
}

/// The smallest rectangle around points; `None` without points.
fn bounds_of<'a>(points: impl Iterator<Item = &'a Point>) -> Option<Rect> {
    points.fold(None, |bounds: Option<Rect>, p| {
        let b = bounds.unwrap_or(Rect::new(p[0], p[1], p[0], p[1]));
        Some(Rect::new(b.x0.min(p[0]), b.y0.min(p[1]), b.x1.max(p[0]), b.y1.max(p[1])))
    })
}

/// How much of pixel `i` lies between `lo` and `hi`.
fn overlap(i: i64, lo: f64, hi: f64) -> f64 {
    ((i as f64 + 1.0).min(hi) - (i as f64).max(lo)).clamp(0.0, 1.0)
}

/// The pieces of a polyline inside `clip`.
fn clip_line(line: &[Point], clip: &Rect) -> Vec<Vec<Point>> {
    let mut pieces: Vec<Vec<Point>> = Vec::new();
    for pair in line.windows(2) {
        let Some((a, b)) = clip_segment(pair[0], pair[1], clip) else { continue };
        match pieces.last_mut() {
            Some(piece) if piece.last() == Some(&a) => piece.push(b),
            _ => pieces.push(vec![a, b]),
        }
    }
    pieces
}

/// Adds the signed area to the right of an edge: after a running sum along each row, the mask holds exact area coverage.
fn add_edge(mask: &mut Mask, a: Point, b: Point) {
    if a[1] == b[1] {
        return;
    }
    let (sign, top, bottom) = if a[1] < b[1] { (1.0, a, b) } else { (-1.0, b, a) };
    let slope = (bottom[0] - top[0]) / (bottom[1] - top[1]);
    for i_y in top[1].floor() as usize..(bottom[1].ceil() as usize).min(mask.n_y) {
        let (y0, y1) = (top[1].max(i_y as f64), bottom[1].min(i_y as f64 + 1.0));
        if y1 > y0 {
            let x_at = |y: f64| top[0] + slope * (y - top[1]);
            let row = &mut mask.cover[i_y * mask.n_x..][..mask.n_x];
            add_row(row, x_at(y0), x_at(y1), sign * (y1 - y0));
        }
    }
}

/// Spreads `height` (signed) of an edge that crosses one row between `xa` and `xb`.
fn add_row(row: &mut [f32], xa: f64, xb: f64, height: f64) {
    let (x0, x1) = if xa < xb { (xa, xb) } else { (xb, xa) };
    let first = (x0.max(0.0).floor() as usize).min(row.len() - 1);
    let last = (x1.max(0.0).floor() as usize).min(row.len() - 1);
    // covered(i): area to the right of the edge within the pixels up to i, per unit height.
    let right_of = |x: f64| {
        // mean over the edge of max(0, x - edge)
        if x <= x0 {
            0.0
        } else if x >= x1 {
            x - (x0 + x1) / 2.0
        } else {
            (x - x0) * (x - x0) / (2.0 * (x1 - x0))
        }
    };
    let (mut area_before, mut share_before) = (0.0, 0.0);
    for i in first..=(last + 1).min(row.len() - 1) {
        let area = right_of(i as f64 + 1.0);
        let share = area - area_before;
        row[i] += (height * (share - share_before)) as f32;
        (area_before, share_before) = (area, share);
    }
}

/// A place beyond which nothing is drawn, and the direction back into the line.
type End = (Point, Point);

/// For each segment of a polyline the ends of the line that lie within `reach` of it along the line: there the line is
/// cut off straight, while segments join round. A closed line has no ends.
fn straight_ends(line: &[Point], reach: f64) -> Vec<Vec<End>> {
    let mut ends: Vec<Vec<End>> = vec![Vec::new(); line.len().saturating_sub(1)];
    if line.first() == line.last() {
        return ends;
    }
    let mut cut = |order: &mut dyn Iterator<Item = usize>, from: &dyn Fn(usize) -> (Point, Point)| {
        let (mut end, mut gone) = (None, 0.0);
        for i in order {
            let (a, b) = from(i);
            let length = (b[0] - a[0]).hypot(b[1] - a[1]);
            if length > 0.0 {
                let end = *end.get_or_insert((a, [(b[0] - a[0]) / length, (b[1] - a[1]) / length]));
                ends[i].push(end);
            }
            gone += length;
            if gone > reach {
                break;
            }
        }
    };
    cut(&mut (0..line.len().saturating_sub(1)), &|i| (line[i], line[i + 1]));
    cut(&mut (0..line.len().saturating_sub(1)).rev(), &|i| (line[i + 1], line[i]));
    ends
}

/// Raises the mask to the coverage of one thick segment with round ends, cut off at the ends of its line.
fn add_segment(mask: &mut Mask, a: Point, b: Point, radius: f64, ends: &[End]) {
    let length = (b[0] - a[0]).hypot(b[1] - a[1]);
    let along = if length > 0.0 { [(b[0] - a[0]) / length, (b[1] - a[1]) / length] } else { [1.0, 0.0] };
    let reach = radius + 1.0;
    let clamp = |v: f64, lo: i64, n: usize| (v - lo as f64).clamp(0.0, n as f64) as usize;
    for i_y in clamp((a[1].min(b[1]) - reach).floor(), mask.y0, mask.n_y)..clamp((a[1].max(b[1]) + reach).ceil(), mask.y0, mask.n_y) {
        let y = (mask.y0 + i_y as i64) as f64 + 0.5;
        let (mut lo, mut hi) = (a[0].min(b[0]) - reach, a[0].max(b[0]) + reach);
        if along[1].abs() > 1e-9 {
            let middle = a[0] + (y - a[1]) * along[0] / along[1];
            (lo, hi) = (lo.max(middle - reach / along[1].abs()), hi.min(middle + reach / along[1].abs()));
        }
        for i_x in clamp(lo.floor(), mask.x0, mask.n_x)..clamp(hi.ceil(), mask.x0, mask.n_x) {
            let x = (mask.x0 + i_x as i64) as f64 + 0.5;
            let within = |&(p, d): &End| (0.5 + (x - p[0]) * d[0] + (y - p[1]) * d[1]).clamp(0.0, 1.0);
            let t = ((x - a[0]) * along[0] + (y - a[1]) * along[1]).clamp(0.0, length);
            // At an end that is cut off straight the line runs on, so that its corners are square.
            let t = if ends.is_empty() { t } else { extended(t, [x, y], a, along, length, ends) };
            let distance = (x - a[0] - t * along[0]).hypot(y - a[1] - t * along[1]);
            let cover = (radius + 0.5 - distance).clamp(0.0, 1.0) * ends.iter().map(within).product::<f64>();
            let old = &mut mask.cover[i_y * mask.n_x + i_x];
            *old = old.max(cover as f32);
        }
    }
}

/// The place along a segment nearest to a pixel, where the segment runs on beyond those of its ends that are ends of the line.
fn extended(t: f64, p: Point, a: Point, along: Point, length: f64, ends: &[End]) -> f64 {
    let free = (p[0] - a[0]) * along[0] + (p[1] - a[1]) * along[1];
    let b = [a[0] + length * along[0], a[1] + length * along[1]];
    let near = |q: Point| ends.iter().any(|e| (e.0[0] - q[0]).hypot(e.0[1] - q[1]) < 1e-9);
    if (free < 0.0 && near(a)) || (free > length && near(b)) { free } else { t }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::geometry;

    /// Ink on a page in units of black pixels.
    fn ink(canvas: &Canvas) -> f64 {
        canvas.rgb().chunks_exact(3).map(|p| 1.0 - f64::from(p[0]) / 255.0).sum()
    }

    /// The ink of a filled polygon is its area, wherever it lies between the pixels.
    #[test]
    fn a_fill_covers_its_area() {
        for i in 0..50 {
            let (x, y, turn) = (20.0 + 0.137 * f64::from(i), 25.0 - 0.071 * f64::from(i), 0.13 * f64::from(i));
            let outline = geometry::ellipse([x, y], 11.0, 5.0, turn);
            let area: f64 = (0..outline.len())
                .map(|k| (outline[k], outline[(k + 1) % outline.len()]))
                .map(|(a, b)| 0.5 * (a[0] * b[1] - a[1] * b[0]))
                .sum();
            let mut canvas = Canvas::new(50.0, 50.0);
            canvas.fill(&outline, Rgb::BLACK, 1.0);
            // A byte rounds by 0.5/255 in each of about 120 pixels along the edge, at random.
            assert!((ink(&canvas) - 4.0 * area).abs() < 0.1, "{} {}", ink(&canvas), 4.0 * area);
        }
    }

    /// The ink of a straight line is its length times its width.
    #[test]
    fn a_stroke_covers_its_length_times_its_width() {
        for i in 0..40 {
            let (s, c) = (0.157 * f64::from(i)).sin_cos();
            let mut canvas = Canvas::new(60.0, 60.0);
            canvas.stroke(&[[30.0 - 20.0 * c, 30.0 - 20.0 * s], [30.0 + 20.0 * c, 30.0 + 20.0 * s]], &Stroke::new(Rgb::BLACK, 1.7));
            // The coverage of a slanted edge is that of a straight one: off by up to 4 %.
            assert!((ink(&canvas) / (4.0 * 40.0 * 1.7) - 1.0).abs() < 0.04, "{i}: {}", ink(&canvas) / (4.0 * 40.0 * 1.7));
        }
    }

    /// A curve of many short pieces is as dark as one of few: joints are not painted twice.
    #[test]
    fn joints_are_not_painted_twice() {
        let ink_of = |n: usize| {
            let mut canvas = Canvas::new(60.0, 60.0);
            let line: Vec<Point> = (0..=n).map(|i| [5.0 + 50.0 * i as f64 / n as f64, 10.0 + 40.0 * i as f64 / n as f64]).collect();
            canvas.stroke(&line, &Stroke::new(Rgb::BLACK, 2.0).alpha(0.5));
            ink(&canvas)
        };
        assert!((ink_of(1) - ink_of(200)).abs() < 0.01 * ink_of(1), "{} {}", ink_of(1), ink_of(200));
    }

    #[test]
    fn nothing_is_drawn_outside_the_clip() {
        let mut canvas = Canvas::new(40.0, 40.0);
        let clip = Rect::new(10.0, 12.0, 30.0, 28.0);
        canvas.set_clip(Some(clip));
        canvas.fill(&[[-1e7, -3e6], [1e7, -3e6], [1e7, 5e8], [-1e7, 5e8]], Rgb::BLACK, 1.0);
        canvas.stroke(&[[-1e12, -1e12], [1e12, 1e12]], &Stroke::new(Rgb::BLACK, 3.0));
        canvas.paint(&Rect::new(-100.0, -100.0, 100.0, 100.0), |_| Some(Rgb::BLACK));
        assert!((ink(&canvas) - 4.0 * 20.0 * 16.0).abs() < 1e-9);
    }

    #[test]
    fn numbers_that_are_not_finite_draw_nothing() {
        let mut canvas = Canvas::new(10.0, 10.0);
        canvas.fill(&[[0.0, 0.0], [f64::NAN, 5.0], [5.0, 5.0]], Rgb::BLACK, 1.0);
        canvas.stroke(&[[f64::INFINITY, 0.0], [5.0, f64::NAN], [3.0, 3.0]], &Stroke::new(Rgb::BLACK, 1.0));
        canvas.stroke(&[], &Stroke::new(Rgb::BLACK, 1.0));
        assert_eq!(ink(&canvas), 0.0);
    }
}
