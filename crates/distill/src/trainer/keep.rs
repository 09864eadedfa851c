//! What a run keeps for the case that it ends early, and how it goes on from there.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::result::write_student;
use super::{Event, Observer, Training};
use crate::checkpoint::{Change, Identity};
use crate::error::{Error, Result};

impl Training<'_> {
    /// Writes a checkpoint of what is done so far.
    pub(super) fn save(&mut self) -> Result<()> {
        self.check_weights()?;
        let Self { learner, settings, progress, best, .. } = self;
        let pair = self.folder.checkpoints();
        pair.save(learner, &settings.optimizer, progress, best.as_ref())?;
        self.saved = Instant::now();
        Ok(())
    }

    /// Goes on from the newest checkpoint that is whole; without one from the start.
    pub(super) fn resume(&mut self, allowed: &[String], observe: Observer<'_>) -> Result<()> {
        let Some((checkpoint, warning)) = self.folder.checkpoints().read()? else {
            // Lines of an epoch whose checkpoint was never written.
            self.folder.cut_metrics(0)?;
            return Ok(());
        };
        let then = &checkpoint.progress;
        let (epoch, batch) = (then.epoch, then.batch());
        let now = &self.progress.identity;
        check_same_run(self.folder.path(), &then.identity, now, allowed)?;
        for (what, then, now) in [
            ("version of faculty", &then.faculty, &self.progress.faculty),
            ("kernels", &then.kernels, &self.progress.kernels),
        ] {
            if then != now {
                observe(Event::Warning(format!(
                    "the run goes on with another {what} ({now}, before {then}): the result may \
                     differ in the last digits"
                )));
            }
        }
        let changes = then.identity.changes(now);
        let (identity, faculty, kernels) =
            (now.clone(), self.progress.faculty.clone(), self.progress.kernels.clone());
        let (mut progress, best) =
            checkpoint.restore(&mut self.learner, &self.settings.optimizer)?;
        if let Some(warning) = warning {
            self.folder.checkpoints().set_aside()?;
            observe(Event::Warning(warning));
        }
        progress.changes.extend(changes.into_iter().map(|own| Change { epoch, batch, ..own }));
        self.progress = crate::checkpoint::Progress { identity, faculty, kernels, ..progress };
        self.card.changes.clone_from(&self.progress.changes);
        self.best = best;
        // That of a later epoch may be there, which is now trained again.
        let path = self.folder.best_student();
        match (&self.best, self.progress.best) {
            (Some(student), Some(best)) => write_student(&path, student, &self.card, best.epoch)?,
            _ => faculty_nets::files::remove(&path).map_err(Error::io("remove", &path))?,
        }
        if !self.folder.cut_metrics(self.progress.metrics_bytes)? {
            let path = self.folder.metrics();
            self.progress.metrics_bytes = path.metadata().map_or(0, |own| own.len());
            observe(Event::Warning(format!(
                "`{}` lost lines of earlier epochs; the run itself is not touched",
                path.display()
            )));
        }
        Ok(())
    }

    /// After an error that came before the batch touched anything: keeps the batches before it.
    pub(super) fn keep_after(&mut self, error: Error, observe: Observer<'_>) -> Error {
        let batch = self.progress.batch();
        if batch > 0 && self.save().is_ok() {
            let epoch = self.progress.epoch + 1;
            observe(Event::Warning(format!(
                "epoch {epoch} is kept up to batch {batch}: once the following is mended, \
                 `--resume` goes on from there"
            )));
        }
        error
    }

    /// A number that broke down in the batch in work.
    pub(super) fn not_finite(&self, what: String, value: f64) -> Error {
        let (epoch, batch) = (self.progress.epoch + 1, self.progress.batch());
        Error::NotFinite { what, value, epoch, batch, kept: self.kept() }
    }

    /// Stops at a weight that broke down, before it is written anywhere.
    pub(super) fn check_weights(&self) -> Result<()> {
        let parameters = self.learner.student.network.parameters();
        match parameters.iter().flatten().find(|w| !w.is_finite()) {
            Some(&w) => Err(self.not_finite("a weight of the student".to_owned(), f64::from(w))),
            None => Ok(()),
        }
    }

    /// The newest checkpoint, if there is one.
    pub(super) fn kept(&self) -> Option<PathBuf> {
        self.folder.newest_checkpoint().map(Path::to_owned)
    }
}

/// Refuses a run of other data, another recipe or other weights, unless the change is `allowed`.
pub(crate) fn check_same_run(
    folder: &Path,
    then: &Identity,
    now: &Identity,
    allowed: &[String],
) -> Result<()> {
    let changes = then.refused(now, allowed);
    if changes.is_empty() {
        return Ok(());
    }
    Err(Error::OtherRun { path: folder.to_owned(), changes })
}
