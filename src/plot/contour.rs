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
            if let Some(i) = back.iter().position(|e| *e == here) {
                back.swap_remove(i);
            }
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
