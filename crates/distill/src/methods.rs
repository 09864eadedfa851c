//! Distillation methods: one file each, one row each in [`METHODS`].
//!
//! A method says what it needs and computes loss terms by name; the trainer provides the rest and
//! knows no method by name.

use burn::Tensor;
use burn::tensor::Int;
use faculty_nets::{Graph, MapShape};

mod aver;
mod ca_mkd;
mod ce;
mod kd;
mod registry;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod properties;

pub use aver::{Aver, AverConfig};
pub use ca_mkd::{CaMkd, CaMkdConfig};
pub use ce::Ce;
pub use kd::{Kd, KdConfig};
pub use registry::{METHODS, MethodInfo, Status, find, specs};

/// Where a released code multiplies the distillation terms by another constant than "weights sum
/// to 1", this chooses between the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Weights sum to 1: equal strength at equal α for every method.
    #[default]
    Unit,
    /// The factor of the authors' released code.
    Official,
}

/// What a method reads in one epoch. The trainer computes nothing that is not asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Teacher logits.
    pub teacher_logits: bool,
    /// Each teacher's last map before pooling, and the student's through its connector.
    pub teacher_maps: bool,
    /// Each teacher's classifier.
    pub teacher_classifiers: bool,
}

impl Needs {
    /// Both together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            teacher_logits: self.teacher_logits || other.teacher_logits,
            teacher_maps: self.teacher_maps || other.teacher_maps,
            teacher_classifiers: self.teacher_classifiers || other.teacher_classifiers,
        }
    }
}

/// One teacher's frozen classifier: weight `[classes, channels]`, bias `[classes]`.
#[derive(Clone, Debug)]
pub struct ClassifierTensors {
    /// `[classes, channels]`.
    pub weight: Tensor<2>,
    /// `[classes]`.
    pub bias: Tensor<1>,
}

/// Everything a method sees of one batch. Only `student_logits` and `connected_maps` carry
/// gradients.
#[derive(Clone, Debug)]
pub struct Step {
    /// Current epoch, from 1.
    pub epoch: usize,
    /// `[batch]`, in `0..classes`.
    pub labels: Tensor<1, Int>,
    /// `[batch, classes]`.
    pub student_logits: Tensor<2>,
    /// The student's map through each of [`Method::connectors`], `[batch, channels, height, width]`.
    pub connected_maps: Vec<Tensor<4>>,
    /// `[teachers, batch, classes]`; absent unless asked for.
    pub teacher_logits: Option<Tensor<3>>,
    /// One `[batch, channels, height, width]` a teacher; empty unless asked for.
    pub teacher_maps: Vec<Tensor<4>>,
    /// One a teacher; empty unless asked for.
    pub teacher_classifiers: Vec<ClassifierTensors>,
}

impl Step {
    /// Teacher logits of a method that asked for them.
    pub(crate) fn teacher_logits(&self) -> &Tensor<3> {
        self.teacher_logits.as_ref().expect("the trainer provides what `needs` asks for")
    }
}

/// One named part of a loss; the loss is `Σ weight · value`.
#[derive(Clone, Debug)]
pub struct Term {
    /// Name in logs: `task`, `kd`, `intermediate`.
    pub name: &'static str,
    /// Its constant.
    pub weight: f64,
    /// Its value before weighting, `[1]`.
    pub value: Tensor<1>,
}

/// Weights that a method gave to its teachers, for the log.
#[derive(Clone, Debug)]
pub struct TeacherWeights {
    /// Where they act: `kd` or `intermediate`.
    pub level: &'static str,
    /// `[teachers, batch]`.
    pub weights: Tensor<2>,
}

/// A method's result for one batch.
#[derive(Clone, Debug)]
pub struct Loss {
    /// Parts of the loss.
    pub terms: Vec<Term>,
    /// Teacher weights at each level that has them.
    pub teacher_weights: Vec<TeacherWeights>,
}

/// A distillation method with its constants.
pub trait Method: Send + std::fmt::Debug {
    /// What the method reads in `epoch` (from 1).
    fn needs(&self, epoch: usize) -> Needs;

    /// Small trainable networks on the student's last map, one a teacher, trained with the student.
    /// `teachers` are the shapes of the teachers' last maps.
    fn connectors(&self, student: MapShape, teachers: &[MapShape]) -> Vec<Graph> {
        let _ = (student, teachers);
        Vec::new()
    }

    /// The loss of one batch.
    fn loss(&self, step: &Step) -> Loss;

    /// The objective in one line with all constants, for the run log; `teachers` is K.
    fn objective(&self, teachers: usize) -> String;
}
