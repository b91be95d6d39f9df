//! Whether the weights of a set agree with the scatter of its data.

use std::collections::BTreeMap;

use num_complex::Complex32;
use rayon::prelude::*;

use crate::data::{VisBlock, VisSource};
use crate::error::Result;
use crate::notice::{Reporter, Warning};

/// Blocks that are looked at, spread over the set.
const MAX_BLOCKS: usize = 12;
/// Differences that are kept of each block.
const MAX_PER_BLOCK: usize = 40_000;
/// Fewer differences do not measure a factor to 10 %.
const MIN_DIFFERENCES: usize = 200;

/// Scatter of the data against their weights.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct WeightCheck {
    /// Variance of the data over 1/weight: 1 where weights are right, 4 where they are four times too large; `None` with too few data.
    pub factor: Option<f64>,
    /// Differences that were used.
    pub differences: usize,
    /// True where neighbouring channels were compared, false where it was consecutive integrations.
    pub by_channel: bool,
}

impl WeightCheck {
    /// Warns where the weights are off by more than a fifth.
    pub fn report(&self, name: &str, notice: &dyn Reporter) {
        let Some(factor) = self.factor.filter(|f| !(0.8..=1.25).contains(f)) else { return };
        let (what, off) = if factor > 1.0 { ("large", factor) } else { ("small", 1.0 / factor) };
        let message = format!(
            "{name}: weights are {off:.2} times too {what} for the scatter of the data, so that errors from the weights are {} by {:.2}",
            if factor > 1.0 { "too small" } else { "too large" },
            off.sqrt()
        );
        notice.warn(
            Warning::new("weights-off", message).hint("sigma: \"scatter\" takes errors from the scatter; statwt sets the weights anew"),
        );
    }
}

/// Compares differences of neighbouring channels (or, with one channel, of consecutive integrations) with the weights.
///
/// The median of |V1 - V2|² w1 w2/(w1 + w2) is 2 ln 2 for noise with the variance 1/w: outliers do not move it, and the
/// source drops out.
pub fn check_weights(source: &dyn VisSource, notice: &dyn Reporter) -> Result<WeightCheck> {
    let n = source.n_blocks();
    let step = n.div_ceil(MAX_BLOCKS).max(1);
    let chosen: Vec<usize> = (0..n).step_by(step).collect();
    notice.check()?;
    let read = |i: &usize| -> Result<(bool, Vec<f64>)> {
        let block = source.read_block(*i)?;
        let by_channel = block.freq_hz.len() > 1;
        Ok((by_channel, if by_channel { channel_differences(&block) } else { time_differences(&block) }))
    };
    let parts = chosen.par_iter().map(read).collect::<Result<Vec<_>>>()?;
    let by_channel = parts.iter().any(|p| p.0);
    let mut all: Vec<f64> = parts.into_iter().filter(|p| p.0 == by_channel).flat_map(|p| p.1).collect();
    let differences = all.len();
    let factor = (differences >= MIN_DIFFERENCES).then(|| {
        let (_, median, _) = all.select_nth_unstable_by(differences / 2, f64::total_cmp);
        *median / (2.0 * std::f64::consts::LN_2)
    });
    Ok(WeightCheck { factor, differences, by_channel })
}

/// A usable sample of a cross-correlation: visibility and weight.
fn sample(block: &VisBlock, row: usize, chan: usize, corr: usize) -> Option<(Complex32, f64)> {
    let weight = block.weight.get(row, chan, corr) as f64;
    let vis = block.vis_rfc[[row, chan, corr]];
    let usable = !block.flag_rfc[[row, chan, corr]] && weight > 0.0 && weight.is_finite() && vis.re.is_finite() && vis.im.is_finite();
    (usable && block.antenna1[row] != block.antenna2[row]).then_some((vis, weight))
}

fn difference((a, wa): (Complex32, f64), (b, wb): (Complex32, f64)) -> f64 {
    (a - b).norm_sqr() as f64 * wa * wb / (wa + wb)
}

fn channel_differences(block: &VisBlock) -> Vec<f64> {
    let mut out = Vec::new();
    let per_row = (block.freq_hz.len() / 2 * block.corr.len()).max(1);
    let step = (block.row.len() * per_row / MAX_PER_BLOCK).max(1);
    for row in (0..block.row.len()).step_by(step) {
        for corr in 0..block.corr.len() {
            // Pairs do not overlap, so that the differences are independent.
            for chan in (1..block.freq_hz.len()).step_by(2) {
                if let (Some(a), Some(b)) = (sample(block, row, chan - 1, corr), sample(block, row, chan, corr)) {
                    out.push(difference(a, b));
                }
            }
        }
    }
    out
}

fn time_differences(block: &VisBlock) -> Vec<f64> {
    let mut out = Vec::new();
    let mut last: BTreeMap<(i32, i32), usize> = BTreeMap::new();
    for row in 0..block.row.len() {
        if out.len() >= MAX_PER_BLOCK {
            break;
        }
        let baseline = (block.antenna1[row], block.antenna2[row]);
        match last.remove(&baseline) {
            Some(before) => {
                for corr in 0..block.corr.len() {
                    if let (Some(a), Some(b)) = (sample(block, before, 0, corr), sample(block, row, 0, corr)) {
                        out.push(difference(a, b));
                    }
                }
            }
            None => {
                last.insert(baseline, row);
            }
        }
    }
    out
}
