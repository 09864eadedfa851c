//! Text encoders: BERT and its relatives under the names of Hugging Face's files, and a bag of word
//! vectors as the smallest of them.
//!
//! ```text
//! h0 = norm(word + position + segment)      a = norm(h + dropout(out(attention(h))))      h' = norm(a + dropout(down(gelu(up(a)))))
//! logits = classifier(dropout(pool(h_L)))
//! ```
//! Devlin et al., 2019 (arXiv:1810.04805); Liu et al., 2019 (RoBERTa, arXiv:1907.11692); Conneau et
//! al., 2020 (XLM-R, arXiv:1911.02116); Sanh et al., 2019 (DistilBERT, arXiv:1910.01108); Song et al.,
//! 2020 (MPNet, arXiv:2004.09297); Clark et al., 2020 (ELECTRA, arXiv:2003.10555).

use std::sync::Arc;

use faculty_kernels::activation::Activation;

use crate::builder::{DenseConfig, EmbedConfig, GraphBuilder};
use crate::encoder_config::{EncoderConfig, EncoderFamily, Pooling};
use crate::error::Result;
use crate::graph::{Graph, TokenLimits};
use crate::op::self_attention::BucketBias;
use crate::op::token_pool::TokenPool;
use crate::parameter::{Init, ValueId};

/// Distance from which MPNet's biases are all one.
const FURTHEST: usize = 128;
/// Taps between the word vectors and the pooled vector, at most.
const MOST_TAPS: usize = 4;

impl EncoderConfig {
    /// The graph of a classifier of `classes` classes.
    ///
    /// Taps are vectors, one a text, pooled like the last: `f0` of the word vectors, then of up to
    /// four layers at equal distances, the last of which is the last layer.
    ///
    /// # Errors
    /// As [`EncoderConfig::check`].
    pub fn graph(&self, classes: usize) -> Result<Graph> {
        self.check()?;
        let limits = TokenLimits { vocabulary: self.vocabulary, longest: self.longest };
        let builder = GraphBuilder::of_texts(limits);
        let start = Init::Normal { deviation: self.initial_deviation };
        let graph = Encoder { config: self, builder, start }.build(classes);
        Ok(Graph { encoder: Some(Arc::new(self.clone())), ..graph })
    }

    /// What stands before the names of everything below the classifier.
    pub(crate) fn prefix(&self) -> &'static str {
        match self.family {
            EncoderFamily::Bert => "bert",
            EncoderFamily::Roberta | EncoderFamily::XlmRoberta => "roberta",
            EncoderFamily::DistilBert => "distilbert",
            EncoderFamily::Mpnet => "mpnet",
            EncoderFamily::Electra => "electra",
            EncoderFamily::Bag => "bag",
        }
    }

    /// What stands before the names of a layer.
    pub(crate) fn layer_name(&self, layer: usize) -> String {
        let stack = match self.family {
            EncoderFamily::DistilBert => "transformer",
            _ => "encoder",
        };
        format!("{}.{stack}.layer.{layer}", self.prefix())
    }
}

/// Names of a layer's parts, below the layer's own.
struct LayerNames {
    query: &'static str,
    key: &'static str,
    value: &'static str,
    out: &'static str,
    attention_norm: &'static str,
    up: &'static str,
    down: &'static str,
    norm: &'static str,
}

impl LayerNames {
    const BERT: Self = Self {
        query: "attention.self.query",
        key: "attention.self.key",
        value: "attention.self.value",
        out: "attention.output.dense",
        attention_norm: "attention.output.LayerNorm",
        up: "intermediate.dense",
        down: "output.dense",
        norm: "output.LayerNorm",
    };
    const DISTILBERT: Self = Self {
        query: "attention.q_lin",
        key: "attention.k_lin",
        value: "attention.v_lin",
        out: "attention.out_lin",
        attention_norm: "sa_layer_norm",
        up: "ffn.lin1",
        down: "ffn.lin2",
        norm: "output_layer_norm",
    };
    const MPNET: Self = Self {
        query: "attention.attn.q",
        key: "attention.attn.k",
        value: "attention.attn.v",
        out: "attention.attn.o",
        attention_norm: "attention.LayerNorm",
        ..Self::BERT
    };
}

struct Encoder<'a> {
    config: &'a EncoderConfig,
    builder: GraphBuilder,
    start: Init,
}

impl Encoder<'_> {
    fn build(mut self, classes: usize) -> Graph {
        let EncoderConfig { layers, .. } = *self.config;
        let mut hidden = self.embeddings();
        self.tap(hidden);
        let bias = self.distance_bias();
        let taps = layers.min(MOST_TAPS);
        for layer in 0..layers {
            hidden = self.layer(layer, hidden, bias);
            // The first tap behind at least its share of the layers; the last behind all.
            if (1..=taps).any(|tap| (tap * layers).div_ceil(taps) == layer + 1) {
                self.tap(hidden);
            }
        }
        self.head(hidden, classes);
        self.builder.finish()
    }

    /// A feature tap: one vector a text.
    fn tap(&mut self, hidden: ValueId) {
        let pool = match self.config.pooling {
            Pooling::First => TokenPool::First,
            Pooling::Mean | Pooling::Attentive => TokenPool::Mean,
        };
        let pooled = self.builder.token_pool(hidden, pool);
        self.builder.feature(pooled);
    }

    fn embeddings(&mut self) -> ValueId {
        let EncoderConfig { family, longest, segments, embedding_width, epsilon, dropout, .. } =
            *self.config;
        let prefix = self.config.prefix();
        let name = |part: &str| format!("{prefix}.embeddings.{part}");
        let names = ["word_embeddings", "position_embeddings", "token_type_embeddings"].map(name);
        let first = self.config.first_position();
        let bag = family == EncoderFamily::Bag;
        let embedded = self.builder.embed(EmbedConfig {
            word: &names[0],
            position: (!bag).then_some((&names[1], longest + first, first)),
            segment: (segments > 0).then_some((&names[2], segments)),
            width: embedding_width,
            start: self.start,
        });
        if bag {
            return embedded;
        }
        let normed = self.builder.layer_norm(&name("LayerNorm"), embedded, epsilon);
        let dropped = self.builder.dropout(normed, dropout);
        if embedding_width == self.config.width {
            return dropped;
        }
        let config = DenseConfig::new(self.config.width, self.start);
        self.builder.dense(&format!("{prefix}.embeddings_project"), dropped, config)
    }

    fn distance_bias(&mut self) -> Option<BucketBias> {
        let EncoderConfig { family, heads, distance_buckets, .. } = *self.config;
        let name = "mpnet.encoder.relative_attention_bias";
        let sizes = [distance_buckets, heads, FURTHEST];
        (family == EncoderFamily::Mpnet).then(|| self.builder.bucket_bias(name, sizes, self.start))
    }

    fn layer(&mut self, layer: usize, input: ValueId, bias: Option<BucketBias>) -> ValueId {
        let EncoderConfig {
            family, width, heads, intermediate, activation, epsilon, dropout, ..
        } = *self.config;
        let (start, builder) = (self.start, &mut self.builder);
        let names = match family {
            EncoderFamily::DistilBert => LayerNames::DISTILBERT,
            EncoderFamily::Mpnet => LayerNames::MPNET,
            _ => LayerNames::BERT,
        };
        let base = self.config.layer_name(layer);
        let name = |part: &str| format!("{base}.{part}");
        let projections = [names.query, names.key, names.value].map(name);
        let attended = builder.self_attention(projections, input, heads, bias, start);
        let config =
            DenseConfig { dropout, residual: Some(input), ..DenseConfig::new(width, start) };
        let attended = builder.dense(&name(names.out), attended, config);
        let attended = builder.layer_norm(&name(names.attention_norm), attended, epsilon);
        let config =
            DenseConfig { activation: Some(activation), ..DenseConfig::new(intermediate, start) };
        let up = builder.dense(&name(names.up), attended, config);
        let config =
            DenseConfig { dropout, residual: Some(attended), ..DenseConfig::new(width, start) };
        let down = builder.dense(&name(names.down), up, config);
        builder.layer_norm(&name(names.norm), down, epsilon)
    }

    fn head(&mut self, hidden: ValueId, classes: usize) {
        let EncoderConfig { family, width, dropout, pooling, .. } = *self.config;
        let (start, builder) = (self.start, &mut self.builder);
        let dense = |activation| DenseConfig {
            activation: Some(activation),
            ..DenseConfig::new(width, start)
        };
        match pooling {
            Pooling::Mean => {
                let pooled = builder.token_pool(hidden, TokenPool::Mean);
                builder.text_classifier("classifier", pooled, classes, dropout, start);
            }
            Pooling::Attentive => {
                let keys = builder.dense("pooling.dense", hidden, dense(Activation::Tanh));
                let scores = builder.dense("pooling.score", keys, DenseConfig::new(1, start));
                let pooled = builder.attentive_pool(hidden, scores);
                builder.text_classifier("classifier", pooled, classes, dropout, start);
            }
            Pooling::First => {
                let first = builder.token_pool(hidden, TokenPool::First);
                let (layer, activation, classifier) = match family {
                    EncoderFamily::Bert => ("bert.pooler.dense", Activation::Tanh, "classifier"),
                    EncoderFamily::DistilBert => ("pre_classifier", Activation::Relu, "classifier"),
                    EncoderFamily::Electra => {
                        ("classifier.dense", Activation::Gelu, "classifier.out_proj")
                    }
                    EncoderFamily::Bag => {
                        builder.text_classifier("classifier", first, classes, dropout, start);
                        return;
                    }
                    _ => ("classifier.dense", Activation::Tanh, "classifier.out_proj"),
                };
                // RoBERTa, MPNet and ELECTRA drop before this layer too.
                let dropped = match classifier {
                    "classifier" => first,
                    _ => builder.dropout(first, dropout),
                };
                let pooled = builder.dense(layer, dropped, dense(activation));
                builder.text_classifier(classifier, pooled, classes, dropout, start);
            }
        }
    }
}
