use super::*;
use crate::testing::{Seeded, assert_close, assert_same_for_any_threads};

const SHAPES: [LinearShape; 6] = [
    LinearShape { batch: 0, inputs: 3, outputs: 2 },
    LinearShape { batch: 3, inputs: 0, outputs: 2 },
    LinearShape { batch: 1, inputs: 1, outputs: 1 },
    LinearShape { batch: 5, inputs: 17, outputs: 3 },
    LinearShape { batch: 64, inputs: 64, outputs: 100 },
    LinearShape { batch: 33, inputs: 513, outputs: 31 },
];

struct Data {
    input: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    grad: Vec<f32>,
}

fn data(shape: &LinearShape) -> Data {
    let mut seeded = Seeded(7);
    Data {
        input: seeded.values(shape.batch * shape.inputs),
        weight: seeded.values(shape.outputs * shape.inputs),
        bias: seeded.values(shape.outputs),
        grad: seeded.values(shape.batch * shape.outputs),
    }
}

#[test]
fn forward_is_the_formula() {
    for shape in SHAPES {
        let Data { input, weight, bias, .. } = data(&shape);
        let mut output = vec![f32::NAN; shape.batch * shape.outputs];
        linear(&shape, &input, &weight, &bias, &mut output);
        let want: Vec<f64> = (0..shape.batch)
            .flat_map(|b| (0..shape.outputs).map(move |o| (b, o)))
            .map(|(b, o)| {
                let terms = (0..shape.inputs).map(|i| {
                    f64::from(input[b * shape.inputs + i]) * f64::from(weight[o * shape.inputs + i])
                });
                f64::from(bias[o]) + terms.sum::<f64>()
            })
            .collect();
        assert_close("output", &output, &want, 1e-5, 1e-5);
    }
}

#[test]
fn gradients_are_the_adjoints_of_the_forward_pass() {
    for shape in SHAPES {
        let Data { input, weight, grad, .. } = data(&shape);
        let mut by_input = vec![f32::NAN; input.len()];
        let mut by_weight = vec![f32::NAN; weight.len()];
        let mut by_bias = vec![f32::NAN; shape.outputs];
        linear_backward(
            &shape,
            &input,
            &weight,
            &grad,
            &mut by_input,
            &mut by_weight,
            &mut by_bias,
        );
        let mut plain = vec![0.0; grad.len()];
        linear(&shape, &input, &weight, &vec![0.0; shape.outputs], &mut plain);
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
        };
        // <x w, g> = <x, x_grad> = <w, w_grad>
        let want = dot(&plain, &grad);
        let close = |got: f64| (got - want).abs() <= 1e-4 * (1.0 + want.abs());
        assert!(close(dot(&input, &by_input)), "{shape:?}");
        assert!(close(dot(&weight, &by_weight)), "{shape:?}");
        let sum: f64 = grad.iter().map(|&g| f64::from(g)).sum();
        let by_bias: f64 = by_bias.iter().map(|&g| f64::from(g)).sum();
        assert!((by_bias - sum).abs() < 1e-3, "{shape:?}");
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    for shape in SHAPES {
        let Data { input, weight, bias, grad } = data(&shape);
        assert_same_for_any_threads("linear", || {
            let mut output = vec![0.0; grad.len()];
            linear(&shape, &input, &weight, &bias, &mut output);
            let mut by_input = vec![0.0; input.len()];
            let mut by_weight = vec![0.0; weight.len()];
            let mut by_bias = vec![0.0; shape.outputs];
            linear_backward(
                &shape,
                &input,
                &weight,
                &grad,
                &mut by_input,
                &mut by_weight,
                &mut by_bias,
            );
            [output, by_input, by_weight, by_bias].concat()
        });
    }
}
