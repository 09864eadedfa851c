//! The splits of the data set as a run uses them.

use faculty_data::{
    Augmentation, ColorJitter, DEFAULT_SPLIT_SEED, DataError, Dataset, LabelNoise, MixConfig,
    Normalisation, Policy, Renderer, ResizedCrop, Split, Tokenizer, ViewSettings, WordChanges,
    keep_labels, split_validation, subset, with_label_noise,
};

use std::sync::Arc;

use faculty_inputs::Tokenize;

use crate::error::{Result, TeacherError};
use crate::other_kind;
use faculty_recipe::{self as recipe, Recipe, Validation};

/// The splits of the data set as a run uses them.
#[derive(Clone, Debug)]
pub struct RunData {
    /// What is learnt from, label noise included; samples without a label only where the recipe asks
    /// for them.
    pub train: Split,
    /// What chooses the best epoch.
    pub validation: Option<Split>,
    /// What gives the final numbers, and nothing else.
    pub test: Option<Split>,
    /// How the student gets the samples.
    pub views: ViewSettings,
    /// Most tokens of a text for teachers of which the recipe says nothing else.
    pub max_tokens: usize,
    /// The student's tokenizer, where samples are texts.
    pub tokenizer: Option<Arc<Tokenizer>>,
}

/// The splits that a recipe asks for, with its label noise and normalisation.
///
/// # Errors
/// When a split is missing or empty, fewer samples are left than a batch needs, or constants of the
/// normalisation are not one a channel.
pub fn prepare_data(recipe: &Recipe, dataset: &Dataset) -> Result<RunData> {
    let settings = &recipe.data;
    let uses_unlabelled = settings.unlabelled == recipe::Unlabelled::Use;
    let all = if uses_unlabelled {
        dataset.train_split_with_unlabelled()?
    } else {
        dataset.train_split()
    };
    // What is held out and counted is labelled; the others join what is trained on at the end.
    let (mut whole, unlabelled) = (all.labelled(), all.unlabelled());
    if let Some(count) = settings.train_samples {
        whole = subset(&whole, count)?;
    }
    let (train, validation) = match (dataset.validation_split(), &settings.validation) {
        (_, Validation::Share(0.0)) => (whole, None),
        // What the data set holds for this is never ignored in favour of a share.
        (Some(own), _) => (whole, Some(own)),
        (None, Validation::Share(share)) => {
            let (train, held_out) = split_validation(&whole, *share, DEFAULT_SPLIT_SEED)?;
            (train, Some(held_out).filter(|part| !part.is_empty()))
        }
        (None, Validation::Split(name)) => {
            return Err(TeacherError::Data(DataError::NoSplit {
                path: settings.path.clone(),
                key: "validation",
                name: name.clone(),
                found: Vec::new(),
            }));
        }
    };
    other_kind::refuse(recipe, train.texts().is_some())?;
    let seed = settings.view_seed.unwrap_or(recipe.seed);
    let (views, tokenizer) = match train.images() {
        Some(_) => {
            let (augmentation, constants) =
                (augmentation(settings), normalisation(recipe, &train)?);
            // Before anything is measured with plain views.
            Renderer::new(train.shape()?, augmentation, &constants, seed)?;
            (ViewSettings::of_images(augmentation, constants, seed), None)
        }
        None => {
            let tokenizer = Arc::new(open_tokenizer(&recipe.student)?);
            let words = WordChanges {
                deletion: settings.word_deletion.unwrap_or(0.0),
                swap: settings.word_swap.unwrap_or(0.0),
            };
            let own: Arc<dyn Tokenize> = tokenizer.clone();
            (ViewSettings::of_texts(own, words, seed), Some(tokenizer))
        }
    };
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
    let train = match settings.labels_per_class {
        Some(count) => keep_labels(&train, count, settings.labels_seed)?,
        None => train,
    };
    let train = if uses_unlabelled { train.followed_by(&unlabelled) } else { train.labelled() };
    if train.labelled_len() < train.len() && recipe.train.sampling == recipe::Sampling::Balanced {
        return Err(TeacherError::UnlabelledSampling);
    }
    check_enough(&train, recipe)?;
    // Labels of partners are those that are trained on.
    let config = MixConfig {
        mixup: settings.mixup,
        cutmix: settings.cutmix,
        probability: settings.mix_probability,
    };
    let views = match (config.mixup, config.cutmix) {
        (None, None) => views,
        _ if train.labelled_len() < train.len() => return Err(TeacherError::UnlabelledMixing),
        _ => views.with_mixing(train.mixing(config)?),
    };
    let (test, max_tokens) = (dataset.test_split(), recipe.student.max_tokens);
    Ok(RunData { train, validation, test, views, max_tokens, tokenizer })
}

/// What happens to training images.
fn augmentation(settings: &recipe::Data) -> Augmentation {
    let policy = match settings.rand_augment {
        Some(recipe::RandAugment { operations, magnitude }) => {
            Some(Policy::RandAugment { operations, magnitude })
        }
        None => settings.trivial_augment.then_some(Policy::TrivialAugment),
    };
    Augmentation {
        policy,
        resized_crop: settings.random_resized_crop.map(|area| ResizedCrop { area }),
        color_jitter: settings.color_jitter.as_ref().map(|own| ColorJitter {
            brightness: own.brightness,
            contrast: own.contrast,
            saturation: own.saturation,
            hue: own.hue,
        }),
        erasing: settings.random_erasing,
        ..Augmentation::crop_and_flip(settings.crop_padding, settings.flip)
    }
}

/// The tokenizer that the recipe names, or that of the folder from which the student starts.
fn open_tokenizer(student: &recipe::Student) -> Result<Tokenizer> {
    let beside = || {
        let weights = student.weights.as_deref()?;
        Some(if weights.is_dir() { weights } else { weights.parent()? })
    };
    let path = student.tokenizer.as_deref().or_else(beside);
    let path = path.ok_or(TeacherError::NoTokenizer { key: "student.tokenizer".to_owned() })?;
    Ok(Tokenizer::open(path, student.max_tokens)?)
}

fn check_enough(train: &Split, recipe: &Recipe) -> Result<()> {
    if recipe.train.drop_last && train.len() < recipe.train.batch_size {
        return Err(TeacherError::TooFewSamples {
            samples: train.len(),
            batch_size: recipe.train.batch_size,
        });
    }
    Ok(())
}

/// The split seed of exams; another one than the validation split's, which has taken all samples below
/// its share already.
const EXAM_SPLIT_SEED: u64 = DEFAULT_SPLIT_SEED + 1;

/// Takes a share of the training split out of it.
///
/// # Errors
/// When too few samples are left for a batch.
pub fn hold_out(data: &mut RunData, share: f64, recipe: &Recipe) -> Result<Split> {
    let (train, exam) = split_validation(&data.train.labelled(), share, EXAM_SPLIT_SEED)?;
    let train = train.followed_by(&data.train.unlabelled());
    check_enough(&train, recipe)?;
    data.train = train;
    Ok(exam)
}

fn normalisation(recipe: &Recipe, train: &Split) -> Result<Normalisation> {
    let settings = &recipe.data;
    let [channels, ..] = train.shape()?;
    let mut result = if settings.mean.is_some() && settings.std.is_some() {
        Normalisation::identity(channels)
    } else {
        train.normalisation()?
    };
    for (key, given, own) in [
        ("data.mean", &settings.mean, &mut result.mean),
        ("data.std", &settings.std, &mut result.std),
    ] {
        if let Some(given) = given {
            check_channels(key, given, channels)?;
            own.clone_from(given);
        }
    }
    Ok(result)
}

pub(crate) fn check_channels(key: &str, values: &[f32], channels: usize) -> Result<()> {
    if values.len() == channels {
        return Ok(());
    }
    Err(TeacherError::Channels { key: key.to_owned(), found: values.len(), expected: channels })
}

/// The `samples` of a split that [`subset`] takes; all of them without a number.
///
/// # Errors
/// When no sample is asked for.
pub fn limited(part: &Split, samples: Option<usize>) -> Result<Split> {
    let count = samples.unwrap_or(part.len()).min(part.len());
    Ok(if count == part.len() { part.clone() } else { subset(part, count)? })
}

#[cfg(test)]
mod tests {
    use faculty_data::{Format, ImageSet};

    use super::*;
    use faculty_methods::specs;

    fn images(count: u8, seed: u8) -> ImageSet {
        let labels = (0..u32::from(count)).map(|i| i % 2).collect();
        let pixels = (0..count).flat_map(|i| [i, seed]).collect();
        ImageSet::new(1, 1, 2, pixels, labels).unwrap()
    }

    fn sizes(validation: &str, own: bool) -> Result<[usize; 3]> {
        let classes = vec!["a".to_owned(), "b".to_owned()];
        let mut dataset =
            Dataset::new("d", Format::Folder, classes, images(100, 1), Some(images(9, 2))).unwrap();
        if own {
            dataset = dataset.with_validation(images(7, 3)).unwrap();
        }
        let text = format!(
            "[data]\npath = \"d\"\ncrop_padding = 0\nvalidation = {validation}\n[student]\nnetwork = \"resnet8\"\n\
             [method]\nname = \"ce\"\n[train]\nbatch_size = 4\n"
        );
        let recipe = Recipe::from_str(&text, "r.toml", &[], &specs()).unwrap().recipe;
        let data = prepare_data(&recipe, &dataset)?;
        let len = |part: &Option<Split>| part.as_ref().map_or(0, Split::len);
        Ok([data.train.len(), len(&data.validation), len(&data.test)])
    }

    #[test]
    fn a_validation_split_of_its_own_is_used_and_nothing_held_out() {
        for validation in ["0.1", "0.5", "\"val\""] {
            assert_eq!(sizes(validation, true).unwrap(), [100, 7, 9], "{validation}");
        }
        assert_eq!(sizes("0", true).unwrap(), [100, 0, 9]);
        assert_eq!(sizes("0.0", false).unwrap(), [100, 0, 9]);
        let [train, held_out, test] = sizes("0.2", false).unwrap();
        assert!(held_out > 0 && train + held_out == 100 && test == 9);
        let error = sizes("\"val\"", false).unwrap_err();
        assert!(matches!(error, TeacherError::Data(DataError::NoSplit { key: "validation", .. })));
    }
}
