//! Texts as sparse vectors of weighted words.
//!
//! ```text
//! idf(w)  = ln((1 + n) / (1 + texts with w)) + 1
//! x(t, w) = (1 + ln count of w in t) idf(w), then x(t) / |x(t)|
//! ```
//! Words are runs of letters, digits and marks within words, in lower case; pairs are neighbours. Salton,
//! Buckley, "Term-weighting approaches in automatic text retrieval", 1988; the smoothing is
//! scikit-learn's.

use std::collections::{BTreeMap, HashMap};

use faculty_data::Text;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureConfig {
    /// Whether neighbouring words count as pairs too.
    pub pairs: bool,
    /// Texts in which a word must occur.
    pub least_texts: usize,
}

impl Default for FeatureConfig {
    fn default() -> Self {
        Self { pairs: true, least_texts: 2 }
    }
}

/// A sparse vector: places, rising, and values.
pub(crate) type Row = Vec<(u32, f32)>;

/// The words that are known, with their weights.
#[derive(Clone, Debug)]
pub struct Features {
    config: FeatureConfig,
    /// Place and weight.
    words: HashMap<String, (u32, f32)>,
}

impl Features {
    /// Those of some texts.
    #[must_use]
    pub fn of(texts: &[&Text], config: FeatureConfig) -> Self {
        // Sorted, so that places depend on nothing else.
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for text in texts {
            for word in count(text, config).into_keys() {
                *counts.entry(word).or_default() += 1;
            }
        }
        let known = counts.into_iter().filter(|(_, count)| *count >= config.least_texts);
        let weight = |count| ((1 + texts.len()) as f64 / (1 + count) as f64).ln() + 1.0;
        let words = known.enumerate().map(|(place, (word, count))| {
            let place = u32::try_from(place).unwrap_or(u32::MAX);
            (word, (place, weight(count) as f32))
        });
        Self { config, words: words.collect() }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// A text's vector, of length 1; empty if it has no known word.
    pub(crate) fn row(&self, text: &Text) -> Row {
        let of_word = |(word, count): (String, usize)| {
            let &(place, weight) = self.words.get(&word)?;
            Some((place, (1.0 + (count as f32).ln()) * weight))
        };
        let mut row: Row = count(text, self.config).into_iter().filter_map(of_word).collect();
        row.sort_unstable_by_key(|(place, _)| *place);
        let length = row.iter().map(|(_, x)| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|(_, x)| *x /= length);
        row
    }
}

/// How often each word and pair occurs. Words of the second of a pair of texts are other words.
fn count(text: &Text, config: FeatureConfig) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    let sides = [(Some(&text.first), ""), (text.second.as_ref(), "2:")];
    for (side, mark) in sides.into_iter().filter_map(|(side, mark)| Some((side?, mark))) {
        let words = words(side);
        for word in &words {
            *counts.entry(format!("{mark}{word}")).or_default() += 1;
        }
        for pair in words.windows(2).filter(|_| config.pairs) {
            *counts.entry(format!("{mark}{} {}", pair[0], pair[1])).or_default() += 1;
        }
    }
    counts
}

/// The words of a text in lower case; `don't` is one.
fn words(text: &str) -> Vec<String> {
    let inside = |c: char| c.is_alphanumeric() || c == '\'' || c == '’';
    let pieces = text.split(|c: char| !inside(c)).map(|piece| piece.trim_matches(['\'', '’']));
    pieces.filter(|piece| !piece.is_empty()).map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_formula() {
        let texts = ["A good film, a GOOD day", "a bad film", "don't"].map(Text::single);
        let texts: Vec<&Text> = texts.iter().collect();
        let features = Features::of(&texts, FeatureConfig { pairs: false, least_texts: 1 });
        // a, bad, day, don't, film, good
        assert_eq!(features.len(), 6);
        let idf = |count: f64| (4.0 / (1.0 + count)).ln() + 1.0;
        let twice = 1.0 + 2.0_f64.ln();
        let want = [(0, twice * idf(2.0)), (2, idf(1.0)), (4, idf(2.0)), (5, twice * idf(1.0))];
        let length = want.iter().map(|(_, x)| x * x).sum::<f64>().sqrt();
        let row = features.row(texts[0]);
        assert_eq!(row.len(), want.len());
        for ((place, x), (want_place, want)) in row.iter().zip(want) {
            assert_eq!(*place, want_place);
            assert!((f64::from(*x) - want / length).abs() < 1e-6, "{x}");
        }
        assert!(features.row(&Text::single("unknown words")).is_empty());
        let pairs = Features::of(&texts, FeatureConfig { pairs: true, least_texts: 1 });
        // a good, good film, film a, good day; a bad, bad film
        assert_eq!(pairs.len(), 6 + 6);
        let often = Features::of(&texts, FeatureConfig { pairs: true, least_texts: 2 });
        assert_eq!(often.len(), 2);
    }
}
