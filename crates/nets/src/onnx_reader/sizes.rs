//! What is known while the file is read: constants, the sizes of values, and what is computed of them.

use super::model::OnnxNode;
use super::symbol::{Constant, Read, Symbol};
use super::translator::Translator;

/// Most numbers of a vector of sizes.
const MOST: i64 = 64;

pub(super) fn constant(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let tensor = node.constant().ok_or("its value is of a type that is not read")?;
    let name = node.outputs.first().map_or("", String::as_str);
    t.set(node, Symbol::constant(name, &tensor))
}

/// `Identity`, and `Cast` to a type that is the same here. A constant goes by its new name: exporters
/// write equal constants once and name them again.
pub(super) fn same(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let mut symbol = t.symbol(t.input(node, 0)?)?.clone();
    if let (Symbol::Constant(Constant { name, .. }), "Identity", Some(output)) =
        (&mut symbol, node.kind.as_str(), node.outputs.first())
    {
        name.clone_from(output);
    }
    // FLOAT and its shorter and longer kin, for values; whole numbers stay whole.
    const FLOATS: [i64; 4] = [1, 10, 11, 16];
    let to = node.integer("to", 1);
    if node.kind == "Cast" && matches!(symbol, Symbol::Value(..)) && !FLOATS.contains(&to) {
        return Err("it makes whole numbers of a value".into());
    }
    t.set(node, symbol)
}

pub(super) fn shape(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let (_, axes) = t.value(t.input(node, 0)?)?;
    let sizes = axes.sizes().into_iter().map(|size| i64::try_from(size).ok());
    let all: Vec<Option<i64>> = std::iter::once(None).chain(sizes).collect();
    let place = |at: i64| {
        let at = if at < 0 { at + all.len() as i64 } else { at };
        usize::try_from(at).unwrap_or(0).min(all.len())
    };
    let (start, end) =
        (place(node.integer("start", 0)), place(node.integer("end", all.len() as i64)));
    let part = all.get(start..end).unwrap_or_default().to_vec();
    t.set(node, Symbol::Numbers(part))
}

pub(super) fn constant_of_shape(t: &mut Translator<'_>, node: &OnnxNode) -> Read<()> {
    let sizes = t.known(t.input(node, 0)?)?;
    let &[count] = sizes.as_slice() else { return Err("it is no vector".into()) };
    let value = match node.constant().map(|tensor| tensor.data) {
        Some(super::model::Data::Integers(values)) => values.first().copied(),
        _ => None,
    };
    match (value, count) {
        (Some(value), 0..=MOST) => t.set(node, Symbol::Numbers(vec![Some(value); count as usize])),
        _ => Err("it is no short vector of whole numbers".into()),
    }
}

/// A part of known numbers: those at `indices`.
pub(super) fn pick(numbers: &[Option<i64>], indices: &[i64]) -> Read<Vec<Option<i64>>> {
    let at = |&index: &i64| {
        let index = if index < 0 { index + numbers.len() as i64 } else { index };
        usize::try_from(index).ok().and_then(|index| numbers.get(index).copied())
    };
    indices
        .iter()
        .map(|index| at(index).ok_or_else(|| format!("it has no number {index}").into()))
        .collect()
}

/// Computes with two vectors of known numbers, or with one and a number; whether the inputs are such.
pub(super) fn of_two(
    t: &mut Translator<'_>,
    node: &OnnxNode,
    compute: fn(i64, i64) -> Option<i64>,
) -> Read<bool> {
    let symbols = [t.symbol(t.input(node, 0)?)?, t.symbol(t.input(node, 1)?)?];
    let [Symbol::Numbers(left), Symbol::Numbers(right)] = symbols else { return Ok(false) };
    let length = left.len().max(right.len());
    let at = |numbers: &[Option<i64>], at: usize| match numbers {
        [one] => Some(*one),
        all => all.get(at).copied(),
    };
    let mut results = Vec::with_capacity(length);
    for place in 0..length {
        let pair = at(left, place)
            .zip(at(right, place))
            .ok_or("it computes with vectors of two lengths")?;
        let (Some(left), Some(right)) = pair else {
            return Err("it computes with the size of the batch".into());
        };
        results.push(Some(compute(left, right).ok_or("its result is no number")?));
    }
    t.set(node, Symbol::Numbers(results))?;
    Ok(true)
}
