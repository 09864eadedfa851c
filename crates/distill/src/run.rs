//! From a recipe to a run that can start: everything is loaded and checked first, so that a run
//! that begins does not fail for a reason that could have been known.

use std::path::PathBuf;

use faculty_data::{
    DEFAULT_SPLIT_SEED, Dataset, Format, LabelNoise, Normalisation, Part, ReadOptions,
    split_validation, subset, with_label_noise,
};
use faculty_nets::weights::file_hash;
use faculty_nets::{MapShape, Network};

use crate::error::{Error, Result};
use crate::evaluate::teachers_quality;
use crate::learner::{Learner, TeacherTraits};
use crate::methods::{self, Method, Needs};
use crate::optimizer::OptimizerConfig;
use crate::recipe::{self, Recipe};
use crate::record::{RunCard, StudentResult, TeacherCard};
use crate::schedule::{Schedule, Shape};
use crate::teacher::{KeptInMemory, NetworkTeacher, Renormalise, TeacherSource, bytes_needed};

/// Teacher outputs are kept in memory when a run repeats its views and they take no more than this.
const KEEP_IN_MEMORY_BYTES: usize = 2 << 30;

/// A teacher with its name.
pub struct Teacher {
    /// Name in the recipe.
    pub name: String,
    /// Where its outputs come from.
    pub source: Box<dyn TeacherSource>,
}

/// The parts of the data set as this run uses them.
#[derive(Clone, Debug)]
pub struct RunData {
    /// What is learnt from, label noise included.
    pub train: Part,
    /// What chooses the best epoch.
    pub validation: Option<Part>,
    /// What gives the final numbers, and nothing else.
    pub test: Option<Part>,
    /// Of the student's input.
    pub normalisation: Normalisation,
}

/// How the run trains.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Start of every random number.
    pub seed: u64,
    /// Samples a step.
    pub batch_size: usize,
    /// Leave out a last batch that is not full.
    pub drop_last: bool,
    /// Padding of the random crop, pixels.
    pub crop_padding: usize,
    /// Random mirror images.
    pub flip: bool,
    /// Number of views, if limited.
    pub views: Option<u32>,
    /// Optimiser with its constants.
    pub optimizer: OptimizerConfig,
    /// Learning rate and number of epochs.
    pub schedule: Schedule,
    /// Largest norm of the gradient.
    pub clip: Option<f64>,
    /// Epochs between measurements on the validation part.
    pub evaluate_every: usize,
    /// Epochs between checkpoints.
    pub checkpoint_every: usize,
    /// The resolved recipe as text.
    pub recipe: String,
}

/// A run with nothing left to go wrong but the training itself: the only thing that can train.
pub struct CheckedRun {
    pub(crate) learner: Learner,
    pub(crate) teachers: Vec<Teacher>,
    pub(crate) data: RunData,
    pub(crate) settings: Settings,
    pub(crate) card: RunCard,
    /// What must not change between the parts of an interrupted run.
    pub(crate) identity: String,
}

impl CheckedRun {
    /// Loads data, teachers and student of a recipe and checks that they fit together.
    ///
    /// `dataset` spares reading the data again when several runs share it.
    ///
    /// # Errors
    /// When anything is missing, damaged or does not fit; nothing has been written then.
    pub fn new(recipe: &Recipe, dataset: &Dataset) -> Result<Self> {
        recipe.check(&methods::specs())?;
        let data = prepare_data(recipe, dataset)?;
        let [channels, height, width] = data.train.shape();
        let input = MapShape::new(channels, height, width);
        let classes = dataset.classes().len();
        let info = methods::find(&recipe.method.name);
        let method = (info.build)(&recipe.method);

        let mut student = Network::new(&recipe.student.network, input, classes, recipe.seed)?;
        let mut identity = Vec::new();
        if let Some(path) = &recipe.student.weights {
            student = Network::load(&recipe.student.network, input, classes, path)?;
            identity.push(format!("student weights {}", file_hash(path)?));
        }

        let mut teachers = Vec::new();
        let mut cards = Vec::new();
        let uses_teachers = info.spec.max_teachers != Some(0);
        for wanted in recipe.teachers.iter().filter(|_| uses_teachers) {
            let (teacher, card) = load_teacher(wanted, input, &data.normalisation, classes)?;
            identity.push(format!("teacher `{}` {}", card.name, card.weights_sha256));
            teachers.push(teacher);
            cards.push(card);
        }
        let whole = needs_of_run(method.as_ref(), recipe.train.epochs);
        check_parts(info.spec.name, whole, &student, &teachers)?;
        let ensemble = measure_teachers(recipe, &data, &mut teachers, &mut cards)?;
        if recipe.data.views.is_some() {
            teachers = keep_in_memory(teachers, whole, &data, recipe.data.views.unwrap_or(1));
        }

        let traits: Vec<TeacherTraits> = teachers
            .iter()
            .map(|teacher| TeacherTraits {
                map: teacher.source.map_shape(),
                classifier: teacher.source.classifier(),
            })
            .collect();
        let recipe_text = recipe.to_toml()?;
        identity.push(comparable(recipe)?);
        let nothing = StudentResult { epoch: 0, validation: None, test: None };
        let card = RunCard {
            format: 1,
            faculty: env!("CARGO_PKG_VERSION").to_owned(),
            kernels: faculty_kernels::isa::name().to_owned(),
            seed: recipe.seed,
            method: info.spec.name.to_owned(),
            objective: method.objective(teachers.len()),
            data: dataset.name().to_owned(),
            data_fingerprint: dataset.fingerprint(),
            classes: dataset.classes().to_vec(),
            mean: data.normalisation.mean.clone(),
            std: data.normalisation.std.clone(),
            student: recipe.student.network.clone(),
            student_parameters: student.graph().parameter_count(),
            teachers: cards,
            ensemble,
            last: nothing,
            best: nothing,
            seconds: 0.0,
        };
        Ok(Self {
            learner: Learner::new(student, method, &traits, recipe.seed),
            teachers,
            data,
            settings: settings(recipe, recipe_text),
            card,
            identity: identity.join("\n"),
        })
    }

    /// What is known before the first epoch: objective, teachers and their quality, hashes.
    #[must_use]
    pub fn card(&self) -> &RunCard {
        &self.card
    }

    /// The data as this run uses it.
    #[must_use]
    pub fn data(&self) -> &RunData {
        &self.data
    }
}

/// Opens a recipe's data set.
///
/// # Errors
/// When it is missing, damaged or not recognised.
pub fn open_dataset(data: &recipe::Data) -> Result<Dataset> {
    let format = data.format.as_deref().map(str::parse::<Format>).transpose()?;
    let options = ReadOptions {
        format,
        label_column: data.label_column.clone(),
        resize: data.resize,
        ..ReadOptions::default()
    };
    Ok(Dataset::open(&data.path, &options)?)
}

fn prepare_data(recipe: &Recipe, dataset: &Dataset) -> Result<RunData> {
    let settings = &recipe.data;
    let mut whole = dataset.train_part();
    if let Some(count) = settings.train_samples {
        whole = subset(&whole, count)?;
    }
    let (train, validation) = split_validation(&whole, settings.validation, DEFAULT_SPLIT_SEED)?;
    let normalisation = normalisation(recipe, &train)?;
    if recipe.train.drop_last && train.len() < recipe.train.batch_size {
        return Err(Error::TooFewSamples {
            samples: train.len(),
            batch_size: recipe.train.batch_size,
        });
    }
    let train = if settings.label_noise > 0.0 {
        let kind = match settings.label_noise_kind {
            recipe::LabelNoise::Uniform => LabelNoise::Uniform,
            recipe::LabelNoise::Pair => LabelNoise::Pair,
        };
        let classes = dataset.classes().len();
        with_label_noise(&train, settings.label_noise, kind, recipe.seed, classes)?
    } else {
        train
    };
    let validation = Some(validation).filter(|part| !part.is_empty());
    Ok(RunData { train, validation, test: dataset.test_part(), normalisation })
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

fn check_channels(key: &str, values: &[f32], channels: usize) -> Result<()> {
    if values.len() == channels {
        return Ok(());
    }
    Err(Error::Channels { key: key.to_owned(), found: values.len(), expected: channels })
}

fn load_teacher(
    wanted: &recipe::Teacher,
    input: MapShape,
    student: &Normalisation,
    classes: usize,
) -> Result<(Teacher, TeacherCard)> {
    // A teacher of other classes is told as that, not as a weight of another shape.
    let state = faculty_nets::weights::read(&wanted.weights)?;
    let probe = faculty_nets::find(&wanted.network)?.graph(input, classes)?;
    if let Some(ids) = probe.classifier() {
        let name = &probe.parameter(ids.bias).name;
        if let Some(found) = state.get(name).map(|bias| bias.values.len())
            && found != classes
        {
            return Err(Error::TeacherClasses {
                teacher: wanted.name.clone(),
                path: wanted.weights.clone(),
                found,
                expected: classes,
            });
        }
    }
    let mut network = Network::from_graph(&wanted.network, probe, 0);
    network.set_state_dict(&state, &wanted.weights)?;
    let mut own = student.clone();
    for (key, given, value) in
        [("mean", &wanted.mean, &mut own.mean), ("std", &wanted.std, &mut own.std)]
    {
        if let Some(given) = given {
            check_channels(&format!("teachers.{}.{key}", wanted.name), given, input.channels)?;
            value.clone_from(given);
        }
    }
    let renormalise = Renormalise::between((&student.mean, &student.std), (&own.mean, &own.std));
    let card = TeacherCard {
        name: wanted.name.clone(),
        network: wanted.network.clone(),
        weights_sha256: file_hash(&wanted.weights)?,
        quality: None,
    };
    let source = Box::new(NetworkTeacher::new(&network, renormalise));
    Ok((Teacher { name: wanted.name.clone(), source }, card))
}

/// Everything that the method asks for in any epoch.
fn needs_of_run(method: &dyn Method, epochs: usize) -> Needs {
    (1..=epochs).map(|epoch| method.needs(epoch)).fold(Needs::default(), Needs::union)
}

fn check_parts(
    method: &'static str,
    needs: Needs,
    student: &Network,
    teachers: &[Teacher],
) -> Result<()> {
    let missing = |what, who: String| Err(Error::MissingPart { method, what, who });
    if needs.teacher_maps && student.graph().map().is_none() {
        return missing("a last feature map", "the student".to_owned());
    }
    for teacher in teachers {
        let who = || format!("teacher `{}`", teacher.name);
        if needs.teacher_maps && teacher.source.map_shape().is_none() {
            return missing("a last feature map", who());
        }
        if needs.teacher_classifiers && teacher.source.classifier().is_none() {
            return missing("a pooled linear classifier", who());
        }
    }
    Ok(())
}

/// Each teacher alone and the ensemble on the validation part (the test part where there is none);
/// stops at a teacher that knows next to nothing, unless the recipe allows it.
fn measure_teachers(
    recipe: &Recipe,
    data: &RunData,
    teachers: &mut [Teacher],
    cards: &mut [TeacherCard],
) -> Result<Option<crate::metrics::Quality>> {
    let (part, name) = match (&data.validation, &data.test) {
        (Some(part), _) => (part, "validation"),
        (None, Some(part)) => (part, "test"),
        (None, None) => return Ok(None),
    };
    let mut sources: Vec<&mut dyn TeacherSource> =
        teachers.iter_mut().map(|teacher| &mut *teacher.source as _).collect();
    let Some((qualities, ensemble)) = teachers_quality(&mut sources, part, &data.normalisation)?
    else {
        return Ok(None);
    };
    for ((card, quality), wanted) in cards.iter_mut().zip(qualities).zip(&recipe.teachers) {
        card.quality = Some(quality);
        let classes = sources[0].classes();
        let chance = 100.0 / classes as f64;
        // A tenth of the way from guessing to perfection.
        if !wanted.allow_weak && quality.top1 < chance + 0.1 * (100.0 - chance) {
            return Err(Error::WeakTeacher {
                teacher: card.name.clone(),
                top1: quality.top1,
                chance,
                part: name,
            });
        }
    }
    Ok(Some(ensemble))
}

/// Wraps teachers so that each view of each sample is computed once, where memory allows.
fn keep_in_memory(
    teachers: Vec<Teacher>,
    needs: Needs,
    data: &RunData,
    views: u32,
) -> Vec<Teacher> {
    let samples = data.train.len().saturating_mul(views as usize);
    let bytes: usize = teachers
        .iter()
        .map(|teacher| bytes_needed(teacher.source.as_ref(), needs.teacher_maps, samples))
        .fold(0, usize::saturating_add);
    if bytes > KEEP_IN_MEMORY_BYTES {
        return teachers;
    }
    teachers
        .into_iter()
        .map(|Teacher { name, source }| Teacher {
            name,
            source: Box::new(KeptInMemory::new(source)),
        })
        .collect()
}

fn settings(recipe: &Recipe, text: String) -> Settings {
    let train = &recipe.train;
    let optimizer = match train.optimizer {
        recipe::Optimizer::Sgd => OptimizerConfig::Sgd {
            momentum: train.momentum as f32,
            nesterov: train.nesterov,
            weight_decay: train.weight_decay as f32,
        },
        recipe::Optimizer::AdamW => OptimizerConfig::AdamW {
            betas: train.betas.map(|beta| beta as f32),
            epsilon: train.epsilon as f32,
            weight_decay: train.weight_decay as f32,
        },
    };
    let shape = match train.schedule {
        recipe::Schedule::Constant => Shape::Constant,
        recipe::Schedule::Step => {
            Shape::Step { milestones: train.milestones.clone(), decay: train.decay }
        }
        recipe::Schedule::Cosine => Shape::Cosine,
        recipe::Schedule::OneCycle => Shape::OneCycle,
    };
    Settings {
        seed: recipe.seed,
        batch_size: train.batch_size,
        drop_last: train.drop_last,
        crop_padding: recipe.data.crop_padding,
        flip: recipe.data.flip,
        views: recipe.data.views,
        optimizer,
        schedule: Schedule {
            base: train.learning_rate,
            shape,
            warmup_epochs: train.warmup_epochs,
            epochs: train.epochs,
        },
        clip: train.clip_gradient_norm,
        evaluate_every: train.evaluate_every,
        checkpoint_every: train.checkpoint_every,
        recipe: text,
    }
}

/// The recipe without what may change when a run goes on elsewhere: paths, names and threads. Data
/// and weights are compared by their hashes instead.
fn comparable(recipe: &Recipe) -> Result<String> {
    let mut recipe = recipe.clone();
    recipe.output = None;
    recipe.name = None;
    recipe.train.threads = None;
    recipe.data.path = PathBuf::from("data");
    recipe.student.weights = recipe.student.weights.map(|_| PathBuf::from("weights"));
    for teacher in &mut recipe.teachers {
        teacher.weights = PathBuf::from("weights");
    }
    Ok(recipe.to_toml()?)
}
