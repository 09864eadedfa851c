//! The training loop: epochs over views, one learner step a batch, records, checkpoints, and the
//! final numbers.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use faculty_data::rng::{Purpose, draw};
use faculty_nets::{Network, weights};

use crate::checkpoint::{self, BestEpoch, Progress};
use crate::error::{Error, Result};
use crate::evaluate::network_quality;
use crate::found::check_same_run;
use crate::learner::{Learner, LearnerBatch, StepRecord};
use crate::metrics::Quality;
use crate::record::{EpochRecord, EpochSums, RunCard, StudentResult};
use crate::report_data::{self, Subject};
use crate::run::{CheckedRun, epoch_batches};
use crate::run_folder::{RunFolder, Start};
use crate::teacher::{TeacherBatch, TeacherOutputs};

/// What a run tells while it goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// Training begins (or goes on) with this epoch.
    Started {
        /// First epoch to train, from 1.
        epoch: usize,
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
}

/// Trains a checked run to its end in `folder`.
///
/// `stop` ends the run after the current batch; what earlier epochs left is kept.
///
/// # Errors
/// When the folder cannot be used, a loss breaks down, the run is stopped, or a file cannot be
/// written. The last checkpoint stays in every case.
pub fn train(
    run: CheckedRun,
    folder: &Path,
    start: Start,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<RunCard> {
    let CheckedRun { mut learner, mut teachers, data, settings, card, identity } = run;
    let folder = RunFolder::open(folder, start)?;
    let mut progress = Progress::start(card.data_fingerprint.clone(), identity);
    if start == Start::Resume {
        progress = resume(&folder, &mut learner, &settings.optimizer, &progress)?;
        folder.keep_metrics_until(progress.epoch)?;
    } else {
        folder.write_recipe(&settings.recipe)?;
    }

    let teacher_names: Vec<String> = teachers.iter().map(|t| t.name.clone()).collect();
    let mut checkpointed = progress.epoch;
    observe(Event::Started { epoch: progress.epoch + 1 });
    for epoch in progress.epoch + 1..=settings.schedule.epochs {
        let started = Instant::now();
        let mut epoch_run = EpochRun {
            learner: &mut learner,
            teachers: &mut teachers,
            settings: &settings,
            data: &data,
            folder: &folder,
            stop,
        };
        let trained = epoch_run.train(epoch, checkpointed, observe)?;
        let is_last = epoch == settings.schedule.epochs;
        let validation = match &data.validation {
            Some(part) if is_last || epoch.is_multiple_of(settings.evaluate_every) => {
                network_quality(&learner.student.network, part, &data.normalisation)?
            }
            _ => None,
        };
        let seconds = started.elapsed().as_secs_f64();
        let record = EpochRecord {
            validation,
            loss_seconds: learner.take_loss_time().as_secs_f64(),
            seconds,
            ..trained.record(epoch, &teacher_names)
        };
        let student = &learner.student.network;
        if let Some(quality) = validation
            && progress.best.is_none_or(|best| quality.top1 > best.quality.top1)
        {
            progress.best = Some(BestEpoch { epoch, quality });
            write_student(&folder.best_student(), student, &card, epoch)?;
        }
        folder.append_metrics(&record)?;
        progress.epoch = epoch;
        progress.seconds += seconds;
        if is_last || epoch.is_multiple_of(settings.checkpoint_every) {
            let path = folder.last_checkpoint();
            checkpoint::save(&path, &learner, &settings.optimizer, &progress)?;
            checkpointed = epoch;
        }
        observe(Event::Epoch(&record));
    }
    finish(&folder, &learner, &mut teachers, &data, &settings, &progress, card)
}

fn resume(
    folder: &RunFolder,
    learner: &mut Learner,
    optimizer: &crate::optimizer::OptimizerConfig,
    expected: &Progress,
) -> Result<Progress> {
    let path = folder.last_checkpoint();
    if !path.exists() {
        return Err(Error::NothingToResume { path: folder.path().to_owned() });
    }
    check_same_run(&path, &checkpoint::progress(&path)?, expected)?;
    checkpoint::load(&path, learner, optimizer)
}

/// Final test numbers of the last and of the best epoch; the best student is the result.
fn finish(
    folder: &RunFolder,
    learner: &Learner,
    teachers: &mut [crate::run::Teacher],
    data: &crate::run::RunData,
    settings: &crate::run::Settings,
    progress: &Progress,
    mut card: RunCard,
) -> Result<RunCard> {
    let last = &learner.student.network;
    card.seconds = progress.seconds;
    let best = (progress.best, folder.best_student());
    let student = deliver(&folder.student(), last, best, data, progress.epoch, &mut card)?;
    let (epochs, batch_size) = (settings.schedule.epochs, settings.batch_size);
    let student = &student;
    let subject = Subject { learner, teachers, data, student, epochs, batch_size };
    folder.write_report(&report_data::collect(subject)?)?;
    // Last: with it the run is finished.
    folder.write_card(&card)?;
    Ok(card)
}

/// Measures the network after its last epoch and at the best one, which lies in a file; puts the
/// numbers on the card and the best one's weights into `path`; gives that network.
pub(crate) fn deliver(
    path: &Path,
    last: &Network,
    (best, best_path): (Option<BestEpoch>, PathBuf),
    data: &crate::run::RunData,
    epoch: usize,
    card: &mut RunCard,
) -> Result<Network> {
    let quality = |network: &Network, part: &Option<faculty_data::Part>| match part {
        Some(part) => network_quality(network, part, &data.normalisation),
        None => Ok(None),
    };
    card.last = StudentResult {
        epoch,
        validation: quality(last, &data.validation)?,
        test: quality(last, &data.test)?,
    };
    let mut student = last.clone();
    card.best = match best.filter(|best| best.epoch != epoch) {
        None => card.last,
        Some(best) => {
            student.set_state_dict(&weights::read(&best_path)?, &best_path)?;
            StudentResult {
                epoch: best.epoch,
                validation: Some(best.quality),
                test: quality(&student, &data.test)?,
            }
        }
    };
    write_student(path, &student, card, card.best.epoch)?;
    Ok(student)
}

pub(crate) fn write_student(
    path: &Path,
    student: &Network,
    card: &RunCard,
    epoch: usize,
) -> Result<()> {
    let metadata = [
        ("network".to_owned(), student.name().to_owned()),
        ("classes".to_owned(), student.classes().to_string()),
        ("method".to_owned(), card.method.clone()),
        ("epoch".to_owned(), epoch.to_string()),
        ("faculty".to_owned(), card.faculty.clone()),
        ("mean".to_owned(), json(&card.mean)),
        ("std".to_owned(), json(&card.std)),
        ("class_names".to_owned(), json(&card.classes)),
    ];
    weights::write(path, &student.state_dict(), &metadata.into())?;
    Ok(())
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data always serialises")
}

/// One epoch with everything it touches.
struct EpochRun<'a> {
    learner: &'a mut Learner,
    teachers: &'a mut [crate::run::Teacher],
    settings: &'a crate::run::Settings,
    data: &'a crate::run::RunData,
    folder: &'a RunFolder,
    stop: &'a AtomicBool,
}

/// What the batches of an epoch showed.
pub(crate) struct TrainedEpoch {
    pub(crate) sums: EpochSums,
    pub(crate) learning_rate: f64,
    pub(crate) data_wait_seconds: f64,
    pub(crate) teacher_seconds: f64,
    pub(crate) seconds: f64,
}

impl TrainedEpoch {
    /// Without what is measured after it.
    pub(crate) fn record(&self, epoch: usize, teachers: &[String]) -> EpochRecord {
        EpochRecord {
            epoch,
            learning_rate: self.learning_rate,
            loss: self.sums.loss(),
            terms: self.sums.terms(),
            teacher_weights: self.sums.teacher_weights(teachers),
            train_top1: self.sums.train_top1(),
            validation: None,
            images_per_second: self.sums.samples() as f64 / self.seconds,
            data_wait_seconds: self.data_wait_seconds,
            teacher_seconds: self.teacher_seconds,
            loss_seconds: 0.0,
            seconds: self.seconds,
        }
    }
}

impl EpochRun<'_> {
    fn train(
        &mut self,
        epoch: usize,
        checkpointed: usize,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<TrainedEpoch> {
        let started = Instant::now();
        let settings = self.settings;
        let needs = self.learner.method().needs(epoch);
        let mut loader = epoch_batches(self.data, settings, epoch)?;
        let batches = loader.batches_left();
        let mut sums = EpochSums::default();
        let mut learning_rate = 0.0;
        let mut teacher_seconds = 0.0;
        let mut batch_number = 0;
        while let Some(batch) = loader.next() {
            let batch = batch?;
            batch_number += 1;
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted { epoch, kept: self.kept(checkpointed) });
            }
            let outputs = if needs.learning_teachers {
                let started = Instant::now();
                let outputs = self.learner.teacher_outputs(&batch.images, batch.len());
                teacher_seconds += started.elapsed().as_secs_f64();
                outputs
            } else if needs.teachers() {
                let started = Instant::now();
                let view = TeacherBatch {
                    ids: &batch.ids,
                    view: u64::from(batch.view_number),
                    images: &batch.images,
                };
                let outputs = self
                    .teachers
                    .iter_mut()
                    .map(|teacher| teacher.source.outputs(&view, &needs.teacher_taps))
                    .collect::<Result<Vec<TeacherOutputs>>>()?;
                teacher_seconds += started.elapsed().as_secs_f64();
                outputs
            } else {
                Vec::new()
            };
            learning_rate = settings.schedule.rate(epoch, batch_number - 1, batches);
            let learner_batch = LearnerBatch {
                epoch,
                draw: draw(Purpose::Method, settings.seed, epoch as u64, batch_number as u64, 0),
                ids: &batch.ids,
                images: &batch.images,
                labels: &batch.labels,
                teachers: &outputs,
            };
            let step = self.learner.gradients(&learner_batch);
            if let Some((what, value)) = broken(&step) {
                let kept = self.kept(checkpointed);
                return Err(Error::NotFinite { what, value, epoch, batch: batch_number, kept });
            }
            let rate = learning_rate as f32;
            self.learner.update(&settings.optimizer, rate, settings.clip, epoch);
            let numbers = self.learner.after_step(&learner_batch, rate, settings.clip);
            if let Some((name, value)) = numbers.into_iter().find(|(_, v)| !v.is_finite()) {
                let (what, kept) = (format!("`{name}`"), self.kept(checkpointed));
                return Err(Error::NotFinite { what, value, epoch, batch: batch_number, kept });
            }
            sums.add(&step, batch.len());
            observe(Event::Batch {
                epoch,
                batch: batch_number,
                batches,
                loss: sums.loss(),
                images_per_second: sums.samples() as f64 / started.elapsed().as_secs_f64(),
            });
            loader.recycle(batch);
        }
        if let Some(value) = broken_weight(&self.learner.student.network) {
            let what = "a weight of the student".to_owned();
            let kept = self.kept(checkpointed);
            return Err(Error::NotFinite { what, value, epoch, batch: batch_number, kept });
        }
        Ok(TrainedEpoch {
            sums,
            learning_rate,
            data_wait_seconds: loader.data_wait().as_secs_f64(),
            teacher_seconds,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// The last checkpoint, if one was written at the end of epoch `checkpointed`.
    fn kept(&self, checkpointed: usize) -> Option<PathBuf> {
        (checkpointed > 0).then(|| self.folder.last_checkpoint())
    }
}

/// The first weight that is not a number.
pub(crate) fn broken_weight(network: &Network) -> Option<f64> {
    let mut weights = network.parameters().iter().flatten();
    weights.find(|w| !w.is_finite()).map(|&w| f64::from(w))
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
