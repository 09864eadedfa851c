//! Which tables a report has.

use faculty_records::class_accuracy::ClassAccuracy;
use faculty_records::report_data::LevelWeights;
use faculty_records::run::EpochRecord;

use crate::charts::level_name;
use crate::load::{Report, Run};
use crate::results::Kind;
use crate::table::Table;

/// Pairs of classes in the table of confusions.
const MOST_CONFUSIONS: usize = 12;

/// The tables that stand in papers and mails.
#[must_use]
pub fn all(report: &Report) -> Vec<Table> {
    let mut tables = vec![results(report)];
    if let Some(run) = report.focus() {
        tables.extend(run.epochs.last().map(|last| terms(run, last)));
        tables.extend(per_class(run));
        tables.extend(levels(run).map(|level| weights(run, level)));
        tables.extend(confusions(run));
    }
    tables.into_iter().filter(|table| !table.rows.is_empty()).collect()
}

/// Everybody's numbers.
#[must_use]
pub fn results(report: &Report) -> Table {
    let entries = report.entries();
    let verdicts = entries.iter().any(|entry| !entry.verdict.is_empty());
    let mut titles =
        vec!["", "network", "part", "#top-1", "#", "#validation", "#NLL, nats", "#ECE"];
    titles[4] = if entries.iter().any(|own| own.deviation.is_some()) {
        "#spread"
    } else {
        "#95 % interval"
    };
    let measured = entries.iter().any(|entry| entry.balanced_accuracy.is_some());
    if measured {
        titles.extend(["#balanced", "#macro-F1"]);
    }
    titles.extend(verdicts.then_some("verdict"));
    let mut caption =
        "Top-1 accuracy, negative log-likelihood and expected calibration error.".to_owned();
    if let Some(comparison) = &report.comparison {
        let seeds = comparison.seeds.len();
        caption += &format!(
            " Students: mean over {seeds} seed{}, spread: one deviation; others: 95 % interval. {} images, \
             {} epochs.",
            if seeds == 1 { "" } else { "s" },
            comparison.samples,
            comparison.epochs
        );
    } else {
        caption += " The result of a run is its best validation epoch.";
    }
    if measured {
        caption += " Balanced: mean over the classes of the share of their images that is right.";
    }
    let mut table = Table::new(caption, &titles);
    let optional = |own: Option<f64>| own.map_or_else(String::new, |own| format!("{own:.2} %"));
    for entry in &entries {
        let spread = match entry.deviation {
            Some(deviation) => format!("± {deviation:.2}"),
            None => format!("{:.1} to {:.1}", entry.interval[0], entry.interval[1]),
        };
        let mut row = vec![
            entry.label(),
            entry.network.clone(),
            entry.part.clone(),
            format!("{:.2} %", entry.top1),
            spread,
            optional(entry.validation),
            format!("{:.3}", entry.nll),
            format!("{:.3}", entry.ece),
        ];
        if measured {
            row.extend([entry.balanced_accuracy, entry.macro_f1].map(optional));
        }
        row.extend(verdicts.then(|| entry.verdict.clone()));
        table.rows.push(row);
    }
    table
}

/// The same as plain numbers, for other programs.
#[must_use]
pub fn numbers(report: &Report) -> Table {
    let titles = [
        "kind",
        "name",
        "network",
        "part",
        "#samples",
        "#seeds",
        "#top1",
        "#low",
        "#high",
        "#deviation",
        "#validation_top1",
        "#nll",
        "#ece",
        "#balanced_accuracy",
        "#macro_f1",
    ];
    let mut table = Table::new("", &titles);
    let optional = |own: Option<f64>| own.map_or_else(String::new, |own| own.to_string());
    for entry in report.entries() {
        let kind = match entry.kind {
            Kind::Teacher => "teacher",
            Kind::Ensemble => "ensemble",
            Kind::Student => "student",
        };
        let words = [kind, &entry.name, &entry.network, &entry.part].map(str::to_owned);
        let counts = [entry.samples, entry.seeds.len()].map(|own| own.to_string());
        let [low, high] = entry.interval;
        let exact = [entry.top1, low, high].map(|own| own.to_string());
        let known = [entry.deviation, entry.validation].map(optional);
        let rest = [entry.nll, entry.ece].map(|own| own.to_string());
        let of_classes = [entry.balanced_accuracy, entry.macro_f1].map(optional);
        let row = words.into_iter().chain(counts).chain(exact).chain(known).chain(rest);
        let row = row.chain(of_classes);
        table.rows.push(row.collect());
    }
    table
}

/// The loss in the last epoch.
#[must_use]
pub fn terms(run: &Run, last: &EpochRecord) -> Table {
    let mut caption = format!("Terms of the loss of {} in epoch {}.", run.name, last.epoch);
    if let Some((term, _)) = last.dominant_term() {
        caption += &format!(" {term} is nearly all of it: the others have next to no say.");
    }
    let mut table = Table::new(caption, &["term", "#value", "#constant", "#share"]);
    for (name, term) in &last.terms {
        let share = format!("{:.1} %", 100.0 * term.share);
        let value = format!("{:.4}", term.value);
        table.rows.push(vec![name.clone(), value, format!("{:.4}", term.weight), share]);
    }
    table
}

/// Every epoch.
#[must_use]
pub fn epochs(run: &Run) -> Table {
    let titles = [
        "#epoch",
        "#learning rate",
        "#loss",
        "#training",
        "#validation",
        "#NLL, nats",
        "#images/s",
        "#seconds",
    ];
    let mut table = Table::new(format!("Epochs of {}.", run.name), &titles);
    for own in &run.epochs {
        let (top1, nll) = own.validation.map_or_else(Default::default, |quality| {
            (format!("{:.2} %", quality.top1), format!("{:.3}", quality.nll))
        });
        table.rows.push(vec![
            own.epoch.to_string(),
            format!("{:.5}", own.learning_rate),
            format!("{:.4}", own.loss),
            format!("{:.2} %", own.train_top1),
            top1,
            nll,
            format!("{:.0}", own.images_per_second),
            format!("{:.1}", own.seconds),
        ]);
    }
    table
}

/// Accuracy of student and teachers on each class.
#[must_use]
pub fn per_class(run: &Run) -> Option<Table> {
    let (card, data) = (run.card.as_ref()?, run.data.as_ref()?);
    let cell = |own: Option<&ClassAccuracy>| {
        own.and_then(|own| own.top1).map_or_else(|| "–".to_owned(), |top1| format!("{top1:.1} %"))
    };
    let final_part = data.student.as_ref();
    let teachers = data.teachers.as_ref();
    let mut titles = vec!["class".to_owned()];
    titles.extend(final_part.map(|own| format!("#student, {}", own.part)));
    titles.extend(teachers.map(|own| format!("#student, {}", own.part)));
    titles
        .extend(teachers.iter().flat_map(|own| &own.teachers).map(|own| format!("#{}", own.name)));
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let mut table = Table::new(
        format!(
            "Accuracy on each class of {}{}.",
            run.name,
            teachers
                .map_or_else(String::new, |own| format!("; teachers on the {} split", own.part))
        ),
        &titles,
    );
    for (class, name) in card.classes.iter().enumerate() {
        let mut row = vec![name.clone()];
        row.extend(final_part.map(|own| cell(own.per_class.get(class))));
        row.extend(teachers.map(|own| cell(own.student_per_class.get(class))));
        let own = teachers.iter().flat_map(|own| &own.teachers);
        row.extend(own.map(|teacher| cell(teacher.per_class.get(class))));
        table.rows.push(row);
    }
    Some(table)
}

/// Teacher weights at each level, of a run that has them.
pub(crate) fn levels(run: &Run) -> impl Iterator<Item = &LevelWeights> {
    let teachers = run.data.iter().filter_map(|data| data.teachers.as_ref());
    teachers.flat_map(|own| &own.weights)
}

/// Mean weight of each teacher on each class.
#[must_use]
pub fn weights(run: &Run, level: &LevelWeights) -> Table {
    let names = crate::charts::teacher_names(run);
    let titles: Vec<String> = std::iter::once("class".to_owned())
        .chain(names.iter().map(|own| format!("#{own}")))
        .collect();
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let name = level_name(&level.level);
    let mut table = Table::new(
        format!(
            "Mean weight at the {name} on each class, at the end of the training of {}.",
            run.name
        ),
        &titles,
    );
    let number = |own: Option<f64>| own.map_or_else(|| "–".to_owned(), |own| format!("{own:.3}"));
    let classes = run.card.iter().flat_map(|card| &card.classes);
    for (class, name) in classes.enumerate() {
        let own =
            level.teachers.iter().map(|own| number(own.per_class.get(class).copied().flatten()));
        table.rows.push(std::iter::once(name.clone()).chain(own).collect());
    }
    let all = level.teachers.iter().map(|own| number(Some(own.mean)));
    table.rows.push(std::iter::once("all classes".to_owned()).chain(all).collect());
    for row in &mut table.rows {
        row.resize(titles.len(), "–".to_owned());
    }
    table
}

/// Which classes are taken for which.
#[must_use]
pub fn confusions(run: &Run) -> Option<Table> {
    let (card, own) = (run.card.as_ref()?, run.data.as_ref()?.student.as_ref()?);
    let mut wrong: Vec<_> = own.confusion.iter().filter(|cell| cell.label != cell.answer).collect();
    wrong.sort_by_key(|cell| (std::cmp::Reverse(cell.samples), cell.label, cell.answer));
    let caption = format!("Most frequent confusions of {} on the {} split.", run.name, own.part);
    let mut table = Table::new(caption, &["true class", "answer", "#images", "#of the class"]);
    for cell in wrong.into_iter().take(MOST_CONFUSIONS) {
        let name = |class: u32| card.classes.get(class as usize).cloned();
        let (Some(label), Some(answer)) = (name(cell.label), name(cell.answer)) else { continue };
        let whole = own.per_class.get(cell.label as usize).map_or(0, |own| own.samples);
        let share = 100.0 * cell.samples as f64 / whole.max(1) as f64;
        table.rows.push(vec![label, answer, cell.samples.to_string(), format!("{share:.1} %")]);
    }
    Some(table)
}

/// What was run, with all constants and hashes.
#[must_use]
pub fn facts(run: &Run) -> Option<Table> {
    let card = run.card.as_ref()?;
    let mut table = Table::new(format!("Facts of {}.", run.name), &["", "value"]);
    let mut row = |name: &str, value: String| table.rows.push(vec![name.to_owned(), value]);
    row("method", card.method.clone());
    row("objective", card.objective.clone());
    row("student", format!("{}, {} parameters", card.student, card.student_parameters));
    for note in &card.student_notes {
        row("weights", note.clone());
    }
    for note in &card.training_notes {
        row("training", note.clone());
    }
    row("data", format!("{}, {} classes", card.data, card.classes.len()));
    row("data fingerprint", card.data_fingerprint.clone());
    row("seed", card.seed.to_string());
    row("epochs", format!("{}, result from epoch {}", card.last.epoch, card.best.epoch));
    if let Some(stop) = &card.early_stop {
        row("end", stop.sentence());
    }
    row("time", format!("{:.0} s", card.seconds));
    row("program", format!("faculty {}, kernels {}", card.faculty, card.kernels));
    for teacher in &card.teachers {
        let network = teacher.network_and_precision();
        let mut text = format!("{network}, SHA-256 {}", teacher.weights_sha256);
        if let Some(temperature) = teacher.temperature {
            text += &format!(", calibration temperature {temperature:.2}");
        }
        for note in teacher.notes.iter().chain(Some(&teacher.classes).filter(|own| !own.is_empty()))
        {
            text += &format!("; {note}");
        }
        row(&format!("teacher {}", teacher.name), text);
    }
    if let Some(own) = &card.diversity {
        let text = format!(
            "agree on {:.1} % of the images; some teacher is right on {:.1} %",
            100.0 * own.mean_agreement,
            own.oracle
        );
        row("teachers", text);
        for pair in &own.pairs {
            let names = [pair.first, pair.second].map(|at| card.teachers.get(at));
            if let (Some(how), [Some(first), Some(second)]) = (pair.sameness(), names) {
                row("counted twice", format!("{} and {} {how}", first.name, second.name));
            }
        }
    }
    Some(table)
}
