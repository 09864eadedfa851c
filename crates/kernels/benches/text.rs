//! Throughput of the kernels of text encoders and language models.
//!
//! `cargo bench --bench text [-- product|attention|pass|head]`: products in GFLOP/s next to the
//! measured peak, passes in millions of values a second. Minimum and median of the repetitions; on a shared
//! machine the minimum is the one to compare.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use faculty_kernels::activation::{Activation, activate, activate_backward};
use faculty_kernels::attention::{
    AttentionGrads, AttentionShape, Samples, attention, attention_backward,
};
use faculty_kernels::dropout::dropout;
use faculty_kernels::head_loss::{
    Divergence, Head, HeadGrads, Targets, head_loss, head_statistics,
};
use faculty_kernels::isa;
use faculty_kernels::layer_norm::{layer_norm, layer_norm_backward};
use faculty_kernels::matmul::{Finish, Matrix, MatrixMut, matmul};
use faculty_kernels::row_norm::RowsShape;

mod measure;

use measure::{peak, rates, time, values};

/// Rows, columns and depth of the products of encoders and of a square one.
const PRODUCTS: [[usize; 3]; 8] = [
    [1024, 1536, 384],
    [1024, 384, 1536],
    [1024, 384, 384],
    [4096, 1536, 384],
    [512, 512, 512],
    [1024, 1024, 1024],
    [2048, 2048, 2048],
    [64, 100, 64],
];

fn bench_product([rows, columns, depth]: [usize; 3], peak: f64) {
    let (a, b) = (values(rows * depth), values(depth * columns));
    let mut c = vec![0.0; rows * columns];
    let flops = 2.0 * (rows * columns * depth) as f64;
    print!("{:<20}", format!("{rows}x{depth}x{columns}"));
    for layout in 0..3 {
        let left = match layout {
            2 => Matrix::new(&a, [depth, rows]).transposed(),
            _ => Matrix::new(&a, [rows, depth]),
        };
        let right = match layout {
            1 => Matrix::new(&b, [columns, depth]).transposed(),
            _ => Matrix::new(&b, [depth, columns]),
        };
        let seconds = time(|| {
            matmul(left, right, Finish::Store, MatrixMut::new(&mut c, [rows, columns]));
        });
        let (min, median) = rates(flops, &seconds);
        print!(" | {min:6.1} {median:6.1} {:4.0} %", 100.0 * min / peak);
    }
    let bias = values(columns);
    let mut kept = vec![0.0; c.len()];
    let seconds = time(|| {
        let activation = Activation::Gelu;
        let finish = Finish::Activate { bias: &bias, activation, before: Some(&mut kept) };
        let left = Matrix::new(&a, [rows, depth]);
        let right = Matrix::new(&b, [columns, depth]).transposed();
        matmul(left, right, finish, MatrixMut::new(&mut c, [rows, columns]));
    });
    let (min, median) = rates(flops, &seconds);
    println!(" | {min:6.1} {median:6.1} {:4.0} %", 100.0 * min / peak);
}

/// Samples, their length, heads, key heads, width, causal.
type Attention = (usize, usize, usize, usize, usize, bool);

/// BERT 6 × 384 at 32 × 128, SmolLM2 at 8 × 128, a long sample.
const ATTENTIONS: [Attention; 3] =
    [(32, 128, 12, 12, 32, false), (8, 128, 9, 3, 64, true), (1, 2048, 9, 3, 64, true)];

fn bench_attention((count, length, heads, kv_heads, width, causal): Attention, peak: f64) {
    let scale = 1.0 / (width as f32).sqrt();
    let shape = AttentionShape { heads, kv_heads, width, scale, causal, window: None };
    let offsets: Vec<usize> = (0..=count).map(|sample| sample * length).collect();
    let samples = Samples::new(&offsets);
    let rows = count * length;
    let (query, grad) = (values(rows * heads * width), values(rows * heads * width));
    let (key, value) = (values(rows * kv_heads * width), values(rows * kv_heads * width));
    let (mut output, mut lse) = (vec![0.0; query.len()], vec![0.0; rows * heads]);
    let [mut by_query, mut by_key, mut by_value] = [&query, &key, &value].map(|x| x.clone());
    let forward =
        time(|| attention(&shape, &samples, None, &query, &key, &value, &mut output, &mut lse));
    let backward = time(|| {
        let grads = AttentionGrads {
            query: &mut by_query,
            key: &mut by_key,
            value: &mut by_value,
            bias: &mut [],
        };
        attention_backward(
            &shape, &samples, None, &query, &key, &value, &output, &lse, &grad, grads,
        );
    });
    // Two products forward, five backward; half of them where keys behind are hidden.
    let pairs = count * length * length / if causal { 2 } else { 1 };
    let product = 2.0 * (pairs * heads * width) as f64;
    let name = format!("{count} x {length}, {heads}/{kv_heads} heads of {width}");
    print!("attention {name:<30}");
    for (products, seconds) in [(2.0, &forward), (5.0, &backward)] {
        let (min, median) = rates(products * product, seconds);
        let share = 100.0 * min / peak;
        print!(" | {min:6.1} {median:6.1} {share:4.0} % {:8.3} ms", 1e3 * seconds[0]);
    }
    println!();
}

/// Millions of values a second.
fn bench_pass(name: &str, len: usize, work: impl FnMut()) {
    let seconds = time(work);
    let (min, median) = rates(1e3 * len as f64, &seconds);
    println!("{name:<40} {min:8.0} {median:8.0} M/s  {:.3} ms", 1e3 * seconds[0]);
}

/// Passes over the hidden values of 4096 tokens.
fn bench_passes() {
    let shape = RowsShape { rows: 4096, width: 384 };
    let len = shape.rows * shape.width;
    let (x, grad) = (values(len), values(len));
    let (gamma, beta) = (values(384), values(384));
    let (mut y, mut mean, mut rstd) = (vec![0.0; len], vec![0.0; 4096], vec![0.0; 4096]);
    let (mut by_gamma, mut by_beta) = (gamma.clone(), beta.clone());
    bench_pass("layer norm", len, || {
        layer_norm(&shape, &x, &gamma, &beta, 1e-12, &mut y, &mut mean, &mut rstd);
    });
    bench_pass("layer norm backward", len, || {
        layer_norm_backward(
            &shape,
            &x,
            &gamma,
            &mean,
            &rstd,
            &grad,
            &mut y,
            &mut by_gamma,
            &mut by_beta,
        );
    });
    for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Silu] {
        bench_pass(&format!("{activation:?}"), len, || activate(activation, &x, &mut y));
        bench_pass(&format!("{activation:?} backward"), len, || {
            activate_backward(activation, &x, &grad, &mut y);
        });
    }
    let keys: Vec<u64> = (0..4096).collect();
    bench_pass("dropout", len, || dropout(384, &keys, 0.1, &mut y));
}

fn bench_head(peak: f64) {
    const ROWS: usize = 1024;
    let (rows, classes, width) = (ROWS, 49_152, 576);
    let (hidden, weight) = (values(rows * width), values(classes * width));
    let (mut by_hidden, mut by_weight) = (vec![0.0; hidden.len()], vec![0.0; weight.len()]);
    let (labels, factor) = (vec![7; rows], vec![1.0 / rows as f32; rows]);
    let head = Head { hidden: &hidden, weight: &weight, width };
    type Teacher<'a> = (Head<'a>, &'a [f32]);
    let one: [Teacher<'_>; 1] = [(head, &[1.0; ROWS])];
    let three: [Teacher<'_>; 3] = [(head, &[1.0 / 3.0; ROWS]); 3];
    let middle = Divergence::JensenShannon { beta: 0.5 };
    // Products of logits: of a teacher as many as of the student, made twice or three times.
    type Work<'a> = (&'a str, &'a [Teacher<'a>], Divergence, f64);
    let cases: [Work<'_>; 6] = [
        ("CE", &[], Divergence::Forward, 2.0),
        ("CE and KL", &one, Divergence::Forward, 4.0),
        ("CE and 3 KL", &three, Divergence::Forward, 8.0),
        ("CE and reverse KL", &one, Divergence::Reverse, 6.0),
        ("CE and JSD", &one, middle, 6.0),
        ("CE and JSD of 3", &three, middle, 12.0),
    ];
    for (name, teachers, divergence, products) in cases {
        let targets = Targets {
            labels: &labels,
            ce_factor: &factor,
            kd_factor: &factor,
            teachers,
            temperature: 2.0,
            divergence,
        };
        let seconds = time(|| {
            let grads = HeadGrads { hidden: &mut by_hidden, weight: &mut by_weight };
            let _ = head_loss(classes, head, &targets, Some(grads));
        });
        let products = products + 2.0;
        let flops = products * 2.0 * (rows * classes * width) as f64;
        let (min, median) = rates(flops, &seconds);
        let share = 100.0 * min / peak;
        println!(
            "head {name:<17} {rows} x {classes} x {width}: {min:6.1} {median:6.1} GFLOP/s \
             {share:.0} % {:.0} ms",
            1e3 * seconds[0]
        );
    }
    let seconds = time(|| drop(head_statistics(classes, head, &labels, 1.0)));
    println!("head statistics: {:.0} ms", 1e3 * seconds[0]);
}

fn main() {
    let filter = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    let peak = peak();
    println!(
        "path {}, {} threads, peak {peak:.0} GFLOP/s",
        isa::name(),
        rayon::current_num_threads()
    );
    if "product".contains(&filter) {
        println!("GFLOP/s, minimum and median time, share of the peak");
        println!(
            "{:<20} | {:<20} | {:<20} | {:<20} | NT, bias, GELU",
            "rows x depth x columns", "NN", "NT", "TN"
        );
        for sizes in PRODUCTS {
            bench_product(sizes, peak);
        }
    }
    if "attention".contains(&filter) {
        println!("GFLOP/s of the products, minimum and median time: forward, backward");
        for sizes in ATTENTIONS {
            bench_attention(sizes, peak);
        }
    }
    if "pass".contains(&filter) {
        println!("millions of values a second, minimum and median time");
        bench_passes();
    }
    if "head".contains(&filter) {
        bench_head(peak);
    }
}
