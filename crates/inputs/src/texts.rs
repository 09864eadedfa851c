//! Texts, and the tokens that one tokenizer makes of them.

use std::ops::Range;
use std::sync::Arc;

/// A text, or a pair of texts that is judged as one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Text {
    /// The text, or the first of a pair.
    pub first: Arc<str>,
    /// The second of a pair.
    pub second: Option<Arc<str>>,
}

impl Text {
    /// One text alone.
    #[must_use]
    pub fn single(text: impl Into<Arc<str>>) -> Self {
        Self { first: text.into(), second: None }
    }
}

/// A batch of texts: as they are, for networks with a tokenizer of their own, and as the tokens of
/// the student's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Texts {
    /// `[batch]`.
    pub texts: Vec<Text>,
    /// The same as tokens.
    pub tokens: Tokens,
}

impl Texts {
    /// Number of texts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Adds the texts of another batch behind those of this one.
    pub fn append(&mut self, other: &Self) {
        self.texts.extend_from_slice(&other.texts);
        self.tokens.append(&other.tokens);
    }

    /// Some of the texts, in this order.
    ///
    /// # Panics
    /// If a place is not below [`Texts::len`].
    #[must_use]
    pub fn select(&self, places: &[usize]) -> Self {
        Self {
            texts: places.iter().map(|&place| self.texts[place].clone()).collect(),
            tokens: self.tokens.select(places),
        }
    }
}

/// The tokens of several texts, packed: those of one lie behind those of the one before, and nothing
/// fills the difference of their lengths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Numbers in the vocabulary, `[tokens]`.
    ids: Vec<u32>,
    /// 0 for a token of the first text of a pair, 1 for one of the second, `[tokens]`.
    segments: Vec<u8>,
    /// Where each text starts, and behind them all the number of tokens, `[texts + 1]`.
    offsets: Vec<usize>,
}

impl Default for Tokens {
    /// Of no texts.
    fn default() -> Self {
        Self { ids: Vec::new(), segments: Vec::new(), offsets: vec![0] }
    }
}

impl Tokens {
    /// Adds one text: its ids, and the segment of each.
    ///
    /// # Panics
    /// If there are not as many segments as ids.
    pub fn push(&mut self, ids: &[u32], segments: &[u8]) {
        assert_eq!(ids.len(), segments.len(), "one segment a token");
        self.ids.extend_from_slice(ids);
        self.segments.extend_from_slice(segments);
        self.offsets.push(self.ids.len());
    }

    /// Adds the texts of another batch.
    pub fn append(&mut self, other: &Self) {
        (0..other.len()).for_each(|text| self.push(other.ids_of(text), other.segments_of(text)));
    }

    /// Removes all texts, and keeps the memory.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.segments.clear();
        self.offsets.truncate(1);
    }

    /// Some of the texts, in this order.
    ///
    /// # Panics
    /// If a place is not below [`Tokens::len`].
    #[must_use]
    pub fn select(&self, places: &[usize]) -> Self {
        let mut chosen = Self::default();
        places.iter().for_each(|&text| chosen.push(self.ids_of(text), self.segments_of(text)));
        chosen
    }

    /// Number of texts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of tokens of all texts.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ids.len()
    }

    /// Ids of all texts, `[tokens]`.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Segments of all texts, `[tokens]`.
    #[must_use]
    pub fn segments(&self) -> &[u8] {
        &self.segments
    }

    /// Where each text starts, and behind them all the number of tokens, `[texts + 1]`.
    #[must_use]
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// The places of one text's tokens.
    ///
    /// # Panics
    /// If `text` is not below [`Tokens::len`].
    #[must_use]
    pub fn range(&self, text: usize) -> Range<usize> {
        self.offsets[text]..self.offsets[text + 1]
    }

    /// Ids of one text.
    ///
    /// # Panics
    /// If `text` is not below [`Tokens::len`].
    #[must_use]
    pub fn ids_of(&self, text: usize) -> &[u32] {
        &self.ids[self.range(text)]
    }

    /// Segments of one text.
    ///
    /// # Panics
    /// If `text` is not below [`Tokens::len`].
    #[must_use]
    pub fn segments_of(&self, text: usize) -> &[u8] {
        &self.segments[self.range(text)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lists: &[&[u32]]) -> Tokens {
        let mut tokens = Tokens::default();
        lists.iter().for_each(|ids| tokens.push(ids, &vec![0; ids.len()]));
        tokens
    }

    #[test]
    fn texts_lie_packed_and_are_found_again() {
        let mut tokens = of(&[&[1, 2, 3], &[], &[7]]);
        assert_eq!((tokens.len(), tokens.count()), (3, 4));
        assert_eq!(tokens.offsets(), [0, 3, 3, 4]);
        assert_eq!(tokens.ids_of(2), [7]);
        assert_eq!(tokens.select(&[2, 0]), of(&[&[7], &[1, 2, 3]]));
        tokens.append(&of(&[&[9, 9]]));
        assert_eq!(tokens.ids_of(3), [9, 9]);
        tokens.clear();
        assert_eq!(tokens, Tokens::default());
    }
}
