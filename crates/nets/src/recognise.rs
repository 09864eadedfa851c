//! Which network a weight file is of, by the names and shapes of its tensors.

use crate::error::{Error, Result};
use crate::networks::{NETWORKS, NetworkInfo, all};
use crate::shape::MapShape;
use crate::shortened::shortened;
use crate::weights::{Fit, WeightFile};

/// A network whose tensors a weight file has.
#[derive(Clone, Debug)]
pub struct Recognised {
    /// Its row of the table.
    pub network: &'static NetworkInfo,
    /// The length of the file's output.
    pub classes: usize,
    /// Where in the file.
    pub fit: Fit,
}

/// The networks whose tensors have the names and shapes of those of `file`, for images of `input`.
///
/// Weights do not say everything of a network (a stride has none), so that there may be several.
///
/// # Errors
/// [`Error::NotRecognised`], with the nearest network and what keeps it apart;
/// [`Error::SeveralSets`], when different weights of the file fit, be it different networks.
pub fn recognise(file: &WeightFile, input: MapShape) -> Result<Vec<Recognised>> {
    let mut fitting: Vec<Recognised> = Vec::new();
    let mut nearest: Option<(&'static NetworkInfo, Vec<String>)> = None;
    let mut unknown_set = None;
    for network in all() {
        // Some networks are not for small images, and so not what this file is used for.
        let Ok(graph) = network.graph(input, 1) else { continue };
        let fits = match file.fits(&graph) {
            Ok(fits) => fits,
            // Another network may have weights there.
            Err(error @ Error::UnknownSet { .. }) => {
                unknown_set.get_or_insert(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        let problems = fits.problems;
        if fits.sets.is_empty()
            && nearest.as_ref().is_none_or(|(_, least)| problems.len() < least.len())
        {
            nearest = Some((network, problems));
        }
        fitting.extend(fits.sets.into_iter().map(|fit| Recognised {
            network,
            classes: fit.classes.unwrap_or(1),
            fit,
        }));
    }
    let first = fitting.first().map(|one| one.fit.prefix.clone());
    if fitting.iter().any(|one| Some(&one.fit.prefix) != first.as_ref()) {
        // One name for each set: networks that the weights cannot tell apart share it.
        let mut sets: Vec<(&str, &str)> = Vec::new();
        for one in &fitting {
            if sets.iter().all(|(prefix, _)| *prefix != one.fit.prefix) {
                sets.push((&one.fit.prefix, one.network.name));
            }
        }
        return Err(file.several(sets.into_iter()));
    }
    match nearest {
        _ if !fitting.is_empty() => Ok(fitting),
        Some((network, problems)) => Err(file.unfit(Error::NotRecognised {
            path: file.path().to_owned(),
            nearest: network.name,
            problems: shortened(problems),
        })),
        // Of a picture that no network takes, the smallest one says why.
        None => Err(unknown_set
            .or_else(|| NETWORKS[0].graph(input, 1).err())
            .unwrap_or_else(|| Error::NoWeights { path: file.path().to_owned() })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Network;
    use crate::weights::{self, StateDict};

    fn written(folder: &tempfile::TempDir, state: &StateDict) -> WeightFile {
        let path = folder.path().join("x.safetensors");
        weights::write(&path, state, &std::collections::BTreeMap::new()).unwrap();
        WeightFile::open(&path, None).unwrap()
    }

    #[test]
    fn every_network_is_recognised_by_its_own_weights() {
        let image = MapShape::new(3, 32, 32);
        let folder = tempfile::tempdir().unwrap();
        for info in NETWORKS {
            let state = Network::new(info.name, image, 7, 1).unwrap().state_dict();
            let found = recognise(&written(&folder, &state), image).unwrap();
            // Another test may have registered a network of the same tensors.
            let is_built_in = |name: &&str| NETWORKS.iter().any(|own| own.name == *name);
            let names: Vec<&str> =
                found.iter().map(|f| f.network.name).filter(is_built_in).collect();
            assert_eq!(names, [info.name]);
            assert_eq!(found[0].classes, 7, "{}", info.name);
            assert!(found[0].fit.notes.is_empty(), "{}", info.name);
        }
    }

    #[test]
    fn other_weights_are_refused_with_the_nearest_network() {
        let image = MapShape::new(3, 32, 32);
        let folder = tempfile::tempdir().unwrap();
        let mut state = Network::new("resnet20", image, 7, 1).unwrap().state_dict();
        let file = written(&folder, &state);
        let text = recognise(&file, MapShape::new(1, 32, 32)).unwrap_err().to_string();
        assert!(text.contains("nearest is `resnet20`: `conv1.weight` has shape"), "{text}");
        assert!(recognise(&file, MapShape::new(3, 0, 0)).is_err());
        state.remove("fc.bias");
        let text = recognise(&written(&folder, &state), image).unwrap_err().to_string();
        assert!(text.contains("`fc.bias` is missing"), "{text}");
    }
}
