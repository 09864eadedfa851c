//! Networks by name: of the table, registered, or at the path of an ONNX file.

use std::path::Path;

use crate::error::Result;
use crate::graph::Graph;
use crate::networks::{Architecture as _, find};
use crate::onnx_reader::OnnxNetwork;
use crate::shape::MapShape;
use crate::teacher_head::Projection;

/// The graph of the network `name`: a row of the table, or one with a projector and a reused
/// classifier (`resnet8+simkd256`, see [`crate::Projection`]), or that of the ONNX file at the path
/// `name`.
///
/// # Errors
/// When there is none of that name, or the image is too small for it.
pub fn graph_of(name: &str, input: MapShape, classes: usize) -> Result<Graph> {
    match Projection::parse(name) {
        Some((base, projection)) => {
            projection.applied(graph_of(base, input, classes)?, base, classes)
        }
        None => match onnx_file(name)? {
            Some(network) => network.graph(input, classes),
            None => find(name)?.graph(input, classes),
        },
    }
}

/// A network that is named by the path of its ONNX file.
fn onnx_file(name: &str) -> Result<Option<OnnxNetwork>> {
    let path = Path::new(name);
    let named = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"));
    named.then(|| OnnxNetwork::open(path, None)).transpose()
}

/// The name that a network goes by in its files: of one that is named by the path of an ONNX file the
/// file's name and content, under which it is known from then on; of others `name` itself.
///
/// # Errors
/// When that file cannot be read.
pub fn lasting_name(name: &str) -> Result<String> {
    let Some(network) = onnx_file(name)? else { return Ok(name.to_owned()) };
    network.register()?;
    Ok(network.name().to_owned())
}
