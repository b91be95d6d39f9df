//! The columns that version 2 of the MeasurementSet requires, with their units and measures.

use super::aipsio::CellType::{self, *};
use super::write::{Column, Keyword, Shape};

/// Measure of a column: its kind, and its reference frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// The column has no measure.
    None,
    /// Kind and reference, the same in every row.
    Fixed(&'static str, &'static str),
    /// A direction whose frame is given for the table.
    Direction,
    /// A frequency whose frame stands in MEAS_FREQ_REF.
    Frequency,
}

/// A column of a subtable: name, type, axes (0 for a scalar), fixed length of a vector, unit, measure.
pub struct SubColumn {
    /// Name.
    pub name: &'static str,
    /// Type.
    pub cell: CellType,
    /// Number of axes, 0 for a scalar.
    pub n_dim: u64,
    /// Length, where the column holds vectors of one length.
    pub fixed: Option<u64>,
    /// Units, one an axis value.
    pub units: &'static [&'static str],
    /// Measure.
    pub measure: Measure,
}

const fn scalar(name: &'static str, cell: CellType) -> SubColumn {
    SubColumn { name, cell, n_dim: 0, fixed: None, units: &[], measure: Measure::None }
}
const fn array(name: &'static str, cell: CellType, n_dim: u64) -> SubColumn {
    SubColumn { name, cell, n_dim, fixed: None, units: &[], measure: Measure::None }
}
const fn quantity(name: &'static str, units: &'static [&'static str]) -> SubColumn {
    SubColumn { name, cell: Double, n_dim: 0, fixed: None, units, measure: Measure::None }
}
const fn quantities(name: &'static str, units: &'static [&'static str]) -> SubColumn {
    SubColumn { name, cell: Double, n_dim: 1, fixed: None, units, measure: Measure::None }
}
const fn epoch(name: &'static str) -> SubColumn {
    SubColumn { name, cell: Double, n_dim: 0, fixed: None, units: &["s"], measure: Measure::Fixed("epoch", "UTC") }
}
const fn position(name: &'static str) -> SubColumn {
    let measure = Measure::Fixed("position", "ITRF");
    SubColumn { name, cell: Double, n_dim: 1, fixed: Some(3), units: &["m", "m", "m"], measure }
}
const fn directions(name: &'static str) -> SubColumn {
    SubColumn { name, cell: Double, n_dim: 2, fixed: None, units: &["rad", "rad"], measure: Measure::Direction }
}
const fn frequency(name: &'static str, n_dim: u64) -> SubColumn {
    SubColumn { name, cell: Double, n_dim, fixed: None, units: &["Hz"], measure: Measure::Frequency }
}

/// Subtables in the order of the keywords of a new set.
pub const SUBTABLES: &[(&str, &[SubColumn])] = &[
    ("ANTENNA", ANTENNA),
    ("DATA_DESCRIPTION", DATA_DESCRIPTION),
    ("FEED", FEED),
    ("FLAG_CMD", FLAG_CMD),
    ("FIELD", FIELD),
    ("HISTORY", HISTORY),
    ("OBSERVATION", OBSERVATION),
    ("POINTING", POINTING),
    ("POLARIZATION", POLARIZATION),
    ("PROCESSOR", PROCESSOR),
    ("SPECTRAL_WINDOW", SPECTRAL_WINDOW),
    ("STATE", STATE),
    ("SOURCE", SOURCE),
];

const ANTENNA: &[SubColumn] = &[
    position("OFFSET"),
    position("POSITION"),
    scalar("TYPE", String),
    quantity("DISH_DIAMETER", &["m"]),
    scalar("FLAG_ROW", Bool),
    scalar("MOUNT", String),
    scalar("NAME", String),
    scalar("STATION", String),
];
const DATA_DESCRIPTION: &[SubColumn] = &[scalar("FLAG_ROW", Bool), scalar("POLARIZATION_ID", Int), scalar("SPECTRAL_WINDOW_ID", Int)];
const FEED: &[SubColumn] = &[
    position("POSITION"),
    SubColumn { measure: Measure::Fixed("direction", "J2000"), ..directions("BEAM_OFFSET") },
    array("POLARIZATION_TYPE", String, 1),
    array("POL_RESPONSE", Complex, 2),
    quantities("RECEPTOR_ANGLE", &["rad"]),
    scalar("ANTENNA_ID", Int),
    scalar("BEAM_ID", Int),
    scalar("FEED_ID", Int),
    quantity("INTERVAL", &["s"]),
    scalar("NUM_RECEPTORS", Int),
    scalar("SPECTRAL_WINDOW_ID", Int),
    epoch("TIME"),
];
const FLAG_CMD: &[SubColumn] = &[
    scalar("APPLIED", Bool),
    scalar("COMMAND", String),
    quantity("INTERVAL", &["s"]),
    scalar("LEVEL", Int),
    scalar("REASON", String),
    scalar("SEVERITY", Int),
    epoch("TIME"),
    scalar("TYPE", String),
];
const FIELD: &[SubColumn] = &[
    directions("DELAY_DIR"),
    directions("PHASE_DIR"),
    directions("REFERENCE_DIR"),
    scalar("CODE", String),
    scalar("FLAG_ROW", Bool),
    scalar("NAME", String),
    scalar("NUM_POLY", Int),
    scalar("SOURCE_ID", Int),
    epoch("TIME"),
];
const HISTORY: &[SubColumn] = &[
    array("APP_PARAMS", String, 1),
    array("CLI_COMMAND", String, 1),
    scalar("APPLICATION", String),
    scalar("MESSAGE", String),
    scalar("OBJECT_ID", Int),
    scalar("OBSERVATION_ID", Int),
    scalar("ORIGIN", String),
    scalar("PRIORITY", String),
    epoch("TIME"),
];
const OBSERVATION: &[SubColumn] = &[
    SubColumn { n_dim: 1, fixed: Some(2), ..epoch("TIME_RANGE") },
    array("LOG", String, 1),
    array("SCHEDULE", String, 1),
    scalar("FLAG_ROW", Bool),
    scalar("OBSERVER", String),
    scalar("PROJECT", String),
    epoch("RELEASE_DATE"),
    scalar("SCHEDULE_TYPE", String),
    scalar("TELESCOPE_NAME", String),
];
const POINTING: &[SubColumn] = &[
    SubColumn { measure: Measure::Fixed("direction", "J2000"), ..directions("DIRECTION") },
    scalar("ANTENNA_ID", Int),
    quantity("INTERVAL", &["s"]),
    scalar("NAME", String),
    scalar("NUM_POLY", Int),
    SubColumn { measure: Measure::Fixed("direction", "J2000"), ..directions("TARGET") },
    epoch("TIME"),
    epoch("TIME_ORIGIN"),
    scalar("TRACKING", Bool),
];
const POLARIZATION: &[SubColumn] =
    &[array("CORR_TYPE", Int, 1), array("CORR_PRODUCT", Int, 2), scalar("FLAG_ROW", Bool), scalar("NUM_CORR", Int)];
const PROCESSOR: &[SubColumn] =
    &[scalar("FLAG_ROW", Bool), scalar("MODE_ID", Int), scalar("TYPE", String), scalar("TYPE_ID", Int), scalar("SUB_TYPE", String)];
const SPECTRAL_WINDOW: &[SubColumn] = &[
    scalar("MEAS_FREQ_REF", Int),
    frequency("CHAN_FREQ", 1),
    frequency("REF_FREQUENCY", 0),
    quantities("CHAN_WIDTH", &["Hz"]),
    quantities("EFFECTIVE_BW", &["Hz"]),
    quantities("RESOLUTION", &["Hz"]),
    scalar("FLAG_ROW", Bool),
    scalar("FREQ_GROUP", Int),
    scalar("FREQ_GROUP_NAME", String),
    scalar("IF_CONV_CHAIN", Int),
    scalar("NAME", String),
    scalar("NET_SIDEBAND", Int),
    scalar("NUM_CHAN", Int),
    quantity("TOTAL_BANDWIDTH", &["Hz"]),
];
const STATE: &[SubColumn] = &[
    quantity("CAL", &["K"]),
    scalar("FLAG_ROW", Bool),
    quantity("LOAD", &["K"]),
    scalar("OBS_MODE", String),
    scalar("REF", Bool),
    scalar("SIG", Bool),
    scalar("SUB_SCAN", Int),
];
const SOURCE: &[SubColumn] = &[
    SubColumn { n_dim: 1, fixed: Some(2), ..directions("DIRECTION") },
    SubColumn { fixed: Some(2), ..quantities("PROPER_MOTION", &["rad/s"]) },
    scalar("CALIBRATION_GROUP", Int),
    scalar("CODE", String),
    quantity("INTERVAL", &["s"]),
    scalar("NAME", String),
    scalar("NUM_LINES", Int),
    scalar("SOURCE_ID", Int),
    scalar("SPECTRAL_WINDOW_ID", Int),
    epoch("TIME"),
    SubColumn { measure: Measure::Fixed("frequency", "LSRK"), ..frequency("REST_FREQUENCY", 1) },
    SubColumn { measure: Measure::Fixed("radialvelocity", "LSRK"), ..quantities("SYSVEL", &["m/s"]) },
    array("TRANSITION", String, 1),
];

/// Names and codes of the frames of frequencies, for columns whose frame stands in MEAS_FREQ_REF.
pub const FREQUENCY_FRAMES: (&[&str], &[u32]) =
    (&["REST", "LSRK", "LSRD", "BARY", "GEO", "TOPO", "GALACTO", "LGROUP", "CMB", "Undefined"], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 64]);

/// Names and codes of the frames of directions, for columns with one frame a row.
pub const DIRECTION_FRAMES: (&[&str], &[u32]) = (
    &[
        "J2000",
        "JMEAN",
        "JTRUE",
        "APP",
        "B1950",
        "B1950_VLA",
        "BMEAN",
        "BTRUE",
        "GALACTIC",
        "HADEC",
        "AZEL",
        "AZELSW",
        "AZELGEO",
        "AZELSWGEO",
        "JNAT",
        "ECLIPTIC",
        "MECLIPTIC",
        "TECLIPTIC",
        "SUPERGAL",
        "ITRF",
        "TOPO",
        "ICRS",
        "MERCURY",
        "VENUS",
        "MARS",
        "JUPITER",
        "SATURN",
        "URANUS",
        "NEPTUNE",
        "PLUTO",
        "SUN",
        "MOON",
        "COMET",
    ],
    &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42],
);

/// Columns of the main table; `sample_weights` adds WEIGHT_SPECTRUM and SIGMA_SPECTRUM.
pub fn main_columns(sample_weights: bool) -> Vec<Column> {
    let seconds = || vec![Keyword::units(&["s"])];
    let time = || vec![Keyword::units(&["s"]), Keyword::measure("epoch", "UTC")];
    let id = |name: &str, comment: &str| Column::new(name, Int, Shape::Incremental, comment, &[]);
    let category = ("CATEGORY".to_string(), Keyword::Texts(Vec::new()));
    let uvw = [Keyword::units(&["m", "m", "m"]), Keyword::measure("uvw", "ITRF")];
    let mut columns = vec![
        Column::new("UVW", Double, Shape::Fixed(vec![3]), "Baseline coordinates", &uvw),
        Column::new("FLAG", Bool, Shape::Array(2), "True for samples that must not be used", &[]),
        Column::new("FLAG_CATEGORY", Bool, Shape::Array(3), "Flags by category", &[category]),
        Column::new("WEIGHT", Float, Shape::Array(1), "Weight of each correlation", &[]),
        Column::new("SIGMA", Float, Shape::Array(1), "Noise of one channel of each correlation", &[]),
        Column::new("ANTENNA1", Int, Shape::Scalar, "First antenna of the baseline", &[]),
        Column::new("ANTENNA2", Int, Shape::Scalar, "Second antenna of the baseline", &[]),
        id("ARRAY_ID", "Array"),
        id("DATA_DESC_ID", "Row of DATA_DESCRIPTION"),
        Column::new("EXPOSURE", Double, Shape::Incremental, "Effective integration time", &seconds()),
        id("FEED1", "Feed of the first antenna"),
        id("FEED2", "Feed of the second antenna"),
        id("FIELD_ID", "Row of FIELD"),
        Column::new("FLAG_ROW", Bool, Shape::Scalar, "True for rows that must not be used", &[]),
        Column::new("INTERVAL", Double, Shape::Incremental, "Sampling interval", &seconds()),
        id("OBSERVATION_ID", "Row of OBSERVATION"),
        id("PROCESSOR_ID", "Row of PROCESSOR"),
        id("SCAN_NUMBER", "Scan"),
        id("STATE_ID", "Row of STATE"),
        Column::new("TIME", Double, Shape::Incremental, "Middle of the interval", &time()),
        Column::new("TIME_CENTROID", Double, Shape::Incremental, "Middle of the exposure", &time()),
        Column::new("DATA", Complex, Shape::Array(2), "Visibilities", &[]),
    ];
    if sample_weights {
        columns.push(Column::new("WEIGHT_SPECTRUM", Float, Shape::Array(2), "Weight of each sample", &[]));
        columns.push(Column::new("SIGMA_SPECTRUM", Float, Shape::Array(2), "Noise of each sample", &[]));
    }
    columns
}
