//! Training a decoder on a stream of tokens: windows at places drawn from seed and step, AdamW, a rate
//! that rises and then falls.
//!
//! ```text
//! rate = peak · (step + 1) / warm_up at first, then from peak to a tenth of it along half a cosine
//! ```
//! A step is a function of the configuration, its number, the network and the optimiser's state: so
//! these are all that has to be kept to go on.

use faculty_inputs::Tokens;
use faculty_nets::{Network, OptimizerConfig, OptimizerState, RuleConfig};
use faculty_random::{Purpose, below, draw};

use crate::error::{LanguageError, Result};
use crate::next_token::{NextTokenStep, TokenLoss, TokenObjective, TokenTeacher};
use crate::token_batch::TokenBatch;

/// The last rate as a share of the highest.
const LAST: f64 = 0.1;

/// How a decoder is trained on a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StreamConfig {
    /// Tokens of a window, at least 2; at most what the decoder reads.
    pub window: usize,
    /// Windows of a step, at least 1.
    pub batch: usize,
    /// Steps of the whole run.
    pub steps: usize,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// Steps over which it rises.
    pub warm_up: usize,
    /// Of all but the scales of norms.
    pub weight_decay: f32,
    /// Longer gradients are shortened to this norm; 0 leaves them.
    pub clip: f64,
    /// Chooses the windows.
    pub seed: u64,
}

impl Default for StreamConfig {
    /// What small decoders are usually trained with: AdamW's rate of 1e-3, decay 0.1, clipped at 1.
    fn default() -> Self {
        Self {
            window: 128,
            batch: 8,
            steps: 1000,
            learning_rate: 1e-3,
            warm_up: 50,
            weight_decay: 0.1,
            clip: 1.0,
            seed: 0,
        }
    }
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamStep {
    /// Before the update.
    pub loss: TokenLoss,
    /// Of the gradients, before they were shortened.
    pub norm: f64,
    /// The learning rate.
    pub rate: f64,
}

/// A training run on a stream.
#[derive(Debug)]
pub struct StreamTrainer {
    config: StreamConfig,
    state: OptimizerState,
    step: NextTokenStep,
}

impl StreamTrainer {
    /// A run that begins, or with the state of an earlier one goes on behind its updates.
    ///
    /// # Errors
    /// [`LanguageError::OutOfRange`].
    pub fn new(config: StreamConfig, state: OptimizerState) -> Result<Self> {
        let refuse =
            |name, found: String, range| Err(LanguageError::OutOfRange { name, found, range });
        if config.window < 2 {
            return refuse("window", config.window.to_string(), "2 or more");
        }
        if config.batch == 0 {
            return refuse("batch", "0".to_owned(), "1 or more");
        }
        let rate = config.learning_rate;
        if !(rate > 0.0 && rate.is_finite()) {
            return refuse("learning rate", rate.to_string(), "above 0");
        }
        if !(config.weight_decay >= 0.0 && config.clip >= 0.0) {
            let found = format!("{} or {}", config.weight_decay, config.clip);
            return refuse("weight decay or clip", found, "0 or more");
        }
        Ok(Self { config, state, step: NextTokenStep::new() })
    }

    /// The optimiser's state, to go on from.
    #[must_use]
    pub fn state(&self) -> &OptimizerState {
        &self.state
    }

    /// The learning rate of a step.
    #[must_use]
    pub fn rate(&self, step: u64) -> f64 {
        let StreamConfig { learning_rate, warm_up, steps, .. } = self.config;
        let warm_up = warm_up as u64;
        if step < warm_up {
            return learning_rate * (step + 1) as f64 / warm_up as f64;
        }
        let rest = (steps as u64).saturating_sub(warm_up).max(1);
        let done = ((step - warm_up) as f64 / rest as f64).min(1.0);
        let share = LAST + (1.0 - LAST) * (1.0 + (std::f64::consts::PI * done).cos()) / 2.0;
        learning_rate * share
    }

    /// The next update of a decoder.
    ///
    /// # Errors
    /// When the stream has fewer than two tokens, or ids outside the vocabulary.
    ///
    /// # Panics
    /// If the network is no decoder, or not that of the state.
    pub fn step(&mut self, network: &mut Network, stream: &[u32]) -> Result<StreamStep> {
        let decoder = network.graph().decoder().expect("the network is a decoder");
        if stream.len() < 2 {
            return Err(LanguageError::ShortText { tokens: stream.len() });
        }
        let StreamConfig { window, batch, seed, .. } = self.config;
        let window = window.min(decoder.longest).min(stream.len());
        let tokens = windows(stream, [batch, window], seed, self.state.steps);
        check_ids(network, tokens.ids())?;
        let (counted, objective) = (vec![true; tokens.count()], TokenObjective::default());
        let loss = self.step.run(network, &tokens, &counted, true, &[], &objective);
        Ok(self.update(network, loss))
    }

    /// The next update of a decoder on texts that were drawn or written for it, beside its teachers.
    ///
    /// # Errors
    /// [`LanguageError::Vocabulary`].
    ///
    /// # Panics
    /// As [`NextTokenStep::run`].
    pub fn step_on(
        &mut self,
        network: &mut Network,
        batch: &TokenBatch,
        teachers: &[TokenTeacher<'_>],
        objective: &TokenObjective,
    ) -> Result<StreamStep> {
        check_ids(network, batch.tokens.ids())?;
        let TokenBatch { tokens, counted, true_text, .. } = batch;
        let loss = self.step.run(network, tokens, counted, *true_text, teachers, objective);
        Ok(self.update(network, loss))
    }

    /// Updates a decoder by the gradients of the step's last loss.
    fn update(&mut self, network: &mut Network, loss: TokenLoss) -> StreamStep {
        let graph = network.graph().clone();
        let step = self.state.steps;
        let gradients = self.step.gradients_mut();
        let squares = gradients.iter().flatten().map(|&g| f64::from(g).powi(2));
        let norm = squares.sum::<f64>().sqrt();
        if self.config.clip > 0.0 && norm > self.config.clip {
            let factor = (self.config.clip / norm) as f32;
            gradients.iter_mut().flatten().for_each(|g| *g *= factor);
        }
        let weight_decay = self.config.weight_decay;
        let adam = OptimizerConfig::AdamW { betas: [0.9, 0.95], epsilon: 1e-8, weight_decay };
        let rules =
            RuleConfig { exempt_norms_and_biases: true, ..RuleConfig::default() }.rules(&graph);
        let rate = self.rate(step);
        let parameters = network.parameters_mut();
        let gradients = self.step.gradients();
        self.state.update_by(|index| rules[index], &adam, rate as f32, parameters, gradients);
        StreamStep { loss, norm, rate }
    }
}

/// The windows of a step `[count, tokens]`, of a stream that is no shorter.
pub(crate) fn windows(stream: &[u32], [count, window]: [usize; 2], seed: u64, step: u64) -> Tokens {
    let mut tokens = Tokens::default();
    for row in 0..count as u64 {
        let number = draw(Purpose::Order, seed, step, row, 0);
        let start = below(number, (stream.len() - window + 1) as u64) as usize;
        tokens.push(&stream[start..start + window], &vec![0; window]);
    }
    tokens
}

fn check_ids(network: &Network, ids: &[u32]) -> Result<()> {
    let decoder = network.graph().decoder().expect("the network is a decoder");
    let vocabulary = decoder.vocabulary;
    match ids.iter().find(|&&id| id as usize >= vocabulary) {
        Some(&id) => Err(LanguageError::Vocabulary { prompt: 1, id, vocabulary }),
        None => Ok(()),
    }
}
