//! An inference plan as an ONNX file, opset 13: what any runtime of the last years reads.
//!
//! ```text
//! input   [batch, channels, height, width]      normalised pixels, or pixel / 255 with normalisation inside
//! logits  [batch, classes]
//! Conv, Relu, Add, BatchNormalization (where none was folded), MaxPool, AveragePool, GlobalAveragePool,
//! Concat and Gather (picked channels), MatMul (resizing), Flatten, Gemm
//! ```
//! Resizing is two products with constant matrices, one for rows and one for columns: both ways of
//! resizing are linear in each axis, and runtimes differ in how they read the options of `Resize`.
//!
//! The messages and their encoding are those of `rten-onnx`; see [`Named`] for what it lacks.

use std::cell::RefCell;
use std::collections::BTreeMap;

use faculty_kernels::pool::adaptive_avg_pool2d;
use faculty_kernels::resize::{ResizeShape, resize_bilinear};
use rten_onnx::onnx::{
    AttributeProto, AttributeType, DataType, Dimension, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto,
    TypeProtoTensor, ValueInfoProto,
};
use rten_onnx::protobuf::{EncodeMessage, MessageWriter, ProtobufError, ValueWriter, WriteValue};

use super::{Inference, Step, Work};
use crate::error::{Error, Result};
use crate::graph::{BATCH_NORM_EPSILON, Graph, MapShape, Operation, PoolKind, ValueId};
use crate::training::{channels_shape, shrinks};

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
    /// Mean and deviation of each channel over pixel / 255: then the graph normalises, and its
    /// input is pixel / 255.
    pub normalisation: Option<[Vec<f32>; 2]>,
    /// Goes into the file as it is.
    pub metadata: BTreeMap<String, String>,
}

impl Inference {
    /// This plan as the bytes of an ONNX file; equal plans give equal bytes.
    ///
    /// # Errors
    /// [`Error::OnnxTooLarge`] above 2 GiB.
    ///
    /// # Panics
    /// When a normalisation has another number of channels than the input.
    pub fn to_onnx(&self, name: &str, options: &OnnxOptions) -> Result<Vec<u8>> {
        let mut writer =
            Writer { graph: &self.graph, input: "input".to_owned(), to: GraphProto::default() };
        if let Some(normalisation) = &options.normalisation {
            writer.normalise(normalisation);
        }
        self.steps.iter().for_each(|step| writer.step(step));
        let Writer { mut to, .. } = writer;
        let MapShape { channels, height, width } = self.graph.input_shape();
        to.input.push(tensor_info("input", options.batch, &[channels, height, width]));
        let output = self.graph.shape(self.graph.output());
        let is_linear = matches!(self.steps.last(), Some(Step { work: Work::Linear { .. }, .. }));
        let sizes = [output.channels, output.height, output.width];
        let sizes = if is_linear { &sizes[..1] } else { &sizes };
        to.output.push(tensor_info(OUTPUT, options.batch, sizes));
        let props = options.metadata.iter().map(|(key, value)| StringStringEntryProto {
            key: Some(key.clone()),
            value: Some(value.clone()),
        });
        let model = ModelProto {
            ir_version: Some(IR_VERSION),
            opset_import: vec![OperatorSetIdProto { domain: None, version: Some(OPSET) }],
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

/// One ONNX node of a step: it reads the value before it (or the step's input), and constants.
struct Link {
    kind: &'static str,
    /// What stands in front of that value among the inputs.
    before: Vec<String>,
    after: Vec<String>,
    attributes: Vec<AttributeProto>,
}

impl Link {
    fn new(kind: &'static str) -> Self {
        Self { kind, before: Vec::new(), after: Vec::new(), attributes: Vec::new() }
    }

    fn reading(mut self, inputs: impl IntoIterator<Item = String>) -> Self {
        self.after.extend(inputs);
        self
    }

    fn with_int(self, name: &str, value: usize) -> Self {
        let i = Some(whole(value));
        self.with(
            name,
            AttributeProto { i, r#type: Some(AttributeType::INT), ..Default::default() },
        )
    }

    fn with_ints(self, name: &str, values: &[usize]) -> Self {
        let ints = values.iter().copied().map(whole).collect();
        let kind = Some(AttributeType::INTS);
        self.with(name, AttributeProto { ints, r#type: kind, ..Default::default() })
    }

    fn with_float(self, name: &str, value: f32) -> Self {
        let kind = Some(AttributeType::FLOAT);
        self.with(name, AttributeProto { f: Some(value), r#type: kind, ..Default::default() })
    }

    fn with(mut self, name: &str, attribute: AttributeProto) -> Self {
        self.attributes.push(AttributeProto { name: Some(name.to_owned()), ..attribute });
        self
    }

    /// Square windows, padded alike on all sides.
    fn with_window(self, kernel: usize, stride: usize, padding: usize) -> Self {
        self.with_ints("kernel_shape", &[kernel; 2])
            .with_ints("strides", &[stride; 2])
            .with_ints("pads", &[padding; 4])
    }
}

/// Adds to an ONNX graph.
struct Writer<'a> {
    graph: &'a Graph,
    /// What the first operations read.
    input: String,
    to: GraphProto,
}

impl Writer<'_> {
    fn normalise(&mut self, [mean, std]: &[Vec<f32>; 2]) {
        let channels = self.graph.input_shape().channels;
        assert!(mean.len() == channels && std.len() == channels, "one value for each channel");
        let shape = [1, channels, 1, 1];
        let [mean, std] =
            [("mean", mean), ("std", std)].map(|(name, v)| self.floats(name, &shape, v));
        let links = [Link::new("Sub").reading([mean]), Link::new("Div").reading([std])];
        self.chain("input", "normalised", links.into());
        self.input = "normalised".to_owned();
    }

    fn step(&mut self, step: &Step) {
        let target = self.name(ValueId(step.node));
        let links = match &step.work {
            Work::Conv { conv, weight, bias, residual, relu } => {
                let Operation::Conv2d { weight: id, kernel, stride, padding, groups, .. } =
                    self.graph.nodes[*conv].operation
                else {
                    unreachable!("a convolution step is made from one");
                };
                let spec = self.graph.parameter(id).clone();
                let mut constants = vec![self.floats(&spec.name, &spec.shape, weight)];
                if let Some(bias) = bias {
                    let name = format!("{}.bias", spec.name.trim_end_matches(".weight"));
                    constants.push(self.floats(&name, &[bias.len()], bias));
                }
                let conv = Link::new("Conv").reading(constants);
                let conv = conv.with_window(kernel, stride, padding).with_int("group", groups);
                self.with_end(conv, *residual, *relu)
            }
            Work::Norm { constants, residual, relu, .. } => {
                let names = ["scale", "shift", "mean", "variance"];
                let constants: Vec<String> = names
                    .iter()
                    .zip(constants)
                    .map(|(name, values)| {
                        self.floats(&format!("{target}.{name}"), &[values.len()], values)
                    })
                    .collect();
                let norm = Link::new("BatchNormalization").reading(constants);
                self.with_end(norm.with_float("epsilon", BATCH_NORM_EPSILON), *residual, *relu)
            }
            Work::Pool { kind, window, .. } => {
                let pool = match kind {
                    PoolKind::Max => Link::new("MaxPool"),
                    PoolKind::Average => Link::new("AveragePool").with_int("count_include_pad", 1),
                };
                vec![pool.with_window(window.kernel, window.stride, window.padding)]
            }
            Work::Channels { second, .. } => self.channels(step.node, *second, &target),
            Work::GlobalAvgPool { .. } => vec![Link::new("GlobalAveragePool")],
            Work::Resize { input } => {
                self.resize(self.graph.shape(*input), self.graph.nodes[step.node].shape, &target)
            }
            Work::Linear { weight, bias, .. } => {
                let shape = [bias.len(), weight.len() / bias.len().max(1)];
                let weight = self.floats(&format!("{target}.weight"), &shape, weight);
                let bias = self.floats(&format!("{target}.bias"), &shape[..1], bias);
                let gemm = Link::new("Gemm").reading([weight, bias]).with_int("transB", 1);
                vec![Link::new("Flatten").with_int("axis", 1), gemm]
            }
        };
        let from = step.work.inputs(self.graph).next().expect("every step reads a value");
        let from = self.name(from);
        self.chain(&from, &target, links);
    }

    /// A shortcut added and ReLU applied behind `link`.
    fn with_end(&self, link: Link, residual: Option<ValueId>, relu: bool) -> Vec<Link> {
        let add = residual.map(|id| Link::new("Add").reading([self.name(id)]));
        std::iter::once(link).chain(add).chain(relu.then(|| Link::new("Relu"))).collect()
    }

    fn channels(&mut self, node: usize, second: Option<ValueId>, target: &str) -> Vec<Link> {
        let shape = channels_shape(1, self.graph, &self.graph.nodes[node]);
        let sources: Vec<usize> = (0..shape.count).map(|index| shape.source(index)).collect();
        let concat =
            second.map(|id| Link::new("Concat").reading([self.name(id)]).with_int("axis", 1));
        let all = sources.iter().copied().eq(0..shape.first + shape.second);
        let gather = (!all).then(|| {
            let indices = self.indices(&format!("{target}.channels"), &sources);
            Link::new("Gather").reading([indices]).with_int("axis", 1)
        });
        let links: Vec<Link> = concat.into_iter().chain(gather).collect();
        if links.is_empty() { vec![Link::new("Identity")] } else { links }
    }

    fn resize(&mut self, from: MapShape, to: MapShape, target: &str) -> Vec<Link> {
        let shrinks = shrinks(from, to);
        let rows = axis_matrix(shrinks, from.height, to.height);
        let across: Vec<f32> = (0..to.height)
            .flat_map(|row| (0..from.height).map(move |input| input * to.height + row))
            .map(|index| rows[index])
            .collect();
        let rows = self.floats(&format!("{target}.rows"), &[to.height, from.height], &across);
        let columns = axis_matrix(shrinks, from.width, to.width);
        let columns = self.floats(&format!("{target}.columns"), &[from.width, to.width], &columns);
        let left = Link { before: vec![rows], ..Link::new("MatMul") };
        vec![Link::new("MatMul").reading([columns]), left]
    }

    /// Nodes in a row, from the value `from` to the value `target`.
    fn chain(&mut self, from: &str, target: &str, links: Vec<Link>) {
        let last = links.len() - 1;
        let mut value = from.to_owned();
        for (index, Link { kind, before, after, attributes }) in links.into_iter().enumerate() {
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

    fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let raw_data = Some(RefCell::new(bytes));
        self.constant(
            name,
            shape,
            TensorProto { raw_data, data_type: Some(DataType::FLOAT), ..Default::default() },
        )
    }

    fn indices(&mut self, name: &str, values: &[usize]) -> String {
        let bytes = values.iter().flat_map(|&value| whole(value).to_le_bytes()).collect();
        let raw_data = Some(RefCell::new(bytes));
        self.constant(
            name,
            &[values.len()],
            TensorProto { raw_data, data_type: Some(DataType::INT64), ..Default::default() },
        )
    }

    fn constant(&mut self, name: &str, shape: &[usize], tensor: TensorProto) -> String {
        let dims = shape.iter().copied().map(whole).collect();
        self.to.initializer.push(TensorProto { name: Some(name.to_owned()), dims, ..tensor });
        name.to_owned()
    }
}

/// `[from, to]`: what each position gives to each new one along one axis. Found by resizing unit
/// vectors, so that it is the kernels' own.
fn axis_matrix(shrinks: bool, from: usize, to: usize) -> Vec<f32> {
    let units: Vec<f32> =
        (0..from * from).map(|index| f32::from(u8::from(index / from == index % from))).collect();
    let shape = ResizeShape { planes: from, input: [from, 1], output: [to, 1] };
    let mut matrix = vec![0.0; from * to];
    let resize = if shrinks { adaptive_avg_pool2d } else { resize_bilinear };
    resize(&shape, &units, &mut matrix);
    matrix
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

fn whole(size: usize) -> i64 {
    i64::try_from(size).expect("sizes in memory fit")
}
