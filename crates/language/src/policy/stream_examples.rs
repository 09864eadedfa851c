//! Prompts of a step out of running text.

use faculty_random::{Purpose, below, draw};

use super::Example;
use crate::error::{LanguageError, Result};
use crate::generation::Prompt;

/// A stream of tokens in pieces of a prompt and what follows it, some of them for each step.
///
/// Pieces lie behind one another, from the stream's beginning; a step's are drawn from seed and step, with
/// replacement, so that a text that the teacher writes once serves whenever its prompt comes again.
#[derive(Clone, Debug)]
pub struct StreamExamples {
    stream: Vec<u32>,
    /// Tokens of a prompt, and of what follows.
    sizes: [usize; 2],
    batch: usize,
    seed: u64,
}

impl StreamExamples {
    /// `batch` examples a step, of `prompt` and `response` tokens.
    ///
    /// # Errors
    /// When a number is 0, or the stream is shorter than a piece.
    pub fn new(
        stream: Vec<u32>,
        [prompt, response]: [usize; 2],
        batch: usize,
        seed: u64,
    ) -> Result<Self> {
        for (name, own) in [("prompt", prompt), ("response", response), ("batch", batch)] {
            if own == 0 {
                let found = "0".to_owned();
                return Err(LanguageError::OutOfRange { name, found, range: "1 or more" });
            }
        }
        if stream.len() < prompt.saturating_add(response) {
            return Err(LanguageError::ShortText { tokens: stream.len() });
        }
        Ok(Self { stream, sizes: [prompt, response], batch, seed })
    }

    /// How many pieces there are, at least 1.
    #[must_use]
    pub fn pieces(&self) -> usize {
        self.stream.len() / self.sizes.iter().sum::<usize>()
    }

    /// The examples of a step. A prompt's sample is the number of its piece.
    #[must_use]
    pub fn of_step(&self, step: u64) -> Vec<Example> {
        let [prompt, response] = self.sizes;
        let example = |row: u64| {
            let number = draw(Purpose::Order, self.seed, step, row, 1);
            let piece = below(number, self.pieces() as u64);
            let all = &self.stream[piece as usize * (prompt + response)..][..prompt + response];
            let (ids, response) = all.split_at(prompt);
            let prompt = Prompt { ids: ids.to_vec(), sample: piece };
            Example { prompt, response: response.to_vec() }
        };
        (0..self.batch as u64).map(example).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_prompts_with_what_follows_and_all_come_up() {
        let own = StreamExamples::new((0..35).collect(), [3, 4], 2, 5).unwrap();
        assert_eq!(own.pieces(), 5);
        let mut seen = [0; 5];
        for step in 0..200 {
            let examples = own.of_step(step);
            assert_eq!((examples.len(), &examples), (2, &own.of_step(step)));
            for Example { prompt, response } in examples {
                let first = 7 * prompt.sample as u32;
                assert_eq!(prompt.ids, (first..first + 3).collect::<Vec<_>>());
                assert_eq!(response, (first + 3..first + 7).collect::<Vec<_>>());
                seen[prompt.sample as usize] += 1;
            }
        }
        // 400 draws: 80 each, standard deviation 8.
        assert!(seen.iter().all(|count| (40..=120).contains(count)), "{seen:?}");
        let other = StreamExamples::new((0..35).collect(), [3, 4], 2, 6).unwrap();
        assert!((0..9).any(|step| own.of_step(step) != other.of_step(step)));
    }

    #[test]
    fn short_streams_and_empty_pieces_are_refused() {
        let new = |tokens, sizes, batch| StreamExamples::new(vec![1; tokens], sizes, batch, 0);
        assert!(matches!(new(6, [3, 4], 1), Err(LanguageError::ShortText { tokens: 6 })));
        assert_eq!(new(7, [3, 4], 1).unwrap().pieces(), 1);
        for (sizes, batch) in [([0, 4], 1), ([3, 0], 1), ([3, 4], 0)] {
            assert!(matches!(new(9, sizes, batch), Err(LanguageError::OutOfRange { .. })));
        }
    }
}
