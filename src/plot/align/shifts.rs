//! The shift that each block needs, before and after, and what it means in units of its beam.

use super::{OffsetMas, alt_number, with_error};
use crate::error::Result;
use crate::plot::canvas::Stroke;
use crate::plot::color::{Rgb, series_color};
use crate::plot::geometry::{Point, Rect};
use crate::plot::mark::{Beam, EllipseMark, Line, Note, Points, Rule, Symbol};
use crate::plot::text::{self, Align, Type, verbatim};
use crate::plot::ticks::compact;
use crate::plot::{Aspect, Axis, Figure, Legend, Panel, Plot, Row, theme};

/// One block of the figure.
#[derive(Debug, Clone)]
pub struct BlockShift {
    /// Name.
    pub name: String,
    /// Offset found; `None` if the block could not be aligned.
    pub before: Option<OffsetMas>,
    /// Offset measured again after the shift.
    pub after: Option<OffsetMas>,
    /// Synthesized beam, mas and degrees.
    pub beam: Option<Beam>,
}

/// Required shifts of all blocks relative to a reference.
#[derive(Debug, Clone)]
pub struct ShiftsFigure {
    /// Name of the reference, at (0, 0).
    pub reference_name: String,
    /// The other blocks.
    pub blocks: Vec<BlockShift>,
}

/// Beam tiles in a row.
const TILES: usize = 6;

impl Plot for ShiftsFigure {
    fn figure(&self) -> Result<Figure> {
        let before: Vec<Option<OffsetMas>> = self.blocks.iter().map(|b| b.before).collect();
        let after: Vec<Option<OffsetMas>> = self.blocks.iter().map(|b| b.after).collect();
        let zoom = zoom_radius(&before);
        let mut panels = vec![self.panel(&before, None).title("Before")];
        if let Some(radius) = zoom {
            panels[0].marks.push(Box::new(window(radius)));
            panels.push(self.panel(&before, Some(radius)).title("Before, inner part"));
        }
        if after.iter().any(Option::is_some) {
            panels.push(self.panel(&after, None).title("After"));
        }
        let n = panels.len();
        let rows = self.blocks.len().div_ceil(TILES).max(1);
        let figure = Figure::new(theme::WIDTH, &vec![1.0; n], &[Row::Ratio(1.0), Row::Points(128.0 * rows as f64)]);
        let figure = panels.into_iter().enumerate().fold(figure, |f, (i, panel)| f.place(0, i, panel));
        Ok(figure.headline("Required shift to align execution blocks").place_over(1, 0, 1, n, self.tiles()))
    }

    fn alt(&self) -> String {
        let say = |b: &BlockShift| match b.before {
            Some(o) => {
                let beam = b.beam.map_or(String::new(), |beam| format!(" ({} bmin)", in_beams(o.length(), beam)));
                let after = b.after.map_or(String::new(), |a| format!(", after the shift ({}, {})", compact(a.dra, 3), compact(a.ddec, 3)));
                let (ra, dec) = (with_error(o.dra, o.sigma_dra), with_error(o.ddec, o.sigma_ddec));
                format!("{}: ({ra}, {dec}) mas{beam}{after}", b.name)
            }
            None => format!("{}: not aligned", b.name),
        };
        let blocks: Vec<String> = self.blocks.iter().map(say).collect();
        alt_number(&format!("Offsets of execution blocks from {} as (east, north). {}.", self.reference_name, blocks.join("; ")))
    }
}

impl ShiftsFigure {
    /// Offsets on the sky, all of them or those within a radius.
    fn panel(&self, offsets: &[Option<OffsetMas>], radius: Option<f64>) -> Panel {
        let (x, y) = (Axis::ra_offset("mas"), Axis::dec_offset("mas"));
        let (x, y) = match radius {
            Some(r) => (x.range(r, -r), y.range(-r, r)),
            None => (x, y),
        };
        let thin = Stroke::new(Rgb::PALE, 1.0);
        let origin = Points::new(vec![[0.0, 0.0]], Rgb::INK).symbol(Symbol::Plus).radius(7.0);
        let panel = Panel::new(x, y).aspect(Aspect::Widen).legend(Legend::Off);
        let panel = panel.with(Rule::x(0.0).stroke(thin.clone())).with(Rule::y(0.0).stroke(thin)).with(origin);
        let within = |o: &OffsetMas| radius.is_none_or(|r| o.length() < 1.5 * r);
        let marks = offsets.iter().enumerate().filter_map(|(i, o)| o.filter(within).map(|o| point(i, o)));
        panel.with_all(marks)
    }

    /// Each block's beam with its offset inside, in the same scale: shift against beam at a glance, and the key to the colors.
    fn tiles(&self) -> Panel {
        let rows = self.blocks.len().div_ceil(TILES).max(1);
        let columns = self.blocks.len().clamp(1, TILES);
        let (w, h) = (1.0 / columns as f64, 1.0 / rows as f64);
        self.blocks.iter().enumerate().fold(Panel::bare(), |panel, (i, block)| {
            let (column, row) = ((i % columns) as f64, (i / columns) as f64);
            let place = Rect::new(column * w, row * h, (column + 1.0) * w, (row + 1.0) * h);
            panel.inset(place, tile(i, block, theme::WIDTH / columns as f64))
        })
    }
}

/// One block's point with error bars.
fn point(i: usize, o: OffsetMas) -> Points {
    let points = Points::new(vec![[o.dra, o.ddec]], series_color(i)).symbol(Symbol::series(i));
    points.errors(vec![[o.sigma_dra, o.sigma_ddec]]).radius(5.0)
}

/// Outline of the inner part.
fn window(r: f64) -> Line {
    let corners = vec![[r, r], [-r, r], [-r, -r], [r, -r], [r, r]];
    Line::new(corners, Rgb::GREY).stroke(Stroke::new(Rgb::GREY, 1.0).dash(&[3.0, 2.0]))
}

/// |shift| / bmin with three decimals as far as they say something.
fn in_beams(length: f64, beam: Beam) -> String {
    compact(length / beam.minor, 3)
}

fn tile(i: usize, block: &BlockShift, width: f64) -> Panel {
    let color = series_color(i);
    let name = text::elide(&verbatim(&block.name), &Type::new(theme::NOTE), width - 34.0);
    let head = Note::fraction(name, [0.5, 0.93], Align::Center);
    let inner = match (block.before, block.beam) {
        (Some(o), Some(beam)) => beam_panel(i, o, beam),
        _ => Panel::bare(),
    };
    let foot = match (block.before, block.beam) {
        (None, _) => "not aligned".to_string(),
        (Some(o), Some(beam)) => format!("{} $b$_{{min}}", in_beams(o.length(), beam)),
        (Some(o), None) => format!("{} mas", compact(o.length(), 3)),
    };
    let mut panel = Panel::bare().inset(Rect::new(0.05, 0.14, 0.95, 0.84), inner);
    (panel.x.range, panel.y.range) = (Some((0.0, 1.0)), Some((0.0, 1.0)));
    panel.with(head).with(Note::fraction(foot, [0.5, 0.06], Align::Center).style(Type::new(theme::NOTE).color(color.mix(Rgb::INK, 0.35))))
}

/// A hatched beam around the reference with the offset as a point.
fn beam_panel(i: usize, o: OffsetMas, beam: Beam) -> Panel {
    let color = series_color(i);
    let half = (0.55 * beam.major).max(1.15 * o.dra.abs().max(o.ddec.abs()));
    let mut panel = Panel::bare().aspect(Aspect::Widen);
    (panel.x.range, panel.y.range) = (Some((half, -half)), Some((-half, half)));
    let ellipse = EllipseMark::new([0.0, 0.0], [beam.major, beam.minor], beam.angle_deg, color);
    let arm: Vec<Point> = vec![[0.0, 0.0], [o.dra, o.ddec]];
    panel
        .with(ellipse.filled(color, 0.10).hatched(6.0))
        .with(Points::new(vec![[0.0, 0.0]], Rgb::INK).symbol(Symbol::Plus).radius(4.5))
        .with(Line::new(arm, Rgb::INK).stroke(Stroke::new(Rgb::INK, 1.0)))
        .with(Points::new(vec![[o.dra, o.ddec]], color).symbol(Symbol::series(i)).radius(4.5))
}

/// Half-width of an inner panel if most offsets crowd in the middle: below the widest gap in log radius, if it is wider than 3.
fn zoom_radius(offsets: &[Option<OffsetMas>]) -> Option<f64> {
    let reach = |o: &OffsetMas| {
        let sigma = o.sigma_dra.max(o.sigma_ddec);
        o.dra.abs().max(o.ddec.abs()) + if sigma.is_finite() { sigma } else { 0.0 }
    };
    let mut radii: Vec<f64> = offsets.iter().flatten().map(reach).filter(|r| r.is_finite() && *r > 0.0).collect();
    radii.sort_by(f64::total_cmp);
    let last = *radii.last()?;
    // The first radius above which everything is much farther out, with at least two blocks inside.
    let gaps = radii.windows(2).enumerate().skip(1).map(|(i, w)| (w[1] / w[0], i));
    let (gap, i) = gaps.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (gap > 2.0 && last / radii[i] > 3.0).then(|| 1.3 * radii[i])
}
