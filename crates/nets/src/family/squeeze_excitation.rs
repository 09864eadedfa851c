//! Squeeze-and-excitation (Hu et al., CVPR 2018, <https://arxiv.org/abs/1709.01507>): each channel of
//! a map times a number that two small layers make of the means of all channels.

use crate::activation_kind::ActivationKind;
use crate::builder::{Conv2dConfig, GraphBuilder};
use crate::error::Result;
use crate::parameter::ValueId;

/// Its narrow layer, the activation behind it, and the one that makes the factors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SqueezeExcitation {
    pub(crate) channels: usize,
    pub(crate) activation: ActivationKind,
    pub(crate) gate: ActivationKind,
}

/// With layers `name.fc1` and `name.fc2`, as torchvision has them.
pub(crate) fn squeeze_excitation(
    g: &mut GraphBuilder,
    name: &str,
    map: ValueId,
    config: SqueezeExcitation,
) -> Result<ValueId> {
    let channels = g.shape(map).channels;
    let means = g.global_avg_pool(map);
    let narrow = Conv2dConfig::kaiming(config.channels, 1, 1).with_bias();
    let y = g.conv2d(&format!("{name}.fc1"), means, narrow)?;
    let y = g.activation(y, config.activation);
    let y =
        g.conv2d(&format!("{name}.fc2"), y, Conv2dConfig::kaiming(channels, 1, 1).with_bias())?;
    let gate = g.activation(y, config.gate);
    Ok(g.product(map, gate))
}
