//! How far teachers' classes are from the data's, from files or from the teachers themselves.

use crate::class_cost::ClassCost;
use crate::error::{Error, Result};
use crate::recipe::{self, Recipe, Sampling};
use crate::settings::{Settings, epoch_batches};
use crate::tap::Tap;
use faculty_teachers::{FrozenClassifier, RunData, Teacher, TeacherBatch, same_classes};

/// One a teacher of the recipe, which are given in its order.
///
/// # Errors
/// When a teacher has neither a pooled linear classifier nor a file, a file does not fit, or a
/// teacher cannot be run.
pub(crate) fn class_costs(
    recipe: &Recipe,
    classes: &[String],
    data: &RunData,
    teachers: &mut [Teacher],
) -> Result<Vec<ClassCost>> {
    // Before anything is computed.
    let classifiers: Vec<Option<FrozenClassifier>> = recipe
        .teachers
        .iter()
        .zip(teachers.iter())
        .map(|(spec, teacher)| classifier(spec, teacher))
        .collect::<Result<_>>()?;
    let mut means = means(recipe, classes.len(), data, teachers, &classifiers)?.into_iter();
    let mut costs = Vec::new();
    for ((spec, teacher), classifier) in recipe.teachers.iter().zip(&*teachers).zip(classifiers) {
        let own = teacher.source.classes();
        let means = means.next().unwrap_or_default();
        let values = match (&spec.class_cost, classifier) {
            (Some(path), _) => ClassCost::read(path, own, classes.len())?,
            (None, Some(classifier)) => {
                let rows: Vec<f64> = classifier.weight.iter().map(|&w| f64::from(w)).collect();
                ClassCost::cosines(&rows, &means, rows.len() / own.max(1))
            }
            (None, None) => unreachable!("a teacher without either was refused above"),
        };
        let same = same_classes(spec, data, classes, own)?;
        costs.push(ClassCost::new(own, values, &same));
    }
    Ok(costs)
}

/// The classifier of a teacher without a file.
fn classifier(spec: &recipe::Teacher, teacher: &Teacher) -> Result<Option<FrozenClassifier>> {
    if spec.class_cost.is_some() {
        return Ok(None);
    }
    let classifier = teacher.source.classifier();
    match (classifier, teacher.source.tap_shape(Tap::Pooled)) {
        (Some(classifier), Some(_)) => Ok(Some(classifier)),
        _ => Err(Error::NoClassCost { teacher: spec.name.clone() }),
    }
}

/// Of each teacher with a classifier its mean pooled vector of each class, `[classes, channels]`,
/// over the first view of the training split, which a cache holds too. A class without samples is a
/// vector of zeros.
fn means(
    recipe: &Recipe,
    classes: usize,
    data: &RunData,
    teachers: &mut [Teacher],
    classifiers: &[Option<FrozenClassifier>],
) -> Result<Vec<Vec<f64>>> {
    let mut all: Vec<Vec<f64>> = vec![Vec::new(); teachers.len()];
    if classifiers.iter().all(Option::is_none) {
        return Ok(all);
    }
    let mut counts = vec![0_usize; classes];
    let data = &RunData { train: data.train.labelled(), ..data.clone() };
    // Every sample that has a label, in the order of the first epoch.
    let own = Settings::of(recipe, String::new());
    let settings = Settings { drop_last: false, sampling: Sampling::Shuffled, ..own };
    let mut loader = epoch_batches(data, &settings, 1, 0)?;
    while let Some(batch) = loader.next() {
        let batch = batch?;
        let view = TeacherBatch::from(&batch);
        batch.labels.iter().for_each(|&label| counts[label as usize] += 1);
        let teachers = teachers.iter_mut().zip(classifiers).zip(&mut all);
        for ((teacher, _), sums) in teachers.filter(|((_, classifier), _)| classifier.is_some()) {
            let pooled = teacher.source.outputs(&view, &[Tap::Pooled])?.maps.remove(0);
            let channels = pooled.len() / batch.len();
            sums.resize(classes * channels, 0.0);
            for (row, &label) in pooled.chunks_exact(channels).zip(&batch.labels) {
                let sums = &mut sums[label as usize * channels..][..channels];
                sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
            }
        }
        loader.recycle(batch);
    }
    for sums in &mut all {
        let channels = sums.len() / classes.max(1);
        for (sums, &count) in sums.chunks_exact_mut(channels.max(1)).zip(&counts) {
            sums.iter_mut().for_each(|sum| *sum /= count.max(1) as f64);
        }
    }
    Ok(all)
}
