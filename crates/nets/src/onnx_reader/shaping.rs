//! What changes axes or picks channels: `Reshape`, `Transpose`, `Flatten`, `Squeeze`, `Unsqueeze`,
//! `Concat`, `Split`, `Slice`, `Gather`, and `Dropout`.

use super::axes::Axes;
use super::model::OnnxNode;
use super::sizes::pick;
use super::symbol::{Constant, Read, Symbol};
use super::translator::Translator;
use crate::op::channels::Channels;
use crate::op::dropout::Dropout;
use crate::parameter::ValueId;
use crate::shape::MapShape;

/// Axes as whole numbers from 0, the batch counted; `rank` counts it too.
fn from_start(axes: &[i64], rank: usize) -> Read<Vec<usize>> {
    let place = |&axis: &i64| {
        let at = if axis < 0 { axis + rank as i64 } else { axis };
        let at = usize::try_from(at).ok().filter(|&at| at < rank);
        at.ok_or_else(|| format!("there is no axis {axis} of {rank}").into())
    };
    axes.iter().map(place).collect()
}

/// The axes that a node names in an attribute, or since operators 13 by its second input.
fn named_axes(t: &Translator<'_>, node: &OnnxNode) -> Read<Option<Vec<i64>>> {
    match (node.integers("axes"), node.input(1)) {
        (Some(axes), _) => Ok(Some(axes.to_vec())),
        (None, Some(name)) => t.known(name).map(Some),
        (None, None) => Ok(None),
    }
}

pub(super) fn transpose(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let input = t.symbol(t.input(node, 0)?)?.clone();
    let order = node.integers("perm");
    match input {
        Symbol::Value(id, axes) => {
            let order = order.ok_or("it does not say the order of its axes")?;
            let order = from_start(order, axes.rank() + 1)?;
            let Some((0, rest)) = order.split_first().map(|(first, rest)| (*first, rest)) else {
                return Err("it moves the batch".into());
            };
            let rest: Vec<usize> = rest.iter().map(|axis| axis.saturating_sub(1)).collect();
            let axes = axes.transposed(&rest).ok_or("its order names an axis twice")?;
            t.set(node, Symbol::Value(id, axes))
        }
        Symbol::Constant(constant) if constant.shape.len() == 2 => {
            let turned = order.is_none_or(|order| order == [1, 0]);
            let transposed = constant.transposed != turned;
            t.set(node, Symbol::Constant(Constant { transposed, ..constant }))
        }
        _ => Err("it turns a constant that is no matrix".into()),
    }
}

pub(super) fn reshape(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let numbers = t.numbers(t.input(node, 1)?)?;
    let input = t.symbol(t.input(node, 0)?)?.clone();
    match input {
        Symbol::Value(id, axes) => {
            let sizes = target(&axes, &numbers, node.integer("allowzero", 0) != 0)?;
            let shaped = axes.reshaped(&sizes).ok_or_else(|| {
                let own = axes.sizes();
                format!(
                    "[batch, {own:?}] is no [batch, {sizes:?}]: its sizes are perhaps those of images of \
                     another size; export it for images of the data's size"
                )
            })?;
            t.set(node, Symbol::Value(id, shaped))
        }
        Symbol::Constant(constant) => {
            let known: Option<Vec<i64>> = numbers.into_iter().collect();
            t.set(
                node,
                Symbol::Constant(shaped(constant, &known.ok_or("its sizes are not known")?)?),
            )
        }
        other => t.set(node, other),
    }
}

/// The sizes behind the batch that a vector of sizes means for a value.
fn target(axes: &Axes, numbers: &[Option<i64>], zeros_stay: bool) -> Read<Vec<usize>> {
    let own = axes.sizes();
    let (&batch, rest) = numbers.split_first().ok_or("it has no sizes")?;
    let mut open = None;
    let mut sizes = Vec::with_capacity(rest.len());
    for (at, size) in rest.iter().enumerate() {
        let size = match size {
            None => return Err("the batch is not its first axis".into()),
            Some(-1) if open.is_none() => {
                open = Some(at);
                1
            }
            Some(0) if !zeros_stay => *own.get(at).ok_or("a size of 0 stands for no axis")?,
            &Some(size) => usize::try_from(size).map_err(|_| format!("it has a size of {size}"))?,
        };
        sizes.push(size);
    }
    let product = sizes.iter().try_fold(1_usize, |all, &size| all.checked_mul(size));
    let product = product.filter(|&product| product > 0).ok_or("it has a size of 0")?;
    // A batch of -1 is what the other sizes leave; one that is written is that of the export.
    if let Some(at) = open {
        sizes[at] = axes.elements() / product;
    }
    let whole = sizes.iter().product::<usize>() == axes.elements();
    if batch == Some(-1) && !whole {
        return Err(format!("its sizes mix samples: [batch, {own:?}] as {numbers:?}").into());
    }
    Ok(sizes)
}

/// A constant in other sizes of as many numbers; of them only those of a vector matter.
fn shaped(constant: Constant, sizes: &[i64]) -> Read<Constant> {
    let count = constant.values.len();
    let whole = |&size: &i64| usize::try_from(size).ok();
    let product =
        |sizes: &[usize]| sizes.iter().try_fold(1_usize, |all, &size| all.checked_mul(size));
    let given: Vec<usize> = sizes.iter().filter_map(whole).collect();
    let rest = product(&given).filter(|&rest| rest > 0 && count.is_multiple_of(rest));
    let open = rest.map_or(0, |rest| count / rest);
    let shape: Vec<usize> = sizes.iter().map(|size| whole(size).unwrap_or(open)).collect();
    if constant.transposed || product(&shape) != Some(count) {
        return Err(format!("constant `{}` does not have these sizes", constant.name).into());
    }
    Ok(Constant { shape, ..constant })
}

pub(super) fn flatten(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let (id, axes) = t.value(t.input(node, 0)?)?;
    let rank = axes.rank() + 1;
    if from_start(&[node.integer("axis", 1)], rank)? != [1] {
        return Err("it flattens from another axis than the first behind the batch".into());
    }
    let flat = axes.reshaped(&[axes.elements()]).ok_or("it flattens nothing")?;
    t.set(node, Symbol::Value(id, flat))
}

pub(super) fn squeeze(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let named = named_axes(t, node)?;
    let (id, mut axes) = match t.symbol(t.input(node, 0)?)?.clone() {
        Symbol::Value(id, axes) => (id, axes),
        // A vector of one number is that number here.
        Symbol::Numbers(numbers) => return t.set(node, Symbol::Numbers(numbers)),
        Symbol::Constant(constant) => {
            let shape = constant.shape.iter().copied().filter(|&size| size != 1).collect();
            return t.set(node, Symbol::Constant(Constant { shape, ..constant }));
        }
        Symbol::Missing => return Ok(()),
    };
    let sizes = axes.sizes();
    let mut gone = match named {
        Some(named) => from_start(&named, axes.rank() + 1)?,
        None => (1..=sizes.len()).filter(|&axis| sizes[axis - 1] == 1).collect(),
    };
    gone.sort_unstable();
    for axis in gone.into_iter().rev() {
        let without = axis.checked_sub(1).and_then(|axis| axes.without_one(axis));
        axes =
            without.ok_or_else(|| format!("axis {axis} of [batch, {sizes:?}] is not of size 1"))?;
    }
    t.set(node, Symbol::Value(id, axes))
}

pub(super) fn unsqueeze(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let named = named_axes(t, node)?.ok_or("it names no axes")?;
    match t.symbol(t.input(node, 0)?)?.clone() {
        Symbol::Value(id, mut axes) => {
            let mut new = from_start(&named, axes.rank() + 1 + named.len())?;
            new.sort_unstable();
            for axis in new {
                let with = axis.checked_sub(1).and_then(|axis| axes.with_one(axis));
                axes = with.ok_or("it puts an axis in front of the batch")?;
            }
            t.set(node, Symbol::Value(id, axes))
        }
        Symbol::Constant(constant) => {
            let mut shape = constant.shape.clone();
            let mut new = from_start(&named, shape.len() + named.len())?;
            new.sort_unstable();
            new.into_iter().for_each(|axis| shape.insert(axis.min(shape.len()), 1));
            t.set(node, Symbol::Constant(Constant { shape, ..constant }))
        }
        other => t.set(node, other),
    }
}

/// Files that were exported in training mode have it.
pub(super) fn dropout(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let (id, axes) = t.value(t.input(node, 0)?)?;
    let given = node.input(1).map(|name| t.constant(name)).transpose()?;
    let probability = match given {
        Some(constant) => constant.scalar().ok_or("its ratio is no number")?,
        None => node.float("ratio", 0.5),
    };
    if !(0.0..1.0).contains(&probability) {
        return Err(format!("its ratio is {probability}").into());
    }
    let shape = t.builder.shape(id);
    let layer = t.next_dropout();
    let id = t.push(Dropout { probability, layer }, &[id], shape)?;
    t.set(node, Symbol::Value(id, axes))
}

pub(super) fn concat(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let names: Vec<&str> = (0..node.inputs.len()).filter_map(|at| node.input(at)).collect();
    let first = t.symbol(names.first().ok_or("it joins nothing")?)?;
    if matches!(first, Symbol::Numbers(_)) {
        let parts: Read<Vec<_>> = names.iter().map(|name| t.numbers(name)).collect();
        return t.set(node, Symbol::Numbers(parts?.concat()));
    }
    let mut ids: Vec<ValueId> = Vec::with_capacity(names.len());
    let (mut rank, mut last) = (0, None);
    for name in names {
        let (id, axes) = t.value(name)?;
        rank = axes.rank();
        let shape = t.builder.shape(id);
        // With channels last, as they lie first in memory.
        if rank == 3
            && matches!(node.integer("axis", 1), 3 | -1)
            && axes == Axes::map(shape).channels_last()
            && last != Some(false)
        {
            last = Some(true);
            ids.push(id);
            continue;
        }
        if last == Some(true) {
            return Err("it joins maps whose axes are in different orders".into());
        }
        last = Some(false);
        if from_start(&[node.integer("axis", 1)], rank + 1)? != [1] || !matches!(rank, 1 | 3) {
            let (axis, sizes) = (node.integer("axis", 1), axes.sizes());
            return Err(
                format!("it joins axis {axis} of [batch, {sizes:?}], channels are read").into()
            );
        }
        ids.push(t.in_order(id, &axes)?);
    }
    let shapes: Vec<MapShape> = ids.iter().map(|&id| t.builder.shape(id)).collect();
    if shapes.iter().any(|shape| (shape.height, shape.width) != (shapes[0].height, shapes[0].width))
    {
        return Err("it joins maps of different sizes".into());
    }
    // Dense blocks join the same values and one more again and again.
    let mut joined = ids[0];
    for count in 2..=ids.len() {
        let so_far = &ids[..count];
        joined = match t.joined.get(so_far) {
            Some(&known) => known,
            None => {
                let next = so_far[count - 1];
                let (own, other) = (t.builder.shape(joined), t.builder.shape(next));
                let shape = MapShape { channels: own.channels + other.channels, ..own };
                let id = t.push(Channels { groups: 1, start: 0 }, &[joined, next], shape)?;
                t.joined.insert(so_far.to_vec(), id);
                id
            }
        };
    }
    let sizes = t.builder.shape(joined);
    let sizes = [sizes.channels, sizes.height, sizes.width];
    let axes = Axes::plain(&sizes[..rank]);
    let axes = if last == Some(true) { axes.channels_last() } else { axes };
    t.set(node, Symbol::Value(joined, axes))
}

/// The channels from `start` on of a value in order, as that of another name.
fn part(
    t: &mut Translator<'_>,
    (id, rank): (ValueId, usize),
    channels: Channels,
    count: usize,
    name: &str,
) -> Read<()> {
    let shape = MapShape { channels: count, ..t.builder.shape(id) };
    let id = t.push(channels, &[id], shape)?;
    let sizes = [shape.channels, shape.height, shape.width];
    t.set_named(name, Symbol::Value(id, Axes::plain(&sizes[..rank])));
    Ok(())
}

/// A value of which channels are taken.
fn of_channels(t: &mut Translator<'_>, node: &OnnxNode, axis: i64) -> Read<(ValueId, usize)> {
    let (id, axes) = t.value(t.input(node, 0)?)?;
    let rank = axes.rank();
    if from_start(&[axis], rank + 1)? != [1] || !matches!(rank, 1 | 3) {
        let sizes = axes.sizes();
        return Err(format!("it cuts axis {axis} of [batch, {sizes:?}], channels are read").into());
    }
    Ok((t.in_order(id, &axes)?, rank))
}

pub(super) fn split(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let value = of_channels(t, node, node.integer("axis", 0))?;
    let channels = t.builder.shape(value.0).channels;
    let given = match (node.integers("split"), node.input(1)) {
        (Some(sizes), _) => sizes.to_vec(),
        (None, Some(name)) => t.known(name)?,
        (None, None) => {
            let each = channels.div_ceil(node.outputs.len().max(1));
            let size = |at: usize| channels.saturating_sub(at * each).min(each) as i64;
            (0..node.outputs.len()).map(size).collect()
        }
    };
    let sizes: Vec<usize> = given.iter().filter_map(|&size| usize::try_from(size).ok()).collect();
    let all = sizes.iter().try_fold(0_usize, |all, &size| all.checked_add(size));
    if all != Some(channels) || sizes.len() != node.outputs.len() || sizes.contains(&0) {
        return Err(format!("it splits {channels} channels into {given:?}").into());
    }
    let mut start = 0;
    for (name, &size) in node.outputs.iter().zip(&sizes) {
        if !name.is_empty() {
            part(t, value, Channels { groups: 1, start }, size, name)?;
        }
        start += size;
    }
    Ok(())
}

pub(super) fn slice(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let list = |index: usize, attribute: &str| match (node.input(index), node.integers(attribute)) {
        (Some(name), _) => t.known(name).map(Some),
        (None, own) => Ok(own.map(<[i64]>::to_vec)),
    };
    let (starts, ends) = (list(1, "starts")?, list(2, "ends")?);
    let (axes, steps) = (list(3, "axes")?, list(4, "steps")?);
    let (Some([start]), Some([end])) = (starts.as_deref(), ends.as_deref()) else {
        return Err("it cuts several axes, or none".into());
    };
    if steps.is_some_and(|steps| steps != [1]) {
        return Err("it takes every other number".into());
    }
    let axis = axes.and_then(|axes| axes.first().copied()).unwrap_or(0);
    let bounds = |length: usize| {
        let place =
            |at: i64| (if at < 0 { at + length as i64 } else { at }).clamp(0, length as i64);
        place(*start) as usize..place(*end) as usize
    };
    if let Symbol::Numbers(numbers) = t.symbol(t.input(node, 0)?)? {
        let part = numbers.get(bounds(numbers.len())).unwrap_or_default().to_vec();
        return t.set(node, Symbol::Numbers(part));
    }
    let value = of_channels(t, node, axis)?;
    let range = bounds(t.builder.shape(value.0).channels);
    let name = node.outputs.first().ok_or("it has no output")?;
    if range.is_empty() {
        return Err("it takes no channel".into());
    }
    part(t, value, Channels { groups: 1, start: range.start }, range.len(), name)
}

/// Known numbers by their places, or channels in the order of a shuffle.
pub(super) fn gather(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let indices = t.known(t.input(node, 1)?)?;
    let axis = node.integer("axis", 0);
    if let Symbol::Numbers(numbers) = t.symbol(t.input(node, 0)?)? {
        let picked = pick(numbers, &indices)?;
        return t.set(node, Symbol::Numbers(picked));
    }
    let value = of_channels(t, node, axis)?;
    let channels = t.builder.shape(value.0).channels;
    let source = |groups: usize, at: usize| at % groups * (channels / groups) + at / groups;
    let starts = |groups: usize| {
        // Where the first of them lies among the shuffled ones.
        let start =
            (0..channels).find(|&at| Some(&(source(groups, at) as i64)) == indices.first())?;
        let all = indices.iter().enumerate();
        let fits = start + indices.len() <= channels
            && all.into_iter().all(|(at, &index)| source(groups, start + at) as i64 == index);
        fits.then_some(Channels { groups, start })
    };
    let groups = (1..=channels).filter(|groups| channels.is_multiple_of(*groups));
    let picked = groups.into_iter().find_map(starts);
    let picked = picked.ok_or("the order of its channels is no shuffle")?;
    let name = node.outputs.first().ok_or("it has no output")?;
    part(t, value, picked, indices.len(), name)
}
