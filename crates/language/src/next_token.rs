//! Loss and gradients of a decoder's next tokens, with logits that never exist all at once.
//!
//! ```text
//! loss = mean over counted tokens of  ce · -ln p(next) + kd · D
//! D    = Σ_k w[k] T² KL(teacher_k,T || student_T)     or a divergence from the mixture Σ_k w[k] teacher_k
//! ```
//! The mean is over the counted tokens of all texts, not of means; of none, loss and gradients are 0.
//! Memory beside the network's: gradients by hidden values and head, and a block of logits of the
//! student and of each teacher ([`faculty_kernels::head_loss`]), whatever the vocabulary.

use faculty_inputs::{Texts, Tokens};
use faculty_kernels::head_loss::{
    Divergence, Head, HeadGrads, RowStatistics, Targets, head_loss, head_statistics,
};
use faculty_nets::{Network, TrainingRun};

use crate::token_weights::TokenRule;

/// A frozen model with the same vocabulary that is to be imitated.
#[derive(Clone, Copy, Debug)]
pub struct TokenTeacher<'a> {
    /// Its last hidden values of the same tokens, `[tokens, width]`.
    pub hidden: &'a [f32],
    /// Its head, `[vocabulary, width]`.
    pub head: &'a [f32],
}

/// What a step minimises.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenObjective {
    /// Of the cross-entropy with the text's next token, whoever wrote the text; 0 or more.
    pub ce: f32,
    /// Of the divergence from the teachers; 0 or more.
    pub kd: f32,
    /// Softens both distributions of [`Divergence::Forward`]; above 0. Other divergences are at
    /// temperature 1.
    pub temperature: f32,
    /// How much each teacher counts.
    pub rule: TokenRule,
    /// How student and teachers are compared.
    pub divergence: Divergence,
}

impl Default for TokenObjective {
    /// Both terms alike, at temperature 1, teachers alike.
    fn default() -> Self {
        Self {
            ce: 1.0,
            kd: 1.0,
            temperature: 1.0,
            rule: TokenRule::Uniform,
            divergence: Divergence::Forward,
        }
    }
}

/// Means over the counted tokens, in nats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenLoss {
    /// How many were counted.
    pub tokens: usize,
    /// Cross-entropy with the next token.
    pub ce: f64,
    /// Divergence from the teachers, weighted among them, without the objective's `kd`; 0 without
    /// teachers.
    pub kd: f64,
    /// Each teacher's weight; they sum to 1, but where nothing was counted.
    pub teacher_weights: Vec<f64>,
    /// Each teacher's cross-entropy with the next token.
    pub teacher_ce: Vec<f64>,
}

/// One training step's memory.
#[derive(Debug, Default)]
pub struct NextTokenStep {
    run: TrainingRun,
    hidden: Vec<f32>,
    by_hidden: Vec<f32>,
    by_head: Vec<f32>,
}

/// The tokens behind those of some texts, and which of them count.
struct Next {
    /// `[tokens]`, 0 behind a text's last one.
    labels: Vec<u32>,
    /// `[tokens]`
    counts: Vec<bool>,
}

impl Next {
    fn new(tokens: &Tokens, counted: &[bool]) -> Self {
        assert_eq!(counted.len(), tokens.count(), "one `counted` a token");
        let mut labels = Vec::with_capacity(counted.len());
        let mut counts = Vec::with_capacity(counted.len());
        for text in 0..tokens.len() {
            let range = tokens.range(text);
            labels.extend(tokens.ids_of(text).iter().skip(1).copied().chain([0]));
            counts.extend(range.clone().map(|at| counted[at] && at + 1 < range.end));
        }
        Self { labels, counts }
    }

    fn count(&self) -> usize {
        self.counts.iter().filter(|&&own| own).count()
    }

    /// Mean over the counted tokens, 0 without any.
    fn mean(&self, values: impl Iterator<Item = f64>) -> f64 {
        let counted = values.zip(&self.counts).filter(|&(_, &own)| own).map(|(value, _)| value);
        counted.sum::<f64>() / self.count().max(1) as f64
    }

    /// The factor of each token in the mean of a term with this one.
    fn factors(&self, of_term: f32) -> Vec<f32> {
        let each = of_term / self.count().max(1) as f32;
        self.counts.iter().map(|&own| if own { each } else { 0.0 }).collect()
    }
}

impl NextTokenStep {
    /// An empty step; memory comes with the first texts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The loss of some texts, and its gradients ([`NextTokenStep::gradients`]). `counted` says of each
    /// token whether the one behind it is to be predicted, `[tokens]`; of the last one of a text it is
    /// not asked. `true_next` says whether the texts are data; of texts that a student wrote no rule
    /// may take the next token for the true one ([`TokenRule::Confidence`]).
    ///
    /// Each teacher costs three products of tokens, vocabulary and its width (four for a divergence from
    /// the mixture) beside the student's four (five); one whose weights are all 0 costs one.
    ///
    /// # Panics
    /// If `network` is no decoder, a text is not what it reads, a length does not fit, a teacher that is to
    /// count alone is not there, the temperature is not above 0, or a β is not from 0 to 1.
    pub fn run(
        &mut self,
        network: &mut Network,
        tokens: &Tokens,
        counted: &[bool],
        true_next: bool,
        teachers: &[TokenTeacher<'_>],
        objective: &TokenObjective,
    ) -> TokenLoss {
        let graph = network.graph().clone();
        let config = graph.decoder().expect("the network is a decoder");
        let vocabulary = config.vocabulary;
        let head = graph.token_head().expect("a decoder has a head").index();
        let next = Next::new(tokens, counted);
        let heads: Vec<Head<'_>> = teachers
            .iter()
            .map(|own| {
                let width = own.head.len() / vocabulary;
                Head { hidden: own.hidden, weight: own.head, width }
            })
            .collect();
        let statistics: Vec<Vec<RowStatistics>> = heads
            .iter()
            .map(|&head| head_statistics(vocabulary, head, &next.labels, 1.0))
            .collect();
        let weights = objective.rule.weights(&statistics, true_next);
        let weights: Vec<&[f64]> = weights.chunks(counted.len().max(1)).collect();

        let texts = Texts { texts: Vec::new(), tokens: tokens.clone() };
        self.run.forward(network, &texts, tokens.len());
        self.hidden.clear();
        self.hidden.extend_from_slice(self.run.value(graph.output()));
        let weight = &network.parameters()[head];
        self.by_hidden.resize(self.hidden.len(), 0.0);
        self.by_head.clear();
        self.by_head.resize(weight.len(), 0.0);
        let factors: Vec<Vec<f32>> = weights
            .iter()
            .map(|weights| weights.iter().map(|&weight| weight as f32).collect())
            .collect();
        // Whoever never counts need not be asked.
        let asked: Vec<(Head<'_>, &[f32])> = heads
            .iter()
            .zip(&factors)
            .filter(|(_, weights)| weights.iter().any(|&weight| weight != 0.0))
            .map(|(&head, weights)| (head, weights.as_slice()))
            .collect();
        let targets = Targets {
            labels: &next.labels,
            ce_factor: &next.factors(objective.ce),
            kd_factor: &next.factors(objective.kd),
            teachers: &asked,
            temperature: objective.temperature,
            divergence: objective.divergence,
        };
        let rows = head_loss(
            vocabulary,
            Head { hidden: &self.hidden, weight, width: config.width },
            &targets,
            Some(HeadGrads { hidden: &mut self.by_hidden, weight: &mut self.by_head }),
        );
        self.run.backward(network, [(graph.output(), &self.by_hidden)], false);
        let of_head = self.run.gradients_mut()[head].iter_mut();
        of_head.zip(&self.by_head).for_each(|(sum, by_head)| *sum += by_head);
        let mean_weight = |weights: &&[f64]| next.mean(weights.iter().copied());
        let mean_ce = |own: &Vec<RowStatistics>| next.mean(own.iter().map(|row| row.ce));
        TokenLoss {
            tokens: next.count(),
            ce: next.mean(rows.iter().map(|row| row.ce)),
            kd: next.mean(rows.iter().map(|row| row.kd)),
            teacher_weights: weights.iter().map(mean_weight).collect(),
            teacher_ce: statistics.iter().map(mean_ce).collect(),
        }
    }

    /// The gradient of the last loss by each parameter.
    #[must_use]
    pub fn gradients(&self) -> &[Vec<f32>] {
        self.run.gradients()
    }

    /// The same for clipping and the like.
    #[must_use]
    pub fn gradients_mut(&mut self) -> &mut [Vec<f32>] {
        self.run.gradients_mut()
    }

    /// Bytes that it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let own = [&self.hidden, &self.by_hidden, &self.by_head];
        self.run.bytes() + size_of::<f32>() * own.map(Vec::capacity).iter().sum::<usize>()
    }
}
