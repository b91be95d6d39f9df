//! One sight line: the formulas of every map and of its error.
//!
//! Sums run over the channels of the mask with data: T, sigma (independent channels unless a correlation is given), velocity v.
//! S = ΣT, dv the channel width. Errors are first-order propagation of sigma through the value, unless said otherwise.

use super::MapKind;
use crate::products::Compat;

/// Velocities and options common to all sight lines.
pub(super) struct Frame<'a> {
    /// Velocity of every channel, km/s.
    pub v: &'a [f64],
    /// Channel width, km/s.
    pub dv: f64,
    /// Correlation of the noise of channels 0, 1, 2, ... apart; `[1]` for independent channels.
    pub correlation: &'a [f64],
    pub compat: Compat,
}

/// The channels of one sight line that count.
pub(super) struct Sightline<'a> {
    pub z: &'a [u32],
    pub t: &'a [f64],
    pub s: &'a [f64],
}

/// A value and its error.
pub(super) type Pair = (f64, f64);

const NONE: Pair = (f64::NAN, f64::NAN);
/// Width of the chance to be the largest, in errors of the difference of two channels; from Monte Carlo.
const PEAK_WIDTH: f64 = 0.40;
/// The same for the velocity of the peak, and how much less than the brightest the others count there.
const VPEAK_WIDTH: f64 = 0.66;
const VPEAK_SHARE: f64 = 0.18;
const SQRT_TAU: f64 = 2.506_628_274_631_000_7;

impl Frame<'_> {
    /// Variance of Σ J T for the channels of the line: Σ J² sigma², with the correlation of neighbours; NaN where no noise is known.
    fn variance(&self, l: &Sightline<'_>, jacobian: impl Fn(usize) -> f64) -> f64 {
        let n = l.z.len();
        if self.compat == Compat::None && l.s.iter().all(|s| s.is_nan()) {
            return f64::NAN;
        }
        let mut sum = 0.0;
        for i in 0..n {
            let a = jacobian(i) * l.s[i];
            if a.is_nan() {
                continue;
            }
            sum += a * a;
            if self.correlation.len() > 1 {
                for j in i + 1..n {
                    let Some(c) = self.correlation.get((l.z[j] - l.z[i]) as usize) else { break };
                    let b = jacobian(j) * l.s[j];
                    if !b.is_nan() {
                        sum += 2.0 * c * a * b;
                    }
                }
            }
        }
        sum
    }

    fn v(&self, l: &Sightline<'_>, i: usize) -> f64 {
        self.v[l.z[i] as usize]
    }

    /// The value and error of one map; NaN where the line has no channel.
    pub(super) fn measure(&self, kind: MapKind, l: &Sightline<'_>, column: &dyn Fn(i64) -> Pair) -> Pair {
        if l.z.is_empty() {
            return NONE;
        }
        match kind {
            MapKind::Mom0 => self.mom0(l),
            MapKind::Mom1 => self.mom1(l),
            MapKind::Mom2 => self.mom2(l),
            MapKind::Ew => self.effective_width(l),
            MapKind::Vpeak => self.vpeak(l),
            MapKind::Vquad => self.vquad(l, column),
            MapKind::Tpeak => NONE,
        }
    }

    fn mom0(&self, l: &Sightline<'_>) -> Pair {
        (l.t.iter().sum::<f64>() * self.dv, self.variance(l, |_| 1.0).sqrt() * self.dv)
    }

    fn mom1(&self, l: &Sightline<'_>) -> Pair {
        let m1 = self.mean_velocity(l);
        let sum: f64 = l.t.iter().sum();
        (m1, self.variance(l, |i| self.v(l, i) - m1).sqrt() / sum.abs())
    }

    fn mean_velocity(&self, l: &Sightline<'_>) -> f64 {
        // Counted from the first channel of the line: nothing cancels at large recession velocities.
        let v0 = self.v(l, 0);
        let (s, sv) = (0..l.z.len()).fold((0.0, 0.0), |(s, sv), i| (s + l.t[i], sv + l.t[i] * (self.v(l, i) - v0)));
        v0 + sv / s
    }

    /// m2 = √(ΣT (v-m1)² / S). The variance m2² has the error e = √(Σ sigma² ((v-m1)² - m2²)²) / |S|; that of m2 is half the interval
    /// from √(m2² - e) to √(m2² + e): e / (2 m2) for good lines, and finite for lines that are hardly resolved.
    ///
    /// The PHANGS pipeline writes √e instead (km/s by its unit, far too large).
    fn mom2(&self, l: &Sightline<'_>) -> Pair {
        let m1 = self.mean_velocity(l);
        let square = |i: usize| (self.v(l, i) - m1).powi(2);
        let sum: f64 = l.t.iter().sum();
        let variance = (0..l.z.len()).map(|i| l.t[i] * square(i)).sum::<f64>() / sum;
        let of_square = match self.compat {
            Compat::Phangs if self.correlation.len() > 1 => self.variance(l, |i| square(i) / sum - variance / sum),
            _ => self.variance(l, |i| square(i) - variance) / (sum * sum),
        };
        let width = variance.sqrt();
        match self.compat {
            Compat::Phangs => (width, of_square.sqrt().sqrt()),
            Compat::None => {
                let e = of_square.sqrt();
                (width, ((variance + e).sqrt() - (variance - e).max(0.0).sqrt()) / 2.0)
            }
        }
    }

    /// I / (√2π T_max), the width of a Gaussian of the same area and peak (Heyer et al. 2001; Leroy et al. 2016).
    ///
    /// dT_max is the mean of dT over the channels that may be the largest (see [`Frame::peak_weights`]), and these are in the sum too.
    /// The PHANGS pipeline takes one channel for the peak, lacks 1/T_max² in its terms, and halves the covariance with the sum.
    fn effective_width(&self, l: &Sightline<'_>) -> Pair {
        let Some(m) = peak(l.t) else { return NONE };
        let (t, s) = (l.t[m], l.s[m]);
        let ew = l.t.iter().sum::<f64>() * self.dv / (t * SQRT_TAU);
        let unit = self.dv / SQRT_TAU;
        let variance = match self.compat {
            Compat::Phangs => self.variance(l, |_| unit / t) + (ew * ew - ew * unit) * s * s,
            Compat::None => {
                let w = self.peak_weights(l, m, PEAK_WIDTH, 1.0);
                self.variance(l, |i| (unit - ew * w[i]) / t)
            }
        };
        (ew, variance.sqrt())
    }

    /// T_max, with the error of a mean over the channels that may be the largest.
    pub(super) fn tpeak(&self, l: &Sightline<'_>) -> Pair {
        let Some(m) = peak(l.t) else { return NONE };
        let w = self.peak_weights(l, m, PEAK_WIDTH, 1.0);
        (l.t[m], self.variance(l, |i| w[i]).sqrt())
    }

    /// The velocity of the brightest channel: uniform within the channel, and among the channels that may be the largest.
    ///
    /// One spectrum does not say where between its channels the line peaks, so this is approximate: against Monte Carlo, lines of 0.7 to
    /// 4 channels (sigma) and peaks of 5 to 300 sigma, within 5 % on average over widths, and within 12 % for each width.
    /// PHANGS writes the channel width.
    fn vpeak(&self, l: &Sightline<'_>) -> Pair {
        let Some(m) = peak(l.t) else { return NONE };
        let v = self.v(l, m);
        if self.compat == Compat::Phangs {
            return (v, self.dv);
        }
        let w = self.peak_weights(l, m, VPEAK_WIDTH, VPEAK_SHARE);
        let among: f64 = (0..w.len()).map(|i| w[i] * (self.v(l, i) - v).powi(2)).sum();
        (v, (self.dv * self.dv / 12.0 + among).sqrt())
    }

    /// How likely each channel is the largest: exp(-d² / (2 k² Var d)), d its distance below the largest value, of sum 1; all but the
    /// largest times `share`.
    ///
    /// The derivative of the expected maximum by T_i is the chance that i is the largest; the Gaussian in d with the widths below stands
    /// for it. Against Monte Carlo, lines of 0.7 to 4 channels (sigma) and peaks of 5 to 300 sigma: errors of T_max within 3 %.
    fn peak_weights(&self, l: &Sightline<'_>, m: usize, k: f64, share: f64) -> Vec<f64> {
        let weight = |i: usize| {
            if i == m {
                return 1.0;
            }
            let c = self.correlation.get(l.z[i].abs_diff(l.z[m]) as usize).copied().unwrap_or(0.0);
            let var = l.s[i] * l.s[i] + l.s[m] * l.s[m] - 2.0 * c * l.s[i] * l.s[m];
            let w = share * (-(l.t[m] - l.t[i]).powi(2) / (2.0 * k * k * var)).exp();
            if w.is_nan() { 0.0 } else { w }
        };
        let mut w: Vec<f64> = (0..l.z.len()).map(weight).collect();
        let sum: f64 = w.iter().sum();
        w.iter_mut().for_each(|w| *w /= sum);
        w
    }

    /// The vertex of the parabola through the brightest channel and its neighbours.
    ///
    /// With N = T+ - T-, D = T+ + T- - 2 T_m the vertex is -N/(2D) channels from the peak; its derivatives are J± = (∓1/D + N/D²)/2 and
    /// J_m = -N/D². The PHANGS pipeline moves by twice that, takes neighbours outside the mask as 0, and writes the variance as error.
    fn vquad(&self, l: &Sightline<'_>, column: &dyn Fn(i64) -> Pair) -> Pair {
        let Some(m) = peak(l.t) else { return NONE };
        let n = self.v.len() as i64;
        if self.compat == Compat::Phangs {
            return self.vquad_phangs(l, m);
        }
        let z = i64::from(l.z[m]);
        let ((before, sb), (after, sa)) = (column(z - 1), column(z + 1));
        let (d, num) = (after + before - 2.0 * l.t[m], after - before);
        // At the end of the band, beside a blank or on a plateau there is no parabola: the channel itself.
        if z < 1 || z + 1 >= n || !(d < 0.0) {
            return (self.v[z as usize], self.dv / 12f64.sqrt());
        }
        let delta = -num / (2.0 * d);
        let z3 = [z as u32 - 1, z as u32, z as u32 + 1];
        let three = Sightline { z: &z3, t: &[before, l.t[m], after], s: &[sb, l.s[m], sa] };
        let j = [(1.0 / d + num / (d * d)) / 2.0, -num / (d * d), (-1.0 / d + num / (d * d)) / 2.0];
        let shift = delta.clamp(-0.5, 0.5);
        (self.at_channel(z as f64 + shift), self.variance(&three, |i| j[i]).sqrt() * self.dv)
    }

    fn vquad_phangs(&self, l: &Sightline<'_>, m: usize) -> Pair {
        let n = self.v.len() as i64;
        if n < 3 {
            return NONE;
        }
        let center = i64::from(l.z[m]).clamp(1, n - 2);
        let at = |z: i64| l.z.binary_search(&(z as u32)).ok().map(|i| (l.t[i], l.s[i]));
        let positive = |p: Option<Pair>| p.map_or(0.0, |(t, _)| if t.is_nan() || t < 0.0 { 0.0 } else { t });
        let (before, after) = (positive(at(center - 1)), positive(at(center + 1)));
        // The largest value, even where the centre was moved in from the end of the band.
        let middle = l.t[m];
        let (num, d) = (after - before, after + before - 2.0 * middle);
        let delta = (-num / d).clamp(-0.5, 0.5);
        let j = [-1.0 / d - num / (d * d), 2.0 * num / (d * d), 1.0 / d - num / (d * d)];
        let s = [center - 1, center, center + 1].map(|z| at(z).map_or(f64::NAN, |p| p.1));
        let mut variance: f64 = (0..3).map(|i| (j[i] * s[i]).powi(2)).sum();
        if let Some(c1) = self.correlation.get(1) {
            let c2 = self.correlation.get(2).copied().unwrap_or(0.0);
            variance += 2.0 * (c1 * j[0] * s[0] * j[1] * s[1] + c1 * j[1] * s[1] * j[2] * s[2] + c2 * j[0] * s[0] * j[2] * s[2]);
        }
        (self.at_channel(center as f64 + delta), variance.clamp(-0.5, 0.5) * self.dv)
    }

    /// Velocity between channels.
    fn at_channel(&self, z: f64) -> f64 {
        if z.is_nan() {
            return f64::NAN;
        }
        let last = self.v.len() as f64 - 1.0;
        let z = z.clamp(0.0, last);
        let i = (z.floor() as usize).min(self.v.len().saturating_sub(2));
        match self.v.get(i + 1) {
            Some(next) => self.v[i] + (next - self.v[i]) * (z - i as f64),
            None => self.v[i],
        }
    }
}

/// The first of the largest.
fn peak(t: &[f64]) -> Option<usize> {
    (0..t.len()).filter(|i| !t[*i].is_nan()).fold(None, |best, i| match best {
        Some(b) if t[i] <= t[b] => Some(b),
        _ => Some(i),
    })
}
