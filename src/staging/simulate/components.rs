//! A sky of components whose visibilities are known in closed form.

use std::f64::consts::{PI, TAU};

use num_complex::Complex64;

use crate::error::{Error, Result};
use crate::options;
use crate::units::{ARCSEC, Angle, C_M_S, Flux, GM_SUN_PER_AU, Velocity};

/// One component of a simulated sky, placed relative to the centre of the source.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SkyComponent {
    /// Flux at the reference frequency.
    pub flux: Flux,
    /// Offset to the east.
    pub dra: Angle,
    /// Offset to the north.
    pub ddec: Angle,
    /// Radius of the ring that the component is; 0 for a spot.
    pub radius: Angle,
    /// Width (standard deviation) of the Gaussian that the ring or spot is smeared with, before it is inclined.
    pub width: Angle,
    /// Inclination: the minor axis is shorter by its cosine.
    pub inclination: Angle,
    /// Position angle of the major axis, from north to east.
    pub position_angle: Angle,
    /// Radio velocity (LSRK) of a line, whose integral over frequency in units of its FWHM is 1.064 `flux`; none for continuum.
    pub velocity: Option<Velocity>,
    /// FWHM of the line.
    pub line_width: Velocity,
}

impl Default for SkyComponent {
    fn default() -> SkyComponent {
        let zero = Angle(0.0);
        SkyComponent {
            flux: Flux(0.0),
            dra: zero,
            ddec: zero,
            radius: zero,
            width: zero,
            inclination: zero,
            position_angle: zero,
            velocity: None,
            line_width: Velocity(0.5),
        }
    }
}

/// A disk of two rings, a core, an arc on the outer ring and a knot: 0.12 Jy within 1.3 arcsec.
pub fn ringed_disk() -> Vec<SkyComponent> {
    let arcsec = Angle::from_arcsec;
    let (inclination, position_angle) = (Angle(23.2f64.to_radians()), Angle(54.5f64.to_radians()));
    let ring = |flux: f64, radius: f64, width: f64| SkyComponent {
        flux: Flux(flux),
        radius: arcsec(radius),
        width: arcsec(width),
        inclination,
        position_angle,
        ..SkyComponent::default()
    };
    let spot = |flux: f64, dra: f64, ddec: f64, width: f64| SkyComponent {
        flux: Flux(flux),
        dra: arcsec(dra),
        ddec: arcsec(ddec),
        width: arcsec(width),
        ..SkyComponent::default()
    };
    let mut sky = vec![ring(0.012, 0.0, 0.04), ring(0.018, 0.42, 0.05), ring(0.065, 0.95, 0.1), spot(0.001, 0.55, -0.42, 0.03)];
    // The arc: spots along 70 degrees of the outer ring.
    for (i, flux) in [0.002, 0.0055, 0.0075, 0.006, 0.003].into_iter().enumerate() {
        let along = (95.0 + 17.5 * i as f64).to_radians();
        let (major, minor) = (0.95 * along.cos(), 0.95 * along.sin() * inclination.0.cos());
        let (sin, cos) = position_angle.0.sin_cos();
        sky.push(spot(flux, major * sin + minor * cos, major * cos - minor * sin, 0.09));
    }
    sky
}

options! {
    /// A thin disk in Keplerian rotation that shines in a line.
    pub struct DiskOptions {
        /// Inclination.
        ["deg"] inclination: Angle = Angle(40f64.to_radians()),
        /// Position angle of the red-shifted side, from north to east.
        ["deg"] pa: Angle = Angle(60f64.to_radians()),
        /// Mass of the star.
        ["Msun"] mass: f64 = 1.5,
        /// Distance.
        ["pc"] distance: f64 = 140.0,
        /// Velocity of the star (radio, LSRK).
        ["km/s"] vlsr: Velocity = Velocity(6.0),
        /// Inner radius.
        ["arcsec"] r_min: Angle = Angle::from_arcsec(0.25),
        /// Outer radius.
        ["arcsec"] r_max: Angle = Angle::from_arcsec(1.6),
        /// FWHM of the line at each place.
        ["km/s"] line_width: Velocity = Velocity(0.5),
        /// Peak flux of the line of all places, if all had the same velocity.
        ["Jy"] flux: Flux = Flux(4.0),
        /// Width (standard deviation) of the spots that the disk is made of.
        ["arcsec"] spot: Angle = Angle::from_arcsec(0.06),
        /// Distance of the rings of spots, and of spots along a ring, in widths of a spot.
        ["1"] spacing: f64 = 2.2,
    }
}

/// Spots of a disk at most: a simulation evaluates each of them for each visibility.
const MAX_SPOTS: f64 = 20_000.0;

/// The disk as spots of constant surface brightness on rings, each with the velocity of its place.
pub fn keplerian_disk(o: &DiskOptions) -> Result<Vec<SkyComponent>> {
    let step = o.step()?;
    let n_rings = ((o.r_max.0 - o.r_min.0) / step).floor() as usize + 1;
    let ((sin_pa, cos_pa), (sin_i, cos_i)) = (o.pa.0.sin_cos(), o.inclination.0.sin_cos());
    let mut spots = Vec::new();
    for ring in 0..n_rings {
        let r = o.r_min.0 + ring as f64 * step;
        let speed = (GM_SUN_PER_AU * o.mass / (r / ARCSEC * o.distance)).sqrt() * sin_i.abs();
        let n = (TAU * r / step).ceil().max(1.0) as usize;
        for i in 0..n {
            let (s, c) = (TAU * (i as f64 + 0.5 * (ring % 2) as f64) / n as f64).sin_cos();
            let (along, across) = (r * c, r * s * cos_i);
            spots.push(SkyComponent {
                // Every spot stands for the same area of the disk.
                flux: Flux(r * step / n as f64),
                dra: Angle(along * sin_pa + across * cos_pa),
                ddec: Angle(along * cos_pa - across * sin_pa),
                width: o.spot,
                inclination: o.inclination,
                position_angle: o.pa,
                velocity: Some(Velocity(o.vlsr.0 + speed * c)),
                line_width: o.line_width,
                ..SkyComponent::default()
            });
        }
    }
    let total: f64 = spots.iter().map(|s| s.flux.0).sum();
    spots.iter_mut().for_each(|s| s.flux.0 *= o.flux.0 / total);
    Ok(spots)
}

impl DiskOptions {
    /// Distance between spots, rad, for a disk that can be: positive sizes, and a bearable number of spots.
    fn step(&self) -> Result<f64> {
        let positive =
            [("mass", self.mass), ("distance", self.distance), ("spot", self.spot.0), ("spacing", self.spacing), ("r_min", self.r_min.0)];
        if let Some((name, value)) = positive.into_iter().find(|(_, v)| !(*v > 0.0)) {
            return Err(Error::user(format!("`{name}` of the disk is {value}; expected a value above 0")));
        }
        if !(self.r_max.0 >= self.r_min.0) {
            return Err(Error::user(format!("`r_max` of the disk is {}; expected at least `r_min`, {}", self.r_max, self.r_min)));
        }
        let step = self.spacing * self.spot.0;
        let spots = PI * (self.r_max.0.powi(2) - self.r_min.0.powi(2)) / (step * step) + TAU * self.r_max.0 / step;
        if spots > MAX_SPOTS {
            return Err(Error::user(format!(
                "the disk would consist of {spots:.0} spots of {}; at most {MAX_SPOTS:.0} can be simulated",
                self.spot
            ))
            .hint(format!(
                "raise spot: a disk out to {} takes spots of {:.3}arcsec or more",
                self.r_max,
                self.spot.arcsec() * (spots / MAX_SPOTS).sqrt()
            )));
        }
        Ok(step)
    }
}

/// Components prepared for many visibilities.
pub struct Sky {
    parts: Vec<Part>,
    spectral_index: f64,
    ref_freq_hz: f64,
}

struct Part {
    flux: f64,
    lm: [f64; 2],
    n_minus_1: f64,
    sin_cos_pa: [f64; 2],
    cos_inclination: f64,
    radius: f64,
    width: f64,
    line: Option<Line>,
}

/// A Gaussian line.
#[derive(Clone, Copy)]
struct Line {
    center_hz: f64,
    sigma_hz: f64,
}

impl Line {
    /// Height at a frequency relative to the peak; nothing beyond six standard deviations.
    fn at(self, freq_hz: f64) -> f64 {
        let x = (freq_hz - self.center_hz) / self.sigma_hz;
        if x.abs() < 6.0 { (-0.5 * x * x).exp() } else { 0.0 }
    }
}

impl Sky {
    /// The components, moved to the east and north by `offset_rad`, as seen from a phase center.
    #[cfg(test)]
    pub fn new(components: &[SkyComponent], offset_rad: [f64; 2], spectral_index: f64, ref_freq_hz: f64) -> Sky {
        Sky::with_lines(components, offset_rad, spectral_index, ref_freq_hz, ref_freq_hz)
    }

    /// The components, moved to the east and north by `offset_rad`, as seen from a phase center; velocities count from `rest_hz`.
    pub fn with_lines(components: &[SkyComponent], offset_rad: [f64; 2], spectral_index: f64, ref_freq_hz: f64, rest_hz: f64) -> Sky {
        let hz_per_kms = rest_hz * 1e3 / C_M_S;
        let line = |c: &SkyComponent| {
            let fwhm_hz = c.line_width.0.abs().max(1e-6) * hz_per_kms;
            c.velocity.map(|v| Line { center_hz: rest_hz - v.0 * hz_per_kms, sigma_hz: fwhm_hz / (8.0 * std::f64::consts::LN_2).sqrt() })
        };
        let parts = components.iter().map(|c| {
            let lm = [c.dra.0 + offset_rad[0], c.ddec.0 + offset_rad[1]];
            let r2 = lm[0] * lm[0] + lm[1] * lm[1];
            let (sin, cos) = c.position_angle.0.sin_cos();
            Part {
                flux: c.flux.0,
                lm,
                n_minus_1: -r2 / (1.0 + (1.0 - r2).max(0.0).sqrt()), // sqrt(1 - r2) - 1 without cancellation
                sin_cos_pa: [sin, cos],
                cos_inclination: c.inclination.0.cos(),
                radius: c.radius.0,
                width: c.width.0,
                line: line(c),
            }
        });
        Sky { parts: parts.collect(), spectral_index, ref_freq_hz }
    }

    /// Visibility where lines are in the frame of the frequencies.
    #[cfg(test)]
    pub fn visibility(&self, uvw_lambda: [f64; 3], freq_hz: f64) -> Complex64 {
        self.visibility_of_lines(uvw_lambda, freq_hz, freq_hz)
    }

    /// Visibility at (u, v, w) in wavelengths, V = Σ I exp(+2πi(ul + vm + w(n-1))); `line_freq_hz` is the frequency in the frame
    /// of the lines' velocities.
    ///
    /// Exact for the components; n varies over the field only from component to component.
    pub fn visibility_of_lines(&self, uvw_lambda: [f64; 3], freq_hz: f64, line_freq_hz: f64) -> Complex64 {
        let [u, v, w] = uvw_lambda;
        let mut sum = Complex64::new(0.0, 0.0);
        for p in &self.parts {
            let height = p.line.map_or(1.0, |l| l.at(line_freq_hz));
            if height == 0.0 {
                continue;
            }
            let phase = TAU * (u * p.lm[0] + v * p.lm[1] + w * p.n_minus_1);
            sum += Complex64::from_polar(height * p.flux * p.envelope(u, v), phase);
        }
        sum * (freq_hz / self.ref_freq_hz).powf(self.spectral_index)
    }
}

impl Part {
    /// Visibility of the component around its own centre, for unit flux: J0(2πrq) exp(-2π²σ²q²), q deprojected.
    fn envelope(&self, u: f64, v: f64) -> f64 {
        if self.radius == 0.0 && self.width == 0.0 {
            return 1.0;
        }
        let [sin, cos] = self.sin_cos_pa;
        let (major, minor) = (u * sin + v * cos, (u * cos - v * sin) * self.cos_inclination);
        let q2 = major * major + minor * minor;
        let smear = (-2.0 * PI * PI * self.width * self.width * q2).exp();
        if self.radius > 0.0 && smear > 0.0 { smear * libm::j0(TAU * self.radius * q2.sqrt()) } else { smear }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_of_too_many_spots_is_refused_with_a_size_that_will_do() {
        let fine = DiskOptions { spot: Angle(0.001 * ARCSEC), ..DiskOptions::default() };
        let e = keplerian_disk(&fine).unwrap_err();
        assert!(e.message.contains("spots of 0.001arcsec; at most 20000"), "{}", e.message);
        assert!(keplerian_disk(&DiskOptions { r_min: Angle(0.0), ..DiskOptions::default() }).is_err());
        let spots = keplerian_disk(&DiskOptions::default()).unwrap();
        assert!((spots.iter().map(|s| s.flux.0).sum::<f64>() - 4.0).abs() < 1e-9);
        // 0.5 arcsec at 140 pc is 70 au: the earth's speed times sqrt(1.5/70), times sin 40 deg, on the major axis.
        let fastest = spots.iter().map(|s| (s.velocity.unwrap().0 - 6.0).abs()).fold(0.0, f64::max);
        assert!((fastest - 29.78 * (1.5f64 / 35.0).sqrt() * 40f64.to_radians().sin()).abs() < 0.03, "{fastest}");
    }

    /// The closed form is the sum over the points of which the ring consists.
    #[test]
    fn an_inclined_ring_is_the_sum_of_its_points() {
        let ring = SkyComponent {
            flux: Flux(2.0),
            dra: Angle(0.3 * ARCSEC),
            ddec: Angle(-0.1 * ARCSEC),
            radius: Angle(0.8 * ARCSEC),
            inclination: Angle(0.6),
            position_angle: Angle(1.1),
            ..SkyComponent::default()
        };
        let n = 4000;
        let points: Vec<SkyComponent> = (0..n)
            .map(|i| {
                let t = TAU * f64::from(i) / f64::from(n);
                let (major, minor) = (0.8 * ARCSEC * t.cos(), 0.8 * ARCSEC * t.sin() * 0.6f64.cos());
                let (sin, cos) = 1.1f64.sin_cos();
                SkyComponent {
                    flux: Flux(2.0 / f64::from(n)),
                    dra: Angle(0.3 * ARCSEC + major * sin + minor * cos),
                    ddec: Angle(-0.1 * ARCSEC + major * cos - minor * sin),
                    ..SkyComponent::default()
                }
            })
            .collect();
        let (a, b) = (Sky::new(&[ring], [0.0; 2], 0.0, 1e11), Sky::new(&points, [0.0; 2], 0.0, 1e11));
        for uvw in [[0.0, 0.0, 0.0], [1.3e5, -4.0e5, 1e5], [9e5, 7e5, -3e5]] {
            // The points differ in n, the closed form takes n at the centre: 1e6 wavelengths x 2e-11.
            assert!((a.visibility(uvw, 1e11) - b.visibility(uvw, 1e11)).norm() < 1e-4);
        }
    }

    #[test]
    fn a_source_to_the_east_turns_the_phase_forward_along_u() {
        let point = SkyComponent { flux: Flux(1.0), dra: Angle(ARCSEC), ..SkyComponent::default() };
        let v = Sky::new(&[point], [0.0; 2], 0.0, 1e11).visibility([1e4, 0.0, 0.0], 1e11);
        assert!((v.arg() - TAU * 1e4 * ARCSEC).abs() < 1e-12);
    }
}
