//! Time of a fine-tuning step and of a frozen forward pass of text encoders: 32 texts of 128 tokens,
//! and 32 of lengths as sentences have them, packed.
//!
//! `cargo bench -p faculty-nets --bench encoders` prints minimum and median in milliseconds, and
//! GFLOP/s counting two operations a multiply-add of the layers and of attention. A step is forward
//! with dropout, backward, clipping and AdamW. The same in PyTorch: `bench/encoder_steps.py`.
#![expect(clippy::print_stdout, reason = "a bench prints its result")]

use std::time::Instant;

use faculty_inputs::{Texts, Tokens};
use faculty_kernels::in_pool;
use faculty_nets::{
    EncoderConfig, EncoderFamily, Error, Inference, Network, OptimizerConfig, OptimizerState,
    Precision, TrainingRun,
};

const BATCH: usize = 32;
const RUNS: usize = 7;
const VOCABULARY: usize = 30_522;
/// Layers, width, and whether the work is training too.
const SIZES: [(usize, usize, bool); 3] = [(2, 384, true), (6, 384, true), (12, 384, true)];

/// Lengths of sentences: 6 to 66 tokens, 26 on average.
fn sentence(text: usize) -> usize {
    6 + (text * text * 7 + text * 3) % 61 * ((text * 5) % 7 + 2) / 8
}

fn texts(length: impl Fn(usize) -> usize) -> Texts {
    let mut tokens = Tokens::default();
    for text in 0..BATCH {
        let length = length(text);
        let ids: Vec<u32> =
            (0..length).map(|i| ((i * 7919 + text * 104_729) % VOCABULARY) as u32).collect();
        tokens.push(&ids, &vec![0; length]);
    }
    Texts { texts: Vec::new(), tokens }
}

fn main() -> Result<(), Error> {
    println!("kernels {}, {} threads", faculty_kernels::isa::name(), rayon::current_num_threads());
    println!(
        "{:<10}{:<12}{:<16}{:>9}{:>11}{:>10}",
        "encoder", "tokens", "work", "min ms", "median ms", "GFLOP/s"
    );
    let full = texts(|_| 128);
    let mixed = texts(sentence);
    for (layers, width, trains) in SIZES {
        let config = EncoderConfig::new(EncoderFamily::Bert, VOCABULARY, layers, width);
        for batch in [&full, &mixed] {
            let mut network = Network::from_graph("bert", config.graph(2)?, 1);
            let name = format!("{layers}x{width}");
            let tokens = batch.tokens.count();
            let squares: usize = (0..BATCH).map(|text| batch.tokens.range(text).len().pow(2)).sum();
            let multiply_adds = layers * (12 * width * width * tokens + 2 * width * squares);
            let flops = 2.0 * multiply_adds as f64;
            let row = |work: &str, flops: f64, times: [f64; 2]| {
                println!(
                    "{name:<10}{tokens:<12}{work:<16}{:>9.1}{:>11.1}{:>10.0}",
                    1e3 * times[0],
                    1e3 * times[1],
                    flops / times[0] / 1e9
                );
            };
            for precision in Precision::ALL {
                let mut plan = Inference::with_precision(&network, &[], &[], precision);
                let work = format!("forward {}", precision.name());
                row(&work, flops, timed(|| drop(plan.run(batch, BATCH).to_vec())));
            }
            if !trains {
                continue;
            }
            let optimizer =
                OptimizerConfig::AdamW { betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.01 };
            let output = network.graph().output();
            let (mut run, mut state) = (TrainingRun::new(), OptimizerState::default());
            for precision in Precision::ALL {
                run.set_precision(precision);
                let times = timed(|| {
                    run.set_dropout((0..BATCH as u64).collect());
                    run.forward(&mut network, batch, BATCH);
                    let gradient: Vec<f32> = run.value(output).iter().map(|v| v * 1e-3).collect();
                    run.backward(&network, [(output, gradient)], false);
                    clip(run.gradients_mut());
                    state.update(&optimizer, 1e-5, network.parameters_mut(), run.gradients());
                });
                row(&format!("training {}", precision.name()), 3.0 * flops, times);
            }
            println!("{name:<10}holds {:.0} MiB", run.bytes() as f64 / f64::from(1 << 20));
        }
    }
    Ok(())
}

/// To a global norm of 1.
fn clip(gradients: &mut [Vec<f32>]) {
    let square = |values: &Vec<f32>| values.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>();
    let norm = gradients.iter().map(square).sum::<f64>().sqrt() as f32;
    if norm > 1.0 {
        gradients.iter_mut().flatten().for_each(|g| *g /= norm);
    }
}

/// Minimum and median, in seconds.
fn timed(mut step: impl FnMut() + Send) -> [f64; 2] {
    let mut step = || in_pool(&mut step);
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
