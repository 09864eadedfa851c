//! The table of networks by name, and those that a library's user adds.

use std::fmt::Debug;
use std::sync::{PoisonError, RwLock};

use crate::error::{Error, Result};
use crate::family::deep_resnet::{self, Block, Stem};
use crate::family::mobilenet_v3::{self, Variant};
use crate::family::{efficientnet, mobilenet_v2, resnet, shuffle_v1, shuffle_v2, vgg, wrn};
use crate::graph::Graph;
use crate::shape::MapShape;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct NetworkInfo {
    /// Name in recipes and on the command line.
    pub name: &'static str,
    /// What it is, in one line.
    pub summary: &'static str,
    pub(crate) family: Family,
}

/// What a network is built by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Family {
    /// Depth, and widths of the stem and the three stages.
    CifarResnet(usize, [usize; 4]),
    /// Depth and how many times as wide.
    WideResnet(usize, usize),
    /// Convolutions of each block.
    Vgg([usize; 5]),
    MobileNetV2,
    MobileNetV3(&'static Variant),
    EfficientNetB0,
    ShuffleV1,
    ShuffleV2,
    /// Blocks of each stage.
    DeepResnet(Block, [usize; 4], Stem),
    /// Of a library's user.
    Own(&'static dyn Architecture),
}

/// A network of one's own: a graph by input and classes.
///
/// Its weights are named as it names them in the [`crate::GraphBuilder`]; PyTorch's names make
/// PyTorch's files fit.
pub trait Architecture: Send + Sync + Debug {
    /// Its name in recipes; `+` and `@` are not allowed.
    fn name(&self) -> &str;

    /// What it is, in one line.
    fn summary(&self) -> &str;

    /// The network's graph for samples of `input` and `classes` classes, a function of these alone.
    /// It ends in a linear layer.
    ///
    /// # Errors
    /// When the image is too small for the network.
    fn graph(&self, input: MapShape, classes: usize) -> Result<Graph>;
}

impl NetworkInfo {
    /// The network's graph for samples of `input` and `classes` classes.
    ///
    /// # Errors
    /// When the image is too small for the network.
    pub fn graph(&self, input: MapShape, classes: usize) -> Result<Graph> {
        match self.family {
            Family::CifarResnet(depth, widths) => resnet::build(depth, widths, input, classes),
            Family::WideResnet(depth, width) => wrn::build(depth, width, input, classes),
            Family::Vgg(layers) => vgg::build(layers, input, classes),
            Family::MobileNetV2 => mobilenet_v2::build(input, classes),
            Family::MobileNetV3(variant) => mobilenet_v3::build(variant, input, classes),
            Family::EfficientNetB0 => efficientnet::build(input, classes),
            Family::ShuffleV1 => shuffle_v1::build(input, classes),
            Family::ShuffleV2 => shuffle_v2::build(input, classes),
            Family::DeepResnet(block, blocks, stem) => {
                deep_resnet::build(block, blocks, stem, input, classes)
            }
            Family::Own(architecture) => architecture.graph(input, classes),
        }
    }

    /// 2 for networks of one family and the same widths, 1 for others of one family, else 0.
    pub(crate) fn kinship(&self, other: &Self) -> u8 {
        match (self.family, other.family) {
            (Family::CifarResnet(_, own), Family::CifarResnet(_, widths)) => {
                1 + u8::from(own == widths)
            }
            (Family::WideResnet(_, own), Family::WideResnet(_, width)) => {
                1 + u8::from(own == width)
            }
            (Family::DeepResnet(_, _, own), Family::DeepResnet(_, _, stem)) => {
                1 + u8::from(own == stem)
            }
            (Family::Vgg(_), Family::Vgg(_)) => 2,
            (Family::MobileNetV3(_), Family::MobileNetV3(_)) => 1,
            _ => 0,
        }
    }

    /// Whether its maps are a 32nd of the image, as networks for ImageNet have them: of a small image
    /// nothing is left there.
    pub(crate) fn is_for_large_images(&self) -> bool {
        matches!(
            self.family,
            Family::DeepResnet(_, _, Stem::ImageNet)
                | Family::MobileNetV3(_)
                | Family::EfficientNetB0
        )
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

const fn other(name: &'static str, summary: &'static str, family: Family) -> NetworkInfo {
    NetworkInfo { name, summary, family }
}

const fn wide(name: &'static str, depth: usize, width: usize) -> NetworkInfo {
    let summary = match width {
        1 => "wide ResNet at single width (16, 32, 64)",
        _ => "wide ResNet, twice as wide (32, 64, 128)",
    };
    other(name, summary, Family::WideResnet(depth, width))
}

const fn vgg(name: &'static str, layers: [usize; 5]) -> NetworkInfo {
    other(name, "VGG with batch norm (64, 128, 256, 512, 512)", Family::Vgg(layers))
}

const fn small(name: &'static str, block: Block, blocks: [usize; 4]) -> NetworkInfo {
    let summary = match block {
        Block::Basic => "ResNet with 3×3 stem for small images (64 to 512)",
        Block::Bottleneck => "ResNet with 3×3 stem for small images (256 to 2048)",
    };
    other(name, summary, Family::DeepResnet(block, blocks, Stem::Small))
}

const fn large(name: &'static str, block: Block, blocks: [usize; 4]) -> NetworkInfo {
    let summary = match block {
        Block::Basic => "torchvision's ResNet for ImageNet (64 to 512)",
        Block::Bottleneck => "torchvision's ResNet for ImageNet (256 to 2048)",
    };
    other(name, summary, Family::DeepResnet(block, blocks, Stem::ImageNet))
}

/// Every built-in network, small to large within its family.
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
    wide("wrn_16_1", 16, 1),
    wide("wrn_16_2", 16, 2),
    wide("wrn_40_1", 40, 1),
    wide("wrn_40_2", 40, 2),
    vgg("vgg8", [1, 1, 1, 1, 1]),
    vgg("vgg11", [1, 1, 2, 2, 2]),
    vgg("vgg13", [2, 2, 2, 2, 2]),
    vgg("vgg16", [2, 2, 3, 3, 3]),
    vgg("vgg19", [2, 2, 4, 4, 4]),
    other("MobileNetV2", "MobileNetV2 at half width, for small images", Family::MobileNetV2),
    other("ShuffleV1", "ShuffleNet with 3 groups (240, 480, 960)", Family::ShuffleV1),
    other("ShuffleV2", "ShuffleNetV2 of size 1 (116, 232, 464)", Family::ShuffleV2),
    small("ResNet18", Block::Basic, [2, 2, 2, 2]),
    small("ResNet34", Block::Basic, [3, 4, 6, 3]),
    small("ResNet50", Block::Bottleneck, [3, 4, 6, 3]),
    large("resnet18_imagenet", Block::Basic, [2, 2, 2, 2]),
    large("resnet34_imagenet", Block::Basic, [3, 4, 6, 3]),
    large("resnet50_imagenet", Block::Bottleneck, [3, 4, 6, 3]),
    other(
        "mobilenet_v3_small",
        "torchvision's MobileNetV3 for ImageNet, small (16 to 576, 1024)",
        Family::MobileNetV3(&mobilenet_v3::SMALL),
    ),
    other(
        "mobilenet_v3_large",
        "torchvision's MobileNetV3 for ImageNet, large (16 to 960, 1280)",
        Family::MobileNetV3(&mobilenet_v3::LARGE),
    ),
    other(
        "efficientnet_b0",
        "torchvision's EfficientNet-B0 for ImageNet (16 to 1280)",
        Family::EfficientNetB0,
    ),
];

/// Those that [`register`] added.
static REGISTERED: RwLock<Vec<&'static NetworkInfo>> = RwLock::new(Vec::new());

/// Adds a network of one's own, for the whole process: from then on recipes name it like a built-in
/// one, as student and as teacher, and everything made from recipes knows it.
///
/// # Errors
/// [`Error::NetworkName`] when the name is empty or taken, or holds `+` or `@`.
pub fn register(architecture: impl Architecture + 'static) -> Result<()> {
    // Networks live as long as the process: there are few, and everything refers to them.
    let own: &'static dyn Architecture = Box::leak(Box::new(architecture));
    let info = NetworkInfo { name: own.name(), summary: own.summary(), family: Family::Own(own) };
    let refuse = |why| Err(Error::NetworkName { name: info.name.to_owned(), why });
    if info.name.is_empty() || info.name.contains(['+', '@']) {
        return refuse("it must not be empty, nor hold `+` or `@`");
    }
    // Looked up and added under one lock, so that of two equal names one is refused.
    let mut registered = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
    if NETWORKS.iter().chain(registered.iter().copied()).any(|known| known.name == info.name) {
        return refuse("there is a network of this name");
    }
    registered.push(Box::leak(Box::new(info)));
    Ok(())
}

/// Every network: the built-in ones, then those that were registered.
#[must_use]
pub fn all() -> Vec<&'static NetworkInfo> {
    let registered = REGISTERED.read().unwrap_or_else(PoisonError::into_inner);
    NETWORKS.iter().chain(registered.iter().copied()).collect()
}

/// Finds a network by name.
///
/// # Errors
/// When there is none of that name; the error names the nearest.
pub fn find(name: &str) -> Result<&'static NetworkInfo> {
    let all = all();
    all.iter().find(|info| info.name == name).copied().ok_or_else(|| {
        let plain = name.to_lowercase().replace('_', "-");
        let distance = |own: &str| strsim::damerau_levenshtein(&plain, own);
        let nearest = all.iter().map(|info| info.name).min_by_key(|own| distance(own));
        Error::UnknownNetwork { name: name.to_owned(), nearest: nearest.unwrap_or("resnet20") }
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
            ("wrn_16_1", 180_916),
            ("wrn_16_2", 703_284),
            ("wrn_40_1", 569_780),
            ("wrn_40_2", 2_255_156),
            ("vgg8", 3_965_028),
            ("vgg11", 9_277_284),
            ("vgg13", 9_462_180),
            ("vgg16", 14_774_436),
            ("vgg19", 20_086_692),
            ("MobileNetV2", 812_836),
            ("ShuffleV1", 949_258),
            ("ShuffleV2", 1_355_528),
            ("ResNet18", 11_220_132),
            ("ResNet34", 21_328_292),
            ("ResNet50", 23_705_252),
        ];
        for (name, expected) in counts {
            let graph = find(name).and_then(|info| info.graph(image, 100)).unwrap();
            assert_eq!(graph.parameter_count(), expected, "{name}");
        }
        // torchvision's own counts.
        let image = MapShape::new(3, 224, 224);
        let counts = [
            ("resnet18_imagenet", 11_689_512),
            ("resnet34_imagenet", 21_797_672),
            ("resnet50_imagenet", 25_557_032),
            ("mobilenet_v3_small", 2_542_856),
            ("mobilenet_v3_large", 5_483_032),
            ("efficientnet_b0", 5_288_548),
        ];
        for (name, expected) in counts {
            let graph = find(name).and_then(|info| info.graph(image, 1000)).unwrap();
            assert_eq!(graph.parameter_count(), expected, "{name}");
        }
    }

    #[test]
    fn convolutions_start_as_each_family_says_and_outputs_have_a_bias() {
        use crate::{Init, Network};
        let image = MapShape::new(3, 64, 64);
        for info in NETWORKS {
            let mut network = Network::new(info.name, image, 10, 1).unwrap();
            assert_eq!(network.output_bias_mut().map(|bias| bias.len()), Some(10), "{}", info.name);
            for spec in network.graph().parameters() {
                let [out, channels, rows, columns] = spec.shape[..] else { continue };
                // PyTorch's default in the ShuffleNets alone.
                let expected = if info.name.starts_with("Shuffle") {
                    Init::UniformFanIn { fan_in: channels * rows * columns }
                } else {
                    Init::KaimingNormalFanOut { fan_out: out * rows * columns }
                };
                assert_eq!(spec.initial, expected, "{}: {}", info.name, spec.name);
            }
        }
    }

    #[test]
    fn names_the_nearest_network() {
        let error = find("resnet_20").unwrap_err();
        assert!(matches!(error, Error::UnknownNetwork { nearest: "resnet20", .. }), "{error}");
    }
}
