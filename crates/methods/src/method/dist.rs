//! DIST: distillation by correlation instead of divergence.
//!
//! Huang, You, Wang, Qian, Xu, NeurIPS 2022, <https://arxiv.org/abs/2205.10536>.
//!
//! ```text
//! p, q  = σ(z_T/τ), σ(z_S/τ)
//! inter = τ² mean_b (1 - ρ(p[b,·], q[b,·]))        ρ: Pearson's correlation, over the classes
//! intra = τ² mean_c (1 - ρ(p[·,c], q[·,c]))        and over the batch
//! L     = mean_b CE_b(z_S) + β inter + γ intra
//! ```
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[teachers, batch, classes]`, labels `[batch]`.
//! # Gradient
//! through the student only.
//! # Paper and code
//! β = γ = 2 and τ = 4 are the released constants for CIFAR-100.
//! # Limits
//! the second term belongs to the whole batch, two samples at least. A class whose probability is
//! the same on the whole batch has no correlation: it counts as 0 and has no gradient. With two
//! classes the first term is left out: two values correlate with ±1 whatever they are, so that it
//! knows agreement or none, and no direction. With several teachers, the mean over them.

use burn::Tensor;
use burn::tensor::activation::softmax;

use crate::shared::features::{mean_k, mean_over_teachers};
use crate::shared::options::{TEMPERATURE, number, option, temperature};
use crate::shared::output_layer::task;
use crate::{Facts, Loss, Method, MethodInfo, Needs, Setup, Status, Step};
use faculty_recipe::{MethodSpec, OptionValue, Range};

/// Keeps the root and the quotient defined where all values are equal.
const EPSILON: f32 = 1e-20;

/// Constants of [`Dist`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DistConfig {
    /// Softening of both distributions, > 0. Default 4.
    pub temperature: f32,
    /// Weight of the term over the classes, ≥ 0. Default 2.
    pub beta: f64,
    /// Weight of the term over the batch, ≥ 0. Default 2.
    pub gamma: f64,
}

impl Default for DistConfig {
    fn default() -> Self {
        Self { temperature: 4.0, beta: 2.0, gamma: 2.0 }
    }
}

/// Fewer values have no correlation worth the name: of two it is ±1.
const MIN_CORRELATED: usize = 3;

/// Distillation by correlation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dist {
    config: DistConfig,
    /// Known once the run is.
    classes: Option<usize>,
}

impl Dist {
    /// With these constants.
    #[must_use]
    pub const fn new(config: DistConfig) -> Self {
        Self { config, classes: None }
    }

    /// Whether probabilities are compared over this many classes.
    const fn compares(classes: usize) -> bool {
        classes >= MIN_CORRELATED
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "dist",
        help: "correlation with the teacher over the classes and over the batch",
        options: &[
            TEMPERATURE,
            option(
                "beta",
                OptionValue::Number(2.0),
                Range::at_least(0.0),
                "released code",
                "weight of the correlation over the classes",
            ),
            option(
                "gamma",
                OptionValue::Number(2.0),
                Range::at_least(0.0),
                "released code",
                "weight of the correlation over the batch",
            ),
        ],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Huang et al., NeurIPS 2022, arXiv 2205.10536",
    status: Status::Exact,
    build: |options| {
        Box::new(Dist::new(DistConfig {
            temperature: temperature(options),
            beta: number(options, "beta"),
            gamma: number(options, "gamma"),
        }))
    },
};

impl Method for Dist {
    fn setup(&self) -> Setup {
        Setup::label_free()
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_logits: true, min_batch: 2, ..Needs::default() }
    }

    fn prepare(&mut self, facts: Facts<'_>) {
        if let Facts::Shapes(shapes) = facts {
            self.classes = Some(shapes.classes);
        }
    }

    fn loss(&self, step: &Step) -> Loss {
        let DistConfig { temperature, beta, gamma } = self.config;
        let (mut inter, mut intra) = (Vec::new(), Vec::new());
        let square = temperature * temperature;
        let q = softmax(step.student_logits.clone() / temperature, 1);
        for teacher in step.given_logits().clone().iter_dim(0) {
            let p = softmax(teacher.squeeze_dim::<2>(0) / temperature, 1);
            inter.push((row_correlation(p.clone(), q.clone()).neg() + 1.0).mean() * square);
            let (p, q) = (p.transpose(), q.clone().transpose());
            intra.push((row_correlation(p, q).neg() + 1.0).mean() * square);
        }
        let mut terms = vec![task(step, 1.0)];
        if Self::compares(step.student_logits.dims()[1]) {
            terms.push(mean_over_teachers("inter", beta, inter));
        }
        terms.push(mean_over_teachers("intra", gamma, intra));
        Loss::new(terms)
    }

    fn objective(&self, teachers: usize) -> String {
        let DistConfig { temperature, beta, gamma } = self.config;
        let (inter, intra) =
            (mean_k("(1 - ρ_classes)", teachers), mean_k("(1 - ρ_batch)", teachers));
        if self.classes.is_none_or(Self::compares) {
            format!("CE + {beta} τ² {inter} + {gamma} τ² {intra}, τ = {temperature}")
        } else {
            format!(
                "CE + {gamma} τ² {intra}, τ = {temperature} (without ρ_classes, which is ±1 for \
                 two classes)"
            )
        }
    }
}

/// Pearson's correlation of each row of `a` with the same row of `b`, `[rows, 1]`.
fn row_correlation(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    let centred = |x: Tensor<2>| x.clone() - x.mean_dim(1);
    let (a, b) = (centred(a), centred(b));
    let length = |x: Tensor<2>| (x.square().sum_dim(1) + EPSILON).sqrt();
    (a.clone() * b.clone()).sum_dim(1) / (length(a) * length(b) + EPSILON)
}
