//! Plain aligned tables that fit the terminal.

use std::io::{self, Write};

use faculty_distill::metrics::Quality;
use faculty_escape as escape;

use crate::terminal;

/// A cell's place in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Between two columns.
const GAP: &str = "  ";

/// Writes rows under a header, as wide as the terminal at most: words go on in the next line, and
/// columns that find no place follow below, behind the first column once more.
pub(crate) fn write(
    out: &mut impl Write,
    header: &[(&str, Align)],
    rows: &[Vec<String>],
) -> io::Result<()> {
    write_within(terminal::width(), out, header, rows)
}

/// [`write()`] for lines of `width` characters.
fn write_within(
    width: usize,
    out: &mut impl Write,
    header: &[(&str, Align)],
    rows: &[Vec<String>],
) -> io::Result<()> {
    let titles = header.iter().map(|(title, _)| (*title).to_owned()).collect();
    let escaped = |row: &Vec<String>| row.iter().map(|c| escape::name(c).into_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(titles).chain(rows.iter().map(escaped)).collect();
    let columns: Vec<Column> = header
        .iter()
        .enumerate()
        .map(|(at, &(_, align))| Column::of(at, align, &lines, width))
        .collect();
    for (number, block) in blocks(&columns, width).iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        for line in &lines {
            write_row(out, block, line)?;
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Column {
    at: usize,
    align: Align,
    /// Characters of its widest cell.
    natural: usize,
    /// Characters that it has: first those that it needs at least.
    width: usize,
}

impl Column {
    fn of(at: usize, align: Align, lines: &[Vec<String>], width: usize) -> Self {
        let cells = || lines.iter().map(|line| line[at].as_str());
        let natural = cells().map(count).max().unwrap_or(0);
        let width = match align {
            Align::Right => natural,
            // A longer word is broken.
            Align::Left => {
                let longest = cells().flat_map(str::split_whitespace).map(count).max().unwrap_or(0);
                longest.min((width.saturating_sub(GAP.len()) / 2).max(1))
            }
        };
        Self { at, align, natural, width }
    }
}

fn count(text: &str) -> usize {
    text.chars().count()
}

fn total(columns: &[Column]) -> usize {
    let gaps = GAP.len() * columns.len().saturating_sub(1);
    columns.iter().map(|column| column.width).sum::<usize>() + gaps
}

/// The columns that stand side by side, the first one in each block.
fn blocks(columns: &[Column], width: usize) -> Vec<Vec<Column>> {
    let Some((first, others)) = columns.split_first() else { return Vec::new() };
    let mut blocks = vec![vec![*first]];
    for column in others {
        let block = blocks.last_mut().expect("one at least");
        if block.len() > 1 && total(block) + GAP.len() + column.width > width {
            blocks.push(vec![*first, *column]);
        } else {
            block.push(*column);
        }
    }
    // What is left goes to the columns in their order, so that the last one is broken first.
    for block in &mut blocks {
        let mut left = width.saturating_sub(total(block));
        for column in block.iter_mut() {
            let more = (column.natural - column.width).min(left);
            column.width += more;
            left -= more;
        }
    }
    blocks
}

fn write_row(out: &mut impl Write, columns: &[Column], row: &[String]) -> io::Result<()> {
    let cells: Vec<Vec<String>> =
        columns.iter().map(|column| broken(&row[column.at], column.width)).collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(1);
    for line in 0..height {
        let pieces: Vec<String> = columns
            .iter()
            .zip(&cells)
            .map(|(&Column { align, width, .. }, cell)| {
                let piece = cell.get(line).map_or("", String::as_str);
                match align {
                    Align::Left => format!("{piece:<width$}"),
                    Align::Right => format!("{piece:>width$}"),
                }
            })
            .collect();
        writeln!(out, "{}", pieces.join(GAP).trim_end())?;
    }
    Ok(())
}

/// Lines of at most `width` characters, broken between words where that is enough.
fn broken(text: &str, width: usize) -> Vec<String> {
    if count(text) <= width {
        return vec![text.to_owned()];
    }
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        match lines.last_mut() {
            Some(line) if count(line) + 1 + word.len() <= width => {
                line.push(' ');
                line.extend(word);
                continue;
            }
            _ => {}
        }
        while word.len() > width {
            let rest = word.split_off(width);
            lines.push(word.into_iter().collect());
            word = rest;
        }
        lines.push(word.into_iter().collect());
    }
    lines
}

/// Percent with two digits.
pub(crate) fn percent(value: f64) -> String {
    format!("{value:.2} %")
}

/// `, balanced …, macro-F1 …`, as far as they were measured.
pub(crate) fn class_means(quality: &Quality) -> String {
    let known = |name: &str, own: Option<f64>| {
        own.map_or_else(String::new, |own| format!(", {name} {}", percent(own)))
    };
    known("balanced", quality.balanced_accuracy) + &known("macro-F1", quality.macro_f1)
}

/// Whether top-5 says something: of five classes everything is among the first five.
pub(crate) const fn shows_top5(classes: usize) -> bool {
    classes > 5
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(width: usize, header: &[(&str, Align)], rows: &[&[&str]]) -> String {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|&cell| cell.to_owned()).collect()).collect();
        let mut out = Vec::new();
        write_within(width, &mut out, header, &rows).unwrap();
        String::from_utf8(out).unwrap()
    }

    const HEADER: [(&str, Align); 3] =
        [("method", Align::Left), ("top-1", Align::Right), ("what it is", Align::Left)];

    #[test]
    fn columns_line_up() {
        let rows: [&[&str]; 2] = [&["ce", "7.00 %", "labels"], &["ca-mkd", "71.25 %", "a"]];
        let expected = "method    top-1  what it is\nce       7.00 %  labels\n\
                        ca-mkd  71.25 %  a\n";
        assert_eq!(table(80, &HEADER, &rows), expected);
    }

    #[test]
    fn words_that_find_no_place_go_on_in_the_next_line() {
        let rows: [&[&str]; 1] = [&["ce", "7.00 %", "labels alone, no teachers"]];
        let expected = "method   top-1  what it is\nce      7.00 %  labels alone,\n\
                        \x20               no teachers\n";
        assert_eq!(table(30, &HEADER, &rows), expected);
    }

    #[test]
    fn columns_that_find_no_place_follow_below() {
        let rows: [&[&str]; 1] = [&["ce", "7.00 %", "labels"]];
        let expected = "method   top-1\nce      7.00 %\n\nmethod  what\n        it is\n\
                        ce      labels\n";
        assert_eq!(table(14, &HEADER, &rows), expected);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_if_its_numbers_are_not() {
        let long = "x".repeat(100);
        let rows: [&[&str]; 2] = [&[&long, "7.00 %", "a b"], &["ä ö", "1.00 %", &long]];
        for width in [20, 40, 80] {
            let text = table(width, &HEADER, &rows);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
            assert!(text.matches('x').count() >= 200, "nothing is lost\n{text}");
        }
    }
}
