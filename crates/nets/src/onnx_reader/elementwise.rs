//! Activations, sums and products.

use faculty_kernels::activation::Activation;
use faculty_kernels::piecewise::Piecewise;

use super::axes::Axes;
use super::fused::Fusion;
use super::model::OnnxNode;
use super::sizes;
use super::symbol::{Constant, Read, Symbol};
use super::translator::Translator;
use crate::op::activation::Activate;
use crate::op::channel_affine::ChannelAffine;
use crate::op::prelu::PRelu;
use crate::op::product::Product;
use crate::op::sum::Sum;
use crate::parameter::{Init, ValueId};
use crate::shape::MapShape;

fn apply(t: &mut Translator<'_>, node: &OnnxNode, input: &str, function: Activate) -> Read<()> {
    let (id, axes) = t.value(input)?;
    let shape = t.builder.shape(id);
    let id = t.push(function, &[id], shape)?;
    t.set(node, Symbol::Value(id, axes))
}

fn pieces(t: &mut Translator<'_>, node: &OnnxNode, function: Piecewise) -> Read<()> {
    apply(t, node, t.input(node, 0)?, Activate::Pieces(function))
}

fn smooth(t: &mut Translator<'_>, node: &OnnxNode, function: Activation) -> Read<()> {
    apply(t, node, t.input(node, 0)?, Activate::Smooth(function))
}

/// Several nodes that are one function of one value.
pub(super) fn fusion(t: &mut Translator<'_>, last: &OnnxNode, fusion: &Fusion) -> Read<()> {
    apply(t, last, &fusion.input, fusion.function)
}

pub(super) fn relu(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    pieces(t, node, Piecewise::Relu)
}

pub(super) fn clip(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let bound = |index: usize, attribute: &str, none: f32| -> Read<f32> {
        let Some(name) = node.input(index) else { return Ok(node.float(attribute, none)) };
        let constant = t.constant(name)?;
        constant.scalar().ok_or_else(|| format!("its bound `{name}` is no number").into())
    };
    let (low, high) = (bound(1, "min", f32::MIN)?, bound(2, "max", f32::MAX)?);
    if low > high {
        return Err(format!("its bounds are {low} and {high}").into());
    }
    pieces(t, node, Piecewise::Clip { low, high })
}

pub(super) fn leaky_relu(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    pieces(t, node, Piecewise::LeakyRelu { slope: node.float("alpha", 0.01) })
}

pub(super) fn hard_sigmoid(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let (slope, offset) = (node.float("alpha", 0.2), node.float("beta", 0.5));
    if slope <= 0.0 {
        return Err(format!("its slope is {slope}").into());
    }
    pieces(t, node, Piecewise::HardSigmoid { slope, offset })
}

pub(super) fn hard_swish(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    pieces(t, node, Piecewise::HardSwish)
}

pub(super) fn sigmoid(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    smooth(t, node, Activation::Sigmoid)
}

pub(super) fn tanh(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    smooth(t, node, Activation::Tanh)
}

pub(super) fn gelu(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    match node.text("approximate").unwrap_or("none") {
        "none" => smooth(t, node, Activation::Gelu),
        "tanh" => smooth(t, node, Activation::GeluTanh),
        other => Err(format!("its approximation is `{other}`").into()),
    }
}

pub(super) fn prelu(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let (id, axes) = t.value(t.input(node, 0)?)?;
    let slope = t.constant(t.input(node, 1)?)?;
    let shape = t.builder.shape(id);
    if slope.scalar().is_none() && !is_of_channels(&slope, &axes, shape) {
        let given = &slope.shape;
        return Err(format!(
            "its slopes are {given:?}, one for each of {} channels or one for all is read",
            shape.channels
        )
        .into());
    }
    let values = slope.values.to_vec();
    // Where PyTorch starts them.
    let initial = Init::Constant(0.25);
    let slope = t.parameter(&slope.name, vec![values.len()], initial, Some(values));
    let id = t.push(PRelu { slope }, &[id], shape)?;
    t.set(node, Symbol::Value(id, axes))
}

/// Whether a constant that is spread over a value has one number for each of its channels.
fn is_of_channels(constant: &Constant, axes: &Axes, shape: MapShape) -> bool {
    let Some(channels) = axes.channel_axis(shape) else { return false };
    // The last axes belong together; the batch stands in front.
    let behind = axes.rank() - 1 - channels;
    let sizes = constant.shape.iter().rev().enumerate();
    !constant.transposed
        && constant.values.len() == shape.channels
        && sizes
            .into_iter()
            .all(|(at, &size)| size == 1 || (at == behind && size == shape.channels))
}

/// What a value and a constant, or two values, are to each other in a node of two inputs.
enum Two {
    /// A value and a constant; whether the constant stands first.
    Constant(ValueId, Axes, Constant, bool),
    Values([(ValueId, Axes); 2]),
}

fn two(t: &Translator<'_>, node: &OnnxNode) -> Read<Two> {
    let names = [t.input(node, 0)?, t.input(node, 1)?];
    let symbols = [t.symbol(names[0])?.clone(), t.symbol(names[1])?.clone()];
    Ok(match symbols {
        [Symbol::Value(id, axes), Symbol::Constant(constant)] => {
            Two::Constant(id, axes, constant, false)
        }
        [Symbol::Constant(constant), Symbol::Value(id, axes)] => {
            Two::Constant(id, axes, constant, true)
        }
        [Symbol::Value(first, axes), Symbol::Value(second, others)] => {
            Two::Values([(first, axes), (second, others)])
        }
        _ => return Err("it computes with constants or sizes alone".into()),
    })
}

/// `scale · x + offset` for one number each, or for each channel.
fn affine(
    t: &mut Translator<'_>,
    node: &OnnxNode,
    (id, axes): (ValueId, Axes),
    scale: Option<Constant>,
    offset: Option<Constant>,
    trained: bool,
) -> Read<()> {
    let shape = t.builder.shape(id);
    let constants = || scale.iter().chain(&offset);
    if constants().all(|constant| constant.scalar().is_some()) {
        let number = |own: &Option<Constant>| own.as_ref().and_then(Constant::scalar);
        let (scale, offset) = (number(&scale).unwrap_or(1.0), number(&offset).unwrap_or(0.0));
        let id = t.push(Activate::Pieces(Piecewise::Affine { scale, offset }), &[id], shape)?;
        return t.set(node, Symbol::Value(id, axes));
    }
    for constant in constants() {
        if !is_of_channels(constant, &axes, shape) {
            let (name, given, sizes) = (&constant.name, &constant.shape, axes.sizes());
            return Err(format!("constant `{name}` {given:?} is not one number for each channel of [batch, {sizes:?}]").into());
        }
    }
    let mut own = |constant: Option<Constant>| {
        let constant = constant?;
        let values = constant.values.to_vec();
        if !trained {
            return Some(t.frozen(&constant.name, values));
        }
        // A fresh start begins where the file's numbers lie: layer scales are small on purpose.
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / values.len() as f64;
        let initial = Init::Constant(mean as f32);
        Some(t.parameter(&constant.name, vec![values.len()], initial, Some(values)))
    };
    let (scale, shift) = (own(scale), own(offset));
    let id = t.push(ChannelAffine { scale, shift }, &[id], shape)?;
    t.set(node, Symbol::Value(id, axes))
}

/// Another constant of each of its numbers.
fn changed(constant: &Constant, how: &str, change: impl Fn(f32) -> f32) -> Constant {
    let values = constant.values.iter().map(|&value| change(value)).collect::<Vec<_>>();
    let name = format!("{}.{how}", constant.name);
    Constant { name, values: values.into(), ..constant.clone() }
}

pub(super) fn add(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    if sizes::of_two(t, node, i64::checked_add)? {
        return Ok(());
    }
    match two(t, node)? {
        Two::Constant(id, axes, constant, _) => {
            affine(t, node, (id, axes), None, Some(constant), true)
        }
        Two::Values(values) => {
            let (ids, shape, axes) = alike(t, values)?;
            let id = t.push(Sum, &ids, shape)?;
            t.set(node, Symbol::Value(id, axes))
        }
    }
}

pub(super) fn sub(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    if sizes::of_two(t, node, i64::checked_sub)? {
        return Ok(());
    }
    match two(t, node)? {
        // As images are normalised: not trained.
        Two::Constant(id, axes, constant, false) => {
            let negated = changed(&constant, "negated", |x| -x);
            affine(t, node, (id, axes), None, Some(negated), false)
        }
        Two::Constant(id, axes, constant, true) => {
            let minus = changed(&constant, "sign", |_| -1.0);
            affine(t, node, (id, axes), Some(minus), Some(constant), false)
        }
        Two::Values(_) => Err("it is the difference of two values".into()),
    }
}

pub(super) fn div(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    if sizes::of_two(t, node, i64::checked_div)? {
        return Ok(());
    }
    match two(t, node)? {
        Two::Constant(id, axes, constant, false) => {
            if constant.values.contains(&0.0) {
                return Err("it divides by 0".into());
            }
            let inverse = changed(&constant, "reciprocal", |x| 1.0 / x);
            affine(t, node, (id, axes), Some(inverse), None, false)
        }
        _ => Err("it divides by a value".into()),
    }
}

pub(super) fn mul(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    if sizes::of_two(t, node, i64::checked_mul)? {
        return Ok(());
    }
    let values = match two(t, node)? {
        Two::Constant(id, axes, constant, _) => {
            return affine(t, node, (id, axes), Some(constant), None, true);
        }
        Two::Values(values) => values,
    };
    let [first, second] = values;
    let is_gate = |gate: &(ValueId, Axes), map: &(ValueId, Axes)| {
        let (own, of) = (t.builder.shape(gate.0), t.builder.shape(map.0));
        let places = (gate.1.channel_axis(own), map.1.channel_axis(of));
        let elements = gate.1.rank() == map.1.rank() && gate.1.elements() == own.channels;
        own != of
            && own.channels == of.channels
            && elements
            && places.0.is_some()
            && places.0 == places.1
    };
    let gated = match (is_gate(&second, &first), is_gate(&first, &second)) {
        (true, _) => Some([&first, &second]),
        (_, true) => Some([&second, &first]),
        _ => None,
    };
    if let Some([(map, axes), (gate, _)]) = gated {
        let (shape, axes) = (t.builder.shape(*map), axes.clone());
        let id = t.push(Product, &[*map, *gate], shape)?;
        return t.set(node, Symbol::Value(id, axes));
    }
    let (ids, shape, axes) = alike(t, [first, second])?;
    let id = t.push(Product, &ids, shape)?;
    t.set(node, Symbol::Value(id, axes))
}

/// Two values of one shape that lie alike in memory.
fn alike(
    t: &mut Translator<'_>,
    values: [(ValueId, Axes); 2],
) -> Read<([ValueId; 2], MapShape, Axes)> {
    let [(first, axes), (second, others)] = values;
    let (own, other) = (axes.sizes(), others.sizes());
    if own != other {
        return Err(format!("it combines [batch, {own:?}] and [batch, {other:?}]").into());
    }
    let shape = t.builder.shape(first);
    if axes == others && t.builder.shape(second) == shape {
        return Ok(([first, second], shape, axes));
    }
    let ids = [t.in_order(first, &axes)?, t.in_order(second, &others)?];
    Ok((ids, t.builder.shape(ids[0]), Axes::plain(&own)))
}
