//! The subtables of a MeasurementSet, read through casacore.

use std::path::Path;

use rubbl_casatables::{CasaScalarData, Table, TableRecord};

use super::casacore::{array_cell, column, column_keywords, with_table};
use super::error::MsError;
use super::measurement_set::{Antenna, DataDescription, Field, Observation, Spw, StoredDirection};
use super::table_files::TableFiles;
use crate::data::Corr;

type Read<T> = Result<T, MsError>;

/// Opens subtable `name` of the set and hands it to `body`; errors say which table they are about.
fn subtable<R>(set: &Path, name: &str, body: impl FnOnce(&mut Table) -> Read<R>) -> Read<R> {
    let path = set.join(name);
    if !path.join("table.dat").is_file() {
        return Err(MsError::NoSubtable(name.to_string()));
    }
    super::guard::check_not_written(&path)?;
    whole(&path).and_then(|()| with_table(&path, body)).map_err(|e| e.in_table(name))
}

fn whole(path: &Path) -> Read<()> {
    TableFiles::read(path)?.map_or(Ok(()), |files| super::guard::check_files(&files))
}

fn has(table: &mut Table, name: &str) -> bool {
    table.column_names().is_ok_and(|names| names.iter().any(|n| n == name))
}

/// A column of scalars, or a value for every row where the table has no such column.
fn column_or<T: CasaScalarData>(table: &mut Table, name: &str, otherwise: T) -> Read<Vec<T>> {
    if has(table, name) { column(table, name) } else { Ok(vec![otherwise; table.n_rows() as usize]) }
}

fn numbers(table: &mut Table, name: &str, row: u64) -> Read<Vec<f64>> {
    array_cell(table, name, row)?.ok_or_else(|| MsError::Undefined { column: name.to_string(), row })
}

pub fn antennas(set: &Path) -> Read<Vec<Antenna>> {
    subtable(set, "ANTENNA", |t| {
        let names: Vec<String> = column(t, "NAME")?;
        let stations = column_or(t, "STATION", String::new())?;
        let dishes: Vec<f64> = column_or(t, "DISH_DIAMETER", 0.0)?;
        (0..names.len())
            .map(|i| {
                let p = numbers(t, "POSITION", i as u64)?;
                let position_m = <[f64; 3]>::try_from(p.as_slice()).map_err(|_| shape("POSITION", i, p.len(), 3))?;
                Ok(Antenna { name: names[i].clone(), station: stations[i].clone(), position_m, dish_m: dishes[i] })
            })
            .collect()
    })
}

pub fn spws(set: &Path) -> Read<Vec<Spw>> {
    subtable(set, "SPECTRAL_WINDOW", |t| {
        let names = column_or(t, "NAME", String::new())?;
        let n_chan: Vec<i32> = column(t, "NUM_CHAN")?;
        let codes: Vec<i32> = column_or(t, "MEAS_FREQ_REF", 5)?;
        let reference = Reference::of(t, "CHAN_FREQ", &FREQUENCY_FRAMES)?;
        (0..names.len())
            .map(|i| {
                let (freq, width) = (numbers(t, "CHAN_FREQ", i as u64)?, numbers(t, "CHAN_WIDTH", i as u64)?);
                if freq.len() != n_chan[i].max(0) as usize || width.len() != freq.len() {
                    return Err(MsError::Disagree(format!(
                        "spw {i} has NUM_CHAN {}, but {} frequencies and {} widths",
                        n_chan[i],
                        freq.len(),
                        width.len()
                    )));
                }
                let frame = reference.name(codes[i]);
                Ok(Spw { name: names[i].clone(), freq_hz: freq.into(), width_hz: width.into(), frame })
            })
            .collect()
    })
}

pub fn polarizations(set: &Path) -> Read<Vec<std::sync::Arc<[Corr]>>> {
    subtable(set, "POLARIZATION", |t| {
        let n_corr: Vec<i32> = column(t, "NUM_CORR")?;
        (0..n_corr.len())
            .map(|i| {
                let codes: Vec<i32> =
                    array_cell(t, "CORR_TYPE", i as u64)?.ok_or(MsError::Undefined { column: "CORR_TYPE".into(), row: i as u64 })?;
                if codes.len() != n_corr[i].max(0) as usize {
                    return Err(MsError::Disagree(format!(
                        "polarization {i} has NUM_CORR {}, but {} correlations",
                        n_corr[i],
                        codes.len()
                    )));
                }
                codes.iter().map(|c| Corr::from_code(*c).ok_or(MsError::UnknownCorr { polarization: i, code: *c })).collect()
            })
            .collect()
    })
}

pub fn data_descriptions(set: &Path) -> Read<Vec<DataDescription>> {
    subtable(set, "DATA_DESCRIPTION", |t| {
        let spws: Vec<i32> = column(t, "SPECTRAL_WINDOW_ID")?;
        let polarizations: Vec<i32> = column(t, "POLARIZATION_ID")?;
        // Negative ids become huge and are refused with the others that are out of range.
        Ok(spws
            .iter()
            .zip(&polarizations)
            .map(|(s, p)| DataDescription { spw: *s as u32 as usize, polarization: *p as u32 as usize })
            .collect())
    })
}

pub fn fields(set: &Path) -> Read<Vec<Field>> {
    subtable(set, "FIELD", |t| {
        let names: Vec<String> = column(t, "NAME")?;
        let sources: Vec<i32> = column_or(t, "SOURCE_ID", -1)?;
        let ephemeris: Vec<i32> = column_or(t, "EPHEMERIS_ID", -1)?;
        let directions = directions(t, "PHASE_DIR")?;
        Ok(names
            .into_iter()
            .zip(directions)
            .enumerate()
            .map(|(i, (name, mut phase_center))| {
                phase_center.moves |= ephemeris[i] >= 0;
                Field { name, phase_center, source_id: sources[i] }
            })
            .collect())
    })
}

/// A direction column: the constant term of the polynomial, with the frame of each row.
pub fn directions(t: &mut Table, name: &str) -> Read<Vec<StoredDirection>> {
    let reference = Reference::of(t, name, &DIRECTION_FRAMES)?;
    let codes = reference.codes(t)?;
    (0..t.n_rows())
        .map(|row| {
            let d = numbers(t, name, row)?;
            let [ra_rad, dec_rad, ..] = d[..] else { return Err(shape(name, row as usize, d.len(), 2)) };
            let frame = codes.get(row as usize).map_or_else(|| reference.fixed.clone(), |c| reference.name_of(c));
            Ok(StoredDirection { ra_rad, dec_rad, frame, moves: d[2..].iter().any(|x| *x != 0.0) })
        })
        .collect()
}

pub fn observations(set: &Path) -> Read<Vec<Observation>> {
    subtable(set, "OBSERVATION", |t| {
        let telescopes = column_or(t, "TELESCOPE_NAME", String::new())?;
        let observers = column_or(t, "OBSERVER", String::new())?;
        let projects = column_or(t, "PROJECT", String::new())?;
        let with_range = has(t, "TIME_RANGE");
        (0..telescopes.len())
            .map(|i| {
                let range: Vec<f64> = if with_range { array_cell(t, "TIME_RANGE", i as u64)?.unwrap_or_default() } else { Vec::new() };
                let at = |k: usize| range.get(k).copied().unwrap_or(0.0);
                Ok(Observation {
                    telescope: telescopes[i].clone(),
                    observer: observers[i].clone(),
                    project: projects[i].clone(),
                    time_range_s: [at(0), at(1)],
                })
            })
            .collect()
    })
}

/// Intents by state id; sets of some makers have no STATE.
pub fn states(set: &Path) -> Read<Vec<String>> {
    if !set.join("STATE/table.dat").is_file() {
        return Ok(Vec::new());
    }
    subtable(set, "STATE", |t| column_or(t, "OBS_MODE", String::new()))
}

fn shape(column: &str, row: usize, found: usize, expected: usize) -> MsError {
    MsError::Shape { column: column.to_string(), row: row as u64, found: vec![found], expected: vec![expected] }
}

/// How a column of measures says its frame: one for all rows, or a code in another column.
#[derive(Debug, Clone)]
pub struct Reference {
    /// Frame of all rows, unless there is a column of codes.
    pub fixed: String,
    /// The column of codes.
    pub column: Option<String>,
    /// Names and codes that the set itself gives; else casacore's own numbers hold.
    pub codes: Vec<(u32, String)>,
    standard: &'static [(u32, &'static str)],
}

/// What a row's reference column holds.
#[derive(Debug, Clone)]
pub enum ReferenceCode {
    /// A number.
    Code(i32),
    /// The name itself.
    Name(String),
}

/// casacore's numbers of direction frames.
pub const DIRECTION_FRAMES: [(u32, &str); 23] = [
    (0, "J2000"),
    (1, "JMEAN"),
    (2, "JTRUE"),
    (3, "APP"),
    (4, "B1950"),
    (5, "B1950_VLA"),
    (6, "BMEAN"),
    (7, "BTRUE"),
    (8, "GALACTIC"),
    (9, "HADEC"),
    (10, "AZEL"),
    (11, "AZELSW"),
    (12, "AZELGEO"),
    (13, "AZELSWGEO"),
    (14, "JNAT"),
    (15, "ECLIPTIC"),
    (16, "MECLIPTIC"),
    (17, "TECLIPTIC"),
    (18, "SUPERGAL"),
    (19, "ITRF"),
    (20, "TOPO"),
    (21, "ICRS"),
    (42, "COMET"),
];

/// casacore's numbers of frequency frames.
pub const FREQUENCY_FRAMES: [(u32, &str); 10] = [
    (0, "REST"),
    (1, "LSRK"),
    (2, "LSRD"),
    (3, "BARY"),
    (4, "GEO"),
    (5, "TOPO"),
    (6, "GALACTO"),
    (7, "LGROUP"),
    (8, "CMB"),
    (64, "Undefined"),
];

impl Reference {
    /// Reads MEASINFO of a column. A fixed `Ref` wins over a column of codes, as in casacore.
    pub fn of(t: &mut Table, name: &str, standard: &'static [(u32, &'static str)]) -> Read<Reference> {
        let default = standard.first().map_or("", |(_, n)| n).to_string();
        let mut reference = Reference { fixed: default, column: None, codes: Vec::new(), standard };
        let mut keywords = column_keywords(t, name)?;
        let Ok(mut info) = keywords.get_field::<TableRecord>("MEASINFO") else { return Ok(reference) };
        if let Ok(fixed) = info.get_field::<String>("Ref") {
            reference.fixed = fixed;
        } else if let Ok(column) = info.get_field::<String>("VarRefCol") {
            reference.column = Some(column);
            let names: Vec<String> = info.get_field("TabRefTypes").unwrap_or_default();
            // Most writers store unsigned codes, some signed ones.
            let signed = |info: &mut TableRecord| info.get_field::<Vec<i32>>("TabRefCodes").map(|c| c.iter().map(|c| *c as u32).collect());
            let codes: Vec<u32> = info.get_field("TabRefCodes").or_else(|_| signed(&mut info)).unwrap_or_default();
            reference.codes = codes.into_iter().zip(names).collect();
        }
        Ok(reference)
    }

    /// The codes of all rows; none for a fixed reference.
    pub fn codes(&self, t: &mut Table) -> Read<Vec<ReferenceCode>> {
        let Some(name) = &self.column else { return Ok(Vec::new()) };
        match column::<i32>(t, name) {
            Ok(codes) => Ok(codes.into_iter().map(ReferenceCode::Code).collect()),
            Err(_) => Ok(column::<String>(t, name)?.into_iter().map(ReferenceCode::Name).collect()),
        }
    }

    /// Name of the frame with this code, or the fixed frame.
    pub fn name(&self, code: i32) -> String {
        if self.column.is_none() {
            return self.fixed.clone();
        }
        let given = self.codes.iter().find(|(c, _)| *c as i32 == code).map(|(_, n)| n.as_str());
        let standard = || self.standard.iter().find(|(c, _)| *c as i32 == code).map(|(_, n)| *n);
        given.or_else(standard).map_or_else(|| format!("unknown frame {code}"), str::to_string)
    }

    /// Name of the frame that a row's reference column gives.
    pub fn name_of(&self, code: &ReferenceCode) -> String {
        match code {
            ReferenceCode::Code(code) => self.name(*code),
            ReferenceCode::Name(name) => name.clone(),
        }
    }
}
