//! Curves of language models' runs over their steps.

use faculty_records::language_run::{LanguageModelEntry, LanguageRecord};

use crate::charts::{Points, grouped};
use crate::svg::{Chart, Line, LineChart, Scale};

/// Runs by group, as curves show them.
pub(crate) type Groups<'a> = Vec<(&'a str, Vec<&'a [LanguageRecord]>)>;

/// What stays where it is, beside curves.
pub(crate) type Levels = Vec<(String, f64)>;

/// Bits a character of teachers on the validation split.
pub(crate) fn levels(teachers: &[LanguageModelEntry]) -> Levels {
    let level =
        |own: &LanguageModelEntry| Some((own.name.clone(), own.validation?.bits_per_character));
    teachers.iter().filter_map(level).collect()
}

fn chart(y_title: &str, lines: Vec<Line>, digits: usize) -> LineChart {
    LineChart {
        y_title: y_title.to_owned(),
        x_title: "step".to_owned(),
        lines,
        scale: Scale::Close,
        digits,
    }
}

/// A value of each record.
fn points(records: &[LanguageRecord], of: impl Fn(&LanguageRecord) -> Option<f64>) -> Points {
    records.iter().filter_map(|own| Some((own.step, of(own)?))).collect()
}

fn line(name: &str, colour: usize, points: Points) -> Line {
    let points = points.into_iter().map(|(step, own)| (step as f64, own)).collect();
    Line { name: name.to_owned(), points, colour, ..Line::default() }
}

/// On the validation split, a curve a group, with levels beside them.
pub(crate) fn bits(groups: Groups<'_>, levels: &Levels) -> Option<Chart> {
    let several = groups.iter().any(|(_, runs)| runs.len() > 1);
    let count = groups.len();
    let of = |own: &LanguageRecord| Some(own.validation?.bits_per_character);
    let all = groups
        .into_iter()
        .map(|(name, runs)| (name, runs.into_iter().map(|own| points(own, of)).collect()));
    let mut lines = grouped(all.collect());
    let ends = |pick: fn(u64, u64) -> u64| {
        let steps = lines.iter().flat_map(|own| own.points.iter().map(|(step, _)| *step as u64));
        steps.reduce(pick)
    };
    if let (Some(first), Some(last)) = (ends(u64::min), ends(u64::max)) {
        let level = |(at, (name, own)): (usize, &(String, f64))| Line {
            faint: true,
            ..line(name, (count + at) % 8, vec![(first, *own), (last, *own)])
        };
        lines.extend(levels.iter().enumerate().map(level));
    }
    let mut caption = "Lower is better.".to_owned();
    if !levels.is_empty() {
        caption += " Level lines: teachers.";
    }
    if several {
        caption += " Line: mean over the seeds; band: from the lowest to the highest.";
    }
    let title = "Bits a character on the validation split";
    Chart::drawn("bits", title, &caption, |words| chart("bits a character", lines, 3).draw(words))
}

/// Both terms of a run's loss.
pub(crate) fn losses(records: &[LanguageRecord], has_teachers: bool) -> Option<Chart> {
    let mut lines = vec![line("text", 0, points(records, |own| Some(own.ce)))];
    if has_teachers {
        lines.push(line("teachers", 1, points(records, |own| Some(own.kd))));
    }
    Chart::drawn(
        "loss",
        "Loss on the training text",
        "Nats a token, means over the steps since the point before: cross-entropy with the text, and the \
         distillation term.",
        |words| chart("nats a token", lines, 3).draw(words),
    )
}

/// How much each of several teachers counted in a run; `run` names it where there are others.
pub(crate) fn weights(records: &[LanguageRecord], names: &[&str], run: &str) -> Option<Chart> {
    if names.len() < 2 {
        return None;
    }
    let own = |(k, name): (usize, &&str)| {
        line(name, (k + 1) % 8, points(records, |own| own.teacher_weights.get(k).copied()))
    };
    let lines = names.iter().enumerate().map(own).collect();
    let (id, of) = match run {
        "" => ("weights".to_owned(), String::new()),
        run => (format!("weights-{run}"), format!("{run}: ")),
    };
    Chart::drawn(
        &id,
        &format!("{of}How much each teacher counted"),
        "Mean weight over the tokens since the point before; they sum to 1.",
        |words| chart("weight", lines, 3).draw(words),
    )
}
