//! Parameters of a script: `param(name, default, #{..})`, given by `-p name=value` and `--params file.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::options::nearest;

crate::options! {
    /// Options of `param`.
    pub struct ParamOptions {
        /// What it is for, one sentence.
        [""] help: String = String::new(),
        /// Unit of the value, shown in help.
        [""] unit: String = String::new(),
        /// Smallest value allowed.
        ["1"] min: Option<f64> = None,
        /// Largest value allowed.
        ["1"] max: Option<f64> = None,
        /// The only values allowed.
        [""] choices: Vec<Value> = vec![],
        /// `"in"` if the value names files to read, `"out"` if it names a file or folder to write, `"prefix"` if it is the beginning
        /// of the names of files to write, `"in?"` if it names a file to read where there is one of that name and is text otherwise.
        /// A path given on the command line is relative to where the user stands.
        [""] path: Option<String> = None,
    }
}

/// What the user gave, by name: every `-p` in order, as text, or a TOML value.
#[derive(Debug, Clone, Default)]
pub struct Given {
    values: BTreeMap<String, Vec<Value>>,
    /// The folder that relative paths among them start from.
    base: PathBuf,
}

impl Given {
    /// Reads `-p name=value` texts, and a TOML file that comes first.
    pub fn read(texts: &[String], file: Option<&Path>, base: &Path) -> Result<Given> {
        let mut given = Given { values: BTreeMap::new(), base: base.to_path_buf() };
        if let Some(file) = file {
            let text = std::fs::read_to_string(file).map_err(|e| Error::io("read the parameter file", file, e))?;
            let table: Map<String, Value> =
                toml::from_str(&text).map_err(|e| Error::user(format!("the parameter file is not TOML: {}", e.message())).at(file))?;
            given.values.extend(table.into_iter().map(|(name, value)| (name, vec![value])));
        }
        let mut from_command_line: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for text in texts {
            let (name, value) = text.split_once('=').ok_or_else(|| {
                Error::user(format!("`-p {text}` has no `=`")).hint("write -p name=value, for example -p cell=0.01arcsec")
            })?;
            from_command_line.entry(name.trim().to_string()).or_default().push(value.into());
        }
        given.values.extend(from_command_line);
        Ok(given)
    }

    /// Values as a run recorded them.
    pub fn recorded(values: impl IntoIterator<Item = (String, Value)>, base: &Path) -> Given {
        let values = values.into_iter().map(|(name, value)| (name, vec![value])).collect();
        Given { values, base: base.to_path_buf() }
    }

    /// The names that the user gave.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// True if the user gave this parameter.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Refuses names that the script does not have.
    pub fn check_names(&self, known: &[String]) -> Result<()> {
        for name in self.names() {
            if !known.iter().any(|k| k == name) {
                let near = nearest(name, known.iter().map(String::as_str)).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
                let list =
                    if known.is_empty() { "the script has no parameters".to_string() } else { format!("it has: {}", known.join(", ")) };
                return Err(Error::user(format!("the script has no parameter `{name}`{near}")).hint(list));
            }
        }
        Ok(())
    }

    /// The value of a parameter: what was given, in the type of the default, or the default itself.
    pub fn value(&self, name: &str, default: &Value, options: &ParamOptions) -> Result<Value> {
        let Some(given) = self.values.get(name) else { return Ok(default.clone()) };
        let value = convert(name, given, default)?;
        let value = match options.path.as_deref() {
            Some("in?") if !value.as_str().is_some_and(|text| self.base.join(text).exists()) => value,
            Some(_) => self.as_paths(value)?,
            None => value,
        };
        check_range(name, &value, options)?;
        Ok(value)
    }

    /// Makes paths absolute and expands globs; `a.ms#1` keeps its block.
    fn as_paths(&self, value: Value) -> Result<Value> {
        match value {
            Value::String(s) if s.is_empty() => Ok(Value::String(s)),
            Value::String(s) => Ok(self.absolute(&s).into()),
            Value::Array(list) => {
                let mut out = vec![];
                for item in list {
                    match item.as_str() {
                        Some(text) => out.extend(self.expand(text)?.into_iter().map(Value::String)),
                        None => out.push(item),
                    }
                }
                Ok(Value::Array(out))
            }
            other => Ok(other),
        }
    }

    fn absolute(&self, text: &str) -> String {
        self.base.join(text).display().to_string()
    }

    fn expand(&self, text: &str) -> Result<Vec<String>> {
        let absolute = self.absolute(text);
        if !text.contains(['*', '?', '[']) || Path::new(&absolute).exists() {
            return Ok(vec![absolute]);
        }
        let paths = glob::glob(&absolute).map_err(|e| Error::user(format!("\"{text}\" is not a pattern: {e}")))?;
        let mut found: Vec<String> = paths.filter_map(|p| p.ok()).map(|p| p.display().to_string()).collect();
        found.sort();
        if found.is_empty() {
            return Err(Error::user(format!("no file fits \"{text}\"")).at(&self.base));
        }
        Ok(found)
    }
}

/// What was given, in the type of the default.
fn convert(name: &str, given: &[Value], default: &Value) -> Result<Value> {
    if default.is_array() {
        return Ok(Value::Array(given.iter().flat_map(split_list).collect()));
    }
    let last = given.last().cloned().unwrap_or(Value::Null);
    let wrong = |expected: &str| {
        Err(Error::user(format!("parameter `{name}`: {last} is not {expected}")).hint(format!("its default is {default}")))
    };
    let text = last.as_str().map(str::trim);
    match default {
        Value::Bool(_) => match (last.as_bool(), text) {
            (Some(b), _) => Ok(b.into()),
            (_, Some("true" | "yes" | "1")) => Ok(true.into()),
            (_, Some("false" | "no" | "0")) => Ok(false.into()),
            _ => wrong("true or false"),
        },
        Value::Number(n) if n.is_i64() => match last.as_i64().or_else(|| text.and_then(|t| t.parse().ok())) {
            Some(i) => Ok(i.into()),
            None => wrong("a whole number"),
        },
        Value::Number(_) => match last.as_f64().or_else(|| text.and_then(|t| t.parse().ok())) {
            Some(f) if f.is_finite() => Ok(f.into()),
            _ => wrong("a number"),
        },
        Value::String(_) => match &last {
            Value::String(s) => Ok(s.clone().into()),
            Value::Number(n) => Ok(n.to_string().into()),
            Value::Bool(b) => Ok(b.to_string().into()),
            _ => wrong("text"),
        },
        _ => Ok(last),
    }
}

/// The items of a comma list.
fn split_list(value: &Value) -> Vec<Value> {
    match value {
        Value::String(s) => s.split(',').map(str::trim).filter(|t| !t.is_empty()).map(Value::from).collect(),
        Value::Array(list) => list.clone(),
        other => vec![other.clone()],
    }
}

fn check_range(name: &str, value: &Value, options: &ParamOptions) -> Result<()> {
    let unit = if options.unit.is_empty() { String::new() } else { format!(" {}", options.unit) };
    if let Some(x) = value.as_f64() {
        if options.min.is_some_and(|min| x < min) || options.max.is_some_and(|max| x > max) {
            let range = match (options.min, options.max) {
                (Some(a), Some(b)) => format!("between {a} and {b}{unit}"),
                (Some(a), None) => format!("at least {a}{unit}"),
                (None, Some(b)) => format!("at most {b}{unit}"),
                (None, None) => String::new(),
            };
            return Err(Error::user(format!("parameter `{name}` is {x}{unit}, but must be {range}")));
        }
    }
    if !options.choices.is_empty() && !options.choices.contains(value) {
        let list: Vec<String> = options.choices.iter().map(|c| c.as_str().map_or(c.to_string(), str::to_string)).collect();
        let near = value.as_str().and_then(|v| nearest(v, list.iter().map(String::as_str))).map(|n| format!("; did you mean {n}?"));
        return Err(Error::user(format!(
            "parameter `{name}` is {value}, but must be one of {}{}",
            list.join(", "),
            near.unwrap_or_default()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn given(texts: &[&str]) -> Given {
        Given::read(&texts.iter().map(|t| t.to_string()).collect::<Vec<_>>(), None, Path::new("/base")).unwrap()
    }

    #[test]
    fn the_type_follows_the_default() {
        let g = given(&["a=1", "b=2.5", "c=1", "d=x,y", "d=z", "e=true"]);
        let o = ParamOptions::default();
        assert_eq!(g.value("a", &json!(7), &o).unwrap(), json!(1));
        assert_eq!(g.value("a", &json!(7.0), &o).unwrap(), json!(1.0));
        assert_eq!(g.value("c", &json!("s"), &o).unwrap(), json!("1"));
        assert_eq!(g.value("d", &json!([]), &o).unwrap(), json!(["x", "y", "z"]));
        assert_eq!(g.value("e", &json!(false), &o).unwrap(), json!(true));
        assert_eq!(g.value("missing", &json!(3), &o).unwrap(), json!(3));
        assert!(g.value("b", &json!(3), &o).is_err());
    }

    #[test]
    fn a_value_out_of_range_says_the_range() {
        let o = ParamOptions { min: Some(2.0), unit: "mas".into(), ..Default::default() };
        let e = given(&["a=1"]).value("a", &json!(7), &o).unwrap_err();
        assert_eq!(e.message, "parameter `a` is 1 mas, but must be at least 2 mas");
    }

    #[test]
    fn an_unknown_name_lists_what_there_is() {
        let e = given(&["cel=1"]).check_names(&["cell".into(), "npix".into()]).unwrap_err();
        assert_eq!(e.message, "the script has no parameter `cel`; did you mean `cell`?");
    }

    #[test]
    fn paths_start_where_the_user_stands() {
        let o = ParamOptions { path: Some("in".into()), ..Default::default() };
        assert_eq!(given(&["f=a.ms#0,/x/b.ms"]).value("f", &json!([]), &o).unwrap(), json!(["/base/a.ms#0", "/x/b.ms"]));
    }
}
