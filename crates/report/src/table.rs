//! A table once, in every format.

use std::fmt::Write as _;

use faculty_escape as escape;

use crate::svg::escape as html;

/// Plain cells under titles; the first column names the row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// What it shows, one sentence.
    pub caption: String,
    /// Titles; those that start a column of numbers are marked.
    pub columns: Vec<(String, bool)>,
    /// As many cells as titles.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// With these titles; `#` in front of a title marks a column of numbers.
    pub(crate) fn new(caption: impl Into<String>, titles: &[&str]) -> Self {
        let column = |title: &&str| match title.strip_prefix('#') {
            Some(rest) => (rest.to_owned(), true),
            None => ((*title).to_owned(), false),
        };
        let columns = titles.iter().map(column).collect();
        Self { caption: caption.into(), columns, rows: Vec::new() }
    }

    /// An HTML table; whatever is in the cells is text.
    #[must_use]
    pub fn html(&self) -> String {
        let mut text = format!(
            "<div class=\"scroll\"><table><caption><span>{}</span></caption><thead><tr>",
            html(&self.caption)
        );
        let class = |number: bool| if number { " class=\"n\"" } else { "" };
        for (title, number) in &self.columns {
            let _ = write!(text, "<th scope=\"col\"{}>{}</th>", class(*number), html(title));
        }
        text += "</tr></thead><tbody>";
        for row in &self.rows {
            text += "<tr>";
            for (at, (cell, (_, number))) in row.iter().zip(&self.columns).enumerate() {
                let _ = match at {
                    0 => write!(text, "<th scope=\"row\"{}>{}</th>", class(*number), html(cell)),
                    _ => write!(text, "<td{}>{}</td>", class(*number), html(cell)),
                };
            }
            text += "</tr>";
        }
        text + "</tbody></table></div>\n"
    }

    /// A Markdown table with its caption above.
    #[must_use]
    pub fn markdown(&self) -> String {
        let cell = escape::markdown;
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = format!("{}\n\n", cell(&self.caption));
        text += &line(self.columns.iter().map(|(title, _)| cell(title)).collect());
        let rule = |(_, number): &(String, bool)| if *number { "---:" } else { "---" }.to_owned();
        text += &line(self.columns.iter().map(rule).collect());
        for row in &self.rows {
            text += &line(row.iter().map(|own| cell(own)).collect());
        }
        text
    }

    /// A LaTeX table (`booktabs`).
    #[must_use]
    pub fn latex(&self) -> String {
        let kinds: String =
            self.columns.iter().map(|(_, number)| if *number { 'r' } else { 'l' }).collect();
        let line = |cells: Vec<String>| format!("    {} \\\\\n", cells.join(" & "));
        let mut text = format!(
            "\\begin{{table}}\n  \\centering\n  \\caption{{{}}}\n  \\begin{{tabular}}{{{kinds}}}\n    \
             \\toprule\n",
            escape::latex(&self.caption)
        );
        text += &line(self.columns.iter().map(|(title, _)| escape::latex(title)).collect());
        text += "    \\midrule\n";
        for row in &self.rows {
            text += &line(row.iter().map(|own| escape::latex(own)).collect());
        }
        text + "    \\bottomrule\n  \\end{tabular}\n\\end{table}\n"
    }

    /// Comma-separated, quoted where it must be (RFC 4180).
    #[must_use]
    pub fn csv(&self) -> String {
        let cell = |text: &String| escape::csv(text);
        let line = |cells: Vec<String>| cells.join(",") + "\n";
        let mut text = line(self.columns.iter().map(|(title, _)| cell(title)).collect());
        for row in &self.rows {
            text += &line(row.iter().map(cell).collect());
        }
        text
    }

    /// Aligned with spaces.
    #[must_use]
    pub fn text(&self) -> String {
        let length = |text: &str| text.chars().count();
        let width = |at: usize| {
            let cells = self.rows.iter().map(|row| length(&row[at]));
            cells.chain([length(&self.columns[at].0)]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let titles: Vec<String> = self.columns.iter().map(|(title, _)| title.clone()).collect();
        let mut text = String::new();
        for row in std::iter::once(&titles).chain(&self.rows) {
            let cells = row.iter().zip(&self.columns).zip(&widths);
            let cells: Vec<String> = cells
                .map(|((cell, (_, number)), &width)| match number {
                    true => format!("{cell:>width$}"),
                    false => format!("{cell:<width$}"),
                })
                .collect();
            text += cells.join("  ").trim_end();
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hostile() -> Table {
        let mut table = Table::new("50 % of <b>", &["who", "#top-1"]);
        table.rows.push(vec!["a|b_<script>\"x\" & \\c".to_owned(), "1,5 ± 2 %".to_owned()]);
        table
    }

    #[test]
    fn cells_are_text_in_every_format() {
        let table = hostile();
        let html = table.html();
        assert!(html.contains("a|b_&lt;script&gt;&quot;x&quot; &amp; \\c"), "{html}");
        let markdown = table.markdown();
        assert!(markdown.contains("a\\|b\\_\\<script>\"x\" \\& \\\\c | 1,5 ± 2 % |"), "{markdown}");
        let latex = table.latex();
        let cell = "a|b\\_\\textless{}script\\textgreater{}\"x\" \\& \\textbackslash{}c";
        assert!(latex.contains(cell), "{latex}");
        assert!(latex.contains("1,5 $\\pm$ 2 \\% \\\\"), "{latex}");
        assert_eq!(table.csv(), "who,top-1\n\"a|b_<script>\"\"x\"\" & \\c\",\"1,5 ± 2 %\"\n");
    }

    #[test]
    fn text_lines_up() {
        let mut table = Table::new("", &["who", "#top-1"]);
        table.rows = vec![vec!["ce".into(), "7 %".into()], vec!["ca-mkd".into(), "71 %".into()]];
        assert_eq!(table.text(), "who     top-1\nce        7 %\nca-mkd   71 %\n");
    }
}
