//! Loss and gradients of a decoder's next tokens, with logits that never exist all at once.
//!
//! ```text
//! loss = mean over counted tokens of -ln p(next) + weight T² KL(teacher_T || student_T)
//! ```
//! The mean is over the counted tokens of all texts, not of means; of none, loss and gradients are 0.
//! Memory beside the network's: gradients by hidden values and head, and a block of logits
//! ([`faculty_kernels::head_loss`]), whatever the vocabulary.

use faculty_inputs::{Texts, Tokens};
use faculty_kernels::head_loss::{Head, HeadGrads, Targets, head_loss};
use faculty_nets::{Network, TrainingRun};

/// A frozen model with the same vocabulary that is to be imitated.
#[derive(Clone, Copy)]
pub struct TokenTeacher<'a> {
    /// Its last hidden values of the same tokens, `[tokens, width]`.
    pub hidden: &'a [f32],
    /// Its head, `[vocabulary, width]`.
    pub head: &'a [f32],
    /// Softens both distributions; above 0.
    pub temperature: f32,
    /// Of its term.
    pub weight: f32,
}

/// Means over the counted tokens, in nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TokenLoss {
    /// How many were counted.
    pub tokens: usize,
    /// Cross-entropy with the true next token.
    pub ce: f64,
    /// `T² KL(teacher || student)`, without its weight.
    pub kd: f64,
}

/// One training step's memory.
#[derive(Debug, Default)]
pub struct NextTokenStep {
    run: TrainingRun,
    hidden: Vec<f32>,
    by_hidden: Vec<f32>,
    by_head: Vec<f32>,
}

impl NextTokenStep {
    /// An empty step; memory comes with the first texts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The loss of some texts, and its gradients ([`NextTokenStep::gradients`]). `counted` says of each
    /// token whether the one behind it is to be predicted, `[tokens]`; of the last one of a text it is
    /// not asked.
    ///
    /// # Panics
    /// If `network` is no decoder, a text is not what it reads, or a length does not fit.
    pub fn run(
        &mut self,
        network: &mut Network,
        tokens: &Tokens,
        counted: &[bool],
        teacher: Option<&TokenTeacher<'_>>,
    ) -> TokenLoss {
        let graph = network.graph().clone();
        let config = graph.decoder().expect("the network is a decoder");
        let head = graph.token_head().expect("a decoder has a head").index();
        assert_eq!(counted.len(), tokens.count(), "one `counted` a token");
        let mut labels = Vec::with_capacity(counted.len());
        let mut counts = Vec::with_capacity(counted.len());
        for text in 0..tokens.len() {
            let range = tokens.range(text);
            labels.extend(tokens.ids_of(text).iter().skip(1).copied().chain([0]));
            counts.extend(range.clone().map(|at| counted[at] && at + 1 < range.end));
        }
        let valid = counts.iter().filter(|&&own| own).count();
        let each = 1.0 / valid.max(1) as f32;
        let factors = |weight: f32| -> Vec<f32> {
            counts.iter().map(|&own| if own { weight * each } else { 0.0 }).collect()
        };
        let texts = Texts { texts: Vec::new(), tokens: tokens.clone() };
        self.run.forward(network, &texts, tokens.len());
        self.hidden.clear();
        self.hidden.extend_from_slice(self.run.value(graph.output()));
        let weight = &network.parameters()[head];
        self.by_hidden.resize(self.hidden.len(), 0.0);
        self.by_head.clear();
        self.by_head.resize(weight.len(), 0.0);
        let (ce_factor, kd_factor) = (factors(1.0), factors(teacher.map_or(0.0, |own| own.weight)));
        let of_teacher = teacher.map(|own| {
            let width = own.head.len() / config.vocabulary;
            let head = Head { hidden: own.hidden, weight: own.head, width };
            (head, kd_factor.as_slice())
        });
        let targets = Targets {
            labels: &labels,
            ce_factor: &ce_factor,
            teacher: of_teacher,
            temperature: teacher.map_or(1.0, |own| own.temperature),
        };
        let rows = head_loss(
            config.vocabulary,
            Head { hidden: &self.hidden, weight, width: config.width },
            &targets,
            Some(HeadGrads { hidden: &mut self.by_hidden, weight: &mut self.by_head }),
        );
        self.run.backward(network, [(graph.output(), &self.by_hidden)], false);
        let of_head = self.run.gradients_mut()[head].iter_mut();
        of_head.zip(&self.by_head).for_each(|(sum, by_head)| *sum += by_head);
        let (mut ce, mut kd) = (0.0, 0.0);
        for (row, _) in rows.iter().zip(&counts).filter(|&(_, &own)| own) {
            ce += row.ce;
            kd += row.kd;
        }
        let valid_or_one = valid.max(1) as f64;
        TokenLoss { tokens: valid, ce: ce / valid_or_one, kd: kd / valid_or_one }
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
