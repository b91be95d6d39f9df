//! The clean beam: an elliptical Gaussian fitted to the main lobe of the PSF.

use ndarray::ArrayView2;

use super::ImagingError;
use crate::data::{Beam, Ellipse};

/// Pixels of the main lobe down to this fraction of the peak are fitted, as in CASA.
pub const CUTOFF: f32 = 0.35;

/// Fits an elliptical Gaussian of peak 1 at the PSF's peak to the connected pixels above [`CUTOFF`] (least squares, each
/// pixel alike).
pub fn fit_beam(psf_yx: ArrayView2<f32>, cell_rad: f64) -> Result<Beam, ImagingError> {
    let center = peak(psf_yx).ok_or_else(|| ImagingError::BeamFit("it is blank".into()))?;
    let lobe = main_lobe(psf_yx, center);
    if lobe.len() < 2 {
        let found = "its main lobe is one pixel; 3 to 5 pixels across the beam are good";
        return Err(ImagingError::BeamFit(found.into()));
    }
    if lobe.len() < FEW_PIXELS {
        let (fine, fine_center) = refined(psf_yx, center);
        return fit_lobe(&main_lobe(fine.view(), fine_center), cell_rad / FINER as f64);
    }
    fit_lobe(&lobe, cell_rad)
}

/// Main lobes of fewer pixels are interpolated before they are fitted.
const FEW_PIXELS: usize = 24;
/// Pixels that each becomes then, along each axis.
const FINER: usize = 4;
/// Pixels on each side of the peak that are interpolated, and that the interpolation reaches over.
const AROUND: i64 = 10;

/// The surroundings of the peak with finer pixels: Lanczos's interpolation, which is good as PSFs have no waves shorter than two pixels.
fn refined(psf: ArrayView2<f32>, (yc, xc): (usize, usize)) -> (ndarray::Array2<f32>, (usize, usize)) {
    let half = AROUND as usize * FINER;
    let sinc = |t: f64| if t.abs() < 1e-9 { 1.0 } else { (std::f64::consts::PI * t).sin() / (std::f64::consts::PI * t) };
    let kernel = |t: f64| if t.abs() < AROUND as f64 { sinc(t) * sinc(t / AROUND as f64) } else { 0.0 };
    let at = |y: i64, x: i64| usize::try_from(y).ok().zip(usize::try_from(x).ok()).and_then(|i| psf.get(i)).map_or(0.0, |v| f64::from(*v));
    // For each fine pixel: the coarse one before it, and the weights of those around.
    let taps = |k: usize| -> (i64, Vec<f64>) {
        let offset = (k as f64 - half as f64) / FINER as f64;
        let first = offset.floor() as i64 - AROUND;
        (first, (first..=first + 2 * AROUND).map(|x| kernel(offset - x as f64)).collect())
    };
    let taps: Vec<(i64, Vec<f64>)> = (0..2 * half + 1).map(taps).collect();
    // Along rows first, which all fine rows share.
    let row = |y: i64| -> Vec<f64> {
        let along = |(first, k): &(i64, Vec<f64>)| k.iter().zip(*first..).map(|(k, x)| k * at(yc as i64 + y, xc as i64 + x)).sum();
        taps.iter().map(along).collect()
    };
    let rows: Vec<Vec<f64>> = (-2 * AROUND..=2 * AROUND).map(row).collect();
    let fine = ndarray::Array2::from_shape_fn((2 * half + 1, 2 * half + 1), |(j, i)| {
        let (first, k) = &taps[j];
        k.iter().zip(*first..).map(|(k, y)| k * rows[(y + 2 * AROUND) as usize][i]).sum::<f64>() as f32
    });
    (fine, (half, half))
}

fn fit_lobe(lobe: &[[f64; 3]], cell_rad: f64) -> Result<Beam, ImagingError> {
    let form = least_squares(lobe).ok_or_else(|| ImagingError::BeamFit("its main lobe is no Gaussian".into()))?;
    // exp(-(a x² + 2b xy + c y²)), x to the west: FWHM² = 4 ln 2 (a b; b c)^-1.
    let [a, b, c] = form;
    let det = a * c - b * b;
    if !(det > 0.0 && a > 0.0) {
        return Err(ImagingError::BeamFit("its main lobe is no Gaussian".into()));
    }
    let scale = 4.0 * std::f64::consts::LN_2 * cell_rad * cell_rad / det;
    let beam = Ellipse { ee: scale * c, nn: scale * a, en: scale * b }.beam();
    beam.map_err(|e| ImagingError::BeamFit(e.to_string()))
}

/// The highest pixel within the inner half of the image.
fn peak(psf: ArrayView2<f32>) -> Option<(usize, usize)> {
    let (ny, nx) = psf.dim();
    let mut best: Option<((usize, usize), f32)> = None;
    for y in ny / 4..=(3 * ny / 4).min(ny - 1) {
        for x in nx / 4..=(3 * nx / 4).min(nx - 1) {
            let v = psf[[y, x]];
            if v.is_finite() && v > best.map_or(0.0, |b| b.1) {
                best = Some(((y, x), v));
            }
        }
    }
    best.map(|b| b.0)
}

/// (x, y, value over the peak) of the pixels connected to the peak.
fn main_lobe(psf: ArrayView2<f32>, (yc, xc): (usize, usize)) -> Vec<[f64; 3]> {
    let (ny, nx) = psf.dim();
    let top = psf[[yc, xc]];
    let mut seen = ndarray::Array2::from_elem((ny, nx), false);
    let mut open = vec![(yc, xc)];
    seen[[yc, xc]] = true;
    let mut lobe = Vec::new();
    while let Some((y, x)) = open.pop() {
        lobe.push([x as f64 - xc as f64, y as f64 - yc as f64, f64::from(psf[[y, x]] / top)]);
        let beside = [(y.wrapping_sub(1), x), (y + 1, x), (y, x.wrapping_sub(1)), (y, x + 1)];
        for (y, x) in beside {
            if y < ny && x < nx && !seen[[y, x]] && psf[[y, x]] > CUTOFF * top {
                seen[[y, x]] = true;
                open.push((y, x));
            }
        }
    }
    // The order of the walk must not reach the sums.
    lobe.sort_by(|a, b| (a[1], a[0]).partial_cmp(&(b[1], b[0])).unwrap_or(std::cmp::Ordering::Equal));
    lobe
}

/// Levenberg-Marquardt for exp(-(a x² + 2b xy + c y²)).
fn least_squares(lobe: &[[f64; 3]]) -> Option<[f64; 3]> {
    let mut form = by_logarithm(lobe)?;
    let mut damping = 1e-3;
    let mut cost = residuals(lobe, form).0;
    for _ in 0..100 {
        let (_, normal, gradient) = residuals(lobe, form);
        let mut damped = normal;
        for (i, row) in damped.iter_mut().enumerate() {
            row[i] *= 1.0 + damping;
        }
        let step = solve3(damped, gradient)?;
        let next: [f64; 3] = std::array::from_fn(|i| form[i] + step[i]);
        let next_cost = residuals(lobe, next).0;
        if next_cost <= cost {
            let settled = step.iter().zip(&form).all(|(s, f)| s.abs() <= 1e-12 * f.abs().max(form[0]));
            (form, cost, damping) = (next, next_cost, damping * 0.1);
            if settled {
                break;
            }
        } else if damping > 1e10 {
            break;
        } else {
            damping *= 10.0;
        }
    }
    Some(form)
}

/// Start: the straight-line fit to the logarithm, weighted by the value squared.
fn by_logarithm(lobe: &[[f64; 3]]) -> Option<[f64; 3]> {
    let (mut normal, mut right) = ([[0.0; 3]; 3], [0.0; 3]);
    for [x, y, v] in lobe {
        let q = [-x * x, -2.0 * x * y, -y * y];
        for i in 0..3 {
            right[i] += v * v * q[i] * v.ln();
            for j in 0..3 {
                normal[i][j] += v * v * q[i] * q[j];
            }
        }
    }
    solve3(normal, right)
}

/// Sum of squares, normal matrix and right side of the linearized problem.
fn residuals(lobe: &[[f64; 3]], [a, b, c]: [f64; 3]) -> (f64, [[f64; 3]; 3], [f64; 3]) {
    let (mut cost, mut normal, mut right) = (0.0, [[0.0; 3]; 3], [0.0; 3]);
    for [x, y, v] in lobe {
        let g = (-(a * x * x + 2.0 * b * x * y + c * y * y)).exp();
        let d = [-x * x * g, -2.0 * x * y * g, -y * y * g];
        cost += (v - g) * (v - g);
        for i in 0..3 {
            right[i] += d[i] * (v - g);
            for j in 0..3 {
                normal[i][j] += d[i] * d[j];
            }
        }
    }
    (cost, normal, right)
}

/// Cramer's rule.
fn solve3(m: [[f64; 3]; 3], r: [f64; 3]) -> Option<[f64; 3]> {
    let det = |m: [[f64; 3]; 3]| {
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    };
    let d = det(m);
    if !d.is_finite() || d == 0.0 {
        return None;
    }
    Some(std::array::from_fn(|k| {
        let mut with = m;
        for i in 0..3 {
            with[i][k] = r[i];
        }
        det(with) / d
    }))
}

/// The smallest ellipse that contains all beams (Khachiyan's iteration for the ellipse of least area about points on their outlines).
pub fn common_beam(beams: &[Beam]) -> Option<Beam> {
    let largest = beams.iter().copied().max_by(|a, b| a.sr().total_cmp(&b.sr()))?;
    if beams.iter().all(|b| b.kernel_to(largest).is_some()) {
        return Some(largest);
    }
    let scale = largest.bmaj_rad();
    let mut points: Vec<[f64; 2]> = beams.iter().flat_map(|b| outline(*b, scale)).collect();
    points.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    points.dedup();
    let n = points.len();
    let mut share = vec![1.0 / n as f64; n];
    for _ in 0..10_000 {
        let inverse = inverse2(second_moment(&points, &share))?;
        let reach: Vec<f64> = points.iter().map(|p| quadratic(inverse, *p)).collect();
        let worst = reach.iter().copied().fold(0.0, f64::max);
        if worst < 2.0 * (1.0 + 1e-7) {
            break;
        }
        share.iter_mut().zip(&reach).for_each(|(s, r)| *s *= r / 2.0);
    }
    let moment = second_moment(&points, &share);
    let inverse = inverse2(moment)?;
    // Grown until the last outline is inside: between its points it lies a little outside them.
    let worst = points.iter().map(|p| quadratic(inverse, *p)).fold(0.0, f64::max);
    let grown = |i: i32| {
        let k = worst * 4.0 * scale * scale * (1.0 + 1e-5 * f64::from(i));
        Ellipse { ee: moment[0] * k, en: moment[1] * k, nn: moment[2] * k }.beam().ok()
    };
    (1..200).filter_map(grown).find(|common| beams.iter().all(|b| b.kernel_to(*common).is_some()))
}

/// Points (east, north) on one half of a beam's outline, in units of `scale`; the other half is its mirror image.
fn outline(beam: Beam, scale: f64) -> Vec<[f64; 2]> {
    const HALF: usize = 256;
    let (a, b) = (beam.bmaj_rad() / 2.0 / scale, beam.bmin_rad() / 2.0 / scale);
    let (s, c) = beam.bpa_rad().sin_cos();
    let at = |i: usize| (std::f64::consts::PI * i as f64 / HALF as f64).sin_cos();
    (0..HALF).map(at).map(|(t, u)| [a * u * s - b * t * c, a * u * c + b * t * s]).collect()
}

fn second_moment(points: &[[f64; 2]], share: &[f64]) -> [f64; 3] {
    points.iter().zip(share).fold([0.0; 3], |m, ([x, y], s)| [m[0] + s * x * x, m[1] + s * x * y, m[2] + s * y * y])
}
fn inverse2([a, b, c]: [f64; 3]) -> Option<[f64; 3]> {
    let det = a * c - b * b;
    (det > 0.0).then(|| [c / det, -b / det, a / det])
}
fn quadratic([a, b, c]: [f64; 3], [x, y]: [f64; 2]) -> f64 {
    a * x * x + 2.0 * b * x * y + c * y * y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::ARCSEC;
    use ndarray::Array2;

    fn beam(a: f64, b: f64, pa_deg: f64) -> Beam {
        Beam::new(a * ARCSEC, b * ARCSEC, pa_deg.to_radians()).unwrap()
    }

    pub fn gaussian(n: usize, cell_rad: f64, beam: Beam) -> Array2<f32> {
        let (s, c) = beam.bpa_rad().sin_cos();
        let k = 4.0 * std::f64::consts::LN_2;
        Array2::from_shape_fn((n, n), |(y, x)| {
            let (e, north) = (-(x as f64 - (n / 2) as f64) * cell_rad, (y as f64 - (n / 2) as f64) * cell_rad);
            let (along, across) = (e * s + north * c, e * c - north * s);
            (-k * ((along / beam.bmaj_rad()).powi(2) + (across / beam.bmin_rad()).powi(2))).exp() as f32
        })
    }

    #[test]
    fn a_gaussian_gives_its_own_widths_and_angle() {
        for b in [beam(1.2, 0.7, 35.0), beam(1.0, 0.9, -80.0), beam(2.0, 0.6, 0.0)] {
            let found = fit_beam(gaussian(64, 0.15 * ARCSEC, b).view(), 0.15 * ARCSEC).unwrap();
            assert!((found.bmaj_rad() / b.bmaj_rad() - 1.0).abs() < 1e-5 && (found.bmin_rad() / b.bmin_rad() - 1.0).abs() < 1e-5);
            assert!((found.bpa_rad() - b.bpa_rad()).sin().abs() < 1e-5, "{b} {found}");
        }
    }

    #[test]
    fn a_beam_of_one_pixel_is_refused_in_words() {
        let mut psf = Array2::zeros((16, 16));
        psf[[8, 8]] = 1.0;
        assert!(fit_beam(psf.view(), ARCSEC).unwrap_err().to_string().contains("pixels across the beam"));
    }

    #[test]
    fn the_common_beam_contains_all_and_is_tight() {
        let beams = [beam(2.0, 1.0, 0.0), beam(2.0, 1.0, 60.0), beam(1.5, 1.4, 20.0)];
        let common = common_beam(&beams).unwrap();
        assert!(beams.iter().all(|b| b.kernel_to(common).is_some()));
        // A circle of 2 arcsec contains them too: the best is smaller, and larger than each.
        assert!(common.sr() < beam(2.0, 2.0, 0.0).sr() && common.sr() > beam(2.0, 1.0, 0.0).sr());
        let crossed = common_beam(&[beam(2.0, 1.0, 0.0), beam(2.0, 1.0, 90.0)]).unwrap();
        assert!((crossed.bmaj_rad() / (2.0 * ARCSEC) - 1.0).abs() < 1e-4 && crossed.is_round(1e-4));
        assert_eq!(common_beam(&[beam(2.0, 1.0, 10.0), beam(1.0, 1.0, 0.0)]).unwrap(), beam(2.0, 1.0, 10.0));
    }
}
