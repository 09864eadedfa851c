//! What a method asks of a run as a whole.

use crate::class_space::ClassSpace;

/// What a method asks of a run as a whole: plain facts, the same at every time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setup {
    /// Epochs of a first training, after which student and connectors begin anew, with a learning
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
    /// to the data's classes, logits come as [`Step::own_logits`](crate::Step::own_logits), and the
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
}

impl Setup {
    /// Of a method that learns from unlabelled samples too.
    #[must_use]
    pub fn label_free() -> Self {
        Self { needs_labels: false, ..Self::default() }
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
        }
    }
}
