//! Script text with comments, texts and key words told apart.

use super::html::esc;

const WORDS: [&str; 19] = [
    "let", "const", "if", "else", "for", "in", "while", "loop", "do", "until", "break", "continue", "return", "fn", "import", "as", "true",
    "false", "switch",
];

/// Rhai source as HTML for a `pre`.
pub fn highlighted(source: &str) -> String {
    let mut out = String::new();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let (class, len) = token(rest, c);
        let (head, tail) = rest.split_at(len);
        match class {
            "" => out.push_str(&esc(head)),
            class => out.push_str(&format!("<span class=\"{class}\">{}</span>", esc(head))),
        }
        rest = tail;
    }
    out
}

/// Class and length of the token at the start of `rest`.
fn token(rest: &str, first: char) -> (&'static str, usize) {
    if rest.starts_with("//") {
        return ("c", rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return ("c", rest.find("*/").map_or(rest.len(), |i| i + 2));
    }
    if matches!(first, '"' | '`' | '\'') {
        return ("s", text_length(rest, first));
    }
    if first.is_alphabetic() || first == '_' {
        let len = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        return (if WORDS.contains(&&rest[..len]) { "k" } else { "" }, len);
    }
    ("", first.len_utf8())
}

fn text_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (i, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            '\n' if quote != '`' => return i,
            c if c == quote => return i + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_apart_and_nothing_is_lost() {
        let out = highlighted("let x = \"a // \\\" b\"; // note <1>\nletter");
        assert_eq!(
            out,
            "<span class=\"k\">let</span> x = <span class=\"s\">&quot;a // \\&quot; b&quot;</span>; <span class=\"c\">// note &lt;1&gt;</span>\nletter"
        );
        for odd in ["\"open", "/* open", "é\"é", "'", "`a\nb`", "\"x\ny"] {
            let plain = highlighted(odd).replace("<span class=\"s\">", "").replace("<span class=\"c\">", "").replace("</span>", "");
            assert_eq!(plain, esc(odd));
        }
    }
}
