//! Drawing: plain SVG whose colours stand in its attributes, so that a file works alone, and in
//! classes, so that a page's style sheet can change them (dark pages, print).

use std::fmt::Write as _;

mod bars;
mod calibration;
mod lines;
mod matrix;
mod scatter;
mod stacked;

pub(crate) use bars::{Bar, bars, dots};
pub(crate) use calibration::{Reliability, calibration};
pub(crate) use lines::{Line, LineChart, Scale};
pub(crate) use matrix::matrix;
pub(crate) use scatter::{Point, scatter};
pub(crate) use stacked::{Stack, areas, shares};

/// Width of every chart: narrow enough for a telephone without shrinking its text much.
pub(crate) const WIDTH: f64 = 420.0;

/// Colours of series on white, from Okabe and Ito's palette (distinct for colour-blind readers),
/// darkened where they would be faint; `html/page.css` has the same for dark pages.
const COLOURS: [&str; 8] =
    ["#0072b2", "#c24e00", "#00805f", "#a8457e", "#8a6d00", "#2f8fc0", "#5b4bb3", "#5f6b76"];

/// Dashes that tell series apart without colour.
const DASHES: [&str; 8] = ["", "9 3", "4 2", "10 3 2 3", "6 2 2 2", "1 3", "14 4", "4 4"];

/// A chart with its words.
#[derive(Clone, Debug)]
pub struct Chart {
    /// File name without ending, also its place in a page.
    pub id: String,
    /// What is drawn.
    pub title: String,
    /// How to read it.
    pub caption: String,
    /// The drawing.
    pub svg: String,
    /// The same on a logarithmic axis, where that can show more.
    pub log: Option<String>,
}

impl Chart {
    /// A chart, if there is something to draw; `draw` gets the description for those who cannot see it.
    pub(crate) fn drawn(
        id: &str,
        title: &str,
        caption: &str,
        draw: impl FnOnce(&str) -> Option<String>,
    ) -> Option<Self> {
        let svg = draw(&format!("{title}. {caption}"))?;
        let (id, title, caption) = (id.to_owned(), title.to_owned(), caption.to_owned());
        Some(Self { id, title, caption, svg, log: None })
    }
}

/// What belongs to a group of runs, for switching it off.
pub(crate) fn run_mark(at: usize) -> String {
    format!("run-{at}")
}

/// Text for HTML and XML, in elements and in quoted attributes. Characters that XML forbids become
/// the replacement character.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            '\t' | '\n' | '\r' => out.push(' '),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
    out
}

/// At most `count` characters, the last of them `…` if something is left out.
pub(crate) fn short(text: &str, count: usize) -> String {
    if text.chars().count() <= count {
        return text.to_owned();
    }
    text.chars().take(count.saturating_sub(1)).chain(['…']).collect()
}

/// Which end of a text stands at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a thing is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    /// Words and numbers.
    Text,
    /// Words and numbers beside the point.
    Faint,
    /// Axes.
    Axis,
    /// Lines behind the data.
    Grid,
    /// A series by its number.
    Series(usize),
}

impl Ink {
    fn class(self) -> String {
        match self {
            Self::Text => "ink".to_owned(),
            Self::Faint => "faint".to_owned(),
            Self::Axis => "axis".to_owned(),
            Self::Grid => "grid".to_owned(),
            Self::Series(at) => format!("s{}", at % COLOURS.len()),
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Text => "#1d2733",
            Self::Faint => "#566270",
            Self::Axis => "#8593a1",
            Self::Grid => "#e2e7ec",
            Self::Series(at) => COLOURS[at % COLOURS.len()],
        }
    }
}

/// A drawing in the making.
#[derive(Debug)]
pub(crate) struct Canvas {
    height: f64,
    plot: Option<Plot>,
    body: String,
}

/// Where epochs lie in a drawing, for who reads it with a pointer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plot {
    /// First and last epoch.
    pub(crate) epochs: (f64, f64),
    /// Their places.
    pub(crate) across: (f64, f64),
    /// Upper and lower end.
    pub(crate) down: (f64, f64),
}

impl Canvas {
    pub(crate) fn new(height: f64) -> Self {
        Self { height, plot: None, body: String::new() }
    }

    /// What [`Canvas::series`] draws can be read at each epoch.
    pub(crate) fn readable(&mut self, plot: Plot) {
        self.plot = Some(plot);
    }

    pub(crate) fn text(&mut self, x: f64, y: f64, anchor: Anchor, ink: Ink, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (class, colour) = (ink.class(), ink.colour());
        let _ = write!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"f-{class}\" \
             fill=\"{colour}\">{}</text>",
            escape(text)
        );
    }

    /// Upright text that reads upwards from its place.
    pub(crate) fn upwards(&mut self, x: f64, y: f64, ink: Ink, text: &str) {
        let _ = write!(self.body, "<g transform=\"rotate(-90 {x:.1} {y:.1})\">");
        self.text(x, y, Anchor::Start, ink, text);
        self.body += "</g>";
    }

    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), width: f64, ink: Ink) {
        self.dashed(from, to, width, ink, "");
    }

    pub(crate) fn dashed(
        &mut self,
        from: (f64, f64),
        to: (f64, f64),
        width: f64,
        ink: Ink,
        dash: &str,
    ) {
        self.path(
            &format!("M{:.1} {:.1}L{:.1} {:.1}", from.0, from.1, to.0, to.1),
            width,
            ink,
            dash,
        );
    }

    pub(crate) fn path(&mut self, path: &str, width: f64, ink: Ink, dash: &str) {
        let (class, colour) = (ink.class(), ink.colour());
        let dash = match dash {
            "" => String::new(),
            dash => format!(" stroke-dasharray=\"{dash}\""),
        };
        let _ = write!(
            self.body,
            "<path d=\"{path}\" fill=\"none\" class=\"l-{class}\" stroke=\"{colour}\" \
             stroke-width=\"{width}\" stroke-linejoin=\"round\" stroke-linecap=\"round\"{dash}/>"
        );
    }

    /// A filled path.
    pub(crate) fn area(&mut self, path: &str, ink: Ink, opacity: f64) {
        let (class, colour) = (ink.class(), ink.colour());
        let _ = write!(
            self.body,
            "<path d=\"{path}\" class=\"f-{class}\" fill=\"{colour}\" fill-opacity=\"{opacity}\"/>"
        );
    }

    pub(crate) fn bar(&mut self, corner: (f64, f64), size: (f64, f64), ink: Ink, opacity: f64) {
        let (class, colour) = (ink.class(), ink.colour());
        let _ = write!(
            self.body,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" class=\"f-{class}\" \
             fill=\"{colour}\" fill-opacity=\"{opacity:.3}\"/>",
            corner.0,
            corner.1,
            size.0.max(0.0),
            size.1.max(0.0)
        );
    }

    pub(crate) fn dot(&mut self, at: (f64, f64), radius: f64, ink: Ink, opacity: f64) {
        let (class, colour) = (ink.class(), ink.colour());
        let _ = write!(
            self.body,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius:.1}\" class=\"f-{class}\" \
             fill=\"{colour}\" fill-opacity=\"{opacity}\"/>",
            at.0, at.1
        );
    }

    /// What is drawn by `draw` belongs to `mark` (`teacher-0`); a pointer over it shows `title`.
    pub(crate) fn group(&mut self, mark: &str, title: &str, draw: impl FnOnce(&mut Self)) {
        self.group_of(mark, "", title, draw);
    }

    /// A [`Canvas::group`] whose values `(epoch, value)` a pointer can read.
    pub(crate) fn series(
        &mut self,
        (mark, name): (&str, &str),
        points: &[(f64, f64)],
        digits: usize,
        title: &str,
        draw: impl FnOnce(&mut Self),
    ) {
        let finite = points.iter().filter(|(_, y)| y.is_finite());
        let points: Vec<String> = finite.map(|(x, y)| format!("{x}:{y:.digits$}")).collect();
        let values =
            format!(" data-name=\"{}\" data-points=\"{}\"", escape(name), points.join(" "));
        self.group_of(mark, &values, title, draw);
    }

    fn group_of(&mut self, mark: &str, values: &str, title: &str, draw: impl FnOnce(&mut Self)) {
        let mark = match mark {
            "" => String::new(),
            mark => format!(" data-mark=\"{}\"", escape(mark)),
        };
        let _ = write!(self.body, "<g{mark}{values}>");
        if !title.is_empty() {
            let _ = write!(self.body, "<title>{}</title>", escape(title));
        }
        draw(self);
        self.body += "</g>";
    }

    /// The whole drawing, described in `words` to those who cannot see it.
    pub(crate) fn finish(self, words: &str) -> String {
        let plot = self.plot.map_or_else(String::new, |Plot { epochs, across, down }| {
            format!(
                " data-plot=\"{} {} {:.1} {:.1} {:.1} {:.1}\"",
                epochs.0, epochs.1, across.0, across.1, down.0, down.1
            )
        });
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {:.0}\"{plot} role=\"img\" \
             aria-label=\"{}\" font-family=\"system-ui, -apple-system, Segoe UI, Roboto, Helvetica, \
             Arial, sans-serif\" font-size=\"12\">{}</svg>",
            self.height,
            escape(words),
            self.body
        )
    }
}

/// About how wide a letter is in the widest of the usual fonts, in the chart's units.
pub(crate) const LETTER: f64 = 7.0;

/// About how wide a text is.
pub(crate) fn text_width(text: &str) -> f64 {
    LETTER * text.chars().count() as f64
}

/// Round numbers that cut `low..high` into about `parts` steps.
pub(crate) fn ticks(low: f64, high: f64, parts: f64) -> Vec<f64> {
    let width = high - low;
    if !width.is_finite() || width <= 0.0 {
        return vec![low];
    }
    let raw = width / parts;
    let power = 10_f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|f| f * power >= raw * 0.999);
    let step = power * factor.unwrap_or(10.0);
    let first = (low / step - 1e-9).ceil();
    let last = (high / step + 1e-9).floor();
    let count = (last - first).clamp(0.0, 50.0) as usize;
    (0..=count).map(|k| (first + k as f64) * step).collect()
}

/// A tick as short as its neighbours allow.
pub(crate) fn tick_label(value: f64, step: f64) -> String {
    let digits = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    let value = if value.abs() < step * 1e-6 { 0.0 } else { value };
    format!("{value:.digits$}")
}

/// Labels for all ticks.
pub(crate) fn tick_labels(ticks: &[f64]) -> Vec<String> {
    let step = match ticks {
        [a, b, ..] => b - a,
        _ => ticks.first().map_or(1.0, |own| own.abs().max(1.0)),
    };
    ticks.iter().map(|&value| tick_label(value, step)).collect()
}

/// Moves places apart so that neighbours are `gap` from each other, within `low..high` if it holds
/// them all.
pub(crate) fn spread_out(targets: &[f64], gap: f64, low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..targets.len()).collect();
    order.sort_by(|&a, &b| targets[a].total_cmp(&targets[b]));
    let mut places = targets.to_vec();
    let mut least = low;
    for &at in &order {
        places[at] = places[at].max(least);
        least = places[at] + gap;
    }
    let mut most = high;
    for &at in order.iter().rev() {
        places[at] = places[at].min(most);
        most = places[at] - gap;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let hostile = "</script><img src=x onerror=\"alert('1')\">&\u{1}\n";
        let safe = escape(hostile);
        assert!(!safe.contains(['<', '>', '"', '\'', '\u{1}', '\n']), "{safe}");
        assert!(safe.starts_with("&lt;/script&gt;"));
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.0, 100.0, 5.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(tick_labels(&ticks(0.83, 0.91, 4.0)), ["0.84", "0.86", "0.88", "0.90"]);
        assert_eq!(ticks(3.0, 3.0, 4.0), [3.0]);
        assert_eq!(ticks(f64::NAN, 1.0, 4.0).len(), 1);
    }

    #[test]
    fn labels_do_not_touch() {
        let places = spread_out(&[50.0, 51.0, 52.0, 99.0], 12.0, 0.0, 100.0);
        let mut sorted = places.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(sorted.windows(2).all(|two| two[1] - two[0] >= 12.0 - 1e-9), "{places:?}");
        assert!(places.iter().all(|&own| (0.0..=100.0).contains(&own)), "{places:?}");
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!((short("abcdef", 4), short("abcd", 4)), ("abc…".into(), "abcd".into()));
    }
}
