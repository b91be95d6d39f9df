//! Celestial world coordinates of an image plane: projections of Calabretta & Greisen (2002, A&A 395, 1077), "paper II".

use super::{Direction, Frame};

const DEG: f64 = std::f64::consts::PI / 180.0;

/// How the sphere is laid on the plane.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Projection {
    /// Orthographic; `xi` and `eta` (PV2_1, PV2_2) make it the slant orthographic projection of a planar array.
    Sin {
        /// PV2_1.
        xi: f64,
        /// PV2_2.
        eta: f64,
    },
    /// North celestial pole projection of an east-west array: slant orthographic with eta = cot(dec0).
    Ncp,
    /// Gnomonic.
    Tan,
    /// Zenithal equidistant.
    Arc,
    /// Zenithal equal area.
    Zea,
    /// Stereographic.
    Stg,
    /// Sanson-Flamsteed.
    Sfl,
    /// AIPS's Sanson-Flamsteed, with the reference point off the equator.
    Gls,
    /// Plate carrée.
    Car,
}

impl Projection {
    /// The three letters of CTYPE.
    pub fn code(self) -> &'static str {
        match self {
            Projection::Sin { .. } => "SIN",
            Projection::Ncp => "NCP",
            Projection::Tan => "TAN",
            Projection::Arc => "ARC",
            Projection::Zea => "ZEA",
            Projection::Stg => "STG",
            Projection::Sfl => "SFL",
            Projection::Gls => "GLS",
            Projection::Car => "CAR",
        }
    }

    /// From the three letters of CTYPE; SIN without slant.
    pub fn from_code(code: &str) -> Option<Projection> {
        use Projection::*;
        [Sin { xi: 0.0, eta: 0.0 }, Ncp, Tan, Arc, Zea, Stg, Sfl, Gls, Car].into_iter().find(|p| p.code() == code)
    }

    /// Native latitude of the reference point, degrees.
    fn theta0(self) -> f64 {
        match self {
            Projection::Sfl | Projection::Gls | Projection::Car => 0.0,
            _ => 90.0,
        }
    }
}

/// What a header says about two celestial axes; angles in degrees as in FITS, `crpix` 1-based as in FITS.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CelestialKeys {
    /// Projection.
    pub projection: Projection,
    /// Longitude and latitude of the reference point, degrees.
    pub crval: [f64; 2],
    /// Reference pixel, 1-based.
    pub crpix: [f64; 2],
    /// Degrees a pixel: `[[dx/di, dx/dj], [dy/di, dy/dj]]`.
    pub cd: [[f64; 2]; 2],
    /// Native longitude of the celestial pole, degrees, where the header gives it.
    pub lonpole: Option<f64>,
    /// Latitude of the native pole, degrees, where the header gives it.
    pub latpole: Option<f64>,
    /// Frame of longitude and latitude.
    pub frame: Frame,
    /// RADESYS as the header spells it.
    pub radesys: Option<String>,
    /// EQUINOX, years.
    pub equinox: Option<f64>,
}

/// Why a set of celestial keywords cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CelestialError {
    /// The pixel matrix cannot be inverted.
    #[error("the pixel matrix of the celestial axes is singular or not finite: {0:?} degrees a pixel")]
    Singular([[f64; 2]; 2]),
    /// A reference value is not a number.
    #[error("CRVAL {0:?} or CRPIX {1:?} of the celestial axes is not finite")]
    NotFinite([f64; 2], [f64; 2]),
    /// The reference point has no such pole.
    #[error("LONPOLE {lonpole} is impossible for a reference latitude of {latitude} degrees")]
    Pole {
        /// LONPOLE, degrees.
        lonpole: f64,
        /// CRVAL of the latitude, degrees.
        latitude: f64,
    },
    /// NCP is undefined at the equator.
    #[error("the NCP projection is undefined at a reference declination of {0} degrees")]
    Ncp(f64),
}

impl crate::error::Explain for CelestialError {
    fn kind(&self) -> crate::error::Kind {
        crate::error::Kind::Data
    }
    fn hint(&self) -> Option<String> {
        Some("the header is inconsistent: compare its CTYPE, CRVAL, CDELT, PC and CD cards with the program that wrote it".into())
    }
}

/// Celestial coordinates of an image plane; pixels here count from 0 at the centre of the first pixel.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Celestial {
    keys: CelestialKeys,
    /// Inverse of `keys.cd`.
    inverse: [[f64; 2]; 2],
    /// Rotation from native to celestial unit vectors.
    rotation: [[f64; 3]; 3],
}

impl Celestial {
    /// Checks the keywords and prepares the transformation.
    pub fn new(keys: CelestialKeys) -> Result<Celestial, CelestialError> {
        let [[a, b], [c, d]] = keys.cd;
        let det = a * d - b * c;
        if !det.is_finite() || det == 0.0 {
            return Err(CelestialError::Singular(keys.cd));
        }
        if keys.crval.iter().chain(&keys.crpix).any(|v| !v.is_finite()) {
            return Err(CelestialError::NotFinite(keys.crval, keys.crpix));
        }
        if keys.projection == Projection::Ncp && (keys.crval[1] * DEG).sin().abs() < 1e-10 {
            return Err(CelestialError::Ncp(keys.crval[1]));
        }
        let inverse = [[d / det, -b / det], [-c / det, a / det]];
        let rotation = native_to_celestial(&keys)?;
        Ok(Celestial { keys, inverse, rotation })
    }

    /// Square north-up pixels of `cell_rad` around `center` at the 0-based pixel `(x, y)`.
    pub fn simple(projection: Projection, center: Direction, cell_rad: f64, center_pixel: (f64, f64)) -> Result<Celestial, CelestialError> {
        let cell = cell_rad / DEG;
        Celestial::new(CelestialKeys {
            projection,
            crval: [center.ra_rad / DEG, center.dec_rad / DEG],
            crpix: [center_pixel.0 + 1.0, center_pixel.1 + 1.0],
            cd: [[-cell, 0.0], [0.0, cell]],
            lonpole: None,
            latpole: None,
            frame: center.frame,
            radesys: None,
            equinox: None,
        })
    }

    /// The keywords.
    pub fn keys(&self) -> &CelestialKeys {
        &self.keys
    }

    /// Frame of longitude and latitude.
    pub fn frame(&self) -> Frame {
        self.keys.frame
    }

    /// The reference point.
    pub fn center(&self) -> Direction {
        Direction::new(self.keys.crval[0] * DEG, self.keys.crval[1] * DEG, self.keys.frame)
    }

    /// Length of one step along x and along y, rad.
    pub fn cell_rad(&self) -> (f64, f64) {
        let [[a, b], [c, d]] = self.keys.cd;
        (a.hypot(c) * DEG, b.hypot(d) * DEG)
    }

    /// Area of a pixel at the reference point, sr.
    pub fn pixel_sr(&self) -> f64 {
        let [[a, b], [c, d]] = self.keys.cd;
        (a * d - b * c).abs() * DEG * DEG
    }

    /// True where pixels are square to one part in 10^4 and axes are perpendicular.
    pub fn is_square(&self) -> bool {
        let [[a, b], [c, d]] = self.keys.cd;
        let (x, y) = self.cell_rad();
        (x / y - 1.0).abs() < 1e-4 && (a * b + c * d).abs() * DEG * DEG < 1e-4 * x * y
    }

    /// Step from a displacement in pixels to one on the sky, rad: `(east, north)` at the reference point.
    pub fn offset_from_pixels(&self, dx: f64, dy: f64) -> (f64, f64) {
        let [[a, b], [c, d]] = self.keys.cd;
        ((a * dx + b * dy) * DEG, (c * dx + d * dy) * DEG)
    }

    /// Step from a displacement on the sky, rad to the east and north, to one in pixels.
    pub fn pixels_from_offset(&self, east_rad: f64, north_rad: f64) -> (f64, f64) {
        let [[a, b], [c, d]] = self.inverse;
        ((a * east_rad + b * north_rad) / DEG, (c * east_rad + d * north_rad) / DEG)
    }

    /// Direction of the 0-based pixel `(x, y)`; `None` where the projection has no sky.
    pub fn sky_from_pixel(&self, x: f64, y: f64) -> Option<Direction> {
        let [[a, b], [c, d]] = self.keys.cd;
        let (i, j) = (x + 1.0 - self.keys.crpix[0], y + 1.0 - self.keys.crpix[1]);
        let native = self.deproject(a * i + b * j, c * i + d * j)?;
        let v = rotate(&self.rotation, native);
        let ra = v[1].atan2(v[0]).rem_euclid(std::f64::consts::TAU);
        Some(Direction::new(ra, v[2].atan2(v[0].hypot(v[1])), self.keys.frame))
    }

    /// 0-based pixel of a direction of the same frame; `None` where the projection cannot show it.
    pub fn pixel_from_sky(&self, direction: Direction) -> Option<(f64, f64)> {
        let (sa, ca) = direction.ra_rad.sin_cos();
        let (sd, cd) = direction.dec_rad.sin_cos();
        let native = rotate_back(&self.rotation, [cd * ca, cd * sa, sd]);
        let (u, v) = self.project(native)?;
        let [[a, b], [c, d]] = self.inverse;
        Some((a * u + b * v + self.keys.crpix[0] - 1.0, c * u + d * v + self.keys.crpix[1] - 1.0))
    }

    /// The same sky on a grid whose pixel 0 is pixel `(x0, y0)` of this one.
    pub fn shifted(&self, x0: f64, y0: f64) -> Celestial {
        let mut out = self.clone();
        out.keys.crpix = [self.keys.crpix[0] - x0, self.keys.crpix[1] - y0];
        out
    }

    /// The same sky with pixels `factor` times as large, block averages of this grid's.
    pub fn downsampled(&self, factor: usize) -> Celestial {
        let f = factor as f64;
        let mut out = self.clone();
        out.keys.crpix = self.keys.crpix.map(|p| (p - 0.5) / f + 0.5);
        out.keys.cd = self.keys.cd.map(|row| row.map(|v| v * f));
        out.inverse = self.inverse.map(|row| row.map(|v| v / f));
        out
    }

    /// Projection plane coordinates, degrees, to a native unit vector.
    fn deproject(&self, x: f64, y: f64) -> Option<[f64; 3]> {
        let (x, y) = (x * DEG, y * DEG);
        match self.keys.projection {
            Projection::Sin { xi, eta } => slant_deproject(x, y, xi, eta),
            Projection::Ncp => slant_deproject(x, y, 0.0, 1.0 / (self.keys.crval[1] * DEG).tan()),
            Projection::Tan => {
                let n = (1.0 + x * x + y * y).sqrt();
                Some([-y / n, x / n, 1.0 / n])
            }
            Projection::Arc => zenithal(x, y, x.hypot(y)),
            Projection::Zea => {
                let s = x.hypot(y) / 2.0;
                (s <= 1.0).then(|| zenithal(x, y, 2.0 * s.asin()))?
            }
            Projection::Stg => zenithal(x, y, 2.0 * (x.hypot(y) / 2.0).atan()),
            Projection::Sfl => sanson(x, y),
            // AIPS memo 27: the reference point lies off the equator, longitude is still scaled by cos(dec).
            Projection::Gls => sanson(x, y + self.keys.crval[1] * DEG),
            Projection::Car => (y.abs() <= std::f64::consts::FRAC_PI_2 + 1e-12).then(|| unit(x, y)),
        }
    }

    /// A native unit vector to projection plane coordinates, degrees.
    fn project(&self, n: [f64; 3]) -> Option<(f64, f64)> {
        let radial = |r: f64| {
            let s = n[0].hypot(n[1]);
            let (x, y) = if s == 0.0 { (0.0, 0.0) } else { (r * n[1] / s, -r * n[0] / s) };
            Some((x / DEG, y / DEG))
        };
        let polar = || n[0].hypot(n[1]).atan2(n[2]);
        match self.keys.projection {
            Projection::Sin { xi, eta } => slant_project(n, xi, eta),
            Projection::Ncp => slant_project(n, 0.0, 1.0 / (self.keys.crval[1] * DEG).tan()),
            Projection::Tan => (n[2] > 0.0).then(|| (n[1] / n[2] / DEG, -n[0] / n[2] / DEG)),
            Projection::Arc => radial(polar()),
            Projection::Zea => radial(2.0 * (polar() / 2.0).sin()),
            Projection::Stg => (n[2] > -1.0 + 1e-14).then(|| radial(2.0 * (polar() / 2.0).tan()))?,
            Projection::Sfl | Projection::Gls => {
                let (phi, theta) = (n[1].atan2(n[0]), n[2].atan2(n[0].hypot(n[1])));
                let y0 = if self.keys.projection == Projection::Gls { self.keys.crval[1] } else { 0.0 };
                Some((phi * theta.cos() / DEG, theta / DEG - y0))
            }
            Projection::Car => Some((n[1].atan2(n[0]) / DEG, n[2].atan2(n[0].hypot(n[1])) / DEG)),
        }
    }
}

/// Unit vector of native longitude and latitude, rad.
fn unit(phi: f64, theta: f64) -> [f64; 3] {
    [theta.cos() * phi.cos(), theta.cos() * phi.sin(), theta.sin()]
}

/// Zenithal projections: the direction `(x, y)` seen from the pole, at `polar` rad from it.
fn zenithal(x: f64, y: f64, polar: f64) -> Option<[f64; 3]> {
    let r = x.hypot(y);
    if polar > std::f64::consts::PI {
        return None;
    }
    let (s, c) = polar.sin_cos();
    Some(if r == 0.0 { [0.0, 0.0, 1.0] } else { [-s * y / r, s * x / r, c] })
}

fn sanson(x: f64, y: f64) -> Option<[f64; 3]> {
    if y.abs() > std::f64::consts::FRAC_PI_2 {
        return None;
    }
    let phi = x / y.cos();
    (phi.abs() <= std::f64::consts::PI * (1.0 + 1e-12)).then(|| unit(phi, y))
}

/// Paper II, section 5.1.5, solved for `w = 1 - sin(theta)` so that nothing cancels near the reference point.
fn slant_deproject(x: f64, y: f64, xi: f64, eta: f64) -> Option<[f64; 3]> {
    let a = 1.0 + xi * xi + eta * eta;
    let b = 1.0 + xi * x + eta * y;
    let r2 = x * x + y * y;
    let disc = b * b - a * r2;
    if disc < 0.0 || b <= 0.0 {
        return None;
    }
    let w = r2 / (b + disc.sqrt());
    Some([-(y - eta * w), x - xi * w, 1.0 - w])
}

fn slant_project(n: [f64; 3], xi: f64, eta: f64) -> Option<(f64, f64)> {
    let w = 1.0 - n[2];
    let (x, y) = (n[1] + xi * w, -n[0] + eta * w);
    // Paper II section 5.1.5: the far side is the one seen along the slant, not always theta < 0.
    let visible = if xi == 0.0 && eta == 0.0 { n[2] >= 0.0 } else { n[2] + xi * n[1] - eta * n[0] >= 0.0 };
    visible.then_some((x / DEG, y / DEG))
}

/// Paper II, section 2.4: the celestial coordinates of the native pole and the rotation that follows.
fn native_to_celestial(keys: &CelestialKeys) -> Result<[[f64; 3]; 3], CelestialError> {
    let theta0 = keys.projection.theta0();
    // The reference point of AIPS's GLS is the native one on the equator.
    let delta0 = if keys.projection == Projection::Gls { 0.0 } else { keys.crval[1] };
    let alpha0 = keys.crval[0];
    let default_pole = if delta0 < theta0 { 180.0 } else { 0.0 };
    let phi_p = keys.lonpole.unwrap_or(default_pole);
    let (alpha_p, delta_p) = if theta0 == 90.0 {
        (alpha0, delta0)
    } else {
        let latpole = keys.latpole.unwrap_or(90.0);
        let impossible = || CelestialError::Pole { lonpole: phi_p, latitude: delta0 };
        let cos_phi = (phi_p * DEG).cos();
        let ratio = (delta0 * DEG).sin() / cos_phi.abs();
        if !(ratio.abs() <= 1.0 + 1e-12) {
            return Err(impossible());
        }
        let (base, spread) = (f64::atan2(0.0, cos_phi) / DEG, ratio.clamp(-1.0, 1.0).acos() / DEG);
        let wrap = |v: f64| (v + 180.0).rem_euclid(360.0) - 180.0;
        let delta_p = [wrap(base + spread), wrap(base - spread)]
            .into_iter()
            .filter(|d| d.abs() <= 90.0 + 1e-9)
            .min_by(|a, b| (a - latpole).abs().total_cmp(&(b - latpole).abs()))
            .ok_or_else(impossible)?
            .clamp(-90.0, 90.0);
        let alpha_p = if (delta0.abs() - 90.0).abs() < 1e-12 {
            alpha0
        } else if delta_p > 90.0 - 1e-12 {
            alpha0 + phi_p - 180.0
        } else if delta_p < -90.0 + 1e-12 {
            alpha0 - phi_p
        } else {
            let s = (phi_p * DEG).sin() / (delta0 * DEG).cos();
            let c = -(delta_p * DEG).sin() * (delta0 * DEG).sin() / ((delta_p * DEG).cos() * (delta0 * DEG).cos());
            alpha0 - s.atan2(c) / DEG
        };
        (alpha_p, delta_p)
    };
    let (sp, cp) = (phi_p * DEG).sin_cos();
    let (sa, ca) = (alpha_p * DEG).sin_cos();
    let (sd, cd) = (delta_p * DEG).sin_cos();
    // Paper II, equation 2, as Rz(alpha_p) · T(delta_p) · Rz(-phi_p) on unit vectors.
    let t = [[-sd * cp, -sd * sp, cd], [sp, -cp, 0.0], [cd * cp, cd * sp, sd]];
    let mut m = [[0.0; 3]; 3];
    for k in 0..3 {
        m[0][k] = ca * t[0][k] - sa * t[1][k];
        m[1][k] = sa * t[0][k] + ca * t[1][k];
        m[2][k] = t[2][k];
    }
    Ok(m)
}

fn rotate(m: &[[f64; 3]; 3], v: [f64; 3]) -> [f64; 3] {
    [0, 1, 2].map(|i| m[i][0] * v[0] + m[i][1] * v[1] + m[i][2] * v[2])
}

fn rotate_back(m: &[[f64; 3]; 3], v: [f64; 3]) -> [f64; 3] {
    [0, 1, 2].map(|i| m[0][i] * v[0] + m[1][i] * v[1] + m[2][i] * v[2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use Projection::*;

    fn keys(projection: Projection, lon: f64, lat: f64) -> CelestialKeys {
        CelestialKeys {
            projection,
            crval: [lon, lat],
            crpix: [30.5, 21.0],
            cd: [[-0.011, 0.0007], [0.0005, 0.012]],
            lonpole: None,
            latpole: None,
            frame: Frame::Icrs,
            radesys: None,
            equinox: None,
        }
    }

    /// Pixel to sky and back is the identity, for every projection, near and far from the poles.
    #[test]
    fn sky_and_pixel_are_inverse() {
        for projection in [Sin { xi: 0.0, eta: 0.0 }, Sin { xi: 0.03, eta: -0.2 }, Ncp, Tan, Arc, Zea, Stg, Sfl, Gls, Car] {
            for (lon, lat) in [(0.0, 47.2), (359.99, -61.8), (185.0, 89.9), (57.66, 0.5), (12.0, -89.99)] {
                let wcs = Celestial::new(keys(projection, lon, lat)).unwrap();
                for (x, y) in [(0.0, 0.0), (29.5, 20.0), (60.0, 3.0), (11.1, 44.4)] {
                    // GLS beside a pole has no sky at most pixels
                    let Some(d) = wcs.sky_from_pixel(x, y) else { continue };
                    let (u, v) = wcs.pixel_from_sky(d).unwrap();
                    assert!((u - x).abs() < 1e-8 && (v - y).abs() < 1e-8, "{projection:?} {lon} {lat}: {x} {y} -> {u} {v}");
                }
            }
        }
    }

    #[test]
    fn the_reference_pixel_is_the_reference_direction() {
        for projection in [Sin { xi: 0.0, eta: 0.0 }, Ncp, Tan, Arc, Sfl, Gls, Car] {
            let wcs = Celestial::new(keys(projection, 202.46, 47.19)).unwrap();
            let d = wcs.sky_from_pixel(29.5, 20.0).unwrap();
            assert!((d.ra_rad / DEG - 202.46).abs() < 1e-12 && (d.dec_rad / DEG - 47.19).abs() < 1e-12, "{projection:?} {d}");
        }
    }

    #[test]
    fn the_far_side_of_an_orthographic_sphere_has_no_pixel() {
        let wcs = Celestial::new(keys(Sin { xi: 0.0, eta: 0.0 }, 10.0, 20.0)).unwrap();
        assert!(wcs.pixel_from_sky(Direction::new(190.0 * DEG, -20.0 * DEG, Frame::Icrs)).is_none());
        assert!(wcs.sky_from_pixel(9000.0, 9000.0).is_none());
    }

    #[test]
    fn block_averages_keep_the_sky_under_the_corner() {
        let wcs = Celestial::new(keys(Tan, 10.0, 20.0)).unwrap();
        let (a, b) = (wcs.sky_from_pixel(-0.5, -0.5).unwrap(), wcs.downsampled(3).sky_from_pixel(-0.5, -0.5).unwrap());
        assert!(a.separation_rad(b) < 1e-14);
    }
}
