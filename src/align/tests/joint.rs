//! All blocks at once.

use super::sky::{Observation, Sky, disk};
use crate::align::{BlockStatus, JointFit, JointOptions, SigmaFrom, SupportOption, align_jointly};
use crate::data::{MemoryVis, VisSource, VisWeight};
use crate::error::Error;
use crate::notice::Quiet;
use crate::sky::Offset;
use crate::units::Angle;

/// Two extended blocks and a compact one, which share few cells; offsets in mas.
const OFFSETS: [(f64, f64); 3] = [(3.0, -2.0), (-17.0, 5.0), (40.0, -25.0)];

fn observations() -> Vec<Observation> {
    let base = |name: &str, i: usize| {
        Observation { sigma: 4e-3, n_ant: 12, n_time: 12, noise_seed: 40 + i as u64, ..Observation::new(name) }
            .offset_mas(OFFSETS[i].0, OFFSETS[i].1)
    };
    vec![
        Observation { radius_m: 700.0, array_seed: 3, ..base("LB1", 0) },
        Observation { radius_m: 800.0, array_seed: 4, hour_angle: 0.5, ..base("LB2", 1) },
        Observation { radius_m: 200.0, array_seed: 5, flux_scale: 1.08, ..base("SB1", 2) },
    ]
}

fn observe(observations: &[Observation], sky: &Sky) -> Vec<MemoryVis> {
    observations.iter().map(|o| o.observe(sky)).collect()
}

fn align(sets: &[MemoryVis], options: &JointOptions) -> Result<JointFit, Error> {
    let sources: Vec<&dyn VisSource> = sets.iter().map(|s| s as &dyn VisSource).collect();
    align_jointly(&sources, options, &Quiet::default())
}

fn to_first() -> JointOptions {
    JointOptions { reference: Some("LB1".to_string()), ..Default::default() }
}

/// Offset minus truth in units of the stated error, the larger axis.
fn miss(fit: &JointFit, i: usize) -> f64 {
    let b = &fit.blocks[i];
    let (Some(o), Some(s)) = (b.offset, b.sigma) else { panic!("{fit}") };
    let truth = Offset::from_mas(OFFSETS[i].0 - OFFSETS[0].0, OFFSETS[i].1 - OFFSETS[0].1);
    let d = o - truth;
    (d.dra_rad / s.dra_rad).abs().max((d.ddec_rad / s.ddec_rad).abs())
}

#[test]
fn offsets_and_flux_scales_are_recovered_within_their_errors() {
    let fit = align(&observe(&observations(), &disk()), &to_first()).unwrap();
    assert_eq!(fit.blocks[0].status, BlockStatus::Reference);
    assert_eq!(fit.blocks[0].offset, Some(Offset::ZERO));
    for i in 1..3 {
        assert_eq!(fit.blocks[i].status, BlockStatus::Aligned, "{fit}");
        assert!(miss(&fit, i) < 4.0, "{fit}");
        assert!((fit.blocks[i].chi2_reduced - 1.0).abs() < 0.2, "{fit}");
    }
    assert!((fit.blocks[2].gain - 1.08).abs() < 5.0 * fit.blocks[2].sigma_gain + 0.01, "{fit}");
    assert!(fit.converged);
}

/// The reference only says where zero is: differences between the others stay.
#[test]
fn another_reference_or_seed_moves_all_offsets_together() {
    let sets = observe(&observations(), &disk());
    let a = align(&sets, &to_first()).unwrap();
    let b =
        align(&sets, &JointOptions { reference: Some("SB1".to_string()), seed: Some("LB2".to_string()), ..Default::default() }).unwrap();
    assert_eq!((&b.reference[..], &b.seed[..]), ("SB1", "LB2"));
    for i in 0..3 {
        let moved = b.blocks[i].offset.unwrap() - b.blocks[0].offset.unwrap();
        let sigma = a.blocks[i].sigma.unwrap().length_rad().max(1e-12);
        assert!((moved - a.blocks[i].offset.unwrap()).length_rad() < 0.7 * sigma, "{a}\n{b}");
    }
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let sets = observe(&observations(), &disk());
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| align(&sets, &to_first()).unwrap().blocks)
    };
    assert_eq!(on(1), on(2));
}

/// Half an arcsecond off the center and 0.7 arcsec between blocks: cells would blur it, so the data are averaged again.
#[test]
fn sources_far_from_the_phase_center_are_averaged_again() {
    let mut far = observations();
    for (o, (e, n)) in far.iter_mut().zip(OFFSETS) {
        o.offset = Offset::from_mas(e + 500.0, n - 300.0);
    }
    far[1].offset = far[1].offset + Offset::from_mas(-700.0, 0.0);
    let fit = align(&observe(&far, &disk()), &to_first()).unwrap();
    assert!(miss(&fit, 2) < 4.0, "{fit}");
    let (o, s) = (fit.blocks[1].offset.unwrap(), fit.blocks[1].sigma.unwrap());
    let d = o - Offset::from_mas(OFFSETS[1].0 - OFFSETS[0].0 - 700.0, OFFSETS[1].1 - OFFSETS[0].1);
    assert!(d.dra_rad.abs() < 4.0 * s.dra_rad && d.ddec_rad.abs() < 4.0 * s.ddec_rad, "{fit}");
}

#[test]
fn a_block_of_noise_is_not_aligned_and_says_why() {
    let mut sets = observe(&observations(), &disk());
    sets.push(Observation { sigma: 4e-3, n_ant: 12, noise_seed: 77, ..Observation::new("noise") }.observe(&Vec::new()));
    let fit = align(&sets, &to_first()).unwrap();
    let BlockStatus::NotAligned(reason) = &fit.blocks[3].status else { panic!("{fit}") };
    assert!(reason.starts_with("no match with the image of the other blocks: the best is"), "{reason}");
    assert_eq!((fit.blocks[3].offset, fit.blocks[3].sigma), (None, None));
    assert!(miss(&fit, 1) < 4.0 && miss(&fit, 2) < 4.0, "{fit}");
    assert!(!fit.converged);
}

/// Another source in one block: whatever place it is given, the common sky does not fit it.
#[test]
fn a_block_of_another_sky_is_not_aligned_and_does_not_harm_the_others() {
    let other: Sky = vec![(0.5, 0.0, 0.05, 0.05), (-0.6, 0.3, 0.04, 0.04), (0.1, -0.7, 0.1, 0.03)];
    let mut sets = observe(&observations(), &disk());
    sets.push(Observation { sigma: 4e-3, n_ant: 12, noise_seed: 78, array_seed: 9, ..Observation::new("other") }.observe(&other));
    let fit = align(&sets, &to_first()).unwrap();
    assert!(matches!(&fit.blocks[3].status, BlockStatus::NotAligned(_)), "{fit}");
    assert!(miss(&fit, 1) < 4.0 && miss(&fit, 2) < 4.0, "{fit}");
}

/// Weights four times too large: the same offsets; errors from the weights are halved, those from the scatter are not.
#[test]
fn wrong_weights_are_noticed_and_do_not_move_the_offsets() {
    let right = observe(&observations(), &disk());
    let mut wrong = right.clone();
    for block in wrong.iter_mut().flat_map(|s| s.blocks_mut()) {
        let VisWeight::Row(w) = &mut block.weight else { panic!() };
        *w *= 4.0;
    }
    let scatter = JointOptions { sigma: SigmaFrom::Scatter, ..to_first() };
    let (a, b, c) = (align(&right, &to_first()).unwrap(), align(&wrong, &to_first()).unwrap(), align(&wrong, &scatter).unwrap());
    for i in 1..3 {
        let sigma = |f: &JointFit| f.blocks[i].sigma.unwrap().dra_rad;
        assert!((a.blocks[i].offset.unwrap() - b.blocks[i].offset.unwrap()).length_rad() < 0.3 * sigma(&a), "{a}\n{b}");
        assert!((sigma(&b) / sigma(&a) - 0.5).abs() < 0.06, "{a}\n{b}");
        assert!((sigma(&c) / sigma(&a) - 1.0).abs() < 0.15, "{a}\n{c}");
        assert!((b.blocks[i].chi2_reduced - 4.0).abs() < 0.8, "{b}");
    }
    let notice = Quiet::default();
    let sources: Vec<&dyn VisSource> = wrong.iter().map(|s| s as &dyn VisSource).collect();
    align_jointly(&sources, &to_first(), &notice).unwrap();
    assert_eq!(notice.warnings().iter().filter(|w| w.name == "cell-scatter").count(), 3);
}

/// A faint source three arcseconds away is found in the residuals; with a support of the user's that leaves it out, nothing is told.
#[test]
fn emission_outside_the_support_is_found_or_refused() {
    let mut sky = disk();
    sky.push((2.0, -2.2, 0.001, 1.5e-3));
    let sets = observe(&observations(), &sky);
    let fit = align(&sets, &to_first()).unwrap();
    assert!(fit.support.patches.len() > 1, "{fit}");
    assert!(miss(&fit, 1) < 4.0 && miss(&fit, 2) < 4.0, "{fit}");
    let narrow = JointOptions { support: Some(SupportOption::Radius(Angle::from_arcsec(1.2))), ..to_first() };
    let refused = align(&sets, &narrow).unwrap();
    let BlockStatus::NotAligned(reason) = &refused.blocks[1].status else { panic!("{refused}") };
    assert!(reason.starts_with("emission outside the support at ("), "{reason}");
}

/// A set and its own copy, moved: the noise moved along, and counts as sky.
#[test]
fn a_copy_is_told_by_its_noise_and_its_offset_found() {
    let base = Observation { radius_m: 700.0, array_seed: 3, sigma: 2e-2, n_ant: 16, n_time: 12, noise_seed: 40, ..Observation::new("a") };
    let set = base.observe(&disk());
    let (east, north) = (Offset::from_mas(-60.0, 0.0).dra_rad, Offset::from_mas(0.0, 35.0).ddec_rad);
    let mut blocks = set.blocks().to_vec();
    for b in &mut blocks {
        for ((row, chan, _), v) in b.vis_rfc.indexed_iter_mut() {
            let turns = (b.uvw_m[[row, 0]] * east + b.uvw_m[[row, 1]] * north) * b.freq_hz[chan] / crate::units::C_M_S;
            *v *= num_complex::Complex32::cis((std::f64::consts::TAU * turns) as f32);
        }
    }
    let copy = MemoryVis::new("copy", set.phase_center(), blocks);
    let fit = align(&[set, copy], &JointOptions { reference: Some("a".to_string()), ..Default::default() }).unwrap();
    let (o, s) = (fit.blocks[1].offset.unwrap(), fit.blocks[1].sigma.unwrap());
    let d = o - Offset::from_mas(-60.0, 35.0);
    // Noise that is the same in both takes nothing away: the offset is far better than its error.
    assert!(d.dra_rad.abs() < 0.5 * s.dra_rad && d.ddec_rad.abs() < 0.5 * s.ddec_rad, "{fit}");
    assert!(fit.remarks.iter().any(|r| r.starts_with("a and copy agree in their noise")), "{:?}", fit.remarks);
}

#[test]
fn requests_that_cannot_be_met_are_refused_in_words() {
    let sets = observe(&observations(), &disk());
    let message = |sets: &[MemoryVis], options: JointOptions| align(sets, &options).unwrap_err().message;
    assert_eq!(message(&sets[..1], to_first()), "1 block to align: at least 2 are needed");
    assert_eq!(message(&[sets[0].clone(), sets[0].clone()], to_first()), "two blocks are called LB1");
    let unknown = JointOptions { reference: Some("LB9".to_string()), ..Default::default() };
    assert_eq!(message(&sets, unknown), "reference LB9 is not among the blocks: LB1, LB2, SB1");
    let zero = JointOptions { search: Angle(0.0), ..Default::default() };
    assert_eq!(message(&sets, zero), "option search: 0 is not usable, expected a positive angle below 5 degrees");
    let noise: Vec<MemoryVis> = observe(&observations(), &Vec::new());
    assert!(message(&noise, to_first()).starts_with("no signal in LB1, LB2, SB1"));
}
