//! A student for a teacher: a network that is clearly smaller and, where there is one, of its kind.

use crate::error::Result;
use crate::named::graph_of;
use crate::networks::{NETWORKS, NetworkInfo};
use crate::shape::MapShape;

/// A student has at most this share of the teacher's parameters and of its multiply-adds: that of
/// the literature's usual pairs (resnet56 and resnet20, vgg13 and vgg8, ResNet34 and ResNet18).
const SHARE: f64 = 0.53;

/// Shortest side of images for which networks for ImageNet are suggested: their last map has 3×3
/// positions there.
const LARGE_IMAGES: usize = 96;

/// The largest network with at most about half of the parameters and multiply-adds of the network
/// `teacher`: of its family and widths if there is one, else of its family, else of all; `None` when
/// no network is so small.
///
/// # Errors
/// When there is no network `teacher`, or the image is too small for it.
pub fn suggest_student(
    teacher: &str,
    input: MapShape,
    classes: usize,
) -> Result<Option<&'static NetworkInfo>> {
    let large = graph_of(teacher, input, classes)?;
    let at_most = |cost: usize, of: usize| cost as f64 <= SHARE * of as f64;
    let mut found: Vec<(usize, &NetworkInfo)> = Vec::new();
    let is_small = input.height.min(input.width) < LARGE_IMAGES;
    for network in NETWORKS.iter().filter(|network| !(is_small && network.is_for_large_images())) {
        let Ok(graph) = network.graph(input, classes) else { continue };
        let parameters = graph.parameter_count();
        if at_most(parameters, large.parameter_count())
            && at_most(graph.multiply_adds(), large.multiply_adds())
        {
            found.push((parameters, network));
        }
    }
    // `resnet8+simkd256` is of the kind of `resnet8`.
    let base = teacher.split('+').next().unwrap_or(teacher);
    let own = NETWORKS.iter().find(|network| network.name == base);
    let kinship = |network: &NetworkInfo| own.map_or(0, |own| own.kinship(network));
    Ok(found
        .into_iter()
        .max_by_key(|(parameters, network)| (kinship(network), *parameters))
        .map(|(_, network)| network))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn students_are_those_that_people_choose() {
        let pairs = [
            ("resnet56", "resnet20"),
            ("resnet20", "resnet8"),
            ("resnet32x4", "resnet8x4"),
            ("wrn_40_2", "wrn_16_2"),
            ("vgg13", "vgg8"),
            ("ResNet34", "ResNet18"),
            ("resnet8", "resnet8x0.5"),
        ];
        for (teacher, student) in pairs {
            let found = suggest_student(teacher, MapShape::new(3, 32, 32), 100).unwrap();
            assert_eq!(found.map(|network| network.name), Some(student), "of {teacher}");
        }
        // At ImageNet's size, networks made for it.
        let image = MapShape::new(3, 224, 224);
        let found = suggest_student("resnet18_imagenet", image, 1000).unwrap();
        assert_eq!(found.map(|network| network.name), Some("mobilenet_v3_large"));
        let none = suggest_student("resnet8x0.5", MapShape::new(3, 32, 32), 100).unwrap();
        assert!(none.is_none());
    }
}
