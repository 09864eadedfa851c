//! A graph of ONNX in operators that the runtime computes right.
//!
//! ```text
//! lowered to float32   integer convolutions and products, onnxruntime's QLinear operators, LRN, …
//! made explicit        attributes that may be left out, defaults that older opsets have otherwise
//! refused              what the runtime would compute wrongly and nothing else says
//! ```
//! `bench/onnx_operators.py` and `tests/it/onnx_operators.rs` hold each of them against onnxruntime.
//! Operators that are not named here are left to the runtime, which refuses those it does not know.

use std::collections::{BTreeSet, HashMap};

use rten_onnx::onnx::{AttributeProto, DataType, GraphProto, NodeProto, TensorProto};

use super::graph::{attribute, float_tensor, int_attribute, integers, kind, node, operator};
use faculty_nets::onnx_file::Outcome;

mod float;
mod quantised;

/// Older opsets say other things by the same names (`Add` with `broadcast`).
const OLDEST_OPSET: i64 = 7;

/// Lowers every node, also of graphs inside nodes. `opset` is that of ONNX's own operators. Gives the
/// integer operators that are now of float32.
pub(super) fn lower(graph: &mut GraphProto, opset: Option<i64>) -> Outcome<Vec<String>> {
    if let Some(opset) = opset.filter(|&opset| opset < OLDEST_OPSET) {
        return Err((
            format!("it is of opset {opset}, older than {OLDEST_OPSET}"),
            "bring it to a newer one: `onnx.version_converter.convert_version(model, 17)`",
        ));
    }
    let mut known = Known::default();
    lower_graph(graph, opset.unwrap_or(i64::MAX), &mut known)?;
    Ok(known.lowered.into_iter().collect())
}

fn lower_graph(graph: &mut GraphProto, opset: i64, known: &mut Known) -> Outcome<()> {
    for tensor in &graph.initializer {
        known.add_constant(tensor.name.as_deref().unwrap_or_default(), tensor);
    }
    let nodes = std::mem::take(&mut graph.node);
    let mut lowering = Lowering { opset, known, nodes: Vec::new(), constants: Vec::new() };
    for mut node in nodes {
        for inner in node.attribute.iter_mut().filter_map(|attribute| attribute.g.as_mut()) {
            lower_graph(inner, opset, lowering.known)?;
        }
        lowering.known.add_node(&node);
        lowering.lower_node(node)?;
    }
    graph.node = lowering.nodes;
    graph.initializer.extend(lowering.constants);
    Ok(())
}

/// What the file says of its tensors.
#[derive(Default)]
struct Known {
    dims: HashMap<String, Vec<i64>>,
    /// 8-bit tensors.
    bytes: HashMap<String, DataType>,
    /// Small constants.
    integers: HashMap<String, Vec<i64>>,
    lowered: BTreeSet<String>,
    /// Tensors made here so far.
    made: usize,
}

impl Known {
    fn add_constant(&mut self, name: &str, tensor: &TensorProto) {
        const SMALL: usize = 16;
        self.dims.insert(name.to_owned(), tensor.dims.clone());
        if let Some(kind) = tensor.data_type {
            self.add_type(name, kind);
        }
        let few = tensor.dims.iter().all(|&size| usize::try_from(size).is_ok_and(|n| n <= SMALL));
        if tensor.dims.len() < 2
            && few
            && let Some(values) = integers(tensor)
        {
            self.integers.insert(name.to_owned(), values);
        }
    }

    fn add_type(&mut self, name: &str, kind: DataType) {
        if kind == DataType::UINT8 || kind == DataType::INT8 {
            self.bytes.insert(name.to_owned(), kind);
        }
    }

    /// The 8-bit type of a tensor.
    fn byte(&self, name: &str) -> Option<DataType> {
        self.bytes.get(name).copied()
    }

    fn add_node(&mut self, node: &NodeProto) {
        let input = |k: usize| node.input.get(k).map_or("", String::as_str);
        let Some(output) = node.output.first() else { return };
        let kind = operator(node);
        if kind == "Constant" {
            if let Some(tensor) = attribute(node, "value").and_then(|value| value.t.as_ref()) {
                self.add_constant(output, tensor);
            }
            return;
        }
        let same = |k: usize| self.byte(input(k));
        let byte = match kind.trim_start_matches("com.microsoft.") {
            "QuantizeLinear" => {
                let given =
                    attribute(node, "output_dtype").and_then(|to| to.i).filter(|&to| to > 0);
                let given = given.and_then(|to| i32::try_from(to).ok()).map(DataType);
                given.or(same(2)).or(Some(DataType::UINT8))
            }
            "DynamicQuantizeLinear" => Some(DataType::UINT8),
            "Cast" => attribute(node, "to")
                .and_then(|to| i32::try_from(to.i?).ok())
                .map(DataType)
                .filter(|&to| to == DataType::UINT8 || to == DataType::INT8),
            "QLinearConv" | "QLinearMatMul" => same(7),
            "QLinearAdd" | "QLinearMul" => same(7).or(same(0)),
            "QGemm" => same(8),
            "QLinearConcat" => same(1).or(same(2)),
            "Where" => same(1),
            "DequantizeLinear"
            | "ConvInteger"
            | "MatMulInteger"
            | "Shape"
            | "Size"
            | "ArgMax"
            | "ArgMin"
            | "Equal"
            | "Greater"
            | "Less"
            | "GreaterOrEqual"
            | "LessOrEqual"
            | "MatMulIntegerToFloat"
            | "DynamicQuantizeMatMul"
            | "NonZero"
            | "OneHot" => None,
            _ => same(0),
        };
        if let Some(byte) = byte {
            for output in &node.output {
                self.add_type(output, byte);
            }
        }
        // Of weights that are made of constants.
        if let ("DequantizeLinear" | "Identity" | "Cast", Some(dims)) =
            (kind.as_str(), self.dims.get(input(0)))
        {
            self.dims.insert(output.clone(), dims.clone());
        }
    }
}

/// Puts nodes behind those that are lowered already.
struct Lowering<'k> {
    opset: i64,
    known: &'k mut Known,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

impl Lowering<'_> {
    fn lower_node(&mut self, node: NodeProto) -> Outcome<()> {
        let name = operator(&node);
        let Some(node) = self.quantised(node)? else {
            self.known.lowered.insert(name);
            return Ok(());
        };
        if let Some(node) = self.float(node)?
            && let Some(node) = self.on_bytes(node)
        {
            self.nodes.push(node);
        }
        Ok(())
    }

    /// A new tensor, made by one node.
    fn make(&mut self, kind: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let output = self.fresh();
        self.make_as(&output, kind, inputs, attributes);
        output
    }

    fn make_as(
        &mut self,
        output: &str,
        kind: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) {
        self.nodes.push(node(kind, inputs, vec![output.to_owned()], attributes));
    }

    fn cast(&mut self, name: &str, to: DataType) -> String {
        self.make("Cast", &[name], vec![int_attribute("to", i64::from(to.0))])
    }

    /// A constant scalar.
    fn scalar(&mut self, value: f32) -> String {
        let name = self.fresh();
        self.constants.push(float_tensor(&name, Vec::new(), &[value]));
        name
    }

    fn fresh(&mut self) -> String {
        self.known.made += 1;
        format!("faculty.{}", self.known.made)
    }

    /// Operators that the runtime has for float32 alone compute there; 8 bits are exact in it.
    fn on_bytes(&mut self, mut node: NodeProto) -> Option<NodeProto> {
        const FLOAT_ONLY: [&str; 14] = [
            "MaxPool",
            "Clip",
            "Max",
            "Min",
            "Relu",
            "Concat",
            "ReduceMax",
            "ReduceMin",
            "Resize",
            "Upsample",
            "GlobalMaxPool",
            "Where",
            "Abs",
            "Sign",
        ];
        let byte = self.known.byte(node.output.first()?);
        let (Some(byte), true) = (byte, kind(&node).is_some_and(|k| FLOAT_ONLY.contains(&k)))
        else {
            return Some(node);
        };
        for input in &mut node.input {
            if self.known.byte(input).is_some() {
                *input = self.cast(input, DataType::FLOAT);
            }
        }
        let output = std::mem::take(node.output.first_mut()?);
        let computed = self.fresh();
        node.output[0].clone_from(&computed);
        self.nodes.push(node);
        self.make_as(&output, "Cast", &[&computed], vec![int_attribute("to", i64::from(byte.0))]);
        None
    }
}
