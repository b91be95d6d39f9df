//! What a set of visibilities says about itself: antennas, spectral windows, fields, observations.

use super::Corr;
use crate::sky::Direction;

/// One antenna.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Antenna {
    /// Name, for example `DA41`.
    pub name: String,
    /// Pad it stands on.
    pub station: String,
    /// Position, ITRF, metres.
    pub position_m: [f64; 3],
    /// Diameter of the dish, metres.
    pub diameter_m: f64,
}

/// Reference frame of frequencies, coded as in SPECTRAL_WINDOW::MEAS_FREQ_REF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs)]
pub enum FreqFrame {
    Rest = 0,
    Lsrk = 1,
    Lsrd = 2,
    Bary = 3,
    Geo = 4,
    Topo = 5,
    Galacto = 6,
    LGroup = 7,
    Cmb = 8,
    Undefined = 64,
}

/// One spectral window.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SpectralWindow {
    /// Name.
    pub name: String,
    /// Centres of the channels, Hz, in any order.
    pub freq_hz: Vec<f64>,
    /// Widths of the channels, Hz; negative where frequencies fall.
    pub width_hz: Vec<f64>,
    /// Frame of the frequencies.
    pub frame: FreqFrame,
}

impl SpectralWindow {
    /// `n_chan` channels of `width_hz` from `first_hz` on.
    pub fn regular(name: &str, first_hz: f64, width_hz: f64, n_chan: usize, frame: FreqFrame) -> SpectralWindow {
        let freq_hz = (0..n_chan).map(|i| first_hz + width_hz * i as f64).collect();
        SpectralWindow { name: name.to_string(), freq_hz, width_hz: vec![width_hz; n_chan], frame }
    }
}

/// One field.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Field {
    /// Name.
    pub name: String,
    /// Calibrator code, empty for a target.
    pub code: String,
    /// Phase center, which is also taken as delay and reference center.
    pub phase_center: Direction,
}

/// One observation: what an execution block or a tape was.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Observation {
    /// Name of the telescope; CASA looks its position up by it.
    pub telescope: String,
    /// Observer.
    pub observer: String,
    /// Project code.
    pub project: String,
    /// Begin and end, MJD seconds UTC.
    pub time_range_s: [f64; 2],
}

/// All that the subtables of a new set are made from. Ids are positions in these lists.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct SetDescription {
    /// Antennas.
    pub antennas: Vec<Antenna>,
    /// Spectral windows.
    pub spws: Vec<SpectralWindow>,
    /// Correlations along the last axis, one list a setup.
    pub polarizations: Vec<Vec<Corr>>,
    /// Spectral window and setup of every data description.
    pub data_descriptions: Vec<(usize, usize)>,
    /// Fields; each gets a source of the same name and id.
    pub fields: Vec<Field>,
    /// Observations.
    pub observations: Vec<Observation>,
    /// Rest frequency for SOURCE, Hz; the middle of the first spectral window if absent.
    pub rest_freq_hz: Option<f64>,
    /// Directions with one frame a row (as importasdm writes them) instead of one for the column.
    pub variable_direction_frames: bool,
}

impl SetDescription {
    /// What is wrong with the ids, if anything: the lists must not be empty and must refer to each other.
    pub fn fault(&self) -> Option<String> {
        let lists = [
            ("antennas", self.antennas.len()),
            ("spectral windows", self.spws.len()),
            ("polarization setups", self.polarizations.len()),
            ("data descriptions", self.data_descriptions.len()),
            ("fields", self.fields.len()),
            ("observations", self.observations.len()),
        ];
        if let Some((name, _)) = lists.iter().find(|(_, n)| *n == 0) {
            return Some(format!("a set needs {name}; there are none"));
        }
        for (i, (spw, pol)) in self.data_descriptions.iter().enumerate() {
            if *spw >= self.spws.len() || *pol >= self.polarizations.len() {
                let (n, m) = (self.spws.len(), self.polarizations.len());
                return Some(format!("data description {i} names spw {spw} and setup {pol}; there are {n} and {m}"));
            }
        }
        for (i, spw) in self.spws.iter().enumerate() {
            if spw.freq_hz.is_empty() || spw.freq_hz.len() != spw.width_hz.len() {
                return Some(format!("spw {i} has {} frequencies and {} widths", spw.freq_hz.len(), spw.width_hz.len()));
            }
        }
        None
    }

    /// Channels and correlations of a data description.
    pub fn shape(&self, data_desc: usize) -> Option<[usize; 2]> {
        let (spw, pol) = *self.data_descriptions.get(data_desc)?;
        Some([self.spws.get(spw)?.freq_hz.len(), self.polarizations.get(pol)?.len()])
    }
}
