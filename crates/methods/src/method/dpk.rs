//! DPK: the student's map is turned into the teacher's with a part of the teacher's own put in, the
//! larger the less alike both are.
//!
//! Qiu et al., "Better teacher better student: dynamic prior knowledge for knowledge distillation",
//! ICLR 2023, <https://arxiv.org/abs/2206.06067>.
//!
//! ```text
//! S, T      = encoder(Linear(position) + place) of the student's and the teacher's last map
//! M         = T at ⌊π positions⌉ positions of each sample, drawn anew, and S at the others
//! R         = Linear(norm(encoder(M)))                                as many channels as the teacher
//! L         = CE + α τ² KL + λ mean (R - F_T)²
//!
//! π         = 1 - (moving average of CKA), within 0 to 1              per teacher
//! CKA       = HSIC(K,L) / √(HSIC(K,K) HSIC(L,L))
//! K, L      = Gram matrices of the batch's flat maps, with zeros on the diagonal
//! HSIC(K,L) = (tr KL + (1ᵀK1)(1ᵀL1)/((n-1)(n-2)) - 2/(n-2) 1ᵀKL1) / (n (n-3))      unbiased
//! ```
//! # Shapes
//! last maps `[batch, channels, height, width]`, the larger average-pooled to the size of the
//! smaller; tokens `[batch, positions, width]`; labels `[batch]`.
//! # Gradient
//! through the student and all layers named above; π and the teacher's map in the difference are
//! constants. At π = 1 the feature term gives the student none, at π = 0 the teacher's tokens take no
//! part and it is plain feature distillation through a transformer.
//! # Paper and code
//! re-implementation from the formulas: under the address that the paper gives there is no code. The
//! ratio is the unbiased minibatch CKA (Nguyen, Raghu, Kornblith, ICLR 2021). The paper distils several
//! stages, each with encoders and a dynamic ratio of its own; **ours is one stage, the last map**, since
//! the patches of the larger maps are not known to us. Choices too: each position a token; tokens four heads of `head_width` wide;
//! one pre-norm encoder block each for student, teacher and decoder; a learnt place added to the
//! tokens, the same on both sides; the moving average keeps 0.9 and starts at the first batch's
//! CKA; λ = 1 and a distillation term at the output with α = 1. `ratio = "fixed"` is the ablation.
//! # Limits
//! batches of four samples at least; a smaller last batch leaves the average as it is. The blocks
//! run on the tape and cost more than a small student. With several teachers, the mean over them,
//! each with layers, positions and π of its own.

use burn::Tensor;
use burn::tensor::TensorData;
use faculty_data::rng::{Purpose, draw};
use faculty_nets::{Init, MapShape, ParameterSpec};

use crate::shared::features::{
    LOGIT_TERM_TEMPERATURE, LogitTermConfig, matched, mean_k, mean_over_teachers,
};
use crate::shared::layers::{Parameters, parameter, resize};
use crate::shared::options::{OURS, count, number, option, word};
use crate::shared::transformer::{
    encoder_block, encoder_block_parameters, layer_norm, layer_norm_parameters, linear,
    linear_parameters,
};
use crate::{Loss, Method, MethodInfo, Needs, Parts, Setup, Shapes, Status, Step, TapShapes};
use faculty_contract::Write;
use faculty_contract::losses::numbers;
use faculty_nets::Tap;
use faculty_recipe::{MethodSpec, OptionValue, Range};

/// Heads of every block.
const HEADS: usize = 4;
/// What the moving average of CKA keeps at each batch.
const KEPT: f32 = 0.9;
/// Fewest samples for which CKA is defined.
const FEWEST: usize = 4;

/// The teacher's share of the positions.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Ratio {
    /// 1 - CKA.
    Dynamic,
    /// The same throughout, 0 to 1.
    Fixed(f64),
}

/// Constants of [`Dpk`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpkConfig {
    /// Weight λ of the feature term, ≥ 0. Default 1.
    pub lambda: f64,
    /// The teacher's share π. Default dynamic.
    pub ratio: Ratio,
    /// Values of a token for each of the four heads, ≥ 1. Default 8.
    pub head_width: usize,
    /// Output term beside it. Default weight 1.
    pub logit_term: LogitTermConfig,
}

impl Default for DpkConfig {
    fn default() -> Self {
        let logit_term = LogitTermConfig { alpha: 1.0, ..LogitTermConfig::default() };
        Self { lambda: 1.0, ratio: Ratio::Dynamic, head_width: 8, logit_term }
    }
}

/// Distillation with dynamic prior knowledge.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dpk {
    config: DpkConfig,
}

impl Dpk {
    /// With these constants.
    #[must_use]
    pub const fn new(config: DpkConfig) -> Self {
        Self { config }
    }

    /// Values of a token.
    fn width(&self) -> usize {
        HEADS * self.config.head_width
    }

    /// The share for teacher `k`, and the moving average that it is made of, if it moved.
    fn ratio(&self, step: &Step, k: usize) -> (f64, Option<f32>) {
        if let Ratio::Fixed(ratio) = self.config.ratio {
            return (ratio, None);
        }
        let [mean, known] = [step.memory[0][2 * k], step.memory[0][2 * k + 1]];
        let batch = step.student_maps[0].dims()[0];
        if batch < FEWEST {
            return (share(mean.into()), None);
        }
        let (student, teacher) =
            (numbers(&step.student_maps[0]), numbers(&step.teacher_maps[k][0]));
        let cka = minibatch_cka(&student, &teacher, batch) as f32;
        let mean = if known == 0.0 { cka } else { KEPT * mean + (1.0 - KEPT) * cka };
        (share(mean.into()), Some(mean))
    }

    /// `mean (R - F_T)²` with the teacher's share at `ratio`, `[1]`.
    fn difference(
        &self,
        step: &Step,
        k: usize,
        ratio: f64,
        parameters: &mut Parameters<'_>,
    ) -> Tensor<1> {
        let (student, teacher) = (&step.student_maps[0], &step.teacher_maps[k][0]);
        let [batch, _, rows, columns] = student.dims();
        let [_, channels, other_rows, other_columns] = teacher.dims();
        let (height, width) = (rows.min(other_rows), columns.min(other_columns));
        let positions = height * width;
        let as_tokens = |map: &Tensor<4>| tokens(resize(map.clone(), height, width));
        let (tokens, target) = (as_tokens(student), as_tokens(teacher));

        let tokens = linear(tokens, self.width(), parameters);
        let other = linear(target.clone(), self.width(), parameters);
        let places = parameters.next([1, positions, self.width()]);
        let tokens = encoder_block(tokens + places.clone(), HEADS, parameters);
        let other = encoder_block(other + places, HEADS, parameters);

        let taken = (ratio * positions as f64).round() as usize;
        let drawn = drawn_positions(step.step_seed, k, batch, positions, taken);
        let data = TensorData::new(drawn, [batch, positions, 1]);
        let drawn = Tensor::<3>::from_data(data, &target.device());
        let mixed = tokens * (1.0 - drawn.clone()) + other * drawn;

        let decoded = encoder_block(mixed, HEADS, parameters);
        let decoded = linear(layer_norm(decoded, parameters), channels, parameters);
        (decoded - target).square().mean()
    }
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "dpk",
        help: "the student's map completed by a part of the teacher's, by how unlike they are",
        options: &[
            option(
                "lambda",
                OptionValue::Number(1.0),
                Range::at_least(0.0),
                OURS,
                "weight of the feature term",
            ),
            option(
                "ratio",
                OptionValue::Word("dynamic"),
                Range::Words(&["dynamic", "fixed"]),
                "DPK paper",
                "dynamic: the teacher's share of the positions is 1 - CKA; fixed: `fixed_ratio`",
            ),
            option(
                "fixed_ratio",
                OptionValue::Number(0.5),
                Range::between(0.0, 1.0),
                OURS,
                "the teacher's share of the positions with `ratio = \"fixed\"`",
            ),
            option(
                "head_width",
                OptionValue::Integer(8),
                Range::between(1.0, 1024.0),
                OURS,
                "values of a token for each of the four heads of the transformer blocks",
            ),
            option(
                "alpha",
                OptionValue::Number(1.0),
                Range::at_least(0.0),
                OURS,
                "weight of a distillation term at the output beside the feature term",
            ),
            LOGIT_TERM_TEMPERATURE,
        ],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Qiu et al., ICLR 2023, arXiv 2206.06067",
    status: Status::Reimplementation,
    build: |options| {
        Box::new(Dpk::new(DpkConfig {
            lambda: number(options, "lambda"),
            ratio: match word(options, "ratio") {
                "fixed" => Ratio::Fixed(number(options, "fixed_ratio")),
                _ => Ratio::Dynamic,
            },
            head_width: count(options, "head_width"),
            logit_term: LogitTermConfig::of(options),
        }))
    },
};

impl Dpk {
    fn parameters(&self, shapes: &Shapes) -> Vec<ParameterSpec> {
        let student = shapes.student[&Tap::Map];
        let width = self.width();
        let mut specs = Vec::new();
        for (k, taps) in shapes.teachers.iter().enumerate() {
            let teacher = taps[&Tap::Map];
            let name = |part: &str| format!("dpk.{k}.{part}");
            specs.extend(linear_parameters(&name("student.in"), student.channels, width));
            specs.extend(linear_parameters(&name("teacher.in"), teacher.channels, width));
            let shape = [1, common_positions(student, teacher), width];
            let initial = Init::Normal { deviation: 0.02 };
            specs.push(parameter(name("places"), &shape, initial));
            for block in ["student", "teacher", "decoder"] {
                specs.extend(encoder_block_parameters(&name(block), width));
            }
            specs.extend(layer_norm_parameters(&name("decoder.norm"), width));
            specs.extend(linear_parameters(&name("decoder.out"), width, teacher.channels));
        }
        specs
    }

    /// The moving average of CKA with each teacher, and 1 once there is one.
    fn memory(&self, shapes: &Shapes) -> Vec<ParameterSpec> {
        match self.config.ratio {
            Ratio::Fixed(_) => Vec::new(),
            Ratio::Dynamic => {
                vec![parameter("cka".to_owned(), &[shapes.teachers.len(), 2], Init::Zeros)]
            }
        }
    }

    /// Scores of every position against every other and the layers behind them, of three blocks.
    fn temporaries(&self, shapes: &Shapes) -> usize {
        let width = self.width();
        let of_teacher = |teacher: &TapShapes| {
            let positions = common_positions(shapes.student[&Tap::Map], teacher[&Tap::Map]);
            let scores = HEADS.saturating_mul(positions.saturating_mul(positions));
            let layers = LAYER_WIDTHS.saturating_mul(positions.saturating_mul(width));
            BLOCKS.saturating_mul(scores.saturating_add(layers))
        };
        let each = shapes.teachers.iter().map(of_teacher).fold(0, usize::saturating_add);
        each.saturating_mul(shapes.batch_size).saturating_mul(COPIES)
    }
}

impl Method for Dpk {
    fn setup(&self) -> Setup {
        Setup::label_free()
    }

    fn needs(&self, _epoch: usize) -> Needs {
        let needs = matched(vec![Tap::Map]).union(self.config.logit_term.needs());
        let min_batch = if self.config.ratio == Ratio::Dynamic { FEWEST } else { 1 };
        Needs { trained_parts: true, min_batch, ..needs }
    }

    fn parts(&self, shapes: &Shapes) -> Parts {
        Parts {
            parameters: self.parameters(shapes),
            memory: self.memory(shapes),
            temporaries: self.temporaries(shapes),
            ..Parts::default()
        }
    }

    fn loss(&self, step: &Step) -> Loss {
        let mut parameters = Parameters::new(&step.parameters);
        let (mut values, mut writes) = (Vec::new(), Vec::new());
        for k in 0..step.teacher_maps.len() {
            let (ratio, moved) = self.ratio(step, k);
            values.push(self.difference(step, k, ratio, &mut parameters));
            writes.extend(moved.map(|mean| Write {
                array: 0,
                rows: vec![k],
                values: vec![mean, 1.0],
            }));
        }
        let mut loss = self.config.logit_term.loss(step);
        loss.terms.push(mean_over_teachers("prior", self.config.lambda, values));
        loss.with_writes(writes)
    }

    fn objective(&self, teachers: usize) -> String {
        let DpkConfig { lambda, ratio, logit_term, .. } = self.config;
        let share = match ratio {
            Ratio::Dynamic => "1 - CKA".to_owned(),
            Ratio::Fixed(ratio) => ratio.to_string(),
        };
        let term = mean_k("MSE(R, F_T)", teachers);
        format!(
            "{} + {lambda} {term}, teacher's share of positions π = {share}",
            logit_term.objective()
        )
    }
}

/// Blocks of a teacher: of both sides, and the decoder.
const BLOCKS: usize = 3;
/// Widths of a token's values in a block together: queries, keys, values, their mean, four of the inner
/// layer, and both sums.
const LAYER_WIDTHS: usize = 10;
/// Copies of them that the tape and the gradient hold at a time: measured with resnet8x0.5 and resnet8
/// at a batch of 128, rounded up.
const COPIES: usize = 4;

/// Positions of two maps at the smaller of both sizes.
fn common_positions(a: MapShape, b: MapShape) -> usize {
    a.height.min(b.height) * a.width.min(b.width)
}

/// `[batch, positions, channels]`.
fn tokens(map: Tensor<4>) -> Tensor<3> {
    let [batch, channels, height, width] = map.dims();
    map.reshape([batch, channels, height * width]).swap_dims(1, 2)
}

/// 1 at `taken` positions of each sample and 0 at the others, `[batch, positions]`.
fn drawn_positions(
    number: u64,
    teacher: usize,
    batch: usize,
    positions: usize,
    taken: usize,
) -> Vec<f32> {
    let mut drawn = vec![0.0; batch * positions];
    for (b, row) in drawn.chunks_exact_mut(positions).enumerate() {
        let key = |p: usize| draw(Purpose::Method, number, teacher as u64, b as u64, p as u64);
        let mut order: Vec<usize> = (0..positions).collect();
        order.sort_by_cached_key(|&p| key(p));
        order[..taken].iter().for_each(|&p| row[p] = 1.0);
    }
    drawn
}

/// CKA of two sets of features, row-major `[batch, _]`; 0 where it is not defined (fewer than four
/// samples, or features without any spread).
#[must_use]
pub fn minibatch_cka(a: &[f32], b: &[f32], batch: usize) -> f64 {
    if batch < FEWEST {
        return 0.0;
    }
    let (a, b) = (gram_without_diagonal(a, batch), gram_without_diagonal(b, batch));
    let norms = hsic(&a, &a, batch) * hsic(&b, &b, batch);
    if norms > 0.0 { hsic(&a, &b, batch) / norms.sqrt() } else { 0.0 }
}

/// The teacher's share, 0 to 1: the less alike the two are, the larger.
#[must_use]
pub fn prior_ratio(student: &[f32], teacher: &[f32], batch: usize) -> f64 {
    share(minibatch_cka(student, teacher, batch))
}

fn share(cka: f64) -> f64 {
    (1.0 - cka).clamp(0.0, 1.0)
}

fn gram_without_diagonal(features: &[f32], batch: usize) -> Vec<f64> {
    let width = features.len() / batch;
    let row = |i: usize| &features[i * width..(i + 1) * width];
    let mut gram = vec![0.0; batch * batch];
    for i in 0..batch {
        for j in 0..i {
            let products = row(i).iter().zip(row(j)).map(|(&a, &b)| f64::from(a) * f64::from(b));
            let dot: f64 = products.sum();
            (gram[i * batch + j], gram[j * batch + i]) = (dot, dot);
        }
    }
    gram
}

/// Both without diagonals, symmetric.
fn hsic(k: &[f64], l: &[f64], batch: usize) -> f64 {
    let n = batch as f64;
    let row_sums = |matrix: &[f64]| -> Vec<f64> {
        matrix.chunks_exact(batch).map(|row| row.iter().sum()).collect()
    };
    let trace: f64 = k.iter().zip(l).map(|(a, b)| a * b).sum();
    let (of_k, of_l) = (row_sums(k), row_sums(l));
    let product: f64 = of_k.iter().zip(&of_l).map(|(a, b)| a * b).sum();
    let sums = of_k.iter().sum::<f64>() * of_l.iter().sum::<f64>();
    (trace + sums / ((n - 1.0) * (n - 2.0)) - 2.0 / (n - 2.0) * product) / (n * (n - 3.0))
}

#[cfg(test)]
mod tests;
