//! The recipe of `faculty init` as text, a comment on every line that one may want to change.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use faculty_data::Normalisation;

use super::kind::Kind;
use super::plan::{OfTexts, Plan, Student};
use super::teachers::{Found, Source};
use crate::arguments::{DataOptions, InitOptions};
use crate::failure::Failure;

/// Samples of a step, where there are enough.
const BATCH: usize = 64;
const BATCH_OF_TEXTS: usize = 32;

/// The largest random shift that a recipe allows.
const MOST_PADDING: usize = 64;

/// The whole recipe; `folder` is where it will lie.
pub(super) fn recipe(plan: &Plan, options: &InitOptions, folder: &Path) -> Result<String, Failure> {
    let mut text =
        "# Written by `faculty init`; `faculty explain` shows all other keys with their \
                    defaults.\n"
            .to_owned();
    line(&mut text, "seed", 1, "one seed, one result");
    let shared = data(&mut text, plan, options, folder)?;
    student(&mut text, &plan.student, folder)?;
    for found in &plan.teachers {
        teacher(&mut text, plan, found, shared.as_ref(), folder)?;
    }
    text.push_str("\n[method]\n");
    let why = format!("{}; `faculty methods` lists them", plan.method_reason);
    line(&mut text, "name", quoted(&plan.method), &why);
    let without: Vec<&str> = plan
        .teachers
        .iter()
        .filter(|found| !found.source.has_classifier())
        .map(|found| found.name.as_str())
        .collect();
    if plan.method == "ca-mkd" && !without.is_empty() {
        let why = format!("{} without a last map and a classifier to read", without.join(", "));
        line(&mut text, "intermediate", false, &why);
    }
    train(&mut text, plan);
    Ok(text)
}

/// `[data]`; gives the normalisation that it says.
fn data(
    text: &mut String,
    plan: &Plan,
    options: &InitOptions,
    folder: &Path,
) -> Result<Option<Normalisation>, Failure> {
    let (format, classes) = (plan.dataset.format(), plan.dataset.classes().len());
    text.push_str("\n[data]\n");
    let samples = match plan.kind {
        Kind::Images([channels, height, width]) => format!("images {channels}×{height}×{width}"),
        Kind::Texts => "texts".to_owned(),
    };
    let what = format!("{format}: {classes} classes, {samples}");
    line(text, "path", path(&plan.data, folder)?, &what);
    reading(text, &options.reading);
    let shared = match plan.kind {
        Kind::Images(shape) => {
            of_images(text, &options.reading, shape);
            let shared = normalisation(plan, shape);
            if let Some((normalisation, why)) = &shared {
                let why = format!("of each channel; {why}");
                line(text, "mean", list(&normalisation.mean), &why);
                line(text, "std", list(&normalisation.std), "of each channel likewise");
            }
            augmentation(text, shape);
            shared.map(|(normalisation, _)| normalisation)
        }
        Kind::Texts => {
            of_texts(text, &options.reading);
            None
        }
    };
    match plan.kind {
        _ if plan.teachers.is_empty() => {}
        Kind::Images(_) => {
            line(text, "views", 4, "versions of each image; each teacher sees each one once");
        }
        Kind::Texts => {
            let why = "texts as they are, read once by each teacher; more with `word_deletion`";
            line(text, "views", 1, why);
        }
    }
    Ok(shared)
}

/// How training images are changed.
fn augmentation(text: &mut String, [_, height, width]: [usize; 3]) {
    let padding = (height.min(width) / 8).min(MOST_PADDING);
    line(text, "crop_padding", padding, "pixels that training images are shifted by, at most");
    line(text, "flip", true, "mirror images; false where left and right matter (digits, text)");
}

fn student(text: &mut String, student: &Student, folder: &Path) -> Result<(), Failure> {
    text.push_str("\n[student]\n");
    let Some(OfTexts { weights, layers, tokenizer, max_tokens, cut }) = &student.of_texts else {
        let why = format!("{}; `faculty networks` lists them", student.reason);
        let file = Path::new(&student.network);
        let extension = file.extension().and_then(|extension| extension.to_str());
        match extension {
            Some("onnx") => {
                line(text, "onnx", path(file, folder)?, "trained from the weights in the file on");
            }
            Some("toml") => {
                line(
                    text,
                    "file",
                    path(file, folder)?,
                    "its layers; docs/students.md has the keys",
                );
            }
            _ => line(text, "network", quoted(&student.network), &why),
        }
        return Ok(());
    };
    let why = format!("{}; docs/texts.md lists the others", student.reason);
    line(text, "network", quoted(&student.network), &why);
    if let Some(weights) = weights {
        line(text, "weights", path(weights, folder)?, "starts from these; its tokenizer too");
    }
    if let Some(layers) = layers {
        line(text, "layers", layers, "at equal distances, the last among them");
    }
    if let Some(tokenizer) = tokenizer {
        line(text, "tokenizer", path(tokenizer, folder)?, "texts to tokens");
    }
    let why = format!("cuts {:.1} % of the training texts", 100.0 * cut);
    line(text, "max_tokens", max_tokens, &why);
    Ok(())
}

/// The keys of `[data]` that were given as options.
fn reading(text: &mut String, given: &DataOptions) {
    for (key, value, why) in [
        ("format", &given.format, "how the data is stored"),
        ("train", &given.train, "the split to train on"),
        ("validation", &given.validation, "the split to choose the best epoch by"),
        ("test", &given.test, "the split for the final numbers"),
        ("label_column", &given.label_column, "the column with the labels"),
    ] {
        match value.as_deref() {
            None => {}
            // Of the recipe's key a share.
            Some("none") if key == "validation" => line(text, key, 0, "no validation split"),
            Some(value) => line(text, key, quoted(value), why),
        }
    }
    if let Some(classes) = &given.classes {
        let names: Vec<String> = classes.iter().map(|name| quoted(name)).collect();
        line(text, "classes", format!("[{}]", names.join(", ")), "in the order of their labels");
    }
    if let Some(first) = given.first_label {
        line(text, "first_label", first, "the label of the first class");
    }
    if given.follow_links {
        line(text, "follow_links", true, "also out of the data's folder");
    }
}

/// Those that are of images alone.
fn of_images(text: &mut String, given: &DataOptions, [_, height, width]: [usize; 3]) {
    if let Some(column) = &given.image_column {
        line(text, "image_column", quoted(column), "the column with the images");
    }
    if given.resize.is_some() {
        let size = format!("[{height}, {width}]");
        line(text, "resize", size, "height and width that images are scaled to");
    }
    if given.skip_bad_images {
        line(text, "on_bad_image", quoted("skip"), "images that cannot be read are left out");
    }
    if given.ignore_exif_orientation {
        line(text, "exif_orientation", quoted("ignore"), "images are read as they are stored");
    }
}

/// Those that are of texts alone.
fn of_texts(text: &mut String, given: &DataOptions) {
    if let Some(column) = &given.text_column {
        line(text, "text_column", quoted(column), "the column with the texts");
    }
    if let Some(column) = &given.text_pair_column {
        line(text, "text_pair_column", quoted(column), "the column with the second texts");
    }
    if given.drop_duplicate_texts {
        line(text, "on_duplicate_text", quoted("drop"), "copies leave the training texts");
    }
}

/// What all teachers' files say, or what the published networks of such data were trained with.
fn normalisation(plan: &Plan, shape: [usize; 3]) -> Option<(Normalisation, &'static str)> {
    let mut known = plan.teachers.iter().filter_map(|found| found.normalisation.as_ref());
    if let Some(first) = known.next() {
        let fits = first.mean.len() == shape[0];
        return fits.then(|| (first.clone(), "from the weight files"));
    }
    let cifar100 = shape == [3, 32, 32] && plan.dataset.classes().len() == 100;
    cifar100.then(|| (Normalisation::cifar100(), "of published CIFAR-100 networks"))
}

fn teacher(
    text: &mut String,
    plan: &Plan,
    found: &Found,
    shared: Option<&Normalisation>,
    folder: &Path,
) -> Result<(), Failure> {
    text.push_str("\n[[teachers]]\n");
    line(text, "name", quoted(&found.name), "in reports and caches");
    let file = path(&found.path, folder)?;
    match &found.source {
        Source::Network { name } => {
            let notes: String = found.notes.iter().map(|note| format!("; {note}")).collect();
            let why = format!("recognised by the tensors of the file{notes}");
            line(text, "network", quoted(name), &why);
            line(text, "weights", file, "");
            if let Some(key) = &found.weights_key {
                line(text, "weights_key", quoted(key), "the set of weights in the file");
            }
        }
        Source::Encoder { family, .. } => {
            line(text, "network", quoted(family), "by its `config.json`");
            line(text, "weights", file, "with its own tokenizer");
            if let Some(key) = &found.weights_key {
                line(text, "weights_key", quoted(key), "the set of weights in the file");
            }
        }
        Source::Onnx { .. } => line(text, "onnx", file, &found.notes.join("; ")),
        Source::Logits => line(text, "logits", file, "by sample id"),
    }
    if let Some(own) = found.normalisation.as_ref().filter(|own| Some(*own) != shared) {
        line(text, "mean", list(&own.mean), "its own normalisation, from its file");
        line(text, "std", list(&own.std), "");
    }
    let classes = plan.dataset.classes().len();
    if found.classes != classes {
        let own = found.classes;
        let _ = writeln!(
            text,
            "# It has {own} classes, the data {classes}: matched by name if the file has names, \
             else say `classes = …`\n# (docs/teachers.md)."
        );
    }
    Ok(())
}

fn train(text: &mut String, plan: &Plan) {
    text.push_str("\n[train]\n");
    match &plan.student.of_texts {
        None => {
            let why = "enough to see whether it works; 240 for results like the papers'";
            line(text, "epochs", 30, why);
            batch_size(text, plan, BATCH, "images in one step");
            line(text, "learning_rate", "0.05", "the highest of the schedule");
            line(
                text,
                "schedule",
                quoted("one-cycle"),
                "good for short runs; `step` is the papers'",
            );
        }
        Some(own) => of_encoder(text, plan, own),
    }
}

/// AdamW as encoders are fine-tuned with; what starts from nothing needs larger steps and more of them.
fn of_encoder(text: &mut String, plan: &Plan, own: &OfTexts) {
    let (epochs, rate, why) = match (&own.weights, plan.teachers.len()) {
        (Some(_), 0) => (3, "1e-4", "trained weights need few"),
        (Some(_), _) => {
            (6, "1e-4", "layers of a trained encoder need few; 10 to 20 give some more")
        }
        (None, _) => {
            (10, if plan.student.network == "bag" { "1e-2" } else { "1e-3" }, "from nothing")
        }
    };
    line(text, "epochs", epochs, why);
    batch_size(text, plan, BATCH_OF_TEXTS, "texts in one step");
    line(text, "optimizer", quoted("adamw"), "");
    line(text, "learning_rate", rate, "the highest of the schedule");
    line(text, "weight_decay", "0.01", "BERT's");
    let why = "as encoders are trained";
    line(text, "weight_decay_exempt", quoted("norms-and-biases"), why);
    line(text, "schedule", quoted("linear"), "falls to 0 at the end");
    line(text, "warmup_epochs", f64::from(epochs) / 10.0, "rises from 0 first");
    line(text, "clip_gradient_norm", "1.0", "");
}

fn batch_size(text: &mut String, plan: &Plan, usual: usize, what: &str) {
    // A tenth is held out for validation; a few full batches are left of the smallest data set.
    let enough = plan.dataset.train().len() / 4;
    line(text, "batch_size", enough.clamp(1, usual), what);
}

/// `key = value  # why`; the comment of values that are long stands above them.
pub(super) fn line(text: &mut String, key: &str, value: impl std::fmt::Display, why: &str) {
    const COLUMN: usize = 36;
    let pair = format!("{key} = {value}");
    // Names of the user's files can hold anything; a comment ends at the end of its line.
    let why: String = why.chars().filter(|c| !c.is_control()).collect();
    let _ = match why.as_str() {
        "" => writeln!(text, "{pair}"),
        why if pair.chars().count() >= COLUMN => writeln!(text, "# {why}\n{pair}"),
        why => writeln!(text, "{pair:COLUMN$}# {why}"),
    };
}

fn list(values: &[f32]) -> String {
    format!("{values:?}")
}

/// A string as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A path as it stands in a recipe in `folder`.
pub(super) fn path(given: &Path, folder: &Path) -> Result<String, Failure> {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let here = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() };
    let (full, here) = (absolute(given), absolute(&here));
    let short = full.strip_prefix(&here).ok().filter(|path| !path.as_os_str().is_empty());
    let chosen = if given.is_absolute() { given } else { short.unwrap_or(&full) };
    let text = chosen.to_str().ok_or_else(|| Failure::Usage {
        what: format!("the path `{}` is no UTF-8 text, which a recipe must be", given.display()),
        hint: "give it another name, or a link to it".to_owned(),
    })?;
    Ok(quoted(text))
}
