//! The parts of FITS that UVFITS needs: headers, binary tables, and where the groups are.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use super::UvFitsError;

const BLOCK: u64 = 2880;
const CARD: usize = 80;

type Read<T> = Result<T, UvFitsError>;

/// The keywords of one header.
#[derive(Debug, Clone, Default)]
pub struct Header {
    cards: BTreeMap<String, String>,
    /// Where its data begin.
    pub data_at: u64,
}

impl Header {
    /// Reads the header that begins at `at`; `None` at the end of the file.
    pub fn read(file: &File, at: u64, length: u64) -> Read<Option<Header>> {
        let mut header = Header::default();
        let mut at = at;
        loop {
            if at + BLOCK > length {
                return if header.cards.is_empty() {
                    Ok(None)
                } else {
                    Err(UvFitsError::Truncated { expected: at + BLOCK, found: length })
                };
            }
            let mut block = [0u8; BLOCK as usize];
            file.read_exact_at(&mut block, at).map_err(|e| UvFitsError::Read(e.to_string()))?;
            at += BLOCK;
            for card in block.chunks_exact(CARD) {
                let card = String::from_utf8_lossy(card).into_owned();
                if card.starts_with("END     ") {
                    header.data_at = at;
                    return Ok(Some(header));
                }
                header.insert(&card);
                if header.cards.len() > 100_000 {
                    return Err(UvFitsError::Header("it does not end".to_string()));
                }
            }
        }
    }

    fn insert(&mut self, card: &str) {
        let (Some(name), Some(value)) = (card.get(..8), card.get(8..).and_then(|v| v.strip_prefix("= "))) else { return };
        let value = value.trim_start();
        let value = match value.strip_prefix('\'') {
            // A quote inside a text is doubled.
            Some(text) => {
                let mut out = String::new();
                let mut rest = text.chars().peekable();
                while let Some(c) = rest.next() {
                    if c == '\'' && rest.next_if_eq(&'\'').is_none() {
                        break;
                    }
                    out.push(c);
                }
                out.trim_end().to_string()
            }
            None => value.split('/').next().unwrap_or("").trim().to_string(),
        };
        self.cards.insert(name.trim().to_string(), value);
    }

    /// A keyword as text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.cards.get(name).map(String::as_str).filter(|t| !t.is_empty())
    }
    /// A keyword as a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.text(name)?.replace(['D', 'd'], "E").parse().ok()
    }
    /// A keyword that counts something.
    pub fn count(&self, name: &str) -> Read<u64> {
        let n = self.text(name).and_then(|t| t.parse().ok());
        n.ok_or_else(|| UvFitsError::Header(format!("keyword {name} is missing or no number")))
    }
    /// True for `T`.
    pub fn is_true(&self, name: &str) -> bool {
        self.text(name) == Some("T")
    }

    /// Bytes of the data, without the filling of the last block.
    pub fn data_bytes(&self) -> Read<u64> {
        let word = self.number("BITPIX").map_or(0, |b| (b.abs() / 8.0) as u64);
        let axes: Vec<u64> = (1..=self.count("NAXIS")?).map(|i| self.count(&format!("NAXIS{i}"))).collect::<Read<_>>()?;
        if axes.is_empty() {
            return Ok(0);
        }
        let groups = self.is_true("GROUPS") && axes[0] == 0;
        let numbers = axes[usize::from(groups)..].iter().try_fold(1u64, |p, n| p.checked_mul(*n));
        let (pcount, gcount) = (self.number("PCOUNT").unwrap_or(0.0) as u64, self.number("GCOUNT").unwrap_or(1.0) as u64);
        let all = numbers.and_then(|n| n.checked_add(pcount)).and_then(|n| n.checked_mul(gcount)).and_then(|n| n.checked_mul(word));
        all.ok_or_else(|| UvFitsError::Header("the axes multiply to more than any file holds".to_string()))
    }

    /// Where the next header begins.
    pub fn next_at(&self) -> Read<u64> {
        Ok(self.data_at + self.data_bytes()?.div_ceil(BLOCK) * BLOCK)
    }
}

/// A binary table, in memory.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its header.
    pub header: Header,
    columns: Vec<TableColumn>,
    bytes: Vec<u8>,
    row_bytes: usize,
}

#[derive(Debug, Clone)]
struct TableColumn {
    name: String,
    kind: u8,
    repeat: usize,
    at: usize,
}

impl Table {
    /// Reads a table whose header was read.
    pub fn read(file: &File, header: Header, length: u64) -> Read<Table> {
        let (row_bytes, n_rows) = (header.count("NAXIS1")?, header.count("NAXIS2")?);
        let n = row_bytes.checked_mul(n_rows).filter(|n| header.data_at + n <= length);
        let n = n.ok_or(UvFitsError::Truncated { expected: header.data_at + row_bytes.saturating_mul(n_rows), found: length })?;
        let mut bytes = vec![0; n as usize];
        file.read_exact_at(&mut bytes, header.data_at).map_err(|e| UvFitsError::Read(e.to_string()))?;
        let mut columns = Vec::new();
        let mut at = 0;
        for i in 1..=header.count("TFIELDS")? {
            let form = header.text(&format!("TFORM{i}")).unwrap_or("");
            let digits = form.bytes().take_while(u8::is_ascii_digit).count();
            let repeat = form[..digits].parse().unwrap_or(1);
            let kind = form.as_bytes().get(digits).copied().unwrap_or(b' ');
            let name = header.text(&format!("TTYPE{i}")).unwrap_or("").to_string();
            columns.push(TableColumn { name, kind, repeat, at });
            at += match kind {
                b'X' => repeat.div_ceil(8),
                kind => repeat * word_bytes(kind),
            };
        }
        if at as u64 != row_bytes {
            return Err(UvFitsError::Header(format!(
                "table {}: columns take {at} bytes of {row_bytes}",
                header.text("EXTNAME").unwrap_or("?")
            )));
        }
        Ok(Table { header, columns, bytes, row_bytes: row_bytes as usize })
    }

    /// Name of the table.
    pub fn name(&self) -> &str {
        self.header.text("EXTNAME").unwrap_or("")
    }
    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        if self.row_bytes == 0 { 0 } else { self.bytes.len() / self.row_bytes }
    }

    fn cell(&self, name: &str, row: usize) -> Option<(&TableColumn, &[u8])> {
        let c = self.columns.iter().find(|c| c.name == name)?;
        let begin = row * self.row_bytes + c.at;
        let n = if c.kind == b'X' { c.repeat.div_ceil(8) } else { c.repeat * word_bytes(c.kind) };
        Some((c, self.bytes.get(begin..begin + n)?))
    }

    /// The numbers of a cell; none if there is no such column.
    pub fn numbers(&self, name: &str, row: usize) -> Vec<f64> {
        let Some((c, bytes)) = self.cell(name, row) else { return Vec::new() };
        let words = bytes.chunks_exact(word_bytes(c.kind).max(1));
        match c.kind {
            b'B' => bytes.iter().map(|b| f64::from(*b)).collect(),
            b'I' => words.map(|w| f64::from(i16::from_be_bytes([w[0], w[1]]))).collect(),
            b'J' => words.map(|w| f64::from(i32::from_be_bytes([w[0], w[1], w[2], w[3]]))).collect(),
            b'E' => words.map(|w| f64::from(f32::from_be_bytes([w[0], w[1], w[2], w[3]]))).collect(),
            b'D' => words.filter_map(|w| w.try_into().ok().map(f64::from_be_bytes)).collect(),
            b'K' => words.filter_map(|w| w.try_into().ok().map(|b| i64::from_be_bytes(b) as f64)).collect(),
            _ => Vec::new(),
        }
    }
    /// The first number of a cell.
    pub fn number(&self, name: &str, row: usize) -> Option<f64> {
        self.numbers(name, row).first().copied()
    }
    /// A cell of text, up to the first zero byte.
    pub fn text(&self, name: &str, row: usize) -> String {
        let bytes = self.cell(name, row).map_or(&[][..], |(_, b)| b);
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).trim().to_string()
    }
    /// The bits of a cell.
    pub fn bits(&self, name: &str, row: usize) -> Vec<bool> {
        let Some((c, bytes)) = self.cell(name, row).filter(|(c, _)| c.kind == b'X') else { return Vec::new() };
        (0..c.repeat).map(|i| bytes[i / 8] >> (7 - i % 8) & 1 == 1).collect()
    }
}

fn word_bytes(kind: u8) -> usize {
    match kind {
        b'L' | b'B' | b'A' => 1,
        b'I' => 2,
        b'J' | b'E' => 4,
        b'K' | b'D' | b'C' | b'P' => 8,
        b'M' | b'Q' => 16,
        _ => 0,
    }
}
