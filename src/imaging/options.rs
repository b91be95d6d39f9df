//! What a user says of an image.

use serde::{Deserialize, Serialize};

use super::{ImagingError, Interpolation, Weighting};
use crate::data::Beam;
use crate::gridding::Scheme;
use crate::options;
use crate::sky::{SpectralFrame, SpectralKind};
use crate::units::{Angle, Frequency, List};

/// Continuum or cube.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// All channels in one image (multi-frequency synthesis).
    #[default]
    Mfs,
    /// One image a channel.
    Cube,
}

/// Names of weighting schemes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum SchemeName {
    Natural,
    Uniform,
    #[default]
    Briggs,
    BriggsBwTaper,
}

/// How pointings become one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GridderName {
    /// `mosaic` for several pointings or dishes, `wproject` where the w-term turns phases noticeably, else `standard`.
    #[default]
    Auto,
    /// No w-term; primary beams are not applied.
    Standard,
    /// With the w-term.
    WProject,
    /// Joint mosaic.
    Mosaic,
}

/// Names of deconvolution algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Deconvolver {
    #[default]
    Hogbom,
    Clark,
    Multiscale,
    Mtmfs,
}

/// Frames that cubes can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum FrameName {
    #[default]
    #[serde(rename = "LSRK", alias = "lsrk")]
    Lsrk,
    #[serde(rename = "BARY", alias = "bary")]
    Bary,
    #[serde(rename = "TOPO", alias = "topo")]
    Topo,
}

impl From<FrameName> for SpectralFrame {
    fn from(name: FrameName) -> SpectralFrame {
        match name {
            FrameName::Lsrk => SpectralFrame::Lsrk,
            FrameName::Bary => SpectralFrame::Bary,
            FrameName::Topo => SpectralFrame::Topo,
        }
    }
}

/// Definitions of velocity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum VelocityName {
    #[default]
    Radio,
    Optical,
}

impl From<VelocityName> for SpectralKind {
    fn from(name: VelocityName) -> SpectralKind {
        match name {
            VelocityName::Radio => SpectralKind::Radio,
            VelocityName::Optical => SpectralKind::Optical,
        }
    }
}

/// Which beam an image is restored with.
#[derive(Debug, Clone, PartialEq)]
pub enum RestoringBeam {
    /// That of each plane's own PSF.
    Own,
    /// The smallest one that contains those of all planes.
    Common,
    /// This one.
    Given(Beam),
}

/// Phase that the w-term may turn at the corner of an image before `auto` counts it, rad.
pub(super) const W_PHASE_LIMIT: f64 = 0.2;

impl SchemeName {
    /// The scheme; `fractional_bandwidth` is that of the cube.
    pub fn scheme(self, robust: f64, fractional_bandwidth: f64) -> Scheme {
        match self {
            SchemeName::Natural => Scheme::Natural,
            SchemeName::Uniform => Scheme::Uniform,
            SchemeName::Briggs => Scheme::Briggs { robust },
            SchemeName::BriggsBwTaper => Scheme::BriggsBwTaper { robust, fractional_bandwidth },
        }
    }
}

/// A taper of these angles as a beam.
pub(super) fn taper_beam(angles: &[Angle]) -> Result<Option<Beam>, ImagingError> {
    beam_of_angles("taper", angles)
}

options! {
    /// Options of an image; names and defaults are those of tclean where it has them.
    pub struct ImageOptions {
        /// Side of a pixel; automatic is a fifth of the beam that is forecast.
        ["arcsec"] cell: Option<Angle> = None,
        /// Pixels a side, or along x and y; by default down to a fifth of the primary beam.
        ["pixels"] npix: List<usize> = List(vec![]),
        /// Direction of the middle of the image, `J2000 12h01m53.2s -18d52m30s`; by default that of the pointing, or the middle of several.
        [""] phase_center: String = String::new(),
        /// `mfs`: all channels in one image; `cube`: one image a channel.
        [""] mode: Mode = Mode::Mfs,
        /// First channel of a cube: a velocity, a frequency, or the number of a channel of the first window; by default the first of the data.
        [""] start: String = String::new(),
        /// Channel width of a cube, a velocity or a frequency, negative to run the other way; by default that of the data.
        [""] width: String = String::new(),
        /// Channels of a cube; automatic is to the end of the data.
        ["1"] nchan: Option<usize> = None,
        /// Frame of the frequencies: `LSRK`, `BARY` or `TOPO`.
        [""] frame: FrameName = FrameName::Lsrk,
        /// Definition of velocity: `radio` or `optical`.
        [""] veltype: VelocityName = VelocityName::Radio,
        /// Rest frequency of the line, needed where velocities are given.
        ["GHz"] rest_freq: Option<Frequency> = None,
        /// How visibilities come to lie on the channels of a cube: `linear` or `nearest`.
        [""] interpolation: Interpolation = Interpolation::Linear,
        /// `natural`, `uniform`, `briggs`, or `briggsbwtaper` (cubes with the beam of the continuum).
        [""] weighting: SchemeName = SchemeName::Briggs,
        /// Robustness of Briggs weighting: -2 is close to uniform, 2 close to natural.
        ["1"] robust: f64 = 0.5,
        /// Taper: FWHM in the image, or major axis, minor axis and position angle.
        ["arcsec"] taper: List<Angle> = List(vec![]),
        /// One density of samples for each channel of a cube instead of one for all.
        [""] per_channel_density: bool = true,
        /// Mosaics: densities of samples are measured for each pointing alone, as tclean does unless told otherwise.
        [""] mosweight: bool = true,
        /// `standard`, `wproject`, `mosaic`, or `auto`, which chooses and says so.
        [""] gridder: GridderName = GridderName::Auto,
        /// `hogbom`, `clark`, `multiscale` or `mtmfs`.
        [""] deconvolver: Deconvolver = Deconvolver::Hogbom,
        /// Taylor terms of mtmfs.
        ["1"] nterms: usize = 2,
        /// Images are blank where the primary beam is below this; automatic blanks nothing but the corrected image, below 0.1.
        ["1"] pblimit: Option<f64> = None,
        /// Beam of the restored image: empty for each plane's own, `common`, or major axis, minor axis and position angle.
        [""] restoring_beam: List<String> = List(vec![]),
        /// Also writes the images with the correction of Jorsater & van Moorsel: residuals scaled to the clean beam's volume.
        [""] jvm: bool = false,
        /// Also writes every image as a CASA image, a folder of the name without `.fits`.
        [""] casa: bool = false,
        /// Error of gridding relative to the image.
        ["1"] accuracy: f64 = 1e-5,
        /// Diameter of the dishes, metres, where the set does not tell.
        ["m"] dish: Option<f64> = None,
        /// Megabytes of visibilities, and again of densities of a mosaic's pointings, that are kept in memory between major cycles.
        ["MB"] memory: f64 = 96.0,
    }
}

impl ImageOptions {
    /// Refuses what cannot be, before anything is read.
    pub fn check(&self) -> Result<(), ImagingError> {
        let fail = |name, value: String, expected| Err(ImagingError::Option { name, value, expected });
        if !(-2.0..=2.0).contains(&self.robust) {
            return fail("robust", self.robust.to_string(), "a number from -2 to 2");
        }
        if self.npix.len() > 2 || self.npix.iter().any(|n| !(8..=32_768).contains(n)) {
            return fail("npix", format!("{:?}", self.npix.0), "one or two numbers from 8 to 32768");
        }
        if self.cell.is_some_and(|c| !(c.0 > 0.0)) {
            return fail("cell", self.cell.map_or(String::new(), |c| c.to_string()), "an angle above 0");
        }
        if !(1..=4).contains(&self.nterms) {
            return fail("nterms", self.nterms.to_string(), "1 to 4");
        }
        if self.pblimit.is_some_and(|p| !(0.0..1.0).contains(&p)) {
            return fail("pblimit", format!("{:?}", self.pblimit.unwrap_or_default()), "a number from 0 to below 1");
        }
        if !(self.memory >= 0.0) {
            return fail("memory", self.memory.to_string(), "0 or more megabytes");
        }
        if self.nchan == Some(0) {
            return fail("nchan", "0".into(), "at least one channel");
        }
        if self.mode == Mode::Cube && self.deconvolver == Deconvolver::Mtmfs {
            return fail("deconvolver", "mtmfs".into(), "hogbom, clark or multiscale for a cube: its channels are independent");
        }
        self.taper_beam()?;
        self.restoring_beam().map(drop)
    }

    /// The taper as a beam.
    pub fn taper_beam(&self) -> Result<Option<Beam>, ImagingError> {
        taper_beam(&self.taper.0)
    }

    /// The beam to restore with.
    pub fn restoring_beam(&self) -> Result<RestoringBeam, ImagingError> {
        match self.restoring_beam.first().map(String::as_str) {
            None => Ok(RestoringBeam::Own),
            Some("common") => Ok(RestoringBeam::Common),
            Some(_) => {
                let wrong = |e: String| ImagingError::Option { name: "restoring_beam", value: e, expected: BEAM_EXPECTED };
                let angles = self.restoring_beam.iter().map(|t| Angle::parse(t)).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
                let beam = beam_of_angles("restoring_beam", &angles)?;
                Ok(beam.map_or(RestoringBeam::Own, RestoringBeam::Given))
            }
        }
    }

    /// The weighting; `fractional_bandwidth` is that of the cube.
    pub fn weighting(&self, fractional_bandwidth: f64) -> Result<Weighting, ImagingError> {
        let scheme = self.weighting.scheme(self.robust, fractional_bandwidth);
        Ok(Weighting { scheme, taper: self.taper_beam()?, per_channel_density: self.per_channel_density })
    }
}

const BEAM_EXPECTED: &str = "one angle, or major axis, minor axis and position angle";

/// [] -> none, [fwhm] -> round, [major, minor, pa] -> elliptical.
fn beam_of_angles(name: &'static str, angles: &[Angle]) -> Result<Option<Beam>, ImagingError> {
    let beam = match angles {
        [] => return Ok(None),
        [fwhm] => Beam::round(fwhm.0),
        [bmaj, bmin, bpa] => Beam::new(bmaj.0, bmin.0, bpa.0),
        _ => {
            let value = angles.iter().map(Angle::to_string).collect::<Vec<_>>().join(", ");
            return Err(ImagingError::Option { name, value, expected: BEAM_EXPECTED });
        }
    };
    beam.map(Some).map_err(|e| ImagingError::Option { name, value: e.to_string(), expected: BEAM_EXPECTED })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use serde_json::json;

    fn read(v: serde_json::Value) -> ImageOptions {
        ImageOptions::from_given("image", v.as_object().cloned().unwrap_or_default()).unwrap()
    }

    #[test]
    fn options_are_read_as_scripts_write_them() {
        let o =
            read(json!({ "cell": "0.02arcsec", "npix": 512, "taper": "0.1arcsec", "restoring_beam": ["0.2arcsec", "0.1arcsec", "20deg"] }));
        assert_eq!((o.npix.0.clone(), o.weighting), (vec![512], SchemeName::Briggs));
        assert!(o.check().is_ok() && o.taper_beam().unwrap().unwrap().is_round(0.0));
        assert!(matches!(o.restoring_beam().unwrap(), RestoringBeam::Given(b) if (b.bpa_rad().to_degrees() - 20.0).abs() < 1e-9));
        assert_eq!(read(json!({ "restoring_beam": "common" })).restoring_beam().unwrap(), RestoringBeam::Common);
    }

    #[test]
    fn options_out_of_range_are_refused_with_their_range() {
        for (given, says) in [
            (json!({ "robust": 3 }), "`robust` is 3; expected a number from -2 to 2"),
            (json!({ "npix": [512, 512, 3] }), "`npix`"),
            (json!({ "restoring_beam": "0.2" }), "`restoring_beam`"),
            (json!({ "mode": "cube", "deconvolver": "mtmfs" }), "channels are independent"),
        ] {
            let e = read(given).check().unwrap_err().to_string();
            assert!(e.contains(says), "{e}");
        }
    }
}
