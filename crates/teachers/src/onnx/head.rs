//! The last linear layer of an ONNX file, and the map in front of it.

use rten_onnx::onnx::GraphProto;

use super::graph::{Index, float, integer, kind};
use faculty_nets::FrozenClassifier;

/// The last linear layer and the map that it seems to see.
pub(super) struct Head {
    pub(super) classifier: FrozenClassifier,
    pub(super) map: Option<String>,
}

impl Head {
    /// Nothing if the logits come from something else. Whether it is right is tried out later.
    pub(super) fn find(graph: &GraphProto, logits: &str) -> Option<Self> {
        let index = Index::new(graph);
        let last = index.producer(logits, &["Identity"])?;
        let (weight, bias, from, transposed) = match kind(last)? {
            "Gemm" => {
                let whole = |name| integer(last, name).unwrap_or(0);
                let one = |name| float(last, name).unwrap_or(1.0) == 1.0;
                if whole("transA") != 0 || !one("alpha") || !one("beta") {
                    return None;
                }
                (last.input.get(1)?, last.input.get(2), last.input.first()?, whole("transB") != 0)
            }
            "MatMul" => (last.input.get(1)?, None, last.input.first()?, false),
            "Add" => {
                let [a, b] = last.input.as_slice() else { return None };
                let (product, bias) = match index.maker(a) {
                    Some(node) if kind(node) == Some("MatMul") => (node, b),
                    _ => (index.maker(b)?, a),
                };
                if kind(product) != Some("MatMul") {
                    return None;
                }
                (product.input.get(1)?, Some(bias), product.input.first()?, false)
            }
            _ => return None,
        };
        let (shape, values) = index.floats(weight)?;
        let &[first, second] = shape.as_slice() else { return None };
        let (classes, channels) = if transposed { (first, second) } else { (second, first) };
        let weight = if transposed {
            values
        } else {
            let row = |class| (0..channels).map(move |channel| channel * classes + class);
            (0..classes).flat_map(row).map(|index| values[index]).collect()
        };
        let bias = match bias.filter(|name| !name.is_empty()) {
            Some(name) => index.floats(name)?.1,
            None => vec![0.0; classes],
        };
        let shaping = ["Identity", "Flatten", "Reshape", "Squeeze"];
        let map = index.producer(from, &shaping).and_then(|node| {
            let pools = ["GlobalAveragePool", "ReduceMean", "AveragePool"];
            pools.contains(&kind(node)?).then(|| node.input.first().cloned())?
        });
        Some(Self { classifier: FrozenClassifier { weight, bias }, map })
    }
}
