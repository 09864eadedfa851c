//! Shares of a whole: over the epochs, and side by side.

use std::fmt::Write as _;

use super::{
    Anchor, Canvas, Ink, LETTER, Plot, WIDTH, run_mark, short, spread_out, text_width, tick_labels,
    ticks,
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

/// How dark a part of a bar is: words stand on it.
const SHADE: f64 = 0.4;
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
    let (epochs, across) = ((first, last), (x_of(first), x_of(last)));
    canvas.readable(Plot { epochs, across, down: (TOP, HEIGHT - BOTTOM) });
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
        let values = at.iter().zip(&own.shares).map(|(&x, share)| (x, 100.0 * share));
        let values: Vec<(f64, f64)> = values.collect();
        canvas.series(("", &own.name), &values, 1, &title, |canvas| {
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
    let key = key(rows);
    let head = 18.0 + 18.0 * key.iter().map(|own| own.1.1).fold(0.0, f64::max) + 18.0;
    let mut canvas = Canvas::new(head + 2.0 + row_height * rows.len() as f64);
    canvas.text(0.0, 12.0, Anchor::Start, Ink::Faint, "share of the loss, %");
    for ((name, colour), (x, line)) in &key {
        let y = 30.0 + 18.0 * line;
        canvas.bar((*x, y - 9.0), (10.0, 10.0), Ink::Series(*colour), SHADE);
        canvas.text(x + 15.0, y, Anchor::Start, Ink::Text, &short(name, 24));
    }
    for (at, (name, parts)) in rows.iter().enumerate() {
        let top = head + row_height * at as f64;
        let mark = run_mark(at);
        canvas.text(left - 8.0, top + 16.0, Anchor::End, Ink::Text, &short(name, letters));
        let mut x = left;
        for (part, share, colour) in parts {
            let width = whole * share;
            let title = format!("{name}: {part} {:.1} %", 100.0 * share);
            canvas.group(&mark, &title, |canvas| {
                let size = (width - 1.0, row_height - 7.0);
                canvas.bar((x, top + 3.0), size, Ink::Series(*colour), SHADE);
                let text = format!("{:.0}", 100.0 * share);
                if text_width(&text) + 4.0 < width {
                    canvas.text(x + 4.0, top + 16.0, Anchor::Start, Ink::Text, &text);
                }
            });
            x += width;
        }
    }
    Some(canvas.finish(words))
}

/// A term with the number of its colour; where its label begins, and in which line.
type Entry<'a> = ((&'a str, usize), (f64, f64));

/// Each term once with its colour, and where it stands: its place in a line, and which line.
fn key(rows: &[SharesRow]) -> Vec<Entry<'_>> {
    let mut terms: Vec<(&str, usize)> =
        rows.iter().flat_map(|row| &row.1).map(|own| (own.0.as_str(), own.2)).collect();
    terms.sort_by_key(|own| own.1);
    terms.dedup();
    let (mut x, mut line) = (0.0, 0.0);
    let place = |term: (&'_ str, usize)| {
        let width = 29.0 + text_width(&short(term.0, 24));
        if x > 0.0 && x + width > WIDTH {
            (x, line) = (0.0, line + 1.0);
        }
        let own = (x, line);
        x += width;
        own
    };
    let places: Vec<(f64, f64)> = terms.iter().copied().map(place).collect();
    terms.into_iter().zip(places).collect()
}
