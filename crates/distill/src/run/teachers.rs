//! Teachers of a recipe: loaded and checked against the method.

use faculty_data::Normalisation;
use faculty_nets::weights::file_hash;
use faculty_nets::{MapShape, Network};

use super::Teacher;
use super::data::check_channels;
use crate::error::{Error, Result};
use crate::methods::Needs;
use crate::recipe;
use crate::record::TeacherCard;
use crate::tap::Tap;
use crate::teacher::{NetworkTeacher, Renormalise};

pub(crate) fn load_teacher(
    wanted: &recipe::Teacher,
    input: MapShape,
    student: &Normalisation,
    classes: usize,
    taps: &[Tap],
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
        temperature: None,
        class_accuracy: None,
    };
    let source = Box::new(NetworkTeacher::new(&network, renormalise, taps));
    Ok((Teacher { name: wanted.name.clone(), source }, card))
}

/// Whether the recipe's batches are such as the method needs.
pub(super) fn check_batches(
    method: &'static str,
    needs: &Needs,
    train: &recipe::Train,
) -> Result<()> {
    let unfit = |what: String, mend: String| Err(Error::Batches { method, what, mend });
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

pub(super) fn check_parts(
    method: &'static str,
    needs: &Needs,
    student: &Network,
    teachers: &[Teacher],
) -> Result<()> {
    let missing = |what: String, who: String| Err(Error::MissingPart { method, what, who });
    for &tap in needs.student_taps.iter().chain(&needs.connector_taps) {
        if tap.value(student.graph()).is_none() {
            return missing(described(tap), "the student".to_owned());
        }
    }
    for teacher in teachers {
        let who = || format!("teacher `{}`", teacher.name);
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

fn described(tap: Tap) -> String {
    match tap {
        Tap::Feature(index) => format!("a feature map f{index}"),
        Tap::Map => "a last feature map".to_owned(),
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
        let wanted =
            "method `ckd` needs batches of 3 samples at least, to compare them with each other";
        assert_eq!(error.to_string(), wanted);
        assert_eq!(error.hint().unwrap(), "set `train.batch_size = 3`");
        let wide = Needs { full_batches: true, ..Needs::default() };
        let error = check_batches("semckd", &wide, &train).unwrap_err();
        assert_eq!(error.hint().unwrap(), "set `train.drop_last = true`");
        let full = recipe::Train { drop_last: true, ..train };
        assert!(check_batches("semckd", &wide, &full).is_ok());
    }
}
