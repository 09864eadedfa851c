//! The stage that trains heads on frozen teachers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use faculty_data::Batch;
use faculty_nets::{GraphBuilder, MapShape, Network, Precision};

use super::plan::{HeadsPlan, Planned};
use crate::compute::Compute;
use crate::error::{Error, Result};
use crate::learner::{Learner, LearnerBatch};
use crate::methods::Ce;
use crate::optimizer::OptimizerConfig;
use crate::recipe::{HeadTraining, Sampling, Teacher};
use crate::schedule::{Schedule, Shape};
use crate::settings::{Settings, epoch_batches};
use crate::tap::Tap;
use faculty_files::FolderLock;
use faculty_teachers::{
    Head, KEEP_IN_MEMORY_BYTES, MemoryCachedTeacher, RunData, TeacherBatch, TeacherSource,
    bytes_needed, open_backbone,
};

/// Random seed of every head: runs of all seeds share their heads.
const SEED: u64 = 1;
/// Samples in one step.
const BATCH: usize = 64;
/// Weight decay: a head on an early map has more weights than there are samples.
const WEIGHT_DECAY: f32 = 0.01;

/// What the training of heads tells while it goes on.
#[derive(Debug)]
pub enum HeadsEvent<'a> {
    /// A batch is done.
    Batch {
        /// Whose heads.
        teacher: &'a str,
        /// From 1.
        epoch: usize,
        /// All of them.
        epochs: usize,
        /// From 1.
        batch: usize,
        /// Batches of the epoch.
        batches: usize,
    },
    /// An epoch is done.
    Epoch {
        /// Whose heads.
        teacher: &'a str,
        /// From 1.
        epoch: usize,
        /// All of them.
        epochs: usize,
        /// How each head did.
        heads: &'a [HeadProgress],
        /// Seconds of the epoch.
        seconds: f64,
    },
}

/// One head over an epoch.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct HeadProgress {
    /// Of the teacher that it makes.
    pub name: String,
    /// Mean loss.
    #[serde(with = "faculty_records::number")]
    pub loss: f64,
    /// Training samples right while training, percent.
    pub train_top1: f64,
}

impl HeadsPlan<'_> {
    /// Trains the missing heads, one teacher after another, and writes their files.
    ///
    /// # Errors
    /// As [`super::mount`].
    pub fn train(&self, stop: &AtomicBool, observe: &mut dyn FnMut(HeadsEvent<'_>)) -> Result<()> {
        let Some(data) = &self.data else { return Ok(()) };
        if self.is_complete() {
            return Ok(());
        }
        // A head is trained on whole samples, whatever the student sees.
        let views = data.views.clone().with_seed(SEED).unmixed();
        let data = &RunData { views, ..data.clone() };
        let _lock = FolderLock::take(&self.folder(), "trains heads in")?;
        for (teacher, heads) in self.recipe.teachers.iter().zip(&self.heads) {
            // What another process finished before the lock was ours is there now.
            let missing = |own: &&Planned| !own.trained && !own.path.exists();
            let missing: Vec<&Planned> = heads.iter().filter(missing).collect();
            if !missing.is_empty() {
                self.train_on(teacher, &missing, data, stop, observe)?;
            }
        }
        Ok(())
    }

    fn train_on(
        &self,
        teacher: &Teacher,
        missing: &[&Planned],
        data: &RunData,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(HeadsEvent<'_>),
    ) -> Result<()> {
        let taps: Vec<Tap> = missing.iter().map(|own| own.tap).collect();
        let settings = self.settings();
        let mut source = open_backbone(teacher, data, &taps)?;
        if let Some(views) = settings.views {
            // The network is frozen: each view of each sample goes through it once.
            let samples = data.train.len().saturating_mul(views as usize);
            if bytes_needed(source.as_ref(), &taps, samples) <= KEEP_IN_MEMORY_BYTES {
                source = Box::new(MemoryCachedTeacher::new(source).with_taps(taps.clone()));
            }
        }
        let shape = |tap| source.tap_shape(tap).expect("the plan names taps of the network");
        let classes = self.classes.len();
        let mut learners: Vec<Learner> =
            taps.iter().map(|&tap| learner(shape(tap), classes, settings.precision)).collect();
        let epochs = settings.schedule.epochs;
        for epoch in 1..=epochs {
            let started = Instant::now();
            let mut sums = vec![Sums::default(); taps.len()];
            let mut loader = epoch_batches(data, &settings, epoch, 0)?;
            let (mut number, batches) = (0, loader.batches_left());
            while let Some(batch) = loader.next() {
                if stop.load(Ordering::Relaxed) {
                    return Err(Error::HeadsStopped { teacher: teacher.name.clone() });
                }
                let batch = batch?;
                let rate = settings.schedule.rate(epoch, number, batches) as f32;
                number += 1;
                let maps = maps(source.as_mut(), &batch, &taps)?;
                for (((learner, map), sums), own) in
                    learners.iter_mut().zip(&maps).zip(&mut sums).zip(missing)
                {
                    let loss = step(learner, &settings, epoch, rate, map, &batch, sums);
                    if !loss.is_finite() {
                        let (head, value) = (own.name.clone(), loss);
                        return Err(Error::HeadNotFinite { head, value, epoch });
                    }
                }
                let teacher = &teacher.name;
                observe(HeadsEvent::Batch { teacher, epoch, epochs, batch: number, batches });
                loader.recycle(batch);
            }
            let progress = |(own, sums): (&&Planned, &Sums)| sums.progress(&own.name);
            let heads: Vec<HeadProgress> = missing.iter().zip(&sums).map(progress).collect();
            let seconds = started.elapsed().as_secs_f64();
            let teacher = &teacher.name;
            observe(HeadsEvent::Epoch { teacher, epoch, epochs, heads: &heads, seconds });
        }
        for (own, learner) in missing.iter().zip(&learners) {
            self.head(own, learner).write()?;
        }
        Ok(())
    }

    fn head(&self, own: &Planned, learner: &Learner) -> Head {
        let values = learner.student.network.parameters();
        let [weight, bias] = values else { unreachable!("a linear layer has two parameters") };
        Head {
            path: own.path.clone(),
            tap: own.tap,
            identity: own.identity.clone(),
            class_names: self.classes.to_vec(),
            weight: weight.clone(),
            bias: bias.clone(),
        }
    }

    /// How heads are trained: views as in the run, everything else their own.
    fn settings(&self) -> Settings {
        let HeadTraining { epochs, learning_rate, .. } = self.training();
        Settings {
            seed: SEED,
            batch_size: BATCH,
            drop_last: false,
            optimizer: OptimizerConfig::AdamW {
                betas: [0.9, 0.999],
                epsilon: 1e-8,
                weight_decay: WEIGHT_DECAY,
            },
            schedule: Schedule {
                base: learning_rate,
                shape: Shape::Cosine,
                warmup_epochs: 0.0,
                epochs,
                restart_after: None,
            },
            clip: None,
            sampling: Sampling::Shuffled,
            ..Settings::of(self.recipe, String::new())
        }
    }
}

/// A linear layer on a map of this shape, to be trained on labels.
fn learner(shape: MapShape, classes: usize, precision: Precision) -> Learner {
    let (mut builder, input) = GraphBuilder::new(shape);
    builder.linear("head", input, classes);
    let network = Network::from_graph("head", builder.finish(), SEED);
    Learner::new(network, Box::new(Ce), &[], BATCH, SEED, &Compute::Kernels)
        .with_precision(precision)
}

/// The frozen network's maps of one batch.
fn maps(source: &mut dyn TeacherSource, batch: &Batch, taps: &[Tap]) -> Result<Vec<Vec<f32>>> {
    let view = TeacherBatch::from(batch);
    Ok(source.outputs(&view, taps)?.maps)
}

/// One step of one head; gives its loss.
fn step(
    learner: &mut Learner,
    settings: &Settings,
    epoch: usize,
    rate: f32,
    map: &[f32],
    batch: &Batch,
    sums: &mut Sums,
) -> f64 {
    let own = LearnerBatch {
        epoch,
        step_seed: 0,
        ids: &batch.ids,
        inputs: map.into(),
        labels: &batch.labels,
        mixed: None,
        teachers: &[],
    };
    let record = learner.gradients(&own);
    learner.update(&settings.optimizer, rate, settings.clip, epoch);
    sums.loss += record.loss * batch.len() as f64;
    sums.correct += record.correct;
    sums.samples += batch.len();
    record.loss
}

/// Adds up the batches of an epoch.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    loss: f64,
    correct: usize,
    samples: usize,
}

impl Sums {
    fn progress(&self, name: &str) -> HeadProgress {
        let samples = self.samples.max(1) as f64;
        HeadProgress {
            name: name.to_owned(),
            loss: self.loss / samples,
            train_top1: 100.0 * self.correct as f64 / samples,
        }
    }
}
