//! One step of an inference plan.

use crate::graph::{Graph, Node};
use crate::op::{FrozenOp, Site};
use crate::parameter::ValueId;
use crate::shape::BatchSize;

/// One operation, perhaps with others folded in; `node` is the value it makes, `held` where that lies
/// before its activation if it is to stay.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) node: usize,
    pub(super) held: Option<usize>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) op: Box<dyn FrozenOp>,
}

impl Step {
    /// Shapes around it.
    pub(crate) fn site(&self, graph: &Graph, size: BatchSize) -> Site {
        let inputs = self.inputs.iter().map(|&id| graph.shape(id));
        let Node { shape, per, .. } = graph.nodes[self.node];
        Site::new(size.rows(per), inputs, shape, per)
    }
}
