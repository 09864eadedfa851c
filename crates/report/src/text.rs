//! A report on a terminal: the results, and curves drawn with characters.

use std::fmt::Write as _;

use faculty_records::run::EpochRecord;

use crate::charts::{level_name, level_names, teacher_names};
use crate::load::{Report, Run};
use crate::table::Table;

/// Rows of a curve.
const ROWS: usize = 8;
/// A narrower terminal is treated as this wide.
const NARROWEST: usize = 30;
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The whole view, no line longer than `width` characters.
#[must_use]
pub fn view(report: &Report, width: usize) -> String {
    let width = width.max(NARROWEST);
    let mut lines: Vec<String> = vec![report.title.clone(), String::new()];
    lines.extend(crate::html::headline(report).iter().flat_map(|line| wrapped(line, width)));
    lines.extend(report.notes.iter().flat_map(|note| wrapped(&format!("note: {note}"), width)));
    let results = results(report);
    if !results.rows.is_empty() {
        lines.extend(results.text().lines().map(str::to_owned));
        lines.push(String::new());
    }
    if let [run] = &report.runs[..] {
        lines.extend(curve("validation top-1, %", run, width, |r| r.validation.map(|q| q.top1)));
        lines.extend(curve("loss", run, width, |r| Some(r.loss)));
    } else {
        lines
            .extend(sparks(report, "validation top-1, %", width, |r| r.validation.map(|q| q.top1)));
        lines.extend(sparks(report, "loss, each on its own scale", width, |r| Some(r.loss)));
    }
    if let Some(run) = report.focus() {
        lines.extend(weights(report, run, width));
    }
    let mut text = String::new();
    for line in lines {
        let _ = writeln!(text, "{}", clean(&line, width).trim_end());
    }
    text
}

/// Few columns, for few columns of characters.
fn results(report: &Report) -> Table {
    let entries = report.entries();
    let seeds = entries.iter().any(|entry| entry.deviation.is_some());
    let spread = if seeds { "#spread" } else { "#95 % interval" };
    let mut table = Table::new("", &["", "part", "#top-1", spread]);
    for entry in entries {
        let spread = match entry.deviation {
            Some(deviation) => format!("± {deviation:.2}"),
            None => format!("{:.1} to {:.1}", entry.interval[0], entry.interval[1]),
        };
        let top1 = format!("{:.2} %", entry.top1);
        table.rows.push(vec![entry.label(), entry.part, top1, spread]);
    }
    table
}

/// Without what a terminal would obey, and not too long.
fn clean(line: &str, width: usize) -> String {
    line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(width).collect()
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("begins with one line");
        let more = last.chars().count() + 1 + word.chars().count();
        if !last.is_empty() && more > width {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines.push(String::new());
    lines
}

fn values(run: &Run, value: impl Fn(&EpochRecord) -> Option<f64>) -> Vec<(usize, f64)> {
    let own = run.epochs.iter().filter_map(|record| Some((record.epoch, value(record)?)));
    own.filter(|(_, value)| value.is_finite()).collect()
}

/// As many values as columns: means of neighbours, or each one several columns wide.
fn columns(values: &[f64], width: usize) -> Vec<f64> {
    if values.len() >= width {
        return (0..width)
            .map(|at| {
                let (from, to) = (at * values.len() / width, (at + 1) * values.len() / width);
                let own = &values[from..to.max(from + 1)];
                own.iter().sum::<f64>() / own.len() as f64
            })
            .collect();
    }
    let wide = (width / values.len().max(1)).clamp(1, 4);
    values.iter().flat_map(|&value| std::iter::repeat_n(value, wide)).collect()
}

fn limits(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (low, high)
}

/// Eighths of a row that a value fills, from 1.
fn eighths(value: f64, low: f64, high: f64, rows: usize) -> usize {
    let all = 8 * rows - 1;
    let share = if high > low { (value - low) / (high - low) } else { 0.5 };
    1 + (share * all as f64).round() as usize
}

/// One curve, filled from below.
fn curve(
    title: &str,
    run: &Run,
    width: usize,
    value: impl Fn(&EpochRecord) -> Option<f64>,
) -> Vec<String> {
    let own = values(run, value);
    let (Some(first), Some(last)) = (own.first(), own.last()) else { return Vec::new() };
    let numbers: Vec<f64> = own.iter().map(|(_, value)| *value).collect();
    let (low, high) = limits(&numbers);
    let labels = [format!("{high:.2}"), format!("{low:.2}")];
    let margin = labels.iter().map(String::len).max().unwrap_or(0);
    let drawn = columns(&numbers, width - margin - 2);
    let mut lines = vec![format!("{title}: {:.2} → {:.2}", first.1, last.1)];
    for row in (0..ROWS).rev() {
        let label = match row {
            0 => &labels[1],
            own if own == ROWS - 1 => &labels[0],
            _ => "",
        };
        let cell = |&value: &f64| match eighths(value, low, high, ROWS).saturating_sub(8 * row) {
            0 => ' ',
            own => BLOCKS[own.min(8) - 1],
        };
        lines.push(format!("{label:>margin$} ┤{}", drawn.iter().map(cell).collect::<String>()));
    }
    let (from, to) = (format!("epoch {}", first.0), last.0.to_string());
    let gap = drawn.len().saturating_sub(from.chars().count() + to.len());
    lines.push(format!("{:>margin$}  {from}{}{to}", "", " ".repeat(gap)));
    lines.push(String::new());
    lines
}

/// One line a run: its name, its course, where it began and ended.
fn spark_lines(
    rows: &[(String, Vec<f64>)],
    width: usize,
    common: bool,
    digits: usize,
) -> Vec<String> {
    let names = rows.iter().map(|row| row.0.chars().count()).max().unwrap_or(0).min(width / 3);
    let all: Vec<f64> = rows.iter().flat_map(|row| row.1.iter().copied()).collect();
    let line = |(name, values): &(String, Vec<f64>)| {
        let (low, high) = limits(if common { &all } else { values });
        let ends = match (values.first(), values.last()) {
            (Some(first), Some(last)) => format!("{first:.digits$} → {last:.digits$}"),
            _ => String::new(),
        };
        let room = width.saturating_sub(names + ends.chars().count() + 4).clamp(4, 60);
        let drawn = columns(values, room);
        let drawn: String = drawn.iter().map(|&v| BLOCKS[eighths(v, low, high, 1) - 1]).collect();
        let name: String = name.chars().take(names).collect();
        format!("{name:<names$}  {drawn}  {ends}")
    };
    rows.iter().filter(|row| !row.1.is_empty()).map(line).collect()
}

fn sparks(
    report: &Report,
    title: &str,
    width: usize,
    value: impl Fn(&EpochRecord) -> Option<f64> + Copy,
) -> Vec<String> {
    let row = |run: &Run| {
        let own = values(run, value).into_iter().map(|(_, value)| value).collect();
        (run.name.clone(), own)
    };
    let rows: Vec<(String, Vec<f64>)> = report.runs.iter().map(row).collect();
    let lines = spark_lines(&rows, width, title.starts_with("validation"), 2);
    if lines.is_empty() {
        return lines;
    }
    [vec![title.to_owned()], lines, vec![String::new()]].concat()
}

/// Teacher weights of one run over the epochs.
fn weights(report: &Report, run: &Run, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for level in level_names(run) {
        let row = |name: String| {
            let of = |record: &EpochRecord| record.teacher_weights.get(level)?.get(&name).copied();
            let own = values(run, of).into_iter().map(|(_, value)| value).collect();
            (name, own)
        };
        let rows: Vec<(String, Vec<f64>)> = teacher_names(run).into_iter().map(row).collect();
        let whose = if report.runs.len() > 1 { format!(" ({})", run.name) } else { String::new() };
        lines.push(format!("teacher weight at the {}{whose}", level_name(level)));
        lines.extend(spark_lines(&rows, width, true, 3));
        lines.push(String::new());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_keep_first_and_last_and_the_width() {
        let many: Vec<f64> = (0..100).map(f64::from).collect();
        let drawn = columns(&many, 10);
        assert_eq!((drawn.len(), drawn[0], drawn[9]), (10, 4.5, 94.5));
        assert_eq!(columns(&[1.0, 2.0], 7), [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    }

    #[test]
    fn blocks_run_from_the_lowest_to_the_highest() {
        assert_eq!((eighths(0.0, 0.0, 1.0, 1), eighths(1.0, 0.0, 1.0, 1)), (1, 8));
        assert_eq!(eighths(1.0, 0.0, 1.0, 8), 64);
        assert!((1..=8).contains(&eighths(5.0, 5.0, 5.0, 1)));
    }

    #[test]
    fn a_terminal_is_not_commanded() {
        assert_eq!(clean("a\u{1b}[2Jb", 4), "a\u{fffd}[2");
    }
}
