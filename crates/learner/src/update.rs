//! The update of a learner, from the gradients of one batch or of several.

use crate::trained_parts::takes_part;
use faculty_contract::Point;
use faculty_kernels::in_pool;
use faculty_nets::OptimizerConfig;

use super::trained::{clip_factor, norm};
use super::{Learner, Trained};

impl Learner {
    /// Updates everything that the last [`Learner::gradients`] reached, at learning rate `rate`;
    /// `clip` scales the gradients of all trained parts to that joint norm first.
    pub fn update(&mut self, config: &OptimizerConfig, rate: f32, clip: Option<f64>, epoch: usize) {
        let kept = self.after_step.as_ref().is_some_and(|method| method.reads_earlier());
        self.earlier = kept.then(|| self.point(epoch));
        in_pool(|| self.take_step(config, rate, clip, epoch));
        self.memory.commit();
        if let Some(average) = &mut self.average {
            average.add(&self.student.network, self.student.optimizer.steps);
        }
    }

    /// Keeps the last [`Learner::gradients`], of `samples` samples, for a later update; what the
    /// method remembers of the batch is written down.
    pub fn accumulate(&mut self, samples: usize, epoch: usize) {
        self.waiting += samples;
        for trained in self.stepped_mut(epoch) {
            let gradients = if trained.off_tape.is_empty() {
                trained.run.gradients()
            } else {
                &trained.off_tape
            };
            trained.accumulated.add(gradients, samples);
        }
        self.memory.commit();
    }

    /// Samples whose gradients wait for their update.
    #[must_use]
    pub fn waiting_samples(&self) -> usize {
        self.waiting
    }

    /// The same, for loading a checkpoint.
    pub fn set_waiting_samples(&mut self, samples: usize) {
        self.waiting = samples;
    }

    /// Puts the mean over all samples that wait in the place of the last gradients, for
    /// [`Learner::update`]. A batch that was not kept has no part in it.
    pub fn take_accumulated(&mut self, epoch: usize) {
        let samples = std::mem::take(&mut self.waiting);
        self.memory.prepare(Vec::new());
        for trained in self.stepped_mut(epoch) {
            let mut accumulated = std::mem::take(&mut trained.accumulated);
            accumulated.take_mean(samples, trained.gradients_mut());
        }
    }

    /// The update alone.
    pub(super) fn take_step(
        &mut self,
        config: &OptimizerConfig,
        rate: f32,
        clip: Option<f64>,
        epoch: usize,
    ) {
        let mut all: Vec<&mut Trained> = self.stepped_mut(epoch).collect();
        let gradients = all.iter().flat_map(|trained| trained.gradients());
        let factor = clip.map_or(1.0, |limit| clip_factor(limit, norm(gradients)));
        if factor < 1.0 {
            let gradients = all.iter_mut().flat_map(|trained| trained.gradients_mut());
            gradients.flatten().for_each(|g| *g *= factor as f32);
        }
        for trained in all {
            let rule = trained.rule();
            let Trained { network, run, optimizer, off_tape, .. } = trained;
            let gradients = if off_tape.is_empty() { run.gradients() } else { off_tape };
            optimizer.update_by(rule, config, rate, network.parameters_mut(), gradients);
        }
    }

    /// Where student and projectors are now.
    pub(super) fn point(&mut self, epoch: usize) -> Point {
        let all = self.stepped_mut(epoch);
        Point(all.map(|trained| (trained.network.clone(), trained.optimizer.clone())).collect())
    }

    /// What a step of this epoch moves.
    pub(super) fn stepped_mut(&mut self, epoch: usize) -> impl Iterator<Item = &mut Trained> {
        let needs = self.method.needs(epoch);
        let all = self.trained_mut().filter(move |(name, _)| takes_part(&needs, name));
        all.map(|(_, trained)| trained)
    }
}
