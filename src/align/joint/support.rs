//! The part of the sky that may hold emission.

use crate::units::ARCSEC;

/// An ellipse on the sky in direction cosines from a phase center, rad.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SupportPatch {
    /// Center to the east, rad.
    pub east_rad: f64,
    /// Center to the north, rad.
    pub north_rad: f64,
    /// Semi-major axis, rad.
    pub major_rad: f64,
    /// Semi-minor axis, rad.
    pub minor_rad: f64,
    /// Position angle of the major axis east of north, rad.
    pub angle_rad: f64,
}

impl SupportPatch {
    /// A disc.
    pub fn disc(center: [f64; 2], radius_rad: f64) -> SupportPatch {
        SupportPatch { east_rad: center[0], north_rad: center[1], major_rad: radius_rad, minor_rad: radius_rad, angle_rad: 0.0 }
    }

    /// Elliptical radius of a place: 1 on the edge.
    pub(super) fn radius(&self, east: f64, north: f64) -> f64 {
        let (dx, dy) = (east - self.east_rad, north - self.north_rad);
        let (s, c) = self.angle_rad.sin_cos();
        let (along, across) = (dx * s + dy * c, dx * c - dy * s);
        (along / self.major_rad).hypot(across / self.minor_rad)
    }

    /// Half of the extent to the east-west (0) or north-south (1), rad.
    fn half_width(&self, axis: usize) -> f64 {
        let (s, c) = self.angle_rad.sin_cos();
        let (major, minor) = if axis == 0 { (s, c) } else { (c, s) };
        (self.major_rad * major).hypot(self.minor_rad * minor)
    }

    /// 1 inside three quarters of the radius, falling to 0 at the edge.
    fn envelope(&self, east: f64, north: f64) -> f64 {
        const FLAT: f64 = 0.75;
        match self.radius(east, north) {
            r if r <= FLAT => 1.0,
            r if r >= 1.0 => 0.0,
            r => 0.5 * (1.0 + (std::f64::consts::PI * (r - FLAT) / (1.0 - FLAT)).cos()),
        }
    }
}

/// One or several patches; their union may hold emission.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Support {
    /// The patches; the first one is that of the source.
    pub patches: Vec<SupportPatch>,
}

impl Support {
    /// A single disc.
    pub fn disc(center: [f64; 2], radius_rad: f64) -> Support {
        Support { patches: vec![SupportPatch::disc(center, radius_rad)] }
    }

    /// Middle and half-width of the square that holds all patches, rad.
    pub(super) fn bounds(&self) -> ([f64; 2], f64) {
        let edge = |axis: usize, sign: f64| {
            let place = |p: &SupportPatch| [p.east_rad, p.north_rad][axis] + sign * p.half_width(axis);
            self.patches.iter().map(place).fold(-sign * f64::INFINITY, |a, b| if sign > 0.0 { a.max(b) } else { a.min(b) })
        };
        let range = [0, 1].map(|axis| (edge(axis, -1.0), edge(axis, 1.0)));
        let half = range.map(|(lo, hi)| 0.5 * (hi - lo));
        (range.map(|(lo, hi)| 0.5 * (lo + hi)), half[0].max(half[1]))
    }

    /// The envelope on an image of `n` by `n` pixels about `center`, [north, east].
    pub(super) fn envelope(&self, center: [f64; 2], n: usize, pixel: f64) -> Vec<f64> {
        let at = |i: usize, c: f64| c + (i as f64 - (n / 2) as f64) * pixel;
        (0..n * n)
            .map(|k| {
                let (east, north) = (at(k % n, center[0]), at(k / n, center[1]));
                self.patches.iter().map(|p| p.envelope(east, north)).fold(0.0, f64::max)
            })
            .collect()
    }

    /// Smallest elliptical radius of a place: below 1 inside.
    pub(super) fn radius(&self, east: f64, north: f64) -> f64 {
        self.patches.iter().map(|p| p.radius(east, north)).fold(f64::INFINITY, f64::min)
    }
}

impl std::fmt::Display for Support {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, p) in self.patches.iter().enumerate() {
            let (e, n, a, b) = (p.east_rad / ARCSEC, p.north_rad / ARCSEC, p.major_rad / ARCSEC, p.minor_rad / ARCSEC);
            let shape = if a == b { format!("radius {a:.2}") } else { format!("{a:.2} by {b:.2} at {:.0} deg", p.angle_rad.to_degrees()) };
            write!(f, "{}{shape}arcsec about ({e:+.2}, {n:+.2})", if i > 0 { " and " } else { "" })?;
        }
        Ok(())
    }
}

/// What an image says about where its emission is, relative to the middle of the image, rad.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Extent {
    pub center: [f64; 2],
    pub radius: f64,
    /// Minor over major axis of the flux about the center.
    pub axis_ratio: f64,
    /// Position angle of the major axis, rad.
    pub angle: f64,
}

/// An image of `n` by `n` pixels, east and north increasing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Picture<'a> {
    pub image: &'a [f64],
    pub n: usize,
    pub pixel: f64,
    /// 1/(longest baseline), rad.
    pub resolution: f64,
}

/// Patches fainter than this share of the flux do not count for the source itself.
const MINOR_SHARE: f64 = 0.03;

/// Extents of the source and of separate fainter patches in an image whose emission lies within `disc` rad of its middle.
///
/// Bright pixels are those above max(2 % of the peak, 5 times the scatter of the outer part). The center of the source is the
/// middle of the 1 to 99 % flux quantiles along each axis (arcs pull the centroid away by 0.1-0.3 of the radius).
pub(super) fn extents(picture: &Picture, disc: f64) -> Vec<Extent> {
    let (n, pixel) = (picture.n, picture.pixel);
    let smooth = smooth(picture.image, n, 0.2 * picture.resolution / pixel);
    let at = |k: usize| [((k % n) as f64 - (n / 2) as f64) * pixel, ((k / n) as f64 - (n / 2) as f64) * pixel];
    let radius = |k: usize| at(k)[0].hypot(at(k)[1]);
    let peak = smooth.iter().copied().fold(0.0, f64::max);
    let outer: Vec<f64> = (0..n * n).filter(|k| radius(*k) > 0.6 * disc && radius(*k) < 0.95 * disc).map(|k| smooth[k].abs()).collect();
    // 1.48 times the median of |x| is the standard deviation of a Gaussian, and a compact source does not move it.
    let rms = 1.4826 * median(outer);
    let threshold = (0.02 * peak).max(5.0 * rms);
    let mut regions = regions(&smooth, n, threshold);
    let flux = |region: &[usize]| region.iter().map(|k| smooth[*k]).sum::<f64>();
    let total: f64 = regions.iter().map(|r| flux(r)).sum();
    regions.sort_by(|a, b| flux(b).total_cmp(&flux(a)));
    let extent = |region: &[usize]| {
        let bright: Vec<([f64; 2], f64)> = region.iter().map(|k| (at(*k), smooth[*k])).collect();
        Extent::of(&bright, 0.35 * picture.resolution)
    };
    let (main, minor): (Vec<Vec<usize>>, Vec<Vec<usize>>) = regions.into_iter().partition(|r| flux(r) >= MINOR_SHARE * total);
    if main.is_empty() {
        return Vec::new();
    }
    let source = extent(&main.concat());
    let mut out = vec![source];
    for region in minor {
        let e = extent(&region);
        let apart = (e.center[0] - source.center[0]).hypot(e.center[1] - source.center[1]) > source.radius;
        if apart && region.iter().any(|k| smooth[*k] > 7.0 * rms) {
            out.push(Extent { radius: e.radius.max(0.6 * picture.resolution), ..e });
        }
    }
    out
}

impl Extent {
    fn of(bright: &[([f64; 2], f64)], margin: f64) -> Extent {
        let middle = |axis: usize| {
            let q = quantiles(bright.iter().map(|b| (b.0[axis], b.1)).collect(), &[0.01, 0.99]);
            0.5 * (q[0] + q[1])
        };
        let center = [middle(0), middle(1)];
        let relative = |b: &([f64; 2], f64)| [b.0[0] - center[0], b.0[1] - center[1]];
        let radii = bright.iter().map(|b| (relative(b)[0].hypot(relative(b)[1]), b.1)).collect();
        let moment = |i: usize, j: usize| bright.iter().map(|b| b.1 * relative(b)[i] * relative(b)[j]).sum::<f64>();
        let (xx, xy, yy) = (moment(0, 0), moment(0, 1), moment(1, 1));
        let (mean, spread) = (0.5 * (xx + yy), (0.5 * (xx - yy)).hypot(xy));
        let axis_ratio = if mean + spread > 0.0 { ((mean - spread).max(0.0) / (mean + spread)).sqrt() } else { 1.0 };
        // Position angle from north to east of the direction along which the flux spreads most.
        let angle = 0.5 * (2.0 * xy).atan2(yy - xx);
        Extent { center, radius: 1.15 * quantiles(radii, &[0.995])[0] + margin, axis_ratio, angle }
    }

    /// The patch of this extent in an image whose middle is at `middle`.
    pub fn disc(&self, middle: [f64; 2]) -> SupportPatch {
        SupportPatch::disc([self.center[0] + middle[0], self.center[1] + middle[1]], self.radius)
    }
}

fn median(mut x: Vec<f64>) -> f64 {
    x.sort_by(f64::total_cmp);
    x.get(x.len() / 2).copied().unwrap_or(0.0)
}

/// Connected regions (with diagonals) of pixels above a threshold, in the order of their first pixel.
fn regions(image: &[f64], n: usize, threshold: f64) -> Vec<Vec<usize>> {
    let mut seen = vec![false; image.len()];
    let mut out = Vec::new();
    for first in 0..image.len() {
        if seen[first] || !(image[first] > threshold) {
            continue;
        }
        seen[first] = true;
        let (mut region, mut next) = (vec![first], 0);
        while next < region.len() {
            let (y, x) = (region[next] / n, region[next] % n);
            next += 1;
            for (dy, dx) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)] {
                let (y, x) = (y + dy, x + dx);
                if y >= 1 && x >= 1 && y <= n && x <= n {
                    let k = (y - 1) * n + x - 1;
                    if !seen[k] && image[k] > threshold {
                        seen[k] = true;
                        region.push(k);
                    }
                }
            }
        }
        out.push(region);
    }
    out
}

/// Places below which the given fractions of the flux lie.
fn quantiles(mut place_and_flux: Vec<(f64, f64)>, fractions: &[f64]) -> Vec<f64> {
    place_and_flux.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total: f64 = place_and_flux.iter().map(|p| p.1).sum();
    let below = |fraction: f64| {
        let mut sum = 0.0;
        for (place, flux) in &place_and_flux {
            sum += flux;
            if sum >= fraction * total {
                return *place;
            }
        }
        place_and_flux.last().map_or(0.0, |p| p.0)
    };
    fractions.iter().map(|f| below(*f)).collect()
}

/// Convolution with a Gaussian of `sigma` pixels.
fn smooth(image: &[f64], n: usize, sigma: f64) -> Vec<f64> {
    if sigma < 0.2 {
        return image.to_vec();
    }
    let half = (3.0 * sigma).ceil() as i64;
    let kernel: Vec<f64> = (-half..=half).map(|i| (-0.5 * (i as f64 / sigma).powi(2)).exp()).collect();
    let total: f64 = kernel.iter().sum();
    let pass = |from: &[f64], along_x: bool| -> Vec<f64> {
        (0..n * n)
            .map(|k| {
                let (x, y) = ((k % n) as i64, (k / n) as i64);
                let value = |d: i64| {
                    let (x, y) = if along_x { (x + d, y) } else { (x, y + d) };
                    let inside = (0..n as i64).contains(&x) && (0..n as i64).contains(&y);
                    if inside { from[(y * n as i64 + x) as usize] } else { 0.0 }
                };
                kernel.iter().zip(-half..=half).map(|(k, d)| k * value(d)).sum::<f64>() / total
            })
            .collect()
    };
    pass(&pass(image, true), false)
}
