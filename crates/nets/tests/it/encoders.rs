//! Text encoders: gradients against finite differences, packing, dropout, and files.

use faculty_inputs::{Texts, Tokens};
use faculty_nets::{
    EncoderConfig, EncoderFamily, Inference, Network, Per, Pooling, TrainingRun, ValueId,
};

const FAMILIES: [EncoderFamily; 7] = [
    EncoderFamily::Bert,
    EncoderFamily::Roberta,
    EncoderFamily::XlmRoberta,
    EncoderFamily::DistilBert,
    EncoderFamily::Mpnet,
    EncoderFamily::Electra,
    EncoderFamily::Bag,
];
const POOLINGS: [Pooling; 3] = [Pooling::First, Pooling::Mean, Pooling::Attentive];
const CLASSES: usize = 3;

fn config(family: EncoderFamily, pooling: Pooling) -> EncoderConfig {
    let mut config = EncoderConfig::new(family, 50, 2, 12);
    // Large enough for gradients that rounding does not hide.
    (config.heads, config.longest, config.initial_deviation) = (3, 40, 0.3);
    config.pooling = pooling;
    if family == EncoderFamily::Electra {
        config.embedding_width = 8;
    }
    config
}

fn network(config: &EncoderConfig) -> Network {
    Network::from_graph("encoder", config.graph(CLASSES).unwrap(), 3)
}

/// Texts of these lengths, always the same for the same seed.
fn texts(lengths: &[usize], seed: u64) -> Texts {
    let mut tokens = Tokens::default();
    for (text, &length) in lengths.iter().enumerate() {
        let draw = |i: usize| faculty_random::splitmix64(seed + text as u64, i as u64);
        let ids: Vec<u32> = (0..length).map(|i| (draw(i) % 50) as u32).collect();
        let segments: Vec<u8> = (0..length).map(|i| u8::from(i > length / 2)).collect();
        tokens.push(&ids, &segments);
    }
    Texts { texts: Vec::new(), tokens }
}

fn directions(len: usize, seed: u64) -> Vec<f32> {
    let draw = |i| faculty_random::splitmix64(seed, i) >> 40;
    let scale = 1.0 / (len as f32).sqrt();
    (0..len as u64).map(|i| (draw(i) as f32 / (1 << 23) as f32 - 1.0) * scale).collect()
}

/// Directional derivative along each parameter's own gradient, against central differences.
fn check_gradients(config: &EncoderConfig, dropout: bool) {
    let mut network = network(config);
    let graph = network.graph().clone();
    let batch = texts(&[5, 1, 17], 7);
    let mut run = TrainingRun::new();
    if dropout {
        run.set_dropout(vec![11, 12, 13]);
    }
    let mut taps: Vec<ValueId> = graph.features().to_vec();
    taps.push(graph.output());
    let taps: Vec<(ValueId, Vec<f32>)> = (taps.into_iter().enumerate())
        .map(|(i, id)| {
            assert_eq!(graph.per(id), Per::Sample);
            (id, directions(3 * graph.shape(id).elements(), i as u64))
        })
        .collect();
    let loss = |run: &TrainingRun| -> f64 {
        let pairs = taps.iter().flat_map(|(id, direction)| run.value(*id).iter().zip(direction));
        pairs.map(|(v, d)| f64::from(*v) * f64::from(*d)).sum()
    };
    run.forward(&mut network, &batch, 3);
    run.backward(&network, taps.clone(), false);
    let gradients = run.gradients().to_vec();
    for (index, gradient) in gradients.iter().enumerate() {
        let name = &graph.parameters()[index].name;
        let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        // A key's bias adds the same to all scores of a query, which a softmax does not see.
        let is_key_bias =
            ["key.bias", "k_lin.bias", "attn.k.bias"].iter().any(|k| name.ends_with(k));
        assert!(
            is_key_bias || name == "pooling.score.bias" || norm > 1e-4,
            "{name} gets no gradient"
        );
        if norm < 1e-4 {
            continue;
        }
        let mut moved = |by: f64| {
            let mut other = network.clone();
            for (w, g) in other.parameters_mut()[index].iter_mut().zip(gradient) {
                *w += (by * f64::from(*g) / norm) as f32;
            }
            run.forward(&mut other, &batch, 3);
            loss(&run)
        };
        let step = (0.005 / norm).min(2e-3);
        let difference = (moved(step) - moved(-step)) / (2.0 * step);
        assert!(
            (difference - norm).abs() <= 0.02 * norm + 2e-3,
            "{name}: gradient {norm}, finite difference {difference}"
        );
    }
}

#[test]
fn gradients_of_every_family_match_finite_differences() {
    for family in FAMILIES {
        check_gradients(&config(family, Pooling::First), false);
    }
}

#[test]
fn gradients_of_every_pooling_match_finite_differences_with_dropout() {
    for pooling in POOLINGS {
        check_gradients(&config(EncoderFamily::Bert, pooling), true);
        check_gradients(&config(EncoderFamily::Mpnet, pooling), true);
    }
}

fn logits(run: &TrainingRun, network: &Network) -> Vec<f32> {
    run.value(network.graph().output()).to_vec()
}

#[test]
fn the_frozen_plan_gives_what_training_without_dropout_gives() {
    for family in FAMILIES {
        for pooling in POOLINGS {
            let mut network = network(&config(family, pooling));
            let graph = network.graph().clone();
            let batch = texts(&[4, 9, 2], 1);
            let mut run = TrainingRun::new();
            run.forward(&mut network, &batch, 3);
            let mut plan = Inference::new(&network, graph.features());
            assert_eq!(plan.run(&batch, 3), logits(&run, &network), "{family:?} {pooling:?}");
            for &tap in graph.features() {
                assert_eq!(plan.value(tap), run.value(tap), "{family:?} {pooling:?}");
            }
        }
    }
}

#[test]
fn a_texts_logits_and_gradient_mask_do_not_depend_on_its_batch() {
    for family in FAMILIES {
        let mut network = network(&config(family, Pooling::Attentive));
        let batch = texts(&[30, 3, 11, 1], 5);
        let mut run = TrainingRun::new();
        let keys = [21, 22, 23, 24];
        run.set_dropout(keys.to_vec());
        run.forward(&mut network, &batch, 4);
        let together = logits(&run, &network);
        for text in 0..4 {
            run.set_dropout(vec![keys[text]]);
            run.forward(&mut network, &batch.tokens.select(&[text]).into_texts(), 1);
            let alone = logits(&run, &network);
            let among = &together[text * CLASSES..][..CLASSES];
            let close =
                alone.iter().zip(among).all(|(a, b)| (a - b).abs() <= 1e-5 * a.abs().max(1.0));
            assert!(close, "{family:?}: {alone:?} alone, {among:?} among others");
        }
        run.set_dropout(vec![25]);
        run.forward(&mut network, &batch.tokens.select(&[0]).into_texts(), 1);
        assert_ne!(
            logits(&run, &network),
            together[..CLASSES],
            "{family:?}: other keys, other masks"
        );
    }
}

/// For batches of tokens alone.
trait IntoTexts {
    fn into_texts(self) -> Texts;
}

impl IntoTexts for Tokens {
    fn into_texts(self) -> Texts {
        Texts { texts: Vec::new(), tokens: self }
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let network = network(&config(EncoderFamily::Bert, Pooling::First));
    let batch = texts(&[30, 3, 11, 1], 5);
    let results = [1, 2, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (mut network, mut run) = (network.clone(), TrainingRun::new());
            run.forward(&mut network, &batch, 4);
            let output = network.graph().output();
            run.backward(&network, [(output, directions(4 * CLASSES, 1))], false);
            (logits(&run, &network), run.gradients().to_vec())
        })
    });
    assert!(results.iter().all(|result| *result == results[0]));
}
