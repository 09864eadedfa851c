//! The training loop of language models.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use faculty_kernels::head_loss::Divergence;
use faculty_nets::weights::{self, StateDict};
use faculty_nets::{Decoder, OptimizerState, save_decoder};
use faculty_recipe::{LanguageDivergence, LanguageMethodName};
use faculty_records::language_run::{LanguageCard, LanguageQuality, LanguageRecord};

use super::checkpoint::{Progress, restore, save};
use super::folder::{LanguageFolder, LanguageStart};
use super::prepare::CheckedLanguageRun;
use super::written_source::WrittenSource;
use crate::batch_source::{BatchSource, StreamSource};
use crate::next_token::{TokenObjective, TokenTeacher};
use crate::run_error::RunError;
use crate::speculative::SpeculativeCounts;
use crate::token_weights::TokenRule;
use crate::training::{StreamConfig, StreamStep, StreamTrainer};

/// What happens during a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum LanguageEvent<'a> {
    /// The first step is next, or the one behind a checkpoint.
    Started {
        /// Updates made.
        step: u64,
        /// Of the whole run.
        steps: usize,
        /// Names of the teachers.
        teachers: &'a [String],
    },
    /// It goes on from a checkpoint.
    Resumed {
        /// Updates made.
        step: u64,
        /// Where the last checkpoint could not be used.
        warning: Option<&'a str>,
    },
    /// An update was made.
    Step {
        /// How many there are now.
        step: u64,
        /// What it came to.
        result: &'a StreamStep,
    },
    /// A line of metrics was written.
    Record(&'a LanguageRecord),
}

/// Means of the steps since the last line of metrics.
#[derive(Debug)]
struct Sums {
    /// Tokens; by tokens CE, KD, norm, weights and CE of the teachers; drafts kept, and looked at.
    values: Vec<f64>,
    teachers: usize,
}

impl Sums {
    fn new(teachers: usize) -> Self {
        Self { values: vec![0.0; 6 + 2 * teachers], teachers }
    }

    fn add(&mut self, step: &StreamStep, counts: &SpeculativeCounts) {
        let loss = &step.loss;
        let tokens = loss.tokens as f64;
        let own = [1.0, loss.ce, loss.kd, step.norm].into_iter();
        let all =
            own.chain(loss.teacher_weights.iter().copied()).chain(loss.teacher_ce.iter().copied());
        self.values.iter_mut().zip(all).for_each(|(sum, value)| *sum += tokens * value);
        let SpeculativeCounts { accepted, rejected, .. } = *counts;
        let drafts = self.values.iter_mut().rev().zip([accepted + rejected, accepted]);
        drafts.for_each(|(sum, count)| *sum += count as f64);
    }

    fn record(&self, step: u64, rate: f64) -> LanguageRecord {
        let mean = |index: usize| self.values[index] / self.values[0].max(1.0);
        let means = |from: usize| (from..from + self.teachers).map(mean).collect();
        LanguageRecord {
            step,
            ce: mean(1),
            kd: mean(2),
            gradient_norm: mean(3),
            learning_rate: rate,
            teacher_weights: means(4),
            teacher_ce: means(4 + self.teachers),
            accepted: match self.values[..] {
                [.., kept, looked_at] if looked_at > 0.0 => Some(kept / looked_at),
                _ => None,
            },
            validation: None,
        }
    }
}

/// A run at work.
struct Loop<'a> {
    run: CheckedLanguageRun,
    folder: LanguageFolder,
    trainer: StreamTrainer,
    progress: Progress,
    sums: Sums,
    /// When this process began, and what was done before.
    began: (Instant, Duration),
    on_event: &'a mut dyn FnMut(LanguageEvent<'_>),
}

/// Trains, and writes the run's folder.
///
/// # Errors
/// When it is stopped, something cannot be written, a loss or a teacher's value is no number, or the run
/// in the folder is another one.
pub fn train_language(
    run: CheckedLanguageRun,
    output: &Path,
    start: LanguageStart,
    stop: &AtomicBool,
    on_event: &mut dyn FnMut(LanguageEvent<'_>),
) -> Result<LanguageCard, RunError> {
    let folder = LanguageFolder::open(output, start)?;
    let mut run = run;
    let identity = run.identity()?;
    run.measurements.write(output)?;
    let restored = restore(&folder, &mut run.network)?;
    let (progress, state, resumed) = match restored {
        Some((progress, state, warning)) => {
            let differs =
                identity.iter().find(|(key, value)| progress.identity.get(*key) != Some(value));
            if let Some((what, _)) = differs {
                let path = output.to_owned();
                return Err(RunError::Changed { path, what: what.clone() });
            }
            (progress, state, Some(warning))
        }
        None => (Progress { identity, ..Progress::default() }, OptimizerState::default(), None),
    };
    if let Some(card) = folder.read_card().filter(|card| card.steps == progress.steps) {
        return Ok(card);
    }
    if progress.steps == 0 {
        let text = run.recipe.to_toml().map_err(|error| RunError::Recipe {
            what: error.to_string(),
            hint: "use paths that are UTF-8 text",
        })?;
        folder.write_recipe(&text)?;
    }
    folder.cut_metrics(progress.metrics)?;
    let names: Vec<String> = run.teachers.iter().map(|own| own.entry.name.clone()).collect();
    let (step, steps) = (progress.steps, run.recipe.train.steps);
    on_event(LanguageEvent::Started { step, steps, teachers: &names });
    if let Some(warning) = resumed {
        on_event(LanguageEvent::Resumed { step, warning: warning.as_deref() });
    }
    let train = &run.recipe.train;
    let config = StreamConfig {
        window: run.window,
        batch: train.batch_size,
        steps: train.steps,
        learning_rate: train.learning_rate,
        warm_up: train.warmup_steps,
        weight_decay: train.weight_decay as f32,
        clip: train.clip_gradient_norm.unwrap_or(0.0),
        seed: run.recipe.seed,
    };
    let mut sums = Sums::new(run.teachers.len());
    if progress.sums.len() == sums.values.len() {
        sums.values = progress.sums.iter().map(|&bits| f64::from_bits(bits)).collect();
    }
    let before = Duration::from_micros(progress.microseconds);
    let mut work = Loop {
        trainer: StreamTrainer::new(config, state)?,
        folder,
        run,
        progress,
        sums,
        began: (Instant::now(), before),
        on_event,
    };
    work.train(stop)?;
    work.deliver()
}

impl Loop<'_> {
    fn train(&mut self, stop: &AtomicBool) -> Result<(), RunError> {
        let stream = std::mem::take(&mut self.run.stream);
        let train = self.run.recipe.train.clone();
        let run = &self.run;
        let (batch, window, seed) = (train.batch_size, run.window, run.recipe.seed);
        let mut source: Box<dyn BatchSource> = match &run.recipe.writing {
            Some(writing) => Box::new(WrittenSource::new(&run.recipe, writing, stream, &run.ends)?),
            None => Box::new(StreamSource::new(stream, batch, window, seed)),
        };
        let every = train.evaluate_every as u64;
        let between = Duration::from_secs_f64(60.0 * train.checkpoint_minutes);
        let mut saved = Instant::now();
        let objective = self.objective();
        while self.progress.steps < train.steps as u64 {
            if stop.load(Ordering::Relaxed) {
                self.save()?;
                return Err(RunError::Interrupted { step: self.progress.steps });
            }
            let (result, counts) = self.step(source.as_mut(), &objective)?;
            self.progress.steps += 1;
            self.progress.trained_tokens += result.loss.tokens as u64;
            self.sums.add(&result, &counts);
            let step = self.progress.steps;
            (self.on_event)(LanguageEvent::Step { step, result: &result });
            let measures = step.is_multiple_of(every) || step == train.steps as u64;
            if measures {
                self.measure(result.rate)?;
            }
            if measures || saved.elapsed() >= between {
                self.save()?;
                saved = Instant::now();
            }
        }
        Ok(())
    }

    /// What is learnt at each token.
    fn objective(&self) -> TokenObjective {
        let method = &self.run.recipe.method;
        let alpha = match method.name {
            LanguageMethodName::Ce => 0.0,
            _ => method.alpha as f32,
        };
        let rule = match method.name {
            LanguageMethodName::Ce | LanguageMethodName::Aver => TokenRule::Uniform,
            LanguageMethodName::Kd => TokenRule::Single(0),
            LanguageMethodName::Ebkd => TokenRule::Entropy,
            LanguageMethodName::CaMkd => TokenRule::Confidence,
            LanguageMethodName::MaxProbability => TokenRule::MaxProbability,
            LanguageMethodName::BestTeacher => TokenRule::Single(self.run.best_teacher()),
        };
        TokenObjective {
            ce: 1.0 - alpha,
            kd: alpha,
            temperature: method.temperature as f32,
            rule,
            divergence: match method.divergence {
                LanguageDivergence::Forward => Divergence::Forward,
                LanguageDivergence::Reverse => Divergence::Reverse,
                LanguageDivergence::JensenShannon => {
                    Divergence::JensenShannon { beta: method.beta as f32 }
                }
            },
        }
    }

    fn step(
        &mut self,
        source: &mut dyn BatchSource,
        objective: &TokenObjective,
    ) -> Result<(StreamStep, SpeculativeCounts), RunError> {
        let step = self.progress.steps;
        let run = &mut self.run;
        let mut decoders: Vec<&mut Decoder> =
            run.teachers.iter_mut().map(|own| &mut own.decoder).collect();
        let batch = source.batch(step, &run.network, &mut decoders)?;
        for teacher in &mut run.teachers {
            teacher.read(&batch.tokens, step)?;
        }
        let teachers: Vec<TokenTeacher<'_>> = run
            .teachers
            .iter()
            .map(|own| TokenTeacher { hidden: &own.hidden, head: &own.head })
            .collect();
        let result = self.trainer.step_on(&mut run.network, &batch, &teachers, objective)?;
        let finite =
            result.loss.ce.is_finite() && result.loss.kd.is_finite() && result.norm.is_finite();
        match finite {
            true => Ok((result, batch.counts)),
            false => Err(RunError::NotFinite { step: step + 1 }),
        }
    }

    /// Writes a line of metrics, and the student where it is the best so far.
    fn measure(&mut self, rate: f64) -> Result<(), RunError> {
        let step = self.progress.steps;
        let mut record = self.sums.record(step, rate);
        record.validation = self.run.validation.measure(&mut Decoder::new(&self.run.network))?;
        if let Some(quality) = record.validation
            && self.progress.best.is_none_or(|(_, best)| quality.nll < f64::from_bits(best))
        {
            self.progress.best = Some((step, quality.nll.to_bits()));
            let path = self.folder.checkpoint("best");
            weights::write(&path, &self.run.network.state_dict(), &Default::default())?;
        }
        self.progress.metrics = self.folder.append(&record, self.progress.metrics)?;
        self.sums = Sums::new(self.run.teachers.len());
        (self.on_event)(LanguageEvent::Record(&record));
        Ok(())
    }

    fn save(&mut self) -> Result<(), RunError> {
        self.progress.sums = self.sums.values.iter().map(|value| value.to_bits()).collect();
        let spent = self.began.1 + self.began.0.elapsed();
        self.progress.microseconds = u64::try_from(spent.as_micros()).unwrap_or(u64::MAX);
        save(&self.folder, &self.run.network, self.trainer.state(), &self.progress)
    }

    /// Measures the best student and the teachers once more, and writes the result.
    fn deliver(mut self) -> Result<LanguageCard, RunError> {
        let run = &mut self.run;
        let mut card = run.card.clone();
        card.best_step = card.steps;
        if let Some((step, _)) = self.progress.best {
            card.best_step = step;
            if step != self.progress.steps {
                let path = self.folder.checkpoint("best");
                let best: StateDict = weights::read(&path)?;
                run.network.set_state_dict(&best, &path)?;
            }
        }
        let mut decoder = Decoder::new(&run.network);
        card.student.validation = run.validation.measure(&mut decoder)?;
        card.student.test = run.test.measure(&mut decoder)?;
        for (entry, teacher) in card.teachers.iter_mut().zip(&mut run.teachers) {
            let own = run.measurements.of(&entry.hash, &mut teacher.decoder, &run.test)?;
            entry.test = own;
        }
        refuse_nan(&card.student.test, self.progress.steps)?;
        run.measurements.write(self.folder.path())?;
        self.folder.write_tokenizer(&run.tokenizer.to_json()?, &run.ends)?;
        save_decoder(&run.network, &self.folder.student())?;
        card.trained_tokens = self.progress.trained_tokens;
        card.seconds = (self.began.1 + self.began.0.elapsed()).as_secs_f64();
        self.folder.write_card(&card)?;
        Ok(card)
    }
}

/// A student whose outputs are no numbers is none.
fn refuse_nan(quality: &Option<LanguageQuality>, step: u64) -> Result<(), RunError> {
    match quality {
        Some(quality) if !quality.nll.is_finite() => Err(RunError::NotFinite { step }),
        _ => Ok(()),
    }
}
