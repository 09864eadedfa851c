//! Teachers that learn while the student does, and the samples that tell them how.

use faculty_data::{BatchLoader, LoaderConfig, Normalisation, Part};
use faculty_nets::{Network, Run, TrainingRun};
use faculty_random::{Purpose, below, draw};

use super::Trained;
use faculty_nets::{OptimizerConfig, OptimizerState, TeacherInput, TeacherOutputs};

use crate::error::Result;

/// AdamW with PyTorch's constants.
const OPTIMIZER: OptimizerConfig =
    OptimizerConfig::AdamW { betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.01 };

/// A network that teaches in evaluation mode and can be updated.
#[derive(Debug)]
pub struct LearningTeacher {
    pub(crate) trained: Trained,
    input: TeacherInput,
}

impl LearningTeacher {
    /// `input` turns the student's images into its own.
    #[must_use]
    pub fn new(network: Network, input: TeacherInput) -> Self {
        let trained = Trained {
            network,
            optimizer: OptimizerState::default(),
            own_optimizer: Some(OPTIMIZER),
            run: Run::Kernels(TrainingRun::with_frozen_statistics()),
            off_tape: Vec::new(),
        };
        Self { trained, input }
    }

    /// The network as it is now.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.trained.network
    }

    /// Logits for images of the student.
    pub fn outputs(&mut self, images: &[f32], batch: usize) -> TeacherOutputs {
        let Trained { network, run, .. } = &mut self.trained;
        run.forward(network, self.input.prepare(images), batch);
        let logits = run.value(network.graph().output()).to_vec();
        TeacherOutputs { logits, maps: Vec::new() }
    }

    /// Gradient by its parameters from that by its last outputs.
    pub fn gradient(&mut self, by_logits: &[f32]) -> &[Vec<f32>] {
        let Trained { network, run, .. } = &mut self.trained;
        let output = network.graph().output();
        run.backward(network, [(output, by_logits)], false);
        run.gradients()
    }

    /// A step of AdamW along the last [`LearningTeacher::gradient`].
    pub fn update(&mut self, rate: f32) {
        let Trained { network, run, optimizer, .. } = &mut self.trained;
        optimizer.update(&OPTIMIZER, rate, network.parameters_mut(), run.gradients());
    }
}

/// Training samples that the student never trains on: how well it does on them is what its teachers
/// learn from.
#[derive(Clone, Debug)]
pub struct Exam {
    /// `[samples, channels, height, width]`, plain, normalised for the student.
    images: Vec<f32>,
    /// `[samples]`.
    labels: Vec<u32>,
}

/// Samples that are rendered at a time.
const BATCH: usize = 256;

/// Sets the draws of exams apart from other uses of a batch's number.
const EXAM: u64 = 0x6578_616d;

impl Exam {
    /// All samples of a part.
    ///
    /// # Errors
    /// When the images do not fit the normalisation.
    pub fn new(part: &Part, normalisation: &Normalisation) -> Result<Self> {
        let (mut images, mut labels) = (Vec::new(), Vec::new());
        let config = LoaderConfig::new(BATCH, normalisation.clone());
        let mut loader = BatchLoader::new(part, part.plain_order(), config)?;
        while let Some(batch) = loader.next() {
            let batch = batch?;
            images.extend_from_slice(&batch.images);
            labels.extend_from_slice(&batch.labels);
            loader.recycle(batch);
        }
        Ok(Self { images, labels })
    }

    /// `count` different samples drawn from `number`, or all if there are fewer.
    pub fn drawn(&self, number: u64, count: usize) -> (Vec<f32>, Vec<u32>) {
        let mut places: Vec<usize> = (0..self.labels.len()).collect();
        let pixels = self.images.len() / self.labels.len().max(1);
        let (mut images, mut labels) = (Vec::new(), Vec::new());
        for i in 0..count.min(places.len()) {
            let rest = (places.len() - i) as u64;
            let chosen = below(draw(Purpose::Method, number, EXAM, i as u64, 0), rest) as usize;
            places.swap(i, i + chosen);
            images.extend_from_slice(&self.images[places[i] * pixels..][..pixels]);
            labels.push(self.labels[places[i]]);
        }
        (images, labels)
    }
}
