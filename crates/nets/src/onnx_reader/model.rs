//! The graph of an ONNX file in plain values: nodes in order, constants by name.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use half::f16;
use rten_onnx::onnx::{
    AttributeProto, AttributeType, DataType, GraphProto, NodeProto, TensorProto,
};

use crate::onnx_file::{self, DAMAGED, Outcome, list};
use crate::shape::MapShape;

/// Nodes of a graph. The largest networks for images have some thousands.
const MOST_NODES: usize = 40_000;

/// Numbers of a constant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    Floats(Arc<Vec<f32>>),
    Integers(Arc<Vec<i64>>),
}

/// A constant of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    pub(super) shape: Vec<usize>,
    pub(super) data: Data,
}

impl Tensor {
    fn read(tensor: &TensorProto) -> Option<Self> {
        let shape: Option<Vec<usize>> =
            tensor.dims.iter().map(|&size| usize::try_from(size).ok()).collect();
        let shape = shape?;
        let raw = tensor.raw_data.as_ref().map(std::cell::RefCell::borrow);
        let data = match (tensor.data_type?, raw.as_deref()) {
            (DataType::FLOAT, _) => Data::Floats(onnx_file::floats(tensor)?.1.into()),
            (DataType::DOUBLE, Some(raw)) => {
                let wide = raw.as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b) as f32);
                Data::Floats(Arc::new(wide.collect()))
            }
            (DataType::DOUBLE, None) => {
                Data::Floats(Arc::new(tensor.double_data.iter().map(|&x| x as f32).collect()))
            }
            (DataType::FLOAT16, Some(raw)) => {
                let narrow = raw.as_chunks::<2>().0.iter().map(|&b| f16::from_le_bytes(b).to_f32());
                Data::Floats(Arc::new(narrow.collect()))
            }
            _ => Data::Integers(onnx_file::integers(tensor)?.into()),
        };
        let length = shape.iter().try_fold(1_usize, |all, &size| all.checked_mul(size))?;
        let fits = match &data {
            Data::Floats(values) => values.len() == length,
            Data::Integers(values) => values.len() == length,
        };
        fits.then_some(Self { shape, data })
    }
}

/// The value of an attribute, of the kinds that networks for images have.
#[derive(Clone, Debug)]
pub(super) enum Attribute {
    Integer(i64),
    Float(f32),
    Integers(Vec<i64>),
    Floats(Vec<f32>),
    Text(String),
    Constant(Tensor),
}

impl Attribute {
    fn read(attribute: &AttributeProto) -> Option<Self> {
        Some(match attribute.r#type? {
            AttributeType::INT => Self::Integer(attribute.i?),
            AttributeType::FLOAT => Self::Float(attribute.f?),
            AttributeType::INTS => Self::Integers(attribute.ints.clone()),
            AttributeType::FLOATS => Self::Floats(attribute.floats.clone()),
            AttributeType::STRING => Self::Text(attribute.s.clone()?),
            AttributeType::TENSOR => Self::Constant(Tensor::read(attribute.t.as_ref()?)?),
            _ => return None,
        })
    }
}

/// One node.
#[derive(Clone, Debug)]
pub(super) struct OnnxNode {
    /// Its name in the file, or that of its first output.
    pub(super) name: String,
    /// Its operator, with the domain if that is not ONNX's own.
    pub(super) kind: String,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    attributes: BTreeMap<String, Attribute>,
}

impl OnnxNode {
    fn read(node: &NodeProto) -> Self {
        let kind = node.op_type.clone().unwrap_or_default();
        let kind = match node.domain.as_deref() {
            None | Some("" | "ai.onnx") => kind,
            Some(domain) => format!("{domain}.{kind}"),
        };
        let named = node.name.clone().filter(|name| !name.is_empty());
        let read = |own: &AttributeProto| Some((own.name.clone()?, Attribute::read(own)?));
        Self {
            name: named.or_else(|| node.output.first().cloned()).unwrap_or_default(),
            kind,
            inputs: node.input.clone(),
            outputs: node.output.clone(),
            attributes: node.attribute.iter().filter_map(read).collect(),
        }
    }

    /// The name of an input that may be left out.
    pub(super) fn input(&self, index: usize) -> Option<&str> {
        self.inputs.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }

    pub(super) fn integer(&self, name: &str, default: i64) -> i64 {
        match self.attributes.get(name) {
            Some(Attribute::Integer(value)) => *value,
            _ => default,
        }
    }

    pub(super) fn float(&self, name: &str, default: f32) -> f32 {
        match self.attributes.get(name) {
            Some(Attribute::Float(value)) => *value,
            _ => default,
        }
    }

    pub(super) fn integers(&self, name: &str) -> Option<&[i64]> {
        match self.attributes.get(name) {
            Some(Attribute::Integers(values)) => Some(values),
            _ => None,
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.attributes.get(name) {
            Some(Attribute::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The value of a node `Constant`.
    pub(super) fn constant(&self) -> Option<Tensor> {
        let vector = |data, length| Some(Tensor { shape: vec![length], data });
        let integers = |values: Vec<i64>| Data::Integers(Arc::new(values));
        let floats = |values: Vec<f32>| Data::Floats(Arc::new(values));
        if let Some(Attribute::Constant(tensor)) = self.attributes.get("value") {
            return Some(tensor.clone());
        }
        match self.attributes.iter().next()? {
            (name, Attribute::Integer(value)) if name == "value_int" => {
                Some(Tensor { shape: Vec::new(), data: integers(vec![*value]) })
            }
            (name, Attribute::Float(value)) if name == "value_float" => {
                Some(Tensor { shape: Vec::new(), data: floats(vec![*value]) })
            }
            (name, Attribute::Integers(values)) if name == "value_ints" => {
                vector(integers(values.clone()), values.len())
            }
            (name, Attribute::Floats(values)) if name == "value_floats" => {
                vector(floats(values.clone()), values.len())
            }
            _ => None,
        }
    }
}

/// A file's graph as far as its output depends on it.
#[derive(Debug)]
pub(super) struct OnnxModel {
    /// The image.
    pub(super) input: String,
    pub(super) output: String,
    /// The image's sizes behind the batch as far as the file fixes them.
    input_sizes: Option<[Option<usize>; 3]>,
    /// In the order of the file, in which makers come before readers.
    pub(super) nodes: Vec<OnnxNode>,
    /// The node that makes each tensor.
    pub(super) makers: HashMap<String, usize>,
    pub(super) constants: HashMap<String, Tensor>,
    pub(super) class_names: Option<Vec<String>>,
}

impl OnnxModel {
    /// Reads a file; `output` is the tensor that counts, its only output if none is named.
    pub(super) fn read(path: &Path, output: Option<&str>) -> Outcome<Self> {
        const ONE: &str = "export it with one input, the images, and one output, the logits";
        let mut files = Vec::new();
        let (model, mut graph) = onnx_file::parse(path)?;
        let class_names = onnx_file::class_names(&model)?;
        onnx_file::inline_external_data(path, &mut graph, &mut files)?;
        if graph.node.len() > MOST_NODES {
            let text =
                format!("it has {} operators, {MOST_NODES} at most are read", graph.node.len());
            return Err((text, DAMAGED));
        }
        let names = || graph.output.iter().map(|output| output.name.as_deref());
        let output = match (output, graph.output.as_slice()) {
            (Some(name), _) => name.to_owned(),
            (None, [output]) => output.name.clone().unwrap_or_default(),
            (None, _) => {
                return Err((
                    format!("it has {} outputs{}", graph.output.len(), list(names())),
                    ONE,
                ));
            }
        };
        let constants = constants(&graph)?;
        let mut inputs = graph.input.iter().filter_map(|input| input.name.as_deref());
        let mut inputs = inputs.by_ref().filter(|name| !constants.contains_key(*name));
        let (Some(input), None) = (inputs.next(), inputs.next()) else {
            return Err(("it has not one input".to_owned(), ONE));
        };
        let input = input.to_owned();
        let input_sizes = sizes_of(&graph, &input);
        let nodes = without_casts(needed(&graph, &output), &input, &output);
        let outputs = nodes.iter().enumerate();
        let outputs =
            outputs.flat_map(|(at, node)| node.outputs.iter().map(move |name| (name, at)));
        let makers = outputs.map(|(name, at)| (name.clone(), at)).collect();
        Ok(Self { input, output, input_sizes, nodes, makers, constants, class_names })
    }
}

impl OnnxModel {
    /// Whether images of this shape are read as `[height, width, channels]`, as TensorFlow has them:
    /// where the file's sizes fit so and not the other way.
    pub(super) fn is_channels_last(&self, image: MapShape) -> bool {
        let Some(sizes) = self.input_sizes else { return false };
        let MapShape { channels, height, width } = image;
        let fits = |own: [usize; 3]| {
            sizes.iter().zip(own).all(|(size, own)| size.is_none_or(|size| size == own))
        };
        !fits([channels, height, width]) && fits([height, width, channels])
    }
}

/// Sizes of an input of four axes, but for the batch.
fn sizes_of(graph: &GraphProto, input: &str) -> Option<[Option<usize>; 3]> {
    let info = graph.input.iter().find(|info| info.name.as_deref() == Some(input))?;
    let dims = &info.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref()?.dim;
    let size = |at: usize| usize::try_from(dims[at].dim_value?).ok().filter(|&size| size > 0);
    (dims.len() == 4).then(|| [size(1), size(2), size(3)])
}

/// Without casts of what is computed from the image to another kind of float: everything is float32
/// here, and patterns of nodes are found without them.
fn without_casts(nodes: Vec<OnnxNode>, input: &str, output: &str) -> Vec<OnnxNode> {
    const FLOATS: [i64; 4] = [1, 10, 11, 16];
    let mut images: HashSet<String> = HashSet::from([input.to_owned()]);
    let mut same: HashMap<String, String> = HashMap::new();
    let mut kept = Vec::with_capacity(nodes.len());
    for mut node in nodes {
        for name in &mut node.inputs {
            if let Some(own) = same.get(name.as_str()) {
                name.clone_from(own);
            }
        }
        // Of sizes nothing is a picture any more.
        let is_image = node.kind != "Shape" && node.inputs.iter().any(|name| images.contains(name));
        if is_image {
            images.extend(node.outputs.iter().cloned());
        }
        let is_cast = node.kind == "Cast" && FLOATS.contains(&node.integer("to", 1));
        match (node.inputs.first(), node.outputs.first()) {
            (Some(from), Some(to)) if is_image && is_cast && to != output => {
                same.insert(to.clone(), from.clone());
            }
            _ => kept.push(node),
        }
    }
    kept
}

/// The initialisers; those of types that no network for images computes with are left out, and
/// missed where they are read.
fn constants(graph: &GraphProto) -> Outcome<HashMap<String, Tensor>> {
    let mut constants = HashMap::new();
    for tensor in &graph.initializer {
        let name = tensor.name.clone().unwrap_or_default();
        if let Some(values) = Tensor::read(tensor) {
            let all_finite = match &values.data {
                Data::Floats(values) => values.iter().all(|value| !value.is_nan()),
                Data::Integers(_) => true,
            };
            if !all_finite {
                let hint = "that training run broke down; export an earlier checkpoint";
                return Err((format!("constant `{name}` holds NaN"), hint));
            }
            constants.insert(name, values);
        }
    }
    Ok(constants)
}

/// The nodes that the output comes from, in order.
fn needed(graph: &GraphProto, output: &str) -> Vec<OnnxNode> {
    let mut needed: HashSet<&str> = HashSet::from([output]);
    let mut nodes: Vec<OnnxNode> = Vec::new();
    for node in graph.node.iter().rev() {
        if node.output.iter().any(|name| needed.contains(name.as_str())) {
            needed.extend(onnx_file::reads(node));
            nodes.push(OnnxNode::read(node));
        }
    }
    nodes.reverse();
    nodes
}
