//! Gaussian beams: area, containment, convolution and deconvolution.

use super::DataError;
use crate::units::ARCSEC;

/// An elliptical Gaussian beam by its full widths at half maximum; the position angle runs from north to east.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Beam {
    bmaj_rad: f64,
    bmin_rad: f64,
    bpa_rad: f64,
}

impl Beam {
    /// The last beam that AIPS or CASA wrote into a history.
    pub fn of_history<'a>(lines: impl DoubleEndedIterator<Item = &'a str>) -> Option<Beam> {
        lines.rev().find_map(|line| aips_beam(line).or_else(|| casa_beam(line)))
    }
    /// A beam; refuses axes that are not positive or in the wrong order (to one part in 10^6, which is swapped).
    pub fn new(bmaj_rad: f64, bmin_rad: f64, bpa_rad: f64) -> Result<Beam, DataError> {
        let wrong =
            !(bmaj_rad.is_finite() && bmin_rad.is_finite() && bpa_rad.is_finite()) || bmin_rad <= 0.0 || bmin_rad > bmaj_rad * (1.0 + 1e-6);
        if wrong {
            return Err(DataError::Beam { bmaj_rad, bmin_rad, bpa_rad });
        }
        Ok(Beam { bmaj_rad, bmin_rad: bmin_rad.min(bmaj_rad), bpa_rad })
    }

    /// A circular beam.
    pub fn round(fwhm_rad: f64) -> Result<Beam, DataError> {
        Beam::new(fwhm_rad, fwhm_rad, 0.0)
    }

    /// Major axis, FWHM, rad.
    pub fn bmaj_rad(self) -> f64 {
        self.bmaj_rad
    }
    /// Minor axis, FWHM, rad.
    pub fn bmin_rad(self) -> f64 {
        self.bmin_rad
    }
    /// Position angle of the major axis from north to east, rad.
    pub fn bpa_rad(self) -> f64 {
        self.bpa_rad
    }
    /// Solid angle of the Gaussian, sr.
    pub fn sr(self) -> f64 {
        std::f64::consts::PI * self.bmaj_rad * self.bmin_rad / (4.0 * std::f64::consts::LN_2)
    }
    /// True where the axes differ by less than `tolerance` of the major one.
    pub fn is_round(self, tolerance: f64) -> bool {
        self.bmaj_rad - self.bmin_rad <= tolerance * self.bmaj_rad
    }
    /// The beam as the squares of its widths.
    pub fn ellipse(self) -> Ellipse {
        let (s, c) = self.bpa_rad.sin_cos();
        let (a, b) = (self.bmaj_rad * self.bmaj_rad, self.bmin_rad * self.bmin_rad);
        Ellipse { ee: a * s * s + b * c * c, nn: a * c * c + b * s * s, en: (a - b) * s * c }
    }
    /// The kernel that turns this beam into `target`; `None` where `target` does not contain it.
    ///
    /// Differences below 2e-7 of the target's area, the rounding of header cards, count as none.
    pub fn kernel_to(self, target: Beam) -> Option<Ellipse> {
        let (t, s) = (target.ellipse(), self.ellipse());
        let difference = Ellipse { ee: t.ee - s.ee, nn: t.nn - s.nn, en: t.en - s.en };
        let tolerance = 2e-7 * target.bmaj_rad * target.bmaj_rad;
        let (major, minor, pa) = difference.axes();
        if minor < -tolerance {
            return None;
        }
        let (s, c) = pa.sin_cos();
        let (a, b) = (major.max(0.0), minor.max(0.0));
        Some(Ellipse { ee: a * s * s + b * c * c, nn: a * c * c + b * s * s, en: (a - b) * s * c })
    }
    /// This beam convolved with another.
    pub fn convolved_with(self, kernel: Ellipse) -> Result<Beam, DataError> {
        let s = self.ellipse();
        Ellipse { ee: s.ee + kernel.ee, nn: s.nn + kernel.nn, en: s.en + kernel.en }.beam()
    }
}

impl std::fmt::Display for Beam {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.4} x {:.4} arcsec at {:.1} deg", self.bmaj_rad / ARCSEC, self.bmin_rad / ARCSEC, self.bpa_rad.to_degrees())
    }
}

/// The squared widths of a Gaussian as a symmetric matrix over (east, north), FWHM², rad².
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ellipse {
    /// East-east.
    pub ee: f64,
    /// North-north.
    pub nn: f64,
    /// East-north.
    pub en: f64,
}

impl Ellipse {
    /// Squared major and minor axis and the position angle of the major one.
    pub fn axes(self) -> (f64, f64, f64) {
        let (mean, half) = ((self.ee + self.nn) / 2.0, (self.nn - self.ee) / 2.0);
        let spread = half.hypot(self.en);
        let pa = if spread == 0.0 { 0.0 } else { 0.5 * self.en.atan2(half) };
        (mean + spread, mean - spread, pa)
    }
    /// As a beam, if both axes are positive.
    pub fn beam(self) -> Result<Beam, DataError> {
        let (a, b, pa) = self.axes();
        Beam::new(a.max(0.0).sqrt(), b.max(0.0).sqrt(), pa)
    }
    /// True where nothing is left to convolve with.
    pub fn is_zero(self) -> bool {
        self.ee + self.nn == 0.0
    }
}

/// The beam or beams of a cube.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Beams {
    /// The header gives none.
    None,
    /// One for all channels.
    One(Beam),
    /// One for each channel; `None` where a channel is blank.
    PerChannel(Vec<Option<Beam>>),
}

/// `AIPS   CLEAN BMAJ=  2.3611E-03 BMIN=  1.1111E-03 BPA=   0.00`, degrees.
fn aips_beam(line: &str) -> Option<Beam> {
    let after = |key: &str| line.split_once(key)?.1.split_whitespace().next()?.parse::<f64>().ok();
    (line.contains("AIPS") && line.contains("CLEAN")).then_some(())?;
    let (a, b, pa) = (after("BMAJ=")?, after("BMIN=")?, after("BPA=").unwrap_or(0.0));
    Beam::new(a.to_radians(), b.to_radians(), pa.to_radians()).ok()
}

/// `... restoration: 0.337 by 0.249 (arcsec) at pa 32.4 (deg)`.
fn casa_beam(line: &str) -> Option<Beam> {
    let (a, rest) = line.split_once("restoration:")?.1.split_once(" by ")?;
    let (b, rest) = rest.split_once('(')?;
    let (unit, rest) = rest.split_once(')')?;
    let pa = rest.split_once("pa")?.1.split_whitespace().next()?;
    let scale = match unit.trim() {
        "arcsec" => ARCSEC,
        "arcmin" => 60.0 * ARCSEC,
        "deg" => 3600.0 * ARCSEC,
        _ => return None,
    };
    Beam::new(a.trim().parse::<f64>().ok()? * scale, b.trim().parse::<f64>().ok()? * scale, pa.parse::<f64>().ok()?.to_radians()).ok()
}

impl Beams {
    /// Beam of a channel.
    pub fn of_channel(&self, channel: usize) -> Option<Beam> {
        match self {
            Beams::None => None,
            Beams::One(b) => Some(*b),
            Beams::PerChannel(v) => v.get(channel).copied().flatten(),
        }
    }
    /// The one beam that stands for all: the common one, or the one of largest area.
    pub fn largest(&self) -> Option<Beam> {
        match self {
            Beams::None => None,
            Beams::One(b) => Some(*b),
            Beams::PerChannel(v) => v.iter().flatten().copied().max_by(|a, b| a.sr().total_cmp(&b.sr())),
        }
    }
    /// A circle that contains every beam.
    pub fn round_cover(&self) -> Option<Beam> {
        let fwhm = match self {
            Beams::None => return None,
            Beams::One(b) => b.bmaj_rad,
            Beams::PerChannel(v) => v.iter().flatten().map(|b| b.bmaj_rad).max_by(f64::total_cmp)?,
        };
        Beam::round(fwhm).ok()
    }
    /// Largest departure of a beam's area from the median one, as a fraction; 0 for one beam.
    pub fn spread(&self) -> f64 {
        let Beams::PerChannel(v) = self else { return 0.0 };
        let mut area: Vec<f64> = v.iter().flatten().map(|b| b.sr()).collect();
        area.sort_by(f64::total_cmp);
        match (area.first(), area.last(), area.get(area.len() / 2)) {
            (Some(a), Some(b), Some(m)) => (b / m - 1.0).max(1.0 - a / m),
            _ => 0.0,
        }
    }
    /// One beam where all are the same to one part in 10^6.
    pub fn simplified(self) -> Beams {
        let Beams::PerChannel(v) = &self else { return self };
        let Some(first) = v.iter().flatten().next().copied() else { return Beams::None };
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * first.bmaj_rad;
        let same = v.iter().flatten().all(|b| {
            let (d, e) = (b.ellipse(), first.ellipse());
            let scale = first.bmaj_rad;
            near(b.bmaj_rad, first.bmaj_rad)
                && near(b.bmin_rad, first.bmin_rad)
                && (d.en - e.en).abs() <= 1e-6 * scale * scale
                && (d.ee - e.ee).abs() <= 2e-6 * scale * scale
        });
        if same { Beams::One(first) } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beam(a: f64, b: f64, pa_deg: f64) -> Beam {
        Beam::new(a * ARCSEC, b * ARCSEC, pa_deg.to_radians()).unwrap()
    }

    #[test]
    fn a_kernel_added_to_the_beam_gives_the_target() {
        for (from, to) in [(beam(1.2, 0.8, 35.0), beam(3.0, 2.5, -70.0)), (beam(1.0, 1.0, 0.0), beam(1.5, 1.1, 120.0))] {
            let got = from.convolved_with(from.kernel_to(to).unwrap()).unwrap();
            assert!((got.bmaj_rad / to.bmaj_rad - 1.0).abs() < 1e-12 && (got.bmin_rad / to.bmin_rad - 1.0).abs() < 1e-12);
            assert!(((got.bpa_rad - to.bpa_rad) * 2.0).sin().abs() < 1e-12);
        }
    }

    #[test]
    fn a_beam_that_sticks_out_has_no_kernel() {
        assert!(beam(2.0, 0.5, 0.0).kernel_to(beam(1.9, 1.9, 0.0)).is_none());
        // larger in area, yet not containing: the major axes are perpendicular
        assert!(beam(2.0, 1.0, 0.0).kernel_to(beam(2.5, 1.5, 90.0)).is_none());
        assert!(beam(1.0, 1.0, 0.0).kernel_to(beam(1.0, 1.0, 45.0)).is_some_and(|k| k.is_zero()));
    }

    #[test]
    fn impossible_axes_are_refused() {
        for (a, b) in [(1.0, 2.0), (0.0, 0.0), (1.0, -1.0), (f64::NAN, 1.0)] {
            assert!(Beam::new(a, b, 0.0).is_err());
        }
    }

    #[test]
    fn area_of_a_gaussian() {
        assert!((beam(2.0, 1.0, 0.0).sr() / (ARCSEC * ARCSEC) - 2.266180070913597).abs() < 1e-12);
    }
}
