//! Amplitude and phase against uv distance, of a block and the reference, before and after the shift.

use super::{OffsetMas, alt_number};
use crate::error::Result;
use crate::plot::canvas::Stroke;
use crate::plot::color::{Rgb, series_color};
use crate::plot::mark::{Band, Corner, Line, Note, Points, Rule, Symbol};
use crate::plot::text::verbatim;
use crate::plot::ticks::compact;
use crate::plot::{Axis, Figure, Legend, Panel, Plot, Row, theme};

/// Mean visibility in a ring of the uv plane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProfileBin {
    /// Mean uv distance, kλ.
    pub uv_klambda: f64,
    /// Amplitude.
    pub amplitude: f64,
    /// One-sigma error of the amplitude.
    pub sigma_amplitude: f64,
    /// Phase, degrees.
    pub phase_deg: f64,
    /// One-sigma error of the phase, degrees.
    pub sigma_phase_deg: f64,
}

/// A block against the reference in rings of the uv plane.
#[derive(Debug, Clone)]
pub struct UvProfileFigure {
    /// Name of the reference.
    pub reference_name: String,
    /// Name of the block.
    pub block_name: String,
    /// Unit of the amplitude: `Jy` or `mJy`.
    pub unit: String,
    /// The reference.
    pub reference: Vec<ProfileBin>,
    /// The block as it came.
    pub before: Vec<ProfileBin>,
    /// The block after its shift.
    pub after: Vec<ProfileBin>,
    /// Offset that was taken out.
    pub offset: Option<OffsetMas>,
}

/// Which number of a bin, and its error.
type Pick = fn(&ProfileBin) -> (f64, f64);

const AMPLITUDE: Pick = |b| (b.amplitude, b.sigma_amplitude);
const PHASE: Pick = |b| (b.phase_deg, b.sigma_phase_deg);

/// A line of phases that goes out at one edge and comes in at the other where it is shorter that way.
fn wrapped(line: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let mut out: Vec<[f64; 2]> = Vec::with_capacity(line.len());
    for [x, phase] in line {
        if let Some([x0, before]) = out.last().copied().filter(|p| (phase - p[1]).abs() > 180.0) {
            let edge = 180.0_f64.copysign(before);
            let share = (edge - before) / (phase + 2.0 * edge - before);
            let middle = x0 * (x / x0).powf(share);
            out.extend([[middle, edge], [f64::NAN; 2], [middle, -edge]]);
        }
        out.push([*x, *phase]);
    }
    out
}

impl Plot for UvProfileFigure {
    fn figure(&self) -> Result<Figure> {
        let rows = [Row::Ratio(0.72), Row::Ratio(0.48)];
        let mut figure = Figure::new(theme::WIDTH, &[1.0, 1.0], &rows);
        for (column, bins) in [&self.before, &self.after].into_iter().enumerate() {
            let title = if column == 0 { "Before the shift" } else { "After the shift" };
            let mut amplitude = self.panel(bins, AMPLITUDE, false, self.amplitude_axis()).title(title);
            let mut phase = self.panel(bins, PHASE, true, self.phase_axis()).legend(Legend::Off);
            amplitude.x.labelled = false;
            if column == 1 {
                (amplitude.y.labelled, phase.y.labelled) = (false, false);
                amplitude.legend = Legend::Off;
            }
            if let (0, Some(offset)) = (column, self.offset) {
                phase = phase.with(Note::corner(Corner::BottomLeft, offset.lines()));
            }
            figure = figure.place(0, column, amplitude).place(1, column, phase);
        }
        Ok(figure)
    }

    fn alt(&self) -> String {
        let scatter = |bins: &[ProfileBin]| {
            let (sum, n) =
                bins.iter().filter(|b| b.phase_deg.is_finite()).fold((0.0, 0), |(s, n), b| (s + b.phase_deg * b.phase_deg, n + 1));
            if n > 0 { compact((sum / f64::from(n)).sqrt(), 2) } else { "n/a".into() }
        };
        alt_number(&format!(
            "Amplitude and phase against uv distance of {} and the reference {}: rms phase {} degrees before the shift, {} after.",
            self.block_name,
            self.reference_name,
            scatter(&self.before),
            scatter(&self.after)
        ))
    }
}

impl UvProfileFigure {
    fn all(&self) -> impl Iterator<Item = &ProfileBin> {
        self.reference.iter().chain(&self.before).chain(&self.after)
    }

    /// uv distance: logarithmic where it spans more than a factor of 30, the same in all panels.
    fn x_axis(&self) -> Axis {
        let label = "$uv$ distance (kλ)";
        let shown = |b: &&ProfileBin| b.uv_klambda > 0.0 && b.uv_klambda.is_finite();
        let (lo, hi) = self.all().filter(shown).fold((f64::MAX, 0.0_f64), |(lo, hi), b| (lo.min(b.uv_klambda), hi.max(b.uv_klambda)));
        if hi > 30.0 * lo {
            Axis::log(label).range(0.8 * lo, 1.25 * hi)
        } else if hi > 0.0 {
            Axis::new(label).range(0.0, 1.05 * hi)
        } else {
            Axis::new(label)
        }
    }

    /// Logarithmic if well-measured amplitudes span more than a factor of 20.
    fn amplitude_axis(&self) -> Axis {
        let label = format!("Amplitude ({})", verbatim(&self.unit));
        let sure: Vec<f64> = self.all().filter(|b| b.amplitude > 3.0 * b.sigma_amplitude).map(|b| b.amplitude).collect();
        let (lo, hi) = sure.iter().fold((f64::MAX, 0.0_f64), |(lo, hi), a| (lo.min(*a), hi.max(*a)));
        if hi > 20.0 * lo { Axis::log(label).range(0.4 * lo, 1.7 * hi) } else { self.shared(Axis::new(label), AMPLITUDE, true) }
    }

    fn phase_axis(&self) -> Axis {
        let axis = self.shared(Axis::new("Phase (deg)"), PHASE, false);
        let half = axis.range.map_or(1.0, |(lo, hi)| lo.abs().max(hi.abs())).clamp(1.0, 190.0);
        axis.range(-half, half)
    }

    /// The range that all panels of a row need: values with their errors, as far as these are not larger than the values' spread.
    fn shared(&self, axis: Axis, pick: Pick, from_zero: bool) -> Axis {
        let finite: Vec<(f64, f64)> = self.all().map(pick).filter(|(v, _)| v.is_finite()).collect();
        let (lo, hi) = finite.iter().fold((f64::MAX, f64::MIN), |(lo, hi), (v, _)| (lo.min(*v), hi.max(*v)));
        let reach = |s: f64| if s.is_finite() { s.min(0.3 * (hi - lo)) } else { 0.0 };
        let ends = finite.iter().flat_map(|&(v, s)| [v - reach(s), v + reach(s)]).chain(from_zero.then_some(0.0));
        let (lo, hi) = axis.resolve(ends);
        axis.range(if from_zero { lo.max(-0.05 * hi) } else { lo }, hi)
    }

    fn panel(&self, bins: &[ProfileBin], pick: Pick, wraps: bool, y: Axis) -> Panel {
        let reference: Vec<[f64; 2]> = self.reference.iter().map(|b| [b.uv_klambda, pick(b).0]).collect();
        let reference = if wraps { wrapped(&reference) } else { reference };
        let band = self.reference.iter().map(|b| [b.uv_klambda, pick(b).0 - pick(b).1, pick(b).0 + pick(b).1]).collect();
        let points = bins.iter().map(|b| [b.uv_klambda, pick(b).0]).collect();
        let line = Line::new(reference, Rgb::INK)
            .stroke(Stroke::new(Rgb::INK, 1.4))
            .key(format!("{} (reference)", verbatim(&self.reference_name)));
        let mark = Points::new(points, series_color(1)).y_errors(bins.iter().map(|b| pick(b).1)).symbol(Symbol::Circle).radius(3.6);
        let mark = mark.key(verbatim(&self.block_name));
        let zero = Rule { counts: false, ..Rule::y(0.0).stroke(Stroke::new(Rgb::PALE, 1.0)) };
        Panel::new(self.x_axis(), y).with(zero).with(Band::new(band, Rgb::GREY)).with(line).with(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_that_wraps_leaves_at_one_edge_and_enters_at_the_other() {
        let line = wrapped(&[[10.0, 0.0], [20.0, 170.0], [40.0, -170.0], [80.0, -20.0]]);
        assert_eq!(line.len(), 7);
        let middle = 20.0 * 2f64.sqrt();
        assert!((line[2][0] - middle).abs() < 1e-9 && line[2][1] == 180.0 && line[3][1].is_nan() && line[4][1] == -180.0, "{line:?}");
        assert_eq!(wrapped(&[[10.0, 0.0], [20.0, 170.0]]).len(), 2);
    }
}
