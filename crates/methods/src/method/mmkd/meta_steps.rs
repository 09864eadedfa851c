//! What MMKD does between steps: meta steps of the weight networks on hard samples.

use burn::Tensor;
use burn::tensor::TensorData;
use faculty_nets::ParameterSpec;
use faculty_nets::weights::{Array, StateDict};

use super::buffer::Buffer;
use super::matching::{Mmkd, MmkdConfig, Weights};
use crate::shared::bilevel::{gradient_by_weights, held_probe_step};
use crate::{Shapes, Step};
use faculty_contract::losses::{mean_cross_entropy, numbers};
use faculty_contract::{AfterStep, LearnerBatch, Point, Sandbox};
use faculty_nets::{Adjoint, OptimizerConfig, OptimizerState};

/// The networks' optimiser and the samples that they learn from.
#[derive(Debug)]
pub(super) struct MetaSteps {
    method: Mmkd,
    specs: Vec<ParameterSpec>,
    /// Samples of a batch.
    batch_size: usize,
    adam: OptimizerState,
    pub(super) batches: u64,
    pub(super) buffer: Buffer,
}

impl MetaSteps {
    pub(super) fn new(method: Mmkd, specs: Vec<ParameterSpec>, shapes: &Shapes) -> Self {
        let batch_size = shapes.batch_size;
        let buffer = Buffer::new(method.config.buffer.max(batch_size), shapes.teachers.len());
        Self { method, specs, batch_size, adam: OptimizerState::default(), batches: 0, buffer }
    }

    fn config(&self) -> &MmkdConfig {
        &self.method.config
    }
}

/// An inner step on the matching loss.
pub(super) struct Matching {
    before: Point,
    gradient: Vec<Vec<f32>>,
    /// As the loss saw it.
    step: Step,
    pub(super) weights: Weights,
}

/// The meta loss, and its gradient.
pub(super) struct MetaGradient {
    pub(super) loss: f64,
    /// By the weights of outputs and of maps at each inner step, `[teachers, batch]` each.
    pub(super) by_weights: Vec<[Vec<f64>; 2]>,
    /// By the parameters of both networks.
    pub(super) by_networks: Vec<Vec<f32>>,
}

impl Mmkd {
    /// Takes the inner steps on these samples and goes back through them; the student is where it was
    /// at the end.
    pub(super) fn meta_gradient(
        &self,
        sandbox: &mut dyn Sandbox<'_>,
        hard: &LearnerBatch<'_>,
    ) -> MetaGradient {
        let cross_entropy = |step: &Step| mean_cross_entropy(&step.student_logits, &step.labels);
        let matching: Vec<Matching> =
            (0..self.config.meta_steps).map(|_| self.matching_step(sandbox, hard)).collect();
        let before = sandbox.point();
        let gradient = sandbox.gradient(hard, &mut |step| cross_entropy(step));
        sandbox.descend();
        let mut loss = 0.0;
        let by_student = sandbox.gradient(hard, &mut |step| {
            let value = cross_entropy(step);
            loss = f64::from(numbers(&value)[0]);
            value
        });

        let mut adjoint = sandbox.adjoint(by_student);
        let along = sandbox.pull_back(&mut adjoint, &before, &gradient);
        let (_, bend) = curvature(sandbox, hard, &before, &along, |sandbox| {
            sandbox.gradient(hard, &mut |step| cross_entropy(step))
        });
        add(&mut adjoint, bend);
        let (mut by_weights, mut by_networks) = (Vec::new(), Vec::new());
        for (number, own) in matching.iter().enumerate().rev() {
            let along = sandbox.pull_back(&mut adjoint, &own.before, &own.gradient);
            let mut values = Vec::new();
            let (probe, bend) = curvature(sandbox, hard, &own.before, &along, |sandbox| {
                // Before the first step the student does not depend on the weights.
                if number == 0 {
                    values.push(self.weighted_values(&sandbox.step(hard)));
                    return Vec::new();
                }
                sandbox.gradient(hard, &mut |step| {
                    values.push(self.weighted_values(step));
                    self.matching(step, &own.weights)
                })
            });
            add(&mut adjoint, bend);
            let size = hard.labels.len();
            let gradient = match values.as_slice() {
                [above, below] => {
                    [0, 1].map(|i| gradient_by_weights(&above[i], &below[i], size, probe))
                }
                _ => [&own.weights.logits, &own.weights.maps]
                    .map(|weights| vec![0.0; weights.shape().num_elements()]),
            };
            let gradients = self.network_gradients(&own.step, &gradient);
            match by_networks.as_mut_slice() {
                [] => by_networks = gradients,
                sum => sum.iter_mut().flatten().zip(gradients.concat()).for_each(|(s, g)| *s += g),
            }
            by_weights.insert(0, gradient);
        }
        sandbox.restore();
        MetaGradient { loss, by_weights, by_networks }
    }

    pub(super) fn matching_step(
        &self,
        sandbox: &mut dyn Sandbox<'_>,
        hard: &LearnerBatch<'_>,
    ) -> Matching {
        let before = sandbox.point();
        let mut seen = None;
        let gradient = sandbox.gradient(hard, &mut |step| {
            let weights = self.weights(step).detach();
            let loss = self.matching(step, &weights);
            seen = Some((step.clone(), weights));
            loss
        });
        let (step, weights) = seen.expect("the loss was asked for");
        sandbox.descend();
        Matching { before, gradient, step, weights }
    }

    /// From the gradient by the weights of a step back through the networks.
    fn network_gradients(&self, step: &Step, by_weights: &[Vec<f64>; 2]) -> Vec<Vec<f32>> {
        let weights = self.weights(step);
        let along = |weights: Tensor<2>, gradient: &[f64]| {
            let gradient: Vec<f32> = gradient.iter().map(|&g| g as f32).collect();
            let data = TensorData::new(gradient, weights.dims());
            (weights.clone() * Tensor::from_data(data, &weights.device())).sum()
        };
        let total = along(weights.logits, &by_weights[0]) + along(weights.maps, &by_weights[1]);
        let all = total.backward();
        let of = |leaf: &Tensor<1>| match leaf.grad(&all) {
            Some(gradient) => numbers(&gradient),
            None => vec![0.0; leaf.dims()[0]],
        };
        step.parameters.iter().map(of).collect()
    }
}

/// The change of `gradient` along a direction from a point, for the whole of the direction, with the
/// activation pattern of that point; and the share of the direction that a probe took. Nothing where
/// that has no length.
fn curvature(
    sandbox: &mut dyn Sandbox<'_>,
    hard: &LearnerBatch<'_>,
    point: &Point,
    direction: &[Vec<f32>],
    mut gradient: impl FnMut(&mut dyn Sandbox<'_>) -> Vec<Vec<f32>>,
) -> (f64, Vec<Vec<f32>>) {
    let parameters = point.0.iter().flat_map(|(network, _)| network.parameters());
    let probe = held_probe_step(parameters.flatten(), direction.iter().flatten());
    if probe == 0.0 {
        return (probe, Vec::new());
    }
    sandbox.go_to(point);
    sandbox.hold_pattern(hard);
    let mut at = |by: f64| {
        sandbox.go_to(point);
        sandbox.shift(direction, by as f32);
        gradient(sandbox)
    };
    let (mut above, below) = (at(probe), at(-probe));
    sandbox.release_pattern();
    for (above, below) in above.iter_mut().flatten().zip(below.iter().flatten()) {
        *above = (f64::from(*above - below) / (2.0 * probe)) as f32;
    }
    (probe, above)
}

/// Adds a gradient by student and projectors, where there is one.
fn add(adjoint: &mut [Adjoint], gradient: Vec<Vec<f32>>) {
    let sums = adjoint.iter_mut().flat_map(|own| &mut own.parameters).flatten();
    sums.zip(gradient.into_iter().flatten()).for_each(|(sum, g)| *sum += g);
}

impl AfterStep for MetaSteps {
    fn after_step(&mut self, sandbox: &mut dyn Sandbox<'_>) -> Vec<(&'static str, f64)> {
        let batch = sandbox.batch();
        self.buffer.keep(&batch, sandbox.misclassified());
        let due = self.batches.is_multiple_of(self.config().meta_every as u64);
        self.batches += 1;
        if !due {
            return Vec::new();
        }
        let hard = self.buffer.drawn(batch.step_seed, self.batch_size);
        let meta = self.method.meta_gradient(sandbox, &hard.batch(&batch));
        let sum = meta.by_weights.iter().flatten().flatten().sum();
        let readings = vec![("the meta loss", meta.loss), ("the gradient of the meta loss", sum)];

        let mut gradients = meta.by_networks;
        // PyTorch's Adam: the decay goes through the moments.
        let decay = self.config().meta_decay as f32;
        let parameters = sandbox.parameters_mut();
        for (g, w) in gradients.iter_mut().flatten().zip(parameters.iter().flatten()) {
            *g += decay * w;
        }
        let rate = self.config().meta_rate as f32;
        self.adam.update(&ADAM, rate, parameters, &gradients);
        readings
    }

    fn state(&self) -> StateDict {
        let one = |value: u64| Array { shape: vec![2], values: split(value) };
        let mut state = self.buffer.state();
        state.insert("batches".to_owned(), one(self.batches));
        state.insert("adam.steps".to_owned(), one(self.adam.steps));
        for (slot, vectors) in ADAM.slot_names().iter().zip(&self.adam.slots) {
            for (spec, values) in self.specs.iter().zip(vectors) {
                let array = Array { shape: spec.shape.clone(), values: values.clone() };
                state.insert(format!("adam.{slot}.{}", spec.name), array);
            }
        }
        state
    }

    fn set_state(&mut self, mut state: StateDict) -> std::result::Result<(), String> {
        let mut take = |name: &str| state.remove(name).ok_or_else(|| format!("no tensor `{name}`"));
        let shaped = |array: Array, name: &str, shape: &[usize]| match array.shape == shape {
            true => Ok(array.values),
            false => Err(format!("`{name}` has shape {:?}, not {shape:?}", array.shape)),
        };
        let batches = joined(&shaped(take("batches")?, "batches", &[2])?);
        let steps = joined(&shaped(take("adam.steps")?, "adam.steps", &[2])?);
        let mut slots = Vec::new();
        for slot in ADAM.slot_names().iter().filter(|_| steps > 0) {
            let vectors = self.specs.iter().map(|spec| {
                let name = format!("adam.{slot}.{}", spec.name);
                shaped(take(&name)?, &name, &spec.shape)
            });
            slots.push(vectors.collect::<std::result::Result<Vec<_>, String>>()?);
        }
        self.buffer.set_state(take)?;
        self.batches = batches;
        self.adam = OptimizerState { steps, slots };
        Ok(())
    }
}

/// Adam as the paper runs it; its decay is added to the gradient beforehand.
const ADAM: OptimizerConfig =
    OptimizerConfig::AdamW { betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.0 };

/// A count as two numbers that `f32` holds exactly.
fn split(value: u64) -> Vec<f32> {
    vec![(value >> 24) as f32, (value & 0xff_ffff) as f32]
}

fn joined(parts: &[f32]) -> u64 {
    ((parts[0] as u64) << 24) | parts[1] as u64
}
