//! Decoders of Llama's kind, under the names of Hugging Face's files.
//!
//! ```text
//! h0 = word      a = h + out(attention(norm(h)))      h' = a + down(silu(gate(norm(a))) · up(norm(a)))
//! output = norm(h_L)      logits = output · headᵀ
//! ```
//! Touvron et al., 2023 (Llama, arXiv:2302.13971); Jiang et al., 2023 (Mistral, arXiv:2310.06825); Yang
//! et al., 2024 (Qwen2, arXiv:2407.10671).
//!
//! The graph ends before the head: with a vocabulary of tens of thousands its logits are larger than
//! all else, so whoever needs them makes them in pieces ([`Graph::token_head`],
//! [`faculty_kernels::head_loss`]).

use std::sync::Arc;

use crate::builder::{EmbedConfig, GraphBuilder};
use crate::decoder_config::DecoderConfig;
use crate::error::Result;
use crate::graph::{Graph, TokenLimits};
use crate::op::causal_attention::Heads;
use crate::parameter::{Init, ValueId};

impl DecoderConfig {
    /// The graph: tokens in, their last hidden values `[tokens, width]` out.
    ///
    /// Feature taps are the hidden values behind the word table and behind every layer.
    ///
    /// # Errors
    /// As [`DecoderConfig::check`].
    pub fn graph(&self) -> Result<Graph> {
        self.check()?;
        let limits = TokenLimits { vocabulary: self.vocabulary, longest: self.longest };
        let mut builder = GraphBuilder::of_texts(limits);
        let start = Init::Normal { deviation: self.initial_deviation };
        let mut hidden = builder.embed(EmbedConfig {
            word: "model.embed_tokens",
            position: None,
            segment: None,
            width: self.width,
            start,
        });
        builder.feature(hidden);
        for layer in 0..self.layers {
            hidden = self.layer(&mut builder, layer, hidden, start);
            builder.feature(hidden);
        }
        builder.rms_norm("model.norm", hidden, self.epsilon);
        builder.token_head((!self.tied).then_some("lm_head"), start);
        Ok(Graph { decoder: Some(Arc::new(self.clone())), ..builder.finish() })
    }

    fn layer(
        &self,
        builder: &mut GraphBuilder,
        layer: usize,
        input: ValueId,
        start: Init,
    ) -> ValueId {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        let heads = Heads {
            heads: self.heads,
            kv_heads: self.kv_heads,
            width: self.head_width,
            rotated: self.head_width,
            base: self.rotary_base,
            layout: self.rotary_layout,
            window: self.window,
        };
        let normed = builder.rms_norm(&name("input_layernorm"), input, self.epsilon);
        let base = name("self_attn");
        let attended = builder.causal_attention(&base, normed, heads, self.biases, layer, start);
        let attended = builder.plain_projection(
            &name("self_attn.o_proj"),
            attended,
            Some(input),
            self.width,
            start,
        );
        let normed = builder.rms_norm(&name("post_attention_layernorm"), attended, self.epsilon);
        let names = ["mlp.gate_proj", "mlp.up_proj"].map(name);
        let gated =
            builder.gated_projection(names, normed, self.intermediate, self.activation, start);
        builder.plain_projection(&name("mlp.down_proj"), gated, Some(attended), self.width, start)
    }
}
