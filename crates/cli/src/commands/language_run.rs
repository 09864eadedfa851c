//! `faculty train` and `faculty distill` of a recipe of language models.

use std::io::Write as _;
use std::path::Path;

use faculty_distill::recipe::{LanguageMethodName, LanguageRecipe};
use faculty_files::write_atomically;
use faculty_language::{
    CheckedLanguageRun, LanguageEvent, LanguageStart, RunError, STUDENT_FOLDER, train_language,
};
use faculty_records::language_run::{LanguageCard, LanguageModelEntry, LanguageRecord};
use faculty_report::LanguageReport;
use serde_json::json;

use super::Kind;
use super::{show_warnings, shown, stop_on_interrupt, use_threads};
use crate::arguments::RunOptions;
use crate::bar::Bar;
use crate::failure::Failure;
use crate::progress::print_json;
use crate::table::{self, Align};

/// The page's name in a folder.
const PAGE: &str = "report.html";

pub(super) fn run(options: &RunOptions, kind: Kind) -> Result<(), Failure> {
    let refuse = |what: &str, hint: &str| {
        Err(Failure::Usage { what: what.to_owned(), hint: hint.to_owned() })
    };
    if !options.resume_with.is_empty() {
        return refuse(
            "`--resume-with` is not for language models",
            "go on with `--resume` alone, or start anew with another `--output`",
        );
    }
    if options.events_every.is_some() {
        return refuse(
            "`--events-every` is not for language models",
            "leave it out: `metrics.jsonl` has a line after every `train.evaluate_every` steps",
        );
    }
    let mut sets = options.sets.clone();
    if let Some(output) = &options.output {
        sets.push(format!("output={}", output.display()));
    }
    if kind == Kind::Train {
        sets.push(format!("method.name={}", LanguageMethodName::Ce.name()));
    }
    let loaded = LanguageRecipe::load(&options.recipe, &sets)?;
    show_warnings(&loaded.warnings);
    let recipe = loaded.recipe;
    if kind == Kind::Distill && recipe.method.name == LanguageMethodName::Ce {
        return refuse(
            "method `ce` learns from the text alone",
            "use `faculty train`, or name another method",
        );
    }
    use_threads(recipe.train.threads)?;
    let start = match (options.resume, options.overwrite) {
        (true, _) => LanguageStart::Resume,
        (_, true) => LanguageStart::Overwrite,
        _ => LanguageStart::New,
    };
    let output = recipe.output.clone().unwrap_or_else(|| "runs/run".into());
    let stop = stop_on_interrupt();
    let run = CheckedLanguageRun::new(&recipe)?;
    if options.json {
        print_json(&json!({"event": "start", "folder": output, "card": run.card()}));
    } else {
        describe(run.card());
    }
    run.notes().iter().for_each(|note| eprintln!("note: {note}"));
    let mut bar = Bar::new(recipe.method.name.name(), options.json);
    let steps = recipe.train.steps as u64;
    let mut last = String::new();
    let card = train_language(run, &output, start, &stop, &mut |event| match event {
        LanguageEvent::Resumed { step, warning } => {
            if let Some(warning) = warning {
                eprintln!("warning: {warning}");
            }
            match options.json {
                true => print_json(&json!({"event": "resumed", "step": step})),
                false => eprintln!("goes on behind step {step}"),
            }
        }
        LanguageEvent::Step { step, result } => {
            let loss =
                format!("step {step}/{steps}  CE {:.3}  KD {:.3}", result.loss.ce, result.loss.kd);
            if !options.json {
                bar.show(step, steps, &format!("{loss}{last}"), false);
            }
        }
        LanguageEvent::Record(record) => {
            last = validation(record);
            match options.json {
                true => print_json(&json!({"event": "record", "record": record})),
                false => bar.show(record.step, steps, &line(record, steps), true),
            }
        }
        _ => {}
    });
    bar.finish();
    let card = card?;
    let page = (!options.no_report).then(|| page(&output)).flatten();
    if options.json {
        print_json(&json!({"event": "result", "folder": output, "card": card}));
        return Ok(());
    }
    models(&card)?;
    let mut out = crate::terminal::stdout();
    writeln!(out, "student of step {}: {}", card.best_step, shown(&output.join(STUDENT_FOLDER)))?;
    if let Some(page) = page {
        writeln!(out, "report: {}", shown(&page))?;
    }
    Ok(())
}

/// The page at the end; that it cannot be made is no failure of the run.
fn page(output: &Path) -> Option<std::path::PathBuf> {
    let path = output.join(PAGE);
    let text = match LanguageReport::load(output) {
        Ok(report) => report.page(),
        Err(error) => {
            eprintln!("warning: no report: {error}");
            return None;
        }
    };
    match write_atomically(&path, text.as_bytes()) {
        Ok(()) => Some(path),
        Err(error) => {
            eprintln!("warning: no report: cannot write `{}`: {error}", path.display());
            None
        }
    }
}

fn describe(card: &LanguageCard) {
    let [train, validation, test] = card.tokens;
    eprintln!("text: {train} tokens to train on, {validation} for validation, {test} for the test");
    for own in card.teachers.iter().chain([&card.student]) {
        let quality = own.validation.map_or(String::new(), |own| {
            format!(
                "; validation {:.3} nats a token, {:.3} bits a character",
                own.nll, own.bits_per_character
            )
        });
        let kind = if own.name == "student" { "" } else { "teacher " };
        eprintln!(
            "{kind}{}: {} parameters, {} layers of {}{quality}",
            own.name, own.parameters, own.layers, own.width
        );
    }
}

fn validation(record: &LanguageRecord) -> String {
    record.validation.map_or(String::new(), |own| {
        format!("  validation {:.3} nats, {:.3} bits/char", own.nll, own.bits_per_character)
    })
}

fn line(record: &LanguageRecord, steps: u64) -> String {
    let weights = match record.teacher_weights.len() {
        0 | 1 => String::new(),
        _ => {
            let own: Vec<String> =
                record.teacher_weights.iter().map(|own| format!("{own:.2}")).collect();
            format!("  weights {}", own.join(" "))
        }
    };
    let accepted = record
        .accepted
        .map_or_else(String::new, |kept| format!("  drafts kept {:.1} %", 100.0 * kept));
    format!(
        "step {}/{steps}  CE {:.3}  KD {:.3}{weights}{accepted}{}",
        record.step,
        record.ce,
        record.kd,
        validation(record)
    )
}

/// All models on the test split, else on the validation split.
fn models(card: &LanguageCard) -> Result<(), Failure> {
    let tested = card.student.test.is_some();
    let header = [
        (if tested { "test split" } else { "validation split" }, Align::Left),
        ("nats a token", Align::Right),
        ("perplexity", Align::Right),
        ("bits a character", Align::Right),
    ];
    let row = |own: &LanguageModelEntry| {
        let quality = if tested { own.test } else { own.validation };
        let mut row = vec![own.name.clone()];
        match quality {
            Some(own) => row.extend([
                format!("{:.4}", own.nll),
                format!("{:.2}", own.perplexity),
                format!("{:.4}", own.bits_per_character),
            ]),
            None => row.extend(["-", "-", "-"].map(str::to_owned)),
        }
        row
    };
    let rows: Vec<Vec<String>> = card.teachers.iter().chain([&card.student]).map(row).collect();
    Ok(table::write(&mut crate::terminal::stdout(), &header, &rows)?)
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let (what, hint) = (error.to_string(), error.hint());
        match error {
            RunError::Language(error) => error.into(),
            RunError::Interrupted { .. } => Self::Interrupted { what, hint },
            RunError::NotFinite { .. } | RunError::TeacherBroke { .. } => {
                Self::Answer { what, hint }
            }
            _ => Self::Usage { what, hint },
        }
    }
}
