//! SimKD: the student takes the teacher's classifier and learns the map in front of it.
//!
//! Chen, Mei, Zhang, Wang, Feng, Chen, "Knowledge distillation with the reused teacher classifier",
//! CVPR 2022, <https://arxiv.org/abs/2203.14001>.
//!
//! ```text
//! P(F)  = Conv1×1 to c_t/2, BN, ReLU, Conv3×3, BN, ReLU, Conv1×1 to c_t, BN, ReLU
//! L     = β mean (P(F_S) - F_T)²                    the larger map average-pooled to the other's size
//! z_S   = W_T pool(P(F_S)) + b_T                   the teacher's classifier, frozen
//! ```
//! The student of the run is this whole network: its body, P, and the classifier. It is what is
//! evaluated and delivered, under a name like `resnet8+simkd256` (a projector to 256 channels), which
//! `faculty evaluate` and recipes take as any other; see [`faculty_nets::Projection`].
//! # Shapes
//! last maps `[batch, channels, height, width]`.
//! # Gradient
//! through the student's body and P. The classifier gets none, nor weight decay.
//! # Paper and code
//! the projector and the single term are the paper's: neither labels nor outputs take part. The
//! convolutions of P start as the release's do: uniform in ±1/√fan-in, PyTorch's default. β = 1 as in
//! the release's commands for CIFAR-100 and ImageNet; the mean over all values makes small gradients,
//! so that it takes many epochs, and short runs gain from a larger β. Batch norm at the end of P has running statistics as everywhere, since P is part of the student.
//! # Limits
//! one teacher, with a pooled linear classifier; the student's own classifier is not used. The
//! delivered network is larger than the student by P and the teacher's classifier. The accuracy in
//! training mode is that of the classifier on P with the batch's statistics. P takes time to learn: in 6
//! epochs on the demo's data it stays below plain training (80.75 and 80.3 in PyTorch against 84.8).

use faculty_nets::{Classifier, Network, Projection};

use crate::shared::features::matched;
use crate::shared::layers::resize;
use crate::shared::options::{number, option};
use crate::{Loss, Method, MethodInfo, Needs, Status, Step, Term};
use faculty_contract::{Setup, TeacherTraits};
use faculty_nets::Tap;
use faculty_recipe::{MethodSpec, OptionValue, Range};

/// Constants of [`SimKd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SimKdConfig {
    /// Weight β of the term, > 0. Default 1.
    pub beta: f64,
}

impl Default for SimKdConfig {
    fn default() -> Self {
        Self { beta: 1.0 }
    }
}

/// Distillation with the teacher's classifier.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimKd {
    config: SimKdConfig,
}

impl SimKd {
    /// With these constants.
    #[must_use]
    pub const fn new(config: SimKdConfig) -> Self {
        Self { config }
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "simkd",
        help: "the teacher's classifier behind the student, which learns the map in front of it",
        options: &[option(
            "beta",
            OptionValue::Number(1.0),
            Range::above(0.0),
            "SimKD released code",
            "weight of the only term; a larger one is for short runs",
        )],
        min_teachers: 1,
        max_teachers: Some(1),
    },
    paper: "Chen et al., CVPR 2022, arXiv 2203.14001",
    status: Status::Exact,
    build: |options| Box::new(SimKd::new(SimKdConfig { beta: number(options, "beta") })),
};

impl Method for SimKd {
    fn setup(&self) -> Setup {
        Setup { has_task_loss: false, averages_samples: true, ..Setup::label_free() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_classifiers: true, ..matched(vec![Tap::Map]) }
    }

    fn student(
        &self,
        student: Network,
        teachers: &[TeacherTraits],
        seed: u64,
    ) -> faculty_nets::Result<Network> {
        let (graph, teacher) = (student.graph(), &teachers[0]);
        let shape = Tap::Map.value(graph).map(|map| graph.shape(map));
        let parts = shape.zip(teacher.classifier.as_ref());
        let (shape, classifier) =
            parts.expect("the run checks that both have what `needs` asks for");
        let projection = Projection::between(shape, teacher.taps[&Tap::Map]);
        let classifier = Classifier { weight: &classifier.weight, bias: &classifier.bias };
        student.reusing(classifier, projection, seed)
    }

    fn loss(&self, step: &Step) -> Loss {
        let (projected, teacher) = (step.student_maps[0].clone(), step.teacher_maps[0][0].clone());
        let [_, _, height, width] = projected.dims();
        let value = (projected - resize(teacher, height, width)).square().mean();
        let terms = vec![Term { name: "map", weight: self.config.beta, value }];
        Loss::new(terms)
    }

    fn objective(&self, _teachers: usize) -> String {
        let beta = self.config.beta;
        format!("{beta} MSE(P(F_S), F_T), classified by the teacher's frozen classifier")
    }
}
