//! Shares of a whole: over the epochs, and side by side.

use std::fmt::Write as _;

use super::{
    Anchor, Canvas, Ink, LETTER, WIDTH, short, spread_out, text_width, tick_labels, ticks,
};

/// One part of the whole.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    /// Its label.
    pub(crate) name: String,
    /// Its share at each place, 0 to 1.
    pub(crate) shares: Vec<f64>,
    /// Number of its colour.
    pub(crate) colour: usize,
}

const HEIGHT: f64 = 240.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 34.0;

/// Areas over the epochs `at`.
pub(crate) fn areas(stacks: &[Stack], at: &[f64], words: &str) -> Option<String> {
    let (&first, &last) = (at.first()?, at.last()?);
    let label = |own: &Stack| {
        let share = 100.0 * own.shares.last().copied().unwrap_or(0.0);
        format!("{} {share:.0} %", short(&own.name, 16))
    };
    let widest = stacks.iter().map(|own| text_width(&label(own))).fold(0.0, f64::max);
    let (left, right) = (34.0, WIDTH - 12.0 - widest);
    let x_of = |x: f64| match last > first {
        true => left + (x - first) / (last - first) * (right - left),
        false => left,
    };
    // One epoch alone is drawn as wide as all.
    let places: Vec<f64> = match at {
        [_] => vec![left, right],
        _ => at.iter().map(|&x| x_of(x)).collect(),
    };
    let y_of = |share: f64| HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
    let mut canvas = Canvas::new(HEIGHT);
    canvas.text(0.0, 12.0, Anchor::Start, Ink::Faint, "share of the loss, %");
    let share = |own: &Stack, k: usize| own.shares.get(k.min(at.len() - 1)).copied().unwrap_or(0.0);
    let mut below = vec![0.0; places.len()];
    let mut middles = Vec::new();
    for own in stacks {
        let above: Vec<f64> =
            below.iter().enumerate().map(|(k, own_below)| own_below + share(own, k)).collect();
        let mut path = String::new();
        for (k, &x) in places.iter().enumerate() {
            let _ = write!(path, "{}{x:.1} {:.1}", if k == 0 { 'M' } else { 'L' }, y_of(above[k]));
        }
        for (k, &x) in places.iter().enumerate().rev() {
            let _ = write!(path, "L{x:.1} {:.1}", y_of(below[k]));
        }
        let title = format!("{}: {}", own.name, label(own));
        canvas.group("", &title, |canvas| {
            canvas.area(&(path + "Z"), Ink::Series(own.colour), 0.55);
        });
        let end = places.len() - 1;
        middles.push(y_of(f64::midpoint(below[end], above[end])));
        below = above;
    }
    for value in [0.0, 0.25, 0.5, 0.75, 1.0] {
        canvas.line((left, y_of(value)), (right, y_of(value)), 0.6, Ink::Grid);
        let text = format!("{:.0}", 100.0 * value);
        canvas.text(left - 6.0, y_of(value) + 4.0, Anchor::End, Ink::Faint, &text);
    }
    let marks: Vec<f64> =
        ticks(first, last, 5.0).into_iter().filter(|x| x.fract() == 0.0).collect();
    for (&x, text) in marks.iter().zip(tick_labels(&marks)) {
        canvas.text(x_of(x), HEIGHT - BOTTOM + 16.0, Anchor::Middle, Ink::Faint, &text);
    }
    canvas.text(right, HEIGHT - 3.0, Anchor::End, Ink::Faint, "epoch");
    let labels = spread_out(&middles, 14.0, TOP, HEIGHT - BOTTOM + 4.0);
    for (own, y) in stacks.iter().zip(labels) {
        canvas.dot((right + 7.0, y), 3.0, Ink::Series(own.colour), 0.8);
        canvas.text(right + 13.0, y + 4.0, Anchor::Start, Ink::Text, &label(own));
    }
    Some(canvas.finish(words))
}

/// A bar with its name, and the name, share and colour of each of its parts.
pub(crate) type SharesRow = (String, Vec<(String, f64, usize)>);

/// One bar a row, cut by the shares of its parts.
pub(crate) fn shares(rows: &[SharesRow], words: &str) -> Option<String> {
    if rows.is_empty() {
        return None;
    }
    let widest = rows.iter().map(|row| text_width(&row.0)).fold(0.0, f64::max);
    let left = (widest + 10.0).clamp(40.0, 0.36 * WIDTH);
    let letters = ((left - 10.0) / LETTER).round() as usize;
    let whole = WIDTH - left - 6.0;
    let row_height = 26.0;
    let mut canvas = Canvas::new(20.0 + row_height * rows.len() as f64);
    canvas.text(left, 12.0, Anchor::Start, Ink::Faint, "share of the loss, %");
    for (at, (name, parts)) in rows.iter().enumerate() {
        let top = 18.0 + row_height * at as f64;
        canvas.text(left - 8.0, top + 16.0, Anchor::End, Ink::Text, &short(name, letters));
        let mut x = left;
        for (part, share, colour) in parts {
            let width = whole * share;
            let title = format!("{name}: {part} {:.1} %", 100.0 * share);
            canvas.group("", &title, |canvas| {
                canvas.bar(
                    (x, top + 3.0),
                    (width - 1.0, row_height - 7.0),
                    Ink::Series(*colour),
                    0.4,
                );
                let text = format!("{part} {:.0}", 100.0 * share);
                if text_width(&text) + 6.0 < width {
                    canvas.text(x + 5.0, top + 16.0, Anchor::Start, Ink::Text, &text);
                }
            });
            x += width;
        }
    }
    Some(canvas.finish(words))
}
