//! The training step of a graph in plain burn operations, on any device that burn has.
//!
//! The same interface and the same numbers (to rounding) as [`crate::TrainingRun`], without a line
//! of our kernels: slower on a CPU, but it runs where they do not, on a GPU for example. Parameters
//! and running statistics stay in the [`Network`]; each step carries parameters to the device and
//! gradients back.

use burn::Tensor;
use burn::tensor::{Device, Int, TensorData};
use faculty_inputs::Input;

use crate::graph::BatchInput;
use crate::network::Network;
use crate::op::BurnStep;
use crate::parameter::ValueId;
use crate::pattern::ActivationPattern;
use crate::shape::MapShape;

/// One network's current training step on a burn device.
#[derive(Debug)]
pub struct BurnRun {
    device: Device,
    batch: usize,
    parameters: Vec<Tensor<1>>,
    /// `[batch, channels, height, width]` of every node, on the tape.
    values: Vec<Tensor<4>>,
    pattern: ActivationPattern,
    /// Of every node, what it decided in the recorded pass.
    decided: Vec<Option<Tensor<4, Int>>>,
    /// The values that may be read, on the host.
    kept: Vec<(ValueId, Vec<f32>)>,
    gradients: Vec<Vec<f32>>,
}

impl BurnRun {
    /// An empty run on `device`.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        Self {
            device: device.clone().autodiff(),
            batch: 0,
            parameters: Vec::new(),
            values: Vec::new(),
            pattern: ActivationPattern::Free,
            decided: Vec::new(),
            kept: Vec::new(),
            gradients: Vec::new(),
        }
    }

    /// As [`crate::TrainingRun::forward`].
    ///
    /// # Panics
    /// When `input` does not have `batch` samples of the graph's input shape.
    pub fn forward<'a>(
        &mut self,
        network: &mut Network,
        input: impl Into<Input<'a>>,
        batch: usize,
    ) {
        let graph = network.graph().clone();
        let BatchInput { size, pixels: input, .. } = graph.take(input.into(), batch);
        self.batch = batch;
        self.parameters = network
            .parameters
            .iter()
            .map(|values| vector(values, &self.device).require_grad())
            .collect();
        self.values.clear();
        self.decided.resize(graph.nodes.len(), None);
        for (index, node) in graph.nodes.iter().enumerate() {
            let mut inputs: Vec<Tensor<4>> =
                node.inputs.iter().map(|id| self.values[id.0].clone()).collect();
            if inputs.is_empty() {
                // A leaf of its own, for the gradient by the input.
                let data = TensorData::new(input.to_vec(), self.dims(node.shape));
                inputs.push(Tensor::from_data(data, &self.device).require_grad());
            }
            let step = BurnStep {
                inputs,
                parameters: &self.parameters,
                buffers: &mut network.buffers,
                frozen_statistics: graph.keeps_statistics(index),
                pattern: self.pattern,
                decided: &mut self.decided[index],
            };
            let value = node.op.burn(&graph.site(index, size), step);
            self.values.push(value);
        }
        let kept = graph.readable().into_iter();
        self.kept = kept.map(|id| (id, numbers(self.values[id.0].clone()))).collect();
    }

    /// As [`crate::TrainingRun::set_pattern`].
    pub fn set_pattern(&mut self, pattern: ActivationPattern) {
        self.pattern = pattern;
    }

    fn dims(&self, shape: MapShape) -> [usize; 4] {
        [self.batch, shape.channels, shape.height, shape.width]
    }

    /// As [`crate::TrainingRun::value`].
    ///
    /// # Panics
    /// For values that are neither tap nor map nor output, and before the first forward pass.
    #[must_use]
    pub fn value(&self, id: ValueId) -> &[f32] {
        let kept = self.kept.iter().find(|(own, _)| *own == id);
        &kept.expect("only taps, the map and the output are read").1
    }

    /// As [`crate::TrainingRun::backward`]; the tape is used up.
    ///
    /// # Panics
    /// When a gradient has another length than its value.
    pub fn backward<G: AsRef<[f32]>>(
        &mut self,
        network: &Network,
        loss_gradients: impl IntoIterator<Item = (ValueId, G)>,
        input_gradient: bool,
    ) -> Option<Vec<f32>> {
        let total = loss_gradients
            .into_iter()
            .map(|(id, gradient)| {
                let dims = self.dims(network.graph().shape(id));
                let gradient = TensorData::new(gradient.as_ref().to_vec(), dims);
                (self.values[id.0].clone() * Tensor::from_data(gradient, &self.device)).sum()
            })
            .reduce(|sum, term| sum + term);
        let gradients = total.map(|total| total.backward());
        let of = |leaf: Option<Tensor<1>>, len: usize| leaf.map_or_else(|| vec![0.0; len], numbers);
        self.gradients = self
            .parameters
            .iter()
            .map(|leaf| of(gradients.as_ref().and_then(|g| leaf.grad(g)), leaf.dims()[0]))
            .collect();
        let by_input = input_gradient.then(|| {
            let input = &self.values[0];
            let gradient = gradients.as_ref().and_then(|g| input.grad(g));
            gradient.map_or_else(|| vec![0.0; input.shape().num_elements()], numbers)
        });
        self.values.clear();
        by_input
    }

    /// As [`crate::TrainingRun::gradients`].
    #[must_use]
    pub fn gradients(&self) -> &[Vec<f32>] {
        &self.gradients
    }

    /// The same for clipping and the like.
    #[must_use]
    pub fn gradients_mut(&mut self) -> &mut [Vec<f32>] {
        &mut self.gradients
    }
}

fn vector(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().expect("every tensor here holds f32")
}
