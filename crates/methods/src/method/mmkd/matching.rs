//! The weight networks of MMKD, and the matching loss that they weigh.

use burn::Tensor;
use burn::tensor::activation::{relu, softmax};
use faculty_contract::losses::{kl_divergence, numbers, weighted_kl};

use crate::Step;
use crate::method::ca_mkd::{map_errors, weighted_sum};
use crate::shared::features::{rows, unit_rows};
use crate::shared::layers::{Parameters, resize};
use crate::shared::output_layer::OutputConfig;

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
    /// Hard samples that are kept, a batch at least. Default 256 (paper).
    pub buffer: usize,
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
            meta_rate: 1e-3,
            meta_decay: 1e-4,
        }
    }
}

/// Distillation with weights that are learnt from hard samples.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mmkd {
    pub(super) config: MmkdConfig,
}

/// Both networks' weights, `[teachers, batch]` each.
pub(super) struct Weights {
    pub(super) logits: Tensor<2>,
    pub(super) maps: Tensor<2>,
}

impl Weights {
    /// As constants.
    pub(super) fn detach(self) -> Self {
        Self { logits: self.logits.detach(), maps: self.maps.detach() }
    }
}

impl Mmkd {
    /// With these constants.
    #[must_use]
    pub const fn new(config: MmkdConfig) -> Self {
        Self { config }
    }

    /// With the gradient by the networks' parameters, if these carry one.
    pub(super) fn weights(&self, step: &Step) -> Weights {
        let teachers = step.given_logits();
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
    pub(super) fn map_errors(step: &Step) -> Tensor<2> {
        let sized = |(own, maps): (&Tensor<4>, &Vec<Tensor<4>>)| {
            let [_, _, height, width] = own.dims();
            resize(maps[0].clone(), height, width)
        };
        let targets: Vec<Tensor<4>> =
            step.projected_maps.iter().zip(&step.teacher_maps).map(sized).collect();
        map_errors(&step.projected_maps, &targets)
    }

    /// `L_match`; the weights are constants.
    pub(super) fn matching(&self, step: &Step, weights: &Weights) -> Tensor<1> {
        let MmkdConfig { output: OutputConfig { temperature, alpha }, beta, .. } = self.config;
        let student = &step.student_logits;
        let kd = weighted_kl(step.given_logits(), student, &weights.logits, temperature);
        kd * alpha + weighted_sum(&weights.maps, &Self::map_errors(step)) * beta
    }

    /// What the weights multiply in `L`: of outputs and of maps, `[teachers, batch]` each.
    pub(super) fn weighted_values(&self, step: &Step) -> [Vec<f64>; 2] {
        let MmkdConfig { output: OutputConfig { temperature, alpha }, beta, .. } = self.config;
        let teachers = step.given_logits();
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

/// Width of the hidden layer of a network with so many inputs.
pub(super) fn hidden_width(inputs: usize) -> usize {
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
