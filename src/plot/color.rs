//! Colors that survive printing and color blindness: the Okabe-Ito set, perceptual color maps, and stretches.

/// A color as sRGB bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rgb(pub [u8; 3]);

impl Rgb {
    /// White.
    pub const WHITE: Rgb = Rgb([255, 255, 255]);
    /// Black.
    pub const BLACK: Rgb = Rgb([0, 0, 0]);
    /// The color of frames, ticks and letters.
    pub const INK: Rgb = Rgb([26, 26, 26]);
    /// Secondary lines.
    pub const GREY: Rgb = Rgb([120, 120, 120]);
    /// Where an image has no value.
    pub const BLANK: Rgb = Rgb([240, 240, 240]);
    /// Grid lines and quiet fills.
    pub const PALE: Rgb = Rgb([222, 222, 222]);

    /// This color with a share `t` of `other`.
    pub fn mix(self, other: Rgb, t: f64) -> Rgb {
        let t = t.clamp(0.0, 1.0);
        Rgb(std::array::from_fn(|i| (f64::from(self.0[i]) * (1.0 - t) + f64::from(other.0[i]) * t).round() as u8))
    }

    /// Black or white, whichever reads better on this color.
    pub fn contrast(self) -> Rgb {
        let [r, g, b] = self.0.map(f64::from);
        if 0.299 * r + 0.587 * g + 0.114 * b > 140.0 { Rgb::INK } else { Rgb::WHITE }
    }
}

/// Colors that differ for every kind of color vision (Okabe and Ito 2008), without the yellow that is too pale on white.
pub const OKABE_ITO: [Rgb; 7] = [
    Rgb([0, 114, 178]),   // blue
    Rgb([213, 94, 0]),    // vermilion
    Rgb([0, 158, 115]),   // bluish green
    Rgb([204, 121, 167]), // reddish purple
    Rgb([230, 159, 0]),   // orange
    Rgb([86, 180, 233]),  // sky blue
    Rgb([70, 70, 70]),    // grey in place of black
];

/// The color of the `i`-th series.
pub fn series_color(i: usize) -> Rgb {
    OKABE_ITO[i % OKABE_ITO.len()]
}

/// A color map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColorMap {
    /// Dark blue to yellow.
    Viridis,
    /// Black over red to pale yellow: intensities.
    Inferno,
    /// Black over purple to pale pink.
    Magma,
    /// Blue to yellow, the same for most kinds of color vision.
    Cividis,
    /// Pale yellow to dark blue: counts on white paper.
    Counts,
    /// White around the minimum to steel blue: cost surfaces under dark contours.
    Cost,
    /// White to black.
    Greys,
    /// White to dark blue.
    Blues,
    /// Blue over white to red: residuals, velocities. Low values are blue.
    BlueRed,
}

impl ColorMap {
    /// The color at `t` in 0 to 1.
    pub fn at(self, t: f64) -> Rgb {
        let t = t.clamp(0.0, 1.0);
        let of = |gradient: colorous::Gradient, t: f64| {
            let c = gradient.eval_continuous(t);
            Rgb([c.r, c.g, c.b])
        };
        match self {
            ColorMap::Viridis => of(colorous::VIRIDIS, t),
            ColorMap::Inferno => of(colorous::INFERNO, t),
            ColorMap::Magma => of(colorous::MAGMA, t),
            ColorMap::Cividis => of(colorous::CIVIDIS, t),
            ColorMap::Counts => of(colorous::YELLOW_GREEN_BLUE, 0.12 + 0.88 * t),
            ColorMap::Cost => of(colorous::PURPLE_BLUE, 0.75 * t),
            ColorMap::Greys => of(colorous::GREYS, t),
            ColorMap::Blues => of(colorous::BLUES, t),
            ColorMap::BlueRed => of(colorous::RED_BLUE, 1.0 - t),
        }
    }
}

/// How values between the limits spread over the color map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stretch {
    /// In proportion.
    Linear,
    /// Square root.
    Sqrt,
    /// Logarithm; the lower limit must be positive.
    Log,
    /// asinh(x / softening) with x in 0 to 1: linear below the softening, logarithmic above.
    Asinh(f64),
    /// Power with this exponent.
    Power(f64),
}

/// Limits and stretch of a color scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norm {
    /// Value of the first color.
    pub lo: f64,
    /// Value of the last color.
    pub hi: f64,
    /// The curve between them.
    pub stretch: Stretch,
}

impl Norm {
    /// A scale between two values. Limits that cannot work (equal, not finite, not positive for a logarithm) are widened.
    pub fn new(lo: f64, hi: f64, stretch: Stretch) -> Norm {
        let (lo, mut hi) = if lo.is_finite() && hi.is_finite() { (lo.min(hi), lo.max(hi)) } else { (0.0, 1.0) };
        if hi - lo <= 0.0 {
            hi = if lo == 0.0 { 1.0 } else { lo + lo.abs() };
        }
        let lo = if stretch == Stretch::Log && lo <= 0.0 { if hi > 0.0 { hi * 1e-4 } else { 1e-4 } } else { lo };
        Norm { lo, hi: if hi > lo { hi } else { lo * 10.0 }, stretch }
    }

    /// A scale from the smallest to the largest finite value.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a f32>, stretch: Stretch) -> Norm {
        let usable = |v: &f64| v.is_finite() && (stretch != Stretch::Log || *v > 0.0);
        let (lo, hi) = values
            .into_iter()
            .map(|v| f64::from(*v))
            .filter(usable)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(v), hi.max(v)));
        Norm::new(lo, hi, stretch)
    }

    /// A linear scale with zero in its middle.
    pub fn symmetric<'a>(values: impl IntoIterator<Item = &'a f32>) -> Norm {
        let most = values.into_iter().filter(|v| v.is_finite()).fold(0.0_f64, |m, v| m.max(f64::from(v.abs())));
        Norm::new(-most, if most > 0.0 { most } else { 1.0 }, Stretch::Linear)
    }

    /// Place of a value on the scale: 0 at `lo`, 1 at `hi`, beyond outside.
    pub fn to_unit(&self, value: f64) -> f64 {
        let x = (value - self.lo) / (self.hi - self.lo);
        match self.stretch {
            Stretch::Linear => x,
            Stretch::Sqrt => x.max(0.0).sqrt(),
            Stretch::Power(g) => x.max(0.0).powf(g),
            Stretch::Asinh(a) => (x / a).asinh() / (1.0 / a).asinh(),
            Stretch::Log => (value.max(f64::MIN_POSITIVE) / self.lo).ln() / (self.hi / self.lo).ln(),
        }
    }

    /// Value at a place on the scale: the inverse of [`Norm::to_unit`] in 0 to 1.
    pub fn from_unit(&self, t: f64) -> f64 {
        let x = match self.stretch {
            Stretch::Linear => t,
            Stretch::Sqrt => t * t,
            Stretch::Power(g) => t.powf(1.0 / g),
            Stretch::Asinh(a) => (t * (1.0 / a).asinh()).sinh() * a,
            Stretch::Log => return self.lo * (self.hi / self.lo).powf(t),
        };
        self.lo + x * (self.hi - self.lo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRETCHES: [Stretch; 5] = [Stretch::Linear, Stretch::Sqrt, Stretch::Log, Stretch::Asinh(0.05), Stretch::Power(0.3)];

    #[test]
    fn a_scale_is_the_inverse_of_its_inverse() {
        for stretch in STRETCHES {
            for (lo, hi) in [(0.5, 9.0), (1e-3, 1e5), (-4.0, 4.0), (3.0, 3.0), (f64::NAN, 1.0), (-2.0, -1.0)] {
                let norm = Norm::new(lo, hi, stretch);
                assert!(norm.hi > norm.lo && (stretch != Stretch::Log || norm.lo > 0.0), "{stretch:?} {lo} {hi}");
                for i in 0..=20 {
                    let t = f64::from(i) / 20.0;
                    assert!((norm.to_unit(norm.from_unit(t)) - t).abs() < 1e-9, "{stretch:?} {lo} {hi} {t}");
                }
            }
        }
    }

    #[test]
    fn a_scale_spans_the_finite_values() {
        let norm = Norm::of(&[f32::NAN, 3.0, -1.0, f32::INFINITY], Stretch::Linear);
        assert_eq!((norm.lo, norm.hi), (-1.0, 3.0));
        let norm = Norm::symmetric(&[f32::NAN, 3.0, -5.0]);
        assert_eq!((norm.lo, norm.hi), (-5.0, 5.0));
        assert_eq!(ColorMap::BlueRed.at(0.5), ColorMap::BlueRed.at(norm.to_unit(0.0)));
    }

    /// The brightness of the sequential maps rises (or falls) all the way, so that they print in grey.
    #[test]
    fn sequential_maps_are_monotonic_in_brightness() {
        use ColorMap::*;
        for map in [Viridis, Inferno, Magma, Cividis, Counts, Greys, Blues, Cost] {
            let grey = |i: i32| map.at(f64::from(i) / 100.0).0.map(f64::from);
            let grey: Vec<f64> = (0..=100).map(grey).map(|[r, g, b]| 0.299 * r + 0.587 * g + 0.114 * b).collect();
            let sign = (grey[100] - grey[0]).signum();
            assert!(grey.windows(2).all(|w| (w[1] - w[0]) * sign > -1.0), "{map:?}");
        }
    }

    #[test]
    fn the_first_42_series_differ_in_color_or_shape() {
        let all: Vec<_> = (0..42).map(|i| (series_color(i), crate::plot::mark::Symbol::series(i))).collect();
        assert!(all.iter().enumerate().all(|(i, a)| !all[..i].contains(a)));
    }
}
