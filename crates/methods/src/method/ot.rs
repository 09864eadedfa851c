//! OT: distillation across label spaces by optimal transport between class probabilities.
//!
//! Lu, Ye, Zhan, "Faculty distillation with optimal transport", 2022,
//! <https://arxiv.org/abs/2204.11526>.
//!
//! ```text
//! L       = mean_b CE_b(z_S) + λ (1/K) Σ_k mean_b W_ε(σ(z_k), σ(z_S); M_k)
//! W_ε     = min ⟨P, M⟩ - ε H(P)   over plans between the two distributions
//! M[i, j]   how far the teacher's class i is from the data's class j, 0 to 1
//! ```
//! # Shapes
//! student logits `[batch, classes]`; of each teacher `[batch, its own classes]`, and M
//! `[its own classes, classes]`; labels `[batch]`.
//! # Gradient
//! through the student only: the dual potential, centred, is the gradient by its probabilities.
//! # Paper and code
//! made from the paper's formulas. Chosen here: M is 1 less the cosine between the teacher's
//! classifier rows and its mean pooled vector of each class of the data, or a file
//! (`teachers.class_cost`), scaled to at most 1, and 0 between classes of the same name; ε = 0.1
//! and at most 50 iterations; several teachers count the same; λ. W carries the entropy and can be
//! below 0; only its differences matter.
//!
//! λ = 30 acts where 1 does not: costs are at most 1, so that W pulls at the student's probabilities
//! much less than CE does. On the demo's data (six epochs, test top-1 in %, binomial error 0.8): CE alone
//! 84.95; from `ada` 84.4, 84.0, 85.3, 85.95, 87.1, 86.65 at λ = 0.3, 1, 3, 10, 30, 100; from all three
//! teachers, one of them taught wrong labels, 83.75, 86.35, 88.45 at 1, 10, 30. Means of three seeds
//! from `ada`: 83.98 for CE, 86.38 at λ = 10, 87.08 at 30.
//! # Limits
//! a teacher needs a pooled linear classifier or a `class_cost`. One that lumps classes of the data
//! together draws them together in the student, so that it wants a smaller λ. Cost a step:
//! `O(iterations · batch · Σ_k its classes · classes)` in f64.

use burn::tensor::activation::softmax;
use rayon::prelude::*;

use crate::shared::options::{OURS, count, number, option};
use crate::shared::output_layer::task;
use crate::{
    Facts, Loss, Method, MethodInfo, Needs, PREPARED, Status, Step, Term, entropic_transport,
};
use faculty_contract::class_cost::{ClassCost, probabilities};
use faculty_contract::losses::{numbers, with_gradient};
use faculty_contract::{ClassSpace, Setup};
use faculty_recipe::{MethodSpec, OptionValue, Range};

/// Constants of [`Ot`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OtConfig {
    /// Weight λ of the transport term, ≥ 0. Default 30.
    pub lambda: f64,
    /// Weight ε of the plan's entropy, > 0. Default 0.1.
    pub epsilon: f64,
    /// Most iterations, ≥ 1. Default 50.
    pub iterations: usize,
}

impl Default for OtConfig {
    fn default() -> Self {
        Self { lambda: 30.0, epsilon: 0.1, iterations: 50 }
    }
}

/// Distillation from teachers with classes of their own.
#[derive(Clone, Debug, Default)]
pub struct Ot {
    config: OtConfig,
    /// One a teacher.
    costs: Vec<ClassCost>,
}

impl Ot {
    /// With these constants.
    #[must_use]
    pub const fn new(config: OtConfig) -> Self {
        Self { config, costs: Vec::new() }
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "ot",
        help: "teachers with other classes, by optimal transport between the classes",
        options: &[
            option(
                "lambda",
                OptionValue::Number(30.0),
                Range::at_least(0.0),
                OURS,
                "weight of the transport term",
            ),
            option(
                "epsilon",
                OptionValue::Number(0.1),
                Range::between(1e-4, 1e4),
                OURS,
                "weight of the plan's entropy; the largest cost of a class is 1",
            ),
            option(
                "iterations",
                OptionValue::Integer(50),
                Range::between(1.0, 1e6),
                OURS,
                "most iterations of a transport; it stops earlier where row sums are exact",
            ),
        ],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Lu, Ye, Zhan 2022, arXiv 2204.11526",
    status: Status::Reimplementation,
    build: |options| {
        Box::new(Ot::new(OtConfig {
            lambda: number(options, "lambda"),
            epsilon: number(options, "epsilon"),
            iterations: count(options, "iterations"),
        }))
    },
};

impl Method for Ot {
    fn setup(&self) -> Setup {
        Setup { class_space: ClassSpace::Teacher, averages_samples: true, ..Setup::label_free() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs { native_logits: true, ..Needs::default() }
    }

    fn prepare(&mut self, facts: Facts<'_>) {
        if let Facts::ClassCosts(costs) = facts {
            self.costs = costs.to_vec();
        }
    }

    fn loss(&self, step: &Step) -> Loss {
        let OtConfig { lambda, epsilon, iterations } = self.config;
        assert_eq!(self.costs.len(), step.native_logits.len(), "{PREPARED}");
        let student = softmax(step.student_logits.clone(), 1);
        let [batch, classes] = student.dims();
        let rows: Vec<f64> = numbers(&student).into_iter().map(f64::from).collect();
        let share = 1.0 / (batch * self.costs.len()) as f64;
        let mut value = 0.0;
        let mut gradient = vec![0.0_f32; batch * classes];
        for (logits, cost) in step.native_logits.iter().zip(&self.costs) {
            let logits = numbers(logits);
            let transports: Vec<(f64, Vec<f64>)> = logits
                .par_chunks_exact(cost.teacher_classes())
                .zip(rows.par_chunks_exact(classes))
                .map(|(logits, q)| {
                    let p = probabilities(logits);
                    let found = entropic_transport(&p, q, cost.values(), epsilon, iterations);
                    (found.objective, found.student_potential)
                })
                .collect();
            // In the batch's order, so that threads do not change the sums.
            for ((objective, potential), row) in
                transports.iter().zip(gradient.chunks_exact_mut(classes))
            {
                value += share * objective;
                row.iter_mut().zip(potential).for_each(|(sum, g)| *sum += (share * g) as f32);
            }
        }
        let transport = with_gradient(value, &student, gradient);
        let terms =
            vec![task(step, 1.0), Term { name: "transport", weight: lambda, value: transport }];
        Loss::new(terms)
    }

    fn objective(&self, teachers: usize) -> String {
        let OtConfig { lambda, epsilon, iterations } = self.config;
        format!(
            "CE + {lambda} mean_k W_ε, ε = {epsilon}, at most {iterations} iterations, K = {teachers}"
        )
    }
}

#[cfg(test)]
mod tests {
    use burn::Tensor;
    use burn::tensor::{Device, Int, TensorData};

    use super::*;

    const OWN: usize = 2;
    const CLASSES: usize = 3;
    const COST: [f64; OWN * CLASSES] = [0.0, 0.4, 1.0, 0.9, 0.3, 0.1];

    fn tensor(values: &[f32], columns: usize) -> Tensor<2> {
        let data = TensorData::new(values.to_vec(), [values.len() / columns, columns]);
        Tensor::from_data(data, &Device::flex().autodiff())
    }

    /// The transport term and its gradient by the student's logits.
    fn transport(cost: &[f64], teacher: &[f32], student: &[f32]) -> (f32, Vec<f32>) {
        let mut method = Ot::default();
        let cost = ClassCost::new(OWN, cost.to_vec(), &[vec![], vec![]]);
        method.prepare(Facts::ClassCosts(&[cost]));
        let student = tensor(student, CLASSES).require_grad();
        let batch = student.dims()[0];
        let labels = Tensor::<1, Int>::zeros([batch], &student.device());
        let none = Tensor::zeros([1, batch, CLASSES], &student.device());
        let step = Step {
            native_logits: vec![tensor(teacher, OWN)],
            ..Step::of_logits(labels, student.clone(), none)
        };
        let term = method.loss(&step).terms.remove(1);
        let value = numbers(&term.value)[0];
        let gradient = student.grad(&term.value.backward()).unwrap();
        (value, numbers(&gradient))
    }

    #[test]
    fn the_loss_knows_probabilities_alone_and_no_order_of_classes() {
        let (teacher, student) = ([2.0, -1.0, 0.5, 0.0], [0.3, -0.2, 1.0, 0.0, 2.0, -1.0]);
        let (value, gradient) = transport(&COST, &teacher, &student);
        let close = |other: (f32, Vec<f32>)| {
            assert!((other.0 - value).abs() < 1e-5, "{} and {value}", other.0);
            for (a, b) in other.1.iter().zip(&gradient) {
                assert!((a - b).abs() < 1e-5, "{:?} and {gradient:?}", other.1);
            }
        };
        close(transport(&COST, &teacher.map(|z| z + 3.0), &student.map(|z| z - 5.0)));
        let turned_cost = [&COST[CLASSES..], &COST[..CLASSES]].concat();
        close(transport(&turned_cost, &[-1.0, 2.0, 0.0, 0.5], &student));
        // A shift of all logits changes nothing, so neither does the gradient along it.
        for row in gradient.chunks(CLASSES) {
            assert!(row.iter().sum::<f32>().abs() < 1e-6, "{gradient:?}");
        }
    }

    #[test]
    fn a_sure_teacher_pulls_toward_the_nearest_class_and_huge_logits_stay_finite() {
        // Its first class costs nothing at class 0 and most at class 2.
        let (_, gradient) = transport(&COST, &[9.0, -9.0], &[0.0; CLASSES]);
        assert!(gradient[0] < gradient[1] && gradient[1] < gradient[2], "{gradient:?}");
        let (value, gradient) = transport(&COST, &[1e4, -1e4], &[-1e4, 1e4, 0.0]);
        assert!(value.is_finite() && gradient.iter().all(|g| g.is_finite()), "{value}");
    }
}
