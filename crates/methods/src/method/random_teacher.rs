//! Random teacher: each batch learns from one teacher, drawn at random.
//!
//! Fukuda, Suzuki, Kurata, Thomas, Cui, Ramabhadran, "Efficient knowledge distillation from an
//! ensemble of teachers", Interspeech 2017: teachers are switched from one minibatch to the next.
//!
//! ```text
//! k ~ uniform over the teachers, once a batch (or once a sample)
//! L = mean_b CE_b(z_S) + α mean_b τ² KL(σ(z_k/τ) ‖ σ(z_S/τ))
//! ```
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[teachers, batch, classes]`, labels `[batch]`.
//! # Gradient
//! through the student only. Its mean over the draws is the gradient of `aver`.
//! # Paper and code
//! `per = "batch"` is the paper's switching; `per = "sample"` draws anew for every sample, which has
//! the same mean and less variance. The draw is a function of seed, epoch and batch number, so a
//! resumed run draws what the whole run would have drawn.
//! # Limits
//! every teacher is run on every batch, since outputs may be kept for later epochs.

use crate::shared::options::{ALPHA, TEMPERATURE, option, word};
use crate::shared::output_layer::{OutputConfig, task_and_weighted_kd};
use crate::weighting::{DrawPer, OneAtRandom, Weighting as _};
use crate::{Loss, Method, MethodInfo, Needs, Setup, Status, Step};
use faculty_recipe::{MethodSpec, OptionValue, Range};

/// Distillation from one teacher at a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomTeacher {
    config: OutputConfig,
    per: DrawPer,
}

impl RandomTeacher {
    /// With these constants; the paper draws per [`DrawPer::Batch`], the default.
    #[must_use]
    pub const fn new(config: OutputConfig, per: DrawPer) -> Self {
        Self { config, per }
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "random-teacher",
        help: "one teacher at a time, drawn at random",
        options: &[
            TEMPERATURE,
            ALPHA,
            option(
                "per",
                OptionValue::Word("batch"),
                Range::Words(&["batch", "sample"]),
                "paper",
                "draw a teacher for each batch or for each sample",
            ),
        ],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Fukuda et al., Interspeech 2017",
    status: Status::Exact,
    build: |options| {
        let config = OutputConfig::of(options);
        let per = match word(options, "per") {
            "sample" => DrawPer::Sample,
            _ => DrawPer::Batch,
        };
        Box::new(RandomTeacher::new(config, per))
    },
};

impl Method for RandomTeacher {
    fn setup(&self) -> Setup {
        Setup { averages_samples: self.per == DrawPer::Batch, ..Setup::label_free() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_logits: true, ..Needs::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        let rule = OneAtRandom { step_seed: step.step_seed, per: self.per };
        let weights = rule.weights(step.given_logits(), &step.labels);
        task_and_weighted_kd(step, weights, self.config.alpha, self.config.temperature)
    }

    fn objective(&self, teachers: usize) -> String {
        let OutputConfig { temperature, alpha } = self.config;
        let per = match self.per {
            DrawPer::Batch => "batch",
            DrawPer::Sample => "sample",
        };
        format!("CE + {alpha} τ² KL_k, k drawn per {per}, τ = {temperature}, K = {teachers}")
    }
}
