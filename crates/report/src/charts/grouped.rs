//! One curve for several runs.

use std::collections::BTreeMap;

use faculty_records::statistics::mean;

use crate::svg::{Line, run_mark};

/// Epochs or steps of a run with a value each.
pub(crate) type Points = Vec<(u64, f64)>;

/// One curve a group: the mean over its runs, and what lies between them. Groups without a single number
/// have none.
pub(crate) fn grouped(groups: Vec<(&str, Vec<Points>)>) -> Vec<Line> {
    let several = groups.len() > 1;
    let lines = groups.into_iter().enumerate().map(|(at, (name, runs))| {
        let mut places: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for (place, own) in runs.into_iter().flatten().filter(|(_, own)| own.is_finite()) {
            places.entry(place).or_default().push(own);
        }
        // Where a seed is missing the mean would jump.
        let most = places.values().map(Vec::len).max().unwrap_or(0);
        places.retain(|_, own| own.len() == most);
        let low = |own: &[f64]| own.iter().copied().fold(f64::INFINITY, f64::min);
        let high = |own: &[f64]| own.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let band = places.iter().map(|(&x, own)| (x as f64, low(own), high(own)));
        Line {
            name: name.to_owned(),
            points: places.iter().map(|(&x, own)| (x as f64, mean(own))).collect(),
            band: if most > 1 { band.collect() } else { Vec::new() },
            colour: at % 8,
            mark: if several { run_mark(at) } else { String::new() },
            ..Line::default()
        }
    });
    lines.filter(|line| !line.points.is_empty()).collect()
}
