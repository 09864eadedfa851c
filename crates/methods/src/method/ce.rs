//! CE: plain training on the labels, without any teacher.
//!
//! ```text
//! L = mean_b CE_b(z_S)
//! ```
//! # Shapes
//! student logits `[batch, classes]`, labels `[batch]`; the loss is a scalar.
//! # Gradient
//! through the student.
//! # Paper and code
//! none: the baseline beside every other method.
//! # Limits
//! teachers in the recipe are not used.

use crate::{Loss, Method, MethodInfo, Needs, Setup, Status, Step, Term};
use faculty_recipe::MethodSpec;

/// Plain cross-entropy training.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ce;

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "ce",
        help: "plain training on the labels; teachers are not used",
        options: &[],
        min_teachers: 0,
        max_teachers: Some(0),
    },
    paper: "-",
    status: Status::Exact,
    build: |_| Box::new(Ce),
};

impl Method for Ce {
    fn setup(&self) -> Setup {
        Setup { averages_samples: true, ..Setup::label_free() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs::default()
    }

    fn loss(&self, step: &Step) -> Loss {
        Loss::new(vec![Term { name: "task", weight: 1.0, value: step.task_loss() }])
    }

    fn objective(&self, _teachers: usize) -> String {
        "CE".to_owned()
    }
}
