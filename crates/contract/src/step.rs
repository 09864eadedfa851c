//! One batch as a method and as the learner sees it.

use std::sync::Arc;

use burn::Tensor;
use burn::tensor::Int;
use faculty_data::{Input, MixedLabels, SampleId};
use faculty_nets::TeacherOutputs;

use crate::facts::TrainingSamples;
use crate::losses::{TaskLoss, cross_entropy};

/// One teacher's frozen classifier: weight `[classes, channels]`, bias `[classes]`.
#[derive(Clone, Debug)]
pub struct ClassifierTensors {
    /// `[classes, channels]`.
    pub weight: Tensor<2>,
    /// `[classes]`.
    pub bias: Tensor<1>,
}

/// Everything a method sees of one batch. `student_logits`, `student_maps`, `projected_maps` and
/// `parameters` carry gradients.
#[derive(Clone, Debug)]
pub struct Step {
    /// Current epoch, from 1.
    pub epoch: usize,
    /// Another number for every batch of a run; the start of whatever a method draws at random.
    pub step_seed: u64,
    /// `[batch]`, in `0..classes`; -1 where a sample has none, which only methods that say
    /// [`Setup::needs_labels`](crate::Setup::needs_labels) `= false` get to see.
    pub labels: Tensor<1, Int>,
    /// The second labels and the shares of the first, where samples are mixed from two. A method that
    /// reads labels beside [`Step::task_loss`] reads these too, or says that it cannot
    /// ([`Setup::needs_one_label`](crate::Setup::needs_one_label)).
    pub mixed: Option<Arc<MixedLabels>>,
    /// What [`Step::task_loss`] is.
    pub task: TaskLoss,
    /// All training samples by number.
    pub samples: Arc<TrainingSamples>,
    /// The batch's among them, `[batch]`; empty unless [`Needs::sample_numbers`](crate::Needs::sample_numbers).
    pub sample_numbers: Vec<usize>,
    /// The arrays of [`Parts::memory`](crate::Parts::memory), flat.
    pub memory: Vec<Arc<Vec<f32>>>,
    /// `[batch, classes]`.
    pub student_logits: Tensor<2>,
    /// The student's values at each of [`Needs::student_taps`](crate::Needs::student_taps), `[batch, channels, height, width]`.
    pub student_maps: Vec<Tensor<4>>,
    /// The results of [`Parts::projectors`](crate::Parts::projectors), `[batch, channels, height, width]`; empty unless
    /// [`Needs::trained_parts`](crate::Needs::trained_parts).
    pub projected_maps: Vec<Tensor<4>>,
    /// [`Parts::parameters`](crate::Parts::parameters), flat; empty unless [`Needs::trained_parts`](crate::Needs::trained_parts).
    pub parameters: Vec<Tensor<1>>,
    /// `[teachers, batch, classes]`; absent unless asked for.
    pub teacher_logits: Option<Tensor<3>>,
    /// `[teachers, batch]`: how the terms of a combination weigh the teachers; `None` for 1/K.
    pub term_weights: Option<Tensor<2>>,
    /// For each teacher `[batch, its own classes]`; empty unless asked for.
    pub native_logits: Vec<Tensor<2>>,
    /// For each teacher its values at each of [`Needs::teacher_taps`](crate::Needs::teacher_taps),
    /// `[batch, channels, height, width]`.
    pub teacher_maps: Vec<Vec<Tensor<4>>>,
    /// One a teacher; empty unless asked for.
    pub teacher_classifiers: Vec<ClassifierTensors>,
}

impl Step {
    /// A step of logits alone; teacher logits are `[teachers, batch, classes]`.
    #[must_use]
    pub fn of_logits(labels: Tensor<1, Int>, student: Tensor<2>, teachers: Tensor<3>) -> Self {
        Self {
            epoch: 1,
            step_seed: 0,
            labels,
            mixed: None,
            task: TaskLoss::default(),
            samples: Arc::default(),
            sample_numbers: Vec::new(),
            memory: Vec::new(),
            student_logits: student,
            student_maps: Vec::new(),
            projected_maps: Vec::new(),
            parameters: Vec::new(),
            teacher_logits: Some(teachers),
            term_weights: None,
            native_logits: Vec::new(),
            teacher_maps: Vec::new(),
            teacher_classifiers: Vec::new(),
        }
    }

    /// The student's cross-entropy against the labels, `[1]`, with the label smoothing and class
    /// weights of the recipe, over the samples that have a label and against both labels of mixed
    /// samples: what a method's task term is. Other uses of the labels, as a weighting of teachers,
    /// read them without smoothing and weights.
    #[must_use]
    pub fn task_loss(&self) -> Tensor<1> {
        self.task.mean_of_mixed(&self.student_logits, &self.labels, self.mixed.as_deref())
    }

    /// `-log σ(z)[y]` of each sample, `[batch]`, by its label in `labels`; of mixed samples, whose labels
    /// those are, the mean by their shares.
    #[must_use]
    pub fn cross_entropy(&self, logits: Tensor<2>, labels: &Tensor<1, Int>) -> Tensor<1> {
        let Some(MixedLabels { partners, shares }) = self.mixed.as_deref() else {
            return cross_entropy(logits, labels);
        };
        let device = logits.device();
        let partners: Vec<i64> = partners.iter().map(|&label| label.into()).collect();
        let partners = Tensor::<1, Int>::from_data(partners.as_slice(), &device);
        let shares = Tensor::<1>::from_floats(shares.as_slice(), &device);
        let rest = shares.clone().neg() + 1.0;
        shares * cross_entropy(logits.clone(), labels) + rest * cross_entropy(logits, &partners)
    }

    /// Teacher logits of a method that asked for them.
    ///
    /// # Panics
    /// When [`crate::Needs::teacher_logits`] did not ask for them.
    #[must_use]
    pub fn given_logits(&self) -> &Tensor<3> {
        self.teacher_logits.as_ref().expect("the trainer provides what `needs` asks for")
    }
}

/// One batch as the learner wants it.
#[derive(Clone, Copy, Debug)]
pub struct LearnerBatch<'a> {
    /// Current epoch, from 1.
    pub epoch: usize,
    /// Another number for every batch of a run.
    pub step_seed: u64,
    /// `[batch]`; read by methods that number the samples.
    pub ids: &'a [SampleId],
    /// What the student gets.
    pub inputs: Input<'a>,
    /// `[batch]`; [`UNLABELLED`](faculty_data::UNLABELLED) where a sample has none.
    pub labels: &'a [u32],
    /// Of samples mixed from two, the second labels and the shares of the first.
    pub mixed: Option<&'a MixedLabels>,
    /// One a teacher; what [`Method::needs`](crate::Method::needs) asks for is filled in.
    pub teachers: &'a [TeacherOutputs],
}
