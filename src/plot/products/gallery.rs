//! A gallery of maps on one stretch of sky.

use super::{bar_color, common_box, cropped, quantiles, reference_note, scale_bar, shared_axes, unit_markup};
use crate::data::Image;
use crate::error::Result;
use crate::plot::color::{ColorMap, Norm, Stretch};
use crate::plot::ticks::compact;
use crate::plot::{Figure, Panel, Plot, Row, text, theme};

/// What a map shows, which decides its colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Integrated intensity.
    Intensity,
    /// Peak brightness.
    Peak,
    /// Velocity.
    Velocity,
    /// Line width.
    Width,
    /// An error.
    Error,
    /// Anything else.
    Other,
}

impl Quantity {
    /// From the BTYPE of a map and its unit.
    pub fn of(image: &Image) -> Quantity {
        match image.meta.text("BTYPE").unwrap_or_default() {
            t if t.ends_with("Error") => Quantity::Error,
            "Moment0" => Quantity::Intensity,
            "Tpeak" => Quantity::Peak,
            "Moment1" | "Vmax" => Quantity::Velocity,
            "Moment2" | "VelDisp EW" => Quantity::Width,
            _ if image.unit.as_str() == "km s-1" => Quantity::Velocity,
            _ if image.unit.as_str().ends_with("km s-1") => Quantity::Intensity,
            _ => Quantity::Other,
        }
    }

    fn colors(self, image: &Image) -> (ColorMap, Norm) {
        let range = |lo: f64, hi: f64| quantiles(image.data(), lo, hi).unwrap_or((0.0, 1.0));
        match self {
            // Sight lines without a detection hold 0: they would set the lower end.
            Quantity::Intensity => (ColorMap::Inferno, Norm::new(range(0.01, 1.0).0.min(0.0), range(0.0, 0.9995).1, Stretch::Asinh(0.15))),
            Quantity::Peak => (ColorMap::Magma, Norm::new(0.0, range(0.0, 0.9995).1, Stretch::Asinh(0.3))),
            Quantity::Velocity => {
                let (lo, hi) = range(0.01, 0.99);
                // A single channel has a single velocity.
                let (lo, hi) = if hi - lo > 1e-6 * lo.abs() { (lo, hi) } else { (lo - 1.0, hi + 1.0) };
                (ColorMap::BlueRed, Norm::new(lo, hi, Stretch::Linear))
            }
            Quantity::Width => (ColorMap::Viridis, Norm::new(0.0, range(0.0, 0.98).1, Stretch::Linear)),
            Quantity::Error => (ColorMap::Cividis, Norm::new(0.0, range(0.0, 0.99).1, Stretch::Linear)),
            Quantity::Other => (ColorMap::Viridis, Norm::of(image.data(), Stretch::Linear)),
        }
    }
}

/// One map of a gallery.
#[derive(Debug, Clone)]
pub struct GalleryMap {
    /// Title.
    pub title: String,
    /// The map.
    pub image: Image,
}

/// Maps side by side.
#[derive(Debug, Clone)]
pub struct MapGallery {
    /// Headline.
    pub title: String,
    /// The maps, all on one grid.
    pub maps: Vec<GalleryMap>,
    /// Maps in a row.
    pub columns: usize,
    /// For a scale bar in pc.
    pub distance_mpc: Option<f64>,
    /// Show only the part of the sky that has values.
    pub crop: bool,
}

impl Plot for MapGallery {
    fn figure(&self) -> Result<Figure> {
        let columns = self.columns.clamp(1, self.maps.len().max(1));
        let rows = self.maps.len().div_ceil(columns).max(1);
        let images: Vec<&Image> = self.maps.iter().map(|m| &m.image).collect();
        let part = if self.crop { common_box(&images) } else { [0, usize::MAX, 0, usize::MAX] };
        let first = images.first().map(|i| cropped(i, part));
        let ratio = first.as_ref().map_or(1.0, |s| {
            let (ny, nx) = s.values.dim();
            (ny as f64 * s.cell_arcsec[1]) / (nx.max(1) as f64 * s.cell_arcsec[0])
        });
        let width = theme::WIDTH * if columns == 1 { 0.65 } else { (columns as f64 / 3.0).clamp(1.0, 1.6) };
        let reference = images.first().map(|i| reference_note(i)).unwrap_or_default();
        let headline = if self.title.is_empty() { reference } else { format!("{}   {reference}", self.title) };
        let mut figure = Figure::new(width, &vec![1.0; columns], &vec![Row::Ratio(ratio.clamp(0.3, 3.0)); rows]).headline(headline);
        for (i, m) in self.maps.iter().enumerate() {
            let (row, column) = (i / columns, i % columns);
            let bottom = i + columns >= self.maps.len();
            figure = figure.place(row, column, shared_axes(self.panel(m, part, i == 0), column == 0, bottom));
        }
        Ok(figure)
    }

    fn alt(&self) -> String {
        let say = |m: &GalleryMap| {
            let (lo, hi) = m.image.min_max().unwrap_or((f32::NAN, f32::NAN));
            let title = text::plain(&m.title);
            format!("{title} {} to {} {}", compact(f64::from(lo), 3), compact(f64::from(hi), 3), m.image.unit)
        };
        let all: Vec<String> = self.maps.iter().map(say).collect();
        format!("{}. Maps: {}.", self.title, all.join("; ")).replace('\u{2212}', "-")
    }
}

impl MapGallery {
    fn panel(&self, m: &GalleryMap, part: [usize; 4], first: bool) -> Panel {
        let quantity = Quantity::of(&m.image);
        let (map, norm) = quantity.colors(&m.image);
        let sky = cropped(&m.image, part);
        let unit = unit_markup(m.image.unit.as_str());
        let panel = sky.panel(map, norm, unit).title(&*m.title);
        if !first {
            return panel;
        }
        panel.with(scale_bar(&sky, self.distance_mpc, bar_color(&sky, map, norm)))
    }
}
