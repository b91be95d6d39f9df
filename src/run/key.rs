//! The key of a step: what its result depends on, in one canonical text, hashed.
//!
//! The text is JSON with sorted keys. A number that is whole is written as an integer, so `1` and `1.0` are one argument; `-0`
//! is `0`. A path that the step reads stands as the hash of what it holds, a path that it writes as its name in the project.

use std::path::PathBuf;

use serde_json::{Map, Number, Value, json};

use crate::run::hash::Hash;

/// A path among the arguments and what it stands for.
#[derive(Debug, Clone)]
pub struct Meaning {
    /// The spellings under which the path may stand in arguments.
    pub spellings: Vec<String>,
    /// What replaces it.
    pub stands_for: Stands,
}

/// What a path in the arguments stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum Stands {
    /// Content that is read.
    Content(Hash),
    /// A place that is written, by its name in the project.
    Place(String),
}

/// The spellings of a path that arguments may use: as given, from the project's root, absolute.
pub fn spellings(given: &str, name: &str, absolute: &std::path::Path) -> Vec<String> {
    let mut all = vec![given.to_string(), name.to_string(), absolute.to_string_lossy().into_owned()];
    all.extend(given.strip_prefix("./").map(str::to_string));
    all.extend(given.strip_suffix('/').map(str::to_string));
    all.sort();
    all.dedup();
    all.retain(|s| !s.is_empty());
    all
}

impl Meaning {
    /// If `text` is this path, or this path and a selector (`a.ms#0`) or a place inside it (`a.ms/FIELD`), the rest of the text.
    pub fn rest<'t>(&self, text: &'t str) -> Option<&'t str> {
        let matching = self.spellings.iter().filter_map(|s| text.strip_prefix(s.as_str()));
        matching.filter(|rest| rest.is_empty() || rest.starts_with(['#', '/'])).min_by_key(|rest| rest.len())
    }
}

/// The canonical form of `value` with paths replaced by what they stand for.
pub fn canonical(value: &Value, meanings: &[Meaning]) -> Value {
    match value {
        Value::Null | Value::Bool(_) => value.clone(),
        Value::Number(n) => Value::Number(canonical_number(n)),
        Value::String(text) => canonical_text(text, meanings),
        Value::Array(items) => items.iter().map(|v| canonical(v, meanings)).collect(),
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.iter().map(|(k, v)| (guarded(k), canonical(v, meanings))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
    }
}

/// A key of the script's own that looks like ours gets another `$`, so that no argument can pose as content.
fn guarded(key: &str) -> String {
    let ours = ["content", "place", "rest"].contains(&key.trim_start_matches('$')) && key.starts_with('$');
    if ours { format!("${key}") } else { key.to_string() }
}

fn canonical_text(text: &str, meanings: &[Meaning]) -> Value {
    let found = meanings.iter().filter_map(|m| m.rest(text).map(|rest| (m, rest)));
    match found.min_by_key(|(_, rest)| rest.len()) {
        None => json!(text),
        Some((meaning, rest)) => match &meaning.stands_for {
            Stands::Content(hash) => json!({ "$content": hash, "$rest": rest }),
            Stands::Place(name) => json!({ "$place": name, "$rest": rest }),
        },
    }
}

/// Whole numbers below 2^53 as integers, everything else as it is.
fn canonical_number(n: &Number) -> Number {
    match n.as_f64() {
        Some(x) if n.is_f64() && x.fract() == 0.0 && x.abs() < 9_007_199_254_740_992.0 => Number::from(x as i64),
        _ => n.clone(),
    }
}

/// What a key is made of.
pub struct Ingredients<'a> {
    /// Name of the verb.
    pub verb: &'a str,
    /// Its version.
    pub version: u32,
    /// Arguments with defaults filled in.
    pub args: &'a Value,
    /// Names of arguments that are lists whose order does not matter.
    pub unordered: &'a [String],
    /// Paths among the arguments.
    pub meanings: &'a [Meaning],
    /// Content that is read and not named in the arguments, in the order in which the verb declares it.
    pub also_read: Vec<Hash>,
    /// Names of what is written, in the order in which the verb declares it.
    pub writes: Vec<String>,
    /// Versions of data tables.
    pub tables: &'a std::collections::BTreeMap<String, String>,
    /// The build, where the key is to include it.
    pub build: Option<&'a str>,
}

impl Ingredients<'_> {
    /// The arguments in canonical form.
    pub fn canonical_args(&self) -> Value {
        let mut args = canonical(self.args, self.meanings);
        if let Value::Object(map) = &mut args {
            self.unordered.iter().for_each(|name| sort_list(map, name));
        }
        args
    }

    /// The key.
    pub fn key(&self) -> Hash {
        let text = json!({
            "verb": self.verb, "version": self.version, "args": self.canonical_args(), "reads": self.also_read,
            "writes": self.writes, "tables": self.tables, "build": self.build,
        });
        Hash::of(format!("phangs-script step 1\n{text}").as_bytes())
    }
}

fn sort_list(map: &mut Map<String, Value>, name: &str) {
    if let Some(Value::Array(items)) = map.get_mut(name) {
        items.sort_by_key(Value::to_string);
    }
}

/// Replaces in a value what `replace` gives another text for.
pub fn map_texts(value: &Value, replace: &dyn Fn(&str) -> Option<String>) -> Value {
    match value {
        Value::String(text) => replace(text).map_or_else(|| value.clone(), Value::String),
        Value::Array(items) => items.iter().map(|v| map_texts(v, replace)).collect(),
        Value::Object(map) => Value::Object(map.iter().map(|(k, v)| (k.clone(), map_texts(v, replace))).collect()),
        other => other.clone(),
    }
}

/// The blobs that a value refers to: `{"$stored": hash}`, see [`Store::put`](crate::run::Store::put).
pub fn stored_in(value: &Value) -> Vec<Hash> {
    match value {
        Value::Array(items) => items.iter().flat_map(stored_in).collect(),
        Value::Object(map) => match map.get("$stored").and_then(Value::as_str).and_then(Hash::from_hex) {
            Some(hash) => vec![hash],
            None => map.values().flat_map(stored_in).collect(),
        },
        _ => Vec::new(),
    }
}

/// The name of an absolute path: relative to `root` where inside it.
pub fn name_of(absolute: &std::path::Path, root: &std::path::Path) -> String {
    let inside = absolute.strip_prefix(root).map(PathBuf::from);
    inside.unwrap_or_else(|_| absolute.to_path_buf()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn key(args: Value, unordered: &[String], meanings: &[Meaning]) -> Hash {
        let tables = BTreeMap::new();
        Ingredients {
            verb: "v",
            version: 1,
            args: &args,
            unordered,
            meanings,
            also_read: vec![],
            writes: vec![],
            tables: &tables,
            build: None,
        }
        .key()
    }

    fn reads(path: &str, content: &str) -> Meaning {
        Meaning { spellings: vec![path.to_string()], stands_for: Stands::Content(Hash::of(content.as_bytes())) }
    }

    #[test]
    fn the_order_of_keys_and_the_spelling_of_numbers_do_not_matter() {
        let a = key(json!({"gain": 1, "cell": -0.0, "deep": {"x": 1e3, "y": 2}}), &[], &[]);
        let b = key(json!({"deep": {"y": 2.0, "x": 1000}, "cell": 0, "gain": 1.0}), &[], &[]);
        assert_eq!(a, b);
        assert_ne!(a, key(json!({"gain": 1, "cell": 0, "deep": {"x": 1e3, "y": 2.5}}), &[], &[]));
        assert_ne!(key(json!({"x": "1"}), &[], &[]), key(json!({"x": 1}), &[], &[]));
        assert_ne!(key(json!({"x": null}), &[], &[]), key(json!({}), &[], &[]));
    }

    #[test]
    fn a_path_stands_for_its_content() {
        let a = key(json!({"ms": "a.ms", "block": "a.ms#0"}), &[], &[reads("a.ms", "1")]);
        assert_eq!(a, key(json!({"ms": "b.ms", "block": "b.ms#0"}), &[], &[reads("b.ms", "1")]));
        assert_ne!(a, key(json!({"ms": "a.ms", "block": "a.ms#0"}), &[], &[reads("a.ms", "2")]));
        assert_ne!(a, key(json!({"ms": "a.ms", "block": "a.ms#1"}), &[], &[reads("a.ms", "1")]));
        assert_ne!(a, key(json!({"ms": "a.ms", "block": "a.msx0"}), &[], &[reads("a.ms", "1")]));
    }

    #[test]
    fn a_script_cannot_forge_content() {
        let forged = json!({"ms": {"$content": Hash::of(b"1"), "$rest": ""}});
        let honest = key(json!({"ms": "a.ms"}), &[], &[reads("a.ms", "1")]);
        assert_ne!(honest, key(forged, &[], &[]));
    }

    #[test]
    fn the_order_of_a_list_matters_unless_said_otherwise() {
        let meanings = [reads("a", "1"), reads("b", "2")];
        let (ab, ba) = (json!({"list": ["a", "b"]}), json!({"list": ["b", "a"]}));
        assert_ne!(key(ab.clone(), &[], &meanings), key(ba.clone(), &[], &meanings));
        let unordered = ["list".to_string()];
        assert_eq!(key(ab, &unordered, &meanings), key(ba, &unordered, &meanings));
    }
}
