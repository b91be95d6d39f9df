//! Letters: the bundled DejaVu Sans, a little markup, measuring and placing.
//!
//! Markup: `^{...}` raised, `_{...}` lowered (a hyphen becomes a minus there), `$...$` oblique (variables). Names from outside pass through [`verbatim`].

use std::sync::OnceLock;

use ab_glyph::{Font, FontRef, GlyphId, OutlineCurve};

use super::canvas::Canvas;
use super::color::Rgb;
use super::geometry::Point;

/// A face of the bundled font.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// Upright.
    Regular,
    /// Bold.
    Bold,
    /// Oblique.
    Oblique,
}

/// Where along the text its anchor lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// At the first letter.
    Left,
    /// In the middle.
    Center,
    /// At the last letter.
    Right,
}

/// Where across the text its anchor lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// At the top of capitals.
    Top,
    /// Half-way up the capitals.
    Middle,
    /// On the line the letters stand on.
    Baseline,
}

/// How a text looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Type {
    /// Size in points.
    pub size: f64,
    /// Face.
    pub face: Face,
    /// Color.
    pub color: Rgb,
    /// Color of a rim that keeps the letters readable on an image.
    pub halo: Option<Rgb>,
    /// Turned by 90 degrees, reading upwards.
    pub upright: bool,
}

impl Type {
    /// Regular type of a size, in ink.
    pub fn new(size: f64) -> Type {
        Type { size, face: Face::Regular, color: Rgb::INK, halo: None, upright: false }
    }
    /// In this color.
    pub fn color(self, color: Rgb) -> Type {
        Type { color, ..self }
    }
    /// In bold.
    pub fn bold(self) -> Type {
        Type { face: Face::Bold, ..self }
    }
    /// With a rim of this color.
    pub fn halo(self, color: Rgb) -> Type {
        Type { halo: Some(color), ..self }
    }
    /// Reading upwards.
    pub fn upright(self) -> Type {
        Type { upright: true, ..self }
    }
}

/// Height of capitals and digits in units of the size (DejaVu Sans: 1493 of 2048).
pub const CAP_HEIGHT: f64 = 0.729;
/// Depth of descenders in units of the size.
pub const DESCENT: f64 = 0.236;

/// Keeps markup characters of a name from being read as markup.
pub fn verbatim(name: &str) -> String {
    name.chars().flat_map(|c| if "$^_".contains(c) { [Some(GUARD), Some(c)] } else { [None, Some(c)] }).flatten().collect()
}

/// Takes the markup out, for alt texts.
pub fn plain(text: &str) -> String {
    runs(text, Face::Regular).into_iter().map(|run| run.text).collect()
}

/// A character that is never drawn: what follows it is no markup.
const GUARD: char = '\u{2060}';

/// A stretch of text in one face, size and height.
struct Run {
    text: String,
    face: Face,
    /// Size and raise in units of the text's size.
    scale: f64,
    raise: f64,
}

/// Splits markup into runs.
fn runs(text: &str, face: Face) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut run = Run { text: String::new(), face, scale: 1.0, raise: 0.0 };
    let (mut oblique, mut shift) = (false, None);
    let mut chars = text.chars().peekable();
    let mut next_run = |run: &mut Run, oblique: bool, shift: Option<char>| {
        let (scale, raise) = match shift {
            Some('^') => (0.7, 0.36),
            Some(_) => (0.7, -0.16),
            None => (1.0, 0.0),
        };
        let fresh = Run { text: String::new(), face: if oblique { Face::Oblique } else { face }, scale, raise };
        let done = std::mem::replace(run, fresh);
        if !done.text.is_empty() {
            runs.push(done);
        }
    };
    while let Some(c) = chars.next() {
        match c {
            GUARD => run.text.extend(chars.next()),
            '$' => {
                oblique = !oblique;
                next_run(&mut run, oblique, shift);
            }
            '^' | '_' if chars.peek() == Some(&'{') => {
                chars.next();
                shift = Some(c);
                next_run(&mut run, oblique, shift);
            }
            '}' if shift.is_some() => {
                shift = None;
                next_run(&mut run, oblique, shift);
            }
            '-' if shift.is_some() => run.text.push('\u{2212}'),
            c => run.text.push(c),
        }
    }
    next_run(&mut run, false, None);
    runs
}

fn font(face: Face) -> &'static FontRef<'static> {
    static FONTS: OnceLock<[FontRef<'static>; 3]> = OnceLock::new();
    let fonts = FONTS.get_or_init(|| {
        let read = |bytes: &'static [u8]| FontRef::try_from_slice(bytes).expect("the bundled font is sound: a test reads it");
        [
            read(include_bytes!("fonts/DejaVuSans.ttf")),
            read(include_bytes!("fonts/DejaVuSans-Bold.ttf")),
            read(include_bytes!("fonts/DejaVuSans-Oblique.ttf")),
        ]
    });
    match face {
        Face::Regular => &fonts[0],
        Face::Bold => &fonts[1],
        Face::Oblique => &fonts[2],
    }
}

/// Em of a font in its own units.
fn em(font: &FontRef) -> f64 {
    f64::from(font.units_per_em().unwrap_or(2048.0))
}

/// A glyph of a text of size 1: its place along the text, its raise and its own size.
struct Placed {
    id: GlyphId,
    face: Face,
    x: f64,
    raise: f64,
    scale: f64,
}

/// Glyphs of a text of size 1, and its width.
fn place(text: &str, face: Face) -> (Vec<Placed>, f64) {
    let mut x = 0.0;
    let mut glyphs = Vec::new();
    for Run { text, face, scale, raise } in runs(text, face) {
        let font = font(face);
        let unit = scale / em(font);
        let mut before = None;
        for id in text.chars().map(|c| font.glyph_id(c)) {
            x += before.map_or(0.0, |b| f64::from(font.kern_unscaled(b, id))) * unit;
            glyphs.push(Placed { id, face, x, raise, scale });
            x += f64::from(font.h_advance_unscaled(id)) * unit;
            before = Some(id);
        }
    }
    (glyphs, x)
}

/// Width of a text in points.
pub fn width(text: &str, style: &Type) -> f64 {
    place(text, style.face).1 * style.size
}

/// Shortens a name in its middle until it fits into `room` points.
pub fn elide(name: &str, style: &Type, room: f64) -> String {
    if width(name, style) <= room {
        return name.to_string();
    }
    let chars: Vec<char> = name.chars().filter(|c| *c != GUARD).collect();
    let shortened = |keep: usize| {
        let (head, tail) = (keep.div_ceil(2), keep / 2);
        verbatim(&chars[..head].iter().chain(&['…']).chain(&chars[chars.len() - tail..]).collect::<String>())
    };
    (1..chars.len()).rev().map(shortened).find(|s| width(s, style) <= room).unwrap_or_else(|| "…".into())
}

/// A text and type that fit into `room` points: up to a fifth smaller, then shortened in the middle.
pub fn fit(text: &str, style: &Type, room: f64) -> (String, Type) {
    let shrink = (room / width(text, style)).clamp(0.8, 1.0);
    let style = Type { size: style.size * shrink, ..*style };
    (elide(text, &style, room), style)
}

/// Draws a text with its anchor at `at`.
pub fn draw(canvas: &mut Canvas, text: &str, at: Point, align: Align, level: Level, style: &Type) {
    let (glyphs, width) = place(text, style.face);
    let along = match align {
        Align::Left => 0.0,
        Align::Center => -width / 2.0,
        Align::Right => -width,
    } * style.size;
    let down = match level {
        Level::Top => CAP_HEIGHT,
        Level::Middle => CAP_HEIGHT / 2.0,
        Level::Baseline => 0.0,
    } * style.size;
    let to_page = |x: f64, up: f64| {
        let (x, y) = (along + x, down - up);
        if style.upright { [at[0] + y, at[1] - x] } else { [at[0] + x, at[1] + y] }
    };
    let outlines: Vec<Vec<(Point, Point)>> = glyphs
        .iter()
        .map(|g| {
            let unit = g.scale * style.size / em(font(g.face));
            outline(g.id, g.face, &|p| to_page(g.x * style.size + f64::from(p.x) * unit, g.raise * style.size + f64::from(p.y) * unit))
        })
        .collect();
    if let Some(halo) = style.halo {
        draw_halo(canvas, &outlines, halo);
    }
    for edges in &outlines {
        canvas.fill_edges(edges, style.color, 1.0);
    }
}

/// A rim of about a point and a half, from copies all around.
fn draw_halo(canvas: &mut Canvas, outlines: &[Vec<(Point, Point)>], color: Rgb) {
    for i in 0..12 {
        let (dy, dx) = (i as f64 * std::f64::consts::TAU / 12.0).sin_cos();
        let moved = |p: Point| [p[0] + 1.4 * dx, p[1] + 1.4 * dy];
        for edges in outlines {
            let edges: Vec<_> = edges.iter().map(|&(a, b)| (moved(a), moved(b))).collect();
            canvas.fill_edges(&edges, color, 0.6);
        }
    }
}

/// Straight edges of a glyph's outline.
fn outline(id: GlyphId, face: Face, to_page: &dyn Fn(ab_glyph::Point) -> Point) -> Vec<(Point, Point)> {
    let Some(outline) = font(face).outline(id) else { return Vec::new() };
    outline.curves.iter().flat_map(|curve| flatten(curve, to_page)).collect()
}

/// Straight edges along one curve of an outline.
fn flatten(curve: &OutlineCurve, to_page: &dyn Fn(ab_glyph::Point) -> Point) -> Vec<(Point, Point)> {
    const N: usize = 6;
    let controls: Vec<Point> = match curve {
        OutlineCurve::Line(a, b) => return vec![(to_page(*a), to_page(*b))],
        OutlineCurve::Quad(a, b, c) => [a, b, c].map(|p| to_page(*p)).to_vec(),
        OutlineCurve::Cubic(a, b, c, d) => [a, b, c, d].map(|p| to_page(*p)).to_vec(),
    };
    let points: Vec<Point> = (0..=N).map(|i| bezier(&controls, i as f64 / N as f64)).collect();
    points.windows(2).map(|w| (w[0], w[1])).collect()
}

/// A point on a Bézier curve (de Casteljau).
fn bezier(controls: &[Point], t: f64) -> Point {
    let mut points = controls.to_vec();
    while points.len() > 1 {
        points = points.windows(2).map(|w| [w[0][0] + t * (w[1][0] - w[0][0]), w[0][1] + t * (w[1][1] - w[0][1])]).collect();
    }
    points[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_has_the_letters_of_the_field() {
        for face in [Face::Regular, Face::Bold, Face::Oblique] {
            for c in "AZaz09 ΔαδλμνσχΣµ°′″−–×±…’·≥⁻¹²³\u{2009}".chars() {
                assert_ne!(font(face).glyph_id(c), GlyphId(0), "{c:?} of {face:?}");
            }
        }
    }

    #[test]
    fn markup_is_not_drawn_and_names_are_not_markup() {
        assert_eq!(plain("$u$ (km s^{-1}) b_{min}"), "u (km s−1) bmin");
        let name = "eb_{1}^{2}$x$";
        assert_eq!(plain(&verbatim(name)), name);
        let style = Type::new(10.0);
        assert!(width("x^{2}", &style) < width("x2", &style));
    }

    #[test]
    fn shortened_names_fit_and_keep_their_ends() {
        let style = Type::new(12.0);
        let name = "uid___A002_Xb00f1a_X1c0.ms.split.cal";
        for room in [30.0, 80.0, 150.0] {
            let short = elide(name, &style, room);
            assert!(width(&short, &style) <= room && short.starts_with('u') && short.contains('…'));
        }
        assert_eq!(elide(name, &style, 1e3), name);
        assert_eq!(elide("", &style, 10.0), "");
    }

    /// The ink of a text turned by 90 degrees is that of the straight one: no glyph is lost.
    #[test]
    fn an_upright_text_has_as_much_ink() {
        let ink = |style: Type| {
            let mut canvas = Canvas::new(120.0, 120.0);
            draw(&mut canvas, "Flux (mJy beam^{-1})", [60.0, 60.0], Align::Center, Level::Middle, &style);
            canvas.rgb().iter().map(|v| 255.0 - f64::from(*v)).sum::<f64>()
        };
        let (flat, upright) = (ink(Type::new(10.0)), ink(Type::new(10.0).upright()));
        assert!(flat > 0.0 && (upright / flat - 1.0).abs() < 0.01, "{flat} {upright}");
    }
}
