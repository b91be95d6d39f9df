//! One axis of a panel: what it says, what range it shows, and the map from values to places on the page.

use super::ticks::{self, Tick, Ticks};

/// How values spread along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// In proportion.
    Linear,
    /// Logarithmic: only positive values are shown.
    Log,
}

/// An axis of a panel.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// Quantity and unit, with markup: `"Baseline (kλ)"`.
    pub label: String,
    /// Values at the left (bottom) and right (top) end, in this order: `(5, -5)` runs backwards. From the marks if `None`.
    pub range: Option<(f64, f64)>,
    /// Scale.
    pub scale: Scale,
    /// Runs backwards when the range comes from the marks.
    pub flip: bool,
    /// Writes numbers and label; off for inner panels that share the axis of a neighbour.
    pub labelled: bool,
    /// Draws ticks.
    pub ticked: bool,
    /// Names at 0, 1, 2 ... in place of numbers.
    pub names: Vec<String>,
    /// Free space beyond the marks as a fraction of their range, when the range comes from the marks.
    pub pad: f64,
}

impl Axis {
    /// A linear axis with its range from the marks.
    pub fn new(label: impl Into<String>) -> Axis {
        Axis {
            label: label.into(),
            range: None,
            scale: Scale::Linear,
            flip: false,
            labelled: true,
            ticked: true,
            names: Vec::new(),
            pad: 0.05,
        }
    }
    /// A logarithmic axis with its range from the marks.
    pub fn log(label: impl Into<String>) -> Axis {
        Axis { scale: Scale::Log, ..Axis::new(label) }
    }
    /// An axis without ticks, numbers and label.
    pub fn bare() -> Axis {
        Axis { labelled: false, ticked: false, ..Axis::new("") }
    }
    /// Names from the left to the right, or from the top down on a vertical axis (`downwards`).
    pub fn names(names: Vec<String>, downwards: bool) -> Axis {
        let ends = (-0.5, names.len().max(1) as f64 - 0.5);
        let (from, to) = if downwards { (ends.1, ends.0) } else { ends };
        Axis { names, ticked: false, ..Axis::new("") }.range(from, to)
    }
    /// Offset on the sky to the east, which is to the left.
    pub fn ra_offset(unit: &str) -> Axis {
        Axis { flip: true, ..Axis::new(format!("ΔRA ({unit})")) }
    }
    /// Offset on the sky to the north.
    pub fn dec_offset(unit: &str) -> Axis {
        Axis::new(format!("ΔDec ({unit})"))
    }
    /// With this range, from the left (bottom) to the right (top) end.
    pub fn range(self, from: f64, to: f64) -> Axis {
        Axis { range: Some((from, to)), ..self }
    }
    /// Without numbers and label.
    pub fn unlabelled(self) -> Axis {
        Axis { labelled: false, ..self }
    }

    /// True if the axis can show the value.
    pub fn shows(&self, value: f64) -> bool {
        value.is_finite() && (self.scale == Scale::Linear || value > 0.0)
    }

    /// The range to show, given the values of the marks.
    pub fn resolve(&self, values: impl Iterator<Item = f64>) -> (f64, f64) {
        if let Some((from, to)) = self.range.filter(|&(a, b)| self.shows(a) && self.shows(b) && a != b) {
            return (from, to);
        }
        let (lo, hi) = values.filter(|v| self.shows(*v)).fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(v), hi.max(v)));
        let (lo, hi) = match self.scale {
            Scale::Linear => padded(lo, hi, self.pad),
            Scale::Log => {
                let (a, b) = if lo <= hi { (lo.log10(), hi.log10()) } else { (0.0, 1.0) };
                let (a, b) = if b - a < 1e-6 { (a - 0.5, b + 0.5) } else { padded(a, b, self.pad) };
                (10f64.powf(a), 10f64.powf(b))
            }
        };
        if self.flip { (hi, lo) } else { (lo, hi) }
    }

    /// Ticks for a range, at most `most` labelled intervals.
    pub fn ticks(&self, range: (f64, f64), most: f64) -> Ticks {
        match self.scale {
            _ if !self.names.is_empty() => {
                let named = |(i, name): (usize, &String)| Tick { at: i as f64, label: name.clone() };
                Ticks { major: self.names.iter().enumerate().map(named).collect(), ..Ticks::default() }
            }
            _ if !self.ticked => Ticks::default(),
            Scale::Linear => ticks::linear(range.0, range.1, most),
            Scale::Log => ticks::log(range.0, range.1, most),
        }
    }

    /// The label with the power of ten that its ticks left out: `(Jy)` becomes `(10^{-3} Jy)`.
    pub fn label_with(&self, exponent: i32) -> String {
        match (exponent, self.label.rfind('(')) {
            (0, _) => self.label.clone(),
            (e, Some(at)) => format!("{}({} {}", &self.label[..at], ticks::power_of_ten(e), &self.label[at + 1..]),
            (e, None) => format!("{} ({})", self.label, ticks::power_of_ten(e)),
        }
    }
}

/// A range with free space on both sides; never empty.
fn padded(lo: f64, hi: f64, pad: f64) -> (f64, f64) {
    if lo > hi {
        return (0.0, 1.0);
    }
    let span = hi - lo;
    if span > 1e-12 * lo.abs().max(hi.abs()) {
        return (lo - pad * span, hi + pad * span);
    }
    let around = if lo == 0.0 { 1.0 } else { 0.5 * lo.abs() };
    (lo - around, hi + around)
}

/// The map from the values of an axis to places on the page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// Values at both ends.
    pub range: (f64, f64),
    /// Places of both ends, in points.
    pub ends: (f64, f64),
    /// Scale.
    pub scale: Scale,
}

impl View {
    /// Place of a value; not finite where the scale cannot show it.
    pub fn at(&self, value: f64) -> f64 {
        let f = |v: f64| match self.scale {
            Scale::Linear => v,
            Scale::Log if v > 0.0 => v.log10(),
            Scale::Log => f64::NAN,
        };
        let (a, b) = (f(self.range.0), f(self.range.1));
        self.ends.0 + (f(value) - a) / (b - a) * (self.ends.1 - self.ends.0)
    }
    /// Points of the page in a unit of a linear axis, without sign.
    pub fn per_unit(&self) -> f64 {
        ((self.ends.1 - self.ends.0) / (self.range.1 - self.range.0)).abs()
    }
}
