//! Options of the joint alignment.

use serde::{Deserialize, Deserializer, Serialize};

use super::support::SupportPatch;
use crate::align::SigmaFrom;
use crate::options;
use crate::units::Angle;

/// Where emission may be, as a script says it: a radius, or an ellipse about a center.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum SupportOption {
    /// A disc of this radius about the source.
    Radius(Angle),
    /// An ellipse.
    Region(SupportRegion),
}

/// An ellipse relative to the phase center of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupportRegion {
    /// Center to the east.
    #[serde(default = "no_angle")]
    pub east: Angle,
    /// Center to the north.
    #[serde(default = "no_angle")]
    pub north: Angle,
    /// Semi-major axis.
    pub major: Angle,
    /// Semi-minor axis; as long as the major axis if left out.
    pub minor: Option<Angle>,
    /// Position angle of the major axis east of north.
    #[serde(default = "no_angle")]
    pub pa: Angle,
}

fn no_angle() -> Angle {
    Angle(0.0)
}

impl<'de> Deserialize<'de> for SupportOption {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<SupportOption, D::Error> {
        use serde::de::Error;
        match serde_json::Value::deserialize(d)? {
            serde_json::Value::String(text) => Angle::parse(&text).map(SupportOption::Radius).map_err(D::Error::custom),
            map @ serde_json::Value::Object(_) => serde_json::from_value(map).map(SupportOption::Region).map_err(D::Error::custom),
            other => Err(D::Error::custom(format!("{other}: expected a radius, \"1.5arcsec\", or #{{major, minor, pa, east, north}}"))),
        }
    }
}

impl SupportRegion {
    pub(super) fn patch(&self) -> SupportPatch {
        SupportPatch {
            east_rad: self.east.0,
            north_rad: self.north.0,
            major_rad: self.major.0,
            minor_rad: self.minor.unwrap_or(self.major).0,
            angle_rad: self.pa.0,
        }
    }
}

options! {
    /// Options of `align_jointly`.
    pub struct JointOptions {
        /// Block that defines zero; by default the one that fixes the position best.
        [""] reference: Option<String> = None,
        /// Block whose image starts the chain; by default the one with the strongest signal, usually a compact array.
        [""] seed: Option<String> = None,
        /// Where emission may be: a radius, "1.5arcsec", or #{major, minor, pa, east, north}; by default measured from the images. A mask is the best help for sparse arrays.
        [""] support: Option<SupportOption> = None,
        /// Largest offset that is searched. 1arcsec covers what phase calibration and proper motion do to ALMA data.
        ["arcsec"] search: Angle = Angle::from_arcsec(1.0),
        /// Where errors come from: the "weights" of the data, or their "scatter" about the fit.
        [""] sigma: SigmaFrom = SigmaFrom::Weights,
        /// Spectral index of the source; only the flux scales of blocks at different frequencies depend on it. 2.3 is dust.
        ["1"] spectral_index: f64 = 2.3,
        /// Field on the sky; data are averaged in uv cells of 1/field, emission is looked for within a fifteenth. By default two primary beams of a 12 m dish, 60arcsec at 230 GHz.
        ["arcsec"] sky_field: Option<Angle> = None,
    }
}
