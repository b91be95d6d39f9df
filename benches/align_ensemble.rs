//! Ensemble of noise draws for the alignment: error over the Cramér-Rao bound, chi-square of the stated errors, refusals.
//!
//! usage: cargo bench --bench align_ensemble -- CASE [--draws 30] [--reference LB1] [--seed-block NAME] [--method joint|pairwise]
//!          [--point mJy [--at E,N]] [--support ARCSEC] [--first 0] [--only LB1,LB2] [--noise 1] [--mirror] [--list]
//!
//! CASE holds truth.json and, for each block, NAME.ms with noiseless DATA. Noise has the variance 1/weight (`--noise` times the
//! standard deviation, 0 for sets that have their noise); flagged samples are left as they are. With `--mirror` every second draw
//! is the negative of the one before: what is linear in the noise cancels in the mean error, and a bias shows. The bound is that of
//! a known sky (`pair_all`).

use std::io::{BufReader, Error, ErrorKind};
use std::path::Path;
use std::time::Instant;

use num_complex::{Complex32, Complex64};
use phangs_script::align::{BlockStatus, FindOffsetOptions, JointOptions, SupportOption, align_jointly, find_offset};
use phangs_script::data::{MemoryVis, VisBlock, VisSource, VisWeight};
use phangs_script::ms::{MeasurementSet, Names, Selection};
use phangs_script::notice::Quiet;
use phangs_script::sky::{Direction, Offset};
use phangs_script::units::{ARCSEC, Angle, C_M_S, MAS};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// A block without noise, and where its source is.
struct Truth {
    name: String,
    offset: Offset,
    gain: f64,
    center: Direction,
    blocks: Vec<VisBlock>,
    /// Inverse Fisher matrix of the offset with the sky known, rad².
    covariance: [f64; 3],
}

struct Setup {
    folder: String,
    draws: u64,
    first: u64,
    reference: String,
    method: String,
    point_mjy: f64,
    point_arcsec: [f64; 2],
    noise: f64,
    mirror: bool,
    only: Vec<String>,
    list: bool,
    options: JointOptions,
}

fn main() -> Fallible<()> {
    let setup = parse(std::env::args().skip(1).filter(|a| a != "--bench"))?;
    if setup.folder.is_empty() {
        println!("align_ensemble: no case folder given, nothing to do");
        return Ok(());
    }
    let truths = load(&setup)?;
    let Some(reference) = truths.iter().position(|t| t.name == setup.reference) else {
        return Err(Box::new(Error::new(ErrorKind::NotFound, format!("no block {}", setup.reference))));
    };
    let mut tally: Vec<Tally> = truths.iter().map(|_| Tally::default()).collect();
    let (mut seconds, mut failed) = (0.0, 0);
    for draw in setup.first..setup.first + setup.draws {
        let sets: Vec<MemoryVis> = truths.iter().enumerate().map(|(i, t)| with_noise(t, draw, i as u64, &setup)).collect();
        let start = Instant::now();
        let found = align(&sets, reference, &setup);
        seconds += start.elapsed().as_secs_f64();
        match found {
            Ok(found) => {
                for (i, f) in found.iter().enumerate() {
                    tally[i].add(&truths[i], &truths[reference], f, setup.list.then_some(draw), setup.noise);
                }
            }
            Err(e) => {
                failed += 1;
                println!("draw {draw}: {e}");
            }
        }
    }
    println!(
        "{} {} reference {} point {} mJy at {:?} arcsec: {} draws, {failed} refused as a whole, {:.2} s a draw",
        setup.folder,
        setup.method,
        setup.reference,
        setup.point_mjy,
        setup.point_arcsec,
        setup.draws,
        seconds / setup.draws.max(1) as f64
    );
    println!("block      n refused   mean error [mas]   rms/pair_all stated/pair_all  mean chi2  worst chi2  chi2_red  gain/truth");
    for (i, t) in truths.iter().enumerate().filter(|(i, _)| *i != reference) {
        tally[i].print(&t.name);
    }
    Ok(())
}

#[derive(Clone, Default)]
struct Found {
    offset: Option<Offset>,
    sigma: Offset,
    correlation: f64,
    gain: f64,
    chi2_reduced: f64,
    reason: String,
}

fn align(sets: &[MemoryVis], reference: usize, setup: &Setup) -> Fallible<Vec<Found>> {
    let notice = Quiet::default();
    if setup.method == "pairwise" {
        return sets
            .iter()
            .enumerate()
            .map(|(i, s)| {
                if i == reference {
                    return Ok(Found::default());
                }
                let f = match find_offset(&sets[reference], s, &FindOffsetOptions::default(), &notice) {
                    Ok(f) => f,
                    Err(e) => return Ok(Found { reason: e.to_string(), ..Default::default() }),
                };
                if setup.list {
                    println!("{f}; {:.1} sigma, chance {:.1e}, next {:?}", f.significance, f.chance, f.rival.map(|r| r.chi2_excess));
                }
                Ok(Found {
                    offset: f.converged.then_some(f.offset),
                    sigma: f.sigma,
                    correlation: f.correlation,
                    gain: f.amplitude_ratio,
                    chi2_reduced: f.chi2_reduced,
                    reason: f.reason,
                })
            })
            .collect();
    }
    let sources: Vec<&dyn VisSource> = sets.iter().map(|s| s as &dyn VisSource).collect();
    let fit = align_jointly(&sources, &setup.options, &notice)?;
    if setup.list {
        println!("{fit}");
        fit.remarks.iter().for_each(|r| println!("  {r}"));
    }
    Ok(fit
        .blocks
        .iter()
        .map(|b| Found {
            offset: b.offset.filter(|_| matches!(b.status, BlockStatus::Aligned)),
            sigma: b.sigma.unwrap_or_default(),
            correlation: b.correlation,
            gain: b.gain,
            chi2_reduced: b.chi2_reduced,
            reason: format!("{:?}", b.status),
        })
        .collect())
}

#[derive(Clone, Default)]
struct Tally {
    n: f64,
    refused: usize,
    error: [f64; 2],
    r2: f64,
    stated: f64,
    chi2: f64,
    worst: f64,
    chi2_reduced: f64,
    gain: f64,
}

impl Tally {
    fn add(&mut self, truth: &Truth, reference: &Truth, found: &Found, list: Option<u64>, noise: f64) {
        let Some(offset) = found.offset else {
            self.refused += 1;
            if list.is_some() && truth.name != reference.name {
                println!("  draw {}: {} {}", list.unwrap_or(0), truth.name, found.reason);
            }
            return;
        };
        let miss = offset - (truth.offset - reference.offset);
        let e = [miss.dra_mas(), miss.ddec_mas()];
        let (a, b) = (truth.covariance, reference.covariance);
        let bound = [0, 1, 2].map(|k| (a[k] + b[k]) * noise * noise / (MAS * MAS));
        let (sx, sy) = (found.sigma.dra_mas(), found.sigma.ddec_mas());
        let own = [sx * sx, found.correlation * sx * sy, sy * sy];
        let chi2 = quadratic(own, e);
        self.n += 1.0;
        self.error[0] += e[0];
        self.error[1] += e[1];
        self.r2 += quadratic(bound, e) / 2.0;
        let det = bound[0] * bound[2] - bound[1] * bound[1];
        self.stated += (bound[2] * own[0] - 2.0 * bound[1] * own[1] + bound[0] * own[2]) / det / 2.0;
        self.chi2 += chi2;
        self.worst = self.worst.max(chi2);
        self.chi2_reduced += found.chi2_reduced;
        self.gain += found.gain / (truth.gain / reference.gain);
        if let Some(draw) = list {
            println!("  draw {draw}: {} error ({:+.2}, {:+.2}) mas, stated ({sx:.2}, {sy:.2}), chi2 {chi2:.1}", truth.name, e[0], e[1]);
        }
    }

    fn print(&self, name: &str) {
        let n = self.n.max(1.0);
        println!(
            "{name:8} {:3} {:7}   ({:+7.3},{:+7.3})      {:9.3}      {:9.3}    {:9.2}   {:9.1}   {:7.3}   {:8.4}",
            self.n,
            self.refused,
            self.error[0] / n,
            self.error[1] / n,
            (self.r2 / n).sqrt(),
            (self.stated / n).sqrt(),
            self.chi2 / n,
            self.worst,
            self.chi2_reduced / n,
            self.gain / n
        );
    }
}

/// eᵀ C⁻¹ e for C = (xx, xy, yy).
fn quadratic([xx, xy, yy]: [f64; 3], e: [f64; 2]) -> f64 {
    (yy * e[0] * e[0] - 2.0 * xy * e[0] * e[1] + xx * e[1] * e[1]) / (xx * yy - xy * xy)
}

fn with_noise(truth: &Truth, draw: u64, i: u64, setup: &Setup) -> MemoryVis {
    let (seed, sign) = if setup.mirror { (draw / 2, if draw % 2 == 0 { 1.0 } else { -1.0 }) } else { (draw, 1.0) };
    let mut rng = ChaCha8Rng::seed_from_u64(seed * 1000 + i);
    let noise = sign * setup.noise;
    let mut blocks = truth.blocks.clone();
    for block in &mut blocks {
        let VisWeight::Row(weight) = &block.weight else { continue };
        for ((row, chan, corr), v) in block.vis_rfc.indexed_iter_mut() {
            let sigma = noise as f32 / weight[[row, corr]].sqrt();
            let (re, im): (f32, f32) = (rng.sample(StandardNormal), rng.sample(StandardNormal));
            if !block.flag_rfc[[row, chan, corr]] {
                *v += Complex32::new(re, im) * sigma;
            }
        }
    }
    MemoryVis::new(&truth.name, truth.center, blocks)
}

fn load(setup: &Setup) -> Fallible<Vec<Truth>> {
    let folder = Path::new(&setup.folder);
    let truth: serde_json::Value = serde_json::from_reader(BufReader::new(std::fs::File::open(folder.join("truth.json"))?))?;
    let number = |v: &serde_json::Value| v.as_f64().unwrap_or(f64::NAN);
    let (alpha, f_ref) = (number(&truth["alpha"]), number(&truth["f_ref_hz"]));
    let all = truth["ebs"].as_array().cloned().unwrap_or_default();
    let wanted = |e: &&serde_json::Value| setup.only.is_empty() || setup.only.iter().any(|o| Some(o.as_str()) == e["name"].as_str());
    all.iter()
        .filter(wanted)
        .map(|e| {
            let name = e["name"].as_str().unwrap_or("").to_string();
            let [east, north] = [number(&e["d_as"][0]), number(&e["d_as"][1])];
            let gain = number(&e["flux_scale"]);
            let point = |freq: f64| setup.point_mjy * 1e-3 * gain * (freq / f_ref).powf(alpha);
            let at = [(east + setup.point_arcsec[0]) * ARCSEC, (north + setup.point_arcsec[1]) * ARCSEC];
            let spw = truth["continuum_spw"].as_i64().unwrap_or(0);
            let (center, blocks) = read(&folder.join(format!("{name}.ms")), spw, point, at)?;
            let covariance = known_sky_covariance(&blocks);
            Ok(Truth { name, offset: Offset { dra_rad: east * ARCSEC, ddec_rad: north * ARCSEC }, gain, center, blocks, covariance })
        })
        .collect()
}

/// The blocks of one spectral window in memory; a point source of `flux(freq)` Jy at `at` is added.
fn read(path: &Path, spw: i64, flux: impl Fn(f64) -> f64, at: [f64; 2]) -> Fallible<(Direction, Vec<VisBlock>)> {
    let selection = Selection { spw: Names(vec![spw.to_string()]), ..Default::default() };
    let set = MeasurementSet::open(path)?.select(&selection)?;
    let mut blocks = (0..set.n_blocks()).map(|i| set.read_block(i)).collect::<Result<Vec<_>, _>>()?;
    for b in blocks.iter_mut().filter(|b| flux(b.freq_hz[0]) != 0.0) {
        for ((row, chan, _), v) in b.vis_rfc.indexed_iter_mut() {
            let freq = b.freq_hz[chan];
            let turns = (b.uvw_m[[row, 0]] * at[0] + b.uvw_m[[row, 1]] * at[1]) * freq / C_M_S;
            let add = flux(freq) * Complex64::cis(std::f64::consts::TAU * turns);
            *v += Complex32::new(add.re as f32, add.im as f32);
        }
    }
    Ok((set.phase_center(), blocks))
}

/// Cramér-Rao bound of a block's offset when the sky is known: (Σ w |V|² (2π)² u uᵀ)⁻¹, rad².
fn known_sky_covariance(blocks: &[VisBlock]) -> [f64; 3] {
    let mut fisher = [0.0; 3];
    for b in blocks {
        for ((row, chan, corr), v) in b.vis_rfc.indexed_iter() {
            if b.flag_rfc[[row, chan, corr]] || b.antenna1[row] == b.antenna2[row] {
                continue;
            }
            let k = std::f64::consts::TAU * b.freq_hz[chan] / C_M_S;
            let (u, v, w) = (b.uvw_m[[row, 0]] * k, b.uvw_m[[row, 1]] * k, b.weight.get(row, chan, corr) as f64 * v.norm_sqr() as f64);
            fisher[0] += w * u * u;
            fisher[1] += w * u * v;
            fisher[2] += w * v * v;
        }
    }
    let det = fisher[0] * fisher[2] - fisher[1] * fisher[1];
    [fisher[2] / det, -fisher[1] / det, fisher[0] / det]
}

fn parse(mut args: impl Iterator<Item = String>) -> Fallible<Setup> {
    let mut s = Setup {
        folder: String::new(),
        draws: 30,
        first: 0,
        reference: "LB1".to_string(),
        method: "joint".to_string(),
        point_mjy: 0.0,
        point_arcsec: [2.1, 2.1],
        noise: 1.0,
        mirror: false,
        only: Vec::new(),
        list: false,
        options: JointOptions::default(),
    };
    while let Some(a) = args.next() {
        let mut value = || args.next().ok_or_else(|| Error::new(ErrorKind::InvalidInput, format!("{a} needs a value")));
        match a.as_str() {
            "--draws" => s.draws = value()?.parse()?,
            "--first" => s.first = value()?.parse()?,
            "--reference" => s.reference = value()?,
            "--seed-block" => s.options.seed = Some(value()?),
            "--method" => s.method = value()?,
            "--point" => s.point_mjy = value()?.parse()?,
            "--at" => {
                let text = value()?;
                let (e, n) = text.split_once(',').ok_or_else(|| Error::new(ErrorKind::InvalidInput, "--at E,N"))?;
                s.point_arcsec = [e.parse()?, n.parse()?];
            }
            "--support" => s.options.support = Some(SupportOption::Radius(Angle::from_arcsec(value()?.parse()?))),
            "--noise" => s.noise = value()?.parse()?,
            "--only" => s.only = value()?.split(',').map(str::to_string).collect(),
            "--mirror" => s.mirror = true,
            "--list" => s.list = true,
            other if !other.starts_with("--") => s.folder = other.to_string(),
            other => return Err(Box::new(Error::new(ErrorKind::InvalidInput, format!("unknown argument {other}")))),
        }
    }
    s.options.reference = Some(s.reference.clone());
    Ok(s)
}
