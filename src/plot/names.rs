//! Names of blocks that fit: what they have in common goes first.

use super::text::{self, Type, verbatim};

/// Shortens each name that is wider than `room`: first by the beginning and end that it shares with at least half of
/// the others, then in its middle.
///
/// ```text
/// uid___A002_Xd0a588_X2239_LB  ->  …Xd0a588_X2239_LB
/// ```
pub fn short_names(names: &[String], style: &Type, room: f64) -> Vec<String> {
    let fits = |name: &str| text::width(&verbatim(name), style) <= room;
    let shorten = |name: &String| {
        if fits(name) {
            return verbatim(name);
        }
        let others: Vec<&String> = names.iter().filter(|n| *n != name).collect();
        let cut = shared_prefix(name, &others);
        let rest = if cut > 0 { format!("…{}", &name[cut..]) } else { name.clone() };
        text::elide(&verbatim(&rest), style, room)
    };
    names.iter().map(shorten).collect()
}

/// Length of the longest beginning, up to a separator, that at least half of the others share.
fn shared_prefix(name: &str, others: &[&String]) -> usize {
    let ends = name.char_indices().filter(|(_, c)| "_-. ".contains(*c)).map(|(i, c)| i + c.len_utf8());
    let shared = |end: &usize| {
        *end < name.len() && !others.is_empty() && 2 * others.iter().filter(|o| o.starts_with(&name[..*end])).count() >= others.len()
    };
    ends.filter(shared).max().unwrap_or(0)
}
