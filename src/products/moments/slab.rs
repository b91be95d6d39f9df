//! Peak brightness over a range of channels, smoothed over a window of velocity or not.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView3};

use super::sightline::{Frame, Sightline};
use crate::products::{Compat, Noise};

/// A running mean along the spectrum, centred, of any width above one channel.
#[derive(Debug, Clone)]
pub(super) struct Window {
    /// Odd number of weights of sum 1.
    weights: Vec<f32>,
    /// Error of the mean over that of a channel, with the correlation of channels.
    factor: f64,
    /// Correlation of means 0, 1, 2, ... channels apart.
    correlation: Vec<f64>,
    compat: Compat,
}

impl Window {
    /// Width in channels; `None` up to one.
    ///
    /// The end channels count by the part of them that the window covers. The PHANGS pipeline takes astropy's box, whose ends count half
    /// whatever the width, and 1/√width as the factor.
    pub(super) fn new(width: f64, correlation: &[f64], compat: Compat) -> Option<Window> {
        if !(width > 1.0) {
            return None;
        }
        let n = width.ceil() as usize;
        let n = if n % 2 == 0 { n + 1 } else { n };
        let inner = (n - 2) as f64;
        let end = match compat {
            Compat::Phangs => {
                if width == n as f64 {
                    1.0
                } else {
                    0.5
                }
            }
            Compat::None => (width - inner) / 2.0,
        };
        let sum = inner + 2.0 * end;
        let weight = |i: usize| if i == 0 || i == n - 1 { end / sum } else { 1.0 / sum };
        let covariance = |lag: usize| -> f64 {
            (0..n)
                .flat_map(|i| (0..n).map(move |j| (i, j)))
                .map(|(i, j)| correlation.get(i.abs_diff(j + lag)).copied().unwrap_or(0.0) * weight(i) * weight(j))
                .sum()
        };
        let variance = covariance(0);
        let factor = if compat == Compat::Phangs { 1.0 / width.sqrt() } else { variance.sqrt() };
        let correlation = (0..n + correlation.len()).map(|lag| covariance(lag) / variance).collect();
        Some(Window { weights: (0..n).map(|i| weight(i) as f32).collect(), factor, correlation, compat })
    }
}

/// Buffers of one thread.
#[derive(Default)]
pub(super) struct Buffers {
    best: Vec<f32>,
    at: Vec<u32>,
    /// Means of all channels of the row, one after the other.
    means: Vec<f32>,
    z: Vec<u32>,
    t: Vec<f64>,
    s: Vec<f64>,
}

/// Channels further below the peak than this many errors are never the peak: their weight in its error is below 2e-4.
const NEAR: f32 = 2.4;

/// Peak of one row over `channels`, and its error.
pub(super) fn peak_row(
    block: &ArrayView3<'_, f32>,
    (i_row, y): (usize, usize),
    channels: Range<usize>,
    window: Option<&Window>,
    (frame, noise): (&Frame<'_>, Option<&Noise>),
    (seen, b): (&[bool], &mut Buffers),
    out: (&mut [f32], &mut [f32]),
) {
    let nx = block.dim().2;
    b.best.clear();
    b.best.resize(nx, f32::NEG_INFINITY);
    b.at.clear();
    b.at.resize(nx, 0);
    b.means.resize(if window.is_some() { channels.len() * nx } else { 0 }, 0.0);
    for (i, z) in channels.clone().enumerate() {
        if let Some(w) = window {
            mean_row(block, i_row, z, &channels, w, &mut b.means[i * nx..(i + 1) * nx]);
        }
        let row = match window {
            Some(_) => ArrayView1::from(&b.means[i * nx..(i + 1) * nx]),
            None => block.slice(ndarray::s![z, i_row, ..]),
        };
        for ((v, best), at) in row.iter().zip(&mut b.best).zip(&mut b.at) {
            let more = *v > *best && *v < f32::INFINITY;
            *best = if more { *v } else { *best };
            *at = if more { z as u32 } else { *at };
        }
    }
    let factor = window.map_or(1.0, |w| w.factor) as f32;
    let correlation = window.map_or(frame.correlation, |w| &w.correlation);
    let near = Frame { correlation, ..*frame };
    for x in 0..nx {
        let seen = seen[x] && b.best[x] > f32::NEG_INFINITY;
        out.0[x] = if seen { b.best[x] } else { f32::NAN };
        let Some(n) = noise.filter(|_| seen) else {
            out.1[x] = f32::NAN;
            continue;
        };
        let sigma = n.at(b.at[x] as usize, y, x) * factor;
        out.1[x] = sigma;
        if frame.compat == Compat::Phangs || !(sigma > 0.0) {
            continue;
        }
        b.z.clear();
        b.t.clear();
        b.s.clear();
        let limit = b.best[x] - NEAR * sigma;
        for (i, z) in channels.clone().enumerate() {
            let v = if window.is_some() { b.means[i * nx + x] } else { block[[z, i_row, x]] };
            if v > limit {
                b.z.push(z as u32);
                b.t.push(f64::from(v));
                b.s.push(f64::from(n.at(z, y, x) * factor));
            }
        }
        out.1[x] = near.tpeak(&Sightline { z: &b.z, t: &b.t, s: &b.s }).1 as f32;
    }
}

/// The mean of one channel's window in one row; blanks are left out.
fn mean_row(block: &ArrayView3<'_, f32>, i_row: usize, z: usize, channels: &Range<usize>, w: &Window, out: &mut [f32]) {
    let nc = block.dim().0;
    let half = w.weights.len() as i64 / 2;
    out.fill(0.0);
    let inside = |k: usize| {
        let zz = z as i64 + k as i64 - half;
        // PHANGS: what is outside the range of the mask is blank, what is outside the cube is 0 with full weight.
        match w.compat {
            Compat::Phangs if zz < 0 || zz >= nc as i64 => Tap::Zero,
            Compat::Phangs if !channels.contains(&(zz as usize)) => Tap::Blank,
            _ if zz < 0 || zz >= nc as i64 => Tap::Blank,
            _ => Tap::At(zz as usize),
        }
    };
    let mut weight = 0.0;
    for (k, c) in w.weights.iter().enumerate() {
        match inside(k) {
            Tap::Blank => {}
            Tap::Zero => weight += c,
            Tap::At(zz) => {
                weight += c;
                out.iter_mut().zip(block.slice(ndarray::s![zz, i_row, ..])).for_each(|(o, v)| *o += c * v);
            }
        }
    }
    out.iter_mut().for_each(|o| *o /= weight);
    // A blank has made its sums blank: those again, one by one.
    for (x, o) in out.iter_mut().enumerate().filter(|(_, o)| o.is_nan()) {
        let (mut sum, mut weight) = (0.0, 0.0);
        for (k, c) in w.weights.iter().enumerate() {
            match inside(k) {
                Tap::Blank => {}
                Tap::Zero => weight += c,
                Tap::At(zz) => {
                    let v = block[[zz, i_row, x]];
                    if !v.is_nan() {
                        sum += c * v;
                        weight += c;
                    }
                }
            }
        }
        *o = sum / weight;
    }
}

enum Tap {
    Blank,
    Zero,
    At(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_covers_part_of_its_end_channels() {
        let w = Window::new(4.8, &[1.0], Compat::None).unwrap();
        assert_eq!(w.weights.len(), 5);
        assert!((w.weights[0] - 0.9 / 4.8).abs() < 1e-6 && (w.weights[2] - 1.0 / 4.8).abs() < 1e-6);
        let p = Window::new(4.81, &[1.0], Compat::Phangs).unwrap();
        assert_eq!(p.weights, [0.125, 0.25, 0.25, 0.25, 0.125]);
        assert_eq!(Window::new(2.3, &[1.0], Compat::Phangs).unwrap().weights, [0.25, 0.5, 0.25]);
        assert!(Window::new(1.0, &[1.0], Compat::None).is_none());
        assert!((Window::new(5.0, &[1.0], Compat::None).unwrap().factor - 0.2f64.sqrt()).abs() < 1e-12);
    }
}
