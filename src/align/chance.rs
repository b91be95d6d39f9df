//! Whether the best match of a field can be chance.
//!
//! Two sets that do not show the same source have cross spectra of random phase. A place x then has M = Σ a cos θ with
//! a = w |R| |C| and θ anywhere, and Chernoff's bound holds for any number of cells, strong or weak:
//! P(M) <= exp(-max_t [t M - Σ ln I0(t a)]). Times the number of independent places in the field (the expected number of maxima
//! of a Gaussian field of the same gradients; Bardeen et al. 1986, ApJ 304, 15, in two dimensions), it is the number of matches as good
//! that chance brings.

use std::f64::consts::{PI, TAU};

use super::pair::Pair;

/// What chance could do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Chance {
    /// The bound on the probability, as the sigma of a Gaussian: P = exp(-significance²/2).
    pub significance: f64,
    /// Independent places in the field that was searched.
    pub places: f64,
    /// Matches as good that random phases bring in the field.
    pub expected: f64,
}

impl Chance {
    pub const NONE: Chance = Chance { significance: 0.0, places: 1.0, expected: 1.0 };
}

/// The chance of a match as good as that at `x` (cells with weight `w`), within `area` rad².
pub(super) fn chance(pairs: &[Pair], x: [f64; 2], weight: impl Fn(&Pair) -> f64, area: f64) -> Chance {
    let (mut matched, mut total, mut moments) = (0.0, 0.0, [0.0; 3]);
    let mut strength = Vec::with_capacity(pairs.len());
    for p in pairs {
        let product = weight(p) * p.reference.conj() * p.block;
        let (a, turn) = (product.norm(), TAU * (p.u * x[0] + p.v * x[1]));
        matched += product.re * turn.cos() + product.im * turn.sin();
        total += a * a;
        for (m, uv) in moments.iter_mut().zip([p.u * p.u, p.u * p.v, p.v * p.v]) {
            *m += a * a * uv;
        }
        strength.push(a);
    }
    if !(matched > 0.0 && total > 0.0) {
        return Chance::NONE;
    }
    let exponent = |t: f64| t * matched - strength.iter().map(|a| ln_i0(t * a)).sum::<f64>();
    // Any t bounds the probability; the best one is at or beyond that of a Gaussian sum.
    let mut t = 2.0 * matched / total;
    let mut best = exponent(t);
    for _ in 0..40 {
        t *= 1.4;
        let next = exponent(t);
        if next <= best {
            break;
        }
        best = next;
    }
    let significance = (2.0 * best.max(0.0)).sqrt();
    let [uu, uv, vv] = moments.map(|m| m / total);
    let places = (area * (TAU * (uu * vv - uv * uv).max(0.0)).sqrt() * significance).max(1.0);
    Chance { significance, places, expected: places * (-best).exp() }
}

/// ln I0(x), x >= 0, to 2e-7 (Abramowitz & Stegun 9.8.1, 9.8.2).
fn ln_i0(x: f64) -> f64 {
    let sum = |c: &[f64], t: f64| c.iter().rev().fold(0.0, |s, c| s * t + c);
    if x < 3.75 {
        let t = (x / 3.75).powi(2);
        sum(&[1.0, 3.5156229, 3.0899424, 1.2067492, 0.2659732, 0.0360768, 0.0045813], t).ln()
    } else {
        let c = [0.39894228, 0.01328592, 0.00225319, -0.00157565, 0.00916281, -0.02057706, 0.02635537, -0.01647633, 0.00392377];
        x - 0.5 * x.ln() + sum(&c, 3.75 / x).ln()
    }
}

/// The area of a disc, or of the whole image field of cells of this size, rad².
pub(super) fn searched_area(radius_rad: f64, cell_lambda: f64) -> f64 {
    (PI * radius_rad * radius_rad).min(1.0 / (cell_lambda * cell_lambda))
}

#[cfg(test)]
mod tests {
    use num_complex::Complex64;

    use super::*;

    #[test]
    fn the_bessel_function_is_that_of_its_series_and_of_its_asymptote() {
        let series = |x: f64| {
            let (mut term, mut sum) = (1.0, 1.0);
            for k in 1..200 {
                term *= (0.5 * x / k as f64).powi(2);
                sum += term;
            }
            f64::ln(sum)
        };
        for x in [0.0, 0.1, 1.0, 3.7, 3.8, 10.0, 50.0] {
            assert!((ln_i0(x) - series(x)).abs() < 1e-6, "{x}");
        }
    }

    /// Random phases: the best of a field is expected about once; aligned phases never.
    #[test]
    fn random_phases_are_chance_and_equal_phases_are_not() {
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let (mut least, mut sum) = (f64::INFINITY, 0.0);
        for _ in 0..20 {
            let pairs: Vec<Pair> = (0..60)
                .map(|_| Pair {
                    ku: 0,
                    kv: 0,
                    u: 200.0 * (next() - 0.5),
                    v: 100.0 * next(),
                    reference: Complex64::new(1.0 + next(), 0.0),
                    block: Complex64::cis(TAU * next()),
                    var_reference: 0.1,
                    var_block: 0.1,
                })
                .collect();
            let height = |x: [f64; 2]| {
                pairs.iter().map(|p| (p.reference.conj() * p.block * Complex64::cis(-TAU * (p.u * x[0] + p.v * x[1]))).re).sum::<f64>()
            };
            let side = 240;
            let place = |k: usize| [(k % side) as f64 / side as f64 * 0.5, (k / side) as f64 / side as f64 * 0.5];
            let best = (0..side * side).map(place).max_by(|a, b| height(*a).total_cmp(&height(*b))).unwrap();
            let found = chance(&pairs, best, |_| 1.0, 0.25);
            least = f64::min(least, found.expected);
            sum += found.expected;
            let aligned: Vec<Pair> = pairs.iter().map(|p| Pair { block: Complex64::new(1.0, 0.0), ..*p }).collect();
            assert!(chance(&aligned, [0.0; 2], |_| 1.0, 0.25).expected < 1e-12);
        }
        // The mean of the expected number over best places is about 1; its least of 20 is not far below 1/20.
        assert!(least > 2e-3 && sum / 20.0 > 0.3 && sum / 20.0 < 5.0, "{least} {}", sum / 20.0);
    }
}
