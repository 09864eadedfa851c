//! Every path this machine has against the formula in `f64`, gradients against finite differences
//! of it.

use super::*;
use crate::testing::{Seeded, assert_close, assert_same_for_any_threads, wide};

struct Case {
    shape: AttentionShape,
    queries: Vec<usize>,
    keys: Vec<usize>,
    lengths: Option<Vec<usize>>,
    reach: Option<usize>,
}

fn offsets(lengths: &[usize]) -> Vec<usize> {
    let mut sum = 0;
    std::iter::once(0)
        .chain(lengths.iter().map(|n| {
            sum += n;
            sum
        }))
        .collect()
}

fn case(heads: usize, kv_heads: usize, width: usize, lengths: &[usize]) -> Case {
    let scale = 1.0 / (width as f32).sqrt();
    let shape = AttentionShape { heads, kv_heads, width, scale, causal: false, window: None };
    let all = offsets(lengths);
    Case { shape, queries: all.clone(), keys: all, lengths: None, reach: None }
}

impl Case {
    fn causal(mut self) -> Self {
        self.shape.causal = true;
        self
    }

    fn window(mut self, window: usize) -> Self {
        self.shape.window = Some(window);
        self
    }

    fn keys(mut self, lengths: &[usize]) -> Self {
        self.keys = offsets(lengths);
        self
    }

    fn key_lengths(mut self, lengths: &[usize]) -> Self {
        self.lengths = Some(lengths.to_vec());
        self
    }

    fn reach(mut self, reach: usize) -> Self {
        self.reach = Some(reach);
        self
    }

    fn samples(&self) -> Samples<'_> {
        let samples = Samples::with_keys(&self.queries, &self.keys);
        match &self.lengths {
            Some(lengths) => samples.with_key_lengths(lengths),
            None => samples,
        }
    }
}

/// Small ones, whose gradients are compared value by value.
fn small() -> Vec<Case> {
    vec![
        case(1, 1, 1, &[1]),
        case(1, 1, 2, &[3]),
        case(2, 2, 4, &[3, 0, 1, 5]),
        case(4, 2, 3, &[2, 6]).causal(),
        case(3, 1, 5, &[7, 2]).window(3),
        case(2, 1, 5, &[9]).window(2).causal(),
        case(2, 2, 4, &[4, 4, 4]).key_lengths(&[2, 4, 0]),
        case(2, 1, 4, &[1, 3]).keys(&[5, 3]).causal(),
        case(1, 1, 4, &[5, 1]).keys(&[2, 3]).causal(),
        case(2, 2, 3, &[6, 2]).reach(0),
        case(2, 1, 3, &[7, 3]).reach(2).causal(),
        case(2, 2, 3, &[7]).reach(20),
    ]
}

/// Ones beyond a block of keys, of queries, and at their edges.
fn large() -> Vec<Case> {
    vec![
        case(2, 2, 64, &[128, 17, 33]),
        case(1, 1, 32, &[forward::KEYS, forward::KEYS + 1]),
        case(2, 1, 20, &[forward::QUERIES + 5, 600]).causal(),
        case(1, 1, 40, &[700]).window(50),
        case(1, 1, 40, &[700]).window(300).causal(),
        case(2, 2, 24, &[500]).reach(128),
        case(1, 1, 256, &[40]),
        case(1, 1, 16, &[30]).keys(&[600]).causal().reach(7),
        case(1, 1, 16, &[600]).keys(&[300]).causal(),
        case(2, 1, 33, &[300, 300]).key_lengths(&[257, 31]),
    ]
}

struct Data {
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    bias: Vec<f32>,
    grad: Vec<f32>,
}

impl Data {
    fn new(case: &Case) -> Self {
        let mut seeded = Seeded(3);
        let shape = &case.shape;
        let rows = case.samples().query_rows() * shape.heads * shape.width;
        let keys = case.samples().key_rows() * shape.kv_heads * shape.width;
        let mut values = |len: usize, factor: f32| -> Vec<f32> {
            seeded.values(len).iter().map(|x| factor * x).collect()
        };
        Self {
            query: values(rows, 2.0),
            key: values(keys, 2.0),
            value: values(keys, 1.0),
            bias: values(case.reach.map_or(0, |reach| shape.heads * (2 * reach + 1)), 1.0),
            grad: values(rows, 1.0),
        }
    }

    fn bias(&self, case: &Case) -> Option<RelativeBias<'_>> {
        case.reach.map(|reach| RelativeBias { reach, values: &self.bias })
    }

    /// Output and lse.
    fn forward(&self, isa: Isa, case: &Case) -> (Vec<f32>, Vec<f32>) {
        let Self { query, key, value, .. } = self;
        let mut output = vec![f32::NAN; query.len()];
        let mut lse = vec![f32::NAN; case.samples().query_rows() * case.shape.heads];
        let bias = self.bias(case);
        let (samples, bias) = (case.samples(), bias.as_ref());
        attention_on(isa, &case.shape, &samples, bias, query, key, value, &mut output, &mut lse);
        (output, lse)
    }

    /// Gradients by query, key, value and bias.
    fn backward(&self, isa: Isa, case: &Case) -> [Vec<f32>; 4] {
        let Self { query, key, value, .. } = self;
        let (output, lse) = self.forward(isa, case);
        let nan = |like: &[f32]| vec![f32::NAN; like.len()];
        let mut grads = [nan(query), nan(key), nan(value), nan(&self.bias)];
        let [by_query, by_key, by_value, by_bias] = &mut grads;
        attention_backward_on(
            isa,
            &case.shape,
            &case.samples(),
            self.bias(case).as_ref(),
            backward::Inputs {
                query,
                key,
                value,
                output: &output,
                lse: &lse,
                output_grad: &self.grad,
            },
            AttentionGrads { query: by_query, key: by_key, value: by_value, bias: by_bias },
        );
        grads
    }

    fn formula(&self, case: &Case, values: &[Vec<f64>; 4]) -> (Vec<f64>, Vec<f64>) {
        let [query, key, value, bias_values] = values;
        let bias = self.bias(case);
        let bias = bias.as_ref().map(|bias| (bias, &bias_values[..]));
        scalar::attention(&case.shape, &case.samples(), bias, query, key, value)
    }

    fn wide(&self) -> [Vec<f64>; 4] {
        [wide(&self.query), wide(&self.key), wide(&self.value), wide(&self.bias)]
    }

    /// `sum grad * output`, whose slopes the gradients are.
    fn loss(&self, case: &Case, values: &[Vec<f64>; 4]) -> f64 {
        let output = self.formula(case, values).0;
        output.iter().zip(&self.grad).map(|(y, &g)| y * f64::from(g)).sum()
    }
}

#[test]
fn every_path_agrees_with_the_formula() {
    for (number, case) in small().iter().chain(&large()).enumerate() {
        case.shape.validate().unwrap();
        let data = Data::new(case);
        let (output, lse) = data.formula(case, &data.wide());
        for isa in Isa::available() {
            let what = format!("case {number}, {} lanes", isa.lanes());
            let got = data.forward(isa, case);
            // Scores of up to 16 with an error of 1e-6 or so move a probability by as much.
            assert_close(&format!("output, {what}"), &got.0, &output, 5e-6, 5e-6);
            assert_close(&format!("lse, {what}"), &got.1, &lse, 2e-6, 2e-6);
        }
    }
}

#[test]
fn gradients_are_the_slopes_of_the_formula() {
    for (number, case) in small().iter().enumerate() {
        let data = Data::new(case);
        let values = data.wide();
        for isa in Isa::available() {
            let got = data.backward(isa, case);
            for (part, got) in got.iter().enumerate() {
                let slope = |i: usize| {
                    let mut changed = values.clone();
                    changed[part][i] += 1e-5;
                    let above = data.loss(case, &changed);
                    changed[part][i] -= 2e-5;
                    (above - data.loss(case, &changed)) / 2e-5
                };
                let want: Vec<f64> = (0..got.len()).map(slope).collect();
                let what = format!("case {number}, part {part}, {} lanes", isa.lanes());
                assert_close(&what, got, &want, 1e-5, 1e-5);
            }
        }
    }
}

#[test]
fn gradients_of_long_samples_are_slopes_along_any_direction() {
    for (number, case) in large().iter().enumerate() {
        let data = Data::new(case);
        let values = data.wide();
        for isa in Isa::available() {
            let got = data.backward(isa, case);
            for (part, got) in got.iter().enumerate().filter(|(_, got)| !got.is_empty()) {
                let direction = wide(&Seeded(9).values(got.len()));
                let at = |step: f64| {
                    let mut changed = values.clone();
                    for (x, d) in changed[part].iter_mut().zip(&direction) {
                        *x += step * d;
                    }
                    data.loss(case, &changed)
                };
                let want = (at(1e-5) - at(-1e-5)) / 2e-5;
                let terms = || got.iter().zip(&direction).map(|(&g, d)| f64::from(g) * d);
                let (along, size) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
                let what = format!("case {number}, part {part}, {} lanes", isa.lanes());
                assert!((along - want).abs() < 2e-6 * size + 1e-5, "{what}: {along}, {want}");
            }
        }
    }
}

#[test]
fn a_samples_values_do_not_depend_on_its_batch() {
    let together = case(2, 1, 24, &[40, 300, 7]).causal();
    let data = Data::new(&together);
    let isa = Isa::active();
    let (output, _) = data.forward(isa, &together);
    let grads = data.backward(isa, &together);
    let alone = case(2, 1, 24, &[300]).causal();
    let part = |values: &[f32], width: usize| values[40 * width..340 * width].to_vec();
    let own = Data {
        query: part(&data.query, 48),
        key: part(&data.key, 24),
        value: part(&data.value, 24),
        bias: Vec::new(),
        grad: part(&data.grad, 48),
    };
    assert_eq!(own.forward(isa, &alone).0, part(&output, 48));
    let own = own.backward(isa, &alone);
    for (part_of, width) in [(0, 48), (1, 24), (2, 24)] {
        assert_eq!(own[part_of], part(&grads[part_of], width));
    }
}

#[test]
fn a_query_that_sees_nothing_gives_zero_and_no_gradient() {
    let case = case(1, 1, 4, &[5, 1]).keys(&[2, 3]).causal();
    let data = Data::new(&case);
    let (output, lse) = data.forward(Isa::active(), &case);
    // Five queries, two keys: the first three stand before the first key.
    assert!(output[..12].iter().all(|&y| y == 0.0));
    assert!(lse[..3].iter().all(|&x| x == f32::NEG_INFINITY));
    assert!(data.backward(Isa::active(), &case)[0][..12].iter().all(|&g| g == 0.0));
}

#[test]
fn large_scores_stay_finite() {
    let case = case(1, 1, 8, &[300]);
    let mut data = Data::new(&case);
    for x in data.query.iter_mut().chain(&mut data.key) {
        *x *= 1e3;
    }
    let (output, lse) = data.forward(Isa::active(), &case);
    assert!(output.iter().chain(&lse).all(|x| x.is_finite()));
    assert!(data.backward(Isa::active(), &case).iter().flatten().all(|x| x.is_finite()));
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let case = case(4, 2, 24, &[300, 20, 260]).causal().reach(9);
    let data = Data::new(&case);
    assert_same_for_any_threads("attention", || {
        let (output, lse) = data.forward(Isa::active(), &case);
        [output, lse, data.backward(Isa::active(), &case).concat()].concat()
    });
}

#[test]
fn refuses_shapes_that_are_no_attention() {
    let good = case(4, 2, 8, &[1]).shape;
    let text = |shape: AttentionShape| shape.validate().unwrap_err().to_string();
    let bad = AttentionShape { kv_heads: 3, ..good };
    assert_eq!(text(bad), "3 `kv_heads` do not divide 4 `heads`");
    assert_eq!(text(AttentionShape { width: 257, ..good }), "`width` is 257, it must be 1 to 256");
}

#[test]
#[should_panic(expected = "the offsets of queries fall")]
fn offsets_that_fall_are_refused() {
    let _ = Samples::new(&[0, 5, 3]);
}

#[test]
fn keys_in_a_cache_are_those_of_their_rows() {
    // Two heads a key head; the second sample's keys lie before the first's, and both have more
    // keys than queries.
    let shape = AttentionShape { causal: true, ..case(4, 2, 8, &[1]).shape };
    let (query_rows, lengths, starts) = ([0, 2, 3], [5, 300], [310, 4]);
    let rows = 330;
    let mut seeded = Seeded(8);
    let query = seeded.values(3 * 4 * 8);
    let [key, value] = [(); 2].map(|()| seeded.values(rows * 2 * 8));
    let packed = |from: &[f32]| -> Vec<f32> {
        let spans = starts.iter().zip(lengths);
        spans
            .flat_map(|(&start, length)| &from[start * 16..(start + length) * 16])
            .copied()
            .collect()
    };
    let run = |samples: Samples<'_>, key: &[f32], value: &[f32]| {
        let (mut output, mut lse) = (vec![0.0; query.len()], vec![0.0; 4 * 3]);
        attention(&shape, &samples, None, &query, key, value, &mut output, &mut lse);
        (output, lse)
    };
    let cached = run(Samples::in_cache(&query_rows, &starts, &lengths, rows), &key, &value);
    let keys = offsets(&lengths);
    let plain = run(Samples::with_keys(&query_rows, &keys), &packed(&key), &packed(&value));
    assert_eq!(cached, plain);
}

#[test]
#[should_panic(expected = "3 keys of sample 0 from row 8 on, of 10 rows")]
fn keys_outside_their_cache_are_refused() {
    let _ = Samples::in_cache(&[0, 1], &[8], &[3], 10);
}
