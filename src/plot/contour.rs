//! Contour lines by marching squares.

use std::collections::BTreeMap;

use ndarray::Array2;

use super::geometry::Point;

/// An edge between two neighbouring pixels: (i_x, i_y, vertical).
type Edge = (usize, usize, bool);

/// Lines along which `values` (`[y, x]`) crosses `level`, in pixel coordinates; closed lines repeat their first point.
///
/// Squares with a corner that is not finite are left out. At a saddle the mean of the corners decides.
pub fn trace(values: &Array2<f32>, level: f64) -> Vec<Vec<Point>> {
    let mut links: BTreeMap<Edge, Vec<Edge>> = BTreeMap::new();
    let (n_y, n_x) = values.dim();
    for i_y in 0..n_y.saturating_sub(1) {
        for i_x in 0..n_x.saturating_sub(1) {
            for (a, b) in square(values, level, i_x, i_y) {
                links.entry(a).or_default().push(b);
                links.entry(b).or_default().push(a);
            }
        }
    }
    let mut lines = Vec::new();
    // Open lines first, from their ends; then what remains is closed.
    let ends: Vec<Edge> = links.iter().filter(|(_, to)| to.len() == 1).map(|(edge, _)| *edge).collect();
    for start in ends.into_iter().chain(links.keys().copied().collect::<Vec<_>>()) {
        let edges = follow(&mut links, start);
        if edges.len() > 1 {
            lines.push(edges.into_iter().map(|e| crossing(values, level, e)).collect());
        }
    }
    lines
}

/// Walks along links from `start` and takes them away.
fn follow(links: &mut BTreeMap<Edge, Vec<Edge>>, start: Edge) -> Vec<Edge> {
    let mut path = vec![start];
    let mut here = start;
    while let Some(next) = links.get_mut(&here).and_then(Vec::pop) {
        if let Some(back) = links.get_mut(&next) {
            back.retain(|e| *e != here);
        }
        path.push(next);
        here = next;
    }
    path
}

/// The pieces of contour inside the square with its lower corner at (i_x, i_y).
fn square(values: &Array2<f32>, level: f64, i_x: usize, i_y: usize) -> Vec<(Edge, Edge)> {
    let corner = [(0, 0), (1, 0), (1, 1), (0, 1)].map(|(dx, dy)| f64::from(values[[i_y + dy, i_x + dx]]));
    if corner.iter().any(|v| !v.is_finite()) {
        return Vec::new();
    }
    let above = corner.map(|v| v > level);
    // Edges in the order of the corners they follow: bottom, right, top, left.
    let edge = [(i_x, i_y, false), (i_x + 1, i_y, true), (i_x, i_y + 1, false), (i_x, i_y, true)];
    let crossed: Vec<Edge> = (0..4).filter(|&i| above[i] != above[(i + 1) % 4]).map(|i| edge[i]).collect();
    match crossed[..] {
        [a, b] => vec![(a, b)],
        [a, b, c, d] => {
            let middle_above = corner.iter().sum::<f64>() / 4.0 > level;
            // The contour cuts off the corners that differ from the middle.
            if above[0] == middle_above { vec![(a, b), (c, d)] } else { vec![(d, a), (b, c)] }
        }
        _ => Vec::new(),
    }
}

/// Where the level lies on an edge.
fn crossing(values: &Array2<f32>, level: f64, (i_x, i_y, vertical): Edge) -> Point {
    let a = f64::from(values[[i_y, i_x]]);
    let b = f64::from(if vertical { values[[i_y + 1, i_x]] } else { values[[i_y, i_x + 1]] });
    let t = ((level - a) / (b - a)).clamp(0.0, 1.0);
    if vertical { [i_x as f64, i_y as f64 + t] } else { [i_x as f64 + t, i_y as f64] }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contour of a cone is one closed line at one radius.
    #[test]
    fn the_contour_of_a_cone_is_a_circle() {
        let cone = Array2::from_shape_fn((60, 70), |(j, i)| (i as f32 - 33.3).hypot(j as f32 - 28.7));
        let lines = trace(&cone, 17.0);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].first(), lines[0].last());
        // Linear interpolation of a circle of radius 17 over one pixel is off by at most 1/(8 x 17) of a pixel.
        assert!(lines[0].iter().all(|p| ((p[0] - 33.3).hypot(p[1] - 28.7) - 17.0).abs() < 0.01));
    }

    /// Each square's pieces are linked once: the line of a plane is open, and has as many points as it crosses edges.
    #[test]
    fn the_contour_of_a_plane_is_a_straight_open_line() {
        let plane = Array2::from_shape_fn((10, 12), |(j, i)| i as f32 + 0.25 * j as f32);
        let lines = trace(&plane, 5.1);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].iter().all(|p| (p[0] + 0.25 * p[1] - 5.1).abs() < 1e-6));
        let ends = [lines[0][0][1], lines[0][lines[0].len() - 1][1]];
        assert!(ends.contains(&0.0) && ends.contains(&9.0));
    }

    #[test]
    fn a_checkerboard_has_a_ring_around_every_square_of_one_color() {
        let board = Array2::from_shape_fn((5, 5), |(j, i)| ((i + j) % 2) as f32);
        let lines = trace(&board, 0.6);
        // The middle of each saddle (0.5) is low, so the 12 high pixels are cut off one by one.
        let closed = lines.iter().filter(|l| l.first() == l.last()).count();
        assert_eq!((lines.len(), closed), (12, 4));
    }

    #[test]
    fn squares_without_values_have_no_contour() {
        assert!(trace(&Array2::from_elem((6, 6), f32::NAN), 0.0).is_empty());
        assert!(trace(&Array2::zeros((0, 0)), 0.0).is_empty());
        assert!(trace(&Array2::zeros((1, 7)), 0.0).is_empty());
    }
}
