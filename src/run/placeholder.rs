//! Paths inside stored values: an input that is renamed, or a project that is moved, gets its present name back.

use serde_json::Value;

use crate::run::hash::Hash;
use crate::run::key::map_texts;
use crate::run::plan::Input;
use crate::run::session::Session;

/// Opens and closes a placeholder; control characters do not occur in paths that scripts write.
const MARK: char = '\u{1}';

impl Session {
    /// A value with the paths of inputs, and of the project, replaced by placeholders.
    pub(crate) fn packed(&self, value: &Value, inputs: &[Input]) -> Value {
        let root = self.root.to_string_lossy().into_owned();
        map_texts(value, &|text| {
            let named = inputs.iter().enumerate().filter_map(|(i, input)| input.rest(text).map(|rest| (i, rest)));
            if let Some((i, rest)) = named.min_by_key(|(_, rest)| rest.len()) {
                let same = inputs[..i].iter().filter(|other| other.entry.seen == inputs[i].entry.seen).count();
                return Some(format!("{MARK}read {} {same}{MARK}{rest}", inputs[i].entry.seen));
            }
            let inside = text.strip_prefix(&root).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
            Some(format!("{MARK}root{MARK}{inside}"))
        })
    }

    /// The value with placeholders replaced by the paths of the present call.
    pub(crate) fn unpacked(&self, value: &Value, inputs: &[Input]) -> Value {
        map_texts(value, &|text| {
            let (head, rest) = text.strip_prefix(MARK)?.split_once(MARK)?;
            if head == "root" {
                return Some(format!("{}{rest}", self.root.to_string_lossy()));
            }
            let (hash, count) = head.strip_prefix("read ")?.split_once(' ')?;
            let (hash, count) = (Hash::from_hex(hash)?, count.parse::<usize>().ok()?);
            let input = inputs.iter().filter(|i| i.entry.seen == hash).nth(count)?;
            Some(format!("{}{rest}", input.given))
        })
    }
}
