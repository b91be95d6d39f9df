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
    let mut cells = vec![Cell { title: String::new(), markdown: false, tags: vec![], first_line: 1, text: String::new() }];
    for (i, line) in source.lines().enumerate() {
        match marker(line) {
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
        assert_eq!(cells("  // %% no\nlet s = `\n // %% no`;\n// %%no\n").len(), 1);
    }
}
