//! Draws a settled panel: ground, marks, frame, ticks, words, legend, color bar.

use super::axis::Axis;
use super::canvas::{Canvas, Stroke};
use super::color::Rgb;
use super::geometry::{Point, Rect};
use super::layout::{PAD, Settled, bar_ticks, settle, widest};
use super::mark::{Corner, Mark, Plane};
use super::panel::{ColorBar, Legend, Panel, Side};
use super::text::{self, Align, Level, Type};
use super::theme;
use super::ticks::Ticks;

/// Draws a panel without its color bar; its vertical label stands beyond numbers of width `numbers`.
pub(super) fn panel(canvas: &mut Canvas, panel: &Panel, settled: &Settled, numbers: f64) {
    let rect = snapped(&settled.rect);
    if let Some(ground) = panel.ground {
        canvas.fill(&rect.corners(), ground, 1.0);
    }
    let before = canvas.set_clip(panel.framed.then_some(rect));
    let mut plane = Plane { canvas: &mut *canvas, rect, x: settled.x, y: settled.y };
    panel.marks.iter().for_each(|mark| mark.draw(&mut plane));
    canvas.set_clip(before);
    for (place, inside) in &panel.insets {
        inset(canvas, place, inside, &rect);
    }
    if panel.framed {
        ticks(canvas, &rect, panel, settled);
        canvas.stroke_closed(&rect.corners(), &Stroke::new(Rgb::INK, theme::FRAME));
    }
    words(canvas, panel, settled, &rect, numbers);
    if panel.is_empty() && !panel.if_empty.is_empty() {
        let style = Type::new(theme::LABEL).color(Rgb::GREY);
        text::draw(canvas, &panel.if_empty, rect.center(), Align::Center, Level::Middle, &style);
    }
    legend(canvas, panel, settled, &rect);
}

/// A frame with its lines on whole pixels.
fn snapped(rect: &Rect) -> Rect {
    let s = |v| Canvas::snap(v, theme::FRAME);
    Rect::new(s(rect.x0), s(rect.y0), s(rect.x1), s(rect.y1))
}

fn inset(canvas: &mut Canvas, place: &Rect, inside: &Panel, frame: &Rect) {
    let at = |fx: f64, fy: f64| [frame.x0 + fx * frame.width(), frame.y0 + fy * frame.height()];
    let ([x0, y0], [x1, y1]) = (at(place.x0, place.y0), at(place.x1, place.y1));
    let settled = settle(inside, Rect::new(x0, y0, x1, y1));
    panel(canvas, inside, &settled, widest(&settled.y_ticks));
}

/// Ticks on all four sides, pointing inwards.
fn ticks(canvas: &mut Canvas, rect: &Rect, panel: &Panel, settled: &Settled) {
    let stroke = Stroke::new(panel.ticks, theme::FRAME);
    let both = |axis: &Axis, ticks: &Ticks| -> Vec<(f64, f64)> {
        if !axis.ticked {
            return Vec::new();
        }
        let major = ticks.major.iter().map(|t| (t.at, theme::MAJOR));
        major.chain(ticks.minor.iter().map(|v| (*v, theme::MINOR))).collect()
    };
    for (value, length) in both(&panel.x, &settled.x_ticks) {
        let x = Canvas::snap(settled.x.at(value), theme::FRAME);
        if x > rect.x0 + 1.0 && x < rect.x1 - 1.0 {
            canvas.stroke(&[[x, rect.y1], [x, rect.y1 - length]], &stroke);
            canvas.stroke(&[[x, rect.y0], [x, rect.y0 + length]], &stroke);
        }
    }
    for (value, length) in both(&panel.y, &settled.y_ticks) {
        let y = Canvas::snap(settled.y.at(value), theme::FRAME);
        if y > rect.y0 + 1.0 && y < rect.y1 - 1.0 {
            canvas.stroke(&[[rect.x0, y], [rect.x0 + length, y]], &stroke);
            canvas.stroke(&[[rect.x1, y], [rect.x1 - length, y]], &stroke);
        }
    }
}

/// Numbers, axis labels and title.
fn words(canvas: &mut Canvas, panel: &Panel, settled: &Settled, rect: &Rect, numbers: f64) {
    let (tick, label) = (Type::new(theme::TICK), Type::new(theme::LABEL));
    let [cx, cy] = rect.center();
    if panel.x.labelled {
        for t in &settled.x_ticks.major {
            text::draw(canvas, &t.label, [settled.x.at(t.at), rect.y1 + PAD], Align::Center, Level::Top, &tick);
        }
        let y = rect.y1 + if panel.x.ticked { 2.0 * PAD + theme::TICK } else { PAD };
        let words = fitted(&panel.x, settled.x_ticks.exponent, &label, 1.15 * rect.width());
        text::draw(canvas, &words, [cx, y], Align::Center, Level::Top, &label);
    }
    if panel.y.labelled {
        for t in &settled.y_ticks.major {
            text::draw(canvas, &t.label, [rect.x0 - PAD, settled.y.at(t.at)], Align::Right, Level::Middle, &tick);
        }
        let x = rect.x0 - 2.0 * PAD - numbers;
        let words = fitted(&panel.y, settled.y_ticks.exponent, &label, 1.15 * rect.height());
        text::draw(canvas, &words, [x, cy], Align::Center, Level::Baseline, &label.upright());
    }
    if let Some(title) = &panel.title {
        let (title, style) = text::fit(title, &Type::new(theme::TITLE), rect.width());
        let y = rect.y0 - 0.6 * theme::TITLE;
        text::draw(canvas, &title, [cx, y], Align::Center, Level::Baseline, &style);
    }
}

/// An axis label, shortened if it is far too long.
fn fitted(axis: &Axis, exponent: i32, style: &Type, room: f64) -> String {
    text::elide(&axis.label_with(exponent), style, room)
}

/// Draws a color bar beside (above) a panel, along to the panel `last`.
pub(super) fn color_bar(canvas: &mut Canvas, panel: &Panel, bar: &ColorBar, first: &Rect, last: &Rect) {
    let (first, last) = (snapped(first), snapped(last));
    let gap = 0.6 * theme::GAP;
    let rect = snapped(&match bar.side {
        Side::Right => Rect::new(first.x1 + gap, first.y0, first.x1 + gap + theme::BAR, last.y1),
        Side::Top => {
            let foot = first.y0 - gap - if panel.title.is_some() { 1.3 * theme::TITLE } else { 0.0 };
            Rect::new(first.x0, foot - theme::BAR, last.x1, foot)
        }
    });
    let upright = bar.side == Side::Right;
    canvas.paint(&rect, |[left, _, _, bottom]| Some(bar.map.at(if upright { 1.0 - bottom } else { left })));
    canvas.stroke_closed(&rect.corners(), &Stroke::new(Rgb::INK, theme::FRAME));
    let length = if upright { rect.height() } else { rect.width() };
    let ticks = bar_ticks(bar, length);
    bar_words(canvas, bar, &rect, &ticks);
}

fn bar_words(canvas: &mut Canvas, bar: &ColorBar, rect: &Rect, ticks: &Ticks) {
    let (tick, label) = (Type::new(theme::TICK), Type::new(theme::LABEL));
    let words = Axis::new(bar.label.clone()).label_with(ticks.exponent);
    for t in &ticks.major {
        let along = bar.norm.to_unit(t.at);
        let ink = Stroke::new(bar.map.at(along).contrast(), theme::FRAME);
        if bar.side == Side::Right {
            let y = rect.y1 - along * rect.height();
            tick_inside(canvas, [rect.x1, y], [rect.x1 - 4.0, y], along, &ink);
            text::draw(canvas, &t.label, [rect.x1 + PAD, y], Align::Left, Level::Middle, &tick);
        } else {
            let x = rect.x0 + along * rect.width();
            tick_inside(canvas, [x, rect.y0], [x, rect.y0 + 4.0], along, &ink);
            text::draw(canvas, &t.label, [x, rect.y0 - PAD], Align::Center, Level::Baseline, &tick);
        }
    }
    let [cx, cy] = rect.center();
    if bar.side == Side::Right {
        let x = rect.x1 + 2.0 * PAD + widest(ticks) + 0.8 * theme::LABEL;
        text::draw(canvas, &words, [x, cy], Align::Center, Level::Baseline, &label.upright());
    } else {
        let y = rect.y0 - 2.0 * PAD - theme::TICK;
        text::draw(canvas, &words, [cx, y], Align::Center, Level::Baseline, &label);
    }
}

/// A tick of a color bar; none at its ends, where the frame is.
fn tick_inside(canvas: &mut Canvas, from: Point, to: Point, along: f64, ink: &Stroke) {
    if along > 0.01 && along < 0.99 {
        let s = |p: Point| [Canvas::snap(p[0], theme::FRAME), Canvas::snap(p[1], theme::FRAME)];
        canvas.stroke(&[s(from), s(to)], ink);
    }
}

/// Legend in the emptiest corner.
fn legend(canvas: &mut Canvas, panel: &Panel, settled: &Settled, rect: &Rect) {
    let entries: Vec<(&dyn Mark, &str)> = panel.marks.iter().filter_map(|m| m.key().map(|k| (&**m, k))).collect();
    if entries.is_empty() || panel.legend == Legend::Off {
        return;
    }
    let style = Type::new(theme::NOTE);
    let (sample, step) = (22.0, 1.5 * theme::NOTE);
    let room = (0.6 * rect.width()).max(60.0);
    let names: Vec<String> = entries.iter().map(|(_, key)| text::elide(key, &style, room)).collect();
    let widest = names.iter().map(|n| text::width(n, &style)).fold(0.0, f64::max);
    let size = [sample + 8.0 + widest + 12.0, step * names.len() as f64 + 8.0];
    let corner = match panel.legend {
        Legend::At(corner) => corner,
        _ => emptiest(panel, settled, rect, size),
    };
    let area = corner_area(corner, rect, size);
    canvas.fill(&area.corners(), Rgb::WHITE, 0.8);
    for (i, ((mark, _), name)) in entries.iter().zip(&names).enumerate() {
        let y = area.y0 + 4.0 + (i as f64 + 0.5) * step;
        let x = area.x0 + 6.0;
        mark.swatch(canvas, &Rect::new(x, y - 4.5, x + sample, y + 4.5));
        text::draw(canvas, name, [x + sample + 8.0, y], Align::Left, Level::Middle, &style);
    }
}

fn corner_area(corner: Corner, rect: &Rect, [width, height]: Point) -> Rect {
    let [x, y] = corner.inside(rect, [9.0, 9.0]);
    let (x0, y0) = (if corner.left() { x } else { x - width }, if corner.top() { y } else { y - height });
    Rect::new(x0, y0, x0 + width, y0 + height)
}

/// The corner in which a box of this size hides the fewest points.
fn emptiest(panel: &Panel, settled: &Settled, rect: &Rect, size: Point) -> Corner {
    let points: Vec<Point> = panel.extent().iter().map(|p| [settled.x.at(p[0]), settled.y.at(p[1])]).collect();
    let hidden = |corner: Corner| {
        let area = corner_area(corner, rect, size).grown(6.0);
        points.iter().filter(|p| area.contains(**p)).count()
    };
    Corner::ALL.into_iter().min_by_key(|c| hidden(*c)).unwrap_or(Corner::TopRight)
}
