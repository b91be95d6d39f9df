//! Figures of cubes and their products: galleries of maps, noise, masks, channel maps, spectra, profiles, position-velocity.

mod channels;
mod gallery;
mod masks;
mod noise;
mod profile;
mod slice;
mod spectrum;

pub use channels::ChannelMaps;
pub use gallery::{GalleryMap, MapGallery, Quantity};
pub use masks::{MaskOverview, MaskShown};
pub use noise::NoiseFigure;
pub use profile::ProfileFigure;
pub use slice::SliceFigure;
pub use spectrum::{SpectrumFigure, SpectrumShown, channel_edges};

use super::color::{ColorMap, Norm, Rgb};
use super::mark::{Corner, ScaleBar};
use super::ticks::compact;
use super::{Axis, Panel, SkyImage};
use crate::data::Image;
use crate::units::ARCSEC;

/// The values at two fractions of the sorted finite values; `None` where there are none.
fn quantiles<'a>(values: impl IntoIterator<Item = &'a f32>, lo: f64, hi: f64) -> Option<(f64, f64)> {
    let mut v: Vec<f32> = values.into_iter().copied().filter(|v| v.is_finite()).collect();
    if v.is_empty() {
        return None;
    }
    v.sort_unstable_by(f32::total_cmp);
    let at = |f: f64| f64::from(v[((v.len() - 1) as f64 * f).round() as usize]);
    Some((at(lo), at(hi)))
}

/// A unit as axis labels show it: exponents raised.
pub fn unit_markup(unit: &str) -> String {
    let words: Vec<String> = unit
        .split_whitespace()
        .map(|w| match w.find(|c: char| c == '-' || c.is_ascii_digit()) {
            Some(i) if i > 0 => format!("{}^{{{}}}", &w[..i], w[i..].replace('-', "−")),
            _ => w.to_string(),
        })
        .collect();
    words.join(" ").replace("Jy/beam", "Jy beam^{−1}")
}

/// A length of 1, 2 or 5 times a power of ten of the unit that the axes show, or of parsecs, near a fifth of the image, with its name.
fn scale_bar(image: &SkyImage, distance_mpc: Option<f64>, color: Rgb) -> ScaleBar {
    let (unit, unit_arcsec) = image.unit();
    let width = image.values.ncols() as f64 * image.cell_arcsec[0] / unit_arcsec;
    let Some(d) = distance_mpc else {
        let length = round_number(width / 5.0);
        return ScaleBar { length, label: format!("{} {unit}", compact(length, 3)), corner: Corner::BottomRight, color };
    };
    let pc_per_unit = d * 1e6 * ARCSEC * unit_arcsec;
    let pc = round_number(width * pc_per_unit / 5.0);
    let label = if pc >= 1000.0 { format!("{} kpc", compact(pc / 1000.0, 3)) } else { format!("{} pc", compact(pc, 3)) };
    ScaleBar { length: pc / pc_per_unit, label, corner: Corner::BottomRight, color }
}

/// The color that reads on what lies behind a scale bar, in the lower right of an image.
fn bar_color(sky: &SkyImage, map: ColorMap, norm: Norm) -> Rgb {
    let (ny, nx) = sky.values.dim();
    let behind = sky.values.get([ny / 12, nx * 5 / 6]).copied().unwrap_or(f32::NAN);
    if behind.is_finite() { map.at(norm.to_unit(f64::from(behind))).contrast() } else { Rgb::INK }
}

/// The largest of 1, 2, 5 times a power of ten that is not above `v`.
fn round_number(v: f64) -> f64 {
    let p = 10f64.powf(v.max(f64::MIN_POSITIVE).log10().floor());
    [5.0, 2.0, 1.0].into_iter().map(|m| m * p).find(|r| *r <= v * 1.000_001).unwrap_or(p)
}

/// Removes numbers and labels that a panel shares with its neighbours: rows left of it and below it show them.
fn shared_axes(mut panel: Panel, left: bool, bottom: bool) -> Panel {
    if !left {
        panel.y = Axis { labelled: false, ..panel.y };
    }
    if !bottom {
        panel.x = Axis { labelled: false, ..panel.x };
    }
    panel
}

/// The image cut to the box of its finite values and a margin, so that large blank borders do not make maps small.
pub fn cropped(image: &Image, [y0, y1, x0, x1]: [usize; 4]) -> SkyImage {
    let sky = SkyImage::from(image);
    let (ny, nx) = sky.values.dim();
    let (y1, x1) = (y1.min(ny), x1.min(nx));
    let values = sky.values.slice(ndarray::s![y0.min(y1)..y1, x0.min(x1)..x1]).to_owned();
    let [cx, cy] = sky.center_px;
    SkyImage { values, center_px: [cx - x0 as f64, cy - y0 as f64], ..sky }
}

/// Rows and columns that hold what the images show, with a margin of a twentieth; the whole where they show nothing.
///
/// Images that fill much more of the sky than the emptiest (peak maps, limits) do not count.
pub fn common_box(images: &[&Image]) -> [usize; 4] {
    let Some(first) = images.first() else { return [0, usize::MAX, 0, usize::MAX] };
    let (ny, nx) = first.data().dim();
    // As the figure turns them: rows up, columns to the west.
    let turned: Vec<SkyImage> = images.iter().filter(|i| i.data().dim() == (ny, nx)).map(|i| SkyImage::from(*i)).collect();
    let shows = |v: &f32| v.is_finite() && *v != 0.0;
    let filled = |s: &SkyImage| s.values.iter().filter(|v| shows(v)).count();
    let least = turned.iter().map(filled).filter(|n| *n > 0).min().unwrap_or(0);
    let mut b = [ny, 0, nx, 0];
    for sky in turned.iter().filter(|s| filled(s) <= 4 * least) {
        for ((y, x), _) in sky.values.indexed_iter().filter(|(_, v)| shows(v)) {
            b = [b[0].min(y), b[1].max(y + 1), b[2].min(x), b[3].max(x + 1)];
        }
    }
    if b[0] >= b[1] {
        return [0, ny, 0, nx];
    }
    // A square about the middle, with room for beam and scale bar.
    let side = ((b[1] - b[0]).max(b[3] - b[2]) as f64 * 1.25).ceil() as usize + 2;
    let around = |lo: usize, hi: usize, n: usize| {
        let start = ((lo + hi) / 2).saturating_sub(side / 2);
        [start, (start + side).min(n)]
    };
    let ([y0, y1], [x0, x1]) = (around(b[0], b[1], ny), around(b[2], b[3], nx));
    [y0, y1, x0, x1]
}

/// Reference of the offsets: `Offsets from 01h36m41.8s +15d46m59s (ICRS)`.
pub fn reference_note(image: &Image) -> String {
    let keys = image.sky().keys();
    let [x, y] = keys.crpix.map(|p| p - 1.0);
    let inside = x >= 0.0 && y >= 0.0 && x < image.nx() as f64 && y < image.ny() as f64;
    let at = if inside { (x, y) } else { ((image.nx() / 2) as f64, (image.ny() / 2) as f64) };
    image.sky().sky_from_pixel(at.0, at.1).map_or(String::new(), |d| format!("Offsets from {}", place(d)))
}

/// A direction as figures write it: `01h36m41.76s +15°46′58.8″ (ICRS)`, degrees in Galactic coordinates.
fn place(d: crate::sky::Direction) -> String {
    if d.frame == crate::sky::Frame::Galactic {
        return format!("l = {:.4}°, b = {:.4}°", d.ra_rad.to_degrees(), d.dec_rad.to_degrees());
    }
    let tau = std::f64::consts::TAU;
    // In hundredths of a second and tenths of an arcsecond, so that no field shows 60.
    let t = (d.ra_rad.rem_euclid(tau) / tau * 86_400e2).round() as u64 % 8_640_000;
    let a = (d.dec_rad.abs().to_degrees() * 36_000.0).round() as u64;
    let sign = if d.dec_rad < 0.0 { '−' } else { '+' };
    let (h, m, s) = (t / 360_000, t / 6_000 % 60, t % 6_000);
    let (deg, min, sec) = (a / 36_000, a / 600 % 60, a % 600);
    format!("{h:02}h{m:02}m{:02}.{:02}s {sign}{deg:02}°{min:02}′{:02}.{}″ ({})", s / 100, s % 100, sec / 10, sec % 10, d.frame.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_carry_into_the_next_field() {
        use crate::sky::{Direction, Frame};
        let d = Direction::new((15.0f64 * 2.0).to_radians() - 1e-9, (-10.0f64).to_radians() + 1e-9, Frame::Icrs);
        assert_eq!(place(d), "02h00m00.00s −10°00′00.0″ (ICRS)");
    }

    #[test]
    fn units_and_lengths_as_labels_show_them() {
        assert_eq!(unit_markup("K km s-1"), "K km s^{−1}");
        assert_eq!(unit_markup("Jy/beam"), "Jy beam^{−1}");
        for (v, r) in [(7.3, 5.0), (1.0, 1.0), (0.29, 0.2), (1234.0, 1000.0)] {
            assert!((round_number(v) / r - 1.0).abs() < 1e-9, "{v}");
        }
    }
}
