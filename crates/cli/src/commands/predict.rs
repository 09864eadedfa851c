//! `faculty predict`: classes of image files and texts.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::Path;

use faculty_data::Text;
use faculty_distill::predict::{Prediction, Predictor, is_onnx};
use faculty_distill::recipe::OutputType;
use faculty_distill::{Error, StudentChoice};
use serde_json::json;

mod image_files;
mod prediction_file;

use self::image_files::image_files;
use self::prediction_file::PredictionFile;
use super::{onnx_reading, refuse_recipe, shown};
use crate::arguments::PredictOptions;
use crate::failure::Failure;
use crate::progress::print_json;
use crate::table::{self, Align, percent};

/// Bytes of a line of texts: what is longer is no text but a device, or a file of another kind.
const LONGEST_LINE: u64 = 16 << 20;

/// Characters of a text that a table shows.
const SHOWN_CHARACTERS: usize = 40;

pub(crate) fn run(options: &PredictOptions) -> Result<(), Failure> {
    let choice = StudentChoice {
        network: options.network.clone(),
        size: options.size.map(|size| size.0),
        weights_key: options.weights_key.clone(),
    };
    refuse_recipe(&options.model)?;
    let reading = onnx_reading(&options.onnx, is_onnx(&options.model))?;
    let mut predictor = Predictor::open(&options.model, &choice, &reading)?;
    if options.ignore_exif_orientation {
        predictor = predictor.ignoring_exif_orientation();
    }
    predictor.notes().iter().for_each(|note| eprintln!("note: {note}"));
    let output_type = predictor.output_type();
    if output_type != OutputType::Logits && !options.json {
        let (path, name) = (shown(&options.model), output_type.name());
        eprintln!(
            "note: `{path}` gives probabilities itself (`{name}`): they are shown as they are"
        );
    }
    let of_texts_alone = predictor.shape().is_none();
    let what = if of_texts_alone { "text" } else { "image" };
    let mut file =
        options.output.as_deref().map(|path| PredictionFile::new(path, what)).transpose()?;
    let failed = match of_texts_alone {
        true => of_texts(&mut predictor, options, &mut file)?,
        false => of_images(&mut predictor, options, &mut file)?,
    };
    file.map_or(Ok(()), PredictionFile::write)?;
    if failed { Err(Failure::Partly) } else { Ok(()) }
}

/// Classes of image files; whether one could not be read.
fn of_images(
    predictor: &mut Predictor,
    options: &PredictOptions,
    file: &mut Option<PredictionFile>,
) -> Result<bool, Failure> {
    let (images, mut failed) = image_files(&options.images);
    let (mut rows, top) = (Vec::new(), options.top as usize);
    for image in images {
        match predictor.predict(&image, top) {
            Ok(guesses) if options.json => print_guesses(&image, &guesses),
            Ok(guesses) if let Some(file) = file => file.push(image.display().to_string(), guesses),
            Ok(guesses) => rows.extend(table_rows(&shown(&image).to_string(), &guesses)),
            // Whatever is wrong with one image says nothing about the next.
            Err(error) => {
                failed = true;
                complain(&image, &error);
            }
        }
    }
    show(&rows, "image")?;
    Ok(failed)
}

/// Classes of the lines of text files, `-` the standard input; whether something could not be read.
fn of_texts(
    predictor: &mut Predictor,
    options: &PredictOptions,
    file: &mut Option<PredictionFile>,
) -> Result<bool, Failure> {
    let (mut rows, mut failed, top) = (Vec::new(), false, options.top as usize);
    for path in &options.images {
        let lines = match path.as_os_str() == "-" {
            true => Ok(Box::new(std::io::stdin().lock()) as Box<dyn BufRead>),
            false => {
                File::open(path).map(|file| Box::new(BufReader::new(file)) as Box<dyn BufRead>)
            }
        };
        let mut lines = match lines {
            Ok(lines) => lines,
            Err(error) => {
                failed = true;
                complain_of_texts(path, &error.to_string());
                continue;
            }
        };
        for number in 1.. {
            let line = match next_line(&mut lines, number) {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(problem) => {
                    failed = true;
                    complain_of_texts(path, &problem);
                    break;
                }
            };
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            match predictor.predict_text(Text::single(line), path, top) {
                Ok(guesses) if options.json => {
                    print_json(&json!({ "text": line, "classes": as_json(&guesses) }));
                }
                Ok(guesses) if let Some(file) = file => file.push(line.to_owned(), guesses),
                Ok(guesses) => {
                    let start: String = line.chars().take(SHOWN_CHARACTERS).collect();
                    rows.extend(table_rows(&faculty_escape::terminal(&start), &guesses));
                }
                Err(error) => {
                    failed = true;
                    complain(path, &error);
                }
            }
        }
    }
    show(&rows, "text")?;
    Ok(failed)
}

fn complain_of_texts(path: &Path, problem: &str) {
    eprintln!(
        "error: cannot read `{}`: {problem}\n  hint: give a file of texts in UTF-8, one a line, or `-` \
         for the standard input",
        shown(path)
    );
}

/// The next line of texts, without the byte order mark that editors on Windows begin files with; none
/// at the end.
fn next_line(lines: &mut dyn BufRead, number: usize) -> Result<Option<String>, String> {
    let mut line = Vec::new();
    let read = lines.take(LONGEST_LINE).read_until(b'\n', &mut line);
    match read.map_err(|error| format!("line {number}: {error}"))? as u64 {
        0 => return Ok(None),
        LONGEST_LINE if !line.ends_with(b"\n") => {
            return Err(format!("line {number} has more than {LONGEST_LINE} bytes"));
        }
        _ => {}
    }
    let line = String::from_utf8(line).map_err(|_| format!("line {number} is not UTF-8"))?;
    Ok(Some(match line.strip_prefix('\u{feff}').filter(|_| number == 1) {
        Some(rest) => rest.to_owned(),
        None => line,
    }))
}

fn show(rows: &[Vec<String>], what: &str) -> Result<(), Failure> {
    if !rows.is_empty() {
        let header = [(what, Align::Left), ("class", Align::Left), ("probability", Align::Right)];
        let mut out = crate::terminal::stdout();
        table::write(&mut out, &header, rows)?;
        out.flush()?;
    }
    Ok(())
}

fn print_guesses(image: &Path, guesses: &[Prediction]) {
    print_json(&json!({ "image": image, "classes": as_json(guesses) }));
}

fn as_json(guesses: &[Prediction]) -> Vec<serde_json::Value> {
    let one = |Prediction { label, class, probability }: &Prediction| json!({ "label": label, "class": class, "probability": probability });
    guesses.iter().map(one).collect()
}

/// The sample's name stands in its first row only.
fn table_rows(name: &str, guesses: &[Prediction]) -> Vec<Vec<String>> {
    let row = |(rank, guess): (usize, &Prediction)| {
        let name = if rank == 0 { name.to_owned() } else { String::new() };
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
            (error.to_string(), "give a whole image file: PNG, JPEG, WebP, GIF, BMP or TIFF")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_one_by_one_and_never_without_an_end() {
        let mut lines = &b"\xef\xbb\xbfgood film\r\n\nbad\xff\nlast"[..];
        assert_eq!(next_line(&mut lines, 1).unwrap().unwrap(), "good film\r\n");
        assert_eq!(next_line(&mut lines, 2).unwrap().unwrap(), "\n");
        assert_eq!(next_line(&mut lines, 3).unwrap_err(), "line 3 is not UTF-8");
        assert_eq!(next_line(&mut lines, 4).unwrap().unwrap(), "last");
        assert_eq!(next_line(&mut lines, 5).unwrap(), None);
        let mut zeros = BufReader::new(std::io::repeat(0));
        let problem = next_line(&mut zeros, 1).unwrap_err();
        assert_eq!(problem, "line 1 has more than 16777216 bytes");
    }
}
