//! The answer in a few sentences.

use faculty_records::comparison::Comparison;

use crate::load::{Report, Run};
use crate::results::{Entry, Kind};

/// What came out, the most important sentence first.
#[must_use]
pub fn headline(report: &Report) -> Vec<String> {
    let mut lines = outcome(report);
    lines.extend(dominant_terms(report));
    lines
}

/// Runs in whose loss one term left the others next to nothing to say.
fn dominant_terms(report: &Report) -> Option<String> {
    let named: Vec<String> = report
        .groups()
        .iter()
        .filter_map(|(name, runs)| {
            let records = runs.iter().flat_map(|run: &&Run| &run.epochs);
            let own = records.filter_map(|record| Some((record.epoch, record.dominant_term()?)));
            let (epoch, (term, share)) = own.max_by(|a, b| a.1.1.total_cmp(&b.1.1))?;
            Some(format!("`{term}` in {name} ({:.1} % in epoch {epoch})", 100.0 * share))
        })
        .collect();
    (!named.is_empty())
        .then(|| format!("One term was nearly all of the loss: {}.", named.join(", ")))
}

fn outcome(report: &Report) -> Vec<String> {
    let entries = report.entries();
    if let Some(comparison) = &report.comparison {
        return of_comparison(comparison, &entries);
    }
    let students: Vec<&Entry> = entries.iter().filter(|own| own.kind == Kind::Student).collect();
    let mut lines = match &students[..] {
        [] => return unfinished(report),
        [own] => vec![alone(report, own)],
        several => vec![best_of(several)],
    };
    lines.extend(beside(&entries, &students));
    if students.len() > 1 {
        lines.push(
            "One run each: a difference may be the luck of the seed. `faculty compare` with several \
             seeds tells."
                .to_owned(),
        );
    }
    lines
}

fn unfinished(report: &Report) -> Vec<String> {
    let mut best: Option<(&str, usize, f64)> = None;
    for run in &report.runs {
        for record in &run.epochs {
            let Some(quality) = record.validation else { continue };
            if best.is_none_or(|own| quality.top1 > own.2) {
                best = Some((&run.name, record.epoch, quality.top1));
            }
        }
    }
    let so_far = best.map_or_else(
        || "Not finished: nothing has been measured yet.".to_owned(),
        |(name, epoch, top1)| {
            format!(
                "Not finished: the best so far is {top1:.2} % of the validation samples ({name}, epoch \
                 {epoch})."
            )
        },
    );
    vec![so_far]
}

fn alone(report: &Report, own: &Entry) -> String {
    let card = report.runs.iter().find_map(|run| run.card.as_ref());
    let method = card.map_or_else(String::new, |card| format!(" trained by {}", card.method));
    format!(
        "The student {}{method} is right on {:.2} % of {} {} samples (95 % interval {:.1} to {:.1}).",
        own.network, own.top1, own.samples, own.part, own.interval[0], own.interval[1]
    )
}

fn best_of(students: &[&Entry]) -> String {
    let best = students.iter().max_by(|a, b| a.top1.total_cmp(&b.top1)).expect("two at least");
    let others = students.iter().filter(|own| own.name != best.name);
    let others: Vec<String> = others
        .map(|own| format!("{:+.2} points against {}", best.top1 - own.top1, own.name))
        .collect();
    format!(
        "{} is right on {:.2} % of {} {} images: {}.",
        best.name,
        best.top1,
        best.samples,
        best.part,
        others.join(", ")
    )
}

/// Teachers and ensemble on the validation split, with the students on the same images.
fn beside(entries: &[Entry], students: &[&Entry]) -> Option<String> {
    let teachers: Vec<&Entry> = entries.iter().filter(|own| own.kind == Kind::Teacher).collect();
    let part = &teachers.first()?.part;
    let mut parts: Vec<String> =
        teachers.iter().map(|own| format!("{} {:.1} %", own.name, own.top1)).collect();
    let ensemble = entries.iter().find(|own| own.kind == Kind::Ensemble);
    parts.extend(ensemble.map(|own| format!("their ensemble {:.1} %", own.top1)));
    let known = students.iter().filter_map(|own| Some((&own.name, own.validation?)));
    let best = known.max_by(|a, b| a.1.total_cmp(&b.1));
    let student = match best.filter(|_| part == "validation") {
        Some((name, top1)) if students.len() > 1 => format!(" Student {name} there: {top1:.1} %."),
        Some((_, top1)) => format!(" The student there: {top1:.1} %."),
        None => String::new(),
    };
    Some(format!("Teachers on the {part} split: {}.{student}", parts.join(", ")))
}

fn of_comparison(comparison: &Comparison, entries: &[Entry]) -> Vec<String> {
    let sentence = |text: String| {
        let named = comparison.rows.iter().any(|row| text.starts_with(&format!("{} ", row.method)));
        let mut letters = text.chars();
        match letters.next() {
            // Names stay as they are.
            Some(first) if !named => format!("{}{}.", first.to_uppercase(), letters.as_str()),
            _ => format!("{text}."),
        }
    };
    let mut lines = vec![sentence(comparison.verdict())];
    lines.extend(comparison.seeds_needed().map(sentence));
    let students: Vec<&Entry> = entries.iter().filter(|own| own.kind == Kind::Student).collect();
    let best = students.iter().max_by(|a, b| a.top1.total_cmp(&b.top1));
    if let Some(best) = best {
        let words = format!(
            "Highest mean: {} with {:.2} % of {} {} images.",
            best.name, best.top1, best.samples, best.part
        );
        lines.push(match beside(entries, &students) {
            Some(more) => format!("{words} {more}"),
            None => words,
        });
    }
    lines
}
