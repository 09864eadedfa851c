//! `MaxPool`, `AveragePool`, `GlobalAveragePool` and `ReduceMean` over positions.

use super::axes::Axes;
use super::convolution::{borders, pair};
use super::model::OnnxNode;
use super::symbol::{Read, Symbol};
use super::translator::Translator;
use crate::op::global_avg_pool::GlobalAvgPool;
use crate::op::pool::{Pool, PoolKind};
use crate::parameter::ValueId;
use crate::shape::{MapShape, Window};

/// A pooling, borders included: the value that it reads, its window, its result.
fn windowed(
    t: &mut Translator<'_>,
    node: &OnnxNode,
    border: Option<f32>,
) -> Read<(ValueId, Window, MapShape)> {
    let mut id = t.map(t.input(node, 0)?)?;
    let shape = t.builder.shape(id);
    let kernel = pair(node, "kernel_shape", [1; 2])?;
    let stride = pair(node, "strides", [1; 2])?;
    if pair(node, "dilations", [1; 2])? != [1; 2] {
        return Err("its windows have gaps (`dilations`)".into());
    }
    let [before, mut after] = borders(node, shape, kernel, stride)?;
    let sizes = [shape.height, shape.width];
    let padded = [0, 1].map(|axis| before[axis] + sizes[axis] + after[axis]);
    if [0, 1].iter().any(|&axis| padded[axis] < kernel[axis]) {
        return Err(format!("an input of {shape} is too small for it").into());
    }
    let mut outputs = [0, 1].map(|axis| (padded[axis] - kernel[axis]) / stride[axis] + 1);
    if node.integer("ceil_mode", 0) != 0 {
        for axis in [0, 1] {
            // One more window where a part of the map is left over, unless it lay beyond the map.
            let next = outputs[axis] * stride[axis];
            if next + kernel[axis] < padded[axis] + stride[axis]
                && next < sizes[axis] + before[axis]
            {
                outputs[axis] += 1;
            }
            let reach = (outputs[axis] - 1) * stride[axis] + kernel[axis];
            after[axis] += reach.saturating_sub(padded[axis]);
        }
    }
    let square = kernel[0] == kernel[1] && stride[0] == stride[1];
    let even = before == after && before[0] == before[1] && 2 * before[0] <= kernel[0];
    if !square {
        return Err(format!(
            "its windows are {kernel:?} in steps of {stride:?}, squares are expected"
        )
        .into());
    }
    let mut padding = before[0];
    if !even {
        let Some(border) = border else {
            return Err("its windows reach beyond the map on some sides more than on others".into());
        };
        id = t.bordered(id, [before, after], border)?;
        padding = 0;
    }
    let window = Window { kernel: kernel[0], stride: stride[0], padding };
    Ok((id, window, MapShape { height: outputs[0], width: outputs[1], ..shape }))
}

pub(super) fn max(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    // Never the largest of a window, each of which reaches into the map.
    let (id, window, shape) = windowed(t, node, Some(f32::MIN))?;
    let id = t.push(Pool { kind: PoolKind::Max, window }, &[id], shape)?;
    t.set_map(node, id)
}

pub(super) fn average(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let map = t.map(t.input(node, 0)?)?;
    let from = t.builder.shape(map);
    let kernel = pair(node, "kernel_shape", [1; 2])?;
    let no_border = node.integers("pads").is_none_or(|pads| pads.iter().all(|&width| width == 0));
    if no_border && kernel == [from.height, from.width] {
        return global_average(t, node);
    }
    if kernel == [1; 2] && no_border && pair(node, "strides", [1; 2])? == [1; 2] {
        return t.set_map(node, map);
    }
    let counts = node.integer("count_include_pad", 0) != 0;
    let border = (counts && node.integer("ceil_mode", 0) == 0).then_some(0.0);
    let (id, window, shape) = windowed(t, node, border)?;
    if !counts && window.padding > 0 {
        return Err("its averages leave the padding out (`count_include_pad` is 0)".into());
    }
    let id = t.push(Pool { kind: PoolKind::Average, window }, &[id], shape)?;
    t.set_map(node, id)
}

pub(super) fn global_average(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let id = t.map(t.input(node, 0)?)?;
    let shape = MapShape::new(t.builder.shape(id).channels, 1, 1);
    let id = t.push(GlobalAvgPool, &[id], shape)?;
    t.set_map(node, id)
}

/// The mean over all positions, however the axes stand.
pub(super) fn reduce_mean(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let (id, axes) = t.value(t.input(node, 0)?)?;
    let over = match (node.input(1), node.integers("axes")) {
        (Some(name), _) => t.known(name)?,
        (None, Some(axes)) => axes.to_vec(),
        (None, None) => return Err("it is the mean of everything".into()),
    };
    let shape = t.builder.shape(id);
    let channels = axes.channel_axis(shape).ok_or("the mean is not one over positions")?;
    let rank = axes.rank() as i64 + 1;
    let mut over: Vec<i64> = over.iter().map(|&n| if n < 0 { n + rank } else { n }).collect();
    over.sort_unstable();
    over.dedup();
    let sizes = axes.sizes();
    let all = (0..sizes.len()).filter(|&axis| axis != channels && sizes[axis] > 1);
    let positions: Vec<i64> = all.map(|axis| axis as i64 + 1).collect();
    let named = over.iter().all(|&n| n > 0 && n < rank && n != channels as i64 + 1);
    if !named || !positions.iter().all(|axis| over.contains(axis)) {
        return Err(format!(
            "it is a mean over axes {over:?} of [batch, {sizes:?}], one over all positions is read"
        )
        .into());
    }
    let id = t.push(GlobalAvgPool, &[id], MapShape::new(shape.channels, 1, 1))?;
    let keep = node.integer("keepdims", 1) != 0;
    let left = (0..sizes.len()).filter(|&axis| keep || !over.contains(&(axis as i64 + 1)));
    let left: Vec<usize> =
        left.map(|axis| if axis == channels { shape.channels } else { 1 }).collect();
    t.set(node, Symbol::Value(id, Axes::plain(&left)))
}
