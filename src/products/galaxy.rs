//! A galaxy to try things on: a rotating disc with spiral arms whose every map is known, with noise like that of an interferometer.

use ndarray::{Array2, ArrayView3};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::ProductsError;
use super::region::Disc;
use crate::data::{Beam, Beams, CardValue, CubeInfo, CubeSource, Image, Unit};
use crate::error::{Error, Result};
use crate::sky::{Celestial, Direction, Frame, Projection, SpectralAxis, SpectralFrame, SpectralKind};
use crate::units::{Angle, Frequency, Velocity};

crate::options! {
    /// Options of the simulated galaxy.
    pub struct GalaxyOptions {
        /// Pixels along both sides of the sky.
        ["1"] pixels: usize = 160,
        /// Channels.
        ["1"] channels: usize = 64,
        /// Size of a pixel.
        ["arcsec"] cell: Angle = Angle(0.4 * crate::units::ARCSEC),
        /// Beam of the image, round.
        ["arcsec"] beam: Angle = Angle(1.5 * crate::units::ARCSEC),
        /// Width of a channel.
        ["km/s"] channel_width: Velocity = Velocity(5.0),
        /// Velocity of the center (radio, LSRK); the middle channel.
        ["km/s"] velocity: Velocity = Velocity(1500.0),
        /// Speed of rotation where the rotation curve is flat.
        ["km/s"] rotation: Velocity = Velocity(160.0),
        /// Inclination; 0 is seen from above.
        ["deg"] inclination: Angle = Angle(0.75),
        /// Position angle of the receding side, from north to east.
        ["deg"] pa: Angle = Angle(0.6),
        /// Brightest line, in K.
        ["K"] peak: f64 = 6.0,
        /// Noise of a voxel in the middle of the map and band, in K.
        ["K"] noise: f64 = 0.15,
        /// Noise at the corners of the map over that in its middle.
        ["1"] edge_noise: f64 = 2.0,
        /// Line rest frequency.
        ["GHz"] rest_freq: Frequency = Frequency(230.538e9),
        /// Seed of the noise.
        ["1"] seed: u64 = 1,
    }
}

/// A simulated galaxy: the line of every pixel is a Gaussian of known peak, velocity and width at the resolution of the beam.
pub struct Galaxy {
    info: CubeInfo,
    /// The disc.
    pub disc: Disc,
    options: GalaxyOptions,
    peak: Array2<f64>,
    velocity: Array2<f64>,
    sigma: Array2<f64>,
    /// Whether planes have noise.
    noisy: bool,
}

impl Galaxy {
    /// The model; refuses grids without room for the disc.
    pub fn new(options: &GalaxyOptions) -> Result<Galaxy> {
        let o = options;
        for (name, value, least) in [("pixels", o.pixels, 16), ("channels", o.channels, 4)] {
            if value < least {
                return Err(ProductsError::Option { name, value: value.to_string(), expected: "at least 16 pixels and 4 channels" }.into());
            }
        }
        if !(o.inclination.0 >= 0.0 && o.inclination.0 < 1.5) {
            let value = format!("{:.1} deg", o.inclination.0.to_degrees());
            return Err(ProductsError::Option { name: "inclination", value, expected: "from 0 to 85 deg" }.into());
        }
        let center = Direction::new(24.174f64.to_radians(), 15.783f64.to_radians(), Frame::Icrs);
        let middle = (o.pixels / 2) as f64;
        let sky = Celestial::simple(Projection::Sin { xi: 0.0, eta: 0.0 }, center, o.cell.0, (middle, middle))?;
        let axis =
            SpectralAxis::new(SpectralKind::Radio, o.velocity.0 * 1e3, o.channel_width.0 * 1e3, (o.channels / 2) as f64 + 1.0, o.channels)?
                .with_rest(o.rest_freq.0)?
                .with_frame(Some(SpectralFrame::Lsrk));
        let beam = Beam::round(o.beam.0)?;
        let mut info = CubeInfo::new(sky, axis, o.pixels, o.pixels, Unit::new("K"))?.with_beams(Beams::One(beam))?;
        info.meta.set("OBJECT", CardValue::Text("SIMULATED".into()), "");
        info.meta.set("TELESCOP", CardValue::Text("ALMA".into()), "simulated");
        let disc = Disc { center, pa_rad: o.pa.0, inclination_rad: o.inclination.0 };
        let polar = disc
            .polar(info.sky(), [o.pixels; 2])
            .ok_or_else(|| Error::internal("the center of the simulated disc has no place on its own grid"))?;
        let scale = o.pixels as f64 * o.cell.0;
        let light = polar.mapv(|(r, phi)| brightness(r / scale, phi));
        let brightest = light.iter().copied().fold(0.0, f64::max);
        let (sin_i, flat) = (o.inclination.0.sin(), o.rotation.0);
        Ok(Galaxy {
            disc,
            peak: light.mapv(|l| o.peak * l / brightest),
            velocity: polar.mapv(|(r, phi)| o.velocity.0 + flat * (1.0 - (-r / (0.06 * scale)).exp()) * sin_i * phi.cos()),
            sigma: polar.mapv(|(r, _)| 7.0 + 9.0 * (-r / (0.08 * scale)).exp()),
            info,
            options: o.clone(),
            noisy: true,
        })
    }

    /// The same without noise.
    pub fn noiseless(&self) -> Galaxy {
        Galaxy {
            info: self.info.clone(),
            options: self.options.clone(),
            peak: self.peak.clone(),
            velocity: self.velocity.clone(),
            sigma: self.sigma.clone(),
            noisy: false,
            disc: self.disc,
        }
    }

    /// The true integrated intensity, mean velocity and velocity dispersion.
    pub fn truth(&self) -> Result<[Image; 3]> {
        let sqrt_tau = std::f64::consts::TAU.sqrt();
        let mom0 = ndarray::Zip::from(&self.peak).and(&self.sigma).map_collect(|p, s| (p * s * sqrt_tau) as f32);
        Ok([
            self.info.image(mom0, Unit::new("K km/s"))?,
            self.info.image(self.velocity.mapv(|v| v as f32), Unit::new("km/s"))?,
            self.info.image(self.sigma.mapv(|v| v as f32), Unit::new("km/s"))?,
        ])
    }

    /// The true noise of a pixel in the middle of the band: it grows to the corners as under a primary beam.
    fn noise_at(&self, y: usize, x: usize) -> f64 {
        let n = self.options.pixels as f64 / 2.0;
        let r2 = ((x as f64 - n).powi(2) + (y as f64 - n).powi(2)) / (2.0 * n * n);
        self.options.noise * self.options.edge_noise.max(1e-3).powf(r2)
    }

    fn plane_of(&self, z: usize) -> Result<Array2<f32>> {
        let v = self.info.spectral().velocity_kms(z as f64)?;
        let n = self.options.pixels;
        let noise = if self.noisy { self.noise_plane(z) } else { Array2::zeros((n, n)) };
        Ok(Array2::from_shape_fn((n, n), |(y, x)| {
            let line = self.peak[[y, x]] * (-0.5 * ((v - self.velocity[[y, x]]) / self.sigma[[y, x]]).powi(2)).exp();
            (line + self.noise_at(y, x) * noise[[y, x]]) as f32
        }))
    }

    /// Noise of unit variance whose correlation has the shape of the beam, as that of an interferometer: white noise smoothed by the beam / √2.
    fn noise_plane(&self, z: usize) -> Array2<f64> {
        let n = self.options.pixels;
        let sigma = self.options.beam.0 / self.options.cell.0 / (8.0 * std::f64::consts::LN_2).sqrt() / std::f64::consts::SQRT_2;
        let half = (4.0 * sigma).ceil() as usize;
        let kernel: Vec<f64> = (0..=2 * half).map(|i| (-0.5 * ((i as f64 - half as f64) / sigma.max(1e-3)).powi(2)).exp()).collect();
        let norm: f64 = kernel.iter().map(|k| k * k).sum();
        // One stream a channel: the cube is the same on any number of threads.
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(self.options.seed);
        rng.set_stream(z as u64);
        let wide = n + 2 * half;
        let white: Vec<f64> = (0..wide * wide).map(|_| StandardNormal.sample(&mut rng)).collect();
        let rows: Vec<f64> = (0..wide)
            .flat_map(|y| (0..n).map(move |x| (y, x)))
            .map(|(y, x)| kernel.iter().enumerate().map(|(k, w)| w * white[y * wide + x + k]).sum())
            .collect();
        Array2::from_shape_fn((n, n), |(y, x)| kernel.iter().enumerate().map(|(k, w)| w * rows[(y + k) * n + x]).sum::<f64>() / norm)
    }
}

/// Surface brightness at a radius (in sides of the image) and azimuth: an exponential disc, two logarithmic arms with knots, a bulge.
fn brightness(r: f64, phi: f64) -> f64 {
    let arm = 2.0 * (phi - (r / 0.08).max(1e-6).ln() / 0.32);
    let knots = 1.0 + 0.5 * (7.0 * phi + 25.0 * r).cos() * (16.0 * r).sin();
    let arms = (1.2 * (arm.cos() - 1.0)).exp() * knots;
    let disc = (-r / 0.15).exp() * (0.15 + 0.85 * arms);
    let bulge = 0.7 * (-0.5 * (r / 0.03).powi(2)).exp();
    // The disc ends smoothly: sight lines beyond have no emission.
    (disc + bulge) / (1.0 + (r / 0.4).powi(12))
}

impl CubeSource for Galaxy {
    fn info(&self) -> &CubeInfo {
        &self.info
    }
    fn block<'a>(
        &'a self,
        chan: std::ops::Range<usize>,
        y: std::ops::Range<usize>,
        buffer: &'a mut Vec<f32>,
    ) -> Result<ArrayView3<'a, f32>> {
        let nx = self.info.nx();
        self.info.cut(chan.clone(), y.clone(), 0..nx)?;
        let planes: Vec<Array2<f32>> = chan.clone().into_par_iter().map(|z| self.plane_of(z)).collect::<Result<_>>()?;
        buffer.clear();
        planes.iter().for_each(|p| buffer.extend(p.slice(ndarray::s![y.clone(), ..]).iter()));
        ArrayView3::from_shape((chan.len(), y.len(), nx), &buffer[..]).map_err(|e| Error::internal(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notice::Quiet;
    use crate::products::{MapKind, MapOptions, MapRequest, maps};

    /// The noiseless cube has the moments that the model states, where its lines lie inside the band: sums are exact to 1e-3 there.
    #[test]
    fn the_moments_of_the_model_are_the_stated_truth() {
        let galaxy = Galaxy::new(&GalaxyOptions { pixels: 48, ..GalaxyOptions::default() }).unwrap();
        let model = galaxy.noiseless().load().unwrap();
        let [mom0, mom1, mom2] = galaxy.truth().unwrap();
        let kinds = [MapKind::Mom0, MapKind::Mom1, MapKind::Mom2];
        let requests = kinds.map(|kind| MapRequest { kind, mask: None, window: None });
        let found = maps(&model, None, &requests, &MapOptions::default(), &Quiet::default()).unwrap();
        for (f, truth) in found.iter().zip([&mom0, &mom1, &mom2]) {
            let (a, b) = (f.value.data()[[24, 30]], truth.data()[[24, 30]]);
            assert!((a / b - 1.0).abs() < 1e-3, "{:?}: {a} {b}", f.kind);
        }
    }

    /// Noise has the variance and the correlation asked for: along x 0.5 at half the beam's FWHM.
    #[test]
    fn noise_is_correlated_like_the_beam() {
        let options = GalaxyOptions { peak: 0.0, edge_noise: 1.0, pixels: 128, channels: 16, ..GalaxyOptions::default() };
        let cube = Galaxy::new(&options).unwrap().load().unwrap();
        let n = cube.data().len() as f64;
        let variance = cube.data().iter().map(|v| f64::from(v * v)).sum::<f64>() / n;
        assert!((variance.sqrt() / 0.15 - 1.0).abs() < 0.02, "{}", variance.sqrt());
        // 2 pixels are 0.8 arcsec of a 1.5 arcsec beam: exp(-4 ln2 (0.8/1.5)²) = 0.4544
        let (a, b) = (cube.data().slice(ndarray::s![.., .., ..126]), cube.data().slice(ndarray::s![.., .., 2..]));
        let lag = a.iter().zip(b).map(|(p, q)| f64::from(p * q)).sum::<f64>() / a.len() as f64;
        assert!((lag / variance - 0.4544).abs() < 0.02, "{}", lag / variance);
    }
}
