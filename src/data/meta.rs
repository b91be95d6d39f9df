//! Units and header cards that travel with images and cubes.

/// A brightness or other unit, in the spelling FITS recommends where it is a known one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Unit(String);

/// What kind of brightness a unit is; the number converts to the base unit named.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Brightness {
    /// Brightness temperature: times this is K.
    Kelvin(f64),
    /// Flux density a beam: times this is Jy/beam.
    JyPerBeam(f64),
    /// Flux density a pixel: times this is Jy/pixel.
    JyPerPixel(f64),
    /// Surface brightness: times this is Jy/sr.
    JyPerSr(f64),
}

impl Unit {
    /// Reads BUNIT; the many spellings of K, Jy/beam, km/s and their products become one.
    pub fn new(text: &str) -> Unit {
        let text = text.trim();
        let folded: String =
            text.to_ascii_lowercase().chars().filter(|c| !c.is_whitespace()).map(|c| if c == '*' { '.' } else { c }).collect();
        let known = match folded.as_str() {
            "k" | "kelvin" | "k(tmb)" | "k(tb)" => "K",
            "mk" if !text.starts_with('M') => "mK",
            "jy/beam" | "jybeam-1" | "jy.beam-1" | "beam-1jy" | "beam-1.jy" | "jy/bm" | "jyperbeam" | "jansky/beam" => "Jy/beam",
            "mjy/beam" | "mjybeam-1" | "mjy.beam-1" | "beam-1mjy" if !text.starts_with('M') => "mJy/beam",
            "jy/pixel" | "jypixel-1" | "jy/pix" | "pixel-1jy" => "Jy/pixel",
            "jy/sr" | "jysr-1" | "sr-1jy" => "Jy/sr",
            "mjy/sr" | "mjysr-1" | "sr-1mjy" if text.starts_with('M') || text.contains("MJy") => "MJy/sr",
            "kkm/s" | "k.km/s" | "kkms-1" | "k.km.s-1" | "kms-1k" | "kmk/s" | "km.k/s" => "K km s-1",
            "jy/beamkm/s" | "jy/beam.km/s" | "jybeam-1kms-1" | "jykm/(beams)" => "Jy/beam km s-1",
            "km/s" | "kms-1" | "km.s-1" => "km s-1",
            "m/s" | "ms-1" | "m.s-1" if !text.starts_with('M') => "m s-1",
            _ => text,
        };
        Unit(known.to_string())
    }
    /// A pure number.
    pub fn none() -> Unit {
        Unit(String::new())
    }
    /// As written to BUNIT.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// What kind of brightness this is, if any.
    pub fn brightness(&self) -> Option<Brightness> {
        Some(match self.0.as_str() {
            "K" => Brightness::Kelvin(1.0),
            "mK" => Brightness::Kelvin(1e-3),
            "Jy/beam" => Brightness::JyPerBeam(1.0),
            "mJy/beam" => Brightness::JyPerBeam(1e-3),
            "Jy/pixel" => Brightness::JyPerPixel(1.0),
            "Jy/sr" => Brightness::JyPerSr(1.0),
            "MJy/sr" => Brightness::JyPerSr(1e6),
            _ => return None,
        })
    }
    /// This unit times km/s.
    pub fn times_kms(&self) -> Unit {
        if self.0.is_empty() { Unit("km s-1".into()) } else { Unit(format!("{} km s-1", self.0)) }
    }
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Value of a header card.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum CardValue {
    /// T or F.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A real number.
    Real(f64),
    /// A string.
    Text(String),
}

/// One header card that is neither structure, coordinates, unit nor beam.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Card {
    /// Keyword, up to eight characters.
    pub key: String,
    /// Value.
    pub value: CardValue,
    /// Comment after the slash.
    pub comment: String,
}

/// The rest of a header: cards, COMMENT and HISTORY in their order.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Meta {
    /// Cards with a value.
    pub cards: Vec<Card>,
    /// COMMENT lines.
    pub comments: Vec<String>,
    /// HISTORY lines.
    pub history: Vec<String>,
}

impl Meta {
    /// Value of a card.
    pub fn get(&self, key: &str) -> Option<&CardValue> {
        self.cards.iter().find(|c| c.key == key).map(|c| &c.value)
    }
    /// Text of a card.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key) {
            Some(CardValue::Text(t)) => Some(t),
            _ => None,
        }
    }
    /// Number of a card.
    pub fn number(&self, key: &str) -> Option<f64> {
        match self.get(key) {
            Some(CardValue::Real(v)) => Some(*v),
            Some(CardValue::Int(v)) => Some(*v as f64),
            _ => None,
        }
    }
    /// Sets a card, in its old place if there is one.
    pub fn set(&mut self, key: &str, value: CardValue, comment: &str) {
        let card = Card { key: key.to_string(), value, comment: comment.to_string() };
        match self.cards.iter_mut().find(|c| c.key == key) {
            Some(old) => *old = card,
            None => self.cards.push(card),
        }
    }
    /// Removes a card.
    pub fn remove(&mut self, key: &str) {
        self.cards.retain(|c| c.key != key);
    }
    /// Adds a HISTORY line.
    pub fn add_history(&mut self, line: impl Into<String>) {
        self.history.push(line.into());
    }
    /// Adds a COMMENT line unless it is there already.
    pub fn add_comment(&mut self, line: impl Into<String>) {
        let line = line.into();
        if !self.comments.contains(&line) {
            self.comments.push(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_unit_become_one() {
        for (text, unit) in [
            ("JY/BEAM ", "Jy/beam"),
            ("Jy beam-1", "Jy/beam"),
            ("beam-1 Jy", "Jy/beam"),
            ("KELVIN", "K"),
            ("K km/s", "K km s-1"),
            ("K.KM/S", "K km s-1"),
            ("km/s", "km s-1"),
            ("mJy/beam", "mJy/beam"),
            ("MJy/sr", "MJy/sr"),
            ("counts", "counts"),
        ] {
            assert_eq!(Unit::new(text).as_str(), unit, "{text}");
        }
    }
}
