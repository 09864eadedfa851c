//! Max-probability: several teachers weighted per sample by their largest probability.
//!
//! ```text
//! m_k[b] = max_c σ(z_k)[c]                                     at temperature 1
//! w[k,b] = m_k[b] / Σ_j m_j[b]
//! L      = mean_b CE_b(z_S) + α mean_b Σ_k w[k,b] τ² KL(σ(z_k/τ) ‖ σ(z_S/τ))
//! ```
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[teachers, batch, classes]`, labels `[batch]`.
//! # Gradient
//! through the student only; weights and teachers are constants.
//! # Paper and code
//! none of its own: the usual confidence of a classifier (Hendrycks, Gimpel, ICLR 2017) as a rule,
//! beside CA-MKD's, which looks at the label.
//! # Limits
//! labels play no part in the weights. The weights differ by at most a factor of the number of
//! classes, so this rule is milder than the others.

use crate::shared::options::{ALPHA, TEMPERATURE};
use crate::shared::output_layer::{OutputConfig, task_and_weighted_kd};
use crate::weighting::{self, Weighting as _};
use crate::{Loss, Method, MethodInfo, Needs, Setup, Status, Step};
use faculty_recipe::MethodSpec;

/// Distillation weighted by largest probability.
#[derive(Clone, Copy, Debug, Default)]
pub struct MaxProbability {
    config: OutputConfig,
}

impl MaxProbability {
    /// With these constants.
    #[must_use]
    pub const fn new(config: OutputConfig) -> Self {
        Self { config }
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "max-probability",
        help: "each teacher weighted per sample by its largest probability",
        options: &[TEMPERATURE, ALPHA],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "-",
    status: Status::Exact,
    build: |options| Box::new(MaxProbability::new(OutputConfig::of(options))),
};

impl Method for MaxProbability {
    fn setup(&self) -> Setup {
        Setup { averages_samples: true, ..Setup::label_free() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_logits: true, ..Needs::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        let weights = weighting::MaxProbability.weights(step.given_logits(), &step.labels);
        task_and_weighted_kd(step, weights, self.config.alpha, self.config.temperature)
    }

    fn objective(&self, teachers: usize) -> String {
        let OutputConfig { temperature, alpha } = self.config;
        format!(
            "CE + {alpha} τ² Σ_k w KL, w by largest probability, τ = {temperature}, \
             K = {teachers}, Σ_k w = 1"
        )
    }
}
