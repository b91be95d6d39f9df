//! FITS headers as lists of cards: reading and formatting.

use crate::data::{Card, CardValue};

/// A header in its order; COMMENT and HISTORY are kept apart.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Header {
    /// Cards with a value.
    pub cards: Vec<Card>,
    /// COMMENT lines.
    pub comments: Vec<String>,
    /// HISTORY lines.
    pub history: Vec<String>,
}

impl Header {
    /// Reads records of up to 80 characters; what is not a card is dropped.
    pub fn from_records<'a>(records: impl Iterator<Item = &'a [u8]>) -> Header {
        let mut header = Header::default();
        for record in records {
            let text: String = record.iter().map(|b| if b.is_ascii() { *b as char } else { '?' }).collect();
            let (key, rest) = text.split_at(text.len().min(8));
            match key.trim_end().to_ascii_uppercase().as_str() {
                "COMMENT" => header.comments.push(rest.trim_end().to_string()),
                "HISTORY" => header.history.push(rest.trim_end().to_string()),
                "CONTINUE" => header.continue_text(rest),
                "" | "END" => {}
                key => {
                    if let Some(value) = rest.strip_prefix("= ").or_else(|| rest.strip_prefix('='))
                        && let Some((value, comment)) = parse_value(value)
                    {
                        header.cards.push(Card { key: key.to_string(), value, comment });
                    }
                }
            }
        }
        header
    }

    /// Appends a CONTINUE record to the string that ended in `&`.
    fn continue_text(&mut self, rest: &str) {
        let Some(Card { value: CardValue::Text(text), .. }) = self.cards.last_mut() else { return };
        if let (Some(stem), Some((CardValue::Text(more), _))) = (text.strip_suffix('&'), parse_value(rest)) {
            *text = format!("{stem}{more}");
        }
    }

    /// Value of a card.
    pub fn get(&self, key: &str) -> Option<&CardValue> {
        self.cards.iter().find(|c| c.key == key).map(|c| &c.value)
    }
    /// A card as a number.
    pub fn number(&self, key: &str) -> Option<f64> {
        match self.get(key)? {
            CardValue::Real(v) => Some(*v),
            CardValue::Int(v) => Some(*v as f64),
            // GILDAS and others quote numbers.
            CardValue::Text(t) => t.trim().parse().ok(),
            CardValue::Bool(_) => None,
        }
    }
    /// A card as text without trailing blanks.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            CardValue::Text(t) => Some(t.trim_end()),
            _ => None,
        }
    }
    /// A card as true or false.
    pub fn flag(&self, key: &str) -> bool {
        self.get(key) == Some(&CardValue::Bool(true))
    }
}

/// `'text' / comment`, `T`, `12`, `1.5D-3`; `None` where there is no value.
fn parse_value(text: &str) -> Option<(CardValue, String)> {
    let text = text.trim_start();
    if let Some(rest) = text.strip_prefix('\'') {
        let mut value = String::new();
        let mut chars = rest.char_indices().peekable();
        let mut end = rest.len();
        while let Some((i, c)) = chars.next() {
            if c != '\'' {
                value.push(c);
            } else if chars.peek().is_some_and(|(_, n)| *n == '\'') {
                chars.next();
                value.push('\'');
            } else {
                end = i + 1;
                break;
            }
        }
        let trimmed = value.trim_end().to_string();
        return Some((CardValue::Text(trimmed), comment_of(&rest[end.min(rest.len())..])));
    }
    let (value, _) = text.split_once('/').unwrap_or((text, ""));
    let comment = comment_of(&text[value.len()..]);
    let value = value.trim();
    let parsed = match value {
        "" => return None,
        "T" => CardValue::Bool(true),
        "F" => CardValue::Bool(false),
        v => match v.parse::<i64>() {
            Ok(i) => CardValue::Int(i),
            Err(_) => CardValue::Real(v.replace(['D', 'd'], "E").parse().ok()?),
        },
    };
    Some((parsed, comment))
}

fn comment_of(text: &str) -> String {
    text.trim_start().strip_prefix('/').unwrap_or("").trim().to_string()
}

/// The 80-character records of a card; a long string takes CONTINUE records.
pub(super) fn format_card(card: &Card) -> Vec<[u8; 80]> {
    let key = format!("{:<8}", card.key);
    match &card.value {
        CardValue::Text(text) => format_text(&key, &ascii(text), &card.comment),
        CardValue::Bool(v) => vec![record(&with_comment(format!("{key}= {:>20}", if *v { 'T' } else { 'F' }), &card.comment))],
        CardValue::Int(v) => vec![record(&with_comment(format!("{key}= {v:>20}"), &card.comment))],
        CardValue::Real(v) => vec![record(&with_comment(format!("{key}= {:>20}", format_real(*v)), &card.comment))],
    }
}

/// Shortest text that reads back as the same number, always with a point or an exponent.
pub(super) fn format_real(v: f64) -> String {
    if v == 0.0 {
        return "0.0".to_string();
    }
    let plain = format!("{v}");
    if (1e-4..1e16).contains(&v.abs()) {
        if plain.contains('.') { plain } else { format!("{plain}.0") }
    } else {
        let e = format!("{v:E}");
        match e.split_once('E') {
            Some((m, x)) if !m.contains('.') => format!("{m}.0E{x}"),
            _ => e,
        }
    }
}

fn format_text(key: &str, text: &str, comment: &str) -> Vec<[u8; 80]> {
    let quoted = text.replace('\'', "''");
    if quoted.len() <= 68 {
        return vec![record(&with_comment(format!("{key}= '{quoted:<8}'"), comment))];
    }
    let mut out = Vec::new();
    let mut rest = quoted.as_str();
    while !rest.is_empty() {
        let mut n = rest.len().min(67);
        // A doubled quote must not be torn apart.
        if n < rest.len() && rest[..n].bytes().rev().take_while(|b| *b == b'\'').count() % 2 == 1 {
            n -= 1;
        }
        let (part, more) = rest.split_at(n);
        let amp = if more.is_empty() { "" } else { "&" };
        let lead = if out.is_empty() { format!("{key}= ") } else { "CONTINUE  ".to_string() };
        out.push(record(&format!("{lead}'{part}{amp}'")));
        rest = more;
    }
    out
}

/// COMMENT or HISTORY records of one line, broken every 72 characters.
pub(super) fn format_lines(key: &str, line: &str) -> Vec<[u8; 80]> {
    let line = ascii(line);
    if line.is_empty() {
        return vec![record(key)];
    }
    line.as_bytes().chunks(72).map(|c| record(&format!("{key:<8}{}", String::from_utf8_lossy(c)))).collect()
}

fn with_comment(mut text: String, comment: &str) -> String {
    let comment = ascii(comment);
    if !comment.is_empty() && text.len() + 3 < 80 {
        text.push_str(" / ");
        text.push_str(&comment);
    }
    text
}

fn ascii(text: &str) -> String {
    text.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect()
}

fn record(text: &str) -> [u8; 80] {
    let mut out = [b' '; 80];
    for (o, b) in out.iter_mut().zip(text.bytes()) {
        *o = b;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(key: &str, value: CardValue) -> Card {
        Card { key: key.into(), value, comment: "what it is".into() }
    }

    #[test]
    fn cards_survive_writing_and_reading() {
        let long = "it's ".repeat(40) + "'''";
        for value in [
            CardValue::Text("O'Neill  x".into()),
            CardValue::Text(long.trim_end().into()),
            CardValue::Text(String::new()),
            CardValue::Bool(false),
            CardValue::Int(-7),
            CardValue::Real(-5.5555555555555e-5),
            CardValue::Real(230538000000.0),
            CardValue::Real(1e300),
            CardValue::Real(0.1 + 0.2),
        ] {
            let records = format_card(&card("KEY", value.clone()));
            let back = Header::from_records(records.iter().map(|r| r.as_slice()));
            assert_eq!(back.get("KEY"), Some(&value));
        }
    }

    #[test]
    fn numbers_in_the_spellings_of_other_programs() {
        let records: Vec<Vec<u8>> =
            ["A       =    1.5D-3 / x", "B       = 257", "VELREF  =                  257 / 1 LSR", "C       =", "D       = -1.E5"]
                .iter()
                .map(|s| s.as_bytes().to_vec())
                .collect();
        let h = Header::from_records(records.iter().map(Vec::as_slice));
        assert_eq!((h.number("A"), h.number("B"), h.number("C"), h.number("D")), (Some(1.5e-3), Some(257.0), None, Some(-1e5)));
    }
}
