//! A graph whose convolutions and linear layers compute in 8 bits, as runtimes read it: every tensor
//! that they read is quantised and dequantised in front of them (QDQ), and runtimes with kernels for
//! integers join the three.
//!
//! ```text
//! x   uint8, scale (high - low) / 255, zero point -low / scale   of the range that a calibration saw
//! w   int8,  scale max |w| / 127 for each output channel         symmetric
//! b   int32, scale s_x s_w
//! ```
//! Jacob et al., CVPR 2018, <https://arxiv.org/abs/1712.05877>; the recipe that the runtimes' own tools
//! follow too. Values that are added, pooled or joined are quantised likewise, so that nothing returns
//! to floats between convolutions; activations other than ReLU, gates and the output stay floats.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use rten_onnx::onnx::{
    AttributeProto, AttributeType, DataType, GraphProto, NodeProto, TensorProto,
};

use crate::onnx_file::floats;
use crate::op::link::whole;

/// Ranges of tensors, lowest and highest value each, by their names in the float graph.
pub(super) type Ranges = BTreeMap<String, [f32; 2]>;

/// Operators whose floats are quantised in front of them.
const QUANTISED: [&str; 7] =
    ["Conv", "Gemm", "Add", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat"];

/// Of those, the ones with weights.
const LAYERS: [&str; 2] = ["Conv", "Gemm"];

/// A bias is at most this many steps of its scale, well within 32 bits.
const MOST_STEPS: f32 = (1 << 30) as f32;

/// The tensors whose ranges are needed.
pub(super) fn tensors(graph: &GraphProto) -> BTreeSet<String> {
    let constants: BTreeSet<&str> =
        graph.initializer.iter().filter_map(|tensor| tensor.name.as_deref()).collect();
    let mut names = BTreeSet::new();
    for node in graph.node.iter().filter(|node| is_quantised(node)) {
        let inputs = node.input.iter().filter(|name| !constants.contains(name.as_str()));
        names.extend(inputs.cloned());
    }
    names
}

fn kind(node: &NodeProto) -> &str {
    node.op_type.as_deref().unwrap_or_default()
}

fn is_quantised(node: &NodeProto) -> bool {
    QUANTISED.contains(&kind(node))
}

/// The graph with 8-bit layers; what has no range stays as it is.
pub(super) fn quantise(graph: GraphProto, ranges: &Ranges) -> GraphProto {
    let GraphProto { node: nodes, initializer, .. } = graph;
    let constants: HashMap<String, TensorProto> = initializer
        .into_iter()
        .map(|tensor| (tensor.name.clone().unwrap_or_default(), tensor))
        .collect();
    let mut to = Quantised { graph: GraphProto::default(), activations: HashMap::new() };
    let mut needed = BTreeSet::new();
    for mut node in nodes {
        if is_quantised(&node) {
            let data = node.input.iter().position(|name| !constants.contains_key(name));
            let mut scale = None;
            for (at, name) in node.input.iter_mut().enumerate() {
                if let Some(range) = ranges.get(name.as_str()) {
                    let (new, own) = to.activation(name, *range);
                    *name = new;
                    if Some(at) == data {
                        scale = Some(own);
                    }
                }
            }
            if let Some(scale) = scale.filter(|_| LAYERS.contains(&kind(&node))) {
                to.layer(&mut node, &constants, scale);
            }
        }
        needed.extend(node.input.iter().cloned());
        to.graph.node.push(node);
    }
    let left = constants.into_iter().filter(|(name, _)| needed.contains(name));
    let mut left: Vec<TensorProto> = left.map(|(_, tensor)| tensor).collect();
    left.sort_by(|a, b| a.name.cmp(&b.name));
    to.graph.initializer.extend(left);
    to.graph
}

struct Quantised {
    graph: GraphProto,
    /// Names of dequantised tensors and their scales, by the tensors.
    activations: HashMap<String, (String, f32)>,
}

impl Quantised {
    /// A value that has gone through 8 bits, and its scale.
    fn activation(&mut self, name: &str, range: [f32; 2]) -> (String, f32) {
        if let Some(known) = self.activations.get(name) {
            return known.clone();
        }
        let (scale, zero) = steps(range);
        let [scale_name, zero_name, bytes, back] =
            ["scale", "zero_point", "quantised", "dequantised"]
                .map(|what| format!("{name}.{what}"));
        self.constant(&scale_name, &[], DataType::FLOAT, scale.to_le_bytes().to_vec());
        self.constant(&zero_name, &[], DataType::UINT8, vec![zero]);
        let constants = [scale_name, zero_name];
        self.node("QuantizeLinear", name, &constants, &bytes, None);
        self.node("DequantizeLinear", &bytes, &constants, &back, None);
        self.activations.insert(name.to_owned(), (back.clone(), scale));
        (back, scale)
    }

    /// Weight and bias of a layer whose input has `scale`.
    fn layer(
        &mut self,
        node: &mut NodeProto,
        constants: &HashMap<String, TensorProto>,
        scale: f32,
    ) {
        let tensor = |at: usize| node.input.get(at).and_then(|name| floats(constants.get(name)?));
        let Some((shape, weight)) = tensor(1) else { return };
        let channels = shape.first().copied().unwrap_or(0);
        if channels == 0 || weight.is_empty() {
            return;
        }
        let bias = tensor(2).map(|(_, bias)| bias).filter(|bias| bias.len() == channels);
        let each = weight.len() / channels;
        let scales = weight_scales(&weight, each, bias.as_deref(), scale);
        let bytes: Vec<u8> = weight
            .chunks(each)
            .zip(&scales)
            .flat_map(|(row, scale)| {
                row.iter().map(move |x| ((x / scale).round().clamp(-127.0, 127.0) as i8) as u8)
            })
            .collect();
        // A weight that several layers share would have a scale for each: it is written for each.
        let own = node.output.first().cloned().unwrap_or_default();
        let raw = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let [weight_name, weight_scale, weight_back] =
            ["weight.int8", "weight.scale", "weight.dequantised"]
                .map(|what| format!("{own}.{what}"));
        self.constant(&weight_name, &shape, DataType::INT8, bytes);
        self.constant(&weight_scale, &[channels], DataType::FLOAT, raw(&scales));
        let first_axis = Some(0);
        self.node("DequantizeLinear", &weight_name, &[weight_scale], &weight_back, first_axis);
        node.input[1] = weight_back;
        let Some(bias) = bias else { return };
        let scales: Vec<f32> = scales.iter().map(|own| own * scale).collect();
        let steps = bias.iter().zip(&scales).map(|(b, scale)| (b / scale).round() as i32);
        let bytes: Vec<u8> = steps.flat_map(i32::to_le_bytes).collect();
        let [bias_name, bias_scale, bias_back] =
            ["bias.int32", "bias.scale", "bias.dequantised"].map(|what| format!("{own}.{what}"));
        self.constant(&bias_name, &[channels], DataType::INT32, bytes);
        self.constant(&bias_scale, &[channels], DataType::FLOAT, raw(&scales));
        self.node("DequantizeLinear", &bias_name, &[bias_scale], &bias_back, first_axis);
        node.input[2] = bias_back;
    }

    fn constant(&mut self, name: &str, shape: &[usize], kind: DataType, bytes: Vec<u8>) {
        self.graph.initializer.push(TensorProto {
            name: Some(name.to_owned()),
            dims: shape.iter().copied().map(whole).collect(),
            data_type: Some(kind),
            raw_data: Some(RefCell::new(bytes)),
            ..Default::default()
        });
    }

    fn node(&mut self, kind: &str, from: &str, rest: &[String], to: &str, axis: Option<i64>) {
        let attribute = |i: i64| AttributeProto {
            name: Some("axis".to_owned()),
            i: Some(i),
            r#type: Some(AttributeType::INT),
            ..Default::default()
        };
        self.graph.node.push(NodeProto {
            name: Some(format!("{kind}_{to}")),
            op_type: Some(kind.to_owned()),
            input: std::iter::once(from.to_owned()).chain(rest.iter().cloned()).collect(),
            output: vec![to.to_owned()],
            attribute: axis.map(attribute).into_iter().collect(),
            domain: None,
        });
    }
}

/// Scale and zero point of a range, in which 0 is a step: padding and ReLU give it exactly.
fn steps([low, high]: [f32; 2]) -> (f32, u8) {
    let (low, high) = (low.min(0.0), high.max(0.0));
    let scale = (high - low) / 255.0;
    // Of nothing but zeros, or numbers too small to be told from it, any scale will do.
    if !scale.is_normal() {
        return (1.0, 0);
    }
    (scale, (-low / scale).round().clamp(0.0, 255.0) as u8)
}

/// The scale of each output channel: its largest weight is 127 steps, unless its bias would then have
/// too many.
fn weight_scales(weight: &[f32], each: usize, bias: Option<&[f32]>, input: f32) -> Vec<f32> {
    let largest = |row: &[f32]| row.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let rows = weight.chunks(each).map(|row| largest(row) / 127.0);
    let scales: Vec<f32> = rows.collect();
    let usual = scales.iter().copied().fold(0.0, f32::max);
    let usual = if usual.is_normal() { usual } else { 1.0 };
    let least = |at: usize| bias.map_or(0.0, |bias| bias[at].abs() / (input * MOST_STEPS));
    let own = |(at, scale): (usize, f32)| {
        // Of a channel without weights the scale only serves its bias.
        let scale = if scale.is_normal() { scale } else { usual * 1e-3 };
        scale.max(least(at)).max(f32::MIN_POSITIVE)
    };
    scales.into_iter().enumerate().map(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Inference, MapShape, Network, OnnxOptions};

    #[test]
    fn ranges_hold_zero_exactly() {
        assert_eq!(steps([0.0, 255.0]), (1.0, 0));
        assert_eq!(steps([-255.0, 0.0]), (1.0, 255));
        assert_eq!(steps([3.0, 255.0]), (1.0, 0));
        assert!(matches!(steps([-1.0, 1.0]).1, 127 | 128));
        assert_eq!(steps([0.0, 0.0]), (1.0, 0));
        assert_eq!(steps([0.0, 1e-44]), (1.0, 0));
        for range in [[-0.3, 0.9], [-7.0, 0.01], [-1e-20, 1e20]] {
            let (scale, zero) = steps(range);
            let back = |x: f32| {
                ((x / scale).round() + f32::from(zero)).clamp(0.0, 255.0) - f32::from(zero)
            };
            assert_eq!(back(0.0), 0.0);
            for x in range {
                assert!((back(x) * scale - x).abs() <= 0.51 * scale, "{range:?}: {x}");
            }
        }
    }

    #[test]
    fn every_tensor_is_made_once_and_before_it_is_read() {
        for name in ["resnet8", "ShuffleV2", "mobilenet_v3_small"] {
            let network = Network::new(name, MapShape::new(3, 32, 32), 5, 1).unwrap();
            let plan = Inference::new(&network, &[]);
            let options = OnnxOptions {
                normalisation: Some([vec![0.5; 3], vec![0.2; 3]]),
                ..Default::default()
            };
            let (graph, _) = plan.onnx_nodes(name, &options).unwrap();
            let ranges = tensors(&graph).into_iter().map(|name| (name, [-1.0, 1.0])).collect();
            let layers = graph.node.iter().filter(|node| LAYERS.contains(&kind(node))).count();
            let graph = quantise(graph, &ranges);
            let mut made = BTreeSet::from(["input".to_owned()]);
            for tensor in &graph.initializer {
                assert!(made.insert(tensor.name.clone().unwrap()), "{name}: {:?}", tensor.name);
            }
            let mut quantised = 0;
            for node in &graph.node {
                assert!(node.input.iter().all(|input| made.contains(input)), "{name}: {node:?}");
                for output in &node.output {
                    assert!(made.insert(output.clone()), "{name}: {output}");
                }
                if LAYERS.contains(&kind(node)) {
                    assert!(node.input.iter().all(|input| input.ends_with(".dequantised")));
                    quantised += 1;
                }
            }
            assert_eq!(quantised, layers, "{name}");
        }
    }

    #[test]
    fn every_channel_has_its_scale_and_biases_fit() {
        let weight = [1.27, -0.2, 0.0, 0.0, 1e-12, 0.0];
        let bias = [1.0, 2.0, 3.0];
        let scales = weight_scales(&weight, 2, Some(&bias), 0.1);
        assert!((scales[0] - 0.01).abs() < 1e-9, "{scales:?}");
        for (scale, bias) in scales.iter().zip(bias) {
            let steps = bias / (scale * 0.1);
            assert!(steps <= 1.01 * MOST_STEPS && *scale > 0.0, "{scales:?}");
            // And are still told apart well.
            assert!(steps > 1e4 || *scale > 1e-3, "{scales:?}");
        }
    }
}
