//! MMKD: teacher weights from two small networks that learn from the student's hard samples.
//!
//! Zhang, Chen, Wang, "Adaptive multi-teacher knowledge distillation with meta-learning", 2023,
//! <https://arxiv.org/abs/2306.06634>.
//!
//! ```text
//! w^l[·,b] = softmax_k( N_l([z_1[b], …, z_K[b], z_S[b]]) )               N: Linear, ReLU, Linear
//! w^f[·,b] = softmax_k( N_f([S_1[b], …, S_K[b], S_S[b]]) ),   S = X Xᵀ,  X = unit rows of the flat map
//! G_k      = ReLU(BN(Conv1×1(F_S)))                 the larger of F_S and F_k pooled to the other's size
//! L_match  = α mean_b Σ_k w^l τ² KL(σ(z_k/τ) ‖ σ(z_S/τ)) + β mean_b Σ_k w^f mean_chw (G_k - F_k)²
//! L        = mean_b CE_b(z_S) + L_match
//! ```
//! After every fifth batch a meta step on the same batch, with θ the student and η its learning rate:
//! ```text
//! θ' = two plain steps on L_match from θ, then one on CE;   v = ∇ CE(θ') on 64 of the last 256 misses
//! ∂CE(θ')/∂w[k,b] ≈ -2 η/B (ℓ_k,b(θ+εv) - ℓ_k,b(θ-εv)) / 2ε,   ε = 0.01/‖v‖,   ℓ: what w multiplies in L
//! ```
//! and from there back into both networks, which take a step of Adam. Student, connectors, optimiser
//! and running statistics are put back.
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[teachers, batch, classes]`, last maps
//! `[batch, channels, height, width]`, labels `[batch]`.
//! # Gradient
//! through student and connectors; the weights are constants there. The networks N get theirs from meta
//! steps only.
//! # Paper and code
//! the paper differentiates through the inner steps; here two forward passes give the same to first
//! order in η ([`gradient_by_weights`]), the two inner steps counting alike. Choices: rows of X have
//! length 1, so that maps of different scale compare (`products = "official"`: X as it is); inner steps
//! are plain gradient steps, clipped as the run's are, with connectors held; a missed sample takes a
//! place in the buffer at random once it is full; meta steps wait until it holds 64. Adam has
//! PyTorch's weight decay (added to the gradient).
//! # Limits
//! the networks are as wide as the batch, so every batch must be full (`train.drop_last`). A student
//! that misses nothing teaches its weights nothing. A meta step costs about six steps of the student.
//! With one teacher its weight is 1.
//!
//! **Not in the table of methods yet**: on an untrained student the meta gradient of the output weights
//! matches differences of the meta loss to a few percent, that of the map weights is two to four times
//! too long at every η tried, for a reason not found yet.

use burn::Tensor;
use burn::tensor::TensorData;
use burn::tensor::activation::{relu, softmax};
use faculty_data::rng::{Purpose, below, draw};
use faculty_nets::weights::{Array, StateDict};
use faculty_nets::{Conv2dConfig, Graph, GraphBuilder, Initial, MapShape, ParameterSpec};

use super::bilevel::{gradient_by_weights, probe_step};
use super::ca_mkd::{map_errors, weighted_sum};
use super::features::{rows, unit_rows};
use super::layers::{Parameters, parameter, resize};
use super::options::{ALPHA, OURS, TEMPERATURE, count, number, option, temperature, word};
use super::output_layer::{OutputConfig, task_and_weighted_kd};
use super::{
    Connector, Loss, Method, MethodInfo, Needs, Shapes, Status, Step, TeacherWeights, Term,
};
use crate::learner::{Between, BetweenSteps};
use crate::losses::{kl_divergence, mean_cross_entropy, numbers, weighted_kl};
use crate::optimizer::{OptimizerConfig, OptimizerState};
use crate::recipe::{MethodSpec, OptionSpec, OptionValue, Range};
use crate::tap::Tap;

const PAPER: &str = "MMKD paper";

/// Constants of [`Mmkd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MmkdConfig {
    /// Of the output term. Default weight 1, temperature 4 (paper).
    pub output: OutputConfig,
    /// Weight of the map term, ≥ 0. Default 100 (paper).
    pub beta: f64,
    /// Products of flat maps as they are, not of unit rows. Default false.
    pub raw_products: bool,
    /// Batches between meta steps, ≥ 1. Default 5 (paper).
    pub meta_every: usize,
    /// Inner steps on the matching loss, ≥ 1. Default 2 (paper).
    pub meta_steps: usize,
    /// Missed samples that are kept, ≥ 1. Default 256 (paper).
    pub buffer: usize,
    /// Samples drawn from them for a meta step, at most all of them. Default 64 (paper).
    pub meta_samples: usize,
    /// Learning rate of the weight networks, > 0. Default 1e-3 (paper).
    pub meta_rate: f64,
    /// Their weight decay, ≥ 0. Default 1e-4 (paper).
    pub meta_decay: f64,
}

impl Default for MmkdConfig {
    fn default() -> Self {
        Self {
            output: OutputConfig::default(),
            beta: 100.0,
            raw_products: false,
            meta_every: 5,
            meta_steps: 2,
            buffer: 256,
            meta_samples: 64,
            meta_rate: 1e-3,
            meta_decay: 1e-4,
        }
    }
}

/// Distillation with weights that are learnt from hard samples.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mmkd {
    config: MmkdConfig,
}

const fn whole(key: &'static str, default: i64, help: &'static str) -> OptionSpec {
    option(key, OptionValue::Integer(default), Range::between(1.0, 1e6), PAPER, help)
}

/// Row of this method.
#[expect(dead_code, reason = "not in the table until the map weights' gradient is understood")]
pub(super) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "mmkd",
        help: "teacher weights from small networks that learn from hard samples",
        options: &[
            TEMPERATURE,
            ALPHA,
            option(
                "beta",
                OptionValue::Number(100.0),
                Range::at_least(0.0),
                PAPER,
                "weight of the map term",
            ),
            option(
                "products",
                OptionValue::Word("normalised"),
                Range::Words(&["normalised", "official"]),
                OURS,
                "normalised: cosines between the maps of a batch; official: their plain products",
            ),
            whole("meta_every", 5, "batches from one meta step to the next"),
            whole("meta_steps", 2, "steps on the matching loss that a meta step tries"),
            whole("buffer", 256, "missed samples that are kept for meta steps"),
            whole("meta_samples", 64, "samples drawn from them for a meta step"),
            option(
                "meta_rate",
                OptionValue::Number(1e-3),
                Range::above(0.0),
                PAPER,
                "learning rate of the weight networks (Adam)",
            ),
            option(
                "meta_decay",
                OptionValue::Number(1e-4),
                Range::at_least(0.0),
                PAPER,
                "weight decay of the weight networks",
            ),
        ],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Zhang, Chen, Wang, 2023, arXiv 2306.06634",
    status: Status::Reimplementation,
    build: |options| {
        Box::new(Mmkd::new(MmkdConfig {
            output: OutputConfig {
                temperature: temperature(options),
                alpha: number(options, "alpha"),
            },
            beta: number(options, "beta"),
            raw_products: word(options, "products") == "official",
            meta_every: count(options, "meta_every"),
            meta_steps: count(options, "meta_steps"),
            buffer: count(options, "buffer"),
            meta_samples: count(options, "meta_samples"),
            meta_rate: number(options, "meta_rate"),
            meta_decay: number(options, "meta_decay"),
        }))
    },
};

/// Both networks' weights, `[teachers, batch]` each.
struct Weights {
    logits: Tensor<2>,
    maps: Tensor<2>,
}

impl Mmkd {
    /// With these constants.
    #[must_use]
    pub const fn new(config: MmkdConfig) -> Self {
        Self { config }
    }

    /// With the gradient by the networks' parameters, if these carry one.
    fn weights(&self, step: &Step) -> Weights {
        let teachers = step.teacher_logits();
        let [count, batch, classes] = teachers.dims();
        let mut parameters = Parameters::new(&step.parameters);
        let mut inputs: Vec<Tensor<2>> = (0..count)
            .map(|k| {
                teachers.clone().slice([k..k + 1, 0..batch, 0..classes]).reshape([batch, classes])
            })
            .collect();
        inputs.push(step.student_logits.clone().detach());
        let logits = network(Tensor::cat(inputs, 1), count, &mut parameters);
        let maps = step.teacher_maps.iter().map(|maps| maps[0].clone());
        let products = maps
            .chain([step.student_maps[0].clone().detach()])
            .map(|map| {
                let rows = rows(map);
                let rows = if self.config.raw_products { rows } else { unit_rows(rows) };
                rows.clone().matmul(rows.transpose())
            })
            .collect();
        let maps = network(Tensor::cat(products, 1), count, &mut parameters);
        Weights { logits, maps }
    }

    /// `mean_chw (G_k - F_k)²`, `[teachers, batch]`.
    fn map_errors(step: &Step) -> Tensor<2> {
        let sized = |(own, maps): (&Tensor<4>, &Vec<Tensor<4>>)| {
            let [_, _, height, width] = own.dims();
            resize(maps[0].clone(), height, width)
        };
        let targets: Vec<Tensor<4>> =
            step.connected_maps.iter().zip(&step.teacher_maps).map(sized).collect();
        map_errors(&step.connected_maps, &targets)
    }

    /// `L_match`, its weights constants.
    fn matching(&self, step: &Step) -> Tensor<1> {
        let MmkdConfig { output: OutputConfig { temperature, alpha }, beta, .. } = self.config;
        let weights = self.weights(step);
        let student = &step.student_logits;
        let kd = weighted_kl(step.teacher_logits(), student, &weights.logits, temperature);
        kd * alpha + weighted_sum(&weights.maps.detach(), &Self::map_errors(step)) * beta
    }

    /// What the weights multiply in `L`: of outputs and of maps, `[teachers, batch]` each.
    fn weighted_values(&self, step: &Step) -> [Vec<f64>; 2] {
        let MmkdConfig { output: OutputConfig { temperature, alpha }, beta, .. } = self.config;
        let teachers = step.teacher_logits();
        let [count, batch, classes] = teachers.dims();
        let divergences = (0..count).flat_map(|k| {
            let own =
                teachers.clone().slice([k..k + 1, 0..batch, 0..classes]).reshape([batch, classes]);
            numbers(&kl_divergence(own, step.student_logits.clone().detach(), temperature))
        });
        let scaled = |factor: f64| move |value: f32| factor * f64::from(value);
        let divergences = divergences.map(scaled(alpha)).collect();
        let errors = numbers(&Self::map_errors(step)).into_iter().map(scaled(beta)).collect();
        [divergences, errors]
    }
}

impl Method for Mmkd {
    fn needs(&self, _epoch: usize) -> Needs {
        Needs {
            teacher_logits: true,
            teacher_taps: vec![Tap::Map],
            student_taps: vec![Tap::Map],
            connector_taps: vec![Tap::Map],
            trained_parts: true,
            frozen_parameters: true,
            full_batches: true,
            min_batch: 2,
            ..Needs::default()
        }
    }

    fn connectors(&self, shapes: &Shapes) -> Vec<Connector> {
        let student = shapes.student[&Tap::Map];
        let teachers = shapes.teachers.iter().map(|taps| taps[&Tap::Map]);
        teachers
            .map(|teacher| Connector { tap: Tap::Map, graph: connector(student, teacher) })
            .collect()
    }

    fn parameters(&self, shapes: &Shapes) -> Vec<ParameterSpec> {
        let count = shapes.teachers.len();
        let mut specs = Vec::new();
        for (net, columns) in [("logits", shapes.classes), ("maps", shapes.batch_size)] {
            let inputs = columns * (count + 1);
            let hidden = hidden_width(inputs);
            for (layer, inputs, outputs) in [("0", inputs, hidden), ("1", hidden, count)] {
                let name = |kind: &str| format!("{net}.{layer}.{kind}");
                let initial = Initial::UniformFanIn { fan_in: inputs };
                specs.push(parameter(name("weight"), &[outputs, inputs], initial));
                specs.push(parameter(name("bias"), &[outputs], initial));
            }
        }
        specs
    }

    fn between_steps(&self, shapes: &Shapes) -> Option<Box<dyn BetweenSteps>> {
        Some(Box::new(MetaSteps::new(*self, self.parameters(shapes))))
    }

    fn loss(&self, step: &Step) -> Loss {
        let MmkdConfig { output: OutputConfig { temperature, alpha }, beta, .. } = self.config;
        let weights = self.weights(step);
        let maps = weights.maps.detach();
        let value = weighted_sum(&maps, &Self::map_errors(step));
        let mut loss = task_and_weighted_kd(step, weights.logits.detach(), alpha, temperature);
        loss.terms.push(Term { name: "intermediate", weight: beta, value });
        loss.teacher_weights.push(TeacherWeights { level: "intermediate", weights: maps });
        loss
    }

    fn objective(&self, teachers: usize) -> String {
        let MmkdConfig { output: OutputConfig { temperature, alpha }, beta, .. } = self.config;
        let every = self.config.meta_every;
        format!(
            "CE + {alpha} τ² Σ_k w KL + {beta} Σ_k w MSE, w learnt on misses every {every} \
             batches, τ = {temperature}, K = {teachers}, Σ_k w = 1"
        )
    }
}

/// `ReLU(BN(Conv1×1))` at the smaller of both sizes.
fn connector(student: MapShape, teacher: MapShape) -> Graph {
    let (mut graph, input) = GraphBuilder::new(student);
    let (height, width) = (student.height.min(teacher.height), student.width.min(teacher.width));
    let resized = graph.resize(input, height, width);
    let config = Conv2dConfig::new(teacher.channels, 1, 1).with_bias();
    let projected = graph
        .conv2d("conv", resized, config)
        .expect("a 1×1 kernel fits every map with at least one position");
    graph.batch_norm("bn", projected, None, true);
    graph.finish()
}

fn hidden_width(inputs: usize) -> usize {
    (inputs / 2).max(1)
}

/// `softmax(Linear(ReLU(Linear(x))))` as `[teachers, batch]`, from x `[batch, inputs]`.
fn network(x: Tensor<2>, teachers: usize, parameters: &mut Parameters<'_>) -> Tensor<2> {
    let inputs = x.dims()[1];
    let mut linear = |x: Tensor<2>, inputs: usize, outputs: usize| {
        let weight = parameters.next([outputs, inputs]);
        x.matmul(weight.transpose()) + parameters.next([outputs]).unsqueeze::<2>()
    };
    let hidden = hidden_width(inputs);
    let x = relu(linear(x, inputs, hidden));
    softmax(linear(x, hidden, teachers), 1).transpose()
}

/// The networks' optimiser and the samples that they learn from.
#[derive(Debug)]
struct MetaSteps {
    method: Mmkd,
    specs: Vec<ParameterSpec>,
    adam: OptimizerState,
    batches: u64,
    /// Values of one image.
    pixels: usize,
    images: Vec<f32>,
    labels: Vec<u32>,
}

impl MetaSteps {
    fn new(method: Mmkd, specs: Vec<ParameterSpec>) -> Self {
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
    fn keep(&mut self, image: &[f32], label: u32, number: u64) {
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
    fn drawn(&self, number: u64) -> (Vec<f32>, Vec<u32>) {
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
struct MetaGradient {
    loss: f64,
    /// Of outputs and of maps, `[teachers, batch]` each; `None` where the student cannot learn.
    by_weights: Option<[Vec<f64>; 2]>,
}

impl Mmkd {
    /// Tries the inner steps and probes the student along what they lead to; the student is back at
    /// the end.
    fn meta_gradient(
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
    fn network_gradients(
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

#[cfg(test)]
mod tests;
