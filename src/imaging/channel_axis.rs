//! From what a user says of a cube's channels to their frequencies.

use super::channels::ChannelGrid;
use super::{ImageOptions, ImagingError, Input, Interpolation};
use crate::error::Result;
use crate::notice::Reporter;
use crate::sky::{SpectralAxis, SpectralFrame, SpectralKind};
use crate::units::{Frequency, Velocity};

/// Where a cube starts or how wide its channels are, as it was said.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Said {
    Velocity(f64),
    Frequency(f64),
    Number(i64),
    Nothing,
}

impl Said {
    fn parse(name: &'static str, text: &str) -> Result<Said, ImagingError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Said::Nothing);
        }
        if let Ok(n) = text.parse() {
            return Ok(Said::Number(n));
        }
        if let Ok(v) = Velocity::parse(text) {
            return Ok(Said::Velocity(v.0));
        }
        let frequency = Frequency::parse(text).map(|f| Said::Frequency(f.0));
        frequency.map_err(|_| ImagingError::Option {
            name,
            value: text.into(),
            expected: "a velocity such as \"-3.2km/s\", a frequency such as \"230.5GHz\", or a number of channels",
        })
    }
}

/// Channels of the first window in the cube's frame at the first time: centres in the order of the data, Hz.
#[derive(Debug, Clone, PartialEq)]
struct Native {
    freq_hz: Vec<f64>,
    /// Lowest and highest centre over all inputs.
    centers_hz: (f64, f64),
}

impl Native {
    fn of(inputs: &[Input], frame: SpectralFrame) -> Result<Native> {
        let mut first: Option<Vec<f64>> = None;
        let mut centers_hz = (f64::INFINITY, 0f64);
        for input in inputs.iter().filter(|i| i.vis.n_blocks() > 0) {
            let block = input.vis.read_block(0)?;
            let factor = input.doppler(block.i_spw, frame)?.factor(block.time_s.first().copied().unwrap_or(0.0));
            let half = half_spacing(&block.freq_hz);
            let (low, high) = input.array.band_hz;
            centers_hz = (centers_hz.0.min((low + half) * factor), centers_hz.1.max((high - half) * factor));
            first.get_or_insert_with(|| block.freq_hz.iter().map(|f| f * factor).collect());
        }
        let freq_hz = first.filter(|f| !f.is_empty()).ok_or_else(|| ImagingError::NoVisibilities("the selection is empty".into()))?;
        Ok(Native { freq_hz, centers_hz })
    }

    fn spacing_hz(&self) -> f64 {
        match self.freq_hz.as_slice() {
            [a, b, ..] => b - a,
            _ => (self.centers_hz.1 - self.centers_hz.0).max(1.0),
        }
    }
}

fn half_spacing(freq_hz: &[f64]) -> f64 {
    if freq_hz.len() > 1 { 0.5 * (freq_hz[1] - freq_hz[0]).abs() } else { 0.0 }
}

/// The channels of the cube that the options ask for.
pub fn channel_grid(inputs: &[Input], options: &ImageOptions, _notice: &dyn Reporter) -> Result<ChannelGrid> {
    let native = Native::of(inputs, options.frame.into())?;
    Ok(grid_of(&native, options)?)
}

fn grid_of(native: &Native, options: &ImageOptions) -> Result<ChannelGrid, ImagingError> {
    let (start, width) = (Said::parse("start", &options.start)?, Said::parse("width", &options.width)?);
    let kind = SpectralKind::from(options.veltype);
    let rest = || options.rest_freq.map(|f| f.0).ok_or(ImagingError::NoRestFrequency);
    let freq_of = |v_kms: f64| Ok::<f64, ImagingError>(kind.freq_from_value(v_kms * 1e3, rest()?));
    let said_first = match start {
        Said::Velocity(v) => Some(freq_of(v)?),
        Said::Frequency(f) => Some(f),
        Said::Number(n) => {
            let at = usize::try_from(n).ok().and_then(|i| native.freq_hz.get(i).copied());
            Some(at.ok_or(ImagingError::Option {
                name: "start",
                value: n.to_string(),
                expected: "the number of a channel of the first window",
            })?)
        }
        Said::Nothing => None,
    };
    // A velocity width is a frequency step at the start of the cube.
    let step_hz = match width {
        Said::Velocity(dv) => {
            let v0 = match (start, said_first) {
                (Said::Velocity(v), _) => v,
                (_, Some(f)) => kind.value_from_freq(f, rest()?) / 1e3,
                (_, None) => kind.value_from_freq(0.5 * (native.centers_hz.0 + native.centers_hz.1), rest()?) / 1e3,
            };
            freq_of(v0 + dv)? - freq_of(v0)?
        }
        Said::Frequency(f) => f,
        Said::Number(n) => native.spacing_hz() * n as f64,
        // Velocities ascend where the start is one, as in tclean.
        Said::Nothing if matches!(start, Said::Velocity(_)) => -native.spacing_hz().abs(),
        Said::Nothing => native.spacing_hz(),
    };
    if !(step_hz != 0.0 && step_hz.is_finite()) {
        return Err(ImagingError::Option { name: "width", value: options.width.clone(), expected: "a width other than 0" });
    }
    let (low, high) = native.centers_hz;
    let first_hz = said_first.unwrap_or(if step_hz > 0.0 { low } else { high });
    let last_hz = if step_hz > 0.0 { high } else { low };
    let to_the_end = ((last_hz - first_hz) / step_hz + 1e-6).floor().max(0.0) as usize + 1;
    let n_chan = options.nchan.unwrap_or(to_the_end);
    let interpolation = if options.interpolation == Interpolation::Nearest { Interpolation::Nearest } else { Interpolation::Linear };
    let grid = ChannelGrid { first_hz, step_hz, n_chan, interpolation };
    let (a, b) = grid.range_hz();
    let half = 0.5 * native.spacing_hz().abs();
    if a > high + half || b < low - half {
        return Err(ImagingError::OutsideBand { cube_hz: (a, b), data_hz: (low - half, high + half) });
    }
    Ok(grid)
}

/// The frequency axis of a cube for its header.
pub fn axis_of_grid(grid: &ChannelGrid, options: &ImageOptions) -> Result<SpectralAxis> {
    let axis = SpectralAxis::new(SpectralKind::Frequency, grid.first_hz, grid.step_hz, 1.0, grid.n_chan)?;
    let rest = options.rest_freq.map_or(grid.freq_hz(grid.n_chan / 2), |f| f.0);
    Ok(axis.with_rest(rest)?.with_frame(Some(options.frame.into())).with_velocity(options.veltype.into()))
}

/// The frequency axis of a continuum image: one channel over the whole band.
pub fn axis_of_band(band_hz: (f64, f64), options: &ImageOptions) -> Result<SpectralAxis> {
    let middle = 0.5 * (band_hz.0 + band_hz.1);
    let width = (band_hz.1 - band_hz.0).max(1e-9 * middle.max(1.0));
    let axis = SpectralAxis::new(SpectralKind::Frequency, middle, width, 1.0, 1)?;
    let rest = options.rest_freq.map_or(middle, |f| f.0);
    Ok(axis.with_rest(rest)?.with_frame(Some(options.frame.into())).with_velocity(options.veltype.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::units::C_M_S;

    const CO: f64 = 230.538e9;

    fn native() -> Native {
        let freq_hz: Vec<f64> = (0..100).map(|i| 230.0e9 + 1e6 * i as f64).collect();
        Native { centers_hz: (freq_hz[0], freq_hz[99]), freq_hz }
    }

    fn options(start: &str, width: &str, nchan: Option<usize>) -> ImageOptions {
        ImageOptions { start: start.into(), width: width.into(), nchan, rest_freq: Some(Frequency(CO)), ..Default::default() }
    }

    #[test]
    fn a_cube_without_words_is_the_data_itself() {
        let g = grid_of(&native(), &options("", "", None)).unwrap();
        assert_eq!((g.first_hz, g.step_hz, g.n_chan), (230.0e9, 1e6, 100));
    }

    #[test]
    fn velocities_become_frequencies_by_their_definition() {
        let g = grid_of(&native(), &options("600km/s", "5km/s", Some(4))).unwrap();
        assert!((g.first_hz - CO * (1.0 - 600e3 / C_M_S)).abs() < 1e-3);
        assert!((-g.step_hz / CO * C_M_S - 5e3).abs() < 1e-6 && g.n_chan == 4);
        let g = grid_of(&native(), &options("230.02GHz", "-2MHz", None)).unwrap();
        assert_eq!((g.first_hz, g.step_hz, g.n_chan), (230.02e9, -2e6, 11));
        let g = grid_of(&native(), &options("7", "2", None)).unwrap();
        assert_eq!((g.first_hz, g.step_hz, g.n_chan), (230.007e9, 2e6, 47));
    }

    #[test]
    fn what_cannot_be_is_refused_in_words() {
        let error = |o: ImageOptions| grid_of(&native(), &o).unwrap_err();
        assert!(matches!(error(options("5000km/s", "1km/s", Some(3))), ImagingError::OutsideBand { .. }));
        assert!(matches!(error(ImageOptions { rest_freq: None, ..options("0km/s", "", None) }), ImagingError::NoRestFrequency));
        assert!(error(options("soon", "", None)).to_string().contains("`start`"));
        assert!(error(options("200", "", None)).to_string().contains("number of a channel"));
        assert!(error(options("", "0km/s", None)).to_string().contains("`width`"));
    }
}
