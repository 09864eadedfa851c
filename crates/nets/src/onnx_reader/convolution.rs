//! `Conv` and `Pad`.

use super::axes::Axes;
use super::model::OnnxNode;
use super::symbol::{Read, Symbol};
use super::translator::Translator;
use crate::op::conv2d::Conv2d;
use crate::op::pad::Pad;
use crate::parameter::{Init, ValueId};
use crate::shape::{ConvWindow, MapShape};

/// Widest border on one side.
const MOST_PADDING: usize = 1 << 12;

/// Longest side of a window, and widest step.
const MOST_SIZE: usize = 1 << 12;

/// Rows and columns of an attribute of windows, at least 1 each.
pub(super) fn pair(node: &OnnxNode, name: &str, default: [usize; 2]) -> Read<[usize; 2]> {
    let Some(values) = node.integers(name) else { return Ok(default) };
    let sizes: Vec<usize> = values
        .iter()
        .filter_map(|&n| usize::try_from(n).ok().filter(|n| (1..=MOST_SIZE).contains(n)))
        .collect();
    match (sizes.as_slice(), values.len()) {
        (&[rows, columns], 2) => Ok([rows, columns]),
        _ => Err(format!("`{name}` is {values:?}, rows and columns are expected").into()),
    }
}

/// Rows above and columns to the left, rows below and columns to the right, of a window that spans
/// `span` positions.
pub(super) fn borders(
    node: &OnnxNode,
    shape: MapShape,
    span: [usize; 2],
    stride: [usize; 2],
) -> Read<[[usize; 2]; 2]> {
    let auto = node.text("auto_pad").unwrap_or("NOTSET");
    if let "SAME_UPPER" | "SAME_LOWER" = auto {
        let sizes = [shape.height, shape.width];
        let all = [0, 1].map(|axis| {
            let outputs = sizes[axis].div_ceil(stride[axis]);
            ((outputs - 1) * stride[axis] + span[axis]).saturating_sub(sizes[axis])
        });
        let less = all.map(|all| all / 2);
        let more = [0, 1].map(|axis| all[axis] - less[axis]);
        return Ok(if auto == "SAME_UPPER" { [less, more] } else { [more, less] });
    }
    let pads = node.integers("pads").filter(|_| auto == "NOTSET").unwrap_or(&[0; 4]);
    let widths: Vec<usize> = pads.iter().filter_map(|&n| usize::try_from(n).ok()).collect();
    match widths.as_slice() {
        &[top, left, bottom, right] if widths.iter().all(|&width| width <= MOST_PADDING) => {
            Ok([[top, left], [bottom, right]])
        }
        _ => Err(format!("`pads` is {pads:?}").into()),
    }
}

impl Translator<'_> {
    /// A map with a border of its own width on each side; the map itself where there is none.
    pub(super) fn bordered(
        &mut self,
        id: ValueId,
        [before, after]: [[usize; 2]; 2],
        value: f32,
    ) -> Read<ValueId> {
        if [before, after] == [[0; 2]; 2] {
            return Ok(id);
        }
        let shape = self.builder.shape(id);
        let shape = MapShape {
            height: before[0] + shape.height + after[0],
            width: before[1] + shape.width + after[1],
            ..shape
        };
        self.push(Pad { before, after, value }, &[id], shape)
    }
}

pub(super) fn conv(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let mut id = t.map(t.input(node, 0)?)?;
    let weight = t.constant(t.input(node, 1)?)?;
    let bias = node.input(2).map(|name| t.constant(name)).transpose()?;
    let &[own_outputs, each, rows, columns] = weight.shape.as_slice() else {
        let shape = &weight.shape;
        return Err(format!(
            "its weight is {shape:?}, [outputs, inputs, rows, columns] is expected"
        )
        .into());
    };
    if weight.values.is_empty() || rows.max(columns) > MOST_SIZE {
        return Err(format!("its weight is {:?}", weight.shape).into());
    }
    let groups = usize::try_from(node.integer("group", 1)).unwrap_or(0);
    let outputs = t.new_outputs(own_outputs).unwrap_or(own_outputs);
    let shape = t.builder.shape(id);
    let divides = groups > 0
        && outputs.is_multiple_of(groups)
        && each.checked_mul(groups) == Some(shape.channels);
    if !divides {
        return Err(format!(
            "a weight {:?} in {groups} groups does not fit {} channels",
            weight.shape, shape.channels
        )
        .into());
    }
    let stride = pair(node, "strides", [1; 2])?;
    let dilation = pair(node, "dilations", [1; 2])?;
    let mut window = ConvWindow { kernel: [rows, columns], stride, padding: [0; 2], dilation };
    let [before, after] = borders(node, shape, window.span(), stride)?;
    // What all sides have in common the convolution does itself.
    window.padding = [0, 1].map(|axis| before[axis].min(after[axis]));
    let rest = [before, after].map(|side| [0, 1].map(|axis| side[axis] - window.padding[axis]));
    id = t.bordered(id, rest, 0.0)?;
    let shape = t.builder.shape(id);
    let to = [0, 1].map(|axis| {
        let size = [shape.height, shape.width][axis] + 2 * window.padding[axis];
        Some(size.checked_sub(window.span()[axis])? / stride[axis] + 1)
    });
    let [Some(height), Some(width)] = to else {
        return Err(format!("an input of {shape} is too small for it").into());
    };
    let new = outputs != own_outputs;
    let initial = match new {
        true => Init::UniformFanIn { fan_in: each * rows * columns },
        false => Init::KaimingNormalFanOut { fan_out: outputs * rows * columns },
    };
    let values = (!new).then(|| weight.values.to_vec());
    let weight_id = t.parameter(&weight.name, vec![outputs, each, rows, columns], initial, values);
    let bias = match bias {
        None => None,
        Some(bias) if bias.values.len() == own_outputs => {
            let values = (!new).then(|| bias.values.to_vec());
            Some(t.parameter(&bias.name, vec![outputs], Init::Zeros, values))
        }
        Some(bias) => {
            return Err(format!("its bias `{}` has {} values", bias.name, bias.values.len()).into());
        }
    };
    let shape = MapShape::new(outputs, height, width);
    // A shortcut that is added to it alone.
    let residual = t.residual(node.outputs.first().map_or("", String::as_str), shape);
    let op = Conv2d { weight: weight_id, bias, window, groups, residual: residual.is_some() };
    let Some((sum, other)) = residual.filter(|(_, other)| *other != id) else {
        let id = t.push(Conv2d { residual: false, ..op }, &[id], shape)?;
        return t.set_map(node, id);
    };
    let id = t.push(op, &[id, other], shape)?;
    t.take(sum);
    t.set_map(&t.model.nodes[sum], id)
}

pub(super) fn pad(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let (id, axes) = t.value(t.input(node, 0)?)?;
    let shape = t.builder.shape(id);
    let is_last = axes.rank() == 3 && !axes.is_plain() && axes == Axes::map(shape).channels_last();
    let id = if is_last { id } else { t.map(t.input(node, 0)?)? };
    if let Some(mode) = node.text("mode").filter(|&mode| mode != "constant") {
        return Err(format!("its mode is `{mode}`, `constant` is read").into());
    }
    if node.input(3).is_some() {
        return Err("it names its axes, all of them are expected".into());
    }
    let value = node.input(2).map(|name| t.constant(name)).transpose()?;
    let value = value.and_then(|value| value.scalar()).unwrap_or(0.0);
    let widths = t.known(t.input(node, 1)?)?;
    let widths: Vec<usize> = widths.iter().filter_map(|&n| usize::try_from(n).ok()).collect();
    let small = widths.iter().all(|&width| width <= MOST_PADDING);
    let sides = match (widths.as_slice(), is_last) {
        (&[0, 0, top, left, 0, 0, bottom, right], false)
        | (&[0, top, left, 0, 0, bottom, right, 0], true) => Some([[top, left], [bottom, right]]),
        _ => None,
    };
    let sides = sides.ok_or("it pads other sides than those of the image, or cuts")?;
    if !small || !value.is_finite() {
        return Err(format!("it pads {widths:?} with {value}").into());
    }
    let id = t.bordered(id, sides, value)?;
    let axes = Axes::map(t.builder.shape(id));
    t.set(node, Symbol::Value(id, if is_last { axes.channels_last() } else { axes }))
}
