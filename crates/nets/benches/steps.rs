//! Time of one training step and of one frozen forward pass, batch 64, 3×32×32, 100 classes, in each
//! precision.
//!
//! `cargo bench -p faculty-nets` prints minimum and median in milliseconds, GFLOP/s counting two
//! operations a multiply-add of the convolutions, and the memory held. Names behind `--` choose
//! networks and precisions (`resnet20 bf16`). `RAYON_NUM_THREADS` sets the threads.
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
    let asked: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let is_asked = |name: &str, all: &[&str]| {
        let among = asked.iter().filter(|asked| all.contains(&asked.as_str()));
        among.clone().next().is_none() || among.clone().any(|asked| asked == name)
    };
    let precisions: Vec<Precision> = Precision::ALL
        .into_iter()
        .filter(|own| is_asked(own.name(), &Precision::ALL.map(Precision::name)))
        .collect();
    for own in &precisions {
        let threads = rayon::current_num_threads();
        println!("{}: kernels {}, {threads} threads", own.name(), own.kernels());
    }
    let heads = ["network", "work", "min ms", "median ms", "GFLOP/s"];
    println!("{:<14}{:<15}{:>9}{:>11}{:>10}", heads[0], heads[1], heads[2], heads[3], heads[4]);
    for name in NAMES.into_iter().filter(|name| is_asked(name, &NAMES)) {
        let mut network = Network::new(name, image, 100, 1)?;
        let flops = 2.0 * BATCH as f64 * network.graph().multiply_adds() as f64;
        for &precision in &precisions {
            let work = |kind: &str| format!("{kind} {}", precision.name());
            let mut plan = Inference::with_precision(&network, &[], &[], precision);
            report(name, &work("forward"), flops, || {
                std::hint::black_box(plan.run(&input, BATCH));
            });
            // A training step costs the forward pass and two more of its size.
            let mut run = TrainingRun::new();
            run.set_precision(precision);
            let output = network.graph().output();
            report(name, &work("training"), 3.0 * flops, || {
                run.forward(&mut network, &input, BATCH);
                let gradient: Vec<f32> = run.value(output).iter().map(|v| v * 1e-3).collect();
                run.backward(&network, [(output, gradient)], false);
            });
            let mib = |bytes: usize| bytes as f64 / (1 << 20) as f64;
            println!(
                "{name:<14}holds {:.1} MiB, {:.1} frozen",
                mib(run.bytes()),
                mib(plan.bytes())
            );
        }
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
        "{name:<14}{work:<15}{:>9.1}{:>11.1}{:>10.0}",
        1e3 * min,
        1e3 * median,
        flops / min / 1e9
    );
}
