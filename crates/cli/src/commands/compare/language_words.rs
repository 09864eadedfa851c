//! A comparison of language models in words and tables: for the terminal, as Markdown and as CSV.

use std::fmt::Write as _;

use faculty_escape as escape;
use faculty_records::comparison::{MethodNote, Sequential, Single, Spread};
use faculty_records::language_comparison::{BITS, BITS_DIGITS, LanguageComparison};
use faculty_records::language_run::LanguageQuality;
use faculty_report::Table;

use super::words::short;
use crate::table::Align;

/// The methods that are not treated as the others are.
pub(super) fn notes(single: Option<&Single>, left_out: &[MethodNote]) -> Vec<String> {
    let of_one = single.map(|Single { teacher, methods }| {
        format!("of one teacher, the recipe's first, `{teacher}`: {}", methods.join(", "))
    });
    let left_out = left_out.iter().map(|own| format!("left out: {}: {}", own.method, own.reason));
    of_one.into_iter().chain(left_out).collect()
}

fn spread(own: Spread) -> String {
    let deviation = own.deviation.map_or_else(String::new, |own| format!(" ± {own:.BITS_DIGITS$}"));
    format!("{:.BITS_DIGITS$}{deviation}", own.mean)
}

/// The table for a terminal of 80 columns, teachers first.
pub(super) fn narrow(
    comparison: &LanguageComparison,
) -> (Vec<(&'static str, Align)>, Vec<Vec<String>>) {
    let header = vec![
        ("", Align::Left),
        ("verdict", Align::Left),
        (BITS, Align::Right),
        ("saved", Align::Right),
        ("nats", Align::Right),
    ];
    let blank = String::new;
    let mut rows = Vec::new();
    for own in &comparison.teachers {
        let quality = if comparison.is_tested() { own.test } else { own.validation };
        let number = |of: fn(&LanguageQuality) -> f64, digits: usize| {
            quality.as_ref().map_or_else(blank, |own| format!("{:.digits$}", of(own)))
        };
        let bits = number(|own| own.bits_per_character, BITS_DIGITS);
        let nats = number(|own| own.nll, 3);
        rows.push(vec![format!("teacher {}", own.name), blank(), bits, blank(), nats]);
    }
    for row in &comparison.rows {
        let (verdict, saved) = match &row.against_reference {
            None => ("reference", blank()),
            Some(own) => {
                let margin =
                    own.margin.map_or_else(blank, |margin| format!(" ± {margin:.BITS_DIGITS$}"));
                (short(own.verdict), format!("{:+.BITS_DIGITS$}{margin}", own.mean))
            }
        };
        let nats = format!("{:.3}", row.nll.mean);
        rows.push(vec![row.name.clone(), verdict.to_owned(), spread(row.bits), saved, nats]);
    }
    (header, rows)
}

/// What the table's numbers are.
pub(super) fn sentences(comparison: &LanguageComparison) -> Vec<String> {
    let LanguageComparison { reference, rows, seeds, part, tokens, .. } = comparison;
    let against = rows.len() - 1;
    let mut lines = vec![format!(
        "students: mean ± standard deviation over {} on the {part} split ({tokens} tokens), each of its best \
         step",
        if seeds.len() == 1 { "1 seed".to_owned() } else { format!("{} seeds", seeds.len()) },
    )];
    if part != "test" {
        lines.push("there is no test split: the steps were chosen on the same text".to_owned());
    }
    lines.push(format!(
        "saved: {BITS} that are fewer than with {reference}, paired by seed; interval and verdict by a \
         moderated t, corrected for {against} comparison{} (Holm, {:.0} %)",
        if against == 1 { "" } else { "s" },
        100.0 * (1.0 - comparison.significance),
    ));
    lines.extend(comparison.sequential.map(|own| until(own, seeds.len())));
    lines.extend(notes(comparison.single.as_ref(), &comparison.left_out));
    lines
}

fn until(own: Sequential, seeds: usize) -> String {
    let Sequential { looks, width, widest } = own;
    let reached = if widest < width { "narrower than" } else { "not yet narrower than" };
    format!(
        "the widest interval, {widest:.BITS_DIGITS$} {BITS}, is {reached} {width} after {seeds} seeds; this \
         was look {looks} of a comparison that spends its 5 % over all looks"
    )
}

/// One line a run.
pub(super) fn csv(comparison: &LanguageComparison) -> String {
    let mut text = "name,seed,step,validation_bits_per_character,validation_nll,\
                    test_bits_per_character,test_nll,trained_tokens,seconds\n"
        .to_owned();
    for row in &comparison.rows {
        for run in &row.runs {
            let quality = |own: Option<LanguageQuality>| {
                own.map_or_else(
                    || ",".to_owned(),
                    |own| format!("{},{}", own.bits_per_character, own.nll),
                )
            };
            let (validation, test) = (quality(run.validation), quality(run.test));
            let (seed, step, tokens) = (run.seed, run.best_step, run.trained_tokens);
            let (name, seconds) = (escape::csv(&row.name), run.seconds);
            let _ =
                writeln!(text, "{name},{seed},{step},{validation},{test},{tokens},{seconds:.3}");
        }
    }
    text
}

/// The verdict, the table and what its numbers are.
pub(super) fn markdown(comparison: &LanguageComparison, table: &Table) -> String {
    let mut first = vec![comparison.verdict()];
    first.extend(comparison.seeds_needed());
    let first: Vec<String> = first.iter().map(|line| escape::markdown(line)).collect();
    let mut text = format!("**{}.**\n\n{}", first.join("; "), table.markdown());
    for line in sentences(comparison) {
        let _ = write!(text, "\n{}.\n", escape::markdown(&line));
    }
    text
}
