//! `faculty demo --lm`: language models. Teachers are trained first, then a student alone, from their
//! average, and by CA-MKD, token by token.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use faculty_data::{Dataset, ReadOptions, Split};
use faculty_distill::recipe::{LanguageMethodName, LanguageRecipe};
use faculty_files::{failed, remove, write_atomically};
use faculty_language::{
    CheckedLanguageRun, LanguageEvent, LanguageStart, Measurements, train_language,
};
use faculty_records::language_run::{LanguageCard, LanguageModelEntry, LanguageQuality};
use serde_json::json;

use super::kit::Kit;
use crate::arguments::DemoOptions;
use crate::commands::language_events::LanguageEvents;
use crate::commands::{report, show_warnings, shown};
use crate::failure::Failure;
use crate::language_progress::LanguageProgress;
use crate::progress::print_json;
use crate::table::{self, Align};

/// Ways to train the student, in the order of the table.
const METHODS: [LanguageMethodName; 3] =
    [LanguageMethodName::Ce, LanguageMethodName::Aver, LanguageMethodName::CaMkd];
/// What the spoiled teacher reads in place of each vowel.
const VOWELS: [(char, char); 5] = [('a', 'e'), ('e', 'i'), ('i', 'o'), ('o', 'u'), ('u', 'a')];

/// A student of the table.
struct Row {
    method: LanguageMethodName,
    card: LanguageCard,
    seconds: f64,
    /// Mean weight of each teacher over all steps.
    weights: Vec<f64>,
}

pub(super) fn run(
    kit: &Kit,
    options: &DemoOptions,
    folder: &Path,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let started = Instant::now();
    kit.unpack(folder)?;
    write_texts(folder, options.steps.is_some())?;
    if !options.json {
        eprintln!("the demo's texts, recipes and tokenizer are in `{}`", folder.display());
    }
    let distill = folder.join("distill.toml");
    let mut sets = vec![format!("seed={}", options.seed)];
    sets.extend(options.steps.map(|steps| format!("train.steps={steps}")));
    let recipe = load(&distill, &sets)?;
    for teacher in &recipe.teachers {
        let path = folder.join("teachers").join(format!("{}.toml", teacher.name));
        let own = load(&path, &sets[1..])?;
        let output = folder.join("runs").join(&teacher.name);
        train(&own, &output, &teacher.name, &Measurements::default(), options.json, stop)?;
    }
    // Each model reads the texts that it is measured on once.
    let measurements = Measurements::default();
    let (mut rows, mut folders) = (Vec::new(), Vec::new());
    for method in METHODS {
        let mut own = recipe.clone();
        own.method.name = method;
        let output = folder.join("runs").join(method.name());
        let began = Instant::now();
        let (card, weights) =
            train(&own, &output, method.name(), &measurements, options.json, stop)?;
        rows.push(Row { method, card, seconds: began.elapsed().as_secs_f64(), weights });
        folders.push(output);
    }
    let page = report::write_language(&folders, Some(&folder.join("report.html")));
    let page = report::or_warning(page);
    let seconds = started.elapsed().as_secs_f64();
    if options.json {
        print_result_json(&rows, seconds);
        return Ok(());
    }
    print_result(kit, &rows)?;
    let mut out = crate::terminal::stdout();
    let recipe = shown(&distill);
    writeln!(out, "total {seconds:.0} s; try it: faculty distill {recipe}")?;
    let student = shown(&folder.join("runs/ca-mkd/student")).to_string();
    writeln!(out, "or: faculty generate {student} --prompt \"She was\" --temperature 0.7")?;
    if let Some(page) = page {
        writeln!(out, "report: {}", shown(&page))?;
    }
    Ok(())
}

fn load(path: &Path, sets: &[String]) -> Result<LanguageRecipe, Failure> {
    let loaded = LanguageRecipe::load(path, sets)?;
    show_warnings(&loaded.warnings);
    Ok(loaded.recipe)
}

/// The passages that the kit has as tables, as a text for each novel; and the texts of the spoiled teacher,
/// which have other vowels. With `few` only some of each.
fn write_texts(folder: &Path, few: bool) -> Result<(), Failure> {
    let tables = folder.join("passages");
    let dataset = Dataset::open(&tables, &ReadOptions::default())?;
    let splits = [
        ("train", Some(dataset.train_split())),
        ("validation", dataset.validation_split()),
        ("test", dataset.test_split()),
    ];
    for (name, split) in splits {
        let split = split.expect("the program's own tables have three splits");
        for (novel, text) in novels(&split, dataset.classes(), few) {
            let write = |root: &str, text: &str| -> Result<(), Failure> {
                let path = folder.join(root).join(name).join(format!("{novel}.txt"));
                let parent = path.parent().unwrap_or(folder);
                std::fs::create_dir_all(parent).map_err(failed("create the folder of", &path))?;
                Ok(write_atomically(&path, text.as_bytes()).map_err(failed("write", &path))?)
            };
            write("austen", &text)?;
            write("other-vowels", &with_other_vowels(&text))?;
        }
        let table = tables.join(format!("{name}.csv"));
        remove(&table).map_err(failed("remove", &table))?;
    }
    // Somebody's own files may lie there too.
    let _ = std::fs::remove_dir(&tables);
    Ok(())
}

/// A passage a line, by the novel's name.
fn novels(split: &Split, classes: &[String], few: bool) -> BTreeMap<String, String> {
    let texts = split.texts().expect("the program's own tables hold texts");
    let mut novels: BTreeMap<String, String> = BTreeMap::new();
    let chosen = split.indices().iter().zip(split.labels());
    for (&index, &label) in chosen.step_by(if few { 20 } else { 1 }) {
        let novel = classes[label as usize].to_lowercase().replace(' ', "-");
        let text = novels.entry(novel).or_default();
        text.push_str(&texts.texts()[index].first);
        text.push('\n');
    }
    novels
}

fn with_other_vowels(text: &str) -> String {
    let other =
        |own: char| VOWELS.iter().find(|(vowel, _)| *vowel == own).map_or(own, |(_, other)| *other);
    text.chars().map(other).collect()
}

/// Trains one model; its card, and the mean weight of each teacher.
fn train(
    recipe: &LanguageRecipe,
    output: &Path,
    label: &str,
    measurements: &Measurements,
    json: bool,
    stop: &AtomicBool,
) -> Result<(LanguageCard, Vec<f64>), Failure> {
    let run = CheckedLanguageRun::with_measurements(recipe, measurements)?;
    if !json {
        let [tokens, ..] = run.card().tokens;
        let own = &run.card().student;
        let (layers, width) = (own.layers, own.width);
        eprintln!("{label}: {layers}×{width} (layers×width), {tokens} tokens of text");
    }
    let mut progress = LanguageProgress::new(label, recipe.train.steps, json).of_run(label);
    let mut events = LanguageEvents::new(true);
    let (mut sums, mut count) = (vec![0.0; recipe.teachers.len()], 0.0_f64);
    let card = train_language(run, output, LanguageStart::Overwrite, stop, &mut |event| {
        progress.show(&event);
        events.take(output, &event);
        if let LanguageEvent::Step { result, .. } = event {
            let own = result.loss.teacher_weights.iter();
            sums.iter_mut().zip(own).for_each(|(sum, weight)| *sum += weight);
            count += 1.0;
        }
    });
    progress.finish();
    sums.iter_mut().for_each(|sum| *sum /= count.max(1.0));
    Ok((card?, sums))
}

/// On the test split.
fn bits(own: &LanguageModelEntry) -> f64 {
    own.test.map_or(f64::NAN, |own: LanguageQuality| own.bits_per_character)
}

/// The last student, which weighs its teachers.
fn weighed(rows: &[Row]) -> &Row {
    rows.last().expect("there are three")
}

fn print_result_json(rows: &[Row], seconds: f64) {
    let weighed = weighed(rows);
    let teachers: Vec<_> = weighed
        .card
        .teachers
        .iter()
        .zip(&weighed.weights)
        .map(|(own, weight)| {
            json!({"name": own.name, "bits_per_character": bits(own), "mean_weight": weight})
        })
        .collect();
    let students: Vec<_> = rows
        .iter()
        .map(|own| {
            let bits = bits(&own.card.student);
            json!({"method": own.method.name(), "bits_per_character": bits, "seconds": own.seconds})
        })
        .collect();
    print_json(&json!({"teachers": teachers, "students": students, "seconds": seconds}));
}

fn print_result(kit: &Kit, rows: &[Row]) -> std::io::Result<()> {
    let mut out = crate::terminal::stdout();
    let blank = String::new;
    let size = |own: &LanguageModelEntry| format!("{}×{}", own.layers, own.width);
    let weighed = weighed(rows);
    let mut cells: Vec<Vec<String>> = weighed
        .card
        .teachers
        .iter()
        .zip(&weighed.weights)
        .map(|(own, weight)| {
            let who = format!("teacher {} ({})", own.name, size(own));
            vec![who, format!("{:.4}", bits(own)), format!("{weight:.3}"), blank()]
        })
        .collect();
    for row in rows {
        let how = match row.method {
            LanguageMethodName::Ce => "alone",
            LanguageMethodName::Aver => "averaging the teachers",
            _ => "weighing the teachers",
        };
        let student = &row.card.student;
        let who = format!("student {} ({}), {how}", row.method.name(), size(student));
        let time = format!("{:.1} s", row.seconds);
        cells.push(vec![who, format!("{:.4}", bits(student)), blank(), time]);
    }
    let header = [
        (kit.data, Align::Left),
        ("bits/character", Align::Right),
        ("weight", Align::Right),
        ("time", Align::Right),
    ];
    table::write(&mut out, &header, &cells)?;
    if let [alone, averaged, weighed] = rows {
        let saved = |own: &Row| bits(&own.card.student) - bits(&weighed.card.student);
        writeln!(
            out,
            "on the test split, fewer are better; ca-mkd against training alone: {:+.4}; against averaging: \
             {:+.4}",
            -saved(alone),
            -saved(averaged)
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_vowels_are_others_and_nothing_else_is() {
        assert_eq!(with_other_vowels("It is a truth, you"), "It os e trath, yua");
    }
}
