//! A step of several ranks, each with a part of the batch.
//!
//! ```text
//! L = 1/n Σ_r n_r L_r        n_r samples of rank r, n = Σ_r n_r
//! ```
//! Each rank multiplies the gradients of its mean loss `L_r` by `n_r` before they go back through the
//! networks, so that batch norm there sees gradients of the summed loss of all; the gradients by
//! parameters are added up over the ranks and divided once, by n. A rank without samples adds zeros.

use faculty_contract::Needs;

use super::step::CHECKED;
use super::tape::LeafGradients;
use super::{Learner, StepRecord};

impl Learner {
    /// Samples of this rank that count.
    fn counted(&self, samples: usize) -> usize {
        if self.together.absent { 0 } else { samples }
    }

    /// Makes gradients of this rank's mean loss those of its summed loss. Leaves that the loss of some
    /// rank depends on get a gradient on all, since batch norm behind them is computed together.
    pub(super) fn weigh(&self, gradients: &mut LeafGradients, needs: &Needs, samples: usize) {
        let factor = self.counted(samples) as f32;
        let (maps, projected) = (gradients.maps.len(), gradients.projected.len());
        let mut leaves: Vec<&mut Option<Vec<f32>>> = std::iter::once(&mut gradients.logits)
            .chain(&mut gradients.maps)
            .chain(&mut gradients.projected)
            .chain(&mut gradients.parameters)
            .collect();
        let mut has_grad: Vec<f64> = leaves.iter().map(|leaf| f64::from(leaf.is_some())).collect();
        self.together.group.sum(&mut has_grad);
        let lengths = self.leaf_lengths(needs, maps, projected);
        for ((leaf, has_grad), length) in leaves.iter_mut().zip(has_grad).zip(lengths) {
            match leaf {
                Some(values) if factor == 0.0 => values.fill(0.0),
                Some(values) => values.iter_mut().for_each(|g| *g *= factor),
                None if has_grad > 0.0 => **leaf = Some(vec![0.0; length]),
                None => {}
            }
        }
    }

    /// Values of each leaf, in the order of [`Learner::weigh`].
    fn leaf_lengths(&self, needs: &Needs, maps: usize, projected: usize) -> Vec<usize> {
        let (run, graph) = (&self.student.run, self.student.network.graph());
        let taps = needs.student_taps.iter().take(maps);
        let projectors = self.projectors.iter().take(projected);
        let parameters = self.parameters.iter().flat_map(|trained| trained.network.parameters());
        std::iter::once(run.value(graph.output()).len())
            .chain(taps.map(|tap| run.value(tap.value(graph).expect(CHECKED)).len()))
            .chain(
                projectors
                    .map(|(_, trained)| trained.run.value(trained.network.graph().output()).len()),
            )
            .chain(parameters.map(Vec::len))
            .collect()
    }

    /// Adds up the gradients of all ranks' summed losses, and divides by the samples of all.
    pub(super) fn add_up_gradients(&mut self, epoch: usize) {
        let (group, whole) = (self.together.group.clone(), self.whole.max(1) as f32);
        let mut all: Vec<f32> = Vec::new();
        for trained in self.stepped_mut(epoch) {
            all.extend(trained.gradients().iter().flatten());
        }
        if self.together.absent {
            // Through the statistics of the whole batch its sample gets gradients all the same.
            all.fill(0.0);
        }
        group.sum_f32(&mut all);
        let mut sums = all.iter();
        for trained in self.stepped_mut(epoch) {
            let gradients = trained.gradients_mut().iter_mut().flatten();
            gradients.zip(&mut sums).for_each(|(gradient, sum)| *gradient = sum / whole);
        }
    }

    /// What the whole batch showed, from what each part of it did.
    pub(super) fn add_up_record(&self, record: &mut StepRecord, samples: usize) {
        let StepRecord { loss, terms, teacher_weights, correct, unlabelled } = record;
        let (counted, whole) = (self.counted(samples) as f64, self.whole.max(1) as f64);
        let mut means: Vec<&mut f64> = std::iter::once(loss)
            .chain(terms.iter_mut().map(|term| &mut term.value))
            .chain(teacher_weights.iter_mut().flat_map(|(_, weights)| weights))
            .collect();
        // What a rank without samples computed on may not even be finite.
        let sum = |mean: f64| if counted == 0.0 { 0.0 } else { counted * mean };
        let mut sums: Vec<f64> = means.iter().map(|mean| sum(**mean)).collect();
        let counts = [correct, unlabelled];
        sums.extend(counts.iter().map(|count| if counted == 0.0 { 0.0 } else { **count as f64 }));
        self.together.group.sum(&mut sums);
        let (of_means, of_counts) = sums.split_at(means.len());
        means.iter_mut().zip(of_means).for_each(|(mean, sum)| **mean = sum / whole);
        counts.into_iter().zip(of_counts).for_each(|(count, sum)| *count = *sum as usize);
    }
}
