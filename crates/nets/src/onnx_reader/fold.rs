//! Small tensors that are known while the file is read, computed node by node: exporters write the
//! padding of `F.pad` and of TensorFlow's `SAME` as such a computation on the sizes of a value.
//!
//! ```text
//! Shape -> Gather -> Cast -> Div -> Ceil -> Sub -> Mul -> … -> Clip -> Cast -> Concat -> Pad
//! ConstantOfShape -> Concat -> Reshape [-1, 2] -> Slice, backward -> Transpose -> Reshape [-1] -> Pad
//! ```
//! What depends on the size of the batch is not known here, and left to the operators themselves.

use std::sync::Arc;

use super::known::{Known, MOST};
use super::model::{Data, OnnxNode};
use super::symbol::{Constant, Symbol};
use super::translator::Translator;

/// What a name stands for, if that is known; and whether it was computed or is a whole number,
/// not just a constant of one float.
fn known(t: &Translator<'_>, name: &str) -> Option<(Known, bool)> {
    if let Some(known) = t.known.get(name) {
        return Some((known.clone(), true));
    }
    if let Some(tensor) = t.model.constants.get(name)
        && let Some(known) = Known::of_tensor(tensor)
    {
        return Some((known, true));
    }
    match t.symbols.get(name)? {
        Symbol::Numbers(numbers) if numbers.len() <= MOST => {
            let values: Option<Vec<f64>> =
                numbers.iter().map(|number| number.map(|number| number as f64)).collect();
            Some((Known::new(vec![numbers.len()], values?, true)?, true))
        }
        Symbol::Constant(constant) => {
            let number = f64::from(constant.scalar()?);
            Some((Known::new(Vec::new(), vec![number], false)?, false))
        }
        _ => None,
    }
}

/// Computes a node of known tensors and says what its output is; `false` where it is none.
pub(super) fn fold(t: &mut Translator<'_>, node: &OnnxNode) -> bool {
    let Some(output) = node.outputs.first() else { return false };
    if node.kind == "Constant" {
        let known = node.constant().and_then(|tensor| Known::of_tensor(&tensor));
        t.known.extend(known.map(|known| (output.clone(), known)));
        // A constant is read as such too.
        return false;
    }
    let mut inputs = Vec::with_capacity(node.inputs.len());
    let mut is_computed = false;
    for name in &node.inputs {
        if name.is_empty() {
            inputs.push(None);
            continue;
        }
        let Some((known, computed)) = known(t, name) else { return false };
        is_computed |= computed;
        inputs.push(Some(known));
    }
    if !is_computed {
        return false;
    }
    let Some(known) = computed(node, &inputs) else { return false };
    let symbol = match known.whole_numbers() {
        Some(numbers) => Symbol::Numbers(numbers.into_iter().map(Some).collect()),
        None => Symbol::Constant(Constant {
            name: output.clone(),
            shape: known.shape.clone(),
            values: Arc::new(known.values.iter().map(|&value| value as f32).collect()),
            transposed: false,
        }),
    };
    t.symbols.insert(output.clone(), symbol);
    t.known.insert(output.clone(), known);
    true
}

fn computed(node: &OnnxNode, inputs: &[Option<Known>]) -> Option<Known> {
    let input = |at: usize| inputs.get(at).and_then(Option::as_ref);
    let first = input(0)?;
    match node.kind.as_str() {
        "Cast" => cast(first, node.integer("to", 1)),
        "Add" => pairs(first, input(1)?, |a, b| Some(a + b)),
        "Sub" => pairs(first, input(1)?, |a, b| Some(a - b)),
        "Mul" => pairs(first, input(1)?, |a, b| Some(a * b)),
        "Div" => {
            let cut = first.whole && input(1)?.whole;
            let quotient = |a: f64, b: f64| if cut { (a / b).trunc() } else { a / b };
            pairs(first, input(1)?, |a, b| (b != 0.0).then(|| quotient(a, b)))
        }
        // The sign is that of the divisor.
        "Mod" if node.integer("fmod", 0) == 0 => {
            let rest = |a: f64, b: f64| a - b * (a / b).floor();
            pairs(first, input(1)?, |a, b| (b != 0.0).then(|| rest(a, b)))
        }
        "Max" => pairs(first, input(1)?, |a, b| Some(a.max(b))),
        "Min" => pairs(first, input(1)?, |a, b| Some(a.min(b))),
        "Ceil" => Some(first.mapped(f64::ceil)),
        "Floor" => Some(first.mapped(f64::floor)),
        "Neg" => Some(first.mapped(|x| -x)),
        "Clip" => {
            let bound = |at: usize, none: f64| input(at).map_or(Some(none), single);
            let (low, high) = (bound(1, f64::MIN)?, bound(2, f64::MAX)?);
            Some(first.mapped(|x| x.max(low).min(high)))
        }
        "Reshape" => reshaped(first, &input(1)?.whole_numbers()?),
        "Transpose" => transposed(first, node.integers("perm")),
        "Shape" => {
            let sizes: Vec<f64> = first.shape.iter().map(|&size| size as f64).collect();
            Known::new(vec![sizes.len()], sizes, true)
        }
        "Identity" => Some(first.clone()),
        "Squeeze" => Known::new(
            first.shape.iter().copied().filter(|&size| size != 1).collect(),
            first.values.clone(),
            first.whole,
        ),
        "Unsqueeze" => {
            let axes = match (node.integers("axes"), input(1)) {
                (Some(axes), _) => axes.to_vec(),
                (None, own) => own?.whole_numbers()?,
            };
            unsqueezed(first, &axes)
        }
        "Gather" => picked(first, input(1)?, node.integer("axis", 0)),
        "Slice" => sliced(first, &inputs[1..]),
        "Concat" => joined(inputs, node.integer("axis", 0)),
        "ConstantOfShape" => filled(first, node),
        _ => None,
    }
}

fn single(known: &Known) -> Option<f64> {
    match known.values[..] {
        [value] => Some(value),
        _ => None,
    }
}

fn cast(known: &Known, to: i64) -> Option<Known> {
    const FLOATS: [i64; 4] = [1, 10, 11, 16];
    const WHOLE: [i64; 2] = [6, 7];
    match to {
        to if FLOATS.contains(&to) => Some(Known { whole: false, ..known.clone() }),
        to if WHOLE.contains(&to) => Some(Known { whole: true, ..known.mapped(f64::trunc) }),
        _ => None,
    }
}

/// Number by number, of tensors of one shape, or of one and a single number.
fn pairs(a: &Known, b: &Known, compute: impl Fn(f64, f64) -> Option<f64>) -> Option<Known> {
    let shape = match (a.values.len(), b.values.len()) {
        (_, 1) => a.shape.clone(),
        (1, _) => b.shape.clone(),
        _ if a.shape == b.shape => a.shape.clone(),
        _ => return None,
    };
    let at = |own: &Known, at: usize| own.values.get(at).or(own.values.first()).copied();
    let count = if b.values.len() == 1 { a.values.len() } else { b.values.len() };
    let values: Option<Vec<f64>> =
        (0..count).map(|i| compute(at(a, i)?, at(b, i)?).filter(|x| x.is_finite())).collect();
    Known::new(shape, values?, a.whole && b.whole)
}

fn reshaped(known: &Known, sizes: &[i64]) -> Option<Known> {
    let mut shape = Vec::with_capacity(sizes.len());
    for (at, &size) in sizes.iter().enumerate() {
        shape.push(match size {
            0 => *known.shape.get(at)?,
            -1 => 1,
            size => usize::try_from(size).ok()?,
        });
    }
    if let Some(open) = sizes.iter().position(|&size| size == -1) {
        let rest = shape.iter().try_fold(1_usize, |all, &size| all.checked_mul(size))?;
        shape[open] = known.values.len().checked_div(rest)?;
    }
    Known::new(shape, known.values.clone(), known.whole)
}

fn transposed(known: &Known, order: Option<&[i64]>) -> Option<Known> {
    let &[rows, columns] = known.shape.as_slice() else { return None };
    if order.is_some_and(|order| order != [1, 0]) {
        return None;
    }
    let values = (0..columns).flat_map(|j| (0..rows).map(move |i| i * columns + j));
    let values = values.map(|at| known.values[at]).collect();
    Known::new(vec![columns, rows], values, known.whole)
}

/// With an axis of size 1; a single number is a vector of one then.
fn unsqueezed(known: &Known, axes: &[i64]) -> Option<Known> {
    let rank = known.shape.len() as i64 + 1;
    let &[axis] = axes else { return None };
    if known.values.len() == 1 {
        return Known::new(vec![1], known.values.clone(), known.whole);
    }
    let at = usize::try_from(if axis < 0 { axis + rank } else { axis }).ok()?;
    let mut shape = known.shape.clone();
    (at <= shape.len()).then(|| shape.insert(at, 1))?;
    Known::new(shape, known.values.clone(), known.whole)
}

/// Numbers of a vector by their places.
fn picked(known: &Known, places: &Known, axis: i64) -> Option<Known> {
    let length = known.values.len() as i64;
    if known.shape.len() > 1 || !matches!(axis, 0 | -1) {
        return None;
    }
    let at = |place: i64| if place < 0 { place + length } else { place };
    let values = places
        .whole_numbers()?
        .into_iter()
        .map(|place| known.values.get(usize::try_from(at(place)).ok()?).copied());
    Known::new(places.shape.clone(), values.collect::<Option<_>>()?, known.whole)
}

/// A part along one axis, perhaps backward.
fn sliced(known: &Known, rest: &[Option<Known>]) -> Option<Known> {
    let number = |at: usize| {
        let own = rest.get(at).and_then(Option::as_ref)?;
        single(own).filter(|_| own.whole).map(|value| value as i64)
    };
    let (start, end) = (number(0)?, number(1)?);
    let rank = known.shape.len() as i64;
    let (axis, step) = (number(2).unwrap_or(0), number(3).unwrap_or(1));
    let axis = usize::try_from(if axis < 0 { axis + rank } else { axis }).ok()?;
    let size = *known.shape.get(axis)? as i64;
    let from_start = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
    let (start, end) = (from_start(start), from_start(end));
    let places: Vec<usize> = match step {
        0 => return None,
        1.. => {
            let (start, end) = (start.clamp(0, size), end.clamp(0, size));
            (start..end).step_by(usize::try_from(step).ok()?).map(|at| at as usize).collect()
        }
        _ => {
            let (start, end) = (start.clamp(-1, size - 1), end.clamp(-1, size - 1));
            let back = usize::try_from(step.checked_neg()?).ok()?;
            (end + 1..=start).rev().step_by(back).map(|at| at as usize).collect()
        }
    };
    let inner: usize = known.shape[axis + 1..].iter().product();
    let outer: usize = known.shape[..axis].iter().product();
    let size = size as usize;
    let mut values = Vec::new();
    for before in 0..outer {
        for &at in &places {
            let from = (before * size + at) * inner;
            values.extend_from_slice(&known.values[from..from + inner]);
        }
    }
    let mut shape = known.shape.clone();
    shape[axis] = places.len();
    Known::new(shape, values, known.whole)
}

/// Vectors behind one another.
fn joined(inputs: &[Option<Known>], axis: i64) -> Option<Known> {
    let mut values = Vec::new();
    let mut whole = true;
    for input in inputs {
        let own = input.as_ref().filter(|own| own.shape.len() <= 1 && matches!(axis, 0 | -1))?;
        values.extend_from_slice(&own.values);
        whole &= own.whole;
    }
    Known::new(vec![values.len()], values, whole)
}

fn filled(sizes: &Known, node: &OnnxNode) -> Option<Known> {
    let shape: Option<Vec<usize>> =
        sizes.whole_numbers()?.into_iter().map(|size| usize::try_from(size).ok()).collect();
    let shape = shape?;
    let length = shape.iter().try_fold(1_usize, |all, &size| all.checked_mul(size))?;
    if length > MOST {
        return None;
    }
    let (value, whole) = match node.constant().map(|tensor| tensor.data) {
        Some(Data::Integers(values)) => (*values.first()? as f64, true),
        Some(Data::Floats(values)) => (f64::from(*values.first()?), false),
        None => (0.0, false),
    };
    Known::new(shape, vec![value; length], whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(shape: &[usize], values: &[i32]) -> Known {
        let values = values.iter().map(|&value| f64::from(value)).collect();
        Known::new(shape.to_vec(), values, true).unwrap()
    }

    #[test]
    fn paddings_are_turned_round_as_exporters_write_it() {
        // left, right, top, bottom, and zeros for the axes in front
        let pads = whole(&[8], &[1, 2, 3, 4, 0, 0, 0, 0]);
        let rows = reshaped(&pads, &[-1, 2]).unwrap();
        assert_eq!(rows.shape, [4, 2]);
        let one = |value: i32| Some(whole(&[1], &[value]));
        let least = whole(&[1], &[0]).mapped(|_| -9e18);
        let back = sliced(&rows, &[one(-1), Some(least), one(0), one(-1)]).unwrap();
        assert_eq!(back, whole(&[4, 2], &[0, 0, 0, 0, 3, 4, 1, 2]));
        let turned = transposed(&back, Some(&[1, 0])).unwrap();
        let flat = reshaped(&turned, &[-1]).unwrap();
        assert_eq!(flat, whole(&[8], &[0, 0, 3, 1, 0, 0, 4, 2]));
    }

    #[test]
    fn numbers_keep_their_types() {
        let (seven, two) = (whole(&[], &[7]), whole(&[], &[2]));
        let divide = |a: &Known, b: &Known| {
            let cut = a.whole && b.whole;
            pairs(a, b, |a, b| Some(if cut { (a / b).trunc() } else { a / b })).unwrap()
        };
        assert_eq!(divide(&seven, &two), whole(&[], &[3]));
        let half = divide(&cast(&seven, 1).unwrap(), &two);
        assert_eq!((half.values[0], half.whole), (3.5, false));
        assert_eq!(cast(&half.mapped(f64::ceil), 7).unwrap(), whole(&[], &[4]));
        assert!(cast(&seven, 9).is_none());
        assert!(pairs(&whole(&[2], &[1, 2]), &whole(&[3], &[1, 2, 3]), |a, _| Some(a)).is_none());
        assert_eq!(unsqueezed(&seven, &[0]), Some(whole(&[1], &[7])));
        let row = whole(&[3], &[4, 5, 6]);
        assert_eq!(unsqueezed(&row, &[-1]), Some(whole(&[3, 1], &[4, 5, 6])));
        assert_eq!(picked(&row, &whole(&[], &[-1]), 0), Some(whole(&[], &[6])));
        assert!(picked(&row, &whole(&[], &[3]), 0).is_none() && unsqueezed(&row, &[5]).is_none());
        assert!(reshaped(&seven, &[2]).is_none() && reshaped(&seven, &[0]).is_none());
    }

    #[test]
    fn parts_are_cut_along_one_axis() {
        let own = whole(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        let one = |value: i32| Some(whole(&[1], &[value]));
        let part = sliced(&own, &[one(1), one(3), one(1)]).unwrap();
        assert_eq!(part, whole(&[2, 2], &[2, 3, 5, 6]));
        let none = sliced(&own, &[one(2), one(1), one(-1)]).unwrap();
        assert_eq!(none, whole(&[2, 0], &[]));
        assert!(sliced(&own, &[one(0), one(1), one(2)]).is_none());
        assert!(sliced(&own, &[one(0), one(1), one(0), one(0)]).is_none());
    }
}
