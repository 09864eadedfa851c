//! `faculty init`: a recipe from a data set and weight files.

mod kind;
mod language;
mod plan;
mod recipe_place;
mod recipe_text;
mod student_of_texts;
mod teachers;

use std::path::Path;

use faculty_data::Dataset;
use faculty_distill::methods::{find, specs};
use faculty_distill::recipe::Recipe;
use faculty_files::write_atomically;
use faculty_nets::{MapShape, NETWORKS, graph_of, suggest_student};
use serde_json::json;

use self::kind::Kind;
use self::plan::{Plan, Student};
use self::recipe_place::{folder_of, shell_word};
use self::teachers::{Found, Source};
use super::lists::no_method;
use super::{show_findings, show_warnings, shown};
use crate::arguments::InitOptions;
use crate::failure::Failure;
use crate::progress::print_json;

/// Side of the largest images that networks for small images are meant for.
const SMALL_SIDE: usize = 64;

pub(crate) fn run(options: &InitOptions) -> Result<(), Failure> {
    let output = &options.output;
    if output.exists() && !options.overwrite {
        return Err(Failure::Usage {
            what: format!("`{}` is there already", output.display()),
            hint: "give `--overwrite` to replace it, or another file with `--output`".to_owned(),
        });
    }
    if language::is_meant(options) {
        return language::run(options);
    }
    let dataset = Dataset::open(&options.data, &options.reading.read_options()?)?;
    show_findings(&dataset);
    let kind = match dataset.train_split().texts() {
        Some(_) => Kind::Texts,
        None => Kind::Images(dataset.shape()?),
    };
    if let (Kind::Images(_), Some(_)) = (kind, &options.tokenizer) {
        return Err(Failure::Usage {
            what: "`--tokenizer` has no effect here: the data are images".to_owned(),
            hint: "leave it out".to_owned(),
        });
    }
    let teachers = teachers::look_at(&options.weights, kind, options.weights_key.as_deref())?;
    let student = match kind {
        Kind::Images([channels, height, width]) => {
            let input = MapShape::new(channels, height, width);
            student_of_images(options, &teachers, input, dataset.classes().len())?
        }
        Kind::Texts => student_of_texts::choose(options, &teachers, &dataset)?,
    };
    let (method, method_reason) = method(options, teachers.len())?;
    let data = options.data.clone();
    let plan = Plan { data, dataset, kind, teachers, student, method, method_reason };

    let text = recipe_text::recipe(&plan, options, folder_of(output))?;
    // What does not read back is a mistake here, or a method that does not fit the teachers.
    let loaded = Recipe::from_str(&text, output, &[], &specs())?;
    write_atomically(output, text.as_bytes()).map_err(|error| Failure::Usage {
        what: format!("cannot write `{}`: {error}", output.display()),
        hint: "check that the folder exists and can be written".to_owned(),
    })?;
    show_warnings(&loaded.warnings);
    if options.json {
        print_json(&summary(&plan, output));
    } else {
        tell(&plan, output);
    }
    Ok(())
}

/// The student's network, and why this one.
fn student_of_images(
    options: &InitOptions,
    teachers: &[Found],
    input: MapShape,
    classes: usize,
) -> Result<Student, Failure> {
    let chosen = |network: &str, reason: String| {
        Ok(Student { network: network.to_owned(), reason, of_texts: None })
    };
    if let Some(name) = &options.student {
        graph_of(name, input, classes)?;
        return chosen(name, "as given".to_owned());
    }
    let mut smallest: Option<(usize, &str)> = None;
    for network in teachers.iter().filter_map(Found::network) {
        let size = graph_of(network, input, classes)?.parameter_count();
        if smallest.is_none_or(|(least, _)| size < least) {
            smallest = Some((size, network));
        }
    }
    let Some((_, teacher)) = smallest else {
        let large = input.height.max(input.width) > SMALL_SIDE;
        let name = if large { "resnet18_imagenet" } else { "resnet20" };
        graph_of(name, input, classes)?;
        return chosen(name, "a small one for images of this size".to_owned());
    };
    match suggest_student(teacher, input, classes)? {
        Some(network) => {
            let reason = format!("at most about half of {teacher}, the smallest teacher");
            chosen(network.name, reason)
        }
        None => chosen(NETWORKS[0].name, "the smallest there is; no teacher is larger".to_owned()),
    }
}

/// The method, and why this one.
fn method(options: &InitOptions, teachers: usize) -> Result<(String, String), Failure> {
    if let Some(name) = &options.method {
        if find(name).is_some() {
            return Ok((name.clone(), "as given".to_owned()));
        }
        return Err(no_method(name));
    }
    let (name, why) = match teachers {
        0 => ("ce", "labels alone, as there is no teacher"),
        1 => ("kd", "the usual one of a single teacher"),
        _ => ("ca-mkd", "weighs the teachers for each sample by how right they are"),
    };
    Ok((name.to_owned(), why.to_owned()))
}

fn tell(plan: &Plan, output: &Path) {
    let (format, classes) = (plan.dataset.format(), plan.dataset.classes().len());
    let samples = match plan.kind {
        Kind::Images([channels, height, width]) => format!("images {channels}×{height}×{width}"),
        Kind::Texts => "texts".to_owned(),
    };
    let count = plan.dataset.train().len();
    eprintln!("data: {format}, {count} training {samples}, {classes} classes");
    for teacher in &plan.teachers {
        eprintln!("teacher: {}, {}", teacher.name, teacher.source.described());
        for note in &teacher.notes {
            eprintln!("  note: {note}");
        }
    }
    eprintln!("student: {} ({})", plan.student.network, plan.student.reason);
    if let Some(own) = &plan.student.of_texts {
        let (most, cut) = (own.max_tokens, 100.0 * own.cut);
        eprintln!("tokens: at most {most} a text, which cuts {cut:.1} % of the training texts");
    }
    eprintln!("method: {} ({})", plan.method, plan.method_reason);
    eprintln!("wrote {}; next:", output.display());
    let recipe = shown(output).to_string();
    let recipe = shell_word(&recipe);
    if plan.teachers.is_empty() {
        eprintln!("  faculty explain {recipe}\n  faculty train {recipe}");
    } else {
        eprintln!("  faculty teachers {recipe}\n  faculty distill {recipe}");
    }
}

fn summary(plan: &Plan, output: &Path) -> serde_json::Value {
    let teachers: Vec<_> = plan
        .teachers
        .iter()
        .map(|teacher| {
            let kind = match teacher.source {
                Source::Network { .. } | Source::Encoder { .. } => "network",
                Source::Onnx { .. } => "onnx",
                Source::Logits => "logits",
            };
            json!({
                "name": teacher.name,
                "source": kind,
                "network": teacher.network(),
                "file": teacher.path,
                "classes": teacher.classes,
                "notes": teacher.notes,
            })
        })
        .collect();
    json!({
        "recipe": output,
        "data": plan.dataset.info(),
        "teachers": teachers,
        "student": plan.student.network,
        "max_tokens": plan.student.of_texts.as_ref().map(|own| own.max_tokens),
        "method": plan.method,
    })
}
