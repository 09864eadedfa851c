//! From a recipe to a run that can start: everything is loaded and checked first, so that a run
//! that begins does not fail for a reason that could have been known.

use faculty_data::{
    Dataset, ExifOrientation, Format, Normalisation, OnBadImage, OnDuplicateText, ReadOptions,
    ViewKind,
};

use crate::cache;
use crate::changeable::unchangeable;
use crate::checkpoint::Identity;
use crate::compute::Compute;
use crate::error::{Error, Result};
use crate::fit::{
    check_batches, check_can_learn, check_mixing, check_parts, check_task_loss, check_updates,
    open_learning,
};
use crate::heads;
use faculty_comm::Group;
use faculty_contract::{ClassSpace, Facts, Shapes, TeacherProfile, needs_of_run};
use faculty_teachers::{
    RunData, Teacher, TeacherError, TeacherPool, check_native_classes, hold_out, load_teacher,
    measure_teachers, prepare_data, traits_of,
};

use crate::learner::{Exam, Learner, TeacherTraits, TrainingSamples};
use crate::methods::{self, Method};
use crate::objective;
use crate::preflight::{Report, TeacherReport};
use crate::recipe::{self, Recipe};
use crate::record::{RunCard, StudentResult, TeacherCard};
use crate::settings::Settings;
use crate::student_start;
use crate::tap::Tap;
use crate::task_loss::task_loss;

mod costs;
mod inspect;
mod memory;
mod notes;
mod ranking;
mod untrained;

pub(crate) use costs::class_costs;
pub use inspect::inspect_teachers;
pub use memory::MemoryNeed;
pub use ranking::{Ranked, Ranking, rank_teachers};
pub(crate) use untrained::check_untrained;

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
    /// [`faculty_teachers::cache::CachePlan::build`] come first.
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
        let mut data = prepare_data(recipe, dataset)?;
        let classes = dataset.classes().len();
        let info = methods::known(&recipe.method.name)?;
        let mut method = methods::build(&recipe.method)?;

        let (student, mut student_notes) = student_start::open(recipe, &data, classes)?;

        let whole = needs_of_run(method.as_ref(), recipe.train.epochs);
        check_batches(info.spec.name, &whole, &recipe.train)?;
        if let Some(first) = method.setup().restart_after
            && first >= recipe.train.epochs
        {
            let (method, epochs) = (info.spec.name, recipe.train.epochs);
            return Err(Error::NoSecondTraining { method, first, epochs });
        }
        if method.setup().keeps_images && data.tokenizer.is_some() {
            return Err(Error::ImagesOnly { method: info.spec.name });
        }
        let unlabelled = data.train.len() - data.train.labelled_len();
        if method.setup().needs_labels && unlabelled > 0 {
            return Err(Error::NeedsLabels { method: info.spec.name, unlabelled });
        }
        check_task_loss(info.spec.name, &method.setup(), &recipe.train)?;
        check_mixing(info.spec.name, &method.setup(), &recipe.data)?;
        let task = task_loss(&recipe.train, &data.train, classes)?;
        let class_space = method.setup().class_space;
        let exam = match method.setup().exam_share {
            0.0 => None,
            share => Some(hold_out(&mut data, share, recipe)?),
        };
        if whole.learning_teachers {
            check_can_learn(info.spec.name, recipe)?;
        }
        let mut teachers = Vec::new();
        let mut cards = Vec::new();
        let uses_teachers = recipe.method.uses_teachers(&info.spec);
        let loaded = match &recipe.cache {
            Some(_) if uses_teachers => cache::open(recipe, dataset, data.clone())?,
            _ => {
                let own = cache::taps_of_run(method.as_ref(), recipe.train.epochs);
                let taps = pool.taps(&own).to_vec();
                let load = |spec: &recipe::Teacher| match pool.get(&spec.name, class_space) {
                    Some(known) => Ok(known),
                    None => load_teacher(spec, &data, dataset.classes(), &taps, class_space),
                };
                let used = recipe.teachers.iter().filter(|_| uses_teachers);
                used.map(load).collect::<std::result::Result<_, TeacherError>>()?
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
        method.prepare(Facts::Maps(&Shapes::of(&student, &traits, recipe.train.batch_size)));
        let whole = needs_of_run(method.as_ref(), recipe.train.epochs);
        check_parts(info.spec.name, &whole, &student, &teachers, &cards)?;
        let names: Vec<String> = teachers.iter().map(|teacher| teacher.name.clone()).collect();
        let report = match class_space {
            ClassSpace::Dataset => pool.report(&names, || {
                measure_teachers(recipe, dataset.classes(), &data, &mut teachers)
            })?,
            ClassSpace::Teacher => {
                check_native_classes(&data, &mut teachers)?;
                None
            }
        };
        let name = info.spec.name;
        prepare(name, method.as_mut(), &data, report.as_ref(), &mut cards)?;
        let mut kept = 0;
        if recipe.cache.is_none() {
            (teachers, kept) = pool.keep(teachers, &cards, &data, recipe.data.views, class_space);
        }
        if class_space == ClassSpace::Teacher {
            let costs = class_costs(recipe, dataset.classes(), &data, &mut teachers)?;
            for (card, cost) in cards.iter_mut().zip(&costs) {
                card.classes = format!("{} classes of its own", cost.teacher_classes());
            }
            method.prepare(Facts::ClassCosts(&costs));
        }

        let traits = traits_at(&teachers, &whole.teacher_taps);
        let mut student = method.student(student, &traits, recipe.seed)?;
        student_notes.extend(student_start::freeze(&mut student, &recipe.student.freeze)?);
        let shapes = Shapes::of(&student, &traits, recipe.train.batch_size);
        methods::check_combination(&recipe.method, &shapes, recipe.train.epochs)?;
        method.prepare(Facts::Shapes(&shapes));
        let compute = Compute::of(recipe.train.device)?;
        let mut learning = Vec::new();
        if whole.learning_teachers {
            for (spec, card) in recipe.teachers.iter().zip(&cards) {
                learning.push(open_learning(info.spec.name, spec, card, &data, classes)?);
            }
        }
        let normalisation = match &data.views.kind {
            ViewKind::Images(views) => views.normalisation.clone(),
            _ => Normalisation { mean: Vec::new(), std: Vec::new() },
        };
        let recipe_text = recipe.to_toml()?;
        let mut settings = Settings { task, ..Settings::of(recipe, recipe_text) };
        settings.schedule.restart_after = method.setup().restart_after;
        student_notes.extend(notes::student_note(&settings));
        let identity = Identity::of(recipe, &cards, dataset.fingerprint())?;
        let nothing = StudentResult { epoch: 0, validation: None, test: None };
        let card = RunCard {
            format: 1,
            faculty: env!("CARGO_PKG_VERSION").to_owned(),
            kernels: settings.precision.kernels().to_owned(),
            precision: settings.precision.name().to_owned(),
            seed: recipe.seed,
            method: info.spec.name.to_owned(),
            objective: objective::of_run(
                method.as_ref(),
                teachers.len(),
                &settings.task,
                dataset.classes(),
            ),
            data: dataset.name().to_owned(),
            data_fingerprint: dataset.fingerprint(),
            classes: dataset.classes().to_vec(),
            mean: normalisation.mean,
            std: normalisation.std,
            max_tokens: data.tokenizer.as_ref().map(|own| own.max_tokens()),
            student: student.name().to_owned(),
            student_parameters: student.graph().parameter_count(),
            student_notes,
            training_notes: notes::training_notes(&settings, &whole, &data.views),
            teachers: cards,
            ensemble: report.as_ref().map(|report| report.ensemble),
            diversity: report.and_then(|report| report.diversity),
            last: nothing,
            best: nothing,
            early_stop: None,
            changes: Vec::new(),
            seconds: 0.0,
        };
        let batch_size = recipe.train.batch_size;
        let learner = Learner::new(student, method, &traits, batch_size, recipe.seed, &compute)
            .with_samples(TrainingSamples::of(&data.train));
        let mut learner = settings.equip(learner);
        check_updates(info.spec.name, &learner, &settings)?;
        if let Some(exam) = exam {
            learner = learner.with_teachers(learning, Exam::new(&exam, &data.views)?);
        }
        let memory = MemoryNeed::of(&learner, &settings, kept);
        memory.check(memory::available())?;
        Ok(Self { learner, teachers, data, settings, card, identity, allowed: None, memory })
    }

    /// Lets these keys of the recipe differ from the run that is resumed.
    ///
    /// # Errors
    /// [`Error::CannotChange`] for keys that no run can change in its middle.
    pub fn allowing(mut self, keys: Vec<String>) -> Result<Self> {
        if let Some(key) = unchangeable(&keys) {
            return Err(Error::CannotChange { key: key.clone() });
        }
        self.allowed = Some(keys);
        Ok(self)
    }

    /// Trains it together with the other processes of `group`, each of which has checked the same recipe
    /// on the same data: every process computes its part of each batch, and the result is that of one
    /// process but for the rounding of sums. The first one writes the run's files, which all must see.
    ///
    /// # Errors
    /// [`Error::OneProcess`] when the method compares samples of a batch with each other, or something
    /// else needs a whole batch in one place.
    pub fn with_group(mut self, group: Group) -> Result<Self> {
        if group.is_alone() {
            return Ok(self);
        }
        let refuse = |what: String, why: &'static str| {
            Err(Error::OneProcess { what, processes: group.size(), why })
        };
        if !self.learner.averages_samples() {
            return refuse(
                format!("method `{}`", self.card.method),
                "its loss of a batch is not the mean of the losses of single samples, so that no \
                 process can compute its part alone",
            );
        }
        if !self.learner.is_on_kernels() {
            return refuse(
                "a student on another device than the CPU".to_owned(),
                "batch norm there knows only its own part of a batch",
            );
        }
        if self.settings.task.class_weights().is_some() {
            return refuse(
                "a student with `train.class_weights`".to_owned(),
                "the task loss divides by the weights of all labels of a batch",
            );
        }
        if self.data.train.labelled_len() < self.data.train.len() {
            return refuse(
                "a student on samples without a label".to_owned(),
                "the task loss divides by the labels of a batch, which may have any number of them",
            );
        }
        if self.data.views.mixing().is_some() {
            return refuse(
                "a student on mixed samples".to_owned(),
                "one part of a batch may have mixed samples and another none",
            );
        }
        self.learner = self.learner.with_group(group.clone());
        self.settings.group = group;
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

/// Tells the method and the run card what was measured.
fn prepare(
    name: &'static str,
    method: &mut dyn Method,
    data: &RunData,
    report: Option<&Report>,
    cards: &mut [TeacherCard],
) -> Result<()> {
    let profiles: Vec<TeacherProfile> =
        report.iter().flat_map(|report| &report.teachers).map(TeacherReport::profile).collect();
    let qualities = report.iter().flat_map(|report| &report.teachers).map(|own| own.quality);
    for ((card, profile), quality) in cards.iter_mut().zip(&profiles).zip(qualities) {
        card.quality = Some(quality);
        card.temperature = Some(profile.temperature);
        card.class_accuracy = Some(profile.class_accuracy.clone());
    }
    if data.validation.is_some() {
        method.prepare(Facts::Profiles(&profiles));
    } else if method.setup().needs_profiles {
        // The test split must not weigh teachers.
        return Err(Error::NeedsValidation { method: name });
    }
    Ok(())
}

/// Whether a recipe's images are turned as their EXIF orientation says.
pub(crate) fn exif_orientation(data: &recipe::Data) -> ExifOrientation {
    match data.exif_orientation {
        None | Some(recipe::ExifOrientation::Apply) => ExifOrientation::Apply,
        Some(recipe::ExifOrientation::Ignore) => ExifOrientation::Ignore,
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
    let on_duplicate_text = match data.on_duplicate_text {
        None | Some(recipe::OnDuplicateText::Keep) => OnDuplicateText::Keep,
        Some(recipe::OnDuplicateText::Drop) => OnDuplicateText::Drop,
    };
    let exif_orientation = exif_orientation(data);
    let options = ReadOptions {
        format,
        classes: data.classes.clone(),
        first_label: data.first_label,
        label_column: data.label_column.clone(),
        image_column: data.image_column.clone(),
        text_column: data.text_column.clone(),
        text_pair_column: data.text_pair_column.clone(),
        train: data.train.clone(),
        validation,
        test: data.test.clone(),
        resize: data.resize,
        exif_orientation,
        on_bad_image,
        on_duplicate_text,
        unlabelled: data.unlabelled == recipe::Unlabelled::Use,
        follow_links: data.follow_links,
    };
    Ok(Dataset::open(&data.path, &options)?)
}
