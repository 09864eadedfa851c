//! DML: deep mutual learning, a student and its peers that learn from each other.
//!
//! Zhang, Xiang, Hospedales, Lu, CVPR 2018, <https://arxiv.org/abs/1706.00384>.
//!
//! ```text
//! L_k = mean_b CE_b(z_k) + mean_b 1/(N-1) Σ_{l≠k} KL(σ(z_l) ‖ σ(z_k))      for each of N networks
//! ```
//! # Shapes
//! the network's own logits `[batch, classes]`, those of its peers in the place of teachers
//! `[N - 1, batch, classes]`, labels `[batch]`.
//! # Gradient
//! through the network's own logits only: in each loss the peers are constants.
//! # Paper and code
//! the paper updates one network after the other, and runs each again on the batch before the next
//! one is updated; here all losses of a step come from one forward pass of each network, and then
//! all are updated. The two differ by a learning rate's worth of change in the peers.
//! # Limits
//! at least one peer. No `method.name`: the peers are trained along, see [`crate::plan`].

use crate::shared::output_layer::task_and_weighted_kd;
use crate::weighting::{Uniform, Weighting as _};
use crate::{Loss, Method, Needs, Setup, Step};

/// The loss of one network among its peers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dml;

impl Method for Dml {
    fn setup(&self) -> Setup {
        Setup::label_free()
    }

    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_logits: true, ..Needs::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        let weights = Uniform.weights(step.given_logits(), &step.labels);
        task_and_weighted_kd(step, weights, 1.0, 1.0)
    }

    fn objective(&self, teachers: usize) -> String {
        match teachers {
            1 => "CE + KL(peer ‖ own)".to_owned(),
            peers => format!("CE + mean_l KL(peer_l ‖ own), {peers} peers"),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::Tensor;
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::Ce;

    const LABELS: [i32; 2] = [2, 0];

    fn device() -> Device {
        Device::flex().autodiff()
    }

    fn own() -> Tensor<2> {
        let own = vec![0.5_f32, -1.0, 2.0, 1.5, 0.0, -0.5];
        Tensor::from_data(TensorData::new(own, [2, 3]), &device()).require_grad()
    }

    fn step(own: &Tensor<2>, peers: Tensor<3>) -> Step {
        let labels = Tensor::from_data(TensorData::new(LABELS.to_vec(), [2]), &device());
        Step::of_logits(labels, own.clone(), peers)
    }

    fn peers(values: &[[f32; 6]]) -> Tensor<3> {
        let data = TensorData::new(values.concat(), [values.len(), 2, 3]);
        Tensor::from_data(data, &device())
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec::<f32>().unwrap()
    }

    fn total(loss: Loss) -> Tensor<1> {
        let terms = loss.terms.into_iter().map(|term| term.value * term.weight);
        terms.reduce(|sum, term| sum + term).unwrap()
    }

    const OTHERS: [[f32; 6]; 2] =
        [[1.0, 0.0, -1.0, 0.3, 2.0, 0.1], [-2.0, 0.4, 0.4, 1.0, 1.0, 3.0]];

    /// The formula in float64, term by term.
    fn by_hand(own: &[f32], others: &[[f32; 6]]) -> f64 {
        let log_softmax = |row: &[f32]| -> Vec<f64> {
            let sum: f64 = row.iter().map(|&z| f64::from(z).exp()).sum();
            row.iter().map(|&z| f64::from(z) - sum.ln()).collect()
        };
        let mut loss = 0.0;
        for (b, &label) in LABELS.iter().enumerate() {
            let q = log_softmax(&own[3 * b..3 * b + 3]);
            loss -= q[label as usize] / 2.0;
            for other in others {
                let p = log_softmax(&other[3 * b..3 * b + 3]);
                let kl: f64 = p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum();
                loss += kl / (2 * others.len()) as f64;
            }
        }
        loss
    }

    #[test]
    fn it_is_the_papers_formula() {
        for others in [&OTHERS[..1], &OTHERS[..]] {
            let got = values(total(Dml.loss(&step(&own(), peers(others)))))[0];
            let want = by_hand(&values(own()), others);
            assert!((f64::from(got) - want).abs() < 1e-6, "{got} instead of {want}");
        }
    }

    #[test]
    fn peers_that_agree_add_nothing() {
        let own = own();
        let same: [f32; 6] = values(own.clone()).try_into().unwrap();
        // A constant added to a peer's logits of a sample says nothing.
        let moved = same.map(|z| z + 3.0);
        let loss = Dml.loss(&step(&own, peers(&[same, moved])));
        assert!(values(loss.terms[1].value.clone())[0].abs() < 1e-6);
        let gradient = values(own.grad(&total(loss).backward()).unwrap());
        let alone = own.clone().detach().require_grad();
        let ce = Ce.loss(&step(&alone, peers(&[same])));
        let of_labels = values(alone.grad(&total(ce).backward()).unwrap());
        for (own, alone) in gradient.iter().zip(&of_labels) {
            assert!((own - alone).abs() < 1e-6, "{own} and {alone}");
        }
    }

    #[test]
    fn peers_get_no_gradient() {
        let (own, peers) = (own(), peers(&OTHERS).require_grad());
        let gradients = total(Dml.loss(&step(&own, peers.clone()))).backward();
        assert!(peers.grad(&gradients).is_none_or(|own| values(own).iter().all(|&g| g == 0.0)));
        assert!(values(own.grad(&gradients).unwrap()).iter().any(|&g| g != 0.0));
    }

    #[test]
    fn the_order_of_peers_does_not_matter_and_huge_logits_stay_finite() {
        let loss = |others: &[[f32; 6]]| values(total(Dml.loss(&step(&own(), peers(others)))))[0];
        let [a, b] = OTHERS;
        assert!((loss(&[a, b]) - loss(&[b, a])).abs() < 1e-6);
        let own = (own() * 1e4).detach().require_grad();
        let huge = total(Dml.loss(&step(&own, peers(&[a.map(|z| z * 1e4)]))));
        assert!(values(huge.clone())[0].is_finite());
        let gradient = values(own.grad(&huge.backward()).unwrap());
        assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
    }
}
