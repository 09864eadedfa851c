//! The teachers of a recipe, measured before a run starts or instead of one.

use faculty_data::{Normalisation, Split};

use crate::error::{Result, TeacherError};
use crate::evaluate::for_each_batch;
use crate::open::{load_teacher, shown_name};
use crate::preflight::{
    ClassOrderCheck, NormalisationCheck, PrecisionCheck, Predictions, Report, answers,
    check_class_order, check_normalisation,
};
use crate::run_data::RunData;
use crate::run_data::limited;
use crate::soundness::Soundness;
use crate::source::Teacher;
use crate::source::TeacherSource;
use faculty_contract::ClassSpace;
use faculty_recipe::{self as recipe, Precision, Recipe};

/// Samples on which other settings are tried, by default.
pub const PROBE_SAMPLES: usize = 1000;

/// Measures the teachers of a recipe and tries other normalisations and class orders on each, and f32
/// on those that are run in another precision. At most `samples` of the validation split are used, if that is given.
///
/// # Errors
/// When teachers cannot be used, one gives what no loss can use, or there is neither a validation
/// nor a test split. A teacher near chance is no error here.
pub fn inspect_teachers(
    recipe: &Recipe,
    classes: &[String],
    data: &RunData,
    samples: Option<usize>,
) -> Result<Report> {
    let (mut loaded, mut cards) = (Vec::new(), Vec::new());
    for spec in &recipe.teachers {
        let (teacher, card) = load_teacher(spec, data, classes, &[], ClassSpace::Dataset)?;
        loaded.push(teacher);
        cards.push(card);
    }
    let (part, name) = part(data).ok_or(TeacherError::NothingToMeasureOn)?;
    let part = limited(part, samples)?;
    let (mut report, predictions) = measure(recipe, classes, data, &part, name, &mut loaded)?
        .ok_or(TeacherError::NothingToMeasureOn)?;
    for (at, own) in report.teachers.iter_mut().enumerate() {
        let (spec, teacher) = (&recipe.teachers[at], &mut loaded[at]);
        if !teacher.source.is_lookup() && data.tokenizer.is_none() {
            own.normalisation = Some(probe(spec, data, &part, teacher)?);
        }
        own.class_order = Some(class_order(&predictions, at, classes));
        own.precision = precision(spec, classes, data, &part, &predictions, at)?;
        own.notes.clone_from(&cards[at].notes);
    }
    Ok(report)
}

/// Each teacher alone and all together on the validation split (the test split where there is none);
/// stops at a teacher that knows next to nothing, unless the recipe allows it.
///
/// # Errors
/// When a teacher is near chance, gives what no loss can use, or cannot be run.
pub fn measure_teachers(
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
        if !teachers[at].source.is_lookup() && data.tokenizer.is_none() {
            own.normalisation = Some(probe(&recipe.teachers[at], data, part, &mut teachers[at])?);
        }
        own.class_order = Some(class_order(&predictions, at, classes));
        own.precision = precision(&recipe.teachers[at], classes, data, part, &predictions, at)?;
        return Err(TeacherError::WeakTeacher {
            suspicion: own.suspicion().or_else(|| own.precision_suspicion()).map(Box::new),
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

/// Where teachers are measured.
fn part(data: &RunData) -> Option<(&Split, &'static str)> {
    match (&data.validation, &data.test) {
        (Some(part), _) => Some((part, "validation")),
        (None, Some(part)) => Some((part, "test")),
        (None, None) => None,
    }
}

fn measure(
    recipe: &Recipe,
    classes: &[String],
    data: &RunData,
    part: &Split,
    name: &'static str,
    loaded: &mut [Teacher],
) -> Result<Option<(Report, Predictions)>> {
    let mut sources: Vec<&mut dyn TeacherSource> =
        loaded.iter_mut().map(|teacher| &mut *teacher.source as _).collect();
    let predictions = Predictions::collect(&mut sources, part, &data.views)?;
    for (spec, &soundness) in recipe.teachers.iter().zip(&predictions.soundness) {
        check_sound(&spec.name, soundness, name)?;
    }
    let shown: Vec<String> = recipe.teachers.iter().map(shown_name).collect();
    let about: Vec<(&str, &str, bool)> = recipe
        .teachers
        .iter()
        .zip(&shown)
        .map(|(spec, shown)| (spec.name.as_str(), shown.as_str(), spec.allow_weak))
        .collect();
    Ok(Report::new(name, classes, &about, &predictions).map(|report| (report, predictions)))
}

/// Stops at teachers over classes of their own that give what no loss can use; more cannot be said
/// of answers that are neither right nor wrong.
///
/// # Errors
/// When a teacher does, or cannot be run.
pub fn check_native_classes(data: &RunData, teachers: &mut [Teacher]) -> Result<()> {
    let Some((part, name)) = part(data) else { return Ok(()) };
    for teacher in teachers {
        let mut soundness = Soundness::default();
        for_each_batch(part, &data.views, |batch| {
            let logits = teacher.source.outputs(&batch.into(), &[])?.logits;
            soundness.add(&logits, teacher.source.classes());
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
    Err(TeacherError::UnusableTeacher { teacher: teacher.to_owned(), part, soundness })
}

/// Other normalisations on some samples.
fn probe(
    spec: &recipe::Teacher,
    data: &RunData,
    part: &Split,
    teacher: &mut Teacher,
) -> Result<NormalisationCheck> {
    let few = limited(part, Some(PROBE_SAMPLES))?;
    let student = &data.views.images()?.normalisation;
    let own = Normalisation {
        mean: spec.mean.clone().unwrap_or_else(|| student.mean.clone()),
        std: spec.std.clone().unwrap_or_else(|| student.std.clone()),
    };
    check_normalisation(&mut *teacher.source, &few, student, &own)
}

/// The teacher at a place of the recipe beside itself in f32, if it is run in another precision.
fn precision(
    spec: &recipe::Teacher,
    classes: &[String],
    data: &RunData,
    part: &Split,
    predictions: &Predictions,
    at: usize,
) -> Result<Option<PrecisionCheck>> {
    if spec.precision == Precision::F32 {
        return Ok(None);
    }
    let in_f32 = recipe::Teacher { precision: Precision::F32, ..spec.clone() };
    let (mut teacher, _) = load_teacher(&in_f32, data, classes, &[], ClassSpace::Dataset)?;
    let in_f32 = Predictions::collect(&mut [&mut *teacher.source], part, &data.views)?;
    let (name, own) = (spec.precision.name(), &predictions.logits[at]);
    Ok(PrecisionCheck::of(name, own, &in_f32.logits[0], &predictions.labels))
}

/// Another order of the classes on all samples: many classes need them.
fn class_order(predictions: &Predictions, teacher: usize, classes: &[String]) -> ClassOrderCheck {
    let said = answers(&predictions.logits[teacher], predictions.classes);
    check_class_order(&said, &predictions.labels, classes)
}
