//! Binary tables of plain columns.

use std::io::Write;
use std::path::Path;

use super::FitsError;
use super::header::format_card;
use super::write::{end_data, end_header, place, temporary_beside};
use crate::data::{Card, CardValue};
use crate::error::{Error, Result};

/// A column of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    name: String,
    unit: String,
    values: Values,
}

#[derive(Debug, Clone, PartialEq)]
enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I32(Vec<i32>),
    Text(Vec<String>),
}

impl Column {
    /// A column of f32.
    pub fn f32(name: &str, unit: &str, values: Vec<f32>) -> Column {
        Column { name: name.into(), unit: unit.into(), values: Values::F32(values) }
    }
    /// A column of f64.
    pub fn f64(name: &str, unit: &str, values: Vec<f64>) -> Column {
        Column { name: name.into(), unit: unit.into(), values: Values::F64(values) }
    }
    /// A column of integers.
    pub fn i32(name: &str, unit: &str, values: Vec<i32>) -> Column {
        Column { name: name.into(), unit: unit.into(), values: Values::I32(values) }
    }
    /// A column of ASCII text.
    pub fn text(name: &str, values: Vec<String>) -> Column {
        Column { name: name.into(), unit: String::new(), values: Values::Text(values) }
    }
    fn len(&self) -> usize {
        match &self.values {
            Values::F32(v) => v.len(),
            Values::F64(v) => v.len(),
            Values::I32(v) => v.len(),
            Values::Text(v) => v.len(),
        }
    }
    fn width(&self) -> usize {
        match &self.values {
            Values::F32(_) | Values::I32(_) => 4,
            Values::F64(_) => 8,
            Values::Text(v) => v.iter().map(String::len).max().unwrap_or(0).max(1),
        }
    }
    fn form(&self) -> String {
        match &self.values {
            Values::F32(_) => "1E".into(),
            Values::F64(_) => "1D".into(),
            Values::I32(_) => "1J".into(),
            Values::Text(_) => format!("{}A", self.width()),
        }
    }
    fn put(&self, row: usize, out: &mut Vec<u8>) {
        match &self.values {
            Values::F32(v) => out.extend_from_slice(&v[row].to_be_bytes()),
            Values::F64(v) => out.extend_from_slice(&v[row].to_be_bytes()),
            Values::I32(v) => out.extend_from_slice(&v[row].to_be_bytes()),
            Values::Text(v) => {
                let bytes = v[row].bytes().map(|b| if b.is_ascii() { b } else { b'?' });
                out.extend(bytes.chain(std::iter::repeat(b' ')).take(self.width()));
            }
        }
    }
}

/// Writes a table as the first extension of a new file.
pub fn write_table(path: &Path, name: &str, columns: &[Column], cards: &[Card], overwrite: bool) -> Result<()> {
    if !overwrite && path.exists() {
        return Err(Error::from(FitsError::Exists).at(path));
    }
    let table = table_bytes(name, columns, cards)?;
    let mut primary = Vec::new();
    for (key, value) in
        [("SIMPLE", CardValue::Bool(true)), ("BITPIX", CardValue::Int(8)), ("NAXIS", CardValue::Int(0)), ("EXTEND", CardValue::Bool(true))]
    {
        put_card(&mut primary, key, value);
    }
    end_header(&mut primary);
    let (temporary, mut out) = temporary_beside(path)?;
    let to = |e| Error::io("write the file", path, e);
    out.write_all(&primary).and_then(|()| out.write_all(&table)).and_then(|()| out.flush()).map_err(to)?;
    place(temporary, path, overwrite)
}

fn put_card(out: &mut Vec<u8>, key: &str, value: CardValue) {
    let card = Card { key: key.into(), value, comment: String::new() };
    format_card(&card).iter().for_each(|r| out.extend_from_slice(r));
}

/// A BINTABLE extension.
pub(super) fn table_bytes(name: &str, columns: &[Column], cards: &[Card]) -> Result<Vec<u8>> {
    let rows = columns.first().map_or(0, Column::len);
    if let Some(bad) = columns.iter().find(|c| c.len() != rows) {
        return Err(Error::internal(format!("column {} has {} rows, the first has {rows}", bad.name, bad.len())));
    }
    let width: usize = columns.iter().map(Column::width).sum();
    let mut out = Vec::new();
    for (key, value) in [
        ("XTENSION", CardValue::Text("BINTABLE".into())),
        ("BITPIX", CardValue::Int(8)),
        ("NAXIS", CardValue::Int(2)),
        ("NAXIS1", CardValue::Int(width as i64)),
        ("NAXIS2", CardValue::Int(rows as i64)),
        ("PCOUNT", CardValue::Int(0)),
        ("GCOUNT", CardValue::Int(1)),
        ("TFIELDS", CardValue::Int(columns.len() as i64)),
    ] {
        put_card(&mut out, key, value);
    }
    for (i, c) in columns.iter().enumerate() {
        put_card(&mut out, &format!("TTYPE{}", i + 1), CardValue::Text(c.name.clone()));
        put_card(&mut out, &format!("TFORM{}", i + 1), CardValue::Text(c.form()));
        if !c.unit.is_empty() {
            put_card(&mut out, &format!("TUNIT{}", i + 1), CardValue::Text(c.unit.clone()));
        }
    }
    put_card(&mut out, "EXTNAME", CardValue::Text(name.into()));
    for card in cards {
        format_card(card).iter().for_each(|r| out.extend_from_slice(r));
    }
    end_header(&mut out);
    let from = out.len();
    for row in 0..rows {
        columns.iter().for_each(|c| c.put(row, &mut out));
    }
    end_data(&mut out, from);
    Ok(out)
}
