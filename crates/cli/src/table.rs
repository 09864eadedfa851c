//! Plain aligned tables.

use std::io::{self, Write};

use faculty_escape as escape;

/// A cell's place in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Writes rows under a header, columns as wide as their widest cell.
pub(crate) fn write(
    out: &mut impl Write,
    header: &[(&str, Align)],
    rows: &[Vec<String>],
) -> io::Result<()> {
    let rows: Vec<Vec<String>> = (rows.iter())
        .map(|row| row.iter().map(|cell| escape::name(cell).into_owned()).collect())
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].0.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let titles: Vec<String> = header.iter().map(|(title, _)| (*title).to_owned()).collect();
    for row in std::iter::once(&titles).chain(&rows) {
        let cells: Vec<String> = row
            .iter()
            .zip(header)
            .zip(&widths)
            .map(|((cell, (_, align)), &width)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            })
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// Percent with two digits.
pub(crate) fn percent(value: f64) -> String {
    format!("{value:.2} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut out = Vec::new();
        let rows =
            vec![vec!["ce".to_owned(), percent(7.0)], vec!["ca-mkd".to_owned(), percent(71.25)]];
        write(&mut out, &[("method", Align::Left), ("top-1", Align::Right)], &rows).unwrap();
        let expected = "method    top-1\nce       7.00 %\nca-mkd  71.25 %\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
