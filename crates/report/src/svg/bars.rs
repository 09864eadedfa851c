//! Horizontal bars with intervals, and dots with intervals.

use super::lines::range;
use super::{Anchor, Canvas, Ink, LETTER, WIDTH, short, text_width, tick_labels, ticks};

/// One row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bar {
    /// What it is.
    pub(crate) name: String,
    /// Its value and others of the same row, each with the number of a colour.
    pub(crate) values: Vec<(f64, usize)>,
    /// An interval around the first value.
    pub(crate) interval: Option<[f64; 2]>,
    /// What stands at its end.
    pub(crate) label: String,
    /// Paler: beside the point.
    pub(crate) faint: bool,
    /// What it belongs to, for filters.
    pub(crate) mark: String,
    /// What a pointer over it shows.
    pub(crate) title: String,
}

const ROW: f64 = 24.0;

/// Names take this much at most.
const NAMES: f64 = 0.42 * WIDTH;

fn left_of(rows: &[Bar]) -> (f64, usize) {
    let widest = rows.iter().map(|row| text_width(&row.name)).fold(0.0, f64::max);
    let left = (widest + 10.0).clamp(40.0, NAMES);
    (left, ((left - 10.0) / LETTER).round() as usize)
}

/// Bars from 0; `unit` stands over them.
pub(crate) fn bars(rows: &[Bar], unit: &str, words: &str) -> Option<String> {
    let ends = rows.iter().filter_map(|row| row.interval.map(|own| own[1]));
    let values = rows.iter().filter_map(|row| row.values.first().map(|own| own.0));
    let (_, high) = range(values.chain(ends))?;
    let high = high.max(1e-9);
    let (left, letters) = left_of(rows);
    let widest = rows.iter().map(|row| text_width(&row.label)).fold(0.0, f64::max);
    let right = WIDTH - widest - 12.0;
    let x_of = |value: f64| left + value / high * (right - left);
    let mut canvas = Canvas::new(22.0 + ROW * rows.len() as f64);
    canvas.text(left, 12.0, Anchor::Start, Ink::Faint, unit);
    for (at, row) in rows.iter().enumerate() {
        let Some(&(value, colour)) = row.values.first().filter(|own| own.0.is_finite()) else {
            continue;
        };
        let top = 20.0 + ROW * at as f64;
        let middle = top + ROW / 2.0;
        canvas.group(&row.mark, &row.title, |canvas| {
            let name = short(&row.name, letters);
            canvas.text(left - 8.0, middle + 4.0, Anchor::End, Ink::Text, &name);
            let size = (x_of(value) - left, ROW - 9.0);
            let opacity = if row.faint { 0.35 } else { 0.85 };
            canvas.bar((left, top + 4.5), size, Ink::Series(colour), opacity);
            let mut end = x_of(value);
            if let Some([low, high]) = row.interval {
                let (from, to) = (x_of(low.max(0.0)), x_of(high));
                canvas.line((from, middle), (to, middle), 1.4, Ink::Text);
                for x in [from, to] {
                    canvas.line((x, middle - 3.5), (x, middle + 3.5), 1.4, Ink::Text);
                }
                end = end.max(to);
            }
            canvas.text(end + 6.0, middle + 4.0, Anchor::Start, Ink::Text, &row.label);
        });
    }
    canvas.line((left, 20.0), (left, 20.0 + ROW * rows.len() as f64), 1.0, Ink::Axis);
    Some(canvas.finish(words))
}

/// Dots on a scale of their own, each row with an interval; `zero` marks a value.
pub(crate) fn dots(rows: &[Bar], unit: &str, zero: Option<f64>, words: &str) -> Option<String> {
    let ends = rows.iter().filter_map(|row| row.interval).flatten();
    let values = rows.iter().flat_map(|row| row.values.iter().map(|own| own.0));
    let (low, high) = range(values.chain(ends).chain(zero))?;
    let pad = 0.04 * (high - low).max(high.abs() * 1e-3).max(1e-9);
    let (low, high) = (low - pad, high + pad);
    let (left, letters) = left_of(rows);
    let widest = rows.iter().map(|row| text_width(&row.label)).fold(0.0, f64::max);
    let right = WIDTH - 6.0 - widest.min(0.4 * WIDTH) - if widest > 0.0 { 8.0 } else { 4.0 };
    let x_of = |value: f64| left + (value - low) / (high - low) * (right - left);
    let row_height = if rows.len() > 24 { 17.0 } else { ROW };
    let under = 24.0 + row_height * rows.len() as f64;
    let mut canvas = Canvas::new(under + 22.0);
    canvas.text(left, 12.0, Anchor::Start, Ink::Faint, unit);
    let places = ticks(low, high, 4.0);
    for (&value, text) in places.iter().zip(tick_labels(&places)) {
        canvas.line((x_of(value), 20.0), (x_of(value), under), 1.0, Ink::Grid);
        canvas.text(x_of(value), under + 15.0, Anchor::Middle, Ink::Faint, &text);
    }
    if let Some(zero) = zero {
        canvas.line((x_of(zero), 20.0), (x_of(zero), under), 1.4, Ink::Axis);
    }
    for (at, row) in rows.iter().enumerate() {
        let middle = 24.0 + row_height * (at as f64 + 0.5);
        canvas.group(&row.mark, &row.title, |canvas| {
            let name = short(&row.name, letters);
            canvas.text(left - 8.0, middle + 4.0, Anchor::End, Ink::Text, &name);
            let first = row.values.first().map_or(0, |own| own.1);
            if let Some([low, high]) = row.interval {
                let ends = ((x_of(low), middle), (x_of(high), middle));
                canvas.line(ends.0, ends.1, 2.0, Ink::Series(first));
            }
            // The first value is the one that the row is about: last, and so on top.
            for (which, &(value, colour)) in row.values.iter().enumerate().rev() {
                if value.is_finite() {
                    let place = (x_of(value), middle);
                    match which {
                        0 => canvas.dot(place, 4.5, Ink::Series(colour), 1.0),
                        _ => marker(canvas, place, colour),
                    }
                }
            }
            canvas.text(right + 8.0, middle + 4.0, Anchor::Start, Ink::Text, &row.label);
        });
    }
    Some(canvas.finish(words))
}

/// A shape for each colour, so that a row's values can be told apart without it.
pub(super) fn marker(canvas: &mut Canvas, (x, y): (f64, f64), colour: usize) {
    let ink = Ink::Series(colour);
    let r = 3.6;
    match colour % 4 {
        0 => canvas.path(
            &format!("M{:.1} {:.1}h{:.1}M{x:.1} {:.1}v{:.1}", x - r, y, 2.0 * r, y - r, 2.0 * r),
            1.8,
            ink,
            "",
        ),
        1 => canvas.path(
            &format!("M{:.1} {:.1}h{:.1}v{:.1}h-{:.1}Z", x - r, y - r, 2.0 * r, 2.0 * r, 2.0 * r),
            1.6,
            ink,
            "",
        ),
        2 => canvas.path(
            &format!("M{x:.1} {:.1}L{:.1} {:.1}L{:.1} {:.1}Z", y - r, x + r, y + r, x - r, y + r),
            1.6,
            ink,
            "",
        ),
        _ => canvas.path(
            &format!(
                "M{:.1} {:.1}l{r2:.1} {r2:.1}m0 -{r2:.1}l-{r2:.1} {r2:.1}",
                x - r,
                y - r,
                r2 = 2.0 * r
            ),
            1.6,
            ink,
            "",
        ),
    }
}
