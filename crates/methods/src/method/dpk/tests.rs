//! What the documentation promises of the teacher's share.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::{Device, Gradients, Int};
use faculty_nets::{Graph, Network};

use super::*;

const BATCH: usize = 5;
const POSITIONS: usize = 4;

fn device() -> Device {
    Device::flex().autodiff()
}

fn map(channels: usize, side: usize, seed: u64) -> Tensor<4> {
    let values: Vec<f32> = (0..BATCH * channels * side * side)
        .map(|i| draw(Purpose::Method, seed, i as u64, 0, 0) as f32 / u64::MAX as f32 - 0.5)
        .collect();
    Tensor::from_data(TensorData::new(values, [BATCH, channels, side, side]), &device())
}

/// A student's map of 3×2×2 and teachers' of 6×4×4 and 5×2×2, at start values.
fn step(method: &Dpk, student: Tensor<4>, teachers: &[Tensor<4>]) -> Step {
    let shape = |map: &Tensor<4>| {
        let [_, channels, height, width] = map.dims();
        BTreeMap::from([(Tap::Map, MapShape::new(channels, height, width))])
    };
    let shapes = Shapes {
        classes: 2,
        batch_size: BATCH,
        samples: 0,
        student: shape(&student),
        teachers: teachers.iter().map(shape).collect(),
    };
    let start = |specs| Network::from_graph("start", Graph::of_parameters(specs), 1);
    let parts = method.parts(&shapes);
    let parameters = start(parts.parameters);
    let parameters = parameters.parameters().iter().map(|values| {
        let data = TensorData::new(values.clone(), [values.len()]);
        Tensor::<1>::from_data(data, &device()).require_grad()
    });
    let memory = start(parts.memory);
    Step {
        step_seed: 9,
        parameters: parameters.collect(),
        memory: memory.parameters().iter().cloned().map(Arc::new).collect(),
        student_maps: vec![student.require_grad()],
        teacher_maps: teachers.iter().map(|map| vec![map.clone()]).collect(),
        ..Step::of_logits(
            Tensor::<1, Int>::zeros([BATCH], &device()),
            Tensor::zeros([BATCH, 2], &device()),
            Tensor::zeros([teachers.len(), BATCH, 2], &device()),
        )
    }
}

fn two_teachers() -> [Tensor<4>; 2] {
    [map(6, 4, 2), map(5, 2, 3)]
}

fn fixed(ratio: f64) -> Dpk {
    Dpk::new(DpkConfig { ratio: Ratio::Fixed(ratio), head_width: 2, ..DpkConfig::default() })
}

fn feature_term(method: &Dpk, step: &Step) -> Tensor<1> {
    let loss = method.loss(step);
    loss.terms.iter().find(|term| term.name == "prior").unwrap().value.clone()
}

fn size<const D: usize>(leaf: &Tensor<D>, gradients: &Gradients) -> f32 {
    leaf.grad(gradients).map_or(0.0, |gradient| gradient.abs().sum().into_scalar::<f32>())
}

#[test]
fn at_full_share_the_feature_term_gives_the_student_no_gradient() {
    for (ratio, reached) in [(1.0, false), (0.5, true), (0.0, true)] {
        let method = fixed(ratio);
        let step = step(&method, map(3, 2, 1), &two_teachers());
        let gradients = feature_term(&method, &step).backward();
        assert_eq!(size(&step.student_maps[0], &gradients) > 0.0, reached, "π = {ratio}");
    }
}

#[test]
fn at_no_share_the_teachers_tokens_take_no_part() {
    for (ratio, reached) in [(1.0, true), (0.5, true), (0.0, false)] {
        let method = fixed(ratio);
        let step = step(&method, map(3, 2, 1), &two_teachers()[..1]);
        let gradients = feature_term(&method, &step).backward();
        // The first two are the student's projection, the next two the teacher's.
        assert_eq!(size(&step.parameters[2], &gradients) > 0.0, reached, "π = {ratio}");
        assert_eq!(size(&step.parameters[0], &gradients) > 0.0, ratio < 1.0, "π = {ratio}");
    }
}

#[test]
fn several_teachers_count_alike() {
    let method = fixed(0.0);
    let [a, b] = two_teachers();
    let value = |teachers: &[Tensor<4>]| {
        feature_term(&method, &step(&method, map(3, 2, 1), teachers)).into_scalar::<f32>()
    };
    let both = value(&[a.clone(), b]);
    // The first has the same start values alone; the second's go by its place.
    let gap = 2.0 * both - value(&[a]);
    assert!(both > 0.0 && gap > 0.0, "{both} {gap}");
}

#[test]
fn the_share_follows_a_moving_average_of_cka() {
    let method = Dpk::new(DpkConfig { head_width: 2, ..DpkConfig::default() });
    let (student, teachers) = (map(3, 2, 1), two_teachers());
    let mut step = step(&method, student.clone(), &teachers);
    let own = numbers(&student);
    let cka = |k: usize| minibatch_cka(&own, &numbers(&teachers[k]), BATCH) as f32;
    let writes = method.loss(&step).writes;
    let first = |k: usize| Write { array: 0, rows: vec![k], values: vec![cka(k), 1.0] };
    assert_eq!(writes, [first(0), first(1)]);

    step.memory = vec![Arc::new(vec![0.75, 1.0, 0.25, 1.0])];
    let writes = method.loss(&step).writes;
    for (k, before) in [0.75, 0.25].into_iter().enumerate() {
        let want = 0.9 * before + 0.1 * cka(k);
        assert!((writes[k].values[0] - want).abs() < 1e-6, "{writes:?}");
        let (ratio, _) = method.ratio(&step, k);
        assert!((ratio - (1.0 - f64::from(want))).abs() < 1e-6, "{ratio}");
    }
}

#[test]
fn a_teacher_that_is_like_the_student_gives_nothing() {
    let method = Dpk::new(DpkConfig { head_width: 2, ..DpkConfig::default() });
    let own = map(3, 2, 1);
    let step = step(&method, own.clone(), &[own * 2.0]);
    let (ratio, mean) = method.ratio(&step, 0);
    assert!(ratio < 1e-6 && mean.unwrap() > 0.999_99, "{ratio} {mean:?}");
}

#[test]
fn every_sample_has_as_many_positions_drawn_and_others_at_another_batch() {
    for taken in 0..=POSITIONS {
        let drawn = drawn_positions(3, 0, 20, POSITIONS, taken);
        for row in drawn.chunks(POSITIONS) {
            assert_eq!(row.iter().filter(|&&m| m == 1.0).count(), taken);
            assert_eq!(row.iter().filter(|&&m| m == 0.0).count(), POSITIONS - taken);
        }
    }
    let drawn = drawn_positions(3, 0, 20, POSITIONS, 2);
    assert_eq!(drawn, drawn_positions(3, 0, 20, POSITIONS, 2));
    assert_ne!(drawn, drawn_positions(4, 0, 20, POSITIONS, 2));
    assert_ne!(drawn, drawn_positions(3, 1, 20, POSITIONS, 2));
}
