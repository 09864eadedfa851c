//! Throughput of the kernels of text encoders and language models.
//!
//! `cargo bench --bench text [-- FILTER]`: products in GFLOP/s next to the measured peak, passes
//! in GB/s or millions of values a second. Minimum and median of the repetitions; on a shared
//! machine the minimum is the one to compare.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use faculty_kernels::activation::Activation;
use faculty_kernels::isa;
use faculty_kernels::matmul::{Finish, Matrix, MatrixMut, matmul};

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
}
