//! From a recipe to a run that can start: everything is loaded and checked first, so that a run
//! that begins does not fail for a reason that could have been known.

use std::time::Duration;

use faculty_data::{
    Augmentation, BatchLoader, Dataset, Format, LoaderConfig, Normalisation, OnBadImage, Part,
    ReadOptions,
};
use faculty_nets::weights::WeightFile;
use faculty_nets::{MapShape, Network};

use crate::cache::CachePlan;
use crate::checkpoint::{Identity, check_allowed};
use crate::compute::Compute;
use crate::error::{Error, Result};
use crate::heads;
use faculty_contract::Shapes;

use crate::learner::{Exam, Learner, TeacherTraits, TrainingSamples};
use crate::methods::{self, Method, Needs};
use crate::objective;
use crate::optimizer::OptimizerConfig;
use crate::recipe::{self, Recipe};
use crate::record::{RunCard, StudentResult};
use crate::schedule::{Schedule, Shape};
use crate::tap::Tap;
use crate::teacher::TeacherSource;
use crate::teacher::traits_of;

mod costs;
mod data;
mod memory;
mod pool;
mod preflight;
mod ranking;
pub(crate) mod teachers;
mod untrained;

pub(crate) use costs::class_costs;
pub(crate) use data::prepare_data;
pub use memory::MemoryNeed;
pub(crate) use pool::{KEEP_IN_MEMORY_BYTES, TeacherPool};
pub use preflight::{PROBE_SAMPLES, inspect_teachers};
pub(crate) use preflight::{measure_teachers, mounted_if_trained};
pub use ranking::{Ranked, Ranking, rank_teachers};
pub(crate) use teachers::{
    Labels, described, identify_teacher, load_teacher, open_backbone, open_teacher, same_classes,
    stage_taps, taps_there,
};
pub(crate) use untrained::check_untrained;

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
    /// Start of the random numbers of the views.
    pub view_seed: u64,
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
    /// Time between checkpoints in the middle of an epoch.
    pub checkpoint_after: Duration,
    /// Batches that may be left out.
    pub skip_bad_batches: usize,
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
    pub(crate) identity: Identity,
    /// Keys of the recipe that may change all the same; none where nobody could name them.
    pub(crate) allowed: Option<Vec<String>>,
    memory: MemoryNeed,
}

impl CheckedRun {
    /// Loads data, teachers and student of a recipe and checks that they fit together.
    ///
    /// `dataset` spares reading the data again when several runs share it.
    ///
    /// # Errors
    /// When anything is missing, damaged or does not fit; nothing has been written then. Heads that
    /// the recipe mounts are found trained, and a cache complete: [`heads::mount`] and
    /// [`CachePlan::build`] come first.
    pub fn new(recipe: &Recipe, dataset: &Dataset) -> Result<Self> {
        Self::sharing(recipe, dataset, &mut TeacherPool::default())
    }

    /// [`CheckedRun::new`] with the teachers of earlier runs.
    pub(crate) fn sharing(
        recipe: &Recipe,
        dataset: &Dataset,
        pool: &mut TeacherPool,
    ) -> Result<Self> {
        recipe.check(&methods::specs())?;
        if let Some(plan) = &recipe.plan {
            return Err(Error::Planned { kind: plan.kind.name() });
        }
        let recipe = &heads::mounted(recipe, dataset)?;
        let mut data = data::prepare_data(recipe, dataset)?;
        let [channels, height, width] = data.train.shape();
        let input = MapShape::new(channels, height, width);
        let classes = dataset.classes().len();
        let info = methods::find(&recipe.method.name);
        let mut method = methods::build(&recipe.method);

        let spec = &recipe.student;
        let (student, student_notes) = match &spec.weights {
            None => (Network::new(&spec.network, input, classes, recipe.seed)?, Vec::new()),
            Some(path) => {
                let mut file = WeightFile::open(path, spec.weights_key.as_deref())?;
                Network::from_file(&spec.network, input, Some(classes), &mut file)?
            }
        };

        let whole = needs_of_run(method.as_ref(), recipe.train.epochs);
        teachers::check_batches(info.spec.name, &whole, &recipe.train)?;
        if let Some(first) = method.restart_after()
            && first >= recipe.train.epochs
        {
            let (method, epochs) = (info.spec.name, recipe.train.epochs);
            return Err(Error::NoSecondTraining { method, first, epochs });
        }
        let labels = Labels::of(method.as_ref());
        let exam = match method.exam_share() {
            0.0 => None,
            share => Some(data::hold_out(&mut data, share, recipe)?),
        };
        if whole.learning_teachers {
            teachers::check_can_learn(info.spec.name, recipe)?;
        }
        let mut teachers = Vec::new();
        let mut cards = Vec::new();
        let uses_teachers = recipe.method.uses_teachers(&info.spec);
        let loaded = match &recipe.cache {
            Some(_) if uses_teachers => {
                CachePlan::with_data(recipe, dataset, data.clone())?.open()?
            }
            _ => {
                let own = taps_of_run(method.as_ref(), recipe.train.epochs);
                let taps = pool.taps(&own).to_vec();
                let load = |wanted: &recipe::Teacher| match pool.get(&wanted.name, labels) {
                    Some(known) => Ok(known),
                    None => load_teacher(wanted, &data, dataset.classes(), &taps, labels),
                };
                let used = recipe.teachers.iter().filter(|_| uses_teachers);
                used.map(load).collect::<Result<_>>()?
            }
        };
        for (teacher, card) in loaded {
            teachers.push(teacher);
            cards.push(card);
        }
        let traits_at = |teachers: &[Teacher], taps: &[Tap]| -> Vec<TeacherTraits> {
            let of = |teacher: &Teacher| traits_of(teacher.source.as_ref(), taps);
            teachers.iter().map(of).collect()
        };
        let traits = traits_at(&teachers, &whole.teacher_taps);
        method.choose_maps(&Shapes::of(&student, &traits, recipe.train.batch_size));
        let whole = needs_of_run(method.as_ref(), recipe.train.epochs);
        teachers::check_parts(info.spec.name, &whole, &student, &teachers, &cards)?;
        let names: Vec<String> = teachers.iter().map(|teacher| teacher.name.clone()).collect();
        let report = match labels {
            Labels::Data => pool.report(&names, || {
                preflight::measure_teachers(recipe, dataset.classes(), &data, &mut teachers)
            })?,
            Labels::Own => {
                preflight::check_own_classes(&data, &mut teachers)?;
                None
            }
        };
        let name = info.spec.name;
        preflight::prepare(name, method.as_mut(), &data, report.as_ref(), &mut cards)?;
        let mut kept = 0;
        if recipe.cache.is_none() {
            (teachers, kept) = pool.keep(teachers, &cards, &data, recipe.data.views, labels);
        }
        if labels == Labels::Own {
            let costs = class_costs(recipe, dataset.classes(), &data, &mut teachers)?;
            for (card, cost) in cards.iter_mut().zip(&costs) {
                card.classes = format!("{} classes of its own", cost.own_classes());
            }
            method.prepare_classes(costs);
        }

        let traits = traits_at(&teachers, &whole.teacher_taps);
        let student = method.student(student, &traits, recipe.seed)?;
        let shapes = Shapes::of(&student, &traits, recipe.train.batch_size);
        methods::check_combination(&recipe.method, &shapes, recipe.train.epochs)?;
        method.fit_to(&shapes);
        let compute = Compute::of(recipe.train.device)?;
        let mut learning = Vec::new();
        if whole.learning_teachers {
            for (wanted, card) in recipe.teachers.iter().zip(&cards) {
                learning.push(teachers::open_learning(
                    info.spec.name,
                    wanted,
                    card,
                    &data,
                    classes,
                )?);
            }
        }
        let recipe_text = recipe.to_toml()?;
        let identity = Identity::of(recipe, &cards, dataset.fingerprint())?;
        let nothing = StudentResult { epoch: 0, validation: None, test: None };
        let card = RunCard {
            format: 1,
            faculty: env!("CARGO_PKG_VERSION").to_owned(),
            kernels: faculty_kernels::isa::name().to_owned(),
            seed: recipe.seed,
            method: info.spec.name.to_owned(),
            objective: objective::tidy(&method.objective(teachers.len())),
            data: dataset.name().to_owned(),
            data_fingerprint: dataset.fingerprint(),
            classes: dataset.classes().to_vec(),
            mean: data.normalisation.mean.clone(),
            std: data.normalisation.std.clone(),
            student: student.name().to_owned(),
            student_parameters: student.graph().parameter_count(),
            student_notes,
            teachers: cards,
            ensemble: report.as_ref().map(|report| report.ensemble),
            diversity: report.and_then(|report| report.diversity),
            last: nothing,
            best: nothing,
            changes: Vec::new(),
            seconds: 0.0,
        };
        let batch_size = recipe.train.batch_size;
        let mut learner = Learner::new(student, method, &traits, batch_size, recipe.seed, &compute)
            .with_samples(TrainingSamples::of(&data.train));
        if let Some(exam) = exam {
            learner = learner.with_teachers(learning, Exam::new(&exam, &data.normalisation)?);
        }
        let mut settings = settings(recipe, recipe_text);
        settings.schedule.restart_after = learner.method().restart_after();
        let memory = MemoryNeed::of(&learner, &settings, kept);
        memory.check(memory::available())?;
        Ok(Self { learner, teachers, data, settings, card, identity, allowed: None, memory })
    }

    /// Lets these keys of the recipe differ from the run that is resumed.
    ///
    /// # Errors
    /// [`Error::CannotChange`] for keys that no run can change in its middle.
    pub fn allowing(mut self, keys: Vec<String>) -> Result<Self> {
        check_allowed(&keys)?;
        self.allowed = Some(keys);
        Ok(self)
    }

    /// What is known before the first epoch: objective, teachers and their quality, hashes.
    #[must_use]
    pub fn card(&self) -> &RunCard {
        &self.card
    }

    /// What it will take beside data and teachers.
    #[must_use]
    pub fn memory(&self) -> &MemoryNeed {
        &self.memory
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
    let validation = match &data.validation {
        recipe::Validation::Split(name) => Some(name.clone()),
        recipe::Validation::Share(share) if *share == 0.0 => Some("none".to_owned()),
        recipe::Validation::Share(_) => None,
    };
    let on_bad_image = match data.on_bad_image {
        recipe::OnBadImage::Stop => OnBadImage::Stop,
        recipe::OnBadImage::Skip => OnBadImage::Skip,
    };
    let options = ReadOptions {
        format,
        classes: data.classes.clone(),
        first_label: data.first_label,
        label_column: data.label_column.clone(),
        image_column: data.image_column.clone(),
        train: data.train.clone(),
        validation,
        test: data.test.clone(),
        resize: data.resize,
        on_bad_image,
        follow_links: data.follow_links,
    };
    Ok(Dataset::open(&data.path, &options)?)
}

/// Everything that the method asks for in any epoch.
pub(crate) fn needs_of_run(method: &dyn Method, epochs: usize) -> Needs {
    (1..=epochs).map(|epoch| method.needs(epoch)).fold(Needs::default(), Needs::union)
}

/// What the teachers are asked for beside their logits: that, and what class costs are made of.
pub(crate) fn taps_of_run(method: &dyn Method, epochs: usize) -> Vec<Tap> {
    let mut taps = needs_of_run(method, epochs).teacher_taps;
    if method.own_classes() && !taps.contains(&Tap::Pooled) {
        taps.push(Tap::Pooled);
    }
    taps
}

/// The batches of an epoch (from 1) after its first `done` samples: its order, and its view of each
/// sample.
pub(crate) fn epoch_batches(
    data: &RunData,
    settings: &Settings,
    epoch: usize,
    done: usize,
) -> Result<BatchLoader> {
    // Epochs count from 1, views from 0; with a limited number they repeat.
    let view = u32::try_from(epoch - 1).unwrap_or(u32::MAX);
    let view = settings.views.map_or(view, |views| view % views.max(1));
    let augmentation = Augmentation { pad: settings.crop_padding, flip: settings.flip };
    let config = LoaderConfig::new(settings.batch_size, data.normalisation.clone())
        .with_drop_last(settings.drop_last)
        .with_views(augmentation, settings.view_seed, view);
    let order = data.train.epoch_order(settings.seed, epoch as u64);
    let left = order[done.min(order.len())..].to_vec();
    Ok(BatchLoader::new(&data.train, left, config)?)
}

pub(crate) fn settings(recipe: &Recipe, text: String) -> Settings {
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
        view_seed: recipe.data.view_seed.unwrap_or(recipe.seed),
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
            restart_after: None,
        },
        clip: train.clip_gradient_norm,
        evaluate_every: train.evaluate_every,
        checkpoint_every: train.checkpoint_every,
        // A time beyond all clocks is never.
        checkpoint_after: Duration::try_from_secs_f64(60.0 * train.checkpoint_minutes)
            .unwrap_or(Duration::MAX),
        skip_bad_batches: train.skip_bad_batches,
        recipe: text,
    }
}
