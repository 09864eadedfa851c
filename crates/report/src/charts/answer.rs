//! Accuracy of everybody, and of a comparison the differences.

use super::ink::{BESIDE, STUDENT};
use crate::load::Report;
use crate::results::{Entry, Kind};
use crate::svg::{Bar, Chart, bars, dots};

/// Accuracy of everybody, and of a comparison the differences.
pub(crate) fn answer(report: &Report) -> Vec<Chart> {
    let entries = report.entries();
    let part = |student: bool| {
        let own = entries.iter().find(|entry| (entry.kind == Kind::Student) == student);
        own.map(|entry| entry.part.as_str())
    };
    let seeds = entries.iter().any(|entry| entry.deviation.is_some());
    let whiskers = match seeds {
        true => "Whiskers: one deviation over the seeds for students, 95 % (Wilson) for others.",
        false => "Whiskers: 95 % interval (Wilson) for the number of images.",
    };
    let on = |part: &str, what: &str| format!("{what} on the {part} split. {whiskers}");
    let mut charts = Vec::new();
    match (part(false), part(true)) {
        // Numbers of different images do not belong on one axis.
        (Some(teachers), Some(students)) if teachers != students => {
            let final_ones = entries.iter().filter(|own| own.kind == Kind::Student);
            let rows: Vec<Bar> = final_ones.map(measured).collect();
            let caption = on(students, "Students");
            charts.extend(accuracies("accuracy", "Accuracy of the students", &caption, &rows));
            let rows: Vec<Bar> =
                entries.iter().filter_map(|own| on_validation(own, teachers)).collect();
            let caption = on(teachers, "Students and teachers on the same images,");
            charts.extend(accuracies("same-part", "Students and teachers", &caption, &rows));
        }
        (Some(part), _) | (None, Some(part)) => {
            let rows: Vec<Bar> = entries.iter().map(measured).collect();
            charts.extend(accuracies("accuracy", "Accuracy", &on(part, "All"), &rows));
        }
        (None, None) => {}
    }
    charts.extend(differences(report));
    charts
}

fn accuracies(id: &str, title: &str, caption: &str, rows: &[Bar]) -> Option<Chart> {
    Chart::drawn(id, title, caption, |words| bars(rows, "top-1 accuracy, %", words))
}

/// An entry where it was measured.
fn measured(entry: &Entry) -> Bar {
    let words = format!("{} {} images", entry.samples, entry.part);
    bar(entry, entry.top1, entry.interval, &words)
}

/// An entry on the part that the teachers were measured on, which is not that of the final numbers.
fn on_validation(entry: &Entry, part: &str) -> Option<Bar> {
    if entry.part == part {
        return Some(measured(entry));
    }
    let interval = entry.validation_interval?;
    Some(bar(entry, entry.validation?, interval, &format!("the {part} images")))
}

fn bar(entry: &Entry, top1: f64, interval: [f64; 2], images: &str) -> Bar {
    let student = entry.kind == Kind::Student;
    let [low, high] = interval;
    Bar {
        name: entry.label(),
        values: vec![(top1, if student { STUDENT } else { BESIDE })],
        interval: Some(interval),
        label: format!("{top1:.1} %"),
        faint: !student,
        mark: String::new(),
        title: format!("{}: {top1:.2} % of {images}, {low:.2} to {high:.2}", entry.label()),
    }
}

/// Differences to the reference of a comparison.
fn differences(report: &Report) -> Option<Chart> {
    let comparison = report.comparison.as_ref()?;
    let rows: Vec<Bar> = comparison
        .rows
        .iter()
        .filter_map(|row| {
            let own = row.against_reference.as_ref()?;
            let mut values = vec![(own.mean, STUDENT)];
            values.extend(own.differences.iter().map(|&difference| (difference, BESIDE)));
            Some(Bar {
                name: row.method.clone(),
                values,
                interval: own.interval.map(|own| [own.low, own.high]),
                label: own.margin.map_or_else(
                    || format!("{:+.2}", own.mean),
                    |margin| format!("{:+.2} ± {margin:.2}", own.mean),
                ),
                title: format!("{}: {}", row.method, own.words(&comparison.reference)),
                ..Bar::default()
            })
        })
        .collect();
    let title = format!("Difference to {}", comparison.reference);
    let caption = "Points of top-1, paired by seed. Dot: mean; small marks: single seeds; line: \
                   interval by a moderated t, corrected for the number of methods. A line that \
                   crosses 0 is no evidence.";
    Chart::drawn("difference", &title, caption, |words| {
        dots(&rows, "points of top-1 accuracy", Some(0.0), words)
    })
}
