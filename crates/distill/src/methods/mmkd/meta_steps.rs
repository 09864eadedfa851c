//! What MMKD does between steps: the buffer of missed samples, and the steps of the weight networks.

use burn::Tensor;
use burn::tensor::TensorData;
use faculty_data::rng::{Purpose, below, draw};
use faculty_nets::ParameterSpec;
use faculty_nets::weights::{Array, StateDict};

use super::{Mmkd, MmkdConfig};
use crate::learner::{Between, BetweenSteps};
use crate::losses::{mean_cross_entropy, numbers};
use crate::methods::bilevel::{gradient_by_weights, probe_step};
use crate::optimizer::{OptimizerConfig, OptimizerState};

/// The networks' optimiser and the samples that they learn from.
#[derive(Debug)]
pub(super) struct MetaSteps {
    method: Mmkd,
    specs: Vec<ParameterSpec>,
    adam: OptimizerState,
    pub(super) batches: u64,
    /// Values of one image.
    pixels: usize,
    pub(super) images: Vec<f32>,
    pub(super) labels: Vec<u32>,
}

impl MetaSteps {
    pub(super) fn new(method: Mmkd, specs: Vec<ParameterSpec>) -> Self {
        let adam = OptimizerState::default();
        Self { method, specs, adam, batches: 0, pixels: 0, images: Vec::new(), labels: Vec::new() }
    }

    fn config(&self) -> &MmkdConfig {
        &self.method.config
    }

    /// As many as a meta step draws.
    fn wanted(&self) -> usize {
        self.config().meta_samples.min(self.config().buffer)
    }

    /// Keeps a sample: at the end while there is room, then in place of another.
    pub(super) fn keep(&mut self, image: &[f32], label: u32, number: u64) {
        self.pixels = image.len();
        if self.labels.len() < self.config().buffer {
            self.images.extend_from_slice(image);
            self.labels.push(label);
        } else {
            let place = below(number, self.labels.len() as u64) as usize;
            self.images[place * image.len()..][..image.len()].copy_from_slice(image);
            self.labels[place] = label;
        }
    }

    /// Different samples of the buffer, drawn from `number`.
    pub(super) fn drawn(&self, number: u64) -> (Vec<f32>, Vec<u32>) {
        let mut places: Vec<usize> = (0..self.labels.len()).collect();
        let (mut images, mut labels) = (Vec::new(), Vec::new());
        for i in 0..self.wanted() {
            let rest = (places.len() - i) as u64;
            let chosen = below(draw(Purpose::Method, number, MEMORY, i as u64, 1), rest) as usize;
            places.swap(i, i + chosen);
            images.extend_from_slice(&self.images[places[i] * self.pixels..][..self.pixels]);
            labels.push(self.labels[places[i]]);
        }
        (images, labels)
    }
}

/// Sets the draws of the buffer apart from other uses of a batch's number.
const MEMORY: u64 = 0x6d65_6d6f;

/// The gradient of the meta loss by both kinds of weights, and that loss.
pub(super) struct MetaGradient {
    pub(super) loss: f64,
    /// Of outputs and of maps, `[teachers, batch]` each; `None` where the student cannot learn.
    pub(super) by_weights: Option<[Vec<f64>; 2]>,
}

impl Mmkd {
    /// Tries the inner steps and probes the student along what they lead to; the student is back at
    /// the end.
    pub(super) fn meta_gradient(
        &self,
        between: &mut Between<'_>,
        images: &[f32],
        labels: &[u32],
    ) -> MetaGradient {
        let mut rate = 0.0;
        for _ in 0..self.config.meta_steps {
            let gradient = between.gradient(|step| self.matching(step));
            rate += between.descend(&gradient);
        }
        let gradient =
            between.gradient(|step| mean_cross_entropy(&step.student_logits, &step.labels));
        between.descend(&gradient);
        let (loss, direction) = between.cross_entropy(images, labels);
        between.restore();
        let probe = probe_step(&direction.concat());
        if probe == 0.0 {
            return MetaGradient { loss, by_weights: None };
        }
        let mut at = |step: f64| {
            between.shift(&direction, step as f32);
            let values = self.weighted_values(&between.step());
            between.restore();
            values
        };
        let ([above_l, above_f], [below_l, below_f]) = (at(probe), at(-probe));
        let batch = between.batch().labels.len();
        let gradient =
            |above: &[f64], below: &[f64]| gradient_by_weights(above, below, batch, rate, probe);
        let by_weights = [gradient(&above_l, &below_l), gradient(&above_f, &below_f)];
        MetaGradient { loss, by_weights: Some(by_weights) }
    }

    /// From the gradient by the weights back through the networks, at the student as it is.
    pub(super) fn network_gradients(
        &self,
        between: &mut Between<'_>,
        by_weights: &[Vec<f64>; 2],
    ) -> Vec<Vec<f32>> {
        let step = between.step();
        between.restore();
        let weights = self.weights(&step);
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

impl BetweenSteps for MetaSteps {
    fn after_step(&mut self, between: &mut Between<'_>) -> Vec<(&'static str, f64)> {
        let batch = *between.batch();
        let pixels = batch.images.len() / batch.labels.len();
        for &b in between.missed() {
            let number = draw(Purpose::Method, batch.draw, MEMORY, b as u64, 0);
            self.keep(&batch.images[b * pixels..][..pixels], batch.labels[b], number);
        }
        self.batches += 1;
        let due = self.batches.is_multiple_of(self.config().meta_every as u64);
        if !due || self.labels.len() < self.wanted() {
            return Vec::new();
        }
        let (images, labels) = self.drawn(batch.draw);
        let meta = self.method.meta_gradient(between, &images, &labels);
        let mut readings = vec![("the meta loss", meta.loss)];
        let Some(by_weights) = meta.by_weights else { return readings };
        readings.push(("the gradient of the meta loss", by_weights.iter().flatten().sum()));

        let mut gradients = self.method.network_gradients(between, &by_weights);
        // PyTorch's Adam: the decay goes through the moments.
        let decay = self.config().meta_decay as f32;
        let parameters = between.parameters_mut();
        for (g, w) in gradients.iter_mut().flatten().zip(parameters.iter().flatten()) {
            *g += decay * w;
        }
        let rate = self.config().meta_rate as f32;
        self.adam.update(&ADAM, rate, parameters, &gradients);
        readings
    }

    fn state(&self) -> StateDict {
        let one = |value: u64| Array { shape: vec![2], values: split(value) };
        let labels: Vec<f32> = self.labels.iter().map(|&label| label as f32).collect();
        let mut state = StateDict::from([
            ("batches".to_owned(), one(self.batches)),
            ("adam.steps".to_owned(), one(self.adam.steps)),
            ("buffer.labels".to_owned(), Array { shape: vec![labels.len()], values: labels }),
            (
                "buffer.images".to_owned(),
                Array { shape: vec![self.labels.len(), self.pixels], values: self.images.clone() },
            ),
        ]);
        for (slot, vectors) in ADAM.slot_names().iter().zip(&self.adam.slots) {
            for (spec, values) in self.specs.iter().zip(vectors) {
                let array = Array { shape: spec.shape.clone(), values: values.clone() };
                state.insert(format!("adam.{slot}.{}", spec.name), array);
            }
        }
        state
    }

    fn set_state(&mut self, mut state: StateDict) -> std::result::Result<(), String> {
        let mut take = |name: &str, shape: Option<&[usize]>| {
            let array = state.remove(name).ok_or_else(|| format!("no tensor `{name}`"))?;
            match shape {
                Some(shape) if array.shape != shape => {
                    Err(format!("`{name}` has shape {:?}, not {shape:?}", array.shape))
                }
                _ => Ok(array),
            }
        };
        let batches = joined(&take("batches", Some(&[2]))?.values);
        let steps = joined(&take("adam.steps", Some(&[2]))?.values);
        let labels = take("buffer.labels", None)?.values;
        let images = take("buffer.images", None)?;
        let &[count, pixels] = images.shape.as_slice() else {
            return Err("`buffer.images` is no list of images".to_owned());
        };
        if count != labels.len() || count > self.config().buffer {
            return Err(format!("{count} images with {} labels in the buffer", labels.len()));
        }
        let mut slots = Vec::new();
        for slot in ADAM.slot_names().iter().filter(|_| steps > 0) {
            let vectors = self.specs.iter().map(|spec| {
                let name = format!("adam.{slot}.{}", spec.name);
                take(&name, Some(&spec.shape)).map(|array| array.values)
            });
            slots.push(vectors.collect::<std::result::Result<Vec<_>, String>>()?);
        }
        self.batches = batches;
        self.adam = OptimizerState { steps, slots };
        (self.pixels, self.images) = (pixels, images.values);
        self.labels = labels.iter().map(|&label| label as u32).collect();
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
