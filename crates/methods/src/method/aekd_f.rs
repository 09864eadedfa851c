//! AEKD-F: AEKD with the last feature maps as well.
//!
//! Du, You, Li, Wu, Wang, Qian, Zhang, "Agree to disagree: adaptive ensemble knowledge distillation in
//! gradient space", NeurIPS 2020.
//!
//! ```text
//! e_k = mean (G_k(F_S) - F_k)²,  G_k = ReLU(BN(Conv1×1(resize(F_S))))   one trained projector a teacher
//! v_k = mean_b ∂e_k/∂F_S[b], divided by its length                     [channels · height · width]
//! a   = argmin ‖Σ_k a_k v_k‖²   with Σ a = 1,  0 ≤ a_k ≤ max(cap, 1/K)
//! L   = mean_b CE_b(z_S) + α Σ_k a'_k mean_b τ² KL_k + β Σ_k a_k e_k    a': the weights of `aekd`
//! ```
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[teachers, batch, classes]`, maps
//! `[batch, channels_k, height_k, width_k]`, labels `[batch]`.
//! # Gradient
//! through the student and the projectors; both weights are constants.
//! # Paper and code
//! ours: the projectors (those of CA-MKD, with their start), the output term beside the maps (`alpha = 0` leaves it
//! out), β = 100 as for hints. The directions alone decide the weights, since the vectors are
//! normalised, as in the released solver.
//! # Limits
//! computes the feature terms twice: once to weigh them, once to learn from them.

use burn::Tensor;
use faculty_nets::Init;

use crate::method::aekd::CAP;
use crate::method::fitnet::HINT_BETA;
use crate::shared::layers::{Parameters, batch_norm_relu, conv1x1, parameter, resize};
use crate::shared::options::{ALPHA, TEMPERATURE, number};
use crate::shared::output_layer::{OutputConfig, task};
use crate::shared::transformer::linear_parameters;
use crate::weighting::{agreement_weights, logit_gradients, same_for_all_samples};
use crate::{Loss, Method, MethodInfo, Needs, Parts, Setup, Shapes, Status, Step, Term};
use faculty_contract::losses::weighted_kl;
use faculty_nets::Tap;
use faculty_recipe::MethodSpec;

/// Constants of [`AekdF`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AekdFConfig {
    /// Of the output term.
    pub output: OutputConfig,
    /// Weight of the feature term, ≥ 0. Default 100.
    pub beta: f64,
    /// Largest weight of a teacher, above 0 to 1. Default 0.6.
    pub cap: f64,
}

impl Default for AekdFConfig {
    fn default() -> Self {
        Self { output: OutputConfig::default(), beta: 100.0, cap: 0.6 }
    }
}

/// Distillation of outputs and maps weighted by agreement in gradient space.
#[derive(Clone, Copy, Debug, Default)]
pub struct AekdF {
    config: AekdFConfig,
}

impl AekdF {
    /// With these constants.
    #[must_use]
    pub const fn new(config: AekdFConfig) -> Self {
        Self { config }
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "aekd-f",
        help: "aekd with the last feature maps as well",
        options: &[TEMPERATURE, ALPHA, HINT_BETA, CAP],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Du et al., NeurIPS 2020",
    status: Status::Reimplementation,
    build: |options| {
        Box::new(AekdF::new(AekdFConfig {
            output: OutputConfig::of(options),
            beta: number(options, "beta"),
            cap: number(options, "cap"),
        }))
    },
};

impl Method for AekdF {
    fn setup(&self) -> Setup {
        Setup::label_free()
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs {
            teacher_logits: self.config.output.alpha > 0.0,
            teacher_taps: vec![Tap::Map],
            student_taps: vec![Tap::Map],
            trained_parts: true,
            ..Needs::default()
        }
    }

    fn parts(&self, shapes: &Shapes) -> Parts {
        let from = shapes.student[&Tap::Map].channels;
        let of_teacher = |(k, taps): (usize, &crate::TapShapes)| {
            let to = taps[&Tap::Map].channels;
            let convolution = linear_parameters(&format!("connector.{k}.conv"), from, to);
            let scale = parameter(format!("connector.{k}.bn.weight"), &[to], Init::Ones);
            let shift = parameter(format!("connector.{k}.bn.bias"), &[to], Init::Zeros);
            convolution.into_iter().chain([scale, shift])
        };
        let parameters = shapes.teachers.iter().enumerate().flat_map(of_teacher).collect();
        Parts { parameters, ..Parts::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        let AekdFConfig { output: OutputConfig { temperature, alpha }, beta, cap } = self.config;
        let student = &step.student_logits;
        let batch = student.dims()[0];
        let mut loss = Loss::new(vec![task(step, 1.0)]);
        if alpha > 0.0 {
            let teachers = step.given_logits();
            let pulls = logit_gradients(teachers, student, temperature);
            let weights = same_for_all_samples(&agreement_weights(&pulls, cap), batch, student);
            let value = weighted_kl(teachers, student, &weights, temperature);
            loss.terms.push(Term { name: "kd", weight: alpha, value });
            loss = loss.with_teacher_weights("kd", weights);
        }
        let maps: Vec<Tensor<4>> = step.teacher_maps.iter().map(|maps| maps[0].clone()).collect();
        let student_map = &step.student_maps[0];
        let weights = agreement_weights(&map_directions(student_map, &maps, &step.parameters), cap);
        let value = errors(student_map, &maps, &step.parameters)
            .into_iter()
            .zip(&weights)
            .map(|(error, &weight)| error * weight)
            .reduce(|sum, error| sum + error)
            .expect("at least one teacher");
        loss.terms.push(Term { name: "intermediate", weight: beta, value });
        let weights = same_for_all_samples(&weights, batch, student);
        loss.with_teacher_weights("intermediate", weights)
    }

    fn objective(&self, teachers: usize) -> String {
        let AekdFConfig { output: OutputConfig { temperature, alpha }, beta, cap } = self.config;
        let cap = cap.max(1.0 / teachers.max(1) as f64);
        format!(
            "CE + {alpha} τ² Σ_k a'_k KL + {beta} Σ_k a_k MSE, a by agreement, a_k ≤ {cap:.3}, \
             τ = {temperature}, K = {teachers}, Σ_k a = 1"
        )
    }
}

/// `e_k`, `[1]` each.
fn errors(student: &Tensor<4>, maps: &[Tensor<4>], parameters: &[Tensor<1>]) -> Vec<Tensor<1>> {
    let mut parameters = Parameters::new(parameters);
    let from = student.dims()[1];
    maps.iter()
        .map(|map| {
            let [_, to, height, width] = map.dims();
            let (weight, bias) = (parameters.next([to, from]), parameters.next([to]));
            let projected = conv1x1(resize(student.clone(), height, width), weight, Some(bias));
            let projected =
                batch_norm_relu(projected, parameters.next([to]), parameters.next([to]));
            (projected - map.clone()).square().mean()
        })
        .collect()
}

/// `v_k`, of length 1 (0 where a teacher pulls nowhere), from a tape of their own.
fn map_directions(
    student: &Tensor<4>,
    maps: &[Tensor<4>],
    parameters: &[Tensor<1>],
) -> Vec<Vec<f64>> {
    let batch = student.dims()[0];
    let constants: Vec<Tensor<1>> = parameters.iter().map(|p| p.clone().detach()).collect();
    let count = maps.len();
    (0..count)
        .map(|k| {
            let leaf = student.clone().detach().require_grad();
            let of_teacher = &constants[k * constants.len() / count..];
            let error = errors(&leaf, &maps[k..=k], of_teacher).remove(0);
            let gradients = error.backward();
            let gradient = leaf.grad(&gradients).expect("the error reads the map");
            let gradient = gradient.into_data().try_to_vec::<f32>().expect("maps hold f32");
            let mut mean = vec![0.0_f64; gradient.len() / batch];
            for sample in gradient.chunks_exact(mean.len()) {
                mean.iter_mut().zip(sample).for_each(|(sum, &g)| *sum += f64::from(g));
            }
            let length = mean.iter().map(|v| v * v).sum::<f64>().sqrt();
            let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
            mean.iter_mut().for_each(|v| *v *= scale);
            mean
        })
        .collect()
}
