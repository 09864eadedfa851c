//! Mutual learning: several networks in step, on the same batches, each with the others' logits.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use faculty_data::rng::{Purpose, draw};
use faculty_data::{Batch, Dataset};
use faculty_files as files;
use faculty_nets::Network;

use faculty_records::plan::{Ensemble, PlannedStudent};

use super::{PlanEvent, ensemble, input, numbered};
use crate::checkpoint::{BestEpoch, EpochPart, Identity, PeerProgress, Progress, Saved};
use crate::compute::Compute;
use crate::error::{Error, Result};
use crate::evaluate::network_quality;
use crate::learner::{Learner, LearnerBatch, StepRecord, TeacherTraits};
use crate::methods::{Dml, Method as _};
use crate::objective;
use crate::recipe::{Plan, Recipe};
use crate::record::{EpochRecord, RunCard};
use crate::run::{CheckedRun, RunData, Settings, epoch_batches};
use crate::run_folder::{RunFolder, Start, StudentFiles};
use crate::teacher::TeacherOutputs;
use crate::trainer::{
    Event, OUTPUTS, adopt, broken, broken_at_the_end, broken_quality, broken_student,
    broken_weight, cut_metrics, deliver, kept_up_to, nothing_to_resume, write_or_remove_best,
    write_student,
};

/// The named student's name; its peers are `1-resnet14`, `2-resnet8`, …
const STUDENT: &str = "student";

type Observer<'a> = &'a mut dyn FnMut(Event<'_>);

/// The student and its peers, checked.
pub(super) struct Cohort {
    members: Vec<Member>,
    data: RunData,
    settings: Settings,
    identity: Identity,
}

/// One network that learns.
struct Member {
    name: String,
    /// Before its tensors' names in checkpoints.
    prefix: String,
    learner: Learner,
    /// The others' names, in the order of their logits.
    peers: Vec<String>,
    card: RunCard,
    /// The network of `done.best`.
    best: Option<Network>,
    done: PeerProgress,
}

impl Cohort {
    pub(super) fn new(recipe: &Recipe, plan: &Plan, dataset: &Dataset) -> Result<Self> {
        let alone = Recipe { plan: None, ..recipe.clone() };
        let run = CheckedRun::new(&alone, dataset)?;
        let compute = Compute::of(recipe.train.device)?;
        let classes = dataset.classes().len();
        let mut networks = vec![(STUDENT.to_owned(), run.learner.student.network.clone())];
        for (at, name) in plan.networks.iter().enumerate() {
            // A seed for each, so that equal networks do not start, and stay, equal.
            let seed = recipe.seed.saturating_add(1 + at as u64);
            let network = Network::new(name, input(&run.data), classes, seed)?;
            networks.push((numbered(at, name), network));
        }
        let names: Vec<String> = networks.iter().map(|(name, _)| name.clone()).collect();
        let traits: Vec<TeacherTraits> =
            plan.networks.iter().map(|_| TeacherTraits::of_logits()).collect();
        let members = networks.into_iter().map(|(name, network)| Member {
            peers: names.iter().filter(|other| **other != name).cloned().collect(),
            card: RunCard {
                method: "dml".to_owned(),
                objective: objective::tidy(&Dml.objective(plan.networks.len())),
                student: network.name().to_owned(),
                student_parameters: network.graph().parameter_count(),
                student_notes: match name.as_str() {
                    STUDENT => run.card.student_notes.clone(),
                    _ => Vec::new(),
                },
                ..run.card.clone()
            },
            learner: Learner::new(
                network,
                Box::new(Dml),
                &traits,
                recipe.train.batch_size,
                recipe.seed,
                &compute,
            ),
            prefix: if name == STUDENT { String::new() } else { format!("{name}/") },
            name,
            best: None,
            done: PeerProgress::default(),
        });
        Ok(Self {
            members: members.collect(),
            data: run.data,
            settings: Settings { recipe: recipe.to_toml()?, ..run.settings },
            identity: Identity::of(recipe, &[], dataset.fingerprint())?,
        })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.members.iter().map(|member| member.name.clone()).collect()
    }

    pub(super) fn run(
        self,
        folder: &Path,
        start: Start,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&str, PlanEvent<'_>),
    ) -> Result<(RunCard, Vec<PlannedStudent>, Option<Ensemble>)> {
        let Self { members, data, settings, identity } = self;
        let mut training = Training {
            folder: RunFolder::open(folder, start)?,
            members,
            data,
            settings,
            stop,
            progress: Progress::start(identity),
            saved: Instant::now(),
        };
        training.begin(start, &mut |event| observe(STUDENT, PlanEvent::Run(event)))?;
        let card = &training.members[0].card;
        observe(STUDENT, PlanEvent::Student { card, data: &training.data });
        let (epoch, batch) = (training.progress.epoch + 1, training.progress.batch());
        observe(STUDENT, PlanEvent::Run(Event::Started { epoch, batch }));
        while training.progress.epoch < training.settings.schedule.epochs {
            let records = training.epoch(&mut |event| observe(STUDENT, PlanEvent::Run(event)))?;
            for (member, record) in training.members.iter().zip(&records) {
                observe(&member.name, PlanEvent::Run(Event::Epoch(record)));
            }
        }
        training.finish()
    }
}

/// All networks at work.
struct Training<'a> {
    members: Vec<Member>,
    data: RunData,
    settings: Settings,
    folder: RunFolder,
    stop: &'a AtomicBool,
    /// What the members share; their own part of it is brought up to date by [`Training::save`].
    progress: Progress,
    /// When the last checkpoint was written, or the run began.
    saved: Instant,
}

impl Training<'_> {
    /// The folder and the networks as they have to be before the next batch.
    fn begin(&mut self, start: Start, observe: Observer<'_>) -> Result<()> {
        let peers = self.folder.peer_folder();
        files::create_inside(self.folder.path(), &peers).map_err(Error::io("create", &peers))?;
        if start != Start::Resume {
            return self.folder.write_recipe(&self.settings.recipe);
        }
        let Some(checkpoint) = adopt(&self.folder, &self.progress, None, observe)? else {
            observe(nothing_to_resume(self.folder.path()));
            self.folder.write_recipe(&self.settings.recipe)?;
            let mut all = self.members.iter();
            return all.try_for_each(|own| own.files(&self.folder).cut_metrics(0).map(drop));
        };
        for (at, member) in self.members.iter_mut().enumerate() {
            let optimizer = &self.settings.optimizer;
            member.best = checkpoint.restore(&member.prefix, &mut member.learner, optimizer)?;
            let Progress { part, best, metrics_bytes, peers, .. } = &checkpoint.progress;
            member.done = match at {
                0 => {
                    PeerProgress { part: part.clone(), best: *best, metrics_bytes: *metrics_bytes }
                }
                peer => peers.get(peer - 1).cloned().unwrap_or_default(),
            };
            let files = member.files(&self.folder);
            let best = member.best.as_ref().zip(member.done.best);
            write_or_remove_best(&files, best, &member.card)?;
            cut_metrics(&files, &mut member.done.metrics_bytes, observe)?;
        }
        self.progress = checkpoint.progress;
        Ok(())
    }

    /// Writes a checkpoint of what is done so far.
    fn save(&mut self) -> Result<()> {
        self.check_weights()?;
        for (at, member) in self.members.iter().enumerate() {
            if let Some(value) = broken_student(&member.learner.student.network, &self.data)? {
                return Err(self.not_finite(at, OUTPUTS.to_owned(), value));
            }
        }
        let PeerProgress { part, best, metrics_bytes } = self.members[0].done.clone();
        self.progress.part = part;
        self.progress.best = best;
        self.progress.metrics_bytes = metrics_bytes;
        self.progress.peers = self.members[1..].iter().map(|own| own.done.clone()).collect();
        let students: Vec<Saved<'_>> = self.members.iter().map(Member::saved).collect();
        let optimizer = &self.settings.optimizer;
        self.folder.checkpoints().save(&students, optimizer, &self.progress)?;
        self.saved = Instant::now();
        Ok(())
    }

    /// The next epoch of all networks, or what is left of it.
    fn epoch(&mut self, observe: Observer<'_>) -> Result<Vec<EpochRecord>> {
        let epoch = self.progress.epoch + 1;
        self.batches(epoch, observe)?;
        let is_last = epoch == self.settings.schedule.epochs;
        let measured = is_last || epoch.is_multiple_of(self.settings.evaluate_every);
        let evaluating = Instant::now();
        let mut measures = Vec::new();
        for member in &self.members {
            measures.push(match &self.data.validation {
                Some(part) if measured => {
                    let network = &member.learner.student.network;
                    network_quality(network, part, &self.data.normalisation)?
                }
                _ => None,
            });
        }
        let times = self.members[0].done.part.as_ref().map_or(0.0, |part| part.times.training);
        let seconds = times + evaluating.elapsed().as_secs_f64();
        let mut records = Vec::new();
        for (member, validation) in self.members.iter_mut().zip(measures) {
            let part = member.done.part.clone().unwrap_or_default();
            let record = part.record(epoch, &member.peers, validation, seconds);
            let files = member.files(&self.folder);
            member.done.metrics_bytes = files.append_metrics(&record, member.done.metrics_bytes)?;
            records.push(record);
        }
        for (at, record) in records.iter().enumerate() {
            if let Some(value) = broken_quality(record.validation) {
                return Err(self.not_finite(at, OUTPUTS.to_owned(), value));
            }
        }
        for (member, record) in self.members.iter_mut().zip(&records) {
            member.done.part = None;
            member.keep_best(&member.files(&self.folder), record)?;
        }
        self.progress.epoch = epoch;
        self.progress.seconds += seconds;
        if is_last || epoch.is_multiple_of(self.settings.checkpoint_every) {
            self.save()?;
        }
        Ok(records)
    }

    /// The batches of an epoch that are not done yet.
    fn batches(&mut self, epoch: usize, observe: Observer<'_>) -> Result<()> {
        let before = self.members[0].done.part.get_or_insert_default().clone();
        let mut loader = epoch_batches(&self.data, &self.settings, epoch, before.samples)?;
        let batches = before.batches + loader.batches_left();
        let started = Instant::now();
        self.pause_if_asked(epoch)?;
        while let Some(batch) = loader.next() {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => return Err(self.keep_after(error.into(), observe)),
            };
            self.step(epoch, batches, &batch, observe)?;
            let times = before.times;
            for member in &mut self.members {
                let part = member.done.part.get_or_insert_default();
                part.times.training = times.training + started.elapsed().as_secs_f64();
                part.times.data_wait = times.data_wait + loader.data_wait().as_secs_f64();
                part.times.losses += member.learner.take_loss_time().as_secs_f64();
            }
            let EpochPart { batches: number, sums, times, .. } =
                self.members[0].done.part.get_or_insert_default();
            let (batch_number, loss) = (*number, sums.loss());
            let images_per_second = sums.samples() as f64 / times.training;
            observe(Event::Batch { epoch, batch: batch_number, batches, loss, images_per_second });
            loader.recycle(batch);
            self.pause_if_asked(epoch)?;
            // The end of the epoch writes its own.
            if batch_number < batches && self.saved.elapsed() >= self.settings.checkpoint_after {
                self.save()?;
            }
        }
        self.check_weights()
    }

    /// One batch: all networks forward, then the gradients of each with the others' logits, then
    /// all updates, so that a batch is left out for all or for none.
    fn step(
        &mut self,
        epoch: usize,
        batches: usize,
        batch: &Batch,
        observe: Observer<'_>,
    ) -> Result<()> {
        let Self { members, settings, progress, .. } = self;
        let number = members[0].done.part.as_ref().map_or(0, |part| part.batches) + 1;
        let alone = LearnerBatch {
            epoch,
            draw: draw(Purpose::Method, settings.seed, epoch as u64, number as u64, 0),
            ids: &batch.ids,
            images: &batch.images,
            labels: &batch.labels,
            teachers: &[],
        };
        let may_skip = progress.skipped_batches < settings.skip_bad_batches;
        let statistics: Option<Vec<_>> =
            may_skip.then(|| members.iter().map(|own| own.learner.running_statistics()).collect());
        let outputs: Vec<TeacherOutputs> =
            members.iter_mut().map(|member| member.predict(&alone)).collect();
        let mut steps: Vec<StepRecord> = Vec::new();
        let mut bad = None;
        for (at, member) in members.iter_mut().enumerate() {
            let peers = [&outputs[..at], &outputs[at + 1..]].concat();
            let own = LearnerBatch { teachers: &peers, ..alone };
            let step = member.learner.gradients_of_prediction(&own);
            let broke = broken(&step).or_else(|| member.learner.broken_gradient(epoch));
            bad = bad.or(broke.map(|(what, value)| (at, what, value)));
            steps.push(step);
        }
        for member in members.iter_mut() {
            let part = member.done.part.get_or_insert_default();
            part.batches = number;
            part.samples += batch.len();
        }
        match (bad, statistics) {
            (None, _) => {}
            (Some((at, what, value)), None) => return Err(self.not_finite(at, what, value)),
            (Some((at, what, value)), Some(statistics)) => {
                progress.skipped_batches += 1;
                let (skipped, limit) = (progress.skipped_batches, settings.skip_bad_batches);
                observe(Event::Warning(format!(
                    "batch {number} of epoch {epoch} is left out, since {what} of `{}` became \
                     {value} ({skipped} of {limit} that may be left out)",
                    members[at].name
                )));
                for (member, own) in members.iter_mut().zip(statistics) {
                    member.learner.set_running_statistics(own);
                    member.done.part.get_or_insert_default().skipped += 1;
                }
                return Ok(());
            }
        }
        let learning_rate = settings.schedule.rate(epoch, number - 1, batches);
        for (member, step) in members.iter_mut().zip(&steps) {
            let rate = learning_rate as f32;
            member.learner.update(&settings.optimizer, rate, settings.clip, epoch);
            let part = member.done.part.get_or_insert_default();
            part.learning_rate = learning_rate;
            part.sums.add(step, batch.len());
        }
        Ok(())
    }

    /// Saves and ends the run if it was asked to stop.
    fn pause_if_asked(&mut self, epoch: usize) -> Result<()> {
        if !self.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let batch = self.batch();
        if batch > 0 {
            self.save()?;
        }
        let kept = self.folder.newest_checkpoint().map(Path::to_owned);
        Err(Error::Interrupted { epoch, batch, kept })
    }

    /// After an error that came before the batch touched anything: keeps the batches before it.
    fn keep_after(&mut self, error: Error, observe: Observer<'_>) -> Error {
        if self.batch() > 0 && self.save().is_ok() {
            observe(kept_up_to(self.progress.epoch + 1, self.batch()));
        }
        error
    }

    /// Finished batches of the epoch in work.
    fn batch(&self) -> usize {
        self.members[0].done.part.as_ref().map_or(0, |part| part.batches)
    }

    fn not_finite(&self, at: usize, what: String, value: f64) -> Error {
        let (epoch, batch) = (self.progress.epoch + 1, self.batch());
        let kept = self.folder.newest_checkpoint().map(Path::to_owned);
        Error::StudentOfPlan {
            student: self.members[at].name.clone(),
            source: Box::new(Error::NotFinite { what, value, epoch, batch, kept }),
        }
    }

    /// Stops at a weight that broke down, before it is written anywhere.
    fn check_weights(&self) -> Result<()> {
        for (at, member) in self.members.iter().enumerate() {
            if let Some(value) = broken_weight(&member.learner.student.network) {
                return Err(self.not_finite(at, "a weight of the student".to_owned(), value));
            }
        }
        Ok(())
    }

    /// Final numbers and weights of all networks.
    fn finish(self) -> Result<(RunCard, Vec<PlannedStudent>, Option<Ensemble>)> {
        let Self { members, data, folder, progress, .. } = self;
        let (mut students, mut networks, mut cards) = (Vec::new(), Vec::new(), Vec::new());
        for member in members {
            let files = member.files(&folder);
            let Member { name, learner, mut card, best, done, .. } = member;
            card.seconds = progress.seconds;
            let last = &learner.student.network;
            let best = done.best.zip(best.as_ref());
            let network = deliver(&files.weights, last, best, &data, progress.epoch, &mut card)?;
            networks.push(network.clone());
            let below = files.weights.strip_prefix(folder.path()).unwrap_or(&files.weights);
            students.push(PlannedStudent::new(&name, below.display().to_string(), &card));
            if let Some(value) = broken_quality(card.best.test) {
                return Err(Error::StudentOfPlan {
                    student: name,
                    source: Box::new(broken_at_the_end(&card, value, &folder)),
                });
            }
            cards.push(card);
        }
        let together = ensemble(&networks, &data)?;
        Ok((cards.swap_remove(0), students, Some(together)))
    }
}

impl Member {
    fn saved(&self) -> Saved<'_> {
        Saved { prefix: &self.prefix, learner: &self.learner, best: self.best.as_ref() }
    }

    fn files(&self, folder: &RunFolder) -> StudentFiles {
        if self.name == STUDENT { folder.own_files() } else { folder.peer(&self.name) }
    }

    fn predict(&mut self, batch: &LearnerBatch<'_>) -> TeacherOutputs {
        TeacherOutputs { logits: self.learner.predict(batch).to_vec(), maps: Vec::new() }
    }

    /// Keeps the weights of the best validation epoch.
    fn keep_best(&mut self, files: &StudentFiles, record: &EpochRecord) -> Result<()> {
        if let Some(quality) = record.validation
            && self.done.best.is_none_or(|best| quality.top1 > best.quality.top1)
        {
            self.done.best = Some(BestEpoch { epoch: record.epoch, quality });
            let network = &self.learner.student.network;
            write_student(&files.best, network, &self.card, record.epoch)?;
            self.best = Some(network.clone());
        }
        Ok(())
    }
}
