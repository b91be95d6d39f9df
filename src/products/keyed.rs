//! The maps of PHANGS-ALMA's moment key, by the names of their files.

use super::MapKind;
use crate::units::Velocity;

/// Which mask a map of the key is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyedMask {
    /// Strict mask of its resolution.
    Strict,
    /// Broad mask of all resolutions.
    Broad,
    /// Strict mask joined with a window about the velocity field.
    FlatStrict,
    /// Broad mask joined with a window about the velocity field.
    FlatBroad,
}

impl KeyedMask {
    /// Its name in file names.
    pub fn name(self) -> &'static str {
        match self {
            KeyedMask::Strict => "strict",
            KeyedMask::Broad => "broad",
            KeyedMask::FlatStrict => "flatstrict",
            KeyedMask::FlatBroad => "flatbroad",
        }
    }
}

/// A map of the moment key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeyedMap {
    /// Mask.
    pub mask: KeyedMask,
    /// Map.
    pub kind: MapKind,
    /// Running mean before the peak is looked for.
    pub window: Option<Velocity>,
    /// What the name says of the window.
    window_name: &'static str,
}

impl KeyedMap {
    const fn new(mask: KeyedMask, kind: MapKind) -> KeyedMap {
        KeyedMap { mask, kind, window: None, window_name: "" }
    }
    /// End of the file name of the map: `strict_mom0`.
    pub fn value_name(&self) -> String {
        format!("{}_{}{}", self.mask.name(), self.kind.name(), self.window_name)
    }
    /// End of the file name of its error: `strict_emom0`.
    pub fn error_name(&self) -> String {
        format!("{}_e{}{}", self.mask.name(), self.kind.name(), self.window_name)
    }
}

/// The maps that PHANGS-ALMA ships, in the order of its key; the mean velocity with a prior is made from five of them.
pub const MOMENT_KEY: [KeyedMap; 12] = {
    use KeyedMask::{Broad, FlatBroad, FlatStrict, Strict};
    [
        KeyedMap::new(Strict, MapKind::Mom0),
        KeyedMap::new(Strict, MapKind::Mom1),
        KeyedMap::new(Strict, MapKind::Mom2),
        KeyedMap::new(Strict, MapKind::Ew),
        KeyedMap::new(Strict, MapKind::Vpeak),
        KeyedMap::new(Strict, MapKind::Vquad),
        KeyedMap::new(Broad, MapKind::Mom0),
        KeyedMap::new(Broad, MapKind::Mom1),
        KeyedMap::new(Broad, MapKind::Tpeak),
        KeyedMap { mask: Broad, kind: MapKind::Tpeak, window: Some(Velocity(12.5)), window_name: "12p5" },
        KeyedMap::new(FlatStrict, MapKind::Mom0),
        KeyedMap::new(FlatBroad, MapKind::Mom0),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_pipeline() {
        let names: Vec<String> = MOMENT_KEY.iter().flat_map(|m| [m.value_name(), m.error_name()]).collect();
        for name in ["strict_mom0", "strict_eew", "strict_evquad", "broad_etpeak", "broad_tpeak12p5", "broad_etpeak12p5", "flatbroad_emom0"]
        {
            assert!(names.iter().any(|n| n == name), "{name}");
        }
    }
}
