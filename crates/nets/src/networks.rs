//! The table of networks by name.

use crate::error::{Error, Result};
use crate::graph::{Graph, MapShape};
use crate::resnet;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct NetworkInfo {
    /// Name in recipes and on the command line.
    pub name: &'static str,
    /// What it is, in one line.
    pub summary: &'static str,
    family: Family,
}

#[derive(Clone, Copy, Debug)]
enum Family {
    /// Depth, and widths of the stem and the three stages.
    CifarResnet(usize, [usize; 4]),
}

impl NetworkInfo {
    /// The network's graph for samples of `input` and `classes` classes.
    ///
    /// # Errors
    /// When the image is too small for the network.
    pub fn graph(&self, input: MapShape, classes: usize) -> Result<Graph> {
        match self.family {
            Family::CifarResnet(depth, widths) => resnet::build(depth, widths, input, classes),
        }
    }
}

const NARROW: [usize; 4] = [16, 16, 32, 64];
const WIDE: [usize; 4] = [32, 64, 128, 256];
const HALF: [usize; 4] = [8, 8, 16, 32];

const fn resnet(name: &'static str, depth: usize, widths: [usize; 4]) -> NetworkInfo {
    let summary = match widths[3] {
        32 => "CIFAR ResNet at half width (8, 16, 32)",
        64 => "CIFAR ResNet (16, 32, 64)",
        _ => "CIFAR ResNet, four times as wide (64, 128, 256)",
    };
    NetworkInfo { name, summary, family: Family::CifarResnet(depth, widths) }
}

/// Every network, small to large within its family.
pub const NETWORKS: &[NetworkInfo] = &[
    resnet("resnet8x0.5", 8, HALF),
    resnet("resnet14x0.5", 14, HALF),
    resnet("resnet8", 8, NARROW),
    resnet("resnet14", 14, NARROW),
    resnet("resnet20", 20, NARROW),
    resnet("resnet32", 32, NARROW),
    resnet("resnet44", 44, NARROW),
    resnet("resnet56", 56, NARROW),
    resnet("resnet110", 110, NARROW),
    resnet("resnet8x4", 8, WIDE),
    resnet("resnet20x4", 20, WIDE),
    resnet("resnet32x4", 32, WIDE),
];

/// Finds a network by name.
///
/// # Errors
/// When there is none of that name; the error names the nearest.
pub fn find(name: &str) -> Result<&'static NetworkInfo> {
    NETWORKS.iter().find(|info| info.name == name).ok_or_else(|| {
        let nearest = NETWORKS
            .iter()
            .max_by(|a, b| {
                strsim::jaro_winkler(name, a.name).total_cmp(&strsim::jaro_winkler(name, b.name))
            })
            .map_or("resnet20", |info| info.name);
        Error::UnknownNetwork { name: name.to_owned(), nearest }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_counts_are_those_of_the_literature() {
        let image = MapShape::new(3, 32, 32);
        let counts = [
            ("resnet8", 83_892),
            ("resnet14", 181_108),
            ("resnet20", 278_324),
            ("resnet32", 472_756),
            ("resnet44", 667_188),
            ("resnet56", 861_620),
            ("resnet110", 1_736_564),
            ("resnet8x4", 1_233_540),
            ("resnet20x4", 4_333_700),
            ("resnet32x4", 7_433_860),
        ];
        for (name, expected) in counts {
            let graph = find(name).and_then(|info| info.graph(image, 100)).unwrap();
            assert_eq!(graph.parameter_count(), expected, "{name}");
        }
    }

    #[test]
    fn names_the_nearest_network() {
        let error = find("resnet_20").unwrap_err();
        assert!(matches!(error, Error::UnknownNetwork { nearest: "resnet20", .. }), "{error}");
    }
}
