//! The standard storage manager, written for scalars of fixed width.
//!
//! File: 512 bytes of header, buckets. A bucket holds a fixed number of rows, column after column; truth values are
//! bits. The index fills buckets of its own at the end, chained by the numbers of the next one.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::stream::Stream;
use crate::error::{Error, Result};

const BUCKET: usize = 32_768;
const HEADER: u64 = 512;

/// Width of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// One bit a row; given as one byte a row, 0 or 1.
    Bit,
    /// Bytes a row.
    Bytes(usize),
}

impl Width {
    fn bits(self) -> usize {
        match self {
            Width::Bit => 1,
            Width::Bytes(n) => 8 * n,
        }
    }
    fn given(self) -> usize {
        match self {
            Width::Bit => 1,
            Width::Bytes(n) => n,
        }
    }
}

/// Writes columns of fixed width row by row.
pub struct StandardWriter {
    path: PathBuf,
    file: BufWriter<File>,
    widths: Vec<Width>,
    offsets: Vec<usize>,
    bucket: Vec<u8>,
    rows_per_bucket: usize,
    in_bucket: usize,
    last_rows: Vec<u32>,
    n_rows: u64,
}

/// Rows of a bucket (a multiple of 8, so that bits end on a byte) and the offsets of the columns in it.
fn layout(widths: &[Width]) -> (usize, Vec<usize>) {
    let bits: usize = widths.iter().map(|w| w.bits()).sum();
    let rows = (8 * BUCKET / bits.max(1) / 8 * 8).max(8);
    let mut at = 0;
    let offsets = widths.iter().map(|w| {
        let offset = at;
        at += rows * w.bits() / 8;
        offset
    });
    (rows, offsets.collect())
}

impl StandardWriter {
    /// A new file for columns of the given widths.
    pub fn new(path: &Path, widths: &[Width]) -> Result<StandardWriter> {
        let file = File::create(path).map_err(|e| Error::io("create a table file", path, e))?;
        let mut file = BufWriter::with_capacity(1 << 18, file);
        file.write_all(&[0; HEADER as usize]).map_err(|e| Error::io("write a table file", path, e))?;
        let (rows_per_bucket, offsets) = layout(widths);
        Ok(StandardWriter {
            path: path.to_path_buf(),
            file,
            widths: widths.to_vec(),
            offsets,
            bucket: vec![0; BUCKET],
            rows_per_bucket,
            in_bucket: 0,
            last_rows: Vec::new(),
            n_rows: 0,
        })
    }

    /// Appends rows: little-endian bytes of each column, all of the same number of rows.
    pub fn append(&mut self, n_rows: usize, columns: &[&[u8]]) -> Result<()> {
        let mut done = 0;
        while done < n_rows {
            let n = (n_rows - done).min(self.rows_per_bucket - self.in_bucket);
            for (c, bytes) in columns.iter().enumerate() {
                let given = self.widths[c].given();
                self.put(c, &bytes[done * given..(done + n) * given]);
            }
            self.in_bucket += n;
            self.n_rows += n as u64;
            done += n;
            if self.in_bucket == self.rows_per_bucket {
                self.close_bucket()?;
            }
        }
        Ok(())
    }

    fn put(&mut self, column: usize, bytes: &[u8]) {
        let offset = self.offsets[column];
        match self.widths[column] {
            Width::Bytes(n) => {
                let at = offset + self.in_bucket * n;
                self.bucket[at..at + bytes.len()].copy_from_slice(bytes);
            }
            Width::Bit => {
                for (i, b) in bytes.iter().enumerate().filter(|(_, b)| **b != 0) {
                    let row = self.in_bucket + i;
                    self.bucket[offset + row / 8] |= (b & 1) << (row % 8);
                }
            }
        }
    }

    fn close_bucket(&mut self) -> Result<()> {
        self.write_bucket()?;
        self.last_rows.push((self.n_rows - 1) as u32);
        self.in_bucket = 0;
        Ok(())
    }

    fn write_bucket(&mut self) -> Result<()> {
        self.file.write_all(&self.bucket).map_err(|e| Error::io("write a table file", &self.path, e))?;
        self.bucket.fill(0);
        Ok(())
    }

    fn index(&self) -> Vec<u8> {
        let n = self.last_rows.len() as u32;
        let mut s = Stream::little_endian();
        s.object("SSMIndex", 1, |s| {
            s.u32(n);
            s.u32(self.rows_per_bucket as u32);
            s.u32(self.widths.len() as u32);
            s.object("SimpleOrderedMap", 1, |s| [0, 0, 1].into_iter().for_each(|v| s.u32(v))); // free space: none
            s.block(&self.last_rows);
            s.block(&(0..n).collect::<Vec<_>>());
        });
        s.into_bytes()
    }

    /// Writes the index and the header; the file is then complete.
    pub fn finish(mut self) -> Result<()> {
        if self.in_bucket > 0 {
            self.close_bucket()?;
        }
        let index = self.index();
        let first = self.last_rows.len() as u32;
        // Links between index buckets are big-endian and stand twice, whatever the byte order of the table.
        const LINKS: usize = 8;
        let n = index.len().div_ceil(BUCKET - LINKS) as u32;
        for (i, part) in index.chunks(BUCKET - LINKS).enumerate() {
            let next = if i as u32 + 1 < n { (first + i as u32 + 1) as i32 } else { -1 };
            self.bucket[..4].copy_from_slice(&next.to_be_bytes());
            self.bucket[4..8].copy_from_slice(&next.to_be_bytes());
            self.bucket[LINKS..LINKS + part.len()].copy_from_slice(part);
            self.write_bucket()?;
        }
        let in_half = index.len() <= (BUCKET - LINKS) / 2;
        let mut header = Stream::little_endian();
        header.object("StandardStMan", 3, |s| {
            s.bool(false); // big endian
            s.u32(BUCKET as u32);
            s.u32(first + n);
            s.u32(2); // buckets in casacore's cache
            s.u32(0); // free buckets
            s.i32(-1); // first of them
            s.u32(n);
            s.u32(first);
            s.u32(if in_half { LINKS as u32 } else { 0 });
            s.i32(-1); // bucket of strings
            s.u32(index.len() as u32);
            s.u32(1); // indices
        });
        let path = self.path;
        let write = || {
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(&header.into_bytes())?;
            self.file.flush()
        };
        write().map_err(|e| Error::io("write a table file", &path, e))
    }

    /// What table.dat keeps of the manager.
    pub fn description(name: &str, widths: &[Width]) -> Vec<u8> {
        let (_, offsets) = layout(widths);
        let mut s = Stream::big_endian();
        s.object("SSM", 2, |s| {
            s.text(name);
            s.block(&offsets.iter().map(|o| *o as u32).collect::<Vec<_>>());
            s.block(&vec![0; widths.len()]);
        });
        s.into_bytes()
    }
}
