//! The teachers of a recipe, measured before a run starts or instead of one.

use faculty_data::{Dataset, Normalisation, Part, subset};

use super::data::prepare_data;
use super::{Labels, RunData, Teacher, teachers};
use crate::error::{Error, Result};
use crate::evaluate::for_each_batch;
use crate::heads::HeadsPlan;
use crate::methods::Method;
use crate::preflight::{
    ClassOrderCheck, NormalisationCheck, Predictions, Report, Soundness, TeacherProfile,
    TeacherReport, answers, check_class_order, check_normalisation,
};
use crate::recipe::{self, Recipe};
use crate::record::TeacherCard;
use crate::teacher::{TeacherBatch, TeacherSource};

/// Samples on which other settings are tried, by default.
pub const PROBE_SAMPLES: usize = 1000;

/// Measures the teachers of a recipe and tries other normalisations and class orders on each, for
/// `faculty teachers`. At most `samples` of the validation part are used, if that is given. Heads
/// are measured too if they are all trained.
///
/// # Errors
/// When data or teachers cannot be used, a teacher gives what no loss can use, or there is neither a
/// validation nor a test part. A teacher near chance is no error here.
pub fn inspect_teachers(
    recipe: &Recipe,
    dataset: &Dataset,
    samples: Option<usize>,
) -> Result<Report> {
    recipe.check(&crate::methods::specs())?;
    let recipe = &mounted_if_trained(recipe, dataset)?;
    let data = prepare_data(recipe, dataset)?;
    let classes = dataset.classes();
    let (mut loaded, mut cards) = (Vec::new(), Vec::new());
    for wanted in &recipe.teachers {
        let (teacher, card) = teachers::load_teacher(wanted, &data, classes, &[], Labels::Data)?;
        loaded.push(teacher);
        cards.push(card);
    }
    let (part, name) = part(&data).ok_or(Error::NothingToMeasureOn)?;
    let part = limited(part, samples)?;
    let (mut report, predictions) = measure(recipe, classes, &data, &part, name, &mut loaded)?
        .ok_or(Error::NothingToMeasureOn)?;
    for (at, own) in report.teachers.iter_mut().enumerate() {
        let (wanted, teacher) = (&recipe.teachers[at], &mut loaded[at]);
        if teacher.source.reads_pixels() {
            own.normalisation = Some(probe(wanted, &data, &part, teacher)?);
        }
        own.class_order = Some(class_order(&predictions, at, classes));
        own.notes.clone_from(&cards[at].notes);
    }
    Ok(report)
}

/// The recipe with its heads if they are trained: by a run, not by looking at its teachers.
pub(crate) fn mounted_if_trained(recipe: &Recipe, dataset: &Dataset) -> Result<Recipe> {
    let heads = HeadsPlan::new(recipe, dataset)?;
    Ok(if heads.is_complete() { heads.recipe() } else { recipe.clone() })
}

/// Each teacher alone and all together on the validation part (the test part where there is none);
/// stops at a teacher that knows next to nothing, unless the recipe allows it.
pub(crate) fn measure_teachers(
    recipe: &Recipe,
    classes: &[String],
    data: &RunData,
    teachers: &mut [Teacher],
) -> Result<Option<Report>> {
    let Some((part, name)) = part(data) else { return Ok(None) };
    let Some((report, predictions)) = measure(recipe, classes, data, part, name, teachers)? else {
        return Ok(None);
    };
    let refused = report.teachers.iter().position(|own| own.near_chance && !own.allow_weak);
    if let Some(at) = refused {
        // Only now, so that good teachers cost nothing more.
        let mut own = report.teachers[at].clone();
        if teachers[at].source.reads_pixels() {
            own.normalisation = Some(probe(&recipe.teachers[at], data, part, &mut teachers[at])?);
        }
        own.class_order = Some(class_order(&predictions, at, classes));
        return Err(Error::WeakTeacher {
            suspicion: own.suspicion().map(Box::new),
            only_answer: own.only_answer.and_then(|class| classes.get(class as usize).cloned()),
            teacher: own.name,
            top1: own.quality.top1,
            balanced: own.balanced,
            chance: report.chance,
            part: name,
        });
    }
    Ok(Some(report))
}

/// Tells the method and the run card what was measured.
pub(super) fn prepare(
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
        method.prepare(&profiles);
    } else if method.needs_profiles() {
        // The test part must not weigh teachers.
        return Err(Error::NeedsValidation { method: name });
    }
    Ok(())
}

/// Where teachers are measured.
fn part(data: &RunData) -> Option<(&Part, &'static str)> {
    match (&data.validation, &data.test) {
        (Some(part), _) => Some((part, "validation")),
        (None, Some(part)) => Some((part, "test")),
        (None, None) => None,
    }
}

pub(super) fn limited(part: &Part, samples: Option<usize>) -> Result<Part> {
    let count = samples.unwrap_or(part.len()).min(part.len());
    Ok(if count == part.len() { part.clone() } else { subset(part, count)? })
}

fn measure(
    recipe: &Recipe,
    classes: &[String],
    data: &RunData,
    part: &Part,
    name: &'static str,
    loaded: &mut [Teacher],
) -> Result<Option<(Report, Predictions)>> {
    let mut sources: Vec<&mut dyn TeacherSource> =
        loaded.iter_mut().map(|teacher| &mut *teacher.source as _).collect();
    let predictions = Predictions::collect(&mut sources, part, &data.normalisation)?;
    for (wanted, &soundness) in recipe.teachers.iter().zip(&predictions.soundness) {
        check_sound(&wanted.name, soundness, name)?;
    }
    let shown: Vec<String> = recipe.teachers.iter().map(teachers::shown_name).collect();
    let about: Vec<(&str, &str, bool)> = recipe
        .teachers
        .iter()
        .zip(&shown)
        .map(|(wanted, shown)| (wanted.name.as_str(), shown.as_str(), wanted.allow_weak))
        .collect();
    Ok(Report::new(name, classes, &about, &predictions).map(|report| (report, predictions)))
}

/// Stops at teachers over classes of their own that give what no loss can use; more cannot be told
/// of answers that are neither right nor wrong.
pub(crate) fn check_own_classes(data: &RunData, teachers: &mut [Teacher]) -> Result<()> {
    let Some((part, name)) = part(data) else { return Ok(()) };
    for teacher in teachers {
        let mut soundness = Soundness::default();
        for_each_batch(part, &data.normalisation, |batch| {
            let (ids, images) = (&batch.ids, &batch.images);
            let view = TeacherBatch { ids, view: TeacherBatch::PLAIN_VIEW, images };
            soundness.add(&teacher.source.outputs(&view, &[])?.logits, teacher.source.classes());
            Ok(())
        })?;
        check_sound(&teacher.name, soundness, name)?;
    }
    Ok(())
}

fn check_sound(teacher: &str, soundness: Soundness, part: &'static str) -> Result<()> {
    if soundness.unusable == 0 {
        return Ok(());
    }
    Err(Error::UnusableTeacher { teacher: teacher.to_owned(), part, soundness })
}

/// Other normalisations on some samples.
fn probe(
    wanted: &recipe::Teacher,
    data: &RunData,
    part: &Part,
    teacher: &mut Teacher,
) -> Result<NormalisationCheck> {
    let few = limited(part, Some(PROBE_SAMPLES))?;
    let student = &data.normalisation;
    let own = Normalisation {
        mean: wanted.mean.clone().unwrap_or_else(|| student.mean.clone()),
        std: wanted.std.clone().unwrap_or_else(|| student.std.clone()),
    };
    check_normalisation(&mut *teacher.source, &few, student, &own)
}

/// Another order of the classes on all samples: many classes need them.
fn class_order(predictions: &Predictions, teacher: usize, classes: &[String]) -> ClassOrderCheck {
    let said = answers(&predictions.logits[teacher], predictions.classes);
    check_class_order(&said, &predictions.labels, classes)
}
