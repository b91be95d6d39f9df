//! What counts as the content of a FITS file when a step is keyed: every header and every data unit, a part each.
//!
//! Outside are HISTORY, DATE, CHECKSUM and DATASUM, which say when and by whom a file was written. A HISTORY card that may
//! carry a beam stays inside, because reading an image takes the beam from it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::run::{Content, Part, Source};

const BLOCK: usize = 2880;
const CARD: usize = 80;
/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// FITS files, uncompressed.
#[derive(Debug, Default)]
pub struct FitsFiles;

impl Content for FitsFiles {
    fn kind(&self) -> &'static str {
        "fits"
    }

    fn recognises(&self, path: &Path) -> bool {
        let mut start = [0; 10];
        path.is_file() && File::open(path).and_then(|mut f| f.read_exact(&mut start)).is_ok() && &start == b"SIMPLE  = "
    }

    fn parts(&self, path: &Path) -> Result<Vec<Part>> {
        let Some(units) = units(path)? else {
            // not as the standard has it: all its bytes, then
            return Ok(vec![Part::new("file", Source::File(path.to_path_buf()))]);
        };
        let mut parts = Vec::new();
        for i in 0..units.len() {
            parts.push(part(path, format!("HDU {i} header"), move |file, units, take| header(file, units.get(i), take)));
            parts.push(part(path, format!("HDU {i} data"), move |file, units, take| match units.get(i) {
                Some(unit) => feed(file, unit.data, unit.end, take),
                None => Ok(()),
            }));
        }
        let end = units.last().map_or(0, |u| u.end);
        if std::fs::metadata(path).map_err(|e| Error::io("look at", path, e))?.len() > end {
            let after = move |file: &mut File, units: &[Unit], take: &mut dyn FnMut(&[u8])| {
                feed(file, units.last().map_or(0, |u| u.end), u64::MAX, take)
            };
            parts.push(part(path, "after the last HDU".into(), after));
        }
        Ok(parts)
    }
}

/// A part that finds its place anew when it is read, so that it always belongs to the file whose stamp guards it.
fn part(
    path: &Path,
    name: String,
    read: impl Fn(&mut File, &[Unit], &mut dyn FnMut(&[u8])) -> std::io::Result<()> + Send + Sync + 'static,
) -> Part {
    let file: PathBuf = path.to_path_buf();
    let source = Source::Reading {
        file: file.clone(),
        tag: format!("1 {name}"),
        read: Arc::new(move |take| {
            let units = units(&file)?.unwrap_or_default();
            let mut open = File::open(&file).map_err(|e| Error::io("read", &file, e))?;
            read(&mut open, &units, take).map_err(|e| Error::io("read", &file, e))
        }),
    };
    Part::new(name, source)
}

/// Where a header and its data lie, in bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Unit {
    header: u64,
    data: u64,
    /// End of the data with their padding.
    end: u64,
}

/// The units of a file; `None` where its headers do not follow the standard (FITS 4.0, sections 3 and 4).
fn units(path: &Path) -> Result<Option<Vec<Unit>>> {
    let mut file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let length = file.metadata().map_err(|e| Error::io("look at", path, e))?.len();
    let (mut units, mut at) = (Vec::new(), 0);
    while at + BLOCK as u64 <= length {
        let Some((data, size)) = header_end(&mut file, at, length).map_err(|e| Error::io("read", path, e))? else {
            // special records or garbage may follow the last unit
            return Ok((!units.is_empty()).then_some(units));
        };
        let end = data.saturating_add(size.div_ceil(BLOCK as u64) * BLOCK as u64);
        units.push(Unit { header: at, data, end: end.min(length) });
        at = end;
    }
    Ok((!units.is_empty()).then_some(units))
}

/// End of the header at `at`, and size of the data that it announces.
fn header_end(file: &mut File, at: u64, length: u64) -> std::io::Result<Option<(u64, u64)>> {
    let mut size = Sizes::default();
    let (mut block, mut next) = ([0; BLOCK], at);
    file.seek(SeekFrom::Start(at))?;
    while next + BLOCK as u64 <= length {
        file.read_exact(&mut block)?;
        if next == at && !(block.starts_with(b"SIMPLE  =") || block.starts_with(b"XTENSION=")) {
            return Ok(None);
        }
        next += BLOCK as u64;
        for card in block.chunks_exact(CARD) {
            if card.starts_with(b"END     ") {
                return Ok(size.bytes().map(|bytes| (next, bytes)));
            }
            size.take(card);
        }
    }
    Ok(None)
}

/// The cards that give the size of the data.
#[derive(Debug, Default)]
struct Sizes {
    bitpix: i64,
    axes: Vec<u64>,
    pcount: u64,
    gcount: Option<u64>,
    groups: bool,
}

impl Sizes {
    fn take(&mut self, card: &[u8]) {
        let text = String::from_utf8_lossy(card);
        let Some((key, rest)) = text.split_once('=') else { return };
        let value = rest.split('/').next().unwrap_or("").trim();
        let number = value.parse::<i64>().unwrap_or(0);
        match key.trim() {
            "BITPIX" => self.bitpix = number,
            "PCOUNT" => self.pcount = number.max(0) as u64,
            "GCOUNT" => self.gcount = Some(number.max(0) as u64),
            "GROUPS" => self.groups = value == "T",
            "NAXIS" => self.axes = vec![0; number.clamp(0, 999) as usize],
            key => {
                let i = key.strip_prefix("NAXIS").and_then(|n| n.parse::<usize>().ok());
                if let Some(slot) = i.and_then(|i| self.axes.get_mut(i.wrapping_sub(1))) {
                    *slot = number.max(0) as u64;
                }
            }
        }
    }

    /// |BITPIX|/8 x GCOUNT x (PCOUNT + product of the axes); random groups have a first axis of 0 that does not count.
    fn bytes(&self) -> Option<u64> {
        let skip = usize::from(self.groups && self.axes.first() == Some(&0));
        if self.axes.len() <= skip {
            return Some(0);
        }
        let n = self.axes[skip..].iter().try_fold(1u64, |n, axis| n.checked_mul(*axis))?;
        n.checked_add(self.pcount)?.checked_mul(self.gcount.unwrap_or(1))?.checked_mul(self.bitpix.unsigned_abs() / 8)
    }
}

/// The cards of a header that count.
fn header(file: &mut File, unit: Option<&Unit>, take: &mut dyn FnMut(&[u8])) -> std::io::Result<()> {
    let Some(unit) = unit else { return Ok(()) };
    let mut bytes = vec![0; (unit.data - unit.header) as usize];
    file.seek(SeekFrom::Start(unit.header))?;
    file.read_exact(&mut bytes)?;
    bytes.chunks_exact(CARD).filter(|card| counts(card)).for_each(take);
    Ok(())
}

fn counts(card: &[u8]) -> bool {
    let text = String::from_utf8_lossy(card);
    match text.get(..8).map(str::trim_end) {
        Some("DATE" | "CHECKSUM" | "DATASUM") => false,
        Some("HISTORY") => text.contains("BMAJ") || text.contains("restoration:"),
        // padding after END: a longer history must not change the hash
        Some("") => !text.trim().is_empty(),
        _ => true,
    }
}

fn feed(file: &mut File, from: u64, to: u64, take: &mut dyn FnMut(&[u8])) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(from))?;
    let mut rest = file.take(to.saturating_sub(from));
    let mut buffer = vec![0; CHUNK];
    loop {
        match rest.read(&mut buffer)? {
            0 => return Ok(()),
            n => take(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notice::Quiet;
    use crate::run::{Looking, Memo, Registry, State};

    fn file(cards: &[&str], data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        cards.iter().chain(&["END"]).for_each(|c| out.extend(format!("{c:<80}").bytes()));
        out.resize(out.len().next_multiple_of(BLOCK), b' ');
        out.extend(data);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
        out
    }

    const HEAD: [&str; 5] = [
        "SIMPLE  =                    T",
        "BITPIX  =                  -32",
        "NAXIS   =                    2",
        "NAXIS1  =                   30",
        "NAXIS2  =                   40",
    ];

    fn state(bytes: &[u8]) -> State {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.fits");
        std::fs::write(&path, bytes).unwrap();
        let registry = Registry::default().with(FitsFiles);
        registry.state(&path, &Memo::in_memory(), Looking::default(), &Quiet::default()).unwrap()
    }

    fn with(more: &[&str], data: &[u8]) -> State {
        state(&file(&[&HEAD[..], more].concat(), data))
    }

    #[test]
    fn history_and_date_are_outside_and_everything_else_inside() {
        let data = [1; 4800];
        let plain = with(&[], &data);
        assert_eq!(plain.kind, "fits");
        let many: Vec<String> = (0..40).map(|i| format!("HISTORY phangs-script run {i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).chain(["DATE    = '2026-02-14'", "CHECKSUM= 'abc'"]).collect();
        assert_eq!(plain.hash, with(&many, &data).hash, "also where the header grows by a block");
        let unit = with(&["BUNIT   = 'Jy/beam'"], &data);
        assert_eq!(plain.differing(&unit, &[]), ["HDU 0 header"]);
        let mut other = data;
        other[4799] = 2;
        assert_eq!(plain.differing(&with(&[], &other), &[]), ["HDU 0 data"]);
        let beam = with(&["HISTORY AIPS   CLEAN BMAJ=  2.3611E-03 BMIN=  1.1111E-03 BPA=   0.00"], &data);
        assert_ne!(plain.hash, beam.hash, "a beam in the history is read, so it counts");
        assert_ne!(plain.hash, with(&["DATE-OBS= '2017-12-26'"], &data).hash);
    }

    #[test]
    fn extensions_and_what_follows_are_parts() {
        let mut bytes = file(&HEAD, &[1; 4800]);
        let table = [
            "XTENSION= 'BINTABLE'",
            "BITPIX  =                    8",
            "NAXIS   =                    2",
            "NAXIS1  =                   16",
            "NAXIS2  =                    3",
            "PCOUNT  =                   10",
            "GCOUNT  =                    1",
        ];
        bytes.extend(file(&table, &[7; 58]));
        let names: Vec<String> = state(&bytes).parts.into_keys().collect();
        assert_eq!(names, ["HDU 0 data", "HDU 0 header", "HDU 1 data", "HDU 1 header"]);
        bytes.extend(b"special records");
        assert!(state(&bytes).parts.contains_key("after the last HDU"));
    }

    #[test]
    fn random_groups_have_their_data_counted() {
        let groups = [
            "SIMPLE  =                    T",
            "BITPIX  =                  -32",
            "NAXIS   =                    3",
            "NAXIS1  =                    0",
            "NAXIS2  =                    3",
            "NAXIS3  =                    4",
            "GROUPS  =                    T",
            "PCOUNT  =                    6",
            "GCOUNT  =                  100",
        ];
        let data = vec![3; 4 * 100 * (6 + 12)];
        let s = state(&file(&groups, &data));
        assert_eq!(s.parts["HDU 0 data"].size, 7200u64.next_multiple_of(BLOCK as u64));
        assert!(!s.parts.contains_key("after the last HDU"));
    }

    #[test]
    fn what_is_cut_short_or_no_fits_still_has_a_hash() {
        let whole = file(&HEAD, &[1; 4800]);
        for cut in [10, 100, BLOCK, BLOCK + 1000] {
            assert_ne!(state(&whole[..cut]).hash, state(&whole).hash);
        }
        assert_eq!(state(b"SIMPLE  = but then nothing of the kind").parts.len(), 1);
    }
}
