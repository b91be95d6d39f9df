//! Content hashes: BLAKE3 over every byte, so that `b3sum` on the command line gives the same number.

use std::fmt;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use crate::notice::Reporter;

/// Bytes read at a time; 1 MiB keeps all SIMD lanes of BLAKE3 busy and the buffer in cache.
pub const READ_BYTES: usize = 1 << 20;

/// Reads at a time of a large file; together they stay in a cache of the third level.
const PARALLEL_READS: usize = 8;
/// From this size on a file is hashed on all threads.
pub const LARGE_FILE: u64 = 16 << 20;

/// A BLAKE3 hash of 32 bytes, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash([u8; 32]);

impl Hash {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Hash {
        Hash(*blake3::hash(bytes).as_bytes())
    }
    /// The raw bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// From raw bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Hash {
        Hash(bytes)
    }
    /// From 64 hexadecimal digits.
    pub fn from_hex(hex: &str) -> Option<Hash> {
        let digits = hex.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut out = [0; 32];
        for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
            let high = (pair[0] as char).to_digit(16)?;
            let low = (pair[1] as char).to_digit(16)?;
            *byte = (high * 16 + low) as u8;
        }
        Some(Hash(out))
    }
    /// The first 12 digits, as people read and compare them.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_string()
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl serde::Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Hash, D::Error> {
        let hex = String::deserialize(d)?;
        Hash::from_hex(&hex).ok_or_else(|| serde::de::Error::custom(format!("`{hex}` is not a hash of 64 hexadecimal digits")))
    }
}

/// A hash under construction.
#[derive(Default)]
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// An empty one.
    pub fn new() -> Hasher {
        Hasher::default()
    }
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    /// Adds bytes, on all threads.
    fn update_parallel(&mut self, bytes: &[u8]) {
        self.0.update_rayon(bytes);
    }
    /// The hash of all bytes so far.
    pub fn finish(&self) -> Hash {
        Hash(*self.0.finalize().as_bytes())
    }
}

/// Reads `file` to its end in blocks of 1 MiB; `notice` can stop it between two blocks.
pub fn feed(file: &mut std::fs::File, path: &Path, notice: &dyn Reporter, mut take: impl FnMut(&[u8])) -> Result<u64> {
    let mut buffer = vec![0; READ_BYTES];
    let mut total = 0;
    loop {
        notice.check()?;
        let n = fill(file, &mut buffer).map_err(|e| Error::io("read", path, e))?;
        if n == 0 {
            return Ok(total);
        }
        take(&buffer[..n]);
        total += n as u64;
    }
}

/// Adds `size` bytes of a large file to `hasher`, read and hashed on all threads; the hash is that of [`feed`].
///
/// A file that turns out shorter is an error: it is being written.
pub fn feed_parallel(file: &std::fs::File, size: u64, path: &Path, notice: &dyn Reporter, hasher: &mut Hasher) -> Result<()> {
    use rayon::prelude::*;
    use std::os::unix::fs::FileExt;
    let mut buffer = vec![0; PARALLEL_READS * READ_BYTES];
    let mut at = 0;
    while at < size {
        notice.check()?;
        let n = (size - at).min(buffer.len() as u64) as usize;
        let part = &mut buffer[..n];
        let read = |(i, piece): (usize, &mut [u8])| file.read_exact_at(piece, at + (i * READ_BYTES) as u64);
        part.par_chunks_mut(READ_BYTES).enumerate().try_for_each(read).map_err(|e| Error::io("read", path, e))?;
        hasher.update_parallel(part);
        at += n as u64;
    }
    Ok(())
}

fn fill(file: &mut std::fs::File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match file.read(&mut buffer[n..]) {
            Ok(0) => break,
            Ok(k) => n += k,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

/// The hash of a file's bytes, without any memo.
pub fn hash_file(path: &Path, notice: &dyn Reporter) -> Result<Hash> {
    let mut file = std::fs::File::open(path).map_err(|e| Error::io("read", path, e))?;
    let mut hasher = Hasher::new();
    feed(&mut file, path, notice, |bytes| hasher.update(bytes))?;
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notice::Quiet;

    /// The empty input and "abc" of the BLAKE3 test vectors.
    #[test]
    fn hashes_are_plain_blake3() {
        assert_eq!(Hash::of(b"").to_string(), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
        assert_eq!(Hash::of(b"abc").to_string(), "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
    }

    #[test]
    fn a_file_hashes_as_its_bytes_whatever_its_size() {
        let dir = tempfile::tempdir().unwrap();
        for size in [0, 1, 1023, READ_BYTES - 1, READ_BYTES, READ_BYTES + 1, 3 * READ_BYTES + 17] {
            let bytes: Vec<u8> = (0..size).map(|i| (i * 7 + i / 251) as u8).collect();
            let path = dir.path().join("x");
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(hash_file(&path, &Quiet::default()).unwrap(), Hash::of(&bytes));
        }
    }

    #[test]
    fn a_large_file_hashes_the_same_on_all_threads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        for size in [1, READ_BYTES, 8 * READ_BYTES + 3, 17 * READ_BYTES + 4097] {
            let bytes: Vec<u8> = (0..size).map(|i| (i * 13 + i / 253) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            let (file, mut hasher) = (std::fs::File::open(&path).unwrap(), Hasher::new());
            feed_parallel(&file, size as u64, &path, &Quiet::default(), &mut hasher).unwrap();
            assert_eq!(hasher.finish(), Hash::of(&bytes));
            assert!(feed_parallel(&file, size as u64 + 1, &path, &Quiet::default(), &mut Hasher::new()).is_err(), "shorter than said");
        }
    }

    #[test]
    fn hexadecimal_goes_there_and_back() {
        let h = Hash::of(b"x");
        assert_eq!(Hash::from_hex(&h.to_string()), Some(h));
        assert_eq!(Hash::from_hex("zz"), None);
        assert_eq!(Hash::from_hex(&"g".repeat(64)), None);
    }
}
