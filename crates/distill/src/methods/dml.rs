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

use super::output_layer::task_and_weighted_kd;
use super::{Loss, Method, Needs, Step};
use crate::weighting::{Uniform, Weighting as _};

/// The loss of one network among its peers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dml;

impl Method for Dml {
    fn needs(&self, _epoch: usize) -> Needs {
        Needs { teacher_logits: true, ..Needs::default() }
    }

    fn loss(&self, step: &Step) -> Loss {
        let weights = Uniform.weights(step.teacher_logits(), &step.labels);
        task_and_weighted_kd(step, weights, 1.0, 1.0)
    }

    fn objective(&self, teachers: usize) -> String {
        match teachers {
            1 => "CE + KL(peer ‖ own)".to_owned(),
            peers => format!("CE + mean_l KL(peer_l ‖ own), {peers} peers"),
        }
    }
}
