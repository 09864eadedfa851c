//! The state of one student among the tensors of a checkpoint.
//!
//! ```text
//! student/NAME  connector.0/NAME  method/NAME  teacher.0/NAME     parameters and running statistics
//! optimizer.SLOT/student/NAME                                     the optimiser's memory
//! accumulated/student/NAME                                        gradients that wait for their update
//! average/NAME                                                    the average of the student's weights
//! memory/NAME  between/NAME                                       what the method remembers
//! best/NAME                                                       the student of the best epoch
//! ```
//! Each behind the prefix of the student, where there are several.

use std::collections::BTreeMap;
use std::path::Path;

use faculty_nets::weights::{Array, StateDict};
use faculty_nets::{Network, ParameterSpec};

use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::optimizer::OptimizerConfig;

const AFTER_STEP: &str = "between/";
const MEMORY: &str = "memory/";
const BEST: &str = "best/";
const AVERAGE: &str = "average/";
const ACCUMULATED: &str = "accumulated";

/// One student of a checkpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saved<'a> {
    /// Before its tensors' names; the student itself has none.
    pub(crate) prefix: &'a str,
    /// Its state.
    pub(crate) learner: &'a Learner,
    /// Its network of the best epoch.
    pub(crate) best: Option<&'a Network>,
}

/// Adds the state of a student to a checkpoint's tensors and optimiser steps.
pub(super) fn collect_state(
    student: &Saved<'_>,
    optimizer: &OptimizerConfig,
    tensors: &mut StateDict,
    steps: &mut BTreeMap<String, u64>,
) {
    let Saved { prefix, learner, best } = student;
    for (name, trained) in learner.trained() {
        let name = format!("{prefix}{name}");
        for (key, array) in trained.network.state_dict() {
            tensors.insert(format!("{name}/{key}"), array);
        }
        let specs = trained.network.graph().parameters();
        let optimizer = trained.own_optimizer.as_ref().unwrap_or(optimizer);
        for (slot, vectors) in optimizer.slot_names().iter().zip(&trained.optimizer.slots) {
            for (spec, values) in specs.iter().zip(vectors) {
                let array = Array { shape: spec.shape.clone(), values: values.clone() };
                tensors.insert(format!("optimizer.{slot}/{name}/{}", spec.name), array);
            }
        }
        for (spec, values) in specs.iter().zip(trained.accumulated()) {
            let array = Array { shape: spec.shape.clone(), values: values.clone() };
            tensors.insert(format!("{ACCUMULATED}/{name}/{}", spec.name), array);
        }
        steps.insert(name, trained.optimizer.steps);
    }
    if learner.waiting_samples() > 0 {
        steps.insert(format!("{prefix}{ACCUMULATED}"), learner.waiting_samples() as u64);
    }
    let after_step = learner.method_after_step().map(|own| own.state()).unwrap_or_default();
    let best = best.map(Network::state_dict).unwrap_or_default();
    let average = learner.average().map(Network::state_dict).unwrap_or_default();
    for (kind, state) in
        [(AFTER_STEP, after_step), (MEMORY, learner.memory()), (BEST, best), (AVERAGE, average)]
    {
        let own = state.into_iter();
        tensors.extend(own.map(|(key, array)| (format!("{prefix}{kind}{key}"), array)));
    }
}

/// Puts the state of a student from a checkpoint's tensors into its learner; gives its network of
/// the best epoch.
pub(super) fn restore_state(
    path: &Path,
    (tensors, steps): (&StateDict, &BTreeMap<String, u64>),
    prefix: &str,
    learner: &mut Learner,
    optimizer: &OptimizerConfig,
) -> Result<Option<Network>> {
    for (name, trained) in learner.trained_mut() {
        let name = format!("{prefix}{name}");
        trained.network.set_state_dict(&below(tensors, &format!("{name}/")), path)?;
        trained.optimizer.steps = *steps
            .get(&name)
            .ok_or_else(|| damaged(path, format!("no optimiser steps of `{name}`")))?;
        trained.optimizer.slots.clear();
        let graph = trained.network.graph().clone();
        let vectors = |kind: &str| -> Result<Vec<Vec<f32>>> {
            let one = |spec: &ParameterSpec| {
                let key = format!("{kind}/{name}/{}", spec.name);
                tensors
                    .get(&key)
                    .filter(|array| array.shape == spec.shape)
                    .map(|array| array.values.clone())
                    .ok_or_else(|| damaged(path, format!("no fitting tensor `{key}`")))
            };
            graph.parameters().iter().map(one).collect()
        };
        if trained.optimizer.steps > 0 {
            let optimizer = trained.own_optimizer.as_ref().unwrap_or(optimizer);
            for slot in optimizer.slot_names() {
                trained.optimizer.slots.push(vectors(&format!("optimizer.{slot}"))?);
            }
        }
        // Those that take no part in the epoch have none.
        let waits = !below(tensors, &format!("{ACCUMULATED}/{name}/")).is_empty();
        trained.set_accumulated(if waits { vectors(ACCUMULATED)? } else { Vec::new() });
    }
    let waiting = steps.get(&format!("{prefix}{ACCUMULATED}")).copied().unwrap_or(0);
    learner.set_waiting_samples(usize::try_from(waiting).unwrap_or(usize::MAX));
    let of = |kind: &str| below(tensors, &format!("{prefix}{kind}"));
    learner.set_memory(of(MEMORY)).map_err(|reason| damaged(path, reason))?;
    if let Some(after_step) = learner.method_after_step_mut() {
        after_step.set_state(of(AFTER_STEP)).map_err(|reason| damaged(path, reason))?;
    }
    let student = learner.student.network.clone();
    if let Some(network) = learner.average_mut() {
        match of(AVERAGE) {
            // Of a run that had none so far: it begins here.
            none if none.is_empty() => network.clone_from(&student),
            average => network.set_state_dict(&average, path)?,
        }
    }
    let best = of(BEST);
    if best.is_empty() {
        return Ok(None);
    }
    let mut network = learner.student.network.clone();
    network.set_state_dict(&best, path)?;
    Ok(Some(network))
}

/// What stands behind `prefix`, without it.
fn below(tensors: &StateDict, prefix: &str) -> StateDict {
    let own = tensors.range(prefix.to_owned()..);
    own.map_while(|(key, array)| Some((key.strip_prefix(prefix)?.to_owned(), array.clone())))
        .collect()
}

pub(super) fn damaged(path: &Path, reason: String) -> Error {
    Error::Checkpoint { path: path.to_owned(), reason }
}
