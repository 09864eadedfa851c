//! EBKD: several teachers weighted per sample by the entropy of their outputs.
//!
//! Kwon, Na, Lee, Kim, "Adaptive knowledge distillation based on entropy", ICASSP 2020.
//!
//! ```text
//! H_k[b] = -Σ_c σ(z_k)[c] log σ(z_k)[c]                       at temperature 1
//! w[k,b] = (1 - H_k[b] / Σ_j H_j[b]) / (K - 1)
//! L      = mean_b CE_b(z_S) + α mean_b Σ_k w[k,b] τ² KL(σ(z_k/τ) ‖ σ(z_S/τ))
//! ```
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[teachers, batch, classes]`, labels `[batch]`.
//! # Gradient
//! through the student only; weights and teachers are constants.
//! # Paper and code
//! the released code of CA-MKD's comparison takes the mean over the teachers of `1 - H_k/Σ H`, which
//! is (K-1)/K times ours (`scale = "official"`). Where every entropy is 0 the weights are equal.
//! # Limits
//! labels play no part in the weights: a teacher that is sure and wrong counts fully. With one
//! teacher the weight is 1.

use crate::shared::options::{ALPHA, SCALE, TEMPERATURE, scale};
use crate::shared::output_layer::{OutputConfig, task_and_weighted_kd};
use crate::weighting::{Entropy, Weighting as _};
use crate::{Loss, Method, MethodInfo, Needs, Scale, Setup, Status, Step};
use faculty_recipe::MethodSpec;

/// Entropy-weighted distillation from several teachers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ebkd {
    config: OutputConfig,
    scale: Scale,
}

impl Ebkd {
    /// With these constants; the scale's default is [`Scale::Unit`].
    #[must_use]
    pub const fn new(config: OutputConfig, scale: Scale) -> Self {
        Self { config, scale }
    }

    fn alpha(&self, teachers: usize) -> f64 {
        match self.scale {
            Scale::Unit => self.config.alpha,
            // One teacher has the weight 1 in both.
            Scale::Official if teachers == 1 => self.config.alpha,
            Scale::Official => self.config.alpha * (teachers - 1) as f64 / teachers as f64,
        }
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "ebkd",
        help: "each teacher weighted per sample by how sure its output is",
        options: &[TEMPERATURE, ALPHA, SCALE],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Kwon, Na, Lee, Kim, ICASSP 2020",
    status: Status::Exact,
    build: |options| {
        let config = OutputConfig::of(options);
        Box::new(Ebkd::new(config, scale(options)))
    },
};

impl Method for Ebkd {
    fn setup(&self) -> Setup {
        Setup { averages_samples: true, ..Setup::label_free() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_logits: true, ..Needs::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        let teachers = step.given_logits();
        let weights = Entropy.weights(teachers, &step.labels);
        let alpha = self.alpha(teachers.dims()[0]);
        task_and_weighted_kd(step, weights, alpha, self.config.temperature)
    }

    fn objective(&self, teachers: usize) -> String {
        let (alpha, temperature) = (self.alpha(teachers), self.config.temperature);
        format!(
            "CE + {alpha:.4} τ² Σ_k w KL, w by entropy, τ = {temperature}, K = {teachers}, \
             Σ_k w = 1"
        )
    }
}
