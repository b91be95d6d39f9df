//! A selection of a set, read in blocks of a fixed cut by any number of threads.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use ndarray::{Array2, Array3};
use num_complex::Complex32;

use super::column_reader::ColumnReader;
use super::error::MsError;
use super::measurement_set::{MeasurementSet, Metadata};
use super::select::{Rows, Selection, corr_list, corr_picks, spw_picks};
use crate::data::{Corr, VisBlock, VisSource, VisWeight};
use crate::error::{Error, Result};
use crate::sky::Direction;
use crate::units::C_M_S;

/// Samples in a block at most: 2 MB of visibilities, so that a few threads' blocks stay in the cache of the processor.
const BLOCK_SAMPLES: usize = 1 << 18;
/// Rows in a block at most.
const BLOCK_ROWS: usize = 1 << 14;

/// The channels of a spectral window that are read.
#[derive(Debug, Clone, PartialEq)]
pub enum SpwPick {
    /// All of them.
    All,
    /// These.
    Channels(Arc<[usize]>),
}

impl SpwPick {
    pub(crate) fn from_kept(kept: Vec<bool>) -> SpwPick {
        if kept.iter().all(|k| *k) { SpwPick::All } else { SpwPick::Channels((0..kept.len()).filter(|i| kept[*i]).collect()) }
    }
}

/// Rows of a set that share spectral window and correlations, and how they are read.
#[derive(Debug, Clone)]
struct Kind {
    spw: usize,
    n_chan: usize,
    n_corr: usize,
    channels: SpwPick,
    corrs: Option<Arc<[usize]>>,
    freq_hz: Arc<[f64]>,
    corr: Arc<[Corr]>,
}

/// One block: rows of one kind.
#[derive(Debug, Clone)]
struct Block {
    data_desc: usize,
    rows: Vec<Range<u64>>,
    n_rows: usize,
}

/// A spectral window of a selection.
#[derive(Debug, Clone, PartialEq)]
pub struct SelectedWindow {
    /// Its id in the set.
    pub id: usize,
    /// Lowest and highest frequency of the whole window, channel edges included, Hz.
    pub range_hz: (f64, f64),
    /// Frequencies of the first and last channel of each run of selected channels, ascending; empty where all are selected.
    pub channels_hz: Vec<(f64, f64)>,
}

/// First and last of each run of consecutive numbers: [1 2 5] -> (1, 2), (5, 5).
fn runs(kept: &[usize]) -> Vec<(usize, usize)> {
    let mut out: Vec<(usize, usize)> = vec![];
    for &i in kept {
        match out.last_mut() {
            Some((_, last)) if *last + 1 == i => *last = i,
            _ => out.push((i, i)),
        }
    }
    out
}

fn span(freq_hz: &[f64], first: usize, last: usize) -> (f64, f64) {
    let (a, b) = (freq_hz[first], freq_hz[last]);
    (a.min(b), a.max(b))
}

/// Part of a set, ready to be read.
#[derive(Debug, Clone)]
pub struct Selected {
    ms: MeasurementSet,
    name: String,
    center: Direction,
    data_column: String,
    fields: Vec<usize>,
    kinds: Vec<Option<Kind>>,
    blocks: Vec<Block>,
    n_rows: u64,
    columns: Columns,
    longest: OnceLock<Option<f64>>,
}

#[derive(Debug, Clone)]
struct Columns {
    data: ColumnReader,
    flag: ColumnReader,
    uvw: ColumnReader,
    weight: Option<ColumnReader>,
    weight_spectrum: Option<ColumnReader>,
    sigma: Option<ColumnReader>,
}

impl Selected {
    pub(crate) fn new(ms: &MeasurementSet, selection: &Selection, rows: Rows) -> Result<Selected, MsError> {
        let (fields, center) = one_center(ms, &rows)?;
        let data_column = ms.data_column(&selection.datacolumn)?;
        let kinds = kinds(ms, selection)?;
        let optional = |name: &str| if ms.has_column(name) { ms.reader(name).map(Some) } else { Ok(None) };
        let columns = Columns {
            data: ms.reader(&data_column)?,
            flag: ms.reader("FLAG")?,
            uvw: ms.reader("UVW")?,
            weight: optional("WEIGHT")?,
            weight_spectrum: optional("WEIGHT_SPECTRUM")?,
            sigma: optional("SIGMA")?,
        };
        let blocks = cut(&rows, &kinds);
        Ok(Selected {
            name: block_name(ms, selection),
            ms: ms.clone(),
            center,
            data_column,
            fields,
            n_rows: blocks.iter().map(|b| b.n_rows as u64).sum(),
            kinds,
            blocks,
            columns,
            longest: OnceLock::new(),
        })
    }

    /// The set it is part of.
    pub fn set(&self) -> &MeasurementSet {
        &self.ms
    }
    /// The column of visibilities that is read.
    pub fn data_column(&self) -> &str {
        &self.data_column
    }
    /// Ids of the selected fields.
    pub fn fields(&self) -> &[usize] {
        &self.fields
    }
    /// Ids of the spectral windows that have selected rows, ascending.
    pub fn spws(&self) -> Vec<usize> {
        let mut ids: Vec<usize> = self.blocks.iter().filter_map(|b| self.kinds[b.data_desc].as_ref()).map(|k| k.spw).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The selected spectral windows, for finding the same ones in another set by frequency.
    pub fn windows(&self) -> Vec<SelectedWindow> {
        let kinds = self.spws().into_iter().filter_map(|spw| self.kinds.iter().flatten().find(|k| k.spw == spw));
        kinds
            .map(|kind| {
                let spw = &self.ms.spws[kind.spw];
                let channels_hz = match &kind.channels {
                    SpwPick::All => vec![],
                    SpwPick::Channels(kept) => runs(kept).into_iter().map(|(first, last)| span(&spw.freq_hz, first, last)).collect(),
                };
                SelectedWindow { id: kind.spw, range_hz: spw.range_hz(), channels_hz }
            })
            .collect()
    }

    /// Median of WEIGHT times SIGMA squared over a sample of the rows: 1 where the two columns agree.
    ///
    /// `None` without either column, or where no row has usable values of both.
    pub fn weight_times_sigma_squared(&self) -> Result<Option<f64>> {
        const SAMPLED_BLOCKS: usize = 16;
        let (Some(weight), Some(sigma)) = (&self.columns.weight, &self.columns.sigma) else { return Ok(None) };
        let mut products = Vec::new();
        for block in self.blocks.iter().step_by(self.blocks.len().div_ceil(SAMPLED_BLOCKS).max(1)) {
            let Some(kind) = &self.kinds[block.data_desc] else { continue };
            let (mut w, mut s) = (Vec::new(), Vec::new());
            for rows in block.rows.iter().take(64) {
                let n = (rows.end - rows.start) as usize;
                w.resize(n * kind.n_corr, 0f32);
                s.resize(n * kind.n_corr, 0f32);
                let defined = weight.read_defined(rows.start, n, &mut w)?.is_none() && sigma.read_defined(rows.start, n, &mut s)?.is_none();
                if defined {
                    products
                        .extend(w.iter().zip(&s).map(|(w, s)| f64::from(*w) * f64::from(*s).powi(2)).filter(|p| p.is_finite() && *p > 0.0));
                }
            }
        }
        products.sort_by(f64::total_cmp);
        Ok(products.get(products.len() / 2).copied())
    }

    fn kind(&self, block: &Block) -> Result<&Kind> {
        self.kinds[block.data_desc].as_ref().ok_or_else(|| Error::internal("a block of a spectral window that is not selected"))
    }

    fn read(&self, block: &Block, kind: &Kind) -> Result<VisBlock, MsError> {
        let n = block.n_rows;
        let mut uvw = vec![0f64; 3 * n];
        let mut vis = Cells::new(kind, n, Complex32::default());
        let mut flag = Cells::new(kind, n, false);
        let mut at = 0;
        for rows in &block.rows {
            let len = (rows.end - rows.start) as usize;
            self.columns.uvw.read(rows.start, len, &mut uvw[3 * at..3 * (at + len)])?;
            vis.read(&self.columns.data, rows.start, at, len)?;
            flag.read(&self.columns.flag, rows.start, at, len)?;
            at += len;
        }
        let mut flag_rfc = flag.finish();
        self.flag_rows(block, &mut flag_rfc);
        let all_rows = || block.rows.iter().flat_map(|r| r.clone());
        let index = &self.ms.rows;
        Ok(VisBlock {
            i_spw: kind.spw,
            field: by_row(block, &index.field).into(),
            uvw_m: array2(uvw, n, 3)?,
            time_s: by_row(block, &index.time_s),
            antenna1: all_rows().map(|r| i32::from(index.antenna1[r as usize])).collect(),
            antenna2: all_rows().map(|r| i32::from(index.antenna2[r as usize])).collect(),
            freq_hz: kind.freq_hz.clone(),
            corr: kind.corr.clone(),
            vis_rfc: vis.finish(),
            weight: self.weight(block, kind)?,
            flag_rfc,
            row: all_rows().collect(),
        })
    }

    fn flag_rows(&self, block: &Block, flag_rfc: &mut Array3<bool>) {
        let mut at = 0;
        for rows in &block.rows {
            for (flagged, _) in self.ms.rows.flag_row.within(rows.clone()).filter(|(_, flagged)| *flagged) {
                let (a, b) = (at + (flagged.start - rows.start) as usize, at + (flagged.end - rows.start) as usize);
                flag_rfc.slice_mut(ndarray::s![a..b, .., ..]).fill(true);
            }
            at += (rows.end - rows.start) as usize;
        }
    }

    /// WEIGHT_SPECTRUM where it has values, else WEIGHT.
    fn weight(&self, block: &Block, kind: &Kind) -> Result<VisWeight, MsError> {
        let Some(spectrum) = &self.columns.weight_spectrum else { return self.row_weight(block, kind).map(VisWeight::Row) };
        let mut parts = Vec::new();
        for rows in &block.rows {
            parts.extend(spectrum.defined(rows.clone())?);
        }
        if parts.iter().all(|(_, defined)| !defined) {
            return self.row_weight(block, kind).map(VisWeight::Row);
        }
        let by_row = if parts.iter().all(|(_, d)| *d) { None } else { Some(self.row_weight(block, kind)?) };
        let mut cells = Cells::new(kind, block.n_rows, 0f32);
        let mut at = 0;
        for (rows, defined) in &parts {
            let len = (rows.end - rows.start) as usize;
            if *defined {
                cells.read(spectrum, rows.start, at, len)?;
            }
            at += len;
        }
        let mut weight = cells.finish();
        let mut at = 0;
        for (rows, defined) in &parts {
            let len = (rows.end - rows.start) as usize;
            if let (false, Some(by_row)) = (*defined, &by_row) {
                for row in at..at + len {
                    weight.slice_mut(ndarray::s![row, .., ..]).assign(&by_row.row(row));
                }
            }
            at += len;
        }
        Ok(VisWeight::Sample(weight))
    }

    fn row_weight(&self, block: &Block, kind: &Kind) -> Result<Array2<f32>, MsError> {
        let Some(weight) = &self.columns.weight else {
            return Err(MsError::NoColumn { column: "WEIGHT".to_string(), nearest: None, existing: self.ms.columns.clone() });
        };
        let mut all = vec![0f32; block.n_rows * kind.n_corr];
        let mut at = 0;
        for rows in &block.rows {
            let len = (rows.end - rows.start) as usize;
            weight.read(rows.start, len, &mut all[at * kind.n_corr..(at + len) * kind.n_corr])?;
            at += len;
        }
        let all = array2(all, block.n_rows, kind.n_corr)?;
        Ok(match &kind.corrs {
            None => all,
            Some(corrs) => all.select(ndarray::Axis(1), corrs),
        })
    }

    fn longest_lambda(&self) -> Result<f64, MsError> {
        let mut longest = 0f64;
        let mut uvw = Vec::new();
        for block in &self.blocks {
            let Some(kind) = &self.kinds[block.data_desc] else { continue };
            let per_metre = kind.freq_hz.iter().fold(0f64, |a, f| a.max(*f)) / C_M_S;
            for rows in &block.rows {
                let n = (rows.end - rows.start) as usize;
                uvw.resize(3 * n, 0f64);
                self.columns.uvw.read(rows.start, n, &mut uvw)?;
                let here = uvw.chunks_exact(3).map(|b| b[0] * b[0] + b[1] * b[1]).fold(0f64, f64::max);
                longest = longest.max(here.sqrt() * per_metre);
            }
        }
        Ok(longest)
    }
}

impl VisSource for Selected {
    fn name(&self) -> &str {
        &self.name
    }
    fn phase_center(&self) -> Direction {
        self.center
    }
    fn n_blocks(&self) -> usize {
        self.blocks.len()
    }
    fn n_rows(&self) -> u64 {
        self.n_rows
    }
    fn read_block(&self, i: usize) -> Result<VisBlock> {
        let block = self.blocks.get(i).ok_or_else(|| Error::internal(format!("block {i} of {}", self.blocks.len())))?;
        self.read(block, self.kind(block)?).map_err(|e| Error::from(e).at(&self.ms.path))
    }
    fn max_uv_lambda(&self) -> Option<f64> {
        const ENOUGH: u64 = 100_000;
        *self.longest.get_or_init(|| {
            let cheap = self.columns.uvw.is_tiled() || self.n_rows < ENOUGH;
            cheap.then(|| self.longest_lambda().ok()).flatten()
        })
    }
}

/// Cells of the rows of a block, of which some channels and correlations are kept.
struct Cells<'a, T> {
    kind: &'a Kind,
    kept: Vec<T>,
    whole: Vec<T>,
    n_rows: usize,
}

impl<'a, T: super::TileValue + rubbl_casatables::CasaScalarData> Cells<'a, T> {
    fn new(kind: &'a Kind, n_rows: usize, zero: T) -> Cells<'a, T> {
        Cells { kind, kept: vec![zero; n_rows * kind.freq_hz.len() * kind.corr.len()], whole: Vec::new(), n_rows }
    }

    /// Reads `n` rows of the set from `first` on into the block's rows from `at` on.
    fn read(&mut self, column: &ColumnReader, first: u64, at: usize, n: usize) -> Result<(), MsError> {
        let kind = self.kind;
        let per_row = kind.freq_hz.len() * kind.corr.len();
        let out = &mut self.kept[at * per_row..(at + n) * per_row];
        if kind.channels == SpwPick::All && kind.corrs.is_none() {
            return column.read(first, n, out);
        }
        self.whole.resize(n * kind.n_chan * kind.n_corr, T::default());
        column.read(first, n, &mut self.whole)?;
        let cells = self.whole.chunks_exact(kind.n_chan * kind.n_corr);
        for (cell, kept) in cells.zip(out.chunks_exact_mut(per_row)) {
            kind.keep(cell, kept);
        }
        Ok(())
    }

    fn finish(self) -> Array3<T> {
        let shape = (self.n_rows, self.kind.freq_hz.len(), self.kind.corr.len());
        Array3::from_shape_vec(shape, self.kept).expect("made with this many values")
    }
}

impl Kind {
    /// Picks the kept channels and correlations out of one cell.
    fn keep<T: Copy>(&self, cell: &[T], kept: &mut [T]) {
        let mut out = kept.iter_mut();
        let mut channel = |c: usize| {
            let all = &cell[c * self.n_corr..(c + 1) * self.n_corr];
            match &self.corrs {
                None => all.iter().zip(&mut out).for_each(|(v, o)| *o = *v),
                Some(corrs) => corrs.iter().zip(&mut out).for_each(|(i, o)| *o = all[*i]),
            }
        };
        match &self.channels {
            SpwPick::All => (0..self.n_chan).for_each(&mut channel),
            SpwPick::Channels(list) => list.iter().for_each(|c| channel(*c)),
        }
    }
}

fn array2<T>(values: Vec<T>, rows: usize, columns: usize) -> Result<Array2<T>, MsError> {
    Array2::from_shape_vec((rows, columns), values).map_err(|e| MsError::Damaged(format!("{rows} rows of {columns} values: {e}")))
}

fn by_row<T: Copy + PartialEq>(block: &Block, runs: &super::Runs<T>) -> Vec<T> {
    let mut out = Vec::with_capacity(block.n_rows);
    for (rows, value) in block.rows.iter().flat_map(|rows| runs.within(rows.clone())) {
        out.resize(out.len() + (rows.end - rows.start) as usize, value);
    }
    out
}

/// How the rows of each data description are read; `None` where nothing of it is selected.
fn kinds(data: &Metadata, selection: &Selection) -> Result<Vec<Option<Kind>>, MsError> {
    let picks = spw_picks(data, &selection.spw)?;
    let corrs = corr_picks(data, &selection.corr)?;
    let kind = |dd: &super::DataDescription| {
        let (channels, indices) = (picks[dd.spw].clone()?, corrs[dd.polarization].as_ref()?);
        let (spw, have) = (&data.spws[dd.spw], &data.polarizations[dd.polarization]);
        let freq_hz = match &channels {
            SpwPick::All => spw.freq_hz.clone(),
            SpwPick::Channels(list) => list.iter().map(|c| spw.freq_hz[*c]).collect(),
        };
        let all = indices.len() == have.len();
        Some(Kind {
            spw: dd.spw,
            n_chan: spw.freq_hz.len(),
            n_corr: have.len(),
            channels,
            corrs: (!all).then(|| indices.clone().into()),
            freq_hz,
            corr: corr_list(have, indices),
        })
    };
    Ok(data.data_descriptions.iter().map(kind).collect())
}

/// The fields of the selection and their one phase center.
fn one_center(data: &Metadata, rows: &Rows) -> Result<(Vec<usize>, Direction), MsError> {
    // Fields that two sets named apart and that differ by less than this are one: far below any beam.
    const SAME_RAD: f64 = 5e-11;
    let mut ids: Vec<usize> = rows.ranges.iter().map(|(_, _, field)| *field as usize).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut center: Option<Direction> = None;
    for id in &ids {
        let field = &data.fields[*id];
        let here = field
            .phase_center
            .direction()
            .ok_or_else(|| MsError::Frame { field: field.name.clone(), frame: field.phase_center.frame.clone() })?;
        match center {
            Some(first) if first.frame != here.frame || first.separation_rad(here) > SAME_RAD => {
                let fields = ids.iter().map(|i| format!("{i} {}", data.fields[*i].name)).collect();
                return Err(MsError::ManyFields { fields });
            }
            _ => center = center.or(Some(here)),
        }
    }
    let center = center.ok_or(MsError::NoRows)?;
    Ok((ids, center))
}

/// Cuts the selected rows into blocks. The cut depends on the selection only, so that sums over blocks have the same bits
/// on any machine.
fn cut(rows: &Rows, kinds: &[Option<Kind>]) -> Vec<Block> {
    let mut open: Vec<Option<Block>> = kinds.iter().map(|_| None).collect();
    let mut done = Vec::new();
    for (range, dd, _) in &rows.ranges {
        let Some(kind) = &kinds[*dd] else { continue };
        let limit = (BLOCK_SAMPLES / (kind.freq_hz.len() * kind.corr.len()).max(1)).clamp(1, BLOCK_ROWS);
        let mut start = range.start;
        while start < range.end {
            let block = open[*dd].get_or_insert_with(|| Block { data_desc: *dd, rows: Vec::new(), n_rows: 0 });
            let n = (range.end - start).min((limit - block.n_rows) as u64);
            match block.rows.last_mut() {
                Some(last) if last.end == start => last.end += n,
                _ => block.rows.push(start..start + n),
            }
            block.n_rows += n as usize;
            start += n;
            if block.n_rows == limit {
                done.extend(open[*dd].take());
            }
        }
    }
    done.extend(open.into_iter().flatten());
    done
}

/// The set's name, with the execution block if one was chosen.
fn block_name(data: &Metadata, selection: &Selection) -> String {
    if selection.block.is_all() { data.name.clone() } else { format!("{}#{}", data.name, selection.block) }
}
