//! Which charts a report has.

use faculty_records::report_data::{LevelWeights, TeachersDetail, WeightSpread};
use faculty_records::run::EpochRecord;
use faculty_records::statistics::mean;

pub(crate) use self::answer::answer;
pub(crate) use self::grouped::{Points, grouped};
use self::ink::{BESIDE, STUDENT, teacher_ink};
pub(crate) use self::trade_off::trade_off;
use crate::load::{Report, Run};
use crate::results::teachers_part;
pub use crate::svg::Chart;
use crate::svg::{
    Bar, Line, LineChart, Reliability, Scale, Stack, areas, calibration, dots, matrix, shares,
};

mod answer;
mod grouped;
mod ink;
mod trade_off;

/// More classes than this are too many rows: the student's weakest are drawn.
const MOST_ROWS: usize = 30;

/// A level of teacher weights in words.
pub(crate) fn level_name(level: &str) -> &str {
    match level {
        "kd" => "output",
        "intermediate" => "feature map",
        other => other,
    }
}

/// Every chart of the report.
#[must_use]
pub fn all(report: &Report) -> Vec<Chart> {
    let mut charts = answer(report);
    charts.extend(learning(report));
    if let Some(run) = report.focus() {
        charts.extend(classes(run));
        charts.extend(calibrated(run));
        charts.extend(teachers(run));
        charts.extend(trade_off(run));
    }
    charts
}

/// One curve a group: the mean over its runs, and what lies between them.
fn group_lines(report: &Report, value: impl Fn(&EpochRecord) -> Option<f64>) -> Vec<Line> {
    let points = |run: &&Run| -> Points {
        run.epochs.iter().filter_map(|own| Some((own.epoch as u64, value(own)?))).collect()
    };
    let groups = report.groups();
    let groups = groups.iter().map(|(name, runs)| (*name, runs.iter().map(points).collect()));
    grouped(groups.collect())
}

/// Curves over the epochs.
pub(crate) fn learning(report: &Report) -> Vec<Chart> {
    let several = report.runs.len() > report.groups().len();
    let seeds = if several {
        " Line: mean over the seeds; band: from the lowest to the highest."
    } else {
        ""
    };
    let epochs = |y_title: &str, lines, digits, scale| LineChart {
        y_title: y_title.to_owned(),
        x_title: "epoch".to_owned(),
        lines,
        scale,
        digits,
    };
    let both = |id: &str, title: &str, caption: &str, curves: &LineChart| {
        let drawn = Chart::drawn(id, title, caption, |words| curves.draw(words))?;
        let log = curves.log(&format!("{title}, logarithmic axis. {caption}"));
        Some(Chart { log, ..drawn })
    };
    let mut charts = Vec::new();
    let accuracy = |record: &EpochRecord| record.validation.map(|own| own.top1);
    let mut lines = group_lines(report, accuracy);
    let mut caption = "On the validation split, after each epoch.".to_owned();
    if let [run] = &report.runs[..] {
        for line in &mut lines {
            line.name = "validation".to_owned();
        }
        let train = group_lines(report, |record| Some(record.train_top1)).into_iter();
        lines.extend(train.map(|line| Line { name: "training".to_owned(), faint: true, ..line }));
        lines.extend(beside(run));
        caption =
            "Validation split after each epoch, and augmented training images while they were \
                   learnt. Level lines: teachers on the validation split."
                .to_owned();
    }
    charts.extend(Chart::drawn(
        "learning",
        "Accuracy over the epochs",
        &(caption + seeds),
        |words| epochs("top-1 accuracy, %", lines, 1, Scale::Close).draw(words),
    ));
    let lines = group_lines(report, |record| record.validation.map(|own| own.nll));
    let caption = format!(
        "Negative log-likelihood of the true class on the validation split; lower is better.{seeds}"
    );
    let curves = epochs("NLL, nats", lines, 3, Scale::Close);
    charts.extend(both("nll", "Likelihood over the epochs", &caption, &curves));
    let lines = group_lines(report, |record| Some(record.loss));
    let caption = format!(
        "All terms together, on training images. Losses of different methods do not compare.{seeds}"
    );
    let curves = epochs("loss", lines, 2, Scale::FromZero);
    charts.extend(both("loss", "Training loss", &caption, &curves));
    charts.extend(loss_shares(report));
    charts
}

/// What a single run is measured by: its best teacher and the ensemble, as level lines.
fn beside(run: &Run) -> Vec<Line> {
    let Some(card) = run.card.as_ref().filter(|card| teachers_part(run, card) == "validation")
    else {
        return Vec::new();
    };
    let ends = [run.epochs.first(), run.epochs.last()].into_iter().flatten();
    let ends: Vec<f64> = ends.map(|record| record.epoch as f64).collect();
    let level = |name: String, top1: f64| Line {
        name,
        points: ends.iter().map(|&x| (x, top1)).collect(),
        colour: BESIDE,
        faint: true,
        ..Line::default()
    };
    let measured = card.teachers.iter().filter_map(|own| Some((&own.name, own.quality?.top1)));
    let best = measured.max_by(|a, b| a.1.total_cmp(&b.1));
    let ensemble = card.ensemble.filter(|_| card.teachers.len() > 1);
    let best = best.map(|(name, top1)| level(format!("teacher {name}"), top1));
    best.into_iter().chain(ensemble.map(|own| level("ensemble".to_owned(), own.top1))).collect()
}

fn loss_shares(report: &Report) -> Vec<Chart> {
    let mut names: Vec<&String> =
        report.runs.iter().flat_map(|run| &run.epochs).flat_map(|own| own.terms.keys()).collect();
    names.sort();
    names.dedup();
    // The task comes first, for the eye to begin with.
    names.sort_by_key(|name| *name != "task");
    let share =
        |record: &EpochRecord, name: &String| record.terms.get(name).map_or(0.0, |t| t.share);
    let mut charts = Vec::new();
    if report.groups().len() > 1 {
        let row = |(name, runs): &(&str, Vec<&Run>)| {
            let last: Vec<&EpochRecord> = runs.iter().filter_map(|run| run.epochs.last()).collect();
            let part = |(at, term): (usize, &&String)| {
                let own: Vec<f64> = last.iter().map(|record| share(record, term)).collect();
                ((*term).clone(), mean(&own), at)
            };
            let parts = names.iter().enumerate().map(part).filter(|part| part.1 > 0.0);
            ((*name).to_owned(), parts.collect())
        };
        let rows: Vec<_> = report.groups().iter().map(row).collect();
        let caption =
            "Each term's constant times its value, as a share of the loss, in the last epoch.";
        charts.extend(Chart::drawn("terms-last", "What the loss is made of", caption, |words| {
            shares(&rows, words)
        }));
    }
    let Some(run) = report.focus() else { return charts };
    let present = |name: &&&String| run.epochs.iter().any(|record| share(record, name) > 0.0);
    let own = names.iter().enumerate().filter(|(_, name)| present(name));
    let stacks: Vec<Stack> = own
        .map(|(colour, name)| Stack {
            name: (*name).clone(),
            shares: run.epochs.iter().map(|record| share(record, name)).collect(),
            colour,
        })
        .collect();
    let at: Vec<f64> = run.epochs.iter().map(|record| record.epoch as f64).collect();
    let title = match report.runs.len() {
        1 => "Loss terms over the epochs".to_owned(),
        _ => format!("Loss terms of {}", run.name),
    };
    let caption = "Each term's constant times its value, as a share of the whole loss.";
    charts.extend(Chart::drawn("terms", &title, caption, |words| areas(&stacks, &at, words)));
    charts
}

/// Confusion and accuracy of each class.
pub(crate) fn classes(run: &Run) -> Vec<Chart> {
    let (Some(card), Some(data)) = (&run.card, &run.data) else { return Vec::new() };
    let mut charts = Vec::new();
    if let Some(own) = &data.student {
        let caption = format!(
            "Student of {} on the {} split ({} samples). Right answers lie on the diagonal.",
            run.name, own.part, own.samples
        );
        charts.extend(Chart::drawn("confusion", "Confusion matrix", &caption, |words| {
            // Data of another size than the card: nothing to draw.
            let fits = own.per_class.len() == card.classes.len();
            fits.then(|| matrix(&own.confusion, &own.per_class, &card.classes, words))
        }));
    }
    let teachers = data.teachers.as_ref();
    let student = teachers.map(|own| (&own.student_per_class, &own.part));
    let own = student.or(data.student.as_ref().map(|own| (&own.per_class, &own.part)));
    let Some((per_class, part)) = own else { return charts };
    let mut rows: Vec<(f64, Bar)> = Vec::new();
    for (class, (name, own)) in card.classes.iter().zip(per_class).enumerate() {
        let Some(top1) = own.top1 else { continue };
        let mut values = vec![(top1, STUDENT)];
        for (at, teacher) in teachers.iter().flat_map(|own| &own.teachers).enumerate() {
            let value = teacher.per_class.get(class).and_then(|own| own.top1);
            values.extend(value.map(|value| (value, teacher_ink(at).0)));
        }
        let bar = Bar {
            name: name.clone(),
            values,
            interval: own.interval,
            label: format!("{top1:.0} %"),
            faint: false,
            mark: format!("class-{class}"),
            title: format!("{name}: student {top1:.1} % of {} images", own.samples),
        };
        rows.push((top1, bar));
    }
    let whole = rows.len();
    if whole > MOST_ROWS {
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        rows.truncate(MOST_ROWS);
    }
    let rows: Vec<Bar> = rows.into_iter().map(|(_, bar)| bar).collect();
    let weakest = match whole > MOST_ROWS {
        true => format!(" The student's weakest {MOST_ROWS} of {whole} classes."),
        false => String::new(),
    };
    let names = teachers.iter().flat_map(|own| &own.teachers).enumerate();
    let shapes = ["cross", "square", "triangle", "x"];
    let key: Vec<String> =
        names.map(|(at, own)| format!("{} {}", shapes[teacher_ink(at).0 % 4], own.name)).collect();
    let key =
        if key.is_empty() { String::new() } else { format!(" Teachers: {}.", key.join(", ")) };
    let caption = format!(
        "On the {part} split. Blue dot with 95 % interval (Wilson): student of {}.{key}{weakest}",
        run.name
    );
    charts.extend(Chart::drawn("classes", "Accuracy on each class", &caption, |words| {
        dots(&rows, "right, %", None, words)
    }));
    charts
}

/// Confidence against accuracy of everybody.
pub(crate) fn calibrated(run: &Run) -> Option<Chart> {
    let data = run.data.as_ref()?;
    let mut all = Vec::new();
    let one = |name: String, bins, colour, mark: &str| {
        let mark = mark.to_owned();
        Reliability { name, bins, colour, mark }
    };
    let mut parts = Vec::new();
    if let Some(own) = &data.student {
        all.push(one("student".to_owned(), &own.calibration, STUDENT, ""));
        parts.push(format!("student on the {} split", own.part));
    }
    if let Some(own) = &data.teachers {
        for (at, teacher) in own.teachers.iter().enumerate() {
            let (colour, mark) = teacher_ink(at);
            all.push(one(teacher.name.clone(), &teacher.calibration, colour, &mark));
        }
        if own.teachers.len() > 1 {
            all.push(one("ensemble".to_owned(), &own.ensemble_calibration, BESIDE, ""));
        }
        parts.push(format!("teachers on the {} split", own.part));
    }
    let caption = format!(
        "How often an answer of some confidence is right: {}. On the diagonal, confidence can be \
         believed; below it, the network is surer than it should be. Larger dots: more images; bins \
         of fewer than 5 are left out.",
        parts.join(", ")
    );
    let drawn = !all.is_empty();
    Chart::drawn("calibration", "Calibration", &caption, |words| {
        drawn.then(|| calibration(&all, words))
    })
}

/// Teacher weights over the epochs and against right and wrong answers.
pub(crate) fn teachers(run: &Run) -> Vec<Chart> {
    let mut charts = Vec::new();
    let names = teacher_names(run);
    for level in level_names(run) {
        let line = |(at, name): (usize, &String)| {
            let (colour, mark) = teacher_ink(at);
            let points = run.epochs.iter().filter_map(|record| {
                Some((record.epoch as f64, *record.teacher_weights.get(level)?.get(name)?))
            });
            Line { name: name.clone(), points: points.collect(), colour, mark, ..Line::default() }
        };
        let lines: Vec<Line> = names.iter().enumerate().map(line).collect();
        let lines = LineChart {
            y_title: "mean weight".to_owned(),
            x_title: "epoch".to_owned(),
            lines,
            scale: Scale::FromZero,
            digits: 2,
        };
        let (id, name) = (format!("weights-{}", plain(level)), level_name(level));
        let caption =
            "Mean over the training images of each epoch; the weights of all teachers sum to 1.";
        charts.extend(Chart::drawn(&id, &format!("Weight at the {name}"), caption, |words| {
            lines.draw(words)
        }));
    }
    let detail = run.data.as_ref().and_then(|data| data.teachers.as_ref());
    for (detail, level) in detail.iter().flat_map(|own| own.weights.iter().map(move |l| (own, l))) {
        charts.extend(right_and_wrong(detail, level));
    }
    charts
}

/// Where a teacher is right, does it count more?
fn right_and_wrong(detail: &TeachersDetail, level: &LevelWeights) -> Option<Chart> {
    let mut rows = Vec::new();
    for (at, (teacher, own)) in detail.teachers.iter().zip(&level.teachers).enumerate() {
        let (colour, mark) = teacher_ink(at);
        let mut row = |word: &str, spread: Option<WeightSpread>| {
            let Some(own) = spread else { return };
            let [_, low, _, high, _] = own.quantiles;
            rows.push(Bar {
                name: format!("{} {word}", teacher.name),
                values: vec![(own.mean, colour)],
                interval: Some([low, high]),
                label: format!("{:.2} ({})", own.mean, own.samples),
                faint: false,
                mark: mark.clone(),
                title: format!(
                    "{} {word}: mean {:.3}, middle half {low:.3} to {high:.3}, {} images",
                    teacher.name, own.mean, own.samples
                ),
            });
        };
        row("right", own.right);
        row("wrong", own.wrong);
    }
    let (id, name) = (format!("correctness-{}", plain(&level.level)), level_name(&level.level));
    let title = format!("Weight at the {name}, where right and where wrong");
    let caption = format!(
        "Dot: mean; line: the middle half of the images. In brackets: images of the {} split, at the \
         end of the training.",
        detail.part
    );
    Chart::drawn(&id, &title, &caption, |words| dots(&rows, "weight", None, words))
}

/// Teachers in the order of the recipe, or as the metrics name them.
pub(crate) fn teacher_names(run: &Run) -> Vec<String> {
    let of_card = run.card.iter().flat_map(|card| &card.teachers).map(|own| own.name.clone());
    let names: Vec<String> = of_card.collect();
    if !names.is_empty() {
        return names;
    }
    let levels = run.epochs.last().into_iter().flat_map(|record| record.teacher_weights.values());
    levels.max_by_key(|own| own.len()).map_or_else(Vec::new, |own| own.keys().cloned().collect())
}

/// Levels of teacher weights in the last epoch, the output first.
pub(crate) fn level_names(run: &Run) -> Vec<&String> {
    let last = run.epochs.last().into_iter();
    let mut levels: Vec<&String> = last.flat_map(|record| record.teacher_weights.keys()).collect();
    levels.sort_by_key(|level| *level != "kd");
    levels
}

/// A level as part of a file name.
fn plain(level: &str) -> String {
    level.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}
