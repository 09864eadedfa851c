//! Names from data, files and recipes as plain text: one function for each place where some signs
//! have a meaning of their own. (HTML is escaped where it is made, in the report.)

use std::borrow::Cow;

/// Whether a terminal obeys this sign, or shows the text around it in another order than it has.
/// Line breaks and tabs are told apart by the caller.
fn is_obeyed(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

/// A message or a table for a terminal: lines stay lines, what else a terminal would obey is
/// written out as `\u{1b}`.
#[must_use]
pub fn terminal(text: &str) -> Cow<'_, str> {
    written_out(text, |c| is_obeyed(c) && !matches!(c, '\n' | '\t'))
}

/// A name inside a line of a terminal: as [`terminal`], and it stays in its line.
#[must_use]
pub fn name(text: &str) -> Cow<'_, str> {
    written_out(text, is_obeyed)
}

fn written_out(text: &str, is_bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_bad) {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    for c in text.chars() {
        if is_bad(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// JSON, which a terminal may show as well: in its texts, the only place where they can be, what a
/// terminal obeys is written as JSON writes it. The values stay the same.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    for c in text.chars() {
        match c {
            // Between the values; inside of them JSON has written it out.
            '\n' => out.push(c),
            c if is_obeyed(c) => out += &format!("\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A cell of a Markdown table, or a part of a sentence: no sign of it is markup.
#[must_use]
pub fn markdown(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            // What would end the cell, start markup or a tag.
            '|' | '\\' | '`' | '*' | '_' | '<' | '[' | '&' | '~' => out.extend(['\\', c]),
            c if is_obeyed(c) => out += &markdown(&c.escape_default().to_string()),
            c => out.push(c),
        }
    }
    out
}

/// Code in a cell of a Markdown table, with its backticks.
#[must_use]
pub fn markdown_code(text: &str) -> String {
    format!("`{}`", name(text).replace('`', "'").replace('|', "\\|"))
}

/// A block of code in Markdown, behind a fence that no line of it can end.
#[must_use]
pub fn markdown_block(language: &str, text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat((longest + 1).max(3));
    format!("{fence}{language}\n{}\n{fence}\n", terminal(text))
}

/// Text in LaTeX.
#[must_use]
pub fn latex(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '\\' => out += "\\textbackslash{}",
            '~' => out += "\\textasciitilde{}",
            '^' => out += "\\textasciicircum{}",
            '<' => out += "\\textless{}",
            '>' => out += "\\textgreater{}",
            '±' => out += "$\\pm$",
            '−' => out += "$-$",
            '\n' | '\r' | '\t' => out.push(' '),
            c if is_obeyed(c) => out += &latex(&c.escape_default().to_string()),
            _ => out.push(c),
        }
    }
    out
}

/// A cell of a CSV file, quoted where it must be (RFC 4180). What a spreadsheet would run as a
/// formula gets an apostrophe in front; numbers stay as they are.
#[must_use]
pub fn csv(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let number = text.trim_end_matches(" %").parse::<f64>().is_ok();
    let cell = if formula && !number { format!("'{text}") } else { text.to_owned() };
    let cell = written_out(&cell, |c| is_obeyed(c) && !matches!(c, '\n' | '\r' | '\t'));
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal's title and colours, C1, a change of direction.
    const HOSTILE: &str = "a\u{1b}]0;T\u{7}\u{1b}[31m\u{9b}2J\u{202e}z";

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        let escaped = r"a\u{1b}]0;T\u{7}\u{1b}[31m\u{9b}2J\u{202e}z";
        assert_eq!(terminal(HOSTILE), escaped);
        assert_eq!(name(&format!("{HOSTILE}\n")), format!("{escaped}\\n"));
        assert_eq!(terminal("a\tb\né 漢 ±"), "a\tb\né 漢 ±");
        for text in [markdown(HOSTILE), markdown_code(HOSTILE), latex(HOSTILE), csv(HOSTILE)] {
            assert!(!text.contains(is_obeyed), "{text:?}");
        }
        assert!(!markdown_block("toml", HOSTILE).replace('\n', "").contains(is_obeyed));
    }

    #[test]
    fn json_keeps_its_values() {
        let value = serde_json::json!({ "name": format!("{HOSTILE}\n\u{7f}") });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = json(&text);
        assert!(!shown.replace('\n', "").contains(is_obeyed), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    #[test]
    fn markdown_stays_in_its_cell_and_its_block() {
        assert_eq!(markdown("<img src=q>|a\nb"), "\\<img src=q>\\|a b");
        assert_eq!(markdown("![x](y) &lt; *b*"), "!\\[x](y) \\&lt; \\*b\\*");
        assert_eq!(markdown_code("a`b|c"), "`a'b\\|c`");
        let block = markdown_block("toml", "name = \"x\n````\n<img>\"");
        assert!(block.starts_with("`````toml\n") && block.ends_with("\n`````\n"), "{block}");
        assert!(markdown_block("toml", "a = 1").starts_with("```toml\n"));
    }

    #[test]
    fn a_spreadsheet_runs_no_cell() {
        for formula in ["=1+1", "+SUM(A1)", "-2+3", "@x", "=HYPERLINK(\"a\")"] {
            assert!(csv(formula).trim_start_matches('"').starts_with('\''), "{}", csv(formula));
        }
        assert!(csv("\t=1").starts_with('\''));
        for plain in ["-0.25", "+0.8", "-1e-3", "71.25", "ce", "a-b", "+0.80 %", "-inf"] {
            assert_eq!(csv(plain), plain);
        }
        assert_eq!(csv("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
