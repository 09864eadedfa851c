//! Decoders: gradients against finite differences, packing, and the cache.

use faculty_inputs::{Texts, Tokens};
use faculty_kernels::head_loss::{Divergence, Head, HeadGrads, Targets, head_loss};
use faculty_nets::{
    Decoder, DecoderConfig, DecoderFamily, KvCache, Network, RotaryLayout, TrainingRun,
};

const VOCABULARY: usize = 50;

fn plain() -> DecoderConfig {
    DecoderConfig {
        longest: 48,
        heads: 4,
        kv_heads: 2,
        head_width: 6,
        intermediate: 20,
        // Large enough for gradients that rounding does not hide.
        initial_deviation: 0.3,
        ..DecoderConfig::new(VOCABULARY, 2, 16)
    }
}

fn configs() -> Vec<DecoderConfig> {
    vec![
        plain(),
        DecoderConfig { rotary_layout: RotaryLayout::Interleaved, tied: false, ..plain() },
        DecoderConfig { family: DecoderFamily::Qwen2, biases: true, kv_heads: 1, ..plain() },
        DecoderConfig { family: DecoderFamily::Mistral, window: Some(4), ..plain() },
    ]
}

fn network(config: &DecoderConfig) -> Network {
    let mut network = Network::from_graph("decoder", config.graph().unwrap(), 3);
    // Not the constants of the start.
    let specs = network.graph().clone();
    for (index, values) in network.parameters_mut().iter_mut().enumerate() {
        if specs.parameters()[index].shape.len() == 1 {
            let draw = |i| faculty_random::splitmix64(index as u64, i) >> 40;
            for (i, value) in values.iter_mut().enumerate() {
                *value += 0.4 * (draw(i as u64) as f32 / (1 << 24) as f32 - 0.5);
            }
        }
    }
    network
}

fn ids(length: usize, seed: u64) -> Vec<u32> {
    let draw = |i| faculty_random::splitmix64(seed, i) % VOCABULARY as u64;
    (0..length as u64).map(|i| draw(i) as u32).collect()
}

fn tokens(texts: &[&[u32]]) -> Tokens {
    let mut tokens = Tokens::default();
    texts.iter().for_each(|ids| tokens.push(ids, &vec![0; ids.len()]));
    tokens
}

/// The sum of cross-entropies of the next tokens, and its gradient by every parameter.
fn loss(network: &mut Network, batch: &Tokens) -> (f64, Vec<Vec<f32>>) {
    let graph = network.graph().clone();
    let mut run = TrainingRun::new();
    let texts = Texts { texts: Vec::new(), tokens: batch.clone() };
    run.forward(network, &texts, batch.len());
    let (mut labels, mut factors) = (Vec::new(), Vec::new());
    for text in 0..batch.len() {
        let ids = batch.ids_of(text);
        labels.extend(ids[1..].iter().copied().chain([0]));
        factors.extend((0..ids.len()).map(|at| f32::from(u8::from(at + 1 < ids.len()))));
    }
    let head = graph.token_head().unwrap();
    let hidden = run.value(graph.output()).to_vec();
    let weight = network.parameters()[head.index()].clone();
    let width = hidden.len() / batch.count();
    let (mut by_hidden, mut by_weight) = (vec![0.0; hidden.len()], vec![0.0; weight.len()]);
    let targets = Targets {
        labels: &labels,
        ce_factor: &factors,
        kd_factor: &[],
        teachers: &[],
        temperature: 1.0,
        divergence: Divergence::Forward,
    };
    let grads = HeadGrads { hidden: &mut by_hidden, weight: &mut by_weight };
    let own = Head { hidden: &hidden, weight: &weight, width };
    let losses = head_loss(VOCABULARY, own, &targets, Some(grads));
    run.backward(network, [(graph.output(), by_hidden)], false);
    let mut gradients = run.gradients().to_vec();
    gradients[head.index()].iter_mut().zip(by_weight).for_each(|(sum, by_head)| *sum += by_head);
    let sum = losses.iter().zip(factors).map(|(row, factor)| row.ce * f64::from(factor)).sum();
    (sum, gradients)
}

#[test]
fn gradients_match_finite_differences() {
    for config in configs() {
        let mut network = network(&config);
        let texts = [ids(9, 1), ids(1, 2), ids(6, 3)];
        let batch = tokens(&texts.each_ref().map(Vec::as_slice));
        let (_, gradients) = loss(&mut network, &batch);
        let graph = network.graph().clone();
        for (index, gradient) in gradients.iter().enumerate() {
            let name = &graph.parameters()[index].name;
            let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            assert!(norm > 1e-3, "{name} gets no gradient");
            let moved = |by: f64| {
                let mut other = network.clone();
                for (w, g) in other.parameters_mut()[index].iter_mut().zip(gradient) {
                    *w += (by * f64::from(*g) / norm) as f32;
                }
                loss(&mut other, &batch).0
            };
            let step = (0.01 / norm).min(2e-3);
            let difference = (moved(step) - moved(-step)) / (2.0 * step);
            assert!(
                (difference - norm).abs() <= 0.01 * norm + 2e-3,
                "{name}: gradient {norm}, finite difference {difference}"
            );
        }
    }
}

#[test]
fn texts_of_a_batch_do_not_see_each_other() {
    for config in configs() {
        let mut network = network(&config);
        let texts = [ids(17, 4), ids(3, 5), ids(1, 6)];
        let batch = tokens(&texts.each_ref().map(Vec::as_slice));
        let mut decoder = Decoder::new(&network);
        let all = decoder.hidden(&batch).to_vec();
        let alone = texts.each_ref().map(|ids| decoder.hidden(&tokens(&[ids])).to_vec());
        assert_eq!(all, alone.concat(), "{config:?}");
        // Losses and gradients of the batch are the sums of those alone.
        let (sum, gradients) = loss(&mut network, &batch);
        let parts = texts.each_ref().map(|ids| loss(&mut network, &tokens(&[ids])));
        let want: f64 = parts.iter().map(|(loss, _)| loss).sum();
        assert!((sum - want).abs() < 1e-5 * want, "{sum} {want}");
        for (index, gradient) in gradients.iter().enumerate() {
            for (i, got) in gradient.iter().enumerate() {
                let want: f32 = parts.iter().map(|(_, own)| own[index][i]).sum();
                assert!((got - want).abs() < 1e-4, "{index} {i}: {got} {want}");
            }
        }
    }
}

#[test]
fn training_and_the_frozen_plan_agree() {
    for config in configs() {
        let mut network = network(&config);
        let texts = [ids(11, 7), ids(2, 8)];
        let batch = tokens(&texts.each_ref().map(Vec::as_slice));
        let mut run = TrainingRun::new();
        run.forward(&mut network, &Texts { texts: Vec::new(), tokens: batch.clone() }, 2);
        let output = network.graph().output();
        assert_eq!(Decoder::new(&network).hidden(&batch), run.value(output));
    }
}

fn assert_near(what: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= 1e-5, "{what}: {got} at {i}, {want} expected");
    }
}

/// The hidden values of a text that a cache reads in pieces of these lengths.
fn in_pieces(decoder: &mut Decoder, ids: &[u32], pieces: &[usize]) -> Vec<f32> {
    let mut cache = decoder.cache(1, ids.len());
    cache.begin();
    let (mut all, mut from) = (Vec::new(), 0);
    for &piece in pieces {
        let next = tokens(&[&ids[from..from + piece]]);
        all.extend_from_slice(decoder.next(&next, &mut cache));
        from += piece;
        assert_eq!(cache.len(0), from);
    }
    all
}

#[test]
fn with_a_cache_tokens_have_the_same_values() {
    for config in configs() {
        let mut decoder = Decoder::new(&network(&config));
        let text = ids(20, 9);
        let whole = decoder.hidden(&tokens(&[&text])).to_vec();
        for pieces in [&[20][..], &[1; 20], &[7, 1, 1, 5, 6], &[19, 1]] {
            assert_near("cached", &in_pieces(&mut decoder, &text, pieces), &whole);
        }
        let (mut logits, mut last) = (Vec::new(), Vec::new());
        decoder.logits(&whole, &mut logits);
        decoder.logits(&whole[19 * config.width..], &mut last);
        assert_eq!(last, logits[19 * VOCABULARY..]);
    }
}

/// A cache with rows of these texts.
fn cache_of(decoder: &mut Decoder, texts: &[&[u32]], capacity: usize) -> KvCache {
    let mut cache = decoder.cache(texts.len(), capacity);
    texts.iter().for_each(|_| cache.begin());
    decoder.next(&tokens(texts), &mut cache);
    cache
}

#[test]
fn rows_of_different_lengths_equal_rows_alone() {
    for config in configs() {
        let mut decoder = Decoder::new(&network(&config));
        let (texts, more) = ([ids(3, 1), ids(14, 2), ids(1, 3)], [ids(2, 4), ids(1, 5), ids(4, 6)]);
        let texts = texts.each_ref().map(Vec::as_slice);
        let more = more.each_ref().map(Vec::as_slice);
        let mut cache = cache_of(&mut decoder, &texts, 20);
        let together = decoder.next(&tokens(&more), &mut cache).to_vec();
        let mut alone = Vec::new();
        for (text, more) in texts.iter().zip(more) {
            let mut cache = cache_of(&mut decoder, &[text], 20);
            alone.extend_from_slice(decoder.next(&tokens(&[more]), &mut cache));
        }
        assert_eq!(together, alone);
    }
}

#[test]
fn what_is_taken_back_was_never_there() {
    for config in configs() {
        let mut decoder = Decoder::new(&network(&config));
        let (first, second) = (ids(6, 1), ids(9, 2));
        let mut cache = cache_of(&mut decoder, &[&first, &second], 30);
        let next = [ids(2, 3), ids(3, 4)];
        let next = tokens(&next.each_ref().map(Vec::as_slice));
        let mut drafted = cache_of(&mut decoder, &[&first, &second], 30);
        let drafts = [ids(5, 7), ids(1, 8)];
        decoder.next(&tokens(&drafts.each_ref().map(Vec::as_slice)), &mut drafted);
        assert_eq!((drafted.len(0), drafted.len(1)), (11, 10));
        drafted.roll_back(0, 6);
        drafted.roll_back(1, 9);
        let want = decoder.next(&next, &mut cache).to_vec();
        assert_eq!(decoder.next(&next, &mut drafted), want);
    }
}

#[test]
fn finished_rows_leave_and_new_ones_take_their_place() {
    let mut decoder = Decoder::new(&network(&plain()));
    let texts = [ids(5, 1), ids(8, 2), ids(3, 3)];
    let mut cache = cache_of(&mut decoder, &texts.each_ref().map(Vec::as_slice), 12);
    cache.retain(|row| row != 1);
    assert_eq!((cache.rows(), cache.free(), cache.len(1)), (2, 1, 3));
    cache.begin();
    let new = ids(7, 4);
    let next = tokens(&[&[1], &[2], &new]);
    let got = decoder.next(&next, &mut cache).to_vec();
    let width = plain().width;
    for (text, (ids, from)) in [(&texts[0], 0), (&texts[2], 1)].into_iter().enumerate() {
        let whole: Vec<u32> = ids.iter().copied().chain([text as u32 + 1]).collect();
        let want = decoder.hidden(&tokens(&[&whole])).to_vec();
        let last = &want[want.len() - width..];
        assert_near("a row that stays", &got[from * width..(from + 1) * width], last);
    }
    let want = decoder.hidden(&tokens(&[&new])).to_vec();
    assert_near("a new row", &got[2 * width..], &want);
    assert!(cache.free() == 0 && cache.capacity() == 12);
}

#[test]
#[should_panic(expected = "11 and 2 tokens of row 0, there is room for 12")]
fn a_row_cannot_grow_beyond_its_room() {
    let mut decoder = Decoder::new(&network(&plain()));
    let mut cache = cache_of(&mut decoder, &[&ids(11, 1)], 12);
    decoder.next(&tokens(&[&[1, 2]]), &mut cache);
}

#[test]
fn values_do_not_depend_on_the_number_of_threads() {
    let network = network(&DecoderConfig { width: 130, intermediate: 400, ..plain() });
    let text = ids(40, 1);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut decoder = Decoder::new(&network);
            let hidden = decoder.hidden(&tokens(&[&text])).to_vec();
            let mut logits = Vec::new();
            decoder.logits(&hidden, &mut logits);
            logits
        })
    };
    let one = run(1);
    assert!([2, 3, 8].into_iter().all(|threads| run(threads) == one));
}
