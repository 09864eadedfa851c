//! MMKD: teacher weights from two small networks that learn from the student's hard samples.
//!
//! Zhang, Chen, Wang, "Adaptive multi-teacher knowledge distillation with meta-learning", 2023,
//! <https://arxiv.org/abs/2306.06634>.
//!
//! ```text
//! w^l[·,b] = softmax_k( N_l([z_1[b], …, z_K[b], z_S[b]]) )               N: Linear, ReLU, Linear
//! w^f[·,b] = softmax_k( N_f([S_1[b], …, S_K[b], S_S[b]]) ),   S = X Xᵀ,  X = unit rows of the flat map
//! G_k      = ReLU(BN(Conv1×1(F_S)))                 the larger of F_S and F_k pooled to the other's size
//! L_match  = α mean_b Σ_k w^l τ² KL(σ(z_k/τ) ‖ σ(z_S/τ)) + β mean_b Σ_k w^f mean_chw (G_k - F_k)²
//! L        = mean_b CE_b(z_S) + L_match
//! ```
//! After every fifth batch a meta step on a batch drawn from a buffer of hard samples, with θ student and
//! projectors:
//! ```text
//! θ_1, θ_2 = two steps of the run's optimiser on L_match from θ_0 = θ,   θ_3 = one more on mean CE
//! L_meta   = mean CE(θ_3)
//! ∂L_meta/∂w_j[k,b] = 1/B ⟨∇ℓ_k,b(θ_j), d_j⟩,   d_j = ∂L_meta/∂g_j,   g_j the gradient of step j at θ_j
//! ```
//! ℓ being what w multiplies in L, and from there back into both networks, which take a step of Adam.
//! Student, projectors, the optimiser's memory and running statistics are put back.
//! # Shapes
//! student logits `[batch, classes]`, teacher logits `[teachers, batch, classes]`, last maps
//! `[batch, channels, height, width]`, labels `[batch]`.
//! # Gradient
//! through student and projectors; the weights are constants there. The networks N get theirs from meta
//! steps only: through all inner steps, with momentum, weight decay and clipping as the run has them,
//! each at the point where it began: two passes of the student stand for a second derivative, with the
//! activation pattern of that point held ([`faculty_nets::ActivationPattern`]), so that they converge to
//! automatic differentiation's. What the weights themselves read of the student is constant, as released.
//! # Paper and code
//! as released (Rorozhl/MMKD): the buffer takes whole batches until it is full, then each sample that the
//! student missed takes the place of another at random; inner steps move the projectors too and go on
//! from the optimiser's memory; all of a meta step runs on the same samples; networks and projectors
//! start as PyTorch's `Linear` and `Conv2d` do, uniform up to 1/√fan-in. Different: rows of X have length 1,
//! so that maps of different scale compare (`products = "official"`: X as it is); the released backward
//! pass takes Nesterov steps for plain momentum, here they are what they are, as are AdamW's; a meta step
//! comes with every fifth batch of the run, the first included, in the released loop with every fifth of an epoch
//! and its last; its last forward pass leaves its mark in the running statistics there. Projectors are
//! the released default; its example (`--convs`) has three convolutions. Adam has PyTorch's weight decay
//! (added to the gradient).
//! # Limits
//! the networks are as wide as the batch, so every batch must be full (`train.drop_last`), and a buffer
//! holds a batch at least. It holds its samples with the teachers' logits and maps, in memory and in checkpoints:
//! 256 times an image and K maps. A meta step costs about ten steps of the student. Its gradient is
//! sensitive: at the demo's first rate a change of start values in the seventh digit changes the length of
//! the exact one by 2 to 14 % (results/methods-against-pytorch.md). With one teacher its weight is 1. The
//! weights take some epochs to tell teachers apart: on the demo's data a teacher of wrong labels has 0.24 to
//! 0.32 of the map weight in the first epoch and less than 0.002 in the sixth (87.97 ± 0.37, three seeds,
//! against 84.95 of plain training).

use faculty_nets::{Conv2dConfig, Graph, GraphBuilder, Init, MapShape, ParameterSpec};

use crate::method::ca_mkd::weighted_sum;
use crate::shared::layers::parameter;
use crate::shared::options::{ALPHA, OURS, TEMPERATURE, count, number, option, temperature, word};
use crate::shared::output_layer::{OutputConfig, task_and_weighted_kd};
use crate::{
    Loss, Method, MethodInfo, Needs, Parts, Projector, Setup, Shapes, Status, Step, TapShapes, Term,
};
use faculty_nets::Tap;
use faculty_recipe::{MethodSpec, OptionSpec, OptionValue, Range};

mod buffer;
mod matching;
mod meta_steps;

pub use self::matching::{Mmkd, MmkdConfig};
use self::matching::{Weights, hidden_width};
use self::meta_steps::MetaSteps;

const PAPER: &str = "MMKD paper";

const fn whole(key: &'static str, default: i64, help: &'static str) -> OptionSpec {
    option(key, OptionValue::Integer(default), Range::between(1.0, 1e6), PAPER, help)
}

/// Row of this method.
pub(crate) const ROW: MethodInfo = MethodInfo {
    spec: MethodSpec {
        name: "mmkd",
        help: "teacher weights from small networks that learn from hard samples",
        options: &[
            TEMPERATURE,
            ALPHA,
            option(
                "beta",
                OptionValue::Number(100.0),
                Range::at_least(0.0),
                PAPER,
                "weight of the map term",
            ),
            option(
                "products",
                OptionValue::Word("normalised"),
                Range::Words(&["normalised", "official"]),
                OURS,
                "normalised: cosines between the maps of a batch; official: their plain products",
            ),
            whole("meta_every", 5, "batches from one meta step to the next"),
            whole("meta_steps", 2, "steps on the matching loss that a meta step tries"),
            whole("buffer", 256, "hard samples that are kept for meta steps; a batch at least"),
            option(
                "meta_rate",
                OptionValue::Number(1e-3),
                Range::above(0.0),
                PAPER,
                "learning rate of the weight networks (Adam)",
            ),
            option(
                "meta_decay",
                OptionValue::Number(1e-4),
                Range::at_least(0.0),
                PAPER,
                "weight decay of the weight networks",
            ),
        ],
        min_teachers: 1,
        max_teachers: None,
    },
    paper: "Zhang, Chen, Wang, 2023, arXiv 2306.06634",
    status: Status::Reimplementation,
    build: |options| {
        Box::new(Mmkd::new(MmkdConfig {
            output: OutputConfig {
                temperature: temperature(options),
                alpha: number(options, "alpha"),
            },
            beta: number(options, "beta"),
            raw_products: word(options, "products") == "official",
            meta_every: count(options, "meta_every"),
            meta_steps: count(options, "meta_steps"),
            buffer: count(options, "buffer"),
            meta_rate: number(options, "meta_rate"),
            meta_decay: number(options, "meta_decay"),
        }))
    },
};

impl Mmkd {
    fn parameters(&self, shapes: &Shapes) -> Vec<ParameterSpec> {
        let count = shapes.teachers.len();
        let mut specs = Vec::new();
        for (net, columns) in [("logits", shapes.classes), ("maps", shapes.batch_size)] {
            let inputs = columns * (count + 1);
            let hidden = hidden_width(inputs);
            for (layer, inputs, outputs) in [("0", inputs, hidden), ("1", hidden, count)] {
                let name = |kind: &str| format!("{net}.{layer}.{kind}");
                let initial = Init::UniformFanIn { fan_in: inputs };
                specs.push(parameter(name("weight"), &[outputs, inputs], initial));
                specs.push(parameter(name("bias"), &[outputs], initial));
            }
        }
        specs
    }
}

impl Method for Mmkd {
    fn setup(&self) -> Setup {
        // The buffer of hard samples, each with its label.
        Setup { keeps_images: true, needs_one_label: true, ..Setup::default() }
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs {
            teacher_logits: true,
            teacher_taps: vec![Tap::Map],
            student_taps: vec![Tap::Map],
            projector_taps: vec![Tap::Map],
            trained_parts: true,
            frozen_parameters: true,
            full_batches: true,
            min_batch: 2,
            ..Needs::default()
        }
    }

    fn parts(&self, shapes: &Shapes) -> Parts {
        let student = shapes.student[&Tap::Map];
        let of_teacher = |taps: &TapShapes| Projector {
            tap: Tap::Map,
            graph: projector(student, taps[&Tap::Map]),
        };
        let parameters = self.parameters(shapes);
        Parts {
            projectors: shapes.teachers.iter().map(of_teacher).collect(),
            after_step: Some(Box::new(MetaSteps::new(*self, parameters.clone(), shapes))),
            parameters,
            ..Parts::default()
        }
    }

    fn loss(&self, step: &Step) -> Loss {
        let MmkdConfig { output: OutputConfig { temperature, alpha }, beta, .. } = self.config;
        let Weights { logits, maps } = self.weights(step).detach();
        let value = weighted_sum(&maps, &Self::map_errors(step));
        let mut loss = task_and_weighted_kd(step, logits, alpha, temperature);
        loss.terms.push(Term { name: "intermediate", weight: beta, value });
        loss.with_teacher_weights("intermediate", maps)
    }

    fn objective(&self, teachers: usize) -> String {
        let MmkdConfig { output: OutputConfig { temperature, alpha }, beta, .. } = self.config;
        let every = self.config.meta_every;
        format!(
            "CE + {alpha} τ² Σ_k w KL + {beta} Σ_k w MSE, w learnt on hard samples every {every} \
             batches, τ = {temperature}, K = {teachers}, Σ_k w = 1"
        )
    }
}

/// `ReLU(BN(Conv1×1))` at the smaller of both sizes.
fn projector(student: MapShape, teacher: MapShape) -> Graph {
    let (mut graph, input) = GraphBuilder::new(student);
    let (height, width) = (student.height.min(teacher.height), student.width.min(teacher.width));
    let resized = graph.resize(input, height, width);
    let config = Conv2dConfig::new(teacher.channels, 1, 1).with_bias();
    let projected = graph
        .conv2d("conv", resized, config)
        .expect("a 1×1 kernel fits every map with at least one position");
    graph.batch_norm("bn", projected, None, true);
    graph.finish()
}

#[cfg(test)]
mod exact;
#[cfg(test)]
mod tests;
