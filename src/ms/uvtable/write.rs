//! Tables written: visibility after visibility, in the memory of one block.

use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use num_complex::Complex64;

use super::zip::{LIMIT, NpzFile};
use super::{ReadUvtableOptions, TableStyle, UvTable, UvTableError, WriteUvtableOptions, ending, read_uvtable};
use crate::data::{VisBlock, VisSource};
use crate::error::{Error, Result};
use crate::ms::atomic::refuse_existing;
use crate::notice::Reporter;
use crate::units::C_M_S;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct WrittenTable {
    /// Visibilities.
    pub n_vis: u64,
    /// Sum of the weights, Jy^-2.
    pub weight_sum: f64,
    /// Longest baseline, wavelengths.
    pub max_uv_lambda: f64,
    /// Weighted mean frequency, Hz.
    pub freq_hz: f64,
}

/// One line of a table.
#[derive(Debug, Clone, Copy)]
struct Line {
    u_lambda: f64,
    v_lambda: f64,
    vis: Complex64,
    weight: f64,
    freq_hz: f64,
}

/// Writes the Stokes I visibilities of `sources`, one after the other, into the new file `out`.
///
/// Stokes I is Σ w V / Σ w over the parallel hands, with weight Σ w. Flagged samples, autocorrelations, and samples
/// without a positive weight are left out. Memory holds one block at a time, whatever the size of the sources.
pub fn write_uvtable(sources: &[&dyn VisSource], out: &Path, options: &WriteUvtableOptions, notice: &dyn Reporter) -> Result<WrittenTable> {
    let file = TableFile::new(out, options.style)?;
    let total = sources.iter().map(|s| s.n_blocks() as u64).sum();
    let freq_hz = reference_frequency(sources, options)?;
    let mut sink = Sink::new(file, options.style, freq_hz)?;
    let mut done = 0;
    for source in sources {
        for i in 0..source.n_blocks() {
            notice.check()?;
            notice.progress("write_uvtable", done, total);
            let block = source.read_block(i)?;
            lines(&block, options.average, |line| sink.put(line)).map_err(|e| Error::io("write the table", out, e))?;
            done += 1;
        }
    }
    sink.finish(out)
}

/// Turns a table into one of another style.
pub fn convert_uvtable(
    table: &Path,
    out: &Path,
    read: &ReadUvtableOptions,
    style: TableStyle,
    notice: &dyn Reporter,
) -> Result<WrittenTable> {
    let UvTable { u_lambda, v_lambda, vis, weight } = read_uvtable(table, read)?;
    let freq_hz = read.frequency.map(|f| f.0).or(super::read::header_frequency(table));
    if style == TableStyle::Galario && freq_hz.is_none() {
        return Err(UvTableError::NoWavelength.into());
    }
    let mut sink = Sink::new(TableFile::new(out, style)?, style, freq_hz.unwrap_or(C_M_S))?;
    for i in 0..vis.len() {
        if i % (1 << 16) == 0 {
            notice.check()?;
        }
        let line = Line { u_lambda: u_lambda[i], v_lambda: v_lambda[i], vis: vis[i], weight: weight[i], freq_hz: freq_hz.unwrap_or(0.0) };
        sink.put(line).map_err(|e| Error::io("write the table", out, e))?;
    }
    sink.finish(out)
}

/// The frequency whose wavelength the header gives: the mean of the blocks' middle ones, each by its rows.
fn reference_frequency(sources: &[&dyn VisSource], options: &WriteUvtableOptions) -> Result<f64> {
    if options.style != TableStyle::Galario {
        return Ok(0.0); // coordinates are in wavelengths
    }
    let (mut sum, mut n) = (0.0, 0.0);
    for source in sources {
        for i in 0..source.n_blocks() {
            let block = source.read_block(i)?;
            let rows = block.row.len() as f64 * block.freq_hz.len() as f64;
            sum += rows * block.freq_hz.iter().sum::<f64>() / block.freq_hz.len().max(1) as f64;
            n += rows;
        }
    }
    if n > 0.0 { Ok(sum / n) } else { Err(UvTableError::Empty.into()) }
}

/// Hands the visibilities of a block to `put`.
fn lines(block: &VisBlock, average: bool, mut put: impl FnMut(Line) -> std::io::Result<()>) -> std::io::Result<()> {
    let parallel: Vec<usize> = (0..block.corr.len()).filter(|c| block.corr[*c].is_parallel()).collect();
    for row in 0..block.row.len() {
        if block.antenna1[row] == block.antenna2[row] {
            continue;
        }
        let mut mean = Mean::default();
        for chan in 0..block.freq_hz.len() {
            let mut of_chan = Mean::default();
            for &corr in &parallel {
                let (w, v) = (f64::from(block.weight.get(row, chan, corr)), block.vis_rfc[[row, chan, corr]]);
                let v = Complex64::new(f64::from(v.re), f64::from(v.im));
                if !block.flag_rfc[[row, chan, corr]] && w > 0.0 && w.is_finite() && v.re.is_finite() && v.im.is_finite() {
                    of_chan.add(v, w, block.freq_hz[chan]);
                }
            }
            if average {
                mean.merge(&of_chan);
            } else if let Some(line) = of_chan.line(block, row) {
                put(line)?;
            }
        }
        if let Some(line) = mean.line(block, row) {
            put(line)?;
        }
    }
    Ok(())
}

/// A weighted mean of visibilities and frequencies.
#[derive(Debug, Default)]
struct Mean {
    vis: Complex64,
    freq: f64,
    weight: f64,
}

impl Mean {
    fn add(&mut self, vis: Complex64, weight: f64, freq_hz: f64) {
        self.vis += vis * weight;
        self.freq += freq_hz * weight;
        self.weight += weight;
    }
    fn merge(&mut self, other: &Mean) {
        self.vis += other.vis;
        self.freq += other.freq;
        self.weight += other.weight;
    }
    fn line(&self, block: &VisBlock, row: usize) -> Option<Line> {
        let freq_hz = self.freq / self.weight;
        let per_metre = freq_hz / C_M_S;
        (self.weight > 0.0).then(|| Line {
            u_lambda: block.uvw_m[[row, 0]] * per_metre,
            v_lambda: block.uvw_m[[row, 1]] * per_metre,
            vis: self.vis / self.weight,
            weight: self.weight,
            freq_hz,
        })
    }
}

/// A file in the making, beside its place under another name.
struct TableFile {
    temporary: PathBuf,
    out: PathBuf,
    published: bool,
}

impl TableFile {
    fn new(out: &Path, style: TableStyle) -> Result<TableFile> {
        let found = ending(out);
        let (name, expected, fits) = match style {
            TableStyle::Frank => ("frank", ".npz, .txt or .dat", ["npz", "txt", "dat"].contains(&found.as_str())),
            TableStyle::Galario => ("galario", ".txt or .dat", ["txt", "dat"].contains(&found.as_str())),
            TableStyle::Mpol => ("mpol", ".npz", found == "npz"),
        };
        if !fits {
            return Err(UvTableError::Ending { style: name, expected, found }.into());
        }
        refuse_existing(out)?;
        let folder = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|e| Error::io("create the folder of the table", folder, e))?;
        let short = out.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let temporary = folder.join(format!(".{short}.unfinished-{}", std::process::id()));
        Ok(TableFile { temporary, out: out.to_path_buf(), published: false })
    }

    fn create(&self) -> Result<File> {
        File::create(&self.temporary).map_err(|e| Error::io("create the table", &self.out, e))
    }

    fn publish(mut self) -> Result<()> {
        refuse_existing(&self.out)?;
        std::fs::rename(&self.temporary, &self.out).map_err(|e| Error::io("name the table", &self.out, e))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for TableFile {
    fn drop(&mut self) {
        if !self.published {
            // Nothing more can be done about a file that cannot be removed; its name says that it is unfinished.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Takes lines and writes them in a style.
struct Sink {
    file: TableFile,
    style: TableStyle,
    form: Form,
    written: WrittenTable,
    freq_sum: f64,
}

enum Form {
    /// Lines of text; coordinates are multiplied by `metres` (the wavelength, or 1 where they are in wavelengths).
    Text { out: BufWriter<File>, metres: f64 },
    /// Columns of numbers, put together at the end: u, v, V, weights.
    Columns([BufWriter<File>; 4]),
}

impl Sink {
    fn new(file: TableFile, style: TableStyle, freq_hz: f64) -> Result<Sink> {
        let failed = |e| Error::io("write the table", &file.out, e);
        let form = if ending(&file.out) == "npz" {
            let column = || tempfile::tempfile_in(file.out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")));
            let buffered = || column().map(|f| BufWriter::with_capacity(1 << 18, f)).map_err(failed);
            Form::Columns([buffered()?, buffered()?, buffered()?, buffered()?])
        } else {
            let mut out = BufWriter::with_capacity(1 << 20, file.create()?);
            let metres = if style == TableStyle::Galario { C_M_S / freq_hz } else { 1.0 };
            out.write_all(text_header(style, metres).as_bytes()).map_err(failed)?;
            Form::Text { out, metres }
        };
        let written = WrittenTable { n_vis: 0, weight_sum: 0.0, max_uv_lambda: 0.0, freq_hz: 0.0 };
        Ok(Sink { file, style, form, written, freq_sum: 0.0 })
    }

    fn put(&mut self, line: Line) -> std::io::Result<()> {
        self.written.n_vis += 1;
        self.written.weight_sum += line.weight;
        self.freq_sum += line.weight * line.freq_hz;
        self.written.max_uv_lambda = self.written.max_uv_lambda.max(line.u_lambda.hypot(line.v_lambda));
        let vis = if self.style == TableStyle::Mpol { line.vis.conj() } else { line.vis };
        match &mut self.form {
            Form::Text { out, metres } => {
                let (u, v) = (line.u_lambda * *metres, line.v_lambda * *metres);
                writeln!(out, "{u:.10e}\t{v:.10e}\t{:.10e}\t{:.10e}\t{:.10e}", vis.re, vis.im, line.weight)
            }
            Form::Columns([u, v, visibility, weight]) => {
                u.write_all(&line.u_lambda.to_le_bytes())?;
                v.write_all(&line.v_lambda.to_le_bytes())?;
                visibility.write_all(&vis.re.to_le_bytes())?;
                visibility.write_all(&vis.im.to_le_bytes())?;
                weight.write_all(&line.weight.to_le_bytes())
            }
        }
    }

    fn finish(mut self, out: &Path) -> Result<WrittenTable> {
        let n = self.written.n_vis;
        if n == 0 {
            return Err(UvTableError::Empty.into());
        }
        self.written.freq_hz = self.freq_sum / self.written.weight_sum;
        let failed = |e| Error::io("write the table", out, e);
        match self.form {
            Form::Text { out, .. } => out.into_inner().map_err(|e| failed(e.into_error()))?.sync_all().map_err(failed)?,
            Form::Columns(columns) => {
                // Four columns of 40 bytes a visibility, and room for the headers.
                if 40 * n + 4096 > LIMIT {
                    return Err(UvTableError::TooLong { n, limit: (LIMIT - 4096) / 40 }.into());
                }
                let files = columns.map(|c| c.into_inner().map_err(std::io::IntoInnerError::into_error));
                write_npz(self.file.create()?, self.style, n, files).map_err(failed)?;
            }
        }
        self.file.publish()?;
        Ok(self.written)
    }
}

fn write_npz(out: File, style: TableStyle, n: u64, columns: [std::io::Result<File>; 4]) -> std::io::Result<()> {
    let mpol = style == TableStyle::Mpol;
    let shape = if mpol { vec![1, n] } else { vec![n] };
    let names = if mpol { ["uu", "vv", "data", "weight"] } else { ["u", "v", "V", "weights"] };
    let mut npz = NpzFile::new(out);
    for ((name, column), kind) in names.iter().zip(columns).zip(["<f8", "<f8", "<c16", "<f8"]) {
        npz.add(name, kind, &shape, &mut column?)?;
    }
    // V = Σ I exp(sign 2πi(ul + vm)).
    let mut sign = tempfile::tempfile()?;
    sign.write_all(&if mpol { -1i64 } else { 1 }.to_le_bytes())?;
    sign.rewind()?;
    npz.add("sign", "<i8", &[1], &mut sign)?;
    npz.finish()
}

fn text_header(style: TableStyle, wavelength_m: f64) -> String {
    let sign = "# V = sum of I exp(+2 pi i (u l + v m)), l to the east, m to the north\n";
    if style == TableStyle::Galario {
        format!("# wavelength[m] = {wavelength_m:.12e}\n{sign}# Columns:\tu[m]\tv[m]\tRe(V)[Jy]\tIm(V)[Jy]\tweight[Jy^-2]\n")
    } else {
        format!("{sign}# u [lambda]\tv [lambda]\tRe(V) [Jy]\tIm(V) [Jy]\tWeight [Jy^-2]\n")
    }
}
