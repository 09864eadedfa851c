//! The gradient through all inner steps against that of a tiny student in f64, written out here:
//! every weight is moved, all inner steps are taken again, and the meta losses are compared. Each point
//! keeps its activation pattern, so that this is the gradient of automatic differentiation.

use faculty_data::SampleId;
use faculty_nets::{GraphBuilder, Network};

use super::tests::numbers_of;
use super::*;
use faculty_contract::losses::numbers;
use faculty_contract::{LearnerBatch, Sandbox, TeacherTraits};
use faculty_learner::Compute;
use faculty_learner::{Learner, LearnerSandbox};
use faculty_nets::OptimizerConfig;
use faculty_nets::TeacherOutputs;

const BATCH: usize = 12;
const CLASSES: usize = 3;
const SIDE: usize = 6;
/// Of both convolutions, the first of stride 2.
const CHANNELS: [usize; 2] = [2, 3];
const TEACHERS: usize = 2;
const TEACHER_CHANNELS: usize = 2;
const MOMENTUM: f64 = 0.9;
const DECAY: f64 = 5e-4;
const OPTIMIZER: OptimizerConfig =
    OptimizerConfig::Sgd { momentum: MOMENTUM as f32, nesterov: true, weight_decay: DECAY as f32 };

type Vectors = Vec<Vec<f64>>;

/// `[batch, channels, side, side]`.
#[derive(Clone)]
struct Map {
    channels: usize,
    side: usize,
    values: Vec<f64>,
}

impl Map {
    fn convolved(
        &self,
        weight: &[f64],
        bias: Option<&[f64]>,
        kernel: usize,
        stride: usize,
    ) -> Self {
        let (channels, padding) = (weight.len() / (self.channels * kernel * kernel), kernel / 2);
        let side = (self.side + 2 * padding - kernel) / stride + 1;
        let mut values = Vec::new();
        for b in 0..BATCH {
            for out in 0..channels {
                for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
                    let mut sum = bias.map_or(0.0, |bias| bias[out]);
                    for input in 0..self.channels {
                        for (i, j) in (0..kernel).flat_map(|i| (0..kernel).map(move |j| (i, j))) {
                            let (row, column) = (y * stride + i, x * stride + j);
                            let inside = padding..padding + self.side;
                            if inside.contains(&row) && inside.contains(&column) {
                                let at = (b * self.channels + input) * self.side + row - padding;
                                let value = self.values[at * self.side + column - padding];
                                let own = (out * self.channels + input) * kernel + i;
                                sum += value * weight[own * kernel + j];
                            }
                        }
                    }
                    values.push(sum);
                }
            }
        }
        Self { channels, side, values }
    }

    /// Batch norm by the batch's statistics, then ReLU, which passes what it did in `held`.
    fn normalised(mut self, gamma: &[f64], beta: &[f64], held: Option<&Self>) -> Self {
        let plane = self.side * self.side;
        for c in 0..self.channels {
            let places: Vec<usize> = (0..BATCH)
                .flat_map(|b| (b * self.channels + c) * plane..(b * self.channels + c + 1) * plane)
                .collect();
            let count = places.len() as f64;
            let mean = places.iter().map(|&i| self.values[i]).sum::<f64>() / count;
            let squares = places.iter().map(|&i| (self.values[i] - mean).powi(2));
            let deviation = (squares.sum::<f64>() / count + 1e-5).sqrt();
            for i in places {
                let value = (self.values[i] - mean) / deviation * gamma[c] + beta[c];
                let passes = held.map_or(value, |held| held.values[i]) > 0.0;
                self.values[i] = if passes { value } else { 0.0 };
            }
        }
        self
    }
}

fn log_softmax(logits: &[f64], temperature: f64) -> Vec<f64> {
    let sum: f64 = logits.iter().map(|z| (z / temperature).exp()).sum();
    logits.iter().map(|z| z / temperature - sum.ln()).collect()
}

/// Student, projectors, teachers and samples in f64.
struct Exact {
    config: MmkdConfig,
    images: Map,
    labels: Vec<u32>,
    teachers: Vec<(Vec<f64>, Vec<f64>)>,
    start: Vectors,
    velocity: Vectors,
    rate: f64,
    clip: Option<f64>,
}

/// Of one inner step: weights of outputs and of maps, `[teachers, batch]` each.
type StepWeights = [Vec<f64>; 2];

/// What an evaluation gives.
struct Values {
    logits: Vec<f64>,
    /// Both errors of each teacher and sample.
    errors: StepWeights,
    /// Everything behind a ReLU.
    activated: Vec<Map>,
}

impl Exact {
    /// With the activation pattern of `held`, or the one that the weights `w` have.
    fn values(&self, w: &Vectors, held: Option<&[Map]>) -> Values {
        let held = |number: usize| held.map(|held| &held[number]);
        let first = self.images.convolved(&w[0], None, 3, 2).normalised(&w[1], &w[2], held(0));
        let map = first.convolved(&w[3], None, 3, 1).normalised(&w[4], &w[5], held(1));
        let mut activated = vec![first, map.clone()];
        let plane = map.side * map.side;
        let pooled: Vec<f64> =
            map.values.chunks(plane).map(|own| own.iter().sum::<f64>() / plane as f64).collect();
        let row = |own: &[f64]| -> Vec<f64> {
            let of = |c: usize| &w[6][c * CHANNELS[1]..][..CHANNELS[1]];
            let dot = |c: usize| of(c).iter().zip(own).map(|(w, x)| w * x).sum::<f64>();
            (0..CLASSES).map(|c| dot(c) + w[7][c]).collect()
        };
        let logits: Vec<f64> = pooled.chunks(CHANNELS[1]).flat_map(row).collect();
        let tau = f64::from(self.config.output.temperature);
        let (mut outputs, mut maps) = (Vec::new(), Vec::new());
        for (k, (teacher, target)) in self.teachers.iter().enumerate() {
            for (teacher, student) in teacher.chunks(CLASSES).zip(logits.chunks(CLASSES)) {
                let (p, q) = (log_softmax(teacher, tau), log_softmax(student, tau));
                let kl: f64 = p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum();
                outputs.push(self.config.output.alpha * tau * tau * kl);
            }
            let own = &w[8 + 4 * k..];
            let projected = map.convolved(&own[0], Some(&own[1]), 1, 1);
            let projected = projected.normalised(&own[2], &own[3], held(2 + k));
            let size = target.len() / BATCH;
            for (own, target) in projected.values.chunks(size).zip(target.chunks(size)) {
                let squares: f64 = own.iter().zip(target).map(|(a, b)| (a - b).powi(2)).sum();
                maps.push(self.config.beta * squares / size as f64);
            }
            activated.push(projected);
        }
        Values { logits, errors: [outputs, maps], activated }
    }

    fn cross_entropy(&self, w: &Vectors, held: &[Map]) -> f64 {
        let Values { logits, .. } = self.values(w, Some(held));
        let rows = logits.chunks(CLASSES).zip(&self.labels);
        rows.map(|(row, &label)| -log_softmax(row, 1.0)[label as usize]).sum::<f64>() / BATCH as f64
    }

    fn matching(&self, w: &Vectors, weights: &StepWeights, held: &[Map]) -> f64 {
        let Values { errors, .. } = self.values(w, Some(held));
        let pairs = errors.iter().flatten().zip(weights.iter().flatten());
        pairs.map(|(error, weight)| error * weight).sum::<f64>() / BATCH as f64
    }

    fn gradient(w: &Vectors, loss: impl Fn(&Vectors) -> f64) -> Vectors {
        let mut moved = w.clone();
        let step = 1e-6;
        let of = |(i, j): (usize, usize)| {
            let mut at = |by: f64| {
                moved[i][j] = w[i][j] + by;
                loss(&moved)
            };
            let difference = at(step) - at(-step);
            moved[i][j] = w[i][j];
            difference / (2.0 * step)
        };
        let places = w.iter().enumerate().flat_map(|(i, own)| (0..own.len()).map(move |j| (i, j)));
        let mut flat = places.map(of).collect::<Vec<_>>().into_iter();
        w.iter().map(|own| flat.by_ref().take(own.len()).collect()).collect()
    }

    fn step(&self, w: &mut Vectors, velocity: &mut Vectors, gradient: &Vectors) {
        let norm = gradient.iter().flatten().map(|g| g * g).sum::<f64>().sqrt();
        let factor = self.clip.map_or(1.0, |limit| (limit / (norm + 1e-6)).min(1.0));
        let all = w.iter_mut().flatten().zip(velocity.iter_mut().flatten());
        for ((w, v), g) in all.zip(gradient.iter().flatten()) {
            let g = factor * g + DECAY * *w;
            *v = MOMENTUM * *v + g;
            *w -= self.rate * (g + MOMENTUM * *v);
        }
    }

    /// The meta loss after all inner steps. `held` has the activation pattern of each point on the way,
    /// which are the points' own where it ends, and it has them then.
    fn meta_loss(&self, weights: &[StepWeights], held: &mut Vec<Vec<Map>>) -> f64 {
        let (mut w, mut velocity) = (self.start.clone(), self.velocity.clone());
        for number in 0..weights.len() + 2 {
            if held.len() == number {
                held.push(self.values(&w, None).activated);
            }
            let held = &held[number];
            let gradient = match weights.get(number) {
                Some(own) => Self::gradient(&w, |w| self.matching(w, own, held)),
                None if number == weights.len() => {
                    Self::gradient(&w, |w| self.cross_entropy(w, held))
                }
                None => return self.cross_entropy(&w, held),
            };
            self.step(&mut w, &mut velocity, &gradient);
        }
        unreachable!("the last point gives the loss")
    }

    fn by_weight(
        &self,
        weights: &[StepWeights],
        held: &mut Vec<Vec<Map>>,
        step: usize,
        kind: usize,
        place: usize,
    ) -> f64 {
        let by = 1e-3;
        let mut at = |by: f64| {
            let mut moved = weights.to_vec();
            moved[step][kind][place] += by;
            self.meta_loss(&moved, held)
        };
        (at(by) - at(-by)) / (2.0 * by)
    }
}

fn student() -> Network {
    let (mut graph, input) = GraphBuilder::new(MapShape::new(1, SIDE, SIDE));
    let mut value = input;
    for (number, (channels, stride)) in CHANNELS.into_iter().zip([2, 1]).enumerate() {
        let config = Conv2dConfig::new(channels, 3, stride);
        value = graph.conv2d(&format!("conv{number}"), value, config).unwrap();
        value = graph.batch_norm(&format!("bn{number}"), value, None, true);
    }
    graph.pooled_classifier("fc", value, CLASSES);
    Network::from_graph("tiny", graph.finish(), 3)
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// Samples whose weights are moved one by one.
const MOVED: usize = 4;

/// Gradients by the weights of outputs and of maps at each inner step, ours and the exact ones:
/// `[MOVED]` each, of the first teacher less the second, since behind the softmax nothing else counts.
fn compared(rate: f32, clip: Option<f64>, seed: u64) -> Vec<[Vec<f64>; 2]> {
    let config = MmkdConfig { beta: 20.0, ..MmkdConfig::default() };
    let method = Mmkd::new(config);
    let images = numbers_of(BATCH * SIDE * SIDE, seed);
    let labels: Vec<u32> = (0..BATCH).map(|i| (i % CLASSES) as u32).collect();
    let shape = MapShape::new(TEACHER_CHANNELS, SIDE / 2, SIDE / 2);
    let teachers: Vec<TeacherOutputs> = (0..TEACHERS as u64)
        .map(|k| TeacherOutputs {
            logits: numbers_of(BATCH * CLASSES, seed + 10 + k).iter().map(|z| 5.0 * z).collect(),
            maps: vec![numbers_of(BATCH * shape.elements(), seed + 20 + k)],
        })
        .collect();
    let traits = TeacherTraits { taps: [(Tap::Map, shape)].into(), classifier: None };
    let traits = vec![traits; TEACHERS];
    let mut learner =
        Learner::new(student(), Box::new(method), &traits, BATCH, seed, &Compute::Kernels);
    let ids: Vec<SampleId> = (0..BATCH as u64).map(SampleId).collect();
    let batch = LearnerBatch {
        epoch: 1,
        step_seed: 7,
        ids: &ids,
        inputs: (&images).into(),
        labels: &labels,
        mixed: None,
        teachers: &teachers,
    };
    // So that there is momentum.
    for _ in 0..3 {
        learner.gradients(&batch);
        learner.update(&OPTIMIZER, 0.02, None, 1);
    }
    let (mut start, mut velocity) = (Vectors::new(), Vectors::new());
    for (_, own) in learner.trained().filter(|(name, _)| name != "method") {
        start.extend(own.network.parameters().iter().map(|p| wide(p)));
        velocity.extend(own.optimizer.slots[0].iter().map(|v| wide(v)));
    }
    let mut sandbox = LearnerSandbox::new(&mut learner, batch, &OPTIMIZER, rate, clip);
    let weights: Vec<StepWeights> = (0..config.meta_steps)
        .map(|_| {
            let weights = method.matching_step(&mut sandbox, &batch).weights;
            [&weights.logits, &weights.maps].map(|own| wide(&numbers(own)))
        })
        .collect();
    sandbox.restore();
    let got = method.meta_gradient(&mut sandbox, &batch);

    let exact = Exact {
        config,
        images: Map { channels: 1, side: SIDE, values: wide(&images) },
        labels,
        teachers: teachers.iter().map(|t| (wide(&t.logits), wide(&t.maps[0]))).collect(),
        start,
        velocity,
        rate: f64::from(rate),
        clip,
    };
    let mut held = Vec::new();
    let loss = exact.meta_loss(&weights, &mut held);
    assert!((got.loss - loss).abs() < 1e-4 * loss, "meta loss {} instead of {loss}", got.loss);
    let mut pairs = Vec::new();
    for (step, by_weights) in got.by_weights.iter().enumerate() {
        for (kind, own) in by_weights.iter().enumerate() {
            let mut of = |place: usize| exact.by_weight(&weights, &mut held, step, kind, place);
            pairs.push([
                (0..MOVED).map(|b| own[b] - own[BATCH + b]).collect(),
                (0..MOVED).map(|b| of(b) - of(BATCH + b)).collect(),
            ]);
        }
    }
    pairs
}

#[test]
fn the_gradient_through_all_inner_steps_is_the_exact_one_at_every_learning_rate() {
    let norm = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
    let rates = [(0.002, None), (0.01, None), (0.04, None), (0.04, Some(1.0))];
    for (seed, (rate, clip)) in (1..=2).flat_map(|seed| rates.map(|own| (seed, own))) {
        let pairs = compared(rate, clip, seed);
        for kind in 0..2 {
            // All steps together, as the networks learn from them: where one has next to no gradient,
            // differences are the rounding of errors in f32.
            let of = |side: usize| -> Vec<f64> {
                pairs.iter().skip(kind).step_by(2).flat_map(|pair| pair[side].clone()).collect()
            };
            let (got, want) = (of(0), of(1));
            let (length, size) = (norm(&got), norm(&want));
            let product: f64 = got.iter().zip(&want).map(|(a, b)| a * b).sum();
            let (cosine, ratio) = (product / (length * size), length / size);
            // All are above 0.9999 and within 0.01; what is left is f32's rounding, which also moves
            // the points between the steps.
            assert!(
                cosine > 0.999 && (ratio - 1.0).abs() < 0.02,
                "seed {seed}, rate {rate}, clip {clip:?}, {kind}: cosine {cosine}, lengths {ratio}, \
                 {got:?} instead of {want:?}"
            );
        }
    }
}
