//! A comparison in words and tables: for the terminal, as Markdown and as CSV.

use std::fmt::Write as _;

use faculty_distill::comparison::{Comparison, MethodNote, Sequential, Single, Spread, TeacherRow};
use faculty_distill::metrics::Quality;
use faculty_distill::statistics::{Interval, Verdict};
use faculty_escape as escape;

use crate::table::{Align, percent};

/// The methods that are not treated as the others are.
pub(super) fn notes(
    single: Option<&Single>,
    live: &[MethodNote],
    warming_up: &[MethodNote],
    left_out: &[MethodNote],
) -> Vec<String> {
    let of_one = single.map(|Single { teacher, methods }| {
        format!("of one teacher, the recipe's first, `{teacher}`: {}", methods.join(", "))
    });
    let each = |what: &'static str, own: &[MethodNote]| -> Vec<String> {
        own.iter().map(|own| format!("{what}: {}: {}", own.method, own.reason)).collect()
    };
    let live = each("without the cache, its teachers run beside it", live);
    let warming_up = each("warning: the runs are no longer than its warm-up", warming_up);
    let left_out = each("left out", left_out);
    of_one.into_iter().chain(live).chain(warming_up).chain(left_out).collect()
}

type Header = Vec<(&'static str, Align)>;

/// The table for a terminal of 80 columns, teachers first.
pub(super) fn narrow(comparison: &Comparison) -> (Header, Vec<Vec<String>>) {
    let header = vec![
        ("", Align::Left),
        ("verdict", Align::Left),
        ("top-1, %", Align::Right),
        ("difference", Align::Right),
        ("NLL", Align::Right),
        ("ECE", Align::Right),
    ];
    let blank = String::new;
    let mut rows = Vec::new();
    for own in &comparison.teachers {
        let quality = own.quality;
        let top1 = format!("{:.2}", quality.top1);
        let (nll, ece) = (format!("{:.3}", quality.nll), format!("{:.3}", quality.ece));
        rows.push(vec![teacher(own), blank(), top1, blank(), nll, ece]);
    }
    for row in &comparison.rows {
        let (verdict, difference) = match &row.against_reference {
            None => ("reference", blank()),
            Some(own) => {
                let margin = own.margin.map_or_else(blank, |margin| format!(" ± {margin:.2}"));
                (short(own.verdict), format!("{:+.2}{margin}", own.mean))
            }
        };
        rows.push(vec![
            row.method.clone(),
            verdict.to_owned(),
            spread(row.top1, 2, ""),
            difference,
            format!("{:.3}", row.nll.mean),
            format!("{:.3}", row.ece.mean),
        ]);
    }
    (header, rows)
}

pub(super) fn short(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Helps => "helps",
        Verdict::Hurts => "hurts",
        Verdict::NoEvidence => "no evidence",
    }
}

fn teacher(own: &TeacherRow) -> String {
    match &own.network {
        Some(network) => format!("teacher {} ({network})", own.name),
        None => own.name.clone(),
    }
}

/// `87.07 ± 0.55 %`
fn spread(own: Spread, digits: usize, unit: &str) -> String {
    let deviation = own.deviation.map_or_else(String::new, |d| format!(" ± {d:.digits$}"));
    format!("{:.digits$}{deviation}{unit}", own.mean)
}

/// The table with everything, teachers first.
fn cells(comparison: &Comparison) -> (Header, Vec<Vec<String>>) {
    let header = vec![
        ("", Align::Left),
        ("verdict", Align::Left),
        ("top-1", Align::Right),
        ("difference", Align::Right),
        ("interval", Align::Right),
        ("NLL", Align::Right),
        ("ECE", Align::Right),
        ("balanced", Align::Right),
        ("macro-F1", Align::Right),
        ("bootstrap", Align::Right),
        ("images", Align::Right),
        ("s/epoch", Align::Right),
        ("part", Align::Left),
    ];
    let blank = String::new;
    let known = |own: Option<f64>| own.map_or_else(blank, percent);
    let mut rows = Vec::new();
    for own in &comparison.teachers {
        let part = comparison.teachers_part.clone().unwrap_or_default();
        let quality = own.quality;
        rows.push(vec![
            teacher(own),
            blank(),
            percent(quality.top1),
            blank(),
            blank(),
            format!("{:.3}", quality.nll),
            format!("{:.3}", quality.ece),
            known(quality.balanced_accuracy),
            known(quality.macro_f1),
            blank(),
            blank(),
            blank(),
            part,
        ]);
    }
    let interval = |own: Option<Interval>| {
        own.map_or_else(blank, |own| format!("{:+.2} .. {:+.2}", own.low, own.high))
    };
    for row in &comparison.rows {
        let [difference, own, bootstrap, images, verdict] = match &row.against_reference {
            None => [blank(), blank(), blank(), blank(), "reference".to_owned()],
            Some(own) => [
                format!("{:+.2}", own.mean),
                interval(own.interval),
                interval(own.bootstrap),
                interval(own.per_image),
                own.words(&comparison.reference),
            ],
        };
        rows.push(vec![
            format!("student {}", row.method),
            verdict,
            spread(row.top1, 2, " %"),
            difference,
            own,
            spread(row.nll, 3, ""),
            spread(row.ece, 3, ""),
            row.balanced_accuracy.map_or_else(blank, |own| spread(own, 2, " %")),
            row.macro_f1.map_or_else(blank, |own| spread(own, 2, " %")),
            bootstrap,
            images,
            format!("{:.2}", row.seconds_per_epoch),
            comparison.part.clone(),
        ]);
    }
    (header, rows)
}

/// What the table's numbers are.
pub(super) fn sentences(comparison: &Comparison) -> Vec<String> {
    let Comparison { reference, rows, seeds, part, .. } = comparison;
    let against = rows.len() - 1;
    let mut lines = vec![format!(
        "students: {} ({}), mean ± standard deviation over {} on the {part} split ({} samples), at each run's \
         best validation epoch",
        comparison.student,
        comparison.data,
        if seeds.len() == 1 { "1 seed".to_owned() } else { format!("{} seeds", seeds.len()) },
        comparison.samples,
    )];
    if part != "test" {
        lines.push("there is no test split: the epochs were chosen on the same images".to_owned());
    }
    if let Some(part) = &comparison.teachers_part
        && !comparison.teachers.is_empty()
    {
        lines.push(format!("teachers: alone, on the {part} split"));
    }
    lines.push(format!(
        "differences to {reference}: points of top-1, paired by seed; interval and verdict by a \
         moderated t, corrected for {against} comparison{} (Holm, {} %)",
        if against == 1 { "" } else { "s" },
        number(100.0 * (1.0 - comparison.significance)),
    ));
    lines.extend(comparison.sequential.map(|own| until(own, seeds.len())));
    let Comparison { single, live, warming_up, left_out, .. } = comparison;
    lines.extend(notes(single.as_ref(), live, warming_up, left_out));
    lines
}

/// How a comparison came to its seeds.
fn until(own: Sequential, seeds: usize) -> String {
    let Sequential { looks, width, widest } = own;
    let reached = if widest < width { "narrower than" } else { "not yet narrower than" };
    format!(
        "the widest interval, {widest:.2} points, is {reached} {width} after {seeds} seeds; this was look {looks} \
         of a comparison that spends its 5 % over all looks"
    )
}

/// At most two decimals.
fn number(own: f64) -> String {
    format!("{own:.2}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// One line a run.
pub(super) fn csv(comparison: &Comparison) -> String {
    let mut text = "method,seed,epoch,validation_top1,validation_nll,validation_ece,test_top1,\
                    test_nll,test_ece,seconds_per_epoch,validation_balanced_accuracy,validation_macro_f1,\
                    test_balanced_accuracy,test_macro_f1\n"
        .to_owned();
    for row in &comparison.rows {
        for run in &row.runs {
            let quality = |own: Option<Quality>| {
                own.map_or_else(|| ",,".to_owned(), |q| format!("{},{},{}", q.top1, q.nll, q.ece))
            };
            let (validation, test) = (quality(run.validation), quality(run.test));
            let (method, seed, epoch) = (&row.method, run.seed, run.epoch);
            let seconds = run.seconds_per_epoch;
            let of_classes = |own: Option<Quality>| {
                let known = |own: Option<f64>| own.map_or_else(String::new, |own| own.to_string());
                let own = own.map(|own| [own.balanced_accuracy, own.macro_f1]).unwrap_or_default();
                own.map(known).join(",")
            };
            let means = [run.validation, run.test].map(of_classes).join(",");
            let _ =
                writeln!(text, "{method},{seed},{epoch},{validation},{test},{seconds:.3},{means}");
        }
    }
    text
}

pub(super) fn markdown(comparison: &Comparison) -> String {
    let mut first = vec![comparison.verdict()];
    first.extend(comparison.seeds_needed());
    let first: Vec<String> = first.iter().map(|line| escape::markdown(line)).collect();
    let (header, rows) = cells(comparison);
    let titles: Vec<&str> = header.iter().map(|(title, _)| *title).collect();
    let rule: Vec<&str> = header
        .iter()
        .map(|(_, align)| if *align == Align::Left { "---" } else { "---:" })
        .collect();
    let mut text = format!(
        "**{}.**\n\n| {} |\n| {} |\n",
        first.join("; "),
        titles.join(" | "),
        rule.join(" | ")
    );
    for row in rows {
        let row: Vec<String> = row.iter().map(|cell| escape::markdown(cell)).collect();
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    let bootstraps = "bootstrap: over the seeds alone, too narrow with few of them; images: over images and \
                      seeds, whether these students differ on images of this kind; both 95 %, not \
                      corrected";
    for line in sentences(comparison).into_iter().chain([bootstraps.to_owned()]) {
        let _ = write!(text, "\n{}.\n", escape::markdown(&line));
    }
    text
}
