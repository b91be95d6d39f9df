//! Filling a sampled map and smoothing a spectrum.

use ndarray::{Array2, Axis};

/// How samples are spread beyond the edges of the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    /// Nothing lies outside.
    Open,
    /// The map padded by `pad` pixels of its edge values and repeated: what an FFT with wrapped boundary does.
    Wrapped { pad: usize },
}

/// Fills a map that is NaN except at samples: the mean of the samples weighted by a Gaussian of `sigma` pixels.
pub(super) fn spread_samples(samples: &Array2<f64>, sigma: f64, edge: Edge) -> Array2<f64> {
    let wrap = edge != Edge::Open;
    // Wrapped: 4 sigma to each side, as far as the peers' kernel; open: to the last sample that f64 can feel.
    let half = if wrap { (round_up_to_odd(8.0 * sigma) - 1) / 2 } else { (12.0 * sigma).ceil() as usize };
    let kernel: Vec<f64> = (-(half as i64)..=half as i64).map(|i| (-0.5 * (i as f64 / sigma).powi(2)).exp()).collect();
    let (values, weights) = match edge {
        Edge::Open => (samples.mapv(|v| if v.is_nan() { 0.0 } else { v }), samples.mapv(|v| if v.is_nan() { 0.0 } else { 1.0 })),
        Edge::Wrapped { pad } => wrapped(&pad_edges(samples, pad), kernel.len()),
    };
    let num = separable(&values, &kernel, wrap);
    let den = separable(&weights, &kernel, wrap);
    let full = ndarray::Zip::from(&num).and(&den).map_collect(|n, d| if *d > 0.0 { n / d } else { f64::NAN });
    match edge {
        Edge::Open => full,
        Edge::Wrapped { pad } => {
            let (ny, nx) = samples.dim();
            full.slice(ndarray::s![pad..pad + ny, pad..pad + nx]).to_owned()
        }
    }
}

/// Values and weights on one period. A map smaller than the kernel is continued by zeros of full weight: astropy's convolve_fft does.
fn wrapped(map: &Array2<f64>, kernel: usize) -> (Array2<f64>, Array2<f64>) {
    let (ny, nx) = map.dim();
    let at = |y: usize, x: usize| if y < ny && x < nx { map[[y, x]] } else { 0.0 };
    let period = (ny.max(kernel), nx.max(kernel));
    let values = Array2::from_shape_fn(period, |(y, x)| if at(y, x).is_nan() { 0.0 } else { at(y, x) });
    (values, Array2::from_shape_fn(period, |(y, x)| if at(y, x).is_nan() { 0.0 } else { 1.0 }))
}

fn round_up_to_odd(v: f64) -> usize {
    let n = v.ceil() as usize;
    if n % 2 == 0 { n + 1 } else { n }
}

fn pad_edges(map: &Array2<f64>, pad: usize) -> Array2<f64> {
    let (ny, nx) = map.dim();
    Array2::from_shape_fn((ny + 2 * pad, nx + 2 * pad), |(y, x)| {
        map[[y.saturating_sub(pad).min(ny - 1), x.saturating_sub(pad).min(nx - 1)]]
    })
}

fn separable(map: &Array2<f64>, kernel: &[f64], wrap: bool) -> Array2<f64> {
    let mut out = map.clone();
    for axis in [Axis(1), Axis(0)] {
        for mut lane in out.lanes_mut(axis) {
            if lane.iter().any(|v| *v != 0.0) {
                let line = extended(&lane.to_vec(), kernel.len() / 2, wrap);
                for (o, part) in lane.iter_mut().zip(line.windows(kernel.len())) {
                    *o = part.iter().zip(kernel).map(|(v, w)| v * w).sum();
                }
            }
        }
    }
    out
}

/// A line with `half` more points at both ends: its own other end, or zeros.
fn extended(line: &[f64], half: usize, wrap: bool) -> Vec<f64> {
    let n = line.len() as i64;
    (-(half as i64)..n + half as i64)
        .map(|i| {
            if wrap {
                line[i.rem_euclid(n) as usize]
            } else if (0..n).contains(&i) {
                line[i as usize]
            } else {
                0.0
            }
        })
        .collect()
}

/// Smooths a spectrum by a Savitzky-Golay filter of odd length; blanks are left out, ends repeat, and blanks stay blank.
pub(super) fn savitzky_golay(spectrum: &[f64], window: usize, order: usize) -> Vec<f64> {
    let kernel = savitzky_golay_kernel(window, order);
    let (n, half) = (spectrum.len() as i64, (window / 2) as i64);
    (0..n)
        .map(|i| {
            if spectrum[i as usize].is_nan() {
                return f64::NAN;
            }
            let (mut num, mut den) = (0.0, 0.0);
            for (k, w) in kernel.iter().enumerate() {
                let v = spectrum[(i + k as i64 - half).clamp(0, n - 1) as usize];
                if !v.is_nan() {
                    num += w * v;
                    den += w;
                }
            }
            num / den
        })
        .collect()
}

/// Weights that give the value at the centre of the polynomial of `order` fitted to `window` points.
fn savitzky_golay_kernel(window: usize, order: usize) -> Vec<f64> {
    let half = (window / 2) as f64;
    let n = order + 1;
    let t: Vec<f64> = (0..window).map(|i| (i as f64 - half) / half.max(1.0)).collect();
    // Normal equations of the fit; their solution for the unit vector e0 gives the value at t = 0.
    let mut m = vec![vec![0.0; n + 1]; n];
    for (i, row) in m.iter_mut().enumerate() {
        for (j, v) in row.iter_mut().take(n).enumerate() {
            *v = t.iter().map(|t| t.powi((i + j) as i32)).sum();
        }
        row[n] = if i == 0 { 1.0 } else { 0.0 };
    }
    let c = solve(m);
    t.iter().map(|t| c.iter().enumerate().map(|(i, c)| c * t.powi(i as i32)).sum()).collect()
}

/// Gauss elimination with pivots of a small regular system, right side in the last column.
fn solve(mut m: Vec<Vec<f64>>) -> Vec<f64> {
    let n = m.len();
    for i in 0..n {
        let p = (i..n).max_by(|a, b| m[*a][i].abs().total_cmp(&m[*b][i].abs())).unwrap_or(i);
        m.swap(i, p);
        for r in 0..n {
            if r != i {
                let f = m[r][i] / m[i][i];
                for c in i..=n {
                    m[r][c] -= f * m[i][c];
                }
            }
        }
    }
    (0..n).map(|i| m[i][n] / m[i][i]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The classic 5-point quadratic filter (Savitzky & Golay 1964, table I): (-3, 12, 17, 12, -3) / 35.
    #[test]
    fn the_five_point_filter() {
        for (c, e) in savitzky_golay_kernel(5, 2).iter().zip([-3.0, 12.0, 17.0, 12.0, -3.0]) {
            assert!((c - e / 35.0).abs() < 1e-14);
        }
    }

    #[test]
    fn a_cubic_passes_unchanged() {
        let v: Vec<f64> = (0..30).map(|i| (i as f64 * 0.1 - 1.0).powi(3) + 2.0).collect();
        let s = savitzky_golay(&v, 9, 3);
        assert!((4..26).all(|i| (s[i] - v[i]).abs() < 1e-12));
    }

    #[test]
    fn constant_samples_fill_a_constant_map() {
        let mut m = Array2::from_elem((31, 40), f64::NAN);
        for (y, x) in [(3, 3), (3, 20), (16, 8), (25, 30)] {
            m[[y, x]] = 2.5;
        }
        for edge in [Edge::Open, Edge::Wrapped { pad: 10 }] {
            assert!(spread_samples(&m, 5.0, edge).iter().all(|v| v.is_nan() || (v - 2.5).abs() < 1e-12));
        }
        assert!(spread_samples(&m, 5.0, Edge::Open).iter().all(|v| v.is_finite()));
    }
}
