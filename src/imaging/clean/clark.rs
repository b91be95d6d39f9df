//! Clark's minor cycle (1980, A&A 89, 377): bright pixels and a patch of the PSF stand for the image until the next major cycle.

use ndarray::{Array2, ArrayView2};

use super::minor::{Component, Limits, MAX_TERMS};
use crate::error::Result;
use crate::notice::Reporter;

/// Half the side of the patch, pixels.
const HALF: usize = 25;

/// A bright pixel with what is left of it.
#[derive(Debug, Clone, Copy)]
struct Bright {
    y: usize,
    x: usize,
    value: f32,
}

/// Finds components among the pixels of `residual` above the limit, inside `mask`.
///
/// The limit is the larger of the cycle's threshold and the largest sidelobe beyond the patch times the peak: below it pixels
/// would be changed by what the patch leaves out.
pub(super) fn components(
    psf: ArrayView2<f32>,
    psf_center: (usize, usize),
    residual: ArrayView2<f32>,
    mask: &Array2<bool>,
    limits: Limits,
    notice: &dyn Reporter,
) -> Result<Vec<Component>> {
    let peak = residual.indexed_iter().filter(|(i, _)| mask[*i]).fold(0f32, |m, (_, v)| m.max(v.abs()));
    let limit = (beyond_patch(psf, psf_center) * peak).max(limits.threshold as f32);
    let bright = residual.indexed_iter().filter(|(i, v)| mask[*i] && v.abs() >= limit);
    let mut active: Vec<Bright> = bright.map(|((y, x), value)| Bright { y, x, value: *value }).collect();
    let mut found = Vec::new();
    while (found.len() as u64) < limits.n_iter {
        let Some(top) = active.iter().copied().reduce(|a, b| if b.value.abs() > a.value.abs() { b } else { a }) else { break };
        if top.value.abs() <= limit {
            break;
        }
        if found.len() % 64 == 0 {
            notice.check()?;
        }
        let mut amplitude = [0.0; MAX_TERMS];
        amplitude[0] = top.value * limits.gain as f32;
        subtract(&mut active, psf, psf_center, top, amplitude[0]);
        found.push(Component { scale: 0, y: top.y, x: top.x, amplitude, peak: f64::from(top.value.abs()) });
    }
    Ok(found)
}

fn subtract(active: &mut [Bright], psf: ArrayView2<f32>, (yc, xc): (usize, usize), at: Bright, amplitude: f32) {
    for b in active.iter_mut().filter(|b| b.y.abs_diff(at.y) <= HALF && b.x.abs_diff(at.x) <= HALF) {
        if let Some(p) = psf.get(((yc + b.y).wrapping_sub(at.y), (xc + b.x).wrapping_sub(at.x))) {
            b.value -= amplitude * p;
        }
    }
}

/// The largest absolute value of the PSF outside the patch.
fn beyond_patch(psf: ArrayView2<f32>, (yc, xc): (usize, usize)) -> f32 {
    psf.indexed_iter().filter(|((y, x), _)| y.abs_diff(yc) > HALF || x.abs_diff(xc) > HALF).fold(0f32, |m, (_, v)| m.max(v.abs()))
}
