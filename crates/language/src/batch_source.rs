//! Where the texts of a training step come from: drawn from a corpus, or written for the step.

use std::fmt;

use faculty_nets::{Decoder, Network};

use crate::error::Result;
use crate::token_batch::TokenBatch;
use crate::training::windows;

/// Gives the texts of each step.
///
/// They may depend on the seed, the step's number and the models as they are then, and on nothing else: so
/// nothing of a source has to be kept to go on exactly.
pub trait BatchSource: fmt::Debug + Send {
    /// The texts of a step. Sources that write use the student as it is now, and the frozen teachers.
    ///
    /// # Errors
    /// When a text cannot be made.
    fn batch(
        &mut self,
        step: u64,
        student: &Network,
        teachers: &mut [&mut Decoder],
    ) -> Result<TokenBatch>;
}

/// Windows of a stream of tokens at places drawn from seed and step.
#[derive(Clone, Debug)]
pub struct StreamSource {
    stream: Vec<u32>,
    /// Windows, and tokens of each.
    sizes: [usize; 2],
    seed: u64,
}

impl StreamSource {
    /// `batch` windows of `window` tokens a step, of fewer where the stream is shorter.
    #[must_use]
    pub fn new(stream: Vec<u32>, batch: usize, window: usize, seed: u64) -> Self {
        let sizes = [batch, window.min(stream.len())];
        Self { stream, sizes, seed }
    }
}

impl BatchSource for StreamSource {
    fn batch(&mut self, step: u64, _: &Network, _: &mut [&mut Decoder]) -> Result<TokenBatch> {
        let tokens = windows(&self.stream, self.sizes, self.seed, step);
        let counted = vec![true; tokens.count()];
        Ok(TokenBatch { tokens, counted, true_text: true, ..TokenBatch::default() })
    }
}
