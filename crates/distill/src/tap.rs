//! Places in a network whose values methods read.

use faculty_nets::{Graph, ValueId};

/// A place in a network, named without knowing the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tap {
    /// Feature tap f0, f1, … as `faculty networks` lists them.
    Feature(usize),
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
            // The last feature is the pooled vector, which is no map.
            Self::Feature(index) => {
                let maps = graph.features().len().saturating_sub(1);
                graph.features()[..maps].get(index).copied()
            }
            Self::Map => graph.map(),
            Self::Pooled => graph.features().last().copied(),
        }
    }
}

impl Tap {
    /// The feature maps that a network has, f0 first.
    pub fn features(graph: &Graph) -> impl Iterator<Item = Self> {
        (0..graph.features().len().saturating_sub(1)).map(Self::Feature)
    }
}

impl std::fmt::Display for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Feature(index) => write!(f, "f{index}"),
            Self::Map => write!(f, "map"),
            Self::Pooled => write!(f, "pooled"),
        }
    }
}

#[cfg(test)]
mod tests {
    use faculty_nets::{MapShape, find};

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
}
