//! `BatchNormalization`, with the shortcut and the ReLU behind it, and `LayerNormalization`.

use super::model::OnnxNode;
use super::symbol::{Read, Symbol};
use super::translator::Translator;
use crate::op::batch_norm::BatchNorm;
use crate::op::channel_norm::ChannelNorm;
use crate::parameter::{Init, ValueId};
use crate::shape::MapShape;

impl Translator<'_> {
    /// The node that alone reads `name` and adds another value of that shape to it, and that value.
    pub(super) fn residual(&mut self, name: &str, shape: MapShape) -> Option<(usize, ValueId)> {
        let (number, node) = self.only_reader(name, &["Add"])?;
        let other = node.inputs.iter().find(|input| *input != name)?;
        // Not there yet: then the other one adds this.
        let Ok(Symbol::Value(id, axes)) = self.symbol(other) else { return None };
        let fits = self.builder.shape(*id) == shape && *axes == super::axes::Axes::map(shape);
        fits.then_some((number, *id))
    }
}

pub(super) fn batch(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let (id, axes) = t.value(t.input(node, 0)?)?;
    let id = t.in_order(id, &axes)?;
    let shape = t.builder.shape(id);
    let mut constants = Vec::with_capacity(4);
    for input in 1..5 {
        let constant = t.constant(t.input(node, input)?)?;
        if constant.values.len() != shape.channels {
            let (name, count) = (&constant.name, constant.values.len());
            return Err(
                format!("`{name}` has {count} values for {} channels", shape.channels).into()
            );
        }
        constants.push(constant);
    }
    let [gamma, beta, mean, variance] = &constants[..] else {
        return Err("it has no scale, shift, mean and variance".into());
    };
    if variance.values.iter().any(|&value| value < 0.0) {
        return Err(format!("`{}` holds negative variances", variance.name).into());
    }
    let mut trained = |constant: &super::symbol::Constant, initial| {
        let values = Some(constant.values.to_vec());
        t.parameter(&constant.name, vec![shape.channels], initial, values)
    };
    let (gamma, beta) = (trained(gamma, Init::Ones), trained(beta, Init::Zeros));
    let running_mean = t.buffer(mean, 0.0);
    let running_variance = t.buffer(variance, 1.0);
    // What follows it alone is done in the same pass.
    let mut last = node;
    let mut output = node.outputs.first().map_or("", String::as_str);
    let other = t.residual(output, shape).filter(|(_, other)| *other != id && axes.rank() == 3);
    if let Some((sum, _)) = other {
        t.take(sum);
        last = &t.model.nodes[sum];
        output = last.outputs.first().map_or("", String::as_str);
    }
    let relu = t.only_reader(output, &["Relu"]);
    if let Some((number, node)) = relu {
        t.take(number);
        last = node;
    }
    let op = BatchNorm {
        gamma,
        beta,
        running_mean,
        running_variance,
        epsilon: node.float("epsilon", 1e-5),
        // ONNX says how much of the old statistics stays.
        momentum: (1.0 - node.float("momentum", 0.9)).clamp(0.0, 1.0),
        residual: other.is_some(),
        relu: relu.is_some(),
    };
    let inputs: Vec<ValueId> = std::iter::once(id).chain(other.map(|(_, id)| id)).collect();
    let id = t.push(op, &inputs, shape)?;
    let axes = super::axes::Axes::plain(&axes.sizes());
    t.set(last, Symbol::Value(id, axes))
}

pub(super) fn layer(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let (id, axes) = t.value(t.input(node, 0)?)?;
    let shape = t.builder.shape(id);
    let rank = axes.rank() as i64 + 1;
    let axis = node.integer("axis", -1);
    let axis = if axis < 0 { axis + rank } else { axis };
    let channels = axes.channel_axis(shape).map(|axis| axis as i64 + 1);
    if axis + 1 != rank || channels != Some(axis) {
        let sizes = axes.sizes();
        return Err(format!(
            "it normalises axes from {axis} of [batch, {sizes:?}], one over the channels is read"
        )
        .into());
    }
    let gamma = t.constant(t.input(node, 1)?)?;
    let beta = node.input(2).map(|name| t.constant(name)).transpose()?;
    let lengths = std::iter::once(&gamma).chain(&beta).map(|constant| constant.values.len());
    if lengths.into_iter().any(|length| length != shape.channels) {
        return Err(format!("its constants are not {} values each", shape.channels).into());
    }
    let sizes = vec![shape.channels];
    let gamma = t.parameter(&gamma.name, sizes.clone(), Init::Ones, Some(gamma.values.to_vec()));
    let beta = match beta {
        Some(beta) => t.parameter(&beta.name, sizes, Init::Zeros, Some(beta.values.to_vec())),
        None => t.frozen(&format!("{}.beta", node.name), vec![0.0; shape.channels]),
    };
    let op = ChannelNorm { gamma, beta, epsilon: node.float("epsilon", 1e-5) };
    let id = t.push(op, &[id], shape)?;
    t.set(node, Symbol::Value(id, axes))
}
