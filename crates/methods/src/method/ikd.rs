//! IKD: a teacher that learns to teach from how the student does in exams.
//!
//! Liu et al., "Learning to teach with student feedback", EMNLP Findings 2021,
//! <https://arxiv.org/abs/2109.04641>.
//!
//! ```text
//! course  L = (1 - α) mean_b CE_b(z_S) + α mean_b τ² KL(σ(z_T/τ) ‖ σ(z_S/τ)),   θ, θ' the student before and after
//! exam    v = ∇ mean CE(θ') on as many samples that the student never trains on
//! h       = log σ(z_S(θ+εv)/τ) - log σ(z_S(θ-εv)/τ) on the course batch,   ε = 2·10⁻⁴/‖v‖
//! ∂L_exam/∂z_T[b,c] ≈ -η α τ / (2 ε B) · p_c (Σ_i p_i h_i - h_c),   p = σ(z_T/τ)
//! ```
//! and from there back through the teacher, which takes a step of AdamW. Its new weights give the next
//! batch's logits.
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[1, batch, classes]`, labels `[batch]`.
//! # Gradient
//! of the loss through the student only; the teacher gets its own from the exam.
//! # Paper and code
//! made from what is known of the paper, without its text or code. It differentiates through the student's step, here two more forward
//! passes, where the step began, give the same ([`crate::gradient_by_teacher_logits`]). Choices: an exam
//! after every batch; exam samples are a share of the training split, chosen by hashed id, never of the
//! validation or test split; the student's step counts as a plain one at rate 1, since AdamW sees a
//! constant factor of its gradient only through its own ε of 10⁻⁸ (weight decay 0.01 as in PyTorch);
//! the teacher stays in evaluation mode, with its running
//! statistics held.
//! # Limits
//! exactly one teacher, a network of this program with the data's classes; no cache, since its outputs
//! change. A batch costs about three steps of the student and one of the teacher. The teacher of an
//! unfinished run is in its checkpoint; the result is the student alone.

use faculty_nets::weights::StateDict;

use crate::shared::bilevel::{gradient_by_teacher_logits, probe_step};
use crate::shared::options::{OURS, number, option, temperature};
use crate::{Kd, KdConfig, Loss, Method, MethodInfo, Needs, Parts, Shapes, Status, Step};
use faculty_contract::Setup;
use faculty_contract::losses::numbers;
use faculty_contract::{AfterStep, Sandbox};
use faculty_recipe::{MethodSpec, OptionValue, Range};

/// Constants of [`Ikd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IkdConfig {
    /// Softening of both distributions, > 0. Default 5.
    pub temperature: f32,
    /// Weight of the KL term, 0 to 1; the task term gets the rest. Default 0.5.
    pub alpha: f64,
    /// Learning rate of the teacher (AdamW), > 0. Default 1e-5.
    pub teacher_rate: f64,
    /// Share of the training split that is kept for exams, above 0. Default 0.1.
    pub exam_share: f64,
}

impl Default for IkdConfig {
    fn default() -> Self {
        Self { temperature: 5.0, alpha: 0.5, teacher_rate: 1e-5, exam_share: 0.1 }
    }
}

/// Distillation from a teacher that learns from the student.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ikd {
    config: IkdConfig,
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "ikd",
        help: "a teacher that is trained too, by what the student gets wrong in exams",
        options: &[
            option(
                "temperature",
                OptionValue::Number(5.0),
                Range::above(0.0),
                OURS,
                "softening τ of teacher and student outputs in the distillation term",
            ),
            option(
                "alpha",
                OptionValue::Number(0.5),
                Range::between(0.0, 1.0),
                OURS,
                "weight of the distillation term; the task term gets 1 - alpha",
            ),
            option(
                "teacher_rate",
                OptionValue::Number(1e-5),
                Range::above(0.0),
                OURS,
                "learning rate of the teacher (AdamW)",
            ),
            option(
                "exam_share",
                OptionValue::Number(0.1),
                Range::between(0.001, 0.9),
                OURS,
                "share of the training samples that are kept for the student's exams",
            ),
        ],
        min_teachers: 1,
        max_teachers: Some(1),
    },
    paper: "Liu et al., EMNLP Findings 2021, arXiv 2109.04641",
    status: Status::Reimplementation,
    build: |options| {
        Box::new(Ikd::new(IkdConfig {
            temperature: temperature(options),
            alpha: number(options, "alpha"),
            teacher_rate: number(options, "teacher_rate"),
            exam_share: number(options, "exam_share"),
        }))
    },
};

impl Ikd {
    /// With these constants.
    #[must_use]
    pub const fn new(config: IkdConfig) -> Self {
        Self { config }
    }

    fn course(&self) -> Kd {
        let IkdConfig { temperature, alpha, .. } = self.config;
        Kd::new(KdConfig { temperature, alpha })
    }

    /// The gradient of the exam's loss by the teacher's logits of the batch, `[batch, classes]`, for a
    /// student's step of rate 1, from the exam's gradient by the student. `None` where that is 0.
    fn by_teacher_logits(
        &self,
        sandbox: &mut dyn Sandbox<'_>,
        direction: &[Vec<f32>],
    ) -> Option<Vec<f32>> {
        let IkdConfig { temperature, alpha, .. } = self.config;
        let tau = f64::from(temperature);
        let probe = probe_step(&direction.concat());
        if probe == 0.0 {
            return None;
        }
        let batch = sandbox.batch();
        let mut at = |by: f64| {
            sandbox.go_to_earlier();
            sandbox.shift(direction, by as f32);
            let logits = numbers(&sandbox.step(&batch).student_logits);
            sandbox.restore();
            logits
        };
        let (above, below) = (at(probe), at(-probe));
        let (size, teacher) = (batch.labels.len(), &batch.teachers[0].logits);
        let classes = teacher.len() / size;
        let rows = teacher.chunks(classes).zip(above.chunks(classes)).zip(below.chunks(classes));
        let by_row = rows.flat_map(|((teacher, above), below)| {
            let softened: Vec<f64> =
                log_softmax(teacher, tau).iter().map(|log_p| log_p.exp()).collect();
            let (above, below) = (log_softmax(above, tau), log_softmax(below, tau));
            let change: Vec<f64> = above.iter().zip(below).map(|(a, b)| a - b).collect();
            gradient_by_teacher_logits(&softened, &change, alpha, tau, size, 1.0, probe)
        });
        Some(by_row.map(|g| g as f32).collect())
    }
}

/// Log-probabilities of a row of logits at temperature τ.
fn log_softmax(logits: &[f32], tau: f64) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted: Vec<f64> =
        logits.iter().map(|&z| (f64::from(z) - f64::from(largest)) / tau).collect();
    let log_sum = shifted.iter().map(|z| z.exp()).sum::<f64>().ln();
    shifted.iter().map(|z| z - log_sum).collect()
}

impl Method for Ikd {
    fn setup(&self) -> Setup {
        // Exams are of samples that nobody has seen, not as a partner either.
        Setup { exam_share: self.config.exam_share, needs_one_label: true, ..Setup::label_free() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_logits: true, learning_teachers: true, ..Needs::default() }
    }

    fn parts(&self, _shapes: &Shapes) -> Parts {
        Parts { after_step: Some(Box::new(Exams { method: *self })), ..Parts::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        self.course().loss(step)
    }

    fn objective(&self, teachers: usize) -> String {
        let IkdConfig { teacher_rate, exam_share, .. } = self.config;
        format!(
            "{}; the teacher on CE of the updated student on {:.1} % of the training samples, AdamW \
             {teacher_rate}",
            self.course().objective(teachers),
            100.0 * exam_share
        )
    }
}

/// What happens after each step of the student.
#[derive(Debug)]
struct Exams {
    method: Ikd,
}

impl AfterStep for Exams {
    fn after_step(&mut self, sandbox: &mut dyn Sandbox<'_>) -> Vec<(&'static str, f64)> {
        let Some((inputs, labels)) = sandbox.exam() else { return Vec::new() };
        let (loss, direction) = sandbox.cross_entropy(inputs.view(), &labels);
        sandbox.restore();
        let mut readings = vec![("the exam's loss", loss)];
        if let Some(by_logits) = self.method.by_teacher_logits(sandbox, &direction) {
            let gradients = sandbox.teacher_gradient(0, &by_logits).iter().flatten();
            let sum = gradients.map(|&g| f64::from(g)).sum();
            readings.push(("the teacher's gradient", sum));
            sandbox.teach(0, self.method.config.teacher_rate as f32);
        }
        readings
    }

    fn reads_earlier(&self) -> bool {
        true
    }

    /// Nothing: the teacher and its optimiser are the learner's.
    fn state(&self) -> StateDict {
        StateDict::new()
    }

    fn set_state(&mut self, _state: StateDict) -> std::result::Result<(), String> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
