//! A confusion matrix as shades.

use faculty_records::class_accuracy::ClassAccuracy;
use faculty_records::report_data::Confusion;

use super::{Anchor, Canvas, Ink, LETTER, WIDTH, short, text_width};

/// Classes up to here have their names and numbers drawn.
const NAMED: usize = 16;

/// Rows are true classes, columns answers; shades are shares of the row.
pub(crate) fn matrix(
    cells: &[Confusion],
    per_class: &[ClassAccuracy],
    classes: &[String],
    words: &str,
) -> String {
    let count = classes.len().max(1);
    let named = count <= NAMED;
    let widest = classes.iter().map(|name| text_width(name)).fold(0.0, f64::max);
    let left = if named { (widest + 8.0).clamp(24.0, 0.3 * WIDTH) } else { 26.0 };
    let letters = ((left - 8.0) / LETTER) as usize;
    let side = (WIDTH - left - 4.0) / count as f64;
    // Names that are wider than their column stand upright, up to this many letters.
    let upright = named && widest + 2.0 > side;
    let longest = classes.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(14);
    let top = if upright { 28.0 + LETTER * longest as f64 } else { 34.0 };
    // Rows need no more height than their numbers.
    let height = if named { side.min(26.0) } else { side };
    let mut canvas = Canvas::new(top + height * count as f64 + 8.0);
    canvas.text(left, 12.0, Anchor::Start, Ink::Faint, "answer →   (% of the true class)");
    let frame = (side * count as f64, height * count as f64);
    canvas.bar((left, top), frame, Ink::Grid, 0.35);
    for (at, name) in classes.iter().enumerate().filter(|_| named) {
        let middle = (at as f64 + 0.5) * side;
        canvas.group("", name, |canvas| {
            match upright {
                true => canvas.upwards(left + middle + 4.0, top - 6.0, Ink::Text, &short(name, 14)),
                false => canvas.text(left + middle, top - 6.0, Anchor::Middle, Ink::Text, name),
            }
            let y = top + (at as f64 + 0.5) * height + 4.0;
            canvas.text(left - 6.0, y, Anchor::End, Ink::Text, &short(name, letters));
        });
    }
    for cell in cells {
        let (row, column) = (cell.label as usize, cell.answer as usize);
        let whole = per_class.get(row).map_or(0, |own| own.samples);
        if row >= count || column >= count || whole == 0 {
            continue;
        }
        let share = cell.samples as f64 / whole as f64;
        let (x, y) = (left + column as f64 * side, top + row as f64 * height);
        let title = format!(
            "{} answered as {}: {} of {whole} ({:.1} %)",
            classes[row],
            classes[column],
            cell.samples,
            100.0 * share
        );
        let ink = Ink::Series(if row == column { 0 } else { 1 });
        canvas.group(&format!("class-{row}"), &title, |canvas| {
            // Half a shade at least: rare errors are what one looks for.
            let opacity = if row == column { 0.12 + 0.5 * share } else { (0.15 + share).min(0.75) };
            canvas.bar((x + 0.5, y + 0.5), (side - 1.0, height - 1.0), ink, opacity);
            if named {
                let text = format!("{:.0}", 100.0 * share);
                canvas.text(
                    x + side / 2.0,
                    y + height / 2.0 + 4.0,
                    Anchor::Middle,
                    Ink::Text,
                    &text,
                );
            }
        });
    }
    canvas.finish(words)
}
