//! Primary beams: how much of a source's flux an antenna sees off its axis.

use ndarray::Array2;

use super::ImagingError;
use crate::gridding::Geometry;
use crate::notice::{Reporter, Warning};
use crate::units::C_M_S;

/// Shape of an antenna's power beam.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BeamModel {
    /// CASA's beam of ALMA: an Airy pattern with the blockage evaluated at the wrong radius, as tclean uses it.
    CasaAlma,
    /// A uniformly lit dish of `dish` metres with a blocked disc of `blockage` metres in its middle.
    Airy,
    /// Polynomials in (radius times frequency)² of the VLA (AIPS task PBCOR).
    Vla,
    /// A Gaussian of FWHM 1.13 λ/D.
    Gaussian,
}

/// The primary beam of one kind of antenna.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrimaryBeam {
    model: BeamModel,
    /// Diameter that is lit, metres.
    dish_m: f64,
    /// Diameter of the blockage, metres.
    blockage_m: f64,
}

/// Diameters within this of each other count as one kind of antenna, metres.
const SAME_DISH_M: f64 = 0.5;

impl PrimaryBeam {
    /// The beam of a telescope's antennas; says so where only their diameter is known of it.
    pub fn of_telescope(telescope: &str, dish_m: f64, notice: &dyn Reporter) -> Result<PrimaryBeam, ImagingError> {
        if dish_m < 0.0 {
            return Err(ImagingError::Option { name: "dish", value: dish_m.to_string(), expected: "a diameter above 0, in metres" });
        }
        let name = telescope.to_ascii_uppercase();
        let alma = name.starts_with("ALMA") || name == "ACA" || name == "OSF";
        if alma && (dish_m - 12.0).abs() < SAME_DISH_M {
            return Ok(PrimaryBeam { model: BeamModel::CasaAlma, dish_m: 10.7, blockage_m: 0.75 });
        }
        if alma && (dish_m - 7.0).abs() < SAME_DISH_M {
            return Ok(PrimaryBeam { model: BeamModel::CasaAlma, dish_m: 6.25, blockage_m: 0.75 });
        }
        if name.contains("VLA") && (dish_m - 25.0).abs() < 1.0 {
            return Ok(PrimaryBeam { model: BeamModel::Vla, dish_m: 25.0, blockage_m: 0.0 });
        }
        if !(dish_m.is_finite() && dish_m > 0.0) {
            return Err(ImagingError::UnknownBeam { telescope: telescope.to_string() });
        }
        notice.warn(
            Warning::new(
                "primary-beam-guessed",
                format!("the primary beam of {telescope} with dishes of {dish_m:.4} m is unknown: a Gaussian of FWHM 1.13 λ/D is used"),
            )
            .hint("fluxes away from the pointing center depend on it"),
        );
        Ok(PrimaryBeam { model: BeamModel::Gaussian, dish_m, blockage_m: 0.0 })
    }

    /// A beam of a chosen model.
    pub fn new(model: BeamModel, dish_m: f64, blockage_m: f64) -> PrimaryBeam {
        PrimaryBeam { model, dish_m, blockage_m }
    }

    /// Power relative to the axis, at `radius_rad` from it; 0 beyond the main lobe of polynomials.
    pub fn power(&self, radius_rad: f64, freq_hz: f64) -> f64 {
        let x = std::f64::consts::PI * freq_hz * self.dish_m * radius_rad / C_M_S;
        match self.model {
            BeamModel::CasaAlma => {
                let l = self.dish_m / self.blockage_m;
                let r = l * l;
                ((r * jinc(x) - jinc(x * l)) / (r - 1.0)).powi(2)
            }
            BeamModel::Airy if self.blockage_m > 0.0 => {
                let l = self.dish_m / self.blockage_m;
                let r = l * l;
                ((r * jinc(x) - jinc(x / l)) / (r - 1.0)).powi(2)
            }
            BeamModel::Airy => jinc(x).powi(2),
            BeamModel::Vla => vla(radius_rad, freq_hz),
            BeamModel::Gaussian => {
                let fwhm = 1.13 * C_M_S / (freq_hz * self.dish_m);
                (-4.0 * std::f64::consts::LN_2 * (radius_rad / fwhm).powi(2)).exp()
            }
        }
    }

    /// True if the shape of the beam is another at these frequencies, not only its size.
    fn is_other_band(&self, a_hz: f64, b_hz: f64) -> bool {
        let band = |hz: f64| VLA.iter().position(|(top, _)| hz / 1e9 < *top);
        self.model == BeamModel::Vla && band(a_hz) != band(b_hz)
    }

    /// Radius at which the power first falls to `level`, rad.
    pub fn radius(&self, level: f64, freq_hz: f64) -> f64 {
        let step = 0.01 * C_M_S / (freq_hz * self.dish_m);
        let outside = (1..1000).map(|i| i as f64 * step).find(|r| self.power(*r, freq_hz) <= level).unwrap_or(1000.0 * step);
        let (mut low, mut high) = (outside - step, outside);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if self.power(middle, freq_hz) > level { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    }

    /// Radius beyond which the power stays below `level`, sidelobes included, rad.
    pub fn reach(&self, level: f64, freq_hz: f64) -> f64 {
        let step = 0.01 * C_M_S / (freq_hz * self.dish_m);
        (1..1000).rev().map(|i| i as f64 * step).find(|r| self.power(*r, freq_hz) > level).unwrap_or(0.0) + step
    }

    /// A table of the power against the square of the radius, for whole images.
    pub fn table(&self, freq_hz: f64, max_radius_rad: f64) -> PowerTable {
        const STEPS: usize = 16_384;
        let step = (max_radius_rad * max_radius_rad).max(f64::MIN_POSITIVE) / STEPS as f64;
        PowerTable { per_step: 1.0 / step, power: (0..=STEPS + 1).map(|i| self.power((i as f64 * step).sqrt(), freq_hz)).collect() }
    }
}

/// The power of a beam over a band: as beams depend on radius times frequency, one table serves all channels.
#[derive(Debug, Clone)]
pub struct BandTable {
    beam: PrimaryBeam,
    table: PowerTable,
    max_radius_rad: f64,
    table_hz: f64,
}

impl BandTable {
    /// For frequencies up to `highest_hz` and radii up to `max_radius_rad`.
    pub fn new(beam: PrimaryBeam, highest_hz: f64, max_radius_rad: f64) -> BandTable {
        BandTable { beam, table: beam.table(highest_hz, max_radius_rad), max_radius_rad, table_hz: highest_hz }
    }

    /// For the pixels of an image whose center is the axis of the beam.
    pub fn of_image(beam: PrimaryBeam, g: &Geometry, highest_hz: f64) -> BandTable {
        let far = |n: usize, c: f64| c.abs().max((n as f64 - c).abs()) * g.cell_rad;
        BandTable::new(beam, highest_hz, 1.01 * far(g.nx, g.center.0).hypot(far(g.ny, g.center.1)))
    }

    /// The power in the pixels of an image, its center the axis of the beam.
    pub fn image(&self, g: &Geometry, freq_hz: f64) -> Array2<f32> {
        if self.beam.is_other_band(freq_hz, self.table_hz) {
            return BandTable::new(self.beam, freq_hz, self.max_radius_rad).image(g, freq_hz);
        }
        let scale = (g.cell_rad * freq_hz / self.table_hz).powi(2);
        let dx2: Vec<f64> = (0..g.nx).map(|x| (x as f64 - g.center.0).powi(2)).collect();
        let mut out = Array2::zeros((g.ny, g.nx));
        for (y, mut row) in out.rows_mut().into_iter().enumerate() {
            let dy2 = (y as f64 - g.center.1).powi(2);
            row.iter_mut().zip(&dx2).for_each(|(out, dx2)| *out = self.table.at(scale * (dx2 + dy2)) as f32);
        }
        out
    }
}

/// The power of a beam, linear between entries that are equally spaced in the square of the radius.
#[derive(Debug, Clone)]
pub struct PowerTable {
    per_step: f64,
    power: Vec<f64>,
}

impl PowerTable {
    /// Power at a squared radius, rad²; 0 beyond the table.
    #[inline]
    pub fn at(&self, radius2_rad2: f64) -> f64 {
        let x = radius2_rad2 * self.per_step;
        let i = x as usize;
        match (self.power.get(i), self.power.get(i + 1)) {
            (Some(a), Some(b)) => a + (b - a) * (x - i as f64),
            _ => 0.0,
        }
    }
}

/// 2 J1(x)/x
fn jinc(x: f64) -> f64 {
    if x.abs() < 1e-6 { 1.0 } else { 2.0 * j1(x) / x }
}

/// Bessel function of the first kind and first order, to 1e-8 (Abramowitz & Stegun 9.4.4, 9.4.6).
fn j1(x: f64) -> f64 {
    let ax = x.abs();
    if ax < 3.0 {
        let y = (x / 3.0) * (x / 3.0);
        let p = [0.5, -0.562_499_85, 0.210_935_73, -0.039_542_89, 0.004_433_19, -0.000_317_61, 0.000_011_09];
        return x * p.iter().rev().fold(0.0, |s, c| s * y + c);
    }
    let y = 3.0 / ax;
    let f = [0.797_884_56, 0.000_001_56, 0.016_596_67, 0.000_171_05, -0.002_495_11, 0.001_136_53, -0.000_200_33];
    let t = [-2.356_194_49, 0.124_996_12, 0.000_056_50, -0.006_378_79, 0.000_743_48, 0.000_798_24, -0.000_291_66];
    let poly = |c: &[f64; 7]| c.iter().rev().fold(0.0, |s, c| s * y + c);
    poly(&f) * (ax + poly(&t)).cos() / ax.sqrt() * x.signum()
}

/// Coefficients of x, x², x³ with x = (arcmin GHz)², and the highest frequency, GHz, that they serve.
#[rustfmt::skip]
const VLA: [(f64, [f64; 3]); 8] = [
    (0.15, [-0.897e-3, 2.71e-7, -0.242e-10]),
    (0.7, [-0.935e-3, 3.23e-7, -0.378e-10]),
    (2.3, [-1.343e-3, 6.579e-7, -1.186e-10]),
    (6.5, [-1.372e-3, 6.940e-7, -1.309e-10]),
    (12.0, [-1.306e-3, 6.253e-7, -1.100e-10]),
    (18.5, [-1.305e-3, 6.155e-7, -1.030e-10]),
    (33.0, [-1.417e-3, 7.332e-7, -1.352e-10]),
    (f64::INFINITY, [-1.321e-3, 6.185e-7, -0.983e-10]),
];

fn vla(radius_rad: f64, freq_hz: f64) -> f64 {
    let ghz = freq_hz / 1e9;
    let arcmin = radius_rad.to_degrees() * 60.0;
    let x = (arcmin * ghz).powi(2);
    let c = VLA.iter().find(|(top, _)| ghz < *top).map_or(VLA[7].1, |(_, c)| *c);
    let power = 1.0 + x * (c[0] + x * (c[1] + x * c[2]));
    // The polynomials hold to 3 % of the axis; beyond they turn up or below zero.
    if x > 1800.0 || power < 0.0 { 0.0 } else { power }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notice::Quiet;
    use crate::units::ARCSEC;

    #[test]
    fn bessel_function_at_known_places() {
        for (x, expected) in [(1.0, 0.440_050_585_7), (3.831_705_97, 0.0), (10.0, 0.043_472_746_2), (-2.0, -0.576_724_807_8)] {
            assert!((j1(x) - expected).abs() < 3e-8, "{x}");
        }
    }

    #[test]
    fn half_power_of_alma_is_1_13_wavelengths_over_the_dish() {
        let quiet = Quiet::default();
        for (dish, expected) in [(12.0, 1.13), (7.0, 1.13)] {
            let beam = PrimaryBeam::of_telescope("ALMA", dish, &quiet).unwrap();
            let fwhm = 2.0 * beam.radius(0.5, 230e9);
            // Between 1.10 and 1.17: the lit diameters are CASA's, not the dishes'.
            assert!((fwhm / (C_M_S / 230e9 / dish) - expected).abs() < 0.05, "{}", fwhm / ARCSEC);
            assert!((beam.power(0.0, 230e9) - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn the_reach_of_a_beam_includes_its_sidelobes() {
        let airy = PrimaryBeam::new(BeamModel::Airy, 12.0, 0.0);
        let unit = C_M_S / (230e9 * 12.0);
        // Nulls at 1.22, 2.23 and 3.24 λ/D; sidelobes of 1.75 %, 0.42 % between them.
        let (first, last) = (airy.radius(0.005, 230e9) / unit, airy.reach(0.005, 230e9) / unit);
        assert!(first < 1.22 && (1.64..2.23).contains(&last), "{first} {last}");
        let gaussian = PrimaryBeam::new(BeamModel::Gaussian, 12.0, 0.0);
        assert!((gaussian.reach(0.005, 230e9) - gaussian.radius(0.005, 230e9)).abs() < 0.02 * unit);
    }

    #[test]
    fn the_table_follows_the_beam() {
        let beam = PrimaryBeam::new(BeamModel::CasaAlma, 10.7, 0.75);
        let table = beam.table(345e9, 60.0 * ARCSEC);
        for r in [0.0, 3.3, 12.7, 41.0, 59.9] {
            assert!((table.at((r * ARCSEC).powi(2)) - beam.power(r * ARCSEC, 345e9)).abs() < 2e-6, "{r}");
        }
    }

    #[test]
    fn a_guessed_beam_is_said_to_be_one() {
        let quiet = Quiet::default();
        PrimaryBeam::of_telescope("NOEMA", 15.0, &quiet).unwrap();
        assert_eq!(quiet.warnings()[0].name, "primary-beam-guessed");
        assert!(PrimaryBeam::of_telescope("NONAME", 0.0, &quiet).is_err());
    }
}
