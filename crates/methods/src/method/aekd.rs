//! AEKD: several teachers weighted per batch so that the student is pulled where they agree.
//!
//! Du, You, Li, Wu, Wang, Qian, Zhang, "Agree to disagree: adaptive ensemble knowledge distillation in
//! gradient space", NeurIPS 2020.
//!
//! ```text
//! v_k = mean_b ∂(mean_b KL_k)/∂z_S[b] = mean_b τ (σ(z_S/τ) - σ(z_k/τ)) / B        [classes]
//! a   = argmin ‖Σ_k a_k v_k‖²   with Σ a = 1,  0 ≤ a_k ≤ max(cap, 1/K)
//! L   = mean_b CE_b(z_S) + α Σ_k a_k mean_b τ² KL(σ(z_k/τ) ‖ σ(z_S/τ))
//! ```
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[teachers, batch, classes]`, labels `[batch]`.
//! # Gradient
//! through the student only; the weights are constants.
//! # Paper and code
//! the program is solved exactly, in f64, and whatever the size of the gradients; the released code
//! hands it to a one-class SVM whose tolerance is larger than these gradients, so that it stops at
//! its starting point.
//! # Limits
//! one weight a teacher and batch, not a sample, and labels play no part in it. A teacher whose
//! output is near the student's has a short gradient and so a large weight.

use crate::shared::options::{ALPHA, TEMPERATURE, number, option};
use crate::shared::output_layer::{OutputConfig, task_and_weighted_kd};
use crate::weighting::{agreement_weights, logit_gradients, same_for_all_samples};
use crate::{Loss, Method, MethodInfo, Needs, Setup, Status, Step};
use faculty_recipe::{MethodSpec, OptionSpec, OptionValue, Range};

/// Distillation weighted by agreement in gradient space.
#[derive(Clone, Copy, Debug)]
pub struct Aekd {
    config: OutputConfig,
    cap: f64,
}

impl Default for Aekd {
    fn default() -> Self {
        Self::new(OutputConfig::default(), 0.6)
    }
}

impl Aekd {
    /// With these constants; `cap` is the largest weight of a teacher, above 0 to 1, default 0.6.
    #[must_use]
    pub const fn new(config: OutputConfig, cap: f64) -> Self {
        Self { config, cap }
    }
}

pub(crate) const CAP: OptionSpec = option(
    "cap",
    OptionValue::Number(0.6),
    Range::up_to(0.0, 1.0),
    "released code",
    "largest weight of a teacher (the paper's tolerance); 1/K at least",
);

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "aekd",
        help: "weights per batch that pull the student where the teachers agree",
        options: &[TEMPERATURE, ALPHA, CAP],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Du et al., NeurIPS 2020",
    status: Status::Exact,
    build: |options| {
        let config = OutputConfig::of(options);
        Box::new(Aekd::new(config, number(options, "cap")))
    },
};

impl Method for Aekd {
    fn setup(&self) -> Setup {
        Setup::label_free()
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_logits: true, ..Needs::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        let OutputConfig { temperature, alpha } = self.config;
        let student = &step.student_logits;
        let pulls = logit_gradients(step.given_logits(), student, temperature);
        let weights = agreement_weights(&pulls, self.cap);
        let weights = same_for_all_samples(&weights, student.dims()[0], student);
        task_and_weighted_kd(step, weights, alpha, temperature)
    }

    fn objective(&self, teachers: usize) -> String {
        let OutputConfig { temperature, alpha } = self.config;
        let cap = self.cap.max(1.0 / teachers.max(1) as f64);
        format!(
            "CE + {alpha} τ² Σ_k a_k KL, a by agreement, a_k ≤ {cap:.3}, τ = {temperature}, \
             K = {teachers}, Σ_k a = 1"
        )
    }
}
