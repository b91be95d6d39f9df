//! The spectral axis of a cube: frequency, the three velocity definitions, and the frame they refer to.

use crate::units::C_M_S;

/// What a spectral axis counts, linearly with channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum SpectralKind {
    /// Frequency, Hz.
    #[serde(rename = "FREQ")]
    Frequency,
    /// Radio velocity c (1 - f/f0), m/s.
    #[serde(rename = "VRAD")]
    Radio,
    /// Optical velocity c (f0/f - 1), m/s.
    #[serde(rename = "VOPT")]
    Optical,
    /// Relativistic velocity c (f0² - f²)/(f0² + f²), m/s.
    #[serde(rename = "VELO")]
    Relativistic,
    /// Vacuum wavelength, m.
    #[serde(rename = "WAVE")]
    Wavelength,
}

impl SpectralKind {
    /// The four letters of CTYPE.
    pub fn code(self) -> &'static str {
        match self {
            SpectralKind::Frequency => "FREQ",
            SpectralKind::Radio => "VRAD",
            SpectralKind::Optical => "VOPT",
            SpectralKind::Relativistic => "VELO",
            SpectralKind::Wavelength => "WAVE",
        }
    }
    /// SI unit as FITS spells it.
    pub fn unit(self) -> &'static str {
        match self {
            SpectralKind::Frequency => "Hz",
            SpectralKind::Wavelength => "m",
            _ => "m/s",
        }
    }
    /// From the four letters of CTYPE.
    pub fn from_code(code: &str) -> Option<SpectralKind> {
        use SpectralKind::*;
        [Frequency, Radio, Optical, Relativistic, Wavelength].into_iter().find(|k| k.code() == code)
    }
    /// True for the three velocities.
    pub fn is_velocity(self) -> bool {
        matches!(self, SpectralKind::Radio | SpectralKind::Optical | SpectralKind::Relativistic)
    }
    /// Frequency [Hz] of a value on this axis, given the rest frequency (not used for FREQ and WAVE).
    pub fn freq_from_value(self, value: f64, rest_hz: f64) -> f64 {
        let b = value / C_M_S;
        match self {
            SpectralKind::Frequency => value,
            SpectralKind::Wavelength => C_M_S / value,
            SpectralKind::Radio => rest_hz * (1.0 - b),
            SpectralKind::Optical => rest_hz / (1.0 + b),
            SpectralKind::Relativistic => rest_hz * ((1.0 - b) / (1.0 + b)).sqrt(),
        }
    }
    /// Value on this axis of a frequency [Hz], given the rest frequency.
    pub fn value_from_freq(self, freq_hz: f64, rest_hz: f64) -> f64 {
        match self {
            SpectralKind::Frequency => freq_hz,
            SpectralKind::Wavelength => C_M_S / freq_hz,
            SpectralKind::Radio => C_M_S * (rest_hz - freq_hz) / rest_hz,
            SpectralKind::Optical => C_M_S * (rest_hz - freq_hz) / freq_hz,
            SpectralKind::Relativistic => C_M_S * (rest_hz - freq_hz) * (rest_hz + freq_hz) / (rest_hz * rest_hz + freq_hz * freq_hz),
        }
    }
}

/// Rest frame of a spectral axis (SPECSYS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SpectralFrame {
    /// Observatory.
    #[serde(rename = "TOPOCENT")]
    Topo,
    /// Earth's centre.
    #[serde(rename = "GEOCENTR")]
    Geo,
    /// Solar-system barycentre.
    #[serde(rename = "BARYCENT")]
    Bary,
    /// Sun's centre.
    #[serde(rename = "HELIOCEN")]
    Helio,
    /// Local standard of rest, kinematic.
    Lsrk,
    /// Local standard of rest, dynamic.
    Lsrd,
    /// Galactic centre.
    #[serde(rename = "GALACTOC")]
    Galactocentric,
    /// Local group.
    #[serde(rename = "LOCALGRP")]
    LocalGroup,
    /// Cosmic microwave background.
    #[serde(rename = "CMBDIPOL")]
    Cmb,
    /// The source.
    Source,
}

impl SpectralFrame {
    const NAMES: [(SpectralFrame, &'static str, &'static str); 10] = [
        (SpectralFrame::Topo, "TOPOCENT", "OBS"),
        (SpectralFrame::Geo, "GEOCENTR", "GEO"),
        (SpectralFrame::Bary, "BARYCENT", "BAR"),
        (SpectralFrame::Helio, "HELIOCEN", "HEL"),
        (SpectralFrame::Lsrk, "LSRK", "LSR"),
        (SpectralFrame::Lsrd, "LSRD", "LSD"),
        (SpectralFrame::Galactocentric, "GALACTOC", "GAL"),
        (SpectralFrame::LocalGroup, "LOCALGRP", "LGR"),
        (SpectralFrame::Cmb, "CMBDIPOL", "CMB"),
        (SpectralFrame::Source, "SOURCE", "SOU"),
    ];
    /// SPECSYS.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|n| n.0 == self).map_or("", |n| n.1)
    }
    /// From SPECSYS, or from the three letters AIPS appends to CTYPE (`VELO-LSR`).
    pub fn from_name(name: &str) -> Option<SpectralFrame> {
        let name = name.trim().to_ascii_uppercase();
        if name == "BARY" || name == "TOPO" || name == "HELIO" || name == "GEO" {
            return Self::NAMES.iter().find(|n| n.1.starts_with(&name)).map(|n| n.0);
        }
        Self::NAMES.iter().find(|n| n.1 == name || n.2 == name || (n.2 == "GEO" && name == "GEOCENT")).map(|n| n.0)
    }
}

/// Why a spectral axis cannot be used as asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SpectralError {
    /// A reference value is not usable.
    #[error("the spectral axis is unusable: CRVAL {crval}, CDELT {cdelt}, CRPIX {crpix}, {n_chan} channels")]
    Unusable {
        /// Value at the reference channel.
        crval: f64,
        /// Step.
        cdelt: f64,
        /// Reference channel.
        crpix: f64,
        /// Channels.
        n_chan: usize,
    },
    /// No rest frequency.
    #[error("no rest frequency: a {from} axis cannot be shown as {to} without one")]
    NoRest {
        /// Kind of the axis.
        from: &'static str,
        /// Kind asked for.
        to: &'static str,
    },
    /// A rest frequency that cannot be.
    #[error("a rest frequency of {0} Hz is impossible; expected a positive number")]
    Rest(f64),
}

impl crate::error::Explain for SpectralError {
    fn kind(&self) -> crate::error::Kind {
        crate::error::Kind::Data
    }
    fn hint(&self) -> Option<String> {
        Some(match self {
            SpectralError::Unusable { .. } => {
                "compare the CTYPE3, CRVAL3, CDELT3 and CRPIX3 cards with the program that wrote the file".into()
            }
            _ => "give the line's rest frequency, for example rest_freq: \"230.538GHz\" for CO(2-1)".into(),
        })
    }
}

/// A linear spectral axis in SI units; channels count from 0, `crpix` from 1 as in FITS.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SpectralAxis {
    kind: SpectralKind,
    crval: f64,
    cdelt: f64,
    crpix: f64,
    n_chan: usize,
    rest_hz: Option<f64>,
    frame: Option<SpectralFrame>,
    velocity: SpectralKind,
}

impl SpectralAxis {
    /// An axis of `n_chan` channels; `crval` and `cdelt` in Hz, m/s or m.
    pub fn new(kind: SpectralKind, crval: f64, cdelt: f64, crpix: f64, n_chan: usize) -> Result<SpectralAxis, SpectralError> {
        if !(crval.is_finite() && cdelt.is_finite() && crpix.is_finite()) || cdelt == 0.0 || n_chan == 0 {
            return Err(SpectralError::Unusable { crval, cdelt, crpix, n_chan });
        }
        let velocity = if kind.is_velocity() { kind } else { SpectralKind::Radio };
        Ok(SpectralAxis { kind, crval, cdelt, crpix, n_chan, rest_hz: None, frame: None, velocity })
    }
    /// With a rest frequency.
    pub fn with_rest(mut self, rest_hz: f64) -> Result<SpectralAxis, SpectralError> {
        if !(rest_hz.is_finite() && rest_hz > 0.0) {
            return Err(SpectralError::Rest(rest_hz));
        }
        self.rest_hz = Some(rest_hz);
        Ok(self)
    }
    /// With a frame.
    pub fn with_frame(mut self, frame: Option<SpectralFrame>) -> SpectralAxis {
        self.frame = frame;
        self
    }
    /// With the velocity definition that a frequency axis is shown in (radio unless set).
    pub fn with_velocity(mut self, definition: SpectralKind) -> SpectralAxis {
        if definition.is_velocity() {
            self.velocity = definition;
        }
        self
    }
    /// What the axis counts.
    pub fn kind(&self) -> SpectralKind {
        self.kind
    }
    /// Value at the reference channel, SI.
    pub fn crval(&self) -> f64 {
        self.crval
    }
    /// Step from channel to channel, SI; may be negative.
    pub fn cdelt(&self) -> f64 {
        self.cdelt
    }
    /// Reference channel, counted from 1.
    pub fn crpix(&self) -> f64 {
        self.crpix
    }
    /// Number of channels.
    pub fn n_chan(&self) -> usize {
        self.n_chan
    }
    /// Rest frequency, Hz.
    pub fn rest_hz(&self) -> Option<f64> {
        self.rest_hz
    }
    /// Frame of the axis.
    pub fn frame(&self) -> Option<SpectralFrame> {
        self.frame
    }
    /// The velocity definition in which velocities are given.
    pub fn velocity_kind(&self) -> SpectralKind {
        self.velocity
    }

    /// Value at a channel, SI units of the axis.
    pub fn value(&self, channel: f64) -> f64 {
        self.crval + (channel + 1.0 - self.crpix) * self.cdelt
    }

    /// Channel of a value in SI units of the axis.
    pub fn channel(&self, value: f64) -> f64 {
        (value - self.crval) / self.cdelt + self.crpix - 1.0
    }

    /// Frequency of a channel, Hz.
    pub fn freq_hz(&self, channel: f64) -> Result<f64, SpectralError> {
        let rest = if self.kind.is_velocity() { self.rest_for(SpectralKind::Frequency)? } else { 1.0 };
        Ok(self.kind.freq_from_value(self.value(channel), rest))
    }

    /// Frequencies of all channels, Hz.
    pub fn freqs_hz(&self) -> Result<Vec<f64>, SpectralError> {
        (0..self.n_chan).map(|i| self.freq_hz(i as f64)).collect()
    }

    /// Velocity of a channel in the axis's definition, km/s.
    pub fn velocity_kms(&self, channel: f64) -> Result<f64, SpectralError> {
        self.velocity_as_kms(channel, self.velocity)
    }

    /// Velocity of a channel in a given definition, km/s.
    pub fn velocity_as_kms(&self, channel: f64, definition: SpectralKind) -> Result<f64, SpectralError> {
        let value = self.value(channel);
        if definition == self.kind {
            return Ok(value / 1e3);
        }
        let rest = self.rest_for(definition)?;
        Ok(definition.value_from_freq(self.kind.freq_from_value(value, rest), rest) / 1e3)
    }

    /// Velocities of all channels, km/s.
    pub fn velocities_kms(&self) -> Result<Vec<f64>, SpectralError> {
        (0..self.n_chan).map(|i| self.velocity_kms(i as f64)).collect()
    }

    /// Typical channel width, km/s, positive: the median distance of neighbours.
    pub fn channel_width_kms(&self) -> Result<f64, SpectralError> {
        if self.n_chan == 1 {
            return Ok((self.velocity_kms(0.5)? - self.velocity_kms(-0.5)?).abs());
        }
        let v = self.velocities_kms()?;
        let mut width: Vec<f64> = v.windows(2).map(|w| (w[1] - w[0]).abs()).collect();
        width.sort_by(f64::total_cmp);
        let n = width.len();
        Ok((width[(n - 1) / 2] + width[n / 2]) / 2.0)
    }

    /// Channel of a velocity [km/s] of the axis's definition.
    pub fn channel_of_velocity(&self, velocity_kms: f64) -> Result<f64, SpectralError> {
        let value = velocity_kms * 1e3;
        if self.velocity == self.kind {
            return Ok(self.channel(value));
        }
        let rest = self.rest_for(self.velocity)?;
        Ok(self.channel(self.kind.value_from_freq(self.velocity.freq_from_value(value, rest), rest)))
    }

    /// Channels `first .. first + n`.
    pub fn slab(&self, first: usize, n: usize) -> Result<SpectralAxis, SpectralError> {
        let mut out = self.clone();
        out.crpix = self.crpix - first as f64;
        out.n_chan = n;
        if n == 0 { Err(SpectralError::Unusable { crval: out.crval, cdelt: out.cdelt, crpix: out.crpix, n_chan: n }) } else { Ok(out) }
    }

    /// The same channels averaged in blocks of `factor`.
    pub fn downsampled(&self, factor: usize) -> SpectralAxis {
        let f = factor as f64;
        SpectralAxis { crpix: (self.crpix - 0.5) / f + 0.5, cdelt: self.cdelt * f, n_chan: self.n_chan / factor, ..self.clone() }
    }

    /// The same channels counted as `kind`, linear about the middle channel; exact between frequency and radio velocity.
    pub fn as_kind(&self, kind: SpectralKind) -> Result<SpectralAxis, SpectralError> {
        if kind == self.kind {
            return Ok(self.clone());
        }
        let rest = match (self.kind.is_velocity(), kind.is_velocity()) {
            (false, false) => 1.0,
            _ => self.rest_for(kind)?,
        };
        let to = |channel: f64| kind.value_from_freq(self.kind.freq_from_value(self.value(channel), rest), rest);
        let exact =
            matches!((self.kind, kind), (SpectralKind::Frequency, SpectralKind::Radio) | (SpectralKind::Radio, SpectralKind::Frequency));
        let at = if exact { self.crpix - 1.0 } else { (self.n_chan as f64 - 1.0) / 2.0 };
        let mut out = self.clone();
        out.kind = kind;
        out.crpix = at + 1.0;
        out.crval = to(at);
        out.cdelt = to(at + 0.5) - to(at - 0.5);
        if kind.is_velocity() {
            out.velocity = kind;
        }
        Ok(out)
    }

    /// The same sky frequencies with velocities counted from another line.
    pub fn with_other_rest(&self, rest_hz: f64) -> Result<SpectralAxis, SpectralError> {
        let kind = self.kind;
        if !kind.is_velocity() {
            return self.clone().with_rest(rest_hz);
        }
        let old = self.rest_for(kind)?;
        let new = self.clone().with_rest(rest_hz)?;
        let to = |channel: f64| kind.value_from_freq(kind.freq_from_value(self.value(channel), old), rest_hz);
        // Radio and optical velocities stay linear: v' = a + b v.
        let at = if kind == SpectralKind::Relativistic { (self.n_chan as f64 - 1.0) / 2.0 } else { self.crpix - 1.0 };
        Ok(SpectralAxis { crpix: at + 1.0, crval: to(at), cdelt: to(at + 0.5) - to(at - 0.5), ..new })
    }

    fn rest_for(&self, to: SpectralKind) -> Result<f64, SpectralError> {
        self.rest_hz.ok_or(SpectralError::NoRest { from: self.kind.code(), to: to.code() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CO21: f64 = 230.538e9;

    #[test]
    fn every_definition_returns_to_its_frequency() {
        for kind in [SpectralKind::Radio, SpectralKind::Optical, SpectralKind::Relativistic, SpectralKind::Wavelength] {
            for freq in [229.1e9, CO21, 231.9e9] {
                let back = kind.freq_from_value(kind.value_from_freq(freq, CO21), CO21);
                assert!((back / freq - 1.0).abs() < 1e-14, "{kind:?}");
            }
        }
    }

    #[test]
    fn a_descending_frequency_axis_has_ascending_radio_velocity() {
        let axis = SpectralAxis::new(SpectralKind::Frequency, CO21, -1e6, 5.0, 10).unwrap().with_rest(CO21).unwrap();
        let v = axis.velocities_kms().unwrap();
        assert!(v[4].abs() < 1e-12 && (v[5] - 1e6 / CO21 * C_M_S / 1e3).abs() < 1e-12);
        assert!((axis.channel_of_velocity(v[7]).unwrap() - 7.0).abs() < 1e-9);
        let radio = axis.as_kind(SpectralKind::Radio).unwrap();
        for (i, v) in v.iter().enumerate() {
            assert!((radio.value(i as f64) / 1e3 - v).abs() < 1e-9);
        }
    }

    #[test]
    fn another_rest_frequency_keeps_the_sky_frequency() {
        let axis = SpectralAxis::new(SpectralKind::Optical, 1e6, 5e3, 1.0, 8).unwrap().with_rest(CO21).unwrap();
        let other = axis.with_other_rest(220.399e9).unwrap();
        for i in 0..8 {
            let (a, b) = (axis.freq_hz(i as f64).unwrap(), other.freq_hz(i as f64).unwrap());
            assert!((a / b - 1.0).abs() < 1e-13);
        }
    }

    #[test]
    fn velocity_without_a_rest_frequency_is_an_error_that_says_so() {
        let axis = SpectralAxis::new(SpectralKind::Frequency, CO21, 1e6, 1.0, 4).unwrap();
        assert!(axis.velocity_kms(0.0).unwrap_err().to_string().contains("rest frequency"));
    }
}
