//! Places in a network whose values methods read.

use crate::graph::Graph;
use crate::parameter::ValueId;

/// A place in a network, named without knowing the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tap {
    /// Feature tap f0, f1, … as `faculty networks` lists them.
    Feature(usize),
    /// The same before its activation, as [`Graph::activated_by`] says; of teachers only.
    BeforeActivation(usize),
    /// The last feature tap that is a map. [`Tap::Map`] too, but where the network has layers
    /// between the two: batch norm and ReLU of a wide ResNet, the last convolution of MobileNetV2
    /// and ShuffleNetV2.
    LastFeature,
    /// The last map before global pooling, after its activation.
    Map,
    /// The pooled vector in front of the classifier.
    Pooled,
}

impl Tap {
    /// The value at this place, if the network has one.
    #[must_use]
    pub fn value(self, graph: &Graph) -> Option<ValueId> {
        match self {
            Self::Feature(index) | Self::BeforeActivation(index) => maps(graph).get(index).copied(),
            Self::LastFeature => maps(graph).last().copied(),
            Self::Map => graph.map(),
            Self::Pooled => graph.features().last().copied(),
        }
    }
}

impl Tap {
    /// Number of the last feature map of the networks that have most of them.
    pub const MOST: usize = 4;

    /// The feature maps that a network has, f0 first.
    pub fn features(graph: &Graph) -> impl Iterator<Item = Self> {
        (0..maps(graph).len()).map(Self::Feature)
    }
}

/// The feature taps but for the last one, the pooled vector, which is no map.
fn maps(graph: &Graph) -> &[ValueId] {
    graph.features().split_last().map_or(&[], |(_, maps)| maps)
}

impl std::fmt::Display for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Feature(index) => write!(f, "f{index}"),
            Self::BeforeActivation(index) => write!(f, "f{index}-before"),
            Self::LastFeature => write!(f, "last"),
            Self::Map => write!(f, "map"),
            Self::Pooled => write!(f, "pooled"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{MapShape, NETWORKS, find};

    use super::*;

    #[test]
    fn taps_of_a_resnet_are_its_stages_map_and_pooled_vector() {
        let graph = find("resnet8").unwrap().graph(MapShape::new(3, 32, 32), 10).unwrap();
        let shape = |tap: Tap| tap.value(&graph).map(|value| graph.shape(value));
        assert_eq!(shape(Tap::Feature(0)), Some(MapShape::new(16, 32, 32)));
        assert_eq!(shape(Tap::Feature(3)), shape(Tap::Map));
        assert_eq!(shape(Tap::Feature(4)), None);
        assert_eq!(shape(Tap::Pooled), Some(MapShape::new(64, 1, 1)));
    }

    #[test]
    fn each_family_has_the_maps_that_published_settings_read() {
        // Channels and side of f1 and those after it, of the last of them, and of the last map.
        type Shape = (usize, usize);
        let families: [(&str, &[Shape], Shape, Shape); 8] = [
            ("resnet20", &[(16, 32), (32, 16), (64, 8)], (64, 8), (64, 8)),
            ("resnet8x4", &[(64, 32), (128, 16), (256, 8)], (256, 8), (256, 8)),
            ("wrn_16_2", &[(32, 32), (64, 16), (128, 8)], (128, 8), (128, 8)),
            ("vgg8", &[(128, 16), (256, 8), (512, 4), (512, 4)], (512, 4), (512, 4)),
            ("MobileNetV2", &[(12, 16), (16, 8), (48, 4), (160, 2)], (160, 2), (1280, 2)),
            ("ShuffleV1", &[(240, 16), (480, 8), (960, 4)], (960, 4), (960, 4)),
            ("ShuffleV2", &[(116, 16), (232, 8), (464, 4)], (464, 4), (1024, 4)),
            ("ResNet50", &[(256, 32), (512, 16), (1024, 8), (2048, 4)], (2048, 4), (2048, 4)),
        ];
        for (name, maps, last, map) in families {
            let graph = find(name).unwrap().graph(MapShape::new(3, 32, 32), 100).unwrap();
            let shape = |tap: Tap| {
                tap.value(&graph).map(|value| graph.shape(value)).map(|s| (s.channels, s.height))
            };
            let found: Vec<_> = (1..).map_while(|index| shape(Tap::Feature(index))).collect();
            assert_eq!(found, maps, "{name}");
            let before = (1..).map_while(|index| shape(Tap::BeforeActivation(index)));
            assert_eq!(before.collect::<Vec<_>>(), maps, "{name}");
            assert_eq!(shape(Tap::LastFeature), Some(last), "{name}");
            assert_eq!(shape(Tap::Map), Some(map), "{name}");
            // A wide ResNet's two last maps have one shape, but batch norm and ReLU between them.
            let same = Tap::LastFeature.value(&graph) == Tap::Map.value(&graph);
            assert_eq!(same, last == map && !name.starts_with("wrn"), "{name}");
        }
    }

    #[test]
    fn no_network_has_more_maps_than_is_said() {
        let counts = NETWORKS.iter().map(|info| {
            let graph = info.graph(MapShape::new(3, 32, 32), 10).unwrap();
            Tap::features(&graph).count()
        });
        assert_eq!(counts.max(), Some(Tap::MOST + 1));
    }
}
