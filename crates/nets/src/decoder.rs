//! A frozen decoder at work: hidden values of whole texts, of next tokens with a cache, and logits.

use faculty_inputs::Tokens;
use faculty_kernels::in_pool;
use faculty_kernels::matmul::{Finish, Matrix, MatrixMut, PackedMatrix, matmul_packed};

use crate::decoder_config::DecoderConfig;
use crate::kv_cache::KvCache;
use crate::network::Network;
use crate::op::projection::packed;
use crate::run::Inference;

/// A decoder's plan and head, with their own copy of the weights.
///
/// What it gives for a token does not depend on the other texts of a batch, nor on the number of threads,
/// not in the last bit.
#[derive(Debug)]
pub struct Decoder {
    config: DecoderConfig,
    plan: Inference,
    head: PackedMatrix,
}

impl Decoder {
    /// Compiles `network` as it is now.
    ///
    /// # Panics
    /// If it is no decoder.
    #[must_use]
    pub fn new(network: &Network) -> Self {
        let graph = network.graph();
        let config = graph.decoder().expect("the network is a decoder").clone();
        let head = graph.token_head().expect("a decoder has a head");
        let head = &network.parameters()[head.index()];
        let head = packed(head, [config.vocabulary, config.width]);
        Self { plan: Inference::new(network, &[]), config, head }
    }

    /// Sizes and settings.
    #[must_use]
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// An empty cache for at most `rows` texts of at most `capacity` tokens each; more than the
    /// decoder reads at all are not reserved.
    #[must_use]
    pub fn cache(&self, rows: usize, capacity: usize) -> KvCache {
        let DecoderConfig { layers, kv_heads, head_width, longest, .. } = self.config;
        KvCache::new(layers, kv_heads * head_width, rows, capacity.min(longest))
    }

    /// Bytes that such a cache takes.
    #[must_use]
    pub fn cache_bytes(&self, rows: usize, capacity: usize) -> usize {
        let DecoderConfig { layers, kv_heads, head_width, longest, .. } = self.config;
        KvCache::bytes_needed(layers, kv_heads * head_width, rows, capacity.min(longest))
    }

    /// Reads whole texts: the last hidden values `[tokens, width]`, of which [`Decoder::logits`] makes
    /// logits.
    ///
    /// # Panics
    /// If a text has no token, more than the decoder reads, or an id outside its vocabulary.
    pub fn hidden(&mut self, tokens: &Tokens) -> &[f32] {
        self.plan.run_tokens(tokens, None)
    }

    /// Reads the next tokens of every row of a cache, one or more each, and adds them to it: their
    /// last hidden values `[tokens, width]`.
    ///
    /// # Panics
    /// If the tokens are not of the cache's rows, a row has none or no room for them, or an id is
    /// outside the vocabulary.
    pub fn next(&mut self, tokens: &Tokens, cache: &mut KvCache) -> &[f32] {
        self.plan.run_tokens(tokens, Some(cache))
    }

    /// Logits `[rows, vocabulary]` of hidden values `[rows, width]`; overwritten.
    ///
    /// # Panics
    /// If the values are not whole rows.
    pub fn logits(&self, hidden: &[f32], logits: &mut Vec<f32>) {
        let [width, vocabulary] = self.head.sizes();
        let rows = hidden.len() / width;
        logits.resize(rows * vocabulary, 0.0);
        let output = MatrixMut::new(logits, [rows, vocabulary]);
        let hidden = Matrix::new(hidden, [rows, width]);
        let head = &self.head;
        in_pool(|| matmul_packed(hidden, head, Finish::Store, output));
    }
}
