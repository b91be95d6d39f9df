//! Imaging weights from the density of samples in the (u,v) plane.
//!
//! Cells are 1/(npix cell_rad) wavelengths wide: a sample lies in cell floor(u npix cell_rad + npix/2), and its conjugate
//! counts as a sample of its own. Half the plane is kept; the other half is its mirror image.

use super::Geometry;

/// How samples are weighted against each other.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// By 1/sigma²: the lowest noise.
    Natural,
    /// Every cell of the (u,v) plane the same: the narrowest beam.
    Uniform,
    /// Between the two (Briggs 1995): `robust` -2 is close to uniform, +2 close to natural.
    Briggs {
        /// Robustness.
        robust: f64,
    },
    /// Briggs for the channels of a cube, so that beam and noise are those of a continuum image of the same band (CAS-13021).
    BriggsBwTaper {
        /// Robustness.
        robust: f64,
        /// Width of the cube's band over its middle frequency.
        fractional_bandwidth: f64,
    },
}

impl Scheme {
    /// True where weights depend on the density of samples.
    pub fn needs_density(self) -> bool {
        self != Scheme::Natural
    }
    fn robust(self) -> Option<f64> {
        match self {
            Scheme::Briggs { robust } | Scheme::BriggsBwTaper { robust, .. } => Some(robust),
            _ => None,
        }
    }
}

/// Which integer a coordinate of the density grid becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// The cell that the sample lies in, as CASA counts where one density serves all channels.
    Down,
    /// The nearest cell, as CASA counts where each channel has its own density.
    Nearest,
}

/// Sums of weights in the cells of the (u,v) plane.
#[derive(Debug, Clone)]
pub struct Density {
    /// Columns of u >= 0, and rows of v.
    half_x: usize,
    n_y: usize,
    /// Cells per wavelength.
    scale_x: f64,
    scale_y: f64,
    /// 0 or 1/2: added before rounding down.
    round: f64,
    cells: Vec<f64>,
    sum_weight: f64,
}

impl Density {
    /// An empty plane for an image of this geometry.
    pub fn new(geometry: &Geometry, rounding: Rounding) -> Density {
        let (half_x, n_y) = (geometry.nx / 2 + 1, geometry.ny);
        Density {
            half_x,
            n_y,
            scale_x: geometry.nx as f64 * geometry.cell_rad,
            scale_y: geometry.ny as f64 * geometry.cell_rad,
            round: if rounding == Rounding::Nearest { 0.5 } else { 0.0 },
            cells: vec![0.0; half_x * n_y],
            sum_weight: 0.0,
        }
    }

    /// Column and row of a point with u >= 0.
    #[inline(always)]
    fn place(&self, u: f64, v: f64) -> (f64, f64) {
        (u * self.scale_x + self.round, v * self.scale_y + self.round + (self.n_y / 2) as f64)
    }
    #[inline(always)]
    fn index(&self, (x, y): (f64, f64)) -> Option<usize> {
        (x >= 0.0 && x < self.half_x as f64 && y >= 0.0 && y < self.n_y as f64).then(|| x as usize * self.n_y + y as usize)
    }
    /// Cell of a point or of its mirror image, whichever lies at u >= 0.
    #[inline(always)]
    fn cell(&self, u: f64, v: f64) -> Option<usize> {
        self.index(if u < 0.0 { self.place(-u, -v) } else { self.place(u, v) })
    }

    /// Adds a sample at (u, v), wavelengths.
    #[inline(always)]
    pub fn add(&mut self, u: f64, v: f64, weight: f64) {
        let (u, v) = if u < 0.0 { (-u, -v) } else { (u, v) };
        self.sum_weight += weight;
        if let Some(i) = self.index(self.place(u, v)) {
            self.cells[i] += weight;
        }
        // Where cells are centred on whole numbers the first column holds both samples and conjugates.
        if self.round > 0.0
            && let Some(i) = self.index(self.place(-u, -v))
        {
            self.cells[i] += weight;
        }
    }

    /// The rule that turns natural weights into imaging weights.
    pub fn rule(&self, scheme: Scheme) -> WeightRule<'_> {
        let sum_squares = |cells: &[f64]| cells.chunks(1 << 12).map(|c| c.iter().map(|g| g * g).sum::<f64>()).sum::<f64>();
        // Both halves count; a first column centred on u = 0 belongs to both.
        let (first, rest) = self.cells.split_at(self.n_y);
        let squares = 2.0 * sum_squares(rest) + if self.round > 0.0 { 1.0 } else { 2.0 } * sum_squares(first);
        let f2 = match scheme.robust() {
            Some(robust) if squares > 0.0 => (5.0 * 10f64.powf(-robust)).powi(2) / (squares / (2.0 * self.sum_weight)),
            _ => 0.0,
        };
        WeightRule { density: self, scheme, f2 }
    }
}

/// Imaging weights of one plane.
#[derive(Debug, Clone, Copy)]
pub struct WeightRule<'a> {
    density: &'a Density,
    scheme: Scheme,
    f2: f64,
}

impl WeightRule<'_> {
    /// Imaging weight of a sample at (u, v), wavelengths; 0 beyond the plane.
    #[inline(always)]
    pub fn weight(&self, u: f64, v: f64, weight: f64) -> f64 {
        let Some(i) = self.density.cell(u, v) else { return 0.0 };
        let g = self.density.cells[i];
        match self.scheme {
            Scheme::Natural => weight,
            Scheme::Uniform if g > 0.0 => weight / g,
            Scheme::Uniform => 0.0,
            Scheme::Briggs { .. } => weight / (1.0 + g * self.f2),
            Scheme::BriggsBwTaper { fractional_bandwidth, .. } => {
                let cells = fractional_bandwidth * (u * self.density.scale_x).hypot(v * self.density.scale_y);
                // A cell crossed by the band's track counts once, whatever the part of it that lies inside.
                let spread = if cells < 1.0 { (4.0 - cells) / (4.0 - 2.0 * cells) } else { cells + 0.5 };
                weight / (1.0 + g * self.f2 / spread)
            }
        }
    }
}

/// A Gaussian taper of the (u,v) plane: the image is as if smoothed to this beam.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Taper {
    uu: f64,
    vv: f64,
    uv: f64,
}

impl Taper {
    /// The transform of a Gaussian of the image plane.
    pub fn of_beam(beam: crate::data::Beam) -> Taper {
        // FWHM θ <-> exp(-π² θ² q² / (4 ln 2)) at q wavelengths; (u, v) count east and north.
        let k = std::f64::consts::PI.powi(2) / (4.0 * std::f64::consts::LN_2);
        let e = beam.ellipse();
        Taper { uu: k * e.ee, vv: k * e.nn, uv: 2.0 * k * e.en }
    }
    /// Factor at (u, v), wavelengths.
    #[inline(always)]
    pub fn factor(&self, u: f64, v: f64) -> f64 {
        (-(self.uu * u * u + self.vv * v * v + self.uv * u * v)).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};

    /// The definition, on the whole plane, cell by cell.
    fn by_definition(points: &[(f64, f64, f64)], n: usize, cell: f64, robust: f64, shift: f64) -> Vec<f64> {
        let place = |q: f64| (q * n as f64 * cell + (n / 2) as f64 + shift).floor();
        let mut g = std::collections::BTreeMap::new();
        for (u, v, w) in points {
            for s in [1.0, -1.0] {
                *g.entry((place(s * u) as i64, place(s * v) as i64)).or_insert(0.0) += w;
            }
        }
        let squares: f64 = g.values().map(|x: &f64| x * x).sum();
        let sum: f64 = points.iter().map(|p| p.2).sum();
        let f2 = (5.0 * 10f64.powf(-robust)).powi(2) / (squares / (2.0 * sum));
        points.iter().map(|(u, v, w)| w / (1.0 + g[&(place(*u) as i64, place(*v) as i64)] * f2)).collect()
    }

    #[test]
    fn half_a_plane_gives_the_weights_of_the_whole() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let g = Geometry::centered(64, 64, 1e-4);
        let points: Vec<(f64, f64, f64)> =
            (0..5000).map(|_| (rng.random_range(-3e3..3e3), rng.random_range(-3e3..3e3), rng.random_range(0.5..2.0))).collect();
        for (rounding, shift) in [(Rounding::Down, 0.0), (Rounding::Nearest, 0.5)] {
            let mut density = Density::new(&g, rounding);
            points.iter().for_each(|(u, v, w)| density.add(*u, *v, *w));
            for robust in [-2.0, 0.5, 2.0] {
                let rule = density.rule(Scheme::Briggs { robust });
                for ((u, v, w), expected) in points.iter().zip(by_definition(&points, 64, 1e-4, robust, shift)) {
                    assert!((rule.weight(*u, *v, *w) / expected - 1.0).abs() < 1e-12, "{rounding:?} {u} {v}");
                }
            }
        }
    }

    #[test]
    fn briggs_runs_from_uniform_to_natural() {
        let g = Geometry::centered(64, 64, 1e-4);
        let mut density = Density::new(&g, Rounding::Down);
        (0..99).for_each(|_| density.add(100.0, 100.0, 1.0));
        density.add(2000.0, 100.0, 1.0);
        let ratio = |scheme| density.rule(scheme).weight(2000.0, 100.0, 1.0) / density.rule(scheme).weight(100.0, 100.0, 1.0);
        assert!((ratio(Scheme::Natural) - 1.0).abs() < 1e-12 && (ratio(Scheme::Uniform) - 99.0).abs() < 1e-9);
        let briggs = [-3.0, -1.0, 1.0, 3.0].map(|robust| ratio(Scheme::Briggs { robust }));
        assert!(briggs.is_sorted_by(|a, b| a > b) && briggs[0] > 98.0 && briggs[3] < 1.1);
    }

    #[test]
    fn a_taper_halves_the_weight_where_the_beam_says() {
        let beam = crate::data::Beam::new(2e-5, 1e-5, 0.0).unwrap();
        let taper = Taper::of_beam(beam);
        // Half of the transform of a Gaussian of FWHM θ lies at 2 ln 2 / (π θ).
        let half = |theta: f64| 2.0 * std::f64::consts::LN_2 / (std::f64::consts::PI * theta);
        assert!((taper.factor(0.0, half(2e-5)) - 0.5).abs() < 1e-12);
        assert!((taper.factor(half(1e-5), 0.0) - 0.5).abs() < 1e-12);
    }
}
