//! Execution blocks simulated from an analytic sky: arrays, tracks, offsets, flux errors, noise and flags of its own.

mod array;
mod block;
mod components;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

pub use block::SimulatedSet;
pub use components::{DiskOptions, SkyComponent, keplerian_disk, ringed_disk};

use crate::data::{Antenna, Corr, Field, FreqFrame, Observation, SetDescription, SpectralWindow};
use crate::error::{Explain, Kind};
use crate::options;
use crate::sky::{Direction, Doppler, Frame, SpectralFrame, UvwAxes};
use crate::units::{Angle, Duration, Flux, Frequency};

options! {
    /// Options of the simulation of execution blocks.
    pub struct SimulateOptions {
        /// Seed of all random numbers.
        ["1"] seed: u64 = 2022,
        /// Execution blocks with long baselines, named LB1, LB2 and so on; LB1 is the reference of the truth.
        ["1"] long: usize = 3,
        /// Execution blocks with short baselines, named SB1, SB2 and so on.
        ["1"] short: usize = 2,
        /// Antennas of each array.
        ["1"] antennas: usize = 20,
        /// Integrations of each block.
        ["1"] integrations: usize = 30,
        /// Length of an integration.
        ["s"] integration: Duration = Duration(60.0),
        /// Channels of the continuum window.
        ["1"] channels: usize = 8,
        /// Width of the continuum window.
        ["GHz"] bandwidth: Frequency = Frequency(2e9),
        /// First frequency of the continuum window; a second window of two channels lies 13.4 GHz above.
        ["GHz"] frequency: Frequency = Frequency(217e9),
        /// Rest frequency of the line of components that have a velocity; with it the first frequency is in LSRK at the beginning of each block.
        ["GHz"] rest_freq: Option<Frequency> = None,
        /// Longest baseline of the long arrays, in metres.
        ["m"] long_baseline: f64 = 3000.0,
        /// Longest baseline of the short arrays, in metres.
        ["m"] short_baseline: f64 = 400.0,
        /// Right ascension of the phase center.
        ["deg"] ra: Angle = Angle(73.9410_f64 * std::f64::consts::PI / 180.0),
        /// Declination of the phase center.
        ["deg"] dec: Angle = Angle(30.5510_f64 * std::f64::consts::PI / 180.0),
        /// Noise of the naturally weighted image of a long block; short blocks have 1.6 times as much, 0 for none.
        ["Jy"] rms: Flux = Flux(25e-6),
        /// Typical offset of the source from the phase center; short blocks have three times as much.
        ["arcsec"] offset: Angle = Angle::from_arcsec(0.02),
        /// Typical relative error of the flux scale.
        ["1"] flux_error: f64 = 0.03,
        /// Flags, with garbage under those of every third block.
        [""] flags: bool = true,
        /// Spectral index: flux grows with this power of frequency.
        ["1"] spectral_index: f64 = 2.3,
        /// The sky; a disk of two rings with an arc, 0.12 Jy in all, unless components are given.
        [""] sky: Option<Vec<SkyComponent>> = None,
    }
}

/// Why a simulation cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SimulateError {
    /// Too few of something.
    #[error("a simulation needs at least {least} {what}, {given} given")]
    TooFew { what: &'static str, least: usize, given: usize },
    /// The source is not up.
    #[error("the source stands {elevation_deg:.0} deg above the horizon of ALMA in {block}: at least 10 deg are needed")]
    Low { block: String, elevation_deg: f64 },
    /// A number that makes no sense.
    #[error("{what} is {given}: it must be positive")]
    NotPositive { what: &'static str, given: f64 },
}

impl Explain for SimulateError {
    fn kind(&self) -> Kind {
        Kind::User
    }
    fn hint(&self) -> Option<String> {
        match self {
            SimulateError::Low { .. } => Some("choose a dec between -80 and 40 deg, or fewer or shorter integrations".to_string()),
            _ => None,
        }
    }
}

/// What went into one simulated block.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct BlockTruth {
    /// Name of the block.
    pub name: String,
    /// File name of the set.
    pub ms: String,
    /// Frame of the phase center.
    pub frame: Frame,
    /// Phase center, rad.
    pub phase_center_rad: [f64; 2],
    /// Source minus own phase center, east and north, arcsec.
    pub d_as: [f64; 2],
    /// The same minus that of the reference: what an alignment has to find, arcsec.
    pub rel_as: [f64; 2],
    /// Factor on all visibilities.
    pub flux_scale: f64,
    /// Noise of the naturally weighted image, Jy.
    pub rms_jy: f64,
    /// Rows of the set.
    pub rows: u64,
}

/// What went into a simulation.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Truth {
    /// Name of the reference block.
    pub reference: String,
    /// Options.
    pub options: SimulateOptions,
    /// Blocks in the order in which they were observed.
    pub ebs: Vec<BlockTruth>,
}

/// Sets to be written, and what went into them.
#[derive(Debug)]
pub struct Simulation {
    /// One set for each block.
    pub sets: Vec<SimulatedSet>,
    /// What went into them.
    pub truth: Truth,
}

/// 2022-07-17 0h UTC, MJD.
const FIRST_DAY_MJD: f64 = 59_777.0;

/// Plans the execution blocks: antennas, times, offsets; visibilities are made when the rows are asked for.
pub fn simulate(options: &SimulateOptions) -> Result<Simulation, SimulateError> {
    check(options)?;
    let arrays = Arrays::new(options);
    let sets = (0..options.long + options.short).map(|i| plan(i, options, &arrays)).collect::<Result<Vec<_>, _>>()?;
    let reference = sets[0].offset_as;
    let truth = |s: &SimulatedSet| BlockTruth {
        name: s.name.clone(),
        ms: format!("{}.ms", s.name),
        frame: s.center.frame,
        phase_center_rad: [s.center.ra_rad, s.center.dec_rad],
        d_as: s.offset_as,
        rel_as: [s.offset_as[0] - reference[0], s.offset_as[1] - reference[1]],
        flux_scale: s.flux_scale,
        rms_jy: s.rms_jy,
        rows: s.n_rows(),
    };
    let truth = Truth { reference: sets[0].name.clone(), options: options.clone(), ebs: sets.iter().map(truth).collect() };
    Ok(Simulation { sets, truth })
}

fn check(o: &SimulateOptions) -> Result<(), SimulateError> {
    let counts =
        [("blocks", 1, o.long + o.short), ("antennas", 2, o.antennas), ("integrations", 1, o.integrations), ("channels", 1, o.channels)];
    if let Some((what, least, given)) = counts.into_iter().find(|(_, least, given)| given < least) {
        return Err(SimulateError::TooFew { what, least, given });
    }
    let numbers = [
        ("integration", o.integration.0),
        ("frequency", o.frequency.0),
        ("bandwidth", o.bandwidth.0),
        ("long_baseline", o.long_baseline),
        ("short_baseline", o.short_baseline),
    ];
    match numbers.into_iter().find(|(_, v)| !(*v > 0.0)) {
        Some((what, given)) => Err(SimulateError::NotPositive { what, given }),
        None => Ok(()),
    }
}

/// The arrays: two long ones, the second with baselines half as long again, and a short one.
struct Arrays {
    long: [Vec<Antenna>; 2],
    short: Vec<Antenna>,
}

impl Arrays {
    fn new(o: &SimulateOptions) -> Arrays {
        let mut rng = ChaCha8Rng::seed_from_u64(o.seed);
        let mut make = |longest_m: f64| array::spiral(o.antennas, longest_m, 12.0, &mut rng);
        Arrays { long: [make(o.long_baseline), make(1.5 * o.long_baseline)], short: make(o.short_baseline) }
    }
}

/// Hour angles at which the blocks begin, hours.
const BEGIN_H: [f64; 5] = [-1.0, -0.6, 0.7, -0.5, 0.9];

fn plan(i: usize, o: &SimulateOptions, arrays: &Arrays) -> Result<SimulatedSet, SimulateError> {
    let mut rng = ChaCha8Rng::seed_from_u64(o.seed);
    rng.set_stream(i as u64 + 1);
    let mut normal = || -> f64 { rng.sample(StandardNormal) };
    let is_long = i < o.long;
    let name = if is_long { format!("LB{}", i + 1) } else { format!("SB{}", i - o.long + 1) };
    let scale = o.offset.arcsec() * if is_long { 1.0 } else { 3.0 };
    let offset_as = [scale * normal(), scale * normal()];
    let flux_scale = if i == 0 { 1.0 } else { 1.0 + o.flux_error * normal() };
    // Every third block is labelled ICRS, with a frame in every row, as the ALMA pipeline writes it.
    let frame = if i % 3 == 2 { Frame::Icrs } else { Frame::J2000 };
    let center = Direction::new(o.ra.0, o.dec.0, frame);
    let antennas = match (is_long, i % 3) {
        (false, _) => arrays.short.clone(),
        (true, 2) => arrays.long[1].clone(),
        (true, _) => arrays.long[0].clone(),
    };
    let day = FIRST_DAY_MJD + 2.0 * i as f64 + if is_long { 0.0 } else { 30.0 };
    let begin_s = begin(center, day, BEGIN_H[i % BEGIN_H.len()]);
    let gains = (0..2 * o.antennas).map(|_| (0.15 * normal()).exp()).collect();
    let rms_jy = o.rms.0 * if is_long { 1.0 } else { 1.6 };
    let set = SimulatedSet {
        index: i as u64,
        description: describe(o, antennas, center, begin_s, &name),
        name,
        center,
        offset_as,
        flux_scale,
        rms_jy,
        begin_s,
        gains,
        bad_antenna: rng.random_range(0..o.antennas) as i32,
        autocorrelations: i % 3 == 1,
        options: o.clone(),
    };
    set.check_elevation()?;
    Ok(set)
}

/// The time on the given day at which the source has the given hour angle, MJD seconds.
fn begin(center: Direction, day_mjd: f64, hour_angle_h: f64) -> f64 {
    const SIDEREAL_DAY_S: f64 = 86_164.0905;
    let midnight = day_mjd * 86_400.0;
    let (at_midnight, _) = array::hour_angle_elevation(UvwAxes::new(center, midnight).source());
    let turn = (hour_angle_h / 24.0 - at_midnight / std::f64::consts::TAU).rem_euclid(1.0);
    midnight + turn * SIDEREAL_DAY_S
}

/// The shift from frequencies as observed to LSRK.
fn to_lsrk(center: Direction, antennas: &[Antenna]) -> Option<Doppler> {
    let position = antennas.first()?.position_m;
    Doppler::new(SpectralFrame::Topo, SpectralFrame::Lsrk, center, position).ok()
}

fn describe(o: &SimulateOptions, antennas: Vec<Antenna>, center: Direction, begin_s: f64, name: &str) -> SetDescription {
    let end_s = begin_s + o.integrations as f64 * o.integration.0;
    let first_hz =
        if o.rest_freq.is_some() { o.frequency.0 / to_lsrk(center, &antennas).map_or(1.0, |d| d.factor(begin_s)) } else { o.frequency.0 };
    let continuum = SpectralWindow::regular("continuum", first_hz, o.bandwidth.0 / o.channels as f64, o.channels, FreqFrame::Topo);
    let line = SpectralWindow::regular("line", o.frequency.0 + 13.4e9, 29.3e6, 2, FreqFrame::Topo);
    SetDescription {
        antennas,
        spws: vec![continuum, line],
        polarizations: vec![vec![Corr::XX, Corr::YY]],
        data_descriptions: vec![(0, 0), (1, 0)],
        fields: vec![Field { name: "target".to_string(), code: String::new(), phase_center: center }],
        observations: vec![Observation {
            telescope: "ALMA".to_string(),
            observer: "simulation".to_string(),
            project: format!("simulated block {name}"),
            time_range_s: [begin_s, end_s],
        }],
        rest_freq_hz: o.rest_freq.map(|f| f.0),
        variable_direction_frames: center.frame == Frame::Icrs,
    }
}

#[cfg(test)]
mod tests;
