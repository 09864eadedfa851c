//! What methods of feature maps share: the task term, an output term on request, and feature terms
//! of each teacher that count the same.

use burn::Tensor;

use crate::shared::options::{BENCHMARKS, TEMPERATURE, count, number, option, temperature};
use crate::shared::output_layer::{task, task_and_weighted_kd};
use crate::weighting::{Uniform, Weighting as _};
use crate::{Loss, Needs, Shapes, Step, TapShapes, Term};
use faculty_nets::Tap;
use faculty_recipe::{self as recipe, OptionSpec, OptionValue, Range};

/// An output term `α mean_k KL` beside the feature terms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogitTermConfig {
    /// Its weight, ≥ 0. Default 0: no output term, and no teacher logits are needed.
    pub alpha: f64,
    /// Softening of both distributions, > 0. Default 4.
    pub temperature: f32,
}

impl Default for LogitTermConfig {
    fn default() -> Self {
        Self { alpha: 0.0, temperature: 4.0 }
    }
}

/// `alpha` of [`LogitTermConfig`].
pub(crate) const KD_ALPHA: OptionSpec = option(
    "alpha",
    OptionValue::Number(0.0),
    Range::at_least(0.0),
    BENCHMARKS,
    "weight of a distillation term at the output beside the feature term",
);

/// `temperature` of [`LogitTermConfig`].
pub(crate) const LOGIT_TERM_TEMPERATURE: OptionSpec = TEMPERATURE;

impl LogitTermConfig {
    pub(crate) fn of(options: &recipe::Method) -> Self {
        Self { alpha: number(options, "alpha"), temperature: temperature(options) }
    }

    pub(crate) fn needs(self) -> Needs {
        Needs { teacher_logits: self.alpha > 0.0, ..Needs::default() }
    }

    /// `CE + α mean_k KL`, to which feature terms are added.
    pub(crate) fn loss(self, step: &Step) -> Loss {
        if self.alpha > 0.0 {
            let weights = Uniform.weights(step.given_logits(), &step.labels);
            task_and_weighted_kd(step, weights, self.alpha, self.temperature)
        } else {
            Loss::new(vec![task(step, 1.0)])
        }
    }

    /// The objective's beginning.
    pub(crate) fn objective(self) -> String {
        let Self { alpha, temperature } = self;
        if alpha > 0.0 {
            format!("CE + {alpha} τ² mean_k KL (τ = {temperature})")
        } else {
            "CE".to_owned()
        }
    }
}

/// `weight · mean_b Σ_k w[k,b] value_k[b]`, from values `[batch]` a teacher: with the weights that a
/// combination puts on its terms, otherwise `w = 1/K`. A value of the whole batch, `[1]`, counts for
/// each of its samples.
pub(crate) fn over_teachers(
    step: &Step,
    name: &'static str,
    weight: f64,
    values: Vec<Tensor<1>>,
) -> Term {
    let all = Tensor::stack::<2>(values, 0);
    let value = match &step.term_weights {
        None => all.mean(),
        Some(weights) => {
            let batch = weights.dims()[1];
            (all * weights.clone()).sum() / batch as f32
        }
    };
    Term { name, weight, value }
}

/// `weight · mean_k value_k`, from one value `[1]` a teacher.
pub(crate) fn mean_over_teachers(name: &'static str, weight: f64, values: Vec<Tensor<1>>) -> Term {
    Term { name, weight, value: Tensor::cat(values, 0).mean() }
}

/// Of `what` in an objective: `mean_k what` with several teachers.
pub(crate) fn mean_k(what: &str, teachers: usize) -> String {
    if teachers == 1 { what.to_owned() } else { format!("mean_k {what}") }
}

/// Consecutive feature maps, f`first` and those after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stages {
    /// Number of the first feature tap. Default 1: f0 is the map before the first stage.
    pub first: usize,
    /// How many, ≥ 1; `None`, the default, for all that the student and every teacher have.
    pub count: Option<usize>,
}

impl Default for Stages {
    fn default() -> Self {
        Self { first: 1, count: None }
    }
}

/// `first_stage` of [`Stages`].
pub(crate) const FIRST_STAGE: OptionSpec = option(
    "first_stage",
    OptionValue::Integer(1),
    Range::between(0.0, 100.0),
    BENCHMARKS,
    "number of the first feature map that is matched, as in `faculty networks`",
);

/// `stages` of [`Stages`].
pub(crate) const STAGES: OptionSpec = option(
    "stages",
    OptionValue::Integer(0),
    Range::between(0.0, 100.0),
    BENCHMARKS,
    "how many feature maps are matched, from the first one on; 0 = all that all networks have",
);

impl Stages {
    pub(crate) fn of(options: &recipe::Method) -> Self {
        let count = Some(self::count(options, "stages")).filter(|&count| count > 0);
        Self { first: self::count(options, "first_stage"), count }
    }

    /// Settles on as many as there are, if all are meant, but on one at least; `teacher` names a
    /// stage's tap of the teachers.
    pub(crate) fn choose(&mut self, shapes: &Shapes, teacher: impl Fn(usize) -> Tap) {
        let there = |&stage: &usize| {
            let of_teacher = |taps: &TapShapes| taps.contains_key(&teacher(stage));
            shapes.student.contains_key(&Tap::Feature(stage))
                && shapes.teachers.iter().all(of_teacher)
        };
        let all = (self.first..=Tap::MOST).take_while(there).count();
        self.count.get_or_insert(all.max(1));
    }

    /// Their numbers; of all stages before [`Stages::choose`] those that any network might have.
    pub(crate) fn numbers(self) -> std::ops::Range<usize> {
        let most = || (Tap::MOST + 1).saturating_sub(self.first).max(1);
        self.first..self.first + self.count.unwrap_or_else(most)
    }

    pub(crate) fn taps(self) -> Vec<Tap> {
        self.numbers().map(Tap::Feature).collect()
    }

    /// These maps of student and teachers.
    pub(crate) fn needs(self) -> Needs {
        matched(self.taps())
    }
}

impl std::fmt::Display for Stages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.count {
            None => write!(f, "f{} and all after it", self.first),
            Some(1) => write!(f, "f{}", self.first),
            Some(count) => write!(f, "f{} to f{}", self.first, self.first + count - 1),
        }
    }
}

/// The mean over each sample's own values, `[batch]`.
pub(crate) fn sample_means<const D: usize>(values: Tensor<D>) -> Tensor<1> {
    let shape = values.dims();
    let each = shape[1..].iter().product::<usize>();
    values.reshape([shape[0], each]).mean_dim(1).reshape([shape[0]])
}

/// The same taps of student and teachers.
pub(crate) fn matched(taps: Vec<Tap>) -> Needs {
    Needs { teacher_taps: taps.clone(), student_taps: taps, ..Needs::default() }
}

/// The pooled vectors as rows, `[batch, channels]`.
pub(crate) fn rows(map: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = map.dims();
    map.reshape([batch, channels * height * width])
}

/// Rows of length 1; a row of zeros stays one.
pub(crate) fn unit_rows(rows: Tensor<2>) -> Tensor<2> {
    // Their size is taken out first: squares of similarities of a whole batch overflow, which a loss
    // does not show (0 of ∞) but its gradient does.
    let largest = rows.clone().detach().abs().max_dim(1);
    let zero = largest.clone().equal_elem(0.0).float();
    let rows = rows / (largest + zero.clone());
    let length = (rows.clone().square().sum_dim(1) + zero).sqrt();
    rows / length
}
