use faculty_data::rng::{Purpose, draw};
use faculty_nets::{MapShape, Network};

use super::*;
use faculty_contract::{LearnerBatch, TeacherTraits};
use faculty_learner::Compute;
use faculty_learner::{Learner, LearnerSandbox, LearningTeacher};
use faculty_nets::OptimizerConfig;
use faculty_nets::{TeacherInput, TeacherOutputs};

// Small maps in small batches bend at every ReLU: differences of the exam's loss are then mostly jumps.
const BATCH: usize = 32;
const CLASSES: usize = 3;
const SHAPE: MapShape = MapShape { channels: 1, height: 28, width: 28 };
/// As the demo's largest: what the teacher's gradient is at θ' is then another one.
const RATE: f32 = 0.04;
const PLAIN: OptimizerConfig =
    OptimizerConfig::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 };

fn numbers_of(seed: u64) -> Vec<f32> {
    let unit = |i: u64| faculty_data::rng::unit(draw(Purpose::Method, seed, i, 0, 0));
    (0..(BATCH * SHAPE.elements()) as u64).map(|i| (2.0 * unit(i) - 1.0) as f32).collect()
}

fn labels(shift: usize) -> Vec<u32> {
    (0..BATCH).map(|i| ((i + shift) % CLASSES) as u32).collect()
}

fn network_of(seed: u64) -> Network {
    Network::new("resnet8x0.5", SHAPE, CLASSES, seed).unwrap()
}

/// A teacher with something to say; its statistics are those of a new network.
fn teacher() -> Network {
    let mut network = network_of(11);
    let names = network.graph().parameters().iter().map(|p| p.name.clone());
    let place = names.into_iter().position(|name| name == "fc.weight").unwrap();
    network.parameters_mut()[place].iter_mut().for_each(|w| *w *= 4.0);
    network
}

fn learner_of(method: Ikd, student: u64) -> Learner {
    let traits = TeacherTraits::of_network(&teacher(), &[]);
    let compute = Compute::Kernels;
    Learner::new(network_of(student), Box::new(method), &[traits], BATCH, 5, &compute)
}

/// A course with this teacher and the exam after it: the exam's loss, and its gradient by the teacher.
fn exam(method: Ikd, student: u64, teacher: &mut LearningTeacher) -> (f64, Vec<Vec<f32>>) {
    let mut learner = learner_of(method, student);
    let (images, own) = (numbers_of(student), labels(0));
    let outputs: Vec<TeacherOutputs> = vec![teacher.outputs((&images).into(), BATCH)];
    let batch = LearnerBatch {
        epoch: 1,
        step_seed: 7,
        ids: &[],
        inputs: (&images).into(),
        labels: &own,
        mixed: None,
        teachers: &outputs,
    };
    learner.gradients(&batch);
    learner.update(&PLAIN, RATE, None, 1);
    let mut sandbox = LearnerSandbox::new(&mut learner, batch, &PLAIN, RATE, None);
    let (loss, direction) = sandbox.cross_entropy((&numbers_of(student + 100)).into(), &labels(1));
    sandbox.restore();
    let by_logits = method.by_teacher_logits(&mut sandbox, &direction).unwrap();
    let gradients = teacher.gradient(&by_logits).to_vec();
    (loss, gradients)
}

fn learning(network: Network) -> LearningTeacher {
    LearningTeacher::new(network, TeacherInput::new(SHAPE, None, None))
}

fn length(vectors: &[Vec<f32>]) -> f64 {
    vectors.iter().flatten().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn the_teachers_gradient_matches_differences_of_the_exam_after_the_students_step() {
    for alpha in [0.5, 1.0] {
        let method = Ikd::new(IkdConfig { alpha, ..IkdConfig::default() });
        let (_, gradients) = exam(method, 5, &mut learning(teacher()));
        let norm = length(&gradients);
        // Of a step of rate 1; the real one is shorter.
        let want = f64::from(RATE) * norm;
        assert!(want > 1e-5, "α = {alpha}: {want}");
        let loss_at = |step: f64| {
            let mut moved = teacher();
            let values = moved.parameters_mut().iter_mut().flatten();
            values
                .zip(gradients.iter().flatten())
                .for_each(|(w, g)| *w += (step * f64::from(*g) / norm) as f32);
            exam(method, 5, &mut learning(moved)).0
        };
        let step = 0.01;
        let difference = (loss_at(step) - loss_at(-step)) / (2.0 * step);
        assert!(
            (difference - want).abs() < 0.1 * want,
            "α = {alpha}: gradient norm {want}, difference {difference}"
        );
    }
}

#[test]
fn a_step_of_the_teacher_makes_the_student_better_in_the_same_exam() {
    let method = Ikd::default();
    let (mut better, mut sum) = (0, 0.0);
    let students = 1..=6;
    for student in students.clone() {
        let mut teacher = learning(teacher());
        let before = teacher.network().state_dict();
        let (first, _) = exam(method, student, &mut teacher);
        teacher.update(1e-4);
        let after = teacher.network().state_dict();
        assert!(before != after, "the teacher moved");
        for (name, values) in &before {
            assert!(!name.contains("running") || *values == after[name], "{name} stays");
        }
        let (second, _) = exam(method, student, &mut teacher);
        better += usize::from(second < first);
        sum += second - first;
    }
    assert!(sum < 0.0 && 2 * better > students.count(), "{better} better, in all {sum}");
}
