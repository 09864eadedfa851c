//! Which network a weight file is of, by the names and shapes of its tensors.

use std::path::Path;

use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::network::{misfits, shortened};
use crate::networks::{NETWORKS, NetworkInfo};
use crate::shape::MapShape;
use crate::weights::StateDict;

/// A network that has exactly the tensors of a weight file.
#[derive(Clone, Copy, Debug)]
pub struct Recognised {
    /// Its row of the table.
    pub network: &'static NetworkInfo,
    /// The length of the file's output.
    pub classes: usize,
}

/// The networks whose tensors have exactly the names and shapes of `state`, for images of `input`;
/// `path` only names the file in errors.
///
/// Weights do not say everything of a network (a stride has none), so that there may be several.
///
/// # Errors
/// [`Error::NotRecognised`], with the nearest network and what keeps it apart.
pub fn recognise(state: &StateDict, input: MapShape, path: &Path) -> Result<Vec<Recognised>> {
    let mut fitting = Vec::new();
    let mut nearest: Option<(&'static NetworkInfo, Vec<String>)> = None;
    for network in NETWORKS {
        // Some networks are not for small images, and so not what this file is used for.
        let Ok((graph, classes)) = graph_for(network, state, input) else { continue };
        let problems = misfits(&graph, state);
        if problems.is_empty() {
            fitting.push(Recognised { network, classes });
        } else if nearest.as_ref().is_none_or(|(_, least)| problems.len() < least.len()) {
            nearest = Some((network, problems));
        }
    }
    match nearest {
        Some((network, problems)) if fitting.is_empty() => Err(Error::NotRecognised {
            path: path.to_owned(),
            nearest: network.name,
            problems: shortened(problems),
        }),
        // Of a picture that no network takes, the smallest one says why.
        None if fitting.is_empty() => Err(NETWORKS[0]
            .graph(input, 1)
            .err()
            .unwrap_or_else(|| Error::NoWeights { path: path.to_owned() })),
        _ => Ok(fitting),
    }
}

/// The graph with as many classes as the file has, and their number.
fn graph_for(network: &NetworkInfo, state: &StateDict, input: MapShape) -> Result<(Graph, usize)> {
    let probe = network.graph(input, 1)?;
    let bias = probe.classifier().and_then(|ids| state.get(&probe.parameter(ids.bias).name));
    match bias.map_or(1, |bias| bias.values.len()) {
        0 | 1 => Ok((probe, 1)),
        classes => Ok((network.graph(input, classes)?, classes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Network;

    #[test]
    fn every_network_is_recognised_by_its_own_weights() {
        let image = MapShape::new(3, 32, 32);
        for info in NETWORKS {
            let state = Network::new(info.name, image, 7, 1).unwrap().state_dict();
            let found = recognise(&state, image, Path::new("x")).unwrap();
            let names: Vec<&str> = found.iter().map(|f| f.network.name).collect();
            assert_eq!(names, [info.name]);
            assert_eq!(found[0].classes, 7, "{}", info.name);
        }
    }

    #[test]
    fn other_weights_are_refused_with_the_nearest_network() {
        let image = MapShape::new(3, 32, 32);
        let mut state = Network::new("resnet20", image, 7, 1).unwrap().state_dict();
        let grey = recognise(&state, MapShape::new(1, 32, 32), Path::new("x.pth")).unwrap_err();
        let text = grey.to_string();
        assert!(text.contains("nearest is `resnet20`: `conv1.weight` has shape"), "{text}");
        state.remove("fc.bias");
        let text = recognise(&state, image, Path::new("x.pth")).unwrap_err().to_string();
        assert!(text.contains("`fc.bias` is missing"), "{text}");
        assert!(recognise(&StateDict::new(), image, Path::new("x.pth")).is_err());
        assert!(recognise(&state, MapShape::new(3, 0, 0), Path::new("x.pth")).is_err());
    }
}
