//! A figure: panels in a grid, drawn and written.

use std::path::Path;

use super::canvas::Canvas;
use super::draw;
use super::error::PlotError;
use super::geometry::Rect;
use super::layout::{Cells, Margins, Settled, margins, settle, widest};
use super::panel::{Panel, Side};
use super::text::{self, Align, Level, Type};
use super::theme;
use crate::error::{Error, Result};

/// Height of a row of panels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Row {
    /// In units of the width of the first column's frame.
    Ratio(f64),
    /// In points.
    Points(f64),
}

impl Row {
    pub(super) fn height(self, column: f64) -> f64 {
        match self {
            Row::Ratio(r) => r * column,
            Row::Points(p) => p,
        }
    }
}

/// Panels in a grid, with a headline.
///
/// The width is given, the height follows from the rows and from what stands around the panels.
pub struct Figure {
    width: f64,
    columns: Vec<f64>,
    rows: Vec<Row>,
    headline: Option<String>,
    gap: f64,
    panels: Vec<Panel>,
    /// Row, column, rows, columns of each panel.
    places: Vec<[usize; 4]>,
}

impl Figure {
    /// A figure of this width in points, with the relative widths of its columns and the heights of its rows.
    pub fn new(width: f64, columns: &[f64], rows: &[Row]) -> Figure {
        let columns = if columns.is_empty() { &[1.0] } else { columns };
        let rows = if rows.is_empty() { &[Row::Ratio(1.0)] } else { rows };
        Figure {
            width,
            columns: columns.to_vec(),
            rows: rows.to_vec(),
            headline: None,
            gap: theme::GAP,
            panels: Vec::new(),
            places: Vec::new(),
        }
    }
    /// One panel.
    pub fn single(panel: Panel, ratio: f64) -> Figure {
        Figure::new(0.65 * theme::WIDTH, &[1.0], &[Row::Ratio(ratio)]).place(0, 0, panel)
    }
    /// With a headline.
    pub fn headline(mut self, headline: impl Into<String>) -> Figure {
        self.headline = Some(headline.into());
        self
    }
    /// With this space between neighbouring panels and their decorations, in points.
    pub fn gap(mut self, gap: f64) -> Figure {
        self.gap = gap;
        self
    }
    /// With a panel in a cell of the grid.
    pub fn place(self, row: usize, column: usize, panel: Panel) -> Figure {
        self.place_over(row, column, 1, 1, panel)
    }
    /// With a panel over several cells; cells beyond the grid are cut off.
    pub fn place_over(mut self, row: usize, column: usize, rows: usize, columns: usize, panel: Panel) -> Figure {
        let (row, column) = (row.min(self.rows.len() - 1), column.min(self.columns.len() - 1));
        let (rows, columns) = (rows.clamp(1, self.rows.len() - row), columns.clamp(1, self.columns.len() - column));
        self.places.push([row, column, rows, columns]);
        self.panels.push(panel);
        self
    }

    /// Draws the figure.
    pub fn draw(&self) -> Canvas {
        let (frames, height) = self.frames();
        let mut canvas = Canvas::new(self.width, height);
        if let Some(headline) = &self.headline {
            let style = Type::new(theme::HEADLINE).bold();
            let headline = text::elide(headline, &style, self.width - 2.0 * theme::BORDER);
            text::draw(&mut canvas, &headline, [theme::BORDER, theme::BORDER], Align::Left, Level::Top, &style);
        }
        let settled: Vec<Settled> = self.panels.iter().zip(&frames).map(|(p, f)| settle(p, *f)).collect();
        for (i, panel) in self.panels.iter().enumerate() {
            draw::panel(&mut canvas, panel, &settled[i], self.number_width(i, &settled));
            if let Some(bar) = &panel.bar {
                draw::color_bar(&mut canvas, panel, bar, &settled[i].rect, &self.last_frame(i, &frames));
            }
        }
        canvas
    }

    /// Width of the numbers left of panel `i` and of those above and below it, so that their axis labels stand in line.
    fn number_width(&self, i: usize, settled: &[Settled]) -> f64 {
        let in_line = |j: &usize| self.places[*j][1] == self.places[i][1] && self.panels[*j].y.labelled;
        (0..self.panels.len()).filter(in_line).map(|j| widest(&settled[j].y_ticks)).fold(0.0, f64::max)
    }

    /// Frames of the panels and height of the page.
    ///
    /// Frames and numbers depend on each other: margins only grow from one round to the next, until all words fit.
    pub(super) fn frames(&self) -> (Vec<Rect>, f64) {
        let top = if self.headline.is_some() { 1.7 * theme::HEADLINE } else { 0.0 };
        let cells = Cells { width: self.width, gap: self.gap, columns: &self.columns, rows: &self.rows, places: self.places.clone(), top };
        let guess = vec![Margins { left: 50.0, right: 10.0, top: 25.0, bottom: 45.0 }; self.panels.len()];
        let mut margins = self.measure(&cells.frames(&guess).0);
        for _ in 0..5 {
            let grown: Vec<Margins> = self.measure(&cells.frames(&margins).0).iter().zip(&margins).map(|(a, b)| a.max(*b)).collect();
            if grown == margins {
                break;
            }
            margins = grown;
        }
        cells.frames(&margins)
    }

    /// Margins that the panels need in these frames.
    fn measure(&self, frames: &[Rect]) -> Vec<Margins> {
        let measure = |(i, panel): (usize, &Panel)| {
            let settled = settle(panel, frames[i]);
            let last = self.last_frame(i, frames);
            let upright = panel.bar.as_ref().is_some_and(|b| b.side == Side::Right);
            let length = if upright { last.y1 - settled.rect.y0 } else { last.x1 - settled.rect.x0 };
            margins(panel, &settled, length)
        };
        self.panels.iter().enumerate().map(measure).collect()
    }

    /// The frame at which a shared color bar of panel `i` ends.
    fn last_frame(&self, i: usize, frames: &[Rect]) -> Rect {
        let [row, column, ..] = self.places[i];
        let span = self.panels[i].bar.as_ref().map_or(1, |b| b.span.max(1)) - 1;
        let right = self.panels[i].bar.as_ref().is_some_and(|b| b.side == Side::Right);
        let end = if right { [row + span, column] } else { [row, column + span] };
        let at = self.places.iter().position(|p| (p[0]..p[0] + p[2]).contains(&end[0]) && (p[1]..p[1] + p[3]).contains(&end[1]));
        let at = at.unwrap_or(i);
        settle(&self.panels[at], frames[at]).rect
    }

    /// The figure as a PNG file; `alt` goes into its description.
    pub fn png(&self, alt: &str) -> Result<Vec<u8>> {
        let canvas = self.draw();
        let (n_x, n_y) = canvas.size();
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, n_x as u32, n_y as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        let encode = |mut encoder: png::Encoder<&mut Vec<u8>>| -> std::result::Result<(), png::EncodingError> {
            encoder.add_itxt_chunk("Description".into(), alt.into())?;
            let mut writer = encoder.write_header()?;
            writer.write_image_data(canvas.rgb())?;
            writer.finish()
        };
        encode(encoder).map_err(|e| PlotError::Encode { n_x, n_y, reason: e.to_string() })?;
        Ok(bytes)
    }

    /// Writes the figure as PNG: whole or not at all. Makes the folder if need be.
    pub fn write(&self, path: &Path, alt: &str) -> Result<()> {
        let bytes = self.png(alt)?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|e| Error::io("make the folder of a figure", folder, e))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let unfinished = folder.join(format!(".{name}.{}.part", std::process::id()));
        std::fs::write(&unfinished, bytes).and_then(|()| std::fs::rename(&unfinished, path)).map_err(|e| {
            let _ = std::fs::remove_file(&unfinished);
            Error::io("write a figure", path, e)
        })
    }
}
