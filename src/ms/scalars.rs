//! Scalar columns of the incremental and standard storage managers, read in pieces without casacore.
//!
//! casacore reads such columns whole or cell by cell only; joining sets needs them piece by piece, in bounded memory.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::aipsio::{AipsIo, CellType};
use super::error::MsError;
use super::table_files::{ColumnFile, Manager, TableFiles};

const HEADER: u64 = 512;

/// A scalar column that can be read in pieces.
pub struct ScalarColumn {
    name: String,
    cell: CellType,
    big_endian: bool,
    file: File,
    bucket_bytes: usize,
    buckets: Vec<Bucket>,
    place: Place,
}

/// Rows up to and without `end` are in bucket `number`.
struct Bucket {
    end: u64,
    number: u32,
}

/// Where a column is in a bucket.
enum Place {
    /// Number of the column among those of an incremental manager.
    Incremental(usize),
    /// Byte at which the column begins, in a standard manager.
    Standard(usize),
}

impl ScalarColumn {
    /// Opens a column; `None` if it is no scalar of fixed width, or is kept by another kind of storage manager.
    pub fn open(table: &TableFiles, column: &ColumnFile) -> Result<Option<ScalarColumn>, MsError> {
        let Some(manager) = table.manager_of(column).filter(|_| table.separate_files) else { return Ok(None) };
        if column.array || column.cell.memory_bytes() == 0 {
            return Ok(None);
        }
        let i = table.columns.iter().filter(|c| c.manager == manager.number).position(|c| c.name == column.name).unwrap_or(0);
        let opened = match manager.kind.as_str() {
            "IncrementalStMan" => incremental(table, manager, i)?,
            "StandardStMan" => standard(table, manager, i)?,
            _ => return Ok(None),
        };
        let (file, bucket_bytes, buckets, place) = opened;
        let (name, cell) = (column.name.clone(), column.cell);
        Ok(Some(ScalarColumn { name, cell, big_endian: table.big_endian, file, bucket_bytes, buckets, place }))
    }

    /// Appends the values of rows to `out`: little-endian bytes, truth values as one byte each.
    pub fn read(&self, first: u64, n_rows: usize, out: &mut Vec<u8>) -> Result<(), MsError> {
        let end = first + n_rows as u64;
        let begin = out.len();
        let mut bytes = vec![0; self.bucket_bytes];
        let mut i = self.buckets.partition_point(|b| b.end <= first);
        while let Some(bucket) = self.buckets.get(i) {
            let start = if i > 0 { self.buckets[i - 1].end } else { 0 };
            if start >= end {
                break;
            }
            let at = HEADER + u64::from(bucket.number) * self.bucket_bytes as u64;
            self.file.read_exact_at(&mut bytes, at).map_err(|e| MsError::io(format!("read column {}", self.name), e))?;
            let rows = (first.max(start) - start) as usize..(end.min(bucket.end) - start) as usize;
            let copied = match self.place {
                Place::Incremental(column) => self.expand(&bytes, column, rows, out),
                Place::Standard(offset) => self.copy(&bytes, offset, rows, out),
            };
            copied.ok_or_else(|| MsError::Damaged(format!("a bucket of column {}", self.name)))?;
            i += 1;
        }
        if out.len() - begin != n_rows * self.cell.memory_bytes() {
            let rows = self.buckets.last().map_or(0, |b| b.end);
            return Err(MsError::Rows { column: self.name.clone(), first, last: end.saturating_sub(1), rows });
        }
        if self.big_endian {
            let word = if self.cell == CellType::Complex || self.cell == CellType::DComplex { 2 } else { 1 };
            out[begin..].chunks_exact_mut(self.cell.memory_bytes() / word).for_each(<[u8]>::reverse);
        }
        Ok(())
    }

    /// Calls `each` with the number of rows and the bytes (little-endian) of every run of equal values that an incremental
    /// manager keeps as one; false for columns that are kept in another way.
    pub fn each_run(&self, mut each: impl FnMut(u64, &[u8])) -> Result<bool, MsError> {
        let Place::Incremental(column) = self.place else { return Ok(false) };
        let mut bytes = vec![0; self.bucket_bytes];
        let mut start = 0;
        for bucket in &self.buckets {
            let at = HEADER + u64::from(bucket.number) * self.bucket_bytes as u64;
            self.file.read_exact_at(&mut bytes, at).map_err(|e| MsError::io(format!("read column {}", self.name), e))?;
            let mut in_order = [0; 16];
            let run = self.runs(&bytes, column, 0..bucket.end.saturating_sub(start) as usize, |n, value| {
                let own = &mut in_order[..value.len()];
                own.copy_from_slice(value);
                if self.big_endian {
                    own.reverse();
                }
                each(n as u64, own);
            });
            run.ok_or_else(|| MsError::Damaged(format!("a bucket of column {}", self.name)))?;
            start = bucket.end;
        }
        Ok(true)
    }

    /// Repeats each value of an incremental bucket until the row of the next one.
    fn expand(&self, bytes: &[u8], column: usize, rows: std::ops::Range<usize>, out: &mut Vec<u8>) -> Option<()> {
        self.runs(bytes, column, rows, |n, value| (0..n).for_each(|_| out.extend_from_slice(value)))
    }

    /// Calls `each` with the number of rows and the stored bytes of every value of an incremental bucket.
    fn runs(&self, bytes: &[u8], column: usize, rows: std::ops::Range<usize>, mut each: impl FnMut(usize, &[u8])) -> Option<()> {
        let u32_at = |at: usize| {
            let b: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
            Some(if self.big_endian { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) } as usize)
        };
        let head = u32_at(0)?;
        // The highest bits of the offset tell that row numbers take 64 bits.
        let row_bytes = if head & 0xF000_0000 != 0 { 8 } else { 4 };
        let low = if self.big_endian { row_bytes - 4 } else { 0 };
        let mut at = head & 0x0FFF_FFFF;
        for _ in 0..column {
            at += 4 + u32_at(at)? * (row_bytes + 4);
        }
        let n = u32_at(at)?;
        let (rows_at, offsets_at) = (at + 4, at + 4 + n * row_bytes);
        let width = self.cell.memory_bytes();
        for i in 0..n {
            let from = u32_at(rows_at + i * row_bytes + low)?;
            let to = if i + 1 < n { u32_at(rows_at + (i + 1) * row_bytes + low)? } else { rows.end };
            let (from, to) = (from.max(rows.start), to.min(rows.end));
            if from < to {
                let value_at = 4 + u32_at(offsets_at + 4 * i)?;
                each(to - from, bytes.get(value_at..value_at + width)?);
            }
        }
        Some(())
    }

    fn copy(&self, bytes: &[u8], offset: usize, rows: std::ops::Range<usize>, out: &mut Vec<u8>) -> Option<()> {
        if self.cell == CellType::Bool {
            let bits = bytes.get(offset..offset + rows.end.div_ceil(8))?;
            out.extend(rows.map(|r| bits[r / 8] >> (r % 8) & 1));
        } else {
            let width = self.cell.memory_bytes();
            out.extend_from_slice(bytes.get(offset + rows.start * width..offset + rows.end * width)?);
        }
        Some(())
    }
}

type Opened = (File, usize, Vec<Bucket>, Place);

fn open(table: &TableFiles, manager: &Manager) -> Result<(File, u64), MsError> {
    let failed = |e| MsError::io(format!("read table.f{}", manager.number), e);
    let file = File::open(table.manager_file(manager.number)).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    Ok((file, length))
}

fn read_at(file: &File, at: u64, n: u64, length: u64) -> Result<Vec<u8>, MsError> {
    if at + n > length {
        return Err(MsError::Truncated { what: "a storage manager", expected: at + n, found: length });
    }
    let mut bytes = vec![0; n as usize];
    file.read_exact_at(&mut bytes, at).map_err(|e| MsError::io("read a storage manager", e))?;
    Ok(bytes)
}

fn incremental(table: &TableFiles, manager: &Manager, column: usize) -> Result<Opened, MsError> {
    let (file, length) = open(table, manager)?;
    let header = read_at(&file, 0, HEADER, length)?;
    let io = &mut AipsIo::in_order(&header, table.big_endian);
    if io.start("IncrementalStMan")? >= 5 {
        io.bool()?;
    }
    let (bucket_bytes, n) = (io.u32()?, io.u32()?);
    let index_at = HEADER + u64::from(bucket_bytes) * u64::from(n);
    let index = read_at(&file, index_at, length.saturating_sub(index_at), length)?;
    let io = &mut AipsIo::in_order(&index, table.big_endian);
    let wide = io.start("ISMIndex")? > 1;
    let used = io.u32()? as usize;
    let (rows, numbers) = (io.block(wide)?, io.block(false)?);
    if rows.len() < used + 1 || numbers.len() < used {
        return Err(MsError::Damaged(format!("index of table.f{} has {} of {used} entries", manager.number, numbers.len())));
    }
    let buckets = (0..used).map(|i| Bucket { end: rows[i + 1], number: numbers[i] as u32 }).collect();
    Ok((file, bucket_bytes as usize, buckets, Place::Incremental(column)))
}

fn standard(table: &TableFiles, manager: &Manager, column: usize) -> Result<Opened, MsError> {
    let (file, length) = open(table, manager)?;
    let header = read_at(&file, 0, HEADER, length)?;
    let io = &mut AipsIo::in_order(&header, table.big_endian);
    let version = io.start("StandardStMan")?;
    if version >= 3 {
        io.bool()?;
    }
    let bucket_bytes = io.u32()?;
    for _ in 0..4 {
        io.u32()?; // buckets, cache, free buckets, first of them
    }
    let (n_index_buckets, first) = (io.u32()?, io.i32()?);
    let offset = if version >= 2 { io.u32()? } else { 0 };
    io.u32()?; // bucket of strings
    let (index_length, n_indices) = (io.u32()?, io.u32()?);
    let chain = IndexChain { bucket_bytes, n_index_buckets, first, offset, index_length };
    let index = chain.read(&file, length)?;
    let own = &mut AipsIo::new(&manager.stored);
    own.start("SSM")?;
    own.text()?;
    let (offsets, index_of) = (own.block(false)?, own.block(false)?);
    let missing = || MsError::Damaged(format!("table.f{} has no column {column}", manager.number));
    let (offset, wanted) = offsets.get(column).zip(index_of.get(column)).ok_or_else(missing)?;
    let mut at = 0;
    for i in 0..u64::from(n_indices) {
        let bytes = index.get(at..).unwrap_or(&[]);
        let io = &mut AipsIo::in_order(bytes, table.big_endian);
        let wide = io.start("SSMIndex")? > 1;
        let used = io.u32()? as usize;
        io.u32()?; // rows of a bucket
        io.u32()?; // columns
        io.skip_object()?; // free space
        let (last_rows, numbers) = (io.block(wide)?, io.block(false)?);
        if i == *wanted {
            if last_rows.len() < used || numbers.len() < used {
                return Err(MsError::Damaged(format!("index of table.f{} has {} of {used} entries", manager.number, numbers.len())));
            }
            let buckets = (0..used).map(|i| Bucket { end: last_rows[i] + 1, number: numbers[i] as u32 }).collect();
            return Ok((file, bucket_bytes as usize, buckets, Place::Standard(*offset as usize)));
        }
        io.end();
        at += io.position();
    }
    Err(missing())
}

/// Where the index of a standard storage manager is: in buckets, each of which begins with the number of the next.
struct IndexChain {
    bucket_bytes: u32,
    n_index_buckets: u32,
    first: i32,
    /// Not zero if the index stands at this byte of a single bucket.
    offset: u32,
    index_length: u32,
}

impl IndexChain {
    const LINKS: usize = 8;

    fn read(&self, file: &File, length: u64) -> Result<Vec<u8>, MsError> {
        let mut index = Vec::new();
        let mut number = self.first;
        for _ in 0..self.n_index_buckets {
            let at = HEADER + u64::try_from(number).unwrap_or(0) * u64::from(self.bucket_bytes);
            let bucket = read_at(file, at, u64::from(self.bucket_bytes), length)?;
            let begin = if self.offset > 0 { self.offset as usize } else { Self::LINKS };
            let wanted = self.index_length as usize - index.len();
            let end = (begin + wanted).min(bucket.len());
            index.extend_from_slice(bucket.get(begin..end).unwrap_or(&[]));
            // Links are big-endian whatever the byte order of the table.
            number = bucket.get(4..8).and_then(|b| b.try_into().ok()).map_or(-1, i32::from_be_bytes);
        }
        if index.len() < self.index_length as usize {
            return Err(MsError::Truncated {
                what: "the index of a storage manager",
                expected: u64::from(self.index_length),
                found: index.len() as u64,
            });
        }
        Ok(index)
    }
}
