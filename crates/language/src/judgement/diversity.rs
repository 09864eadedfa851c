//! How much texts repeat themselves.

use std::collections::HashSet;

/// Tokens of a run in [`repetition`].
const RUN: usize = 4;

/// Different pairs of neighbours by all pairs, of all texts together; `None` without a pair.
#[must_use]
pub fn distinct_pairs(texts: &[&[u32]]) -> Option<f64> {
    let all = || texts.iter().flat_map(|text| text.windows(2));
    let different: HashSet<&[u32]> = all().collect();
    match all().count() {
        0 => None,
        count => Some(different.len() as f64 / count as f64),
    }
}

/// `1 - different runs by all runs` of four tokens in a text, mean of the texts that have a run; `None`
/// if none has.
#[must_use]
pub fn repetition(texts: &[&[u32]]) -> Option<f64> {
    let of_text = |text: &&[u32]| {
        let different: HashSet<&[u32]> = text.windows(RUN).collect();
        1.0 - different.len() as f64 / text.windows(RUN).count() as f64
    };
    let own: Vec<f64> = texts.iter().filter(|text| text.len() >= RUN).map(of_text).collect();
    match own.len() {
        0 => None,
        count => Some(own.iter().sum::<f64>() / count as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_and_runs_are_counted() {
        // ab bc ca ab bc, and bc: 3 of 6 are different.
        let texts: [&[u32]; 3] = [&[1, 2, 3, 1, 2, 3], &[2, 3], &[7]];
        assert_eq!(distinct_pairs(&texts), Some(0.5));
        assert_eq!(distinct_pairs(&[&[1], &[]]), None);
        // 1231 2312 3123: all different. Five equal tokens: one of two.
        assert_eq!(repetition(&texts), Some(0.0));
        assert_eq!(repetition(&[&[9; 5]]), Some(0.5));
        assert_eq!(repetition(&[&[9; 5], &[1, 2, 3, 4], &[1]]), Some(0.25));
        assert_eq!(repetition(&[&[1, 2, 3]]), None);
    }
}
