//! Markdown cells: text only, nothing that loads or runs.

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// The text of a Markdown cell: its comment lines without `//` and one space.
pub fn uncommented(lines: &[&str]) -> String {
    let strip = |l: &&str| {
        let l = l.trim_start();
        let l = l.strip_prefix("//").unwrap_or(l);
        l.strip_prefix(' ').unwrap_or(l).to_string()
    };
    lines.iter().map(strip).collect::<Vec<_>>().join("\n")
}

/// Markdown as HTML. Raw HTML becomes text; links lead to the web, to mail or into the page; pictures become links, so that
/// nothing is loaded. Headings start below `above` and skip no level.
pub fn render(text: &str, above: usize) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_FOOTNOTES;
    let mut last = above;
    let mut open = Vec::new();
    let events = Parser::new_ext(text, options).map(|event| match event {
        Event::Html(raw) | Event::InlineHtml(raw) => Event::Text(raw),
        Event::Start(Tag::HtmlBlock) => Event::Start(Tag::Paragraph),
        Event::End(TagEnd::HtmlBlock) => Event::End(TagEnd::Paragraph),
        Event::Start(Tag::Heading { level, .. }) => {
            last = (above + level as usize).min(last + 1).min(6);
            open.push(last);
            Event::Start(Tag::Heading { level: heading(last), id: None, classes: vec![], attrs: vec![] })
        }
        Event::End(TagEnd::Heading(level)) => Event::End(TagEnd::Heading(open.pop().map_or(level, heading))),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: harmless(dest_url), title, id })
        }
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: harmless(dest_url), title, id })
        }
        Event::End(TagEnd::Image) => Event::End(TagEnd::Link),
        other => other,
    });
    let mut out = String::new();
    pulldown_cmark::html::push_html(&mut out, events);
    out.replace("<table>", "<div class=\"scroll\" role=\"group\" aria-label=\"Table\" tabindex=\"0\"><table>")
        .replace("</table>", "</table></div>")
}

fn heading(level: usize) -> HeadingLevel {
    HeadingLevel::try_from(level.clamp(1, 6)).unwrap_or(HeadingLevel::H6)
}

/// A link target that neither runs nor reads local files.
fn harmless(url: CowStr) -> CowStr {
    let lower = url.trim().to_lowercase();
    let scheme = lower.split_once(':').map(|(s, _)| s);
    let fine = match scheme {
        Some(s) if s.chars().all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c)) => ["http", "https", "mailto", "doi"].contains(&s),
        _ => !lower.contains(char::is_control),
    };
    if fine { url } else { CowStr::from("#") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_become_markdown() {
        assert_eq!(uncommented(&["// # Title", "//", "//   - item", "// text"]), "# Title\n\n  - item\ntext");
    }

    #[test]
    fn nothing_runs_or_loads() {
        let out = render("<script>alert(1)</script>\n\na <b onclick=x>b</b> [l](javascript:alert(1)) ![p](https://example.org/x.png)", 2);
        assert!(!out.contains("<script") && !out.contains("<b ") && !out.contains("javascript") && !out.contains("<img"), "{out}");
        assert!(out.contains("&lt;script&gt;") && out.contains("<a href=\"https://example.org/x.png\">p</a>"), "{out}");
        for bad in ["JaVaScRiPt:x", "data:text/html,x", "vbscript:x", " javascript:x", "file:///etc/passwd"] {
            assert!(render(&format!("[l](<{bad}>)"), 2).contains("href=\"#\""), "{bad}");
        }
    }

    #[test]
    fn headings_skip_no_level() {
        let out = render("# a\n\n### b\n\n# c\n", 2);
        assert!(out.contains("<h3>a</h3>") && out.contains("<h4>b</h4>") && out.contains("<h3>c</h3>"), "{out}");
        assert!(render("##### deep", 3).contains("<h4>deep</h4>"));
    }
}
