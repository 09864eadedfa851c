//! Views of texts: words swapped and left out.
//!
//! ```text
//! swap       max(1, floor(swap * words)) times: two words at different places change them
//! deletion   each word is left out with this probability; if none is left, one of them stays
//! ```
//!
//! Both are operations of EDA (Wei, Zou, EMNLP-IJCNLP 2019, <https://arxiv.org/abs/1901.11196>), which
//! advises 0.05 to 0.1. EDA makes one operation a sentence; here both that are asked for happen to each
//! view, the swaps first. Every choice is a hash of (seed, sample id, view number), see [`crate::rng`].

use std::sync::Arc;

use faculty_inputs::Text;
use faculty_random::{Purpose, below, draw, unit};
use serde::{Deserialize, Serialize};

use crate::{DataError, SampleId};

/// What may happen to the words of a text in training; words are what white space separates.
///
/// A text that is changed has one blank between its words; with both 0 it stays as it is. Of a pair
/// each text is changed for itself. Cost: `O(words)` a view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordChanges {
    /// Probability with which each word is left out, in `[0, 1)`.
    pub deletion: f64,
    /// Swaps for one word, in `[0, 1]`; if it is not 0, at least one swap is made.
    pub swap: f64,
}

/// Draws of swaps stand below this number, those of deletions from it on.
const DELETIONS: u64 = 1 << 40;
/// The draw that chooses the only word to stay.
const SURVIVOR: u64 = DELETIONS - 1;

impl WordChanges {
    /// The text as it is: for evaluation.
    pub const NONE: Self = Self { deletion: 0.0, swap: 0.0 };

    /// Refuses what is no probability.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`].
    pub fn check(&self) -> Result<(), DataError> {
        let refuse = |name, found: f64, range: &str| {
            Err(DataError::OutOfRange { name, found: found.to_string(), range: range.to_owned() })
        };
        if !(0.0..1.0).contains(&self.deletion) {
            return refuse("the share of words left out", self.deletion, "at least 0 and below 1");
        }
        if !(0.0..=1.0).contains(&self.swap) {
            return refuse("the share of words swapped", self.swap, "between 0 and 1");
        }
        Ok(())
    }

    /// The view `number` of a text that has this id: a function of the arguments alone.
    #[must_use]
    pub fn view(&self, text: &Text, seed: u64, id: SampleId, number: u32) -> Text {
        if *self == Self::NONE {
            return text.clone();
        }
        let change = |part: &Arc<str>, which: u64| -> Arc<str> {
            let word = |c| draw(Purpose::Words, seed, id.0, u64::from(number) << 1 | which, c);
            self.change(part, word).into()
        };
        Text {
            first: change(&text.first, 0),
            second: text.second.as_ref().map(|second| change(second, 1)),
        }
    }

    fn change(&self, text: &str, draw: impl Fn(u64) -> u64) -> String {
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let count = words.len() as u64;
        if self.swap > 0.0 && count > 1 {
            let swaps = ((self.swap * count as f64) as u64).max(1);
            for swap in 0..swaps {
                let first = below(draw(2 * swap), count);
                let other = below(draw(2 * swap + 1), count - 1);
                words.swap(first as usize, (other + u64::from(other >= first)) as usize);
            }
        }
        if self.deletion > 0.0 && count > 0 {
            let stays = |at: &u64| unit(draw(DELETIONS + at)) >= self.deletion;
            let kept: Vec<&str> = (0..count).filter(stays).map(|at| words[at as usize]).collect();
            words = match kept.is_empty() {
                true => vec![words[below(draw(SURVIVOR), count) as usize]],
                false => kept,
            };
        }
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn text(words: usize) -> Text {
        Text::single((0..words).map(|word| format!("w{word}")).collect::<Vec<_>>().join(" "))
    }

    fn views(changes: WordChanges, text: &Text) -> Vec<String> {
        (0..2000)
            .map(|number| changes.view(text, 1, SampleId(5), number).first.to_string())
            .collect()
    }

    #[test]
    fn without_changes_a_text_keeps_its_white_space_too() {
        let odd = Text::single(" a\t\tb\n c ");
        assert_eq!(WordChanges::NONE.view(&odd, 1, SampleId(1), 0), odd);
    }

    #[test]
    fn deletion_leaves_out_its_share_keeps_the_order_and_never_leaves_nothing() {
        let changes = WordChanges { deletion: 0.2, swap: 0.0 };
        let all: Vec<String> = text(10).first.split(' ').map(str::to_owned).collect();
        let mut kept = 0;
        for view in views(changes, &text(10)) {
            let words: Vec<&str> = view.split(' ').collect();
            let at: Vec<_> =
                words.iter().map(|w| all.iter().position(|a| a == w).unwrap()).collect();
            assert!(at.windows(2).all(|pair| pair[0] < pair[1]), "{view}");
            kept += words.len();
        }
        // Binomial(20,000, 0.8): standard deviation 57.
        assert!((15_700..16_300).contains(&kept), "{kept}");
        let changes = WordChanges { deletion: 0.95, swap: 0.0 };
        let survivors: BTreeSet<String> =
            views(changes, &text(2)).into_iter().filter(|view| !view.contains(' ')).collect();
        assert_eq!(survivors, ["w0", "w1"].map(str::to_owned).into());
    }

    #[test]
    fn swaps_keep_the_words_and_move_at_most_two_each() {
        for (swap, most_moved) in [(0.01, 2), (0.2, 4)] {
            let changes = WordChanges { deletion: 0.0, swap };
            let whole = text(10);
            let all: Vec<&str> = whole.first.split(' ').collect();
            let mut places = BTreeSet::new();
            for view in views(changes, &whole) {
                let words: Vec<&str> = view.split(' ').collect();
                let moved = (0..10).filter(|&at| words[at] != all[at]).count();
                assert!(moved <= most_moved && (moved > 0 || swap > 0.1), "{view}");
                assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), 10);
                places.extend((0..10).filter(|&at| words[at] != all[at]));
            }
            assert_eq!(places.len(), 10, "every place can be moved");
        }
        let changes = WordChanges { deletion: 0.0, swap: 1.0 };
        assert_eq!(changes.view(&text(1), 1, SampleId(5), 0), text(1));
        assert_eq!(changes.view(&Text::single(""), 1, SampleId(5), 0), Text::single(""));
    }

    #[test]
    fn a_view_is_a_function_of_seed_id_and_number() {
        let changes = WordChanges { deletion: 0.3, swap: 0.3 };
        let view = |seed, id, number| changes.view(&text(40), seed, SampleId(id), number);
        assert_eq!(view(1, 2, 3), view(1, 2, 3));
        for other in [view(2, 2, 3), view(1, 3, 3), view(1, 2, 4)] {
            assert_ne!(other, view(1, 2, 3));
        }
        let pair = Text { second: Some(text(40).first), ..text(40) };
        let Text { first, second } = changes.view(&pair, 1, SampleId(2), 3);
        assert_ne!(Some(first), second, "each text has draws of its own");
    }

    #[test]
    fn shares_that_are_none_are_refused() {
        for (deletion, swap) in [(1.0, 0.0), (-0.1, 0.0), (f64::NAN, 0.0), (0.0, 1.1)] {
            let error = WordChanges { deletion, swap }.check().unwrap_err();
            assert!(matches!(error, DataError::OutOfRange { .. }), "{deletion} {swap}");
        }
        assert!(WordChanges { deletion: 0.99, swap: 1.0 }.check().is_ok());
    }
}
