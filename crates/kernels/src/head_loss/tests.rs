//! The loss against its formula in `f64`, the gradients against finite differences of it.

use std::path::Path;

use faculty_testkit::{Case, Tolerance};

use super::*;
use crate::testing::{Seeded, assert_same_for_any_threads, wide};

/// Rows, classes, widths of the student and of each teacher, temperature.
type Sizes = (usize, usize, usize, &'static [usize], f32);

/// `[rows, width]`, `[classes, width]`, its width and its weights.
struct OwnTeacher {
    hidden: Vec<f32>,
    weight: Vec<f32>,
    width: usize,
    shares: Vec<f32>,
}

struct Data {
    classes: usize,
    width: usize,
    temperature: f32,
    divergence: Divergence,
    hidden: Vec<f32>,
    weight: Vec<f32>,
    teachers: Vec<OwnTeacher>,
    labels: Vec<u32>,
    ce_factor: Vec<f32>,
    kd_factor: Vec<f32>,
}

impl Data {
    fn new((rows, classes, width, teachers, temperature): Sizes) -> Self {
        let mut seeded = Seeded((rows + classes) as u64);
        let labels = (0..rows).map(|_| (seeded.next_u64() % classes as u64) as u32).collect();
        let mut values =
            |len: usize| -> Vec<f32> { seeded.values(len).iter().map(|x| 2.0 * x).collect() };
        let (hidden, weight) = (values(rows * width), values(classes * width));
        let teacher = |(k, &width): (usize, &usize)| OwnTeacher {
            hidden: values(rows * width),
            weight: values(classes * width),
            width,
            // They sum to 1 over the teachers, and are 0 here and there.
            shares: (0..rows)
                .map(|row| match (row + k) % teachers.len() {
                    _ if teachers.len() == 1 => 1.0,
                    0 => 0.75,
                    1 => 0.25,
                    _ => 0.0,
                })
                .collect(),
        };
        Self {
            classes,
            width,
            temperature,
            divergence: Divergence::Forward,
            hidden,
            weight,
            teachers: teachers.iter().enumerate().map(teacher).collect(),
            labels,
            // Some rows are masked.
            ce_factor: (0..rows).map(|row| [0.5, 0.0, 0.25][row % 3]).collect(),
            kd_factor: (0..rows).map(|row| [0.75, 0.0, 0.0, 1.0][row % 4]).collect(),
        }
    }

    fn with(self, divergence: Divergence) -> Self {
        Self { divergence, ..self }
    }

    fn with_targets<R>(&self, work: impl FnOnce(&Targets<'_>) -> R) -> R {
        let teachers: Vec<(Head<'_>, &[f32])> = self
            .teachers
            .iter()
            .map(|own| {
                let head = Head { hidden: &own.hidden, weight: &own.weight, width: own.width };
                (head, &own.shares[..])
            })
            .collect();
        work(&Targets {
            labels: &self.labels,
            ce_factor: &self.ce_factor,
            kd_factor: &self.kd_factor,
            teachers: &teachers,
            temperature: self.temperature,
            divergence: self.divergence,
        })
    }

    /// Losses, gradients by hidden values and by weight; the last is added to ones.
    fn run(&self) -> (Vec<RowLoss>, Vec<f32>, Vec<f32>) {
        let mut hidden = vec![f32::NAN; self.hidden.len()];
        let mut weight = vec![1.0; self.weight.len()];
        let student = Head { hidden: &self.hidden, weight: &self.weight, width: self.width };
        let grads = HeadGrads { hidden: &mut hidden, weight: &mut weight };
        let losses = self.with_targets(|targets| {
            let losses = head_loss(self.classes, student, targets, Some(grads));
            assert_eq!(losses, head_loss(self.classes, student, targets, None));
            losses
        });
        (losses, hidden, weight)
    }

    fn formula(&self, hidden: &[f64], weight: &[f64]) -> Vec<RowLoss> {
        let wide: Vec<_> = self
            .teachers
            .iter()
            .map(|own| (wide(&own.hidden), wide(&own.weight), own.width))
            .collect();
        let heads: Vec<_> =
            wide.iter().map(|(hidden, weight, width)| (&hidden[..], &weight[..], *width)).collect();
        let student = (hidden, weight, self.width);
        self.with_targets(|targets| scalar::head_loss(self.classes, student, &heads, targets))
    }

    fn loss(&self, hidden: &[f64], weight: &[f64]) -> f64 {
        let factors = self.ce_factor.iter().zip(&self.kd_factor);
        let rows = self.formula(hidden, weight).into_iter().zip(factors);
        rows.map(|(row, (&ce, &kd))| f64::from(ce) * row.ce + f64::from(kd) * row.kd).sum()
    }
}

/// Below, at and beyond a block of rows and classes; one teacher and several.
const SIZES: [Sizes; 8] = [
    (1, 1, 1, &[], 1.0),
    (1, 1, 1, &[1], 1.0),
    (3, 5, 4, &[], 1.0),
    (5, 17, 4, &[7], 1.0),
    (6, 33, 8, &[3, 9, 1], 4.0),
    (ROWS + 3, 7, 3, &[2, 2], 2.0),
    (2, CLASSES, 5, &[4], 1.5),
    (3, 2 * CLASSES + 9, 3, &[2, 1, 4], 0.5),
];

const DIVERGENCES: [Divergence; 6] = [
    Divergence::Forward,
    Divergence::Reverse,
    Divergence::JensenShannon { beta: 0.0 },
    Divergence::JensenShannon { beta: 0.1 },
    Divergence::JensenShannon { beta: 0.5 },
    Divergence::JensenShannon { beta: 1.0 },
];

fn check_against_the_formula(sizes: Sizes, divergence: Divergence) {
    let data = Data::new(sizes).with(divergence);
    let what = format!("{sizes:?}, {divergence:?}");
    let (losses, by_hidden, by_weight) = data.run();
    let (hidden, weight) = (wide(&data.hidden), wide(&data.weight));
    for (row, (got, want)) in losses.iter().zip(data.formula(&hidden, &weight)).enumerate() {
        // Of logits of up to 20, the distillation term by the square of the temperature.
        assert!((got.ce - want.ce).abs() < 2e-5, "{what}, {row}: {got:?}, {want:?}");
        assert!((got.kd - want.kd).abs() < 1e-4, "{what}, {row}: {got:?}, {want:?}");
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
        for i in (0..got.len()).step_by(got.len() / 20 + 1) {
            let (got, want) = (f64::from(got[i]) - start, slope(part, i));
            let bound = 2e-5 * want.abs() + 2e-5;
            assert!((got - want).abs() < bound, "{what}, {part}, {i}: {got}, {want}");
        }
    }
}

#[test]
fn losses_and_gradients_are_the_formulas() {
    for sizes in SIZES {
        check_against_the_formula(sizes, Divergence::Forward);
    }
}

#[test]
fn divergences_from_the_mixture_are_the_formulas() {
    for sizes in [SIZES[1], SIZES[3], SIZES[4], SIZES[7]] {
        for divergence in DIVERGENCES {
            check_against_the_formula(sizes, divergence);
        }
    }
}

#[test]
fn divergences_are_those_of_the_golden_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../methods/tests/golden");
    for number in 0..3 {
        for beta in ["0.0", "0.1", "0.5", "1.0"] {
            let case = Case::read(&folder.join(format!("gjsd_{number}_{beta}.safetensors")));
            let (student, teacher) =
                (case.values("in.student_logits"), case.values("in.teacher_logits"));
            let [rows, classes] = case.tensor("in.student_logits").shape[..] else {
                panic!("logits of a batch")
            };
            // Logits as hidden values, before a head that leaves them as they are.
            let unit: Vec<f32> = (0..classes * classes)
                .map(|i| f32::from(u8::from(i % classes == i / classes)))
                .collect();
            let head = |hidden| Head { hidden, weight: &unit, width: classes };
            let each = vec![1.0 / rows as f32; rows];
            let beta = case.param("beta") as f32;
            let mut divergences = vec![Divergence::JensenShannon { beta }];
            if beta == 1.0 {
                divergences.push(Divergence::Reverse);
            } else if beta == 0.0 {
                divergences.push(Divergence::Forward);
            }
            // Alone, and as two halves of itself.
            for shares in [vec![1.0], vec![0.25, 0.75]] {
                let shares: Vec<_> = shares.iter().map(|&share| vec![share; rows]).collect();
                let teachers: Vec<_> = shares.iter().map(|own| (head(teacher), &own[..])).collect();
                for &divergence in &divergences {
                    let targets = Targets {
                        labels: &vec![0; rows],
                        ce_factor: &vec![0.0; rows],
                        kd_factor: &each,
                        teachers: &teachers,
                        temperature: 1.0,
                        divergence,
                    };
                    let (mut by_logits, mut by_weight) =
                        (vec![0.0; student.len()], vec![0.0; unit.len()]);
                    let grads = HeadGrads { hidden: &mut by_logits, weight: &mut by_weight };
                    let losses = head_loss(classes, head(student), &targets, Some(grads));
                    let loss = losses.iter().map(|row| row.kd).sum::<f64>() / rows as f64;
                    let tolerance = Tolerance { relative: 1e-5, of_largest: 0.0, absolute: 1e-6 };
                    case.compare("out.loss", &[loss as f32], tolerance).unwrap();
                    case.compare("out.grad_student", &by_logits, tolerance).unwrap();
                }
            }
        }
    }
}

#[test]
fn statistics_are_the_formulas() {
    for sizes in [SIZES[0], SIZES[2], SIZES[5], SIZES[7]] {
        let data = Data::new(sizes);
        for temperature in [1.0_f32, 2.5] {
            let head = Head { hidden: &data.hidden, weight: &data.weight, width: data.width };
            let got = head_statistics(data.classes, head, &data.labels, temperature);
            let (hidden, weight) = (wide(&data.hidden), wide(&data.weight));
            let want = scalar::head_statistics(
                data.classes,
                (&hidden, &weight, data.width),
                &data.labels,
                f64::from(temperature),
            );
            for (row, (got, want)) in got.iter().zip(&want).enumerate() {
                let parts = |own: &RowStatistics| {
                    [own.ce, own.log_sum_exp, own.entropy, own.largest_probability]
                };
                for (a, b) in parts(got).into_iter().zip(parts(want)) {
                    assert!((a - b).abs() < 2e-5, "{sizes:?}, {row}: {got:?}, {want:?}");
                }
            }
        }
    }
    // A head that says the same of all classes is as unsure as can be.
    let flat = Head { hidden: &[1.0], weight: &vec![0.5; 5000], width: 1 };
    let [row] = head_statistics(5000, flat, &[4999], 1.0)[..] else { panic!("one row") };
    for value in [row.ce, row.entropy] {
        assert!((value - 5000_f64.ln()).abs() < 1e-6, "{row:?}");
    }
    assert!((row.largest_probability - 1.0 / 5000.0).abs() < 1e-9, "{row:?}");
}

#[test]
fn masked_rows_pass_no_gradient() {
    for divergence in DIVERGENCES {
        let (_, by_hidden, _) = Data::new((8, 20, 4, &[3, 2], 2.0)).with(divergence).run();
        // Rows 1 and 2 of three and four: both factors are 0 in row 1.
        assert!(by_hidden[4..8].iter().all(|&g| g == 0.0));
        assert!(by_hidden[..4].iter().any(|&g| g != 0.0));
    }
}

#[test]
fn where_nobody_counts_there_is_no_term_and_no_gradient() {
    for divergence in DIVERGENCES {
        let mut data = Data::new((5, 2100, 4, &[3, 2], 2.0)).with(divergence);
        data.ce_factor.fill(0.0);
        data.teachers.iter_mut().for_each(|own| own.shares.fill(0.0));
        let (losses, by_hidden, by_weight) = data.run();
        assert!(losses.iter().all(|row| row.kd == 0.0), "{divergence:?}: {losses:?}");
        assert!(by_hidden.iter().all(|&g| g.abs() < 1e-6), "{divergence:?}: {by_hidden:?}");
        assert!(by_weight.iter().all(|&g| (g - 1.0).abs() < 1e-6), "{divergence:?}");
    }
}

#[test]
fn the_distillation_term_is_zero_for_the_teacher_itself() {
    for divergence in DIVERGENCES {
        let mut data = Data::new((7, 3000, 6, &[6, 6], 4.0)).with(divergence);
        for teacher in &mut data.teachers {
            teacher.hidden.clone_from(&data.hidden);
            teacher.weight.clone_from(&data.weight);
        }
        data.ce_factor.fill(0.0);
        let (losses, by_hidden, by_weight) = data.run();
        assert!(losses.iter().all(|row| row.kd.abs() < 2e-5), "{divergence:?}: {losses:?}");
        assert!(by_hidden.iter().all(|g| g.abs() < 2e-5), "{divergence:?}");
        assert!(by_weight.iter().all(|g| (g - 1.0).abs() < 2e-5), "{divergence:?}");
    }
}

#[test]
fn several_teachers_pull_like_their_mixture() {
    // At temperature 1 the sum of divergences and that from the mixture differ by a constant.
    let forward = Data::new((6, 2100, 5, &[4, 3, 6], 1.0));
    let (sum, by_hidden, by_weight) = forward.run();
    let mixture = forward.with(Divergence::JensenShannon { beta: 0.0 });
    let (mixed, hidden, weight) = mixture.run();
    for (a, b) in hidden.iter().chain(&weight).zip(by_hidden.iter().chain(&by_weight)) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    for (sum, mixed) in sum.iter().zip(&mixed) {
        assert!(sum.kd > mixed.kd + 1e-3, "{sum:?} {mixed:?}");
    }
}

#[test]
fn huge_logits_stay_finite() {
    for divergence in DIVERGENCES {
        let mut data = Data::new((5, 3000, 6, &[6, 2], 1.0)).with(divergence);
        let theirs = data.teachers.iter_mut().flat_map(|own| &mut own.hidden);
        for x in data.hidden.iter_mut().chain(theirs) {
            *x *= 1e4;
        }
        let (losses, by_hidden, by_weight) = data.run();
        let finite = |row: &RowLoss| row.ce.is_finite() && row.kd.is_finite();
        assert!(losses.iter().all(finite), "{divergence:?}: {losses:?}");
        assert!(by_hidden.iter().chain(&by_weight).all(|g| g.is_finite()), "{divergence:?}");
        let head = Head { hidden: &data.hidden, weight: &data.weight, width: data.width };
        for row in head_statistics(data.classes, head, &data.labels, 1.0) {
            let all = [row.ce, row.log_sum_exp, row.entropy, row.largest_probability];
            assert!(all.iter().all(|value| value.is_finite()), "{row:?}");
        }
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for divergence in DIVERGENCES {
        let data = Data::new((40, 2500, 24, &[16, 5], 2.0)).with(divergence);
        let head = Head { hidden: &data.hidden, weight: &data.weight, width: data.width };
        assert_same_for_any_threads("head loss", || {
            let (losses, by_hidden, by_weight) = data.run();
            let losses = losses.iter().flat_map(|row| [row.ce as f32, row.kd as f32]).collect();
            let statistics = head_statistics(data.classes, head, &data.labels, 2.0);
            let statistics = statistics.iter().flat_map(|row| [row.ce as f32, row.entropy as f32]);
            [losses, by_hidden, by_weight, statistics.collect()].concat()
        });
    }
}

#[test]
fn no_rows_have_no_loss() {
    for divergence in DIVERGENCES {
        let (losses, by_hidden, by_weight) =
            Data::new((0, 6, 3, &[2, 2], 1.0)).with(divergence).run();
        assert!(losses.is_empty() && by_hidden.is_empty() && by_weight == [1.0; 18]);
    }
}

#[test]
#[should_panic(expected = "label 5 of row 1 is not below 5 classes")]
fn a_label_beyond_the_classes_is_refused() {
    let mut data = Data::new((3, 5, 4, &[], 1.0));
    data.labels[1] = 5;
    data.run();
}

#[test]
#[should_panic(expected = "`beta` is 1.5, it must be from 0 to 1")]
fn a_beta_outside_its_range_is_refused() {
    Data::new((3, 5, 4, &[2], 1.0)).with(Divergence::JensenShannon { beta: 1.5 }).run();
}
