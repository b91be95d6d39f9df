//! From panels in a grid to frames on the page: decorations are measured, never guessed, so that nothing is cut off.

use super::axis::{Axis, View};
use super::geometry::{Point, Rect};
use super::panel::{Aspect, ColorBar, Panel, Side};
use super::text::{self, Type};
use super::theme;
use super::ticks::Ticks;

/// Space that decorations need outside a frame.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Margins {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
}

/// A panel with its frame, ranges and ticks settled.
pub(super) struct Settled {
    pub rect: Rect,
    pub x: View,
    pub y: View,
    pub x_ticks: Ticks,
    pub y_ticks: Ticks,
}

/// Space between numbers and ticks, and between numbers and label.
pub(super) const PAD: f64 = 6.0;

/// Settles a panel inside a frame.
pub(super) fn settle(panel: &Panel, frame: Rect) -> Settled {
    let points = panel.extent();
    let mut x = panel.x.resolve(points.iter().map(|p| p[0]));
    let mut y = panel.y.resolve(points.iter().map(|p| p[1]));
    let mut rect = frame;
    match panel.aspect {
        Aspect::Free => {}
        Aspect::Shrink => rect = shrink(frame, x, y),
        Aspect::Widen => (x, y) = widen(frame, x, y),
    }
    let x_view = View { range: x, ends: (rect.x0, rect.x1), scale: panel.x.scale };
    let y_view = View { range: y, ends: (rect.y1, rect.y0), scale: panel.y.scale };
    let x_ticks = ticks_that_fit(&panel.x, x, rect.width());
    let y_ticks = panel.y.ticks(y, (rect.height() / (2.5 * theme::TICK)).clamp(2.0, 8.0));
    Settled { rect, x: x_view, y: y_view, x_ticks, y_ticks }
}

/// As many ticks as have room for their labels side by side.
fn ticks_that_fit(axis: &Axis, range: (f64, f64), room: f64) -> Ticks {
    let style = Type::new(theme::TICK);
    let needs = |ticks: &Ticks| {
        let widest = ticks.major.iter().map(|t| text::width(&t.label, &style)).fold(0.0, f64::max);
        (widest + 1.3 * theme::TICK) * (ticks.major.len().max(1) - 1) as f64
    };
    let most = (room / (2.2 * theme::TICK)).clamp(1.0, 9.0) as usize;
    let choices = (1..=most).rev().map(|n| axis.ticks(range, n as f64));
    let mut last = Ticks::default();
    for ticks in choices {
        let fits = needs(&ticks) <= room;
        last = ticks;
        if fits {
            break;
        }
    }
    last
}

/// The largest frame with equal scales inside `frame`.
fn shrink(frame: Rect, x: (f64, f64), y: (f64, f64)) -> Rect {
    let ratio = ((y.1 - y.0) / (x.1 - x.0)).abs();
    let (width, height) = if frame.width() * ratio > frame.height() {
        (frame.height() / ratio, frame.height())
    } else {
        (frame.width(), frame.width() * ratio)
    };
    let [cx, cy] = frame.center();
    Rect::new(cx - width / 2.0, cy - height / 2.0, cx + width / 2.0, cy + height / 2.0)
}

type Range = (f64, f64);

/// Both ranges with equal scales, widened around their middles.
fn widen(frame: Rect, x: Range, y: Range) -> (Range, Range) {
    let scale = ((x.1 - x.0).abs() / frame.width()).max((y.1 - y.0).abs() / frame.height());
    let around = |(a, b): Range, length: f64| {
        let (middle, half) = ((a + b) / 2.0, scale * length / 2.0 * (b - a).signum());
        (middle - half, middle + half)
    };
    (around(x, frame.width()), around(y, frame.height()))
}

/// Space that the decorations of a settled panel need; `bar_length` is that of its color bar.
pub(super) fn margins(panel: &Panel, settled: &Settled, bar_length: f64) -> Margins {
    let style = Type::new(theme::TICK);
    let mut m = Margins { left: 2.0, right: 2.0, top: 2.0, bottom: 2.0 };
    if panel.y.labelled {
        let label = if panel.y.label.is_empty() { 0.0 } else { PAD + 1.1 * theme::LABEL };
        m.left = m.left.max(PAD + widest(&settled.y_ticks) + label);
        for tick in &settled.y_ticks.major {
            let at = settled.y.at(tick.at);
            m.top = m.top.max(0.5 * theme::TICK - (at - settled.rect.y0));
            m.bottom = m.bottom.max(0.5 * theme::TICK - (settled.rect.y1 - at));
        }
    }
    if panel.x.labelled {
        let numbers = if panel.x.ticked { PAD + theme::TICK } else { 0.0 };
        let label = if panel.x.label.is_empty() { 0.0 } else { PAD + 1.1 * theme::LABEL };
        m.bottom = m.bottom.max(numbers + label);
        for tick in &settled.x_ticks.major {
            let half = text::width(&tick.label, &style) / 2.0;
            let at = settled.x.at(tick.at);
            m.left = m.left.max(half - (at - settled.rect.x0));
            m.right = m.right.max(half - (settled.rect.x1 - at));
        }
    }
    if panel.title.is_some() {
        m.top = m.top.max(1.6 * theme::TITLE);
    }
    if let Some(bar) = &panel.bar {
        let thick = theme::GAP * 0.6 + theme::BAR + PAD;
        match bar.side {
            Side::Right => m.right = m.right.max(thick + widest(&bar_ticks(bar, bar_length)) + PAD + 1.2 * theme::LABEL),
            Side::Top => m.top += thick + theme::TICK + PAD + 1.2 * theme::LABEL,
        }
    }
    m
}

impl Margins {
    /// The larger of two on each side.
    pub fn max(self, other: Margins) -> Margins {
        Margins {
            left: self.left.max(other.left),
            right: self.right.max(other.right),
            top: self.top.max(other.top),
            bottom: self.bottom.max(other.bottom),
        }
    }
}

/// Width of the widest label.
pub(super) fn widest(ticks: &Ticks) -> f64 {
    let style = Type::new(theme::TICK);
    ticks.major.iter().map(|t| text::width(&t.label, &style)).fold(0.0, f64::max)
}

/// Ticks of a color bar of this length: even values first, then what still has room on the stretched scale.
pub(super) fn bar_ticks(bar: &ColorBar, length: f64) -> Ticks {
    use super::color::Stretch;
    let norm = &bar.norm;
    let upright = bar.side == Side::Right;
    let room = if upright { 2.2 * theme::TICK } else { 3.6 * theme::TICK };
    match norm.stretch {
        Stretch::Linear => super::ticks::linear(norm.lo, norm.hi, (length / room).clamp(2.0, 7.0)),
        Stretch::Log => super::ticks::log(norm.lo, norm.hi, (length / room).clamp(2.0, 8.0)),
        _ => super::ticks::stretched(norm.lo, norm.hi, &|v| norm.to_unit(v) * length, room),
    }
}

/// Panels in a grid.
pub(super) struct Cells<'a> {
    pub width: f64,
    pub gap: f64,
    pub columns: &'a [f64],
    pub rows: &'a [super::figure::Row],
    pub places: Vec<[usize; 4]>,
    pub top: f64,
}

impl Cells<'_> {
    /// Frames of all panels for given margins, and the height of the page.
    pub fn frames(&self, margins: &[Margins]) -> (Vec<Rect>, f64) {
        let most = |start: bool, axis: usize, i: usize, of: fn(&Margins) -> f64| {
            let touches = |p: &[usize; 4]| if start { p[axis] == i } else { p[axis] + p[axis + 2] - 1 == i };
            self.places.iter().zip(margins).filter(|(p, _)| touches(p)).map(|(_, m)| of(m)).fold(0.0, f64::max)
        };
        let n_col = self.columns.len();
        let left: Vec<f64> = (0..n_col).map(|c| most(true, 1, c, |m| m.left)).collect();
        let right: Vec<f64> = (0..n_col).map(|c| most(false, 1, c, |m| m.right)).collect();
        let spare = self.width - 2.0 * theme::BORDER - self.gap * (n_col - 1) as f64 - left.iter().chain(&right).sum::<f64>();
        let per_weight = spare.max(20.0 * n_col as f64) / self.columns.iter().sum::<f64>();
        let columns = stack(theme::BORDER, self.gap, &left, &self.columns.iter().map(|w| w * per_weight).collect::<Vec<_>>(), &right);

        let n_row = self.rows.len();
        let top: Vec<f64> = (0..n_row).map(|r| most(true, 0, r, |m| m.top)).collect();
        let bottom: Vec<f64> = (0..n_row).map(|r| most(false, 0, r, |m| m.bottom)).collect();
        let first = columns.first().map_or(100.0, |c| c[1] - c[0]);
        let heights: Vec<f64> = self.rows.iter().map(|r| r.height(first)).collect();
        let rows = stack(theme::BORDER + self.top, self.gap, &top, &heights, &bottom);
        let frame = |p: &[usize; 4]| Rect::new(columns[p[1]][0], rows[p[0]][0], columns[p[1] + p[3] - 1][1], rows[p[0] + p[2] - 1][1]);
        let page = rows.last().map_or(100.0, |r| r[1]) + bottom.last().copied().unwrap_or(0.0) + theme::BORDER;
        (self.places.iter().map(frame).collect(), page)
    }
}

/// Starts and ends of lengths one after the other, each with space before and after.
fn stack(start: f64, gap: f64, before: &[f64], lengths: &[f64], after: &[f64]) -> Vec<Point> {
    let mut at = start;
    let mut ends = Vec::with_capacity(lengths.len());
    for ((b, length), a) in before.iter().zip(lengths).zip(after) {
        at += b;
        ends.push([at, at + length]);
        at += length + a + gap;
    }
    ends
}
