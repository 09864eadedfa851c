//! Curves over the epochs, labelled at their ends.

use std::fmt::Write as _;

use super::{
    Anchor, Canvas, DASHES, Ink, Plot, WIDTH, short, spread_out, text_width, tick_labels, ticks,
};

/// One curve.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    /// Its label.
    pub(crate) name: String,
    /// Places in ascending order; what is no number leaves a gap.
    pub(crate) points: Vec<(f64, f64)>,
    /// Lowest and highest of several seeds at each place.
    pub(crate) band: Vec<(f64, f64, f64)>,
    /// Number of its colour.
    pub(crate) colour: usize,
    /// Beside the point: thin and dashed.
    pub(crate) faint: bool,
    /// What it belongs to, for filters.
    pub(crate) mark: String,
}

/// What the vertical axis does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Shows what there is.
    #[default]
    Close,
    /// Begins at 0.
    FromZero,
    /// Equal steps are equal factors; only for values above 0.
    Log,
}

/// Curves with their axes.
#[derive(Clone, Debug, Default)]
pub(crate) struct LineChart {
    /// What stands over the vertical axis, with its unit.
    pub(crate) y_title: String,
    /// Under the horizontal axis.
    pub(crate) x_title: String,
    /// The curves.
    pub(crate) lines: Vec<Line>,
    /// The vertical axis.
    pub(crate) scale: Scale,
    /// Digits of numbers in labels.
    pub(crate) digits: usize,
}

const TOP: f64 = 26.0;
const BOTTOM: f64 = 34.0;
const HEIGHT: f64 = 240.0;
/// Labels of more curves than this would be a heap.
const MOST_LABELS: usize = 12;

impl LineChart {
    /// The same on a logarithmic axis; none where a value is not above 0 or all are much alike.
    pub(crate) fn log(&self, words: &str) -> Option<String> {
        let points = self.lines.iter().flat_map(|line| line.points.iter().map(|&(_, y)| y));
        let bands = self.lines.iter().flat_map(|line| line.band.iter().map(|&(_, low, _)| low));
        let (low, high) = range(points.chain(bands))?;
        let spread = low > 0.0 && high > 1.2 * low;
        spread.then(|| Self { scale: Scale::Log, ..self.clone() }.draw(words))?
    }

    /// Draws it; nothing without a single number.
    pub(crate) fn draw(&self, words: &str) -> Option<String> {
        let finite = |line: &Line| {
            let own = line.points.iter().filter(|(_, y)| y.is_finite());
            own.copied().collect::<Vec<(f64, f64)>>()
        };
        let all: Vec<(f64, f64)> = self.lines.iter().flat_map(finite).collect();
        let bands = self.lines.iter().flat_map(|line| &line.band);
        let ys = || {
            let of_bands = bands.clone().flat_map(|&(_, low, high)| [low, high]);
            all.iter().map(|&(_, y)| y).chain(of_bands).filter(|y| y.is_finite())
        };
        let (low_x, high_x) = range(all.iter().map(|&(x, _)| x))?;
        let on_axis = |y: f64| if self.scale == Scale::Log { y.ln() } else { y };
        let (low, high) = range(ys())?;
        let low = if self.scale == Scale::FromZero { low.min(0.0) } else { low };
        let (mut bottom, mut top) = (on_axis(low), on_axis(high));
        let pad = 0.06 * (top - bottom).max(top.abs() * 1e-3).max(1e-9);
        bottom = if self.scale == Scale::FromZero { bottom } else { bottom - pad };
        top += pad;

        let label = |line: &Line| {
            let last = finite(line).last().map_or(f64::NAN, |&(_, y)| y);
            format!("{} {last:.*}", short(&line.name, 18), self.digits)
        };
        let labelled: Vec<&Line> =
            self.lines.iter().filter(|line| !finite(line).is_empty()).take(MOST_LABELS).collect();
        let (y_ticks, y_labels) = match self.scale {
            Scale::Log => log_ticks(bottom.exp(), top.exp()),
            _ => {
                let ticks = ticks(bottom, top, 4.0);
                let labels = tick_labels(&ticks);
                (ticks, labels)
            }
        };
        let left = 12.0 + y_labels.iter().map(|own| text_width(own)).fold(0.0, f64::max);
        let widest = labelled.iter().map(|line| text_width(&label(line))).fold(0.0, f64::max);
        let right = WIDTH - 12.0 - widest.min(0.42 * WIDTH);
        let x_of = |x: f64| match high_x > low_x {
            true => left + (x - low_x) / (high_x - low_x) * (right - left - 8.0),
            false => f64::midpoint(left, right),
        };
        let y_of = |y: f64| {
            HEIGHT - BOTTOM - (on_axis(y) - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM)
        };

        let mut canvas = Canvas::new(HEIGHT);
        canvas.readable(Plot {
            epochs: (low_x, high_x),
            across: (x_of(low_x), x_of(high_x)),
            down: (TOP, HEIGHT - BOTTOM),
        });
        canvas.text(0.0, 12.0, Anchor::Start, Ink::Faint, &self.y_title);
        for (&value, text) in y_ticks.iter().zip(&y_labels) {
            canvas.line((left, y_of(value)), (right, y_of(value)), 1.0, Ink::Grid);
            canvas.text(left - 6.0, y_of(value) + 4.0, Anchor::End, Ink::Faint, text);
        }
        let x_ticks: Vec<f64> =
            ticks(low_x, high_x, 5.0).into_iter().filter(|x| x.fract() == 0.0).collect();
        for (&value, text) in x_ticks.iter().zip(tick_labels(&x_ticks)) {
            canvas.text(x_of(value), HEIGHT - BOTTOM + 16.0, Anchor::Middle, Ink::Faint, &text);
        }
        let under = HEIGHT - BOTTOM;
        canvas.line((left, under), (right, under), 1.0, Ink::Axis);
        canvas.text(right, HEIGHT - 3.0, Anchor::End, Ink::Faint, &self.x_title);

        let targets: Vec<f64> = labelled
            .iter()
            .map(|line| y_of(finite(line).last().map_or(low, |&(_, y)| y)))
            .collect();
        let places = spread_out(&targets, 14.0, TOP, HEIGHT - BOTTOM + 4.0);
        for (at, line) in self.lines.iter().enumerate() {
            let ink = Ink::Series(line.colour);
            let title = format!("{}: {}", line.name, describe_points(&line.points, self.digits));
            let who = (&line.mark[..], &line.name[..]);
            canvas.series(who, &line.points, self.digits, &title, |canvas| {
                if line.band.len() > 1 {
                    canvas.area(&band_path(&line.band, x_of, y_of), ink, 0.14);
                }
                let (width, dash) = match line.faint {
                    true => (1.3, "3 3"),
                    false => (2.2, DASHES[line.colour % DASHES.len()]),
                };
                canvas.path(&path(&line.points, x_of, y_of), width, ink, dash);
                let Some(&(x, y)) = finite(line).last() else { return };
                let end = (x_of(x), y_of(y));
                canvas.dot(end, 3.0, ink, 1.0);
                let place = labelled.iter().position(|own| std::ptr::eq(*own, line));
                if let Some(place) = place.map(|place| places[place]) {
                    if (place - end.1).abs() > 5.0 {
                        canvas.line(end, (right + 2.0, place), 0.7, Ink::Axis);
                    }
                    let text = label(&self.lines[at]);
                    canvas.text(right + 5.0, place + 4.0, Anchor::Start, Ink::Text, &text);
                }
            });
        }
        Some(canvas.finish(words))
    }
}

/// Round numbers in steps of equal factors, as few as can be read.
fn log_ticks(low: f64, high: f64) -> (Vec<f64>, Vec<String>) {
    let decades = (high / low).log10();
    let factors: &[f64] = match decades {
        own if own > 3.0 => &[1.0],
        own if own > 0.9 => &[1.0, 2.0, 5.0],
        _ => return (ticks(low, high, 4.0), tick_labels(&ticks(low, high, 4.0))),
    };
    let first = low.log10().floor() as i32;
    let last = high.log10().ceil() as i32;
    let step = (usize::try_from(last - first).unwrap_or(1) / 6).max(1);
    let all = (first..=last).step_by(step);
    let all = all.flat_map(|power| factors.iter().map(move |factor| factor * 10_f64.powi(power)));
    let ticks: Vec<f64> = all.filter(|own| (low..=high).contains(own)).collect();
    let label = |own: &f64| match own.log10() {
        power if !(-4.0..=6.0).contains(&power) => format!("{own:.0e}"),
        power => format!("{own:.*}", (-power.floor()).max(0.0) as usize),
    };
    let labels = ticks.iter().map(label).collect();
    (ticks, labels)
}

/// Smallest and largest of finite numbers.
pub(super) fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let mut values = values.filter(|value| value.is_finite());
    let first = values.next()?;
    Some(values.fold((first, first), |(low, high), own| (low.min(own), high.max(own))))
}

/// First and last value in words.
fn describe_points(points: &[(f64, f64)], digits: usize) -> String {
    match (points.first(), points.last()) {
        (Some(first), Some(last)) => {
            format!("{:.digits$} at {}, {:.digits$} at {}", first.1, first.0, last.1, last.0)
        }
        _ => String::new(),
    }
}

fn path(points: &[(f64, f64)], x_of: impl Fn(f64) -> f64, y_of: impl Fn(f64) -> f64) -> String {
    let mut text = String::new();
    let mut pen = 'M';
    for &(x, y) in points {
        if y.is_finite() {
            let _ = write!(text, "{pen}{:.1} {:.1}", x_of(x), y_of(y));
            pen = 'L';
        } else {
            pen = 'M';
        }
    }
    text
}

fn band_path(
    band: &[(f64, f64, f64)],
    x_of: impl Fn(f64) -> f64,
    y_of: impl Fn(f64) -> f64,
) -> String {
    let above = band.iter().map(|&(x, _, high)| (x, high));
    let below = band.iter().rev().map(|&(x, low, _)| (x, low));
    let around: Vec<(f64, f64)> = above.chain(below).filter(|(_, y)| y.is_finite()).collect();
    path(&around, x_of, y_of) + "Z"
}
