//! How much each teacher counts for each token: the rules of the distillation methods of one sample,
//! token by token.

use faculty_kernels::head_loss::RowStatistics;
use faculty_kernels::teacher_weights::{complement_of_shares, complement_of_softmax, shares};

/// A rule that gives each of `K` teachers a weight `w[k, token]`, which sum to 1 over `k`. Each teacher's
/// distribution is that at temperature 1; weights are constants of the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenRule {
    /// `1 / K`
    #[default]
    Uniform,
    /// By how well a teacher predicts the true next token: `(1 - softmax_k(CE_k)) / (K - 1)`, CA-MKD's
    /// rule (Zhang, Chen, Wang, ICASSP 2022). In a text that a student wrote no next token is the
    /// true one; there it is [`TokenRule::Entropy`].
    Confidence,
    /// By how sure a teacher is: `(1 - H_k / Σ_j H_j) / (K - 1)` with the entropies `H`, EBKD's rule
    /// (Kwon, Na, Lee, Kim, ICASSP 2020).
    Entropy,
    /// By a teacher's largest probability: `m_k / Σ_j m_j`.
    MaxProbability,
    /// One teacher alone, by its position.
    Single(usize),
}

impl TokenRule {
    /// Weights `[teachers, tokens]` from each teacher's statistics, `[tokens]` each.
    pub(crate) fn weights(self, teachers: &[Vec<RowStatistics>], true_next: bool) -> Vec<f64> {
        let count = teachers.len();
        let of = |number: fn(&RowStatistics) -> f64| -> Vec<f64> {
            teachers.iter().flatten().map(number).collect()
        };
        match self {
            Self::Uniform => of(|_| 1.0).iter().map(|one| one / count as f64).collect(),
            Self::Confidence if true_next => complement_of_softmax(&of(|row| row.ce), count),
            Self::Confidence | Self::Entropy => complement_of_shares(&of(|row| row.entropy), count),
            Self::MaxProbability => shares(&of(|row| row.largest_probability), count),
            Self::Single(teacher) => {
                assert!(
                    teacher < count || count == 0,
                    "teacher {teacher} of {count} is to count alone"
                );
                let own = |(k, rows): (usize, &Vec<RowStatistics>)| {
                    vec![if k == teacher { 1.0 } else { 0.0 }; rows.len()]
                };
                teachers.iter().enumerate().flat_map(own).collect()
            }
        }
    }
}
