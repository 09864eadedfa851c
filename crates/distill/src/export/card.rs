//! The model card: what a student is, what it learned from, how well it does, as JSON and Markdown.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use faculty_files::{failed, write_atomically};
use faculty_nets::weights::file_hash;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::escape::{markdown, markdown_block, markdown_code as code};
use crate::metrics::Quality;
use crate::preflight::wilson;
use crate::record::{RunCard, TeacherCard};
use crate::run_folder::RunFolder;
use faculty_records::bench::{ModelBench, read_bench};

/// Stands where only the user knows what is true.
const TO_FILL_IN: &str = "to be filled in";

/// `model-card.json`.
#[derive(Clone, Debug, Serialize)]
pub struct ModelCard {
    /// Version of this file's layout.
    pub format: u32,
    /// Of the student's weights.
    pub licence: String,
    /// Of the data.
    pub data_licence: String,
    /// Size of the weight file.
    pub weights_bytes: u64,
    /// SHA-256 of the weight file.
    pub weights_sha256: String,
    /// Accuracy on the validation split, with its interval.
    pub validation: Option<Measured>,
    /// On the test split.
    pub test: Option<Measured>,
    /// The teachers' accuracy, in their order in `run`.
    pub teachers: Vec<Option<Measured>>,
    /// Speed, if it was measured with `faculty bench-model`.
    pub bench: Option<ModelBench>,
    /// Everything that the run wrote down of itself: data, teachers, objective, seed, versions.
    pub run: RunCard,
    /// The resolved recipe: every constant of the method and the training.
    pub recipe: String,
}

/// Quality with how sure its accuracy is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// As measured.
    #[serde(flatten)]
    pub quality: Quality,
    /// Wilson's 95 % interval of top-1, percent.
    pub top1_interval: [f64; 2],
}

impl Measured {
    fn new(quality: Quality) -> Self {
        let right = (quality.top1 / 100.0 * quality.samples as f64).round() as usize;
        Self { quality, top1_interval: wilson(right, quality.samples).map(|share| 100.0 * share) }
    }
}

/// Writes `model-card.md` and `model-card.json` of a finished run into `folder`, which is made if
/// it is not there.
///
/// # Errors
/// When the run is not finished, or a file cannot be read or written.
pub fn write_model_card(
    run: &Path,
    folder: &Path,
    licence: Option<&str>,
    data_licence: Option<&str>,
) -> Result<ModelCard> {
    let from = RunFolder::at(run);
    let card = from.card()?.ok_or_else(|| Error::Student {
        path: run.to_owned(),
        reason: "it has no readable `card.json`: the run is not finished",
        hint: "finish it with `--resume`, or give another run folder",
    })?;
    let weights = from.student();
    let size = fs::metadata(&weights).map_err(failed("read", &weights))?.len();
    let recipe = from.recipe();
    let recipe = fs::read_to_string(&recipe).map_err(failed("read", &recipe))?;
    let (card, recipe) = (without_folders_of(card), recipe_without_folders(&recipe));
    let given = |text: Option<&str>| text.unwrap_or(TO_FILL_IN).to_owned();
    let card = ModelCard {
        format: 1,
        licence: given(licence),
        data_licence: given(data_licence),
        weights_bytes: size,
        weights_sha256: file_hash(&weights)?,
        validation: card.best.validation.map(Measured::new),
        test: card.best.test.map(Measured::new),
        teachers: card.teachers.iter().map(|own| own.quality.map(Measured::new)).collect(),
        bench: read_bench(run)?.map(|mut bench| {
            bench.left_out.iter_mut().for_each(|text| *text = without_folders(text));
            bench
        }),
        run: card,
        recipe,
    };
    fs::create_dir_all(folder).map_err(failed("create", folder))?;
    RunFolder::at(folder).write_json("model-card.json", &card)?;
    let path = folder.join("model-card.md");
    write_atomically(&path, card.markdown().as_bytes()).map_err(failed("write", path))?;
    Ok(card)
}

impl ModelCard {
    /// The card as a page of Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let run = &self.run;
        let mut text = format!("# {} on {}\n\n", markdown(&run.student), markdown(&run.data));
        let size = self.weights_bytes;
        table(
            &mut text,
            [
                ("Network", markdown(&run.student)),
                ("Classes", run.classes.len().to_string()),
                ("Parameters", run.student_parameters.to_string()),
                ("Weight file", format!("{size} bytes, SHA-256 {}", code(&self.weights_sha256))),
                ("Input", "(pixel / 255 - mean) / std".to_owned()),
                ("Mean", markdown(&format!("{:?}", run.mean))),
                ("Deviation", markdown(&format!("{:?}", run.std))),
                ("Licence", markdown(&self.licence)),
            ],
        );
        self.write_results(&mut text);
        text.push_str("\n## Data\n\n");
        table(
            &mut text,
            [
                ("Name", markdown(&run.data)),
                ("Fingerprint", code(&run.data_fingerprint)),
                ("Class names", markdown(&run.classes.join(", "))),
                ("Licence", markdown(&self.data_licence)),
            ],
        );
        self.write_teachers(&mut text);
        text.push_str("\n## Method\n\n");
        table(
            &mut text,
            [
                ("Method", markdown(&run.method)),
                ("Objective", code(&run.objective)),
                ("Epoch of these weights", run.best.epoch.to_string()),
                ("Seed", run.seed.to_string()),
                ("faculty", markdown(&run.faculty)),
                ("Kernels", markdown(&run.kernels)),
                ("Precision of the steps", markdown(&run.precision)),
            ],
        );
        text + "\nThe resolved recipe:\n\n" + &markdown_block("toml", self.recipe.trim())
    }

    fn write_results(&self, text: &mut String) {
        text.push_str("\n## Results\n\n");
        if self.test.is_none() && self.validation.is_none() {
            text.push_str(
                "Nothing was measured: the data had neither a validation nor a test split.\n",
            );
        } else {
            text.push_str(
                "| part | images | top-1 % | 95 % interval | top-5 % | balanced % | macro-F1 % | NLL, nats | ECE |\n\
                 |---|---|---|---|---|---|---|---|---|\n",
            );
        }
        for (part, own) in [("test", self.test), ("validation", self.validation)] {
            let Some(Measured { quality, top1_interval: [low, high] }) = own else { continue };
            let Quality { top1, top5, nll, ece, balanced_accuracy, macro_f1, samples } = quality;
            let known =
                |own: Option<f64>| own.map_or_else(|| "-".to_owned(), |own| format!("{own:.2}"));
            let (balanced, macro_f1) = (known(balanced_accuracy), known(macro_f1));
            let _ = writeln!(
                text,
                "| {part} | {samples} | {top1:.2} | {low:.2} to {high:.2} | {top5:.2} | {balanced} | \
                 {macro_f1} | {nll:.4} | {ece:.4} |"
            );
        }
        text.push_str(
            "\nThe interval is Wilson's, over the images; it does not say how results differ between \
             seeds. Balanced accuracy is the mean over the classes of the share of their images that is \
             right, macro-F1 that of their F1. ECE, the error of calibration, is over 15 bins.",
        );
        if self.validation.is_some() {
            text.push_str(" The epoch was chosen on the validation split.");
        }
        text.push('\n');
        let Some(bench) = &self.bench else { return };
        let _ = write!(
            text,
            "\n## Speed\n\n{}, {} threads, {}\n\n\
             | model | precision | parameters | multiply-adds | latency, ms (median, p95) | images/s |\n\
             |---|---|---|---|---|---|\n",
            markdown(&bench.processor),
            bench.threads,
            markdown(&bench.kernels)
        );
        let known = |n: Option<usize>| n.map_or_else(|| "not known".to_owned(), |n| n.to_string());
        for own in &bench.models {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {:.3}, {:.3} | {:.1} |",
                markdown(&own.name),
                markdown(&own.precision),
                known(own.parameters),
                known(own.multiply_adds),
                own.latency_median_ms,
                own.latency_p95_ms,
                own.images_per_second
            );
        }
    }

    fn write_teachers(&self, text: &mut String) {
        if self.run.teachers.is_empty() {
            return;
        }
        text.push_str(
            "\n## Teachers\n\n| name | network | top-1 % | 95 % interval | SHA-256 of its file | licence |\n\
             |---|---|---|---|---|---|\n",
        );
        for (teacher, own) in self.run.teachers.iter().zip(&self.teachers) {
            let TeacherCard { name, weights_sha256, .. } = teacher;
            let (top1, interval) = match own {
                Some(Measured { quality, top1_interval: [low, high] }) => {
                    (format!("{:.2}", quality.top1), format!("{low:.2} to {high:.2}"))
                }
                None => ("not measured".to_owned(), String::new()),
            };
            let (name, network) = (markdown(name), markdown(&teacher.network_and_precision()));
            let sha256 = code(weights_sha256);
            let _ = writeln!(
                text,
                "| {name} | {network} | {top1} | {interval} | {sha256} | {TO_FILL_IN} |"
            );
        }
    }
}

/// Names and values in Markdown; without words over them.
fn table<const N: usize>(text: &mut String, rows: [(&str, String); N]) {
    text.push_str("| | |\n|---|---|\n");
    for (name, value) in rows {
        let _ = writeln!(text, "| {name} | {value} |");
    }
}

/// Keys of a recipe whose values are paths.
const PATHS: [&str; 8] =
    ["path", "output", "weights", "onnx", "logits", "head", "class_cost", "classes"];

/// The recipe with the names of files alone: where they lie says something of its owner's machine
/// and nothing of the student.
fn recipe_without_folders(recipe: &str) -> String {
    // As the program writes it, a key has a line of its own.
    let short = |line: &str| {
        let table: toml::Table = line.parse().ok()?;
        let (key, value) = table.iter().next()?;
        let path = value.as_str().filter(|_| PATHS.contains(&key.as_str()))?;
        Some(format!("{key} = {}\n", toml::Value::from(file_name(path))))
    };
    let lines = recipe.lines().map(|line| short(line).unwrap_or_else(|| format!("{line}\n")));
    lines.collect()
}

fn file_name(path: &str) -> &str {
    path.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or(path)
}

fn without_folders_of(mut card: RunCard) -> RunCard {
    for teacher in &mut card.teachers {
        let TeacherCard { network, classes, notes, .. } = teacher;
        for text in notes.iter_mut().chain([network, classes]) {
            *text = without_folders(text);
        }
    }
    card
}

/// A sentence whose paths, which stand in backticks, are names of files alone.
fn without_folders(text: &str) -> String {
    let named = |(at, piece): (usize, &str)| match at % 2 {
        1 => file_name(piece).to_owned(),
        _ => piece.to_owned(),
    };
    text.split('`').enumerate().map(named).collect::<Vec<_>>().join("`")
}
