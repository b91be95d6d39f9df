use super::*;
use crate::data::VisWeight;
use crate::units::C_M_S;

fn small() -> SimulateOptions {
    SimulateOptions { antennas: 6, integrations: 10, channels: 3, ..SimulateOptions::default() }
}

fn point(dra_as: f64, ddec_as: f64) -> Option<Vec<SkyComponent>> {
    Some(vec![SkyComponent {
        flux: Flux(1.0),
        dra: Angle::from_arcsec(dra_as),
        ddec: Angle::from_arcsec(ddec_as),
        ..SkyComponent::default()
    }])
}

/// The sign of the baseline and of the transform: a point source turns every visibility to zero phase once its offset
/// is taken out as docs/conventions.md says.
#[test]
fn visibilities_follow_the_convention_of_casa() {
    let o = SimulateOptions { rms: Flux(0.0), flags: false, spectral_index: 0.0, flux_error: 0.0, sky: point(0.5, -0.25), ..small() };
    let simulation = simulate(&o).unwrap();
    for (set, truth) in simulation.sets.iter().zip(&simulation.truth.ebs) {
        let d: Vec<f64> = [0.5, -0.25].iter().zip(truth.d_as).map(|(s, d)| (s + d) * crate::units::ARCSEC).collect();
        for block in set.rows().map(|b| b.unwrap()) {
            let freq = &set.description.spws[block.data_desc].freq_hz;
            for ((row, chan, _), v) in block.vis_rfc.indexed_iter() {
                if block.antenna1[row] == block.antenna2[row] {
                    continue;
                }
                let k = freq[chan] / C_M_S;
                let [u, v_] = [block.uvw_m[[row, 0]] * k, block.uvw_m[[row, 1]] * k];
                let phase = std::f64::consts::TAU * (u * d[0] + v_ * d[1]);
                // w(n-1) is at most 1e7 x 4e-12.
                assert!((v.re as f64 - phase.cos()).abs() < 1e-3 && (v.im as f64 - phase.sin()).abs() < 1e-3);
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_seed_others() {
    let first = |seed: u64| simulate(&SimulateOptions { seed, ..small() }).unwrap().sets[1].rows().next().unwrap().unwrap();
    assert_eq!(first(1).vis_rfc, first(1).vis_rfc);
    assert_ne!(first(1).vis_rfc, first(2).vis_rfc);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(pool.install(|| first(1)).vis_rfc, first(1).vis_rfc);
}

/// The noise is that of the weights, and the weights are those of the wanted image noise.
#[test]
fn weights_tell_the_noise() {
    let o = SimulateOptions { sky: point(0.0, 0.0), offset: Angle(0.0), flux_error: 0.0, flags: false, spectral_index: 0.0, ..small() };
    let o = SimulateOptions { rms: Flux(1e-3), antennas: 10, ..o };
    let set = &simulate(&o).unwrap().sets[0];
    let (mut chi2, mut n, mut weight) = (0.0, 0.0, 0.0);
    for block in set.rows().map(|b| b.unwrap()) {
        let VisWeight::Row(w) = &block.weight else { panic!("weights by row") };
        for ((row, _, corr), v) in block.vis_rfc.indexed_iter() {
            chi2 += f64::from(w[[row, corr]]) * (f64::from(v.re) - 1.0).powi(2);
            n += 1.0;
            weight += f64::from(w[[row, corr]]);
        }
    }
    assert!((chi2 / n - 1.0).abs() < 4.0 * (2.0f64 / n).sqrt(), "{}", chi2 / n);
    assert!((1.0 / weight.sqrt() / 1e-3 - 1.0).abs() < 1e-5);
}

#[test]
fn a_source_below_the_horizon_is_refused() {
    let o = SimulateOptions { dec: Angle(1.3), ..small() };
    assert!(matches!(simulate(&o), Err(SimulateError::Low { .. })));
}

#[test]
fn rows_are_as_many_as_announced() {
    for set in simulate(&small()).unwrap().sets {
        assert_eq!(set.rows().map(|b| b.unwrap().n_rows() as u64).sum::<u64>(), set.n_rows());
    }
}
