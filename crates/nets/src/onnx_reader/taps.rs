//! Where methods read a network that names no stages: its feature taps, last map, pooled vector and
//! classifier, found by its shape.
//!
//! A *waist* is a value that every path from input to output goes through: the end of a block, never
//! a branch. f0, f1, … are the last waists at each size of map, but for the widening by a 1 × 1
//! convolution that a block of inverted bottlenecks begins with at the size of the block before it.

use crate::graph::{ClassifierIds, Graph};
use crate::parameter::ValueId;
use crate::shape::MapShape;
use crate::tap::Tap;

/// Operations that change no size and mix no channels.
const ELEMENTWISE: [&str; 6] =
    ["BatchNorm", "ChannelNorm", "Activation", "ChannelAffine", "PRelu", "Reshape"];

/// Sets taps, map and classifier of a graph that has none.
pub(super) fn mark(graph: &mut Graph) {
    let count = graph.nodes.len();
    let waists = waists(graph);
    // The last layer with weights, if nothing but vectors come after it.
    let output = count - 1;
    let linear = (graph.nodes[output].op.kind() == "Linear").then_some(output);
    let pooled = linear.map(|linear| graph.nodes[linear].inputs[0]);
    let pools = |&value: &usize| graph.nodes[value].op.kind() == "GlobalAvgPool";
    let vector = pooled.filter(|pooled| graph.shape(*pooled).positions() == 1);
    let vector = vector.or_else(|| waists.iter().copied().rev().find(pools).map(ValueId));
    // The last of the taps is always a vector.
    let vector = vector.unwrap_or_else(|| graph.output());
    // What is pooled is a map, be it of one position.
    let before = |value: &usize| *value <= vector.0;
    let last_pool = waists.iter().copied().rev().filter(before).find(pools);
    let is_pooled = |value: usize| {
        last_pool.is_some_and(|pool| graph.nodes[pool].inputs.first() == Some(&ValueId(value)))
    };
    // A border alone makes no stage.
    let is_map = |value: usize| {
        let node = &graph.nodes[value];
        node.op.kind() != "Pad" && (node.shape.positions() > 1 || is_pooled(value))
    };
    let maps: Vec<usize> =
        waists.iter().copied().filter(|&value| value > 0 && is_map(value)).collect();
    let size = |value: usize| {
        let MapShape { height, width, .. } = graph.nodes[value].shape;
        (height, width)
    };
    let mut taps: Vec<usize> = Vec::new();
    for (at, &value) in maps.iter().enumerate() {
        let last = maps.get(at + 1).is_none_or(|&next| size(next) != size(value));
        if last {
            // The last map of all is what is pooled, widened or not.
            let end =
                if at + 1 == maps.len() { value } else { before_widening(graph, value, &maps) };
            taps.push(end);
        }
    }
    // As many as the networks of the table have, the last ones.
    let extra = taps.len().saturating_sub(Tap::MOST + 1);
    taps.drain(..extra);
    graph.map = maps.last().copied().map(ValueId);
    graph.features = taps.into_iter().map(ValueId).collect();
    graph.features.push(vector);
    let node = &graph.nodes[vector.0];
    let of_map = node.op.kind() == "GlobalAvgPool" && node.inputs.first().copied() == graph.map;
    if let (true, Some(linear)) = (of_map && pooled == Some(vector), linear)
        && let [weight, bias] = graph.nodes[linear].op.parameters()[..]
    {
        graph.classifier = Some(ClassifierIds { weight, bias });
    }
}

/// Values behind which nothing older is read.
fn waists(graph: &Graph) -> Vec<usize> {
    let mut last_reader: Vec<usize> = (0..graph.nodes.len()).collect();
    for (number, node) in graph.nodes.iter().enumerate() {
        node.inputs.iter().for_each(|input| last_reader[input.0] = number);
    }
    let mut furthest = 0;
    let mut waists = Vec::new();
    for (value, &reader) in last_reader.iter().enumerate() {
        if furthest <= value {
            waists.push(value);
        }
        furthest = furthest.max(reader);
    }
    waists
}

/// The value in front of a 1 × 1 convolution that widens, if that and nothing else lies between it and
/// the waist `value`.
fn before_widening(graph: &Graph, value: usize, maps: &[usize]) -> usize {
    let mut at = value;
    while let [input] = graph.nodes[at].inputs[..] {
        let (from, to) = (graph.shape(input), graph.nodes[at].shape);
        let kind = graph.nodes[at].op.kind();
        if (from.height, from.width) != (to.height, to.width) || !maps.contains(&input.0) {
            return value;
        }
        if kind == "Conv2d" {
            let weight =
                graph.nodes[at].op.parameters().first().map(|id| &graph.parameters[id.0].shape);
            let pointwise = weight.is_some_and(|shape| shape.iter().skip(2).all(|&size| size == 1));
            return if pointwise && to.channels > from.channels { input.0 } else { value };
        }
        if !ELEMENTWISE.contains(&kind) {
            return value;
        }
        at = input.0;
    }
    value
}
