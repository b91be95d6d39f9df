//! New MeasurementSets: subtables from plain structs, rows appended block by block.

use std::path::{Path, PathBuf};

use super::atomic::NewFolder;
use super::history::{HistoryEntry, append_history};
use super::schema::{SUBTABLES, main_columns};
use super::subtables;
use super::write::{Cells, Keyword, TableWriter};
use crate::data::{RowBlock, SetDescription, VisWeight};
use crate::error::{Error, Result};
use crate::notice::Reporter;

/// What `table.info` says of a MeasurementSet.
pub const INFO: &str = "Type = Measurement Set\nSubType = \n\nThis is a MeasurementSet Table holding measurements from a Telescope\n";

/// A new set that takes rows; nothing is seen of it before [`SetWriter::finish`].
pub struct SetWriter {
    folder: NewFolder,
    main: TableWriter,
    description: SetDescription,
    sample_weights: bool,
}

/// What a new set is made for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SetLayout {
    /// Rows of one shape that will come, roughly: tiles are not made larger than that.
    pub expected_rows: u64,
    /// Weights differ along channels: WEIGHT_SPECTRUM and SIGMA_SPECTRUM are written.
    pub sample_weights: bool,
}

impl SetWriter {
    /// Starts the set that will be `out`.
    pub fn new(out: &Path, description: SetDescription, layout: SetLayout) -> Result<SetWriter> {
        if let Some(fault) = description.fault() {
            return Err(Error::user(fault).at(out));
        }
        let folder = NewFolder::new(out)?;
        subtables::write(folder.path(), &description).map_err(|e| Error::from(e).at(out))?;
        let main = TableWriter::new(folder.path(), main_columns(layout.sample_weights), layout.expected_rows)?;
        Ok(SetWriter { folder, main, description, sample_weights: layout.sample_weights })
    }

    /// Rows so far.
    pub fn n_rows(&self) -> u64 {
        self.main.n_rows()
    }

    /// Appends rows.
    pub fn append(&mut self, block: &RowBlock) -> Result<()> {
        let shape = self.description.shape(block.data_desc);
        let shape = shape.ok_or_else(|| Error::internal(format!("rows of data description {}, which does not exist", block.data_desc)))?;
        if let Some(fault) = block.fault(shape) {
            return Err(Error::internal(fault));
        }
        Rows::new(block, self.sample_weights).append_to(&mut self.main, shape).map_err(|e| self.folder.tell(e))
    }

    /// Completes the set and gives it its name.
    pub fn finish(self, history: &HistoryEntry, notice: &dyn Reporter) -> Result<PathBuf> {
        let mut keywords = vec![("MS_VERSION".to_string(), Keyword::Float(2.0))];
        keywords.extend(SUBTABLES.iter().map(|(name, _)| (name.to_string(), Keyword::Table(name.to_string()))));
        let written = self.main.finish(&keywords, INFO).and_then(|()| append_history(self.folder.path(), history));
        written.map_err(|e| self.folder.tell(e))?;
        self.folder.publish(notice)
    }
}

/// Makes a whole set from blocks of rows.
pub fn write_set(
    out: &Path,
    description: SetDescription,
    layout: SetLayout,
    blocks: impl Iterator<Item = Result<RowBlock>>,
    history: &HistoryEntry,
    notice: &dyn Reporter,
) -> Result<PathBuf> {
    let mut set = SetWriter::new(out, description, layout)?;
    for block in blocks {
        notice.check()?;
        set.append(&block?)?;
    }
    set.finish(history, notice)
}

/// The columns of a block as they are stored.
struct Rows<'a> {
    block: &'a RowBlock,
    flag_row: Vec<u8>,
    weight: Vec<f32>,
    sigma: Vec<f32>,
    spectra: Option<(Vec<f32>, Vec<f32>)>,
}

impl Rows<'_> {
    fn new(block: &RowBlock, sample_weights: bool) -> Rows<'_> {
        let flag_row = block.flag_rfc.outer_iter().map(|row| u8::from(row.iter().all(|f| *f))).collect();
        let (weight, spectrum) = match &block.weight {
            VisWeight::Row(w) => (w.iter().copied().collect(), None),
            VisWeight::Sample(w) => (mean_weights(block), Some(w.iter().copied().collect::<Vec<f32>>())),
        };
        let sigma = sigma_of(&weight);
        // A set with spectra has them in every row, also where one weight holds for all channels.
        let spectra = sample_weights.then(|| {
            let spectrum =
                spectrum.unwrap_or_else(|| block.flag_rfc.indexed_iter().map(|((r, f, c), _)| block.weight.get(r, f, c)).collect());
            let sigma = sigma_of(&spectrum);
            (spectrum, sigma)
        });
        Rows { block, flag_row, weight, sigma, spectra }
    }

    fn append_to(&self, main: &mut TableWriter, shape: [usize; 2]) -> Result<()> {
        let (b, n) = (self.block, self.block.n_rows());
        let cell = [shape[1] as u64, shape[0] as u64];
        let corr = [shape[1] as u64];
        let same = |value: i32| vec![value; n];
        let (zero, data_desc) = (same(0), same(b.data_desc as i32));
        let uvw = b.uvw_m.as_standard_layout();
        let vis = b.vis_rfc.as_standard_layout();
        let flag = b.flag_rfc.as_standard_layout();
        let flag: Vec<u8> = flag.iter().map(|f| u8::from(*f)).collect();
        let names: Vec<String> = main.columns().iter().map(|c| c.name.clone()).collect();
        let mut cells = Vec::with_capacity(names.len());
        for name in &names {
            cells.push(match name.as_str() {
                "UVW" => Cells::Arrays(&[3], bytemuck::cast_slice(uvw.as_slice().unwrap_or(&[]))),
                "FLAG" => Cells::Arrays(&cell, &flag),
                "WEIGHT" => Cells::Arrays(&corr, bytemuck::cast_slice(&self.weight)),
                "SIGMA" => Cells::Arrays(&corr, bytemuck::cast_slice(&self.sigma)),
                "WEIGHT_SPECTRUM" => self.spectra.as_ref().map_or(Cells::Undefined, |s| Cells::Arrays(&cell, bytemuck::cast_slice(&s.0))),
                "SIGMA_SPECTRUM" => self.spectra.as_ref().map_or(Cells::Undefined, |s| Cells::Arrays(&cell, bytemuck::cast_slice(&s.1))),
                "DATA" => Cells::Arrays(&cell, bytemuck::cast_slice(vis.as_slice().unwrap_or(&[]))),
                "ANTENNA1" => Cells::Scalars(bytemuck::cast_slice(&b.antenna1)),
                "ANTENNA2" => Cells::Scalars(bytemuck::cast_slice(&b.antenna2)),
                "DATA_DESC_ID" => Cells::Scalars(bytemuck::cast_slice(&data_desc)),
                "FIELD_ID" => Cells::Scalars(bytemuck::cast_slice(&b.field)),
                "SCAN_NUMBER" => Cells::Scalars(bytemuck::cast_slice(&b.scan)),
                "OBSERVATION_ID" => Cells::Scalars(bytemuck::cast_slice(&b.observation)),
                "FLAG_ROW" => Cells::Scalars(&self.flag_row),
                "INTERVAL" | "EXPOSURE" => Cells::Scalars(bytemuck::cast_slice(&b.interval_s)),
                "TIME" | "TIME_CENTROID" => Cells::Scalars(bytemuck::cast_slice(&b.time_s)),
                "FLAG_CATEGORY" => Cells::Undefined,
                _ => Cells::Scalars(bytemuck::cast_slice(&zero)),
            });
        }
        main.append(n, &cells)
    }
}

/// WEIGHT of rows whose weights differ along channels: the mean over the channels that carry weight and no flag.
fn mean_weights(block: &RowBlock) -> Vec<f32> {
    let (n, n_chan, n_corr) = block.vis_rfc.dim();
    let mut out = Vec::with_capacity(n * n_corr);
    for row in 0..n {
        for corr in 0..n_corr {
            let good =
                (0..n_chan).filter(|f| !block.flag_rfc[[row, *f, corr]]).map(|f| block.weight.get(row, f, corr)).filter(|w| *w > 0.0);
            let (sum, count) = good.fold((0.0f64, 0u32), |(s, c), w| (s + f64::from(w), c + 1));
            out.push(if count > 0 { (sum / f64::from(count)) as f32 } else { 0.0 });
        }
    }
    out
}

/// SIGMA = 1/sqrt(WEIGHT); 0 for a weight of 0, as CASA writes it.
fn sigma_of(weight: &[f32]) -> Vec<f32> {
    weight.iter().map(|w| if *w > 0.0 { 1.0 / w.sqrt() } else { 0.0 }).collect()
}
