//! The messages of an ONNX file, checked as far as a reader must, and its constants.
//!
//! Both readers of ONNX files begin here: the one that makes a network of this program of it
//! ([`crate::OnnxNetwork`]), and the one that hands it to another runtime. A regular file of at most
//! 2 GiB is read; what its fields say of lengths and depths is checked before it is believed; tensors
//! that lie in other files are found beside it, nowhere else.

use std::cell::RefCell;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use faculty_files::{NotReadable, open_regular};
use rten_onnx::onnx::{DataLocation, DataType, GraphProto, ModelProto, NodeProto, TensorProto};

use self::nesting::check_nesting;

mod nesting;
mod outcome;

pub use self::outcome::{DAMAGED, Outcome, list};

/// Model and external data together.
const MOST_BYTES: u64 = 2 << 30;

/// The file's messages, checked as far as a reader must; the graph apart.
///
/// # Errors
/// When it cannot be read or is no ONNX file.
pub fn parse(path: &Path) -> Outcome<(ModelProto, GraphProto)> {
    let bytes = read_bounded(path)?;
    check_nesting(&bytes).map_err(|what| (what, DAMAGED))?;
    let mut model = ModelProto::parse_buf(&bytes)
        .map_err(|error| (format!("no readable ONNX file: {error}"), DAMAGED))?;
    let graph = model.graph.take().ok_or_else(|| ("it holds no graph".to_owned(), DAMAGED))?;
    Ok((model, graph))
}

/// The version of ONNX's own operators.
#[must_use]
pub fn opset(model: &ModelProto) -> Option<i64> {
    let own = |domain: &Option<String>| matches!(domain.as_deref(), None | Some("" | "ai.onnx"));
    model.opset_import.iter().find(|set| own(&set.domain))?.version
}

/// A whole regular file: a device or a pipe could be read for ever.
fn read_bounded(path: &Path) -> Outcome<Vec<u8>> {
    let failed = |error: std::io::Error| {
        (format!("it cannot be read: {error}"), "check the path and its permissions")
    };
    let (file, length) = open_regular(path).map_err(|error| match error {
        NotReadable::Io(error) => failed(error),
        _ => {
            let hint = "give a regular file; a copy of it is one";
            ("it is a folder, a device or a pipe, no regular file".to_owned(), hint)
        }
    })?;
    let mut bytes = Vec::new();
    if length <= MOST_BYTES {
        // Files of the system may hold more than they say.
        file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    if length.max(bytes.len() as u64) > MOST_BYTES {
        return Err(("it holds more than 2 GiB".to_owned(), "export a smaller network"));
    }
    Ok(bytes)
}

/// The class names in its metadata: `class_names`, a JSON list.
///
/// # Errors
/// When they are no such list.
pub fn class_names(model: &ModelProto) -> Outcome<Option<Vec<String>>> {
    let mut props = model.metadata_props.iter();
    let own = props.find(|prop| prop.key.as_deref() == Some("class_names"));
    own.and_then(|prop| prop.value.as_deref()).map_or(Ok(None), |text| {
        serde_json::from_str(text).map(Some).map_err(|error| {
            (
                format!("its metadata `class_names` is no JSON list of names: {error}"),
                "write it with `json.dumps`",
            )
        })
    })
}

/// Puts the values of tensors that lie in other files into the graph, and those files behind `files`.
///
/// # Errors
/// When such a file does not lie beside `path`, or is too short.
pub fn inline_external_data(
    path: &Path,
    graph: &mut GraphProto,
    files: &mut Vec<PathBuf>,
) -> Outcome<()> {
    const BESIDE: &str =
        "put the data file beside the ONNX file, or export with the weights inside";
    let mut total = 0_u64;
    let mut loaded: Option<(PathBuf, Vec<u8>)> = None;
    let outside = |t: &&mut TensorProto| t.data_location == Some(DataLocation::EXTERNAL);
    for tensor in graph.initializer.iter_mut().filter(outside) {
        let name = tensor.name.clone().unwrap_or_default();
        let value = |key: &str| {
            let mut entries = tensor.external_data.iter();
            entries.find(|entry| entry.key.as_deref() == Some(key))?.value.as_deref()
        };
        let wrong = |what: &str| (format!("external data of tensor `{name}`: {what}"), BESIDE);
        let location = value("location").ok_or_else(|| wrong("no file is named"))?;
        let mut parts = Path::new(location).components();
        let (Some(Component::Normal(file)), None) = (parts.next(), parts.next()) else {
            return Err(wrong(&format!("`{location}` is no file beside it")));
        };
        let file = path.with_file_name(file);
        let number = |key, or: usize| value(key).map_or(Some(or), |text| text.parse().ok());
        if loaded.as_ref().is_none_or(|(known, _)| *known != file) {
            let bytes = read_bounded(&file)
                .map_err(|(what, hint)| (format!("`{}`: {what}", file.display()), hint))?;
            total += bytes.len() as u64;
            if total > MOST_BYTES {
                return Err(wrong("the data files hold more than 2 GiB"));
            }
            if !files.contains(&file) {
                files.push(file.clone());
            }
            loaded = Some((file, bytes));
        }
        let bytes = loaded.as_ref().map_or(&[][..], |(_, bytes)| bytes);
        let start = number("offset", 0).ok_or_else(|| wrong("no valid offset"))?;
        let length = number("length", bytes.len().saturating_sub(start));
        let length = length.ok_or_else(|| wrong("no valid length"))?;
        let part = start.checked_add(length).and_then(|end| bytes.get(start..end));
        let part = part.ok_or_else(|| wrong("the file is too short"))?.to_vec();
        tensor.raw_data = Some(RefCell::new(part));
        tensor.external_data.clear();
        tensor.data_location = None;
    }
    Ok(())
}

/// Shape and values of a constant of float32; `None` for other types, and where they do not fit.
#[must_use]
pub fn floats(tensor: &TensorProto) -> Option<(Vec<usize>, Vec<f32>)> {
    if tensor.data_type != Some(DataType::FLOAT) {
        return None;
    }
    let shape: Option<Vec<usize>> =
        tensor.dims.iter().map(|&size| usize::try_from(size).ok()).collect();
    let shape = shape?;
    let values: Vec<f32> = match &tensor.raw_data {
        Some(bytes) => {
            bytes.borrow().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
        }
        None => tensor.float_data.clone(),
    };
    let length = shape.iter().try_fold(1_usize, |all, &size| all.checked_mul(size))?;
    (length == values.len()).then_some((shape, values))
}

/// Values of a constant of 32- or 64-bit integers or of truth values.
#[must_use]
pub fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    let raw = tensor.raw_data.as_ref().map(RefCell::borrow);
    Some(match (tensor.data_type?, raw) {
        (DataType::INT64, Some(raw)) => {
            raw.as_chunks::<8>().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect()
        }
        (DataType::INT32, Some(raw)) => raw
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&bytes| i64::from(i32::from_le_bytes(bytes)))
            .collect(),
        (DataType::BOOL, Some(raw)) => raw.iter().map(|&byte| i64::from(byte)).collect(),
        (DataType::INT64, None) => tensor.int64_data.clone(),
        (DataType::INT32 | DataType::BOOL, None) => {
            tensor.int32_data.iter().map(|&value| i64::from(value)).collect()
        }
        _ => return None,
    })
}

/// The graphs inside a node: branches and bodies.
pub fn inner_graphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().filter_map(|attribute| attribute.g.as_ref())
}

/// Every tensor that a node reads, also from graphs inside it.
#[must_use]
pub fn reads(node: &NodeProto) -> Vec<&str> {
    let mut names = Vec::new();
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        names.extend(node.input.iter().map(String::as_str).filter(|name| !name.is_empty()));
        for graph in inner_graphs(node) {
            open.extend(&graph.node);
            names.extend(graph.output.iter().filter_map(|output| output.name.as_deref()));
        }
    }
    names
}
