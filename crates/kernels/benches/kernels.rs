//! Throughput of the kernels at the shapes of CIFAR ResNets, batch 64.
//!
//! `cargo bench --bench kernels [-- FILTER]`: convolutions in GFLOP/s of the direct algorithm,
//! whatever algorithm ran, next to the measured peak of the machine; passes over memory in GB/s.
//! Minimum and median of the repetitions; on a shared machine the minimum is the one to compare.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use std::hint::black_box;

use faculty_kernels::batch_norm::{
    NormShape, ReluGate, batch_norm_train, batch_norm_train_backward,
};
use faculty_kernels::conv2d::{Conv2dShape, conv2d, conv2d_input_grad, conv2d_weight_grad, scalar};
use faculty_kernels::pool::{
    PoolShape, avg_pool2d, global_avg_pool, global_avg_pool_backward, max_pool2d,
};
use faculty_kernels::{elementwise, isa};

mod measure;

use measure::{peak, rates, time, values};

fn bench_conv(name: &str, shape: &Conv2dShape, peak: f64) {
    let input = values(shape.input_len());
    let weight = values(shape.weight_len());
    let grad = values(shape.output_len());
    let mut output = vec![0.0; shape.output_len()];
    let mut input_grad = vec![0.0; shape.input_len()];
    let mut weight_grad = vec![0.0; shape.weight_len()];
    let forward = time(|| conv2d(shape, &input, &weight, None, &mut output));
    let by_input = time(|| conv2d_input_grad(shape, &weight, &grad, &mut input_grad));
    let by_weight = time(|| conv2d_weight_grad(shape, &input, &grad, &mut weight_grad));
    print!("{name:<24}");
    for seconds in [&forward, &by_input, &by_weight] {
        let (min, median) = rates(shape.flops() as f64, seconds);
        print!(" | {min:6.1} {median:6.1} {:4.0} %", 100.0 * min / peak);
    }
    println!(" | {:.2} ms", 1e3 * (forward[0] + by_input[0] + by_weight[0]));
}

fn bench_memory(name: &str, bytes: usize, work: impl FnMut()) {
    let seconds = time(work);
    let (min, median) = rates(bytes as f64, &seconds);
    println!("{name:<40} {min:7.1} {median:7.1} GB/s  {:.3} ms", 1e3 * seconds[0]);
}

fn conv(channels: usize, size: usize, out: usize, kernel: usize, stride: usize) -> Conv2dShape {
    Conv2dShape {
        batch: 64,
        in_channels: channels,
        in_height: size,
        in_width: size,
        out_channels: out,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [kernel / 2; 2],
        groups: 1,
    }
}

fn bench_norm(channels: usize, spatial: usize) {
    let shape = NormShape { batch: 64, channels, spatial };
    let (input, residual, grad) = (values(shape.len()), values(shape.len()), values(shape.len()));
    let (gamma, beta) = (vec![1.0; channels], vec![0.1; channels]);
    let (mut mean, mut variance) = (vec![0.0; channels], vec![0.0; channels]);
    let (mut gamma_grad, mut beta_grad) = (vec![0.0; channels], vec![0.0; channels]);
    let mut output = vec![0.0; shape.len()];
    let mut input_grad = vec![0.0; shape.len()];
    let mut residual_grad = vec![0.0; shape.len()];
    let bytes = 4 * shape.len();
    let size = format!("{channels} x {spatial}");
    bench_memory(&format!("bn train relu {size}"), 2 * bytes, || {
        batch_norm_train(
            &shape,
            &input,
            &gamma,
            &beta,
            1e-5,
            None,
            true,
            &mut output,
            &mut mean,
            &mut variance,
        );
    });
    bench_memory(&format!("bn backward relu {size}"), 3 * bytes, || {
        batch_norm_train_backward(
            &shape,
            &input,
            ReluGate::Beta(&beta),
            &grad,
            &gamma,
            &mean,
            &variance,
            1e-5,
            &mut input_grad,
            &mut gamma_grad,
            &mut beta_grad,
            None,
        );
    });
    bench_memory(&format!("bn train add relu {size}"), 3 * bytes, || {
        batch_norm_train(
            &shape,
            &input,
            &gamma,
            &beta,
            1e-5,
            Some(&residual),
            true,
            &mut output,
            &mut mean,
            &mut variance,
        );
    });
    bench_memory(&format!("bn backward add relu {size}"), 5 * bytes, || {
        batch_norm_train_backward(
            &shape,
            &input,
            ReluGate::Output(&output),
            &grad,
            &gamma,
            &mean,
            &variance,
            1e-5,
            &mut input_grad,
            &mut gamma_grad,
            &mut beta_grad,
            Some(&mut residual_grad),
        );
    });
}

fn main() {
    let filter = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    let peak = peak();
    println!(
        "path {}, {} threads, peak {peak:.0} GFLOP/s",
        isa::name(),
        rayon::current_num_threads()
    );
    println!("GFLOP/s, minimum and median time, share of the peak");
    println!(
        "{:<24} | {:<20} | {:<20} | {:<20}",
        "batch 64", "forward", "input gradient", "weight gradient"
    );
    let convs = [
        ("3x3 16 at 32", conv(16, 32, 16, 3, 1)),
        ("3x3 32 at 16", conv(32, 16, 32, 3, 1)),
        ("3x3 64 at 8", conv(64, 8, 64, 3, 1)),
        ("3x3 64 at 32", conv(64, 32, 64, 3, 1)),
        ("3x3 128 at 16", conv(128, 16, 128, 3, 1)),
        ("3x3 256 at 8", conv(256, 8, 256, 3, 1)),
        ("stem 3 to 16 at 32", conv(3, 32, 16, 3, 1)),
        ("stem 3 to 32 at 32", conv(3, 32, 32, 3, 1)),
        ("3x3/2 16 to 32 at 32", conv(16, 32, 32, 3, 2)),
        ("3x3/2 32 to 64 at 16", conv(32, 16, 64, 3, 2)),
        ("3x3/2 64 to 128 at 32", conv(64, 32, 128, 3, 2)),
        ("3x3/2 128 to 256 at 16", conv(128, 16, 256, 3, 2)),
        ("1x1/2 16 to 32 at 32", conv(16, 32, 32, 1, 2)),
        ("1x1/2 64 to 128 at 32", conv(64, 32, 128, 1, 2)),
        ("1x1/2 128 to 256 at 16", conv(128, 16, 256, 1, 2)),
        ("1x1 32 to 64 at 32", conv(32, 32, 64, 1, 1)),
        ("1x1 64 to 256 at 8", conv(64, 8, 256, 1, 1)),
        ("depthwise 64 at 16", Conv2dShape { groups: 64, ..conv(64, 16, 64, 3, 1) }),
    ];
    for (name, shape) in &convs {
        if name.contains(&filter) {
            bench_conv(name, shape, peak);
        }
    }
    if "scalar".contains(&filter) {
        let shape = Conv2dShape { batch: 2, ..conv(16, 32, 16, 3, 1) };
        let (input, weight) = (values(shape.input_len()), values(shape.weight_len()));
        let seconds = time(|| {
            black_box(scalar::conv2d(&shape, &input, &weight));
        });
        let rate = rates(shape.flops() as f64, &seconds);
        println!("scalar loops, 3x3 16 at 32: {:.2} GFLOP/s", rate.0);
    }
    for (channels, size) in [(16, 1024), (32, 256), (64, 64), (64, 1024), (256, 64)] {
        if "bn".contains(&filter) {
            bench_norm(channels, size);
        }
    }
    if "pool".contains(&filter) {
        let pool = PoolShape {
            planes: 64 * 64,
            in_height: 32,
            in_width: 32,
            kernel: [2, 2],
            stride: [2, 2],
            padding: [0, 0],
        };
        let input = values(pool.input_len());
        let mut output = vec![0.0; pool.output_len()];
        let mut indices = vec![0; pool.output_len()];
        let bytes = 4 * (pool.input_len() + pool.output_len());
        bench_memory("max pool 2x2", bytes, || {
            max_pool2d(&pool, &input, &mut output, &mut indices);
        });
        bench_memory("average pool 2x2", bytes, || avg_pool2d(&pool, &input, &mut output));
        let mut means = vec![0.0; pool.planes];
        bench_memory("global average pool", 4 * pool.input_len(), || {
            global_avg_pool(pool.planes, 1024, &input, &mut means);
        });
        let mut grad = vec![0.0; pool.input_len()];
        bench_memory("global average pool backward", 4 * pool.input_len(), || {
            global_avg_pool_backward(pool.planes, 1024, &means, &mut grad);
        });
        let mut sum = vec![0.0; pool.input_len()];
        bench_memory("add", 12 * pool.input_len(), || {
            elementwise::add(&input, &grad, &mut sum);
        });
    }
}
