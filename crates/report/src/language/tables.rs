//! Tables of several runs of language models.

use faculty_records::comparison::Spread;
use faculty_records::language_comparison::{BITS_DIGITS, LanguageComparison};
use faculty_records::language_run::{LanguageModelEntry, LanguageQuality};

use crate::table::Table;

/// `2.2770 ± 0.0031`
fn spread(own: Spread) -> String {
    let deviation = own.deviation.map_or_else(String::new, |own| format!(" ± {own:.BITS_DIGITS$}"));
    format!("{:.BITS_DIGITS$}{deviation}", own.mean)
}

fn on(part: &str, own: &LanguageModelEntry) -> Option<LanguageQuality> {
    if part == "test" { own.test } else { own.validation }
}

/// Numbers of one model.
fn numbers(quality: Option<LanguageQuality>) -> [String; 2] {
    match quality {
        Some(own) => [
            format!("{:.BITS_DIGITS$}", own.bits_per_character),
            format!("{:.BITS_DIGITS$}", own.nll),
        ],
        None => ["-", "-"].map(str::to_owned),
    }
}

/// Teachers, then a row a method or setting.
pub(super) fn compared(own: &LanguageComparison) -> Table {
    let seeds = own.seeds.len();
    let caption = format!(
        "{} split ({} tokens), mean ± standard deviation over {seeds} seed(s), each student of its best \
         step. Differences are bits a character that are saved against {}, paired by seed.",
        match own.is_tested() {
            true => "Test",
            false => "Validation",
        },
        own.tokens,
        own.reference,
    );
    let titles = [
        "",
        "verdict",
        "#bits a character",
        "#difference",
        "#interval",
        "#nats a token",
        "#validation",
        "#seconds",
    ];
    let mut table = Table::new(caption, &titles);
    let blank = String::new;
    for teacher in &own.teachers {
        let [bits, nll] = numbers(on(&own.part, teacher));
        let validation = teacher
            .validation
            .map_or_else(blank, |own| format!("{:.BITS_DIGITS$}", own.bits_per_character));
        let name = format!("teacher {}", teacher.name);
        table.rows.push(vec![name, blank(), bits, blank(), blank(), nll, validation, blank()]);
    }
    for row in &own.rows {
        let [verdict, difference, interval] = match &row.against_reference {
            None => ["reference".to_owned(), blank(), blank()],
            Some(paired) => [
                paired.words_to(&own.reference, BITS_DIGITS),
                format!("{:+.BITS_DIGITS$}", paired.mean),
                paired.interval.map_or_else(blank, |own| {
                    format!("{:+.BITS_DIGITS$} .. {:+.BITS_DIGITS$}", own.low, own.high)
                }),
            ],
        };
        table.rows.push(vec![
            format!("student {}", row.name),
            verdict,
            spread(row.bits),
            difference,
            interval,
            spread(row.nll),
            row.validation_bits.map_or_else(blank, spread),
            format!("{:.1}", row.seconds),
        ]);
    }
    table
}

/// Teachers, each once, and the student of each run.
pub(super) fn models(
    teachers: &[LanguageModelEntry],
    students: &[(&str, &LanguageModelEntry)],
) -> Table {
    let tested = students.iter().all(|(_, own)| own.test.is_some());
    let part = if tested { "test" } else { "validation" };
    let titles =
        ["model", "#parameters", "#layers", "#width", "#bits a character", "#nats a token"];
    let mut table = Table::new(format!("Students and teachers on the {part} split."), &titles);
    let mut row = |name: String, own: &LanguageModelEntry| {
        let size = [own.parameters.to_string(), own.layers.to_string(), own.width.to_string()];
        table.rows.push([name].into_iter().chain(size).chain(numbers(on(part, own))).collect());
    };
    for own in teachers {
        row(format!("teacher {}", own.name), own);
    }
    for (name, own) in students {
        row(format!("student {name}"), own);
    }
    table
}
