//! The training loop: epochs over views, one learner step a batch, records, checkpoints, and the
//! final numbers.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use faculty_data::Batch;
use faculty_data::rng::{Purpose, draw};
use faculty_nets::Network;

use crate::checkpoint::{BestEpoch, EpochPart, Progress};
use crate::error::{Error, Result};
use crate::evaluate::{mean_logits, network_quality};
use crate::learner::{Learner, LearnerBatch, StepRecord};
use crate::methods::Needs;
use crate::metrics::Quality;
use crate::record::{EpochRecord, RunCard, StudentResult};
use crate::run::{CheckedRun, RunData, Settings, Teacher, epoch_batches};
use crate::run_folder::{RunFolder, Start};
use crate::teacher::{TeacherBatch, TeacherOutputs};

mod keep;
mod result;
mod teacher_fault;

pub(crate) use keep::{
    OUTPUTS, adopt, broken_quality, broken_student, broken_weight, cut_metrics, kept_up_to,
    nothing_to_resume, write_or_remove_best,
};
pub(crate) use result::{broken_at_the_end, deliver, write_student};
use teacher_fault::TeacherFault;

/// What a run tells while it goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// Training begins (or goes on) with this epoch.
    Started {
        /// First epoch to train, from 1.
        epoch: usize,
        /// Its batches that are done already.
        batch: usize,
    },
    /// A batch is done.
    Batch {
        /// From 1.
        epoch: usize,
        /// From 1.
        batch: usize,
        /// Batches of the epoch.
        batches: usize,
        /// Mean loss of the epoch so far.
        loss: f64,
        /// Training speed of the epoch so far.
        images_per_second: f64,
    },
    /// An epoch is done and written down.
    Epoch(&'a EpochRecord),
    /// Something that the user should know; the run goes on, or an error follows.
    Warning(String),
}

type Observer<'a> = &'a mut dyn FnMut(Event<'_>);

/// Trains a checked run to its end in `folder`.
///
/// `stop` ends the run after the current batch, with a checkpoint.
///
/// # Errors
/// When the folder cannot be used, a loss breaks down, the run is stopped, or a file cannot be
/// read or written. A checkpoint from which the run can go on stays in every case, once there is
/// one.
pub fn train(
    run: CheckedRun,
    folder: &Path,
    start: Start,
    stop: &AtomicBool,
    observe: Observer<'_>,
) -> Result<RunCard> {
    let CheckedRun { learner, teachers, data, settings, card, identity, allowed, .. } = run;
    let mut training = Training {
        folder: RunFolder::open(folder, start)?,
        learner,
        teachers,
        data,
        settings,
        card,
        stop,
        progress: Progress::start(identity),
        best: None,
        saved: Instant::now(),
        said_dominant: false,
    };
    if start == Start::Resume {
        training.resume(allowed.as_deref(), observe)?;
    }
    training.folder.write_recipe(&training.settings.recipe)?;
    let Progress { epoch, .. } = training.progress;
    observe(Event::Started { epoch: epoch + 1, batch: training.progress.batch() });
    while training.progress.epoch < training.settings.schedule.epochs {
        training.epoch(observe)?;
    }
    training.finish()
}

/// A run at work.
struct Training<'a> {
    learner: Learner,
    teachers: Vec<Teacher>,
    data: RunData,
    settings: Settings,
    card: RunCard,
    folder: RunFolder,
    stop: &'a AtomicBool,
    progress: Progress,
    /// The student of `progress.best`.
    best: Option<Network>,
    /// When the last checkpoint was written, or the run began.
    saved: Instant,
    /// Whether the user knows that one term is nearly all of the loss.
    said_dominant: bool,
}

impl Training<'_> {
    /// The next epoch, or what is left of it.
    fn epoch(&mut self, observe: Observer<'_>) -> Result<()> {
        let epoch = self.progress.epoch + 1;
        let restart = self.settings.schedule.restart_after == Some(self.progress.epoch);
        if restart && self.progress.batch() == 0 {
            self.restart()?;
        }
        let part = self.batches(epoch, observe)?;
        let evaluating = Instant::now();
        let is_last = epoch == self.settings.schedule.epochs;
        let measured = is_last || epoch.is_multiple_of(self.settings.evaluate_every);
        if measured {
            self.set_mean_logits(epoch)?;
        }
        let validation = match &self.data.validation {
            Some(part) if measured => {
                network_quality(&self.learner.student.network, part, &self.data.normalisation)?
            }
            _ => None,
        };
        let seconds = part.times.training + evaluating.elapsed().as_secs_f64();
        let names: Vec<String> = self.teachers.iter().map(|own| own.name.clone()).collect();
        let record = part.record(epoch, &names, validation, seconds);
        let files = self.folder.own_files();
        self.progress.metrics_bytes = files.append_metrics(&record, self.progress.metrics_bytes)?;
        if let Some(value) = broken_quality(validation) {
            return Err(self.not_finite(OUTPUTS.to_owned(), value));
        }
        if let Some(quality) = validation
            && self.progress.best.is_none_or(|best| quality.top1 > best.quality.top1)
        {
            let student = &self.learner.student.network;
            write_student(&self.folder.best_student(), student, &self.card, epoch)?;
            self.best = Some(student.clone());
            self.progress.best = Some(BestEpoch { epoch, quality });
        }
        self.progress.epoch = epoch;
        self.progress.part = None;
        self.progress.seconds += seconds;
        if is_last || epoch.is_multiple_of(self.settings.checkpoint_every) {
            self.save()?;
        }
        observe(Event::Epoch(&record));
        if let Some((term, share)) = record.dominant_term().filter(|_| !self.said_dominant) {
            self.said_dominant = true;
            observe(Event::Warning(format!(
                "term `{term}` is {:.1} % of the loss in epoch {epoch}, so that the others have next \
                 to no say; `faculty methods {}` shows the constants",
                100.0 * share,
                self.card.method
            )));
        }
        Ok(())
    }

    /// Gives the student the mean logits that the method asks for, by its last bias: over the views
    /// of the epoch, as those were trained on that the method knows. The method's loss does not see
    /// what is changed here, so that training goes on as it would have.
    fn set_mean_logits(&mut self, epoch: usize) -> Result<()> {
        let Some(expected) = self.learner.mean_logits() else { return Ok(()) };
        let all = Settings { drop_last: false, ..self.settings.clone() };
        let student = &mut self.learner.student.network;
        let found = mean_logits(student, epoch_batches(&self.data, &all, epoch, 0)?)?;
        let bias = student.output_bias_mut().expect("every named network ends in a linear layer");
        for ((bias, expected), found) in bias.iter_mut().zip(expected).zip(found) {
            *bias += (f64::from(expected) - found) as f32;
        }
        Ok(())
    }

    /// Begins the second training of a method that has two; the best student of the first one is
    /// none of the second.
    fn restart(&mut self) -> Result<()> {
        self.learner.restart();
        (self.best, self.progress.best) = (None, None);
        write_or_remove_best(&self.folder.own_files(), None, &self.card)
    }

    /// The batches of an epoch that are not done yet; gives all of it.
    fn batches(&mut self, epoch: usize, observe: Observer<'_>) -> Result<EpochPart> {
        let needs = self.learner.method().needs(epoch);
        let before = self.progress.part.get_or_insert_default().clone();
        let mut loader = epoch_batches(&self.data, &self.settings, epoch, before.samples)?;
        let batches = before.batches + loader.batches_left();
        let started = Instant::now();
        let mut waited = 0.0;
        self.pause_if_asked(epoch)?;
        while let Some(batch) = loader.next() {
            let inputs = batch.map_err(Error::from);
            let inputs = inputs.and_then(|batch| Ok((self.outputs(&batch, &needs)?, batch)));
            let (outputs, batch) = inputs.map_err(|error| self.keep_after(error, observe))?;
            let loss = self.step(epoch, batches, &batch, &outputs, observe)?;
            let part = self.progress.part.get_or_insert_default();
            part.times.training = before.times.training + started.elapsed().as_secs_f64();
            part.times.data_wait += loader.data_wait().as_secs_f64() - waited;
            part.times.losses += self.learner.take_loss_time().as_secs_f64();
            waited = loader.data_wait().as_secs_f64();
            let (samples, seconds) = (part.sums.samples(), part.times.training);
            let images_per_second = samples as f64 / seconds;
            let batch_number = part.batches;
            observe(Event::Batch { epoch, batch: batch_number, batches, loss, images_per_second });
            loader.recycle(batch);
            self.pause_if_asked(epoch)?;
            // The end of the epoch writes its own.
            if batch_number < batches && self.saved.elapsed() >= self.settings.checkpoint_after {
                self.save()?;
            }
        }
        self.check_weights()?;
        Ok(self.progress.part.clone().unwrap_or_default())
    }

    fn outputs(&mut self, batch: &Batch, needs: &Needs) -> Result<Vec<TeacherOutputs>> {
        if !needs.teachers() {
            return Ok(Vec::new());
        }
        let started = Instant::now();
        let outputs = if needs.learning_teachers {
            self.learner.teacher_outputs(&batch.images, batch.len())
        } else {
            let view = TeacherBatch {
                ids: &batch.ids,
                view: u64::from(batch.view_number),
                images: &batch.images,
            };
            self.teachers
                .iter_mut()
                .map(|teacher| teacher.source.outputs(&view, &needs.teacher_taps))
                .collect::<Result<Vec<TeacherOutputs>>>()?
        };
        let part = self.progress.part.get_or_insert_default();
        part.times.teachers += started.elapsed().as_secs_f64();
        Ok(outputs)
    }

    /// One batch, from its inputs to its place in the sums; gives the mean loss so far.
    fn step(
        &mut self,
        epoch: usize,
        batches: usize,
        batch: &Batch,
        outputs: &[TeacherOutputs],
        observe: Observer<'_>,
    ) -> Result<f64> {
        let settings = &self.settings;
        let part = self.progress.part.get_or_insert_default();
        let number = part.batches + 1;
        let learning_rate = settings.schedule.rate(epoch, number - 1, batches);
        let learner_batch = LearnerBatch {
            epoch,
            draw: draw(Purpose::Method, settings.seed, epoch as u64, number as u64, 0),
            ids: &batch.ids,
            images: &batch.images,
            labels: &batch.labels,
            teachers: outputs,
        };
        let may_skip = self.progress.skipped_batches < settings.skip_bad_batches;
        let statistics = may_skip.then(|| self.learner.running_statistics());
        let needs = self.learner.method().needs(epoch);
        // Learning ones break down with the student.
        let frozen = if needs.learning_teachers { &[] } else { self.teachers.as_slice() };
        let fault = TeacherFault::find(frozen, outputs, &needs.teacher_taps);
        let step = self.learner.gradients(&learner_batch);
        let bad = fault.as_ref().map(TeacherFault::described);
        let bad = bad.or_else(|| broken(&step)).or_else(|| self.learner.broken_gradient(epoch));
        part.batches = number;
        part.samples += batch.len();
        match (bad, statistics) {
            (Some((what, value)), Some(statistics)) => {
                self.learner.set_running_statistics(statistics);
                part.skipped += 1;
                let loss = part.sums.loss();
                self.progress.skipped_batches += 1;
                let (skipped, limit) =
                    (self.progress.skipped_batches, self.settings.skip_bad_batches);
                observe(Event::Warning(format!(
                    "batch {number} of epoch {epoch} is left out, since {what} became {value} \
                     ({skipped} of {limit} that may be left out)"
                )));
                return Ok(loss);
            }
            (Some((what, value)), None) => {
                return Err(match fault {
                    Some(fault) => self.teacher_broke(fault),
                    None => self.not_finite(what, value),
                });
            }
            (None, _) => {}
        }
        part.learning_rate = learning_rate;
        let (rate, clip) = (learning_rate as f32, settings.clip);
        self.learner.update(&settings.optimizer, rate, clip, epoch);
        let numbers = self.learner.after_step(&learner_batch, &settings.optimizer, rate, clip);
        if let Some((name, value)) = numbers.into_iter().find(|(_, v)| !v.is_finite()) {
            return Err(self.not_finite(format!("`{name}`"), value));
        }
        part.sums.add(&step, batch.len());
        Ok(part.sums.loss())
    }

    /// Saves and ends the run if it was asked to stop.
    fn pause_if_asked(&mut self, epoch: usize) -> Result<()> {
        if !self.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let batch = self.progress.batch();
        if batch > 0 {
            self.save()?;
        }
        Err(Error::Interrupted { epoch, batch, kept: self.kept() })
    }
}

/// The first part of a loss that is not a number.
pub(crate) fn broken(step: &StepRecord) -> Option<(String, f64)> {
    let mut named = step.terms.iter().map(|t| (format!("loss term `{}`", t.name), t.value));
    named
        .find(|(_, value)| !value.is_finite())
        .or_else(|| (!step.loss.is_finite()).then(|| ("the loss".to_owned(), step.loss)))
}

/// Accuracy of a result for tables: the test part if there is one, else validation.
#[must_use]
pub fn headline(result: &StudentResult) -> Option<Quality> {
    result.test.or(result.validation)
}

#[cfg(test)]
mod tests;
