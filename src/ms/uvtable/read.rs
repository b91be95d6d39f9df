//! Tables read, whoever wrote them.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use ndarray::{ArrayD, IxDyn, OwnedRepr};
use ndarray_npy::{NpzReader, ReadableElement};
use num_complex::{Complex32, Complex64};

use super::{ReadUvtableOptions, TableStyle, TableUnit, UvTable, UvTableError, ending};
use crate::error::{Error, Result};
use crate::units::C_M_S;

type Read<T> = std::result::Result<T, UvTableError>;

/// Reads a table into wavelengths and the sign of a MeasurementSet.
pub fn read_uvtable(path: &Path, options: &ReadUvtableOptions) -> Result<UvTable> {
    let file = File::open(path).map_err(|e| Error::io("read the table", path, e))?;
    let read = if ending(path) == "npz" { read_npz(file, options) } else { read_text(file, options) };
    read.map_err(|e| Error::from(e).at(path))
}

fn read_npz(file: File, options: &ReadUvtableOptions) -> Read<UvTable> {
    let failed = |e: &dyn std::fmt::Display| UvTableError::Read(e.to_string());
    let mut npz = NpzReader::new(file).map_err(|e| failed(&e))?;
    let names: Vec<String> = npz.names().map_err(|e| failed(&e))?.into_iter().map(|n| n.trim_end_matches(".npy").to_string()).collect();
    let has = |all: &[&str]| all.iter().all(|n| names.iter().any(|m| m == n));
    let mpol = match options.style {
        Some(style) => style == TableStyle::Mpol,
        None => has(&["uu", "vv"]),
    };
    let one_of = |choices: &[&'static str]| choices.iter().copied().find(|c| has(&[c]));
    let arrays = || UvTableError::Arrays { found: names.join(", ") };
    let (u, v) = if mpol { ("uu", "vv") } else { ("u", "v") };
    let weight = one_of(&["weights", "weight", "Wgt", "wgt"]).ok_or_else(arrays)?;
    if !has(&[u, v]) {
        return Err(arrays());
    }
    let vis = match one_of(&["V", "data", "Vis", "vis"]) {
        Some(name) => complex(&mut npz, name)?,
        None if has(&["data_re", "data_im"]) => {
            let (re, im) = (real(&mut npz, "data_re")?, real(&mut npz, "data_im")?);
            same_length("data_im", im.len(), re.len())?;
            re.into_iter().zip(im).map(|(re, im)| Complex64::new(re, im)).collect()
        }
        None => return Err(arrays()),
    };
    // The sign that the file gives, else that of its style.
    let sign = if has(&["sign"]) { real(&mut npz, "sign")?.first().copied().unwrap_or(1.0) } else { 1.0 };
    let textbook = if has(&["sign"]) { sign < 0.0 } else { mpol };
    let (u_file, v_file, weight_file) = (real(&mut npz, u)?, real(&mut npz, v)?, real(&mut npz, weight)?);
    let n = vis.len();
    // MPoL allows one set of coordinates for all channels.
    let (u_lambda, v_lambda) = (repeated(u, u_file, n)?, repeated(v, v_file, n)?);
    let scale = scale(options.unit.unwrap_or(TableUnit::Lambda), options.frequency.map(|f| f.0))?;
    Ok(UvTable {
        u_lambda: u_lambda.into_iter().map(|x| x * scale).collect(),
        v_lambda: v_lambda.into_iter().map(|x| x * scale).collect(),
        vis: vis.into_iter().map(|v| if textbook { v.conj() } else { v }).collect(),
        weight: repeated(weight, weight_file, n)?,
    })
}

fn same_length(name: &str, found: usize, expected: usize) -> Read<()> {
    if found == expected { Ok(()) } else { Err(UvTableError::Length { name: name.to_string(), found, expected }) }
}

/// Values for each of `n` visibilities: as they are, or those of one channel for all channels.
fn repeated(name: &str, values: Vec<f64>, n: usize) -> Read<Vec<f64>> {
    if values.len() == n {
        return Ok(values);
    }
    if values.is_empty() || n % values.len() != 0 {
        return Err(UvTableError::Length { name: name.to_string(), found: values.len(), expected: n });
    }
    Ok(values.iter().copied().cycle().take(n).collect())
}

fn array<T: ReadableElement>(npz: &mut NpzReader<File>, name: &str) -> std::result::Result<Vec<T>, ndarray_npy::ReadNpzError> {
    let a: ArrayD<T> = npz.by_name::<OwnedRepr<T>, IxDyn>(name).or_else(|_| npz.by_name::<OwnedRepr<T>, IxDyn>(&format!("{name}.npy")))?;
    Ok(a.into_iter().collect())
}

fn real(npz: &mut NpzReader<File>, name: &str) -> Read<Vec<f64>> {
    let single = |npz: &mut NpzReader<File>| array::<f32>(npz, name).map(|a| a.into_iter().map(f64::from).collect());
    let whole = |npz: &mut NpzReader<File>| array::<i64>(npz, name).map(|a| a.into_iter().map(|v| v as f64).collect());
    array::<f64>(npz, name).or_else(|_| single(npz)).or_else(|_| whole(npz)).map_err(|e| UvTableError::Read(format!("array {name}: {e}")))
}

fn complex(npz: &mut NpzReader<File>, name: &str) -> Read<Vec<Complex64>> {
    let single = |npz: &mut NpzReader<File>| {
        array::<Complex32>(npz, name).map(|a| a.into_iter().map(|v| Complex64::new(f64::from(v.re), f64::from(v.im))).collect())
    };
    array::<Complex64>(npz, name).or_else(|_| single(npz)).map_err(|e| UvTableError::Read(format!("array {name}: {e}")))
}

/// Factor from the unit to wavelengths.
fn scale(unit: TableUnit, freq_hz: Option<f64>) -> Read<f64> {
    match unit {
        TableUnit::Lambda => Ok(1.0),
        TableUnit::Kilolambda => Ok(1e3),
        TableUnit::Metre => freq_hz.map(|f| f / C_M_S).ok_or(UvTableError::NoWavelength),
    }
}

/// What the comment lines of a text table say.
#[derive(Debug, Default)]
struct TextHeader {
    unit: Option<TableUnit>,
    freq_hz: Option<f64>,
    textbook: bool,
}

impl TextHeader {
    fn line(&mut self, line: &str) {
        let lower = line.to_lowercase();
        if let Some((_, value)) = lower.split_once("wavelength[m]").and_then(|(_, rest)| rest.split_once('=')) {
            let number: Option<f64> = value.split_whitespace().next().and_then(|t| t.parse().ok());
            self.freq_hz = number.filter(|w| *w > 0.0).map(|w| C_M_S / w).or(self.freq_hz);
            return;
        }
        let packed: String = lower.chars().filter(|c| !c.is_whitespace()).collect();
        if packed.contains("exp(-2pi") {
            self.textbook = true;
        }
        for (mark, unit) in [("u[lambda]", TableUnit::Lambda), ("u[klambda]", TableUnit::Kilolambda), ("u[m]", TableUnit::Metre)] {
            if packed.contains(mark) {
                self.unit = Some(unit);
            }
        }
    }
}

fn read_text(file: File, options: &ReadUvtableOptions) -> Read<UvTable> {
    let mut table = UvTable::default();
    let mut header = TextHeader::default();
    for (i, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|e| UvTableError::Read(e.to_string()))?;
        let text = line.trim();
        if let Some(comment) = text.strip_prefix('#') {
            header.line(comment);
            continue;
        }
        if text.is_empty() {
            continue;
        }
        let numbers: Vec<f64> = text.split([' ', '\t', ',']).filter(|t| !t.is_empty()).map_while(|t| t.parse().ok()).collect();
        let [u, v, re, im, weight] = numbers[..] else {
            return Err(UvTableError::Line {
                line: i + 1,
                found: format!("{} numbers: \"{}\"", numbers.len(), text.chars().take(60).collect::<String>()),
            });
        };
        table.u_lambda.push(u);
        table.v_lambda.push(v);
        table.vis.push(Complex64::new(re, im));
        table.weight.push(weight);
    }
    let by_style = options.style.map(|s| if s == TableStyle::Galario { TableUnit::Metre } else { TableUnit::Lambda });
    let unit = options.unit.or(header.unit).or(by_style).ok_or(UvTableError::NoUnit)?;
    let scale = scale(unit, options.frequency.map(|f| f.0).or(header.freq_hz))?;
    for x in table.u_lambda.iter_mut().chain(&mut table.v_lambda) {
        *x *= scale;
    }
    if header.textbook {
        table.vis.iter_mut().for_each(|v| *v = v.conj());
    }
    Ok(table)
}

/// The frequency that the header of a text table gives.
pub(super) fn header_frequency(path: &Path) -> Option<f64> {
    if ending(path) == "npz" {
        return None;
    }
    let mut header = TextHeader::default();
    let lines = BufReader::new(File::open(path).ok()?).lines();
    lines.map_while(std::result::Result::ok).take_while(|l| l.starts_with('#')).for_each(|l| header.line(&l));
    header.freq_hz
}
