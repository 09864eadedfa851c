//! Every path this machine has against the formula in `f64`.

use super::*;
use crate::activation::{Activation, activate};
use crate::testing::{Seeded, assert_close, assert_same_for_any_threads};

/// Rows, columns and depths at the edges of tiles, panels, passes and tasks.
fn shapes() -> Vec<[usize; 3]> {
    let mut shapes = vec![
        [0, 3, 2],
        [3, 0, 2],
        [3, 2, 0],
        [1, 1, 1],
        [1, 100, 64],
        [12, 32, 256],
        [13, 33, 257],
        [24, 64, 512],
        [25, 65, 513],
        [64, 100, 64],
        [121, 513, 40],
        [250, 30, 300],
        [7, 600, 129],
    ];
    let mut seeded = Seeded(1);
    let mut pick = |most: u64| (seeded.next_u64() % most) as usize + 1;
    shapes.extend((0..60).map(|_| [pick(40), pick(80), pick(40)]));
    shapes.extend((0..10).map(|_| [pick(300), pick(300), pick(700)]));
    shapes
}

/// A factor in one of four layouts: row-major or transposed, dense or with gaps.
struct Factor {
    data: Vec<f32>,
    sizes: [usize; 2],
    pitch: usize,
    transposed: bool,
}

impl Factor {
    fn new(seed: u64, sizes: [usize; 2], layout: usize) -> Self {
        let transposed = layout.is_multiple_of(2);
        let [rows, columns] = if transposed { [sizes[1], sizes[0]] } else { sizes };
        let pitch = columns + [0, 5][layout / 2];
        Self { data: Seeded(seed).values(rows * pitch), sizes, pitch, transposed }
    }

    fn magnitude(&self) -> Self {
        Self { data: self.data.iter().map(|x| x.abs()).collect(), ..*self }
    }

    fn view(&self) -> Matrix<'_> {
        let [rows, columns] = self.sizes;
        if self.transposed {
            Matrix::with_pitch(&self.data, [columns, rows], self.pitch).transposed()
        } else {
            Matrix::with_pitch(&self.data, [rows, columns], self.pitch)
        }
    }
}

/// The module's bound, in units of the sum of absolute products.
fn bound(depth: usize) -> f64 {
    let (block, blocks) = (depth.min(PITCH), depth / PITCH);
    // Two roundings a product on the portable path, which does not fuse.
    (2 * block + blocks + 3) as f64 * 2_f64.powi(-24)
}

fn assert_within(what: &str, got: &[f32], want: &[f64], scale: &[f64], bound: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, ((&got, want), scale)) in got.iter().zip(want).zip(scale).enumerate() {
        let error = (f64::from(got) - want).abs();
        assert!(error <= bound * scale + 1e-30, "{what}: {i}: {got}, not {want} ({scale})");
    }
}

#[test]
fn every_path_and_layout_agrees_with_the_formula() {
    for (seed, [rows, columns, depth]) in shapes().into_iter().enumerate() {
        let seed = seed as u64;
        for layout in 0..16 {
            let left = Factor::new(2 * seed, [rows, depth], layout % 4);
            let right = Factor::new(2 * seed + 1, [depth, columns], layout / 4);
            let want = scalar::matmul(left.view(), right.view());
            let scale = scalar::matmul(left.magnitude().view(), right.magnitude().view());
            for isa in Isa::available() {
                let what = format!("[{rows}, {columns}, {depth}] {layout}, {} lanes", isa.lanes());
                // NaN everywhere: what is not overwritten shows.
                let mut output = vec![f32::NAN; rows * columns];
                let target = MatrixMut::new(&mut output, [rows, columns]);
                matmul_on(isa, left.view(), right.view(), Finish::Store, target);
                assert_within(&what, &output, &want, &scale, bound(depth));
            }
        }
    }
}

#[test]
fn deep_and_wide_products_are_cut_into_slabs() {
    // More than a slab's depth; more columns than a slab of that depth has.
    for [rows, columns, depth] in [[2, 3, 20_000], [3, 1500, 5000]] {
        let left = Factor::new(1, [rows, depth], 1);
        let right = Factor::new(2, [depth, columns], 0);
        let mut output = vec![f32::NAN; rows * columns];
        let target = MatrixMut::new(&mut output, [rows, columns]);
        matmul(left.view(), right.view(), Finish::Store, target);
        let want = scalar::matmul(left.view(), right.view());
        let scale = scalar::matmul(left.magnitude().view(), right.magnitude().view());
        assert_within("slabs", &output, &want, &scale, bound(depth));
    }
}

#[test]
fn gaps_between_rows_of_the_output_stay() {
    let (left, right) = (Factor::new(1, [5, 7], 1), Factor::new(2, [7, 9], 1));
    let mut output = vec![77.0; 4 * 12 + 9];
    let target = MatrixMut::with_pitch(&mut output, [5, 9], 12);
    matmul(left.view(), right.view(), Finish::Store, target);
    let want = scalar::matmul(left.view(), right.view());
    for (row, values) in output.chunks(12).enumerate() {
        assert_close("row", &values[..9], &want[row * 9..][..9], 1e-5, 1e-6);
        assert!(values[9..].iter().all(|&x| x == 77.0));
    }
}

#[test]
fn finishes_equal_separate_passes() {
    for [rows, columns, depth] in [[1, 1, 1], [13, 33, 300], [150, 70, 20], [4, 5, 0]] {
        let left = Factor::new(1, [rows, depth], 1);
        let right = Factor::new(2, [depth, columns], 1);
        let bias = Seeded(3).values(columns);
        let residual = Seeded(4).values(rows * columns);
        let run = |finish: Finish<'_>| {
            let mut output = residual.clone();
            let target = MatrixMut::new(&mut output, [rows, columns]);
            matmul(left.view(), right.view(), finish, target);
            output
        };
        let exact = |what: &str, got: &[f32], want: &[f32]| {
            let want: Vec<f64> = want.iter().map(|&x| f64::from(x)).collect();
            assert_close(what, got, &want, 1e-6, 1e-6);
        };
        let plain = run(Finish::Store);
        let sum = |a: &[f32], b: &dyn Fn(usize) -> f32| -> Vec<f32> {
            a.iter().enumerate().map(|(i, a)| a + b(i)).collect()
        };
        exact("add", &run(Finish::Add), &sum(&plain, &|i| residual[i]));
        let biased = sum(&plain, &|i| bias[i % columns]);
        exact("bias", &run(Finish::Bias { bias: &bias }), &biased);
        let both = sum(&biased, &|i| residual[i]);
        let finish = Finish::Residual { bias: Some(&bias), residual: &residual };
        exact("bias and residual", &run(finish), &both);
        let finish = Finish::Residual { bias: None, residual: &residual };
        exact("residual", &run(finish), &sum(&plain, &|i| residual[i]));
        for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Silu] {
            let mut want = vec![0.0; biased.len()];
            activate(activation, &biased, &mut want);
            let mut kept = vec![f32::NAN; biased.len()];
            let finish = Finish::Activate { bias: &bias, activation, before: Some(&mut kept) };
            exact("activation", &run(finish), &want);
            exact("before", &kept, &biased);
            let finish = Finish::Activate { bias: &bias, activation, before: None };
            exact("activation", &run(finish), &want);
        }
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for [rows, columns, depth] in [[250, 600, 300], [3, 70, 9000], [500, 20, 64]] {
        let left = Factor::new(1, [rows, depth], 0);
        let right = Factor::new(2, [depth, columns], 1);
        let bias = Seeded(3).values(columns);
        assert_same_for_any_threads("product", || {
            let mut output = vec![0.0; rows * columns];
            let finish =
                Finish::Activate { bias: &bias, activation: Activation::Gelu, before: None };
            matmul(left.view(), right.view(), finish, MatrixMut::new(&mut output, [rows, columns]));
            output
        });
    }
}

#[test]
fn nan_and_infinity_reach_exactly_the_outputs_that_depend_on_them() {
    let (mut left, right) = (Factor::new(1, [30, 40], 1), Factor::new(2, [40, 50], 1));
    for bad in [f32::NAN, f32::INFINITY] {
        left.data[17 * 40 + 3] = bad;
        let mut output = vec![0.0; 30 * 50];
        matmul(left.view(), right.view(), Finish::Store, MatrixMut::new(&mut output, [30, 50]));
        for (i, y) in output.iter().enumerate() {
            assert_eq!(y.is_finite(), i / 50 != 17, "{bad} at {i}: {y}");
        }
    }
}

#[test]
#[should_panic(expected = "the left factor has 3 columns, the right one 4 rows")]
fn factors_must_fit() {
    let (a, b, mut c) = ([0.0; 6], [0.0; 8], [0.0; 4]);
    let target = MatrixMut::new(&mut c, [2, 2]);
    matmul(Matrix::new(&a, [2, 3]), Matrix::new(&b, [4, 2]), Finish::Store, target);
}

#[test]
#[should_panic(expected = "more elements than memory can hold")]
fn sizes_that_wrap_are_refused() {
    Matrix::with_pitch(&[0.0; 16], [1 << 62, 4], 8);
}
