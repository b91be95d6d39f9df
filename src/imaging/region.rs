//! Masks from shapes: regions as CASA (CRTF) and DS9 write them, and in pixels.

use ndarray::Array2;

use super::ImagingError;
use crate::sky::{Celestial, Direction, Frame};
use crate::units::Angle;

/// A shape in pixels, which count from 0 at the centre of the first.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Pixels whose centres lie within `radius`.
    Circle {
        /// Centre.
        center: [f64; 2],
        /// Radius.
        radius: f64,
    },
    /// An ellipse by its half axes; `angle_rad` turns the first from +x to +y.
    Ellipse {
        /// Centre.
        center: [f64; 2],
        /// Half axes.
        half: [f64; 2],
        /// Angle of the first.
        angle_rad: f64,
    },
    /// A turned rectangle.
    Rectangle {
        /// Centre.
        center: [f64; 2],
        /// Half sides.
        half: [f64; 2],
        /// Angle of the first.
        angle_rad: f64,
    },
    /// A ring.
    Annulus {
        /// Centre.
        center: [f64; 2],
        /// Inner and outer radius.
        radii: [f64; 2],
    },
    /// A polygon (even-odd rule).
    Polygon(Vec<[f64; 2]>),
}

impl Shape {
    /// True where the pixel's centre is inside or on the edge.
    pub fn contains(&self, x: f64, y: f64) -> bool {
        let turned = |c: &[f64; 2], angle: f64| {
            let ((s, k), (dx, dy)) = (angle.sin_cos(), (x - c[0], y - c[1]));
            (dx * k + dy * s, dy * k - dx * s)
        };
        match self {
            Shape::Circle { center, radius } => (x - center[0]).hypot(y - center[1]) <= *radius,
            Shape::Ellipse { center, half, angle_rad } => {
                let (a, b) = turned(center, *angle_rad);
                (a / half[0]).powi(2) + (b / half[1]).powi(2) <= 1.0
            }
            Shape::Rectangle { center, half, angle_rad } => {
                let (a, b) = turned(center, *angle_rad);
                a.abs() <= half[0] && b.abs() <= half[1]
            }
            Shape::Annulus { center, radii } => {
                let r = (x - center[0]).hypot(y - center[1]);
                r >= radii[0] && r <= radii[1]
            }
            Shape::Polygon(corners) => inside_polygon(corners, x, y),
        }
    }

    /// The pixels of an image inside the shape.
    pub fn mask(&self, ny: usize, nx: usize) -> Array2<bool> {
        Array2::from_shape_fn((ny, nx), |(y, x)| self.contains(x as f64, y as f64))
    }
}

fn inside_polygon(corners: &[[f64; 2]], x: f64, y: f64) -> bool {
    let mut inside = false;
    for (i, a) in corners.iter().enumerate() {
        let b = corners[(i + 1) % corners.len()];
        if (a[1] > y) != (b[1] > y) && x < (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]) + a[0] {
            inside = !inside;
        }
    }
    inside
}

/// Why a region cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("region \"{text}\": {why}")]
pub struct RegionError {
    text: String,
    why: String,
}

impl crate::error::Explain for RegionError {
    fn kind(&self) -> crate::error::Kind {
        crate::error::Kind::User
    }
    fn hint(&self) -> Option<String> {
        Some("known: CRTF `circle[[12h01m53s, -18d52m30s], 3arcsec]`, box, centerbox, rotbox, ellipse, annulus, poly, also in pix; DS9 circle, ellipse, box, annulus, polygon in fk5, icrs or image".into())
    }
}

/// Reads the regions of a CRTF or DS9 text; lines or terms that exclude (`-`) are subtracted by [`regions_mask`].
pub fn parse_regions(text: &str, sky: &Celestial) -> Result<Vec<(bool, Shape)>, RegionError> {
    let mut system = None;
    let mut out = Vec::new();
    for line in text.lines().flat_map(|l| if l.contains('[') { vec![l] } else { l.split(';').collect() }) {
        let line = line.split('#').next().unwrap_or("").trim();
        if line.is_empty() || line.starts_with("global") {
            continue;
        }
        if let Some(known) = ds9_system(line) {
            system = Some(known);
            continue;
        }
        let (add, body) = match line.strip_prefix('-') {
            Some(rest) => (false, rest.trim()),
            None => (true, line.strip_prefix('+').unwrap_or(line).trim()),
        };
        let fail = |why: String| RegionError { text: line.to_string(), why };
        let shape = if body.contains('[') { crtf(body, sky) } else { ds9(body, system.unwrap_or(Ds9::Sky(Frame::Icrs)), sky) };
        out.push((add, shape.map_err(fail)?));
    }
    Ok(out)
}

/// The pixels inside the regions that add and outside those that subtract.
pub fn regions_mask(regions: &[(bool, Shape)], ny: usize, nx: usize) -> Result<Array2<bool>, ImagingError> {
    let mut mask = Array2::from_elem((ny, nx), false);
    for (add, shape) in regions {
        for ((y, x), m) in mask.indexed_iter_mut() {
            if *m != *add && shape.contains(x as f64, y as f64) {
                *m = *add;
            }
        }
    }
    if mask.iter().any(|m| *m) { Ok(mask) } else { Err(ImagingError::EmptyMask) }
}

/// A length on the sky or in pixels, in pixels.
fn length(text: &str, sky: &Celestial) -> Result<f64, String> {
    let text = text.trim();
    if let Some(pixels) = text.strip_suffix("pix") {
        return pixels.trim().parse().map_err(|_| format!("{text} is no number of pixels"));
    }
    Ok(Angle::parse(text)?.0 / sky.cell_rad().0)
}

fn point(x: &str, y: &str, frame: Frame, sky: &Celestial) -> Result<[f64; 2], String> {
    if let (Some(x), Some(y)) = (x.trim().strip_suffix("pix"), y.trim().strip_suffix("pix")) {
        let number = |t: &str| t.trim().parse::<f64>().map_err(|_| format!("{t} is no pixel"));
        return Ok([number(x)?, number(y)?]);
    }
    let direction = Direction::parse(&format!("{} {} {}", frame.name(), x.trim(), y.trim()))?;
    let direction = direction.in_frame(sky.frame()).ok_or("its frame is not that of the image")?;
    sky.pixel_from_sky(direction).map(|(x, y)| [x, y]).ok_or_else(|| "it lies behind the image".to_string())
}

/// `circle[[x, y], r], coord=J2000`
fn crtf(text: &str, sky: &Celestial) -> Result<Shape, String> {
    let (name, rest) = text.split_once('[').ok_or("a bracket is missing")?;
    let end = rest.rfind(']').ok_or("a bracket is missing")?;
    let (inside, options) = rest.split_at(end);
    let frame = match options.split("coord").nth(1) {
        Some(t) if t.contains("J2000") => Frame::J2000,
        Some(t) if t.contains("ICRS") => Frame::Icrs,
        _ => sky.frame(),
    };
    let terms: Vec<String> = inside.replace(['[', ']'], " ").split(',').map(|t| t.trim().to_string()).filter(|t| !t.is_empty()).collect();
    let at = |i: usize| point(term(&terms, i)?, term(&terms, i + 1)?, frame, sky);
    let len = |i: usize| length(term(&terms, i)?, sky);
    let angle = |i: usize| Ok::<f64, String>(Angle::parse(term(&terms, i)?)?.0);
    Ok(match name.trim() {
        "circle" => Shape::Circle { center: at(0)?, radius: len(2)? },
        "annulus" => Shape::Annulus { center: at(0)?, radii: [len(2)?, len(3)?] },
        "box" => {
            let (a, b) = (at(0)?, at(2)?);
            let center = [(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0];
            Shape::Rectangle { center, half: [(b[0] - a[0]).abs() / 2.0, (b[1] - a[1]).abs() / 2.0], angle_rad: 0.0 }
        }
        "centerbox" => Shape::Rectangle { center: at(0)?, half: [len(2)? / 2.0, len(3)? / 2.0], angle_rad: 0.0 },
        "rotbox" => Shape::Rectangle { center: at(0)?, half: [len(2)? / 2.0, len(3)? / 2.0], angle_rad: angle(4)? },
        // CRTF gives the half axes with the position angle of the first, from north to east.
        "ellipse" => Shape::Ellipse { center: at(0)?, half: [len(2)?, len(3)?], angle_rad: angle(4)? + std::f64::consts::FRAC_PI_2 },
        "poly" => Shape::Polygon((0..terms.len() / 2).map(|i| at(2 * i)).collect::<Result<_, String>>()?),
        other => return Err(format!("shape \"{other}\" is unknown")),
    })
}

fn term(terms: &[String], i: usize) -> Result<&str, String> {
    terms.get(i).map(String::as_str).ok_or_else(|| format!("{} values are given, more are needed", terms.len()))
}

#[derive(Debug, Clone, Copy)]
enum Ds9 {
    Sky(Frame),
    Pixels,
}

fn ds9_system(line: &str) -> Option<Ds9> {
    match line.to_ascii_lowercase().as_str() {
        "fk5" | "j2000" => Some(Ds9::Sky(Frame::J2000)),
        "icrs" => Some(Ds9::Sky(Frame::Icrs)),
        "image" | "physical" => Some(Ds9::Pixels),
        _ => None,
    }
}

/// `circle(12:01:53, -18:52:30, 3")`
fn ds9(text: &str, system: Ds9, sky: &Celestial) -> Result<Shape, String> {
    let (name, rest) = text.split_once('(').ok_or("neither CRTF nor DS9")?;
    let inside = rest.split_once(')').ok_or("a bracket is missing")?.0;
    let terms: Vec<String> = inside.split(',').map(|t| t.trim().to_string()).collect();
    let at = |i: usize| {
        let (x, y) = (term(&terms, i)?, term(&terms, i + 1)?);
        match system {
            // DS9 counts pixels from 1.
            Ds9::Pixels => Ok::<[f64; 2], String>([number(x)? - 1.0, number(y)? - 1.0]),
            Ds9::Sky(frame) => {
                let degrees = |t: &str| if t.parse::<f64>().is_ok() { format!("{t}deg") } else { t.to_string() };
                point(&degrees(x), &degrees(y), frame, sky)
            }
        }
    };
    let len = |i: usize| {
        let t = term(&terms, i)?;
        let unit = |t: &str, unit: &str| Angle::parse(&format!("{t}{unit}")).map(|a| a.0 / sky.cell_rad().0);
        match (t.strip_suffix('"'), t.strip_suffix('\''), system) {
            (Some(t), _, _) => unit(t, "arcsec"),
            (_, Some(t), _) => unit(t, "arcmin"),
            (_, _, Ds9::Pixels) => number(t),
            _ => unit(t, "deg"),
        }
    };
    let angle = |i: usize| if i < terms.len() { number(&terms[i]).map(f64::to_radians) } else { Ok(0.0) };
    Ok(match name.trim() {
        "circle" => Shape::Circle { center: at(0)?, radius: len(2)? },
        "annulus" => Shape::Annulus { center: at(0)?, radii: [len(2)?, len(3)?] },
        "box" => Shape::Rectangle { center: at(0)?, half: [len(2)? / 2.0, len(3)? / 2.0], angle_rad: angle(4)? },
        "ellipse" => Shape::Ellipse { center: at(0)?, half: [len(2)?, len(3)?], angle_rad: angle(4)? },
        "polygon" => Shape::Polygon((0..terms.len() / 2).map(|i| at(2 * i)).collect::<Result<_, String>>()?),
        other => return Err(format!("shape \"{other}\" is unknown")),
    })
}

fn number(text: &str) -> Result<f64, String> {
    text.trim().parse().map_err(|_| format!("{text} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sky::Projection;
    use crate::units::ARCSEC;

    fn sky() -> Celestial {
        let center = Direction::parse("J2000 12h01m53.2s -18d52m30s").unwrap();
        Celestial::simple(Projection::Sin { xi: 0.0, eta: 0.0 }, center, 0.5 * ARCSEC, (32.0, 32.0)).unwrap()
    }

    fn mask(text: &str) -> Array2<bool> {
        regions_mask(&parse_regions(text, &sky()).unwrap(), 64, 64).unwrap()
    }

    #[test]
    fn the_same_circle_in_every_notation() {
        let pixels = mask("#CRTFv0\ncircle[[32pix, 32pix], 8.1pix]");
        assert_eq!(pixels.iter().filter(|m| **m).count(), 213);
        for text in [
            "circle[[12h01m53.2s, -18d52m30s], 4.05arcsec], coord=J2000, color=red",
            "circle[[12:01:53.2, -18.52.30], 4.05arcsec]",
            "# Region file\nfk5\ncircle(12:01:53.2,-18:52:30,4.05\") # text={a}",
            "image;circle(33,33,8.1)",
        ] {
            assert_eq!(mask(text), pixels, "{text}");
        }
    }

    #[test]
    fn shapes_turn_as_their_notation_says() {
        // Long axis to the north: pa 0 in CRTF.
        let north = mask("ellipse[[32pix,32pix],[10pix,3pix],0deg]");
        assert!(north[[41, 32]] && !north[[32, 41]]);
        // DS9 counts from +x: 90 is north.
        assert_eq!(mask("image;ellipse(33,33,10,3,90)"), north);
        let ring = mask("annulus[[32pix,32pix],[5pix,9pix]]");
        assert!(!ring[[32, 32]] && ring[[32, 39]]);
        let cut = mask("box[[10pix,10pix],[20pix,30pix]]\n-circle[[15pix,20pix],3pix]");
        assert!(cut[[10, 10]] && cut[[30, 20]] && !cut[[20, 15]] && !cut[[31, 20]]);
        let triangle = mask("poly[[10pix,10pix],[30pix,10pix],[10pix,30pix]]");
        assert!(triangle[[12, 12]] && !triangle[[28, 28]]);
    }

    #[test]
    fn a_wrong_region_is_refused_in_words() {
        let error = |text: &str| parse_regions(text, &sky()).unwrap_err().to_string();
        assert!(error("blob[[1pix,2pix],3pix]").contains("blob"));
        assert!(error("circle[[1pix,2pix]]").contains("more are needed"));
        let outside = parse_regions("circle[[200pix,200pix],3pix]", &sky()).unwrap();
        assert_eq!(regions_mask(&outside, 64, 64).unwrap_err(), ImagingError::EmptyMask);
    }
}
