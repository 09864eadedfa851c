//! The choice of the next token from logits.
//!
//! ```text
//! temperature 0     the largest logit; of equal ones the lowest id
//! otherwise         p[i] = exp(z[i] / T) / sum
//! top-k             only the k likeliest, equal ones by id
//! top-p             of these only the likeliest whose probabilities first reach p together (Holtzman et
//!                   al., 2020, arXiv:1904.09751)
//! ```
//! The number that chooses comes from outside: the same number and logits give the same token.

use std::cmp::Ordering;

use crate::error::{LanguageError, Result};

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides logits; 0 takes the likeliest token.
    pub temperature: f32,
    /// Only so many of the likeliest tokens are drawn from.
    pub top_k: Option<usize>,
    /// Only the likeliest tokens that have this probability together are drawn from; in (0, 1].
    pub top_p: Option<f64>,
}

impl Default for Sampling {
    /// From the model's own distribution.
    fn default() -> Self {
        Self { temperature: 1.0, top_k: None, top_p: None }
    }
}

impl Sampling {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`LanguageError::OutOfRange`].
    pub fn check(&self) -> Result<()> {
        let refuse =
            |name, found: String, range| Err(LanguageError::OutOfRange { name, found, range });
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return refuse("temperature", self.temperature.to_string(), "0 or more");
        }
        if self.top_k == Some(0) {
            return refuse("top-k", "0".to_owned(), "1 or more");
        }
        if let Some(p) = self.top_p
            && !(p > 0.0 && p <= 1.0)
        {
            return refuse("top-p", p.to_string(), "above 0 and at most 1");
        }
        Ok(())
    }

    /// The token that `draw`, uniform in [0, 1), chooses by these logits. NaN is never chosen unless
    /// all are.
    ///
    /// # Panics
    /// If there are no logits.
    #[must_use]
    pub fn choose(&self, logits: &[f32], draw: f64) -> u32 {
        pick(&self.weights(logits), draw)
    }

    /// The tokens that can be chosen by these logits, with their probabilities, which sum to 1.
    ///
    /// # Panics
    /// If there are no logits.
    #[must_use]
    pub fn distribution(&self, logits: &[f32]) -> Vec<(u32, f64)> {
        let mut weights = self.weights(logits);
        if weights.is_empty() {
            return vec![(0, 1.0)];
        }
        let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
        weights.iter_mut().for_each(|(_, weight)| *weight /= total);
        weights
    }

    /// The tokens that can be chosen, with what they weigh; none if all logits are NaN.
    fn weights(&self, logits: &[f32]) -> Vec<(u32, f64)> {
        assert!(!logits.is_empty(), "there are no logits to choose from");
        if self.temperature == 0.0 {
            return vec![(likeliest(logits), 1.0)];
        }
        if self.top_k.is_none() && self.top_p.is_none() {
            let tokens = (0..logits.len() as u32).map(|id| (id, logits[id as usize]));
            return weighed(tokens, self.temperature);
        }
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        let before = |a: &u32, b: &u32| by_likelihood(logits, *a, *b);
        if let Some(k) = self.top_k.filter(|&k| k < order.len()) {
            order.select_nth_unstable_by(k - 1, before);
            order.truncate(k);
        }
        order.sort_unstable_by(before);
        if let Some(p) = self.top_p {
            order.truncate(nucleus(&order, logits, self.temperature, p));
        }
        weighed(order.iter().map(|&id| (id, logits[id as usize])), self.temperature)
    }
}

/// The likelier first; NaN last, equal ones by id.
pub(crate) fn by_likelihood(logits: &[f32], a: u32, b: u32) -> Ordering {
    let key = |id: u32| {
        let logit = logits[id as usize];
        if logit.is_nan() { f32::NEG_INFINITY } else { logit }
    };
    key(b).total_cmp(&key(a)).then(a.cmp(&b))
}

fn likeliest(logits: &[f32]) -> u32 {
    (1..logits.len() as u32).fold(0, |best, id| match by_likelihood(logits, id, best) {
        Ordering::Less => id,
        _ => best,
    })
}

/// `exp((z - max) / T)`; 0 for NaN.
fn weight(logit: f32, max: f32, temperature: f32) -> f64 {
    match logit {
        _ if logit == max => 1.0,
        _ if logit.is_nan() => 0.0,
        _ => ((f64::from(logit) - f64::from(max)) / f64::from(temperature)).exp(),
    }
}

fn largest(logits: impl Iterator<Item = f32>) -> f32 {
    logits.fold(f32::NEG_INFINITY, f32::max)
}

/// How many of the tokens in `order`, likeliest first, have probability `p` together.
fn nucleus(order: &[u32], logits: &[f32], temperature: f32, p: f64) -> usize {
    let max = largest(order.iter().map(|&id| logits[id as usize]));
    let weights = order.iter().map(|&id| weight(logits[id as usize], max, temperature));
    let total: f64 = weights.clone().sum();
    let mut sum = 0.0;
    for (index, weight) in weights.enumerate() {
        sum += weight;
        if sum >= p * total {
            return index + 1;
        }
    }
    order.len()
}

/// The tokens that have any weight.
fn weighed(tokens: impl Iterator<Item = (u32, f32)> + Clone, temperature: f32) -> Vec<(u32, f64)> {
    let max = largest(tokens.clone().map(|(_, logit)| logit));
    let weighed = |(id, logit): (u32, f32)| (id, weight(logit, max, temperature));
    tokens.map(weighed).filter(|&(_, own)| own > 0.0).collect()
}

/// The token at which the sum of weights passes `draw` times all; 0 of none.
pub(crate) fn pick(weights: &[(u32, f64)], draw: f64) -> u32 {
    let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
    let mut sum = 0.0;
    let passes = |&&(_, weight): &&(u32, f64)| {
        sum += weight;
        sum > draw * total
    };
    let chosen = weights.iter().find(passes).or(weights.last());
    chosen.map_or(0, |&(id, _)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 6] = [0.5, 2.0, -1.0, 2.0, 1.0, f32::NAN];

    /// How often each token is chosen by evenly spread draws.
    fn shares(sampling: Sampling) -> Vec<f64> {
        let mut counts = vec![0.0; LOGITS.len()];
        for i in 0..10_000 {
            let id = sampling.choose(&LOGITS, (f64::from(i) + 0.5) / 10_000.0);
            counts[id as usize] += 1e-4;
        }
        counts
    }

    fn assert_shares(sampling: Sampling, kept: &[usize]) {
        let t = f64::from(sampling.temperature);
        let weight = |id: usize| match kept.contains(&id) {
            true => (f64::from(LOGITS[id]) / t).exp(),
            false => 0.0,
        };
        let total: f64 = (0..LOGITS.len()).map(weight).sum();
        for (id, share) in shares(sampling).into_iter().enumerate() {
            let want = weight(id) / total;
            assert!((share - want).abs() < 2e-4, "{sampling:?}: {share} of {id}, {want} expected");
        }
    }

    #[test]
    fn draws_follow_the_softened_distribution() {
        for temperature in [0.3, 1.0, 2.5] {
            assert_shares(Sampling { temperature, ..Sampling::default() }, &[0, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn top_k_and_top_p_keep_the_likeliest() {
        let top_k = |k| Sampling { top_k: Some(k), ..Sampling::default() };
        assert_shares(top_k(1), &[1]);
        assert_shares(top_k(2), &[1, 3]);
        assert_shares(top_k(3), &[1, 3, 4]);
        assert_shares(top_k(99), &[0, 1, 2, 3, 4]);
        // Probabilities, likeliest first: .379 .379 .139 .085 .019.
        let top_p = |p| Sampling { top_p: Some(p), ..Sampling::default() };
        assert_shares(top_p(0.3), &[1]);
        assert_shares(top_p(0.5), &[1, 3]);
        assert_shares(top_p(0.8), &[1, 3, 4]);
        assert_shares(top_p(1.0), &[0, 1, 2, 3, 4]);
        // Of the three likeliest the two first have 84.5 %.
        assert_shares(Sampling { top_p: Some(0.84), ..top_k(3) }, &[1, 3]);
        assert_shares(Sampling { top_p: Some(0.85), ..top_k(3) }, &[1, 3, 4]);
    }

    #[test]
    fn the_distribution_is_what_is_drawn_from() {
        let narrow = Sampling { temperature: 0.7, top_k: Some(4), top_p: Some(0.9) };
        let greedy = Sampling { temperature: 0.0, ..narrow };
        for sampling in [Sampling::default(), narrow, greedy] {
            let distribution = sampling.distribution(&LOGITS);
            let sum: f64 = distribution.iter().map(|(_, own)| own).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{sampling:?}: {sum}");
            let drawn = shares(sampling);
            for (id, share) in drawn.iter().enumerate() {
                let own = distribution.iter().find(|own| own.0 as usize == id);
                let own = own.map_or(0.0, |own| own.1);
                assert!((own - share).abs() < 2e-4, "{sampling:?}: {own} of {id}, {share} drawn");
            }
        }
        assert_eq!(Sampling::default().distribution(&[f32::NAN; 2]), [(0, 1.0)]);
    }

    #[test]
    fn temperature_0_takes_the_likeliest_and_far_logits_stay_finite() {
        let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
        assert_eq!(greedy.choose(&LOGITS, 0.9), 1);
        let sampling = Sampling { temperature: 1e-6, ..Sampling::default() };
        assert_eq!(sampling.choose(&[-1e30, 3e38, -3e38], 0.999), 1);
        assert_eq!(Sampling::default().choose(&[f32::NEG_INFINITY, 0.0], 0.0), 1);
        assert_eq!(Sampling::default().choose(&[f32::NAN; 3], 0.5), 0);
        assert_eq!(Sampling::default().choose(&[f32::INFINITY, 0.0], 0.99), 0);
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let plain = Sampling::default();
        let cases = [
            (Sampling { temperature: -1.0, ..plain }, "`temperature` is -1"),
            (Sampling { temperature: f32::NAN, ..plain }, "`temperature` is NaN"),
            (Sampling { top_k: Some(0), ..plain }, "`top-k` is 0"),
            (Sampling { top_p: Some(0.0), ..plain }, "`top-p` is 0"),
            (Sampling { top_p: Some(1.5), ..plain }, "`top-p` is 1.5"),
        ];
        for (sampling, want) in cases {
            let error = sampling.check().unwrap_err().to_string();
            assert!(error.contains(want), "{error}, {want} expected");
        }
        plain.check().unwrap();
    }
}
