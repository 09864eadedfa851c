//! One network that learns, alone or in step with others.

use faculty_nets::Network;

use super::student_file::write_student;
use crate::best_by;
use crate::checkpoint::{BestEpoch, EpochPart, PeerProgress, Saved};
use crate::error::Result;
use crate::learner::{Learner, LearnerBatch};
use crate::recipe::BestBy;
use crate::record::{EpochRecord, RunCard};
use crate::run_folder::StudentFiles;
use faculty_teachers::TeacherOutputs;

/// One network that learns.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) learner: Learner,
    /// Whose outputs it reads, in their order: teachers, or the other members.
    pub(crate) sources: Vec<String>,
    pub(crate) card: RunCard,
    /// Before its tensors' names in checkpoints; the first member's have none.
    pub(super) prefix: String,
    /// The network of `done.best`.
    pub(super) best: Option<Network>,
    pub(super) done: PeerProgress,
    /// Whether the user knows that one term is nearly all of its loss.
    pub(super) said_dominant: bool,
}

impl Member {
    /// Before its first step.
    pub(crate) fn new(name: &str, learner: Learner, sources: Vec<String>, card: RunCard) -> Self {
        Self {
            name: name.to_owned(),
            learner,
            sources,
            card,
            prefix: String::new(),
            best: None,
            done: PeerProgress::default(),
            said_dominant: false,
        }
    }

    /// With this before its tensors' names in checkpoints.
    pub(crate) fn with_prefix(mut self, prefix: String) -> Self {
        self.prefix = prefix;
        self
    }

    pub(crate) fn network(&self) -> &Network {
        &self.learner.student.network
    }

    /// The student, and the average of its weights if there is one.
    pub(super) fn networks(&self) -> impl Iterator<Item = &Network> {
        std::iter::once(self.network()).chain(self.learner.average())
    }

    /// What is measured and delivered: the student, or the average of its weights.
    pub(crate) fn evaluated(&self) -> &Network {
        self.learner.evaluated()
    }

    /// What is done of the epoch in work.
    pub(super) fn part(&mut self) -> &mut EpochPart {
        self.done.part.get_or_insert_default()
    }

    pub(super) fn saved(&self) -> Saved<'_> {
        Saved { prefix: &self.prefix, learner: &self.learner, best: self.best.as_ref() }
    }

    /// Forward; what the others read of it.
    pub(super) fn predict(&mut self, batch: &LearnerBatch<'_>) -> TeacherOutputs {
        TeacherOutputs { logits: self.learner.predict(batch).to_vec(), maps: Vec::new() }
    }

    /// Keeps the weights of the best validation epoch.
    pub(super) fn keep_best(
        &mut self,
        files: &StudentFiles,
        record: &EpochRecord,
        by: BestBy,
    ) -> Result<()> {
        if let Some(quality) = record.validation
            && self.done.best.is_none_or(|best| best_by::is_better(by, &quality, &best.quality))
        {
            if !files.looks_on {
                write_student(&files.best, self.evaluated(), &self.card, record.epoch)?;
            }
            self.best = Some(self.evaluated().clone());
            self.done.best = Some(BestEpoch { epoch: record.epoch, quality });
        }
        Ok(())
    }

    /// Told once: a term that is nearly all of the loss of an epoch.
    pub(super) fn dominant_term(&mut self, record: &EpochRecord) -> Option<String> {
        let (term, share) = record.dominant_term().filter(|_| !self.said_dominant)?;
        self.said_dominant = true;
        Some(format!(
            "term `{term}` is {:.1} % of the loss in epoch {}, so that the others have next to no \
             say; `faculty methods {}` shows the constants",
            100.0 * share,
            record.epoch,
            self.card.method
        ))
    }
}
