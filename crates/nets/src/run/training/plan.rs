//! Which memory a training step needs, and when.
//!
//! The forward pass of node `i` is step `i`, its backward pass step `2 n - i`; losses work at step
//! `n`. A value that the backward pass does not read (a projected shortcut before it is added, say)
//! is overwritten as soon as the forward pass is through with it.

use std::ops::Range;
use std::sync::Arc;

use crate::graph::{Graph, Node, ONE};
use crate::parameter::ValueId;
use crate::run::memory::{MemoryPlan, Span};
use crate::shape::{BatchSize, Per};

/// In which form each value of a step is there: as planes of `f32`, as maps of bfloat16, or both. A
/// gradient has the form of what made its value.
#[derive(Debug)]
pub(super) struct Forms {
    /// Nodes that run between maps.
    pub(super) runs: Vec<bool>,
    /// Values that are there as maps.
    pub(super) maps: Vec<bool>,
    /// Values that are there as planes.
    pub(super) planes: Vec<bool>,
    /// Values whose gradient comes in planes from a reader.
    gradient_planes: Vec<bool>,
}

impl Forms {
    /// Of `graph`, between maps where an operation can.
    pub(super) fn new(graph: &Graph, on_maps: bool) -> Self {
        let runs: Vec<bool> = (0..graph.nodes.len())
            .map(|node| {
                on_maps
                    && graph.nodes[node].per == Per::Sample
                    && graph.nodes[node].op.on_maps(&graph.site(node, ONE)).is_some()
            })
            .collect();
        let (mut maps, mut planes) = (runs.clone(), vec![false; runs.len()]);
        let mut gradient_planes = vec![false; runs.len()];
        for (index, node) in graph.nodes.iter().enumerate() {
            planes[index] |= !runs[index];
            gradient_planes[index] |= !runs[index];
            for input in &node.inputs {
                match runs[index] {
                    true => maps[input.0] = true,
                    false => (planes[input.0], gradient_planes[input.0]) = (true, true),
                }
            }
        }
        Self { runs, maps, planes, gradient_planes }
    }

    /// Whether any operation runs between maps.
    pub(super) fn any(&self) -> bool {
        self.runs.contains(&true)
    }
}

/// The memory plan of one graph.
#[derive(Debug)]
pub(super) struct StepPlan {
    pub(super) graph: Arc<Graph>,
    pub(super) forms: Forms,
    memory: MemoryPlan,
    /// Per node and input: the part for a gradient that is added to one that is there already.
    more: Vec<[Option<usize>; 2]>,
    /// Values that losses read.
    kept: Vec<bool>,
}

impl StepPlan {
    /// For planes only, or for maps of bfloat16 where an operation runs between them.
    pub(super) fn new(graph: &Arc<Graph>, on_maps: bool) -> Self {
        let forms = Forms::new(graph, on_maps);
        let count = graph.nodes.len();
        let span = |is_there: bool, value: usize, first, last| {
            let Node { shape, per, .. } = &graph.nodes[value];
            Span { len: if is_there { shape.elements() } else { 0 }, per: *per, first, last }
        };
        let back = |node: usize| 2 * count - node;
        let mut kept = vec![false; count];
        graph.readable().into_iter().for_each(|id| kept[id.0] = true);

        let mut values: Vec<Span> = (0..count).map(|i| span(forms.planes[i], i, i, i)).collect();
        // The first gradient by a value comes from its last reader.
        let mut gradients: Vec<Span> =
            (0..count).map(|i| span(forms.gradient_planes[i], i, back(i), back(i))).collect();
        let mut last_reader = vec![0; count];
        for (index, node) in graph.nodes.iter().enumerate() {
            for (which, input) in node.inputs.iter().enumerate() {
                let read_back = which == 0 && node.op.reads_back().input;
                let until = if read_back { back(index) } else { index };
                values[input.0].last = values[input.0].last.max(until);
                gradients[input.0].first = gradients[input.0].first.min(back(index));
                last_reader[input.0] = index;
            }
            if node.op.reads_back().output {
                values[index].last = values[index].last.max(back(index));
            }
            if kept[index] {
                values[index].last = 2 * count;
            }
        }
        let mut spans = values;
        spans.append(&mut gradients);
        let mut more = vec![[None; 2]; count];
        for (index, node) in graph.nodes.iter().enumerate() {
            for (which, input) in node.inputs.iter().enumerate() {
                if last_reader[input.0] > index {
                    more[index][which] = Some(spans.len());
                    let is_there = forms.gradient_planes[input.0];
                    spans.push(span(is_there, input.0, back(index), back(index)));
                }
            }
        }
        Self { graph: graph.clone(), forms, memory: MemoryPlan::new(&spans), more, kept }
    }

    /// Floats of a step at a batch size.
    pub(super) fn floats(&self, size: BatchSize) -> usize {
        self.memory.floats(size)
    }

    /// Whether losses may read a value.
    pub(super) fn keeps(&self, id: ValueId) -> bool {
        self.kept[id.0]
    }

    pub(super) fn value(&self, id: ValueId, size: BatchSize) -> Range<usize> {
        self.memory.range(id.0, size)
    }

    /// The gradient by a value.
    pub(super) fn gradient(&self, id: ValueId, size: BatchSize) -> Range<usize> {
        self.memory.range(self.graph.nodes.len() + id.0, size)
    }

    /// Memory for a node's gradient by its input number `which` when that has a gradient already.
    pub(super) fn more(&self, node: usize, which: usize, size: BatchSize) -> Range<usize> {
        let part = self.more[node][which].expect("a gradient is there only after a later reader");
        self.memory.range(part, size)
    }
}
