//! The zero-centred robust estimate of the noise: from the negative values first, then from all below a threshold.

/// 1 / Φ⁻¹(3/4): turns the median absolute value of Gaussian noise into its standard deviation.
pub(super) const MAD_TO_SIGMA: f64 = 1.482_602_218_505_602;

/// Below this many values they are sorted; above, the median is bracketed first.
const SMALL: usize = 256;

/// Noise of `values` (none NaN): 1.48 times the median of |x| over x < z s1, where s1 is that of the negative values alone
/// and z the deviation that one value in twice their number exceeds. NaN where there are no negative values.
///
/// `guess` is the noise expected; it only makes the median faster to find.
pub(super) fn zero_centred(values: &[f32], guess: f32, scratch: &mut Scratch) -> f64 {
    if values.len() > SMALL && guess.is_finite() && guess > 0.0 {
        for width in [0.05, 0.15, 0.4] {
            if let Some(sigma) = bracketed(values, guess, width, scratch) {
                return sigma;
            }
        }
    }
    direct(values, scratch)
}

/// Buffers that one thread uses again and again.
#[derive(Default)]
pub(super) struct Scratch {
    negative: Vec<f32>,
    all: Vec<f32>,
}

/// Threshold in units of sigma for `n` values: one in 2n lies above.
pub(super) fn threshold(n: u64) -> f64 {
    normal_upper_quantile(0.5 / n as f64)
}

fn direct(values: &[f32], scratch: &mut Scratch) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let negative = &mut scratch.negative;
    negative.clear();
    negative.extend(values.iter().filter(|v| **v < 0.0).map(|v| -v));
    let Some(median) = median(negative) else { return f64::NAN };
    let limit = threshold(values.len() as u64) * MAD_TO_SIGMA * median;
    let all = &mut scratch.all;
    all.clear();
    all.extend(values.iter().filter(|v| f64::from(**v) < limit).map(|v| v.abs()));
    self::median(all).map_or(f64::NAN, |m| MAD_TO_SIGMA * m)
}

/// The same numbers as [`direct`], if both medians lie within `width` of the guess; else `None`.
fn bracketed(values: &[f32], guess: f32, width: f32, scratch: &mut Scratch) -> Option<f64> {
    let center = guess / MAD_TO_SIGMA as f32;
    let (lo, hi) = (center * (1.0 - width), center * (1.0 + width));
    let (negative, all) = (&mut scratch.negative, &mut scratch.all);
    all.resize(values.len(), 0.0);
    let (mut n_neg, mut neg_below, mut below, mut n_in) = (0u32, 0u32, 0u32, 0usize);
    for v in values {
        let a = v.abs();
        let is_neg = u32::from(*v < 0.0);
        let is_below = u32::from(a < lo);
        n_neg += is_neg;
        below += is_below;
        neg_below += is_neg & is_below;
        all[n_in] = *v;
        n_in += usize::from(a >= lo && a <= hi);
    }
    all.truncate(n_in);
    negative.resize(n_in, 0.0);
    let mut n_listed = 0;
    for v in all.iter() {
        negative[n_listed] = -v;
        n_listed += usize::from(*v < 0.0);
    }
    let first = median_of_ranked(u64::from(neg_below), &mut negative[..n_listed], u64::from(n_neg))?;
    let limit = threshold(values.len() as u64) * MAD_TO_SIGMA * first;
    if limit <= f64::from(hi) {
        return None;
    }
    let n = values.iter().map(|v| u64::from(f64::from(*v) < limit)).sum();
    all.iter_mut().for_each(|v| *v = v.abs());
    Some(MAD_TO_SIGMA * median_of_ranked(u64::from(below), all, n)?)
}

/// Median of values that are not NaN, reordering them; the mean of the middle two of an even number.
pub(super) fn median(values: &mut [f32]) -> Option<f64> {
    let n = values.len() as u64;
    median_of_ranked(0, values, n)
}

/// Median of `n` values of which `below` are smaller than those listed and the rest larger; `None` if it is not in the list.
pub(super) fn median_of_ranked(below: u64, list: &mut [f32], n: u64) -> Option<f64> {
    if n == 0 {
        return None;
    }
    let (first, second) = ((n - 1) / 2, n / 2);
    if first < below || second - below >= list.len() as u64 {
        return None;
    }
    let (k, two) = ((first - below) as usize, second != first);
    let (_, a, upper) = list.select_nth_unstable_by(k, f32::total_cmp);
    let a = f64::from(*a);
    if !two {
        return Some(a);
    }
    let b = upper.iter().copied().min_by(f32::total_cmp)?;
    Some((a + f64::from(b)) / 2.0)
}

/// The deviation that a standard normal variable exceeds with probability `p`: Wichura (1988), algorithm AS 241, to 1e-15.
pub(super) fn normal_upper_quantile(p: f64) -> f64 {
    let q = 0.5 - p;
    let ratio = |num: &[f64], den: &[f64], r: f64| {
        let horner = |c: &[f64]| c.iter().rev().fold(0.0, |s, c| s * r + c);
        horner(num) / horner(den)
    };
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        return q * ratio(&A, &B, r);
    }
    let r = (-(if q < 0.0 { 1.0 - p } else { p }).ln()).sqrt();
    let x = if r <= 5.0 { ratio(&C, &D, r - 1.6) } else { ratio(&E, &F, r - 5.0) };
    x.copysign(q)
}

const A: [f64; 8] = [
    3.3871328727963666080e0,
    1.3314166789178437745e+2,
    1.9715909503065514427e+3,
    1.3731693765509461125e+4,
    4.5921953931549871457e+4,
    6.7265770927008700853e+4,
    3.3430575583588128105e+4,
    2.5090809287301226727e+3,
];
const B: [f64; 8] = [
    1.0,
    4.2313330701600911252e+1,
    6.8718700749205790830e+2,
    5.3941960214247511077e+3,
    2.1213794301586595867e+4,
    3.9307895800092710610e+4,
    2.8729085735721942674e+4,
    5.2264952788528545610e+3,
];
const C: [f64; 8] = [
    1.42343711074968357734e0,
    4.63033784615654529590e0,
    5.76949722146069140550e0,
    3.64784832476320460504e0,
    1.27045825245236838258e0,
    2.41780725177450611770e-1,
    2.27238449892691845833e-2,
    7.74545014278341407640e-4,
];
const D: [f64; 8] = [
    1.0,
    2.05319162663775882187e0,
    1.67638483018380384940e0,
    6.89767334985100004550e-1,
    1.48103976427480074590e-1,
    1.51986665636164571966e-2,
    5.47593808499534494600e-4,
    1.05075007164441684324e-9,
];
const E: [f64; 8] = [
    6.65790464350110377720e0,
    5.46378491116411436990e0,
    1.78482653991729133580e0,
    2.96560571828504891230e-1,
    2.65321895265761230930e-2,
    1.24266094738807843860e-3,
    2.71155556874348757815e-5,
    2.01033439929228813265e-7,
];
const F: [f64; 8] = [
    1.0,
    5.99832206555887937690e-1,
    1.36929880922735805310e-1,
    1.48753612908506148525e-2,
    7.86869131145613259100e-4,
    1.84631831751005468180e-5,
    1.42151175831644588870e-7,
    2.04426310338993978564e-15,
];

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};

    fn noise(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        (0..n).map(|_| StandardNormal.sample(&mut rng)).collect()
    }

    /// Known quantiles: isf(0.5) = 0, isf(0.25), isf(1e-6), isf(1e-12), from tables of the normal distribution.
    #[test]
    fn quantiles_of_the_normal_distribution() {
        for (p, x) in [(0.5, 0.0), (0.25, 0.674_489_750_196_081_7), (1e-6, 4.753_424_308_822_899), (1e-12, 7.034_483_825_301_131_5)] {
            assert!((normal_upper_quantile(p) - x).abs() < 1e-13, "{p}: {}", normal_upper_quantile(p));
            assert!((normal_upper_quantile(1.0 - p) + x).abs() < 1e-4);
        }
    }

    /// Bracketing is a way to find the same median, whatever the guess.
    #[test]
    fn a_bracket_changes_no_bit() {
        let mut scratch = Scratch::default();
        for n in [1, 2, 3, 255, 257, 1000, 4001] {
            let values = noise(n, n as u64);
            let expected = direct(&values, &mut scratch);
            for guess in [1.0, 0.9, 0.3, 20.0, f32::NAN] {
                let got = zero_centred(&values, guess, &mut scratch);
                assert!(got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan()), "{n} {guess}: {got} {expected}");
            }
        }
    }

    /// Positive emission in a tenth of the values moves the estimate by less than 10 %; 2 % is what the statistics of 10^5 allow without.
    #[test]
    fn positive_signal_hardly_raises_the_noise() {
        let mut values = noise(100_000, 3);
        let mut scratch = Scratch::default();
        assert!((zero_centred(&values, 1.0, &mut scratch) - 1.0).abs() < 0.02);
        values.iter_mut().step_by(10).for_each(|v| *v += 30.0);
        assert!((zero_centred(&values, 1.0, &mut scratch) - 1.0).abs() < 0.1);
    }

    #[test]
    fn no_negative_value_is_no_estimate() {
        assert!(zero_centred(&[], 1.0, &mut Scratch::default()).is_nan());
        assert!(zero_centred(&[1.0, 2.0], 1.0, &mut Scratch::default()).is_nan());
    }
}
