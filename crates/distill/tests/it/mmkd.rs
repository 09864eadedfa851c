//! MMKD's meta steps on a student: what they leave alone.

use std::collections::BTreeMap;

use faculty_data::{BatchLoader, LoaderConfig, View, ViewSettings};
use faculty_distill::compute::Compute;
use faculty_distill::learner::{Learner, LearnerBatch};
use faculty_distill::methods::{Method, Mmkd, MmkdConfig};
use faculty_distill::optimizer::{OptimizerConfig, OptimizerState};
use faculty_distill::tap::Tap;
use faculty_nets::{Network, weights};
use faculty_teachers::traits_of;
use faculty_teachers::{NetworkTeacher, TeacherBatch, TeacherSource as _};

use crate::data::{CLASSES, dataset, network};
use crate::finite_differences::{BATCH, Setup};
use crate::resume::resumed_equals_undisturbed;
use crate::runs::{recipe, run};

#[test]
fn a_meta_step_changes_the_weight_networks_and_nothing_else() {
    let config = MmkdConfig { meta_every: 1, buffer: 6, beta: 2.0, ..MmkdConfig::default() };
    let method = || Box::new(Mmkd::new(config));
    let setup = Setup::new(2, &method().needs(1).teacher_taps);
    let optimizer = OptimizerConfig::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 };
    for compute in
        [Compute::Kernels, Compute::of(faculty_distill::recipe::Device::CpuBurn).unwrap()]
    {
        let mut learner = Learner::new(network(5), method(), &setup.traits, BATCH, 5, &compute);
        let mut stepped = 0;
        for _ in 0..4 {
            learner.gradients(&setup.batch());
            learner.update(&optimizer, 0.05, None, 2);
            // With the optimiser's memory and the running statistics.
            let state =
                |learner: &Learner| -> BTreeMap<String, (weights::StateDict, OptimizerState)> {
                    let all = learner.trained();
                    all.map(|(name, t)| (name, (t.network.state_dict(), t.optimizer.clone())))
                        .collect()
                };
            let before = state(&learner);
            let readings = learner.after_step(&setup.batch(), &optimizer, 0.05, None);
            let after = state(&learner);
            for (name, own) in &before {
                let stays = name != "method" || readings.is_empty();
                assert_eq!(own == &after[name], stays, "{name}, {readings:?}");
            }
            assert_eq!(before.len(), 4, "student, two projectors and the weight networks");
            stepped += usize::from(!readings.is_empty());
        }
        assert!(stepped > 0, "the student missed something");
    }
}

#[test]
fn weights_of_outputs_move_toward_the_useful_teacher() {
    let folder = tempfile::tempdir().unwrap();
    let trained = folder.path().join("trained");
    run(&recipe(folder.path(), "ce", 0, &["train.epochs=6"]), &trained).unwrap();
    let path = trained.join("student.safetensors");
    let shape = network(1).graph().input_shape();
    let teacher = Network::load("resnet8x0.5", shape, CLASSES, &path).unwrap();
    let mut teacher = NetworkTeacher::new(&teacher, None, &[Tap::Map]);
    let traits = traits_of(&teacher, &[Tap::Map]);

    let config = MmkdConfig {
        meta_every: 1,
        buffer: 64,
        meta_rate: 3e-3,
        beta: 10.0,
        ..MmkdConfig::default()
    };
    let (method, size) = (Box::new(Mmkd::new(config)), 32);
    let compute = Compute::Kernels;
    let mut learner =
        Learner::new(network(5), method, &[traits.clone(), traits], size, 5, &compute);
    let optimizer = OptimizerConfig::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 };
    let part = dataset().train_split();
    let views = ViewSettings::plain(part.normalisation().unwrap());
    // Of every batch the mean weight of the useful teacher's outputs.
    let mut useful: Vec<f64> = Vec::new();
    for epoch in 1..=10_u64 {
        let config = LoaderConfig::new(size, views.clone()).with_drop_last(true);
        for batch in BatchLoader::new(&part, part.epoch_order(3, epoch), config).unwrap() {
            let batch = batch.unwrap();
            let own =
                TeacherBatch { ids: &batch.ids, view: View::Train(0), inputs: batch.inputs.view() };
            let own = teacher.outputs(&own, &[Tap::Map]).unwrap();
            // The other one has the maps of other samples, and each sample's classes exchanged.
            let mut other = own.clone();
            other.logits.chunks_mut(CLASSES).for_each(|row| row.rotate_left(1));
            let map = own.maps[0].len() / size;
            other.maps[0].rotate_left(map);
            let batch = LearnerBatch {
                epoch: 1,
                step_seed: useful.len() as u64,
                ids: &batch.ids,
                inputs: batch.inputs.view(),
                labels: &batch.labels,
                mixed: None,
                teachers: &[own, other],
            };
            let record = learner.gradients(&batch);
            learner.update(&optimizer, 0.05, None, 1);
            learner.after_step(&batch, &optimizer, 0.05, None);
            useful.push(record.teacher_weights[0].1[0]);
        }
    }
    // Of outputs alone: with so few samples the weights of maps settle on either teacher.
    let (first, last) = (useful[0], useful[useful.len() - 1]);
    assert!(last > first + 0.1, "from {first} to {last}");
}

#[test]
fn a_resumed_run_has_the_same_meta_steps() {
    let folder = tempfile::tempdir().unwrap();
    let sets = ["train.drop_last=true", "method.buffer=40", "method.meta_every=2"];
    let both = recipe(folder.path(), "mmkd", 2, &sets);
    let out = resumed_equals_undisturbed(&both, folder.path());
    let (state, _) = weights::read_safetensors(&out.join("checkpoints/last.safetensors")).unwrap();
    assert!(state["between/adam.steps"].values[1] > 2.0, "{:?}", state["between/adam.steps"]);
    assert_eq!(state["between/buffer.labels"].values.len(), 40);
}

#[test]
fn batches_that_do_not_fit_the_weight_networks_are_refused_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let open = recipe(folder.path(), "mmkd", 1, &["train.drop_last=false"]);
    let error = run(&open, &folder.path().join("run")).unwrap_err();
    assert!(error.to_string().contains("full batches"), "{error}");
    assert_eq!(error.hint().unwrap(), "set `train.drop_last = true`");
    let single = recipe(folder.path(), "mmkd", 1, &["train.batch_size=1", "train.drop_last=true"]);
    let error = run(&single, &folder.path().join("run")).unwrap_err();
    assert_eq!(error.hint().unwrap(), "set `train.batch_size = 2`");
    assert!(!folder.path().join("run").exists());
}
