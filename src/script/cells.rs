//! The cells of a script: `// %% title [markdown] key="value"` at the start of a line opens one.

/// A cell of a script.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Title after the marker.
    pub title: String,
    /// True for a cell of Markdown.
    pub markdown: bool,
    /// `key="value"` pairs of the marker.
    pub tags: Vec<(String, String)>,
    /// First line of the cell's text in the file (1-based), after its marker.
    pub first_line: usize,
    /// The text of the cell without its marker.
    pub text: String,
}

impl Cell {
    /// Markdown of a Markdown cell: its lines without the leading `// `.
    pub fn markdown_text(&self) -> String {
        self.text.lines().map(|l| l.strip_prefix("// ").or_else(|| l.strip_prefix("//")).unwrap_or(l)).collect::<Vec<_>>().join("\n")
    }
}

/// Splits a script into its cells; text before the first marker is a cell if it is not blank.
pub fn cells(source: &str) -> Vec<Cell> {
    let opening: Vec<usize> = marks(source).into_iter().filter(|m| m.why.is_none()).map(|m| m.line).collect();
    let mut cells = vec![Cell { title: String::new(), markdown: false, tags: vec![], first_line: 1, text: String::new() }];
    for (i, line) in source.lines().enumerate() {
        match marker(line).filter(|_| opening.contains(&(i + 1))) {
            Some((title, markdown, tags)) => cells.push(Cell { title, markdown, tags, first_line: i + 2, text: String::new() }),
            None => {
                if let Some(cell) = cells.last_mut() {
                    cell.text.push_str(line);
                    cell.text.push('\n');
                }
            }
        }
    }
    if cells[0].text.trim().is_empty() {
        cells.remove(0);
    }
    cells
}

/// Something that looks like a marker and opens no cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Stray {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// Why it opens none.
    pub why: &'static str,
}

/// Everything that looks like a marker and opens no cell.
pub fn stray_markers(source: &str) -> Vec<Stray> {
    marks(source).into_iter().filter_map(|m| m.why.map(|why| Stray { line: m.line, column: m.column, why })).collect()
}

/// What looks like a marker; `why` says what keeps it from opening a cell.
struct Mark {
    line: usize,
    column: usize,
    why: Option<&'static str>,
}

const IN_TEXT: &str = "a line of a text or comment that looks like a marker: other tools cut the cell here; write it differently";
const IN_BLOCK: &str = "a marker inside a block, function or expression opens no cell: move it out";
const NOT_FIRST: &str = "a marker opens a cell only in column 1";
const MISSPELT: &str = "a marker is `// %%`, followed by a blank or the end of the line";

/// Looks for markers with an eye for texts, comments and brackets.
fn marks(source: &str) -> Vec<Mark> {
    let mut found = vec![];
    let mut reader = Lexer::default();
    for (i, text) in source.lines().enumerate() {
        let column = text.len() - text.trim_start().len() + 1;
        let looks = text.trim_start().starts_with("// %%") || text.trim_start().starts_with("//%%");
        let (inside_text, depth) = (reader.inside_text(), reader.depth());
        let comment = reader.line(text);
        let mut add = |column: usize, why: Option<&'static str>| found.push(Mark { line: i + 1, column, why });
        match comment.filter(|c| text[*c..].starts_with("// %%") || text[*c..].starts_with("//%%")) {
            _ if looks && inside_text => add(column, Some(IN_TEXT)),
            None => {}
            Some(0) if marker(text).is_none() => add(1, Some(MISSPELT)),
            Some(0) if depth > 0 => add(1, Some(IN_BLOCK)),
            Some(0) => add(1, None),
            Some(at) => add(at + 1, Some(NOT_FIRST)),
        }
    }
    found
}

/// Where in the syntax a line begins: what is open, innermost last.
#[derive(Default)]
struct Lexer {
    open: Vec<Open>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Open {
    /// A bracket of any kind.
    Bracket,
    /// `"..."`, which goes on in the next line after a backslash.
    Quote,
    /// `#"..."#` with so many `#`.
    Raw(usize),
    /// A text in backticks.
    Backtick,
    /// `${ .. }` inside one.
    Hole,
    /// A comment that ends by `*/`.
    Comment,
}

impl Lexer {
    fn inside_text(&self) -> bool {
        matches!(self.open.last(), Some(Open::Quote | Open::Raw(_) | Open::Backtick | Open::Comment))
    }

    fn depth(&self) -> usize {
        self.open.len()
    }

    /// Reads a line; returns where its `//` comment begins, if it has one.
    fn line(&mut self, text: &str) -> Option<usize> {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let next = |n: usize| rest.get(n..).unwrap_or("");
            rest = match (self.open.last().copied(), c) {
                (Some(Open::Comment), _) if rest.starts_with("*/") => self.shut(next(2)),
                (Some(Open::Comment), _) if rest.starts_with("/*") => self.begin(Open::Comment, next(2)),
                (Some(Open::Quote | Open::Backtick), '\\') => {
                    let escaped = next(1).chars().next().map_or(0, char::len_utf8);
                    next(1 + escaped)
                }
                (Some(Open::Quote), '"') | (Some(Open::Backtick), '`') => self.shut(next(1)),
                (Some(Open::Raw(n)), '"') if next(1).starts_with(&"#".repeat(n)) => self.shut(next(1 + n)),
                (Some(Open::Backtick), '$') if rest.starts_with("${") => self.begin(Open::Hole, next(2)),
                (Some(Open::Comment | Open::Quote | Open::Raw(_) | Open::Backtick), c) => next(c.len_utf8()),
                (_, '/') if rest.starts_with("//") => return Some(text.len() - rest.len()),
                (_, '/') if rest.starts_with("/*") => self.begin(Open::Comment, next(2)),
                (_, '"') => self.begin(Open::Quote, next(1)),
                (_, '`') => self.begin(Open::Backtick, next(1)),
                (_, '#') if rest.trim_start_matches('#').starts_with('"') => {
                    let n = rest.len() - rest.trim_start_matches('#').len();
                    self.begin(Open::Raw(n), next(n + 1))
                }
                (_, '\'') => next(character(rest)),
                (_, '{' | '(' | '[') => self.begin(Open::Bracket, next(1)),
                (Some(Open::Bracket | Open::Hole), '}' | ')' | ']') => self.shut(next(1)),
                (_, c) => next(c.len_utf8()),
            };
        }
        // a quoted text goes on only after a backslash
        if self.open.last() == Some(&Open::Quote) && !text.ends_with('\\') {
            self.open.pop();
        }
        None
    }

    fn begin<'t>(&mut self, what: Open, rest: &'t str) -> &'t str {
        self.open.push(what);
        rest
    }

    fn shut<'t>(&mut self, rest: &'t str) -> &'t str {
        self.open.pop();
        rest
    }
}

/// Length of a character literal at the start of `text`.
fn character(text: &str) -> usize {
    let escaped = text[1..].starts_with('\\');
    let from = if escaped { 3 } else { 2 };
    text.char_indices().skip(from).find(|(_, c)| *c == '\'').map_or(1, |(i, _)| i + 1)
}

/// Title, Markdown mark and tags of a marker line.
fn marker(line: &str) -> Option<(String, bool, Vec<(String, String)>)> {
    let rest = line.strip_prefix("// %%")?;
    if !(rest.is_empty() || rest.starts_with(char::is_whitespace)) {
        return None;
    }
    let (mut title, mut markdown, mut tags) = (vec![], false, vec![]);
    for word in words(rest) {
        match word.split_once('=') {
            _ if word == "[markdown]" => markdown = true,
            Some((key, value)) if value.len() >= 2 && value.starts_with('"') && value.ends_with('"') => {
                tags.push((key.to_string(), value[1..value.len() - 1].to_string()));
            }
            _ => title.push(word),
        }
    }
    Some((title.join(" "), markdown, tags))
}

/// Words separated by blanks; blanks inside double quotes belong to the word.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (vec![], String::new(), false);
    for c in text.chars() {
        if c == '"' {
            quoted = !quoted;
        }
        if c.is_whitespace() && !quoted {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
        } else {
            word.push(c);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_has_title_kind_and_tags() {
        let c = cells(
            "let a = 1;\n// %% Align the long baselines tag=\"two words\"\nlet b = 2;\n// %% [markdown] Notes\n// # Title\n//\n// text\n",
        );
        assert_eq!(c.len(), 3);
        assert_eq!((c[1].title.as_str(), c[1].first_line, c[1].markdown), ("Align the long baselines", 3, false));
        assert_eq!(c[1].tags, [("tag".to_string(), "two words".to_string())]);
        assert_eq!(c[2].markdown_text(), "# Title\n\ntext");
    }

    #[test]
    fn only_column_zero_opens_a_cell() {
        assert_eq!(cells("  // %% no\nlet s = `\n// %% no`;\n// %%no\nif true {\n// %% no\n}").len(), 1);
    }

    #[test]
    fn texts_and_comments_do_not_confuse_the_markers() {
        let source =
            "let a = \"// %% {\";\nlet b = `${ #{ x: '{' } } \" { `;\nlet c = '\\'';\nlet d = #\"a \" {\"#; /* { /* */ ( */\n// %% yes\n";
        assert_eq!(cells(source).len(), 2, "{:?}", stray_markers(source));
    }
}
