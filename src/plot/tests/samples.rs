//! Made-up data that look like an alignment.

use ndarray::Array2;

use crate::plot::SkyImage;
use crate::plot::align::*;
use crate::plot::mark::Beam;

/// Numbers in (-1, 1) without a crate (splitmix64): the same on every machine.
pub(super) struct Noise(pub u64);

impl Noise {
    pub fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
    /// About normal with unit width: the sum of twelve uniform numbers.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() / 2.0
    }
}

/// Counts on a uv grid from tracks of a few antennas.
pub(super) fn uv_counts(n: usize, cell: f64, longest: f64, n_antenna: usize, seed: u64) -> Array2<f32> {
    let mut noise = Noise(seed);
    let antennas: Vec<[f64; 2]> = (0..n_antenna)
        .map(|_| (0.5 * longest * noise.uniform().powi(2), noise.uniform() * 3.2))
        .map(|(r, a)| [r * a.cos(), r * a.sin()])
        .collect();
    let mut counts = Array2::zeros((n, n));
    for (i, a) in antennas.iter().enumerate() {
        for b in antennas.iter().skip(i + 1) {
            for step in 0..60 {
                let (s, c) = (0.2 + 0.012 * step as f64).sin_cos();
                let (dx, dy) = (a[0] - b[0], a[1] - b[1]);
                let (u, v) = (dx * c + dy * s, 0.8 * (dy * c - dx * s));
                for sign in [1.0, -1.0] {
                    let at = |x: f64| (sign * x / cell + (n / 2) as f64).round();
                    let (i_u, i_v) = (at(u), at(v));
                    if i_u >= 0.0 && i_v >= 0.0 && i_u < n as f64 && i_v < n as f64 {
                        counts[[i_v as usize, i_u as usize]] += 7.0;
                    }
                }
            }
        }
    }
    counts
}

pub(super) fn overlap_figure() -> UvOverlapFigure {
    let (n, cell) = (361, 10.3);
    let reference = uv_counts(n, cell, 2400.0, 40, 1);
    let block = uv_counts(n, cell, 1100.0, 38, 7);
    let cells = |counts: &Array2<f32>| counts.iter().filter(|c| **c > 0.0).count();
    let o = OffsetMas { dra: -19.783, ddec: 4.681, sigma_dra: 0.124, sigma_ddec: 0.094 };
    let axis = |center: f64, sigma: f64| (0..41).map(|i| center + (f64::from(i) - 20.0) / 4.0 * sigma).collect::<Vec<_>>();
    let (dra, ddec) = (axis(o.dra, 0.15), axis(o.ddec, 0.15));
    let delta = Array2::from_shape_fn((41, 41), |(j, i)| {
        let (x, y) = ((dra[i] - o.dra) / o.sigma_dra, (ddec[j] - o.ddec) / o.sigma_ddec);
        ((x * x + y * y - 2.0 * 0.45 * x * y) / (1.0 - 0.45 * 0.45)) as f32
    });
    let cost = Some(CostSurface { dra_mas: dra, ddec_mas: ddec, delta, levels: Some([2.30, 6.18, 11.83]) });
    UvOverlapFigure {
        reference_name: "AB_Aur_LB_EB1".into(),
        block_name: "AB_Aur_LB_EB2".into(),
        cell_klambda: cell,
        cells_reference: cells(&reference) / 2,
        cells_block: cells(&block) / 2,
        cells_shared: ndarray::Zip::from(&reference).and(&block).fold(0, |n, a, b| n + usize::from(*a > 0.0 && *b > 0.0)) / 2,
        reference,
        block,
        offset: Some(o),
        cost,
    }
}

pub(super) fn shift(name: &str, dra: f64, ddec: f64, sigma: f64, beam: [f64; 3]) -> BlockShift {
    let mut noise = Noise((dra.abs() * 1e3) as u64 + 11);
    let after = OffsetMas { dra: sigma * noise.normal(), ddec: sigma * noise.normal(), sigma_dra: sigma, sigma_ddec: 1.1 * sigma };
    BlockShift {
        name: name.into(),
        before: Some(OffsetMas { dra, ddec, sigma_dra: sigma, sigma_ddec: 1.1 * sigma }),
        after: Some(after),
        beam: Some(Beam { major: beam[0], minor: beam[1], angle_deg: beam[2] }),
    }
}

pub(super) fn shifts_figure() -> ShiftsFigure {
    let blocks = vec![
        shift("LB_EB2", -19.8, 4.68, 0.3, [38.0, 27.0, 20.0]),
        shift("LB_EB3", -12.7, 1.34, 0.25, [45.0, 30.0, -35.0]),
        shift("LB_EB4", 23.7, -21.9, 0.4, [40.0, 31.0, 5.0]),
        shift("SB_EB1", -13.1, 39.5, 1.2, [240.0, 180.0, 60.0]),
        shift("SB_EB2", 119.2, -192.2, 2.0, [260.0, 210.0, -10.0]),
    ];
    ShiftsFigure { reference_name: "LB_EB1".into(), blocks }
}

pub(super) fn many_shifts() -> ShiftsFigure {
    let mut noise = Noise(5);
    let mut blocks: Vec<BlockShift> = (0..11)
        .map(|i| {
            let scale = if i < 6 { 8.0 } else { 60.0 };
            let name = format!("uid___A002_Xb{i:02}f1a_X1c0_calibrated_{}", if i < 6 { "LB" } else { "SB" });
            shift(&name, scale * noise.normal(), scale * noise.normal(), scale / 40.0, [scale * 6.0, scale * 4.0, 30.0 * f64::from(i)])
        })
        .collect();
    blocks.push(BlockShift { name: "ACA_EB1".into(), before: None, after: None, beam: None });
    ShiftsFigure { reference_name: "LB_EB0".into(), blocks }
}

pub(super) fn profile_figure() -> UvProfileFigure {
    let mut noise = Noise(3);
    let mut bins = |longest: f64, n: usize, shift: f64, snr: f64| -> Vec<ProfileBin> {
        (1..=n)
            .map(|i| {
                let uv = longest * (i as f64 / n as f64).powf(1.3);
                let disk = 95.0 * (-uv * uv / 4.5e5).exp() * (1.0 + 0.2 * (uv / 120.0).sin()) + 4.0;
                let sigma = 95.0 / snr * (0.5 + uv / longest);
                ProfileBin {
                    uv_klambda: uv,
                    amplitude: disk * (-shift * uv * uv / 1e6).exp() + sigma * noise.normal(),
                    sigma_amplitude: sigma,
                    phase_deg: shift * 0.05 * uv * (uv / 300.0).cos() + 57.0 * sigma / disk * noise.normal(),
                    sigma_phase_deg: 57.0 * sigma / disk,
                }
            })
            .collect()
    };
    UvProfileFigure {
        reference_name: "AB_Aur_LB_EB1".into(),
        block_name: "AB_Aur_SB_EB2".into(),
        unit: "mJy".into(),
        reference: bins(2200.0, 44, 0.0, 160.0),
        before: bins(1100.0, 24, 1.6, 120.0),
        after: bins(1100.0, 24, 0.0, 120.0),
        offset: Some(OffsetMas { dra: 119.22, ddec: -192.22, sigma_dra: 1.3, sigma_ddec: 1.5 }),
    }
}

/// A ring with an arc.
pub(super) fn disk_image(n: usize, noise_level: f64) -> Array2<f32> {
    let mut noise = Noise(9);
    Array2::from_shape_fn((n, n), |(j, i)| {
        let (x, y) = ((i as f64 - n as f64 / 2.0) / n as f64 * 4.0, (j as f64 - n as f64 / 2.0) / n as f64 * 4.0);
        let r = x.hypot(y / 0.75);
        let ring = (-((r - 0.9) / 0.13).powi(2)).exp() * (1.0 + 0.7 * y.atan2(x).cos());
        (1e-3 * (5.0 * ring + 8.0 * (-(r / 0.05).powi(2)).exp() + noise_level * noise.normal())) as f32
    })
}

pub(super) fn sky_figure() -> CommonSkyFigure {
    let n = 240;
    let mut sky = SkyImage::centered(disk_image(n, 0.02).mapv(|v| v * 1e3), 0.012);
    sky.beam = Some(Beam { major: 0.12, minor: 0.08, angle_deg: 30.0 });
    let support = Array2::from_shape_fn((n, n), |(j, i)| (i as f64 - 120.0).hypot(j as f64 - 120.0) < 92.0);
    let blocks = [("LB_EB1", 1.01, true), ("LB_EB2", 0.98, true), ("LB_EB3", 1.03, true), ("SB_EB1", 1.12, true), ("SB_EB2", 2.37, false)];
    let blocks = blocks.map(|(name, chi2_reduced, aligned)| BlockFit { name: name.into(), chi2_reduced, aligned }).to_vec();
    CommonSkyFigure { sky, label: "Intensity (mJy beam^{-1})".into(), support: Some(support), blocks }
}

pub(super) fn empty_overlap() -> UvOverlapFigure {
    UvOverlapFigure {
        reference: Array2::zeros((0, 0)),
        block: Array2::zeros((9, 9)),
        cells_reference: 0,
        cells_block: 0,
        cells_shared: 0,
        offset: None,
        cost: None,
        ..overlap_figure()
    }
}

pub(super) fn one_shift() -> ShiftsFigure {
    let mut block = shift("EB2", 0.8, -0.4, f64::NAN, [60.0, 50.0, 0.0]);
    (block.after, block.beam) = (None, None);
    ShiftsFigure { reference_name: "EB1".into(), blocks: vec![block] }
}

pub(super) fn empty_profile() -> UvProfileFigure {
    let nothing = ProfileBin { uv_klambda: f64::NAN, amplitude: f64::NAN, sigma_amplitude: 0.0, phase_deg: f64::NAN, sigma_phase_deg: 0.0 };
    UvProfileFigure { reference: vec![], before: vec![nothing; 3], after: vec![], offset: None, ..profile_figure() }
}

pub(super) fn blank_sky() -> CommonSkyFigure {
    let mut figure = sky_figure();
    figure.sky.values.fill(f32::NAN);
    figure.blocks = vec![BlockFit { name: "EB1".into(), chi2_reduced: f64::NAN, aligned: false }];
    figure
}
