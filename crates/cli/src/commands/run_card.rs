//! A run for people: what is about to happen, and its final numbers.

use std::io::Write as _;
use std::path::Path;

use faculty_distill::metrics::Quality;
use faculty_distill::record::{RunCard, StudentResult};
use faculty_distill::run::MemoryNeed;
use faculty_teachers::RunData;

use super::shown;
use super::teachers::warn_of_same_teachers;
use crate::progress::duration;
use crate::table::{class_means, percent, shows_top5};

/// What is learnt from, on stderr.
pub(super) fn describe_data(card: &RunCard, data: &RunData, seconds: f64) {
    let size =
        |part: &Option<faculty_data::Split>| part.as_ref().map_or(0, faculty_data::Split::len);
    let unlabelled = match data.train.len() - data.train.labelled_len() {
        0 => String::new(),
        count => format!(" ({count} without a label)"),
    };
    eprintln!(
        "data: {}, {} classes, {} training{unlabelled}, {} validation, {} test samples (ready in {seconds:.1} s)",
        card.data,
        card.classes.len(),
        data.train.len(),
        size(&data.validation),
        size(&data.test),
    );
}

/// What is about to happen, on stderr.
pub(super) fn describe(card: &RunCard, memory: Option<&MemoryNeed>) {
    for teacher in &card.teachers {
        let quality = teacher.quality.map_or_else(
            || "not measured".to_owned(),
            |q| format!("{}, NLL {:.3}, ECE {:.3}", percent(q.top1), q.nll, q.ece),
        );
        let fitted = teacher.temperature.map_or_else(String::new, |temperature| {
            format!(", calibration temperature {temperature:.2}")
        });
        let network = teacher.network_and_precision();
        eprintln!("teacher: {} ({network}), alone {quality}{fitted}", teacher.name);
        let classes = Some(&teacher.classes).filter(|text| !text.is_empty());
        for note in classes.map(|text| format!("classes: {text}")).iter().chain(&teacher.notes) {
            eprintln!("  {note}");
        }
    }
    if let (Some(quality), Some(diversity)) = (card.ensemble, &card.diversity) {
        eprintln!(
            "ensemble: {}; the teachers agree on {}, some teacher is right on {}",
            percent(quality.top1),
            percent(100.0 * diversity.mean_agreement),
            percent(diversity.oracle)
        );
        let names: Vec<&str> = card.teachers.iter().map(|own| own.name.as_str()).collect();
        warn_of_same_teachers(&names, Some(diversity));
    }
    eprintln!("student: {}, {} parameters", card.student, card.student_parameters);
    for note in &card.student_notes {
        eprintln!("  {note}");
    }
    eprintln!("objective: {}", card.objective);
    for note in &card.training_notes {
        eprintln!("  {note}");
    }
    let memory = memory.map_or_else(String::new, |own| {
        format!(", about {:.2} GiB for training", own.total() as f64 / (1_u64 << 30) as f64)
    });
    eprintln!("kernels: {}, {} threads{memory}", card.kernels, rayon::current_num_threads());
}

/// The final numbers, on stdout.
pub(super) fn summary(card: &RunCard, folder: &Path) -> std::io::Result<()> {
    let mut out = crate::terminal::stdout();
    let line =
        |result: &StudentResult| qualities(result.test, result.validation, card.classes.len());
    if let Some(stop) = &card.early_stop {
        writeln!(out, "{}", stop.sentence())?;
    }
    writeln!(out, "last epoch ({}): {}", card.last.epoch, line(&card.last))?;
    writeln!(out, "best validation epoch ({}): {}", card.best.epoch, line(&card.best))?;
    writeln!(
        out,
        "student: {} ({})",
        shown(&folder.join("student.safetensors")),
        duration(card.seconds)
    )
}

/// `test top-1 …; validation top-1 …`, as far as there are such parts.
pub(super) fn qualities(
    test: Option<Quality>,
    validation: Option<Quality>,
    classes: usize,
) -> String {
    let of = |name: &str, quality: Option<Quality>| {
        quality.map(|quality| {
            let Quality { top1, top5, nll, ece, samples, .. } = quality;
            let of_classes = class_means(&quality);
            let top5 =
                if shows_top5(classes) { format!(", top-5 {top5:.2} %") } else { String::new() };
            let interval =
                quality.interval_of_small_part().map_or_else(String::new, |[low, high]| {
                    format!(" ({low:.1} to {high:.1} at 95 %, for {samples} samples)")
                });
            format!(
                "{name} top-1 {top1:.2} %{interval}{top5}{of_classes}, NLL {nll:.3}, ECE {ece:.3}"
            )
        })
    };
    let parts = [of("test", test), of("validation", validation)];
    parts.into_iter().flatten().collect::<Vec<String>>().join("; ")
}
