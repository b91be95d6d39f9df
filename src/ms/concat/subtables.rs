//! The subtables of the joined set: copies of the first set's, with the rows that the others add.

use std::path::Path;

use rubbl_casatables::{Array, CasaScalarData, Complex, GlueDataType, Table, TableOpenMode, TableRow};

use super::super::casacore::{alone, alone_writing, array_cell, casacore, column};
use super::super::error::MsError;
use super::super::history::set_row_count;
use super::super::measurement_set::MeasurementSet;
use super::super::schema::SUBTABLES;
use super::super::subtables::make_empty;
use super::super::subtables_read::{DIRECTION_FRAMES, Reference};
use super::ConcatOptions;
use super::plan::{Ids, Plan};
use crate::sky::{Direction, Frame};

type Done = Result<(), MsError>;

/// Ids of STATE and PROCESSOR of each set, by old id: they follow from the rows themselves.
#[derive(Debug, Default)]
pub struct RowIds {
    /// States.
    pub state: Vec<Vec<i32>>,
    /// Processors.
    pub processor: Vec<Vec<i32>>,
}

/// Writes the subtables into the folder of the joined set.
pub fn write(out: &Path, sets: &[MeasurementSet], plan: &Plan, options: &ConcatOptions) -> Result<RowIds, MsError> {
    let mut rows = RowIds::default();
    for (name, _) in SUBTABLES {
        // Flag commands were applied, or were not meant for the joined set; pipelines leave a hundred thousand of them.
        let wanted = *name != "FLAG_CMD" && (*name != "POINTING" || options.pointing);
        let Some(base) = sets.iter().position(|s| wanted && s.path.join(name).join("table.dat").is_file()) else {
            alone_writing(|| make_empty(out, name).map(drop))?;
            continue;
        };
        copy_folder(&sets[base].path.join(name), &out.join(name)).map_err(|e| MsError::io(format!("copy table {name}"), e))?;
        let table = out.join(name);
        let n_rows = alone_writing(|| -> Result<u64, MsError> {
            let mut merger = Merger { name, out: open(&table, TableOpenMode::ReadWrite)? };
            merger.prepare(&sets[base], &plan.ids[base])?;
            for (set, ids) in sets.iter().zip(&plan.ids).enumerate().filter(|(i, _)| *i >= base).map(|(_, s)| s) {
                let source = set.path.join(name);
                if set.path == sets[base].path || !source.join("table.dat").is_file() {
                    continue;
                }
                merger.add(&mut open(&source, TableOpenMode::Read)?, set, ids, plan)?;
            }
            Ok(merger.out.n_rows())
        })
        .map_err(|e| e.in_table(name))?;
        set_row_count(&table, n_rows).map_err(|e| MsError::Damaged(e.message))?;
    }
    for set in sets {
        rows.state.push(row_ids(out, set, "STATE", STATE_KEY)?);
        rows.processor.push(row_ids(out, set, "PROCESSOR", PROCESSOR_KEY)?);
    }
    Ok(rows)
}

fn open(path: &Path, mode: TableOpenMode) -> Result<Table, MsError> {
    Table::open(path, mode).map_err(|e| casacore("open it", e))
}

/// Copies a table with all its files: the number of its rows may stand in `table.lock` only.
fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::io::copy(&mut std::fs::File::open(entry.path())?, &mut std::fs::File::create(&target)?)?;
        }
    }
    Ok(())
}

const STATE_KEY: &[&str] = &["OBS_MODE", "SUB_SCAN", "SIG", "REF", "CAL", "LOAD"];
const PROCESSOR_KEY: &[&str] = &["TYPE", "SUB_TYPE", "TYPE_ID", "MODE_ID"];

/// A subtable of the joined set that takes rows.
struct Merger {
    name: &'static str,
    out: Table,
}

impl Merger {
    /// Changes the rows of the first set where its own ids do not hold.
    fn prepare(&mut self, base: &MeasurementSet, ids: &Ids) -> Done {
        // Only a set that is not the first can need it: a table that the first ones lack.
        if self.name == "SOURCE" && ids.source.iter().any(|(old, new)| old != new) {
            let old: Vec<i32> = column(&mut self.out, "SOURCE_ID")?;
            for (row, id) in old.iter().enumerate() {
                self.put("SOURCE_ID", row as u64, &mapped(&ids.source, *id))?;
            }
        }
        if self.name == "OBSERVATION" && base.observations.is_empty() {
            self.add_empty_observation()?;
        }
        Ok(())
    }

    fn put<T: rubbl_casatables::CasaDataType>(&mut self, column: &str, row: u64, value: &T) -> Done {
        self.out.put_cell(column, row, value).map_err(|e| casacore(format!("write column {column}"), e))
    }

    fn add(&mut self, from: &mut Table, set: &MeasurementSet, ids: &Ids, plan: &Plan) -> Done {
        match self.name {
            "ANTENNA" => self.add_new(from, &ids.antenna, |_, _, _| Ok(())),
            "SPECTRAL_WINDOW" => self.add_new(from, &ids.spw, |_, _, _| Ok(())),
            "POLARIZATION" => self.add_new(from, &ids.polarization, |_, _, _| Ok(())),
            "DATA_DESCRIPTION" => self.add_new(from, &ids.data_desc, |m, _, new| {
                let d = plan.data_descriptions[new as usize];
                m.put("SPECTRAL_WINDOW_ID", new, &(d.spw as i32))?;
                m.put("POLARIZATION_ID", new, &(d.polarization as i32))
            }),
            "FIELD" => self.add_fields(from, ids),
            "SOURCE" => self.add_sources(from, ids),
            "FEED" => self.add_feeds(from, ids),
            "STATE" => self.add_different(from, STATE_KEY),
            "PROCESSOR" => self.add_different(from, PROCESSOR_KEY),
            "OBSERVATION" if set.observations.is_empty() => self.add_empty_observation(),
            "POINTING" => self.add_pointings(from, ids),
            _ => self.add_rows(from, 0..from.n_rows(), |_, _, _| Ok(())),
        }
    }

    /// Adds the rows whose new id is beyond the last row; ids count up in the order of the rows.
    fn add_new(&mut self, from: &mut Table, new_ids: &[i32], patch: impl FnMut(&mut Merger, u64, u64) -> Done) -> Done {
        let n = self.out.n_rows();
        let rows = (0..new_ids.len() as u64).filter(|row| new_ids[*row as usize] as u64 >= n);
        self.add_rows(from, rows, patch)
    }

    /// Copies rows to the end; `patch(merger, old row, new row)` then sets their ids.
    fn add_rows(
        &mut self,
        from: &mut Table,
        rows: impl IntoIterator<Item = u64>,
        mut patch: impl FnMut(&mut Merger, u64, u64) -> Done,
    ) -> Done {
        let mut copier = RowCopier::new(from, &mut self.out)?;
        for row in rows {
            self.out.add_rows(1).map_err(|e| casacore("add a row", e))?;
            let new = self.out.n_rows() - 1;
            copier.copy(from, row, &mut self.out, new)?;
            patch(self, row, new)?;
        }
        Ok(())
    }

    fn add_fields(&mut self, from: &mut Table, ids: &Ids) -> Done {
        let sources: Vec<i32> = column(from, "SOURCE_ID").unwrap_or_default();
        let mut frames = Vec::new();
        for name in ["PHASE_DIR", "DELAY_DIR", "REFERENCE_DIR"] {
            let reference = Reference::of(from, name, &DIRECTION_FRAMES)?;
            let codes = reference.codes(from)?;
            let of_row = (0..from.n_rows() as usize)
                .map(|row| codes.get(row).map_or_else(|| reference.fixed.clone(), |c| reference.name_of(c)))
                .collect::<Vec<_>>();
            let stored = (0..from.n_rows()).map(|row| array_cell::<f64>(from, name, row)).collect::<Result<Vec<_>, _>>()?;
            frames.push((name, of_row, stored));
        }
        self.add_new(from, &ids.field, |m, old, new| {
            if let Some(source) = sources.get(old as usize) {
                m.put("SOURCE_ID", new, &mapped(&ids.source, *source))?;
            }
            for (name, of_row, stored) in &frames {
                if let Some(direction) = &stored[old as usize] {
                    m.put_direction(name, new, direction, &of_row[old as usize])?;
                }
            }
            Ok(())
        })
    }

    /// Writes a direction in the frame of the column, or its frame into the column of frames.
    fn put_direction(&mut self, name: &str, row: u64, direction: &[f64], frame: &str) -> Done {
        let reference = Reference::of(&mut self.out, name, &DIRECTION_FRAMES)?;
        if let Some(codes) = &reference.column {
            let given = reference.codes.iter().find(|(_, n)| n == frame).map(|(c, _)| *c);
            let standard = || DIRECTION_FRAMES.iter().find(|(_, n)| *n == frame).map(|(c, _)| *c);
            let code = given.or_else(standard).ok_or_else(|| MsError::Damaged(format!("frame {frame} of {name} is unknown")))?;
            return self.put(codes, row, &(code as i32));
        }
        if reference.fixed == frame {
            return Ok(());
        }
        let turned = match (Frame::from_name(frame), Frame::from_name(&reference.fixed), direction) {
            (Some(from), Some(to), [ra, dec]) => Direction::new(*ra, *dec, from).in_frame(to),
            _ => None,
        };
        let d = turned.ok_or_else(|| MsError::Damaged(format!("{name} in {frame} cannot be written in {}", reference.fixed)))?;
        self.put_matrix(name, row, &[d.ra_rad, d.dec_rad], 2)
    }

    fn put_matrix(&mut self, name: &str, row: u64, values: &[f64], n: usize) -> Done {
        let array = Array::from_shape_vec((values.len() / n, n), values.to_vec());
        self.put(name, row, &array.map_err(|e| casacore(format!("write column {name}"), e))?)
    }

    fn add_sources(&mut self, from: &mut Table, ids: &Ids) -> Done {
        let mut there = pairs(&mut self.out, "SOURCE_ID", "SPECTRAL_WINDOW_ID")?;
        let new: Vec<(i32, i32)> = pairs(from, "SOURCE_ID", "SPECTRAL_WINDOW_ID")?
            .into_iter()
            .map(|(source, spw)| {
                (mapped(&ids.source, source), usize::try_from(spw).ok().and_then(|i| ids.spw.get(i)).copied().unwrap_or(-1))
            })
            .collect();
        let mut rows = Vec::new();
        for (row, pair) in new.iter().enumerate() {
            if pair.0 >= 0 && !there.contains(pair) && !there.contains(&(pair.0, -1)) {
                rows.push(row as u64);
                there.push(*pair);
            }
        }
        self.add_rows(from, rows, |m, old, row| {
            m.put("SOURCE_ID", row, &new[old as usize].0)?;
            m.put("SPECTRAL_WINDOW_ID", row, &new[old as usize].1)
        })
    }

    fn add_feeds(&mut self, from: &mut Table, ids: &Ids) -> Done {
        let key = |t: &mut Table, ids: Option<&Ids>| -> Result<Vec<(i32, i32, String)>, MsError> {
            let (antenna, spw): (Vec<i32>, Vec<i32>) = pairs(t, "ANTENNA_ID", "SPECTRAL_WINDOW_ID")?.into_iter().unzip();
            let rest = keys(t, &["FEED_ID", "BEAM_ID", "TIME", "INTERVAL"])?;
            let new = |id: i32, map: Option<&Vec<i32>>| {
                map.map_or(id, |m| usize::try_from(id).ok().and_then(|i| m.get(i)).copied().unwrap_or(-1))
            };
            let rows = antenna.iter().zip(&spw).zip(rest);
            Ok(rows.map(|((a, s), rest)| (new(*a, ids.map(|i| &i.antenna)), new(*s, ids.map(|i| &i.spw)), rest)).collect())
        };
        let there = key(&mut self.out, None)?;
        let new = key(from, Some(ids))?;
        let rows: Vec<u64> = (0..new.len() as u64).filter(|row| !there.contains(&new[*row as usize])).collect();
        self.add_rows(from, rows, |m, old, row| {
            m.put("ANTENNA_ID", row, &new[old as usize].0)?;
            m.put("SPECTRAL_WINDOW_ID", row, &new[old as usize].1)
        })
    }

    fn add_pointings(&mut self, from: &mut Table, ids: &Ids) -> Done {
        let antennas: Vec<i32> = column(from, "ANTENNA_ID")?;
        self.add_rows(from, 0..from.n_rows(), |m, old, row| {
            let id = usize::try_from(antennas[old as usize]).ok().and_then(|i| ids.antenna.get(i)).copied().unwrap_or(-1);
            m.put("ANTENNA_ID", row, &id)
        })
    }

    fn add_different(&mut self, from: &mut Table, key: &[&str]) -> Done {
        let there = keys(&mut self.out, key)?;
        let new = keys(from, key)?;
        let rows: Vec<u64> = (0..new.len() as u64).filter(|row| !there.contains(&new[*row as usize])).collect();
        self.add_rows(from, rows, |_, _, _| Ok(()))
    }

    fn add_empty_observation(&mut self) -> Done {
        self.out.add_rows(1).map_err(|e| casacore("add a row", e))?;
        let row = self.out.n_rows() - 1;
        for name in ["LOG", "SCHEDULE"] {
            self.put(name, row, &vec![String::new()])?;
        }
        self.put("TIME_RANGE", row, &vec![0.0f64; 2])
    }
}

fn mapped(ids: &[(i32, i32)], old: i32) -> i32 {
    ids.iter().find(|(o, _)| *o == old).map_or(-1, |(_, new)| *new)
}

fn pairs(t: &mut Table, a: &str, b: &str) -> Result<Vec<(i32, i32)>, MsError> {
    Ok(column::<i32>(t, a)?.into_iter().zip(column::<i32>(t, b)?).collect())
}

/// The named columns of each row in one text, equal where the rows are.
fn keys(t: &mut Table, columns: &[&str]) -> Result<Vec<String>, MsError> {
    let mut keys = vec![String::new(); t.n_rows() as usize];
    let names = t.column_names().map_err(|e| casacore("read the column names", e))?;
    for name in columns.iter().filter(|c| names.iter().any(|n| n == *c)) {
        let kind = t.get_col_desc(name).map_err(|e| casacore(format!("read column {name}"), e))?.data_type();
        let texts: Vec<String> = match kind {
            GlueDataType::TpString => column(t, name)?,
            GlueDataType::TpBool => shown::<bool>(t, name)?,
            GlueDataType::TpDouble => shown::<f64>(t, name)?,
            _ => shown::<i32>(t, name)?,
        };
        keys.iter_mut().zip(texts).for_each(|(key, text)| *key += &format!("{text}\u{1f}"));
    }
    Ok(keys)
}

fn shown<T: CasaScalarData + std::fmt::Debug>(t: &mut Table, name: &str) -> Result<Vec<String>, MsError> {
    Ok(column::<T>(t, name)?.iter().map(|v| format!("{v:?}")).collect())
}

/// New ids of a set's rows by their contents.
fn row_ids(out: &Path, set: &MeasurementSet, name: &str, key: &[&str]) -> Result<Vec<i32>, MsError> {
    if !set.path.join(name).join("table.dat").is_file() {
        return Ok(Vec::new());
    }
    let read = |path: &Path| alone(|| keys(&mut open(path, TableOpenMode::Read)?, key));
    let (joined, own) = (read(&out.join(name))?, read(&set.path.join(name))?);
    // Equal rows of one set stay apart as long as the joined table begins with them.
    let id = |(i, key): (usize, &String)| match joined.get(i) {
        Some(same) if same == key => i as i32,
        _ => joined.iter().position(|k| k == key).map_or(-1, |i| i as i32),
    };
    Ok(own.iter().enumerate().map(id).collect())
}

/// Copies rows between tables: whole where their columns agree, else the columns that both have.
struct RowCopier {
    reader: TableRow,
    /// There where rows are copied whole.
    writer: Option<TableRow>,
    columns: Vec<(String, GlueDataType, bool)>,
}

impl RowCopier {
    fn new(from: &mut Table, to: &mut Table) -> Result<RowCopier, MsError> {
        let failed = |e: &dyn std::fmt::Display| casacore("read the columns", e);
        let (a, b) = (from.column_names().map_err(|e| failed(&e))?, to.column_names().map_err(|e| failed(&e))?);
        let mut columns = Vec::new();
        for name in a.iter().filter(|n| b.contains(n)) {
            let (x, y) = (from.get_col_desc(name).map_err(|e| failed(&e))?, to.get_col_desc(name).map_err(|e| failed(&e))?);
            if x.data_type() == y.data_type() && x.is_scalar() == y.is_scalar() {
                columns.push((name.clone(), x.data_type(), x.is_scalar()));
            }
        }
        let whole = a == b && columns.len() == a.len();
        Ok(RowCopier {
            reader: from.get_row_reader().map_err(|e| failed(&e))?,
            writer: whole.then(|| to.get_row_writer()).transpose().map_err(|e| failed(&e))?,
            columns,
        })
    }

    fn copy(&mut self, from: &mut Table, row: u64, to: &mut Table, new: u64) -> Done {
        let failed = |e: &dyn std::fmt::Display| casacore(format!("copy row {row}"), e);
        from.read_row(&mut self.reader, row).map_err(|e| failed(&e))?;
        if let Some(writer) = &mut self.writer {
            return self.reader.copy_and_put(writer, new).map_err(|e| failed(&e));
        }
        let reader = &mut self.reader;
        for (name, kind, is_scalar) in &self.columns {
            // A cell without a value stays without one.
            let _ = match kind {
                GlueDataType::TpBool => cell::<bool>(reader, name, *is_scalar, to, new),
                GlueDataType::TpInt => cell::<i32>(reader, name, *is_scalar, to, new),
                GlueDataType::TpFloat => cell::<f32>(reader, name, *is_scalar, to, new),
                GlueDataType::TpDouble => cell::<f64>(reader, name, *is_scalar, to, new),
                GlueDataType::TpComplex => cell::<Complex<f32>>(reader, name, *is_scalar, to, new),
                GlueDataType::TpString if *is_scalar => reader.get_cell::<String>(name).ok().and_then(|v| to.put_cell(name, new, &v).ok()),
                GlueDataType::TpString => reader.get_cell::<Vec<String>>(name).ok().and_then(|v| to.put_cell(name, new, &v).ok()),
                _ => None,
            };
        }
        Ok(())
    }
}

fn cell<T: CasaScalarData + Copy>(reader: &mut TableRow, name: &str, is_scalar: bool, to: &mut Table, new: u64) -> Option<()>
where
    Vec<T>: rubbl_casatables::CasaDataType,
{
    if is_scalar {
        return reader.get_cell::<T>(name).ok().and_then(|v| to.put_cell(name, new, &v).ok());
    }
    if let Ok(v) = reader.get_cell::<Vec<T>>(name) {
        return to.put_cell(name, new, &v).ok();
    }
    // The dimension of a matrix follows from the constructor: the type of rubbl's ndarray cannot be named here.
    let mut matrix = Array::from_shape_vec((0, 0), Vec::<T>::new()).ok()?;
    matrix.clone_from(&reader.get_cell(name).ok()?);
    to.put_cell(name, new, &matrix).ok()
}
