//! Which drafts of a student stay.

use std::cmp::Ordering;

use crate::sampling::{Sampling, by_likelihood, pick};

/// The rule by which drafts stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// Those among so many of the teacher's likeliest tokens by raw logits; of equal ones the lower
    /// id comes first. 0 accepts none, the size of the vocabulary all.
    TopK(usize),
    /// By the ratio of probabilities, so that texts are distributed as the teacher's.
    Lossless,
}

/// Whether fewer than `k` tokens are likelier by these logits than `token`.
///
/// # Panics
/// If there is no such token.
#[must_use]
pub fn is_among_top(logits: &[f32], token: u32, k: usize) -> bool {
    assert!((token as usize) < logits.len(), "token {token} of {}", logits.len());
    let likelier = |&id: &u32| by_likelihood(logits, id, token) == Ordering::Less;
    // No more are counted than decide.
    (0..logits.len() as u32).filter(likelier).take(k).count() < k
}

/// The first of some tokens that is not among the `k` likeliest by its row of `logits`,
/// `[tokens, vocabulary]`; as many as there are tokens if all are.
///
/// # Panics
/// If there is not one row a token.
#[must_use]
pub fn first_rejection(logits: &[f32], tokens: &[u32], k: usize) -> usize {
    let Some(vocabulary) = logits.len().checked_div(tokens.len()) else { return 0 };
    assert_eq!(logits.len(), tokens.len() * vocabulary, "one row of logits a token");
    let mut rows = logits.chunks_exact(vocabulary).zip(tokens);
    let rejected = |(logits, &token): (&[f32], &u32)| !is_among_top(logits, token, k);
    rows.position(rejected).unwrap_or(tokens.len())
}

/// A draft as it was drawn: its token, and the probability of every token then, `[vocabulary]`.
pub(super) struct Draft {
    pub(super) token: u32,
    /// Empty where the rule does not ask for it.
    pub(super) probabilities: Vec<f64>,
}

/// Whether a draft stays by the teacher's `logits`; else the token in its place. `numbers`, uniform in
/// [0, 1), decide and choose.
pub(super) fn judge(
    draft: &Draft,
    logits: &[f32],
    acceptance: Acceptance,
    teacher: &Sampling,
    [decide, choose]: [f64; 2],
) -> Option<u32> {
    match acceptance {
        Acceptance::TopK(k) if is_among_top(logits, draft.token, k) => None,
        Acceptance::TopK(_) => Some(teacher.choose(logits, choose)),
        Acceptance::Lossless => {
            let own = teacher.distribution(logits);
            let of_draft = own.iter().find(|(id, _)| *id == draft.token).map_or(0.0, |own| own.1);
            if decide * draft.probabilities[draft.token as usize] < of_draft {
                return None;
            }
            let rest: Vec<(u32, f64)> = own
                .iter()
                .map(|&(id, p)| (id, p - draft.probabilities[id as usize]))
                .filter(|&(_, rest)| rest > 0.0)
                .collect();
            // Empty only where both are equal but for rounding.
            Some(pick(if rest.is_empty() { &own } else { &rest }, choose))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_are_accepted_and_ties_go_by_id() {
        let logits = [0.5, 2.0, -1.0, 2.0, f32::NAN];
        let accepted = |k| (0..5).filter(|&id| is_among_top(&logits, id, k)).collect::<Vec<_>>();
        assert_eq!(accepted(0), [0_u32; 0]);
        assert_eq!(accepted(1), [1]);
        assert_eq!(accepted(2), [1, 3]);
        assert_eq!(accepted(4), [0, 1, 2, 3]);
        assert_eq!(accepted(5), [0, 1, 2, 3, 4]);
        assert_eq!(first_rejection(&[&logits[..], &logits].concat(), &[3, 1], 1), 0);
        assert_eq!(first_rejection(&[&logits[..], &logits].concat(), &[1, 3], 1), 1);
        assert_eq!(first_rejection(&[&logits[..], &logits].concat(), &[1, 3], 2), 2);
        assert_eq!(first_rejection(&[], &[], 2), 0);
    }

    /// Shares of the tokens that come out where drafts are drawn from one distribution and judged by
    /// another, on a grid of all three numbers.
    fn shares(student: &[f32], teacher: &[f32], sampling: [Sampling; 2]) -> Vec<f64> {
        const GRID: usize = 100;
        let at = |i: usize| (i as f64 + 0.5) / GRID as f64;
        let mut probabilities = vec![0.0; student.len()];
        for (id, own) in sampling[0].distribution(student) {
            probabilities[id as usize] = own;
        }
        let mut counts = vec![0.0; teacher.len()];
        for drawn in 0..GRID {
            let token = sampling[0].choose(student, at(drawn));
            let draft = Draft { token, probabilities: probabilities.clone() };
            for (decide, choose) in (0..GRID * GRID).map(|i| (i / GRID, i % GRID)) {
                let numbers = [at(decide), at(choose)];
                let other = judge(&draft, teacher, Acceptance::Lossless, &sampling[1], numbers);
                counts[other.unwrap_or(token) as usize] += 1.0 / (GRID * GRID * GRID) as f64;
            }
        }
        counts
    }

    #[test]
    fn lossless_tokens_have_the_teachers_distribution() {
        let (student, teacher) = ([1.0, 0.0, -1.0, 0.5, 0.2], [-0.5, 0.3, 1.2, 0.5, -4.0]);
        let plain = Sampling::default();
        let narrow = Sampling { temperature: 0.7, top_k: Some(3), top_p: Some(0.9) };
        let greedy = Sampling { temperature: 0.0, ..plain };
        for sampling in
            [[plain, plain], [narrow, plain], [plain, narrow], [greedy, plain], [plain, greedy]]
        {
            let mut want = vec![0.0; teacher.len()];
            for (id, own) in sampling[1].distribution(&teacher) {
                want[id as usize] = own;
            }
            // The grid rounds shares of a hundredth, three times.
            for (got, want) in shares(&student, &teacher, sampling).iter().zip(&want) {
                assert!((got - want).abs() < 0.015, "{sampling:?}: {got}, {want} expected");
            }
        }
    }
}
