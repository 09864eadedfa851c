//! The estimate against its formula, and what banks and negatives depend on.

use burn::tensor::{Device, Int, TensorData};
use faculty_data::SampleId;

use super::*;

const SAMPLES: usize = 9;
const CHANNELS: usize = 3;
const WIDTH: usize = 4;

fn device() -> Device {
    Device::flex().autodiff()
}

fn values(len: usize, seed: u64) -> Vec<f32> {
    (0..len as u64)
        .map(|i| draw(Purpose::Method, seed, i, 0, 0) as f32 / u64::MAX as f32 - 0.5)
        .collect()
}

fn crd(negatives: usize) -> Crd {
    Crd::new(CrdConfig {
        negatives,
        width: WIDTH,
        contrast_temperature: 0.2,
        ..CrdConfig::default()
    })
}

/// Nine samples of three classes; the batch holds those of these numbers.
fn step(own: &[usize], normaliser: f32) -> Step {
    let batch = own.len();
    let samples = (0..SAMPLES as u64).map(|i| (SampleId(10 * i), (i % 3) as u32));
    let flat = |len: usize, seed: u64| {
        Tensor::<1>::from_data(TensorData::new(values(len, seed), [len]), &device()).require_grad()
    };
    // Of each sample the same vectors wherever it stands.
    let maps = |seed: u64| {
        let all: Vec<f32> = own.iter().flat_map(|&i| values(CHANNELS, seed + i as u64)).collect();
        let data = TensorData::new(all, [batch, CHANNELS, 1, 1]);
        Tensor::<4>::from_data(data, &device())
    };
    Step {
        step_seed: 5,
        samples: Arc::new(TrainingSamples::new(samples)),
        sample_numbers: own.to_vec(),
        memory: vec![
            Arc::new(vec![normaliser; 2]),
            Arc::new(values(SAMPLES * WIDTH, 71)),
            Arc::new(values(SAMPLES * WIDTH, 72)),
        ],
        parameters: [(WIDTH * CHANNELS, 73), (WIDTH, 74), (WIDTH * CHANNELS, 75), (WIDTH, 76)]
            .map(|(len, seed)| flat(len, seed))
            .to_vec(),
        student_maps: vec![maps(100).require_grad()],
        teacher_maps: vec![vec![maps(200)]],
        ..Step::of_logits(
            Tensor::<1, Int>::zeros([batch], &device()),
            Tensor::zeros([batch, 3], &device()),
            Tensor::zeros([1, batch, 3], &device()),
        )
    }
}

fn contrast(method: &Crd, step: &Step) -> f64 {
    let loss = method.loss(step);
    let term = loss.terms.iter().find(|term| term.name == "contrast").unwrap();
    f64::from(term.value.clone().into_scalar::<f32>())
}

/// Unit rows of both sides, in float64.
fn vectors(step: &Step) -> [Vec<Vec<f64>>; 2] {
    let maps = [&step.student_maps[0], &step.teacher_maps[0][0]];
    [0, 1].map(|side| {
        let (weight, bias) =
            (numbers(&step.parameters[2 * side]), numbers(&step.parameters[2 * side + 1]));
        let all = numbers(maps[side]);
        all.chunks(CHANNELS)
            .map(|x| {
                let row: Vec<f64> = weight
                    .chunks(CHANNELS)
                    .zip(&bias)
                    .map(|(w, &b)| {
                        w.iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum::<f64>()
                            + f64::from(b)
                    })
                    .collect();
                let length = row.iter().map(|v| v * v).sum::<f64>().sqrt();
                row.into_iter().map(|v| v / length).collect()
            })
            .collect()
    })
}

#[test]
fn the_term_is_the_estimate_by_its_formula() {
    // All six samples of the two other classes are negatives.
    let (method, own) = (crd(100), [4, 0, 5]);
    let step = step(&own, 3.0);
    let vectors = vectors(&step);
    let mut want = 0.0;
    for (side, rows) in vectors.iter().enumerate() {
        let bank = &step.memory[2 - side];
        for (v, &i) in rows.iter().zip(&own) {
            let p = |j: usize| {
                let row = &bank[j * WIDTH..][..WIDTH];
                let product: f64 = v.iter().zip(row).map(|(a, &b)| a * f64::from(b)).sum();
                (product / 0.2).exp() / 3.0
            };
            let c = 6.0 / SAMPLES as f64;
            want -= (p(i) / (p(i) + c)).ln();
            for j in (0..SAMPLES).filter(|j| j % 3 != i % 3) {
                want -= (c / (p(j) + c)).ln();
            }
        }
    }
    want /= own.len() as f64;
    let got = contrast(&method, &step);
    assert!((got - want).abs() < 1e-5 * want, "{got} and {want}");
}

#[test]
fn the_first_batch_gives_the_normalisers_and_later_ones_keep_them() {
    let method = crd(100);
    let fresh = step(&[4, 0], 0.0);
    let writes = method.loss(&fresh).writes;
    let written = writes.iter().find(|write| write.array == NORMALISERS).unwrap();
    for (side, rows) in vectors(&fresh).iter().enumerate() {
        let bank = &fresh.memory[2 - side];
        let mut all = Vec::new();
        for (v, i) in rows.iter().zip([4, 0]) {
            for j in (0..SAMPLES).filter(|&j| j == i || j % 3 != i % 3) {
                let row = &bank[j * WIDTH..][..WIDTH];
                let product: f64 = v.iter().zip(row).map(|(a, &b)| a * f64::from(b)).sum();
                all.push((product / 0.2).exp());
            }
        }
        let want = all.iter().sum::<f64>() / all.len() as f64 * SAMPLES as f64;
        assert!((f64::from(written.values[side]) - want).abs() < 1e-5 * want, "{written:?}");
    }
    let writes = method.loss(&step(&[4, 0], 3.0)).writes;
    let kept = writes.iter().find(|write| write.array == NORMALISERS).unwrap();
    assert_eq!(kept.values, [3.0, 3.0]);
}

#[test]
fn banks_move_half_way_to_the_batchs_vectors() {
    let (method, own) = (crd(2), [7, 2]);
    let step = step(&own, 3.0);
    let writes = method.loss(&step).writes;
    for (side, rows) in vectors(&step).iter().enumerate() {
        let write = writes.iter().find(|write| write.array == 1 + side).unwrap();
        assert_eq!(write.rows, own);
        for ((got, v), &i) in write.values.chunks(WIDTH).zip(rows).zip(&own) {
            let old = &step.memory[1 + side][i * WIDTH..][..WIDTH];
            let mixed: Vec<f64> =
                v.iter().zip(old).map(|(v, &old)| 0.5 * f64::from(old) + 0.5 * v).collect();
            let length = mixed.iter().map(|v| v * v).sum::<f64>().sqrt();
            for (got, want) in got.iter().zip(mixed) {
                assert!((f64::from(*got) - want / length).abs() < 1e-6, "{got}");
            }
        }
    }
}

#[test]
fn negatives_are_different_samples_of_other_classes() {
    let labels: Vec<u32> = (0..200).map(|i| i % 4).collect();
    let samples = TrainingSamples::new((0..200).map(SampleId).zip(labels.iter().copied()));
    let own: Vec<usize> = (0..64).collect();
    for count in [1, 20, 149, 150, 1000] {
        let drawn = drawn_negatives(8, &samples, &own, count);
        for (&i, drawn) in own.iter().zip(&drawn) {
            assert_eq!(drawn.len(), count.min(150));
            assert!(drawn.iter().all(|&j| labels[j as usize] != labels[i]));
            let different: std::collections::BTreeSet<_> = drawn.iter().collect();
            assert_eq!(different.len(), drawn.len());
        }
    }
    assert_ne!(drawn_negatives(8, &samples, &own, 20), drawn_negatives(9, &samples, &own, 20));
}

#[test]
fn the_order_of_a_batch_changes_nothing() {
    let method = crd(2);
    let (a, b) =
        (contrast(&method, &step(&[1, 6, 8], 3.0)), contrast(&method, &step(&[8, 1, 6], 3.0)));
    assert!((a - b).abs() < 1e-6 * a, "{a} and {b}");
}

#[test]
fn huge_vectors_equal_vectors_and_a_single_class_stay_finite() {
    for factor in [0.0_f32, 1.0, 1e8] {
        let mut own = step(&[1, 6], 0.0);
        own.student_maps = vec![(own.student_maps[0].clone() * factor).detach().require_grad()];
        let method = Crd::new(CrdConfig { width: WIDTH, ..CrdConfig::default() });
        let loss = method.loss(&own);
        let total = loss.terms[1].value.clone();
        assert!(total.clone().into_scalar::<f32>().is_finite(), "{factor}");
        let gradient = own.student_maps[0].grad(&total.backward()).unwrap();
        assert!(numbers(&gradient).iter().all(|g| g.is_finite()), "{factor}");
    }
    let mut alone = step(&[1, 6], 0.0);
    alone.samples = Arc::new(TrainingSamples::new((0..SAMPLES as u64).map(|i| (SampleId(i), 0))));
    assert_eq!(contrast(&crd(5), &alone), 0.0, "nothing to be told from");
}
