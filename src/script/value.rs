//! Values between scripts and verbs.
//!
//! A verb takes and returns JSON values, so that a step can be keyed, stored and compared. A map with a `$kind` is a
//! record: scripts see it as a value with fields, printed by its `$summary`.

use std::sync::Arc;

use rhai::{Dynamic, ImmutableString};
use serde_json::{Map, Number, Value};

use crate::error::{Error, Result};
use crate::options::nearest;

/// A record returned by a verb: named fields that cannot be changed.
#[derive(Clone, Debug)]
pub struct Record(Arc<Map<String, Value>>);

impl Record {
    /// The kind of the record, for example `OffsetFit`.
    pub fn kind(&self) -> &str {
        self.0.get("$kind").and_then(Value::as_str).unwrap_or("Record")
    }

    /// The fields that scripts can read.
    pub fn fields(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter().filter(|(name, _)| !name.starts_with('$'))
    }

    /// One field, or an error that names the nearest.
    pub fn field(&self, name: &str) -> Result<Dynamic> {
        match self.0.get(name) {
            Some(value) if !name.starts_with('$') => Ok(to_dynamic(value)),
            _ => {
                let names: Vec<&str> = self.fields().map(|(n, _)| n.as_str()).collect();
                let near = nearest(name, names.iter().copied()).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
                Err(Error::user(format!("{} has no field `{name}`{near}", self.kind())).hint(format!("it has: {}", names.join(", "))))
            }
        }
    }

    /// The record as JSON.
    pub fn to_value(&self) -> Value {
        Value::Object((*self.0).clone())
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Record) -> bool {
        self.0 == other.0
    }
}

impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.get("$summary").and_then(Value::as_str) {
            Some(summary) => f.write_str(summary),
            None => {
                let fields: Vec<String> = self.fields().map(|(n, v)| format!("{n}: {}", short(v))).collect();
                write!(f, "{} {{ {} }}", self.kind(), fields.join(", "))
            }
        }
    }
}

/// One line for a value that may be long.
fn short(value: &Value) -> String {
    match value {
        Value::Array(list) if list.len() > 8 => format!("[{} values]", list.len()),
        Value::Object(map) => match (map.get("$summary"), map.get("$kind")) {
            (Some(Value::String(s)), _) => s.clone(),
            (_, Some(Value::String(kind))) => kind.clone(),
            _ if map.len() > 8 => format!("{{{} fields}}", map.len()),
            _ => value.to_string(),
        },
        other => other.to_string(),
    }
}

/// Makes a record from a serializable value; `summary` is what `print` shows.
pub fn record(kind: &str, summary: impl Into<String>, fields: impl serde::Serialize) -> Result<Value> {
    let fields = serde_json::to_value(fields).map_err(|e| Error::internal(format!("{kind}: {e}")))?;
    let mut map = Map::new();
    map.insert("$kind".into(), kind.into());
    map.insert("$summary".into(), summary.into().into());
    if let Value::Object(fields) = fields {
        map.extend(fields);
    }
    Ok(Value::Object(map))
}

/// The kind of a record, if the value is one.
pub fn kind_of(value: &Value) -> Option<&str> {
    value.get("$kind").and_then(Value::as_str)
}

/// JSON to a script value.
pub fn to_dynamic(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(b) => (*b).into(),
        Value::Number(n) => match n.as_i64() {
            Some(i) => i.into(),
            None => n.as_f64().unwrap_or(f64::NAN).into(),
        },
        Value::String(s) => s.as_str().into(),
        Value::Array(list) => list.iter().map(to_dynamic).collect::<rhai::Array>().into(),
        Value::Object(map) if map.contains_key("$kind") => Dynamic::from(Record(Arc::new(map.clone()))),
        Value::Object(map) => match map.get("$float").and_then(Value::as_str) {
            Some(name) => name.parse::<f64>().unwrap_or(f64::NAN).into(),
            None => Dynamic::from_map(map.iter().map(|(k, v)| (k.as_str().into(), to_dynamic(v))).collect()),
        },
    }
}

/// A script value to JSON; functions and other values that are not data are refused.
pub fn from_dynamic(value: &Dynamic) -> Result<Value> {
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(b) = value.as_bool() {
        return Ok(b.into());
    }
    if let Ok(i) = value.as_int() {
        return Ok(i.into());
    }
    if let Ok(f) = value.as_float() {
        return Ok(from_f64(f));
    }
    if let Some(s) = value.read_lock::<ImmutableString>() {
        return Ok(s.as_str().into());
    }
    if let Some(c) = value.read_lock::<char>() {
        return Ok(c.to_string().into());
    }
    if let Some(list) = value.read_lock::<rhai::Array>() {
        return list.iter().map(from_dynamic).collect::<Result<Vec<_>>>().map(Value::Array);
    }
    if let Some(map) = value.read_lock::<rhai::Map>() {
        return map.iter().map(|(k, v)| Ok((k.to_string(), from_dynamic(v)?))).collect::<Result<Map<_, _>>>().map(Value::Object);
    }
    if let Some(record) = value.read_lock::<Record>() {
        return Ok(record.to_value());
    }
    Err(Error::user(format!("a value of type {} cannot be given to a verb", value.type_name()))
        .hint("give numbers, strings, arrays, maps or what a verb returned"))
}

/// A float as JSON; values that JSON cannot hold are kept by name.
pub fn from_f64(f: f64) -> Value {
    match Number::from_f64(f) {
        Some(n) => Value::Number(n),
        None => serde_json::json!({ "$float": f.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_survive_the_way_to_a_script_and_back() {
        let v = json!({"a": 1, "b": [1.5, "x", null, true], "c": {"$kind": "Offset", "ra": 1.0}, "d": {"$float": "NaN"}, "e": {"$float": "inf"}});
        assert_eq!(from_dynamic(&to_dynamic(&v)).unwrap(), v);
    }

    #[test]
    fn a_wrong_field_names_the_nearest() {
        let r = to_dynamic(&json!({"$kind": "Offset", "sigma": 1.0})).cast::<Record>();
        assert!(r.field("sigam").unwrap_err().message.contains("did you mean `sigma`?"));
        assert!(r.field("$kind").is_err());
    }
}
