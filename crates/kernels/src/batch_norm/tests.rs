//! Every path against the `f64` loops, and the loops against finite differences.

use super::*;
use crate::testing::{Seeded, assert_close, assert_same_for_any_threads, wide};

const EPSILON: f32 = 1e-5;

fn shapes() -> Vec<NormShape> {
    let shape = |batch, channels, spatial| NormShape { batch, channels, spatial };
    let mut shapes = vec![shape(64, 16, 64), shape(3, 17, 1024), shape(100, 3, 1), shape(2, 0, 4)];
    for spatial in [1, 7, 8, 9, 31, 32, 33, 63, 65] {
        shapes.push(shape(4, 3, spatial));
    }
    shapes
}

/// What one forward and backward pass gives.
struct Passes {
    output: Vec<f32>,
    mean: Vec<f32>,
    variance: Vec<f32>,
    input_grad: Vec<f32>,
    gamma_grad: Vec<f32>,
    beta_grad: Vec<f32>,
    residual_grad: Vec<f32>,
}

struct Data {
    input: Vec<f32>,
    residual: Vec<f32>,
    grad: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

fn data(shape: &NormShape, seed: u64) -> Data {
    let mut seeded = Seeded(seed);
    Data {
        // Away from zero, where a one-pass variance would lose digits.
        input: seeded.values(shape.len()).iter().map(|x| 20.0 + x).collect(),
        residual: seeded.values(shape.len()),
        grad: seeded.values(shape.len()),
        gamma: seeded.values(shape.channels),
        beta: seeded.values(shape.channels),
    }
}

fn passes(isa: Isa, shape: &NormShape, data: &Data, residual: bool, relu: bool) -> Passes {
    let full = || vec![f32::NAN; shape.len()];
    let channels = || vec![f32::NAN; shape.channels];
    let mut p = Passes {
        output: full(),
        mean: channels(),
        variance: channels(),
        input_grad: full(),
        gamma_grad: channels(),
        beta_grad: channels(),
        residual_grad: full(),
    };
    let added = residual.then_some(&data.residual[..]);
    train_on(
        isa,
        shape,
        &data.input,
        &data.gamma,
        &data.beta,
        EPSILON,
        added,
        relu,
        &mut p.output,
        &mut p.mean,
        &mut p.variance,
    );
    backward_on(
        isa,
        Moments::OfTheBatch,
        shape,
        &data.input,
        if relu { ReluGate::Output(&p.output) } else { ReluGate::Open },
        &data.grad,
        &data.gamma,
        &p.mean,
        &p.variance,
        EPSILON,
        &mut p.input_grad,
        &mut p.gamma_grad,
        &mut p.beta_grad,
        residual.then_some(&mut p.residual_grad),
    );
    p
}

#[test]
fn every_path_agrees_with_the_scalar_loops() {
    for shape in shapes() {
        let data = data(&shape, 1);
        let [input, added, grad, gamma, beta] =
            [&data.input, &data.residual, &data.grad, &data.gamma, &data.beta].map(|x| wide(x));
        let (mean, variance) = scalar::statistics(&shape, &input);
        let epsilon = f64::from(EPSILON);
        for (residual, relu) in [(false, false), (false, true), (true, true), (true, false)] {
            let residual_values = residual.then_some(&added[..]);
            let output =
                scalar::forward(&shape, &input, &gamma, &beta, epsilon, residual_values, relu);
            for isa in Isa::available() {
                let what = format!("{} lanes, {shape:?}, {residual}, {relu}", isa.lanes());
                let got = passes(isa, &shape, &data, residual, relu);
                // Inputs of 20 are known to 1e-6, which 1 / standard deviation scales up.
                assert_close(&format!("output, {what}"), &got.output, &output, 1e-5, 2e-5);
                assert_close(&format!("mean, {what}"), &got.mean, &mean, 1e-6, 1e-7);
                assert_close(&format!("variance, {what}"), &got.variance, &variance, 1e-5, 1e-7);
                // The gate is taken from the output of this path: near 0 the two may differ.
                let gate = wide(&got.output);
                let want =
                    scalar::backward(&shape, &input, relu.then_some(&gate), &grad, &gamma, epsilon);
                let count = (shape.count() as f64).sqrt();
                let by = |name: &str| format!("gradient by {name}, {what}");
                assert_close(&by("input"), &got.input_grad, &want.input, 1e-4, 2e-5);
                assert_close(&by("gamma"), &got.gamma_grad, &want.gamma, 1e-5, 1e-5 * count);
                assert_close(&by("beta"), &got.beta_grad, &want.beta, 1e-5, 1e-6 * count);
                if residual {
                    assert_close(&by("residual"), &got.residual_grad, &want.residual, 0.0, 0.0);
                }
            }
        }
    }
}

#[test]
fn the_gate_by_beta_is_the_gate_by_the_output() {
    for shape in shapes() {
        let data = data(&shape, 5);
        for isa in Isa::available() {
            let want = passes(isa, &shape, &data, false, true);
            let mut input_grad = vec![f32::NAN; shape.len()];
            let mut gamma_grad = vec![f32::NAN; shape.channels];
            let mut beta_grad = gamma_grad.clone();
            backward_on(
                isa,
                Moments::OfTheBatch,
                &shape,
                &data.input,
                ReluGate::Beta(&data.beta),
                &data.grad,
                &data.gamma,
                &want.mean,
                &want.variance,
                EPSILON,
                &mut input_grad,
                &mut gamma_grad,
                &mut beta_grad,
                None,
            );
            let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&input_grad), bits(&want.input_grad), "{shape:?}");
            assert_eq!(bits(&gamma_grad), bits(&want.gamma_grad), "{shape:?}");
            assert_eq!(bits(&beta_grad), bits(&want.beta_grad), "{shape:?}");
        }
    }
}

#[test]
fn the_scalar_gradients_match_finite_differences() {
    let shape = NormShape { batch: 2, channels: 2, spatial: 3 };
    let data = data(&shape, 2);
    let [input, grad, gamma, beta] =
        [&data.input, &data.grad, &data.gamma, &data.beta].map(|x| wide(x));
    let loss = |input: &[f64], gamma: &[f64], beta: &[f64]| -> f64 {
        let output = scalar::forward(&shape, input, gamma, beta, 1e-5, None, true);
        output.iter().zip(&grad).map(|(y, g)| y * g).sum()
    };
    let output = scalar::forward(&shape, &input, &gamma, &beta, 1e-5, None, true);
    let got = scalar::backward(&shape, &input, Some(&output), &grad, &gamma, 1e-5);
    let slope = |values: &[f64], i: usize, loss: &dyn Fn(&[f64]) -> f64| {
        let at = |step: f64| {
            let mut changed = values.to_vec();
            changed[i] += step;
            loss(&changed)
        };
        (at(1e-6) - at(-1e-6)) / 2e-6
    };
    for i in 0..input.len() {
        let want = slope(&input, i, &|input| loss(input, &gamma, &beta));
        assert!((want - got.input[i]).abs() < 1e-6, "input {i}: {want}, {}", got.input[i]);
    }
    for i in 0..shape.channels {
        let want = slope(&gamma, i, &|gamma| loss(&input, gamma, &beta));
        assert!((want - got.gamma[i]).abs() < 1e-6, "gamma {i}: {want}, {}", got.gamma[i]);
        let want = slope(&beta, i, &|beta| loss(&input, &gamma, beta));
        assert!((want - got.beta[i]).abs() < 1e-6, "beta {i}: {want}, {}", got.beta[i]);
    }
}

#[test]
fn inference_with_the_statistics_of_the_batch_equals_training() {
    let shape = NormShape { batch: 3, channels: 5, spatial: 35 };
    let data = data(&shape, 3);
    let trained = passes(Isa::active(), &shape, &data, true, true);
    let mut output = vec![f32::NAN; shape.len()];
    batch_norm_inference(
        &shape,
        &data.input,
        &data.gamma,
        &data.beta,
        &trained.mean,
        &trained.variance,
        EPSILON,
        Some(&data.residual),
        true,
        &mut output,
    );
    assert_eq!(output, trained.output);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let shape = NormShape { batch: 9, channels: 7, spatial: 100 };
    let data = data(&shape, 4);
    assert_same_for_any_threads("batch norm", || {
        let p = passes(Isa::active(), &shape, &data, true, true);
        [p.output, p.mean, p.variance, p.input_grad, p.gamma_grad, p.beta_grad].concat()
    });
}

#[test]
fn a_nan_stays_in_its_channel_and_fills_it() {
    let shape = NormShape { batch: 2, channels: 3, spatial: 40 };
    let mut data = data(&shape, 5);
    data.input[45] = f32::NAN;
    for isa in Isa::available() {
        let p = passes(isa, &shape, &data, false, true);
        for (i, y) in p.output.iter().enumerate() {
            assert_eq!(y.is_nan(), i / 40 % 3 == 1, "output {i} is {y}");
        }
    }
}

#[test]
fn parts_of_a_batch_with_their_sums_added_up_give_what_the_whole_batch_gives() {
    for shape in shapes() {
        let data = data(&shape, 9);
        let plane = shape.channels * shape.spatial;
        for relu in [false, true] {
            let want = passes(Isa::active(), &shape, &data, true, relu);
            // Uneven parts, one without samples.
            let ends = [0, shape.batch / 3, shape.batch / 3, shape.batch];
            let part = |at: usize| {
                let here = ends[at] * plane..ends[at + 1] * plane;
                (NormShape { batch: ends[at + 1] - ends[at], ..shape }, here)
            };
            let (mut sums, mut count) = (vec![0.0; 2 * shape.channels], 0.0);
            for at in 0..3 {
                let (part, here) = part(at);
                let mut own = vec![f64::NAN; 2 * shape.channels];
                batch_norm_sums(&part, &data.input[here], &mut own);
                sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
                count += part.count() as f64;
            }
            let (mut mean, mut variance) =
                (vec![f32::NAN; shape.channels], vec![f32::NAN; shape.channels]);
            moments_of_sums(&sums, count, &mut mean, &mut variance);
            let what = format!("{shape:?}, relu {relu}");
            assert_close(&format!("mean, {what}"), &mean, &wide(&want.mean), 1e-6, 1e-7);
            let expected_variance = wide(&want.variance);
            assert_close(&format!("variance, {what}"), &variance, &expected_variance, 1e-5, 1e-7);

            let gate = |here: &std::ops::Range<usize>| match relu {
                true => ReluGate::Output(&want.output[here.clone()]),
                false => ReluGate::Open,
            };
            let mut parts = vec![vec![0.0; 2 * shape.channels]; 2];
            let mut sums = vec![0.0; 2 * shape.channels];
            for at in 0..3 {
                let (part, here) = part(at);
                let [mut gamma, mut beta] = [0, 1].map(|_| vec![f32::NAN; shape.channels]);
                let mut own = vec![f64::NAN; 2 * shape.channels];
                batch_norm_backward_sums(
                    &part,
                    &data.input[here.clone()],
                    gate(&here),
                    &data.grad[here],
                    &data.gamma,
                    &mean,
                    &variance,
                    EPSILON,
                    &mut gamma,
                    &mut beta,
                    &mut own,
                );
                sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
                for (sum, own) in parts.iter_mut().zip([gamma, beta]) {
                    sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += f64::from(own));
                }
            }
            let off = 1e-5 * (shape.count() as f64).sqrt();
            for (name, got, want) in
                [("gamma", &parts[0], &want.gamma_grad), ("beta", &parts[1], &want.beta_grad)]
            {
                let got: Vec<f32> = got[..shape.channels].iter().map(|&v| v as f32).collect();
                assert_close(&format!("{name}, {what}"), &got, &wide(want), 1e-5, off);
            }
            let mut by_input = vec![f32::NAN; shape.len()];
            let mut by_residual = vec![f32::NAN; shape.len()];
            for at in 0..3 {
                let (part, here) = part(at);
                batch_norm_backward_with_sums(
                    &part,
                    &data.input[here.clone()],
                    gate(&here),
                    &data.grad[here.clone()],
                    &data.gamma,
                    &mean,
                    &variance,
                    EPSILON,
                    &sums,
                    count,
                    &mut by_input[here.clone()],
                    Some(&mut by_residual[here]),
                );
            }
            assert_close(&format!("input, {what}"), &by_input, &wide(&want.input_grad), 1e-4, 2e-5);
            assert_eq!(by_residual, want.residual_grad, "{what}");
        }
    }
}
