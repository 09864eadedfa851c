//! The loss against its formula in `f64`, the gradients against finite differences of it.

use super::*;
use crate::testing::{Seeded, assert_same_for_any_threads, wide};

/// Rows, classes, widths of student and teacher (0: no teacher), temperature.
type Sizes = (usize, usize, usize, usize, f32);

struct Data {
    classes: usize,
    width: usize,
    teacher_width: usize,
    temperature: f32,
    hidden: Vec<f32>,
    weight: Vec<f32>,
    teacher_hidden: Vec<f32>,
    teacher_weight: Vec<f32>,
    labels: Vec<u32>,
    ce_factor: Vec<f32>,
    kd_factor: Vec<f32>,
}

impl Data {
    fn new((rows, classes, width, teacher_width, temperature): Sizes) -> Self {
        let mut seeded = Seeded((rows + classes) as u64);
        let labels = (0..rows).map(|_| (seeded.next_u64() % classes as u64) as u32).collect();
        let mut values =
            |len: usize| -> Vec<f32> { seeded.values(len).iter().map(|x| 2.0 * x).collect() };
        Self {
            classes,
            width,
            teacher_width,
            temperature,
            hidden: values(rows * width),
            weight: values(classes * width),
            teacher_hidden: values(rows * teacher_width),
            teacher_weight: values(classes * teacher_width),
            labels,
            // Some rows are masked.
            ce_factor: (0..rows).map(|row| [0.5, 0.0, 0.25][row % 3]).collect(),
            kd_factor: (0..rows).map(|row| [0.75, 0.0, 0.0, 1.0][row % 4]).collect(),
        }
    }

    fn targets(&self) -> Targets<'_> {
        let &Self { temperature, teacher_width: width, .. } = self;
        let teacher = (width > 0).then_some((
            Head { hidden: &self.teacher_hidden, weight: &self.teacher_weight, width },
            &self.kd_factor[..],
        ));
        Targets { labels: &self.labels, ce_factor: &self.ce_factor, teacher, temperature }
    }

    /// Losses, gradients by hidden values and by weight; the last is added to ones.
    fn run(&self) -> (Vec<RowLoss>, Vec<f32>, Vec<f32>) {
        let mut hidden = vec![f32::NAN; self.hidden.len()];
        let mut weight = vec![1.0; self.weight.len()];
        let student = Head { hidden: &self.hidden, weight: &self.weight, width: self.width };
        let grads = HeadGrads { hidden: &mut hidden, weight: &mut weight };
        let losses = head_loss(self.classes, student, &self.targets(), Some(grads));
        assert_eq!(losses, head_loss(self.classes, student, &self.targets(), None));
        (losses, hidden, weight)
    }

    fn formula(&self, hidden: &[f64], weight: &[f64]) -> Vec<RowLoss> {
        let (teacher_hidden, teacher_weight) =
            (wide(&self.teacher_hidden), wide(&self.teacher_weight));
        let teacher = (self.teacher_width > 0).then_some((
            &teacher_hidden[..],
            &teacher_weight[..],
            self.teacher_width,
        ));
        scalar::head_loss(self.classes, (hidden, weight, self.width), teacher, &self.targets())
    }

    fn loss(&self, hidden: &[f64], weight: &[f64]) -> f64 {
        let factors = self.ce_factor.iter().zip(&self.kd_factor);
        let rows = self.formula(hidden, weight).into_iter().zip(factors);
        rows.map(|(row, (&ce, &kd))| f64::from(ce) * row.ce + f64::from(kd) * row.kd).sum()
    }
}

/// Below, at and beyond a block of rows and classes.
const SIZES: [Sizes; 7] = [
    (1, 1, 1, 0, 1.0),
    (3, 5, 4, 0, 1.0),
    (5, 17, 3, 6, 1.0),
    (4, 33, 8, 2, 3.0),
    (3, CLASSES, 4, 3, 2.0),
    (6, CLASSES + 9, 4, 5, 0.5),
    (ROWS + 3, 70, 5, 4, 2.0),
];

#[test]
fn losses_and_gradients_agree_with_the_formula() {
    for sizes in SIZES {
        let data = Data::new(sizes);
        let (losses, by_hidden, by_weight) = data.run();
        let (hidden, weight) = (wide(&data.hidden), wide(&data.weight));
        for (row, (got, want)) in losses.iter().zip(data.formula(&hidden, &weight)).enumerate() {
            // Of logits of up to 20, the distillation term by the square of the temperature.
            assert!((got.ce - want.ce).abs() < 2e-5, "{sizes:?}, {row}: {got:?}, {want:?}");
            assert!((got.kd - want.kd).abs() < 1e-4, "{sizes:?}, {row}: {got:?}, {want:?}");
        }
        let slope = |part: usize, i: usize| {
            let mut values = [hidden.clone(), weight.clone()];
            values[part][i] += 1e-4;
            let above = data.loss(&values[0], &values[1]);
            values[part][i] -= 2e-4;
            (above - data.loss(&values[0], &values[1])) / 2e-4
        };
        for (part, got) in [by_hidden, by_weight].iter().enumerate() {
            let start = part as f64;
            // Some of them: each takes the whole loss.
            for i in (0..got.len()).step_by(got.len() / 30 + 1) {
                let (got, want) = (f64::from(got[i]) - start, slope(part, i));
                let bound = 2e-5 * want.abs() + 2e-5;
                assert!((got - want).abs() < bound, "{sizes:?}, {part}, {i}: {got}, {want}");
            }
        }
    }
}

#[test]
fn masked_rows_pass_no_gradient() {
    let data = Data::new((8, 20, 4, 3, 2.0));
    let (_, by_hidden, _) = data.run();
    // Rows 1 and 2 of three and four: both factors are 0 in row 1.
    assert!(by_hidden[4..8].iter().all(|&g| g == 0.0));
    assert!(by_hidden[..4].iter().any(|&g| g != 0.0));
}

#[test]
fn the_distillation_term_is_zero_for_the_teacher_itself() {
    let mut data = Data::new((7, 3000, 6, 6, 4.0));
    data.teacher_hidden.clone_from(&data.hidden);
    data.teacher_weight.clone_from(&data.weight);
    data.ce_factor.fill(0.0);
    let (losses, by_hidden, by_weight) = data.run();
    assert!(losses.iter().all(|row| row.kd.abs() < 2e-5), "{losses:?}");
    assert!(by_hidden.iter().all(|g| g.abs() < 1e-5));
    assert!(by_weight.iter().all(|g| (g - 1.0).abs() < 1e-5));
}

#[test]
fn huge_logits_stay_finite() {
    let mut data = Data::new((5, 3000, 6, 6, 1.0));
    for x in data.hidden.iter_mut().chain(&mut data.teacher_hidden) {
        *x *= 1e4;
    }
    let (losses, by_hidden, by_weight) = data.run();
    assert!(losses.iter().all(|row| row.ce.is_finite() && row.kd.is_finite()), "{losses:?}");
    assert!(by_hidden.iter().chain(&by_weight).all(|g| g.is_finite()));
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let data = Data::new((40, 2500, 24, 16, 2.0));
    assert_same_for_any_threads("head loss", || {
        let (losses, by_hidden, by_weight) = data.run();
        let losses = losses.iter().flat_map(|row| [row.ce as f32, row.kd as f32]).collect();
        [losses, by_hidden, by_weight].concat()
    });
}

#[test]
#[should_panic(expected = "label 5 of row 1 is not below 5 classes")]
fn a_label_beyond_the_classes_is_refused() {
    let mut data = Data::new((3, 5, 4, 0, 1.0));
    data.labels[1] = 5;
    data.run();
}
