//! A MeasurementSet as plain values: what its subtables say, checked once when it is opened.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::rows::RowIndex;
use super::subtables_read as subtables;
use super::table_files::TableFiles;
use super::{casacore, guard};
use crate::data::Corr;
use crate::error::Result;
use crate::sky::{Direction, Frame};

/// An antenna.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Antenna {
    /// Name, for example `DA41`.
    pub name: String,
    /// Name of the pad it stands on.
    pub station: String,
    /// Position, metres, ITRF.
    pub position_m: [f64; 3],
    /// Dish diameter, metres.
    pub dish_m: f64,
}

/// A spectral window.
#[derive(Debug, Clone, PartialEq)]
pub struct Spw {
    /// Name; not always unique, often empty.
    pub name: String,
    /// Frequencies of the channel centers, Hz, in any order.
    pub freq_hz: Arc<[f64]>,
    /// Widths of the channels, Hz, negative where frequencies descend.
    pub width_hz: Arc<[f64]>,
    /// Frame of the frequencies as casacore names it, for example `TOPO` or `LSRK`.
    pub frame: String,
}

impl Spw {
    /// Lowest and highest frequency, channel edges included, Hz.
    pub fn range_hz(&self) -> (f64, f64) {
        let edges = |sign: f64| self.freq_hz.iter().zip(self.width_hz.iter()).map(move |(f, w)| f + sign * w.abs() / 2.0);
        (edges(-1.0).fold(f64::INFINITY, f64::min), edges(1.0).fold(f64::NEG_INFINITY, f64::max))
    }
    /// Middle of the range, Hz.
    pub fn center_hz(&self) -> f64 {
        let (low, high) = self.range_hz();
        0.5 * (low + high)
    }
}

/// A combination of spectral window and correlations that rows refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct DataDescription {
    /// Spectral window id.
    pub spw: usize,
    /// Polarization id.
    pub polarization: usize,
}

/// A direction with the frame's name as the set gives it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct StoredDirection {
    /// Longitude, rad.
    pub ra_rad: f64,
    /// Latitude, rad.
    pub dec_rad: f64,
    /// Frame as casacore names it.
    pub frame: String,
    /// True if the direction changes with time (a polynomial or an ephemeris).
    pub moves: bool,
}

impl StoredDirection {
    /// The direction, if its frame is one that directions of this program have.
    pub fn direction(&self) -> Option<Direction> {
        Some(Direction::new(self.ra_rad, self.dec_rad, Frame::from_name(&self.frame)?))
    }
}

/// A field: a direction that was observed.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Field {
    /// Name.
    pub name: String,
    /// Phase center.
    pub phase_center: StoredDirection,
    /// Row of SOURCE, -1 for none.
    pub source_id: i32,
}

/// An entry of OBSERVATION.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Observation {
    /// Name of the telescope.
    pub telescope: String,
    /// Observer.
    pub observer: String,
    /// Project.
    pub project: String,
    /// First and last time, MJD seconds; some sets leave it zero.
    pub time_range_s: [f64; 2],
}

/// All that the subtables of a set say, and which rows are of which kind.
#[derive(Debug, Clone)]
pub struct Metadata {
    /// Folder of the set.
    pub path: PathBuf,
    /// Its file name without folder and `.ms`.
    pub name: String,
    /// Antennas.
    pub antennas: Vec<Antenna>,
    /// Spectral windows.
    pub spws: Vec<Spw>,
    /// Correlations of each polarization id.
    pub polarizations: Vec<Arc<[Corr]>>,
    /// Data descriptions.
    pub data_descriptions: Vec<DataDescription>,
    /// Fields.
    pub fields: Vec<Field>,
    /// Observations.
    pub observations: Vec<Observation>,
    /// Intents (OBS_MODE) by state id; empty where there is no STATE table.
    pub states: Vec<String>,
    /// Columns of the main table.
    pub columns: Vec<String>,
    /// The main table's rows by time, field, spw and so on.
    pub rows: RowIndex,
    /// The files of the main table; `None` if it refers to other tables.
    pub(crate) files: Option<TableFiles>,
}

/// A MeasurementSet: a path and what its subtables say. Cloning is cheap, and threads can share it.
#[derive(Debug, Clone)]
pub struct MeasurementSet {
    data: Arc<Metadata>,
}

impl Deref for MeasurementSet {
    type Target = Metadata;
    fn deref(&self) -> &Metadata {
        &self.data
    }
}

impl MeasurementSet {
    /// Opens a set and checks that its tables are there, whole, and agree.
    pub fn open(path: impl AsRef<Path>) -> Result<MeasurementSet> {
        let path: PathBuf = path.as_ref().components().collect();
        guard::check_is_set(&path)?;
        read(&path).map(|data| MeasurementSet { data: Arc::new(data) }).map_err(|e| e.at(&path))
    }

    /// The columns that hold complex visibilities, in the order DATA, CORRECTED_DATA, MODEL_DATA, others.
    pub fn visibility_columns(&self) -> Vec<String> {
        let known = ["DATA", "CORRECTED_DATA", "MODEL_DATA"];
        known.iter().filter(|c| self.has_column(c)).map(|c| c.to_string()).collect()
    }

    /// True if the main table has the column.
    pub fn has_column(&self, name: &str) -> bool {
        self.columns.iter().any(|c| c == name)
    }
}

/// Name of a set for tables and messages: its file name without folder and `.ms`.
pub fn set_name(path: &Path) -> String {
    let name = casacore::short_name(path);
    name.strip_suffix(".ms").map_or(name.clone(), str::to_string)
}

fn read(path: &Path) -> Result<Metadata> {
    let files = TableFiles::read(path)?;
    if let Some(files) = &files {
        guard::check_files(files)?;
    }
    let (columns, rows) = casacore::with_table(path, |table| {
        let columns = table.column_names().map_err(|e| casacore::casacore("read the column names", e))?;
        guard::check_main_columns(&columns)?;
        Ok((columns, RowIndex::read(table, files.as_ref())?))
    })?;
    let data = Metadata {
        name: set_name(path),
        antennas: subtables::antennas(path)?,
        spws: subtables::spws(path)?,
        polarizations: subtables::polarizations(path)?,
        data_descriptions: subtables::data_descriptions(path)?,
        fields: subtables::fields(path)?,
        observations: subtables::observations(path)?,
        states: subtables::states(path)?,
        path: path.to_path_buf(),
        columns,
        rows,
        files,
    };
    guard::check_ids(&data)?;
    guard::check_shapes(&data)?;
    Ok(data)
}
