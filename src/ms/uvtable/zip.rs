//! Files of numpy's `.npz`: a zip archive whose members, arrays in `.npy` format, are stored as they are.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};

/// Writes an archive of arrays that were collected in files.
pub struct NpzFile {
    out: BufWriter<File>,
    members: Vec<Member>,
    at: u64,
}

struct Member {
    name: String,
    crc: u32,
    bytes: u32,
    at: u32,
}

/// Most bytes that one array, or the archive, may take without the extensions for larger ones.
pub const LIMIT: u64 = u32::MAX as u64;

impl NpzFile {
    /// An archive in the empty file `out`.
    pub fn new(out: File) -> NpzFile {
        NpzFile { out: BufWriter::with_capacity(1 << 20, out), members: Vec::new(), at: 0 }
    }

    /// Adds the array `name` of numpy's type `kind` (`<f8`, `<c16`), whose values are in `values` from its beginning.
    pub fn add(&mut self, name: &str, kind: &str, shape: &[u64], values: &mut File) -> io::Result<()> {
        let header = npy_header(kind, shape);
        values.flush()?;
        values.seek(SeekFrom::Start(0))?;
        let bytes = header.len() as u64 + values.metadata()?.len();
        let file_name = format!("{name}.npy");
        let at = self.at;
        // The checksum stands before the data: it is written in a second visit.
        let local = local_header(&file_name, 0, bytes as u32);
        self.write(&local)?;
        let mut crc = Crc::new();
        crc.add(&header);
        self.write(&header)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let n = values.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            crc.add(&buffer[..n]);
            self.write(&buffer[..n])?;
        }
        let crc = crc.value();
        self.out.seek(SeekFrom::Start(at))?;
        self.out.write_all(&local_header(&file_name, crc, bytes as u32))?;
        self.out.seek(SeekFrom::Start(self.at))?;
        self.members.push(Member { name: file_name, crc, bytes: bytes as u32, at: at as u32 });
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        if self.at > LIMIT {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the archive would take more than 4 GiB"));
        }
        self.out.write_all(bytes)
    }

    /// Writes the directory; the archive is then complete and on the disk.
    pub fn finish(mut self) -> io::Result<()> {
        let begin = self.at;
        let mut directory = Vec::new();
        for m in &self.members {
            directory.extend(b"PK\x01\x02\x14\x00");
            directory.extend(common(&m.name, m.crc, m.bytes));
            directory.extend([0; 10]); // comment, disk, attributes
            directory.extend(m.at.to_le_bytes());
            directory.extend(m.name.as_bytes());
        }
        let n = self.members.len() as u16;
        let mut end = b"PK\x05\x06\x00\x00\x00\x00".to_vec();
        end.extend(n.to_le_bytes());
        end.extend(n.to_le_bytes());
        end.extend((directory.len() as u32).to_le_bytes());
        end.extend((begin as u32).to_le_bytes());
        end.extend([0; 2]);
        self.write(&directory)?;
        self.write(&end)?;
        self.out.flush()?;
        self.out.get_ref().sync_all()
    }
}

/// What local headers and the directory have in common: version, method (stored), date, checksum, sizes, name length.
fn common(name: &str, crc: u32, bytes: u32) -> Vec<u8> {
    let mut out = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0]; // version 2.0, no flags, stored, 1980-01-01
    out.extend(crc.to_le_bytes());
    out.extend(bytes.to_le_bytes());
    out.extend(bytes.to_le_bytes());
    out.extend((name.len() as u16).to_le_bytes());
    out.extend([0; 2]); // no extra field
    out
}

fn local_header(name: &str, crc: u32, bytes: u32) -> Vec<u8> {
    let mut out = b"PK\x03\x04".to_vec();
    out.extend(common(name, crc, bytes));
    out.extend(name.as_bytes());
    out
}

/// Header of numpy's array file, version 1.0, filled to a multiple of 64 bytes.
fn npy_header(kind: &str, shape: &[u64]) -> Vec<u8> {
    let axes: Vec<String> = shape.iter().map(|n| format!("{n},")).collect();
    let mut text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({}), }}", axes.join(" "));
    while (10 + text.len() + 1) % 64 != 0 {
        text.push(' ');
    }
    text.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((text.len() as u16).to_le_bytes());
    out.extend(text.bytes());
    out
}

/// The checksum of zip: CRC-32 with the reflected polynomial EDB88320.
struct Crc {
    table: [u32; 256],
    state: u32,
}

impl Crc {
    fn new() -> Crc {
        let entry = |i: usize| (0..8).fold(i as u32, |c, _| if c & 1 == 1 { 0xEDB8_8320 ^ (c >> 1) } else { c >> 1 });
        Crc { table: std::array::from_fn(entry), state: u32::MAX }
    }
    fn add(&mut self, bytes: &[u8]) {
        self.state = bytes.iter().fold(self.state, |s, b| self.table[((s ^ u32::from(*b)) & 0xFF) as usize] ^ (s >> 8));
    }
    fn value(&self) -> u32 {
        !self.state
    }
}
