//! How a run trains, and the batches of its epochs.

use std::time::Duration;

use faculty_comm::{Group, Share};
use faculty_contract::losses::TaskLoss;
use faculty_data::{BatchLoader, LoaderConfig};
use faculty_nets::Precision;
use faculty_recipe::{self as recipe, BestBy, Recipe, Sampling, WeightDecayExempt};
use faculty_teachers::{RunData, precision_of};

use crate::error::Result;
use crate::learner::Learner;
use crate::optimizer::{OptimizerConfig, RuleConfig};
use crate::schedule::{Schedule, Shape};

/// How the run trains.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Random seed.
    pub(crate) seed: u64,
    /// Samples a step.
    pub(crate) batch_size: usize,
    /// Leave out a last batch that is not full.
    pub(crate) drop_last: bool,
    /// Number of views, if limited.
    pub(crate) views: Option<u32>,
    /// Optimiser with its constants.
    pub(crate) optimizer: OptimizerConfig,
    /// Learning rate and number of epochs.
    pub(crate) schedule: Schedule,
    /// Largest norm of the gradient.
    pub(crate) clip: Option<f64>,
    /// Epochs between measurements on the validation split.
    pub(crate) evaluate_every: usize,
    /// Epochs between checkpoints.
    pub(crate) checkpoint_every: usize,
    /// Time between checkpoints in the middle of an epoch.
    pub(crate) checkpoint_after: Duration,
    /// Batches that may be left out.
    pub(crate) skip_bad_batches: usize,
    /// Batches of one update.
    pub(crate) accumulate: usize,
    /// Decay of the average of the student's weights.
    pub(crate) ema: Option<f64>,
    /// What epochs are compared by.
    pub(crate) best_by: BestBy,
    /// Epochs without an improvement after which a run stops.
    pub(crate) patience: Option<usize>,
    /// Which samples an epoch is made of.
    pub(crate) sampling: Sampling,
    /// In which steps are computed.
    pub(crate) precision: Precision,
    /// What makes some parameters other than the rest.
    pub(crate) rules: RuleConfig,
    /// Cross-entropy against the labels.
    pub(crate) task: TaskLoss,
    /// The resolved recipe as text.
    pub(crate) recipe: String,
    /// The processes that train together.
    pub(crate) group: Group,
}

impl Settings {
    /// Those of a recipe, whose text is `text`.
    pub(crate) fn of(recipe: &Recipe, text: String) -> Self {
        let train = &recipe.train;
        let optimizer = match train.optimizer {
            recipe::Optimizer::Sgd => OptimizerConfig::Sgd {
                momentum: train.momentum as f32,
                nesterov: train.nesterov,
                weight_decay: train.weight_decay as f32,
            },
            recipe::Optimizer::AdamW => OptimizerConfig::AdamW {
                betas: train.betas.map(|beta| beta as f32),
                epsilon: train.epsilon as f32,
                weight_decay: train.weight_decay as f32,
            },
        };
        let shape = match train.schedule {
            recipe::Schedule::Constant => Shape::Constant,
            recipe::Schedule::Step => {
                Shape::Step { milestones: train.milestones.clone(), decay: train.decay }
            }
            recipe::Schedule::Cosine => Shape::Cosine,
            recipe::Schedule::Linear => Shape::Linear,
            recipe::Schedule::OneCycle => Shape::OneCycle,
        };
        Self {
            seed: recipe.seed,
            batch_size: train.batch_size,
            drop_last: train.drop_last,
            views: recipe.data.views,
            optimizer,
            schedule: Schedule {
                base: train.learning_rate,
                shape,
                warmup_epochs: train.warmup_epochs,
                epochs: train.epochs,
                restart_after: None,
            },
            clip: train.clip_gradient_norm,
            evaluate_every: train.evaluate_every,
            checkpoint_every: train.checkpoint_every,
            // A time beyond all clocks is never.
            checkpoint_after: Duration::try_from_secs_f64(60.0 * train.checkpoint_minutes)
                .unwrap_or(Duration::MAX),
            skip_bad_batches: train.skip_bad_batches,
            accumulate: train.accumulate,
            ema: train.ema,
            best_by: train.best_by,
            patience: train.early_stopping,
            sampling: train.sampling,
            precision: precision_of(train.precision),
            rules: RuleConfig {
                exempt_norms_and_biases: train.weight_decay_exempt
                    == WeightDecayExempt::NormsAndBiases,
                classifier_rate_factor: recipe.student.classifier_learning_rate_factor as f32,
            },
            task: TaskLoss::default(),
            recipe: text,
            group: Group::default(),
        }
    }

    /// The part of each batch that this process computes.
    fn share(&self) -> Share {
        Share::new(self.group.rank(), self.group.size()).unwrap_or(Share::WHOLE)
    }

    /// A learner that trains so.
    pub(crate) fn equip(&self, learner: Learner) -> Learner {
        let learner = learner
            .with_task_loss(self.task.clone())
            .with_rules(&self.rules)
            .with_precision(self.precision);
        match self.ema {
            Some(decay) => learner.with_average(decay),
            None => learner,
        }
    }
}

/// The batches of an epoch (from 1), of several processes this one's part of each, after its first `done` samples: its order, and its view of each
/// sample.
pub(crate) fn epoch_batches(
    data: &RunData,
    settings: &Settings,
    epoch: usize,
    done: usize,
) -> Result<BatchLoader> {
    // Epochs count from 1, views from 0; with a limited number they repeat.
    let view = u32::try_from(epoch - 1).unwrap_or(u32::MAX);
    let view = settings.views.map_or(view, |views| view % views.max(1));
    let config = LoaderConfig::training(settings.batch_size, data.views.clone(), view)
        .with_drop_last(settings.drop_last)
        .with_share(settings.share());
    let order = match settings.sampling {
        Sampling::Shuffled => data.train.epoch_order(settings.seed, epoch as u64),
        Sampling::Balanced => data.train.balanced_order(settings.seed, epoch as u64),
    };
    let left = order[done.min(order.len())..].to_vec();
    Ok(BatchLoader::new(&data.train, left, config)?)
}
