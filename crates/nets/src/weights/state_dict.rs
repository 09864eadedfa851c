//! Tensors by name.

use std::collections::BTreeMap;

/// Values of one tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// `shape.product()` values.
    pub values: Vec<f32>,
}

/// Tensors by PyTorch name, sorted, so that equal networks give equal files.
pub type StateDict = BTreeMap<String, Array>;

/// What PyTorch (the batches that a batch norm has seen) and thop (operations and parameters) count
/// in each module: no weights, and no loss.
pub(super) fn is_counter(name: &str) -> bool {
    const COUNTERS: [&str; 3] = ["num_batches_tracked", "total_ops", "total_params"];
    COUNTERS.contains(&name.rsplit('.').next().unwrap_or_default())
}
