//! Adds HISTORY to a file that is there.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::FitsError;
use super::header::format_lines;
use super::write::{end_header, place};
use crate::error::{Error, Result};

const BLOCK: usize = 2880;
const RECORD: usize = 80;

/// Adds a line to the HISTORY of the primary header: in place where its last block has room, else the file is written anew.
pub fn append_history(path: &Path, line: &str) -> Result<()> {
    let failed = |e| Error::io("add HISTORY", path, e);
    let file = File::options().read(true).write(true).open(path).map_err(failed)?;
    let (mut header, old) =
        read_header(&file).map_err(failed)?.ok_or_else(|| Error::from(FitsError::NotFits("no header".into())).at(path))?;
    format_lines("HISTORY", line).iter().for_each(|record| header.extend_from_slice(record));
    end_header(&mut header);
    if header.len() == old {
        return file.write_all_at(&header[old - BLOCK..], (old - BLOCK) as u64).map_err(failed);
    }
    write_anew(path, file, &header, old as u64).map_err(failed).and_then(|temporary| place(temporary, path, true))
}

/// The records before END, and the bytes of the whole header.
fn read_header(file: &File) -> std::io::Result<Option<(Vec<u8>, usize)>> {
    let mut reader = BufReader::new(file);
    let (mut bytes, mut block) = (Vec::new(), [0; BLOCK]);
    loop {
        match reader.read_exact(&mut block) {
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let end = block.chunks_exact(RECORD).position(|record| record.starts_with(b"END     "));
        bytes.extend_from_slice(&block[..end.map_or(BLOCK, |n| n * RECORD)]);
        match end {
            Some(n) => return Ok(Some((bytes.clone(), bytes.len() - n * RECORD + BLOCK))),
            None if !bytes.starts_with(b"SIMPLE  =") => return Ok(None),
            None => {}
        }
    }
}

fn write_anew(path: &Path, mut file: File, header: &[u8], from: u64) -> std::io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(header)?;
    file.seek(SeekFrom::Start(from))?;
    std::io::copy(&mut file, &mut temporary)?;
    Ok(temporary)
}

#[cfg(test)]
mod tests {
    use super::super::FitsFiles;
    use super::*;
    use crate::notice::Quiet;
    use crate::run::{Looking, Memo, Registry};

    #[test]
    fn lines_are_added_in_place_and_beyond_a_block_and_change_no_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.fits");
        std::fs::write(&path, tiny()).unwrap();
        let registry = Registry::default().with(FitsFiles);
        let hash = || registry.state(&path, &Memo::in_memory(), Looking::default(), &Quiet::default()).unwrap().hash;
        let (before, size) = (hash(), std::fs::metadata(&path).unwrap().len());
        for i in 0..60 {
            append_history(&path, &format!("run {i}")).unwrap();
            assert_eq!(hash(), before);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), size + BLOCK as u64);
        let header = super::super::read_header(&path, None).unwrap();
        assert_eq!((header.history.len(), header.history[59].as_str()), (60, "run 59"));
        let pixels = std::fs::read(&path).unwrap();
        assert_eq!(&pixels[pixels.len() - BLOCK..], &tiny()[BLOCK..]);
        std::fs::write(&path, "no fits").unwrap();
        assert!(append_history(&path, "x").is_err());
    }

    fn tiny() -> Vec<u8> {
        let mut header = Vec::new();
        for text in [
            "SIMPLE  =                    T",
            "BITPIX  =                    8",
            "NAXIS   =                    2",
            "NAXIS1  =                    2",
            "NAXIS2  =                    2",
        ] {
            header.extend_from_slice(format!("{text:<80}").as_bytes());
        }
        end_header(&mut header);
        header.extend_from_slice(b"abcd");
        header.resize(2 * BLOCK, 0);
        header
    }
}
