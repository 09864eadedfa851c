//! The training loop: students that learn in step on the same batches, one in an ordinary run.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use faculty_data::Batch;
use faculty_data::rng::{Purpose, draw};

use super::checks::{OUTPUTS, broken, broken_quality};
use super::event::{Event, Observer};
use super::member::Member;
use super::student_file::write_or_remove_best;
use super::teacher_fault::TeacherFault;
use crate::best_by;
use crate::checkpoint::{Identity, Progress};
use crate::error::{Error, Result};
use crate::evaluate::{mean_logits, quality_among};
use crate::learner::{LearnerBatch, StepRecord};
use crate::record::{EarlyStop, EpochRecord};
use crate::run_folder::{RunFolder, Start, StudentFiles};
use crate::settings::{Settings, epoch_batches};
use faculty_teachers::{RunData, Teacher, TeacherBatch, TeacherError, TeacherOutputs};
use xxhash_rust::xxh3::Xxh3;

/// Students at work, and what they share.
pub(crate) struct Cohort<'a> {
    /// The student of the recipe first.
    pub(crate) members: Vec<Member>,
    /// Frozen ones, which the only member reads.
    pub(crate) teachers: Vec<Teacher>,
    pub(crate) data: RunData,
    pub(crate) settings: Settings,
    pub(crate) folder: RunFolder,
    /// What the members share; their own part of it is brought up to date when it is saved.
    pub(crate) progress: Progress,
    stop: &'a AtomicBool,
    /// When the last checkpoint was written, or the run began.
    pub(super) saved: Instant,
}

impl<'a> Cohort<'a> {
    /// Takes the folder.
    ///
    /// # Errors
    /// When it cannot be used.
    #[expect(clippy::too_many_arguments, reason = "what a run is made of, each thing once")]
    pub(crate) fn open(
        members: Vec<Member>,
        teachers: Vec<Teacher>,
        data: RunData,
        settings: Settings,
        identity: Identity,
        folder: &Path,
        stop: &'a AtomicBool,
        start: Start,
    ) -> Result<Self> {
        let folder = match settings.group.is_first() {
            true => RunFolder::open(folder, start)?,
            false => RunFolder::looking_on(folder),
        };
        // Nobody reads what the first one may still remove.
        settings.group.barrier()?;
        let mut progress = Progress::start(identity, settings.precision);
        progress.processes = settings.group.size();
        let saved = Instant::now();
        Ok(Self { members, teachers, data, settings, folder, progress, stop, saved })
    }

    /// All epochs that are left.
    ///
    /// # Errors
    /// When a number breaks down, the training is stopped, or a file cannot be read or written.
    pub(crate) fn train(&mut self, observe: Observer<'_>) -> Result<()> {
        self.check_same()?;
        let (epoch, batch) = (self.progress.epoch + 1, self.batch());
        observe(&self.members[0].name, Event::Started { epoch, batch });
        while self.progress.epoch < self.settings.schedule.epochs && self.early_stop().is_none() {
            self.epoch(observe)?;
        }
        Ok(())
    }

    /// Why there are no more epochs although the schedule has some: the recipe's student has not
    /// improved for as long as the recipe waits. A function of what is done, so that a resumed run
    /// decides the same.
    pub(super) fn early_stop(&self) -> Option<EarlyStop> {
        let Settings { schedule, best_by, evaluate_every, .. } = &self.settings;
        let (patience, best) = self.settings.patience.zip(self.members[0].done.best)?;
        let epoch = self.progress.epoch;
        // A first training is there for what it leaves to the second one.
        let in_first = schedule.restart_after.is_some_and(|first| epoch <= first);
        let measured = epoch.is_multiple_of(*evaluate_every);
        let over = epoch < schedule.epochs && epoch - best.epoch >= patience;
        (over && measured && !in_first).then(|| EarlyStop {
            epoch,
            epochs: schedule.epochs,
            patience,
            metric: best_by.name().to_owned(),
            best_epoch: best.epoch,
            best: best_by::value(*best_by, &best.quality).unwrap_or(f64::NAN),
        })
    }

    /// The next epoch, or what is left of it.
    fn epoch(&mut self, observe: Observer<'_>) -> Result<()> {
        let epoch = self.progress.epoch + 1;
        let restart = self.settings.schedule.restart_after == Some(self.progress.epoch);
        if restart && self.batch() == 0 {
            self.restart()?;
        }
        self.batches(epoch, observe)?;
        let evaluating = Instant::now();
        let is_last = epoch == self.settings.schedule.epochs;
        let measured = is_last || epoch.is_multiple_of(self.settings.evaluate_every);
        let mut measures = Vec::new();
        for at in 0..self.members.len() {
            if measured {
                self.set_mean_logits(at, epoch)?;
            }
            measures.push(match &self.data.validation {
                Some(part) if measured => {
                    let (group, network) = (&self.settings.group, self.members[at].evaluated());
                    quality_among(group, network, part, &self.data.views)?
                }
                _ => None,
            });
        }
        let seconds = self.members[0].part().times.training + evaluating.elapsed().as_secs_f64();
        let mut records: Vec<EpochRecord> = Vec::new();
        for (at, validation) in measures.into_iter().enumerate() {
            let files = self.files(at);
            let member = &mut self.members[at];
            let part = member.done.part.clone().unwrap_or_default();
            let record = part.record(epoch, &member.sources, validation, seconds);
            member.done.metrics_bytes = files.append_metrics(&record, member.done.metrics_bytes)?;
            records.push(record);
        }
        for (at, record) in records.iter().enumerate() {
            if let Some(value) = broken_quality(record.validation) {
                return Err(self.not_finite(at, OUTPUTS.to_owned(), value));
            }
        }
        for (at, record) in records.iter().enumerate() {
            let files = self.files(at);
            self.members[at].done.part = None;
            self.members[at].keep_best(&files, record, self.settings.best_by)?;
        }
        self.progress.epoch = epoch;
        self.progress.seconds += seconds;
        self.check_same()?;
        let early_stop = self.early_stop();
        let is_last = is_last || early_stop.is_some();
        if is_last || epoch.is_multiple_of(self.settings.checkpoint_every) {
            self.save()?;
        }
        for (member, record) in self.members.iter_mut().zip(&records) {
            observe(&member.name, Event::Epoch(record));
            if let Some(warning) = member.dominant_term(record) {
                observe(&member.name, Event::Warning(warning));
            }
        }
        if let Some(stop) = &early_stop {
            observe(&self.members[0].name, Event::StoppedEarly(stop));
        }
        Ok(())
    }

    /// Gives a member the mean logits that its method asks for, by its last bias: over the views of
    /// the epoch, as those were trained on that the method knows. The method's loss does not see
    /// what is changed here, so that training goes on as it would have.
    fn set_mean_logits(&mut self, at: usize, epoch: usize) -> Result<()> {
        let learner = &mut self.members[at].learner;
        let Some(expected) = learner.mean_logits() else { return Ok(()) };
        let all = Settings { drop_last: false, ..self.settings.clone() };
        let student = learner.evaluated_mut();
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
        for at in 0..self.members.len() {
            let files = self.files(at);
            let member = &mut self.members[at];
            member.learner.restart();
            (member.best, member.done.best) = (None, None);
            write_or_remove_best(&files, None, &member.card)?;
        }
        Ok(())
    }

    /// The batches of an epoch that are not done yet.
    fn batches(&mut self, epoch: usize, observe: Observer<'_>) -> Result<()> {
        let before = self.members[0].part().clone();
        let mut loader = epoch_batches(&self.data, &self.settings, epoch, before.samples)?;
        let batches = before.batches + loader.batches_left();
        let started = Instant::now();
        self.pause_if_asked(epoch)?;
        while let Some(batch) = loader.next() {
            let inputs = batch.map_err(Error::from);
            let inputs = inputs.and_then(|batch| Ok((self.outputs(epoch, &batch)?, batch)));
            let (outputs, batch) = inputs.map_err(|error| self.keep_after(error, observe))?;
            let (sum, counted) = self.members[0].part().sums.total_loss();
            self.step(epoch, batches, &batch, &outputs, observe)?;
            let training = before.times.training + started.elapsed().as_secs_f64();
            let data_wait = before.times.data_wait + loader.data_wait().as_secs_f64();
            for member in &mut self.members {
                let losses = member.learner.take_loss_time().as_secs_f64();
                let times = &mut member.part().times;
                (times.training, times.data_wait) = (training, data_wait);
                times.losses += losses;
            }
            let part = self.members[0].part();
            let (number, loss) = (part.batches, part.sums.loss());
            let images_per_second = part.sums.samples() as f64 / training;
            let (sum_after, counted_after) = part.sums.total_loss();
            let batch_loss = (sum_after - sum) / (counted_after - counted);
            observe(
                &self.members[0].name,
                Event::Batch { epoch, batch: number, batches, loss, batch_loss, images_per_second },
            );
            loader.recycle(batch);
            self.pause_if_asked(epoch)?;
            // The end of the epoch writes its own.
            if number < batches && self.saved.elapsed() >= self.settings.checkpoint_after {
                self.save()?;
            }
        }
        self.check_weights()
    }

    /// What the teachers say of a batch.
    fn outputs(&mut self, epoch: usize, batch: &Batch) -> Result<Vec<TeacherOutputs>> {
        let learner = &mut self.members[0].learner;
        let needs = learner.method().needs(epoch);
        if !needs.teachers() {
            return Ok(Vec::new());
        }
        let started = Instant::now();
        let outputs = if needs.learning_teachers {
            learner.teacher_outputs(batch.inputs.view(), batch.len())
        } else {
            let view = TeacherBatch::from(batch);
            self.teachers
                .iter_mut()
                .map(|teacher| teacher.source.outputs(&view, &needs.teacher_taps))
                .collect::<std::result::Result<Vec<TeacherOutputs>, TeacherError>>()?
        };
        self.members[0].part().times.teachers += started.elapsed().as_secs_f64();
        Ok(outputs)
    }

    /// One batch: all members forward, then the gradients of each with its teachers' outputs, which
    /// may be the others', then all updates, so that a batch is left out for all or for none.
    fn step(
        &mut self,
        epoch: usize,
        batches: usize,
        batch: &Batch,
        outputs: &[TeacherOutputs],
        observe: Observer<'_>,
    ) -> Result<()> {
        let Self { members, teachers, settings, progress, .. } = self;
        let number = members[0].part().batches + 1;
        let inputs = LearnerBatch {
            epoch,
            step_seed: draw(Purpose::Method, settings.seed, epoch as u64, number as u64, 0),
            ids: &batch.ids,
            inputs: batch.inputs.view(),
            labels: &batch.labels,
            mixed: batch.mixed.as_ref(),
            teachers: outputs,
        };
        let may_skip = progress.skipped_batches < settings.skip_bad_batches;
        let statistics: Option<Vec<_>> =
            may_skip.then(|| members.iter().map(|own| own.learner.running_statistics()).collect());
        let needs = members[0].learner.method().needs(epoch);
        // Learning ones break down with the student.
        let frozen = if needs.learning_teachers { &[] } else { teachers.as_slice() };
        let fault = TeacherFault::find(frozen, outputs, &needs.teacher_taps);
        let fault = TeacherFault::agreed(fault.filter(|_| !batch.absent), &settings.group)?;
        for member in members.iter_mut() {
            member.learner.set_whole_batch(batch.whole, batch.absent);
        }
        let peers: Vec<Vec<TeacherOutputs>> = match members.as_mut_slice() {
            [only] => {
                only.learner.predict(&inputs);
                Vec::new()
            }
            all => others(&all.iter_mut().map(|own| own.predict(&inputs)).collect::<Vec<_>>()),
        };
        let inputs_of = |at: usize| LearnerBatch {
            teachers: peers.get(at).map_or(outputs, Vec::as_slice),
            ..inputs
        };
        let accumulate = settings.accumulate;
        let is_update = number.is_multiple_of(accumulate) || number == batches;
        let mut steps: Vec<StepRecord> = Vec::new();
        let mut bad = fault.as_ref().map(|fault| (0, fault.described()));
        for (at, member) in members.iter_mut().enumerate() {
            let step = member.learner.gradients_of_prediction(&inputs_of(at));
            settings.group.check()?;
            let broke = broken(&step).or_else(|| member.learner.broken_gradient(epoch));
            bad = bad.or(broke.map(|what| (at, what)));
            steps.push(step);
            let part = member.part();
            part.batches = number;
            part.samples += batch.whole;
        }
        match (bad, statistics) {
            (None, _) => {
                for (member, step) in members.iter_mut().zip(&steps) {
                    member.part().sums.add(step, batch.whole);
                    if accumulate > 1 {
                        member.learner.accumulate(batch.whole, epoch);
                    }
                }
            }
            (Some((at, (what, value))), None) => {
                return Err(match fault {
                    Some(fault) => self.teacher_broke(fault),
                    None => self.not_finite(at, what, value),
                });
            }
            (Some((at, (what, value))), Some(statistics)) => {
                progress.skipped_batches += 1;
                let (skipped, limit) = (progress.skipped_batches, settings.skip_bad_batches);
                let whose = match members.len() {
                    1 => String::new(),
                    _ => format!(" of `{}`", members[at].name),
                };
                let warning = format!(
                    "batch {number} of epoch {epoch} is left out, since {what}{whose} became \
                     {value} ({skipped} of {limit} that may be left out)"
                );
                observe(&members[0].name, Event::Warning(warning));
                for (member, own) in members.iter_mut().zip(statistics) {
                    member.learner.set_running_statistics(own);
                    member.part().skipped += 1;
                }
                if accumulate == 1 {
                    return Ok(());
                }
            }
        }
        // An update of which all batches were left out is left out itself.
        let nothing_waits = accumulate > 1 && members[0].learner.waiting_samples() == 0;
        if !is_update || nothing_waits {
            return Ok(());
        }
        let (update, updates) = ((number - 1) / accumulate, batches.div_ceil(accumulate));
        let learning_rate = settings.schedule.rate(epoch, update, updates);
        let (rate, clip) = (learning_rate as f32, settings.clip);
        let mut broke = None;
        for (at, member) in members.iter_mut().enumerate() {
            member.part().learning_rate = learning_rate;
            let learner = &mut member.learner;
            if accumulate > 1 {
                learner.take_accumulated(epoch);
            }
            learner.update(&settings.optimizer, rate, clip, epoch);
            let numbers = learner.after_step(&inputs_of(at), &settings.optimizer, rate, clip);
            let bad = numbers.into_iter().find(|(_, value)| !value.is_finite());
            broke = broke.or(bad.map(|(name, value)| (at, name, value)));
        }
        match broke {
            Some((at, name, value)) => Err(self.not_finite(at, format!("`{name}`"), value)),
            None => Ok(()),
        }
    }

    /// Stops where the processes of a training no longer have the same students.
    fn check_same(&self) -> Result<()> {
        let group = &self.settings.group;
        if group.is_alone() {
            return Ok(());
        }
        let mut hash = Xxh3::new();
        hash.update(&self.progress.epoch.to_le_bytes());
        hash.update(&self.batch().to_le_bytes());
        for (_, trained) in self.members.iter().flat_map(|own| own.learner.trained()) {
            let network = &trained.network;
            for value in network.parameters().iter().chain(network.buffers()).flatten() {
                hash.update(&value.to_le_bytes());
            }
        }
        let own = hash.digest();
        // The largest hash and the smallest one.
        let ends = [group.max(own)?, !group.max(!own)?];
        if ends == [own; 2] {
            return Ok(());
        }
        let (processes, epoch) = (group.size(), self.progress.epoch);
        Err(Error::ProcessesDiffer { processes, epoch })
    }

    /// Saves and ends the training if it, or another process of it, was asked to stop.
    fn pause_if_asked(&mut self, epoch: usize) -> Result<()> {
        let asked = self.stop.load(Ordering::Relaxed);
        if self.settings.group.max(u64::from(asked))? == 0 {
            return Ok(());
        }
        let batch = self.batch();
        if batch > 0 {
            self.save()?;
        }
        Err(Error::Interrupted { epoch, batch, kept: self.kept() })
    }

    /// Finished batches of the epoch in work.
    pub(super) fn batch(&self) -> usize {
        self.members[0].done.part.as_ref().map_or(0, |part| part.batches)
    }

    /// Where a member's results lie.
    pub(crate) fn files(&self, at: usize) -> StudentFiles {
        if at == 0 { self.folder.own_files() } else { self.folder.peer(&self.members[at].name) }
    }
}

/// For each of some outputs the others, in their order.
fn others(outputs: &[TeacherOutputs]) -> Vec<Vec<TeacherOutputs>> {
    (0..outputs.len()).map(|at| [&outputs[..at], &outputs[at + 1..]].concat()).collect()
}
