//! A sky of components whose visibilities are known in closed form.

use std::f64::consts::{PI, TAU};

use num_complex::Complex64;

use crate::units::{Angle, Flux};

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
}

impl Default for SkyComponent {
    fn default() -> SkyComponent {
        let zero = Angle(0.0);
        SkyComponent { flux: Flux(0.0), dra: zero, ddec: zero, radius: zero, width: zero, inclination: zero, position_angle: zero }
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
}

impl Sky {
    /// The components, moved to the east and north by `offset_rad`, as seen from a phase center.
    pub fn new(components: &[SkyComponent], offset_rad: [f64; 2], spectral_index: f64, ref_freq_hz: f64) -> Sky {
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
            }
        });
        Sky { parts: parts.collect(), spectral_index, ref_freq_hz }
    }

    /// Visibility at (u, v, w) in wavelengths: V = Σ I exp(+2πi(ul + vm + w(n-1))).
    ///
    /// Exact for the components; n varies over the field only from component to component.
    pub fn visibility(&self, uvw_lambda: [f64; 3], freq_hz: f64) -> Complex64 {
        let [u, v, w] = uvw_lambda;
        let mut sum = Complex64::new(0.0, 0.0);
        for p in &self.parts {
            let phase = TAU * (u * p.lm[0] + v * p.lm[1] + w * p.n_minus_1);
            sum += Complex64::from_polar(p.flux * p.envelope(u, v), phase);
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
    use crate::units::ARCSEC;

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
