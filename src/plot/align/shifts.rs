//! The shift that each block needs, before and after, and what it means in units of its beam.

use super::{OffsetMas, alt_number, with_error};
use crate::error::Result;
use crate::plot::canvas::Stroke;
use crate::plot::color::{Rgb, series_color};
use crate::plot::geometry::{Point, Rect};
use crate::plot::mark::{Beam, EllipseMark, Line, Note, Points, Rule, Symbol};
use crate::plot::text::{Align, Type, verbatim};
use crate::plot::ticks::{compact, significant};
use crate::plot::{Aspect, Axis, Figure, Panel, Plot, Row, short_names, theme};

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
/// Height of a beam tile, points.
const TILE: f64 = 170.0;

impl Plot for ShiftsFigure {
    fn figure(&self) -> Result<Figure> {
        let before: Vec<Option<OffsetMas>> = self.blocks.iter().map(|b| b.before).collect();
        let after: Vec<Option<OffsetMas>> = self.blocks.iter().map(|b| b.after).collect();
        let (zoom_before, zoom_after) = (zoom_radius(&before), zoom_radius(&after));
        // Two pairs stand one above the other, and are less high.
        let ratio = if zoom_before.is_some() && zoom_after.is_some() { 0.82 } else { 1.0 };
        let mut panels = self.pair("Before", &before, zoom_before, ratio);
        if after.iter().any(Option::is_some) {
            panels.extend(self.pair("After", &after, zoom_after, ratio));
        }
        let columns = if panels.len() == 4 { 2 } else { panels.len() };
        let rows = panels.len() / columns;
        let (width, ratio) = match columns {
            1 if self.blocks.len() <= 3 => (0.6 * theme::WIDTH, 1.0),
            1 => (theme::WIDTH, 0.6),
            _ => (theme::WIDTH, ratio),
        };
        let tiles = (!self.blocks.is_empty()).then(|| Row::Points(TILE * self.blocks.len().div_ceil(TILES) as f64));
        let heights: Vec<Row> = std::iter::repeat_n(Row::Ratio(ratio), rows).chain(tiles).collect();
        let headline = format!("Required shifts: offsets relative to {} (+)", verbatim(&self.reference_name));
        let figure = Figure::new(width, &vec![1.0; columns], &heights).headline(headline);
        let place = |f: Figure, (i, panel): (usize, Panel)| f.place(i / columns, i % columns, panel);
        let figure = panels.into_iter().enumerate().fold(figure, place);
        Ok(if tiles.is_some() { figure.place_over(rows, 0, 1, columns, self.tiles(width)) } else { figure })
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
        let blocks = if blocks.is_empty() { "There is no other block".to_string() } else { blocks.join("; ") };
        alt_number(&format!("Offsets of execution blocks from {} as (east, north). {blocks}.", self.reference_name))
    }
}

impl ShiftsFigure {
    /// All offsets, and the inner part where that helps; frames are `ratio` times as high as wide.
    fn pair(&self, title: &str, offsets: &[Option<OffsetMas>], zoom: Option<f64>, ratio: f64) -> Vec<Panel> {
        let all = self.panel(offsets, None).title(title);
        match zoom {
            Some(r) => vec![all.with(window(r / ratio, r)), self.panel(offsets, Some(r)).title(format!("{title}, inner part"))],
            None => vec![all],
        }
    }

    /// Offsets on the sky, all of them or those within a radius.
    fn panel(&self, offsets: &[Option<OffsetMas>], radius: Option<f64>) -> Panel {
        let (x, y) = (Axis::ra_offset("mas"), Axis::dec_offset("mas"));
        let (x, y) = (Axis { pad: 0.1, ..x }, Axis { pad: 0.1, ..y });
        let (x, y) = match radius {
            Some(r) => (x.range(r, -r), y.range(-r, r)),
            None => (x, y),
        };
        let thin = Stroke::new(Rgb::PALE, 1.0);
        let origin = Points::new(vec![[0.0, 0.0]], Rgb::INK).symbol(Symbol::Plus).radius(7.0);
        let panel = Panel::new(x, y).aspect(Aspect::Widen);
        let panel = panel.with(Rule::x(0.0).stroke(thin.clone())).with(Rule::y(0.0).stroke(thin)).with(origin);
        let within = |o: &OffsetMas| radius.is_none_or(|r| o.length() < 1.5 * r);
        let marks = offsets.iter().enumerate().filter_map(|(i, o)| o.filter(within).map(|o| point(i, o)));
        panel.with_all(marks)
    }

    /// Each block's beam with its offset inside, in the same scale: shift against beam at a glance, and the key to the colors.
    fn tiles(&self, width: f64) -> Panel {
        let rows = self.blocks.len().div_ceil(TILES).max(1);
        let columns = self.blocks.len().div_ceil(rows).max(1);
        let (w, h) = (1.0 / columns as f64, 1.0 / rows as f64);
        let names: Vec<String> = self.blocks.iter().map(|b| b.name.clone()).collect();
        let names = short_names(&names, &Type::new(theme::NOTE).bold(), 0.9 * width * w - 16.0);
        let tiles = Panel::bare().title("Shift inside the beam of each block, and |shift| / $b$_{min}");
        self.blocks.iter().zip(names).enumerate().fold(tiles, |panel, (i, (block, name))| {
            let (column, row) = ((i % columns) as f64, (i / columns) as f64);
            let place = Rect::new(column * w, row * h, (column + 1.0) * w, (row + 1.0) * h);
            panel.inset(place, tile(i, block, name))
        })
    }
}

/// One block's point with error bars.
fn point(i: usize, o: OffsetMas) -> Points {
    let points = Points::new(vec![[o.dra, o.ddec]], series_color(i)).symbol(Symbol::series(i));
    points.errors(vec![[o.sigma_dra, o.sigma_ddec]]).radius(5.0)
}

/// Outline of the inner part.
fn window(x: f64, y: f64) -> Line {
    let corners = vec![[x, y], [-x, y], [-x, -y], [x, -y], [x, y]];
    Line::new(corners, Rgb::GREY).stroke(Stroke::new(Rgb::GREY, 1.0).dash(&[3.0, 2.0]))
}

/// |shift| / bmin.
fn in_beams(length: f64, beam: Beam) -> String {
    significant(length / beam.minor, 2)
}

/// A block's name, its beam with the offset inside, and the numbers below.
fn tile(i: usize, block: &BlockShift, name: String) -> Panel {
    let ink = Type::new(theme::NOTE);
    let quiet = Type::new(theme::NOTE - 1.0).color(Rgb([90, 90, 90]));
    let inner = match (block.before, block.beam) {
        (Some(o), beam) => beam_panel(i, o, beam.unwrap_or(Beam { major: 0.0, minor: 0.0, angle_deg: 0.0 })),
        _ => Panel::bare(),
    };
    let (first, second) = match (block.before, block.beam) {
        (None, _) => ("not aligned".to_string(), String::new()),
        (Some(o), Some(b)) => {
            let size = format!("{} × {} mas", compact(b.major, 3), compact(b.minor, 3));
            (format!("{} $b$_{{min}}", in_beams(o.length(), b)), size)
        }
        (Some(o), None) => (format!("{} mas", compact(o.length(), 3)), String::new()),
    };
    let line = |text: String, height: f64, style| Note::fraction(text, [0.5, height], Align::Center).style(style);
    let mut panel = Panel::bare().inset(Rect::new(0.05, 0.13, 0.95, 0.75), inner);
    (panel.x.range, panel.y.range) = (Some((0.0, 1.0)), Some((0.0, 1.0)));
    panel.with(line(name, 0.945, ink.bold())).with(line(first, 0.175, ink)).with(line(second, 0.07, quiet))
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

/// Half-width of an inner panel where points overlap and others lie more than three times farther out: below a wide gap
/// in log radius, with at least two blocks inside and rather more than fewer.
fn zoom_radius(offsets: &[Option<OffsetMas>]) -> Option<f64> {
    let reach = |o: &OffsetMas| {
        let sigma = o.sigma_dra.max(o.sigma_ddec);
        o.dra.abs().max(o.ddec.abs()) + if sigma.is_finite() { sigma } else { 0.0 }
    };
    let mut radii: Vec<f64> = offsets.iter().flatten().map(reach).filter(|r| r.is_finite() && *r > 0.0).collect();
    radii.sort_by(f64::total_cmp);
    let last = *radii.last()?;
    let gap = |(i, w): (usize, &[f64])| (last > 3.0 * w[0]).then(|| ((w[1] / w[0]).ln() * (i + 1) as f64, i));
    let (_, i) = radii.windows(2).enumerate().skip(1).filter_map(gap).max_by(|a, b| a.0.total_cmp(&b.0))?;
    overlapping(offsets, 0.1 * last).then(|| 1.25 * radii[i])
}

/// True if two offsets lie closer than `distance`.
fn overlapping(offsets: &[Option<OffsetMas>], distance: f64) -> bool {
    let points: Vec<&OffsetMas> = offsets.iter().flatten().collect();
    let close = |a: &OffsetMas, b: &OffsetMas| (a.dra - b.dra).hypot(a.ddec - b.ddec) < distance;
    points.iter().enumerate().any(|(i, a)| points[..i].iter().any(|b| close(a, b)))
}
