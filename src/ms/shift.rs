//! Moves a set to another phase center: (u, v, w) and all visibilities are rotated, then the fields are relabelled.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use num_complex::Complex32;
use rayon::prelude::*;
use rubbl_casatables::Array;

use super::aipsio::CellType;
use super::atomic::{NewFolder, refuse_existing};
use super::casacore::{casacore as failed, with_table_mut};
use super::column_reader::ColumnReader;
use super::copy_set::copy_set;
use super::error::MsError;
use super::history::{HistoryEntry, append_history};
use super::labels::{FieldLabel, Labels, relabel};
use super::measurement_set::{MeasurementSet, Metadata};
use super::rotation::{Channels, Rotation};
use super::select::Names;
use super::select_terms;
use super::table_files::TableFiles;
use super::tiles::TiledColumn;
use crate::error::{Error, Result};
use crate::notice::{Reporter, Warning};
use crate::options;
use crate::sky::Direction;
use crate::units::{ARCSEC, MAS};

/// Samples that are rotated at a time: 2 MB.
const PIECE_SAMPLES: usize = 1 << 18;
/// Rows that are rotated at a time.
const PIECE_ROWS: u64 = 1 << 14;

options! {
    /// Options of `shift`.
    pub struct ShiftOptions {
        /// Fields that are moved, by name or id; needed where the set has fields with different phase centers.
        [""] field: Names = Names::default(),
        /// What the moved fields are called afterwards: a direction, or a map of directions by name of the field. The new phase center where nothing is said.
        [""] relabel_to: Option<Labels> = None,
    }
}

/// One field on its way.
#[derive(Debug, Clone, Copy)]
struct Move {
    field: usize,
    new: Direction,
    label: Direction,
    rotation: Rotation,
}

/// Copies `ms` to `out` with the phase center of a field moved by `(east, north)`, rad.
///
/// The new center is own + (dRA/cos dec, dDec) in the frame of the field. UVW is rotated to it, and every column of
/// visibilities is multiplied by exp(-2πi (w_new - w_old) ν/c), which is what CASA's `phaseshift` does. `out` appears whole
/// or not at all.
pub fn shift(ms: &MeasurementSet, offset_rad: (f64, f64), out: &Path, options: &ShiftOptions, notice: &dyn Reporter) -> Result<PathBuf> {
    let at_set = |e: MsError| Error::from(e).at(&ms.path);
    refuse_existing(out)?;
    refuse_inside(&ms.path, out)?;
    let moves = moves(ms, offset_rad, options).map_err(at_set)?;
    warn_of_far_labels(ms, &moves, notice);
    let columns = visibility_columns(ms).map_err(at_set)?;

    let folder = NewFolder::new(out)?;
    let streamed = streamed_files(ms, &columns).map_err(at_set)?;
    copy_set(&ms.path, folder.path(), &streamed, notice)?;
    Rotator::new(ms, folder.path(), &columns, &moves).map_err(at_set)?.run(notice)?;
    relabel(folder.path(), &labels(ms, &moves)).map_err(at_set)?;
    append_history(folder.path(), &history(ms, offset_rad, &moves, options))?;
    notice.check()?;
    folder.publish(notice)
}

fn refuse_inside(set: &Path, out: &Path) -> Result<()> {
    let folder = |p: &Path| p.parent().filter(|p| !p.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    let (set, parent) = (set.canonicalize(), folder(out).canonicalize());
    match (set, parent) {
        (Ok(set), Ok(parent)) if parent.starts_with(&set) => Err(Error::user("the output would lie inside the set itself").at(out)),
        _ => Ok(()),
    }
}

/// Which fields move, and where to.
fn moves(ms: &MeasurementSet, (east, north): (f64, f64), options: &ShiftOptions) -> Result<Vec<Move>, MsError> {
    if !(east.is_finite() && north.is_finite()) {
        return Err(MsError::Syntax {
            what: "offset",
            given: format!("{east}, {north}"),
            problem: "finite numbers are expected".to_string(),
        });
    }
    let wanted = select_terms::fields(ms, &options.field)?;
    let used = fields_with_rows(ms);
    let chosen: Vec<usize> = (0..ms.fields.len()).filter(|i| wanted[*i] && (used[*i] || !options.field.is_all())).collect();
    let mut moves = Vec::new();
    for i in &chosen {
        let field = &ms.fields[*i];
        let frame = || MsError::Frame { field: field.name.clone(), frame: field.phase_center.frame.clone() };
        let old = field.phase_center.direction().ok_or_else(frame)?;
        if field.phase_center.moves {
            return Err(MsError::Moving { field: field.name.clone() });
        }
        let new = old.moved(east, north);
        let label = match &options.relabel_to {
            None => new,
            Some(labels) => labels.get(&field.name).ok_or_else(|| no_label(&field.name, labels))?,
        };
        moves.push((old, Move { field: *i, new, label, rotation: Rotation::between(old, new) }));
    }
    let several = moves.windows(2).any(|w| w[0].0 != w[1].0);
    let one_label = matches!(options.relabel_to, Some(Labels::One(_)));
    if several && (options.field.is_all() || one_label) {
        return Err(MsError::ManyFields { fields: chosen.iter().map(|i| format!("{i} {}", ms.fields[*i].name)).collect() });
    }
    Ok(moves.into_iter().map(|(_, m)| m).collect())
}

fn no_label(field: &str, labels: &Labels) -> MsError {
    let names: Vec<&str> = match labels {
        Labels::One(_) => Vec::new(),
        Labels::ByField(all) => all.iter().map(|(name, _)| name.as_str()).collect(),
    };
    let nearest = crate::options::nearest(field, names.iter().copied()).map(str::to_string);
    MsError::Unknown { what: "label of field", given: field.to_string(), nearest, existing: format!("labels of {}", names.join(", ")) }
}

fn fields_with_rows(data: &Metadata) -> Vec<bool> {
    let mut used = vec![false; data.fields.len()];
    for id in data.rows.field.values() {
        used[*id as usize] = true;
    }
    used
}

fn warn_of_far_labels(ms: &MeasurementSet, moves: &[Move], notice: &dyn Reporter) {
    // Proper motion between blocks is far less; what is farther is another source, or another frame.
    const FAR_RAD: f64 = ARCSEC;
    for m in moves {
        let Some(label) = m.label.in_frame(m.new.frame) else { continue };
        let distance = label.separation_rad(m.new);
        if distance > FAR_RAD {
            let name = &ms.fields[m.field].name;
            let message =
                format!("{name}: the new label {} is {:.3} arcsec from the new phase center {}", m.label, distance / ARCSEC, m.new);
            notice.warn(Warning::new("label-far", message).hint("sources will appear that far from where the header says"));
        }
    }
}

/// The columns that hold visibilities: complex numbers, one for each channel and correlation.
fn visibility_columns(ms: &MeasurementSet) -> Result<Vec<String>, MsError> {
    if ms.has_column("FLOAT_DATA") {
        return Err(MsError::NoPhase);
    }
    let Some(files) = &ms.files else { return Ok(ms.visibility_columns()) };
    let complex = files.columns.iter().filter(|c| c.array && (c.n_dim == 2 || c.n_dim < 0));
    let mut names = Vec::new();
    for column in complex {
        match column.cell {
            CellType::Complex => names.push(column.name.clone()),
            CellType::DComplex => {
                return Err(MsError::ColumnType {
                    column: column.name.clone(),
                    found: "64-bit complex numbers".to_string(),
                    expected: "32-bit complex numbers",
                });
            }
            _ => {}
        }
    }
    Ok(names)
}

/// Files whose every byte is written by the rotation, so that they are not copied first.
fn streamed_files(ms: &MeasurementSet, columns: &[String]) -> Result<Vec<PathBuf>, MsError> {
    let mut files = Vec::new();
    for name in columns.iter().map(String::as_str).chain(["UVW"]) {
        if let ColumnReader::Tiled(tiles) = ms.reader(name)? {
            if tiles.is_alone() {
                files.extend(tiles.files().into_iter().map(Path::to_path_buf));
            }
        }
    }
    Ok(files)
}

fn labels(ms: &MeasurementSet, moves: &[Move]) -> Vec<FieldLabel> {
    // A source that several fields share is relabelled if all of them get one label.
    let mut by_source: BTreeMap<i32, Vec<Option<Direction>>> = BTreeMap::new();
    for (i, field) in ms.fields.iter().enumerate() {
        by_source.entry(field.source_id).or_default().push(moves.iter().find(|m| m.field == i).map(|m| m.label));
    }
    let source_of = |m: &Move| {
        let id = ms.fields[m.field].source_id;
        (id >= 0 && by_source[&id].iter().all(|label| *label == Some(m.label))).then_some(id)
    };
    moves.iter().map(|m| FieldLabel { field: m.field, direction: m.label, source: source_of(m) }).collect()
}

fn history(ms: &MeasurementSet, (east, north): (f64, f64), moves: &[Move], options: &ShiftOptions) -> HistoryEntry {
    let what: Vec<String> = moves
        .iter()
        .map(|m| format!("field {} {}: new phase center {}, labelled {}", m.field, ms.fields[m.field].name, m.new, m.label))
        .collect();
    let message = format!("moved by {:+.6} mas east, {:+.6} mas north; {}", east / MAS, north / MAS, what.join("; "));
    let mut entry = HistoryEntry::new("shift", message, options);
    entry.options.insert(0, format!("offset_mas=[{}, {}]", east / MAS, north / MAS));
    entry.options.insert(0, format!("set={}", ms.name));
    entry
}

/// Reads visibilities from the set, rotates them, and writes them into the copy.
struct Rotator<'a> {
    ms: &'a MeasurementSet,
    copy: &'a Path,
    rotation: Vec<Option<Rotation>>,
    channels: Vec<Channels>,
    uvw: Column,
    tiled: Vec<(TiledColumn, TiledColumn)>,
    other: Vec<String>,
}

/// A column that is read in the set and written in the copy.
enum Column {
    Tiled(TiledColumn, TiledColumn),
    Casacore(ColumnReader),
}

/// Rows of one data description and field.
struct Piece {
    rows: Range<u64>,
    data_desc: usize,
    field: usize,
}

impl<'a> Rotator<'a> {
    fn new(ms: &'a MeasurementSet, copy: &'a Path, columns: &[String], moves: &[Move]) -> Result<Rotator<'a>, MsError> {
        let files = TableFiles::read(copy)?;
        let target = |name: &str| match &files {
            Some(files) => TiledColumn::open_for_writing(files, name),
            None => Ok(None),
        };
        let open = |name: &str| match (ms.reader(name)?, target(name)?) {
            (ColumnReader::Tiled(from), Some(to)) => Ok(Column::Tiled(from, to)),
            (reader, _) => Ok::<_, MsError>(Column::Casacore(reader)),
        };
        let (mut tiled, mut other) = (Vec::new(), Vec::new());
        for name in columns {
            match open(name)? {
                Column::Tiled(from, to) => tiled.push((from, to)),
                Column::Casacore(_) => other.push(name.clone()),
            }
        }
        let mut rotation = vec![None; ms.fields.len()];
        for m in moves.iter().filter(|m| !m.rotation.is_identity()) {
            rotation[m.field] = Some(m.rotation);
        }
        let channels = ms.spws.iter().map(|s| Channels::new(&s.freq_hz)).collect();
        Ok(Rotator { ms, copy, rotation, channels, uvw: open("UVW")?, tiled, other })
    }

    fn run(&self, notice: &dyn Reporter) -> Result<()> {
        let pieces = self.pieces();
        let (done, total) = (AtomicU64::new(0), self.ms.rows.n_rows);
        pieces.par_iter().try_for_each(|piece| -> Result<()> {
            notice.check()?;
            self.rotate(piece).map_err(|e| Error::from(e).at(&self.ms.path))?;
            let rows = piece.rows.end - piece.rows.start;
            notice.progress("shift", done.fetch_add(rows, Ordering::Relaxed) + rows, total);
            Ok(())
        })?;
        self.rotate_through_casacore(&pieces, notice)
    }

    fn pieces(&self) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        for s in self.ms.rows.segments(0..self.ms.rows.n_rows) {
            let (data_desc, field) = (s.data_desc as usize, s.field as usize);
            let dd = self.ms.data_descriptions[data_desc];
            let samples = self.ms.spws[dd.spw].freq_hz.len() * self.ms.polarizations[dd.polarization].len();
            let limit = (PIECE_SAMPLES / samples.max(1)).max(1) as u64;
            let mut start = s.rows.start;
            while start < s.rows.end {
                let mut end = s.rows.end.min(start + limit.min(PIECE_ROWS));
                match pieces.last_mut() {
                    Some(last)
                        if (last.data_desc, last.field, last.rows.end) == (data_desc, field, start)
                            && last.rows.end - last.rows.start < limit.min(PIECE_ROWS) =>
                    {
                        end = end.min(last.rows.start + limit.min(PIECE_ROWS));
                        last.rows.end = end;
                    }
                    _ => pieces.push(Piece { rows: start..end, data_desc, field }),
                }
                start = end;
            }
        }
        pieces
    }

    fn rotate(&self, piece: &Piece) -> Result<(), MsError> {
        let n = (piece.rows.end - piece.rows.start) as usize;
        let (uvw, dw_m) = self.baselines(piece)?;
        if let Column::Tiled(_, to) = &self.uvw {
            to.write(piece.rows.start, n, &uvw)?;
        }
        let mut vis: Vec<Complex32> = Vec::new();
        for (from, to) in &self.tiled {
            for (rows, shape) in from.shapes(piece.rows.clone()) {
                let Some(shape) = shape else { continue };
                let (first, len) = ((rows.start - piece.rows.start) as usize, shape.iter().product::<usize>());
                let count = (rows.end - rows.start) as usize;
                vis.resize(count * len, Complex32::default());
                from.read(rows.start, count, &mut vis)?;
                self.turn(piece, &mut vis, &dw_m[first..first + count], shape, from.name(), rows.start)?;
                to.write(rows.start, count, &vis)?;
            }
        }
        Ok(())
    }

    /// The rotated baselines of a piece, and by how much w changed.
    fn baselines(&self, piece: &Piece) -> Result<(Vec<f64>, Vec<f64>), MsError> {
        let n = (piece.rows.end - piece.rows.start) as usize;
        let mut uvw = vec![0f64; 3 * n];
        match &self.uvw {
            Column::Tiled(from, _) => from.read(piece.rows.start, n, &mut uvw)?,
            Column::Casacore(reader) => reader.read(piece.rows.start, n, &mut uvw)?,
        }
        let mut dw_m = vec![0f64; n];
        if let Some(rotation) = &self.rotation[piece.field] {
            for (b, dw) in uvw.as_chunks_mut::<3>().0.iter_mut().zip(&mut dw_m) {
                let turned = rotation.uvw(*b);
                *dw = turned[2] - b[2];
                *b = turned;
            }
        }
        Ok((uvw, dw_m))
    }

    fn turn(&self, piece: &Piece, vis: &mut [Complex32], dw_m: &[f64], shape: &[usize], column: &str, row: u64) -> Result<(), MsError> {
        if self.rotation[piece.field].is_none() {
            return Ok(());
        }
        let dd = self.ms.data_descriptions[piece.data_desc];
        let expected = [self.ms.polarizations[dd.polarization].len(), self.ms.spws[dd.spw].freq_hz.len()];
        if shape != expected {
            return Err(MsError::Shape { column: column.to_string(), row, found: shape.to_vec(), expected: expected.to_vec() });
        }
        for (cell, dw) in vis.chunks_exact_mut(expected[0] * expected[1]).zip(dw_m) {
            self.channels[dd.spw].turn(cell, *dw);
        }
        Ok(())
    }

    /// Columns that are not kept in tiles: one row at a time.
    fn rotate_through_casacore(&self, pieces: &[Piece], notice: &dyn Reporter) -> Result<()> {
        if self.other.is_empty() && matches!(self.uvw, Column::Tiled(..)) {
            return Ok(());
        }
        for piece in pieces.iter().filter(|p| self.rotation[p.field].is_some()) {
            notice.check()?;
            self.rotate_cells(piece).map_err(|e| Error::from(e).at(&self.ms.path))?;
        }
        Ok(())
    }

    fn rotate_cells(&self, piece: &Piece) -> Result<(), MsError> {
        // The original is read: the copy may share its file with columns that were written already.
        let (uvw, dw_m) = self.baselines(piece)?;
        let dd = self.ms.data_descriptions[piece.data_desc];
        let (n_corr, n_chan) = (self.ms.polarizations[dd.polarization].len(), self.ms.spws[dd.spw].freq_hz.len());
        with_table_mut(self.copy, |t| {
            for (i, row) in piece.rows.clone().enumerate() {
                if let Column::Casacore(_) = &self.uvw {
                    t.put_cell("UVW", row, &uvw[3 * i..3 * i + 3].to_vec()).map_err(|e| failed("write UVW", e))?;
                }
                for name in &self.other {
                    let Some(mut vis) = super::casacore::array_cell::<Complex32>(t, name, row)? else { continue };
                    let shape = [n_corr, vis.len() / n_corr.max(1)];
                    self.turn(piece, &mut vis, &dw_m[i..=i], &shape, name, row)?;
                    let cell = Array::from_shape_vec((n_chan, n_corr), vis).unwrap_or_default();
                    t.put_cell(name, row, &cell).map_err(|e| failed(format!("write {name}"), e))?;
                }
            }
            Ok(())
        })
    }
}
