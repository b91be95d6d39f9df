//! casacore's AipsIO stream, written: nested objects with length, type name and version.

const MAGIC: u32 = 0xBEBE_BEBE;

/// An AipsIO stream in memory, big-endian (headers, descriptions) or little-endian (indices of storage managers).
#[derive(Debug, Default)]
pub struct Stream {
    bytes: Vec<u8>,
    open: Vec<usize>,
    little_endian: bool,
}

impl Stream {
    /// An empty big-endian stream.
    pub fn big_endian() -> Stream {
        Stream::default()
    }
    /// An empty little-endian stream.
    pub fn little_endian() -> Stream {
        Stream { little_endian: true, ..Stream::default() }
    }
    /// The bytes written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Writes one object: its length, type name and version, then what `body` writes.
    pub fn object(&mut self, name: &str, version: u32, body: impl FnOnce(&mut Stream)) {
        if self.open.is_empty() {
            self.u32(MAGIC);
        }
        let begin = self.bytes.len();
        self.open.push(begin);
        self.u32(0);
        self.text(name);
        self.u32(version);
        body(self);
        self.open.pop();
        let length = (self.bytes.len() - begin) as u32;
        let length = if self.little_endian { length.to_le_bytes() } else { length.to_be_bytes() };
        self.bytes[begin..begin + 4].copy_from_slice(&length);
    }

    /// Unsigned 32-bit integer.
    pub fn u32(&mut self, v: u32) {
        self.bytes.extend(if self.little_endian { v.to_le_bytes() } else { v.to_be_bytes() });
    }
    /// Signed 32-bit integer.
    pub fn i32(&mut self, v: i32) {
        self.u32(v as u32);
    }
    /// Unsigned 64-bit integer.
    pub fn u64(&mut self, v: u64) {
        self.bytes.extend(if self.little_endian { v.to_le_bytes() } else { v.to_be_bytes() });
    }
    /// Single-precision number.
    pub fn f32(&mut self, v: f32) {
        self.u32(v.to_bits());
    }
    /// One byte, 0 or 1.
    pub fn bool(&mut self, v: bool) {
        self.bytes.push(u8::from(v));
    }
    /// Text after its length.
    pub fn text(&mut self, v: &str) {
        self.u32(v.len() as u32);
        self.bytes.extend(v.as_bytes());
    }
    /// Bytes as they are.
    pub fn raw(&mut self, v: &[u8]) {
        self.bytes.extend(v);
    }
    /// An IPosition: lengths of axes, first axis fastest; -1 for a length that varies.
    pub fn shape(&mut self, axes: &[i64]) {
        let wide = axes.iter().any(|a| *a > i64::from(i32::MAX));
        self.object("IPosition", if wide { 2 } else { 1 }, |s| {
            s.u32(axes.len() as u32);
            for a in axes {
                if wide { s.u64(*a as u64) } else { s.i32(*a as i32) }
            }
        });
    }
    /// A Block of unsigned integers.
    pub fn block(&mut self, values: &[u32]) {
        self.object("Block", 1, |s| {
            s.u32(values.len() as u32);
            values.iter().for_each(|v| s.u32(*v));
        });
    }
}

/// A keyword's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Keyword {
    /// True or false.
    Bool(bool),
    /// Integer.
    Int(i32),
    /// Unsigned integer.
    UInt(u32),
    /// Single-precision number.
    Float(f32),
    /// Double-precision number.
    Double(f64),
    /// List of integers.
    Ints(Vec<i32>),
    /// List of single-precision numbers.
    Floats(Vec<f32>),
    /// Array of double-precision numbers and its shape, first axis fastest.
    Doubles(Vec<f64>, Vec<u32>),
    /// Text.
    Text(String),
    /// Array of texts.
    Texts(Vec<String>),
    /// Subtable in the folder of the table.
    Table(String),
    /// Record.
    Record(Vec<(String, Keyword)>),
}

impl Keyword {
    /// The keyword QuantumUnits.
    pub fn units(units: &[&str]) -> (String, Keyword) {
        ("QuantumUnits".to_string(), Keyword::Texts(units.iter().map(|u| u.to_string()).collect()))
    }
    /// The keyword MEASINFO with a fixed reference.
    pub fn measure(kind: &str, reference: &str) -> (String, Keyword) {
        let text = |t: &str| Keyword::Text(t.to_string());
        ("MEASINFO".to_string(), Keyword::Record(vec![("type".to_string(), text(kind)), ("Ref".to_string(), text(reference))]))
    }

    /// A list of double-precision numbers.
    pub fn doubles(values: &[f64]) -> Keyword {
        Keyword::Doubles(values.to_vec(), vec![values.len() as u32])
    }

    fn type_code(&self) -> i32 {
        match self {
            Keyword::Bool(_) => 0,
            Keyword::Int(_) => 5,
            Keyword::UInt(_) => 6,
            Keyword::Float(_) => 7,
            Keyword::Double(_) => 8,
            Keyword::Ints(_) => 18,
            Keyword::Floats(_) => 20,
            Keyword::Doubles(..) => 21,
            Keyword::Text(_) => 11,
            Keyword::Table(_) => 12,
            Keyword::Texts(_) => 24,
            Keyword::Record(_) => 25,
        }
    }
}

/// Writes a TableRecord.
pub fn record(s: &mut Stream, fields: &[(String, Keyword)]) {
    s.object("TableRecord", 1, |s| {
        description(s, fields);
        s.i32(VARIABLE);
        for (_, value) in fields {
            match value {
                Keyword::Bool(v) => s.bool(*v),
                Keyword::Int(v) => s.i32(*v),
                Keyword::UInt(v) => s.u32(*v),
                Keyword::Float(v) => s.f32(*v),
                Keyword::Double(v) => s.u64(v.to_bits()),
                Keyword::Ints(v) => array(s, "Array<Int>", &[v.len() as u32], v.iter(), |s, v| s.i32(*v)),
                Keyword::Floats(v) => array(s, "Array<float>", &[v.len() as u32], v.iter(), |s, v| s.f32(*v)),
                Keyword::Doubles(v, shape) => array(s, "Array<double>", shape, v.iter(), |s, v| s.u64(v.to_bits())),
                Keyword::Text(v) => s.text(v),
                Keyword::Texts(v) => array(s, "Array<String>", &[v.len() as u32], v.iter(), |s, v| s.text(v)),
                // "././" is casacore's mark for: in the folder of this table.
                Keyword::Table(v) => s.text(&format!("././{v}")),
                Keyword::Record(v) => record(s, v),
            }
        }
    });
}

/// casacore's code of a record whose fields may change.
const VARIABLE: i32 = 1;

fn description(s: &mut Stream, fields: &[(String, Keyword)]) {
    s.object("RecordDesc", 2, |s| {
        s.u32(fields.len() as u32);
        for (name, value) in fields {
            s.text(name);
            s.i32(value.type_code());
            match value {
                Keyword::Record(_) => description(s, &[]), // described where its value stands
                Keyword::Texts(_) | Keyword::Ints(_) | Keyword::Floats(_) | Keyword::Doubles(..) => s.shape(&[-1]),
                Keyword::Table(_) => s.text(""),
                _ => {}
            }
            s.text("");
        }
    });
}

fn array<'a, T: 'a>(
    s: &mut Stream,
    name: &str,
    shape: &[u32],
    values: impl ExactSizeIterator<Item = &'a T>,
    put: impl Fn(&mut Stream, &'a T),
) {
    s.object(name, 3, |s| {
        s.u32(shape.len() as u32);
        shape.iter().for_each(|n| s.u32(*n));
        s.u32(values.len() as u32);
        values.for_each(|v| put(s, v));
    });
}

/// An empty Record, as tiled storage managers keep with each hypercube.
pub fn empty_record(s: &mut Stream) {
    s.object("Record", 1, |s| {
        description(s, &[]);
        s.i32(VARIABLE);
    });
}
