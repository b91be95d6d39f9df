//! casacore's AipsIO: the self-describing big-endian stream in which table descriptions and headers are stored.
//!
//! Every object is: length in bytes (u32, itself included), type name, version, body. The outermost one is preceded by
//! the magic value 0xBEBEBEBE. An object that is not wanted is skipped by its length.

use super::error::MsError;

const MAGIC: u32 = 0xBEBE_BEBE;

/// Type of a column or keyword, as casacore numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CellType {
    Bool,
    Char,
    UChar,
    Short,
    UShort,
    Int,
    UInt,
    Int64,
    Float,
    Double,
    Complex,
    DComplex,
    String,
    Record,
    Table,
}

impl CellType {
    /// From casacore's code of a scalar, or of an array of the same type (then the second value is true).
    pub fn from_code(code: i32) -> Option<(CellType, bool)> {
        use CellType::*;
        const SCALARS: [CellType; 12] = [Bool, Char, UChar, Short, UShort, Int, UInt, Float, Double, Complex, DComplex, String];
        match code {
            0..=11 => Some((SCALARS[code as usize], false)),
            12 => Some((Table, false)),
            13..=24 => Some((SCALARS[code as usize - 13], true)),
            25 => Some((Record, false)),
            29 => Some((Int64, false)),
            30 => Some((Int64, true)),
            _ => None,
        }
    }

    /// Bytes of one number in a tile; `None` for what has no fixed size, and 0 for Bool, which is stored as bits.
    pub fn tile_bytes(self) -> Option<usize> {
        use CellType::*;
        match self {
            Bool => Some(0),
            Char | UChar => Some(1),
            Short | UShort => Some(2),
            Int | UInt | Float => Some(4),
            Int64 | Double | Complex => Some(8),
            DComplex => Some(16),
            String | Record | Table => None,
        }
    }
}

/// What a stored record holds: only what a reader of tables needs; other values are skipped over.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any integer.
    Int(i64),
    /// Text, or the name of a table.
    Text(String),
    /// Array of texts.
    Texts(Vec<String>),
    /// Record in a record.
    Record(Vec<(String, Value)>),
    /// A value that was skipped.
    Skipped,
}

/// A cursor over an AipsIO stream held in memory.
pub struct AipsIo<'a> {
    bytes: &'a [u8],
    at: usize,
    ends: Vec<usize>,
    little_endian: bool,
}

type Read<T> = Result<T, MsError>;

impl<'a> AipsIo<'a> {
    /// A reader of the stream in `bytes`.
    pub fn new(bytes: &'a [u8]) -> AipsIo<'a> {
        AipsIo { bytes, at: 0, ends: Vec::new(), little_endian: false }
    }
    /// A reader of a stream in the byte order of the table, as the indices of storage managers are.
    pub fn in_order(bytes: &'a [u8], big_endian: bool) -> AipsIo<'a> {
        AipsIo { little_endian: !big_endian, ..AipsIo::new(bytes) }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Bytes left in the innermost object.
    fn left(&self) -> usize {
        self.ends.last().copied().unwrap_or(self.bytes.len()).saturating_sub(self.at)
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Read<&'a [u8]> {
        if n > self.left() {
            return Err(MsError::Truncated {
                what: "a table description",
                expected: (self.at + n) as u64,
                found: (self.at + self.left()) as u64,
            });
        }
        let bytes = &self.bytes[self.at..self.at + n];
        self.at += n;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// Unsigned 32-bit integer.
    pub fn u32(&mut self) -> Read<u32> {
        let bytes = self.array()?;
        Ok(if self.little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }
    /// Signed 32-bit integer.
    pub fn i32(&mut self) -> Read<i32> {
        Ok(self.u32()? as i32)
    }
    /// Unsigned 64-bit integer.
    pub fn u64(&mut self) -> Read<u64> {
        let bytes = self.array()?;
        Ok(if self.little_endian { u64::from_le_bytes(bytes) } else { u64::from_be_bytes(bytes) })
    }
    /// One byte, true unless zero.
    pub fn bool(&mut self) -> Read<bool> {
        Ok(self.array::<1>()?[0] != 0)
    }
    /// Text with its length before it.
    pub fn text(&mut self) -> Read<String> {
        let n = self.u32()? as usize;
        Ok(String::from_utf8_lossy(self.take(n)?).into_owned())
    }

    /// A count of things that take at least `bytes_each` bytes, refused if they cannot fit in what is left.
    pub fn count(&mut self, bytes_each: usize) -> Read<usize> {
        let n = self.u32()? as usize;
        self.fits(n as u64, bytes_each)
    }
    /// `n` as a count of things that take at least `bytes_each` bytes, refused if they cannot fit in what is left.
    pub fn fits(&self, n: u64, bytes_each: usize) -> Read<usize> {
        if n.saturating_mul(bytes_each.max(1) as u64) > self.left() as u64 {
            return Err(MsError::Damaged(format!("{n} entries announced in {} bytes", self.left())));
        }
        Ok(n as usize)
    }

    /// Name of the object that follows, without entering it.
    pub fn peek(&mut self) -> Read<String> {
        let at = self.at;
        if self.ends.is_empty() && self.u32()? != MAGIC {
            self.at = at;
            return Err(MsError::Damaged("no casacore stream: its first four bytes are not BEBEBEBE".to_string()));
        }
        self.u32()?;
        let name = self.text();
        self.at = at;
        name
    }

    /// Enters an object of the given type; returns its version.
    pub fn start(&mut self, expected: &str) -> Read<u32> {
        let (name, version) = self.start_any()?;
        if name != expected {
            return Err(MsError::Damaged(format!("object \"{name}\" where \"{expected}\" was expected")));
        }
        Ok(version)
    }

    /// Enters the object that follows, whatever it is; returns its type name and version.
    pub fn start_any(&mut self) -> Read<(String, u32)> {
        if self.ends.is_empty() && self.u32()? != MAGIC {
            return Err(MsError::Damaged("no casacore stream: its first four bytes are not BEBEBEBE".to_string()));
        }
        let begin = self.at;
        let length = self.u32()? as usize;
        let limit = self.at + self.left();
        if length < 12 || begin + length > limit {
            return Err(MsError::Truncated { what: "a table description", expected: (begin + length) as u64, found: limit as u64 });
        }
        if self.ends.len() > 64 {
            return Err(MsError::Damaged("objects nested more than 64 deep".to_string()));
        }
        self.ends.push(begin + length);
        let name = self.text()?;
        let version = self.u32()?;
        Ok((name, version))
    }

    /// Leaves the innermost object, read to its end or not.
    pub fn end(&mut self) {
        if let Some(end) = self.ends.pop() {
            self.at = end;
        }
    }

    /// One whole object inside another, as it is stored.
    pub fn raw_object(&mut self) -> Read<&'a [u8]> {
        let begin = self.at;
        self.skip_object()?;
        Ok(&self.bytes[begin..self.at])
    }

    /// Skips one whole object.
    pub fn skip_object(&mut self) -> Read<()> {
        self.start_any()?;
        self.end();
        Ok(())
    }

    /// An IPosition: the lengths of axes, first axis fastest.
    pub fn shape(&mut self) -> Read<Vec<u64>> {
        let version = self.start("IPosition")?;
        let n = self.count(if version == 1 { 4 } else { 8 })?;
        let axes = (0..n).map(|_| if version == 1 { self.u32().map(u64::from) } else { self.u64() }).collect();
        self.end();
        axes
    }

    /// A Block of unsigned integers, `wide` if they have 64 bits.
    pub fn block(&mut self, wide: bool) -> Read<Vec<u64>> {
        self.start("Block")?;
        let n = self.count(if wide { 8 } else { 4 })?;
        let values = (0..n).map(|_| if wide { self.u64() } else { self.u32().map(u64::from) }).collect();
        self.end();
        values
    }

    /// A Record or TableRecord.
    pub fn record(&mut self) -> Read<Vec<(String, Value)>> {
        let (name, _) = self.start_any()?;
        // Keyword sets of the early nineties are skipped: no MeasurementSet has them in a place that is read here.
        let fields = if name == "TableRecord" || name == "Record" {
            let description = self.record_description()?;
            self.i32()?;
            self.record_values(&description)?
        } else {
            Vec::new()
        };
        self.end();
        Ok(fields)
    }

    fn record_description(&mut self) -> Read<Vec<Field>> {
        let version = self.start("RecordDesc")?;
        let n = self.count(8)?;
        let mut fields = Vec::with_capacity(n);
        for _ in 0..n {
            let name = self.text()?;
            let code = self.i32()?;
            let (cell, array) = CellType::from_code(code).ok_or_else(|| MsError::Damaged(format!("type code {code} of keyword {name}")))?;
            let mut inner = Vec::new();
            match cell {
                CellType::Record => inner = self.record_description()?,
                CellType::Table => drop(self.text()?),
                _ if array => drop(self.shape()?),
                _ => {}
            }
            if version > 1 {
                self.text()?;
            }
            fields.push(Field { name, cell, array, inner });
        }
        self.end();
        Ok(fields)
    }

    fn record_values(&mut self, fields: &[Field]) -> Read<Vec<(String, Value)>> {
        fields.iter().map(|f| Ok((f.name.clone(), self.field_value(f)?))).collect()
    }

    fn field_value(&mut self, field: &Field) -> Read<Value> {
        if field.array {
            return self.array_value(field.cell);
        }
        match field.cell {
            CellType::Record if field.inner.is_empty() => Ok(Value::Record(self.record()?)),
            CellType::Record => Ok(Value::Record(self.record_values(&field.inner)?)),
            cell => self.scalar(cell),
        }
    }

    /// One scalar of the given type.
    pub fn scalar(&mut self, cell: CellType) -> Read<Value> {
        use CellType::*;
        Ok(match cell {
            Bool => Value::Int(i64::from(self.bool()?)),
            Char | UChar => Value::Int(i64::from(self.array::<1>()?[0])),
            Short | UShort => Value::Int(i64::from(i16::from_be_bytes(self.array()?))),
            Int => Value::Int(i64::from(self.i32()?)),
            UInt => Value::Int(i64::from(self.u32()?)),
            Int64 => Value::Int(self.u64()? as i64),
            String | Table => Value::Text(self.text()?),
            Record => Value::Record(self.record()?),
            Float | Double | Complex | DComplex => {
                self.take(cell.tile_bytes().unwrap_or(0))?;
                Value::Skipped
            }
        })
    }

    fn array_value(&mut self, cell: CellType) -> Read<Value> {
        if cell != CellType::String {
            self.skip_object()?;
            return Ok(Value::Skipped);
        }
        let (_, version) = self.start_any()?;
        let n_dim = self.count(4)?;
        self.take(4 * n_dim * if version < 3 { 2 } else { 1 })?;
        let n = self.count(4)?;
        let texts = (0..n).map(|_| self.text()).collect::<Read<Vec<_>>>()?;
        self.end();
        Ok(Value::Texts(texts))
    }
}

struct Field {
    name: String,
    cell: CellType,
    array: bool,
    inner: Vec<Field>,
}

/// The value of a field of a record.
pub fn field<'a>(record: &'a [(String, Value)], name: &str) -> Option<&'a Value> {
    record.iter().find(|(n, _)| n == name).map(|(_, v)| v)
}
