//! What a method asks of a run as a whole.

use crate::class_space::ClassSpace;

/// What a method asks of a run as a whole: plain facts, the same at every time. Write it with
/// `..Setup::default()` or `..Setup::label_free()`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setup {
    /// Epochs of a first training, after which student and projectors begin anew, with a learning
    /// rate that does so too; [`Parts::parameters`](crate::Parts::parameters) and
    /// [`Parts::memory`](crate::Parts::memory) stay. The result is the student of the second
    /// training. `None`: there is one.
    pub restart_after: Option<usize>,
    /// Whether heads are mounted on all stages of all networks where a recipe names none.
    pub mounts_heads: bool,
    /// Share of the training split that is held out for [`Sandbox::exam`](crate::Sandbox::exam),
    /// from 0 to below 1.
    pub exam_share: f64,
    /// Whether it needs [`Facts::Profiles`](crate::Facts::Profiles), and so a validation split.
    pub needs_profiles: bool,
    /// Which classes the teachers' logits are over. With [`ClassSpace::Teacher`] nothing is matched
    /// to the data's classes, logits come as [`Step::native_logits`](crate::Step::native_logits), and the
    /// method is told [`Facts::ClassCosts`](crate::Facts::ClassCosts).
    pub class_space: ClassSpace,
    /// Whether teacher weights depend on the teachers' maps. If not, they can be looked at on
    /// samples of which only the logits are known.
    pub weights_read_maps: bool,
    /// Whether its loss has [`Step::task_loss`](crate::Step::task_loss), on which label smoothing and
    /// class weights act.
    pub has_task_loss: bool,
    /// Whether every training sample must have a label. If not, the labels are read by
    /// [`Step::task_loss`](crate::Step::task_loss) alone, or by something that knows what to do where
    /// there is none.
    pub needs_labels: bool,
    /// Whether it needs one label of each sample, so that samples cannot be mixed from two
    /// ([`Step::mixed`](crate::Step::mixed)).
    pub needs_one_label: bool,
    /// Whether it keeps images from step to step, so that samples must be images.
    pub keeps_images: bool,
    /// Whether the loss of a batch is the mean of the losses of its samples, each of which depends on
    /// that sample alone, beside batch norm in networks and projectors
    /// ([`Parts::batch_statistics`](crate::Parts::batch_statistics) is more of that). Only then may
    /// several processes compute the loss of a part of a batch each. Not so where samples are compared
    /// with each other, or something is drawn by a sample's place in the batch; methods that do not say
    /// so are taken for one of those.
    pub averages_samples: bool,
}

impl Setup {
    /// Of a method that learns from unlabelled samples too.
    #[must_use]
    pub fn label_free() -> Self {
        Self { needs_labels: false, ..Self::default() }
    }

    /// With what a term of another method beside this one asks for. What of it is about the course of
    /// the run, the teachers' classes and the weights of the method's own terms stays the method's.
    #[must_use]
    pub fn with_term(self, term: Self) -> Self {
        // Taken apart in full, so that no field can be forgotten.
        let Self {
            restart_after: _,
            mounts_heads: _,
            exam_share: _,
            needs_profiles,
            class_space: _,
            weights_read_maps: _,
            has_task_loss: _,
            needs_labels,
            needs_one_label,
            keeps_images,
            averages_samples,
        } = term;
        Self {
            needs_profiles: self.needs_profiles || needs_profiles,
            needs_labels: self.needs_labels || needs_labels,
            needs_one_label: self.needs_one_label || needs_one_label,
            keeps_images: self.keeps_images || keeps_images,
            averages_samples: self.averages_samples && averages_samples,
            ..self
        }
    }
}

impl Default for Setup {
    /// Of a method that learns from logits, or from logits and maps, in one training.
    fn default() -> Self {
        Self {
            restart_after: None,
            mounts_heads: false,
            exam_share: 0.0,
            needs_profiles: false,
            class_space: ClassSpace::Dataset,
            weights_read_maps: true,
            has_task_loss: true,
            needs_labels: true,
            needs_one_label: false,
            keeps_images: false,
            averages_samples: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_adds_what_it_cannot_do_without_and_leaves_the_course_of_the_run() {
        let method = Setup { averages_samples: true, mounts_heads: true, ..Setup::label_free() };
        let term = Setup {
            restart_after: Some(3),
            exam_share: 0.5,
            needs_profiles: true,
            class_space: ClassSpace::Teacher,
            needs_one_label: true,
            ..Setup::default()
        };
        let both = Setup {
            needs_profiles: true,
            needs_labels: true,
            needs_one_label: true,
            averages_samples: false,
            ..method
        };
        assert_eq!(method.with_term(term), both);
        let quiet = Setup { averages_samples: true, ..Setup::label_free() };
        assert_eq!(method.with_term(quiet), method);
    }
}
