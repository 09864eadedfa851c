//! `faculty train` and `faculty distill` of a recipe of language models.

use std::io::Write as _;

use faculty_distill::recipe::{LanguageMethodName, LanguageRecipe};
use faculty_language::{
    CheckedLanguageRun, LanguageStart, Measurements, RunError, STUDENT_FOLDER, train_language,
};
use faculty_records::language_run::{LanguageCard, LanguageModelEntry};
use serde_json::json;

use super::language_events::LanguageEvents;
use super::{Kind, report, show_warnings, shown, stop_on_interrupt, use_threads};
use crate::arguments::RunOptions;
use crate::failure::Failure;
use crate::language_progress::LanguageProgress;
use crate::progress::print_json;
use crate::table::{self, Align};

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
    // What the run that this one goes on with measured.
    let run = CheckedLanguageRun::with_measurements(&recipe, &Measurements::read(&output))?;
    if options.json {
        print_json(&json!({"event": "start", "folder": output, "card": run.card()}));
    } else {
        describe(run.card());
    }
    run.notes().iter().for_each(|note| eprintln!("note: {note}"));
    let mut progress =
        LanguageProgress::new(recipe.method.name.name(), recipe.train.steps, options.json);
    let mut events = LanguageEvents::new(!options.no_report);
    let card = train_language(run, &output, start, &stop, &mut |event| {
        events.take(&output, &event);
        progress.show(&event);
    });
    progress.finish();
    let card = card?;
    let page = (!options.no_report)
        .then(|| report::or_warning(report::write_language(std::slice::from_ref(&output), None)))
        .flatten();
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
            RunError::Interrupted { .. } | RunError::ComparisonStopped { .. } => {
                Self::Interrupted { what, hint }
            }
            RunError::NotFinite { .. } | RunError::TeacherBroke { .. } => {
                Self::Answer { what, hint }
            }
            RunError::OfComparison { source, .. }
                if matches!(
                    *source,
                    RunError::NotFinite { .. } | RunError::TeacherBroke { .. }
                ) =>
            {
                Self::Answer { what, hint }
            }
            _ => Self::Usage { what, hint },
        }
    }
}
