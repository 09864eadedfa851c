//! The leaves of one batch's tape, and plain arrays to tensors and back.

use burn::Tensor;
use burn::tensor::{Device, Gradients, Int, TensorData};
use faculty_contract::MapTerm;
use faculty_data::UNLABELLED;
use faculty_kernels::elementwise::add_scaled;
use faculty_nets::MapShape;

/// The leaves of one batch's tape.
pub(super) struct Leaves {
    pub(super) logits: Tensor<2>,
    pub(super) maps: Vec<Tensor<4>>,
    pub(super) projected: Vec<Tensor<4>>,
    pub(super) parameters: Vec<Tensor<1>>,
}

/// Gradients by [`Leaves`]; `None` where the loss does not depend on one.
pub(super) struct LeafGradients {
    pub(super) logits: Option<Vec<f32>>,
    pub(super) maps: Vec<Option<Vec<f32>>>,
    pub(super) projected: Vec<Option<Vec<f32>>>,
    pub(super) parameters: Vec<Option<Vec<f32>>>,
}

impl LeafGradients {
    /// Adds the gradients that terms off the tape bring for the projectors' results.
    pub(super) fn add_map_terms(&mut self, terms: Vec<MapTerm>) {
        for gradient in terms.into_iter().map(|term| term.gradients) {
            // Projectors of terms on the tape come after those off it.
            let count = self.projected.len().max(gradient.len());
            self.projected.resize_with(count, || None);
            for (sum, gradient) in self.projected.iter_mut().zip(gradient) {
                match sum {
                    None => *sum = Some(gradient),
                    Some(sum) => add_scaled(sum, 1.0, &gradient),
                }
            }
        }
    }
}

impl Leaves {
    pub(super) fn gradients(&self, total: Tensor<1>) -> LeafGradients {
        fn of<const D: usize>(leaves: &[Tensor<D>], all: &Gradients) -> Vec<Option<Vec<f32>>> {
            leaves.iter().map(|leaf| leaf.grad(all).map(values)).collect()
        }
        let all = total.backward();
        LeafGradients {
            logits: self.logits.grad(&all).map(values),
            maps: of(&self.maps, &all),
            projected: of(&self.projected, &all),
            parameters: of(&self.parameters, &all),
        }
    }
}

pub(super) fn tensor1(values: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

pub(super) fn tensor2(values: &[f32], shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

pub(super) fn tensor4(values: &[f32], batch: usize, shape: MapShape, device: &Device) -> Tensor<4> {
    let dims = [batch, shape.channels, shape.height, shape.width];
    Tensor::from_data(TensorData::new(values.to_vec(), dims), device)
}

pub(super) fn labels(labels: &[u32], device: &Device) -> Tensor<1, Int> {
    let labels: Vec<i32> = labels
        .iter()
        .map(|&label| match label {
            UNLABELLED => -1,
            _ => i32::try_from(label).expect("class numbers are checked on reading"),
        })
        .collect();
    Tensor::from_data(TensorData::new(labels.clone(), [labels.len()]), device)
}

pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().expect("every tensor here holds f32")
}

pub(super) fn scalar(value: &Tensor<1>) -> f64 {
    f64::from(values(value.clone())[0])
}
