//! What a method computes of one batch.

use burn::Tensor;
use faculty_data::MixedLabels;
use faculty_nets::FrozenClassifier;

use crate::losses::maps::MapValues;
use crate::parts::Write;

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

/// A method's result for one batch: the loss, what it shows of the teachers' weights, and what it
/// remembers of the batch.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Loss {
    /// Parts of the loss, one at least.
    pub terms: Vec<Term>,
    /// Teacher weights at each level that has them.
    pub teacher_weights: Vec<TeacherWeights>,
    /// What the update after this batch writes to the method's memory ([`crate::Step::memory`]); a
    /// batch without an update writes nothing.
    pub writes: Vec<Write>,
}

impl Loss {
    /// `Σ weight · value` of these terms.
    #[must_use]
    pub fn new(terms: Vec<Term>) -> Self {
        Self { terms, ..Self::default() }
    }

    /// With teacher weights `[teachers, batch]` to be shown at `level`.
    #[must_use]
    pub fn with_teacher_weights(mut self, level: &'static str, weights: Tensor<2>) -> Self {
        self.teacher_weights.push(TeacherWeights { level, weights });
        self
    }

    /// With what the update writes to the method's memory.
    #[must_use]
    pub fn with_writes(mut self, writes: Vec<Write>) -> Self {
        self.writes.extend(writes);
        self
    }
}

/// The maps of one batch where they lie, for [`Method::map_terms`](crate::Method::map_terms).
#[derive(Clone, Debug)]
pub struct MapStep<'a> {
    /// Current epoch, from 1.
    pub epoch: usize,
    /// `[batch]`.
    pub labels: &'a [u32],
    /// Of samples mixed from two, the second labels and the shares of the first.
    pub mixed: Option<&'a MixedLabels>,
    /// The results of [`Parts::projectors`](crate::Parts::projectors).
    pub projected: Vec<MapValues<'a>>,
    /// For each teacher its values at each of [`Needs::teacher_taps`](crate::Needs::teacher_taps).
    pub teachers: Vec<Vec<&'a [f32]>>,
    /// Each teacher's logits, `[batch, classes]`.
    pub teacher_logits: Vec<&'a [f32]>,
    /// One a teacher, of those that have one.
    pub classifiers: &'a [FrozenClassifier],
}

/// A term of the loss that brings its own gradient.
#[derive(Clone, Debug)]
pub struct MapTerm {
    /// Name in logs.
    pub name: &'static str,
    /// Its constant.
    pub weight: f64,
    /// Its value before weighting.
    pub value: f64,
    /// For each projector the gradient of `weight · value` by its result.
    pub gradients: Vec<Vec<f32>>,
    /// Teacher weights `[teachers, batch]` for the log.
    pub teacher_weights: Vec<f64>,
}
