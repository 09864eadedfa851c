//! CRD: the student's vector of a sample must be told from those of other samples by the teacher's
//! vector of it, and the other way round.
//!
//! Tian, Krishnan, Isola, "Contrastive representation distillation", ICLR 2020,
//! <https://arxiv.org/abs/1910.10699>.
//!
//! ```text
//! s, t    = unit rows of Linear(pooled student), Linear(pooled teacher)
//! p(v, j) = exp(⟨v, bank[j]⟩/τ_c) / Z                    Z: N times the mean exponential of the first batch
//! c       = m/N                                          m negatives of N training samples
//! NCE(v)  = mean_b [ -log p(v_b, i_b)/(p(v_b, i_b) + c) - Σ_j log c/(p(v_b, j) + c) ]
//! L       = mean_b CE_b(z_S) + β (NCE(s) on the teacher's bank + NCE(t) on the student's bank) [+ α τ² KL]
//! bank[i] = unit( momentum · bank[i] + (1 - momentum) v )              at each update, for the batch's samples
//! ```
//! i is the sample's own place in the banks, j runs over samples of other classes, drawn anew for
//! each sample and batch without repetition.
//! # Shapes
//! pooled vectors `[batch, channels]`, banks `[N, width]`, labels `[batch]`.
//! # Gradient
//! through the student and both linear layers; banks and Z are constants.
//! # Paper and code
//! the released code's estimate, sampling of negatives (`exact`) and constants: 128 wide, 16384
//! negatives, τ_c 0.07, momentum 0.5, β 0.8. The linear layers start as PyTorch's do by default (uniform
//! in ±1/√channels), the banks uniform in ±√(3/width). Other than there: where a class has fewer than
//! `negatives` other samples, all of these are taken once, where the release draws with repetition;
//! nothing is added to the denominators, which c keeps from zero.
//! # Limits
//! the banks take `8 N width` bytes a teacher, in memory and in checkpoints; the places in them go by
//! sample id. With several teachers, the mean over them, each with layers and banks of its own. A short
//! run is too short for it: in 6 epochs on the demo's data, three teachers, it stays below plain training
//! (79.4 and 79.6 in PyTorch, 82.1 here, against 84.8 and 84.95).

use std::sync::Arc;

use burn::Tensor;
use faculty_data::rng::{Purpose, below, draw};
use faculty_nets::{Init, ParameterSpec};
use rayon::prelude::*;

use crate::shared::features::{
    KD_ALPHA, LOGIT_TERM_TEMPERATURE, LogitTermConfig, matched, mean_k, over_teachers, rows,
    unit_rows,
};
use crate::shared::layers::{Parameters, parameter};
use crate::shared::options::{BENCHMARKS, count, number, option};
use crate::shared::transformer::linear_parameters;
use crate::{Loss, Method, MethodInfo, Needs, Parts, Setup, Shapes, Status, Step};
use faculty_contract::losses::{numbers, with_gradient};
use faculty_contract::{TrainingSamples, Write};
use faculty_nets::Tap;
use faculty_recipe::{MethodSpec, OptionValue, Range};

/// Constants of [`Crd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrdConfig {
    /// Weight of the term, ≥ 0. Default 0.8.
    pub beta: f64,
    /// Samples of other classes that each sample is told from, ≥ 1. Default 16384.
    pub negatives: usize,
    /// Values of a vector in the banks, ≥ 1. Default 128.
    pub width: usize,
    /// Softening τ_c of the products, > 0. Default 0.07.
    pub contrast_temperature: f64,
    /// What a bank keeps of a sample's vector at an update, 0 to 1. Default 0.5.
    pub momentum: f64,
    /// Output term beside it. Default none.
    pub logit_term: LogitTermConfig,
}

impl Default for CrdConfig {
    fn default() -> Self {
        Self {
            beta: 0.8,
            negatives: 16_384,
            width: 128,
            contrast_temperature: 0.07,
            momentum: 0.5,
            logit_term: LogitTermConfig::default(),
        }
    }
}

/// Contrastive distillation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Crd {
    config: CrdConfig,
}

impl Crd {
    /// With these constants.
    #[must_use]
    pub const fn new(config: CrdConfig) -> Self {
        Self { config }
    }

    /// A bank after an update with vectors `[batch, width]` of the samples `places`.
    fn moved(&self, bank: &[f32], places: &[usize], vectors: &[f32]) -> Vec<f32> {
        let CrdConfig { width, momentum, .. } = self.config;
        let momentum = momentum as f32;
        let mut rows = vectors.to_vec();
        for (row, &place) in rows.chunks_exact_mut(width).zip(places) {
            let old = &bank[place * width..][..width];
            row.iter_mut()
                .zip(old)
                .for_each(|(v, old)| *v = momentum * old + (1.0 - momentum) * *v);
            let length = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
            // Opposite vectors may cancel; a row of zeros is as far from everything as can be.
            row.iter_mut().for_each(|v| *v = (f64::from(*v) / length.max(1e-12)) as f32);
        }
        rows
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "crd",
        help: "student's and teacher's vectors of a sample told from those of other samples",
        options: &[
            option(
                "beta",
                OptionValue::Number(0.8),
                Range::at_least(0.0),
                BENCHMARKS,
                "weight of the contrastive term",
            ),
            option(
                "negatives",
                OptionValue::Integer(16_384),
                Range::between(1.0, 1e6),
                BENCHMARKS,
                "samples of other classes that each sample is told from, as far as there are so many",
            ),
            option(
                "width",
                OptionValue::Integer(128),
                Range::between(1.0, 4096.0),
                BENCHMARKS,
                "values of the vectors that are compared",
            ),
            option(
                "contrast_temperature",
                OptionValue::Number(0.07),
                Range::at_least(0.02),
                BENCHMARKS,
                "softening of the products of two vectors",
            ),
            option(
                "momentum",
                OptionValue::Number(0.5),
                Range::between(0.0, 1.0),
                BENCHMARKS,
                "what the banks keep of a sample's vector at an update",
            ),
            KD_ALPHA,
            LOGIT_TERM_TEMPERATURE,
        ],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Tian, Krishnan, Isola, ICLR 2020, arXiv 1910.10699",
    status: Status::Exact,
    build: |options| {
        Box::new(Crd::new(CrdConfig {
            beta: number(options, "beta"),
            negatives: count(options, "negatives"),
            width: count(options, "width"),
            contrast_temperature: number(options, "contrast_temperature"),
            momentum: number(options, "momentum"),
            logit_term: LogitTermConfig::of(options),
        }))
    },
};

/// Array of [`Crd::memory`] with both Z of each teacher, 0 before the first batch; the banks follow.
const NORMALISERS: usize = 0;

/// Student and teacher, as they follow one another in arrays and parameters.
const SIDES: [&str; 2] = ["student", "teacher"];

impl Crd {
    fn parameters(&self, shapes: &Shapes) -> Vec<ParameterSpec> {
        let student = shapes.student[&Tap::Pooled].elements();
        let mut specs = Vec::new();
        for (k, teacher) in shapes.teachers.iter().enumerate() {
            for (side, inputs) in SIDES.into_iter().zip([student, teacher[&Tap::Pooled].elements()])
            {
                specs.extend(linear_parameters(&format!("{side}.{k}"), inputs, self.config.width));
            }
        }
        specs
    }

    fn memory(&self, shapes: &Shapes) -> Vec<ParameterSpec> {
        let (teachers, width) = (shapes.teachers.len(), self.config.width);
        let mut specs = vec![parameter("normalisers".to_owned(), &[teachers, 2], Init::Zeros)];
        let initial = Init::Uniform { bound: (3.0 / width as f64).sqrt() };
        for k in 0..teachers {
            for side in SIDES {
                specs.push(parameter(
                    format!("bank.{k}.{side}"),
                    &[shapes.samples, width],
                    initial,
                ));
            }
        }
        specs
    }
}

impl Method for Crd {
    /// Negatives are samples of other classes than the sample's one.
    fn setup(&self) -> Setup {
        Setup { needs_one_label: true, ..Setup::default() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        let needs = matched(vec![Tap::Pooled]).union(self.config.logit_term.needs());
        Needs { trained_parts: true, sample_numbers: true, ..needs }
    }

    fn parts(&self, shapes: &Shapes) -> Parts {
        Parts {
            parameters: self.parameters(shapes),
            memory: self.memory(shapes),
            ..Parts::default()
        }
    }

    fn loss(&self, step: &Step) -> Loss {
        let CrdConfig { beta, width, logit_term, contrast_temperature, negatives, .. } =
            self.config;
        let mut parameters = Parameters::new(&step.parameters);
        let drawn = drawn_negatives(step.step_seed, &step.samples, &step.sample_numbers, negatives);
        let (mut values, mut writes) = (Vec::new(), Vec::new());
        for (k, maps) in step.teacher_maps.iter().enumerate() {
            let mut embedded = |map: &Tensor<4>| {
                let pooled = rows(map.clone());
                let weight = parameters.next([width, pooled.dims()[1]]);
                let bias = parameters.next([width]).unsqueeze::<2>();
                unit_rows(pooled.matmul(weight.transpose()) + bias)
            };
            let vectors = [embedded(&step.student_maps[0]), embedded(&maps[0])];
            let banks = [0, 1].map(|side| Arc::clone(&step.memory[1 + 2 * k + side]));
            let mut normalisers = [0, 1].map(|side| step.memory[NORMALISERS][2 * k + side]);
            let mut value: Option<Tensor<1>> = None;
            for (side, vectors) in vectors.iter().enumerate() {
                let contrast = Contrast {
                    bank: &banks[1 - side],
                    width,
                    positives: &step.sample_numbers,
                    drawn: &drawn,
                    samples: step.samples.len(),
                    temperature: contrast_temperature,
                };
                let flat = numbers(vectors);
                let normaliser = &mut normalisers[side];
                if *normaliser == 0.0 {
                    *normaliser = contrast.normaliser(&flat);
                }
                let (nce, gradient) = contrast.loss(&flat, f64::from(*normaliser));
                let nce = with_gradient(nce, vectors, gradient);
                value = Some(value.map_or(nce.clone(), |sum| sum + nce));
                writes.push(Write {
                    array: 1 + 2 * k + side,
                    rows: step.sample_numbers.clone(),
                    values: self.moved(&banks[side], &step.sample_numbers, &flat),
                });
            }
            writes.push(Write { array: NORMALISERS, rows: vec![k], values: normalisers.to_vec() });
            values.push(value.expect("there are two sides"));
        }
        let mut loss = logit_term.loss(step);
        loss.terms.push(over_teachers(step, "contrast", beta, values));
        loss.with_writes(writes)
    }

    fn objective(&self, teachers: usize) -> String {
        let CrdConfig { beta, negatives, contrast_temperature, momentum, logit_term, .. } =
            self.config;
        let term = mean_k("(NCE(s) + NCE(t))", teachers);
        format!(
            "{} + {beta} {term}, {negatives} negatives, τ_c = {contrast_temperature}, banks keep \
             {momentum}",
            logit_term.objective()
        )
    }
}

/// For each sample of a batch different samples of other classes: `count`, or all there are. They go
/// by the sample, not by its place in the batch.
fn drawn_negatives(
    number: u64,
    samples: &TrainingSamples,
    positives: &[usize],
    count: usize,
) -> Vec<Vec<u32>> {
    let labels = samples.labels();
    let of = |&sample: &usize| {
        let others = labels.iter().enumerate().filter(|(_, label)| **label != labels[sample]);
        let mut others: Vec<u32> = others.map(|(i, _)| i as u32).collect();
        if count < others.len() {
            for i in 0..count {
                let rest = (others.len() - i) as u64;
                let chosen = draw(Purpose::Method, number, CONTRAST, sample as u64, i as u64);
                others.swap(i, i + below(chosen, rest) as usize);
            }
            others.truncate(count);
        }
        others
    };
    positives.par_iter().map(of).collect()
}

/// Sets these draws apart from other uses of a batch's number.
const CONTRAST: u64 = 0x636f_6e74;

/// Vectors of one side against the bank of the other.
struct Contrast<'a> {
    /// `[samples, width]`.
    bank: &'a [f32],
    width: usize,
    /// Place of each sample of the batch, which its vector should be told by.
    positives: &'a [usize],
    /// Places that it is told from.
    drawn: &'a [Vec<u32>],
    samples: usize,
    temperature: f64,
}

impl Contrast<'_> {
    fn row(&self, place: usize) -> &[f32] {
        &self.bank[place * self.width..][..self.width]
    }

    /// `exp(⟨v, bank[place]⟩/τ_c)`.
    fn exponential(&self, vector: &[f32], place: usize) -> f64 {
        (f64::from(dot(vector, self.row(place))) / self.temperature).exp()
    }

    /// Z from a first batch of vectors.
    fn normaliser(&self, vectors: &[f32]) -> f32 {
        let of = |((vector, &positive), drawn): ((&[f32], &usize), &Vec<u32>)| {
            let others = drawn.iter().map(|&place| self.exponential(vector, place as usize));
            (self.exponential(vector, positive) + others.sum::<f64>(), 1 + drawn.len())
        };
        let all = vectors.chunks_exact(self.width).zip(self.positives).zip(self.drawn);
        let (sum, count) = all.map(of).fold((0.0, 0), |(s, n), (v, m)| (s + v, n + m));
        // Kept in the range of f32, whatever vectors come.
        (sum / count as f64 * self.samples as f64).clamp(1e-30, 1e30) as f32
    }

    /// `NCE` and its gradient by the vectors `[batch, width]`.
    fn loss(&self, vectors: &[f32], normaliser: f64) -> (f64, Vec<f32>) {
        let batch = self.positives.len() as f64;
        let mut gradient = vec![0.0; vectors.len()];
        let all =
            vectors.par_chunks_exact(self.width).zip(gradient.par_chunks_exact_mut(self.width));
        let losses: Vec<f64> = all
            .zip(self.positives)
            .zip(self.drawn)
            .map(|(((vector, gradient), &positive), drawn)| {
                let c = drawn.len() as f64 / self.samples as f64;
                let scale = 1.0 / (self.temperature * batch);
                let p = self.exponential(vector, positive) / normaliser;
                let mut loss = -(p / (p + c)).ln();
                add_scaled(gradient, (-c / (p + c) * scale) as f32, self.row(positive));
                for place in drawn.iter().map(|&place| place as usize) {
                    let p = self.exponential(vector, place) / normaliser;
                    loss -= (c / (p + c)).ln();
                    add_scaled(gradient, (p / (p + c) * scale) as f32, self.row(place));
                }
                loss
            })
            .collect();
        (losses.iter().sum::<f64>() / batch, gradient)
    }
}

/// In eight partial sums, so that it is the same on every machine and still quick.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (mut sums, (a8, b8)) = ([0.0_f32; 8], (a.chunks_exact(8), b.chunks_exact(8)));
    let rest = a8.remainder().iter().zip(b8.remainder()).map(|(a, b)| a * b).sum::<f32>();
    for (a, b) in a8.zip(b8) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f32>() + rest
}

fn add_scaled(sum: &mut [f32], factor: f32, row: &[f32]) {
    sum.iter_mut().zip(row).for_each(|(sum, v)| *sum += factor * v);
}

#[cfg(test)]
mod tests;
