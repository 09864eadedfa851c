//! The values and gradients of a training step that are maps of bfloat16: their memory.

use std::sync::{Mutex, OnceLock};

use faculty_kernels::bf16::Maps;
use faculty_kernels::bf16::elementwise::affine;

use crate::parameter::ValueId;

/// Their memory, kept between steps.
#[derive(Debug, Default)]
pub(super) struct MapsMemory {
    /// For each value; none where it is there as planes only.
    pub(super) values: Vec<Maps>,
    pub(super) gradients: Vec<Option<Maps>>,
    /// To be taken again.
    pub(super) spare: Vec<Maps>,
    /// Planes of values that were asked for.
    read: Vec<OnceLock<Vec<f32>>>,
    spare_planes: Mutex<Vec<Vec<f32>>>,
}

impl MapsMemory {
    /// Makes ready for a forward pass of a graph of `nodes` nodes.
    pub(super) fn begin(&mut self, nodes: usize) {
        self.values.resize_with(nodes, Maps::new);
        self.spare.extend(self.gradients.iter_mut().filter_map(Option::take));
        self.gradients.resize_with(nodes, || None);
        self.read.resize_with(nodes, OnceLock::new);
        let spare = self.spare_planes.get_mut().expect("nothing panics that holds it");
        spare.extend(self.read.iter_mut().filter_map(OnceLock::take));
    }

    /// The value `id` as planes.
    pub(super) fn planes(&self, id: ValueId) -> &[f32] {
        self.read[id.0].get_or_init(|| {
            let maps = &self.values[id.0];
            let spare = self.spare_planes.lock().expect("nothing panics that holds it").pop();
            let mut planes = spare.unwrap_or_default();
            planes.resize(maps.sizes().iter().product(), 0.0);
            maps.read(&mut planes);
            planes
        })
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let gradients = self.gradients.iter().flatten();
        let maps = self.values.iter().chain(gradients).chain(&self.spare);
        let read = self.read.iter().filter_map(OnceLock::get).map(|planes| 4 * planes.capacity());
        maps.map(Maps::bytes).sum::<usize>() + read.sum::<usize>()
    }

    pub(super) fn take(&mut self) -> Maps {
        self.spare.pop().unwrap_or_default()
    }

    /// Adds a gradient by value `id`.
    pub(super) fn add(&mut self, id: ValueId, gradient: Maps) {
        let sum = match self.gradients[id.0].take() {
            None => gradient,
            Some(there) => {
                let mut sum = self.take();
                affine(&there, None, Some(&gradient), false, &mut sum);
                self.spare.extend([there, gradient]);
                sum
            }
        };
        self.gradients[id.0] = Some(sum);
    }
}
