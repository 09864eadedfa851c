//! Reading and building graphs of ONNX: who makes a tensor, attributes, constants, new nodes.

use std::cell::RefCell;
use std::collections::HashMap;

use faculty_nets::onnx_file::floats;
pub(super) use faculty_nets::onnx_file::{inner_graphs, integers, reads};
use rten_onnx::onnx::{
    AttributeProto, AttributeType, DataType, GraphProto, NodeProto, TensorProto,
};

/// Finds the maker of each tensor of a graph.
pub(super) struct Index<'g> {
    constants: HashMap<&'g str, &'g TensorProto>,
    nodes: HashMap<&'g str, &'g NodeProto>,
}

impl<'g> Index<'g> {
    pub(super) fn new(graph: &'g GraphProto) -> Self {
        let mut constants = HashMap::new();
        let mut nodes = HashMap::new();
        for tensor in &graph.initializer {
            constants.insert(tensor.name.as_deref().unwrap_or_default(), tensor);
        }
        for node in &graph.node {
            for output in node.output.iter().filter(|name| !name.is_empty()) {
                nodes.insert(output.as_str(), node);
            }
            if let (Some("Constant"), Some(output)) = (kind(node), node.output.first())
                && let Some(tensor) = attribute(node, "value").and_then(|value| value.t.as_ref())
            {
                constants.insert(output.as_str(), tensor);
            }
        }
        Self { constants, nodes }
    }

    /// The node that makes a tensor.
    pub(super) fn maker(&self, name: &str) -> Option<&'g NodeProto> {
        self.nodes.get(name).copied()
    }

    /// The node that makes a tensor, looking through nodes of the kinds `through`.
    pub(super) fn producer(&self, name: &str, through: &[&str]) -> Option<&'g NodeProto> {
        self.chain(name, through)?.pop()
    }

    /// The nodes from a tensor back to the first that is not of the kinds `through`, that one last.
    pub(super) fn chain(&self, name: &str, through: &[&str]) -> Option<Vec<&'g NodeProto>> {
        let mut chain = vec![self.maker(name)?];
        // No chain is longer than the graph; a circle would be.
        while chain.len() <= self.nodes.len() {
            let last = *chain.last()?;
            if !kind(last).is_some_and(|kind| through.contains(&kind)) {
                return Some(chain);
            }
            chain.push(self.maker(last.input.first()?)?);
        }
        None
    }

    /// A constant: an initializer, or the tensor of a `Constant`.
    pub(super) fn constant(&self, name: &str) -> Option<&'g TensorProto> {
        self.constants.get(name).copied()
    }

    /// Shape and values of a constant of float32.
    pub(super) fn floats(&self, name: &str) -> Option<(Vec<usize>, Vec<f32>)> {
        floats(self.constant(name)?)
    }
}

/// What a node does, if it is of ONNX's own operators.
pub(super) fn kind(node: &NodeProto) -> Option<&str> {
    matches!(node.domain.as_deref(), None | Some("" | "ai.onnx")).then_some(())?;
    node.op_type.as_deref()
}

/// Operator with its domain, as messages show it.
pub(super) fn operator(node: &NodeProto) -> String {
    let kind = node.op_type.as_deref().unwrap_or("?");
    match node.domain.as_deref() {
        None | Some("" | "ai.onnx") => kind.to_owned(),
        Some(domain) => format!("{domain}.{kind}"),
    }
}

pub(super) fn attribute<'n>(node: &'n NodeProto, name: &str) -> Option<&'n AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
}

pub(super) fn integer(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name)?.i
}

pub(super) fn float(node: &NodeProto, name: &str) -> Option<f32> {
    attribute(node, name)?.f
}

pub(super) fn int_attribute(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        i: Some(value),
        r#type: Some(AttributeType::INT),
        ..AttributeProto::default()
    }
}

pub(super) fn ints_attribute(name: &str, values: Vec<i64>) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        ints: values,
        r#type: Some(AttributeType::INTS),
        ..AttributeProto::default()
    }
}

pub(super) fn float_attribute(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        f: Some(value),
        r#type: Some(AttributeType::FLOAT),
        ..AttributeProto::default()
    }
}

/// A node of ONNX's own operators.
pub(super) fn node(
    kind: &str,
    inputs: &[&str],
    outputs: Vec<String>,
    attribute: Vec<AttributeProto>,
) -> NodeProto {
    NodeProto {
        domain: None,
        name: None,
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: outputs,
        op_type: Some(kind.to_owned()),
        attribute,
    }
}

/// A constant of float32; no dimension is a scalar.
pub(super) fn float_tensor(name: &str, dims: Vec<i64>, values: &[f32]) -> TensorProto {
    TensorProto {
        dims,
        data_type: Some(DataType::FLOAT),
        raw_data: Some(RefCell::new(values.iter().flat_map(|x| x.to_le_bytes()).collect())),
        name: Some(name.to_owned()),
        ..TensorProto::default()
    }
}
