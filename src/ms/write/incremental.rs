//! The incremental storage manager, written: a value is stored only in the rows where it changes.
//!
//! File: 512 bytes of header, buckets of fixed size, index. Bucket: offset of its index (u32), values, and for each
//! column the number of values, their rows (from the start of the bucket) and their offsets. A bucket starts with a
//! value of every column.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::stream::Stream;
use crate::error::{Error, Result};

const BUCKET: usize = 32_768;

/// Calls `changed` with the rows whose value differs from that before: for widths known to the compiler, one comparison
/// of a number each.
fn changed_rows<const W: usize>(bytes: &[u8], last: &[u8], changed: &mut impl FnMut(usize)) {
    let (values, _) = bytes.as_chunks::<W>();
    let mut before: Option<[u8; W]> = last.try_into().ok();
    for (i, value) in values.iter().enumerate() {
        if before != Some(*value) {
            changed(i);
            before = Some(*value);
        }
    }
}
const HEADER: u64 = 512;

/// Writes columns of fixed width row by row.
pub struct IncrementalWriter {
    path: PathBuf,
    file: BufWriter<File>,
    widths: Vec<usize>,
    last: Vec<Vec<u8>>,
    bucket: Bucket,
    starts: Vec<u64>,
    n_rows: u64,
}

#[derive(Default)]
struct Bucket {
    start: u64,
    values: Vec<u8>,
    index: Vec<Vec<(u32, u32)>>,
    entries: usize,
}

impl Bucket {
    // 12 bytes an entry although 8 are written: casacore reserves room for 64-bit row numbers when it edits a bucket.
    fn size_with(&self, bytes: usize, entries: usize) -> usize {
        4 + self.values.len() + bytes + 4 * self.index.len() + 12 * (self.entries + entries)
    }

    fn put(&mut self, column: usize, row: u64, value: &[u8]) {
        self.index[column].push(((row - self.start) as u32, self.values.len() as u32));
        self.values.extend(value);
        self.entries += 1;
    }
}

impl IncrementalWriter {
    /// A new file for columns of the given widths in bytes.
    pub fn new(path: &Path, widths: &[usize]) -> Result<IncrementalWriter> {
        let file = File::create(path).map_err(|e| Error::io("create a table file", path, e))?;
        let mut file = BufWriter::with_capacity(1 << 18, file);
        file.write_all(&[0; HEADER as usize]).map_err(|e| Error::io("write a table file", path, e))?;
        let last = widths.iter().map(|_| Vec::new()).collect();
        let bucket = Bucket { index: vec![Vec::new(); widths.len()], ..Bucket::default() };
        Ok(IncrementalWriter { path: path.to_path_buf(), file, widths: widths.to_vec(), last, bucket, starts: Vec::new(), n_rows: 0 })
    }

    /// Appends rows: little-endian bytes of each column, all of the same number of rows.
    pub fn append(&mut self, n_rows: usize, columns: &[&[u8]]) -> Result<()> {
        let mut changes: Vec<(u64, usize)> = Vec::new();
        for (c, bytes) in columns.iter().enumerate() {
            let mut changed = |i: usize| changes.push((self.n_rows + i as u64, c));
            match self.widths[c] {
                4 => changed_rows::<4>(bytes, &self.last[c], &mut changed),
                8 => changed_rows::<8>(bytes, &self.last[c], &mut changed),
                width => {
                    let mut last = self.last[c].as_slice();
                    for (i, value) in bytes.chunks_exact(width).enumerate().filter(|(_, value)| !value.is_empty()) {
                        if value != last {
                            changed(i);
                            last = value;
                        }
                    }
                }
            }
        }
        changes.sort_unstable();
        for of_row in changes.chunk_by(|a, b| a.0 == b.0) {
            self.put_row(of_row, columns)?;
        }
        self.n_rows += n_rows as u64;
        Ok(())
    }

    fn put_row(&mut self, changes: &[(u64, usize)], columns: &[&[u8]]) -> Result<()> {
        let row = changes[0].0;
        let at = (row - self.n_rows) as usize;
        for (_, c) in changes {
            self.last[*c] = columns[*c][at * self.widths[*c]..(at + 1) * self.widths[*c]].to_vec();
        }
        let bytes: usize = changes.iter().map(|(_, c)| self.widths[*c]).sum();
        if self.starts.is_empty() {
            self.starts.push(row);
        } else if self.bucket.size_with(bytes, changes.len()) > BUCKET {
            self.close_bucket()?;
            self.starts.push(row);
            self.bucket.start = row;
            for c in 0..self.widths.len() {
                self.bucket.put(c, row, &self.last[c]);
            }
            return Ok(());
        }
        for (_, c) in changes {
            self.bucket.put(*c, row, &self.last[*c]);
        }
        Ok(())
    }

    fn close_bucket(&mut self) -> Result<()> {
        let bucket = &mut self.bucket;
        let mut bytes = Vec::with_capacity(BUCKET);
        bytes.extend((4 + bucket.values.len() as u32).to_le_bytes());
        bytes.append(&mut bucket.values);
        for index in &mut bucket.index {
            bytes.extend((index.len() as u32).to_le_bytes());
            index.iter().for_each(|(row, _)| bytes.extend(row.to_le_bytes()));
            index.iter().for_each(|(_, offset)| bytes.extend(offset.to_le_bytes()));
            index.clear();
        }
        bucket.entries = 0;
        bytes.resize(BUCKET, 0);
        self.file.write_all(&bytes).map_err(|e| Error::io("write a table file", &self.path, e))
    }

    /// Writes the index and the header; the file is then complete.
    pub fn finish(mut self) -> Result<()> {
        // A table without rows still has one bucket, of zeros.
        if self.starts.is_empty() {
            self.starts.push(0);
            for (c, width) in self.widths.iter().enumerate() {
                self.bucket.put(c, 0, &vec![0; *width]);
            }
        }
        self.close_bucket()?;
        let n = self.starts.len() as u32;
        let mut index = Stream::little_endian();
        index.object("ISMIndex", 1, |s| {
            s.u32(n);
            let rows: Vec<u32> = self.starts.iter().chain([&self.n_rows]).map(|r| *r as u32).collect();
            s.block(&rows);
            s.block(&(0..n).collect::<Vec<_>>());
        });
        let mut header = Stream::little_endian();
        header.object("IncrementalStMan", 5, |s| {
            s.bool(false); // big endian
            s.u32(BUCKET as u32);
            s.u32(n);
            s.u32(1); // buckets in casacore's cache
            s.u32(0); // unique number
            s.u32(0); // free buckets
            s.i32(-1); // first of them
        });
        let path = self.path;
        let write = || {
            self.file.write_all(&index.into_bytes())?;
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(&header.into_bytes())?;
            self.file.flush()
        };
        write().map_err(|e| Error::io("write a table file", &path, e))
    }

    /// What table.dat keeps of the manager.
    pub fn description(name: &str) -> Vec<u8> {
        let mut s = Stream::big_endian();
        s.object("ISM", 3, |s| s.text(name));
        s.into_bytes()
    }
}
