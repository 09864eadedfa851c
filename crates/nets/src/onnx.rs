//! An inference plan as an ONNX file, opset 13: what any runtime of the last years reads (17 for
//! networks with layer norm).
//!
//! ```text
//! input   [batch, channels, height, width]      normalised pixels, or pixel / 255 with normalisation inside
//! logits  [batch, classes]
//! Conv, Relu, Add, BatchNormalization (where none was folded), MaxPool, AveragePool, GlobalAveragePool,
//! Concat and Gather (picked channels), MatMul (resizing), Flatten, Gemm
//! ```
//! Which nodes an operation becomes, it knows itself.
//!
//! The messages and their encoding are those of `rten-onnx`; see [`Named`] for what it lacks.

mod int8;

use std::collections::{BTreeMap, BTreeSet};

use rten_onnx::onnx::{
    DataType, Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorShapeProto, TypeProto, TypeProtoTensor, ValueInfoProto,
};
use rten_onnx::protobuf::{EncodeMessage, MessageWriter, ProtobufError, ValueWriter, WriteValue};

use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::parameter::ValueId;
use crate::run::inference::{Inference, Step};
use crate::shape::{BatchSize, MapShape};

use crate::op::link::{Constants, Link, whole};

/// Version of the operators, and of the format that came with it.
const OPSET: i64 = 13;
const IR_VERSION: i64 = 7;

/// Longest message that protobuf allows.
const MOST_BYTES: u64 = (2 << 30) - 1;

/// How an ONNX file is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OnnxOptions {
    /// Samples of a run; any number if `None`.
    pub batch: Option<usize>,
    /// Mean and standard deviation of each channel over pixel / 255: then the graph normalises, and its
    /// input is pixel / 255.
    pub normalisation: Option<[Vec<f32>; 2]>,
    /// Goes into the file as it is.
    pub metadata: BTreeMap<String, String>,
}

impl Inference {
    /// This plan as the bytes of an ONNX file; equal plans give equal bytes.
    ///
    /// # Errors
    /// [`Error::OnnxTooLarge`] above 2 GiB; [`Error::ReadsTexts`].
    ///
    /// # Panics
    /// When a normalisation has another number of channels than the input.
    pub fn to_onnx(&self, name: &str, options: &OnnxOptions) -> Result<Vec<u8>> {
        let (graph, opset) = self.onnx_nodes(name, options)?;
        self.encoded(graph, opset, name, options)
    }

    /// The tensors of [`Inference::to_onnx`] whose ranges [`Inference::to_onnx_int8`] needs.
    ///
    /// # Errors
    /// As [`Inference::to_onnx`].
    ///
    /// # Panics
    /// As [`Inference::to_onnx`].
    pub fn int8_tensors(&self, name: &str, options: &OnnxOptions) -> Result<BTreeSet<String>> {
        Ok(int8::tensors(&self.onnx_nodes(name, options)?.0))
    }

    /// The same file with convolutions and linear layers in 8 bits, where their inputs have a range in
    /// `ranges`: lowest and highest value by the tensor's name. Weights have a scale for each output
    /// channel.
    ///
    /// # Errors
    /// As [`Inference::to_onnx`].
    ///
    /// # Panics
    /// As [`Inference::to_onnx`].
    pub fn to_onnx_int8(
        &self,
        name: &str,
        options: &OnnxOptions,
        ranges: &BTreeMap<String, [f32; 2]>,
    ) -> Result<Vec<u8>> {
        let (graph, opset) = self.onnx_nodes(name, options)?;
        self.encoded(int8::quantise(graph, ranges), opset, name, options)
    }

    /// Nodes and constants, and the version of the operators.
    fn onnx_nodes(&self, name: &str, options: &OnnxOptions) -> Result<(GraphProto, i64)> {
        if self.graph.token_limits().is_some() {
            let (network, what) = (name.to_owned(), "export to ONNX");
            return Err(Error::ReadsTexts { network, what });
        }
        let (input, to) = ("input".to_owned(), GraphProto::default());
        let mut writer = Writer { graph: &self.graph, input, to, opset: OPSET };
        if let Some(normalisation) = &options.normalisation {
            writer.normalise(normalisation);
        }
        self.steps.iter().for_each(|step| writer.step(step));
        let Writer { to, opset, .. } = writer;
        Ok((to, opset))
    }

    fn encoded(
        &self,
        mut to: GraphProto,
        opset: i64,
        name: &str,
        options: &OnnxOptions,
    ) -> Result<Vec<u8>> {
        let MapShape { channels, height, width } = self.graph.input_shape();
        to.input.push(tensor_info("input", options.batch, &[channels, height, width]));
        let output = self.graph.shape(self.graph.output());
        let sizes = [output.channels, output.height, output.width];
        let sizes = if output.positions() == 1 { &sizes[..1] } else { &sizes };
        to.output.push(tensor_info(OUTPUT, options.batch, sizes));
        let props = options.metadata.iter().map(|(key, value)| StringStringEntryProto {
            key: Some(key.clone()),
            value: Some(value.clone()),
        });
        let model = ModelProto {
            // Version 8 of the format came with version 15 of the operators.
            ir_version: Some(if opset > OPSET { IR_VERSION + 1 } else { IR_VERSION }),
            opset_import: vec![OperatorSetIdProto { domain: None, version: Some(opset) }],
            metadata_props: props.collect(),
            producer_name: Some("faculty".to_owned()),
            producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            ..ModelProto::default()
        };
        encode(&NamedModel { model, graph: Named { graph: to, name: name.to_owned() } })
    }
}

const OUTPUT: &str = "logits";

fn encode(model: &NamedModel) -> Result<Vec<u8>> {
    const IN_MEMORY: &str = "writing to memory does not fail";
    let bytes = model.encoded_len().expect(IN_MEMORY);
    if bytes > MOST_BYTES {
        return Err(Error::OnnxTooLarge { bytes });
    }
    let mut file = Vec::with_capacity(bytes as usize);
    model.encode(ValueWriter::new(&mut file)).expect(IN_MEMORY);
    Ok(file)
}

/// A graph with its name: the format asks for one, the library's message has no field for it.
struct Named {
    graph: GraphProto,
    name: String,
}

/// A model whose graph stands beside it.
struct NamedModel {
    model: ModelProto,
    graph: Named,
}

impl EncodeMessage for Named {
    fn encode_fields<W: WriteValue>(
        &self,
        fields: &mut MessageWriter<W>,
    ) -> std::result::Result<(), ProtobufError> {
        /// `GraphProto.name` in `onnx.proto3`.
        const NAME: u64 = 2;
        self.graph.encode_fields(fields)?;
        fields.write_string(NAME, &self.name)
    }
}

impl EncodeMessage for NamedModel {
    fn encode_fields<W: WriteValue>(
        &self,
        fields: &mut MessageWriter<W>,
    ) -> std::result::Result<(), ProtobufError> {
        /// `ModelProto.graph` in `onnx.proto3`.
        const GRAPH: u64 = 7;
        self.model.encode_fields(fields)?;
        fields.write_message(GRAPH, &self.graph)
    }
}

/// Adds to an ONNX graph.
struct Writer<'a> {
    graph: &'a Graph,
    /// What the first operations read.
    input: String,
    to: GraphProto,
    /// Version of the operators that it takes.
    opset: i64,
}

impl Writer<'_> {
    fn normalise(&mut self, [mean, std]: &[Vec<f32>; 2]) {
        let channels = self.graph.input_shape().channels;
        assert!(mean.len() == channels && std.len() == channels, "one value for each channel");
        let shape = [1, channels, 1, 1];
        let mut constants = Constants { initializers: &mut self.to.initializer };
        let [mean, std] =
            [("mean", mean), ("std", std)].map(|(name, v)| constants.floats(name, &shape, v));
        let links = [Link::new("Sub").reading([mean]), Link::new("Div").reading([std])];
        self.chain("input", "normalised", links.into());
        self.input = "normalised".to_owned();
    }

    fn step(&mut self, step: &Step) {
        let target = self.name(ValueId(step.node));
        let mut read = step.inputs.iter().map(|&id| self.name(id));
        let first = read.next().expect("every step reads a value");
        let second = read.next();
        let mut constants = Constants { initializers: &mut self.to.initializer };
        let site = step.site(self.graph, BatchSize { samples: 1, tokens: 1 });
        let mut links = step.op.onnx(&site, &target, second.as_deref(), &mut constants);
        let is_output = ValueId(step.node) == self.graph.output();
        match (step.op.gives_rows(), is_output) {
            // Whatever follows reads maps.
            (true, false) => {
                let shape =
                    constants.indices(&format!("{target}.map"), &[0, site.output.channels, 1, 1]);
                links.push(Link::new("Reshape").reading([shape]));
            }
            (false, true) if site.output.positions() == 1 => {
                links.push(Link::new("Flatten").with_int("axis", 1));
            }
            _ => {}
        }
        self.chain(&first, &target, links);
    }

    /// Nodes in a row, from the value `from` to the value `target`.
    fn chain(&mut self, from: &str, target: &str, links: Vec<Link>) {
        let last = links.len() - 1;
        let mut value = from.to_owned();
        for (index, link) in links.into_iter().enumerate() {
            let Link { kind, before, after, attributes, again, opset } = link;
            self.opset = self.opset.max(opset);
            let after = after.into_iter().chain(again.then(|| from.to_owned()));
            let name = match index == last {
                true => target.to_owned(),
                false => format!("{target}.{index}"),
            };
            self.to.node.push(NodeProto {
                name: Some(format!("{kind}_{name}")),
                op_type: Some(kind.to_owned()),
                input: before.into_iter().chain([value]).chain(after).collect(),
                output: vec![name.clone()],
                attribute: attributes,
                domain: None,
            });
            value = name;
        }
    }

    fn name(&self, id: ValueId) -> String {
        match id {
            ValueId(0) => self.input.clone(),
            id if id == self.graph.output() => OUTPUT.to_owned(),
            ValueId(index) => format!("value{index}"),
        }
    }
}

fn tensor_info(name: &str, batch: Option<usize>, sizes: &[usize]) -> ValueInfoProto {
    let fixed = |&size: &usize| Dimension { dim_value: Some(whole(size)), dim_param: None };
    let any = Dimension { dim_value: None, dim_param: Some("batch".to_owned()) };
    let first = batch.as_ref().map_or(any, fixed);
    let shape =
        TensorShapeProto { dim: std::iter::once(first).chain(sizes.iter().map(fixed)).collect() };
    let tensor = TypeProtoTensor { elem_type: Some(DataType::FLOAT), shape: Some(shape) };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { tensor_type: Some(tensor), sequence: None }),
    }
}
