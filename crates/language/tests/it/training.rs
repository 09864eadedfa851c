//! Training: the loss of next tokens, imitation, and runs on a stream.

use faculty_inputs::Tokens;
use faculty_language::{
    LanguageError, NextTokenStep, StreamConfig, StreamTrainer, TokenLoss, TokenObjective,
};
use faculty_nets::{Decoder, Network, OptimizerState};

use crate::small;

/// Texts of 7, 1 and 12 tokens.
pub(crate) fn batch() -> Tokens {
    let mut tokens = Tokens::default();
    for (text, length) in [7_u64, 1, 12].into_iter().enumerate() {
        let id = |i| (faculty_random::splitmix64(text as u64, i) % 200) as u32;
        let ids: Vec<u32> = (0..length).map(id).collect();
        tokens.push(&ids, &vec![0; ids.len()]);
    }
    tokens
}

#[test]
fn the_loss_is_the_mean_over_what_is_counted_and_nothing_gives_nothing() {
    let (mut network, tokens) = (small::network(), batch());
    let (mut decoder, mut logits) = (Decoder::new(&network), Vec::new());
    let hidden = decoder.hidden(&tokens).to_vec();
    decoder.logits(&hidden, &mut logits);
    let vocabulary = decoder.config().vocabulary;
    let mut step = NextTokenStep::new();
    // All, and only the second half of the longest text.
    let half: Vec<bool> = (0..tokens.count()).map(|at| at >= 14).collect();
    for (counted, count) in [(vec![true; tokens.count()], 17), (half, 5)] {
        let mut want = 0.0;
        for text in 0..tokens.len() {
            for at in tokens.range(text).skip(1).filter(|&at| counted[at - 1]) {
                let row = &logits[(at - 1) * vocabulary..at * vocabulary];
                let sum: f64 = row.iter().map(|&z| f64::from(z).exp()).sum();
                want += sum.ln() - f64::from(row[tokens.ids()[at] as usize]);
            }
        }
        let objective = TokenObjective::default();
        let own = step.run(&mut network, &tokens, &counted, true, &[], &objective);
        assert_eq!((own.tokens, own.kd), (count, 0.0));
        assert!((own.ce - want / count as f64).abs() < 1e-5, "{own:?} {want}");
        assert!(step.gradients().iter().flatten().any(|&g| g != 0.0));
    }
    let (counted, objective) = (vec![false; tokens.count()], TokenObjective::default());
    let none = step.run(&mut network, &tokens, &counted, true, &[], &objective);
    assert_eq!(none, TokenLoss::default());
    assert!(step.gradients().iter().flatten().all(|&g| g == 0.0));
}

/// A stream that a rule makes: each id follows from the two before it.
fn stream() -> Vec<u32> {
    let mut ids = vec![3, 5];
    for at in 2..2000 {
        ids.push((ids[at - 1] + 2 * ids[at - 2] + 1) % 11);
    }
    ids
}

fn config() -> StreamConfig {
    StreamConfig {
        window: 24,
        batch: 8,
        steps: 120,
        learning_rate: 5e-3,
        warm_up: 10,
        ..StreamConfig::default()
    }
}

fn train(network: &mut Network, trainer: &mut StreamTrainer, steps: usize) -> Vec<f64> {
    (0..steps).map(|_| trainer.step(network, &stream()).unwrap().loss.ce).collect()
}

#[test]
fn a_decoder_learns_the_rule_of_a_stream() {
    let mut network = small::network();
    let mut trainer = StreamTrainer::new(config(), OptimizerState::default()).unwrap();
    let losses = train(&mut network, &mut trainer, 120);
    // At first as good as chance or worse among the words; the rule leaves nothing to chance but the
    // first token of a window.
    let last = losses[110..].iter().sum::<f64>() / 10.0;
    assert!(losses[0] > 4.0 && last < 0.4, "from {} to {last}", losses[0]);
}

#[test]
fn a_run_goes_on_bit_for_bit_on_any_number_of_threads() {
    let mut whole = small::network();
    let mut trainer = StreamTrainer::new(config(), OptimizerState::default()).unwrap();
    let losses = train(&mut whole, &mut trainer, 12);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut network = small::network();
            let mut first = StreamTrainer::new(config(), OptimizerState::default()).unwrap();
            let mut own = train(&mut network, &mut first, 5);
            let mut second = StreamTrainer::new(config(), first.state().clone()).unwrap();
            own.extend(train(&mut network, &mut second, 7));
            assert_eq!(own, losses);
            assert_eq!(network.parameters(), whole.parameters());
            assert_eq!(second.state(), trainer.state());
        });
    }
}

#[test]
fn the_rate_rises_and_falls_and_what_cannot_be_is_refused() {
    let plain = StreamConfig { steps: 110, warm_up: 10, learning_rate: 1.0, ..config() };
    let trainer = StreamTrainer::new(plain, OptimizerState::default()).unwrap();
    for (step, want) in [(0, 0.1), (9, 1.0), (10, 1.0), (60, 0.55), (110, 0.1), (500, 0.1)] {
        assert!((trainer.rate(step) - want).abs() < 1e-12, "{step}: {}", trainer.rate(step));
    }
    let cases = [
        StreamConfig { window: 1, ..config() },
        StreamConfig { batch: 0, ..config() },
        StreamConfig { learning_rate: f64::NAN, ..config() },
        StreamConfig { weight_decay: -1.0, ..config() },
    ];
    for config in cases {
        let error = StreamTrainer::new(config, OptimizerState::default()).unwrap_err();
        assert!(matches!(error, LanguageError::OutOfRange { .. }), "{error}");
    }
    let mut trainer = StreamTrainer::new(config(), OptimizerState::default()).unwrap();
    let mut network = small::network();
    let error = trainer.step(&mut network, &[1]).unwrap_err();
    assert!(matches!(error, LanguageError::ShortText { tokens: 1 }));
    let error = trainer.step(&mut network, &[1, 9999, 9999]).unwrap_err();
    assert!(error.to_string().contains("token 9999"), "{error}");
}
