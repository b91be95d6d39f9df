//! A PSF: its map, profiles through its peak, and its largest sidelobe.

use super::dashed;
use crate::error::Result;
use crate::plot::canvas::Stroke;
use crate::plot::color::{ColorMap, Norm, Rgb, Stretch, series_color};
use crate::plot::mark::{Line, Note, Rule};
use crate::plot::ticks::fixed;
use crate::plot::{Axis, Figure, Panel, Plot, Row, SkyImage, theme};

/// A PSF with the beam fitted to it.
#[derive(Debug, Clone)]
pub struct PsfFigure {
    /// The PSF, peak 1.
    pub psf: SkyImage,
    /// Title.
    pub title: String,
    /// Largest value outside the main lobe, and the deepest one.
    pub sidelobes: [f64; 2],
}

impl PsfFigure {
    /// Values along a row or a column through the center, against the offset from it.
    fn profile(&self, along_x: bool, unit_arcsec: f64) -> Vec<[f64; 2]> {
        let values = &self.psf.values;
        let (n_y, n_x) = values.dim();
        let [cx, cy] = self.psf.center_px;
        let (x0, y0) = ((cx.round() as usize).min(n_x - 1), (cy.round() as usize).min(n_y - 1));
        let (n, center, cell) = if along_x { (n_x, cx, self.psf.cell_arcsec[0]) } else { (n_y, cy, self.psf.cell_arcsec[1]) };
        let at = |i: usize| f64::from(if along_x { values[[y0, i]] } else { values[[i, x0]] });
        (0..n).map(|i| [(i as f64 - center) * cell / unit_arcsec, at(i)]).collect()
    }

    fn gaussian(&self, fwhm: f64, reach: f64) -> Vec<[f64; 2]> {
        let k = 4.0 * std::f64::consts::LN_2 / (fwhm * fwhm);
        (-120..=120).map(|i| reach * f64::from(i) / 120.0).map(|x| [x, (-k * x * x).exp()]).collect()
    }
}

impl Plot for PsfFigure {
    fn figure(&self) -> Result<Figure> {
        let (unit, unit_arcsec) = self.psf.unit();
        let map = self.psf.panel(ColorMap::Inferno, Norm::new(-0.2, 1.0, Stretch::Linear), "Response").title(&*self.title);
        let reach = self.psf.beam.map_or(f64::INFINITY, |b| 8.0 * b.major / unit_arcsec);
        let near = |points: Vec<[f64; 2]>| points.into_iter().filter(|p| p[0].abs() <= reach).collect::<Vec<_>>();
        // Room above the peak for the legend.
        let response = Axis::new("Response").range(-0.3, 1.4);
        let mut panel = Panel::new(Axis::new(format!("Offset ({unit})")), response)
            .title("Through the peak")
            .with(Rule::y(0.0).stroke(Stroke::new(Rgb::PALE, 1.0)))
            .with(Line::new(near(self.profile(true, unit_arcsec)), series_color(0)).key("east-west"))
            .with(Line::new(near(self.profile(false, unit_arcsec)), series_color(1)).key("north-south"));
        if let Some(beam) = self.psf.beam {
            let fwhm = (beam.major * beam.minor).sqrt() / unit_arcsec;
            panel = panel
                .with(Line::new(self.gaussian(fwhm, reach.min(3.0 * fwhm)), Rgb::GREY).stroke(dashed(Rgb::GREY)).key("fitted beam (mean)"));
        }
        let [high, low] = self.sidelobes;
        let note =
            Note::fraction(format!("sidelobes {} to {}", fixed(low, 3), fixed(high, 3)), [0.04, 0.06], crate::plot::text::Align::Left);
        panel = panel.with(note);
        Ok(Figure::new(theme::WIDTH, &[1.0, 0.8], &[Row::Ratio(0.9)]).place(0, 0, map).place(0, 1, panel))
    }

    fn alt(&self) -> String {
        let beam = self.psf.beam.map_or(String::new(), |b| format!(", beam {} x {} arcsec", fixed(b.major, 4), fixed(b.minor, 4)));
        format!(
            "{}: map and profiles of the PSF{beam}, sidelobes from {} to {}.",
            self.title,
            fixed(self.sidelobes[1], 3),
            fixed(self.sidelobes[0], 3)
        )
    }
}
