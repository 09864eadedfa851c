//! Every path this machine has against the formulas in `f64`, gradients against finite differences
//! of them.

use super::*;
use crate::testing::{Seeded, assert_close, assert_same_for_any_threads, wide};

const SHAPES: [[usize; 2]; 8] =
    [[0, 5], [1, 1], [3, 7], [2, 16], [5, 33], [ROWS, 20], [ROWS + 1, 48], [200, 100]];

/// What one call gives: output, mean, scale, gradients by input, gain and shift.
struct Outcome {
    output: Vec<f32>,
    mean: Vec<f32>,
    scale: Vec<f32>,
    grads: [Vec<f32>; 3],
}

struct Data {
    width: usize,
    input: Vec<f32>,
    gain: Vec<f32>,
    shift: Vec<f32>,
    grad: Vec<f32>,
}

impl Data {
    fn new([rows, width]: [usize; 2], centred: bool) -> Self {
        let mut seeded = Seeded((rows * 1000 + width) as u64);
        let mut values = |len: usize| seeded.values(len);
        let input = values(rows * width).iter().map(|x| 3.0 * x + 1.0).collect();
        let shift = values(if centred { width } else { 0 });
        Self { width, input, gain: values(width), shift, grad: values(rows * width) }
    }

    fn run<const CENTRED: bool>(&self, isa: Isa, epsilon: f32) -> Outcome {
        let Self { width, input, gain, shift, grad } = self;
        let rows = input.len() / width;
        let nan = |len: usize| vec![f32::NAN; len];
        let (mut output, mut scale) = (nan(input.len()), nan(rows));
        let mut mean = nan(if CENTRED { rows } else { 0 });
        forward::<CENTRED>(
            isa,
            *width,
            input,
            gain,
            shift,
            epsilon,
            &mut output,
            &mut mean,
            &mut scale,
        );
        let mut grads = [nan(input.len()), nan(*width), nan(shift.len())];
        let [by_input, by_gain, by_shift] = &mut grads;
        backward::<CENTRED>(
            isa, *width, input, gain, &mean, &scale, grad, by_input, by_gain, by_shift,
        );
        Outcome { output, mean, scale, grads }
    }

    /// The formula, from values in `f64`.
    fn formula(&self, input: &[f64], gain: &[f64], shift: &[f64], epsilon: f64) -> Vec<f64> {
        let width = self.width as f64;
        let row = |x: &[f64]| -> Vec<f64> {
            let mean = if shift.is_empty() { 0.0 } else { x.iter().sum::<f64>() / width };
            let square = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width;
            let scale = 1.0 / (square + epsilon).sqrt();
            let shift = |i: usize| shift.get(i).copied().unwrap_or(0.0);
            (0..x.len()).map(|i| gain[i] * (x[i] - mean) * scale + shift(i)).collect()
        };
        input.chunks(self.width).flat_map(row).collect()
    }

    /// `sum grad * formula`, whose slopes the gradients are.
    fn loss(&self, input: &[f64], gain: &[f64], shift: &[f64], epsilon: f64) -> f64 {
        let output = self.formula(input, gain, shift, epsilon);
        output.iter().zip(&self.grad).map(|(y, &g)| y * f64::from(g)).sum()
    }
}

fn check<const CENTRED: bool>() {
    for sizes in SHAPES {
        let data = Data::new(sizes, CENTRED);
        for epsilon in [1e-12, 1e-5, 0.5] {
            let wide_epsilon = f64::from(epsilon);
            let (input, gain, shift) = (wide(&data.input), wide(&data.gain), wide(&data.shift));
            let want = data.formula(&input, &gain, &shift, wide_epsilon);
            for isa in Isa::available() {
                let what = format!("{sizes:?}, {epsilon}, {} lanes", isa.lanes());
                let got = data.run::<CENTRED>(isa, epsilon);
                if sizes[1] == 1 && CENTRED {
                    // All of it is cancellation: the output is the shift.
                    assert_eq!(got.output, data.shift, "{what}");
                    continue;
                }
                assert_close(&what, &got.output, &want, 2e-6, 4e-6);
                assert!(got.scale.iter().all(|s| s.is_finite() && *s > 0.0));
                assert_eq!(got.mean.len(), if CENTRED { sizes[0] } else { 0 });
                let step = 1e-4;
                let slopes = |values: &[f64], loss: &dyn Fn(&[f64]) -> f64| -> Vec<f64> {
                    // Some of them: each takes the whole loss.
                    let stride = values.len() / 40 + 1;
                    let slope = |i: usize| {
                        let mut changed = values.to_vec();
                        changed[i] += step;
                        let above = loss(&changed);
                        changed[i] -= 2.0 * step;
                        (above - loss(&changed)) / (2.0 * step)
                    };
                    (0..values.len()).step_by(stride).map(slope).collect()
                };
                let some = |values: &[f32]| -> Vec<f32> {
                    values.iter().copied().step_by(values.len() / 40 + 1).collect()
                };
                let by_input = slopes(&input, &|x| data.loss(x, &gain, &shift, wide_epsilon));
                assert_close(&what, &some(&got.grads[0]), &by_input, 1e-5, 1e-5);
                let by_gain = slopes(&gain, &|x| data.loss(&input, x, &shift, wide_epsilon));
                assert_close(&what, &some(&got.grads[1]), &by_gain, 1e-5, 3e-5);
                let by_shift = slopes(&shift, &|x| data.loss(&input, &gain, x, wide_epsilon));
                assert_close(&what, &some(&got.grads[2]), &by_shift, 1e-5, 1e-5);
            }
        }
    }
}

#[test]
fn layer_norm_and_its_gradients_are_the_formulas() {
    check::<true>();
}

#[test]
fn rms_norm_and_its_gradients_are_the_formulas() {
    check::<false>();
}

#[test]
fn a_large_mean_leaves_the_variance_exact() {
    let mut data = Data::new([3, 100], true);
    // Steps of 1/16 survive at 1e5.
    for x in &mut data.input {
        *x = 1e5 + (*x * 16.0).round() / 16.0;
    }
    let want = data.formula(&wide(&data.input), &wide(&data.gain), &wide(&data.shift), 1e-5);
    let got = data.run::<true>(Isa::active(), 1e-5);
    // The mean is rounded to 2^-8, of standard deviations of 1.7.
    assert_close("output", &got.output, &want, 3e-3, 3e-3);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let data = Data::new([300, 40], true);
    assert_same_for_any_threads("layer norm", || {
        let Outcome { output, mean, scale, grads } = data.run::<true>(Isa::active(), 1e-5);
        [output, mean, scale, grads.concat()].concat()
    });
}
