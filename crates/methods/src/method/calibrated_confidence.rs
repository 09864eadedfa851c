//! Calibrated confidence: CA-MKD's weights on teachers that are equally honest about themselves.
//!
//! ```text
//! T_k    = argmin_T (mean of -log σ(z_k/T)[y] on the validation split)
//! w[k,b] = (1 - softmax_k(CE_b(z_k/T_k))) / (K - 1)
//! L      = mean_b CE_b(z_S) + α mean_b Σ_k w[k,b] τ² KL(σ(z_k/τ) ‖ σ(z_S/τ))
//! ```
//! CA-MKD compares cross-entropies of different networks. A teacher that is surer than it should be
//! looks more right than it is where it is right, and is punished too hard where it is wrong; one
//! temperature a teacher, fitted beforehand, takes that out of the comparison.
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[teachers, batch, classes]`, labels `[batch]`.
//! # Gradient
//! through the student only; weights and temperatures are constants.
//! # Paper and code
//! none: the output part of CA-MKD (Zhang, Chen, Wang, ICASSP 2022) after the temperature scaling
//! of Guo et al., ICML 2017. The targets stay uncalibrated, so that only the weights differ from
//! `ca-mkd` with `intermediate = false`; `calibrate_targets` divides them by `T_k` too.
//! # Limits
//! needs a validation split. Where a sample has no label, each teacher's mean cross-entropy there, at
//! its temperature, stands in the place of the sample's. With one teacher every weight is 1.

use crate::shared::options::{ALPHA, TEMPERATURE, flag, number, option};
use crate::shared::output_layer::task_and_kd;
use crate::weighting::{CalibratedConfidence as Rule, WithoutLabel, complement_of_softmax_values};
use crate::{Facts, Loss, Method, MethodInfo, Needs, Status, Step};
use faculty_contract::Setup;
use faculty_contract::losses::weighted_kl;
use faculty_recipe::{MethodSpec, OptionValue, Range};

/// Constants of [`CalibratedConfidence`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalibratedConfidenceConfig {
    /// Softening of both distributions, > 0. Default 4.
    pub temperature: f32,
    /// Weight of the distillation term, ≥ 0. Default 1.
    pub alpha: f64,
    /// Divide the targets by the fitted temperatures too. Default false.
    pub calibrate_targets: bool,
}

impl Default for CalibratedConfidenceConfig {
    fn default() -> Self {
        Self { temperature: 4.0, alpha: 1.0, calibrate_targets: false }
    }
}

/// CA-MKD's output part on calibrated confidences.
#[derive(Clone, Debug, Default)]
pub struct CalibratedConfidence {
    config: CalibratedConfidenceConfig,
    rule: Option<Rule>,
    unlabelled: WithoutLabel,
}

impl CalibratedConfidence {
    /// With these constants; [`Method::prepare`] brings the temperatures.
    #[must_use]
    pub fn new(config: CalibratedConfidenceConfig) -> Self {
        Self { config, rule: None, unlabelled: WithoutLabel::default() }
    }
}

impl Method for CalibratedConfidence {
    fn setup(&self) -> Setup {
        Setup { needs_profiles: true, averages_samples: true, ..Setup::label_free() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_logits: true, ..Needs::default() }
    }

    fn prepare(&mut self, facts: Facts<'_>) {
        if let Facts::Profiles(teachers) = facts {
            let temperatures = teachers.iter().map(|teacher| teacher.temperature).collect();
            self.rule = Some(Rule { temperatures });
            let costs: Vec<f64> = teachers.iter().map(|teacher| teacher.calibrated_nll).collect();
            self.unlabelled = WithoutLabel::new(complement_of_softmax_values(&costs, costs.len()));
        }
    }

    fn loss(&self, step: &Step) -> Loss {
        let CalibratedConfidenceConfig { temperature, alpha, calibrate_targets } = self.config;
        let rule = self.rule.as_ref().expect(crate::PREPARED);
        let teachers = step.given_logits();
        let weights = self.unlabelled.or_step(rule, teachers, step);
        let targets = if calibrate_targets { rule.calibrate(teachers) } else { teachers.clone() };
        let kd = weighted_kl(&targets, &step.student_logits, &weights, temperature);
        task_and_kd(step, alpha, kd).with_teacher_weights("kd", weights)
    }

    fn objective(&self, teachers: usize) -> String {
        let CalibratedConfidenceConfig { temperature, alpha, calibrate_targets } = self.config;
        let fitted = self.rule.as_ref().map_or_else(String::new, |rule| {
            let all: Vec<String> = rule.temperatures.iter().map(|t| format!("{t:.3}")).collect();
            format!(" = {}", all.join(", "))
        });
        let targets = if calibrate_targets { "z_k/T_k" } else { "z_k" };
        format!(
            "CE + {alpha} τ² Σ_k w(z_k/T_k) KL({targets}), τ = {temperature}, T_k{fitted}, \
             K = {teachers}, Σ_k w = 1"
        )
    }
}

pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "calibrated-confidence",
        help: "CA-MKD's output weights after each teacher's confidence is calibrated",
        options: &[
            TEMPERATURE,
            ALPHA,
            option(
                "calibrate_targets",
                OptionValue::Flag(false),
                Range::Any,
                "faculty's choice",
                "also divide the targets by the fitted temperatures",
            ),
        ],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "-",
    status: Status::Exact,
    build: |options| {
        Box::new(CalibratedConfidence::new(CalibratedConfidenceConfig {
            temperature: number(options, "temperature") as f32,
            alpha: number(options, "alpha"),
            calibrate_targets: flag(options, "calibrate_targets"),
        }))
    },
};
