//! The parts of the data set as a run uses them.

use faculty_data::{
    DEFAULT_SPLIT_SEED, Dataset, LabelNoise, Normalisation, Part, split_validation, subset,
    with_label_noise,
};

use super::RunData;
use crate::error::{Error, Result};
use crate::recipe::{self, Recipe};

pub(crate) fn prepare_data(recipe: &Recipe, dataset: &Dataset) -> Result<RunData> {
    let settings = &recipe.data;
    let mut whole = dataset.train_part();
    if let Some(count) = settings.train_samples {
        whole = subset(&whole, count)?;
    }
    let (train, validation) = split_validation(&whole, settings.validation, DEFAULT_SPLIT_SEED)?;
    let normalisation = normalisation(recipe, &train)?;
    check_enough(&train, recipe)?;
    let train = if settings.label_noise > 0.0 {
        let kind = match settings.label_noise_kind {
            recipe::LabelNoise::Uniform => LabelNoise::Uniform,
            recipe::LabelNoise::Pair => LabelNoise::Pair,
        };
        let classes = dataset.classes().len();
        let seed = settings.label_noise_seed.unwrap_or(recipe.seed);
        with_label_noise(&train, settings.label_noise, kind, seed, classes)?
    } else {
        train
    };
    let validation = Some(validation).filter(|part| !part.is_empty());
    Ok(RunData { train, validation, test: dataset.test_part(), normalisation })
}

fn check_enough(train: &Part, recipe: &Recipe) -> Result<()> {
    if recipe.train.drop_last && train.len() < recipe.train.batch_size {
        return Err(Error::TooFewSamples {
            samples: train.len(),
            batch_size: recipe.train.batch_size,
        });
    }
    Ok(())
}

/// The split seed of exams; another one than the validation part's, which has taken all samples below
/// its share already.
const EXAM_SPLIT_SEED: u64 = DEFAULT_SPLIT_SEED + 1;

/// Takes a share of the training part out of it.
pub(super) fn hold_out(data: &mut RunData, share: f64, recipe: &Recipe) -> Result<Part> {
    let (train, exam) = split_validation(&data.train, share, EXAM_SPLIT_SEED)?;
    check_enough(&train, recipe)?;
    data.train = train;
    Ok(exam)
}

fn normalisation(recipe: &Recipe, train: &Part) -> Result<Normalisation> {
    let settings = &recipe.data;
    let mut result = if settings.mean.is_some() && settings.std.is_some() {
        Normalisation::identity(train.shape()[0])
    } else {
        Normalisation::measure(train.set(), train.indices())?
    };
    for (key, given, own) in [
        ("data.mean", &settings.mean, &mut result.mean),
        ("data.std", &settings.std, &mut result.std),
    ] {
        if let Some(given) = given {
            check_channels(key, given, train.shape()[0])?;
            own.clone_from(given);
        }
    }
    Ok(result)
}

pub(super) fn check_channels(key: &str, values: &[f32], channels: usize) -> Result<()> {
    if values.len() == channels {
        return Ok(());
    }
    Err(Error::Channels { key: key.to_owned(), found: values.len(), expected: channels })
}
