//! Accuracy against latency.

use faculty_records::quality::Quality;

use super::ink::{STUDENT, teacher_ink};
use crate::load::Run;
use crate::results::teachers_part;
use crate::svg::{Chart, Point, scatter};

/// Student and teachers of a run that `faculty bench-model` measured.
pub(crate) fn trade_off(run: &Run) -> Option<Chart> {
    let (bench, card) = (run.bench.as_ref()?, run.card.as_ref()?);
    // All on the part that the teachers were measured on, so that they can be compared.
    let part = if card.teachers.is_empty() { "test" } else { teachers_part(run, card) };
    let student = match part {
        "test" => card.best.test,
        _ => card.best.validation,
    };
    let mut points = Vec::new();
    let mut add = |name: &str, quality: Option<Quality>, (colour, mark): (usize, String)| {
        // The student comes first, whatever a teacher is called.
        let measured = match colour {
            STUDENT => bench.models.first(),
            _ => bench.models.iter().skip(1).find(|own| own.name == name),
        };
        let (Some(measured), Some(quality)) = (measured, quality) else { return };
        points.push(Point {
            name: format!("{name} ({})", measured.network),
            x: measured.latency_median_ms,
            y: quality.top1,
            interval: quality.interval(),
            colour,
            mark,
            title: format!(
                "{name}: {:.2} %, {:.3} ms, 95th percentile {:.3} ms, {:.0} images/s",
                quality.top1,
                measured.latency_median_ms,
                measured.latency_p95_ms,
                measured.images_per_second
            ),
        });
    };
    add("student", student, (STUDENT, String::new()));
    for (at, teacher) in card.teachers.iter().enumerate() {
        add(&teacher.name, teacher.quality, teacher_ink(at));
    }
    let caption = format!(
        "Median time for one image on {}, {} threads, and accuracy on the {part} split with its 95 % \
         interval. Up and to the left is better.",
        bench.processor, bench.threads
    );
    Chart::drawn("trade-off", "Accuracy and latency", &caption, |words| {
        scatter(&points, ["latency, ms", "top-1, %"], words)
    })
}
