//! What a method remembers from step to step: arrays that its loss reads and that each update
//! changes, and the numbers of the training samples by which they may be ordered.

use std::sync::Arc;

use faculty_contract::Write;
use faculty_nets::weights::{Array, StateDict};
use faculty_nets::{Graph, Network, ParameterSpec};

/// The arrays of [`faculty_contract::Parts::memory`].
#[derive(Debug, Default)]
pub(super) struct Memory {
    specs: Vec<ParameterSpec>,
    arrays: Vec<Arc<Vec<f32>>>,
    pending: Vec<Write>,
}

impl Memory {
    pub(super) fn new(specs: Vec<ParameterSpec>, seed: u64) -> Self {
        let start = Network::from_graph("memory", Graph::of_parameters(specs.clone()), seed);
        let arrays = start.parameters().iter().cloned().map(Arc::new).collect();
        Self { specs, arrays, pending: Vec::new() }
    }

    /// The arrays as the loss reads them.
    pub(super) fn read(&self) -> Vec<Arc<Vec<f32>>> {
        self.arrays.clone()
    }

    /// Takes what the next [`Memory::commit`] writes. A step that is not followed by an update
    /// leaves nothing.
    pub(super) fn prepare(&mut self, writes: Vec<Write>) {
        self.pending = writes;
    }

    pub(super) fn commit(&mut self) {
        for Write { array, rows, values } in std::mem::take(&mut self.pending) {
            let width: usize = self.specs[array].shape[1..].iter().product();
            // Nobody else holds the array any more, so nothing is copied.
            let stored = Arc::make_mut(&mut self.arrays[array]);
            for (row, values) in rows.into_iter().zip(values.chunks_exact(width)) {
                stored[row * width..][..width].copy_from_slice(values);
            }
        }
    }

    /// Everything that later steps depend on.
    pub(super) fn state(&self) -> StateDict {
        let named = self.specs.iter().zip(&self.arrays).map(|(spec, values)| {
            let array = Array { shape: spec.shape.clone(), values: values.to_vec() };
            (spec.name.clone(), array)
        });
        named.collect()
    }

    /// Takes [`Memory::state`] back; an array that is missing or of another shape is named.
    pub(super) fn set_state(&mut self, mut state: StateDict) -> Result<(), String> {
        for (spec, values) in self.specs.iter().zip(&mut self.arrays) {
            let fits = state.remove(&spec.name).filter(|array| array.shape == spec.shape);
            let array = fits.ok_or_else(|| format!("no fitting array `{}`", spec.name))?;
            *values = Arc::new(array.values);
        }
        self.pending.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use faculty_nets::Init;

    use super::*;

    fn memory() -> Memory {
        let spec =
            ParameterSpec { name: "bank".to_owned(), shape: vec![3, 2], initial: Init::Ones };
        Memory::new(vec![spec], 1)
    }

    #[test]
    fn rows_are_written_at_the_update_and_only_those_of_the_last_step() {
        let mut bank = memory();
        let write = |row: usize, value: f32| Write {
            array: 0,
            rows: vec![row],
            values: vec![value, value + 1.0],
        };
        bank.prepare(vec![write(0, 5.0)]);
        bank.prepare(vec![write(2, 8.0)]);
        assert_eq!(*bank.read()[0], [1.0; 6]);
        bank.commit();
        assert_eq!(*bank.read()[0], [1.0, 1.0, 1.0, 1.0, 8.0, 9.0]);
        bank.commit();
        let mut again = memory();
        again.set_state(bank.state()).unwrap();
        assert_eq!(bank.read(), again.read());
    }

    #[test]
    fn a_state_of_another_shape_is_refused() {
        let mut state = memory().state();
        state.get_mut("bank").unwrap().shape = vec![2, 3];
        assert_eq!(memory().set_state(state), Err("no fitting array `bank`".to_owned()));
        assert!(memory().set_state(StateDict::new()).is_err());
    }
}
