//! Teachers that learn while the student does, and the samples that tell them how.

use faculty_data::{BatchLoader, Input, Inputs, LoaderConfig, Split, ViewSettings};
use faculty_nets::{Network, Run, TrainingRun};
use faculty_random::{Purpose, below, draw};

use super::Trained;
use super::accumulated::Accumulated;
use faculty_nets::{OptimizerConfig, OptimizerState, RuleConfig, TeacherInput, TeacherOutputs};

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
            rules: RuleConfig::default().rules(network.graph()).into(),
            network,
            optimizer: OptimizerState::default(),
            own_optimizer: Some(OPTIMIZER),
            run: Run::Kernels(TrainingRun::with_frozen_statistics()),
            accumulated: Accumulated::default(),
            off_tape: Vec::new(),
        };
        Self { trained, input }
    }

    /// The network as it is now.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.trained.network
    }

    /// Logits for inputs of the student.
    pub fn outputs(&mut self, inputs: Input<'_>, batch: usize) -> TeacherOutputs {
        let Trained { network, run, .. } = &mut self.trained;
        run.forward(network, self.input.prepare(inputs), batch);
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
    /// Plain, as the student gets them; none without samples.
    inputs: Option<Inputs>,
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
    /// When the settings do not fit the samples.
    pub fn new(part: &Split, views: &ViewSettings) -> Result<Self> {
        let (mut inputs, mut labels) = (None::<Inputs>, Vec::new());
        let config = LoaderConfig::new(BATCH, views.clone());
        let mut loader = BatchLoader::new(part, part.plain_order(), config)?;
        while let Some(batch) = loader.next() {
            let batch = batch?;
            labels.extend_from_slice(&batch.labels);
            match &mut inputs {
                Some(all) => all.append(batch.inputs.view()),
                None => inputs = Some(batch.inputs.clone()),
            }
            loader.recycle(batch);
        }
        Ok(Self { inputs, labels })
    }

    /// `count` different samples drawn from `number`, or all if there are fewer; none of none.
    pub fn drawn(&self, number: u64, count: usize) -> Option<(Inputs, Vec<u32>)> {
        let mut places: Vec<usize> = (0..self.labels.len()).collect();
        let count = count.min(places.len());
        for i in 0..count {
            let rest = (places.len() - i) as u64;
            let chosen = below(draw(Purpose::Method, number, EXAM, i as u64, 0), rest) as usize;
            places.swap(i, i + chosen);
        }
        places.truncate(count);
        let inputs = self.inputs.as_ref()?.view().select(&places, self.labels.len());
        Some((inputs, places.into_iter().map(|place| self.labels[place]).collect()))
    }
}
