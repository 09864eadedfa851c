//! Best teacher: distillation from the teacher that does best alone.
//!
//! The baseline that several teachers have to beat: the best one of them, chosen beforehand.
//!
//! ```text
//! k* = argmax_k (accuracy of teacher k on the validation split)       the first one of equals
//! L  = mean_b CE_b(z_S) + α mean_b τ² KL(σ(z_k*/τ) ‖ σ(z_S/τ))
//! ```
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[teachers, batch, classes]`, labels `[batch]`.
//! # Gradient
//! through the student only.
//! # Paper and code
//! none: a baseline, with the constants of `aver`, so that the two differ in the weights alone.
//! # Limits
//! needs a validation split. The other teachers are run too; to spare that, name the best one alone
//! with method `aver` and one teacher, which gives the same student.

use crate::shared::options::{ALPHA, TEMPERATURE, number};
use crate::shared::output_layer::{OutputConfig, task_and_kd};
use crate::weighting::{Single, Weighting as _};
use crate::{Facts, Loss, Method, MethodInfo, Needs, Status, Step};
use faculty_contract::Setup;
use faculty_contract::losses::weighted_kl;
use faculty_recipe::MethodSpec;

/// Distillation from the teacher that does best alone.
#[derive(Clone, Debug, Default)]
pub struct BestTeacher {
    config: OutputConfig,
    best: Option<(usize, String)>,
}

impl BestTeacher {
    /// With these constants; [`Method::prepare`] chooses the teacher.
    #[must_use]
    pub const fn new(config: OutputConfig) -> Self {
        Self { config, best: None }
    }
}

impl Method for BestTeacher {
    fn setup(&self) -> Setup {
        Setup { needs_profiles: true, averages_samples: true, ..Setup::label_free() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_logits: true, ..Needs::default() }
    }

    fn prepare(&mut self, facts: Facts<'_>) {
        if let Facts::Profiles(teachers) = facts {
            let better = |best: usize, k: usize| {
                if teachers[k].top1 > teachers[best].top1 { k } else { best }
            };
            let best = (0..teachers.len()).reduce(better);
            self.best = best.map(|k| (k, teachers[k].name.clone()));
        }
    }

    fn loss(&self, step: &Step) -> Loss {
        let OutputConfig { temperature, alpha } = self.config;
        let teacher = self.best.as_ref().expect(crate::PREPARED).0;
        let teachers = step.given_logits();
        let weights = Single { teacher }.weights(teachers, &step.labels);
        // Of that teacher alone: what another one says must not matter, were it infinite.
        let [_, batch, classes] = teachers.dims();
        let best = teachers.clone().slice([teacher..teacher + 1, 0..batch, 0..classes]);
        let one = weights.clone().slice([teacher..teacher + 1, 0..batch]);
        let kd = weighted_kl(&best, &step.student_logits, &one, temperature);
        task_and_kd(step, alpha, kd).with_teacher_weights("kd", weights)
    }

    fn objective(&self, teachers: usize) -> String {
        let OutputConfig { temperature, alpha } = self.config;
        let best = match &self.best {
            Some((_, name)) => format!("`{name}`"),
            None => "best".to_owned(),
        };
        format!("CE + {alpha} τ² KL of teacher {best}, τ = {temperature}, K = {teachers}")
    }
}

pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "best-teacher",
        help: "the one teacher with the best validation accuracy",
        options: &[TEMPERATURE, ALPHA],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "-",
    status: Status::Exact,
    build: |options| {
        Box::new(BestTeacher::new(OutputConfig {
            temperature: number(options, "temperature") as f32,
            alpha: number(options, "alpha"),
        }))
    },
};
