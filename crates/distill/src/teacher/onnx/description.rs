//! What an ONNX file says of itself, before anything is known of the images it is for.

use std::collections::HashMap;
use std::path::Path;

use rten_onnx::onnx::ModelProto;

use super::file::{DAMAGED, Outcome, read_bounded, the_input};
use super::nesting::check_nesting;

/// Metadata and input of an ONNX file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OnnxDescription {
    /// Its metadata by key.
    pub(crate) metadata: HashMap<String, String>,
    /// `[channels, height, width]` as far as they are fixed.
    pub(crate) sizes: [Option<usize>; 3],
}

pub(super) fn read(path: &Path) -> Outcome<OnnxDescription> {
    let bytes = read_bounded(path)?;
    check_nesting(&bytes).map_err(|what| (what, DAMAGED))?;
    let model = ModelProto::parse_buf(&bytes)
        .map_err(|error| (format!("no readable ONNX file: {error}"), DAMAGED))?;
    let graph = model.graph.ok_or_else(|| ("it holds no graph".to_owned(), DAMAGED))?;
    let tensor = the_input(&graph)?.r#type.as_ref().and_then(|own| own.tensor_type.as_ref());
    let dims = tensor.and_then(|own| own.shape.as_ref()).map_or(&[][..], |shape| &shape.dim);
    let size = |axis: usize| {
        let size = dims.get(axis)?.dim_value?;
        usize::try_from(size).ok().filter(|&size| size > 0)
    };
    let entry = |prop: rten_onnx::onnx::StringStringEntryProto| Some((prop.key?, prop.value?));
    let metadata = model.metadata_props.into_iter().filter_map(entry).collect();
    Ok(OnnxDescription { metadata, sizes: [size(1), size(2), size(3)] })
}
