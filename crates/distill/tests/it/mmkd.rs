//! MMKD's meta steps on a student: what they leave alone.

use std::collections::BTreeMap;

use faculty_distill::compute::Compute;
use faculty_distill::learner::Learner;
use faculty_distill::methods::{Method, Mmkd, MmkdConfig};
use faculty_distill::optimizer::{OptimizerConfig, OptimizerState};
use faculty_nets::weights;

use crate::data::network;
use crate::finite_differences::{BATCH, Setup};

#[test]
fn a_meta_step_changes_the_weight_networks_and_nothing_else() {
    let config = MmkdConfig {
        meta_every: 1,
        meta_samples: 1,
        buffer: 6,
        beta: 2.0,
        ..MmkdConfig::default()
    };
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
            let readings = learner.after_step(&setup.batch(), 0.05, None);
            let after = state(&learner);
            for (name, own) in &before {
                let stays = name != "method" || readings.is_empty();
                assert_eq!(own == &after[name], stays, "{name}, {readings:?}");
            }
            assert_eq!(before.len(), 4, "student, two connectors and the weight networks");
            stepped += usize::from(!readings.is_empty());
        }
        assert!(stepped > 0, "the student missed something");
    }
}
