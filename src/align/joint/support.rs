//! The part of the sky that may hold emission.

use crate::units::ARCSEC;

/// An ellipse on the sky in direction cosines from the seed's phase center, rad.
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

    /// Largest distance from `center` to the edge, rad.
    pub(super) fn reach(&self, center: [f64; 2]) -> f64 {
        self.patches.iter().map(|p| (p.east_rad - center[0]).hypot(p.north_rad - center[1]) + p.major_rad).fold(0.0, f64::max)
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

    pub(super) fn contains(&self, east: f64, north: f64) -> bool {
        self.patches.iter().any(|p| p.radius(east, north) < 1.0)
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

/// What an image says about where its emission is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Extent {
    /// Relative to the middle of the image, rad.
    pub center: [f64; 2],
    pub radius: f64,
    /// Five times the scatter of the empty part, relative to the peak.
    pub floor: f64,
}

/// Center and radius of the emission in an image of `n` by `n` pixels that was made within `disc` rad of its middle.
///
/// Pixels above max(2 % of the peak, 5 standard deviations of the outer annulus); the center is the middle of the 1 to 99 %
/// flux quantiles along each axis (arcs pull the centroid away by 0.1-0.3 of the radius).
pub(super) fn extent(image: &[f64], n: usize, pixel: f64, disc: f64, resolution: f64) -> Option<Extent> {
    let smooth = smooth(image, n, 0.2 * resolution / pixel);
    let at = |i: usize| (i as f64 - (n / 2) as f64) * pixel;
    let radius = |k: usize| at(k % n).hypot(at(k / n));
    let peak = smooth.iter().copied().fold(0.0, f64::max);
    if peak <= 0.0 {
        return None;
    }
    let outer: Vec<f64> = (0..n * n).filter(|k| radius(*k) > 0.7 * disc && radius(*k) < 0.95 * disc).map(|k| smooth[k]).collect();
    let rms = (outer.iter().map(|x| x * x).sum::<f64>() / outer.len().max(1) as f64).sqrt();
    let threshold = (0.02 * peak).max(5.0 * rms);
    let bright: Vec<(f64, f64, f64)> = (0..n * n).filter(|k| smooth[*k] > threshold).map(|k| (at(k % n), at(k / n), smooth[k])).collect();
    let middle = |axis: fn(&(f64, f64, f64)) -> f64| {
        let q = quantiles(bright.iter().map(|b| (axis(b), b.2)).collect(), &[0.01, 0.99]);
        0.5 * (q[0] + q[1])
    };
    let center = [middle(|b| b.0), middle(|b| b.1)];
    let radii = bright.iter().map(|b| ((b.0 - center[0]).hypot(b.1 - center[1]), b.2)).collect();
    let r = quantiles(radii, &[0.995])[0];
    Some(Extent { center, radius: 1.15 * r + 0.35 * resolution, floor: 5.0 * rms / peak })
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
