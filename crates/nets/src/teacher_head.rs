//! A network that ends in the classifier of another one: its last map goes through a projector to
//! as many channels as that classifier reads.
//!
//! SimKD's student (Chen et al., CVPR 2022, <https://arxiv.org/abs/2203.14001>):
//!
//! ```text
//! body of the network, up to its last map [average-pooled to H×W]
//! Conv1×1 to C/2, BN, ReLU, Conv3×3, BN, ReLU, Conv1×1 to C, BN, ReLU           projector.conv0, …
//! global average pooling, Linear                                                fc, frozen
//! ```
//! The convolutions have no bias and start as PyTorch's do by default, as in the release.
//! Its name says all this, so that a weight file with the name can be used like any other:
//! `resnet8+simkd256`, or `vgg8+simkd256@2x2` where the map is pooled first.

use crate::builder::{Conv2dConfig, GraphBuilder};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::shape::MapShape;

/// Between the name of the network and what follows it.
const MARK: &str = "+simkd";

/// Where a projector leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Projection {
    /// Channels of the projected map.
    pub channels: usize,
    /// Rows and columns that the map is average-pooled to beforehand, if it is larger.
    pub size: Option<(usize, usize)>,
}

impl Projection {
    /// From a network's map towards another one: to its channels, and to its size in a direction
    /// where it is smaller.
    #[must_use]
    pub fn between(from: MapShape, to: MapShape) -> Self {
        let size = (from.height.min(to.height), from.width.min(to.width));
        let size = Some(size).filter(|&size| size != (from.height, from.width));
        Self { channels: to.channels, size }
    }

    /// Name of the network `base` with this projector.
    pub(crate) fn name(self, base: &str) -> String {
        let Self { channels, size } = self;
        let size = size.map_or_else(String::new, |(height, width)| format!("@{height}x{width}"));
        format!("{base}{MARK}{channels}{size}")
    }

    /// The base's name and the projection in a name, if it is made so.
    pub(crate) fn parse(name: &str) -> Option<(&str, Self)> {
        let (base, rest) = name.split_once(MARK)?;
        let (channels, size) = match rest.split_once('@') {
            None => (rest, None),
            Some((channels, size)) => {
                let (height, width) = size.split_once('x')?;
                (channels, Some((number(height)?, number(width)?)))
            }
        };
        Some((base, Self { channels: number(channels)?, size }))
    }

    /// The graph of `base` with this projector and a frozen classifier behind it.
    pub(crate) fn applied(self, base: Graph, name: &str, classes: usize) -> Result<Graph> {
        let no_head = || Error::NoPooledClassifier { network: name.to_owned() };
        let (mut g, map) = GraphBuilder::body(base).ok_or_else(no_head)?;
        let shape = g.shape(map);
        let (height, width) = self.size.unwrap_or((shape.height, shape.width));
        if height > shape.height || width > shape.width {
            return Err(Error::InputTooSmall { layer: "projector".to_owned(), shape });
        }
        let mut x = g.resize(map, height, width);
        let inner = (self.channels / 2).max(1);
        for (layer, (channels, kernel)) in
            [(inner, 1), (inner, 3), (self.channels, 1)].into_iter().enumerate()
        {
            let config = Conv2dConfig::new(channels, kernel, 1);
            x = g.conv2d(&format!("projector.conv{layer}"), x, config)?;
            x = g.batch_norm(&format!("projector.bn{layer}"), x, None, true);
        }
        g.pooled_classifier("fc", x, classes);
        g.freeze_classifier();
        Ok(g.finish())
    }
}

/// A count without sign or leading zero, so that each network has one name; not absurdly large.
fn number(text: &str) -> Option<usize> {
    let digits = text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits && !text.starts_with('0')).then(|| text.parse().ok()).flatten()
}
