//! `Gemm` and `MatMul` with the `Add` of its bias: linear layers on vectors, and on the channels of
//! each position.

use super::axes::Axes;
use super::model::OnnxNode;
use super::symbol::{Constant, Read, Symbol};
use super::translator::Translator;
use crate::op::conv2d::Conv2d;
use crate::op::linear::Linear;
use crate::parameter::{Init, ParameterId};
use crate::shape::{ConvWindow, MapShape, Window};

/// A weight `[outputs, inputs]` and its bias.
struct Layer {
    weight: Constant,
    /// Whether the file has it as `[inputs, outputs]` at the place where it is read.
    inputs_first: bool,
    bias: Option<Constant>,
}

impl Layer {
    fn sizes(&self) -> Read<[usize; 2]> {
        let [first, second] = self.weight.matrix()?;
        Ok(if self.inputs_first { [second, first] } else { [first, second] })
    }

    /// Its parameters, of `outputs` outputs; a bias of zeros that is not trained where the file has
    /// none and one is `required`.
    fn parameters(
        &self,
        t: &mut Translator<'_>,
        node: &OnnxNode,
        outputs: usize,
        required: bool,
    ) -> Read<(ParameterId, Option<ParameterId>)> {
        let [own, inputs] = self.sizes()?;
        let new = outputs != own;
        let initial = Init::UniformFanIn { fan_in: inputs.max(1) };
        let values = (!new).then(|| self.weight.rows(self.inputs_first));
        let weight = t.parameter(&self.weight.name, vec![outputs, inputs], initial, values);
        let bias = match &self.bias {
            Some(bias) if bias.values.len() == own => {
                let values = (!new).then(|| bias.values.to_vec());
                Some(t.parameter(&bias.name, vec![outputs], initial, values))
            }
            Some(bias) => {
                let (name, count) = (&bias.name, bias.values.len());
                return Err(
                    format!("its bias `{name}` has {count} values for {own} outputs").into()
                );
            }
            None if required => Some(t.frozen(&format!("{}.bias", node.name), vec![0.0; outputs])),
            None => None,
        };
        Ok((weight, bias))
    }

    /// The layer on a vector for each sample.
    fn on_rows(
        &self,
        t: &mut Translator<'_>,
        node: &OnnxNode,
        input: &str,
        last: &OnnxNode,
    ) -> Read<()> {
        let (id, axes) = t.value(input)?;
        let [own, inputs] = self.sizes()?;
        if axes.rank() != 1 || axes.elements() != inputs {
            let sizes = axes.sizes();
            return Err(format!("a weight {own} × {inputs} does not fit [batch, {sizes:?}]").into());
        }
        let id = t.in_order(id, &axes)?;
        let outputs = t.new_outputs(own).unwrap_or(own);
        let (weight, bias) = self.parameters(t, node, outputs, true)?;
        let bias = bias.ok_or("it has no bias")?;
        let id = t.push(Linear { weight, bias }, &[id], MapShape::new(outputs, 1, 1))?;
        t.set(last, Symbol::Value(id, Axes::plain(&[outputs])))
    }
}

pub(super) fn gemm(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    if node.integer("transA", 0) != 0 || node.float("alpha", 1.0) != 1.0 {
        return Err("its first factor is transposed or scaled".into());
    }
    let bias = node.input(2).map(|name| t.constant(name)).transpose()?;
    if bias.is_some() && node.float("beta", 1.0) != 1.0 {
        return Err("its bias is scaled".into());
    }
    let weight = t.constant(t.input(node, 1)?)?;
    let layer = Layer { weight, inputs_first: node.integer("transB", 0) == 0, bias };
    layer.on_rows(t, node, t.input(node, 0)?, node)
}

pub(super) fn mat_mul(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let weight = t.constant(t.input(node, 1)?)?;
    let [inputs, own] = weight.matrix()?;
    // The bias is added behind it.
    let output = node.outputs.first().map_or("", String::as_str);
    let mut last = node;
    let mut bias = None;
    if let Some((number, sum)) = t.only_reader(output, &["Add"])
        && let Some(other) = sum.inputs.iter().find(|name| *name != output)
        && let Ok(constant) = t.constant(other)
        && constant.values.len() == own
        && constant.shape.last() == Some(&own)
    {
        t.take(number);
        (last, bias) = (sum, Some(constant));
    }
    let layer = Layer { weight, inputs_first: true, bias };
    let (id, axes) = t.value(t.input(node, 0)?)?;
    if axes.rank() == 1 {
        return layer.on_rows(t, node, t.input(node, 0)?, last);
    }
    // On the channels of each position, which stand last: a convolution of kernel 1.
    let shape = t.builder.shape(id);
    let channels = axes.channel_axis(shape).filter(|&axis| axis + 1 == axes.rank());
    let Some(channels) = channels.filter(|_| shape.channels == inputs) else {
        let sizes = axes.sizes();
        return Err(format!(
            "a matrix {inputs} × {own} does not fit the channels of [batch, {sizes:?}]"
        )
        .into());
    };
    let (weight, bias) = layer.parameters(t, node, own, false)?;
    let window = ConvWindow::from(Window { kernel: 1, stride: 1, padding: 0 });
    let op = Conv2d { weight, bias, window, groups: 1, residual: false };
    let id = t.push(op, &[id], MapShape { channels: own, ..shape })?;
    t.set(last, Symbol::Value(id, axes.with_channels(channels, own)))
}
