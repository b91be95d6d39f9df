//! What is wrong when a pairwise offset cannot be trusted, in words with numbers.

use super::find_offset::{DECISIVE, MAX_CHANCE, Objective, OffsetFit, ambiguous as ambiguity, by_chance};
use super::{UvCell, UvGrid};
use crate::units::MAS;

/// One finding.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Diagnosis {
    /// Short name in kebab case.
    pub name: String,
    /// True where the offset must not be used.
    pub serious: bool,
    /// What was found, with numbers and units.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Diagnosis {
    fn new(name: &str, serious: bool, message: String, hint: &str) -> Diagnosis {
        Diagnosis { name: name.to_string(), serious, message, hint: hint.to_string() }
    }
}

/// Looks for reasons not to trust an offset; none is found in a good fit.
pub fn diagnose(fit: &OffsetFit) -> Vec<Diagnosis> {
    let checks = [no_signal, resolved_out, one_direction, ambiguous, not_settled, objectives, grids, misfit, flux];
    checks.iter().filter_map(|check| check(fit)).collect()
}

fn no_signal(fit: &OffsetFit) -> Option<Diagnosis> {
    let message = || by_chance(fit.chance, fit.places, fit.shared_cells);
    let hint =
        "average more data (all continuum windows, more time), limit the search (search: \"0.3arcsec\"), or align with align_jointly";
    (fit.chance > MAX_CHANCE).then(|| Diagnosis::new("no-signal", true, message(), hint))
}

/// Signal to noise of the power of some cells: Σ(W|V|² - 2) over its standard deviation.
fn power<'a>(cells: impl Iterator<Item = &'a UvCell>) -> f64 {
    let (mut sum, mut n) = (0.0, 0.0);
    for c in cells {
        sum += c.weight * c.vis.norm_sqr() - 2.0;
        n += 1.0;
    }
    sum / (2.0 * f64::max(n, 1.0).sqrt())
}

fn resolved_out(fit: &OffsetFit) -> Option<Diagnosis> {
    let shared: std::collections::BTreeSet<(i32, i32)> = fit.shared.iter().map(|p| (p.kv, p.ku)).collect();
    let in_shared = |grid: &'_ UvGrid| power(grid.cells().iter().filter(|c| shared.contains(&(c.kv, c.ku))));
    if fit.is_compat {
        return None;
    }
    for (grid, name, other) in [(&fit.block_grid, &fit.block, &fit.reference), (&fit.reference_grid, &fit.reference, &fit.block)] {
        let (own, common) = (power(grid.cells().iter()), in_shared(grid));
        if own > 10.0 && common < 3.0 {
            let message = format!(
                "the source is resolved out where {name} and {other} overlap: {name} has {own:.0} sigma of power in all, {common:.1} sigma in the {} shared cells",
                fit.shared_cells
            );
            return Some(Diagnosis::new(
                "resolved-out",
                true,
                message,
                "align_jointly needs no shared cells; or align to a block with shorter baselines",
            ));
        }
    }
    let own = power(fit.block_grid.cells().iter());
    let reference = power(fit.reference_grid.cells().iter());
    if own < 3.0 && reference > 10.0 {
        let shortest = fit.block_grid.min_uv_lambda() / 1e3;
        let message = format!(
            "{} has no power above its noise ({own:.1} sigma) on baselines from {shortest:.0} kλ: the source is resolved out",
            fit.block
        );
        return Some(Diagnosis::new("resolved-out", true, message, "it holds no position of this source; leave it out"));
    }
    None
}

fn one_direction(fit: &OffsetFit) -> Option<Diagnosis> {
    let (sx, sy) = (fit.sigma.dra_rad, fit.sigma.ddec_rad);
    let (xx, xy, yy) = (sx * sx, fit.correlation * sx * sy, sy * sy);
    let (mean, spread) = (0.5 * (xx + yy), (0.5 * (xx - yy)).hypot(xy));
    let (long, short) = ((mean + spread).sqrt(), (mean - spread).max(0.0).sqrt());
    if !(long > 6.0 * short) {
        return None;
    }
    let angle = 0.5 * (2.0 * xy).atan2(yy - xx).to_degrees();
    let message = format!(
        "one baseline direction: the error is {:.2} mas along position angle {:.0} deg and {:.2} mas across it",
        long / MAS,
        angle.rem_euclid(180.0),
        short / MAS
    );
    Some(Diagnosis::new(
        "one-direction",
        !(long < 30.0 * short),
        message,
        "shared baselines lie along one line; larger uv cells (smaller npix) or more hour angle share more",
    ))
}

fn ambiguous(fit: &OffsetFit) -> Option<Diagnosis> {
    let rival = fit.rival.filter(|r| r.chi2_excess < DECISIVE)?;
    let hint = "limit the search, search: \"0.3arcsec\", if larger offsets are impossible";
    Some(Diagnosis::new("ambiguous", true, ambiguity(&rival), hint))
}

fn not_settled(fit: &OffsetFit) -> Option<Diagnosis> {
    let known = fit.chance > MAX_CHANCE || fit.rival.is_some_and(|r| r.chi2_excess < DECISIVE);
    (!fit.converged && !known).then(|| Diagnosis::new("not-converged", true, fit.reason.clone(), "try another grid, or align_jointly"))
}

fn objectives(fit: &OffsetFit) -> Option<Diagnosis> {
    let other = fit.other_objective?;
    let apart = other.offset - fit.offset;
    // The two share their noise; the larger error covers the difference of two good fits.
    let sigma = |a: f64, b: f64| a.max(b).max(f64::MIN_POSITIVE);
    let worst = (apart.dra_rad.abs() / sigma(fit.sigma.dra_rad, other.sigma.dra_rad))
        .max(apart.ddec_rad.abs() / sigma(fit.sigma.ddec_rad, other.sigma.ddec_rad));
    if !(worst > 3.0) {
        return None;
    }
    let (this, that) = match fit.objective {
        Objective::Complex => ("complex", "phase"),
        Objective::Phase => ("phase", "complex"),
    };
    let message = format!("the objectives disagree by {worst:.1} sigma: {this} gives {}, {that} {}", fit.offset, other.offset);
    Some(Diagnosis::new(
        "objectives-disagree",
        worst > 10.0,
        message,
        "amplitudes differ between the blocks: check flux scale and decoherence; align_jointly models the sky",
    ))
}

fn grids(fit: &OffsetFit) -> Option<Diagnosis> {
    let apart = |a: &super::NpixResult| {
        let d = a.offset - fit.offset;
        (d.dra_rad.abs() / a.sigma.dra_rad.max(fit.sigma.dra_rad)).max(d.ddec_rad.abs() / a.sigma.ddec_rad.max(fit.sigma.ddec_rad))
    };
    let worst = fit.npix_scan.iter().max_by(|a, b| apart(a).total_cmp(&apart(b)))?;
    if !(apart(worst) > 3.0) {
        return None;
    }
    let message = format!(
        "the grid matters more than the errors: npix {} gives {}, npix {} {}, {:.1} sigma apart",
        fit.spec.npix(),
        fit.offset,
        worst.npix,
        worst.offset,
        apart(worst)
    );
    Some(Diagnosis::new("npix-disagree", apart(worst) > 10.0, message, "align_jointly does not depend on a grid"))
}

fn misfit(fit: &OffsetFit) -> Option<Diagnosis> {
    if !(fit.chi2_reduced > 3.0) {
        return None;
    }
    let message = format!("reduced chi-square {:.1}: the shared cells differ by more than their noise", fit.chi2_reduced);
    Some(Diagnosis::new("misfit", false, message, "smaller uv cells (larger npix), sigma: \"scatter\", or align_jointly"))
}

fn flux(fit: &OffsetFit) -> Option<Diagnosis> {
    if !(fit.amplitude_ratio < 0.5 || fit.amplitude_ratio > 2.0) {
        return None;
    }
    let message = format!("the flux of {} is {:.2} times that of {}", fit.block, fit.amplitude_ratio, fit.reference);
    Some(Diagnosis::new(
        "flux-scale",
        false,
        message,
        "check the calibration, and that both blocks show the same field and spectral window",
    ))
}
