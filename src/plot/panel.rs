//! A panel: two axes with marks, a title, a legend and a color bar.

use super::axis::Axis;
use super::color::{ColorMap, Norm, Rgb};
use super::geometry::{Point, Rect};
use super::mark::{Beam, Corner, Grid, ImageMark, Mark};
use crate::data::Image;
use crate::units::ARCSEC;

/// How the scales of both axes relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    /// Not at all.
    Free,
    /// Equal: the frame shrinks (images).
    Shrink,
    /// Equal: the ranges widen (points on the sky).
    Widen,
}

/// Where the legend stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Legend {
    /// In the corner with the fewest points.
    Best,
    /// In this corner.
    At(Corner),
    /// Nowhere.
    Off,
}

/// Side of a panel on which its color bar stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Side {
    Right,
    Top,
}

/// A color bar.
#[derive(Debug, Clone)]
pub struct ColorBar {
    /// Quantity and unit.
    pub label: String,
    /// Color map.
    pub map: ColorMap,
    /// Color scale.
    pub norm: Norm,
    /// Side.
    pub side: Side,
    /// Number of rows (right) or columns (top) of the figure that it runs along, for panels that share it.
    pub span: usize,
}

/// A panel of a figure.
pub struct Panel {
    /// Title above.
    pub title: Option<String>,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// What is drawn, from the back to the front.
    pub marks: Vec<Box<dyn Mark>>,
    /// Relation of the scales.
    pub aspect: Aspect,
    /// Legend.
    pub legend: Legend,
    /// Color bar.
    pub bar: Option<ColorBar>,
    /// Draws a frame.
    pub framed: bool,
    /// Color of the ticks: white on dark images.
    pub ticks: Rgb,
    /// Color behind the marks.
    pub ground: Option<Rgb>,
    /// Smaller panels inside; places are fractions of the frame from its upper left.
    pub insets: Vec<(Rect, Panel)>,
    /// What stands in the middle if no mark has anything to show.
    pub if_empty: String,
}

impl Panel {
    /// An empty panel.
    pub fn new(x: Axis, y: Axis) -> Panel {
        Panel {
            title: None,
            x,
            y,
            marks: Vec::new(),
            aspect: Aspect::Free,
            legend: Legend::Best,
            bar: None,
            framed: true,
            ticks: Rgb::INK,
            ground: None,
            insets: Vec::new(),
            if_empty: "no data".into(),
        }
    }

    /// A panel without frame and axes.
    pub fn bare() -> Panel {
        Panel { framed: false, if_empty: String::new(), ..Panel::new(Axis::bare(), Axis::bare()) }
    }

    /// An image with equal scales on both axes and its color bar on the right.
    pub fn image(x: Axis, y: Axis, image: ImageMark, label: impl Into<String>) -> Panel {
        let (xs, ys) = (image.grid.x, image.grid.y);
        let bar = ColorBar { label: label.into(), map: image.map, norm: image.norm, side: Side::Right, span: 1 };
        let mut panel = Panel::new(x.range(xs[0], xs[1]), y.range(ys[0], ys[1])).with(image).aspect(Aspect::Shrink);
        panel.bar = Some(bar);
        panel
    }

    /// With a title.
    pub fn title(mut self, title: impl Into<String>) -> Panel {
        self.title = Some(title.into());
        self
    }
    /// With one more mark in front.
    pub fn with(mut self, mark: impl Mark + 'static) -> Panel {
        self.marks.push(Box::new(mark));
        self
    }
    /// With more marks in front.
    pub fn with_all<M: Mark + 'static>(mut self, marks: impl IntoIterator<Item = M>) -> Panel {
        self.marks.extend(marks.into_iter().map(|m| Box::new(m) as Box<dyn Mark>));
        self
    }
    /// With this relation of the scales.
    pub fn aspect(mut self, aspect: Aspect) -> Panel {
        self.aspect = aspect;
        self
    }
    /// With the legend here.
    pub fn legend(mut self, legend: Legend) -> Panel {
        self.legend = legend;
        self
    }
    /// With another color bar, or none.
    pub fn bar(mut self, bar: Option<ColorBar>) -> Panel {
        self.bar = bar;
        self
    }
    /// With ticks in this color.
    pub fn ticks(mut self, color: Rgb) -> Panel {
        self.ticks = color;
        self
    }
    /// With a smaller panel inside.
    pub fn inset(mut self, place: Rect, panel: Panel) -> Panel {
        self.insets.push((place, panel));
        self
    }

    /// All points that the ranges should take care of.
    pub(super) fn extent(&self) -> Vec<Point> {
        let mut points = Vec::new();
        self.marks.iter().for_each(|mark| mark.extent(&mut |p| points.push(p)));
        points
    }

    /// True if no mark has a point that the axes can show.
    pub(super) fn is_empty(&self) -> bool {
        !self.extent().iter().any(|p| self.x.shows(p[0]) && self.y.shows(p[1])) && self.insets.is_empty()
    }
}

/// The image in offsets from its reference point (from its middle if that lies outside).
///
/// Columns that run to the east and rows that run to the south are turned round; a rotated grid is shown in its own axes.
impl From<&Image> for SkyImage {
    fn from(image: &Image) -> SkyImage {
        let (n_y, n_x) = image.data().dim();
        let keys = image.sky().keys();
        let (cell_x, cell_y) = image.sky().cell_rad();
        let [mut c_x, mut c_y] = keys.crpix.map(|p| p - 1.0);
        if !(c_x >= 0.0 && c_y >= 0.0 && c_x < n_x as f64 && c_y < n_y as f64) {
            [c_x, c_y] = [(n_x / 2) as f64, (n_y / 2) as f64];
        }
        let mut values = image.data().clone();
        if keys.cd[0][0] > 0.0 {
            values.invert_axis(ndarray::Axis(1));
            c_x = n_x as f64 - 1.0 - c_x;
        }
        if keys.cd[1][1] < 0.0 {
            values.invert_axis(ndarray::Axis(0));
            c_y = n_y as f64 - 1.0 - c_y;
        }
        let beam =
            image.beam.map(|b| Beam { major: b.bmaj_rad() / ARCSEC, minor: b.bmin_rad() / ARCSEC, angle_deg: b.bpa_rad().to_degrees() });
        SkyImage { values, cell_arcsec: [cell_x / ARCSEC, cell_y / ARCSEC], center_px: [c_x, c_y], beam }
    }
}

/// An image of the sky on a regular grid of offsets.
#[derive(Debug, Clone)]
pub struct SkyImage {
    /// Values `[y, x]`: x grows to the west (right), y to the north (up). Not finite where there is none.
    pub values: ndarray::Array2<f32>,
    /// Width of a pixel in arcsec (positive) in x and y.
    pub cell_arcsec: [f64; 2],
    /// Pixel (x, y), counted from 0, to which the offsets refer.
    pub center_px: [f64; 2],
    /// Synthesized beam in arcsec and degrees.
    pub beam: Option<Beam>,
}

impl SkyImage {
    /// The image with square pixels around its middle (pixel n/2).
    pub fn centered(values: ndarray::Array2<f32>, cell_arcsec: f64) -> SkyImage {
        let (n_y, n_x) = values.dim();
        SkyImage { values, cell_arcsec: [cell_arcsec; 2], center_px: [(n_x / 2) as f64, (n_y / 2) as f64], beam: None }
    }

    /// The values with their place in offsets, in `unit_arcsec` (1 for arcsec, 1e-3 for mas).
    pub fn grid(&self, unit_arcsec: f64) -> Grid {
        let (n_y, n_x) = self.values.dim();
        let [cell_x, cell_y] = self.cell_arcsec.map(|c| c / unit_arcsec);
        let [c_x, c_y] = self.center_px;
        Grid {
            values: self.values.clone(),
            x: [(c_x + 0.5) * cell_x, (c_x + 0.5 - n_x as f64) * cell_x],
            y: [-(c_y + 0.5) * cell_y, (n_y as f64 - 0.5 - c_y) * cell_y],
        }
    }

    /// A map panel: sky axes in offsets, color bar, and the beam in the lower left corner.
    pub fn panel(&self, map: ColorMap, norm: Norm, label: impl Into<String>) -> Panel {
        let (unit, unit_arcsec) = self.unit();
        let image = ImageMark::new(self.grid(unit_arcsec), map, norm).blank(Rgb::BLANK);
        let edge = self.typical();
        let light = if edge.is_finite() { map.at(norm.to_unit(edge)).contrast() } else { Rgb::INK };
        let panel = Panel::image(Axis::ra_offset(unit), Axis::dec_offset(unit), image, label).ticks(light);
        match self.beam {
            Some(b) => {
                let b = Beam { major: b.major / unit_arcsec, minor: b.minor / unit_arcsec, ..b };
                panel.with(b.in_corner(Corner::BottomLeft, light))
            }
            None => panel,
        }
    }

    /// Unit in which offsets are written, and its size in arcsec.
    pub fn unit(&self) -> (&'static str, f64) {
        let (n_y, n_x) = self.values.dim();
        let size = (n_x as f64 * self.cell_arcsec[0]).max(n_y as f64 * self.cell_arcsec[1]);
        if size < 0.5 {
            ("mas", 1e-3)
        } else if size > 600.0 {
            ("arcmin", 60.0)
        } else {
            ("arcsec", 1.0)
        }
    }

    /// Median along the edge, not finite if most of it is blank: what lies behind ticks and beam.
    fn typical(&self) -> f64 {
        let v = &self.values;
        let (n_y, n_x) = v.dim();
        if v.is_empty() {
            return f64::NAN;
        }
        let rows = v.row(0).to_vec().into_iter().chain(v.row(n_y - 1).to_vec());
        let columns = v.column(0).to_vec().into_iter().chain(v.column(n_x - 1).to_vec());
        let mut edge: Vec<f32> = rows.chain(columns).map(|v| if v.is_finite() { v } else { f32::INFINITY }).collect();
        edge.sort_by(f32::total_cmp);
        edge.get(edge.len() / 2).map_or(f64::NAN, |v| f64::from(*v))
    }
}
