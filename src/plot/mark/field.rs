//! Images and contours on a regular grid.

use ndarray::Array2;

use super::{Mark, Plane};
use crate::plot::canvas::Stroke;
use crate::plot::color::{ColorMap, Norm, Rgb};
use crate::plot::contour;
use crate::plot::geometry::{Point, Rect};

/// Values on a regular grid with its place in data coordinates.
#[derive(Debug, Clone)]
pub struct Grid {
    /// Values `[y, x]`; not finite where there is none.
    pub values: Array2<f32>,
    /// x at the outer edges of the first and last column.
    pub x: [f64; 2],
    /// y at the outer edges of the first and last row.
    pub y: [f64; 2],
}

impl Grid {
    /// Data coordinates of a place counted in pixels: (0, 0) is the center of the first pixel.
    pub fn at(&self, i_x: f64, i_y: f64) -> Point {
        let (n_y, n_x) = self.values.dim();
        let along = |edges: [f64; 2], i: f64, n: usize| edges[0] + (i + 0.5) / n as f64 * (edges[1] - edges[0]);
        [along(self.x, i_x, n_x), along(self.y, i_y, n_y)]
    }
    /// The same function with `n` times as many pixels (Catmull-Rom): for smooth functions sampled coarsely, never for data.
    pub fn refined(&self, n: usize) -> Grid {
        let along_x = |v: &Array2<f32>| refine_rows(v, n.max(1));
        let values = along_x(&along_x(&self.values).reversed_axes()).reversed_axes();
        Grid { values: values.as_standard_layout().into_owned(), ..self.clone() }
    }
    fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
    fn see_corners(&self, see: &mut dyn FnMut(Point)) {
        see([self.x[0], self.y[0]]);
        see([self.x[1], self.y[1]]);
    }

    /// Mean of the finite values within fractions `[x0, x1)` and `[y0, y1)` of the grid; the value there if it is less than a pixel.
    fn mean(&self, [x0, x1]: [f64; 2], [y0, y1]: [f64; 2]) -> f64 {
        let (n_y, n_x) = self.values.dim();
        let range = |a: f64, b: f64, n: usize| {
            let (a, b) = (a.min(b) * n as f64, a.max(b) * n as f64);
            if b - a <= 1.0 {
                let i = ((a + b) / 2.0).clamp(0.0, n as f64 - 1.0) as usize;
                i..i + 1
            } else {
                (a.round().max(0.0) as usize).min(n - 1)..(b.round() as usize).clamp(1, n)
            }
        };
        let (mut sum, mut count) = (0.0, 0u32);
        for i_y in range(y0, y1, n_y) {
            for i_x in range(x0, x1, n_x) {
                let v = self.values[[i_y, i_x]];
                if v.is_finite() {
                    sum += f64::from(v);
                    count += 1;
                }
            }
        }
        if count > 0 { sum / f64::from(count) } else { f64::NAN }
    }

    /// Bilinear value at fractions of the grid.
    fn smooth(&self, x: f64, y: f64) -> f64 {
        let (n_y, n_x) = self.values.dim();
        let split = |f: f64, n: usize| {
            let v = (f * n as f64 - 0.5).clamp(0.0, n as f64 - 1.0);
            (v.floor() as usize, (v.floor() as usize + 1).min(n - 1), v.fract())
        };
        let ((i0, i1, s), (j0, j1, t)) = (split(x, n_x), split(y, n_y));
        let v = |j: usize, i: usize| f64::from(self.values[[j, i]]);
        (v(j0, i0) * (1.0 - s) + v(j0, i1) * s) * (1.0 - t) + (v(j1, i0) * (1.0 - s) + v(j1, i1) * s) * t
    }
}

/// Each row with `n` times as many pixels.
fn refine_rows(values: &Array2<f32>, n: usize) -> Array2<f32> {
    let (n_y, n_x) = values.dim();
    let at = |j: usize, i: i64| values[[j, i.clamp(0, n_x as i64 - 1) as usize]];
    Array2::from_shape_fn((n_y, n_x * n), |(j, i)| {
        let x = (i as f32 + 0.5) / n as f32 - 0.5;
        let (left, t) = (x.floor() as i64, x - x.floor());
        let [a, b, c, d] = [-1, 0, 1, 2].map(|k| at(j, left + k));
        b + 0.5 * t * (c - a + t * (2.0 * a - 5.0 * b + 4.0 * c - d + t * (3.0 * (b - c) + d - a)))
    })
}

/// A grid drawn in colors.
#[derive(Debug, Clone)]
pub struct ImageMark {
    /// Values.
    pub grid: Grid,
    /// Color map.
    pub map: ColorMap,
    /// Color scale.
    pub norm: Norm,
    /// Interpolates between pixels: for functions sampled on a coarse grid, never for data.
    pub smooth: bool,
    /// Color where there is no value; the paper shows through if `None`.
    pub blank: Option<Rgb>,
}

impl ImageMark {
    /// An image with visible pixels.
    pub fn new(grid: Grid, map: ColorMap, norm: Norm) -> ImageMark {
        ImageMark { grid, map, norm, smooth: false, blank: None }
    }
    /// Interpolated between pixels.
    pub fn smooth(self) -> ImageMark {
        ImageMark { smooth: true, ..self }
    }
    /// With a color where there is no value.
    pub fn blank(self, color: Rgb) -> ImageMark {
        ImageMark { blank: Some(color), ..self }
    }
}

impl Mark for ImageMark {
    fn extent(&self, see: &mut dyn FnMut(Point)) {
        self.grid.see_corners(see);
    }
    fn draw(&self, plane: &mut Plane) {
        let (a, b) = (plane.at([self.grid.x[0], self.grid.y[0]]), plane.at([self.grid.x[1], self.grid.y[1]]));
        if self.grid.is_empty() || a.iter().chain(&b).any(|v| !v.is_finite()) {
            return;
        }
        let area = Rect::new(a[0].min(b[0]), a[1].min(b[1]), a[0].max(b[0]), a[1].max(b[1]));
        let turn_x = |f: f64| if a[0] <= b[0] { f } else { 1.0 - f };
        let turn_y = |f: f64| if a[1] <= b[1] { f } else { 1.0 - f };
        let colors: Vec<Rgb> = (0..=1000).map(|i| self.map.at(f64::from(i) / 1000.0)).collect();
        let color = |value: f64| {
            let at = || colors[(self.norm.to_unit(value).clamp(0.0, 1.0) * 1000.0).round() as usize];
            if value.is_finite() { Some(at()) } else { self.blank }
        };
        plane.canvas.paint(&area, |[left, right, top, bottom]| {
            let (x, y) = ([turn_x(left), turn_x(right)], [turn_y(top), turn_y(bottom)]);
            color(if self.smooth { self.grid.smooth((x[0] + x[1]) / 2.0, (y[0] + y[1]) / 2.0) } else { self.grid.mean(x, y) })
        });
    }
}

/// Lines of equal value.
#[derive(Debug, Clone)]
pub struct Contours {
    /// Values.
    pub grid: Grid,
    /// Levels with their strokes.
    pub levels: Vec<(f64, Stroke)>,
}

impl Contours {
    /// The same stroke for all levels, dashed for negative ones.
    pub fn new(grid: Grid, levels: &[f64], stroke: Stroke) -> Contours {
        let of = |level: f64| if level < 0.0 { stroke.clone().dash(&[4.0, 3.0]) } else { stroke.clone() };
        Contours { grid, levels: levels.iter().map(|l| (*l, of(*l))).collect() }
    }
}

impl Mark for Contours {
    fn extent(&self, see: &mut dyn FnMut(Point)) {
        self.grid.see_corners(see);
    }
    fn draw(&self, plane: &mut Plane) {
        for (level, stroke) in &self.levels {
            for line in contour::trace(&self.grid.values, *level) {
                let points: Vec<Point> = line.iter().map(|p| plane.at(self.grid.at(p[0], p[1]))).collect();
                plane.canvas.stroke(&points, stroke);
            }
        }
    }
}
