//! Simulated blocks for tests: a sky of Gaussians, an array, noise from a stated seed.

use std::sync::Arc;

use ndarray::{Array2, Array3};
use num_complex::{Complex32, Complex64};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::data::{Corr, MemoryVis, VisBlock, VisWeight};
use crate::sky::{Direction, Frame, Offset, Recenter};
use crate::units::{ARCSEC, C_M_S};

/// Gaussian components: (east, north, sigma, flux), arcsec and Jy.
pub type Sky = Vec<(f64, f64, f64, f64)>;

/// A disk with a ring of knots and a companion: no symmetry that could hide a sign.
pub fn disk() -> Sky {
    let mut sky = vec![(0.0, 0.0, 0.25, 0.05), (0.0, 0.0, 0.02, 0.004), (0.5, -0.3, 0.03, 0.003)];
    for i in 0..9 {
        let a = i as f64 * 0.7;
        sky.push((0.6 * a.cos(), 0.45 * a.sin(), 0.06, 0.004 + 0.001 * (i % 3) as f64));
    }
    sky
}

/// How a block is observed.
#[derive(Clone)]
pub struct Observation {
    pub name: String,
    pub center: Direction,
    pub n_ant: usize,
    /// Radius of the array, m.
    pub radius_m: f64,
    pub n_time: usize,
    /// Hour angle of the first integration, rad.
    pub hour_angle: f64,
    pub freq_hz: Vec<f64>,
    pub corr: Vec<Corr>,
    /// Where the source is relative to the phase center.
    pub offset: Offset,
    pub flux_scale: f64,
    /// Noise of one sample, Jy.
    pub sigma: f64,
    pub array_seed: u64,
    pub noise_seed: u64,
}

impl Observation {
    pub fn new(name: &str) -> Observation {
        Observation {
            name: name.to_string(),
            center: Direction::new(1.29, 0.53, Frame::Icrs),
            n_ant: 14,
            radius_m: 800.0,
            n_time: 12,
            hour_angle: -0.4,
            freq_hz: (0..4).map(|i| 220e9 + 0.25e9 * i as f64).collect(),
            corr: vec![Corr::XX, Corr::YY],
            offset: Offset::ZERO,
            flux_scale: 1.0,
            sigma: 2e-3,
            array_seed: 1,
            noise_seed: 1,
        }
    }

    pub fn offset_mas(mut self, east: f64, north: f64) -> Self {
        self.offset = Offset::from_mas(east, north);
        self
    }

    pub fn observe(&self, sky: &Sky) -> MemoryVis {
        let mut array = ChaCha8Rng::seed_from_u64(self.array_seed);
        let mut noise = ChaCha8Rng::seed_from_u64(self.noise_seed);
        let position: Vec<[f64; 3]> = (0..self.n_ant)
            .map(|i| {
                // Denser towards the middle, as arrays are.
                let r = self.radius_m * (i as f64 + 1.0) / self.n_ant as f64;
                let a = array.random_range(0.0..std::f64::consts::TAU);
                [r * a.cos(), r * a.sin(), array.random_range(-20.0..20.0)]
            })
            .collect();
        let blocks = (0..self.n_time.div_ceil(4)).map(|b| self.block(sky, &position, b * 4..(b * 4 + 4).min(self.n_time), &mut noise));
        MemoryVis::new(&self.name, self.center, blocks.collect())
    }

    fn block(&self, sky: &Sky, position: &[[f64; 3]], times: std::ops::Range<usize>, noise: &mut ChaCha8Rng) -> VisBlock {
        let (mut uvw, mut time, mut a1, mut a2) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for t in times {
            let ha = self.hour_angle + 0.04 * t as f64;
            for i in 0..position.len() {
                for j in i + 1..position.len() {
                    let b: Vec<f64> = (0..3).map(|k| position[j][k] - position[i][k]).collect();
                    uvw.extend(project(&b, ha, self.center.dec_rad));
                    time.push(5e9 + 60.0 * t as f64);
                    a1.push(i as i32);
                    a2.push(j as i32);
                }
            }
        }
        let n_row = time.len();
        let uvw = Array2::from_shape_vec((n_row, 3), uvw).unwrap();
        let mut vis = Array3::<Complex32>::zeros((n_row, self.freq_hz.len(), self.corr.len()));
        let recenter = Recenter::by(self.center, self.offset);
        for r in 0..n_row {
            let stored = [uvw[[r, 0]], uvw[[r, 1]], uvw[[r, 2]]];
            let (seen, path) = (recenter.uvw(stored), recenter.path(stored));
            for (c, f) in self.freq_hz.iter().enumerate() {
                let k = f / C_M_S;
                let model = self.flux_scale * visibility(sky, seen[0] * k, seen[1] * k) * Complex64::cis(std::f64::consts::TAU * path * k);
                for p in 0..self.corr.len() {
                    let n = Complex64::new(noise.sample(StandardNormal), noise.sample(StandardNormal)) * self.sigma;
                    let parallel = if self.corr[p].is_parallel() { model } else { Complex64::new(9.0, -9.0) };
                    vis[[r, c, p]] = Complex32::new((parallel + n).re as f32, (parallel + n).im as f32);
                }
            }
        }
        let shape = vis.raw_dim();
        VisBlock {
            i_spw: 0,
            field: vec![0; n_row].into(),
            row: (0..n_row as u64).collect(),
            uvw_m: uvw,
            time_s: time,
            antenna1: a1,
            antenna2: a2,
            freq_hz: Arc::from(self.freq_hz.clone()),
            corr: Arc::from(self.corr.clone()),
            vis_rfc: vis,
            flag_rfc: Array3::from_elem(shape, false),
            weight: VisWeight::Row(Array2::from_elem((n_row, self.corr.len()), (1.0 / self.sigma.max(1e-6).powi(2)) as f32)),
        }
    }
}

/// UVW of a baseline given in local east, north, up at latitude -23 degrees.
fn project(b: &[f64], ha: f64, dec: f64) -> [f64; 3] {
    let (sl, cl) = (-0.4f64).sin_cos();
    let (x, y, z) = (-b[1] * sl + b[2] * cl, b[0], b[1] * cl + b[2] * sl);
    let ((sh, ch), (sd, cd)) = (ha.sin_cos(), dec.sin_cos());
    [x * sh + y * ch, -x * sd * ch + y * sd * sh + z * cd, x * cd * ch - y * cd * sh + z * sd]
}

/// V(u,v) of the sky, Jy.
pub fn visibility(sky: &Sky, u: f64, v: f64) -> Complex64 {
    let tau = std::f64::consts::TAU;
    sky.iter()
        .map(|(e, n, s, f)| {
            let width = tau * s * ARCSEC * u.hypot(v);
            f * (-0.5 * width * width).exp() * Complex64::cis(tau * (u * e + v * n) * ARCSEC)
        })
        .sum()
}
