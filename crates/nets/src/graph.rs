//! A network as a list of operations in execution order.
//!
//! One description serves every use: the training run with gradients ([`crate::TrainingRun`]), the
//! folded inference plan of frozen networks ([`crate::Inference`]), parameter counts and state-dict
//! names. Operations work on NCHW batches; shapes here are per sample, so the batch size is chosen
//! at run time.

use std::sync::Arc;

use faculty_inputs::{Input, Tokens};

use crate::decoder_config::DecoderConfig;
use crate::encoder_config::EncoderConfig;
use crate::op::{Op, Site, input};
use crate::parameter::{BufferSpec, Init, ParameterId, ParameterSpec, ValueId};
use crate::shape::{BatchSize, MapShape, Per};

/// An operation, the values that it reads (all of them earlier in the list), and the shape of its
/// result.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) op: Arc<dyn Op>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) shape: MapShape,
    /// What the result has a row of that shape for.
    pub(crate) per: Per,
}

/// The linear classifier on top of the last map: what CA-MKD borrows from a teacher.
#[derive(Clone, Copy, Debug)]
pub struct ClassifierIds {
    /// Weight `[classes, channels]`.
    pub weight: ParameterId,
    /// Bias `[classes]`.
    pub bias: ParameterId,
}

/// What texts a network reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenLimits {
    /// Ids are below it.
    pub vocabulary: usize,
    /// Most tokens of a text.
    pub longest: usize,
}

/// The input of one pass.
pub(crate) struct BatchInput<'a> {
    pub(crate) size: BatchSize,
    /// `[batch, channels, height, width]`, or none.
    pub(crate) pixels: &'a [f32],
    pub(crate) texts: Option<&'a Tokens>,
}

/// A network's structure, without values. Made by [`crate::GraphBuilder`].
#[derive(Clone, Debug)]
pub struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) parameters: Vec<ParameterSpec>,
    pub(crate) buffers: Vec<BufferSpec>,
    pub(crate) features: Vec<ValueId>,
    pub(crate) map: Option<ValueId>,
    pub(crate) classifier: Option<ClassifierIds>,
    pub(crate) frozen: Vec<ParameterId>,
    /// Of a network that reads texts.
    pub(crate) tokens: Option<TokenLimits>,
    /// What it was built from, if it is a text encoder.
    pub(crate) encoder: Option<Arc<EncoderConfig>>,
    /// What it was built from, if it is a decoder.
    pub(crate) decoder: Option<Arc<DecoderConfig>>,
    /// Weight `[vocabulary, width]` that makes logits of the output, if that is outside the graph.
    pub(crate) token_head: Option<ParameterId>,
}

/// The smallest batch.
pub(crate) const ONE: BatchSize = BatchSize { samples: 1, tokens: 1 };

impl Graph {
    /// Trainable values that no operation reads: their names, shapes and start for whoever
    /// computes with them elsewhere.
    #[must_use]
    pub fn of_parameters(parameters: Vec<ParameterSpec>) -> Self {
        Self { parameters, ..Self::of_input(MapShape::new(0, 0, 0)) }
    }

    /// Nothing but an input.
    pub(crate) fn of_input(shape: MapShape) -> Self {
        Self {
            nodes: vec![Node {
                op: Arc::new(input::Input),
                inputs: Vec::new(),
                shape,
                per: Per::Sample,
            }],
            tokens: None,
            encoder: None,
            decoder: None,
            token_head: None,
            parameters: Vec::new(),
            buffers: Vec::new(),
            features: Vec::new(),
            map: None,
            classifier: None,
            frozen: Vec::new(),
        }
    }

    /// Where a node stands: the shapes around it, for a batch of this size.
    pub(crate) fn site(&self, node: usize, size: BatchSize) -> Site {
        let Node { inputs, shape, per, .. } = &self.nodes[node];
        Site::new(size.rows(*per), inputs.iter().map(|&id| self.shape(id)), *shape, *per)
    }

    /// The size of a batch of `batch` samples, and their tokens and pixels.
    ///
    /// # Panics
    /// When `input` is not `batch` samples of what the graph reads.
    pub(crate) fn take<'a>(&self, input: Input<'a>, batch: usize) -> BatchInput<'a> {
        match (input, &self.tokens) {
            (Input::Images(pixels), None) => {
                let shape = self.input_shape();
                assert_eq!(
                    pixels.len(),
                    batch * shape.elements(),
                    "input must be [batch, {shape}]"
                );
                let size = BatchSize { samples: batch, tokens: 0 };
                BatchInput { size, pixels, texts: None }
            }
            (Input::Texts(texts), Some(_)) => {
                let size = self.take_tokens(&texts.tokens, batch);
                BatchInput { size, pixels: &[], texts: Some(&texts.tokens) }
            }
            (Input::Images(_), Some(_)) => panic!("images for a network that reads texts"),
            (_, None) => panic!("no images for a network that reads images"),
            (_, Some(_)) => panic!("no texts for a network that reads texts"),
        }
    }

    /// The size of a batch of `batch` texts.
    ///
    /// # Panics
    /// When they are not as many, or not what the graph reads.
    pub(crate) fn take_tokens(&self, tokens: &Tokens, batch: usize) -> BatchSize {
        let limits = self.tokens.as_ref().expect("the network reads texts");
        assert_eq!(tokens.len(), batch, "the tokens of {batch} texts");
        for text in 0..batch {
            let length = tokens.range(text).len();
            assert!(
                (1..=limits.longest).contains(&length),
                "a text of {length} tokens, the network reads 1 to {}",
                limits.longest
            );
        }
        BatchSize { samples: batch, tokens: tokens.count() }
    }

    /// Whether training drops values.
    #[must_use]
    pub fn drops(&self) -> bool {
        self.nodes.iter().any(|node| node.op.drops())
    }

    /// What texts the network reads, if it reads texts.
    #[must_use]
    pub fn token_limits(&self) -> Option<TokenLimits> {
        self.tokens
    }

    /// Sizes and settings, if this is a text encoder.
    #[must_use]
    pub fn encoder(&self) -> Option<&EncoderConfig> {
        self.encoder.as_deref()
    }

    /// Sizes and settings, if this is a decoder.
    #[must_use]
    pub fn decoder(&self) -> Option<&DecoderConfig> {
        self.decoder.as_deref()
    }

    /// The weight `[vocabulary, width]` of a decoder's head, which no operation reads: logits are the
    /// output times its transpose. It may be the word table too. Its gradient is the caller's to make
    /// ([`faculty_kernels::head_loss`]) and to add behind the backward pass, which leaves there what
    /// comes from the words, or zeros.
    #[must_use]
    pub fn token_head(&self) -> Option<ParameterId> {
        self.token_head
    }

    /// What a value has a row for.
    #[must_use]
    pub fn per(&self, value: ValueId) -> Per {
        self.nodes[value.0].per
    }

    /// The values that may be read after a run: taps, the map and the output.
    pub(crate) fn readable(&self) -> Vec<ValueId> {
        let mut ids = self.features.clone();
        ids.extend(self.map);
        ids.push(self.output());
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Shape of one input sample.
    #[must_use]
    pub fn input_shape(&self) -> MapShape {
        self.nodes[0].shape
    }

    /// The last operation's value: the logits of a classifier.
    #[must_use]
    pub fn output(&self) -> ValueId {
        ValueId(self.nodes.len() - 1)
    }

    /// Shape of a value, per sample.
    #[must_use]
    pub fn shape(&self, value: ValueId) -> MapShape {
        self.nodes[value.0].shape
    }

    /// Feature taps f0, f1, …; the last one is the pooled vector.
    #[must_use]
    pub fn features(&self) -> &[ValueId] {
        &self.features
    }

    /// The normalisation behind which a tap's map is activated, and whose value before that
    /// activation stands for it where a method compares maps before their activation: the
    /// one that made the map, or for a map that is a plain sum (a wide ResNet's) the one that reads it.
    ///
    /// `None` for a map without activation (a linear bottleneck) or with one in half of its channels
    /// (ShuffleNetV2's stages): such a map stands for itself.
    #[must_use]
    pub fn activated_by(&self, tap: ValueId) -> Option<ValueId> {
        let op = &self.nodes[tap.0].op;
        if op.is_norm() {
            return op.activates().then_some(tap);
        }
        // Only a sum is read by a norm without being one.
        let reads = |node: &Node| node.op.activates() && node.inputs.first() == Some(&tap);
        let sum = op.adds().then(|| self.nodes.iter().position(reads));
        sum.flatten().map(ValueId)
    }

    /// The same graph with other first values of the parameter `name`.
    ///
    /// # Panics
    /// When there is no such parameter.
    #[must_use]
    pub fn starting(mut self, name: &str, initial: Init) -> Self {
        let spec = self.parameters.iter_mut().find(|spec| spec.name == name);
        spec.expect("a parameter of this graph").initial = initial;
        self
    }

    /// The last feature map before global pooling (after its activation), if the network has one.
    #[must_use]
    pub fn map(&self) -> Option<ValueId> {
        self.map
    }

    /// The linear classifier behind global average pooling of [`Graph::map`], if that is the head.
    #[must_use]
    pub fn classifier(&self) -> Option<ClassifierIds> {
        self.classifier
    }

    /// Weight of the convolution that reads the input, if one does.
    #[must_use]
    pub fn first_convolution(&self) -> Option<ParameterId> {
        let reads = |node: &&Node| node.op.kind() == "Conv2d" && node.inputs.contains(&ValueId(0));
        self.nodes.iter().find(reads)?.op.parameters().first().copied()
    }

    /// Weight and bias of the linear layer that gives the output; none for a graph that ends
    /// otherwise.
    #[must_use]
    pub fn output_layer(&self) -> Vec<ParameterId> {
        match self.nodes.last() {
            Some(node) if node.op.kind() == "Linear" => node.op.parameters(),
            _ => Vec::new(),
        }
    }

    /// Parameters in state-dict order; all are trained but [`Graph::frozen`].
    #[must_use]
    pub fn parameters(&self) -> &[ParameterSpec] {
        &self.parameters
    }

    /// Parameters that training leaves as they are.
    #[must_use]
    pub fn frozen(&self) -> &[ParameterId] {
        &self.frozen
    }

    /// One parameter's name, shape and start.
    #[must_use]
    pub fn parameter(&self, id: ParameterId) -> &ParameterSpec {
        &self.parameters[id.0]
    }

    /// Running statistics in state-dict order.
    #[must_use]
    pub fn buffers(&self) -> &[BufferSpec] {
        &self.buffers
    }

    /// Number of parameters' values, frozen ones included.
    #[must_use]
    pub fn parameter_count(&self) -> usize {
        self.parameters.iter().map(|p| p.shape.iter().product::<usize>()).sum()
    }

    /// Multiply-adds of the convolutions and linear layers for one sample; of a network that reads
    /// texts, for one text of one token.
    #[must_use]
    pub fn multiply_adds(&self) -> usize {
        let of_node = |node: usize| {
            let weights: usize = self.nodes[node]
                .op
                .parameters()
                .iter()
                .map(|id| self.parameters[id.0].shape.iter().product::<usize>())
                .next()
                .unwrap_or(0);
            self.nodes[node].op.multiply_adds(&self.site(node, ONE), weights)
        };
        (0..self.nodes.len()).map(of_node).sum()
    }
}
