//! What a run keeps for the case that it ends early, and how it goes on from there.

use std::path::{Path, PathBuf};
use std::time::Instant;

use faculty_files as files;
use faculty_nets::Network;

use super::{Event, Observer, TeacherFault, Training, write_student};
use faculty_records::run::Change;

use crate::checkpoint::{BestEpoch, Checkpoint, Progress, Saved};
use crate::error::{Error, Result};
use crate::evaluate::broken_output;
use crate::found::check_same_run;
use crate::metrics::Quality;
use crate::record::RunCard;
use crate::run::RunData;
use crate::run_folder::{RunFolder, StudentFiles};

impl Training<'_> {
    /// Writes a checkpoint of what is done so far.
    pub(super) fn save(&mut self) -> Result<()> {
        self.check_weights()?;
        if let Some(value) = broken_student(&self.learner.student.network, &self.data)? {
            return Err(self.not_finite(OUTPUTS.to_owned(), value));
        }
        let Self { learner, settings, progress, best, .. } = self;
        let student = Saved { prefix: "", learner, best: best.as_ref() };
        self.folder.checkpoints().save(&[student], &settings.optimizer, progress)?;
        self.saved = Instant::now();
        Ok(())
    }

    /// Goes on from the newest checkpoint that is whole; without one from the start.
    pub(super) fn resume(
        &mut self,
        allowed: Option<&[String]>,
        observe: Observer<'_>,
    ) -> Result<()> {
        let files = self.folder.own_files();
        let Some(checkpoint) = adopt(&self.folder, &self.progress, allowed, observe)? else {
            observe(nothing_to_resume(self.folder.path()));
            // Lines of an epoch whose checkpoint was never written.
            files.cut_metrics(0)?;
            return Ok(());
        };
        self.best = checkpoint.restore("", &mut self.learner, &self.settings.optimizer)?;
        self.progress = checkpoint.progress;
        self.card.changes.clone_from(&self.progress.changes);
        let best = self.best.as_ref().zip(self.progress.best);
        write_or_remove_best(&files, best, &self.card)?;
        cut_metrics(&files, &mut self.progress.metrics_bytes, observe)
    }

    /// After an error that came before the batch touched anything: keeps the batches before it.
    pub(super) fn keep_after(&mut self, error: Error, observe: Observer<'_>) -> Error {
        let batch = self.progress.batch();
        if batch > 0 && self.save().is_ok() {
            observe(kept_up_to(self.progress.epoch + 1, batch));
        }
        error
    }

    /// A number that broke down in the batch in work.
    pub(super) fn not_finite(&self, what: String, value: f64) -> Error {
        let (epoch, batch) = (self.progress.epoch + 1, self.progress.batch());
        Error::NotFinite { what, value, epoch, batch, kept: self.kept() }
    }

    /// Values of a teacher that broke down in the batch in work.
    pub(super) fn teacher_broke(&self, fault: TeacherFault) -> Error {
        let TeacherFault { teacher, what, value } = fault;
        let (epoch, batch) = (self.progress.epoch + 1, self.progress.batch());
        Error::TeacherBroke { teacher, what, value, epoch, batch, kept: self.kept() }
    }

    /// Stops at a weight that broke down, before it is written anywhere.
    pub(super) fn check_weights(&self) -> Result<()> {
        match broken_weight(&self.learner.student.network) {
            Some(value) => Err(self.not_finite("a weight of the student".to_owned(), value)),
            None => Ok(()),
        }
    }

    /// The newest checkpoint, if there is one.
    pub(super) fn kept(&self) -> Option<PathBuf> {
        self.folder.newest_checkpoint().map(Path::to_owned)
    }
}

/// Where a run that was to go on begins.
pub(crate) fn nothing_to_resume(folder: &Path) -> Event<'static> {
    let folder = folder.display();
    Event::Warning(format!("`{folder}` holds no checkpoint to go on from: the run begins again"))
}

/// Before the error that stops a run after this batch.
pub(crate) fn kept_up_to(epoch: usize, batch: usize) -> Event<'static> {
    Event::Warning(format!(
        "epoch {epoch} is kept up to batch {batch}: once the following is mended, `--resume` goes \
         on from there"
    ))
}

/// The checkpoint from which a run goes on as `expected`, with what may have changed since; none
/// if there is none.
pub(crate) fn adopt(
    folder: &RunFolder,
    expected: &Progress,
    allowed: Option<&[String]>,
    observe: Observer<'_>,
) -> Result<Option<Checkpoint>> {
    let Some((mut checkpoint, warning)) = folder.checkpoints().read()? else { return Ok(None) };
    let then = &mut checkpoint.progress;
    check_same_run(folder.path(), &then.identity, &expected.identity, allowed)?;
    for (what, then, now) in [
        ("version of faculty", &mut then.faculty, &expected.faculty),
        ("kernels", &mut then.kernels, &expected.kernels),
    ] {
        if then != now {
            observe(Event::Warning(format!(
                "the run goes on with another {what} ({now}, before {then}): the result may \
                 differ in the last digits"
            )));
            then.clone_from(now);
        }
    }
    if let Some(warning) = warning {
        folder.checkpoints().set_aside()?;
        observe(Event::Warning(warning));
    }
    let (epoch, batch) = (then.epoch, then.batch());
    let changes = then.identity.changes(&expected.identity).into_iter();
    then.changes.extend(changes.map(|own| Change { epoch, batch, ..own }));
    then.identity.clone_from(&expected.identity);
    Ok(Some(checkpoint))
}

/// Puts the best student of a checkpoint in the place of what is there, which may be of a later
/// epoch that is now trained again.
pub(crate) fn write_or_remove_best(
    files: &StudentFiles,
    best: Option<(&Network, BestEpoch)>,
    card: &RunCard,
) -> Result<()> {
    match best {
        Some((student, best)) => write_student(&files.best, student, card, best.epoch),
        None => files::remove(&files.best).map_err(Error::io("remove", &files.best)),
    }
}

/// Cuts off the metrics after a checkpoint, at which they had this length.
pub(crate) fn cut_metrics(
    files: &StudentFiles,
    length: &mut u64,
    observe: Observer<'_>,
) -> Result<()> {
    if !files.cut_metrics(*length)? {
        *length = files.metrics.metadata().map_or(0, |own| own.len());
        observe(Event::Warning(format!(
            "`{}` lost lines of earlier epochs; the run itself is not touched",
            files.metrics.display()
        )));
    }
    Ok(())
}

/// The student's answers, in the words of [`Error::NotFinite`].
pub(crate) const OUTPUTS: &str = "an output of the student";

/// A first output of the student that is not a number. Weights may all be numbers, and yet so large
/// that the maps they make are none: a checkpoint of such a student is good for nothing.
pub(crate) fn broken_student(student: &Network, data: &RunData) -> Result<Option<f64>> {
    let part = data.validation.as_ref().filter(|part| !part.is_empty());
    broken_output(student, part.unwrap_or(&data.train), &data.normalisation)
}

/// The quality of a student whose answers are not all numbers.
pub(crate) fn broken_quality(quality: Option<Quality>) -> Option<f64> {
    quality.filter(|quality| !quality.is_finite()).map(|quality| quality.nll)
}

/// The first weight that is not a number.
pub(crate) fn broken_weight(network: &Network) -> Option<f64> {
    let mut weights = network.parameters().iter().flatten();
    weights.find(|w| !w.is_finite()).map(|&w| f64::from(w))
}
