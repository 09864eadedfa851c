//! What a method trains, remembers and does beside the student.

use std::sync::Arc;

use faculty_nets::{Graph, ParameterSpec, Tap};

use crate::sandbox::AfterStep;

/// What a method trains, remembers and does beside the student; write it with
/// `..Parts::default()`, which is nothing.
#[derive(Debug, Default)]
pub struct Parts {
    /// Small trainable networks on the student's maps, trained with the student. They read
    /// [`Needs::projector_taps`](crate::Needs::projector_taps).
    pub projectors: Vec<Projector>,
    /// Trained values that are no network of their own, as
    /// [`Step::parameters`](crate::Step::parameters); trained with the student by the same optimiser.
    pub parameters: Vec<ParameterSpec>,
    /// Arrays that the method remembers from step to step, as [`Step::memory`](crate::Step::memory);
    /// no gradient reaches them, [`Loss::writes`](crate::Loss::writes) changes them. An array of the
    /// training samples has [`Shapes::samples`](crate::Shapes::samples) rows.
    pub memory: Vec<ParameterSpec>,
    /// What the student's logits should be on average, where the loss leaves that open.
    pub mean_logits: Option<MeanLogits>,
    /// What the method does after each update, if anything: the only thing that changes
    /// [`Parts::parameters`] that are frozen.
    pub after_step: Option<Box<dyn AfterStep>>,
    /// Floats that the loss of a full batch and its gradient hold at a time beside what they read;
    /// for the estimate of a run's memory, by methods in which they grow faster than the batch.
    pub temporaries: usize,
    /// Whether something on the tape, as batch norm by the batch's own statistics, makes a sample's
    /// values depend on the others of the batch, so that the loss is no mean over samples after all
    /// ([`Setup::averages_samples`](crate::Setup::averages_samples)).
    pub batch_statistics: bool,
}

/// What the student's logits should be on average over the training samples, `[classes]`, made from the
/// arrays of [`Parts::memory`]; `None` while they say nothing yet. The student's last bias is set by it
/// before every measurement, and so before the student is delivered. The loss must not change when a
/// number is added to all logits of a class.
pub type MeanLogits = fn(memory: &[Arc<Vec<f32>>]) -> Option<Vec<f32>>;

impl Parts {
    /// With those of the term `name` beside this method: projectors behind its own, arrays too, named
    /// after the term.
    ///
    /// Mean logits stay the method's, whose arrays come first: terms compare maps and vectors, which
    /// the last bias does not reach. So does what happens after a step: a method that has such is no
    /// term.
    #[must_use]
    pub fn with_term(mut self, name: &str, term: Self) -> Self {
        // Taken apart in full, so that no field can be forgotten.
        let Self {
            projectors,
            parameters,
            memory,
            mean_logits: _,
            after_step: _,
            temporaries,
            batch_statistics,
        } = term;
        let named =
            |spec: ParameterSpec| ParameterSpec { name: format!("{name}.{}", spec.name), ..spec };
        self.projectors.extend(projectors);
        self.parameters.extend(parameters.into_iter().map(named));
        self.memory.extend(memory.into_iter().map(named));
        self.temporaries = self.temporaries.saturating_add(temporaries);
        self.batch_statistics |= batch_statistics;
        self
    }
}

/// A small trainable network on one of the student's maps.
#[derive(Clone, Debug)]
pub struct Projector {
    /// Where it reads the student.
    pub tap: Tap,
    /// What it computes from there.
    pub graph: Graph,
}

/// Rows of one array of [`crate::Step::memory`] that an update overwrites.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Which array.
    pub array: usize,
    /// Its rows, along the first dimension.
    pub rows: Vec<usize>,
    /// What they become, one after another.
    pub values: Vec<f32>,
}

#[cfg(test)]
mod tests {
    use faculty_nets::Init;

    use super::*;

    #[test]
    fn arrays_of_a_term_stand_behind_the_methods_and_are_named_after_it() {
        let array = |name: &str| ParameterSpec {
            name: name.to_owned(),
            shape: vec![1, 2],
            initial: Init::Zeros,
        };
        let names = |specs: &[ParameterSpec]| -> Vec<String> {
            specs.iter().map(|spec| spec.name.clone()).collect()
        };
        let of = |temporaries, batch_statistics| Parts {
            parameters: vec![array("scale")],
            memory: vec![array("mean")],
            mean_logits: Some(|memory| Some(memory[0].to_vec())),
            temporaries,
            batch_statistics,
            ..Parts::default()
        };
        let all = of(usize::MAX, false).with_term("vid", of(1, true));
        assert_eq!(names(&all.parameters), ["scale", "vid.scale"]);
        assert_eq!(names(&all.memory), ["mean", "vid.mean"]);
        assert_eq!((all.temporaries, all.batch_statistics), (usize::MAX, true));
        // The method's own, or none.
        let memory = [vec![1.0, 2.0], vec![3.0, 4.0]].map(Arc::new);
        assert_eq!(all.mean_logits.and_then(|from| from(&memory)), Some(vec![1.0, 2.0]));
        assert!(Parts::default().with_term("ckd", of(0, false)).mean_logits.is_none());
    }
}
