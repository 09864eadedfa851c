//! Class reliability: each teacher counts by how often it is right on samples of that class.
//!
//! ```text
//! r[k,c] = (right[k,c] + m · accuracy_k) / (n_c + m)            on the validation split
//! w[k,b] = r[k,y_b] / Σ_j r[j,y_b]
//! L      = mean_b CE_b(z_S) + α mean_b Σ_k w[k,b] τ² KL(σ(z_k/τ) ‖ σ(z_S/τ))
//! ```
//! `right[k,c]` of the `n_c` validation samples of class `c` are those that teacher `k` gets right.
//! `m` (`smoothing`) samples at the teacher's accuracy on all classes are added to each class, so
//! that a class with few samples says little: with m = 5, a class of 5 samples counts half.
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[teachers, batch, classes]`, labels `[batch]`.
//! # Gradient
//! through the student only; weights are constants.
//! # Paper and code
//! none: faculty's own. Unlike CA-MKD's, these weights are measured on samples that the teachers
//! did not train on, and are the same for all samples of a class.
//! # Limits
//! needs a validation split. A sample without a label is weighted by the accuracy on all classes. Where every teacher has reliability 0, all count the same. With one
//! teacher every weight is 1.

use crate::shared::options::{ALPHA, TEMPERATURE, number, option};
use crate::shared::output_layer::task_and_weighted_kd;
use crate::weighting::{ClassReliability as Rule, WithoutLabel};
use crate::{Facts, Loss, Method, MethodInfo, Needs, Status, Step};
use faculty_contract::Setup;
use faculty_contract::TeacherProfile;
use faculty_recipe::{MethodSpec, OptionValue, Range};

/// Constants of [`ClassReliability`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassReliabilityConfig {
    /// Softening of both distributions, > 0. Default 4.
    pub temperature: f32,
    /// Weight of the distillation term, ≥ 0. Default 1.
    pub alpha: f64,
    /// Samples at the teacher's own accuracy that are added to each class, ≥ 0. Default 5.
    pub smoothing: f64,
}

impl Default for ClassReliabilityConfig {
    fn default() -> Self {
        Self { temperature: 4.0, alpha: 1.0, smoothing: 5.0 }
    }
}

/// Distillation from teachers weighted by their accuracy on the sample's class.
#[derive(Clone, Debug, Default)]
pub struct ClassReliability {
    config: ClassReliabilityConfig,
    rule: Option<Rule>,
    unlabelled: WithoutLabel,
}

impl ClassReliability {
    /// With these constants; [`Method::prepare`] brings the reliabilities.
    #[must_use]
    pub fn new(config: ClassReliabilityConfig) -> Self {
        Self { config, rule: None, unlabelled: WithoutLabel::default() }
    }
}

/// `(right + m · accuracy) / (n + m)` of each class, 0 to 1.
fn smoothed(teacher: &TeacherProfile, smoothing: f64) -> Vec<f64> {
    let overall = teacher.top1 / 100.0;
    teacher
        .class_accuracy
        .iter()
        .zip(&teacher.class_samples)
        .map(|(accuracy, &samples)| {
            let samples = samples as f64;
            let whole = samples + smoothing;
            if whole > 0.0 {
                (samples * accuracy / 100.0 + smoothing * overall) / whole
            } else {
                overall
            }
        })
        .collect()
}

impl Method for ClassReliability {
    fn setup(&self) -> Setup {
        Setup { needs_profiles: true, averages_samples: true, ..Setup::label_free() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_logits: true, ..Needs::default() }
    }

    fn prepare(&mut self, facts: Facts<'_>) {
        if let Facts::Profiles(teachers) = facts {
            let reliabilities: Vec<Vec<f64>> =
                teachers.iter().map(|teacher| smoothed(teacher, self.config.smoothing)).collect();
            self.rule = Some(Rule::new(&reliabilities));
            let whole: f64 = teachers.iter().map(|teacher| teacher.top1).sum();
            self.unlabelled = if whole > 0.0 {
                WithoutLabel::new(teachers.iter().map(|teacher| teacher.top1 / whole).collect())
            } else {
                WithoutLabel::default()
            };
        }
    }

    fn loss(&self, step: &Step) -> Loss {
        let ClassReliabilityConfig { temperature, alpha, .. } = self.config;
        let rule = self.rule.as_ref().expect(crate::PREPARED);
        let weights = self.unlabelled.or_step(rule, step.given_logits(), step);
        task_and_weighted_kd(step, weights, alpha, temperature)
    }

    fn objective(&self, teachers: usize) -> String {
        let ClassReliabilityConfig { temperature, alpha, smoothing } = self.config;
        format!(
            "CE + {alpha} τ² Σ_k w[class] KL, τ = {temperature}, smoothing = {smoothing}, \
             K = {teachers}, Σ_k w = 1"
        )
    }
}

pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "class-reliability",
        help: "each teacher weighted by its validation accuracy on the sample's class",
        options: &[
            TEMPERATURE,
            ALPHA,
            option(
                "smoothing",
                OptionValue::Number(5.0),
                Range::at_least(0.0),
                "faculty's choice",
                "validation samples at the teacher's own accuracy added to each class",
            ),
        ],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "-",
    status: Status::Exact,
    build: |options| {
        Box::new(ClassReliability::new(ClassReliabilityConfig {
            temperature: number(options, "temperature") as f32,
            alpha: number(options, "alpha"),
            smoothing: number(options, "smoothing"),
        }))
    },
};
