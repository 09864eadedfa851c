//! Every loss through the whole student: the gradient that the learner gives against central
//! differences of the loss that it reports.

use faculty_data::SampleId;
use faculty_data::View;
use faculty_distill::class_cost::ClassCost;
use faculty_distill::compute::Compute;
use faculty_distill::learner::{Learner, LearnerBatch, TeacherTraits, TrainingSamples};
use faculty_distill::methods::{
    Aekd, AekdF, AekdFConfig, AmtmlKd, AmtmlKdConfig, At, AtConfig, Aver, BestTeacher, CaMkd,
    CaMkdConfig, CalibratedConfidence, Ce, Ckd, ClassReliability, Crd, CrdConfig, Dih, DihConfig,
    Dist, Dkd, Dml, Dpk, DpkConfig, Ebkd, Facts, Fitnet, FitnetConfig, FitnetMkd, FitnetMkdConfig,
    Kd, MaxProbability, MeanOfLogits, MeanOfProbabilities, Method, Mmkd, MmkdConfig, MtBert, Ot,
    OtConfig, Pkt, PktConfig, RandomTeacher, Ratio, Reduce, ReviewKd, ReviewKdConfig, Rkd, SemCkd,
    SemCkdConfig, SimKd, Sp, SpConfig, Vid,
};
use faculty_distill::optimizer::OptimizerConfig;
use faculty_distill::preflight::TeacherProfile;
use faculty_distill::tap::Tap;
use faculty_nets::Network;
use faculty_teachers::traits_of;
use faculty_teachers::{NetworkTeacher, TeacherBatch, TeacherOutputs, TeacherSource};

use crate::data::{CLASSES, SIDE, network, network_of, unit};

pub(crate) const BATCH: usize = 6;

fn teachers(classes: usize, count: u64, taps: &[Tap]) -> Vec<NetworkTeacher> {
    (0..count)
        .map(|k| {
            // Fresh networks say almost nothing; larger classifiers make them disagree.
            let mut own = network_of(classes, 100 + k);
            for name in ["fc.weight", "fc.bias"] {
                let position = own.graph().parameters().iter().position(|p| p.name == name);
                let values = &mut own.parameters_mut()[position.unwrap()];
                values.iter_mut().for_each(|w| *w *= 8.0);
            }
            NetworkTeacher::new(&own, None, taps)
        })
        .collect()
}

pub(crate) struct Setup {
    classes: usize,
    ids: Vec<SampleId>,
    images: Vec<f32>,
    labels: Vec<u32>,
    outputs: Vec<TeacherOutputs>,
    pub(crate) traits: Vec<TeacherTraits>,
}

impl Setup {
    /// With what the teachers say at `taps`, as far as they have them.
    pub(crate) fn new(teacher_count: u64, taps: &[Tap]) -> Self {
        Self::of_classes(CLASSES, teacher_count, taps)
    }

    pub(crate) fn of_classes(classes: usize, teacher_count: u64, taps: &[Tap]) -> Self {
        let pixels = BATCH * SIDE * SIDE;
        let images: Vec<f32> =
            (0..pixels).map(|i| (2.0 * unit(i as u64, 7) - 1.0) as f32).collect();
        let sources = teachers(classes, teacher_count, taps);
        let there = |tap: &Tap| sources.iter().all(|teacher| teacher.tap_shape(*tap).is_some());
        let taps: Vec<Tap> = taps.iter().copied().filter(there).collect();
        let labels = (0..BATCH).map(|i| (i % classes) as u32).collect();
        let traits = sources.iter().map(|teacher| traits_of(teacher, &taps)).collect();
        let ids = (0..BATCH as u64).map(SampleId).collect();
        let setup = Self { classes, ids, images, labels, outputs: Vec::new(), traits };
        Self { outputs: setup.outputs_at(teacher_count, &taps), ..setup }
    }

    /// What the teachers say at other taps.
    pub(crate) fn outputs_at(&self, teacher_count: u64, taps: &[Tap]) -> Vec<TeacherOutputs> {
        let batch =
            TeacherBatch { ids: &self.ids, view: View::Train(0), inputs: (&self.images).into() };
        let mut sources = teachers(self.classes, teacher_count, taps);
        sources.iter_mut().map(|t| t.outputs(&batch, taps).unwrap()).collect()
    }

    /// A learner of this method on the student of these tests.
    pub(crate) fn learner(&self, method: Box<dyn Method>) -> Learner {
        let student = method.student(network_of(self.classes, 5), &self.traits, 5).unwrap();
        Learner::new(student, method, &self.traits, BATCH, 5, &Compute::Kernels)
            .with_samples(self.samples())
    }

    /// The training split that the batch is from: it and as many again.
    pub(crate) fn samples(&self) -> TrainingSamples {
        let labels = self.labels.iter().chain(&self.labels).copied();
        TrainingSamples::new((0..2 * BATCH as u64).map(SampleId).zip(labels))
    }

    /// The batch's first images.
    pub(crate) fn first_inputs(&self, count: usize) -> faculty_data::Input<'_> {
        (&self.images[..count * SIDE * SIDE]).into()
    }

    /// What the teachers say of them.
    pub(crate) fn first_outputs(&self, count: usize) -> Vec<TeacherOutputs> {
        let first = |values: &Vec<f32>| values[..values.len() / BATCH * count].to_vec();
        let of = |own: &TeacherOutputs| TeacherOutputs {
            logits: first(&own.logits),
            maps: own.maps.iter().map(first).collect(),
        };
        self.outputs.iter().map(of).collect()
    }

    pub(crate) fn batch(&self) -> LearnerBatch<'_> {
        LearnerBatch {
            epoch: 2,
            step_seed: 0,
            ids: &self.ids,
            inputs: (&self.images).into(),
            labels: &self.labels,
            mixed: None,
            teachers: &self.outputs,
        }
    }
}

/// All trained networks of a learner, the student first.
fn networks(learner: &mut Learner) -> Vec<&mut Network> {
    learner.trained_mut().map(|(_, trained)| &mut trained.network).collect()
}

const PLAIN: OptimizerConfig =
    OptimizerConfig::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 };

pub(crate) fn check(method: impl Fn() -> Box<dyn Method>, teacher_count: u64) {
    let setup = Setup::new(teacher_count, &method().needs(2).teacher_taps);
    let fresh = || {
        let mut learner = setup.learner(method());
        if !learner.memory().is_empty() {
            // What a first batch leaves, so that the loss does not depend on it any more.
            learner.gradients(&setup.batch());
            learner.update(&PLAIN, 0.0, None, 2);
        }
        learner
    };
    let mut learner = fresh();
    learner.gradients(&setup.batch());
    let gradients: Vec<Vec<Vec<f32>>> =
        learner.trained().map(|(_, trained)| trained.gradients().to_vec()).collect();
    let frozen = learner.method().needs(2).frozen_parameters;
    let names: Vec<String> = learner.trained().map(|(name, _)| name).collect();
    for (network_index, of_network) in gradients.iter().enumerate() {
        if frozen && names[network_index] == "method" {
            assert!(of_network.iter().flatten().all(|&g| g == 0.0));
            continue;
        }
        // Along the whole gradient of one network at once: the derivative is its norm.
        let norm: f64 =
            of_network.iter().flatten().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        assert!(norm > 1e-3, "network {network_index} gets a gradient, norm {norm}");
        let loss_at = |step: f64| {
            let mut learner = fresh();
            let mut all = networks(&mut learner);
            for (w, g) in all[network_index].parameters_mut().iter_mut().zip(of_network) {
                for (w, g) in w.iter_mut().zip(g) {
                    *w += (step * f64::from(*g) / norm) as f32;
                }
            }
            learner.gradients(&setup.batch()).loss
        };
        let step = 1e-3;
        let difference = (loss_at(step) - loss_at(-step)) / (2.0 * step);
        // f32 losses and ReLU corners leave about a percent.
        assert!(
            (difference - norm).abs() < 0.03 * norm,
            "{:?}, network {network_index}: gradient norm {norm}, difference {difference}",
            learner.method()
        );
    }
}

#[test]
fn ce_matches_finite_differences() {
    check(|| Box::new(Ce), 0);
}

#[test]
fn kd_matches_finite_differences() {
    check(|| Box::new(Kd::default()), 1);
}

#[test]
fn aver_matches_finite_differences() {
    check(|| Box::new(Aver::default()), 3);
}

#[test]
fn dml_among_two_peers_matches_finite_differences() {
    check(|| Box::new(Dml), 2);
}

#[test]
fn rules_of_the_output_layer_match_finite_differences() {
    check(|| Box::new(Ebkd::default()), 3);
    check(|| Box::new(Dih::default()), 3);
    let config = DihConfig { alpha: 0.9, reduce: Reduce::Sum, ..DihConfig::default() };
    check(move || Box::new(Dih::new(config)), 3);
    check(|| Box::new(MaxProbability::default()), 3);
    check(|| Box::new(RandomTeacher::default()), 3);
    check(|| Box::new(MeanOfProbabilities::default()), 3);
    check(|| Box::new(MeanOfLogits::default()), 3);
}

#[test]
fn aekd_with_one_teacher_matches_finite_differences() {
    // The weights of several teachers move with the student and carry no gradient; the reference
    // files hold their gradient.
    check(|| Box::new(Aekd::default()), 1);
}

#[test]
fn ca_mkd_output_part_matches_finite_differences() {
    let config = CaMkdConfig { intermediate: false, ..CaMkdConfig::default() };
    check(move || Box::new(CaMkd::new(config)), 3);
}

#[test]
fn ca_mkd_with_gradient_through_its_weights_matches_finite_differences() {
    // With detached weights the reported loss moves with the weights and the gradient does not, so
    // only the form that lets the gradient through can be compared with differences of the loss.
    let config = CaMkdConfig { detach_inter_weight: false, beta: 5.0, ..CaMkdConfig::default() };
    check(move || Box::new(CaMkd::new(config)), 3);
}

#[test]
fn ca_mkd_with_one_teacher_matches_finite_differences() {
    // One teacher has weight 1 whatever it says, so detaching changes nothing.
    let config = CaMkdConfig { beta: 5.0, ..CaMkdConfig::default() };
    check(move || Box::new(CaMkd::new(config)), 1);
}

/// A method that knows three unequal teachers.
fn prepared(mut method: impl Method + 'static) -> Box<dyn Method> {
    method.prepare(Facts::Profiles(&profiles(CLASSES, 3)));
    Box::new(method)
}

/// Unequal costs between each teacher's classes and those of the data.
pub(crate) fn class_costs(classes: usize, count: usize) -> Vec<ClassCost> {
    let cost = |k: usize| {
        let values = (0..classes * classes).map(|i| unit(i as u64, 40 + k as u64)).collect();
        ClassCost::new(classes, values, &vec![Vec::new(); classes])
    };
    (0..count).map(cost).collect()
}

#[test]
fn ot_matches_finite_differences() {
    for lambda in [1.0, 20.0] {
        check(
            || {
                let mut method = Ot::new(OtConfig { lambda, ..OtConfig::default() });
                method.prepare(Facts::ClassCosts(&class_costs(CLASSES, 2)));
                Box::new(method)
            },
            2,
        );
    }
}

/// What the preflight might say of unequal teachers, at most four.
pub(crate) fn profiles(classes: usize, count: usize) -> Vec<TeacherProfile> {
    [(40.0, 0.7), (60.0, 1.5), (50.0, 3.0), (30.0, 1.0)]
        .into_iter()
        .take(count)
        .map(|(top1, temperature)| TeacherProfile {
            name: format!("t{top1}"),
            top1,
            nll: 100.0 / top1,
            calibrated_nll: 90.0 / top1,
            temperature,
            class_accuracy: (0..classes)
                .map(|class| (top1 + 10.0 * class as f64).min(100.0))
                .collect(),
            class_samples: vec![20; classes],
        })
        .collect()
}

#[test]
fn best_teacher_matches_finite_differences() {
    check(|| prepared(BestTeacher::default()), 3);
}

#[test]
fn calibrated_confidence_matches_finite_differences() {
    check(|| prepared(CalibratedConfidence::default()), 3);
}

#[test]
fn class_reliability_matches_finite_differences() {
    check(|| prepared(ClassReliability::default()), 3);
}

#[test]
fn dkd_and_dist_match_finite_differences() {
    check(|| Box::new(Dkd::default()), 2);
    check(|| Box::new(Dist::default()), 2);
}

#[test]
fn hints_match_finite_differences() {
    let config = FitnetConfig { beta: 2.0, ..FitnetConfig::default() };
    check(move || Box::new(Fitnet::new(config)), 1);
    let config = FitnetMkdConfig { beta: 2.0, ..FitnetMkdConfig::default() };
    check(move || Box::new(FitnetMkd::new(config)), 2);
}

#[test]
fn feature_terms_match_finite_differences() {
    check(|| Box::new(At::new(AtConfig { beta: 10.0, ..AtConfig::default() })), 2);
    check(|| Box::new(Sp::new(SpConfig { beta: 10.0, ..SpConfig::default() })), 2);
    check(|| Box::new(Rkd::default()), 2);
    check(|| Box::new(Pkt::new(PktConfig { beta: 100.0, ..PktConfig::default() })), 2);
    check(|| Box::new(Vid::default()), 2);
    check(|| Box::<MtBert>::default(), 2);
}

#[test]
fn aekd_f_with_one_teacher_matches_finite_differences() {
    let config = AekdFConfig { beta: 2.0, ..AekdFConfig::default() };
    check(move || Box::new(AekdF::new(config)), 1);
}

#[test]
fn amtml_kd_matches_finite_differences() {
    // Its relations take the target as a constant, though it moves with student and weights.
    let config = AmtmlKdConfig { distance: 0.0, angle: 0.0, ..AmtmlKdConfig::default() };
    check(move || Box::new(AmtmlKd::new(config)), 3);
}

#[test]
fn parameters_of_amtml_kd_stay_once_they_are_learnt() {
    let config = AmtmlKdConfig { learn_epochs: 1, ..AmtmlKdConfig::default() };
    let method = || Box::new(AmtmlKd::new(config));
    let setup = Setup::new(3, &method().needs(1).teacher_taps);
    let mut learner =
        Learner::new(network(5), method(), &setup.traits, BATCH, 5, &Compute::Kernels);
    let optimizer = OptimizerConfig::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.1 };
    let values = |learner: &mut Learner| -> Vec<Vec<f32>> {
        networks(learner).iter().map(|network| network.parameters().concat()).collect()
    };
    let mut before = values(&mut learner);
    for epoch in 1..=3 {
        learner.gradients(&LearnerBatch { epoch, ..setup.batch() });
        learner.update(&optimizer, 0.1, Some(1.0), epoch);
        let after = values(&mut learner);
        let changed: Vec<bool> = before.iter().zip(&after).map(|(a, b)| a != b).collect();
        // Student, three hints, and what the weights are made of.
        assert_eq!(changed, [true, true, true, true, epoch == 1], "epoch {epoch}");
        before = after;
    }
}

#[test]
fn reviewkd_and_ckd_match_finite_differences() {
    let config = ReviewKdConfig { beta: 1.0, warmup_epochs: 1, ..ReviewKdConfig::default() };
    check(move || Box::new(ReviewKd::new(config)), 2);
    check(|| Box::new(Ckd::default()), 2);
}

#[test]
fn semckd_matches_finite_differences() {
    let config = SemCkdConfig { beta: 100.0, ..SemCkdConfig::default() };
    check(move || Box::new(SemCkd::new(config)), 1);
}

#[test]
fn mmkd_with_one_teacher_matches_finite_differences() {
    // The weights of several teachers move with the student and carry no gradient.
    let config = MmkdConfig { beta: 2.0, ..MmkdConfig::default() };
    check(move || Box::new(Mmkd::new(config)), 1);
}

#[test]
fn dpk_matches_finite_differences() {
    // The dynamic ratio moves with the student and carries no gradient, but only in steps: it counts
    // positions.
    let config = DpkConfig { lambda: 5.0, head_width: 2, ..DpkConfig::default() };
    check(move || Box::new(Dpk::new(config)), 2);
    let config = DpkConfig { ratio: Ratio::Fixed(0.5), ..config };
    check(move || Box::new(Dpk::new(config)), 1);
}

#[test]
fn crd_matches_finite_differences() {
    let config =
        CrdConfig { width: 8, negatives: 4, contrast_temperature: 0.3, ..CrdConfig::default() };
    check(move || Box::new(Crd::new(config)), 2);
}

#[test]
fn simkd_matches_finite_differences_and_leaves_the_classifier_alone() {
    check(|| Box::<SimKd>::default(), 1);
    let setup = Setup::new(1, &SimKd::default().needs(1).teacher_taps);
    for device in [Compute::Kernels, Compute::of(faculty_distill::recipe::Device::CpuBurn).unwrap()]
    {
        let student = SimKd::default().student(network(5), &setup.traits, 5).unwrap();
        let mut learner =
            Learner::new(student, Box::<SimKd>::default(), &setup.traits, BATCH, 5, &device);
        let classifier = |learner: &Learner| {
            let own = learner.student.network.classifier().unwrap();
            (own.weight.to_vec(), own.bias.to_vec())
        };
        let teachers = setup.traits[0].classifier.clone().unwrap();
        let optimizer = OptimizerConfig::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.1 };
        for _ in 0..2 {
            assert_eq!(classifier(&learner), (teachers.weight.clone(), teachers.bias.clone()));
            let before = learner.student.network.parameters().concat();
            learner.gradients(&setup.batch());
            learner.update(&optimizer, 0.1, Some(1.0), 1);
            assert_ne!(before, learner.student.network.parameters().concat());
        }
    }
}
