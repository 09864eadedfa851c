//! Networks by name: of the table, registered, or at the path of an ONNX file or a description.

use std::path::Path;

use crate::description::DescribedNetwork;
use crate::error::Result;
use crate::graph::Graph;
use crate::networks::{Architecture as _, find};
use crate::onnx_reader::OnnxNetwork;
use crate::shape::MapShape;
use crate::teacher_head::Projection;

/// The graph of the network `name`: a row of the table, or one with a projector and a reused
/// classifier (`resnet8+simkd256`, see [`crate::Projection`]), or that of the ONNX file or description
/// (`.toml`) at the path `name`.
///
/// # Errors
/// When there is none of that name, or the image is too small for it.
pub fn graph_of(name: &str, input: MapShape, classes: usize) -> Result<Graph> {
    match Projection::parse(name) {
        Some((base, projection)) => {
            projection.applied(graph_of(base, input, classes)?, base, classes)
        }
        None => match file(name)? {
            Some(File::Onnx(network)) => network.graph(input, classes),
            Some(File::Description(network)) => network.graph(input, classes),
            None => find(name)?.graph(input, classes),
        },
    }
}

/// A file that a network is named by.
enum File {
    Onnx(OnnxNetwork),
    Description(DescribedNetwork),
}

/// A network that is named by the path of its file.
fn file(name: &str) -> Result<Option<File>> {
    let path = Path::new(name);
    let ends_in = |ending: &str| {
        path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(ending))
    };
    Ok(if ends_in("onnx") {
        Some(File::Onnx(OnnxNetwork::open(path, None)?))
    } else if ends_in("toml") {
        Some(File::Description(DescribedNetwork::open(path)?))
    } else {
        None
    })
}

/// The name that a network goes by in its files: of one that is named by the path of an ONNX file or a
/// description the file's name and content, under which it is known from then on; of others `name`
/// itself.
///
/// # Errors
/// When that file cannot be read.
pub fn lasting_name(name: &str) -> Result<String> {
    Ok(match file(name)? {
        Some(File::Onnx(network)) => {
            network.register()?;
            network.name().to_owned()
        }
        Some(File::Description(network)) => {
            network.register()?;
            network.name().to_owned()
        }
        None => name.to_owned(),
    })
}
