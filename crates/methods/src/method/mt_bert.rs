//! MT-BERT: what each teacher says counts the less the worse it does on the label, and the student's
//! layers follow the teachers' through learnt matrices.
//!
//! Wu, Wu, Huang, "One teacher is enough? …", ACL Findings 2021, <https://arxiv.org/abs/2106.01023>.
//!
//! ```text
//! w[k,b] = 1 / (1 + CE_b(z_k))
//! L      = mean_b CE_b(z_S) + α mean_b Σ_k w[k,b] · -Σ_c σ(z_k/τ) log σ(z_S/τ)
//!        + β Σ_k Σ_j mean_b,i (v(H_S^j) - W_kj v(H_k^m(j)))²                  v the mean over positions
//! ```
//! Layer j of a student with S of them follows layer `m(j) = ⌈j T / S⌉` of T, so that the last follows
//! the last; T is the smallest number that a teacher has, of the taps `f1`, `f2`, …
//! # Shapes
//! teachers `[teachers, batch, classes]`, student `[batch, classes]`, labels `[batch]`; maps `[batch,
//! channels, height, width]`, `W_kj [student channels, teacher channels]`.
//! # Gradient
//! through the student and the matrices, which start as `nn.Linear` without bias does.
//! # Paper and code
//! the distillation term has no τ², and its weights do not sum to 1, as in the paper. The paper compares
//! the states of single tokens, which needs student and teachers of one tokenizer; here vectors of whole
//! texts are compared (the taps of text encoders are such), so that every teacher can take part. The
//! paper tunes its teachers together with a shared last layer first.
//! # Limits
//! weights read true labels, which a teacher may have memorised. Where a sample has none, a teacher's
//! mean cross-entropy on the validation split stands in its place (1/K without such a split).

use burn::Tensor;
use burn::tensor::activation::{log_softmax, softmax};

use crate::shared::layers::{Parameters, parameter};
use crate::shared::options::{OURS, number, option};
use crate::shared::output_layer::task_and_kd;
use crate::weighting::WithoutLabel;
use crate::{
    Facts, Loss, Method, MethodInfo, Needs, Parts, Setup, Shapes, Status, Step, TeacherProfile,
    Term,
};
use faculty_nets::{Init, Tap};
use faculty_recipe::{MethodSpec, OptionValue, Range};

const PAPER: &str = "MT-BERT paper";

/// Constants of [`MtBert`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MtBertConfig {
    /// Softening of both distributions, > 0. Default 1.
    pub temperature: f32,
    /// Weight of the distillation term, ≥ 0. Default 1.
    pub alpha: f64,
    /// Weight of the terms between layers, ≥ 0; with 0 none is computed. Default 1.
    pub beta: f64,
}

impl Default for MtBertConfig {
    fn default() -> Self {
        Self { temperature: 1.0, alpha: 1.0, beta: 1.0 }
    }
}

/// MT-BERT's distillation stage.
#[derive(Clone, Debug, Default)]
pub struct MtBert {
    config: MtBertConfig,
    /// The student's taps and those of the teachers that they follow; all that there might be before
    /// the maps are chosen.
    layers: Option<Vec<(Tap, Tap)>>,
    unlabelled: WithoutLabel,
}

impl MtBert {
    /// With these constants.
    #[must_use]
    pub fn new(config: MtBertConfig) -> Self {
        Self { config, layers: None, unlabelled: WithoutLabel::default() }
    }

    /// Pairs of taps, student's first.
    fn layers(&self) -> Vec<(Tap, Tap)> {
        let any = || (1..=Tap::MOST).map(|index| (Tap::Feature(index), Tap::Feature(index)));
        self.layers.clone().unwrap_or_else(|| any().collect())
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "mt-bert",
        help: "each teacher counts by 1 / (1 + CE) on the label; the layers follow the teachers'",
        options: &[
            option(
                "temperature",
                OptionValue::Number(1.0),
                Range::above(0.0),
                OURS,
                "softening τ of teacher and student outputs in the distillation term",
            ),
            option(
                "alpha",
                OptionValue::Number(1.0),
                Range::at_least(0.0),
                PAPER,
                "weight of the distillation term at the output",
            ),
            option(
                "beta",
                OptionValue::Number(1.0),
                Range::at_least(0.0),
                PAPER,
                "weight of the terms between layers; with 0 none is computed",
            ),
        ],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Wu, Wu, Huang, ACL Findings 2021, arXiv 2106.01023",
    status: Status::Reimplementation,
    build: |options| {
        Box::new(MtBert::new(MtBertConfig {
            temperature: number(options, "temperature") as f32,
            alpha: number(options, "alpha"),
            beta: number(options, "beta"),
        }))
    },
};

impl MtBert {
    /// Pairs every layer of the student with that of the teachers which it follows; said again with the
    /// maps of those pairs alone, it keeps them.
    fn choose_layers(&mut self, shapes: &Shapes) {
        let count = |has: &dyn Fn(Tap) -> bool| {
            (1..=Tap::MOST).take_while(|&index| has(Tap::Feature(index))).count()
        };
        let depth = count(&|tap| shapes.student.contains_key(&tap));
        let of_teachers = shapes.teachers.iter().map(|taps| count(&|tap| taps.contains_key(&tap)));
        let least = of_teachers.min().unwrap_or(depth).max(1);
        // A student of more layers than a teacher: some follow the same one.
        let layer = |j: usize| (Tap::Feature(j), Tap::Feature((j * least).div_ceil(depth.max(1))));
        self.layers.get_or_insert_with(|| (1..=depth.max(1)).map(layer).collect());
    }
}

impl Method for MtBert {
    fn needs(&self, _epoch: usize) -> Needs {
        let mut needs = Needs { teacher_logits: true, ..Needs::default() };
        if self.config.beta > 0.0 {
            let (student, teacher): (Vec<Tap>, Vec<Tap>) = self.layers().into_iter().unzip();
            let taps = Needs { student_taps: student, teacher_taps: teacher, ..Needs::default() };
            needs = Needs { trained_parts: true, ..needs.union(taps) };
        }
        needs
    }

    fn setup(&self) -> Setup {
        Setup { averages_samples: true, ..Setup::label_free() }
    }

    fn prepare(&mut self, facts: Facts<'_>) {
        match facts {
            Facts::Maps(shapes) => self.choose_layers(shapes),
            Facts::Profiles(teachers) => {
                let weight = |teacher: &TeacherProfile| 1.0 / (1.0 + teacher.nll);
                self.unlabelled = WithoutLabel::new(teachers.iter().map(weight).collect());
            }
            _ => {}
        }
    }

    fn parts(&self, shapes: &Shapes) -> Parts {
        let mut specs = Vec::new();
        for (k, teacher) in shapes.teachers.iter().enumerate().filter(|_| self.config.beta > 0.0) {
            for (student_tap, teacher_tap) in self.layers() {
                let [to, from] =
                    [shapes.student[&student_tap].channels, teacher[&teacher_tap].channels];
                let start = Init::UniformFanIn { fan_in: from };
                specs.push(parameter(
                    format!("follow.{k}.{student_tap}.weight"),
                    &[to, from],
                    start,
                ));
            }
        }
        Parts { parameters: specs, ..Parts::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        let MtBertConfig { temperature, alpha, beta } = self.config;
        let teachers = step.given_logits();
        let weights = self.unlabelled.or_of(&step.labels, |labels| {
            reliability_weights(teachers, |logits| step.cross_entropy(logits, labels))
        });
        let value =
            weighted_soft_cross_entropy(teachers, &step.student_logits, &weights, temperature);
        // Shown as shares, as every method's weights are.
        let shares = weights.clone() / weights.sum_dim(0);
        let mut loss = task_and_kd(step, alpha, value).with_teacher_weights("kd", shares);
        if beta > 0.0 {
            loss.terms.push(Term {
                name: "layers",
                weight: beta,
                value: self.between_layers(step),
            });
        }
        loss
    }

    fn objective(&self, teachers: usize) -> String {
        let MtBertConfig { temperature, alpha, beta } = self.config;
        let layers = match &self.layers {
            _ if beta == 0.0 => String::new(),
            None => format!(" + {beta} Σ_k Σ_j MSE of layers"),
            Some(layers) => {
                let pairs: Vec<String> = layers
                    .iter()
                    .map(|(student, teacher)| format!("{student}←{teacher}"))
                    .collect();
                format!(" + {beta} Σ_k MSE of layers {}", pairs.join(", "))
            }
        };
        format!(
            "CE + {alpha} Σ_k CE(z_k, z_S) / (1 + CE_k), τ = {temperature}, K = {teachers}{layers}"
        )
    }
}

impl MtBert {
    /// Sum over teachers and layers, `[1]`.
    fn between_layers(&self, step: &Step) -> Tensor<1> {
        let needs = self.needs(step.epoch);
        let place =
            |taps: &[Tap], tap| taps.iter().position(|asked| *asked == tap).expect(ASKED_FOR);
        let mut parameters = Parameters::new(&step.parameters);
        let mut sum: Option<Tensor<1>> = None;
        for maps in &step.teacher_maps {
            for (student_tap, teacher_tap) in self.layers() {
                let student = vectors(&step.student_maps[place(&needs.student_taps, student_tap)]);
                let teacher = vectors(&maps[place(&needs.teacher_taps, teacher_tap)]);
                let weight: Tensor<2> = parameters.next([student.dims()[1], teacher.dims()[1]]);
                let term = (student - teacher.matmul(weight.transpose())).square().mean();
                sum = Some(match sum {
                    Some(sum) => sum + term,
                    None => term,
                });
            }
        }
        sum.expect("at least one teacher, and one layer")
    }
}

const ASKED_FOR: &str = "the taps of `needs` are those of `layers`";

/// The means over positions, `[batch, channels]`.
fn vectors(map: &Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = map.dims();
    map.clone().reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels])
}

/// `w`, `[teachers, batch]`.
#[must_use]
pub fn reliability_weights(
    teachers: &Tensor<3>,
    cross_entropy: impl Fn(Tensor<2>) -> Tensor<1>,
) -> Tensor<2> {
    let [count, batch, classes] = teachers.dims();
    let of = |k: usize| teachers.clone().narrow(0, k, 1).reshape([batch, classes]);
    let costs = (0..count).map(|k| cross_entropy(of(k)).unsqueeze::<2>()).collect();
    (Tensor::cat(costs, 0) + 1.0).recip().detach()
}

/// L, `[1]`.
#[must_use]
pub fn weighted_soft_cross_entropy(
    teachers: &Tensor<3>,
    student: &Tensor<2>,
    weights: &Tensor<2>,
    temperature: f32,
) -> Tensor<1> {
    let [count, batch, _] = teachers.dims();
    let p = softmax(teachers.clone() / temperature, 2);
    let log_q = log_softmax(student.clone() / temperature, 1).unsqueeze::<3>();
    let cross = (p * log_q).sum_dim(2).reshape([count, batch]).neg();
    (cross * weights.clone()).sum() / batch as f32
}
