//! Masks that follow the emission as cleaning goes on: auto-multithresh (Kepley et al. 2020, PASP 132, 024505).

use ndarray::{Array2, ArrayView2};

use super::robust_noise;
use crate::data::Beam;
use crate::imaging::{ImagingError, smooth};
use crate::options;

options! {
    /// Options of auto-multithresh, with CASA's defaults: those of the 12 m array are 2, 4.25, 1.5, 0.3, those of the 7 m array 1.25, 5, 2, 0.1 (sidelobe, noise, low noise, beam fraction).
    pub struct AutoMaskOptions {
        /// Emission lies above this many times the largest sidelobe of the peak.
        ["1"] sidelobethreshold: f64 = 3.0,
        /// Emission lies above this many times the noise.
        ["1"] noisethreshold: f64 = 5.0,
        /// Masks grow into what lies above this many times the noise.
        ["1"] lownoisethreshold: f64 = 1.5,
        /// Absorption lies below minus this many times the noise; 0 masks none.
        ["1"] negativethreshold: f64 = 0.0,
        /// Regions are smoothed with this many beams.
        ["1"] smoothfactor: f64 = 1.0,
        /// Regions smaller than this part of a beam are dropped.
        ["1"] minbeamfrac: f64 = 0.3,
        /// The smoothed mask is cut at this fraction of its peak.
        ["1"] cutthreshold: f64 = 0.01,
        /// Steps by which a mask grows at most.
        ["1"] growiterations: u64 = 75,
        /// Small regions are dropped from the grown mask too.
        [""] dogrowprune: bool = true,
    }
}

impl AutoMaskOptions {
    /// The first option out of its range.
    pub fn check(&self) -> Result<(), ImagingError> {
        let fail = |name, value: f64, expected| Err(ImagingError::Option { name, value: value.to_string(), expected });
        let thresholds = [
            ("sidelobethreshold", self.sidelobethreshold),
            ("noisethreshold", self.noisethreshold),
            ("lownoisethreshold", self.lownoisethreshold),
            ("negativethreshold", self.negativethreshold),
            ("minbeamfrac", self.minbeamfrac),
        ];
        if let Some((name, value)) = thresholds.into_iter().find(|(_, v)| !(*v >= 0.0 && v.is_finite())) {
            return fail(name, value, "0 or more");
        }
        if !(0.0..=20.0).contains(&self.smoothfactor) {
            return fail("smoothfactor", self.smoothfactor, "0 to 20 beams");
        }
        if !(0.0..1.0).contains(&self.cutthreshold) {
            return fail("cutthreshold", self.cutthreshold, "a number from 0 to below 1");
        }
        Ok(())
    }
}

/// What is needed of a plane beside its residual.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlaneFacts {
    pub sidelobe: f64,
    /// Beam; its angles count in pixels of side 1.
    pub beam: Beam,
    pub first_cycle: bool,
}

/// The mask of a plane after one more cycle: what was masked, what is bright now, and what the old mask grows into.
pub(super) fn next_mask(
    old: &Array2<bool>,
    residual: ArrayView2<f32>,
    allowed: &Array2<bool>,
    facts: PlaneFacts,
    options: &AutoMaskOptions,
) -> Array2<bool> {
    let outside = residual.iter().zip(old.iter().zip(allowed)).filter(|(_, (m, a))| !**m && **a).map(|(r, _)| r);
    let noise = robust_noise(outside);
    let inside = |i: &(usize, usize)| allowed[*i];
    let peak = residual.indexed_iter().filter(|(i, _)| inside(i)).map(|(_, v)| v.abs()).fold(0f32, f32::max);
    let sidelobe = options.sidelobethreshold * facts.sidelobe * f64::from(peak);
    let above = |level: f64| Array2::from_shape_fn(residual.dim(), |i| allowed[i] && f64::from(residual[i]) > level);
    let smallest = options.minbeamfrac * facts.beam.sr();

    let bright = above(sidelobe.max(options.noisethreshold * noise));
    let mut mask = smoothed(&pruned(&bright, smallest), facts.beam, options);
    if !facts.first_cycle && old.iter().any(|m| *m) {
        let constraint = above(sidelobe.max(options.lownoisethreshold * noise));
        let grown = grown(old, &constraint, options.growiterations);
        let grown = if options.dogrowprune { pruned(&grown, smallest) } else { grown };
        join(&mut mask, &smoothed(&grown, facts.beam, options));
    }
    if options.negativethreshold > 0.0 {
        let level = sidelobe.max(options.negativethreshold * noise);
        let deep = Array2::from_shape_fn(residual.dim(), |i| allowed[i] && f64::from(residual[i]) < -level);
        join(&mut mask, &smoothed(&pruned(&deep, smallest), facts.beam, options));
    }
    join(&mut mask, old);
    ndarray::Zip::from(&mut mask).and(allowed).for_each(|m, a| *m &= a);
    mask
}

fn join(mask: &mut Array2<bool>, other: &Array2<bool>) {
    ndarray::Zip::from(mask).and(other).for_each(|m, o| *m |= o);
}

/// The mask smoothed with the beam and cut.
fn smoothed(mask: &Array2<bool>, beam: Beam, options: &AutoMaskOptions) -> Array2<bool> {
    if options.smoothfactor <= 0.0 || !mask.iter().any(|m| *m) {
        return mask.clone();
    }
    let k = options.smoothfactor;
    let Ok(beam) = Beam::new(k * beam.bmaj_rad(), k * beam.bmin_rad(), beam.bpa_rad()) else { return mask.clone() };
    let wide = smooth(mask.mapv(|m| f32::from(u8::from(m))).view(), beam, 1.0);
    let top = wide.iter().copied().fold(0f32, f32::max);
    wide.mapv(|v| v > options.cutthreshold as f32 * top)
}

/// Connected regions (by edges) of at least `smallest` pixels.
fn pruned(mask: &Array2<bool>, smallest: f64) -> Array2<bool> {
    let mut out = mask.clone();
    let mut seen = Array2::from_elem(mask.dim(), false);
    for start in mask.indexed_iter().filter(|(_, m)| **m).map(|(i, _)| i) {
        if seen[start] {
            continue;
        }
        let region = region_of(mask, start, &mut seen);
        if (region.len() as f64) < smallest {
            region.into_iter().for_each(|i| out[i] = false);
        }
    }
    out
}

fn region_of(mask: &Array2<bool>, start: (usize, usize), seen: &mut Array2<bool>) -> Vec<(usize, usize)> {
    let mut open = vec![start];
    let mut region = Vec::new();
    seen[start] = true;
    while let Some(i) = open.pop() {
        region.push(i);
        for j in neighbors(i, mask.dim()) {
            if mask[j] && !seen[j] {
                seen[j] = true;
                open.push(j);
            }
        }
    }
    region
}

fn neighbors((y, x): (usize, usize), (ny, nx): (usize, usize)) -> impl Iterator<Item = (usize, usize)> {
    [(y.wrapping_sub(1), x), (y + 1, x), (y, x.wrapping_sub(1)), (y, x + 1)].into_iter().filter(move |(y, x)| *y < ny && *x < nx)
}

/// What is reached from the seeds inside the constraint, in so many steps of one pixel, and the seeds that lie inside it: what was
/// masked before and has been cleaned away does not spread when the result is smoothed.
fn grown(seed: &Array2<bool>, constraint: &Array2<bool>, steps: u64) -> Array2<bool> {
    let mut mask = seed.clone();
    let mut front: Vec<(usize, usize)> = seed.indexed_iter().filter(|(_, m)| **m).map(|(i, _)| i).collect();
    for _ in 0..steps {
        let mut next = Vec::new();
        for i in front {
            for j in neighbors(i, mask.dim()) {
                if constraint[j] && !mask[j] {
                    mask[j] = true;
                    next.push(j);
                }
            }
        }
        if next.is_empty() {
            break;
        }
        front = next;
    }
    ndarray::Zip::from(&mut mask).and(constraint).for_each(|m, c| *m &= c);
    mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_distr::{Distribution, Normal};

    fn field() -> Array2<f32> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(2);
        let normal = Normal::new(0.0f32, 1.0).unwrap();
        let mut noise = Array2::from_shape_fn((96, 96), |_| normal.sample(&mut rng));
        noise = smooth(noise.view(), Beam::round(4.0).unwrap(), 1.0).mapv(|v| v / 2.4);
        for ((y, x), v) in noise.indexed_iter_mut() {
            let r2 = (x as f32 - 40.0).powi(2) + (y as f32 - 50.0).powi(2);
            *v += 25.0 * (-r2 / 60.0).exp();
        }
        noise
    }

    fn facts(first_cycle: bool) -> PlaneFacts {
        PlaneFacts { sidelobe: 0.1, beam: Beam::round(4.0).unwrap(), first_cycle }
    }

    #[test]
    fn the_source_is_masked_and_the_noise_is_not() {
        let field = field();
        let (none, all) = (Array2::from_elem((96, 96), false), Array2::from_elem((96, 96), true));
        let first = next_mask(&none, field.view(), &all, facts(true), &AutoMaskOptions::default());
        assert!(first[[50, 40]] && !first[[10, 10]] && !first[[80, 80]]);
        let covered = first.iter().filter(|m| **m).count();
        assert!((100..1500).contains(&covered), "{covered}");
        let second = next_mask(&first, field.view(), &all, facts(false), &AutoMaskOptions { sidelobethreshold: 0.0, ..Default::default() });
        assert!(first.iter().zip(&second).all(|(a, b)| !a || *b), "a mask never shrinks");
        assert!(second.iter().filter(|m| **m).count() > covered);
        // Once the source is cleaned away there is nothing to grow into: the mask stays as it is.
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let normal = Normal::new(0.0f32, 1.0).unwrap();
        let noise = Array2::from_shape_fn((96, 96), |_| normal.sample(&mut rng));
        let last = next_mask(&second, noise.view(), &all, facts(false), &AutoMaskOptions { lownoisethreshold: 3.5, ..Default::default() });
        let grown_by = last.iter().filter(|m| **m).count() - second.iter().filter(|m| **m).count();
        assert!(grown_by < 40, "{grown_by}");
    }

    #[test]
    fn small_regions_and_forbidden_places_are_left_out() {
        let mut field = Array2::zeros((40, 40));
        field[[20, 20]] = 100.0;
        field[[5, 5]] = 1.0;
        let (none, all) = (Array2::from_elem((40, 40), false), Array2::from_elem((40, 40), true));
        let got = next_mask(&none, field.view(), &all, facts(true), &AutoMaskOptions::default());
        assert!(got.iter().all(|m| !m), "one pixel is less than a third of a beam");
        let half = Array2::from_shape_fn((40, 40), |(_, x)| x < 10);
        let got = next_mask(&none, field.view(), &half, facts(true), &AutoMaskOptions { minbeamfrac: 0.0, ..Default::default() });
        assert!(got.indexed_iter().all(|(i, m)| !m || half[i]));
    }

    #[test]
    fn growth_follows_the_constraint() {
        let mut seed = Array2::from_elem((5, 20), false);
        seed[[2, 2]] = true;
        let corridor = Array2::from_shape_fn((5, 20), |(y, x)| y == 2 && x != 12);
        let got = grown(&seed, &corridor, 75);
        assert_eq!(got.iter().filter(|m| **m).count(), 12);
        assert_eq!(grown(&seed, &corridor, 3).iter().filter(|m| **m).count(), 6);
        seed[[0, 0]] = true;
        assert!(!grown(&seed, &corridor, 3)[[0, 0]], "a seed outside the constraint");
    }
}
