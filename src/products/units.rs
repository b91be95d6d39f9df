//! Brightness units: Jy/beam and K, and other multiples of both.

use std::ops::Range;

use ndarray::ArrayView3;

use super::{Compat, ProductsError};
use crate::data::{Brightness, CardValue, Cube, CubeInfo, CubeSource, DataError, Image, Unit};
use crate::error::{Error, Result};
use crate::units::C_M_S;

/// Boltzmann's constant, J/K (exact).
const BOLTZMANN: f64 = 1.380_649e-23;
/// As CASA's and the PHANGS pipeline's older value, J/K.
const BOLTZMANN_1986: f64 = 1.380_658e-23;

/// The frequency at which Jy/beam become K.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AtFrequency {
    /// Of each channel.
    #[default]
    Channel,
    /// The mean over the channels, one factor for all: the PHANGS pipeline.
    Mean,
    /// The rest frequency, one factor for all.
    Rest,
}

crate::options! {
    /// Options of unit conversion.
    pub struct UnitOptions {
        /// "channel": the frequency of each channel; "mean": of all channels; "rest": of the line.
        [""] frequency: AtFrequency = AtFrequency::Channel,
        /// "phangs": the mean frequency and the 1986 value of Boltzmann's constant, 7e-6 smaller factors.
        [""] compat: Compat = Compat::None,
    }
}

/// Brightness temperature of 1 Jy/beam: c² / (2 k ν² Ω), K.
pub fn kelvin_per_jy_beam(freq_hz: f64, beam_sr: f64) -> f64 {
    1e-26 * C_M_S * C_M_S / (2.0 * BOLTZMANN * freq_hz * freq_hz * beam_sr)
}

/// What the values of each channel are multiplied by to come to `to`.
pub fn conversion(info: &CubeInfo, to: &Unit, options: &UnitOptions) -> Result<Vec<f64>> {
    let nc = info.n_chan();
    if info.unit == *to {
        return Ok(vec![1.0; nc]);
    }
    let expected = "K, mK, Jy/beam, mJy/beam, Jy/pixel, Jy/sr or MJy/sr";
    let wrong = |unit: &Unit| DataError::Unit { unit: unit.as_str().into(), what: "unit conversion", expected };
    let from = info.unit.brightness().ok_or_else(|| wrong(&info.unit))?;
    let to = to.brightness().ok_or_else(|| wrong(to))?;
    let temperature = |b: &Brightness| matches!(b, Brightness::Kelvin(_));
    // Frequencies matter only between flux and temperature.
    let freq = if temperature(&from) == temperature(&to) { vec![1.0; nc] } else { frequencies(info, options)? };
    let k = if options.compat == Compat::Phangs { BOLTZMANN_1986 } else { BOLTZMANN };
    (0..nc)
        .map(|z| {
            let beam_sr = info.beams().of_channel(z).or(info.beams().largest()).map(|b| b.sr());
            let jy_per_sr = |b: &Brightness| -> Result<f64> {
                Ok(match b {
                    Brightness::JyPerSr(s) => *s,
                    Brightness::JyPerPixel(s) => s / info.sky().pixel_sr(),
                    Brightness::JyPerBeam(s) => s / beam_sr.ok_or(DataError::NoBeam("conversion from or to Jy/beam"))?,
                    Brightness::Kelvin(s) => s * 2.0 * k * freq[z] * freq[z] / (C_M_S * C_M_S) * 1e26,
                })
            };
            Ok(jy_per_sr(&from)? / jy_per_sr(&to)?)
        })
        .collect()
}

fn frequencies(info: &CubeInfo, options: &UnitOptions) -> Result<Vec<f64>> {
    let axis = info.spectral();
    let at = if options.compat == Compat::Phangs { AtFrequency::Mean } else { options.frequency };
    Ok(match at {
        AtFrequency::Channel => axis.freqs_hz()?,
        AtFrequency::Mean => {
            let f = axis.freqs_hz()?;
            vec![f.iter().sum::<f64>() / f.len() as f64; f.len()]
        }
        AtFrequency::Rest => {
            let rest = axis.rest_hz().ok_or_else(|| ProductsError::Missing("frequency \"rest\" needs a rest frequency".into()))?;
            vec![rest; axis.n_chan()]
        }
    })
}

/// A cube in another unit.
pub fn convert(mut cube: Cube, to: &Unit, options: &UnitOptions) -> Result<Cube> {
    let factor = conversion(cube.info(), to, options)?;
    if factor.iter().any(|f| *f != 1.0) {
        cube.data_mut().outer_iter_mut().zip(&factor).for_each(|(mut p, f)| p.mapv_inplace(|v| (f64::from(v) * f) as f32));
    }
    label(cube.info_mut(), to, &factor);
    Ok(cube)
}

/// An image in another unit; between flux and temperature its rest frequency or `freq_hz` counts.
pub fn convert_image(image: &Image, to: &Unit, freq_hz: Option<f64>, options: &UnitOptions) -> Result<Image> {
    let freq = freq_hz.or(image.rest_hz).unwrap_or(f64::NAN);
    let value = if freq.is_finite() { freq } else { 1.0 };
    let axis = crate::sky::SpectralAxis::new(crate::sky::SpectralKind::Frequency, value, 1.0, 1.0, 1)?;
    let beams = image.beam.map_or(crate::data::Beams::None, crate::data::Beams::One);
    let info = CubeInfo::new(image.sky().clone(), axis, image.ny(), image.nx(), image.unit.clone())?.with_beams(beams)?;
    let factor = conversion(&info, to, &UnitOptions { frequency: AtFrequency::Channel, ..options.clone() })?[0];
    let temperature = |u: &Unit| matches!(u.brightness(), Some(Brightness::Kelvin(_)));
    if temperature(&image.unit) != temperature(to) && !freq.is_finite() {
        return Err(ProductsError::Missing("the image has no frequency; conversion between flux and temperature needs one".into()).into());
    }
    image.with_data(image.data().mapv(|v| (f64::from(v) * factor) as f32), to.clone()).map_err(Error::from)
}

/// Unit, and the factor in a card where it is one from Jy/beam to K.
fn label(info: &mut CubeInfo, to: &Unit, factor: &[f64]) {
    if info.unit.as_str() == "Jy/beam" && to.as_str() == "K" {
        let mean = factor.iter().sum::<f64>() / factor.len() as f64;
        info.meta.set("JYTOK", CardValue::Real(mean), "[K beam/Jy] mean over channels");
    }
    info.unit = to.clone();
}

/// A cube seen in another unit: converted as it is read, so that nothing is copied.
pub struct InUnit<'a> {
    source: &'a dyn CubeSource,
    info: CubeInfo,
    factor: Vec<f32>,
}

impl<'a> InUnit<'a> {
    /// `source` in `to`.
    pub fn new(source: &'a dyn CubeSource, to: &Unit, options: &UnitOptions) -> Result<InUnit<'a>> {
        let factor = conversion(source.info(), to, options)?;
        let mut info = source.info().clone();
        label(&mut info, to, &factor);
        Ok(InUnit { source, info, factor: factor.iter().map(|f| *f as f32).collect() })
    }
}

impl CubeSource for InUnit<'_> {
    fn info(&self) -> &CubeInfo {
        &self.info
    }
    fn block<'a>(&'a self, chan: Range<usize>, y: Range<usize>, buffer: &'a mut Vec<f32>) -> Result<ArrayView3<'a, f32>> {
        if self.factor.iter().all(|f| *f == 1.0) {
            return self.source.block(chan, y, buffer);
        }
        let shape = (chan.len(), y.len(), self.info.nx());
        let mut inner = Vec::new();
        let block = self.source.block(chan.clone(), y, &mut inner)?;
        buffer.clear();
        for (plane, z) in block.outer_iter().zip(chan) {
            buffer.extend(plane.iter().map(|v| v * self.factor[z]));
        }
        ArrayView3::from_shape(shape, &buffer[..]).map_err(|e| Error::internal(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Beam, Beams};
    use crate::products::testing::info_of;
    use crate::units::ARCSEC;

    /// The PHANGS pipeline's number to its nine digits: 22.9946128 K for 1 Jy in a round beam of 1 arcsec at 230.538 GHz.
    #[test]
    fn one_jansky_in_one_arcsecond() {
        let beam = Beam::round(ARCSEC).unwrap();
        assert!((kelvin_per_jy_beam(230.538e9, beam.sr()) / 22.994_612_8 * (1.380_649 / 1.380_658) - 1.0).abs() < 3e-9);
        let axis = crate::sky::SpectralAxis::new(crate::sky::SpectralKind::Frequency, 230.538e9, 1e6, 1.0, 1).unwrap();
        let mut info = info_of([1, 3, 3], Some(beam)).with_spectral(axis).unwrap();
        info.unit = Unit::new("Jy/beam");
        let phangs = UnitOptions { compat: Compat::Phangs, ..UnitOptions::default() };
        assert!((conversion(&info, &Unit::new("K"), &phangs).unwrap()[0] / 22.994_612_8 - 1.0).abs() < 3e-9);
    }

    #[test]
    fn there_and_back_is_the_identity() {
        let mut info = info_of([5, 3, 3], Some(Beam::new(3.0 * ARCSEC, 2.0 * ARCSEC, 0.3).unwrap()));
        for from in ["K", "mK", "Jy/beam", "mJy/beam", "Jy/pixel", "MJy/sr"] {
            for to in ["K", "Jy/beam", "Jy/sr"] {
                info.unit = Unit::new(from);
                let there = conversion(&info, &Unit::new(to), &UnitOptions::default()).unwrap();
                info.unit = Unit::new(to);
                let back = conversion(&info, &Unit::new(from), &UnitOptions::default()).unwrap();
                assert!(there.iter().zip(&back).all(|(a, b)| (a * b - 1.0).abs() < 1e-14), "{from} {to}");
            }
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut info = info_of([2, 3, 3], None);
        info.unit = Unit::new("Jy/beam");
        let say = |info: &CubeInfo| conversion(info, &Unit::new("K"), &UnitOptions::default()).unwrap_err().message;
        assert!(say(&info).contains("beam"));
        info.unit = Unit::new("");
        assert!(say(&info).contains("unit"));
        let axis = crate::sky::SpectralAxis::new(crate::sky::SpectralKind::Radio, 0.0, 1e3, 1.0, 2).unwrap();
        let mut info = info.with_spectral(axis).unwrap().with_beams(Beams::One(Beam::round(ARCSEC).unwrap())).unwrap();
        info.unit = Unit::new("Jy/beam");
        assert!(say(&info).contains("rest frequency"));
    }
}
