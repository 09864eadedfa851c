//! What `[train]` can ask for beside the published recipes: each changes what it is about and
//! nothing else, and a run that is resumed in its middle is the same run.

use faculty_distill::losses::TaskLoss;
use faculty_distill::methods::METHODS;
use faculty_distill::recipe::Recipe;
use faculty_distill::{CheckedRun, Error};

use crate::data::{CLASSES, dataset};
use crate::finite_differences::{Setup, class_costs, profiles};
use crate::resume::resumed_equals_undisturbed;
use crate::runs::{recipe, run, student};

fn refused(recipe: &Recipe) -> Error {
    CheckedRun::new(recipe, &dataset()).map(drop).unwrap_err()
}

#[test]
fn only_the_task_term_is_smoothed_and_weighted() {
    let other =
        TaskLoss::default().with_label_smoothing(0.2).with_class_weights(vec![0.5, 1.0, 3.0]);
    for info in METHODS {
        let name = info.spec.name;
        let count = [2, 1, 0].into_iter().find(|&count| info.spec.takes(count)).unwrap();
        let record = |task: TaskLoss| {
            let taps = info.with_defaults().needs(2).teacher_taps;
            let setup = Setup::new(count as u64, &taps);
            let mut method = info.with_defaults();
            method.prepare(&profiles(CLASSES, count));
            method.prepare_classes(class_costs(CLASSES, count));
            setup.learner(method).with_task_loss(task).gradients(&setup.batch())
        };
        let (plain, smoothed) = (record(TaskLoss::default()), record(other.clone()));
        assert_eq!(plain.teacher_weights, smoothed.teacher_weights, "{name}");
        for (a, b) in plain.terms.iter().zip(&smoothed.terms) {
            let is_task = a.name == "task" && info.with_defaults().setup().has_task_loss;
            assert_eq!(a.value != b.value, is_task, "{name}: {a:?} and {b:?}");
        }
    }
}

#[test]
fn label_smoothing_and_class_weights_are_told_and_resume_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let sets = ["train.label_smoothing=0.1", "train.class_weights=[1.0, 2.0, 0.5]"];
    let smoothed = recipe(folder.path(), "ca-mkd", 2, &sets);
    let parts = resumed_equals_undisturbed(&smoothed, folder.path());
    let plain = folder.path().join("plain");
    run(&recipe(folder.path(), "ca-mkd", 2, &[]), &plain).unwrap();
    assert!(student(&parts) != student(&plain));
    let card = CheckedRun::new(&smoothed, &dataset()).unwrap().card().clone();
    let told = "; CE of labels with label smoothing 0.1 and class weights from 0.500 (bottom) to \
                2.000 (middle)";
    assert!(card.objective.ends_with(told), "{}", card.objective);
}

#[test]
fn a_task_loss_that_cannot_be_is_refused_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let error = refused(&recipe(folder.path(), "ce", 0, &["train.class_weights=[1.0, 2.0]"]));
    assert!(matches!(error, Error::ClassWeights { given: 2, classes: 3 }), "{error}");
    assert!(error.hint().unwrap().contains("give 3 numbers"));
    let error = refused(&recipe(folder.path(), "ckd", 1, &["train.label_smoothing=0.1"]));
    assert!(error.to_string().contains("`ckd` has no cross-entropy"), "{error}");
    assert!(error.hint().unwrap().contains("train.label_smoothing"));
}
