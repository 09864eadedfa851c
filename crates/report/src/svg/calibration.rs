//! Confidence against accuracy.

use faculty_records::quality::CalibrationBin;

use super::{Anchor, Canvas, DASHES, Ink, LETTER, WIDTH, spread_out};

/// One network's bins.
#[derive(Clone, Debug)]
pub(crate) struct Reliability<'a> {
    /// Its label.
    pub(crate) name: String,
    /// From confidence 0 to 1.
    pub(crate) bins: &'a [CalibrationBin],
    /// Number of its colour.
    pub(crate) colour: usize,
    /// What it belongs to, for filters.
    pub(crate) mark: String,
}

/// Fewer samples in a bin say too little to be drawn.
const FEWEST: usize = 5;

/// A curve a network; the larger a dot, the more samples.
pub(crate) fn calibration(all: &[Reliability<'_>], words: &str) -> String {
    let (left, top, side) = (36.0, 26.0, 250.0);
    let place = |x: f64, y: f64| (left + x * side, top + (1.0 - y) * side);
    let mut canvas = Canvas::new(top + side + 36.0);
    canvas.text(0.0, 12.0, Anchor::Start, Ink::Faint, "right, %");
    for k in 0..=4 {
        let value = f64::from(k) / 4.0;
        let text = format!("{}", 25 * k);
        canvas.line(place(0.0, value), place(1.0, value), 1.0, Ink::Grid);
        let (x, y) = place(0.0, value);
        canvas.text(x - 6.0, y + 4.0, Anchor::End, Ink::Faint, &text);
        let (x, y) = place(value, 0.0);
        canvas.text(x, y + 16.0, Anchor::Middle, Ink::Faint, &text);
    }
    let (x, y) = place(1.0, 0.0);
    canvas.text(x, y + 31.0, Anchor::End, Ink::Faint, "confidence of the answer, %");
    canvas.dashed(place(0.0, 0.0), place(1.0, 1.0), 1.2, Ink::Axis, "2 4");

    let full = |own: &Reliability<'_>| -> Vec<CalibrationBin> {
        own.bins.iter().copied().filter(|bin| bin.samples >= FEWEST).collect()
    };
    let drawn: Vec<&Reliability<'_>> = all.iter().filter(|own| !full(own).is_empty()).collect();
    let ends: Vec<f64> = drawn
        .iter()
        .map(|own| full(own).last().map_or(0.0, |bin| place(bin.confidence, bin.accuracy).1))
        .collect();
    let labels = spread_out(&ends, 15.0, top, top + side);
    for (own, label) in drawn.iter().zip(labels) {
        let ink = Ink::Series(own.colour);
        let bins = full(own);
        let samples: usize = bins.iter().map(|bin| bin.samples).sum();
        canvas.group(&own.mark, &own.name, |canvas| {
            let mut path = String::new();
            for bin in &bins {
                let (x, y) = place(bin.confidence, bin.accuracy);
                path += &format!("{}{x:.1} {y:.1}", if path.is_empty() { 'M' } else { 'L' });
            }
            canvas.path(&path, 2.0, ink, DASHES[own.colour % DASHES.len()]);
            for bin in &bins {
                let radius = 2.0 + 5.0 * (bin.samples as f64 / samples as f64).sqrt();
                canvas.dot(place(bin.confidence, bin.accuracy), radius, ink, 0.75);
            }
            let end = bins.last().map(|bin| place(bin.confidence, bin.accuracy));
            let from = end.unwrap_or((left + side, label));
            canvas.line((from.0 + 5.0, from.1), (left + side + 10.0, label), 0.7, Ink::Axis);
            let letters = ((WIDTH - left - side - 14.0) / LETTER) as usize;
            let name = super::short(&own.name, letters);
            canvas.text(left + side + 13.0, label + 4.0, Anchor::Start, Ink::Text, &name);
        });
    }
    canvas.finish(words)
}
