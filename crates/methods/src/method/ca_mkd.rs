//! CA-MKD: confidence-aware multi-teacher distillation.
//!
//! Zhang, Chen, Wang, ICASSP 2022, <https://arxiv.org/abs/2201.00007>.
//!
//! ```text
//! w_kd[k,b]  = (1 - softmax_k(CE_b(z_k))) / (K - 1)
//! L_kd       = mean_b Σ_k w_kd[k,b] τ² KL(σ(z_k/τ) ‖ σ(z_S/τ))
//! G_k        = ReLU(BN(Conv1×1(resize(F_S))))              one trained projector a teacher
//! w_int[k,b] = (1 - softmax_k(CE_b(head_k(G_k)))) / (K - 1)  head_k: teacher k's pooling + classifier
//! L_inter    = mean_b Σ_k w_int[k,b] mean_chw (G_k - F_k)²
//! L          = mean_b CE_b(z_S) + α L_kd + β L_inter
//! ```
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[teachers, batch, classes]`, teacher maps and
//! projected maps `[batch, channels_k, height_k, width_k]`, labels `[batch]`.
//! # Gradient
//! through the student and the projectors. `w_kd` is a constant; `w_int` is one unless
//! `detach_inter_weight = false`. Teachers are constants.
//! # Paper and code
//! the released code divides both distillation terms by K once more (`scale = "official"`), lets
//! the gradient through `w_int` (`detach_inter_weight = false`), and for teachers of several map
//! sizes resizes an already resized map (the order of the teachers counts then), which is not copied:
//! ours always resizes the student's own map. F_S and F_k are the maps in front of global pooling, but
//! of a MobileNetV2 student the release reads the one of 160 channels in front of its last convolution
//! (`student_map = "last-feature"`, the default there with `scale = "official"`). Weight and bias of a
//! projector's convolution start as there: uniform in ±1/√channels, PyTorch's default. Like the
//! released loop, the intermediate term starts after the first epoch (`warmup_epochs = 1`). The
//! paper's ablations are options: `weights = "uniform"`, `inter_weight = "teacher-confidence"` (the
//! weights of the output layer on the maps too) or `"uniform"`, and `intermediate = false`.
//! The maps' scale is the teacher's own: with teachers whose maps are large (torchvision's ResNet-18 at
//! 224², say) β = 50 makes the intermediate term nearly all of the loss. `map_scale = "second-moment"`
//! is ours: each squared error over the mean square of that teacher's maps in the batch,
//! `mean_chw (G_k - F_k)² / mean_bchw F_k²`, 1 for a projected map of zeros whatever the teacher.
//! A sample without a label has the weights that the formula gives for each teacher's mean
//! cross-entropy on the validation split, at both levels; 1/K without a validation split.
//! # Limits
//! the intermediate part needs teachers that end in global average pooling and a linear classifier.
//! With one teacher every weight is 1.

use burn::Tensor;
use burn::tensor::TensorData;
use faculty_kernels::elementwise::sum_of_squares;
use faculty_nets::{Conv2dConfig, Graph, GraphBuilder, MapShape};

use crate::shared::options::{
    ALPHA, CA_MKD_CODE, CA_MKD_PAPER, OURS, SCALE, TEMPERATURE, count, flag, number, option, scale,
    temperature, word,
};
use crate::weighting::{
    Confidence, Uniform, Weighting as _, WithoutLabel, complement_of_softmax,
    complement_of_softmax_values, confidence_values,
};
use crate::{
    ClassifierTensors, Facts, Loss, MapStep, MapTerm, Method, MethodInfo, Needs, Parts, Projector,
    Scale, Shapes, Status, Step, Term,
};
use faculty_contract::Setup;
use faculty_contract::losses::maps::{MapValues, head_costs, weighted_errors};
use faculty_contract::losses::{costs_by_label, weighted_kl};
use faculty_data::MixedLabels;
use faculty_nets::FrozenClassifier;
use faculty_nets::Tap;
use faculty_recipe::{Exception, MethodSpec, OptionSpec, OptionValue, Range};

/// How CA-MKD weighs its teachers at the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputWeight {
    /// By each teacher's cross-entropy against the label.
    #[default]
    Confidence,
    /// All the same.
    Uniform,
}

/// How CA-MKD weighs its teachers at the last map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum InterWeight {
    /// By the cross-entropy of the student's projected map under each teacher's classifier.
    #[default]
    StudentFeatures,
    /// By each teacher's own cross-entropy, as at the output.
    TeacherConfidence,
    /// All the same.
    Uniform,
}

/// Which map of the student's CA-MKD's projectors read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StudentMap {
    /// The last one, in front of global pooling.
    #[default]
    Map,
    /// The last feature map: in front of the last convolution of MobileNetV2 and ShuffleNetV2.
    LastFeature,
}

impl StudentMap {
    const fn tap(self) -> Tap {
        match self {
            Self::Map => Tap::Map,
            Self::LastFeature => Tap::LastFeature,
        }
    }
}

/// In which unit CA-MKD measures how far a projected map is from the teacher's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapScale {
    /// In that of the maps, which is the teacher's own.
    #[default]
    Raw,
    /// Over the mean square of the teacher's maps in the batch.
    SecondMoment,
}

impl MapScale {
    /// What squared errors are divided by, for each teacher.
    fn units(self, maps: &[&[f32]]) -> Vec<f64> {
        let unit = |maps: &&[f32]| match self {
            Self::Raw => 1.0,
            // Maps that are 0 everywhere have no unit.
            Self::SecondMoment => match sum_of_squares(maps) / maps.len() as f64 {
                square if square > 0.0 => square,
                _ => 1.0,
            },
        };
        maps.iter().map(unit).collect()
    }
}

/// Constants of [`CaMkd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CaMkdConfig {
    /// Softening of both distributions, > 0. Default 4 (paper).
    pub temperature: f32,
    /// Weight of the output-layer term, ≥ 0. Default 1 (paper).
    pub alpha: f64,
    /// Weight of the intermediate term, ≥ 0. Default 50 (released code).
    pub beta: f64,
    /// With the intermediate part. Default true.
    pub intermediate: bool,
    /// Teacher weights at the output. Default [`OutputWeight::Confidence`] (paper).
    pub weights: OutputWeight,
    /// Teacher weights at the last map. Default [`InterWeight::StudentFeatures`] (paper).
    pub inter_weight: InterWeight,
    /// Treat the intermediate weights as constants, as the paper reads. Default true.
    pub detach_inter_weight: bool,
    /// First epochs without the intermediate term. Default 1 (released loop).
    pub warmup_epochs: usize,
    /// The student's map that projectors read. Default [`StudentMap::Map`].
    pub student_map: StudentMap,
    /// Unit of the intermediate term. Default [`MapScale::Raw`] (paper).
    pub map_scale: MapScale,
    /// Constant factor of both distillation terms. Default [`Scale::Unit`].
    pub scale: Scale,
}

impl Default for CaMkdConfig {
    fn default() -> Self {
        Self {
            temperature: 4.0,
            alpha: 1.0,
            beta: 50.0,
            intermediate: true,
            weights: OutputWeight::Confidence,
            inter_weight: InterWeight::StudentFeatures,
            detach_inter_weight: true,
            warmup_epochs: 1,
            student_map: StudentMap::Map,
            map_scale: MapScale::Raw,
            scale: Scale::Unit,
        }
    }
}

/// Confidence-aware multi-teacher distillation.
#[derive(Clone, Debug, Default)]
pub struct CaMkd {
    config: CaMkdConfig,
    unlabelled: WithoutLabel,
}

impl CaMkd {
    /// With these constants.
    #[must_use]
    pub fn new(config: CaMkdConfig) -> Self {
        Self { config, unlabelled: WithoutLabel::default() }
    }

    fn uses_intermediate(&self, epoch: usize) -> bool {
        self.config.intermediate && epoch > self.config.warmup_epochs
    }

    /// Whether the loss has a gradient through the intermediate weights.
    fn weights_on_tape(&self) -> bool {
        let of_features = self.config.inter_weight == InterWeight::StudentFeatures;
        of_features && !self.config.detach_inter_weight
    }

    /// Squared errors `[teachers, batch]` in units of each teacher's maps.
    pub(crate) fn in_units(&self, errors: Tensor<2>, maps: &[Tensor<4>]) -> Tensor<2> {
        if self.config.map_scale == MapScale::Raw {
            return errors;
        }
        let values: Vec<Vec<f32>> = maps.iter().map(|map| tensor_values(map.clone())).collect();
        let values: Vec<&[f32]> = values.iter().map(Vec::as_slice).collect();
        let units = self.config.map_scale.units(&values);
        let factors: Vec<f32> = units.into_iter().map(|unit| (1.0 / unit) as f32).collect();
        let shape = [factors.len(), 1];
        let device = errors.device();
        errors * Tensor::from_data(TensorData::new(factors, shape), &device)
    }

    fn factor(&self, teachers: usize) -> f64 {
        match self.config.scale {
            Scale::Unit => 1.0,
            Scale::Official => 1.0 / teachers as f64,
        }
    }
}

/// Condition of defaults that are the released code's.
const OFFICIAL: Option<(&str, OptionValue)> = Some(("scale", OptionValue::Word("official")));

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "ca-mkd",
        help: "each teacher weighted per sample by how well it does on the true label",
        options: &[
            TEMPERATURE,
            ALPHA,
            option(
                "beta",
                OptionValue::Number(50.0),
                Range::at_least(0.0),
                CA_MKD_CODE,
                "weight of the intermediate term",
            ),
            option(
                "intermediate",
                OptionValue::Flag(true),
                Range::Any,
                CA_MKD_PAPER,
                "also match each teacher's last feature map through a trained projector",
            ),
            option(
                "weights",
                OptionValue::Word("confidence"),
                Range::Words(&["confidence", "uniform"]),
                CA_MKD_PAPER,
                "teacher weights at the output; uniform is an ablation",
            ),
            option(
                "inter_weight",
                OptionValue::Word("student-features"),
                Range::Words(&["student-features", "teacher-confidence", "uniform"]),
                CA_MKD_PAPER,
                "teacher weights at the last map; the others than student-features are ablations",
            ),
            SCALE,
            OptionSpec {
                exceptions: &[Exception {
                    student: None,
                    option: OFFICIAL,
                    default: OptionValue::Flag(false),
                    source: CA_MKD_CODE,
                }],
                ..option(
                    "detach_inter_weight",
                    OptionValue::Flag(true),
                    Range::Any,
                    CA_MKD_PAPER,
                    "treat the intermediate weights as constants (the released code does not)",
                )
            },
            option(
                "warmup_epochs",
                OptionValue::Integer(1),
                Range::at_least(0.0),
                CA_MKD_CODE,
                "first epochs without the intermediate term",
            ),
            OptionSpec {
                exceptions: &[Exception {
                    student: Some("MobileNetV2"),
                    option: OFFICIAL,
                    default: OptionValue::Word("last-feature"),
                    source: CA_MKD_CODE,
                }],
                ..option(
                    "student_map",
                    OptionValue::Word("map"),
                    Range::Words(&["map", "last-feature"]),
                    CA_MKD_CODE,
                    "the student's map that is matched: in front of pooling, or the last feature map",
                )
            },
            option(
                "map_scale",
                OptionValue::Word("raw"),
                Range::Words(&["raw", "second-moment"]),
                OURS,
                "second-moment: squared errors of maps over the mean square of the teacher's, so that \
                 beta means the same for any teacher",
            ),
        ],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Zhang, Chen, Wang, ICASSP 2022, arXiv 2201.00007",
    status: Status::Exact,
    build: |options| {
        Box::new(CaMkd::new(CaMkdConfig {
            temperature: temperature(options),
            alpha: number(options, "alpha"),
            beta: number(options, "beta"),
            intermediate: flag(options, "intermediate"),
            weights: match word(options, "weights") {
                "uniform" => OutputWeight::Uniform,
                _ => OutputWeight::Confidence,
            },
            inter_weight: match word(options, "inter_weight") {
                "uniform" => InterWeight::Uniform,
                "teacher-confidence" => InterWeight::TeacherConfidence,
                _ => InterWeight::StudentFeatures,
            },
            detach_inter_weight: flag(options, "detach_inter_weight"),
            warmup_epochs: count(options, "warmup_epochs"),
            student_map: match word(options, "student_map") {
                "last-feature" => StudentMap::LastFeature,
                _ => StudentMap::Map,
            },
            map_scale: match word(options, "map_scale") {
                "second-moment" => MapScale::SecondMoment,
                _ => MapScale::Raw,
            },
            scale: scale(options),
        }))
    },
};

impl Method for CaMkd {
    fn setup(&self) -> Setup {
        Setup { weights_read_maps: false, averages_samples: true, ..Setup::label_free() }
    }

    fn needs(&self, epoch: usize) -> Needs {
        let intermediate = self.uses_intermediate(epoch);
        let maps = |tap: Tap| if intermediate { vec![tap] } else { Vec::new() };
        Needs {
            teacher_logits: true,
            teacher_classifiers: intermediate
                && self.config.inter_weight == InterWeight::StudentFeatures,
            teacher_taps: maps(Tap::Map),
            projector_taps: maps(self.config.student_map.tap()),
            trained_parts: intermediate,
            // Weights that carry a gradient need the tape.
            map_terms: intermediate && !self.weights_on_tape(),
            ..Needs::default()
        }
    }

    fn prepare(&mut self, facts: Facts<'_>) {
        if let Facts::Profiles(teachers) = facts {
            self.unlabelled = WithoutLabel::confidence(teachers);
        }
    }

    fn parts(&self, shapes: &Shapes) -> Parts {
        if !self.config.intermediate {
            return Parts::default();
        }
        let tap = self.config.student_map.tap();
        let student = shapes.student[&tap];
        // A run that ends before the intermediate term begins has no maps, and needs no projectors.
        let teachers = shapes.teachers.iter().filter_map(|taps| taps.get(&Tap::Map));
        let of_teacher = |&teacher| Projector { tap, graph: projector(student, teacher) };
        Parts { projectors: teachers.map(of_teacher).collect(), ..Parts::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        let CaMkdConfig { temperature, alpha, beta, .. } = self.config;
        let teachers = step.given_logits();
        let factor = self.factor(teachers.dims()[0]);
        let weights = match self.config.weights {
            OutputWeight::Confidence => self.unlabelled.or_step(&Confidence, teachers, step),
            OutputWeight::Uniform => Uniform.weights(teachers, &step.labels),
        };
        let kd = weighted_kl(teachers, &step.student_logits, &weights, temperature);
        let mut loss = Loss::new(vec![
            Term { name: "task", weight: 1.0, value: step.task_loss() },
            Term { name: "kd", weight: alpha * factor, value: kd },
        ])
        .with_teacher_weights("kd", weights);
        if self.uses_intermediate(step.epoch) && self.weights_on_tape() {
            let maps: Vec<Tensor<4>> = step.teacher_maps.iter().map(|m| m[0].clone()).collect();
            let classifiers = &step.teacher_classifiers;
            let weights = self.unlabelled.or_of(&step.labels, |labels| {
                feature_weights(&step.projected_maps, classifiers, |logits| {
                    step.cross_entropy(logits, labels)
                })
            });
            let errors = map_errors(&step.projected_maps, &maps);
            let value = weighted_sum(&weights, &self.in_units(errors, &maps));
            loss.terms.push(Term { name: INTERMEDIATE, weight: beta * factor, value });
            loss = loss.with_teacher_weights(INTERMEDIATE, weights);
        }
        loss
    }

    fn map_terms(&self, step: &MapStep<'_>, buffers: &mut Vec<Vec<f32>>) -> Vec<MapTerm> {
        let targets: Vec<&[f32]> = step.teachers.iter().map(|maps| maps[0]).collect();
        let weights = match self.config.inter_weight {
            InterWeight::StudentFeatures => self.unlabelled.or_values(step.labels, |labels| {
                inter_weights(&step.projected, step.classifiers, labels, step.mixed)
            }),
            InterWeight::TeacherConfidence => self.unlabelled.or_values(step.labels, |labels| {
                confidence_values(&step.teacher_logits, labels, step.mixed)
            }),
            InterWeight::Uniform => {
                vec![1.0 / targets.len() as f64; targets.len() * step.labels.len()]
            }
        };
        let weight = self.config.beta * self.factor(targets.len());
        let units = self.config.map_scale.units(&targets);
        let batch = step.labels.len().max(1);
        let scaled: Vec<f64> =
            weights.iter().enumerate().map(|(i, weight)| weight / units[i / batch]).collect();
        let errors = weighted_errors(&step.projected, &targets, &scaled, weight, buffers);
        vec![MapTerm {
            name: INTERMEDIATE,
            weight,
            value: errors.value,
            gradients: errors.gradients,
            teacher_weights: weights,
        }]
    }

    fn objective(&self, teachers: usize) -> String {
        let CaMkdConfig { temperature, alpha, beta, intermediate, warmup_epochs, .. } = self.config;
        let by = match self.config.weights {
            OutputWeight::Confidence => "w",
            OutputWeight::Uniform => "1/K",
        };
        let inter_by = match self.config.inter_weight {
            InterWeight::StudentFeatures => "w_int",
            InterWeight::TeacherConfidence => "w",
            InterWeight::Uniform => "1/K",
        };
        let factor = self.factor(teachers);
        let kd = alpha * factor;
        let mut line = format!("CE + {kd:.4} τ² Σ_k {by} KL");
        if intermediate {
            let weight = beta * factor;
            let unit = match self.config.map_scale {
                MapScale::Raw => "",
                MapScale::SecondMoment => " / mean F_k²",
            };
            line +=
                &format!(" + {weight:.4} Σ_k {inter_by} MSE{unit} (after epoch {warmup_epochs})");
        }
        line + &format!(", τ = {temperature}, K = {teachers}, Σ_k w = 1")
    }
}

/// The values of a tensor of constants.
fn tensor_values(tensor: Tensor<4>) -> Vec<f32> {
    tensor.detach().into_data().try_to_vec().expect("every tensor here holds f32")
}

/// `ReLU(BN(Conv1×1(resize(F_S))))`, from the student's map shape to the teacher's.
pub(crate) fn projector(student: MapShape, teacher: MapShape) -> Graph {
    let (mut graph, input) = GraphBuilder::new(student);
    let resized = graph.resize(input, teacher.height, teacher.width);
    let config = Conv2dConfig::new(teacher.channels, 1, 1).with_bias();
    let projected = graph
        .conv2d("conv", resized, config)
        .expect("a 1×1 kernel fits every map with at least one position");
    graph.batch_norm("bn", projected, None, true);
    graph.finish()
}

const INTERMEDIATE: &str = "intermediate";

/// `w_int`, `[teachers, batch]`: each teacher by how well its frozen classifier does on the
/// student's projected map. Constants.
pub(crate) fn inter_weights(
    projected: &[MapValues<'_>],
    classifiers: &[FrozenClassifier],
    labels: &[u32],
    mixed: Option<&MixedLabels>,
) -> Vec<f64> {
    let costs = costs_by_label(labels, mixed, |labels| {
        let heads = projected.iter().zip(classifiers);
        heads.flat_map(|(&map, head)| head_costs(map, head, labels)).collect()
    });
    complement_of_softmax_values(&costs, projected.len())
}

/// The same with a gradient through the weights.
pub(crate) fn feature_weights(
    projected: &[Tensor<4>],
    classifiers: &[ClassifierTensors],
    cross_entropy: impl Fn(Tensor<2>) -> Tensor<1>,
) -> Tensor<2> {
    let costs = projected
        .iter()
        .zip(classifiers)
        .map(|(projected, classifier)| {
            let [batch, channels, height, width] = projected.dims();
            let pooled = projected.clone().reshape([batch, channels, height * width]).mean_dim(2);
            let logits =
                pooled.reshape([batch, channels]).matmul(classifier.weight.clone().transpose())
                    + classifier.bias.clone().unsqueeze::<2>();
            cross_entropy(logits).unsqueeze::<2>()
        })
        .collect();
    complement_of_softmax(Tensor::cat(costs, 0))
}

/// Mean squared difference over channels and positions of each projected map and its teacher's,
/// `[teachers, batch]`.
pub(crate) fn map_errors(projected: &[Tensor<4>], maps: &[Tensor<4>]) -> Tensor<2> {
    let errors = projected
        .iter()
        .zip(maps)
        .map(|(projected, map)| {
            let [batch, channels, height, width] = projected.dims();
            let difference = projected.clone() - map.clone();
            let difference = difference.reshape([batch, channels * height * width]);
            difference.powi_scalar(2).mean_dim(1).reshape([1, batch])
        })
        .collect();
    Tensor::cat(errors, 0)
}

/// `mean_b Σ_k w[k,b] e[k,b]`, `[1]`.
pub(crate) fn weighted_sum(weights: &Tensor<2>, errors: &Tensor<2>) -> Tensor<1> {
    let batch = errors.dims()[1];
    (weights.clone() * errors.clone()).sum() / batch as f32
}
