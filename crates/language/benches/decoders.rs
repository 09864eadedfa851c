//! Time of language models: SmolLM2-135M's size forward over 8 × 128 tokens and decoding, and a
//! training step of its first six layers.
//!
//! `cargo bench -p faculty-language --bench decoders` prints minimum and median in milliseconds of one
//! thread pool, with random weights. A training step is forward, cross-entropy (or KL to a given
//! teacher's hidden values) over the whole vocabulary, backward and AdamW.
#![expect(clippy::print_stdout, reason = "a bench prints its result")]

use std::time::Instant;

use faculty_inputs::Tokens;
use faculty_language::{NextTokenStep, TokenObjective, TokenTeacher};
use faculty_nets::{Decoder, DecoderConfig, Error, Network, OptimizerConfig, OptimizerState};

const RUNS: usize = 7;
/// Texts and tokens of a batch.
const BATCH: [usize; 2] = [8, 128];
/// Tokens in front of the ones that are decoded.
const BEFORE: usize = 64;

fn config(layers: usize) -> DecoderConfig {
    DecoderConfig {
        heads: 9,
        kv_heads: 3,
        head_width: 64,
        intermediate: 1536,
        ..DecoderConfig::new(49_152, layers, 576)
    }
}

fn tokens([texts, length]: [usize; 2]) -> Tokens {
    let mut tokens = Tokens::default();
    for text in 0..texts {
        let id = |i: usize| ((i * 7919 + text * 104_729) % 49_152) as u32;
        tokens.push(&(0..length).map(id).collect::<Vec<u32>>(), &vec![0; length]);
    }
    tokens
}

fn main() -> Result<(), Error> {
    println!("kernels {}, {} threads", faculty_kernels::isa::name(), rayon::current_num_threads());
    println!("{:<34}{:>9}{:>11}", "work", "min ms", "median ms");
    let row = |work: &str, [min, median]: [f64; 2]| {
        println!("{work:<34}{:>9.1}{:>11.1}", 1e3 * min, 1e3 * median);
    };
    let batch = tokens(BATCH);
    {
        let mut decoder = Decoder::new(&Network::from_graph("decoder", config(30).graph()?, 1));
        row("30 × 576, forward, hidden only", timed(|| drop(decoder.hidden(&batch).to_vec())));
        for rows in [1, 16] {
            let mut cache = decoder.cache(rows, BEFORE + 2 * RUNS);
            (0..rows).for_each(|_| cache.begin());
            decoder.next(&tokens([rows, BEFORE]), &mut cache);
            let (one, mut logits) = (tokens([rows, 1]), Vec::new());
            let times = timed(|| {
                let hidden = decoder.next(&one, &mut cache).to_vec();
                decoder.logits(&hidden, &mut logits);
            });
            row(&format!("30 × 576, decoding {rows} texts"), times);
        }
    }
    let mut network = Network::from_graph("decoder", config(6).graph()?, 1);
    let teacher = Network::from_graph("teacher", config(1).graph()?, 2);
    let hidden = Decoder::new(&teacher).hidden(&batch).to_vec();
    let head = teacher.graph().token_head().map_or(0, |head| head.index());
    let head = &teacher.parameters()[head];
    let aim = [TokenTeacher { hidden: &hidden, head }; 3];
    let objective = TokenObjective::default();
    let counted = vec![true; batch.count()];
    let adam = OptimizerConfig::AdamW { betas: [0.9, 0.95], epsilon: 1e-8, weight_decay: 0.1 };
    let mut step = NextTokenStep::new();
    let works = [("CE", 0), ("CE and KL", 1), ("CE and KL to 3 teachers", 3)];
    for (work, teachers) in works {
        let mut state = OptimizerState::default();
        let times = timed(|| {
            step.run(&mut network, &batch, &counted, true, &aim[..teachers], &objective);
            state.update(&adam, 1e-5, network.parameters_mut(), step.gradients());
        });
        row(&format!("6 × 576, training, {work}"), times);
    }
    println!("a step holds {:.0} MiB beside the network", step.bytes() as f64 / f64::from(1 << 20));
    Ok(())
}

/// Minimum and median, in seconds.
fn timed(mut step: impl FnMut()) -> [f64; 2] {
    step();
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            step();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    [times[0], times[RUNS / 2]]
}
