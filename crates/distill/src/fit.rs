//! Whether batches, student and teachers are such as a method needs.

use faculty_contract::Setup;
use faculty_learner::{Learner, LearningTeacher};
use faculty_nets::{Network, Tap};
use faculty_recipe as recipe;
use faculty_records::run::TeacherCard;
use faculty_teachers::{RunData, Teacher, learnable_network};

use crate::error::{Error, Result};
use crate::methods::Needs;
use crate::settings::Settings;

/// Whether the teachers are of a kind that a method can train.
pub(crate) fn check_can_learn(method: &'static str, recipe: &recipe::Recipe) -> Result<()> {
    let refuse =
        |what: String, fix: &str| Err(Error::FixedTeacher { method, what, fix: fix.to_owned() });
    if recipe.cache.is_some() {
        return refuse("what a cache says".to_owned(), "leave out `[cache]`");
    }
    for spec in &recipe.teachers {
        if spec.onnx.is_some() || spec.logits.is_some() {
            let what = format!("teacher `{}`, which is no network of this program", spec.name);
            return refuse(what, "give the teacher as `network` and `weights`");
        }
    }
    Ok(())
}

/// A network of a recipe once more, to be trained; `card` is that of the teacher as it was loaded.
pub(crate) fn open_learning(
    method: &'static str,
    spec: &recipe::Teacher,
    card: &TeacherCard,
    data: &RunData,
    classes: usize,
) -> Result<LearningTeacher> {
    if !card.classes.is_empty() {
        let what = format!("teacher `{}` behind a class map", spec.name);
        let fix = "give a teacher that has the data's classes in the data's order".to_owned();
        return Err(Error::FixedTeacher { method, what, fix });
    }
    let (network, input) = learnable_network(spec, data, classes)?;
    Ok(LearningTeacher::new(network, input))
}

/// Whether the recipe's batches are such as the method needs.
pub(crate) fn check_batches(
    method: &'static str,
    needs: &Needs,
    train: &recipe::Train,
) -> Result<()> {
    let unfit = |what: String, fix: String| Err(Error::Batches { method, what, fix });
    if train.batch_size < needs.min_batch {
        let least = needs.min_batch;
        let what = format!("batches of {least} samples at least, to compare them with each other");
        return unfit(what, format!("train.batch_size = {least}"));
    }
    if needs.full_batches && !train.drop_last {
        let what = "full batches, since its trained parts are as wide as a batch".to_owned();
        return unfit(what, "train.drop_last = true".to_owned());
    }
    Ok(())
}

/// Whether the method can do with one update from several batches.
pub(crate) fn check_updates(
    method: &'static str,
    learner: &Learner,
    settings: &Settings,
) -> Result<()> {
    if settings.accumulate == 1 || learner.method_after_step().is_none() {
        return Ok(());
    }
    let what = "an update after each batch, since it then tries steps on that batch".to_owned();
    Err(Error::Batches { method, what, fix: "train.accumulate = 1".to_owned() })
}

/// Whether the method has the cross-entropy against the labels that keys of the recipe are about.
pub(crate) fn check_task_loss(
    method: &'static str,
    setup: &Setup,
    train: &recipe::Train,
) -> Result<()> {
    let given = [
        ("train.label_smoothing", train.label_smoothing > 0.0),
        ("train.class_weights", train.class_weights.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((key, _)) if !setup.has_task_loss => Err(Error::NoTaskLoss { method, key }),
        _ => Ok(()),
    }
}

/// Whether the method can do with samples that are mixed from two, if the recipe mixes them.
pub(crate) fn check_mixing(method: &'static str, setup: &Setup, data: &recipe::Data) -> Result<()> {
    let given = [("data.mixup", data.mixup.is_some()), ("data.cutmix", data.cutmix.is_some())];
    match given.into_iter().find(|(_, given)| *given) {
        Some((key, _)) if setup.needs_one_label => Err(Error::OneLabel { method, key }),
        _ => Ok(()),
    }
}

/// Whether student and teachers have what the method reads of them.
pub(crate) fn check_parts(
    method: &'static str,
    needs: &Needs,
    student: &Network,
    teachers: &[Teacher],
    cards: &[TeacherCard],
) -> Result<()> {
    let missing = |what: String, who: String| Err(Error::MissingPart { method, what, who });
    for &tap in needs.student_taps.iter().chain(&needs.projector_taps) {
        if tap.value(student.graph()).is_none() {
            return missing(described(tap), "the student".to_owned());
        }
    }
    for (k, teacher) in teachers.iter().enumerate() {
        let head = cards.get(k).is_some_and(|card| card.source == "head");
        let what = if head { ", a head inside a network," } else { "" };
        let who = || format!("teacher `{}`{what}", teacher.name);
        for &tap in &needs.teacher_taps {
            if teacher.source.tap_shape(tap).is_none() {
                return missing(described(tap), who());
            }
        }
        if needs.teacher_classifiers && teacher.source.classifier().is_none() {
            return missing("a pooled linear classifier".to_owned(), who());
        }
    }
    Ok(())
}

pub(crate) fn described(tap: Tap) -> String {
    match tap {
        Tap::Feature(index) => format!("a feature map f{index}"),
        Tap::BeforeActivation(index) => format!("a feature map f{index} before its activation"),
        Tap::Map | Tap::LastFeature => "a last feature map".to_owned(),
        Tap::Pooled => "a pooled vector".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_that_a_method_cannot_use_are_refused_with_a_way_out() {
        let train = recipe::Train { batch_size: 1, drop_last: false, ..recipe::Train::default() };
        let compares = Needs { min_batch: 3, ..Needs::default() };
        let error = check_batches("ckd", &compares, &train).unwrap_err();
        let spec =
            "method `ckd` needs batches of 3 samples at least, to compare them with each other";
        assert_eq!(error.to_string(), spec);
        assert_eq!(error.hint().unwrap(), "set `train.batch_size = 3`");
        let wide = Needs { full_batches: true, ..Needs::default() };
        let error = check_batches("semckd", &wide, &train).unwrap_err();
        assert_eq!(error.hint().unwrap(), "set `train.drop_last = true`");
        let full = recipe::Train { drop_last: true, ..train };
        assert!(check_batches("semckd", &wide, &full).is_ok());
    }
}
