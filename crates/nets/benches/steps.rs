//! Time of one training step and of one frozen forward pass, batch 64, 3×32×32, 100 classes.
//!
//! `cargo bench -p faculty-nets` prints minimum and median in milliseconds, GFLOP/s counting two
//! operations a multiply-add of the convolutions, and the memory held. Names behind `--` choose networks. `RAYON_NUM_THREADS` sets the threads.
#![expect(clippy::print_stdout, reason = "a bench prints its result")]

use std::time::Instant;

use faculty_nets::{Error, Inference, MapShape, Network, Precision, TrainingRun};

const BATCH: usize = 64;
const RUNS: usize = 9;
const NAMES: [&str; 9] = [
    "resnet8",
    "resnet20",
    "resnet8x4",
    "resnet32x4",
    "wrn_16_2",
    "vgg8",
    "MobileNetV2",
    "ShuffleV1",
    "ShuffleV2",
];

fn main() -> Result<(), Error> {
    let image = MapShape::new(3, 32, 32);
    let input: Vec<f32> =
        (0..BATCH * image.elements()).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
    println!("kernels {}, {} threads", faculty_kernels::isa::name(), rayon::current_num_threads());
    println!("{:<14}{:<10}{:>9}{:>11}{:>10}", "network", "work", "min ms", "median ms", "GFLOP/s");
    let asked: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    for name in NAMES {
        if !asked.is_empty() && !asked.iter().any(|asked| asked == name) {
            continue;
        }
        let mut network = Network::new(name, image, 100, 1)?;
        let flops = 2.0 * BATCH as f64 * network.graph().multiply_adds() as f64;
        let mut plan = Inference::new(&network, &[]);
        report(name, "forward", flops, || {
            std::hint::black_box(plan.run(&input, BATCH));
        });
        let mut half = Inference::with_precision(&network, &[], &[], Precision::Bf16);
        report(name, "  bf16", flops, || {
            std::hint::black_box(half.run(&input, BATCH));
        });
        // A training step costs the forward pass and two more of its size.
        let mut run = TrainingRun::new();
        let output = network.graph().output();
        report(name, "training", 3.0 * flops, || {
            run.forward(&mut network, &input, BATCH);
            let gradient: Vec<f32> = run.value(output).iter().map(|v| v * 1e-3).collect();
            run.backward(&network, [(output, gradient)], false);
        });
        run.set_precision(Precision::Bf16);
        report(name, "  bf16", 3.0 * flops, || {
            run.forward(&mut network, &input, BATCH);
            let gradient: Vec<f32> = run.value(output).iter().map(|v| v * 1e-3).collect();
            run.backward(&network, [(output, gradient)], false);
        });
        let mib = |bytes: usize| bytes as f64 / (1 << 20) as f64;
        println!("{name:<14}holds {:.1} MiB, {:.1} frozen", mib(run.bytes()), mib(plan.bytes()));
    }
    Ok(())
}

fn report(name: &str, work: &str, flops: f64, mut step: impl FnMut() + Send) {
    let mut step = || faculty_kernels::in_pool(&mut step);
    step();
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            step();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let (min, median) = (times[0], times[RUNS / 2]);
    println!(
        "{name:<14}{work:<10}{:>9.1}{:>11.1}{:>10.0}",
        1e3 * min,
        1e3 * median,
        flops / min / 1e9
    );
}
