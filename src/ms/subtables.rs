//! The subtables of a new set, made through casacore.

use std::path::Path;

use rubbl_casatables::{Array, CasaDataType, Complex, GlueDataType, Table, TableCreateMode, TableDesc, TableDescCreateMode, TableRecord};

use super::aipsio::CellType;
use super::casacore::{alone_writing, casacore};
use super::error::MsError;
use super::schema::{DIRECTION_FRAMES, FREQUENCY_FRAMES, Measure, SUBTABLES, SubColumn};
use crate::data::{Corr, SetDescription};
use crate::sky::Frame;

type Done = Result<(), MsError>;

/// Makes all subtables of `description` in the folder of the set.
pub fn write(set: &Path, description: &SetDescription) -> Done {
    alone_writing(|| {
        let tables = SubtableMaker { set, d: description };
        for (name, columns) in SUBTABLES {
            let mut sub = tables.make(name, columns)?;
            match *name {
                "ANTENNA" => tables.antenna(&mut sub)?,
                "DATA_DESCRIPTION" => tables.data_description(&mut sub)?,
                "FEED" => tables.feed(&mut sub)?,
                "FIELD" => tables.field(&mut sub)?,
                "OBSERVATION" => tables.observation(&mut sub)?,
                "POLARIZATION" => tables.polarization(&mut sub)?,
                "PROCESSOR" => tables.processor(&mut sub)?,
                "SPECTRAL_WINDOW" => tables.spectral_window(&mut sub)?,
                "STATE" => tables.state(&mut sub)?,
                "SOURCE" => tables.source(&mut sub)?,
                _ => {}
            }
        }
        Ok(())
    })
}

/// Makes one empty subtable, for sets that lack it; the caller holds casacore alone.
pub fn make_empty(set: &Path, name: &'static str) -> Result<Table, MsError> {
    let d = SetDescription::default();
    let columns = SUBTABLES.iter().find(|(n, _)| *n == name).map_or(&[][..], |(_, c)| c);
    Ok(SubtableMaker { set, d: &d }.make(name, columns)?.table)
}

struct SubtableMaker<'a> {
    set: &'a Path,
    d: &'a SetDescription,
}

/// A subtable being filled.
struct Sub {
    name: &'static str,
    table: Table,
}

impl Sub {
    fn put<T: CasaDataType>(&mut self, column: &str, row: usize, value: &T) -> Done {
        self.table.put_cell(column, row as u64, value).map_err(|e| casacore(format!("write {}::{column}", self.name), e))
    }
    fn text(&mut self, column: &str, row: usize, value: &str) -> Done {
        self.put(column, row, &value.to_string())
    }
    fn rows(&mut self, n: usize) -> Done {
        self.table.add_rows(n).map_err(|e| casacore(format!("add rows to {}", self.name), e))
    }
    /// An array of two axes, rows of `n` numbers.
    fn matrix<T>(&mut self, column: &str, row: usize, values: &[T], n: usize) -> Done
    where
        T: Copy + rubbl_casatables::CasaScalarData,
    {
        let array = Array::from_shape_vec((values.len() / n, n), values.to_vec());
        let array = array.map_err(|e| casacore(format!("write {}::{column}", self.name), e))?;
        self.put(column, row, &array)
    }
}

fn glue_type(cell: CellType) -> GlueDataType {
    match cell {
        CellType::Bool => GlueDataType::TpBool,
        CellType::Int => GlueDataType::TpInt,
        CellType::Complex => GlueDataType::TpComplex,
        CellType::String => GlueDataType::TpString,
        _ => GlueDataType::TpDouble,
    }
}

impl SubtableMaker<'_> {
    fn make(&self, name: &'static str, columns: &[SubColumn]) -> Result<Sub, MsError> {
        let failed = |e: &dyn std::fmt::Display| casacore(format!("create {name}"), e);
        let mut desc = TableDesc::new("", TableDescCreateMode::TDM_SCRATCH).map_err(|e| failed(&e))?;
        for c in columns {
            self.add_column(&mut desc, name, c).map_err(|e| failed(&e))?;
        }
        if name == "FIELD" && self.variable_frames() {
            for (_, column) in VARIABLE_FRAME_COLUMNS {
                desc.add_scalar_column(GlueDataType::TpInt, column, None, false, false).map_err(|e| failed(&e))?;
            }
        }
        let table = Table::new(self.set.join(name), desc, 0, TableCreateMode::NewNoReplace).map_err(|e| failed(&e))?;
        Ok(Sub { name, table })
    }

    fn add_column(&self, desc: &mut TableDesc, table: &str, c: &SubColumn) -> Result<(), rubbl_casatables::TableError> {
        let kind = glue_type(c.cell);
        match (c.n_dim, c.fixed) {
            (0, _) => desc.add_scalar_column(kind, c.name, None, false, false)?,
            (_, Some(n)) => desc.add_array_column(kind, c.name, None, Some(&[n]), true, false)?,
            (n_dim, None) => {
                desc.add_array_column(kind, c.name, None, None, false, false)?;
                desc.set_ndims(c.name, n_dim)?;
            }
        }
        if !c.units.is_empty() {
            let units: Vec<String> = c.units.iter().map(|u| u.to_string()).collect();
            desc.put_column_keyword(c.name, "QuantumUnits", &units)?;
        }
        if let Some(info) = self.measure(table, c)? {
            desc.put_column_keyword(c.name, "MEASINFO", &info)?;
        }
        Ok(())
    }

    fn measure(&self, table: &str, c: &SubColumn) -> Result<Option<TableRecord>, rubbl_casatables::TableError> {
        let mut info = TableRecord::new()?;
        let mut put = |kind: &str, reference: &str| -> Result<(), rubbl_casatables::TableError> {
            info.put_field("type", &kind.to_string())?;
            Ok(info.put_field("Ref", &reference.to_string())?)
        };
        match c.measure {
            Measure::None => return Ok(None),
            Measure::Fixed(kind, reference) => put(kind, reference)?,
            Measure::Direction if table != "FIELD" || !self.variable_frames() => put("direction", self.frame().name())?,
            Measure::Direction => {
                let column = VARIABLE_FRAME_COLUMNS.iter().find(|(d, _)| *d == c.name).map_or("", |(_, v)| v);
                variable(&mut info, "direction", column, DIRECTION_FRAMES)?;
            }
            Measure::Frequency => variable(&mut info, "frequency", "MEAS_FREQ_REF", FREQUENCY_FRAMES)?,
        }
        Ok(Some(info))
    }

    fn frame(&self) -> Frame {
        self.d.fields.first().map_or(Frame::J2000, |f| f.phase_center.frame)
    }
    fn variable_frames(&self) -> bool {
        self.d.variable_direction_frames || self.d.fields.iter().any(|f| f.phase_center.frame != self.frame())
    }

    fn antenna(&self, sub: &mut Sub) -> Done {
        sub.rows(self.d.antennas.len())?;
        for (i, a) in self.d.antennas.iter().enumerate() {
            sub.put("OFFSET", i, &vec![0.0; 3])?;
            sub.put("POSITION", i, &a.position_m.to_vec())?;
            sub.text("TYPE", i, "GROUND-BASED")?;
            sub.put("DISH_DIAMETER", i, &a.diameter_m)?;
            sub.put("FLAG_ROW", i, &false)?;
            sub.text("MOUNT", i, "alt-az")?;
            sub.text("NAME", i, &a.name)?;
            sub.text("STATION", i, &a.station)?;
        }
        Ok(())
    }

    fn data_description(&self, sub: &mut Sub) -> Done {
        sub.rows(self.d.data_descriptions.len())?;
        for (i, (spw, pol)) in self.d.data_descriptions.iter().enumerate() {
            sub.put("FLAG_ROW", i, &false)?;
            sub.put("SPECTRAL_WINDOW_ID", i, &(*spw as i32))?;
            sub.put("POLARIZATION_ID", i, &(*pol as i32))?;
        }
        Ok(())
    }

    fn feed(&self, sub: &mut Sub) -> Done {
        let circular = self.d.polarizations.iter().flatten().any(|c| (Corr::RR..=Corr::LL).contains(c));
        let receptors: Vec<String> = if circular { ["R", "L"] } else { ["X", "Y"] }.iter().map(|r| r.to_string()).collect();
        let (zero, one) = (Complex::new(0.0f32, 0.0), Complex::new(1.0f32, 0.0));
        sub.rows(self.d.antennas.len())?;
        for i in 0..self.d.antennas.len() {
            sub.put("POSITION", i, &vec![0.0; 3])?;
            sub.matrix("BEAM_OFFSET", i, &[0.0; 4], 2)?;
            sub.put("POLARIZATION_TYPE", i, &receptors)?;
            sub.matrix("POL_RESPONSE", i, &[one, zero, zero, one], 2)?;
            sub.put("RECEPTOR_ANGLE", i, &vec![0.0; 2])?;
            sub.put("ANTENNA_ID", i, &(i as i32))?;
            sub.put("BEAM_ID", i, &-1i32)?;
            sub.put("FEED_ID", i, &0i32)?;
            sub.put("INTERVAL", i, &1e30f64)?;
            sub.put("NUM_RECEPTORS", i, &2i32)?;
            sub.put("SPECTRAL_WINDOW_ID", i, &-1i32)?;
            sub.put("TIME", i, &0.0f64)?;
        }
        Ok(())
    }

    fn field(&self, sub: &mut Sub) -> Done {
        sub.rows(self.d.fields.len())?;
        let begin = self.d.observations.first().map_or(0.0, |o| o.time_range_s[0]);
        for (i, f) in self.d.fields.iter().enumerate() {
            let center = [f.phase_center.ra_rad, f.phase_center.dec_rad];
            for column in ["DELAY_DIR", "PHASE_DIR", "REFERENCE_DIR"] {
                sub.matrix(column, i, &center, 2)?;
            }
            if self.variable_frames() {
                let code = direction_code(f.phase_center.frame);
                for (_, column) in VARIABLE_FRAME_COLUMNS {
                    sub.put(column, i, &code)?;
                }
            }
            sub.text("CODE", i, &f.code)?;
            sub.put("FLAG_ROW", i, &false)?;
            sub.text("NAME", i, &f.name)?;
            sub.put("NUM_POLY", i, &0i32)?;
            sub.put("SOURCE_ID", i, &(i as i32))?;
            sub.put("TIME", i, &begin)?;
        }
        Ok(())
    }

    fn observation(&self, sub: &mut Sub) -> Done {
        sub.rows(self.d.observations.len())?;
        for (i, o) in self.d.observations.iter().enumerate() {
            sub.put("TIME_RANGE", i, &o.time_range_s.to_vec())?;
            sub.put("LOG", i, &vec![String::new()])?;
            sub.put("SCHEDULE", i, &vec![String::new()])?;
            sub.put("FLAG_ROW", i, &false)?;
            sub.text("OBSERVER", i, &o.observer)?;
            sub.text("PROJECT", i, &o.project)?;
            sub.put("RELEASE_DATE", i, &o.time_range_s[1])?;
            sub.text("SCHEDULE_TYPE", i, "")?;
            sub.text("TELESCOPE_NAME", i, &o.telescope)?;
        }
        Ok(())
    }

    fn polarization(&self, sub: &mut Sub) -> Done {
        sub.rows(self.d.polarizations.len())?;
        for (i, corrs) in self.d.polarizations.iter().enumerate() {
            sub.put("CORR_TYPE", i, &corrs.iter().map(|c| *c as i32).collect::<Vec<_>>())?;
            let products: Vec<i32> = corrs.iter().flat_map(|c| receptors(*c)).collect();
            sub.matrix("CORR_PRODUCT", i, &products, 2)?;
            sub.put("FLAG_ROW", i, &false)?;
            sub.put("NUM_CORR", i, &(corrs.len() as i32))?;
        }
        Ok(())
    }

    fn processor(&self, sub: &mut Sub) -> Done {
        sub.rows(1)?;
        sub.put("FLAG_ROW", 0, &false)?;
        sub.put("MODE_ID", 0, &-1i32)?;
        sub.text("TYPE", 0, "CORRELATOR")?;
        sub.put("TYPE_ID", 0, &-1i32)?;
        sub.text("SUB_TYPE", 0, "")
    }

    fn spectral_window(&self, sub: &mut Sub) -> Done {
        sub.rows(self.d.spws.len())?;
        for (i, spw) in self.d.spws.iter().enumerate() {
            let width: Vec<f64> = spw.width_hz.iter().map(|w| w.abs()).collect();
            sub.put("MEAS_FREQ_REF", i, &(spw.frame as i32))?;
            sub.put("CHAN_FREQ", i, &spw.freq_hz)?;
            sub.put("REF_FREQUENCY", i, &spw.freq_hz[0])?;
            sub.put("CHAN_WIDTH", i, &spw.width_hz)?;
            sub.put("EFFECTIVE_BW", i, &width)?;
            sub.put("RESOLUTION", i, &width)?;
            sub.put("FLAG_ROW", i, &false)?;
            sub.put("FREQ_GROUP", i, &0i32)?;
            sub.text("FREQ_GROUP_NAME", i, "")?;
            sub.put("IF_CONV_CHAIN", i, &0i32)?;
            sub.text("NAME", i, &spw.name)?;
            sub.put("NET_SIDEBAND", i, &1i32)?;
            sub.put("NUM_CHAN", i, &(spw.freq_hz.len() as i32))?;
            sub.put("TOTAL_BANDWIDTH", i, &width.iter().sum::<f64>())?;
        }
        Ok(())
    }

    fn state(&self, sub: &mut Sub) -> Done {
        sub.rows(1)?;
        sub.put("CAL", 0, &0.0f64)?;
        sub.put("FLAG_ROW", 0, &false)?;
        sub.put("LOAD", 0, &0.0f64)?;
        sub.text("OBS_MODE", 0, "OBSERVE_TARGET#ON_SOURCE")?;
        sub.put("REF", 0, &false)?;
        sub.put("SIG", 0, &true)?;
        sub.put("SUB_SCAN", 0, &0i32)
    }

    fn source(&self, sub: &mut Sub) -> Done {
        sub.rows(self.d.fields.len() * self.d.spws.len())?;
        let range = self.d.observations.first().map_or([0.0; 2], |o| o.time_range_s);
        for (i, f) in self.d.fields.iter().enumerate() {
            for (j, spw) in self.d.spws.iter().enumerate() {
                let row = i * self.d.spws.len() + j;
                let rest = self.d.rest_freq_hz.unwrap_or(spw.freq_hz[spw.freq_hz.len() / 2]);
                sub.put("DIRECTION", row, &vec![f.phase_center.ra_rad, f.phase_center.dec_rad])?;
                sub.put("PROPER_MOTION", row, &vec![0.0; 2])?;
                sub.put("CALIBRATION_GROUP", row, &0i32)?;
                sub.text("CODE", row, &f.code)?;
                sub.put("INTERVAL", row, &1e30f64)?;
                sub.text("NAME", row, &f.name)?;
                sub.put("NUM_LINES", row, &1i32)?;
                sub.put("SOURCE_ID", row, &(i as i32))?;
                sub.put("SPECTRAL_WINDOW_ID", row, &(j as i32))?;
                sub.put("TIME", row, &(0.5 * (range[0] + range[1])))?;
                sub.put("REST_FREQUENCY", row, &vec![rest])?;
                sub.put("SYSVEL", row, &vec![0.0f64])?;
                sub.put("TRANSITION", row, &vec![String::new()])?;
            }
        }
        Ok(())
    }
}

const VARIABLE_FRAME_COLUMNS: [(&str, &str); 3] =
    [("PHASE_DIR", "PhaseDir_Ref"), ("DELAY_DIR", "DelayDir_Ref"), ("REFERENCE_DIR", "RefDir_Ref")];

fn variable(info: &mut TableRecord, kind: &str, column: &str, frames: (&[&str], &[u32])) -> Result<(), rubbl_casatables::TableError> {
    info.put_field("type", &kind.to_string())?;
    info.put_field("VarRefCol", &column.to_string())?;
    info.put_field("TabRefTypes", &frames.0.iter().map(|t| t.to_string()).collect::<Vec<_>>())?;
    Ok(info.put_field("TabRefCodes", &frames.1.to_vec())?)
}

/// Code of a frame among [`DIRECTION_FRAMES`].
fn direction_code(frame: Frame) -> i32 {
    let at = DIRECTION_FRAMES.0.iter().position(|n| *n == frame.name());
    at.map_or(0, |i| DIRECTION_FRAMES.1[i] as i32)
}

/// Receptors of the two antennas that a correlation is made of.
fn receptors(corr: Corr) -> [i32; 2] {
    match corr {
        Corr::RL | Corr::XY => [0, 1],
        Corr::LR | Corr::YX => [1, 0],
        Corr::LL | Corr::YY => [1, 1],
        _ => [0, 0],
    }
}
