//! The part of an inference plan whose values are maps of bfloat16.
//!
//! An operation that has such a form reads and writes maps, all others planes of `f32`; where one kind
//! reads what the other made, the value is there in both forms. What form a value has depends on the
//! graph alone, not on what is kept.

use faculty_kernels::bf16::Maps;
use faculty_kernels::bf16::elementwise::affine;

use super::step::Step;
use crate::graph::{Graph, ONE};
use crate::op::{MapsOp, MapsStep};
use crate::parameter::ValueId;
use crate::shape::{BatchSize, Per};

/// Which steps run between maps, and where these lie.
#[derive(Debug)]
pub(super) struct MapsPlan {
    /// For each step.
    ops: Vec<Option<Box<dyn MapsOp>>>,
    /// Steps whose value is there as planes.
    planes: Vec<bool>,
    /// For each value that is there as maps, its place.
    places: Vec<Option<usize>>,
    maps: Vec<Maps>,
    /// To activate a value.
    spare: Maps,
}

impl MapsPlan {
    pub(super) fn new(graph: &Graph, steps: &[Step], kept: &[ValueId]) -> Self {
        let ops: Vec<_> = steps
            .iter()
            .map(|step| {
                let of_samples = graph.nodes[step.node].per == Per::Sample;
                of_samples.then(|| step.op.on_maps(&step.site(graph, ONE))).flatten()
            })
            .collect();
        // The last step that reads each value as maps.
        let mut last = vec![None; graph.nodes.len()];
        let mut read_as_planes = vec![false; graph.nodes.len()];
        for (position, step) in steps.iter().enumerate() {
            for input in &step.inputs {
                match ops[position] {
                    Some(_) => last[input.0] = Some(position),
                    None => read_as_planes[input.0] = true,
                }
            }
        }
        kept.iter().for_each(|id| read_as_planes[id.0] = true);
        let planes = (steps.iter().zip(&ops))
            .map(|(step, op)| op.is_none() || read_as_planes[step.node])
            .collect();
        let (mut places, mut free, mut count) = (vec![None; graph.nodes.len()], Vec::new(), 0);
        let mut place = |free: &mut Vec<usize>| {
            free.pop().unwrap_or_else(|| {
                count += 1;
                count - 1
            })
        };
        if last[0].is_some() {
            places[0] = Some(place(&mut free));
        }
        for (position, step) in steps.iter().enumerate() {
            // A result may not lie where the step still reads.
            if ops[position].is_some() || last[step.node].is_some() {
                places[step.node] = Some(place(&mut free));
            }
            let ended = (0..=step.node).filter(|&value| last[value] == Some(position));
            free.extend(ended.filter_map(|value| places[value]));
            if last[step.node].is_none() {
                free.extend(places[step.node]);
            }
        }
        let maps = vec![Maps::new(); count];
        Self { ops, planes, places, maps, spare: Maps::new() }
    }

    /// Whether a step runs between maps.
    pub(super) fn runs(&self, position: usize) -> bool {
        self.ops[position].is_some()
    }

    /// Whether the value of a step is there as planes.
    pub(super) fn has_planes(&self, position: usize) -> bool {
        self.planes[position]
    }

    /// Takes over the input where a step reads it as maps.
    pub(super) fn take_input(&mut self, graph: &Graph, input: &[f32], size: BatchSize) {
        self.take(graph, 0, input, size);
    }

    /// Takes over the value of a step that made planes, where another reads it as maps.
    pub(super) fn take_planes(
        &mut self,
        graph: &Graph,
        step: &Step,
        planes: &[f32],
        size: BatchSize,
    ) {
        self.take(graph, step.node, planes, size);
    }

    fn take(&mut self, graph: &Graph, value: usize, planes: &[f32], size: BatchSize) {
        if let Some(place) = self.places[value] {
            let shape = graph.shape(ValueId(value));
            let sizes = [size.samples, shape.channels, shape.height, shape.width];
            self.maps[place].write(sizes, planes);
        }
    }

    fn place(&self, value: usize) -> usize {
        self.places[value].expect("a value that is read as maps has a place")
    }

    /// Runs a step.
    pub(super) fn run(&mut self, position: usize, step: &Step) {
        let op = self.ops[position].as_ref().expect("the step runs between maps");
        let target = self.place(step.node);
        let mut output = std::mem::take(&mut self.maps[target]);
        let maps = |input: &ValueId| &self.maps[self.place(input.0)];
        op.run(MapsStep {
            input: maps(&step.inputs[0]),
            residual: step.inputs.get(1).map(maps),
            activate: step.held.is_none(),
            output: &mut output,
        });
        self.maps[target] = output;
    }

    /// Writes the maps of a value as planes.
    pub(super) fn read(&self, value: usize, planes: &mut [f32]) {
        self.maps[self.place(value)].read(planes);
    }

    /// Applies ReLU to the maps of a value.
    pub(super) fn activate(&mut self, value: usize) {
        let place = self.place(value);
        affine(&self.maps[place], None, None, true, &mut self.spare);
        std::mem::swap(&mut self.maps[place], &mut self.spare);
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.maps.iter().chain([&self.spare]).map(Maps::bytes).sum()
    }
}
