//! The rows of a simulated block, made scan by scan so that a set of any size passes through memory in pieces.

use ndarray::{Array2, Array3};
use num_complex::Complex32;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;

use super::components::{Sky, ringed_disk};
use super::{SimulateError, SimulateOptions, array, to_lsrk};
use crate::data::{RowBlock, SetDescription, VisWeight};
use crate::error::Result;
use crate::sky::{Direction, UvwAxes};
use crate::units::{ARCSEC, C_M_S};

/// Integrations of a scan.
const SCAN: usize = 8;
/// Scans made at a time.
const BATCH: usize = 8;

/// One execution block to be written.
#[derive(Debug)]
pub struct SimulatedSet {
    pub(super) index: u64,
    /// Name of the block.
    pub name: String,
    /// What its subtables say.
    pub description: SetDescription,
    pub(super) center: Direction,
    pub(super) offset_as: [f64; 2],
    pub(super) flux_scale: f64,
    pub(super) rms_jy: f64,
    pub(super) begin_s: f64,
    /// Noise factor of each antenna, first for all X, then for all Y receptors.
    pub(super) gains: Vec<f64>,
    pub(super) bad_antenna: i32,
    pub(super) autocorrelations: bool,
    pub(super) options: SimulateOptions,
}

impl SimulatedSet {
    /// Rows of the set.
    pub fn n_rows(&self) -> u64 {
        (self.options.integrations * self.baselines().len() * self.description.spws.len()) as u64
    }

    /// Rows of one spectral window.
    pub fn rows_per_spw(&self) -> u64 {
        self.n_rows() / self.description.spws.len() as u64
    }

    /// The rows, a scan of one spectral window at a time, computed on all threads; the same bits on any number of them.
    pub fn rows(&self) -> impl Iterator<Item = Result<RowBlock>> + '_ {
        let n = self.options.integrations.div_ceil(SCAN) * self.description.spws.len();
        let sky = self.sky();
        (0..n).step_by(BATCH).flat_map(move |first| {
            let batch: Vec<usize> = (first..(first + BATCH).min(n)).collect();
            batch.into_par_iter().map(|i| Ok(self.block(i, &sky))).collect::<Vec<_>>()
        })
    }

    pub(super) fn check_elevation(&self) -> std::result::Result<(), SimulateError> {
        let end = self.begin_s + self.options.integrations as f64 * self.options.integration.0;
        for time in [self.begin_s, end] {
            let (_, elevation) = array::hour_angle_elevation(UvwAxes::new(self.center, time).source());
            if elevation.to_degrees() < 10.0 {
                return Err(SimulateError::Low { block: self.name.clone(), elevation_deg: elevation.to_degrees() });
            }
        }
        Ok(())
    }

    fn sky(&self) -> Sky {
        let components = self.options.sky.clone().unwrap_or_else(ringed_disk);
        let offset = self.offset_as.map(|d| d * ARCSEC);
        let o = &self.options;
        let middle_hz = o.frequency.0 + 0.5 * o.bandwidth.0;
        Sky::with_lines(&components, offset, o.spectral_index, middle_hz, o.rest_freq.map_or(middle_hz, |f| f.0))
    }

    fn baselines(&self) -> Vec<(i32, i32)> {
        let n = self.options.antennas as i32;
        let first = |a: i32| if self.autocorrelations { a } else { a + 1 };
        (0..n).flat_map(|a| (first(a)..n).map(move |b| (a, b))).collect()
    }

    fn block(&self, i: usize, sky: &Sky) -> RowBlock {
        let n_spw = self.description.spws.len();
        let (scan, spw) = (i / n_spw, i % n_spw);
        let mut rng = ChaCha8Rng::seed_from_u64(self.options.seed);
        rng.set_stream((self.index + 1) << 32 | i as u64);
        let mut block = self.rows_of_scan(scan, spw);
        self.fill_visibilities(&mut block, spw, sky);
        self.add_noise(&mut block, &mut rng);
        if self.options.flags {
            self.add_flags(&mut block, &mut rng);
        }
        block
    }

    fn rows_of_scan(&self, scan: usize, spw: usize) -> RowBlock {
        let (baselines, step) = (self.baselines(), self.options.integration.0);
        let integrations = scan * SCAN..((scan + 1) * SCAN).min(self.options.integrations);
        let n = integrations.len() * baselines.len();
        let (n_chan, n_corr) = (self.description.spws[spw].freq_hz.len(), 2);
        let (mut time_s, mut uvw_m) = (Vec::with_capacity(n), Vec::with_capacity(3 * n));
        for k in integrations {
            let time = self.begin_s + (k as f64 + 0.5) * step;
            let axes = UvwAxes::new(self.center, time);
            let antennas: Vec<[f64; 3]> = self.description.antennas.iter().map(|a| axes.uvw(a.position_m)).collect();
            for (a, b) in &baselines {
                time_s.push(time);
                // CASA's direction: UVW is that of the first antenna minus that of the second.
                uvw_m.extend((0..3).map(|j| antennas[*a as usize][j] - antennas[*b as usize][j]));
            }
        }
        RowBlock {
            data_desc: spw,
            time_s,
            interval_s: vec![step; n],
            antenna1: baselines.iter().map(|b| b.0).cycle().take(n).collect(),
            antenna2: baselines.iter().map(|b| b.1).cycle().take(n).collect(),
            field: vec![0; n],
            scan: vec![scan as i32 + 1; n],
            observation: vec![0; n],
            uvw_m: Array2::from_shape_vec((n, 3), uvw_m).expect("three numbers a row"),
            vis_rfc: Array3::zeros((n, n_chan, n_corr)),
            flag_rfc: Array3::from_elem((n, n_chan, n_corr), false),
            weight: VisWeight::Row(Array2::ones((n, n_corr))),
        }
    }

    fn fill_visibilities(&self, block: &mut RowBlock, spw: usize, sky: &Sky) {
        let freq_hz = &self.description.spws[spw].freq_hz;
        let doppler = if self.options.rest_freq.is_some() { to_lsrk(self.center, &self.description.antennas) } else { None };
        for (row, mut vis_fc) in block.vis_rfc.outer_iter_mut().enumerate() {
            let factor = doppler.as_ref().map_or(1.0, |d| d.factor(block.time_s[row]));
            for (chan, mut vis_c) in vis_fc.outer_iter_mut().enumerate() {
                let per_metre = freq_hz[chan] / C_M_S;
                let uvw: [f64; 3] = std::array::from_fn(|j| block.uvw_m[[row, j]] * per_metre);
                let v = if block.antenna1[row] == block.antenna2[row] {
                    Complex32::new(3.0, 0.0) // total power, not the source
                } else {
                    let v = sky.visibility_of_lines(uvw, freq_hz[chan], factor * freq_hz[chan]) * self.flux_scale;
                    Complex32::new(v.re as f32, v.im as f32)
                };
                vis_c.fill(v);
            }
        }
    }

    /// Variance of a baseline relative to the others: the product of the noise factors of its antennas.
    fn variance(&self, a: i32, b: i32, corr: usize) -> f64 {
        let n = self.options.antennas;
        self.gains[corr * n + a as usize] * self.gains[corr * n + b as usize]
    }

    /// Variance of one sample of 1 Hz on a baseline of unit factor, such that the natural image has the wanted noise.
    fn unit_variance(&self) -> f64 {
        let spws = &self.description.spws;
        let bandwidth: f64 = spws.iter().flat_map(|s| &s.width_hz).sum();
        let cross = self.baselines().into_iter().filter(|(a, b)| a != b);
        let weights: f64 = cross.map(|(a, b)| 1.0 / self.variance(a, b, 0) + 1.0 / self.variance(a, b, 1)).sum();
        self.rms_jy * self.rms_jy * weights * bandwidth * self.options.integrations as f64
    }

    fn add_noise(&self, block: &mut RowBlock, rng: &mut ChaCha8Rng) {
        let width_hz = self.description.spws[block.data_desc].width_hz[0];
        let unit = self.unit_variance() / width_hz;
        let (n, n_chan, n_corr) = block.vis_rfc.dim();
        let mut weight = Array2::ones((n, n_corr));
        for row in 0..n {
            for corr in 0..n_corr {
                let sigma = (unit * self.variance(block.antenna1[row], block.antenna2[row], corr)).sqrt();
                if sigma > 0.0 {
                    weight[[row, corr]] = (1.0 / (sigma * sigma)) as f32;
                }
                for chan in 0..n_chan {
                    let (re, im): (f64, f64) = (rng.sample(StandardNormal), rng.sample(StandardNormal));
                    block.vis_rfc[[row, chan, corr]] += Complex32::new((sigma * re) as f32, (sigma * im) as f32);
                }
            }
        }
        block.weight = VisWeight::Row(weight);
    }

    /// Flags as real blocks have them: late antennas, a failed antenna, an edge channel, single channels and correlations.
    fn add_flags(&self, block: &mut RowBlock, rng: &mut ChaCha8Rng) {
        let (n, n_chan, n_corr) = block.vis_rfc.dim();
        let half_s = self.begin_s + 0.5 * self.options.integrations as f64 * self.options.integration.0;
        let second_s = self.begin_s + self.options.integration.0;
        for row in 0..n {
            let (a, b, t) = (block.antenna1[row], block.antenna2[row], block.time_s[row]);
            let late = t < second_s && rng.random::<f64>() < 0.5;
            let failed = (a == self.bad_antenna || b == self.bad_antenna) && t > half_s;
            let one_chan = n_chan >= 6 && rng.random::<f64>() < 0.05;
            let one_corr = rng.random::<f64>() < 0.01;
            for chan in 0..n_chan {
                for corr in 0..n_corr {
                    let edge = n_chan >= 6 && chan == n_chan - 1;
                    let flag = late || failed || edge || (one_chan && chan == 2) || (one_corr && corr == 1);
                    block.flag_rfc[[row, chan, corr]] = flag;
                    if flag && self.index % 3 == 2 {
                        let junk: (f64, f64) = (rng.sample(StandardNormal), rng.sample(StandardNormal));
                        block.vis_rfc[[row, chan, corr]] = Complex32::new(2.0 + 5.0 * junk.0 as f32, 5.0 * junk.1 as f32);
                    }
                }
            }
        }
    }
}
