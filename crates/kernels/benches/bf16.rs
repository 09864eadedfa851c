//! Throughput of the bfloat16 kernels at the shapes of CIFAR networks, batch 64.
//!
//! `cargo bench --bench bf16 [-- FILTER]`: GFLOP/s at the minimum time; ms for laying out planes of
//! `f32` as maps.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]
#![cfg_attr(
    all(target_arch = "x86_64", target_os = "linux"),
    expect(unsafe_code, reason = "the peak is measured with tile instructions")
)]

use faculty_kernels::bf16::elementwise::affine;
use faculty_kernels::bf16::{self, Maps, batch_norm, conv2d};
use faculty_kernels::conv2d::Conv2dShape;

mod measure;

use measure::{peak, rates, time, values};

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

fn bench(name: &str, shape: &Conv2dShape, peak: Option<f64>) {
    let input = values(shape.input_len());
    let weight = values(shape.weight_len());
    let grad = values(shape.output_len());
    let from = [shape.batch, shape.in_channels, shape.in_height, shape.in_width];
    let to = [shape.batch, shape.out_channels, shape.out_height(), shape.out_width()];
    let (mut x, mut g, mut y) = (Maps::new(), Maps::new(), Maps::new());
    let layout = time(|| x.write(from, &input));
    g.write(to, &grad);
    let packed = conv2d::PackedWeights::forward(shape, &weight, None);
    let turned = conv2d::PackedWeights::input_grad(shape, &weight);
    let packing = time(|| {
        let _ = conv2d::PackedWeights::forward(shape, &weight, None);
    });
    let epilogue = conv2d::Epilogue { residual: None, relu: true };
    let to_maps = time(|| conv2d::conv2d(&packed, &x, epilogue, &mut y));
    let mut output = vec![0.0; shape.output_len()];
    let to_planes = time(|| conv2d::conv2d_to_planes(&packed, &x, None, false, &mut output));
    let mut input_grad = vec![0.0; shape.input_len()];
    let by_input = time(|| conv2d::conv2d_to_planes(&turned, &g, None, false, &mut input_grad));
    let mut weight_grad = vec![0.0; shape.weight_len()];
    let by_weight = time(|| conv2d::conv2d_weight_grad(shape, &x, &g, &mut weight_grad));
    print!("{name:<24}");
    for seconds in [&to_maps, &to_planes, &by_input, &by_weight] {
        let rate = rates(shape.flops() as f64, seconds).0;
        let share = peak.map_or(String::new(), |peak| format!(" {:3.0} %", 100.0 * rate / peak));
        print!(" | {rate:5.0}{share} {:6.3} ms", 1e3 * seconds[0]);
    }
    println!(" | {:.3} | {:.3}", 1e3 * layout[0], 1e3 * packing[0]);
}

/// Passes over maps: milliseconds.
fn bench_norm(channels: usize, size: usize) {
    let sizes = [64, channels, size, size];
    let planes = values(sizes.iter().product());
    let [mut x, mut g, mut r, mut y, mut dx, mut dr] = [(); 6].map(|()| Maps::new());
    [&mut x, &mut g, &mut r].into_iter().for_each(|maps| maps.write(sizes, &planes));
    let (mut mean, mut variance) = (vec![0.0; channels], vec![0.0; channels]);
    let (ones, zeros) = (vec![1.0; channels], vec![0.1; channels]);
    let (mut by_gamma, mut by_beta) = (vec![0.0; channels], vec![0.0; channels]);
    let moments = time(|| batch_norm::moments(&x, &mut mean, &mut variance));
    let normalised = batch_norm::Normalised {
        gamma: &ones,
        mean: &mean,
        variance: &variance,
        epsilon: 1e-5,
        of_the_batch: true,
    };
    let [scale, shift] = normalised.constants(&zeros);
    let constants = Some([&scale[..], &shift[..]]);
    let plain = time(|| affine(&x, constants, None, true, &mut y));
    let adding = time(|| affine(&x, constants, Some(&r), true, &mut y));
    let mut backward = |gate, residual: Option<&mut Maps>| {
        let (by_gamma, by_beta) = (&mut by_gamma, &mut by_beta);
        batch_norm::backward(
            &normalised,
            &x,
            gate,
            &g,
            &mut dx,
            by_gamma,
            by_beta,
            residual,
            &|_| {},
        );
    };
    let by_beta = time(|| backward(batch_norm::Gate::Beta(&zeros), None));
    let by_output = time(|| backward(batch_norm::Gate::Output(&y), Some(&mut dr)));
    print!("norm of {channels} at {size}:");
    for (what, seconds) in [
        ("moments", &moments),
        ("affine", &plain),
        ("and residual", &adding),
        ("backward", &by_beta),
        ("and residual", &by_output),
    ] {
        print!(" {what} {:.3}", 1e3 * seconds[0]);
    }
    println!();
}

/// GFLOP/s of tile products of what lies in registers, on all threads; nothing where there are no tiles.
fn tile_peak() -> Option<f64> {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if bf16::name().contains("amx") {
        use rayon::prelude::*;
        #[repr(align(64))]
        struct Configuration([u8; 64]);
        let mut configuration = Configuration([0; 64]);
        configuration.0[0] = 1;
        for tile in 0..8 {
            (configuration.0[16 + 2 * tile], configuration.0[48 + tile]) = (64, 16);
        }
        let (threads, rounds) = (rayon::current_num_threads(), 20_000_usize);
        let seconds = time(|| {
            (0..threads).into_par_iter().for_each(|_| {
                // SAFETY: the name tells that this machine has tiles and that this process may use
                // them; the configuration is a valid one of palette 1.
                unsafe {
                    std::arch::asm!(
                        "ldtilecfg [{configuration}]",
                        "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                        "tilezero tmm4", "tilezero tmm5", "tilezero tmm6", "tilezero tmm7",
                        "2:",
                        "tdpbf16ps tmm0, tmm4, tmm6",
                        "tdpbf16ps tmm1, tmm4, tmm7",
                        "tdpbf16ps tmm2, tmm5, tmm6",
                        "tdpbf16ps tmm3, tmm5, tmm7",
                        "dec {rounds}",
                        "jnz 2b",
                        "tilerelease",
                        configuration = in(reg) &configuration,
                        rounds = inout(reg) rounds => _,
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                        options(nostack),
                    );
                }
            });
        });
        return Some(rates((threads * rounds * 4 * 2 * 16 * 16 * 32) as f64, &seconds).0);
    }
    None
}

fn main() {
    let filter = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    let (threads, peak) = (rayon::current_num_threads(), peak());
    print!("path {}, {threads} threads, f32 peak {peak:.0} GFLOP/s", bf16::name());
    let tiles = tile_peak();
    println!("{}", tiles.map_or(String::new(), |peak| format!(", tile peak {peak:.0}")));
    println!(
        "{:<24} | forward to maps | to planes | input gradient | weight gradient | layout | weights",
        "GFLOP/s"
    );
    let convs = [
        ("3x3 16 at 32", conv(16, 32, 16, 3, 1)),
        ("3x3 32 at 16", conv(32, 16, 32, 3, 1)),
        ("3x3 64 at 8", conv(64, 8, 64, 3, 1)),
        ("3x3 32 at 32", conv(32, 32, 32, 3, 1)),
        ("3x3 64 at 32", conv(64, 32, 64, 3, 1)),
        ("3x3 128 at 16", conv(128, 16, 128, 3, 1)),
        ("3x3 256 at 8", conv(256, 8, 256, 3, 1)),
        ("3x3 512 at 4", conv(512, 4, 512, 3, 1)),
        ("stem 3 to 16 at 32", conv(3, 32, 16, 3, 1)),
        ("stem 3 to 32 at 32", conv(3, 32, 32, 3, 1)),
        ("3x3/2 64 to 128 at 32", conv(64, 32, 128, 3, 2)),
        ("3x3/2 128 to 256 at 16", conv(128, 16, 256, 3, 2)),
        ("1x1/2 64 to 128 at 32", conv(64, 32, 128, 1, 2)),
        ("1x1 64 to 256 at 8", conv(64, 8, 256, 1, 1)),
    ];
    for (name, shape) in convs.iter().filter(|(name, _)| name.contains(&filter)) {
        bench(name, shape, tiles);
    }
    if filter.is_empty() || "norm".contains(&filter) {
        [(16, 32), (32, 32), (64, 32), (64, 8), (128, 16)]
            .into_iter()
            .for_each(|(channels, size)| bench_norm(channels, size));
    }
}
