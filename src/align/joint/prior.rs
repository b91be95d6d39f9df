//! The radial power of the visibilities: where the data hold signal, and how strong the image may be at each scale.

use super::compress::Cells;

const N_BINS: usize = 16;

/// Power of the visibilities in logarithmic bins of baseline length.
#[derive(Debug, Clone)]
pub(super) struct RadialPower {
    /// Baseline of each bin (geometric middle), wavelengths.
    q: Vec<f64>,
    /// Mean |V|² less the noise, Jy².
    power: Vec<f64>,
    /// Outer edge of the last bin with signal.
    pub last_edge: f64,
}

impl RadialPower {
    /// Bins the cells of all blocks up to `max_uv`; `None` where no bin has signal.
    pub fn of(blocks: &[&Cells], max_uv: f64) -> Option<RadialPower> {
        let all = || blocks.iter().flat_map(|b| (0..b.len()).map(move |i| (b.uv(i), b.weight[i], b.vis[i].norm_sqr())));
        let longest = all().map(|c| c.0).filter(|q| *q <= max_uv).fold(0.0, f64::max) * (1.0 + 1e-9);
        let shortest = all().map(|c| c.0).fold(f64::INFINITY, f64::min).max(1e-4 * longest);
        let width = (longest / shortest).ln() / N_BINS as f64;
        let bin = |q: f64| (((q / shortest).ln() / width).max(0.0) as usize).min(N_BINS - 1);
        let (mut weight, mut signal, mut count) = ([0.0; N_BINS], [0.0; N_BINS], [0.0; N_BINS]);
        for (q, w, power) in all().filter(|c| c.0 <= longest) {
            let i = bin(q);
            weight[i] += w;
            signal[i] += w * power - 2.0;
            count[i] += 1.0;
        }
        let has_signal = |i: usize| count[i] > 0.0 && signal[i] > 3.0 * 2.0 * f64::sqrt(count[i]);
        let last = (0..N_BINS).rev().find(|i| has_signal(*i))?;
        let (mut q, mut power) = (Vec::new(), Vec::new());
        let mut previous = f64::INFINITY;
        for i in (0..N_BINS).filter(|i| count[*i] > 0.0) {
            let (estimate, sigma) = (signal[i] / weight[i], 2.0 * count[i].sqrt() / weight[i]);
            previous = if has_signal(i) { estimate } else { previous.min(estimate.max(0.0) + sigma) };
            q.push(shortest * ((i as f64 + 0.5) * width).exp());
            power.push(previous);
        }
        Some(RadialPower { q, power, last_edge: shortest * ((last as f64 + 1.0) * width).exp() })
    }

    /// Power at a baseline, log-log interpolated, constant beyond the ends.
    pub fn at(&self, q: f64) -> f64 {
        let i = self.q.partition_point(|x| *x < q);
        if i == 0 {
            return self.power[0];
        }
        if i == self.q.len() {
            return self.power[i - 1];
        }
        let t = (q / self.q[i - 1]).ln() / (self.q[i] / self.q[i - 1]).ln();
        (self.power[i - 1].ln() * (1.0 - t) + self.power[i].ln() * t).exp()
    }
}
