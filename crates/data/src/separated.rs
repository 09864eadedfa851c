//! Values separated by commas, semicolons or tabs, with a header: RFC 4180, and tables of tabs
//! that do not quote.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use crate::files::open_regular;
use crate::utf8::text_of;

/// No header is longer.
const MOST_HEADER_BYTES: u64 = 1 << 16;

/// The line, from 1, on which a row begins, and its fields.
type Row = (usize, Vec<String>);
/// A line, from 1, and what is wrong there.
type Wrong = (usize, String);

/// A table of texts; every row has as many fields as the header.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

impl Table {
    pub(crate) fn parse(text: &str) -> Result<Self, Wrong> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // Old programs of the Macintosh end lines so.
        let returns =
            (!text.contains('\n') && text.contains('\r')).then(|| text.replace('\r', "\n"));
        let text = returns.as_deref().unwrap_or(text);
        let first = text.lines().next().unwrap_or_default();
        let separator = [',', ';', '\t'].into_iter().max_by_key(|&c| {
            // Of equals the last one would win: commas before others.
            (first.matches(c).count(), c == ',')
        });
        let separator = separator.unwrap_or(',');
        let lines = if separator == '\t' { lines(text) } else { None };
        let mut rows = match lines {
            Some(rows) => rows,
            None => fields(text, separator)?,
        }
        .into_iter();
        let (_, header) = rows.next().ok_or_else(|| (1, "it is empty".to_owned()))?;
        let header: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        let rows: Vec<_> = rows.collect();
        match rows.iter().find(|(_, fields)| fields.len() != header.len()) {
            Some((line, fields)) => {
                let (found, expected) = (fields.len(), header.len());
                Err((*line, format!("{found} fields, the header has {expected}")))
            }
            None => Ok(Self { header, rows }),
        }
    }

    /// The column of this name, without regard to case.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|known| known.eq_ignore_ascii_case(name))
    }

    /// Whether another column has the name of this one.
    pub(crate) fn is_twice(&self, column: usize) -> bool {
        let name = &self.header[column];
        self.header.iter().filter(|other| other.eq_ignore_ascii_case(name)).count() > 1
    }
}

/// The names of the columns of a file, if it can be read.
pub(crate) fn header(path: &Path) -> Option<Vec<String>> {
    let (file, _) = open_regular(path).ok()?;
    let mut line = Vec::new();
    BufReader::new(file.take(MOST_HEADER_BYTES)).read_until(b'\n', &mut line).ok()?;
    // Lines that end with a carriage return alone: the first one.
    if let Some(end) = line.iter().position(|&byte| byte == b'\r') {
        line.truncate(end);
    }
    let line = text_of(path, line).ok()?;
    Some(Table::parse(&line).ok()?.header)
}

/// The rows of a table of tabs, if each line is one. Then a quotation mark is a letter of the text,
/// as in the files of GLUE, but where a field is quoted as a whole.
fn lines(text: &str) -> Option<Vec<Row>> {
    let row = |line: &str| line.split('\t').map(unquoted).collect::<Vec<_>>();
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let rows: Vec<Row> = (1..)
        .zip(lines)
        .filter(|(_, line)| !line.is_empty())
        .map(|(number, line)| (number, row(line)))
        .collect();
    let width = rows.first()?.1.len();
    rows.iter().all(|(_, fields)| fields.len() == width).then_some(rows)
}

/// A field without the quotation marks round all of it; inside, they are doubled.
fn unquoted(field: &str) -> String {
    let inner = field.strip_prefix('"').and_then(|field| field.strip_suffix('"'));
    match inner {
        Some(inner) if !inner.replace("\"\"", "").contains('"') => inner.replace("\"\"", "\""),
        _ => field.to_owned(),
    }
}

/// The fields of each row that is not empty, with its first line.
fn fields(text: &str, separator: char) -> Result<Vec<Row>, Wrong> {
    let mut rows = Vec::new();
    let (mut row, mut field) = (Vec::new(), String::new());
    let (mut line, mut first_line, mut quoted) = (1, 1, None);
    let mut letters = text.chars().peekable();
    let mut end_row = |row: &mut Vec<String>, field: &mut String, first: usize| {
        row.push(std::mem::take(field));
        let row = std::mem::take(row);
        if row != [""] {
            rows.push((first, row));
        }
    };
    while let Some(letter) = letters.next() {
        line += usize::from(letter == '\n');
        if quoted.is_some() {
            match letter {
                '"' if letters.next_if_eq(&'"').is_some() => field.push('"'),
                '"' => quoted = None,
                letter => field.push(letter),
            }
            continue;
        }
        match letter {
            '"' if field.is_empty() => quoted = Some(line),
            letter if letter == separator => row.push(std::mem::take(&mut field)),
            '\r' if letters.peek().is_none_or(|&next| next == '\n') => {}
            '\n' => {
                end_row(&mut row, &mut field, first_line);
                first_line = line;
            }
            letter => field.push(letter),
        }
    }
    if let Some(line) = quoted {
        return Err((line, "a quotation mark is not closed".to_owned()));
    }
    end_row(&mut row, &mut field, first_line);
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_split_and_quotes_taken_off() {
        let text = "\u{feff}id, Label\r\n1.png,\"a, \"\"b\"\"\nc\"\r\n\r\n2.png,d";
        let table = Table::parse(text).unwrap();
        assert_eq!(table.header, ["id", "Label"]);
        let row =
            |line, first: &str, second: &str| (line, vec![first.to_owned(), second.to_owned()]);
        assert_eq!(table.rows, [row(2, "1.png", "a, \"b\"\nc"), row(5, "2.png", "d")]);
        assert_eq!((table.column("LABEL"), table.column("x")), (Some(1), None));
        // Carriage returns alone end lines too.
        let returns = Table::parse("id,label\r1,\"a\rb\"\r2,d\r").unwrap();
        assert_eq!(returns.rows, [row(2, "1", "a\nb"), row(4, "2", "d")]);
        for separator in [";", "\t"] {
            let text = ["a", "b\n1", "2,3\n"].join(separator);
            assert_eq!(Table::parse(&text).unwrap().rows, [row(2, "1", "2,3")], "{text}");
        }
    }

    #[test]
    fn in_tables_of_tabs_a_quotation_mark_is_a_letter_unless_a_field_is_quoted() {
        let rows = |text: &str| {
            let rows = Table::parse(text).unwrap().rows.into_iter();
            rows.map(|(_, fields)| fields[0].clone()).collect::<Vec<_>>()
        };
        let text = "text\tlabel\n\"never closed\t1\n5\" wide\t0\n\"a\" and \"b\"\t1\r\n";
        assert_eq!(rows(text), ["\"never closed", "5\" wide", "\"a\" and \"b\""]);
        assert_eq!(rows("text\tlabel\n\"say \"\"no\"\"\"\t1\n"), ["say \"no\""]);
        assert_eq!(rows("text\tlabel\n\"two\nlines\t\"\t1\n"), ["two\nlines\t"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line) in [("", 1), ("a,b\n1,2\n3\n", 3), ("a,b\n1,\"2\n", 2)] {
            assert_eq!(Table::parse(text).unwrap_err().0, line, "{text:?}");
        }
    }
}
