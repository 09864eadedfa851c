//! Points on two axes, named beside the chart.

use super::lines::range;
use super::{Anchor, Canvas, Ink, WIDTH, short, spread_out, text_width, tick_labels, ticks};

/// One point.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    /// Its label.
    pub(crate) name: String,
    /// To the right, from 0.
    pub(crate) x: f64,
    /// Upwards.
    pub(crate) y: f64,
    /// Lowest and highest that `y` may be.
    pub(crate) interval: [f64; 2],
    /// Number of its colour.
    pub(crate) colour: usize,
    /// What it belongs to, for filters.
    pub(crate) mark: String,
    /// What a pointer over it shows.
    pub(crate) title: String,
}

const TOP: f64 = 26.0;
const BOTTOM: f64 = 40.0;
const HEIGHT: f64 = 260.0;

/// Draws them; nothing without a single one.
pub(crate) fn scatter(
    points: &[Point],
    [x_title, y_title]: [&str; 2],
    words: &str,
) -> Option<String> {
    let finite = |own: &&Point| own.x.is_finite() && own.interval.iter().all(|y| y.is_finite());
    let points: Vec<&Point> = points.iter().filter(finite).collect();
    let (_, widest) = range(points.iter().map(|own| own.x))?;
    let (low, high) = range(points.iter().flat_map(|own| own.interval))?;
    let pad = 0.06 * (high - low).max(high.abs() * 1e-3).max(1e-9);
    let (low, high, far) = (low - pad, high + pad, 1.06 * widest.max(1e-9));

    let (x_ticks, y_ticks) = (ticks(0.0, far, 5.0), ticks(low, high, 4.0));
    let y_labels = tick_labels(&y_ticks);
    let left = 12.0 + y_labels.iter().map(|own| text_width(own)).fold(0.0, f64::max);
    let labels: Vec<String> = points.iter().map(|own| short(&own.name, 22)).collect();
    let room = labels.iter().map(|own| text_width(own)).fold(0.0, f64::max);
    let (right, under) = (WIDTH - 14.0 - room, HEIGHT - BOTTOM);
    let x_of = |x: f64| left + x / far * (right - left);
    let y_of = |y: f64| under - (y - low) / (high - low) * (under - TOP);

    let mut canvas = Canvas::new(HEIGHT);
    canvas.text(0.0, 12.0, Anchor::Start, Ink::Faint, y_title);
    for (&value, text) in y_ticks.iter().zip(&y_labels) {
        canvas.line((left, y_of(value)), (right, y_of(value)), 1.0, Ink::Grid);
        canvas.text(left - 6.0, y_of(value) + 4.0, Anchor::End, Ink::Faint, text);
    }
    for (&value, text) in x_ticks.iter().zip(tick_labels(&x_ticks)) {
        canvas.text(x_of(value), under + 16.0, Anchor::Middle, Ink::Faint, &text);
    }
    canvas.line((left, under), (right, under), 1.0, Ink::Axis);
    canvas.text(right, HEIGHT - 6.0, Anchor::End, Ink::Faint, x_title);

    let targets: Vec<f64> = points.iter().map(|own| y_of(own.y)).collect();
    let places = spread_out(&targets, 14.0, TOP, under + 4.0);
    for ((own, label), place) in points.iter().zip(&labels).zip(places) {
        let (at, ink) = ((x_of(own.x), y_of(own.y)), Ink::Series(own.colour));
        canvas.group(&own.mark, &own.title, |canvas| {
            let [low, high] = own.interval.map(y_of);
            canvas.line((at.0, low), (at.0, high), 1.4, ink);
            canvas.dot(at, 5.0, ink, 1.0);
            canvas.line((at.0 + 6.0, at.1), (right + 2.0, place), 0.7, Ink::Axis);
            canvas.text(right + 6.0, place + 4.0, Anchor::Start, Ink::Text, label);
        });
    }
    Some(canvas.finish(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_drawn_and_named() {
        let point = |name: &str, x: f64, y: f64| Point {
            name: name.to_owned(),
            x,
            y,
            interval: [y - 1.0, y + 1.0],
            colour: 0,
            mark: String::new(),
            title: String::new(),
        };
        let points = [point("a", 0.5, 70.0), point("b", 2.0, 75.0), point("c", f64::NAN, 1.0)];
        let svg = scatter(&points, ["ms", "%"], "words").unwrap();
        assert_eq!(svg.matches("<circle").count(), 2, "{svg}");
        assert!(svg.contains(">a<") && svg.contains(">b<") && !svg.contains("NaN"), "{svg}");
        assert!(
            scatter(&[point("one", 0.0, 0.0)], ["", ""], "").is_some_and(|s| !s.contains("NaN"))
        );
        assert!(scatter(&points[2..], ["", ""], "").is_none());
    }
}
