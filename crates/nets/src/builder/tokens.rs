//! Building graphs of texts: values with a row for each token.

use faculty_kernels::activation::Activation;

use super::GraphBuilder;
use crate::graph::{ClassifierIds, Graph, TokenLimits};
use crate::op::attentive_pool::AttentivePool;
use crate::op::causal_attention::{CausalAttention, Heads};
use crate::op::dense::Dense;
use crate::op::dropout::Dropout;
use crate::op::embed::{Embed, PositionTable};
use crate::op::gated_projection::GatedProjection;
use crate::op::layer_norm::LayerNorm;
use crate::op::projection::Projection;
use crate::op::rms_norm::RmsNorm;
use crate::op::self_attention::{BucketBias, SelfAttention};
use crate::op::token_pool::TokenPool;
use crate::parameter::{Init, ParameterId, ValueId};
use crate::shape::{MapShape, Per};

/// The tables of [`GraphBuilder::embed`], by name.
pub(crate) struct EmbedConfig<'a> {
    pub(crate) word: &'a str,
    /// Name, rows, and the row of a text's first token.
    pub(crate) position: Option<(&'a str, usize, usize)>,
    /// Name and rows.
    pub(crate) segment: Option<(&'a str, usize)>,
    pub(crate) width: usize,
    pub(crate) start: Init,
}

/// What [`GraphBuilder::dense`] computes.
#[derive(Clone, Copy)]
pub(crate) struct DenseConfig {
    pub(crate) outputs: usize,
    pub(crate) activation: Option<Activation>,
    /// Share that is dropped in training, before the residual.
    pub(crate) dropout: f32,
    pub(crate) residual: Option<ValueId>,
    pub(crate) start: Init,
}

impl DenseConfig {
    pub(crate) fn new(outputs: usize, start: Init) -> Self {
        Self { outputs, activation: None, dropout: 0.0, residual: None, start }
    }
}

impl GraphBuilder {
    /// Starts a graph for texts.
    pub(crate) fn of_texts(limits: TokenLimits) -> Self {
        let graph = Graph { tokens: Some(limits), ..Graph::of_input(MapShape::new(0, 0, 0)) };
        Self { graph }
    }

    /// The vectors of all tokens.
    pub(crate) fn embed(&mut self, config: EmbedConfig<'_>) -> ValueId {
        let EmbedConfig { word, position, segment, width, start } = config;
        let rows = self.graph.tokens.map_or(0, |limits| limits.vocabulary);
        let word = self.parameter(word, "weight", vec![rows, width], start);
        let position = position.map(|(name, rows, first)| PositionTable {
            table: self.parameter(name, "weight", vec![rows, width], start),
            first,
        });
        let segment =
            segment.map(|(name, rows)| self.parameter(name, "weight", vec![rows, width], start));
        let shape = MapShape::new(width, 1, 1);
        self.push_per(Per::Token, Embed { word, position, segment }, vec![ValueId(0)], shape)
    }

    /// The linear layer `name` on every row, with what stands around it.
    pub(crate) fn dense(&mut self, name: &str, input: ValueId, config: DenseConfig) -> ValueId {
        let DenseConfig { outputs, activation, dropout, residual, start } = config;
        debug_assert!(activation.is_none() || residual.is_none(), "{name}: one of them");
        let [weight, bias] = self.projection(name, self.shape(input).elements(), outputs, start);
        let dropout = self.drops(dropout);
        let op = Dense { weight, bias, activation, dropout, residual: residual.is_some() };
        let inputs = std::iter::once(input).chain(residual);
        self.push(op, inputs, MapShape::new(outputs, 1, 1))
    }

    /// Weight `[outputs, inputs]` and bias `[outputs]`, that 0 at first.
    fn projection(
        &mut self,
        name: &str,
        inputs: usize,
        outputs: usize,
        start: Init,
    ) -> [ParameterId; 2] {
        let weight = self.parameter(name, "weight", vec![outputs, inputs], start);
        [weight, self.parameter(name, "bias", vec![outputs], Init::Zeros)]
    }

    /// Dropout for the value that is pushed next.
    fn drops(&self, probability: f32) -> Option<Dropout> {
        let layer = self.graph.nodes.len();
        (probability > 0.0).then_some(Dropout { probability, layer })
    }

    /// Dropout in training, of a share `probability` in `0..1`; `input` itself where nothing is to be
    /// dropped.
    pub fn dropout(&mut self, input: ValueId, probability: f32) -> ValueId {
        match self.drops(probability) {
            Some(op) => self.push(op, [input], self.shape(input)),
            None => input,
        }
    }

    /// Layer norm `name.*` of every row.
    pub(crate) fn layer_norm(&mut self, name: &str, input: ValueId, epsilon: f32) -> ValueId {
        let shape = self.shape(input);
        let gamma = self.parameter(name, "weight", vec![shape.elements()], Init::Ones);
        let beta = self.parameter(name, "bias", vec![shape.elements()], Init::Zeros);
        self.push(LayerNorm { gamma, beta, epsilon }, [input], shape)
    }

    /// A table of biases `[buckets, heads]` by distance, that all layers of attention read.
    pub(crate) fn bucket_bias(
        &mut self,
        name: &str,
        [buckets, heads, furthest]: [usize; 3],
        start: Init,
    ) -> BucketBias {
        let table = self.parameter(name, "weight", vec![buckets, heads], start);
        BucketBias { table, buckets, furthest }
    }

    /// Self-attention with projections of these names.
    pub(crate) fn self_attention(
        &mut self,
        names: [String; 3],
        input: ValueId,
        heads: usize,
        bias: Option<BucketBias>,
        start: Init,
    ) -> ValueId {
        let shape = self.shape(input);
        let width = shape.elements();
        let projections = names.map(|name| self.projection(&name, width, width, start));
        self.push(SelfAttention { projections, heads, bias }, [input], shape)
    }

    /// A vector for each text.
    pub(crate) fn token_pool(&mut self, input: ValueId, pool: TokenPool) -> ValueId {
        self.push_per(Per::Sample, pool, vec![input], self.shape(input))
    }

    /// A vector for each text: tokens weighted by a softmax over their `scores`.
    pub(crate) fn attentive_pool(&mut self, input: ValueId, scores: ValueId) -> ValueId {
        self.push_per(Per::Sample, AttentivePool, vec![input, scores], self.shape(input))
    }

    /// The linear classifier `name` on a vector for each text, with dropout before it; sets
    /// [`Graph::map`], [`Graph::classifier`] and the last feature tap.
    pub(crate) fn text_classifier(
        &mut self,
        name: &str,
        pooled: ValueId,
        classes: usize,
        dropout: f32,
        start: Init,
    ) -> ValueId {
        let dropped = self.dropout(pooled, dropout);
        let [weight, bias] = self.projection(name, self.shape(pooled).elements(), classes, start);
        let ids = ClassifierIds { weight, bias };
        self.graph.map = Some(pooled);
        self.graph.classifier = Some(ids);
        self.feature(pooled);
        self.linear_of(dropped, ids, classes)
    }

    /// RMS norm `name.weight` of every row.
    pub(crate) fn rms_norm(&mut self, name: &str, input: ValueId, epsilon: f32) -> ValueId {
        let shape = self.shape(input);
        let gamma = self.parameter(name, "weight", vec![shape.elements()], Init::Ones);
        self.push(RmsNorm { gamma, epsilon }, [input], shape)
    }

    /// The linear layer `name.weight` on every row, without a bias, and then adds `residual`, if given.
    pub(crate) fn plain_projection(
        &mut self,
        name: &str,
        input: ValueId,
        residual: Option<ValueId>,
        outputs: usize,
        start: Init,
    ) -> ValueId {
        let inputs = self.shape(input).elements();
        let weight = self.parameter(name, "weight", vec![outputs, inputs], start);
        let op = Projection { weight, residual: residual.is_some() };
        let inputs = std::iter::once(input).chain(residual);
        self.push(op, inputs, MapShape::new(outputs, 1, 1))
    }

    /// Gate and values of these names on every row, multiplied.
    pub(crate) fn gated_projection(
        &mut self,
        names: [String; 2],
        input: ValueId,
        outputs: usize,
        activation: Activation,
        start: Init,
    ) -> ValueId {
        let inputs = self.shape(input).elements();
        let [gate, up] =
            names.map(|name| self.parameter(&name, "weight", vec![outputs, inputs], start));
        let op = GatedProjection { gate, up, activation };
        self.push(op, [input], MapShape::new(outputs, 1, 1))
    }

    /// Causal attention with the projections `name.q_proj`, `k_proj` and `v_proj`.
    pub(crate) fn causal_attention(
        &mut self,
        name: &str,
        input: ValueId,
        heads: Heads,
        biases: bool,
        layer: usize,
        start: Init,
    ) -> ValueId {
        let inputs = self.shape(input).elements();
        let counts =
            [("q_proj", heads.heads), ("k_proj", heads.kv_heads), ("v_proj", heads.kv_heads)];
        let projections = counts.map(|(part, count)| {
            let (name, outputs) = (format!("{name}.{part}"), count * heads.width);
            let weight = self.parameter(&name, "weight", vec![outputs, inputs], start);
            let bias = biases.then(|| self.parameter(&name, "bias", vec![outputs], Init::Zeros));
            (weight, bias)
        });
        let op = CausalAttention { projections, heads, layer };
        self.push(op, [input], MapShape::new(heads.heads * heads.width, 1, 1))
    }

    /// The head that makes logits of the output: `name.weight`, or the word table.
    pub(crate) fn token_head(&mut self, name: Option<&str>, start: Init) {
        let width = self.shape(self.graph.output()).elements();
        let rows = self.graph.tokens.map_or(0, |limits| limits.vocabulary);
        let own = name.map(|name| self.parameter(name, "weight", vec![rows, width], start));
        // Words are the first parameter of every graph that reads tokens.
        self.graph.token_head = Some(own.unwrap_or(ParameterId(0)));
    }
}
