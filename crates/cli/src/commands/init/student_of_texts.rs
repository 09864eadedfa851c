//! The student of texts: layers of a teacher, a trained encoder as given, or one from nothing; and how
//! many tokens of a text it reads.

use std::path::{Path, PathBuf};

use faculty_data::{Dataset, Text, Tokenize as _, Tokenizer, Tokens};
use faculty_nets::{EncoderConfig, EncoderFamily, EncoderFolder};
use rayon::prelude::*;

use super::plan::{OfTexts, Student};
use super::teachers::{Found, Source};
use crate::arguments::InitOptions;
use crate::failure::Failure;

/// Layers of a student that starts from a teacher's.
const LAYERS: usize = 2;
/// Lengths to choose from; attention costs their square.
const LENGTHS: [usize; 8] = [16, 32, 48, 64, 96, 128, 192, 256];
/// Share of the texts that may be cut.
const MAY_BE_CUT: f64 = 0.05;
/// So many texts tell the lengths of all.
const MEASURED: usize = 5000;
/// Longest texts that are measured; longer ones are cut by all of `LENGTHS`.
const MEASURED_TOKENS: usize = 512;

/// The student, its start, its tokenizer, its tokens.
pub(super) fn choose(
    options: &InitOptions,
    teachers: &[Found],
    dataset: &Dataset,
) -> Result<Student, Failure> {
    let (network, reason, weights, layers) = start(options, teachers)?;
    let tokenizer = match (&options.tokenizer, &weights) {
        (Some(given), _) => Some(given.clone()),
        (None, Some(_)) => None,
        (None, None) => Some(found_tokenizer(options, teachers)?),
    };
    let path = tokenizer.as_deref().or(weights.as_deref()).unwrap_or(Path::new(""));
    let bound = longest(&network, weights.as_deref(), teachers)?;
    let (max_tokens, cut) = tokens(path, dataset, bound)?;
    let of_texts = Some(OfTexts { weights, layers, tokenizer, max_tokens, cut });
    Ok(Student { network, reason, of_texts })
}

type Chosen = (String, String, Option<PathBuf>, Option<usize>);

/// Its network, why this one, the folder of its weights and how many layers of them.
fn start(options: &InitOptions, teachers: &[Found]) -> Result<Chosen, Failure> {
    if let Some(given) = &options.student {
        if EncoderFamily::of(given).is_some() {
            return Ok((given.clone(), "as given".to_owned(), None, None));
        }
        let path = Path::new(given);
        if !path.exists() {
            let known: Vec<&str> = EncoderFamily::names().collect();
            return Err(Failure::Usage {
                what: format!("`{given}` is no network that reads texts, and no folder of one"),
                hint: format!("networks that read texts: {}", known.join(", ")),
            });
        }
        let family = EncoderFolder::open(path)?.config.family.name();
        return Ok((family.to_owned(), "as given".to_owned(), Some(path.to_owned()), None));
    }
    // One layer fewer at least, or it is no smaller.
    let deep = teachers.iter().find_map(|found| match &found.source {
        Source::Encoder { family, layers } if *layers > 1 => Some((found, family, *layers)),
        _ => None,
    });
    Ok(match deep {
        Some((found, family, layers)) => {
            let own = LAYERS.min(layers - 1);
            let reason = format!("{own} of the {layers} layers of {}", found.name);
            ((*family).to_owned(), reason, Some(found.path.clone()), Some(own))
        }
        None => {
            let reason = "the mean of word vectors, the cheapest there is".to_owned();
            (EncoderFamily::Bag.name().to_owned(), reason, None, None)
        }
    })
}

/// The tokenizer of a student that starts from nothing: that of a teacher, or one beside the data.
fn found_tokenizer(options: &InitOptions, teachers: &[Found]) -> Result<PathBuf, Failure> {
    let of_teacher = teachers
        .iter()
        .find(|found| matches!(found.source, Source::Encoder { .. }))
        .map(|found| folder_of(&found.path).to_owned());
    let folders = [Some(options.data.as_path()), options.data.parent()];
    let beside = folders
        .into_iter()
        .flatten()
        .flat_map(|folder| ["tokenizer.json", "vocab.txt"].map(|name| folder.join(name)))
        .find(|file| file.is_file());
    of_teacher.or(beside).ok_or_else(|| Failure::Usage {
        what: "the data are texts, and no tokenizer was found for the student".to_owned(),
        hint: "give `--tokenizer FOLDER` with a `tokenizer.json` or `vocab.txt`: every text encoder of \
               the Hugging Face hub has one beside its weights; the Python package `tokenizers` makes \
               one of your texts (`bench/demo_texts.py` does that)"
            .to_owned(),
    })
}

/// The folder of an encoder that may be named by its weights.
fn folder_of(path: &Path) -> &Path {
    if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) }
}

/// The most tokens that student and teachers can all read.
fn longest(network: &str, weights: Option<&Path>, teachers: &[Found]) -> Result<usize, Failure> {
    let family = EncoderFamily::of(network).unwrap_or(EncoderFamily::Bag);
    let mut longest = match weights {
        Some(path) => EncoderFolder::open(path)?.config.longest,
        None => EncoderConfig::new(family, 1, 1, 1).longest,
    };
    for found in teachers {
        if matches!(found.source, Source::Encoder { .. }) {
            longest = longest.min(EncoderFolder::open(&found.path)?.config.longest);
        }
    }
    Ok(longest)
}

/// The smallest of the usual lengths that few texts exceed, and the share that does.
fn tokens(path: &Path, dataset: &Dataset, bound: usize) -> Result<(usize, f64), Failure> {
    let tokenizer = Tokenizer::open(folder_or_file(path), MEASURED_TOKENS)?;
    let train = dataset.train_split();
    let set = train.texts().ok_or(faculty_data::DataError::NotTexts)?;
    let texts = set.texts();
    let step = texts.len().div_ceil(MEASURED).max(1);
    let some: Vec<&Text> = texts.iter().step_by(step).collect();
    let length = |text: &&Text| {
        let mut tokens = Tokens::default();
        tokenizer.tokenize(text, &mut tokens);
        tokens.count()
    };
    let lengths: Vec<usize> = some.par_iter().map(length).collect();
    let cut = |most: usize| {
        let longer = lengths.iter().filter(|&&length| length > most).count();
        longer as f64 / lengths.len().max(1) as f64
    };
    let last = LENGTHS[LENGTHS.len() - 1];
    let few = LENGTHS.into_iter().find(|&most| cut(most) <= MAY_BE_CUT);
    let most = few.unwrap_or(last).min(bound);
    Ok((most, cut(most)))
}

/// A tokenizer's own file stays; of a weight file its folder is meant.
fn folder_or_file(path: &Path) -> &Path {
    let is_tokenizer = path.extension().is_some_and(|ending| ending == "json" || ending == "txt");
    if is_tokenizer { path } else { folder_of(path) }
}
