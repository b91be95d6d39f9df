//! Options of a verb, declared once beside the science: rustdoc, defaults, script help and checks follow from it.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// One option, as help prints it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Param {
    /// Name in scripts.
    pub name: &'static str,
    /// Unit, `"1"` for a pure number, `""` where none applies.
    pub unit: &'static str,
    /// First sentence stands alone.
    pub doc: &'static str,
}

/// A struct of options made by [`options!`](crate::options!).
pub trait Options: Default + serde::Serialize + DeserializeOwned {
    /// The options in the order of their declaration.
    const PARAMS: &'static [Param];

    /// The defaults by name.
    fn defaults() -> Map<String, Value> {
        match serde_json::to_value(Self::default()) {
            Ok(Value::Object(map)) => map,
            _ => Map::new(),
        }
    }

    /// Reads options given by a script; an unknown name or a value of the wrong kind is an error that names the nearest option.
    fn from_given(verb: &str, given: Map<String, Value>) -> Result<Self> {
        check_names(verb, &given, &[Self::PARAMS], &Self::defaults())?;
        let mut all = Self::defaults();
        for (name, value) in given {
            let mut one = Self::defaults();
            one.insert(name.clone(), value.clone());
            if let Err(e) = serde_json::from_value::<Self>(Value::Object(one)) {
                return Err(wrong_value(verb, &name, &value, &e, Self::PARAMS, &Self::defaults()));
            }
            all.insert(name, value);
        }
        serde_json::from_value(Value::Object(all)).map_err(|e| Error::user(format!("`{verb}`: {e}")))
    }
}

/// Refuses names that are no options of a verb; `params` are the groups of options that it takes.
pub fn check_names(verb: &str, given: &Map<String, Value>, params: &[&[Param]], defaults: &Map<String, Value>) -> Result<()> {
    match given.keys().find(|name| !params.iter().any(|group| group.iter().any(|p| p.name == *name))) {
        Some(name) => Err(unknown_option(verb, name, &params.concat(), defaults)),
        None => Ok(()),
    }
}

/// A default as help shows it.
pub fn show_default(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "automatic".to_string(),
        Some(Value::String(s)) => format!("\"{s}\""),
        Some(v) => v.to_string(),
    }
}

fn unknown_option(verb: &str, name: &str, params: &[Param], defaults: &Map<String, Value>) -> Error {
    let near = nearest(name, params.iter().map(|p| p.name));
    let message = match near.and_then(|n| params.iter().find(|p| p.name == n)) {
        Some(p) => {
            let unit = if p.unit.is_empty() || p.unit == "1" { String::new() } else { format!(" [{}]", p.unit) };
            format!("`{verb}` has no option `{name}`; did you mean `{}`{unit} (default {})?", p.name, show_default(defaults.get(p.name)))
        }
        None => format!("`{verb}` has no option `{name}`"),
    };
    let names: Vec<&str> = params.iter().map(|p| p.name).collect();
    Error::user(message).hint(if names.is_empty() { format!("`{verb}` takes no options") } else { format!("it has: {}", names.join(", ")) })
}

fn wrong_value(verb: &str, name: &str, value: &Value, e: &serde_json::Error, params: &[Param], defaults: &Map<String, Value>) -> Error {
    let unit = params.iter().find(|p| p.name == name).map_or("", |p| p.unit);
    let expected = if unit.is_empty() || unit == "1" { String::new() } else { format!(" in {unit}") };
    Error::user(format!("`{verb}`: option `{name}`: {value} does not fit: {e}"))
        .hint(format!("expected a value{expected} like the default, {}; see `phangs-script doc {verb}`", show_default(defaults.get(name))))
}

/// The candidate nearest to `name`, if any is near (Damerau-Levenshtein distance at most a third of the length, at least 2).
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|c| (edit_distance(&name.to_lowercase(), &c.to_lowercase()), c))
        .filter(|(d, c)| *d <= limit || c.to_lowercase().starts_with(&name.to_lowercase()))
        .min_by_key(|(d, c)| (*d, c.len()))
        .map(|(_, c)| c)
}

/// Edits (insert, delete, replace, swap of neighbours) that turn `a` into `b`.
pub fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut d = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (i, row) in d.iter_mut().enumerate() {
        row[0] = i;
    }
    for j in 0..=b.len() {
        d[0][j] = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replace = d[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            d[i][j] = replace.min(d[i - 1][j] + 1).min(d[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                d[i][j] = d[i][j].min(d[i - 2][j - 2] + 1);
            }
        }
    }
    d[a.len()][b.len()]
}

/// Declares a struct of options: `/// doc`, `["unit"] name: Type = default`.
///
/// Field types are anything serde reads: numbers, booleans, strings, `Option<_>`, and the quantities of
/// [`units`](crate::units), which accept `"0.05arcsec"` and refuse a bare number.
#[macro_export]
macro_rules! options {
    ($(#[$meta:meta])* pub struct $Name:ident { $( $(#[doc = $doc:literal])+ [$unit:literal] $field:ident : $ty:ty = $default:expr ),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $Name { $( $(#[doc = $doc])+ pub $field: $ty ),* }
        impl Default for $Name {
            fn default() -> Self { $Name { $( $field: $default ),* } }
        }
        impl $crate::options::Options for $Name {
            const PARAMS: &'static [$crate::options::Param] = &[ $( $crate::options::Param {
                name: stringify!($field), unit: $unit, doc: concat!($($doc),+),
            } ),* ];
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Angle;
    use serde_json::json;

    options! {
        /// Options of a test verb.
        pub struct TestOptions {
            /// Loop gain.
            ["1"] gain: f64 = 0.1,
            /// Size of a cell.
            ["arcsec"] cell: Option<Angle> = None,
        }
    }

    fn given(v: Value) -> Map<String, Value> {
        v.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn an_integer_is_taken_where_a_number_is_meant() {
        let o = TestOptions::from_given("t", given(json!({"gain": 1, "cell": "0.05arcsec"}))).unwrap();
        assert_eq!(o.gain, 1.0);
        assert!((o.cell.unwrap().arcsec() - 0.05).abs() < 1e-15);
    }

    #[test]
    fn an_unknown_option_names_the_nearest() {
        let e = TestOptions::from_given("t", given(json!({"gian": 1.0}))).unwrap_err();
        assert_eq!(e.message, "`t` has no option `gian`; did you mean `gain` (default 0.1)?");
    }

    #[test]
    fn a_bare_number_is_no_angle() {
        let e = TestOptions::from_given("t", given(json!({"cell": 0.05}))).unwrap_err();
        assert!(e.message.contains("unit"), "{}", e.message);
    }
}
