//! Several teachers, weighted token by token: against the methods of one sample, against finite
//! differences, and in parts.

use burn::Tensor;
use burn::tensor::{Device, Int, TensorData};
use faculty_inputs::{Texts, Tokens};
use faculty_language::{
    Divergence, NextTokenStep, TokenLoss, TokenObjective, TokenRule, TokenTeacher,
};
use faculty_methods::{
    Aver, CaMkd, CaMkdConfig, Ebkd, MaxProbability, Method, OutputConfig, Scale, Step,
};
use faculty_nets::{Decoder, Network, TrainingRun};

use crate::small;
use crate::training::batch;

/// Last hidden values of the batch and the head.
struct Frozen {
    hidden: Vec<f32>,
    head: Vec<f32>,
}

impl Frozen {
    fn new(network: &Network, tokens: &Tokens) -> Self {
        let id = network.graph().token_head().unwrap();
        let head = network.parameters()[id.index()].clone();
        Self { hidden: Decoder::new(network).hidden(tokens).to_vec(), head }
    }

    fn teacher(&self) -> TokenTeacher<'_> {
        TokenTeacher { hidden: &self.hidden, head: &self.head }
    }

    /// `[tokens, vocabulary]`
    fn logits(&self) -> Vec<f32> {
        let width = small::config().width;
        let row = |hidden: &'_ [f32]| -> Vec<f32> {
            let dot = |weight: &[f32]| weight.iter().zip(hidden).map(|(w, h)| w * h).sum();
            self.head.chunks(width).map(dot).collect()
        };
        self.hidden.chunks(width).flat_map(row).collect()
    }
}

/// Other networks with the same vocabulary, of which each is less sure than the one before.
fn teachers(tokens: &Tokens) -> Vec<Frozen> {
    (0..3_u8)
        .map(|k| {
            let graph = small::config().graph().unwrap();
            let network = Network::from_graph("teacher", graph, 99 + u64::from(k));
            let mut own = Frozen::new(&network, tokens);
            own.hidden.iter_mut().for_each(|x| *x *= 1.5 - 0.5 * f32::from(k));
            own
        })
        .collect()
}

/// All but some tokens; the last of each text never counts.
fn counted(tokens: &Tokens) -> Vec<bool> {
    (0..tokens.count()).map(|at| at % 5 != 2).collect()
}

/// Tokens that count, and the ones behind them.
fn rows(tokens: &Tokens, counted: &[bool]) -> Vec<(usize, u32)> {
    let texts = (0..tokens.len()).map(|text| tokens.range(text));
    let pairs = texts.flat_map(|range| range.clone().zip(range.skip(1)));
    let pairs = pairs.filter(|&(at, _)| counted[at]);
    pairs.map(|(at, behind)| (at, tokens.ids()[behind])).collect()
}

/// Every gradient of a network from that by its logits in some rows.
fn through(
    network: &mut Network,
    tokens: &Tokens,
    rows: &[(usize, u32)],
    by_logits: &[f32],
) -> Vec<Vec<f32>> {
    let graph = network.graph().clone();
    let (width, vocabulary) = (small::config().width, small::config().vocabulary);
    let mut run = TrainingRun::new();
    let texts = Texts { texts: Vec::new(), tokens: tokens.clone() };
    run.forward(network, &texts, tokens.len());
    let hidden = run.value(graph.output()).to_vec();
    let head = graph.token_head().unwrap().index();
    let weight = network.parameters()[head].clone();
    let (mut by_hidden, mut by_head) = (vec![0.0; hidden.len()], vec![0.0; weight.len()]);
    for (&(at, _), by_logits) in rows.iter().zip(by_logits.chunks(vocabulary)) {
        for (class, &by_logit) in by_logits.iter().enumerate() {
            for i in 0..width {
                by_hidden[at * width + i] += by_logit * weight[class * width + i];
                by_head[class * width + i] += by_logit * hidden[at * width + i];
            }
        }
    }
    run.backward(network, [(graph.output(), &by_hidden)], false);
    let mut gradients = run.gradients().to_vec();
    gradients[head].iter_mut().zip(by_head).for_each(|(sum, by_head)| *sum += by_head);
    gradients
}

fn run(
    step: &mut NextTokenStep,
    network: &mut Network,
    tokens: &Tokens,
    teachers: &[Frozen],
    objective: &TokenObjective,
) -> TokenLoss {
    let teachers: Vec<TokenTeacher<'_>> = teachers.iter().map(Frozen::teacher).collect();
    step.run(network, tokens, &counted(tokens), true, &teachers, objective)
}

#[track_caller]
fn assert_near(what: &str, got: &[Vec<f32>], want: &[Vec<f32>], bound: f32) {
    let pairs = got.iter().flatten().zip(want.iter().flatten());
    let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let largest = want.iter().flatten().fold(0.0_f32, |a, b| a.max(b.abs()));
    assert!(largest > 1e-3 && worst <= bound * largest.max(1.0), "{what}: {worst} of {largest}");
}

#[test]
fn each_rule_is_its_method_of_one_sample() {
    let (mut network, tokens) = (small::network(), batch());
    let (teachers, rows) = (teachers(&tokens), rows(&tokens, &counted(&tokens)));
    let vocabulary = small::config().vocabulary;
    let device = Device::flex().autodiff();
    let picked = |own: &Frozen| -> Vec<f32> {
        let logits = own.logits();
        rows.iter().flat_map(|&(at, _)| &logits[at * vocabulary..][..vocabulary]).copied().collect()
    };
    let labels: Vec<i32> = rows.iter().map(|&(_, next)| next as i32).collect();
    let labels: Tensor<1, Int> = Tensor::from_data(TensorData::new(labels, [rows.len()]), &device);
    let given: Vec<f32> = teachers.iter().flat_map(&picked).collect();
    let given = TensorData::new(given, [teachers.len(), rows.len(), vocabulary]);
    let own = TensorData::new(picked(&Frozen::new(&network, &tokens)), [rows.len(), vocabulary]);
    let output = OutputConfig { temperature: 2.0, ..OutputConfig::default() };
    let confidence =
        CaMkdConfig { temperature: 2.0, intermediate: false, ..CaMkdConfig::default() };
    let methods: [(TokenRule, Box<dyn Method>); 4] = [
        (TokenRule::Uniform, Box::new(Aver::new(output))),
        (TokenRule::Entropy, Box::new(Ebkd::new(output, Scale::Unit))),
        (TokenRule::Confidence, Box::new(CaMkd::new(confidence))),
        (TokenRule::MaxProbability, Box::new(MaxProbability::new(output))),
    ];
    for (rule, method) in methods {
        let student = Tensor::<2>::from_data(own.clone(), &device).require_grad();
        let given = Tensor::<3>::from_data(given.clone(), &device);
        let method_step = Step::of_logits(labels.clone(), student.clone(), given);
        let want = method.loss(&method_step);
        let term = want.terms.iter().find(|term| term.name == "kd").unwrap();
        let floats = |data: TensorData| data.try_to_vec::<f32>().unwrap();
        let kd = f64::from(floats(term.value.clone().into_data())[0]);
        let by_logits = student.grad(&term.value.clone().backward()).unwrap();
        let by_logits = floats(by_logits.into_data());

        let mut step = NextTokenStep::new();
        let objective = TokenObjective {
            ce: 0.0,
            kd: 1.0,
            temperature: 2.0,
            rule,
            ..TokenObjective::default()
        };
        let got = run(&mut step, &mut network, &tokens, &teachers, &objective);
        assert_eq!(got.tokens, rows.len());
        assert!(kd > 0.1 && (got.kd - kd).abs() < 1e-5 * kd.max(1.0), "{rule:?}: {got:?}, {kd}");
        if let Some(weights) = want.teacher_weights.first() {
            let weights = floats(weights.weights.clone().into_data());
            for (got, want) in got.teacher_weights.iter().zip(weights.chunks(rows.len())) {
                let want = want.iter().map(|&w| f64::from(w)).sum::<f64>() / rows.len() as f64;
                assert!((got - want).abs() < 1e-5, "{rule:?}: {got}, {want}");
            }
        }
        assert!((got.teacher_weights.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{got:?}");
        let want = through(&mut network, &tokens, &rows, &by_logits);
        assert_near(&format!("{rule:?}"), step.gradients(), &want, 1e-5);
    }
}

#[test]
fn a_teacher_alone_is_one_teacher() {
    let (mut network, tokens) = (small::network(), batch());
    let all = teachers(&tokens);
    for divergence in [Divergence::Forward, Divergence::Reverse] {
        let objective =
            TokenObjective { rule: TokenRule::Single(1), divergence, ..TokenObjective::default() };
        let mut step = NextTokenStep::new();
        let among = run(&mut step, &mut network, &tokens, &all, &objective);
        let gradients = step.gradients().to_vec();
        let objective = TokenObjective { rule: TokenRule::Confidence, ..objective };
        let alone = run(&mut step, &mut network, &tokens, &all[1..2], &objective);
        assert_eq!((among.ce, among.kd), (alone.ce, alone.kd));
        assert_eq!(among.teacher_weights, [0.0, 1.0, 0.0]);
        assert_eq!(alone.teacher_weights, [1.0]);
        assert_eq!(among.teacher_ce[1], alone.teacher_ce[0]);
        assert_eq!(step.gradients(), gradients);
    }
}

#[test]
fn of_a_students_own_text_no_token_is_the_true_one() {
    let (mut network, tokens) = (small::network(), batch());
    let frozen = teachers(&tokens);
    let teachers: Vec<TokenTeacher<'_>> = frozen.iter().map(Frozen::teacher).collect();
    let mut weights = |rule, true_next| {
        let objective = TokenObjective { rule, ..TokenObjective::default() };
        let counted = counted(&tokens);
        let mut step = NextTokenStep::new();
        step.run(&mut network, &tokens, &counted, true_next, &teachers, &objective).teacher_weights
    };
    let entropy = weights(TokenRule::Entropy, true);
    assert_eq!(weights(TokenRule::Confidence, false), entropy);
    assert_ne!(weights(TokenRule::Confidence, true), entropy);
}

/// Texts of up to 64 tokens of a batch, by their numbers.
fn part(tokens: &Tokens, texts: std::ops::Range<usize>) -> Tokens {
    let mut part = Tokens::default();
    texts.for_each(|text| part.push(tokens.ids_of(text), &vec![0; tokens.ids_of(text).len()]));
    part
}

const OBJECTIVES: [TokenObjective; 4] = [
    TokenObjective {
        ce: 0.5,
        kd: 2.0,
        temperature: 2.0,
        rule: TokenRule::Confidence,
        divergence: Divergence::Forward,
    },
    TokenObjective {
        ce: 1.0,
        kd: 1.0,
        temperature: 1.0,
        rule: TokenRule::Entropy,
        divergence: Divergence::Reverse,
    },
    TokenObjective {
        ce: 0.0,
        kd: 3.0,
        temperature: 1.0,
        rule: TokenRule::MaxProbability,
        divergence: Divergence::JensenShannon { beta: 0.3 },
    },
    TokenObjective {
        ce: 0.2,
        kd: 1.0,
        temperature: 4.0,
        rule: TokenRule::Uniform,
        divergence: Divergence::Forward,
    },
];

#[test]
fn gradients_are_those_of_the_loss() {
    let (mut network, tokens) = (small::network(), batch());
    let teachers = teachers(&tokens);
    for objective in OBJECTIVES {
        let mut step = NextTokenStep::new();
        let loss = |network: &mut Network, step: &mut NextTokenStep| {
            let loss = run(step, network, &tokens, &teachers, &objective);
            f64::from(objective.ce) * loss.ce + f64::from(objective.kd) * loss.kd
        };
        loss(&mut network, &mut step);
        // Along the gradient, all parameters together.
        let gradients = step.gradients().to_vec();
        let norm = gradients.iter().flatten().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        let mut moved = |by: f64| {
            let mut other = network.clone();
            let parameters = other.parameters_mut().iter_mut().flatten();
            for (w, g) in parameters.zip(gradients.iter().flatten()) {
                *w += (by * f64::from(*g) / norm) as f32;
            }
            loss(&mut other, &mut step)
        };
        let difference = (moved(2e-3) - moved(-2e-3)) / 4e-3;
        assert!((difference - norm).abs() < 0.01 * norm, "{objective:?}: {difference} {norm}");
    }
}

#[test]
fn parts_weighted_by_their_counts_are_the_whole() {
    let (mut network, tokens) = (small::network(), batch());
    for objective in OBJECTIVES {
        let mut step = NextTokenStep::new();
        let mut of = |tokens: &Tokens, counted: &[bool]| {
            let frozen = teachers(tokens);
            let teachers: Vec<TokenTeacher<'_>> = frozen.iter().map(Frozen::teacher).collect();
            let loss = step.run(&mut network, tokens, counted, true, &teachers, &objective);
            (loss, step.gradients().to_vec())
        };
        let (whole, gradients) = of(&tokens, &counted(&tokens));
        // Texts of 7 and 1 tokens, then the last one.
        let (first, second) = (part(&tokens, 0..2), part(&tokens, 2..3));
        let all = counted(&tokens);
        let (one, by_one) = of(&first, &all[..first.count()]);
        let (two, by_two) = of(&second, &all[first.count()..]);
        assert_eq!(one.tokens + two.tokens, whole.tokens);
        let share = one.tokens as f64 / whole.tokens as f64;
        let joined = |one: f64, two: f64| share * one + (1.0 - share) * two;
        let near = |what: &str, one: f64, two: f64, whole: f64| {
            let joined = joined(one, two);
            assert!((joined - whole).abs() < 1e-5, "{objective:?}, {what}: {joined} {whole}");
        };
        near("ce", one.ce, two.ce, whole.ce);
        near("kd", one.kd, two.kd, whole.kd);
        for k in 0..3 {
            near("ce of a teacher", one.teacher_ce[k], two.teacher_ce[k], whole.teacher_ce[k]);
            let weights = [&one, &two, &whole].map(|loss| loss.teacher_weights[k]);
            near("weight of a teacher", weights[0], weights[1], weights[2]);
        }
        let sum: Vec<Vec<f32>> = by_one
            .iter()
            .zip(&by_two)
            .map(|(a, b)| {
                let pairs = a.iter().zip(b);
                pairs.map(|(&a, &b)| joined(f64::from(a), f64::from(b)) as f32).collect()
            })
            .collect();
        assert_near(&format!("{objective:?}"), &gradients, &sum, 1e-5);
    }
}

#[test]
fn a_student_that_is_all_its_teachers_has_nothing_to_learn_from_them() {
    let (mut network, tokens) = (small::network(), batch());
    let itself: Vec<Frozen> = (0..2).map(|_| Frozen::new(&network, &tokens)).collect();
    for objective in OBJECTIVES {
        let objective = TokenObjective { ce: 1.0, ..objective };
        let mut step = NextTokenStep::new();
        let alone = run(&mut step, &mut network, &tokens, &[], &objective);
        assert!(alone.teacher_weights.is_empty() && alone.kd == 0.0);
        let without = step.gradients().to_vec();
        let loss = run(&mut step, &mut network, &tokens, &itself, &objective);
        assert!(loss.kd.abs() < 1e-5 && loss.ce == alone.ce, "{objective:?}: {loss:?}");
        assert!(loss.teacher_ce.iter().all(|own| (own - loss.ce).abs() < 1e-5), "{loss:?}");
        for (a, b) in step.gradients().iter().flatten().zip(without.iter().flatten()) {
            assert!((a - b).abs() < 2e-5, "{objective:?}: {a} {b}");
        }
    }
}

#[test]
fn of_no_counted_token_all_is_zero() {
    let (mut network, tokens) = (small::network(), batch());
    let frozen = teachers(&tokens);
    let teachers: Vec<TokenTeacher<'_>> = frozen.iter().map(Frozen::teacher).collect();
    for objective in OBJECTIVES {
        let (mut step, none) = (NextTokenStep::new(), vec![false; tokens.count()]);
        let loss = step.run(&mut network, &tokens, &none, true, &teachers, &objective);
        let want = TokenLoss {
            teacher_weights: vec![0.0; 3],
            teacher_ce: vec![0.0; 3],
            ..TokenLoss::default()
        };
        assert_eq!(loss, want);
        assert!(step.gradients().iter().flatten().all(|&g| g == 0.0));
    }
}
