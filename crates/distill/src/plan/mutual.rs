//! Mutual learning: several networks in step, on the same batches, each with the others' logits.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use faculty_data::Dataset;
use faculty_data::rng::{Purpose, draw};
use faculty_nets::{Network, weights};

use super::{Ensemble, PlanEvent, PlannedStudent, ensemble, input, numbered};
use crate::checkpoint::{self, BestEpoch, Progress};
use crate::compute::Compute;
use crate::error::{Error, Result};
use crate::evaluate::network_quality;
use crate::found::check_same_run;
use crate::learner::{Learner, LearnerBatch, TeacherTraits};
use crate::methods::{Dml, Method as _};
use crate::recipe::{Plan, Recipe};
use crate::record::{EpochRecord, EpochSums, RunCard};
use crate::run::{CheckedRun, RunData, Settings, epoch_batches, identity};
use crate::run_folder::{RunFolder, Start, StudentFiles};
use crate::teacher::TeacherOutputs;
use crate::trainer::{Event, TrainedEpoch, broken, broken_weight, deliver, write_student};

/// The named student's name; its peers are `1-resnet14`, `2-resnet8`, …
const STUDENT: &str = "student";

/// The student and its peers, checked.
pub(super) struct Cohort {
    members: Vec<Member>,
    data: RunData,
    settings: Settings,
    identity: String,
}

/// One network that learns.
struct Member {
    name: String,
    learner: Learner,
    /// The others' names, in the order of their logits.
    peers: Vec<String>,
    card: RunCard,
    best: Option<BestEpoch>,
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
                objective: Dml.objective(plan.networks.len()),
                student: network.name().to_owned(),
                student_parameters: network.graph().parameter_count(),
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
            name,
            best: None,
        });
        Ok(Self {
            members: members.collect(),
            data: run.data,
            settings: Settings { recipe: recipe.to_toml()?, ..run.settings },
            identity: identity(recipe, &[])?,
        })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.members.iter().map(|member| member.name.clone()).collect()
    }

    pub(super) fn run(
        mut self,
        folder: &Path,
        start: Start,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&str, PlanEvent<'_>),
    ) -> Result<(RunCard, Vec<PlannedStudent>, Option<Ensemble>)> {
        let folder = RunFolder::open(folder, start)?;
        let mut progress = self.begin(&folder, start)?;
        let card = &self.members[0].card;
        observe(STUDENT, PlanEvent::Student { card, data: &self.data });
        observe(STUDENT, PlanEvent::Run(Event::Started { epoch: progress.epoch + 1 }));
        let mut checkpointed = progress.epoch;
        let epochs = self.settings.schedule.epochs;
        for epoch in progress.epoch + 1..=epochs {
            let started = Instant::now();
            let kept = (checkpointed > 0).then(|| folder.last_checkpoint());
            let trained = self.train(epoch, kept, stop, &mut |event| {
                observe(STUDENT, PlanEvent::Run(event));
            })?;
            let is_last = epoch == epochs;
            let measured = is_last || epoch.is_multiple_of(self.settings.evaluate_every);
            let mut records = Vec::new();
            for (member, trained) in self.members.iter_mut().zip(&trained) {
                let validation = match &self.data.validation {
                    Some(part) if measured => {
                        let network = &member.learner.student.network;
                        network_quality(network, part, &self.data.normalisation)?
                    }
                    _ => None,
                };
                let loss_seconds = member.learner.take_loss_time().as_secs_f64();
                let own = trained.record(epoch, &member.peers);
                let record = EpochRecord { validation, loss_seconds, ..own };
                member.keep_best(&files(&folder, &member.name), &record)?;
                records.push(record);
            }
            let seconds = started.elapsed().as_secs_f64();
            for (member, record) in self.members.iter().zip(&mut records) {
                record.seconds = seconds;
                files(&folder, &member.name).append_metrics(record)?;
            }
            progress.epoch = epoch;
            progress.seconds += seconds;
            progress.best = self.members[0].best;
            progress.peers = self.members[1..].iter().map(|member| member.best).collect();
            if is_last || epoch.is_multiple_of(self.settings.checkpoint_every) {
                let path = folder.last_checkpoint();
                let learners = self.members.iter().map(|own| (own.prefix(), &own.learner));
                checkpoint::save_all(&path, learners, &self.settings.optimizer, &progress)?;
                checkpointed = epoch;
            }
            for (member, record) in self.members.iter().zip(&records) {
                observe(&member.name, PlanEvent::Run(Event::Epoch(record)));
            }
        }
        self.finish(&folder, &progress)
    }

    /// The folder as it has to be before the next epoch, and what is done.
    fn begin(&mut self, folder: &RunFolder, start: Start) -> Result<Progress> {
        let fingerprint = self.members[0].card.data_fingerprint.clone();
        let fresh = Progress::start(fingerprint, self.identity.clone());
        let peers = folder.path().join("peers");
        if start != Start::Resume {
            std::fs::create_dir_all(&peers).map_err(Error::io("create", &peers))?;
            folder.write_recipe(&self.settings.recipe)?;
            return Ok(fresh);
        }
        let path = folder.last_checkpoint();
        if !path.exists() {
            return Err(Error::NothingToResume { path: folder.path().to_owned() });
        }
        check_same_run(&path, &checkpoint::progress(&path)?, &fresh)?;
        let learners = self.members.iter_mut().map(|own| (own.prefix(), &mut own.learner));
        let progress = checkpoint::load_all(&path, learners, &self.settings.optimizer)?;
        let best = std::iter::once(&progress.best).chain(&progress.peers);
        for (member, best) in self.members.iter_mut().zip(best) {
            member.best = *best;
            files(folder, &member.name).keep_metrics_until(progress.epoch)?;
        }
        Ok(progress)
    }

    /// One epoch of all networks.
    fn train(
        &mut self,
        epoch: usize,
        kept: Option<PathBuf>,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Vec<TrainedEpoch>> {
        let Self { members, data, settings, .. } = self;
        let started = Instant::now();
        let mut loader = epoch_batches(data, settings, epoch)?;
        let batches = loader.batches_left();
        let mut sums = vec![EpochSums::default(); members.len()];
        let mut learning_rate = 0.0;
        let mut number = 0;
        while let Some(batch) = loader.next() {
            let batch = batch?;
            number += 1;
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted { epoch, kept });
            }
            let alone = LearnerBatch {
                epoch,
                draw: draw(Purpose::Method, settings.seed, epoch as u64, number as u64, 0),
                ids: &batch.ids,
                images: &batch.images,
                labels: &batch.labels,
                teachers: &[],
            };
            let outputs: Vec<TeacherOutputs> =
                members.iter_mut().map(|member| member.predict(&alone)).collect();
            learning_rate = settings.schedule.rate(epoch, number - 1, batches);
            for (at, member) in members.iter_mut().enumerate() {
                let peers = [&outputs[..at], &outputs[at + 1..]].concat();
                let own = LearnerBatch { teachers: &peers, ..alone };
                let step = member.learner.gradients_of_prediction(&own);
                if let Some((what, value)) = broken(&step) {
                    let what = format!("{what} of `{}`", member.name);
                    return Err(Error::NotFinite { what, value, epoch, batch: number, kept });
                }
                let rate = learning_rate as f32;
                member.learner.update(&settings.optimizer, rate, settings.clip, epoch);
                sums[at].add(&step, batch.len());
            }
            observe(Event::Batch {
                epoch,
                batch: number,
                batches,
                loss: sums[0].loss(),
                images_per_second: sums[0].samples() as f64 / started.elapsed().as_secs_f64(),
            });
            loader.recycle(batch);
        }
        for member in members.iter() {
            if let Some(value) = broken_weight(&member.learner.student.network) {
                let what = format!("a weight of `{}`", member.name);
                return Err(Error::NotFinite { what, value, epoch, batch: number, kept });
            }
        }
        let trained = |sums| TrainedEpoch {
            sums,
            learning_rate,
            data_wait_seconds: loader.data_wait().as_secs_f64(),
            teacher_seconds: 0.0,
            seconds: started.elapsed().as_secs_f64(),
        };
        Ok(sums.into_iter().map(trained).collect())
    }

    /// Final numbers and weights of all networks.
    fn finish(
        self,
        folder: &RunFolder,
        progress: &Progress,
    ) -> Result<(RunCard, Vec<PlannedStudent>, Option<Ensemble>)> {
        let (mut students, mut networks, mut cards) = (Vec::new(), Vec::new(), Vec::new());
        for Member { name, learner, mut card, best, .. } in self.members {
            card.seconds = progress.seconds;
            let files = files(folder, &name);
            let mut network = learner.student.network;
            let best = (best, files.best);
            deliver(&files.weights, &network, best, &self.data, progress.epoch, &mut card)?;
            network.set_state_dict(&weights::read(&files.weights)?, &files.weights)?;
            let below = files.weights.strip_prefix(folder.path()).unwrap_or(&files.weights);
            students.push(PlannedStudent::new(&name, below.display().to_string(), &card));
            networks.push(network);
            cards.push(card);
        }
        let together = ensemble(&networks, &self.data)?;
        Ok((cards.swap_remove(0), students, Some(together)))
    }
}

impl Member {
    /// Before its tensors' names in checkpoints.
    fn prefix(&self) -> String {
        if self.name == STUDENT { String::new() } else { format!("{}/", self.name) }
    }

    fn predict(&mut self, batch: &LearnerBatch<'_>) -> TeacherOutputs {
        TeacherOutputs { logits: self.learner.predict(batch).to_vec(), maps: Vec::new() }
    }

    /// Keeps the weights of the best validation epoch.
    fn keep_best(&mut self, files: &StudentFiles, record: &EpochRecord) -> Result<()> {
        if let Some(quality) = record.validation
            && self.best.is_none_or(|best| quality.top1 > best.quality.top1)
        {
            self.best = Some(BestEpoch { epoch: record.epoch, quality });
            let network = &self.learner.student.network;
            write_student(&files.best, network, &self.card, record.epoch)?;
        }
        Ok(())
    }
}

fn files(folder: &RunFolder, name: &str) -> StudentFiles {
    if name == STUDENT { folder.own_files() } else { folder.peer(name) }
}
