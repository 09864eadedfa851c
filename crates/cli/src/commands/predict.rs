//! `faculty predict`: classes of image files.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use faculty_distill::predict::{Prediction, Predictor};
use faculty_distill::recipe::OutputType;
use faculty_distill::{Error, StudentChoice};
use serde_json::json;

use super::{refuse_recipe, shown};
use crate::arguments::PredictOptions;
use crate::failure::Failure;
use crate::progress::print_json;
use crate::table::{self, Align, percent};

pub(crate) fn run(options: &PredictOptions) -> Result<(), Failure> {
    let choice = StudentChoice {
        network: options.network.clone(),
        size: options.size.map(|size| size.0),
        weights_key: options.weights_key.clone(),
    };
    refuse_recipe(&options.model)?;
    let mut predictor = Predictor::open(&options.model, &choice)?;
    predictor.notes().iter().for_each(|note| eprintln!("note: {note}"));
    let output_type = predictor.output_type();
    if output_type != OutputType::Logits && !options.json {
        let (path, name) = (shown(&options.model), output_type.name());
        eprintln!(
            "note: `{path}` gives probabilities itself (`{name}`): they are shown as they are"
        );
    }
    let (images, mut failed) = image_files(&options.images);
    let (mut rows, top) = (Vec::new(), options.top as usize);
    for image in images {
        match predictor.predict(&image, top) {
            Ok(guesses) if options.json => print_guesses(&image, &guesses),
            Ok(guesses) => rows.extend(table_rows(&image, &guesses)),
            // Whatever is wrong with one image says nothing about the next.
            Err(error) => {
                failed = true;
                complain(&image, &error);
            }
        }
    }
    if !rows.is_empty() {
        let header =
            [("image", Align::Left), ("class", Align::Left), ("probability", Align::Right)];
        let mut out = crate::terminal::stdout();
        table::write(&mut out, &header, &rows)?;
        out.flush()?;
    }
    if failed { Err(Failure::Partly) } else { Ok(()) }
}

/// The files given, and those in the folders given by name; whether something was wrong.
fn image_files(given: &[PathBuf]) -> (Vec<PathBuf>, bool) {
    let (mut files, mut failed) = (Vec::new(), false);
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        match images_in(path) {
            Ok(found) if !found.is_empty() => files.extend(found),
            Ok(_) => {
                failed = true;
                eprintln!(
                    "error: folder `{}` has no image files\n  hint: give the folder that \
                     holds them; folders inside it are not looked into",
                    path.display()
                );
            }
            Err(error) => {
                failed = true;
                eprintln!(
                    "error: cannot read folder `{}`: {error}\n  hint: check its permissions",
                    path.display()
                );
            }
        }
    }
    (files, failed)
}

fn images_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(std::ffi::OsStr::to_str);
        if name.is_some_and(faculty_data::has_image_name) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn print_guesses(image: &Path, guesses: &[Prediction]) {
    let classes: Vec<_> = guesses
        .iter()
        .map(|Prediction { label, class, probability }| {
            json!({ "label": label, "class": class, "probability": probability })
        })
        .collect();
    print_json(&json!({ "image": image, "classes": classes }));
}

/// The image's name stands in its first row only.
fn table_rows(image: &Path, guesses: &[Prediction]) -> Vec<Vec<String>> {
    let row = |(rank, guess): (usize, &Prediction)| {
        let name = if rank == 0 { shown(image).to_string() } else { String::new() };
        vec![name, guess.class.clone(), percent(100.0 * guess.probability)]
    };
    guesses.iter().enumerate().map(row).collect()
}

fn complain(image: &Path, error: &Error) {
    let (what, hint) = match error {
        Error::Data(_) if !image.exists() => {
            (format!("there is no image `{}`", image.display()), "check the path")
        }
        Error::Data(error) => {
            (error.to_string(), "give a whole image file: PNG, JPEG, WebP, GIF or BMP")
        }
        error => (format!("image `{}`: {error}", image.display()), "check the model"),
    };
    eprintln!("error: {what}");
    let cause = std::error::Error::source(error).and_then(std::error::Error::source);
    if let Some(cause) = cause.map(ToString::to_string).filter(|cause| !what.contains(cause)) {
        eprintln!("  cause: {cause}");
    }
    eprintln!("  hint: {hint}");
}
