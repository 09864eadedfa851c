//! What an ONNX file says of itself, before anything is known of the images it is for.

use std::collections::HashMap;
use std::path::Path;

use rten_onnx::onnx::StringStringEntryProto;

use super::image::ImageInput;
use faculty_nets::onnx_file::Outcome;
use faculty_nets::onnx_file::parse;

/// Metadata and input of an ONNX file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnnxDescription {
    /// Its metadata by key.
    pub metadata: HashMap<String, String>,
    /// `[channels, height, width]` as far as they are fixed.
    pub sizes: [Option<usize>; 3],
    /// Whether its pixels are bytes from 0 to 255.
    pub bytes: bool,
}

pub(super) fn read(path: &Path) -> Outcome<OnnxDescription> {
    let (model, graph) = parse(path)?;
    let image = ImageInput::read(&graph)?;
    let entry = |prop: StringStringEntryProto| Some((prop.key?, prop.value?));
    let metadata = model.metadata_props.into_iter().filter_map(entry).collect();
    Ok(OnnxDescription { metadata, sizes: image.image_sizes(), bytes: image.bytes })
}
