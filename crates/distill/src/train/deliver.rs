//! The end of a training: final numbers and the student's file.

use faculty_data::Split;
use faculty_nets::Network;

use super::checks::{OUTPUTS, broken_quality};
use super::cohort::Cohort;
use super::student_file::write_student;
use crate::error::{Error, Result};
use crate::evaluate::quality_among;
use crate::record::StudentResult;

impl Cohort<'_> {
    /// Measures a member after its last epoch and as it was at the best one; puts the numbers on
    /// its card and the best one's weights into its file; gives that network.
    ///
    /// # Errors
    /// When the data cannot be prepared or the file cannot be written.
    pub(crate) fn deliver(&mut self, at: usize) -> Result<Network> {
        let files = self.files(at);
        let views = self.data.views.clone();
        let group = self.settings.group.clone();
        let quality = |network: &Network, part: &Option<Split>| match part {
            Some(part) => quality_among(&group, network, part, &views),
            None => Ok(None),
        };
        let early_stop = self.early_stop();
        let Self { members, data, progress, .. } = self;
        let member = &mut members[at];
        let last = member.learner.evaluated();
        let epoch = progress.epoch;
        let card = &mut member.card;
        card.seconds = progress.seconds;
        card.early_stop = early_stop;
        card.last = StudentResult {
            epoch,
            validation: quality(last, &data.validation)?,
            test: quality(last, &data.test)?,
        };
        let best = member.done.best.zip(member.best.as_ref());
        let student = match best.filter(|(best, _)| best.epoch != epoch) {
            None => {
                card.best = card.last;
                last
            }
            Some((best, student)) => {
                card.best = StudentResult {
                    epoch: best.epoch,
                    validation: Some(best.quality),
                    test: quality(student, &data.test)?,
                };
                student
            }
        };
        if !files.looks_on {
            write_student(&files.weights, student, card, card.best.epoch)?;
        }
        Ok(student.clone())
    }

    /// Stops at a delivered student that answers the training and validation images, but not those
    /// of the test split.
    ///
    /// # Errors
    /// [`Error::NotFinite`].
    pub(crate) fn check_delivered(&self, at: usize) -> Result<()> {
        let best = self.members[at].card.best;
        let Some(value) = broken_quality(best.test) else { return Ok(()) };
        let what = format!("{OUTPUTS} on the test split");
        let error =
            Error::NotFinite { what, value, epoch: best.epoch, batch: 0, kept: self.kept() };
        Err(self.of_member(at, error))
    }
}
